//! Sending: from a mail whose time has come to a relay's word on it.
//!
//! A mail is taken under a lease. Its envelope is told to a relay, which says whether it wants the text. Only then, in one
//! transaction, is looked at once more what the mail is to tell, and it is marked as `submitting`; after that its text goes.
//! So a crash before that transaction leaves a mail that another node takes up, and one after it a mail in doubt, which
//! nobody sends again by himself.
//!
//! These transactions are shared: what comes while one is written is in the next. So many connections cost few of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::Digests;
use super::mail::{ComposeError, Composed, Mail, MailContent, MailItem};
use super::plan::SendingPolicy;
use super::returns::suppress;
use super::submit::{Told, Wanted};
use crate::db::digest_mails::{self, Ended, Known, Taken};
use crate::db::suppressions::NewSuppression;
use crate::db::{DbError, Flavor, Stamp, suppressions};
use crate::engine::stage::stop_at;
use crate::model::digest::{MailState, SuppressionReason, mail_address};
use crate::model::ids::MailId;
use crate::model::phi::Phi;
use crate::outside::mailer::{Away, BodyError, Dialog, Refused};

/// Who sends, in events.
const ACTOR: &str = "digests";
/// Places where tests stop a node are called so.
const NAME: &str = "digest-mail";
/// Mails of which one transaction tells.
const TOGETHER: usize = 100;

/// Such transactions that are under way at once. One that is committed waits for the disk, and what it holds up meanwhile is
/// only half of the connections; SQLite writes one at a time anyhow.
const fn at_once(flavor: Flavor) -> usize {
    match flavor {
        Flavor::Sqlite => 1,
        Flavor::Postgres => 2,
    }
}

/// How often, and how long apart, it is tried to write down what a relay said.
const TRIES: u32 = 20;
const AGAIN: Duration = Duration::from_millis(250);

/// Hands mails to relays. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    /// What the journey works with.
    pub digests: Digests,
    /// What mails are made and sent with.
    pub mail: Mail,
    /// By this it is known whose a mail is: of this start of this node.
    token: Arc<str>,
    stopped: Arc<AtomicBool>,
}

/// What is asked of the committer.
enum Ask {
    /// May the text of this mail go, over that relay?
    Submit { mail: Taken, relay: String, answer: oneshot::Sender<Option<Box<Told>>> },
    /// That became of it.
    End { ended: Ended, suppress: Option<Bounced> },
}

/// An address that a relay refuses for good.
struct Bounced {
    address: Phi<String>,
    mail: MailId,
    detail: String,
}

/// Mails that were taken and wait for a connection.
struct Queue {
    sender: Sender,
    mails: Mutex<VecDeque<Taken>>,
    /// Who has it takes more.
    fills: Mutex<()>,
    /// There were fewer than were asked for: more are looked for only when these are gone.
    last: AtomicBool,
    /// No relay can be had: nothing is taken any more.
    away: AtomicBool,
    taken: AtomicUsize,
    /// Not more are taken.
    most: usize,
}

impl Queue {
    /// The next mail. Where few are left, the one who sees it takes more, and the others go on with those.
    async fn next(&self) -> Result<Option<Taken>, DbError> {
        let (mail, left) = self.pop().await;
        let few = usize::from(self.sender.digests.plan.sending.batch) / 2;
        match mail {
            Some(mail) => {
                if left < few
                    && !self.last.load(Ordering::Relaxed)
                    && let Ok(_fills) = self.fills.try_lock()
                {
                    // when it fails, it does so again when there is no mail left
                    self.fill().await.ok();
                }
                Ok(Some(mail))
            }
            None => {
                let _fills = self.fills.lock().await;
                if let (Some(mail), _) = self.pop().await {
                    return Ok(Some(mail));
                }
                if self.last.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                self.fill().await?;
                Ok(self.pop().await.0)
            }
        }
    }

    /// A mail that was taken, and how many are left.
    async fn pop(&self) -> (Option<Taken>, usize) {
        let mut mails = self.mails.lock().await;
        (mails.pop_front(), mails.len())
    }

