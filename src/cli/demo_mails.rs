//! The last part of `demo`: users are told of what has come. An administrator lets the digests go without spreading them,
//! having seen what that does; then both run, and their mails go over SMTP to a receiver that the demo started.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::CliError;
use super::node::Node;
use crate::db::digest_mails::{self, Mail, Which};
use crate::db::{Stamp, digest_runs, users};
use crate::digests::schedules::Standing;
use crate::model::digest::{Cadence, DigestKind, MailState, RunState};
use crate::model::ids::{MailId, RunId};
use crate::outside::mailer::receiver::Receiver;
use crate::outside::mailer::{MailOptions, RelayOptions};

/// How often a run that is waited for is looked at, and how long.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const PATIENCE: u32 = 600;
/// Mails that are read at once, and runs of a schedule that are told of.
const PART: i64 = 500;

/// A mail as the report has it.
#[derive(Serialize)]
pub(super) struct ReportedMail {
    user: String,
    kind: DigestKind,
    cadence: Cadence,
    subject: String,
    /// Practices that it tells of.
    items: i64,
    /// Letters and notices that it tells of.
    letters: i64,
    state: MailState,
    /// The message as it arrived, below the data directory.
    file: Option<PathBuf>,
}

impl ReportedMail {
    /// The row of the table.
    pub(super) fn row(&self) -> [String; 5] {
        let file = self.file.as_ref().map(|file| file.display().to_string());
        [
            self.user.clone(),
            self.cadence.to_string(),
            self.subject.clone(),
            format!("{} ({} letters)", self.items, self.letters),
            file.unwrap_or_else(|| self.state.to_string()),
        ]
    }
}

/// A schedule as the report has it.
#[derive(Serialize)]
pub(super) struct ReportedSchedule {
    name: String,
    /// When it runs by itself the next time, by its own clocks.
    next: Option<String>,
}

impl ReportedSchedule {
    /// The row of the table.
    pub(super) fn row(&self) -> [String; 2] {
        [self.name.clone(), self.next.clone().unwrap_or_default()]
    }
}

/// Where mails are laid, below the data directory.
pub(super) fn folder(data: &Path) -> PathBuf {
    data.join("mails")
}

/// Starts a receiver, and says how mails get there.
pub(super) async fn receive(data: &Path) -> Result<(Receiver, MailOptions), CliError> {
    let dir = folder(data);
    let receiver = Receiver::start(&dir).await.map_err(|error| CliError::File(dir, error))?;
    let address = receiver.address();
    let options = MailOptions {
        relays: vec![RelayOptions::plain(&address.ip().to_string(), address.port())],
        hello: "localhost".into(),
        from: "notices@mail.meridian.example".into(),
        from_name: None,
        portal: None,
        public_url: "https://letters.meridian.example".into(),
        return_path: None,
        returns: None,
        dkim: None,
        brands: Default::default(),
    };
    Ok((receiver, options))
}

/// Has both digests run, and tells what arrived.
pub(super) async fn play(
    node: &Node,
    data: &Path,
    surprises: &mut Vec<String>,
) -> Result<(Vec<ReportedMail>, Vec<ReportedSchedule>), CliError> {
    let digests = &node.app.digests;
    digests.make_schedules().await?;
    let stamp = Stamp { ctx: &digests.ctx, actor: "demo" };
    let mut schedules = Vec::new();
    for standing in digests.schedules().await? {
        let name = standing.schedule.name.clone();
        let standing = at_once(node, stamp, standing).await?;
        let next = digests.shown_next(&standing, &standing.timing, 1);
        let next = next.map_err(crate::digests::schedules::ScheduleError::from)?.pop().map(|next| next.local);
        let run = digests.run_now(stamp, &name).await?;
        if wait(node, &run.id).await? != RunState::Done {
            surprises.push(format!("{name}: its run did not come to an end"));
        }
        schedules.push(ReportedSchedule { name, next });
    }
    Ok((mails(node, data, surprises).await?, schedules))
}

