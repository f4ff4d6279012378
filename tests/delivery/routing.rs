//! The stage: what it decides by is what stands in the rows when it commits.

use lettercase::db::{deliveries, letters};
use lettercase::delivery::{Rendered, Route, Routed, chains};
use lettercase::engine::stage::{Attempt, Chain, Handover, Stage, Subject};
use lettercase::model::case::CaseKind;
use lettercase::model::submission::Said;
use serde_json::json;

use super::*;
use crate::journey::{count, told};
use crate::on_both;
use crate::review::case;

/// A precertification of the samples that waits for a decision.
const PENDING: &str = "PC-6N2RQ8VX";

on_both! {
    async fn cor_10_to_15_a_letter_goes_the_ways_that_its_rows_lead_to(world: &World) {
        practices(world).await;
        let usual = New::default;
        let table: &[(&str, New<'_>, &[&str])] = &[
            ("COR-11", usual(), &["inbox delivered registered"]),
            ("COR-10", New { to: UNREGISTERED, ..usual() }, &["paper waiting not_registered"]),
            ("COR-10 an unknown practice", New { to: "999999999", ..usual() }, &["paper waiting not_registered"]),
            ("COR-03", New { to: "M-PPO", ..usual() }, &["paper waiting to_member"]),
            ("COR-03", New { about: Some("M-HMO"), ..usual() }, &["paper waiting plan_not_digital"]),
            ("COR-03", New { about: Some("M-NONE"), ..usual() }, &["paper waiting plan_unknown"]),
            ("COR-03", New { about: Some("M-NOWHERE"), ..usual() }, &["paper waiting plan_unknown"]),
            ("COR-03", New { about: None, ..usual() }, &["paper waiting plan_unknown"]),
            ("COR-03", New { letter_type: LetterType::AppealUpheld, ..usual() }, &["paper waiting paper_category"]),
            ("COR-03", New { said: &[Circumstance::Delegated], ..usual() }, &["paper waiting delegated"]),
            ("COR-03", New { said: &[Circumstance::ClinicalClaimReview], ..usual() }, &["paper waiting clinical_claim_review"]),
            ("COR-04", New { date: jiff::civil::date(2024, 6, 19), ..usual() }, &["paper waiting before_digital"]),
            ("COR-04", New { date: jiff::civil::date(2024, 6, 20), ..usual() }, &["inbox delivered registered"]),
            ("COR-13", New { letter_type: APPROVED, said: &[Circumstance::ByFax], ..usual() },
                &["fax waiting came_by_fax", "inbox delivered registered"]),
            ("COR-13", New { letter_type: APPROVED, said: &[Circumstance::ByFax], to: UNREGISTERED, ..usual() },
                &["paper waiting not_registered no_fax_number"]),
            ("COR-15", New { to: UNREAD, ..usual() }, &["inbox delivered registered", "paper waiting nobody_entitled"]),
        ];
        for (fact, new, expected) in table {
            let (id, ways) = new.routed(world).await;
            assert_eq!(ways, *expected, "{fact}");
            assert_eq!(stands(world, &id).await, "routed", "{fact}");
            assert!(letter(world, &id).await.ended_at.is_some(), "{fact}");
            assert!(work_for(world, &id).await.is_empty(), "{fact}: {:?}", work_for(world, &id).await);
        }
    }
}

on_both! {
    async fn cor_15_the_access_manager_is_told_that_nobody_sees_a_letter(world: &World) {
        practices(world).await;
        let (id, _) = New { to: UNREAD, ..New::default() }.routed(world).await;
        New::default().routed(world).await;
        world.settle().await;
        let uid = crate::journey::texts(world, "SELECT uid FROM tin WHERE tin = '000000003'").await.remove(0);
        let events = told(world, &uid, "tin.nobody_entitled").await;
        assert_eq!(events.len(), 1);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&events[0].payload).unwrap(), json!({ "letter": id, "category": "claim" }));
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM event WHERE type = 'tin.nobody_entitled'").await, 1);

        let reader = user(world, "dora").await;
        grant(world, &reader, UNREAD, &[Entitlement::PrecertViewSubmit], false).await;
        let (_, ways) = New { to: UNREAD, ..New::default() }.routed(world).await;
        assert_eq!(ways.len(), 2, "the entitlement of another category does not show it: {ways:?}");
        let (_, ways) = New { to: UNREAD, letter_type: APPROVED, ..New::default() }.routed(world).await;
        assert_eq!(ways, ["inbox delivered registered"]);
    }
}

