//! The page for operators: each test that its threat model names is there, so is each command that it shows.

use std::collections::BTreeSet;
use std::process::Command;

use syn::visit::{self, Visit};

use super::{files, none_of, read};

const PAGE: &str = "docs/operations.md";

/// Names of functions in a source file, also of those that a macro is given.
fn functions(source: &str) -> BTreeSet<String> {
    struct Functions(BTreeSet<String>);
    impl<'ast> Visit<'ast> for Functions {
        fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
            self.0.insert(item.sig.ident.to_string());
            visit::visit_item_fn(self, item);
        }
        fn visit_macro(&mut self, item: &'ast syn::Macro) {
            let words: Vec<String> = item.tokens.to_string().split_whitespace().map(ToOwned::to_owned).collect();
            self.0.extend(words.windows(2).filter(|pair| pair[0] == "fn").map(|pair| pair[1].clone()));
            visit::visit_macro(self, item);
        }
    }
    let mut found = Functions(BTreeSet::new());
    found.visit_file(&syn::parse_file(source).unwrap());
    found.0
}

/// What a row of a table names in its last column.
fn named(row: &str) -> Vec<&str> {
    let last = row.trim_end().trim_end_matches('|').rsplit('|').next().unwrap_or_default();
    last.split('`').skip(1).step_by(2).collect()
}

/// Names of the threat model that no test has, by lines of a text.
fn unknown(text: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let rows = text.split("## Threat model").nth(1).unwrap_or_default();
    let rows = rows.split("\n## ").next().unwrap_or_default().lines().filter(|line| line.starts_with("| "));
    let mut found = Vec::new();
    for row in rows.skip(2) {
        let names = named(row);
        if names.is_empty() && !row.trim_end().ends_with("| not tested |") {
            found.push(format!("names no test: {row}"));
        }
        found.extend(names.into_iter().filter(|name| !tests.contains(*name)).map(ToOwned::to_owned));
    }
    found
}

#[test]
fn each_test_that_the_threat_model_names_is_there() {
    let sources = ["src", "tests"].iter().flat_map(|below| files(below, "rs"));
    let tests: BTreeSet<String> = sources.flat_map(|path| functions(&read(&path))).collect();
    let text = read(PAGE.as_ref());
    assert!(text.matches("\n| ").count() > 20);
    none_of("tests that the threat model of docs/operations.md names and that are not there", &unknown(&text, &tests));
}

/// Commands of ours that a text shows, in blocks and in code spans, word by word.
fn commands(text: &str) -> BTreeSet<Vec<String>> {
    let lines = text
        .lines()
        .filter(|line| line.starts_with("lettercase "))
        .map(|line| line.split('#').next().unwrap_or_default());
    let spans = text.split('`').filter(|span| span.starts_with("lettercase ") && !span.contains('\n'));
    let words = |shown: &str| shown.split_whitespace().skip(1).map(ToOwned::to_owned).collect::<Vec<String>>();
    lines.chain(spans).map(words).filter(|words| !words.is_empty()).collect()
}

/// What the program does not know of a command: `None` where it knows all of it.
fn unheard(words: &[String]) -> Option<String> {
    let verbs = words
        .iter()
        .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-'));
    let out = Command::new(env!("CARGO_BIN_EXE_lettercase")).args(verbs).arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&out.stdout).into_owned();
    let options = words.iter().filter(|word| word.starts_with("--")).find(|option| !help.contains(option.as_str()));
    match options {
        _ if !out.status.success() => Some(format!("lettercase {}", words.join(" "))),
        found => found.map(|option| format!("lettercase {}: no {option}", words.join(" "))),
    }
}

#[test]
fn each_command_that_operators_are_told_is_there() {
    let shown = commands(&read(PAGE.as_ref()));
    assert!(shown.len() > 15, "{shown:?}");
    let found: Vec<String> = shown.iter().filter_map(|words| unheard(words)).collect();
    none_of("commands in docs/operations.md that the program does not have", &found);
    for broken in ["retention destroy", "backup take --into"] {
        let words: Vec<String> = broken.split(' ').map(ToOwned::to_owned).collect();
        assert!(unheard(&words).is_some(), "{broken}");
    }
}

#[test]
fn a_threat_without_a_test_and_a_test_that_is_gone_are_found() {
    let tests = functions("fn one() {} on_both! { async fn two(world: &World) {} }");
    let table = |row: &str| {
        format!("# A\n## Threat model\n| who | what | tested |\n| --- | --- | --- |\n{row}\n## B\n| x | `y` |\n")
    };
    for fine in ["| a | b | `one`, `two` |", "| a | `src/b.rs` | not tested |"] {
        assert!(unknown(&table(fine), &tests).is_empty(), "{fine}");
    }
    for broken in ["| a | b | `three` |", "| a | `one` | |"] {
        assert_eq!(unknown(&table(broken), &tests).len(), 1, "{broken}");
    }
}
