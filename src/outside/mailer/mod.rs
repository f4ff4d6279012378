//! The mail door: relays that take our messages over SMTP.
//!
//! A message is handed over in two steps, so that its sender can write down in between that it is about to go: first its
//! envelope ([`Dialog::begin`], up to the relay's word that it wants the text), then its text ([`Dialog::body`]). Only when
//! the line breaks between the end of the text and the relay's answer is it not known whether the message went.
//!
//! Refused designs:
//! - lettre's pool. It counts the connections that are parked, not those that are open, and drops a connection for a
//!   refusal that was about one message.
//! - Trying a message again in here. Whether it may be sent again is known to who keeps its state.
//! - Texts of answers, in errors or logs. They can name addresses.

mod connect;
mod dialog;
mod options;
pub mod receiver;
mod reply;
mod settings;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::select_all;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use dialog::{BodyError, Dialog, Refused, Step};
pub use options::{RelayOptions, RelayPolicy, Security};
pub use reply::{Reply, Status};
pub use settings::{DkimOptions, MailOptions, SenderOptions};

use crate::outside::context::Context;
use connect::{Line, Way};

/// Why the relays' settings can't be used.
#[derive(Debug, Error)]
pub enum RelaysError {
    /// There is none.
    #[error("[mail] needs at least one of [[mail.relays]]")]
    None,
    /// One of the settings is wrong.
    #[error("{0}")]
    Setting(&'static str),
    /// No certificate can be for such a name.
    #[error("{0} is no name that a certificate can be for")]
    Host(String),
    /// A file can't be read.
    #[error("can't read {0}: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// A file holds no certificates.
    #[error("{0} holds no certificates that can be used (PEM)")]
    Certificates(PathBuf),
    /// TLS can't be set up.
    #[error("TLS can't be set up")]
    Tls,
}

/// Why a relay could not be reached, or was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// Nothing answers at its address.
    #[error("nothing answers at its address")]
    Unreachable,
    /// It did not answer in time.
    #[error("it does not answer in time")]
    Silent,
    /// It closed the connection, or speaks something else.
    #[error("the connection broke")]
    Broken,
    /// It greets with a refusal, or does not want to be spoken to.
    #[error("it does not want to be spoken to ({})", code(.0))]
    Greeting(Option<u16>),
    /// It closes the connection of its own (421).
    #[error("it closes the connection")]
    Leaving,
    /// It offers no STARTTLS.
    #[error("it offers no STARTTLS")]
    NoTls,
    /// Its certificate is not trusted, or TLS failed.
    #[error("TLS failed, or its certificate is not trusted")]
    Tls,
    /// It refuses what it would refuse of any message: the sender, the text before it is sent, us.
    #[error("it refuses what is handed over ({0})")]
    Refuses(Reply),
    /// It does not take the login.
    #[error("it does not take the login ({})", code(.0))]
    Login(Option<u16>),
}

fn code(code: &Option<u16>) -> String {
    code.map_or_else(|| "no answer".to_owned(), |code| code.to_string())
}

/// Why no relay can be had now. Nothing was said of any message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Away {
    /// All of them rest after failures, the first of them until then.
    #[error("all relays rest until {0}")]
    Resting(Timestamp),
    /// All connections are taken, and stayed so.
    #[error("all connections to relays are taken")]
    Busy,
    /// The last that was tried failed so.
    #[error("no relay can be reached: {0}")]
    Failed(Fault),
}

/// The relays of the settings. Cheap to clone; the clones share connections, limits and what is known of health.
#[derive(Clone)]
pub struct Relays(Arc<Shared>);

struct Shared {
    relays: Vec<Arc<Relay>>,
    policy: RelayPolicy,
    ctx: Context,
}

/// One relay and what is known of it.
struct Relay {
    /// For logs and rows: `host:port`.
    name: String,
    way: Way,
    open: Arc<Semaphore>,
    /// Connections that may be open at a time.
    limit: usize,
    parked: Mutex<Vec<Line>>,
    rate: Option<DefaultDirectRateLimiter>,
    health: Mutex<Health>,
    policy: RelayPolicy,
    ctx: Context,
}

