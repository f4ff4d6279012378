//! Digests: what users are told of, when, and by which mails.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod choices;
mod crash;
mod planning;
mod why;
