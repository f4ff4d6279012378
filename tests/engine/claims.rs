//! Claims on the work table: who gets what, how often, and what a lost lease is worth.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lettercase::db::work::{self, GiveBack};
use lettercase::db::{DbError, set_installation};
use lettercase::engine::plan::WorkPolicy;
use lettercase::engine::stage::{Chain, Outcome, StageError};
use tokio::sync::Notify;

use super::toy::{Cut, POLICY, Taken, ToyStage, claim, effects, engine, events_of, number, piece, put, sql, until};
use crate::http::Server;
use crate::on_both;
use lettercase::model::event::EventType;

on_both! {
    async fn a_claim_takes_what_is_due_oldest_first_and_counts_the_attempt(world: &World) {
        for subject in ["c", "a", "b"] {
            put(world, subject, "cut").await;
            world.advance(Duration::from_secs(1));
        }
        put(world, "later", "cut").await;
        put(world, "elsewhere", "fold").await;
        sql(world, "UPDATE work SET due_at = due_at + 60000000 WHERE subject = 'later'").await;

        let first = claim(world, "one", "cut", 1).await;
        assert_eq!((first[0].subject.as_str(), first[0].attempts), ("c", 1));
        let row = piece(world, "c", "cut").await.unwrap();
        assert_eq!((row.state.as_str(), row.attempts), ("running", 1));
        let rest: Vec<_> = claim(world, "one", "cut", 9).await.into_iter().map(|c| c.subject).collect();
        assert_eq!(rest, ["a", "b"]);
        assert_eq!(claim(world, "one", "cut", 9).await, []);

        world.advance(Duration::from_secs(60));
        let due: BTreeSet<_> = claim(world, "one", "cut", 9).await.into_iter().map(|c| c.subject).collect();
        assert_eq!(due, ["a", "b", "c", "later"].map(str::to_owned).into(), "leases ran out, and one came due");
    }
}

on_both! {
    async fn int_18_claimers_at_once_never_get_the_same_piece_nor_more_than_they_asked_for(world: &World) {
        for n in 0..60 {
            put(world, &format!("toy-{n}"), "cut").await;
        }
        for round in 1..=3_i64 {
            let claimers = (0..24).map(|n| {
                let (db, ctx) = (world.db().clone(), world.app.intake.ctx.clone());
                tokio::spawn(async move {
                    let stamp = lettercase::db::Stamp { ctx: &ctx, actor: "test" };
                    work::claim(&db, stamp, "cut", &format!("node-{n}"), POLICY.lease(), 3).await.unwrap()
                })
            });
            let mut taken = Vec::new();
            for claimer in futures::future::join_all(claimers).await {
                let claims = claimer.unwrap();
                assert!(claims.len() <= 3, "asked for 3, got {}", claims.len());
                taken.extend(claims);
            }
            // those who found the others' rows locked went without: what they left is taken now
            while let more @ [_, ..] = claim(world, "last", "cut", 7).await.as_slice() {
                taken.extend_from_slice(more);
            }
            let subjects: BTreeSet<_> = taken.iter().map(|c| c.subject.clone()).collect();
            assert_eq!((subjects.len(), taken.len()), (60, 60), "each piece once");
            assert!(taken.iter().all(|c| c.attempts == round));
            world.advance(POLICY.lease() + Duration::from_secs(1));
        }
    }
}

