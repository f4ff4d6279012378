//! Print batches (OPS-04): what is in each, its print file and manifest, the printer's word, and what is printed again.
//! Addresses and names are in the files alone.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::io::ReaderStream;
use utoipa::{IntoParams, ToSchema};

use super::body::media_type;
use super::lists::{bad_cursor, behind, cursor, cut, page_of, read_cursor};
use super::versions::{if_match, tagged};
use super::{Api, body};
use crate::access::Caller;
use crate::db::batches::{self, Batch, BatchFiles, Figures};
use crate::db::envelopes::{self, Envelope};
use crate::db::{Conn, DbError, Stamp};
use crate::engine::bulk::Form;
use crate::http::errors::Problem;
use crate::http::guard::admit_to_all;
use crate::http::problems::Code;
use crate::model::access::Action;
use crate::model::event::EventType;
use crate::model::ids::{BatchId, Brand, EnvelopeId};
use crate::model::paper::{BatchKind, BatchState, EnvelopeState, PrintFile};
use crate::outside::objects::ObjectError;
use crate::paper::PaperError;
use crate::paper::acknowledge::{Acknowledged, LineProblem};
use crate::paper::close::Preview;
use crate::paper::production::marks::check_batch_name;

pub(super) const BATCH: &str = "print batch";
/// The largest word of a printer: 16 MiB are a hundred thousand lines and more.
const WORD_BYTES: usize = 16 << 20;

impl From<PaperError> for Problem {
    fn from(error: PaperError) -> Self {
        let said = error.to_string();
        match error {
            PaperError::NoBatch | PaperError::NoTask | PaperError::NoEnvelope => Self::of(Code::NotFound, said),
            PaperError::NothingWaits | PaperError::SerialsUsedUp | PaperError::State(_) => {
                Self::of(Code::WrongState, said)
            }
            PaperError::Conflict(_) => Self::of(Code::VersionConflict, said),
            PaperError::Invalid(_) | PaperError::Address(_) => Self::of(Code::Unprocessable, said),
            PaperError::Db(error) => error.into(),
        }
    }
}

/// Why a batch is held back.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchHoldView {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    by: String,
    /// Why, in the words of who held it.
    reason: String,
}

/// A print batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct PrintBatchView {
    id: BatchId,
    /// What stands on its sheets and in their marks.
    name: String,
    brand: Brand,
    kind: BatchKind,
    /// The local day it is of.
    #[schema(value_type = String, format = Date)]
    day: Date,
    state: BatchState,
    /// What was decided before this instant was taken.
    #[schema(value_type = String, format = DateTime)]
    cut_off_at: Timestamp,
    #[serde(flatten)]
    figures: Figures,
    /// Its files, once they are stored.
    files: Option<BatchFiles>,
    /// Set as long as nobody gets its print file.
    held: Option<BatchHoldView>,
    closed_by: String,
    #[schema(value_type = String, format = DateTime)]
    closed_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    assembled_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    done_at: Option<Timestamp>,
    /// Counts its changes; the number in the ETag.
    version: i64,
}

impl From<Batch> for PrintBatchView {
    fn from(batch: Batch) -> Self {
        Self {
            id: batch.id,
            name: batch.name,
            brand: batch.brand,
            kind: batch.kind,
            day: batch.day,
            state: batch.state,
            cut_off_at: batch.cut_off_at,
            figures: batch.figures,
            files: batch.files,
            held: batch.hold.map(|hold| BatchHoldView { at: hold.at, by: hold.by, reason: hold.reason }),
            closed_by: batch.closed_by,
            closed_at: batch.closed_at,
            assembled_at: batch.assembled_at,
            done_at: batch.done_at,
            version: batch.version,
        }
    }
}

/// How many envelopes are in a state.
#[derive(Debug, Serialize, ToSchema)]
pub struct EnvelopeCount {
    state: EnvelopeState,
    envelopes: i64,
}

impl EnvelopeCount {
    fn of(counts: Vec<(EnvelopeState, i64)>) -> Vec<Self> {
        counts.into_iter().map(|(state, envelopes)| Self { state, envelopes }).collect()
    }
}

/// An envelope. Whom it is for is in the manifest by its letters' numbers, and on its sheets.
#[derive(Debug, Serialize, ToSchema)]
pub struct EnvelopeView {
    id: EnvelopeId,
    /// Its place in the batch, from 1.
    sequence: i64,
    state: EnvelopeState,
    /// Pages of its letters.
    pages: i64,
    sheets: i64,
    /// Whether a sheet with another address than that of the letters lies on top.
    carrier: bool,
    /// Its mailer and serial number in the Intelligent Mail barcode.
    mailer_id: String,
    serial: i64,
    /// The spoiled one whose place it took.
    reprint_of: Option<EnvelopeId>,
    /// The one that took its place.
    replaced_by: Option<EnvelopeId>,
    /// Why it was spoiled or came back.
    reason: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    printed_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    inserted_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    mailed_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    spoiled_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    returned_at: Option<Timestamp>,
}

