//! Takes a printer's word on a batch: what became of each envelope (COR-42).
//!
//! One transaction for a whole file, which can be sent again: what is known already changes nothing. Lines may come in
//! any order; a later step implies those before it. A line that can't be taken is told by its number, and never keeps
//! the others.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::production::marks::IntegrityMark;
use super::{Paper, PaperError, batch};
use crate::db::batches::{self, Batch};
use crate::db::envelopes::{self, Enclosed, Envelope, Times};
use crate::db::{Conn, DbError, Stamp, deliveries};
use crate::engine::bulk::Form;
use crate::engine::stage::stop_at;
use crate::model::event::EventType;
use crate::model::ids::{BatchId, Sha256};
use crate::model::letter::DeliveryState;
use crate::model::paper::{BatchState, EnvelopeState, PieceEvent, Step};

/// The longest reason, in bytes.
const REASON: usize = 64;
/// Problems that are told; more of them say no more.
const PROBLEMS: usize = 1_000;
/// How often a file may say something of all envelopes: each time goes through the whole batch, while nobody else writes.
const ALL_LINES: usize = 20;
/// How far a printer's clock may be ahead of ours.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// A line as it is written.
#[derive(Debug, Deserialize)]
struct Written {
    #[serde(default)]
    sequence: Option<i64>,
    #[serde(default)]
    barcode: Option<String>,
    #[serde(default)]
    all: Option<bool>,
    event: String,
    #[serde(default)]
    at: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// Which envelopes a line is about.
#[derive(Debug)]
enum Which {
    Sequence(i64),
    Mark(IntegrityMark),
    All,
}

#[derive(Debug)]
struct Line {
    number: u64,
    which: Which,
    event: PieceEvent,
    at: Option<Timestamp>,
    reason: Option<String>,
}

/// A line that was not taken. Nothing of what it says is repeated.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct LineProblem {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    #[schema(value_type = String)]
    pub problem: &'static str,
}

/// What came of a printer's word.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// The batch as it stands now.
    pub batch: Batch,
    /// Envelopes that came into another state.
    pub changed: u64,
    /// Lines that told nothing new.
    pub known: u64,
    /// Lines that were not taken.
    pub problems: Vec<LineProblem>,
    /// How many envelopes are in each state.
    pub states: Vec<(EnvelopeState, i64)>,
    /// Envelopes of which nobody has said what became of them.
    pub unaccounted: i64,
}

/// Reads the lines of a file.
fn read(bytes: &[u8], form: Form, problems: &mut Problems) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut take = |number: u64, written: Option<Written>| match written.ok_or(UNREADABLE).and_then(parse) {
        Ok((which, event, at, reason)) => lines.push(Line { number, which, event, at, reason }),
        Err(problem) => problems.tell(number, problem),
    };
    match form {
        Form::Ndjson => {
            for (number, line) in (1u64..).zip(bytes.split(|byte| *byte == b'\n')) {
                if !line.trim_ascii().is_empty() {
                    take(number, serde_json::from_slice(line).ok());
                }
            }
        }
        Form::Csv => {
            let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(bytes);
            let mut record = csv::StringRecord::new();
            let heads = reader.headers().cloned();
            let mut number = 1;
            while let Ok(heads) = &heads {
                let read = reader.read_record(&mut record);
                number = record.position().map_or(number + 1, |at| at.line());
                match read {
                    Ok(false) => break,
                    Ok(true) => take(number, record.deserialize(Some(heads)).ok()),
                    Err(_) => take(number, None),
                }
            }
            if heads.is_err() {
                take(1, None);
            }
        }
    }
    lines
}

const UNREADABLE: &str = "the line can't be read: it needs sequence or barcode, and event";

type Said = (Which, PieceEvent, Option<Timestamp>, Option<String>);

