//! kill -9 at each place of an upload, and how much memory one takes. The victim is a process of its own: this
//! binary again.

use std::path::PathBuf;
use std::process::Stdio;

use lettercase::app::App;
use lettercase::db::Db;
use lettercase::db::uploads::UploadState;
use lettercase::model::case::CaseKind;
use lettercase::model::document::DocumentState;
use lettercase::model::submission::Said;
use lettercase::outside::context::Context;
use lettercase::outside::objects::Place;
use lettercase::settings::{Secret, Settings};
use sha1::Digest;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{append, at, look, text, try_begin};
use crate::journey::{no_scanner, objects_in};
use crate::support::{On, World, block_on, plan};

const LENGTH: usize = 300_000;
const FIRST: usize = 100_000;
const LARGE: usize = 64 << 20;
const GROWTH_MAX_KB: u64 = 24 << 10;

/// Runs the ignored test `name` on the world's installation, as the node it is.
fn victim(world: &World, name: &str, upload: &lettercase::db::uploads::Upload, place: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("uploads::crash::{name}"), "--ignored", "--nocapture"])
        .env("VICTIM_DIR", world.dir.path())
        .env("VICTIM_DATABASE", &world.settings.database.as_ref().unwrap().0)
        .env("VICTIM_UPLOAD", format!("{} {}", upload.submission_id, upload.id))
        .env("VICTIM_PLACE", place)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn given(name: &str) -> String {
    std::env::vars().find(|(key, _)| key == name).unwrap_or_else(|| unreachable!("{name} is not given")).1
}

/// The victim's own program on the installation it was given, by the machine's clock.
async fn app() -> App {
    let environment = [("LETTERCASE_BRAND".to_owned(), "meridian".to_owned())];
    let mut settings = Settings::read(None, environment, Some(&PathBuf::from(given("VICTIM_DIR")))).unwrap();
    settings.database = Some(Secret(given("VICTIM_DATABASE")));
    let db = Db::open(&given("VICTIM_DATABASE")).await.unwrap();
    let exe = PathBuf::from(env!("CARGO_BIN_EXE_lettercase"));
    App::assemble(settings, plan(), "test".into(), db, no_scanner(), Context::system(), exe).await.unwrap()
}

async fn killed_at(on: On, place: &str) {
    // the victim's clock is the machine's
    let world = World::new(on).await;
    let behind =
        jiff::SignedDuration::from_secs(Context::system().now().as_second() - crate::support::start().as_second());
    world.advance(behind.unsigned_abs());
    let bytes = text(LENGTH);
    let id = world.open(CaseKind::Appeal, Said::default()).await;
    let upload = try_begin(&world.app, &id, "a.txt", LENGTH).await.unwrap();
    append(&world.app, &upload, 0, &bytes[..FIRST]).await.unwrap();

    let mut child = victim(&world, "victim_appends_the_rest", &upload, place);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap();
        let line = line.unwrap_or_else(|| panic!("{place}: the victim ended before it stood still"));
        if line.contains("stopped by a fail point") {
            break;
        }
    }
    child.kill().await.unwrap();

    // the node comes back: a sender asks and goes on, or nobody does and the reconciler looks
    let world = world.restarted().await;
    if place == "upload-stored" {
        let next = look(&world.app, &upload).await.unwrap();
        assert_eq!(next.offset_bytes, FIRST as u64, "{place}: what was not acknowledged does not count");
        append(&world.app, &upload, FIRST, &bytes[FIRST..]).await.unwrap();
    } else if place == "receive-accepted" {
        world.app.intake.reconcile("test").await.unwrap();
    }
    let done = look(&world.app, &upload).await.unwrap();
    assert_eq!(done.state, UploadState::Complete, "{place}");
    let view = world.view(&id).await;
    let received: Vec<_> = view.documents.iter().filter(|d| d.accepted_at.is_some()).collect();
    assert_eq!(received.len(), 1, "{place}: {view:?}");
    assert_eq!(received[0].id, done.document_id, "{place}");
    let document = world.document(&done.document_id).await;
    assert_eq!(document.sha256.unwrap().as_str(), hex::encode(sha2::Sha256::digest(&bytes)), "{place}");
    // the victim's clock went on where this one stood: what it put to work is due
    world.advance(std::time::Duration::from_secs(60));
    world.settle().await;
    assert_eq!(world.document(&done.document_id).await.state, DocumentState::Stored);
    world.app.intake.reconcile("test").await.unwrap();
    assert!(objects_in(&world, Place::Parts).await.is_empty(), "{place}: parts are left");
    world.finish().await;
}

