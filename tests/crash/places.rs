//! kill -9 once inside each stage, at each of its places; then a restart. On both databases.

use std::collections::BTreeSet;

use tokio::sync::OnceCell;

use super::sender::{parcels, send_all};
use super::site::Site;
use crate::support::{On, block_on};

/// What becomes of the parcels when nothing happens on the way.
async fn undisturbed() -> &'static BTreeSet<String> {
    static OUTCOME: OnceCell<BTreeSet<String>> = OnceCell::const_new();
    OUTCOME
        .get_or_init(|| async {
            let site = Site::new(On::Sqlite).await;
            let server = site.serve(None).await;
            send_all(&site, &parcels()).await;
            site.until_done().await;
            server.terminate().await;
            site.assert_conserved().await;
            let outcome = site.outcome().await;
            assert_eq!(outcome.iter().filter(|line| line.contains(": matched ")).count(), 4, "{outcome:#?}");
            assert!(outcome.iter().any(|line| line.contains("quarantined")), "{outcome:#?}");
            assert_eq!(outcome.iter().filter(|line| line.starts_with("content ")).count(), 5, "{outcome:#?}");
            let of_letters: Vec<_> = outcome.iter().filter(|line| line.starts_with("letter ")).collect();
            assert_eq!(of_letters.len(), 3, "{of_letters:#?}");
            assert_eq!(
                of_letters.iter().filter(|line| line.contains("request_failed_virus")).count(),
                1,
                "{of_letters:#?}"
            );
            // one of both practices is registered
            assert_eq!(
                of_letters.iter().filter(|line| line.contains("messages 1, receipts 1;")).count(),
                1,
                "{of_letters:#?}"
            );
            outcome
        })
        .await
}

/// Sends, lets the process stand still at the place, kills it there, starts it again, and compares.
async fn killed_at(on: On, place: &str) {
    let site = Site::new(on).await;
    let mut server = site.serve(Some(place)).await;
    let parcels = parcels();
    let after = async {
        server.until_logged("stopped by a fail point").await;
        server.kill().await;
        site.serve(None).await
    };
    let ((), server) = tokio::join!(send_all(&site, &parcels), after);
    site.until_done().await;
    let (status, log) = server.terminate().await;
    assert!(status.success(), "{place}: {status}, {log}");
    site.assert_conserved().await;
    pretty_eq(place, &site.outcome().await, undisturbed().await);
}

fn pretty_eq(place: &str, found: &BTreeSet<String>, expected: &BTreeSet<String>) {
    let missing: Vec<_> = expected.difference(found).collect();
    let surplus: Vec<_> = found.difference(expected).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "{place}: missing {missing:#?}, instead {surplus:#?}");
}

fn killed_in(on: On, stage: &str) {
    block_on(async {
        undisturbed().await;
        let places = ["loaded", "ran", "written", "committed"].map(|place| format!("{stage}-{place}"));
        futures::future::join_all(places.iter().map(|place| killed_at(on, place))).await;
    });
}

macro_rules! stages {
    ($($stage:ident),*) => {
        $(mod $stage {
            use super::*;
            #[test]
            fn sqlite() {
                killed_in(On::Sqlite, stringify!($stage).trim_start_matches("r#"));
            }
            #[test]
            fn postgres() {
                killed_in(On::Postgres, stringify!($stage).trim_start_matches("r#"));
            }
        })*
    };
}

stages!(sniff, scan, store, r#match, settle);

/// Between the event that opens a case and its letter, and, as the third event that asks for one, between the failure for
/// a virus and its letter.
fn killed_in_reader(on: On) {
    block_on(async {
        undisturbed().await;
        let places = [
            "letters-loaded",
            "letters-written",
            "letters-committed",
            "letters-loaded=2*off->return",
            "letters-written=2*off->return",
        ];
        futures::future::join_all(places.iter().map(|place| killed_at(on, place))).await;
    });
}

mod cor_01_a_case_asks_for_its_letter_once {
    use super::*;
    #[test]
    fn sqlite() {
        killed_in_reader(On::Sqlite);
    }
    #[test]
    fn postgres() {
        killed_in_reader(On::Postgres);
    }
}