#[derive(Default)]
struct Health {
    /// Failures in a row.
    failures: u32,
    rests_until: Option<Timestamp>,
}

/// How one relay stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name: `host:port`.
    pub relay: String,
    /// Failures in a row.
    pub failures: u32,
    /// Until when it rests.
    pub rests_until: Option<Timestamp>,
    /// Connections in use.
    pub in_use: usize,
    /// Connections that are open and not in use.
    pub parked: usize,
}

impl std::fmt::Debug for Relays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.relays.iter().map(|relay| &relay.name)).finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relays {
    /// The relays of the settings, in the order in which they are preferred. `hello` is the name that we say we have.
    ///
    /// # Errors
    /// When the settings can't be used.
    pub fn new(options: &[RelayOptions], hello: &str, policy: RelayPolicy, ctx: &Context) -> Result<Self, RelaysError> {
        if options.is_empty() {
            return Err(RelaysError::None);
        }
        let mut relays = Vec::with_capacity(options.len());
        for options in options {
            options.check().map_err(RelaysError::Setting)?;
            let per_second = options.per_second.and_then(std::num::NonZeroU32::new);
            // evenly, not all at the second's begin
            let burst = |rate: std::num::NonZeroU32| rate.get().div_ceil(10).try_into().unwrap_or(rate);
            let quota = per_second.map(|rate| Quota::per_second(rate).allow_burst(burst(rate)));
            relays.push(Arc::new(Relay {
                name: format!("{}:{}", options.host, options.port()),
                way: Way::new(options, hello)?,
                open: Arc::new(Semaphore::new(options.connections.into())),
                limit: options.connections.into(),
                parked: Mutex::default(),
                rate: quota.map(RateLimiter::direct),
                health: Mutex::default(),
                policy,
                ctx: ctx.clone(),
            }));
        }
        Ok(Self(Arc::new(Shared { relays, policy, ctx: ctx.clone() })))
    }

    /// Connections that may be open at a time, over all relays.
    pub fn connections(&self) -> usize {
        self.0.relays.iter().map(|relay| relay.limit).sum()
    }

    /// A connection to a relay: one that is open already, or a new one. Relays that failed less are tried first; one that
    /// rests is not tried.
    ///
    /// # Errors
    /// See [`Away`].
    pub async fn connect(&self) -> Result<Dialog, Away> {
        let mut relays: Vec<(u32, &Arc<Relay>)> = Vec::new();
        let mut rests: Option<Timestamp> = None;
        let now = self.0.ctx.now();
        for relay in &self.0.relays {
            let health = lock(&relay.health);
            match health.rests_until.filter(|until| now < *until) {
                None => relays.push((health.failures, relay)),
                Some(until) => rests = Some(rests.map_or(until, |first| first.min(until))),
            }
        }
        if let (true, Some(until)) = (relays.is_empty(), rests) {
            return Err(Away::Resting(until));
        }
        relays.sort_by_key(|(failures, _)| *failures);
        let (mut busy, mut failed) = (Vec::new(), None);
        for (_, relay) in relays {
            match relay.open.clone().try_acquire_owned() {
                Err(_) => busy.push(relay.clone()),
                Ok(place) => match relay.clone().dialog(place).await {
                    Ok(dialog) => return Ok(dialog),
                    Err(fault) => failed = Some(fault),
                },
            }
        }
        if busy.is_empty() {
            return Err(failed.map_or(Away::Busy, Away::Failed));
        }
        let (relay, place) = self.first_free(busy).await.ok_or(Away::Busy)?;
        relay.dialog(place).await.map_err(Away::Failed)
    }

    /// Waits until one of them has a place.
    async fn first_free(&self, busy: Vec<Arc<Relay>>) -> Option<(Arc<Relay>, OwnedSemaphorePermit)> {
        let waits = busy.into_iter().map(|relay| {
            Box::pin(async move {
                let place = relay.open.clone().acquire_owned().await;
                (relay, place)
            })
        });
        let patience = Duration::from_secs(self.0.policy.accept_s.into());
        let ((relay, place), ..) = tokio::time::timeout(patience, select_all(waits)).await.ok()?;
        place.ok().map(|place| (relay, place))
    }

