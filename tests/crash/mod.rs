//! Real processes, killed: whatever was promised is there after the restart, and took effect once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod letters;
pub(crate) mod memory;
mod places;
mod receive;
mod rounds;
pub(crate) mod sender;
pub(crate) mod site;
mod terminate;
