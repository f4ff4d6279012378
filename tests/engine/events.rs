//! Events: one dense order of what commits in any, and readers that miss nothing and react once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lettercase::db::{Conn, Db, DbError, Stamp, events, installation, set_installation};
use lettercase::engine::Engine;
use lettercase::engine::readers::{Reader, read_some};
use lettercase::engine::sequencer::Sequencer;
use lettercase::engine::stage::Chain;
use lettercase::model::event::{Event, EventType};
use lettercase::outside::context::Context;

use super::toy::{Cut, POLICY, ToyStage, number, parts, sequencer, tell, until};
use crate::on_both;
use crate::support::{On, World};

/// Events and seals have no gaps and no doubles.
async fn assert_dense(world: &World, events: i64) {
    assert_eq!(number(world, "SELECT COUNT(*) FROM event").await, events);
    assert_eq!(number(world, "SELECT COUNT(*) FROM event WHERE position IS NULL OR digest IS NULL").await, 0);
    assert_eq!(number(world, "SELECT COALESCE(MIN(position), 1) FROM event").await, 1);
    assert_eq!(number(world, "SELECT COALESCE(MAX(position), 0) FROM event").await, events);
    let mut conn = world.db().read().await.unwrap();
    let mut last = 0;
    for seal in events::seals_after(&mut conn, 0, i64::MAX).await.unwrap() {
        assert_eq!(seal.first_position, last + 1);
        last = seal.last_position;
    }
    assert_eq!(last, events);
    drop(conn);
    assert_eq!(world.app.verify_audit().await.unwrap().fault, None);
}

async fn tell_one(world: &World, subject: &str) {
    let mut tx = world.db().begin().await.unwrap();
    tell(&mut tx, world.stamp(), subject).await.unwrap();
    tx.commit().await.unwrap();
}

async fn seal_all(world: &World, sequencer: &Sequencer) {
    while sequencer.seal(world.db(), world.stamp()).await.unwrap() > 0 {}
}

/// Follows by position until it sees nothing new.
async fn follow(db: &Db, from: &mut i64, seen: &mut Vec<String>, page: i64) {
    loop {
        let mut conn = db.read().await.unwrap();
        let more = events::after(&mut conn, *from, page).await.unwrap();
        if more.is_empty() {
            return;
        }
        for (event, _) in more {
            *from = event.position.unwrap();
            seen.push(event.subject);
        }
    }
}

on_both! {
    async fn int_19_an_event_that_commits_late_is_not_skipped_by_a_reader_by_position(world: &World) {
        let sequencer = sequencer(world);
        // SQLite has one writer at a time, so there nothing can commit late
        let late = match world.on {
            On::Sqlite => None,
            On::Postgres => {
                let mut tx = world.db().begin().await.unwrap();
                tell(&mut tx, world.stamp(), "late").await.unwrap();
                Some(tx)
            }
        };
        world.advance(Duration::from_secs(1));
        tell_one(world, "early").await;
        let (mut from, mut seen) = (0, Vec::new());
        seal_all(world, &sequencer).await;
        follow(world.db(), &mut from, &mut seen, 10).await;
        assert_eq!((from, seen.as_slice()), (1, ["early".to_owned()].as_slice()));
        match late {
            Some(tx) => tx.commit().await.unwrap(),
            None => tell_one(world, "late").await,
        }
        seal_all(world, &sequencer).await;
        follow(world.db(), &mut from, &mut seen, 10).await;
        assert_eq!((from, seen.as_slice()), (2, ["early".to_owned(), "late".to_owned()].as_slice()));
        assert_dense(world, 2).await;
    }
}

