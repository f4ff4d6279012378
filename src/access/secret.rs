//! What a key looks like: `lck_live_` or `lck_test_`, 52 characters for 256 random bits, and 6 that check the rest.
//!
//! By its beginning people and secret scanners know it wherever it turns up, and it is told from a token; by its end
//! they know whether it is whole.

use std::fmt;

use sha2::{Digest, Sha256 as Hasher};

use crate::model::access::Mode;
use crate::model::ids::{CODE_ALPHABET, Sha256};

/// What every key begins with.
const START: &str = "lck_";
/// Characters for 256 bits, five in each.
const BODY: usize = 52;
/// Characters that check them.
const CHECK: usize = 6;

/// A key as it is sent: whoever has it comes in. It does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret(String);

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(…)")
    }
}

impl KeySecret {
    /// A key from random bytes.
    pub fn from_random(mode: Mode, random: &[u8; 32]) -> Self {
        let start = start(mode);
        let body = base32(random, BODY);
        let check = check(&format!("{start}{body}"));
        Self(format!("{start}{body}{check}"))
    }

    /// Reads a key that somebody sent. `None`: it is cut off, mistyped, or none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mode = Mode::ALL.iter().find(|mode| text.starts_with(&start(**mode)))?;
        let whole = text.len() == start(*mode).len() + BODY + CHECK && text.is_ascii();
        let (rest, end) = text.split_at_checked(text.len().checked_sub(CHECK)?)?;
        (whole && check(rest) == end).then(|| Self(text.to_owned()))
    }

    /// Whether a bearer's text is meant as a key, whole or not.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(START)
    }

    /// The key itself. Each call is a place where it leaves its wrapper.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> Sha256 {
        Sha256::of(self.0.as_bytes())
    }
}

fn start(mode: Mode) -> String {
    format!("{START}{mode}_")
}

fn check(text: &str) -> String {
    base32(Hasher::digest(text.as_bytes()).as_slice(), CHECK)
}

/// The first `length` characters of bytes in groups of five bits; what is missing counts as 0.
fn base32(bytes: &[u8], length: usize) -> String {
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| usize::from(byte >> (7 - at % 8) & 1));
    (0..length)
        .map(|place| (0..5).fold(0, |value, at| value << 1 | bit(place * 5 + at)))
        .map(|value| char::from(CODE_ALPHABET[value].to_ascii_lowercase()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_cut_off_or_mistyped_is_no_key() {
        let random: [u8; 32] = std::array::from_fn(|at| (at * 37 % 256) as u8);
        for mode in Mode::ALL {
            let secret = KeySecret::from_random(*mode, &random);
            let text = secret.reveal();
            assert!(text.starts_with(&format!("lck_{mode}_")), "{text}");
            assert_eq!(text.len(), 9 + 52 + 6);
            assert_eq!(KeySecret::parse(text), Some(secret.clone()));
            for end in 0..text.len() {
                assert_eq!(KeySecret::parse(&text[..end]), None, "cut off at {end}");
            }
            for at in 0..text.len() {
                let mut other = text.to_owned().into_bytes();
                other[at] = if other[at] == b'7' { b'8' } else { b'7' };
                assert_eq!(KeySecret::parse(&String::from_utf8(other).unwrap()), None, "mistyped at {at}");
            }
            let upper = text.to_ascii_uppercase();
            for other in [format!("{text}a"), format!(" {text}"), format!("{text}\n"), upper, "lck_live_é".into()] {
                assert_eq!(KeySecret::parse(&other), None);
            }
        }
        assert_ne!(
            KeySecret::from_random(Mode::Live, &random).hash(),
            KeySecret::from_random(Mode::Test, &random).hash()
        );
    }

    #[test]
    fn no_bit_of_the_random_bytes_is_lost() {
        let zero = [0u8; 32];
        for at in 0..256 {
            let mut one = zero;
            one[at / 8] |= 1 << (at % 8);
            assert_ne!(KeySecret::from_random(Mode::Live, &one), KeySecret::from_random(Mode::Live, &zero), "bit {at}");
        }
    }

    #[test]
    fn a_key_does_not_print() {
        assert_eq!(format!("{:?}", KeySecret::from_random(Mode::Live, &[7; 32])), "KeySecret(…)");
    }
}
