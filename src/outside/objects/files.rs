//! The disk store: `root/<place>/<name>`, one file per object.
//!
//! An object gets its name by a rename after its bytes were read back, compared with their hash and synced;
//! then every directory up to the place is synced. So a crash at any point leaves nothing or the whole object,
//! and what was acknowledged is there after it.
//!
//! A put links the caller's file where it can. The linked file is read again all the same: the hash that came
//! along was taken of bytes on their way to the spool, and what we vouch for is what lies in the store. It
//! costs a pass over the page cache (0.1 s for the largest document at most), not a second write.
//!
//! Owners only: directories 0700, objects 0400, and 0000 in quarantine, so that nothing reads one by
//! accident (a backup, an indexer); this door lifts the bar for the moment of an open. Tags are not kept: the
//! place says the same.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::error::{ObjectError, Trouble};
use super::key::{ObjectKey, is_probe};
use super::landing::{CHUNK_BYTES, Landing, compare, hash_of};
use super::options::FilesOptions;
use super::workdir::{Unfinished, Workdir, make_dir, sync_dir};
use super::{ObjectMeta, Objects, Place, Stored, Tag, probe};
use crate::model::ids::Sha256;

/// The disk store. Its calls do their work on the threads for blocking work.
pub(super) struct FileStore(Arc<Disk>);

impl FileStore {
    pub(super) async fn open(options: &FilesOptions) -> Result<Self, ObjectError> {
        let root = options.root.clone();
        blocking("open", move || Disk::open(root)).await.map(|disk| Self(Arc::new(disk)))
    }

    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Disk) -> Result<T, ObjectError> + Send + 'static,
    ) -> Result<T, ObjectError> {
        let disk = Arc::clone(&self.0);
        blocking(doing, move || work(&disk)).await
    }
}

async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, ObjectError> + Send + 'static,
) -> Result<T, ObjectError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // The runtime is going down, or a bug of ours; either way nothing was acknowledged.
        Err(error) => Err(ObjectError::Unavailable(Trouble::new(doing, "on disk", error))),
    }
}

#[async_trait]
impl Objects for FileStore {
    async fn put_file(
        &self,
        key: &ObjectKey,
        path: &Path,
        size_bytes: u64,
        sha256: &Sha256,
    ) -> Result<Stored, ObjectError> {
        let (key, path, sha256) = (key.clone(), path.to_owned(), sha256.clone());
        self.run("put", move |disk| disk.put_file(&key, &path, size_bytes, &sha256)).await
    }

    async fn put_bytes(&self, key: &ObjectKey, bytes: Vec<u8>) -> Result<Stored, ObjectError> {
        let key = key.clone();
        self.run("put", move |disk| disk.put_bytes(&key, &bytes)).await
    }

    async fn copy(
        &self,
        from: &ObjectKey,
        _from_version: Option<&str>,
        to: &ObjectKey,
        sha256: &Sha256,
        size_bytes: u64,
        _tag: Tag,
    ) -> Result<Stored, ObjectError> {
        let (from, to, sha256) = (from.clone(), to.clone(), sha256.clone());
        self.run("copy", move |disk| disk.copy(&from, &to, size_bytes, &sha256)).await
    }

    async fn fetch(
        &self,
        key: &ObjectKey,
        _version: Option<&str>,
        to: &Path,
        expect: Option<&Sha256>,
    ) -> Result<Stored, ObjectError> {
        let (key, to, expect) = (key.clone(), to.to_owned(), expect.cloned());
        self.run("fetch", move |disk| disk.fetch(&key, &to, expect.as_ref())).await
    }

