//! Back-ups of running installations, going on from them, and nodes of two versions on one database.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

pub(crate) mod held;
mod restore;
mod rolling;
