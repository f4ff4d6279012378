//! The scanner door against a real clamd; a scripted server stands in only for faults no clamd shows on demand.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and its helper process gets its one setting from the environment"
)]

mod faults;
mod managed;
mod pool;
pub(crate) mod support;