    /// Takes a batch.
    async fn fill(&self) -> Result<(), DbError> {
        let digests = &self.sender.digests;
        let policy = &digests.plan.sending;
        let room = self.most.saturating_sub(self.taken.load(Ordering::Relaxed));
        let batch = i64::from(policy.batch).min(i64::try_from(room).unwrap_or(i64::MAX));
        if batch == 0 || self.away.load(Ordering::Relaxed) || self.sender.is_stopped() {
            return Ok(());
        }
        let stamp = Stamp { ctx: &digests.ctx, actor: ACTOR };
        let lease = (self.sender.token.as_ref(), self.sender.lease_until(stamp));
        let taken = digest_mails::claim(&digests.db, stamp, &digests.brands, lease, batch).await?;
        self.taken.fetch_add(taken.len(), Ordering::Relaxed);
        self.last.store((taken.len() as i64) < batch, Ordering::Relaxed);
        stop_at(NAME, "claimed").await;
        self.mails.lock().await.extend(taken);
        Ok(())
    }
}

impl Sender {
    /// A sender over these relays.
    pub fn new(digests: Digests, mail: Mail) -> Self {
        let token = digests.ctx.new_id().into();
        Self { digests, mail, token, stopped: Arc::default() }
    }

    fn lease_until(&self, stamp: Stamp<'_>) -> i64 {
        stamp.after(Duration::from_secs(self.digests.plan.sending.lease_s.into()))
    }

    /// Has mails that are not begun given back: the node ends.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether no more mails are begun.
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Sends all mails whose time has come, also those that silent nodes had taken. Answers how many were taken.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn send_due(&self) -> Result<usize, DbError> {
        self.send_some(usize::MAX).await
    }

    /// The same, up to so many mails.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn send_some(&self, most: usize) -> Result<usize, DbError> {
        // most of the time there is nothing, and then nothing is written
        let (lapsed, due) = {
            let mut conn = self.digests.db.read().await?;
            digest_mails::outlook(&mut conn, self.digests.ctx.now()).await?
        };
        if lapsed {
            self.recover().await?;
        }
        if !due && !lapsed {
            return Ok(0);
        }
        let queue = Arc::new(Queue {
            sender: self.clone(),
            mails: Mutex::default(),
            fills: Mutex::default(),
            last: AtomicBool::new(false),
            away: AtomicBool::new(false),
            taken: AtomicUsize::new(0),
            most,
        });
        let (asks, committers): (Vec<_>, Vec<_>) = (0..at_once(self.digests.db.flavor()))
            .map(|_| {
                let (asks, asked) = mpsc::channel(2 * TOGETHER);
                (asks, tokio::spawn(commit(self.clone(), asked)))
            })
            .unzip();
        let workers = asks.iter().cycle().take(self.mail.relays.connections().max(1));
        let workers = workers.map(|asks| tokio::spawn(work(queue.clone(), asks.clone())));
        let worked = join_all(workers.collect::<Vec<_>>()).await;
        drop(asks);
        join_all(committers).await;
        for done in worked {
            // a worker that panicked leaves its mail to the lease
            if let Ok(Err(error)) = done {
                return Err(error);
            }
        }
        Ok(queue.taken.load(Ordering::Relaxed))
    }

    /// Takes back what silent nodes had.
    async fn recover(&self) -> Result<digest_mails::Recovered, DbError> {
        let digests = &self.digests;
        let mut tx = digests.db.begin().await?;
        let found = digest_mails::recover(&mut tx, Stamp { ctx: &digests.ctx, actor: ACTOR }).await?;
        tx.commit().await?;
        if found.in_doubt > 0 {
            tracing::error!(mails = found.in_doubt, "mails are in doubt: they may have gone, or not");
            metrics::counter!("lettercase_mails_in_doubt_total").increment(found.in_doubt);
        }
        Ok(found)
    }
}

/// Sends one mail after the other, as far as it can over one connection.
async fn work(queue: Arc<Queue>, asks: mpsc::Sender<Ask>) -> Result<(), DbError> {
    let sender = queue.sender.clone();
    let mut dialog: Option<Dialog> = None;
    while let Some(mail) = queue.next().await? {
        if sender.is_stopped() {
            give_back(mail, sender.digests.ctx.now(), &asks).await;
            continue;
        }
        dialog = match dialog {
            Some(dialog) => Some(dialog),
            None => match sender.mail.relays.connect().await {
                Ok(dialog) => Some(dialog),
                Err(away) => {
                    queue.away.store(true, Ordering::Relaxed);
                    give_back(mail, until(&sender, away), &asks).await;
                    continue;
                }
            },
        };
        if let Some(open) = dialog.take() {
            dialog = one(&sender, open, mail, &asks).await;
        }
    }
    Ok(())
}

