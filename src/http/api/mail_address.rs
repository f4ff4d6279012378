//! Where a user's mails go, and where they come back from (COR-34): whether anything is sent to a user's address, the
//! lifting of what stands against it, and mails that came back, handed in by a mail server.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::messages::reader;
use super::{Api, body};
use crate::access::Caller;
use crate::db::users;
use crate::digests::returns::Taken;
use crate::digests::upkeep::AddressStanding;
use crate::http::errors::Problem;
use crate::http::guard::admit_to_all;
use crate::http::problems::Code;
use crate::model::access::{Action, Answer, Principal, Target, TinSet, may};
use crate::model::digest::SuppressionReason;
use crate::model::ids::UserId;

/// Why nothing is sent to an address.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuppressedView {
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    reason: SuppressionReason,
    /// The status that came back (RFC 3463), or the kind of complaint (RFC 5965).
    detail: Option<String>,
}

/// How it stands with a user's mail address.
#[derive(Debug, Serialize, ToSchema)]
pub struct MailAddressView {
    /// Whether one is known.
    known: bool,
    /// Set as long as nothing is sent to it.
    suppressed: Option<SuppressedView>,
}

impl From<AddressStanding> for MailAddressView {
    fn from(standing: AddressStanding) -> Self {
        let suppressed = standing.suppressed.map(|one| SuppressedView {
            since: one.created_at,
            reason: one.reason,
            detail: one.detail,
        });
        Self { known: standing.known, suppressed }
    }
}

async fn view(api: &Api, user: &UserId) -> Result<Json<MailAddressView>, Problem> {
    let standing = api.digests.address_of(user).await?.ok_or_else(|| Problem::not_found("user"))?;
    Ok(Json(standing.into()))
}

/// See whether mails are sent to one's address.
#[utoipa::path(get, path = "/v1/me/mail-address", tag = "notifications", responses((status = 200, body = MailAddressView)))]
pub async fn own(State(api): State<Api>, caller: Caller) -> Result<Json<MailAddressView>, Problem> {
    view(&api, reader(&caller)?.user).await
}

/// Have mails sent to one's address again, after they came back or one complained. They go from the next digest on.
#[utoipa::path(post, path = "/v1/me/mail-address/lift", tag = "notifications", responses((status = 200, body = MailAddressView)))]
pub async fn lift_own(State(api): State<Api>, caller: Caller) -> Result<Json<MailAddressView>, Problem> {
    let user = reader(&caller)?.user;
    api.digests.lift_for(&caller.actor(), user).await?;
    view(&api, user).await
}

/// The user, if the caller manages users' rights for all practices or for one of this user's.
async fn managed(api: &Api, caller: &Caller, path: Result<Path<String>, PathRejection>) -> Result<UserId, Problem> {
    let Path(id) = path?;
    let missing = || Problem::not_found("user");
    let id: UserId = id.parse().map_err(|_| missing())?;
    let everywhere = match &caller.principal {
        Principal::Staff { .. } => true,
        Principal::Service { tins, .. } => *tins == TinSet::All,
        Principal::User { .. } => false,
    };
    let mut conn = api.digests.db.read().await?;
    let granted = users::granted(&mut conn, &id).await?;
    let manages = |target: Target<'_>| may(&caller.principal, Action::ManageEntitlements, &target) == Answer::Yes;
    let one = granted.iter().any(|granted| manages(Target::Tin(&granted.tin)));
    if one || (everywhere && manages(Target::Route)) { Ok(id) } else { Err(missing()) }
}

/// See whether mails are sent to a user's address. For administrators, and access managers of one of the user's practices.
#[utoipa::path(get, path = "/v1/users/{id}/mail-address", tag = "notifications",
    params(("id" = String, Path, description = "The user's id")), responses((status = 200, body = MailAddressView)))]
pub async fn of_user(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<MailAddressView>, Problem> {
    let user = managed(&api, &caller, path).await?;
    view(&api, &user).await
}

/// Have mails sent to a user's address again. They go from the next digest on.
#[utoipa::path(post, path = "/v1/users/{id}/mail-address/lift", tag = "notifications",
    params(("id" = String, Path, description = "The user's id")), responses((status = 200, body = MailAddressView)))]
pub async fn lift_of_user(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<MailAddressView>, Problem> {
    let user = managed(&api, &caller, path).await?;
    api.digests.lift_for(&caller.actor(), &user).await?;
    view(&api, &user).await
}

/// What a mail that came back was taken as.
#[derive(Debug, Serialize, ToSchema)]
pub struct MailReturn {
    taken: Taken,
}

/// Hand in a mail that came back, or a complaint, as the mail server got it. Handed in twice it is `known`; nothing of it
/// is kept but codes.
#[utoipa::path(post, path = "/v1/mail-returns", tag = "notifications",
    request_body(content = String, content_type = "message/rfc822", description = "The whole message"),
    responses((status = 200, body = MailReturn)))]
pub async fn returned(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<MailReturn>, Problem> {
    admit_to_all(&caller, Action::DecideMails)?;
    if body::media_type(&headers).is_some_and(|told| told != "message/rfc822") {
        return Err(Problem::of(Code::UnsupportedMediaType, "the body must be message/rfc822"));
    }
    let bytes = body::within(api.digests.plan.returns.most_bytes, body).await?;
    Ok(Json(MailReturn { taken: api.digests.take_return(bytes).await? }))
}
