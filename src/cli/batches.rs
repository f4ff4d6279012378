//! Print batches, for an operator beside a running node: what is in them, the printer's word, what is printed again, and
//! what came back.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{CliError, Common, Environment, code, output};
use crate::app::{open_db, open_paper};
use crate::db::batches::{self, Batch};
use crate::db::envelopes::{self, Envelope};
use crate::db::paper_tasks::{self, PaperTask};
use crate::db::{DbError, Stamp};
use crate::engine::bulk::Form;
use crate::model::event::AT_COMMAND_LINE;
use crate::model::event::EventType;
use crate::model::ids::{BatchId, Brand, PaperTaskId};
use crate::model::paper::{BatchState, PieceEvent, PrintFile, ReturnReason};
use crate::model::phi::Phi;
use crate::outside::context::Context;
use crate::paper::addresses::GivenAddress;
use crate::paper::{Paper, PaperError};

/// Rows that are read at once.
const PART: i64 = 500;

#[derive(Subcommand)]
pub(super) enum BatchesCommand {
    /// List batches, newest first.
    List {
        #[command(flatten)]
        common: Common,
        /// Those of a brand.
        #[arg(long)]
        brand: Option<Brand>,
        /// Those in a state: closed, assembled or done.
        #[arg(long, value_parser = code::<BatchState>)]
        state: Option<BatchState>,
        /// The newest so many.
        #[arg(long, value_name = "N", default_value_t = 50)]
        most: i64,
    },
    /// Show a batch and how its envelopes stand.
    Show {
        #[command(flatten)]
        common: Common,
        /// The batch's id or name.
        batch: String,
        /// Only envelopes of which nobody has said what became of them.
        #[arg(long)]
        unaccounted: bool,
    },
    /// Show what a batch would hold if it were closed now, and when the next cut-off is.
    Preview {
        #[command(flatten)]
        common: Common,
        /// The brand; else the settings'.
        #[arg(long)]
        brand: Option<Brand>,
    },
    /// Close a batch of what waits now. The cut-off comes all the same and takes what is decided after.
    Close {
        #[command(flatten)]
        common: Common,
        /// The brand; else the settings'.
        #[arg(long)]
        brand: Option<Brand>,
    },
    /// Write a batch's print file and manifests into a directory. They are health data.
    Download {
        #[command(flatten)]
        common: Common,
        /// The batch's id or name.
        batch: String,
        /// The directory; it is made where it is not there.
        #[arg(long, value_name = "DIR", default_value = ".")]
        to: PathBuf,
    },
    /// Take a printer's word: a file of lines, JSON or CSV, or one event for all envelopes.
    Acknowledge {
        #[command(flatten)]
        common: Common,
        /// The batch's id or name.
        batch: String,
        /// The file; its ending (.ndjson, .jsonl, .csv) tells its form.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        file: Option<PathBuf>,
        /// printed, inserted or mailed: so are all that were not spoiled. missing: so are all that were not mailed.
        #[arg(long, value_name = "EVENT", value_parser = code::<PieceEvent>)]
        all: Option<PieceEvent>,
    },
    /// Print a batch's spoiled and missing envelopes again, each once.
    Reprint {
        #[command(flatten)]
        common: Common,
        /// The batch's id or name.
        batch: String,
    },
    /// Hold a batch back: nobody gets its print file.
    Hold {
        #[command(flatten)]
        common: Common,
        /// The batch's id or name.
        batch: String,
        /// Why, in a few words without health data.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Let a batch go that was held back.
    Release {
        #[command(flatten)]
        common: Common,
        /// The batch's id or name.
        batch: String,
    },
    /// Keep that an envelope came back.
    Returned {
        #[command(flatten)]
        common: Common,
        /// What a scanner reads on it: the Data Matrix of a sheet, or the digits of the Intelligent Mail barcode.
        barcode: String,
        /// not_known, moved, no_such_address, insufficient_address, vacant, not_deliverable, refused, unclaimed, deceased
        /// or other.
        #[arg(long, value_parser = code::<ReturnReason>)]
        reason: ReturnReason,
        /// A file with another address: JSON with lines, city, state, zip.
        #[arg(long, value_name = "FILE")]
        address: Option<PathBuf>,
    },
    /// List what a person must see to before letters can go on paper; end one with --correct or --dismiss.
    Tasks {
        #[command(flatten)]
        common: Common,
        /// The task to end.
        #[arg(requires = "ending")]
        task: Option<PaperTaskId>,
        /// A file with another address: JSON with lines, city, state, zip.
        #[arg(long, value_name = "FILE", group = "ending", requires = "task")]
        correct: Option<PathBuf>,
        /// Mail may go to the address as it is.
        #[arg(long, group = "ending", requires = "task")]
        dismiss: bool,
        /// What came back is mailed there again.
        #[arg(long, requires = "dismiss")]
        again: bool,
    },
}

impl BatchesCommand {
    const fn common(&self) -> &Common {
        match self {
            Self::List { common, .. }
            | Self::Show { common, .. }
            | Self::Preview { common, .. }
            | Self::Close { common, .. }
            | Self::Download { common, .. }
            | Self::Acknowledge { common, .. }
            | Self::Reprint { common, .. }
            | Self::Hold { common, .. }
            | Self::Release { common, .. }
            | Self::Returned { common, .. }
            | Self::Tasks { common, .. } => common,
        }
    }
}

/// What the commands work with.
struct Desk {
    paper: Paper,
    brand: Brand,
    json: bool,
}

pub(super) async fn run(command: BatchesCommand, environment: &Environment) -> Result<(), CliError> {
    let settings = environment.settings(command.common().data.as_deref())?;
    let json = command.common().json;
    let ctx = Context::system();
    let paper = open_paper(&settings, open_db(&settings).await?, ctx).await?;
    let desk = Desk { paper, brand: settings.brand.clone(), json };
    let stamp = Stamp { ctx: &desk.paper.ctx, actor: AT_COMMAND_LINE };
    let paper = &desk.paper;
    match command {
        BatchesCommand::List { brand, state, most, .. } => desk.list(brand.as_ref(), state, most).await,
        BatchesCommand::Show { batch, unaccounted, .. } => desk.show(&batch, unaccounted).await,
        BatchesCommand::Preview { brand, .. } => desk.preview(&brand.unwrap_or_else(|| desk.brand.clone())).await,
        BatchesCommand::Close { brand, .. } => {
            let brand = brand.unwrap_or_else(|| desk.brand.clone());
            desk.tell(&paper.close_now(stamp, &brand).await?);
            Ok(())
        }
        BatchesCommand::Download { batch, to, .. } => desk.download(stamp, &batch, &to).await,
        BatchesCommand::Acknowledge { batch, file, all, .. } => {
            desk.acknowledge(stamp, &batch, file.as_deref(), all).await
        }
        BatchesCommand::Reprint { batch, .. } => {
            let id = desk.batch(&batch).await?.id;
            desk.tell(&paper.reprint(stamp, &id).await?);
            Ok(())
        }
        BatchesCommand::Hold { batch, reason, .. } => {
            let id = desk.batch(&batch).await?.id;
            desk.tell(&paper.hold(stamp, &id, None, &reason).await?);
            Ok(())
        }
        BatchesCommand::Release { batch, .. } => {
            let id = desk.batch(&batch).await?.id;
            desk.tell(&paper.release(stamp, &id, None).await?);
            Ok(())
        }
        BatchesCommand::Returned { barcode, reason, address, .. } => {
            desk.returned(stamp, &barcode, reason, address.as_deref()).await
        }
        BatchesCommand::Tasks { task: None, .. } => desk.tasks().await,
        BatchesCommand::Tasks { task: Some(id), correct, again, .. } => {
            let (task, again) = match correct {
                Some(file) => paper.correct_address(stamp, &id, None, &address(&file)?).await?,
                None => paper.dismiss_task(stamp, &id, None, again).await?,
            };
            desk.tell_ended(&task, again);
            Ok(())
        }
    }
}

/// Reads an address from a file: on a command line, others on the machine could see it.
fn address(file: &Path) -> Result<GivenAddress, CliError> {
    let bytes = std::fs::read(file).map_err(CliError::at(file))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| CliError::Usage(format!("{}: no address: line {}", file.display(), error.line())))
}

