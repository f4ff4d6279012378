//! Runs the extract child, and takes from it what it does not need: `EXE extract MODE KIND JOB`.
//!
//! Whatever decompresses or decodes what strangers sent runs there: a process that sets its own limits first,
//! has an empty environment, reads the file on its standard input (the open file itself), writes a report as
//! JSON to its standard output and the contents of embedded files to its standard error, which is a file of
//! ours; it is killed at the deadline. A stack overflow, an endless loop or an allocation without measure there
//! costs that one document. Refused: a thread (it shares our memory and can't be killed), and a pool of children
//! that live on (one document's exploit would read the next one).
//!
//! What the child does and reports is not known here: `intake::extract` says it, with types of its own.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::Semaphore;
use wait_timeout::ChildExt;

/// Limits of the child: table `[extract]` of `pipelines/intake.toml`, where each is explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractLimits {
    /// Its address space.
    pub memory_bytes: u64,
    /// Its CPU time.
    pub cpu_seconds: u64,
    /// Its time by the clock.
    pub deadline_ms: u64,
    /// Files it may have open.
    pub open_files: u64,
    /// The report it may write.
    pub report_bytes: u64,
    /// Children at the same time.
    pub children: usize,
    /// Pages of text taken out.
    pub text_pages: usize,
    /// Bytes of text taken out, in all.
    pub text_bytes: usize,
}

/// How a child ended without a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// It was killed at the deadline.
    Deadline,
    /// A signal ended it: out of memory or CPU time, stack overflow.
    Signal(i32),
    /// It gave up with an exit code, or panicked (101).
    Code(i32),
    /// Its report was too long or could not be read.
    Report,
}

/// What became of a child. Its death is an outcome of that document, not a fault of ours.
#[derive(Debug, PartialEq, Eq)]
pub enum ExtractOutcome<T> {
    /// It reported.
    Done(T),
    /// It did not.
    Died {
        /// How it ended.
        how: Death,
    },
}

/// A fault of this machine, and of no document: it has no room, no memory or no such program.
#[derive(Debug, Error)]
pub enum ExtractError {
    /// The scratch file could not be made.
    #[error("could not make a scratch file")]
    Scratch(#[source] io::Error),
    /// The child could not be started.
    #[error("could not start the extract child")]
    Start(#[source] io::Error),
    /// The child could not read its input, set its limits or write the scratch file.
    #[error("the extract child met an i/o fault")]
    Fault,
}

/// What the child gets told beside mode and kind: its limits, and the caller's own part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job<P> {
    /// Its limits.
    pub limits: ExtractLimits,
    /// What it goes by.
    pub policy: P,
}

/// The exit code by which the child says: not the file is to blame, the machine is (`EX_IOERR`).
pub const EXIT_FAULT: u8 = 74;

/// The program that is nothing but the child.
const PROGRAM: &str = "lettercase-extract";
/// What [`PROGRAM`] prints when asked for its version.
pub const VERSION: &str = concat!("lettercase-extract ", env!("CARGO_PKG_VERSION"));

/// How long [`PROGRAM`] may take to tell its version.
const ASKED: Duration = Duration::from_secs(5);

/// The small program beside the main one, `own`, if it is there and of this version; or `own`, which does the same and
/// takes longer to start.
pub fn program_beside(own: PathBuf) -> PathBuf {
    let small = own.with_file_name(PROGRAM);
    if version_of(&small).is_ok_and(|version| version.trim_ascii_end() == VERSION.as_bytes()) {
        return small;
    }
    tracing::info!(program = %small.display(), "not there in this version: documents are read by the program itself");
    own
}

fn version_of(program: &Path) -> io::Result<Vec<u8>> {
    let mut child = std::process::Command::new(program)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if child.wait_timeout(ASKED)?.is_none() {
        child.kill()?;
    }
    Ok(child.wait_with_output()?.stdout)
}

/// Runs extract children, a bounded number at a time.
#[derive(Debug, Clone)]
pub struct Extract {
    exe: PathBuf,
    scratch_dir: PathBuf,
    limits: ExtractLimits,
    permits: Arc<Semaphore>,
}

impl Extract {
    /// Children are `exe extract …`, or of the small program beside it; what they take out lies in unlinked files in
    /// `scratch_dir`.
    pub fn new(exe: PathBuf, scratch_dir: PathBuf, limits: ExtractLimits) -> Self {
        let permits = Arc::new(Semaphore::new(limits.children.max(1)));
        Self { exe: program_beside(exe), scratch_dir, limits, permits }
    }

