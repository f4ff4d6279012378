//! Lettercase: documents in, letters out, each on the right case.
//!
//! The modules in reading order; each uses only those above it (ARCHITECTURE.md has the rule and the tidy
//! test that holds it).

pub mod model;

pub mod db;
pub mod outside;

pub mod engine;

pub mod access;
pub mod cases;
pub mod delivery;
pub mod intake;
pub mod letters;

pub mod digests;
pub mod fax;
pub mod paper;
pub mod retention;

pub mod http;

pub mod settings;

pub mod app;

pub mod cli;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
