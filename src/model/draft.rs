//! How long what was begun and not sent is kept (OPS-15, REC-30, PRE-20).

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::model::calendar::Calendar;
use crate::model::case::CaseKind;

/// How long a draft is kept after its last save: table `[drafts]` of `pipelines/intake.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DraftsPolicy {
    /// Calendar days of a reconsideration; the last of them counts to its end (REC-30).
    pub reconsideration_days: u16,
    /// The same of an appeal, of which the spec says nothing of its own.
    pub appeal_days: u16,
    /// Hours of a precertification, without weekends (PRE-20).
    pub precertification_h: u16,
}

/// When a draft of this kind expires that was saved last at `saved_at`.
pub fn expires_at(kind: CaseKind, saved_at: Timestamp, policy: &DraftsPolicy, calendar: &Calendar) -> Timestamp {
    let days = |days: u16| calendar.end_of_day(calendar.add_days(calendar.local_day(saved_at), days.into()));
    match kind {
        CaseKind::Reconsideration => days(policy.reconsideration_days),
        CaseKind::Appeal => days(policy.appeal_days),
        CaseKind::Precertification => without_weekends(saved_at, policy.precertification_h, calendar),
    }
}

/// The instant so many hours later, weekends left out.
fn without_weekends(from: Timestamp, hours: u16, calendar: &Calendar) -> Timestamp {
    let (mut at, mut left) = (from, SignedDuration::from_hours(hours.into()));
    loop {
        let day = calendar.local_day(at);
        let end = calendar.end_of_day(day);
        if end <= at {
            // the end of the calendar
            return Timestamp::MAX;
        }
        if !calendar.is_weekend(day) {
            let here = end.duration_since(at);
            if left < here {
                return at.saturating_add(left).unwrap_or(Timestamp::MAX);
            }
            left -= here;
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::model::calendar::CalendarPlan;

    #[test]
    fn rec_30_and_pre_20_a_draft_is_kept_as_long_after_its_last_save() {
        let plan: CalendarPlan = toml::from_str(include_str!("../../pipelines/calendar.toml")).unwrap();
        let calendar = plan.resolve(TimeZone::get("America/New_York").unwrap()).unwrap();
        let policy = DraftsPolicy { reconsideration_days: 5, appeal_days: 5, precertification_h: 72 };
        let (reconsideration, precertification) = (CaseKind::Reconsideration, CaseKind::Precertification);
        for (kind, saved, expires, why) in [
            (precertification, "2026-11-20T10:00-05:00", "2026-11-25T10:00-05:00", "from Friday to Wednesday"),
            (precertification, "2026-11-16T10:00-05:00", "2026-11-19T10:00-05:00", "within a week"),
            (precertification, "2026-11-21T10:00-05:00", "2026-11-26T00:00-05:00", "a Saturday does not count"),
            (
                precertification,
                "2026-11-18T00:00-05:00",
                "2026-11-23T00:00-05:00",
                "to the end of Friday: later counts",
            ),
            (precertification, "2026-10-30T10:00-04:00", "2026-11-04T10:00-05:00", "the clocks change on a weekend"),
            (reconsideration, "2026-11-20T10:00-05:00", "2026-11-26T00:00-05:00", "the fifth day to its end"),
            (reconsideration, "2026-11-20T23:59-05:00", "2026-11-26T00:00-05:00", "by the payer's clocks"),
            (reconsideration, "2026-10-30T10:00-04:00", "2026-11-05T00:00-05:00", "over a change of the clocks"),
            (CaseKind::Appeal, "2026-11-20T10:00-05:00", "2026-11-26T00:00-05:00", "as a reconsideration"),
        ] {
            let at = |text: &str| text.parse::<Timestamp>().unwrap();
            assert_eq!(expires_at(kind, at(saved), &policy, &calendar), at(expires), "{saved}: {why}");
        }
        assert_eq!(expires_at(precertification, Timestamp::MAX, &policy, &calendar), Timestamp::MAX);
    }
}
