//! A person decides the case of a document, or that it is not ours (OPS-01, OPS-07).

use std::time::Duration;

use lettercase::db::{case_files, returns};
use lettercase::intake::review::decide::{accept, choose, reject, return_as_not_ours};
use lettercase::intake::review::search::{CaseQuery, search};
use lettercase::intake::review::{Claimed, ReviewError};
use lettercase::model::document::{DocumentState, ReturnReason};
use lettercase::model::judgement::ReasonCode;
use lettercase::model::phi::Phi;
use lettercase::model::reference::ReferenceKind;
use serde_json::Value;

use super::{AMBIGUOUS, LEASE, STRANGER, case, claimed, person, sent, take, task_of};
use crate::journey::told;
use crate::on_both;
use crate::support::World;

async fn last_told(world: &World, id: &str, kind: &str) -> (String, Value) {
    world.settle().await;
    let event = told(world, id, kind).await.pop().unwrap();
    (event.actor, serde_json::from_str(&event.payload).unwrap())
}

on_both! {
    async fn ops_01_a_person_accepts_a_proposed_case_or_chooses_another(world: &World) {
        world.load_samples().await;
        let (proposed, other) = (case(world, "AP-4K7XW9ZB").await, case(world, "RC-7K4M9TX2").await);
        let ambiguous = sent(world, "a.txt", AMBIGUOUS).await;
        let lease = take(world, "ann", &ambiguous).await;
        let claim = claimed(world, &lease).await;
        let (db, ann) = (world.db(), person(world, "ann"));
        assert!(matches!(accept(db, ann, &claim, &other).await, Err(ReviewError::NotProposed)));
        let nowhere = world.stamp().ctx.new_id().parse().unwrap();
        assert!(matches!(choose(db, ann, &claim, &nowhere).await, Err(ReviewError::NoCase)));
        assert_eq!(world.document(&ambiguous).await.state, DocumentState::NeedsReview, "nothing of it took effect");
        accept(db, ann, &claim, &proposed).await.unwrap();
        let (actor, payload) = last_told(world, ambiguous.as_str(), "document.matched").await;
        assert_eq!((actor.as_str(), &payload["by"], &payload["proposed"]), ("ann", &"person".into(), &true.into()));
        assert_eq!(payload["case_id"].as_str(), Some(proposed.as_str()));
        assert!(task_of(world, &ambiguous).await.is_none());

        let unmatched = sent(world, "b.txt", STRANGER).await;
        let lease = take(world, "ann", &unmatched).await;
        choose(db, ann, &claimed(world, &lease).await, &other).await.unwrap();
        let row = world.document(&unmatched).await;
        assert_eq!((row.state, row.case_id.as_ref()), (DocumentState::Matched, Some(&other)));
        let (_, payload) = last_told(world, unmatched.as_str(), "document.matched").await;
        assert_eq!(payload["proposed"], false);
        let kept = {
            let mut conn = world.db().read().await.unwrap();
            case_files::candidates(&mut conn, ambiguous.as_str()).await.unwrap()
        };
        assert_eq!(kept[0].case_id, proposed, "what was decided comes first, the others stay");
        assert!(kept.len() > 1);
        // its content stays, so it can be read on its case
        let again = choose(db, ann, &claimed(world, &lease).await, &other).await;
        assert!(matches!(again, Err(ReviewError::State { state: DocumentState::Matched, .. })), "{again:?}");
    }
}

on_both! {
    async fn a_case_of_another_brand_is_not_there(world: &World) {
        world.load_samples().await;
        let foreign = "{\"brand\":\"other\",\"case_number\":\"X-1\",\"kind\":\"appeal\",\"status\":\"In Process\",\"member_id\":\"M1\",\"tin\":\"001234567\",\"opened_on\":\"2026-11-01\"}";
        world.load(ReferenceKind::Cases, foreign).await;
        let foreign = {
            let mut conn = world.db().read().await.unwrap();
            let (brand, number) = ("other".parse().unwrap(), "X-1".parse().unwrap());
            case_files::by_number(&mut conn, &brand, &number).await.unwrap().unwrap().id
        };
        let id = sent(world, "a.txt", STRANGER).await;
        let lease = take(world, "ann", &id).await;
        let refused = choose(world.db(), person(world, "ann"), &claimed(world, &lease).await, &foreign).await;
        assert!(matches!(refused, Err(ReviewError::NoCase)), "{refused:?}");
    }
}