fn parse(written: Written) -> Result<Said, &'static str> {
    let which = match (written.sequence, written.barcode.filter(|text| !text.is_empty()), written.all) {
        (Some(sequence), None, None | Some(false)) => Which::Sequence(sequence),
        (None, Some(text), None | Some(false)) => {
            Which::Mark(text.trim().parse().map_err(|_| "the barcode is none of ours, or was misread")?)
        }
        (None, None, Some(true)) => Which::All,
        _ => return Err("the line must name an envelope by one of sequence and barcode, or all of them"),
    };
    let event = written.event.trim().parse();
    let event = event.map_err(|_| "event must be printed, inserted, mailed, spoiled or missing")?;
    let at = written.at.filter(|text| !text.is_empty()).map(|text| text.trim().parse()).transpose();
    let at = at.map_err(|_| "at must be an instant with its offset, such as 2026-11-23T17:00:00-05:00")?;
    let reason = written.reason.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if reason.as_ref().is_some_and(|text| text.len() > REASON || text.chars().any(char::is_control)) {
        return Err("reason may have at most 64 bytes, no control characters");
    }
    Ok((which, event, at, reason))
}

#[derive(Default)]
struct Problems(Vec<LineProblem>);

impl Problems {
    fn tell(&mut self, line: u64, problem: &'static str) {
        if self.0.len() < PROBLEMS {
            self.0.push(LineProblem { line, problem });
        }
    }
}

/// An envelope with what the file says of it.
struct Piece {
    row: Envelope,
    state: EnvelopeState,
    times: Times,
    reason: Option<String>,
    touched: bool,
}

impl Piece {
    const fn of(row: Envelope) -> Self {
        let state = row.state;
        let times = Times { printed_at: None, inserted_at: None, mailed_at: None, spoiled_at: None, returned_at: None };
        Self { row, state, times, reason: None, touched: false }
    }

    /// Takes one event. Whether it told something new.
    fn take(&mut self, event: PieceEvent, at: Timestamp, reason: Option<&str>) -> Result<bool, &'static str> {
        let step = self.state.after(event);
        let (time, known) = match event {
            PieceEvent::Printed => (&mut self.times.printed_at, self.row.times.printed_at),
            PieceEvent::Inserted => (&mut self.times.inserted_at, self.row.times.inserted_at),
            PieceEvent::Mailed => (&mut self.times.mailed_at, self.row.times.mailed_at),
            PieceEvent::Spoiled | PieceEvent::Missing => (&mut self.times.spoiled_at, self.row.times.spoiled_at),
        };
        match step {
            Step::Against if event == PieceEvent::Mailed => {
                return Err("the envelope was said to be spoiled or missing: its letters are printed again");
            }
            Step::Against => return Err("the envelope was said to be mailed"),
            Step::To(state) => self.state = state,
            Step::Stays => {}
        }
        // the first word on each step counts
        let new_time = known.or(*time).is_none();
        if new_time {
            *time = Some(at);
        }
        let new = new_time || matches!(step, Step::To(_));
        if new && self.reason.is_none() {
            let missing = (event == PieceEvent::Missing).then_some(PieceEvent::Missing.as_str());
            self.reason = reason.or(missing).map(str::to_owned);
        }
        self.touched |= new;
        Ok(new)
    }
}

