//! Names of objects. They are built from parsed identifiers, so a key holds no file name and leads nowhere
//! outside its place; the same names serve on disk and in a bucket, so a store can be copied as it is.

use std::fmt;

use super::Place;
use crate::model::ids::{Brand, DocumentId, IdError, Sha256, UploadId};

/// What the names of readiness probes begin with.
const PROBE: &str = "probe-";

/// The key of an object: a place and a name below it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    place: Place,
    name: String,
}

impl ObjectKey {
    /// Where a document's bytes lie until they are judged.
    pub fn incoming(document: &DocumentId) -> Self {
        Self { place: Place::Incoming, name: document.as_str().to_owned() }
    }

    /// Where clean bytes of a brand lie, by their hash (INT-14).
    pub fn content(brand: &Brand, sha256: &Sha256) -> Self {
        Self { place: Place::Content, name: addressed(brand, sha256) }
    }

    /// Where infected bytes of a brand lie, by their hash (INT-13).
    pub fn quarantine(brand: &Brand, sha256: &Sha256) -> Self {
        Self { place: Place::Quarantine, name: addressed(brand, sha256) }
    }

    /// The PDF of a letter (COR-02). It lies under its hash, so that nothing can be put in its place.
    pub fn letter(brand: &Brand, sha256: &Sha256) -> Self {
        Self { place: Place::Letters, name: addressed(brand, sha256) }
    }

    /// A file of a print batch: letters in the order in which they are printed, or the list of them. It lies among them,
    /// under its hash.
    pub fn batch(brand: &Brand, sha256: &Sha256) -> Self {
        Self::letter(brand, sha256)
    }

    /// An object of the audit: 1 to 128 lower-case letters, digits, `-`, `_` and `.`, the first not a `.`.
    pub fn audit(name: &str) -> Result<Self, IdError> {
        let refuse = |rule| Err(IdError { kind: "audit object name", rule });
        if name.is_empty() || name.len() > 128 {
            return refuse("it must have 1 to 128 characters");
        }
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        if name.starts_with('.') || !name.bytes().all(allowed) {
            return refuse("it may hold lower-case letters, digits and - _ . only, and not begin with a dot");
        }
        Ok(Self { place: Place::Audit, name: name.to_owned() })
    }

    /// A part of a resumable upload: the one that begins at `first_byte`. Two writers that both believe the place to
    /// be theirs write to names of their own (`nonce`), so neither replaces what the other was told is durable.
    pub fn part(upload: &UploadId, first_byte: u64, nonce: u64) -> Self {
        Self { place: Place::Parts, name: format!("{upload}/{first_byte:020}-{nonce:016x}") }
    }

    /// The upload that a part's key belongs to; `None` for a key of another place.
    pub fn upload(&self) -> Option<UploadId> {
        let (upload, _) = self.name.split_once('/').filter(|_| self.place == Place::Parts)?;
        upload.parse().ok()
    }

    /// The key of a name that a listing of `place` gave. Fails for a name that no other constructor makes:
    /// then something foreign lies in the place.
    pub fn from_name(place: Place, name: &str) -> Result<Self, IdError> {
        let foreign = IdError { kind: "object name", rule: "it must be one that this program gives" };
        let key = match place {
            Place::Incoming => Self::incoming(&name.parse()?),
            Place::Audit => Self::audit(name)?,
            Place::Content | Place::Quarantine | Place::Letters => {
                let mut parts = name.split('/');
                let (Some(brand), Some(sha256)) = (parts.next(), parts.next_back()) else {
                    return Err(foreign);
                };
                Self { place, name: addressed(&brand.parse()?, &sha256.parse()?) }
            }
            Place::Parts => {
                let parts = name.split_once('/').and_then(|(upload, rest)| Some((upload, rest.split_once('-')?)));
                let Some((upload, (first_byte, nonce))) = parts else { return Err(foreign) };
                let (Ok(first_byte), Ok(nonce)) = (first_byte.parse(), u64::from_str_radix(nonce, 16)) else {
                    return Err(foreign);
                };
                Self::part(&upload.parse()?, first_byte, nonce)
            }
        };
        // The round trip also refuses other spellings of a right name.
        if key.name == name { Ok(key) } else { Err(foreign) }
    }

