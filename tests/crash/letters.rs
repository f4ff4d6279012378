//! kill -9 while letters are made: once inside each of their stages, at each of its places, and at moments nobody
//! chose. Each letter comes to its addressee once, with the bytes it would have had.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use lettercase::db::Stamp;
use lettercase::db::letters::{self, Addressee, NewLetter};
use lettercase::letters::LetterData;
use lettercase::model::ids::LetterNumber;
use lettercase::model::letter::stage::COMPOSE;
use lettercase::model::letter::{Circumstances, LetterType};
use lettercase::model::phi::Phi;
use lettercase::outside::context::Context;
use lettercase::outside::objects::{self, ObjectKey, Objects};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::Digest;
use tokio::sync::OnceCell;

use super::sender::until;
use super::site::{LetterTold, Site};
use crate::letters::RENDERER;
use crate::support::{On, block_on};

/// What the reconciler says of a letter that it puts to work: no crash may lead to that.
const WOKEN: &str = "a letter had no work";

const PLACES: [&str; 4] = ["loaded", "ran", "written", "committed"];

/// The day of this run: what letters say is the same in all of it.
static TODAY: LazyLock<Date> = LazyLock::new(|| {
    let now: Timestamp = Context::system().now();
    now.to_zoned(TimeZone::UTC).date()
});

/// What an administrative denial to a practice says.
fn details() -> Value {
    json!({
        "decided_on": *TODAY,
        "lines": [{
            "service_on": "2026-06-11", "code": "99214", "description": "Office visit, established patient",
            "billed_cents": 21_500, "reason": "Sent too late",
        }],
        "denial": {
            "class": "administrative", "reason": "We received the claim more than 180 days after the day of service.",
            "appeal_level": "first", "appeal_deadline": TODAY.saturating_add(180.days()),
        },
    })
}

/// Asks for the letter of this number, behind the server's back, so that what is on it is the same in each run.
async fn ask(site: &Site, n: u64) {
    let db = site.db().await;
    let ctx = Context::system();
    let stamp = Stamp { ctx: &ctx, actor: "test" };
    let new = NewLetter {
        id: &ctx.new_id().parse().unwrap(),
        brand: &"meridian".parse().unwrap(),
        letter_type: LetterType::ClaimDenied,
        asker: "test",
        event_id: &format!("event-{n}"),
        addressee: Addressee::Tin("004417203".parse().unwrap()),
        tin: None,
        member_id: Some(&"MH40726183".parse().unwrap()),
        claim_number: Some(&"CL2638150472".parse().unwrap()),
        case_id: None,
        details: &Phi(details().to_string()),
        circumstances: &Circumstances::new(),
        supersedes: None,
    };
    let mut tx = db.begin().await.unwrap();
    letters::ask(&mut tx, stamp, &new, COMPOSE).await.unwrap().unwrap();
    sqlx::query("UPDATE letter SET number = $1 WHERE id = $2")
        .bind(LetterNumber::from_random(n).as_str())
        .bind(new.id.as_str())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    db.close().await;
}

/// What became of all letters, by event. Each has its PDF in the store, and nothing else is there.
async fn letters_of(site: &Site) -> BTreeMap<String, LetterTold> {
    let store = objects::open(&site.settings().objects_options()).await.unwrap();
    let mut told = BTreeMap::new();
    for letter in site.letters().await {
        let bytes = pdf_of(store.as_ref(), &letter).await;
        assert!(bytes.starts_with(b"%PDF-1.7"), "{}", letter.event_id);
        let hash: String = sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, letter.sha256, "{}", letter.event_id);
        assert!(told.insert(letter.event_id.clone(), letter).is_none(), "two letters of an event");
    }
    let stored = store.list(objects::Place::Letters, None, 100).await.unwrap();
    assert_eq!(stored.len(), told.len(), "one object for each letter");
    told
}

async fn pdf_of(store: &dyn Objects, letter: &LetterTold) -> Vec<u8> {
    let key = ObjectKey::letter(&"meridian".parse().unwrap(), &letter.sha256.parse().unwrap());
    store.get_bytes(&key, 1 << 20).await.unwrap().expect("the PDF is in the store")
}

/// What becomes of the letters when nothing happens on the way.
async fn undisturbed() -> &'static BTreeMap<String, LetterTold> {
    static OUTCOME: OnceCell<BTreeMap<String, LetterTold>> = OnceCell::const_new();
    OUTCOME
        .get_or_init(|| async {
            let site = Site::new(On::Sqlite).await;
            for n in 0..PLACES.len() {
                ask(&site, n as u64).await;
            }
            let server = site.serve(None).await;
            site.until_done().await;
            server.terminate().await;
            site.assert_conserved().await;
            let told = letters_of(&site).await;
            assert_eq!(told.len(), PLACES.len());
            for letter in told.values() {
                assert!(letter.line.starts_with("routed -; ways inbox delivered"), "{}", letter.line);
                assert!(
                    letter.line.contains("messages 1, receipts 1; asked composed rendered routed |"),
                    "{}",
                    letter.line
                );
            }
            told
        })
        .await
}