impl Paper {
    /// Takes a printer's word on a batch.
    ///
    /// # Errors
    /// See [`PaperError`]. What is wrong with single lines is in the answer.
    pub async fn acknowledge(
        &self,
        stamp: Stamp<'_>,
        id: &BatchId,
        file: &[u8],
        form: Form,
    ) -> Result<Acknowledged, PaperError> {
        let mut problems = Problems::default();
        let lines = read(file, form, &mut problems);
        let now = self.ctx.now();
        let mut tx = self.db.begin().await?;
        let before = batch(&mut tx, id).await?;
        if before.state == BatchState::Closed {
            return Err(PaperError::State("the batch has no print file yet: nothing of it can have been printed"));
        }
        batches::lock(&mut tx, id).await?;
        let rows = envelopes::of_batch(&mut tx, id, None, 0, i64::MAX).await?;
        let mut pieces: BTreeMap<i64, Piece> = rows.into_iter().map(|row| (row.sequence, Piece::of(row))).collect();
        let enclosed = by_place(envelopes::enclosed(&mut tx, id, None).await?);
        let (mut known, mut alls) = (0, 0);
        for line in lines {
            let at = line.at.unwrap_or(now);
            if at > now.saturating_add(AHEAD).unwrap_or(now) {
                problems.tell(line.number, "at lies in the future");
                continue;
            }
            let wanted: Vec<i64> = match &line.which {
                // not those of which something else is known
                Which::All if alls == ALL_LINES => {
                    problems.tell(line.number, "a file says `all` too often");
                    continue;
                }
                Which::All => {
                    alls += 1;
                    let suits = |piece: &&Piece| piece.state.after(line.event) != Step::Against;
                    pieces.values().filter(suits).map(|piece| piece.row.sequence).collect()
                }
                Which::Sequence(sequence) => vec![*sequence],
                Which::Mark(mark) => match mark_is_right(&before, mark, &pieces, &enclosed) {
                    Ok(sequence) => vec![sequence],
                    Err(problem) => {
                        problems.tell(line.number, problem);
                        continue;
                    }
                },
            };
            let (mut new, mut fine) = (false, true);
            for sequence in wanted {
                let piece = pieces.get_mut(&sequence).ok_or("the batch has no such envelope");
                match piece.and_then(|piece| piece.take(line.event, at, line.reason.as_deref())) {
                    Ok(told) => new |= told,
                    Err(problem) => {
                        fine = false;
                        problems.tell(line.number, problem);
                    }
                }
            }
            known += u64::from(fine && !new);
        }
        let mut changed = 0;
        for piece in pieces.values().filter(|piece| piece.touched) {
            changed += u64::from(piece.state != piece.row.state);
            let inside = enclosed.get(&piece.row.sequence).map_or(&[][..], Vec::as_slice);
            keep(&mut tx, stamp, piece, inside).await?;
        }
        let after = self.settle(&mut tx, stamp, id, (&before, changed, problems.0.len())).await?;
        let states = envelopes::counts(&mut tx, id).await?;
        stop_at("acknowledge", "written").await;
        tx.commit().await.map_err(DbError::from)?;
        stop_at("acknowledge", "committed").await;
        let unaccounted = states.iter().filter(|(state, _)| !state.is_accounted_for()).map(|(_, n)| n).sum();
        Ok(Acknowledged { batch: after, changed, known, problems: problems.0, states, unaccounted })
    }

    /// Ends a batch of which nothing is open, and tells of what was taken.
    async fn settle(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        id: &BatchId,
        (before, changed, problems): (&Batch, u64, usize),
    ) -> Result<Batch, PaperError> {
        if changed > 0 {
            let payload = json!({ "changed": changed, "problems": problems });
            batches::event(conn, stamp, before, EventType::PrintBatchAcknowledged, payload).await?;
        }
        if before.state == BatchState::Assembled && envelopes::open(conn, id).await? == 0 {
            batches::done(conn, stamp, before).await?;
        }
        batch(conn, id).await
    }
}

/// What is in the envelopes of a batch, by their places.
pub(super) fn by_place(enclosed: Vec<Enclosed>) -> BTreeMap<i64, Vec<Enclosed>> {
    let mut places: BTreeMap<i64, Vec<Enclosed>> = BTreeMap::new();
    for letter in enclosed {
        places.entry(letter.sequence).or_default().push(letter);
    }
    places
}

