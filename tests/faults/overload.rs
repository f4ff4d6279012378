//! Overload: many uploads at once, and a queue without an end. Memory is that of a node that is a process of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, stream};
use lettercase::db::{Db, fill, ledger, work};
use lettercase::http::api::figures::refresh;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::crash::memory::peak_kb;
use crate::crash::site::{PATIENCE, Site};
use crate::support::{On, block_on, start};

const UPLOADS: usize = 500;
const FILES: usize = 10;
const KIB: usize = 1 << 10;

/// A site whose doors are as the test wants them.
async fn site(on: On, per_node: usize, per_caller: usize) -> Site {
    let mib = [("file_bytes", "1_048_576"), ("entry_bytes", "2_097_152"), ("max_file_bytes", "2_097_152")];
    let site = Site::with_figures(on, &mib).await;
    let doors = include_str!("../../pipelines/doors.toml").lines().map(|line| match line.split(' ').next() {
        Some("uploads_per_node") => format!("uploads_per_node = {per_node}"),
        Some("uploads_per_caller") => format!("uploads_per_caller = {per_caller}"),
        Some("requests_per_s") => "requests_per_s = 100000".to_owned(),
        Some("burst") => "burst = 100000".to_owned(),
        _ => line.to_owned(),
    });
    let config = site.settings().config_dir.unwrap();
    std::fs::write(config.join("doors.toml"), doors.collect::<Vec<_>>().join("\n")).unwrap();
    site
}

/// Lets this process, and the nodes it starts, have as many files open as the system gives: each of these uploads has two
/// in its node and one here.
fn many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum.map_or(65_536, |most| most.min(65_536));
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit }).unwrap();
}

/// Where each upload goes: so many submissions with ten files each.
async fn places(client: &Client, site: &Site) -> Vec<String> {
    let base = format!("{}/v1/submissions", site.url());
    let mut places = Vec::new();
    for n in 0..UPLOADS / FILES {
        let open = json!({ "kind": "appeal", "sender_reference": format!("over-{n}") });
        let opened = client.post(&base).json(&open).send().await.unwrap().json::<Value>().await.unwrap();
        let id = opened["id"].as_str().unwrap().to_owned();
        places.extend((0..FILES).map(|file| format!("{base}/{id}/files/{file}.txt")));
    }
    places
}

/// A page of its own for each upload.
fn page(n: usize, bytes: usize) -> Bytes {
    let line = format!("{n} The quick brown fox jumps over the lazy dog.\n");
    Bytes::from(line.repeat(bytes / line.len() + 1)).slice(..bytes)
}

async fn end(site: &Site, server: crate::crash::site::Server) {
    site.until_done().await;
    let (status, log) = server.terminate().await;
    assert_eq!(status.code(), Some(0), "{log}");
    site.assert_conserved().await;
}

/// All of them stand in the middle of their bodies at the same time; buffered, they were 250 MB.
#[test]
fn five_hundred_uploads_in_their_middle_at_once_pass_through_little_memory() {
    const SIZE: usize = 1_000 * KIB;
    const GROWTH_MAX_KB: u64 = 96 << 10;
    many_files();
    block_on(async {
        let site = site(On::Sqlite, UPLOADS, UPLOADS).await;
        let client = site.client().await;
        let server = site.serve(None).await;
        let places = places(&client, &site).await;
        let idle = peak_kb(server.pid());
        let middle = Arc::new(Barrier::new(UPLOADS));
        let uploads = places.iter().enumerate().map(|(n, place)| {
            let middle = Arc::clone(&middle);
            let page = page(n, SIZE);
            let (first, rest) = (page.slice(..SIZE / 2), page.slice(SIZE / 2..));
            let rest = stream::once(async move {
                middle.wait().await;
                Ok::<_, std::io::Error>(rest)
            });
            let body = stream::iter([Ok(first)]).chain(rest);
            client
                .put(place)
                .header("content-length", SIZE)
                .timeout(PATIENCE)
                .body(reqwest::Body::wrap_stream(body))
                .send()
        });
        for answer in join_all(uploads).await {
            let answer = answer.unwrap();
            assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        }
        let received = peak_kb(server.pid());
        end(&site, server).await;
        println!("idle {idle} kB, received {received} kB");
        let grown = received - idle;
        assert!(grown <= GROWTH_MAX_KB, "grown by {grown} kB: idle {idle}, received {received}");
    });
}

