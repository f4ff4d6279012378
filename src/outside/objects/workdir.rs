//! Where the disk store's objects are before they have their names.
//!
//! Each process has a directory of its own below `partial/` and holds a lock on it as long as it lives. So
//! what a dead process left can be told from what a living one is writing, without clocks or process ids,
//! and is swept when a store is opened. The kernel lets go of a lock however its process ends.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const LOCK: &str = "lock";

/// This process's directory of unfinished objects.
pub(super) struct Workdir {
    path: PathBuf,
    next: AtomicU64,
    /// Held, not used.
    _lock: File,
}

impl Workdir {
    /// Sweeps what dead processes left in `partial` and makes a directory of our own in it.
    pub(super) fn open(partial: &Path) -> io::Result<Self> {
        make_dir(partial)?;
        // One opener at a time: between the making of a directory and its locking it looks dead.
        let gate = lock_file(&partial.join(LOCK))?;
        gate.lock()?;
        sweep(partial)?;
        let path = partial.join(format!("{:016x}", rand::random::<u64>()));
        make_dir(&path)?;
        let lock = lock_file(&path.join(LOCK))?;
        lock.lock()?;
        Ok(Self { path, next: AtomicU64::new(0), _lock: lock })
    }

    /// A name in the directory that nobody has; whatever is made there goes when the guard does.
    pub(super) fn name(&self) -> Unfinished {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Unfinished(self.path.join(format!("{number:x}")))
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        // Nothing depends on it: what is left is swept by the next opener.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// An unfinished object's name. Dropped, it takes the file away, unless that got its final name meanwhile.
pub(super) struct Unfinished(PathBuf);

impl Unfinished {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn sweep(partial: &Path) -> io::Result<()> {
    for entry in fs::read_dir(partial)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let dead = match File::open(entry.path().join(LOCK)) {
            Ok(lock) => match lock.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => false,
                Err(TryLockError::Error(error)) => return Err(error),
            },
            // Its maker died between directory and lock file: we hold the gate, so it is not being made now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(error),
        };
        if dead {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Makes a directory with its parents, for its owner only.
pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a directory's entries durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
