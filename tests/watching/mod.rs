//! How the flow is watched: traces, and the figures of `/metrics` (OPS-16).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod collector;
mod figures;
mod node;
mod traces;