on_both! {
    async fn what_is_handed_out_has_no_way_and_says_so(world: &World) {
        practices(world).await;
        for letter_type in [LetterType::ReconsiderationCopy, LetterType::ReturnCoverSheet, LetterType::PrecertificationNotRequired] {
            let (id, ways) = New { letter_type, ..New::default() }.routed(world).await;
            assert_eq!((ways.len(), stands(world, &id).await.as_str()), (0, "routed handed_out"), "{letter_type}");
        }
    }
}

on_both! {
    async fn cor_03_the_plan_is_that_of_the_member_of_the_case_where_the_letter_names_none(world: &World) {
        practices(world).await;
        world.load_samples().await;
        let case = case(world, "RC-7K4M9TX2").await;
        crate::journey::sql(world, "UPDATE member SET plan = 'PPO'").await;
        let id = New { about: None, ..New::default() }.ask(world).await;
        let mut tx = world.db().begin().await.unwrap();
        sqlx::query("UPDATE letter SET case_id = $1").bind(case.as_str()).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        world.settle().await;
        assert_eq!(ways(world, &id).await, ["inbox delivered registered"]);
    }
}

on_both! {
    async fn cor_13_a_request_that_came_by_fax_is_answered_by_fax_and_what_came_later_by_fax_is_no_request(world: &World) {
        practices(world).await;
        world.load_samples().await;
        let case = case(world, PENDING).await;
        let said = Said { case_number: Some(PENDING.parse().unwrap()), ..Said::default() };
        let submission = world.open(CaseKind::Precertification, said).await;
        world.add(&submission, "request.txt", b"A request, in words.\n").await;
        world.submit(&submission).await;
        for (what, channel, received_at, answer) in [
            ("by fax, as it was opened", "fax", 0_i64, "fax waiting came_by_fax"),
            ("a scan of paper", "scan", 0, "inbox delivered registered"),
            ("a fax of later", "fax", 9_000_000_000_000_000, "inbox delivered registered"),
        ] {
            let id = New { letter_type: APPROVED, ..New::default() }.ask(world).await;
            let mut tx = world.db().begin().await.unwrap();
            sqlx::query("UPDATE document SET channel = $1, received_at = $2, case_id = $3")
                .bind(channel)
                .bind(received_at)
                .bind(case.as_str())
                .execute(&mut *tx)
                .await
                .unwrap();
            sqlx::query("UPDATE letter SET case_id = $1 WHERE id = $2").bind(case.as_str()).bind(id.as_str()).execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
            world.settle().await;
            assert_eq!(ways(world, &id).await[0], answer, "{what}");
        }
    }
}

