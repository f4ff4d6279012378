//! What a node needs is taken away, one thing after the other, and given back. Each time: nothing unscanned can be read,
//! work waits and goes on by itself, who sends is told to come again, and who runs it is told what is the matter.
//! `docs/faults.md` lists them; a test holds the page to these tests.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod database;
mod disk;
mod overload;
mod page;
mod relay;
mod restart;
mod room;
mod scanner;
mod spool;
mod store;

use std::time::Duration;

use lettercase::model::ids::DocumentId;
use serde_json::Value;

use crate::http::{Server, json};

/// An answer as a sender goes by it.
#[derive(Debug)]
struct Told {
    status: u16,
    retry_after_s: Option<u64>,
    code: String,
}

impl Told {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let retry_after_s = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
        let text = answer.text().await.unwrap();
        let code = serde_json::from_str::<Value>(&text).ok().and_then(|body| Some(body["code"].as_str()?.to_owned()));
        Self { status, retry_after_s, code: code.unwrap_or_default() }
    }

    /// It says: come again.
    fn assert_come_again(&self, code: &str) {
        assert!(self.status == 503 && self.code == code && self.retry_after_s.is_some_and(|s| s > 0), "{self:?}");
    }
}

/// A request that is denied Caleb Nakamura's claim: what opens a case and is matched to it.
const NAKAMURA: &str = r#"{"kind":"reconsideration","said":{"claim_number":"CL2683604951","member_id":"MH27390641"}}"#;

/// Why a node says that it is not ready.
async fn reasons(server: &Server) -> (u16, String) {
    let (status, text) = server.get("/ready").await;
    (status, json(&text)["reasons"].to_string())
}

/// The value of a line of a node's metrics.
async fn figure(server: &Server, line: &str) -> Option<f64> {
    let (_, text) = server.get("/metrics").await;
    let found = text.lines().find_map(|candidate| candidate.strip_prefix(line)?.strip_prefix(' '));
    found.map(|value| value.parse().unwrap())
}

/// No byte of a document is given out.
async fn assert_unreadable(server: &Server, document: &DocumentId) {
    let (status, text) = server.get(&format!("/v1/documents/{document}/content")).await;
    assert!(matches!(status, 409 | 503), "{status}: {text}");
}

/// Polls until `check` answers, for as long as a loaded machine may take.
async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within 60 s: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
