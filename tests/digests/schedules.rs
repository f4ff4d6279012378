//! OPS-10, OPS-11: when digests go, who changes that, and what becomes of each period.

use std::sync::Arc;

use lettercase::db::digest_runs::{self, Run};
use lettercase::db::{Db, Stamp, events};
use lettercase::digests::Digests;
use lettercase::digests::schedules::{ScheduleError, Standing, Ticked};
use lettercase::digests::timing::{Timing, read_time};
use lettercase::model::calendar::WeekDay;
use lettercase::model::digest::{CatchUp, OnHoliday, RunState};
use lettercase::outside::context::{Context, ManualClock};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::{good, run};
use crate::crash::site::Site;
use crate::http::{Server, json as read};
use crate::on_both;
use crate::support::{On, World, block_on};

const DAILY: &str = "meridian-daily";
const WEEKLY: &str = "meridian-weekly";
/// A Friday, after its run.
const MADE: &str = "2026-11-20T15:00:00Z";
/// Monday's run: 07:00 in New York, daily and weekly.
const MONDAY: &str = "2026-11-23T12:00:00Z";
const TUESDAY: &str = "2026-11-24T12:00:00Z";

/// A node of the world's installation whose clock shows that instant.
fn node(world: &World, at: &str) -> Digests {
    let clock = Arc::new(ManualClock::at(at.parse().unwrap()));
    Digests { ctx: Context::with_clock(clock), ..world.app.digests.clone() }
}

async fn tick(world: &World, at: &str) -> Ticked {
    node(world, at).tick().await.unwrap()
}

/// The runs of a schedule, oldest first, as `period state serves` and the reason.
async fn history(world: &World, name: &str) -> Vec<String> {
    let told = |run: &Run| {
        let serves: Vec<&str> = run.serves.iter().map(|cadence| cadence.as_str()).collect();
        let reason = run.reason.map_or_else(String::new, |reason| format!(" {reason}"));
        format!("{} {} {}{reason}", run.period, run.state, serves.join("+"))
    };
    runs(world, name).await.iter().map(told).collect()
}

async fn runs(world: &World, name: &str) -> Vec<Run> {
    let schedule = world.app.digests.schedule(name).await.unwrap().schedule;
    let mut conn = world.db().read().await.unwrap();
    let mut runs = digest_runs::history(&mut conn, &schedule.id, None, None, 1_000).await.unwrap();
    runs.reverse();
    runs
}

async fn standing(world: &World, name: &str) -> Standing {
    world.app.digests.schedule(name).await.unwrap()
}

/// Edits a schedule and confirms it, at an instant.
async fn edit(world: &World, name: &str, at: &str, change: impl FnOnce(&mut Timing)) -> Standing {
    let node = node(world, at);
    let mut timing = standing(world, name).await.timing;
    change(&mut timing);
    let stamp = Stamp { ctx: &node.ctx, actor: "staff:one" };
    let proposed = node.propose(stamp, name, None, &timing).await.unwrap();
    let revision = proposed.proposal.unwrap().0.revision;
    node.confirm(stamp, name, None, revision).await.unwrap()
}

async fn pause(world: &World, name: &str, at: &str, paused: bool) -> Result<Standing, ScheduleError> {
    let node = node(world, at);
    node.set_paused(Stamp { ctx: &node.ctx, actor: "staff:one" }, name, None, paused).await
}

/// The types of the events about schedules and runs, in their order.
async fn told(world: &World) -> Vec<String> {
    world.settle().await;
    let mut conn = world.db().read().await.unwrap();
    let all = events::after(&mut conn, 0, 10_000).await.unwrap();
    let of_ours = |kind: &String| kind.starts_with("schedule.") || kind.starts_with("digest_run.");
    all.into_iter().map(|(event, _)| event.kind).filter(of_ours).collect()
}

on_both! {
    async fn ops_10_a_brand_has_both_schedules_from_its_first_tick_on_as_policy_says(world: &World) {
        for _ in 0..3 {
            assert_eq!(tick(world, MADE).await, Ticked::default(), "a new schedule has nothing to catch up with");
        }
        let all = world.app.digests.schedules().await.unwrap();
        let names: Vec<&str> = all.iter().map(|one| one.schedule.name.as_str()).collect();
        assert_eq!(names, [DAILY, WEEKLY]);
        let daily = &all[0].timing;
        assert_eq!((daily.at, daily.zone.as_str()), (read_time("07:00").unwrap(), "America/New_York"));
        assert_eq!(all[1].timing.weekdays, [WeekDay::Monday].into());
        assert_eq!(told(world).await, ["schedule.made", "schedule.made"]);
    }
}