/// One installation, killed at each place of the stage. Each time another letter is on its way, beside those that were
/// killed before it.
fn killed_in(on: On, stage: &str) {
    block_on(async {
        undisturbed().await;
        let site = Site::new(on).await;
        for (n, place) in PLACES.iter().enumerate() {
            ask(&site, n as u64).await;
            let mut server = site.serve(Some(&format!("{stage}-{place}"))).await;
            server.until_logged("stopped by a fail point").await;
            server.kill().await;
        }
        let server = site.serve(None).await;
        site.until_done().await;
        let (status, log) = server.terminate().await;
        assert!(status.success(), "{stage}: {status}, {log}");
        for fault in [WOKEN, "was swept", "is not in the store"] {
            assert!(!log.contains(fault), "{stage}: {fault}: {log}");
        }
        site.assert_conserved().await;
        let (found, expected) = (letters_of(&site).await, undisturbed().await);
        assert_eq!(found.len(), expected.len(), "{stage}");
        for (event, letter) in found {
            let usual = &expected[&event];
            assert_eq!(letter.line, usual.line, "{stage}: {event}");
            // a run over midnight has letters of two days
            if letter.date == usual.date {
                assert_eq!(
                    (letter.data, letter.sha256),
                    (usual.data.clone(), usual.sha256.clone()),
                    "{stage}: {event}"
                );
            }
        }
    });
}

macro_rules! stages {
    ($($stage:ident),*) => {
        $(mod $stage {
            use super::*;
            #[test]
            fn sqlite() {
                killed_in(On::Sqlite, stringify!($stage));
            }
            #[test]
            fn postgres() {
                killed_in(On::Postgres, stringify!($stage));
            }
        })*
    };
}

stages!(compose, render, route, deliver);

/// What no crash does, a fault may: the node finds the letter.
#[test]
fn a_node_puts_letters_without_work_to_work_again() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        ask(&site, 0).await;
        let db = site.db().await;
        let mut tx = db.begin().await.unwrap();
        sqlx::query("DELETE FROM work").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        db.close().await;
        let mut server = site.serve(None).await;
        server.until_logged(WOKEN).await;
        site.until_done().await;
        server.terminate().await;
        site.assert_conserved().await;
        assert_eq!(letters_of(&site).await["event-0"].line, undisturbed().await["event-0"].line);
    });
}

const ROUNDS: usize = 6;
const LETTERS: usize = 20;

/// Twenty letters in flight; each is asked for twice, by a sender who asks until it is answered.
async fn rounds(on: On) {
    let site = Site::new(on).await;
    let (client, url) = (site.client().await, format!("{}/v1/letters", site.url()));
    let send = async |n: usize| {
        let asked = json!({
            "event_id": format!("event-{n}"), "type": "claim_denied", "addressee": { "tin": "004417203" },
            "claim_number": "CL2638150472", "details": details(),
        });
        let answered = async || {
            let answer = client.post(&url).json(&asked).send().await.ok()?;
            (answer.status() == StatusCode::ACCEPTED).then_some(())?;
            Some(answer.json::<Value>().await.ok()?["id"].clone())
        };
        assert_eq!(until(answered).await, until(answered).await, "the same event, the same letter");
    };
    let killer = async {
        for _ in 0..ROUNDS {
            let server = site.serve(None).await;
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..1_500))).await;
            server.kill().await;
        }
        site.serve(None).await
    };
    let (_, server) = tokio::join!(futures::future::join_all((0..LETTERS).map(send)), killer);
    site.until_done().await;
    server.terminate().await;
    site.assert_conserved().await;
    let told = letters_of(&site).await;
    assert_eq!(told.len(), LETTERS);
    let usual = &undisturbed().await["event-0"].line;
    for (event, letter) in &told {
        assert_eq!(&letter.line, usual, "{event}");
    }
    // what lies in the store is what the data kept with a letter makes
    let store = objects::open(&site.settings().objects_options()).await.unwrap();
    for letter in told.values().take(2) {
        let data: LetterData = serde_json::from_str(&letter.data).unwrap();
        let made = RENDERER.render(&data, RENDERER.brand("meridian").unwrap()).unwrap();
        assert!(made.pdf == pdf_of(store.as_ref(), letter).await, "{}", letter.event_id);
    }
}

#[test]
fn sqlite() {
    block_on(rounds(On::Sqlite));
}

#[test]
fn postgres() {
    block_on(rounds(On::Postgres));
}
