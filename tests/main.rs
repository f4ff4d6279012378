//! One binary for all tests: see CONTRIBUTING.md.

mod made;
mod objects;
mod scanner;
