//! The policy of letters: `pipelines/correspondence.toml`.

use std::path::Path;

use serde::Deserialize;

use crate::codes;
use crate::engine::plan::{Loaded, PlanError, load};
use crate::letters::details::parts::{DenialClass, DenialField};
use crate::model::letter::LetterType;

const BUILT_IN: &str = include_str!("../../pipelines/correspondence.toml");

/// The plan.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorrespondencePlan {
    /// What letters show.
    pub show: ShowPolicy,
    /// What a denial must hold, per class (DIS-06).
    pub denial: DenialPolicies,
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

    /// Whether a letter of this type ends with the page of languages.
    pub fn languages_page(&self, letter_type: LetterType) -> bool {
        !self.show.no_languages_page.contains(&letter_type)
    }

    fn check(&self) -> Result<(), PlanError> {
        for class in DenialClass::ALL {
            let clinical: &[DenialField] =
                if *class == DenialClass::MedicalNecessity { &MEDICAL_NECESSITY } else { &[] };
            let requires = &self.denial.of(*class).requires;
            if let Some(field) = EVERY_DENIAL.iter().chain(clinical).find(|field| !requires.contains(field)) {
                return Err(PlanError::Unusable(format!(
                    "[denial.{class}] requires must have \"{field}\": no denial goes out without it (DIS-06)"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dis_06_policy_can_ask_more_of_a_denial_but_never_less() {
        let plan = CorrespondencePlan::load(None).unwrap().plan;
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
