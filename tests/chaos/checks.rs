//! What must hold in the end, whatever happened on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lettercase::digests::mail::token::{Purpose, TokenKey};
use lettercase::engine::sequencer::AuditKey;
use lettercase::model::ids::{Brand, Sha256};
use lettercase::outside::objects::{self, ObjectKey, Objects, Place};
use sha2::Digest;
use sqlx::Row;

use super::installation::{Installation, claim_number, rows};
use super::load::{Kind, Load};
use super::others::{Others, unread_answers};

/// What nodes never say.
const FAULTS: [&str; 5] =
    ["panicked", "a fault of the program", "is not in the store", "a letter had no work", "dead letter"];

/// Waits until nothing is left to do, has mails in doubt decided on, and waits once more. Answers the mails that were
/// sent again.
pub(super) async fn quiet(to: &Installation, load: &Load, others: &Others, patience: Duration) -> Vec<String> {
    others.finish(to, load, patience).await;
    let sent_again = others.decide_mails(to, load).await;
    others.finish(to, load, patience).await;
    until_swept(to, patience).await;
    sent_again
}

/// Compares what was promised with what is there, when all nodes have ended.
pub(super) async fn all(to: &Installation, load: &Load, others: &Others, sent_again: &[String]) {
    nothing_was_said(to);
    to.site.assert_conserved().await;
    let store = objects::open(&to.site.settings().objects_options()).await.unwrap();
    documents(to, load, store.as_ref()).await;
    letters(to, load, others, store.as_ref()).await;
    mails(to, sent_again).await;
    nothing_is_left_over(to, store.as_ref()).await;
}

fn nothing_was_said(to: &Installation) {
    for log in to.logs() {
        let log = std::fs::read_to_string(log).unwrap();
        for fault in FAULTS {
            let line = log.lines().find(|line| line.contains(fault));
            assert_eq!(line, None, "{fault}");
        }
    }
}

fn hash(bytes: &[u8]) -> Sha256 {
    hex::encode(sha2::Sha256::digest(bytes)).parse().unwrap()
}

fn brand() -> Brand {
    "meridian".parse().unwrap()
}

/// Each document that was accepted by an answer is there once, with its bytes, and no other is.
async fn documents(to: &Installation, load: &Load, store: &dyn Objects) {
    let found = to
        .rows(
            "SELECT d.id AS id, d.file_name AS name, d.state AS state, COALESCE(d.reason_code, '-') AS reason,
                    COALESCE(d.sha256, '-') AS sha256, COALESCE(c.state, '-') AS content, s.state AS submission,
                    COALESCE(k.claim_number, '-') AS claim,
                    CAST((SELECT COUNT(*) FROM receipt r WHERE r.subject = d.id) AS BIGINT) AS receipts
             FROM document d LEFT JOIN content c ON c.brand = d.brand AND c.sha256 = d.sha256
             JOIN submission s ON s.id = d.submission_id LEFT JOIN case_file k ON k.id = d.case_id",
        )
        .await;
    let accepted = load.documents.lock().unwrap().clone();
    let mut seen = BTreeSet::new();
    let mut read: BTreeMap<String, bool> = BTreeMap::new();
    for row in &found {
        let [id, name, state, reason, sha256, content, submission, claim] =
            ["id", "name", "state", "reason", "sha256", "content", "submission", "claim"]
                .map(|column| row.get::<String, _>(column));
        let receipts = row.get::<i64, _>("receipts");
        if reason == "incomplete" {
            assert_eq!((state.as_str(), receipts, accepted.contains_key(&id)), ("rejected", 0, false), "{name}");
            continue;
        }
        let sent = accepted.get(&id).unwrap_or_else(|| panic!("{name} is there, and no answer said so: {state}"));
        assert_eq!((&name, &sha256, receipts), (&sent.name, &hash(&sent.bytes).to_string(), 1));
        let key = match sent.infected {
            true => ObjectKey::quarantine(&brand(), &hash(&sent.bytes)),
            false => ObjectKey::content(&brand(), &hash(&sent.bytes)),
        };
        // on the case of the claim that was named, and on no other; beside a virus nothing comes to a case
        let expected = match (sent.infected, submission.as_str()) {
            (true, "failed_virus") => ("quarantined", "-".to_owned()),
            (false, "failed_virus") => ("stored", "-".to_owned()),
            _ => ("matched", claim_number(sent.of)),
        };
        assert_eq!((state.as_str(), claim), expected, "{name} of a submission that is {submission}: {reason}");
        assert_eq!(content, if sent.infected { "infected" } else { "clean" }, "{name}");
        assert!(seen.insert(id));
        if read.insert(sha256, true).is_none() {
            let bytes = store.get_bytes(&key, 1 << 21).await.unwrap();
            assert!(bytes.as_deref() == Some(&sent.bytes), "{name}: the store has other bytes");
        }
    }
    let lost: Vec<_> = accepted.iter().filter(|(id, _)| !seen.contains(*id)).map(|(_, sent)| &sent.name).collect();
    assert!(lost.is_empty(), "accepted, and not there: {lost:?}");
    assert!(accepted.len() > 10, "{} documents say nothing", accepted.len());
    let submissions: BTreeSet<String> =
        to.rows("SELECT id FROM submission").await.iter().map(|row| row.get("id")).collect();
    assert_eq!(submissions, *load.submissions.lock().unwrap(), "submissions");
}

