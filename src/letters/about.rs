//! Whom and what a letter concerns: what its asker names has to be what our rows say, or a letter about one practice's
//! patient would go to another.

use crate::db::case_files::{CaseFile, ClaimFacts};
use crate::db::letters::Addressee;
use crate::model::ids::{ClaimNumber, MemberId, Tin};

/// What an asker names. What is left out is taken from the rows.
#[derive(Debug, Clone)]
pub struct Named {
    /// Whom the letter is for.
    pub addressee: Addressee,
    /// The practice it concerns.
    pub tin: Option<Tin>,
    /// The member it is about.
    pub member_id: Option<MemberId>,
    /// The claim it is about.
    pub claim_number: Option<ClaimNumber>,
}

/// What a letter concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of a letter")]
pub struct About {
    pub tin: Option<Tin>,
    pub member_id: Option<MemberId>,
    pub claim_number: Option<ClaimNumber>,
}

/// Puts together what was named and what the rows of the case and of the claim say.
///
/// # Errors
/// Which two of them differ, in words without values.
pub fn about(named: Named, case: Option<&CaseFile>, claim: Option<&ClaimFacts>) -> Result<About, &'static str> {
    let (tin, member_id) = match named.addressee {
        Addressee::Tin(tin) => {
            (one(Some(tin), named.tin, "tin is another practice than the addressee")?, named.member_id)
        }
        Addressee::Member(member) => {
            (named.tin, one(Some(member), named.member_id, "member_id is another member than the addressee")?)
        }
    };
    let of_case = case.and_then(|case| case.claim_number.clone());
    let claim_number = one(named.claim_number, of_case, "claim_number is not the claim of the case")?;
    let tin = one(tin, case.map(|case| case.tin.clone()), "the case is of another practice")?;
    let tin = one(tin, claim.map(|claim| claim.tin.clone()), "the claim is of another practice")?;
    let member_id = one(member_id, case.map(|case| case.member_id.clone()), "the case is about another member")?;
    let member_id = one(member_id, claim.map(|claim| claim.member_id.clone()), "the claim is about another member")?;
    Ok(About { tin, member_id, claim_number })
}

/// The one value that two places say.
fn one<T: PartialEq>(a: Option<T>, b: Option<T>, differ: &'static str) -> Result<Option<T>, &'static str> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => Err(differ),
        (a, b) => Ok(a.or(b)),
    }
}
