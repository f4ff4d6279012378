//! The object store: an S3 server behind a line that fails.

use std::time::Duration;

use futures::future::join_all;
use lettercase::model::document::DocumentState;
use lettercase::model::submission::SubmissionState;
use lettercase::outside::objects::{ObjectsOptions, Place, S3Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{NAKAMURA, Told, assert_unreadable, reasons};
use crate::http::{Server, json};
use crate::journey::{node, objects_in, texts};
use crate::objects::world::{S3s, s3_options};
use crate::support::{On, World, block_on, plan, scanner};

/// What the line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Lets everything through.
    Through,
    /// Closes what is open and what comes.
    Cut,
    /// Takes everything and answers nothing.
    Mute,
    /// Answers each request with this status and code.
    Answers(u16, &'static str),
    /// The same of requests that bring a document.
    AnswersPuts(u16, &'static str),
}

/// A line to an S3 server.
struct S3Line {
    port: u16,
    line: watch::Sender<Line>,
    _server: S3s,
}

impl S3Line {
    async fn start() -> Self {
        let server = S3s::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = watch::Sender::new(Line::Through);
        let (told, behind) = (line.subscribe(), server.address);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut changed, behind) = (told.clone(), behind);
                let now = *changed.borrow_and_update();
                // what is open when it changes is cut: the next request meets the new line
                tokio::spawn(async move {
                    tokio::select! {
                        _ = changed.changed() => {}
                        _ = serve(client, now, behind) => {}
                    }
                });
            }
        });
        Self { port, line, _server: server }
    }

    fn options(&self) -> ObjectsOptions {
        let options = s3_options(([127, 0, 0, 1], self.port).into());
        let quick = S3Options { small_timeout_ms: 1_000, bulk_timeout_ms: 1_500, attempts: 1, ..options };
        ObjectsOptions::S3(Box::new(quick))
    }
}

