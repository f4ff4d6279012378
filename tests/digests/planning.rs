//! COR-30..33: which mails come of which notifications, and who is left out.

use std::time::Duration;

use jiff::civil::date;
use lettercase::access::{Expected, Manager};
use lettercase::db::messages::{self, Marking};
use lettercase::model::access::{Entitlement, Role};
use lettercase::model::digest::{Cadence, DigestKind};
use lettercase::model::ids::{MailId, UserId};
use lettercase::model::letter::LetterCategory;
use lettercase::model::message::MessageType;

use crate::on_both;
use crate::support::World;
use crate::support::digests::*;

const ONE: &str = "000000011";
const TWO: &str = "000000012";
const TOMORROW: jiff::civil::Date = date(2026, 11, 21);

/// What a look right before sending leaves of a mail: items, and letters.
async fn left(world: &World, mail: &MailId) -> (i64, i64) {
    let told = submit(world, mail).await;
    (told.items, told.letters)
}

on_both! {
    async fn cor_31_a_message_is_told_of_to_who_may_read_it_when_it_comes_and_counts_in_one_kind(world: &World) {
        practices(world, &[ONE]).await;
        let ada = reader(world, "ada", &[ONE]).await;
        let claims = user(world, "claims").await;
        grant(world, &claims, ONE, &[Entitlement::ClaimSearch]).await;
        let gone = reader(world, "gone", &[ONE]).await;
        world.app.access.set_disabled(Manager::Machine("test"), &gone, true, Expected::Any).await.unwrap();
        let staff = reader(world, "staff", &[ONE]).await;
        world.app.access.set_roles(Manager::Machine("test"), &staff, [Role::Reviewer].into(), Expected::Any).await.unwrap();
        let (claim, precert) = (publish(world, ONE, CLAIM).await, publish(world, ONE, PRECERT).await);
        let (asks, appeal) = (publish(world, ONE, CLAIM_ASKS).await, publish(world, ONE, APPEAL).await);
        let trial = world.settings.brand.in_mode(lettercase::model::mode::Mode::Test);
        let what = (LetterCategory::Claim, MessageType::Notice);
        let of_trial = publish_for(world, &trial, ONE, what, (false, None)).await;
        for nobody in [&gone, &staff] {
            assert_eq!(stands(world, nobody, &claim).await, "none");
        }
        assert_eq!((stands(world, &claims, &claim).await.as_str(), stands(world, &claims, &precert).await.as_str()), ("waiting", "none"));
        assert_eq!(stands(world, &ada, &of_trial).await, "none");
        // who comes later is not told of what was there before
        let late = reader(world, "late", &[ONE]).await;
        assert_eq!(stands(world, &late, &claim).await, "none");

        let run = daily(world, TODAY).await;
        assert_eq!(stands(world, &ada, &claim).await, "mailed 2026-11-20 claim_info");
        assert_eq!(stands(world, &ada, &appeal).await, "mailed 2026-11-20 claim_info");
        assert_eq!(stands(world, &ada, &precert).await, "mailed 2026-11-20 precert_info");
        assert_eq!(stands(world, &ada, &asks).await, "mailed 2026-11-20 claim_action");
        assert_eq!(mails(world).await, [
            "ada claim_action 2026-11-20 planned 1 1", "ada claim_info 2026-11-20 planned 1 2", "ada precert_info 2026-11-20 planned 1 1",
            "claims claim_action 2026-11-20 planned 1 1", "claims claim_info 2026-11-20 planned 1 2",
        ].map(ToOwned::to_owned).into());
        assert_eq!(run_stands(world, &run).await, "sending 2 5 5 7 0");
    }
}

