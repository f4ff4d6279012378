//! One file of a source, taken exactly once.
//!
//! The row in `source_item` fixes the document's id before a byte is read. After a crash the document itself tells
//! how far it came: accepted, so it is taken and only to be put away; cut off, so the half row is ended and another
//! id is fixed; never begun, so the id is used again. An id is accepted at most once, and another one is fixed only
//! when the one before never can be; so the lease on the source spares work, and nothing rests on it.

use std::time::Duration;

use super::sidecar::{self, Rules, Told};
use super::{ACTOR, Source, SourceError, Sources, merged};
use crate::db::documents::Document;
use crate::db::sources::{self as rows, Item, ItemState, NewBatch, NewItem, ProblemCode};
use crate::db::{DbError, Stamp, documents};
use crate::engine::stage::stop_at;
use crate::intake::receive::{Arriving, Destination, Receipt, ReceiveError, end_unreceived};
use crate::model::document::{DocumentState, FileName};
use crate::model::ids::DocumentId;
use crate::model::judgement::{Reason, ReasonCode};
use crate::model::submission::Said;
use crate::outside::inbox::{Body, Entry, InboxError, Shelf, read_small};

/// A file of a source with what lies beside it.
pub(super) struct File<'a> {
    pub(super) source: &'a Source,
    pub(super) entry: &'a Entry,
    pub(super) key: &'a str,
    pub(super) sidecar: Option<&'a Entry>,
    pub(super) mark: Option<&'a Entry>,
    /// The key of the index that names it, and what that says.
    pub(super) index: Option<(&'a str, &'a Told)>,
    pub(super) complete: bool,
}

/// What came of a file in a look.
pub(super) enum Step {
    Taken { without_facts: bool },
    Problem,
    Waits,
}

/// Where a file stands.
enum Standing {
    /// To be taken, under this id.
    Begin { id: DocumentId, before: Option<Item>, resumed: bool },
    /// What becomes of it is decided.
    Decided(Item),
}

impl Sources {
    pub(super) async fn take(&self, stamp: Stamp<'_>, file: &File<'_>, rules: &Rules) -> Result<Step, SourceError> {
        let (id, before) = match self.standing(stamp, file, rules).await? {
            Standing::Decided(item) => return self.put_away(stamp, file, item).await,
            Standing::Begin { resumed: false, .. } if !file.complete => return Ok(Step::Waits),
            Standing::Begin { id, before, .. } => (id, before),
        };
        let worn_out =
            before.as_ref().is_some_and(|item| item.ended_at.is_none() && item.tries >= self.intake.plan.sources.tries);
        let told = match self.told(file, rules).await? {
            Some(told) => told,
            None => return Ok(Step::Waits),
        };
        let (mut item, batch) = self.begin(stamp, file, &id, before.as_ref(), &told).await?;
        stop_at("source", "begun").await;
        let limit = self.intake.plan.receive.alone_bytes;
        if file.entry.size_bytes > limit {
            let why = format!("the file has {} bytes; no document may have more than {limit}", file.entry.size_bytes);
            return self.problem(stamp, file, item, ProblemCode::TooLarge, &why).await;
        }
        if worn_out {
            let why = format!("the file could not be read to its end in {} tries", item.tries - 1);
            return self.problem(stamp, file, item, ProblemCode::Unreadable, &why).await;
        }
        let body = match file.source.inbox.open(file.entry).await {
            Ok(body) => body,
            Err(InboxError::Changed) => return Ok(Step::Waits),
            Err(InboxError::Unreadable { .. }) => return Ok(Step::Waits),
            Err(error) => return Err(self.untried(stamp, item, error.into()).await),
        };
        match self.receive(file, rules, &told, &id, batch.as_deref(), body).await {
            Ok(_) => {}
            Err(ReceiveError::Refused(reason)) if is_refusal(reason.code) => {
                return self.problem(stamp, file, item, of_refusal(&reason), &reason.message).await;
            }
            // another node has it, or it broke off: the next look sees what its document says
            Err(
                ReceiveError::Refused(_)
                | ReceiveError::TooSlow
                | ReceiveError::Broken
                | ReceiveError::NoSubmission
                | ReceiveError::Closed { .. },
            ) => return Ok(Step::Waits),
            Err(
                error @ (ReceiveError::NoRoom(_)
                | ReceiveError::Spool(_)
                | ReceiveError::Store(_)
                | ReceiveError::Db(_)),
            ) => {
                return Err(self.untried(stamp, item, SourceError::Receive(error.to_string())).await);
            }
        }
        item.state = ItemState::Taken;
        item.problem = told_problem(&told);
        self.write(stamp, &mut item, false).await?;
        stop_at("source", "taken").await;
        self.put_away(stamp, file, item).await
    }

