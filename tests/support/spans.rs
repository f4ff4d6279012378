//! Spans that a world's nodes made.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lettercase::outside::traces::Traces;
use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

/// All that ended, in that order.
#[derive(Debug, Clone, Default)]
pub struct Spans(Arc<Mutex<Vec<SpanData>>>);

impl Spans {
    /// Where a node sends its spans.
    pub fn traces(&self) -> Traces {
        Traces::to(Box::new(self.clone()), 100)
    }

    pub fn all(&self) -> Vec<SpanData> {
        self.0.lock().unwrap().clone()
    }

    /// Those of a thing's trace.
    pub fn of(&self, id: &str) -> Vec<SpanData> {
        let trace = id.replace('-', "");
        self.all().into_iter().filter(|span| span.span_context.trace_id().to_string() == trace).collect()
    }

    /// The same as words: name and outcome.
    pub fn told(&self, id: &str) -> Vec<String> {
        self.of(id).iter().map(|span| format!("{} {}", span.name, value(span, "lettercase.outcome"))).collect()
    }
}

/// What a span says under a key.
pub fn value(span: &SpanData, key: &str) -> String {
    span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string()).unwrap_or_default()
}

impl SpanProcessor for Spans {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
