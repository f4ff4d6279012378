use super::*;
use crate::model::calendar::CalendarPlan;

const CALENDAR: &str = include_str!("../../pipelines/calendar.toml");
const ON_TIME: SignedDuration = SignedDuration::from_mins(10);

fn calendar() -> Calendar {
    let plan: CalendarPlan = toml::from_str(CALENDAR).unwrap();
    plan.resolve(TimeZone::get(&plan.zone).unwrap()).unwrap()
}

fn timing(at: &str, zone: &str, weekdays: &[WeekDay]) -> Timing {
    Timing {
        at: read_time(at).unwrap(),
        zone: zone.to_owned(),
        weekdays: weekdays.iter().copied().collect(),
        on_holiday: OnHoliday::Run,
        catch_up: CatchUp::Once,
        grace_minutes: 720,
        spread_minutes: 60,
    }
}

fn every_day(at: &str, zone: &str) -> Timing {
    timing(at, zone, WeekDay::ALL)
}

const WORKDAYS: [WeekDay; 5] =
    [WeekDay::Monday, WeekDay::Tuesday, WeekDay::Wednesday, WeekDay::Thursday, WeekDay::Friday];
const NEW_YORK: &str = "America/New_York";

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Runs as `period instant`.
fn told(runs: &[Occurrence]) -> Vec<String> {
    runs.iter().map(|run| format!("{} {}", run.period, run.at)).collect()
}

#[test]
fn ops_10_a_day_has_one_instant_whatever_its_clocks_do() {
    let calendar = calendar();
    for (zone, day_of, time, expected, why) in [
        (NEW_YORK, "2027-03-14", "02:30", "2027-03-14T07:00:00Z", "left out: right after the gap"),
        (NEW_YORK, "2027-03-14", "02:00", "2027-03-14T07:00:00Z", "the first minute that is left out"),
        (NEW_YORK, "2027-03-14", "03:00", "2027-03-14T07:00:00Z", "the first one after the gap"),
        (NEW_YORK, "2027-03-14", "01:59", "2027-03-14T06:59:00Z", "the last one before it"),
        (NEW_YORK, "2026-11-01", "01:30", "2026-11-01T05:30:00Z", "shown twice: the first"),
        (NEW_YORK, "2026-11-01", "02:00", "2026-11-01T07:00:00Z", "shown once, after the fold"),
        (NEW_YORK, "2026-11-23", "07:00", "2026-11-23T12:00:00Z", "winter"),
        (NEW_YORK, "2026-07-01", "07:00", "2026-07-01T11:00:00Z", "summer"),
        ("America/Phoenix", "2027-03-14", "02:30", "2027-03-14T09:30:00Z", "its clocks never change"),
        ("Pacific/Honolulu", "2027-03-14", "02:30", "2027-03-14T12:30:00Z", "its clocks never change"),
        ("America/Puerto_Rico", "2026-11-01", "01:30", "2026-11-01T05:30:00Z", "its clocks never change"),
        ("America/Halifax", "2027-03-14", "02:30", "2027-03-14T06:00:00Z", "left out"),
        ("America/Halifax", "2026-11-01", "01:30", "2026-11-01T04:30:00Z", "shown twice"),
        ("Europe/London", "2027-03-28", "01:30", "2027-03-28T01:00:00Z", "left out"),
        ("Europe/London", "2026-10-25", "01:30", "2026-10-25T00:30:00Z", "shown twice"),
        ("Australia/Sydney", "2026-10-04", "02:30", "2026-10-03T16:00:00Z", "left out"),
        ("Australia/Sydney", "2027-04-04", "02:30", "2027-04-03T15:30:00Z", "shown twice"),
        ("Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-03T15:30:00Z", "half an hour is left out"),
        ("Australia/Lord_Howe", "2026-10-04", "02:30", "2026-10-03T15:30:00Z", "the first one after it"),
        ("Australia/Lord_Howe", "2027-04-04", "01:45", "2027-04-03T14:45:00Z", "half an hour is shown twice"),
        ("Asia/Kathmandu", "2026-11-23", "07:00", "2026-11-23T01:15:00Z", "a quarter of an hour aside"),
        ("Asia/Beirut", "2026-03-29", "00:00", "2026-03-28T22:00:00Z", "the day begins with a gap"),
        ("Asia/Beirut", "2026-03-29", "00:30", "2026-03-28T22:00:00Z", "the day begins with a gap"),
        ("America/Nuuk", "2027-03-27", "23:30", "2027-03-28T01:00:00Z", "the gap ends with the day"),
        ("America/Nuuk", "2027-03-28", "23:30", "2027-03-29T00:30:00Z", "the day after has a run of its own"),
        ("Antarctica/Casey", "2020-10-04", "01:30", "2020-10-03T16:01:00Z", "three hours are left out"),
    ] {
        let timing = every_day(time, zone);
        let rhythm = timing.resolve(Cadence::Daily, &calendar).unwrap();
        assert_eq!(rhythm.instant(day(day_of)), Some(at(expected)), "{zone} {day_of} {time}: {why}");
    }
    let timing = every_day("07:00", "Pacific/Apia");
    let rhythm = timing.resolve(Cadence::Daily, &calendar).unwrap();
    assert_eq!(rhythm.instant(day("2011-12-30")), None, "the zone left that day out");
    assert!(rhythm.instant(day("2011-12-31")).is_some() && rhythm.instant(day("2011-12-29")).is_some());
}