on_both! {
    async fn cor_33_each_reason_leaves_out_at_planning_and_again_right_before_sending(world: &World) {
        practices(world, &[ONE]).await;
        let names = ["not_entitled", "disabled", "no_address", "suppressed", "off", "hidden", "deleted", "read", "offline"];
        for before_planning in [true, false] {
            let day = if before_planning { TODAY } else { TOMORROW };
            let mut all = Vec::new();
            for name in names {
                let user = reader(world, &format!("{name}-{before_planning}"), &[ONE]).await;
                let message = if name == "offline" { publish(world, ONE, CLAIM).await } else { publish(world, ONE, PRECERT).await };
                all.push((name, user, message));
            }
            if !before_planning {
                daily(world, day).await;
            }
            let manager = || Manager::Machine("test");
            for (name, user, message) in &all {
                match *name {
                    "not_entitled" => grant(world, user, ONE, &[Entitlement::PatientSearch]).await,
                    "disabled" => { world.app.access.set_disabled(manager(), user, true, Expected::Any).await.unwrap(); }
                    "no_address" => { addressed(world, &format!("{name}-{before_planning}"), None).await; }
                    "suppressed" => {
                        let statement = format!("INSERT INTO mail_suppression (id, address, reason, created_at, version)
                            VALUES ('{user}', 'Suppressed-{before_planning}@practice.example', 'bounce', 0, 1)");
                        sql(world, &statement).await;
                    }
                    "off" => choose(world, user, ONE, "precertification", Cadence::Off).await,
                    "hidden" => {
                        let mut tx = world.db().begin().await.unwrap();
                        let hidden = [(LetterCategory::Precertification, Some(MessageType::Letter(PRECERT)))];
                        messages::put_hidden(&mut tx, user, &hidden).await.unwrap();
                        tx.commit().await.unwrap();
                    }
                    "deleted" => mark(world, user, message, Marking { deleted: true, ..Marking::default() }).await,
                    "read" => mark(world, user, message, Marking { read: Some(true), ..Marking::default() }).await,
                    _ => { sql(world, &format!("UPDATE message SET offline_at = 1 WHERE id = '{message}'")).await; }
                }
            }
            if before_planning {
                daily(world, day).await;
            } else {
                for (name, user, _) in &all {
                    let kind = if *name == "offline" { DigestKind::ClaimInfo } else { DigestKind::PrecertInfo };
                    let mail = mail_of(world, user, kind, day);
                    let is_left = left(world, &mail).await;
                    // of two messages, what was deleted alone falls out
                    assert_eq!(is_left, if *name == "deleted" { (1, 1) } else { (0, 0) }, "{name}");
                    assert_eq!(left(world, &mail).await, is_left, "looked at again it is the same");
                }
            }
            for (name, user, message) in &all {
                assert_eq!(stands(world, user, message).await, format!("left_out {name}"), "{before_planning}");
            }
        }
    }
}

on_both! {
    async fn cor_30_two_readers_of_one_practice_choose_for_themselves_and_weekly_waits_for_its_run(world: &World) {
        practices(world, &[ONE, TWO]).await;
        let (ada, bob) = (reader(world, "ada", &[ONE, TWO]).await, reader(world, "bob", &[ONE, TWO]).await);
        choose(world, &ada, ONE, "claim", Cadence::Weekly).await;
        choose(world, &bob, TWO, "claim", Cadence::Off).await;
        let (one, two, appeal) =
            (publish(world, ONE, CLAIM).await, publish(world, TWO, CLAIM).await, publish(world, ONE, APPEAL).await);
        daily(world, TODAY).await;
        assert_eq!(stands(world, &ada, &one).await, "waiting");
        assert_eq!(stands(world, &ada, &appeal).await, "waiting", "appeals follow claims");
        assert_eq!(stands(world, &ada, &two).await, "mailed 2026-11-20 claim_info");
        assert_eq!(stands(world, &bob, &one).await, "mailed 2026-11-20 claim_info");
        assert_eq!(stands(world, &bob, &two).await, "left_out off");
        // turned on again, what was left out stays so
        choose(world, &bob, TWO, "claim", Cadence::Daily).await;
        open_run(world, &[Cadence::Weekly], TOMORROW).await;
        plan(world).await;
        assert_eq!(stands(world, &ada, &one).await, "mailed 2026-11-21 claim_info");
        assert_eq!(stands(world, &bob, &two).await, "left_out off");
    }
}

on_both! {
    async fn cor_33_where_both_run_the_first_carries_both_and_what_comes_later_waits(world: &World) {
        practices(world, &[ONE, TWO]).await;
        let ada = reader(world, "ada", &[ONE, TWO]).await;
        choose(world, &ada, TWO, "claim", Cadence::Weekly).await;
        let (one, two) = (publish(world, ONE, CLAIM).await, publish(world, TWO, CLAIM).await);
        let run = open_run(world, &[Cadence::Daily, Cadence::Weekly], TODAY).await;
        plan(world).await;
        assert_eq!(mails(world).await, ["ada claim_info 2026-11-20 planned 2 2".to_owned()].into());
        for message in [&one, &two] {
            assert_eq!(stands(world, &ada, message).await, "mailed 2026-11-20 claim_info");
        }
        let late = publish(world, TWO, CLAIM).await;
        let asks = publish(world, ONE, CLAIM_ASKS).await;
        let second = open_run(world, &[Cadence::Daily, Cadence::Weekly], TODAY).await;
        plan(world).await;
        assert_eq!(stands(world, &ada, &late).await, "waiting", "one mail of a kind and day");
        assert_eq!(stands(world, &ada, &asks).await, "mailed 2026-11-20 claim_action", "another kind is another mail");
        assert_eq!((run_stands(world, &run).await.as_str(), run_stands(world, &second).await.as_str()), ("sending 1 1 2 2 0", "sending 1 1 1 1 0"));
        let empty = daily(world, TODAY).await;
        assert_eq!(run_stands(world, &empty).await, "done 0 0 0 0 0");
        daily(world, TOMORROW).await;
        assert_eq!(stands(world, &ada, &late).await, "waiting", "its reader is told weekly");
        open_run(world, &[Cadence::Weekly], date(2026, 11, 22)).await;
        plan(world).await;
        assert_eq!(stands(world, &ada, &late).await, "mailed 2026-11-22 claim_info");
    }
}

on_both! {
    async fn mails_wait_for_their_time_within_the_runs_and_the_run_ends_with_the_last(world: &World) {
        practices(world, &[ONE]).await;
        for n in 0..40 {
            reader(world, &format!("reader-{n}"), &[ONE]).await;
        }
        publish(world, ONE, CLAIM).await;
        let opened = world.stamp().now();
        let run = daily(world, TODAY).await;
        let mut conn = world.db().read().await.unwrap();
        let times: Vec<i64> = sqlx::query_scalar("SELECT next_at FROM digest_mail ORDER BY next_at").fetch_all(&mut *conn).await.unwrap();
        drop(conn);
        let half_an_hour = i64::try_from(Duration::from_secs(1_800).as_micros()).unwrap();
        assert!(times.iter().all(|at| (opened..opened + half_an_hour).contains(at)), "{times:?}");
        assert!(times.last().unwrap() - times.first().unwrap() > half_an_hour / 2, "{times:?}");
        assert!(world.app.digests.finish_runs().await.unwrap().is_empty());
        sql(world, "UPDATE digest_mail SET state = 'accepted', next_at = NULL").await;
        sql(world, "UPDATE digest_mail SET state = 'in_doubt' WHERE id = (SELECT MAX(id) FROM digest_mail)").await;
        assert!(world.app.digests.finish_runs().await.unwrap().is_empty(), "what is in doubt has not ended");
        sql(world, "UPDATE digest_mail SET state = 'closed' WHERE state = 'in_doubt'").await;
        assert_eq!(world.app.digests.finish_runs().await.unwrap(), std::slice::from_ref(&run));
        assert_eq!(run_stands(world, &run).await, "done 40 40 40 40 0");
    }
}

/// The world's digests with another policy.
fn with_policy(
    world: &World,
    change: impl FnOnce(&mut lettercase::digests::plan::NotificationsPlan),
) -> lettercase::digests::Digests {
    let mut digests = world.app.digests.clone();
    let mut plan = (*digests.plan).clone();
    change(&mut plan);
    digests.plan = std::sync::Arc::new(plan);
    digests
}

on_both! {
    async fn cor_30_a_choice_changed_between_two_slices_counts_for_who_is_not_planned_yet(world: &World) {
        practices(world, &[ONE]).await;
        let mut users = Vec::new();
        for n in 0..6 {
            users.push(reader(world, &format!("reader-{n}"), &[ONE]).await);
        }
        users.sort();
        let message = publish(world, ONE, CLAIM).await;
        let run = open_run(world, &[Cadence::Daily], TODAY).await;
        let small = with_policy(world, |plan| plan.digests.users_per_step = 2);
        assert!(small.plan_step().await.unwrap());
        for user in [&users[0], &users[5]] {
            choose(world, user, ONE, "claim", Cadence::Off).await;
        }
        choose(world, &users[4], ONE, "claim", Cadence::Weekly).await;
        // who comes behind the cursor waits for the next run, who comes before it goes with this one
        let late = publish(world, ONE, PRECERT).await;
        while small.plan_step().await.unwrap() {}
        assert_eq!(stands(world, &users[0], &message).await, "mailed 2026-11-20 claim_info", "it was planned before");
        assert_eq!(stands(world, &users[5], &message).await, "left_out off");
        assert_eq!(stands(world, &users[4], &message).await, "waiting");
        assert_eq!(stands(world, &users[1], &late).await, "waiting");
        assert_eq!(stands(world, &users[3], &late).await, "mailed 2026-11-20 precert_info");
        assert_eq!(run_stands(world, &run).await, "sending 6 8 8 8 1");
        // right before sending it counts for everybody
        assert_eq!(left(world, &mail_of(world, &users[0], DigestKind::ClaimInfo, TODAY)).await, (0, 0));
        assert_eq!(stands(world, &users[0], &message).await, "left_out off");
    }
}

on_both! {
    async fn what_needs_an_answer_goes_daily_to_weekly_readers_where_policy_says_so_but_never_against_off(world: &World) {
        practices(world, &[ONE]).await;
        let (weekly, off) = (reader(world, "weekly", &[ONE]).await, reader(world, "off", &[ONE]).await);
        choose(world, &weekly, ONE, "claim", Cadence::Weekly).await;
        choose(world, &off, ONE, "claim", Cadence::Off).await;
        let day = |days: u32| Some(world.app.intake.ctx.now() + crate::access::DAY * days);
        let soon = publish_due(world, ONE, CLAIM_ASKS, true, day(2)).await;
        let later = publish_due(world, ONE, CLAIM_ASKS, true, day(60)).await;
        let informs = publish_due(world, ONE, CLAIM, false, day(2)).await;
        daily(world, TODAY).await;
        assert_eq!(stands(world, &weekly, &soon).await, "waiting", "off unless policy wants it");
        assert_eq!(stands(world, &off, &soon).await, "left_out off");
        let eager = with_policy(world, |plan| plan.digests.action_daily_when_due = true);
        eager.make_schedules().await.unwrap();
        open_run(world, &[Cadence::Daily], TOMORROW).await;
        while eager.plan_step().await.unwrap() {}
        assert_eq!(stands(world, &weekly, &soon).await, "mailed 2026-11-21 claim_action");
        for message in [&later, &informs] {
            assert_eq!(stands(world, &weekly, message).await, "waiting");
        }
    }
}

on_both! {
    async fn five_thousand_practices_of_one_user_are_one_mail(world: &World) {
        let ada = user(world, "ada").await;
        let many = "WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 5000)";
        let (name, brand) = ("'9' || SUBSTR(CAST(100000000 + i AS TEXT), 2)", world.settings.brand.as_str());
        let id = "'01980000-0000-7000-8000-' || SUBSTR(CAST(1000000000000 + i AS TEXT), 2)";
        let now = world.stamp().now();
        for statement in [
            format!("INSERT INTO tin (tin, uid, name) {many} SELECT {name}, 'uid-' || {name}, 'A practice' FROM n"),
            format!("INSERT INTO user_tin (user_id, tin, entitlements, version) {many} SELECT '{ada}', {name}, 'claim_search', 1 FROM n"),
            format!("INSERT INTO message (id, brand, mode, tin, category, type, published_at, online_until, notified)
                     {many} SELECT {id}, '{brand}', 'live', {name}, 'claim', 'notice', {now}, {now} + 100000000000000, 1 FROM n"),
            format!("INSERT INTO notification (user_id, message_id, brand, tin, category, kind, published_at, state)
                     {many} SELECT '{ada}', {id}, '{brand}', {name}, 'claim', 'claim_info', {now}, 'waiting' FROM n"),
        ] {
            assert_eq!(sql(world, &statement).await, 5_000);
        }
        let began = std::time::Instant::now();
        daily(world, TODAY).await;
        assert_eq!(mails(world).await, ["ada claim_info 2026-11-20 planned 5000 5000".to_owned()].into());
        let mail = mail_of(world, &ada, DigestKind::ClaimInfo, TODAY);
        sql(world, &format!("UPDATE user_tin SET entitlements = '' WHERE user_id = '{ada}' AND tin > '900001000'")).await;
        let told = submit(world, &mail).await;
        assert_eq!((told.items, told.letters, told.shown.len()), (1_000, 1_000, 40), "no more are named than policy says");
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    }
}

/// A small generator: the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }
}

/// What a run says that it did, as a dry run tells it: `user kind fate reason items letters`.
async fn done_since(world: &World, before: i64) -> Vec<String> {
    let mut conn = world.db().read().await.unwrap();
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT user_id || ' ' || kind || ' ' || CASE WHEN state = 'mailed' THEN 'mail' ELSE state END || ' '
                || COALESCE(reason, '-') || ' ' || CAST(COUNT(DISTINCT tin) AS TEXT) || ' ' || CAST(COUNT(*) AS TEXT)
         FROM notification WHERE decided_at > $1 GROUP BY user_id, kind, state, reason",
    )
    .bind(before)
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    let mut rows = rows;
    rows.sort();
    rows
}

on_both! {
    async fn ops_10_a_dry_run_says_what_the_run_then_does_and_changes_nothing(world: &World) {
        let tins = [ONE, TWO, "000000013"];
        practices(world, &tins).await;
        for seed in 1..=3_u64 {
            let mut dice = Dice(seed);
            let mut users: Vec<UserId> = Vec::new();
            for n in 0..12 {
                let name = format!("user-{seed}-{n}");
                let of: Vec<&str> = tins.iter().copied().filter(|_| dice.roll(3) > 0).collect();
                users.push(reader(world, &name, &of).await);
            }
            let mut messages = Vec::new();
            for _ in 0..14 {
                messages.push(publish(world, dice.one::<&str>(&tins), *dice.one(&[CLAIM, CLAIM_ASKS, PRECERT, APPEAL])).await);
            }
            for user in &users {
                for tin in tins {
                    let category = *dice.one(&["claim", "precertification"]);
                    match dice.roll(5) {
                        0 => choose(world, user, tin, category, Cadence::Weekly).await,
                        1 => choose(world, user, tin, category, Cadence::Off).await,
                        2 => grant(world, user, tin, &[*dice.one(&BOTH)]).await,
                        _ => {}
                    }
                }
                for message in &messages {
                    match dice.roll(8) {
                        0 => mark(world, user, message, Marking { read: Some(true), ..Marking::default() }).await,
                        1 => mark(world, user, message, Marking { deleted: true, ..Marking::default() }).await,
                        _ => {}
                    }
                }
            }
            world.app.access.set_disabled(Manager::Machine("test"), &users[0], true, Expected::Any).await.unwrap();
            addressed(world, &format!("user-{seed}-1"), None).await;
            sql(world, &format!("UPDATE message SET offline_at = 1 WHERE id = '{}'", messages[0])).await;
            for serves in [vec![Cadence::Daily], vec![Cadence::Daily, Cadence::Weekly], vec![Cadence::Weekly]] {
                let before = world.stamp().now();
                world.advance(Duration::from_secs(1));
                let set = serves.iter().copied().collect();
                let all = world.app.digests.dry_run(&world.settings.brand, &set, TODAY, None, 1_000).await.unwrap();
                assert!(done_since(world, before).await.is_empty(), "nothing is changed");
                // pages of three users together are the same
                let (mut paged, mut after) = (Vec::new(), None);
                loop {
                    let part = world.app.digests.dry_run(&world.settings.brand, &set, TODAY, after.as_ref(), 3).await.unwrap();
                    paged.extend(part.lines);
                    after = part.next;
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(paged, all.lines, "{seed} {serves:?}");
                let run = open_run(world, &serves, TODAY).await;
                let small = with_policy(world, |plan| plan.digests.users_per_step = 5);
                while small.plan_step().await.unwrap() {}
                let mut expected: Vec<String> = all.lines.iter().filter(|line| line.fate.as_str() != "waits").map(|line| {
                    let reason = line.reason.map_or("-", |reason| reason.as_str());
                    format!("{} {} {} {reason} {} {}", line.user, line.kind, line.fate, line.items, line.letters)
                }).collect();
                expected.sort();
                assert_eq!(done_since(world, before).await, expected, "{seed} {serves:?}");
                let sum = |fate: &str, of: fn(&lettercase::db::digest_plans::dry::Counted) -> i64| {
                    all.counts.iter().filter(|one| one.fate.as_str() == fate).map(of).sum::<i64>()
                };
                let (sent, counts) = (sum("mail", |one| one.users), run_stands(world, &run).await);
                let counts: Vec<i64> = counts.split(' ').skip(2).map(|n| n.parse().unwrap()).collect();
                let told = [sent, sum("mail", |one| one.items), sum("mail", |one| one.letters), sum("left_out", |one| one.letters)];
                assert_eq!(counts, told, "{seed} {serves:?}");
            }
        }
    }
}

on_both! {
    async fn whatever_is_changed_of_digests_behind_the_programs_back_makes_the_ledger_differ(world: &World) {
        const TABLES: [&str; 5] = ["message", "notification", "digest_mail", "digest_item", "digest_run"];
        practices(world, &[ONE, TWO]).await;
        let (ada, bob) = (reader(world, "ada", &[ONE, TWO]).await, reader(world, "bob", &[ONE]).await);
        choose(world, &bob, ONE, "precertification", Cadence::Weekly).await;
        let read = publish(world, ONE, CLAIM).await;
        publish(world, TWO, CLAIM).await;
        publish(world, ONE, PRECERT).await;
        mark(world, &ada, &read, Marking { read: Some(true), ..Marking::default() }).await;
        let run = daily(world, TODAY).await;
        let taken_out = mail_of(world, &bob, DigestKind::ClaimInfo, TODAY);
        mark(world, &bob, &read, Marking { read: Some(true), ..Marking::default() }).await;
        assert_eq!(left(world, &taken_out).await.1, 0);
        let counted = { let mut conn = world.db().read().await.unwrap(); lettercase::db::ledger::count(&mut conn).await.unwrap() };
        assert_eq!(counted.difference, 0, "{counted:#?}");
        let of = &counted.digests[0];
        let figures = [of.notified, of.waiting, of.mailed, of.left_out, of.taken_out, of.planned, of.told, of.left_out_by_runs];
        assert_eq!(figures, [5, 1, 2, 2, 1, 3, 2, 1], "{counted:#?}");
        for table in TABLES {
            sql(world, &format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}")).await;
        }
        let one = "SELECT MIN(message_id) FROM notification";
        for statement in [
            "DELETE FROM notification WHERE state = 'waiting'".to_owned(),
            format!("DELETE FROM notification WHERE message_id = ({one})"),
            "UPDATE notification SET state = 'waiting', mail_id = NULL WHERE state = 'mailed'".to_owned(),
            "UPDATE notification SET state = 'waiting', reason = NULL, mail_id = NULL WHERE state = 'left_out'".to_owned(),
            "UPDATE notification SET reason = NULL WHERE state = 'left_out'".to_owned(),
            "UPDATE notification SET mail_id = NULL WHERE state = 'mailed'".to_owned(),
            "UPDATE notification SET state = 'lost' WHERE state = 'waiting'".to_owned(),
            "UPDATE notification SET state = 'mailed', reason = NULL WHERE mail_id IS NOT NULL AND state = 'left_out'".to_owned(),
            "UPDATE message SET notified = notified + 1".to_owned(),
            "DELETE FROM message".to_owned(),
            "DELETE FROM digest_item WHERE mail_id = (SELECT MIN(mail_id) FROM digest_item)".to_owned(),
            "UPDATE digest_item SET letters = letters + 1".to_owned(),
            "UPDATE digest_item SET sent_letters = 7 WHERE sent_letters = 0".to_owned(),
            "DELETE FROM digest_mail WHERE id = (SELECT MIN(id) FROM digest_mail)".to_owned(),
            "UPDATE digest_mail SET items = items + 1".to_owned(),
            "UPDATE digest_mail SET run_id = 'another'".to_owned(),
            "DELETE FROM digest_run".to_owned(),
            format!("UPDATE digest_run SET users = users + 1 WHERE id = '{run}'"),
            format!("UPDATE digest_run SET left_out = left_out + 1 WHERE id = '{run}'"),
            "UPDATE digest_item SET carried = carried + 1".to_owned(),
            "UPDATE notification SET reason = 'was_off' WHERE state = 'left_out' AND mail_id IS NULL".to_owned(),
        ] {
            assert_ne!(sql(world, &statement).await, 0, "{statement}");
            let difference = { let mut conn = world.db().read().await.unwrap(); lettercase::db::ledger::count(&mut conn).await.unwrap().difference };
            assert_ne!(difference, 0, "{statement}");
            for table in TABLES {
                sql(world, &format!("DELETE FROM {table}")).await;
                sql(world, &format!("INSERT INTO {table} SELECT * FROM kept_{table}")).await;
            }
        }
    }
}
