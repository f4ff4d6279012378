//! COR-40, COR-41: what goes into which batch, and when.

use lettercase::db::backups;
use lettercase::db::routing::Held;
use lettercase::delivery::{holds, stop};
use lettercase::model::letter::StopReason;
use lettercase::model::outgoing::Outgoing;
use lettercase::model::paper::BatchKind;
use lettercase::outside::objects::Place;
use lettercase::paper::PaperError;
use lettercase::paper::reconcile::Tended;

use super::*;
use crate::backup::held::hold;
use crate::delivery::{UNREAD, UNREGISTERED, practices, tin};
use crate::journey::{objects_in, sql};
use crate::on_both;
use crate::support::start;

/// Moves the clock to an instant.
fn until(world: &World, at: &str) {
    let at: jiff::Timestamp = at.parse().unwrap();
    let now = world.app.intake.ctx.now();
    assert!(now >= start() && at >= now);
    world.advance(at.duration_since(now).unsigned_abs());
}

async fn tend(world: &World) -> Tended {
    let tended = paper(world).reconcile("node").await.unwrap();
    world.settle().await;
    tended
}

on_both! {
    async fn a_batch_that_is_closed_now_takes_what_a_node_whose_clock_is_ahead_decided(world: &World) {
        practices(world).await;
        let letter = Post::default().sent(world).await;
        sql(world, "UPDATE delivery SET created_at = created_at + 3600000000").await;
        assert_eq!(paper(world).preview(&brand()).await.unwrap().figures.letters, 1);
        assert_eq!(close_now(world).await.figures.letters, 1);
        assert_eq!(stands(world, &letter).await, "in_batch: 1 in_batch");
    }
}

on_both! {
    async fn cor_41_a_batch_is_closed_at_each_cut_off_and_late_runs_catch_up(world: &World) {
        practices(world).await;
        assert_eq!(tend(world).await, Tended::default());
        let first = Post::default().sent(world).await;
        assert_eq!(tend(world).await, Tended::default(), "before the cut-off");
        assert_eq!(stands(world, &first).await, "waiting: ");
        until(world, "2026-11-20T22:00:00Z");
        let second = Post::default().sent(world).await;
        assert_eq!(tend(world).await, Tended { closed: 1, envelopes: 1, trials: 0 });
        assert_eq!(tend(world).await, Tended::default(), "a day is closed once");
        assert_eq!(stands(world, &first).await, "in_batch: 1 in_batch");
        assert_eq!(stands(world, &second).await, "waiting: ", "it came at the cut-off");

        // nobody was there for a week with a holiday
        until(world, "2026-11-24T15:00:00Z");
        let third = Post { zip: "43002", ..Post::default() }.sent(world).await;
        until(world, "2026-11-30T21:59:59Z");
        assert_eq!(tend(world).await.closed, 4);
        let all = all_batches(world).await;
        let told: Vec<String> = all.iter().map(|one| format!("{} {} {}", one.day, one.figures.envelopes, one.state)).collect();
        assert_eq!(told, [
            "2026-11-20 1 assembled", "2026-11-23 1 assembled", "2026-11-24 1 assembled", "2026-11-25 0 done", "2026-11-27 0 done",
        ]);
        for (letter, batch) in [(&second, &all[1]), (&third, &all[2])] {
            let mut conn = world.db().read().await.unwrap();
            assert_eq!(envelopes::enclosed(&mut conn, &batch.id, None).await.unwrap()[0].letter_id, *letter);
        }
        assert_eq!(all[0].name, "B-20261120-01");
        assert!(objects_in(world, Place::Letters).await.len() > 6, "PDF and manifests of three batches");
        let told = manifest(world, &all[0]).await;
        assert_eq!((&told["batch"], &told["letters"], &told["sheets"]), (&json!("B-20261120-01"), &json!(1), &json!(all[0].figures.sheets)));
        assert!(!told.to_string().contains("Weir"), "no names and no addresses");
    }
}

on_both! {
    async fn cor_40_cor_16_what_is_held_or_stopped_stays_out_and_the_rest_shares_envelopes(world: &World) {
        practices(world).await;
        let to = |to, street| Post { to, street, ..Post::default() };
        let one = to(UNREGISTERED, "12 Weir St").sent(world).await;
        let same = to(UNREGISTERED, "12 WEIR ST.").sent(world).await;
        let elsewhere = to(UNREGISTERED, "13 Weir St").sent(world).await;
        let other = to(UNREAD, "12 Weir St").sent(world).await;
        let member = to("M-PPO", "12 Weir St").sent(world).await;
        let pulled = to(UNREGISTERED, "14 Weir St").sent(world).await;
        let (db, stamp) = (world.db(), world.stamp());
        let hold = holds::put(db, stamp, &brand(), &Held::Tin(tin(UNREAD)), "a dispute").await.unwrap();
        stop::stop(db, stamp, &pulled, None, StopReason::WrongContent).await.unwrap();
        let preview = paper(world).preview(&brand()).await.unwrap();
        assert_eq!((preview.figures.envelopes, preview.figures.letters, preview.held, preview.waiting), (3, 4, 1, 0));
        assert_eq!((preview.day.to_string().as_str(), preview.cut_off_at.to_string().as_str()), ("2026-11-20", "2026-11-20T22:00:00Z"));

        let batch = close_now(world).await;
        assert_eq!((batch.kind, batch.figures.envelopes, batch.figures.letters), (BatchKind::Extra, 3, 4));
        is_assembled(&batch);
        for (letter, expected) in [(&other, "waiting: "), (&pulled, "stopped: ")] {
            assert_eq!(stands(world, letter).await, expected);
        }
        let mut shared = Vec::new();
        for letter in [&one, &same, &elsewhere, &member] {
            shared.push(stands(world, letter).await);
        }
        assert_eq!(shared[0], shared[1]);
        assert!(shared[2..].iter().all(|other| *other != shared[0]) && shared[2] != shared[3], "{shared:?}");
        assert!(matches!(paper(world).close_now(stamp, &brand()).await, Err(PaperError::NothingWaits)));

        // the cut-off comes all the same, and takes what is decided or let go until then
        holds::lift(db, stamp, &hold.id, None, 0).await.unwrap();
        stop::release(db, stamp, &pulled, None).await.unwrap();
        until(world, "2026-11-20T22:00:00Z");
        assert_eq!(tend(world).await, Tended { closed: 1, envelopes: 2, trials: 0 });
        let all = all_batches(world).await;
        assert_eq!((all[1].kind, all[1].name.as_str()), (BatchKind::Daily, "B-20261120-02"));
        let serials: Vec<i64> = [pieces(world, &all[0].id).await, pieces(world, &all[1].id).await].concat().iter().map(|one| one.serial).collect();
        assert_eq!(serials, [0, 1, 2, 3, 4]);
    }
}

