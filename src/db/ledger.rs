//! The conservation ledger: whatever was accepted is somewhere, counted in three ways that share no code path.
//!
//! A receipt is written once per acceptance, a posting per transition, and the rows are there to be counted.
//! A row that vanished, appeared, or was changed behind the program's back makes the three differ.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Conn, DbError, Stamp, number, opt_text, text};
use crate::codes;
use crate::model::digest::NotificationState;
use crate::model::document::DocumentState;
use crate::model::ids::Brand;
use crate::model::letter::{DeliveryChannel, DeliveryState, LetterState};
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
        /// Deliveries of letters to the Messaging Center.
        Inbox = "delivery_inbox",
        /// Deliveries of letters on paper.
        Paper = "delivery_paper",
        /// Deliveries of letters by fax.
        Fax = "delivery_fax",
        /// Envelopes.
        Envelope = "envelope",
    }
}

impl Kind {
    /// Deliveries are counted per channel: one that went over to another channel behind the program's back shows.
    pub const fn delivery(channel: DeliveryChannel) -> Self {
        match channel {
            DeliveryChannel::Inbox => Self::Inbox,
            DeliveryChannel::Paper => Self::Paper,
            DeliveryChannel::Fax => Self::Fax,
        }
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

/// Letters: what was asked for is in flight or came to one of three ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LetterCount {
    /// Receipts written when a letter was asked for.
    pub asked: i64,
    /// Rows on their way: asked, composed, rendered.
    pub in_flight: i64,
    /// Rows whose ways are decided.
    pub routed: i64,
    /// Rows that a hold, a person or a newer letter stopped.
    pub stopped: i64,
    /// Rows that can't be produced.
    pub refused: i64,
    /// Of the stopped and the refused, those that say no reason.
    pub unexplained: i64,
}

/// Deliveries of a channel: what was created waits or came to one of two ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryCount {
    /// The channel.
    pub channel: DeliveryChannel,
    /// Receipts written when a delivery was decided.
    pub created: i64,
    /// Rows that wait for their channel.
    pub waiting: i64,
    /// Rows that their channel has taken.
    pub in_batch: i64,
    /// Rows that arrived.
    pub delivered: i64,
    /// Rows that came back.
    pub returned: i64,
    /// Rows that were stopped.
    pub stopped: i64,
    /// Of those, the ones that say no reason.
    pub unexplained: i64,
}