impl Desk {
    async fn batch(&self, text: &str) -> Result<Batch, CliError> {
        let mut conn = self.paper.db.read().await?;
        let found = match text.parse::<BatchId>() {
            Ok(id) => batches::get(&mut conn, &id).await?,
            Err(_) => batches::by_name(&mut conn, text).await?,
        };
        Ok(found.ok_or(PaperError::NoBatch)?)
    }

    async fn list(&self, brand: Option<&Brand>, state: Option<BatchState>, most: i64) -> Result<(), CliError> {
        let mut conn = self.paper.db.read().await?;
        let found = batches::list(&mut conn, brand, state, None, most.max(1)).await?;
        if self.json {
            output::json(&found.iter().map(view).collect::<Vec<_>>());
            return Ok(());
        }
        let row = |batch: &Batch| {
            [
                batch.name.clone(),
                batch.brand.to_string(),
                batch.kind.to_string(),
                batch.day.to_string(),
                if batch.hold.is_some() { format!("{}, held", batch.state) } else { batch.state.to_string() },
                batch.figures.envelopes.to_string(),
                batch.figures.letters.to_string(),
                batch.figures.sheets.to_string(),
            ]
        };
        output::table(
            ["batch", "brand", "kind", "day", "state", "envelopes", "letters", "sheets"],
            found.iter().map(row),
        );
        Ok(())
    }

