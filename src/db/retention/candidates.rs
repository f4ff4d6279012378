//! Records that may be due, with what decides over each (OPS-15). Every statement has the same columns and is read by one
//! reader; what they mean is in [`Candidate`].

use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::any::AnyRow;

use crate::db::{Conn, DbError, instant, number, opt_instant, opt_parsed, opt_text, parsed, text};
use crate::model::case::CaseKind;
use crate::model::ids::{Brand, CaseId, ClaimNumber, MemberId, Tin};
use crate::model::letter::LetterCategory;
use crate::model::retention::RecordKind;
use crate::model::submission::Said;

/// A record, as far as its retention goes.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// What it is.
    pub kind: RecordKind,
    /// Its id.
    pub id: String,
    /// Its brand.
    pub brand: Brand,
    /// When its row was made, in microseconds: with the id its place in the order they are looked through.
    pub placed_at: i64,
    /// The instant of its own date.
    pub from_at: Timestamp,
    /// Its own date, where it has one as a day.
    pub from_day: Option<Date>,
    /// Whether nothing more is done with it.
    pub ended: bool,
    /// The case that it is on, or is.
    pub case_id: Option<CaseId>,
    /// When that was closed.
    pub case_closed_at: Option<Timestamp>,
    /// The kind of case that it is for.
    pub case_kind: Option<CaseKind>,
    /// The category of a letter.
    pub category: Option<LetterCategory>,
    /// Whether records that hang on it are there.
    pub has_records: bool,
    /// Until when users read it.
    pub online_until: Option<Timestamp>,
    /// Practices that it concerns.
    pub tins: Vec<Tin>,
    /// Members that it is about.
    pub members: Vec<MemberId>,
    /// Claims that it is about; they lead to others.
    pub claims: Vec<ClaimNumber>,
    /// Whether a hold stands for something in it.
    pub held_inside: bool,
}

/// Which records a statement reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// A page of those that may be due.
    Page,
    /// One, by its id.
    One,
}

/// A statement's text for a kind: the same for a page and for one record.
macro_rules! statement {
    ($which:expr, $head:literal, $at:literal, $id:literal, $kept:literal) => {
        if matches!($which, Which::Page) {
            concat!(
                $head,
                " WHERE ",
                $kept,
                " IS NULL AND (",
                $at,
                ", ",
                $id,
                ") > ($1, $2) AND ",
                $at,
                " < $3
                 ORDER BY ",
                $at,
                ", ",
                $id,
                " LIMIT $4"
            )
        } else {
            concat!($head, " WHERE ", $kept, " IS NULL AND ", $id, " = $1")
        }
    };
}

