//! Mails that do not go on their day: none is missed, and a user still gets one of a kind a day (COR-33).

use std::time::Duration;

use lettercase::db::digest_mails::{self, Which};
use lettercase::digests::Digests;
use lettercase::model::digest::{Cadence, DigestKind, MailState};

use super::sending::{SPREAD, faulty, planned, sender, told};
use crate::mailer::relay::{At, Does};
use crate::on_both;
use crate::support::digests::*;
use crate::support::postgres::free_port;

const ONE: &str = "900000001";
const TWO: &str = "900000002";
const TOMORROW: jiff::civil::Date = jiff::civil::date(2026, 11, 21);
const DAY: Duration = Duration::from_secs(86_400);

on_both! {
    async fn what_no_relay_took_on_its_day_goes_with_the_mail_of_the_next(world: &World) {
        let ada = planned(world, &["ada"]).await.remove(0);
        sender(world, free_port()).send_due().await.unwrap();
        assert_eq!(told(world, &ada).await, "planned - 0");
        world.advance(DAY);
        let letter = publish(world, ONE, CLAIM).await;
        daily(world, TOMORROW).await;
        assert_eq!(
            mails(world).await,
            ["ada claim_info 2026-11-20 folded 1 1", "ada claim_info 2026-11-21 planned 1 2"].map(ToOwned::to_owned).into()
        );
        assert_eq!(stands(world, &ada, &letter).await, "mailed 2026-11-21 claim_info");
        world.assert_conserved().await;
        world.advance(SPREAD);
        let relay = faulty(At::Connect, Does::Usual, 0).await;
        let sender = sender(world, relay.port);
        assert_eq!(sender.send_due().await.unwrap(), 1);
        assert_eq!(relay.taken.lock().unwrap().len(), 1);
        assert_eq!(sender.digests.finish_runs().await.unwrap().len(), 2, "both runs have come to their ends");
    }
}

on_both! {
    async fn a_mail_in_doubt_that_is_sent_again_goes_as_it_was_and_is_that_days_mail(world: &World) {
        let ada = planned(world, &["ada"]).await.remove(0);
        let relay = faulty(At::End, Does::Closes, 1).await;
        let sender = sender(world, relay.port);
        sender.send_due().await.unwrap();
        assert_eq!(told(world, &ada).await, "in_doubt no_answer 1");
        world.advance(DAY);
        let mut tx = world.db().begin().await.unwrap();
        let doubtful = digest_mails::list(&mut tx, &Which::InDoubt, None, 10).await.unwrap();
        digest_mails::decide(&mut tx, world.stamp(), &doubtful[0].id, doubtful[0].version, true).await.unwrap();
        tx.commit().await.unwrap();
        // the next run is planned before it has gone
        let later = publish(world, ONE, CLAIM).await;
        daily(world, TOMORROW).await;
        assert_eq!(
            mails(world).await,
            ["ada claim_info 2026-11-20 planned 1 1".to_owned()].into(),
            "it may have come already, and is known by its Message-ID"
        );
        assert_eq!(stands(world, &ada, &later).await, "waiting");
        assert_eq!(sender.send_due().await.unwrap(), 1);
        assert_eq!(told(world, &ada).await, "accepted - 2");
        world.advance(DAY);
        daily(world, TOMORROW.tomorrow().unwrap()).await;
        assert_eq!(stands(world, &ada, &later).await, "mailed 2026-11-22 claim_info");
    }
}