/// Until when nothing is tried, where no relay can be had.
fn until(sender: &Sender, away: Away) -> Timestamp {
    let now = sender.digests.ctx.now();
    let rest = Duration::from_secs(sender.digests.plan.relays.breaker_rest_s.into());
    match away {
        Away::Resting(until) => until,
        _ => now.saturating_add(rest).unwrap_or(now),
    }
}

/// Nothing was said of the mail to any relay: it waits, and no try counts.
async fn give_back(mail: Taken, until: Timestamp, asks: &mpsc::Sender<Ask>) {
    let ended = Ended {
        id: mail.id,
        known: Known::Version(mail.version),
        state: MailState::Planned,
        reason: None,
        next_at: Some(until.as_microsecond()),
        counts: false,
    };
    let _ = asks.send(Ask::End { ended, suppress: None }).await;
}

/// One mail. Answers the connection, if it can be used for the next.
async fn one(sender: &Sender, mut dialog: Dialog, mail: Taken, asks: &mpsc::Sender<Ask>) -> Option<Dialog> {
    let policy = &sender.digests.plan.sending;
    let end = |ended: Ended, suppress| asks.send(Ask::End { ended, suppress });
    let begun = match (&mail.address, sender.mail.composer.return_path(&mail.brand)) {
        (Some(address), Some(from)) => dialog.begin(from, address.reveal()).await.map(|()| true),
        // without an address there is nothing to say to a relay: the look at the mail will tell why
        _ => Ok(false),
    };
    let begun = match begun {
        Ok(begun) => begun,
        Err(refused) => {
            let usable = refused.usable;
            let suppress = mail.address.clone().filter(|_| refused.is_about_address()).map(|address| Bounced {
                address,
                mail: mail.id.clone(),
                detail: refused.reason(),
            });
            let ended = refusal(policy, &mail, Known::Version(mail.version), &refused, sender);
            let _ = end(ended, suppress).await;
            return usable.then_some(dialog);
        }
    };
    stop_at(NAME, "begun").await;
    let (answer, ready) = oneshot::channel();
    let relay = dialog.relay().to_owned();
    let (id, tries, address) = (mail.id.clone(), mail.tries, mail.address.clone());
    if asks.send(Ask::Submit { mail: mail.clone(), relay, answer }).await.is_err() {
        dialog.abandon();
        return None;
    }
    let Ok(Some(ready)) = ready.await else {
        // nothing is left to tell, or somebody else has it: not a byte of its text goes
        if begun {
            dialog.abandon();
            return None;
        }
        return Some(dialog);
    };
    stop_at(NAME, "submitting").await;
    let known = Known::Submitted(ready.submitted_at);
    let again = |reason: &str, next_at| Ended {
        id: id.clone(),
        known,
        state: MailState::Retry,
        reason: Some(reason.to_owned()),
        next_at: Some(next_at),
        counts: true,
    };
    let now = sender.digests.ctx.now().as_microsecond();
    if !begun || ready.mail.address.as_ref().map(|to| to.reveal()) != address.as_ref().map(|to| to.reveal()) {
        // the address is another than a moment ago: the relay was told the old one
        let mut ended = again("address_changed", now);
        ended.counts = false;
        let _ = end(ended, None).await;
        dialog.abandon();
        return None;
    }
    let composed = match sender.compose(&ready) {
        Ok(composed) => composed,
        Err(error) => {
            tracing::error!(mail = id.as_str(), %error, "a mail can't be made");
            let ended = match error {
                ComposeError::Address => {
                    Ended { state: MailState::Rejected, next_at: None, ..again("no_such_address", now) }
                }
                // what is wrong with a template or a key can be mended
                _ => retry(policy, &mail, known, "can't be made", sender),
            };
            let _ = end(ended, None).await;
            dialog.abandon();
            return None;
        }
    };
    let said = dialog.body(&composed.bytes).await;
    stop_at(NAME, "answered").await;
    let (ended, usable) = match said {
        Ok(_) => (Ended { state: MailState::Accepted, reason: None, next_at: None, ..again("", now) }, true),
        Err(BodyError::Refused(refused)) => {
            let usable = refused.usable;
            (refusal(policy, &Taken { tries, ..mail }, known, &refused, sender), usable)
        }
        // it was not whole: a relay forgets what it did not get to its end
        Err(BodyError::CutOff) => (retry(policy, &mail, known, "cut_off", sender), false),
        Err(BodyError::Unknown) => {
            let ended = Ended { state: MailState::InDoubt, next_at: None, ..again("no_answer", now) };
            tracing::error!(mail = id.as_str(), "a mail is in doubt: the relay gave no answer");
            metrics::counter!("lettercase_mails_in_doubt_total").increment(1);
            (ended, false)
        }
    };
    let _ = end(ended, None).await;
    usable.then_some(dialog)
}

