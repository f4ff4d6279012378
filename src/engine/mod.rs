//! Stages and work: takes what is due, has it done, and lets the effect take place once. It knows no
//! documents.
//!
//! A stage holds a lease while it works, not a transaction. Finishing is one transaction fenced by the
//! lease's token, so a stage may run twice and takes effect once, whatever the nodes' clocks say. apalis runs
//! the workers ([`workers`]); the same claims are taken by [`Engine::step`] with a test's own clock.

pub mod audit;
pub mod bulk;
mod glance;
pub mod keeping;
pub mod plan;
pub mod readers;
pub mod sequencer;
pub mod stage;
pub mod workers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use crate::db::work::{Claim, GiveBack};
use crate::db::{self, Db, DbError, Stamp};
use crate::engine::plan::WorkPolicy;
use crate::engine::readers::Reader;
use crate::engine::sequencer::Sequencer;
use crate::engine::stage::{Chain, Ended, Runner, StageError};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::Brand;
use crate::outside::context::Context;
use crate::outside::traces::{Span, trace_id};

/// How long a paused stage waits before it is looked at again.
const PAUSE: Duration = Duration::from_secs(2);

/// Runs stages over the work table.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    db: Db,
    ctx: Context,
    node: String,
    runners: Vec<(Arc<dyn Runner>, WorkPolicy)>,
    readers: Vec<Arc<dyn Reader>>,
    sequencer: Sequencer,
    glance: tokio::sync::Mutex<Option<glance::Glance>>,
    /// Counts up whenever there may be new work in this process.
    wake: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
    /// True once the grace for running work is over: what still runs is given back.
    overdue: watch::Sender<bool>,
}

/// What an engine is made of.
pub struct Parts {
    /// The database.
    pub db: Db,
    /// Clock and ids.
    pub ctx: Context,
    /// This node's name.
    pub node: String,
    /// The chains of stages.
    pub chains: Vec<Chain>,
    /// How each stage works, by its name.
    pub policies: HashMap<String, WorkPolicy>,
    /// Who reads events.
    pub readers: Vec<Arc<dyn Reader>>,
    /// Who seals them.
    pub sequencer: Sequencer,
}

impl Engine {
    /// Puts an engine together.
    ///
    /// # Errors
    /// Names a stage without a policy, or a policy without a stage.
    pub fn new(parts: Parts) -> Result<Self, plan::PlanError> {
        let mut policies = parts.policies;
        let mut runners = Vec::new();
        for runner in parts.chains.into_iter().flat_map(Chain::into_runners) {
            let policy = policies
                .remove(runner.name())
                .ok_or_else(|| plan::PlanError::Missing(format!("[work.{}]", runner.name())))?;
            runners.push((runner, policy));
        }
        if let Some(name) = policies.into_keys().next() {
            return Err(plan::PlanError::Unknown(format!("[work.{name}]: there is no such stage")));
        }
        Ok(Self(Arc::new(Shared {
            db: parts.db,
            ctx: parts.ctx,
            node: parts.node,
            runners,
            readers: parts.readers,
            sequencer: parts.sequencer,
            glance: tokio::sync::Mutex::default(),
            wake: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            overdue: watch::Sender::new(false),
        })))
    }

    /// Says that there may be new work: what was committed is looked at now, not at the next tick.
    pub fn wake(&self) {
        self.0.wake.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// The names of the stages, in order.
    pub fn stages(&self) -> Vec<&'static str> {
        self.0.runners.iter().map(|(runner, _)| runner.name()).collect()
    }

    /// Why a stage doesn't take work now, for each stage that doesn't.
    pub async fn paused(&self) -> Vec<(&'static str, String)> {
        let mut paused = Vec::new();
        for (runner, _) in &self.0.runners {
            if let Err(StageError::Pause { why }) = runner.gate().await {
                paused.push((runner.name(), why));
            }
        }
        paused
    }

