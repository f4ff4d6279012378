//! The queue at the command line, and a split whose process dies in the middle.

use std::process::Stdio;
use std::time::{Duration, Instant};

use lettercase::outside::objects::{self, Place};
use serde_json::Value;

use super::split::paper;
use super::{AMBIGUOUS, STRANGER};
use crate::crash::site::{PATIENCE, Site};
use crate::support::{On, block_on};

/// Runs a command: its exit code and what it said.
async fn run(site: &Site, args: &[&str]) -> (i32, Value) {
    let done = site.command().args(args).output().await.unwrap();
    let out = String::from_utf8(done.stdout).unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    (done.status.code().unwrap(), serde_json::from_str(&out).unwrap_or(Value::String(out + &err)))
}

/// Sends a file in, and the id of its document.
async fn sent(site: &Site, name: &str, bytes: &[u8]) -> String {
    let path = site.dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let (_, sent) = run(site, &["submit", "--json", "--kind", "appeal", path.to_str().unwrap()]).await;
    sent["documents"][0]["id"].as_str().unwrap().to_owned()
}

async fn incoming(site: &Site) -> usize {
    let store = objects::open(&site.settings().objects_options()).await.unwrap();
    store.list(Place::Incoming, None, 100).await.unwrap().len()
}

#[test]
fn ops_01_the_queue_is_worked_on_at_the_command_line() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let (ambiguous, stranger) = (sent(&site, "a.txt", AMBIGUOUS).await, sent(&site, "b.txt", STRANGER).await);
        let third = sent(&site, "c.txt", STRANGER).await;
        let (_, list) = run(&site, &["queue", "list", "--json"]).await;
        assert_eq!(list.as_array().unwrap().len(), 3, "{list}");
        let (_, next) = run(&site, &["queue", "next", "--json"]).await;
        let first = list[0]["document_id"].as_str();
        assert_eq!(next["document_id"].as_str(), first, "{next}");
        let (_, counts) = run(&site, &["queue", "counts", "--json"]).await;
        assert_eq!(
            (&counts[0]["kind"], &counts[0]["waiting"], &counts[0]["leased"]),
            (&"match".into(), &3.into(), &1.into())
        );
        for (args, code, told) in [
            (vec!["queue", "accept", &stranger, "AP-4K7XW9ZB"], 2, "none of those"),
            (vec!["queue", "choose", &stranger, "AP-NOWHERE"], 2, "no such case"),
            (vec!["queue", "accept", &ambiguous, "AP-4K7XW9ZB"], 0, "on its case"),
            (vec!["queue", "accept", &ambiguous, "AP-4K7XW9ZB"], 2, "matched"),
            (vec!["queue", "choose", &stranger, "RC-7K4M9TX2"], 0, "on its case"),
            (vec!["queue", "return", &third, "nonsense"], 2, "ReturnReason"),
            (vec!["queue", "return", &third, "other_payer"], 0, "goes back"),
            (vec!["queue", "next"], 1, "nothing waits"),
            (vec!["queue", "list"], 0, "document"),
            (vec!["queue", "counts"], 0, "overdue"),
            (vec!["match", "undo", &ambiguous], 0, "needs review"),
        ] {
            let (got, said) = run(&site, &args).await;
            assert!(got == code && said.to_string().contains(told), "{args:?}: {got} {said}");
        }
        let (_, ledger) = run(&site, &["ledger", "--json"]).await;
        assert_eq!(ledger["difference"], 0, "{ledger}");
    });
}

#[test]
fn ops_01_a_split_whose_process_dies_before_it_commits_has_not_happened() {
    block_on(async {
        for on in [On::Sqlite, On::Postgres] {
            for place in ["split-stored", "split-written"] {
                let site = Site::new(on).await;
                let id = sent(&site, "a.pdf", &paper(&["one", "two"])).await;
                assert_eq!(incoming(&site).await, 0);
                let log = site.dir.path().join("split.log");
                let mut dies = site
                    .command()
                    .args(["queue", "split", &id, "1", "2"])
                    .env("FAILPOINTS", format!("{place}=return"))
                    .env("LETTERCASE_LOG", "warn")
                    .stdout(Stdio::null())
                    .stderr(std::fs::File::create(&log).unwrap())
                    .spawn()
                    .unwrap();
                let began = Instant::now();
                while !std::fs::read_to_string(&log).unwrap().contains("stopped by a fail point") {
                    assert!(began.elapsed() < PATIENCE, "{}", std::fs::read_to_string(&log).unwrap());
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                dies.kill().await.unwrap();
                assert_eq!(incoming(&site).await, 2, "{place}: the parts lie there");
                let (_, list) = run(&site, &["queue", "list", "--json"]).await;
                assert_eq!(list[0]["document_id"].as_str(), Some(id.as_str()), "{place}: the whole still waits");
                let (_, ledger) = run(&site, &["ledger", "--json"]).await;
                assert_eq!(ledger["difference"], 0, "{place}: {ledger}");
                let server = site.serve(None).await;
                site.until_done().await;
                let (code, split) = run(&site, &["queue", "split", "--json", &id, "1", "2"]).await;
                assert_eq!((code, split["parts"].as_array().map(Vec::len)), (0, Some(2)), "{place}: {split}");
                site.until_done().await;
                server.terminate().await;
                let (_, list) = run(&site, &["queue", "list", "--json"]).await;
                assert_eq!(list.as_array().unwrap().len(), 2, "{place}: the parts wait in its place: {list}");
                site.assert_conserved().await;
            }
        }
    });
}
