//! The inbox door: places where scanners, fax and mail gateways drop files, a directory or a prefix in a bucket.
//!
//! What lies there was written by others and is written while we look: names, sizes and kinds are taken for what
//! they are, never followed, and nothing is put away that is not what was listed.
//!
//! Refused designs:
//! - Notifications of the file system. They are lost over network mounts and across restarts; a look finds all.
//! - Deleting what was taken. The mailroom's own copy is theirs to clear away; it lies in `done/`.
//! - Names in errors. File names are health data: an error says what was tried, not on which file.

mod bucket;
mod folder;
mod options;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use thiserror::Error;

pub use options::{BucketOptions, Complete, FolderOptions, PlaceOptions, SourceOptions, check};

use crate::model::phi::Phi;

/// The name of the file that says why something is in `problem/`.
const REASON_FILE: &str = "reason.txt";

/// What went wrong with an inbox.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InboxError {
    /// It does not answer, or not well: worth another look.
    #[error("the inbox can't be used now: {doing}: {why}")]
    Unavailable {
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        why: String,
    },
    /// The file is no longer what was listed: gone, replaced, or grown.
    #[error("the file is no longer what was listed")]
    Changed,
    /// This one file can't be read.
    #[error("the file can't be read: {why}")]
    Unreadable {
        /// What came of it.
        why: String,
    },
    /// It has more bytes than its reader takes.
    #[error("the file has more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// It can't be used so until somebody changes the settings or the place.
    #[error("{0}")]
    Misconfigured(String),
}

/// Why something that lies in an inbox is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Skipped {
    /// A symbolic link: it is never followed.
    Link,
    /// A directory that is not ours.
    Directory,
    /// A device, a pipe or a socket.
    Special,
    /// A name that is not UTF-8, is over 1024 bytes, or leads elsewhere.
    Name,
}

/// A file that lies in an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name: health data, never a path.
    pub name: Phi<String>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Changes when its bytes do: its time to the nanosecond, or its ETag and time.
    pub mark: String,
    /// Tells it from another file of its name, where the place can: 0 where not.
    pub inode: u64,
    /// When it was last written.
    pub modified_at: Option<Timestamp>,
}

/// What a look found.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Regular files with usable names.
    pub entries: Vec<Entry>,
    /// What is left alone, and how much of it.
    pub skipped: BTreeMap<Skipped, u64>,
    /// Whether there was more than was asked for.
    pub more: bool,
}

/// Where a file is put away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// Taken.
    Done,
    /// Not taken, or taken without what was said of it.
    Problem,
}

impl Shelf {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Problem => "problem",
        }
    }
}

/// A file's bytes, as they come.
pub type Body = BoxStream<'static, Result<Bytes, InboxError>>;

/// A watched place. Every call can be repeated after a failure or a crash.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Whether what is listed is always complete.
    fn is_complete_by_nature(&self) -> bool;

    /// Up to `most` files. Those with temporary names (`.part`, `.tmp`, a leading dot) are not there yet.
    async fn list(&self, most: usize) -> Result<Listing, InboxError>;

    /// Opens a file as it was listed. Where its bytes change while they are read, the stream ends with
    /// [`InboxError::Changed`].
    async fn open(&self, entry: &Entry) -> Result<Body, InboxError>;

    /// Whether an earlier, cut-off run has put the file away there: what lies under its name now is another one.
    async fn was_put_away(&self, entry: &Entry, shelf: Shelf, id: &str) -> Result<bool, InboxError>;

    /// Puts a file away, as `done/ID/NAME` or `problem/ID/NAME`. One that is no longer what was listed stays.
    async fn put_away(&self, entry: &Entry, shelf: Shelf, id: &str) -> Result<(), InboxError>;

    /// Writes why something is in `problem/ID/`.
    async fn write_reason(&self, id: &str, text: &str) -> Result<(), InboxError>;
}

/// A small file's bytes.
///
/// # Errors
/// [`InboxError::TooLarge`] over `limit` bytes, and as the inbox does.
pub async fn read_small(inbox: &dyn Inbox, entry: &Entry, limit: usize) -> Result<Vec<u8>, InboxError> {
    if entry.size_bytes > limit as u64 {
        return Err(InboxError::TooLarge { limit });
    }
    let mut body = inbox.open(entry).await?;
    let mut all = Vec::new();
    while let Some(bytes) = body.next().await {
        all.extend_from_slice(&bytes?);
        if all.len() > limit {
            return Err(InboxError::TooLarge { limit });
        }
    }
    Ok(all)
}

/// Opens a watched place. A folder is looked at when it is listed, a bucket when it is called.
///
/// # Errors
/// [`InboxError::Misconfigured`] when the options make no sense.
pub async fn open(options: &PlaceOptions) -> Result<Arc<dyn Inbox>, InboxError> {
    match options {
        PlaceOptions::Folder(folder) => Ok(Arc::new(folder::Folder::new(folder))),
        PlaceOptions::Bucket(bucket) => Ok(Arc::new(bucket::Bucket::open(bucket).await?)),
    }
}

/// Whether a name says that its file is still being written.
fn is_temporary(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    name.starts_with('.') || [".part", ".tmp", ".filepart", ".crdownload"].iter().any(|end| lower.ends_with(end))
}

/// Whether a name can be a file's and nothing else.
fn is_usable(name: &str) -> bool {
    let long = name.is_empty() || name.len() > crate::model::document::MAX_FILE_NAME_BYTES;
    !(long || name.contains(['/', '\\', '\0']))
}

/// As much of a name as fits into `most` bytes.
fn fitting(name: &str, most: usize) -> &str {
    &name[..name.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_name_or_is_left_alone() {
        for (name, temporary, usable) in [
            ("fax 17.tif", false, true),
            ("Größe.pdf", false, true),
            (".hidden.pdf", true, true),
            ("..", true, true),
            ("scan.PDF.part", true, true),
            ("scan.pdf.TMP", true, true),
            ("a/b.pdf", false, false),
            ("..\\b.pdf", true, false),
            ("", false, false),
            (&"x".repeat(1024), false, true),
            (&"x".repeat(1025), false, false),
        ] {
            assert_eq!((is_temporary(name), is_usable(name)), (temporary, usable), "{name}");
        }
        assert_eq!(fitting("aé", 2), "a");
    }
}
