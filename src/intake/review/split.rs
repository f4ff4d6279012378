//! Takes a document apart that holds the papers of several (OPS-01).
//!
//! The parts are documents of their own: they come from the same sender at the same time on the same channel, and go
//! the whole way from the first stage on, so each is scanned again. The extract child makes them. They lie in
//! `incoming/` under their ids before one transaction makes their rows and ends the whole as `split`; a crash before it
//! leaves objects that no row knows, which are swept like any orphan.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::json;
use sha2::Digest;
use tempfile::NamedTempFile;

use super::{Claimed, ReviewError, claimed};
use crate::db::documents::{self, Change, Document, NewDocument};
use crate::db::{Conn, Db, DbError, Stamp, contents, submissions, work};
use crate::engine::stage::stop_at;
use crate::intake::extract::split::{Part, SplitJob, SplitReport, Unsplittable};
use crate::intake::plan::IntakePlan;
use crate::intake::{Intake, stages};
use crate::model::document::{DocumentState, FileName, MAX_FILE_NAME_BYTES};
use crate::model::ids::{DocumentId, Sha256};
use crate::model::judgement::FileType;
use crate::model::pages::PageRange;
use crate::model::submission::Said;
use crate::outside::extract::{Extract, ExtractOutcome};
use crate::outside::objects::{ObjectKey, Objects};

const STATES: &[DocumentState] = &[DocumentState::NeedsReview, DocumentState::Unmatched];
const NEEDS: &str = "in review or unmatched";

/// What it takes.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// The database.
    pub db: &'a Db,
    /// The object store.
    pub objects: &'a dyn Objects,
    /// The child that takes apart.
    pub extract: &'a Extract,
    /// A directory for scratch files.
    pub scratch_dir: &'a Path,
    /// Policy.
    pub plan: &'a IntakePlan,
    /// The node's name.
    pub node: &'a str,
}

impl Intake {
    /// What it takes to take documents apart.
    pub fn split_tools(&self) -> Tools<'_> {
        Tools {
            db: &self.db,
            objects: self.objects.as_ref(),
            extract: &self.extract,
            scratch_dir: self.spool.dir(),
            plan: &self.plan,
            node: &self.node,
        }
    }
}

/// A part whose bytes are in their place.
struct Placed {
    id: DocumentId,
    size_bytes: u64,
    sha256: Sha256,
    version: Option<String>,
}

/// Takes a PDF apart into one document per range, which hold each page exactly once. The ids of the parts, in the order
/// of the ranges.
///
/// # Errors
/// [`ReviewError::Ranges`] and [`ReviewError::CantSplit`] say what is wrong; see also [`ReviewError`].
pub async fn split(
    tools: Tools<'_>,
    stamp: Stamp<'_>,
    claim: &Claimed<'_>,
    ranges: &[PageRange],
) -> Result<Vec<DocumentId>, ReviewError> {
    let (document, file) = whole(tools, stamp, claim, ranges).await?;
    let job =
        SplitJob { ranges: ranges.to_vec(), entry_bytes: tools.plan.sniff.entry_bytes, bytes: tools.plan.split.bytes };
    let (parts, scratch) = match tools.extract.split(&file, &job).await {
        Ok(ExtractOutcome::Done((SplitReport::Parts(parts), scratch))) => (parts, scratch),
        Ok(ExtractOutcome::Done((SplitReport::Ranges(why), _))) => return Err(ReviewError::Ranges(why)),
        Ok(ExtractOutcome::Done((SplitReport::Unsplittable(why), _))) => return Err(ReviewError::CantSplit(said(why))),
        Ok(ExtractOutcome::Died { .. }) => return Err(ReviewError::CantSplit(said(Unsplittable::Unreadable))),
        Err(error) => return Err(ReviewError::Store(error.to_string())),
    };
    let mut placed = Vec::new();
    let done = async {
        for part in parts {
            placed.push(place(tools, stamp, &scratch, part).await?);
        }
        stop_at("split", "stored").await;
        commit(tools, stamp, claim, &document, &placed).await
    };
    if let Err(error) = done.await {
        for part in &placed {
            // what stays behind is swept as an orphan
            let _ = tools.objects.delete(&ObjectKey::incoming(&part.id)).await;
        }
        return Err(error);
    }
    Ok(placed.into_iter().map(|part| part.id).collect())
}

const fn said(why: Unsplittable) -> &'static str {
    match why {
        Unsplittable::Unreadable => "its pages could not be taken apart",
        Unsplittable::Attachments => "it has files attached, which belong to no page; it can't be taken apart",
        Unsplittable::Form => "its pages are made from a form when it is opened; print it to a PDF and scan that in",
        Unsplittable::TooLarge => "its parts would be larger than is allowed",
    }
}

/// The document that is to be taken apart, and its bytes. Whether it may be is asked before the work, and again at its
/// end.
async fn whole(
    tools: Tools<'_>,
    stamp: Stamp<'_>,
    claim: &Claimed<'_>,
    ranges: &[PageRange],
) -> Result<(Document, File), ReviewError> {
    let mut tx = tools.db.begin().await?;
    let document = claimed(&mut tx, stamp, claim, STATES, NEEDS).await?;
    tx.rollback().await.map_err(DbError::from)?;
    if document.file_type != Some(FileType::Pdf) {
        return Err(ReviewError::CantSplit("only a PDF document can be taken apart; scan the papers apart instead"));
    }
    if ranges.len() > tools.plan.split.parts {
        return Err(ReviewError::Ranges(format!("a document is taken into at most {} parts", tools.plan.split.parts)));
    }
    let sha256 = document.sha256.clone().ok_or(ReviewError::NoDocument)?;
    let version = {
        let mut conn = tools.db.read().await?;
        contents::get(&mut conn, &document.brand, &sha256).await?.and_then(|content| content.version_id)
    };
    let scratch = NamedTempFile::new_in(tools.scratch_dir).map_err(disk)?;
    let key = ObjectKey::content(&document.brand, &sha256);
    let fetched = tools.objects.fetch(&key, version.as_deref(), scratch.path(), Some(&sha256)).await;
    fetched.map_err(|error| ReviewError::Store(error.to_string()))?;
    let file = File::open(scratch.path()).map_err(disk)?;
    Ok((document, file))
}

