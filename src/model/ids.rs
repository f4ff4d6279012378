//! Identifiers, parsed once at the edge. Inside the program an identifier is known to be well formed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not the identifier it was taken for. It names the kind and the rule, never the text:
/// identifiers can be health data.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a {kind}: {rule}")]
pub struct IdError {
    /// What was expected, in the words of the spec ("TIN", "claim number").
    pub kind: &'static str,
    /// The rule it breaks, as a sentence part a person can act on.
    pub rule: &'static str,
}

/// Declares a newtype over text with one parse rule; serde goes through the same rule.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as it is stored and compared.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let parse: fn(&str) -> Result<String, &'static str> = $parse;
                parse(text).map(Self).map_err(|rule| IdError { kind: $kind, rule })
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                schema_of($kind)
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

/// How an identifier is described to callers. The parser is the authority: it also takes some spellings that the
/// pattern leaves out.
fn schema_of(kind: &str) -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
    use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
    let of = ObjectBuilder::new().schema_type(Type::String).description(Some(kind));
    let pattern = match kind {
        "TIN" => "^[0-9]{9}$",
        "NPI" => "^[0-9]{10}$",
        "SHA-256" => "^[0-9a-f]{64}$",
        "letter number" => "^LT-[0-9A-HJKMNP-TV-Z]{10}$",
        "reference number" => "^LC-[0-9A-HJKMNP-TV-Z]{10}$",
        "brand" => "^[a-z0-9-]{1,32}(\\.test)?$",
        "claim number" | "case number" | "member id" | "attachment control number" => "^[A-Za-z0-9._/#-]{1,64}$",
        kind if kind.ends_with(" id") => {
            return of.format(Some(SchemaFormat::Custom("uuid".to_owned()))).into();
        }
        _ => return of.into(),
    };
    of.pattern(Some(pattern)).into()
}

/// Adds `Display` and a telling `Debug` to an identifier that is no health data.
macro_rules! printable {
    ($($name:ident),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    )+};
}

/// Gives an identifier that points at a person's data a `Debug` that shows nothing.
macro_rules! hidden {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(…)", stringify!($name))
            }
        }
    )+};
}

fn uuid(text: &str) -> Result<String, &'static str> {
    let id = uuid::Uuid::try_parse(text).map_err(|_| "it must be a UUID")?;
    Ok(id.hyphenated().to_string())
}

fn mail_name(text: &str) -> Result<String, &'static str> {
    const RULE: &str = "it must be brand, day, user and kind, with colons between them";
    let mut parts = text.split(':');
    let sound = parts.next().is_some_and(|brand| brand.parse::<Brand>().is_ok())
        && parts.next().is_some_and(|day| day.parse::<jiff::civil::Date>().is_ok())
        && parts.next().is_some_and(|user| uuid(user).is_ok_and(|id| id == user))
        && parts.next().is_some_and(|kind| kind.parse::<crate::model::digest::DigestKind>().is_ok())
        && parts.next().is_none();
    if sound { Ok(text.to_owned()) } else { Err(RULE) }
}

