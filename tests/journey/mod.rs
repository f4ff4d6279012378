//! The intake journey, end to end, in a world of real components.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod cases;
mod drafts;
mod loads;
mod matching;
pub(crate) mod privacy;
mod receive;
mod reconcile;
mod scanning;
mod virus;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use lettercase::app::App;
use lettercase::db::{events, work};
use lettercase::http::api::view::SubmissionView;
use lettercase::intake::plan::IntakePlan;
use lettercase::intake::receive::{Arriving, Destination, Receipt, ReceiveError};
use lettercase::intake::submit::NewSubmission;
use lettercase::model::case::CaseKind;
use lettercase::model::document::{Channel, DocumentState, FileName};
use lettercase::model::event::Event;
use lettercase::model::ids::{DocumentId, SubmissionId};
use lettercase::model::submission::{Said, SubmissionState};
use lettercase::outside::context::Context;
use lettercase::outside::objects::Place;
use lettercase::outside::scanner::{Endpoint, Freshness, ScanPolicy, Scanner};

use crate::on_both;
use crate::support::{World, clamd_socket};

/// Another node of a world's installation, with a plan and a scanner of its own. The leases of the one before
/// have run out.
pub(crate) async fn node(world: &World, name: &str, plan: IntakePlan, scanner: Scanner) -> App {
    world.advance(Duration::from_secs(120));
    let mut settings = world.settings.clone();
    settings.node = name.to_owned();
    let exe = PathBuf::from(env!("CARGO_BIN_EXE_lettercase"));
    let context = Context::with_clock(world.clock.clone()).with_traces(world.spans.traces());
    App::assemble(settings, plan, "test".into(), world.db().clone(), scanner, context, exe).await.unwrap()
}

/// The world's own node, after another one worked.
pub(crate) async fn settle(world: &World) {
    world.advance(Duration::from_secs(120));
    world.settle().await;
}

/// A scanner where nobody listens.
pub(crate) fn no_scanner() -> Scanner {
    pool_of("unix:/nonexistent/clamd".parse().unwrap())
}

/// A pool of one endpoint, which is asked to look at no file over 1 MiB: its canaries are small, too.
pub(crate) fn pool_of(endpoint: Endpoint) -> Scanner {
    Scanner::pool(vec![endpoint], small_scans(), Freshness::TestSignaturesAllowed).unwrap()
}

/// What is asked of the scanners of a test's own.
pub(crate) fn small_scans() -> ScanPolicy {
    ScanPolicy { max_file_bytes: 1 << 20, max_scan_bytes: 3 << 20, ..crate::support::plan().scan }
}

/// The shared clamd as one that others run.
pub(crate) async fn shared_pool() -> Scanner {
    pool_of(format!("unix:{}", clamd_socket().await.display()).parse().unwrap())
}

/// Sends a file as a stream.
pub(crate) async fn send<S, E>(
    app: &App,
    to: &SubmissionId,
    name: &str,
    announced_bytes: Option<u64>,
    body: S,
) -> Result<Receipt, ReceiveError>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
{
    let file_name = FileName::new(name).unwrap();
    let arriving = Arriving {
        to: Destination::Submission(to),
        document: None,
        file_name: &file_name,
        announced_bytes,
        received_at: None,
        actor: "test",
    };
    app.intake.receive(arriving, body).await
}

/// What a refusal is, in a word.
pub(crate) fn refusal<T: std::fmt::Debug>(result: &Result<T, ReceiveError>) -> &str {
    match result {
        Ok(_) => "taken",
        Err(ReceiveError::Refused(reason)) => reason.code.as_str(),
        Err(ReceiveError::Closed { .. }) => "closed",
        Err(ReceiveError::TooSlow) => "too_slow",
        Err(ReceiveError::Broken) => "broken",
        Err(ReceiveError::NoSubmission) => "no_submission",
        Err(error) => panic!("a fault of ours: {error}"),
    }
}