on_both! {
    async fn int_35_nothing_of_a_trial_is_printed(world: &World) {
        practices(world).await;
        let trial = Post { brand: "meridian.test", ..Post::default() }.sent(world).await;
        assert_eq!(tend(world).await, Tended { closed: 0, envelopes: 0, trials: 1 });
        assert_eq!(stands(world, &trial).await, "stopped: ");
        assert!(matches!(paper(world).close_now(world.stamp(), &brand()).await, Err(PaperError::NothingWaits)));
    }
}

on_both! {
    async fn cor_41_a_serial_number_is_not_used_again_within_its_days(world: &World) {
        practices(world).await;
        Post::default().sent(world).await;
        let first = close_now(world).await;
        assert_eq!(pieces(world, &first.id).await[0].serial, 0);
        sql(world, "UPDATE mail_serial SET next = 999999999").await;
        for street in ["1 A St", "2 A St"] {
            Post { street, ..Post::default() }.sent(world).await;
        }
        let close = async || paper(world).close_now(world.stamp(), &brand()).await;
        assert!(matches!(close().await, Err(PaperError::SerialsUsedUp)), "0 may be in the mail still");
        said(world, &first.id, &[json!({ "all": true, "event": "mailed" })]).await;
        world.advance(std::time::Duration::from_secs(44 * 86_400));
        assert!(matches!(close().await, Err(PaperError::SerialsUsedUp)), "it was in the mail 44 days ago");
        world.advance(std::time::Duration::from_secs(2 * 86_400));
        let batch = close().await.unwrap();
        assert_eq!(pieces(world, &batch.id).await.iter().map(|one| one.serial).collect::<Vec<_>>(), [999_999_999, 0]);
    }
}

on_both! {
    async fn cor_41_a_letter_that_can_t_be_read_is_named_and_nothing_of_the_batch_is_stored(world: &World) {
        practices(world).await;
        let id = Post::default().sent(world).await;
        let letter = { let mut conn = world.db().read().await.unwrap(); letters::get(&mut conn, &id).await.unwrap().unwrap() };
        let objects = &world.app.intake.objects;
        let key = ObjectKey::letter(&brand(), &letter.made.as_ref().unwrap().sha256);
        objects.delete(&key).await.unwrap();
        let batch = close_now(world).await;
        assert_eq!((batch.state, objects_in(world, Place::Letters).await.len()), (BatchState::Closed, 0));
        let dead = { let mut conn = world.db().read().await.unwrap(); lettercase::db::work::of_subject(&mut conn, batch.id.as_str()).await.unwrap() };
        assert_eq!((dead[0].stage.as_str(), dead[0].state.as_str()), ("assemble", "dead"));
        assert!(dead[0].reason.as_ref().unwrap().contains(letter.number.as_str()), "{:?}", dead[0].reason);
        let closed = paper(world).acknowledge(world.stamp(), &batch.id, b"{\"all\":true,\"event\":\"mailed\"}", Form::Ndjson).await;
        assert!(matches!(closed, Err(PaperError::State(_))));

        objects.put_bytes(&key, PDF.0.clone()).await.unwrap();
        let mut tx = world.db().begin().await.unwrap();
        assert!(lettercase::db::work::replay(&mut tx, world.stamp(), batch.id.as_str(), "assemble").await.unwrap());
        tx.commit().await.unwrap();
        world.settle().await;
        is_assembled(&look(world, &batch.id).await);
    }
}

on_both! {
    async fn ops_16_while_batches_are_held_back_no_cut_off_closes_one_and_then_the_days_are_caught_up(world: &World) {
        practices(world).await;
        Post::default().sent(world).await;
        hold(world, Outgoing::Batches, true).await;
        until(world, "2026-11-23T22:00:00Z");
        assert_eq!(tend(world).await, Tended::default());
        hold(world, Outgoing::Batches, false).await;
        assert_eq!(tend(world).await, Tended { closed: 2, envelopes: 1, trials: 0 });
    }
}

on_both! {
    async fn ops_16_a_batch_that_was_not_done_when_the_back_up_was_taken_is_held(world: &World) {
        practices(world).await;
        Post::default().sent(world).await;
        let batch = close_now(world).await;
        let mut tx = world.db().begin().await.unwrap();
        let doubts = backups::restored(&mut tx, world.stamp(), &brand(), (1, None)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((doubts.batches, look(world, &batch.id).await.hold.is_some()), (1, true));
    }
}