#[test]
fn ops_10_a_weekly_run_whose_only_time_is_left_out_runs_after_the_gap() {
    let calendar = calendar();
    for (zone, time, weekday, after, expected) in [
        (NEW_YORK, "02:30", WeekDay::Sunday, "2027-03-13T00:00:00Z", "2027-W10 2027-03-14T07:00:00Z"),
        ("America/Nuuk", "23:30", WeekDay::Saturday, "2027-03-27T00:00:00Z", "2027-W12 2027-03-28T01:00:00Z"),
    ] {
        let timing = timing(time, zone, &[weekday]);
        let rhythm = timing.resolve(Cadence::Weekly, &calendar).unwrap();
        assert_eq!(told(&rhythm.next(at(after), 1)), [expected], "{zone}");
    }
}

#[test]
fn ops_10_holidays_are_run_on_left_out_or_moved_to_the_next_business_day_never_two_in_one_period() {
    let calendar = calendar();
    // Thanksgiving is Thursday, November 26
    for (cadence, on_holiday, weekdays, expected) in [
        (Cadence::Daily, OnHoliday::Run, &WORKDAYS[..], &["2026-11-25", "2026-11-26", "2026-11-27", "2026-11-30"][..]),
        (Cadence::Daily, OnHoliday::Skip, &WORKDAYS, &["2026-11-25", "2026-11-27", "2026-11-30", "2026-12-01"]),
        (Cadence::Daily, OnHoliday::Next, &WORKDAYS, &["2026-11-25", "2026-11-27", "2026-11-30", "2026-12-01"]),
        (
            Cadence::Daily,
            OnHoliday::Next,
            &[WeekDay::Thursday],
            &["2026-11-27", "2026-12-03", "2026-12-10", "2026-12-17"],
        ),
        (
            Cadence::Daily,
            OnHoliday::Skip,
            &[WeekDay::Thursday],
            &["2026-12-03", "2026-12-10", "2026-12-17", "2026-12-24"],
        ),
        // weekends are no holidays: who names them wants them
        (
            Cadence::Daily,
            OnHoliday::Next,
            &[WeekDay::Saturday],
            &["2026-11-28", "2026-12-05", "2026-12-12", "2026-12-19"],
        ),
        (Cadence::Weekly, OnHoliday::Next, &[WeekDay::Thursday], &["2026-W48", "2026-W49", "2026-W50", "2026-W51"]),
        (Cadence::Weekly, OnHoliday::Skip, &[WeekDay::Thursday], &["2026-W49", "2026-W50", "2026-W51", "2026-W52"]),
    ] {
        let timing = Timing { on_holiday, ..timing("07:00", NEW_YORK, weekdays) };
        let rhythm = timing.resolve(cadence, &calendar).unwrap();
        let runs = rhythm.next(at("2026-11-25T00:00:00Z"), 4);
        let periods: Vec<_> = runs.iter().map(|run| run.period.to_string()).collect();
        assert_eq!(periods, expected, "{cadence} {on_holiday} {weekdays:?}");
    }
    // a weekly run that is moved out of its week is still that week's, and the next week has its own
    let friday = Timing { on_holiday: OnHoliday::Next, ..timing("07:00", NEW_YORK, &[WeekDay::Friday]) };
    let rhythm = friday.resolve(Cadence::Weekly, &calendar).unwrap();
    assert_eq!(
        told(&rhythm.next(at("2026-12-20T00:00:00Z"), 3)),
        ["2026-W52 2026-12-28T12:00:00Z", "2026-W53 2027-01-04T12:00:00Z", "2027-W01 2027-01-08T12:00:00Z"],
        "Christmas and New Year's Day are Fridays"
    );
}

