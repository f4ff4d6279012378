//! The one disk of a small installation is really full: database, store and spool lie on a file system of a few megabytes,
//! which a namespace of its own gives to the node.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::until;
use crate::crash::sender::{parcels, send};
use crate::crash::site::{Server, Site};
use crate::support::{On, block_on};

/// Puts what lies in $2 on a small file system at $1, runs the rest there, and in the end puts all of it back.
const ON_A_SMALL_DISK: &str = r#"
    mount -t tmpfs -o size=24m none "$1" && cp -a "$2"/. "$1" || exit 90
    data=$1 back=$2
    shift 2
    "$@" & node=$!
    trap 'kill -TERM $node' TERM
    wait $node
    wait $node
    status=$?
    cp -a "$data"/. "$back" || exit 91
    exit $status
"#;

/// Whether this machine lets anybody mount in a namespace of their own.
fn has_namespaces() -> bool {
    let tried = std::process::Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "none", "/tmp"])
        .stdin(Stdio::null())
        .output();
    tried.is_ok_and(|tried| tried.status.success())
}

struct Small {
    data: PathBuf,
    back: PathBuf,
    server: Server,
}

impl Small {
    async fn start(site: &Site) -> Self {
        let (data, back) = (site.dir.path().join("data"), site.dir.path().join("back"));
        let copied = Command::new("cp").arg("-a").args([&data, &back]).status().await.unwrap();
        assert!(copied.success());
        let mut command = Command::new("unshare");
        command
            .args(["-rm", "sh", "-c", ON_A_SMALL_DISK, "small"])
            .args([&data, &back])
            .args([env!("CARGO_BIN_EXE_lettercase"), "serve", "--listen", &format!("127.0.0.1:{}", site.port)])
            .env_clear()
            .envs(&site.environment)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let server = site.started(command, "listening on").await;
        Self { data, back, server }
    }

    /// A file on the small disk, as this process sees it.
    fn filler(&self) -> PathBuf {
        let inside = self.data.strip_prefix("/").unwrap().join("filler");
        PathBuf::from(format!("/proc/{}/root", self.server.pid())).join(inside)
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).unwrap();
        let mut piece = 1 << 20;
        while piece > 0 {
            match file.write(&vec![b'x'; piece]) {
                Ok(written) if written > 0 => {}
                _ => piece /= 2,
            }
        }
    }

    /// Ends the node; what lay on the small disk lies where it would have.
    async fn end(self) {
        let (status, log) = self.server.terminate().await;
        assert!(status.success(), "{status}, {log}");
        std::fs::remove_dir_all(&self.data).unwrap();
        std::fs::rename(&self.back, &self.data).unwrap();
        std::fs::remove_file(self.data.join("filler")).unwrap_err();
    }
}

#[test]
fn int_18_a_disk_that_is_full_of_something_else_loses_nothing_and_work_goes_on_when_there_is_room() {
    if !has_namespaces() {
        eprintln!("skipped: nobody may mount in a namespace of their own here");
        return;
    }
    block_on(async {
        let figures = [
            ("file_bytes", "1_048_576"),
            ("entry_bytes", "2_097_152"),
            ("max_file_bytes", "2_097_152"),
            // it is the disk that says that it is full, not we before
            ("spool_free_bytes", "1"),
        ];
        let site = Site::with_figures(On::Sqlite, &figures).await;
        let client = site.client().await;
        let small = Small::start(&site).await;
        let [first, second] = parcels().try_into().unwrap_or_else(|_| panic!("two parcels"));
        // its files are just being judged when there is no more room
        send(&client, &site.url(), &first).await;
        small.fill();
        let refused = until("a sender is told to come again", async || {
            // pages that the database has already take a few rows
            let opened = client.post(format!("{}/v1/submissions", site.url())).body(r#"{"kind":"appeal"}"#);
            let answer = opened.send().await.unwrap();
            assert!([201, 503].contains(&answer.status().as_u16()), "{}", answer.status());
            (answer.status() == 503).then_some(answer)
        })
        .await;
        assert!(refused.headers().contains_key("retry-after"));
        let why = until("the node says why", async || {
            let answer = client.get(format!("{}/ready", site.url())).send().await.ok()?;
            let is_down = answer.status() == 503;
            let body = answer.json::<Value>().await.ok()?;
            is_down.then(|| body["reasons"].to_string())
        })
        .await;
        assert!(why.contains("full") || why.contains("space"), "{why}");
        let url = site.url();
        // this sender comes again until it is answered
        tokio::join!(send(&client, &url, &second), async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            std::fs::remove_file(small.filler()).unwrap();
        });
        small.end().await;
        // and it is all there on the next disk
        let server = site.serve(None).await;
        site.until_done().await;
        let (status, log) = server.terminate().await;
        assert!(status.success(), "{status}, {log}");
        site.assert_conserved().await;
        let outcome = site.outcome().await;
        assert!(outcome.iter().any(|line| line.contains("matched")), "{outcome:?}");
    });
}
