//! The mailroom's sources: what is watched, what lies there, what went wrong, and the batches with their counts.

use std::time::Duration;

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::json;

use super::{CliError, Common, Environment, output};
use crate::app::{App, StartError, open_db};
use crate::db::sources::{self, Batch};
use crate::intake::plan::IntakePlan;
use crate::outside::inbox::{self, PlaceOptions, SourceOptions};

#[derive(Subcommand)]
pub(super) enum SourcesCommand {
    /// The sources of the settings, and how many of their files are in each state.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// What lies there now. Nothing is taken.
    Look {
        #[command(flatten)]
        common: Common,
        /// Take what is complete. For where no node runs: a node does it by itself.
        #[arg(long)]
        take: bool,
    },
    /// What was not taken, or not with all that was said of it, newest first.
    Problems {
        #[command(flatten)]
        common: Common,
        /// How many at most.
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: i64,
        /// Go on behind this one: `seen_at,item` of the last one shown.
        #[arg(long, value_name = "AT,ITEM")]
        after: Option<String>,
    },
    /// The mailroom's batches, expected and received, newest first.
    Batches {
        #[command(flatten)]
        common: Common,
        /// How many at most.
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: i64,
        /// Go on behind this one: `created_at,id` of the last one shown.
        #[arg(long, value_name = "AT,ID")]
        after: Option<String>,
    },
}

pub(super) async fn run(command: SourcesCommand, environment: &Environment) -> Result<(), CliError> {
    match command {
        SourcesCommand::List { common } => list(environment, &common).await,
        SourcesCommand::Look { common, take: false } => look(environment, &common).await,
        SourcesCommand::Look { common, take: true } => take(environment, &common).await,
        SourcesCommand::Problems { common, limit, after } => {
            problems(environment, &common, limit, after.as_deref()).await
        }
        SourcesCommand::Batches { common, limit, after } => {
            batches(environment, &common, limit, after.as_deref()).await
        }
    }
}

const fn kind(source: &SourceOptions) -> &'static str {
    match source.at {
        PlaceOptions::Folder(_) => "folder",
        PlaceOptions::Bucket(_) => "bucket",
    }
}

/// Reads a list's cursor.
fn cursor(text: Option<&str>) -> Result<Option<(Timestamp, &str)>, CliError> {
    let Some(text) = text else { return Ok(None) };
    let parts = text.split_once(',').and_then(|(at, id)| Some((at.trim().parse().ok()?, id.trim())));
    parts
        .map(Some)
        .ok_or_else(|| CliError::Usage("--after takes an instant, a comma and an id, as the list shows".into()))
}

async fn list(environment: &Environment, common: &Common) -> Result<(), CliError> {
    let settings = environment.settings(common.data.as_deref())?;
    let db = open_db(&settings).await?;
    let mut conn = db.read().await?;
    let counts = sources::counts(&mut conn).await?;
    if common.json {
        let rows: Vec<_> = settings
            .sources
            .iter()
            .enumerate()
            .map(|(at, source)| {
                let own = counts.iter().filter(|count| count.source == source.name);
                let files: serde_json::Map<_, _> =
                    own.map(|count| (count.state.as_str().to_owned(), json!(count.count))).collect();
                json!({ "number": at + 1, "name": source.name, "kind": kind(source), "channel": source.channel,
                        "brand": source.brand.as_ref().unwrap_or(&settings.brand), "files": files })
            })
            .collect();
        output::json(&rows);
    } else {
        let rows = settings.sources.iter().enumerate().map(|(at, source)| {
            let own = counts.iter().filter(|count| count.source == source.name);
            let files: Vec<String> = own.map(|count| format!("{} {}", count.count, count.state)).collect();
            [
                (at + 1).to_string(),
                source.name.clone(),
                kind(source).into(),
                source.channel.to_string(),
                files.join(", "),
            ]
        });
        output::table(["no.", "source", "kind", "channel", "files"], rows);
    }
    Ok(())
}

