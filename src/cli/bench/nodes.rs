//! What several nodes do of a backlog in the time: `work` processes of this program over one PostgreSQL database, one
//! clamd and one store on this machine. How many nodes help is said beside what the processors did meanwhile: where
//! they were busy, a further node takes from the others.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use jiff::ToSpan as _;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::json;

use super::intake::prepare;
use super::lists::bar;
use super::processors::{Processors, Shares};
use super::reference::{ACTOR, BRAND, MEMBER, TIN, claim_number, load_reference};
use crate::app::{App, open_scanner, own_exe};
use crate::cli::{CliError, Environment, output};
use crate::db::letters::{self, Addressee, NewLetter};
use crate::db::{Db, DbError, Stamp, events, fill, work};
use crate::intake::plan::IntakePlan;
use crate::intake::receive::{Arriving, Destination};
use crate::intake::submit::NewSubmission;
use crate::model::case::CaseKind;
use crate::model::document::{Channel, FileName};
use crate::model::letter::stage::COMPOSE;
use crate::model::letter::{Circumstances, LetterType};
use crate::model::phi::Phi;
use crate::model::submission::Said;
use crate::outside::context::Context;
use crate::outside::objects::{FilesOptions, ObjectsOptions};
use crate::settings::{Secret, Settings};

/// Files of a submission.
const TOGETHER: usize = 10;
/// How long a backlog is waited for.
const PATIENCE: Duration = Duration::from_secs(3_600);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How nodes are measured.
#[derive(clap::Args)]
pub(in crate::cli) struct NodesArgs {
    /// An empty PostgreSQL database.
    #[arg(long, value_name = "URL")]
    database: String,
    /// How many nodes work, one turn for each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4])]
    nodes: Vec<u16>,
    /// Documents of a turn, of 4 KB each.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    documents: u32,
    /// Made documents that the database has before.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=100_000_000))]
    filled: i64,
    /// Letters of a turn.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    letters: u32,
    /// Print JSON with stable field names.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Backlog {
    per_s: f64,
    processors: Shares,
}

#[derive(Serialize)]
struct Turn {
    nodes: u16,
    documents: Backlog,
    letters: Backlog,
}

#[derive(Serialize)]
struct Figures {
    cores: usize,
    documents: u32,
    letters: u32,
    turns: Vec<Turn>,
}

pub(super) async fn run(args: NodesArgs, environment: &Environment) -> Result<(), CliError> {
    let scratch = crate::cli::scratch()?;
    let (app, variables) = installation(&args, environment, scratch.path()).await?;
    let mut turns = Vec::new();
    for nodes in &args.nodes {
        let run = |what: &str| format!("{what}, {nodes} nodes");
        put_documents(&app, args.documents, *nodes).await?;
        let documents = drained(&app, &variables, scratch.path(), *nodes, &run("documents"), args.documents).await?;
        put_letters(&app, args.letters, *nodes).await?;
        let letters = drained(&app, &variables, scratch.path(), *nodes, &run("letters"), args.letters).await?;
        turns.push(Turn { nodes: *nodes, documents, letters });
    }
    app.shutdown().await;
    app.intake.db.close().await;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let figures = Figures { cores, documents: args.documents, letters: args.letters, turns };
    if args.json {
        output::json(&figures)
    } else {
        print(&figures)
    }
    Ok(())
}

fn print(figures: &Figures) {
    println!("{} documents and {} letters a turn, {} cores", figures.documents, figures.letters, figures.cores);
    println!("nodes                    per s   nodes   clamd postgres  others    idle");
    for turn in &figures.turns {
        for (what, backlog) in [("documents", &turn.documents), ("letters", &turn.letters)] {
            let [nodes, clamd, postgres, others, idle] = backlog.processors.percents();
            println!(
                "{:5} {what:12} {:12.1} {nodes:>7} {clamd:>7} {postgres:>8} {others:>7} {idle:>7}",
                turn.nodes, backlog.per_s
            );
        }
    }
}

