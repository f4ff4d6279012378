//! What operators look at and set right.

use std::path::Path;

use lettercase::cli::made;
use serde_json::Value;
use sqlx::Executor;

use super::{good, run};
use crate::crash::site::Site;
use crate::support::{On, block_on};

async fn sql(site: &Site, statement: &'static str) {
    let db = site.db().await;
    let mut tx = db.begin().await.unwrap();
    (&mut *tx).execute(statement).await.unwrap();
    tx.commit().await.unwrap();
    db.close().await;
}

/// A submission of one sample, matched to the case it names, and one held.
async fn with_documents() -> (Site, Value, Value) {
    let site = Site::new(On::Sqlite).await;
    let letter = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/documents/nakamura-reconsideration-letter.docx");
    let args = ["submit", "--json", "--kind", "reconsideration", "--claim", "CL2683604951", letter.to_str().unwrap()];
    let matched = run(&site, &args).await;
    assert_eq!(matched.code, 0, "{matched:?}");
    let held = site.dir.path().join("held.doc");
    made::make("doc-with-macros", 1 << 20, &held).unwrap();
    let held = run(&site, &["submit", "--json", "--kind", "appeal", held.to_str().unwrap()]).await;
    assert_eq!(held.code, 1, "{held:?}");
    let (matched, held) = (matched.json(), held.json());
    assert_eq!(matched["documents"][0]["state"], "matched", "{matched}");
    (site, matched, held)
}

#[test]
fn what_is_there_can_be_looked_at_and_set_right() {
    block_on(async {
        let (site, matched, held) = with_documents().await;
        let reference = matched["reference"].as_str().unwrap();
        let status = async || good(&site, &["status", "--json", reference]).await.json();
        assert_eq!(status().await, matched);
        assert!(good(&site, &["status", reference]).await.out.contains("Accepted"));
        assert!(good(&site, &["status"]).await.out.contains("matched"));
        let unknown = run(&site, &["status", "LC-0000000000"]).await;
        assert!(unknown.code == 2 && unknown.err.contains("no submission"), "{unknown:?}");

        let document = matched["documents"][0]["id"].as_str().unwrap();
        good(&site, &["match", "undo", document]).await;
        let undone = &status().await["documents"][0];
        assert_eq!((undone["state"].as_str(), &undone["case_number"]), (Some("needs_review"), &Value::Null));
        let again = run(&site, &["match", "undo", document]).await;
        assert!(again.code == 2 && again.err.contains("needs_review"), "{again:?}");

        let waits = held["documents"][0]["id"].as_str().unwrap();
        good(&site, &["rescan", waits]).await;
        let held = good(&site, &["status", "--json", held["reference"].as_str().unwrap()]).await.json();
        assert_eq!(held["documents"][0]["state"], "received");
        let refused = run(&site, &["rescan", document]).await;
        assert!(refused.code == 2 && refused.err.contains("held"), "{refused:?}");

        assert_eq!(good(&site, &["dead-letters", "list", "--json"]).await.json(), serde_json::json!([]));
        sql(&site, "UPDATE work SET state = 'dead', attempts = 5, reason = 'the disk is full'").await;
        let letters = good(&site, &["dead-letters", "list", "--json"]).await.json();
        assert_eq!(
            (letters[0]["subject"].as_str(), letters[0]["stage"].as_str(), letters[0]["reason"].as_str()),
            (Some(waits), Some("sniff"), Some("the disk is full")),
            "{letters}"
        );
        assert!(good(&site, &["dead-letters", "list"]).await.out.contains("the disk is full"));
        let other = run(&site, &["dead-letters", "replay", waits, "scan"]).await;
        assert!(other.code == 2 && other.err.contains("no dead letter"), "{other:?}");
        good(&site, &["dead-letters", "replay", waits, "sniff"]).await;
        assert_eq!(good(&site, &["dead-letters", "list", "--json"]).await.json(), serde_json::json!([]));
        let server = site.serve(None).await;
        site.until_done_but_held().await;
        server.terminate().await;
        let held = good(&site, &["status", "--json", held["reference"].as_str().unwrap()]).await.json();
        assert_eq!(held["documents"][0]["state"], "held", "judged again, with the same result");
    });
}

#[test]
fn ops_14_what_was_tampered_with_is_named() {
    block_on(async {
        let (site, ..) = with_documents().await;
        assert_eq!(good(&site, &["ledger", "--json"]).await.json()["difference"], 0);
        let whole = good(&site, &["audit", "verify", "--json"]).await.json();
        assert_eq!(whole["fault"], Value::Null, "{whole}");
        assert!(whole["events"].as_i64().unwrap() > 5, "{whole}");

        sql(&site, "UPDATE document SET state = 'stored' WHERE state = 'matched'").await;
        let ledger = run(&site, &["ledger", "--json"]).await;
        assert_eq!((ledger.code, ledger.json()["difference"].as_i64()), (1, Some(2)), "{ledger:?}");
        let table = run(&site, &["ledger"]).await;
        assert!(table.code == 1 && table.out.contains("difference 2"), "{table:?}");
        sql(&site, "UPDATE document SET state = 'matched' WHERE state = 'stored'").await;
        good(&site, &["ledger"]).await;

        sql(&site, "UPDATE event SET actor = 'nobody' WHERE position = 3").await;
        let broken = run(&site, &["audit", "verify"]).await;
        assert!(broken.code == 1 && broken.out.contains("event 3"), "{broken:?}");
        let broken = run(&site, &["audit", "verify", "--json"]).await.json();
        assert_eq!(
            (broken["fault"]["fault"].as_str(), broken["fault"]["position"].as_i64()),
            (Some("broken"), Some(3))
        );
    });
}

#[test]
fn a_load_keeps_the_good_rows_and_names_the_bad_ones() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let file = |name: &str, text: &str| {
            let path = site.dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let rows = file("good.csv", "tin,name\n123456789,Practice of the test\n");
        for _ in 0..2 {
            assert!(good(&site, &["load", "tins", &rows]).await.out.contains("tins: 1 loaded, 0 rejected"));
        }
        let rows = file(
            "bad.ndjson",
            "{\"tin\":\"987654321\",\"name\":\"Another\"}\n{\"tin\":\"12\",\"name\":\"Short\"}\nnonsense\n",
        );
        let bad = run(&site, &["load", "--json", "tins", &rows]).await;
        assert_eq!((bad.code, bad.json()["loaded"].as_i64(), bad.json()["rejected"].as_i64()), (1, Some(1), Some(2)));
        let lines: Vec<_> = bad.json()["rejects"].as_array().unwrap().iter().map(|r| r["line"].as_i64()).collect();
        assert_eq!(lines, [Some(2), Some(3)], "{bad:?}");
        for (args, told) in [
            (vec!["load", "tins", "absent.csv"], "absent.csv"),
            (vec!["load", "tins", &file("rows.txt", "")], ".ndjson"),
            (vec!["load", "tons", &rows], "tons"),
        ] {
            let refused = run(&site, &args).await;
            assert!(refused.code == 2 && refused.err.contains(told), "{refused:?}");
        }
    });
}
