//! Runs the stages under apalis: one worker per stage, its backend our claim on the work table.
//!
//! The fetcher takes a place before it takes work, so nothing that is leased waits for a place; what a claim
//! means, and what ends it, is [`super::Engine::perform`]'s, the same for tests.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apalis_core::backend::custom::BackendBuilder;
use apalis_core::error::{BoxDynError, WorkerError};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::worker::builder::WorkerBuilder;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::plan::WorkPolicy;
use super::readers::{Reader, read_some};
use super::stage::Runner;
use super::{Engine, PAUSE, is_true};
use crate::db::work::{self, Claim, GiveBack};
use crate::db::{DbError, answered};
use crate::outside::contained::{contained, tell_fault};

/// How long an idle worker waits for a wake-up before it looks by itself: work of other nodes wakes nobody here.
const IDLE: Duration = Duration::from_millis(500);
/// The next seal is not sooner after the last one. Each is an object in the store and two transactions, and has every reader
/// read on: what comes meanwhile shares one.
const SEALS_APART: Duration = Duration::from_millis(50);
/// How long running work may take to finish when the node stops.
const GRACE: Duration = Duration::from_secs(20);

/// A claim with the place it was taken for. Dropped before it was begun, it is noted as left over.
struct Held {
    claim: Claim,
    begun: AtomicBool,
    hands: Hands,
    _place: OwnedSemaphorePermit,
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.begun.load(Ordering::Relaxed) {
            self.hands.left_over.lock().unwrap_or_else(PoisonError::into_inner).push(self.claim.clone());
        }
    }
}

/// What a stage's worker has in hand: apalis drops what it is asked to stop, also between a claim's commit and
/// its work, and nothing that is leased may get lost there.
#[derive(Clone, Default)]
struct Hands {
    tasks: TaskTracker,
    left_over: Arc<Mutex<Vec<Claim>>>,
}

impl Engine {
    /// Runs all stages, the sequencer and the readers until [`Engine::stop`] is called, then lets running work
    /// finish for a while and gives the rest back.
    pub async fn run(&self) {
        self.run_with_grace(GRACE).await;
    }

    /// [`Engine::run`] with another time for running work to finish in.
    pub async fn run_with_grace(&self, grace: Duration) {
        let mut tasks = JoinSet::new();
        for (runner, policy) in &self.0.runners {
            let (engine, runner, policy) = (self.clone(), runner.clone(), policy.clone());
            tasks.spawn(async move { engine.run_stage(runner, policy).await });
        }
        for reader in &self.0.readers {
            let (engine, reader) = (self.clone(), reader.clone());
            tasks.spawn(async move { engine.run_reader(reader).await });
        }
        let engine = self.clone();
        tasks.spawn(async move { engine.run_sequencer().await });
        let engine = self.clone();
        let overdue = tokio::spawn(async move {
            is_true(&engine.0.stopping).await;
            tokio::time::sleep(grace).await;
            engine.0.overdue.send_replace(true);
        });
        while let Some(ended) = tasks.join_next().await {
            if ended.is_err() {
                tell_fault("a worker");
            }
        }
        overdue.abort();
        // what was committed on the way out is sealed, too
        if let Err(error) = self.0.sequencer.retire(&self.0.db, self.stamp()).await {
            tracing::warn!(error = %error, "could not seal the last events");
        }
    }

    /// Ends when the engine is asked to: what waits for news need not wait longer.
    pub async fn stopping(&self) {
        is_true(&self.0.stopping).await;
    }

