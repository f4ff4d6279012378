//! Deployment settings: where things are. What Lettercase does with a document is policy and lives in
//! `pipelines/`, not here.
//!
//! Defaults, then a TOML file, then the environment: `LETTERCASE_LISTEN`, or for a key inside a table its
//! path joined by two underscores, `LETTERCASE_OBJECTS__FILES__ROOT`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;
use thiserror::Error;
use toml::{Table, Value};

use crate::outside::inbox::{self, InboxError, SourceOptions};
use crate::outside::mailer::MailOptions;
use crate::outside::objects::{FilesOptions, ObjectsOptions};
use crate::outside::oidc::Issuers;
use crate::outside::scanner::Endpoint;
use crate::outside::traces::TraceOptions;

/// What the environment's names begin with.
const PREFIX: &str = "LETTERCASE_";

/// Names with the prefix that are no settings: they steer the client, or the tests.
const OTHERS: &[&str] = &[
    "LETTERCASE_SETTINGS",
    "LETTERCASE_SERVER",
    "LETTERCASE_KEY",
    "LETTERCASE_LOG",
    "LETTERCASE_TEST_POSTGRES",
    "LETTERCASE_UPDATE_DOCS",
];

/// Why the settings can't be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("can't read the settings file {file}: {source}")]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// They are not what is wanted.
    #[error("{from}: {message}")]
    Content {
        /// The file, or the environment.
        from: String,
        /// What is wrong.
        message: String,
    },
    /// Two settings don't go together.
    #[error("{0}")]
    Together(&'static str),
    /// A source makes no sense.
    #[error(transparent)]
    Source(#[from] InboxError),
}

/// The settings. Unknown keys are refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Everything that is on this machine lies below it.
    pub data_dir: PathBuf,
    /// Where `serve` listens. Beyond loopback it wants `tls`, or `trusted_proxies` that end TLS before it.
    #[serde(default = "listen")]
    pub listen: SocketAddr,
    /// This node's name; nodes that share a database need different ones, and have to be given them.
    #[serde(default = "node")]
    pub node: String,
    /// The brand of submissions that name none.
    #[serde(default = "brand")]
    pub brand: crate::model::ids::Brand,
    /// Further brands that are served.
    #[serde(default)]
    pub brands: Vec<crate::model::ids::Brand>,
    /// The certificate to listen with.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Addresses of proxies whose `X-Forwarded-For` is believed.
    #[serde(default)]
    pub trusted_proxies: Vec<IpNet>,
    /// Addresses beside this machine's own that may read `/metrics` without a key.
    #[serde(default)]
    pub metrics_from: Vec<IpNet>,
    /// `sqlite:PATH` or `postgres://…`; without it, SQLite in the data directory.
    #[serde(default)]
    pub database: Option<Secret>,
    /// The object store; without it, files in the data directory.
    #[serde(default)]
    pub objects: Option<ObjectsOptions>,
    /// The scanner.
    #[serde(default)]
    pub scanner: ScannerSetting,
    /// A directory whose `*.toml` take the place of the built-in pipelines of the same name.
    #[serde(default)]
    pub config_dir: Option<PathBuf>,
    /// The file with the key of the audit chain, 64 hexadecimal digits. Without it, one is made in the data
    /// directory; several nodes need the same one.
    #[serde(default)]
    pub audit_key_file: Option<PathBuf>,
    /// Watched folders and buckets of the mailroom: scanners, fax and mail gateways (docs/sources.md).
    #[serde(default)]
    pub sources: Vec<SourceOptions>,
    /// The folder of a fax gateway, the same one on every node (docs/fax.md). Without it, answers by fax go on paper.
    #[serde(default)]
    pub fax_gateway: Option<PathBuf>,
    /// Mails that tell users of their correspondence (docs/mail.md). Without it none are sent.
    #[serde(default)]
    pub mail: Option<MailOptions>,
    /// Who vouches for people's logins (OpenID Connect): `[oidc]`, or `[[oidc]]` for each of several. Without it,
    /// only keys come in.
    #[serde(default)]
    pub oidc: Issuers,
    /// Traces of documents' and letters' ways (docs/traces.md). Without it none are made.
    #[serde(default)]
    pub traces: Option<TraceOptions>,
}

/// A certificate chain and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate and those it rests on.
    pub certificate_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
}

