//! Reference data as other systems send it: members, claims, cases, practices, providers.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;

use crate::codes;
use crate::model::address::Address;
use crate::model::case::{CaseKind, CaseStatus, ClaimStatus};
use crate::model::ids::{AttachmentControlNumber, Brand, CaseNumber, ClaimNumber, MemberId, Npi, Tin};
use crate::model::phi::Phi;

codes! {
    /// The kinds of reference data.
    pub enum ReferenceKind {
        /// Practices.
        Tins = "tins",
        /// Providers.
        Providers = "providers",
        /// Members.
        Members = "members",
        /// Claims.
        Claims = "claims",
        /// Cases.
        Cases = "cases",
    }
}

impl ReferenceKind {
    /// Whether each record belongs to a brand; practices and providers belong to none.
    pub const fn has_brand(self) -> bool {
        matches!(self, Self::Members | Self::Claims | Self::Cases)
    }
}

codes! {
    /// Whether a case holds behavioral or substance-use records, as text: CSV has no other.
    pub enum Sensitive {
        /// It does.
        Yes = "true",
        /// It does not.
        No = "false",
    }
}

/// A practice.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the word of the vocabulary")]
pub struct TinRecord {
    pub tin: Tin,
    pub name: String,
    #[serde(default)]
    pub address_line_1: Option<String>,
    #[serde(default)]
    pub address_line_2: Option<String>,
    #[serde(default)]
    pub city: Option<String>,
    #[serde(default)]
    pub state: Option<String>,
    #[serde(default)]
    pub zip: Option<String>,
    /// Where its letters by fax go: ten digits.
    #[serde(default)]
    pub fax: Option<String>,
    /// The day it registered for digital correspondence (COR-10). A load that does not say leaves it, the address and
    /// the fax as they are.
    #[serde(default)]
    pub registered_on: Option<Date>,
}

/// A provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the word of the vocabulary")]
pub struct ProviderRecord {
    pub npi: Npi,
    pub name: String,
    pub tin: Tin,
}

/// A member.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the word of the vocabulary")]
pub struct MemberRecord {
    pub brand: Brand,
    pub member_id: MemberId,
    pub first_name: Phi<String>,
    pub last_name: Phi<String>,
    pub birth_date: Phi<Date>,
    #[serde(default)]
    pub account: Option<String>,
    #[serde(default)]
    pub address_line_1: Option<Phi<String>>,
    #[serde(default)]
    pub address_line_2: Option<Phi<String>>,
    #[serde(default)]
    pub city: Option<Phi<String>>,
    #[serde(default)]
    pub state: Option<Phi<String>>,
    #[serde(default)]
    pub zip: Option<Phi<String>>,
    /// The plan's code, as the payer names it (COR-03). A load that does not say leaves it and the address as they are.
    #[serde(default)]
    pub plan: Option<String>,
}

impl TinRecord {
    /// Its address, if the record has one.
    ///
    /// # Errors
    /// Names the field and the rule, without the value.
    pub fn address(&self) -> Result<Option<Address>, String> {
        let lines = [self.address_line_1.as_deref(), self.address_line_2.as_deref()];
        Address::from_fields(lines, self.city.as_deref(), self.state.as_deref(), self.zip.as_deref())
    }
}

impl MemberRecord {
    /// Their address, if the record has one.
    ///
    /// # Errors
    /// Names the field and the rule, without the value.
    pub fn address(&self) -> Result<Option<Phi<Address>>, String> {
        fn of(field: Option<&Phi<String>>) -> Option<&str> {
            field.map(|text| text.reveal().as_str())
        }
        let lines = [of(self.address_line_1.as_ref()), of(self.address_line_2.as_ref())];
        let address =
            Address::from_fields(lines, of(self.city.as_ref()), of(self.state.as_ref()), of(self.zip.as_ref()))?;
        Ok(address.map(Phi))
    }
}

