//! The engine's own workers, under apalis, on real time; the world's clock still stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lettercase::engine::Engine;
use lettercase::engine::plan::WorkPolicy;
use lettercase::engine::stage::{Chain, Outcome};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::toy::{Cut, Fold, POLICY, ToyStage, effects, engine, number, piece, put, until};
use crate::on_both;
use crate::support::World;

/// Runs an engine beside the test.
fn run(engine: &Engine) -> JoinHandle<()> {
    let engine = engine.clone();
    tokio::spawn(async move { engine.run().await })
}

async fn stop(engine: &Engine, running: JoinHandle<()>) {
    engine.stop();
    tokio::time::timeout(Duration::from_secs(15), running).await.expect("run() returns once stopped").unwrap();
}

/// A stage that holds all work until permits come, and knows how much it held at most.
#[derive(Clone)]
struct Lock {
    permits: Arc<Semaphore>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Lock {
    fn shut() -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), now: Arc::default(), most: Arc::default() }
    }

    fn stage(&self) -> ToyStage<Cut> {
        let lock = self.clone();
        ToyStage::new(move |_, _| {
            let lock = lock.clone();
            async move {
                let now = lock.now.fetch_add(1, Ordering::SeqCst) + 1;
                lock.most.fetch_max(now, Ordering::SeqCst);
                let through = lock.permits.acquire().await.map(tokio::sync::SemaphorePermit::forget).is_ok();
                lock.now.fetch_sub(1, Ordering::SeqCst);
                assert!(through);
                Ok(Outcome::Advance(()))
            }
        })
    }

    fn holds(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }
}

async fn left(world: &World) -> i64 {
    number(world, "SELECT COUNT(*) FROM work").await
}

on_both! {
    async fn a_stage_works_on_as_many_pieces_at_once_as_its_policy_says_and_no_more(world: &World) {
        let lock = Lock::shut();
        let policy = WorkPolicy { concurrency: 3, ..POLICY };
        let engine = engine(world, Chain::of(lock.stage()).end(), &[("cut", policy)]);
        for n in 0..12 {
            put(world, &format!("toy-{n}"), "cut").await;
        }
        let running = run(&engine);
        until("three at once", async || lock.holds() == 3).await;
        assert_eq!(number(world, "SELECT COUNT(*) FROM work WHERE state = 'running'").await, 3, "no lease waits for a place");
        assert_eq!(number(world, "SELECT COUNT(*) FROM work WHERE attempts = 0").await, 9);
        // each place that comes free is taken again
        for done in 1..=9_i64 {
            lock.permits.add_permits(1);
            until("a place taken again", async || left(world).await == 12 - done && lock.holds() == 3).await;
        }
        lock.permits.add_permits(100);
        until("all done", async || left(world).await == 0).await;
        assert_eq!(lock.most.load(Ordering::SeqCst), 3);
        stop(&engine, running).await;
    }
}

on_both! {
    async fn int_18_stopping_lets_running_work_finish_and_takes_no_more(world: &World) {
        let lock = Lock::shut();
        let policy = WorkPolicy { concurrency: 2, ..POLICY };
        let engine = engine(world, Chain::of(lock.stage()).end(), &[("cut", policy)]);
        for n in 0..6 {
            put(world, &format!("toy-{n}"), "cut").await;
        }
        let running = run(&engine);
        until("two at once", async || lock.holds() == 2).await;
        engine.stop();
        lock.permits.add_permits(100);
        stop(&engine, running).await;
        assert_eq!(number(world, "SELECT COUNT(*) FROM installation WHERE name LIKE 'effect.cut.%'").await, 2);
        assert_eq!(number(world, "SELECT COUNT(*) FROM work WHERE state = 'ready' AND attempts = 0").await, 4);
        assert_eq!(left(world).await, 4);
    }
}

on_both! {
    async fn int_18_work_that_outlasts_the_grace_is_given_back_and_its_try_does_not_count(world: &World) {
        let lock = Lock::shut();
        let engine = engine(world, Chain::of(lock.stage()).end(), &[("cut", POLICY)]);
        put(world, "toy", "cut").await;
        let running = {
            let engine = engine.clone();
            tokio::spawn(async move { engine.run_with_grace(Duration::from_millis(100)).await })
        };
        until("it works", async || lock.holds() == 1).await;
        stop(&engine, running).await;
        let row = piece(world, "toy", "cut").await.unwrap();
        assert_eq!((row.state.as_str(), row.attempts, row.reason.as_deref()), ("ready", 0, Some("the node stops")));
        assert_eq!((row.lease_until, effects(world, "cut", "toy").await), (None, 0));
    }
}

