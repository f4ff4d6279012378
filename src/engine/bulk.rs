//! Bulk loads: NDJSON or CSV, idempotent, bad rows told one by one and the good ones kept. What the rows mean is the
//! journeys' own.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use thiserror::Error;
use utoipa::ToSchema;

use crate::db::{Conn, Db, DbError, Stamp, events};
use crate::engine::installation_brand;
use crate::model::event::{EventType, NewEvent};

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A JSON object a line.
    Ndjson,
    /// A head line with the field names, then a row a line.
    Csv,
}

/// A row that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RowReject {
    /// Its line in the file, from 1.
    pub line: u64,
    /// What is wrong with it. It names fields and rules, not values.
    pub reason: String,
}

/// What a load did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct LoadReport {
    /// Rows taken.
    pub loaded: u64,
    /// Rows not taken. At most [`REJECTS_TOLD`] are listed.
    pub rejects: Vec<RowReject>,
    /// How many were not taken in all.
    pub rejected: u64,
}

/// The most rejected rows that a report lists.
pub const REJECTS_TOLD: usize = 1000;
/// Rows per transaction.
const BATCH: usize = 500;
/// The longest line, in bytes.
const LINE_BYTES: u64 = 64 << 10;
/// Bytes of a CSV that are read at once.
const READ_BYTES: usize = 8 << 10;

/// Why a load ended before the end of its file. What was loaded so far stays; loading again is harmless.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("the file can't be read")]
    Read(#[from] std::io::Error),
    /// The CSV has no usable head line.
    #[error("the CSV can't be read: {0}")]
    Csv(String),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What the rows of a file are.
pub trait Rows: Copy + Send + Sync + 'static {
    /// A row, read and checked as far as it can be by itself.
    type Record: Send + Sync;

    /// What they are called, in the event that tells of the load.
    fn kind(&self) -> &'static str;

    /// Reads a row from JSON; says why it is none, by fields and rules, without values.
    fn parse(&self, json: &[u8]) -> Result<Self::Record, String>;
}

/// Writes rows.
#[async_trait]
pub trait Taker<R: Rows>: Send + Sync {
    /// Writes one; says why not, where it is not the database's fault. One that is not taken leaves no trace.
    async fn take(&self, conn: &mut Conn, stamp: Stamp<'_>, record: &R::Record) -> Result<Option<String>, DbError>;
}

/// A row, or why it is none, with its line.
type Row<R> = (u64, Result<<R as Rows>::Record, String>);

/// Loads a file.
///
/// # Errors
/// See [`LoadError`]; bad rows are no error.
pub async fn load<R: Rows>(
    db: &Db,
    stamp: Stamp<'_>,
    rows: R,
    taker: &impl Taker<R>,
    form: Form,
    file: impl Read + Send + 'static,
) -> Result<LoadReport, LoadError> {
    let mut report = LoadReport::default();
    let mut batch: Vec<Row<R>> = Vec::with_capacity(BATCH);
    let mut read: Box<dyn Iterator<Item = Result<Row<R>, LoadError>> + Send> = match form {
        Form::Ndjson => Box::new(ndjson(rows, file)),
        Form::Csv => Box::new(csv_rows(rows, file)?),
    };
    loop {
        batch.clear();
        for row in read.by_ref().take(BATCH) {
            batch.push(row?);
        }
        if batch.is_empty() {
            break;
        }
        write(db, stamp, taker, &batch, &mut report).await?;
    }
    let mut tx = db.begin().await?;
    tell(&mut tx, stamp, rows.kind(), &report).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(report)
}

/// Takes one row by itself, with the event of a load of one. Says why not, where it is not the database's fault.
///
/// # Errors
/// When the database fails.
pub async fn load_one<R: Rows>(
    db: &Db,
    stamp: Stamp<'_>,
    rows: R,
    taker: &impl Taker<R>,
    json: &[u8],
) -> Result<Result<(), String>, DbError> {
    let record = match parse(rows, json) {
        Ok(record) => record,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut tx = db.begin().await?;
    if let Some(reason) = taker.take(&mut tx, stamp, &record).await? {
        return Ok(Err(reason));
    }
    tell(&mut tx, stamp, rows.kind(), &LoadReport { loaded: 1, ..LoadReport::default() }).await?;
    tx.commit().await?;
    Ok(Ok(()))
}

async fn tell(conn: &mut Conn, stamp: Stamp<'_>, kind: &str, report: &LoadReport) -> Result<(), DbError> {
    let brand = installation_brand();
    let event = NewEvent {
        kind: EventType::ReferenceLoaded,
        subject: kind,
        brand: &brand,
        tin_uid: None,
        actor: stamp.actor,
        payload: json!({ "kind": kind, "loaded": report.loaded, "rejected": report.rejected }),
    };
    events::append(conn, stamp, event).await
}

async fn write<R: Rows>(
    db: &Db,
    stamp: Stamp<'_>,
    taker: &impl Taker<R>,
    batch: &[Row<R>],
    report: &mut LoadReport,
) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    for (line, row) in batch {
        let refused = match row {
            Ok(record) => taker.take(&mut tx, stamp, record).await?,
            Err(reason) => Some(reason.clone()),
        };
        match refused {
            None => report.loaded += 1,
            Some(reason) => {
                report.rejected += 1;
                if report.rejects.len() < REJECTS_TOLD {
                    report.rejects.push(RowReject { line: *line, reason });
                }
            }
        }
    }
    Ok(tx.commit().await?)
}

/// Lines of JSON, each of bounded length.
pub fn ndjson<R: Rows>(rows: R, file: impl Read + Send) -> impl Iterator<Item = Result<Row<R>, LoadError>> + Send {
    let mut reader = BufReader::new(file);
    let mut line = 0;
    std::iter::from_fn(move || {
        loop {
            line += 1;
            let mut bytes = Vec::new();
            match reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut bytes) {
                Err(error) => return Some(Err(error.into())),
                Ok(0) => return None,
                Ok(n) if n as u64 == LINE_BYTES && bytes.last() != Some(&b'\n') => {
                    if let Err(error) = skip_line(&mut reader) {
                        return Some(Err(error.into()));
                    }
                    return Some(Ok((line, Err(format!("the line is longer than {LINE_BYTES} bytes")))));
                }
                Ok(_) if bytes.trim_ascii().is_empty() => {}
                Ok(_) => return Some(Ok((line, parse(rows, &bytes)))),
            }
        }
    })
}