macro_rules! places {
    ($($name:ident, $place:literal;)*) => {
        $(mod $name {
            use super::*;
            #[test]
            fn sqlite() {
                block_on(killed_at(On::Sqlite, $place));
            }
            #[test]
            fn postgres() {
                block_on(killed_at(On::Postgres, $place));
            }
        })*
    };
}

places! {
    int_10_killed_with_a_part_that_does_not_count_yet, "upload-stored";
    int_10_killed_with_a_part_that_counts, "upload-counted";
    int_10_killed_before_the_parts_are_replayed, "upload-whole";
    int_10_killed_with_the_bytes_replayed_and_not_accepted, "receive-stored";
    int_10_killed_with_the_document_accepted, "receive-accepted";
}

/// Run by the tests above in a process of its own.
#[tokio::test]
#[ignore = "a part of the tests of this file, which run it"]
async fn victim_appends_the_rest() {
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stdout).init();
    fail::cfg(given("VICTIM_PLACE"), "return").unwrap();
    let app = app().await;
    let of = given("VICTIM_UPLOAD");
    let (submission, id) = of.split_once(' ').unwrap();
    let upload = app.intake.look_at_upload(&submission.parse().unwrap(), &id.parse().unwrap()).await.unwrap();
    append(&app, &upload, FIRST, &text(LENGTH)[FIRST..]).await.unwrap();
}

#[test]
fn int_10_the_largest_upload_passes_through_little_memory() {
    block_on(async {
        let world = World::new(On::Sqlite).await;
        let behind = Context::system().now().as_second() - crate::support::start().as_second();
        world.advance(std::time::Duration::from_secs(behind.unsigned_abs()));
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let upload = try_begin(&world.app, &id, "a.txt", LARGE).await.unwrap();
        let child = victim(&world, "victim_sends_the_largest", &upload, "");
        let output = child.wait_with_output().await.unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && out.contains("1 passed"), "{out}");
        let grown = out.lines().find_map(|line| line.split_once("grown by kB: ")).unwrap().1;
        assert!(grown.trim().parse::<u64>().unwrap() < GROWTH_MAX_KB, "{grown} kB");
        let world = world.restarted().await;
        let done = look(&world.app, &upload).await.unwrap();
        assert_eq!(world.document(&done.document_id).await.size_bytes, Some(LARGE as u64));
        world.finish().await;
    });
}

/// Run by the test above in a process of its own.
#[tokio::test]
#[ignore = "a part of int_10_the_largest_upload_passes_through_little_memory, which runs it"]
async fn victim_sends_the_largest() {
    let app = app().await;
    let of = given("VICTIM_UPLOAD");
    let (submission, id) = of.split_once(' ').unwrap();
    let upload = app.intake.look_at_upload(&submission.parse().unwrap(), &id.parse().unwrap()).await.unwrap();
    let chunk = bytes::Bytes::from(text(64 << 10));
    let body = |pieces: usize| {
        let chunk = chunk.clone();
        futures::stream::iter((0..pieces).map(move |_| Ok::<_, std::io::Error>(chunk.clone())))
    };
    // what the program needs once shall not count
    app.intake.append_to_upload(at(&upload, 0, 64 << 10), body(1)).await.unwrap();
    let before = peak_kb();
    app.intake.append_to_upload(at(&upload, 64 << 10, LARGE - (64 << 10)), body(1_023)).await.unwrap();
    println!("grown by kB: {}", peak_kb() - before);
}

/// The highest resident size so far, in kB.
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