impl From<Envelope> for EnvelopeView {
    fn from(envelope: Envelope) -> Self {
        let times = envelope.times;
        Self {
            id: envelope.id,
            sequence: envelope.sequence,
            state: envelope.state,
            pages: envelope.pages,
            sheets: envelope.sheets,
            carrier: envelope.carrier,
            mailer_id: envelope.mailer_id,
            serial: envelope.serial,
            reprint_of: envelope.reprint_of,
            replaced_by: envelope.replaced_by,
            reason: envelope.reason,
            printed_at: times.printed_at,
            inserted_at: times.inserted_at,
            mailed_at: times.mailed_at,
            spoiled_at: times.spoiled_at,
            returned_at: times.returned_at,
        }
    }
}

/// Which batches.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PrintBatchesQuery {
    /// Those of a brand.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    brand: Option<Brand>,
    /// Those in a state.
    #[serde(default)]
    state: Option<BatchState>,
    /// Where the page before ended.
    #[serde(default)]
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// A page of print batches, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct PrintBatches {
    batches: Vec<PrintBatchView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List print batches, newest first.
#[utoipa::path(get, path = "/v1/print-batches", tag = "paper", params(PrintBatchesQuery), responses((status = 200, body = PrintBatches)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PrintBatchesQuery>, QueryRejection>,
) -> Result<Json<PrintBatches>, Problem> {
    let Query(query) = query?;
    admit_to_all(&caller, Action::ReadPrintBatches)?;
    let limit = page_of(&api, query.limit)?;
    let before: Option<(i64, BatchId)> = behind(query.cursor.as_deref())?;
    let before = before.as_ref().map(|(at, id)| (*at, id));
    let mut conn = api.paper.db.read().await?;
    let mut rows = batches::list(&mut conn, query.brand.as_ref(), query.state, before, limit + 1).await?;
    let next = cut(&mut rows, limit, |row| cursor(row.closed_at.as_microsecond(), row.id.as_str()));
    Ok(Json(PrintBatches { batches: rows.into_iter().map(PrintBatchView::from).collect(), next }))
}

/// Of which brand.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PreviewQuery {
    /// The brand; else the installation's first.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    brand: Option<Brand>,
}

/// See what a batch would hold if it were closed now, and when the next cut-off is.
#[utoipa::path(get, path = "/v1/print-batches/preview", tag = "paper", params(PreviewQuery), responses((status = 200, body = Preview)))]
pub async fn preview(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PreviewQuery>, QueryRejection>,
) -> Result<Json<Preview>, Problem> {
    let Query(query) = query?;
    admit_to_all(&caller, Action::ReadPrintBatches)?;
    let brand = api.brand(query.brand.as_ref(), caller.principal.mode())?;
    Ok(Json(api.paper.preview(&brand).await?))
}

/// What is to be closed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseRequest {
    /// The brand; else the installation's first.
    #[serde(default)]
    brand: Option<Brand>,
}

/// Close a batch of what waits now, before the cut-off. The cut-off comes all the same and takes what is decided after.
#[utoipa::path(post, path = "/v1/print-batches", tag = "paper", request_body = Option<CloseRequest>,
    responses((status = 201, body = PrintBatchView, headers(("ETag" = String))), (status = 409)))]
pub async fn close(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::DecidePrintBatches)?;
    let wanted = body::json_or_none::<CloseRequest>(&api, &headers, body).await?.unwrap_or_default();
    let brand = api.brand(wanted.brand.as_ref(), caller.principal.mode())?;
    let actor = caller.actor();
    let batch = api.paper.close_now(Stamp { ctx: &api.paper.ctx, actor: &actor }, &brand).await?;
    api.engine.wake();
    Ok((StatusCode::CREATED, tagged(batch.version), Json(PrintBatchView::from(batch))))
}

/// The batch of an id or a name.
async fn batch_of(conn: &mut Conn, text: &str) -> Result<Batch, Problem> {
    let found = match text.parse() {
        Ok(id) => batches::get(conn, &id).await?,
        Err(_) if check_batch_name(text).is_ok() => batches::by_name(conn, text).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| Problem::not_found(BATCH))
}

/// A print batch with how its envelopes stand.
#[derive(Debug, Serialize, ToSchema)]
pub struct PrintBatchDetail {
    #[serde(flatten)]
    batch: PrintBatchView,
    /// How many envelopes are in each state.
    states: Vec<EnvelopeCount>,
}

