//! What becomes of work: handed on, tried again, paused, or a dead letter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lettercase::db::work;
use lettercase::engine::Engine;
use lettercase::engine::plan::WorkPolicy;
use lettercase::engine::stage::{Chain, Handover, Outcome, StageError};
use lettercase::intake::review;
use lettercase::model::event::EventType;

use super::toy::{
    Cut, Fold, POLICY, ToyStage, claim, effects, engine, events_of, held, number, parts, piece, put, sql,
};
use crate::on_both;

fn busy() -> StageError {
    StageError::Retry { why: "the saw is busy".into() }
}

on_both! {
    async fn int_18_what_fails_in_passing_is_tried_again_after_a_doubling_wait_and_not_before(world: &World) {
        let policy = WorkPolicy { tries: 6, backoff_first_ms: 1_000, backoff_longest_s: 5, ..POLICY };
        let engine = engine(world, Chain::of(ToyStage::<Cut>::failing(busy())).end(), &[("cut", policy)]);
        put(world, "toy", "cut").await;
        for (attempt, full_ms) in [(1, 1_000), (2, 2_000), (3, 4_000), (4, 5_000), (5, 5_000)] {
            let now = world.stamp().now();
            engine.run_until_idle().await.unwrap();
            let row = piece(world, "toy", "cut").await.unwrap();
            assert_eq!((row.state.as_str(), row.attempts), ("ready", attempt));
            assert_eq!(row.reason.as_deref(), Some("the saw is busy"));
            let wait = row.due_at - now;
            assert!((full_ms * 500..=full_ms * 1_000).contains(&wait), "try {attempt}: waits {wait} µs");
            world.advance(Duration::from_micros(u64::try_from(wait).unwrap() - 1));
            engine.run_until_idle().await.unwrap();
            assert_eq!(piece(world, "toy", "cut").await.unwrap().attempts, attempt, "it ran too early");
            world.advance(Duration::from_micros(1));
        }
        engine.run_until_idle().await.unwrap();
        assert_eq!(piece(world, "toy", "cut").await.unwrap().state, "dead");
    }
}

on_both! {
    async fn int_18_what_used_up_its_tries_is_a_dead_letter_that_an_operator_replays(world: &World) {
        let repaired = Arc::new(AtomicBool::new(false));
        let stage = {
            let repaired = repaired.clone();
            ToyStage::<Cut>::new(move |_, attempt| {
                let repaired = repaired.load(Ordering::SeqCst);
                async move { if repaired && attempt.number == 1 { Ok(Outcome::Advance(())) } else { Err(busy()) } }
            })
        };
        let engine = engine(world, Chain::of(stage).end(), &[("cut", POLICY)]);
        put(world, "toy", "cut").await;
        for _ in 0..5 {
            engine.run_until_idle().await.unwrap();
            world.advance(Duration::from_secs(60));
        }
        let dead = { let mut conn = world.db().read().await.unwrap(); work::dead_letters(&mut conn, None, 9).await.unwrap() };
        assert_eq!(dead.len(), 1);
        assert_eq!((dead[0].subject.as_str(), dead[0].stage.as_str(), dead[0].attempts), ("toy", "cut", 3));
        assert_eq!(dead[0].reason.as_deref(), Some("the saw is busy"));
        assert_eq!(events_of(world, EventType::WorkDead, "toy").await, 1);
        assert_eq!(number(world, "SELECT COUNT(*) FROM event WHERE type = 'work.dead' AND payload LIKE '%cut%'").await, 1);

        repaired.store(true, Ordering::SeqCst);
        engine.run_until_idle().await.unwrap();
        assert_eq!(effects(world, "cut", "toy").await, 0, "it lies until an operator comes");
        review::replay(world.db(), world.stamp(), "toy", "cut").await.unwrap();
        let again = review::replay(world.db(), world.stamp(), "toy", "cut").await;
        assert!(matches!(again, Err(review::ReviewError::NoDeadLetter)), "it is none any more");
        assert_eq!(events_of(world, EventType::WorkReplayed, "toy").await, 1);
        engine.run_until_idle().await.unwrap();
        assert_eq!((effects(world, "cut", "toy").await, piece(world, "toy", "cut").await), (1, None));
    }
}

