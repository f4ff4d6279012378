//! Schedules of digests, for an operator beside a running node: when they go, what an edit would do, what became of runs.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{CliError, Common, Environment, code, output};
use crate::app::{open_db, open_digests};
use crate::db::digest_plans::dry::{Counted, Line};
use crate::db::digest_runs::{self, Run};
use crate::db::schedules;
use crate::db::{DbError, Stamp};
use crate::digests::Digests;
use crate::digests::preview::{EditPreview, Effect, NextRun};
use crate::digests::rehearsal::Rehearsed;
use crate::digests::schedules::{ScheduleError, Standing, timing_of};
use crate::digests::timing::{Timing, read_time};
use crate::http::api::rehearsals::{RehearsedRun, explanation};
use crate::http::api::schedules::{RevisionView, RunView, ScheduleView};
use crate::model::calendar::WeekDay;
use crate::model::digest::{CatchUp, OnHoliday, RunState};
use crate::model::event::AT_COMMAND_LINE;
use crate::model::ids::{RunId, Tin};
use crate::outside::context::Context;

/// A schedule, by what people call it.
#[derive(Args)]
pub(super) struct Named {
    #[command(flatten)]
    common: Common,
    /// Brand and cadence: meridian-daily.
    name: String,
}

/// What of a timing is to be another.
#[derive(Args)]
pub(super) struct Changes {
    /// The local time, HH:MM.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<jiff::civil::Time>,
    /// The time zone, by its IANA name.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Days of the week, joined by commas: monday,friday.
    #[arg(long, value_delimiter = ',', value_parser = code::<WeekDay>, value_name = "DAY,…")]
    weekdays: Option<Vec<WeekDay>>,
    /// run, skip or next: what it does on a holiday.
    #[arg(long, value_parser = code::<OnHoliday>)]
    on_holiday: Option<OnHoliday>,
    /// once, skip or hold: what becomes of a period that was missed.
    #[arg(long, value_parser = code::<CatchUp>)]
    catch_up: Option<CatchUp>,
    /// Minutes after which a period is too late to be caught up with.
    #[arg(long, value_name = "N")]
    grace_minutes: Option<u32>,
    /// Minutes over which the mails of a run are spread.
    #[arg(long, value_name = "N")]
    spread_minutes: Option<u16>,
}

fn time(text: &str) -> Result<jiff::civil::Time, String> {
    read_time(text).ok_or_else(|| "not a time of the day as HH:MM".to_owned())
}

impl Changes {
    fn of(self, timing: &Timing) -> Timing {
        Timing {
            at: self.at.unwrap_or(timing.at),
            zone: self.zone.unwrap_or_else(|| timing.zone.clone()),
            weekdays: self.weekdays.map_or_else(|| timing.weekdays.clone(), BTreeSet::from_iter),
            on_holiday: self.on_holiday.unwrap_or(timing.on_holiday),
            catch_up: self.catch_up.unwrap_or(timing.catch_up),
            grace_minutes: self.grace_minutes.unwrap_or(timing.grace_minutes),
            spread_minutes: self.spread_minutes.unwrap_or(timing.spread_minutes),
        }
    }
}

/// What to do with schedules.
#[derive(Subcommand)]
pub(super) enum SchedulesCommand {
    /// List them with their next runs.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show one with its revisions.
    Show {
        #[command(flatten)]
        named: Named,
    },
    /// Show when one runs next.
    Next {
        #[command(flatten)]
        named: Named,
        /// So many runs.
        #[arg(long, value_name = "N", default_value_t = 10)]
        count: usize,
    },
    /// Keep another timing, to be confirmed, and show what it would do.
    Edit {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        changes: Changes,
    },
    /// Show what another timing would do. Nothing is kept.
    Preview {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        changes: Changes,
    },
    /// Put an edit in force, on every node at once.
    Confirm {
        #[command(flatten)]
        named: Named,
        /// The edit's revision.
        revision: i64,
    },
    /// Give an edit up.
    Drop {
        #[command(flatten)]
        named: Named,
        /// The edit's revision.
        revision: i64,
    },
    /// Keep an edit that goes back to an earlier revision, to be confirmed.
    Rollback {
        #[command(flatten)]
        named: Named,
        /// The revision that is to hold again.
        revision: i64,
    },
    /// Have one not run by itself until it is resumed.
    Pause {
        #[command(flatten)]
        named: Named,
    },
    /// Have a paused one run again.
    Resume {
        #[command(flatten)]
        named: Named,
    },
    /// Run now, beside its own runs.
    Run {
        #[command(flatten)]
        named: Named,
    },
    /// Show what a run now would do: who would be told and why, who would not and why. Nothing is changed.
    DryRun {
        #[command(flatten)]
        named: Named,
        /// The first so many users; all are counted.
        #[arg(long, value_name = "N", default_value_t = 100)]
        most: u32,
    },
    /// Have a held run take place now.
    Approve {
        #[command(flatten)]
        common: Common,
        /// The run's id, as the history shows it.
        run: RunId,
    },
    /// Leave a held run out.
    Skip {
        #[command(flatten)]
        common: Common,
        /// The run's id, as the history shows it.
        run: RunId,
    },
    /// Show what became of its runs, the last first.
    History {
        #[command(flatten)]
        named: Named,
        /// Those in a state: held, planning, sending, done or skipped.
        #[arg(long, value_parser = code::<RunState>)]
        state: Option<RunState>,
        /// The last so many.
        #[arg(long, value_name = "N", default_value_t = 30)]
        most: i64,
    },
}

