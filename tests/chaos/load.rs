//! The load: senders of documents and letters. What was not answered is sent again under the same key, as real senders
//! do, and each looks after what it sent until it has come to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::ToSpan;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::installation::claim_number;
use crate::crash::sender::sample;
use crate::support::eicar;

/// How long anything may take that is asked for again and again.
const PATIENCE: Duration = Duration::from_secs(400);

/// A file that was accepted by an answer.
#[derive(Clone)]
pub(super) struct Accepted {
    pub(super) name: String,
    /// The number of its submission.
    pub(super) of: usize,
    pub(super) bytes: Vec<u8>,
    pub(super) infected: bool,
}

/// Who sends, and what was answered.
pub(super) struct Load {
    pub(super) client: Client,
    pub(super) url: String,
    seed: u64,
    next: [AtomicUsize; 2],
    most: Most,
    /// Nothing more is begun.
    pub(super) over: AtomicBool,
    /// By id.
    pub(super) documents: Mutex<BTreeMap<String, Accepted>>,
    /// By the id of their event, with the kind.
    pub(super) letters: Mutex<BTreeMap<String, (Kind, String)>>,
    pub(super) submissions: Mutex<BTreeSet<String>>,
    /// How often something had to be sent again.
    again: AtomicUsize,
}

/// How much is sent at most.
#[derive(Clone, Copy)]
pub(super) struct Most {
    /// Submissions: each is about a claim of its own.
    pub(super) submissions: usize,
    /// When so many documents were accepted, no further submission is begun.
    pub(super) documents: usize,
    pub(super) letters: usize,
}

/// Where a letter goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Inbox,
    Paper,
    Fax,
}

impl Load {
    /// A load that has not begun.
    pub(super) fn new(client: Client, url: String, seed: u64, most: Most) -> Self {
        Self {
            client,
            url,
            seed,
            next: Default::default(),
            most,
            over: AtomicBool::new(false),
            documents: Mutex::default(),
            letters: Mutex::default(),
            submissions: Mutex::default(),
            again: AtomicUsize::new(0),
        }
    }

    /// Sends as long as it is not over, with so many submissions and letters on their way at a time.
    pub(super) async fn send(&self, submissions: usize, letters: usize) {
        let submissions = (0..submissions).map(|_| async {
            while let Some(n) = self.turn(0) {
                self.submission(n).await;
            }
        });
        let letters = (0..letters).map(|_| async {
            while let Some(n) = self.turn(1) {
                self.letter(n).await;
            }
        });
        tokio::join!(futures::future::join_all(submissions), futures::future::join_all(letters));
    }

    fn turn(&self, of: usize) -> Option<usize> {
        let n = self.next[of].fetch_add(1, Ordering::Relaxed);
        let enough = match of {
            0 => n >= self.most.submissions || self.documents.lock().unwrap().len() >= self.most.documents,
            _ => n >= self.most.letters,
        };
        (!enough && !self.over.load(Ordering::Relaxed)).then_some(n)
    }

    /// A submission with some files, to its end.
    async fn submission(&self, n: usize) {
        let mut chance = StdRng::seed_from_u64(self.seed ^ ((n as u64) << 20));
        let mut files: Vec<(String, Vec<u8>, bool)> = Vec::new();
        let claim = claim_number(n);
        for place in 0..chance.random_range(2..5) {
            let words = chance.random_range(1..300);
            let text = format!("Note {place} on claim {claim}.\n{}", "nothing further of note. ".repeat(words));
            files.push((format!("{n}-note-{place}.txt"), text.into_bytes(), false));
        }
        if chance.random_range(0..6) == 0 {
            let (name, bytes) = sample("nakamura-claim-status.png");
            files.push((format!("{n}-{name}"), bytes, false));
        }
        if chance.random_range(0..8) == 0 {
            files.push((format!("{n}-eicar.txt"), eicar(), true));
        }
        let said = json!({ "claim_number": claim, "member_id": "MH40726183", "tin": "004417203" });
        let open = json!({ "kind": "reconsideration", "said": said, "sender_reference": format!("parcel {n}") });
        let key = format!("parcel-{n}");
        let opened = self.until(StatusCode::CREATED, Method::POST, "/v1/submissions", &key, open.to_string()).await;
        let id = opened["id"].as_str().unwrap().to_owned();
        let infected = files.iter().any(|(_, _, infected)| *infected);
        for (place, (name, bytes, infected)) in files.into_iter().enumerate() {
            let path = format!("/v1/submissions/{id}/files/{name}");
            let key = format!("parcel-{n}-{place}");
            let receipt = self.until(StatusCode::CREATED, Method::PUT, &path, &key, bytes.clone()).await;
            let document = receipt["document"].as_str().unwrap().to_owned();
            let accepted = Accepted { name, of: n, bytes, infected };
            let before = self.documents.lock().unwrap().insert(document, accepted);
            assert!(before.is_none(), "two files have one id");
        }
        self.until(StatusCode::ACCEPTED, Method::POST, &format!("/v1/submissions/{id}/submit"), "", "").await;
        let ends = if infected { "failed_virus" } else { "accepted" };
        self.ended(&format!("/v1/submissions/{id}"), &["open", "submitted"], ends).await;
        self.submissions.lock().unwrap().insert(id);
    }

