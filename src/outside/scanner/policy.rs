//! What is asked of a scanner: limits, deadlines, freshness, and where it listens.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ScannerError;

/// The `[scan]` table of `pipelines/intake.toml` (INT-12). A managed clamd's own limits are written from
/// it; one that others run is tested against it by canaries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScanPolicy {
    /// Deadline of one scan, connecting included, in seconds: 1 to 3,600.
    pub timeout_s: u64,
    /// Deadline of connecting, and of a PING or VERSION after it, in milliseconds: 10 to 60,000.
    pub connect_timeout_ms: u64,
    /// Deadline of each single write while a file is streamed, in milliseconds: 10 to 600,000.
    pub write_timeout_ms: u64,
    /// Bytes per frame of a stream: 65,536 to 262,144.
    pub frame_bytes: usize,
    /// Signatures older than this many hours judge nothing clean.
    pub max_signature_age_h: u32,
    /// How long passed canaries are believed, in seconds: 1 to 86,400.
    pub canary_interval_s: u64,
    /// Largest file, and largest member inside one, that is scanned, in bytes: 1 MiB to 2 GiB less one.
    /// At least the largest upload. Whoever opens containers must refuse a member larger than this:
    /// clamd cuts a larger ZIP member off and calls the rest clean, whatever its configuration.
    pub max_file_bytes: u64,
    /// Most bytes scanned for one file, all it contains included. At least twice `max_file_bytes`.
    pub max_scan_bytes: u64,
    /// Most members scanned inside one file.
    pub max_files: u32,
    /// Deepest nesting scanned: 3 to 100.
    pub max_recursion: u32,
}

impl Default for ScanPolicy {
    fn default() -> Self {
        Self {
            timeout_s: 120,
            connect_timeout_ms: 5_000,
            write_timeout_ms: 20_000,
            frame_bytes: 256 * 1024,
            max_signature_age_h: 72,
            canary_interval_s: 300,
            max_file_bytes: 64 * 1024 * 1024,
            max_scan_bytes: 512 * 1024 * 1024,
            max_files: 10_000,
            max_recursion: 17,
        }
    }
}

impl ScanPolicy {
    /// Refuses values under which a scan would silently cover less than it says.
    ///
    /// # Errors
    /// [`ScannerError::Policy`] naming the field and its rule.
    pub fn check(&self) -> Result<(), ScannerError> {
        const MIB: u64 = 1024 * 1024;
        let rules = [
            ((1..=3600).contains(&self.timeout_s), "timeout_s must be 1 to 3600"),
            ((10..=60_000).contains(&self.connect_timeout_ms), "connect_timeout_ms must be 10 to 60000"),
            ((10..=600_000).contains(&self.write_timeout_ms), "write_timeout_ms must be 10 to 600000"),
            ((65_536..=262_144).contains(&self.frame_bytes), "frame_bytes must be 65536 to 262144"),
            ((1..=86_400).contains(&self.canary_interval_s), "canary_interval_s must be 1 to 86400"),
            // libclamav itself handles nothing of 2 GiB or more.
            ((MIB..2048 * MIB).contains(&self.max_file_bytes), "max_file_bytes must be 1 MiB to 2 GiB less one"),
            (
                self.max_scan_bytes / 2 >= self.max_file_bytes,
                "max_scan_bytes must be at least twice max_file_bytes: a file counts together with what is in it",
            ),
            (self.max_files >= 1, "max_files must be at least 1"),
            ((3..=100).contains(&self.max_recursion), "max_recursion must be 3 to 100"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(ScannerError::Policy { rule }),
            None => Ok(()),
        }
    }

    /// Deadline of one scan.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    /// Deadline of connecting.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// Deadline of each write.
    pub fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    /// How long passed canaries are believed.
    pub fn canary_interval(&self) -> Duration {
        Duration::from_secs(self.canary_interval_s)
    }
}

/// Whether signatures with no build date, above all a set of nothing but our test signatures, will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// Signatures of a known date, not older than the policy allows. What an installation runs with.
    Required,
    /// Test signatures will do too: for tests and the demonstration, which may have no network.
    TestSignaturesAllowed,
}

/// Where a clamd listens: `unix:/path/to/socket` or `tcp:host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Endpoint {
    /// A socket on this machine. Whole files are passed as open files, twice as fast as streaming them.
    Unix(PathBuf),
    /// `host:port`. The bytes cross the network in the clear: for a network only the two share.
    Tcp(String),
}

impl Endpoint {
    /// The socket's path, where it has one.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = ScannerError;

    fn from_str(text: &str) -> Result<Self, ScannerError> {
        let refused = |rule| ScannerError::Endpoint { text: text.to_owned(), rule };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') {
                Ok(Self::Unix(PathBuf::from(path)))
            } else {
                Err(refused("the path after unix: must be absolute"))
            };
        }
        let address = text.strip_prefix("tcp:").ok_or_else(|| refused("it must be unix:/path or tcp:host:port"))?;
        let (host, port) = address.rsplit_once(':').ok_or_else(|| refused("tcp: takes host:port"))?;
        if host.is_empty() || !matches!(port.parse::<u16>(), Ok(1..)) {
            return Err(refused("tcp: takes a host and a port from 1 to 65535"));
        }
        Ok(Self::Tcp(address.to_owned()))
    }
}

impl TryFrom<String> for Endpoint {
    type Error = ScannerError;
    fn try_from(text: String) -> Result<Self, ScannerError> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_reads_back_as_it_was_written() {
        for text in ["unix:/run/clamav/clamd.ctl", "tcp:scanner.internal:3310", "tcp:[::1]:3310"] {
            assert_eq!(text.parse::<Endpoint>().map(|e| e.to_string()).ok().as_deref(), Some(text));
        }
        for text in ["", "unix:relative", "unix:", "tcp:host", "tcp::3310", "tcp:host:0", "tcp:host:99999", "http://x"]
        {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_policy_that_would_scan_less_than_it_says_is_refused() {
        assert!(ScanPolicy::default().check().is_ok());
        let short = ScanPolicy { max_scan_bytes: 64 * 1024 * 1024, ..ScanPolicy::default() };
        assert!(matches!(short.check(), Err(ScannerError::Policy { rule }) if rule.contains("max_scan_bytes")));
        let slow = ScanPolicy { frame_bytes: 4096, ..ScanPolicy::default() };
        assert!(slow.check().is_err());
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        assert!(toml::from_str::<ScanPolicy>("timeout_s = 30").is_ok());
        assert!(toml::from_str::<ScanPolicy>("timeout = 30").is_err());
    }
}