/// Text of 1 to 64 printable ASCII characters without blanks at its ends, upper-cased: the numbers other
/// systems gave out. Case never tells two of them apart.
fn foreign_number(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() || text.len() > 64 {
        return Err("it must have 1 to 64 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./# ".contains(&b)) {
        return Err("it may hold letters, digits, blanks and - _ . / # only");
    }
    Ok(text.to_ascii_uppercase())
}

text_id!(
    /// A document's id (UUIDv7).
    DocumentId, "document id", uuid
);
text_id!(
    /// A submission's id (UUIDv7).
    SubmissionId, "submission id", uuid
);
text_id!(
    /// A case's id (UUIDv7), of whatever kind.
    CaseId, "case id", uuid
);
text_id!(
    /// An event's id (UUIDv7).
    EventId, "event id", uuid
);
text_id!(
    /// A key's id (UUIDv7). It outlives the secrets that are rotated under it.
    KeyId, "key id", uuid
);
text_id!(
    /// A user's id (UUIDv7), of a practice's or of the payer's own.
    UserId, "user id", uuid
);
text_id!(
    /// A resumable upload's id (UUIDv7).
    UploadId, "upload id", uuid
);
text_id!(
    /// A letter's id (UUIDv7).
    LetterId, "letter id", uuid
);
text_id!(
    /// A delivery's id (UUIDv7): one way of a letter to its addressee.
    DeliveryId, "delivery id", uuid
);
text_id!(
    /// The id (UUIDv7) of a hold on letters.
    HoldId, "hold id", uuid
);
text_id!(
    /// The id (UUIDv7) of a schedule of digests.
    ScheduleId, "schedule id", uuid
);
text_id!(
    /// The id (UUIDv7) of a run of a schedule.
    RunId, "run id", uuid
);
text_id!(
    /// A mail, by what there can be only one of: brand, local day, user and kind (COR-33).
    MailId, "mail name", mail_name
);
text_id!(
    /// The id (UUIDv7) of a suppression of a mail address.
    SuppressionId, "suppression id", uuid
);
text_id!(
    /// The id (UUIDv7) of a legal hold, under which nothing is destroyed.
    LegalHoldId, "legal hold id", uuid
);
text_id!(
    /// The id (UUIDv7) of a run that destroys what is due.
    RetentionRunId, "retention run id", uuid
);
text_id!(
    /// A print batch's id (UUIDv7).
    BatchId, "batch id", uuid
);
text_id!(
    /// An envelope's id (UUIDv7).
    EnvelopeId, "envelope id", uuid
);
text_id!(
    /// The id (UUIDv7) of what a person must see to before letters can go on paper.
    PaperTaskId, "paper task id", uuid
);
text_id!(
    /// A message's id (UUIDv7): what users see in the Messaging Center.
    MessageId, "message id", uuid
);
text_id!(
    /// Who vouches for a login: the issuer of OIDC tokens, or the name of a portal. Compared byte by byte.
    Issuer, "issuer", |text| {
        if text.is_empty() || text.len() > 255 {
            return Err("it must have 1 to 255 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("it may hold visible ASCII characters only");
        }
        Ok(text.to_owned())
    }
);
text_id!(
    /// The name of a login with its issuer. It can be a mail address, so it does not print.
    Subject, "subject", |text| {
        if text.is_empty() || text.len() > 255 {
            return Err("it must have 1 to 255 characters");
        }
        if text.trim() != text || text.chars().any(char::is_control) {
            return Err("it may hold no control characters, and no blanks at its ends");
        }
        Ok(text.to_owned())
    }
);
text_id!(
    /// The name of a brand the installation serves: lower-case letters, digits and `-`, at most 32. With `.test`
    /// behind, its twin for trials (INT-35).
    Brand, "brand", |text| {
        let name = text.strip_suffix(".test").unwrap_or(text);
        if name.is_empty() || name.len() > 32 {
            return Err("it must have 1 to 32 characters");
        }
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err("it may hold lower-case letters, digits and - only");
        }
        Ok(text.to_owned())
    }
);
text_id!(
    /// SHA-256 of a file's bytes, 64 lower-case hexadecimal digits.
    Sha256, "SHA-256", |text| {
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(text.to_owned())
        } else {
            Err("it must be 64 lower-case hexadecimal digits")
        }
    }
);
impl Sha256 {
    /// That of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(hex::encode(sha2::Sha256::digest(bytes)))
    }
}

text_id!(
    /// Taxpayer identification number of a practice: 9 digits. A sole proprietor's can be a social security
    /// number, so it does not print.
    Tin, "TIN", |text| {
        let digits: String = text.chars().filter(|c| *c != '-' && *c != ' ').collect();
        if digits.len() == 9 && digits.bytes().all(|b| b.is_ascii_digit()) {
            Ok(digits)
        } else {
            Err("it must have 9 digits")
        }
    }
);
text_id!(
    /// National provider identifier: 10 digits with a Luhn check digit computed over the prefix 80840.
    Npi, "NPI", |text| {
        if text.len() != 10 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err("it must have 10 digits");
        }
        if !luhn_holds(&format!("80840{text}")) {
            return Err("its check digit does not fit");
        }
        Ok(text.to_owned())
    }
);
text_id!(
    /// A claim's number as the claim system gave it.
    ClaimNumber, "claim number", foreign_number
);
text_id!(
    /// A case's number, ours or another system's.
    CaseNumber, "case number", foreign_number
);
text_id!(
    /// Attachment control number: ties an attachment to the claim or request that announced it.
    AttachmentControlNumber, "attachment control number", foreign_number
);
text_id!(
    /// A member's id with the payer.
    MemberId, "member id", foreign_number
);
text_id!(
    /// The number a sender quotes for a submission (REC-32): `LC-` and ten characters of [`CODE_ALPHABET`],
    /// the last a check character, so that a misread one is noticed instead of matched.
    ReferenceNumber, "reference number", |text| {
        let text = text.trim().to_ascii_uppercase();
        let body = text.strip_prefix("LC-").ok_or("it must begin with LC-")?;
        checked_code(body)?;
        Ok(text)
    }
);

text_id!(
    /// The number on a letter, which is quoted on the phone: `LT-`, else as a [`ReferenceNumber`].
    LetterNumber, "letter number", |text| {
        let text = text.trim().to_ascii_uppercase();
        let body = text.strip_prefix("LT-").ok_or("it must begin with LT-")?;
        checked_code(body)?;
        Ok(text)
    }
);

