//! The dependency rule, and where effects may be (ARCHITECTURE.md, "The dependency rule").

use super::paths::{Named, exported_macros, named};
use super::{files, none_of, read};

/// The modules by steps: a module may name those of the steps before its own, and itself.
const STEPS: &[&[&str]] = &[
    &["model"],
    &["outside", "db"],
    &["engine"],
    &["access", "intake", "cases", "letters", "delivery"],
    &["paper", "fax", "digests", "retention"],
    &["http", "settings"],
    &["app"],
    &["cli", "fuzzing"],
    &["main", "bin"],
];

/// What a module may name beside that, with the reason.
const MORE: &[(&str, &[&str])] = &[
    // A row's instant and a posting's id are made where they are written; they come from the context the caller gives.
    ("db", &["outside", "context"]),
];

/// Modules that may name less than their step allows.
const LESS: &[(&str, &[&str])] = &[
    // Settings say where things are: they are read before anything is made, and know no journey.
    ("settings", &["model", "outside"]),
];

/// Crates and modules that reach the world, who may name them, and why only those. The longest that fits counts.
const DOORS: &[(&[&str], &[&str], &str)] = &[
    (&["sqlx"], &["db"], "all SQL is in src/db"),
    (&["std", "net"], &["outside", "http", "cli"], NETWORK),
    (&["tokio", "net"], &["outside", "http", "cli"], NETWORK),
    (&["std", "os", "unix", "net"], &["outside"], NETWORK),
    (&["rustix", "net"], &["outside"], NETWORK),
    (&["reqwest"], &["outside", "cli"], NETWORK),
    (&["hyper"], &["outside", "http"], NETWORK),
    (&["axum"], &["http"], NETWORK),
    (&["aws_config"], &["outside"], NETWORK),
    (&["aws_runtime"], &["outside"], NETWORK),
    (&["aws_sdk_s3"], &["outside"], NETWORK),
    (&["clamav_client"], &["outside"], NETWORK),
    (&["opentelemetry"], &["outside"], SPANS),
    (&["opentelemetry_http"], &["outside"], NETWORK),
    (&["opentelemetry_otlp"], &["outside"], NETWORK),
    (&["opentelemetry_sdk"], &["outside"], SPANS),
    // Messages are made where they are made; relays are spoken to in one place.
    (&["lettre"], &["outside", "digests"], NETWORK),
    (&["lettre", "transport"], &["outside"], NETWORK),
    (&["tokio_rustls"], &["outside"], NETWORK),
    // The bench runs its peer, clamdscan, over files that the operator named; nothing else outside does so.
    (&["std", "process"], &["outside", "cli::bench"], "child processes are started in src/outside"),
    (&["tokio", "process"], &["outside"], "child processes are started in src/outside"),
    (&["rustix", "process"], &["outside"], "processes are steered in src/outside"),
    (&["rand"], &["outside"], "chance comes from outside::context"),
    (&["apalis_core"], &["engine"], "stages know no worker loop"),
    (&["clap"], &["cli"], "the command line is in src/cli"),
    // Values: they name a thing and touch none.
    (&["std", "net", "SocketAddr"], &[], ""),
    (&["std", "net", "IpAddr"], &[], ""),
    (&["std", "process", "ExitCode"], &[], ""),
];
const SPANS: &str = "a span is made in src/outside/traces, where no text from outside can get into one";
const NETWORK: &str =
    "the network is reached through src/outside, served by src/http, and called by the client in src/cli";

/// What a source text names against the rules, as sentences. `path` is the file's, from the top of the checkout.
fn violations(path: &str, source: &str, macros: &[(String, String)]) -> Vec<String> {
    let module = module_of(path);
    let module: Vec<&str> = module.iter().map(String::as_str).collect();
    let own = module.first().copied().unwrap_or("lib");
    let paths = match named(source, &module) {
        Ok(paths) => paths,
        Err(error) => return vec![format!("{path}: can't be parsed: {error}")],
    };
    let broken = paths.iter().filter_map(|named| {
        let why = if named.ours { names_above(own, named, macros) } else { reaches_out(&module, named) };
        why.map(|why| format!("{path} names {}: {why}", shown(named)))
    });
    broken.collect()
}

