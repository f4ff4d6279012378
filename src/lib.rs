//! Lettercase: documents in, letters out, each on the right case.

pub mod intake;
pub mod model;
pub mod outside;
