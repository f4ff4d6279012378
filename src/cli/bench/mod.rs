//! Measurements, each beside a peer in the same run: a ratio holds on another machine, a figure does not.

mod batch;
mod digests;
mod inbox;
mod letters;
mod lists;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use clap::Subcommand;
use futures::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use serde::Serialize;

use super::client::ApiClient;
use super::node::{Node, start_log};
use super::submit::name_of;
use super::{CliError, Environment, output};
use crate::http::api::submissions::OpenRequest;
use crate::model::case::CaseKind;
use crate::model::ids::SubmissionId;
use crate::model::submission::Said;

/// What is measured.
#[derive(Subcommand)]
pub(super) enum BenchCommand {
    /// Intake end to end (HTTP in, durable, scanned, stored, matched) beside clamdscan over the same files.
    Intake {
        /// The files; those below it are sent as they are.
        #[arg(long, value_name = "DIR")]
        files: PathBuf,
        /// Uploads at the same time.
        #[arg(long, default_value_t = 8)]
        concurrency: usize,
        /// Print JSON with stable field names.
        #[arg(long)]
        json: bool,
    },
    /// The lists with many documents and messages beside the same lists with 10,000.
    Lists(lists::ListsArgs),
    /// Letters beside the engine alone, and beside WeasyPrint.
    Letters(letters::LettersArgs),
    /// A print batch with its marks beside `qpdf --empty --pages` over the same letters.
    Batch(batch::BatchArgs),
    /// Digests: planning, and handing over beside Postfix's smtp-source.
    Digests(digests::DigestsArgs),
}

#[derive(Serialize)]
struct IntakeFigures {
    documents: usize,
    megabytes: f64,
    documents_per_s: f64,
    megabytes_per_s: f64,
    clamdscan_megabytes_per_s: f64,
    ratio: f64,
    /// Peak memory of this process, client and server together, in bytes.
    peak_rss_bytes: u64,
    /// How much of it came after the node was up: what the documents cost.
    peak_rss_growth_bytes: u64,
}