    /// A probe's key. Its random part keeps the probes of several nodes apart.
    pub(super) fn probe(random: u64) -> Self {
        Self { place: Place::Incoming, name: format!("{PROBE}{random:016x}") }
    }

    /// The place the object lies in.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The name below the place, as listings give it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Whether a name is a readiness probe's. Listings leave them out: they are nobody's object.
pub(super) fn is_probe(place: Place, name: &str) -> bool {
    place == Place::Incoming && name.starts_with(PROBE)
}

/// `brand/aa/bb/<sha256>`: two levels of 256 keep directories of the disk store small.
fn addressed(brand: &Brand, sha256: &Sha256) -> String {
    let hash = sha256.as_str();
    format!("{brand}/{}/{}/{hash}", &hash[..2], &hash[2..4])
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.place, self.name)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_content_key_is_the_brand_and_the_hash() {
        let key = ObjectKey::content(&"acme".parse().unwrap(), &HASH.parse().unwrap());
        assert_eq!(key.to_string(), format!("content/acme/e3/b0/{HASH}"));
        assert_eq!(ObjectKey::from_name(Place::Content, key.name()), Ok(key));
    }

    #[test]
    fn only_incoming_has_probes() {
        assert!(is_probe(Place::Incoming, ObjectKey::probe(7).name()));
        assert!(!is_probe(Place::Content, "probe-brand/e3/b0/x"));
    }

    #[test]
    fn no_constructor_takes_path_parts() {
        for name in ["", ".", "..", "../x", "a/b", "/a", "a\\b", "A", "a b", "ä", "a\0", ".hidden"] {
            assert!(ObjectKey::audit(name).is_err(), "{name:?}");
            assert!(ObjectKey::from_name(Place::Incoming, name).is_err(), "{name:?}");
        }
        assert!(ObjectKey::audit(&"a".repeat(129)).is_err());
        assert!(ObjectKey::audit("head-0.json").is_ok());
    }

    #[test]
    fn a_part_is_told_by_its_upload_and_its_first_byte() {
        let upload = "018f2f6e-7b1a-7c3d-8e4f-5a6b7c8d9e0f".parse().unwrap();
        let key = ObjectKey::part(&upload, 65_536, 0xabc);
        assert_eq!(key.to_string(), format!("parts/{upload}/00000000000000065536-0000000000000abc"));
        assert_eq!(key.upload(), Some(upload.clone()));
        assert_eq!(ObjectKey::from_name(Place::Parts, key.name()), Ok(key));
        for foreign in [
            format!("{upload}"),
            format!("{upload}/65536-0000000000000abc"),
            format!("{upload}/00000000000000065536-abc"),
            format!("{upload}/00000000000000065536-0000000000000ABC"),
            format!("{upload}/+0000000000000065536-0000000000000abc"),
            format!("{upload}/../00000000000000065536-0000000000000abc"),
            "x/00000000000000065536-0000000000000abc".to_owned(),
        ] {
            assert!(ObjectKey::from_name(Place::Parts, &foreign).is_err(), "{foreign}");
        }
    }

    #[test]
    fn a_foreign_name_is_no_key() {
        for name in [
            HASH.to_owned(),
            format!("acme/{HASH}"),
            format!("acme/00/b0/{HASH}"),
            format!("acme/e3/b0/../b0/{HASH}"),
            format!("../e3/b0/{HASH}"),
            format!("Acme/e3/b0/{HASH}"),
            format!("acme/e3/b0/{}", HASH.to_uppercase()),
            format!("acme/e3/b0/{HASH}/"),
        ] {
            assert!(ObjectKey::from_name(Place::Content, &name).is_err(), "{name}");
            assert!(ObjectKey::from_name(Place::Quarantine, &name).is_err(), "{name}");
        }
        let id = "018f2f6e-7b1a-7c3d-8e4f-5a6b7c8d9e0f";
        assert!(ObjectKey::from_name(Place::Incoming, id).is_ok());
        assert!(ObjectKey::from_name(Place::Incoming, &id.to_uppercase()).is_err());
        assert!(ObjectKey::from_name(Place::Incoming, &format!("{{{id}}}")).is_err());
    }
}
