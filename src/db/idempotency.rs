//! Requests under an `Idempotency-Key` (INT-31). A row is claimed before the request's body is read; with it the id
//! of what the request will make is chosen, so that whoever repeats it finds what was made.

use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, exactly_one, number, opt_text, text};

/// A claimed key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The route it was used on.
    pub route: String,
    /// Whether the request has been answered.
    pub done: bool,
    /// Who has it.
    pub token: String,
    /// Until when the one who has it is waited for (microseconds).
    pub lease_until: i64,
    /// The id of what the request makes.
    pub resource: String,
    /// Hash of what the request said, once it was read.
    pub fingerprint: Option<String>,
}

/// A key to be claimed.
#[derive(Debug, Clone, Copy)]
pub struct NewClaim<'a> {
    /// Whose key.
    pub principal: &'a str,
    /// The key.
    pub name: &'a str,
    /// The route it is used on.
    pub route: &'a str,
    /// Who claims it.
    pub token: &'a str,
    /// The id of what the request will make.
    pub resource: &'a str,
    /// Until when the claim holds without an answer (microseconds).
    pub lease_until: i64,
    /// Until when the key is remembered (microseconds).
    pub expires_at: i64,
}

/// Claims a key. `None` when it is ours and new, else what is known of it.
///
/// # Errors
/// When the database fails.
pub async fn claim(conn: &mut Conn, stamp: Stamp<'_>, new: NewClaim<'_>) -> Result<Option<Kept>, DbError> {
    sqlx::query("DELETE FROM idempotency WHERE principal = $1 AND name = $2 AND expires_at <= $3")
        .bind(new.principal)
        .bind(new.name)
        .bind(stamp.now())
        .execute(&mut *conn)
        .await?;
    let made = sqlx::query(
        "INSERT INTO idempotency (principal, name, route, state, token, lease_until, resource, created_at, expires_at)
         VALUES ($1, $2, $3, 'running', $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(new.principal)
    .bind(new.name)
    .bind(new.route)
    .bind(new.token)
    .bind(new.lease_until)
    .bind(new.resource)
    .bind(stamp.now())
    .bind(new.expires_at)
    .execute(&mut *conn)
    .await?;
    if made.rows_affected() == 1 {
        return Ok(None);
    }
    let row = sqlx::query(
        "SELECT route, state, token, lease_until, resource, fingerprint FROM idempotency
         WHERE principal = $1 AND name = $2",
    )
    .bind(new.principal)
    .bind(new.name)
    .fetch_optional(conn)
    .await?;
    // gone between the two statements: the caller tries again
    row.as_ref().map(read).transpose()?.ok_or(DbError::Stale { what: "idempotency key" }).map(Some)
}

/// Takes over a key whose request was abandoned.
///
/// # Errors
/// [`DbError::Stale`] when another has taken it over.
pub async fn take_over(conn: &mut Conn, new: NewClaim<'_>, from: &Kept) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE idempotency SET token = $1, lease_until = $2
         WHERE principal = $3 AND name = $4 AND token = $5 AND state = 'running'",
    )
    .bind(new.token)
    .bind(new.lease_until)
    .bind(new.principal)
    .bind(new.name)
    .bind(&from.token)
    .execute(conn)
    .await?;
    exactly_one(&done, "idempotency key")
}

/// Lengthens the claim of a request that still runs. False when it is over, or another's.
///
/// # Errors
/// When the database fails.
pub async fn renew(conn: &mut Conn, token: &str, lease_until: i64) -> Result<bool, DbError> {
    let done = sqlx::query("UPDATE idempotency SET lease_until = $1 WHERE token = $2 AND state = 'running'")
        .bind(lease_until)
        .bind(token)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps the hash of what the request said.
///
/// # Errors
/// [`DbError::Stale`] when the claim is no longer ours.
pub async fn set_fingerprint(conn: &mut Conn, token: &str, name: &str, fingerprint: &str) -> Result<(), DbError> {
    let done = sqlx::query("UPDATE idempotency SET fingerprint = $1 WHERE token = $2 AND name = $3")
        .bind(fingerprint)
        .bind(token)
        .bind(name)
        .execute(conn)
        .await?;
    exactly_one(&done, "idempotency key")
}

/// Chooses another id for what the request makes: what was begun under the first one has ended.
///
/// # Errors
/// [`DbError::Stale`] when the claim is no longer ours.
pub async fn set_resource(conn: &mut Conn, token: &str, name: &str, resource: &str) -> Result<(), DbError> {
    let done = sqlx::query("UPDATE idempotency SET resource = $1 WHERE token = $2 AND name = $3")
        .bind(resource)
        .bind(token)
        .bind(name)
        .execute(conn)
        .await?;
    exactly_one(&done, "idempotency key")
}

/// The request has been answered.
///
/// # Errors
/// When the database fails.
pub async fn finish(conn: &mut Conn, token: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE idempotency SET state = 'done' WHERE token = $1 AND state = 'running'")
        .bind(token)
        .execute(conn)
        .await?;
    Ok(())
}

/// The request ended without an answer: whoever repeats it need not wait for the lease.
///
/// # Errors
/// When the database fails.
pub async fn abandon(conn: &mut Conn, token: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE idempotency SET lease_until = 0 WHERE token = $1 AND state = 'running'")
        .bind(token)
        .execute(conn)
        .await?;
    Ok(())
}

/// The request was refused and made nothing that stands: the key can be used again, and what its parts made is not
/// looked for.
///
/// # Errors
/// When the database fails.
pub async fn forget(conn: &mut Conn, principal: &str, name: &str, token: &str) -> Result<(), DbError> {
    let done = sqlx::query("DELETE FROM idempotency WHERE token = $1 AND state = 'running'")
        .bind(token)
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 1 {
        // parts are named by the key, a line feed and their number; a key holds no such character
        sqlx::query("DELETE FROM idempotency WHERE principal = $1 AND name > $2 AND name < $3")
            .bind(principal)
            .bind(format!("{name}\n"))
            .bind(format!("{name}\u{b}"))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Sweeps keys whose time is over, some at a time. Answers how many.
///
/// # Errors
/// When the database fails.
pub async fn sweep(conn: &mut Conn, stamp: Stamp<'_>, limit: i64) -> Result<u64, DbError> {
    let done = sqlx::query(
        "DELETE FROM idempotency WHERE (principal, name) IN
         (SELECT principal, name FROM idempotency WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
    )
    .bind(stamp.now())
    .bind(limit)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

fn read(row: &AnyRow) -> Result<Kept, DbError> {
    Ok(Kept {
        route: text(row, "route")?,
        done: text(row, "state")? == "done",
        token: text(row, "token")?,
        lease_until: number(row, "lease_until")?,
        resource: opt_text(row, "resource")?.unwrap_or_default(),
        fingerprint: opt_text(row, "fingerprint")?,
    })
}