#[test]
fn ops_11_weeks_are_those_of_iso_and_periods_sort_as_their_texts_do() {
    for (text, first) in [
        ("2026-W53", "2026-12-28"),
        ("2027-W01", "2027-01-04"),
        ("2026-W01", "2025-12-29"),
        ("2026-11-23", "2026-11-23"),
    ] {
        let period: Period = text.parse().unwrap();
        assert_eq!((period.to_string().as_str(), period.first_day()), (text, day(first)));
    }
    let weeks: Vec<Period> =
        ["2025-W52", "2026-W09", "2026-W10", "2026-W53", "2027-W01"].map(|w| w.parse().unwrap()).into();
    assert!(weeks.is_sorted() && weeks.iter().map(ToString::to_string).collect::<Vec<_>>().is_sorted());
    for text in ["", "2026-W", "W48", "2026-13-01", "x"] {
        assert!(text.parse::<Period>().is_err(), "{text}");
    }
}

/// Decisions as `period decision`.
fn decided(timing: &Timing, cadence: Cadence, known: Option<&str>, since: &str, now: &str) -> Vec<String> {
    let calendar = calendar();
    let rhythm = timing.resolve(cadence, &calendar).unwrap();
    let known = Known { period: known.map(|text| text.parse().unwrap()), since: at(since), paused: false };
    let due = rhythm.due(&known, at(now), ON_TIME);
    due.iter()
        .map(|due| {
            let decision = match due.decision {
                Decision::Run => "run",
                Decision::Hold => "hold",
                Decision::Skip(reason) => reason.as_str(),
            };
            format!("{} {decision}", due.occurrence.period)
        })
        .collect()
}

