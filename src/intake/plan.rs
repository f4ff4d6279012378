//! The plan of the intake journey: `pipelines/intake.toml`.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::engine::plan::{Loaded, PlanError, WorkPolicy, load};
use crate::intake::room::RoomPolicy;
use crate::intake::sniff::policy::SniffPolicy;
use crate::model::aging::AgingPolicy;
use crate::model::calendar::{Calendar, CalendarPlan};
use crate::model::case::CaseKind;
use crate::model::draft::DraftsPolicy;
use crate::model::matching::MatchPolicy;
use crate::outside::extract::ExtractLimits;
use crate::outside::scanner::ScanPolicy;

const BUILT_IN: &str = include_str!("../../pipelines/intake.toml");
const BUILT_IN_CALENDAR: &str = include_str!("../../pipelines/calendar.toml");

/// Reads and checks the payer's calendar: `calendar.toml`.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn load_calendar(config: Option<&Path>) -> Result<Loaded<Calendar>, PlanError> {
    let loaded: Loaded<CalendarPlan> = load("calendar.toml", BUILT_IN_CALENDAR, config)?;
    let unusable = |why: String| PlanError::Unusable(format!("calendar.toml: {why}"));
    let zone = TimeZone::get(&loaded.plan.zone).map_err(|_| unusable("zone is no known IANA time zone".into()))?;
    let calendar = loaded.plan.resolve(zone).map_err(|error| unusable(error.to_string()))?;
    Ok(Loaded { plan: calendar, hash: loaded.hash })
}

/// Limits of the uploads for a kind of case (INT-01, INT-02, INT-07).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadLimits {
    /// Files per submission.
    pub files: i64,
    /// Bytes per file; the limit itself is accepted (INT-05).
    pub file_bytes: u64,
}

/// [`UploadLimits`] per kind of case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the case kind of its name")]
pub struct Limits {
    pub reconsideration: UploadLimits,
    pub precertification: UploadLimits,
    pub appeal: UploadLimits,
}

impl Limits {
    /// The limits for a kind of case.
    pub const fn of(&self, kind: CaseKind) -> &UploadLimits {
        match kind {
            CaseKind::Reconsideration => &self.reconsideration,
            CaseKind::Precertification => &self.precertification,
            CaseKind::Appeal => &self.appeal,
        }
    }

    /// The largest file that any kind of case takes, in bytes.
    pub fn largest(&self) -> u64 {
        CaseKind::ALL.iter().map(|kind| self.of(*kind).file_bytes).max().unwrap_or_default()
    }
}

/// How patient an upload is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceivePolicy {
    /// Seconds that an upload may take in all.
    pub deadline_s: u64,
    /// Bytes a second that it must bring on average.
    pub min_bytes_per_s: u64,
    /// Seconds before the rate is looked at, and that any pause may last.
    pub grace_s: u64,
    /// Bytes of a file that the mailroom's sources bring: what came on paper or by fax is not refused for a limit of
    /// uploads (INT-21), but no file is endless.
    pub alone_bytes: u64,
}

impl ReceivePolicy {
    /// How long an upload may take in all.
    pub const fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_s)
    }

    /// How long a pause may last.
    pub const fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_s)
    }
}

/// Limits of resumable uploads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadsPolicy {
    /// Hours after which an upload ends that is not whole.
    pub expire_h: u64,
    /// Hours for which it is remembered how one ended.
    pub remember_h: u64,
    /// Uploads that one sender may have under way.
    pub under_way: i64,
    /// Seconds that a writer's lease runs without being renewed.
    pub lease_s: u64,
    /// Milliseconds without a byte after which a writer looks whether another request waits for it.
    pub stalled_ms: u64,
    /// Milliseconds that a request waits for a writer to give way.
    pub give_way_ms: u64,
    /// Parts of one upload. When they are used up, only a request that brings all the rest is taken.
    pub parts: i64,
    /// The least bytes that a request may announce, unless they are the last ones.
    pub part_bytes: u64,
    /// Seconds until completing is tried again that failed for a passing reason; doubled each time, up to the longest.
    pub retry_first_s: u64,
    /// The longest of these pauses.
    pub retry_longest_s: u64,
}

