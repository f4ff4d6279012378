//! Runs the stages under apalis: one worker per stage, its backend our claim on the work table.
//!
//! The fetcher takes a place before it takes work, so nothing that is leased waits for a place; what a claim
//! means, and what ends it, is [`super::Engine::perform`]'s, the same for tests.

use std::collections::VecDeque;
use std::sync::Arc;
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

use super::plan::WorkPolicy;
use super::readers::read_some;
use super::stage::Runner;
use super::{Engine, PAUSE, is_true};
use crate::db::DbError;
use crate::db::work::Claim;

/// How long an idle worker waits for a wake-up before it looks by itself: work of other nodes wakes nobody here.
const IDLE: Duration = Duration::from_millis(500);
/// How long running work may take to finish when the node stops.
const GRACE: Duration = Duration::from_secs(20);

/// A claim with the place it was taken for.
struct Held {
    claim: Claim,
    _place: OwnedSemaphorePermit,
}

impl Engine {
    /// Runs all stages, the sequencer and the readers until [`Engine::stop`] is called, then lets running work
    /// finish for a while and gives the rest back.
    pub async fn run(&self) {
        let mut tasks = JoinSet::new();
        for (runner, policy) in &self.0.runners {
            let (engine, runner, policy) = (self.clone(), runner.clone(), policy.clone());
            tasks.spawn(async move { engine.run_stage(runner, policy).await });
        }
        let engine = self.clone();
        tasks.spawn(async move { engine.run_events().await });
        let engine = self.clone();
        tasks.spawn(async move {
            is_true(&engine.0.stopping).await;
            tokio::time::sleep(GRACE).await;
            engine.0.overdue.send_replace(true);
        });
        // the last task only ends the others' grace: once they are done it is not waited for
        while tasks.len() > 1 {
            if let Some(Err(error)) = tasks.join_next().await {
                tracing::error!(error = %error, "a worker ended by a fault of the program");
            }
        }
        tasks.abort_all();
    }

    /// Asks [`Engine::run`] to end.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
        self.wake();
    }

    async fn run_stage(&self, runner: Arc<dyn Runner>, policy: WorkPolicy) {
        while !*self.0.stopping.borrow() {
            if let Err(error) = self.run_worker(runner.clone(), policy.clone()).await {
                tracing::warn!(stage = runner.name(), error = %error, "worker ended; it is started again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn run_worker(&self, runner: Arc<dyn Runner>, policy: WorkPolicy) -> BoxFuture<'static, Result<(), WorkerError>> {
        let places = Arc::new(Semaphore::new(policy.concurrency));
        let fetch = {
            let (engine, runner, policy) = (self.clone(), runner.clone(), policy.clone());
            move || engine.fetcher(runner.clone(), policy.clone(), places.clone())
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
            let (engine, runner, policy) = (engine.clone(), runner.clone(), policy.clone());
            async move {
                // a task of its own: one slow document must not hold up the worker's other ones
                let done = tokio::spawn(async move {
                    let claim = held.claim.clone();
                    engine.perform(runner.as_ref(), &policy, claim).await;
                });
                if let Err(error) = done.await {
                    tracing::error!(error = %error, "work ended by a fault of the program; its lease runs out");
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
    ) -> BoxStream<'static, Result<Option<Task<Arc<Held>>>, BoxDynError>> {
        struct State {
            engine: Engine,
            runner: Arc<dyn Runner>,
            policy: WorkPolicy,
            places: Arc<Semaphore>,
            taken: VecDeque<Held>,
            wake: watch::Receiver<u64>,
        }
        let state = State {
            wake: self.0.wake.subscribe(),
            engine: self.clone(),
            runner,
            policy,
            places,
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
                match state.engine.take(state.runner.as_ref(), &state.policy, free).await {
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
    ) -> Result<VecDeque<Held>, Duration> {
        if runner.gate().await.is_err() {
            return Err(PAUSE);
        }
        let limit = i64::try_from(places.len()).unwrap_or(1);
        match self.claim(runner.name(), policy, limit).await {
            Ok(claims) => {
                Ok(claims.into_iter().zip(places).map(|(claim, place)| Held { claim, _place: place }).collect())
            }
            Err(error) => {
                tracing::warn!(stage = runner.name(), error = %error, "could not look for work");
                Err(PAUSE)
            }
        }
    }

    /// Seals events and has them read, as they come.
    async fn run_events(&self) {
        let mut wake = self.0.wake.subscribe();
        while !*self.0.stopping.borrow() {
            wake.borrow_and_update();
            match self.events_once().await {
                Ok(true) => {}
                Ok(false) => wait(&mut wake, IDLE).await,
                Err(error) => {
                    tracing::warn!(error = %error, "could not seal or read events");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        // what was committed on the way out is sealed, too
        if let Err(error) = self.0.sequencer.seal(&self.0.db, self.stamp()).await {
            tracing::warn!(error = %error, "could not seal the last events");
        }
        if let Err(error) = self.0.sequencer.release(&self.0.db).await {
            tracing::warn!(error = %error, "could not give the sequencer's lease back");
        }
    }

    async fn events_once(&self) -> Result<bool, DbError> {
        let mut did = self.0.sequencer.seal(&self.0.db, self.stamp()).await? > 0;
        for reader in &self.0.readers {
            if read_some(&self.0.db, self.stamp(), reader.as_ref()).await? {
                did = true;
                self.wake();
            }
        }
        Ok(did)
    }
}

async fn wait(wake: &mut watch::Receiver<u64>, at_most: Duration) {
    // the engine holds the sender as long as it runs; without it, time alone wakes
    let _ = tokio::time::timeout(at_most, wake.changed()).await;
}
