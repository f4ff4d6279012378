//! The lists, with few documents and with many: a page must cost the same. Both databases are there at once and asked in
//! turn, so that what else the machine does meets both.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::inbox::{self, Inbox, Who};
use crate::cli::CliError;
use crate::cli::output;
use crate::db::submissions::Filter as Submissions;
use crate::db::tasks::{self, Filter as Tasks};
use crate::db::work::GiveBack;
use crate::db::{Db, DbError, Stamp, documents, events, fill, submissions, work};
use crate::model::access::Mode;
use crate::model::ids::{DocumentId, Tin};
use crate::outside::context::Context;

/// Documents of the database that is compared with.
const FEW: i64 = 10_000;
/// Rows of a page, and one more that tells whether there is a next.
const PAGE: i64 = 51;
/// Events of a page of a history.
const EVENTS: i64 = 500;
/// Requests of each list before those that are measured.
const WARMING: usize = 20;
/// A ratio above this is more than the lists may have.
const ALLOWED: f64 = 2.0;
/// How long an item or a piece of work is taken for.
const LEASE: Duration = Duration::from_secs(60);
/// A day in microseconds.
const DAY: i64 = 86_400_000_000;

/// How the lists are measured.
#[derive(clap::Args)]
pub(in crate::cli) struct ListsArgs {
    /// Documents of the larger database.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(i64).range(FEW..=100_000_000))]
    documents: i64,
    /// Those databases hold already what an earlier run put into them.
    #[arg(long, requires = "database")]
    filled: bool,
    /// Messages of the larger database.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(i64).range(FEW..=100_000_000))]
    messages: i64,
    /// Only the lists whose names begin so.
    #[arg(long, value_name = "NAME", default_value = "")]
    only: String,
    /// Requests of each list.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    requests: u32,
    /// Two empty databases, given one after the other: the smaller and the larger. Else SQLite in a temporary directory.
    #[arg(long, value_name = "URL", num_args = 2, value_names = ["SMALLER", "LARGER"])]
    database: Vec<String>,
    /// Print JSON with stable field names.
    #[arg(long)]
    json: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
enum List {
    /// The queue from its beginning.
    QueueFirst,
    /// The queue from a random place.
    QueuePage,
    /// How much is in the queue.
    QueueCounts,
    /// Taking the next item of the queue.
    QueueNext,
    /// Somebody's newest submissions.
    OwnerFirst,
    /// Somebody's submissions from a random place.
    OwnerPage,
    /// A practice's submissions from a random place.
    TinPage,
    /// The history of a submission.
    History,
    /// The documents of a submission.
    Documents,
    /// The documents on a case.
    Case,
    /// The audit log of a document.
    Audit,
    /// Taking work.
    WorkClaim,
    /// When the next work is due.
    WorkDue,
    /// Of the Messaging Center.
    Inbox(Who, Inbox),
}

/// All of them, by the names they are printed under.
const LISTS: &[(&str, List)] = &[
    ("queue_first_page", List::QueueFirst),
    ("queue_page", List::QueuePage),
    ("queue_counts", List::QueueCounts),
    ("queue_next", List::QueueNext),
    ("submissions_first_page", List::OwnerFirst),
    ("submissions_page", List::OwnerPage),
    ("submissions_of_tin_page", List::TinPage),
    ("history", List::History),
    ("documents_of_submission", List::Documents),
    ("documents_of_case", List::Case),
    ("audit_of_subject", List::Audit),
    ("work_claim", List::WorkClaim),
    ("work_next_due", List::WorkDue),
];

#[derive(Serialize)]
struct Figures {
    few_documents: i64,
    many_documents: i64,
    few_messages: i64,
    many_messages: i64,
    requests: u32,
    lists: Vec<Measured>,
    worst_p99_ratio: f64,
    allowed_p99_ratio: f64,
}

#[derive(Serialize)]
struct Measured {
    list: &'static str,
    few_p50_us: f64,
    few_p99_us: f64,
    many_p50_us: f64,
    many_p99_us: f64,
    p50_ratio: f64,
    p99_ratio: f64,
    /// Whether the ratio may be no more than allowed. What goes by how much a user has, up to a bound, is only told.
    held: bool,
}

/// A database with its documents.
struct Side {
    db: Db,
    documents: i64,
    messages: i64,
    now: Timestamp,
    took: Vec<f64>,
}

/// Measures, and answers no when a list is slower than it may be.
pub(super) async fn run(args: ListsArgs) -> Result<(), CliError> {
    let scratch = crate::cli::scratch()?;
    let addresses = match args.database.as_slice() {
        [few, many] => [few.clone(), many.clone()],
        _ => ["few.db", "many.db"].map(|name| format!("sqlite:{}", scratch.path().join(name).display())),
    };
    let ctx = Context::system();
    let now = ctx.now();
    let [few, many] = addresses;
    let mut sides = Vec::new();
    for (address, documents, messages) in [(few, FEW, FEW), (many, args.documents, args.messages)] {
        let db = Db::open(&address).await?;
        db.migrate().await?;
        if !args.filled {
            let bar = self::bar("documents", documents);
            fill::fill(&db, now, documents, |made| bar.set_position(made.unsigned_abs())).await?;
            bar.finish_and_clear();
            let bar = self::bar("messages", messages);
            fill::messages::fill(&db, now, messages, |made| bar.set_position(made.unsigned_abs())).await?;
            bar.finish_and_clear();
            fill::settle(&db).await?;
        }
        sides.push(Side { db, documents, messages, now, took: Vec::new() });
    }
    let all = LISTS.iter().copied().chain(inbox::LISTS.iter().map(|(name, who, of)| (*name, List::Inbox(*who, *of))));
    let mut lists = Vec::new();
    for list in all.filter(|(name, _)| name.starts_with(&args.only)) {
        lists.push(measure(list, &mut sides, &ctx, args.requests).await?);
    }
    for side in &sides {
        side.db.close().await;
    }
    let worst = lists.iter().filter(|list| list.held).map(|list| list.p99_ratio).fold(0.0, f64::max);
    let figures = Figures {
        few_documents: FEW,
        many_documents: args.documents,
        few_messages: FEW,
        many_messages: args.messages,
        requests: args.requests,
        lists,
        worst_p99_ratio: worst,
        allowed_p99_ratio: ALLOWED,
    };
    if args.json {
        output::json(&figures);
    } else {
        print(&figures);
    }
    if worst > ALLOWED { Err(CliError::No) } else { Ok(()) }
}

pub(super) fn bar(what: &str, all: i64) -> indicatif::ProgressBar {
    let template = format!("filling {{human_pos}}/{{human_len}} {what}, {{elapsed}}");
    indicatif::ProgressBar::new(all.unsigned_abs()).with_style(
        indicatif::ProgressStyle::with_template(&template).unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()),
    )
}

