//! Users, their roles, and their rights per TIN (OPS-13, OPS-17). A TIN can be a person's social security number and a
//! search word a person's name: neither is ever part of a URL, so they come in bodies.

use std::collections::BTreeSet;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::lists::{behind, cursor, page_of};
use super::versions::{refused, seen, seen_before, tagged};
use super::{Api, body, load};
use crate::access::users::Put;
use crate::access::{Caller, Manager};
use crate::db::users::{Granted, User, UserFilter};
use crate::engine::bulk::LoadReport;
use crate::http::errors::Problem;
use crate::model::access::{Entitlement, Role, TinRights};
use crate::model::ids::{Issuer, Subject, Tin, UserId};
use crate::model::people::{Login, PeopleKind, Person};
use crate::model::phi::Phi;

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserView {
    id: UserId,
    /// Who vouches for the login.
    issuer: Issuer,
    /// The login's name there.
    subject: Subject,
    #[schema(value_type = String)]
    name: Phi<String>,
    #[schema(value_type = Option<String>)]
    email: Option<Phi<String>>,
    /// Roles, where it is one of the payer's own people.
    #[schema(value_type = Vec<Role>)]
    roles: BTreeSet<Role>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Since when the user may not come in.
    #[schema(value_type = Option<String>, format = DateTime)]
    disabled_at: Option<Timestamp>,
    /// How often it changed; the number in its ETag.
    version: i64,
}

impl UserView {
    fn of(user: User) -> Self {
        Self {
            id: user.id,
            issuer: user.login.issuer,
            subject: user.login.subject,
            name: user.person.name,
            email: user.person.email,
            roles: user.roles,
            created_at: user.created_at,
            disabled_at: user.disabled_at,
            version: user.version,
        }
    }
}

/// A user to be made or changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserRequest {
    /// Who vouches for the login.
    issuer: Issuer,
    /// The login's name there.
    subject: Subject,
    #[schema(value_type = String)]
    name: Phi<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    email: Option<Phi<String>>,
}

/// Have a user of that login be that person: 201 when the user is new, 200 when known.
///
/// With `If-None-Match: *` a known one is refused, with `If-Match` one that has changed.
#[utoipa::path(post, path = "/v1/users", tag = "users", request_body = UserRequest,
    params(("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only when there is none yet")),
    responses((status = 201, body = UserView, headers(("Location" = String), ("ETag" = String))),
        (status = 200, body = UserView, headers(("ETag" = String)))))]
pub async fn put(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let expected = seen(&headers)?;
    let (_, wanted) = body::json::<UserRequest>(&api, &headers, body).await?;
    let login = Login { issuer: wanted.issuer, subject: wanted.subject };
    let person = Person { name: wanted.name, email: wanted.email };
    let done = api.access.put_user(Manager::Caller(&caller), &login, person, expected).await;
    let (user, put) = done.map_err(|error| refused(error, expected))?;
    let status = if put == Put::Created { StatusCode::CREATED } else { StatusCode::OK };
    let location = [(header::LOCATION, format!("/v1/users/{}", user.id))];
    Ok((status, location, tagged(user.version), Json(UserView::of(user))))
}

/// Which part of the users.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsersQuery {
    /// Only those with roles, or only those without.
    #[serde(default)]
    staff: Option<bool>,
    /// Where the page before ended.
    #[serde(default)]
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// Which users.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserSearch {
    /// A part of name, address or subject.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    search: Option<Phi<String>>,
    /// Only those with roles, or only those without.
    #[serde(default)]
    staff: Option<bool>,
    /// Where the page before ended.
    #[serde(default)]
    #[schema(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// A page of users, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Users {
    users: Vec<UserView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List users, oldest first.
#[utoipa::path(get, path = "/v1/users", tag = "users", params(UsersQuery), responses((status = 200, body = Users)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<UsersQuery>, QueryRejection>,
) -> Result<Json<Users>, Problem> {
    let Query(UsersQuery { staff, cursor, limit }) = query?;
    found(&api, &caller, UserSearch { search: None, staff, cursor, limit }).await
}

/// Look for users by a part of name, address or subject.
#[utoipa::path(post, path = "/v1/users/search", tag = "users", request_body = UserSearch,
    responses((status = 200, body = Users)))]
