//! Trials of integrators (INT-35), and the daily reconciliation (INT-36).

use lettercase::access::Manager;
use lettercase::access::keys::NewKey;
use lettercase::model::access::{Grants, Mode, Scope, TinSet};
use lettercase::model::ids::SubmissionId;

use super::{NAKAMURA, Server, answer, client, json};
use crate::on_both;
use crate::support::World;

/// A client with a key of its own.
pub(super) async fn keyed(world: &World, scopes: &[Scope], tins: TinSet, mode: Mode) -> reqwest::Client {
    let grants = Grants { scopes: scopes.iter().copied().collect(), tins, mode };
    let new = NewKey { name: "integrator".into(), grants, expires_at: None };
    let (_, secret) = world.app.access.create_key(Manager::Machine("test"), new).await.unwrap();
    client(secret.reveal())
}

on_both! {
    async fn int_35_a_trigger_file_has_the_outcome_of_its_name(world: &World) {
        let mut server = Server::start(&world.app).await;
        server.client = keyed(world, &[Scope::Submit, Scope::Read, Scope::Download], TinSet::All, Mode::Test).await;
        for (outcome, document, submission) in [
            ("clean", "unmatched", "accepted"),
            ("virus", "quarantined", "failed_virus"),
            ("held", "held", "held"),
            ("unmatched", "unmatched", "accepted"),
            ("rejected", "rejected", "failed_rejected"),
        ] {
            let id = server.open(r#"{"kind":"appeal"}"#).await;
            // the same bytes each time, as an integrator would do it
            let (status, text) = server.put(&id, &format!("lettercase-test-{outcome}.txt"), b"a page").await;
            assert_eq!(status, 201, "{text}");
            server.post(&format!("/v1/submissions/{id}/submit"), "").await;
            world.settle().await;
            let view = json(&server.get(&format!("/v1/submissions/{id}")).await.1);
            assert_eq!((view["state"].as_str(), view["documents"][0]["state"].as_str()), (Some(submission), Some(document)), "{outcome}: {view}");
        }
    }
}

on_both! {
    async fn int_35_trials_and_the_real_do_not_see_each_other(world: &World) {
        world.load_samples().await;
        let real = Server::start(&world.app).await;
        let mut trial = Server::start(&world.app).await;
        let scopes = [Scope::Submit, Scope::Read, Scope::ReadAny, Scope::Download, Scope::Match, Scope::Operate];
        trial.client = keyed(world, &scopes, TinSet::All, Mode::Test).await;
        let mut opened = Vec::new();
        for server in [&real, &trial] {
            let id: SubmissionId = server.open(NAKAMURA).await;
            server.put(&id, "letter.txt", b"a page for claim CL2683604951").await;
            server.post(&format!("/v1/submissions/{id}/submit"), "").await;
            opened.push(id);
        }
        world.settle().await;
        let state = async |server: &Server, id| json(&server.get(&format!("/v1/submissions/{id}")).await.1)["case_number"].clone();
        assert!(state(&real, &opened[0]).await.is_string(), "the real one met the real claim");
        assert!(state(&trial, &opened[1]).await.is_null(), "the trial met none");
        assert_eq!(real.get(&format!("/v1/submissions/{}", opened[1])).await.0, 404);
        assert_eq!(trial.get(&format!("/v1/submissions/{}", opened[0])).await.0, 404);
        let (status, text) = trial.post("/v1/submissions", r#"{"kind":"appeal","brand":"elsewhere"}"#).await;
        assert_eq!((status, json(&text)["code"].as_str()), (422, Some("unknown_brand")));
        let (status, text) = real.post("/v1/submissions", r#"{"kind":"appeal","brand":"meridian.test"}"#).await;
        assert_eq!((status, json(&text)["code"].as_str()), (422, Some("unknown_brand")), "{text}");
    }
}

on_both! {
    async fn int_33_a_key_sees_its_own_tins_only(world: &World) {
        world.load_samples().await;
        let all = Server::start(&world.app).await;
        let mut one = Server::start(&world.app).await;
        let tins = TinSet::Only(["005820914".parse().unwrap()].into());
        one.client = keyed(world, &[Scope::Submit, Scope::Read], tins, Mode::Live).await;
        let of = |tin: &str| format!(r#"{{"kind":"appeal","said":{{"tin":"{tin}"}}}}"#);
        let (own, other) = (all.open(&of("005820914")).await, all.open(&of("003905721")).await);
        assert_eq!(one.get(&format!("/v1/submissions/{own}")).await.0, 200);
        for path in ["", "/history", "/events"] {
            let (status, text) = one.get(&format!("/v1/submissions/{other}{path}")).await;
            assert_eq!((status, json(&text)["code"].as_str()), (404, Some("not_found")), "{path}");
        }
        assert_eq!(one.put(&other, "a.txt", b"a page").await.0, 404);
        for (body, code) in [(of("003905721"), "unknown_tin"), (r#"{"kind":"appeal"}"#.to_owned(), "tin_needed")] {
            let (status, text) = one.post("/v1/submissions", body).await;
            assert_eq!((status, json(&text)["code"].as_str()), (422, Some(code)));
        }
        // a claim of another practice is not even told to be there
        let id = one.open(r#"{"kind":"reconsideration","said":{"tin":"005820914","claim_number":"CL2618395240"}}"#).await;
        one.put(&id, "a.txt", b"a page").await;
        one.post(&format!("/v1/submissions/{id}/submit"), "").await;
        let unknown = one.open(r#"{"kind":"reconsideration","said":{"tin":"005820914","claim_number":"CL0000000000"}}"#).await;
        one.put(&unknown, "a.txt", b"a page").await;
        one.post(&format!("/v1/submissions/{unknown}/submit"), "").await;
        world.settle().await;
        let note = async |id: &SubmissionId| json(&one.get(&format!("/v1/submissions/{id}")).await.1)["case_note"].clone();
        assert_eq!(note(&id).await, note(&unknown).await);
        let (status, text) = one.get("/metrics").await;
        assert_eq!((status, json(&text)["code"].as_str()), (403, Some("forbidden")));
    }
}

on_both! {
    async fn int_36_a_day_is_reconciled(world: &World) {
        world.load_samples().await;
        let server = Server::start(&world.app).await;
        for (name, files) in [("a", 1), ("b", 2), ("c", 0)] {
            let id = server.open(&format!(r#"{{"kind":"appeal","sender_reference":"{name}"}}"#)).await;
            for n in 0..files {
                server.put(&id, &format!("{n}.txt"), b"a page").await;
            }
            if files > 0 {
                server.post(&format!("/v1/submissions/{id}/submit"), "").await;
            }
        }
        world.settle().await;
        let (status, text) = server.get("/v1/reconciliation?date=2026-11-20&limit=2").await;
        assert_eq!(status, 200, "{text}");
        let day = json(&text);
        assert_eq!((day["submissions"].as_i64(), day["documents"].as_i64()), (Some(3), Some(3)));
        assert_eq!(day["submissions_by_state"], serde_json::json!({ "accepted": 2, "open": 1 }));
        assert_eq!(day["documents_by_state"], serde_json::json!({ "unmatched": 3 }));
        assert_eq!(day["lines"].as_array().map(Vec::len), Some(2));
        let next = format!("/v1/reconciliation?date=2026-11-20&cursor={}", day["next"].as_str().unwrap());
        let rest = json(&server.get(&next).await.1);
        assert_eq!((rest["lines"][0]["sender_reference"].as_str(), rest["next"].is_null()), (Some("c"), true));
        let (_, text) = answer(server.client.get(server.url("/v1/reconciliation?date=2026-11-21"))).await;
        assert_eq!(json(&text)["submissions"], 0);
    }
}
