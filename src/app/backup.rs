//! Back-ups, and going on from one (`docs/operations.md`).
//!
//! A back-up is a copy of the database and, taken after it, one of the objects; from before the first until after the second
//! nothing is deleted (`src/engine/keeping.rs`). So each object that the database names is there, and what is there beyond
//! came later. Refused: to copy the objects first, which would leave out those that came while they were copied.
//!
//! Whoever goes on from a back-up does not know what was sent and destroyed after it. So no node starts on one before
//! [`finish_restore`] has put that before a person: the copy of the objects holds a mark, and where it was lost the head of the
//! audit chain in the store is further on than the database.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use serde::Serialize;
use thiserror::Error;

use super::{StartError, audit_key, lock_node, make_dir, open_db};
use crate::db::backups::{self, Doubts};
use crate::db::contents::{self, ContentState};
use crate::db::{Db, DbError, Flavor, Stamp, documents, events, letter_upkeep};
use crate::engine::audit::{self, Fault};
use crate::engine::keeping::Keeping;
use crate::engine::sequencer::{Head, head_key, keep_head, kept_head};
use crate::model::document::DocumentState;
use crate::model::event::AT_COMMAND_LINE;
use crate::model::ids::{Brand, DocumentId, IdError, Sha256};
use crate::outside::context::Context;
use crate::outside::objects::{self, Copied, FilesOptions, ObjectError, ObjectKey, ObjectsOptions, Place};
use crate::settings::Settings;

/// Why a back-up was not taken, or nothing goes on from it.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The installation can't be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A store failed.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// A file can't be written.
    #[error("can't write {0}: {1}")]
    Disk(PathBuf, #[source] std::io::Error),
    /// Something is in the way of the copy.
    #[error("{0} is there already: each back-up goes into a directory of its own")]
    Occupied(PathBuf),
    /// The directory holds no copy of objects.
    #[error("{0} holds no objects of a back-up")]
    NoBackup(PathBuf),
    /// The database has tools of its own for that.
    #[error(
        "PostgreSQL is copied by pg_dump, between `lettercase backup begin` and `backup objects` (docs/operations.md)"
    )]
    NotSqlite,
    /// Another back-up is being taken.
    #[error("a back-up is being taken already; where it is not, `lettercase backup end` says so")]
    Underway,
    /// The log in the database is not whole, so it is no good back-up.
    #[error("the audit log of this database can't be gone on from: {0}")]
    Chain(Fault),
    /// The head can't be kept outside the database.
    #[error("the head of the audit chain can't be kept in the object store: {0}")]
    Head(String),
}

/// The object that says that a store was filled from a back-up.
fn mark() -> Result<ObjectKey, ObjectError> {
    ObjectKey::audit("back-up.json").map_err(|error| foreign(&error))
}

fn foreign(error: &IdError) -> ObjectError {
    ObjectError::Misconfigured(objects::Trouble {
        doing: "name",
        on: "an object of the audit".into(),
        cause: error.to_string(),
    })
}

/// Keeps all objects from being deleted for so long, or until [`end`].
///
/// # Errors
/// When the database fails.
pub async fn begin(db: &Db, stamp: Stamp<'_>, hours: u32) -> Result<(), BackupError> {
    let until = stamp.ctx.now().saturating_add(SignedDuration::from_hours(i64::from(hours)));
    let until = until.map_or(i64::MAX, |at| at.as_microsecond());
    let mut tx = db.begin().await?;
    if !backups::keep_objects(&mut tx, stamp, until).await? {
        return Err(BackupError::Underway);
    }
    Ok(tx.commit().await.map_err(DbError::from)?)
}

/// Fails where the database is not copied by us.
///
/// # Errors
/// [`BackupError::NotSqlite`]
pub fn check_sqlite(db: &Db) -> Result<(), BackupError> {
    if db.flavor() == Flavor::Sqlite { Ok(()) } else { Err(BackupError::NotSqlite) }
}

/// Lets objects be deleted again.
///
/// # Errors
/// When the database fails.
pub async fn end(db: &Db) -> Result<(), BackupError> {
    let mut tx = db.begin().await?;
    backups::let_objects_go(&mut tx).await?;
    Ok(tx.commit().await.map_err(DbError::from)?)
}

