//! Where fetched bytes land: hashed on the way, and under their final name only when all of them are there
//! and are the expected ones.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::Digest;
use tempfile::NamedTempFile;

use super::error::{ObjectError, Trouble};
use super::key::ObjectKey;
use crate::model::ids::Sha256;

/// Bytes read or written at a time.
pub(super) const CHUNK_BYTES: usize = 128 * 1024;

/// Takes the hash of bytes as they pass.
#[derive(Default)]
pub(super) struct Hasher {
    state: sha2::Sha256,
    size_bytes: u64,
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.size_bytes += bytes.len() as u64;
    }

    /// The size in bytes and the hash, in hexadecimal digits.
    pub(super) fn finish(self) -> (u64, String) {
        (self.size_bytes, hex::encode(self.state.finalize()))
    }
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub(super) fn sha256_of(bytes: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(bytes))
}

/// Reads a file to its end: size in bytes and SHA-256 in hexadecimal digits.
pub(super) fn hash_of(file: &mut File) -> io::Result<(u64, String)> {
    let mut hasher = Hasher::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(chunk.get(..read).unwrap_or_default()),
        }
    }
}

/// Fails unless the bytes are of the expected size and hash.
pub(super) fn compare(
    doing: &'static str,
    key: &ObjectKey,
    found: (u64, &str),
    expected: (u64, &Sha256),
) -> Result<(), ObjectError> {
    let mismatch = |cause| Err(ObjectError::Mismatch(Trouble::new(doing, key, cause)));
    if found.0 != expected.0 {
        return mismatch(format!("{} bytes instead of {}", found.0, expected.0));
    }
    if found.1 != expected.1.as_str() {
        return mismatch(format!("SHA-256 is {} instead of {}", found.1, expected.1));
    }
    Ok(())
}

/// A file that is being fetched.
pub(super) struct Landing {
    file: NamedTempFile,
    to: PathBuf,
    hasher: Hasher,
}

impl Landing {
    /// Begins beside `to`, so that it can be renamed.
    pub(super) fn begin(key: &ObjectKey, to: &Path) -> Result<Self, ObjectError> {
        let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A directory of the caller's that is not there is his mistake, not a missing object.
        let file = NamedTempFile::new_in(directory).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ObjectError::Misconfigured(Trouble::new("fetch", key, "no such directory")),
            _ => ObjectError::disk("fetch", key, &error),
        })?;
        Ok(Self { file, to: to.to_owned(), hasher: Hasher::default() })
    }

    /// Writes the next bytes. They go to the page cache: short enough to be done on an async thread.
    pub(super) fn write(&mut self, key: &ObjectKey, bytes: &[u8]) -> Result<(), ObjectError> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|error| ObjectError::disk("fetch", key, &error))
    }

    /// Ends it: gives the file its name if its size and (where one is expected) its hash are right.
    pub(super) fn finish(self, key: &ObjectKey, size_bytes: u64, expect: Option<&Sha256>) -> Result<u64, ObjectError> {
        let (found_bytes, found) = self.hasher.finish();
        if found_bytes < size_bytes {
            let cause = format!("it broke off after {found_bytes} of {size_bytes} bytes");
            return Err(ObjectError::Unavailable(Trouble::new("fetch", key, cause)));
        }
        if let Some(expect) = expect {
            compare("fetch", key, (found_bytes, &found), (size_bytes, expect))?;
        }
        self.file.persist(&self.to).map_err(|error| ObjectError::disk("fetch", key, &error.error))?;
        Ok(found_bytes)
    }
}