fn disk(error: io::Error) -> ReviewError {
    ReviewError::Store(format!("a scratch file can't be used: {}", error.kind()))
}

/// Brings a part's bytes to their place in the store.
async fn place(tools: Tools<'_>, stamp: Stamp<'_>, scratch: &File, part: Part) -> Result<Placed, ReviewError> {
    let id: DocumentId = stamp.new_id()?;
    let (own, dir) = (scratch.try_clone().map_err(disk)?, tools.scratch_dir.to_owned());
    let (file, sha256) = tokio::task::spawn_blocking(move || cut_out(own, part, &dir))
        .await
        .map_err(|fault| ReviewError::Store(fault.to_string()))?
        .map_err(disk)?;
    let stored = tools.objects.put_file(&ObjectKey::incoming(&id), file.path(), part.len, &sha256).await;
    let stored = stored.map_err(|error| ReviewError::Store(error.to_string()))?;
    Ok(Placed { id, size_bytes: part.len, sha256, version: stored.version })
}

/// A stretch of the scratch file as a file of its own, with its hash.
fn cut_out(mut scratch: File, part: Part, dir: &Path) -> io::Result<(NamedTempFile, Sha256)> {
    let mut file = NamedTempFile::new_in(dir)?;
    scratch.seek(SeekFrom::Start(part.offset))?;
    let mut left = scratch.take(part.len);
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = left.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        file.write_all(bytes)?;
    }
    if left.limit() > 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    file.flush()?;
    let sha256 = hex::encode(hasher.finalize()).parse().map_err(io::Error::other)?;
    Ok((file, sha256))
}

async fn commit(
    tools: Tools<'_>,
    stamp: Stamp<'_>,
    claim: &Claimed<'_>,
    seen: &Document,
    placed: &[Placed],
) -> Result<(), ReviewError> {
    let mut tx = tools.db.begin().await?;
    let document = claimed(&mut tx, stamp, claim, STATES, NEEDS).await?;
    let said = match (&seen.said, &seen.submission_id) {
        (None, Some(id)) => submissions::get(&mut tx, id).await?.map(|submission| submission.said),
        (said, _) => said.clone(),
    };
    for (number, part) in (1..).zip(placed) {
        let name = name_of(&document.file_name, number, placed.len());
        receive(&mut tx, stamp, tools.node, &document, part, (&name, said.as_ref())).await?;
    }
    let told = vec![("by", json!("person")), ("parts", json!(placed.len()))];
    documents::transition(&mut tx, stamp, &document, DocumentState::Split, Change { told, ..Change::default() })
        .await?;
    stop_at("split", "written").await;
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}

/// Makes a part a received document, as if it had come by itself where the whole came from.
async fn receive(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    node: &str,
    whole: &Document,
    part: &Placed,
    (file_name, said): (&FileName, Option<&Said>),
) -> Result<(), DbError> {
    let new = NewDocument {
        id: &part.id,
        brand: &whole.brand,
        submission_id: None,
        channel: whole.channel,
        file_name,
        said,
        parent_id: Some(&whole.id),
        batch_id: whole.batch_id.as_deref(),
        received_at: whole.received_at,
        node,
    };
    if !documents::insert(conn, stamp, &new).await? {
        return Err(DbError::Stale { what: "document" });
    }
    let row = documents::get(conn, &part.id).await?.ok_or(DbError::Stale { what: "document" })?;
    let bytes = Some((part.size_bytes, part.sha256.clone(), part.version.clone()));
    let change = Change { bytes, told: vec![("parent_id", json!(whole.id))], ..Change::default() };
    documents::transition(conn, stamp, &row, DocumentState::Received, change).await?;
    work::put(conn, stamp, part.id.as_str(), stages::FIRST).await
}

/// The name of a part: the whole's, with its number before the ending.
fn name_of(whole: &FileName, number: usize, of: usize) -> FileName {
    let (stem, ending) = whole.reveal().rsplit_once('.').unwrap_or((whole.reveal(), "pdf"));
    let tail = format!(" ({number} of {of}).{ending}");
    let room = MAX_FILE_NAME_BYTES.saturating_sub(tail.len());
    let stem = stem.get(..stem.floor_char_boundary(room)).unwrap_or_default();
    FileName::new(&format!("{stem}{tail}")).unwrap_or_else(|_| whole.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_the_name_of_the_whole_and_its_number() {
        let name = |raw: &str| name_of(&FileName::new(raw).unwrap(), 2, 3).reveal().to_owned();
        assert_eq!(name("fax.2026.pdf"), "fax.2026 (2 of 3).pdf");
        let long = name(&format!("{}.pdf", "\u{e4}".repeat(510)));
        assert!(long.len() <= MAX_FILE_NAME_BYTES && long.ends_with("\u{e4} (2 of 3).pdf"), "{long}");
    }
}