on_both! {
    async fn int_18_a_lease_that_ran_out_is_taken_over_and_its_first_holder_changes_nothing(world: &World) {
        put(world, "toy", "cut").await;
        let first = claim(world, "one", "cut", 1).await.remove(0);
        world.advance(POLICY.lease());
        assert_eq!(claim(world, "two", "cut", 1).await, [], "it runs to its last instant");
        world.advance(Duration::from_secs(1));
        let second = claim(world, "two", "cut", 1).await.remove(0);
        assert_eq!(second.attempts, 2);

        let held = piece(world, "toy", "cut").await;
        let mut tx = world.db().begin().await.unwrap();
        set_installation(&mut tx, "made by the first", "yes").await.unwrap();
        assert!(matches!(work::finish(&mut tx, &first).await, Err(DbError::Stale { what: "work" })));
        drop(tx);
        let mut tx = world.db().begin().await.unwrap();
        assert!(!work::heartbeat(&mut tx, world.stamp(), &first, POLICY.lease()).await.unwrap());
        work::give_back(&mut tx, &first, 0, GiveBack::Tried, "late").await.unwrap();
        assert!(matches!(work::bury(&mut tx, &first, "late").await, Err(DbError::Stale { .. })));
        tx.commit().await.unwrap();
        assert_eq!(piece(world, "toy", "cut").await, held);
        assert_eq!(number(world, "SELECT COUNT(*) FROM installation WHERE name = 'made by the first'").await, 0);

        let mut tx = world.db().begin().await.unwrap();
        work::finish(&mut tx, &second).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(piece(world, "toy", "cut").await, None);
    }
}

on_both! {
    async fn int_18_a_stage_whose_work_was_taken_over_while_it_ran_takes_no_effect(world: &World) {
        let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = {
            let (began, go) = (began.clone(), go.clone());
            ToyStage::<Cut>::new(move |_, attempt| {
                let (began, go) = (began.clone(), go.clone());
                async move {
                    if attempt.number == 1 {
                        began.notify_one();
                        go.notified().await;
                    }
                    Ok(Outcome::Advance(()))
                }
            })
        };
        let engine = engine(world, Chain::of(slow).end(), &[("cut", POLICY)]);
        put(world, "toy", "cut").await;
        let first = { let engine = engine.clone(); tokio::spawn(async move { engine.step().await.unwrap() }) };
        began.notified().await;
        world.advance(POLICY.lease() + Duration::from_secs(1));
        engine.run_until_idle().await.unwrap();
        assert_eq!((effects(world, "cut", "toy").await, piece(world, "toy", "cut").await), (1, None));
        go.notify_one();
        first.await.unwrap();
        engine.run_until_idle().await.unwrap();
        assert_eq!(effects(world, "cut", "toy").await, 1);
        assert_eq!(events_of(world, EventType::ReferenceLoaded, "toy").await, 1);
        assert_eq!(piece(world, "toy", "cut").await, None);
    }
}