/// Notifications of a brand: who was to be told waits, is in a mail, or is in none for a reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DigestCount {
    /// The brand.
    pub brand: String,
    /// Users who were to be told when messages came, as the messages say.
    pub notified: i64,
    /// Notifications that wait.
    pub waiting: i64,
    /// Notifications that are in mails.
    pub mailed: i64,
    /// Notifications that are in none.
    pub left_out: i64,
    /// Those of them that were taken out of a mail right before it was sent.
    pub taken_out: i64,
    /// Notifications whose state does not go with their reason and mail.
    pub unexplained: i64,
    /// Notifications that were left out beside runs, when their users turned mails on.
    pub set_aside: i64,
    /// Letters that mails told of when they were planned, by their items, less those that a later mail took over.
    pub planned: i64,
    /// Letters that they tell of, by their items.
    pub told: i64,
    /// Notifications that runs say they left out.
    pub left_out_by_runs: i64,
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
    /// What became of the letters that were asked for.
    pub letters: LetterCount,
    /// What became of their deliveries, per channel.
    pub deliveries: Vec<DeliveryCount>,
    /// Deliveries that say they are in a batch and not in the mail yet.
    pub in_batches: i64,
    /// Letters in envelopes that are not in the mail yet; an envelope that another took the place of is not counted.
    pub in_envelopes: i64,
    /// Sheets of all envelopes.
    pub sheets: i64,
    /// Sheets of all batches.
    pub planned_sheets: i64,
    /// What became of notifications, per brand.
    pub digests: Vec<DigestCount>,
    /// Mails that say other counts than their items, or have no run.
    pub crooked_mails: i64,
    /// Runs that say other counts than their mails.
    pub crooked_runs: i64,
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
         UNION ALL SELECT 'row', 'delivery_' || channel, state, COUNT(*) FROM delivery GROUP BY channel, state
         UNION ALL SELECT 'row', 'envelope', state, COUNT(*) FROM envelope GROUP BY state
         UNION ALL SELECT 'on_its_way', 'delivery_paper', NULL, COUNT(*) FROM delivery
                   WHERE channel = 'paper' AND state = 'in_batch'
         UNION ALL SELECT 'in_envelopes', 'delivery_paper', NULL, COUNT(*) FROM envelope_letter i
                   JOIN envelope e ON e.id = i.envelope_id
                   WHERE e.state IN ('in_batch', 'printed', 'inserted', 'spoiled')
                   AND NOT EXISTS (SELECT 1 FROM envelope n WHERE n.reprint_of = e.id)
         UNION ALL SELECT 'planned_sheets', 'envelope', NULL, CAST(COALESCE(SUM(sheets), 0) AS BIGINT) FROM print_batch
         UNION ALL SELECT 'sheets', 'envelope', NULL, CAST(COALESCE(SUM(sheets), 0) AS BIGINT) FROM envelope
         UNION ALL SELECT 'notified', brand, NULL, CAST(SUM(notified) AS BIGINT) FROM message GROUP BY brand
         UNION ALL SELECT 'notification', brand, state, COUNT(*) FROM notification GROUP BY brand, state
         UNION ALL SELECT 'taken_out', brand, NULL, COUNT(*) FROM notification
                   WHERE state = 'left_out' AND mail_id IS NOT NULL GROUP BY brand
         UNION ALL SELECT 'odd_notification', brand, NULL, COUNT(*) FROM notification
                   WHERE CASE WHEN state = 'waiting' THEN reason IS NOT NULL OR mail_id IS NOT NULL
                              WHEN state = 'mailed' THEN reason IS NOT NULL OR mail_id IS NULL
                              WHEN state = 'left_out' THEN COALESCE(reason, '') = ''
                              ELSE 1 = 1 END GROUP BY brand
         UNION ALL SELECT 'set_aside', brand, NULL, COUNT(*) FROM notification
                   WHERE state = 'left_out' AND mail_id IS NULL AND reason = 'was_off' GROUP BY brand
         UNION ALL SELECT 'planned', d.brand, NULL, CAST(SUM(i.letters - i.carried) AS BIGINT) FROM digest_item i
                   JOIN digest_mail d ON d.id = i.mail_id GROUP BY d.brand
         UNION ALL SELECT 'told', d.brand, NULL, CAST(SUM(COALESCE(i.sent_letters, i.letters)) AS BIGINT) FROM digest_item i
                   JOIN digest_mail d ON d.id = i.mail_id GROUP BY d.brand
         UNION ALL SELECT 'left_out_by_runs', brand, NULL, CAST(SUM(left_out) AS BIGINT) FROM digest_run GROUP BY brand
         UNION ALL SELECT 'crooked', 'mail', NULL, COUNT(*) FROM digest_mail d
                   LEFT JOIN (SELECT mail_id, COUNT(*) AS items, CAST(SUM(letters) AS BIGINT) AS letters FROM digest_item
                              GROUP BY mail_id) AS i ON i.mail_id = d.id
                   LEFT JOIN digest_run r ON r.id = d.run_id
                   WHERE i.mail_id IS NULL OR r.id IS NULL OR i.items <> d.items OR i.letters <> d.letters
         UNION ALL SELECT 'crooked', 'run', NULL, COUNT(*) FROM digest_run r
                   LEFT JOIN (SELECT run_id, COUNT(*) AS mails, COUNT(DISTINCT user_id) AS users,
                                     CAST(SUM(items) AS BIGINT) AS items, CAST(SUM(letters) AS BIGINT) AS letters
                              FROM digest_mail GROUP BY run_id) AS m ON m.run_id = r.id
                   WHERE r.mails <> COALESCE(m.mails, 0) OR r.users <> COALESCE(m.users, 0)
                      OR r.items <> COALESCE(m.items, 0) OR r.letters <> COALESCE(m.letters, 0)
         UNION ALL SELECT 'in', kind, to_state, COUNT(*) FROM posting GROUP BY kind, to_state
         UNION ALL SELECT 'out', kind, from_state, COUNT(*) FROM posting WHERE from_state IS NOT NULL GROUP BY kind, from_state
         UNION ALL SELECT 'receipts', kind, NULL, COUNT(*) FROM receipt GROUP BY kind
         UNION ALL SELECT 'born', kind, NULL, COUNT(*) FROM posting WHERE from_state IS NULL GROUP BY kind
         UNION ALL SELECT 'unexplained', 'letter', NULL, COUNT(*) FROM letter
                   WHERE state IN ('refused', 'stopped') AND COALESCE(reason_code, '') = ''
         UNION ALL SELECT 'unexplained', 'delivery_' || channel, NULL, COUNT(*) FROM delivery
                   WHERE state = 'stopped' AND COALESCE(reason, '') = '' GROUP BY channel
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
    for channel in DeliveryChannel::ALL {
        states.extend(DeliveryState::ALL.iter().map(|s| (Kind::delivery(*channel), s.to_string())));
    }
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
    let row = |kind: Kind, state: &str| figure("row", kind.as_str(), state);
    let letters = LetterCount {
        asked: figure("receipts", Kind::Letter.as_str(), ""),
        in_flight: LetterState::ALL.iter().filter(|s| !s.is_final()).map(|s| row(Kind::Letter, s.as_str())).sum(),
        routed: row(Kind::Letter, LetterState::Routed.as_str()),
        stopped: row(Kind::Letter, LetterState::Stopped.as_str()),
        refused: row(Kind::Letter, LetterState::Refused.as_str()),
        unexplained: figure("unexplained", Kind::Letter.as_str(), ""),
    };
    let of_channel = |channel: DeliveryChannel| {
        let kind = Kind::delivery(channel);
        DeliveryCount {
            channel,
            created: figure("receipts", kind.as_str(), ""),
            waiting: row(kind, DeliveryState::Waiting.as_str()),
            in_batch: row(kind, DeliveryState::InBatch.as_str()),
            delivered: row(kind, DeliveryState::Delivered.as_str()),
            returned: row(kind, DeliveryState::Returned.as_str()),
            stopped: row(kind, DeliveryState::Stopped.as_str()),
            unexplained: figure("unexplained", kind.as_str(), ""),
        }
    };
    let deliveries: Vec<DeliveryCount> = DeliveryChannel::ALL.iter().copied().map(of_channel).collect();
    let born = |kind: Kind| figure("born", kind.as_str(), "");
    let of_letters = letters.deviation(born(Kind::Letter))
        + deliveries.iter().map(|count| count.deviation(born(Kind::delivery(count.channel)))).sum::<i64>();
    let in_batches = figure("on_its_way", Kind::Paper.as_str(), "");
    let in_envelopes = figure("in_envelopes", Kind::Paper.as_str(), "");
    let sheets = figure("sheets", "envelope", "");
    let planned_sheets = figure("planned_sheets", "envelope", "");
    let brands: BTreeSet<&str> = figures
        .keys()
        .filter(|(what, ..)| ["notified", "notification", "planned", "left_out_by_runs"].contains(&what.as_str()))
        .map(|(_, brand, _)| brand.as_str())
        .collect();
    let of_brand = |brand: &str| DigestCount {
        brand: brand.to_owned(),
        notified: figure("notified", brand, ""),
        waiting: figure("notification", brand, NotificationState::Waiting.as_str()),
        mailed: figure("notification", brand, NotificationState::Mailed.as_str()),
        left_out: figure("notification", brand, NotificationState::LeftOut.as_str()),
        taken_out: figure("taken_out", brand, ""),
        unexplained: figure("odd_notification", brand, ""),
        set_aside: figure("set_aside", brand, ""),
        planned: figure("planned", brand, ""),
        told: figure("told", brand, ""),
        left_out_by_runs: figure("left_out_by_runs", brand, ""),
    };
    let digests: Vec<DigestCount> = brands.into_iter().map(of_brand).collect();
    let crooked_mails = figure("crooked", "mail", "");
    let crooked_runs = figure("crooked", "run", "");
    let difference = lines.iter().map(|line| (line.rows - line.posted).abs()).sum::<i64>()
        + (receipts - accepted_rows).abs()
        + (receipts - accepted_postings).abs()
        + (waiting_rows - tasks).abs()
        + of_letters
        + (in_batches - in_envelopes).abs()
        + (sheets - planned_sheets).abs()
        + digests.iter().map(DigestCount::deviation).sum::<i64>()
        + crooked_mails
        + crooked_runs;
    Ok(Ledger {
        lines,
        receipts,
        accepted_rows,
        accepted_postings,
        waiting_rows,
        tasks,
        letters,
        deliveries,
        in_batches,
        in_envelopes,
        sheets,
        planned_sheets,
        digests,
        crooked_mails,
        crooked_runs,
        difference,
    })
}

impl LetterCount {
    /// How far receipts, rows and the postings of their births are apart, and what has no reason.
    const fn deviation(&self, born: i64) -> i64 {
        let rows = self.in_flight + self.routed + self.stopped + self.refused;
        (self.asked - rows).abs() + (self.asked - born).abs() + self.unexplained
    }
}

impl DeliveryCount {
    /// As [`LetterCount::deviation`].
    const fn deviation(&self, born: i64) -> i64 {
        let rows = self.waiting + self.in_batch + self.delivered + self.returned + self.stopped;
        (self.created - rows).abs() + (self.created - born).abs() + self.unexplained
    }
}

impl DigestCount {
    /// How far messages, notifications, mails and runs are apart, and what is not explained.
    const fn deviation(&self) -> i64 {
        (self.notified - self.waiting - self.mailed - self.left_out).abs()
            + (self.planned - self.mailed - self.taken_out).abs()
            + (self.told - self.mailed).abs()
            + (self.left_out_by_runs + self.set_aside - self.left_out + self.taken_out).abs()
            + self.unexplained
    }
}