on_both! {
    async fn ops_11_nodes_that_tick_at_once_open_each_period_once(world: &World) {
        // also the first tick of all
        let first: Vec<_> = (0..6).map(|_| node(world, MADE)).collect();
        futures::future::try_join_all(first.iter().map(Digests::tick)).await.unwrap();
        assert_eq!(told(world).await, ["schedule.made", "schedule.made"]);
        let nodes: Vec<_> = (0..6).map(|_| node(world, MONDAY)).collect();
        let ticked = futures::future::try_join_all(nodes.iter().map(Digests::tick)).await.unwrap();
        assert_eq!(ticked.iter().map(|ticked| ticked.opened).sum::<u32>(), 2, "{ticked:?}");
        assert_eq!(history(world, DAILY).await, ["2026-11-23 planning daily+weekly"]);
        assert_eq!(history(world, WEEKLY).await, ["2026-W48 planning daily+weekly"]);
        let kinds = told(world).await;
        assert_eq!(&kinds[2..], ["digest_run.planning", "digest_run.planning"], "who lost the race left nothing");
    }
}

on_both! {
    async fn ops_11_clocks_that_go_back_and_forth_and_restarts_run_no_period_twice(world: &World) {
        tick(world, MADE).await;
        let mut opened = 0;
        for at in [
            "2026-11-23T11:59:59Z", MONDAY, "2026-11-23T11:59:58Z", MONDAY, "2026-11-22T12:00:00Z", "2026-11-20T12:00:00Z",
            "2026-11-23T12:00:01Z", "2026-11-23T13:00:00Z",
        ] {
            opened += tick(world, at).await.opened;
        }
        assert_eq!(opened, 2, "the daily and the weekly one");
        // ahead by two days, and back: what was left out then is not run later
        assert_eq!(tick(world, "2026-11-25T12:00:00Z").await, Ticked { opened: 1, held: 0, skipped: 1 });
        assert_eq!(tick(world, TUESDAY).await, Ticked::default());
        assert_eq!(tick(world, "2026-11-25T12:00:00Z").await, Ticked::default());
        assert_eq!(
            history(world, DAILY).await,
            ["2026-11-23 planning daily+weekly", "2026-11-24 skipped daily merged", "2026-11-25 planning daily"]
        );
        // a clock that was years ahead for a moment does not stop it for years
        tick(world, "2031-01-06T12:00:00Z").await;
        assert_eq!(tick(world, "2026-11-27T12:00:00Z").await.opened, 1, "Thanksgiving's goes with Friday's");
    }
}

on_both! {
    async fn ops_11_an_outage_of_days_is_caught_up_with_once_by_the_schedules_word(world: &World) {
        tick(world, MADE).await;
        let back = "2026-11-25T15:00:00Z";
        assert_eq!(tick(world, back).await, Ticked { opened: 2, held: 0, skipped: 2 });
        assert_eq!(
            history(world, DAILY).await,
            ["2026-11-23 skipped daily merged", "2026-11-24 skipped daily merged", "2026-11-25 planning daily+weekly"]
        );
        assert_eq!(history(world, WEEKLY).await, ["2026-W48 planning daily+weekly"], "within its grace of three days");
        let days: Vec<String> = runs(world, WEEKLY).await.iter().map(|run| run.day.to_string()).collect();
        assert_eq!(days, ["2026-11-25"], "its mails are of the day on which they are made");

        // the next outage: from Friday on, and nobody comes before Tuesday
        edit(world, DAILY, "2026-11-27T15:00:00Z", |timing| timing.catch_up = CatchUp::Skip).await;
        edit(world, WEEKLY, "2026-11-27T15:00:00Z", |timing| timing.grace_minutes = 60).await;
        assert_eq!(tick(world, "2026-12-01T15:00:00Z").await, Ticked { opened: 0, held: 0, skipped: 3 });
        assert_eq!(history(world, DAILY).await[4..], ["2026-11-30 skipped daily merged", "2026-12-01 skipped daily missed"]);
        assert_eq!(history(world, WEEKLY).await[1..], ["2026-W49 skipped weekly too_late"]);
        assert_eq!(tick(world, "2026-12-02T12:00:00Z").await.opened, 1, "and what waited goes with the next");
    }
}

