//! Toy stages over a toy subject, and what a test wants to see of the tables beneath.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use lettercase::db::work::{self, Claim};
use lettercase::db::{Conn, DbError, Stamp, events, installation, set_installation};
use lettercase::engine::plan::WorkPolicy;
use lettercase::engine::readers::Reader;
use lettercase::engine::sequencer::Sequencer;
use lettercase::engine::stage::{Attempt, Chain, Handover, Outcome, Stage, StageError, Subject};
use lettercase::engine::{Engine, Parts, installation_brand};
use lettercase::model::event::{EventType, NewEvent};
use lettercase::model::judgement::{Reason, ReasonCode};
use serde_json::json;
use sqlx::{AssertSqlSafe, Row};

use crate::support::World;

/// A subject that is one row of `installation`.
pub(super) struct Toy(pub(super) String);

#[async_trait]
impl Subject for Toy {
    async fn load(conn: &mut Conn, id: &str) -> Result<Option<Self>, DbError> {
        Ok(installation(conn, &format!("toy.{id}")).await?.map(|_| Self(id.to_owned())))
    }
}

/// The name of a toy stage.
pub(super) trait Named: Send + Sync + 'static {
    const NAME: &'static str;
}

pub(super) struct Cut;
pub(super) struct Fold;
/// Of one test, whose figures no other changes.
pub(super) struct Taken;

impl Named for Cut {
    const NAME: &'static str = "cut";
}

impl Named for Fold {
    const NAME: &'static str = "fold";
}

impl Named for Taken {
    const NAME: &'static str = "taken";
}

type Run = dyn Fn(String, Attempt) -> BoxFuture<'static, Result<Outcome<()>, StageError>> + Send + Sync;

/// A stage that does what the test says; its commit counts up `effect.STAGE.SUBJECT` and writes an event.
pub(super) struct ToyStage<N> {
    run: Box<Run>,
    gate: Arc<AtomicBool>,
    commit_error: Option<Arc<AtomicBool>>,
    handover: Handover,
    name: PhantomData<fn() -> N>,
}

impl<N: Named> ToyStage<N> {
    pub(super) fn new<F>(run: impl Fn(String, Attempt) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Outcome<()>, StageError>> + Send + 'static,
    {
        Self {
            run: Box::new(move |id, attempt| Box::pin(run(id, attempt))),
            gate: Arc::new(AtomicBool::new(true)),
            commit_error: None,
            handover: Handover::Next,
            name: PhantomData,
        }
    }

    /// One that always goes on.
    pub(super) fn smooth() -> Self {
        Self::new(|_, _| async { Ok(Outcome::Advance(())) })
    }

    /// One that always fails so.
    pub(super) fn failing(error: StageError) -> Self {
        Self::new(move |_, _| {
            let error = error.clone();
            async move { Err(error) }
        })
    }

    pub(super) fn gated_by(self, gate: &Arc<AtomicBool>) -> Self {
        Self { gate: gate.clone(), ..self }
    }

    /// Its commit writes all it has to and then fails, as long as `fails` says so.
    pub(super) fn commit_fails(self, fails: &Arc<AtomicBool>) -> Self {
        Self { commit_error: Some(fails.clone()), ..self }
    }

    pub(super) fn hands(self, handover: Handover) -> Self {
        Self { handover, ..self }
    }
}

#[async_trait]
impl<N: Named> Stage for ToyStage<N> {
    const NAME: &'static str = N::NAME;
    type In = Toy;
    type Product = ();
    type Out = Toy;

    async fn gate(&self) -> Result<(), StageError> {
        if self.gate.load(Ordering::SeqCst) { Ok(()) } else { Err(StageError::Pause { why: "the gate".into() }) }
    }

    async fn run(&self, input: &Toy, attempt: Attempt) -> Result<Outcome<()>, StageError> {
        (self.run)(input.0.clone(), attempt).await
    }

