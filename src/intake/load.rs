//! Bulk load of reference data: NDJSON or CSV, idempotent, bad rows told one by one and the good ones kept.

use std::io::{BufRead, BufReader, Read};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use thiserror::Error;

use crate::db::reference::{self, Upserted};
use crate::db::{Conn, Db, DbError, Stamp, events};
use crate::engine::installation_brand;
use crate::model::case::CaseStatus;
use crate::model::event::{EventType, NewEvent};
use crate::model::reference::{CaseRecord, Record, ReferenceKind};

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A JSON object a line.
    Ndjson,
    /// A head line with the field names, then a row a line.
    Csv,
}

/// A row that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowReject {
    /// Its line in the file, from 1.
    pub line: u64,
    /// What is wrong with it. It names fields and rules, not values.
    pub reason: String,
}

/// What a load did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// Rows taken.
    pub loaded: u64,
    /// Rows not taken. At most [`REJECTS_TOLD`] are listed.
    pub rejects: Vec<RowReject>,
    /// How many were not taken in all.
    pub rejected: u64,
}

/// The most rejected rows that a report lists.
pub const REJECTS_TOLD: usize = 1000;
/// Rows per transaction.
const BATCH: usize = 500;
/// The longest line, in bytes.
const LINE_BYTES: u64 = 64 << 10;

/// Why a load ended before the end of its file. What was loaded so far stays; loading again is harmless.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("the file can't be read")]
    Read(#[from] std::io::Error),
    /// The CSV has no usable head line.
    #[error("the CSV can't be read: {0}")]
    Csv(String),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A row, or why it is none, with its line.
type Row = (u64, Result<Record, String>);

/// Loads a file.
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
    let mut report = LoadReport::default();
    let mut batch: Vec<Row> = Vec::with_capacity(BATCH);
    let mut rows: Box<dyn Iterator<Item = Result<Row, LoadError>> + Send> = match form {
        Form::Ndjson => Box::new(ndjson(kind, file)),
        Form::Csv => Box::new(csv_rows(kind, file)?),
    };
    loop {
        batch.clear();
        for row in rows.by_ref().take(BATCH) {
            batch.push(row?);
        }
        if batch.is_empty() {
            break;
        }
        write(db, stamp, &batch, &mut report).await?;
    }
    let mut tx = db.begin().await?;
    let brand = installation_brand();
    let event = NewEvent {
        kind: EventType::ReferenceLoaded,
        subject: kind.as_str(),
        brand: &brand,
        tin_uid: None,
        actor: stamp.actor,
        payload: json!({ "kind": kind, "loaded": report.loaded, "rejected": report.rejected }),
    };
    events::append(&mut tx, stamp, event).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(report)
}

async fn write(db: &Db, stamp: Stamp<'_>, batch: &[Row], report: &mut LoadReport) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    for (line, row) in batch {
        let refused = match row {
            Ok(record) => take(&mut tx, stamp, record).await?,
            Err(reason) => Some(reason.clone()),
        };
        match refused {
            None => report.loaded += 1,
            Some(reason) => {
                report.rejected += 1;
                if report.rejects.len() < REJECTS_TOLD {
                    report.rejects.push(RowReject { line: *line, reason });
                }
            }
        }
    }
    Ok(tx.commit().await?)
}

/// Writes one record; says why not, where it is not the database's fault.
async fn take(conn: &mut Conn, stamp: Stamp<'_>, record: &Record) -> Result<Option<String>, DbError> {
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

/// Lines of JSON, each of bounded length.
fn ndjson<R: Read + Send>(kind: ReferenceKind, file: R) -> impl Iterator<Item = Result<Row, LoadError>> + Send {
    let mut reader = BufReader::new(file);
    let mut line = 0;
    std::iter::from_fn(move || {
        loop {
            line += 1;
            let mut bytes = Vec::new();
            match reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut bytes) {
                Err(error) => return Some(Err(error.into())),
                Ok(0) => return None,
                Ok(n) if n as u64 == LINE_BYTES && bytes.last() != Some(&b'\n') => {
                    if let Err(error) = skip_line(&mut reader) {
                        return Some(Err(error.into()));
                    }
                    return Some(Ok((line, Err(format!("the line is longer than {LINE_BYTES} bytes")))));
                }
                Ok(_) if bytes.trim_ascii().is_empty() => {}
                Ok(_) => return Some(Ok((line, parse(kind, |k| from_json(k, &bytes))))),
            }
        }
    })
}

