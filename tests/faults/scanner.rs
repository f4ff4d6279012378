//! The scanner. A door before the tests' clamd does what a sick one does; where clamd itself can be made sick, it is.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use lettercase::model::document::DocumentState;
use lettercase::model::judgement::ReasonCode;
use lettercase::model::submission::{Said, SubmissionState};
use lettercase::outside::objects::Place;
use lettercase::outside::scanner::{Freshness, ScanPolicy, Scanner};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use super::{NAKAMURA, assert_unreadable, figure, reasons, until};
use crate::http::{Server, json};
use crate::journey::{count, node, objects_in, small_scans, work_of};
use crate::on_both;
use crate::scanner::support::Foreign;
use crate::support::{On, World, block_on, clamd_socket, plan, postgres};

/// What a door does with who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    /// Lets everything through to clamd.
    Through,
    /// Is not there.
    Gone,
    /// Closes at once.
    Closes,
    /// Takes the connection and says nothing.
    Mute,
    /// Answers each scan so, having taken all of its bytes.
    Says(&'static [u8]),
    /// Answers so a scan of bytes that hold the first, and lets the others through.
    SaysOf(&'static [u8], &'static [u8]),
    /// Takes all bytes of a scan and never answers.
    Swallows,
    /// Says this of its version.
    Version(&'static [u8]),
}

/// A door before the tests' clamd.
struct Door {
    port: u16,
    wire: watch::Sender<Wire>,
    task: tokio::task::JoinHandle<()>,
}

impl Door {
    async fn open() -> Self {
        let (port, wire) = (postgres::free_port(), watch::Sender::new(Wire::Through));
        let (mut told, clamd) = (wire.subscribe(), clamd_socket().await);
        let first = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let task = tokio::spawn(async move {
            let mut open = Some(first);
            while told.wait_for(|wire| *wire != Wire::Gone).await.is_ok() {
                let listener = match open.take() {
                    Some(listener) => listener,
                    None => TcpListener::bind(("127.0.0.1", port)).await.unwrap(),
                };
                loop {
                    let mut gone = told.clone();
                    tokio::select! {
                        _ = gone.wait_for(|wire| *wire == Wire::Gone) => break,
                        came = listener.accept() => {
                            let (wire, clamd) = (*told.borrow(), clamd.clone());
                            tokio::spawn(async move { serve(came.unwrap().0, wire, &clamd).await });
                        }
                    }
                }
            }
        });
        Self { port, wire, task }
    }

    fn endpoint(&self) -> String {
        format!("tcp:127.0.0.1:{}", self.port)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, wire: Wire, clamd: &Path) -> Option<()> {
    match wire {
        Wire::Closes => return None,
        Wire::Mute => std::future::pending().await,
        _ => {}
    }
    let mut asked = Vec::new();
    while asked.last() != Some(&0) {
        asked.push(client.read_u8().await.ok()?);
    }
    let is_scan = asked == b"zINSTREAM\0";
    match wire {
        Wire::Version(says) if asked == b"zVERSION\0" => return client.write_all(says).await.ok(),
        Wire::Says(says) if is_scan => {
            frames(&mut client).await?;
            return client.write_all(says).await.ok();
        }
        Wire::Swallows if is_scan => {
            frames(&mut client).await?;
            std::future::pending::<()>().await;
        }
        Wire::SaysOf(mark, says) if is_scan => {
            let taken = frames(&mut client).await?;
            if taken.windows(mark.len()).any(|window| window == mark) {
                return client.write_all(says).await.ok();
            }
            asked.extend(taken);
        }
        _ => {}
    }
    let mut server = UnixStream::connect(clamd).await.ok()?;
    server.write_all(&asked).await.ok()?;
    copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}

/// All of a scan's bytes, in their frames.
async fn frames(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut taken = Vec::new();
    loop {
        let size = client.read_u32().await.ok()?;
        taken.extend(size.to_be_bytes());
        if size == 0 {
            return Some(taken);
        }
        let begin = taken.len();
        taken.resize(begin + size as usize, 0);
        client.read_exact(&mut taken[begin..]).await.ok()?;
    }
}

fn pool(endpoints: &[String], policy: ScanPolicy) -> Scanner {
    let endpoints = endpoints.iter().map(|endpoint| endpoint.parse().unwrap()).collect();
    Scanner::pool(endpoints, policy, Freshness::TestSignaturesAllowed).unwrap()
}

/// What falls sick.
enum Sick {
    /// A door that does this.
    Door(Door, Wire),
    /// A clamd of the test's own whose temporary directory takes no more bytes.
    Full(Foreign),
}

impl Sick {
    fn endpoint(&self) -> String {
        match self {
            Self::Door(door, _) => door.endpoint(),
            Self::Full(clamd) => clamd.tcp().to_string(),
        }
    }

    fn falls_ill(&self) {
        match self {
            Self::Door(door, wire) => drop(door.wire.send_replace(*wire)),
            Self::Full(clamd) => clamd.limit_files(Some(4_096)),
        }
    }

    fn recovers(&self) {
        match self {
            Self::Door(door, _) => drop(door.wire.send_replace(Wire::Through)),
            Self::Full(clamd) => clamd.limit_files(None),
        }
    }
}

/// A document is received while the scanner is well, and meets it when it is not.
async fn waits_for_it(on: On, what: &str, sick: Sick, policy: ScanPolicy) {
    let world = World::new(on).await;
    world.load_samples().await;
    let app = node(&world, "node", plan(), pool(&[sick.endpoint()], policy)).await;
    app.intake.scanner.ready(world.stamp().ctx.now()).await.unwrap();
    let server = Server::start(&app).await;
    sick.falls_ill();
    let id = server.open(NAKAMURA).await;
    // larger than what a full directory takes, and received nevertheless
    let letter = "Please look at this claim again.\n".repeat(1_000);
    assert_eq!(server.put(&id, "letter.txt", letter.as_bytes()).await.0, 201, "{what}");
    assert_eq!(server.post(&format!("/v1/submissions/{id}/submit"), "").await.0, 202);
    // more rounds than there are tries
    for _ in 0..8 {
        app.engine.run_until_idle().await.unwrap();
        world.advance(Duration::from_secs(600));
    }
    // who sent it sees it wait, and nobody reads it
    let view = json(&server.get(&format!("/v1/submissions/{id}")).await.1);
    assert_eq!(view["state"], "submitted", "{what}");
    let document = view["documents"][0]["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(world.document(&document).await.state, DocumentState::Scanning, "{what}");
    assert_unreadable(&server, &document).await;
    assert!(objects_in(&world, Place::Content).await.is_empty(), "{what}");
    let work = work_of(&world, &document).await;
    assert!(work == ["scan ready 0"] || work == ["scan ready 1"], "{what}: at most the try it was met in: {work:?}");
    // who runs it sees why
    let (status, why) = reasons(&server).await;
    assert!(status == 503 && why.contains("scan: ") && why.contains(&sick.endpoint()), "{what}: {why}");
    let fit = format!("lettercase_scanner_fit{{scanner=\"{}\"}}", sick.endpoint());
    assert_eq!(figure(&server, &fit).await, Some(0.0), "{what}");
    println!("{what}: {why}");

    sick.recovers();
    until(what, async || {
        world.advance(Duration::from_secs(600));
        app.engine.run_until_idle().await.unwrap();
        (world.view(&id).await.state == SubmissionState::Accepted).then_some(())
    })
    .await;
    assert_eq!(world.document(&document).await.state, DocumentState::Matched, "{what}");
    assert_eq!(figure(&server, &fit).await, Some(1.0), "{what}");
    assert_eq!(reasons(&server).await.0, 200, "{what}");
    world.finish().await;
}

fn patient() -> ScanPolicy {
    small_scans()
}

async fn whatever_it_is(on: On) {
    let table: Vec<(&str, Wire, ScanPolicy)> = vec![
        ("down", Wire::Gone, patient()),
        ("refusing", Wire::Closes, patient()),
        ("saying nothing", Wire::Mute, ScanPolicy { connect_timeout_ms: 1_000, ..patient() }),
        ("cut off in its answer", Wire::Says(b"stream: O"), patient()),
        ("knowing no command", Wire::Says(b"UNKNOWN COMMAND\0"), patient()),
        ("answering something unknown", Wire::Says(b"stream: FINE\0"), patient()),
        ("answering for another", Wire::Says(b"fd[9]: OK\0"), patient()),
        ("without an end", Wire::Swallows, ScanPolicy { timeout_s: 3, ..patient() }),
        ("with old signatures", Wire::Version(b"ClamAV 1.4.6/27812/Wed Nov 11 09:12:44 2026\0"), patient()),
    ];
    let doors = table.into_iter().map(|(what, wire, policy)| {
        Box::pin(async move { waits_for_it(on, what, Sick::Door(Door::open().await, wire), policy).await })
    });
    join_all(doors).await;
}

#[test]
fn int_12_work_waits_for_a_sick_scanner_and_goes_on_by_itself_on_sqlite() {
    block_on(whatever_it_is(On::Sqlite));
}

#[test]
fn int_12_work_waits_for_a_sick_scanner_and_goes_on_by_itself_on_postgres() {
    block_on(whatever_it_is(On::Postgres));
}

#[test]
fn int_12_a_clamd_whose_temporary_directory_is_full_is_set_aside_until_it_has_room() {
    block_on(async {
        let clamd = Foreign::start(&["AlertExceedsMax yes", "AlertEncrypted yes"]).await;
        waits_for_it(On::Sqlite, "a full temporary directory", Sick::Full(clamd), patient()).await;
    });
}

on_both! {
    async fn int_12_one_bad_scanner_of_three_is_set_aside_and_the_others_judge(world: &World) {
        world.load_samples().await;
        let doors = [Door::open().await, Door::open().await, Door::open().await];
        let endpoints: Vec<String> = doors.iter().map(Door::endpoint).collect();
        let app = node(world, "node", plan(), pool(&endpoints, patient())).await;
        let server = Server::start(&app).await;
        app.intake.scanner.ready(world.stamp().ctx.now()).await.unwrap();
        doors[1].wire.send_replace(Wire::Says(b"stream: Can't write to file ERROR\0"));
        let id = server.open(NAKAMURA).await;
        for n in 0..6 {
            let text = format!("Please look at this claim again. This is page {n}.");
            assert_eq!(server.put(&id, &format!("{n}.txt"), text.as_bytes()).await.0, 201);
        }
        assert_eq!(server.post(&format!("/v1/submissions/{id}/submit"), "").await.0, 202);
        for _ in 0..8 {
            app.engine.run_until_idle().await.unwrap();
            world.advance(Duration::from_secs(60));
        }
        assert_eq!(world.view(&id).await.state, SubmissionState::Accepted);
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM document WHERE state = 'matched'").await, 6);
        assert_eq!(reasons(&server).await.0, 200, "the node works");
        for (door, fit) in doors.iter().zip([1.0, 0.0, 1.0]) {
            let line = format!("lettercase_scanner_fit{{scanner=\"{}\"}}", door.endpoint());
            assert_eq!(figure(&server, &line).await, Some(fit), "{line}");
        }
        doors[1].wire.send_replace(Wire::Through);
        let line = format!("lettercase_scanner_fit{{scanner=\"{}\"}}", endpoints[1]);
        until("it is taken back", async || (figure(&server, &line).await == Some(1.0)).then_some(())).await;
    }
}

on_both! {
    async fn int_12_what_a_scanner_would_not_look_into_is_held_and_not_called_clean(world: &World) {
        for (mark, says) in [
            (&b"too deep"[..], &b"stream: Heuristics.Limits.Exceeded.MaxRecursion FOUND\0"[..]),
            (b"locked", b"stream: Heuristics.Encrypted.Zip FOUND\0"),
        ] {
            let door = Door::open().await;
            let app = node(world, "node", plan(), pool(&[door.endpoint()], patient())).await;
            let server = Server::start(&app).await;
            door.wire.send_replace(Wire::SaysOf(mark, says));
            let id = world.open(lettercase::model::case::CaseKind::Appeal, Said::default()).await;
            let bad = world.add(&id, "bad.txt", &[b"this is ", mark].concat()).await;
            let good = world.add(&id, "good.txt", b"this is good").await;
            app.intake.submit("test", &id).await.unwrap();
            app.engine.run_until_idle().await.unwrap();
            let held = world.document(&bad).await;
            assert_eq!((held.state, held.reason.map(|r| r.code)), (DocumentState::Held, Some(ReasonCode::ScanFailed)));
            assert_eq!(world.document(&good).await.state, DocumentState::Stored);
            assert_eq!(world.view(&id).await.state, SubmissionState::Held);
            assert_unreadable(&server, &bad).await;
            let listed = server.get("/v1/held").await.1;
            assert!(listed.contains(bad.as_str()), "an operator finds it: {listed}");
        }
    }
}
