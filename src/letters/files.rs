//! Where templates, brands and fonts come from: what is built into the program, or a directory that takes its place.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

/// `templates/` as it was when the program was built.
#[derive(rust_embed::Embed)]
#[folder = "templates/"]
struct BuiltIn;

/// Directories of `templates/` that letters are made of.
const PARTS: [&str; 3] = ["letters/", "brands/", "fonts/"];
/// Bytes of one file: a font with all of a large script is the largest there is.
const FILE_BYTES: u64 = 32 << 20;
/// Files of a directory of templates.
const FILES: usize = 5_000;

/// Why templates can't be read.
#[derive(Debug, Error)]
pub enum FilesError {
    /// The directory, or something in it.
    #[error("can't read or write {0}: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// It is larger than templates are.
    #[error("{0} is too large for templates")]
    TooLarge(PathBuf),
}

/// All files by their path below `templates/`, with `/` between names.
pub(super) struct Files(BTreeMap<String, Cow<'static, [u8]>>);

impl Files {
    pub(super) fn open(dir: Option<&Path>) -> Result<Self, FilesError> {
        let mut files = BTreeMap::new();
        if let Some(dir) = dir {
            for part in PARTS {
                walk(&dir.join(part), part, &mut files)?;
            }
        } else {
            for path in BuiltIn::iter().filter(|path| PARTS.iter().any(|part| path.starts_with(part))) {
                if let Some(file) = BuiltIn::get(&path) {
                    files.insert(path.into_owned(), file.data);
                }
            }
        }
        Ok(Self(files))
    }

    pub(super) fn get(&self, path: &str) -> Option<&Cow<'static, [u8]>> {
        self.0.get(path)
    }

    /// Files whose path begins so, in order.
    pub(super) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Cow<'static, [u8]>)> {
        self.0
            .range(prefix.to_owned()..)
            .take_while(move |(path, _)| path.starts_with(prefix))
            .map(|(path, bytes)| (path.as_str(), bytes))
    }

    /// The version of these files: a hash over their names and contents.
    pub(super) fn version<'a>(&'a self, prefixes: &[&'a str], counts: impl Fn(&str) -> bool) -> String {
        let mut hash = Sha256::new();
        for prefix in prefixes {
            for (path, bytes) in self.under(prefix).filter(|(path, _)| counts(path)) {
                for part in [path.as_bytes(), bytes] {
                    hash.update((part.len() as u64).to_be_bytes());
                    hash.update(part);
                }
            }
        }
        hex::encode(hash.finalize())[..12].to_owned()
    }
}

/// Lays what is built in out in a directory, as `templates/` is.
///
/// # Errors
/// When it can't be written.
pub fn unpack(dir: &Path) -> Result<(), FilesError> {
    for path in BuiltIn::iter() {
        let Some(file) = BuiltIn::get(&path) else { continue };
        let to = dir.join(path.as_ref());
        let written =
            to.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&to, &file.data));
        written.map_err(|error| FilesError::File(to, error))?;
    }
    Ok(())
}

fn walk(dir: &Path, prefix: &str, files: &mut BTreeMap<String, Cow<'static, [u8]>>) -> Result<(), FilesError> {
    let at = |error| FilesError::File(dir.to_owned(), error);
    for entry in std::fs::read_dir(dir).map_err(at)? {
        let entry = entry.map_err(at)?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let meta = std::fs::metadata(&path).map_err(|error| FilesError::File(path.clone(), error))?;
        if meta.is_dir() {
            if prefix.matches('/').count() > 6 {
                return Err(FilesError::TooLarge(path));
            }
            walk(&path, &format!("{prefix}{name}/"), files)?;
        } else if meta.len() > FILE_BYTES || files.len() >= FILES {
            return Err(FilesError::TooLarge(path));
        } else {
            let bytes = std::fs::read(&path).map_err(|error| FilesError::File(path.clone(), error))?;
            files.insert(format!("{prefix}{name}"), Cow::Owned(bytes));
        }
    }
    Ok(())
}