    fn stamp(&self) -> Stamp<'_> {
        Stamp { ctx: &self.0.ctx, actor: "system" }
    }

    /// Does one due piece of work of any stage, seals and reads events; false when there was nothing to do.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn step(&self) -> Result<bool, DbError> {
        let mut did = false;
        for (runner, policy) in &self.0.runners {
            if runner.gate().await.is_err() {
                continue;
            }
            if !self.is_due_now(runner.name()).await? {
                continue;
            }
            for claim in self.claim(runner.name(), policy, 1).await? {
                did |= self.perform(runner.as_ref(), policy, claim).await != Performed::Paused;
            }
        }
        did |= self.0.sequencer.seal(&self.0.db, self.stamp()).await? > 0;
        for reader in &self.0.readers {
            did |= readers::read_some(&self.0.db, self.stamp(), reader.as_ref()).await?;
        }
        Ok(did)
    }

    /// Steps until nothing is due at the context's clock.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_until_idle(&self) -> Result<(), DbError> {
        while self.step().await? {}
        Ok(())
    }

    /// Whether a stage has work that is due: looking is cheap, claiming takes the write lock.
    async fn is_due_now(&self, stage: &str) -> Result<bool, DbError> {
        let mut conn = self.0.db.read().await?;
        Ok(db::work::next_due(&mut conn, stage).await?.is_some_and(|due| due <= self.0.ctx.now()))
    }

    async fn claim(&self, stage: &str, policy: &WorkPolicy, limit: i64) -> Result<Vec<Claim>, DbError> {
        db::answered(db::work::claim(&self.0.db, self.stamp(), stage, &self.0.node, policy.lease(), limit)).await
    }

    /// Does one claimed piece of work to its end: advanced, given back, or a dead letter.
    async fn perform(&self, runner: &dyn Runner, policy: &WorkPolicy, claim: Claim) -> Performed {
        let stage = runner.name();
        // what is logged meanwhile, by whatever part, is found by stage, subject and trace
        let lines = tracing::info_span!("work", stage, subject = claim.subject, trace_id = trace_id(&claim.subject));
        self.perform_one(runner, policy, claim).instrument(lines).await
    }

    async fn perform_one(&self, runner: &dyn Runner, policy: &WorkPolicy, claim: Claim) -> Performed {
        let stage = runner.name();
        let span = Span::step(&self.0.ctx, stage, &claim.subject).number("lettercase.attempt", claim.attempts);
        let began = Instant::now();
        let mut result = if claim.attempts > policy.tries {
            Err(StageError::Fail { why: "each try ended the process or its lease".into() })
        } else {
            tokio::select! {
                result = runner.process(&self.0.db, self.stamp_of(stage), &claim, policy.tries) => result,
                why = self.lost_lease(policy, &claim) => Err(why),
                () = is_true(&self.0.overdue) => Err(StageError::Pause { why: "the node stops".into() }),
            }
        };
        match db::answered(self.settle(policy, &claim, &result)).await {
            Ok(()) => {}
            // The lease had run out and another has the work: what looked amiss here was its doing.
            Err(DbError::Stale { .. }) => result = Err(StageError::Lost),
            // The lease runs out and the work is taken again.
            Err(error) => tracing::warn!(stage, subject = claim.subject, error = %error, "could not settle work"),
        }
        self.wake();
        let outcome = match &result {
            Ok(ended) => ended.as_str(),
            Err(error) => error.as_str(claim.attempts < policy.tries),
        };
        span.end(&self.0.ctx, outcome, matches!(outcome, "retried" | "dead" | "lost"));
        metrics::counter!("lettercase_stage_outcomes_total", "stage" => stage, "outcome" => outcome).increment(1);
        metrics::histogram!("lettercase_stage_seconds", "stage" => stage).record(began.elapsed().as_secs_f64());
        match result {
            Err(StageError::Pause { .. }) => Performed::Paused,
            _ => Performed::Done,
        }
    }

    fn stamp_of(&self, actor: &'static str) -> Stamp<'_> {
        Stamp { ctx: &self.0.ctx, actor }
    }

    /// Gives back what did not come to its end, or buries it.
    ///
    /// # Errors
    /// [`DbError::Stale`] when what is to be buried is another's by now.
    async fn settle(
        &self,
        policy: &WorkPolicy,
        claim: &Claim,
        result: &Result<Ended, StageError>,
    ) -> Result<(), DbError> {
        let error = match result {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let mut tx = self.0.db.begin().await?;
        match error {
            StageError::Pause { why } => {
                tracing::info!(stage = claim.stage, why, "stage is paused");
                let due = self.stamp().after(PAUSE);
                db::work::give_back(&mut tx, claim, due, GiveBack::NotTried, why).await?;
            }
            StageError::Retry { why } if claim.attempts < policy.tries => {
                let wait = policy.backoff(claim.attempts, self.0.ctx.random_bits());
                tracing::warn!(
                    stage = claim.stage,
                    subject = claim.subject,
                    attempt = claim.attempts,
                    why,
                    "will try again"
                );
                db::work::give_back(&mut tx, claim, self.stamp().after(wait), GiveBack::Tried, why).await?;
            }
            StageError::Retry { why } | StageError::Fail { why } => {
                db::work::bury(&mut tx, claim, why).await?;
                tell_of_work(&mut tx, self.stamp(), EventType::WorkDead, &claim.subject, &claim.stage).await?;
                tx.commit().await?;
                tracing::error!(stage = claim.stage, subject = claim.subject, why, "dead letter");
                metrics::counter!("lettercase_dead_letters_total", "stage" => claim.stage.clone()).increment(1);
                return Ok(());
            }
            StageError::Lost => {}
        }
        Ok(tx.commit().await?)
    }

    /// Ends when the lease can't be held: the work has been taken by another, or the database is away for so
    /// long that it may have been.
    async fn lost_lease(&self, policy: &WorkPolicy, claim: &Claim) -> StageError {
        let mut missed = 0;
        loop {
            tokio::time::sleep(policy.lease() / 3).await;
            let beat = async {
                let mut tx = self.0.db.begin().await?;
                let ours = db::work::heartbeat(&mut tx, self.stamp(), claim, policy.lease()).await?;
                tx.commit().await?;
                Ok::<bool, DbError>(ours)
            };
            match tokio::time::timeout(policy.lease() / 3, beat).await {
                Ok(Ok(true)) => missed = 0,
                Ok(Ok(false)) => return StageError::Lost,
                Ok(Err(_)) | Err(_) if missed >= 2 => return StageError::Lost,
                Ok(Err(_)) | Err(_) => missed += 1,
            }
        }
    }
}

/// What came of performing a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Performed {
    Done,
    Paused,
}

/// Writes an event about a piece of work. Work has no brand: the installation's own stands for it.
///
/// # Errors
/// When the database fails.
pub async fn tell_of_work(
    conn: &mut db::Conn,
    stamp: Stamp<'_>,
    kind: EventType,
    subject: &str,
    stage: &str,
) -> Result<(), DbError> {
    let brand = installation_brand();
    let event = NewEvent {
        kind,
        subject,
        brand: &brand,
        tin_uid: None,
        actor: stamp.actor,
        payload: json!({ "stage": stage }),
    };
    db::events::append(conn, stamp, event).await
}

/// The brand that events about the installation itself carry.
pub fn installation_brand() -> Brand {
    static NAME: std::sync::LazyLock<Brand> = std::sync::LazyLock::new(|| {
        #[expect(clippy::expect_used, reason = "a constant that a test parses")]
        "installation".parse().expect("a valid brand")
    });
    NAME.clone()
}

/// Waits until a flag is set.
async fn is_true(flag: &watch::Sender<bool>) {
    let mut seen = flag.subscribe();
    // the sender lives as long as the engine, so this ends by the flag only
    let _ = seen.wait_for(|set| *set).await;
}
