//! `keys`: the keys of services, made and ended beside a running node.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::json;

use super::{CliError, Common, Environment, output};
use crate::access::keys::{NewKey, Rotation};
use crate::access::{Access, Expected, Manager};
use crate::app::{open_access, open_db};
use crate::db::keys::Key;
use crate::model::access::{Grants, Mode, Scope, TinSet};
use crate::model::event::AT_COMMAND_LINE;
use crate::model::ids::{KeyId, Tin};
use crate::outside::context::Context;

/// Who acts at the command line, for keys and users.
pub(super) const CLI: Manager<'static> = Manager::Machine(AT_COMMAND_LINE);

/// Rows that are read at a time.
pub(super) const PART: i64 = 500;

/// What to do with keys.
#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// Make one. It is shown once.
    Create {
        #[command(flatten)]
        common: Common,
        /// What people call it.
        #[arg(long, default_value = "made at the command line")]
        name: String,
        /// What it may be used for, joined by commas, or `all`.
        #[arg(long, value_delimiter = ',', required = true, value_name = "SCOPE,…")]
        scopes: Vec<String>,
        /// The TINs it is for, joined by commas, or `all`.
        #[arg(long, value_delimiter = ',', default_value = "all", value_name = "TIN,…")]
        tins: Vec<String>,
        /// Make it for trials: what comes with it is kept apart from the real.
        #[arg(long)]
        test: bool,
        /// Days that it lives; else the policy's.
        #[arg(long, value_name = "N")]
        expires_in_days: Option<u32>,
    },
    /// List them. No secret is shown.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Give one a new secret, shown once. The old one works on for a while.
    Rotate {
        #[command(flatten)]
        common: Common,
        /// The key's id.
        key: KeyId,
        /// Hours that the old secret works on; else the policy's. 0 when it has become known.
        #[arg(long, value_name = "N")]
        overlap_hours: Option<u32>,
        /// Days that the key lives from now on; else the policy's.
        #[arg(long, value_name = "N")]
        expires_in_days: Option<u32>,
    },
    /// Revoke one, at once and everywhere.
    Revoke {
        #[command(flatten)]
        common: Common,
        /// The key's id.
        key: KeyId,
    },
}

/// Access to the installation's keys and users.
pub(super) async fn access(environment: &Environment, common: &Common) -> Result<Access, CliError> {
    super::node::start_log(environment, false);
    let settings = environment.settings(common.data.as_deref())?;
    Ok(open_access(&settings, open_db(&settings).await?, Context::system())?)
}

pub(super) async fn run(command: KeysCommand, environment: &Environment) -> Result<(), CliError> {
    match command {
        KeysCommand::Create { common, name, scopes, tins, test, expires_in_days } => {
            let mode = if test { Mode::Test } else { Mode::Live };
            let grants = Grants { scopes: read_scopes(&scopes)?, tins: read_tins(&tins)?, mode };
            let access = access(environment, &common).await?;
            let new = NewKey { name, grants, expires_at: expires_in_days.map(in_days).transpose()? };
            let (key, secret) = access.create_key(CLI, new).await?;
            show_once(&common, &key, secret.reveal());
            Ok(())
        }
        KeysCommand::List { common } => list(&access(environment, &common).await?, &common).await,
        KeysCommand::Rotate { common, key, overlap_hours, expires_in_days } => {
            let access = access(environment, &common).await?;
            let how = Rotation {
                expected: Expected::Any,
                overlap: overlap_hours.map(|hours| Duration::from_secs(u64::from(hours) * 3600)),
                expires_at: expires_in_days.map(in_days).transpose()?,
            };
            let (key, secret) = access.rotate_key(CLI, &key, how).await?;
            show_once(&common, &key, secret.reveal());
            Ok(())
        }
        KeysCommand::Revoke { common, key } => {
            let key = access(environment, &common).await?.revoke_key(CLI, &key).await?;
            if common.json {
                output::json(&view(&key));
            } else {
                println!("{} is revoked", key.id);
            }
            Ok(())
        }
    }
}

async fn list(access: &Access, common: &Common) -> Result<(), CliError> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let part = access.list_keys(CLI, after.as_ref(), PART).await?;
        keys.extend(part.items);
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    if common.json {
        output::json(&keys.iter().map(view).collect::<Vec<_>>());
    } else {
        output::table(
            ["id", "name", "mode", "scopes", "tins", "expires", "revoked"],
            keys.iter().map(|key| {
                [
                    key.id.to_string(),
                    key.name.clone(),
                    key.grants.mode.to_string(),
                    key.grants.scopes.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(","),
                    match &key.grants.tins {
                        TinSet::All => "all".to_owned(),
                        TinSet::Only(tins) => tins.iter().map(Tin::masked).collect::<Vec<_>>().join(","),
                    },
                    key.expires_at.to_string(),
                    key.revoked_at.map(|at| at.to_string()).unwrap_or_default(),
                ]
            }),
        );
    }
    Ok(())
}

/// The one place where a key is shown.
fn show_once(common: &Common, key: &Key, secret: &str) {
    if common.json {
        output::json(&json!({ "key": secret, "id": key.id, "expires_at": key.expires_at.to_string() }));
    } else {
        println!("{secret}");
        eprintln!("key {} until {}: keep it now, it is not shown again", key.id, key.expires_at);
    }
}

fn view(key: &Key) -> serde_json::Value {
    json!({
        "id": key.id,
        "name": key.name,
        "mode": key.grants.mode,
        "scopes": key.grants.scopes,
        "tins": match &key.grants.tins {
            TinSet::All => json!("all"),
            TinSet::Only(tins) => json!(tins),
        },
        "created_at": key.created_at.to_string(),
        "expires_at": key.expires_at.to_string(),
        "revoked_at": key.revoked_at.map(|at| at.to_string()),
        "version": key.version,
    })
}

fn read_scopes(words: &[String]) -> Result<BTreeSet<Scope>, CliError> {
    if words == ["all"] {
        return Ok(Scope::ALL.iter().copied().collect());
    }
    let known = || Scope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ");
    let read =
        |word: &String| word.trim().parse().map_err(|_| CliError::Usage(format!("scopes are {}, or all", known())));
    words.iter().map(read).collect()
}

fn read_tins(words: &[String]) -> Result<TinSet, CliError> {
    if words == ["all"] {
        return Ok(TinSet::All);
    }
    Ok(TinSet::Only(words.iter().map(|word| word.parse()).collect::<Result<_, _>>()?))
}

fn in_days(days: u32) -> Result<Timestamp, CliError> {
    let wait = Duration::from_secs(u64::from(days) * 24 * 3600);
    Context::system().now().checked_add(wait).map_err(|_| CliError::Usage("that lies too far ahead".into()))
}
