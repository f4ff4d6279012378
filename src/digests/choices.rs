//! What users chose (COR-30). A choice is its user's own: a service may speak for the user, others only look. It counts from
//! the next run on; what was left out before stays so.

use std::collections::BTreeMap;

use super::Digests;
use crate::access::{Expected, ManageError};
use crate::db::digest_choices::{self, CATEGORIES, OfTin};
use crate::db::{DbError, Stamp, users};
use crate::engine::installation_brand;
use crate::model::access::TinRights;
use crate::model::digest::{Cadence, ChoiceSource};
use crate::model::ids::{MailId, Tin, UserId};
use crate::model::letter::LetterCategory;

/// How often a user is told of a practice's letters of a category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The practice.
    pub tin: Tin,
    /// The category.
    pub category: LetterCategory,
    /// How often.
    pub cadence: Cadence,
    /// The user's choice; `None`: it is what policy starts with.
    pub choice: Option<digest_choices::Choice>,
}

/// A part of a user's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenPage {
    /// In the order of our own ids of the practices.
    pub items: Vec<Chosen>,
    /// Behind which practice, by that id, it goes on.
    pub next: Option<String>,
}

impl Digests {
    /// What a user is told how often, for each practice and category that the user may read: up to `limit` practices behind
    /// `after`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn choices_of(&self, user: &UserId, after: Option<&str>, limit: i64) -> Result<ChosenPage, DbError> {
        let mut conn = self.db.read().await?;
        let tins = digest_choices::list(&mut conn, user, after.unwrap_or_default(), limit).await?;
        let next = tins.last().filter(|_| tins.len() as i64 == limit).map(|last| last.uid.clone());
        Ok(ChosenPage { items: tins.into_iter().flat_map(|of| self.of_tin(of)).collect(), next })
    }

    fn of_tin(&self, of: OfTin) -> Vec<Chosen> {
        let starts_with = self.plan.choices.starts_with;
        let chosen = |(category, choice): (LetterCategory, Option<digest_choices::Choice>)| Chosen {
            tin: of.tin.clone(),
            category,
            cadence: choice.as_ref().map_or(starts_with, |choice| choice.cadence),
            choice,
        };
        of.choices.into_iter().map(chosen).collect()
    }

    /// Writes a user's own choice for a practice and category; who calls has seen to it that it is the user, with these
    /// rights. That it was so chosen before is no change.
    ///
    /// # Errors
    /// When the user may not read such letters of the practice, when the choice has changed since it was seen, and for
    /// appeals, which follow claims.
    pub async fn choose(
        &self,
        actor: &str,
        (user, rights): (&UserId, &BTreeMap<Tin, TinRights>),
        (tin, category): (&Tin, LetterCategory),
        cadence: Cadence,
        expected: Expected,
    ) -> Result<Chosen, ManageError> {
        there_is_a_choice_for(category)?;
        if !rights.get(tin).is_some_and(|rights| rights.entitlements.contains(&category.entitlement())) {
            return Err(ManageError::Missing("TIN"));
        }
        let stamp = Stamp { ctx: &self.ctx, actor };
        let mut tx = self.db.begin().await?;
        let known = digest_choices::get(&mut tx, user, tin, category).await?;
        let version = known.as_ref().map(|choice| choice.version);
        let met = match expected {
            Expected::Any => true,
            Expected::Absent | Expected::Version(0) => version.is_none(),
            Expected::Version(seen) => version == Some(seen),
        };
        let conflict = || ManageError::Conflict { what: "choice", version };
        if !met {
            return Err(conflict());
        }
        let same = known.as_ref().is_some_and(|it| it.cadence == cadence && it.source == ChoiceSource::User);
        if !same {
            let (of, to) = ((user, tin, category), (cadence, ChoiceSource::User));
            let known = (version, self.plan.choices.starts_with);
            let put = digest_choices::put(&mut tx, stamp, &installation_brand(), of, to, known).await;
            put.map_err(|error| if error.is_conflict() { conflict() } else { error.into() })?;
        }
        let choice = digest_choices::get(&mut tx, user, tin, category).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(Chosen { tin: tin.clone(), category, cadence, choice })
    }

    /// Writes a user's own choice for all practices whose letters of a category the user may read, as far as who calls
    /// speaks for the user there. Answers how many changed.
    ///
    /// # Errors
    /// For appeals, which follow claims, and when the database fails.
    pub async fn choose_all(
        &self,
        actor: &str,
        (user, rights): (&UserId, &BTreeMap<Tin, TinRights>),
        category: LetterCategory,
        cadence: Cadence,
    ) -> Result<u64, ManageError> {
        there_is_a_choice_for(category)?;
        let stamp = Stamp { ctx: &self.ctx, actor };
        let mut tx = self.db.begin().await?;
        let (brand, starts_with) = (installation_brand(), self.plan.choices.starts_with);
        let changed = if users::rights(&mut tx, user).await? == *rights {
            digest_choices::put_all(&mut tx, stamp, &brand, (user, category), cadence, starts_with).await?
        } else {
            let mut changed = 0;
            let readable = |rights: &TinRights| rights.entitlements.contains(&category.entitlement());
            for tin in rights.iter().filter(|(_, rights)| readable(rights)).map(|(tin, _)| tin) {
                let known = digest_choices::get(&mut tx, user, tin, category).await?;
                if known.as_ref().is_none_or(|it| it.cadence != cadence || it.source != ChoiceSource::User) {
                    let (of, to) = ((user, tin, category), (cadence, ChoiceSource::User));
                    let known = (known.map(|it| it.version), starts_with);
                    digest_choices::put(&mut tx, stamp, &brand, of, to, known).await?;
                    changed += 1;
                }
            }
            changed
        };
        tx.commit().await.map_err(DbError::from)?;
        Ok(changed)
    }

    /// What one-click unsubscribe does (COR-34): turns off, for a mail's user, what the mail told of and nothing else.
    /// `None`: there is no such mail. Answers how many choices changed; done again it changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn off_for_mail(&self, mail: &MailId) -> Result<Option<u64>, DbError> {
        let stamp = Stamp { ctx: &self.ctx, actor: "unsubscribe" };
        let mut tx = self.db.begin().await?;
        let changed = digest_choices::off_for_mail(&mut tx, stamp, &installation_brand(), mail).await?;
        tx.commit().await?;
        Ok(changed)
    }
}

fn there_is_a_choice_for(category: LetterCategory) -> Result<(), ManageError> {
    match CATEGORIES.contains(&category) {
        true => Ok(()),
        false => Err(ManageError::Invalid("there is no choice for this category: appeals follow claims")),
    }
}
