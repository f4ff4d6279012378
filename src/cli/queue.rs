//! What waits for a person, for an operator beside a running node: the list, its counts, and the decisions.

use std::sync::Arc;

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::json;

use super::{CliError, Common, Environment, code, output};
use crate::app::{StartError, open_db, own_exe};
use crate::db::tasks::{self, Filter, Taken, Task, TaskKind};
use crate::db::{Db, Stamp, case_files, documents};
use crate::intake::plan::IntakePlan;
use crate::intake::review::split::{Tools, split};
use crate::intake::review::{Claimed, ReviewError, decide};
use crate::model::access::Mode;
use crate::model::document::ReturnReason;
use crate::model::event::AT_COMMAND_LINE;
use crate::model::ids::{Brand, CaseId, CaseNumber, DocumentId};
use crate::model::pages::PageRange;
use crate::outside::context::Context;
use crate::outside::extract::Extract;
use crate::outside::objects::{self, Objects};
use crate::settings::Settings;

/// Items that a list shows at most.
const LISTED: i64 = 1_000;

#[derive(Subcommand)]
pub(super) enum QueueCommand {
    /// List what waits, nearest deadline first.
    List {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        which: Which,
    },
    /// Count what waits, is overdue, or is due soon.
    Counts {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        which: Which,
    },
    /// Take the item with the nearest deadline, with the cases proposed for it.
    Next {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        which: Which,
    },
    /// Put a document on a case that is proposed for it.
    Accept {
        #[command(flatten)]
        common: Common,
        /// The document's id.
        document: DocumentId,
        /// The case's number.
        case: CaseNumber,
    },
    /// Put a document on any case of its brand.
    Choose {
        #[command(flatten)]
        common: Common,
        /// The document's id.
        document: DocumentId,
        /// The case's number.
        case: CaseNumber,
    },
    /// Return a document that is not ours.
    Return {
        #[command(flatten)]
        common: Common,
        /// The document's id.
        document: DocumentId,
        /// other_payer, not_our_member, not_for_us, illegible or incomplete.
        #[arg(value_parser = code::<ReturnReason>)]
        reason: ReturnReason,
    },
    /// Take a PDF apart into one document per range of pages.
    Split {
        #[command(flatten)]
        common: Common,
        /// The document's id.
        document: DocumentId,
        /// Ranges that hold each page once, as 1-2 3 4-6.
        #[arg(num_args = 2.., required = true, value_name = "PAGES")]
        ranges: Vec<PageRange>,
    },
}

/// Which items are meant.
#[derive(clap::Args)]
pub(super) struct Which {
    /// match or held.
    #[arg(long, value_parser = code::<TaskKind>)]
    kind: Option<TaskKind>,
    /// Of one brand only.
    #[arg(long)]
    brand: Option<Brand>,
}

impl Which {
    fn filter(&self) -> Filter<'_> {
        let mode = self.brand.as_ref().map_or(Mode::Live, Brand::mode);
        Filter { mode, kind: self.kind, brand: self.brand.as_ref(), sensitive: true }
    }
}

/// What the commands work with.
struct Desk {
    settings: Settings,
    plan: IntakePlan,
    db: Db,
    ctx: Context,
    json: bool,
}

pub(super) async fn run(command: QueueCommand, environment: &Environment) -> Result<(), CliError> {
    let desk = async |common: &Common| -> Result<Desk, CliError> {
        let settings = environment.settings(common.data.as_deref())?;
        let plan = IntakePlan::load(settings.config_dir.as_deref())?.plan;
        Ok(Desk { db: open_db(&settings).await?, plan, ctx: Context::system(), json: common.json, settings })
    };
    match command {
        QueueCommand::List { common, which } => desk(&common).await?.list(&which).await,
        QueueCommand::Counts { common, which } => desk(&common).await?.counts(&which).await,
        QueueCommand::Next { common, which } => desk(&common).await?.next(&which).await,
        QueueCommand::Accept { common, document, case } => desk(&common).await?.assign(&document, &case, true).await,
        QueueCommand::Choose { common, document, case } => desk(&common).await?.assign(&document, &case, false).await,
        QueueCommand::Return { common, document, reason } => desk(&common).await?.give_back(&document, reason).await,
        QueueCommand::Split { common, document, ranges } => desk(&common).await?.split(&document, &ranges).await,
    }
}

