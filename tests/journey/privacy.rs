//! No health data where none may be: a whole journey with planted identifiers, and then a look everywhere.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use futures::stream;
use lettercase::db::ledger;
use lettercase::intake::review;
use lettercase::model::case::CaseKind;
use lettercase::model::document::DocumentState;
use lettercase::model::reference::ReferenceKind;
use lettercase::model::submission::{Said, SubmissionState};
use lettercase::outside::objects::Place;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::prelude::*;

use super::{made, no_scanner, node, objects_in, send, settle, texts};
use crate::hostile::build::pdf;
use crate::http::Server;
use crate::on_both;
use crate::support::{World, eicar, plan};

const CLAIM: &str = "CLQX77PLANTED1";
const MEMBER: &str = "MHQX77PLANTED2";
const CASE: &str = "APQX77PLANTED3";
const CONTROL: &str = "ACNQX77PLANTED4";
const TIN: &str = "917354628";
const FIRST: &str = "Quetzalina";
const LAST: &str = "Vanderplank";
const BORN: &str = "1931-07-19";

/// Everything that must not be found. File names and contents are made of these.
const PLANTED: [&str; 8] = [CLAIM, MEMBER, CASE, CONTROL, TIN, FIRST, LAST, BORN];

/// What the program logs while it is switched on, at every level and of every crate.
pub(crate) struct Log {
    readers: AtomicUsize,
    text: Arc<Mutex<Vec<u8>>>,
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) static LOG: LazyLock<Log> = LazyLock::new(|| {
    let text = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&text);
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(move || Writer(Arc::clone(&to)))
        .with_filter(dynamic_filter_fn(|_, _| LOG.readers.load(Ordering::Relaxed) > 0));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
    Log { readers: AtomicUsize::new(0), text }
});