/// What becomes of a mail that was refused: what is not about it or its address, a relay may not say the next time.
fn refusal(policy: &SendingPolicy, mail: &Taken, known: Known, refused: &Refused, sender: &Sender) -> Ended {
    let reason = refused.reason();
    if refused.is_final() {
        return Ended {
            id: mail.id.clone(),
            known,
            state: MailState::Rejected,
            reason: Some(reason),
            next_at: None,
            counts: true,
        };
    }
    retry(policy, mail, known, &reason, sender)
}

/// Tried again after a while, or given up after the last try.
fn retry(policy: &SendingPolicy, mail: &Taken, known: Known, reason: &str, sender: &Sender) -> Ended {
    let last = mail.tries >= i64::from(policy.tries);
    let wait = wait(policy, mail.tries, &mail.id);
    let at =
        sender.digests.ctx.now().as_microsecond().saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX));
    Ended {
        id: mail.id.clone(),
        known,
        state: if last { MailState::Rejected } else { MailState::Retry },
        reason: Some(reason.to_owned()),
        next_at: (!last).then_some(at),
        counts: true,
    }
}

/// How long a mail waits after a failed try: twice as long each time, and up to a fifth more or less, by its id, so that
/// those that failed together do not come back together.
fn wait(policy: &SendingPolicy, tries: i64, id: &MailId) -> Duration {
    let doubled = u32::try_from(tries.clamp(1, 32) - 1).unwrap_or(31);
    let seconds = u64::from(policy.retry_first_s).saturating_mul(1 << doubled).min(policy.retry_longest_s.into());
    let hash = Sha256::digest(id.as_str().as_bytes());
    let spread = u64::from(hash.first().copied().unwrap_or(128));
    // 80 to 120 per cent
    Duration::from_millis(seconds * (800 + spread * 400 / 255))
}

impl Sender {
    fn compose(&self, told: &Told) -> Result<Composed, ComposeError> {
        let Told { mail, submitted_at, items, letters, shown } = told;
        let number = |n: i64| u64::try_from(n).unwrap_or_default();
        let named: Vec<MailItem> = shown.iter().map(|(tin, n)| MailItem::new(tin, number(*n))).collect();
        let content = MailContent {
            id: mail.id.clone(),
            brand: mail.brand.clone(),
            kind: mail.kind,
            to: mail.address.clone().ok_or(ComposeError::Address)?,
            to_name: mail.name.clone().unwrap_or_else(|| Phi(String::new())),
            more_practices: number(*items).saturating_sub(named.len() as u64),
            items: named,
            letters: number(*letters),
            at: Timestamp::from_microsecond(*submitted_at).map_err(|_| ComposeError::Message)?,
            zone: self.zone(),
            test: false,
        };
        self.mail.composer.compose(&content)
    }

    fn zone(&self) -> TimeZone {
        self.digests.calendar.zone().clone()
    }
}

