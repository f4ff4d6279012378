//! The command line.

mod admin;
mod backup;
mod batches;
mod bench;
mod client;
mod demo;
mod demo_batches;
mod demo_faxes;
mod demo_letters;
mod demo_mails;
mod inspect;
mod keys;
mod letters;
pub mod made;
mod mails;
mod node;
mod output;
mod queue;
mod ready;
mod retention;
mod schedules;
mod sources;
mod submit;
mod templates;
mod users;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use thiserror::Error;

use crate::access::ManageError;
use crate::app::StartError;
use crate::app::backup::BackupError;
use crate::db::DbError;
use crate::delivery::LetterError;
use crate::digests::schedules::ScheduleError;
use crate::digests::upkeep::MailError;
use crate::engine::plan::PlanError;
use crate::intake::load::LoadError;
use crate::intake::review::ReviewError;
use crate::model::case::CaseKind;
use crate::model::ids::{
    AttachmentControlNumber, Brand, CaseNumber, ClaimNumber, DocumentId, IdError, MemberId, ReferenceNumber, Tin,
};
use crate::model::judgement::UnknownCode;
use crate::model::phi::Phi;
use crate::model::reference::ReferenceKind;
use crate::model::submission::Said;
use crate::paper::PaperError;
use crate::retention::RetentionError;
use crate::settings::{Settings, SettingsError};