on_both! {
    async fn int_18_what_looks_amiss_when_another_has_the_work_is_no_dead_letter(world: &World) {
        let server = Server::start(&world.app).await;
        let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let outrun = {
            let (began, go) = (began.clone(), go.clone());
            ToyStage::<Taken>::new(move |_, _| {
                let (began, go) = (began.clone(), go.clone());
                async move {
                    began.notify_one();
                    go.notified().await;
                    Err(StageError::Fail { why: "the other one took the bytes away".into() })
                }
            })
        };
        let engine = engine(world, Chain::of(outrun).end(), &[("taken", POLICY)]);
        put(world, "toy", "taken").await;
        let first = { let engine = engine.clone(); tokio::spawn(async move { engine.step().await.unwrap() }) };
        began.notified().await;
        world.advance(POLICY.lease() + Duration::from_secs(1));
        let other = claim(world, "another", "taken", 1).await.remove(0);
        go.notify_one();
        first.await.unwrap();
        assert_eq!(piece(world, "toy", "taken").await.unwrap().state, "running", "it is the other's");
        assert_eq!(events_of(world, EventType::WorkDead, "toy").await, 0);
        let figures = server.get("/metrics").await.1;
        assert!(figures.contains(r#"lettercase_stage_outcomes_total{stage="taken",outcome="lost"}"#), "{figures}");
        assert!(!figures.contains(r#"lettercase_dead_letters_total{stage="taken"}"#), "an alarm would be false");
        let mut tx = world.db().begin().await.unwrap();
        work::finish(&mut tx, &other).await.unwrap();
        tx.commit().await.unwrap();
    }
}

const BRIEF: WorkPolicy = WorkPolicy { lease_s: 1, ..POLICY };

on_both! {
    async fn int_18_the_heartbeat_keeps_a_lease_for_as_long_as_the_work_takes(world: &World) {
        let go = Arc::new(Notify::new());
        let slow = {
            let go = go.clone();
            ToyStage::<Cut>::new(move |_, _| {
                let go = go.clone();
                async move {
                    go.notified().await;
                    Ok(Outcome::Advance(()))
                }
            })
        };
        let engine = engine(world, Chain::of(slow).end(), &[("cut", BRIEF)]);
        put(world, "toy", "cut").await;
        let working = { let engine = engine.clone(); tokio::spawn(async move { engine.step().await.unwrap() }) };
        until("the claim", async || piece(world, "toy", "cut").await.is_some_and(|p| p.attempts == 1)).await;
        for _ in 0..4 {
            let lease = piece(world, "toy", "cut").await.unwrap().lease_until;
            world.advance(Duration::from_millis(900));
            until("a heartbeat", async || piece(world, "toy", "cut").await.unwrap().lease_until > lease).await;
            assert_eq!(claim(world, "another", "cut", 1).await, []);
        }
        assert_eq!(piece(world, "toy", "cut").await.unwrap().attempts, 1);
        go.notify_one();
        assert!(working.await.unwrap());
        assert_eq!((effects(world, "cut", "toy").await, piece(world, "toy", "cut").await), (1, None));
    }
}

/// Remembers that it was dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

on_both! {
    async fn int_18_work_whose_lease_is_lost_is_cancelled(world: &World) {
        let cancelled = Arc::new(AtomicBool::new(false));
        let endless = {
            let cancelled = cancelled.clone();
            ToyStage::<Cut>::new(move |_, _| {
                let guard = Dropped(cancelled.clone());
                async move {
                    std::future::pending::<()>().await;
                    drop(guard);
                    Ok(Outcome::Advance(()))
                }
            })
        };
        let engine = engine(world, Chain::of(endless).end(), &[("cut", BRIEF)]);
        put(world, "toy", "cut").await;
        let working = { let engine = engine.clone(); tokio::spawn(async move { engine.step().await.unwrap() }) };
        until("the claim", async || piece(world, "toy", "cut").await.is_some_and(|p| p.attempts == 1)).await;
        // a heartbeat may come between: then its lease is outrun again
        until("another has it", async || {
            world.advance(Duration::from_secs(2));
            !claim(world, "another", "cut", 1).await.is_empty()
        })
        .await;
        working.await.unwrap();
        assert!(cancelled.load(Ordering::SeqCst));
        let row = piece(world, "toy", "cut").await.unwrap();
        assert_eq!((row.state.as_str(), row.attempts, row.reason), ("running", 2, None), "it is the other's now");
        assert_eq!(effects(world, "cut", "toy").await, 0);
    }
}

on_both! {
    async fn putting_work_twice_is_putting_it_once(world: &World) {
        put(world, "toy", "cut").await;
        let before = piece(world, "toy", "cut").await.unwrap();
        world.advance(Duration::from_secs(5));
        put(world, "toy", "cut").await;
        assert_eq!(piece(world, "toy", "cut").await.unwrap(), before);
        let claims = claim(world, "one", "cut", 5).await;
        assert_eq!(claims.len(), 1);
        put(world, "toy", "cut").await;
        assert_eq!(claim(world, "two", "cut", 5).await, [], "what runs is not put beside itself");
        let mut tx = world.db().begin().await.unwrap();
        work::bury(&mut tx, &claims[0], "for good").await.unwrap();
        tx.commit().await.unwrap();
        put(world, "toy", "cut").await;
        assert_eq!(piece(world, "toy", "cut").await.unwrap().state, "dead", "only an operator revives it");
    }
}
