//! The mailroom's sources: watched folders and buckets into which scanners, fax and mail gateways drop files.
//!
//! A look lists a place and takes what is complete. What was taken lies in `done/`, what could not be in `problem/`
//! with a reason; a name alone never decides, what was listed does. [`take`] makes each file one accepted document,
//! whatever crashes. [`sidecar`] and [`index`] read what is said of a file beside it.
//!
//! Logs and metrics name a source by its place in the settings, events not at all: paths and names are the payer's.

pub mod index;
pub mod sidecar;
mod take;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use sha2::Sha256;
use thiserror::Error;

use self::sidecar::{Rules, Told};
use self::take::{File, Step};
use crate::db::sources::{self as rows, ItemState, NewItem, ProblemCode};
use crate::db::{DbError, Stamp, documents, leases};
use crate::engine::sequencer::AuditKey;
use crate::intake::Intake;
use crate::model::ids::Brand;
use crate::outside::inbox::{self, Complete, Entry, Inbox, InboxError, Listing, Shelf, SourceOptions, read_small};

/// Who takes what sources bring.
const ACTOR: &str = "source";
/// What a sidecar's name ends with.
const SIDECAR: &str = ".json";
/// What a completion mark's name ends with.
const READY: &str = ".ready";
/// What an index's name ends with.
const INDEX: &str = ".csv";
/// Files that wait to be put away, looked at in one go.
const OPEN_MOST: i64 = 10_000;

/// Why a look ended before its time. The next one goes on.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The place can't be used.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// The database can't be used.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Nothing can be taken in just now.
    #[error("{0}")]
    Receive(String),
    /// The settings can't be used.
    #[error("sources, entry {0}: there is no time zone of that name")]
    Zone(usize),
}

/// When so many files of one look can't be moved or read, it is the place that can't be used.
const FAILED_AT_MOST: usize = 20;

/// What a look did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Look {
    /// Another node has the source.
    pub elsewhere: bool,
    /// Files taken and put away.
    pub taken: u64,
    /// Files put away as problems.
    pub problems: u64,
    /// Files taken without all that was said of them.
    pub without_facts: u64,
    /// Files that are not complete yet, or whose judgement is waited for.
    pub waiting: u64,
    /// What lies there and is left alone.
    pub skipped: BTreeMap<inbox::Skipped, u64>,
    /// Whether there is more to take at once.
    pub more: bool,
}

/// A watched source.
pub struct Source {
    /// What the settings say of it.
    pub options: SourceOptions,
    /// Its place in the settings, from 1: what logs and metrics call it.
    pub number: usize,
    inbox: Arc<dyn Inbox>,
    zone: Option<TimeZone>,
    /// As what each file was listed last, and since when it is that.
    seen: Mutex<HashMap<String, (Entry, i64)>>,
}

impl Source {
    /// Remembers a listing, and tells since when each file has not changed.
    fn note(&self, listing: &Listing, now: i64) -> HashMap<String, i64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = HashMap::with_capacity(listing.entries.len());
        for entry in &listing.entries {
            let since = match seen.get(entry.name.reveal()) {
                Some((as_before, since)) if as_before == entry => *since,
                _ => now,
            };
            next.insert(entry.name.reveal().clone(), (entry.clone(), since));
        }
        let since = next.iter().map(|(name, (_, since))| (name.clone(), *since)).collect();
        *seen = next;
        since
    }
}

/// All sources of this installation. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    intake: Intake,
    brand: Brand,
    key: [u8; 32],
    all: Arc<Vec<Source>>,
}

/// A listing, told apart.
#[derive(Default)]
struct Pile {
    documents: Vec<Entry>,
    /// By the name of the file they are beside.
    sidecars: HashMap<String, Entry>,
    marks: HashMap<String, Entry>,
    indexes: Vec<Entry>,
}

impl Pile {
    fn of(listing: Vec<Entry>, options: &SourceOptions) -> Self {
        let mut pile = Self::default();
        for entry in listing {
            let name = entry.name.reveal();
            if let Some(beside) = name.strip_suffix(SIDECAR) {
                pile.sidecars.insert(beside.to_owned(), entry);
            } else if let Some(beside) = name.strip_suffix(READY).filter(|_| options.complete == Complete::Ready) {
                pile.marks.insert(beside.to_owned(), entry);
            } else if options.index.is_some() && name.to_ascii_lowercase().ends_with(INDEX) {
                pile.indexes.push(entry);
            } else {
                pile.documents.push(entry);
            }
        }
        // what came first is taken first
        pile.documents.sort_by(|a, b| (a.modified_at, a.name.reveal()).cmp(&(b.modified_at, b.name.reveal())));
        pile.indexes.sort_by(|a, b| a.name.reveal().cmp(b.name.reveal()));
        pile
    }
}

