//! What the documents name is there, and the code map is whole. Prose rots silently; this makes it loud.

use std::collections::BTreeSet;
use std::path::Path;

use super::{files, none_of, read, root};

/// The documents held to it. Those of `templates` and `docker` tell what is to come.
const DOCUMENTS: [&str; 12] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "scripts/README.md",
    "docs/access.md",
    "docs/api.md",
    "docs/faults.md",
    "docs/metrics.md",
    "docs/operations.md",
    "docs/sources.md",
    "docs/traces.md",
    "docs/uploads.md",
];

/// What a repository path begins with.
const TOPS: [&str; 12] = [
    "src",
    "tests",
    "pipelines",
    "templates",
    "docker",
    "samples",
    "scripts",
    "benches",
    "docs",
    "fuzz",
    ".ci",
    ".cargo",
];

/// Code spans of a Markdown text outside fenced blocks, with their lines.
fn spans(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut spans = vec![];
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            spans.extend(line.split('`').skip(1).step_by(2).map(|span| (at + 1, span)));
        }
    }
    spans
}

/// Whether a code span can only be meant as a path of this repository. Placeholders (`<type>`, `*`) are not.
fn is_path(span: &str) -> bool {
    let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    let top = span.split('/').next().unwrap_or_default();
    let at_the_top = !span.contains('/') && [".md", ".lock"].iter().any(|ending| span.ends_with(ending));
    let manifest = ["Cargo.toml", "clippy.toml", "deny.toml", "rustfmt.toml", "Makefile", "LICENSE"].contains(&span);
    plain && (manifest || at_the_top || (span.contains('/') && TOPS.contains(&top)))
}

/// Paths that a document names and that are not below `top`, as `document:line: path`.
fn missing(document: &str, text: &str, top: &Path) -> Vec<String> {
    let named = spans(text).into_iter().filter(|(_, span)| is_path(span));
    named
        .filter(|(_, path)| !top.join(path).exists() || (path.ends_with('/') && !top.join(path).is_dir()))
        .map(|(line, path)| format!("{document}:{line}: {path}"))
        .collect()
}

/// Modules that a code map has to name and does not: each directory below `src`, and each file right in it.
fn unmapped(map: &str, sources: &[String]) -> Vec<String> {
    let named: BTreeSet<&str> = spans(map).into_iter().map(|(_, span)| span.trim_end_matches('/')).collect();
    let wanted: BTreeSet<&str> = sources
        .iter()
        .flat_map(|path| {
            let directories = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
            let file = (path.matches('/').count() == 1).then_some(path.as_str());
            directories.chain(file)
        })
        .collect();
    wanted.into_iter().filter(|path| !named.contains(path)).map(ToOwned::to_owned).collect()
}

#[test]
fn every_path_that_a_document_names_is_there() {
    let found: Vec<String> =
        DOCUMENTS.iter().flat_map(|document| missing(document, &read(Path::new(document)), root())).collect();
    none_of("paths named that are not there", &found);
}

#[test]
fn the_code_map_names_every_module() {
    let sources: Vec<String> = files("src", "rs").iter().map(|path| path.display().to_string()).collect();
    let found = unmapped(&read(Path::new("ARCHITECTURE.md")), &sources);
    none_of("modules without a line in the code map of ARCHITECTURE.md", &found);
}

#[test]
fn a_path_that_is_not_there_is_found_with_its_line() {
    let text = "See `src/lib.rs` and `Cargo.toml`.\nNot `src/nowhere.rs`, `NOWHERE.md`, `src/lib.rs/`.\n\
        No paths: `a/b`, `templates/letters/<type>/`, `reference.md#x`, `--config DIR`.\n```\n`src/fenced.rs`\n```\n";
    let expected = ["A.md:2: src/nowhere.rs", "A.md:2: NOWHERE.md", "A.md:2: src/lib.rs/"];
    assert_eq!(missing("A.md", text, root()), expected);
}

#[test]
fn a_module_without_a_line_is_found() {
    let sources = ["src/lib.rs", "src/db/mod.rs", "src/intake/sniff/image/gif.rs"].map(ToOwned::to_owned);
    let map = "| `src/lib.rs` | the map |\n| `src/intake/` | journey 1 |\n| `src/intake/sniff/` | types |";
    assert_eq!(unmapped(map, &sources), ["src/db", "src/intake/sniff/image"]);
}
