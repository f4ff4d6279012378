//! What waits for a person, and what persons decide: the calendar, the queue, the decisions and their traces.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod aging;
mod calendar;
mod command;
mod decide;
mod held;
mod quarantine;
mod queue;
pub(crate) mod split;
mod undo;

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use jiff::Timestamp;
use lettercase::db::tasks::{self, Filter, Lease, Taken, Task, TaskKind};
use lettercase::db::{Stamp, case_files};
use lettercase::intake::receive::{Arriving, Destination};
use lettercase::intake::review::Claimed;
use lettercase::model::access::Mode;
use lettercase::model::case::CaseKind;
use lettercase::model::document::{Channel, FileName};
use lettercase::model::ids::{Brand, CaseId, DocumentId};
use lettercase::model::submission::Said;

use crate::support::World;

/// For how long an item is a person's.
pub(crate) const LEASE: Duration = Duration::from_secs(900);

/// Nothing is known of it: unmatched.
pub(crate) const STRANGER: &[u8] = b"A letter without any number.";
/// Of two open cases of a member: in review.
pub(crate) const AMBIGUOUS: &[u8] = b"Member MH50381962, claim CL2643781290";

/// One person at the world's clock.
pub(crate) fn person<'w>(world: &'w World, name: &'static str) -> Stamp<'w> {
    Stamp { ctx: &world.app.intake.ctx, actor: name }
}

/// All real tasks.
pub(crate) const fn live(kind: Option<TaskKind>) -> Filter<'static> {
    Filter { mode: Mode::Live, kind, brand: None, sensitive: true }
}

/// A file that was sent in and went as far as it goes by itself.
pub(crate) async fn sent(world: &World, name: &str, bytes: &[u8]) -> DocumentId {
    let id = world.open(CaseKind::Appeal, Said::default()).await;
    let document = world.add(&id, name, bytes).await;
    world.submit(&id).await;
    document
}

/// A file that came alone, and went as far as it goes by itself.
pub(crate) async fn alone(world: &World, brand: &Brand, channel: Channel, name: &str, bytes: &[u8]) -> DocumentId {
    let file_name = FileName::new(name).unwrap();
    let to = Destination::Alone { brand, channel, said: None, batch_id: None, parent_id: None };
    let arriving =
        Arriving { to, document: None, file_name: &file_name, announced_bytes: None, received_at: None, actor: "fax" };
    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::copy_from_slice(bytes))]);
    let id = world.app.intake.receive(arriving, body).await.unwrap().document;
    world.settle().await;
    id
}

/// What waits, as the list tells it.
pub(crate) async fn waiting(world: &World) -> Vec<Task> {
    let mut conn = world.db().read().await.unwrap();
    tasks::list(&mut conn, world.app.intake.ctx.now(), live(None), None, 1_000).await.unwrap()
}

pub(crate) async fn task_of(world: &World, id: &DocumentId) -> Option<Task> {
    let mut conn = world.db().read().await.unwrap();
    tasks::get(&mut conn, world.app.intake.ctx.now(), id).await.unwrap()
}

/// Takes a document's item for a person.
pub(crate) async fn try_take(world: &World, who: &'static str, id: &DocumentId) -> Taken {
    let mut tx = world.db().begin().await.unwrap();
    let taken = tasks::claim(&mut tx, person(world, who), id, LEASE).await.unwrap();
    tx.commit().await.unwrap();
    taken
}

pub(crate) async fn take(world: &World, who: &'static str, id: &DocumentId) -> Lease {
    match try_take(world, who, id).await {
        Taken::Yes(lease) => lease,
        other => panic!("not taken: {other:?}"),
    }
}

/// What fences a decision over a document as it is now.
pub(crate) async fn claimed<'l>(world: &World, lease: &'l Lease) -> Claimed<'l> {
    let version = world.document(&lease.document_id).await.version;
    Claimed { document: &lease.document_id, token: &lease.token, version }
}

/// The case of a number of the world's brand.
pub(crate) async fn case(world: &World, number: &str) -> CaseId {
    let mut conn = world.db().read().await.unwrap();
    let case = case_files::by_number(&mut conn, &world.settings.brand, &number.parse().unwrap()).await.unwrap();
    case.unwrap().id
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}
