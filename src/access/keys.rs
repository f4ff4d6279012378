//! Keys: made, rotated, revoked. Each leaves an event; no event holds a secret.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::secret::KeySecret;
use super::{Access, Expected, ManageError, Manager, Page};
use crate::db::keys::{self, Key};
use crate::db::{Conn, DbError, Stamp, events};
use crate::engine::installation_brand;
use crate::model::access::{Action, Grants, Target, TinSet};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::KeyId;

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// What it gives.
    pub grants: Grants,
    /// When it ends; without it, after the policy's lifetime.
    pub expires_at: Option<Timestamp>,
}

/// A key to get a new secret.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The key as the caller knows it.
    pub expected: Expected,
    /// How long the old secret works on; without it, as the policy says. None at all when it has become known.
    pub overlap: Option<Duration>,
    /// When the key ends from now on; without it, after the policy's lifetime.
    pub expires_at: Option<Timestamp>,
}

impl Access {
    /// Makes a key. The secret is answered once and not kept.
    ///
    /// # Errors
    /// [`ManageError::Beyond`] when it would give more than the caller has.
    pub async fn create_key(&self, by: Manager<'_>, new: NewKey) -> Result<(Key, KeySecret), ManageError> {
        by.may(Action::ManageKeys, &Target::Route)?;
        covers(&by, &new.grants)?;
        let name = new.name.trim();
        if name.is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
            return Err(ManageError::Invalid("name must have 1 to 100 characters, none of them a control character"));
        }
        if new.grants.scopes.is_empty() {
            return Err(ManageError::Invalid("scopes must name at least one"));
        }
        let actor = by.actor();
        let stamp = self.stamp(&actor);
        let key = Key {
            id: stamp.new_id()?,
            name: name.to_owned(),
            expires_at: self.end(new.expires_at)?,
            grants: new.grants,
            created_at: self.ctx.now(),
            revoked_at: None,
            version: 1,
        };
        let mut tx = self.db.begin().await?;
        keys::insert(&mut tx, &key).await?;
        let secret = self.new_secret(&mut tx, stamp, &key).await?;
        let payload = json!({
            "scopes": key.grants.scopes,
            "tins": counted(&key.grants.tins),
            "mode": key.grants.mode,
            "expires_at": key.expires_at.to_string(),
        });
        tell(&mut tx, stamp, EventType::KeyCreated, &key, payload).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok((key, secret))
    }

    /// Keys behind `after`, of those the caller could make; the part can be shorter than `limit` for the others.
    ///
    /// # Errors
    /// When the caller may not, or the database fails.
    pub async fn list_keys(
        &self,
        by: Manager<'_>,
        after: Option<&KeyId>,
        limit: i64,
    ) -> Result<Page<Key, KeyId>, ManageError> {
        by.may(Action::ManageKeys, &Target::Route)?;
        let mut conn = self.db.read().await?;
        let found = keys::list(&mut conn, after, limit + 1).await?;
        let mut page = Page::cut(found, limit, |key| key.id.clone());
        page.items.retain(|key| covers(&by, &key.grants).is_ok());
        Ok(page)
    }

    /// A key.
    ///
    /// # Errors
    /// [`ManageError::Missing`] also where it gives more than the caller has.
    pub async fn get_key(&self, by: Manager<'_>, id: &KeyId) -> Result<Key, ManageError> {
        let mut conn = self.db.read().await?;
        visible(&mut conn, &by, id).await
    }

    /// Gives a key a new secret and a new end; the old secret works on for the overlap, and no longer than it would
    /// have. The secret is answered once and not kept.
    ///
    /// # Errors
    /// [`ManageError::Conflict`] when the key has changed meanwhile.
    pub async fn rotate_key(
        &self,
        by: Manager<'_>,
        id: &KeyId,
        how: Rotation,
    ) -> Result<(Key, KeySecret), ManageError> {
        let policy = &self.policy.keys;
        let overlap = how.overlap.unwrap_or_else(|| policy.overlap());
        if overlap > policy.longest_overlap() {
            return Err(ManageError::Invalid("the old secret may not work on for so long"));
        }
        let expires_at = self.end(how.expires_at)?;
        let actor = by.actor();
        let stamp = self.stamp(&actor);
        let mut tx = self.db.begin().await?;
        let key = visible(&mut tx, &by, id).await?;
        how.expected.meets("key", Some(key.version))?;
        if key.revoked_at.is_some() {
            return Err(ManageError::Invalid("the key was revoked; make another"));
        }
        match keys::renew(&mut tx, &key, expires_at).await {
            Err(DbError::Stale { .. }) => return Err(ManageError::Conflict { what: "key", version: None }),
            done => done?,
        }
        let old_ends = self.after(overlap)?.min(key.expires_at);
        keys::end_secrets(&mut tx, id, old_ends).await?;
        let secret = self.new_secret(&mut tx, stamp, &key).await?;
        let payload = json!({ "old_secret_ends_at": old_ends.to_string(), "expires_at": expires_at.to_string() });
        tell(&mut tx, stamp, EventType::KeyRotated, &key, payload).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok((Key { expires_at, version: key.version + 1, ..key }, secret))
    }

    /// Revokes a key: from this commit on it is refused on every node. A second time changes nothing.
    ///
    /// # Errors
    /// [`ManageError::Missing`] when it is not there for the caller.
    pub async fn revoke_key(&self, by: Manager<'_>, id: &KeyId) -> Result<Key, ManageError> {
        let actor = by.actor();
        let stamp = self.stamp(&actor);
        let mut tx = self.db.begin().await?;
        let key = visible(&mut tx, &by, id).await?;
        if keys::revoke(&mut tx, stamp, id).await? {
            tell(&mut tx, stamp, EventType::KeyRevoked, &key, json!({})).await?;
        }
        let key = keys::get(&mut tx, id).await?.ok_or(ManageError::Missing("key"))?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(key)
    }

    async fn new_secret(&self, conn: &mut Conn, stamp: Stamp<'_>, key: &Key) -> Result<KeySecret, DbError> {
        let secret = KeySecret::from_random(key.grants.mode, &self.ctx.secret_bytes());
        let hash = secret.hash();
        keys::put_secret(conn, stamp, &key.id, &hash).await?;
        Ok(secret)
    }

    /// When a key ends that is to end then, if that is asked for.
    fn end(&self, asked: Option<Timestamp>) -> Result<Timestamp, ManageError> {
        let policy = &self.policy.keys;
        let Some(asked) = asked else { return self.after(policy.lifetime()) };
        if asked <= self.ctx.now() {
            return Err(ManageError::Invalid("the end of a key must lie ahead"));
        }
        if asked > self.after(policy.longest_lifetime())? {
            return Err(ManageError::Invalid("no key may live so long"));
        }
        Ok(asked)
    }

    fn after(&self, wait: Duration) -> Result<Timestamp, ManageError> {
        self.ctx.now().checked_add(wait).map_err(|_| ManageError::Invalid("that lies too far ahead"))
    }
}

fn covers(by: &Manager<'_>, grants: &Grants) -> Result<(), ManageError> {
    if by.principal().is_none_or(|who| who.may_give(grants)) {
        Ok(())
    } else {
        Err(ManageError::Beyond("nobody can give a key more than they have themselves"))
    }
}

/// A key that the caller could make, too: to others it is not there.
async fn visible(conn: &mut Conn, by: &Manager<'_>, id: &KeyId) -> Result<Key, ManageError> {
    by.may(Action::ManageKeys, &Target::Route)?;
    let key = keys::get(conn, id).await?.filter(|key| covers(by, &key.grants).is_ok());
    key.ok_or(ManageError::Missing("key"))
}

/// A TIN can be a person's number: events say how many there are.
fn counted(tins: &TinSet) -> Value {
    match tins {
        TinSet::All => json!("all"),
        TinSet::Only(tins) => json!(tins.len()),
    }
}

async fn tell(conn: &mut Conn, stamp: Stamp<'_>, kind: EventType, key: &Key, payload: Value) -> Result<(), DbError> {
    let brand = installation_brand();
    let event = NewEvent { kind, subject: key.id.as_str(), brand: &brand, tin_uid: None, actor: stamp.actor, payload };
    events::append(conn, stamp, event).await
}