    /// How each relay stands.
    pub fn standing(&self) -> Vec<Standing> {
        self.0.relays.iter().map(|relay| relay.standing()).collect()
    }

    /// Takes leave on connections that nobody uses.
    pub async fn close(&self) {
        for relay in &self.0.relays {
            let lines = std::mem::take(&mut *lock(&relay.parked));
            for line in lines {
                relay.take_leave(line).await;
            }
        }
    }
}

impl Relay {
    async fn dialog(self: Arc<Self>, place: OwnedSemaphorePermit) -> Result<Dialog, Fault> {
        let line = match self.parked() {
            Some(line) => line,
            None => self.connect().await?,
        };
        Ok(Dialog::new(self, line, place))
    }

    /// A connection that was put by and is fresh enough. The server may have closed it all the same: then
    /// [`Dialog::begin`] replaces it.
    fn parked(&self) -> Option<Line> {
        let now = self.ctx.now();
        let idle = SignedDuration::from_secs(self.policy.idle_s.into());
        let mut parked = lock(&self.parked);
        while let Some(line) = parked.pop() {
            if now.duration_since(line.parked_at) < idle {
                return Some(line);
            }
        }
        None
    }

    fn park(&self, mut line: Line) {
        line.parked_at = self.ctx.now();
        lock(&self.parked).push(line);
    }

    async fn connect(&self) -> Result<Line, Fault> {
        self.begin_try();
        let connected = self.way.connect(&self.policy).await;
        if let Err(fault) = &connected {
            self.failed(*fault);
        }
        connected
    }

    /// Where it rested, only one at a time finds out whether it is back: for the others it rests on.
    fn begin_try(&self) {
        let mut health = lock(&self.health);
        if health.rests_until.is_some() {
            health.rests_until = Some(self.rest_from_now());
        }
    }

    fn rest_from_now(&self) -> Timestamp {
        self.ctx
            .now()
            .saturating_add(SignedDuration::from_secs(self.policy.breaker_rest_s.into()))
            .unwrap_or(Timestamp::MAX)
    }

    /// It answered for a message, and did not refuse what it would refuse of any. That it takes connections, or envelopes, is not enough: it may die of each text.
    fn answered(&self) {
        let mut health = lock(&self.health);
        if health.rests_until.is_some() {
            tracing::info!(relay = self.name, "a relay is back");
        }
        *health = Health::default();
    }

    fn failed(&self, fault: Fault) {
        let mut health = lock(&self.health);
        health.failures = health.failures.saturating_add(1);
        metrics::counter!("lettercase_relay_failures_total", "relay" => self.name.clone()).increment(1);
        if health.failures >= self.policy.breaker_failures {
            if health.rests_until.is_none() {
                let (relay, failures) = (&self.name, health.failures);
                tracing::warn!(relay, failures, why = %fault, "a relay failed too often: it rests");
            }
            health.rests_until = Some(self.rest_from_now());
        }
    }

    /// Waits for this message's turn.
    async fn turn(&self) {
        let Some(rate) = &self.rate else { return };
        while let Err(early) = rate.check() {
            tokio::time::sleep(early.wait_time_from(DefaultClock::default().now())).await;
        }
    }

    async fn take_leave(&self, mut line: Line) {
        // the message is safe whatever comes of this
        let _ = tokio::time::timeout(Duration::from_secs(2), line.smtp.quit()).await;
    }

    fn standing(&self) -> Standing {
        let (failures, rests_until) = {
            let health = lock(&self.health);
            (health.failures, health.rests_until)
        };
        Standing {
            relay: self.name.clone(),
            failures,
            rests_until,
            in_use: self.limit - self.open.available_permits(),
            parked: lock(&self.parked).len(),
        }
    }
}
