//! Who callers are, and what they may be given: keys of services, users with their rights, logins that others vouch
//! for. What a caller may do is decided in `model::access`.
//!
//! Nothing of a key or a right is cached: each request reads the rows, so that what was taken away is away at once on
//! every node. Users are never made from a token: who may come in is decided before.

pub mod keys;
pub mod load;
pub mod paper;
pub mod policy;
pub mod secret;
pub mod users;

use std::sync::Arc;

use thiserror::Error;

use crate::access::policy::AccessPolicy;
use crate::access::secret::KeySecret;
use crate::db::users::User;
use crate::db::{self, Conn, Db, DbError, Stamp};
use crate::model::access::{Action, Answer, Grants, Mode, Principal, Scope, Target, TinSet, may};
use crate::model::ids::{KeyId, Sha256, UserId};
use crate::model::people::Login;
use crate::outside::context::Context;
use crate::outside::oidc::{Oidc, OidcError};

/// Finds out who calls, and manages keys and users. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    db: Db,
    ctx: Context,
    oidc: Option<Oidc>,
    local: Option<Arc<(Sha256, Principal)>>,
    policy: Arc<AccessPolicy>,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who it is, and what they may do.
    pub principal: Principal,
    /// The service's key that acts for the user.
    pub through: Option<KeyId>,
}

impl Caller {
    /// Whom events name: `key:ID`, `user:ID`, `staff:ID`, `user:ID via key:ID`.
    pub fn actor(&self) -> String {
        match &self.through {
            None => self.principal.actor(),
            Some(key) => format!("{} via key:{key}", self.principal.actor()),
        }
    }
}

/// Why a caller is not let in. The texts are for outside.
#[derive(Debug, Error)]
pub enum AuthError {
    /// The key is none, or the token is not one that counts here.
    #[error("the key or token is not known")]
    Unknown,
    /// It has come to its end.
    #[error("the key or token has expired")]
    Expired,
    /// The key was revoked.
    #[error("the key was revoked")]
    Revoked,
    /// There is no user of this login.
    #[error("no user is known by this login")]
    NoUser,
    /// The user may not come in.
    #[error("the user is disabled")]
    Disabled,
    /// The caller may not speak for this user.
    #[error("this caller may not act for this user")]
    NotActAs,
    /// The keys of the token's issuer can't be had.
    #[error("the token can't be checked now: its issuer's keys can't be had")]
    Issuer,
    /// The database failed.
    #[error("the database can't be used now")]
    Db(#[from] DbError),
}

impl Access {
    /// Access over a database; without `oidc`, by keys only.
    pub fn new(db: Db, ctx: Context, oidc: Option<Oidc>, policy: AccessPolicy) -> Self {
        Self { db, ctx, oidc, local: None, policy: Arc::new(policy) }
    }

    /// Adds a key of this process alone, never stored, that may do everything: for commands that run a node within
    /// themselves.
    pub fn with_local_key(self) -> (Self, String) {
        let secret = KeySecret::from_random(Mode::Live, &self.ctx.secret_bytes());
        let key = self.ctx.new_id().parse::<KeyId>().ok();
        let local = key.map(|key| {
            let scopes = Scope::ALL.iter().copied().collect();
            Arc::new((secret.hash(), Principal::Service { key, scopes, tins: TinSet::All, mode: Mode::Live }))
        });
        (Self { local, ..self }, secret.reveal().to_owned())
    }

    /// Who a bearer's key or token stands for. `act_as` names the user whom a service speaks for: `ISSUER SUBJECT`, or
    /// the user's id.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn authenticate(&self, bearer: &str, act_as: Option<&str>) -> Result<Caller, AuthError> {
        if KeySecret::is_meant(bearer) {
            let service = self.by_key(bearer).await?;
            return match act_as {
                None => Ok(Caller { principal: service, through: None }),
                Some(user) => self.act_as(&service, user).await,
            };
        }
        let oidc = self.oidc.as_ref().ok_or(AuthError::Unknown)?;
        let login = oidc.verify(self.ctx.now(), bearer).await.map_err(|error| {
            // Why goes to the log only: whoever tries tokens out should not learn which part of one was right.
            tracing::debug!(error = %error, "a token was refused");
            match error {
                OidcError::Refused(_) => AuthError::Unknown,
                OidcError::Expired => AuthError::Expired,
                OidcError::Unreachable(_) => AuthError::Issuer,
            }
        })?;
        if act_as.is_some() {
            return Err(AuthError::NotActAs);
        }
        let mut conn = self.db.read().await?;
        let user = db::users::by_login(&mut conn, &login).await?;
        Ok(Caller { principal: principal(&mut conn, user).await?, through: None })
    }