    async fn commit(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        input: &Toy,
        outcome: Outcome<()>,
    ) -> Result<Handover, DbError> {
        let name = format!("effect.{}.{}", N::NAME, input.0);
        let before = installation(conn, &name).await?.map_or(0, |n| n.parse::<i64>().unwrap());
        set_installation(conn, &name, &(before + 1).to_string()).await?;
        tell(conn, stamp, &input.0).await?;
        if self.commit_error.as_ref().is_some_and(|fails| fails.load(Ordering::SeqCst)) {
            work::put(conn, stamp, &input.0, "elsewhere").await?;
            return Err(DbError::Stale { what: "toy" });
        }
        Ok(match outcome {
            Outcome::Advance(()) => self.handover,
            Outcome::Hold(_) | Outcome::Reject(_) => Handover::Waits,
        })
    }
}

/// Writes an event about a toy.
pub(super) async fn tell(conn: &mut Conn, stamp: Stamp<'_>, subject: &str) -> Result<(), DbError> {
    let brand = installation_brand();
    let (kind, actor) = (EventType::ReferenceLoaded, stamp.actor);
    let event = NewEvent { kind, subject, brand: &brand, tin_uid: None, actor, payload: json!({ "toy": subject }) };
    events::append(conn, stamp, event).await
}

pub(super) fn held() -> Outcome<()> {
    Outcome::Hold(Reason::new(ReasonCode::Incomplete, "a toy's reason"))
}

pub(super) const POLICY: WorkPolicy =
    WorkPolicy { concurrency: 2, lease_s: 30, tries: 3, backoff_first_ms: 1_000, backoff_longest_s: 60 };

/// An engine of its own over the world's database.
pub(super) fn engine(world: &World, chain: Chain, policies: &[(&str, WorkPolicy)]) -> Engine {
    Engine::new(parts(world, chain, policies, Vec::new())).unwrap()
}

pub(super) fn parts(
    world: &World,
    chain: Chain,
    policies: &[(&str, WorkPolicy)],
    readers: Vec<Arc<dyn Reader>>,
) -> Parts {
    Parts {
        db: world.db().clone(),
        ctx: world.app.intake.ctx.clone(),
        node: "toy-node".into(),
        chains: vec![chain],
        policies: policies.iter().map(|(name, policy)| ((*name).to_owned(), policy.clone())).collect::<HashMap<_, _>>(),
        readers,
        sequencer: sequencer(world),
    }
}

/// A sequencer as another node has it.
pub(super) fn sequencer(world: &World) -> Sequencer {
    let objects = world.app.intake.objects.clone();
    Sequencer::new(world.app.audit_key.clone(), objects, world.app.intake.ctx.new_id())
}

/// Makes a toy and puts it to work, in one transaction.
pub(super) async fn put(world: &World, subject: &str, stage: &str) {
    let mut tx = world.db().begin().await.unwrap();
    set_installation(&mut tx, &format!("toy.{subject}"), "here").await.unwrap();
    work::put(&mut tx, world.stamp(), subject, stage).await.unwrap();
    tx.commit().await.unwrap();
}

/// Claims as a node does.
pub(super) async fn claim(world: &World, node: &str, stage: &str, limit: i64) -> Vec<Claim> {
    work::claim(world.db(), world.stamp(), stage, node, POLICY.lease(), limit).await.unwrap()
}

/// A row of the work table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) state: String,
    pub(super) attempts: i64,
    pub(super) due_at: i64,
    pub(super) lease_until: Option<i64>,
    pub(super) reason: Option<String>,
}

pub(super) async fn piece(world: &World, subject: &str, stage: &str) -> Option<Piece> {
    let mut conn = world.db().read().await.unwrap();
    let row =
        sqlx::query("SELECT state, attempts, due_at, lease_until, reason FROM work WHERE subject = $1 AND stage = $2")
            .bind(subject)
            .bind(stage)
            .fetch_optional(&mut *conn)
            .await
            .unwrap()?;
    Some(Piece {
        state: row.get("state"),
        attempts: row.get("attempts"),
        due_at: row.get("due_at"),
        lease_until: row.get("lease_until"),
        reason: row.get("reason"),
    })
}

/// How often a stage took effect on a toy.
pub(super) async fn effects(world: &World, stage: &str, subject: &str) -> i64 {
    let mut conn = world.db().read().await.unwrap();
    let name = format!("effect.{stage}.{subject}");
    installation(&mut conn, &name).await.unwrap().map_or(0, |n| n.parse().unwrap())
}

/// The one number a statement answers.
pub(super) async fn number(world: &World, statement: &str) -> i64 {
    let mut conn = world.db().read().await.unwrap();
    let statement = AssertSqlSafe(format!("SELECT CAST(({statement}) AS BIGINT) AS n"));
    sqlx::query(statement).fetch_one(&mut *conn).await.unwrap().get("n")
}

/// Changes the database behind the program's back; answers how many rows.
pub(super) async fn sql(world: &World, statement: &str) -> u64 {
    let mut tx = world.db().begin().await.unwrap();
    let done = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    done.rows_affected()
}

/// Copies tables aside, to [`restore`] them after tampering.
pub(super) async fn keep(world: &World, tables: &[&str]) {
    for table in tables {
        sql(world, &format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}")).await;
    }
}

pub(super) async fn restore(world: &World, tables: &[&str]) {
    for table in tables {
        sql(world, &format!("DELETE FROM {table}")).await;
        sql(world, &format!("INSERT INTO {table} SELECT * FROM kept_{table}")).await;
    }
}

/// How many events of a type there are about a subject.
pub(super) async fn events_of(world: &World, kind: EventType, subject: &str) -> i64 {
    number(world, &format!("SELECT COUNT(*) FROM event WHERE type = '{kind}' AND subject = '{subject}'")).await
}

/// Looks until it is so, for a while.
pub(super) async fn until(what: &str, so: impl AsyncFn() -> bool) {
    for _ in 0..2_000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came: {what}");
}