/// Writes down what is asked for, as much as has come at once.
async fn commit(sender: Sender, mut asked: mpsc::Receiver<Ask>) {
    let mut asks = Vec::with_capacity(TOGETHER);
    while asked.recv_many(&mut asks, TOGETHER).await > 0 {
        let mut ends = Vec::new();
        let mut submits = Vec::new();
        for ask in asks.drain(..) {
            match ask {
                Ask::Submit { mail, relay, answer } => submits.push((mail, relay, answer)),
                Ask::End { ended, suppress } => ends.push((ended, suppress)),
            }
        }
        for (ended, _) in &ends {
            metrics::counter!("lettercase_mails_total", "state" => ended.state.as_str()).increment(1);
        }
        let mut tries = 0;
        let ready = loop {
            match sender.write(&ends, &submits).await {
                Ok(ready) => break Some(ready),
                Err(error) => {
                    tries += 1;
                    tracing::warn!(%error, "what relays said can't be written down");
                    if tries >= TRIES {
                        break None;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        if ready.is_none() && !ends.is_empty() {
            tracing::error!(
                mails = ends.len(),
                "what relays said was not written down: these mails come to be in doubt"
            );
        }
        stop_at(NAME, "committed").await;
        let mut ready = ready.unwrap_or_default();
        for (mail, _, answer) in submits {
            let _ = answer.send(ready.remove(&mail.id).map(Box::new));
        }
    }
}

type Submit = (Taken, String, oneshot::Sender<Option<Box<Told>>>);

impl Sender {
    async fn write(
        &self,
        ends: &[(Ended, Option<Bounced>)],
        submits: &[Submit],
    ) -> Result<HashMap<MailId, Told>, DbError> {
        let digests = &self.digests;
        let stamp = Stamp { ctx: &digests.ctx, actor: ACTOR };
        let mut tx = digests.db.begin().await?;
        let ended: Vec<Ended> = ends.iter().map(|(ended, _)| ended.clone()).collect();
        digest_mails::ended(&mut tx, stamp, &self.token, &ended).await?;
        for bounced in ends.iter().filter_map(|(_, suppress)| suppress.as_ref()) {
            let new = NewSuppression {
                address: &mail_address(bounced.address.reveal()),
                reason: SuppressionReason::Bounce,
                detail: Some(&bounced.detail),
                mail_id: Some(&bounced.mail),
            };
            if let Some(mail) = suppressions::mail(&mut tx, &bounced.mail).await? {
                suppress(&mut tx, stamp, &mail, new).await?;
            }
        }
        let wanted: Vec<Wanted> = submits
            .iter()
            .map(|(mail, relay, _)| Wanted {
                id: mail.id.clone(),
                version: mail.version,
                relay: relay.clone(),
                template_version: self.mail.composer.template_version(&mail.brand).unwrap_or_default(),
            })
            .collect();
        let lease = (self.token.as_ref(), self.lease_until(stamp));
        let mut ready = HashMap::new();
        let mut empty = Vec::new();
        for told in digests.submit(&mut tx, stamp, lease, &wanted).await? {
            let id = told.mail.id.clone();
            if told.is_empty() {
                let known = Known::Submitted(told.submitted_at);
                empty.push(Ended { id, known, state: MailState::Empty, reason: None, next_at: None, counts: true });
            } else {
                ready.insert(id, told);
            }
        }
        digest_mails::ended(&mut tx, stamp, &self.token, &empty).await?;
        stop_at(NAME, "written").await;
        tx.commit().await?;
        Ok(ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digests::plan::NotificationsPlan;

    #[test]
    fn a_mail_that_fails_waits_twice_as_long_each_time_up_to_a_bound_and_never_all_at_once() {
        let policy = NotificationsPlan::load(None).unwrap().plan.sending;
        let id = |n: u32| -> MailId {
            format!("meridian:2026-11-23:01234567-89ab-7cde-8f01-{n:012x}:claim_info").parse().unwrap()
        };
        for (tries, seconds) in [(1, 60), (2, 120), (3, 240), (4, 480), (9, 14_400), (1_000, 14_400)] {
            for n in 0..50 {
                let waits = wait(&policy, tries, &id(n)).as_secs_f64() / f64::from(seconds);
                assert!((0.8..=1.2).contains(&waits), "{tries}: {waits}");
            }
        }
        let first: std::collections::BTreeSet<Duration> = (0..50).map(|n| wait(&policy, 1, &id(n))).collect();
        assert!(first.len() > 30);
    }
}
