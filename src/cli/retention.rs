//! Retention, for an administrator beside a running node: what would be destroyed, the run that destroys it, its report,
//! and legal holds.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{CliError, Common, Environment, code, output};
use crate::app::{open_db, open_retention};
use crate::db::retention::holds::{self, Kept, LegalHold};
use crate::db::retention::{self, Count, Destroyed, Run};
use crate::db::{Stamp, case_files};
use crate::http::api::retention::{CountView, LegalHoldView, LookedView, RecordView, RunReport};
use crate::model::event::AT_COMMAND_LINE;
use crate::model::ids::{Brand, CaseNumber, LegalHoldId, MemberId, RetentionRunId, Tin};
use crate::model::retention::{RecordKind, RetentionReason, RetentionRunState};
use crate::outside::context::Context;
use crate::retention::{Looked, Retention, RetentionError};
use crate::settings::Settings;

/// Rows that are read at once.
const PART: i64 = 500;

#[derive(Subcommand)]
pub(super) enum RetentionCommand {
    /// Show what a run would destroy today, and what it would leave and why. Nothing is changed.
    Plan {
        #[command(flatten)]
        common: Common,
        /// List the records of a kind: document, letter, submission, print_batch or case.
        #[arg(long, value_name = "KIND", value_parser = code::<RecordKind>)]
        records: Option<RecordKind>,
        /// Of these, the ones with this reason: due, held, not_yet, online, has_records, case_open or in_progress.
        #[arg(long, value_name = "REASON", value_parser = code::<RetentionReason>, requires = "records")]
        why: Option<RetentionReason>,
    },
    /// Destroy what is due. A run that is not done is gone on with.
    Run {
        #[command(flatten)]
        common: Common,
    },
    /// Show what a run destroyed and left; without its id, list the runs.
    Report {
        #[command(flatten)]
        common: Common,
        /// The run, as the list shows it.
        run: Option<RetentionRunId>,
        /// List each record that it destroyed.
        #[arg(long, requires = "run")]
        records: bool,
    },
    /// List the legal holds that stand.
    Holds {
        #[command(flatten)]
        common: Common,
        /// Also those that were lifted.
        #[arg(long)]
        all: bool,
    },
    /// Put a legal hold on a case, a practice or a member: nothing of it is destroyed.
    #[command(group = clap::ArgGroup::new("kept").required(true))]
    Hold {
        #[command(flatten)]
        common: Common,
        /// The brand; else the settings'.
        #[arg(long)]
        brand: Option<Brand>,
        /// A case, by its number.
        #[arg(long, value_name = "N", group = "kept")]
        case: Option<CaseNumber>,
        /// A practice.
        #[arg(long, group = "kept")]
        tin: Option<Tin>,
        /// A member.
        #[arg(long, value_name = "N", group = "kept")]
        member: Option<MemberId>,
        /// Why, in a few words without health data.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Lift a legal hold.
    Release {
        #[command(flatten)]
        common: Common,
        /// The hold, as the list shows it.
        hold: LegalHoldId,
    },
}

impl RetentionCommand {
    const fn common(&self) -> &Common {
        match self {
            Self::Plan { common, .. }
            | Self::Run { common }
            | Self::Report { common, .. }
            | Self::Holds { common, .. }
            | Self::Hold { common, .. }
            | Self::Release { common, .. } => common,
        }
    }
}

/// What the commands work with.
struct Desk {
    settings: Settings,
    retention: Retention,
    json: bool,
}

pub(super) async fn run(command: RetentionCommand, environment: &Environment) -> Result<(), CliError> {
    let settings = environment.settings(command.common().data.as_deref())?;
    let json = command.common().json;
    let retention = open_retention(&settings, open_db(&settings).await?, Context::system()).await?;
    let desk = Desk { settings, retention, json };
    match command {
        RetentionCommand::Plan { records: None, .. } => desk.plan().await,
        RetentionCommand::Plan { records: Some(kind), why, .. } => desk.plan_of(kind, why).await,
        RetentionCommand::Run { .. } => desk.destroy().await,
        RetentionCommand::Report { run: None, .. } => desk.runs().await,
        RetentionCommand::Report { run: Some(run), records, .. } => desk.report(&run, records).await,
        RetentionCommand::Holds { all, .. } => desk.holds(all).await,
        RetentionCommand::Hold { brand, case, tin, member, reason, .. } => {
            let brand = brand.unwrap_or_else(|| desk.settings.brand.clone());
            let kept = desk.kept(&brand, case, tin, member).await?;
            let hold = desk.retention.hold(desk.stamp(), &brand, &kept, &reason).await?;
            desk.tell_holds(vec![hold]);
            Ok(())
        }
        RetentionCommand::Release { hold, .. } => {
            let hold = desk.retention.release(desk.stamp(), &hold, None).await?;
            desk.tell_holds(vec![hold]);
            Ok(())
        }
    }
}

impl Desk {
    fn stamp(&self) -> Stamp<'_> {
        Stamp { ctx: &self.retention.ctx, actor: AT_COMMAND_LINE }
    }