#[test]
fn ops_11_what_is_due_is_opened_once_and_what_was_missed_by_the_schedules_word() {
    let made = "2026-11-19T00:00:00Z";
    let once = timing("07:00", NEW_YORK, &WORKDAYS);
    let skip = Timing { catch_up: CatchUp::Skip, ..once.clone() };
    let hold = Timing { catch_up: CatchUp::Hold, ..once.clone() };
    let monday = Timing { grace_minutes: 4_320, ..timing("07:00", NEW_YORK, &[WeekDay::Monday]) };
    let (daily, weekly) = (Cadence::Daily, Cadence::Weekly);
    // 07:00 is 12:00 UTC
    for (what, timing, cadence, known, now, expected) in [
        ("a second early", &once, daily, Some("2026-11-20"), "2026-11-23T11:59:59Z", &[][..]),
        ("in its second", &once, daily, Some("2026-11-20"), "2026-11-23T12:00:00Z", &["2026-11-23 run"]),
        ("again", &once, daily, Some("2026-11-23"), "2026-11-23T12:00:01Z", &[]),
        ("the clock goes back an hour and comes again", &once, daily, Some("2026-11-23"), "2026-11-23T12:00:00Z", &[]),
        ("the clock goes back three days", &once, daily, Some("2026-11-20"), "2026-11-20T12:00:00Z", &[]),
        ("over a weekend nothing was missed", &once, daily, Some("2026-11-20"), "2026-11-22T20:00:00Z", &[]),
        (
            "ten minutes late is on time, by any word",
            &skip,
            daily,
            Some("2026-11-20"),
            "2026-11-23T12:10:00Z",
            &["2026-11-23 run"],
        ),
        ("within the grace", &once, daily, Some("2026-11-20"), "2026-11-24T00:00:00Z", &["2026-11-23 run"]),
        ("after it", &once, daily, Some("2026-11-20"), "2026-11-24T00:00:01Z", &["2026-11-23 too_late"]),
        (
            "what was missed is left out",
            &skip,
            daily,
            Some("2026-11-20"),
            "2026-11-23T13:00:00Z",
            &["2026-11-23 missed"],
        ),
        (
            "what was missed waits for a person",
            &hold,
            daily,
            Some("2026-11-20"),
            "2026-11-23T13:00:00Z",
            &["2026-11-23 hold"],
        ),
        ("however late", &hold, daily, Some("2026-11-20"), "2026-11-24T11:00:00Z", &["2026-11-23 hold"]),
        (
            "days of outage are caught up with once",
            &once,
            daily,
            Some("2026-11-20"),
            "2026-11-25T15:00:00Z",
            &["2026-11-23 merged", "2026-11-24 merged", "2026-11-25 run"],
        ),
        (
            "or once too late",
            &once,
            daily,
            Some("2026-11-20"),
            "2026-11-26T11:00:00Z",
            &["2026-11-23 merged", "2026-11-24 merged", "2026-11-25 too_late"],
        ),
        (
            "or held once",
            &hold,
            daily,
            Some("2026-11-20"),
            "2026-11-25T15:00:00Z",
            &["2026-11-23 merged", "2026-11-24 merged", "2026-11-25 hold"],
        ),
        (
            "what runs on time takes what was missed with it",
            &skip,
            daily,
            Some("2026-11-20"),
            "2026-11-25T12:00:30Z",
            &["2026-11-23 merged", "2026-11-24 merged", "2026-11-25 run"],
        ),
        ("a new one has nothing to catch up with", &once, daily, None, "2026-11-19T11:00:00Z", &[]),
        ("but its first run", &once, daily, None, "2026-11-19T12:00:00Z", &["2026-11-19 run"]),
        ("a week", &monday, weekly, Some("2026-W47"), "2026-11-23T12:00:00Z", &["2026-W48 run"]),
        ("a week, late", &monday, weekly, Some("2026-W47"), "2026-11-25T12:00:00Z", &["2026-W48 run"]),
        ("a week, too late", &monday, weekly, Some("2026-W47"), "2026-11-27T12:00:00Z", &["2026-W48 too_late"]),
        ("a week, again", &monday, weekly, Some("2026-W48"), "2026-11-25T12:00:00Z", &[]),
    ] {
        assert_eq!(decided(timing, cadence, known, made, now), expected, "{what}");
    }
}

#[test]
fn ops_10_a_finished_period_is_not_run_again_by_another_time_zone_or_weekday() {
    let now = "2026-11-23T23:00:00Z";
    let edited = "2026-11-23T13:00:00Z";
    let known = Some("2026-11-23");
    for (what, timing, expected) in [
        ("later on the same day", timing("17:00", NEW_YORK, &WORKDAYS), &[][..]),
        ("earlier on the same day", timing("05:00", NEW_YORK, &WORKDAYS), &[]),
        ("where the same day comes later", timing("12:00", "Pacific/Honolulu", &WORKDAYS), &[]),
        ("where it is tomorrow already", timing("04:00", "Asia/Kathmandu", &WORKDAYS), &["2026-11-24 run"]),
        ("on other days only", timing("17:00", NEW_YORK, &[WeekDay::Tuesday]), &[]),
    ] {
        assert_eq!(decided(&timing, Cadence::Daily, known, edited, now), expected, "{what}");
    }
    // and in a week, on another day
    let friday = timing("17:00", NEW_YORK, &[WeekDay::Friday]);
    assert!(decided(&friday, Cadence::Weekly, Some("2026-W48"), edited, "2026-11-27T23:00:00Z").is_empty());
    // what the new time had before it held is not made up for
    let earlier = timing("05:00", NEW_YORK, &WORKDAYS);
    assert!(decided(&earlier, Cadence::Daily, Some("2026-11-20"), edited, now).is_empty());
}

#[test]
fn ops_11_a_paused_schedule_leaves_its_periods_out() {
    let (calendar, timing) = (calendar(), timing("07:00", NEW_YORK, &WORKDAYS));
    let rhythm = timing.resolve(Cadence::Daily, &calendar).unwrap();
    let known = Known { period: None, since: at("2026-11-20T00:00:00Z"), paused: true };
    let due = rhythm.due(&known, at("2026-11-23T12:00:00Z"), ON_TIME);
    assert_eq!(due.iter().map(|due| due.decision).collect::<Vec<_>>(), [Decision::Skip(RunReason::Paused); 2]);
}