pub async fn search(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Users>, Problem> {
    let (_, search) = body::json::<UserSearch>(&api, &headers, body).await?;
    found(&api, &caller, search).await
}

async fn found(api: &Api, caller: &Caller, search: UserSearch) -> Result<Json<Users>, Problem> {
    let limit = page_of(api, search.limit)?;
    let after: Option<UserId> = behind(search.cursor.as_deref())?.map(|(_, id)| id);
    if search.search.as_ref().is_some_and(|word| word.reveal().chars().any(char::is_control)) {
        return Err(Problem::bad("search may hold no control characters"));
    }
    let filter = UserFilter { search: search.search, staff: search.staff };
    let page = api.access.list_users(Manager::Caller(caller), &filter, after.as_ref(), limit).await?;
    let next = page.next.map(|id| cursor(0, id.as_str()));
    Ok(Json(Users { users: page.items.into_iter().map(UserView::of).collect(), next }))
}

/// See a user.
#[utoipa::path(get, path = "/v1/users/{id}", tag = "users", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = UserView, headers(("ETag" = String)))))]
pub async fn look(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let user = api.access.get_user(Manager::Caller(&caller), &parse(path)?).await?;
    Ok((tagged(user.version), Json(UserView::of(user))))
}

/// The roles a user is to have.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RolesRequest {
    /// In place of others; none make a user of practices of one of the payer's people.
    #[schema(value_type = Vec<Role>)]
    roles: BTreeSet<Role>,
}

/// Give a user these roles in place of others. Nobody changes their own.
#[utoipa::path(put, path = "/v1/users/{id}/roles", tag = "users", request_body = RolesRequest,
    params(("id" = String, Path, description = "Its id"), ("If-Match" = String, Header, description = "The ETag that was seen")),
    responses((status = 200, body = UserView, headers(("ETag" = String)))))]
pub async fn roles(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let (id, expected) = (parse(path)?, seen_before(&headers)?);
    let (_, wanted) = body::json::<RolesRequest>(&api, &headers, body).await?;
    let user = api.access.set_roles(Manager::Caller(&caller), &id, wanted.roles, expected).await?;
    Ok((tagged(user.version), Json(UserView::of(user))))
}

/// Whether a user may come in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisabledRequest {
    /// Whether the user may not.
    disabled: bool,
}

/// Shut a user out, or let one in again.
#[utoipa::path(put, path = "/v1/users/{id}/disabled", tag = "users", request_body = DisabledRequest,
    params(("id" = String, Path, description = "Its id"), ("If-Match" = String, Header, description = "The ETag that was seen")),
    responses((status = 200, body = UserView, headers(("ETag" = String)))))]
pub async fn disabled(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let (id, expected) = (parse(path)?, seen_before(&headers)?);
    let (_, wanted) = body::json::<DisabledRequest>(&api, &headers, body).await?;
    let user = api.access.set_disabled(Manager::Caller(&caller), &id, wanted.disabled, expected).await?;
    Ok((tagged(user.version), Json(UserView::of(user))))
}

/// What a file of people holds.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PeopleQuery {
    /// `users`, `entitlements`, `paper` or `choices`.
    #[param(value_type = String)]
    kind: PeopleKind,
}

/// Load users, or their rights, from a file.
///
/// Each row counts as if it were done by itself. Bad rows are told by their lines, the others are taken; loading again
/// changes nothing. A body that breaks off loads nothing.
#[utoipa::path(post, path = "/v1/users/load", tag = "users", params(PeopleQuery),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"))),
    responses((status = 200, body = LoadReport)))]
pub async fn bulk(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PeopleQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LoadReport>, Problem> {
    let Query(PeopleQuery { kind }) = query?;
    let spooled = load::spool(&api, &caller, &headers, body).await?;
    load::run(async move {
        let (form, file) = (spooled.form, spooled.open()?);
        Ok(api.access.load(Manager::Caller(&caller), kind, form, file).await?)
    })
    .await
}

/// A user's rights for a TIN.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntitlementView {
    tin: Tin,
    #[schema(value_type = Vec<Entitlement>)]
    entitlements: BTreeSet<Entitlement>,
    /// Whether the user administers the TIN.
    access_manager: bool,
    /// How often they changed; the number in their ETag.
    version: i64,
}

impl EntitlementView {
    fn of(granted: Granted) -> Self {
        Self {
            tin: granted.tin,
            entitlements: granted.rights.entitlements,
            access_manager: granted.rights.access_manager,
            version: granted.version,
        }
    }
}

/// A user's rights.
#[derive(Debug, Serialize, ToSchema)]
pub struct Entitlements {
    entitlements: Vec<EntitlementView>,
}

