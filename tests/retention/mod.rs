//! Retention (OPS-15): what is destroyed when, what keeps it, and what stays of it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod command;
mod crash;
mod holds;
mod http;
mod runs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lettercase::cases::status::{StatusChange, Told, change};
use lettercase::db::retention::{self, Run};
use lettercase::db::{case_files, documents};
use lettercase::model::access::Mode;
use lettercase::model::case::CaseKind;
use lettercase::model::document::DocumentState;
use lettercase::model::ids::{CaseId, DocumentId};
use lettercase::model::letter::Circumstances;
use lettercase::model::retention::{RecordKind, RetentionRunState};
use lettercase::model::submission::Said;
use lettercase::retention::{Retention, RetentionPlan};

use crate::journey::nakamura;
use crate::support::World;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// Ten years with their leap days.
const YEARS: Duration = Duration::from_secs(86_400 * 3_653);

/// The world's retention, with a policy that destroys, page by page of two.
fn keeper(world: &World) -> Retention {
    let mut plan: RetentionPlan = (*world.app.retention.plan).clone();
    plan.destruction.enabled = true;
    plan.destruction.page = 2;
    plan.destruction.pages_per_look = 100;
    Retention { plan: Arc::new(plan), ..world.app.retention.clone() }
}

/// Runs until it is done: the run, and its counts as `class why`.
async fn ran(world: &World, keeper: &Retention) -> (Run, BTreeMap<String, i64>) {
    let run = keeper.begin(world.stamp()).await.unwrap();
    finished(keeper, &run).await
}

async fn finished(keeper: &Retention, run: &Run) -> (Run, BTreeMap<String, i64>) {
    for _ in 0..20 {
        keeper.work("ours").await.unwrap();
        let mut conn = keeper.db.read().await.unwrap();
        let now = retention::get(&mut conn, &run.id).await.unwrap().unwrap();
        if now.state == RetentionRunState::Done {
            let counts = retention::counts(&mut conn, &run.id).await.unwrap();
            return (now, counts.into_iter().map(|n| (format!("{} {}", n.class, n.why), n.records)).collect());
        }
    }
    panic!("the run never ended");
}

fn counted(lines: &[(&str, i64)]) -> BTreeMap<String, i64> {
    lines.iter().map(|(line, n)| ((*line).to_owned(), *n)).collect()
}

/// What would become of a record today.
async fn fate(keeper: &Retention, kind: RecordKind, id: &str) -> String {
    let all = keeper.look(keeper.today(), kind, (i64::MIN, ""), 1_000).await.unwrap();
    all.iter().find(|one| one.id == id).map_or("not looked at".to_owned(), |one| one.judged.why.to_string())
}

/// A file that was refused: nothing more is done with it.
async fn refused(world: &World, said: Said, name: &str) -> DocumentId {
    let submission = world.open(CaseKind::Appeal, said).await;
    let id = world.add(&submission, name, b"MZ\x90\0 no document").await;
    world.submit(&submission).await;
    assert_eq!(world.document(&id).await.state, DocumentState::Rejected);
    id
}

/// A reconsideration with one file on its case: the document and the case.
async fn reconsidered(world: &World, bytes: &[u8]) -> (DocumentId, CaseId) {
    let submission = world.open(CaseKind::Reconsideration, nakamura()).await;
    let id = world.add(&submission, "Nakamura's letter.txt", bytes).await;
    world.submit(&submission).await;
    let case = world.document(&id).await.case_id.unwrap();
    (id, case)
}

/// Closes a case without a letter.
async fn close(world: &World, case: &CaseId) {
    let version = {
        let mut conn = world.db().read().await.unwrap();
        case_files::get(&mut conn, case).await.unwrap().unwrap().version
    };
    let status = StatusChange { status: "Upheld".into(), circumstances: Circumstances::new(), letter: Told::Not };
    change(world.db(), world.stamp(), case, version, &status).await.unwrap();
    world.settle().await;
}

async fn is_live(world: &World, id: &DocumentId) -> bool {
    let mut conn = world.db().read().await.unwrap();
    let document = documents::get(&mut conn, id).await.unwrap().unwrap();
    assert_eq!(document.brand.mode(), Mode::Live);
    document.state != DocumentState::Purged
}
