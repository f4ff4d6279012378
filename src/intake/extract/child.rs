//! The child's side: limits first, then one job, then a report. It is one thread without a runtime, opens no
//! file by name and no socket.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use serde::Serialize;

use super::nested::Inside;
use super::split::{self, SplitJob};
use super::{Container, Inspection, office, ole, pdf, text};
use crate::intake::sniff::finding::{Judged, Stop};
use crate::intake::sniff::policy::SniffPolicy;
use crate::intake::sniff::source::Source;
use crate::model::judgement::FileType;
use crate::outside::extract::{EXIT_FAULT, Job, VERSION, confine};

/// The exit code where memory ran out and was asked for politely (`EX_OSERR`).
const EXIT_MEMORY: u8 = 71;

/// The exit code of a program that was not told what to do (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;

/// All that the program of its own does: `extract …` or `--version`.
pub fn program(mut words: Vec<String>) -> ExitCode {
    match words.first().map(String::as_str) {
        Some("extract") => main(&words.split_off(1)),
        Some("--version") => writeln!(io::stdout(), "{VERSION}").map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        _ => ExitCode::from(EXIT_USAGE),
    }
}

/// Runs `inspect CONTAINER JOB`, `text TYPE JOB` or `split TYPE JOB`: the arguments behind `extract`. Limits are set before a byte
/// of the file is read.
pub fn main(args: &[String]) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        // Its own limit, not the machine's: the document is to blame, and a retry would end the same.
        Err(fault) if fault.kind() == io::ErrorKind::OutOfMemory => ExitCode::from(EXIT_MEMORY),
        Err(_) => ExitCode::from(EXIT_FAULT),
    }
}

fn run(args: &[String]) -> io::Result<()> {
    let usage = || io::Error::from(io::ErrorKind::InvalidInput);
    let [mode, kind, job] = args else { return Err(usage()) };
    if mode == "split" {
        let job: Job<SplitJob> = serde_json::from_str(job)?;
        confine(&job.limits, job.policy.bytes)?;
        let (input, scratch) = (own(io::stdin())?, own(io::stderr())?);
        return report(&split::pdf(Source::new(&input, input.metadata()?.len()), &job.policy, &scratch)?);
    }
    let job: Job<SniffPolicy> = serde_json::from_str(job)?;
    let policy = &job.policy;
    let writes = if mode == "inspect" { policy.embedded_bytes } else { 0 };
    confine(&job.limits, writes)?;
    let input = own(io::stdin())?;
    let source = Source::new(&input, input.metadata()?.len());
    match mode.as_str() {
        "inspect" => report(&inspect(source, kind.parse().map_err(io::Error::other)?, policy)?),
        "text" => {
            let file_type: FileType = kind.parse().map_err(io::Error::other)?;
            report(&text::extract(source, file_type, &job.limits, policy)?)
        }
        _ => Err(usage()),
    }
}

/// One of the standard streams, as the file it is.
fn own(stream: impl AsFd) -> io::Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

fn report(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut out, value)?;
    out.flush()
}

/// Reads inside a container; what is taken out goes to the standard error, which the parent made a file.
fn inspect(source: Source<'_>, container: Container, policy: &SniffPolicy) -> io::Result<Inspection> {
    let scratch = own(io::stderr())?;
    inspect_into(source, container, policy, &scratch)
}

/// Reads inside a container; what is taken out goes to `scratch`.
pub fn inspect_into<'f>(
    source: Source<'f>,
    container: Container,
    policy: &'f SniffPolicy,
    scratch: &'f File,
) -> io::Result<Inspection> {
    let mut inside = Inside::new(policy, scratch);
    let judged: Judged<()> = match container {
        Container::Pdf => pdf::inspect(source, 0, &mut inside),
        Container::Ooxml => office::inspect(source, 0, &mut inside),
        Container::Ole => ole::inspect(source, 0, &mut inside),
    };
    let finding = match judged {
        Ok(()) => None,
        Err(Stop::Finding(finding)) => Some(finding),
        Err(Stop::Fault(fault)) => return Err(fault),
    };
    Ok(inside.into_inspection(finding))
}
