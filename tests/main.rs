// One binary for all tests: see CONTRIBUTING.md.
mod scanner;
//! One binary for all tests: see CONTRIBUTING.md.

mod objects;
