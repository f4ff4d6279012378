//! The engine and the database under it, with toy stages: it knows no documents.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod audit;
mod claims;
mod events;
mod ledger;
mod plans;
mod schema;
mod stages;
mod toy;
mod workers;
