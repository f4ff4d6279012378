//! Keys of services. A key is a row, its secrets are others, so that one can be rotated with an overlap.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, code_set, exactly_one, instant, number, opt_instant, parsed, text};
use crate::model::access::{Grants, TinSet};
use crate::model::ids::{KeyId, Sha256, Tin};
use crate::model::people::Codes;

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id. It outlives the secrets.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// What it gives.
    pub grants: Grants,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// How often it changed.
    pub version: i64,
}

/// Writes a new key, as yet without a secret.
///
/// # Errors
/// When the database fails.
pub async fn insert(conn: &mut Conn, key: &Key) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO api_key (id, name, scopes, tins, mode, created_at, expires_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(key.id.as_str())
    .bind(&key.name)
    .bind(Codes(key.grants.scopes.clone()).to_string())
    .bind(if key.grants.tins == TinSet::All { "all" } else { "only" })
    .bind(key.grants.mode.as_str())
    .bind(key.created_at.as_microsecond())
    .bind(key.expires_at.as_microsecond())
    .bind(key.version)
    .execute(&mut *conn)
    .await?;
    if let TinSet::Only(tins) = &key.grants.tins {
        for tin in tins {
            sqlx::query("INSERT INTO api_key_tin (key_id, tin) VALUES ($1, $2)")
                .bind(key.id.as_str())
                .bind(tin.as_str())
                .execute(&mut *conn)
                .await?;
        }
    }
    Ok(())
}

/// Gives a key a secret, of which only the hash is kept.
///
/// # Errors
/// When the database fails.
pub async fn put_secret(conn: &mut Conn, stamp: Stamp<'_>, id: &KeyId, hash: &Sha256) -> Result<(), DbError> {
    sqlx::query("INSERT INTO api_key_secret (hash, key_id, created_at) VALUES ($1, $2, $3)")
        .bind(hash.as_str())
        .bind(id.as_str())
        .bind(stamp.now())
        .execute(conn)
        .await?;
    Ok(())
}

/// Has all secrets that a key has now end at an instant, those that end earlier as they do.
///
/// # Errors
/// When the database fails.
pub async fn end_secrets(conn: &mut Conn, id: &KeyId, at: Timestamp) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE api_key_secret SET expires_at = $2 WHERE key_id = $1 AND (expires_at IS NULL OR expires_at > $2)",
    )
    .bind(id.as_str())
    .bind(at.as_microsecond())
    .execute(conn)
    .await?;
    Ok(())
}

/// The key that a secret belongs to, and when the secret ends if a newer one took its place.
///
/// # Errors
/// When the database fails.
pub async fn by_secret(conn: &mut Conn, hash: &Sha256) -> Result<Option<(Key, Option<Timestamp>)>, DbError> {
    let row = sqlx::query(
        "SELECT k.id, k.name, k.scopes, k.tins, k.mode, k.created_at, k.expires_at, k.revoked_at, k.version,
                s.expires_at AS secret_expires_at
         FROM api_key_secret s JOIN api_key k ON k.id = s.key_id WHERE s.hash = $1",
    )
    .bind(hash.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let ends = opt_instant(&row, "secret_expires_at")?;
    Ok(Some((read(conn, &row).await?, ends)))
}

/// A key.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &KeyId) -> Result<Option<Key>, DbError> {
    let row = sqlx::query(
        "SELECT id, name, scopes, tins, mode, created_at, expires_at, revoked_at, version FROM api_key WHERE id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    match row {
        None => Ok(None),
        Some(row) => read(conn, &row).await.map(Some),
    }
}

/// Keys behind `after`, in the order in which they were made.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut Conn, after: Option<&KeyId>, limit: i64) -> Result<Vec<Key>, DbError> {
    let rows = sqlx::query(
        "SELECT id, name, scopes, tins, mode, created_at, expires_at, revoked_at, version FROM api_key
             WHERE id > $1 ORDER BY id LIMIT $2",
    )
    .bind(after.map_or("", KeyId::as_str))
    .bind(limit)
    .fetch_all(&mut *conn)
    .await?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in &rows {
        keys.push(read(conn, row).await?);
    }
    Ok(keys)
}

/// Gives a key that was read at that version a new end.
///
/// # Errors
/// [`DbError::Stale`] when it has changed since.
pub async fn renew(conn: &mut Conn, key: &Key, expires_at: Timestamp) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE api_key SET expires_at = $3, version = version + 1 WHERE id = $1 AND version = $2 AND revoked_at IS NULL",
    )
    .bind(key.id.as_str())
    .bind(key.version)
    .bind(expires_at.as_microsecond())
    .execute(conn)
    .await?;
    exactly_one(&done, "key")
}

/// Revokes a key. False when it was before.
///
/// # Errors
/// When the database fails.
pub async fn revoke(conn: &mut Conn, stamp: Stamp<'_>, id: &KeyId) -> Result<bool, DbError> {
    let done =
        sqlx::query("UPDATE api_key SET revoked_at = $2, version = version + 1 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id.as_str())
            .bind(stamp.now())
            .execute(conn)
            .await?;
    Ok(done.rows_affected() == 1)
}

async fn read(conn: &mut Conn, row: &AnyRow) -> Result<Key, DbError> {
    let id: KeyId = parsed(row, "id")?;
    let tins = match text(row, "tins")?.as_str() {
        "all" => TinSet::All,
        "only" => TinSet::Only(tins(conn, &id).await?),
        _ => return Err(DbError::Unreadable { column: "tins" }),
    };
    let grants = Grants { scopes: code_set(row, "scopes")?, tins, mode: parsed(row, "mode")? };
    Ok(Key {
        id,
        name: text(row, "name")?,
        grants,
        created_at: instant(row, "created_at")?,
        expires_at: instant(row, "expires_at")?,
        revoked_at: opt_instant(row, "revoked_at")?,
        version: number(row, "version")?,
    })
}

async fn tins(conn: &mut Conn, id: &KeyId) -> Result<BTreeSet<Tin>, DbError> {
    let rows = sqlx::query("SELECT tin FROM api_key_tin WHERE key_id = $1").bind(id.as_str()).fetch_all(conn).await?;
    rows.iter().map(|row| parsed(row, "tin")).collect()
}