    /// Runs a child that reports, and takes nothing out.
    pub async fn run<P: Serialize, T: DeserializeOwned>(
        &self,
        file: &File,
        mode: [&str; 2],
        policy: P,
    ) -> Result<ExtractOutcome<T>, ExtractError> {
        self.spawn(file, mode, policy, Stdio::null()).await
    }

    /// Runs a child that may take something out: it is in the scratch file beside the report.
    pub async fn run_with_scratch<P: Serialize, T: DeserializeOwned>(
        &self,
        file: &File,
        mode: [&str; 2],
        policy: P,
    ) -> Result<ExtractOutcome<(T, File)>, ExtractError> {
        let scratch = tempfile::tempfile_in(&self.scratch_dir).map_err(ExtractError::Scratch)?;
        let stderr = Stdio::from(scratch.try_clone().map_err(ExtractError::Scratch)?);
        Ok(match self.spawn(file, mode, policy, stderr).await? {
            ExtractOutcome::Done(report) => ExtractOutcome::Done((report, scratch)),
            ExtractOutcome::Died { how } => ExtractOutcome::Died { how },
        })
    }

    async fn spawn<P: Serialize, T: DeserializeOwned>(
        &self,
        file: &File,
        mode: [&str; 2],
        policy: P,
        stderr: Stdio,
    ) -> Result<ExtractOutcome<T>, ExtractError> {
        // The semaphore is never closed; if it were, running without a permit is still right.
        let _permit = self.permits.acquire().await.ok();
        let job = Job { limits: self.limits.clone(), policy };
        let job = serde_json::to_string(&job).map_err(|fault| ExtractError::Start(fault.into()))?;
        let mut child = Command::new(&self.exe)
            .arg("extract")
            .args(mode)
            .arg(job)
            .env_clear()
            .current_dir("/")
            .stdin(file.try_clone().map_err(ExtractError::Start)?)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .map_err(ExtractError::Start)?;
        let most = self.limits.report_bytes;
        let mut report = Vec::new();
        let work = async {
            if let Some(stdout) = child.stdout.take() {
                stdout.take(most + 1).read_to_end(&mut report).await?;
            }
            // The pipe is closed here: a child with more to say ends by the next byte of it.
            child.wait().await
        };
        let ended = tokio::time::timeout(Duration::from_millis(self.limits.deadline_ms), work).await;
        match ended {
            Ok(status) => conclude(status.map_err(ExtractError::Start)?, &report, most),
            Err(_) => {
                // Waits for its end too: nothing of it is left when the document is retried.
                child.kill().await.map_err(ExtractError::Start)?;
                Ok(ExtractOutcome::Died { how: Death::Deadline })
            }
        }
    }
}

fn conclude<T: DeserializeOwned>(
    status: ExitStatus,
    report: &[u8],
    most: u64,
) -> Result<ExtractOutcome<T>, ExtractError> {
    let died = |how| Ok(ExtractOutcome::Died { how });
    if report.len() as u64 > most {
        return died(Death::Report);
    }
    match (status.code(), status.signal()) {
        (Some(0), _) => match serde_json::from_slice(report) {
            Ok(report) => Ok(ExtractOutcome::Done(report)),
            Err(_) => died(Death::Report),
        },
        (Some(code), _) if code == i32::from(EXIT_FAULT) => Err(ExtractError::Fault),
        (Some(code), _) => died(Death::Code(code)),
        (None, signal) => died(Death::Signal(signal.unwrap_or_default())),
    }
}

/// Takes from this process, the child, what it does not need, for good; `writes` is what any file it writes may
/// grow to.
///
/// # Errors
/// When a limit can't be set.
pub fn confine(limits: &ExtractLimits, writes: u64) -> io::Result<()> {
    for (resource, most) in [
        (Resource::As, limits.memory_bytes),
        (Resource::Cpu, limits.cpu_seconds),
        (Resource::Nofile, limits.open_files),
        (Resource::Fsize, writes),
        (Resource::Core, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}
