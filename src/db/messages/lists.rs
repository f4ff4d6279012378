//! Lists of messages as a user sees them now (COR-20, COR-21, COR-24).
//!
//! The inbox of a user is a merge: each practice and category is one stretch of the index `message_by_tin`, newest
//! first. One statement for all of them (`user_tin` joined with `message`, ordered by time) was not taken: SQLite sorts
//! all messages of all the user's practices for it, and PostgreSQL, by its statistics, either does the same or walks
//! the messages of everybody in the order of time until it has met enough of the user's own. Instead one statement for
//! each category looks for the newest message of each practice, which is one step down the index for each, and then
//! stretches are read, in parts, only where their newest message is next in the merge. So a page costs a look for each
//! practice and about as many rows as it shows, whatever the sum of messages.
//!
//! What a user filters by (unread, a type, what is hidden) is looked at row by row. A look ends after
//! [`LOOKED`] rows: the page is then shorter than it could be, and its cursor leads on.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::{Hidden, hidden};
use crate::db::{Conn, DbError, instant, number, opt_instant, opt_number, parsed, search, users};
use crate::model::access::TinRights;
use crate::model::ids::{MessageId, Tin, UserId};
use crate::model::letter::LetterCategory;
use crate::model::message::{Folder, MessageType};
use crate::model::mode::Mode;

/// Rows that one look goes through at most.
pub const LOOKED: usize = 5_000;
/// Parts of stretches that one look reads at most.
const PARTS: usize = 400;
/// Rows of a part.
const PART: i64 = 50;
/// Unread messages are counted up to this.
pub const COUNTED: i64 = 500;
/// Of so many practices and categories the marks are asked for with the words.
const MARKS: usize = 64;
/// The most messages that a search shows.
pub const FOUND: usize = 500;

/// A user, with the rights of this moment.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The user.
    pub user: &'a UserId,
    /// Rights per TIN.
    pub rights: &'a BTreeMap<Tin, TinRights>,
    /// Real or trial.
    pub mode: Mode,
}

impl Reader<'_> {
    /// Whether the user holds the entitlement for messages of that kind.
    pub fn sees(&self, tin: &Tin, category: LetterCategory) -> bool {
        self.rights.get(tin).is_some_and(|rights| rights.entitlements.contains(&category.entitlement()))
    }
}

/// Which messages are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// In which folder; none: the inbox.
    pub folder: Option<Folder>,
    /// Of one category only.
    pub category: Option<LetterCategory>,
    /// Of one type only.
    pub what: Option<MessageType>,
    /// Of one practice only.
    pub tin: Option<Tin>,
    /// Only what the user has not read.
    pub unread: bool,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The messages, newest first.
    pub messages: Vec<MessageId>,
    /// Behind which the list goes on: instant in microseconds, id.
    pub next: Option<(i64, MessageId)>,
}

/// As much of a message as a list is decided by.
#[derive(Debug)]
struct Line {
    at: i64,
    id: MessageId,
    tin: Tin,
    category: LetterCategory,
    what: MessageType,
    mode: Mode,
    online_until: Timestamp,
    offline: bool,
    read: bool,
    flagged: bool,
    archived: bool,
    deleted: bool,
}

/// What decides over a line.
struct Sieve<'a> {
    reader: Reader<'a>,
    wanted: &'a Wanted,
    hidden: BTreeSet<Hidden>,
    now: Timestamp,
}

impl Sieve<'_> {
    fn lets(&self, line: &Line) -> bool {
        let wanted = self.wanted;
        let folder = match wanted.folder.unwrap_or(Folder::Inbox) {
            Folder::Inbox => !line.archived,
            Folder::Flagged => line.flagged,
            Folder::Archive => line.archived,
        };
        folder
            && !line.deleted
            && !line.offline
            && line.mode == self.reader.mode
            && line.online_until > self.now
            && !(wanted.unread && line.read)
            && wanted.what.is_none_or(|what| what == line.what)
            && wanted.tin.as_ref().is_none_or(|tin| *tin == line.tin)
            && self.wants(line.category)
            && !self.hidden.contains(&(line.category, Some(line.what)))
            && self.reader.sees(&line.tin, line.category)
    }

    fn wants(&self, category: LetterCategory) -> bool {
        let (of, what) = (self.wanted.category, self.wanted.what);
        of.is_none_or(|of| of == category)
            && what.is_none_or(|what| what.is_of(category))
            && !self.hidden.contains(&(category, None))
    }
}

/// A statement's text: the columns that [`line`] reads, and the caller's tail.
macro_rules! select {
    ($from:literal) => {
        concat!(
            "SELECT m.id, m.published_at, m.tin, m.category, m.type, m.mode, m.online_until, m.offline_at,
                    k.read_at, k.flagged_at, k.archived_at, k.deleted_at ",
            $from
        )
    };
}

