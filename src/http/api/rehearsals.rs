//! Before a digest goes (OPS-10): what a run now would do, and a test mail to oneself.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::lists::{PageQuery, behind, cursor, page_of};
use crate::access::Caller;
use crate::db::digest_plans::dry::{Counted, Fate, Line};
use crate::db::{Stamp, users};
use crate::digests::rehearsal::{Rehearsed, TestError, TestOutcome, TestSent};
use crate::digests::why::left_out;
use crate::http::errors::Problem;
use crate::http::guard::admit_to_all;
use crate::http::problems::Code;
use crate::model::access::{Action, Principal};
use crate::model::digest::{Cadence, DigestKind, LeftOut};
use crate::model::ids::{Tin, UserId};

/// What would become of what waits, as people are told of it.
pub(crate) fn explanation(fate: Fate, reason: Option<LeftOut>) -> String {
    match (fate, reason) {
        (Fate::Mail, _) => "a mail would tell of it".to_owned(),
        (Fate::Waits, _) => "it would wait on: the user's mail of this kind and day is there already".to_owned(),
        (Fate::LeftOut, Some(reason)) => format!("it would be left out: {}", left_out(reason)),
        (Fate::LeftOut, None) => "it would be left out".to_owned(),
    }
}

/// How much there is of a kind and fate.
#[derive(Debug, Serialize, ToSchema)]
pub struct RehearsedCount {
    kind: DigestKind,
    fate: Fate,
    /// Why it would be left out.
    reason: Option<LeftOut>,
    /// The same in words.
    explanation: String,
    /// Users; for mails, as many mails.
    users: i64,
    /// Practices, summed over users.
    practices: i64,
    /// Letters and notices, reader by reader.
    letters: i64,
}

impl From<Counted> for RehearsedCount {
    fn from(of: Counted) -> Self {
        Self {
            kind: of.kind,
            fate: of.fate,
            reason: of.reason,
            explanation: explanation(of.fate, of.reason),
            users: of.users,
            practices: of.items,
            letters: of.letters,
        }
    }
}

/// What would become of what waits for a user, of a kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct RehearsedUser {
    user_id: UserId,
    kind: DigestKind,
    fate: Fate,
    /// Why it would be left out.
    reason: Option<LeftOut>,
    /// The same in words.
    explanation: String,
    /// Practices.
    practices: i64,
    /// Letters and notices.
    letters: i64,
    /// The last digits of the TINs of the first of these practices.
    #[schema(example = json!(["•••••••01"]))]
    tins: Vec<String>,
}

impl From<Line> for RehearsedUser {
    fn from(of: Line) -> Self {
        Self {
            user_id: of.user,
            kind: of.kind,
            fate: of.fate,
            reason: of.reason,
            explanation: explanation(of.fate, of.reason),
            practices: of.items,
            letters: of.letters,
            tins: of.tins.iter().map(Tin::masked).collect(),
        }
    }
}

/// What a run now would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct RehearsedRun {
    /// Whose choices it would serve.
    serves: Vec<Cadence>,
    /// The local day that its mails would be of.
    #[schema(value_type = String, format = Date)]
    day: Date,
    /// Of all users.
    counts: Vec<RehearsedCount>,
    /// User by user: a page.
    lines: Vec<RehearsedUser>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

impl RehearsedRun {
    /// The view of it.
    pub(crate) fn of(rehearsed: Rehearsed) -> Self {
        let found = rehearsed.found;
        Self {
            serves: rehearsed.serves.into_iter().collect(),
            day: rehearsed.day,
            counts: found.counts.into_iter().map(RehearsedCount::from).collect(),
            lines: found.lines.into_iter().map(RehearsedUser::from).collect(),
            next: found.next.map(|user| cursor(0, user.as_str())),
        }
    }
}

/// See what a run now would do: who would be told and why, who would not and why. Nothing is changed.
#[utoipa::path(get, path = "/v1/schedules/{name}/dry-run", tag = "schedules",
    params(("name" = String, Path, description = "Brand and cadence"), PageQuery),
    responses((status = 200, body = RehearsedRun)))]
pub async fn dry_run(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<RehearsedRun>, Problem> {
    let (Path(name), Query(query)) = (path?, query?);
    // it tells of all practices
    admit_to_all(&caller, Action::ReadSchedules)?;
    let users = u32::try_from(page_of(&api, query.limit)?).unwrap_or(u32::MAX);
    let after: Option<UserId> = behind(query.cursor.as_deref())?.map(|(_, id)| id);
    let standing = api.digests.schedule(&name).await?;
    Ok(Json(RehearsedRun::of(api.digests.rehearse(&standing, after.as_ref(), users).await?)))
}

impl From<TestError> for Problem {
    fn from(error: TestError) -> Self {
        let said = error.to_string();
        match error {
            TestError::NoMail | TestError::Suppressed => Self::of(Code::WrongState, said),
            TestError::Address | TestError::Compose => Self::of(Code::Unprocessable, said),
            TestError::Away(away) => {
                tracing::warn!(why = %away, "a test mail could not be sent");
                Self::unavailable("the mail relay")
            }
            TestError::Db(error) => error.into(),
        }
    }
}

/// Which mail.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TestMailQuery {
    /// What it is to be about; else `claim_info`.
    #[serde(default)]
    kind: Option<DigestKind>,
}

/// What became of a test mail.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestMail {
    outcome: TestOutcome,
    /// What the relay answered, where it did not take it: `rcpt 550 5.1.1`.
    reason: Option<String>,
    subject: String,
    /// The relay that was spoken to.
    relay: String,
}

impl From<TestSent> for TestMail {
    fn from(sent: TestSent) -> Self {
        Self { outcome: sent.outcome, reason: sent.reason, subject: sent.subject, relay: sent.relay }
    }
}

/// Have a test mail of the schedule's brand sent to oneself, with made content. It says that it is a test; its links lead to
/// nothing.
#[utoipa::path(post, path = "/v1/schedules/{name}/test-mail", tag = "schedules",
    params(("name" = String, Path, description = "Brand and cadence"), TestMailQuery),
    responses((status = 200, body = TestMail), (status = 409)))]
pub async fn test_mail(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<TestMailQuery>, QueryRejection>,
) -> Result<Json<TestMail>, Problem> {
    let (Path(name), Query(query)) = (path?, query?);
    let schedule = api.digests.schedule(&name).await?.schedule;
    let nobodys =
        |what: &str| Problem::of(Code::Unprocessable, format!("a test mail goes to the caller's own address, {what}"));
    let Principal::Staff { user, .. } = &caller.principal else { return Err(nobodys("and a service has none")) };
    let mut conn = api.digests.db.read().await?;
    let person = users::get(&mut conn, user).await?.map(|user| user.person);
    drop(conn);
    let known = person.and_then(|person| Some((person.email?, person.name)));
    let to = known.filter(|(email, _)| !email.reveal().trim().is_empty());
    let to = to.ok_or_else(|| nobodys("and none is known"))?;
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.digests.ctx, actor: &actor };
    let sent = api.digests.send_test(stamp, &schedule, query.kind.unwrap_or(DigestKind::ClaimInfo), to).await?;
    Ok(Json(sent.into()))
}
