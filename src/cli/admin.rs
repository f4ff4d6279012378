//! Commands of operators and administrators that work on the database beside a running node.

use std::fs::File;
use std::path::Path;

use serde_json::json;

use super::{AuditCommand, CliError, Command, Common, DeadLetters, Environment, MatchCommand, output};
use crate::access::policy::AccessPolicy;
use crate::app::correspondence::CorrespondencePlan;
use crate::app::{self, open_db};
use crate::db::work::WorkRow;
use crate::db::{Db, Stamp, ledger, submissions, work};
use crate::digests::plan::NotificationsPlan;
use crate::http::api::view;
use crate::http::plan::DoorsPlan;
use crate::intake::aging::Aging;
use crate::intake::load::{Form, LoadReport, load};
use crate::intake::plan::{IntakePlan, load_calendar};
use crate::intake::review;
use crate::model::ids::{ReferenceNumber, SubmissionId};
use crate::model::reference::ReferenceKind;
use crate::outside::context::Context;
use crate::outside::objects;
use crate::retention::RetentionPlan;
use crate::settings::Settings;

/// Who acts, until people at the command line are known.
const ACTOR: &str = "operator";

pub(super) async fn run(command: Command, environment: &Environment) -> Result<(), CliError> {
    match command {
        Command::Check { common } => check(&environment.settings(common.data.as_deref())?, &common),
        Command::Migrate { common } => migrate(&environment.settings(common.data.as_deref())?).await,
        Command::Load { common, kind, file } => {
            let settings = environment.settings(common.data.as_deref())?;
            load_file(&open_db(&settings).await?, &common, kind, &file).await
        }
        Command::Status { common, submission } => status(environment, &common, submission.as_deref()).await,
        Command::DeadLetters { command: DeadLetters::List { common } } => dead_letters(environment, &common).await,
        Command::DeadLetters { command: DeadLetters::Replay { common, which, all } } => {
            let db = open_db(&environment.settings(common.data.as_deref())?).await?;
            replay(&db, &which, all).await
        }
        Command::Rescan { common, document } => {
            let db = open_db(&environment.settings(common.data.as_deref())?).await?;
            let ctx = Context::system();
            review::rescan(&db, Stamp { ctx: &ctx, actor: ACTOR }, &document).await?;
            println!("{document} is judged again");
            Ok(())
        }
        Command::Match { command: MatchCommand::Undo { common, document } } => {
            let settings = environment.settings(common.data.as_deref())?;
            let plan = IntakePlan::load(settings.config_dir.as_deref())?.plan;
            let calendar = load_calendar(settings.config_dir.as_deref())?.plan;
            let db = open_db(&settings).await?;
            let ctx = Context::system();
            let aging = Aging { calendar: &calendar, policy: &plan.aging };
            review::undo_match(&db, Stamp { ctx: &ctx, actor: ACTOR }, aging, &document, None).await?;
            println!("{document} is off its case and needs review");
            Ok(())
        }
        Command::Audit { command: AuditCommand::Verify { common } } => audit_verify(environment, &common).await,
        Command::Ledger { common } => count_ledger(environment, &common).await,
        // The others are dispatched before.
        _ => Err(CliError::Usage("unknown command".into())),
    }
}

