//! The policy of faxes: the tables `[fax.*]` of `pipelines/correspondence.toml`.

use serde::Deserialize;

use super::picture::PagePolicy;
use crate::engine::plan::PlanError;

/// The plan.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaxPolicy {
    /// What a page is turned into.
    pub page: PagePolicy,
    /// How often, and for how long, it is tried.
    pub send: SendPolicy,
}

/// How often, and for how long, a letter is tried to be sent by fax (`[fax.send]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendPolicy {
    /// Tries.
    pub tries: u32,
    /// Minutes after a failed try until the next.
    pub again_after_min: u16,
    /// Hours after which a gateway that says nothing is waited for no more.
    pub answer_within_h: u16,
    /// Hours for which a letter waits for a gateway that is not there.
    pub wait_h: u16,
}

impl FaxPolicy {
    /// Checks that the figures make sense together.
    ///
    /// # Errors
    /// Names the table and the figure.
    pub fn check(&self) -> Result<(), PlanError> {
        let unusable = |why: &str| Err(PlanError::Unusable(format!("correspondence.toml: [fax.{why}")));
        let page = &self.page;
        if !(100..=5_000).contains(&page.width_dots) || !(50..=600).contains(&page.across_dpi) {
            return unusable("page] width_dots must be 100 to 5000, across_dpi 50 to 600");
        }
        if !(50..=600).contains(&page.down_dpi) || !(0.05..=0.95).contains(&page.black_below) {
            return unusable("page] down_dpi must be 50 to 600, black_below 0.05 to 0.95");
        }
        let send = &self.send;
        if !(1..=20).contains(&send.tries) || send.answer_within_h == 0 || send.wait_h == 0 {
            return unusable("send] tries must be 1 to 20, answer_within_h and wait_h at least 1");
        }
        Ok(())
    }
}
