//! The disk of the spool: the node may write no larger files than so many bytes, so a write of its fails in the middle of
//! a body as on a full disk, in a process of its own and on the real file.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::crash::site::Site;
use crate::scanner::support::limit_files;
use crate::support::{On, block_on};

const MIB: usize = 1 << 20;

async fn a_full_disk(on: On) {
    let sixteen = "16_777_216";
    let figures = [("file_bytes", sixteen), ("entry_bytes", sixteen), ("max_file_bytes", sixteen)];
    let site = Site::with_figures(on, &figures).await;
    let server = site.serve(None).await;
    let client = site.client().await;
    let base = format!("{}/v1/submissions", site.url());
    let open = json!({ "kind": "appeal", "sender_reference": "full" });
    let opened = client.post(&base).json(&open).send().await.unwrap().json::<Value>().await.unwrap();
    let at = format!("{base}/{}", opened["id"].as_str().unwrap());
    let text = "The quick brown fox jumps over the lazy dog.\n".repeat(14 * MIB / 45);
    let put =
        async |name: &str, body: String| client.put(format!("{at}/files/{name}")).body(body).send().await.unwrap();

    limit_files(u32::try_from(server.pid()).unwrap(), Some(12 << 20));
    let answer = put("large.txt", text.clone()).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "unavailable");
    // the node lives, takes what has room, and nothing lies around
    assert_eq!(put("small.txt", "a page".into()).await.status(), StatusCode::CREATED);
    let spool = site.settings().data_dir.join("spool/node-1");
    let lies: u64 = std::fs::read_dir(spool).unwrap().filter_map(|e| Some(e.ok()?.metadata().ok()?.len())).sum();
    assert!(lies < 1_000, "{lies} bytes lie in the spool");
    let metrics = client.get(format!("{}/metrics", site.url())).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("lettercase_arrivals_total{outcome=\"fault\"} 1"), "{metrics}");
    assert!(metrics.lines().any(|line| line.starts_with("lettercase_spool_free_bytes ")), "{metrics}");

    limit_files(u32::try_from(server.pid()).unwrap(), None);
    assert_eq!(put("large.txt", text).await.status(), StatusCode::CREATED, "the name is free, and there is room");
    let sent = client.post(format!("{at}/submit")).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::ACCEPTED);
    site.until_done().await;
    let (status, log) = server.terminate().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("\"spool\""), "the log says what it was: {log}");
    site.assert_conserved().await;
}

#[test]
fn int_10_a_full_spool_refuses_for_now_and_leaves_nothing_on_sqlite() {
    block_on(a_full_disk(On::Sqlite));
}

#[test]
fn int_10_a_full_spool_refuses_for_now_and_leaves_nothing_on_postgres() {
    block_on(a_full_disk(On::Postgres));
}
