//! A node as it runs: its spans reach the collector, its log is JSON, and one that only works can be watched.

use axum::http::StatusCode;
use serde_json::Value;

use super::collector::{self, holds};
use crate::crash::sender::{parcels, send_all};
use crate::crash::site::Site;
use crate::support::{On, block_on};

#[test]
fn ops_16_a_nodes_spans_reach_the_collector_and_its_log_says_what_it_worked_on() {
    block_on(async {
        let (collector, endpoint) = collector::start(StatusCode::OK).await;
        let mut site = Site::new(On::Sqlite).await;
        site.environment.insert("LETTERCASE_TRACES".into(), format!("{{ endpoint = \"{endpoint}\" }}"));
        site.environment.insert("LETTERCASE_LOG".into(), "debug".into());
        let server = site.serve(None).await;
        send_all(&site, &parcels()[..1]).await;
        site.until_done().await;
        let client = site.client().await;
        let metrics = client.get(format!("{}/metrics", site.url())).send().await.unwrap().text().await.unwrap();
        for line in [
            "# HELP lettercase_rows ",
            "# TYPE lettercase_stage_seconds histogram",
            "lettercase_letters_without_pdf_total 0",
        ] {
            assert!(metrics.lines().any(|found| found.starts_with(line)), "{line}: {metrics}");
        }
        let (status, log) = server.terminate().await;
        assert_eq!(status.code(), Some(0), "{log}");

        let db = site.db().await;
        let ids: Vec<String> = {
            let mut conn = db.read().await.unwrap();
            sqlx::query_scalar("SELECT id FROM document").fetch_all(&mut *conn).await.unwrap()
        };
        db.close().await;
        assert!(!ids.is_empty());
        let came = collector.came();
        for id in ids {
            let trace = hex::decode(id.replace('-', "")).unwrap();
            assert!(came.iter().any(|(_, body)| holds(body, &trace)), "no span of {id}");
        }
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        for line in &lines {
            for key in ["timestamp", "level", "target"] {
                assert!(line[key].is_string(), "{line}");
            }
        }
        let within = |name: &str, key: &str| {
            lines.iter().any(|line| line["span"]["name"] == name && line["span"][key].is_string())
        };
        assert!(within("work", "trace_id") && within("work", "stage") && within("work", "subject"), "{log}");
    });
}

#[test]
fn a_node_that_only_works_can_be_watched_and_answers_nothing_else() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let server = site.work().await;
        let client = site.client().await;
        for (path, status) in
            [("/health", 200), ("/ready", 200), ("/metrics", 200), ("/v1/me", 404), ("/openapi.json", 404)]
        {
            let answer = client.get(format!("{}{path}", site.url())).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{path}");
        }
        let (status, log) = server.terminate().await;
        assert_eq!(status.code(), Some(0), "{log}");
    });
}