    async fn get_bytes(&self, key: &ObjectKey, limit: usize) -> Result<Option<Vec<u8>>, ObjectError> {
        let key = key.clone();
        self.run("get", move |disk| disk.get_bytes(&key, limit)).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, ObjectError> {
        let key = key.clone();
        self.run("head", move |disk| {
            let found = absent(fs::metadata(disk.path(&key))).map_err(|e| ObjectError::disk("head", &key, &e))?;
            Ok(found.map(|meta| ObjectMeta { size_bytes: meta.len(), sha256: None, version: None }))
        })
        .await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        let key = key.clone();
        self.run("delete", move |disk| disk.delete(&key).map_err(|e| ObjectError::disk("delete", &key, &e))).await
    }

    async fn list(&self, place: Place, after: Option<&str>, limit: usize) -> Result<Vec<(String, u64)>, ObjectError> {
        let after = after.map(str::to_owned);
        self.run("list", move |disk| {
            let mut found = Vec::new();
            let skip = |name: &str| is_probe(place, name);
            walk(&disk.place(place), "", after.as_deref(), limit, &skip, &mut found)
                .map_err(|e| ObjectError::disk("list", place, &e))?;
            Ok(found)
        })
        .await
    }

    async fn check(&self) -> Result<(), ObjectError> {
        probe::run(self).await
    }
}

/// The store's directories, with the work as plain functions.
struct Disk {
    root: PathBuf,
    workdir: Workdir,
    /// Held while a barred object is opened, so that one reader's bar does not fall before another's open.
    bar: Mutex<()>,
}

impl Disk {
    fn open(root: PathBuf) -> Result<Self, ObjectError> {
        let make = || -> io::Result<Workdir> {
            for place in Place::ALL {
                make_dir(&root.join(place.as_str()))?;
            }
            sync_dir(&root)?;
            if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_dir(parent)?;
            }
            Workdir::open(&root.join("partial"))
        };
        let workdir = make().map_err(|error| ObjectError::disk("open", "the store's directories", &error))?;
        Ok(Self { root, workdir, bar: Mutex::new(()) })
    }

    fn place(&self, place: Place) -> PathBuf {
        self.root.join(place.as_str())
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.place(key.place()).join(key.name())
    }

    fn put_file(&self, key: &ObjectKey, path: &Path, size_bytes: u64, sha256: &Sha256) -> Result<Stored, ObjectError> {
        let unfinished = self.workdir.name();
        let adopt = || -> io::Result<()> {
            // A link to a symbolic link would keep the link, not the bytes.
            let plain = fs::symlink_metadata(path)?.file_type().is_file();
            // Any reason not to link (another file system, no links there, the kernel's protection of other
            // owners' files) is a reason to copy; if the copy fails too, its error is the telling one.
            if !plain || fs::hard_link(path, unfinished.path()).is_err() {
                copy_file(path, unfinished.path())?;
            }
            Ok(())
        };
        adopt().map_err(|error| ObjectError::disk("put", key, &error))?;
        self.finish("put", &unfinished, key, size_bytes, sha256)
    }

    fn put_bytes(&self, key: &ObjectKey, bytes: &[u8]) -> Result<Stored, ObjectError> {
        let unfinished = self.workdir.name();
        let write = || -> io::Result<()> {
            let mut file = create(unfinished.path())?;
            file.write_all(bytes)?;
            file.sync_all()?;
            self.publish(&unfinished, key)
        };
        write().map_err(|error| ObjectError::disk("put", key, &error))?;
        Ok(Stored { size_bytes: bytes.len() as u64, version: None })
    }

    fn copy(&self, from: &ObjectKey, to: &ObjectKey, size_bytes: u64, sha256: &Sha256) -> Result<Stored, ObjectError> {
        if self.holds(to, size_bytes, sha256) {
            let settle = || -> io::Result<()> {
                // An earlier run may have died before its last steps.
                self.bar_if_quarantined(to)?;
                self.sync_up(to)
            };
            settle().map_err(|error| ObjectError::disk("copy", to, &error))?;
            return Ok(Stored { size_bytes, version: None });
        }
        let unfinished = self.workdir.name();
        fs::hard_link(self.path(from), unfinished.path()).map_err(|error| ObjectError::disk("copy", from, &error))?;
        self.finish("copy", &unfinished, to, size_bytes, sha256)
    }

    /// Whether the right bytes lie under a key, readable by us.
    fn holds(&self, key: &ObjectKey, size_bytes: u64, sha256: &Sha256) -> bool {
        let Ok(meta) = fs::metadata(self.path(key)) else { return false };
        // Clean content that shares a file with quarantined content is barred with it: it is to be replaced.
        if meta.len() != size_bytes || (key.place() != Place::Quarantine && meta.permissions().mode() & 0o400 == 0) {
            return false;
        }
        let found = self.open_object(key).and_then(|mut file| hash_of(&mut file));
        found.is_ok_and(|found| found == (size_bytes, sha256.as_str().to_owned()))
    }

    /// Compares an unfinished object with what it is said to be, makes it durable and gives it its name.
    fn finish(
        &self,
        doing: &'static str,
        unfinished: &Unfinished,
        key: &ObjectKey,
        size_bytes: u64,
        sha256: &Sha256,
    ) -> Result<Stored, ObjectError> {
        let disk = |error: io::Error| ObjectError::disk(doing, key, &error);
        // Read-only before it is read: what is hashed is what stays.
        fs::set_permissions(unfinished.path(), Permissions::from_mode(0o400)).map_err(disk)?;
        let mut file = File::open(unfinished.path()).map_err(disk)?;
        let (found_bytes, found) = hash_of(&mut file).map_err(disk)?;
        compare(doing, key, (found_bytes, &found), (size_bytes, sha256))?;
        file.sync_all().map_err(disk)?;
        self.publish(unfinished, key).map_err(disk)?;
        Ok(Stored { size_bytes, version: None })
    }

