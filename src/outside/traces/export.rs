//! How spans leave: a bounded queue, a thread that sends batches, and a word now and then when that fails. Nothing here
//! can hold work up: what does not fit into the queue is left out and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::{Context as Scope, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{RetryPolicy, SpanExporter as Otlp, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use serde::Deserialize;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Spans that may wait to be sent; with their few attributes some megabytes.
const QUEUE: usize = 8_192;
/// Spans of one request.
const BATCH: usize = 512;
/// How long a request may take: the thread that sends waits for it, and the queue fills meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a failure is told.
const TELL_EVERY: Duration = Duration::from_secs(300);

/// Traces of documents' and letters' ways (docs/traces.md). Without it none are made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceOptions {
    /// The whole address to which they are sent by OTLP as protobuf over HTTP: `http://localhost:4318/v1/traces`.
    pub endpoint: String,
    /// Of how many documents and letters in a hundred the way is traced.
    #[serde(default = "all")]
    pub sampled_percent: u8,
}

fn all() -> u8 {
    100
}

impl TraceOptions {
    /// Checks what types can't.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        let is_http = ["http://", "https://"].iter().any(|scheme| self.endpoint.starts_with(scheme));
        if !is_http || reqwest::Url::parse(&self.endpoint).is_err() {
            return Err("traces.endpoint must be a whole address: http://localhost:4318/v1/traces");
        }
        if self.sampled_percent > 100 {
            return Err("traces.sampled_percent must be at most 100");
        }
        Ok(())
    }
}

/// Why traces can't be sent.
#[derive(Debug, Error)]
pub enum TracesError {
    /// The client can't be made.
    #[error("can't make a client for traces: {0}")]
    Client(#[from] reqwest::Error),
    /// The exporter does not take the endpoint.
    #[error("can't send traces: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// A processor that sends to the endpoint. Must be called within a runtime: requests run there.
pub(super) fn open(options: &TraceOptions, node: &str) -> Result<Box<dyn SpanProcessor>, TracesError> {
    let client =
        reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
    let exporter = Otlp::builder()
        .with_http()
        .with_http_client(Client { client, runtime: Handle::current() })
        .with_endpoint(options.endpoint.as_str())
        .with_timeout(PATIENCE)
        // a batch that does not arrive is lost: trying again would let the next ones wait
        .with_retry_policy(RetryPolicy::disabled())
        .build()?;
    let waiting = Arc::new(AtomicUsize::new(0));
    let told = Told { exporter, waiting: waiting.clone(), failures: Failures::default() };
    let config = BatchConfigBuilder::default().with_max_queue_size(QUEUE).with_max_export_batch_size(BATCH).build();
    let mut batches = BatchSpanProcessor::builder(told).with_batch_config(config).build();
    batches.set_resource(
        &Resource::builder_empty()
            .with_service_name("lettercase")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", node.to_owned()))
            .build(),
    );
    Ok(Box::new(Bounded { batches, waiting }))
}

/// Counts what waits, so that what does not fit is known of: the queue behind it drops silently.
#[derive(Debug)]
struct Bounded {
    batches: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, _: &mut Span, _: &Scope) {}

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            lost(1);
            return;
        }
        self.batches.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }
}

fn lost(spans: usize) {
    metrics::counter!("lettercase_spans_lost_total").increment(spans as u64);
}

/// The exporter, and what is told of its failures.
#[derive(Debug)]
struct Told<E> {
    exporter: E,
    waiting: Arc<AtomicUsize>,
    failures: Failures,
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        match &sent {
            Ok(()) => metrics::counter!("lettercase_spans_sent_total").increment(spans as u64),
            Err(error) => {
                lost(spans);
                self.failures.tell(error);
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// When a failure was told last.
#[derive(Debug, Default)]
struct Failures(std::sync::Mutex<Option<Instant>>);

impl Failures {
    fn tell(&self, error: &OTelSdkError) {
        let mut told = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(error = %error, "could not send spans; work goes on without them");
        }
    }
}

/// Sends from the thread of the batches, which has no runtime, on the one that the program runs on.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let request = reqwest::Request::try_from(request)?;
        let asked = self.runtime.spawn(async move {
            let answer = client.execute(request).await?;
            let status = answer.status();
            // what it says beside is of no use here, and has no bound
            Ok::<_, reqwest::Error>(Response::builder().status(status).body(Bytes::new()))
        });
        Ok(asked.await???)
    }
}