impl SchedulesCommand {
    const fn common(&self) -> &Common {
        match self {
            Self::List { common } | Self::Approve { common, .. } | Self::Skip { common, .. } => common,
            Self::Show { named }
            | Self::Next { named, .. }
            | Self::Edit { named, .. }
            | Self::Preview { named, .. }
            | Self::Confirm { named, .. }
            | Self::Drop { named, .. }
            | Self::Rollback { named, .. }
            | Self::Pause { named }
            | Self::Resume { named }
            | Self::Run { named }
            | Self::DryRun { named, .. }
            | Self::History { named, .. } => &named.common,
        }
    }
}

/// What the commands work with.
struct Desk {
    digests: Digests,
    json: bool,
}

pub(super) async fn run(command: SchedulesCommand, environment: &Environment) -> Result<(), CliError> {
    let settings = environment.settings(command.common().data.as_deref())?;
    let json = command.common().json;
    let digests = open_digests(&settings, open_db(&settings).await?, Context::system())?;
    // where no node has looked yet
    digests.make_schedules().await?;
    let desk = Desk { digests, json };
    let digests = &desk.digests;
    let stamp = Stamp { ctx: &digests.ctx, actor: AT_COMMAND_LINE };
    match command {
        SchedulesCommand::List { .. } => desk.list().await,
        SchedulesCommand::Show { named } => desk.show(&named.name).await,
        SchedulesCommand::Next { named, count } => {
            let standing = digests.schedule(&named.name).await?;
            let next = digests.shown_next(&standing, &standing.timing, count).map_err(ScheduleError::from)?;
            desk.tell_next(&next);
            Ok(())
        }
        SchedulesCommand::Edit { named, changes } => {
            let standing = digests.schedule(&named.name).await?;
            let timing = changes.of(&standing.timing);
            let seen = Some(standing.schedule.version);
            let standing = digests.propose(stamp, &named.name, seen, &timing).await?;
            desk.tell_edit(&standing).await
        }
        SchedulesCommand::Preview { named, changes } => {
            let standing = digests.schedule(&named.name).await?;
            let preview = digests.preview(&standing, &changes.of(&standing.timing)).await?;
            desk.tell_preview(&preview);
            Ok(())
        }
        SchedulesCommand::Rollback { named, revision } => {
            let standing = digests.roll_back(stamp, &named.name, None, revision).await?;
            desk.tell_edit(&standing).await
        }
        SchedulesCommand::Confirm { named, revision } => {
            desk.tell(&digests.confirm(stamp, &named.name, None, revision).await?)
        }
        SchedulesCommand::Drop { named, revision } => {
            desk.tell(&digests.drop_edit(stamp, &named.name, None, revision).await?)
        }
        SchedulesCommand::Pause { named } => desk.tell(&digests.set_paused(stamp, &named.name, None, true).await?),
        SchedulesCommand::Resume { named } => desk.tell(&digests.set_paused(stamp, &named.name, None, false).await?),
        SchedulesCommand::Run { named } => {
            desk.tell_runs(vec![digests.run_now(stamp, &named.name).await?]);
            Ok(())
        }
        SchedulesCommand::DryRun { named, most } => {
            let standing = digests.schedule(&named.name).await?;
            desk.tell_rehearsed(digests.rehearse(&standing, None, most.max(1)).await?);
            Ok(())
        }
        SchedulesCommand::Approve { run, .. } => {
            desk.tell_runs(vec![digests.decide_held(stamp, &run, None, true).await?]);
            Ok(())
        }
        SchedulesCommand::Skip { run, .. } => {
            desk.tell_runs(vec![digests.decide_held(stamp, &run, None, false).await?]);
            Ok(())
        }
        SchedulesCommand::History { named, state, most } => {
            let schedule = digests.schedule(&named.name).await?.schedule;
            let mut conn = digests.db.read().await?;
            desk.tell_runs(digest_runs::history(&mut conn, &schedule.id, state, None, most.max(1)).await?);
            Ok(())
        }
    }
}