    /// Asks [`Engine::run`] to end.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
        self.wake();
    }

    async fn run_stage(&self, runner: Arc<dyn Runner>, policy: WorkPolicy) {
        while !*self.0.stopping.borrow() {
            let hands = Hands::default();
            if let Err(error) = self.run_worker(runner.clone(), policy.clone(), hands.clone()).await {
                tracing::warn!(stage = runner.name(), error = %error, "worker ended; it is started again");
                self.rest(PAUSE).await;
            }
            hands.tasks.close();
            hands.tasks.wait().await;
            let left_over = std::mem::take(&mut *hands.left_over.lock().unwrap_or_else(PoisonError::into_inner));
            if let Err(error) = self.give_back_unbegun(&left_over).await {
                tracing::warn!(stage = runner.name(), error = %error, "could not give work back; its leases run out");
            }
        }
    }

    async fn give_back_unbegun(&self, claims: &[Claim]) -> Result<(), DbError> {
        if claims.is_empty() {
            return Ok(());
        }
        let mut tx = self.0.db.begin().await?;
        for claim in claims {
            let now = self.stamp().now();
            work::give_back(&mut tx, claim, now, GiveBack::NotTried, "the node stops").await?;
        }
        Ok(tx.commit().await?)
    }

    /// Waits, but not beyond the engine's stop.
    async fn rest(&self, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, is_true(&self.0.stopping)).await;
    }

    fn run_worker(
        &self,
        runner: Arc<dyn Runner>,
        policy: WorkPolicy,
        hands: Hands,
    ) -> BoxFuture<'static, Result<(), WorkerError>> {
        let places = Arc::new(Semaphore::new(policy.concurrency));
        let fetch = {
            let (engine, runner, policy, hands) = (self.clone(), runner.clone(), policy.clone(), hands.clone());
            move || engine.fetcher(runner.clone(), policy.clone(), places.clone(), hands.clone())
        };
        let backend = match BackendBuilder::new()
            .database(())
            .fetcher(move |(), (), _| fetch())
            // Work is put by transactions, never by apalis.
            .sink(|(), ()| futures::sink::drain::<Task<Arc<Held>>>().sink_map_err(|never| match never {}))
            .build()
        {
            Ok(backend) => backend,
            Err(error) => return Box::pin(async { Err(WorkerError::BackendError(error.into())) }),
        };
        let runner_name = runner.name();
        let engine = self.clone();
        let handler = move |held: Arc<Held>| {
            let (engine, runner, policy, tasks) = (engine.clone(), runner.clone(), policy.clone(), hands.tasks.clone());
            async move {
                // a task of its own: one slow document must not hold up the worker's other ones
                let done = tasks.spawn(async move {
                    held.begun.store(true, Ordering::Relaxed);
                    let claim = held.claim.clone();
                    engine.perform(runner.as_ref(), &policy, claim).await;
                });
                if done.await.is_err() {
                    // its lease runs out, and it is taken again
                    tell_fault("work");
                }
            }
        };
        let stopped = self.clone();
        let worker =
            WorkerBuilder::new(format!("{}/{}", self.0.node, runner_name).as_str()).backend(backend).build(handler);
        Box::pin(worker.run_until(async move {
            is_true(&stopped.0.stopping).await;
            Ok::<(), WorkerError>(())
        }))
    }

    fn fetcher(
        &self,
        runner: Arc<dyn Runner>,
        policy: WorkPolicy,
        places: Arc<Semaphore>,
        hands: Hands,
    ) -> BoxStream<'static, Result<Option<Task<Arc<Held>>>, BoxDynError>> {
        struct State {
            engine: Engine,
            runner: Arc<dyn Runner>,
            policy: WorkPolicy,
            places: Arc<Semaphore>,
            hands: Hands,
            taken: VecDeque<Held>,
            wake: watch::Receiver<u64>,
        }
        let state = State {
            wake: self.0.wake.subscribe(),
            engine: self.clone(),
            runner,
            policy,
            places,
            hands,
            taken: VecDeque::new(),
        };
        futures::stream::unfold(state, |mut state| async move {
            loop {
                if let Some(held) = state.taken.pop_front() {
                    let task = TaskBuilder::new(Arc::new(held)).build();
                    return Some((Ok(Some(task)), state));
                }
                if *state.engine.0.stopping.borrow() {
                    return None;
                }
                state.wake.borrow_and_update();
                let Ok(first) = state.places.clone().acquire_owned().await else { return None };
                let mut free = vec![first];
                while let Ok(more) = state.places.clone().try_acquire_owned() {
                    free.push(more);
                }
                // a task of its own: a claim that has begun is heard to its end, also when we are dropped meanwhile
                let (engine, runner, policy) = (state.engine.clone(), state.runner.clone(), state.policy.clone());
                let (hands, tasks) = (state.hands.clone(), &state.hands.tasks);
                let taking = tasks.spawn(async move { engine.take(runner.as_ref(), &policy, free, &hands).await });
                match taking.await.unwrap_or(Err(PAUSE)) {
                    Ok(taken) if taken.is_empty() => wait(&mut state.wake, IDLE).await,
                    Ok(taken) => state.taken = taken,
                    Err(wait_for) => wait(&mut state.wake, wait_for).await,
                }
            }
        })
        .boxed()
    }

    /// Takes as much work as there are places. The error is how long to wait before looking again.
    async fn take(
        &self,
        runner: &dyn Runner,
        policy: &WorkPolicy,
        places: Vec<OwnedSemaphorePermit>,
        hands: &Hands,
    ) -> Result<VecDeque<Held>, Duration> {
        if runner.gate().await.is_err() {
            return Err(PAUSE);
        }
        let limit = i64::try_from(places.len()).unwrap_or(1);
        let claimed = match self.is_due(runner.name()).await {
            Ok(true) => self.claim(runner.name(), policy, limit).await,
            Ok(false) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        match claimed {
            Ok(claims) => {
                let held =
                    |(claim, place)| Held { claim, begun: AtomicBool::new(false), hands: hands.clone(), _place: place };
                Ok(claims.into_iter().zip(places).map(held).collect())
            }
            Err(error) => {
                tracing::warn!(stage = runner.name(), error = %error, "could not look for work");
                Err(PAUSE)
            }
        }
    }

    /// Seals events as they come.
    async fn run_sequencer(&self) {
        let mut wake = self.0.wake.subscribe();
        while !*self.0.stopping.borrow() {
            wake.borrow_and_update();
            let sealing = answered(self.0.sequencer.seal(&self.0.db, self.stamp()));
            let Some(sealed) = contained("the sequencer", sealing).await else {
                self.rest(PAUSE).await;
                continue;
            };
            match sealed {
                Ok(0) => wait(&mut wake, IDLE).await,
                Ok(_) => {
                    self.wake();
                    self.rest(SEALS_APART).await;
                }
                Err(error) => {
                    tracing::warn!(error = %error, "could not seal events");
                    self.rest(PAUSE).await;
                }
            }
        }
    }

    /// Has a reader read on as events are sealed. Each has a task of its own: one that fails waits alone.
    async fn run_reader(&self, reader: Arc<dyn Reader>) {
        let mut wake = self.0.wake.subscribe();
        while !*self.0.stopping.borrow() {
            wake.borrow_and_update();
            let reading = async {
                match self.has_news(reader.name()).await {
                    Ok(true) => answered(read_some(&self.0.db, self.stamp(), reader.as_ref())).await,
                    other => other,
                }
            };
            let Some(read) = contained(reader.name(), reading).await else {
                self.rest(PAUSE).await;
                continue;
            };
            match read {
                Ok(true) => self.wake(),
                Ok(false) => wait(&mut wake, IDLE).await,
                Err(error) => {
                    tracing::warn!(reader = reader.name(), error = %error, "could not read events");
                    self.rest(PAUSE).await;
                }
            }
        }
    }
}

async fn wait(wake: &mut watch::Receiver<u64>, at_most: Duration) {
    // the engine holds the sender as long as it runs; without it, time alone wakes
    let _ = tokio::time::timeout(at_most, wake.changed()).await;
}
