//! `Idempotency-Key` (INT-31): a repeated request answers the same and does nothing twice.
//!
//! The key is claimed before the body is read, and with it the id of what the request will make is chosen. So the
//! answer of a repeated request is not kept but built anew from what was made, and a request that was cut off at any
//! point is gone on with. What the request said is compared by its hash, files with the documents they became.
//!
//! A claim is a short lease, renewed as long as its request runs: a node that dies in the middle of a request must not
//! keep its sender, who repeats it as told, waiting for as long as the slowest upload may take.

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

use super::api::Api;
use super::errors::Problem;
use super::problems::Code;
use crate::access::Caller;
use crate::db::idempotency::{self, Kept, NewClaim};
use crate::db::{DbError, Stamp};

/// The header.
pub const HEADER: &str = "idempotency-key";
/// The longest key, in bytes.
const KEY_BYTES: usize = 255;

/// A claimed key. Dropped before its end, the request counts as abandoned, and whoever repeats it goes on with it.
pub struct Claim {
    api: Api,
    actor: String,
    name: String,
    token: String,
    /// The id of what the request makes.
    pub resource: String,
    /// Whether an earlier request may have made it.
    pub again: bool,
    done: bool,
    fingerprint: Option<String>,
    over: bool,
    /// Renews the lease until this is dropped.
    _keeper: Option<AbortOnDropHandle<()>>,
}

/// Claims the key of a request, if it has one.
///
/// # Errors
/// 409 while another request under this key runs, 422 when the key was used for another route.
pub async fn claim(api: &Api, caller: &Caller, headers: &HeaderMap, route: &str) -> Result<Option<Claim>, Problem> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let name = value.to_str().ok().filter(|name| !name.is_empty() && name.len() <= KEY_BYTES);
    let name = name.ok_or_else(|| Problem::bad("Idempotency-Key must have 1 to 255 printable ASCII characters"))?;
    claim_named(api, &caller.actor(), name, route, false).await.map(Some)
}

async fn claim_named(api: &Api, actor: &str, name: &str, route: &str, alone: bool) -> Result<Claim, Problem> {
    let stamp = Stamp { ctx: &api.intake.ctx, actor };
    let (token, fresh) = (stamp.ctx.new_id(), stamp.ctx.new_id());
    let policy = &api.plan.idempotency;
    let new = NewClaim {
        principal: actor,
        name,
        route,
        token: &token,
        resource: &fresh,
        lease_until: stamp.after(Duration::from_secs(policy.lease_s)),
        expires_at: stamp.after(Duration::from_secs(policy.expiry_h * 3_600)),
    };
    let mut tx = api.intake.db.begin().await?;
    let known = idempotency::claim(&mut tx, stamp, new).await?;
    if let Some(known) = &known {
        if known.route != route {
            return Err(reused());
        }
        if !known.done {
            if known.lease_until > stamp.now() && !alone {
                let detail = "a request under this Idempotency-Key is still running";
                return Err(Problem::of(Code::StillRunning, detail).retry_after(Duration::from_secs(2)));
            }
            idempotency::take_over(&mut tx, new, known).await?;
        }
    }
    tx.commit().await.map_err(DbError::from)?;
    let (resource, again, done, fingerprint) = match known {
        None => (fresh, false, false, None),
        Some(Kept { resource, done, fingerprint, .. }) => (resource, true, done, fingerprint),
    };
    let (actor, name) = (actor.to_owned(), name.to_owned());
    // of a part, the whole request's claim tells that somebody works on it
    let kept = !done && !alone;
    let keeper = kept.then(|| AbortOnDropHandle::new(tokio::spawn(keep(api.clone(), actor.clone(), token.clone()))));
    Ok(Claim { api: api.clone(), actor, name, token, resource, again, done, fingerprint, over: false, _keeper: keeper })
}

/// Renews a claim until it is over.
async fn keep(api: Api, actor: String, token: String) {
    let lease = Duration::from_secs(api.plan.idempotency.lease_s);
    loop {
        tokio::time::sleep(lease / 3).await;
        let renewed = async {
            let until = Stamp { ctx: &api.intake.ctx, actor: &actor }.after(lease);
            let mut tx = api.intake.db.begin().await?;
            let ours = idempotency::renew(&mut tx, &token, until).await?;
            tx.commit().await?;
            Ok::<bool, DbError>(ours)
        };
        // while the database is away nobody else can claim it either
        if let Ok(false) = renewed.await {
            return;
        }
    }
}

fn reused() -> Problem {
    Problem::of(Code::KeyReused, "another request was made under this Idempotency-Key; use a new key for a new request")
}

impl Claim {
    /// The claim of a part of this request, by its number. This one being ours, nobody else works on its parts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn part(&self, number: usize) -> Result<Self, Problem> {
        let name = format!("{}\n{number}", self.name);
        claim_named(&self.api, &self.actor, &name, "part", true).await
    }

    /// Compares what the request says with what was said before under this key, or remembers it.
    ///
    /// # Errors
    /// 422 when it is another request.
    pub async fn says(&mut self, what: &[u8]) -> Result<(), Problem> {
        let fingerprint = hex::encode(Sha256::digest(what));
        match &self.fingerprint {
            Some(known) if *known == fingerprint => Ok(()),
            Some(_) => Err(reused()),
            None if self.done => Ok(()),
            None => {
                let mut tx = self.api.intake.db.begin().await?;
                idempotency::set_fingerprint(&mut tx, &self.token, &self.name, &fingerprint).await?;
                tx.commit().await.map_err(DbError::from)?;
                self.fingerprint = Some(fingerprint);
                Ok(())
            }
        }
    }

    /// Chooses another id: what was begun under the first one has ended without being made.
    ///
    /// # Errors
    /// When the database fails, or the request has been answered.
    pub async fn begin_anew(&mut self) -> Result<(), Problem> {
        let resource = self.api.intake.ctx.new_id();
        let mut tx = self.api.intake.db.begin().await?;
        idempotency::set_resource(&mut tx, &self.token, &self.name, &resource).await?;
        tx.commit().await.map_err(DbError::from)?;
        self.resource = resource;
        Ok(())
    }

    /// What a repeated request must not differ in does.
    pub fn differs(&self) -> Problem {
        reused()
    }

    /// The request is answered: what it made is made once and for all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish(mut self) -> Result<(), Problem> {
        self.over = true;
        if !self.done {
            let mut tx = self.api.intake.db.begin().await?;
            idempotency::finish(&mut tx, &self.token).await?;
            tx.commit().await.map_err(DbError::from)?;
        }
        Ok(())
    }

    /// The request is refused and made nothing: its key can be used for a better one.
    pub async fn forget(mut self) {
        self.over = true;
        if self.done {
            return;
        }
        let forgotten = async {
            let mut tx = self.api.intake.db.begin().await?;
            idempotency::forget(&mut tx, &self.actor, &self.name, &self.token).await?;
            Ok::<(), DbError>(tx.commit().await?)
        };
        if let Err(error) = forgotten.await {
            tracing::warn!(error = %error, "could not free an idempotency key; it is free when its lease ends");
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.over || self.done {
            return;
        }
        let (api, token) = (self.api.clone(), self.token.clone());
        runtime.spawn(async move {
            let given_up = async {
                let mut tx = api.intake.db.begin().await?;
                idempotency::abandon(&mut tx, &token).await?;
                Ok::<(), DbError>(tx.commit().await?)
            };
            // else it is free when its lease ends
            let _ = given_up.await;
        });
    }
}