/// A timing in one line.
fn line(timing: &Timing) -> String {
    let days: Vec<&str> = timing.weekdays.iter().map(|day| day.as_str()).collect();
    format!(
        "{} {}, {}; on holidays {}, when missed {} (grace {} min), spread over {} min",
        timing.at.strftime("%H:%M"),
        timing.zone,
        days.join(" "),
        timing.on_holiday,
        timing.catch_up,
        timing.grace_minutes,
        timing.spread_minutes
    )
}

impl Desk {
    fn next_of(&self, standing: &Standing) -> Result<Vec<NextRun>, ScheduleError> {
        Ok(self.digests.shown_next(standing, &standing.timing, 1)?)
    }

    async fn list(&self) -> Result<(), CliError> {
        let found = self.digests.schedules().await?;
        if self.json {
            let view = |one: &Standing| Ok(ScheduleView::of(one, self.next_of(one)?));
            output::json(&found.iter().map(view).collect::<Result<Vec<_>, ScheduleError>>()?);
            return Ok(());
        }
        let mut rows = Vec::new();
        for one in &found {
            let paused = one.schedule.paused.is_some();
            let next = self.next_of(one)?.pop().filter(|_| !paused).map(|next| next.local);
            rows.push([
                one.schedule.name.clone(),
                one.schedule.revision.revision.to_string(),
                next.unwrap_or_else(|| "paused".to_owned()),
                one.proposal.as_ref().map_or_else(String::new, |(edit, _)| format!("revision {}", edit.revision)),
                line(&one.timing),
            ]);
        }
        output::table(["schedule", "revision", "next", "edit waits", "timing"], rows);
        Ok(())
    }

