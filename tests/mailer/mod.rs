//! Mail: relays and their faults, what messages hold, what comes back.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

pub(crate) mod postfix;
pub(crate) mod relay;
mod relays;
pub(crate) mod returned;
mod texts;