/// Each letter that was asked for is there once and came by its way once; each case asked for its letter.
async fn letters(to: &Installation, load: &Load, others: &Others, store: &dyn Objects) {
    let found = to
        .rows(
            "SELECT l.id AS id, l.event_id AS event_id, l.state AS state, COALESCE(l.sha256, '-') AS sha256,
                    CAST((SELECT COUNT(*) FROM message m WHERE m.letter_id = l.id) AS BIGINT) AS messages,
                    CAST((SELECT COUNT(*) FROM delivery d WHERE d.letter_id = l.id AND d.channel = 'inbox'
                          AND d.state = 'delivered') AS BIGINT) AS inboxes,
                    CAST((SELECT COUNT(*) FROM delivery d WHERE d.letter_id = l.id AND d.channel = 'paper'
                          AND d.state = 'delivered') AS BIGINT) AS papers,
                    CAST((SELECT COUNT(*) FROM envelope_letter e JOIN envelope v ON v.id = e.envelope_id
                          WHERE e.letter_id = l.id AND v.state = 'mailed') AS BIGINT) AS mailed,
                    CAST((SELECT COUNT(*) FROM envelope_letter e WHERE e.letter_id = l.id) AS BIGINT) AS envelopes,
                    COALESCE((SELECT d.id FROM delivery d WHERE d.letter_id = l.id AND d.channel = 'fax'
                          AND d.state = 'delivered'), '-') AS fax,
                    CAST((SELECT COUNT(*) FROM delivery d WHERE d.letter_id = l.id AND d.state <> 'delivered')
                          AS BIGINT) AS others
             FROM letter l",
        )
        .await;
    let asked = load.letters.lock().unwrap().clone();
    let faxed = others.faxed.lock().unwrap().clone();
    let mut seen = BTreeSet::new();
    let mut faxes = 0;
    for row in &found {
        let [id, event, state, sha256, fax] =
            ["id", "event_id", "state", "sha256", "fax"].map(|column| row.get::<String, _>(column));
        let [messages, inboxes, papers, mailed, envelopes, others] =
            ["messages", "inboxes", "papers", "mailed", "envelopes", "others"].map(|n| row.get::<i64, _>(n));
        let told = format!(
            "{event}: {state}, messages {messages} for {inboxes} ways, envelopes {envelopes}, of them {mailed} mailed, \
             for {papers} ways, fax {fax}, not arrived {others}"
        );
        assert_eq!((state.as_str(), others), ("routed", 0), "{told}");
        assert_eq!((messages, envelopes, mailed), (inboxes, papers, papers), "{told}");
        if fax != "-" {
            faxes += 1;
            let jobs: Vec<_> = faxed.iter().filter(|(job, _)| job.starts_with(&fax)).collect();
            assert!(matches!(jobs[..], [(_, 1)]), "{told}: {jobs:?}");
        }
        let way = (inboxes > 0, papers > 0, fax != "-");
        match asked.get(&event) {
            Some((kind, known)) => {
                assert_eq!(*known, id, "{told}");
                let expected = match kind {
                    Kind::Inbox => (true, false, false),
                    Kind::Paper => (false, true, false),
                    // it shows in the Messaging Center, too, and is on paper where nobody reads it there
                    Kind::Fax => (way.0, way.1, true),
                };
                assert_eq!(way, expected, "{told}");
            }
            // a case asked for it
            None => assert_eq!(way, (true, false, false), "{told}"),
        }
        assert!(seen.insert(event), "{told}: twice");
        let pdf = store.get_bytes(&ObjectKey::letter(&brand(), &sha256.parse().unwrap()), 1 << 21).await.unwrap();
        assert!(pdf.is_some_and(|pdf| hash(&pdf).as_str() == sha256), "{told}: its PDF is not in the store");
    }
    let lost: Vec<_> = asked.keys().filter(|event| !seen.contains(*event)).collect();
    assert!(lost.is_empty(), "asked for, and not there: {lost:?}");
    assert_eq!(faxed.len(), faxes, "faxes that no letter has: {faxed:?}");
    assert!(asked.len() > 10 && faxes > 0, "{} letters and {faxes} faxes say nothing", asked.len());
    assert_eq!(unread_answers(to), Vec::<String>::new());
    let submissions = load.submissions.lock().unwrap().len();
    let failed = load.documents.lock().unwrap().values().filter(|sent| sent.infected).count();
    assert_eq!(found.len() - asked.len(), submissions + failed, "letters that cases asked for");
    let cases = to.number("SELECT COUNT(*) AS n FROM case_file WHERE origin = 'here'").await;
    assert_eq!(usize::try_from(cases).unwrap(), submissions, "one case for each claim");
    for (what, statement) in [
        (
            "notices twice",
            "SELECT COUNT(*) AS n FROM (SELECT event_id FROM message WHERE event_id IS NOT NULL
                           GROUP BY event_id, tin HAVING COUNT(*) > 1) AS twice",
        ),
        (
            "print files twice",
            "SELECT COUNT(*) AS n FROM (SELECT pdf_sha256 FROM print_batch WHERE envelopes > 0
                           GROUP BY pdf_sha256 HAVING COUNT(*) > 1) AS twice",
        ),
        (
            "batches not put together",
            "SELECT COUNT(*) AS n FROM print_batch WHERE envelopes > 0 AND pdf_sha256 IS NULL",
        ),
        (
            "serials twice",
            "SELECT COUNT(*) AS n FROM (SELECT serial FROM envelope GROUP BY mailer_id, serial
                           HAVING COUNT(*) > 1) AS twice",
        ),
        (
            "notifications twice",
            "SELECT COUNT(*) AS n FROM (SELECT user_id FROM notification
                           GROUP BY user_id, message_id HAVING COUNT(*) > 1) AS twice",
        ),
        ("not told of", "SELECT COUNT(*) AS n FROM notification WHERE state = 'waiting'"),
    ] {
        assert_eq!(to.number(statement).await, 0, "{what}");
    }
}

