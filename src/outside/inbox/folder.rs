//! A watched directory. Others write into it while we look, so a file is known by its inode, size and time as listed,
//! and is looked at again before and after it is read and moved.

use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use tokio::io::AsyncReadExt;

use super::{
    Body, Entry, FolderOptions, Inbox, InboxError, Listing, REASON_FILE, Shelf, Skipped, fitting, is_temporary,
    is_usable,
};
use crate::model::phi::Phi;

/// Bytes read in one go.
const CHUNK_BYTES: usize = 256 << 10;
/// The longest name most file systems take, in bytes.
const NAME_MAX: usize = 255;

/// The directory.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(options: &FolderOptions) -> Self {
        Self { path: options.path.clone() }
    }

    /// Runs what blocks on the disk where it holds up nobody.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, InboxError> + Send + 'static,
    ) -> Result<T, InboxError> {
        let path = self.path.clone();
        match tokio::task::spawn_blocking(move || work(&path)).await {
            Ok(done) => done,
            Err(_) => Err(InboxError::Unavailable { doing: "work on the folder", why: "it was broken off".into() }),
        }
    }
}

/// A fault of the disk. The system's text names no path.
fn fault(doing: &'static str) -> impl Fn(io::Error) -> InboxError {
    move |error| InboxError::Unavailable { doing, why: error.to_string() }
}

fn entry_of(name: &str, meta: &Metadata) -> Entry {
    Entry {
        name: Phi(name.to_owned()),
        size_bytes: meta.len(),
        mark: format!("{}.{:09}", meta.mtime(), meta.mtime_nsec()),
        inode: meta.ino(),
        modified_at: Timestamp::new(meta.mtime(), i32::try_from(meta.mtime_nsec()).unwrap_or_default()).ok(),
    }
}

fn list(path: &Path, most: usize) -> Result<Listing, InboxError> {
    for shelf in [Shelf::Done, Shelf::Problem] {
        check_shelf(path, shelf)?;
    }
    let mut listing = Listing::default();
    for found in std::fs::read_dir(path).map_err(fault("list the folder"))? {
        let found = found.map_err(fault("list the folder"))?;
        // of the entry itself: a link is a link
        let meta = match found.metadata() {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(fault("look at a file")(error)),
        };
        let name = found.file_name();
        let name = name.to_str().filter(|name| is_usable(name));
        if name.is_some_and(is_temporary) {
            continue;
        }
        let ours = name.is_some_and(|name| [Shelf::Done, Shelf::Problem].iter().any(|shelf| shelf.as_str() == name));
        let why = match name {
            _ if meta.is_symlink() => Skipped::Link,
            _ if meta.is_dir() && ours => continue,
            _ if meta.is_dir() => Skipped::Directory,
            _ if !meta.is_file() => Skipped::Special,
            None => Skipped::Name,
            Some(_) if listing.entries.len() == most => {
                listing.more = true;
                break;
            }
            Some(name) => {
                listing.entries.push(entry_of(name, &meta));
                continue;
            }
        };
        *listing.skipped.entry(why).or_default() += 1;
    }
    Ok(listing)
}

/// What is put away must not leave the folder by a link that somebody has laid.
fn check_shelf(path: &Path, shelf: Shelf) -> Result<(), InboxError> {
    match std::fs::symlink_metadata(path.join(shelf.as_str())) {
        Ok(meta) if !meta.is_dir() => {
            Err(InboxError::Misconfigured(format!("{}/ in the folder is no directory", shelf.as_str())))
        }
        _ => Ok(()),
    }
}

fn open(path: &Path, entry: &Entry) -> Result<File, InboxError> {
    // neither a link is followed nor a pipe waited for that took the file's place
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path.join(entry.name.reveal()), flags, Mode::empty());
    let file = match opened.map_err(io::Error::from) {
        Ok(file) => File::from(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(InboxError::Changed),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(InboxError::Changed);
        }
        Err(error) => return Err(InboxError::Unreadable { why: error.kind().to_string() }),
    };
    let meta = file.metadata().map_err(fault("look at a file"))?;
    if !meta.is_file() || entry_of(entry.name.reveal(), &meta) != *entry {
        return Err(InboxError::Changed);
    }
    Ok(file)
}