    /// Where a file stands, by its row and its document.
    async fn standing(&self, stamp: Stamp<'_>, file: &File<'_>, rules: &Rules) -> Result<Standing, SourceError> {
        let fresh = |before: Option<Item>, resumed: bool| {
            let id = stamp.new_id()?;
            Ok(Standing::Begin { id, before, resumed })
        };
        let (item, document) = {
            let mut conn = self.intake.db.read().await?;
            match rows::get(&mut conn, &file.source.options.name, file.key).await? {
                None => return fresh(None, false),
                Some(item) => {
                    let document = documents::get(&mut conn, &item.document_id).await?;
                    (item, document)
                }
            }
        };
        let accepted = document.as_ref().is_some_and(|document| document.accepted_at.is_some());
        match (item.state, document) {
            // it was put away: what lies here now is another file that looks the same
            (ItemState::Taken | ItemState::Problem, _) if item.ended_at.is_some() => fresh(Some(item), false),
            (ItemState::Taken, _) => self.unless_moved(stamp, file, item, Shelf::Done).await,
            (ItemState::Problem, _) => self.unless_moved(stamp, file, item, Shelf::Problem).await,
            // also where a node counted it as gone that had lost its lease to the one that took it
            (ItemState::Taking | ItemState::Gone, _) if accepted => {
                let problem = self.told(file, rules).await?.as_ref().and_then(told_problem);
                let mut item = Item { state: ItemState::Taken, problem, ..item };
                self.write(stamp, &mut item, false).await?;
                self.unless_moved(stamp, file, item, Shelf::Done).await
            }
            (ItemState::Gone, _) => fresh(Some(item), false),
            (ItemState::Taking, None) => {
                Ok(Standing::Begin { id: item.document_id.clone(), before: Some(item), resumed: true })
            }
            (ItemState::Taking, Some(document)) => match refused(&document) {
                Some(reason) => {
                    let problem = Some((of_refusal(&reason), reason.message));
                    let mut item = Item { state: ItemState::Problem, problem, ..item };
                    self.write(stamp, &mut item, false).await?;
                    Ok(Standing::Decided(item))
                }
                None => {
                    let mut tx = self.intake.db.begin().await?;
                    let reason = Reason::new(ReasonCode::Incomplete, "the taking broke off; it is begun again");
                    end_unreceived(&mut tx, stamp, &document.id, reason).await?;
                    // it may have been accepted since it was read: then no other id is fixed
                    let now = documents::get(&mut tx, &document.id).await?;
                    if now.is_some_and(|document| document.accepted_at.is_some()) {
                        return Err(DbError::Stale { what: "document" }.into());
                    }
                    tx.commit().await.map_err(DbError::from)?;
                    fresh(Some(item), true)
                }
            },
        }
    }

    /// What was decided stands, but where the file was put away already: then another one lies there.
    async fn unless_moved(
        &self,
        stamp: Stamp<'_>,
        file: &File<'_>,
        item: Item,
        shelf: Shelf,
    ) -> Result<Standing, SourceError> {
        if file.source.inbox.was_put_away(file.entry, shelf, item.document_id.as_str()).await? {
            let id = stamp.new_id()?;
            return Ok(Standing::Begin {
                id,
                before: Some(Item { ended_at: Some(stamp.ctx.now()), ..item }),
                resumed: false,
            });
        }
        Ok(Standing::Decided(item))
    }

