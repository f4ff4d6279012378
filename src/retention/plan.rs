//! The policy of retention: one file, `pipelines/retention.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::plan::{Loaded, PlanError, load};
use crate::model::case::CaseKind;
use crate::model::letter::LetterCategory;
use crate::model::retention::Class;

const BUILT_IN: &str = include_str!("../../pipelines/retention.toml");

/// What tells of a record must be kept for so long, whatever policy says (45 CFR 164.316(b)(2)).
const AUDIT_YEARS: u16 = 6;
/// Longer periods are a slip of the pen.
const MOST_YEARS: u16 = 100;

/// `pipelines/retention.toml`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionPlan {
    /// How destruction goes.
    pub destruction: Destruction,
    /// Documents and submissions.
    pub documents: ByKind,
    /// Letters and print batches.
    pub letters: ByCategory,
    /// Cases.
    pub cases: ByKind,
    /// The audit log.
    pub audit: Audit,
}

/// How destruction goes.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Destruction {
    /// Whether anything is destroyed.
    pub enabled: bool,
    /// Records looked at before a run keeps how far it has come.
    pub page: u16,
    /// Pages that a node works through before it sees to other things.
    pub pages_per_look: u16,
    /// Seconds that a node which died while it destroyed is waited for.
    pub lease_s: u64,
}

/// A class whose periods go by kinds of cases.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ByKind {
    /// Years that a record is kept.
    pub years: u16,
    /// Kinds with a period of their own.
    pub of_kind: BTreeMap<CaseKind, u16>,
}

/// A class whose periods go by categories of letters.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ByCategory {
    /// Years that a record is kept.
    pub years: u16,
    /// Categories with a period of their own.
    pub of_category: BTreeMap<LetterCategory, u16>,
}

/// The audit log.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Years that it is kept at least.
    pub years: u16,
}

impl RetentionPlan {
    /// Reads and checks the plan.
    ///
    /// # Errors
    /// Names the file, the table and the figure.
    pub fn load(config: Option<&Path>) -> Result<Loaded<Self>, PlanError> {
        let loaded: Loaded<Self> = load("retention.toml", BUILT_IN, config)?;
        loaded.plan.check()?;
        Ok(loaded)
    }

    /// Each period with the table it stands in.
    fn periods(&self) -> impl Iterator<Item = (&'static str, u16)> {
        let of_kind = |name, class: &ByKind| {
            class.of_kind.values().copied().chain([class.years]).map(move |years| (name, years)).collect::<Vec<_>>()
        };
        let letters = self.letters.of_category.values().copied().chain([self.letters.years]);
        let mut all = of_kind("documents", &self.documents);
        all.extend(letters.map(|years| ("letters", years)));
        all.extend(of_kind("cases", &self.cases));
        all.into_iter()
    }

    fn check(&self) -> Result<(), PlanError> {
        let wrong = |table: &str, what: &str| Err(PlanError::Unusable(format!("[{table}] {what}")));
        let Destruction { page, pages_per_look, lease_s, .. } = self.destruction;
        if page == 0 || pages_per_look == 0 {
            return wrong("destruction", "page and pages_per_look must be at least 1");
        }
        if lease_s < 3 {
            return wrong("destruction", "lease_s must be at least 3");
        }
        if !(AUDIT_YEARS..=MOST_YEARS).contains(&self.audit.years) {
            return wrong("audit", "years must be from 6 to 100");
        }
        for (table, years) in self.periods() {
            if years == 0 {
                return wrong(table, "a period must be at least 1 year");
            }
            // what tells why a record is gone must not go before it
            if years > self.audit.years {
                return wrong("audit", &format!("years must not be under the {years} years of [{table}]"));
            }
        }
        Ok(())
    }

    /// The class of documents and submissions of a kind of case, and its years.
    pub fn of_documents(&self, kind: Option<CaseKind>) -> (Class, u16) {
        let own = kind.and_then(|kind| self.documents.of_kind.get_key_value(&kind));
        own.map_or((Class::Documents(None), self.documents.years), |(kind, years)| {
            (Class::Documents(Some(*kind)), *years)
        })
    }

