//! `demo`: the samples through everything, as their senders would push them, and what becomes of each.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use indicatif::{MultiProgress, ProgressBar};
use serde::{Deserialize, Serialize};

use super::client::{ApiClient, ClientError};
use super::demo_batches::{self, ReportedBatch};
use super::demo_faxes::{self, ReportedFax};
use super::demo_letters::{self, ReportedLetter};
use super::demo_mails::{self, ReportedMail, ReportedSchedule};
use super::node::{Node, start_log};
use super::submit::upload_bar;
use super::{CliError, Environment, admin, made, output};
use crate::db::ledger;
use crate::engine::plan::PlanError;
use crate::http::api::submissions::OpenRequest;
use crate::http::api::view::{DocumentView, SubmissionView};
use crate::intake::reconcile::compare_content;
use crate::model::case::CaseKind;
use crate::model::document::DocumentState;
use crate::model::ids::{AttachmentControlNumber, CaseNumber, ClaimNumber, MemberId, ReferenceNumber, Tin};
use crate::model::judgement::Verdict;
use crate::model::people::PeopleKind;
use crate::model::phi::Phi;
use crate::model::reference::ReferenceKind;
use crate::model::submission::Said;

/// Arguments of `demo`.
#[derive(clap::Args)]
pub(super) struct DemoArgs {
    /// Where everything lies.
    #[arg(long, value_name = "DIR", default_value = "demo-data")]
    data: PathBuf,
    /// Write what happened as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Go on serving afterwards.
    #[arg(long)]
    serve: bool,
    /// Where the samples are.
    #[arg(long, value_name = "DIR", default_value = "samples")]
    samples: PathBuf,
}

/// What `cases` answers to a second request for a claim names this rule.
const ONE_OPEN: &str = "REC-03";