impl UploadsPolicy {
    /// How long a writer's lease runs.
    pub const fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_s)
    }

    /// How long a writer waits for bytes until it looks whether it must give way.
    pub const fn stalled(&self) -> Duration {
        Duration::from_millis(self.stalled_ms)
    }

    /// How long a request waits for a writer to give way.
    pub const fn give_way(&self) -> Duration {
        Duration::from_millis(self.give_way_ms)
    }

    /// After how long an upload ends that is not whole.
    pub const fn expire(&self) -> Duration {
        Duration::from_secs(self.expire_h.saturating_mul(3_600))
    }

    /// For how long it is remembered how an upload ended.
    pub const fn remember(&self) -> Duration {
        Duration::from_secs(self.remember_h.saturating_mul(3_600))
    }

    fn check(&self, largest: u64) -> Result<(), PlanError> {
        let refuse = |what: &str| Err(PlanError::Unusable(format!("[uploads] {what}")));
        let figures = [self.expire_h, self.part_bytes, self.retry_first_s, self.stalled_ms];
        if figures.contains(&0) || self.lease_s < 3 || self.under_way < 1 {
            return refuse("each figure must be at least 1, lease_s at least 3");
        }
        if u64::try_from(self.parts).unwrap_or_default().saturating_mul(self.part_bytes) < largest {
            return refuse("parts of part_bytes don't make up the largest [limits] file_bytes");
        }
        Ok(())
    }
}

/// The plan.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntakePlan {
    /// Limits of uploads.
    pub limits: Limits,
    /// Patience with uploads.
    pub receive: ReceivePolicy,
    /// What is turned away before something breaks.
    pub room: RoomPolicy,
    /// Resumable uploads.
    pub uploads: UploadsPolicy,
    /// How each stage works.
    pub work: HashMap<String, WorkPolicy>,
    /// Caps of the file-type judgement.
    pub sniff: SniffPolicy,
    /// Limits of the child that decodes.
    pub extract: ExtractLimits,
    /// What is asked of the scanner.
    pub scan: ScanPolicy,
    /// Weights and thresholds of matching.
    pub r#match: MatchPolicy,
    /// When the reconcilers act.
    pub reconcile: ReconcilePolicy,
    /// How long what was begun and not sent is kept.
    pub drafts: DraftsPolicy,
    /// Time limits of what waits for a person.
    pub aging: AgingPolicy,
    /// How persons take what waits.
    pub queue: QueuePolicy,
    /// Bounds of taking a document apart.
    pub split: SplitPolicy,
    /// How the mailroom's sources are looked at.
    pub sources: SourcesPolicy,
}

/// How persons take what waits (OPS-01).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueuePolicy {
    /// Seconds for which an item is a person's, unless renewed.
    pub lease_s: u64,
}

impl QueuePolicy {
    /// For how long an item is a person's.
    pub const fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_s)
    }
}

/// Bounds of taking a document apart (OPS-01).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitPolicy {
    /// Parts of one document.
    pub parts: usize,
    /// Bytes of all parts together.
    pub bytes: u64,
}

/// How the mailroom's sources are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcesPolicy {
    /// Seconds between two looks.
    pub every_s: u64,
    /// Seconds that a file must not have changed for.
    pub settle_s: u64,
    /// Seconds that a node has a source for itself without renewing it.
    pub lease_s: u64,
    /// Files listed in one look.
    pub entries_per_look: usize,
    /// Files taken in one look.
    pub files_per_look: usize,
    /// Times that the taking of a file is begun before it is given up.
    pub tries: i64,
    /// Bytes of a sidecar.
    pub sidecar_bytes: usize,
    /// Bytes of an index.
    pub index_bytes: usize,
    /// Rows of an index.
    pub index_rows: usize,
    /// Seconds after which a sidecar without its file, and an index whose files did not all come, is a problem.
    pub unclaimed_after_s: u64,
    /// Seconds that a receipt time may be ahead of now, for clocks that differ.
    pub receipt_ahead_s: i64,
    /// Days that a receipt time may be back.
    pub receipt_behind_days: i64,
}

