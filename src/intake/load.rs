//! Bulk load of reference data.

use std::borrow::Cow;
use std::io::Read;

use async_trait::async_trait;

use crate::db::reference::{self, Upserted};
use crate::db::{Conn, Db, DbError, Stamp};
use crate::engine::bulk::{self, Rows, Taker};
use crate::model::access::Mode;
use crate::model::case::CaseStatus;
use crate::model::ids::Brand;
use crate::model::reference::{CaseRecord, Record, ReferenceKind};

pub use crate::engine::bulk::{Form, LoadError, LoadReport, REJECTS_TOLD, RowReject};

/// Whose records may be written.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    /// Anybody's, as they name their brands: who has the database needs no leave of ours.
    All,
    /// Those of the brands served, as a caller of that mode means them (INT-35).
    Of(&'a [Brand], Mode),
}

impl Whose<'_> {
    /// The record as it is to be written: of the brand that is meant.
    fn meant<'r>(self, record: &'r Record) -> Result<Cow<'r, Record>, &'static str> {
        let Self::Of(served, mode) = self else { return Ok(Cow::Borrowed(record)) };
        let Some(named) = record.brand() else {
            // practices and providers have no twins
            return match mode {
                Mode::Live => Ok(Cow::Borrowed(record)),
                Mode::Test => Err("practices and providers are the same for trials, which can't change them"),
            };
        };
        let meant = named.meant_by(mode, served);
        let meant = meant.ok_or("brand is none that is served here, or none of the key's mode")?;
        Ok(if meant == *named { Cow::Borrowed(record) } else { Cow::Owned(record.clone().of_brand(meant)) })
    }
}

/// Loads a file, whoever's its records are.
///
/// # Errors
/// See [`LoadError`]; bad rows are no error.
pub async fn load<R: Read + Send + 'static>(
    db: &Db,
    stamp: Stamp<'_>,
    kind: ReferenceKind,
    form: Form,
    file: R,
) -> Result<LoadReport, LoadError> {
    load_of(db, stamp, Whose::All, kind, form, file).await
}

/// Loads a file of records that are these; others are bad rows.
///
/// # Errors
/// See [`LoadError`]; bad rows are no error.
pub async fn load_of<R: Read + Send + 'static>(
    db: &Db,
    stamp: Stamp<'_>,
    whose: Whose<'_>,
    kind: ReferenceKind,
    form: Form,
    file: R,
) -> Result<LoadReport, LoadError> {
    bulk::load(db, stamp, kind, &Writer(whose), form, file).await
}

/// Writes one record, given as JSON. Says why not, where it is not the database's fault: by fields and rules, without
/// values.
///
/// # Errors
/// When the database fails.
pub async fn put(
    db: &Db,
    stamp: Stamp<'_>,
    whose: Whose<'_>,
    kind: ReferenceKind,
    json: &[u8],
) -> Result<Result<(), String>, DbError> {
    bulk::load_one(db, stamp, kind, &Writer(whose), json).await
}

struct Writer<'a>(Whose<'a>);

#[async_trait]
impl Taker<ReferenceKind> for Writer<'_> {
    async fn take(&self, conn: &mut Conn, stamp: Stamp<'_>, record: &Record) -> Result<Option<String>, DbError> {
        let record = match self.0.meant(record) {
            Ok(record) => record,
            Err(why) => return Ok(Some(why.to_owned())),
        };
        let record = record.as_ref();
        if let Record::Case(case, status) = record {
            let opens = case.kind == crate::model::case::CaseKind::Reconsideration && !status.is_final();
            if opens && reference::other_open_reconsideration(conn, case).await? {
                return Ok(Some("another reconsideration is open for this claim (REC-03)".into()));
            }
        }
        Ok(match reference::upsert(conn, stamp, record).await? {
            Upserted::Done => None,
            Upserted::Kept(why) => Some(why.to_owned()),
        })
    }
}

impl Rows for ReferenceKind {
    type Record = Record;

