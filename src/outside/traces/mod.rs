//! Traces over OTLP: the way of a document, a letter, a submission or a print batch is one trace, over all workers,
//! processes and restarts (docs/traces.md).
//!
//! The trace's id is that of the thing itself: all of them are UUIDs, and a trace id is as many bytes. So nothing has to
//! be stored or handed on, and each stage's span joins the same trace, on whatever node and however late it runs. The
//! root span's id is the last half of the UUID, for the same reason.
//!
//! A span holds words of this program, numbers and UUIDs; there is no way to put in a text that came from outside, so no
//! health data can get there. That is why spans are made here and not taken from `tracing`: what libraries write into
//! theirs is not ours to vouch for. Refused, too: the caller's trace as the document's own, because then senders would
//! decide which documents share a trace; it is recorded as a link.

mod export;

use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks, SpanProcessor};
use uuid::Uuid;

pub use export::{TraceOptions, TracesError};

use super::context::Context;

tokio::task_local! {
    /// The request within which this task works.
    static REQUEST: Request;
}

/// A request in whose course documents arrive.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its id, as the log has it.
    pub id: String,
    /// The caller's span, where it named one.
    pub caller: Option<Caller>,
}

/// A caller's span (W3C Trace Context).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    trace: TraceId,
    span: SpanId,
}

impl Caller {
    /// Reads the header `traceparent`. Of versions to come the part that is known today is read, as the standard wants.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let whole = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
        if !whole || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let caller = Self { trace: TraceId::from_hex(trace).ok()?, span: SpanId::from_hex(span).ok()? };
        (caller.trace != TraceId::INVALID && caller.span != SpanId::INVALID).then_some(caller)
    }
}

/// Runs what belongs to a request: the span of a document that arrives meanwhile names it.
pub async fn within<F: Future>(request: Request, work: F) -> F::Output {
    REQUEST.scope(request, work).await
}

/// Has work that goes on in a task of its own belong to the request within which it was begun.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let request = REQUEST.try_with(Clone::clone).ok();
    async move {
        match request {
            Some(request) => within(request, work).await,
            None => work.await,
        }
    }
}

/// The trace id of a thing, as traces and the log have it: its UUID without hyphens. Empty for what has none.
pub fn trace_id(of: &str) -> String {
    Uuid::try_parse(of).map(|id| id.simple().to_string()).unwrap_or_default()
}

/// Where spans go. Cheap to clone; off unless the settings name an endpoint.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Sink>>);

struct Sink {
    processor: Box<dyn SpanProcessor>,
    sampled_percent: u8,
}

impl Traces {
    /// Sends spans to the endpoint of the settings, in batches, from a thread of its own.
    ///
    /// # Errors
    /// When the endpoint is no address.
    pub fn open(options: &TraceOptions, node: &str) -> Result<Self, TracesError> {
        Ok(Self::to(export::open(options, node)?, options.sampled_percent))
    }

    /// Gives spans to a processor of the caller's.
    pub fn to(processor: Box<dyn SpanProcessor>, sampled_percent: u8) -> Self {
        Self(Some(Arc::new(Sink { processor, sampled_percent })))
    }

    /// Sends what waits still, and ends. Blocks for a few seconds at most.
    pub fn close(&self) {
        if let Some(sink) = &self.0
            && sink.processor.shutdown().is_err()
        {
            tracing::info!("the last spans could not be sent");
        }
    }

    /// The sink of this thing's trace, if there is one. All nodes decide alike: by the id's last bytes, which are random.
    fn of(&self, id: Uuid) -> Option<Arc<Sink>> {
        let [.., a, b, c] = *id.as_bytes();
        let chance = u32::from_be_bytes([0, a, b, c]) % 100;
        self.0.as_ref().filter(|sink| chance < u32::from(sink.sampled_percent)).cloned()
    }
}

/// A span under way; [`Span::end`] sends it. One for a thing that is not traced costs nothing.
pub struct Span(Option<Open>);

struct Open {
    sink: Arc<Sink>,
    data: SpanData,
}

impl Span {
    /// The root of a thing's trace: how it began.
    pub fn root(ctx: &Context, name: &'static str, of: &str) -> Self {
        Self::open(ctx, name, of, true)
    }

    /// A step of a thing's way.
    pub fn step(ctx: &Context, name: &'static str, of: &str) -> Self {
        Self::open(ctx, name, of, false)
    }

