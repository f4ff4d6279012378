//! How the node is, and who the caller is.

use std::collections::{BTreeSet, HashMap};

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use crate::access::Caller;
use crate::db::{PLAN_PREFIX, installation_like, ledger, work};
use crate::http::errors::Problem;
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

/// Whether this node can do its work, with the reasons why not.
#[utoipa::path(get, path = "/ready", tag = "operation",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub async fn ready(State(api): State<Api>) -> impl IntoResponse {
    let mut reasons: Vec<String> =
        api.engine.paused().await.into_iter().map(|(stage, why)| format!("{stage}: {why}")).collect();
    if let Err(error) = api.intake.objects.check().await {
        reasons.push(error.to_string());
    }
    if let Err(error) = api.intake.db.check_schema().await {
        reasons.push(error.to_string());
    }
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready: reasons.is_empty(), reasons }))
}

/// The metrics in Prometheus's text form; the ledger is counted when they are asked for.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let mut conn = api.intake.db.read().await?;
    let counted = ledger::count(&mut conn).await?;
    for line in &counted.lines {
        let labels = [("kind", line.kind.as_str().to_owned()), ("state", line.state.clone())];
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        metrics::gauge!("lettercase_rows", &labels).set(line.rows as f64);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    metrics::gauge!("lettercase_ledger_difference").set(counted.difference as f64);
    // A pair that has none any more must say 0, not its last figure.
    let waiting: HashMap<(String, String), i64> =
        work::counts(&mut conn).await?.into_iter().map(|(stage, state, n)| ((stage, state), n)).collect();
    for stage in api.engine.stages() {
        for state in ["ready", "running", "dead"] {
            let n = waiting.get(&(stage.to_owned(), state.to_owned())).copied().unwrap_or_default();
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            metrics::gauge!("lettercase_work", "stage" => stage, "state" => state).set(n as f64);
        }
    }
    let plans: BTreeSet<String> =
        installation_like(&mut conn, PLAN_PREFIX).await?.into_iter().map(|(_, hash)| hash).collect();
    #[expect(clippy::cast_precision_loss, reason = "there are few plans")]
    metrics::gauge!("lettercase_differing_plans").set(plans.len().saturating_sub(1) as f64);
    let text = api.metrics.as_ref().map(PrometheusHandle::render).unwrap_or_default();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
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
