//! OPS-14: who writes the database behind the program's back is found out, and where is named.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lettercase::db::{Stamp, events};
use lettercase::engine::audit::{Fault, verify};
use lettercase::engine::sequencer::{Head, head_key, keep_head};

use super::toy::{keep, restore, sequencer, sql, tell};
use crate::on_both;
use crate::support::World;

const TABLES: [&str; 2] = ["event", "seal"];

/// Three seals over three events each.
async fn nine_events(world: &World) {
    let sequencer = sequencer(world);
    for batch in 0..3 {
        let mut tx = world.db().begin().await.unwrap();
        for n in 0..3 {
            tell(&mut tx, world.stamp(), &format!("toy-{batch}-{n}")).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(sequencer.seal(world.db(), world.stamp()).await.unwrap(), 3);
    }
    assert_eq!(sequencer.seal(world.db(), world.stamp()).await.unwrap(), 0, "it rests, so the head is kept");
}

async fn found(world: &World) -> Option<Fault> {
    world.app.verify_audit().await.unwrap().fault
}

on_both! {
    async fn ops_14_the_first_part_that_was_tampered_with_is_named(world: &World) {
        nine_events(world).await;
        keep(world, &TABLES).await;
        let forged = "INSERT INTO event (id, position, type, version, subject, brand, actor, at, payload, digest)
                      SELECT 'forged', 10, type, version, 'forged', brand, actor, at, payload, digest
                      FROM event WHERE position = 9";
        let cases: &[(&[&str], Fault)] = &[
            (&["UPDATE event SET payload = '{}' WHERE position = 5"], Fault::Broken { position: 5 }),
            (&["UPDATE event SET actor = 'nobody' WHERE position IN (8, 2)"], Fault::Broken { position: 2 }),
            (&["UPDATE event SET at = at + 1 WHERE position = 9"], Fault::Broken { position: 9 }),
            (&["UPDATE event SET tin_uid = '' WHERE position = 4"], Fault::Broken { position: 4 }),
            (&["UPDATE event SET digest = 'other' WHERE position = 1"], Fault::Broken { position: 1 }),
            (&["UPDATE event SET id = 'nonsense' WHERE position = 5"], Fault::Broken { position: 5 }),
            (&["UPDATE event SET at = 9223372036854775807 WHERE position = 7"], Fault::Broken { position: 7 }),
            // two events change places, their stored digests with them
            (
                &[
                    "UPDATE event SET position = 0 WHERE position = 4",
                    "UPDATE event SET position = 4 WHERE position = 5",
                    "UPDATE event SET position = 5 WHERE position = 0",
                ],
                Fault::Broken { position: 4 },
            ),
            (&["DELETE FROM event WHERE position = 6"], Fault::Missing { position: 6 }),
            (&["DELETE FROM event WHERE position = 1"], Fault::Missing { position: 1 }),
            (&["DELETE FROM event WHERE position = 9"], Fault::Missing { position: 9 }),
            (&["DELETE FROM event"], Fault::Missing { position: 1 }),
            (&["UPDATE event SET position = NULL WHERE position = 7"], Fault::Missing { position: 7 }),
            (&["UPDATE seal SET mac = 'other' WHERE first_position = 4"], Fault::SealBroken { first: 4, last: 6 }),
            (&["UPDATE seal SET mac = 'other' WHERE first_position = 7"], Fault::SealBroken { first: 7, last: 9 }),
            (
                &["UPDATE seal SET last_position = 9223372036854775807 WHERE first_position = 4"],
                Fault::SealBroken { first: 4, last: i64::MAX },
            ),
            (&["DELETE FROM seal WHERE first_position = 1"], Fault::Unsealed { position: 1 }),
            (&["DELETE FROM seal WHERE first_position = 4"], Fault::Unsealed { position: 4 }),
            (&["DELETE FROM seal WHERE first_position = 7"], Fault::Unsealed { position: 7 }),
            (&["DELETE FROM seal"], Fault::Unsealed { position: 1 }),
            (&[forged], Fault::Unsealed { position: 10 }),
            (
                &["DELETE FROM seal WHERE first_position = 7", "DELETE FROM event WHERE position > 6"],
                Fault::CutOff { found: 6, expected: 9 },
            ),
            (&["DELETE FROM seal", "DELETE FROM event"], Fault::CutOff { found: 0, expected: 9 }),
        ];
        for (tampering, fault) in cases {
            assert_eq!(found(world).await, None);
            for statement in *tampering {
                assert_ne!(sql(world, statement).await, 0, "{statement}");
            }
            assert_eq!(found(world).await.as_ref(), Some(fault), "{tampering:?}");
            restore(world, &TABLES).await;
        }
    }
}

on_both! {
    async fn ops_14_a_head_that_is_gone_or_another_is_named(world: &World) {
        nine_events(world).await;
        let objects = world.app.intake.objects.clone();
        let key = head_key().unwrap();
        let kept = objects.get_bytes(&key, 4096).await.unwrap().expect("a head is kept");
        let head: Head = serde_json::from_slice(&kept).unwrap();
        assert_eq!(head.position, 9);

        let heads = [
            (Some(Head { mac: "other".into(), ..head.clone() }), Some(Fault::HeadDiffers { position: 9 })),
            (Some(Head { position: 8, ..head.clone() }), Some(Fault::HeadDiffers { position: 8 })),
            (Some(Head { position: 10, ..head.clone() }), Some(Fault::CutOff { found: 9, expected: 10 })),
            (None, Some(Fault::HeadMissing)),
            (Some(head), None),
        ];
        for (head, fault) in heads {
            let report = verify(world.db(), &world.app.audit_key, head.as_ref()).await.unwrap();
            assert_eq!((report.fault, report.events, report.head), (fault, 9, 9), "{head:?}");
        }

        objects.delete(&key).await.unwrap();
        assert_eq!(found(world).await, Some(Fault::HeadMissing));
        objects.put_bytes(&key, b"not a head".to_vec()).await.unwrap();
        assert_eq!(found(world).await, Some(Fault::HeadMissing));
        objects.put_bytes(&key, kept).await.unwrap();
        assert_eq!(found(world).await, None);
    }
}

on_both! {
    async fn ops_14_what_was_cut_off_is_not_forgotten_when_the_log_goes_on(world: &World) {
        nine_events(world).await;
        for statement in ["DELETE FROM seal WHERE first_position = 7", "DELETE FROM event WHERE position > 6"] {
            assert_ne!(sql(world, statement).await, 0, "{statement}");
        }
        keep(world, &TABLES).await;
        // a sequencer that has written no head yet, as after a start; on to below, to, and beyond where the log was
        for events in [1, 3, 6] {
            let sequencer = sequencer(world);
            let mut tx = world.db().begin().await.unwrap();
            for n in 0..events {
                tell(&mut tx, world.stamp(), &format!("later-{n}")).await.unwrap();
            }
            tx.commit().await.unwrap();
            world.advance(Duration::from_secs(11));
            assert_eq!(sequencer.seal(world.db(), world.stamp()).await.unwrap(), events);
            assert_eq!(sequencer.seal(world.db(), world.stamp()).await.unwrap(), 0);
            assert!(matches!(found(world).await, Some(Fault::CutOff { .. } | Fault::HeadDiffers { .. })), "{events}");
            restore(world, &TABLES).await;
        }
        // for the world to end whole
        let head = { let mut conn = world.db().read().await.unwrap(); events::last_seal(&mut conn).await.unwrap().unwrap() };
        let head = Head { position: head.last_position, mac: head.mac };
        keep_head(world.app.intake.objects.as_ref(), &head).await.unwrap();
    }
}

on_both! {
    async fn ops_14_a_chain_sealed_with_another_key_does_not_verify(world: &World) {
        nine_events(world).await;
        let other = lettercase::engine::sequencer::AuditKey([7; 32]);
        let report = verify(world.db(), &other, None).await.unwrap();
        assert_eq!(report.fault, Some(Fault::SealBroken { first: 1, last: 3 }));
    }
}

on_both! {
    async fn ops_14_events_that_wait_for_their_seal_are_no_fault_and_are_counted(world: &World) {
        nine_events(world).await;
        let mut tx = world.db().begin().await.unwrap();
        tell(&mut tx, world.stamp(), "waiting").await.unwrap();
        tx.commit().await.unwrap();
        let report = world.app.verify_audit().await.unwrap();
        assert_eq!((report.fault, report.events, report.waiting), (None, 9, 1));
    }
}

on_both! {
    async fn ops_14_verifying_while_events_are_sealed_raises_no_false_alarm(world: &World) {
        let done = Arc::new(AtomicBool::new(false));
        nine_events(world).await;
        world.advance(Duration::from_secs(11));
        let sequencer = sequencer(world);
        let sealing = {
            let (db, ctx, done) = (world.db().clone(), world.app.intake.ctx.clone(), done.clone());
            tokio::spawn(async move {
                for n in 0..150 {
                    let stamp = Stamp { ctx: &ctx, actor: "test" };
                    let mut tx = db.begin().await.unwrap();
                    tell(&mut tx, stamp, &format!("toy-{n}")).await.unwrap();
                    tx.commit().await.unwrap();
                    sequencer.seal(&db, stamp).await.unwrap();
                }
                done.store(true, Ordering::SeqCst);
            })
        };
        while !done.load(Ordering::SeqCst) {
            let report = world.app.verify_audit().await.unwrap();
            assert_eq!(report.fault, None, "{report:?}");
        }
        sealing.await.unwrap();
    }
}
