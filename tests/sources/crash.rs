//! kill -9 at each place of a file's way from a source; then a restart. Each file is one accepted document.

use std::time::{Duration, Instant};

use lettercase::model::document::Channel;
use lettercase::outside::objects::{self, Place as Store};
use serde_json::json;
use sqlx::Row;

use super::{Kind, Place, is_empty};
use crate::crash::site::{PATIENCE, Site};
use crate::support::{On, block_on};

/// In file names, paths and what is said: it may be nowhere else.
const PLANTED: &str = "Vanderplank";

/// Lets the process stand still at the place while it takes the files, kills it there, and starts it again.
async fn killed_at(on: On, kind: Kind, at: &str) {
    let mut site = Site::new(on).await;
    let place = Place::new(kind).await;
    let setting = place.setting(Channel::Scan, json!({ "name": "source-of-vanderplank" }));
    let setting: toml::Value = serde_json::from_value(setting).unwrap();
    site.environment.insert("LETTERCASE_SOURCES".into(), format!("[{setting}]"));
    site.environment.insert("LETTERCASE_LOG".into(), "debug".into());
    let names = ["1", "2", "3"].map(|n| format!("{PLANTED} {n}.txt"));
    for name in &names {
        place.drop_file(&format!("{name}.json"), format!(r#"{{"batch":"{PLANTED}","{PLANTED}":1}}"#).as_bytes());
        place.drop_file(name, format!("letter of {name}").as_bytes());
    }
    let mut server = site.serve(Some(at)).await;
    server.until_logged("stopped by a fail point").await;
    server.kill().await;
    let server = site.serve(None).await;
    let began = Instant::now();
    while !is_empty(&place.dir) {
        assert!(began.elapsed() < PATIENCE, "{at}: {:?}", place.lies());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    site.until_done().await;
    let (status, log) = server.terminate().await;
    assert!(status.success(), "{at}: {status}, {log}");
    site.assert_conserved().await;
    let mut lies = place.lies();
    lies.retain(|path| !path.starts_with("problem/"));
    assert_eq!(lies, names.clone().map(|name| format!("done/ID/{name}")), "{kind:?} {at}");

    let log = log.to_lowercase();
    assert!(!log.contains(&PLANTED.to_lowercase()), "{at}: {log}");
    let path = place.dir.display().to_string().to_lowercase();
    assert!(!log.contains(&path) && !log.contains("mail room") && !log.contains("mail%20room"), "{at}: {log}");
    let store = objects::open(&site.settings().objects_options()).await.unwrap();
    let mut told: Vec<String> =
        store.list(Store::Content, None, 10).await.unwrap().into_iter().map(|(name, _)| name).collect();
    let db = site.db().await;
    {
        let mut conn = db.read().await.unwrap();
        let rows =
            sqlx::query("SELECT file_name AS name FROM document WHERE accepted_at IS NOT NULL ORDER BY file_name");
        let accepted: Vec<String> =
            rows.fetch_all(&mut *conn).await.unwrap().iter().map(|row| row.get("name")).collect();
        assert_eq!(accepted, names, "{kind:?} {at}: each once");
        let open = sqlx::query(
            "SELECT COUNT(*) AS n FROM source_item WHERE ended_at IS NULL OR state <> 'taken' OR reason_code IS NULL",
        );
        assert_eq!(open.fetch_one(&mut *conn).await.unwrap().get::<i64, _>("n"), 0, "{kind:?} {at}");
        let items = sqlx::query("SELECT item || document_id || reason AS told FROM source_item").fetch_all(&mut *conn);
        told.extend(items.await.unwrap().iter().map(|row| row.get::<String, _>("told")));
        let events = sqlx::query("SELECT type || subject || actor || payload AS told FROM event").fetch_all(&mut *conn);
        told.extend(events.await.unwrap().iter().map(|row| row.get::<String, _>("told")));
    }
    db.close().await;
    assert!(!told.join("\n").to_lowercase().contains(&PLANTED.to_lowercase()), "{at}");
}

fn killed(on: On, kind: Kind) {
    const PLACES: [&str; 6] =
        ["source-begun", "receive-stored", "receive-accepted", "source-taken", "source-moving", "source-moved"];
    block_on(async {
        futures::future::join_all(PLACES.iter().map(|at| killed_at(on, kind, at))).await;
    });
}

#[test]
fn sqlite_and_a_folder() {
    killed(On::Sqlite, Kind::Folder);
}

#[test]
fn sqlite_and_a_bucket() {
    killed(On::Sqlite, Kind::Bucket);
}

#[test]
fn postgres_and_a_folder() {
    killed(On::Postgres, Kind::Folder);
}

#[test]
fn postgres_and_a_bucket() {
    killed(On::Postgres, Kind::Bucket);
}