on_both! {
    async fn int_19_with_many_writers_positions_are_dense_and_a_reader_misses_none(world: &World) {
        const WRITERS: usize = 6;
        const EACH: usize = 25;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (db, ctx) = (world.db().clone(), world.app.intake.ctx.clone());
                tokio::spawn(async move {
                    for n in 0..EACH {
                        let mut tx = db.begin().await.unwrap();
                        for part in ["a", "b"] {
                            let stamp = Stamp { ctx: &ctx, actor: "test" };
                            tell(&mut tx, stamp, &format!("{writer}-{n}-{part}")).await.unwrap();
                            for _ in 0..(ctx.random_bits() % 20) {
                                tokio::task::yield_now().await;
                            }
                        }
                        // some change their mind: those events never were
                        if n % 5 == 4 { tx.rollback().await.unwrap() } else { tx.commit().await.unwrap() }
                    }
                })
            })
            .collect();
        let writing = Arc::new(AtomicBool::new(true));
        let sealing = {
            let (db, ctx, writing) = (world.db().clone(), world.app.intake.ctx.clone(), writing.clone());
            let sequencer = sequencer(world);
            tokio::spawn(async move {
                loop {
                    let was_writing = writing.load(Ordering::SeqCst);
                    let sealed = sequencer.seal(&db, Stamp { ctx: &ctx, actor: "test" }).await.unwrap();
                    if sealed == 0 && !was_writing {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            })
        };
        let (mut from, mut seen) = (0, Vec::new());
        while writers.iter().any(|w| !w.is_finished()) {
            follow(world.db(), &mut from, &mut seen, 7).await;
            assert_eq!(from, i64::try_from(seen.len()).unwrap(), "no position is passed over");
        }
        for writer in writers {
            writer.await.unwrap();
        }
        writing.store(false, Ordering::SeqCst);
        sealing.await.unwrap();
        follow(world.db(), &mut from, &mut seen, 7).await;
        let written = WRITERS * EACH * 2 * 4 / 5;
        assert_eq!(seen.len(), written);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), written, "each once");
        assert_dense(world, i64::try_from(written).unwrap()).await;
    }
}

on_both! {
    async fn int_19_two_sequencers_at_once_seal_without_gaps_or_doubles(world: &World) {
        let nodes = [sequencer(world), sequencer(world), sequencer(world)];
        let mut told = 0;
        let mut sealers = [false; 3];
        for round in 0..12 {
            for n in 0..5 {
                tell_one(world, &format!("toy-{round}-{n}")).await;
                told += 1;
            }
            // the lease of whoever held it has run out: all of them want it
            world.advance(Duration::from_secs(11));
            let sealing = nodes.clone().map(|sequencer| {
                let (db, ctx) = (world.db().clone(), world.app.intake.ctx.clone());
                tokio::spawn(async move { sequencer.seal(&db, Stamp { ctx: &ctx, actor: "test" }).await.unwrap() })
            });
            let mut sealed = 0;
            for (n, node) in sealing.into_iter().enumerate() {
                let by_it = node.await.unwrap();
                sealers[n] |= by_it > 0;
                sealed += by_it;
            }
            assert_eq!(sealed, 5, "round {round}");
        }
        assert_dense(world, told).await;
    }
}

/// Counts up a row per event it reacts to; fails as often as it is told.
struct Counting {
    name: &'static str,
    failures: AtomicI64,
}

impl Counting {
    fn new(name: &'static str, failures: i64) -> Arc<Self> {
        Arc::new(Self { name, failures: AtomicI64::new(failures) })
    }
}

#[async_trait]
impl Reader for Counting {
    fn name(&self) -> &'static str {
        self.name
    }

    fn wants(&self, kind: EventType) -> bool {
        kind == EventType::ReferenceLoaded
    }

    async fn react(&self, conn: &mut Conn, stamp: Stamp<'_>, event: &Event) -> Result<(), DbError> {
        assert_eq!(stamp.actor, self.name);
        let name = format!("read.{}.{}", self.name, event.subject);
        let before = installation(conn, &name).await?.map_or(0, |n| n.parse::<i64>().unwrap());
        set_installation(conn, &name, &(before + 1).to_string()).await?;
        if self.failures.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Err(DbError::Stale { what: "toy" });
        }
        Ok(())
    }
}