    async fn show(&self, text: &str, unaccounted: bool) -> Result<(), CliError> {
        let batch = self.batch(text).await?;
        let mut conn = self.paper.db.read().await?;
        let states = envelopes::counts(&mut conn, &batch.id).await?;
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let part = if unaccounted {
                envelopes::unaccounted(&mut conn, &batch.id, after, PART).await?
            } else {
                envelopes::of_batch(&mut conn, &batch.id, None, after, PART).await?
            };
            let Some(last) = part.last() else { break };
            after = last.sequence;
            found.extend(part);
        }
        if self.json {
            let mut value = view(&batch);
            value["states"] = states.iter().map(|(state, n)| json!({ "state": state, "envelopes": n })).collect();
            value["pieces"] = found.iter().map(envelope_view).collect();
            output::json(&value);
            return Ok(());
        }
        self.tell(&batch);
        let states: Vec<String> = states.iter().map(|(state, n)| format!("{n} {state}")).collect();
        println!("  {}", states.join(", "));
        let row = |envelope: &Envelope| {
            [
                envelope.sequence.to_string(),
                envelope.state.to_string(),
                envelope.sheets.to_string(),
                envelope.serial.to_string(),
                envelope.reason.clone().unwrap_or_default(),
                if envelope.replaced_by.is_some() { "yes".into() } else { String::new() },
            ]
        };
        output::table(["envelope", "state", "sheets", "serial", "reason", "reprinted"], found.iter().map(row));
        Ok(())
    }

    async fn preview(&self, brand: &Brand) -> Result<(), CliError> {
        let preview = self.paper.preview(brand).await?;
        if self.json {
            output::json(&preview);
            return Ok(());
        }
        let figures = preview.figures;
        println!("{}: next cut-off {} for {}", preview.brand, preview.cut_off_at, preview.day);
        println!("  {} envelopes, {} letters, {} sheets", figures.envelopes, figures.letters, figures.sheets);
        println!("  {} letters held back, {} waiting for a person", preview.held, preview.waiting);
        Ok(())
    }

    async fn download(&self, stamp: Stamp<'_>, text: &str, to: &Path) -> Result<(), CliError> {
        let batch = self.batch(text).await?;
        std::fs::create_dir_all(to).map_err(CliError::at(to))?;
        let mut written = Vec::new();
        for file in PrintFile::ALL {
            let opened = self.paper.file(&batch, *file).await?;
            let (mut opened, stored) = opened.map_err(|error| CliError::Usage(error.to_string()))?;
            // before it is given out, it is written down that it is
            let mut tx = self.paper.db.begin().await?;
            let payload = json!({ "file": file });
            batches::event(&mut tx, stamp, &batch, EventType::PrintBatchDownloaded, payload).await?;
            tx.commit().await.map_err(DbError::from)?;
            let path = to.join(format!("{}-{file}", batch.name));
            let copied = std::fs::File::create(&path).and_then(|mut out| std::io::copy(&mut opened, &mut out));
            copied.map_err(CliError::at(&path))?;
            written.push((path, stored));
        }
        if self.json {
            let row = |(path, stored): &(PathBuf, batches::BatchFile)| json!({ "file": path, "sha256": stored.sha256, "bytes": stored.bytes });
            output::json(&written.iter().map(row).collect::<Vec<_>>());
        } else {
            written.iter().for_each(|(path, _)| println!("{}", path.display()));
        }
        Ok(())
    }

    async fn acknowledge(
        &self,
        stamp: Stamp<'_>,
        text: &str,
        file: Option<&Path>,
        all: Option<PieceEvent>,
    ) -> Result<(), CliError> {
        let batch = self.batch(text).await?;
        let (bytes, form) = match (file, all) {
            (Some(file), _) => {
                let bytes = std::fs::read(file).map_err(CliError::at(file))?;
                let is_csv = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
                (bytes, if is_csv { Form::Csv } else { Form::Ndjson })
            }
            (None, Some(event)) => (json!({ "all": true, "event": event }).to_string().into_bytes(), Form::Ndjson),
            (None, None) => return Err(CliError::Usage("name a file, or --all EVENT".into())),
        };
        let taken = self.paper.acknowledge(stamp, &batch.id, &bytes, form).await?;
        if self.json {
            let states = taken.states.iter().map(|(state, n)| json!({ "state": state, "envelopes": n }));
            output::json(&json!({
                "batch": view(&taken.batch),
                "changed": taken.changed,
                "known": taken.known,
                "problems": taken.problems,
                "states": states.collect::<Vec<_>>(),
                "unaccounted": taken.unaccounted,
            }));
        } else {
            println!("{} is {}: {} envelopes changed", taken.batch.name, taken.batch.state, taken.changed);
            taken.problems.iter().for_each(|problem| println!("  line {}: {}", problem.line, problem.problem));
            println!("  {} are not accounted for", taken.unaccounted);
        }
        if taken.problems.is_empty() { Ok(()) } else { Err(CliError::No) }
    }

    async fn returned(
        &self,
        stamp: Stamp<'_>,
        barcode: &str,
        reason: ReturnReason,
        file: Option<&Path>,
    ) -> Result<(), CliError> {
        let given = file.map(address).transpose()?;
        let came = self.paper.returned(stamp, barcode, reason, given.as_ref()).await?;
        if self.json {
            output::json(&json!({
                "batch": came.batch,
                "envelope": envelope_view(&came.envelope),
                "task": came.task.as_ref().map(|task| task.id.clone()),
                "again": came.again,
            }));
            return Ok(());
        }
        println!("envelope {} of {} came back", came.envelope.sequence, came.batch);
        match came.task {
            Some(task) => println!("  further mail to this address waits: task {}", task.id),
            None => println!("  {} letters wait for the next batch again", came.again),
        }
        Ok(())
    }

    async fn tasks(&self) -> Result<(), CliError> {
        let mut conn = self.paper.db.read().await?;
        let mut found: Vec<PaperTask> = Vec::new();
        loop {
            let after = found.last().map(|task| (task.due_at.as_microsecond(), task.id.clone()));
            let part = paper_tasks::standing(&mut conn, after.as_ref().map(|(at, id)| (*at, id)), PART).await?;
            if part.is_empty() {
                break;
            }
            found.extend(part);
        }
        if self.json {
            output::json(&found.iter().map(task_view).collect::<Vec<_>>());
            return Ok(());
        }
        let row = |task: &PaperTask| {
            [
                task.id.to_string(),
                task.brand.to_string(),
                task.kind.to_string(),
                task.reasons.join(" "),
                task.letter_id.as_ref().map(ToString::to_string).unwrap_or_default(),
                task.due_at.to_string(),
            ]
        };
        output::table(["task", "brand", "about", "reasons", "letter", "due"], found.iter().map(row));
        Ok(())
    }

    fn tell(&self, batch: &Batch) {
        if self.json {
            output::json(&view(batch));
            return;
        }
        let figures = batch.figures;
        println!(
            "{} ({}, {}) is {}: {} envelopes, {} letters, {} sheets",
            batch.name, batch.brand, batch.kind, batch.state, figures.envelopes, figures.letters, figures.sheets
        );
        if let Some(hold) = &batch.hold {
            println!("  held back by {}: {}", hold.by, hold.reason);
        }
    }

    fn tell_ended(&self, task: &PaperTask, again: usize) {
        if self.json {
            output::json(&json!({ "task": task_view(task), "again": again }));
        } else {
            println!("{} has ended; {again} letters wait for the next batch again", task.id);
        }
    }
}