on_both! {
    async fn ops_11_a_run_that_is_late_can_wait_for_a_person(world: &World) {
        tick(world, MADE).await;
        edit(world, DAILY, MADE, |timing| timing.catch_up = CatchUp::Hold).await;
        assert_eq!(tick(world, "2026-11-24T15:00:00Z").await, Ticked { opened: 1, held: 1, skipped: 1 });
        assert_eq!(
            history(world, DAILY).await,
            ["2026-11-23 skipped daily merged", "2026-11-24 held daily late"]
        );
        // the weekly one that is caught up with on that day serves nobody whose own run waits
        assert_eq!(history(world, WEEKLY).await, ["2026-W48 planning weekly"]);
        let held = runs(world, DAILY).await.pop().unwrap();
        let evening = node(world, "2026-11-24T23:00:00Z");
        let stamp = Stamp { ctx: &evening.ctx, actor: "staff:one" };
        let stale = evening.decide_held(stamp, &held.id, Some(held.version + 1), true).await;
        assert!(matches!(stale, Err(ScheduleError::Conflict("run"))));
        let approved = evening.decide_held(stamp, &held.id, Some(held.version), true).await.unwrap();
        assert_eq!((approved.state, approved.day.to_string().as_str()), (RunState::Planning, "2026-11-24"));
        assert_eq!(approved.serves.len(), 2, "the weekly one ran on that day");
        let again = evening.decide_held(stamp, &held.id, None, false).await;
        assert!(matches!(again, Err(ScheduleError::State(_))), "{again:?}");

        // one that nobody decides about is taken over by the next, held or not; one that is refused is left out
        tick(world, "2026-11-25T15:00:00Z").await;
        tick(world, "2026-11-27T15:00:00Z").await;
        let last = runs(world, DAILY).await.pop().unwrap();
        evening.decide_held(stamp, &last.id, None, false).await.unwrap();
        assert_eq!(
            history(world, DAILY).await[2..],
            ["2026-11-25 skipped daily merged", "2026-11-27 skipped daily refused"]
        );
        let late = node(world, "2026-11-30T15:00:00Z");
        late.tick().await.unwrap();
        let last = runs(world, DAILY).await.pop().unwrap();
        assert_eq!(last.state, RunState::Held);
        // by the time a person comes, its successor is due
        let later = node(world, "2026-12-01T12:00:01Z");
        let gone = later.decide_held(Stamp { ctx: &later.ctx, actor: "staff:one" }, &last.id, Some(last.version), true).await;
        assert!(matches!(gone, Err(ScheduleError::Conflict(_))), "{gone:?}");
        assert_eq!(tick(world, "2026-12-01T12:00:02Z").await.opened, 1);
        assert_eq!(history(world, DAILY).await[4..], ["2026-11-30 skipped daily merged", "2026-12-01 planning daily"]);
    }
}

on_both! {
    async fn ops_10_an_edit_holds_with_the_next_tick_and_runs_no_finished_period_again(world: &World) {
        tick(world, MADE).await;
        tick(world, MONDAY).await;
        let later = edit(world, DAILY, "2026-11-23T15:00:00Z", |timing| timing.at = read_time("17:00").unwrap()).await;
        assert_eq!((later.schedule.revision.revision, later.schedule.version), (2, 3));
        assert_eq!(tick(world, "2026-11-23T22:00:00Z").await, Ticked::default(), "Monday has had its run");
        assert_eq!(tick(world, TUESDAY).await, Ticked::default());
        assert_eq!(tick(world, "2026-11-24T22:00:00Z").await.opened, 1);
        // another zone, where it is Wednesday already; and back
        edit(world, DAILY, "2026-11-24T22:30:00Z", |timing| {
            timing.zone = "Asia/Kathmandu".into();
            timing.at = read_time("05:00").unwrap();
        }).await;
        assert_eq!(tick(world, "2026-11-24T23:15:00Z").await.opened, 1, "05:00 in Kathmandu");
        edit(world, DAILY, "2026-11-25T01:00:00Z", |timing| {
            timing.zone = "America/New_York".into();
            timing.at = read_time("07:00").unwrap();
        }).await;
        assert_eq!(tick(world, "2026-11-25T12:00:00Z").await, Ticked::default(), "Wednesday has had its run");
        // the week has had its run, too: on no other day again
        edit(world, WEEKLY, "2026-11-25T12:00:00Z", |timing| timing.weekdays = [WeekDay::Friday].into()).await;
        assert_eq!(tick(world, "2026-11-27T12:00:00Z").await.opened, 1, "the daily one");
        assert_eq!(history(world, WEEKLY).await.len(), 1);
        assert_eq!(tick(world, "2026-12-04T12:00:00Z").await.opened, 2);
        let periods: Vec<String> = runs(world, DAILY).await.into_iter().map(|run| run.period).collect();
        let unique: std::collections::BTreeSet<_> = periods.iter().collect();
        assert_eq!(unique.len(), periods.len(), "{periods:?}");
    }
}

