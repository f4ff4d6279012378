//! Retention over HTTP.

use lettercase::model::access::{Scope, TinSet};
use reqwest::Method;
use serde_json::{Value, json};

use super::*;
use crate::delivery::http::{all, refused as no, service};
use crate::http::Server;
use crate::on_both;

on_both! {
    async fn ops_15_plans_runs_and_holds_are_told_over_http_in_ids_and_counts(world: &World) {
        world.load_samples().await;
        let said = Said { member_id: "MH51938207".parse().ok(), ..Said::default() };
        let (held, free) = (refused(world, said, "his file.exe").await, refused(world, Said::default(), "b.exe").await);
        world.advance(YEARS + DAY);
        let server = Server::start(&world.app).await;
        let service = all(&server);
        assert_eq!(no(&service.post("/v1/retention/runs", None, Value::Null).await), (409, "wrong_state"), "policy is off");
        let (status, etag, hold) =
            service.post("/v1/retention/holds", None, json!({ "member_id": "mh51938207", "reason": "an inquiry" })).await;
        assert_eq!((status, etag.as_str(), &hold["member_id"]), (201, "\"1\"", &json!("MH51938207")), "{hold}");
        for (body, refusal) in [
            (json!({ "member_id": "MH51938207", "reason": "again" }), (409, "exists")),
            (json!({ "member_id": "MH-NOBODY", "reason": "x" }), (422, "unprocessable")),
            (json!({ "reason": "x" }), (400, "bad_request")),
            (json!({ "tin": "007296035", "member_id": "MH51938207", "reason": "x" }), (400, "bad_request")),
            (json!({ "tin": "007296035", "reason": "" }), (422, "unprocessable")),
        ] {
            assert_eq!(no(&service.post("/v1/retention/holds", None, body).await), refusal);
        }
        let (_, _, plan) = service.get("/v1/retention/plan").await;
        assert_eq!((&plan["destruction"], &plan["day"]), (&json!(false), &json!(keeper(world).today())));
        let counts: Vec<String> = plan["counts"].as_array().unwrap().iter().map(|n| format!("{} {} {}", n["class"], n["why"], n["records"])).collect();
        // four of the samples' cases are closed
        assert_eq!(
            counts,
            [
                "\"documents\" \"due\" 1",
                "\"documents\" \"held\" 1",
                "\"documents\" \"has_records\" 2",
                "\"cases\" \"due\" 4",
                "\"cases\" \"case_open\" 12",
            ],
        );
        let (_, _, page) = service.get("/v1/retention/plan/document?why=due&limit=1").await;
        let next = page["next"].as_str().unwrap();
        let (_, _, second) = service.get(&format!("/v1/retention/plan/document?why=due&limit=1&cursor={next}")).await;
        let found: Vec<&Value> = [&page, &second].iter().flat_map(|page| page["records"].as_array().unwrap()).collect();
        assert_eq!((found.len(), &found[0]["id"]), (1, &json!(free.as_str())), "{page} {second}");
        assert_eq!(no(&service.get("/v1/retention/plan/nonsense").await), (404, "not_found"));
        assert!(!plan.to_string().contains("file") && !page.to_string().contains("file"), "no name is told");

        let keeper = keeper(world);
        let (run, _) = ran(world, &keeper).await;
        assert!(is_live(world, &held).await && !is_live(world, &free).await);
        let path = format!("/v1/retention/runs/{}", run.id);
        let (_, _, report) = service.get(&path).await;
        assert_eq!((&report["state"], &report["at"]), (&json!("done"), &Value::Null), "{report}");
        assert_eq!(service.get("/v1/retention/runs").await.2["runs"], json!([report]));
        let (_, _, records) = service.get(&format!("{path}/records")).await;
        let all = records["records"].as_array().unwrap();
        // the document, its submission, and four cases
        assert_eq!((all.len(), &records["next"]), (6, &Value::Null), "{records}");
        let one = all.iter().find(|one| one["id"] == json!(free.as_str())).unwrap();
        assert_eq!((&one["state"], &one["kind"], &one["class"]), (&json!("done"), &json!("document"), &json!("documents")));
        assert!(service.get(&format!("{path}/records?limit=5")).await.2["next"].is_string());

        let release = format!("/v1/retention/holds/{}/release", hold["id"].as_str().unwrap());
        assert_eq!(no(&service.post(&release, None, Value::Null).await), (428, "version_needed"));
        assert_eq!(no(&service.post(&release, Some("\"9\""), Value::Null).await), (412, "version_conflict"));
        let (status, _, lifted) = service.post(&release, Some(&etag), Value::Null).await;
        assert_eq!((status, lifted["lifted_at"].is_string()), (200, true), "{lifted}");
        assert_eq!(service.get("/v1/retention/holds").await.2["holds"], json!([]));
        assert_eq!(service.get("/v1/retention/holds?lifted=true").await.2["holds"], json!([lifted]));
        let nobody = "01980000-0000-7000-8000-000000000001";
        for path in [format!("/v1/retention/runs/{nobody}"), format!("/v1/retention/holds/{nobody}")] {
            assert_eq!(no(&service.get(&path).await), (404, "not_found"));
        }
    }
}

on_both! {
    async fn nobody_meets_retention_without_its_scope_for_all_practices(world: &World) {
        let server = Server::start(&world.app).await;
        let few = TinSet::Only(["007296035".parse().unwrap()].into());
        for (scopes, tins) in [
            (vec![Scope::Operate, Scope::Audit, Scope::Access, Scope::ReadAny], TinSet::All),
            (vec![Scope::Retention], TinSet::All),
            (vec![Scope::Retention, Scope::ReadAny], few),
        ] {
            let service = service(world, &server, &scopes, tins).await;
            for (method, path) in [(Method::GET, "plan"), (Method::GET, "holds"), (Method::POST, "runs")] {
                let came = service.send(method, &format!("/v1/retention/{path}"), None, Value::Null).await;
                assert_eq!(no(&came), (403, "forbidden"), "{path} {scopes:?}");
            }
        }
    }
}