/// Mails that arrived are those that are accepted, once each; what is in doubt may have, and what a person had sent again
/// may have twice.
async fn mails(to: &Installation, sent_again: &[String]) {
    let tokens = TokenKey::new(&AuditKey([0x17; 32]), Purpose::Message);
    let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
    for file in std::fs::read_dir(to.mails.path()).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let id = text.lines().find_map(|line| line.strip_prefix("Message-ID: <")).unwrap();
        let mail = tokens.read(id.split('@').next().unwrap()).expect("a mail of ours");
        *arrived.entry(mail.to_string()).or_default() += 1;
    }
    let mails = to.rows("SELECT id, state FROM digest_mail").await;
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for row in &mails {
        let (id, state) = (row.get::<String, _>("id"), row.get::<String, _>("state"));
        let times = arrived.remove(&id).unwrap_or_default();
        let good = match state.as_str() {
            "accepted" if sent_again.contains(&id) => (1..=2).contains(&times),
            "accepted" => times == 1,
            "in_doubt" | "closed" => times <= 1,
            "empty" | "folded" => times == 0,
            _ => false,
        };
        assert!(good, "a mail is {state} and arrived {times} times; sent again: {}", sent_again.contains(&id));
        *told.entry(state).or_default() += 1;
    }
    assert!(arrived.is_empty(), "mails that nobody knows: {arrived:?}");
    eprintln!("mails: {told:?}");
}

