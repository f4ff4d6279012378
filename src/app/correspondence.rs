//! The plan of the second journey: one file, whose tables belong to the modules that read them.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use crate::engine::plan::{Loaded, PlanError, WorkPolicy, load};
use crate::letters::LettersPolicy;

const BUILT_IN: &str = include_str!("../../pipelines/correspondence.toml");

/// `pipelines/correspondence.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorrespondencePlan {
    /// What letters show and must hold.
    pub letters: LettersPolicy,
    /// How each stage works.
    pub work: HashMap<String, WorkPolicy>,
}

impl CorrespondencePlan {
    /// Reads and checks the plan.
    ///
    /// # Errors
    /// Names the file, the table and the figure.
    pub fn load(config: Option<&Path>) -> Result<Loaded<Self>, PlanError> {
        let loaded: Loaded<Self> = load("correspondence.toml", BUILT_IN, config)?;
        loaded.plan.letters.check()?;
        for (stage, policy) in &loaded.plan.work {
            policy.check(stage)?;
        }
        Ok(loaded)
    }
}