/// Document intake and correspondence for health plans.
#[derive(Parser)]
#[command(name = "lettercase", version, about, max_term_width = 110)]
struct Cli {
    /// The settings file (TOML). Also LETTERCASE_SETTINGS.
    #[arg(long, global = true, value_name = "FILE")]
    settings: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// Where data lies and how an answer is printed: what most commands share.
#[derive(clap::Args)]
struct Common {
    /// The data directory; else the settings', else ./lettercase-data.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON with stable field names.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run HTTP and workers.
    Serve {
        #[command(flatten)]
        common: Common,
        /// Where to listen; beyond loopback the settings must name a certificate or trusted proxies.
        #[arg(long, value_name = "ADDR")]
        listen: Option<std::net::SocketAddr>,
    },
    /// Run workers only.
    Work {
        #[command(flatten)]
        common: Common,
        /// Where /health, /ready and /metrics are answered, and nothing else; without it, nowhere.
        #[arg(long, value_name = "ADDR")]
        listen: Option<std::net::SocketAddr>,
    },
    /// Check the settings and pipelines and print the plan as it is resolved.
    Check {
        #[command(flatten)]
        common: Common,
    },
    /// Is the node on this machine ready? For health checks: fails with the reasons when it is not.
    Ready {
        #[command(flatten)]
        common: Common,
    },
    /// Bring the database's schema up. Needed with PostgreSQL only.
    Migrate {
        #[command(flatten)]
        common: Common,
    },
    /// Load reference data: tins, providers, members, claims or cases, from NDJSON or CSV.
    Load {
        #[command(flatten)]
        common: Common,
        /// What the file holds.
        #[arg(value_parser = code::<ReferenceKind>)]
        kind: ReferenceKind,
        /// The file; its ending (.ndjson, .jsonl, .csv) tells its form.
        file: PathBuf,
    },
    /// Send files in as one submission and wait for the outcome.
    Submit(Box<submit::SubmitArgs>),
    /// Show a submission by its reference number or id, or how much is in each state.
    Status {
        #[command(flatten)]
        common: Common,
        /// Reference number or id of a submission.
        submission: Option<String>,
    },
    /// What would intake say of these files? Nothing is stored.
    Inspect(inspect::InspectArgs),
    /// Work that failed for good.
    DeadLetters {
        #[command(subcommand)]
        command: DeadLetters,
    },
    /// Have a held document judged again.
    Rescan {
        #[command(flatten)]
        common: Common,
        /// The document's id.
        document: DocumentId,
    },
    /// What a person decides about a match.
    Match {
        #[command(subcommand)]
        command: MatchCommand,
    },
    /// What waits for a person.
    Queue {
        #[command(subcommand)]
        command: queue::QueueCommand,
    },
    /// The mailroom's sources: watched folders and buckets, and their batches.
    Sources {
        #[command(subcommand)]
        command: sources::SourcesCommand,
    },
    /// Letters on their way: why one goes which way; stop, release, hold back.
    Letters {
        #[command(subcommand)]
        command: letters::LettersCommand,
    },
    /// Letters on paper: print batches, the printer's word, what came back.
    Batches {
        #[command(subcommand)]
        command: Box<batches::BatchesCommand>,
    },
    /// When digests go by mail: schedules, their edits and runs.
    Schedules {
        #[command(subcommand)]
        command: Box<schedules::SchedulesCommand>,
    },
    /// Mails of digests: how they stand, and what becomes of those in doubt.
    Mails {
        #[command(subcommand)]
        command: mails::MailsCommand,
    },
    /// What is destroyed when: plans, runs, legal holds.
    Retention {
        #[command(subcommand)]
        command: retention::RetentionCommand,
    },
    /// Take a back-up beside a running node.
    Backup {
        #[command(subcommand)]
        command: backup::BackupCommand,
    },
    /// Go on from a back-up.
    Restore {
        #[command(subcommand)]
        command: backup::RestoreCommand,
    },
    /// Hold back as a whole what can't be taken back: mails, faxes, print batches, destruction.
    Outgoing {
        #[command(subcommand)]
        command: backup::OutgoingCommand,
    },
    /// The event log.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// The conservation ledger: is everything that was accepted somewhere? Fails when not.
    Ledger {
        #[command(flatten)]
        common: Common,
    },
    /// Keys of services.
    Keys {
        #[command(subcommand)]
        command: keys::KeysCommand,
    },
    /// People with logins, their roles, and their rights per TIN.
    Users {
        #[command(subcommand)]
        command: users::UsersCommand,
    },
    /// Templates of letters: list, check, preview.
    Templates {
        #[command(subcommand)]
        command: templates::TemplatesCommand,
    },
    /// Send the samples through everything and show what becomes of each.
    Demo(demo::DemoArgs),
    /// Measure, beside a peer in the same run.
    Bench {
        #[command(subcommand)]
        command: bench::BenchCommand,
    },
    /// Print the completions of a shell.
    Completions {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
    /// The child that decodes: run by the program itself.
    #[command(hide = true)]
    Extract {
        /// Mode, type, job.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

#[derive(Subcommand)]
enum DeadLetters {
    /// List them with their reasons.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Set one to work again, or all of them.
    Replay {
        #[command(flatten)]
        common: Common,
        /// Subject and stage, as the list shows them.
        #[arg(num_args = 2, value_names = ["SUBJECT", "STAGE"], required_unless_present = "all")]
        which: Vec<String>,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
}

#[derive(Subcommand)]
enum MatchCommand {
    /// Take a document off its case.
    Undo {
        #[command(flatten)]
        common: Common,
        /// The document's id.
        document: DocumentId,
    },
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Verify that no event was changed, dropped or cut off. Fails when one was.
    Verify {
        #[command(flatten)]
        common: Common,
    },
}

/// What the sender says a submission is about.
#[derive(clap::Args)]
struct SaidArgs {
    /// Kind of case: reconsideration, precertification or appeal.
    #[arg(long, value_parser = code::<CaseKind>)]
    kind: CaseKind,
    /// The brand it is for; else the settings'.
    #[arg(long)]
    brand: Option<Brand>,
    /// Claim number.
    #[arg(long, value_name = "N")]
    claim: Option<ClaimNumber>,
    /// Case number.
    #[arg(long, value_name = "N")]
    case: Option<CaseNumber>,
    /// Reference number of an earlier submission.
    #[arg(long, value_name = "N")]
    reference: Option<ReferenceNumber>,
    /// Attachment control number.
    #[arg(long, value_name = "N")]
    attachment_control_number: Option<AttachmentControlNumber>,
    /// Member id.
    #[arg(long, value_name = "N")]
    member: Option<MemberId>,
    /// Practice.
    #[arg(long, value_name = "N")]
    tin: Option<Tin>,
    /// A date of service, YYYY-MM-DD.
    #[arg(long, value_name = "DATE")]
    service_date: Option<jiff::civil::Date>,
}

impl SaidArgs {
    fn said(&self) -> Said {
        Said {
            reference: self.reference.clone(),
            case_number: self.case.clone(),
            claim_number: self.claim.clone(),
            attachment_control_number: self.attachment_control_number.clone(),
            member_id: self.member.clone(),
            tin: self.tin.clone(),
            service_date: self.service_date.map(Phi),
            ..Said::default()
        }
    }
}

/// Why a command failed. Its text goes to the person at the terminal.
#[derive(Debug, Error)]
enum CliError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Review(#[from] ReviewError),
    #[error(transparent)]
    Letter(#[from] LetterError),
    #[error(transparent)]
    Paper(#[from] PaperError),
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error(transparent)]
    Mail(#[from] MailError),
    #[error(transparent)]
    Retention(#[from] RetentionError),
    #[error(transparent)]
    Manage(#[from] ManageError),
    #[error(transparent)]
    Client(#[from] client::ClientError),
    #[error(transparent)]
    Made(#[from] made::MakeError),
    #[error(transparent)]
    Serve(#[from] crate::http::server::ServeError),
    #[error("{0}: {1}")]
    File(PathBuf, #[source] std::io::Error),
    #[error("can't listen on {0}: {1}")]
    Listen(std::net::SocketAddr, #[source] std::io::Error),
    #[error("{0}")]
    Usage(String),
    /// The answer was printed, and it is a no.
    #[error("")]
    No,
}

impl CliError {
    /// What went wrong with this file or directory.
    fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::File(path, error)
    }
}

/// A directory that is gone with what it answers.
fn scratch() -> Result<tempfile::TempDir, CliError> {
    tempfile::tempdir().map_err(|error| CliError::File("the temporary directory".into(), error))
}

impl From<IdError> for CliError {
    fn from(error: IdError) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Reads one of an enum's codes, naming them all when it is none.
fn code<T: std::str::FromStr<Err = UnknownCode>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: UnknownCode| error.to_string())
}

/// The environment as it is at the start. What is not ours may hold what it likes.
///
/// # Errors
/// Names a variable of ours that is no text: without it another setting would count than was meant.
fn environment(all: impl Iterator<Item = (OsString, OsString)>) -> Result<BTreeMap<String, String>, CliError> {
    let mut variables = BTreeMap::new();
    for (name, value) in all {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => {
                variables.insert(name, value);
            }
            (Ok(name), Err(_)) if name.starts_with("LETTERCASE_") => {
                return Err(CliError::Usage(format!("{name} holds what is no UTF-8; set it anew")));
            }
            _ => {}
        }
    }
    Ok(variables)
}

struct Environment {
    settings_file: Option<PathBuf>,
    variables: BTreeMap<String, String>,
}

impl Environment {
    fn settings(&self, data: Option<&Path>) -> Result<Settings, SettingsError> {
        Settings::read(self.settings_file.as_deref(), self.variables.clone(), data)
    }
}

/// Runs the command line; the answer is the process's exit code.
pub fn main() -> ExitCode {
    // The child comes first and gets nothing of what follows: no runtime, no threads, no settings.
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("extract") {
        let rest: Vec<String> = words.collect();
        return extract(&rest);
    }
    // does nothing but in tests
    let _fail_points = fail::FailScenario::setup();
    let cli = Cli::parse();
    let variables = match environment(std::env::vars_os()) {
        Ok(variables) => variables,
        Err(error) => return fail(&error.to_string()),
    };
    let file = cli.settings.or_else(|| variables.get("LETTERCASE_SETTINGS").map(PathBuf::from));
    let environment = Environment { settings_file: file, variables };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("can't start: {error}")),
    };
    match runtime.block_on(run(cli.command, &environment)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError::No) => ExitCode::FAILURE,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                if !text.contains(&cause.to_string()) {
                    text = format!("{text}: {cause}");
                }
                source = cause.source();
            }
            fail(&text)
        }
    }
}

fn extract(args: &[String]) -> ExitCode {
    crate::intake::extract::child::main(args)
}

fn fail(text: &str) -> ExitCode {
    eprintln!("lettercase: {text}");
    ExitCode::from(2)
}

async fn run(command: Command, environment: &Environment) -> Result<(), CliError> {
    match command {
        Command::Serve { common, listen } => {
            node::start_log(environment, true);
            let mut settings = environment.settings(common.data.as_deref())?;
            settings.listen = listen.unwrap_or(settings.listen);
            node::serve(settings).await
        }
        Command::Work { common, listen } => {
            node::start_log(environment, true);
            node::work(environment.settings(common.data.as_deref())?, listen).await
        }
        Command::Submit(args) => submit::run(*args, environment).await,
        Command::Ready { common } => ready::run(&environment.settings(common.data.as_deref())?).await,
        Command::Inspect(args) => inspect::run(args, environment).await,
        Command::Demo(args) => demo::run(args, environment).await,
        Command::Bench { command } => bench::run(command, environment).await,
        Command::Queue { command } => {
            node::start_log(environment, false);
            queue::run(command, environment).await
        }
        Command::Sources { command } => {
            node::start_log(environment, false);
            sources::run(command, environment).await
        }
        Command::Letters { command } => {
            node::start_log(environment, false);
            letters::run(command, environment).await
        }
        Command::Batches { command } => {
            node::start_log(environment, false);
            batches::run(*command, environment).await
        }
        Command::Schedules { command } => {
            node::start_log(environment, false);
            schedules::run(*command, environment).await
        }
        Command::Mails { command } => {
            node::start_log(environment, false);
            mails::run(command, environment).await
        }
        Command::Retention { command } => {
            node::start_log(environment, false);
            retention::run(command, environment).await
        }
        Command::Backup { command } => {
            node::start_log(environment, false);
            backup::run(command, environment).await
        }
        Command::Restore { command } => {
            node::start_log(environment, false);
            backup::restore(command, environment).await
        }
        Command::Outgoing { command } => {
            node::start_log(environment, false);
            backup::outgoing(command, environment).await
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "lettercase", &mut std::io::stdout());
            Ok(())
        }
        Command::Extract { args } => {
            // reached only where the word is not the first: there is nothing to do for a person
            let _ = args;
            Err(CliError::Usage("extract is run by the program itself".into()))
        }
        Command::Keys { command } => keys::run(command, environment).await,
        Command::Users { command } => users::run(command, environment).await,
        Command::Templates { command } => templates::run(command, environment),
        other => {
            node::start_log(environment, false);
            admin::run(other, environment).await
        }
    }
}
