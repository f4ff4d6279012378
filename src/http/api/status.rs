//! How the node is, and who the caller is.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

use super::{Api, figures};
use crate::access::Caller;
use crate::model::access::{Action, Answer, Mode, Principal, Target, may};

/// Whether the process lives.
#[utoipa::path(get, path = "/health", tag = "operation", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn health() -> &'static str {
    "ok\n"
}

/// Whether a node can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// It can.
    ready: bool,
    /// Why it can't.
    reasons: Vec<String>,
}

/// What was found out about the node's readiness, and when. One look at a time: who asks meanwhile gets its answer.
#[derive(Debug, Default)]
pub struct Standing(Mutex<Option<(Instant, Vec<String>)>>);

/// Whether this node can do its work, with the reasons why not. The answer is as old as policy lets it be.
#[utoipa::path(get, path = "/ready", tag = "operation",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub async fn ready(State(api): State<Api>) -> impl IntoResponse {
    let holds = Duration::from_millis(api.plan.metrics.ready_for_ms);
    let mut last = api.standing.0.lock().await;
    let reasons = match last.as_ref() {
        Some((at, reasons)) if at.elapsed() < holds => reasons.clone(),
        _ => {
            let reasons = reasons(&api).await;
            last.insert((Instant::now(), reasons)).1.clone()
        }
    };
    drop(last);
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready: reasons.is_empty(), reasons }))
}

/// Why the node can't do its work.
async fn reasons(api: &Api) -> Vec<String> {
    let mut reasons: Vec<String> =
        api.engine.paused().await.into_iter().map(|(stage, why)| format!("{stage}: {why}")).collect();
    if let Err(error) = api.intake.objects.check().await {
        reasons.push(error.to_string());
    }
    if let Err(why) = database(api).await {
        reasons.push(why);
    }
    reasons
}

/// Whether the database has our schema and takes a write. One that is locked would keep whoever asks waiting for longer
/// than it has patience.
async fn database(api: &Api) -> Result<(), String> {
    let patience = Duration::from_millis(api.plan.metrics.probe_timeout_ms);
    let check = async {
        api.intake.db.check_schema().await?;
        figures::check_write(api).await
    };
    match timeout(patience, check).await {
        Ok(checked) => checked.map_err(|error| error.to_string()),
        Err(_) => Err(format!("the database did not take a write within {} ms", patience.as_millis())),
    }
}

/// The metrics in Prometheus's text form; how old their count of the ledger is, is one of them.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    figures::refresh(&api).await;
    let text = api.metrics.as_ref().map(PrometheusHandle::render).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// Who the caller is taken for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// Whom events name.
    actor: String,
    /// `service`, `user` or `staff`.
    kind: &'static str,
    /// Real, or for trials.
    mode: Mode,
    /// What the caller may do at all.
    may: Vec<Action>,
}

/// Who am I, and what may I do?
#[utoipa::path(get, path = "/v1/me", tag = "access", responses((status = 200, body = Me)))]
pub async fn me(caller: Caller) -> Json<Me> {
    let kind = match &caller.principal {
        Principal::Service { .. } => "service",
        Principal::User { .. } => "user",
        Principal::Staff { .. } => "staff",
    };
    let allowed = |action: &&Action| may(&caller.principal, **action, &Target::Route) == Answer::Yes;
    Json(Me {
        actor: caller.actor(),
        kind,
        mode: caller.principal.mode(),
        may: Action::ALL.iter().filter(allowed).copied().collect(),
    })
}
