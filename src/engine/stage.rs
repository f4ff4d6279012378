//! What a stage is, and how stages are chained.
//!
//! The chain is code: [`Chain::then`] takes only a stage whose input is what the one before hands on, so the
//! compiler refuses a chain that doesn't fit. There is no chain language in the configuration.

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use crate::db::work::{self, Claim};
use crate::db::{Conn, Db, DbError, Stamp};
use crate::model::judgement::Reason;

/// A business answer of a stage. An infected file is an answer, not an error.
#[derive(Debug, Clone)]
pub enum Outcome<T> {
    /// Go on, with this.
    Advance(T),
    /// It can't be judged: an operator decides.
    Hold(Reason),
    /// It is refused.
    Reject(Reason),
}

/// A fault while working: not the document's, ours or the world's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StageError {
    /// Passing: try again after a while. Counts as a try.
    #[error("passing fault: {why}")]
    Retry {
        /// What failed, without health data.
        why: String,
    },
    /// Trying again can't help: a dead letter.
    #[error("{why}")]
    Fail {
        /// What failed, without health data.
        why: String,
    },
    /// What the stage needs is away: no try counts, the work goes on by itself.
    #[error("paused: {why}")]
    Pause {
        /// What is away.
        why: String,
    },
    /// The lease is lost: somebody else has the work.
    #[error("the lease is lost")]
    Lost,
}

impl StageError {
    /// The word for metrics and traces; a passing fault is tried again only while tries are left.
    pub const fn as_str(&self, tries_left: bool) -> &'static str {
        match self {
            Self::Retry { .. } if tries_left => "retried",
            Self::Retry { .. } | Self::Fail { .. } => "dead",
            Self::Pause { .. } => "paused",
            Self::Lost => "lost",
        }
    }
}

impl From<DbError> for StageError {
    fn from(error: DbError) -> Self {
        let why = error.to_string();
        match error.fault() {
            // of no piece of work in particular: all of it waits, however long, and none is given up for it
            Some(fault) if fault.is_of_the_database() => Self::Pause { why },
            _ if error.is_passing() => Self::Retry { why },
            _ => Self::Fail { why },
        }
    }
}

/// Something a stage takes: read from the database and checked to be ready for it.
#[async_trait]
pub trait Subject: Sized + Send + Sync + 'static {
    /// Reads it. `None` when it is not, or no longer, where the stage would take it: the work is then done.
    ///
    /// # Errors
    /// When the database fails.
    async fn load(conn: &mut Conn, id: &str) -> Result<Option<Self>, DbError>;
}

/// Which try this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// 1 for the first.
    pub number: i64,
    /// How many there are.
    pub of: i64,
}

impl Attempt {
    /// Whether no other try follows.
    pub const fn is_last(self) -> bool {
        self.number >= self.of
    }
}

/// Where the subject goes after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// To the next stage of the chain, at once.
    Next,
    /// Nowhere for now: it has ended, or something else will put it to work.
    Waits,
}

/// A stage: a name, an input, a product, and the input of the stage that follows.
#[async_trait]
pub trait Stage: Send + Sync + 'static {
    /// Its name in the work table, the plan, logs and metrics.
    const NAME: &'static str;
    /// What it takes.
    type In: Subject;
    /// What its work makes.
    type Product: Send + 'static;
    /// What it hands on when it advances.
    type Out: Subject;

    /// Whether what it needs is there. Asked before work is taken.
    ///
    /// # Errors
    /// [`StageError::Pause`] says what is away.
    async fn gate(&self) -> Result<(), StageError> {
        Ok(())
    }

    /// Does the work, without a transaction. May run more than once for the same input.
    ///
    /// # Errors
    /// Faults only; see [`StageError`].
    async fn run(&self, input: &Self::In, attempt: Attempt) -> Result<Outcome<Self::Product>, StageError>;

    /// Makes the outcome the new state, in the transaction that also takes the work out of the queue.
    ///
    /// # Errors
    /// When the database fails or the subject has changed meanwhile.
    async fn commit(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        input: &Self::In,
        outcome: Outcome<Self::Product>,
    ) -> Result<Handover, DbError>;

    /// Tidies up after the commit: what it leaves behind when it can't, a reconciler finds.
    async fn after(&self, _input: &Self::In) {}
}