/// An installation whose own engine stands still, and the variables its nodes are started with.
async fn installation(
    args: &NodesArgs,
    environment: &Environment,
    scratch: &Path,
) -> Result<(App, BTreeMap<String, String>), CliError> {
    let unfit = |what: &str| CliError::Usage(what.to_owned());
    let mut settings: Settings = environment.settings(Some(scratch))?;
    settings.brand = BRAND.parse()?;
    settings.scanner.allow_test_signatures = true;
    settings.database = Some(Secret(args.database.clone()));
    settings.node = "bench".into();
    settings.objects = Some(ObjectsOptions::Files(FilesOptions { root: scratch.join("objects") }));
    let key = scratch.join("audit.key");
    std::fs::write(&key, "17".repeat(32)).map_err(CliError::at(&key))?;
    settings.audit_key_file = Some(key.clone());
    if !settings.is_shared() {
        return Err(unfit("several nodes need a PostgreSQL database"));
    }
    prepare(&settings, args.filled).await?;
    let db = Db::open(&args.database).await?;
    let plan = IntakePlan::load(settings.config_dir.as_deref()).map_err(crate::app::StartError::from)?;
    let scanner = open_scanner(&settings, &plan.plan).await?;
    let socket = scanner.managed_socket().ok_or_else(|| unfit("the bench runs a clamd of its own"))?;
    let more = [
        ("LETTERCASE_BRAND", BRAND.to_owned()),
        ("LETTERCASE_DATABASE", args.database.clone()),
        ("LETTERCASE_AUDIT_KEY_FILE", key.display().to_string()),
        ("LETTERCASE_OBJECTS", format!("{{ kind = \"files\", root = \"{}\" }}", scratch.join("objects").display())),
        ("LETTERCASE_SCANNER__ALLOW_TEST_SIGNATURES", "true".to_owned()),
        ("LETTERCASE_SCANNER__RUN_BY", format!("{{ endpoints = [\"unix:{}\"] }}", socket.display())),
        ("LETTERCASE_LOG", "error".to_owned()),
    ];
    let mut variables = environment.variables.clone();
    variables.extend(more.map(|(name, value)| (name.to_owned(), value)));
    let app = App::assemble(settings, plan.plan, plan.hash, db, scanner, Context::system(), own_exe()?).await?;
    load_reference(&app.intake.db, &app.intake.ctx, 1).await?;
    Ok((app, variables))
}

/// Accepts documents, as a node that serves does, and sends their submissions.
async fn put_documents(app: &App, documents: u32, turn: u16) -> Result<(), CliError> {
    let bar = bar("documents", documents.into());
    let numbers: Vec<u32> = (0..documents).collect();
    stream::iter(numbers.chunks(TOGETHER).map(Ok::<_, CliError>))
        .try_for_each_concurrent(4, |numbers| {
            let bar = bar.clone();
            async move {
                let new = NewSubmission {
                    id: None,
                    owner: ACTOR.into(),
                    brand: BRAND.parse()?,
                    kind: CaseKind::Reconsideration,
                    said: Said { claim_number: Some(claim_number(1).parse()?), ..Said::default() },
                    channel: Channel::Upload,
                    sender_reference: None,
                    resubmits: None,
                };
                let submission = app.intake.open_submission(ACTOR, new).await.map_err(refused)?.id;
                for n in numbers {
                    let name = FileName::new(&format!("{turn}-{n}.txt"))
                        .map_err(|_| DbError::Unreadable { column: "name" })?;
                    let text = format!("Note {n} of turn {turn} on claim {}.\n", claim_number(1)).repeat(100);
                    let arriving = Arriving {
                        to: Destination::Submission(&submission),
                        document: None,
                        file_name: &name,
                        announced_bytes: None,
                        received_at: None,
                        actor: ACTOR,
                    };
                    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))]);
                    let taken = app.intake.receive(arriving, body).await;
                    taken.map_err(refused)?;
                    bar.inc(1);
                }
                app.intake.submit(ACTOR, &submission).await.map_err(refused)?;
                Ok(())
            }
        })
        .await?;
    bar.finish_and_clear();
    Ok(())
}

fn refused(error: impl std::fmt::Display) -> CliError {
    CliError::Usage(format!("what was made was not taken: {error}"))
}

