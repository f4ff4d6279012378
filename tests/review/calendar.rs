//! The calendar against another implementation of it: Python's `zoneinfo` and numpy's business days.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use lettercase::model::calendar::{Calendar, CalendarPlan, WeekDay};
use serde_json::{Value, json};

use crate::support::tools;

const CASES: usize = 5_000;

/// Zones whose clocks change at different hours (at midnight, too), by half an hour, or never.
const ZONES: [&str; 9] = [
    "America/New_York",
    "America/Los_Angeles",
    "America/Phoenix",
    "Pacific/Honolulu",
    "America/Puerto_Rico",
    "America/Havana",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
];

const ORACLE: &str = r#"
import json, sys, calendar
from datetime import datetime, timedelta, timezone, date
from zoneinfo import ZoneInfo
import numpy as np

UTC, EPOCH = timezone.utc, datetime(1970, 1, 1, tzinfo=timezone.utc)

def start(day, zone):
    begin = datetime(day.year, day.month, day.day, tzinfo=zone)
    return int((begin.astimezone(UTC) - EPOCH).total_seconds())

for line in sys.stdin:
    case = json.loads(line)
    zone = ZoneInfo(case["zone"])
    mask = [int(i not in case["weekend"]) for i in range(7)]
    busy = lambda day, n, roll: np.busday_offset(day, n, roll=roll, weekmask=mask, holidays=case["holidays"]).item()
    day = (EPOCH + timedelta(seconds=case["at"])).astimezone(zone).date()
    days, months = case["days"], case["months"]
    due = busy(day, days, "backward")
    index = day.year * 12 + day.month - 1 + months
    year, month = index // 12, index % 12 + 1
    clamped = date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
    print(json.dumps([
        str(day), start(day, zone), start(day + timedelta(days=1), zone), str(due), start(due + timedelta(days=1), zone),
        str(busy(day, -days, "forward")), str(day + timedelta(days=case["plain"])), str(clamped),
        bool(np.is_busday(day, weekmask=mask, holidays=case["holidays"])),
    ]))
"#;

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

struct Case {
    told: Value,
    calendar: Calendar,
    at: Timestamp,
    days: u16,
    plain: i32,
    months: i32,
}

impl Case {
    fn by(dice: &mut Dice) -> Self {
        let zone = ZONES[usize::try_from(dice.roll(ZONES.len() as u64)).unwrap()];
        let second = 1_735_689_600 + i64::try_from(dice.roll(6 * 365 * 86_400)).unwrap();
        let at = Timestamp::from_second(second).unwrap();
        let from = at.to_zoned(TimeZone::UTC).date();
        let holidays: Vec<Date> = (0..dice.roll(12))
            .map(|_| from.saturating_add(jiff::Span::new().days(i64::try_from(dice.roll(60)).unwrap() - 20)))
            .collect();
        let weekend: Vec<u64> = match dice.roll(4) {
            0 => vec![4, 5],
            1 => vec![6],
            _ => vec![5, 6],
        };
        let days = u16::try_from(dice.roll(40) + 1).unwrap();
        let (plain, months) =
            (i32::try_from(dice.roll(800)).unwrap() - 400, i32::try_from(dice.roll(60)).unwrap() - 30);
        let plan = CalendarPlan {
            zone: zone.to_owned(),
            weekend: weekend.iter().map(|day| WeekDay::ALL[usize::try_from(*day).unwrap()]).collect(),
            known_until: Date::MAX,
            holidays: holidays.iter().map(|day| (*day, String::new())).collect::<BTreeMap<_, _>>(),
        };
        let told = json!({
            "zone": zone, "at": second, "holidays": holidays, "weekend": weekend, "days": days, "plain": plain,
            "months": months,
        });
        Self { told, calendar: plan.resolve(TimeZone::get(zone).unwrap()).unwrap(), at, days, plain, months }
    }

    fn answer(&self) -> Value {
        let calendar = &self.calendar;
        let day = calendar.local_day(self.at);
        json!([
            day,
            calendar.start_of_day(day).as_second(),
            calendar.end_of_day(day).as_second(),
            calendar.add_business_days(day, self.days.into()),
            calendar.business_deadline(self.at, self.days).as_second(),
            calendar.add_business_days(day, -i32::from(self.days)),
            calendar.add_days(day, self.plain),
            calendar.add_months(day, self.months),
            calendar.is_business_day(day),
        ])
    }
}

#[test]
fn dis_10_the_calendar_agrees_with_another_implementation() {
    let mut dice = Dice(0x5eed_cafe_f00d);
    let cases: Vec<Case> = (0..CASES).map(|_| Case::by(&mut dice)).collect();
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
    let lines: Vec<String> = cases.iter().map(|case| case.told.to_string()).collect();
    let writer = std::thread::spawn(move || lines.iter().try_for_each(|line| writeln!(input, "{line}")));
    let done = oracle.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(done.status.success(), "the oracle failed: is numpy there? run `make deps`");
    let answers: Vec<Value> =
        String::from_utf8(done.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), CASES);
    for (case, expected) in cases.iter().zip(answers) {
        assert_eq!(case.answer(), expected, "{}", case.told);
    }
}