    /// What is said of the file. `None` while its sidecar changes.
    async fn told(&self, file: &File<'_>, rules: &Rules) -> Result<Option<Told>, SourceError> {
        let limit = self.intake.plan.sources.sidecar_bytes;
        let sidecar = match file.sidecar {
            None => None,
            Some(entry) => match read_small(file.source.inbox.as_ref(), entry, limit).await {
                Ok(bytes) => Some(sidecar::read(&bytes, rules)),
                Err(InboxError::Changed) => return Ok(None),
                Err(error @ (InboxError::TooLarge { .. } | InboxError::Unreadable { .. })) => {
                    let mut told = Told::default();
                    told.fault(error.to_string());
                    Some(told)
                }
                Err(error) => return Err(error.into()),
            },
        };
        Ok(Some(merged(sidecar, file.index.map(|(_, told)| told))))
    }

    /// Fixes the document's id, and keeps what is said of the batch.
    async fn begin(
        &self,
        stamp: Stamp<'_>,
        file: &File<'_>,
        id: &DocumentId,
        before: Option<&Item>,
        told: &Told,
    ) -> Result<(Item, Option<String>), SourceError> {
        let facts = &told.facts;
        let options = &file.source.options;
        let mut tx = self.intake.db.begin().await?;
        let batch = match &facts.batch {
            None => None,
            Some(name) => {
                let new = NewBatch {
                    source: &options.name,
                    name,
                    channel: facts.channel.unwrap_or(options.channel),
                    documents: facts.expected_documents,
                    pages: facts.expected_pages,
                };
                Some(rows::put_batch(&mut tx, stamp, &new).await?)
            }
        };
        let new = NewItem {
            source: &options.name,
            item: file.key,
            document_id: id,
            batch_id: batch.as_deref(),
            index_item: file.index.map(|(key, _)| key),
        };
        let item = rows::begin(&mut tx, stamp, &new, before).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok((item, batch))
    }

    /// Has the file received, while the source stays ours.
    async fn receive(
        &self,
        file: &File<'_>,
        rules: &Rules,
        told: &Told,
        id: &DocumentId,
        batch: Option<&str>,
        body: Body,
    ) -> Result<Receipt, ReceiveError> {
        let (facts, options) = (&told.facts, &file.source.options);
        // a listed name has 1 to 1024 bytes
        let file_name = FileName::new(file.entry.name.reveal()).map_err(|_| ReceiveError::Broken)?;
        let arriving = Arriving {
            to: Destination::Alone {
                brand: facts.brand.as_ref().or(options.brand.as_ref()).unwrap_or(&self.brand),
                channel: facts.channel.unwrap_or(options.channel),
                said: Some(&facts.said).filter(|said| **said != Said::default()),
                batch_id: batch,
                parent_id: None,
            },
            document: Some(id),
            file_name: &file_name,
            announced_bytes: Some(file.entry.size_bytes),
            // when it was laid there is when it was here, unless its clock is wrong
            received_at: facts
                .received_at
                .or(file.entry.modified_at.filter(|at| rules.allows(*at) && *at <= rules.now)),
            actor: ACTOR,
        };
        let receiving = self.intake.receive(arriving, body);
        tokio::pin!(receiving);
        let pause = Duration::from_secs(self.intake.plan.sources.lease_s).div_f32(3.0);
        loop {
            match tokio::time::timeout(pause, &mut receiving).await {
                Ok(done) => return done,
                Err(_) => {
                    if let Err(error) = self.renew(file.source).await {
                        tracing::warn!(error = %error, "could not renew the lease on a source");
                    }
                }
            }
        }
    }

