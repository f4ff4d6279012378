//! Digests, from notifications to mails that a relay has, beside Postfix's `smtp-source`, which hands as many messages of
//! the same length to the same `smtp-sink` and keeps no account of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::peak_rss_bytes;
use crate::app::{open_digests, open_mail, open_renderer};
use crate::cli::{CliError, Environment, output};
use crate::db::digest_mails::{self, Which};
use crate::db::digest_runs::{self, NewRun, Run};
use crate::db::fill::digests::{self as made, Size};
use crate::db::{Db, DbError, Stamp, fill, schedules};
use crate::digests::Digests;
use crate::digests::send::Sender;
use crate::engine::sequencer::AuditKey;
use crate::model::digest::{Cadence, MailState, RunKind, RunState};
use crate::model::ids::{MailId, RunId};
use crate::outside::context::Context;
use crate::outside::mailer::receiver::Receiver;
use crate::outside::mailer::{MailOptions, RelayOptions};
use crate::settings::Settings;

/// The brand whose mails are made.
const BRAND: &str = "meridian";
/// Who sends, to both sides.
const FROM: &str = "notices@mail.example";
/// Mails that are looked at one by one.
const CHECKED: i64 = 2_000;
/// How often both sides take turns.
const TURNS: i64 = 2;
/// Connections that wait to be taken by smtp-sink.
const BACKLOG: &str = "1000";
/// How long smtp-sink is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How digests are measured.
#[derive(clap::Args)]
pub(in crate::cli) struct DigestsArgs {
    /// Users; each has four practices, eight choices and two letters.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(i64).range(50..=10_000_000))]
    users: i64,
    /// An empty database. Else SQLite in a temporary directory.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Connections to the relay, of both sides.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=250))]
    connections: u16,
    /// Mails that are handed over; the others stay planned.
    #[arg(long, value_name = "M", default_value_t = 50_000, value_parser = clap::value_parser!(i64).range(20..=10_000_000))]
    send_at_most: i64,
    /// Print JSON with stable field names.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Figures {
    users: i64,
    tins: i64,
    choices: i64,
    letters: i64,
    notifications: u64,
    fan_out_per_s: f64,
    /// One per user, practice and kind.
    planned_items: i64,
    planned_items_per_s: f64,
    mails: i64,
    /// Mails that smtp-sink was handed, and accepted.
    sent: i64,
    messages_per_s: f64,
    /// A connection for each message, as smtp-source does unless it is told otherwise.
    smtp_source_messages_per_s: f64,
    ratio: f64,
    /// The same with connections that are kept.
    smtp_source_kept_messages_per_s: f64,
    /// Mails that were looked at one by one, by their Message-IDs.
    checked: i64,
    /// Copies beyond the first; of all others, messages that smtp-sink counted beyond those that are accepted.
    duplicates: i64,
    /// Accepted and not arrived.
    misses: i64,
    peak_rss_bytes: u64,
}