async fn serve(mut client: TcpStream, line: Line, behind: std::net::SocketAddr) -> std::io::Result<()> {
    let mut begun = Vec::new();
    match line {
        Line::Cut => return Ok(()),
        Line::Mute => std::future::pending().await,
        Line::Through => {}
        Line::Answers(status, code) | Line::AnswersPuts(status, code) => {
            while !begun.ends_with(b"\r\n\r\n") {
                begun.push(client.read_u8().await?);
            }
            let head = String::from_utf8_lossy(&begun).to_ascii_lowercase();
            // the probe of readiness is a small one that goes through
            let is_put = head.starts_with("put ") && !head.contains("probe");
            if matches!(line, Line::Answers(..)) || is_put {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(str::parse::<u64>);
                let mut body = (&mut client).take(length.map(Result::unwrap).unwrap_or_default());
                tokio::io::copy(&mut body, &mut tokio::io::sink()).await?;
                let xml = format!("<Error><Code>{code}</Code><Message>so it is</Message></Error>");
                let body = if head.starts_with("head ") { "" } else { xml.as_str() };
                let answer = format!(
                    "HTTP/1.1 {status} So\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                client.write_all(answer.as_bytes()).await?;
                return client.shutdown().await;
            }
            // one request, for the next may be one that is answered here
            begun.truncate(begun.len() - 2);
            begun.extend_from_slice(b"connection: close\r\n\r\n");
        }
    }
    let mut server = TcpStream::connect(behind).await?;
    server.write_all(&begun).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// A world whose documents lie behind such a line.
async fn world_on_s3(on: On) -> (World, S3Line) {
    let s3 = S3Line::start().await;
    let mut world = World::new(on).await;
    world.load_samples().await;
    world.settings.objects = Some(s3.options());
    world.app = node(&world, "node", plan(), scanner().await).await;
    (world, s3)
}

/// One document is received before and meets the fault on its way; another is sent into it.
async fn waits_for_it(on: On, fault: Line, told: &str) {
    let (world, s3) = world_on_s3(on).await;
    let server = Server::start(&world.app).await;
    let id = server.open(NAKAMURA).await;
    assert_eq!(server.put(&id, "before.txt", b"Please look at this claim again.").await.0, 201);
    assert_eq!(reasons(&server).await, (200, "[]".to_owned()));

    s3.line.send_replace(fault);
    let put = |name: &str| server.client.put(server.url(&format!("/v1/submissions/{id}/files/{name}")));
    Told::of(put("during.txt").body("This one is sent into the fault.")).await.assert_come_again("unavailable");
    assert_eq!(server.post(&format!("/v1/submissions/{id}/submit"), "").await.0, 202, "this needs no store");
    // more rounds than there are tries
    for _ in 0..10 {
        world.app.engine.run_until_idle().await.unwrap();
        world.advance(Duration::from_secs(700));
    }
    let view = json(&server.get(&format!("/v1/submissions/{id}")).await.1);
    let document = view["documents"].as_array().unwrap().iter().find(|d| d["file_name"] == "before.txt").unwrap();
    let document = document["id"].as_str().unwrap().parse().unwrap();
    assert_unreadable(&server, &document).await;
    assert!(texts(&world, "SELECT stage FROM work WHERE state = 'dead'").await.is_empty(), "{fault:?}");
    assert_eq!(view["state"], "submitted", "{fault:?}");
    let (status, why) = reasons(&server).await;
    if !matches!(fault, Line::AnswersPuts(..)) {
        assert!(status == 503 && why.contains(told), "{fault:?}: {why}");
    }

    s3.line.send_replace(Line::Through);
    world.advance(Duration::from_secs(700));
    world.settle().await;
    assert_eq!(world.view(&id).await.state, SubmissionState::Accepted, "{fault:?}");
    assert_eq!(world.document(&document).await.state, DocumentState::Matched, "{fault:?}");
    assert_eq!(objects_in(&world, Place::Content).await.len(), 1, "what was sent into the fault was not taken");
    assert_eq!(reasons(&server).await.0, 200);
    world.finish().await;
}

async fn whatever_it_is(on: On) {
    let faults = [
        (Line::Cut, "unavailable"),
        (Line::Mute, "took too long"),
        (Line::Answers(503, "SlowDown"), "unavailable"),
        (Line::Answers(507, "XMinioStorageFull"), "is full"),
        (Line::Answers(403, "AccessDenied"), "refuses"),
        (Line::Answers(404, "NoSuchBucket"), "misconfigured"),
        (Line::AnswersPuts(507, "XMinioStorageFull"), "is full"),
    ];
    // each on the heap: together they are more than a test's stack holds
    join_all(faults.map(|(fault, told)| Box::pin(waits_for_it(on, fault, told)))).await;
}

#[test]
fn int_18_work_waits_for_a_sick_store_and_goes_on_by_itself_on_sqlite() {
    block_on(whatever_it_is(On::Sqlite));
}

#[test]
fn int_18_work_waits_for_a_sick_store_and_goes_on_by_itself_on_postgres() {
    block_on(whatever_it_is(On::Postgres));
}

/// What the store is told to be other bytes than it got is not taken; sent again, it is.
async fn other_bytes(on: On) {
    let (world, s3) = world_on_s3(on).await;
    let server = Server::start(&world.app).await;
    let id = server.open(r#"{"kind":"appeal"}"#).await;
    let put = || server.client.put(server.url(&format!("/v1/submissions/{id}/files/a.txt"))).body("a page");
    s3.line.send_replace(Line::AnswersPuts(400, "BadDigest"));
    Told::of(put()).await.assert_come_again("unavailable");
    s3.line.send_replace(Line::Through);
    assert_eq!(Told::of(put()).await.status, 201, "the name is free");
    let view = world.submit(&id).await;
    assert_eq!(view.state, SubmissionState::Accepted);
    let states: Vec<_> = view.documents.iter().map(|document| document.state).collect();
    assert!(states.len() == 2 && states.contains(&DocumentState::Rejected), "{states:?}");
    world.finish().await;
}

#[test]
fn int_10_bytes_that_reach_the_store_as_others_are_not_acknowledged_on_sqlite() {
    block_on(other_bytes(On::Sqlite));
}

#[test]
fn int_10_bytes_that_reach_the_store_as_others_are_not_acknowledged_on_postgres() {
    block_on(other_bytes(On::Postgres));
}
