//! Texts of mails: templates of our own, `templates/email/`, or an operator's in their place.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{ComposeError, MailItem};
use crate::letters::brand::BrandText;
use crate::model::digest::DigestKind;
use crate::model::ids::Brand;

/// `templates/email/` as it was when the program was built.
#[derive(rust_embed::Embed)]
#[folder = "templates/email/"]
struct BuiltIn;

/// The files, in the order in which their versions are hashed.
const FILES: [&str; 3] = ["digest.html", "digest.txt", "subject.txt"];
/// Bytes of one.
const BYTES: u64 = 1 << 20;
/// Characters of a subject.
const SUBJECT: usize = 200;
/// Columns of the text part.
const COLUMNS: usize = 76;

/// Why templates can't be used.
#[derive(Debug, Error)]
pub enum TemplatesError {
    /// One can't be read.
    #[error("can't read {0}: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// One is missing or wrong.
    #[error("templates/email/{file}: {message}")]
    Template {
        /// Which.
        file: &'static str,
        /// What is wrong.
        message: String,
    },
    /// One fails for a mail that there can be.
    #[error("templates/email/{file}:{line}: {message} (in a {kind} mail of brand {brand})")]
    Fails {
        /// Which.
        file: &'static str,
        /// In which line.
        line: usize,
        /// What is wrong.
        message: String,
        /// Of which kind the mail is.
        kind: DigestKind,
        /// Whose it is.
        brand: Brand,
    },
}

/// What templates are given.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    /// Name, colours and addresses of the brand.
    pub(super) brand: &'a BrandText,
    /// The kind's code.
    pub(super) kind: DigestKind,
    /// Whether it asks for something.
    pub(super) action: bool,
    /// Practices that are named.
    pub(super) items: &'a [MailItem],
    /// How many more there are.
    pub(super) more_practices: u64,
    /// How many there are in all.
    pub(super) practices: u64,
    /// How many letters.
    pub(super) letters: u64,
    /// The day, in words.
    pub(super) date: String,
    /// Where to sign in.
    pub(super) portal: &'a str,
    /// Where to unsubscribe.
    pub(super) unsubscribe: &'a str,
    /// Whether it is a test.
    pub(super) test: bool,
}

/// What they make.
pub(super) struct Texts {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

pub(super) struct Templates {
    environment: Environment<'static>,
    version: String,
}

impl Templates {
    /// Those of `templates/email/` in the operator's directory where it has them, else those that are built in.
    pub(super) fn open(config: Option<&Path>) -> Result<Self, TemplatesError> {
        let own = config.map(|dir| dir.join("templates/email")).filter(|dir| dir.is_dir());
        let mut environment = Environment::new();
        // a name that is misspelt is an error, not a blank
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment
            .set_auto_escape_callback(|name| if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None });
        let mut hash = Sha256::new();
        for file in FILES {
            let wrong = |message: String| TemplatesError::Template { file, message };
            let bytes = match &own {
                Some(dir) => read(&dir.join(file))?,
                None => BuiltIn::get(file).ok_or_else(|| wrong("it is not there".into()))?.data,
            };
            let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is no text".into()))?.replace("\r\n", "\n");
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(&text);
            environment.add_template_owned(file, text).map_err(|error| wrong(error.to_string()))?;
        }
        Ok(Self { environment, version: hex::encode(hash.finalize())[..12].to_owned() })
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Makes mails of each kind that there can be of a brand. A name that is misspelt is found only where it is used: without
    /// this the start would pass, and each mail be rejected.
    pub(super) fn try_all(&self, brand: &Brand, text: &BrandText, portal: &str) -> Result<(), TemplatesError> {
        let item = |letters| MailItem { ending: "0001".to_owned(), letters };
        let several = [vec![item(1)], vec![item(4)], vec![item(1), item(3)]];
        for &kind in DigestKind::ALL {
            for items in &several {
                for (more_practices, test) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)] {
                    let shown = Shown {
                        brand: text,
                        kind,
                        action: kind.needs_answer(),
                        items,
                        more_practices,
                        practices: more_practices + items.len() as u64,
                        letters: more_practices + items.iter().map(|item| item.letters).sum::<u64>(),
                        date: "January 1, 2001".to_owned(),
                        portal,
                        unsubscribe: portal,
                        test,
                    };
                    self.try_one(brand, &shown)?;
                }
            }
        }
        Ok(())
    }

    fn try_one(&self, brand: &Brand, shown: &Shown<'_>) -> Result<(), TemplatesError> {
        for file in FILES {
            self.make(file, shown).map_err(|error| TemplatesError::Fails {
                file,
                line: error.line().unwrap_or(0),
                // what is shown is made up: here the message can be told
                message: match error.detail() {
                    Some(detail) => format!("{}: {detail}", error.kind()),
                    None => error.kind().to_string(),
                },
                kind: shown.kind,
                brand: brand.clone(),
            })?;
        }
        Ok(())
    }

    fn make(&self, file: &str, shown: &Shown<'_>) -> Result<String, minijinja::Error> {
        self.environment.get_template(file)?.render(Serde(shown))
    }

    pub(super) fn render(&self, shown: &Shown<'_>) -> Result<Texts, ComposeError> {
        // what fails is told by file and line: the message could quote what was to be shown
        let make = |file: &'static str| {
            let made = self.make(file, shown);
            made.map_err(|error| ComposeError::Template(format!("{file}:{}", error.line().unwrap_or(0))))
        };
        let subject = make("subject.txt")?.split_whitespace().collect::<Vec<_>>().join(" ");
        let subject = subject.chars().take(SUBJECT).collect();
        Ok(Texts { subject, text: wrapped(&make("digest.txt")?), html: ended(make("digest.html")?) })
    }
}

