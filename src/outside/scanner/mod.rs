//! The door to ClamAV (INT-12): is this scanner fit to judge, and what does it say of these bytes.
//!
//! A scanner fails open: as it is shipped, clamd answers `OK` for what it skipped. So nothing here returns a
//! bool, and `Clean` is said only where every byte was handed over, the answer was the exact one, the
//! signatures are fresh, and the scanner passed its canaries. A scanner that does not is not used: the work
//! waits. Refused designs: linking libclamav (a parser of hostile bytes in our own process, and GPL), running
//! `clamscan` per file (it loads its signatures for half a minute each time), trusting the configuration of a
//! clamd that others run.

mod canary;
mod keeper;
mod managed;
mod policy;
mod pool;
mod protocol;
mod reply;
mod signatures;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use canary::eicar;
pub use managed::{ManagedOptions, judging};
pub use policy::{Endpoint, Freshness, ScanPolicy};
pub use reply::{Handover, Reply, Version, parse_scan, parse_version};

/// What the scanner says of a file (INT-12, INT-13). Only `Clean` lets anyone read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case", deny_unknown_fields)]
pub enum Verdict {
    /// Every byte was scanned, with signatures fresh enough, by a scanner that passed its canaries.
    Clean,
    /// A signature was found.
    Infected {
        /// The signature's name.
        signature: String,
    },
    /// The scanner worked, and can't judge this file: it is locked, or over a limit. Trying again is of no
    /// use; an operator decides.
    Unscannable {
        /// The scanner's name for it (`Heuristics.Encrypted.PDF`), or a sentence.
        why: String,
    },
    /// The scan was not finished: to be tried again.
    NotRun {
        /// What went wrong. Names no file.
        why: String,
    },
}

impl Verdict {
    /// True where the scanner holds the file for encrypted. For a PDF it may be mistaken: whoever reads the
    /// trailer knows better.
    pub fn is_encryption_alarm(&self) -> bool {
        matches!(self, Self::Unscannable { why } if why.starts_with("Heuristics.Encrypted."))
    }
}

/// Alarms that say "I could not look", not "I found something".
fn is_heuristic_limit(signature: &str) -> bool {
    signature.starts_with("Heuristics.Limits.") || signature.starts_with("Heuristics.Encrypted.")
}

/// By what a verdict was reached. Kept with it: a verdict belongs to a version of the signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineVersion {
    /// `ClamAV 1.4.6`.
    pub engine: String,
    /// Number and build date of the official signatures (`27812/2026-11-20`), a digest of local ones
    /// (`local-1f2e3d4c`), the version of ours (`test-1`), joined by blanks; `undated` where nothing is known.
    pub signatures: String,
    /// True where, as far as is known, nothing but test signatures is loaded.
    pub test_signatures_only: bool,
}

/// A verdict and by what it was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scanned {
    /// The verdict.
    pub verdict: Verdict,
    /// By what; `None` where no scanner was fit to be asked.
    pub by: Option<EngineVersion>,
}

/// How a scanner stands, by its last check.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Where it is.
    pub endpoint: String,
    /// Whether it may judge.
    pub is_fit: bool,
    /// The age of its newest signatures in seconds, where that is known.
    pub signature_age_s: Option<f64>,
}

/// Why no scanner is fit to judge: for readiness, and for pausing the scan stage. Says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NotReady {
    /// One sentence per endpoint.
    pub why: String,
}