pub(super) async fn run(command: BenchCommand, environment: &Environment) -> Result<(), CliError> {
    start_log(environment, false);
    let (files, concurrency, json) = match command {
        BenchCommand::Intake { files, concurrency, json } => (files, concurrency, json),
        BenchCommand::Lists(args) => return lists::run(args).await,
        BenchCommand::Letters(args) => return tokio::task::block_in_place(|| letters::run(&args, environment)),
        BenchCommand::Digests(args) => return digests::run(args, environment).await,
        // Nothing else runs in this process.
        BenchCommand::Batch(args) => return batch::run(&args, environment),
    };
    let paths = files_below(&files)?;
    if paths.is_empty() {
        return Err(CliError::Usage(format!("there are no files below {}", files.display())));
    }
    let scratch = crate::cli::scratch()?;
    let mut settings = environment.settings(Some(scratch.path()))?;
    settings.scanner.allow_test_signatures = true;
    let node = Node::start(settings, Some(([127, 0, 0, 1], 0).into())).await?;
    let figures = intake(&node, &paths, concurrency.max(1), environment).await;
    node.stop().await;
    let figures = figures?;
    if json {
        output::json(&figures);
    } else {
        println!("{} documents, {:.1} MB", figures.documents, figures.megabytes);
        println!("intake     {:8.1} documents/s {:8.1} MB/s", figures.documents_per_s, figures.megabytes_per_s);
        println!("clamdscan  {:22} {:8.1} MB/s", "", figures.clamdscan_megabytes_per_s);
        println!(
            "ratio {:.2}; peak memory {}, of which {} came with the documents",
            figures.ratio,
            output::bytes(figures.peak_rss_bytes),
            output::bytes(figures.peak_rss_growth_bytes)
        );
    }
    Ok(())
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = std::fs::read_dir(&dir).map_err(CliError::at(&dir))?;
        for entry in entries {
            let path = entry.map_err(CliError::at(&dir))?.path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

async fn intake(
    node: &Node,
    paths: &[PathBuf],
    concurrency: usize,
    environment: &Environment,
) -> Result<IntakeFigures, CliError> {
    let scanner = &node.app.intake.scanner;
    scanner
        .ready(node.app.intake.ctx.now())
        .await
        .map_err(|not_ready| CliError::Usage(format!("no scanner is fit to be used: {not_ready}")))?;
    let config = scanner.managed_config().ok_or_else(|| {
        CliError::Usage("the bench compares with a managed clamd; leave scanner.run_by as it is".into())
    })?;
    let mut bytes = 0;
    for path in paths {
        bytes += std::fs::metadata(path).map_err(CliError::at(path))?.len();
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for reading")]
    let megabytes = bytes as f64 / 1e6;
    // The peer goes first, so that both find the files in the page cache.
    let peer_s = clamdscan(&config, paths, environment)?;
    let before = peak_rss_bytes();
    let client = ApiClient::new(&node.url(), &node.key)?;
    let began = Instant::now();
    send_all(&client, paths, concurrency).await?;
    let took_s = began.elapsed().as_secs_f64();
    let peak = peak_rss_bytes();
    #[expect(clippy::cast_precision_loss, reason = "a figure for reading")]
    let documents = paths.len() as f64;
    Ok(IntakeFigures {
        documents: paths.len(),
        megabytes,
        documents_per_s: documents / took_s,
        megabytes_per_s: megabytes / took_s,
        clamdscan_megabytes_per_s: megabytes / peer_s,
        ratio: peer_s / took_s,
        peak_rss_bytes: peak,
        peak_rss_growth_bytes: peak.saturating_sub(before),
    })
}

/// Sends the files in submissions of up to ten and waits until all have ended.
async fn send_all(client: &ApiClient, paths: &[PathBuf], concurrency: usize) -> Result<(), CliError> {
    let mut groups: Vec<(SubmissionId, Vec<PathBuf>)> = Vec::new();
    for files in paths.chunks(10) {
        let request = OpenRequest {
            kind: CaseKind::Reconsideration,
            brand: None,
            said: Said::default(),
            sender_reference: None,
            resubmits: None,
        };
        groups.push((client.open(&request).await?.id, files.to_vec()));
    }
    let uploads = groups.iter().flat_map(|(id, files)| (0..).zip(files).map(move |(n, file)| (id, n, file)));
    futures::stream::iter(uploads.map(Ok::<_, CliError>))
        .try_for_each_concurrent(concurrency, |(id, n, file): (_, usize, _)| async move {
            // files of one name may lie in different folders
            let name = format!("{n}-{}", name_of(file));
            Ok(client.add(id, &name, file, &ProgressBar::hidden()).await?)
        })
        .await?;
    for (id, _) in &groups {
        client.submit(id).await?;
    }
    futures::stream::iter(groups)
        .map(|(id, _)| async move { client.wait(&id, |_| {}).await })
        .buffer_unordered(concurrency)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}

/// Seconds that clamdscan takes for the same files with the same clamd.
fn clamdscan(config: &Path, paths: &[PathBuf], environment: &Environment) -> Result<f64, CliError> {
    let search = environment.variables.get("PATH").cloned().unwrap_or_default();
    let program = std::env::split_paths(&search)
        .map(|dir| dir.join("clamdscan"))
        .find(|path| path.is_file())
        .ok_or_else(|| CliError::Usage("clamdscan is not in PATH; `make deps` gets it".into()))?;
    let list =
        tempfile::NamedTempFile::new().map_err(|error| CliError::File("the temporary directory".into(), error))?;
    let mut names = String::new();
    for path in paths {
        let path = path.canonicalize().map_err(CliError::at(path))?;
        names.push_str(&path.display().to_string());
        names.push('\n');
    }
    std::fs::write(list.path(), names).map_err(|error| CliError::File(list.path().to_owned(), error))?;
    let began = Instant::now();
    let status = std::process::Command::new(program)
        .arg(format!("--config-file={}", config.display()))
        .args(["--multiscan", "--fdpass", "--no-summary", "--infected"])
        .arg(format!("--file-list={}", list.path().display()))
        .stdout(Stdio::null())
        .status()
        .map_err(|error| CliError::File("clamdscan".into(), error))?;
    let took = began.elapsed().as_secs_f64();
    // 1 is "something was found", which the samples may well be
    match status.code() {
        Some(0 | 1) => Ok(took),
        _ => Err(CliError::Usage("clamdscan failed".into())),
    }
}

/// The most memory this process ever had resident, in bytes.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
