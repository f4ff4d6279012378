//! Aging (OPS-02): by when a person must have acted on what waits.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::model::calendar::Calendar;

/// Time limits of what waits for a person: table `[aging]` of `pipelines/intake.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgingPolicy {
    /// Business days in which a document is matched (INT-16).
    pub match_business_days: u16,
    /// Business days in which a held file is decided over.
    pub held_business_days: u16,
    /// Hours before a breach at which it is told.
    pub warn_before_h: u16,
}

impl AgingPolicy {
    /// How long before a breach it is told.
    pub fn warn_before(&self) -> SignedDuration {
        SignedDuration::from_hours(self.warn_before_h.into())
    }
}

/// By when a person must have acted: within `business_days` after receipt, or by the nearest deadline of the cases it
/// may belong to, where that is sooner. It counts from the receipt (INT-20), also for what waits a second time.
pub fn due_at(
    received_at: Timestamp,
    business_days: u16,
    case_deadlines: &[Timestamp],
    calendar: &Calendar,
) -> Timestamp {
    let policy = calendar.business_deadline(received_at, business_days);
    case_deadlines.iter().copied().fold(policy, Timestamp::min)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::model::calendar::CalendarPlan;

    #[test]
    fn ops_02_the_sooner_of_policy_and_the_nearest_deadline_of_a_case_counts() {
        let plan: CalendarPlan = toml::from_str(include_str!("../../pipelines/calendar.toml")).unwrap();
        let calendar = plan.resolve(TimeZone::get(&plan.zone).unwrap()).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let received = at("2026-11-20T15:00:00Z");
        let policy = at("2026-11-24T05:00:00Z");
        let (sooner, later) = (at("2026-11-21T15:00:00Z"), at("2026-12-24T05:00:00Z"));
        for (cases, expected) in [
            (vec![], policy),
            (vec![later], policy),
            (vec![later, sooner], sooner),
            (vec![at("2026-11-01T00:00:00Z")], at("2026-11-01T00:00:00Z")),
        ] {
            assert_eq!(due_at(received, 1, &cases, &calendar), expected, "{cases:?}");
        }
    }
}