printable!(DocumentId, SubmissionId, CaseId, EventId, KeyId, UserId, UploadId, LetterId, DeliveryId, MessageId);
printable!(BatchId, EnvelopeId, PaperTaskId, ScheduleId, RunId, MailId, SuppressionId, LegalHoldId);
printable!(Issuer, Brand, Sha256, ReferenceNumber, LetterNumber, HoldId, RetentionRunId);
hidden!(Subject, Tin, Npi, ClaimNumber, CaseNumber, AttachmentControlNumber, MemberId);

impl Tin {
    /// The last two digits behind dots: enough to tell one's own practices apart, too little to identify one.
    pub fn masked(&self) -> String {
        format!("•••••••{}", &self.0[7..])
    }
}

impl ReferenceNumber {
    /// A reference number from 45 random bits: sparse, so that a mistyped one hits no other.
    pub fn from_random(bits: u64) -> Self {
        Self(format!("LC-{}", code_of(bits)))
    }
}

impl LetterNumber {
    /// A letter number from 45 random bits.
    pub fn from_random(bits: u64) -> Self {
        Self(format!("LT-{}", code_of(bits)))
    }
}

/// Nine characters of 45 random bits, and their check character.
fn code_of(bits: u64) -> String {
    let body: String = (0..9).map(|place| char::from(CODE_ALPHABET[((bits >> (place * 5)) & 31) as usize])).collect();
    let check = check_character(&body).map(char::from).unwrap_or('0');
    format!("{body}{check}")
}

/// Whether it is ten characters of [`CODE_ALPHABET`], the last one the check character of the others.
fn checked_code(body: &str) -> Result<(), &'static str> {
    if body.len() != 10 || !body.bytes().all(|b| CODE_ALPHABET.contains(&b)) {
        return Err("ten letters or digits must follow the hyphen");
    }
    match check_character(&body[..9]) == body.as_bytes().last().copied() {
        true => Ok(()),
        false => Err("its check character does not fit"),
    }
}

/// Thirty-two letters and digits that are not mistaken for each other (no I, L, O, U).
pub const CODE_ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Check character over [`CODE_ALPHABET`]: the weighted sum modulo 31 with weights 2, 3, 4 …, so that any
/// one wrong character whose value differs by other than 31, and any swap of neighbours, changes it.
fn check_character(body: &str) -> Option<u8> {
    let mut sum = 0;
    for (place, byte) in body.bytes().enumerate() {
        let value = CODE_ALPHABET.iter().position(|b| *b == byte)?;
        sum += value * (place + 2);
    }
    CODE_ALPHABET.get(sum % 31).copied()
}

/// Luhn's check (ISO/IEC 7812-1) over digits.
fn luhn_holds(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0');
            match (place % 2, digit * 2) {
                (0, _) => digit,
                (_, doubled) if doubled > 9 => doubled - 9,
                (_, doubled) => doubled,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_npi_needs_its_check_digit_over_the_prefix_80840() {
        for (text, good) in [
            ("1234567893", true),
            ("1245319599", true),
            ("1234567890", false),
            ("123456789", false),
            ("12345678931", false),
            ("123456789a", false),
        ] {
            assert_eq!(text.parse::<Npi>().is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_tin_is_nine_digits_with_or_without_its_hyphen() {
        assert_eq!("12-3456789".parse::<Tin>().map(|t| t.as_str().to_owned()), Ok("123456789".into()));
        assert_eq!(
            "12-345678".parse::<Tin>().map_err(|e| e.to_string()),
            Err("not a TIN: it must have 9 digits".into())
        );
        assert_eq!("123456789".parse::<Tin>().map(|t| t.masked()), Ok("•••••••89".into()));
    }

    #[test]
    fn a_misread_reference_number_is_refused() {
        let reference = ReferenceNumber::from_random(0x1234_5678_9abc);
        let text = reference.as_str().to_owned();
        assert_eq!(text.parse::<ReferenceNumber>(), Ok(reference));
        let mut refused = 0;
        for place in 3..text.len() {
            let mut other = text.clone().into_bytes();
            other[place] = if other[place] == b'7' { b'8' } else { b'7' };
            let other = String::from_utf8(other).unwrap();
            if other != text && other.parse::<ReferenceNumber>().is_err() {
                refused += 1;
            }
        }
        assert_eq!(refused, 10, "each single misread character is noticed");
    }

    #[test]
    fn identifiers_of_people_do_not_print() {
        let tin: Tin = "123456789".parse().unwrap();
        let claim: ClaimNumber = "clm-1".parse().unwrap();
        assert_eq!(format!("{tin:?} {claim:?}"), "Tin(…) ClaimNumber(…)");
        assert_eq!(claim.as_str(), "CLM-1");
    }
}