fn read(path: &Path) -> Result<Cow<'static, [u8]>, TemplatesError> {
    let at = |error| TemplatesError::File(path.to_owned(), error);
    if std::fs::metadata(path).map_err(at)?.len() > BYTES {
        return Err(at(std::io::Error::other("it is too large")));
    }
    std::fs::read(path).map(Cow::Owned).map_err(at)
}

/// Lines as they are sent.
fn ended(text: String) -> String {
    format!("{}\r\n", text.trim_end().replace('\n', "\r\n"))
}

/// The text part: what a template has as one line is a paragraph, and is broken between words. A link is one word.
fn wrapped(text: &str) -> String {
    let mut all = String::with_capacity(text.len() + 64);
    for line in text.trim().lines() {
        let line = line.trim_end();
        let words = line.trim_start();
        let indent = line.len() - words.len();
        let mut column = indent;
        all.push_str(&line[..indent]);
        for (place, word) in words.split(' ').enumerate() {
            let width = word.chars().count();
            if place > 0 && column + 1 + width > COLUMNS {
                all.push_str("\r\n");
                all.push_str(&line[..indent]);
                column = indent;
            } else if place > 0 {
                all.push(' ');
                column += 1;
            }
            all.push_str(word);
            column += width;
        }
        all.push_str("\r\n");
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_broken_between_words_and_links_are_not() {
        let long = "word ".repeat(30);
        let link = format!("https://x.example/{}", "a".repeat(100));
        let text = wrapped(&format!("\n{long}\n\n  - {long}\n{link}\n\n"));
        assert!(text.lines().all(|line| line.len() <= COLUMNS || line == link), "{text}");
        assert!(text.contains(&format!("\r\n{link}\r\n")) && text.contains("\r\n\r\n  - word"));
        assert_eq!(text.replace("\r\n", "").matches(['\r', '\n']).count(), 0);
    }

    #[test]
    fn templates_of_an_operator_take_the_place_of_ours_and_have_their_own_version() {
        let own = tempfile::tempdir().unwrap();
        let built_in = Templates::open(Some(own.path())).unwrap();
        assert_eq!(built_in.version(), Templates::open(None).unwrap().version());
        let dir = own.path().join("templates/email");
        std::fs::create_dir_all(&dir).unwrap();
        assert!(Templates::open(Some(own.path())).is_err_and(|e| e.to_string().contains("digest.html")));
        for file in FILES {
            std::fs::write(dir.join(file), "{{ letters }}").unwrap();
        }
        assert_ne!(Templates::open(Some(own.path())).unwrap().version(), built_in.version());
        std::fs::write(dir.join("subject.txt"), "{% if %}").unwrap();
        assert!(Templates::open(Some(own.path())).is_err_and(|e| e.to_string().contains("subject.txt")));
    }
}
