//! What one caller may use of a node: requests a second, uploads and streams at once. Each node counts for itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::errors::Problem;
use super::plan::DoorsPlan;
use super::problems::Code;
use crate::outside::context::Context;

/// The program's clock, as the rate limiter reads it.
#[derive(Clone)]
struct ProgramClock(Context);

impl governor::clock::Clock for ProgramClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let micros = u64::try_from(self.0.now().as_microsecond()).unwrap_or(0);
        Nanos::from(Duration::from_micros(micros))
    }
}

type Limiter = RateLimiter<String, DashMapStateStore<String>, ProgramClock, NoOpMiddleware<Nanos>>;

/// The limits of a node. Cheap to clone.
#[derive(Clone)]
pub struct Use(Arc<Inner>);

struct Inner {
    clock: ProgramClock,
    requests: Limiter,
    failed_logins: Limiter,
    uploads: Arc<Semaphore>,
    uploads_per_caller: usize,
    streams_per_caller: usize,
    verifying: Arc<Semaphore>,
    open: Counts,
}

type Counts = Arc<Mutex<HashMap<String, usize>>>;

/// One thing under way. Dropped, it is over.
pub struct UnderWay {
    counts: Counts,
    name: String,
    node: Option<OwnedSemaphorePermit>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.name);
            }
        }
    }
}

/// Callers remembered at most before those at rest are forgotten.
const REMEMBERED: usize = 10_000;

impl Use {
    /// The limits of the plan.
    pub fn new(plan: &DoorsPlan, ctx: &Context) -> Self {
        let clock = ProgramClock(ctx.clone());
        let limiter = |quota| RateLimiter::new(quota, DashMapStateStore::default(), clock.clone());
        let rate = &plan.rate;
        Self(Arc::new(Inner {
            requests: limiter(Quota::per_second(rate.requests_per_s).allow_burst(rate.burst)),
            failed_logins: limiter(Quota::per_minute(rate.failed_logins_per_minute)),
            uploads: Arc::new(Semaphore::new(plan.limits.uploads_per_node)),
            uploads_per_caller: plan.limits.uploads_per_caller,
            streams_per_caller: plan.limits.streams_per_caller,
            verifying: Arc::new(Semaphore::new(1)),
            open: Counts::default(),
            clock,
        }))
    }

    /// Counts a request of a caller.
    ///
    /// # Errors
    /// When the caller's rate is reached.
    pub fn request(&self, caller: &str) -> Result<(), Problem> {
        self.check(&self.0.requests, caller)
    }

    /// Counts a request of an address whose key or token was not valid.
    ///
    /// # Errors
    /// When there were too many of them.
    pub fn failed_login(&self, address: &str) -> Result<(), Problem> {
        self.check(&self.0.failed_logins, address)
    }

    fn check(&self, limiter: &Limiter, who: &str) -> Result<(), Problem> {
        if limiter.len() > REMEMBERED {
            limiter.retain_recent();
        }
        limiter.check_key(&who.to_owned()).map_err(|over| {
            let wait = over.wait_time_from(self.0.clock.now());
            Problem::of(Code::TooManyRequests, "the rate limit is reached").retry_after(wait)
        })
    }

    /// An upload begins.
    ///
    /// # Errors
    /// When the caller or the node has enough of them under way.
    pub fn upload(&self, caller: &str) -> Result<UnderWay, Problem> {
        let retry = Duration::from_secs(2);
        let name = format!("upload {caller}");
        let mut begun = self.count(name, self.0.uploads_per_caller).ok_or_else(|| {
            let detail = format!("{} uploads of this caller are under way", self.0.uploads_per_caller);
            Problem::of(Code::TooManyUploads, detail).retry_after(retry)
        })?;
        let node = self.0.uploads.clone().try_acquire_owned().map_err(|_| {
            Problem::of(Code::Busy, "this node has as many uploads under way as it takes").retry_after(retry)
        })?;
        begun.node = Some(node);
        Ok(begun)
    }

    /// An event stream begins.
    ///
    /// # Errors
    /// When the caller has enough of them open.
    pub fn stream(&self, caller: &str) -> Result<UnderWay, Problem> {
        self.count(format!("stream {caller}"), self.0.streams_per_caller).ok_or_else(|| {
            let detail = format!("{} streams of this caller are open", self.0.streams_per_caller);
            Problem::of(Code::TooManyRequests, detail).retry_after(Duration::from_secs(10))
        })
    }

    /// The audit log is about to be verified, which reads all of it: one at a time.
    ///
    /// # Errors
    /// When it is being verified.
    pub fn verification(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.0.verifying.clone().try_acquire_owned().map_err(|_| {
            let busy = Problem::of(Code::Busy, "this node is verifying the audit log already");
            busy.retry_after(Duration::from_secs(30))
        })
    }

    fn count(&self, name: String, most: usize) -> Option<UnderWay> {
        let mut counts = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(name.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(UnderWay { counts: self.0.open.clone(), name, node: None })
    }
}