async fn look(environment: &Environment, common: &Common) -> Result<(), CliError> {
    let settings = environment.settings(common.data.as_deref())?;
    let policy = IntakePlan::load(settings.config_dir.as_deref())?.plan.sources;
    let mut told = Vec::new();
    let mut well = true;
    for source in &settings.sources {
        let listed = match inbox::open(&source.at).await {
            Ok(inbox) => inbox.list(policy.entries_per_look).await,
            Err(error) => Err(error),
        };
        well &= listed.is_ok();
        told.push(match listed {
            Ok(listing) => json!({
                "source": source.name,
                "files": listing.entries.len(),
                "bytes": listing.entries.iter().map(|entry| entry.size_bytes).sum::<u64>(),
                "oldest": listing.entries.iter().filter_map(|entry| entry.modified_at).min(),
                "skipped": listing.skipped,
                "more": listing.more,
            }),
            Err(error) => json!({ "source": source.name, "error": error.to_string() }),
        });
    }
    if common.json {
        output::json(&told);
    } else {
        for row in &told {
            println!("{row}");
        }
    }
    if well { Ok(()) } else { Err(CliError::No) }
}

/// Looks until what is complete is taken: twice at least, for a folder's files have to stand still in between.
async fn take(environment: &Environment, common: &Common) -> Result<(), CliError> {
    let app = App::start(environment.settings(common.data.as_deref())?).await?;
    let sources = app.sources().await?;
    let mut told = Vec::new();
    for source in sources.all() {
        let mut last = sources.look(source).await.map_err(StartError::from)?;
        if last.waiting > 0 {
            tokio::time::sleep(Duration::from_secs(app.intake.plan.sources.settle_s)).await;
        }
        let (mut taken, mut problems) = (last.taken, last.problems);
        loop {
            last = sources.look(source).await.map_err(StartError::from)?;
            taken += last.taken;
            problems += last.problems;
            if !last.more || last.elsewhere || last.taken + last.problems == 0 {
                break;
            }
        }
        sources.release(source).await?;
        told.push(json!({
            "source": source.options.name, "taken": taken, "problems": problems, "waiting": last.waiting,
            "skipped": last.skipped, "elsewhere": last.elsewhere,
        }));
    }
    app.shutdown().await;
    if common.json {
        output::json(&told);
    } else {
        for row in &told {
            println!("{row}");
        }
    }
    Ok(())
}

async fn problems(environment: &Environment, common: &Common, limit: i64, after: Option<&str>) -> Result<(), CliError> {
    let db = open_db(&environment.settings(common.data.as_deref())?).await?;
    let mut conn = db.read().await?;
    let problems = sources::problems(&mut conn, cursor(after)?, limit).await?;
    if common.json {
        output::json(&problems);
    } else {
        output::table(
            ["seen_at", "source", "document", "state", "problem", "reason"],
            problems.into_iter().map(|p| {
                let reason = p.reason.replace('\n', " ");
                let (state, code) = (p.state.to_string(), p.code.to_string());
                [p.seen_at.to_string(), p.source, p.document_id.to_string(), state, code, reason]
            }),
        );
    }
    Ok(())
}

async fn batches(environment: &Environment, common: &Common, limit: i64, after: Option<&str>) -> Result<(), CliError> {
    let db = open_db(&environment.settings(common.data.as_deref())?).await?;
    let mut conn = db.read().await?;
    let batches = sources::batches(&mut conn, cursor(after)?, limit).await?;
    if common.json {
        output::json(&batches);
    } else {
        output::table(["created_at", "source", "batch", "documents", "pages"], batches.into_iter().map(row));
    }
    Ok(())
}

fn row(batch: Batch) -> [String; 5] {
    let of = |received: i64, expected: Option<i64>| match expected {
        Some(expected) => format!("{received} of {expected}"),
        None => received.to_string(),
    };
    let mut pages = of(batch.received_pages, batch.expected_pages);
    if batch.documents_without_pages > 0 {
        pages = format!("{pages}, not counted in {} documents", batch.documents_without_pages);
    }
    let documents = of(batch.received_documents, batch.expected_documents);
    [batch.created_at.to_string(), batch.source, batch.name, documents, pages]
}