#[test]
fn ops_11_an_outage_of_years_is_told_of_its_last_one() {
    let since = "2020-01-01T00:00:00Z";
    let decided = decided(&every_day("07:00", NEW_YORK), Cadence::Daily, None, since, "2026-11-23T12:00:00Z");
    assert_eq!(decided.len(), 366);
    assert_eq!(decided.last().map(String::as_str), Some("2026-11-23 run"));
}

#[test]
fn ops_10_a_look_back_has_each_run_with_the_one_before_it() {
    let (calendar, timing) = (calendar(), timing("07:00", NEW_YORK, &[WeekDay::Monday]));
    let rhythm = timing.resolve(Cadence::Weekly, &calendar).unwrap();
    let runs = rhythm.simulate(at("2026-11-23T12:00:00Z"), 14);
    let expected = [("2026-11-09T12:00:00Z", "2026-11-16T12:00:00Z"), ("2026-11-16T12:00:00Z", "2026-11-23T12:00:00Z")];
    assert_eq!(runs, expected.map(|(before, run)| (at(before), at(run))));
}

#[test]
fn cor_33_days_are_compared_in_the_zone_of_who_asks() {
    let (calendar, timing) = (calendar(), timing("07:00", "Asia/Kathmandu", &[WeekDay::Monday]));
    let rhythm = timing.resolve(Cadence::Weekly, &calendar).unwrap();
    // Monday morning there is Sunday evening in New York
    let new_york = TimeZone::get(NEW_YORK).unwrap();
    assert!(rhythm.on_day(day("2026-11-22"), &new_york).is_some());
    assert!(rhythm.on_day(day("2026-11-23"), &new_york).is_none());
    assert!(rhythm.on_day(day("2026-11-23"), rhythm.zone()).is_some());
}

#[test]
fn ops_10_a_timing_that_makes_no_sense_is_refused_by_its_field() {
    let good = timing("07:00", NEW_YORK, &[WeekDay::Monday]);
    for (timing, cadence, field) in [
        (Timing { zone: "America/Nowhere".into(), ..good.clone() }, Cadence::Daily, "zone"),
        (Timing { zone: "america/new_york".into(), ..good.clone() }, Cadence::Daily, "zone"),
        (Timing { zone: String::new(), ..good.clone() }, Cadence::Daily, "zone"),
        (Timing { weekdays: BTreeSet::new(), ..good.clone() }, Cadence::Daily, "weekdays"),
        (timing("07:00", NEW_YORK, &WORKDAYS), Cadence::Weekly, "weekdays"),
        (Timing { at: Time::constant(7, 0, 1, 0), ..good.clone() }, Cadence::Daily, "at"),
        (Timing { grace_minutes: 10_081, ..good.clone() }, Cadence::Daily, "grace_minutes"),
        (Timing { spread_minutes: 721, ..good.clone() }, Cadence::Daily, "spread_minutes"),
        (good.clone(), Cadence::Off, "cadence"),
    ] {
        let refused = timing.check(cadence).map_err(|error| error.to_string());
        assert!(refused.as_ref().is_err_and(|error| error.starts_with(field)), "{field}: {refused:?}");
    }
    assert_eq!(good.check(Cadence::Weekly), Ok(()));
    assert_eq!(Timing { zone: "UTC".into(), ..good }.check(Cadence::Daily), Ok(()));
}

#[test]
fn a_timing_reads_back_as_it_was_written_and_takes_no_other_form_of_a_time() {
    let timing = timing("07:00", NEW_YORK, &[WeekDay::Friday, WeekDay::Monday]);
    let text = serde_json::to_string(&timing).unwrap();
    assert!(text.contains(r#""at":"07:00""#) && text.contains(r#"["monday","friday"]"#), "{text}");
    assert_eq!(serde_json::from_str::<Timing>(&text).unwrap(), timing);
    for bad in ["7:00", "07:00:00", "24:00", "07:60", "+7:00", "0700", "", "07:0a"] {
        let text = text.replace("07:00", bad);
        let error = serde_json::from_str::<Timing>(&text).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("not a time of the day as HH:MM"), "{bad}: {error}");
    }
    assert!(serde_json::from_str::<Timing>(&text.replacen('{', r#"{"more":1,"#, 1)).is_err());
}
