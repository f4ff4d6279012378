//! When schedules run, against another implementation: Python's `zoneinfo`, over all zones that both know.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use jiff::civil::Date;
use jiff::tz;
use lettercase::digests::timing::{Timing, read_time};
use lettercase::intake::plan::load_calendar;
use lettercase::model::calendar::WeekDay;
use lettercase::model::digest::{Cadence, CatchUp, OnHoliday};
use serde_json::json;

use crate::support::tools;

const FIRST: &str = "2020-01-01";
const LAST: &str = "2030-01-01";

/// Times near which clocks change somewhere, and times of day.
const TIMES: [&str; 8] = ["00:00", "00:30", "01:30", "02:15", "02:30", "03:00", "07:00", "23:30"];

/// For each zone and each of its times it answers the instants of the days around each change of the clocks, and of every
/// so-manieth other day: a time that is left out becomes the first instant after the gap, one that is shown twice the first.
const ORACLE: &str = r#"
import json, sys
from datetime import datetime, timedelta, timezone, date
from zoneinfo import ZoneInfo, available_timezones

UTC, DAY = timezone.utc, timedelta(days=1)
known = available_timezones()

def end_of_gap(zone, wanted):
    # the first instant whose local time is at or after what is left out, by halving
    low, high = wanted.replace(tzinfo=UTC) - timedelta(hours=27), wanted.replace(tzinfo=UTC) + timedelta(hours=27)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        if middle.astimezone(zone).replace(tzinfo=None) >= wanted:
            high = middle
        else:
            low = middle
    return high

def instant(zone, wanted):
    first = wanted.replace(tzinfo=zone, fold=0)
    back = first.astimezone(UTC).astimezone(zone)
    if back.replace(tzinfo=None) == wanted:
        return first.astimezone(UTC)
    return end_of_gap(zone, wanted)

for line in sys.stdin:
    row = json.loads(line)
    if row["zone"] not in known:
        print("null")
        continue
    zone = ZoneInfo(row["zone"])
    first, last = date.fromisoformat(row["first"]), date.fromisoformat(row["last"])
    noon, days, before = datetime(first.year, first.month, first.day, 12, tzinfo=UTC), set(), None
    for n in range((last - first).days):
        offset = noon.astimezone(zone).utcoffset()
        if before not in (None, offset):
            days.update(n + m for m in (-2, -1, 0, 1))
        if n % row["every"] == 0:
            days.add(n)
        before, noon = offset, noon + DAY
    answers = []
    for at in row["at"]:
        hour, minute = map(int, at.split(":"))
        begin = datetime(first.year, first.month, first.day, hour, minute)
        answers.append({str((begin + n * DAY).date()): int(instant(zone, begin + n * DAY).timestamp()) for n in days})
    print(json.dumps(answers))
"#;

#[test]
fn ops_10_every_local_day_has_one_run_at_the_instant_that_another_implementation_finds() {
    let calendar = load_calendar(None).unwrap().plan;
    let names: Vec<String> = tz::db().available().map(|name| name.as_str().to_owned()).collect();
    assert!(names.len() > 400, "{}", names.len());
    // each zone with two of the times, so that each time meets a quarter of the zones
    let rows: Vec<(String, [&str; 2])> =
        names.iter().enumerate().map(|(at, name)| (name.clone(), [TIMES[at % 8], TIMES[(at + 3) % 8]])).collect();
    let python = tools().join("venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make deps`", python.display());
    let mut oracle = Command::new(python)
        .args(["-I", "-c", ORACLE])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = oracle.stdin.take().unwrap();
    let lines: Vec<String> = rows
        .iter()
        .map(|(zone, at)| json!({ "zone": zone, "at": at, "first": FIRST, "last": LAST, "every": 61 }).to_string())
        .collect();
    let writer = std::thread::spawn(move || lines.iter().try_for_each(|line| writeln!(input, "{line}")));
    let done = oracle.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(done.status.success(), "the oracle failed");
    let text = String::from_utf8(done.stdout).unwrap();
    let (mut zones, mut compared) = (0, 0);
    for ((zone, times), line) in rows.iter().zip(text.lines()) {
        // names that Python does not know, or that jiff itself has for no zone
        let Some(answers) = serde_json::from_str::<Option<Vec<BTreeMap<Date, i64>>>>(line).unwrap() else { continue };
        let timings: Vec<Timing> = times.iter().map(|at| every_day(at, zone)).collect();
        let Ok(rhythms) =
            timings.iter().map(|timing| timing.resolve(Cadence::Daily, &calendar)).collect::<Result<Vec<_>, _>>()
        else {
            continue;
        };
        zones += 1;
        for ((rhythm, expected), at) in rhythms.iter().zip(&answers).zip(times) {
            let ours: BTreeMap<Date, i64> =
                expected.keys().filter_map(|day| Some((*day, rhythm.instant(*day)?.as_second()))).collect();
            assert_eq!(&ours, expected, "{zone} {at}");
            assert!(ours.values().is_sorted_by(|a, b| a < b), "{zone} {at}: two days at once");
            compared += ours.len();
        }
    }
    assert!(zones > 400 && compared > 50_000, "{zones} zones, {compared} instants");
}

#[test]
fn ops_10_a_list_of_runs_has_every_day_of_years_once() {
    let calendar = load_calendar(None).unwrap().plan;
    for (zone, at) in [("America/New_York", "02:30"), ("America/Nuuk", "23:30"), ("Africa/Cairo", "00:00")] {
        let timing = every_day(at, zone);
        let rhythm = timing.resolve(Cadence::Daily, &calendar).unwrap();
        let runs = rhythm.between("2026-01-01T12:00:00Z".parse().unwrap(), "2028-01-01T12:00:00Z".parse().unwrap());
        let periods: BTreeSet<_> = runs.iter().map(|run| run.period).collect();
        assert_eq!((runs.len(), periods.len()), (730, 730), "{zone}");
    }
}

fn every_day(at: &str, zone: &str) -> Timing {
    Timing {
        at: read_time(at).unwrap(),
        zone: zone.to_owned(),
        weekdays: WeekDay::ALL.iter().copied().collect(),
        on_holiday: OnHoliday::Run,
        catch_up: CatchUp::Once,
        grace_minutes: 0,
        spread_minutes: 0,
    }
}
