//! kill -9 at moments nobody chose, while twenty documents are in flight.

use std::time::Duration;

use serde_json::json;

use super::sender::{Parcel, sample, send_all};
use super::site::Site;
use crate::support::{On, block_on, eicar};

const ROUNDS: usize = 10;

fn twenty() -> Vec<Parcel> {
    let parcel = |n: usize| Parcel {
        name: format!("parcel-{n}"),
        said: json!({ "claim_number": "CL2683604951", "member_id": "MH27390641" }),
        files: vec![
            sample("nakamura-claim-status.png"),
            sample("nakamura-chart-export.txt"),
            (format!("note-{n}.txt"), format!("Note {n} on claim CL2683604951.\n").into_bytes()),
            match n {
                0 => ("eicar.txt".into(), eicar()),
                _ => sample("okonjo-ecg-strip.gif"),
            },
        ]
        .into_iter()
        .map(|(name, bytes)| (format!("{n}-{name}"), bytes))
        .collect(),
    };
    (0..5).map(parcel).collect()
}

async fn rounds(on: On) {
    let site = Site::new(on).await;
    let parcels = twenty();
    let killer = async {
        for _ in 0..ROUNDS {
            let server = site.serve(None).await;
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..900))).await;
            server.kill().await;
        }
        site.serve(None).await
    };
    let ((), server) = tokio::join!(send_all(&site, &parcels), killer);
    site.until_done().await;
    server.terminate().await;
    site.assert_conserved().await;
    let outcome = site.outcome().await;
    let documents: Vec<_> = outcome.iter().filter(|line| line.starts_with("document ")).collect();
    assert_eq!(documents.len(), 20, "{outcome:#?}");
    assert!(documents.iter().all(|line| line.contains("receipts 1,")), "{documents:#?}");
    let infected = documents.iter().filter(|line| line.contains("eicar.txt: quarantined")).count();
    assert_eq!(infected, 1, "{documents:#?}");
    // of the parcel that failed for the virus, the three others stay stored, on no case
    let count = |state: &str| documents.iter().filter(|line| line.contains(&format!(": {state} "))).count();
    assert_eq!((count("stored"), count("matched")), (3, 16), "{documents:#?}");
    assert_eq!(outcome.iter().filter(|line| line.starts_with("case of ")).count(), 1, "{outcome:#?}");
}

#[test]
fn sqlite() {
    block_on(rounds(On::Sqlite));
}

#[test]
fn postgres() {
    block_on(rounds(On::Postgres));
}
