//! The only door to clock, randomness, network, disk and child processes.

pub mod scanner;
