//! What is held back as a whole: mails, faxes, print batches, destruction. A row of `installation` each, so that the
//! statement that lets something go can ask for it.

use jiff::Timestamp;
use serde_json::json;

use super::{Conn, DbError, Stamp, events, installation, installation_like, set_installation};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::Brand;
use crate::model::outgoing::Outgoing;

/// What the rows' names begin with.
const PREFIX: &str = "held.";

/// As it stands in the statement that takes mails.
pub(super) const MAILS_HELD: &str = "SELECT 1 FROM installation WHERE name = 'held.mails'";

/// What is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What.
    pub what: Outgoing,
    /// Since when.
    pub since: Timestamp,
}

fn name(what: Outgoing) -> String {
    format!("{PREFIX}{what}")
}

/// Whether this is held back.
///
/// # Errors
/// When the database fails.
pub async fn is_held(conn: &mut Conn, what: Outgoing) -> Result<bool, DbError> {
    Ok(installation(conn, &name(what)).await?.is_some())
}

/// What is held back, in the order of the names.
///
/// # Errors
/// When the database fails.
pub async fn held(conn: &mut Conn) -> Result<Vec<Held>, DbError> {
    let unreadable = || DbError::Unreadable { column: "value" };
    let rows = installation_like(conn, PREFIX).await?;
    let read = |(name, since): (String, String)| {
        let what = name.strip_prefix(PREFIX).and_then(|what| what.parse().ok()).ok_or_else(unreadable)?;
        let micros = since.parse().map_err(|_| unreadable())?;
        Ok(Held { what, since: Timestamp::from_microsecond(micros).map_err(|_| unreadable())? })
    };
    rows.into_iter().map(read).collect()
}

/// Holds this back, or lets it go on. False when it is so already.
///
/// # Errors
/// When the database fails.
pub async fn set(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    brand: &Brand,
    what: Outgoing,
    stands: bool,
) -> Result<bool, DbError> {
    if is_held(conn, what).await? == stands {
        return Ok(false);
    }
    if stands {
        set_installation(conn, &name(what), &stamp.now().to_string()).await?;
    } else {
        sqlx::query("DELETE FROM installation WHERE name = $1").bind(name(what)).execute(&mut *conn).await?;
    }
    let event = NewEvent {
        kind: EventType::OutgoingHoldChanged,
        subject: "installation",
        brand,
        tin_uid: None,
        actor: stamp.actor,
        payload: json!({ "what": what, "stands": stands }),
    };
    events::append(conn, stamp, event).await?;
    Ok(true)
}