/// Asks for letters.
async fn put_letters(app: &App, letters: u32, turn: u16) -> Result<(), CliError> {
    let ctx = &app.intake.ctx;
    let today = ctx.now().to_zoned(TimeZone::UTC).date();
    let details = json!({
        "decided_on": today,
        "lines": [{
            "service_on": "2026-06-11", "code": "99214", "description": "Office visit, established patient",
            "billed_cents": 21_500, "reason": "Sent too late",
        }],
        "denial": {
            "class": "administrative", "reason": "The claim came more than 180 days after the day of service.",
            "appeal_level": "first", "appeal_deadline": today.saturating_add(180.days()),
        },
    });
    let details = Phi(details.to_string());
    let claim = claim_number(1).parse()?;
    let mut tx = app.intake.db.begin().await?;
    for n in 0..letters {
        let new = NewLetter {
            id: &ctx.new_id().parse()?,
            brand: &BRAND.parse()?,
            letter_type: LetterType::ClaimDenied,
            asker: ACTOR,
            event_id: &format!("turn-{turn}-{n}"),
            addressee: Addressee::Tin(TIN.parse()?),
            tin: None,
            member_id: Some(&MEMBER.parse()?),
            claim_number: Some(&claim),
            case_id: None,
            details: &details,
            circumstances: &Circumstances::new(),
            supersedes: None,
        };
        letters::ask(&mut tx, Stamp { ctx, actor: ACTOR }, &new, COMPOSE).await?;
    }
    Ok(tx.commit().await.map_err(DbError::from)?)
}

/// Starts nodes, waits until the backlog is gone, and stops them.
async fn drained(
    app: &App,
    variables: &BTreeMap<String, String>,
    scratch: &Path,
    nodes: u16,
    what: &str,
    pieces: u32,
) -> Result<Backlog, CliError> {
    let clamd = app.intake.scanner.managed_pid();
    let (before, began) = (Processors::now(clamd), Instant::now());
    let mut running = Vec::new();
    for n in 0..nodes {
        running.push(start(variables, scratch, n)?);
    }
    let bar = bar(what, i64::from(pieces));
    let mut calm = 0;
    let mut took = began.elapsed();
    while calm < 5 {
        tokio::time::sleep(LOOK_EVERY).await;
        let left = left(&app.intake.db).await?;
        bar.set_position(u64::from(pieces).saturating_sub(left));
        if left > 0 {
            (calm, took) = (0, began.elapsed());
        } else {
            calm += 1;
        }
        for node in &mut running {
            if let Ok(Some(status)) = node.0.try_wait() {
                return Err(CliError::Usage(format!("a node ended by itself ({status})")));
            }
        }
        if began.elapsed() > PATIENCE {
            return Err(CliError::Usage(format!("{what}: {left} pieces of work are left")));
        }
    }
    let processors = Processors::now(clamd).since(&before);
    // nothing is left to do, and a node may be killed at any time; the next turn's have the same names and leases
    drop(running);
    bar.finish_and_clear();
    Ok(Backlog { per_s: f64::from(pieces) / took.as_secs_f64(), processors })
}

/// Pieces of work but for made ones, and events that nobody has read yet.
async fn left(db: &Db) -> Result<u64, DbError> {
    let mut conn = db.read().await?;
    let counts = work::counts(&mut conn).await?;
    let work: i64 = counts.iter().filter(|(stage, ..)| stage != fill::STAGE).map(|(_, _, n)| n).sum();
    let head = events::head(&mut conn).await?;
    let mut left = work + events::backlog(&mut conn).await?.0;
    for (_, position) in events::reader_positions(&mut conn).await? {
        left += i64::from(position < head);
    }
    Ok(left.unsigned_abs())
}

/// A node, which is killed when this is dropped.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(variables: &BTreeMap<String, String>, scratch: &Path, n: u16) -> Result<Node, CliError> {
    let exe = own_exe()?;
    let mut command = Command::new(&exe);
    command
        .env_clear()
        .envs(variables)
        .env("LETTERCASE_NODE", format!("work-{n}"))
        .env("LETTERCASE_DATA_DIR", scratch.join(format!("work-{n}")))
        .arg("work")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().map(Node).map_err(|error| CliError::File(exe, error))
}