on_both! {
    async fn what_a_weekly_reader_should_have_had_does_not_wait_for_another_week(world: &World) {
        practices(world, &[ONE, TWO]).await;
        let (ada, off) = (reader(world, "ada", &[ONE, TWO]).await, reader(world, "off", &[ONE]).await);
        choose(world, &ada, TWO, "claim", Cadence::Weekly).await;
        let (first, weekly) = (publish(world, ONE, CLAIM).await, publish(world, TWO, CLAIM).await);
        open_run(world, &[Cadence::Daily, Cadence::Weekly], TODAY).await;
        plan(world).await;
        sender(world, free_port()).send_due().await.unwrap();
        choose(world, &off, ONE, "claim", Cadence::Off).await;
        world.advance(DAY);
        publish(world, ONE, CLAIM).await;
        let not_yet = publish(world, TWO, CLAIM).await;
        daily(world, TOMORROW).await;
        assert_eq!(stands(world, &ada, &weekly).await, "mailed 2026-11-21 claim_info");
        assert_eq!(stands(world, &ada, &not_yet).await, "waiting", "this one came after the weekly run");
        assert_eq!(stands(world, &off, &first).await, "left_out off", "what was chosen meanwhile holds");
    }
}

on_both! {
    async fn what_went_late_on_a_day_is_that_days_mail_and_what_comes_later_waits(world: &World) {
        let ada = planned(world, &["ada"]).await.remove(0);
        // 06:00 in New York, before the day's run
        world.advance(Duration::from_secs(20 * 3_600) - SPREAD);
        let relay = faulty(At::Connect, Does::Usual, 0).await;
        let sender = sender(world, relay.port);
        assert_eq!(sender.send_due().await.unwrap(), 1);
        let later = publish(world, ONE, CLAIM).await;
        let precert = publish(world, ONE, PRECERT).await;
        world.advance(SPREAD);
        daily(world, TOMORROW).await;
        assert_eq!(stands(world, &ada, &later).await, "waiting");
        assert_eq!(stands(world, &ada, &precert).await, "mailed 2026-11-21 precert_info", "of another kind");
        world.advance(DAY);
        daily(world, TOMORROW.tomorrow().unwrap()).await;
        assert_eq!(stands(world, &ada, &later).await, "mailed 2026-11-22 claim_info");
    }
}

on_both! {
    async fn mails_of_a_paused_schedule_stay_with_it_and_what_a_person_asked_for_goes(world: &World) {
        let digests = &world.app.digests;
        digests.make_schedules().await.unwrap();
        practices(world, &[ONE]).await;
        let ada = reader(world, "ada", &[ONE]).await;
        let first = publish(world, ONE, CLAIM).await;
        // the run of Monday, 23 November at 07:00, and its pause
        world.advance(Duration::from_secs(2 * 86_400 + 21 * 3_600));
        assert_eq!(digests.tick().await.unwrap().opened, 2);
        digests.plan_due(|| true).await.unwrap();
        digests.set_paused(world.stamp(), "meridian-daily", None, true).await.unwrap();
        let relay = faulty(At::Connect, Does::Usual, 0).await;
        let sender = sender(world, relay.port);
        world.advance(SPREAD);
        assert_eq!(sender.send_due().await.unwrap(), 0);
        world.advance(DAY);
        let second = publish(world, ONE, CLAIM).await;
        digests.run_now(world.stamp(), "meridian-daily").await.unwrap();
        digests.plan_due(|| true).await.unwrap();
        assert_eq!(stands(world, &ada, &first).await, "mailed 2026-11-23 claim_info", "it waits with its schedule");
        assert_eq!(stands(world, &ada, &second).await, "mailed 2026-11-24 claim_info");
        world.advance(SPREAD);
        assert_eq!(sender.send_due().await.unwrap(), 1, "paused or not: somebody asked for it");
    }
}

on_both! {
    async fn what_a_clock_that_was_ahead_put_off_goes_when_it_is_set_right(world: &World) {
        let ada = planned(world, &["ada"]).await.remove(0);
        sql(world, "UPDATE digest_mail SET next_at = next_at + 864000000000").await;
        let relay = faulty(At::Connect, Does::Usual, 0).await;
        let sender = sender(world, relay.port);
        sender.send_due().await.unwrap();
        sender.send_due().await.unwrap();
        assert_eq!(told(world, &ada).await, "accepted - 1");
    }
}

