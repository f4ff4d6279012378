//! `submit`: send files in as one submission and wait for the outcome.

use std::path::{Path, PathBuf};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::client::{ApiClient, ClientError};
use super::node::{Node, start_log};
use super::{CliError, Environment, SaidArgs, output};
use crate::http::api::submissions::OpenRequest;
use crate::http::api::view::SubmissionView;
use crate::model::document::{DocumentState, FileName};
use crate::model::submission::SubmissionState;

/// Arguments of `submit`.
#[derive(clap::Args)]
pub(super) struct SubmitArgs {
    /// The files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// A server's address. Also LETTERCASE_SERVER.
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    server: Option<String>,
    /// The file that holds the server's key. Else the key itself is in LETTERCASE_KEY.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    key_file: Option<PathBuf>,
    /// Without a server: everything in this process, on this data directory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    about: SaidArgs,
    /// Print JSON with stable field names.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: SubmitArgs, environment: &Environment) -> Result<(), CliError> {
    start_log(environment, false);
    let server = match &args.data {
        Some(_) => None,
        None => args.server.clone().or_else(|| environment.variables.get("LETTERCASE_SERVER").cloned()),
    };
    let outcome = match server {
        Some(server) => send(&ApiClient::new(&server, &key(&args, environment)?)?, &args).await,
        None => {
            let settings = environment.settings(args.data.as_deref())?;
            let node = Node::start(settings, Some(([127, 0, 0, 1], 0).into())).await?;
            let sent = match ApiClient::new(&node.url(), &node.key) {
                Ok(client) => send(&client, &args).await,
                Err(error) => Err(error.into()),
            };
            node.stop().await;
            sent
        }
    }?;
    if args.json {
        output::json(&outcome);
    } else {
        show(&outcome);
    }
    let matched =
        |state| matches!(state, DocumentState::Matched | DocumentState::NeedsReview | DocumentState::Unmatched);
    let good = outcome.state == SubmissionState::Accepted && outcome.documents.iter().all(|d| matched(d.state));
    if good { Ok(()) } else { Err(CliError::No) }
}

/// The key for a server. Never an argument: those can be seen by everybody on the machine.
fn key(args: &SubmitArgs, environment: &Environment) -> Result<String, CliError> {
    let key = match &args.key_file {
        Some(file) => std::fs::read_to_string(file).map_err(CliError::at(file))?,
        None => environment.variables.get("LETTERCASE_KEY").cloned().unwrap_or_default(),
    };
    match key.trim() {
        "" => Err(CliError::Usage("a server wants a key: set LETTERCASE_KEY, or name a file by --key-file".into())),
        key => Ok(key.to_owned()),
    }
}

async fn send(client: &ApiClient, args: &SubmitArgs) -> Result<SubmissionView, CliError> {
    let request = OpenRequest {
        kind: args.about.kind,
        brand: args.about.brand.clone(),
        said: args.about.said(),
        sender_reference: None,
        resubmits: None,
    };
    let opened = client.open(&request).await?;
    let bars = MultiProgress::new();
    for path in &args.files {
        let bar = bars.add(upload_bar(&name_of(path)));
        let added = client.add(&opened.id, &name_of(path), path, &bar).await;
        bar.finish();
        if let Err(error) = added {
            // What was taken stays an open submission that is never sent: say so, and with which number.
            let what = match &error {
                ClientError::Refused(told) => format!("{} ({})", told.detail, told.code),
                other => other.to_string(),
            };
            return Err(CliError::Usage(format!(
                "{} was refused: {what}; submission {} was not sent",
                path.display(),
                opened.reference
            )));
        }
    }
    client.submit(&opened.id).await?;
    let waiting = bars.add(ProgressBar::new_spinner().with_message("sent; waiting for the outcome"));
    waiting.enable_steady_tick(std::time::Duration::from_millis(120));
    let outcome = client.wait(&opened.id, |event| waiting.set_message(event.to_owned())).await;
    waiting.finish_and_clear();
    Ok(outcome?)
}

/// The name a file is sent under.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A bar for one upload.
pub(super) fn upload_bar(name: &str) -> ProgressBar {
    let bar = ProgressBar::new(0).with_message(name.to_owned());
    // the template is a constant; without it the bar looks plain
    if let Ok(style) = ProgressStyle::with_template("{msg:40!} {bar:24} {bytes:>10} {bytes_per_sec:>12}") {
        bar.set_style(style);
    }
    bar
}

pub(super) fn show(outcome: &SubmissionView) {
    println!("{}  {}", outcome.reference, outcome.status);
    if let Some(status) = &outcome.case_status {
        println!("case {}: {status}", outcome.case_number.as_deref().unwrap_or("-"));
    } else if let Some(note) = &outcome.case_note {
        println!("no case: {note}");
    }
    output::table(
        ["file", "type", "status", "case", "reason"],
        outcome.documents.iter().map(|d| {
            let reason = d.reason.as_ref().map(|r| format!("{}: {}", r.code, r.message)).unwrap_or_default();
            [
                FileName::new(&d.file_name).map(|name| name.escaped()).unwrap_or_default(),
                d.file_type.map(|t| t.to_string()).or_else(|| d.detected.clone()).unwrap_or_default(),
                d.state.to_string(),
                d.case_number.clone().unwrap_or_default(),
                reason,
            ]
        }),
    );
}
