//! Plans: the policy figures of a journey, read from TOML, unknown keys refused.
//!
//! A plan holds limits, choices from closed enums and first-match tables. It has no expressions and no
//! conditions: a new need becomes an enum variant.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Why a plan can't be used.
#[derive(Debug, Error)]
pub enum PlanError {
    /// A file of the configuration directory can't be read.
    #[error("can't read {file}: {source}")]
    File {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its text is not the TOML that the plan wants.
    #[error("{file}: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// Where and what, as the parser says it.
        message: String,
    },
    /// Something the program needs is not in it.
    #[error("the plan lacks {0}")]
    Missing(String),
    /// It holds something the program does not know.
    #[error("the plan holds {0}")]
    Unknown(String),
    /// A figure makes no sense.
    #[error("the plan is unusable: {0}")]
    Unusable(String),
}

/// A plan with the hash of its text, by which nodes find out that they run different ones.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The plan.
    pub plan: T,
    /// SHA-256 of its text, in hexadecimal.
    pub hash: String,
}

/// Reads the plan `name`: from the configuration directory where it has it, else the one built in.
///
/// # Errors
/// Names the file and the place.
pub fn load<T: DeserializeOwned>(name: &str, built_in: &str, config: Option<&Path>) -> Result<Loaded<T>, PlanError> {
    let own = config.map(|dir| dir.join(name)).filter(|path| path.exists());
    let (file, text) = match own {
        None => (format!("{name} (built in)"), built_in.to_owned()),
        Some(path) => {
            let file = path.display().to_string();
            match std::fs::read_to_string(&path) {
                Ok(text) => (file, text),
                Err(source) => return Err(PlanError::File { file, source }),
            }
        }
    };
    let plan = toml::from_str(&text).map_err(|e| PlanError::Syntax { file, message: e.to_string() })?;
    Ok(Loaded { plan, hash: hex::encode(Sha256::digest(text.as_bytes())) })
}

/// One hash for several plans.
pub fn joined(hashes: &[&str]) -> String {
    hex::encode(Sha256::digest(hashes.join(" ").as_bytes()))
}

/// How a stage works (`[work.NAME]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkPolicy {
    /// How many pieces at once on one node.
    pub concurrency: usize,
    /// Seconds that a lease runs without a heartbeat.
    pub lease_s: u64,
    /// How often a piece is tried before it is a dead letter.
    pub tries: i64,
    /// Milliseconds between the first and the second try.
    pub backoff_first_ms: u64,
    /// Seconds that two tries lie apart at most.
    pub backoff_longest_s: u64,
}

impl WorkPolicy {
    /// Checks that the figures make sense together.
    ///
    /// # Errors
    /// Names the figure.
    pub fn check(&self, stage: &str) -> Result<(), PlanError> {
        let wrong = if !(1..=1_024).contains(&self.concurrency) {
            "concurrency must be 1 to 1024"
        } else if !(3..=86_400).contains(&self.lease_s) {
            "lease_s must be 3 to 86400"
        } else if self.tries < 1 {
            "tries must be at least 1"
        } else if self.backoff_first_ms > self.backoff_longest_s.saturating_mul(1000) {
            "backoff_first_ms must not be over backoff_longest_s"
        } else {
            return Ok(());
        };
        Err(PlanError::Unusable(format!("[work.{stage}] {wrong}")))
    }

    /// How long a lease runs.
    pub const fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_s)
    }

    /// How long to wait after the try of that number: doubled each time up to the longest, of which chance
    /// takes up to half away, so that what failed together does not come back together.
    pub fn backoff(&self, attempt: i64, chance: u64) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1).clamp(0, 32)).unwrap_or(0);
        let full =
            self.backoff_first_ms.saturating_mul(1u64 << doublings).min(self.backoff_longest_s.saturating_mul(1000));
        Duration::from_millis(full / 2 + chance % (full / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: WorkPolicy =
        WorkPolicy { concurrency: 1, lease_s: 30, tries: 5, backoff_first_ms: 1000, backoff_longest_s: 60 };

    #[test]
    fn the_wait_doubles_up_to_the_longest_and_never_falls_below_half() {
        for (attempt, full) in [(1, 1_000u64), (2, 2_000), (3, 4_000), (7, 60_000), (1_000, 60_000)] {
            assert_eq!(POLICY.backoff(attempt, 0), Duration::from_millis(full / 2));
            assert_eq!(POLICY.backoff(attempt, full / 2), Duration::from_millis(full));
            for chance in [3, 77, u64::MAX] {
                let wait = POLICY.backoff(attempt, chance);
                assert!(wait >= Duration::from_millis(full / 2) && wait <= Duration::from_millis(full));
            }
        }
    }

    #[test]
    fn a_policy_that_makes_no_sense_is_named() {
        for concurrency in [0, usize::MAX] {
            let wrong = WorkPolicy { concurrency, ..POLICY };
            assert_eq!(
                wrong.check("scan").map_err(|e| e.to_string()),
                Err("the plan is unusable: [work.scan] concurrency must be 1 to 1024".into())
            );
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let text = "concurrency = 1\nlease_s = 3\ntries = 1\nbackoff_first_ms = 1\nbackoff_longest_s = 1\nretries = 3";
        assert!(load::<WorkPolicy>("x.toml", text, None).is_err_and(|e| e.to_string().contains("retries")));
    }
}