/// Copies a SQLite database as it is at one instant into `dir`, beside a running node.
///
/// # Errors
/// See [`BackupError`].
pub async fn copy_database(db: &Db, dir: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::PermissionsExt;
    make_dir(dir)?;
    let file = dir.join("lettercase.db");
    if file.exists() {
        return Err(BackupError::Occupied(file));
    }
    let text = file.to_str().ok_or_else(|| BackupError::Disk(file.clone(), std::io::ErrorKind::InvalidInput.into()))?;
    db.copy_into(text).await?;
    // SQLite does not sync what it writes so
    let sync = || -> std::io::Result<()> {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
        std::fs::File::open(&file)?.sync_all()?;
        std::fs::File::open(dir)?.sync_all()
    };
    sync().map_err(|error| BackupError::Disk(file.clone(), error))
}

/// Copies all objects into `dir`, as files, and marks them as a back-up.
///
/// # Errors
/// See [`BackupError`].
pub async fn copy_objects(settings: &Settings, ctx: &Context, dir: &Path) -> Result<Copied, BackupError> {
    let root = dir.join("objects");
    if root.exists() {
        return Err(BackupError::Occupied(root));
    }
    make_dir(dir)?;
    let from = objects::open(&settings.objects_options()).await?;
    let to = objects::open(&ObjectsOptions::Files(FilesOptions { root })).await?;
    let scratch = tempfile::tempdir_in(dir).map_err(|error| BackupError::Disk(dir.to_owned(), error))?;
    let copied = objects::copy_all(from.as_ref(), to.as_ref(), scratch.path()).await?;
    let said = serde_json::json!({ "taken_at": ctx.now() }).to_string();
    to.put_bytes(&mark()?, said.into_bytes()).await?;
    Ok(copied)
}

/// Fills the settings' store from the objects of a back-up.
///
/// # Errors
/// See [`BackupError`].
pub async fn put_objects_back(settings: &Settings, dir: &Path) -> Result<Copied, BackupError> {
    let root = dir.join("objects");
    if !root.is_dir() {
        return Err(BackupError::NoBackup(dir.to_owned()));
    }
    make_dir(&settings.data_dir)?;
    let from = objects::open(&ObjectsOptions::Files(FilesOptions { root })).await?;
    let to = objects::open(&settings.objects_options()).await?;
    let scratch = tempfile::tempdir_in(&settings.data_dir);
    let scratch = scratch.map_err(|error| BackupError::Disk(settings.data_dir.clone(), error))?;
    Ok(objects::copy_all(from.as_ref(), to.as_ref(), scratch.path()).await?)
}

/// What going on from a back-up found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Position of the last event that the database has.
    pub ended: i64,
    /// Position that the log had reached, as far as the store tells.
    pub reached: Option<i64>,
    /// What is before a person now.
    #[serde(flatten)]
    pub doubts: Doubts,
}

/// Lets nodes start on a database and a store that were put back: nothing that may have been done since then goes on by
/// itself, and the audit chain goes on from where the database ends. Done twice it comes to the same end.
///
/// # Errors
/// See [`BackupError`]; when this node runs, or the log is not whole up to its end.
pub async fn finish_restore(settings: &Settings, ctx: &Context) -> Result<Restored, BackupError> {
    let _lock = lock_node(settings)?;
    let db = open_db(settings).await?;
    let store = objects::open(&settings.objects_options()).await?;
    let key = audit_key(settings, ctx)?;
    match audit::verify(&db, &key, None).await?.fault {
        None | Some(Fault::HeadMissing) => {}
        Some(fault) => return Err(BackupError::Chain(fault)),
    }
    let reached = kept_head(store.as_ref()).await?.map(|head| head.position);
    let last = {
        let mut conn = db.read().await?;
        events::last_seal(&mut conn).await?
    };
    let ended = last.as_ref().map_or(0, |seal| seal.last_position);
    let stamp = Stamp { ctx, actor: AT_COMMAND_LINE };
    let mut tx = db.begin().await?;
    let doubts = backups::restored(&mut tx, stamp, &settings.brand, (ended, reached)).await?;
    tx.commit().await.map_err(DbError::from)?;
    match last {
        Some(seal) => {
            let head = Head { position: seal.last_position, mac: seal.mac };
            keep_head(store.as_ref(), &head).await.map_err(BackupError::Head)?;
        }
        None => store.delete(&head_key().map_err(|error| foreign(&error))?).await?,
    }
    // last: until then no node starts
    store.delete(&mark()?).await?;
    db.close().await;
    Ok(Restored { ended, reached, doubts })
}

/// What was taken out of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Strays {
    /// Files of senders that are in the directory now.
    pub saved: u64,
    /// Objects that were deleted and are nowhere now: letters' PDFs, parts of uploads, what was quarantined.
    pub dropped: u64,
}