async fn reactions(world: &World, reader: &str) -> HashMap<i64, i64> {
    let mut counted = HashMap::new();
    for times in 1..=3 {
        let of = format!("SELECT COUNT(*) FROM installation WHERE name LIKE 'read.{reader}.%' AND value = '{times}'");
        counted.insert(times, number(world, &of).await);
    }
    counted
}

async fn position(world: &World, reader: &str) -> i64 {
    let mut conn = world.db().read().await.unwrap();
    events::reader_position(&mut conn, reader).await.unwrap()
}

on_both! {
    async fn a_reader_reacts_once_per_event_also_where_it_failed_before(world: &World) {
        let sequencer = sequencer(world);
        for n in 0..4 {
            tell_one(world, &format!("toy-{n}")).await;
        }
        seal_all(world, &sequencer).await;
        let reader = Counting::new("counting", 2);
        for _ in 0..2 {
            assert!(read_some(world.db(), world.stamp(), reader.as_ref()).await.is_err());
            assert_eq!(position(world, "counting").await, 0);
            assert_eq!(reactions(world, "counting").await[&1], 0, "what failed left nothing");
        }
        assert!(read_some(world.db(), world.stamp(), reader.as_ref()).await.unwrap());
        assert_eq!((position(world, "counting").await, reactions(world, "counting").await[&1]), (1, 1));
        while read_some(world.db(), world.stamp(), reader.as_ref()).await.unwrap() {}
        assert_eq!(position(world, "counting").await, 4);
        assert_eq!(reactions(world, "counting").await, HashMap::from([(1, 4), (2, 0), (3, 0)]));
    }
}

on_both! {
    async fn readers_of_one_name_on_two_nodes_react_once_per_event(world: &World) {
        let sequencer = sequencer(world);
        for n in 0..20 {
            tell_one(world, &format!("toy-{n}")).await;
        }
        seal_all(world, &sequencer).await;
        let nodes = [(); 3].map(|()| {
            let (db, ctx): (Db, Context) = (world.db().clone(), world.app.intake.ctx.clone());
            tokio::spawn(async move {
                let reader = Counting::new("counting", 0);
                while read_some(&db, Stamp { ctx: &ctx, actor: "test" }, reader.as_ref()).await.unwrap() {}
            })
        });
        for node in nodes {
            node.await.unwrap();
        }
        assert_eq!(position(world, "counting").await, 20);
        assert_eq!(reactions(world, "counting").await, HashMap::from([(1, 20), (2, 0), (3, 0)]));

        let mut tx = world.db().begin().await.unwrap();
        let behind = events::move_reader(&mut tx, "counting", 19, 20).await;
        assert!(matches!(behind, Err(DbError::Stale { what: "event reader" })));
        let first_of_its_name = events::move_reader(&mut tx, "another", 0, 3).await;
        assert!(first_of_its_name.is_ok());
    }
}

on_both! {
    async fn a_reader_that_fails_does_not_hold_up_the_others(world: &World) {
        let (failing, counting) = (Counting::new("failing", i64::MAX), Counting::new("counting", 0));
        let chain = Chain::of(ToyStage::<Cut>::smooth()).end();
        let engine = Engine::new(parts(world, chain, &[("cut", POLICY)], vec![failing, counting])).unwrap();
        for n in 0..3 {
            tell_one(world, &format!("toy-{n}")).await;
        }
        let running = { let engine = engine.clone(); tokio::spawn(async move { engine.run().await }) };
        until("the other has read", async || position(world, "counting").await == 3).await;
        engine.stop();
        running.await.unwrap();
        assert_eq!(position(world, "failing").await, 0);
        assert_eq!(reactions(world, "failing").await[&1], 0);
    }
}
