//! The headers of tus 1.0, parsed: pure functions from what was sent to types that can't be wrong. No error tells a
//! value that was sent: metadata holds file names.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;

use crate::intake::uploads::Checksum;

/// The one version spoken.
pub const VERSION: &str = "1.0.0";

/// Base64, with or without its padding: both are sent, and neither can mean anything else.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// The version is missing or another one.
    #[error("send `Tus-Resumable: 1.0.0`: this is the version spoken here")]
    Version,
    /// A header that has to be there is not.
    #[error("the header {0} is missing")]
    Missing(&'static str),
    /// A header is there twice.
    #[error("the header {0} is there more than once")]
    Repeated(&'static str),
    /// A number of bytes is none.
    #[error("{0} must be a number of bytes in decimal digits")]
    NotBytes(&'static str),
    /// An extension that is not offered.
    #[error("{0} is not offered here; OPTIONS tells what is")]
    NotOffered(&'static str),
    /// The metadata is not of its form.
    #[error("Upload-Metadata must be pairs of a key and a Base64 value, the pairs parted by commas")]
    Metadata,
    /// A key is there twice.
    #[error("Upload-Metadata has a key twice")]
    RepeatedKey,
    /// There is no file name.
    #[error("Upload-Metadata must give the file's name as `filename`")]
    NoFileName,
    /// The file name is no text.
    #[error("the file name in Upload-Metadata must be UTF-8 under its Base64")]
    FileName,
    /// The checksum is not of its form.
    #[error("Upload-Checksum must be `sha1` or `sha256`, a blank, and the digest in Base64")]
    Checksum,
}

/// Whether the request speaks our version.
///
/// # Errors
/// [`HeaderError::Version`], also where none is told.
pub fn version(value: Option<&[u8]>) -> Result<(), HeaderError> {
    if value == Some(VERSION.as_bytes()) { Ok(()) } else { Err(HeaderError::Version) }
}

/// A number of bytes: decimal digits and nothing else.
///
/// # Errors
/// [`HeaderError::NotBytes`].
pub fn bytes(name: &'static str, value: &[u8]) -> Result<u64, HeaderError> {
    let digits = std::str::from_utf8(value).ok().filter(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(HeaderError::NotBytes(name))
}

/// What a sender says of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pairs: Vec<(String, Vec<u8>)>,
}

impl Metadata {
    /// Parses `Upload-Metadata`.
    ///
    /// # Errors
    /// When it is not of its form.
    pub fn parse(value: &[u8]) -> Result<Self, HeaderError> {
        let text = std::str::from_utf8(value).map_err(|_| HeaderError::Metadata)?;
        let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
        for pair in text.split(',').map(str::trim) {
            if pair.is_empty() && text.trim().is_empty() {
                break;
            }
            // the value may be empty, and then the blank be left out
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(HeaderError::Metadata);
            }
            if pairs.iter().any(|(known, _)| known == key) {
                return Err(HeaderError::RepeatedKey);
            }
            pairs.push((key.to_owned(), BASE64.decode(value).map_err(|_| HeaderError::Metadata)?));
        }
        Ok(Self { pairs })
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_slice())
    }

    /// The file's name: `filename`, as most clients call it, or `name`.
    ///
    /// # Errors
    /// When there is none, or it is no text.
    pub fn file_name(&self) -> Result<&str, HeaderError> {
        let value = self.get("filename").or_else(|| self.get("name")).ok_or(HeaderError::NoFileName)?;
        std::str::from_utf8(value).map_err(|_| HeaderError::FileName)
    }
}

/// Parses `Upload-Checksum`.
///
/// # Errors
/// When the algorithm is not offered or the digest has another length.
pub fn checksum(value: &[u8]) -> Result<Checksum, HeaderError> {
    let text = std::str::from_utf8(value).map_err(|_| HeaderError::Checksum)?;
    let (algorithm, digest) = text.trim().split_once(' ').ok_or(HeaderError::Checksum)?;
    let digest = BASE64.decode(digest).map_err(|_| HeaderError::Checksum)?;
    let wrong = |_| HeaderError::Checksum;
    match algorithm {
        "sha1" => Ok(Checksum::Sha1(digest.as_slice().try_into().map_err(wrong)?)),
        "sha256" => Ok(Checksum::Sha256(digest.as_slice().try_into().map_err(wrong)?)),
        _ => Err(HeaderError::Checksum),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_our_version_is_spoken() {
        assert_eq!(version(Some(b"1.0.0")), Ok(()));
        for other in [None, Some(&b""[..]), Some(b"1.0"), Some(b"0.2.2"), Some(b"1.0.0, 0.2.2"), Some(b"\xff")] {
            assert_eq!(version(other), Err(HeaderError::Version), "{other:?}");
        }
    }

    #[test]
    fn a_number_of_bytes_is_digits_and_nothing_else() {
        for (text, number) in [("0", 0), ("7", 7), ("0067108864", 67_108_864), ("18446744073709551615", u64::MAX)] {
            assert_eq!(bytes("Upload-Length", text.as_bytes()), Ok(number), "{text}");
        }
        for text in ["", " 1", "1 ", "+1", "-1", "1.0", "1e3", "0x10", "1,1", "18446744073709551616", "\u{661}", "one"]
        {
            assert_eq!(bytes("Upload-Length", text.as_bytes()), Err(HeaderError::NotBytes("Upload-Length")), "{text}");
        }
    }

    #[test]
    fn metadata_gives_the_name_of_the_file() {
        for (text, name) in [
            ("filename YS50eHQ=", Ok("a.txt")),
            ("filename YS50eHQ", Ok("a.txt")),
            ("name YS50eHQ=", Ok("a.txt")),
            ("name Yg==,filename YS50eHQ=", Ok("a.txt")),
            ("filetype dGV4dC9wbGFpbg==, filename YS50eHQ=", Ok("a.txt")),
            ("is_confidential,filename YS50eHQ=", Ok("a.txt")),
            ("filename 0J/QuNGB0YzQvNC+LnBkZg==", Ok("\u{41f}\u{438}\u{441}\u{44c}\u{43c}\u{43e}.pdf")),
            ("filename", Ok("")),
            ("filename ", Ok("")),
            ("", Err(HeaderError::NoFileName)),
            (" ", Err(HeaderError::NoFileName)),
            ("Filename YS50eHQ=", Err(HeaderError::NoFileName)),
            ("filename /w==", Err(HeaderError::FileName)),
            ("filename a.txt", Err(HeaderError::Metadata)),
            ("filename YS50eHQ=,", Err(HeaderError::Metadata)),
            (",filename YS50eHQ=", Err(HeaderError::Metadata)),
            ("filename  YS50eHQ=", Err(HeaderError::Metadata)),
            ("filename YS50 eHQ=", Err(HeaderError::Metadata)),
            ("filename YS50eHR=", Err(HeaderError::Metadata)),
            ("\u{44f} YS50eHQ=", Err(HeaderError::Metadata)),
            ("filename YQ==,filename Yg==", Err(HeaderError::RepeatedKey)),
        ] {
            let found = Metadata::parse(text.as_bytes()).and_then(|m| m.file_name().map(ToOwned::to_owned));
            assert_eq!(found, name.map(ToOwned::to_owned), "{text:?}");
        }
    }

    #[test]
    fn a_checksum_names_its_algorithm_and_has_its_length() {
        let of = |algorithm: &str, length: usize| format!("{algorithm} {}", BASE64.encode(vec![7; length]));
        assert_eq!(checksum(of("sha1", 20).as_bytes()), Ok(Checksum::Sha1([7; 20])));
        assert_eq!(checksum(of("sha256", 32).as_bytes()), Ok(Checksum::Sha256([7; 32])));
        for wrong in [
            of("sha1", 19),
            of("sha1", 32),
            of("sha256", 20),
            of("md5", 16),
            of("SHA1", 20),
            of("crc32", 4),
            "sha1".into(),
            "sha1 ".into(),
            String::new(),
            "sha1 !".into(),
            "sha1  BwcH".into(),
        ] {
            assert_eq!(checksum(wrong.as_bytes()), Err(HeaderError::Checksum), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_parsed_or_refused(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = version(Some(&value));
            let _ = bytes("Upload-Offset", &value);
            let _ = checksum(&value);
            if let Ok(metadata) = Metadata::parse(&value) {
                let _ = metadata.file_name();
            }
        }

        #[test]
        fn numbers_are_read_as_they_were_written(number in any::<u64>()) {
            prop_assert_eq!(bytes("Upload-Offset", number.to_string().as_bytes()), Ok(number));
        }

        #[test]
        fn metadata_is_read_as_it_was_written(
            pairs in proptest::collection::btree_map("[!-+\\--~]{1,20}", proptest::collection::vec(any::<u8>(), 0..40), 0..8),
        ) {
            let written: Vec<_> = pairs.iter().map(|(key, value)| format!("{key} {}", BASE64.encode(value))).collect();
            let read = Metadata::parse(written.join(",").as_bytes()).unwrap();
            prop_assert_eq!(read.pairs.len(), pairs.len());
            for (key, value) in &pairs {
                prop_assert_eq!(read.get(key), Some(value.as_slice()));
            }
        }

        #[test]
        fn any_text_can_be_a_file_name(name in ".{0,100}") {
            let written = format!("filename {}", BASE64.encode(&name));
            let metadata = Metadata::parse(written.as_bytes()).unwrap();
            prop_assert_eq!(metadata.file_name(), Ok(name.as_str()));
        }

        #[test]
        fn a_digest_is_read_as_it_was_written(digest in any::<[u8; 32]>()) {
            let written = format!("sha256 {}", BASE64.encode(digest));
            prop_assert_eq!(checksum(written.as_bytes()), Ok(Checksum::Sha256(digest)));
        }
    }
}