/// An index that was read.
struct ReadIndex {
    entry: Entry,
    key: String,
    index: index::Index,
}

impl Sources {
    /// Opens the sources of the settings. `brand` is that of files of which nothing else is said.
    ///
    /// # Errors
    /// When the settings of one can't be used.
    pub async fn open(
        intake: Intake,
        brand: Brand,
        options: &[SourceOptions],
        audit_key: &AuditKey,
    ) -> Result<Self, SourceError> {
        inbox::check(options)?;
        let mut all = Vec::new();
        for (at, options) in options.iter().enumerate() {
            let zone = match &options.zone {
                None => None,
                Some(name) => Some(TimeZone::get(name).map_err(|_| SourceError::Zone(at + 1))?),
            };
            let inbox = inbox::open(&options.at).await?;
            all.push(Source { options: options.clone(), number: at + 1, inbox, zone, seen: Mutex::default() });
        }
        // a key of its own, so that what is kept of names says nothing without the installation's secret
        let key = digest(&audit_key.0, &[b"lettercase source items 1"]);
        Ok(Self { intake, brand, key, all: Arc::new(all) })
    }

    /// The sources, in the order of the settings.
    pub fn all(&self) -> &[Source] {
        &self.all
    }

    /// How long to wait between two looks.
    pub fn every(&self) -> Duration {
        Duration::from_secs(self.intake.plan.sources.every_s)
    }

    /// Looks at a source once: takes what is complete, goes on with what a crash cut off.
    ///
    /// # Errors
    /// When the place, the database or the store can't be used; the next look goes on.
    pub async fn look(&self, source: &Source) -> Result<Look, SourceError> {
        let stamp = Stamp { ctx: &self.intake.ctx, actor: ACTOR };
        if !self.renew(source).await? {
            return Ok(Look { elsewhere: true, ..Look::default() });
        }
        let policy = &self.intake.plan.sources;
        let listing = source.inbox.list(policy.entries_per_look).await?;
        let since = source.note(&listing, stamp.now());
        let mut look = Look { skipped: listing.skipped.clone(), more: listing.more, ..Look::default() };
        let whole = !listing.more;
        let pile = Pile::of(listing.entries, &source.options);
        let rules = self.rules(source);
        let settled = |entry: &Entry| {
            let still = stamp.now() - since.get(entry.name.reveal()).copied().unwrap_or(i64::MAX);
            source.inbox.is_complete_by_nature() || still >= micros(policy.settle_s)
        };
        let late = |entry: &Entry| {
            let since = since.get(entry.name.reveal()).copied().unwrap_or(i64::MAX);
            stamp.now().saturating_sub(since) >= micros(policy.unclaimed_after_s)
        };
        let indexes = self.read_indexes(source, &pile, &settled, &rules, &mut look).await?;
        let mut present = HashSet::new();
        let mut renew_at = stamp.now() + micros(policy.lease_s) / 3;
        let mut failed = Vec::new();
        for entry in &pile.documents {
            let key = self.item_key(source, entry);
            present.insert(key.clone());
            if look.taken + look.problems >= policy.files_per_look as u64 {
                look.more = true;
                continue;
            }
            if stamp.now() >= renew_at {
                if !self.renew(source).await? {
                    look.elsewhere = true;
                    return Ok(look);
                }
                renew_at = stamp.now() + micros(policy.lease_s) / 3;
            }
            let name = entry.name.reveal();
            let sidecar = pile.sidecars.get(name);
            let mark = pile.marks.get(name);
            let index = indexes.iter().find(|index| index.index.rows.contains_key(name));
            let complete = match source.options.complete {
                Complete::Settled => settled(entry) && sidecar.is_none_or(&settled),
                Complete::Ready => mark.is_some(),
                Complete::Sidecar => sidecar.is_some_and(&settled),
                Complete::Index => index.is_some() && settled(entry) && sidecar.is_none_or(&settled),
            };
            let said = index.and_then(|index| Some((index.key.as_str(), index.index.rows.get(name)?)));
            let file = File { source, entry, key: &key, sidecar, mark, index: said, complete };
            let step = match self.take(stamp, &file, &rules).await {
                // another node was there first
                Err(SourceError::Db(DbError::Stale { .. })) => Step::Waits,
                // it may be this file alone that can't be moved: the others are looked at, unless it is so with each
                Err(SourceError::Inbox(error)) => {
                    tracing::warn!(source = source.number, error = %error, "a file of a source stays where it is");
                    failed.push(error);
                    if failed.len() > FAILED_AT_MOST {
                        break;
                    }
                    Step::Waits
                }
                other => other?,
            };
            match step {
                Step::Taken { without_facts } => {
                    look.taken += 1;
                    look.without_facts += u64::from(without_facts);
                }
                Step::Problem => look.problems += 1,
                Step::Waits => look.waiting += 1,
            }
        }
        let too_many = failed.len() > FAILED_AT_MOST;
        if let Some(error) = failed.into_iter().next().filter(|_| too_many || look.taken + look.problems == 0) {
            return Err(error.into());
        }
        if whole {
            self.end_absent(stamp, source, &present).await?;
            self.sweep_companions(source, &pile, &late, &mut look).await?;
            self.sweep_indexes(stamp, source, &pile, &indexes, &late, &mut look).await?;
        }
        self.tell(source, &look);
        Ok(look)
    }

