//! The second half of `demo`: the sample events to letters, as services would ask for them, and what becomes of each.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CliError;
use super::client::{ApiClient, ClientError};
use super::letters::sentence;
use super::node::Node;
use crate::db::case_files;
use crate::db::deliveries::{self, Delivery};
use crate::db::letters::{self, Filter, Letter};
use crate::letters::asks::OURSELVES;
use crate::model::ids::{Brand, CaseNumber, LetterId, Sha256};
use crate::model::letter::{Circumstance, DeliveryChannel, DeliveryState, LetterState, LetterType};

/// How often a letter that is waited for is looked at, and how long.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const PATIENCE: u32 = 2_400;
/// Letters that are read at once.
const PART: i64 = 200;

/// A file of `samples/events/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleEvent {
    what: String,
    #[serde(default)]
    letter: Option<Value>,
    #[serde(default)]
    status: Option<SampleStatus>,
    expect: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleStatus {
    case_number: CaseNumber,
    status: String,
    #[serde(default)]
    circumstances: Vec<Circumstance>,
    #[serde(default)]
    letter: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    r#type: LetterType,
    #[serde(default)]
    channels: Vec<DeliveryChannel>,
    /// The field that it lacks, where it can't be produced.
    #[serde(default)]
    refused: Option<String>,
}

/// A letter as the report has it.
#[derive(Serialize)]
pub(super) struct ReportedLetter {
    #[serde(skip)]
    id: LetterId,
    event: String,
    what: String,
    r#type: LetterType,
    number: String,
    state: LetterState,
    /// Below the data directory; none where it was not produced.
    pdf: Option<PathBuf>,
    sha256: Option<Sha256>,
    pages: Option<u32>,
    deliveries: Vec<ReportedDelivery>,
    reason: Option<String>,
}

#[derive(Serialize)]
struct ReportedDelivery {
    channel: DeliveryChannel,
    reason: String,
    state: DeliveryState,
}

impl ReportedLetter {
    fn of(event: &str, what: &str, letter: Letter, pdf: Option<PathBuf>, ways: &[Delivery]) -> Self {
        Self {
            id: letter.id,
            event: event.to_owned(),
            what: what.to_owned(),
            r#type: letter.letter_type,
            number: letter.number.to_string(),
            state: letter.state,
            pdf,
            sha256: letter.made.as_ref().map(|made| made.sha256.clone()),
            pages: letter.made.as_ref().map(|made| made.pages),
            deliveries: reported(ways),
            reason: letter.reason.map(|(_, sentence)| sentence),
        }
    }

    /// The row of the table.
    pub(super) fn row(&self) -> [String; 5] {
        let ways: Vec<&str> = self.deliveries.iter().map(|delivery| delivery.channel.as_str()).collect();
        [
            self.event.clone(),
            self.r#type.to_string(),
            self.state.to_string(),
            ways.join(", "),
            self.pages.map(|pages| pages.to_string()).unwrap_or_default(),
        ]
    }
}

fn reported(ways: &[Delivery]) -> Vec<ReportedDelivery> {
    let told = |way: &Delivery| ReportedDelivery {
        channel: way.channel,
        reason: way.reasons.first().map(|code| sentence(code).to_owned()).unwrap_or_default(),
        state: way.state,
    };
    ways.iter().map(told).collect()
}

/// How the letters' deliveries stand now: batches were closed and faxes answered meanwhile.
pub(super) async fn look_again(node: &Node, letters: &mut [ReportedLetter]) -> Result<(), CliError> {
    for letter in letters {
        letter.deliveries = reported(&ways(node, &letter.id).await?);
    }
    Ok(())
}

/// Sends the events in and waits for their letters.
pub(super) async fn play(
    node: &Node,
    client: &ApiClient,
    events: &Path,
    (data, brand): (&Path, &Brand),
    surprises: &mut Vec<String>,
) -> Result<Vec<ReportedLetter>, CliError> {
    let entries = std::fs::read_dir(events).map_err(CliError::at(events))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let dir = data.join("letters-pdf");
    std::fs::create_dir_all(&dir).map_err(CliError::at(&dir))?;
    let today = node.app.correspondence.calendar.local_day(node.app.intake.ctx.now());
    let mut reported = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(CliError::at(&file))?;
        let read = |e: serde_json::Error| CliError::Usage(format!("{}: {e}", file.display()));
        let mut event: Value = serde_json::from_str(&text).map_err(read)?;
        date(&mut event, today);
        let event: SampleEvent = serde_json::from_value(event).map_err(read)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let id = match (&event.letter, &event.status) {
            (Some(letter), None) => client.ask_letter(letter).await?,
            (None, Some(status)) => set_status(node, client, brand, status, event.expect.r#type).await?,
            _ => return Err(CliError::Usage(format!("{}: it needs letter or status", file.display()))),
        };
        let letter = wait(node, &id).await?;
        let pdf = save(client, &letter, &dir.join(format!("{name}.pdf")), data).await?;
        let letter = report(node, name, event, letter, pdf, surprises).await?;
        reported.push(letter);
    }
    let known: HashSet<String> = reported.iter().map(|letter| letter.number.clone()).collect();
    for letter in of_themselves(node, &known).await? {
        let number = letter.number.to_string();
        let letter = wait(node, &letter.id).await?;
        if letter.state != LetterState::Routed {
            surprises.push(format!("{number}: a status's own letter is {}", letter.state));
        }
        let pdf = save(client, &letter, &dir.join(format!("{number}.pdf")), data).await?;
        let ways = ways(node, &letter.id).await?;
        reported.push(ReportedLetter::of("by itself", "A case came into this status.", letter, pdf, &ways));
    }
    Ok(reported)
}

