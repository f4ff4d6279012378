//! Envelope rows and their transitions: what is in each, and what became of it (COR-40, COR-42).

use jiff::Timestamp;
use serde_json::json;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, exactly_one, number, opt_instant, opt_parsed, opt_text, parsed, text};
use crate::db::letters::Addressee;
use crate::db::{events, ledger};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{BatchId, Brand, DeliveryId, EnvelopeId, LetterId, LetterNumber, Sha256};
use crate::model::letter::AddresseeKind;
use crate::model::paper::EnvelopeState;
use crate::model::phi::Phi;

impl Addressee {
    /// The TIN or the member's id.
    pub fn key(&self) -> &str {
        match self {
            Self::Tin(tin) => tin.as_str(),
            Self::Member(member) => member.as_str(),
        }
    }
}

/// Reads an addressee out of its two columns.
pub(super) fn read_addressee(row: &AnyRow) -> Result<Addressee, DbError> {
    Ok(match parsed(row, "addressee")? {
        AddresseeKind::Tin => Addressee::Tin(parsed(row, "addressee_key")?),
        AddresseeKind::Member => Addressee::Member(parsed(row, "addressee_key")?),
    })
}

/// Where an envelope goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailTo {
    /// Whom it is for.
    pub addressee: Addressee,
    /// The address, as JSON.
    pub address: Phi<String>,
    /// The hash of the address in the spelling of the post.
    pub hash: Sha256,
}

/// When an envelope came into its states.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Its sheets were printed.
    pub printed_at: Option<Timestamp>,
    /// They were put into it.
    pub inserted_at: Option<Timestamp>,
    /// The post had it.
    pub mailed_at: Option<Timestamp>,
    /// It was spoiled.
    pub spoiled_at: Option<Timestamp>,
    /// It came back.
    pub returned_at: Option<Timestamp>,
}

/// An envelope as it is stored.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// Its id.
    pub id: EnvelopeId,
    /// Its batch.
    pub batch_id: BatchId,
    /// Its brand.
    pub brand: Brand,
    /// Its place in the batch, from 1.
    pub sequence: i64,
    /// Where it stands.
    pub state: EnvelopeState,
    /// Where it goes.
    pub to: MailTo,
    /// Whether a sheet with the address lies on top.
    pub carrier: bool,
    /// Pages of its letters.
    pub pages: i64,
    /// Sheets in it.
    pub sheets: i64,
    /// Its mailer.
    pub mailer_id: String,
    /// Its serial number in the mail.
    pub serial: i64,
    /// The spoiled one whose place it took.
    pub reprint_of: Option<EnvelopeId>,
    /// The one that took its place.
    pub replaced_by: Option<EnvelopeId>,
    /// Why it was spoiled or came back.
    pub reason: Option<String>,
    /// When it came into its states.
    pub times: Times,
    /// Counts its changes.
    pub version: i64,
}

/// An envelope to be made.
#[derive(Debug, Clone)]
pub struct NewEnvelope<'a> {
    /// Its batch.
    pub batch: &'a BatchId,
    /// Its brand.
    pub brand: &'a Brand,
    /// Its place in the batch, from 1.
    pub sequence: i64,
    /// Where it goes.
    pub to: &'a MailTo,
    /// Whether a sheet with the address lies on top.
    pub carrier: bool,
    /// Pages of its letters.
    pub pages: i64,
    /// Sheets in it.
    pub sheets: i64,
    /// Its mailer.
    pub mailer_id: &'a str,
    /// Its serial number in the mail.
    pub serial: i64,
    /// The spoiled one whose place it takes.
    pub reprint_of: Option<&'a EnvelopeId>,
}

/// A letter in an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enclosed {
    /// The place of its envelope in the batch.
    pub sequence: i64,
    /// Its envelope.
    pub envelope_id: EnvelopeId,
    /// The letter.
    pub letter_id: LetterId,
    /// The way that it goes.
    pub delivery_id: DeliveryId,
    /// The number on it.
    pub number: LetterNumber,
    /// Its pages.
    pub pages: u32,
    /// The hash of its PDF.
    pub sha256: Sha256,
}

