//! Signatures that say which domain answers for a mail (DKIM, RFC 6376; with Ed25519, RFC 8463).
//!
//! lettre's own signing is not used: it reads the machine's clock, takes RSA keys in one of the two usual forms only, and
//! brings a second RSA that is known to leak its key by timing.

use std::fmt;
use std::path::PathBuf;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::outside::mailer::DkimOptions;

/// What is signed. `From` is named twice: a second one that is added on the way breaks the signature.
const SIGNED: [&str; 10] = [
    "from",
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "list-unsubscribe",
    "list-unsubscribe-post",
];

/// Characters of a signature in one line.
const LINE: usize = 70;

/// Why a key can't be used.
#[derive(Debug, Error)]
pub enum DkimError {
    /// The file can't be read.
    #[error("can't read the key {0}: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// It holds no key that mails are signed with.
    #[error("{0} holds no private key (PEM) of RSA with 2048 to 8192 bits, or of Ed25519")]
    Key(PathBuf),
    /// The signature could not be made.
    #[error("a mail could not be signed")]
    Sign,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// A key of a domain, ready to sign.
pub struct Signer {
    domain: String,
    selector: String,
    key: Key,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}._domainkey.{})", self.selector, self.domain)
    }
}

impl Signer {
    /// Reads the key.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn open(options: &DkimOptions) -> Result<Self, DkimError> {
        let path = &options.key_file;
        let text = std::fs::read_to_string(path).map_err(|error| DkimError::File(path.clone(), error))?;
        let key = read_key(&text).ok_or_else(|| DkimError::Key(path.clone()))?;
        Ok(Self { domain: options.domain.clone(), selector: options.selector.clone(), key })
    }

    /// The field to put before a message: `DKIM-Signature: …`, with its line end.
    ///
    /// # Errors
    /// When the key can't sign.
    pub fn sign(&self, message: &[u8], at: Timestamp) -> Result<String, DkimError> {
        let end = find(message, b"\r\n\r\n").unwrap_or(message.len());
        let (head, body) = (&message[..end], message.get(end + 4..).unwrap_or_default());
        let head = String::from_utf8_lossy(head);
        let fields = fields(&head);
        let algorithm = match self.key {
            Key::Rsa(_) => "rsa-sha256",
            Key::Ed25519(_) => "ed25519-sha256",
        };
        let body_hash = STANDARD.encode(Sha256::digest(relaxed_body(body)));
        let unsigned = format!(
            "DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; d={};\r\n\ts={}; t={}; q=dns/txt;\r\n\th={};\r\n\tbh={body_hash};\r\n\tb=",
            self.domain,
            self.selector,
            at.as_second().max(0),
            SIGNED.join(":\r\n\t "),
        );
        let mut text = String::new();
        // a name that is there twice is signed from the last field up; what is not there counts as nothing
        let mut left: Vec<&(String, String)> = fields.iter().collect();
        for name in SIGNED {
            if let Some(place) = left.iter().rposition(|(field, _)| field == name) {
                let (name, value) = left.remove(place);
                text.push_str(&format!("{name}:{value}\r\n"));
            }
        }
        let (name, value) = relaxed_field(&unsigned);
        text.push_str(&format!("{name}:{value}"));
        let signature = self.signature(text.as_bytes())?;
        let mut field = unsigned;
        for (place, letter) in STANDARD.encode(signature).chars().enumerate() {
            if place > 0 && place % LINE == 0 {
                field.push_str("\r\n\t ");
            }
            field.push(letter);
        }
        field.push_str("\r\n");
        Ok(field)
    }

    fn signature(&self, text: &[u8]) -> Result<Vec<u8>, DkimError> {
        match &self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let signed = key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature);
                signed.map(|()| signature).map_err(|_| DkimError::Sign)
            }
            // of the hash, not of the text (RFC 8463, 3)
            Key::Ed25519(key) => Ok(key.sign(&Sha256::digest(text)).as_ref().to_vec()),
        }
    }
}

/// Reads a private key from PEM, in either form that is usual for it.
fn read_key(text: &str) -> Option<Key> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let body: String = body.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(body).ok()?;
    match label {
        "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der).ok().map(|key| Key::Rsa(Box::new(key))),
        "PRIVATE KEY" => match RsaKeyPair::from_pkcs8(&der) {
            Ok(key) => Some(Key::Rsa(Box::new(key))),
            // OpenSSL's have no public key with them
            Err(_) => Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok().map(|key| Key::Ed25519(Box::new(key))),
        },
        _ => None,
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// The fields of a head, each relaxed (RFC 6376, 3.4.2).
fn fields(head: &str) -> Vec<(String, String)> {
    let mut all: Vec<String> = Vec::new();
    for line in head.split("\r\n") {
        match all.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push_str("\r\n");
                last.push_str(line);
            }
            _ => all.push(line.to_owned()),
        }
    }
    all.iter().map(|field| relaxed_field(field)).collect()
}

/// Name in small letters; the value unfolded, with single blanks, and none at its ends.
fn relaxed_field(field: &str) -> (String, String) {
    let (name, value) = field.split_once(':').unwrap_or((field, ""));
    let words = value.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
    (name.trim_end().to_ascii_lowercase(), words.collect::<Vec<_>>().join(" "))
}

/// Lines with single blanks, none at their ends, and no empty ones at the end (RFC 6376, 3.4.4).
fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(body.len() + 2);
    for line in Lines(Some(body)) {
        let mut blank = false;
        for byte in line {
            match byte {
                b' ' | b'\t' => blank = true,
                byte => {
                    if std::mem::take(&mut blank) {
                        all.push(b' ');
                    }
                    all.push(*byte);
                }
            }
        }
        all.extend_from_slice(b"\r\n");
    }
    while all.ends_with(b"\r\n\r\n") {
        all.truncate(all.len() - 2);
    }
    if all == b"\r\n" { Vec::new() } else { all }
}

/// Lines by CR LF; what ends with one has no empty line behind it.
struct Lines<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.0.filter(|text| !text.is_empty())?;
        match find(text, b"\r\n") {
            Some(end) => {
                self.0 = Some(&text[end + 2..]);
                Some(&text[..end])
            }
            None => {
                self.0 = None;
                Some(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_relaxed_as_the_rfc_says() {
        // the examples of RFC 6376, 3.4.5
        assert_eq!(relaxed_field("A: X"), ("a".into(), "X".into()));
        assert_eq!(relaxed_field("B : Y\t\r\n\tZ  "), ("b".into(), "Y Z".into()));
        assert_eq!(relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n"), b" C\r\nD E\r\n");
        assert_eq!(relaxed_body(b"\r\n\r\n"), b"", "an empty body is nothing (3.4.4)");
        assert_eq!(relaxed_body(b"a"), b"a\r\n");
        assert_eq!(relaxed_body(b"a\r\n\r\n \t\r\n"), b"a\r\n");
        assert_eq!(relaxed_body(b""), b"");
        let body = STANDARD.encode(Sha256::digest(relaxed_body(b"")));
        assert_eq!(body, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "as the RFC gives it");
        let head = "From: a\r\nSubject: x\r\n\ty\r\nTo:b";
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(fields(head), [of("from", "a"), of("subject", "x y"), of("to", "b")]);
    }
}
