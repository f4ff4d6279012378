//! Back-ups are taken beside a running node with work in flight, and another installation goes on from them.

use std::path::Path;

use lettercase::outside::objects::{self, Objects, Place};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::crash::sender::{Parcel, parcels, sample, send, send_all};
use crate::crash::site::Site;
use crate::objects::world::{BUCKET, KEY, KEY_ID, S3s};
use crate::support::{On, block_on, postgres, program};

/// Runs the program to its end: whether it said yes, and what it said.
async fn told(site: &Site, args: &[&str]) -> (bool, String) {
    let out = site.command().args(args).output().await.unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8(text).unwrap())
}

async fn done(site: &Site, args: &[&str]) -> String {
    let (yes, text) = told(site, args).await;
    assert!(yes, "{args:?}: {text}");
    text
}

async fn json_of(site: &Site, args: &[&str]) -> Value {
    serde_json::from_str(&done(site, args).await).unwrap()
}

fn parcel(name: &str, text: &str) -> Parcel {
    Parcel {
        name: name.into(),
        said: json!({ "claim_number": "CL2618395240", "member_id": "MH16854039", "tin": "003905721" }),
        files: vec![(format!("{name}.txt"), text.as_bytes().to_vec())],
    }
}

async fn ids(site: &Site, statement: &'static str) -> Vec<String> {
    let db = site.db().await;
    let ids = {
        let mut conn = db.read().await.unwrap();
        sqlx::query_scalar(statement).fetch_all(&mut *conn).await.unwrap()
    };
    db.close().await;
    ids
}

/// The bytes of a document of that name and of each letter, as a service gets them.
async fn read(site: &Site) -> Vec<Vec<u8>> {
    let client = site.client().await;
    let mut all = Vec::new();
    for (route, of) in [
        ("documents", ids(site, "SELECT id FROM document WHERE file_name = 'nakamura-claim-status.png'").await),
        ("letters", ids(site, "SELECT id FROM letter WHERE state = 'routed' ORDER BY id").await),
    ] {
        assert!(!of.is_empty(), "{route}");
        for id in of {
            let last = if route == "letters" { "pdf" } else { "content" };
            let answer = client.get(format!("{}/v1/{route}/{id}/{last}", site.url())).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{route} {id}");
            all.push(answer.bytes().await.unwrap().to_vec());
        }
    }
    all
}

/// What was read before is read again, byte by byte.
fn still(before: &[Vec<u8>], now: &[Vec<u8>]) {
    assert!(before.len() > 1 && before.iter().all(|bytes| now.contains(bytes)), "{} {}", before.len(), now.len());
}

async fn store(site: &Site) -> std::sync::Arc<dyn Objects> {
    objects::open(&site.settings().objects_options()).await.unwrap()
}

async fn incoming(site: &Site) -> usize {
    store(site).await.list(Place::Incoming, None, 100).await.unwrap().len()
}

/// No node starts before a person has said that it may; then nothing goes out, and the rest goes on.
async fn goes_on(site: &Site, strays_there: usize) {
    let (yes, text) = told(site, &["work"]).await;
    assert!(!yes && text.contains("lettercase restore finish"), "{text}");
    for _ in 0..2 {
        // a second time it comes to the same end
        let finished = json_of(site, &["restore", "finish", "--json"]).await;
        assert!(finished["ended"].as_i64().unwrap() > 0, "{finished}");
    }
    let strays = site.dir.path().join("strays");
    let taken = json_of(site, &["restore", "strays", "--json", "--to", strays.to_str().unwrap()]).await;
    let files: Vec<_> = std::fs::read_dir(&strays).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(taken["saved"], json!(files.len()));
    // that which came in, and the same as it was judged
    assert_eq!(files.len(), strays_there, "{files:?}");
    for file in files {
        assert_eq!(std::fs::read(file).unwrap(), b"it came after the copy");
    }
    let held = json_of(site, &["outgoing", "list", "--json"]).await;
    assert!(held.as_array().unwrap().iter().all(|one| one["held_since"].is_string()), "{held}");
}

