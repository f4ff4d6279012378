//! From what asks for a letter to where it goes, over all stages as they are.

use lettercase::db::letters::Filter;
use lettercase::letters::asks::OURSELVES;
use lettercase::model::case::CaseKind;
use lettercase::model::submission::{Said, SubmissionState};
use serde_json::{Value, json};

use super::http::{all, refused};
use super::*;
use crate::http::Server;
use crate::journey::{count, sql, texts, told};
use crate::on_both;
use crate::review::case;
use crate::support::eicar;

/// All letters, the oldest first.
async fn every_letter(world: &World) -> Vec<Letter> {
    let mut conn = world.db().read().await.unwrap();
    let mut found = letters::list(&mut conn, Filter::All, None, 100).await.unwrap();
    found.reverse();
    found
}

/// A denial to a member for medical necessity. It is whole with the contact of the review organization.
fn denial() -> Value {
    json!({
        "decided_on": "2026-11-20",
        "lines": [{
            "service_on": "2026-06-11", "code": "72148", "description": "MRI of the lower spine, without contrast",
            "billed_cents": 184_000, "reason": "Not medically necessary",
        }],
        "member_owes_cents": 0,
        "denial": {
            "class": "medical_necessity",
            "reason": "The records do not show six weeks of care with exercise and medicine.",
            "clinical_rationale": "No documented trial of conservative management.",
            "coverage_policy": {
                "title": "Advanced Imaging of the Spine", "number": "RAD-117", "section": "3.2", "effective_on": "2026-01-01",
            },
            "reviewer": "a doctor who is board-certified in physical medicine and rehabilitation",
            "appeal_level": "first",
            "appeal_deadline": "2027-05-19",
            "peer_to_peer": { "phone": "1-800-555-0163", "hours": 48 },
        },
    })
}