fn check(settings: &Settings, common: &Common) -> Result<(), CliError> {
    let loaded = IntakePlan::load(settings.config_dir.as_deref())?;
    let access = AccessPolicy::load(settings.config_dir.as_deref())?;
    let calendar = load_calendar(settings.config_dir.as_deref())?;
    let doors = DoorsPlan::load(settings.config_dir.as_deref())?;
    let letters = CorrespondencePlan::load(settings.config_dir.as_deref())?;
    let notifications = NotificationsPlan::load(settings.config_dir.as_deref())?;
    let retention = RetentionPlan::load(settings.config_dir.as_deref())?;
    if common.json {
        let hash = |plan: &str, hash: &str| json!({ "plan": plan, "hash": hash });
        let others = [
            hash("doors.toml", &doors.hash),
            hash("access.toml", &access.hash),
            hash("calendar.toml", &calendar.hash),
            hash("correspondence.toml", &letters.hash),
            hash("notifications.toml", &notifications.hash),
            hash("retention.toml", &retention.hash),
        ];
        output::json(&json!({ "plan": "intake.toml", "hash": loaded.hash, "others": others, "ok": true }));
    } else {
        println!("settings: {settings:#?}");
        println!("intake.toml {}: {:#?}", loaded.hash, loaded.plan);
        println!("doors.toml {}: {:#?}", doors.hash, doors.plan);
        println!("access.toml {}: {:#?}", access.hash, access.plan);
        println!("calendar.toml {}: {:#?}", calendar.hash, calendar.plan);
        println!("correspondence.toml {}: {:#?}", letters.hash, letters.plan);
        println!("notifications.toml {}: {:#?}", notifications.hash, notifications.plan);
        println!("retention.toml {}: {:#?}", retention.hash, retention.plan);
        println!("ok");
    }
    Ok(())
}

async fn migrate(settings: &Settings) -> Result<(), CliError> {
    let db = Db::open(&settings.database_url()).await?;
    db.migrate().await?;
    println!("the schema is up to date");
    Ok(())
}

async fn load_file(db: &Db, common: &Common, kind: ReferenceKind, path: &Path) -> Result<(), CliError> {
    let report = load_path(db, kind, path).await?;
    show_load(common, kind.as_str(), &report)
}

/// Shows what a load did. It is a no where a row was not taken.
pub(super) fn show_load(common: &Common, kind: &str, report: &LoadReport) -> Result<(), CliError> {
    if common.json {
        output::json(report);
    } else {
        println!("{kind}: {} loaded, {} rejected", report.loaded, report.rejected);
        for reject in &report.rejects {
            println!("  line {}: {}", reject.line, reject.reason);
        }
    }
    if report.rejected == 0 { Ok(()) } else { Err(CliError::No) }
}

/// Loads a file of reference data; its ending tells its form.
pub(super) async fn load_path(db: &Db, kind: ReferenceKind, path: &Path) -> Result<LoadReport, CliError> {
    let (form, file) = open_rows(path)?;
    let ctx = Context::system();
    Ok(load(db, Stamp { ctx: &ctx, actor: ACTOR }, kind, form, file).await?)
}

/// Opens a file of rows; its ending tells its form.
pub(super) fn open_rows(path: &Path) -> Result<(Form, File), CliError> {
    let form = match path.extension().and_then(|e| e.to_str()) {
        Some("ndjson" | "jsonl") => Form::Ndjson,
        Some("csv") => Form::Csv,
        _ => return Err(CliError::Usage(format!("{}: name it .ndjson, .jsonl or .csv, as it is", path.display()))),
    };
    Ok((form, File::open(path).map_err(CliError::at(path))?))
}

async fn status(environment: &Environment, common: &Common, which: Option<&str>) -> Result<(), CliError> {
    let db = open_db(&environment.settings(common.data.as_deref())?).await?;
    let mut conn = db.read().await?;
    let Some(which) = which else {
        let counted = ledger::count(&mut conn).await?;
        let waiting = work::counts(&mut conn).await?;
        if common.json {
            output::json(&json!({ "rows": counted.lines, "work": waiting }));
        } else {
            let lines = counted.lines.iter().filter(|line| line.rows > 0);
            output::table(
                ["of", "state", "count"],
                lines.map(|l| [l.kind.to_string(), l.state.clone(), l.rows.to_string()]),
            );
            output::table(
                ["stage", "state", "count"],
                waiting.into_iter().map(|(stage, state, n)| [stage, state, n.to_string()]),
            );
        }
        return Ok(());
    };
    let id: Option<SubmissionId> = match which.parse::<ReferenceNumber>() {
        Ok(reference) => submissions::by_reference(&mut conn, &reference).await?,
        Err(_) => which.parse().ok(),
    };
    let found = match &id {
        Some(id) => submissions::get(&mut conn, id).await?,
        None => None,
    };
    let found = found.ok_or_else(|| CliError::Usage("there is no submission of that reference number or id".into()))?;
    let view = view::of_submission(&mut conn, found, view::Eyes::All).await?;
    if common.json {
        output::json(&view)
    } else {
        super::submit::show(&view)
    }
    Ok(())
}