fn print(figures: &Figures) {
    println!(
        "{} and {} documents, {} and {} messages, {} requests of each list; microseconds",
        figures.few_documents, figures.many_documents, figures.few_messages, figures.many_messages, figures.requests
    );
    let rows = figures.lists.iter().map(|list| {
        [
            list.list.to_string(),
            format!("{:.0}", list.few_p50_us),
            format!("{:.0}", list.many_p50_us),
            format!("{:.2}", list.p50_ratio),
            format!("{:.0}", list.few_p99_us),
            format!("{:.0}", list.many_p99_us),
            format!("{:.2}{}", list.p99_ratio, if list.held { "" } else { " (not held)" }),
        ]
    });
    output::table(["list", "p50 few", "p50 many", "ratio", "p99 few", "p99 many", "ratio"], rows);
    println!("worst ratio of p99: {:.2} (allowed {:.1})", figures.worst_p99_ratio, figures.allowed_p99_ratio);
}

async fn measure(
    (name, list): (&'static str, List),
    sides: &mut [Side],
    ctx: &Context,
    requests: u32,
) -> Result<Measured, CliError> {
    for side in sides.iter_mut() {
        side.took.clear();
    }
    for round in 0..WARMING + requests as usize {
        // who goes first has no advantage over all
        let mut order: Vec<&mut Side> = sides.iter_mut().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for side in order {
            let took = ask(list, side, ctx).await?;
            if round >= WARMING {
                side.took.push(took.as_secs_f64() * 1e6);
            }
        }
    }
    let mut of = sides.iter_mut().map(|side| {
        side.took.sort_unstable_by(f64::total_cmp);
        let part = |percent: usize| side.took.get(side.took.len() * percent / 100).copied().unwrap_or_default();
        (part(50), part(99))
    });
    let (few_p50_us, few_p99_us) = of.next().unwrap_or_default();
    let (many_p50_us, many_p99_us) = of.next().unwrap_or_default();
    Ok(Measured {
        list: name,
        few_p50_us,
        few_p99_us,
        many_p50_us,
        many_p99_us,
        p50_ratio: many_p50_us / few_p50_us,
        p99_ratio: many_p99_us / few_p99_us,
        held: !matches!(list, List::Inbox(_, of) if of.goes_by_what_is_there()),
    })
}

/// A random number below `end`.
pub(super) fn any(ctx: &Context, end: i64) -> i64 {
    i64::try_from(ctx.random_bits() % end.max(1).unsigned_abs()).unwrap_or_default()
}

/// One request; what it takes includes getting a connection. What it must not take are answers without rows.
async fn ask(list: List, side: &Side, ctx: &Context) -> Result<Duration, CliError> {
    let Side { db, documents, now, .. } = side;
    let (documents, now) = (*documents, *now);
    let submission = any(ctx, documents / fill::PER_SUBMISSION);
    let document: DocumentId = fill::document_id(any(ctx, documents)).parse()?;
    // from the whole of the time, but for what is less than a page
    let opened = fill::opened_at(now, submission.max(PAGE * fill::TINS));
    let stamp = Stamp { ctx, actor: "made" };
    let queue = Tasks { mode: Mode::Live, kind: None, brand: None, sensitive: false };
    let began = Instant::now();
    let found = match list {
        List::QueueFirst => tasks::list(&mut *db.read().await?, now, queue, None, PAGE).await?.len(),
        List::QueuePage => {
            let deadline = now.as_microsecond() - 10 * DAY + any(ctx, 16 * DAY);
            tasks::list(&mut *db.read().await?, now, queue, Some((deadline, &document)), PAGE).await?.len()
        }
        List::QueueCounts => {
            let soon = Timestamp::from_microsecond(now.as_microsecond() + DAY).unwrap_or(now);
            tasks::counts(&mut *db.read().await?, now, soon, queue).await?.len()
        }
        List::QueueNext => {
            let taken = tasks::claim_next(db, stamp, queue, LEASE).await?;
            let took = began.elapsed();
            let lease = taken.ok_or_else(nothing)?;
            let mut tx = db.begin().await?;
            tasks::release(&mut tx, stamp, &lease.document_id, &lease.token).await?;
            tx.commit().await.map_err(DbError::from)?;
            return Ok(took);
        }
        List::OwnerFirst => of(db, Submissions::Owner(&fill::owner(submission)), None).await?,
        List::OwnerPage => of(db, Submissions::Owner(&fill::owner(submission)), Some((opened, ""))).await?,
        List::TinPage => {
            let tin: Tin = fill::tin(submission).parse()?;
            of(db, Submissions::Tin(&tin), Some((opened, ""))).await?
        }
        List::History => {
            let id = fill::submission_id(submission);
            events::of_submission(&mut *db.read().await?, &id, 0, EVENTS).await?.len()
        }
        List::Documents => {
            let id = fill::submission_id(submission).parse()?;
            documents::of_submission(&mut *db.read().await?, &id).await?.len()
        }
        List::Case => {
            let id = fill::case_id(any(ctx, documents / fill::PER_CASE)).parse()?;
            documents::of_case(&mut *db.read().await?, &id, None, PAGE).await?.len()
        }
        List::Audit => {
            let search = events::Search { subject: Some(document.as_str()), ..events::Search::default() };
            events::search(&mut *db.read().await?, search, None, PAGE).await?.len()
        }
        List::WorkClaim => {
            let claims = work::claim(db, stamp, fill::STAGE, "made", LEASE, 10).await?;
            let took = began.elapsed();
            let mut tx = db.begin().await?;
            for claim in &claims {
                work::give_back(&mut tx, claim, stamp.now(), GiveBack::NotTried, "made").await?;
            }
            tx.commit().await.map_err(DbError::from)?;
            return if claims.is_empty() { Err(nothing()) } else { Ok(took) };
        }
        List::Inbox(who, of) => return inbox::ask((who, of), db, (side.messages, now), ctx).await,
        List::WorkDue => usize::from(work::next_due(&mut *db.read().await?, fill::STAGE).await?.is_some()),
    };
    let took = began.elapsed();
    if found == 0 { Err(nothing()) } else { Ok(took) }
}

async fn of(db: &Db, filter: Submissions<'_>, before: Option<(i64, &str)>) -> Result<usize, DbError> {
    Ok(submissions::list(&mut *db.read().await?, filter, before, PAGE).await?.len())
}

pub(super) fn nothing() -> CliError {
    CliError::Usage("a list was empty: the databases do not hold what was made".into())
}