on_both! {
    async fn ops_10_what_is_due_when_an_edit_is_confirmed_still_goes_by_the_old_revision(world: &World) {
        tick(world, MADE).await;
        // no node has looked since
        edit(world, DAILY, "2026-11-23T12:00:01Z", |timing| timing.at = read_time("09:00").unwrap()).await;
        assert_eq!(history(world, DAILY).await, ["2026-11-23 planning daily+weekly"]);
        assert_eq!(runs(world, DAILY).await[0].revision, 1);
        assert_eq!(tick(world, "2026-11-23T14:00:00Z").await, Ticked::default(), "the weekly one went with it");
        assert_eq!(history(world, WEEKLY).await, ["2026-W48 planning daily+weekly"]);
        assert_eq!(tick(world, TUESDAY).await, Ticked::default());
        assert_eq!(tick(world, "2026-11-24T14:00:00Z").await.opened, 1);
        assert_eq!(runs(world, DAILY).await[1].revision, 2);
    }
}

on_both! {
    async fn ops_10_a_period_whose_time_an_edit_moved_into_the_past_is_told_of(world: &World) {
        tick(world, MADE).await;
        let at = "2026-11-23T11:00:00Z";
        edit(world, WEEKLY, at, |timing| timing.at = read_time("05:00").unwrap()).await;
        assert_eq!(history(world, WEEKLY).await, ["2026-W48 skipped weekly edited"]);
        edit(world, DAILY, at, |timing| timing.at = read_time("09:00").unwrap()).await;
        assert_eq!(history(world, DAILY).await.len(), 0, "its time is still to come");
        tick(world, "2026-11-23T14:00:00Z").await;
        assert_eq!(history(world, DAILY).await, ["2026-11-23 planning daily"]);
        tick(world, "2026-11-30T10:00:00Z").await;
        assert_eq!(history(world, WEEKLY).await[1..], ["2026-W49 planning daily+weekly"]);
    }
}

on_both! {
    async fn ops_10_edits_are_fenced_and_can_take_a_second_administrator(world: &World) {
        tick(world, MADE).await;
        let mut one = node(world, "2026-11-20T16:00:00Z");
        let mut plan = (*one.plan).clone();
        plan.schedules.second_administrator = true;
        one.plan = Arc::new(plan);
        let by = |actor| Stamp { ctx: &one.ctx, actor };
        let timing = Timing { at: read_time("08:30").unwrap(), ..standing(world, DAILY).await.timing };
        let stale = one.propose(by("staff:one"), DAILY, Some(2), &timing).await;
        assert!(matches!(stale, Err(ScheduleError::Conflict("schedule"))));
        let unknown = Timing { zone: "America/Nowhere".into(), ..timing.clone() };
        let refused = one.propose(by("staff:one"), DAILY, Some(1), &unknown).await;
        assert!(matches!(refused, Err(ScheduleError::Timing(_))), "{refused:?}");
        let same = one.propose(by("staff:one"), DAILY, Some(1), &standing(world, DAILY).await.timing).await;
        assert!(matches!(same, Err(ScheduleError::State(_))), "it says so already");
        assert!(matches!(one.propose(by("staff:one"), "nobody-daily", None, &timing).await, Err(ScheduleError::NoSchedule)));

        let kept = one.propose(by("staff:one"), DAILY, Some(1), &timing).await.unwrap();
        assert_eq!((kept.schedule.version, kept.schedule.revision.revision), (2, 1), "the old one holds");
        let second = one.propose(by("staff:two"), DAILY, Some(2), &timing).await;
        assert!(matches!(second, Err(ScheduleError::State(_))), "one edit waits at a time");
        for actor in ["staff:one", "staff:one via key:some", "cli"] {
            let own = one.confirm(by(actor), DAILY, Some(2), 2).await;
            assert!(matches!(own, Err(ScheduleError::SecondPerson)), "{actor}");
        }
        assert!(matches!(one.confirm(by("staff:two"), DAILY, Some(1), 2).await, Err(ScheduleError::Conflict(_))));
        assert!(matches!(one.confirm(by("staff:two"), DAILY, Some(2), 7).await, Err(ScheduleError::Conflict(_))));
        let held = one.confirm(by("staff:two"), DAILY, Some(2), 2).await.unwrap();
        assert_eq!((held.schedule.revision.revision, held.schedule.version, held.timing), (2, 3, timing.clone()));
        assert_eq!(held.schedule.revision.confirmed_by.as_deref(), Some("staff:two"));
        assert!(held.proposal.is_none());

        // back to the first: a new revision, by the same rule
        assert!(matches!(one.roll_back(by("staff:two"), DAILY, None, 9).await, Err(ScheduleError::NoRevision)));
        assert!(matches!(one.roll_back(by("staff:two"), DAILY, None, 2).await, Err(ScheduleError::State(_))));
        let back = one.roll_back(by("staff:two"), DAILY, Some(3), 1).await.unwrap();
        assert_eq!(back.proposal.as_ref().and_then(|(edit, _)| edit.rolls_back), Some(1));
        assert!(matches!(one.confirm(by("staff:two"), DAILY, None, 3).await, Err(ScheduleError::SecondPerson)));
        let held = one.confirm(by("staff:one"), DAILY, None, 3).await.unwrap();
        assert_eq!((held.schedule.revision.revision, held.timing.at), (3, read_time("07:00").unwrap()));

        // an edit that is given up never holds
        one.propose(by("staff:one"), DAILY, None, &timing).await.unwrap();
        one.drop_edit(by("staff:one"), DAILY, None, 4).await.unwrap();
        assert!(matches!(one.confirm(by("staff:two"), DAILY, None, 4).await, Err(ScheduleError::State(_))));
        assert!(matches!(one.roll_back(by("staff:two"), DAILY, None, 4).await, Err(ScheduleError::State(_))), "it never held");
        let kinds = told(world).await;
        let (made, changes) = kinds.split_at(2);
        assert_eq!(made, ["schedule.made"; 2]);
        let wanted = ["proposed", "confirmed", "proposed", "confirmed", "proposed", "dropped"];
        assert_eq!(changes, wanted.map(|change| format!("schedule.{change}")));
    }
}

