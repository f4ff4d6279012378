//! Users, their roles, and their rights per TIN (OPS-13, OPS-17). Each change leaves an event with our own ids and
//! codes; no name, address or TIN is in one.
//!
//! Access managers change the rights for their own TINs, and can't leave one without a manager: whoever comes after
//! would have nobody to ask. The payer's administrators can, when a practice leaves. A disabled manager does not count.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Access, Expected, ManageError, Manager, Page};
use crate::db::users::{self, Granted, User, UserFilter};
use crate::db::{Conn, DbError, Stamp, events, reference};
use crate::engine::installation_brand;
use crate::model::access::{Action, Principal, Role, Target, TinRights, TinSet};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{Tin, UserId};
use crate::model::people::{Login, Person};

/// What came of a user that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The user is new.
    Created,
    /// Something of it changed.
    Changed,
    /// It was so before.
    Unchanged,
}

impl Access {
    /// Has a user of that login be that person.
    ///
    /// # Errors
    /// See [`ManageError`].
    pub async fn put_user(
        &self,
        by: Manager<'_>,
        login: &Login,
        person: Person,
        expected: Expected,
    ) -> Result<(User, Put), ManageError> {
        let actor = by.actor();
        let mut tx = self.db.begin().await?;
        let done = put_user(&mut tx, self.stamp(&actor), &by, login, person, expected).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(done)
    }

    /// A user.
    ///
    /// # Errors
    /// See [`ManageError`].
    pub async fn get_user(&self, by: Manager<'_>, id: &UserId) -> Result<User, ManageError> {
        let mut conn = self.db.read().await?;
        visible(&mut conn, &by, id).await
    }

    /// The user of a login.
    ///
    /// # Errors
    /// See [`ManageError`].
    pub async fn get_user_by_login(&self, by: Manager<'_>, login: &Login) -> Result<User, ManageError> {
        over_users(&by)?;
        let mut conn = self.db.read().await?;
        users::by_login(&mut conn, login).await?.ok_or(ManageError::Missing("user"))
    }

    /// Users behind `after`, in the order in which they came.
    ///
    /// # Errors
    /// See [`ManageError`].
    pub async fn list_users(
        &self,
        by: Manager<'_>,
        filter: &UserFilter,
        after: Option<&UserId>,
        limit: i64,
    ) -> Result<Page<User, UserId>, ManageError> {
        over_users(&by)?;
        let mut conn = self.db.read().await?;
        let found = users::list(&mut conn, filter, after, limit + 1).await?;
        Ok(Page::cut(found, limit, |user| user.id.clone()))
    }

    /// Gives a user these roles in place of others. Nobody changes their own.
    ///
    /// # Errors
    /// See [`ManageError`].
    pub async fn set_roles(
        &self,
        by: Manager<'_>,
        id: &UserId,
        roles: BTreeSet<Role>,
        expected: Expected,
    ) -> Result<User, ManageError> {
        let actor = by.actor();
        let mut tx = self.db.begin().await?;
        let user = visible(&mut tx, &by, id).await?;
        expected.meets("user", Some(user.version))?;
        let user = set_roles(&mut tx, self.stamp(&actor), &by, user, roles).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(user)
    }

    /// Shuts a user out, or lets one in again.
    ///
    /// # Errors
    /// See [`ManageError`].
    pub async fn set_disabled(
        &self,
        by: Manager<'_>,
        id: &UserId,
        disabled: bool,
        expected: Expected,
    ) -> Result<User, ManageError> {
        let actor = by.actor();
        let mut tx = self.db.begin().await?;
        let user = visible(&mut tx, &by, id).await?;
        expected.meets("user", Some(user.version))?;
        let user = set_disabled(&mut tx, self.stamp(&actor), user, disabled).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(user)
    }

    /// A user's rights, for the TINs that the caller administers.
    ///
    /// # Errors
    /// See [`ManageError`].
    pub async fn entitlements_of_user(&self, by: Manager<'_>, id: &UserId) -> Result<Vec<Granted>, ManageError> {
        by.may(Action::ManageEntitlements, &Target::Route)?;
        let mut conn = self.db.read().await?;
        let mut granted = users::granted(&mut conn, id).await?;
        granted.retain(|granted| by.may(Action::ManageEntitlements, &Target::Tin(&granted.tin)).is_ok());
        Ok(granted)
    }

