//! Keys of services: made, looked at, rotated, revoked. Nobody gives more than they have; a secret is answered once.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lists::{PageQuery, behind, cursor, page_of};
use super::versions::{seen, tagged};
use super::{Api, body};
use crate::access::keys::{NewKey, Rotation};
use crate::access::secret::KeySecret;
use crate::access::{Caller, Manager};
use crate::codes;
use crate::db::keys::Key;
use crate::http::errors::Problem;
use crate::model::access::{Grants, Mode, Scope, TinSet};
use crate::model::ids::{KeyId, Tin};

codes! {
    /// All of them.
    pub enum AllTins {
        /// All TINs there are, also those to come.
        All = "all",
    }
}

/// The TINs a key is for: `all`, or a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Tins {
    /// All there are.
    All(AllTins),
    /// These only.
    Only(Vec<Tin>),
}

impl Tins {
    fn of(tins: TinSet) -> Self {
        match tins {
            TinSet::All => Self::All(AllTins::All),
            TinSet::Only(tins) => Self::Only(tins.into_iter().collect()),
        }
    }

    fn into_set(self) -> TinSet {
        match self {
            Self::All(_) => TinSet::All,
            Self::Only(tins) => TinSet::Only(tins.into_iter().collect()),
        }
    }
}

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyView {
    id: KeyId,
    /// What people call it.
    name: String,
    /// What it may be used for.
    #[schema(value_type = Vec<Scope>)]
    scopes: BTreeSet<Scope>,
    tins: Tins,
    mode: Mode,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    /// How often it changed; the number in its ETag.
    version: i64,
}

impl KeyView {
    fn of(key: Key) -> Self {
        Self {
            id: key.id,
            name: key.name,
            scopes: key.grants.scopes,
            tins: Tins::of(key.grants.tins),
            mode: key.grants.mode,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            version: key.version,
        }
    }
}

/// A key with its secret, which is answered once and not kept.
#[derive(Serialize, ToSchema)]
pub struct KeyWithSecret {
    /// The secret: what is sent as `Authorization: Bearer …`.
    key: String,
    #[serde(flatten)]
    about: KeyView,
}

impl KeyWithSecret {
    fn of((key, secret): (Key, KeySecret)) -> Self {
        Self { key: secret.reveal().to_owned(), about: KeyView::of(key) }
    }
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// What people call it.
    name: String,
    /// What it may be used for.
    #[schema(value_type = Vec<Scope>)]
    scopes: BTreeSet<Scope>,
    tins: Tins,
    /// Real or trial; without it, real.
    #[serde(default)]
    mode: Option<Mode>,
    /// When it ends; without it, after the policy's lifetime.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// Make a key. Nobody can give one more than they have themselves.
///
/// Its secret, `key`, is answered once and not kept.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = KeyRequest,
    responses((status = 201, body = KeyWithSecret, headers(("Location" = String), ("ETag" = String)))))]
pub async fn create(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let (_, wanted) = body::json::<KeyRequest>(&api, &headers, body).await?;
    let grants =
        Grants { scopes: wanted.scopes, tins: wanted.tins.into_set(), mode: wanted.mode.unwrap_or(Mode::Live) };
    let new = NewKey { name: wanted.name, grants, expires_at: wanted.expires_at };
    let made = KeyWithSecret::of(api.access.create_key(Manager::Caller(&caller), new).await?);
    let location = [(header::LOCATION, format!("/v1/keys/{}", made.about.id))];
    Ok((StatusCode::CREATED, location, tagged(made.about.version), Json(made)))
}

/// A page of keys, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Keys {
    keys: Vec<KeyView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List the keys that the caller could make, oldest first. A page can be shorter than asked for.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", params(PageQuery), responses((status = 200, body = Keys)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Keys>, Problem> {
    let Query(query) = query?;
    let limit = page_of(&api, query.limit)?;
    let after: Option<KeyId> = behind(query.cursor.as_deref())?.map(|(_, id)| id);
    let page = api.access.list_keys(Manager::Caller(&caller), after.as_ref(), limit).await?;
    let next = page.next.map(|id| cursor(0, id.as_str()));
    Ok(Json(Keys { keys: page.items.into_iter().map(KeyView::of).collect(), next }))
}

/// See a key.
#[utoipa::path(get, path = "/v1/keys/{id}", tag = "keys", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = KeyView, headers(("ETag" = String)))))]
pub async fn look(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let key = api.access.get_key(Manager::Caller(&caller), &parse(path)?).await?;
    Ok((tagged(key.version), Json(KeyView::of(key))))
}

/// How a key gets a new secret.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// Seconds for which the old secret works on; without it, as the policy says. None (0) when it has become known.
    #[serde(default)]
    overlap_s: Option<u64>,
    /// When the key ends from now on; without it, after the policy's lifetime.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// Give a key a new secret and a new end. The old secret works on for a while.
///
/// The new secret, `key`, is answered once and not kept.
#[utoipa::path(post, path = "/v1/keys/{id}/rotate", tag = "keys", request_body = Option<RotateRequest>,
    params(("id" = String, Path, description = "Its id"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen")),
    responses((status = 200, body = KeyWithSecret, headers(("ETag" = String)))))]
pub async fn rotate(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let (id, expected) = (parse(path)?, seen(&headers)?);
    let wanted: RotateRequest = body::json_or_none(&api, &headers, body).await?.unwrap_or_default();
    let overlap = wanted.overlap_s.map(Duration::from_secs);
    let how = Rotation { expected, overlap, expires_at: wanted.expires_at };
    let rotated = KeyWithSecret::of(api.access.rotate_key(Manager::Caller(&caller), &id, how).await?);
    Ok((tagged(rotated.about.version), Json(rotated)))
}

/// Revoke a key: from now on it is refused everywhere. A second time changes nothing.
#[utoipa::path(post, path = "/v1/keys/{id}/revoke", tag = "keys", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = KeyView, headers(("ETag" = String)))))]
pub async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let key = api.access.revoke_key(Manager::Caller(&caller), &parse(path)?).await?;
    Ok((tagged(key.version), Json(KeyView::of(key))))
}

fn parse(path: Result<Path<String>, PathRejection>) -> Result<KeyId, Problem> {
    let Path(id) = path?;
    id.parse().map_err(|_| Problem::not_found("key"))
}
