//! One binary for all tests: see CONTRIBUTING.md.

mod access;
mod batches;
mod cli;
mod crash;
mod delivery;
mod digests;
mod engine;
mod fax;
mod hostile;
mod http;
mod journey;
mod letters;
mod made;
mod mailer;
mod objects;
mod paper;
mod retention;
mod review;
mod scanner;
mod sources;
mod support;
mod tidy;
mod uploads;
mod watching;