    /// The class of letters of a category, and its years.
    pub fn of_letters(&self, category: Option<LetterCategory>) -> (Class, u16) {
        let own = category.and_then(|category| self.letters.of_category.get_key_value(&category));
        own.map_or((Class::Letters(None), self.letters.years), |(category, years)| {
            (Class::Letters(Some(*category)), *years)
        })
    }

    /// The class of print batches, and its years: those of the letters that are kept longest, for a batch has them all.
    pub fn of_batches(&self) -> (Class, u16) {
        let longest = self.letters.of_category.values().copied().chain([self.letters.years]).max();
        (Class::Letters(None), longest.unwrap_or(self.letters.years))
    }

    /// The class of cases of a kind, and its years.
    pub fn of_cases(&self, kind: Option<CaseKind>) -> (Class, u16) {
        let own = kind.and_then(|kind| self.cases.of_kind.get_key_value(&kind));
        own.map_or((Class::Cases(None), self.cases.years), |(kind, years)| (Class::Cases(Some(*kind)), *years))
    }

    /// The shortest period: nothing younger is looked at.
    pub fn shortest(&self) -> u16 {
        self.periods().map(|(_, years)| years).min().unwrap_or(self.audit.years)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(from: &str, to: &str) -> Result<RetentionPlan, String> {
        assert_eq!(BUILT_IN.matches(from).count(), 1, "{from}");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("retention.toml"), BUILT_IN.replace(from, to)).unwrap();
        RetentionPlan::load(Some(dir.path())).map(|loaded| loaded.plan).map_err(|error| error.to_string())
    }

    #[test]
    fn ops_15_the_plan_that_is_built_in_keeps_everything_for_ten_years_and_destroys_nothing() {
        let plan = RetentionPlan::load(None).unwrap().plan;
        assert!(!plan.destruction.enabled);
        assert!(plan.periods().all(|(_, years)| years == 10));
        assert_eq!((plan.shortest(), plan.audit.years), (10, 10));
        assert_eq!(plan.of_documents(Some(CaseKind::Appeal)), (Class::Documents(None), 10));
    }

    #[test]
    fn a_kind_with_a_period_of_its_own_is_a_class_of_its_own() {
        let plan = own("[letters.of_category]\n", "[letters.of_category]\nappeal = 7\n").unwrap();
        assert_eq!(plan.of_letters(Some(LetterCategory::Appeal)), (Class::Letters(Some(LetterCategory::Appeal)), 7));
        assert_eq!(plan.of_letters(Some(LetterCategory::Claim)), (Class::Letters(None), 10));
        assert_eq!((plan.of_batches(), plan.shortest()), ((Class::Letters(None), 10), 7));
        let plan = own("[cases.of_kind]\n", "[cases.of_kind]\nreconsideration = 8\n").unwrap();
        assert_eq!(plan.of_cases(Some(CaseKind::Reconsideration)).1, 8);
        assert_eq!(plan.of_documents(Some(CaseKind::Reconsideration)).1, 10);
    }

    #[test]
    fn ops_15_a_plan_that_makes_no_sense_is_refused_by_its_table() {
        for (from, to, told) in [
            ("[audit]\nyears = 10", "[audit]\nyears = 5", "[audit] years must be from 6"),
            ("[audit]\nyears = 10", "[audit]\nyears = 9", "not be under the 10 years"),
            ("[cases.of_kind]\n", "[cases.of_kind]\nappeal = 11\n", "under the 11 years of [cases]"),
            ("[documents]\nyears = 10", "[documents]\nyears = 0", "[documents]"),
            ("page = 200 ", "page = 0 ", "[destruction]"),
            ("lease_s = 120", "lease_s = 2", "lease_s"),
            ("[cases.of_kind]\n", "[cases.of_kind]\nclaim = 9\n", "claim"),
            ("[audit]\n", "[audit]\nsurprise = 1\n", "surprise"),
        ] {
            assert!(own(from, to).is_err_and(|error| error.contains(told)), "{told}");
        }
    }
}