    async fn kept(
        &self,
        brand: &Brand,
        case: Option<CaseNumber>,
        tin: Option<Tin>,
        member: Option<MemberId>,
    ) -> Result<Kept, CliError> {
        let case = match case {
            Some(number) => {
                let mut conn = self.retention.db.read().await?;
                let case = case_files::by_number(&mut conn, brand, &number).await?;
                Some(case.ok_or(RetentionError::Nothing("case"))?.id)
            }
            None => None,
        };
        let kept = Kept::one_of(case, tin, member);
        kept.ok_or_else(|| CliError::Usage("name a case, a TIN or a member, one of them".into()))
    }

    async fn plan(&self) -> Result<(), CliError> {
        let plan = self.retention.dry_run().await?;
        let enabled = self.retention.plan.destruction.enabled;
        if self.json {
            let counts: Vec<CountView> = plan.counts.iter().map(CountView::of).collect();
            output::json(&json!({ "day": plan.day, "destruction": enabled, "counts": counts }));
            return Ok(());
        }
        println!("As of {}, of all records that are old enough to be looked at:", plan.day);
        tell_counts(&plan.counts);
        if !enabled {
            println!("Policy destroys nothing: set enabled in [destruction] of retention.toml.");
        }
        Ok(())
    }

    async fn plan_of(&self, kind: RecordKind, why: Option<RetentionReason>) -> Result<(), CliError> {
        let mut found: Vec<Looked> = Vec::new();
        let wanted = |one: &Looked| why.is_none_or(|why| one.judged.why == why);
        let keep = |one: Looked| found.extend(Some(one).filter(wanted));
        self.retention.look_through(self.retention.today(), kind, keep).await?;
        if self.json {
            output::json(&found.iter().map(LookedView::of).collect::<Vec<_>>());
            return Ok(());
        }
        let row = |one: &Looked| {
            let due_on = one.judged.due_on.map(|day| day.to_string()).unwrap_or_default();
            [one.id.clone(), one.class.to_string(), one.judged.why.to_string(), due_on]
        };
        output::table(["record", "class", "why", "due on"], found.iter().map(row));
        Ok(())
    }

    /// Begins a run, or goes on with the one that is not done, until it is.
    async fn destroy(&self) -> Result<(), CliError> {
        let run = match self.retention.begin(self.stamp()).await {
            Err(RetentionError::Running) => {
                let mut conn = self.retention.db.read().await?;
                retention::running(&mut conn).await?.ok_or(RetentionError::NoRun)?
            }
            other => other?,
        };
        // beside a node of the same name: the lease is not shared with it
        let token = format!("{AT_COMMAND_LINE}:{}", self.settings.node);
        loop {
            let worked = self.retention.work(&token).await?;
            let now = self.of(&run.id).await?;
            if now.state == RetentionRunState::Done {
                break;
            }
            if worked.waiting > 0 {
                return Err(CliError::Usage("the object store keeps the run from its end: run it again".into()));
            }
            if now.version == run.version && worked == Default::default() {
                return Err(CliError::Usage("a node works on the run: see `lettercase retention report`".into()));
            }
        }
        self.report(&run.id, false).await
    }

    async fn of(&self, id: &RetentionRunId) -> Result<Run, CliError> {
        let mut conn = self.retention.db.read().await?;
        Ok(retention::get(&mut conn, id).await?.ok_or(RetentionError::NoRun)?)
    }

