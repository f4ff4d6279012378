//! The scanner door against a real clamd; a scripted server stands in only for faults no clamd shows on demand.

mod faults;
mod managed;
mod pool;
mod support;
