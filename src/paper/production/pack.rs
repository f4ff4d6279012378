//! Which letters share an envelope: a pure function of the letters and the policy.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;

use crate::letters::head::Addressee;
use crate::model::ids::{Brand, LetterId, LetterNumber, MemberId, Sha256, Tin};
use crate::model::letter::LetterType;
use crate::model::phi::Phi;
use crate::paper::production::plan::ProductionPolicy;

/// Whom a letter is to. Two letters share an envelope only where this is the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum To {
    /// A practice.
    Tin(Tin),
    /// A member.
    Member(MemberId),
}

impl std::fmt::Debug for To {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tin(_) => "To::Tin(…)",
            Self::Member(_) => "To::Member(…)",
        })
    }
}

/// A letter that waits for an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its brand: two senders never share an envelope.
    pub brand: Brand,
    /// Whom it is to.
    pub to: To,
    /// The address printed on it.
    pub address: Addressee,
    /// The day it goes out.
    pub day: Date,
    /// What kind of letter it is.
    pub letter_type: LetterType,
    /// The letter.
    pub letter: Sheaf,
}

/// A letter as production sees it: paper with a number on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sheaf {
    /// The letter.
    pub id: LetterId,
    /// The number printed on it.
    pub number: LetterNumber,
    /// Its pages.
    pub pages: u32,
    /// The hash of its PDF.
    pub sha256: Sha256,
}

/// Letters that go into one envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Their brand.
    pub brand: Brand,
    /// Whom they are to.
    pub to: To,
    /// The ZIP code, which the barcode holds.
    pub zip: Phi<String>,
    /// Their day.
    pub day: Date,
    /// The letters, the first on top.
    pub letters: Vec<Sheaf>,
    /// Sheets of all of them.
    pub sheets: u32,
}

/// What packing makes of the letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Packing {
    /// Envelopes, in the order in which they are printed: by ZIP code, as presorted mail is.
    pub envelopes: Vec<Packed>,
    /// Letters with more sheets than an envelope takes, or without pages: for a person.
    pub too_large: Vec<LetterId>,
}

/// An address as it is compared: spelling that makes no difference to the post makes none here.
pub fn normalized(address: &Addressee) -> Phi<String> {
    let mut text = String::new();
    let attention = address.attention.as_ref().map(|line| line.0.reveal().as_str());
    let parts = attention.into_iter().chain([address.name.0.reveal().as_str()]);
    let parts = parts.chain(address.lines.0.iter().map(|line| line.0.reveal().as_str()));
    let place = [address.city.0.reveal().as_str(), address.state.0.as_str(), address.zip.0.reveal().as_str()];
    for part in parts.chain(place) {
        let words = part.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        for word in words {
            text.extend(word.chars().flat_map(char::to_uppercase));
            text.push(' ');
        }
        text.push('|');
    }
    Phi(text)
}

fn zip_digits(address: &Addressee) -> String {
    address.zip.0.reveal().chars().filter(char::is_ascii_digit).collect()
}

/// What letters have in common that share an envelope. The ZIP code comes first: it is the order of presorted mail.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    zip: String,
    brand: Brand,
    to: To,
    address: Phi<String>,
    day: Date,
}

/// Puts letters into envelopes. The order of what comes in makes no difference to what comes out.
pub fn pack(letters: Vec<Waiting>, policy: &ProductionPolicy) -> Packing {
    let mut groups: BTreeMap<Key, Vec<Waiting>> = BTreeMap::new();
    let mut packing = Packing::default();
    for letter in letters {
        let sheets = policy.envelope.sheets(letter.letter.pages);
        if sheets == 0 || sheets > policy.envelope.sheets_max {
            packing.too_large.push(letter.letter.id);
            continue;
        }
        let key = Key {
            zip: zip_digits(&letter.address),
            brand: letter.brand.clone(),
            to: letter.to.clone(),
            address: normalized(&letter.address),
            day: letter.day,
        };
        groups.entry(key).or_default().push(letter);
    }
    packing.too_large.sort_unstable();
    for (key, mut group) in groups {
        // Ids are in the order of their making: the oldest letter is on top.
        group.sort_by(|a, b| a.letter.id.cmp(&b.letter.id));
        // Those that go alone end no envelope that others could still share.
        let mut open: Option<Packed> = None;
        for letter in group {
            let sheets = policy.envelope.sheets(letter.letter.pages);
            let alone = !policy.sharing.one_envelope || policy.sharing.alone.contains(&letter.letter_type);
            if !alone && let Some(envelope) = &mut open {
                if envelope.sheets + sheets <= policy.envelope.sheets_max {
                    envelope.letters.push(letter.letter);
                    envelope.sheets += sheets;
                    continue;
                }
                packing.envelopes.extend(open.take());
            }
            let envelope = Packed {
                brand: letter.brand,
                to: letter.to,
                zip: Phi(key.zip.clone()),
                day: letter.day,
                letters: vec![letter.letter],
                sheets,
            };
            if alone { packing.envelopes.push(envelope) } else { open = Some(envelope) }
        }
        packing.envelopes.extend(open);
    }
    packing
}
