//! `inspect`: what would intake say of these files? Sniff and scan, store nothing.

use std::fs::File;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use serde::Serialize;

use super::node::start_log;
use super::submit::name_of;
use super::{CliError, Environment, code, output};
use crate::app::{open_scanner, own_exe};
use crate::intake::extract::Embedded;
use crate::intake::plan::IntakePlan;
use crate::intake::sniff::{Sniffed, sniff};
use crate::intake::stages::overrule;
use crate::model::case::CaseKind;
use crate::model::document::FileName;
use crate::model::judgement::{FileType, Flag, Reason, ReasonCode, Verdict};
use crate::outside::context::Context;
use crate::outside::extract::Extract;
use crate::outside::scanner::{Scanner, Verdict as Scan};

/// Arguments of `inspect`.
#[derive(clap::Args)]
pub(super) struct InspectArgs {
    /// The files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The kind of case whose size limit holds.
    #[arg(long, value_parser = code::<CaseKind>, default_value = "reconsideration")]
    kind: CaseKind,
    /// Print a line of JSON per file.
    #[arg(long)]
    json: bool,
}

/// What intake says of a file: a line of `--json`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Inspected {
    file: String,
    declared_type: Option<FileType>,
    detected_type: Option<String>,
    size_bytes: u64,
    verdict: Verdict,
    code: Option<ReasonCode>,
    message: Option<String>,
    signature: Option<String>,
    flags: Vec<Flag>,
}

/// Files judged at the same time.
const AT_ONCE: usize = 4;

struct Inspector {
    plan: IntakePlan,
    limit_bytes: u64,
    extract: Extract,
    scanner: Scanner,
    ctx: Context,
}

pub(super) async fn run(args: InspectArgs, environment: &Environment) -> Result<(), CliError> {
    start_log(environment, false);
    let mut settings = environment.settings(None)?;
    // Nothing is stored or let through here, so test signatures will do; it is said that they are.
    settings.scanner.allow_test_signatures = true;
    let plan = IntakePlan::load(settings.config_dir.as_deref())?.plan;
    let scratch = crate::cli::scratch()?;
    let ctx = Context::system();
    let scanner = open_scanner(&settings, &plan).await?;
    let inspector = Inspector {
        limit_bytes: plan.limits.of(args.kind).file_bytes,
        extract: Extract::new(own_exe()?, scratch.path().to_owned(), plan.extract.clone()),
        plan,
        scanner,
        ctx,
    };
    match inspector.scanner.ready(inspector.ctx.now()).await {
        Ok(version) => output::tell_scanner(&version),
        Err(not_ready) => eprintln!("no scanner is fit to be used, so files would wait: {not_ready}"),
    }
    let mut all_accepted = true;
    let mut rows = Vec::new();
    let mut inspected = futures::stream::iter(&args.files).map(|path| inspector.inspect(path)).buffered(AT_ONCE);
    while let Some(result) = inspected.next().await {
        let line = result?;
        all_accepted &= line.verdict == Verdict::Accept;
        if args.json {
            output::json_line(&line);
        } else {
            rows.push(row(&line));
        }
    }
    drop(inspected);
    inspector.scanner.shutdown().await;
    if !args.json {
        output::table(["file", "type", "size", "verdict", "why"], rows);
    }
    if all_accepted { Ok(()) } else { Err(CliError::No) }
}

fn row(line: &Inspected) -> [String; 5] {
    let mut why = match (&line.signature, line.code, &line.message) {
        (Some(signature), _, _) => signature.clone(),
        (None, Some(code), Some(message)) => format!("{code}: {message}"),
        _ => String::new(),
    };
    if !line.flags.is_empty() {
        let flags: Vec<&str> = line.flags.iter().map(|flag| flag.as_str()).collect();
        why = format!("{why}[{}]", flags.join(", "));
    }
    [
        line.file.clone(),
        line.detected_type.clone().unwrap_or_else(|| "-".into()),
        output::bytes(line.size_bytes),
        line.verdict.to_string(),
        why,
    ]
}

impl Inspector {
    async fn inspect(&self, path: &Path) -> Result<Inspected, CliError> {
        let trouble = |error| CliError::File(path.to_owned(), error);
        let file = File::open(path).map_err(trouble)?;
        let meta = file.metadata().map_err(trouble)?;
        if !meta.is_file() {
            return Err(CliError::Usage(format!("{} is not a file", path.display())));
        }
        let name = name_of(path);
        let mut line = Inspected {
            file: FileName::new(&path.display().to_string())?.escaped(),
            declared_type: FileType::from_file_name(&name),
            detected_type: None,
            size_bytes: meta.len(),
            verdict: Verdict::Accept,
            code: None,
            message: None,
            signature: None,
            flags: Vec::new(),
        };
        if meta.len() > self.limit_bytes {
            let message = format!("a file may have at most {} bytes", self.limit_bytes);
            line.say(Verdict::Reject, Reason::new(ReasonCode::TooLarge, message));
            return Ok(line);
        }
        let sniffed = sniff(&file, meta.len(), &name, &self.plan.sniff, &self.extract)
            .await
            .map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?;
        match sniffed {
            Sniffed::Reject { detected, reason } => {
                line.detected_type = detected;
                line.say(Verdict::Reject, reason);
            }
            Sniffed::Hold { file_type, reason } => {
                line.detected_type = Some(file_type.to_string());
                line.say(Verdict::Held, reason);
            }
            Sniffed::Accept { file_type, flags, embedded, scratch, .. } => {
                line.detected_type = Some(file_type.to_string());
                line.flags = flags;
                let scanned = self.scan(&file, meta.len(), file_type, embedded, scratch).await.map_err(trouble)?;
                match scanned {
                    Scan::Clean => {}
                    Scan::Infected { signature } => {
                        line.verdict = Verdict::Virus;
                        line.code = Some(ReasonCode::Virus);
                        line.message = Some("a virus was found in this file".into());
                        line.signature = Some(signature);
                    }
                    Scan::Unscannable { why } | Scan::NotRun { why } => {
                        line.say(
                            Verdict::Held,
                            Reason::new(ReasonCode::ScanFailed, format!("the scanner could not judge it: {why}")),
                        );
                    }
                }
            }
        }
        Ok(line)
    }

    /// The worst verdict on the file and on what is embedded in it.
    async fn scan(
        &self,
        file: &File,
        size_bytes: u64,
        file_type: FileType,
        embedded: Vec<Embedded>,
        scratch: Option<File>,
    ) -> std::io::Result<Scan> {
        let whole = self.scanner.scan(self.ctx.now(), file.try_clone()?, 0, size_bytes).await.verdict;
        if *overrule(&whole, Some(file_type)) != Scan::Clean {
            return Ok(whole);
        }
        if let Some(scratch) = scratch {
            for part in embedded {
                let verdict =
                    self.scanner.scan(self.ctx.now(), scratch.try_clone()?, part.offset, part.len).await.verdict;
                if verdict != Scan::Clean {
                    return Ok(verdict);
                }
            }
        }
        Ok(Scan::Clean)
    }
}

impl Inspected {
    fn say(&mut self, verdict: Verdict, reason: Reason) {
        self.verdict = verdict;
        self.code = Some(reason.code);
        self.message = Some(reason.message);
    }
}
