//! The page of faults names tests that there are, and alarms that there are.

use std::collections::BTreeSet;
use std::path::Path;

/// All that is in backquotes in the page's tables.
fn named(page: &str) -> BTreeSet<&str> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect()
}

/// The texts of all tests.
fn tests(dir: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            all.push_str(&tests(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
    all
}

#[test]
fn the_page_of_faults_names_tests_and_alarms_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let tests = [tests(&root.join("tests")), tests(&root.join("src"))].concat();
    let alarms = std::fs::read_to_string(root.join("docker/prometheus/alerts.yaml")).unwrap();
    let is_alarm = |name: &str| name.starts_with(|c: char| c.is_ascii_uppercase()) && name.len() > 3;
    let names = named(&page);
    let is_test = |name: &&&str| name.matches('_').count() >= 4 && !name.starts_with("lettercase_");
    let gone: Vec<_> = names.iter().filter(is_test).filter(|name| !tests.contains(&format!("fn {name}"))).collect();
    assert!(gone.is_empty(), "tests that there are not: {gone:#?}");
    let unknown: Vec<_> = names
        .iter()
        .filter(|name| is_alarm(name) && name.chars().all(char::is_alphanumeric))
        .filter(|name| !alarms.contains(&format!("- alert: {name}\n")))
        .collect();
    assert!(unknown.is_empty(), "alarms that there are not: {unknown:#?}");
    assert!(names.iter().filter(is_test).count() >= 25, "{names:#?}");
}