    /// Users with rights for a TIN, behind `after`.
    ///
    /// # Errors
    /// See [`ManageError`].
    pub async fn entitlements_of_tin(
        &self,
        by: Manager<'_>,
        tin: &Tin,
        after: Option<&UserId>,
        limit: i64,
    ) -> Result<Page<(User, Granted), UserId>, ManageError> {
        by.may(Action::ManageEntitlements, &Target::Tin(tin))?;
        let mut conn = self.db.read().await?;
        let found = users::of_tin(&mut conn, tin, after, limit + 1).await?;
        Ok(Page::cut(found, limit, |(user, _)| user.id.clone()))
    }

    /// A user's rights for a TIN.
    ///
    /// # Errors
    /// [`ManageError::Missing`] when there are none.
    pub async fn get_entitlement(&self, by: Manager<'_>, id: &UserId, tin: &Tin) -> Result<Granted, ManageError> {
        by.may(Action::ManageEntitlements, &Target::Tin(tin))?;
        let mut conn = self.db.read().await?;
        let granted = users::granted_for(&mut conn, id, tin).await?;
        granted.filter(|granted| !granted.rights.is_empty()).ok_or(ManageError::Missing("entitlement"))
    }

    /// Gives a user these rights for a TIN in place of others; empty ones take all away.
    ///
    /// # Errors
    /// See [`ManageError`].
    pub async fn put_entitlement(
        &self,
        by: Manager<'_>,
        id: &UserId,
        tin: &Tin,
        rights: TinRights,
        expected: Expected,
    ) -> Result<Granted, ManageError> {
        let actor = by.actor();
        let mut tx = self.db.begin().await?;
        let granted = put_entitlement(&mut tx, self.stamp(&actor), &by, (id, tin), rights, expected).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(granted)
    }

    /// Takes a user's rights for a TIN away.
    ///
    /// # Errors
    /// [`ManageError::Missing`] when there are none.
    pub async fn delete_entitlement(
        &self,
        by: Manager<'_>,
        id: &UserId,
        tin: &Tin,
        expected: Expected,
    ) -> Result<(), ManageError> {
        self.get_entitlement(by, id, tin).await?;
        self.put_entitlement(by, id, tin, TinRights::default(), expected).await.map(|_| ())
    }
}

/// Users span TINs: a key that is for some TINs only has no business with them beyond their rights there.
fn over_users(by: &Manager<'_>) -> Result<(), ManageError> {
    by.may(Action::ManageUsers, &Target::Route)?;
    match by.principal() {
        Some(Principal::Service { tins: TinSet::Only(_), .. }) => {
            Err(ManageError::Beyond("users are not for a key that is for some TINs only"))
        }
        _ => Ok(()),
    }
}

async fn visible(conn: &mut Conn, by: &Manager<'_>, id: &UserId) -> Result<User, ManageError> {
    over_users(by)?;
    users::get(conn, id).await?.ok_or(ManageError::Missing("user"))
}

pub(super) async fn put_user(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    by: &Manager<'_>,
    login: &Login,
    person: Person,
    expected: Expected,
) -> Result<(User, Put), ManageError> {
    over_users(by)?;
    let person = person.check().map_err(ManageError::Invalid)?;
    let known = users::by_login(conn, login).await?;
    expected.meets("user", known.as_ref().map(|user| user.version))?;
    let Some(user) = known else {
        let id: UserId = stamp.new_id()?;
        stale(users::insert(conn, stamp, &id, login, &person).await)?;
        tell(conn, stamp, EventType::UserChanged, &id, None, json!({ "created": true })).await?;
        let user = users::get(conn, &id).await?.ok_or(ManageError::Missing("user"))?;
        return Ok((user, Put::Created));
    };
    if user.person == person {
        return Ok((user, Put::Unchanged));
    }
    let fields: Vec<&str> = [("name", user.person.name != person.name), ("email", user.person.email != person.email)]
        .into_iter()
        .filter_map(|(field, changed)| changed.then_some(field))
        .collect();
    let user = User { person, ..user };
    let user = changed(conn, user).await?;
    tell(conn, stamp, EventType::UserChanged, &user.id, None, json!({ "fields": fields })).await?;
    Ok((user, Put::Changed))
}

