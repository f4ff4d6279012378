//! People with logins, and bulk loads of them (OPS-13). Their names and addresses do not print.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use crate::codes;
use crate::model::access::{Entitlement, Role, TinRights};
use crate::model::digest::Cadence;
use crate::model::ids::{Issuer, Subject, Tin};
use crate::model::judgement::UnknownCode;
use crate::model::letter::LetterCategory;
use crate::model::phi::Phi;

/// A login: who vouches for it, and its name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Who vouches for it.
    pub issuer: Issuer,
    /// Its name there.
    pub subject: Subject,
}

/// What is known of a person beside their rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name that colleagues know.
    pub name: Phi<String>,
    /// A mail address, where one is known.
    pub email: Option<Phi<String>>,
}

impl Person {
    /// Checks lengths and characters.
    ///
    /// # Errors
    /// A sentence part that names the field and the rule, without the value.
    pub fn check(self) -> Result<Self, &'static str> {
        let sound = |text: &str, longest: usize| {
            !text.trim().is_empty() && text.len() <= longest && !text.chars().any(char::is_control)
        };
        if !sound(self.name.reveal(), 200) {
            return Err("name must have 1 to 200 characters, none of them a control character");
        }
        match &self.email {
            Some(email) if !sound(email.reveal(), 254) || !email.reveal().contains('@') => {
                Err("email must be a mail address of at most 254 characters")
            }
            _ => Ok(self),
        }
    }
}

codes! {
    /// What a bulk load of people holds.
    pub enum PeopleKind {
        /// Users.
        Users = "users",
        /// Their rights per TIN.
        Entitlements = "entitlements",
        /// Paper beside digital correspondence, per TIN.
        Paper = "paper",
        /// How often users want to be told by mail, per TIN and category.
        Choices = "choices",
    }
}

codes! {
    /// Yes or no, as a word.
    pub enum Word {
        /// Yes.
        Yes = "yes",
        /// No.
        No = "no",
    }
}

codes! {
    /// On or off, as text: CSV has no other.
    pub enum Switch {
        /// On.
        On = "true",
        /// Off.
        Off = "false",
    }
}

/// Codes in one text, joined by blanks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codes<T>(pub BTreeSet<T>);

impl<T> Default for Codes<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<T: FromStr<Err = UnknownCode> + Ord> FromStr for Codes<T> {
    type Err = UnknownCode;
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        text.split_whitespace().map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl<T: fmt::Display> fmt::Display for Codes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, code) in self.0.iter().enumerate() {
            write!(f, "{}{code}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl<'de, T: FromStr<Err = UnknownCode> + Ord> Deserialize<'de> for Codes<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A user in a bulk load.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the word of the vocabulary")]
pub struct UserRecord {
    pub issuer: Issuer,
    pub subject: Subject,
    pub name: Phi<String>,
    #[serde(default)]
    pub email: Option<Phi<String>>,
    /// Without it, roles stay as they are.
    #[serde(default)]
    pub roles: Option<Codes<Role>>,
    /// Without it, it stays as it is.
    #[serde(default)]
    pub disabled: Option<Word>,
}

/// A user's rights for a TIN in a bulk load; they take the place of those that were known.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the word of the vocabulary")]
pub struct EntitlementRecord {
    pub issuer: Issuer,
    pub subject: Subject,
    pub tin: Tin,
    #[serde(default)]
    pub entitlements: Codes<Entitlement>,
    #[serde(default)]
    pub access_manager: Option<Word>,
}

impl EntitlementRecord {
    /// The rights it gives.
    pub fn rights(&self) -> TinRights {
        TinRights { entitlements: self.entitlements.0.clone(), access_manager: self.access_manager == Some(Word::Yes) }
    }
}

/// How often a user wants to be told of a practice's letters, in a bulk load (COR-30).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the word of the vocabulary")]
pub struct ChoiceRecord {
    pub issuer: Issuer,
    pub subject: Subject,
    pub tin: Tin,
    /// `claim`, which appeals follow, or `precertification`.
    pub category: LetterCategory,
    pub cadence: Cadence,
}

/// A practice's paper setting in a bulk load (COR-12).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the word of the vocabulary")]
pub struct PaperRecord {
    pub tin: Tin,
    pub category: LetterCategory,
    pub paper: Switch,
}
