//! kill -9 in closing, assembling and acknowledging: each letter is on paper exactly once. On both databases.

use std::time::Duration;

use lettercase::outside::objects;
use reqwest::Client;
use sqlx::Row;

use super::*;
use crate::crash::site::Site;
use crate::support::{On, block_on};

const LETTERS: i64 = 3;

/// Sends a request until it is answered: a server that is killed is sent it again. What was done already is refused.
async fn until_answered(client: &Client, url: &str, body: &'static str) {
    for _ in 0..600 {
        let request = client.post(url).header("content-type", "application/x-ndjson").body(body);
        let request = if body.is_empty() { client.post(url) } else { request };
        if let Ok(response) = request.send().await
            && matches!(response.status().as_u16(), 200 | 201 | 409)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{url} was never answered");
}

/// Waits until a statement counts so many.
async fn until(site: &Site, n: i64, statement: &'static str) {
    let db = site.db().await;
    for _ in 0..1_200 {
        let mut conn = db.read().await.unwrap();
        let found = sqlx::query(statement).fetch_one(&mut *conn).await.unwrap().get::<i64, _>("n");
        drop(conn);
        if found == n {
            db.close().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it never came to {n}: {statement}");
}

/// Closes, waits for the print file, and says that all was mailed.
async fn through(site: &Site, client: &Client) {
    let url = |path: &str| format!("{}{path}", site.url());
    until_answered(client, &url("/v1/print-batches"), "").await;
    until(site, 1, "SELECT COUNT(*) AS n FROM print_batch WHERE envelopes > 0 AND state <> 'closed'").await;
    let name = {
        let db = site.db().await;
        let mut conn = db.read().await.unwrap();
        let row = sqlx::query("SELECT name FROM print_batch WHERE envelopes > 0").fetch_one(&mut *conn).await.unwrap();
        drop(conn);
        db.close().await;
        row.get::<String, _>("name")
    };
    let word = "{\"all\":true,\"event\":\"mailed\"}";
    until_answered(client, &url(&format!("/v1/print-batches/{name}/acknowledge")), word).await;
    until(site, 1, "SELECT COUNT(*) AS n FROM print_batch WHERE envelopes > 0 AND state = 'done'").await;
}

async fn killed_at(on: On, place: &str) {
    let site = Site::new(on).await;
    let client = site.client().await;
    let (db, ctx) = (site.db().await, Context::system());
    let store = objects::open(&site.settings().objects_options()).await.unwrap();
    for zip in ["43001", "43002", "43003"] {
        Post { zip, ..Post::default() }.ask_in(&db, &ctx, store.as_ref()).await;
    }
    db.close().await;
    let mut server = site.serve(Some(place)).await;
    until(&site, LETTERS, "SELECT COUNT(*) AS n FROM delivery WHERE channel = 'paper'").await;
    let after = async {
        server.until_logged("stopped by a fail point").await;
        server.kill().await;
        site.serve(None).await
    };
    let ((), server) = tokio::join!(through(&site, &client), after);
    site.until_done().await;
    let (status, log) = server.terminate().await;
    assert!(status.success(), "{place}: {status}, {log}");
    site.assert_conserved().await;
    for (statement, n) in [
        ("SELECT COUNT(*) AS n FROM print_batch WHERE envelopes > 0", 1),
        ("SELECT COUNT(*) AS n FROM envelope WHERE state = 'mailed'", LETTERS),
        ("SELECT COUNT(*) AS n FROM envelope_letter", LETTERS),
        ("SELECT COUNT(DISTINCT delivery_id) AS n FROM envelope_letter", LETTERS),
        ("SELECT COUNT(*) AS n FROM delivery WHERE state = 'delivered'", LETTERS),
    ] {
        until(&site, n, statement).await;
    }
}

fn killed_in(on: On, stage: &str, places: &[&str]) {
    block_on(async {
        let places: Vec<String> = places.iter().map(|place| format!("{stage}-{place}")).collect();
        futures::future::join_all(places.iter().map(|place| killed_at(on, place))).await;
    });
}

#[test]
fn killed_in_closing_sqlite() {
    killed_in(On::Sqlite, "close", &["written", "committed"]);
}

#[test]
fn killed_in_closing_postgres() {
    killed_in(On::Postgres, "close", &["written", "committed"]);
}

#[test]
fn killed_in_assembling_sqlite() {
    killed_in(On::Sqlite, "assemble", &["loaded", "ran", "written", "committed"]);
}

#[test]
fn killed_in_assembling_postgres() {
    killed_in(On::Postgres, "assemble", &["loaded", "ran", "written", "committed"]);
}

#[test]
fn killed_in_acknowledging_sqlite() {
    killed_in(On::Sqlite, "acknowledge", &["written", "committed"]);
}

#[test]
fn killed_in_acknowledging_postgres() {
    killed_in(On::Postgres, "acknowledge", &["written", "committed"]);
}
