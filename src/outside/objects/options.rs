//! Which store, and how to reach it: the `objects` part of the deployment settings.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::Place;

/// The store and its settings, told apart by `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ObjectsOptions {
    /// Files below a directory of this machine.
    Files(FilesOptions),
    /// S3 or a server that speaks it.
    S3(Box<S3Options>),
}

/// Settings of the disk store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesOptions {
    /// The directory all places are below. It belongs on an encrypted volume, and on the spool's file system:
    /// then an upload is linked instead of copied.
    pub root: PathBuf,
}

/// Settings of the S3 store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Options {
    /// The buckets.
    pub buckets: S3Buckets,
    /// Put before every key, such as `lettercase/`; lower-case letters, digits, `-`, `_`, `.` and `/`.
    #[serde(default)]
    pub prefix: String,
    /// The region requests are signed for. Without it the credential chain's, and with keys `us-east-1`.
    #[serde(default)]
    pub region: Option<String>,
    /// Another server than AWS: `https://host[:port]`.
    #[serde(default)]
    pub endpoint_url: Option<String>,
    /// Whether the endpoint may be `http://` on another machine. Health data then crosses the network in clear.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`: what most servers but AWS want.
    #[serde(default)]
    pub path_style: bool,
    /// Where the credentials come from.
    #[serde(default)]
    pub credentials: S3Credentials,
    /// The encryption at rest asked for with each object (INT-14).
    #[serde(default)]
    pub encryption: S3Encryption,
    /// Whether copies are tagged. `false` for servers that refuse tags (Garage).
    #[serde(default = "yes")]
    pub tags: bool,
    /// How long a connection may take to stand, in milliseconds.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// How long one try may take that moves no document, in milliseconds.
    #[serde(default = "small_timeout_ms")]
    pub small_timeout_ms: u64,
    /// How long one try may take that moves a document, in milliseconds.
    #[serde(default = "bulk_timeout_ms")]
    pub bulk_timeout_ms: u64,
    /// How often a call is tried before it fails, 1 to 10.
    #[serde(default = "attempts")]
    pub attempts: u32,
}

impl S3Options {
    /// One bucket of AWS with nothing else said.
    pub fn of_bucket(bucket: &str) -> Self {
        Self {
            buckets: S3Buckets::One(bucket.to_owned()),
            prefix: String::new(),
            region: None,
            endpoint_url: None,
            allow_plain_http: false,
            path_style: false,
            credentials: S3Credentials::default(),
            encryption: S3Encryption::default(),
            tags: yes(),
            connect_timeout_ms: connect_timeout_ms(),
            small_timeout_ms: small_timeout_ms(),
            bulk_timeout_ms: bulk_timeout_ms(),
            attempts: attempts(),
        }
    }
}

/// One bucket for all places, or one each. Keys are the same either way: prefix, place, name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum S3Buckets {
    /// One bucket; the places are prefixes in it.
    One(String),
    /// A bucket for each place.
    #[serde(rename = "each")]
    Each {
        /// For [`Place::Incoming`].
        incoming: String,
        /// For [`Place::Content`].
        content: String,
        /// For [`Place::Quarantine`].
        quarantine: String,
        /// For [`Place::Audit`].
        audit: String,
        /// For [`Place::Parts`]. Without it they are beside `incoming`, whose bytes are as unscanned.
        #[serde(default)]
        parts: Option<String>,
        /// For [`Place::Letters`]. Without it they are beside `content`, which is as clean.
        #[serde(default)]
        letters: Option<String>,
    },
}

impl S3Buckets {
    /// The bucket a place is in.
    pub fn of(&self, place: Place) -> &str {
        match (self, place) {
            (Self::One(bucket), _) => bucket,
            (Self::Each { incoming, .. }, Place::Incoming) => incoming,
            (Self::Each { content, .. }, Place::Content) => content,
            (Self::Each { quarantine, .. }, Place::Quarantine) => quarantine,
            (Self::Each { audit, .. }, Place::Audit) => audit,
            (Self::Each { parts, incoming, .. }, Place::Parts) => parts.as_ref().unwrap_or(incoming),
            (Self::Each { letters, content, .. }, Place::Letters) => letters.as_ref().unwrap_or(content),
        }
    }
}