/// Reads on to the end of an overlong line, without keeping it.
fn skip_line(reader: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffered = reader.fill_buf()?;
        if buffered.is_empty() {
            return Ok(());
        }
        let end = buffered.iter().position(|b| *b == b'\n');
        let used = end.map_or(buffered.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

fn csv_rows<R: Read + Send + 'static>(
    kind: ReferenceKind,
    file: R,
) -> Result<impl Iterator<Item = Result<Row, LoadError>> + Send, LoadError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let head = reader.headers().map_err(|error| LoadError::Csv(error.to_string()))?.clone();
    if head.iter().all(str::is_empty) {
        return Err(LoadError::Csv("its first line must hold the field names".into()));
    }
    Ok(reader.into_records().map(move |row| match row {
        Ok(row) => {
            let line = row.position().map_or(0, csv::Position::line);
            // an empty cell is an absent field, so that CSV and JSON mean the same
            let fields: serde_json::Map<String, serde_json::Value> = head
                .iter()
                .zip(row.iter())
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name.to_owned(), json!(value)))
                .collect();
            let bytes = serde_json::Value::Object(fields).to_string().into_bytes();
            Ok((line, parse(kind, |k| from_json(k, &bytes))))
        }
        Err(error) if error.is_io_error() => Err(LoadError::Csv("it broke off".into())),
        Err(error) => {
            let line = error.position().map_or(0, csv::Position::line);
            Ok((line, Err("the row has another number of fields than the head line, or is not UTF-8".into())))
        }
    }))
}

fn parse(kind: ReferenceKind, read: impl FnOnce(ReferenceKind) -> Result<Record, String>) -> Result<Record, String> {
    read(kind).and_then(Record::check)
}

fn from_json(kind: ReferenceKind, bytes: &[u8]) -> Result<Record, String> {
    // No database of ours keeps one in a text for sure, and a fault there would cost the good rows beside it.
    if bytes.windows(6).any(|six| six == br"\u0000") {
        return Err("a field holds a NUL character".to_owned());
    }
    /// serde's own message may quote a value, and values are health data: only what is known to be safe is told.
    fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
        serde_json::from_slice(bytes).map_err(|error| {
            let text = error.to_string();
            let safe =
                ["missing field", "unknown field", "not a ", "unknown variant"].iter().any(|p| text.starts_with(p));
            let field =
                text.split(" at line").next().unwrap_or_default().split(", expected").next().unwrap_or_default();
            match (safe, error.classify()) {
                (true, _) if !text.starts_with("unknown variant") => field.to_owned(),
                (true, _) => "a field holds a word that is not one of its codes".to_owned(),
                (_, serde_json::error::Category::Syntax | serde_json::error::Category::Eof) => {
                    "not a JSON object".to_owned()
                }
                _ => "a field is of the wrong form (dates are YYYY-MM-DD, everything else is text)".to_owned(),
            }
        })
    }
    Ok(match kind {
        ReferenceKind::Tins => Record::Tin(read(bytes)?),
        ReferenceKind::Providers => Record::Provider(read(bytes)?),
        ReferenceKind::Members => Record::Member(read(bytes)?),
        ReferenceKind::Claims => Record::Claim(read(bytes)?),
        ReferenceKind::Cases => {
            let case: CaseRecord = read(bytes)?;
            let status = CaseStatus::parse(case.kind, &case.status)
                .map_err(|_| format!("status is none of a {}'s statuses", case.kind))?;
            Record::Case(case, status)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn csv_and_json_mean_the_same() {
        let text = "tin,name\n001234567,Muster Clinic\n12,Bad\n001234568\n";
        let told: Vec<_> = csv_rows(ReferenceKind::Tins, std::io::Cursor::new(text))
            .unwrap()
            .map(|row| row.map(|(line, row)| (line, row.is_ok())).unwrap())
            .collect();
        assert_eq!(told, [(2, true), (3, false), (4, false)]);
    }
}