impl Log {
    /// Has what is logged be kept, until as many are off as were on.
    pub(crate) fn on(&self) {
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn off(&self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }
}

async fn load_planted(world: &World) {
    let member = format!(
        r#"{{"brand":"meridian","member_id":"{MEMBER}","first_name":"{FIRST}","last_name":"{LAST}","birth_date":"{BORN}"}}"#
    );
    // rows that are refused hold what they hold
    let torn = member.replace("meridian", "No Brand") + "\n" + &member.replace("1931-07-19", "Vanderplank");
    let claim = format!(
        r#"{{"brand":"meridian","claim_number":"{CLAIM}","member_id":"{MEMBER}","tin":"{TIN}","status":"Paid","service_from":"2026-01-02","service_to":"2026-01-02"}}"#
    );
    let case = format!(
        r#"{{"brand":"meridian","case_number":"{CASE}","kind":"appeal","status":"Received","member_id":"{MEMBER}","tin":"{TIN}","attachment_control_number":"{CONTROL}","opened_on":"2026-01-02"}}"#
    );
    let tin = format!(r#"{{"tin":"{TIN}","name":"{LAST} Clinic"}}"#);
    for (kind, rows) in [
        (ReferenceKind::Tins, tin),
        (ReferenceKind::Members, format!("{member}\n{torn}")),
        (ReferenceKind::Claims, claim),
        (ReferenceKind::Cases, case),
    ] {
        let report = world.load(kind, &rows).await;
        assert_none(&format!("{:?}", report.rejects), "the load's report");
    }
}

fn assert_none(text: &str, place: &str) {
    for planted in PLANTED {
        if let Some(at) = text.to_lowercase().find(&planted.to_lowercase()) {
            let from = (0..=at.saturating_sub(200)).rev().find(|from| text.is_char_boundary(*from)).unwrap_or(0);
            let around: String = text[from..].chars().take(400).collect();
            panic!("{planted} is in {place}: …{around}…");
        }
    }
}

on_both! {
    async fn int_19_no_identifier_or_file_name_is_in_an_event_a_log_a_key_or_a_metric(world: &World) {
        LOG.on();
        load_planted(world).await;
        let said = |claim: &str, case: &str| Said {
            claim_number: claim.parse().ok(),
            case_number: case.parse().ok(),
            attachment_control_number: CONTROL.parse().ok(),
            member_id: MEMBER.parse().ok(),
            tin: TIN.parse().ok(),
            birth_date: BORN.parse().ok().map(lettercase::model::phi::Phi),
            ..Said::default()
        };
        let name = |end: &str| format!("{LAST} {FIRST} {MEMBER} {CLAIM} {end}");
        let text = format!("{FIRST} {LAST}, born {BORN}, member {MEMBER}, claim {CLAIM}, practice {TIN}");

        let blind = node(world, "blind", plan(), no_scanner()).await;
        let good = world.open(CaseKind::Appeal, said("", CASE)).await;
        let first = world.add(&good, &name("a.txt"), text.as_bytes()).await;
        world.add(&good, &name("b.pdf"), &pdf::letter(&text, "", &[])).await;
        assert!(world.try_add(&good, &name("a.txt"), b"twice").await.is_err());
        assert!(world.try_add(&good, &name("empty.txt"), b"").await.is_err());
        let gone = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let broken = stream::iter([Ok(Bytes::from(text.clone())), Err(gone)]);
        assert!(send(&world.app, &good, &name("c.txt"), None, broken).await.is_err());
        blind.engine.run_until_idle().await.unwrap();

        let bad = world.open(CaseKind::Reconsideration, said(CLAIM, "")).await;
        world.add(&bad, &name("virus.txt"), &eicar()).await;
        world.add(&bad, &name("locked.pdf"), &made("encrypted-pdf")).await;
        world.add(&bad, &name("held.doc"), &made("doc-with-macros")).await;
        world.add(&bad, &name("torn.docx"), b"PK\x03\x04 not a package").await;
        let lost = world.add(&bad, &name("lost.txt"), text.as_bytes()).await;
        let path = world.settings.data_dir.join("objects/incoming").join(lost.as_str());
        std::fs::remove_file(path).unwrap();
        for entry in std::fs::read_dir(world.app.intake.spool.dir()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert_none(&name, "the spool");
        }
        std::fs::remove_file(world.app.intake.spool.path(&lost)).unwrap();
        for id in [&good, &bad] {
            world.app.intake.submit("test", id).await.unwrap();
        }
        settle(world).await;
        assert_eq!(world.view(&good).await.state, SubmissionState::Accepted);
        assert_eq!(world.document(&first).await.state, DocumentState::Matched);
        review::undo_match(world.db(), world.stamp(), world.app.intake.aging(), &first, None).await.unwrap();
        world.settle().await;

        let server = Server::start(&world.app).await;
        let body = format!(r#"{{"kind":"appeal","said":{{"tin":"{LAST}","member_id":"{MEMBER}"}}}}"#);
        let (status, refused) = server.post("/v1/submissions", body).await;
        assert_eq!(status, 400);
        assert_none(&refused, "a problem");
        let (_, refused) = server.put(&good, &name("late.txt"), b"late").await;
        assert_none(&refused, "a problem");
        assert_none(&server.get("/metrics").await.1, "the metrics");
        assert_none(&server.get("/ready").await.1, "readiness");
        LOG.off();

        let log = LOG.text();
        assert!(log.contains("dead letter"), "{} bytes were logged, nothing of the lost file", log.len());
        assert_none(&log, "the log");
        assert_none(&format!("{:?}", world.spans.all()), "the spans");
        for (place, query) in [
            ("events", "SELECT id || type || subject || COALESCE(tin_uid, '') || actor || payload FROM event"),
            ("reasons of work", "SELECT stage || subject || COALESCE(node, '') || COALESCE(reason, '') FROM work"),
            ("reasons of documents", "SELECT COALESCE(reason, '') || COALESCE(detected, '') FROM document"),
            ("evidence", "SELECT evidence FROM match_candidate"),
            ("answers of cases", "SELECT answer FROM case_answer"),
            ("the ledger", "SELECT subject FROM posting"),
        ] {
            let rows = texts(world, query).await;
            assert!(!rows.is_empty(), "there is nothing in {place}");
            assert_none(&rows.join("\n"), place);
        }
        for place in [Place::Incoming, Place::Content, Place::Quarantine, Place::Audit] {
            assert_none(&objects_in(world, place).await.join("\n"), place.as_str());
        }
        let mut conn = world.db().read().await.unwrap();
        assert_none(&format!("{:?}", ledger::count(&mut conn).await.unwrap()), "the ledger's count");
    }
}
