//! The only door to clock, randomness, network, disk and child processes.

pub mod contained;
pub mod context;
pub mod extract;
pub mod inbox;
pub mod mailer;
pub mod metrics;
pub mod objects;
pub mod oidc;
pub mod scanner;
pub mod spool;
pub mod traces;