    /// Gives the try back of what was not the file's fault.
    async fn untried(&self, stamp: Stamp<'_>, mut item: Item, error: SourceError) -> SourceError {
        item.tries -= 1;
        if let Err(error) = self.write(stamp, &mut item, false).await {
            tracing::warn!(error = %error, "could not give back the try of a file of a source");
        }
        error
    }

    async fn write(&self, stamp: Stamp<'_>, item: &mut Item, put_away: bool) -> Result<(), DbError> {
        let mut tx = self.intake.db.begin().await?;
        rows::set(&mut tx, stamp, item, put_away).await?;
        Ok(tx.commit().await?)
    }

    async fn problem(
        &self,
        stamp: Stamp<'_>,
        file: &File<'_>,
        mut item: Item,
        code: ProblemCode,
        why: &str,
    ) -> Result<Step, SourceError> {
        item.state = ItemState::Problem;
        item.problem = Some((code, why.to_owned()));
        self.write(stamp, &mut item, false).await?;
        self.put_away(stamp, file, item).await
    }

    /// Puts a file away of which it is decided what becomes of it. What is beside it goes first: while the file lies
    /// there, all of this is done again after a crash.
    async fn put_away(&self, stamp: Stamp<'_>, file: &File<'_>, mut item: Item) -> Result<Step, SourceError> {
        let document = {
            let mut conn = self.intake.db.read().await?;
            documents::get(&mut conn, &item.document_id).await?
        };
        if let Some(document) = document.filter(|d| item.state == ItemState::Taken && d.channel.can_refuse()) {
            // its sender can be told: where it lies in the end depends on what it is
            match document.state {
                DocumentState::Rejected => {
                    let why = document.reason.map(|reason| reason.message).unwrap_or_default();
                    item.state = ItemState::Problem;
                    item.problem = Some((ProblemCode::Refused, why));
                    self.write(stamp, &mut item, false).await?;
                }
                state if !state.is_judged() => return Ok(Step::Waits),
                _ => {}
            }
        }
        let (inbox, id) = (file.source.inbox.as_ref(), item.document_id.as_str());
        let shelf = if item.state == ItemState::Problem { Shelf::Problem } else { Shelf::Done };
        let beside = if item.problem.is_some() { Shelf::Problem } else { Shelf::Done };
        if let Some((code, why)) = &item.problem {
            inbox.write_reason(id, &self.reason_text(*code, why)).await?;
        }
        if let Some(sidecar) = file.sidecar {
            inbox.put_away(sidecar, beside, id).await?;
        }
        if let Some(mark) = file.mark {
            inbox.put_away(mark, shelf, id).await?;
        }
        stop_at("source", "moving").await;
        inbox.put_away(file.entry, shelf, id).await?;
        stop_at("source", "moved").await;
        self.write(stamp, &mut item, true).await?;
        if let Some((code, _)) = &item.problem {
            self.alarm(file.source, *code);
        }
        Ok(match item.state {
            ItemState::Problem => Step::Problem,
            _ => Step::Taken { without_facts: item.problem.is_some() },
        })
    }
}

/// Whether the file itself was refused, not its taking cut off.
const fn is_refusal(code: ReasonCode) -> bool {
    matches!(code, ReasonCode::TooLarge | ReasonCode::Empty)
}

/// Why a document was refused at the door, if it was.
fn refused(document: &Document) -> Option<Reason> {
    let refused = document.state == DocumentState::Rejected;
    document.reason.clone().filter(|reason| refused && is_refusal(reason.code))
}

fn of_refusal(reason: &Reason) -> ProblemCode {
    if reason.code == ReasonCode::TooLarge { ProblemCode::TooLarge } else { ProblemCode::Refused }
}

fn told_problem(told: &Told) -> Option<(ProblemCode, String)> {
    let faults = &told.faults;
    (!faults.is_empty())
        .then(|| (ProblemCode::Sidecar, format!("the document was taken without these facts:\n{}", faults.join("\n"))))
}
