//! Journey 1, upload to case: receive, sniff, scan, store, match.

pub mod sniff;
