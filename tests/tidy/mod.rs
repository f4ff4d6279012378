//! What holds the sources and the documents to their own rules: the dependency rule, where effects may be,
//! lengths, left-overs, and that what a document names is there.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where the sources can't be read")]

mod containers;
mod licences;
mod metrics;
mod migrations;
mod operations;
mod paths;
mod prose;
mod rule;
mod settings;

use std::path::{Path, PathBuf};

/// Lines that a source file may have: what grows over this has more than one reason to change.
const LINES: usize = 600;

/// The checkout.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a directory of the checkout with this ending, by their paths from its top, in order.
fn files(below: &str, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(root().join(below))
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .map(|path| path.strip_prefix(root()).unwrap().to_owned())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "there is no .{ending} file below {below}");
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fails with all of them, so that one run tells everything.
fn none_of(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}\n", found.join("\n  "));
}

/// Lines of a text that hold a left-over, as `path:line: what`.
fn left_overs(path: &str, text: &str) -> Vec<String> {
    // In two parts, so that this file is none of its own findings.
    let marks = [["to", "do!"], ["unimple", "mented!"], ["FIX", "ME"]].map(|parts| parts.concat());
    let lines = text.lines().enumerate();
    lines
        .flat_map(|(at, line)| marks.iter().filter(|mark| line.contains(*mark)).map(move |mark| (at + 1, mark.clone())))
        .map(|(at, mark)| format!("{path}:{at}: {mark}"))
        .collect()
}

#[test]
fn no_source_file_is_longer_than_can_be_read_at_once() {
    let long: Vec<String> = files("src", "rs")
        .iter()
        .map(|path| (path, read(path).lines().count()))
        .filter(|(_, lines)| *lines > LINES)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    none_of(&format!("files of more than {LINES} lines; find the two things in them"), &long);
}

#[test]
fn nothing_is_left_to_be_done_in_the_sources() {
    let found: Vec<String> = ["src", "tests"]
        .iter()
        .flat_map(|below| files(below, "rs"))
        .flat_map(|path| left_overs(&path.display().to_string(), &read(&path)))
        .collect();
    none_of("left-overs", &found);
}

#[test]
fn a_left_over_is_found_with_its_line() {
    let text = format!("fn a() {{}}\nfn b() {{ {}() }} // {}\n", ["to", "do!"].concat(), ["FIX", "ME"].concat());
    assert_eq!(left_overs("a.rs", &text).len(), 2);
    assert!(left_overs("a.rs", &text).iter().all(|found| found.starts_with("a.rs:2: ")));
    assert!(left_overs("a.rs", "// what is to be done is done\n").is_empty());
}