on_both! {
    async fn mails_of_a_brand_that_is_served_elsewhere_are_left_alone(world: &World) {
        let ada = planned(world, &["ada"]).await.remove(0);
        let relay = faulty(At::Connect, Does::Usual, 0).await;
        let mut sender = sender(world, relay.port);
        sender.digests = Digests { brands: ["northwind".parse().unwrap()].into(), ..sender.digests };
        assert_eq!(sender.send_due().await.unwrap(), 0);
        assert_eq!(told(world, &ada).await, "planned - 0");
    }
}

on_both! {
    async fn a_relay_that_refuses_us_costs_no_address_and_no_mail(world: &World) {
        let users = planned(world, &["ada", "ben"]).await;
        for (at, answer) in [(At::Rcpt, "554 5.7.1 relay access denied"), (At::Mail, "530 5.7.0 authenticate first")] {
            let relay = faulty(at, Does::Says(answer), usize::MAX).await;
            sender(world, relay.port).send_due().await.unwrap();
            world.advance(Duration::from_secs(2 * 3_600));
        }
        for user in &users {
            assert!(told(world, user).await.starts_with("retry "), "{}", told(world, user).await);
        }
        assert_eq!(number(world, "SELECT COUNT(*) AS n FROM mail_suppression").await, 0);
        let relay = faulty(At::Connect, Does::Usual, 0).await;
        assert_eq!(sender(world, relay.port).send_due().await.unwrap(), 2);
        assert!(told(world, &users[0]).await.starts_with("accepted "));
    }
}

on_both! {
    async fn a_mail_that_was_refused_to_the_end_can_be_sent_again_by_an_operator(world: &World) {
        let ada = planned(world, &["ada"]).await.remove(0);
        let relay = faulty(At::End, Does::Says("550 5.6.0 not like this"), 1).await;
        let sender = sender(world, relay.port);
        sender.send_due().await.unwrap();
        assert_eq!(told(world, &ada).await, "rejected body 550 5.6.0 1");
        let id = mail_of(world, &ada, DigestKind::ClaimInfo, TODAY);
        assert!(sender.digests.decide_mail(world.stamp(), &id, None, false).await.is_err(), "it is closed as it is");
        let again = sender.digests.decide_mail(world.stamp(), &id, None, true).await.unwrap();
        assert_eq!((again.state, again.tries), (MailState::Planned, 0));
        sender.send_due().await.unwrap();
        assert_eq!(told(world, &ada).await, "accepted - 1");
    }
}

on_both! {
    async fn a_lease_begins_anew_when_a_text_goes_and_what_was_not_begun_costs_no_try(world: &World) {
        let users = planned(world, &["ada", "ben"]).await;
        let (db, stamp) = (world.db(), world.stamp());
        let lease = || ("slow", stamp.after(Duration::from_secs(300)));
        let taken = digest_mails::claim(db, stamp, &world.app.digests.brands, lease(), 10).await.unwrap();
        world.advance(Duration::from_secs(295));
        let one = &taken[0];
        let mut tx = db.begin().await.unwrap();
        let let_go = digest_mails::submitting(&mut tx, stamp.now(), lease(), &[submission(one)]).await.unwrap();
        assert_eq!(let_go.len(), 1);
        tx.commit().await.unwrap();
        world.advance(Duration::from_secs(10));
        let mut tx = db.begin().await.unwrap();
        let late = digest_mails::submitting(&mut tx, stamp.now(), lease(), &[submission(&taken[1])]).await.unwrap();
        assert!(late.is_empty(), "its lease is over");
        digest_mails::recover(&mut tx, stamp).await.unwrap();
        tx.commit().await.unwrap();
        let mut states = [told(world, &users[0]).await, told(world, &users[1]).await];
        states.sort();
        assert_eq!(states, ["planned - 0", "submitting - 1"], "who is under way is not in doubt");
        let mut conn = db.read().await.unwrap();
        assert!(digest_mails::list(&mut conn, &Which::InDoubt, None, 10).await.unwrap().is_empty());
    }
}
