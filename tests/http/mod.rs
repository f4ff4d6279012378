//! The HTTP surface, over a real connection.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod access;
mod administration;
mod auditing;
mod clients;
mod described;
mod documents;
mod guide;
mod mailroom;
mod names;
mod planted;
mod problems;
mod repeated;
mod trials;
mod uploads;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use eventsource_stream::Eventsource;
use futures::StreamExt;
use lettercase::access::Access;
use lettercase::app::App;
use lettercase::db::{events, installation};
use lettercase::http::limits::Use;
use lettercase::http::plan::DoorsPlan;
use lettercase::http::server;
use lettercase::model::case::CaseKind;
use lettercase::model::document::DocumentState;
use lettercase::model::ids::SubmissionId;
use lettercase::model::submission::{Said, SubmissionState};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::Value;

use crate::journey::{made, no_scanner, node};
use crate::on_both;
use crate::support::{World, eicar, plan};

/// The routes on a port of their own, as long as it lives.
pub(crate) struct Server {
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
    pub(crate) key: String,
    access: Access,
    task: tokio::task::JoinHandle<()>,
}

/// A client that sends with this key.
pub(crate) fn client(key: &str) -> reqwest::Client {
    let bearer = format!("Bearer {key}").parse().unwrap();
    let headers = reqwest::header::HeaderMap::from_iter([(reqwest::header::AUTHORIZATION, bearer)]);
    let builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).default_headers(headers);
    builder.build().unwrap()
}

/// Metrics are installed once per process.
fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap()).clone()
}

impl Server {
    pub(crate) async fn start(app: &App) -> Self {
        Self::start_with(app, app.access.clone()).await
    }

    /// The routes for callers that this access knows.
    pub(crate) async fn start_with(app: &App, access: Access) -> Self {
        let (access, key) = access.with_local_key();
        Self::with(app, access, key)
    }

    /// Those of another node, for the same callers.
    pub(crate) fn beside(&self, app: &App) -> Self {
        Self::with(app, self.access.clone(), self.key.clone())
    }

    /// The routes behind doors that are other than the plan's.
    fn behind(app: &App, change: impl FnOnce(&mut DoorsPlan)) -> Self {
        let (access, key) = app.access.clone().with_local_key();
        let mut doors = (*app.doors).clone();
        change(&mut doors);
        Self::of(app, access, key, doors)
    }

    fn with(app: &App, access: Access, key: String) -> Self {
        let mut doors = (*app.doors).clone();
        // a test sees what it has just done
        doors.metrics.ready_for_ms = 0;
        Self::of(app, access, key, doors)
    }