/// How a piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Advanced.
    Advanced,
    /// Held.
    Held,
    /// Rejected.
    Rejected,
    /// There was nothing to do any more.
    Nothing,
}

impl Ended {
    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Advanced => "advanced",
            Self::Held => "held",
            Self::Rejected => "rejected",
            Self::Nothing => "nothing",
        }
    }
}

/// A stage with its types erased, and the name of the one that follows.
#[async_trait]
pub trait Runner: Send + Sync {
    /// The stage's name.
    fn name(&self) -> &'static str;
    /// See [`Stage::gate`].
    async fn gate(&self) -> Result<(), StageError>;
    /// Loads, works, commits.
    async fn process(&self, db: &Db, stamp: Stamp<'_>, claim: &Claim, tries: i64) -> Result<Ended, StageError>;
}

struct Link<S> {
    stage: S,
    next: Option<&'static str>,
}

#[async_trait]
impl<S: Stage> Runner for Link<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    async fn gate(&self) -> Result<(), StageError> {
        self.stage.gate().await
    }

    async fn process(&self, db: &Db, stamp: Stamp<'_>, claim: &Claim, tries: i64) -> Result<Ended, StageError> {
        let input = {
            let mut conn = db.read().await?;
            S::In::load(&mut conn, &claim.subject).await?
        };
        let Some(input) = input else {
            let mut tx = db.begin().await?;
            work::finish(&mut tx, claim).await.map_err(lost)?;
            tx.commit().await.map_err(DbError::from)?;
            return Ok(Ended::Nothing);
        };
        stop_at(S::NAME, "loaded").await;
        let outcome = self.stage.run(&input, Attempt { number: claim.attempts, of: tries }).await?;
        let ended = match outcome {
            Outcome::Advance(_) => Ended::Advanced,
            Outcome::Hold(_) => Ended::Held,
            Outcome::Reject(_) => Ended::Rejected,
        };
        stop_at(S::NAME, "ran").await;
        let mut tx = db.begin().await?;
        // The fence comes first: without the lease nothing below may take effect.
        work::finish(&mut tx, claim).await.map_err(lost)?;
        let handover = self.stage.commit(&mut tx, stamp, &input, outcome).await?;
        if let (Handover::Next, Some(next)) = (handover, self.next) {
            work::put(&mut tx, stamp, &claim.subject, next).await?;
        }
        stop_at(S::NAME, "written").await;
        tx.commit().await.map_err(DbError::from)?;
        stop_at(S::NAME, "committed").await;
        self.stage.after(&input).await;
        Ok(ended)
    }
}

/// A place where a test can stop this process, to kill it there (`FAILPOINTS=scan-ran=return`). It is compiled in
/// for tests only.
pub(crate) async fn stop_at(stage: &str, place: &str) {
    let stopped = || {
        fail::fail_point!(&format!("{stage}-{place}"), |_| true);
        false
    };
    if stopped() {
        tracing::warn!(stage, place, "stopped by a fail point");
        std::future::pending::<()>().await;
    }
}

fn lost(error: DbError) -> StageError {
    match error {
        DbError::Stale { .. } => StageError::Lost,
        other => other.into(),
    }
}

/// Stages in order, each fitting the one before.
pub struct Chain {
    runners: Vec<Arc<dyn Runner>>,
}

/// A chain under construction: its last stage does not know yet what follows it.
pub struct Building<S: Stage> {
    done: Vec<Arc<dyn Runner>>,
    last: S,
}

impl Chain {
    /// Begins a chain.
    pub const fn of<S: Stage>(first: S) -> Building<S> {
        Building { done: Vec::new(), last: first }
    }

    /// The stages, types erased.
    pub fn into_runners(self) -> Vec<Arc<dyn Runner>> {
        self.runners
    }
}

impl<S: Stage> Building<S> {
    /// Adds the stage that takes what the last one hands on.
    pub fn then<N: Stage<In = S::Out>>(self, next: N) -> Building<N> {
        let mut done = self.done;
        done.push(Arc::new(Link { stage: self.last, next: Some(N::NAME) }));
        Building { done, last: next }
    }

    /// Ends the chain.
    pub fn end(self) -> Chain {
        let mut runners = self.done;
        runners.push(Arc::new(Link { stage: self.last, next: None }));
        Chain { runners }
    }
}
