//! The object store door: where uploaded bytes lie, on a disk of this machine or in S3.
//!
//! It exists so that the promise of INT-10 (a 201 means durable) and INT-14 (content-addressed, verified by
//! the store, unscanned, clean and quarantined bytes apart) is kept in one place, whichever store is below.
//!
//! Refused designs:
//! - A key made of text. A key is built from parsed ids only ([`ObjectKey`]), so neither a file name (health
//!   data) nor a path part can get into one. Nothing of a document is in metadata or tags either.
//! - A general blob layer (one more abstraction over all clouds). The flows need a checksum given by us, a
//!   pinned version on copy, tags and requested encryption; the layers looked at lose one or more of them.
//! - Trusting a hash that came along. Whoever takes bytes in compares them with the hash they are said to
//!   have, so that the content address is true: the disk store reads them, S3 is made to.
//! - Multipart uploads. An accepted document has 64 MiB at most, and a single PutObject is all or nothing.
//! - A move. Copies and deletes are apart and each repeatable; state changes between them.

mod error;
mod files;
mod key;
mod landing;
mod options;
mod probe;
mod s3;
mod s3_errors;
mod s3_setup;
mod s3_wire;
mod transfer;
mod workdir;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

pub use error::{ObjectError, Trouble};
pub use key::ObjectKey;
pub use options::{FilesOptions, ObjectsOptions, S3Buckets, S3Credentials, S3Encryption, S3Options, Secret};
pub use transfer::{Copied, copy_all};

pub(super) use s3_setup::S3Clients;
pub(super) use s3_wire::percent_encoded;

use crate::model::ids::Sha256;

crate::codes! {
    /// Where an object lies. Each place is a bucket or a prefix of its own, so that access rules of the
    /// store can hold the line too (INT-14).
    pub enum Place {
        /// Received and not yet judged, by document id.
        Incoming = "incoming",
        /// Judged clean, by brand and SHA-256: the only place of uploads a route reads from.
        Content = "content",
        /// Infected, by brand and SHA-256: barred, never served (INT-13).
        Quarantine = "quarantine",
        /// What proves the audit log whole from outside the database.
        Audit = "audit",
        /// Parts of resumable uploads that are not whole yet, unscanned: by upload id and first byte.
        Parts = "parts",
        /// The PDFs of letters, by brand and SHA-256: never changed.
        Letters = "letters",
    }
}

crate::codes! {
    /// What a copy is tagged with, for the rules of a bucket to go by. A store without tags goes by the place.
    pub enum Tag {
        /// Scanned clean (INT-14).
        Clean = "clean",
        /// Scanned infected (INT-13).
        Quarantined = "quarantined",
    }
}

/// What lies in the store after a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Size in bytes.
    pub size_bytes: u64,
    /// The store's id of this version of the object; `None` where the store keeps no versions.
    pub version: Option<String>,
}

/// What the store says of an object without its bytes being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 as the store recorded it; `None` where the store records none (files). Never taken from the key.
    pub sha256: Option<Sha256>,
    /// The store's id of the current version; `None` where the store keeps no versions.
    pub version: Option<String>,
}

/// The object store. Every call can be repeated after a failure or a crash: it comes to the same end.
///
/// All calls fail with an [`ObjectError`], which says whether repeating may help
/// ([`ObjectError::is_retryable`]).
#[async_trait]
pub trait Objects: Send + Sync {
    /// Stores the file at `path`, durably when it returns (INT-10). Its bytes must be `size_bytes` long and
    /// of hash `sha256`: other bytes are refused ([`ObjectError::Mismatch`]) and nothing new is visible. The
    /// file must be complete; the disk store may link it instead of copying it and then makes it read-only.
    /// A second put under the same key replaces the first one.
    async fn put_file(
        &self,
        key: &ObjectKey,
        path: &Path,
        size_bytes: u64,
        sha256: &Sha256,
    ) -> Result<Stored, ObjectError>;

    /// Stores something small that is in memory (the audit's head), durably when it returns.
    async fn put_bytes(&self, key: &ObjectKey, bytes: Vec<u8>) -> Result<Stored, ObjectError>;

    /// Copies inside the store, after checking that what lies at `from` (in version `from_version`, where the
    /// store has versions) is `size_bytes` long and of hash `sha256`: so what was scanned is what is copied
    /// (INT-12, INT-14). A right object at `to` is success, whatever has become of `from`.
    ///
    /// Fails with [`ObjectError::Mismatch`] when other bytes lie at `from`, [`ObjectError::NotFound`] when
    /// nothing lies there nor, rightly, at `to`.
    async fn copy(
        &self,
        from: &ObjectKey,
        from_version: Option<&str>,
        to: &ObjectKey,
        sha256: &Sha256,
        size_bytes: u64,
        tag: Tag,
    ) -> Result<Stored, ObjectError>;

    /// Brings an object into the file `to` (mode 0600), hashing it on the way. `to` holds all of it or is not
    /// made (or changed) at all. Fails with [`ObjectError::Mismatch`] when its hash is not the expected one.
    async fn fetch(
        &self,
        key: &ObjectKey,
        version: Option<&str>,
        to: &Path,
        expect: Option<&Sha256>,
    ) -> Result<Stored, ObjectError>;

    /// The bytes of a small object, `None` when there is none. Fails with [`ObjectError::TooLarge`] over
    /// `limit` bytes.
    async fn get_bytes(&self, key: &ObjectKey, limit: usize) -> Result<Option<Vec<u8>>, ObjectError>;

    /// What the store says of an object, `None` when there is none.
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, ObjectError>;

    /// Destroys an object with all its versions; success when there is none.
    async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectError>;

    /// Up to `limit` objects of a place in byte order of their names, from the first name behind `after`:
    /// (name below the place, size in bytes). Fewer than `limit` means the end. Names go back into keys with
    /// [`ObjectKey::from_name`].
    async fn list(&self, place: Place, after: Option<&str>, limit: usize) -> Result<Vec<(String, u64)>, ObjectError>;

    /// Readiness: writes, reads and deletes a probe in `incoming` and looks into every place.
    async fn check(&self) -> Result<(), ObjectError>;
}

/// Opens the store the options name. The disk store makes its directories and sweeps what dead processes left
/// half-written; S3 is not called before it is used ([`Objects::check`] tells whether it answers).
///
/// Fails with [`ObjectError::Misconfigured`] when the options make no sense, and as the disk does.
pub async fn open(options: &ObjectsOptions) -> Result<Arc<dyn Objects>, ObjectError> {
    match options {
        ObjectsOptions::Files(files) => Ok(Arc::new(files::FileStore::open(files).await?)),
        ObjectsOptions::S3(s3) => Ok(Arc::new(s3_setup::open(s3).await?)),
    }
}
