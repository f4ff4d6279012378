//! The one directory a managed clamd loads its signatures from: links to the system's, and ours.
//!
//! clamd takes one `DatabaseDirectory`. The system's files are linked, not copied: they are hundreds of
//! megabytes, and the updater replaces them whole by a rename. Which set clamd has in fact loaded is never
//! assumed: each set holds a signature that carries the set's name and finds a marker only we know.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::canary::eicar;

/// The version of our test signatures, as it is kept with verdicts. Raised with each change to them.
pub(super) const TEST_SIGNATURES: &str = "test-1";

const OUR_PREFIX: &str = "lettercase-";

/// Endings of the files clamd loads (`cl_load(3)`), lists of what to pass over among them.
const ENDINGS: &[&str] = &[
    "cat", "cbc", "cdb", "cfg", "cld", "crb", "crtdb", "cud", "cvd", "fp", "ftm", "gdb", "hdb", "hdu", "hsb", "hsu",
    "idb", "ign", "ign2", "imp", "info", "ldb", "ldu", "mdb", "mdu", "msb", "msu", "ndb", "ndu", "pdb", "pwdb", "sfp",
    "wdb", "yar", "yara",
];

/// A set of signatures, as it was found on disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SignatureSet {
    /// Digest of what is in it: another name, another set.
    pub(super) name: String,
    /// Digest of the files that are not the official ones, whose version clamd does not tell.
    pub(super) local_digest: Option<String>,
    /// When the youngest of the system's files was written; `None` where there are none.
    pub(super) newest: Option<Timestamp>,
}

/// The directory, and where the system keeps its signatures.
#[derive(Debug, Clone)]
pub(super) struct SignatureDirectory {
    directory: PathBuf,
    system: Vec<PathBuf>,
    marker: String,
}

/// What the system's directories hold: names as clamd will see them, and where they lead.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) set: SignatureSet,
    files: BTreeMap<String, PathBuf>,
}

impl SignatureDirectory {
    pub(super) fn new(directory: PathBuf, system: Vec<PathBuf>) -> Self {
        // Of this run only, and longer than chance: no document holds it.
        let marker = format!("set-marker-{}", digest(directory.as_os_str().as_encoded_bytes(), 16));
        Self { directory, system, marker }
    }

    /// The bytes that clamd answers with the name of its set to.
    pub(super) fn marker(&self) -> &[u8] {
        self.marker.as_bytes()
    }

    /// True where a signature clamd found is the one of this set.
    pub(super) fn is_set(signature: &str, set: &SignatureSet) -> bool {
        signature.strip_suffix(".UNOFFICIAL").unwrap_or(signature) == set_signature(set)
    }

    /// Looks at what the system has now. A directory that is not there holds nothing; the first directory
    /// wins where two have a file of one name.
    pub(super) fn look(&self) -> io::Result<Found> {
        let mut files = BTreeMap::new();
        let (mut all, mut local) = (Sha256::new(), Sha256::new());
        let (mut newest, mut any_local) = (None, false);
        for directory in &self.system {
            let entries = match fs::read_dir(directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let path = entry?.path();
                if let Some(name) = signature_file(&path) {
                    files.entry(name).or_insert(path);
                }
            }
        }
        for (name, path) in &files {
            let about = fs::metadata(path)?;
            let line = format!("{name}\0{}\0{}\0{}\0{}\n", about.len(), about.mtime(), about.mtime_nsec(), about.ino());
            all.update(&line);
            if !is_official(name) {
                any_local = true;
                local.update(&line);
            }
            newest = newest.max(Timestamp::new(about.mtime(), 0).ok());
        }
        all.update(TEST_SIGNATURES);
        let name = hex::encode(&all.finalize()[..8]);
        let local_digest = any_local.then(|| hex::encode(&local.finalize()[..4]));
        Ok(Found { set: SignatureSet { name, local_digest, newest }, files })
    }

    /// Makes the directory hold what was found, and ours. clamd looks at it only when it starts or is told to.
    pub(super) fn write(&self, found: &Found) -> io::Result<()> {
        // found first: what can't be had leaves the directory as it was
        let mut links = Vec::new();
        for (name, path) in &found.files {
            links.push((name, path.canonicalize()?));
        }
        fs::create_dir_all(&self.directory)?;
        for entry in fs::read_dir(&self.directory)? {
            fs::remove_file(entry?.path())?;
        }
        for (name, target) in links {
            symlink(target, self.directory.join(name))?;
        }
        let body = |name: &str, bytes: &[u8]| format!("{name}:0:*:{}\n", hex::encode(bytes));
        let ours = [
            // At any offset: EICAR stands in the middle of a document, too.
            body("Lettercase.Test.Eicar", eicar().as_bytes()),
            body(&set_signature(&found.set), self.marker()),
        ];
        fs::write(self.directory.join("lettercase-test.ndb"), ours.concat())
    }
}

fn set_signature(set: &SignatureSet) -> String {
    format!("Lettercase.Set.{}", set.name)
}

fn digest(bytes: &[u8], len: usize) -> String {
    hex::encode(&Sha256::digest(bytes)[..len])
}

fn signature_file(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let ending = path.extension().and_then(OsStr::to_str)?;
    (ENDINGS.contains(&ending) && !name.starts_with(OUR_PREFIX) && path.is_file()).then(|| name.to_owned())
}

fn is_official(name: &str) -> bool {
    let official = ["main.", "daily.", "bytecode."];
    official.iter().any(|stem| name.starts_with(stem)) && (name.ends_with(".cvd") || name.ends_with(".cld"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_signatures_are_linked_and_ours_are_written() -> io::Result<()> {
        let world = tempfile::tempdir()?;
        let (system, ours) = (world.path().join("system"), world.path().join("db"));
        fs::create_dir(&system)?;
        let directory = SignatureDirectory::new(ours.clone(), vec![world.path().join("none"), system.clone()]);

        let bare = directory.look()?;
        assert_eq!((bare.set.newest, &bare.set.local_digest), (None, &None));
        directory.write(&bare)?;

        for name in ["daily.cld", "site.hsb", "mirrors.dat", "freshclam.dat", "lettercase-x.ndb"] {
            fs::write(system.join(name), name)?;
        }
        let more = directory.look()?;
        assert_ne!(more.set.name, bare.set.name);
        assert!(more.set.newest.is_some() && more.set.local_digest.is_some());
        directory.write(&more)?;
        let mut names: Vec<_> = fs::read_dir(&ours)?.flatten().map(|e| e.file_name()).collect();
        names.sort();
        assert_eq!(names, ["daily.cld", "lettercase-test.ndb", "site.hsb"]);

        fs::remove_file(system.join("site.hsb"))?;
        let less = directory.look()?;
        assert_eq!(less.set.local_digest, None);
        directory.write(&less)?;
        assert!(!ours.join("site.hsb").exists());
        Ok(())
    }
}
