//! Digests: when they go, what they tell, how their mails are sent.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod choices;
mod crash;
mod doors;
mod overdue;
mod planning;
mod queueing;
mod schedules;
pub(crate) mod sending;
mod why;
mod zones;
