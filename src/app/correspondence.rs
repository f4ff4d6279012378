//! The plan of the second journey: one file, whose tables belong to the modules that read them.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use crate::delivery::DeliveryPolicy;
use crate::engine::plan::{Loaded, PlanError, WorkPolicy, load};
use crate::fax::FaxPolicy;
use crate::letters::LettersPolicy;
use crate::paper::PaperPolicy;

const BUILT_IN: &str = include_str!("../../pipelines/correspondence.toml");

/// `pipelines/correspondence.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorrespondencePlan {
    /// What letters show and must hold.
    pub letters: LettersPolicy,
    /// Which ways letters go, and the Messaging Center.
    pub delivery: DeliveryPolicy,
    /// Envelopes and print batches.
    pub paper: PaperPolicy,
    /// Answers by fax.
    pub fax: FaxPolicy,
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
        loaded.plan.delivery.check()?;
        loaded.plan.fax.check()?;
        loaded.plan.paper.check()?;
        for (stage, policy) in &loaded.plan.work {
            policy.check(stage)?;
        }
        Ok(loaded)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::model::letter::{LetterCategory, LetterType};

    #[test]
    fn the_plan_that_is_built_in_is_whole_and_has_the_figures_of_the_spec() {
        let plan = CorrespondencePlan::load(None).unwrap().plan;
        assert_eq!(plan.delivery.route.digital_since[&LetterCategory::Claim], date(2024, 6, 20), "COR-04");
        assert_eq!(plan.delivery.route.digital_since[&LetterCategory::Precertification], date(2024, 7, 18), "COR-04");
        assert_eq!(plan.delivery.route.paper_choice_since, date(2024, 5, 23), "COR-04");
        assert!(plan.delivery.route.paper_categories.contains(&LetterCategory::Appeal), "COR-03");
        assert_eq!(plan.delivery.inbox.online_years, 2, "COR-23");
        assert!(plan.delivery.inbox.needs_answer(LetterType::AdditionalDocumentsRequested));
        for stage in ["compose", "render", "route", "deliver", "assemble"] {
            assert!(plan.work.contains_key(stage), "{stage}");
        }
    }

    #[test]
    fn a_plan_that_makes_no_sense_is_refused_by_its_table() {
        let own = |from: &str, to: &str| {
            assert_eq!(BUILT_IN.matches(from).count(), 1, "{from}");
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("correspondence.toml"), BUILT_IN.replace(from, to)).unwrap();
            CorrespondencePlan::load(Some(dir.path())).map(|_| ()).map_err(|error| error.to_string())
        };
        for (from, to, told) in [
            ("[\"appeal\"]", "[]", "[delivery.route] appeal"),
            ("[\"appeal\"]", "[\"appeals\"]", "appeals"),
            ("online_years = 2 ", "online_years = 0 ", "[delivery.inbox] online_years"),
            ("act_within_business_days = 1", "act_within_business_days = 0", "[letters.refused]"),
            ("compared_per_look = 200", "compared_per_look = 0", "[letters.reconcile]"),
            ("[delivery.route]\n", "[delivery.route]\nsurprise = 1\n", "surprise"),
        ] {
            assert!(own(from, to).is_err_and(|error| error.contains(told)), "{told}");
        }
    }
}
