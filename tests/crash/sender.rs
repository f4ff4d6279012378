//! A sender as senders are: what was not answered is sent again, until it is.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use super::site::{PATIENCE, Site};

/// A submission to send: its name, what is said, its files.
#[derive(Clone)]
pub(crate) struct Parcel {
    pub(crate) name: String,
    pub(crate) said: Value,
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

pub(crate) fn sample(name: &str) -> (String, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/documents").join(name);
    (name.to_owned(), std::fs::read(path).unwrap())
}

/// A request whose files are all matched (two of them the same bytes), and one that fails for a virus.
pub(crate) fn parcels() -> Vec<Parcel> {
    let (_, export) = sample("nakamura-chart-export.txt");
    vec![
        Parcel {
            name: "clean".into(),
            said: json!({ "claim_number": "CL2683604951", "member_id": "MH27390641", "tin": "005820914" }),
            files: vec![
                sample("nakamura-reconsideration-letter.docx"),
                sample("nakamura-claim-status.png"),
                ("chart.txt".into(), export.clone()),
                ("chart again.txt".into(), export),
            ],
        },
        Parcel {
            name: "infected".into(),
            said: json!({ "claim_number": "CL2618395240", "member_id": "MH16854039", "tin": "003905721" }),
            files: vec![sample("odwyer-portal-message.txt"), ("eicar.txt".into(), crate::support::eicar())],
        },
    ]
}

/// Sends a parcel to the end, across any number of restarts.
pub(crate) async fn send(client: &Client, url: &str, parcel: &Parcel) {
    let base = format!("{url}/v1/submissions");
    let open = json!({ "kind": "reconsideration", "said": parcel.said, "sender_reference": parcel.name });
    let opened = until(async || {
        let answer = client.post(&base).json(&open).send().await.ok()?;
        (answer.status() == StatusCode::CREATED).then_some(())?;
        answer.json::<Value>().await.ok()
    })
    .await;
    let id = opened["id"].as_str().unwrap().to_owned();
    for (name, bytes) in &parcel.files {
        let at = format!("{base}/{id}/files/{}", name.replace(' ', "%20"));
        until(async || {
            let answer = client.put(&at).body(bytes.clone()).send().await.ok()?;
            // taken the time before, when the answer did not come through
            let taken = [StatusCode::CREATED, StatusCode::CONFLICT].contains(&answer.status());
            taken.then_some(())
        })
        .await;
    }
    until(async || {
        let answer = client.post(format!("{base}/{id}/submit")).send().await.ok()?;
        (answer.status() == StatusCode::ACCEPTED).then_some(())
    })
    .await;
}

/// Asks again and again, until there is a good answer.
pub(crate) async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "no good answer came");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends them all at once.
pub(crate) async fn send_all(site: &Site, parcels: &[Parcel]) {
    let (client, url) = (site.client().await, site.url());
    futures::future::join_all(parcels.iter().map(|parcel| send(&client, &url, parcel))).await;
}
