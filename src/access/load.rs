//! Bulk loads of users, of their rights (OPS-13), of practices' paper settings (COR-12) and of users' choices of how often
//! they are told (COR-30). What an administrator loads counts as if it were done one by one: the same rules, the same events.

use std::io::Read;

use async_trait::async_trait;

use super::{Access, Expected, ManageError, Manager, paper as settings, users};
use crate::db::users::by_login;
use crate::db::{Conn, DbError, Stamp, digest_choices, reference};
use crate::engine::bulk::{self, Form, LoadError, LoadReport, Rows, Taker};
use crate::engine::installation_brand;
use crate::model::access::{Action, Target};
use crate::model::ids::UserId;
use crate::model::people::{
    ChoiceRecord, EntitlementRecord, Login, PaperRecord, PeopleKind, Person, Switch, UserRecord, Word,
};

/// A row.
#[derive(Debug)]
#[expect(missing_docs, reason = "each variant is the record of its name")]
pub enum Record {
    User(UserRecord),
    Entitlement(EntitlementRecord),
    Paper(PaperRecord),
    Choice(ChoiceRecord),
}

impl Rows for PeopleKind {
    type Record = Record;

    fn kind(&self) -> &'static str {
        self.as_str()
    }

    fn parse(&self, json: &[u8]) -> Result<Record, String> {
        Ok(match self {
            Self::Users => {
                let record: UserRecord = bulk::fields(json)?;
                person(&record).check()?;
                Record::User(record)
            }
            Self::Entitlements => Record::Entitlement(bulk::fields(json)?),
            Self::Paper => Record::Paper(bulk::fields(json)?),
            Self::Choices => Record::Choice(bulk::fields(json)?),
        })
    }
}

struct Writer<'a>(Manager<'a>);

#[async_trait]
impl Taker<PeopleKind> for Writer<'_> {
    async fn take(&self, conn: &mut Conn, stamp: Stamp<'_>, record: &Record) -> Result<Option<String>, DbError> {
        let taken = match record {
            Record::User(record) => user(conn, stamp, &self.0, record).await,
            Record::Entitlement(record) => entitlement(conn, stamp, &self.0, record).await,
            Record::Paper(record) => paper(conn, stamp, &self.0, record).await,
            Record::Choice(record) => choice(conn, stamp, &self.0, record).await,
        };
        match taken {
            Ok(()) => Ok(None),
            Err(ManageError::Db(error)) => Err(error),
            Err(refused) => Ok(Some(refused.to_string())),
        }
    }
}

impl Access {
    /// Loads a file of users, of their rights, of paper settings, or of users' choices.
    ///
    /// # Errors
    /// See [`LoadError`]; bad rows are no error, and neither are those that the caller may not change.
    pub async fn load(
        &self,
        by: Manager<'_>,
        kind: PeopleKind,
        form: Form,
        file: impl Read + Send + 'static,
    ) -> Result<LoadReport, LoadError> {
        let actor = by.actor();
        bulk::load(&self.db, self.stamp(&actor), kind, &Writer(by), form, file).await
    }
}

fn person(record: &UserRecord) -> Person {
    Person { name: record.name.clone(), email: record.email.clone() }
}

async fn user(conn: &mut Conn, stamp: Stamp<'_>, by: &Manager<'_>, record: &UserRecord) -> Result<(), ManageError> {
    let login = Login { issuer: record.issuer.clone(), subject: record.subject.clone() };
    // Before anything is written: a row is taken as a whole or not at all.
    if let (Some(roles), Some(known)) = (&record.roles, by_login(conn, &login).await?) {
        users::may_set_roles(by, &known, &roles.0)?;
    }
    let (mut user, _) = users::put_user(conn, stamp, by, &login, person(record), Expected::Any).await?;
    if let Some(roles) = &record.roles {
        user = users::set_roles(conn, stamp, by, user, roles.0.clone()).await?;
    }
    if let Some(disabled) = record.disabled {
        users::set_disabled(conn, stamp, user, disabled == Word::Yes).await?;
    }
    Ok(())
}

async fn entitlement(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    by: &Manager<'_>,
    record: &EntitlementRecord,
) -> Result<(), ManageError> {
    let login = Login { issuer: record.issuer.clone(), subject: record.subject.clone() };
    let user = by_login(conn, &login).await?.ok_or(ManageError::Missing("user"))?;
    let id: UserId = user.id;
    users::put_entitlement(conn, stamp, by, (&id, &record.tin), record.rights(), Expected::Any).await?;
    Ok(())
}

/// Users come to no bulk load, so what decides is whether who loads has to do with the TIN.
async fn paper(conn: &mut Conn, stamp: Stamp<'_>, by: &Manager<'_>, record: &PaperRecord) -> Result<(), ManageError> {
    by.may(Action::ManageUsers, &Target::Tin(&record.tin))?;
    let on = record.paper == Switch::On;
    settings::set_paper(conn, stamp, &record.tin, record.category, on, Expected::Any).await?;
    Ok(())
}

/// For a migration: what the user chose here since stays.
async fn choice(conn: &mut Conn, stamp: Stamp<'_>, by: &Manager<'_>, record: &ChoiceRecord) -> Result<(), ManageError> {
    by.may(Action::ManageUsers, &Target::Tin(&record.tin))?;
    if !digest_choices::CATEGORIES.contains(&record.category) {
        return Err(ManageError::Invalid("there is no choice for this category: appeals follow claims"));
    }
    let login = Login { issuer: record.issuer.clone(), subject: record.subject.clone() };
    let user = by_login(conn, &login).await?.ok_or(ManageError::Missing("user"))?;
    reference::tin_uid(conn, &record.tin).await?.ok_or(ManageError::Missing("TIN"))?;
    let of = (&user.id, &record.tin, record.category);
    match digest_choices::load(conn, stamp, &installation_brand(), of, record.cadence).await? {
        true => Ok(()),
        false => Err(ManageError::Invalid("the user has chosen here, and that stays")),
    }
}