impl Desk {
    fn stamp(&self) -> Stamp<'_> {
        Stamp { ctx: &self.ctx, actor: AT_COMMAND_LINE }
    }

    async fn list(&self, which: &Which) -> Result<(), CliError> {
        let now = self.ctx.now();
        let waiting = {
            let mut conn = self.db.read().await?;
            tasks::list(&mut conn, now, which.filter(), None, LISTED).await?
        };
        if self.json {
            output::json(&waiting);
            return Ok(());
        }
        let row = |task: Task| {
            let left = if task.deadline_at <= now { "overdue".into() } else { span(task.deadline_at, now) };
            let holder = task.holder.unwrap_or_default();
            [task.document_id.to_string(), task.kind.to_string(), span(now, task.received_at), left, holder]
        };
        output::table(["document", "kind", "age", "left", "held by"], waiting.into_iter().map(row));
        Ok(())
    }

    async fn counts(&self, which: &Which) -> Result<(), CliError> {
        let now = self.ctx.now();
        let soon = now.saturating_add(self.plan.aging.warn_before()).unwrap_or(Timestamp::MAX);
        let counts = {
            let mut conn = self.db.read().await?;
            tasks::counts(&mut conn, now, soon, which.filter()).await?
        };
        if self.json {
            output::json(&counts);
            return Ok(());
        }
        let rows = counts.into_iter().map(|c| {
            let oldest = c.oldest_received_at.map(|at| span(now, at)).unwrap_or_default();
            let [waiting, overdue, due_soon, leased] =
                [c.waiting, c.overdue, c.due_soon, c.leased].map(|n| n.to_string());
            [c.kind.to_string(), waiting, overdue, due_soon, leased, oldest]
        });
        output::table(["kind", "waiting", "overdue", "due soon", "taken", "oldest"], rows);
        Ok(())
    }

    async fn next(&self, which: &Which) -> Result<(), CliError> {
        let taken = tasks::claim_next(&self.db, self.stamp(), which.filter(), self.plan.queue.lease()).await?;
        let Some(lease) = taken else {
            if self.json {
                output::json(&json!(null));
            } else {
                println!("nothing waits that nobody has");
            }
            return Err(CliError::No);
        };
        let mut conn = self.db.read().await?;
        let document = documents::get(&mut conn, &lease.document_id).await?.ok_or(ReviewError::NoDocument)?;
        let proposed: Vec<String> = case_files::candidates(&mut conn, lease.document_id.as_str())
            .await?
            .into_iter()
            .map(|candidate| candidate.case_number.as_str().to_owned())
            .collect();
        if self.json {
            output::json(&json!({
                "document_id": lease.document_id, "state": document.state, "until": lease.until, "proposals": proposed,
            }));
        } else {
            println!("{} is {}, and yours until {}", lease.document_id, document.state, lease.until);
            println!("proposed: {}", if proposed.is_empty() { "none".to_owned() } else { proposed.join(", ") });
        }
        Ok(())
    }

    /// Takes an item and what fences the decision over it.
    async fn take(&self, document: &DocumentId) -> Result<(String, i64), CliError> {
        let mut tx = self.db.begin().await?;
        let row = documents::get(&mut tx, document).await?.ok_or(ReviewError::NoDocument)?;
        let taken = tasks::claim(&mut tx, self.stamp(), document, self.plan.queue.lease()).await?;
        tx.commit().await.map_err(crate::db::DbError::from)?;
        match taken {
            Taken::Yes(lease) => Ok((lease.token, row.version)),
            Taken::ByAnother { until } => Err(CliError::Usage(format!("somebody else has it until {until}"))),
            Taken::NoTask => Err(CliError::Usage(format!("the document is {}: nothing is to be decided", row.state))),
        }
    }

    async fn assign(&self, document: &DocumentId, number: &CaseNumber, proposed: bool) -> Result<(), CliError> {
        let (token, version) = self.take(document).await?;
        let claim = Claimed { document, token: &token, version };
        let case = self.case_of(document, number).await?;
        match proposed {
            true => decide::accept(&self.db, self.stamp(), &claim, &case).await?,
            false => decide::choose(&self.db, self.stamp(), &claim, &case).await?,
        }
        self.done(document, "is on its case")
    }

    async fn case_of(&self, document: &DocumentId, number: &CaseNumber) -> Result<CaseId, CliError> {
        let mut conn = self.db.read().await?;
        let row = documents::get(&mut conn, document).await?.ok_or(ReviewError::NoDocument)?;
        let case = case_files::by_number(&mut conn, &row.brand, number).await?;
        Ok(case.ok_or(ReviewError::NoCase)?.id)
    }

    async fn give_back(&self, document: &DocumentId, reason: ReturnReason) -> Result<(), CliError> {
        let (token, version) = self.take(document).await?;
        let claim = Claimed { document, token: &token, version };
        decide::return_as_not_ours(&self.db, self.stamp(), &claim, reason).await?;
        self.done(document, "goes back")
    }

    async fn split(&self, document: &DocumentId, ranges: &[PageRange]) -> Result<(), CliError> {
        let (token, version) = self.take(document).await?;
        let claim = Claimed { document, token: &token, version };
        let store: Arc<dyn Objects> =
            objects::open(&self.settings.objects_options()).await.map_err(StartError::from)?;
        // beside the spools of nodes, which empty theirs
        let scratch = tempfile::tempdir_in(&self.settings.data_dir).map_err(CliError::at(&self.settings.data_dir))?;
        let extract = Extract::new(own_exe()?, scratch.path().to_owned(), self.plan.extract.clone());
        let tools = Tools {
            db: &self.db,
            objects: store.as_ref(),
            extract: &extract,
            scratch_dir: scratch.path(),
            plan: &self.plan,
            node: &self.settings.node,
        };
        let parts = split(tools, self.stamp(), &claim, ranges).await?;
        if self.json {
            output::json(&json!({ "document_id": document, "parts": parts }));
        } else {
            println!("{document} is split into");
            parts.iter().for_each(|part| println!("  {part}"));
        }
        Ok(())
    }

    fn done(&self, document: &DocumentId, what: &str) -> Result<(), CliError> {
        if self.json {
            output::json(&json!({ "document_id": document }));
        } else {
            println!("{document} {what}");
        }
        Ok(())
    }
}

/// The time between two instants as a person reads it.
fn span(later: Timestamp, earlier: Timestamp) -> String {
    let minutes = later.duration_since(earlier).as_secs() / 60;
    match minutes {
        0..60 => format!("{minutes} min"),
        60..2_880 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1_440),
    }
}
