//! Jobs of which one may run at a time, over all nodes.

use super::{Conn, DbError, Stamp};

/// Takes or renews the lease `name` for `token` until `until` (microseconds). True when it is ours.
///
/// # Errors
/// When the database fails.
pub async fn take(conn: &mut Conn, stamp: Stamp<'_>, name: &str, token: &str, until: i64) -> Result<bool, DbError> {
    let taken = sqlx::query(
        "INSERT INTO lease (name, token, until_at) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET token = excluded.token, until_at = excluded.until_at
         WHERE lease.token = excluded.token OR lease.until_at < $4",
    )
    .bind(name)
    .bind(token)
    .bind(until)
    .bind(stamp.now())
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Gives the lease back before its time.
///
/// # Errors
/// When the database fails.
pub async fn release(conn: &mut Conn, name: &str, token: &str) -> Result<(), DbError> {
    sqlx::query("DELETE FROM lease WHERE name = $1 AND token = $2").bind(name).bind(token).execute(conn).await?;
    Ok(())
}
