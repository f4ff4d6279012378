//! Every request passes here before its handler: who calls, may the caller use such a route at all, is the rate kept.
//! Which caller may do it to which submission, document or TIN is asked by the handler, of the same function
//! ([`crate::model::access::may`]), by [`reach`].
//!
//! A route without a rule is refused: a new one has to be put into [`super::api::RULES`] first.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tracing::Instrument;

use super::api::tus::answers;
use super::api::{Api, RULES};
use super::errors::Problem;
use super::problems::Code;
use crate::access::{AuthError, Caller};
use crate::model::access::{Action, Answer, Needs, Record, Target, may};
use crate::outside::traces;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Anybody: it tells nothing of what lies here.
    Open,
    /// This machine and the addresses of the settings without a key, others as for [`Action::ReadMetrics`].
    Metrics,
    /// Callers who may do this.
    For(Action),
}

/// The header that names the user for whom a service acts.
pub const ACT_AS: HeaderName = HeaderName::from_static("lettercase-act-as");
/// The header under which a request is found in our log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The caller's span, where its own work is traced (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Where proxies say who came to them.
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The middleware.
pub async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let id = api.intake.ctx.new_id();
    let span = tracing::info_span!("request", id);
    let is_tus = request.extensions().get::<MatchedPath>().is_some_and(|path| answers::is_at(path.as_str()));
    let (mut head, body) = request.into_parts();
    let caller = head.headers.get(TRACEPARENT).and_then(|header| traces::Caller::parse(header.to_str().ok()?));
    let traced = traces::Request { id: id.clone(), caller };
    let answered = async {
        if let Some(caller) = admit(&api, &head).await? {
            head.extensions.insert(caller);
        }
        Ok::<_, Problem>(within(&api, Request::from_parts(head, body), next).await)
    };
    let began = Instant::now();
    let mut response = match traces::within(traced, answered).instrument(span).await {
        Ok(response) => response,
        Err(mut problem) => {
            problem.request_id = Some(id.clone());
            problem.into_response()
        }
    };
    if is_tus {
        answers::mark(&mut response);
    }
    metrics::counter!("lettercase_requests_total", "status" => class(response.status())).increment(1);
    metrics::histogram!("lettercase_request_seconds").record(began.elapsed().as_secs_f64());
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // What is answered concerns one caller at one moment, and may be health data: no cache keeps it.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The kind of an answer.
fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        429 => "429",
        503 => "503",
        ..400 => "2xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

/// Runs the handler; a request that carries no file has a time within which it must be answered.
async fn within(api: &Api, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    // files go by the patience of receive, streams have no end
    if ["/files", "/intake", "/uploads", "/events", "/content", "/load", "/audit/verify"]
        .iter()
        .any(|part| path.contains(part))
    {
        return next.run(request).await;
    }
    let limit = Duration::from_secs(api.plan.limits.request_timeout_s);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::of(Code::TooSlow, "the request was not complete in time").into_response(),
    }
}

/// Headers that are there once or not: of two, a proxy before us could have judged the other one.
const ONCE: &[&str] =
    &["host", "authorization", "content-type", "if-match", "lettercase-act-as", super::idempotency::HEADER];

/// Refuses a head that could be read in two ways (RFC 9112, section 3.2; RFC 9110, section 5.3).
fn unambiguous(head: &Parts) -> Result<(), Problem> {
    if let Some(name) = ONCE.iter().find(|name| head.headers.get_all(**name).iter().nth(1).is_some()) {
        return Err(Problem::bad(format!("the header {name} may be there once only")));
    }
    if head.version == Version::HTTP_11 && !head.headers.contains_key(header::HOST) {
        return Err(Problem::bad("a request of HTTP/1.1 must have the header host"));
    }
    Ok(())
}

/// Who calls, if it may at all. `None` where nobody has to say.
async fn admit(api: &Api, head: &Parts) -> Result<Option<Caller>, Problem> {
    unambiguous(head)?;
    let Some(path) = head.extensions.get::<MatchedPath>() else { return Ok(None) };
    let method = head.method.as_str();
    let method = if method == "HEAD" && !has_rule("HEAD", path.as_str()) { "GET" } else { method };
    let rule = RULES.iter().find(|(m, p, _)| *m == method && *p == path.as_str()).map(|(_, _, rule)| *rule);
    let action = match rule {
        None if RULES.iter().any(|(_, p, _)| *p == path.as_str()) => {
            // the route is there, the method is not: the router says so
            return Ok(None);
        }
        None => return Err(Problem::not_found("route")),
        Some(Rule::Open) => return Ok(None),
        Some(Rule::Metrics) => {
            let open = head.extensions.get::<ConnectInfo<SocketAddr>>().is_some_and(|peer| {
                // a proxy's own address tells nothing about who asks
                !head.headers.contains_key(FORWARDED)
                    && (peer.ip().is_loopback() || api.metrics_from.iter().any(|net| net.contains(&peer.ip())))
            });
            if open && bearer(&head.headers).is_none() {
                return Ok(None);
            }
            Action::ReadMetrics
        }
        Some(Rule::For(action)) => action,
    };
    let caller = authenticate(api, head).await?;
    api.usage.request(&caller.principal.actor())?;
    allow(may(&caller.principal, action, &Target::Route), "route")?;
    Ok(Some(caller))
}