/// The store holds what rows name and nothing else, once reconcilers have swept.
async fn nothing_is_left_over(to: &Installation, store: &dyn Objects) {
    let named: BTreeSet<String> = to
        .rows(
            "SELECT sha256 AS name FROM letter WHERE sha256 IS NOT NULL
             UNION SELECT pdf_sha256 FROM print_batch WHERE pdf_sha256 IS NOT NULL
             UNION SELECT json_sha256 FROM print_batch WHERE json_sha256 IS NOT NULL
             UNION SELECT csv_sha256 FROM print_batch WHERE csv_sha256 IS NOT NULL",
        )
        .await
        .iter()
        .map(|row| row.get("name"))
        .collect();
    let stored = stored_letters(store).await;
    let hash_of = |name: &String| name.rsplit('/').next().unwrap_or_default().split('.').next().unwrap().to_owned();
    let surplus: Vec<_> = stored.iter().filter(|name| !named.contains(&hash_of(name))).collect();
    assert!(surplus.is_empty(), "objects that no row names: {surplus:?}");
    assert_eq!(stored.len(), named.len(), "letters and print files");
    for place in [Place::Incoming, Place::Parts] {
        assert!(store.list(place, None, 10).await.unwrap().is_empty(), "{place:?}");
    }
}

/// Waits until reconcilers have swept what crashes left of PDFs.
async fn until_swept(to: &Installation, patience: Duration) {
    let store = objects::open(&to.site.settings().objects_options()).await.unwrap();
    let began = Instant::now();
    loop {
        let db = to.site.db().await;
        let named = {
            let mut conn = db.read().await.unwrap();
            let statement = "SELECT CAST((SELECT COUNT(DISTINCT sha256) FROM letter WHERE sha256 IS NOT NULL)
                                  + 3 * (SELECT COUNT(*) FROM print_batch WHERE pdf_sha256 IS NOT NULL) AS BIGINT) AS n";
            rows(&mut conn, statement).await[0].get::<i64, _>("n")
        };
        db.close().await;
        let stored = stored_letters(store.as_ref()).await.len();
        if i64::try_from(stored).unwrap() == named {
            return;
        }
        assert!(began.elapsed() < patience, "{stored} objects in letters/, rows name {named}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The names of all objects among letters and print files.
async fn stored_letters(store: &dyn Objects) -> Vec<String> {
    let mut stored: Vec<String> = Vec::new();
    loop {
        let page = store.list(Place::Letters, stored.last().map(String::as_str), 1_000).await.unwrap();
        let more = page.len() == 1_000;
        stored.extend(page.into_iter().map(|(name, _)| name));
        if !more {
            return stored;
        }
    }
}