async fn dead_letters(environment: &Environment, common: &Common) -> Result<(), CliError> {
    let db = open_db(&environment.settings(common.data.as_deref())?).await?;
    let mut conn = db.read().await?;
    let letters = work::dead_letters(&mut conn, None, 10_000).await?;
    if common.json {
        output::json(&letters);
    } else {
        let row = |w: WorkRow| {
            [w.subject, w.stage, w.attempts.to_string(), w.created_at.to_string(), w.reason.unwrap_or_default()]
        };
        output::table(["subject", "stage", "tries", "since", "reason"], letters.into_iter().map(row));
    }
    Ok(())
}

async fn replay(db: &Db, which: &[String], all: bool) -> Result<(), CliError> {
    let ctx = Context::system();
    let stamp = Stamp { ctx: &ctx, actor: ACTOR };
    let chosen: Vec<(String, String)> = if all {
        let mut conn = db.read().await?;
        work::dead_letters(&mut conn, None, i64::from(i32::MAX))
            .await?
            .into_iter()
            .map(|w| (w.subject, w.stage))
            .collect()
    } else {
        which.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    };
    for (subject, stage) in &chosen {
        review::replay(db, stamp, subject, stage).await?;
    }
    println!("{} set to work again", chosen.len());
    Ok(())
}

async fn audit_verify(environment: &Environment, common: &Common) -> Result<(), CliError> {
    let settings = environment.settings(common.data.as_deref())?;
    let report = app::verify_audit(&settings).await?;
    if common.json {
        output::json(&report);
    } else {
        println!("{} events, up to {}; {} wait to be sealed", report.events, report.head, report.waiting);
        match &report.fault {
            None => println!("the log is whole"),
            Some(fault) => println!("{fault}"),
        }
    }
    if report.fault.is_none() { Ok(()) } else { Err(CliError::No) }
}

async fn count_ledger(environment: &Environment, common: &Common) -> Result<(), CliError> {
    let settings = environment.settings(common.data.as_deref())?;
    let db = open_db(&settings).await?;
    let store = objects::open(&settings.objects_options()).await.map_err(app::StartError::from)?;
    let counted = {
        let mut conn = db.read().await?;
        ledger::count(&mut conn).await?
    };
    let places = crate::intake::reconcile::compare_content(&db, store.as_ref())
        .await
        .map_err(|error| CliError::Usage(error.to_string()))?;
    let missing: i64 = places.values().map(|(missing, unknown)| missing.abs() + unknown).sum();
    let difference = counted.difference + missing;
    if common.json {
        output::json(&json!({ "ledger": counted, "objects": places, "difference": difference }));
    } else {
        output::table(
            ["of", "state", "rows", "posted"],
            counted
                .lines
                .iter()
                .filter(|l| l.rows != 0 || l.posted != 0)
                .map(|l| [l.kind.to_string(), l.state.clone(), l.rows.to_string(), l.posted.to_string()]),
        );
        println!(
            "receipts {}, accepted rows {}, acceptances posted {}",
            counted.receipts, counted.accepted_rows, counted.accepted_postings
        );
        output::ledger_of_letters(&counted);
        for (place, (missing, unknown)) in &places {
            println!("{place}: {missing} rows without object, {unknown} objects without row");
        }
        println!("difference {difference}");
    }
    if difference == 0 { Ok(()) } else { Err(CliError::No) }
}