/// See a print batch and how its envelopes stand.
#[utoipa::path(get, path = "/v1/print-batches/{id}", tag = "paper", params(("id" = String, Path, description = "Its id or name")),
    responses((status = 200, body = PrintBatchDetail, headers(("ETag" = String)))))]
pub async fn look(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    admit_to_all(&caller, Action::ReadPrintBatches)?;
    let mut conn = api.paper.db.read().await?;
    let batch = batch_of(&mut conn, &id).await?;
    let states = EnvelopeCount::of(envelopes::counts(&mut conn, &batch.id).await?);
    Ok((tagged(batch.version), Json(PrintBatchDetail { batch: batch.into(), states })))
}

/// Which envelopes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EnvelopesQuery {
    /// Those in a state.
    #[serde(default)]
    state: Option<EnvelopeState>,
    /// Only those of which nobody has said what became of them.
    #[serde(default)]
    #[param(value_type = Option<bool>)]
    unaccounted: bool,
    /// Where the page before ended.
    #[serde(default)]
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// A page of envelopes, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Envelopes {
    envelopes: Vec<EnvelopeView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List the envelopes of a print batch, in their order.
#[utoipa::path(get, path = "/v1/print-batches/{id}/envelopes", tag = "paper",
    params(("id" = String, Path, description = "Its id or name"), EnvelopesQuery), responses((status = 200, body = Envelopes)))]
pub async fn of_batch(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<EnvelopesQuery>, QueryRejection>,
) -> Result<Json<Envelopes>, Problem> {
    let (Path(id), Query(query)) = (path?, query?);
    admit_to_all(&caller, Action::ReadPrintBatches)?;
    let limit = page_of(&api, query.limit)?;
    let after = match query.cursor.as_deref().map(read_cursor).transpose()? {
        None => 0,
        Some((at, of)) if of == "envelope" => at,
        Some(_) => return Err(bad_cursor()),
    };
    let mut conn = api.paper.db.read().await?;
    let batch = batch_of(&mut conn, &id).await?;
    let mut rows = if query.unaccounted {
        envelopes::unaccounted(&mut conn, &batch.id, after, limit + 1).await?
    } else {
        envelopes::of_batch(&mut conn, &batch.id, query.state, after, limit + 1).await?
    };
    let next = cut(&mut rows, limit, |row| cursor(row.sequence, "envelope"));
    Ok(Json(Envelopes { envelopes: rows.into_iter().map(EnvelopeView::from).collect(), next }))
}

/// Read a batch's print file or manifest: `print.pdf`, `manifest.json` or `manifest.csv`.
#[utoipa::path(get, path = "/v1/print-batches/{id}/files/{file}", tag = "paper",
    params(("id" = String, Path, description = "Its id or name"), ("file" = String, Path, description = "`print.pdf`, `manifest.json` or `manifest.csv`")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>, headers(("ETag" = String))), (status = 409)))]
pub async fn file(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let Path((id, name)) = path?;
    admit_to_all(&caller, Action::DownloadPrintBatch)?;
    let file: PrintFile = name.parse().map_err(|_| Problem::not_found("file of a print batch"))?;
    let batch = {
        let mut conn = api.paper.db.read().await?;
        batch_of(&mut conn, &id).await?
    };
    let (opened, stored) = api.paper.file(&batch, file).await?.map_err(|error| away(&error))?;
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.paper.ctx, actor: &actor };
    let mut tx = api.paper.db.begin().await?;
    batches::event(&mut tx, stamp, &batch, EventType::PrintBatchDownloaded, json!({ "file": file })).await?;
    tx.commit().await.map_err(DbError::from)?;
    let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(opened), 64 << 10);
    let mut response = Response::new(Body::from_stream(stream));
    let head = response.headers_mut();
    head.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type()));
    head.insert(header::CONTENT_LENGTH, HeaderValue::from(stored.bytes));
    for (name, value) in [
        (header::ETAG, format!("\"{}\"", stored.sha256)),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}-{file}\"", batch.name)),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            head.insert(name, value);
        }
    }
    Ok(response)
}

fn away(error: &ObjectError) -> Problem {
    tracing::error!(error = %error, "a print file could not be read");
    Problem::unavailable("the object store")
}

/// What came of a printer's word.
#[derive(Debug, Serialize, ToSchema)]
pub struct AcknowledgedView {
    batch: PrintBatchView,
    /// Envelopes that came into another state.
    changed: u64,
    /// Lines that told nothing new.
    known: u64,
    /// Lines that were not taken; all others were.
    problems: Vec<LineProblem>,
    /// How many envelopes are in each state.
    states: Vec<EnvelopeCount>,
    /// Envelopes of which nobody has said what became of them.
    unaccounted: i64,
}

