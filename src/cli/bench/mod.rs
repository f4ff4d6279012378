//! Measurements, each beside a peer in the same run: a ratio holds on another machine, a figure does not.

mod batch;
mod digests;
mod inbox;
mod intake;
mod letters;
mod lists;
mod nodes;
mod processors;
mod reference;

use clap::Subcommand;

use super::node::start_log;
use super::{CliError, Environment};

/// What is measured.
#[derive(Subcommand)]
pub(super) enum BenchCommand {
    /// Intake end to end (HTTP in, durable, scanned, stored, matched) beside clamdscan over the same files.
    Intake(intake::IntakeArgs),
    /// The lists with many documents and messages beside the same lists with 10,000.
    Lists(lists::ListsArgs),
    /// Letters beside the engine alone, and beside WeasyPrint.
    Letters(letters::LettersArgs),
    /// A print batch with its marks beside `qpdf --empty --pages` over the same letters.
    Batch(batch::BatchArgs),
    /// A backlog over one, two and four nodes, with what the processors did meanwhile.
    Nodes(nodes::NodesArgs),
    /// Digests: planning, and handing over beside Postfix's smtp-source.
    Digests(digests::DigestsArgs),
}

pub(super) async fn run(command: BenchCommand, environment: &Environment) -> Result<(), CliError> {
    start_log(environment, false);
    match command {
        BenchCommand::Intake(args) => intake::run(args, environment).await,
        BenchCommand::Lists(args) => lists::run(args).await,
        BenchCommand::Letters(args) => tokio::task::block_in_place(|| letters::run(&args, environment)),
        BenchCommand::Digests(args) => digests::run(args, environment).await,
        BenchCommand::Nodes(args) => nodes::run(args, environment).await,
        // Nothing else runs in this process.
        BenchCommand::Batch(args) => batch::run(&args, environment),
    }
}

/// The most memory this process ever had resident, in bytes.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