on_both! {
    async fn the_stage_hands_on_only_what_goes_to_the_messaging_center(world: &World) {
        practices(world).await;
        let stage = Route(world.app.correspondence.clone());
        for (to, handover) in [(REGISTERED, Handover::Next), (UNREGISTERED, Handover::Waits), ("M-PPO", Handover::Waits)] {
            let id = New { to, ..New::default() }.ask(world).await;
            let mut tx = world.db().begin().await.unwrap();
            let input = Rendered::load(&mut tx, id.as_str()).await.unwrap().unwrap();
            assert!(Routed::load(&mut tx, id.as_str()).await.unwrap().is_none(), "nothing is decided yet");
            let outcome = stage.run(&input, Attempt { number: 1, of: 1 }).await.unwrap();
            assert_eq!(stage.commit(&mut tx, world.stamp(), &input, outcome.clone()).await.unwrap(), handover, "{to}");
            assert!(Rendered::load(&mut tx, id.as_str()).await.unwrap().is_none(), "once is enough");
            let next = Routed::load(&mut tx, id.as_str()).await.unwrap();
            assert_eq!(next.is_some(), handover == Handover::Next, "{to}");
            if let Some(next) = next {
                let stale = stage.commit(&mut tx, world.stamp(), &input, outcome).await;
                assert!(stale.is_err_and(|error| error.is_conflict()), "who read it before changes nothing");
                deliveries::transition(&mut tx, world.stamp(), &next.inbox, lettercase::model::letter::DeliveryState::Delivered, None).await.unwrap();
                assert!(Routed::load(&mut tx, id.as_str()).await.unwrap().is_none(), "it has arrived");
            }
            tx.commit().await.unwrap();
        }
        assert_eq!(chains(&world.app.correspondence).into_iter().flat_map(Chain::into_runners).count(), 2);
        for id in ["nonsense", &world.stamp().ctx.new_id()] {
            let mut conn = world.db().read().await.unwrap();
            assert!(Rendered::load(&mut conn, id).await.unwrap().is_none(), "{id}");
        }
    }
}

on_both! {
    async fn cor_16_a_letter_takes_the_place_of_another_once_it_is_issued(world: &World) {
        practices(world).await;
        let (first, ways_of_first) = New { to: UNREGISTERED, ..New::default() }.routed(world).await;
        assert_eq!(ways_of_first, ["paper waiting not_registered"]);
        let again = New { to: UNREGISTERED, supersedes: Some(&first), ..New::default() };
        let second = again.ask(world).await;
        assert_eq!(letter(world, &first).await.superseded_by, None, "it is not issued yet");
        world.settle().await;
        assert_eq!(ways(world, &first).await, ["paper stopped not_registered (superseded)"]);
        assert_eq!(letter(world, &first).await.superseded_by.as_ref(), Some(&second));
        assert_eq!(letter(world, &first).await.state, LetterState::Routed, "an issued letter is not changed");
        assert_eq!(letter(world, &second).await.supersedes.as_ref(), Some(&first));
        assert_eq!(ways(world, &second).await, ["paper waiting not_registered"]);

        // what has arrived stays
        let (third, _) = New::default().routed(world).await;
        New { supersedes: Some(&third), ..New::default() }.routed(world).await;
        assert_eq!(ways(world, &third).await, ["inbox delivered registered"]);
        assert!(letter(world, &third).await.superseded_by.is_some());

        // what is not issued yet, and what can't be, never will be
        for state in [LetterState::Asked, LetterState::Composed, LetterState::Refused] {
            let old = New { state, ..New::default() }.ask(world).await;
            New { supersedes: Some(&old), ..New::default() }.routed(world).await;
            assert_eq!(stands(world, &old).await, "stopped superseded", "{state}");
            assert!(work_for(world, &old).await.is_empty(), "{state}");
        }
        let old = New::default().ask(world).await;
        let new = New { supersedes: Some(&old), ..New::default() }.ask(world).await;
        let mut tx = world.db().begin().await.unwrap();
        let row = letters::get(&mut tx, &old).await.unwrap().unwrap();
        letters::supersede(&mut tx, world.stamp(), &row, &new).await.unwrap();
        tx.commit().await.unwrap();
        world.settle().await;
        assert_eq!((stands(world, &old).await.as_str(), ways(world, &old).await.len()), ("stopped superseded", 0));

        // only one for the same addressee
        let (other, _) = New { to: UNREGISTERED, ..New::default() }.routed(world).await;
        New { supersedes: Some(&other), ..New::default() }.routed(world).await;
        assert_eq!((letter(world, &other).await.superseded_by, ways(world, &other).await.len()), (None, 1));
        assert_eq!(ways(world, &other).await, ["paper waiting not_registered"]);
    }
}
