//! Legal holds: put and lifted by persons, and which records one is for.

use super::{Retention, RetentionError};
use crate::db::retention::candidates::Candidate;
use crate::db::retention::holds::{self, Kept, LegalHold};
use crate::db::{Conn, DbError, Stamp, case_files, reference};
use crate::model::ids::{Brand, LegalHoldId, MemberId, Tin};
use crate::model::reason;

impl Retention {
    /// Puts a hold. What a run has destroyed by then is gone; it begins with nothing more that the hold keeps.
    ///
    /// # Errors
    /// See [`RetentionError`].
    pub async fn hold(
        &self,
        stamp: Stamp<'_>,
        brand: &Brand,
        kept: &Kept,
        reason: &str,
    ) -> Result<LegalHold, RetentionError> {
        let reason = reason::check(reason).map_err(RetentionError::Invalid)?;
        let mut tx = self.db.begin().await?;
        holds::pass_gate(&mut tx, stamp.actor).await?;
        match kept {
            Kept::Case(case) => {
                let case = case_files::get(&mut tx, case).await?;
                case.filter(|case| case.brand == *brand).ok_or(RetentionError::Nothing("case"))?;
            }
            Kept::Tin(tin) => {
                reference::tin_uid(&mut tx, tin).await?.ok_or(RetentionError::Nothing("TIN"))?;
            }
            Kept::Member(member) if !holds::knows_member(&mut tx, brand, member).await? => {
                return Err(RetentionError::Nothing("member"));
            }
            Kept::Member(_) => {}
        }
        let hold = holds::put(&mut tx, stamp, brand, kept, reason).await?.ok_or(RetentionError::Exists)?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(hold)
    }

    /// Lifts a hold: what it kept goes with the next run that finds it due. One that is lifted already stays so.
    ///
    /// # Errors
    /// See [`RetentionError`].
    pub async fn release(
        &self,
        stamp: Stamp<'_>,
        id: &LegalHoldId,
        version: Option<i64>,
    ) -> Result<LegalHold, RetentionError> {
        let mut tx = self.db.begin().await?;
        let hold = holds::get(&mut tx, id).await?.ok_or(RetentionError::NoHold)?;
        if version.is_some_and(|version| version != hold.version) {
            return Err(RetentionError::Conflict("hold"));
        }
        if hold.lifted_at.is_some() {
            return Ok(hold);
        }
        holds::lift(&mut tx, stamp, &hold).await?;
        let lifted = holds::get(&mut tx, id).await?.ok_or(RetentionError::NoHold)?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(lifted)
    }
}

/// Whether one of the holds is for a record. The claims that it names are asked for their practice and member, too.
pub(super) async fn is_held(conn: &mut Conn, one: &Candidate, standing: &[LegalHold]) -> Result<bool, DbError> {
    let ours: Vec<&Kept> = standing.iter().filter(|hold| hold.brand == one.brand).map(|hold| &hold.kept).collect();
    if ours.is_empty() {
        return Ok(false);
    }
    let is = |kept: &Kept, tins: &[Tin], members: &[MemberId]| match kept {
        Kept::Case(case) => one.case_id.as_ref() == Some(case),
        Kept::Tin(tin) => tins.contains(tin),
        Kept::Member(member) => members.contains(member),
    };
    if ours.iter().any(|kept| is(kept, &one.tins, &one.members)) {
        return Ok(true);
    }
    for number in &one.claims {
        let Some(claim) = case_files::claim(conn, &one.brand, number).await? else { continue };
        if ours.iter().any(|kept| is(kept, std::slice::from_ref(&claim.tin), std::slice::from_ref(&claim.member_id))) {
            return Ok(true);
        }
    }
    Ok(false)
}