fn line(row: &AnyRow) -> Result<Line, DbError> {
    Ok(Line {
        at: number(row, "published_at")?,
        id: parsed(row, "id")?,
        tin: parsed(row, "tin")?,
        category: parsed(row, "category")?,
        what: parsed(row, "type")?,
        mode: parsed(row, "mode")?,
        online_until: instant(row, "online_until")?,
        offline: opt_instant(row, "offline_at")?.is_some(),
        read: opt_instant(row, "read_at")?.is_some(),
        flagged: opt_instant(row, "flagged_at")?.is_some(),
        archived: opt_instant(row, "archived_at")?.is_some(),
        deleted: opt_instant(row, "deleted_at")?.is_some(),
    })
}

/// Messages that a user sees, newest first, behind `before` (instant in microseconds, id).
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut Conn,
    reader: Reader<'_>,
    wanted: &Wanted,
    now: Timestamp,
    before: Option<(i64, &MessageId)>,
    limit: usize,
) -> Result<Listed, DbError> {
    let hidden = hidden(conn, reader.user).await?.into_iter().collect();
    let sieve = Sieve { reader, wanted, hidden, now };
    let before = before.map_or((i64::MAX, String::new()), |(at, id)| (at, id.as_str().to_owned()));
    let source = match wanted.folder.unwrap_or(Folder::Inbox) {
        Folder::Inbox => Source::Merge(Merge::of(conn, &sieve, &before).await?),
        folder => Source::Marked(Marked { folder, place: before, lines: VecDeque::new(), more: true }),
    };
    take(conn, &sieve, source, limit).await
}

/// Where lines come from, in the order of the list.
enum Source {
    Merge(Merge),
    Marked(Marked),
}

/// Takes lines until the page is full or the look is over.
async fn take(conn: &mut Conn, sieve: &Sieve<'_>, mut source: Source, limit: usize) -> Result<Listed, DbError> {
    let mut messages: Vec<(i64, MessageId)> = Vec::new();
    let (mut looked, mut parts) = (0, 0);
    loop {
        let next = match &mut source {
            Source::Merge(merge) => merge.next(conn, &sieve.reader, &mut parts).await?,
            Source::Marked(marked) => marked.next(conn, &sieve.reader, &mut parts).await?,
        };
        let Some(line) = next else {
            return Ok(Listed { messages: messages.into_iter().map(|(_, id)| id).collect(), next: None });
        };
        looked += 1;
        let place = (line.at, line.id.clone());
        let lets = sieve.lets(&line);
        if lets && messages.len() == limit {
            let next = messages.last().cloned();
            return Ok(Listed { messages: messages.into_iter().map(|(_, id)| id).collect(), next });
        }
        if lets {
            messages.push(place.clone());
        }
        if looked >= LOOKED || parts >= PARTS {
            return Ok(Listed { messages: messages.into_iter().map(|(_, id)| id).collect(), next: Some(place) });
        }
    }
}

/// The messages that a user marked, by the marks' own index.
struct Marked {
    folder: Folder,
    place: (i64, String),
    lines: VecDeque<Line>,
    more: bool,
}

impl Marked {
    async fn next(&mut self, conn: &mut Conn, reader: &Reader<'_>, parts: &mut usize) -> Result<Option<Line>, DbError> {
        if self.lines.is_empty() && self.more {
            let statement = match self.folder {
                Folder::Archive => {
                    select!(
                        "FROM message_mark k JOIN message m ON m.id = k.message_id
                         WHERE k.user_id = $1 AND k.archived_at IS NOT NULL AND k.deleted_at IS NULL
                         AND (k.published_at, k.message_id) < ($2, $3)
                         ORDER BY k.published_at DESC, k.message_id DESC LIMIT $4"
                    )
                }
                Folder::Flagged | Folder::Inbox => {
                    select!(
                        "FROM message_mark k JOIN message m ON m.id = k.message_id
                         WHERE k.user_id = $1 AND k.flagged_at IS NOT NULL AND k.deleted_at IS NULL
                         AND (k.published_at, k.message_id) < ($2, $3)
                         ORDER BY k.published_at DESC, k.message_id DESC LIMIT $4"
                    )
                }
            };
            let query = sqlx::query(statement).bind(reader.user.as_str()).bind(self.place.0).bind(self.place.1.clone());
            let rows = query.bind(PART).fetch_all(conn).await?;
            *parts += 1;
            self.more = rows.len() as i64 == PART;
            self.lines = rows.iter().map(line).collect::<Result<_, _>>()?;
            if let Some(last) = self.lines.back() {
                self.place = (last.at, last.id.as_str().to_owned());
            }
        }
        Ok(self.lines.pop_front())
    }
}

