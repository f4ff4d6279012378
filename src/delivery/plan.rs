//! The plan of correspondence as far as ways and places go: `pipelines/correspondence.toml`.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::engine::plan::{Loaded, PlanError, WorkPolicy, load};
use crate::model::letter::LetterType;
use crate::model::route::RoutePolicy;

const BUILT_IN: &str = include_str!("../../pipelines/correspondence.toml");

/// The plan.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorrespondencePlan {
    /// Which way a letter goes.
    pub route: RoutePolicy,
    /// How each stage works.
    pub work: HashMap<String, WorkPolicy>,
    /// Time limits of letters that can't be produced.
    pub refused: RefusedPolicy,
    /// The Messaging Center.
    pub inbox: InboxPolicy,
}

/// Time limits of letters that can't be produced (`[refused]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedPolicy {
    /// Business days within which an operator must have acted.
    pub act_within_business_days: u16,
    /// Hours before that when it is told of.
    pub warn_before_h: u64,
}

impl RefusedPolicy {
    /// Checks that the figures make sense.
    ///
    /// # Errors
    /// Names the figure.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.act_within_business_days == 0 {
            return unusable("refused", "act_within_business_days must be at least 1");
        }
        Ok(())
    }

    /// How long before the deadline it is told of.
    pub const fn warn_before(&self) -> Duration {
        Duration::from_secs(self.warn_before_h.saturating_mul(3_600))
    }
}

/// The Messaging Center (`[inbox]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboxPolicy {
    /// Years for which a letter is online, from the date on it (COR-23).
    pub online_years: u16,
    /// Days after which a letter that needs an answer is reported as unread (COR-26).
    pub unread_after_days: u16,
    /// Whether it is then sent on paper as well.
    pub paper_after_unread: bool,
    /// Types that need an answer; all others inform (COR-33).
    pub action_required: BTreeSet<LetterType>,
}

impl InboxPolicy {
    /// Checks that the figures make sense.
    ///
    /// # Errors
    /// Names the figure.
    pub fn check(&self) -> Result<(), PlanError> {
        if !(1..=100).contains(&self.online_years) || !(1..=3_650).contains(&self.unread_after_days) {
            return unusable("inbox", "online_years must be 1 to 100, unread_after_days 1 to 3650");
        }
        Ok(())
    }

    /// Whether a letter of this type needs an answer.
    pub fn needs_answer(&self, letter_type: LetterType) -> bool {
        self.action_required.contains(&letter_type)
    }
}

fn unusable<T>(table: &str, why: &str) -> Result<T, PlanError> {
    Err(PlanError::Unusable(format!("correspondence.toml: [{table}] {why}")))
}

impl CorrespondencePlan {
    /// Reads and checks the plan.
    ///
    /// # Errors
    /// Names the file, the table and the figure.
    pub fn load(config: Option<&Path>) -> Result<Loaded<Self>, PlanError> {
        let loaded: Loaded<Self> = load("correspondence.toml", BUILT_IN, config)?;
        loaded.plan.check()?;
        Ok(loaded)
    }

    fn check(&self) -> Result<(), PlanError> {
        for (stage, policy) in &self.work {
            policy.check(stage)?;
        }
        self.route.check().or_else(|error| unusable("route", &error.to_string()))?;
        self.refused.check()?;
        self.inbox.check()
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::model::letter::LetterCategory;

    #[test]
    fn the_plan_that_is_built_in_is_whole_and_has_the_figures_of_the_spec() {
        let plan = CorrespondencePlan::load(None).unwrap().plan;
        assert_eq!(plan.route.digital_since[&LetterCategory::Claim], date(2024, 6, 20), "COR-04");
        assert_eq!(plan.route.digital_since[&LetterCategory::Precertification], date(2024, 7, 18), "COR-04");
        assert_eq!(plan.route.paper_choice_since, date(2024, 5, 23), "COR-04");
        assert!(plan.route.paper_categories.contains(&LetterCategory::Appeal), "COR-03");
        assert_eq!(plan.inbox.online_years, 2, "COR-23");
        assert!(plan.inbox.needs_answer(LetterType::AdditionalDocumentsRequested));
        for stage in ["compose", "render", "route", "deliver"] {
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
            ("[\"appeal\"]", "[]", "[route] appeal"),
            ("[\"appeal\"]", "[\"appeals\"]", "appeals"),
            ("online_years = 2 ", "online_years = 0 ", "[inbox] online_years"),
            ("act_within_business_days = 1", "act_within_business_days = 0", "[refused]"),
            ("[route]\n", "[route]\nsurprise = 1\n", "surprise"),
        ] {
            assert!(own(from, to).is_err_and(|error| error.contains(told)), "{told}");
        }
    }
}
