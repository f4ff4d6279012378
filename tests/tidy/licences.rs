//! The list of what is shipped and under which licences: made from the dependencies as they are locked, and from what lies
//! in this repository. With `LETTERCASE_UPDATE_DOCS=1` the test writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::Command;

use serde_json::Value;

use super::{read, root};

const PAGE: &str = "docs/licences.md";

const HEAD: &str = "# What is shipped, and under which licences

Made by a test (`tests/tidy/licences.rs`): don't edit it by hand. `LETTERCASE_UPDATE_DOCS=1 cargo test tidy::licences` makes it
anew after a change of `Cargo.lock`. Lettercase itself is under the Apache License 2.0 (`LICENSE`). Which licences a dependency
may have is in `deny.toml`.

## Data

| what | in | from | licence |
| --- | --- | --- | --- |
| Noto Sans, also for Arabic, Devanagari, Chinese, Japanese and Korean | the program (`templates/fonts`) | Google, Adobe | SIL Open Font License 1.1, beside them |
| Rules and data of Unicode (line breaks, scripts, bidi, normalization) | the program, by the `icu_*` and `unicode-*` crates and `typst-assets` | Unicode, Inc. | Unicode-3.0 |
| Colour profiles | the program and each letter, by the crate `typst-assets` | as its NOTICE says | CC0-1.0 |
| Names and attributes of HTML and MathML | the program, by the crate `typst-assets` | WHATWG, W3C | BSD-3-Clause and what its NOTICE says |
| Hyphenation patterns | the program, by the crate `hypher` | the TeX community | those of each pattern: LPPL, MPL, MIT, BSD-3-Clause |
| Syntaxes and themes of code | the program, by the crate `two-face` | bat and others | those of each: its acknowledgements list them |
| Zone data | the system (`tzdata`), and the program by the crate `chrono-tz` | IANA | public domain |
| Root certificates | the system (`ca-certificates`), and the program by the crate `webpki-roots` | Mozilla | CDLA-Permissive-2.0 |
| SQLite | the program, by the crate `libsqlite3-sys` | its authors | public domain |

## In the image, beside the program

What `docker/Dockerfile` installs from Debian; each package brings its terms as `/usr/share/doc/PACKAGE/copyright`.

";

/// Packages that the last stage of the image installs.
fn packages() -> BTreeSet<String> {
    let text = read("docker/Dockerfile".as_ref()).replace("\\\n", " ");
    let last = text.rsplit("\nFROM ").next().unwrap_or_default();
    let installs = last.lines().filter(|line| line.contains("apt-get") && line.contains(" install "));
    let words = installs.flat_map(|line| {
        let tail = line.split(" install ").nth(1).unwrap_or_default();
        tail.split("&&").next().unwrap_or_default().split_whitespace()
    });
    words.filter(|word| !word.starts_with('-') && !word.contains('=')).map(ToOwned::to_owned).collect()
}

/// Crates that the program is built of on what it is shipped for: name and version, with licence.
fn crates() -> BTreeMap<(String, String), String> {
    let mut all = BTreeMap::new();
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let out = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", target])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
        let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
        collect(&metadata, &mut all);
    }
    all
}

/// What the program reaches over normal and build dependencies.
fn collect(metadata: &Value, all: &mut BTreeMap<(String, String), String>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let nodes: BTreeMap<String, Value> =
        list(&metadata["resolve"]["nodes"]).into_iter().map(|node| (text(&node["id"]), node)).collect();
    let mut waiting = vec![text(&metadata["resolve"]["root"])];
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        for dependency in list(&nodes[&id]["deps"]) {
            if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev") {
                waiting.push(text(&dependency["pkg"]));
            }
        }
    }
    for package in list(&metadata["packages"]) {
        if seen.contains(&text(&package["id"])) && !package["source"].is_null() {
            let licence = match package["license"].as_str() {
                Some(licence) => licence.replace('/', " OR "),
                None => "see its licence file".to_owned(),
            };
            all.insert((text(&package["name"]), text(&package["version"])), licence);
        }
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    let packages = packages();
    assert!(!packages.is_empty(), "docker/Dockerfile installs nothing in its last stage");
    page.push_str(&packages.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "));
    page.push_str(", with what they depend on.\n");
    let crates = crates();
    let mut by_licence: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ((name, version), licence) in &crates {
        by_licence.entry(licence).or_default().push(format!("{name} {version}"));
    }
    write!(page, "\n## Crates\n\n{} of them, those that run while it is built included.\n", crates.len()).unwrap();
    for (licence, crates) in by_licence {
        write!(page, "\n### {licence}\n\n{}\n", crates.join(", ")).unwrap();
    }
    page
}

#[test]
fn the_list_of_licences_is_what_is_locked() {
    let made = page();
    #[expect(clippy::disallowed_methods, reason = "asks whether the page is to be written")]
    if std::env::var_os("LETTERCASE_UPDATE_DOCS").is_some() {
        std::fs::write(root().join(PAGE), &made).unwrap();
    }
    assert!(read(PAGE.as_ref()) == made, "{PAGE} is not what is locked: run with LETTERCASE_UPDATE_DOCS=1");
}

#[test]
fn each_font_that_is_shipped_has_its_licence_beside_it() {
    let fonts = root().join("templates/fonts");
    let names: Vec<String> = std::fs::read_dir(fonts)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().any(|name| name.ends_with(".ttf") || name.ends_with(".otf")), "{names:?}");
    assert!(names.iter().any(|name| name.contains("OFL") || name.contains("LICENSE")), "{names:?}");
}