/// A setting that may hold a password: it does not print.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Which scanner.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScannerSetting {
    /// `managed`: a clamd of our own, on this machine; or the endpoints of clamds that others run
    /// (`unix:/path`, `tcp:host:port`).
    #[serde(default)]
    pub run_by: ScannerUse,
    /// The managed clamd's path; without it, it is looked for where systems put it.
    #[serde(default)]
    pub clamd: Option<PathBuf>,
    /// Directories where clamd is looked for before the usual ones: those of `PATH`.
    #[serde(skip)]
    pub search: Vec<PathBuf>,
    /// Where the system keeps its signatures.
    #[serde(default)]
    pub signature_directories: Option<Vec<PathBuf>>,
    /// Whether files may pass that were scanned with test signatures only. Never where real documents come in.
    #[serde(default)]
    pub allow_test_signatures: bool,
}

/// Who runs the scanner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScannerUse {
    /// We do.
    #[default]
    Managed,
    /// Others do, at these endpoints.
    Endpoints(Vec<Endpoint>),
}

fn listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8750))
}

fn node() -> String {
    "node-1".to_owned()
}

#[expect(clippy::expect_used, reason = "a constant that every test parses")]
fn brand() -> crate::model::ids::Brand {
    "default".parse().expect("a valid brand")
}

impl Settings {
    /// Reads the settings: the file if one is given, the environment's variables over it, and `data_dir` over
    /// both where the command line names it.
    ///
    /// # Errors
    /// Names the key and what is wrong with it.
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        data_dir: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        let mut table = match file {
            None => Table::new(),
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|source| SettingsError::File { file: file.to_owned(), source })?;
                text.parse::<Table>().map_err(|e| SettingsError::Content {
                    from: file.display().to_string(),
                    message: at_line(&e, &text),
                })?
            }
        };
        let mut search = Vec::new();
        for (name, value) in environment {
            if name == "PATH" {
                search = std::env::split_paths(&value).filter(|dir| dir.is_absolute()).collect();
            }
            let Some(path) = name.strip_prefix(PREFIX) else { continue };
            if !OTHERS.contains(&name.as_str()) {
                set(&mut table, &path.to_ascii_lowercase(), &value)
                    .map_err(|message| SettingsError::Content { from: name, message })?;
            }
        }
        if let Some(dir) = data_dir {
            table.insert("data_dir".into(), Value::String(dir.display().to_string()));
        }
        table.entry("data_dir").or_insert_with(|| Value::String("lettercase-data".into()));
        let node_is_named = table.contains_key("node");
        let mut settings: Self = table
            .try_into()
            .map_err(|e: toml::de::Error| SettingsError::Content { from: "settings".into(), message: e.to_string() })?;
        settings.scanner.search = search;
        settings.check(node_is_named)?;
        Ok(settings)
    }

    fn check(&self, node_is_named: bool) -> Result<(), SettingsError> {
        for issuer in &self.oidc.0 {
            issuer.check().map_err(SettingsError::Together)?;
        }
        if let Some(mail) = &self.mail {
            mail.check().map_err(SettingsError::Together)?;
        }
        if let Some(traces) = &self.traces {
            traces.check().map_err(SettingsError::Together)?;
        }
        if self.is_shared() && !node_is_named {
            // by its name a node knows its own leases and uploads: two of one name would end each other's
            return Err(SettingsError::Together("with PostgreSQL, node must be set: a name of its own for each node"));
        }
        let managed = self.scanner.run_by == ScannerUse::Managed;
        if managed && self.is_shared() {
            return Err(SettingsError::Together(
                "a managed clamd is for one machine: with PostgreSQL, give scanner.run_by the endpoints of clamds",
            ));
        }
        if self.is_shared() && self.audit_key_file.is_none() {
            return Err(SettingsError::Together(
                "with PostgreSQL, audit_key_file must name the key that all nodes share",
            ));
        }
        inbox::check(&self.sources)?;
        Ok(())
    }

    /// Checks that what is said over the network can't be read on its way.
    ///
    /// # Errors
    /// When an address beyond this machine is to be listened on, without TLS and without a proxy that ends it.
    pub fn check_listen(&self) -> Result<(), SettingsError> {
        if !self.listen.ip().is_loopback() && self.tls.is_none() && self.trusted_proxies.is_empty() {
            return Err(SettingsError::Together(
                "to listen beyond loopback set tls (certificate_file, key_file), or trusted_proxies where a proxy ends TLS",
            ));
        }
        Ok(())
    }

    /// Whether several nodes may share the database.
    pub fn is_shared(&self) -> bool {
        self.database.as_ref().is_some_and(|url| !url.0.starts_with("sqlite:"))
    }

    /// The database's address.
    pub fn database_url(&self) -> String {
        match &self.database {
            Some(url) => url.0.clone(),
            None => format!("sqlite:{}", self.data_dir.join("lettercase.db").display()),
        }
    }

    /// The object store's options.
    pub fn objects_options(&self) -> ObjectsOptions {
        self.objects
            .clone()
            .unwrap_or_else(|| ObjectsOptions::Files(FilesOptions { root: self.data_dir.join("objects") }))
    }
}

