//! kill -9 while a file comes in: what was answered is there, what was not may be, never twice.

use std::time::Duration;

use futures::stream;
use serde_json::{Value, json};

use super::sender::sample;
use super::site::Site;
use crate::support::{On, block_on};

async fn open(site: &Site) -> String {
    let opened = site
        .client()
        .await
        .post(format!("{}/v1/submissions", site.url()))
        .json(&json!({ "kind": "appeal", "sender_reference": "parcel" }))
        .send()
        .await
        .unwrap()
        .json::<Value>()
        .await
        .unwrap();
    format!("{}/v1/submissions/{}", site.url(), opened["id"].as_str().unwrap())
}

/// Sends a file that is answered and one during which the process is killed; then the second one again, until it
/// is answered. `place` is a fail point, or none: then half of the body is sent. Answers the last status.
async fn killed(on: On, place: Option<&str>) -> u16 {
    let site = Site::new(on).await;
    let server = site.serve(None).await;
    let at = open(&site).await;
    let (name, bytes) = sample("nakamura-chart-export.txt");
    let client = site.client().await;
    let put = async |name: &str| client.put(format!("{at}/files/{name}")).body(bytes.clone()).send().await;
    assert_eq!(put(&name).await.unwrap().status(), 201);
    server.kill().await;

    let mut server = site.serve(place).await;
    match place {
        Some(_) => {
            let unanswered = tokio::join!(put("second.txt"), async {
                server.until_logged("stopped by a fail point").await;
                server.kill().await;
            });
            assert!(unanswered.0.is_err(), "an answer came from a process that stood still");
        }
        None => {
            let half = bytes[..bytes.len() / 2].to_vec();
            let never = stream::pending::<Result<Vec<u8>, std::io::Error>>();
            let body = stream::StreamExt::chain(stream::iter([Ok(half)]), never);
            let upload = client.put(format!("{at}/files/second.txt"));
            let upload = upload.header("content-length", bytes.len()).body(reqwest::Body::wrap_stream(body)).send();
            let unanswered = tokio::join!(upload, async {
                tokio::time::sleep(Duration::from_millis(400)).await;
                server.kill().await;
            });
            assert!(unanswered.0.is_err());
        }
    }

    let server = site.serve(None).await;
    let again = put("second.txt").await.unwrap().status();
    assert_eq!(client.post(format!("{at}/submit")).send().await.unwrap().status(), 202);
    site.until_done().await;
    server.terminate().await;
    site.assert_conserved().await;
    let outcome = site.outcome().await;
    for name in [name.as_str(), "second.txt"] {
        let there = outcome.iter().filter(|line| line.starts_with(&format!("document {name}:"))).count();
        assert_eq!(there, 1, "{name}: {outcome:#?}");
    }
    again.as_u16()
}

macro_rules! places {
    ($($name:ident, $place:expr, $status:expr;)*) => {
        $(mod $name {
            use super::*;
            #[test]
            fn sqlite() {
                assert_eq!(block_on(killed(On::Sqlite, $place)), $status);
            }
            #[test]
            fn postgres() {
                assert_eq!(block_on(killed(On::Postgres, $place)), $status);
            }
        })*
    };
}

places! {
    half_a_body, None, 201;
    int_10_durable_but_not_accepted, Some("receive-stored"), 201;
    int_10_accepted_but_not_answered, Some("receive-accepted"), 409;
}
