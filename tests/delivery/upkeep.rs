//! What faults leave behind of letters, and what the reconciler makes of it.

use std::sync::Arc;
use std::time::Duration;

use lettercase::db::work;
use lettercase::intake::reconcile::compare_content;
use lettercase::letters::reconcile::Kept;

use super::*;
use crate::journey::{count, sql, told};
use crate::on_both;

async fn reconcile(world: &World) -> Kept {
    world.app.letters.reconcile("ours").await.unwrap()
}

async fn is_stored(world: &World, pdf: &[u8]) -> bool {
    let key = ObjectKey::letter(&world.settings.brand, &hash(pdf));
    world.app.intake.objects.head(&key).await.unwrap().is_some()
}

async fn store(world: &World, pdf: &[u8]) {
    let key = ObjectKey::letter(&world.settings.brand, &hash(pdf));
    world.app.intake.objects.put_bytes(&key, pdf.to_vec()).await.unwrap();
}

/// Letters whose PDF is missing, and PDFs without a letter.
async fn compared(world: &World) -> (i64, i64) {
    compare_content(world.db(), world.app.intake.objects.as_ref()).await.unwrap()["letters"]
}

on_both! {
    async fn a_letter_without_work_is_put_to_work_where_it_was(world: &World) {
        practices(world).await;
        let asked = New { state: LetterState::Asked, ..New::default() }.ask(world).await;
        let composed = New { state: LetterState::Composed, ..New::default() }.ask(world).await;
        let refused = New { state: LetterState::Refused, ..New::default() }.ask(world).await;
        let rendered = New::default().ask(world).await;
        let undelivered = New::default().undelivered(world).await;
        let paper = New { to: UNREGISTERED, ..New::default() }.undelivered(world).await;
        let dead = New::default().ask(world).await;
        sql(world, "UPDATE work SET state = 'dead'").await;
        for id in [&asked, &composed, &refused, &rendered, &undelivered, &paper] {
            let mut tx = world.db().begin().await.unwrap();
            work::remove(&mut tx, id.as_str()).await.unwrap();
            tx.commit().await.unwrap();
        }
        world.advance(Duration::from_secs(120));
        assert_eq!(reconcile(world).await.woken, 0, "not yet");
        world.advance(Duration::from_secs(1));
        assert_eq!(reconcile(world).await, Kept { woken: 4, ..Kept::default() });
        assert_eq!(reconcile(world).await, Kept::default(), "what has work is left alone");
        for (id, stage) in [(&asked, "compose"), (&composed, "render"), (&rendered, "route"), (&undelivered, "deliver")] {
            assert_eq!(work_for(world, id).await, [stage]);
        }
        for id in [&refused, &paper] {
            assert!(work_for(world, id).await.is_empty(), "a person or a channel has it");
        }
        assert_eq!(work_for(world, &dead).await, ["route"], "a dead letter of the queue is an operator's");
        sql(world, "DELETE FROM work WHERE stage = 'render'").await;
        world.settle().await;
        for id in [&rendered, &undelivered] {
            assert_eq!(ways(world, id).await, ["inbox delivered registered"]);
        }
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM message").await, 2);
        assert_eq!(stands(world, &asked).await, "refused incomplete_data");
    }
}

on_both! {
    async fn a_pdf_that_no_letter_has_is_swept_after_a_while_and_no_other_is(world: &World) {
        practices(world).await;
        New { pdf: b"kept", ..New::default() }.routed(world).await;
        store(world, b"orphan").await;
        store(world, b"late").await;
        assert_eq!(reconcile(world).await, Kept::default(), "it may be about to get its row");
        assert_eq!(compared(world).await, (0, 2));
        New { pdf: b"late", ..New::default() }.routed(world).await;
        world.advance(Duration::from_secs(3_600));
        assert_eq!(reconcile(world).await.orphans, 0, "at the very instant it is not yet");
        world.advance(Duration::from_secs(1));
        let mut tx = world.db().begin().await.unwrap();
        work::put(&mut tx, world.stamp(), "a letter", "render").await.unwrap();
        tx.commit().await.unwrap();
        sql(world, "UPDATE work SET state = 'running'").await;
        assert_eq!(reconcile(world).await.orphans, 0, "somebody renders: it may be theirs");
        sql(world, "DELETE FROM work").await;
        assert!(is_stored(world, b"orphan").await);
        assert_eq!(reconcile(world).await, Kept { orphans: 1, ..Kept::default() });
        assert!(!is_stored(world, b"orphan").await);
        assert!(is_stored(world, b"kept").await && is_stored(world, b"late").await);
        assert_eq!(compared(world).await, (0, 0));

        // what had a letter for a while begins anew
        store(world, b"again").await;
        reconcile(world).await;
        world.advance(Duration::from_secs(3_601));
        let id = New { pdf: b"again", ..New::default() }.routed(world).await.0;
        assert_eq!(reconcile(world).await, Kept::default());
        assert_eq!(stands(world, &id).await, "routed");
    }
}