on_both! {
    async fn int_18_stopping_in_the_middle_of_much_work_leaves_none_of_it_leased(world: &World) {
        let policy = WorkPolicy { concurrency: 16, ..POLICY };
        let mut subject = 0;
        for round in 0..5_i64 {
            let chain = Chain::of(ToyStage::<Cut>::smooth()).end();
            let engine = engine(world, chain, &[("cut", policy.clone())]);
            for _ in 0..40 {
                put(world, &format!("toy-{subject}"), "cut").await;
                subject += 1;
            }
            let before = left(world).await;
            let running = run(&engine);
            until("some are done", async || left(world).await < before - round).await;
            stop(&engine, running).await;
            let strayed = "SELECT COUNT(*) FROM work WHERE state <> 'ready' OR attempts <> 0";
            assert_eq!(number(world, strayed).await, 0, "round {round}");
        }
        engine(world, Chain::of(ToyStage::<Cut>::smooth()).end(), &[("cut", policy)]).run_until_idle().await.unwrap();
        assert_eq!(number(world, "SELECT COUNT(*) FROM installation WHERE name LIKE 'effect.cut.%' AND value = '1'").await, 200);
    }
}

on_both! {
    async fn workers_take_woken_work_at_once_and_other_nodes_work_by_themselves(world: &World) {
        let chain = Chain::of(ToyStage::<Cut>::smooth()).then(ToyStage::<Fold>::smooth()).end();
        let engine = engine(world, chain, &[("cut", POLICY), ("fold", POLICY)]);
        let running = run(&engine);
        put(world, "first", "cut").await;
        until("work of another node", async || effects(world, "fold", "first").await == 1).await;
        let began = Instant::now();
        for n in 0..30 {
            let toy = format!("toy-{n}");
            put(world, &toy, "cut").await;
            engine.wake();
            until("woken work", async || effects(world, "fold", &toy).await == 1).await;
        }
        // by its own polling alone it would have taken half a second for each
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
        stop(&engine, running).await;
    }
}

on_both! {
    async fn int_18_a_panic_ends_its_piece_only_and_that_is_tried_again_after_its_lease(world: &World) {
        let panics = Arc::new(AtomicI64::new(0));
        let stage = {
            let panics = panics.clone();
            ToyStage::<Cut>::new(move |toy, attempt| {
                let panics = panics.clone();
                async move {
                    if toy == "sharp" && attempt.number == 1 {
                        panics.fetch_add(1, Ordering::SeqCst);
                        panic!("a toy stage panics, as the test wants");
                    }
                    Ok(Outcome::Advance(()))
                }
            })
        };
        let engine = engine(world, Chain::of(stage).end(), &[("cut", WorkPolicy { concurrency: 1, ..POLICY })]);
        put(world, "sharp", "cut").await;
        let running = run(&engine);
        until("the panic", async || panics.load(Ordering::SeqCst) == 1).await;
        put(world, "blunt", "cut").await;
        until("the one place is free again", async || effects(world, "cut", "blunt").await == 1).await;
        let row = piece(world, "sharp", "cut").await.unwrap();
        assert_eq!((row.state.as_str(), row.attempts), ("running", 1), "until its lease runs out");
        world.advance(POLICY.lease() + Duration::from_secs(1));
        until("the second try", async || effects(world, "cut", "sharp").await == 1).await;
        assert_eq!(panics.load(Ordering::SeqCst), 1);
        stop(&engine, running).await;
    }
}

on_both! {
    async fn a_stopped_node_leaves_its_events_sealed_and_the_next_node_seals_at_once(world: &World) {
        let nodes = [(); 2].map(|()| {
            engine(world, Chain::of(ToyStage::<Cut>::smooth()).end(), &[("cut", POLICY)])
        });
        for (n, engine) in nodes.iter().enumerate() {
            let toy = format!("toy-{n}");
            put(world, &toy, "cut").await;
            let running = run(engine);
            until("its effect", async || effects(world, "cut", &toy).await == 1).await;
            stop(engine, running).await;
            assert_eq!(number(world, "SELECT COUNT(*) FROM event WHERE position IS NULL").await, 0, "node {n}");
        }
        assert_eq!(number(world, "SELECT COUNT(*) FROM lease").await, 0);
    }
}
