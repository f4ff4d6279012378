//! The HTTP surface.

pub mod api;
pub mod errors;
pub mod guard;
pub mod idempotency;
pub mod limits;
pub mod plan;
pub mod problems;
pub mod server;
