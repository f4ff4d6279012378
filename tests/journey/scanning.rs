//! The scan stage: what it waits for, what it tries again, what it does not do twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lettercase::intake::plan::IntakePlan;
use lettercase::model::case::CaseKind;
use lettercase::model::document::DocumentState;
use lettercase::model::judgement::ReasonCode;
use lettercase::model::submission::{Said, SubmissionState};
use lettercase::outside::objects::Place;
use lettercase::outside::scanner::{Freshness, Scanner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

use super::{nakamura, no_scanner, node, objects_in, pool_of, settle, small_scans, sql, texts, work_of};
use crate::on_both;
use crate::support::{World, clamd_socket, plan};

/// A submission waits for a scanner that is away, and goes on by itself when there is one.
async fn waits(world: &World, scanner: Scanner, why: &str) {
    world.load_samples().await;
    let waiting = node(world, "waiting", plan(), scanner).await;
    let id = world.open(CaseKind::Reconsideration, nakamura()).await;
    let document = world.add(&id, "letter.txt", b"Please look at this claim again.").await;
    waiting.intake.submit("test", &id).await.unwrap();
    for _ in 0..10 {
        waiting.engine.run_until_idle().await.unwrap();
        world.advance(Duration::from_secs(60));
    }
    let paused = waiting.engine.paused().await;
    assert!(matches!(&paused[..], [("scan", told)] if told.contains(why)), "{paused:?}");
    assert_eq!(work_of(world, &document).await, ["scan ready 0"], "no try counts");
    assert_eq!(world.document(&document).await.state, DocumentState::Scanning);
    assert_eq!(world.view(&id).await.state, SubmissionState::Submitted);
    assert!(objects_in(world, Place::Content).await.is_empty());
    assert!(texts(world, "SELECT sha256 FROM content").await.is_empty());
    settle(world).await;
    let view = world.view(&id).await;
    assert_eq!((view.state, view.documents[0].state), (SubmissionState::Accepted, DocumentState::Matched));
}

on_both! {
    async fn int_12_accepted_work_waits_for_a_scanner_that_is_away_and_no_try_counts(world: &World) {
        waits(world, no_scanner(), "/nonexistent/clamd").await;
    }
}

on_both! {
    async fn int_12_test_signatures_judge_nothing_where_they_are_not_allowed(world: &World) {
        let endpoint = format!("unix:{}", clamd_socket().await.display()).parse().unwrap();
        let scanner = Scanner::pool(vec![endpoint], small_scans(), Freshness::Required).unwrap();
        waits(world, scanner, "signature").await;
    }
}

/// A door before the shared clamd: scans in which `mark` comes by are counted, and cut off where it is to.
struct Door {
    port: u16,
    seen: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Door {
    async fn open(mark: &'static [u8], cuts: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(AtomicUsize::new(0));
        let (socket, counter) = (clamd_socket().await, Arc::clone(&seen));
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut clamd = UnixStream::connect(&socket).await.unwrap();
                let counter = Arc::clone(&counter);
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    let (mut answers, mut asks) = clamd.split();
                    let ask = async {
                        let mut piece = vec![0; 256 << 10];
                        loop {
                            let len = from.read(&mut piece).await.unwrap_or(0);
                            if piece[..len].windows(mark.len()).any(|window| window == mark) {
                                counter.fetch_add(1, Ordering::SeqCst);
                                if cuts {
                                    return;
                                }
                            }
                            if len == 0 || asks.write_all(&piece[..len]).await.is_err() {
                                return std::future::pending().await;
                            }
                        }
                    };
                    tokio::select! {
                        () = ask => {}
                        _ = tokio::io::copy(&mut answers, &mut to) => {}
                    }
                });
            }
        });
        Self { port, seen, task }
    }

    fn scanner(&self) -> Scanner {
        pool_of(format!("tcp:127.0.0.1:{}", self.port).parse().unwrap())
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A plan whose scans are tried that often.
fn tries(tries: i64) -> IntakePlan {
    let mut plan = plan();
    plan.work.get_mut("scan").unwrap().tries = tries;
    plan
}

on_both! {
    async fn int_12_what_a_healthy_scanner_can_not_finish_within_the_tries_is_held(world: &World) {
        let door = Door::open(b"cut me off", true).await;
        let app = node(world, "unlucky", tries(2), door.scanner()).await;
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let bad = world.add(&id, "bad.txt", b"here you cut me off each time").await;
        let good = world.add(&id, "good.txt", b"here all is well").await;
        app.intake.submit("test", &id).await.unwrap();
        for _ in 0..600 {
            app.engine.run_until_idle().await.unwrap();
            if world.document(&bad).await.state == DocumentState::Held {
                break;
            }
            world.advance(Duration::from_secs(60));
            // after a failure the pool itself looks at its endpoint anew only now and then
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let held = world.document(&bad).await;
        assert_eq!(held.state, DocumentState::Held);
        assert_eq!(held.reason.map(|r| r.code), Some(ReasonCode::ScanFailed));
        assert_eq!(world.document(&good).await.state, DocumentState::Stored);
        assert_eq!(world.view(&id).await.state, SubmissionState::Held);
        assert!(door.seen() >= 2, "it was tried {} times", door.seen());
        assert!(texts(world, "SELECT stage FROM work WHERE state = 'dead'").await.is_empty());
        assert_eq!(objects_in(world, Place::Content).await.len(), 1, "only the good one");
        assert_eq!(objects_in(world, Place::Incoming).await, [bad.as_str()], "an operator needs it");
    }
}

on_both! {
    async fn int_14_the_same_bytes_are_scanned_once_and_stored_once(world: &World) {
        let door = Door::open(b"sent again", false).await;
        let app = node(world, "counting", plan(), door.scanner()).await;
        let mut documents = Vec::new();
        for name in ["fax.txt", "fax again.txt"] {
            let id = world.open(CaseKind::Appeal, Said::default()).await;
            documents.push(world.add(&id, name, b"a fax that is sent again").await);
            app.intake.submit("test", &id).await.unwrap();
            app.engine.run_until_idle().await.unwrap();
            assert_eq!(world.view(&id).await.state, SubmissionState::Accepted);
        }
        assert_eq!(door.seen(), 1);
        assert_eq!(objects_in(world, Place::Content).await.len(), 1);
        let [first, second] = &documents[..] else { unreachable!() };
        let (first, second) = (world.document(first).await, world.document(second).await);
        assert_eq!(first.sha256, second.sha256);
        assert_eq!((first.engine, first.signatures), (second.engine, second.signatures));

        sql(world, "UPDATE content SET signatures = 'old-1'").await;
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        world.add(&id, "fax.txt", b"a fax that is sent again").await;
        app.intake.submit("test", &id).await.unwrap();
        app.engine.run_until_idle().await.unwrap();
        assert_eq!(door.seen(), 2, "another signature version has to look for itself");
    }
}