on_both! {
    async fn ops_01_only_who_holds_the_item_decides_and_only_over_what_they_saw(world: &World) {
        world.load_samples().await;
        let id = sent(world, "a.txt", STRANGER).await;
        let target = case(world, "RC-7K4M9TX2").await;
        let (db, ann, ben) = (world.db(), person(world, "ann"), person(world, "ben"));
        let lease = take(world, "ann", &id).await;
        let claim = claimed(world, &lease).await;
        let stale = Claimed { version: claim.version - 1, ..claim };
        let conflict = choose(db, ann, &stale, &target).await;
        assert!(
            matches!(conflict, Err(ReviewError::Conflict { expected, found }) if (expected, found) == (claim.version - 1, claim.version)),
            "{conflict:?}"
        );
        for (who, claim) in [(ben, claim), (ann, Claimed { token: "guessed", ..claim })] {
            assert!(matches!(choose(db, who, &claim, &target).await, Err(ReviewError::NotHolder)));
            assert!(matches!(
                return_as_not_ours(db, who, &claim, ReturnReason::NotForUs).await,
                Err(ReviewError::NotHolder)
            ));
        }
        world.advance(LEASE + Duration::from_secs(1));
        assert!(matches!(choose(db, ann, &claim, &target).await, Err(ReviewError::NotHolder)), "it ran out");
        let theirs = take(world, "ben", &id).await;
        assert!(matches!(choose(db, ann, &claim, &target).await, Err(ReviewError::NotHolder)));
        choose(db, ben, &claimed(world, &theirs).await, &target).await.unwrap();
        assert!(matches!(choose(db, ann, &claim, &target).await, Err(ReviewError::State { .. })));
    }
}

on_both! {
    async fn two_decisions_at_once_are_one(world: &World) {
        world.load_samples().await;
        let id = sent(world, "a.txt", STRANGER).await;
        let target = case(world, "RC-7K4M9TX2").await;
        let lease = take(world, "ann", &id).await;
        let claim = claimed(world, &lease).await;
        let (db, ann) = (world.db(), person(world, "ann"));
        let (one, two) = tokio::join!(
            choose(db, ann, &claim, &target),
            return_as_not_ours(db, ann, &claim, ReturnReason::OtherPayer)
        );
        assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1, "{one:?} {two:?}");
    }
}

on_both! {
    async fn ops_07_what_is_not_ours_goes_back_with_an_entry_in_the_log(world: &World) {
        let id = sent(world, "a.txt", STRANGER).await;
        let lease = take(world, "ann", &id).await;
        let claim = claimed(world, &lease).await;
        assert!(matches!(reject(world.db(), person(world, "ann"), &claim).await, Err(ReviewError::State { .. })));
        return_as_not_ours(world.db(), person(world, "ann"), &claim, ReturnReason::OtherPayer).await.unwrap();
        let row = world.document(&id).await;
        assert_eq!((row.state, row.reason.map(|r| r.code)), (DocumentState::Returned, Some(ReasonCode::NotOurs)));
        let log = {
            let mut conn = world.db().read().await.unwrap();
            returns::list(&mut conn, None, 10).await.unwrap()
        };
        let [entry] = &log[..] else { panic!("{log:?}") };
        assert_eq!((&entry.document_id, entry.reason, entry.actor.as_str()), (&id, ReturnReason::OtherPayer, "ann"));
        assert!(task_of(world, &id).await.is_none());
    }
}

on_both! {
    async fn ops_01_cases_are_found_by_number_claim_member_or_person(world: &World) {
        world.load_samples().await;
        let member = |id: &str, first: &str, last: &str| {
            format!("{{\"brand\":\"meridian\",\"member_id\":\"{id}\",\"first_name\":\"{first}\",\"last_name\":\"{last}\",\"birth_date\":\"1970-01-02\"}}")
        };
        world.load(ReferenceKind::Members, &[member("P1", "A", "Öztürk"), member("P2", "B", "ÖZTÜRK"), member("P3", "C", "Other")].join("\n")).await;
        let mut cases = String::new();
        for n in 0..9 {
            cases += &format!("{{\"brand\":\"meridian\",\"case_number\":\"P-{n}\",\"kind\":\"appeal\",\"status\":\"In Process\",\"member_id\":\"P{}\",\"tin\":\"001234567\",\"opened_on\":\"2026-11-01\",\"attachment_control_number\":\"ACN{n}\"}}\n", n % 3 + 1);
        }
        assert_eq!(world.load(ReferenceKind::Cases, &cases).await.rejects, []);
        let person = |name: &str| CaseQuery::Person {
            last_name: Phi(name.to_owned()),
            birth_date: Phi("1970-01-02".parse().unwrap()),
        };
        let mut conn = world.db().read().await.unwrap();
        let brand = &world.settings.brand;
        for (query, expected) in [
            (CaseQuery::CaseNumber("ap-4k7xw9zb".parse().unwrap()), &["AP-4K7XW9ZB"][..]),
            (CaseQuery::ClaimNumber("CL2638150472".parse().unwrap()), &["RC-7K4M9TX2"]),
            (CaseQuery::MemberId("P3".parse().unwrap()), &["P-2", "P-5", "P-8"]),
            (CaseQuery::AttachmentControlNumber("ACN4".parse().unwrap()), &["P-4"]),
            (person("öztürk"), &["P-0", "P-1", "P-3", "P-4", "P-6", "P-7"]),
            (person("Nobody"), &[]),
        ] {
            // page by page
            let mut found = Vec::new();
            loop {
                let page = search(&mut conn, brand, &query, found.last(), 2).await.unwrap();
                found.extend(page.iter().map(|case| case.facts.case_number.clone()));
                if page.len() < 2 {
                    break;
                }
            }
            let found: Vec<_> = found.iter().map(|number| number.as_str()).collect();
            assert_eq!(found, expected, "{query:?}");
        }
        let elsewhere = search(&mut conn, &"other".parse().unwrap(), &person("öztürk"), None, 2).await.unwrap();
        assert!(elsewhere.is_empty());
    }
}
