//! What there is to do, looked up once for all stages and readers that are woken together. Each of them asking for itself
//! was a third of all statements of a small document.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Engine;
use crate::db::{DbError, answered, glance};

/// An older answer is not given: work of other nodes wakes nobody here.
const HOLDS: Duration = Duration::from_millis(100);
/// The next look is not sooner after the last one: who is woken meanwhile waits and gets the same answer.
const APART: Duration = Duration::from_millis(5);

/// What was found. Each stage and reader is answered once: who asks again has done something since.
pub(super) struct Glance {
    /// How often the engine had been woken before.
    woken: u64,
    at: Instant,
    /// When each stage's next work is due.
    due: HashMap<&'static str, Option<Timestamp>>,
    /// Which readers have not read all events.
    news: HashMap<&'static str, bool>,
}

impl Engine {
    /// Whether a stage has work that is due.
    pub(super) async fn is_due(&self, stage: &'static str) -> Result<bool, DbError> {
        let due = self.ask(|glance| glance.due.remove(stage)).await?;
        Ok(due.flatten().is_some_and(|due| due <= self.0.ctx.now()))
    }

    /// Whether a reader has not read all events.
    pub(super) async fn has_news(&self, reader: &'static str) -> Result<bool, DbError> {
        Ok(self.ask(|glance| glance.news.remove(reader)).await?.unwrap_or_default())
    }

    /// The answer of the last look, or of a new one where that has none, is too old or is of before a wake-up.
    async fn ask<T>(&self, answer: impl Fn(&mut Glance) -> Option<T>) -> Result<Option<T>, DbError> {
        let mut last = self.0.glance.lock().await;
        let woken = *self.0.wake.borrow();
        if let Some(glance) = last.as_mut().filter(|glance| glance.woken == woken && glance.at.elapsed() < HOLDS)
            && let Some(told) = answer(glance)
        {
            return Ok(Some(told));
        }
        if let Some(glance) = last.as_ref() {
            tokio::time::sleep_until(glance.at + APART).await;
        }
        let woken = *self.0.wake.borrow();
        Ok(answer(last.insert(answered(self.look(woken)).await?)))
    }

    async fn look(&self, woken: u64) -> Result<Glance, DbError> {
        let at = Instant::now();
        let mut conn = self.0.db.read().await?;
        let stages = self.stages();
        let found = glance::look(&mut conn, &stages).await?;
        let due = stages.into_iter().map(|stage| (stage, found.due.get(stage).copied())).collect();
        let news = self.0.readers.iter().map(|reader| {
            let name = reader.name();
            (name, found.readers.get(name).copied().unwrap_or_default() < found.head)
        });
        Ok(Glance { woken, at, due, news: news.collect() })
    }
}