/// The statement for a kind. Of a page the parameters are the place that it lies behind (creation, id), the instant that
/// rows must be older than, and how many; else the id.
fn statement(kind: RecordKind, which: Which) -> &'static str {
    match kind {
        // What is on no case goes with that of its submission: a refused file of a request belongs to it.
        RecordKind::Document => statement!(
            which,
            "SELECT d.id, d.brand, d.created_at AS placed_at,
                CASE WHEN d.received_at > d.created_at THEN d.received_at ELSE d.created_at END AS from_at,
                NULL AS from_day,
                CAST(CASE WHEN d.state IN ('matched', 'rejected', 'quarantined', 'withdrawn', 'split', 'returned', 'purged')
                      OR (d.state = 'stored' AND s.state IN ('failed_virus', 'failed_rejected', 'withdrawn'))
                     THEN 0 ELSE 1 END AS BIGINT) AS open_n,
                c.id AS case_id, c.closed_at AS case_closed_at, COALESCE(c.kind, s.kind) AS kind, NULL AS category,
                (SELECT COUNT(*) FROM document k WHERE k.parent_id = d.id AND k.destroyed_at IS NULL) AS records_n,
                CAST(NULL AS BIGINT) AS online_until, c.tin AS tin, s.tin AS other_tin, c.member_id AS member,
                NULL AS claim, d.said AS said, s.said AS other_said, CAST(0 AS BIGINT) AS held_n
             FROM document d LEFT JOIN submission s ON s.id = d.submission_id
             LEFT JOIN case_answer a ON a.submission_id = d.submission_id
             LEFT JOIN case_file c ON c.id = COALESCE(d.case_id, a.case_id)",
            "d.created_at",
            "d.id",
            "d.destroyed_at"
        ),
        // One that came back waits as long as a person is to see to its address.
        RecordKind::Letter => statement!(
            which,
            "SELECT l.id, l.brand, l.created_at AS placed_at, l.created_at AS from_at, l.letter_date AS from_day,
                CAST(CASE WHEN l.state IN ('routed', 'stopped') THEN 0 ELSE 1 END AS BIGINT)
                + (SELECT COUNT(*) FROM delivery w WHERE w.letter_id = l.id AND w.state IN ('waiting', 'in_batch'))
                + (SELECT COUNT(*) FROM envelope_letter i JOIN delivery w ON w.id = i.delivery_id
                   JOIN envelope e ON e.id = i.envelope_id
                   JOIN paper_task t ON t.brand = e.brand AND t.addressee = e.addressee
                        AND t.addressee_key = e.addressee_key AND t.ended_at IS NULL
                   WHERE w.letter_id = l.id AND w.state = 'returned') AS open_n,
                c.id AS case_id, c.closed_at AS case_closed_at, NULL AS kind, l.category AS category,
                CAST(0 AS BIGINT) AS records_n,
                (SELECT MAX(m.online_until) FROM message m WHERE m.letter_id = l.id AND m.offline_at IS NULL) AS online_until,
                l.tin AS tin, c.tin AS other_tin, COALESCE(l.member_id, c.member_id) AS member, l.claim_number AS claim,
                NULL AS said, NULL AS other_said, CAST(0 AS BIGINT) AS held_n
             FROM letter l LEFT JOIN case_file c ON c.id = l.case_id",
            "l.created_at",
            "l.id",
            "l.destroyed_at"
        ),
        RecordKind::Submission => statement!(
            which,
            "SELECT s.id, s.brand, s.created_at AS placed_at, COALESCE(s.ended_at, s.submitted_at, s.created_at) AS from_at,
                NULL AS from_day,
                CAST(CASE WHEN s.state IN ('accepted', 'failed_virus', 'failed_rejected', 'withdrawn')
                     THEN 0 ELSE 1 END AS BIGINT) AS open_n,
                c.id AS case_id, c.closed_at AS case_closed_at, s.kind AS kind, NULL AS category,
                (SELECT COUNT(*) FROM document d WHERE d.submission_id = s.id AND d.destroyed_at IS NULL) AS records_n,
                CAST(NULL AS BIGINT) AS online_until, s.tin AS tin, c.tin AS other_tin, c.member_id AS member,
                NULL AS claim, s.said AS said, NULL AS other_said, CAST(0 AS BIGINT) AS held_n
             FROM submission s LEFT JOIN case_answer a ON a.submission_id = s.id
             LEFT JOIN case_file c ON c.id = a.case_id",
            "s.created_at",
            "s.id",
            "s.destroyed_at"
        ),
        // A hold for one of its letters keeps all of it: what was sent is in it as it was sent.
        RecordKind::PrintBatch => statement!(
            which,
            "SELECT b.id, b.brand, b.closed_at AS placed_at, COALESCE(b.done_at, b.closed_at) AS from_at, b.day AS from_day,
                CAST(CASE WHEN b.held_at IS NULL AND (b.state = 'done' OR b.envelopes = 0) THEN 0 ELSE 1 END AS BIGINT)
                AS open_n,
                NULL AS case_id, CAST(NULL AS BIGINT) AS case_closed_at, NULL AS kind, NULL AS category,
                CAST(0 AS BIGINT) AS records_n, CAST(NULL AS BIGINT) AS online_until,
                NULL AS tin, NULL AS other_tin, NULL AS member, NULL AS claim, NULL AS said, NULL AS other_said,
                (SELECT COUNT(*) FROM envelope e JOIN envelope_letter i ON i.envelope_id = e.id
                 JOIN letter l ON l.id = i.letter_id LEFT JOIN case_file c ON c.id = l.case_id
                 LEFT JOIN claim k ON k.brand = l.brand AND k.claim_number = l.claim_number
                 JOIN retention_hold h ON h.brand = b.brand AND h.lifted_at IS NULL
                 WHERE e.batch_id = b.id
                 AND (h.case_id = l.case_id OR h.tin IN (l.tin, c.tin, k.tin) OR h.member_id IN (l.member_id, c.member_id, k.member_id)
                      OR (e.addressee = 'member' AND h.member_id = e.addressee_key)
                      OR (e.addressee = 'tin' AND h.tin = e.addressee_key))) AS held_n
             FROM print_batch b",
            "b.closed_at",
            "b.id",
            "b.destroyed_at"
        ),
        // What is on it goes first, and what may come to be on it is decided first.
        RecordKind::Case => statement!(
            which,
            "SELECT c.id, c.brand, c.opened_at AS placed_at, c.opened_at AS from_at, NULL AS from_day,
                CAST(0 AS BIGINT) AS open_n, c.id AS case_id, c.closed_at AS case_closed_at, c.kind AS kind,
                NULL AS category,
                (SELECT COUNT(*) FROM document d WHERE d.case_id = c.id AND d.destroyed_at IS NULL)
                + (SELECT COUNT(*) FROM letter l WHERE l.case_id = c.id AND l.destroyed_at IS NULL)
                + (SELECT COUNT(*) FROM case_answer a JOIN submission s ON s.id = a.submission_id
                   WHERE a.case_id = c.id AND s.destroyed_at IS NULL)
                + (SELECT COUNT(*) FROM match_candidate p JOIN document d ON d.id = p.document_id
                   WHERE p.case_id = c.id AND d.state IN ('stored', 'needs_review', 'unmatched')) AS records_n,
                (SELECT MAX(m.online_until) FROM message m
                 WHERE m.case_id = c.id AND m.letter_id IS NULL AND m.offline_at IS NULL) AS online_until,
                c.tin AS tin, NULL AS other_tin, c.member_id AS member, c.claim_number AS claim, NULL AS said,
                NULL AS other_said, CAST(0 AS BIGINT) AS held_n
             FROM case_file c",
            "c.opened_at",
            "c.id",
            "c.destroyed_at"
        ),
    }
}

