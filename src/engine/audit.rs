//! Verifies the chain of events: names the first part that is broken, unsealed or cut off (INT-19, OPS-14).

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

use crate::db::events::{self, Seal};
use crate::db::{Db, DbError};
use crate::engine::sequencer::{AuditKey, BATCH, Head, chain, digest};
use crate::model::event::Event;

/// What is wrong with the chain, first found first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// An event is not as it was sealed.
    Broken {
        /// Its position.
        position: i64,
    },
    /// An event between its neighbours is missing.
    Missing {
        /// Its position.
        position: i64,
    },
    /// A seal's MAC does not fit its events and the seal before.
    SealBroken {
        /// First position under the seal.
        first: i64,
        /// Last position under the seal.
        last: i64,
    },
    /// Events have positions that no seal covers.
    Unsealed {
        /// The first such position.
        position: i64,
    },
    /// The head kept outside the database is further on than the database.
    CutOff {
        /// The last position in the database.
        found: i64,
        /// The position of the head.
        expected: i64,
    },
    /// The head kept outside the database was sealed otherwise.
    HeadDiffers {
        /// The position of the head.
        position: i64,
    },
    /// There are events, but no head was ever kept outside the database, or it is gone.
    HeadMissing,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { position } => write!(f, "broken: event {position} was changed after it was sealed"),
            Self::Missing { position } => write!(f, "broken: event {position} is missing"),
            Self::SealBroken { first, last } => {
                write!(f, "broken: the seal over events {first} to {last} does not fit")
            }
            Self::Unsealed { position } => write!(f, "unsealed: event {position} has a position but no seal"),
            Self::CutOff { found, expected } => {
                write!(f, "cut off: the log ends at {found}, it had reached {expected}")
            }
            Self::HeadDiffers { position } => {
                write!(f, "broken: the head kept outside the database differs at event {position}")
            }
            Self::HeadMissing => {
                write!(f, "cut off: no head is kept outside the database, so the end can't be vouched for")
            }
        }
    }
}

/// What verifying found.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Report {
    /// How many sealed events were read.
    pub events: i64,
    /// Position of the last one.
    pub head: i64,
    /// Committed events that wait for their seal; the sequencer takes them in a moment.
    pub waiting: i64,
    /// The first fault, if any.
    pub fault: Option<Fault>,
}

/// Reads the whole chain.
///
/// # Errors
/// When the database fails.
pub async fn verify(db: &Db, key: &AuditKey, head: Option<&Head>) -> Result<Report, DbError> {
    let mut conn = db.read().await?;
    let mut report = Report { events: 0, head: 0, waiting: events::backlog(&mut conn).await?.0, fault: None };
    let mut previous = String::new();
    let mut head_mac = None;
    loop {
        let seals = events::seals_after(&mut conn, report.head, 50).await?;
        if seals.is_empty() {
            let position = match readable(&mut conn, report.head, 1).await? {
                (_, true) => report.head + 1,
                (events, false) => match events.first() {
                    Some((event, _)) => event.position.unwrap_or_default(),
                    None => break,
                },
            };
            // Position and seal commit together: an event that came meanwhile has its seal by now.
            if events::seals_after(&mut conn, report.head, 1).await?.is_empty() {
                report.fault = Some(Fault::Unsealed { position });
                return Ok(report);
            }
            continue;
        }
        for seal in seals {
            if let Some(fault) = check_seal(&mut conn, key, &previous, &seal, &mut report).await? {
                report.fault = Some(fault);
                return Ok(report);
            }
            if head.is_some_and(|head| head.position == seal.last_position) {
                head_mac = Some(seal.mac.clone());
            }
            previous = seal.mac;
        }
    }
    report.fault = check_head(head, head_mac.as_deref(), report.head);
    Ok(report)
}

async fn check_seal(
    conn: &mut crate::db::Conn,
    key: &AuditKey,
    previous: &str,
    seal: &Seal,
    report: &mut Report,
) -> Result<Option<Fault>, DbError> {
    let next = report.head + 1;
    if seal.first_position > next {
        // The seal between is gone; its events may be, too.
        let (events, unreadable) = readable(conn, report.head, 1).await?;
        let there = unreadable || events.first().is_some_and(|(event, _)| event.position == Some(next));
        let fault = if there { Fault::Unsealed { position: next } } else { Fault::Missing { position: next } };
        return Ok(Some(fault));
    }
    // a seal holds no more than the sequencer puts into one: what says so was changed
    let count = seal.last_position.saturating_sub(report.head);
    if !(1..=BATCH).contains(&count) {
        return Ok(Some(Fault::SealBroken { first: seal.first_position, last: seal.last_position }));
    }
    let (sealed, unreadable) = readable(conn, report.head, count).await?;
    let mut digests = Vec::with_capacity(sealed.len());
    for (event, stored) in &sealed {
        let expected = report.head + 1;
        if event.position != Some(expected) {
            return Ok(Some(Fault::Missing { position: expected }));
        }
        let actual = digest(event, expected);
        if actual != *stored {
            return Ok(Some(Fault::Broken { position: expected }));
        }
        digests.push(actual);
        report.head = expected;
        report.events += 1;
    }
    if unreadable {
        return Ok(Some(Fault::Broken { position: report.head + 1 }));
    }
    if report.head < seal.last_position {
        return Ok(Some(Fault::Missing { position: report.head + 1 }));
    }
    if chain(key, previous, seal.first_position, &digests) != seal.mac {
        return Ok(Some(Fault::SealBroken { first: seal.first_position, last: seal.last_position }));
    }
    Ok(None)
}

/// Up to `limit` events behind a position, up to the first that can't be read back; whether there is one. What was
/// overwritten with nonsense is a finding here, not a fault of reading.
async fn readable(
    conn: &mut crate::db::Conn,
    position: i64,
    limit: i64,
) -> Result<(Vec<(Event, String)>, bool), DbError> {
    match events::after(conn, position, limit).await {
        Err(DbError::Unreadable { .. }) => {}
        read => return Ok((read?, false)),
    }
    let (mut found, mut last) = (Vec::new(), position);
    loop {
        match events::after(conn, last, 1).await {
            Err(DbError::Unreadable { .. }) => return Ok((found, true)),
            read => {
                let Some(next) = read?.pop() else { return Ok((found, false)) };
                last = next.0.position.unwrap_or(last);
                found.push(next);
            }
        }
    }
}

fn check_head(head: Option<&Head>, mac_there: Option<&str>, last: i64) -> Option<Fault> {
    match head {
        None if last > 0 => Some(Fault::HeadMissing),
        Some(head) if head.position > last => Some(Fault::CutOff { found: last, expected: head.position }),
        Some(head) if mac_there != Some(head.mac.as_str()) => Some(Fault::HeadDiffers { position: head.position }),
        _ => None,
    }
}