/// Makes an envelope with these letters, the first on top.
///
/// # Errors
/// When the database fails; [`DbError::Stale`] when another took the same one's place.
pub async fn insert(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    new: &NewEnvelope<'_>,
    letters: &[(&LetterId, &DeliveryId)],
) -> Result<EnvelopeId, DbError> {
    let id: EnvelopeId = stamp.new_id()?;
    let state = EnvelopeState::InBatch;
    let done = sqlx::query(
        "INSERT INTO envelope (id, batch_id, brand, sequence, state, addressee, addressee_key, address, address_hash,
                               carrier, pages, sheets, mailer_id, serial, reprint_of, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 1) ON CONFLICT DO NOTHING",
    )
    .bind(id.as_str())
    .bind(new.batch.as_str())
    .bind(new.brand.as_str())
    .bind(new.sequence)
    .bind(state.as_str())
    .bind(new.to.addressee.kind().as_str())
    .bind(new.to.addressee.key())
    .bind(new.to.address.reveal())
    .bind(new.to.hash.as_str())
    .bind(i64::from(new.carrier))
    .bind(new.pages)
    .bind(new.sheets)
    .bind(new.mailer_id)
    .bind(new.serial)
    .bind(new.reprint_of.map(EnvelopeId::as_str))
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "envelope")?;
    for (position, (letter, delivery)) in (1i64..).zip(letters) {
        sqlx::query(
            "INSERT INTO envelope_letter (envelope_id, position, letter_id, delivery_id) VALUES ($1, $2, $3, $4)",
        )
        .bind(id.as_str())
        .bind(position)
        .bind(letter.as_str())
        .bind(delivery.as_str())
        .execute(&mut *conn)
        .await?;
    }
    ledger::receipt(conn, stamp, ledger::Kind::Envelope, id.as_str(), new.brand).await?;
    ledger::post(conn, stamp, ledger::Kind::Envelope, id.as_str(), None, state.as_str()).await?;
    Ok(id)
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT e.id, e.batch_id, e.brand, e.sequence, e.state, e.addressee, e.addressee_key, e.address,
                    e.address_hash, e.carrier, e.pages, e.sheets, e.mailer_id, e.serial, e.reprint_of, n.id AS replaced_by,
                    e.reason, e.printed_at, e.inserted_at, e.mailed_at, e.spoiled_at, e.returned_at, e.version
             FROM envelope e LEFT JOIN envelope n ON n.reprint_of = e.id ",
            $tail
        )
    };
}