/// The names of the objects in a place.
pub(crate) async fn objects_in(world: &World, place: Place) -> Vec<String> {
    let page = world.app.intake.objects.list(place, None, 1_000).await.unwrap();
    page.into_iter().map(|(name, _)| name).collect()
}

/// The one column of a query's rows, as text.
pub(crate) async fn texts(world: &World, query: &'static str) -> Vec<String> {
    use sqlx::Row;
    let mut conn = world.db().read().await.unwrap();
    let rows = sqlx::query(query).fetch_all(&mut *conn).await.unwrap();
    rows.iter().map(|row| row.try_get::<String, _>(0).unwrap()).collect()
}

/// Runs a statement behind the program's back.
pub(crate) async fn sql(world: &World, statement: &'static str) {
    let mut tx = world.db().begin().await.unwrap();
    sqlx::query(statement).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// The one figure `n` that a statement of the test's own answers.
pub(crate) async fn count(world: &World, statement: &str) -> usize {
    let mut tx = world.db().begin().await.unwrap();
    let row = sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).fetch_one(&mut *tx).await.unwrap();
    usize::try_from(sqlx::Row::get::<i64, _>(&row, "n")).unwrap()
}

/// All events of a type about a subject, in their order.
pub(crate) async fn told(world: &World, subject: &str, kind: &str) -> Vec<Event> {
    let mut conn = world.db().read().await.unwrap();
    let all = events::after(&mut conn, 0, 10_000).await.unwrap();
    all.into_iter().map(|(event, _)| event).filter(|e| e.subject == subject && e.kind == kind).collect()
}

/// What waits for a document: `scan ready 0`, as stage, state and attempts.
pub(crate) async fn work_of(world: &World, id: &DocumentId) -> Vec<String> {
    let mut conn = world.db().read().await.unwrap();
    let rows = work::of_subject(&mut conn, id.as_str()).await.unwrap();
    rows.into_iter().map(|row| format!("{} {} {}", row.stage, row.state, row.attempts)).collect()
}

/// Opens a submission that came on a channel.
pub(crate) async fn open_by(world: &World, channel: Channel, kind: CaseKind, said: Said) -> SubmissionId {
    let brand = world.settings.brand.clone();
    let new = NewSubmission {
        id: None,
        owner: "test".into(),
        brand,
        kind,
        said,
        channel,
        sender_reference: None,
        resubmits: None,
    };
    world.app.intake.open_submission("test", new).await.unwrap().id
}

/// The states of a submission's documents by file name.
pub(crate) fn states(view: &SubmissionView) -> Vec<(&str, DocumentState)> {
    let mut states: Vec<_> = view.documents.iter().map(|d| (d.file_name.as_str(), d.state)).collect();
    states.sort_unstable();
    states
}

/// What Caleb Nakamura's practice says about his denied claim, which has no case.
pub(crate) fn nakamura() -> Said {
    Said { claim_number: "CL2683604951".parse().ok(), member_id: "MH27390641".parse().ok(), ..Said::default() }
}

/// A case by its number, and the member it is of.
pub(crate) fn of_case(number: &str, member: &str) -> Said {
    Said { case_number: number.parse().ok(), member_id: member.parse().ok(), ..Said::default() }
}

/// A hostile file that the program can make.
pub(crate) fn made(name: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made");
    lettercase::cli::made::make(name, 1 << 20, &path).unwrap();
    std::fs::read(path).unwrap()
}

on_both! {
    async fn int_15_a_text_that_names_its_claim_opens_a_case_and_is_matched_to_it(world: &World) {
        world.load_samples().await;
        let id = world.open(CaseKind::Reconsideration, nakamura()).await;
        world.add(&id, "letter.txt", b"Please look at this claim again.").await;
        let view = world.submit(&id).await;
        assert_eq!(view.state, SubmissionState::Accepted);
        assert_eq!(view.case_status.as_deref(), Some("Received"));
        assert_eq!(view.documents[0].state, DocumentState::Matched);
        assert_eq!(view.documents[0].case_number, view.case_number);
    }
}