fn has_rule(method: &str, path: &str) -> bool {
    RULES.iter().any(|(m, p, _)| *m == method && *p == path)
}

async fn authenticate(api: &Api, head: &Parts) -> Result<Caller, Problem> {
    let headers = &head.headers;
    let token = bearer(headers)
        .ok_or_else(|| Problem::of(Code::Unauthenticated, "send a key or token: `Authorization: Bearer …`"))?;
    let act_as = match headers.get(ACT_AS) {
        None => None,
        Some(value) => Some(value.to_str().map_err(|_| Problem::bad("Lettercase-Act-As must be printable ASCII"))?),
    };
    match api.access.authenticate(token, act_as).await {
        Ok(caller) => Ok(caller),
        Err(error) => {
            if matches!(error, AuthError::Unknown | AuthError::Expired | AuthError::Revoked) {
                api.usage.failed_login(&address(api, head).map(|ip| ip.to_string()).unwrap_or_default())?;
            }
            Err(error.into())
        }
    }
}

/// The token of an `Authorization: Bearer` header (RFC 6750, section 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// Where a request comes from: the peer, or whom a trusted proxy names last.
fn address(api: &Api, head: &Parts) -> Option<IpAddr> {
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>()?.ip();
    let trusted = |ip: &IpAddr| api.trusted.iter().any(|net| net.contains(ip));
    if !trusted(&peer) {
        return Some(peer);
    }
    // each proxy appends, to the line or as a new one: the last one that is none of ours is who came to us
    let lines = head.headers.get_all(FORWARDED).iter().rev().map_while(|line| line.to_str().ok());
    let mut hops = lines.flat_map(|line| line.rsplit(',')).map_while(|hop| hop.trim().parse::<IpAddr>().ok());
    Some(hops.find(|hop| !trusted(hop)).unwrap_or(peer))
}

/// Lets pass what the caller may do to a record; what the caller may not see is answered as if it were not there.
///
/// # Errors
/// 404, or 403 where the caller may not do such a thing at all.
pub fn reach(caller: &Caller, action: Action, what: &str, record: Record<'_>) -> Result<(), Problem> {
    allow(may(&caller.principal, action, &Target::Record(record)), what)
}

/// The answer of the decision as a problem.
///
/// # Errors
/// 404 for what is hidden, 403 for what is forbidden.
pub fn allow(answer: Answer, what: &str) -> Result<(), Problem> {
    match answer {
        Answer::Yes => Ok(()),
        Answer::Hidden => Err(Problem::not_found(what)),
        Answer::Forbidden { needs } => Err(Problem::of(Code::Forbidden, in_words(needs))),
    }
}

/// Lets pass who may do this to what is of all practices and members: batches, schedules, mails, the mailroom's books.
///
/// # Errors
/// As [`allow`].
pub fn admit_to_all(caller: &Caller, action: Action) -> Result<(), Problem> {
    allow(may(&caller.principal, action, &Target::Mailroom), "such thing")
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // a handler that asks for a caller on a route without one is a fault of ours, and answered by nothing
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::of(Code::Internal, "an error of ours: the route knows no caller"))
    }
}

fn in_words(needs: Needs) -> String {
    match needs {
        Needs::Scope(scope) => format!("this takes a key with the scope {scope}"),
        Needs::LiveKey => "a key for trials can't do this".to_owned(),
        Needs::AllTins => "this takes a key for all TINs".to_owned(),
        Needs::Role([]) => "this is for services and users of practices".to_owned(),
        Needs::Role(roles) => {
            let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
            format!("this takes one of the roles {}", names.join(", "))
        }
        Needs::NotUser => "this is for services and the payer's own people".to_owned(),
        Needs::AccessManager => "this is for access managers".to_owned(),
        Needs::User => "this is for users of practices, and for services that act for one".to_owned(),
    }
}
