//! Deadlines of what waits, and the word before one is missed (OPS-02).

use std::time::Duration;

use lettercase::db::tasks::TaskKind;
use lettercase::intake::reconcile::Mended;
use lettercase::model::document::{Channel, DocumentState};
use lettercase::model::reference::ReferenceKind;

use super::{AMBIGUOUS, STRANGER, alone, at, sent, task_of, waiting};
use crate::journey::{made, told};
use crate::on_both;

/// A case of the member of [`AMBIGUOUS`], with its own deadline.
fn appeal(number: &str, more: &str) -> String {
    format!(
        "{{\"brand\":\"meridian\",\"case_number\":\"{number}\",\"kind\":\"appeal\",\"status\":\"In Process\",\"member_id\":\"MH50381962\",\"tin\":\"001234567\",\"opened_on\":\"2026-11-01\"{more}}}"
    )
}

on_both! {
    async fn ops_02_what_waits_has_the_deadline_of_policy_or_of_its_case_where_that_is_sooner(world: &World) {
        world.load_samples().await;
        // Friday, 10:00 in New York
        let policy = at("2026-11-24T05:00:00Z");
        let unmatched = sent(world, "a.txt", STRANGER).await;
        let held = sent(world, "a.doc", &made("doc-with-macros")).await;
        for (id, kind, state) in
            [(&unmatched, TaskKind::Match, DocumentState::Unmatched), (&held, TaskKind::Held, DocumentState::Held)]
        {
            let task = task_of(world, id).await.unwrap();
            assert_eq!((task.kind, task.deadline_at), (kind, policy), "{state}");
            assert_eq!(world.document(id).await.state, state);
        }
        let later = sent(world, "b.txt", AMBIGUOUS).await;
        assert_eq!(task_of(world, &later).await.unwrap().deadline_at, policy);

        // an expedited appeal of 72 hours brings forward what is proposed for it already, and what comes later
        let expedited = appeal("AP-EXPEDITED", ",\"deadline_at\":\"2026-11-21T10:00:00-05:00\"");
        assert_eq!(world.load(ReferenceKind::Cases, &expedited).await.rejects, []);
        let sooner = sent(world, "c.txt", b"Member MH50381962").await;
        let task = task_of(world, &sooner).await.unwrap();
        assert_eq!(task.deadline_at, at("2026-11-21T15:00:00Z"), "{:?}", world.document(&sooner).await.state);
        let first: Vec<_> = waiting(world).await.into_iter().map(|task| task.document_id).collect();
        assert_eq!(first[0], sooner, "the queue is ordered by it");
        let more_so = appeal("AP-EXPEDITED", ",\"deadline_at\":\"2026-11-20T20:00:00Z\"");
        world.load(ReferenceKind::Cases, &more_so).await;
        assert_eq!(task_of(world, &sooner).await.unwrap().deadline_at, at("2026-11-20T20:00:00Z"));
        world.load(ReferenceKind::Cases, &appeal("AP-EXPEDITED", "")).await;
        assert_eq!(task_of(world, &sooner).await.unwrap().deadline_at, at("2026-11-20T20:00:00Z"), "never back");
        let bad = appeal("AP-BAD", ",\"deadline_at\":\"soon\"");
        assert_eq!(world.load(ReferenceKind::Cases, &bad).await.rejected, 1);
    }
}

on_both! {
    async fn ops_02_a_breach_is_told_before_it_happens_and_once(world: &World) {
        let id = sent(world, "a.txt", STRANGER).await;
        let trial = world.settings.brand.in_mode(lettercase::model::access::Mode::Test);
        let test = alone(world, &trial, Channel::Fax, "a.txt", STRANGER).await;
        let reconcile = async || world.app.intake.reconcile("ours").await.unwrap();
        let told_of = async || told(world, id.as_str(), "task.due_soon").await;
        assert_eq!(reconcile().await, Mended::default());
        // Monday, 20:00 in New York is 4 hours before
        world.advance(Duration::from_secs(3 * 86_400 + 10 * 3_600));
        assert_eq!(reconcile().await.warned, 0, "at the very instant it is not yet");
        world.advance(Duration::from_secs(1));
        assert_eq!(reconcile().await.warned, 1);
        world.advance(Duration::from_secs(86_400));
        assert_eq!(reconcile().await.warned, 0, "once");
        world.settle().await;
        let events = told_of().await;
        assert_eq!(events.len(), 1);
        let payload: serde_json::Value = serde_json::from_str(&events[0].payload).unwrap();
        assert_eq!(payload, serde_json::json!({ "task": "match", "deadline_at": "2026-11-24T05:00:00Z", "overdue": false }));
        assert_eq!(told(world, test.as_str(), "task.due_soon").await.len(), 0, "trials wait for nobody");
        assert!(task_of(world, &id).await.unwrap().warned_at.is_some());
    }
}
