//! Back-ups beside a running node, going on from one, and what is held back as a whole (`docs/operations.md`).

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::{CliError, Common, Environment, code, output};
use crate::app::{backup, open_db};
use crate::db::{Db, DbError, Stamp, outgoing};
use crate::model::event::AT_COMMAND_LINE;
use crate::model::outgoing::Outgoing;
use crate::outside::context::Context;
use crate::outside::objects::Copied;
use crate::settings::Settings;

/// How long nothing is deleted at most for one back-up, in hours.
const HOURS: u32 = 24;

/// How to take a back-up.
#[derive(Subcommand)]
pub(super) enum BackupCommand {
    /// All at once, of SQLite: begin, database, objects, end.
    Take {
        #[command(flatten)]
        common: Common,
        /// A directory of its own for this back-up.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// No object is deleted from now on: run it before the database is copied.
    Begin {
        #[command(flatten)]
        common: Common,
        /// Until `end`, or for so long.
        #[arg(long, value_name = "N", default_value_t = HOURS)]
        hours: u32,
    },
    /// Copy all objects into DIR/objects: run it after the database was copied.
    Objects {
        #[command(flatten)]
        common: Common,
        /// A directory of its own for this back-up.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Objects are deleted again.
    End {
        #[command(flatten)]
        common: Common,
    },
}

/// How to go on from a back-up.
#[derive(Subcommand)]
pub(super) enum RestoreCommand {
    /// Fill the object store from DIR/objects.
    Objects {
        #[command(flatten)]
        common: Common,
        /// The back-up's directory.
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
    /// Say that nodes may go on from this database: what may have been sent since is in doubt, what would be sent is held.
    Finish {
        #[command(flatten)]
        common: Common,
    },
    /// Take out of the store what this database knows nothing of: senders' files go into DIR, the rest is deleted.
    Strays {
        #[command(flatten)]
        common: Common,
        /// Where the files go.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
}

/// What is held back as a whole.
#[derive(Subcommand)]
pub(super) enum OutgoingCommand {
    /// List it.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Hold back: mails, faxes, batches or destruction.
    Hold {
        #[command(flatten)]
        common: Common,
        /// What.
        #[arg(value_parser = code::<Outgoing>)]
        what: Outgoing,
    },
    /// Let it go on.
    Release {
        #[command(flatten)]
        common: Common,
        /// What.
        #[arg(value_parser = code::<Outgoing>)]
        what: Outgoing,
    },
}

pub(super) async fn run(command: BackupCommand, environment: &Environment) -> Result<(), CliError> {
    let ctx = Context::system();
    let stamp = Stamp { ctx: &ctx, actor: AT_COMMAND_LINE };
    match command {
        BackupCommand::Take { common, to } => {
            let settings = environment.settings(common.data.as_deref())?;
            let db = open_db(&settings).await?;
            backup::check_sqlite(&db)?;
            backup::begin(&db, stamp, HOURS).await?;
            let copied = copy(&db, &settings, &ctx, &to).await;
            // also where it failed: nothing is to lie undeleted for a day
            backup::end(&db).await?;
            told(&common, copied?);
            println_unless(&common, &key_word(&settings));
        }
        BackupCommand::Begin { common, hours } => {
            let db = open_db(&environment.settings(common.data.as_deref())?).await?;
            backup::begin(&db, stamp, hours).await?;
            println_unless(
                &common,
                &format!("no object is deleted for {hours} hours, or until `lettercase backup end`"),
            );
        }
        BackupCommand::Objects { common, to } => {
            let settings = environment.settings(common.data.as_deref())?;
            told(&common, backup::copy_objects(&settings, &ctx, &to).await?);
            println_unless(&common, &key_word(&settings));
        }
        BackupCommand::End { common } => {
            backup::end(&open_db(&environment.settings(common.data.as_deref())?).await?).await?;
            println_unless(&common, "objects are deleted again");
        }
    }
    Ok(())
}

async fn copy(db: &Db, settings: &Settings, ctx: &Context, to: &Path) -> Result<Copied, CliError> {
    backup::copy_database(db, to).await?;
    Ok(backup::copy_objects(settings, ctx, to).await?)
}

fn key_word(settings: &Settings) -> String {
    let key = settings.audit_key_file.clone().unwrap_or_else(|| settings.data_dir.join("audit.key"));
    format!("not in it: {}, which is to be kept apart from the events it vouches for", key.display())
}

fn told(common: &Common, copied: Copied) {
    if common.json {
        output::json(&copied);
    } else {
        println!("{} objects, {}", copied.objects, output::bytes(copied.bytes));
    }
}

fn println_unless(common: &Common, text: &str) {
    if !common.json {
        println!("{text}");
    }
}

pub(super) async fn restore(command: RestoreCommand, environment: &Environment) -> Result<(), CliError> {
    let ctx = Context::system();
    match command {
        RestoreCommand::Objects { common, from } => {
            let settings = environment.settings(common.data.as_deref())?;
            told(&common, backup::put_objects_back(&settings, &from).await?);
        }
        RestoreCommand::Finish { common } => {
            let settings = environment.settings(common.data.as_deref())?;
            let restored = backup::finish_restore(&settings, &ctx).await?;
            if common.json {
                output::json(&restored);
                return Ok(());
            }
            println!("the log of events goes on from {}", restored.ended);
            if let Some(reached) = restored.reached.filter(|reached| *reached > restored.ended) {
                println!("it had reached {reached}: {} events are lost", reached - restored.ended);
            }
            println!("in doubt: {} mails; held: {} print batches", restored.doubts.mails, restored.doubts.batches);
            println!("held back until `lettercase outgoing release`: mails, faxes, batches, destruction");
        }
        RestoreCommand::Strays { common, to } => {
            let settings = environment.settings(common.data.as_deref())?;
            let strays = backup::take_strays(&settings, &ctx, &to).await?;
            if common.json {
                output::json(&strays);
            } else {
                println!("{} files of senders are in {}", strays.saved, to.display());
                println!("{} other objects were deleted", strays.dropped);
            }
        }
    }
    Ok(())
}

pub(super) async fn outgoing(command: OutgoingCommand, environment: &Environment) -> Result<(), CliError> {
    let ctx = Context::system();
    let stamp = Stamp { ctx: &ctx, actor: AT_COMMAND_LINE };
    let (common, change) = match &command {
        OutgoingCommand::List { common } => (common, None),
        OutgoingCommand::Hold { common, what } => (common, Some((*what, true))),
        OutgoingCommand::Release { common, what } => (common, Some((*what, false))),
    };
    let settings = environment.settings(common.data.as_deref())?;
    let db = open_db(&settings).await?;
    if let Some((what, stands)) = change {
        let mut tx = db.begin().await?;
        outgoing::set(&mut tx, stamp, &settings.brand, what, stands).await?;
        tx.commit().await.map_err(DbError::from)?;
    }
    let held = {
        let mut conn = db.read().await?;
        outgoing::held(&mut conn).await?
    };
    let state = |what: Outgoing| held.iter().find(|held| held.what == what).map(|held| held.since);
    if common.json {
        let all = Outgoing::ALL.iter().map(|what| json!({ "what": what, "held_since": state(*what) }));
        output::json(&all.collect::<Vec<_>>());
    } else {
        let row = |what: &Outgoing| {
            [what.to_string(), state(*what).map_or("goes".into(), |since| format!("held since {since}"))]
        };
        output::table(["what", "state"], Outgoing::ALL.iter().map(row));
    }
    Ok(())
}
