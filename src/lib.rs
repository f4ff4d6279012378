//! Lettercase: documents in, letters out, each on the right case.
//!
//! The modules in reading order; each uses only those above it (ARCHITECTURE.md has the rule and the tidy
//! test that holds it).

pub mod model;
pub mod outside;

pub mod db;

pub mod engine;

pub mod cases;
pub mod intake;

pub mod cli;
