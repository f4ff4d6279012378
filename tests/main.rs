//! One binary for all tests: see CONTRIBUTING.md.


mod objects;
mod scanner;
