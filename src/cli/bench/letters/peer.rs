//! The peer: WeasyPrint in one Python process that sets a letter for each line it reads.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde_json::json;

use crate::cli::{CliError, Environment};
use crate::letters::brand::Brand;
use crate::letters::{LetterData, files};

/// What Python runs.
const PROGRAM: &str = include_str!("twin.py");
/// Where `make bench-deps` puts it.
const PYTHON: &str = ".tools/weasyprint/bin/python";

/// A letter that the peer has set.
#[derive(Debug, Deserialize)]
pub(super) struct Set {
    pub(super) cpu_s: f64,
    pub(super) pages: usize,
    pub(super) pdf_bytes: u64,
}

#[derive(Deserialize)]
struct Ready {
    version: String,
}

/// The peer at work.
pub(super) struct Peer {
    pub(super) version: String,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    // its fonts are read from there as long as it lives
    _scratch: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // it has nothing to lose
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Python that has WeasyPrint.
pub(super) fn find(environment: &Environment) -> Result<PathBuf, CliError> {
    let search = environment.variables.get("PATH").cloned().unwrap_or_default();
    let others = std::env::split_paths(&search).map(|dir| dir.join("python3"));
    let has = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", "import weasyprint"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    std::iter::once(PathBuf::from(PYTHON)).chain(others).find(has).ok_or_else(|| {
        CliError::Usage("no Python here has WeasyPrint, which is compared with; `make bench-deps` gets it".into())
    })
}

impl Peer {
    pub(super) fn start(python: &Path, brand: &Brand) -> Result<Self, CliError> {
        let scratch = crate::cli::scratch()?;
        files::unpack(scratch.path()).map_err(|error| CliError::Usage(error.to_string()))?;
        let failed = |error| CliError::File(python.to_owned(), error);
        let mut child = Command::new(python)
            .args(["-c", PROGRAM])
            .arg(scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else { return Err(silent()) };
        let mut peer = Self { version: String::new(), child, to, from: BufReader::new(from), _scratch: scratch };
        let ready: Ready = peer.ask(&json!({"brand": brand.code, "texts": brand.text}))?;
        peer.version = ready.version;
        Ok(peer)
    }

    pub(super) fn set(&mut self, letter: &LetterData) -> Result<Set, CliError> {
        let document = letter.document.reveal().clone();
        self.ask(&document)
    }

    fn ask<A: serde::de::DeserializeOwned>(&mut self, question: &serde_json::Value) -> Result<A, CliError> {
        writeln!(self.to, "{question}").and_then(|()| self.to.flush()).map_err(|_| silent())?;
        let mut line = String::new();
        self.from.read_line(&mut line).map_err(|_| silent())?;
        serde_json::from_str(&line).map_err(|_| silent())
    }
}

fn silent() -> CliError {
    CliError::Usage("WeasyPrint gave no answer; what it said stands above".into())
}