/// The stretch of one practice and category.
struct Stretch {
    tin: Tin,
    category: LetterCategory,
    place: (i64, String),
    lines: VecDeque<Line>,
    more: bool,
}

/// The stretches of a user, merged.
struct Merge {
    stretches: Vec<Stretch>,
    /// The newest place that a stretch can have next, and which: the line in hand, or a bound of what is not read yet.
    heads: BinaryHeap<((i64, String), usize)>,
}

/// Behind every id in the order of texts.
const BEHIND: &str = "~";

impl Merge {
    async fn of(conn: &mut Conn, sieve: &Sieve<'_>, before: &(i64, String)) -> Result<Self, DbError> {
        let mut merge = Self { stretches: Vec::new(), heads: BinaryHeap::new() };
        for category in LetterCategory::ALL.iter().copied().filter(|category| sieve.wants(*category)) {
            let rows = sqlx::query(
                "SELECT t.tin, (SELECT m.published_at FROM message m
                                WHERE m.offline_at IS NULL AND m.mode = $2 AND m.tin = t.tin AND m.category = $3
                                AND m.published_at <= $4 ORDER BY m.published_at DESC, m.id DESC LIMIT 1) AS newest
                 FROM user_tin t WHERE t.user_id = $1 AND ($5 = '' OR t.tin = $5)",
            )
            .bind(sieve.reader.user.as_str())
            .bind(sieve.reader.mode.as_str())
            .bind(category.as_str())
            .bind(before.0)
            .bind(sieve.wanted.tin.as_ref().map_or("", Tin::as_str))
            .fetch_all(&mut *conn)
            .await?;
            for row in &rows {
                let (tin, newest): (Tin, _) = (parsed(row, "tin")?, opt_number(row, "newest")?);
                let Some(newest) = newest.filter(|_| sieve.reader.sees(&tin, category)) else { continue };
                merge.heads.push(((newest, BEHIND.to_owned()), merge.stretches.len()));
                let place = before.clone();
                merge.stretches.push(Stretch { tin, category, place, lines: VecDeque::new(), more: true });
            }
        }
        Ok(merge)
    }

    async fn next(&mut self, conn: &mut Conn, reader: &Reader<'_>, parts: &mut usize) -> Result<Option<Line>, DbError> {
        while let Some((_, which)) = self.heads.pop() {
            let Some(stretch) = self.stretches.get_mut(which) else { continue };
            if let Some(line) = stretch.lines.pop_front() {
                match stretch.lines.front() {
                    Some(front) => self.heads.push(((front.at, front.id.as_str().to_owned()), which)),
                    None if stretch.more => self.heads.push((stretch.place.clone(), which)),
                    None => {}
                }
                return Ok(Some(line));
            }
            if stretch.more {
                stretch.read(conn, reader).await?;
                *parts += 1;
                if let Some(front) = stretch.lines.front() {
                    self.heads.push(((front.at, front.id.as_str().to_owned()), which));
                }
            }
        }
        Ok(None)
    }
}

impl Stretch {
    async fn read(&mut self, conn: &mut Conn, reader: &Reader<'_>) -> Result<(), DbError> {
        let rows = sqlx::query(select!(
            "FROM message m LEFT JOIN message_mark k ON k.user_id = $1 AND k.message_id = m.id
             WHERE m.offline_at IS NULL AND m.mode = $2 AND m.tin = $3 AND m.category = $4
             AND (m.published_at, m.id) < ($5, $6) ORDER BY m.published_at DESC, m.id DESC LIMIT $7"
        ))
        .bind(reader.user.as_str())
        .bind(reader.mode.as_str())
        .bind(self.tin.as_str())
        .bind(self.category.as_str())
        .bind(self.place.0)
        .bind(self.place.1.clone())
        .bind(PART)
        .fetch_all(conn)
        .await?;
        self.more = rows.len() as i64 == PART;
        self.lines = rows.iter().map(line).collect::<Result<_, _>>()?;
        if let Some(last) = self.lines.back() {
            self.place = (last.at, last.id.as_str().to_owned());
        }
        Ok(())
    }
}

