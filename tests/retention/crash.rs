//! kill -9 in the middle of destroying: nothing is destroyed twice, and nothing is left half. On both databases.

use std::process::Stdio;
use std::time::Duration;

use sqlx::Row;

use crate::cli::good;
use crate::crash::sender::{parcels, send_all};
use crate::crash::site::Site;
use crate::support::{On, block_on};

const FIRST_OF: [&str; 4] = ["document", "submission", "letter", "case_file"];

async fn number(site: &Site, statement: &'static str) -> i64 {
    let db = site.db().await;
    let mut conn = db.read().await.unwrap();
    let n = sqlx::query(statement).fetch_one(&mut *conn).await.unwrap().get::<i64, _>("n");
    drop(conn);
    db.close().await;
    n
}

/// Makes everything eleven years older, and every case closed.
async fn aged(site: &Site) {
    let db = site.db().await;
    let mut tx = db.begin().await.unwrap();
    let years = "347155200000000";
    let columns = ["created_at received_at", "created_at submitted_at ended_at", "created_at", "opened_at"];
    for (table, columns) in FIRST_OF.iter().zip(columns) {
        let set: Vec<String> = columns.split(' ').map(|column| format!("{column} = {column} - {years}")).collect();
        let statement = format!("UPDATE {table} SET {}", set.join(", "));
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
    }
    for statement in [
        "UPDATE letter SET letter_date = '2010-01-01' WHERE letter_date IS NOT NULL",
        "UPDATE case_file SET closed_at = opened_at",
        "UPDATE message SET online_until = published_at, offline_at = published_at",
    ] {
        sqlx::query(statement).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    db.close().await;
}

async fn killed_at(on: On, places: &[String]) {
    let site = Site::new(on).await;
    std::fs::write(
        site.dir.path().join("config/retention.toml"),
        include_str!("../../pipelines/retention.toml")
            .replace("enabled = false", "enabled = true")
            .replace("page = 200 ", "page = 2 "),
    )
    .unwrap();
    let server = site.serve(None).await;
    send_all(&site, &parcels()).await;
    site.until_done().await;
    server.terminate().await;
    aged(&site).await;
    // nothing waits for a person; what is stored is of a submission that failed
    let ended = "SELECT COUNT(*) AS n FROM document WHERE state NOT IN ('held', 'needs_review', 'unmatched')";
    let due = number(&site, ended).await;
    assert!(due >= 5, "{due}");
    for place in places {
        let log = site.dir.path().join(format!("log-{place}"));
        let mut command = site.command();
        command.args(["retention", "run"]).env("FAILPOINTS", format!("{place}=return")).env("LETTERCASE_LOG", "warn");
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut stopped = false;
        for _ in 0..600 {
            stopped = std::fs::read_to_string(&log).unwrap().contains("stopped by a fail point");
            if stopped {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(stopped, "{place}: {}", std::fs::read_to_string(&log).unwrap());
        child.kill().await.unwrap();
    }
    let report = good(&site, &["retention", "run", "--json"]).await.json();
    assert_eq!(report["state"], "done", "{report}");
    for (statement, n) in [
        ("SELECT COUNT(*) AS n FROM document WHERE state = 'purged'", due),
        ("SELECT COUNT(*) AS n FROM retention_record WHERE kind = 'document'", due),
        ("SELECT COUNT(*) AS n FROM retention_record WHERE state <> 'done'", 0),
        ("SELECT COUNT(*) AS n FROM retention_run", 1),
        ("SELECT COUNT(*) AS n FROM content WHERE state = 'deleting'", 0),
        (
            "SELECT COUNT(*) AS n FROM (SELECT subject FROM event WHERE type = 'retention.destroyed'
             GROUP BY subject HAVING COUNT(*) > 1) AS twice",
            0,
        ),
    ] {
        assert_eq!(number(&site, statement).await, n, "{statement}");
    }
    let records = number(&site, "SELECT COUNT(*) AS n FROM retention_record").await;
    assert_eq!(number(&site, "SELECT COUNT(*) AS n FROM event WHERE type = 'retention.destroyed'").await, records);
    // the events are sealed by a node
    let server = site.serve(None).await;
    site.until_done().await;
    server.terminate().await;
    site.assert_conserved().await;
}

fn killed(on: On) {
    let places = ["written", "committed", "deleted"].map(|place| format!("retention-{place}"));
    block_on(killed_at(on, &places));
}

#[test]
fn killed_in_destroying_sqlite() {
    killed(On::Sqlite);
}

#[test]
fn killed_in_destroying_postgres() {
    killed(On::Postgres);
}
