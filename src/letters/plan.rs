//! The policy of letters: the tables `[letters.*]` of `pipelines/correspondence.toml`.

use std::time::Duration;

use serde::Deserialize;

use crate::codes;
use crate::engine::plan::PlanError;
use crate::letters::details::parts::{DenialClass, DenialField};
use crate::model::letter::LetterType;

/// The plan.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LettersPolicy {
    /// What letters show.
    pub show: ShowPolicy,
    /// What a denial must hold, per class (DIS-06).
    pub denial: DenialPolicies,
    /// What becomes of letters that can't be produced.
    pub refused: RefusedPolicy,
    /// When what faults left behind is mended.
    pub reconcile: ReconcilePolicy,
}

/// What faults leave behind (`[letters.reconcile]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcilePolicy {
    /// Age of a letter without work at which it is put to work again.
    pub stuck_after_s: u64,
    /// How long a PDF must have been seen without a letter to be swept.
    pub orphan_after_s: u64,
    /// Letters and PDFs that are compared in one look.
    pub compared_per_look: usize,
}

impl ReconcilePolicy {
    /// Checks that the figures make sense.
    ///
    /// # Errors
    /// Names the figure.
    pub fn check(&self) -> Result<(), PlanError> {
        if !(1..=1_000).contains(&self.compared_per_look) {
            return Err(PlanError::Unusable("[letters.reconcile] compared_per_look must be 1 to 1000".into()));
        }
        Ok(())
    }
}

/// Time limits of letters that can't be produced (`[letters.refused]`).
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
            return Err(PlanError::Unusable("[letters.refused] act_within_business_days must be at least 1".into()));
        }
        Ok(())
    }

    /// How long before the deadline it is told of.
    pub const fn warn_before(&self) -> Duration {
        Duration::from_secs(self.warn_before_h.saturating_mul(3_600))
    }
}

codes! {
    /// How much of a member's id a letter shows.
    pub enum MemberIdShown {
        /// The last four characters.
        LastFour = "last_four",
        /// All of it.
        Whole = "whole",
    }
}

/// What letters show.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowPolicy {
    /// How much of a member's id.
    pub member_id: MemberIdShown,
    /// Types that end without the page of languages.
    pub no_languages_page: Vec<LetterType>,
}

/// What a class of denial must hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenialPolicy {
    /// These fields.
    pub requires: Vec<DenialField>,
}

/// [`DenialPolicy`] per class.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the class of its name")]
pub struct DenialPolicies {
    pub medical_necessity: DenialPolicy,
    pub administrative: DenialPolicy,
    pub partial: DenialPolicy,
}

impl DenialPolicies {
    /// What this class must hold.
    pub const fn of(&self, class: DenialClass) -> &DenialPolicy {
        match class {
            DenialClass::MedicalNecessity => &self.medical_necessity,
            DenialClass::Administrative => &self.administrative,
            DenialClass::Partial => &self.partial,
        }
    }
}

/// What DIS-06 asks of every denial: policy can ask for more, not for less.
const EVERY_DENIAL: [DenialField; 3] = [DenialField::Reason, DenialField::AppealRights, DenialField::AppealDeadline];
/// What it asks of one for medical necessity, beside that.
const MEDICAL_NECESSITY: [DenialField; 2] = [DenialField::CoveragePolicy, DenialField::IroContact];

impl LettersPolicy {
    /// Whether a letter of this type ends with the page of languages.
    pub fn languages_page(&self, letter_type: LetterType) -> bool {
        !self.show.no_languages_page.contains(&letter_type)
    }

    /// Checks that the figures make sense together.
    ///
    /// # Errors
    /// Names the table and the figure.
    pub fn check(&self) -> Result<(), PlanError> {
        self.refused.check()?;
        self.reconcile.check()?;
        for class in DenialClass::ALL {
            let clinical: &[DenialField] =
                if *class == DenialClass::MedicalNecessity { &MEDICAL_NECESSITY } else { &[] };
            let requires = &self.denial.of(*class).requires;
            if let Some(field) = EVERY_DENIAL.iter().chain(clinical).find(|field| !requires.contains(field)) {
                return Err(PlanError::Unusable(format!(
                    "[letters.denial.{class}] requires must have \"{field}\": no denial goes out without it (DIS-06)"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> LettersPolicy {
        let whole: toml::Table = toml::from_str(include_str!("../../pipelines/correspondence.toml")).unwrap();
        whole["letters"].clone().try_into().unwrap()
    }

    #[test]
    fn dis_06_policy_can_ask_more_of_a_denial_but_never_less() {
        let plan = built_in();
        for class in DenialClass::ALL {
            for field in plan.denial.of(*class).requires.clone() {
                let mut less = plan.clone();
                let policy = match class {
                    DenialClass::MedicalNecessity => &mut less.denial.medical_necessity,
                    DenialClass::Administrative => &mut less.denial.administrative,
                    DenialClass::Partial => &mut less.denial.partial,
                };
                policy.requires.retain(|f| *f != field);
                let floor = EVERY_DENIAL.contains(&field)
                    || (*class == DenialClass::MedicalNecessity && MEDICAL_NECESSITY.contains(&field));
                assert_eq!(less.check().is_err(), floor, "{class} without {field}");
            }
        }
    }
}
