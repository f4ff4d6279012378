//! The spool: where an upload's bytes lie on this node while they come in and until they are in their final
//! place. It is a cache of the store, never the truth: it is emptied at start, and what is missing is fetched.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256 as Hasher};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;

use crate::model::ids::{DocumentId, Sha256};

/// A directory for spool files. It belongs on an encrypted volume.
#[derive(Debug, Clone)]
pub struct Spool {
    dir: PathBuf,
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
        Ok(Self { dir: dir.to_owned() })
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

/// A file of the spool. Dropped without [`SpoolFile::keep`], it is gone.
pub struct SpoolFile {
    file: File,
    path: PathBuf,
    hasher: Hasher,
    size_bytes: u64,
    keep: bool,
}

impl SpoolFile {
    fn new(file: File, path: PathBuf) -> Self {
        Self { file, path, hasher: Hasher::new(), size_bytes: 0, keep: false }
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// When the disk takes no more.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.size_bytes += bytes.len() as u64;
        self.file.write_all(bytes).await
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