/// The brand of the samples.
const BRAND: &str = "meridian";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenarios {
    submission: Vec<Scenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    name: String,
    what: String,
    kind: CaseKind,
    said: ScenarioSaid,
    files: Vec<ScenarioFile>,
    status: String,
    #[serde(default)]
    shown: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ScenarioSaid {
    claim: Option<ClaimNumber>,
    case: Option<CaseNumber>,
    reference_of: Option<String>,
    attachment_control_number: Option<AttachmentControlNumber>,
    member: Option<MemberId>,
    tin: Option<Tin>,
    service_from: Option<jiff::civil::Date>,
    service_to: Option<jiff::civil::Date>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    name: String,
    #[serde(default)]
    made: Option<String>,
    expect: DocumentState,
    #[serde(default)]
    case: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// What the demo reports.
#[derive(Serialize)]
struct Report {
    documents: Vec<ReportedDocument>,
    submissions: Vec<ReportedSubmission>,
    letters: Vec<ReportedLetter>,
    batches: Vec<ReportedBatch>,
    faxes: Vec<ReportedFax>,
    mails: Vec<ReportedMail>,
    schedules: Vec<ReportedSchedule>,
    ledger: ReportedLedger,
    scanner: ReportedScanner,
    /// What did not become what the scenario says.
    surprises: Vec<String>,
}

#[derive(Clone, Serialize)]
struct ReportedDocument {
    file: String,
    detected_type: Option<String>,
    size_bytes: u64,
    verdict: Verdict,
    signature: Option<String>,
    status: DocumentState,
    case: Option<String>,
    reason: Option<String>,
    elapsed_ms: Option<i64>,
}

#[derive(Serialize)]
struct ReportedSubmission {
    name: String,
    reference: ReferenceNumber,
    kind: CaseKind,
    status: String,
    case_status: Option<String>,
    /// The files' names, as they were sent.
    documents: Vec<String>,
}

#[derive(Serialize)]
struct ReportedLedger {
    #[serde(flatten)]
    counted: ledger::Ledger,
    objects: HashMap<&'static str, (i64, i64)>,
}

#[derive(Serialize)]
struct ReportedScanner {
    engine: String,
    database: String,
    test_signatures_only: bool,
}

pub(super) async fn run(args: DemoArgs, environment: &Environment) -> Result<(), CliError> {
    start_log(environment, false);
    let samples = find_samples(&args.samples)?;
    let mut settings = environment.settings(Some(&args.data))?;
    settings.scanner.allow_test_signatures = true;
    settings.brand = BRAND.parse()?;
    settings.fax_gateway = Some(demo_faxes::folder(&args.data));
    let (_receiver, mail) = demo_mails::receive(&args.data).await?;
    settings.mail = Some(mail);
    let node = Node::start(settings, Some(([127, 0, 0, 1], 0).into())).await?;
    let done = perform(&node, &samples, &args).await;
    if args.serve && done.is_ok() {
        eprintln!("serving on {}; ctrl-c ends it", node.url());
        // without a signal there is nothing to wait for
        let _ = tokio::signal::ctrl_c().await;
    }
    node.stop().await;
    done
}

/// The samples below the current directory, or beside the sources this program was built from.
fn find_samples(given: &Path) -> Result<PathBuf, CliError> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    [given.to_owned(), beside]
        .into_iter()
        .find(|dir| dir.join("scenarios.toml").is_file())
        .ok_or_else(|| CliError::Usage(format!("no samples in {}; say --samples DIR", given.display())))
}

async fn perform(node: &Node, samples: &Path, args: &DemoArgs) -> Result<(), CliError> {
    let intake = &node.app.intake;
    let version = intake
        .scanner
        .ready(intake.ctx.now())
        .await
        .map_err(|not_ready| CliError::Usage(format!("no scanner is fit to be used: {not_ready}")))?;
    output::tell_scanner(&version);
    for kind in ReferenceKind::ALL {
        let file = samples.join("reference").join(format!("{kind}.ndjson"));
        let loaded = admin::load_path(&intake.db, *kind, &file).await?;
        eprintln!("{kind}: {} loaded, {} rejected", loaded.loaded, loaded.rejected);
    }
    for kind in [PeopleKind::Users, PeopleKind::Entitlements, PeopleKind::Choices] {
        let path = samples.join("people").join(format!("{kind}.ndjson"));
        let loaded = super::users::load_path(&node.app.access, kind, &path).await?;
        eprintln!("{kind}: {} loaded, {} rejected", loaded.loaded, loaded.rejected);
    }
    let path = samples.join("scenarios.toml");
    let text = std::fs::read_to_string(&path).map_err(CliError::at(&path))?;
    let scenarios: Scenarios = toml::from_str(&text)
        .map_err(|e| PlanError::Syntax { file: path.display().to_string(), message: e.to_string() })?;
    let mut demo = Demo {
        client: ApiClient::new(&node.url(), &node.key)?,
        documents_dir: samples.join("documents"),
        scratch: crate::cli::scratch()?,
        limits: intake.plan.limits.clone(),
        bars: MultiProgress::new(),
        references: HashMap::new(),
        repeated: HashSet::new(),
        report: Vec::new(),
        rows: Vec::new(),
        submissions: Vec::new(),
        surprises: Vec::new(),
    };
    for scenario in &scenarios.submission {
        demo.play(scenario).await?;
    }
    let data = (args.data.as_path(), &node.app.settings.brand);
    let mut letters =
        demo_letters::play(node, &demo.client, &samples.join("events"), data, &mut demo.surprises).await?;
    let batches = demo_batches::close(&demo.client, data).await?;
    let faxes = demo_faxes::answer(node, &args.data).await?;
    demo_letters::look_again(node, &mut letters).await?;
    let (mails, schedules) = demo_mails::play(node, &args.data, &mut demo.surprises).await?;
    let counted = {
        let mut conn = intake.db.read().await?;
        ledger::count(&mut conn).await?
    };
    let objects = compare_content(&intake.db, intake.objects.as_ref())
        .await
        .map_err(|error| CliError::Usage(error.to_string()))?;
    let difference = counted.difference + objects.values().map(|(a, b)| a.abs() + b).sum::<i64>();
    let report = Report {
        documents: demo.report,
        submissions: demo.submissions,
        letters,
        batches,
        faxes,
        mails,
        schedules,
        ledger: ReportedLedger { counted: ledger::Ledger { difference, ..counted }, objects },
        scanner: ReportedScanner {
            engine: version.engine.clone(),
            database: version.signatures.clone(),
            test_signatures_only: version.test_signatures_only,
        },
        surprises: demo.surprises,
    };
    output::table(["file", "type", "verdict", "status", "case", "ms"], demo.rows);
    output::table(
        ["reference", "submission", "kind", "status", "case status", "files"],
        report.submissions.iter().map(|s| {
            let case = s.case_status.clone().unwrap_or_default();
            [
                s.reference.to_string(),
                s.name.clone(),
                s.kind.to_string(),
                s.status.clone(),
                case,
                s.documents.len().to_string(),
            ]
        }),
    );
    output::table(["event", "letter", "state", "goes to", "pages"], report.letters.iter().map(ReportedLetter::row));
    output::table(
        ["print batch", "envelopes", "letters", "sheets", "file"],
        report.batches.iter().map(ReportedBatch::row),
    );
    output::table(["fax", "state", "pages", "picture"], report.faxes.iter().map(ReportedFax::row));
    output::table(["schedule", "next"], report.schedules.iter().map(ReportedSchedule::row));
    output::table(["mail to", "digest", "subject", "practices", "file"], report.mails.iter().map(ReportedMail::row));
    output::tell_scanner(&version);
    output::ledger_of_letters(&report.ledger.counted);
    println!("ledger: {} receipts, difference {}", report.ledger.counted.receipts, report.ledger.counted.difference);
    for surprise in &report.surprises {
        println!("not as expected: {surprise}");
    }
    if let Some(file) = &args.report {
        let text = serde_json::to_string_pretty(&report).map_err(|error| CliError::Usage(error.to_string()))?;
        std::fs::write(file, text + "\n").map_err(CliError::at(file))?;
        println!("report: {}", file.display());
    }
    if report.surprises.is_empty() && difference == 0 { Ok(()) } else { Err(CliError::No) }
}

struct Demo {
    client: ApiClient,
    documents_dir: PathBuf,
    scratch: tempfile::TempDir,
    limits: crate::intake::plan::Limits,
    bars: MultiProgress,
    references: HashMap<String, ReferenceNumber>,
    /// Requests for a claim whose reconsideration an earlier run opened, and what refers to them.
    repeated: HashSet<String>,
    report: Vec<ReportedDocument>,
    rows: Vec<[String; 6]>,
    submissions: Vec<ReportedSubmission>,
    surprises: Vec<String>,
}

impl Demo {
    /// Sends one scenario's files in and waits for what becomes of them.
    async fn play(&mut self, scenario: &Scenario) -> Result<(), CliError> {
        let request = OpenRequest {
            kind: scenario.kind,
            brand: None,
            said: self.said(&scenario.said)?,
            sender_reference: Some(scenario.name.clone()),
            resubmits: None,
        };
        let opened = self.client.open(&request).await?;
        self.references.insert(scenario.name.clone(), opened.reference.clone());
        let mut refused: HashMap<String, (String, u64)> = HashMap::new();
        for file in &scenario.files {
            let path = self.path_of(file, scenario.kind)?;
            let bar = self.bars.add(upload_bar(&file.name));
            match self.client.add(&opened.id, &file.name, &path, &bar).await {
                Ok(()) => {}
                Err(ClientError::Refused(told)) => {
                    let size = std::fs::metadata(&path).map(|meta| meta.len()).unwrap_or_default();
                    refused.insert(file.name.clone(), (told.code, size));
                }
                Err(error) => return Err(error.into()),
            }
            bar.finish_and_clear();
        }
        self.client.submit(&opened.id).await?;
        let waiting = self.bars.add(ProgressBar::new_spinner().with_message(scenario.what.clone()));
        waiting.enable_steady_tick(std::time::Duration::from_millis(120));
        let outcome = self.client.wait(&opened.id, |_| {}).await?;
        waiting.finish_and_clear();
        self.note(scenario, &outcome, &refused);
        Ok(())
    }

    fn said(&self, said: &ScenarioSaid) -> Result<Said, CliError> {
        let reference = match &said.reference_of {
            None => None,
            Some(name) => Some(self.references.get(name).cloned().ok_or_else(|| {
                CliError::Usage(format!("scenarios.toml: reference_of names {name}, which was not sent before"))
            })?),
        };
        Ok(Said {
            reference,
            case_number: said.case.clone(),
            claim_number: said.claim.clone(),
            attachment_control_number: said.attachment_control_number.clone(),
            member_id: said.member.clone(),
            tin: said.tin.clone(),
            service_date: said.service_from.or(said.service_to).map(Phi),
            ..Said::default()
        })
    }

    /// A sample's path; a hostile one is made now.
    fn path_of(&self, file: &ScenarioFile, kind: CaseKind) -> Result<PathBuf, CliError> {
        let Some(made) = &file.made else { return Ok(self.documents_dir.join(&file.name)) };
        let path = self.scratch.path().join(made);
        made::make(made, self.limits.of(kind).file_bytes, &path)?;
        Ok(path)
    }

    fn note(&mut self, scenario: &Scenario, outcome: &SubmissionView, refused: &HashMap<String, (String, u64)>) {
        let again = outcome.case_note.as_deref().is_some_and(|note| note.contains(ONE_OPEN));
        let follows = scenario.said.reference_of.as_ref().is_some_and(|name| self.repeated.contains(name));
        if again || follows {
            self.repeated.insert(scenario.name.clone());
        }
        for file in &scenario.files {
            let seen = outcome.documents.iter().rev().find(|d| d.file_name == file.name);
            match (seen, refused.get(&file.name)) {
                (Some(seen), refused) => self.note_document(scenario, file, seen, outcome, refused),
                (None, Some((code, size_bytes))) => self.note_refused(scenario, file, code, *size_bytes),
                (None, None) => self.surprises.push(format!("{}/{}: there is no document", scenario.name, file.name)),
            }
        }
        let state = outcome.state.as_str();
        if state != scenario.status {
            self.surprises.push(format!("{}: {state}, not {}", scenario.name, scenario.status));
        }
        let shown = [Some(outcome.status.as_str()), outcome.case_status.as_deref()];
        if let Some(expected) = &scenario.shown
            && !self.repeated.contains(&scenario.name)
            && !shown.contains(&Some(expected))
        {
            self.surprises.push(format!("{}: shown as {shown:?}, not {expected}", scenario.name));
        }
        self.submissions.push(ReportedSubmission {
            name: scenario.name.clone(),
            reference: outcome.reference.clone(),
            kind: outcome.kind,
            status: outcome.status.clone(),
            case_status: outcome.case_status.clone(),
            documents: scenario.files.iter().map(|file| file.name.clone()).collect(),
        });
    }

    /// A file refused before its first byte was read: it never became a document.
    fn note_refused(&mut self, scenario: &Scenario, file: &ScenarioFile, code: &str, size_bytes: u64) {
        if file.expect != DocumentState::Rejected || file.reason.as_deref() != Some(code) {
            self.surprises.push(format!("{}/{}: refused as {code}", scenario.name, file.name));
        }
        self.add_row(ReportedDocument {
            file: file.name.clone(),
            detected_type: None,
            size_bytes,
            verdict: Verdict::Reject,
            signature: None,
            status: DocumentState::Rejected,
            case: None,
            reason: Some(code.to_owned()),
            elapsed_ms: None,
        });
    }

    fn note_document(
        &mut self,
        scenario: &Scenario,
        file: &ScenarioFile,
        seen: &DocumentView,
        outcome: &SubmissionView,
        refused: Option<&(String, u64)>,
    ) {
        let code = seen.reason.as_ref().map(|reason| reason.code.to_string());
        let expected_case = match file.case.as_deref() {
            // a failed request's good files wait for a new attempt; they are on no case
            _ if file.expect != DocumentState::Matched => None,
            Some("opened") => outcome.case_number.clone().or_else(|| seen.case_number.clone()),
            case => case.map(ToOwned::to_owned),
        };
        // opened by an earlier run: what is said here leads to it or, by the new request's number, to none
        let on_earlier = self.repeated.contains(&scenario.name)
            && file.case.as_deref() == Some("opened")
            && matches!(seen.state, DocumentState::Matched | DocumentState::NeedsReview | DocumentState::Unmatched);
        let expected = seen.state == file.expect && seen.case_number == expected_case;
        if code != file.reason || !(expected || on_earlier) {
            self.surprises.push(format!(
                "{}/{}: {} {} {}, not {} {} {}",
                scenario.name,
                file.name,
                seen.state,
                code.as_deref().unwrap_or("-"),
                seen.case_number.as_deref().unwrap_or("-"),
                file.expect,
                file.reason.as_deref().unwrap_or("-"),
                expected_case.as_deref().unwrap_or("-"),
            ));
        }
        let ended = seen.ended_at.or(seen.accepted_at);
        let elapsed_ms = ended.map(|ended| ended.as_millisecond() - seen.received_at.as_millisecond());
        self.add_row(ReportedDocument {
            file: file.name.clone(),
            detected_type: seen.file_type.map(|t| t.to_string()).or_else(|| seen.detected.clone()),
            size_bytes: seen.size_bytes.or_else(|| refused.map(|(_, size)| *size)).unwrap_or_default(),
            verdict: verdict(seen.state),
            signature: seen.signature.clone(),
            status: seen.state,
            case: seen.case_number.clone(),
            reason: code.or_else(|| seen.why.clone()),
            elapsed_ms,
        });
    }

    fn add_row(&mut self, reported: ReportedDocument) {
        self.rows.push([
            reported.file.clone(),
            reported.detected_type.clone().unwrap_or_else(|| "-".into()),
            reported.signature.clone().map_or_else(|| reported.verdict.to_string(), |s| format!("virus {s}")),
            // a refusal's code; why a person has to choose is in the report
            match &reported.reason {
                Some(code) if reported.verdict != Verdict::Accept => format!("{} ({code})", reported.status),
                _ => reported.status.to_string(),
            },
            reported.case.clone().unwrap_or_default(),
            reported.elapsed_ms.map(|ms| ms.to_string()).unwrap_or_default(),
        ]);
        self.report.push(reported);
    }
}

/// A state in the words of `inspect`.
const fn verdict(state: DocumentState) -> Verdict {
    match state {
        DocumentState::Rejected => Verdict::Reject,
        DocumentState::Quarantined => Verdict::Virus,
        DocumentState::Held => Verdict::Held,
        _ => Verdict::Accept,
    }
}
