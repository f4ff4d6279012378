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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::civil::date;

    use super::*;
    use crate::model::case::{CaseKind, CaseStatus, ClaimStatus, ReconsiderationStatus};

    const CLAIM: &str = "CL2638150472";
    const PRACTICE: &str = "004417203";
    const MEMBER: &str = "MH40726183";

    fn case(claim: Option<&str>) -> CaseFile {
        CaseFile {
            id: "01980000-0000-7000-8000-000000000001".parse().unwrap(),
            brand: "meridian".parse().unwrap(),
            kind: CaseKind::Reconsideration,
            case_number: "RC-7K4M9TX2".parse().unwrap(),
            status: CaseStatus::Reconsideration(ReconsiderationStatus::Received),
            claim_number: claim.map(|claim| claim.parse().unwrap()),
            opened_at: Timestamp::UNIX_EPOCH,
            closed_at: None,
            tin: PRACTICE.parse().unwrap(),
            member_id: MEMBER.parse().unwrap(),
            deadline_at: None,
            sensitive: false,
            version: 0,
        }
    }

    fn claim() -> ClaimFacts {
        ClaimFacts {
            claim_number: CLAIM.parse().unwrap(),
            member_id: MEMBER.parse().unwrap(),
            tin: PRACTICE.parse().unwrap(),
            npi: None,
            status: ClaimStatus::Denied,
            service: (date(2026, 6, 11), date(2026, 6, 11)),
            processed_on: None,
        }
    }

    /// To (a TIN, else a member), the practice, the member and the claim named.
    type Said = (&'static str, Option<&'static str>, Option<&'static str>, Option<&'static str>);

    fn named((to, tin, member_id, claim_number): Said) -> Named {
        Named {
            addressee: to.parse().map_or_else(|_| Addressee::Member(to.parse().unwrap()), Addressee::Tin),
            tin: tin.map(|tin| tin.parse().unwrap()),
            member_id: member_id.map(|member| member.parse().unwrap()),
            claim_number: claim_number.map(|claim| claim.parse().unwrap()),
        }
    }

    #[test]
    fn what_is_named_must_be_what_case_and_claim_say_and_what_is_not_named_is_theirs() {
        const OTHER_TIN: &str = "005820914";
        const OTHER_MEMBER: &str = "MH27390641";
        const OTHER_CLAIM: &str = "CL2683604951";
        let (of_claim, bare) = (case(Some(CLAIM)), case(None));
        let claim = claim();
        let whole = Ok((Some(PRACTICE), Some(MEMBER), Some(CLAIM)));
        type Told = Result<(Option<&'static str>, Option<&'static str>, Option<&'static str>), &'static str>;
        let table: &[(Said, Option<&CaseFile>, Option<&ClaimFacts>, Told)] = &[
            ((PRACTICE, None, None, None), None, None, Ok((Some(PRACTICE), None, None))),
            ((MEMBER, None, None, None), None, None, Ok((None, Some(MEMBER), None))),
            ((PRACTICE, None, None, Some(CLAIM)), None, Some(&claim), whole),
            ((MEMBER, None, None, Some(CLAIM)), None, Some(&claim), whole),
            ((PRACTICE, None, None, None), Some(&of_claim), Some(&claim), whole),
            ((MEMBER, None, None, None), Some(&of_claim), Some(&claim), whole),
            ((PRACTICE, Some(PRACTICE), Some(MEMBER), Some(CLAIM)), Some(&of_claim), Some(&claim), whole),
            ((PRACTICE, None, None, None), Some(&bare), None, Ok((Some(PRACTICE), Some(MEMBER), None))),
            ((PRACTICE, None, None, Some(CLAIM)), Some(&bare), Some(&claim), whole),
            // a claim that is not known says nothing; the letter is refused when it is composed
            ((PRACTICE, None, None, Some(OTHER_CLAIM)), None, None, Ok((Some(PRACTICE), None, Some(OTHER_CLAIM)))),
            ((PRACTICE, Some(OTHER_TIN), None, None), None, None, Err("tin is another practice than the addressee")),
            (
                (MEMBER, None, Some(OTHER_MEMBER), None),
                None,
                None,
                Err("member_id is another member than the addressee"),
            ),
            (
                (PRACTICE, None, None, Some(OTHER_CLAIM)),
                Some(&of_claim),
                Some(&claim),
                Err("claim_number is not the claim of the case"),
            ),
            ((OTHER_TIN, None, None, None), Some(&of_claim), Some(&claim), Err("the case is of another practice")),
            ((MEMBER, Some(OTHER_TIN), None, None), Some(&bare), None, Err("the case is of another practice")),
            ((OTHER_TIN, None, None, Some(CLAIM)), None, Some(&claim), Err("the claim is of another practice")),
            ((MEMBER, Some(OTHER_TIN), None, Some(CLAIM)), None, Some(&claim), Err("the claim is of another practice")),
            ((OTHER_MEMBER, None, None, None), Some(&of_claim), Some(&claim), Err("the case is about another member")),
            ((PRACTICE, None, Some(OTHER_MEMBER), None), Some(&bare), None, Err("the case is about another member")),
            ((OTHER_MEMBER, None, None, Some(CLAIM)), None, Some(&claim), Err("the claim is about another member")),
            (
                (PRACTICE, None, Some(OTHER_MEMBER), Some(CLAIM)),
                None,
                Some(&claim),
                Err("the claim is about another member"),
            ),
        ];
        for (said, case, claim, expected) in table {
            let expected = expected.map(|(tin, member, claim)| About {
                tin: tin.map(|tin| tin.parse().unwrap()),
                member_id: member.map(|member| member.parse().unwrap()),
                claim_number: claim.map(|claim| claim.parse().unwrap()),
            });
            assert_eq!(about(named(*said), *case, *claim), expected, "{said:?}");
        }
    }
}