/// The letters that no sample event asked for, but a case's status.
async fn of_themselves(node: &Node, known: &HashSet<String>) -> Result<Vec<Letter>, CliError> {
    let mut found: Vec<Letter> = Vec::new();
    let mut conn = node.app.intake.db.read().await?;
    loop {
        let after = found.last().map(|letter| (letter.created_at.as_microsecond(), letter.id.clone()));
        let after = after.as_ref().map(|(at, id)| (*at, id));
        let part = letters::list(&mut conn, Filter::All, after, PART).await?;
        let last = part.len() < PART as usize;
        found.extend(part);
        if last {
            break;
        }
    }
    found.retain(|letter| letter.asker == OURSELVES && !known.contains(letter.number.as_str()));
    found.reverse();
    Ok(found)
}

/// Writes a letter's PDF, if it has one, and says where below the data directory it lies.
async fn save(client: &ApiClient, letter: &Letter, path: &Path, data: &Path) -> Result<Option<PathBuf>, CliError> {
    if letter.made.is_none() {
        return Ok(None);
    }
    let bytes = client.letter_pdf(&letter.id).await?;
    std::fs::write(path, bytes).map_err(CliError::at(path))?;
    Ok(path.strip_prefix(data).ok().map(Path::to_owned))
}

/// Turns `today` and `today+30` into dates: a sample's deadline must lie ahead whenever it is played.
fn date(value: &mut Value, today: Date) {
    match value {
        Value::String(text) => {
            let Some(days) = text.strip_prefix("today") else { return };
            let days: i64 = if days.is_empty() { 0 } else { days.parse().unwrap_or_default() };
            *text = today.saturating_add(days.days()).to_string();
        }
        Value::Array(values) => values.iter_mut().for_each(|value| date(value, today)),
        Value::Object(fields) => fields.values_mut().for_each(|value| date(value, today)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Sets the status, and finds the letter that it asked for. On data of an earlier run the case has it already.
async fn set_status(
    node: &Node,
    client: &ApiClient,
    brand: &Brand,
    wanted: &SampleStatus,
    letter_type: LetterType,
) -> Result<LetterId, CliError> {
    let db = &node.app.intake.db;
    let case = {
        let mut conn = db.read().await?;
        case_files::by_number(&mut conn, brand, &wanted.case_number).await?
    };
    let case = case.ok_or_else(|| CliError::Usage("a sample event names a case that is not loaded".into()))?;
    let mut request = serde_json::json!({ "status": wanted.status, "circumstances": wanted.circumstances });
    if let Some(letter) = &wanted.letter {
        request["letter"] = letter.clone();
    }
    match client.set_status(&case.id, &request).await {
        Ok(()) => {}
        Err(ClientError::Refused(told)) if told.code == "wrong_state" => {}
        Err(error) => return Err(error.into()),
    }
    for _ in 0..PATIENCE {
        let mut conn = db.read().await?;
        let found = letters::list(&mut conn, Filter::Case(&case.id), None, 20).await?;
        if let Some(letter) = found.into_iter().find(|letter| letter.letter_type == letter_type) {
            return Ok(letter.id);
        }
        drop(conn);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(CliError::Usage("no letter followed from a status".into()))
}

/// The letter, once nothing more happens by itself.
async fn wait(node: &Node, id: &LetterId) -> Result<Letter, CliError> {
    for _ in 0..PATIENCE {
        let mut conn = node.app.intake.db.read().await?;
        let arriving = |way: &Delivery| way.channel == DeliveryChannel::Inbox && way.state == DeliveryState::Waiting;
        if let Some(letter) = letters::get(&mut conn, id).await?.filter(|letter| letter.state.is_final())
            && !deliveries::of_letter(&mut conn, id).await?.iter().any(arriving)
        {
            return Ok(letter);
        }
        drop(conn);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(CliError::Usage("a letter did not come to its end".into()))
}

async fn ways(node: &Node, id: &LetterId) -> Result<Vec<Delivery>, CliError> {
    let mut conn = node.app.intake.db.read().await?;
    Ok(deliveries::of_letter(&mut conn, id).await?)
}

async fn report(
    node: &Node,
    name: String,
    event: SampleEvent,
    letter: Letter,
    pdf: Option<PathBuf>,
    surprises: &mut Vec<String>,
) -> Result<ReportedLetter, CliError> {
    let ways = ways(node, &letter.id).await?;
    let mut went: Vec<DeliveryChannel> = ways.iter().map(|way| way.channel).collect();
    let mut wanted = event.expect.channels;
    went.sort_unstable();
    wanted.sort_unstable();
    let sentence = letter.reason.as_ref().map(|(_, sentence)| sentence.as_str()).unwrap_or_default();
    let as_expected = match &event.expect.refused {
        None => letter.state == LetterState::Routed && went == wanted,
        Some(field) => letter.state == LetterState::Refused && sentence.contains(field),
    };
    if !as_expected || letter.letter_type != event.expect.r#type {
        let went: Vec<&str> = went.into_iter().map(DeliveryChannel::as_str).collect();
        surprises.push(format!("{name}: {} {} {sentence}", letter.state, went.join(" ")));
    }
    Ok(ReportedLetter::of(&name, &event.what, letter, pdf, &ways))
}
