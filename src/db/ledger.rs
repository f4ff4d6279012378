//! The conservation ledger: whatever was accepted is somewhere, counted in three ways that share no code path.
//!
//! A receipt is written once per acceptance, a posting per transition, and the rows are there to be counted.
//! A row that vanished, appeared, or was changed behind the program's back makes the three differ.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Conn, DbError, Stamp, number, opt_text, text};
use crate::codes;
use crate::model::document::DocumentState;
use crate::model::ids::Brand;
use crate::model::letter::{DeliveryState, LetterState};
use crate::model::paper::EnvelopeState;
use crate::model::submission::SubmissionState;

codes! {
    /// What the ledger counts.
    pub enum Kind {
        /// Documents.
        Document = "document",
        /// Submissions.
        Submission = "submission",
        /// Letters.
        Letter = "letter",
        /// Deliveries of letters.
        Delivery = "delivery",
        /// Envelopes.
        Envelope = "envelope",
    }
}

/// Writes a transition (from `None`: the row was made).
///
/// # Errors
/// When the database fails.
pub async fn post(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    kind: Kind,
    subject: &str,
    from: Option<&str>,
    to: &str,
) -> Result<(), DbError> {
    sqlx::query("INSERT INTO posting (id, kind, subject, from_state, to_state, at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(stamp.ctx.new_id())
        .bind(kind.as_str())
        .bind(subject)
        .bind(from)
        .bind(to)
        .bind(stamp.now())
        .execute(conn)
        .await?;
    Ok(())
}

/// Writes the receipt of an acceptance.
///
/// # Errors
/// When the database fails, or when it was accepted before.
pub async fn receipt(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    kind: Kind,
    subject: &str,
    brand: &Brand,
) -> Result<(), DbError> {
    sqlx::query("INSERT INTO receipt (kind, subject, brand, at) VALUES ($1, $2, $3, $4)")
        .bind(kind.as_str())
        .bind(subject)
        .bind(brand.as_str())
        .bind(stamp.now())
        .execute(conn)
        .await?;
    Ok(())
}

/// One state's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What is counted.
    pub kind: Kind,
    /// The state.
    pub state: String,
    /// Rows in this state.
    pub rows: i64,
    /// Postings into it less postings out of it.
    pub posted: i64,
}

/// The ledger's figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// A line for every state there is, also for those that nothing is in.
    pub lines: Vec<Line>,
    /// Documents whose senders were told that they are safe: receipts written.
    pub receipts: i64,
    /// Document rows that say they were accepted.
    pub accepted_rows: i64,
    /// Postings of the acceptance itself.
    pub accepted_postings: i64,
    /// Documents in a state where a person must act.
    pub waiting_rows: i64,
    /// Tasks that tell of them.
    pub tasks: i64,
    /// Deliveries that say they are in a batch and not in the mail yet.
    pub in_batches: i64,
    /// Letters in envelopes that are not in the mail yet; an envelope that another took the place of is not counted.
    pub in_envelopes: i64,
    /// Sheets of all envelopes.
    pub sheets: i64,
    /// Sheets of all batches.
    pub planned_sheets: i64,
    /// Sum of all deviations; anything but 0 is an alarm.
    pub difference: i64,
}

