//! The Messaging Center's lists, for somebody with three practices and for an office with hundreds: read as the API
//! reads them, with the rows that it shows.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::lists::{any, nothing};
use crate::cli::CliError;
use crate::db::fill::messages as made;
use crate::db::messages::lists::{self, Reader, Wanted};
use crate::db::{Db, messages, users};
use crate::model::ids::{MessageId, UserId};
use crate::model::letter::LetterCategory;
use crate::model::message::{Folder, MessageType, words};
use crate::model::mode::Mode;
use crate::outside::context::Context;

/// Rows of a page.
const ROWS: usize = 50;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    /// Somebody with three practices.
    User,
    /// The office with hundreds.
    Office,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Inbox {
    /// The inbox from its beginning.
    First,
    /// From a random place.
    Page,
    /// Of a category.
    Category,
    /// Of a type.
    Type,
    /// Of a practice.
    Tin,
    /// What is not read.
    Unread,
    /// What is flagged.
    Flagged,
    /// What is archived.
    Archive,
    /// How much is unread.
    Counts,
    /// Search by a claim's number.
    ByClaim,
    /// By a name that one member in 200 has.
    ByName,
    /// By two words, one of them in each tenth message.
    ByWords,
    /// By a word that is in nearly half of all messages.
    ByCommonWord,
}

impl Inbox {
    /// Whether more messages of the user mean more work, up to a bound: unread ones are counted to 500 of a category, and
    /// a search looks at as many matches.
    pub(super) fn goes_by_what_is_there(self) -> bool {
        matches!(self, Self::Counts | Self::ByClaim | Self::ByName | Self::ByWords | Self::ByCommonWord)
    }
}

/// All of them, by the names they are printed under.
pub(super) const LISTS: &[(&str, Who, Inbox)] = &[
    ("inbox_first_page", Who::User, Inbox::First),
    ("inbox_page", Who::User, Inbox::Page),
    ("inbox_of_category_page", Who::User, Inbox::Category),
    ("inbox_of_type_page", Who::User, Inbox::Type),
    ("inbox_of_tin_page", Who::User, Inbox::Tin),
    ("inbox_unread_page", Who::User, Inbox::Unread),
    ("inbox_flagged_page", Who::User, Inbox::Flagged),
    ("inbox_archive_page", Who::User, Inbox::Archive),
    ("inbox_unread_counts", Who::User, Inbox::Counts),
    ("inbox_search_claim", Who::User, Inbox::ByClaim),
    ("inbox_search_name", Who::User, Inbox::ByName),
    ("inbox_search_words", Who::User, Inbox::ByWords),
    ("inbox_search_common_word", Who::User, Inbox::ByCommonWord),
    ("office_first_page", Who::Office, Inbox::First),
    ("office_page", Who::Office, Inbox::Page),
    ("office_of_category_page", Who::Office, Inbox::Category),
    ("office_of_type_page", Who::Office, Inbox::Type),
    ("office_of_tin_page", Who::Office, Inbox::Tin),
    ("office_unread_page", Who::Office, Inbox::Unread),
    ("office_flagged_page", Who::Office, Inbox::Flagged),
    ("office_archive_page", Who::Office, Inbox::Archive),
    ("office_unread_counts", Who::Office, Inbox::Counts),
    ("office_search_claim", Who::Office, Inbox::ByClaim),
    ("office_search_name", Who::Office, Inbox::ByName),
    ("office_search_words", Who::Office, Inbox::ByWords),
    ("office_search_common_word", Who::Office, Inbox::ByCommonWord),
];

/// One request, with getting a connection; the caller's rights are known by then.
pub(super) async fn ask(
    (who, inbox): (Who, Inbox),
    db: &Db,
    (made_messages, now): (i64, Timestamp),
    ctx: &Context,
) -> Result<Duration, CliError> {
    let number = any(ctx, made::READERS);
    let user: UserId = match who {
        Who::User => made::user(number).parse()?,
        Who::Office => made::OFFICE.parse()?,
    };
    let rights = users::rights(&mut *db.read().await?, &user).await?;
    let reader = Reader { user: &user, rights: &rights, mode: Mode::Live };
    // the office has each fourth practice
    let tin = made::tin(if matches!(who, Who::User) { number } else { number * 4 }).parse()?;
    // from a random place of the newer half: every list has more than a page behind it
    let from = made_messages / 2 + any(ctx, made_messages / 2);
    let place: (i64, MessageId) = (made::published_at(now, from), made::message_id(from).parse()?);
    let place = (!matches!(inbox, Inbox::First)).then_some((place.0, &place.1));
    let all = Wanted::default();
    let (wanted, text) = match inbox {
        Inbox::First | Inbox::Page | Inbox::Counts => (all, None),
        Inbox::Category => (Wanted { category: Some(LetterCategory::Claim), ..all }, None),
        Inbox::Type => (Wanted { what: Some(MessageType::Notice), ..all }, None),
        Inbox::Tin => (Wanted { tin: Some(tin), ..all }, None),
        Inbox::Unread => (Wanted { unread: true, ..all }, None),
        Inbox::Flagged => (Wanted { folder: Some(Folder::Flagged), ..all }, None),
        Inbox::Archive => (Wanted { folder: Some(Folder::Archive), ..all }, None),
        Inbox::ByClaim => (all, Some(made::claim(any(ctx, made_messages)))),
        Inbox::ByName => (all, Some(made::name(from))),
        Inbox::ByWords => (all, Some(format!("{} notice", made::given_name(from)))),
        Inbox::ByCommonWord => (all, Some("notice".to_owned())),
    };
    let began = Instant::now();
    let mut conn = db.read().await?;
    if matches!(inbox, Inbox::Counts) {
        let counted = lists::unread(&mut conn, reader, now).await?;
        let took = began.elapsed();
        return if counted.iter().all(|(_, unread)| *unread == 0) { Err(nothing()) } else { Ok(took) };
    }
    let listed = match &text {
        None => lists::list(&mut conn, reader, &wanted, now, place, ROWS).await?,
        Some(text) => lists::find(&mut conn, reader, &wanted, &words(text), now, None, ROWS).await?,
    };
    for id in &listed.messages {
        messages::get(&mut conn, id).await?;
        messages::marks(&mut conn, reader.user, id).await?;
    }
    let took = began.elapsed();
    // what is looked for may well be for others
    if listed.messages.is_empty() && text.is_none() { Err(nothing()) } else { Ok(took) }
}
