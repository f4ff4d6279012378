//! Figures for `/metrics` that are not counted as things happen. What takes long, the whole ledger and the queues, is
//! counted in the background, at most once in an interval and only where somebody asks for metrics; in between the last
//! count is served, with its age. Whether what is needed is there is asked at each scrape, for a short time.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::Api;
use crate::db::{DbError, PLAN_PREFIX, Stamp, events, installation_like, ledger, outgoing, standing};
use crate::model::outgoing::Outgoing;
use crate::outside::contained::contained;

/// When was counted last, and whether it is done now.
#[derive(Debug, Default)]
pub struct Figures {
    counted_at: Mutex<Option<Timestamp>>,
    counting: AtomicBool,
    counted: Notify,
}

impl Figures {
    /// When what lies here was counted last.
    pub fn counted_at(&self) -> Option<Timestamp> {
        *self.counted_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no count goes on.
    pub async fn idle(&self) {
        loop {
            // made before it is looked: a count that ends in between must not be missed
            let counted = self.counted.notified();
            tokio::pin!(counted);
            counted.as_mut().enable();
            if !self.counting.load(Ordering::Acquire) {
                return;
            }
            counted.await;
        }
    }

    /// Seconds since the last count.
    fn age_s(&self, now: Timestamp) -> Option<f64> {
        self.counted_at().map(|at| now.duration_since(at).as_secs_f64().max(0.0))
    }
}

/// Brings the figures up to date: those that are quick now, the others by a count that goes on behind this answer.
pub async fn refresh(api: &Api) {
    let policy = &api.plan.metrics;
    let age = api.figures.age_s(api.intake.ctx.now());
    if age.is_none_or(|age| age >= f64::from(policy.count_every_s)) {
        begin_count(api);
    }
    if age.is_none() {
        // there is no last count: the first one is waited for, but no scrape is held up
        let _ = timeout(Duration::from_millis(policy.first_wait_ms), api.figures.idle()).await;
    }
    if let Some(age) = api.figures.age_s(api.intake.ctx.now()) {
        metrics::gauge!("lettercase_ledger_age_seconds").set(age);
    }
    look_at_needs(api, Duration::from_millis(policy.probe_timeout_ms)).await;
}

/// Begins a count unless one goes on.
fn begin_count(api: &Api) {
    if api.figures.counting.swap(true, Ordering::AcqRel) {
        return;
    }
    let api = api.clone();
    tokio::spawn(async move {
        let (at, began) = (api.intake.ctx.now(), Instant::now());
        match contained("counting what lies here", count(&api)).await {
            Some(Ok(())) => {
                metrics::gauge!("lettercase_ledger_count_seconds").set(began.elapsed().as_secs_f64());
                *api.figures.counted_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
            }
            // the age goes on growing, which is what the alarm is for
            Some(Err(error)) => tracing::warn!(error = %error, "could not count what lies here"),
            None => {}
        }
        api.figures.counting.store(false, Ordering::Release);
        api.figures.counted.notify_waiters();
    });
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
async fn count(api: &Api) -> Result<(), DbError> {
    let mut conn = api.intake.db.read().await?;
    let now = api.intake.ctx.now();
    let age = |at: Option<Timestamp>| at.map_or(0.0, |at| now.duration_since(at).as_secs_f64().max(0.0));
    let counted = ledger::count(&mut conn).await?;
    for line in &counted.lines {
        let labels = [("kind", line.kind.as_str().to_owned()), ("state", line.state.clone())];
        metrics::gauge!("lettercase_rows", &labels).set(line.rows as f64);
    }
    metrics::gauge!("lettercase_ledger_difference").set(counted.difference as f64);
    // What has none any more must say 0, not its last figure.
    let queues: HashMap<(String, String), standing::WorkStanding> =
        standing::work(&mut conn).await?.into_iter().map(|s| ((s.stage.clone(), s.state.clone()), s)).collect();
    for stage in api.engine.stages() {
        for state in ["ready", "running", "dead"] {
            let found = queues.get(&(stage.to_owned(), state.to_owned()));
            let labels = [("stage", stage), ("state", state)];
            metrics::gauge!("lettercase_work", &labels).set(found.map_or(0.0, |s| s.count as f64));
            metrics::gauge!("lettercase_work_oldest_seconds", &labels).set(age(found.and_then(|s| s.oldest_at)));
        }
    }
    let tasks = standing::tasks(&mut conn, now).await?;
    for kind in standing::TASKS {
        let found = tasks.iter().find(|s| s.kind == kind);
        metrics::gauge!("lettercase_tasks", "kind" => kind).set(found.map_or(0.0, |s| s.count as f64));
        metrics::gauge!("lettercase_tasks_overdue", "kind" => kind).set(found.map_or(0.0, |s| s.overdue as f64));
        let oldest = age(found.and_then(|s| s.oldest_at));
        metrics::gauge!("lettercase_tasks_oldest_seconds", "kind" => kind).set(oldest);
    }
    let (unsealed, oldest) = events::backlog(&mut conn).await?;
    metrics::gauge!("lettercase_events_unsealed").set(unsealed as f64);
    metrics::gauge!("lettercase_events_unsealed_oldest_seconds").set(age(oldest));
    for reader in events::unread(&mut conn).await? {
        metrics::gauge!("lettercase_events_unread", "reader" => reader.name.clone()).set(reader.count as f64);
        metrics::gauge!("lettercase_events_unread_oldest_seconds", "reader" => reader.name).set(age(reader.oldest_at));
    }
    let plans: BTreeSet<String> =
        installation_like(&mut conn, PLAN_PREFIX).await?.into_iter().map(|(_, hash)| hash).collect();
    metrics::gauge!("lettercase_differing_plans").set(plans.len().saturating_sub(1) as f64);
    let held = outgoing::held(&mut conn).await?;
    for what in Outgoing::ALL {
        let is = held.iter().any(|held| held.what == *what);
        metrics::gauge!("lettercase_outgoing_held", "what" => what.as_str()).set(truth(is));
    }
    Ok(())
}

fn truth(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// Whether the database takes a write.
pub(super) async fn check_write(api: &Api) -> Result<(), DbError> {
    let stamp = Stamp { ctx: &api.intake.ctx, actor: "system" };
    api.intake.db.check_write(stamp, &api.intake.node).await
}

/// Whether stages can work, the store answers, scanners are fit and relays send.
async fn look_at_needs(api: &Api, patience: Duration) {
    let (paused, store, database) = tokio::join!(
        timeout(patience, api.engine.paused()),
        timeout(patience, api.intake.objects.check()),
        timeout(patience, check_write(api)),
    );
    // one that does not say within the time keeps its last figure: the gate of a slow scanner is no pause
    if let Ok(paused) = paused {
        for stage in api.engine.stages() {
            let is = paused.iter().any(|(name, _)| *name == stage);
            metrics::gauge!("lettercase_stage_paused", "stage" => stage).set(truth(is));
        }
    }
    metrics::gauge!("lettercase_object_store_up").set(truth(matches!(store, Ok(Ok(())))));
    metrics::gauge!("lettercase_database_up").set(truth(matches!(database, Ok(Ok(())))));
    if let Ok(free) = api.intake.spool.free_bytes() {
        #[expect(clippy::cast_precision_loss, reason = "to the kilobyte is near enough")]
        metrics::gauge!("lettercase_spool_free_bytes").set(free as f64);
    }
    for scanner in api.intake.scanner.standing(api.intake.ctx.now()) {
        metrics::gauge!("lettercase_scanner_fit", "scanner" => scanner.endpoint.clone()).set(truth(scanner.is_fit));
        if let Some(age) = scanner.signature_age_s {
            metrics::gauge!("lettercase_scanner_signature_age_seconds", "scanner" => scanner.endpoint).set(age);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "there are few connections")]
    for relay in api.digests.mail.iter().flat_map(|mail| mail.relays.standing()) {
        let connections = (relay.in_use + relay.parked) as f64;
        metrics::gauge!("lettercase_relay_connections", "relay" => relay.relay.clone()).set(connections);
        metrics::gauge!("lettercase_relay_resting", "relay" => relay.relay).set(truth(relay.rests_until.is_some()));
    }
}