    /// A letter, to where it is routed. Every third is asked for twice.
    async fn letter(&self, n: usize) {
        let kind = [Kind::Inbox, Kind::Paper, Kind::Inbox, Kind::Fax, Kind::Inbox][n % 5];
        let event = format!("event-{n}");
        let asked = match kind {
            Kind::Inbox => denial(&event, "004417203", "CL2638150472"),
            Kind::Paper => denial(&event, "003905721", "CL2618395240"),
            Kind::Fax => json!({
                "event_id": event, "type": "precertification_received", "addressee": { "tin": "006139578" },
                "case_number": "PC-1G6ZP3SN", "circumstances": ["by_fax"],
                "details": {
                    "received_on": today(), "services": [{ "code": "72148", "description": "MRI of the lower spine" }],
                },
            }),
        };
        let ask = async || {
            let answer = self.until(StatusCode::ACCEPTED, Method::POST, "/v1/letters", "", asked.to_string()).await;
            answer["id"].as_str().unwrap().to_owned()
        };
        let id = ask().await;
        if n.is_multiple_of(3) {
            assert_eq!(ask().await, id, "the same event, the same letter");
        }
        self.letters.lock().unwrap().insert(event, (kind, id.clone()));
        self.ended(&format!("/v1/letters/{id}"), &["asked", "composed", "rendered"], "routed").await;
    }

    /// What was sent, in figures.
    pub(super) fn told(&self) -> String {
        format!(
            "{} documents, {} letters asked for and {} of cases, {} requests sent again",
            self.documents.lock().unwrap().len(),
            self.letters.lock().unwrap().len(),
            self.submissions.lock().unwrap().len(),
            self.again.load(Ordering::Relaxed),
        )
    }

    /// Sends a request until it is answered as it is to be.
    pub(super) async fn until(
        &self,
        status: StatusCode,
        method: Method,
        path: &str,
        key: &str,
        body: impl Into<reqwest::Body> + Clone,
    ) -> Value {
        let (began, mut last) = (Instant::now(), String::new());
        loop {
            let request = self.client.request(method.clone(), format!("{}{path}", self.url)).body(body.clone());
            let request = request.header("content-type", "application/json");
            let request = if key.is_empty() { request } else { request.header("Idempotency-Key", key) };
            match request.send().await {
                Ok(answer) if answer.status() == status => {
                    if let Ok(answer) = answer.json().await {
                        return answer;
                    }
                }
                Ok(answer) => last = format!("{} {}", answer.status(), answer.text().await.unwrap_or_default()),
                Err(error) => last = error.to_string(),
            }
            self.again.fetch_add(1, Ordering::Relaxed);
            assert!(began.elapsed() < PATIENCE, "{method} {path} was never answered well: {last}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until something is in none of these states any more, and then in that one.
    async fn ended(&self, path: &str, on_its_way: &[&str], end: &str) {
        let began = Instant::now();
        let mut pause = Duration::from_millis(150);
        loop {
            let looked = self.until(StatusCode::OK, Method::GET, path, "", "").await;
            let state = looked["state"].as_str().unwrap();
            if !on_its_way.contains(&state) {
                assert_eq!(state, end, "{looked}");
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{path} does not come to its end: {looked}");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
}

fn today() -> jiff::civil::Date {
    lettercase::outside::context::Context::system().now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// A denial of a claim to its practice.
fn denial(event: &str, tin: &str, claim: &str) -> Value {
    let today = today();
    json!({
        "event_id": event, "type": "claim_denied", "addressee": { "tin": tin }, "claim_number": claim,
        "details": {
            "decided_on": today,
            "lines": [{
                "service_on": "2026-06-11", "code": "99214", "description": "Office visit, established patient",
                "billed_cents": 21_500, "reason": "Sent too late",
            }],
            "denial": {
                "class": "administrative", "reason": "The claim came more than 180 days after the day of service.",
                "appeal_level": "first", "appeal_deadline": today.saturating_add(180.days()),
            },
        },
    })
}
