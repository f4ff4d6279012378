//! The stage assemble: the letters of a closed batch become one print file with its manifest, in the object store.
//!
//! Letters are read one at a time, and the print file is written to this node's scratch: memory does not grow with the
//! batch. A letter that can't be read or printed is a fault that names it; of the batch nothing is stored then. The same
//! rows give the same bytes, so that doing it twice does no harm.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::runtime::Handle;

use super::Paper;
use super::addresses::from_row;
use super::production::assemble::{self, AssembleError, Assembler, Carrier};
use super::production::manifest::Manifest;
use super::production::pack::Sheaf;
use crate::db::batches::{self, Batch, BatchFile, BatchFiles};
use crate::db::envelopes::{self, Enclosed, Envelope};
use crate::db::{Conn, DbError, Stamp};
use crate::engine::stage::{Attempt, Chain, Handover, Outcome, Stage, StageError, Subject};
use crate::model::ids::Sha256;
use crate::model::paper::{ASSEMBLE, BatchState};
use crate::model::phi::Phi;
use crate::outside::objects::{ObjectError, ObjectKey};

/// The largest PDF of a letter, in bytes: one has some hundred kilobytes.
const PDF_BYTES: usize = 32 << 20;

/// The chain of this journey.
pub fn chain(paper: &Paper) -> Chain {
    Chain::of(Assemble(paper.clone())).end()
}

/// A closed batch with what goes into it.
#[derive(Debug, Clone)]
pub struct Closed {
    /// The row.
    pub batch: Batch,
    /// Its envelopes, in their order.
    pub envelopes: Vec<Envelope>,
    /// What is in them, in the same order.
    pub enclosed: Vec<Enclosed>,
}

#[async_trait]
impl Subject for Closed {
    async fn load(conn: &mut Conn, id: &str) -> Result<Option<Self>, DbError> {
        let Ok(id) = id.parse() else { return Ok(None) };
        let Some(batch) = batches::get(conn, &id).await?.filter(|batch| batch.state == BatchState::Closed) else {
            return Ok(None);
        };
        let envelopes = envelopes::of_batch(conn, &id, None, 0, i64::MAX).await?;
        let enclosed = envelopes::enclosed(conn, &id, None).await?;
        Ok(Some(Self { batch, envelopes, enclosed }))
    }
}

/// Puts a batch together.
pub struct Assemble(Paper);

#[async_trait]
impl Stage for Assemble {
    const NAME: &'static str = ASSEMBLE;
    type In = Closed;
    type Product = BatchFiles;
    type Out = Closed;

    async fn run(&self, input: &Closed, _: Attempt) -> Result<Outcome<BatchFiles>, StageError> {
        let paper = &self.0;
        let name = format!("batch-{}-{:016x}.pdf", input.batch.id, paper.ctx.random_bits());
        let scratch = Scratch(paper.scratch.join(name));
        let (own, closed, path) = (paper.clone(), input.clone(), scratch.0.clone());
        let handle = Handle::current();
        let written = tokio::task::spawn_blocking(move || write(&own, &closed, &path, &handle));
        let manifest = written.await.map_err(|_| StageError::Retry { why: "the assembler stopped".into() })??;
        agrees(&manifest, &input.batch)?;
        let files = self.store(input, &manifest, &scratch.0).await?;
        Ok(Outcome::Advance(files))
    }

    async fn commit(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        input: &Closed,
        outcome: Outcome<BatchFiles>,
    ) -> Result<Handover, DbError> {
        if let Outcome::Advance(files) = outcome {
            batches::assembled(conn, stamp, &input.batch, &files).await?;
            metrics::counter!("lettercase_print_batches_assembled_total").increment(1);
        }
        Ok(Handover::Waits)
    }
}

impl Assemble {
    async fn store(&self, input: &Closed, manifest: &Manifest, pdf: &Path) -> Result<BatchFiles, StageError> {
        let fail = |why: &str| StageError::Fail { why: why.to_owned() };
        let (objects, brand) = (&self.0.objects, &input.batch.brand);
        let sha256: Sha256 = manifest.pdf_sha256.parse().map_err(|_| fail("the print file has no hash"))?;
        let key = ObjectKey::batch(brand, &sha256);
        objects.put_file(&key, pdf, manifest.pdf_bytes, &sha256).await.map_err(away)?;
        let json = serde_json::to_vec_pretty(manifest).map_err(|_| fail("the manifest can't be written"))?;
        let mut csv = Vec::new();
        manifest.write_csv(&mut csv).map_err(|_| fail("the manifest can't be written"))?;
        let mut files = Vec::with_capacity(2);
        for bytes in [json, csv] {
            let file = BatchFile { bytes: size(bytes.len() as u64), sha256: Sha256::of(&bytes) };
            objects.put_bytes(&ObjectKey::batch(brand, &file.sha256), bytes).await.map_err(away)?;
            files.push(file);
        }
        let (Some(csv), Some(json)) = (files.pop(), files.pop()) else { return Err(fail("a manifest is missing")) };
        let pdf = BatchFile { sha256, bytes: size(manifest.pdf_bytes) };
        Ok(BatchFiles { pdf, pdf_pages: i64::from(manifest.pdf_pages), json, csv })
    }
}

