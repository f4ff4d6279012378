//! Ways of letters at the command line.

use serde_json::json;

use super::*;
use crate::cli::{good, run};
use crate::crash::site::Site;
use crate::support::{On, block_on};

#[test]
fn cor_16_letters_are_explained_stopped_and_held_at_the_command_line() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let (db, ctx) = (site.db().await, Context::system());
        let id = New { state: LetterState::Composed, ..New::default() }.ask_in(&db, &ctx).await;
        let id = id.as_str();
        let why = good(&site, &["letters", "why", id, "--json"]).await.json();
        assert_eq!((&why["state"], &why["deliveries"]), (&json!("composed"), &json!([])), "{why}");
        let stopped = good(&site, &["letters", "stop", id, "--reason", "duplicate"]).await;
        assert!(stopped.out.contains("is stopped") && stopped.out.contains("written already"), "{stopped:?}");
        let why = good(&site, &["letters", "why", id, "--json"]).await.json();
        assert_eq!(why["because"]["code"], "duplicate");
        let released = good(&site, &["letters", "release", id, "--json"]).await.json();
        assert_eq!(released["state"], "asked");

        let args = ["letters", "hold", "--type", "claim_denied", "--reason", "a wrong phrase", "--json"];
        let hold = good(&site, &args).await.json()[0].clone();
        assert_eq!((&hold["type"], &hold["tin"]), (&json!("claim_denied"), &json!(null)));
        assert!(good(&site, &["letters", "holds"]).await.out.contains("a wrong phrase"));
        let hold = hold["id"].as_str().unwrap();
        let lifted = good(&site, &["letters", "lift", hold, "--release", "--json"]).await.json();
        assert_eq!((&lifted["released"], &lifted["left"]), (&json!(0), &json!(0)));
        assert_eq!(good(&site, &["letters", "holds", "--json"]).await.json(), json!([]));
        assert_eq!(
            good(&site, &["letters", "holds", "--all", "--json"]).await.json().as_array().map(Vec::len),
            Some(1)
        );

        let nobody = "01980000-0000-7000-8000-000000000001";
        for (args, told) in [
            (vec!["letters", "why", nobody], "no such letter"),
            (vec!["letters", "stop", id], "--reason"),
            (vec!["letters", "stop", id, "--reason", "nonsense"], "StopReason"),
            (vec!["letters", "stop", id, "--reason", "superseded"], "not one that a person gives"),
            (vec!["letters", "release", id], "was not stopped"),
            (vec!["letters", "hold", "--reason", "x"], "--type"),
            (vec!["letters", "hold", "--tin", "999999999", "--reason", "x"], "no such TIN"),
            (vec!["letters", "lift", nobody], "no such hold"),
        ] {
            let refused = run(&site, &args).await;
            assert!(refused.code == 2 && refused.err.contains(told), "{args:?}: {refused:?}");
        }
        let ledger = good(&site, &["ledger"]).await;
        for told in
            ["letters asked for 1: in flight 1,", "deliveries by inbox 0: waiting 0,", "letters: 0 rows without object"]
        {
            assert!(ledger.out.contains(told), "{told}: {ledger:?}");
        }
        let ledger = good(&site, &["ledger", "--json"]).await.json();
        assert_eq!((&ledger["ledger"]["letters"]["asked"], &ledger["objects"]["letters"]), (&json!(1), &json!([0, 0])));
        assert_eq!(ledger["ledger"]["deliveries"][1]["channel"], "paper");
        let db = site.db().await;
        let mut tx = db.begin().await.unwrap();
        sqlx::query("DELETE FROM letter").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        db.close().await;
        let lost = run(&site, &["ledger"]).await;
        assert!(lost.code == 1 && !lost.out.contains("difference 0"), "{lost:?}");
    });
}