/// With SQLite and files, all at once, while files come in and one stands in the middle of its way.
#[test]
fn ops_16_a_back_up_of_sqlite_beside_a_running_node_is_gone_on_from() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let server = site.serve(None).await;
        send_all(&site, &parcels()).await;
        site.until_done().await;
        let before = read(&site).await;
        server.terminate().await;
        let mut server = site.serve(Some("scan-ran")).await;
        let (client, url) = (site.client().await, site.url());
        send(&client, &url, &parcel("in flight", "it was being scanned")).await;
        server.until_logged("stopped by a fail point").await;

        let back_up = site.dir.path().join("back-up");
        let to = back_up.to_str().unwrap().to_owned();
        let taking = ["backup", "take", "--to", &to];
        let (said, ()) = tokio::join!(done(&site, &taking), async {
            for n in 0..5 {
                send(&client, &url, &parcel(&format!("beside {n}"), "it came meanwhile")).await;
            }
        });
        assert!(said.contains("not in it: "), "{said}");
        assert!(!told(&site, &taking).await.0, "over another back-up");
        server.kill().await;

        let other = site.elsewhere(None).await;
        let file = other.environment["LETTERCASE_DATA_DIR"].clone() + "/lettercase.db";
        std::fs::copy(back_up.join("lettercase.db"), file).unwrap();
        done(&other, &["restore", "objects", "--from", &to]).await;
        // what came while it was taken is in neither, or in both, or only an object
        let (yes, text) = told(&other, &["work"]).await;
        assert!(!yes && text.contains("lettercase restore finish"), "{text}");
        done(&other, &["restore", "finish"]).await;
        done(&other, &["restore", "strays", "--to", other.dir.path().join("strays").to_str().unwrap()]).await;
        let server = other.serve(None).await;
        other.until_done().await;
        still(&before, &read(&other).await);
        server.terminate().await;
        other.assert_conserved().await;
        let flew = ids(&other, "SELECT state FROM document WHERE file_name = 'in flight.txt'").await;
        assert_eq!(flew, ["matched"]);
    });
}

/// With PostgreSQL, in steps: what the copy of the database names stays until the objects are copied, also where the work
/// goes on meanwhile.
async fn in_steps(stores: Option<(S3s, S3s)>) {
    let objects_at = |s3: &S3s| {
        format!(
            "{{ kind = \"s3\", buckets = {{ one = \"{BUCKET}\" }}, endpoint_url = \"http://{}\", path_style = true,
              encryption = \"none\", credentials = {{ keys = {{ access_key_id = \"{KEY_ID}\", secret_access_key = \"{KEY}\" }} }} }}",
            s3.address
        )
        .replace('\n', " ")
    };
    let mut site = Site::new(On::Postgres).await;
    if let Some((first, _)) = &stores {
        site.environment.insert("LETTERCASE_OBJECTS".into(), objects_at(first));
    }
    let server = site.serve(None).await;
    send_all(&site, &parcels()[..1]).await;
    site.until_done().await;
    let before = read(&site).await;
    server.terminate().await;
    let mut server = site.serve(Some("scan-ran")).await;
    let (client, url) = (site.client().await, site.url());
    send(&client, &url, &parcel("in flight", "it was being scanned")).await;
    server.until_logged("stopped by a fail point").await;

    let back_up = site.dir.path().join("back-up");
    let (to, dump) = (back_up.to_str().unwrap(), site.dir.path().join("lettercase.dump"));
    let (yes, text) = told(&site, &["backup", "take", "--to", to]).await;
    assert!(!yes && text.contains("pg_dump"), "{text}");
    done(&site, &["backup", "begin"]).await;
    assert!(!told(&site, &["backup", "begin"]).await.0, "beside another one");
    tool("pg_dump", &["-Fc", "-f"], &dump, &site.environment["LETTERCASE_DATABASE"]).await;

    // the work goes on, and another file comes: neither is known to the copy as it ends
    server.kill().await;
    let server = site.serve(None).await;
    send(&client, &url, &parcel("behind", "it came after the copy")).await;
    site.until_done_but(2).await;
    done(&site, &["backup", "objects", "--to", to]).await;
    assert_eq!(incoming(&site).await, 2, "what the copy names as being on its way");
    done(&site, &["backup", "end"]).await;
    // and then it is swept
    site.until_done().await;
    server.terminate().await;
    site.assert_conserved().await;

    let fresh = tokio::task::spawn_blocking(postgres::Fresh::start).await.unwrap();
    let (postgres, name) =
        (fresh.address("postgres"), site.environment["LETTERCASE_DATABASE"].rsplit('/').next().unwrap());
    tool("pg_restore", &["--create", "--exit-on-error", "-d", &postgres], &dump, "").await;
    let mut other = site.elsewhere(Some(fresh.address(name))).await;
    if let Some((_, second)) = &stores {
        other.environment.insert("LETTERCASE_OBJECTS".into(), objects_at(second));
    }
    done(&other, &["restore", "objects", "--from", to]).await;
    assert_eq!(incoming(&other).await, 2);
    goes_on(&other, 2).await;
    let server = other.serve(None).await;
    other.until_done().await;
    still(&before, &read(&other).await);
    server.terminate().await;
    other.assert_conserved().await;
    let flew = ids(&other, "SELECT state FROM document WHERE file_name IN ('in flight.txt', 'behind.txt')").await;
    assert_eq!(flew, ["matched"], "the one that was on its way, and not the one that came after");
    // a node that ran on is not stopped by what was said once
    assert!(json_of(&other, &["audit", "verify", "--json"]).await["fault"].is_null());
}