impl From<Acknowledged> for AcknowledgedView {
    fn from(taken: Acknowledged) -> Self {
        Self {
            batch: taken.batch.into(),
            changed: taken.changed,
            known: taken.known,
            problems: taken.problems,
            states: EnvelopeCount::of(taken.states),
            unaccounted: taken.unaccounted,
        }
    }
}

/// Take a printer's word on a batch: lines of JSON or CSV, each with `sequence` or `barcode` (or `all`), `event`
/// (printed, inserted, mailed, spoiled or missing), and perhaps `at` and `reason`. It can be sent again.
#[utoipa::path(post, path = "/v1/print-batches/{id}/acknowledge", tag = "paper",
    request_body(content = String, content_type = "application/x-ndjson", description = "Or text/csv, with the field names in the first line"),
    params(("id" = String, Path, description = "Its id or name")),
    responses((status = 200, body = AcknowledgedView), (status = 409)))]
pub async fn acknowledge(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AcknowledgedView>, Problem> {
    let Path(id) = path?;
    admit_to_all(&caller, Action::WorkPrintBatches)?;
    let form = match media_type(&headers).unwrap_or_default().as_str() {
        "application/x-ndjson" => Form::Ndjson,
        "text/csv" => Form::Csv,
        _ => {
            let detail = "the body must be application/x-ndjson or text/csv";
            return Err(Problem::of(Code::UnsupportedMediaType, detail));
        }
    };
    let lines = body::within(WORD_BYTES, body).await?;
    let batch = {
        let mut conn = api.paper.db.read().await?;
        batch_of(&mut conn, &id).await?
    };
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.paper.ctx, actor: &actor };
    Ok(Json(api.paper.acknowledge(stamp, &batch.id, &lines, form).await?.into()))
}

/// Print the spoiled and missing envelopes of a batch again: each once, in a batch of their own.
#[utoipa::path(post, path = "/v1/print-batches/{id}/reprint", tag = "paper", params(("id" = String, Path, description = "Its id or name")),
    responses((status = 201, body = PrintBatchView, headers(("ETag" = String))), (status = 409)))]
pub async fn reprint(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    admit_to_all(&caller, Action::WorkPrintBatches)?;
    let batch = {
        let mut conn = api.paper.db.read().await?;
        batch_of(&mut conn, &id).await?
    };
    let actor = caller.actor();
    let made = api.paper.reprint(Stamp { ctx: &api.paper.ctx, actor: &actor }, &batch.id).await?;
    api.engine.wake();
    Ok((StatusCode::CREATED, tagged(made.version), Json(PrintBatchView::from(made))))
}

/// Why a batch is to be held back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchHoldRequest {
    /// Why, in a few words without health data.
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
}

/// Hold a batch back: nobody gets its print file until it is released.
#[utoipa::path(post, path = "/v1/print-batches/{id}/hold", tag = "paper", request_body = BatchHoldRequest,
    params(("id" = String, Path, description = "Its id or name"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = PrintBatchView, headers(("ETag" = String))), (status = 409)))]
pub async fn hold(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    admit_to_all(&caller, Action::DecidePrintBatches)?;
    let (_, wanted) = body::json::<BatchHoldRequest>(&api, &headers, body).await?;
    let batch = {
        let mut conn = api.paper.db.read().await?;
        batch_of(&mut conn, &id).await?
    };
    let (version, actor) = (if_match(&headers)?, caller.actor());
    let stamp = Stamp { ctx: &api.paper.ctx, actor: &actor };
    let batch = api.paper.hold(stamp, &batch.id, Some(version), &wanted.reason).await?;
    Ok((tagged(batch.version), Json(PrintBatchView::from(batch))))
}

/// Let a batch go that was held back.
#[utoipa::path(post, path = "/v1/print-batches/{id}/release", tag = "paper",
    params(("id" = String, Path, description = "Its id or name"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = PrintBatchView, headers(("ETag" = String))), (status = 409)))]
pub async fn release(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    admit_to_all(&caller, Action::DecidePrintBatches)?;
    let batch = {
        let mut conn = api.paper.db.read().await?;
        batch_of(&mut conn, &id).await?
    };
    let (version, actor) = (if_match(&headers)?, caller.actor());
    let stamp = Stamp { ctx: &api.paper.ctx, actor: &actor };
    let batch = api.paper.release(stamp, &batch.id, Some(version)).await?;
    Ok((tagged(batch.version), Json(PrintBatchView::from(batch))))
}