/// Where credentials come from: `"chain"`, or `keys` or `key_file` with a key pair.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum S3Credentials {
    /// AWS's own chain: environment, profile files, web identity, container, instance.
    #[default]
    Chain,
    /// A key pair in the settings.
    Keys {
        /// The key's id.
        access_key_id: String,
        /// The key's secret.
        secret_access_key: Secret,
    },
    /// A key pair whose secret is the (trimmed) content of a file, read when the store is opened.
    KeyFile {
        /// The key's id.
        access_key_id: String,
        /// The file with the key's secret.
        secret_access_key_path: PathBuf,
    },
}

/// The encryption at rest asked for with each object: `"none"`, `"aes256"`, or `kms` with a key. A store that does not confirm it is
/// [`super::ObjectError::Misconfigured`]: asking and not getting would look encrypted and not be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum S3Encryption {
    /// Nothing is asked for: the bucket's default or the server's disks do it.
    None,
    /// Keys of the store (SSE-S3).
    #[default]
    Aes256,
    /// A key of the key management service (SSE-KMS).
    Kms {
        /// The key's id or ARN.
        key_id: String,
    },
}

/// A secret that does not print.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A secret from its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Each call is a place where it leaves its wrapper: keep them few.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn yes() -> bool {
    true
}
fn connect_timeout_ms() -> u64 {
    3_000
}
fn small_timeout_ms() -> u64 {
    10_000
}
/// 64 MiB at 0.6 MB/s.
fn bulk_timeout_ms() -> u64 {
    120_000
}
fn attempts() -> u32 {
    3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ObjectsOptions, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn the_kind_tells_the_stores_apart() {
        assert_eq!(
            read("kind = 'files'\nroot = '/var/lib/lettercase/objects'").unwrap(),
            ObjectsOptions::Files(FilesOptions { root: "/var/lib/lettercase/objects".into() })
        );
        let ObjectsOptions::S3(s3) = read("kind = 's3'\nbuckets.one = 'docs'").unwrap() else {
            panic!("not S3");
        };
        assert_eq!(s3.buckets.of(Place::Quarantine), "docs");
        assert_eq!(s3.encryption, S3Encryption::Aes256, "encryption is asked for unless told otherwise");
        let each = "kind = 's3'\n[buckets.each]\nincoming='i'\ncontent='c'\nquarantine='q'\naudit='a'";
        let ObjectsOptions::S3(s3) = read(each).unwrap() else {
            panic!("not S3");
        };
        let of_all = |s3: &S3Options| Place::ALL.iter().map(|p| s3.buckets.of(*p)).collect::<String>();
        assert_eq!(of_all(&s3), "icqaic", "parts are beside incoming and letters beside content unless told otherwise");
        let ObjectsOptions::S3(s3) = read(&format!("{each}\nparts='p'\nletters='l'")).unwrap() else {
            panic!("not S3");
        };
        assert_eq!(of_all(&s3), "icqapl");
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        for text in [
            "kind = 'files'\nroot = '/x'\nbucket = 'y'",
            "kind = 'files'",
            "kind = 'ftp'\nroot = '/x'",
            "kind = 's3'\nbuckets.one = 'docs'\nretries = 3",
            "kind = 's3'\nbuckets.each = { incoming = 'i', content = 'c', quarantine = 'q' }",
            "kind = 's3'\nbuckets.one = 'docs'\nencryption = 'rot13'",
            "kind = 's3'\nbuckets.one = 'docs'\nencryption.kms = { key_id = 'x', region = 'y' }",
            "kind = 's3'\nbuckets.one = 'docs'\ncredentials.keys = { access_key_id = 'x' }",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_does_not_print() {
        let text = "kind = 's3'\nbuckets.one = 'docs'\n[credentials.keys]\naccess_key_id = 'AK'\n\
                    secret_access_key = 'hush'";
        let options = read(text).unwrap();
        assert!(!format!("{options:?}").contains("hush"));
        assert!(read(&text.replace("access_key_id", "id")).is_err_and(|error| !error.message().contains("hush")));
    }
}