    fn of(app: &App, access: Access, key: String, doors: DoorsPlan) -> Self {
        let mut api = app.api(Some(metrics()));
        api.access = access.clone();
        api.usage = Use::new(&doors, &app.intake.ctx);
        api.plan = Arc::new(doors);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let task =
            tokio::spawn(async move { server::serve(listener, None, api, std::future::pending()).await.unwrap() });
        let client = client(&key);
        Self { base, client, key, access, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        answer(self.client.get(self.url(path))).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        answer(self.client.post(self.url(path)).body(body)).await
    }

    /// Sends a file as a raw body.
    pub(crate) async fn put(&self, to: &SubmissionId, name: &str, bytes: &[u8]) -> (u16, String) {
        answer(self.client.put(self.url(&file_path(to, name))).body(bytes.to_vec())).await
    }

    pub(crate) async fn open(&self, body: &str) -> SubmissionId {
        let (status, text) = self.post("/v1/submissions", body.to_owned()).await;
        assert_eq!(status, 201, "{text}");
        json(&text)["id"].as_str().unwrap().parse().unwrap()
    }

    /// The next events of a submission, as (id, event).
    async fn events(&self, id: &SubmissionId, after: Option<&str>, count: usize) -> Vec<(String, String)> {
        let mut request = self.client.get(self.url(&format!("/v1/submissions/{id}/events")));
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let stream = response.bytes_stream().eventsource().map(|event| event.unwrap());
        stream.take(count).map(|event| (event.id, event.event)).collect().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

/// The path of a file; every byte of its name that could mean something else is encoded.
fn file_path(to: &SubmissionId, name: &str) -> String {
    let encoded: String = name
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b == b'.' { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect();
    format!("/v1/submissions/{to}/files/{encoded}")
}

const NAKAMURA: &str = r#"{"kind":"reconsideration","said":{"claim_number":"CL2683604951","member_id":"MH27390641"}}"#;

on_both! {
    async fn int_30_a_request_goes_from_its_opening_to_its_case(world: &World) {
        world.load_samples().await;
        let server = Server::start(&world.app).await;
        let id = server.open(NAKAMURA).await;
        let (status, text) = server.put(&id, "letter.txt", b"Please look at this claim again.").await;
        assert_eq!(status, 201, "{text}");
        assert_eq!(json(&text)["size_bytes"], 32);
        let form = reqwest::multipart::Form::new()
            .text("note", "a field that is no file")
            .part("a", reqwest::multipart::Part::bytes(b"one".to_vec()).file_name("one.txt"))
            .part("b", reqwest::multipart::Part::bytes(b"two".to_vec()).file_name("two.txt"));
        let path = format!("/v1/submissions/{id}");
        let (status, text) = answer(server.client.post(server.url(&format!("{path}/files"))).multipart(form)).await;
        assert_eq!(status, 201, "{text}");
        assert_eq!(json(&text).as_array().map(Vec::len), Some(2));
        let (status, text) = server.get(&path).await;
        assert_eq!((status, json(&text)["state"].as_str()), (200, Some("open")));
        for _ in 0..2 {
            let (status, text) = server.post(&format!("{path}/submit"), "").await;
            assert_eq!(status, 202, "{text}: a second time changes nothing");
        }
        world.settle().await;
        let view = json(&server.get(&path).await.1);
        assert_eq!(view["state"], "accepted");
        assert_eq!(view["case_status"], "Received");
        assert_eq!(view["ended"], true);
        let states: Vec<_> = view["documents"].as_array().unwrap().iter().map(|d| d["state"].as_str()).collect();
        assert_eq!(states, [Some("matched"); 3]);
    }
}

on_both! {
    async fn int_19_progress_goes_on_behind_the_last_event_that_was_seen(world: &World) {
        let server = Server::start(&world.app).await;
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let other = server.open(r#"{"kind":"appeal"}"#).await;
        for to in [&id, &other] {
            server.put(to, "letter.txt", b"a page").await;
            server.post(&format!("/v1/submissions/{to}/submit"), "").await;
        }
        let work = async {
            tokio::time::timeout(Duration::from_secs(20), async {
                // the client listens already when the work is done
                while world.view(&id).await.state != SubmissionState::Accepted {
                    world.settle().await;
                }
                world.settle().await;
            })
            .await
            .unwrap();
        };
        let expected = ["submission.open", "document.received", "submission.submitted"];
        let (begun, ()) = tokio::join!(server.events(&id, None, 6), work);
        assert_eq!(begun.iter().take(3).map(|(_, event)| event.as_str()).collect::<Vec<_>>(), expected);
        let all = {
            let mut conn = world.db().read().await.unwrap();
            events::of_submission(&mut conn, id.as_str(), 0, 100).await.unwrap()
        };
        let all: Vec<_> = all.into_iter().map(|e| (e.position.unwrap().to_string(), e.kind)).collect();
        assert_eq!(server.events(&id, None, all.len()).await, all);
        assert_eq!(all.last().unwrap().1, "document.unmatched");
        for at in [0, 2, all.len() - 2] {
            let after = server.events(&id, Some(&all[at].0), all.len() - at - 1).await;
            assert_eq!(after, all[at + 1..]);
        }
        let (status, _) = server.get(&format!("/v1/submissions/{}/events", world.stamp().ctx.new_id())).await;
        assert_eq!(status, 404);
    }
}

/// The paths that the router answers a GET on.
fn get_routes() -> Vec<String> {
    let rules = lettercase::http::api::RULES.iter();
    rules.filter(|(method, _, _)| *method == "GET").map(|(_, path, _)| (*path).to_owned()).collect()
}

const SECRET: &str = "bytes that only the scanner may read";

on_both! {
    async fn int_12_no_route_gives_back_a_byte_of_a_document_that_is_not_clean(world: &World) {
        let server = Server::start(&world.app).await;
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let blind = node(world, "blind", plan(), no_scanner()).await;
        let scanning = world.add(&id, "scanning.txt", SECRET.as_bytes()).await;
        blind.engine.run_until_idle().await.unwrap();
        let received = world.add(&id, "received.txt", SECRET.as_bytes()).await;
        let other = server.open(r#"{"kind":"appeal"}"#).await;
        let virus = [SECRET.as_bytes(), &eicar()].concat();
        let quarantined = world.add(&other, "virus.txt", &virus).await;
        let held = world.add(&other, "held.doc", &made("doc-with-macros")).await;
        let rejected = world.add(&other, "x.pdf", SECRET.as_bytes()).await;
        let full = node(world, "full", plan(), crate::support::scanner().await).await;
        // the other submission's documents are judged, the first one's still wait
        crate::journey::sql(world, "UPDATE work SET due_at = due_at + 7200000000 WHERE subject IN (
            SELECT id FROM document WHERE file_name IN ('scanning.txt', 'received.txt'))").await;
        full.engine.run_until_idle().await.unwrap();
        for (document, state) in [
            (&scanning, DocumentState::Scanning),
            (&received, DocumentState::Received),
            (&quarantined, DocumentState::Quarantined),
            (&held, DocumentState::Held),
            (&rejected, DocumentState::Rejected),
        ] {
            assert_eq!(world.document(document).await.state, state);
        }
        let routes = get_routes();
        assert!(routes.len() >= 5 && routes.iter().any(|route| route.contains("{id}")), "{routes:?}");
        let macros = made("doc-with-macros");
        for (submission, document) in [
            (&id, &scanning), (&id, &received), (&other, &quarantined), (&other, &held), (&other, &rejected),
        ] {
            let keys = [submission.as_str(), document.as_str(), "scanning.txt", "received.txt", "virus.txt", "held.doc"];
            for (route, key) in routes.iter().flat_map(|route| keys.map(|key| (route, key))) {
                let path = route.replace("{id}", key).replace("{name}", document.as_str());
                // the clock stands, and with it the caller's rate
                world.advance(Duration::from_secs(1));
                let seen = first_bytes(&server, &path).await;
                for secret in [SECRET.as_bytes(), &eicar(), &macros[512..640]] {
                    assert!(!seen.windows(secret.len()).any(|window| window == secret), "{path} gives bytes back");
                }
            }
            for path in [
                format!("/v1/submissions/{submission}/files/virus.txt"),
                format!("/v1/submissions/{submission}/files/{document}"),
                format!("/v1/documents/{document}/content"),
                format!("/content/{document}"),
                format!("/incoming/{document}"),
                format!("/../objects/incoming/{document}"),
            ] {
                let (status, text) = server.get(&path).await;
                assert!(matches!(status, 404 | 405 | 409) && !text.contains(SECRET), "{path}: {status}");
            }
        }
    }
}

/// What the node wrote when it looked last whether the database takes a write: the instant of that.
async fn last_probe(world: &World) -> Option<String> {
    let mut conn = world.app.intake.db.read().await.unwrap();
    installation(&mut conn, &format!("probe.{}", world.app.intake.node)).await.unwrap()
}

/// What a route answers, as far as it comes at once: a stream of events has no end.
async fn first_bytes(server: &Server, path: &str) -> Vec<u8> {
    let response = server.client.get(server.url(path)).send().await.unwrap();
    let endless = response.headers().get("content-type").is_some_and(|t| t == "text/event-stream");
    let mut stream = response.bytes_stream();
    let mut seen = Vec::new();
    let patience = Duration::from_millis(if endless { 50 } else { 20_000 });
    while let Ok(Some(Ok(chunk))) = tokio::time::timeout(patience, stream.next()).await {
        seen.extend(chunk);
    }
    seen
}

on_both! {
    async fn ops_many_who_ask_for_readiness_cost_one_look_at_the_node(world: &World) {
        // longer than the questions take on any machine
        let server = Server::behind(&world.app, |doors| doors.metrics.ready_for_ms = 30_000);
        assert_eq!(server.get("/ready").await.0, 200);
        let looked = last_probe(world).await;
        world.advance(Duration::from_secs(1));
        let asked = futures::future::join_all((0..50).map(|_| server.get("/ready"))).await;
        assert!(asked.iter().all(|(status, _)| *status == 200), "{asked:?}");
        assert_eq!(last_probe(world).await, looked, "none of them wrote");
        let server = Server::behind(&world.app, |doors| doors.metrics.ready_for_ms = 1);
        assert_eq!(server.get("/ready").await.0, 200);
        assert_ne!(last_probe(world).await, looked, "an answer that is too old is not given again");
    }
}

on_both! {
    async fn ops_readiness_says_why_not_and_metrics_show_the_ledger(world: &World) {
        let server = Server::start(&world.app).await;
        let (status, text) = server.get("/ready").await;
        assert_eq!((status, text.as_str()), (200, r#"{"ready":true,"reasons":[]}"#));
        assert_eq!(server.get("/health").await, (200, "ok\n".to_owned()));
        let blind = node(world, "blind", plan(), no_scanner()).await;
        let blind = Server::start(&blind).await;
        let (status, text) = blind.get("/ready").await;
        assert_eq!((status, json(&text)["ready"].as_bool()), (503, Some(false)));
        let reasons = json(&text)["reasons"].clone();
        assert!(reasons[0].as_str().is_some_and(|why| why.starts_with("scan: ")), "{reasons}");
        assert_eq!(blind.get("/health").await.0, 200, "alive it is");

        let id = world.open(CaseKind::Appeal, Said::default()).await;
        world.add(&id, "letter.txt", b"a page").await;
        let (status, text) = server.get("/metrics").await;
        assert_eq!(status, 200);
        assert!(text.lines().any(|line| line == "lettercase_ledger_difference 0"), "{text}");
        assert!(text.contains(r#"lettercase_work{stage="sniff",state="ready"}"#), "{text}");
    }
}