/// The envelopes of a batch behind a place, in their order; with a state those in it only.
///
/// # Errors
/// When the database fails.
pub async fn of_batch(
    conn: &mut Conn,
    batch: &BatchId,
    state: Option<EnvelopeState>,
    after: i64,
    limit: i64,
) -> Result<Vec<Envelope>, DbError> {
    let rows = sqlx::query(select!(
        "WHERE e.batch_id = $1 AND e.sequence > $2 AND ($3 = '' OR e.state = $3) ORDER BY e.sequence LIMIT $4"
    ))
    .bind(batch.as_str())
    .bind(after)
    .bind(state.map_or("", EnvelopeState::as_str))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// The envelopes of a batch behind a place of which nobody has said what became of them.
///
/// # Errors
/// When the database fails.
pub async fn unaccounted(conn: &mut Conn, batch: &BatchId, after: i64, limit: i64) -> Result<Vec<Envelope>, DbError> {
    let rows = sqlx::query(select!(
        "WHERE e.batch_id = $1 AND e.sequence > $2 AND e.state IN ('in_batch', 'printed', 'inserted')
         ORDER BY e.sequence LIMIT $3"
    ))
    .bind(batch.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// The spoiled envelopes of a batch whose place none has taken yet.
///
/// # Errors
/// When the database fails.
pub async fn to_reprint(conn: &mut Conn, batch: &BatchId) -> Result<Vec<Envelope>, DbError> {
    let rows =
        sqlx::query(select!("WHERE e.batch_id = $1 AND e.state = 'spoiled' AND n.id IS NULL ORDER BY e.sequence"))
            .bind(batch.as_str())
            .fetch_all(conn)
            .await?;
    rows.iter().map(read).collect()
}

/// The envelope at a place of a batch.
///
/// # Errors
/// When the database fails.
pub async fn at(conn: &mut Conn, batch: &BatchId, sequence: i64) -> Result<Option<Envelope>, DbError> {
    let row = sqlx::query(select!("WHERE e.batch_id = $1 AND e.sequence = $2"))
        .bind(batch.as_str())
        .bind(sequence)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read).transpose()
}

/// The last envelope that went with a serial number of a mailer.
///
/// # Errors
/// When the database fails.
pub async fn by_serial(conn: &mut Conn, mailer: &str, serial: i64) -> Result<Option<Envelope>, DbError> {
    let row = sqlx::query(select!(
        "WHERE e.mailer_id = $1 AND e.serial = $2 ORDER BY COALESCE(e.mailed_at, 0) DESC, e.id DESC LIMIT 1"
    ))
    .bind(mailer)
    .bind(serial)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read).transpose()
}

/// The envelopes to an addressee that came back from an address.
///
/// # Errors
/// When the database fails.
pub async fn returned_from(
    conn: &mut Conn,
    brand: &Brand,
    addressee: &Addressee,
    hash: &Sha256,
) -> Result<Vec<Envelope>, DbError> {
    let rows = sqlx::query(select!(
        "WHERE e.brand = $1 AND e.addressee = $2 AND e.addressee_key = $3 AND e.address_hash = $4
         AND e.state = 'returned' ORDER BY e.id"
    ))
    .bind(brand.as_str())
    .bind(addressee.kind().as_str())
    .bind(addressee.key())
    .bind(hash.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// The envelopes that a letter was put into, the last one first, with the names of their batches.
///
/// # Errors
/// When the database fails.
pub async fn of_letter(conn: &mut Conn, letter: &LetterId) -> Result<Vec<(String, Envelope)>, DbError> {
    let rows = sqlx::query(
        "SELECT e.id, e.batch_id, e.brand, e.sequence, e.state, e.addressee, e.addressee_key, e.address, e.address_hash,
                e.carrier, e.pages, e.sheets, e.mailer_id, e.serial, e.reprint_of, n.id AS replaced_by, e.reason,
                e.printed_at, e.inserted_at, e.mailed_at, e.spoiled_at, e.returned_at, e.version, b.name
         FROM delivery d JOIN envelope_letter i ON i.delivery_id = d.id JOIN envelope e ON e.id = i.envelope_id
         JOIN print_batch b ON b.id = e.batch_id LEFT JOIN envelope n ON n.reprint_of = e.id
         WHERE d.letter_id = $1 ORDER BY b.closed_at DESC, b.name DESC",
    )
    .bind(letter.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((text(row, "name")?, read(row)?))).collect()
}

/// What is in the envelopes of a batch, in their order and the order of the letters in them; with a place in that only.
///
/// # Errors
/// When the database fails.
pub async fn enclosed(conn: &mut Conn, batch: &BatchId, sequence: Option<i64>) -> Result<Vec<Enclosed>, DbError> {
    let (from, to) = sequence.map_or((0, i64::MAX), |at| (at, at));
    let rows = sqlx::query(
        "SELECT e.sequence, e.id AS envelope_id, i.letter_id, i.delivery_id, l.number, l.pages, l.sha256
         FROM envelope e JOIN envelope_letter i ON i.envelope_id = e.id JOIN letter l ON l.id = i.letter_id
         WHERE e.batch_id = $1 AND e.sequence >= $2 AND e.sequence <= $3 ORDER BY e.sequence, i.position",
    )
    .bind(batch.as_str())
    .bind(from)
    .bind(to)
    .fetch_all(conn)
    .await?;
    let one = |row: &AnyRow| {
        Ok(Enclosed {
            sequence: number(row, "sequence")?,
            envelope_id: parsed(row, "envelope_id")?,
            letter_id: parsed(row, "letter_id")?,
            delivery_id: parsed(row, "delivery_id")?,
            number: parsed(row, "number")?,
            pages: u32::try_from(number(row, "pages")?).map_err(|_| DbError::Unreadable { column: "pages" })?,
            sha256: parsed(row, "sha256")?,
        })
    };
    rows.iter().map(one).collect()
}

/// How many envelopes of a batch are in each state.
///
/// # Errors
/// When the database fails.
pub async fn counts(conn: &mut Conn, batch: &BatchId) -> Result<Vec<(EnvelopeState, i64)>, DbError> {
    let rows = sqlx::query("SELECT state, COUNT(*) AS n FROM envelope WHERE batch_id = $1 GROUP BY state")
        .bind(batch.as_str())
        .fetch_all(conn)
        .await?;
    let mut counts = Vec::with_capacity(rows.len());
    for row in &rows {
        counts.push((parsed(row, "state")?, number(row, "n")?));
    }
    Ok(counts)
}

/// How many envelopes of a batch are neither in the mail nor replaced.
///
/// # Errors
/// When the database fails.
pub async fn open(conn: &mut Conn, batch: &BatchId) -> Result<i64, DbError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM envelope e LEFT JOIN envelope n ON n.reprint_of = e.id
         WHERE e.batch_id = $1 AND e.state NOT IN ('mailed', 'returned') AND n.id IS NULL",
    )
    .bind(batch.as_str())
    .fetch_one(conn)
    .await?;
    number(&row, "n")
}

/// Brings an envelope into a state, with posting, and keeps the times that are not known yet. In the state that it is
/// in, only its times are kept.
///
/// # Errors
/// [`DbError::Stale`] when the row has changed since it was read.
pub async fn transition(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    envelope: &Envelope,
    to: EnvelopeState,
    times: Times,
    reason: Option<&str>,
) -> Result<(), DbError> {
    let at = |at: Option<Timestamp>| at.map(Timestamp::as_microsecond);
    let done = sqlx::query(
        "UPDATE envelope SET state = $1, reason = COALESCE($2, reason), printed_at = COALESCE(printed_at, $3),
            inserted_at = COALESCE(inserted_at, $4), mailed_at = COALESCE(mailed_at, $5),
            spoiled_at = COALESCE(spoiled_at, $6), returned_at = COALESCE(returned_at, $7), version = version + 1
         WHERE id = $8 AND version = $9",
    )
    .bind(to.as_str())
    .bind(reason)
    .bind(at(times.printed_at))
    .bind(at(times.inserted_at))
    .bind(at(times.mailed_at))
    .bind(at(times.spoiled_at))
    .bind(at(times.returned_at))
    .bind(envelope.id.as_str())
    .bind(envelope.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "envelope")?;
    if to == envelope.state {
        return Ok(());
    }
    let id = envelope.id.as_str();
    ledger::post(conn, stamp, ledger::Kind::Envelope, id, Some(envelope.state.as_str()), to.as_str()).await?;
    if !matches!(to, EnvelopeState::Spoiled | EnvelopeState::Returned) {
        // the word on the whole batch is one event
        return Ok(());
    }
    let event = NewEvent {
        kind: EventType::Envelope(to),
        subject: id,
        brand: &envelope.brand,
        tin_uid: None,
        actor: stamp.actor,
        payload: json!({ "batch": envelope.batch_id, "sequence": envelope.sequence }),
    };
    events::append(conn, stamp, event).await
}

fn read(row: &AnyRow) -> Result<Envelope, DbError> {
    Ok(Envelope {
        id: parsed(row, "id")?,
        batch_id: parsed(row, "batch_id")?,
        brand: parsed(row, "brand")?,
        sequence: number(row, "sequence")?,
        state: parsed(row, "state")?,
        to: MailTo {
            addressee: read_addressee(row)?,
            address: Phi(text(row, "address")?),
            hash: parsed(row, "address_hash")?,
        },
        carrier: number(row, "carrier")? != 0,
        pages: number(row, "pages")?,
        sheets: number(row, "sheets")?,
        mailer_id: text(row, "mailer_id")?,
        serial: number(row, "serial")?,
        reprint_of: opt_parsed(row, "reprint_of")?,
        replaced_by: opt_parsed(row, "replaced_by")?,
        reason: opt_text(row, "reason")?,
        times: Times {
            printed_at: opt_instant(row, "printed_at")?,
            inserted_at: opt_instant(row, "inserted_at")?,
            mailed_at: opt_instant(row, "mailed_at")?,
            spoiled_at: opt_instant(row, "spoiled_at")?,
            returned_at: opt_instant(row, "returned_at")?,
        },
        version: number(row, "version")?,
    })
}