on_both! {
    async fn int_18_what_can_never_work_is_a_dead_letter_at_once(world: &World) {
        let stage = ToyStage::<Cut>::failing(StageError::Fail { why: "no such wood".into() });
        let engine = engine(world, Chain::of(stage).end(), &[("cut", POLICY)]);
        put(world, "toy", "cut").await;
        engine.run_until_idle().await.unwrap();
        let row = piece(world, "toy", "cut").await.unwrap();
        assert_eq!((row.state.as_str(), row.attempts, row.reason.as_deref()), ("dead", 1, Some("no such wood")));
        assert_eq!(events_of(world, EventType::WorkDead, "toy").await, 1);
    }
}

on_both! {
    async fn int_18_work_that_kills_its_process_each_time_ends_in_the_dead_letters(world: &World) {
        let engine = engine(world, Chain::of(ToyStage::<Cut>::smooth()).end(), &[("cut", POLICY)]);
        put(world, "toy", "cut").await;
        for attempt in 1..=POLICY.tries {
            assert_eq!(claim(world, "a node that dies", "cut", 1).await[0].attempts, attempt);
            world.advance(POLICY.lease() + Duration::from_secs(1));
        }
        engine.run_until_idle().await.unwrap();
        let row = piece(world, "toy", "cut").await.unwrap();
        assert_eq!(row.state, "dead");
        assert_eq!(row.reason.as_deref(), Some("each try ended the process or its lease"));
        assert_eq!((effects(world, "cut", "toy").await, events_of(world, EventType::WorkDead, "toy").await), (0, 1));
    }
}

on_both! {
    async fn a_paused_stage_counts_no_try_and_goes_on_by_itself_when_its_gate_opens(world: &World) {
        let gate = Arc::new(AtomicBool::new(false));
        let engine = engine(world, Chain::of(ToyStage::<Cut>::smooth().gated_by(&gate)).end(), &[("cut", POLICY)]);
        put(world, "toy", "cut").await;
        let before = piece(world, "toy", "cut").await;
        for _ in 0..10 {
            engine.run_until_idle().await.unwrap();
            world.advance(Duration::from_secs(60));
        }
        assert_eq!(piece(world, "toy", "cut").await, before, "it was not even taken");
        assert_eq!(engine.paused().await, [("cut", "the gate".to_owned())]);
        gate.store(true, Ordering::SeqCst);
        assert_eq!(engine.paused().await, []);
        engine.run_until_idle().await.unwrap();
        assert_eq!(effects(world, "cut", "toy").await, 1);
    }
}

on_both! {
    async fn what_pauses_in_the_middle_counts_no_try_however_often(world: &World) {
        let away = Arc::new(AtomicBool::new(true));
        let stage = {
            let away = away.clone();
            ToyStage::<Cut>::new(move |_, attempt| {
                let away = away.load(Ordering::SeqCst);
                async move {
                    assert_eq!(attempt.number, 1);
                    if away { Err(StageError::Pause { why: "no saw".into() }) } else { Ok(Outcome::Advance(())) }
                }
            })
        };
        let engine = engine(world, Chain::of(stage).end(), &[("cut", POLICY)]);
        put(world, "toy", "cut").await;
        for _ in 0..10 {
            engine.run_until_idle().await.unwrap();
            let row = piece(world, "toy", "cut").await.unwrap();
            assert_eq!((row.state.as_str(), row.attempts, row.reason.as_deref()), ("ready", 0, Some("no saw")));
            assert!(row.due_at > world.stamp().now(), "or it would spin");
            world.advance(Duration::from_secs(3));
        }
        away.store(false, Ordering::SeqCst);
        engine.run_until_idle().await.unwrap();
        assert_eq!(effects(world, "cut", "toy").await, 1);
    }
}

/// Fetches the error that says why an engine can't be made.
fn refusal(made: Result<Engine, lettercase::engine::plan::PlanError>) -> String {
    match made {
        Ok(_) => panic!("it was made"),
        Err(error) => error.to_string(),
    }
}