async fn tool(name: &str, args: &[&str], file: &Path, database: &str) {
    let mut command = Command::new(program(name));
    command.args(args).arg(file);
    if !database.is_empty() {
        command.arg(database);
    }
    let out = command.output().await.unwrap();
    assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn ops_16_a_back_up_of_postgresql_and_files_is_gone_on_from_on_a_fresh_server() {
    block_on(in_steps(None));
}

#[test]
fn ops_16_a_back_up_of_postgresql_and_s3_is_gone_on_from_in_another_store() {
    block_on(async { in_steps(Some((S3s::start().await, S3s::start().await))).await });
}

/// The database alone goes back, the store stays: the head in it tells.
#[test]
fn ops_14_a_node_does_not_start_on_a_database_that_is_older_than_its_store() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let server = site.serve(None).await;
        send_all(&site, &parcels()[1..]).await;
        site.until_done().await;
        server.terminate().await;
        let file = site.environment["LETTERCASE_DATA_DIR"].clone() + "/lettercase.db";
        let back_up = site.dir.path().join("back-up");
        done(&site, &["backup", "take", "--to", back_up.to_str().unwrap()]).await;
        let server = site.serve(None).await;
        let (name, bytes) = sample("nakamura-chart-export.txt");
        send(&site.client().await, &site.url(), &Parcel { files: vec![(name, bytes.clone())], ..parcel("lost", "") })
            .await;
        site.until_done().await;
        server.terminate().await;

        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{file}{end}"));
        }
        std::fs::copy(back_up.join("lettercase.db"), &file).unwrap();
        let verified = told(&site, &["audit", "verify"]).await;
        assert!(!verified.0 && verified.1.contains("cut off"), "{}", verified.1);
        let (yes, text) = told(&site, &["serve"]).await;
        assert!(!yes && text.contains("the log of events ends at"), "{text}");
        let finished = json_of(&site, &["restore", "finish", "--json"]).await;
        assert!(finished["reached"].as_i64() > finished["ended"].as_i64(), "{finished}");
        let strays = site.dir.path().join("strays");
        let taken = json_of(&site, &["restore", "strays", "--json", "--to", strays.to_str().unwrap()]).await;
        assert_eq!(taken["saved"], 1);
        let saved = std::fs::read_dir(&strays).unwrap().next().unwrap().unwrap().path();
        assert_eq!(std::fs::read(saved).unwrap(), bytes, "what was sent in after the back-up is not lost with it");
        let server = site.serve(None).await;
        site.until_done().await;
        server.terminate().await;
        site.assert_conserved().await;
    });
}