on_both! {
    async fn ops_11_a_paused_schedule_leaves_its_periods_out_until_it_is_resumed(world: &World) {
        tick(world, MADE).await;
        pause(world, DAILY, "2026-11-22T12:00:00Z", true).await.unwrap();
        let again = pause(world, DAILY, "2026-11-22T12:00:00Z", true).await;
        assert!(matches!(again, Err(ScheduleError::State(_))));
        assert_eq!(tick(world, MONDAY).await, Ticked { opened: 1, held: 0, skipped: 1 });
        assert_eq!(history(world, WEEKLY).await, ["2026-W48 planning weekly"], "a paused one is served by no other");
        // a person may still ask
        let tuesday = node(world, "2026-11-24T10:00:00Z");
        let extra = tuesday.run_now(Stamp { ctx: &tuesday.ctx, actor: "staff:one" }, DAILY).await.unwrap();
        assert_eq!((extra.kind.as_str(), extra.period.as_str(), extra.serves.len()), ("extra", "2026-11-24", 1));
        // no node has looked since: what passed while it was paused is not caught up with
        pause(world, DAILY, "2026-11-25T15:00:00Z", false).await.unwrap();
        assert_eq!(tick(world, "2026-11-25T15:00:01Z").await, Ticked::default());
        assert_eq!(
            history(world, DAILY).await,
            [
                "2026-11-23 skipped daily paused", "2026-11-24 planning daily", "2026-11-24 skipped daily paused",
                "2026-11-25 skipped daily paused",
            ]
        );
        assert_eq!(tick(world, "2026-11-27T12:00:00Z").await.opened, 1);
    }
}

on_both! {
    async fn cor_33_where_both_cadences_run_on_a_day_each_run_of_it_serves_both(world: &World) {
        tick(world, MADE).await;
        edit(world, WEEKLY, MADE, |timing| timing.at = read_time("09:00").unwrap()).await;
        tick(world, MONDAY).await;
        assert_eq!(history(world, DAILY).await, ["2026-11-23 planning daily+weekly"], "the first carries both");
        tick(world, "2026-11-23T14:00:00Z").await;
        assert_eq!(history(world, WEEKLY).await, ["2026-W48 planning daily+weekly"], "the later one, too");
        tick(world, TUESDAY).await;
        assert_eq!(history(world, DAILY).await[1..], ["2026-11-24 planning daily"]);
        // a holiday that moves the weekly run: Thanksgiving's goes on Friday
        edit(world, WEEKLY, "2026-11-30T10:00:00Z", |timing| timing.weekdays = [WeekDay::Friday].into()).await;
        edit(world, DAILY, "2026-12-20T10:00:00Z", |timing| timing.on_holiday = OnHoliday::Skip).await;
        for day in 20..=28 {
            tick(world, &format!("2026-12-{day}T12:00:00Z")).await;
            tick(world, &format!("2026-12-{day}T14:00:00Z")).await;
        }
        let daily = history(world, DAILY).await;
        assert_eq!(
            daily[daily.len() - 5..],
            [
                "2026-12-21 planning daily", "2026-12-22 planning daily", "2026-12-23 planning daily",
                "2026-12-24 planning daily", "2026-12-28 planning daily+weekly",
            ],
            "Christmas is a Friday: the daily run is left out, the weekly one goes on Monday"
        );
        assert_eq!(history(world, WEEKLY).await.last().unwrap(), "2026-W52 planning daily+weekly");
    }
}