on_both! {
    async fn dis_06_a_denial_that_lacks_something_is_an_operators_task_until_it_is_said(world: &World) {
        world.load_samples().await;
        let server = Server::start(&world.app).await;
        let service = all(&server);
        let asked = json!({
            "event_id": "denial-1", "type": "claim_denied", "addressee": { "member_id": "MH38649275" },
            "claim_number": "CL2692740386", "details": denial(),
        });
        let (status, _, made) = service.post("/v1/letters", None, asked).await;
        assert_eq!((status, &made["state"]), (202, &json!("asked")), "{made}");
        let path = format!("/v1/letters/{}", made["id"].as_str().unwrap());
        world.settle().await;
        let (_, etag, seen) = service.get(&path).await;
        assert_eq!((&seen["state"], &seen["reason_code"]), (&json!("refused"), &json!("incomplete_data")), "{seen}");
        let reason = seen["reason"].as_str().unwrap();
        assert!(reason.contains("details.denial.iro") && !reason.contains("spine"), "{reason}");
        // asked for on a Friday: one business day of the payer's calendar
        assert_eq!(seen["due_at"], "2026-11-24T05:00:00Z");
        assert_eq!((&seen["made"], &seen["letter_date"]), (&Value::Null, &Value::Null), "nothing was rendered");
        assert_eq!(service.get("/v1/letters").await.2["letters"], json!([seen]), "the task stands in the list");

        let details = format!("{path}/details");
        let mut whole = denial();
        whole["denial"]["iro"] = json!({
            "name": "Buckeye Independent Review Group", "lines": ["2200 Capitol Avenue"], "city": "Columbus", "state": "OH",
            "zip": "43215", "phone": "1-800-555-0188",
        });
        let said = |details: Value| json!({ "details": details });
        assert_eq!(refused(&service.post(&details, None, said(whole.clone())).await), (428, "version_needed"));
        assert_eq!(refused(&service.post(&details, Some("\"7\""), said(whole.clone())).await), (412, "version_conflict"));
        let (status, etag, again) = service.post(&details, Some(&etag), said(denial())).await;
        assert_eq!((status, &again["state"], &again["due_at"]), (202, &json!("asked"), &Value::Null), "{again}");
        assert_eq!(refused(&service.post(&details, Some(&etag), said(whole.clone())).await), (409, "wrong_state"));
        world.settle().await;
        let (_, etag, seen) = service.get(&path).await;
        assert_eq!(seen["state"], "refused", "it lacks the same still: {seen}");

        assert_eq!(service.post(&details, Some(&etag), said(whole)).await.0, 202);
        world.settle().await;
        let (_, _, seen) = service.get(&path).await;
        assert_eq!((&seen["state"], &seen["reason"]), (&json!("routed"), &Value::Null), "{seen}");
        assert_eq!(seen["letter_date"], "2026-11-20");
        assert_eq!(service.get("/v1/letters").await.2["letters"], json!([]));
        let id: LetterId = seen["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(ways(world, &id).await, ["paper waiting to_member"]);
        let states: Vec<usize> = {
            let mut states = Vec::new();
            for kind in ["letter.asked", "letter.refused", "letter.composed", "letter.rendered", "letter.routed"] {
                states.push(told(world, id.as_str(), kind).await.len());
            }
            states
        };
        assert_eq!(states, [3, 2, 1, 1, 1]);
    }
}

on_both! {
    async fn int_13_a_virus_in_a_reconsideration_is_told_by_a_letter_of_itself(world: &World) {
        world.load_samples().await;
        let said = Said { claim_number: "CL2618395240".parse().ok(), member_id: "MH16854039".parse().ok(), ..Said::default() };
        let id = world.open(CaseKind::Reconsideration, said).await;
        world.add(&id, "letter.txt", b"Please look at this claim again.").await;
        world.add(&id, "scan of the chart.txt", &eicar()).await;
        let view = world.submit(&id).await;
        assert_eq!((view.state, view.case_status.as_deref()), (SubmissionState::FailedVirus, Some("Request Failed (Virus)")));
        let made = every_letter(world).await;
        let types: Vec<_> = made.iter().map(|letter| letter.letter_type).collect();
        assert_eq!(types, [LetterType::ReconsiderationReceived, LetterType::RequestFailedVirus]);
        for letter in &made {
            assert_eq!((letter.state, letter.asker.as_str()), (LetterState::Routed, OURSELVES), "{:?}", letter.reason);
            assert!(letter.made.is_some());
        }
        let failed = &made[1];
        let data: Value = serde_json::from_str(failed.data.as_ref().unwrap().reveal()).unwrap();
        let details = &data["document"]["details"];
        assert_eq!((&details["files"], details["files_kept"].to_string().contains('1')), (&json!(["scan of the chart.txt"]), true), "{details}");
        let events = texts(world, "SELECT payload FROM event").await;
        assert!(events.iter().all(|payload| !payload.contains("chart")), "a file's name is in no event");

        // read again, the same events ask for the same letters
        sql(world, "UPDATE event_reader SET position = 0 WHERE name = 'letters'").await;
        world.settle().await;
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM letter").await, 2);
    }
}

on_both! {
    async fn cor_01_a_status_that_is_set_makes_its_letter_and_one_that_says_nothing_makes_none(world: &World) {
        world.load_samples().await;
        let server = Server::start(&world.app).await;
        let service = all(&server);
        let set = async |number: &str, body: Value| {
            let id = case(world, number).await;
            let came = service.post(&format!("/v1/cases/{id}/status"), None, body).await;
            world.settle().await;
            (came.0, came.2)
        };
        assert_eq!(set("RC-7K4M9TX2", json!({ "status": "In Process" })).await.0, 200);
        assert_eq!(set("PC-6N2RQ8VX", json!({ "status": "Void", "no_letter": true })).await.0, 200);
        assert!(every_letter(world).await.is_empty());
        let told_by = json!({ "status": "Upheld", "letter": { "details": {
            "decided_on": "2026-11-20", "reason": "The contract pays this service together with the visit of the same day.",
            "reviewed": ["Your request"], "appeal_deadline": "2027-05-19",
        } } });
        let (status, changed) = set("RC-7K4M9TX2", told_by.clone()).await;
        assert_eq!((status, &changed["status"]), (200, &json!("Upheld")), "{changed}");
        let (status, again) = set("RC-7K4M9TX2", told_by).await;
        assert_eq!((status, &again["code"]), (409, &json!("wrong_state")), "{again}");
        let made = every_letter(world).await;
        assert_eq!(made.len(), 1, "{made:?}");
        let upheld = &made[0];
        assert_eq!((upheld.letter_type, upheld.state), (LetterType::ReconsiderationUpheld, LetterState::Routed), "{:?}", upheld.reason);
        assert_eq!(upheld.case_id, Some(case(world, "RC-7K4M9TX2").await));
        assert_eq!(upheld.addressee, Addressee::Tin(tin("004417203")));
        assert_eq!(ways(world, &upheld.id).await[0], "inbox delivered registered");
        let other = set("RC-2H8PWQ5D", json!({ "status": "Adjusted", "letter": { "type": "claim_denied" } })).await;
        assert_eq!((other.0, &other.1["code"]), (422, &json!("unprocessable")), "{}", other.1);
    }
}

on_both! {
    async fn cor_02_the_same_event_asks_for_the_same_letter(world: &World) {
        world.load_samples().await;
        let server = Server::start(&world.app).await;
        let service = all(&server);
        let ask = |event: &str, of: &str, details: Value| json!({
            "event_id": event, "type": of, "addressee": { "tin": "004417203" }, "claim_number": "CL2638150472", "details": details,
        });
        // without details each is refused when it is composed: here it is only counted
        let denied = ask("decision-1", "claim_denied", json!({}));
        let (one, two) = tokio::join!(service.post("/v1/letters", None, denied.clone()), service.post("/v1/letters", None, denied));
        assert_eq!((one.0, two.0, &one.2["id"]), (202, 202, &two.2["id"]));
        world.settle().await;
        let (status, _, late) = service.post("/v1/letters", None, ask("decision-1", "claim_denied", json!({ "other": 1 }))).await;
        assert_eq!((status, &late["id"], &late["state"]), (202, &one.2["id"], &json!("refused")), "it stays as it was");
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM letter").await, 1);
        for body in [ask("decision-2", "claim_denied", json!({})), ask("decision-1", "reconsideration_upheld", json!({}))] {
            assert_ne!(service.post("/v1/letters", None, body).await.2["id"], one.2["id"], "another event, another type");
        }
        world.settle().await;
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM letter").await, 3);
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM event WHERE type = 'letter.asked'").await, 3);
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM receipt WHERE kind = 'letter'").await, 3);
    }
}

on_both! {
    async fn cor_01_a_letter_about_another_practices_or_members_claim_is_refused(world: &World) {
        world.load_samples().await;
        let server = Server::start(&world.app).await;
        let service = all(&server);
        // the claim CL2638150472 and the case RC-7K4M9TX2 are of 004417203 and MH40726183
        let table = [
            (json!({ "addressee": { "tin": "005820914" }, "claim_number": "CL2638150472" }), "the claim is of another practice"),
            (json!({ "addressee": { "member_id": "MH27390641" }, "claim_number": "CL2638150472" }), "the claim is about another member"),
            (
                json!({ "addressee": { "tin": "004417203" }, "member_id": "MH27390641", "claim_number": "CL2638150472" }),
                "the claim is about another member",
            ),
            (
                json!({ "addressee": { "member_id": "MH40726183" }, "tin": "005820914", "claim_number": "CL2638150472" }),
                "the claim is of another practice",
            ),
            (json!({ "addressee": { "tin": "005820914" }, "case_number": "RC-7K4M9TX2" }), "the case is of another practice"),
            (json!({ "addressee": { "member_id": "MH27390641" }, "case_number": "RC-7K4M9TX2" }), "the case is about another member"),
            (
                json!({ "addressee": { "tin": "004417203" }, "case_number": "RC-7K4M9TX2", "claim_number": "CL2605927416" }),
                "claim_number is not the claim of the case",
            ),
            (json!({ "addressee": { "tin": "004417203" }, "tin": "005820914" }), "tin is another practice than the addressee"),
            (
                json!({ "addressee": { "member_id": "MH40726183" }, "member_id": "MH27390641" }),
                "member_id is another member than the addressee",
            ),
            (json!({ "addressee": { "tin": "004417203" }, "case_number": "RC-0000XXXX" }), "no case of case_number is known"),
        ];
        for (mut body, expected) in table {
            body["event_id"] = json!("strange");
            body["type"] = json!("claim_denied");
            let came = service.post("/v1/letters", None, body.clone()).await;
            assert_eq!(refused(&came), (422, "unprocessable"), "{body}: {}", came.2);
            assert_eq!(came.2["detail"], expected, "{body}");
        }
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM letter").await, 0);
        // what is left out is taken from the rows
        let body = json!({ "event_id": "e", "type": "claim_denied", "addressee": { "tin": "004417203" }, "case_number": "RC-7K4M9TX2" });
        let (status, _, made) = service.post("/v1/letters", None, body).await;
        assert_eq!(status, 202, "{made}");
        let made = &every_letter(world).await[0];
        assert_eq!(made.member_id, "MH40726183".parse().ok());
        assert_eq!(made.claim_number, "CL2638150472".parse().ok());
    }
}