/// Why there is no scanner at all.
#[derive(Debug, thiserror::Error)]
pub enum ScannerError {
    /// A setting breaks its rule.
    #[error("the scan policy can't be used: {rule}")]
    Policy {
        /// The field and its rule.
        rule: &'static str,
    },
    /// An endpoint's text can't be read.
    #[error("{text:?} is no scanner endpoint: {rule}")]
    Endpoint {
        /// The text.
        text: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A pool of nothing.
    #[error("no scanner endpoint is given")]
    NoEndpoint,
    /// There is no clamd to start.
    #[error("clamd was not found in {}; install ClamAV's daemon (Debian: clamav-daemon) or give its path", list(.looked_in))]
    ClamdNotFound {
        /// Where it was looked for.
        looked_in: Vec<PathBuf>,
    },
    /// The managed clamd's directory can't be set up.
    #[error("can't {doing} {}: {source}", .path.display())]
    RunDirectory {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// clamd did not come up.
    #[error("clamd did not start: {why}")]
    Start {
        /// What was seen, with the end of what it said.
        why: String,
    },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A scanner: one managed clamd, or a pool of those others run. Cloning is cheap; the managed clamd ends
/// with the last clone, or with [`Scanner::shutdown`], or with this process however that ends.
#[derive(Debug, Clone)]
pub struct Scanner {
    pool: Arc<pool::Pool>,
    managed: Option<Arc<managed::Managed>>,
}

impl Scanner {
    /// Starts a clamd of our own, and waits until it has loaded its signatures. For one machine only: where
    /// several nodes work, one clamd is run beside them and shared through [`Scanner::pool`].
    ///
    /// # Errors
    /// Where no clamd is found, its run directory can't be made, or it does not come up. A clamd that is up
    /// but fails a canary is no error here: [`Scanner::ready`] says so.
    pub async fn start_managed(
        options: &ManagedOptions,
        policy: ScanPolicy,
        require_fresh: Freshness,
    ) -> Result<Self, ScannerError> {
        policy.check()?;
        let managed = Arc::new(managed::Managed::start(options, &policy).await?);
        let endpoint = managed.endpoint();
        let pool = pool::Pool::new(vec![endpoint], policy, require_fresh, Some(managed.loaded()));
        Ok(Self { pool: Arc::new(pool), managed: Some(managed) })
    }

    /// A pool of clamds that others run. Nothing is connected to yet: [`Scanner::ready`] does.
    ///
    /// # Errors
    /// Where the policy breaks a rule or no endpoint is given.
    pub fn pool(endpoints: Vec<Endpoint>, policy: ScanPolicy, require_fresh: Freshness) -> Result<Self, ScannerError> {
        policy.check()?;
        if endpoints.is_empty() {
            return Err(ScannerError::NoEndpoint);
        }
        Ok(Self { pool: Arc::new(pool::Pool::new(endpoints, policy, require_fresh, None)), managed: None })
    }

    /// Is a scanner up, with signatures fresh enough at `now`, and did it pass its canaries? Passed canaries
    /// are believed for `canary_interval_s`; after a failure they are run again within two seconds.
    ///
    /// # Errors
    /// [`NotReady`], with a reason for each endpoint.
    pub async fn ready(&self, now: Timestamp) -> Result<EngineVersion, NotReady> {
        match self.pool.ready(now).await {
            Ok(version) => Ok(version),
            // What clamd itself said when it ended is worth more than "connection refused".
            Err(NotReady { why }) => match self.managed.as_ref().and_then(|managed| managed.trouble()) {
                Some(trouble) => Err(NotReady { why: format!("{why}; {trouble}") }),
                None => Err(NotReady { why }),
            },
        }
    }

    /// How each endpoint stands, by its last check: for metrics.
    pub fn standing(&self, now: Timestamp) -> Vec<Standing> {
        self.pool.standing(now)
    }

    /// Scans `len` bytes of an open file from `offset`, so that files found inside others, which lie in one
    /// scratch file, are scanned by themselves. The file is read by position. clamd does not look at 5 bytes
    /// or fewer and calls them clean; what they are is for others to judge. `now` is what the signatures'
    /// age is measured at.
    pub async fn scan(&self, now: Timestamp, file: File, offset: u64, len: u64) -> Scanned {
        self.pool.scan(now, protocol::Source::Part { file: Arc::new(file), offset, len }).await
    }

    /// Ends a managed clamd and removes what it left. A pool needs no end.
    pub async fn shutdown(&self) {
        if let Some(managed) = &self.managed {
            managed.shutdown().await;
        }
    }

    /// The configuration of the managed clamd, which its own tools (`clamdscan`) can be pointed at.
    pub fn managed_config(&self) -> Option<PathBuf> {
        Some(self.managed.as_ref()?.config())
    }

    /// Where the managed clamd listens: other processes of this machine can use it, too.
    pub fn managed_socket(&self) -> Option<PathBuf> {
        match self.managed.as_ref()?.endpoint() {
            Endpoint::Unix(socket) => Some(socket),
            Endpoint::Tcp(_) => None,
        }
    }

    /// The process id of the managed clamd, while it runs: for diagnosis.
    pub fn managed_pid(&self) -> Option<u32> {
        self.managed.as_ref()?.pid()
    }
}