    async fn show(&self, name: &str) -> Result<(), CliError> {
        let standing = self.digests.schedule(name).await?;
        let mut conn = self.digests.db.read().await?;
        let revisions = schedules::revisions(&mut conn, &standing.schedule.id).await?;
        let timings = revisions.iter().map(timing_of).collect::<Result<Vec<_>, DbError>>()?;
        let both = revisions.iter().zip(timings);
        if self.json {
            let views: Vec<_> = both.map(|(revision, timing)| RevisionView::of(revision, timing)).collect();
            let schedule = ScheduleView::of(&standing, self.next_of(&standing)?);
            output::json(&json!({ "schedule": schedule, "revisions": views }));
            return Ok(());
        }
        self.tell(&standing)?;
        let row = |(revision, timing): (&schedules::Revision, Timing)| {
            [
                revision.revision.to_string(),
                revision.state.to_string(),
                revision.proposed_by.clone(),
                revision.confirmed_by.clone().unwrap_or_default(),
                revision.confirmed_at.map_or_else(String::new, |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
                line(&timing),
            ]
        };
        output::table(["revision", "state", "by", "confirmed by", "since", "timing"], both.map(row));
        Ok(())
    }

    fn tell(&self, standing: &Standing) -> Result<(), CliError> {
        let next = self.next_of(standing)?;
        if self.json {
            output::json(&ScheduleView::of(standing, next));
            return Ok(());
        }
        let schedule = &standing.schedule;
        println!("{}: revision {}, {}", schedule.name, schedule.revision.revision, line(&standing.timing));
        match (&schedule.paused, next.first()) {
            (Some(pause), _) => println!("  paused since {} by {}", pause.at, pause.by),
            (None, Some(next)) => println!("  next {} ({})", next.local, next.period),
            (None, None) => println!("  has no run ahead"),
        }
        if let Some((edit, timing)) = &standing.proposal {
            println!("  waits to be confirmed: revision {} by {}, {}", edit.revision, edit.proposed_by, line(timing));
        }
        Ok(())
    }

    async fn tell_edit(&self, standing: &Standing) -> Result<(), CliError> {
        let Some((edit, timing)) = &standing.proposal else { return self.tell(standing) };
        let preview = self.digests.preview(standing, timing).await?;
        if self.json {
            let schedule = ScheduleView::of(standing, self.next_of(standing)?);
            output::json(&json!({ "schedule": schedule, "preview": preview }));
            return Ok(());
        }
        self.tell(standing)?;
        self.tell_preview(&preview);
        println!("It holds after: lettercase schedules confirm {} {}", standing.schedule.name, edit.revision);
        Ok(())
    }

    fn tell_next(&self, next: &[NextRun]) {
        if self.json {
            output::json(&next);
            return;
        }
        output::table(
            ["period", "local", "UTC"],
            next.iter().map(|run| [run.period.clone(), run.local.clone(), run.at.to_string()]),
        );
    }

    fn tell_preview(&self, preview: &EditPreview) {
        if self.json {
            output::json(preview);
            return;
        }
        println!("Next runs:");
        self.tell_next(&preview.next);
        println!("The last {} days by it, and by the revision in force:", preview.days);
        let (new, old) = (&preview.effect, &preview.in_force);
        let minutes = |minutes: Option<i64>| minutes.map_or_else(|| "-".to_owned(), |minutes| minutes.to_string());
        let row = |what: &str, of: &dyn Fn(&Effect) -> String| [what.to_owned(), of(new), of(old)];
        output::table(
            ["", "edit", "in force"],
            [
                row("runs", &|effect| effect.runs.len().to_string()),
                row("mails", &|effect| effect.mails.to_string()),
                row("letters", &|effect| effect.letters.to_string()),
                row("mails of the largest run", &|effect| effect.most_mails.to_string()),
                row("mails a minute at most", &|effect| effect.peak_mails_per_minute.to_string()),
                row("minutes until the run, half of the letters", &|effect| minutes(effect.delay.p50_minutes)),
                row("minutes until the run, nine of ten", &|effect| minutes(effect.delay.p90_minutes)),
                row("minutes until the run, all", &|effect| minutes(effect.delay.max_minutes)),
            ],
        );
    }

    fn tell_rehearsed(&self, rehearsed: Rehearsed) {
        if self.json {
            output::json(&RehearsedRun::of(rehearsed));
            return;
        }
        let serves: Vec<&str> = rehearsed.serves.iter().map(|cadence| cadence.as_str()).collect();
        println!("A run now would serve {} and be of {}.", serves.join(" and "), rehearsed.day);
        let found = rehearsed.found;
        let numbers = |items: i64, letters: i64| [items.to_string(), letters.to_string()];
        let row = |of: &Counted| {
            let [items, letters] = numbers(of.items, of.letters);
            [of.kind.to_string(), explanation(of.fate, of.reason), of.users.to_string(), items, letters]
        };
        output::table(
            ["kind", "what would become of it", "users", "practices", "letters"],
            found.counts.iter().map(row),
        );
        let row = |of: &Line| {
            let [items, letters] = numbers(of.items, of.letters);
            let tins: Vec<String> = of.tins.iter().map(Tin::masked).collect();
            let more = if of.items > tins.len() as i64 { " …" } else { "" };
            let practices = format!("{items}: {}{more}", tins.join(" "));
            [of.user.to_string(), of.kind.to_string(), explanation(of.fate, of.reason), practices, letters]
        };
        output::table(["user", "kind", "what would become of it", "practices", "letters"], found.lines.iter().map(row));
        if found.next.is_some() {
            println!("There may be more users: see --most.");
        }
    }

    fn tell_runs(&self, runs: Vec<Run>) {
        if self.json {
            output::json(&runs.into_iter().map(RunView::from).collect::<Vec<_>>());
            return;
        }
        let row = |run: &Run| {
            [
                run.period.clone(),
                run.kind.to_string(),
                match run.reason {
                    Some(reason) => format!("{}, {reason}", run.state),
                    None => run.state.to_string(),
                },
                run.due_at.to_string(),
                run.serves.iter().map(|cadence| cadence.as_str()).collect::<Vec<_>>().join(" "),
                run.counts.mails.to_string(),
                run.counts.letters.to_string(),
                run.counts.left_out.to_string(),
                run.asked_by.clone(),
                run.id.to_string(),
            ]
        };
        output::table(
            ["period", "kind", "state", "due", "serves", "mails", "letters", "left out", "by", "run"],
            runs.iter().map(row),
        );
    }
}
