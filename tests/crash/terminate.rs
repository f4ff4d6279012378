//! SIGTERM: what runs is finished or given back, and nothing is left running.

use std::time::{Duration, Instant};

use sqlx::Row;

use super::sender::{parcels, send_all};
use super::site::{PATIENCE, Site};
use crate::support::{On, block_on};

/// Processes below `pid`.
fn children(pid: i32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).ok())
        .flat_map(|pids| pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

fn runs(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_node_that_is_asked_to_end_ends_well_and_takes_its_clamd_along() {
    block_on(async {
        let mut site = Site::new(On::Sqlite).await;
        site.environment.remove("LETTERCASE_SCANNER__RUN_BY");
        site.environment.insert("LETTERCASE_SCANNER__SIGNATURE_DIRECTORIES".into(), "[]".into());
        let server = site.serve(None).await;
        let clamd = children(server.pid());
        assert_eq!(clamd.len(), 1, "the managed clamd");
        send_all(&site, &parcels()).await;
        let (status, log) = server.terminate().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!runs(clamd[0]), "clamd still runs");
        let db = site.db().await;
        let held = {
            let mut conn = db.read().await.unwrap();
            let held = sqlx::query("SELECT COUNT(*) AS n FROM work WHERE state = 'running'").fetch_one(&mut *conn);
            held.await.unwrap().get::<i64, _>("n")
        };
        db.close().await;
        assert_eq!(held, 0, "work is still held");
        let server = site.serve(None).await;
        site.until_done().await;
        server.terminate().await;
        site.assert_conserved().await;
    });
}

/// Work that does not end by itself is given back when the grace is over, without costing a try.
#[test]
fn work_that_does_not_end_is_given_back() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let mut server = site.serve(Some("scan-ran")).await;
        send_all(&site, &parcels()[..1]).await;
        server.until_logged("stopped by a fail point").await;
        let began = Instant::now();
        let (status, log) = server.terminate().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(began.elapsed() < PATIENCE.min(Duration::from_secs(30)), "{:?}", began.elapsed());
        let db = site.db().await;
        {
            let mut conn = db.read().await.unwrap();
            let rows = sqlx::query("SELECT state, CAST(attempts AS BIGINT) AS attempts FROM work WHERE stage = 'scan'")
                .fetch_all(&mut *conn);
            let rows = rows.await.unwrap();
            assert!(!rows.is_empty());
            for row in rows {
                assert_eq!((row.get::<String, _>("state").as_str(), row.get::<i64, _>("attempts")), ("ready", 0));
            }
        }
        db.close().await;
        let server = site.serve(None).await;
        site.until_done().await;
        server.terminate().await;
        site.assert_conserved().await;
    });
}
