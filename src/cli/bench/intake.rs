//! Intake, end to end, beside the scanner alone.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use serde::Serialize;

use super::lists::bar;
use super::peak_rss_bytes;
use super::processors::{Processors, Shares};
use super::reference::{BRAND, MEMBER, TIN, claim_number, load_reference};
use crate::cases;
use crate::cli::client::ApiClient;
use crate::cli::node::Node;
use crate::cli::submit::name_of;
use crate::cli::{CliError, Environment, output};
use crate::db::{Db, DbError, events, fill};
use crate::delivery::notices;
use crate::http::api::submissions::OpenRequest;
use crate::http::api::view::SubmissionView;
use crate::letters::asks;
use crate::model::case::CaseKind;
use crate::model::document::DocumentState;
use crate::model::ids::SubmissionId;
use crate::model::submission::{Said, SubmissionState};
use crate::outside::context::Context;
use crate::settings::Settings;

/// Something is wrong when no submission has ended for so long.
const STALLED: Duration = Duration::from_secs(600);

/// How intake is measured.
#[derive(clap::Args)]
pub(in crate::cli) struct IntakeArgs {
    /// The files; those below it are sent as they are.
    #[arg(long, value_name = "DIR")]
    files: PathBuf,
    /// Uploads at the same time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    concurrency: u16,
    /// Made documents that the database has before the first file is sent.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=100_000_000))]
    filled: i64,
    /// Print JSON with stable field names.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Figures {
    documents: usize,
    /// Of them on their case; for the others a person is to choose, as where a text is longer than is read.
    matched: usize,
    megabytes: f64,
    filled: i64,
    documents_per_s: f64,
    megabytes_per_s: f64,
    clamdscan_megabytes_per_s: f64,
    ratio: f64,
    /// Documents for each second of processor time of this process, its children and the database's server, without the
    /// scanner. The client is in this process, too.
    documents_per_core_s: f64,
    /// From a file's first byte to the acknowledgement, when it is durable.
    acknowledged_p50_ms: f64,
    acknowledged_p99_ms: f64,
    processors: Shares,
    /// Peak memory of this process, client and server together, in bytes.
    peak_rss_bytes: u64,
    /// How much of it came after the node was up: what the documents cost.
    peak_rss_growth_bytes: u64,
}

pub(super) async fn run(args: IntakeArgs, environment: &Environment) -> Result<(), CliError> {
    let paths = files_below(&args.files)?;
    if paths.is_empty() {
        return Err(CliError::Usage(format!("there are no files below {}", args.files.display())));
    }
    let scratch = crate::cli::scratch()?;
    let mut settings = environment.settings(Some(scratch.path()))?;
    settings.brand = BRAND.parse()?;
    settings.scanner.allow_test_signatures = true;
    prepare(&settings, args.filled).await?;
    // here one client sends as much as it can
    let node = Node::start_changed(settings, Some(([127, 0, 0, 1], 0).into()), |app| {
        let rate = &mut Arc::make_mut(&mut app.doors).rate;
        (rate.requests_per_s, rate.burst) = (NonZeroU32::MAX, NonZeroU32::MAX);
    })
    .await?;
    load_reference(&node.app.intake.db, &node.app.intake.ctx, paths.len()).await?;
    let figures = measure(&node, &paths, &args, environment).await;
    node.stop().await;
    let figures = figures?;
    if args.json {
        output::json(&figures);
    } else {
        print(&figures);
    }
    Ok(())
}

