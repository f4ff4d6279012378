//! The object store door: one suite over every store, then what is particular to each.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

mod child;
mod disk;
mod memory;
mod s3;
mod suite;
mod versions;
pub(crate) mod world;
