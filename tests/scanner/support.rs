//! A throw-away world around a real clamd.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use lettercase::outside::scanner::{Endpoint, Freshness, ManagedOptions, ScanPolicy, Scanned, Scanner, Verdict};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

pub(super) fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

pub(super) fn eicar() -> Vec<u8> {
    [&b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$"[..], b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat()
}

/// Small limits, so that what is over them is small, too.
pub(super) fn policy() -> ScanPolicy {
    ScanPolicy {
        timeout_s: 20,
        max_file_bytes: 4 << 20,
        max_scan_bytes: 16 << 20,
        canary_interval_s: 1,
        ..ScanPolicy::default()
    }
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools")
}

pub(super) fn clamd() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::iter::once(tools().join("bin")).chain(std::env::split_paths(&path)).chain(["/usr/sbin".into()]);
    places.map(|place| place.join("clamd")).find(|clamd| clamd.is_file()).expect(
        "clamd is neither in .tools/bin nor on PATH: run `make deps` (it runs scripts/tools-clamav.sh --testfiles)",
    )
}

pub(super) fn testfiles() -> PathBuf {
    let places = [tools().join("root/usr/share/clamav-testfiles"), "/usr/share/clamav-testfiles".into()];
    places.into_iter().find(|place| place.join("clam.exe").is_file()).expect(
        "Debian's clamav-testfiles are neither in .tools/root nor installed: run `make deps` (it runs scripts/tools-clamav.sh --testfiles)",
    )
}

/// A directory for runs, and an empty one where the system's signatures would be.
pub(super) struct World {
    pub(super) runs: tempfile::TempDir,
    pub(super) system: tempfile::TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        let directory = |name: &str| tempfile::Builder::new().prefix(name).tempdir().unwrap();
        Self { runs: directory("lc-runs-"), system: directory("lc-sigs-") }
    }

    pub(super) fn options(&self) -> ManagedOptions {
        ManagedOptions {
            clamd: Some(clamd()),
            run_parent: self.runs.path().to_owned(),
            signature_directories: vec![self.system.path().to_owned()],
            start_timeout: Duration::from_secs(30),
            watch_interval: Duration::from_millis(200),
            ..ManagedOptions::default()
        }
    }

    pub(super) async fn start(&self) -> Scanner {
        self.start_fresh(Freshness::TestSignaturesAllowed).await
    }

    pub(super) async fn start_fresh(&self, freshness: Freshness) -> Scanner {
        Scanner::start_managed(&self.options(), policy(), freshness).await.unwrap()
    }
}

pub(super) fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

pub(super) async fn scan(scanner: &Scanner, bytes: &[u8]) -> Scanned {
    scanner.scan(now(), file_of(bytes), 0, bytes.len() as u64).await
}

pub(super) fn is_infected(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Infected { .. })
}

/// Polls until `check` answers, for as long as a loaded machine may take.
pub(super) async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) fn alive(pid: u32) -> bool {
    // A zombie that nobody waited for yet is dead.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
}

/// Lets a process write files of so many bytes, or of any size again: its disk is full, for all it can tell.
pub(crate) fn limit_files(pid: u32, bytes: Option<u64>) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    assert!(pid.is_some());
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

/// A clamd as others would run one: not by our configuration.
pub(crate) struct Foreign {
    pub(super) directory: tempfile::TempDir,
    process: Child,
    port: u16,
}

impl Foreign {
    /// With these lines in its configuration besides where it listens and what it loads.
    pub(crate) async fn start(lines: &[&str]) -> Self {
        Self::with(lines, "db/t.ndb", format!("Test.Eicar:0:*:{}\n", hex::encode(eicar()))).await
    }

    /// As [`Self::start`], but knowing EICAR only as a file of its own, by hash, as the official signatures do.
    pub(super) async fn with_hash_only(lines: &[&str]) -> Self {
        Self::with(lines, "db/t.hsb", format!("{}:68:Test.Eicar\n", hex::encode(Sha256::digest(eicar())))).await
    }

    async fn with(lines: &[&str], database: &str, signatures: String) -> Self {
        let directory = tempfile::Builder::new().prefix("lc-clamd-").tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("db")).unwrap();
        std::fs::create_dir(at("tmp")).unwrap();
        std::fs::write(at(database), signatures).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let show = |name: &str| at(name).display().to_string();
        let config = format!(
            "LocalSocket {}\nTCPSocket {port}\nTCPAddr 127.0.0.1\nDatabaseDirectory {}\nTemporaryDirectory {}\n{}\n",
            show("s"),
            show("db"),
            show("tmp"),
            lines.join("\n"),
        );
        std::fs::write(at("conf"), config).unwrap();
        // a file larger than it may write ends the write and not clamd, as a full disk would
        let process = Command::new("/bin/sh")
            .args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#])
            .arg(clamd())
            .arg("--foreground")
            .arg(format!("--config-file={}", show("conf")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let foreign = Self { directory, process, port };
        until("clamd listens", async || std::os::unix::net::UnixStream::connect(foreign.socket()).ok()).await;
        foreign
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    pub(super) fn unix(&self) -> Endpoint {
        format!("unix:{}", self.socket().display()).parse().unwrap()
    }

    pub(crate) fn tcp(&self) -> Endpoint {
        format!("tcp:127.0.0.1:{}", self.port).parse().unwrap()
    }

    /// Lets it write files of so many bytes, or of any size again.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        limit_files(self.process.id(), bytes);
    }

    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a clamd needs to pass the canaries under [`policy`].
pub(super) const SOUND: &[&str] =
    &["AlertExceedsMax yes", "AlertEncrypted yes", "MaxFileSize 4M", "StreamMaxLength 4M", "MaxScanSize 16M"];