/// See a user's rights, for the TINs that the caller administers.
#[utoipa::path(get, path = "/v1/users/{id}/entitlements", tag = "users",
    params(("id" = String, Path, description = "The user's id")), responses((status = 200, body = Entitlements)))]
pub async fn entitlements(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Entitlements>, Problem> {
    let granted = api.access.entitlements_of_user(Manager::Caller(&caller), &parse(path)?).await?;
    Ok(Json(Entitlements { entitlements: granted.into_iter().map(EntitlementView::of).collect() }))
}

/// The rights that a user is to have for a TIN.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EntitlementRequest {
    tin: Tin,
    /// In place of others.
    #[serde(default)]
    #[schema(value_type = Vec<Entitlement>)]
    entitlements: BTreeSet<Entitlement>,
    /// Whether the user administers the TIN.
    #[serde(default)]
    access_manager: bool,
}

/// Give a user these rights for a TIN in place of others.
///
/// `If-Match` names the version that was seen (`"3"` for `version` 3); `If-None-Match: *` says that there are none yet.
#[utoipa::path(post, path = "/v1/users/{id}/entitlements/set", tag = "users", request_body = EntitlementRequest,
    params(("id" = String, Path, description = "The user's id"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: there are none yet")),
    responses((status = 200, body = EntitlementView, headers(("ETag" = String)))))]
pub async fn grant(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let (id, expected) = (parse(path)?, seen_before(&headers)?);
    let (_, wanted) = body::json::<EntitlementRequest>(&api, &headers, body).await?;
    let rights = TinRights { entitlements: wanted.entitlements, access_manager: wanted.access_manager };
    let done = api.access.put_entitlement(Manager::Caller(&caller), &id, &wanted.tin, rights, expected).await;
    let granted = done.map_err(|error| refused(error, expected))?;
    Ok((tagged(granted.version), Json(EntitlementView::of(granted))))
}

/// The TIN for which a user is to have no rights.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveRequest {
    tin: Tin,
}

/// Take a user's rights for a TIN away.
#[utoipa::path(post, path = "/v1/users/{id}/entitlements/remove", tag = "users", request_body = RemoveRequest,
    params(("id" = String, Path, description = "The user's id"),
        ("If-Match" = String, Header, description = "The ETag that was seen")),
    responses((status = 204)))]
pub async fn remove(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let (id, expected) = (parse(path)?, seen_before(&headers)?);
    let (_, wanted) = body::json::<RemoveRequest>(&api, &headers, body).await?;
    api.access.delete_entitlement(Manager::Caller(&caller), &id, &wanted.tin, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which TIN's users.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TinSearch {
    tin: Tin,
    /// Where the page before ended.
    #[serde(default)]
    #[schema(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// A user with the rights for the TIN that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserOfTin {
    id: UserId,
    issuer: Issuer,
    subject: Subject,
    #[schema(value_type = String)]
    name: Phi<String>,
    #[schema(value_type = Option<String>)]
    email: Option<Phi<String>>,
    /// Whether the user may not come in.
    disabled: bool,
    #[serde(flatten)]
    rights: EntitlementView,
}

/// A page of users with rights for a TIN.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsersOfTin {
    users: Vec<UserOfTin>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// See who has rights for a TIN.
#[utoipa::path(post, path = "/v1/entitlements/search", tag = "users", request_body = TinSearch,
    responses((status = 200, body = UsersOfTin)))]
pub async fn of_tin(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<UsersOfTin>, Problem> {
    let (_, search) = body::json::<TinSearch>(&api, &headers, body).await?;
    let limit = page_of(&api, search.limit)?;
    let after: Option<UserId> = behind(search.cursor.as_deref())?.map(|(_, id)| id);
    let page = api.access.entitlements_of_tin(Manager::Caller(&caller), &search.tin, after.as_ref(), limit).await?;
    let line = |(user, granted): (User, Granted)| UserOfTin {
        id: user.id,
        issuer: user.login.issuer,
        subject: user.login.subject,
        name: user.person.name,
        email: user.person.email,
        disabled: user.disabled_at.is_some(),
        rights: EntitlementView::of(granted),
    };
    let next = page.next.map(|id| cursor(0, id.as_str()));
    Ok(Json(UsersOfTin { users: page.items.into_iter().map(line).collect(), next }))
}

fn parse(path: Result<Path<String>, PathRejection>) -> Result<UserId, Problem> {
    let Path(id) = path?;
    id.parse().map_err(|_| Problem::not_found("user"))
}