/// The module a file stands for: `db`, `work` for `src/db/work.rs`.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let inner = inner.strip_suffix(".rs").unwrap_or(inner);
    let mut module: Vec<String> = inner.split('/').map(ToOwned::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

fn step(module: &str) -> Option<usize> {
    STEPS.iter().position(|step| step.contains(&module))
}

/// Why a path into this crate breaks the rule, if it does.
fn names_above(own: &str, named: &Named, macros: &[(String, String)]) -> Option<String> {
    let segments: Vec<&str> = named.segments.iter().map(String::as_str).collect();
    let Some(first) = segments.first() else {
        return named.open.then(|| "all of the root at once can't be told apart; name the module".into());
    };
    let first = macros.iter().find(|(name, _)| name == first).map_or(*first, |(_, module)| module);
    if first == own || MORE.iter().any(|(module, path)| *module == own && segments.starts_with(path)) {
        return None;
    }
    let (Some(from), Some(to)) = (step(own), step(first)) else {
        return Some(format!("{own} or {first} has no step in tests/tidy/rule.rs and src/lib.rs"));
    };
    if let Some((_, only)) = LESS.iter().find(|(module, _)| *module == own) {
        return (!only.contains(&first)).then(|| format!("{own} may name {} only", only.join(" and ")));
    }
    match to.cmp(&from) {
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Equal => Some(format!("{own} and {first} are on one step")),
        std::cmp::Ordering::Greater => Some(format!("{first} is above {own}")),
    }
}

/// Why a path to another crate breaks the rule, if it does. Who may is a module with all below it.
fn reaches_out(module: &[&str], named: &Named) -> Option<String> {
    let segments: Vec<&str> = named.segments.iter().map(String::as_str).collect();
    let door = DOORS.iter().filter(|(door, ..)| segments.starts_with(door)).max_by_key(|(door, ..)| door.len());
    if let Some((_, who, why)) = door {
        let may = |who: &&str| module.starts_with(&who.split("::").collect::<Vec<_>>());
        return (!who.is_empty() && !who.iter().any(may)).then(|| (*why).to_owned());
    }
    // `use std as s` and `use tokio::*` would hide what is reached.
    let hides = named.open && DOORS.iter().any(|(door, ..)| door.starts_with(&segments));
    hides.then(|| "a renaming or a glob hides what is reached; name it".into())
}

fn shown(named: &Named) -> String {
    let start = if named.ours { "crate::" } else { "" };
    format!("{start}{}{}", named.segments.join("::"), if named.open { "::*" } else { "" })
}

/// Macros at the crate's root, with the module each is written in.
fn root_macros(sources: &[(String, String)]) -> Vec<(String, String)> {
    let mut macros = vec![];
    for (path, source) in sources {
        let module = module_of(path).first().cloned().unwrap_or_default();
        let exported = exported_macros(source).unwrap_or_else(|error| panic!("{path}: {error}"));
        macros.extend(exported.into_iter().map(|name| (name, module.clone())));
    }
    macros
}

fn sources() -> Vec<(String, String)> {
    files("src", "rs").iter().map(|path| (path.display().to_string(), read(path))).collect()
}

#[test]
fn every_module_names_only_those_of_the_steps_before_its_own() {
    let sources = sources();
    let macros = root_macros(&sources);
    let found: Vec<String> = sources.iter().flat_map(|(path, source)| violations(path, source, &macros)).collect();
    none_of("against the dependency rule", &found);
}

#[test]
fn every_module_of_the_library_has_a_step() {
    let without: Vec<String> = sources()
        .iter()
        .filter_map(|(path, _)| module_of(path).into_iter().next())
        .filter(|module| step(module).is_none())
        .collect();
    none_of("modules without a step in tests/tidy/rule.rs", &without);
}

/// What is found in a made-up source text in `path`.
fn found(path: &str, source: &str) -> Vec<String> {
    violations(path, source, &[("codes".into(), "model".into())])
}

#[test]
fn a_violation_is_found_however_it_is_written() {
    for (path, source) in [
        ("src/model/a.rs", "use crate::db::Db;"),
        ("src/model/a.rs", "use crate::{model::ids, db::{self, work}};"),
        ("src/model/a.rs", "fn f() { crate::db::work::put() }"),
        ("src/model/a.rs", "fn f(db: &crate::db::Db) {}"),
        ("src/model/a.rs", "fn f() { <crate::db::Db as Clone>::clone() }"),
        ("src/model/a.rs", "fn f(x: X) { if let crate::db::Flavor::Sqlite = x {} }"),
        ("src/model/a.rs", "fn f() { super::super::db::work::put() }"),
        ("src/model/a.rs", "mod inner { use super::super::super::db; }"),
        ("src/model/mod.rs", "use super::db;"),
        ("src/model/a.rs", "fn f() { println!(\"{}\", crate::db::work::put()) }"),
        ("src/model/a.rs", "make! { use crate::{model, db::work}; }"),
        ("src/model/a.rs", "make! { use crate::{model, db as store}; }"),
        ("src/model/a.rs", "macro_rules! m { () => { $crate::db::work::put() } }"),
        ("src/model/a.rs", "#[serde(with = X, default = crate::db::f)] struct A;"),
        ("src/model/a.rs", "use crate::*;"),
        ("src/model/a.rs", "use crate as all;"),
        ("src/model/a.rs", "#[cfg(test)] mod tests { use crate::db::Db; }"),
        ("src/outside/a.rs", "use crate::db::Db;"),
        ("src/outside/a.rs", "use crate::intake::sniff;"),
        ("src/db/a.rs", "use crate::outside::objects::Objects;"),
        ("src/db/a.rs", "use crate::outside;"),
        ("src/intake/a.rs", "use crate::cases::Cases;"),
        ("src/cases/mod.rs", "use crate::intake::stages;"),
        ("src/settings.rs", "use crate::intake::plan::IntakePlan;"),
        ("src/http/a.rs", "use crate::settings::Settings;"),
        ("src/lib.rs", "pub use crate::db::Db;"),
        ("src/newcomer.rs", "use crate::model::ids;"),
        ("src/intake/a.rs", "use sqlx::Row;"),
        ("src/intake/a.rs", "#[derive(sqlx::FromRow)] struct A;"),
        ("src/intake/a.rs", "extern crate sqlx as x;"),
        ("src/intake/a.rs", "fn f() { sqlx::query!(\"select 1\") }"),
        ("src/engine/a.rs", "use std::{io, net::TcpStream};"),
        ("src/engine/a.rs", "use std::net;"),
        ("src/engine/a.rs", "use tokio as t;"),
        ("src/engine/a.rs", "use std::*;"),
        ("src/intake/a.rs", "fn f() { tokio::process::Command::new(\"x\") }"),
        ("src/intake/a.rs", "use std::process::{ExitCode, Command};"),
        ("src/intake/a.rs", "use reqwest::Client;"),
        ("src/http/a.rs", "use std::process::Command;"),
        ("src/cli/mod.rs", "use std::process::Command;"),
        ("src/model/a.rs", "fn ("),
    ] {
        assert!(!found(path, source).is_empty(), "{path}: {source}");
    }
}

#[test]
fn what_the_rule_allows_is_not_reported() {
    for (path, source) in [
        ("src/model/a.rs", "use crate::codes; use crate::model::ids::Tin; use super::phi::Phi; use std::fmt;"),
        ("src/model/a.rs", "crate::codes! { pub enum A { B = \"b\" } }"),
        ("src/model/a.rs", "pub(crate) fn f(&self) { self.x(); let db = 1; db + 1; }"),
        ("src/model/a.rs", "mod inner { use super::super::ids; use super::*; pub(in crate::model) struct A; }"),
        ("src/model/a.rs", "make! { pub(crate) struct A; fn f(self) {} }"),
        ("src/model/a.rs", "/// [`crate::db::work`], see `sqlx`.\nstruct A;"),
        ("src/db/a.rs", "use crate::outside::context::Context; use crate::{model, outside::context}; use sqlx::Row;"),
        ("src/intake/a.rs", "use crate::{db, engine::stage::Stage, outside::objects}; use std::process::ExitCode;"),
        ("src/http/a.rs", "use crate::intake::Intake; use std::net::SocketAddr; use tokio::net::TcpListener;"),
        ("src/settings.rs", "use crate::outside::objects::ObjectsOptions; use std::net::SocketAddr;"),
        ("src/cli/a.rs", "use crate::{app::App, settings::Settings, http::api}; use reqwest::Client;"),
        ("src/cli/bench.rs", "use std::process::Command;"),
        ("src/main.rs", "fn main() -> std::process::ExitCode { lettercase::cli::main() }"),
        (
            "src/bin/lettercase-extract.rs",
            "use lettercase::intake::extract::child; fn main() -> std::process::ExitCode { child::program(vec![]) }",
        ),
        ("src/lib.rs", "pub mod model; pub mod db;"),
    ] {
        let found = found(path, source);
        assert!(found.is_empty(), "{path}: {source}: {found:?}");
    }
}

#[test]
fn each_crate_that_is_shipped_is_named_by_the_program() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml".as_ref())).unwrap();
    let sources: String = files("src", "rs").iter().map(|path| read(path)).collect();
    let is_named = |name: &str| {
        let word = name.replace('-', "_");
        sources.match_indices(&word).any(|(at, _)| {
            let before = sources[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
            before && [":", ";", " as ", "("].iter().any(|after| sources[at + word.len()..].starts_with(after))
        })
    };
    let unused: Vec<String> =
        manifest["dependencies"].as_table().unwrap().keys().filter(|name| !is_named(name)).cloned().collect();
    none_of("dependencies that no source names", &unused);
}