/// Has its mails go all at once. What that does is shown before it holds.
async fn at_once(node: &Node, stamp: Stamp<'_>, standing: Standing) -> Result<Standing, CliError> {
    let digests = &node.app.digests;
    let name = standing.schedule.name.clone();
    let mut timing = standing.timing.clone();
    if timing.spread_minutes == 0 {
        return Ok(standing);
    }
    timing.spread_minutes = 0;
    let preview = digests.preview(&standing, &timing).await?;
    let first = preview.next.first().map(|next| next.local.clone()).unwrap_or_default();
    eprintln!("{name}: spread over no time instead of {} minutes; next {first}", standing.timing.spread_minutes);
    let standing = digests.propose(stamp, &name, Some(standing.schedule.version), &timing).await?;
    let Some((edit, _)) = &standing.proposal else { return Ok(standing) };
    Ok(digests.confirm(stamp, &name, Some(standing.schedule.version), edit.revision).await?)
}

/// The state in which a run stays.
async fn wait(node: &Node, run: &RunId) -> Result<RunState, CliError> {
    let db = &node.app.digests.db;
    for _ in 0..PATIENCE {
        let mut conn = db.read().await?;
        match digest_runs::get(&mut conn, run).await? {
            Some(run) if run.ended_at.is_none() => {}
            Some(run) => return Ok(run.state),
            None => break,
        }
        drop(conn);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(CliError::Usage("a run of digests did not come to an end".into()))
}

/// All mails of all runs, with what arrived of them.
async fn mails(node: &Node, data: &Path, surprises: &mut Vec<String>) -> Result<Vec<ReportedMail>, CliError> {
    let digests = &node.app.digests;
    let arrived = arrived(node, data)?;
    let mut reported = Vec::new();
    for standing in digests.schedules().await? {
        let mut conn = digests.db.read().await?;
        let mut runs = digest_runs::history(&mut conn, &standing.schedule.id, None, None, PART).await?;
        runs.reverse();
        for run in runs {
            let mut found: Vec<Mail> = Vec::new();
            loop {
                let after = found.last().map(|mail| mail.id.clone());
                let part = digest_mails::list(&mut conn, &Which::Run(run.id.clone()), after.as_ref(), PART).await?;
                let last = part.len() < PART as usize;
                found.extend(part);
                if last {
                    break;
                }
            }
            for mail in found {
                let name = users::get(&mut conn, &mail.user).await?.map(|user| user.login.subject.as_str().to_owned());
                let copies = arrived.get(&mail.id).map(Vec::as_slice).unwrap_or_default();
                if copies.len() != usize::from(mail.state == MailState::Accepted) {
                    surprises.push(format!("{}: {}, and {} copies arrived", mail.id, mail.state, copies.len()));
                }
                let (items, letters) = mail.sent.unwrap_or(mail.planned);
                reported.push(ReportedMail {
                    user: name.unwrap_or_default(),
                    kind: mail.kind,
                    cadence: run.cadence,
                    subject: copies.first().map(|copy| copy.subject.clone()).unwrap_or_default(),
                    items,
                    letters,
                    state: mail.state,
                    file: copies.first().map(|copy| copy.file.clone()),
                });
            }
        }
    }
    Ok(reported)
}

/// A message that arrived.
struct Copy {
    subject: String,
    file: PathBuf,
}

/// What arrived, by the mail that its Message-ID is of.
fn arrived(node: &Node, data: &Path) -> Result<HashMap<MailId, Vec<Copy>>, CliError> {
    let Some(mail) = &node.app.digests.mail else { return Ok(HashMap::new()) };
    let dir = folder(data);
    let failed = |error| CliError::File(dir.clone(), error);
    let mut found: HashMap<MailId, Vec<Copy>> = HashMap::new();
    for entry in std::fs::read_dir(&dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let bytes = std::fs::read(&path).map_err(failed)?;
        let Some(message) = mail_parser::MessageParser::default().parse(&bytes) else { continue };
        let Some(id) = mail.composer.returned(message.message_id().unwrap_or_default()) else { continue };
        let subject = message.subject().unwrap_or_default().to_owned();
        let file = path.strip_prefix(data).unwrap_or(&path).to_owned();
        found.entry(id).or_default().push(Copy { subject, file });
    }
    Ok(found)
}