/// Records of a kind that are kept and were made before an instant (microseconds), oldest first, behind a place.
///
/// # Errors
/// When the database fails.
pub async fn page(
    conn: &mut Conn,
    kind: RecordKind,
    (at, id): (i64, &str),
    before: i64,
    limit: i64,
) -> Result<Vec<Candidate>, DbError> {
    let rows =
        sqlx::query(statement(kind, Which::Page)).bind(at).bind(id).bind(before).bind(limit).fetch_all(conn).await?;
    rows.iter().map(|row| read(kind, row)).collect()
}

/// Takes a record's row for the rest of the transaction, and reads it. `None`: it is destroyed, or was never there.
///
/// # Errors
/// When the database fails.
pub async fn lock(conn: &mut Conn, kind: RecordKind, id: &str) -> Result<Option<Candidate>, DbError> {
    let lock = match kind {
        RecordKind::Document => "UPDATE document SET version = version WHERE id = $1",
        RecordKind::Letter => "UPDATE letter SET version = version WHERE id = $1",
        RecordKind::Submission => "UPDATE submission SET version = version WHERE id = $1",
        RecordKind::PrintBatch => "UPDATE print_batch SET version = version WHERE id = $1",
        RecordKind::Case => "UPDATE case_file SET version = version WHERE id = $1",
    };
    sqlx::query(lock).bind(id).execute(&mut *conn).await?;
    let row = sqlx::query(statement(kind, Which::One)).bind(id).fetch_optional(conn).await?;
    row.as_ref().map(|row| read(kind, row)).transpose()
}

fn read(kind: RecordKind, row: &AnyRow) -> Result<Candidate, DbError> {
    let mut found = Candidate {
        kind,
        id: text(row, "id")?,
        brand: parsed(row, "brand")?,
        placed_at: number(row, "placed_at")?,
        from_at: instant(row, "from_at")?,
        from_day: opt_parsed(row, "from_day")?,
        ended: number(row, "open_n")? == 0,
        case_id: opt_parsed(row, "case_id")?,
        case_closed_at: opt_instant(row, "case_closed_at")?,
        case_kind: opt_parsed(row, "kind")?,
        category: opt_parsed(row, "category")?,
        has_records: number(row, "records_n")? > 0,
        online_until: opt_instant(row, "online_until")?,
        tins: Vec::new(),
        members: opt_parsed(row, "member")?.into_iter().collect(),
        claims: opt_parsed(row, "claim")?.into_iter().collect(),
        held_inside: number(row, "held_n")? > 0,
    };
    for column in ["tin", "other_tin"] {
        found.tins.extend(opt_parsed::<Tin>(row, column)?);
    }
    for column in ["said", "other_said"] {
        let Some(said) = opt_text(row, column)? else { continue };
        let said: Said = serde_json::from_str(&said).map_err(|_| DbError::Unreadable { column: "said" })?;
        found.tins.extend(said.tin);
        found.members.extend(said.member_id);
        found.claims.extend(said.claim_number);
    }
    Ok(found)
}
