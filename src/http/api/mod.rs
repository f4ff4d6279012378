//! The API, as far as `submit` needs it: open a submission, add files, send it, see what becomes of it.
//!
//! There is no access control yet, so the server listens on loopback only.

pub mod files;
pub mod progress;
pub mod submissions;
pub mod view;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;

use super::errors::Problem;
use crate::db::{PLAN_PREFIX, installation_like, ledger, work};
use crate::engine::Engine;
use crate::intake::Intake;
use crate::model::ids::Brand;

/// What the routes work with.
#[derive(Clone)]
pub struct Api {
    /// The intake journey.
    pub intake: Intake,
    /// The engine, to be woken.
    pub engine: Engine,
    /// The brand of submissions that name none.
    pub brand: Brand,
    /// The metrics, where this process keeps them.
    pub metrics: Option<PrometheusHandle>,
}

/// Who acts, until callers are known.
pub(crate) const ACTOR: &str = "api";

/// The routes.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/submissions", post(submissions::open))
        .route("/v1/submissions/{id}", get(submissions::status))
        .route("/v1/submissions/{id}/files", post(files::multipart))
        .route("/v1/submissions/{id}/files/{name}", axum::routing::put(files::raw))
        .route("/v1/submissions/{id}/submit", post(submissions::submit))
        .route("/v1/submissions/{id}/events", get(progress::events))
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_text))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such route") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the route does not take this method")
        })
        // bodies are limited by the policy of the submission, while they stream
        .layer(DefaultBodyLimit::disable())
        .with_state(api)
}

/// Serves the routes until `stop` ends; requests under way are finished.
///
/// # Errors
/// When the address can't be listened on.
pub async fn serve(
    listener: tokio::net::TcpListener,
    api: Api,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(api).into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(stop)
        .await
}

/// Whether this node can do its work, with the reasons why not.
async fn ready(State(api): State<Api>) -> impl IntoResponse {
    let mut reasons: Vec<String> =
        api.engine.paused().await.into_iter().map(|(stage, why)| format!("{stage}: {why}")).collect();
    if let Err(error) = api.intake.objects.check().await {
        reasons.push(error.to_string());
    }
    if let Err(error) = api.intake.db.check_schema().await {
        reasons.push(error.to_string());
    }
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(serde_json::json!({ "ready": reasons.is_empty(), "reasons": reasons })))
}

/// The metrics in Prometheus's text form; the ledger is counted when they are asked for.
async fn metrics_text(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
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