/// When the reconcilers act.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcilePolicy {
    /// Seconds between two looks.
    pub every_s: u64,
    /// Seconds after which an upload that never ended counts as broken off.
    pub abandoned_after_s: u64,
    /// Seconds after which a document without work to do is put to work again.
    pub stuck_after_s: u64,
    /// Seconds that an object in `incoming/` without a document that needs it is kept.
    pub orphan_after_s: u64,
    /// Contents scanned anew in one look after the signatures changed.
    pub rescan_batch: i64,
}

impl IntakePlan {
    /// Reads and checks the plan.
    ///
    /// # Errors
    /// Names the file, the table and the figure.
    pub fn load(config: Option<&Path>) -> Result<Loaded<Self>, PlanError> {
        let loaded: Loaded<Self> = load("intake.toml", BUILT_IN, config)?;
        loaded.plan.check()?;
        Ok(loaded)
    }

    fn check(&self) -> Result<(), PlanError> {
        for (stage, policy) in &self.work {
            policy.check(stage)?;
        }
        self.scan.check().map_err(|error| PlanError::Unusable(format!("[scan] {error}")))?;
        if self.scan.max_file_bytes < self.limits.largest() {
            return Err(PlanError::Unusable(
                "[scan] max_file_bytes is under the largest [limits] file_bytes: bytes would go unscanned".into(),
            ));
        }
        if self.receive.alone_bytes < self.limits.largest() {
            return Err(PlanError::Unusable("[receive] alone_bytes must not be under the largest file_bytes".into()));
        }
        if !(1..=1_024).contains(&self.extract.children) {
            return Err(PlanError::Unusable("[extract] children must be 1 to 1024".into()));
        }
        if self.room.queue < 1 || self.room.look_s == 0 || self.room.retry_after_s == 0 {
            return Err(PlanError::Unusable("[room] queue, look_s and retry_after_s must be at least 1".into()));
        }
        self.uploads.check(self.limits.largest())?;
        if self.sniff.entry_bytes > self.scan.max_file_bytes {
            return Err(PlanError::Unusable(
                "[sniff] entry_bytes is over [scan] max_file_bytes: the scanner would read a member only so far".into(),
            ));
        }
        let bits = [self.r#match.accept_bits, self.r#match.propose_bits, self.r#match.conflict_bits];
        if bits.iter().any(|n| !n.is_finite() || *n <= 0.0) {
            return Err(PlanError::Unusable(
                "[match] accept_bits, propose_bits and conflict_bits must be over 0".into(),
            ));
        }
        if self.r#match.proposals == 0 || self.r#match.identifier_limit == 0 {
            return Err(PlanError::Unusable("[match] proposals and identifier_limit must be at least 1".into()));
        }
        if self.reconcile.rescan_batch < 1 || self.reconcile.every_s == 0 {
            return Err(PlanError::Unusable("[reconcile] rescan_batch and every_s must be at least 1".into()));
        }
        let sources = &self.sources;
        let none = [sources.entries_per_look, sources.files_per_look, sources.sidecar_bytes, sources.index_rows];
        if none.contains(&0) || sources.every_s == 0 || sources.tries < 1 || sources.index_bytes == 0 {
            return Err(PlanError::Unusable(
                "[sources] its counts, sizes, every_s and tries must be at least 1".into(),
            ));
        }
        if !(0..=86_400).contains(&sources.receipt_ahead_s) || !(1..=36_500).contains(&sources.receipt_behind_days) {
            return Err(PlanError::Unusable(
                "[sources] receipt_ahead_s must be at most a day, receipt_behind_days 1 to 36500".into(),
            ));
        }
        if sources.lease_s <= sources.every_s {
            return Err(PlanError::Unusable("[sources] lease_s must be over every_s".into()));
        }
        if self.r#match.accept_bits <= self.r#match.propose_bits {
            return Err(PlanError::Unusable("[match] accept_bits must be over propose_bits".into()));
        }
        if self.sniff.waive_macros {
            return Err(PlanError::Unusable(
                "[sniff] waive_macros is decided document by document, by a person".into(),
            ));
        }
        let drafts = &self.drafts;
        if [drafts.reconsideration_days, drafts.appeal_days, drafts.precertification_h].contains(&0) {
            return Err(PlanError::Unusable("[drafts] each figure must be at least 1".into()));
        }
        if self.queue.lease_s == 0 || self.split.parts < 2 {
            return Err(PlanError::Unusable("[queue] lease_s must be at least 1, [split] parts at least 2".into()));
        }
        if self.reconcile.abandoned_after_s <= self.receive.deadline_s {
            return Err(PlanError::Unusable("[reconcile] abandoned_after_s must be over [receive] deadline_s".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_that_is_built_in_is_whole_and_has_the_figures_of_the_spec() {
        let plan = IntakePlan::load(None).unwrap().plan;
        assert_eq!(plan.limits.reconsideration, UploadLimits { files: 10, file_bytes: 64 << 20 }, "INT-01");
        assert_eq!(plan.limits.precertification, UploadLimits { files: 10, file_bytes: 20 << 20 }, "INT-02");
        assert_eq!(plan.limits.appeal, plan.limits.reconsideration, "INT-07");
        assert_eq!((plan.drafts.reconsideration_days, plan.drafts.precertification_h), (5, 72), "OPS-15");
    }

    #[test]
    fn the_calendar_that_is_built_in_is_whole_and_another_can_take_its_place() {
        let built_in = load_calendar(None).unwrap().plan;
        assert!(!built_in.is_business_day("2026-11-26".parse().unwrap()), "Thanksgiving Day");
        let dir = tempfile::tempdir().unwrap();
        let own = |text: &str| {
            std::fs::write(dir.path().join("calendar.toml"), text).unwrap();
            load_calendar(Some(dir.path()))
        };
        let head = "weekend = [\"friday\"]\nknown_until = \"2030-12-31\"\nholidays = {}\n";
        let calendar = own(&format!("zone = \"Asia/Dubai\"\n{head}")).unwrap().plan;
        assert!(calendar.is_business_day("2026-11-22".parse().unwrap()), "a Sunday");
        for (text, told) in [
            (format!("zone = \"Atlantis/Capital\"\n{head}"), "zone"),
            (format!("zone = \"UTC\"\nmoon = 1\n{head}"), "moon"),
        ] {
            assert!(own(&text).is_err_and(|e| e.to_string().contains(told)), "{told}");
        }
    }

    #[test]
    fn an_unknown_key_or_a_missing_table_is_refused_with_its_name() {
        let with = format!("surprise = 1\n{BUILT_IN}");
        let refused = load::<IntakePlan>("intake.toml", &with, None).map(|_| ()).map_err(|e| e.to_string());
        assert!(refused.is_err_and(|e| e.contains("surprise")));
        let without = BUILT_IN.replace("[receive]", "[receiving]");
        assert!(load::<IntakePlan>("intake.toml", &without, None).is_err());
    }

    #[test]
    fn a_scanner_that_sees_less_than_is_accepted_is_refused() {
        let mut plan = IntakePlan::load(None).unwrap().plan;
        plan.scan.max_file_bytes = plan.limits.largest() - 1;
        assert!(plan.check().is_err_and(|e| e.to_string().contains("unscanned")));
    }
}