fn print(figures: &Figures) {
    let Figures { documents, matched, megabytes, filled, .. } = figures;
    println!("{documents} documents, {matched} of them matched, {megabytes:.1} MB, beside {filled} made ones");
    println!("intake     {:8.1} documents/s {:8.1} MB/s", figures.documents_per_s, figures.megabytes_per_s);
    println!("clamdscan  {:22} {:8.1} MB/s", "", figures.clamdscan_megabytes_per_s);
    println!("without the scanner {:.1} documents for each second of a processor", figures.documents_per_core_s);
    println!(
        "acknowledged after {:.0} ms, 99 of 100 within {:.0} ms",
        figures.acknowledged_p50_ms, figures.acknowledged_p99_ms
    );
    let [nodes, clamd, postgres, others, idle] = figures.processors.percents();
    println!("processors: ours {nodes}, clamd {clamd}, postgres {postgres}, others {others}, idle {idle}");
    println!(
        "ratio {:.2}; peak memory {}, of which {} came with the documents",
        figures.ratio,
        output::bytes(figures.peak_rss_bytes),
        output::bytes(figures.peak_rss_growth_bytes)
    );
}

/// Brings the schema of an empty database up, and puts made documents into it.
pub(super) async fn prepare(settings: &Settings, documents: i64) -> Result<(), CliError> {
    let db = Db::open(&settings.database_url()).await?;
    db.migrate().await?;
    if documents > 0 {
        let bar = bar("documents", documents);
        let now = Context::system().now();
        fill::fill(&db, now, documents, |made| bar.set_position(made.unsigned_abs())).await?;
        bar.finish_and_clear();
        // what is made has been read: reading millions of events would hold the bench's own documents up
        let mut tx = db.begin().await?;
        let head = events::head(&mut tx).await?;
        for reader in [cases::READER, asks::READER, notices::READER] {
            events::move_reader(&mut tx, reader, 0, head).await?;
        }
        tx.commit().await.map_err(DbError::from)?;
    } else {
        fill::must_be_empty(&db).await?;
    }
    db.close().await;
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

#[expect(clippy::cast_precision_loss, reason = "figures for reading")]
async fn measure(
    node: &Node,
    paths: &[PathBuf],
    args: &IntakeArgs,
    environment: &Environment,
) -> Result<Figures, CliError> {
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
    let megabytes = bytes as f64 / 1e6;
    // The peer goes first, so that both find the files in the page cache.
    let peer_s = clamdscan(&config, &args.files, environment)?;
    let before = peak_rss_bytes();
    let client = ApiClient::new(&node.url(), &node.key)?;
    let clamd = scanner.managed_pid();
    let (processors, began) = (Processors::now(clamd), Instant::now());
    let Sent { acknowledged_ms, matched } = send_all(&client, paths, args.concurrency.into()).await?;
    let took_s = began.elapsed().as_secs_f64();
    let processors = Processors::now(clamd).since(&processors);
    let peak = peak_rss_bytes();
    let documents = paths.len() as f64;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let part = |percent: usize| acknowledged_ms.get(acknowledged_ms.len() * percent / 100).copied().unwrap_or_default();
    Ok(Figures {
        documents: paths.len(),
        matched,
        megabytes,
        filled: args.filled,
        documents_per_s: documents / took_s,
        megabytes_per_s: megabytes / took_s,
        clamdscan_megabytes_per_s: megabytes / peer_s,
        ratio: peer_s / took_s,
        documents_per_core_s: documents / ((processors.nodes + processors.postgres) * cores * took_s),
        acknowledged_p50_ms: part(50),
        acknowledged_p99_ms: part(99),
        processors,
        peak_rss_bytes: peak,
        peak_rss_growth_bytes: peak.saturating_sub(before),
    })
}

/// What became of the files.
struct Sent {
    /// How long each took to be acknowledged, the quickest first.
    acknowledged_ms: Vec<f64>,
    /// How many are on their case.
    matched: usize,
}

/// Sends the files in submissions of up to ten, each as a sender of its own and about a claim of its own, and waits until
/// all have ended.
///
/// # Errors
/// When a document is neither on its case nor proposed for it: what was not done to the end is not measured.
async fn send_all(client: &ApiClient, paths: &[PathBuf], concurrency: usize) -> Result<Sent, CliError> {
    // with few files each sender has one
    let files_each = paths.len().div_ceil(concurrency).clamp(1, 10);
    let sent: Vec<(SubmissionId, Vec<f64>)> = futures::stream::iter(paths.chunks(files_each).enumerate())
        .map(|(n, files)| send(client, n + 1, files))
        .buffer_unordered(concurrency)
        .try_collect()
        .await?;
    let mut matched = 0;
    let mut acknowledged_ms: Vec<f64> = sent.iter().flat_map(|(_, took_ms)| took_ms).copied().collect();
    acknowledged_ms.sort_unstable_by(f64::total_cmp);
    let mut ended = std::pin::pin!(
        futures::stream::iter(sent)
            .map(|(id, _)| async move { client.wait(&id, |_| {}).await })
            .buffer_unordered(concurrency)
    );
    loop {
        match tokio::time::timeout(STALLED, ended.try_next()).await {
            Ok(Ok(Some(view))) => matched += matched_of(&view)?,
            Ok(Ok(None)) => return Ok(Sent { acknowledged_ms, matched }),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(CliError::Usage(format!("no submission came to its end for {STALLED:?}"))),
        }
    }
}

/// How many documents of a submission are on their case. All are clean, and the others are proposed for it.
fn matched_of(view: &SubmissionView) -> Result<usize, CliError> {
    let came_through = [DocumentState::Matched, DocumentState::NeedsReview];
    match view.documents.iter().find(|document| !came_through.contains(&document.state)) {
        None if view.state == SubmissionState::Accepted => {
            Ok(view.documents.iter().filter(|document| document.state == DocumentState::Matched).count())
        }
        None => Err(CliError::Usage(format!("a submission is {}, and nothing is measured", view.status))),
        Some(document) => Err(CliError::Usage(format!(
            "{} is {} and on no case; the bench takes files that are clean and of a type that is taken",
            document.file_name,
            document.state.as_str()
        ))),
    }
}

/// One submission about a claim: opened, its files sent one after another, submitted.
async fn send(client: &ApiClient, claim: usize, files: &[PathBuf]) -> Result<(SubmissionId, Vec<f64>), CliError> {
    let request = OpenRequest {
        kind: CaseKind::Reconsideration,
        brand: None,
        said: Said {
            claim_number: Some(claim_number(claim).parse()?),
            member_id: Some(MEMBER.parse()?),
            tin: Some(TIN.parse()?),
            ..Said::default()
        },
        sender_reference: None,
        resubmits: None,
    };
    let id = client.open(&request).await?.id;
    let mut took_ms = Vec::new();
    for (n, file) in files.iter().enumerate() {
        // files of one name may lie in different folders
        let name = format!("{n}-{}", name_of(file));
        let began = Instant::now();
        client.add(&id, &name, file, &ProgressBar::hidden()).await?;
        took_ms.push(began.elapsed().as_secs_f64() * 1e3);
    }
    client.submit(&id).await?;
    Ok((id, took_ms))
}

/// Seconds that clamdscan takes for the same files with the same clamd. It is given the directory: of a list it would scan
/// one file after another, and leave cores idle.
fn clamdscan(config: &Path, dir: &Path, environment: &Environment) -> Result<f64, CliError> {
    let search = environment.variables.get("PATH").cloned().unwrap_or_default();
    let program = std::env::split_paths(&search)
        .map(|dir| dir.join("clamdscan"))
        .find(|path| path.is_file())
        .ok_or_else(|| CliError::Usage("clamdscan is not in PATH; `make deps` gets it".into()))?;
    let dir = dir.canonicalize().map_err(CliError::at(dir))?;
    let began = Instant::now();
    let status = std::process::Command::new(program)
        .arg(format!("--config-file={}", config.display()))
        .args(["--multiscan", "--fdpass", "--no-summary", "--infected"])
        .arg(&dir)
        .stdout(Stdio::null())
        .status()
        .map_err(|error| CliError::File("clamdscan".into(), error))?;
    let took = began.elapsed().as_secs_f64();
    match status.code() {
        Some(0) => Ok(took),
        Some(1) => Err(CliError::Usage("clamdscan finds something in these files; the bench takes clean ones".into())),
        _ => Err(CliError::Usage("clamdscan failed".into())),
    }
}
