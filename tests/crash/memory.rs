//! Uploads are streamed: eight of the largest at once hardly show in the server's memory.

use futures::StreamExt;
use serde_json::{Value, json};

use super::site::Site;
use crate::support::{On, block_on};

const SIZE: usize = 64 << 20;
const UPLOADS: usize = 8;
const GROWTH_MAX_KB: u64 = 64 << 10;

/// The highest resident size of a process so far, in kB.
pub(crate) fn peak_kb(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn eight_of_the_largest_uploads_at_once_pass_through_little_memory() {
    block_on(async {
        let site = Site::for_large_files(On::Sqlite).await;
        let server = site.serve(None).await;
        let client = site.client().await;
        let base = format!("{}/v1/submissions", site.url());
        let opened = client.post(&base).json(&json!({ "kind": "appeal", "sender_reference": "large" })).send();
        let opened = opened.await.unwrap().json::<Value>().await.unwrap();
        let at = format!("{base}/{}", opened["id"].as_str().unwrap());
        let idle = peak_kb(server.pid());
        let uploads = (0..UPLOADS).map(|n| {
            // lines that differ from file to file, so that none is known from another
            let line = format!("{n} {}\n", "The quick brown fox jumps over the lazy dog. ".repeat(200));
            let chunk = bytes::Bytes::from(line.repeat(8));
            let whole = SIZE / chunk.len();
            let rest = chunk.slice(..SIZE % chunk.len());
            let chunks = futures::stream::repeat(chunk).take(whole).chain(futures::stream::iter([rest]));
            let body = reqwest::Body::wrap_stream(chunks.map(Ok::<_, std::io::Error>));
            client
                .put(format!("{at}/files/{n}.txt"))
                .header("content-length", SIZE)
                .timeout(super::site::PATIENCE * 3)
                .body(body)
                .send()
        });
        for answer in futures::future::join_all(uploads).await {
            let answer = answer.unwrap();
            assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        }
        let received = peak_kb(server.pid());
        // judged and stored, too; they are not sent, so nothing is matched
        site.until_done().await;
        let done = peak_kb(server.pid());
        println!("idle {idle} kB, received {received} kB, done {done} kB");
        server.terminate().await;
        site.assert_conserved().await;
        let grown = done - idle;
        assert!(grown <= GROWTH_MAX_KB, "grown by {grown} kB: idle {idle}, received {received}, done {done}");
    });
}
