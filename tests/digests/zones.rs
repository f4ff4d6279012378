//! When schedules run, against another implementation: Python's `zoneinfo`, over all zones that both know.

use std::io::Write;
use std::process::{Command, Stdio};

use jiff::civil::Date;
use jiff::tz;
use lettercase::digests::timing::{Timing, read_time};
use lettercase::intake::plan::load_calendar;
use lettercase::model::calendar::WeekDay;
use lettercase::model::digest::{Cadence, CatchUp, OnHoliday};
use serde_json::{Value, json};

use crate::support::tools;

const FIRST: &str = "2020-01-01";
const LAST: &str = "2030-01-01";

/// Times near which clocks change somewhere, and times of day.
const TIMES: [&str; 8] = ["00:00", "00:30", "01:30", "02:15", "02:30", "03:00", "07:00", "23:30"];

/// For each row it answers the instants of the days around each change of the clocks, and of every so-manieth other day: a
/// time that is left out becomes the first instant after the gap, one that is shown twice the first of them.
const ORACLE: &str = r#"
import json, sys
from datetime import datetime, timedelta, timezone, date
from zoneinfo import ZoneInfo, available_timezones

UTC = timezone.utc
known = available_timezones()

def offset(instant, zone):
    return instant.astimezone(zone).utcoffset()

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
    hour, minute = map(int, row["at"].split(":"))
    day, last, answers = date.fromisoformat(row["first"]), date.fromisoformat(row["last"]), {}
    while day < last:
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        shifts = len({offset(noon + timedelta(days=n), zone) for n in (-1, 0, 1)}) > 1
        if shifts or day.toordinal() % row["every"] == 0:
            wanted = datetime(day.year, day.month, day.day, hour, minute)
            answers[str(day)] = int(instant(zone, wanted).timestamp())
        day += timedelta(days=1)
    print(json.dumps(answers))
"#;

#[test]
fn ops_10_every_local_day_has_one_run_at_the_instant_that_another_implementation_finds() {
    let calendar = load_calendar(None).unwrap().plan;
    let names: Vec<String> = tz::db().available().map(|name| name.as_str().to_owned()).collect();
    assert!(names.len() > 400, "{}", names.len());
    // each zone with two of the times, so that each time meets a quarter of the zones
    let rows: Vec<(String, &str)> = names
        .iter()
        .enumerate()
        .flat_map(|(at, name)| [(name.clone(), TIMES[at % 8]), (name.clone(), TIMES[(at + 3) % 8])])
        .collect();
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
    // both count while the other does
    let ours: Vec<_> = rows
        .iter()
        .map(|(zone, at)| {
            let timing = Timing {
                at: read_time(at).unwrap(),
                zone: zone.clone(),
                weekdays: WeekDay::ALL.iter().copied().collect(),
                on_holiday: OnHoliday::Run,
                catch_up: CatchUp::Once,
                grace_minutes: 0,
                spread_minutes: 0,
            };
            let Ok(rhythm) = timing.resolve(Cadence::Daily, &calendar) else { return Vec::new() };
            let (first, last): (Date, Date) = (FIRST.parse().unwrap(), LAST.parse().unwrap());
            let days = first.series(jiff::Span::new().days(1)).take_while(|day| *day < last);
            let runs: Vec<_> = days.map(|day| (day, rhythm.instant(day))).collect();
            let instants: Vec<_> = runs.iter().map(|(day, at)| at.unwrap_or_else(|| panic!("{zone} {day}"))).collect();
            assert!(instants.is_sorted_by(|a, b| a < b), "{zone} {at}: a day comes before the one before it");
            runs
        })
        .collect();
    let done = oracle.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(done.status.success(), "the oracle failed");
    let text = String::from_utf8(done.stdout).unwrap();
    let (mut zones, mut compared) = (0, 0);
    for (((zone, at), runs), line) in rows.iter().zip(&ours).zip(text.lines()) {
        let Value::Object(expected) = serde_json::from_str(line).unwrap() else { continue };
        // names that jiff alone does not take as a zone's
        if runs.is_empty() {
            continue;
        }
        zones += 1;
        for (day, instant) in runs {
            let Some(expected) = expected.get(&day.to_string()) else { continue };
            assert_eq!(instant.map(|at| at.as_second()), expected.as_i64(), "{zone} {day} {at}");
            compared += 1;
        }
    }
    assert!(zones > 800 && compared > 100_000, "{zones} zones, {compared} instants");
}
