//! One binary for all tests: see CONTRIBUTING.md.

mod hostile;
mod made;
mod objects;
mod scanner;
mod tidy;
