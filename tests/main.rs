//! One binary for all tests: see CONTRIBUTING.md.

mod engine;
mod hostile;
mod journey;
mod made;
mod objects;
mod scanner;
mod support;