fn away(error: ObjectError) -> StageError {
    if error.is_retryable() {
        StageError::Pause { why: format!("the store can't take a print file: {error}") }
    } else {
        StageError::Fail { why: format!("the store refuses a print file: {error}") }
    }
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A file under way; it is gone when this is.
pub(super) struct Scratch(pub(super) PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // nothing to tell: the directory is emptied at the next start anyway
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What was written must be what was planned, or nothing of it is stored.
fn agrees(manifest: &Manifest, batch: &Batch) -> Result<(), StageError> {
    let figures = batch.figures;
    let written = (
        i64::try_from(manifest.envelopes).unwrap_or(i64::MAX),
        i64::try_from(manifest.letters).unwrap_or(i64::MAX),
        i64::from(manifest.pages),
        i64::from(manifest.sheets),
    );
    if written == (figures.envelopes, figures.letters, figures.pages, figures.sheets) {
        return Ok(());
    }
    Err(StageError::Fail { why: "the print file does not hold what the batch holds".into() })
}

/// Writes the print file, on a thread that may wait.
fn write(paper: &Paper, closed: &Closed, path: &Path, handle: &Handle) -> Result<Manifest, StageError> {
    let fail = |why: String| StageError::Fail { why };
    let disk = |error: io::Error| StageError::Pause { why: format!("can't write the print file: {error}") };
    let envelopes = planned(paper, closed)?;
    let face = paper.renderer.text_face().ok_or_else(|| fail("letters have no font".into()))?;
    let assembler = Assembler::new(&paper.plan.production, face, paper.renderer.address_block());
    let assembler = assembler.map_err(|error| fail(error.to_string()))?;
    let file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(disk)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut store_away = None;
    let mut read = |letter: &Sheaf| -> io::Result<Vec<u8>> {
        let key = ObjectKey::letter(&closed.batch.brand, &letter.sha256);
        match handle.block_on(paper.objects.get_bytes(&key, PDF_BYTES)) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(io::ErrorKind::NotFound.into()),
            Err(error) => {
                store_away = error.is_retryable().then(|| error.to_string());
                Err(io::Error::other(error.to_string()))
            }
        }
    };
    let batch = assemble::Batch { name: &closed.batch.name, envelopes: &envelopes };
    let made = assembler.assemble(&batch, &mut read, &mut out);
    let manifest = match (made, store_away) {
        (Ok(manifest), _) => manifest,
        (Err(_), Some(why)) => return Err(StageError::Pause { why: format!("letters can't be read: {why}") }),
        (Err(AssembleError::Write(error)), None) => return Err(disk(error)),
        // it names the letter, by its number
        (Err(error), None) => return Err(fail(error.to_string())),
    };
    out.flush().map_err(disk)?;
    Ok(manifest)
}

/// The envelopes as production takes them.
fn planned(paper: &Paper, closed: &Closed) -> Result<Vec<assemble::Envelope>, StageError> {
    let unreadable = || StageError::Fail { why: "an envelope of the batch can't be read".into() };
    let looks = paper.renderer.brand(closed.batch.brand.as_str());
    let looks = looks.ok_or_else(|| StageError::Fail { why: "the brand has no looks".into() })?;
    let from = &looks.text.return_address;
    let sender: Vec<String> = std::iter::once(&looks.text.name).chain(&from.lines).cloned().collect();
    let mut inside: HashMap<i64, Vec<Sheaf>> = HashMap::new();
    for letter in &closed.enclosed {
        let sheaf = Sheaf {
            id: letter.letter_id.clone(),
            number: letter.number.clone(),
            pages: letter.pages,
            sha256: letter.sha256.clone(),
        };
        inside.entry(letter.sequence).or_default().push(sheaf);
    }
    let mut envelopes = Vec::with_capacity(closed.envelopes.len());
    for envelope in &closed.envelopes {
        let to = from_row(&envelope.to.address);
        envelopes.push(assemble::Envelope {
            sequence: u32::try_from(envelope.sequence).map_err(|_| unreadable())?,
            serial: u64::try_from(envelope.serial).map_err(|_| unreadable())?,
            zip: Phi(to.zip.0.reveal().chars().filter(char::is_ascii_digit).collect()),
            letters: inside.remove(&envelope.sequence).ok_or_else(unreadable)?,
            carrier: envelope.carrier.then(|| Carrier { sender: sender.clone(), to }),
        });
    }
    Ok(envelopes)
}
