//! Letters on paper: envelopes, print batches, and what becomes of each piece.

pub mod production;

use serde::Deserialize;

use crate::engine::plan::PlanError;

/// The policy of paper: the tables `[paper.*]` of `pipelines/correspondence.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperPolicy {
    /// Envelopes, sheets and marks.
    pub production: production::ProductionPolicy,
}

impl PaperPolicy {
    /// Checks that the figures make sense together.
    ///
    /// # Errors
    /// Names the table and the figure.
    pub fn check(&self) -> Result<(), PlanError> {
        self.production.check()
    }
}
