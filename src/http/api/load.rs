//! Bulk loads over HTTP: the body goes into the spool first, so that one that breaks off loads nothing and none is held
//! in memory. Once it is whole, the load runs to its end whether or not the caller still listens: it is told of by one
//! event at its end.

use std::fs::File;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::HeaderMap;
use futures::StreamExt;
use tokio::time::Instant;

use super::Api;
use super::body::{announced, media_type};
use super::incoming::Incoming;
use crate::access::Caller;
use crate::engine::bulk::{Form, LoadReport};
use crate::http::errors::Problem;
use crate::http::limits::UnderWay;
use crate::http::problems::Code;
use crate::intake::receive::is_too_slow;
use crate::outside::spool::SpoolFile;

/// A file that came whole. Dropped, it is gone.
pub(super) struct Spooled {
    /// What its rows look like.
    pub(super) form: Form,
    scratch: SpoolFile,
    _under_way: UnderWay,
}

impl Spooled {
    /// Opens it for reading.
    ///
    /// # Errors
    /// 503 when the spool can't be read.
    pub(super) fn open(&self) -> Result<File, Problem> {
        File::open(self.scratch.path()).map_err(|error| away(&error))
    }
}

/// Takes a body into the spool.
///
/// # Errors
/// 415 when its Content-Type is none of ours, 413 when it is too large, 400 when it broke off, 408 when it stalls.
pub(super) async fn spool(api: &Api, caller: &Caller, headers: &HeaderMap, body: Body) -> Result<Spooled, Problem> {
    let form = form(headers)?;
    let under_way = api.usage.upload(&caller.principal.actor())?;
    let mut chunks = Incoming::of(headers, body);
    let limit = api.plan.limits.load_bytes;
    let too_large = || Problem::of(Code::BodyTooLarge, format!("the file may have at most {limit} bytes"));
    let receive = &api.intake.plan.receive;
    let began = Instant::now();
    let taken = async {
        if announced(headers).is_some_and(|announced| announced > limit) {
            return Err(too_large());
        }
        let room = api.intake.spool_room(announced(headers).unwrap_or(limit))?;
        let mut scratch = api.intake.spool.scratch(&api.intake.ctx.new_id()).await.map_err(|e| away(&e))?;
        scratch.take_room(room);
        loop {
            let next = tokio::time::timeout(receive.grace(), chunks.next()).await.map_err(|_| slow())?;
            let Some(chunk) = next else { break };
            let chunk = chunk.map_err(|_| Problem::bad("the body broke off; nothing was loaded"))?;
            if scratch.size_bytes() + chunk.len() as u64 > limit {
                return Err(too_large());
            }
            scratch.write(&chunk).await.map_err(|e| away(&e))?;
            if is_too_slow(began.elapsed(), scratch.size_bytes(), receive) {
                return Err(slow());
            }
        }
        scratch.finish().await.map_err(|e| away(&e))?;
        Ok(scratch)
    };
    let taken = tokio::time::timeout(receive.deadline(), taken).await.unwrap_or_else(|_| Err(slow()));
    Ok(Spooled { form, scratch: taken?, _under_way: under_way })
}

/// Runs a load to its end, also when the caller is gone.
///
/// # Errors
/// The load's own.
pub(super) async fn run(
    load: impl Future<Output = Result<LoadReport, Problem>> + Send + 'static,
) -> Result<Json<LoadReport>, Problem> {
    match tokio::spawn(load).await {
        Ok(report) => Ok(Json(report?)),
        Err(error) => {
            tracing::error!(error = %error, "a load ended by itself");
            Err(Problem::of(Code::Internal, "an error of ours; it is in the log"))
        }
    }
}

/// What the rows look like, by the Content-Type.
fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    match media_type(headers).unwrap_or_default().as_str() {
        "application/x-ndjson" => Ok(Form::Ndjson),
        "text/csv" => Ok(Form::Csv),
        _ => Err(Problem::of(Code::UnsupportedMediaType, "the body must be application/x-ndjson or text/csv")),
    }
}

fn slow() -> Problem {
    Problem::of(Code::TooSlow, "the file did not come in time; nothing was loaded")
}

fn away(error: &std::io::Error) -> Problem {
    tracing::error!(error = %error, "spool");
    Problem::unavailable("the spool").retry_after(Duration::from_secs(5))
}