    /// Gives a source back, so that another node need not wait.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release(&self, source: &Source) -> Result<(), DbError> {
        let mut tx = self.intake.db.begin().await?;
        leases::release(&mut tx, &lease_name(source), &self.intake.node).await?;
        Ok(tx.commit().await?)
    }

    /// Takes or renews this node's lease on a source.
    async fn renew(&self, source: &Source) -> Result<bool, DbError> {
        let stamp = Stamp { ctx: &self.intake.ctx, actor: ACTOR };
        let until = stamp.now() + micros(self.intake.plan.sources.lease_s);
        let mut tx = self.intake.db.begin().await?;
        let ours = leases::take(&mut tx, stamp, &lease_name(source), &self.intake.node, until).await?;
        tx.commit().await?;
        Ok(ours)
    }

    fn rules(&self, source: &Source) -> Rules {
        let policy = &self.intake.plan.sources;
        Rules {
            now: self.intake.ctx.now(),
            ahead: SignedDuration::from_secs(policy.receipt_ahead_s),
            behind: SignedDuration::from_hours(policy.receipt_behind_days * 24),
            zone: source.zone.clone(),
        }
    }

    /// What is kept of a file instead of its name.
    fn item_key(&self, source: &Source, entry: &Entry) -> String {
        let size = entry.size_bytes.to_be_bytes();
        let (source, name) = (source.options.name.as_bytes(), entry.name.reveal().as_bytes());
        hex::encode(digest(&self.key, &[source, name, &size, entry.mark.as_bytes()]))
    }

    /// Reads the indexes that are complete. One that can't be read is a problem; its files wait or are taken as they
    /// are, as the source is set.
    async fn read_indexes(
        &self,
        source: &Source,
        pile: &Pile,
        settled: &(impl Fn(&Entry) -> bool + Sync),
        rules: &Rules,
        look: &mut Look,
    ) -> Result<Vec<ReadIndex>, SourceError> {
        let policy = &self.intake.plan.sources;
        let columns = source.options.index.clone().unwrap_or_default();
        let mut read = Vec::new();
        for entry in pile.indexes.iter().filter(|entry| settled(entry)) {
            let bytes = match read_small(source.inbox.as_ref(), entry, policy.index_bytes).await {
                Ok(bytes) => bytes,
                Err(InboxError::Changed | InboxError::Unreadable { .. }) => continue,
                Err(InboxError::TooLarge { limit }) => {
                    let why = format!("the index has more than {limit} bytes; it was not read");
                    self.put_aside(source, entry, ProblemCode::Index, &why).await?;
                    look.problems += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let index = index::read(&bytes, &columns, policy.index_rows, rules);
            read.push(ReadIndex { entry: entry.clone(), key: self.item_key(source, entry), index });
        }
        Ok(read)
    }

    /// Puts sidecars and marks away whose file does not come.
    async fn sweep_companions(
        &self,
        source: &Source,
        pile: &Pile,
        late: &(impl Fn(&Entry) -> bool + Sync),
        look: &mut Look,
    ) -> Result<(), SourceError> {
        let names: HashSet<&str> = pile.documents.iter().map(|entry| entry.name.reveal().as_str()).collect();
        for (beside, entry) in pile.sidecars.iter().chain(&pile.marks) {
            if !names.contains(beside.as_str()) && late(entry) {
                let why = "the file that this is about did not come";
                self.put_aside(source, entry, ProblemCode::Unclaimed, why).await?;
                look.problems += 1;
            }
        }
        Ok(())
    }

    /// Puts indexes away: to `done/` once all the files they name came to an end, to `problem/` where they can't be
    /// read or a file does not come.
    async fn sweep_indexes(
        &self,
        stamp: Stamp<'_>,
        source: &Source,
        pile: &Pile,
        indexes: &[ReadIndex],
        late: &(impl Fn(&Entry) -> bool + Sync),
        look: &mut Look,
    ) -> Result<(), SourceError> {
        let names: HashSet<&str> = pile.documents.iter().map(|entry| entry.name.reveal().as_str()).collect();
        for ReadIndex { entry, key, index } in indexes {
            if index.rows.keys().any(|name| names.contains(name.as_str())) {
                continue;
            }
            let came = {
                let mut conn = self.intake.db.read().await?;
                rows::ended_under(&mut conn, &source.options.name, key).await?
            };
            let named = i64::try_from(index.rows.len()).unwrap_or(i64::MAX);
            let mut faults = index.faults.clone();
            if came < named {
                if !late(entry) {
                    continue;
                }
                faults.push(format!("{} of the {named} files it names did not come", named - came));
            }
            if faults.is_empty() {
                source.inbox.put_away(entry, Shelf::Done, &stamp.ctx.new_id()).await?;
            } else {
                self.put_aside(source, entry, ProblemCode::Index, &faults.join("\n")).await?;
                look.problems += 1;
            }
        }
        Ok(())
    }

    /// Puts something away that is no document, and keeps why.
    async fn put_aside(&self, source: &Source, entry: &Entry, code: ProblemCode, why: &str) -> Result<(), SourceError> {
        let stamp = Stamp { ctx: &self.intake.ctx, actor: ACTOR };
        let id = stamp.new_id()?;
        let key = self.item_key(source, entry);
        let mut tx = self.intake.db.begin().await?;
        let before = rows::get(&mut tx, &source.options.name, &key).await?;
        let new =
            NewItem { source: &source.options.name, item: &key, document_id: &id, batch_id: None, index_item: None };
        let mut item = rows::begin(&mut tx, stamp, &new, before.as_ref()).await?;
        item.state = ItemState::Problem;
        item.problem = Some((code, why.to_owned()));
        rows::set(&mut tx, stamp, &mut item, true).await?;
        tx.commit().await.map_err(DbError::from)?;
        self.alarm(source, code);
        source.inbox.write_reason(id.as_str(), &self.reason_text(code, why)).await?;
        Ok(source.inbox.put_away(entry, Shelf::Problem, id.as_str()).await?)
    }

    /// Ends the rows of files that no longer lie there: put away before a crash, or taken away by others.
    async fn end_absent(
        &self,
        stamp: Stamp<'_>,
        source: &Source,
        present: &HashSet<String>,
    ) -> Result<(), SourceError> {
        let open = {
            let mut conn = self.intake.db.read().await?;
            rows::open_items(&mut conn, &source.options.name, OPEN_MOST).await?
        };
        for mut item in open.into_iter().filter(|item| !present.contains(&item.item)) {
            let mut tx = self.intake.db.begin().await?;
            if item.state == ItemState::Taking {
                let document = documents::get(&mut tx, &item.document_id).await?;
                let accepted = document.is_some_and(|document| document.accepted_at.is_some());
                item.state = if accepted { ItemState::Taken } else { ItemState::Gone };
            }
            match rows::set(&mut tx, stamp, &mut item, true).await {
                Err(DbError::Stale { .. }) => continue,
                other => other?,
            }
            tx.commit().await.map_err(DbError::from)?;
        }
        Ok(())
    }

    /// The text beside a problem.
    fn reason_text(&self, code: ProblemCode, why: &str) -> String {
        format!("{code}\n{why}\n{}\n", self.intake.ctx.now())
    }

    fn alarm(&self, source: &Source, code: ProblemCode) {
        let number = source.number.to_string();
        metrics::counter!("lettercase_source_problems_total", "source" => number, "code" => code.as_str()).increment(1);
        tracing::error!(source = source.number, code = code.as_str(), "a file of a source is a problem");
    }

    fn tell(&self, source: &Source, look: &Look) {
        let number = source.number.to_string();
        metrics::counter!("lettercase_source_taken_total", "source" => number.clone()).increment(look.taken);
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        let gauge = |n: u64| n as f64;
        metrics::gauge!("lettercase_source_waiting", "source" => number.clone()).set(gauge(look.waiting));
        metrics::gauge!("lettercase_source_skipped", "source" => number).set(gauge(look.skipped.values().sum()));
    }
}

/// What each file of a source says of it, if anything, in the sidecar's words and then the index's.
fn merged(sidecar: Option<Told>, index: Option<&Told>) -> Told {
    sidecar.unwrap_or_default().or(index.cloned().unwrap_or_default())
}

fn lease_name(source: &Source) -> String {
    format!("source.{}", source.options.name)
}

/// HMAC-SHA256 over parts, each led by its length.
fn digest(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // a key of any length is one
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}