/// Whether a user may be given these roles by this caller.
pub(super) fn may_set_roles(by: &Manager<'_>, user: &User, roles: &BTreeSet<Role>) -> Result<(), ManageError> {
    match by.principal() {
        Some(Principal::Staff { user: own, .. }) if *own == user.id && *roles != user.roles => {
            Err(ManageError::Beyond("nobody changes their own roles"))
        }
        _ => Ok(()),
    }
}

pub(super) async fn set_roles(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    by: &Manager<'_>,
    user: User,
    roles: BTreeSet<Role>,
) -> Result<User, ManageError> {
    if user.roles == roles {
        return Ok(user);
    }
    may_set_roles(by, &user, &roles)?;
    let payload = json!({ "before": user.roles, "after": roles });
    let user = changed(conn, User { roles, ..user }).await?;
    tell(conn, stamp, EventType::UserRolesChanged, &user.id, None, payload).await?;
    Ok(user)
}

pub(super) async fn set_disabled(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    user: User,
    disabled: bool,
) -> Result<User, ManageError> {
    if user.disabled_at.is_some() == disabled {
        return Ok(user);
    }
    let user = changed(conn, User { disabled_at: disabled.then(|| stamp.ctx.now()), ..user }).await?;
    tell(conn, stamp, EventType::UserChanged, &user.id, None, json!({ "disabled": disabled })).await?;
    Ok(user)
}

pub(super) async fn put_entitlement(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    by: &Manager<'_>,
    (id, tin): (&UserId, &Tin),
    rights: TinRights,
    expected: Expected,
) -> Result<Granted, ManageError> {
    by.may(Action::ManageEntitlements, &Target::Tin(tin))?;
    let by_user = matches!(by.principal(), Some(Principal::User { .. }));
    if by_user {
        users::lock_tin(conn, tin).await?;
    }
    let uid = reference::tin_uid(conn, tin).await?.ok_or(ManageError::Missing("TIN"))?;
    users::get(conn, id).await?.ok_or(ManageError::Missing("user"))?;
    let row = users::granted_for(conn, id, tin).await?;
    let before = row.as_ref().map(|row| row.rights.clone()).unwrap_or_default();
    let version = row.as_ref().filter(|row| !row.rights.is_empty()).map(|row| row.version);
    expected.meets("entitlement", version)?;
    let version = row.map(|row| row.version);
    if before == rights {
        return Ok(Granted { tin: tin.clone(), rights, version: version.unwrap_or(0) });
    }
    let ends_manager = before.access_manager && !rights.access_manager;
    if by_user && ends_manager && users::other_managers(conn, tin, id).await? == 0 {
        return Err(ManageError::Beyond("a TIN keeps at least one access manager; name another first"));
    }
    let version = stale(users::put_granted(conn, stamp, id, tin, &rights, version).await)?;
    let codes = |rights: &TinRights| {
        let mut codes: Vec<&str> = rights.entitlements.iter().map(|code| code.as_str()).collect();
        codes.extend(rights.access_manager.then_some("access_manager"));
        codes
    };
    let payload = json!({ "before": codes(&before), "after": codes(&rights) });
    tell(conn, stamp, EventType::EntitlementChanged, id, Some(&uid), payload).await?;
    Ok(Granted { tin: tin.clone(), rights, version })
}

/// Writes a user as it now is.
async fn changed(conn: &mut Conn, user: User) -> Result<User, ManageError> {
    stale(users::update(conn, &user).await)?;
    Ok(User { version: user.version + 1, ..user })
}

/// Somebody was first, between our reading and our writing.
fn stale<T>(done: Result<T, DbError>) -> Result<T, ManageError> {
    done.map_err(|error| match error {
        DbError::Stale { what } => ManageError::Conflict { what, version: None },
        other => other.into(),
    })
}

async fn tell(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    kind: EventType,
    subject: &UserId,
    tin_uid: Option<&str>,
    payload: Value,
) -> Result<(), DbError> {
    let brand = installation_brand();
    let event = NewEvent { kind, subject: subject.as_str(), brand: &brand, tin_uid, actor: stamp.actor, payload };
    events::append(conn, stamp, event).await
}
