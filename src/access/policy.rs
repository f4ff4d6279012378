//! The policy of access: `pipelines/access.toml`.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::engine::plan::{Loaded, PlanError, load};
use crate::outside::oidc::OidcPolicy;

const BUILT_IN: &str = include_str!("../../pipelines/access.toml");

/// The policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessPolicy {
    /// How long keys live.
    pub keys: KeyPolicy,
    /// How issuers' keys are kept.
    pub oidc: OidcPolicy,
}

/// How long keys live.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPolicy {
    /// Days that a key lives when nothing else is asked for.
    pub lifetime_days: u32,
    /// The most days that a key may live.
    pub longest_lifetime_days: u32,
    /// Hours that an old secret works on after a rotation when nothing else is asked for.
    pub overlap_hours: u32,
    /// The most hours that it may.
    pub longest_overlap_hours: u32,
}

const HOUR: u64 = 3600;

impl KeyPolicy {
    /// How long a key lives when nothing else is asked for.
    pub const fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime_days as u64 * 24 * HOUR)
    }

    /// How long a key may live.
    pub const fn longest_lifetime(&self) -> Duration {
        Duration::from_secs(self.longest_lifetime_days as u64 * 24 * HOUR)
    }

    /// How long an old secret works on when nothing else is asked for.
    pub const fn overlap(&self) -> Duration {
        Duration::from_secs(self.overlap_hours as u64 * HOUR)
    }

    /// How long an old secret may work on.
    pub const fn longest_overlap(&self) -> Duration {
        Duration::from_secs(self.longest_overlap_hours as u64 * HOUR)
    }
}

impl AccessPolicy {
    /// Reads and checks the policy.
    ///
    /// # Errors
    /// Names the file, the table and the figure.
    pub fn load(config: Option<&Path>) -> Result<Loaded<Self>, PlanError> {
        let loaded: Loaded<Self> = load("access.toml", BUILT_IN, config)?;
        loaded.plan.check()?;
        Ok(loaded)
    }

    fn check(&self) -> Result<(), PlanError> {
        let (keys, oidc) = (&self.keys, &self.oidc);
        let wrong = if keys.lifetime_days == 0 || keys.lifetime_days > keys.longest_lifetime_days {
            "[keys] lifetime_days must be at least 1 and not over longest_lifetime_days"
        } else if keys.overlap_hours > keys.longest_overlap_hours {
            "[keys] overlap_hours must not be over longest_overlap_hours"
        } else if oidc.refresh_after_s > oidc.expire_after_s || oidc.expire_after_s == 0 {
            "[oidc] expire_after_s must be over 0 and not under refresh_after_s"
        } else if oidc.timeout_s == 0 || oidc.document_bytes == 0 || oidc.token_bytes == 0 {
            "[oidc] timeout_s, document_bytes and token_bytes must be over 0"
        } else {
            return Ok(());
        };
        Err(PlanError::Unusable(wrong.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_do_not_go_together_are_named() {
        let good = AccessPolicy::load(None).unwrap().plan;
        let mut wrong = good.clone();
        wrong.keys.lifetime_days = good.keys.longest_lifetime_days + 1;
        assert!(wrong.check().is_err_and(|e| e.to_string().contains("lifetime_days")));
        let mut wrong = good.clone();
        wrong.keys.overlap_hours = good.keys.longest_overlap_hours + 1;
        assert!(wrong.check().is_err_and(|e| e.to_string().contains("overlap_hours")));
        let mut wrong = good;
        wrong.oidc.expire_after_s = 1;
        assert!(wrong.check().is_err_and(|e| e.to_string().contains("expire_after_s")));
    }
}
