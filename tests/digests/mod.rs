
//! Digests: when they go, what they tell, how their mails are sent.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
mod schedules;
mod zones;
//! Digests: what users are told of, when, and by which mails.
mod choices;
mod crash;
mod planning;
mod why;
