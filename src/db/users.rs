//! People with logins, their roles, and their rights per TIN.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, code_set, exactly_one, instant, number, opt_instant, opt_text, parsed, text};
use crate::model::access::{Entitlement, Role, TinRights};
use crate::model::ids::{Tin, UserId};
use crate::model::people::{Codes, Login, Person};
use crate::model::phi::Phi;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Our own id.
    pub id: UserId,
    /// The login.
    pub login: Login,
    /// Name and address.
    pub person: Person,
    /// Roles, where it is one of the payer's own people.
    pub roles: BTreeSet<Role>,
    /// Since when we know the user.
    pub created_at: Timestamp,
    /// Since when the user may not come in.
    pub disabled_at: Option<Timestamp>,
    /// How often it changed.
    pub version: i64,
}

/// A user's rights for a TIN, with the version of that row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The TIN.
    pub tin: Tin,
    /// The rights.
    pub rights: TinRights,
    /// How often they changed.
    pub version: i64,
}

/// Which users a list shows.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// A part of name, address or subject.
    pub search: Option<Phi<String>>,
    /// Only those with roles, or only those without.
    pub staff: Option<bool>,
}

/// Writes a new user without roles.
///
/// # Errors
/// [`DbError::Stale`] when there is one of that login.
pub async fn insert(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    id: &UserId,
    login: &Login,
    person: &Person,
) -> Result<(), DbError> {
    let done = sqlx::query(
        "INSERT INTO app_user (id, issuer, subject, name, email, roles, created_at, version)
         VALUES ($1, $2, $3, $4, $5, '', $6, 1) ON CONFLICT (issuer, subject) DO NOTHING",
    )
    .bind(id.as_str())
    .bind(login.issuer.as_str())
    .bind(login.subject.as_str())
    .bind(person.name.reveal())
    .bind(person.email.as_ref().map(Phi::reveal))
    .bind(stamp.now())
    .execute(conn)
    .await?;
    exactly_one(&done, "user")
}

/// Writes what can change of a user, as it now is, over the version that it was read at.
///
/// # Errors
/// [`DbError::Stale`] when it has changed since.
pub async fn update(conn: &mut Conn, user: &User) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE app_user SET name = $3, email = $4, roles = $5, disabled_at = $6, version = version + 1
         WHERE id = $1 AND version = $2",
    )
    .bind(user.id.as_str())
    .bind(user.version)
    .bind(user.person.name.reveal())
    .bind(user.person.email.as_ref().map(Phi::reveal))
    .bind(Codes(user.roles.clone()).to_string())
    .bind(user.disabled_at.map(Timestamp::as_microsecond))
    .execute(conn)
    .await?;
    exactly_one(&done, "user")
}

/// A user.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &UserId) -> Result<Option<User>, DbError> {
    let row = sqlx::query(
        "SELECT id, issuer, subject, name, email, roles, created_at, disabled_at, version FROM app_user WHERE id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read).transpose()
}