/// Messages that a user sees and that have words beginning with all of these, newest first. Of the matches the newest
/// are looked at, up to [`LOOKED`], and shown up to [`FOUND`]; whoever has more says more words.
///
/// # Errors
/// When the database fails.
pub async fn find(
    conn: &mut Conn,
    reader: Reader<'_>,
    wanted: &Wanted,
    words: &[String],
    now: Timestamp,
    before: Option<(i64, &MessageId)>,
    limit: usize,
) -> Result<Listed, DbError> {
    let hidden = hidden(conn, reader.user).await?.into_iter().collect();
    let sieve = Sieve { reader, wanted, hidden, now };
    let all = reader.rights.keys().filter(|tin| wanted.tin.as_ref().is_none_or(|wanted| wanted == *tin));
    let all = all.flat_map(|tin| LetterCategory::ALL.iter().map(move |category| (tin.clone(), *category)));
    let mut among: Vec<(Tin, LetterCategory)> =
        all.filter(|(tin, category)| reader.sees(tin, *category) && sieve.wants(*category)).take(MARKS + 1).collect();
    if among.is_empty() || words.is_empty() {
        return Ok(Listed { messages: Vec::new(), next: None });
    }
    if among.len() > MARKS {
        among.clear();
    }
    let (mut behind, mut looked) = (i64::MAX, 0);
    let mut found: Vec<(i64, MessageId)> = Vec::new();
    while looked < LOOKED && found.len() < FOUND {
        let part = search::find(conn, reader.user, words, &among, behind, FOUND as i64).await?;
        for row in &part {
            let line = line(row)?;
            (behind, looked) = (number(row, "number")?, looked + 1);
            if sieve.lets(&line) {
                found.push((line.at, line.id));
            }
        }
        if part.len() < FOUND {
            break;
        }
    }
    found.sort_by(|one, other| other.cmp(one));
    found.truncate(FOUND);
    if let Some((at, id)) = before {
        found.retain(|(found_at, found_id)| (*found_at, found_id) < (at, id));
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().cloned().filter(|_| more);
    Ok(Listed { messages: found.into_iter().map(|(_, id)| id).collect(), next })
}

async fn line_of(conn: &mut Conn, user: &UserId, id: &MessageId) -> Result<Option<Line>, DbError> {
    let row = sqlx::query(select!(
        "FROM message m LEFT JOIN message_mark k ON k.user_id = $1 AND k.message_id = m.id WHERE m.id = $2"
    ))
    .bind(user.as_str())
    .bind(id.as_str())
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(line).transpose()
}

/// Whether a user sees a message in the Messaging Center now. What is hidden by choice is there for who has its id.
///
/// # Errors
/// When the database fails.
pub async fn is_there(conn: &mut Conn, reader: Reader<'_>, id: &MessageId, now: Timestamp) -> Result<bool, DbError> {
    let Some(line) = line_of(conn, reader.user, id).await? else { return Ok(false) };
    Ok(!line.deleted
        && !line.offline
        && line.online_until > now
        && line.mode == reader.mode
        && reader.sees(&line.tin, line.category))
}

/// How many messages of a user's inbox are unread, per category, each up to [`COUNTED`]. What is hidden counts not.
///
/// # Errors
/// When the database fails.
pub async fn unread(
    conn: &mut Conn,
    reader: Reader<'_>,
    now: Timestamp,
) -> Result<Vec<(LetterCategory, i64)>, DbError> {
    let hidden: BTreeSet<Hidden> = hidden(conn, reader.user).await?.into_iter().collect();
    // who speaks for the user may do so for some of the practices only: each of these is then counted for itself
    let whole = users::rights(conn, reader.user).await? == *reader.rights;
    let mut all = Vec::new();
    for category in LetterCategory::ALL.iter().copied().filter(|category| !hidden.contains(&(*category, None))) {
        let mut sum = 0;
        if whole {
            sum = count(conn, reader, category, "", now).await?;
        } else {
            for tin in reader.rights.keys().filter(|tin| reader.sees(tin, category)) {
                sum += count(conn, reader, category, tin.as_str(), now).await?;
                if sum >= COUNTED {
                    break;
                }
            }
        }
        all.push((category, sum.min(COUNTED)));
    }
    Ok(all)
}

async fn count(
    conn: &mut Conn,
    reader: Reader<'_>,
    category: LetterCategory,
    tin: &str,
    now: Timestamp,
) -> Result<i64, DbError> {
    // CROSS: SQLite would walk through the messages of everybody and ask for each whether it is the user's
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM (
            SELECT m.id FROM user_tin t CROSS JOIN message m
            LEFT JOIN message_mark k ON k.user_id = $1 AND k.message_id = m.id
            WHERE t.user_id = $1 AND ' ' || t.entitlements || ' ' LIKE $4 ESCAPE '!' AND ($5 = '' OR t.tin = $5)
            AND m.tin = t.tin AND m.mode = $2 AND m.category = $3 AND m.offline_at IS NULL
            AND m.online_until > $6 AND k.read_at IS NULL AND k.archived_at IS NULL AND k.deleted_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM message_hidden h
                            WHERE h.user_id = $1 AND h.category = m.category AND h.type = m.type)
            LIMIT $7) AS unread",
    )
    .bind(reader.user.as_str())
    .bind(reader.mode.as_str())
    .bind(category.as_str())
    .bind(users::entitled(category.entitlement()))
    .bind(tin)
    .bind(now.as_microsecond())
    .bind(COUNTED)
    .fetch_one(conn)
    .await?;
    number(&row, "n")
}
