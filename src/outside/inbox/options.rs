//! Which places are watched, and what is known of all that lies there: the `sources` part of the deployment settings.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use serde::Deserialize;

use super::InboxError;
use crate::model::access::Mode;
use crate::model::document::Channel;
use crate::model::ids::Brand;
use crate::outside::objects::S3Credentials;

/// The longest name of a source, in characters.
const NAME_MAX: usize = 32;

/// A watched place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceOptions {
    /// Its name, kept with what it brings: lower-case letters, digits and `-`. It stays when the place moves.
    pub name: String,
    /// Where it is.
    pub at: PlaceOptions,
    /// How its documents came, where nothing beside them says otherwise.
    pub channel: Channel,
    /// The brand its documents are for, where nothing beside them says otherwise; else the settings'.
    #[serde(default)]
    pub brand: Option<Brand>,
    /// When a file counts as complete.
    #[serde(default)]
    pub complete: Complete,
    /// The time zone of receipt times without an offset, an IANA name. Without it such a time is refused.
    #[serde(default)]
    pub zone: Option<String>,
    /// Set, even empty: `.csv` files are indexes of other files. Heads of columns as the scanning software writes
    /// them, each with our name of the column, or `ignore`.
    #[serde(default)]
    pub index: Option<BTreeMap<String, String>>,
}

/// Where a source is, told apart by `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PlaceOptions {
    /// A directory of this machine, or mounted there.
    Folder(FolderOptions),
    /// A prefix in a bucket of S3 or a server that speaks it.
    Bucket(Box<BucketOptions>),
}

/// A watched directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderOptions {
    /// The directory; `done` and `problem` are made in it.
    pub path: PathBuf,
}

/// A watched prefix of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketOptions {
    /// The bucket.
    pub bucket: String,
    /// What the watched objects' keys begin with: empty, or ending with `/`.
    #[serde(default)]
    pub prefix: String,
    /// The region requests are signed for.
    #[serde(default)]
    pub region: Option<String>,
    /// Another server than AWS: `https://host[:port]`.
    #[serde(default)]
    pub endpoint_url: Option<String>,
    /// Whether the endpoint may be `http://` on another machine.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`.
    #[serde(default)]
    pub path_style: bool,
    /// Where the credentials come from: of its own, so that they reach this bucket and no other.
    #[serde(default)]
    pub credentials: S3Credentials,
}

impl std::hash::Hash for BucketOptions {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.bucket, &self.prefix, &self.endpoint_url).hash(state);
    }
}

/// When a file of a folder counts as complete. Objects of a bucket are complete by nature; the last three apply to
/// them, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Complete {
    /// When its size and time have not changed for the settle time.
    #[default]
    Settled,
    /// When `NAME.ready` lies beside it.
    Ready,
    /// When its sidecar `NAME.json`, written last, lies beside it.
    Sidecar,
    /// When an index names it.
    Index,
}

/// Refuses sources that make no sense, alone or together.
///
/// # Errors
/// Says what is wrong with which of them, by its place in the list.
pub fn check(sources: &[SourceOptions]) -> Result<(), InboxError> {
    let (mut names, mut places) = (HashSet::new(), HashSet::new());
    for (at, source) in sources.iter().enumerate() {
        let wrong = |what: &str| Err(InboxError::Misconfigured(format!("sources, entry {}: {what}", at + 1)));
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if source.name.is_empty() || source.name.len() > NAME_MAX || !source.name.bytes().all(fine) {
            return wrong("its name must have 1 to 32 lower-case letters, digits and -");
        }
        if !names.insert(&source.name) {
            return wrong("another one has this name");
        }
        if source.brand.as_ref().is_some_and(|brand| brand.mode() == Mode::Test) {
            return wrong("its brand is for trials; what a source brings is real");
        }
        if source.complete == Complete::Index && source.index.is_none() {
            return wrong("complete = \"index\" needs an index table");
        }
        let place = match &source.at {
            PlaceOptions::Folder(folder) if !folder.path.is_absolute() => return wrong("its path must be absolute"),
            PlaceOptions::Folder(folder) => (String::new(), folder.path.clone(), String::new()),
            PlaceOptions::Bucket(bucket) => {
                let prefix = &bucket.prefix;
                if prefix.starts_with('/') || prefix.contains("//") || !(prefix.is_empty() || prefix.ends_with('/')) {
                    return wrong("its prefix must be empty or end with /, and neither begin with / nor hold //");
                }
                (bucket.bucket.clone(), prefix.into(), bucket.endpoint_url.clone().unwrap_or_default())
            }
        };
        if !places.insert(place) {
            return wrong("another one watches the same place: each file would be taken twice");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Both {
        sources: Vec<SourceOptions>,
    }

    fn read(text: &str) -> Result<(), String> {
        let both: Both = toml::from_str(text).map_err(|error| error.to_string())?;
        check(&both.sources).map_err(|error| error.to_string())
    }

    #[test]
    fn a_source_that_makes_no_sense_is_refused_with_the_reason() {
        let folder = |name: &str, path: &str| {
            format!("[[sources]]\nname='{name}'\nchannel='fax'\nat={{kind='folder',path='{path}'}}\n")
        };
        let bucket = |more: &str| {
            format!("[[sources]]\nname='b'\nchannel='scan'\nat={{kind='bucket',bucket='in',path_style=true{more}}}\n")
        };
        for (text, wrong) in [
            (folder("fax", "/srv/fax"), None),
            (bucket(""), None),
            (bucket(",prefix='Mail Room/'") + &folder("fax", "/srv/fax"), None),
            (folder("fax", "/srv/fax") + "index={}\ncomplete='index'\nzone='America/New_York'\nbrand='acme'\n", None),
            (folder("fax", "srv/fax"), Some("absolute")),
            (folder("Fax 1", "/srv/fax"), Some("name")),
            (folder("fax", "/srv/fax") + &folder("fax", "/srv/other"), Some("this name")),
            (folder("a", "/srv/fax") + &folder("b", "/srv/fax"), Some("same place")),
            (folder("fax", "/srv/fax") + "brand='acme.test'\n", Some("trials")),
            (folder("fax", "/srv/fax") + "complete='index'\n", Some("index")),
            (folder("fax", "/srv/fax") + "channels='fax'\n", Some("channels")),
            (bucket(",prefix='mail'"), Some("prefix")),
            (bucket(",path='/x'"), Some("path")),
        ] {
            match (read(&text), wrong) {
                (Ok(()), None) => {}
                (Err(told), Some(wrong)) => assert!(told.contains(wrong), "{text}: {told}"),
                (read, _) => panic!("{text}: {read:?}"),
            }
        }
    }
}
