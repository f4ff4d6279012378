//! PostgreSQL is stopped in mid-flight and started again, twice, under a node that is a process of its own.

use std::time::Duration;

use serde_json::Value;

use super::until;
use crate::crash::sender::{parcels, send, send_all};
use crate::crash::site::Site;
use crate::support::{block_on, postgres};

/// The line of a metric, of a process that has it for itself.
async fn figure(site: &Site, line: &str) -> Option<f64> {
    // without a key: to look one up takes the database
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let text = client.get(format!("{}/metrics", site.url())).send().await.ok()?.text().await.ok()?;
    let found = text.lines().find_map(|candidate| candidate.strip_prefix(line)?.strip_prefix(' '));
    found.map(|value| value.parse().unwrap())
}

#[test]
fn int_18_a_postgres_that_is_restarted_in_mid_flight_costs_time_and_nothing_else() {
    block_on(async {
        let mut own = postgres::Own::start();
        let figures = [("file_bytes", "1_048_576"), ("entry_bytes", "2_097_152"), ("max_file_bytes", "2_097_152")];
        let site = Site::with_figures(own.url(), &figures).await;
        let client = site.client().await;
        let server = site.serve(None).await;
        let [first, second] = parcels().try_into().unwrap_or_else(|_| panic!("two parcels"));
        // its files are just being judged when the server goes
        send(&client, &site.url(), &first).await;
        own.stop();
        let why = until("the node says that it can't work", async || {
            let answer = client.get(format!("{}/ready", site.url())).send().await.ok()?;
            let is_down = answer.status() == 503;
            let body = answer.json::<Value>().await.ok()?;
            is_down.then(|| body["reasons"].to_string())
        })
        .await;
        assert!(why.contains("the database"), "{why}");
        assert_eq!(figure(&site, "lettercase_database_up").await, Some(0.0));
        let opened = client.post(format!("{}/v1/submissions", site.url())).body(r#"{"kind":"appeal"}"#);
        let answer = opened.timeout(Duration::from_secs(30)).send().await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        // this sender tries again until it is answered, across the second restart, too
        let parcels = [second];
        let sending = send_all(&site, &parcels);
        let restarting = async {
            own.start_again();
            until("the database is taken up again", async || {
                (figure(&site, "lettercase_database_up").await == Some(1.0)).then_some(())
            })
            .await;
            own.stop();
            own.start_again();
        };
        tokio::join!(sending, restarting);
        site.until_done().await;
        let faults = figure(&site, "lettercase_database_faults_total{fault=\"away\"}").await;
        assert!(faults.is_some_and(|faults| faults > 0.0), "{faults:?}");
        let (status, log) = server.terminate().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains("dead letter"), "{log}");
        let outcome = site.outcome().await;
        let matched =
            outcome.iter().filter(|line| line.starts_with("document ") && line.contains(": matched ")).count();
        assert_eq!(matched, 4, "{outcome:#?}");
        assert!(outcome.iter().any(|line| line.contains("eicar.txt: quarantined")), "{outcome:#?}");
        site.assert_conserved().await;
    });
}