/// Measures, and answers no when a mail was sent twice or not at all.
pub(super) async fn run(args: DigestsArgs, environment: &Environment) -> Result<(), CliError> {
    let programs = Programs::find(environment)?;
    let scratch = crate::cli::scratch()?;
    let mut settings = environment.settings(Some(scratch.path()))?;
    // one whose name and colours are there
    settings.brand = BRAND.parse()?;
    let size = Size { users: args.users };
    let own = || format!("sqlite:{}", scratch.path().join("digests.db").display());
    let db = Db::open(&args.database.clone().unwrap_or_else(own)).await?;
    db.migrate().await?;
    let ctx = Context::system();
    let bar = super::lists::bar("users and letters", size.users + size.letters());
    made::fill(&db, ctx.now(), &settings.brand, size, |n| bar.set_position(n.unsigned_abs())).await?;
    bar.finish_and_clear();

    let bar = super::lists::bar("letters with notifications", size.letters());
    let began = Instant::now();
    let notifications = made::fan_out(&db, size, |n| bar.set_position(n.unsigned_abs())).await?;
    let fan_out_s = began.elapsed().as_secs_f64();
    bar.finish_and_clear();
    fill::settle(&db).await?;

    let digests = at_once(open_digests(&settings, db.clone(), ctx)?);
    let id = open_run(&digests, &settings).await?;
    let began = Instant::now();
    while digests.plan_step().await? {}
    let planned_s = began.elapsed().as_secs_f64();
    let run = digest_runs::get(&mut *db.read().await?, &id).await?.ok_or_else(|| unfit("there is no run"))?;
    fill::settle(&db).await?;

    let checked = check(&digests, &settings, &run, scratch.path(), &args).await?;
    let sent = hand_over(&digests, &settings, &run, &programs, &args, &checked).await?;
    db.close().await;
    let figures = Figures {
        users: size.users,
        tins: size.tins(),
        choices: size.choices(),
        letters: size.letters(),
        notifications,
        fan_out_per_s: float(i64::try_from(notifications).unwrap_or(i64::MAX)) / fan_out_s,
        planned_items: run.counts.items,
        planned_items_per_s: float(run.counts.items) / planned_s,
        mails: run.counts.mails,
        sent: sent.accepted,
        messages_per_s: sent.ours,
        smtp_source_messages_per_s: sent.source,
        ratio: sent.ours / sent.source,
        smtp_source_kept_messages_per_s: sent.kept,
        checked: checked.accepted,
        duplicates: checked.duplicates + (sent.counted - sent.accepted).max(0),
        misses: checked.misses + (sent.accepted - sent.counted).max(0),
        peak_rss_bytes: peak_rss_bytes(),
    };
    if args.json {
        output::json(&figures)
    } else {
        print(&figures)
    }
    if figures.duplicates + figures.misses > 0 { Err(CliError::No) } else { Ok(()) }
}

fn print(figures: &Figures) {
    let Figures { users, tins, choices, letters, notifications, mails, sent, checked, .. } = figures;
    println!("{users} users, {tins} practices, {choices} choices, {letters} letters, {notifications} notifications");
    println!("fan-out      {:10.0} notifications/s", figures.fan_out_per_s);
    println!(
        "planning     {:10.0} items/s: {} items, {mails} mails",
        figures.planned_items_per_s, figures.planned_items
    );
    println!("sending      {:10.0} messages/s, of {sent}", figures.messages_per_s);
    println!(
        "smtp-source  {:10.0} messages/s, {:.0} where connections are kept",
        figures.smtp_source_messages_per_s, figures.smtp_source_kept_messages_per_s
    );
    println!(
        "ratio {:.2}; of {checked} mails looked at one by one and {sent} counted, {} came twice and {} not; peak memory {}",
        figures.ratio,
        figures.duplicates,
        figures.misses,
        output::bytes(figures.peak_rss_bytes)
    );
}

#[expect(clippy::cast_precision_loss, reason = "a figure for reading")]
fn float(n: i64) -> f64 {
    n as f64
}

fn unfit(what: &str) -> CliError {
    CliError::Usage(what.to_owned())
}

/// Digests whose mails are not spread.
fn at_once(digests: Digests) -> Digests {
    let mut plan = (*digests.plan).clone();
    plan.schedules.daily.spread_minutes = 0;
    plan.schedules.weekly.spread_minutes = 0;
    Digests { plan: Arc::new(plan), ..digests }
}

/// An extra run for all who want any digest.
async fn open_run(digests: &Digests, settings: &Settings) -> Result<RunId, CliError> {
    digests.make_schedules().await?;
    let now = digests.ctx.now();
    let day = now.to_zoned(digests.calendar.zone().clone()).date();
    let mut tx = digests.db.begin().await?;
    let schedule = schedules::by_name(&mut tx, &format!("{}-{}", settings.brand, Cadence::Daily)).await?;
    let new = NewRun {
        schedule: &schedule.ok_or_else(|| unfit("there is no schedule"))?,
        kind: RunKind::Extra,
        period: &day.to_string(),
        day,
        state: RunState::Planning,
        reason: None,
        serves: &BTreeSet::from([Cadence::Daily, Cadence::Weekly]),
        due_at: now,
    };
    let id = digest_runs::open(&mut tx, Stamp { ctx: &digests.ctx, actor: "made" }, &new).await?;
    tx.commit().await.map_err(DbError::from)?;
    id.ok_or_else(|| unfit("the run could not be opened"))
}