/// With the doors that are shipped: who is one too many is told when to come again, nobody gets a fault, and in the end
/// each file is there once.
async fn turned_away_in_time(on: On) {
    const SIZE: usize = 20 * KIB;
    many_files();
    let site = site(on, 64, 16).await;
    let client = site.client().await;
    let server = site.serve(None).await;
    let places = places(&client, &site).await;
    let (turned, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let uploads = places.iter().enumerate().map(async |(n, place)| {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "never taken");
            let sent = client.put(place).timeout(PATIENCE).body(page(n, SIZE)).send().await;
            // whoever answers before the body has come may close before it is read
            let Ok(answer) = sent else { continue };
            match answer.status().as_u16() {
                201 => return,
                // taken the time before, when the answer did not come through
                409 => return,
                429 | 503 => {
                    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                    most.fetch_max(usize::try_from(wait).unwrap(), Ordering::Relaxed);
                    turned.fetch_add(1, Ordering::Relaxed);
                    // a little sooner than it was told: it is a test
                    tokio::time::sleep(Duration::from_millis(100 * wait)).await;
                }
                status => panic!("{status}: {}", answer.text().await.unwrap()),
            }
        }
    });
    join_all(uploads).await;
    let (turned, most) = (turned.into_inner(), most.into_inner());
    assert!(turned > 0 && (1..=30).contains(&most), "{turned} were turned away, for {most} s at most");
    let metrics = client.get(format!("{}/metrics", site.url())).send().await.unwrap().text().await.unwrap();
    let of = |class: &str| {
        metrics.lines().find_map(|line| {
            line.strip_prefix(&format!("lettercase_requests_total{{status=\"{class}\"}} "))
                .map(|n| n.parse::<u64>().unwrap())
        })
    };
    assert_eq!(of("5xx"), None, "no fault is among them");
    assert!(
        of("429").unwrap_or_default() + of("503").unwrap_or_default() >= turned as u64,
        "operators see it: {metrics}"
    );
    end(&site, server).await;
    let db = site.db().await;
    let mut conn = db.read().await.unwrap();
    let counted = ledger::count(&mut conn).await.unwrap();
    assert_eq!((counted.receipts, counted.difference), (i64::try_from(UPLOADS).unwrap(), 0), "each file once");
    drop(conn);
    db.close().await;
}

#[test]
fn who_is_one_too_many_is_told_when_to_come_again_on_sqlite() {
    block_on(turned_away_in_time(On::Sqlite));
}

#[test]
fn who_is_one_too_many_is_told_when_to_come_again_on_postgres() {
    block_on(turned_away_in_time(On::Postgres));
}

/// Work that waits, of documents that are there: what a claim, a look and a count have to go through.
async fn queue(db: &Db, documents: i64) {
    fill::fill(db, start(), documents, |_| {}).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO work (subject, stage, state, attempts, due_at, created_at)
         SELECT id, 'scan', 'ready', 0, accepted_at, accepted_at FROM document",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query("ANALYZE").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// The longest of a few runs but the first, in milliseconds.
async fn slowest_ms(mut run: impl AsyncFnMut()) -> u128 {
    run().await;
    let mut slowest = 0;
    for _ in 0..5 {
        let began = Instant::now();
        run().await;
        slowest = slowest.max(began.elapsed().as_millis());
    }
    slowest
}

/// What a node asks for all the time takes no longer than `most` however much waits.
async fn asked_of_a_long_queue(world: &crate::support::World, documents: i64, most: Duration) {
    queue(world.db(), documents).await;
    let db = world.db();
    let lease = Duration::from_secs(60);
    let claim = slowest_ms(async || {
        let taken = work::claim(db, world.stamp(), "scan", "node", lease, 4).await.unwrap();
        assert_eq!(taken.len(), 4, "no more than asked for");
    });
    let claim = claim.await;
    let look = slowest_ms(async || {
        let mut conn = db.read().await.unwrap();
        assert!(work::next_due(&mut conn, "scan").await.unwrap().is_some());
    });
    let look = look.await;
    let counted = slowest_ms(async || {
        let mut conn = db.read().await.unwrap();
        assert_eq!(work::waiting(&mut conn, "scan", 10_000).await.unwrap(), 10_000, "so far and no further");
    });
    let counted = counted.await;
    let api = world.app.api(None);
    let server = crate::http::Server::start(&world.app).await;
    refresh(&api).await;
    api.figures.idle().await;
    let ready = slowest_ms(async || assert_eq!(server.get("/ready").await.0, 200)).await;
    let metrics = slowest_ms(async || assert_eq!(server.get("/metrics").await.0, 200)).await;
    println!(
        "{:?}, {documents} documents: claim {claim} ms, look {look} ms, count of 10,000 {counted} ms, ready {ready} ms, metrics {metrics} ms",
        world.on
    );
    for (what, took) in [("claim", claim), ("look", look), ("count", counted), ("ready", ready), ("metrics", metrics)] {
        assert!(took <= most.as_millis(), "{what} took {took} ms with {documents} documents in the queue");
    }
}

/// Made rows have no seals, and their work is for no stage: such a world is not finished as others are.
fn with_a_queue(on: On, documents: i64) {
    block_on(async {
        let world = crate::support::World::new(on).await;
        asked_of_a_long_queue(&world, documents, Duration::from_secs(2)).await;
        world.db().close().await;
    });
}

#[test]
fn a_long_queue_slows_nothing_down_that_is_asked_all_the_time_on_sqlite() {
    with_a_queue(On::Sqlite, 20_000);
}

#[test]
fn a_long_queue_slows_nothing_down_that_is_asked_all_the_time_on_postgres() {
    with_a_queue(On::Postgres, 20_000);
}

#[test]
#[ignore = "minutes: make overload"]
fn a_queue_of_a_million_slows_nothing_down_on_sqlite() {
    with_a_queue(On::Sqlite, 1_000_000);
}

#[test]
#[ignore = "minutes: make overload"]
fn a_queue_of_a_million_slows_nothing_down_on_postgres() {
    with_a_queue(On::Postgres, 1_000_000);
}