/// What the parser says and on which line, without the line itself: it may hold a password.
fn at_line(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.lines().count().max(1), error.message())
}

/// Sets the value at a path whose parts are joined by `__`. A value that reads as TOML is that, else text.
fn set(table: &mut Table, path: &str, value: &str) -> Result<(), String> {
    let (head, rest) = path.split_once("__").map_or((path, None), |(head, rest)| (head, Some(rest)));
    match rest {
        None => {
            let parsed = format!("v = {value}").parse::<Table>().ok().and_then(|mut t| t.remove("v"));
            table.insert(head.to_owned(), parsed.unwrap_or_else(|| Value::String(value.to_owned())));
            Ok(())
        }
        Some(rest) => match table.entry(head).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(inner) => set(inner, rest, value),
            _ => Err(format!("{head} is a single value in the file, a table here")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let pairs = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Settings::read(None, pairs, Some(Path::new("/data")))
    }

    #[test]
    fn the_environment_reaches_into_tables() {
        let settings = read(&[
            ("LETTERCASE_LISTEN", "127.0.0.1:9"),
            ("LETTERCASE_OBJECTS__KIND", "files"),
            ("LETTERCASE_OBJECTS__ROOT", "/objects"),
            ("LETTERCASE_SCANNER__RUN_BY", "{ endpoints = [\"tcp:localhost:3310\"] }"),
            ("LETTERCASE_SERVER", "http://elsewhere"),
            ("HOME", "/root"),
        ])
        .unwrap();
        assert_eq!(settings.listen.port(), 9);
        assert_eq!(settings.objects_options(), ObjectsOptions::Files(FilesOptions { root: "/objects".into() }));
        assert_ne!(settings.scanner.run_by, ScannerUse::Managed);
        assert!(!settings.scanner.allow_test_signatures, "test signatures are off by default");
    }

    #[test]
    fn an_unknown_setting_is_refused_by_name() {
        assert!(read(&[("LETTERCASE_LISTENS", "x")]).is_err_and(|e| e.to_string().contains("listens")));
    }

    #[test]
    fn an_issuer_of_logins_is_one_table_or_several_and_is_asked_over_tls_only() {
        let one = [("LETTERCASE_OIDC__ISSUER", "https://login.example"), ("LETTERCASE_OIDC__AUDIENCE", "lettercase")];
        assert_eq!(read(&one).unwrap().oidc.0.len(), 1);
        let table = |issuer: &str| format!("{{ issuer = \"{issuer}\", audience = \"lettercase\" }}");
        let two = format!("[{}, {}]", table("https://a.example"), table("http://127.0.0.1:99"));
        assert_eq!(read(&[("LETTERCASE_OIDC", &two)]).unwrap().oidc.0.len(), 2);
        for (wrong, told) in [
            (table("http://login.example"), "https"),
            (table("https://a").replace('}', ", algorithms = [\"HS256\"] }"), "HS256"),
            (table("https://a").replace('}', ", algorithms = [\"none\"] }"), "none"),
            (table("https://a").replace('}', ", leeway_s = 301 }"), "leeway_s"),
            (table("https://a").replace('}', ", secret = \"x\" }"), "secret"),
        ] {
            let refused = read(&[("LETTERCASE_OIDC", &wrong)]).map_err(|e| e.to_string());
            assert!(refused.as_ref().is_err_and(|e| e.contains(told)), "{wrong}: {refused:?}");
        }
    }

    #[test]
    fn a_managed_clamd_is_refused_with_postgresql() {
        let database = ("LETTERCASE_DATABASE", "postgres://u:secret@h/d");
        let refused = read(&[database, ("LETTERCASE_NODE", "a")]).map_err(|e| e.to_string());
        assert!(refused.is_err_and(|e| e.contains("one machine") && !e.contains("secret")));
        let nameless = read(&[database]).map_err(|e| e.to_string());
        assert!(nameless.is_err_and(|e| e.contains("a name of its own")));
    }

    #[test]
    fn a_password_in_the_database_setting_does_not_print() {
        let settings = read(&[("LETTERCASE_DATABASE", "sqlite:/x?secret")]).unwrap();
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn the_settings_of_the_page_on_sources_are_settings() {
        let page = include_str!("../docs/sources.md");
        let blocks = page.split("```toml\n").skip(1).filter_map(|block| block.split("```").next());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), blocks.collect::<String>()).unwrap();
        let settings = Settings::read(Some(file.path()), [], Some(Path::new("/data"))).unwrap();
        assert_eq!(settings.sources.len(), 2);
        assert_eq!(settings.sources[1].index.as_ref().map(std::collections::BTreeMap::len), Some(3));
    }
}