    /// Renames a synced file to its key and syncs the directories above it.
    fn publish(&self, unfinished: &Unfinished, key: &ObjectKey) -> io::Result<()> {
        let path = self.path(key);
        if let Some(parent) = path.parent() {
            make_dir(parent)?;
        }
        // Does nothing when both are names of one file (a repeated put); the guard takes the first away.
        fs::rename(unfinished.path(), &path)?;
        // Last, so that a run that died before can be repeated: it still reads the source.
        self.bar_if_quarantined(key)?;
        self.sync_up(key)
    }

    fn bar_if_quarantined(&self, key: &ObjectKey) -> io::Result<()> {
        if key.place() != Place::Quarantine {
            return Ok(());
        }
        let _bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        fs::set_permissions(self.path(key), Permissions::from_mode(0o000))
    }

    /// Syncs every directory from the key's own up to its place: one of them may be new and not yet durable,
    /// by us or by another thread that is about to sync it. Where nothing is new a sync costs next to nothing.
    fn sync_up(&self, key: &ObjectKey) -> io::Result<()> {
        let place = self.place(key.place());
        let path = self.path(key);
        for directory in path.ancestors().skip(1).take_while(|directory| directory.starts_with(&place)) {
            sync_dir(directory)?;
        }
        Ok(())
    }

    /// Opens an object for reading, lifting the bar of quarantine for that moment.
    fn open_object(&self, key: &ObjectKey) -> io::Result<File> {
        let path = self.path(key);
        if key.place() != Place::Quarantine {
            return File::open(path);
        }
        let _bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        fs::set_permissions(&path, Permissions::from_mode(0o400))?;
        let opened = File::open(&path);
        fs::set_permissions(&path, Permissions::from_mode(0o000))?;
        opened
    }

    fn fetch(&self, key: &ObjectKey, to: &Path, expect: Option<&Sha256>) -> Result<Stored, ObjectError> {
        let disk = |error: io::Error| ObjectError::disk("fetch", key, &error);
        let mut file = self.open_object(key).map_err(disk)?;
        let size_bytes = file.metadata().map_err(disk)?.len();
        let mut landing = Landing::begin(key, to)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = file.read(&mut chunk).map_err(disk)?;
            let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            landing.write(key, bytes)?;
        }
        let size_bytes = landing.finish(key, size_bytes, expect)?;
        Ok(Stored { size_bytes, version: None })
    }

    fn get_bytes(&self, key: &ObjectKey, limit: usize) -> Result<Option<Vec<u8>>, ObjectError> {
        let disk = |error: io::Error| ObjectError::disk("get", key, &error);
        let Some(file) = absent(self.open_object(key)).map_err(disk)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(disk)?;
        if bytes.len() > limit {
            return Err(ObjectError::TooLarge(Trouble::new("get", key, format!("over {limit} bytes"))));
        }
        Ok(Some(bytes))
    }

    fn delete(&self, key: &ObjectKey) -> io::Result<()> {
        if absent(fs::remove_file(self.path(key)))?.is_some() {
            // Empty directories stay: removing them would race with a put, and there are few.
            self.path(key).parent().map_or(Ok(()), sync_dir)?;
        }
        Ok(())
    }
}

/// `None` for what is not there.
fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    io::copy(&mut from, &mut create(to)?)?;
    Ok(())
}

/// Collects names below `directory` in byte order, those behind `after`, until there are `limit`.
fn walk(
    directory: &Path,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
    skip: &dyn Fn(&str) -> bool,
    found: &mut Vec<(String, u64)>,
) -> io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let mut name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let is_dir = entry.file_type()?.is_dir();
        if is_dir {
            // With the slash names sort as whole names do: `a-b/c` is before `a/c`.
            name.push('/');
        }
        // Behind the mark, or a directory that may hold names behind it.
        let wanted = after.is_none_or(|after| name.as_str() > after || (is_dir && after.starts_with(&name)));
        if wanted && !skip(&name) {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    for (name, path) in entries {
        if found.len() >= limit {
            break;
        }
        if name.ends_with('/') {
            // It may have gone since it was listed; so may an object.
            absent(walk(&path, &name, after, limit, skip, found))?;
        } else if let Some(meta) = absent(fs::metadata(&path))? {
            found.push((name, meta.len()));
        }
    }
    Ok(())
}
