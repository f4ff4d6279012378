//! The second half of `demo`: the sample events to letters, as services would ask for them, and what becomes of each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CliError;
use super::client::{ApiClient, ClientError};
use super::node::Node;
use crate::db::letters::{self, Filter, Letter};
use crate::db::{case_files, deliveries};
use crate::model::ids::{Brand, CaseNumber, LetterId, Sha256};
use crate::model::letter::{DeliveryChannel, LetterState, LetterType};
use crate::model::route::RouteReason;

/// How often a letter that is waited for is looked at, and how long.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const PATIENCE: u32 = 2_400;

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
}

impl ReportedLetter {
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

/// Sends the events in and waits for their letters.
pub(super) async fn play(
    node: &Node,
    client: &ApiClient,
    events: &Path,
    (data, brand): (&Path, &Brand),
    surprises: &mut Vec<String>,
) -> Result<Vec<ReportedLetter>, CliError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| CliError::File(path.clone(), error)
    };
    let entries = std::fs::read_dir(events).map_err(failed(events))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let dir = data.join("letters-pdf");
    std::fs::create_dir_all(&dir).map_err(failed(&dir))?;
    let mut reported = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(failed(&file))?;
        let event: SampleEvent =
            serde_json::from_str(&text).map_err(|e| CliError::Usage(format!("{}: {e}", file.display())))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let id = match (&event.letter, &event.status) {
            (Some(letter), None) => client.ask_letter(letter).await?,
            (None, Some(status)) => set_status(node, client, brand, status, event.expect.r#type).await?,
            _ => return Err(CliError::Usage(format!("{}: it needs letter or status", file.display()))),
        };
        let letter = wait(node, &id).await?;
        let mut pdf = None;
        if letter.made.is_some() {
            let path = dir.join(format!("{name}.pdf"));
            std::fs::write(&path, client.letter_pdf(&id).await?).map_err(failed(&path))?;
            pdf = path.strip_prefix(data).ok().map(Path::to_owned);
        }
        let letter = report(node, name, event, letter, pdf, surprises).await?;
        reported.push(letter);
    }
    Ok(reported)
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
    let mut request = serde_json::json!({ "status": wanted.status });
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
        if let Some(letter) = letters::get(&mut conn, id).await?.filter(|letter| letter.state.is_final()) {
            return Ok(letter);
        }
        drop(conn);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(CliError::Usage("a letter did not come to its end".into()))
}

async fn report(
    node: &Node,
    name: String,
    event: SampleEvent,
    letter: Letter,
    pdf: Option<PathBuf>,
    surprises: &mut Vec<String>,
) -> Result<ReportedLetter, CliError> {
    let ways = {
        let mut conn = node.app.intake.db.read().await?;
        deliveries::of_letter(&mut conn, &letter.id).await?
    };
    let mut went: Vec<DeliveryChannel> = ways.iter().map(|way| way.channel).collect();
    let mut wanted = event.expect.channels.clone();
    went.sort_unstable();
    wanted.sort_unstable();
    let sentence = letter.reason.map(|(_, sentence)| sentence);
    let as_expected = match &event.expect.refused {
        None => letter.state == LetterState::Routed && went == wanted,
        Some(field) => {
            letter.state == LetterState::Refused && sentence.as_ref().is_some_and(|sentence| sentence.contains(field))
        }
    };
    if !as_expected || letter.letter_type != event.expect.r#type {
        let went: Vec<&str> = went.into_iter().map(DeliveryChannel::as_str).collect();
        let why = sentence.clone().unwrap_or_default();
        surprises.push(format!("{name}: {} {} {why}", letter.state, went.join(" ")));
    }
    let because = |code: &String| code.parse::<RouteReason>().map_or(code.clone(), |why| why.sentence().to_owned());
    Ok(ReportedLetter {
        event: name,
        what: event.what,
        r#type: letter.letter_type,
        number: letter.number.to_string(),
        state: letter.state,
        pdf,
        sha256: letter.made.as_ref().map(|made| made.sha256.clone()),
        pages: letter.made.as_ref().map(|made| made.pages),
        deliveries: ways
            .iter()
            .map(|way| ReportedDelivery {
                channel: way.channel,
                reason: way.reasons.first().map(because).unwrap_or_default(),
            })
            .collect(),
        reason: sentence,
    })
}