on_both! {
    async fn cor_02_a_letter_whose_pdf_is_gone_is_told_each_time_it_is_looked_for(world: &World) {
        practices(world).await;
        let pdfs: [&[u8]; 3] = [b"first", b"second", b"third"];
        for pdf in pdfs {
            New { pdf, ..New::default() }.routed(world).await;
        }
        assert_eq!((reconcile(world).await, compared(world).await), (Kept::default(), (0, 0)));
        let key = ObjectKey::letter(&world.settings.brand, &hash(b"second"));
        world.app.intake.objects.delete(&key).await.unwrap();
        for _ in 0..2 {
            assert_eq!(reconcile(world).await, Kept { missing: 1, ..Kept::default() });
        }
        assert_eq!(compared(world).await, (1, 0), "the ledger has it, too");

        // one at a time: each look goes on where the one before ended, and all are looked at
        let mut policy = (*world.app.letters.plan).clone();
        policy.reconcile.compared_per_look = 1;
        let mut slow = world.app.letters.clone();
        slow.plan = Arc::new(policy);
        let mut found = Vec::new();
        for _ in 0..8 {
            found.push(slow.reconcile("ours").await.unwrap().missing);
        }
        assert_eq!(found, [0, 1, 0, 0, 0, 1, 0, 0]);
        store(world, b"second").await;
        assert_eq!(reconcile(world).await, Kept::default());
    }
}

on_both! {
    async fn dis_06_the_deadline_of_a_letter_that_can_not_be_produced_is_told_before_it_is_missed_and_once(world: &World) {
        practices(world).await;
        // the practice has no address: on a Friday, the operator has until the end of Monday
        let new = New { state: LetterState::Asked, ..New::default() };
        let (refused, trial, amended) = (new.ask(world).await, new.ask(world).await, new.ask(world).await);
        let mut tx = world.db().begin().await.unwrap();
        sqlx::query("UPDATE letter SET brand = 'meridian.test' WHERE id = $1").bind(trial.as_str()).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        world.settle().await;
        let due = letter(world, &refused).await.due_at.unwrap();
        assert_eq!(due, "2026-11-24T05:00:00Z".parse().unwrap());
        assert_eq!(letter(world, &trial).await.due_at, Some(due));
        world.advance(Duration::from_secs(3 * 86_400 + 10 * 3_600));
        assert_eq!(reconcile(world).await, Kept::default(), "at the very instant it is not yet");
        let mut tx = world.db().begin().await.unwrap();
        let row = letters::get(&mut tx, &amended).await.unwrap().unwrap();
        letters::transition(&mut tx, world.stamp(), &row, LetterState::Asked, Change::default()).await.unwrap();
        work::put(&mut tx, world.stamp(), amended.as_str(), COMPOSE).await.unwrap();
        tx.commit().await.unwrap();
        world.settle().await;
        world.advance(Duration::from_secs(1));
        assert_eq!(reconcile(world).await, Kept { warned: 1, ..Kept::default() }, "trials wait for nobody");
        world.advance(Duration::from_secs(6 * 3_600));
        assert_eq!(reconcile(world).await, Kept::default(), "once");
        world.settle().await;
        let events = told(world, refused.as_str(), "letter.due_soon").await;
        assert_eq!(events.len(), 1);
        let payload: serde_json::Value = serde_json::from_str(&events[0].payload).unwrap();
        let expected = serde_json::json!({ "type": UPHELD, "due_at": due, "overdue": false });
        assert_eq!(payload, expected);
        for id in [&trial, &amended] {
            assert!(told(world, id.as_str(), "letter.due_soon").await.is_empty());
        }
        // said anew on Monday evening and refused again: a deadline of its own
        world.advance(Duration::from_secs(86_400));
        assert_eq!(reconcile(world).await.warned, 1);
        world.settle().await;
        assert_eq!(told(world, amended.as_str(), "letter.due_soon").await.len(), 1);
    }
}

on_both! {
    async fn letters_are_looked_after_by_one_node_at_a_time(world: &World) {
        practices(world).await;
        assert_eq!(reconcile(world).await, Kept::default());
        New::default().ask(world).await;
        sql(world, "DELETE FROM work").await;
        world.advance(Duration::from_secs(200));
        assert_eq!(world.app.letters.reconcile("theirs").await.unwrap(), Kept::default());
        world.advance(Duration::from_secs(101));
        assert_eq!(world.app.letters.reconcile("theirs").await.unwrap().woken, 1, "the lease has run out");
        assert_eq!(reconcile(world).await, Kept::default());
    }
}