fn view(batch: &Batch) -> Value {
    let hold = batch.hold.as_ref();
    json!({
        "id": batch.id,
        "name": batch.name,
        "brand": batch.brand,
        "kind": batch.kind,
        "day": batch.day,
        "state": batch.state,
        "cut_off_at": batch.cut_off_at,
        "envelopes": batch.figures.envelopes,
        "letters": batch.figures.letters,
        "pages": batch.figures.pages,
        "sheets": batch.figures.sheets,
        "files": batch.files,
        "held": hold.map(|hold| json!({ "at": hold.at, "by": hold.by, "reason": hold.reason })),
        "closed_by": batch.closed_by,
        "closed_at": batch.closed_at,
        "assembled_at": batch.assembled_at,
        "done_at": batch.done_at,
    })
}

fn envelope_view(envelope: &Envelope) -> Value {
    json!({
        "sequence": envelope.sequence,
        "state": envelope.state,
        "pages": envelope.pages,
        "sheets": envelope.sheets,
        "carrier": envelope.carrier,
        "serial": envelope.serial,
        "reason": envelope.reason,
        "reprint_of": envelope.reprint_of,
        "replaced_by": envelope.replaced_by,
    })
}

/// A task as programs get it. A terminal's list has no address.
fn task_view(task: &PaperTask) -> Value {
    let address: Phi<Value> = Phi(serde_json::from_str(task.to.address.reveal()).unwrap_or_default());
    json!({
        "id": task.id,
        "brand": task.brand,
        "kind": task.kind,
        "address": address,
        "letter_id": task.letter_id,
        "reasons": task.reasons,
        "due_at": task.due_at,
        "created_at": task.created_at,
        "ending": task.ending,
    })
}