/// The envelope that a mark is of, if it is of this batch and what is planned is in it.
fn mark_is_right(
    batch: &Batch,
    mark: &IntegrityMark,
    pieces: &BTreeMap<i64, Piece>,
    enclosed: &BTreeMap<i64, Vec<Enclosed>>,
) -> Result<i64, &'static str> {
    let sequence = i64::from(mark.sequence);
    let piece = pieces.get(&sequence).filter(|_| mark.batch == batch.name);
    let piece = piece.ok_or("the barcode is of another batch")?;
    let inside = enclosed.get(&sequence).map_or(&[][..], Vec::as_slice);
    if checks(mark, &piece.row, inside) { Ok(sequence) } else { Err("the barcode was misread, or is of other content") }
}

/// Whether a mark is one of this envelope's.
pub(super) fn checks(mark: &IntegrityMark, envelope: &Envelope, inside: &[Enclosed]) -> bool {
    let hashes: Vec<&Sha256> = inside.iter().map(|letter| &letter.sha256).collect();
    let right = IntegrityMark::new(&mark.batch, mark.sequence, (mark.sheet, mark.sheets), hashes);
    let placed = (1..=mark.sheets).contains(&mark.sheet) && i64::from(mark.sheets) == envelope.sheets;
    placed && right.check == mark.check
}

/// Writes what was taken of an envelope, and what that makes of its letters.
async fn keep(conn: &mut Conn, stamp: Stamp<'_>, piece: &Piece, inside: &[Enclosed]) -> Result<(), DbError> {
    envelopes::transition(conn, stamp, &piece.row, piece.state, piece.times, piece.reason.as_deref()).await?;
    if piece.state == EnvelopeState::Mailed && piece.row.state != EnvelopeState::Mailed {
        in_the_mail(conn, stamp, inside).await?;
    }
    Ok(())
}

/// The letters of an envelope that the post has are delivered.
pub(super) async fn in_the_mail(conn: &mut Conn, stamp: Stamp<'_>, inside: &[Enclosed]) -> Result<(), DbError> {
    for letter in inside {
        let delivery = deliveries::get(conn, &letter.delivery_id).await?;
        let delivery = delivery.ok_or(DbError::Unreadable { column: "delivery_id" })?;
        deliveries::transition(conn, stamp, &delivery, DeliveryState::Delivered, None).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, form: Form) -> (Vec<String>, Vec<u64>) {
        let mut problems = Problems::default();
        let lines = read(text.as_bytes(), form, &mut problems);
        let lines =
            lines.iter().map(|line| format!("{} {:?} {} {:?}", line.number, line.which, line.event, line.reason));
        (lines.collect(), problems.0.iter().map(|problem| problem.line).collect())
    }

    #[test]
    fn a_line_that_can_t_be_read_is_told_by_its_number_and_keeps_no_other() {
        let (lines, problems) = told(
            "{\"sequence\":1,\"event\":\"mailed\"}\n\nnot JSON\n{\"sequence\":2,\"event\":\"lost\"}\n\
             {\"sequence\":3,\"barcode\":\"B|000003|01/01|00000000\",\"event\":\"mailed\"}\n\
             {\"sequence\":4,\"event\":\"spoiled\",\"reason\":\" jam \",\"at\":\"2026-11-23T17:00:00-05:00\"}\n\
             {\"all\":true,\"event\":\"printed\"}\n{\"sequence\":5,\"event\":\"mailed\",\"at\":\"yesterday\"}",
            Form::Ndjson,
        );
        assert_eq!(lines, ["1 Sequence(1) mailed None", "6 Sequence(4) spoiled Some(\"jam\")", "7 All printed None"]);
        assert_eq!(problems, [3, 4, 5, 8]);
        let (lines, problems) = told(
            "sequence,event,at,reason,operator\n1,mailed,2026-11-23T22:00:00Z,,x\n,mailed,,,\n2, spoiled ,,jam,\n3,missing",
            Form::Csv,
        );
        assert_eq!(lines[..2], ["2 Sequence(1) mailed None", "4 Sequence(2) spoiled Some(\"jam\")"]);
        assert_eq!(problems[0], 3);
        assert_eq!(told("", Form::Csv), (vec![], vec![]));
    }
}