    async fn report(&self, id: &RetentionRunId, records: bool) -> Result<(), CliError> {
        let run = self.of(id).await?;
        let mut conn = self.retention.db.read().await?;
        let counts = retention::counts(&mut conn, id).await?;
        let mut destroyed: Vec<Destroyed> = Vec::new();
        let mut more = records;
        while more {
            let behind = destroyed.last().map(|last| (last.begun_at.as_microsecond(), last.subject.clone()));
            let behind = behind.as_ref().map(|(at, id)| (*at, id.as_str()));
            let part = retention::records(&mut conn, id, behind, PART).await?;
            more = !part.is_empty();
            destroyed.extend(part);
        }
        if self.json {
            let mut report = serde_json::to_value(RunReport::of(run, &counts)).unwrap_or(Value::Null);
            if records {
                report["records"] = json!(destroyed.into_iter().map(RecordView::from).collect::<Vec<_>>());
            }
            output::json(&report);
            return Ok(());
        }
        println!(
            "run {} as of {} is {}; asked for by {} at {}",
            run.id, run.day, run.state, run.asked_by, run.started_at
        );
        tell_counts(&counts);
        let row = |one: &Destroyed| {
            [
                one.subject.clone(),
                one.kind.to_string(),
                one.class.to_string(),
                one.due_on.to_string(),
                one.state.to_string(),
            ]
        };
        if records {
            output::table(["record", "kind", "class", "due on", "state"], destroyed.iter().map(row));
        }
        Ok(())
    }

    async fn runs(&self) -> Result<(), CliError> {
        let mut conn = self.retention.db.read().await?;
        let runs = retention::list(&mut conn, None, PART).await?;
        let mut reports = Vec::with_capacity(runs.len());
        for run in runs {
            let counts = retention::counts(&mut conn, &run.id).await?;
            reports.push((run, counts));
        }
        if self.json {
            output::json(&reports.into_iter().map(|(run, counts)| RunReport::of(run, &counts)).collect::<Vec<_>>());
            return Ok(());
        }
        let row = |(run, counts): &(Run, Vec<Count>)| {
            let sum = |due: bool| {
                let of = counts.iter().filter(|count| (count.why == RetentionReason::Due) == due);
                of.map(|count| count.records).sum::<i64>().to_string()
            };
            let done = run.done_at.map(|at| at.to_string()).unwrap_or_default();
            [run.id.to_string(), run.day.to_string(), run.state.to_string(), done, sum(true), sum(false)]
        };
        output::table(["run", "as of", "state", "done", "destroyed", "left"], reports.iter().map(row));
        Ok(())
    }

    async fn holds(&self, all: bool) -> Result<(), CliError> {
        let mut conn = self.retention.db.read().await?;
        let mut found: Vec<LegalHold> = Vec::new();
        loop {
            let before = found.last().map(|hold| (hold.created_at.as_microsecond(), hold.id.clone()));
            let part = holds::list(&mut conn, all, before.as_ref().map(|(at, id)| (*at, id)), PART).await?;
            if part.is_empty() {
                break;
            }
            found.extend(part);
        }
        self.tell_holds(found);
        Ok(())
    }

    fn tell_holds(&self, holds: Vec<LegalHold>) {
        if self.json {
            output::json(&holds.into_iter().map(LegalHoldView::of).collect::<Vec<_>>());
            return;
        }
        let row = |hold: &LegalHold| {
            let of = match &hold.kept {
                Kept::Case(case) => format!("case {case}"),
                Kept::Tin(tin) => format!("TIN {}", tin.masked()),
                Kept::Member(member) => format!("member {}", member.as_str()),
            };
            let lifted = hold.lifted_at.map(|at| at.to_string()).unwrap_or_default();
            [hold.id.to_string(), hold.brand.to_string(), of, hold.created_at.to_string(), lifted, hold.reason.clone()]
        };
        output::table(["hold", "brand", "of", "since", "lifted", "reason"], holds.iter().map(row));
    }
}

/// A row for each class and reason.
fn tell_counts(counts: &[Count]) {
    let row = |count: &Count| {
        [count.class.to_string(), count.why.to_string(), count.records.to_string(), count.why.sentence().to_owned()]
    };
    output::table(["class", "reason", "records", ""], counts.iter().map(row));
}