    async fn by_key(&self, bearer: &str) -> Result<Principal, AuthError> {
        let hash = KeySecret::parse(bearer).map(|secret| secret.hash()).ok_or(AuthError::Unknown)?;
        if let Some(local) = self.local.as_ref().filter(|local| local.0 == hash) {
            return Ok(local.1.clone());
        }
        let mut conn = self.db.read().await?;
        let (key, secret_ends) = db::keys::by_secret(&mut conn, &hash).await?.ok_or(AuthError::Unknown)?;
        let now = self.ctx.now();
        if key.revoked_at.is_some() {
            return Err(AuthError::Revoked);
        }
        if key.expires_at <= now || secret_ends.is_some_and(|ends| ends <= now) {
            return Err(AuthError::Expired);
        }
        let Grants { scopes, tins, mode } = key.grants;
        Ok(Principal::Service { key: key.id, scopes, tins, mode })
    }

    /// The user whom a service speaks for, with no more than both may have: the user's rights, of those the ones for
    /// the key's TINs, in the key's mode. The payer's own people are not spoken for: a portal's key would be worth as
    /// much as the mightiest of them.
    async fn act_as(&self, service: &Principal, named: &str) -> Result<Caller, AuthError> {
        let Principal::Service { key, scopes, tins, mode } = service else { return Err(AuthError::NotActAs) };
        if !scopes.contains(&Scope::ActAs) {
            return Err(AuthError::NotActAs);
        }
        let mut conn = self.db.read().await?;
        let user = match named.split_once(' ') {
            Some((issuer, subject)) => {
                let login = issuer.parse().ok().zip(subject.parse().ok());
                let (issuer, subject) = login.ok_or(AuthError::NoUser)?;
                db::users::by_login(&mut conn, &Login { issuer, subject }).await?
            }
            None => {
                let id: UserId = named.parse().map_err(|_| AuthError::NoUser)?;
                db::users::get(&mut conn, &id).await?
            }
        };
        match principal(&mut conn, user).await? {
            Principal::User { user, mut rights, .. } => {
                rights.retain(|tin, _| tins.contains(tin));
                Ok(Caller { principal: Principal::User { user, rights, mode: *mode }, through: Some(key.clone()) })
            }
            _ => Err(AuthError::NotActAs),
        }
    }
}

async fn principal(conn: &mut Conn, user: Option<User>) -> Result<Principal, AuthError> {
    let user = user.ok_or(AuthError::NoUser)?;
    if user.disabled_at.is_some() {
        return Err(AuthError::Disabled);
    }
    if !user.roles.is_empty() {
        return Ok(Principal::Staff { user: user.id, roles: user.roles });
    }
    let rights = db::users::rights(conn, &user.id).await?;
    Ok(Principal::User { user: user.id, rights, mode: Mode::Live })
}

/// Who manages keys, users and rights.
#[derive(Debug, Clone, Copy)]
pub enum Manager<'a> {
    /// A caller, within what they may do and have.
    Caller(&'a Caller),
    /// Somebody at the machine, under this name: who has the database needs no leave of ours.
    Machine(&'a str),
}

impl Manager<'_> {
    /// Whom events name.
    pub fn actor(&self) -> String {
        match self {
            Self::Caller(caller) => caller.actor(),
            Self::Machine(name) => (*name).to_owned(),
        }
    }

    fn principal(&self) -> Option<&Principal> {
        match self {
            Self::Caller(caller) => Some(&caller.principal),
            Self::Machine(_) => None,
        }
    }

    /// Asks whether they may do this to that; what is hidden from them is not there.
    fn may(&self, action: Action, target: &Target<'_>) -> Result<(), ManageError> {
        match self.principal().map_or(Answer::Yes, |who| may(who, action, target)) {
            Answer::Yes => Ok(()),
            Answer::Hidden => Err(ManageError::Missing("TIN")),
            Answer::Forbidden { .. } => Err(ManageError::Beyond("that is not for this caller to do")),
        }
    }
}

/// Why nothing was changed. The texts are for outside.
#[derive(Debug, Error)]
pub enum ManageError {
    /// It is not there, or not for the caller to see.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// It has changed since the caller saw it.
    #[error("the {what} has changed meanwhile")]
    Conflict {
        /// What.
        what: &'static str,
        /// Its version now; `None`: it is not there.
        version: Option<i64>,
    },
    /// The caller may not do it.
    #[error("{0}")]
    Beyond(&'static str),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, C> {
    /// What is in it.
    pub items: Vec<T>,
    /// Behind which the next part begins; `None`: this is the last.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// A part of at most `limit`, from one item more than that where there are more.
    fn cut(mut items: Vec<T>, limit: i64, cursor: impl Fn(&T) -> C) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }
}

/// What the caller knows of a thing that is to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing; it is changed as it is.
    Any,
    /// That it is not there (`If-None-Match: *`).
    Absent,
    /// Its version (`If-Match`).
    Version(i64),
}

impl Expected {
    /// Whether what is there is what was expected.
    fn meets(self, what: &'static str, version: Option<i64>) -> Result<(), ManageError> {
        let met = match self {
            Self::Any => true,
            Self::Absent => version.is_none(),
            Self::Version(expected) => version == Some(expected),
        };
        if met { Ok(()) } else { Err(ManageError::Conflict { what, version }) }
    }
}

impl Access {
    fn stamp<'a>(&'a self, actor: &'a str) -> Stamp<'a> {
        Stamp { ctx: &self.ctx, actor }
    }
}