    fn kind(&self) -> &'static str {
        self.as_str()
    }

    fn parse(&self, json: &[u8]) -> Result<Record, String> {
        let record = match self {
            Self::Tins => Record::Tin(bulk::fields(json)?),
            Self::Providers => Record::Provider(bulk::fields(json)?),
            Self::Members => Record::Member(bulk::fields(json)?),
            Self::Claims => Record::Claim(bulk::fields(json)?),
            Self::Cases => {
                let case: CaseRecord = bulk::fields(json)?;
                let status = CaseStatus::parse(case.kind, &case.status)
                    .map_err(|_| format!("status is none of a {}'s statuses", case.kind))?;
                Record::Case(case, status)
            }
        };
        record.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::bulk::{csv_rows, ndjson};

    fn rows(kind: ReferenceKind, text: &str) -> Vec<(u64, Result<(), String>)> {
        ndjson(kind, std::io::Cursor::new(text.to_owned().into_bytes()))
            .map(|row| row.map(|(line, row)| (line, row.map(|_| ()))).unwrap())
            .collect()
    }

    #[test]
    fn a_bad_row_is_told_by_line_and_rule_without_its_value() {
        let text = "{\"tin\":\"001234567\",\"name\":\"A\"}\n\n{\"tin\":\"12\",\"name\":\"B\"}\nnonsense\n{\"tin\":\"001234567\"}\n{\"tin\":\"001234567\",\"name\":\"C\",\"x\":1}\n{\"tin\":5,\"name\":\"D\"}";
        let told = rows(ReferenceKind::Tins, text);
        let expected: Vec<(u64, Result<(), String>)> = vec![
            (1, Ok(())),
            (3, Err("not a TIN: it must have 9 digits".into())),
            (4, Err("not a JSON object".into())),
            (5, Err("missing field `name`".into())),
            (6, Err("unknown field `x`".into())),
            (7, Err("a field is of the wrong form (dates are YYYY-MM-DD, everything else is text)".into())),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_case_has_a_status_of_its_own_kind_and_a_closing_day_when_final() {
        let case = |status: &str, more: &str| {
            format!(
                "{{\"brand\":\"b\",\"case_number\":\"A1\",\"kind\":\"appeal\",\"status\":\"{status}\",\"member_id\":\"M1\",\"tin\":\"001234567\",\"opened_on\":\"2026-01-02\"{more}}}"
            )
        };
        assert_eq!(rows(ReferenceKind::Cases, &case("In Process", ""))[0].1, Ok(()));
        assert!(rows(ReferenceKind::Cases, &case("Adjusted", ""))[0].1.is_err());
        assert!(rows(ReferenceKind::Cases, &case("Decided", ""))[0].1.is_err());
        assert_eq!(rows(ReferenceKind::Cases, &case("Decided", ",\"closed_on\":\"2026-02-03\""))[0].1, Ok(()));
    }

    #[test]
    fn an_overlong_line_costs_only_itself() {
        let long = "x".repeat(200_000);
        let told = rows(ReferenceKind::Tins, &format!("{long}\n{{\"tin\":\"001234567\",\"name\":\"A\"}}\n"));
        assert_eq!(told.len(), 2);
        assert!(told[0].1.is_err() && told[1] == (2, Ok(())));
    }

    #[test]
    fn a_csv_row_that_does_not_end_is_not_kept_until_it_does() {
        let row = "001234567,Muster Clinic\n";
        // many good rows are more than one may be long
        let good = format!("tin,name\n{}", row.repeat(10_000));
        let rows = |text: String| csv_rows(ReferenceKind::Tins, std::io::Cursor::new(text)).unwrap();
        assert_eq!(rows(good.clone()).filter(|row| row.as_ref().is_ok_and(|(_, row)| row.is_ok())).count(), 10_000);
        let endless = format!("{good}001234568,\"{}", row.repeat(10_000));
        let (read, broken): (Vec<_>, Vec<_>) = rows(endless).take(10_001).partition(Result::is_ok);
        assert_eq!(read.len(), 10_000);
        let told = broken[0].as_ref().err().map(ToString::to_string);
        assert_eq!(told.as_deref(), Some("the CSV can't be read: a row is longer than 65536 bytes"));
    }

    #[test]
    fn csv_and_json_mean_the_same() {
        let text = "tin,name\n001234567,Muster Clinic\n12,Bad\n001234568\n";
        let told: Vec<_> = csv_rows(ReferenceKind::Tins, std::io::Cursor::new(text))
            .unwrap()
            .map(|row| row.map(|(line, row)| (line, row.is_ok())).unwrap())
            .collect();
        assert_eq!(told, [(2, true), (3, false), (4, false)]);
    }
}
