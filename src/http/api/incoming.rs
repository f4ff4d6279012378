//! Bodies that hold files. What comes is counted, so that a reader can't be made to hold without bound what it waits
//! for; and what is left of a refused one is read for a while and thrown away.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures::{Stream, StreamExt};

/// How long the rest of a refused upload is read and thrown away.
const LINGER: Duration = Duration::from_secs(10);

/// A body on its way in. When the last clone is dropped before its end, the rest is read on for a while: a connection
/// closed at once takes the answer with it, and the sender, still writing, sees a broken pipe and not the reason.
#[derive(Clone)]
pub(super) struct Incoming(Arc<Mutex<Rest>>);

struct Rest {
    body: Option<BodyDataStream>,
    came: usize,
    /// Whether the sender waits to be told to send (RFC 9110, section 10.1.1). Reading tells it so.
    waits: bool,
}

impl Incoming {
    /// The body of a request with these headers.
    pub(super) fn of(headers: &HeaderMap, body: Body) -> Self {
        let waits = headers.contains_key(header::EXPECT);
        Self(Arc::new(Mutex::new(Rest { body: Some(body.into_data_stream()), came: 0, waits })))
    }

    /// Bytes that came by now.
    pub(super) fn came(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).came
    }
}

impl Stream for Incoming {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut rest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rest.waits = false;
        let Some(body) = rest.body.as_mut() else { return Poll::Ready(None) };
        let next = ready!(body.poll_next_unpin(task));
        match &next {
            Some(Ok(chunk)) => rest.came = rest.came.saturating_add(chunk.len()),
            _ => rest.body = None,
        }
        Poll::Ready(next)
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let Some(mut rest) = self.body.take().filter(|_| !self.waits) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let read = async move { while let Some(Ok(_)) = rest.next().await {} };
            runtime.spawn(async move { tokio::time::timeout(LINGER, read).await });
        }
    }
}