    fn open(ctx: &Context, name: &'static str, of: &str, is_root: bool) -> Self {
        let Ok(id) = Uuid::try_parse(of) else { return Self(None) };
        let Some(sink) = ctx.traces().of(id) else { return Self(None) };
        let (trace, root) = ids(id);
        let (span, parent) =
            if is_root { (root, SpanId::INVALID) } else { (SpanId::from(ctx.random_bits().max(1)), root) };
        let now = system_time(ctx.now());
        let data = SpanData {
            span_context: SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: parent,
            parent_span_is_remote: !is_root,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: now,
            end_time: now,
            attributes: vec![KeyValue::new("lettercase.id", id.hyphenated().to_string())],
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("lettercase").build(),
        };
        Self(Some(Open { sink, data }))
    }

    fn with(mut self, key: &'static str, value: impl Into<opentelemetry::Value>) -> Self {
        if let Some(open) = &mut self.0 {
            open.data.attributes.push(KeyValue::new(key, value));
        }
        self
    }

    /// Adds a word of this program.
    #[must_use]
    pub fn word(self, key: &'static str, word: &'static str) -> Self {
        self.with(key, word)
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, key: &'static str, number: i64) -> Self {
        self.with(key, number)
    }

    /// Adds another thing's id, and a link to its trace. What is no UUID is left out.
    #[must_use]
    pub fn of(self, key: &'static str, id: &str) -> Self {
        let Ok(id) = Uuid::try_parse(id) else { return self };
        let (trace, root) = ids(id);
        self.with(key, id.hyphenated().to_string()).linked(trace, root)
    }

    /// Names the request in whose course it happens: its id, and a link to the caller's span.
    #[must_use]
    pub fn within_request(self) -> Self {
        let Ok(Request { id, caller }) = REQUEST.try_with(Clone::clone) else { return self };
        let named = match Uuid::try_parse(&id) {
            Ok(id) => self.with("lettercase.request", id.hyphenated().to_string()),
            Err(_) => self,
        };
        match caller {
            Some(Caller { trace, span }) => named.linked(trace, span),
            None => named,
        }
    }

    fn linked(mut self, trace: TraceId, span: SpanId) -> Self {
        if let Some(open) = &mut self.0 {
            let to = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE);
            open.data.links.links.push(Link::with_context(to));
        }
        self
    }

    /// It came to an end: with which outcome, and whether that is a fault of ours or of the world's.
    pub fn end(self, ctx: &Context, outcome: &'static str, is_fault: bool) {
        let Some(Open { sink, mut data }) = self.word("lettercase.outcome", outcome).0 else { return };
        // a clock that was set back must not make a span end before it began
        data.end_time = system_time(ctx.now()).max(data.start_time);
        if is_fault {
            data.status = Status::error("");
        }
        sink.processor.on_end(data);
    }
}

/// A thing's trace, and the root span in it.
fn ids(id: Uuid) -> (TraceId, SpanId) {
    let (_, low) = id.as_u64_pair();
    (TraceId::from(id.as_u128()), SpanId::from(low))
}

fn system_time(at: Timestamp) -> SystemTime {
    at.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_traceparent_is_taken() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let span = "b7ad6b7169203331";
        for (header, taken) in [
            (format!("00-{trace}-{span}-01"), true),
            (format!("00-{trace}-{span}-00"), true),
            (format!("cc-{trace}-{span}-01-what-comes"), true),
            (format!("00-{trace}-{span}-01-more"), false),
            (format!("ff-{trace}-{span}-01"), false),
            (format!("00-{trace}-{span}"), false),
            (format!("00-{}-{span}-01", trace.to_uppercase()), false),
            (format!("00-{}-{span}-01", "0".repeat(32)), false),
            (format!("00-{trace}-{}-01", "0".repeat(16)), false),
            (format!("00-{trace}0-{span}-01"), false),
            ("Krempelhuber".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(Caller::parse(&header).is_some(), taken, "{header}");
        }
    }

    #[test]
    fn a_trace_has_the_id_of_its_thing() {
        let id = "0192f0c1-2b3c-7d4e-8f50-617283940a1b";
        let (trace, root) = ids(Uuid::try_parse(id).unwrap());
        assert_eq!(trace.to_string(), "0192f0c12b3c7d4e8f50617283940a1b");
        assert_eq!(root.to_string(), "8f50617283940a1b");
        assert_eq!(trace_id(id), trace.to_string());
        assert_eq!(trace_id("no UUID"), "");
    }
}