/// A claim.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the word of the vocabulary")]
pub struct ClaimRecord {
    pub brand: Brand,
    pub claim_number: ClaimNumber,
    pub member_id: MemberId,
    pub tin: Tin,
    #[serde(default)]
    pub npi: Option<Npi>,
    pub status: ClaimStatus,
    pub service_from: Date,
    pub service_to: Date,
    #[serde(default)]
    pub processed_on: Option<Date>,
}

/// A case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the word of the vocabulary")]
pub struct CaseRecord {
    pub brand: Brand,
    pub case_number: CaseNumber,
    pub kind: CaseKind,
    pub status: String,
    pub member_id: MemberId,
    pub tin: Tin,
    #[serde(default)]
    pub npi: Option<Npi>,
    #[serde(default)]
    pub claim_number: Option<ClaimNumber>,
    #[serde(default)]
    pub attachment_control_number: Option<AttachmentControlNumber>,
    #[serde(default)]
    pub service_from: Option<Date>,
    #[serde(default)]
    pub service_to: Option<Date>,
    pub opened_on: Date,
    #[serde(default)]
    pub closed_on: Option<Date>,
    /// The case's own nearest deadline, an instant with its offset (OPS-02).
    #[serde(default)]
    pub deadline_at: Option<Timestamp>,
    /// Whether it holds behavioral or substance-use records (OPS-17). A load that does not say leaves it as it is.
    #[serde(default)]
    pub sensitive: Option<Sensitive>,
}

/// A record of one of the kinds, checked as far as it can be by itself.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each variant is the record of its name")]
pub enum Record {
    Tin(TinRecord),
    Provider(ProviderRecord),
    Member(MemberRecord),
    Claim(ClaimRecord),
    Case(CaseRecord, CaseStatus),
}

impl Record {
    /// The brand it belongs to; practices and providers belong to none.
    pub const fn brand(&self) -> Option<&Brand> {
        match self {
            Self::Tin(_) | Self::Provider(_) => None,
            Self::Member(record) => Some(&record.brand),
            Self::Claim(record) => Some(&record.brand),
            Self::Case(record, _) => Some(&record.brand),
        }
    }

    /// The same of another brand; one without a brand stays as it is.
    #[must_use]
    pub fn of_brand(self, brand: Brand) -> Self {
        match self {
            Self::Tin(_) | Self::Provider(_) => self,
            Self::Member(record) => Self::Member(MemberRecord { brand, ..record }),
            Self::Claim(record) => Self::Claim(ClaimRecord { brand, ..record }),
            Self::Case(record, status) => Self::Case(CaseRecord { brand, ..record }, status),
        }
    }

    /// Checks what one record says about itself.
    ///
    /// # Errors
    /// A sentence part that names the field and the rule, without the value.
    pub fn check(self) -> Result<Self, String> {
        match &self {
            Self::Tin(tin) => {
                match tin.fax.as_ref().is_none_or(|fax| fax.len() == 10 && fax.bytes().all(|b| b.is_ascii_digit())) {
                    true => tin.address().map(|_| self),
                    false => Err("fax must have 10 digits".into()),
                }
            }
            Self::Member(member) => match member.plan.as_ref().is_none_or(|plan| is_code(plan)) {
                true => member.address().map(|_| self),
                false => Err("plan may have 1 to 32 letters, digits, - and _".into()),
            },
            Self::Claim(claim) if claim.service_to < claim.service_from => {
                Err("service_to lies before service_from".into())
            }
            Self::Case(case, _) if case.service_to.is_some() && case.service_to < case.service_from => {
                Err("service_to lies before service_from".into())
            }
            Self::Case(case, status) if status.is_final() && case.closed_on.is_none() => {
                Err("its status is final, so closed_on is needed".into())
            }
            Self::Case(case, _) if case.closed_on.is_some_and(|closed| closed < case.opened_on) => {
                Err("closed_on lies before opened_on".into())
            }
            Self::Case(case, _) if case.kind == CaseKind::Reconsideration && case.claim_number.is_none() => {
                Err("a reconsideration needs claim_number".into())
            }
            _ => Ok(self),
        }
    }
}

/// Whether a text may name something of the payer's, as a plan.
fn is_code(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
