//! The child that reads inside what strangers sent: `EXE extract inspect CONTAINER` and `EXE extract text TYPE`.
//!
//! Whatever decompresses or decodes runs there: a process that sets its own limits first, has an empty
//! environment, reads the file on its standard input (the open file itself), writes a report as JSON to its
//! standard output and the contents of embedded files to its standard error, which is a file of ours; it is
//! killed at the deadline. A stack overflow, an endless loop or an allocation without measure there costs that
//! one document. Refused: a thread (it shares our memory and can't be killed), and a pool of children that
//! live on (one document's exploit would read the next one).

pub mod child;
pub mod filters;
pub mod nested;
pub mod office;
pub mod ole;
pub mod pdf;
pub mod text;

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::codes;
use crate::intake::sniff::finding::Finding;
use crate::intake::sniff::policy::SniffPolicy;
use crate::model::judgement::{FileType, Flag};
use crate::model::phi::Phi;

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

codes! {
    /// A container whose inside has to be read to judge it.
    pub enum Container {
        /// A PDF document.
        Pdf = "pdf",
        /// An Office Open XML package.
        Ooxml = "ooxml",
        /// A compound file (OLE): Word and Excel 97-2003, and encrypted newer ones.
        Ole = "ole",
    }
}

impl Container {
    /// What it most likely is, where nothing else tells.
    pub const fn likely_type(self) -> FileType {
        match self {
            Self::Pdf => FileType::Pdf,
            Self::Ooxml => FileType::Docx,
            Self::Ole => FileType::Doc,
        }
    }
}

/// A file found inside another, as a stretch of the scratch file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedded {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// The name it has inside, cut at 255 characters; to be listed, never used as a path.
    pub name: Option<Phi<String>>,
}

/// What the child found inside a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// What the file is, once its structure told.
    pub file_type: Option<FileType>,
    /// What speaks against it.
    pub finding: Option<Finding>,
    /// What is remarkable in it.
    pub flags: Vec<Flag>,
    /// What was taken out.
    pub embedded: Vec<Embedded>,
}

/// Text of a document, for matching (INT-15). It is health data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtractedText {
    /// Page by page (sheet by sheet; one for formats without pages).
    pub pages: Vec<Phi<String>>,
    /// Whether there was more than the limits allow.
    pub truncated: bool,
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

/// A fault of ours: to be retried.
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

/// What the child gets told beside mode and type.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    limits: ExtractLimits,
    policy: Option<SniffPolicy>,
}

/// The exit code by which the child says: not the file is to blame, the machine is (`EX_IOERR`).
pub(crate) const EXIT_FAULT: u8 = 74;

/// Runs extract children, a bounded number at a time.
#[derive(Debug, Clone)]
pub struct Extract {
    exe: PathBuf,
    scratch_dir: PathBuf,
    limits: ExtractLimits,
    permits: Arc<Semaphore>,
}

impl Extract {
    /// Children are `exe extract …`; what they take out lies in unlinked files in `scratch_dir`.
    pub fn new(exe: PathBuf, scratch_dir: PathBuf, limits: ExtractLimits) -> Self {
        let permits = Arc::new(Semaphore::new(limits.children.max(1)));
        Self { exe, scratch_dir, limits, permits }
    }

    /// Reads inside a container. The scratch file holds what was taken out.
    pub async fn inspect(
        &self,
        file: &File,
        container: Container,
        policy: &SniffPolicy,
    ) -> Result<ExtractOutcome<(Inspection, File)>, ExtractError> {
        let scratch = tempfile::tempfile_in(&self.scratch_dir).map_err(ExtractError::Scratch)?;
        let stderr = Stdio::from(scratch.try_clone().map_err(ExtractError::Scratch)?);
        let outcome = self.run(file, ["inspect", container.as_str()], Some(policy), stderr).await?;
        Ok(match outcome {
            ExtractOutcome::Done(inspection) => ExtractOutcome::Done((inspection, scratch)),
            ExtractOutcome::Died { how } => ExtractOutcome::Died { how },
        })
    }

    /// Takes the text out of a document; pictures have none.
    pub async fn text(
        &self,
        file: &File,
        file_type: FileType,
        policy: &SniffPolicy,
    ) -> Result<ExtractOutcome<ExtractedText>, ExtractError> {
        self.run(file, ["text", file_type.as_str()], Some(policy), Stdio::null()).await
    }

    async fn run<T: DeserializeOwned>(
        &self,
        file: &File,
        mode: [&str; 2],
        policy: Option<&SniffPolicy>,
        stderr: Stdio,
    ) -> Result<ExtractOutcome<T>, ExtractError> {
        // The semaphore is never closed; if it were, running without a permit is still right.
        let _permit = self.permits.acquire().await.ok();
        let job = Job { limits: self.limits.clone(), policy: policy.cloned() };
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