/// Reads on to the end of an overlong line, without keeping it.
fn skip_line(reader: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffered = reader.fill_buf()?;
        if buffered.is_empty() {
            return Ok(());
        }
        let end = buffered.iter().position(|b| *b == b'\n');
        let used = end.map_or(buffered.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

/// Rows of a CSV, whose first line holds the names of the fields.
///
/// # Errors
/// When there is no such line.
pub fn csv_rows<R: Rows>(
    rows: R,
    file: impl Read + Send + 'static,
) -> Result<impl Iterator<Item = Result<Row<R>, LoadError>> + Send, LoadError> {
    let ended = Arc::new(AtomicU64::new(0));
    let file = Bounded { file, given: 0, ended: ended.clone() };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).buffer_capacity(READ_BYTES).from_reader(file);
    let head = match reader.headers() {
        Ok(head) => head.clone(),
        Err(error) => return Err(broken(&error).unwrap_or_else(|| LoadError::Csv(error.to_string()))),
    };
    if head.iter().all(str::is_empty) {
        return Err(LoadError::Csv("its first line must hold the field names".into()));
    }
    let mut row = csv::StringRecord::new();
    Ok(std::iter::from_fn(move || {
        ended.store(reader.position().byte(), Ordering::Relaxed);
        match reader.read_record(&mut row) {
            Ok(false) => None,
            Ok(true) => Some(Ok(csv_row(rows, &head, &row))),
            Err(error) => Some(match broken(&error) {
                Some(broken) => Err(broken),
                None => {
                    let line = error.position().map_or(0, csv::Position::line);
                    let reason = "the row has another number of fields than the head line, or is not UTF-8";
                    Ok((line, Err(reason.into())))
                }
            }),
        }
    }))
}

fn csv_row<R: Rows>(rows: R, head: &csv::StringRecord, row: &csv::StringRecord) -> Row<R> {
    // an empty cell is an absent field, so that CSV and JSON mean the same
    let fields: serde_json::Map<String, serde_json::Value> = head
        .iter()
        .zip(row.iter())
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let bytes = serde_json::Value::Object(fields).to_string().into_bytes();
    (row.position().map_or(0, csv::Position::line), parse(rows, &bytes))
}

/// Why the CSV can't be read on, if that is what an error says.
fn broken(error: &csv::Error) -> Option<LoadError> {
    let csv::ErrorKind::Io(fault) = error.kind() else { return None };
    let too_long = fault.kind() == io::ErrorKind::FileTooLarge;
    Some(LoadError::Csv(if too_long {
        format!("a row is longer than {LINE_BYTES} bytes")
    } else {
        "it broke off".into()
    }))
}

/// Breaks off where a row does not end: the reader of CSV keeps a row until it is whole, and behind a quote that is
/// never closed that is the rest of the file.
struct Bounded<F> {
    file: F,
    /// Bytes given out.
    given: u64,
    /// Bytes up to the end of the last row.
    ended: Arc<AtomicU64>,
}

impl<F: Read> Read for Bounded<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given.saturating_sub(self.ended.load(Ordering::Relaxed)) > LINE_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let count = self.file.read(buffer)?;
        self.given += count as u64;
        Ok(count)
    }
}

fn parse<R: Rows>(rows: R, json: &[u8]) -> Result<R::Record, String> {
    // No database of ours keeps one in a text for sure, and a fault there would cost the good rows beside it.
    if json.windows(6).any(|six| six == br"\u0000") {
        return Err("a field holds a NUL character".to_owned());
    }
    rows.parse(json)
}

/// Reads a row's fields. serde's own message may quote a value, and values are health data: only what is known to be
/// safe is told.
///
/// # Errors
/// What is wrong, by fields and rules.
pub fn fields<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| {
        let text = error.to_string();
        let safe = ["missing field", "unknown field", "not a ", "unknown variant"].iter().any(|p| text.starts_with(p));
        let field = text.split(" at line").next().unwrap_or_default().split(", expected").next().unwrap_or_default();
        match (safe, error.classify()) {
            (true, _) if !text.starts_with("unknown variant") => field.to_owned(),
            (true, _) => "a field holds a word that is not one of its codes".to_owned(),
            (_, serde_json::error::Category::Syntax | serde_json::error::Category::Eof) => {
                "not a JSON object".to_owned()
            }
            _ => "a field is of the wrong form (dates are YYYY-MM-DD, everything else is text)".to_owned(),
        }
    })
}