/// The user of a login.
///
/// # Errors
/// When the database fails.
pub async fn by_login(conn: &mut Conn, login: &Login) -> Result<Option<User>, DbError> {
    let row = sqlx::query(
        "SELECT id, issuer, subject, name, email, roles, created_at, disabled_at, version FROM app_user
         WHERE issuer = $1 AND subject = $2",
    )
    .bind(login.issuer.as_str())
    .bind(login.subject.as_str())
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Users behind `after`, in the order in which they came.
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut Conn,
    filter: &UserFilter,
    after: Option<&UserId>,
    limit: i64,
) -> Result<Vec<User>, DbError> {
    let part = filter.search.as_ref().map_or_else(|| "%".to_owned(), |search| contains(search.reveal()));
    let staff = match filter.staff {
        None => "any",
        Some(true) => "staff",
        Some(false) => "others",
    };
    let rows = sqlx::query(
        "SELECT id, issuer, subject, name, email, roles, created_at, disabled_at, version FROM app_user
         WHERE id > $1
         AND (LOWER(name) LIKE $2 ESCAPE '!' OR LOWER(COALESCE(email, '')) LIKE $2 ESCAPE '!'
              OR LOWER(subject) LIKE $2 ESCAPE '!')
         AND ($3 = 'any' OR ($3 = 'staff' AND roles <> '') OR ($3 = 'others' AND roles = ''))
         ORDER BY id LIMIT $4",
    )
    .bind(after.map_or("", UserId::as_str))
    .bind(part)
    .bind(staff)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// A pattern for texts that hold `part`, in which no character of it is a wildcard.
fn contains(part: &str) -> String {
    let mut pattern = "%".to_owned();
    for c in part.to_lowercase().chars() {
        if ['!', '%', '_'].contains(&c) {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern + "%"
}

/// The pattern of those entitlements of a `user_tin` row, set between blanks, that hold this one. In it `!` escapes.
pub(super) fn entitled(entitlement: Entitlement) -> String {
    format!("% {} %", entitlement.as_str().replace('_', "!_"))
}

/// A user's rights per TIN.
///
/// # Errors
/// When the database fails.
pub async fn rights(conn: &mut Conn, id: &UserId) -> Result<BTreeMap<Tin, TinRights>, DbError> {
    Ok(granted(conn, id).await?.into_iter().map(|granted| (granted.tin, granted.rights)).collect())
}

/// A user's rights per TIN, with their versions.
///
/// # Errors
/// When the database fails.
pub async fn granted(conn: &mut Conn, id: &UserId) -> Result<Vec<Granted>, DbError> {
    let rows = sqlx::query(
        "SELECT tin, entitlements, manager_since, version FROM user_tin
         WHERE user_id = $1 AND (entitlements <> '' OR manager_since IS NOT NULL) ORDER BY tin",
    )
    .bind(id.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(read_granted).collect()
}

/// A user's rights for a TIN. A row without rights is there for its version.
///
/// # Errors
/// When the database fails.
pub async fn granted_for(conn: &mut Conn, id: &UserId, tin: &Tin) -> Result<Option<Granted>, DbError> {
    let row =
        sqlx::query("SELECT tin, entitlements, manager_since, version FROM user_tin WHERE user_id = $1 AND tin = $2")
            .bind(id.as_str())
            .bind(tin.as_str())
            .fetch_optional(conn)
            .await?;
    row.as_ref().map(read_granted).transpose()
}

/// Users with rights for a TIN, behind `after`.
///
/// # Errors
/// When the database fails.
pub async fn of_tin(
    conn: &mut Conn,
    tin: &Tin,
    after: Option<&UserId>,
    limit: i64,
) -> Result<Vec<(User, Granted)>, DbError> {
    let rows = sqlx::query(
        "SELECT u.id, u.issuer, u.subject, u.name, u.email, u.roles, u.created_at, u.disabled_at, u.version,
                t.tin, t.entitlements, t.manager_since, t.version AS granted_version
         FROM user_tin t JOIN app_user u ON u.id = t.user_id
         WHERE t.tin = $1 AND t.user_id > $2 AND (t.entitlements <> '' OR t.manager_since IS NOT NULL)
         ORDER BY t.user_id LIMIT $3",
    )
    .bind(tin.as_str())
    .bind(after.map_or("", UserId::as_str))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let version = number(row, "granted_version")?;
            Ok((read(row)?, Granted { version, ..read_granted(row)? }))
        })
        .collect()
}

/// Writes a user's rights for a TIN over those of `version`; `None`: there is no row yet. Answers the new version.
///
/// # Errors
/// [`DbError::Stale`] when they have changed since.
pub async fn put_granted(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    id: &UserId,
    tin: &Tin,
    rights: &TinRights,
    version: Option<i64>,
) -> Result<i64, DbError> {
    let statement = match version {
        None => {
            "INSERT INTO user_tin (user_id, tin, entitlements, manager_since, version)
             VALUES ($1, $2, $3, $4, $5 + 1) ON CONFLICT (user_id, tin) DO NOTHING"
        }
        Some(_) => {
            "UPDATE user_tin SET entitlements = $3, version = version + 1,
                manager_since = CASE WHEN $4 IS NULL THEN NULL ELSE COALESCE(manager_since, $4) END
             WHERE user_id = $1 AND tin = $2 AND version = $5"
        }
    };
    let done = sqlx::query(statement)
        .bind(id.as_str())
        .bind(tin.as_str())
        .bind(Codes(rights.entitlements.clone()).to_string())
        .bind(rights.access_manager.then(|| stamp.now()))
        .bind(version.unwrap_or(0))
        .execute(conn)
        .await?;
    exactly_one(&done, "entitlement")?;
    Ok(version.unwrap_or(0) + 1)
}

/// Takes the practice's row for the rest of the transaction: whoever decides over its access managers must be the
/// only one to.
///
/// # Errors
/// When the database fails.
pub async fn lock_tin(conn: &mut Conn, tin: &Tin) -> Result<(), DbError> {
    sqlx::query("UPDATE tin SET uid = uid WHERE tin = $1").bind(tin.as_str()).execute(conn).await?;
    Ok(())
}

/// How many users other than this one administer a TIN and may come in.
///
/// # Errors
/// When the database fails.
pub async fn other_managers(conn: &mut Conn, tin: &Tin, but: &UserId) -> Result<i64, DbError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM user_tin t JOIN app_user u ON u.id = t.user_id
         WHERE t.tin = $1 AND t.user_id <> $2 AND t.manager_since IS NOT NULL AND u.disabled_at IS NULL",
    )
    .bind(tin.as_str())
    .bind(but.as_str())
    .fetch_one(conn)
    .await?;
    number(&row, "n")
}

fn read(row: &AnyRow) -> Result<User, DbError> {
    Ok(User {
        id: parsed(row, "id")?,
        login: Login { issuer: parsed(row, "issuer")?, subject: parsed(row, "subject")? },
        person: Person { name: Phi(text(row, "name")?), email: opt_text(row, "email")?.map(Phi) },
        roles: code_set(row, "roles")?,
        created_at: instant(row, "created_at")?,
        disabled_at: opt_instant(row, "disabled_at")?,
        version: number(row, "version")?,
    })
}

fn read_granted(row: &AnyRow) -> Result<Granted, DbError> {
    let rights = TinRights {
        entitlements: code_set(row, "entitlements")?,
        access_manager: opt_instant(row, "manager_since")?.is_some(),
    };
    Ok(Granted { tin: parsed(row, "tin")?, rights, version: number(row, "version")? })
}
