//! Files of a submission: one by one as raw bodies, or several in one multipart.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::multipart::{MultipartError, MultipartRejection};
use axum::extract::rejection::PathRejection;
use axum::extract::{Multipart, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use futures::StreamExt;

use super::submissions::parse;
use super::{ACTOR, Api};
use crate::http::errors::Problem;
use crate::intake::receive::{Arriving, Destination, Receipt};
use crate::model::document::FileName;

/// How long the rest of a refused upload is read and thrown away.
const LINGER: Duration = Duration::from_secs(10);

/// `PUT /v1/submissions/{id}/files/{name}`: the body is the file.
pub async fn raw(
    State(api): State<Api>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path((id, name)) = path?;
    let submission = parse(&id)?;
    let file_name = file_name(&name)?;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|n| n.to_str().ok()).and_then(|n| n.parse().ok());
    let arriving = Arriving {
        to: Destination::Submission(&submission),
        document: None,
        file_name: &file_name,
        announced_bytes: announced,
        received_at: None,
        actor: ACTOR,
    };
    let mut chunks = body.into_data_stream();
    let receipt = match api.intake.receive(arriving, &mut chunks).await {
        Ok(receipt) => receipt,
        Err(error) => {
            drain(async move { while let Some(Ok(_)) = chunks.next().await {} });
            return Err(error.into());
        }
    };
    api.engine.wake();
    Ok((StatusCode::CREATED, Json(receipt)))
}

/// `POST /v1/submissions/{id}/files`: each part with a file name is a file. What was taken before a part was
/// refused stays taken.
pub async fn multipart(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
    parts: Result<Multipart, MultipartRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let submission = parse(&id)?;
    let mut parts = parts?;
    let mut receipts: Vec<Receipt> = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(|error| bad_multipart(&error))? {
        let Some(name) = part.file_name().map(ToOwned::to_owned) else { continue };
        let file_name = file_name(&name)?;
        let arriving = Arriving {
            to: Destination::Submission(&submission),
            document: None,
            file_name: &file_name,
            announced_bytes: None,
            received_at: None,
            actor: ACTOR,
        };
        match api.intake.receive(arriving, part.map(|chunk| chunk).boxed()).await {
            Ok(receipt) => receipts.push(receipt),
            Err(error) => {
                drain(async move { while let Ok(Some(_)) = parts.next_field().await {} });
                return Err(error.into());
            }
        }
        api.engine.wake();
    }
    if receipts.is_empty() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "no_files",
            "no part of the multipart body is a file; give each file's part a filename",
        ));
    }
    Ok((StatusCode::CREATED, Json(receipts)))
}

/// Reads on for a while what is still coming of a refused upload. A connection closed at once takes the answer
/// with it: the sender, still writing, sees a broken pipe and not the reason.
fn drain(rest: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(tokio::time::timeout(LINGER, rest));
}

fn file_name(raw: &str) -> Result<FileName, Problem> {
    FileName::new(raw).map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "bad_file_name", error.to_string()))
}

fn bad_multipart(error: &MultipartError) -> Problem {
    Problem::new(error.status(), "bad_multipart", "the multipart body can't be read: its boundary or a part is broken")
}