/// A sender to this port, as a node has it.
fn sender(digests: &Digests, settings: &Settings, port: u16, connections: u16) -> Result<Sender, CliError> {
    let relay = RelayOptions { connections, ..RelayOptions::plain("127.0.0.1", port) };
    let options = MailOptions {
        relays: vec![relay],
        hello: "lettercase.localhost".into(),
        from: FROM.into(),
        from_name: None,
        portal: None,
        public_url: "https://letters.example".into(),
        return_path: None,
        returns: None,
        dkim: None,
        brands: BTreeMap::default(),
    };
    let settings = Settings { mail: Some(options), ..settings.clone() };
    let renderer = open_renderer(settings.config_dir.as_deref())?;
    let key = AuditKey([7; 32]);
    let mail = open_mail(&settings, &digests.plan, &renderer, &key, &digests.ctx)?;
    let mail = mail.ok_or_else(|| unfit("there is no relay"))?;
    Ok(Sender::new(Digests { mail: Some(mail.clone()), ..digests.clone() }, mail))
}

/// What came of the mails that were looked at one by one.
struct Checked {
    accepted: i64,
    duplicates: i64,
    misses: i64,
    /// Of a mail, on average.
    bytes: i64,
}

/// Hands some mails to a receiver that keeps them, and compares those with the rows.
async fn check(
    digests: &Digests,
    settings: &Settings,
    run: &Run,
    scratch: &Path,
    args: &DigestsArgs,
) -> Result<Checked, CliError> {
    let dir = scratch.join("mails");
    let at_dir = |error| CliError::File(dir.clone(), error);
    let receiver = Receiver::start(&dir).await.map_err(at_dir)?;
    let sender = sender(digests, settings, receiver.address().port(), args.connections)?;
    let most = CHECKED.min(run.counts.mails / 2);
    sender.send_some(usize::try_from(most).unwrap_or_default()).await?;
    let mut arrived: BTreeMap<Option<MailId>, i64> = BTreeMap::new();
    let (mut files, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(&dir).map_err(at_dir)? {
        let text = std::fs::read(entry.map_err(at_dir)?.path()).map_err(at_dir)?;
        files += 1;
        bytes += text.len();
        let text = String::from_utf8_lossy(&text);
        let id = text.lines().find_map(|line| line.strip_prefix("Message-ID: "));
        *arrived.entry(id.and_then(|id| sender.mail.composer.returned(id))).or_default() += 1;
    }
    let mut accepted = BTreeSet::new();
    let which = Which::RunIn(run.id.clone(), MailState::Accepted);
    let mut conn = digests.db.read().await?;
    loop {
        let page = digest_mails::list(&mut conn, &which, accepted.last(), 500).await?;
        if page.is_empty() {
            break;
        }
        accepted.extend(page.into_iter().map(|mail| mail.id));
    }
    if accepted.is_empty() {
        return Err(unfit("the receiver took no mail"));
    }
    // one that is of no mail, or of one that is not accepted, may go again
    let due = |id: &Option<MailId>| i64::from(id.as_ref().is_some_and(|id| accepted.contains(id)));
    Ok(Checked {
        accepted: i64::try_from(accepted.len()).unwrap_or(i64::MAX),
        duplicates: arrived.iter().map(|(id, copies)| copies - due(id)).sum(),
        misses: accepted.iter().map(|id| i64::from(!arrived.contains_key(&Some(id.clone())))).sum(),
        bytes: i64::try_from(bytes / std::cmp::max(files, 1)).unwrap_or(i64::MAX),
    })
}

/// What came of the others: the better of the turns, per second.
#[derive(Default)]
struct Sent {
    accepted: i64,
    /// By smtp-sink.
    counted: i64,
    ours: f64,
    source: f64,
    kept: f64,
}

async fn hand_over(
    digests: &Digests,
    settings: &Settings,
    run: &Run,
    programs: &Programs,
    args: &DigestsArgs,
    checked: &Checked,
) -> Result<Sent, CliError> {
    let sink = Sink::start(programs).await?;
    let relay = format!("127.0.0.1:{}", sink.port);
    let sender = sender(digests, settings, sink.port, args.connections)?;
    let each = args.send_at_most.min(run.counts.mails - checked.accepted) / TURNS;
    let mut sent = Sent::default();
    for _ in 0..TURNS {
        let (before, counted) = (made::accepted(&digests.db, &run.id, &relay).await?, sink.settled().await);
        let began = Instant::now();
        sender.send_some(usize::try_from(each).unwrap_or_default()).await?;
        let took_s = began.elapsed().as_secs_f64();
        let accepted = made::accepted(&digests.db, &run.id, &relay).await? - before;
        sent.accepted += accepted;
        sent.counted += sink.settled().await - counted;
        sent.ours = sent.ours.max(float(accepted) / took_s);
        let peer = |kept| programs.source(args.connections, each, checked.bytes, &relay, kept);
        sent.source = sent.source.max(float(each) / tokio::task::block_in_place(|| peer(false))?);
        sent.kept = sent.kept.max(float(each) / tokio::task::block_in_place(|| peer(true))?);
    }
    sender.mail.relays.close().await;
    Ok(sent)
}

/// Postfix's.
struct Programs {
    sink: PathBuf,
    source: PathBuf,
}

impl Programs {
    fn find(environment: &Environment) -> Result<Self, CliError> {
        let search = environment.variables.get("PATH").cloned().unwrap_or_default();
        let find = |name: &str| {
            std::iter::once(PathBuf::from(".tools/bin"))
                .chain(std::env::split_paths(&search))
                .chain(["/usr/sbin".into()])
                .map(|dir| dir.join(name))
                .find(|path| path.is_file())
                .ok_or_else(|| CliError::Usage(format!("{name} is not in PATH; scripts/tools-postfix.sh gets it")))
        };
        Ok(Self { sink: find("smtp-sink")?, source: find("smtp-source")? })
    }

    /// Seconds that smtp-source takes.
    fn source(&self, connections: u16, messages: i64, bytes: i64, to: &str, kept: bool) -> Result<f64, CliError> {
        let began = Instant::now();
        let status = Command::new(&self.source)
            .args(kept.then_some("-d"))
            .args(["-s", &connections.to_string(), "-m", &messages.to_string(), "-l", &bytes.to_string()])
            .args(["-f", FROM, "-t", "reader@practice.example", to])
            .stdout(Stdio::null())
            .status()
            .map_err(CliError::at(&self.source))?;
        let took = began.elapsed().as_secs_f64();
        if status.success() { Ok(took) } else { Err(unfit("smtp-source failed")) }
    }
}

/// smtp-sink, as long as it is kept.
struct Sink {
    child: Child,
    port: u16,
    /// Messages that it took.
    messages: Arc<AtomicI64>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sink {
    async fn start(programs: &Programs) -> Result<Self, CliError> {
        let at_sink = |error| CliError::File(programs.sink.clone(), error);
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr());
        let port = port.map_err(at_sink)?.port();
        // where root runs it, it wants to be told whom to become
        let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let mut child = Command::new(&programs.sink)
            .args(if root { &["-u", "nobody"][..] } else { &[] })
            .args(["-c", &format!("127.0.0.1:{port}"), BACKLOG])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(at_sink)?;
        let messages = Arc::new(AtomicI64::new(0));
        if let Some(mut said) = child.stdout.take() {
            let messages = messages.clone();
            std::thread::spawn(move || {
                let mut part = [0; 1 << 16];
                let mut line = Vec::new();
                while let Ok(n @ 1..) = said.read(&mut part) {
                    line.extend_from_slice(part.get(..n).unwrap_or_default());
                    // sess=1 quit=1 mesg=1 max_sess=1, over and over on one line
                    if let Some(end) = line.iter().rposition(|byte| *byte == b'\r') {
                        let whole: Vec<u8> = line.drain(..=end).collect();
                        let whole = String::from_utf8_lossy(&whole);
                        let last = whole.rsplit("mesg=").next().unwrap_or_default();
                        if let Some(Ok(n)) = last.split_whitespace().next().map(str::parse) {
                            messages.store(n, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        let sink = Self { child, port, messages };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if began.elapsed() > PATIENCE {
                return Err(unfit("smtp-sink does not listen"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(sink)
    }

    /// Messages that it took, when nothing comes any more.
    async fn settled(&self) -> i64 {
        loop {
            let before = self.messages.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(300)).await;
            let after = self.messages.load(Ordering::Relaxed);
            if before == after {
                return after;
            }
        }
    }
}