/// Takes out of the store what the database knows nothing of, for it came after the back-up: files of senders go into `dir`,
/// to be sent in again, everything else is deleted. Quarantined bytes never get out.
///
/// # Errors
/// See [`BackupError`]; when this node runs.
pub async fn take_strays(settings: &Settings, ctx: &Context, dir: &Path) -> Result<Strays, BackupError> {
    let _lock = lock_node(settings)?;
    let db = open_db(settings).await?;
    check_restored(&db, settings).await?;
    let store = objects::open(&settings.objects_options()).await?;
    let store = Keeping::over(store, db.clone(), ctx.clone());
    make_dir(dir)?;
    let mut strays = Strays::default();
    for place in [Place::Incoming, Place::Content, Place::Quarantine, Place::Letters] {
        let mut after: Option<String> = None;
        loop {
            let page = store.list(place, after.as_deref(), 500).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (name, _) in &page {
                let Ok(key) = ObjectKey::from_name(place, name) else { continue };
                if is_known(&db, place, name).await? {
                    continue;
                }
                if matches!(place, Place::Incoming | Place::Content) && !is_on_its_way(&db, place, name).await? {
                    let to = dir.join(name.replace('/', "-"));
                    store.fetch(&key, None, &to, None).await?;
                    strays.saved += 1;
                } else {
                    strays.dropped += 1;
                }
                store.delete(&key).await?;
            }
        }
    }
    db.close().await;
    Ok(strays)
}

/// The brand and the hash that an object's name says.
fn addressed(name: &str) -> Option<(Brand, Sha256)> {
    let (brand, rest) = name.split_once('/')?;
    Some((brand.parse().ok()?, rest.rsplit('/').next()?.parse().ok()?))
}

/// Whether these bytes are those of a document that is judged and stored again: it was on its way when the copy was taken.
async fn is_on_its_way(db: &Db, place: Place, name: &str) -> Result<bool, DbError> {
    let Some((brand, sha256)) = addressed(name).filter(|_| place == Place::Content) else { return Ok(false) };
    let mut conn = db.read().await?;
    let documents = documents::of_content(&mut conn, &brand, &sha256).await?;
    Ok(documents.iter().any(|document| document.accepted_at.is_some()))
}

/// Whether a row of the database says what an object is.
async fn is_known(db: &Db, place: Place, name: &str) -> Result<bool, DbError> {
    let mut conn = db.read().await?;
    Ok(match (place, addressed(name)) {
        (Place::Incoming, _) => match name.parse::<DocumentId>() {
            // one that was coming in then came, if at all, to the installation that is no more
            Ok(id) => documents::get(&mut conn, &id).await?.is_some_and(|it| it.state != DocumentState::Receiving),
            Err(_) => true,
        },
        (Place::Content | Place::Quarantine, Some((brand, sha256))) => {
            let state = contents::get(&mut conn, &brand, &sha256).await?.map(|content| content.state);
            let of_place = if place == Place::Content { ContentState::Clean } else { ContentState::Infected };
            // one that is being destroyed is ended by a reconciler
            state == Some(of_place) || state == Some(ContentState::Deleting)
        }
        (Place::Letters, Some((brand, sha256))) => {
            letter_upkeep::is_known(&mut conn, &brand, &sha256).await?
                || letter_upkeep::is_going(&mut conn, &brand, &sha256).await?
        }
        _ => true,
    })
}

/// Fails where the database or the store is of a back-up and nobody has said yet that nodes may go on from it.
///
/// # Errors
/// [`StartError::Restored`]; when the database or the store can't be read.
pub async fn check_restored(db: &Db, settings: &Settings) -> Result<(), StartError> {
    let store = objects::open(&settings.objects_options()).await?;
    let told = async { Ok::<_, ObjectError>((store.head(&mark()?).await?, kept_head(store.as_ref()).await?)) };
    let (marked, head) = match told.await {
        Ok(told) => told,
        // its head stays as it is all the same: the sequencer never takes one back
        Err(error) => {
            tracing::warn!(error = %error, "the object store does not say whether this is a back-up");
            return Ok(());
        }
    };
    let ended = {
        let mut conn = db.read().await?;
        events::last_seal(&mut conn).await?.map_or(0, |seal| seal.last_position)
    };
    match head {
        _ if marked.is_some() => Err(StartError::Restored { why: "the objects were put back from a back-up".into() }),
        Some(head) if head.position > ended => Err(StartError::Restored {
            why: format!("the log of events ends at {ended} and had reached {}", head.position),
        }),
        _ => Ok(()),
    }
}