/// Where a file is put away.
fn target(path: &Path, entry: &Entry, shelf: Shelf, id: &str) -> PathBuf {
    path.join(shelf.as_str()).join(id).join(fitting(entry.name.reveal(), NAME_MAX))
}

/// Makes the directory of a file that is put away.
fn make_place(path: &Path, shelf: Shelf, id: &str) -> Result<PathBuf, InboxError> {
    let refused = |error: io::Error| InboxError::Misconfigured(format!("can't make {}/: {error}", shelf.as_str()));
    check_shelf(path, shelf)?;
    let place = path.join(shelf.as_str()).join(id);
    DirBuilder::new().recursive(true).create(&place).map_err(refused)?;
    Ok(place)
}

/// Makes names durable: one that comes back after a power cut would be another file to us.
fn sync(directory: &Path) -> Result<(), InboxError> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(fault("make a move durable"))
}

fn put_away(path: &Path, entry: &Entry, shelf: Shelf, id: &str) -> Result<(), InboxError> {
    let from = path.join(entry.name.reveal());
    let is_it = |at: &Path| match std::fs::symlink_metadata(at) {
        Ok(meta) => Ok(meta.is_file() && entry_of(entry.name.reveal(), &meta) == *entry),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(fault("look at a file")(error)),
    };
    if !is_it(&from)? {
        return Ok(());
    }
    let place = make_place(path, shelf, id)?;
    let to = target(path, entry, shelf, id);
    std::fs::rename(&from, &to)
        .map_err(|error| InboxError::Misconfigured(format!("can't move a file to {}/: {error}", shelf.as_str())))?;
    if !is_it(&to)? && !from.exists() {
        // another file took its name in that instant: back with it, it is still to be taken
        std::fs::rename(&to, &from).map_err(fault("move a file back"))?;
    }
    sync(&place)?;
    sync(&path.join(shelf.as_str()))?;
    sync(path)
}

#[async_trait]
impl Inbox for Folder {
    fn is_complete_by_nature(&self) -> bool {
        false
    }

    async fn list(&self, most: usize) -> Result<Listing, InboxError> {
        self.blocking(move |path| list(path, most)).await
    }

    async fn open(&self, entry: &Entry) -> Result<Body, InboxError> {
        let own = entry.clone();
        let file = self.blocking(move |path| open(path, &own)).await?;
        Ok(read(tokio::fs::File::from_std(file), entry.clone()).boxed())
    }

    async fn was_put_away(&self, entry: &Entry, shelf: Shelf, id: &str) -> Result<bool, InboxError> {
        let (entry, id) = (entry.clone(), id.to_owned());
        // a move is one step here: what was moved is not where it was
        self.blocking(move |path| Ok(target(path, &entry, shelf, &id).exists())).await
    }

    async fn put_away(&self, entry: &Entry, shelf: Shelf, id: &str) -> Result<(), InboxError> {
        let (entry, id) = (entry.clone(), id.to_owned());
        self.blocking(move |path| put_away(path, &entry, shelf, &id)).await
    }

    async fn write_reason(&self, id: &str, text: &str) -> Result<(), InboxError> {
        let (id, text) = (id.to_owned(), text.to_owned());
        self.blocking(move |path| {
            let place = make_place(path, Shelf::Problem, &id)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::open(place.join(REASON_FILE), flags, Mode::from_raw_mode(0o640));
            let mut file = File::from(file.map_err(|error| fault("write a reason")(error.into()))?);
            io::Write::write_all(&mut file, text.as_bytes()).map_err(fault("write a reason"))
        })
        .await
    }
}

/// The bytes of a file; in the end it must still be what was listed.
fn read(file: tokio::fs::File, entry: Entry) -> impl futures::Stream<Item = Result<Bytes, InboxError>> + Send {
    futures::stream::try_unfold((file, entry), |(mut file, entry)| async move {
        let mut piece = bytes::BytesMut::with_capacity(CHUNK_BYTES);
        let unreadable = |error: io::Error| InboxError::Unreadable { why: error.kind().to_string() };
        if file.read_buf(&mut piece).await.map_err(unreadable)? == 0 {
            let meta = file.metadata().await.map_err(unreadable)?;
            if entry_of(entry.name.reveal(), &meta) != entry {
                return Err(InboxError::Changed);
            }
            return Ok(None);
        }
        Ok(Some((piece.freeze(), (file, entry))))
    })
}