/// Rows of notifications and choices: user, brand, kind, when.
async fn notify(db: &Db, rows: &[(&str, &str, &str, &str)]) {
    let mut tx = db.begin().await.unwrap();
    for (at, (user, brand, kind, published)) in rows.iter().enumerate() {
        // the choice for claims counts for appeals, too
        let category = match *user {
            _ if kind.starts_with("precert") => "precertification",
            "off-reader" => "appeal",
            _ => "claim",
        };
        sqlx::query(
            "INSERT INTO notification (user_id, message_id, brand, tin, category, kind, published_at, state)
             VALUES ($1, $2, $3, '123456789', $4, $5, $6, 'waiting')",
        )
        .bind(*user)
        .bind(format!("message-{at}"))
        .bind(*brand)
        .bind(category)
        .bind(*kind)
        .bind(published.parse::<jiff::Timestamp>().unwrap().as_microsecond())
        .execute(&mut *tx)
        .await
        .unwrap();
    }
    for (user, cadence) in [("weekly-reader", "weekly"), ("off-reader", "off")] {
        sqlx::query(
            "INSERT INTO digest_choice (user_id, tin, category, cadence, source, changed_at, version)
             VALUES ($1, '123456789', 'claim', $2, 'user', 0, 1)",
        )
        .bind(user)
        .bind(cadence)
        .execute(&mut *tx)
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
}

on_both! {
    async fn ops_10_a_preview_tells_what_an_edit_would_have_done_beside_what_was_done(world: &World) {
        tick(world, MADE).await;
        let (thursday, saturday) = ("2026-11-19T15:00:00Z", "2026-11-21T12:00:00Z");
        notify(world.db(), &[
            ("a", "meridian", "claim_info", thursday),
            ("a", "meridian", "claim_info", thursday),
            ("a", "meridian", "precert_info", thursday),
            ("b", "meridian", "claim_info", thursday),
            ("a", "meridian", "claim_info", saturday),
            ("weekly-reader", "meridian", "claim_info", saturday),
            ("weekly-reader", "meridian", "precert_info", "2026-11-23T12:00:00Z"),
            ("off-reader", "meridian", "claim_info", thursday),
            ("a", "other", "claim_info", thursday),
        ]).await;
        let node = node(world, "2026-11-23T15:00:00Z");
        let daily = node.schedule(DAILY).await.unwrap();
        let evening = Timing {
            at: read_time("17:00").unwrap(),
            weekdays: WeekDay::ALL.iter().copied().collect(),
            spread_minutes: 2,
            ..daily.timing.clone()
        };
        let told = node.preview(&daily, &evening).await.unwrap();
        // Thursday's letters go on Friday morning; Saturday's, and the precertification's for whom nothing was chosen, on Monday
        let now = &told.in_force;
        assert_eq!((now.runs.len(), now.mails, now.letters), (20, 5, 6), "weekdays, Veterans Day's a day later: {now:?}");
        assert_eq!((now.most_mails, now.peak_mails_per_minute), (3, 1));
        assert_eq!((now.delay.p50_minutes, now.delay.p90_minutes, now.delay.max_minutes), (Some(1_260), Some(2_880), Some(2_880)));
        // in the evenings they wait hours only; Monday evening is still to come
        let edited = &told.effect;
        assert_eq!((edited.runs.len(), edited.mails, edited.letters), (29, 4, 5), "{edited:?}");
        assert_eq!((edited.most_mails, edited.peak_mails_per_minute), (3, 2));
        assert_eq!((edited.delay.p50_minutes, edited.delay.p90_minutes, edited.delay.max_minutes), (Some(420), Some(600), Some(600)));
        assert_eq!(told.next.len(), 10);
        assert_eq!((told.next[0].period.as_str(), told.next[0].local.as_str()), ("2026-11-23", "2026-11-23T17:00:00-05:00"));
        let weekly = node.schedule(WEEKLY).await.unwrap();
        let told = node.preview(&weekly, &weekly.timing).await.unwrap();
        assert_eq!((told.in_force.mails, told.in_force.letters), (1, 1), "its own readers only");
        assert_eq!(told.effect, told.in_force);
        let nonsense = Timing { weekdays: WeekDay::ALL.iter().copied().collect(), ..weekly.timing.clone() };
        assert!(matches!(node.preview(&weekly, &nonsense).await, Err(ScheduleError::Timing(_))));
        // once Monday has had its run, a preview promises it no second one
        tick(world, MONDAY).await;
        let daily = node.schedule(DAILY).await.unwrap();
        assert_eq!(node.preview(&daily, &evening).await.unwrap().next[0].period, "2026-11-24");
        // these stand for messages that are not there: the ledger would ask for them
        let mut tx = world.db().begin().await.unwrap();
        sqlx::query("DELETE FROM notification").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
}

type Came = (u16, String, Value);

async fn send(server: &Server, method: Method, path: &str, etag: Option<&str>, body: Value) -> Came {
    let mut request = server.client.request(method, server.url(path));
    if let Some(etag) = etag {
        request = request.header("If-Match", etag);
    }
    if !body.is_null() {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    let etag = response.headers().get("etag").map(|etag| etag.to_str().unwrap().to_owned()).unwrap_or_default();
    (response.status().as_u16(), etag, read(&response.text().await.unwrap()))
}

on_both! {
    async fn ops_10_schedules_are_read_edited_paused_and_run_over_http(world: &World) {
        world.app.digests.tick().await.unwrap();
        let server = Server::start(&world.app).await;
        let get = async |path: &str| send(&server, Method::GET, path, None, Value::Null).await;
        let post = async |path: &str, etag: Option<&str>, body: Value| send(&server, Method::POST, path, etag, body).await;
        let code = |came: &Came| (came.0, came.2["code"].as_str().unwrap_or_default().to_owned());
        let (status, _, all) = get("/v1/schedules").await;
        assert_eq!((status, &all["schedules"][0]["name"], &all["schedules"][1]["name"]), (200, &json!(DAILY), &json!(WEEKLY)));
        let at = |what: &str| format!("/v1/schedules/{DAILY}{what}");
        let (status, etag, daily) = get(&at("")).await;
        assert_eq!((status, etag.as_str()), (200, "\"1\""));
        assert_eq!(daily["next"]["local"], "2026-11-23T07:00:00-05:00", "{daily}");
        assert_eq!(daily["revisions"].as_array().map(Vec::len), Some(1));
        assert_eq!(code(&get("/v1/schedules/nobody").await), (404, "not_found".into()));
        let (_, _, next) = get(&at("/next?count=3")).await;
        assert_eq!(next["next"].as_array().map(Vec::len), Some(3), "{next}");
        assert_eq!(code(&get(&at("/next?count=0")).await).0, 400);

        let mut timing = daily["in_force"]["timing"].clone();
        timing["at"] = json!("18:15");
        let (status, _, preview) = post(&at("/preview"), None, json!({ "timing": timing })).await;
        assert_eq!((status, &preview["days"], &preview["effect"]["mails"]), (200, &json!(30), &json!(0)), "{preview}");
        assert_eq!(preview["next"][0]["local"], "2026-11-20T18:15:00-05:00");
        let mut wrong = timing.clone();
        wrong["zone"] = json!("planted~zone");
        let refused = post(&at("/preview"), None, json!({ "timing": wrong })).await;
        assert_eq!(code(&refused), (422, "unprocessable".into()));
        assert!(refused.2["detail"].as_str().unwrap().starts_with("zone") && !refused.2.to_string().contains('~'));
        wrong["at"] = json!("25~00");
        let refused = post(&at("/preview"), None, json!({ "timing": wrong })).await;
        assert!(refused.0 == 400 && refused.2["detail"].as_str().unwrap().contains("not a time of the day"), "{refused:?}");

        let edit = json!({ "timing": timing });
        assert_eq!(code(&post(&at("/edits"), None, edit.clone()).await), (428, "version_needed".into()));
        assert_eq!(code(&post(&at("/edits"), Some("\"7\""), edit.clone()).await), (412, "version_conflict".into()));
        let (status, etag, kept) = post(&at("/edits"), Some("\"1\""), edit.clone()).await;
        assert_eq!((status, &kept["proposed"]["revision"], &kept["in_force"]["revision"]), (201, &json!(2), &json!(1)), "{kept}");
        assert_eq!(kept["preview"]["next"].as_array().map(Vec::len), Some(10));
        assert_eq!(code(&post(&at("/edits"), Some(&etag), edit).await), (409, "wrong_state".into()));
        assert_eq!(code(&post(&at("/edits/2/confirm"), None, Value::Null).await).0, 428);
        let (status, etag, held) = post(&at("/edits/2/confirm"), Some(&etag), Value::Null).await;
        assert_eq!((status, &held["in_force"]["timing"]["at"], &held["proposed"]), (200, &json!("18:15"), &Value::Null), "{held}");
        let (status, etag, back) = post(&at("/rollback"), Some(&etag), json!({ "revision": 1 })).await;
        assert_eq!((status, &back["proposed"]["rolls_back"]), (201, &json!(1)));
        let (status, etag, _) = post(&at("/edits/3/drop"), Some(&etag), Value::Null).await;
        assert_eq!(status, 200);
        let (status, etag, paused) = post(&at("/pause"), Some(&etag), Value::Null).await;
        assert_eq!((status, &paused["next"]), (200, &Value::Null));
        assert!(paused["paused"]["by"].as_str().is_some_and(|by| by.starts_with("key:")));
        assert_eq!(code(&post(&at("/resume"), Some("\"1\""), Value::Null).await), (412, "version_conflict".into()));
        assert_eq!(post(&at("/resume"), Some(&etag), Value::Null).await.0, 200);

        let (status, _, extra) = post(&at("/run"), None, Value::Null).await;
        assert_eq!((status, &extra["kind"], &extra["serves"], &extra["mails"]), (201, &json!("extra"), &json!(["daily"]), &json!(0)));
        world.advance(std::time::Duration::from_secs(8 * 3_600 + 15 * 60));
        world.app.digests.tick().await.unwrap();
        let (_, _, page) = get(&at("/runs?limit=1")).await;
        assert_eq!((&page["runs"][0]["period"], &page["runs"][0]["kind"]), (&json!("2026-11-20"), &json!("scheduled")), "{page}");
        let (_, _, rest) = get(&at(&format!("/runs?limit=1&cursor={}", page["next"].as_str().unwrap()))).await;
        assert_eq!((&rest["runs"][0]["id"], &rest["next"]), (&extra["id"], &Value::Null), "{rest}");
        assert_eq!(get(&at("/runs?state=held")).await.2["runs"], json!([]));

        let run = format!("/v1/digest-runs/{}", extra["id"].as_str().unwrap());
        assert_eq!(code(&post(&format!("{run}/approve"), Some("\"1\""), Value::Null).await), (409, "wrong_state".into()));
        let nobody = format!("/v1/digest-runs/{}/skip", world.stamp().ctx.new_id());
        assert_eq!(code(&post(&nobody, Some("\"1\""), Value::Null).await), (404, "not_found".into()));
        assert_eq!(code(&post("/v1/digest-runs/x/skip", Some("\"1\""), Value::Null).await), (404, "not_found".into()));
    }
}

#[test]
fn ops_10_schedules_are_read_and_edited_at_the_command_line() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let listed = good(&site, &["schedules", "list"]).await;
        assert!(listed.out.contains("meridian-daily") && listed.out.contains("07:00 America/New_York"), "{listed:?}");
        let next = good(&site, &["schedules", "next", DAILY, "--count", "3", "--json"]).await.json();
        assert_eq!(next.as_array().map(Vec::len), Some(3));
        let preview = good(&site, &["schedules", "preview", DAILY, "--at", "18:00", "--weekdays", "saturday"]).await;
        assert!(preview.out.contains("18:00:00") && preview.out.contains("in force"), "{preview:?}");
        let edited = good(&site, &["schedules", "edit", DAILY, "--at", "18:00"]).await;
        assert!(edited.out.contains("schedules confirm meridian-daily 2"), "{edited:?}");
        let held = good(&site, &["schedules", "confirm", DAILY, "2", "--json"]).await.json();
        assert_eq!((&held["in_force"]["revision"], &held["in_force"]["timing"]["at"]), (&json!(2), &json!("18:00")));
        good(&site, &["schedules", "rollback", DAILY, "1"]).await;
        good(&site, &["schedules", "drop", DAILY, "3"]).await;
        assert!(good(&site, &["schedules", "pause", DAILY]).await.out.contains("paused since"));
        assert!(good(&site, &["schedules", "resume", DAILY]).await.out.contains("next "));
        let shown = good(&site, &["schedules", "show", DAILY]).await;
        assert!(["active", "past", "dropped"].iter().all(|state| shown.out.contains(state)), "{shown:?}");
        let ran = good(&site, &["schedules", "run", DAILY, "--json"]).await.json();
        assert_eq!((&ran[0]["kind"], &ran[0]["asked_by"]), (&json!("extra"), &json!("cli")));
        let history = good(&site, &["schedules", "history", DAILY, "--json"]).await.json();
        assert_eq!(history[0]["id"], ran[0]["id"]);
        let run_id = ran[0]["id"].as_str().unwrap();
        for (args, told) in [
            (vec!["schedules", "show", "nobody"], "no such schedule"),
            (vec!["schedules", "edit", DAILY], "says so already"),
            (vec!["schedules", "edit", DAILY, "--at", "7am"], "HH:MM"),
            (vec!["schedules", "edit", DAILY, "--zone", "Nowhere"], "zone"),
            (vec!["schedules", "edit", WEEKLY, "--weekdays", "monday,friday"], "weekly"),
            (vec!["schedules", "confirm", DAILY, "9"], "no edit waits"),
            (vec!["schedules", "approve", run_id], "does not wait"),
        ] {
            let refused = run(&site, &args).await;
            assert!(refused.code == 2 && refused.err.contains(told), "{args:?}: {refused:?}");
        }
    });
}
