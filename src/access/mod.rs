//! Stand-in until the branch with keys and users is merged.

use std::sync::Arc;

use thiserror::Error;

use crate::db::{Db, DbError};
use crate::model::access::{Mode, Principal, Scope, TinSet};
use crate::model::ids::KeyId;
use crate::outside::context::Context;

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whom the caller is taken for.
    pub principal: Principal,
    /// The service key that acts for the user.
    pub through: Option<KeyId>,
}

impl Caller {
    /// Whom events name.
    pub fn actor(&self) -> String {
        match &self.through {
            None => self.principal.actor(),
            Some(key) => format!("{} via key:{key}", self.principal.actor()),
        }
    }
}

/// Why a caller is not known.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "stand-in")]
pub enum AuthError {
    #[error("the key or token is not valid")]
    Unknown,
    #[error("the key or token has expired")]
    Expired,
    #[error("the key was revoked")]
    Revoked,
    #[error("no user of this installation has this login")]
    NoUser,
    #[error("the user is disabled")]
    Disabled,
    #[error("the key may not act for users")]
    NotActAs,
    #[error("the issuer's keys can't be had now")]
    Issuer,
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Knows callers.
#[derive(Clone)]
pub struct Access {
    local: Option<(String, Arc<Principal>)>,
    ctx: Context,
}

impl Access {
    /// Stand-in.
    pub fn new(_: Db, ctx: Context) -> Self {
        Self { local: None, ctx }
    }

    /// A key of this process alone.
    #[must_use]
    pub fn with_local_key(mut self) -> (Self, String) {
        let key = format!("lck_live_{}", hex::encode(self.ctx.secret_bytes()));
        let id = self.ctx.new_id().parse().unwrap_or_else(|_| unreachable!());
        let principal = Principal::Service {
            key: id,
            scopes: Scope::ALL.iter().copied().collect(),
            tins: TinSet::All,
            mode: Mode::Live,
        };
        self.local = Some((key.clone(), Arc::new(principal)));
        (self, key)
    }

    /// Who is it?
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn authenticate(&self, bearer: &str, _act_as: Option<&str>) -> Result<Caller, AuthError> {
        match &self.local {
            Some((key, principal)) if key == bearer => Ok(Caller { principal: (**principal).clone(), through: None }),
            _ => Err(AuthError::Unknown),
        }
    }
}
