//! The API's client, for `submit`, `demo` and `bench`: the same way in that every sender takes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use indicatif::ProgressBar;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Body, Client, Response, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;

use crate::http::api::submissions::OpenRequest;
use crate::http::api::view::SubmissionView;
use crate::model::ids::{Brand, CaseId, LetterId, SubmissionId};
use crate::model::paper::{BatchState, PrintFile};

/// How often an outcome that is waited for is looked at when no event comes.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What happens within so long of something is looked at together.
const COME_TOGETHER: Duration = Duration::from_millis(50);
/// Bytes read from a file at once.
const CHUNK: usize = 256 << 10;

/// A problem as the server tells it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Told {
    /// The stable code.
    pub(super) code: String,
    /// The sentence.
    pub(super) detail: String,
}

/// Why a call failed.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// The server's address can't be used.
    #[error("{0} is not the address of a server")]
    Address(String),
    /// The key can't be sent.
    #[error("the key holds characters that no key has")]
    Key,
    /// A file can't be read.
    #[error("can't read {0}")]
    File(PathBuf, #[source] std::io::Error),
    /// The server can't be reached, or broke off.
    #[error("the server can't be reached")]
    Transport(#[from] reqwest::Error),
    /// The server refused.
    #[error("the server refuses: {} ({})", .0.detail, .0.code)]
    Refused(Told),
}

/// A print batch, as far as the demo reports it.
#[derive(Deserialize)]
pub(super) struct BatchLine {
    pub(super) name: String,
    pub(super) state: BatchState,
    pub(super) envelopes: i64,
    pub(super) letters: i64,
    pub(super) sheets: i64,
}

/// A client of one server.
#[derive(Clone)]
pub(super) struct ApiClient {
    http: Client,
    base: Url,
}

impl ApiClient {
    /// A client that sends with this key.
    pub(super) fn new(base: &str, key: &str) -> Result<Self, ClientError> {
        let bad = || ClientError::Address(base.to_owned());
        let base = Url::parse(base).map_err(|_| bad())?;
        if base.cannot_be_a_base() {
            return Err(bad());
        }
        let mut bearer = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| ClientError::Key)?;
        bearer.set_sensitive(true);
        let http = Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(10))
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .build()?;
        Ok(Self { http, base })
    }

    fn url(&self, parts: &[&str]) -> Result<Url, ClientError> {
        self.url_of("submissions", parts)
    }

    fn url_of(&self, things: &str, parts: &[&str]) -> Result<Url, ClientError> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(["v1", things]).extend(parts),
            Err(()) => return Err(ClientError::Address(self.base.to_string())),
        };
        Ok(url)
    }

    /// Asks for a letter; answers its id.
    pub(super) async fn ask_letter(&self, request: &Value) -> Result<LetterId, ClientError> {
        #[derive(Deserialize)]
        struct Asked {
            id: LetterId,
        }
        let asked: Asked = read(self.http.post(self.url_of("letters", &[])?).json(request).send().await?).await?;
        Ok(asked.id)
    }

    /// Sets a case's status.
    pub(super) async fn set_status(&self, case: &CaseId, request: &Value) -> Result<(), ClientError> {
        let url = self.url_of("cases", &[case.as_str(), "status"])?;
        read::<Value>(self.http.post(url).json(request).send().await?).await.map(|_| ())
    }

    /// A letter's PDF.
    pub(super) async fn letter_pdf(&self, letter: &LetterId) -> Result<Vec<u8>, ClientError> {
        let response = self.http.get(self.url_of("letters", &[letter.as_str(), "pdf"])?).send().await?;
        if response.status().is_success() {
            return Ok(response.bytes().await?.to_vec());
        }
        Err(refused(response).await)
    }

    /// Closes a print batch of what waits of a brand.
    pub(super) async fn close_batch(&self, brand: &Brand) -> Result<(), ClientError> {
        let request = self.http.post(self.url_of("print-batches", &[])?).json(&json!({ "brand": brand }));
        read::<Value>(request.send().await?).await.map(|_| ())
    }

    /// The newest print batches.
    pub(super) async fn batches(&self) -> Result<Vec<BatchLine>, ClientError> {
        #[derive(Deserialize)]
        struct Page {
            batches: Vec<BatchLine>,
        }
        let page: Page = read(self.http.get(self.url_of("print-batches", &[])?).send().await?).await?;
        Ok(page.batches)
    }

    /// A file of a print batch.
    pub(super) async fn batch_file(&self, name: &str, file: PrintFile) -> Result<Vec<u8>, ClientError> {
        let url = self.url_of("print-batches", &[name, "files", file.as_str()])?;
        let response = self.http.get(url).send().await?;
        if response.status().is_success() {
            return Ok(response.bytes().await?.to_vec());
        }
        Err(refused(response).await)
    }

    /// Opens a submission.
    pub(super) async fn open(&self, request: &OpenRequest) -> Result<SubmissionView, ClientError> {
        read(self.http.post(self.url(&[])?).json(request).send().await?).await
    }

    /// Adds a file, streaming it; `bar` moves along.
    pub(super) async fn add(
        &self,
        submission: &SubmissionId,
        name: &str,
        path: &Path,
        bar: &ProgressBar,
    ) -> Result<(), ClientError> {
        let trouble = |error| ClientError::File(path.to_owned(), error);
        let file = tokio::fs::File::open(path).await.map_err(trouble)?;
        let size = file.metadata().await.map_err(trouble)?.len();
        bar.set_length(size);
        let moving = bar.clone();
        let chunks = ReaderStream::with_capacity(file, CHUNK).inspect(move |chunk| {
            if let Ok(chunk) = chunk {
                moving.inc(chunk.len() as u64);
            }
        });
        let url = self.url(&[submission.as_str(), "files", name])?;
        let request = self.http.put(url).header("content-length", size).body(Body::wrap_stream(chunks));
        read::<serde_json::Value>(request.send().await?).await.map(|_| ())
    }

    /// Sends the submission.
    pub(super) async fn submit(&self, submission: &SubmissionId) -> Result<SubmissionView, ClientError> {
        read(self.http.post(self.url(&[submission.as_str(), "submit"])?).send().await?).await
    }

    /// Reads the submission.
    pub(super) async fn status(&self, submission: &SubmissionId) -> Result<SubmissionView, ClientError> {
        read(self.http.get(self.url(&[submission.as_str()])?).send().await?).await
    }

    /// Waits until nothing more happens by itself; `told` hears of each event on the way.
    pub(super) async fn wait(
        &self,
        submission: &SubmissionId,
        mut told: impl FnMut(&str),
    ) -> Result<SubmissionView, ClientError> {
        use eventsource_stream::Eventsource;
        let response = self.http.get(self.url(&[submission.as_str(), "events"])?).send().await?;
        let mut events = response.bytes_stream().eventsource();
        loop {
            let view = self.status(submission).await?;
            if view.ended {
                return Ok(view);
            }
            let mut next_look = Instant::now() + LOOK_EVERY;
            loop {
                match tokio::time::timeout_at(next_look, events.next()).await {
                    Ok(Some(Ok(event))) => {
                        told(&event.event);
                        next_look = next_look.min(Instant::now() + COME_TOGETHER);
                    }
                    // the stream is over or broken: go on by looking
                    Ok(_) => {
                        tokio::time::sleep_until(next_look).await;
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
    }
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, ClientError> {
    if response.status().is_success() {
        return Ok(response.json().await?);
    }
    Err(refused(response).await)
}

async fn refused(response: Response) -> ClientError {
    let status = response.status();
    let told = response.json::<Told>().await.unwrap_or_else(|_| Told {
        code: status.as_str().to_owned(),
        detail: status.canonical_reason().unwrap_or("no reason was given").to_owned(),
    });
    ClientError::Refused(told)
}
