//! Who else has to do with an installation meanwhile: a printer, a fax gateway, the times at which digests go, and
//! somebody who asks for the bytes of documents that are not judged yet.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::date;
use lettercase::db::Stamp;
use lettercase::model::digest::Cadence;
use lettercase::outside::context::Context;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Row};

use super::installation::{Installation, name_of};
use super::load::Load;
use crate::support::digests::insert_run;

/// Them, and what they saw.
#[derive(Default)]
pub(super) struct Others {
    /// Jobs that the gateway took, and how often.
    pub(super) faxed: Mutex<BTreeMap<String, usize>>,
    runs: AtomicUsize,
    /// Documents whose bytes were given out.
    read: AtomicUsize,
}

const MAILED: &str = "{\"all\":true,\"event\":\"mailed\"}";

impl Others {
    /// Does what each of them does, again and again: to be dropped when it is over.
    pub(super) async fn go_on(&self, to: &Installation, load: &Load) {
        let printer = async {
            loop {
                tokio::time::sleep(Duration::from_millis(2_000)).await;
                self.print(load).await;
            }
        };
        let gateway = async {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                self.take_faxes(to);
            }
        };
        let runs = async {
            loop {
                tokio::time::sleep(Duration::from_millis(3_000)).await;
                self.run_digests(to).await;
            }
        };
        let reader = async {
            loop {
                tokio::time::sleep(Duration::from_millis(150)).await;
                self.read_some(load).await;
            }
        };
        tokio::join!(printer, gateway, runs, reader);
    }

    /// What they did, in figures.
    pub(super) fn told(&self) -> String {
        let faxes = self.faxed.lock().unwrap().len();
        format!(
            "{faxes} faxes, {} runs of digests, bytes read {} times",
            self.runs.load(Ordering::Relaxed),
            self.read.load(Ordering::Relaxed)
        )
    }

    /// Closes a batch of what waits, and says of each that is put together that it was mailed. What is not answered is
    /// done the next time.
    async fn print(&self, load: &Load) {
        let post = async |path: String, body: &'static str| {
            let request = load.client.post(format!("{}{path}", load.url)).body(body);
            request.header("content-type", "application/x-ndjson").send().await.ok()
        };
        let close = load.client.post(format!("{}/v1/print-batches", load.url)).send().await;
        if let Ok(answer) = close {
            // a transaction that met another one is sent again
            let known = [StatusCode::CREATED, StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE];
            assert!(known.contains(&answer.status()), "{}", answer.status());
        }
        let listed = load.client.get(format!("{}/v1/print-batches?limit=500", load.url)).send().await;
        let Ok(Ok(listed)) =
            futures::future::OptionFuture::from(listed.ok().map(|answer| answer.json::<Value>())).await.ok_or(())
        else {
            return;
        };
        for batch in listed["batches"].as_array().into_iter().flatten() {
            if batch["state"] == "assembled" && batch["envelopes"] != 0 {
                let name = batch["name"].as_str().unwrap();
                post(format!("/v1/print-batches/{name}/acknowledge"), MAILED).await;
            }
        }
    }

    /// Takes what lies in `out/`, as a gateway does: the control file, once it is there, and its picture.
    fn take_faxes(&self, to: &Installation) {
        let out = to.fax.path().join("out");
        let Ok(entries) = fs::read_dir(&out) else { return };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.extension().is_none_or(|end| end != "json") {
                continue;
            }
            let control: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let picture = out.join(control["picture"].as_str().unwrap());
            let hash = hex::encode(Sha256::digest(fs::read(&picture).unwrap()));
            assert_eq!(control["sha256"], hash, "a job is there as a whole");
            let job = control["job"].as_str().unwrap().to_owned();
            *self.faxed.lock().unwrap().entry(job.clone()).or_default() += 1;
            fs::remove_file(&path).unwrap();
            fs::remove_file(&picture).unwrap();
            let answer = json!({ "outcome": "sent", "at": Context::system().now(), "pages": control["pages"] });
            let answers = to.fax.path().join("answers");
            fs::write(answers.join(format!(".{job}")), answer.to_string()).unwrap();
            fs::rename(answers.join(format!(".{job}")), answers.join(format!("{job}.json"))).unwrap();
        }
    }

    /// Opens a run of digests: each time that of the next day. They are days to come, so that none has had its mails
    /// already: a user gets one of a kind a day (COR-33).
    pub(super) async fn run_digests(&self, to: &Installation) {
        let day = date(2030, 1, 1).saturating_add((self.runs.fetch_add(1, Ordering::Relaxed) as i64).days());
        let (db, ctx) = (to.site.db().await, Context::system());
        let stamp = Stamp { ctx: &ctx, actor: "test" };
        let mut tx = db.begin().await.unwrap();
        insert_run(&mut tx, stamp, &"meridian".parse().unwrap(), &[Cadence::Daily], day).await;
        let at_once = "UPDATE schedule_revision SET timing = '{\"spread_minutes\":0}' WHERE schedule_id = 'of-tests'";
        sqlx::query(AssertSqlSafe(at_once)).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        db.close().await;
    }

    /// Asks for bytes of documents as soon as their ids are known: of what is clean they come, of others never.
    async fn read_some(&self, load: &Load) {
        let some: Vec<String> = {
            let documents = load.documents.lock().unwrap();
            // infected ones again and again, and of the others now this one, now that one
            let at = rand::random_range(0..documents.len().max(1));
            let infected = documents.iter().filter(|(_, accepted)| accepted.infected).map(|(id, _)| id).take(2);
            documents.keys().skip(at).take(1).chain(infected).cloned().collect()
        };
        for id in some {
            let Ok(answer) = load.client.get(format!("{}/v1/documents/{id}/content", load.url)).send().await else {
                continue;
            };
            if !answer.status().is_success() {
                continue;
            }
            let Ok(bytes) = answer.bytes().await else { continue };
            let documents = load.documents.lock().unwrap();
            let accepted = &documents[&id];
            assert!(!accepted.infected, "an infected document was given out");
            assert!(bytes == accepted.bytes, "other bytes than were sent were given out");
            self.read.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sees to what is left, until all ways have come to their end.
    pub(super) async fn finish(&self, to: &Installation, load: &Load, patience: Duration) {
        let began = std::time::Instant::now();
        let mut further = 1;
        self.run_digests(to).await;
        loop {
            to.site.until_done_within(patience).await;
            self.print(load).await;
            self.take_faxes(to);
            let left = to
                .rows(
                    "SELECT 'delivery ' || channel || ' ' || state AS what FROM delivery WHERE state IN ('waiting', 'in_batch')
                     UNION ALL SELECT 'mail ' || state FROM digest_mail WHERE state IN ('planned', 'claimed', 'submitting', 'retry')
                     UNION ALL SELECT 'run ' || state FROM digest_run r WHERE ended_at IS NULL AND NOT EXISTS
                         (SELECT 1 FROM digest_mail d WHERE d.run_id = r.id AND d.state = 'in_doubt')
                     UNION ALL SELECT 'batch ' || state FROM print_batch WHERE state <> 'done' AND envelopes > 0",
                )
                .await;
            if left.is_empty() {
                // a mail that was sent again keeps what came after it waiting until it has gone (COR-33)
                let untold = to.number("SELECT COUNT(*) AS n FROM notification WHERE state = 'waiting'").await;
                if untold == 0 || further == 0 {
                    return;
                }
                further -= 1;
                self.run_digests(to).await;
            }
            assert!(
                began.elapsed() < patience,
                "not at its end: {:?}",
                left.iter().map(|row| row.get::<String, _>("what")).collect::<Vec<_>>()
            );
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Has half of the mails in doubt sent again, and closes the others. Answers those that were sent again.
    pub(super) async fn decide_mails(&self, to: &Installation, load: &Load) -> Vec<String> {
        let mut again = Vec::new();
        let doubtful = to.rows("SELECT id FROM digest_mail WHERE state = 'in_doubt' ORDER BY id").await;
        for (n, row) in doubtful.iter().enumerate() {
            let id = row.get::<String, _>("id");
            let send_again = n % 2 == 0;
            let decided = decide(to, load, &id, send_again).await;
            again.extend((decided && send_again).then_some(id));
        }
        again
    }
}

/// Decides on a mail as long as it is in doubt: of one that another node took for lost, because of a clock, the relay's
/// answer may come at any time. False when it has come.
async fn decide(to: &Installation, load: &Load, id: &str, send_again: bool) -> bool {
    let looked = format!("SELECT version FROM digest_mail WHERE state = 'in_doubt' AND id = '{id}'");
    loop {
        let Some(version) = to.rows(&looked).await.first().map(|row| row.get::<i64, _>("version")) else {
            return false;
        };
        let request = load.client.post(format!("{}/v1/mails/{id}/decide", load.url));
        let request = request.header("If-Match", format!("\"{version}\"")).json(&json!({ "send_again": send_again }));
        let answer = request.send().await.unwrap();
        if answer.status() != StatusCode::PRECONDITION_FAILED {
            assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
            return true;
        }
    }
}

/// Names of the files that lie in `answers/`: none, when all were dealt with.
pub(super) fn unread_answers(to: &Installation) -> Vec<String> {
    let entries = fs::read_dir(to.fax.path().join("answers")).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| name_of(&path)).filter(|name| name.ends_with(".json")).collect()
}
