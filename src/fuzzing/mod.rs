//! What is held of every parser of strangers' bytes, whatever the bytes: one function a target. Compiled for tests and
//! for `cargo fuzz` only. The fuzzer calls these functions with what it makes up (`fuzz/`), and a test replays by the
//! same ones what is committed: `fuzz/seeds/` and `fuzz/findings/`.
//!
//! A parser that does not panic may still be wrong, so each function states what else is so: a verdict is one that is
//! known, what was taken out lies where the report says, what is refused is the file's fault and never ours, no value
//! comes back in a message.
#![expect(clippy::expect_used, clippy::panic, reason = "a finding is a panic")]

pub mod files;
pub mod messages;
pub mod records;

/// A target: its name, and what it holds.
pub type Target = (&'static str, fn(&[u8]));

/// All of them. Each has a file in `fuzz/fuzz_targets/` and seeds.
pub const TARGETS: [Target; 8] = [
    ("archive", files::archive),
    ("compound", files::compound),
    ("messages", messages::messages),
    ("package", files::package),
    ("pdf", files::pdf),
    ("picture", files::picture),
    ("records", records::records),
    ("text", files::text),
];

/// The first byte, which chooses between the parsers of a target, and what they get.
fn chosen(data: &[u8], of: u8) -> Option<(u8, &[u8])> {
    data.split_first().map(|(choice, rest)| (choice % of, rest))
}

/// Values of the seeds have this in them, and no sentence of ours has: where it comes back, a value did.
const VALUE_MARK: char = '~';

fn tells_no_value(sentence: &str) {
    // the name of a field is told, and may be anything
    assert!(!sentence.contains(VALUE_MARK) || sentence.starts_with("unknown field `"), "a value is told: {sentence}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn top() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
    }

    /// What lies in a directory, in order; nothing where it is not there.
    fn listed(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    /// Names of the files in a directory, without their endings.
    fn names(directory: &str) -> BTreeSet<String> {
        let stem = |path: &PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
        listed(&top().join(directory)).iter().map(stem).collect()
    }

    #[test]
    fn every_committed_seed_and_finding_passes() {
        for (name, target) in TARGETS {
            let seeds = listed(&top().join("seeds").join(name));
            assert!(!seeds.is_empty(), "{name} has no seeds");
            for path in seeds.into_iter().chain(listed(&top().join("findings").join(name))) {
                // the last line says which one it was
                eprintln!("{}", path.display());
                target(&fs::read(&path).unwrap());
            }
        }
    }

    #[test]
    fn every_target_is_run_and_every_committed_file_belongs_to_one() {
        let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names("fuzz_targets"), targets);
        assert_eq!(names("seeds"), targets);
        assert!(names("findings").is_subset(&targets), "{:?}", names("findings"));
        let manifest = fs::read_to_string(top().join("Cargo.toml")).unwrap();
        for name in targets {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            let body = fs::read_to_string(top().join(format!("fuzz_targets/{name}.rs"))).unwrap();
            assert!(body.contains(&format!("::{name}(")), "{name} runs another");
        }
    }
}