on_both! {
    async fn the_next_stage_gets_the_work_in_the_same_transaction_and_one_that_waits_gets_none(world: &World) {
        let gate = Arc::new(AtomicBool::new(false));
        let chain = |handover| {
            let first = ToyStage::<Cut>::smooth().hands(handover);
            Chain::of(first).then(ToyStage::<Fold>::smooth().gated_by(&gate)).end()
        };
        let policies = [("cut", POLICY), ("fold", POLICY)];
        put(world, "toy", "cut").await;
        let next = engine(world, chain(Handover::Next), &policies);
        assert_eq!(next.stages(), ["cut", "fold"]);
        next.run_until_idle().await.unwrap();
        assert_eq!(number(world, "SELECT COUNT(*) FROM work").await, 1);
        let row = piece(world, "toy", "fold").await.unwrap();
        assert_eq!((row.state.as_str(), row.attempts, row.due_at), ("ready", 0, world.stamp().now()));
        gate.store(true, Ordering::SeqCst);
        next.run_until_idle().await.unwrap();
        assert_eq!((effects(world, "cut", "toy").await, effects(world, "fold", "toy").await), (1, 1));
        assert_eq!(number(world, "SELECT COUNT(*) FROM work").await, 0);

        put(world, "still", "cut").await;
        engine(world, chain(Handover::Waits), &policies).run_until_idle().await.unwrap();
        assert_eq!((effects(world, "cut", "still").await, effects(world, "fold", "still").await), (1, 0));
        assert_eq!(number(world, "SELECT COUNT(*) FROM work").await, 0);
    }
}

on_both! {
    async fn held_work_leaves_the_queue_with_its_effect_and_goes_to_no_next_stage(world: &World) {
        let first = ToyStage::<Cut>::new(|_, _| async { Ok(held()) });
        let chain = Chain::of(first).then(ToyStage::<Fold>::smooth()).end();
        put(world, "toy", "cut").await;
        engine(world, chain, &[("cut", POLICY), ("fold", POLICY)]).run_until_idle().await.unwrap();
        assert_eq!((effects(world, "cut", "toy").await, effects(world, "fold", "toy").await), (1, 0));
        assert_eq!(number(world, "SELECT COUNT(*) FROM work").await, 0);
    }
}

on_both! {
    async fn int_18_a_commit_that_fails_leaves_no_trace_and_is_tried_again(world: &World) {
        let fails = Arc::new(AtomicBool::new(true));
        let chain = Chain::of(ToyStage::<Cut>::smooth().commit_fails(&fails)).then(ToyStage::<Fold>::smooth()).end();
        let engine = engine(world, chain, &[("cut", POLICY), ("fold", POLICY)]);
        put(world, "toy", "cut").await;
        engine.run_until_idle().await.unwrap();
        assert_eq!(effects(world, "cut", "toy").await, 0);
        assert_eq!(number(world, "SELECT COUNT(*) FROM event").await, 0);
        assert_eq!(number(world, "SELECT COUNT(*) FROM work").await, 1, "nothing was handed on");
        let row = piece(world, "toy", "cut").await.unwrap();
        assert_eq!((row.state.as_str(), row.attempts), ("ready", 1));
        fails.store(false, Ordering::SeqCst);
        world.advance(Duration::from_secs(60));
        engine.run_until_idle().await.unwrap();
        assert_eq!((effects(world, "cut", "toy").await, effects(world, "fold", "toy").await), (1, 1));
    }
}

on_both! {
    async fn work_whose_subject_is_gone_is_done(world: &World) {
        let engine = engine(world, Chain::of(ToyStage::<Cut>::smooth()).end(), &[("cut", POLICY)]);
        put(world, "toy", "cut").await;
        sql(world, "DELETE FROM installation WHERE name = 'toy.toy'").await;
        engine.run_until_idle().await.unwrap();
        assert_eq!((piece(world, "toy", "cut").await, effects(world, "cut", "toy").await), (None, 0));
    }
}

on_both! {
    async fn a_stage_without_a_policy_and_a_policy_without_a_stage_are_refused_by_name(world: &World) {
        let chain = || Chain::of(ToyStage::<Cut>::smooth()).then(ToyStage::<Fold>::smooth()).end();
        let lacking = refusal(Engine::new(parts(world, chain(), &[("cut", POLICY)], Vec::new())));
        assert!(lacking.contains("lacks [work.fold]"), "{lacking}");
        let policies = [("cut", POLICY), ("fold", POLICY), ("glue", POLICY)];
        let too_much = refusal(Engine::new(parts(world, chain(), &policies, Vec::new())));
        assert!(too_much.contains("[work.glue]"), "{too_much}");
    }
}
