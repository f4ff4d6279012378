//! The spool: where an upload's bytes lie on this node while they come in and until they are in their final
//! place. It is a cache of the store, never the truth: it is emptied at start, and what is missing is fetched.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256 as Hasher};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;

use crate::model::ids::{DocumentId, Sha256};

/// A directory for spool files. It belongs on an encrypted volume.
#[derive(Debug, Clone)]
pub struct Spool {
    dir: PathBuf,
    /// Bytes that files under way are still expected to bring.
    expected: Arc<Mutex<u64>>,
}

impl Spool {
    /// Opens the spool of a node, empty: after a crash its files may be torn.
    ///
    /// # Errors
    /// When the directory can't be made or emptied.
    pub async fn open(dir: &Path) -> io::Result<Self> {
        match tokio::fs::remove_dir_all(dir).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut builder = tokio::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(dir).await?;
        Ok(Self { dir: dir.to_owned(), expected: Arc::default() })
    }

    /// Bytes that the disk of the spool has free for us.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.dir)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Sets room aside for `bytes` that are to come, if that and what others are still to bring leaves `keep_free`.
    ///
    /// # Errors
    /// When the system does not tell how much is free.
    pub fn reserve(&self, bytes: u64, keep_free: u64) -> io::Result<Option<Reservation>> {
        // looked at under the lock: of two at once each counts with the other
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let all = expected.saturating_add(bytes);
        if self.free_bytes()? < all.saturating_add(keep_free) {
            return Ok(None);
        }
        *expected = all;
        Ok(Some(Reservation { expected: Arc::clone(&self.expected), left: bytes }))
    }

    /// Where a document's bytes lie, if they do.
    pub fn path(&self, document: &DocumentId) -> PathBuf {
        self.dir.join(document.as_str())
    }

    /// The documents whose bytes lie here. What can't be read is not told: it is only cleared later.
    pub async fn documents(&self) -> Vec<DocumentId> {
        let mut found = Vec::new();
        if let Ok(mut entries) = tokio::fs::read_dir(&self.dir).await {
            while let Ok(Some(entry)) = entries.next_entry().await {
                found.extend(entry.file_name().to_str().and_then(|name| name.parse().ok()));
            }
        }
        found
    }

    /// The directory, for scratch files beside.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Begins a document's file.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn create(&self, document: &DocumentId) -> io::Result<SpoolFile> {
        let path = self.path(document);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).await?;
        Ok(SpoolFile::new(file, path))
    }

    /// Begins a file for bytes that are no document yet. `name` is an id that the caller made.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn scratch(&self, name: &str) -> io::Result<SpoolFile> {
        let path = self.scratch_path(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).await?;
        Ok(SpoolFile::new(file, path))
    }

    /// Whether the scratch file of that name is there: whoever made it is then alive, for a crash empties the spool.
    pub fn has_scratch(&self, name: &str) -> bool {
        self.scratch_path(name).exists()
    }

    fn scratch_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("part-{name}"))
    }

    /// Removes a document's file; no matter if there is none.
    pub async fn remove(&self, document: &DocumentId) {
        if let Err(error) = tokio::fs::remove_file(self.path(document)).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(document = %document, error = %error, "could not remove a spool file");
        }
    }
}

/// Has a file over the limit that the system gives this process (`LimitFSIZE` of systemd) end a write with an error, as a
/// full disk does, and not the node: a signal that is handled does not kill.
///
/// # Errors
/// When the signal can't be handled.
pub fn survive_file_limits() -> io::Result<()> {
    let kind = tokio::signal::unix::SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    tokio::signal::unix::signal(kind).map(|_| ())
}

/// Room that is set aside. Dropped, it is there for others again.
#[derive(Debug)]
pub struct Reservation {
    expected: Arc<Mutex<u64>>,
    left: u64,
}

impl Reservation {
    /// So many of the bytes have come: they are on the disk now, and no longer expected.
    fn came(&mut self, bytes: u64) {
        let came = bytes.min(self.left);
        self.left -= came;
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        *expected = expected.saturating_sub(came);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.came(self.left);
    }
}

/// A file of the spool. Dropped without [`SpoolFile::keep`], it is gone.
pub struct SpoolFile {
    file: File,
    path: PathBuf,
    hasher: Hasher,
    size_bytes: u64,
    keep: bool,
    reserved: Option<Reservation>,
}

impl SpoolFile {
    fn new(file: File, path: PathBuf) -> Self {
        Self { file, path, hasher: Hasher::new(), size_bytes: 0, keep: false, reserved: None }
    }

    /// Gives it the room that was set aside for its bytes.
    pub fn take_room(&mut self, reserved: Reservation) {
        self.reserved = Some(reserved);
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// When the disk takes no more.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.size_bytes += bytes.len() as u64;
        self.file.write_all(bytes).await?;
        if let Some(reserved) = &mut self.reserved {
            reserved.came(bytes.len() as u64);
        }
        Ok(())
    }

    /// How many bytes it has.
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the writing: its path and hash. The bytes are in the file, not yet durable: the store makes them so.
    ///
    /// # Errors
    /// When the disk takes no more.
    pub async fn finish(&mut self) -> io::Result<(&Path, Sha256)> {
        self.file.flush().await?;
        let digest = hex::encode(self.hasher.clone().finalize());
        Ok((&self.path, digest.parse().map_err(io::Error::other)?))
    }

    /// Leaves it in the spool for the stages.
    pub fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if !self.keep {
            // nothing to tell: the directory is emptied at the next start anyway
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_set_aside_counts_until_it_has_come_or_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(&dir.path().join("spool")).await.unwrap();
        let expected = || *spool.expected.lock().unwrap();
        assert!(spool.reserve(1, u64::MAX).unwrap().is_none(), "no disk has so much free");
        assert!(spool.reserve(u64::MAX, 1).unwrap().is_none());
        assert_eq!(expected(), 0);
        let (first, second) = (spool.reserve(1_000, 0).unwrap().unwrap(), spool.reserve(500, 0).unwrap().unwrap());
        assert_eq!(expected(), 1_500);
        let mut file = spool.scratch("a").await.unwrap();
        file.take_room(first);
        file.write(&[0; 400]).await.unwrap();
        assert_eq!(expected(), 1_100);
        file.write(&[0; 4_000]).await.unwrap();
        assert_eq!(expected(), 500, "more than was said is no matter");
        drop(second);
        drop(file);
        assert_eq!(expected(), 0);
    }
}
