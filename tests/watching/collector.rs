//! Spans go to a collector by OTLP, and nobody waits for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use lettercase::outside::context::Context;
use lettercase::outside::traces::{Span, TraceOptions, Traces};

/// The kind and the body of a request.
pub(super) type Came = (String, Vec<u8>);

/// What came, and what is answered.
#[derive(Clone)]
pub(super) struct Collector {
    came: Arc<Mutex<Vec<Came>>>,
    answer: StatusCode,
}

impl Collector {
    /// The kinds and bodies of what came.
    pub(super) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let kind = headers["content-type"].to_str().unwrap().to_owned();
    collector.came.lock().unwrap().push((kind, body.to_vec()));
    collector.answer
}

/// A collector on a port of its own, and its address.
pub(super) async fn start(answer: StatusCode) -> (Collector, String) {
    let collector = Collector { came: Arc::default(), answer };
    let routes = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (collector, endpoint)
}

async fn traced(answer: StatusCode) -> (Collector, Context) {
    let (collector, endpoint) = start(answer).await;
    (collector, context(endpoint))
}

fn context(endpoint: String) -> Context {
    let traces = Traces::open(&TraceOptions { endpoint, sampled_percent: 100 }, "node-7").unwrap();
    Context::system().with_traces(traces)
}

async fn closed(ctx: &Context) {
    let traces = ctx.traces().clone();
    tokio::task::spawn_blocking(move || traces.close()).await.unwrap();
}

pub(super) fn holds(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[test]
fn spans_are_sent_by_otlp_at_the_latest_when_the_node_ends() {
    crate::support::block_on(async {
        let (collector, ctx) = traced(StatusCode::OK).await;
        let id = ctx.new_id();
        Span::root(&ctx, "receive", &id).number("lettercase.size_bytes", 7).end(&ctx, "received", false);
        Span::step(&ctx, "sniff", &id).end(&ctx, "advanced", false);
        closed(&ctx).await;
        let came = collector.came();
        assert_eq!(came.len(), 1, "one batch");
        let (kind, body) = &came[0];
        assert_eq!(kind, "application/x-protobuf");
        assert!(holds(body, &hex::decode(id.replace('-', "")).unwrap()));
        for text in ["receive", "sniff", "advanced", "lettercase", "node-7"] {
            assert!(holds(body, text.as_bytes()), "{text}");
        }
    });
}

#[test]
fn a_collector_that_fails_or_is_away_holds_nothing_up() {
    crate::support::block_on(async {
        let (refusing, refused) = traced(StatusCode::INTERNAL_SERVER_ERROR).await;
        // nobody listens there
        let away = context("http://127.0.0.1:9/v1/traces".to_owned());
        for ctx in [&refused, &away] {
            let began = std::time::Instant::now();
            // more than the queue takes
            for _ in 0..20_000 {
                Span::step(ctx, "sniff", &ctx.new_id()).end(ctx, "advanced", false);
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
            closed(ctx).await;
            // after its end it is silent
            Span::step(ctx, "sniff", &ctx.new_id()).end(ctx, "advanced", false);
        }
        assert!(!refusing.came().is_empty());
    });
}

#[test]
fn of_as_many_in_a_hundred_as_is_said_the_way_is_traced_and_all_nodes_choose_alike() {
    let traced = |percent: u8, ids: &[String]| {
        let spans = crate::support::spans::Spans::default();
        let ctx = Context::system().with_traces(Traces::to(Box::new(spans.clone()), percent));
        ids.iter().for_each(|id| Span::step(&ctx, "sniff", id).end(&ctx, "advanced", false));
        spans.all().into_iter().map(|span| span.span_context.trace_id()).collect::<Vec<_>>()
    };
    let ctx = Context::system();
    let ids: Vec<String> = (0..4_000).map(|_| ctx.new_id()).collect();
    assert_eq!((traced(0, &ids).len(), traced(100, &ids).len()), (0, 4_000));
    let some = traced(25, &ids);
    assert!((800..1_200).contains(&some.len()), "{}", some.len());
    assert_eq!(some, traced(25, &ids));
}