/// Counts everything, in one snapshot.
///
/// # Errors
/// When the database fails.
pub async fn count(conn: &mut Conn) -> Result<Ledger, DbError> {
    // One statement is one snapshot on both databases, so that work going on meanwhile makes no false alarm.
    let rows = sqlx::query(
        "SELECT 'row' AS what, 'document' AS kind, state AS state, COUNT(*) AS n FROM document GROUP BY state
         UNION ALL SELECT 'row', 'submission', state, COUNT(*) FROM submission GROUP BY state
         UNION ALL SELECT 'row', 'letter', state, COUNT(*) FROM letter GROUP BY state
         UNION ALL SELECT 'row', 'delivery', state, COUNT(*) FROM delivery GROUP BY state
         UNION ALL SELECT 'row', 'envelope', state, COUNT(*) FROM envelope GROUP BY state
         UNION ALL SELECT 'on_its_way', 'delivery', NULL, COUNT(*) FROM delivery WHERE state = 'in_batch'
         UNION ALL SELECT 'in_envelopes', 'delivery', NULL, COUNT(*) FROM envelope_letter i
                   JOIN envelope e ON e.id = i.envelope_id
                   WHERE e.state IN ('in_batch', 'printed', 'inserted', 'spoiled')
                   AND NOT EXISTS (SELECT 1 FROM envelope n WHERE n.reprint_of = e.id)
         UNION ALL SELECT 'planned_sheets', 'envelope', NULL, CAST(COALESCE(SUM(sheets), 0) AS BIGINT) FROM print_batch
         UNION ALL SELECT 'sheets', 'envelope', NULL, CAST(COALESCE(SUM(sheets), 0) AS BIGINT) FROM envelope
         UNION ALL SELECT 'in', kind, to_state, COUNT(*) FROM posting GROUP BY kind, to_state
         UNION ALL SELECT 'out', kind, from_state, COUNT(*) FROM posting WHERE from_state IS NOT NULL GROUP BY kind, from_state
         UNION ALL SELECT 'receipts', kind, NULL, COUNT(*) FROM receipt GROUP BY kind
         UNION ALL SELECT 'accepted', 'document', NULL, COUNT(*) FROM document WHERE accepted_at IS NOT NULL
         UNION ALL SELECT 'waiting', 'document', NULL, COUNT(*) FROM document
                   WHERE state IN ('needs_review', 'unmatched', 'held')
         UNION ALL SELECT 'tasks', 'document', NULL, COUNT(*) FROM task
         UNION ALL SELECT 'acceptance', kind, NULL, COUNT(*) FROM posting
                   WHERE from_state = 'receiving' AND to_state = 'received' GROUP BY kind",
    )
    .fetch_all(conn)
    .await?;
    let mut figures: BTreeMap<(String, String, String), i64> = BTreeMap::new();
    for row in &rows {
        let key = (text(row, "what")?, text(row, "kind")?, opt_text(row, "state")?.unwrap_or_default());
        *figures.entry(key).or_default() += number(row, "n")?;
    }
    let figure = |what: &str, kind: &str, state: &str| {
        figures.get(&(what.to_owned(), kind.to_owned(), state.to_owned())).copied().unwrap_or(0)
    };
    let mut states: Vec<(Kind, String)> = Vec::new();
    states.extend(DocumentState::ALL.iter().map(|s| (Kind::Document, s.to_string())));
    states.extend(SubmissionState::ALL.iter().map(|s| (Kind::Submission, s.to_string())));
    states.extend(LetterState::ALL.iter().map(|s| (Kind::Letter, s.to_string())));
    states.extend(DeliveryState::ALL.iter().map(|s| (Kind::Delivery, s.to_string())));
    states.extend(EnvelopeState::ALL.iter().map(|s| (Kind::Envelope, s.to_string())));
    // A state that the program does not know is counted, too: it must not be there.
    for (what, kind, state) in figures.keys() {
        if matches!(what.as_str(), "row" | "in" | "out")
            && let Ok(kind) = kind.parse::<Kind>()
            && !states.contains(&(kind, state.clone()))
        {
            states.push((kind, state.clone()));
        }
    }
    let lines: Vec<Line> = states
        .into_iter()
        .map(|(kind, state)| Line {
            rows: figure("row", kind.as_str(), &state),
            posted: figure("in", kind.as_str(), &state) - figure("out", kind.as_str(), &state),
            kind,
            state,
        })
        .collect();
    let receipts = figure("receipts", "document", "");
    let accepted_rows = figure("accepted", "document", "");
    let accepted_postings = figure("acceptance", "document", "");
    let waiting_rows = figure("waiting", "document", "");
    let tasks = figure("tasks", "document", "");
    let in_batches = figure("on_its_way", "delivery", "");
    let in_envelopes = figure("in_envelopes", "delivery", "");
    let sheets = figure("sheets", "envelope", "");
    let planned_sheets = figure("planned_sheets", "envelope", "");
    let difference = lines.iter().map(|line| (line.rows - line.posted).abs()).sum::<i64>()
        + (receipts - accepted_rows).abs()
        + (receipts - accepted_postings).abs()
        + (waiting_rows - tasks).abs()
        + (in_batches - in_envelopes).abs()
        + (sheets - planned_sheets).abs();
    Ok(Ledger {
        lines,
        receipts,
        accepted_rows,
        accepted_postings,
        waiting_rows,
        tasks,
        in_batches,
        in_envelopes,
        sheets,
        planned_sheets,
        difference,
    })
}
