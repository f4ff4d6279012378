//! The list of metrics (`src/outside/metrics.rs`) is that of the code; the page explains each of them and each alarm; the
//! dashboard and the alarms name none beside them.

use std::collections::{BTreeMap, BTreeSet};

use lettercase::outside::metrics::{Kind, METRICS};
use serde_json::Value;

use super::{files, none_of, read};

const PAGE: &str = "docs/metrics.md";
const DASHBOARD: &str = "docker/grafana/lettercase.json";
const ALARMS: &str = "docker/prometheus/alerts.yaml";

/// The names that a source text gives to metrics of each kind.
fn used(text: &str) -> Vec<(Kind, String)> {
    let kinds = [("counter!(", Kind::Counter), ("gauge!(", Kind::Gauge), ("histogram!(", Kind::Histogram)];
    let mut found = Vec::new();
    for (word, kind) in kinds {
        for rest in text.split(&format!("metrics::{word}")).skip(1) {
            if let Some(name) = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) {
                found.push((kind, name.to_owned()));
            }
        }
    }
    found
}

/// All words of a text that look like a metric.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    words.filter(|word| word.starts_with("lettercase_")).map(ToOwned::to_owned).collect()
}

/// Whether Prometheus has a series of this name.
fn is_series(name: &str) -> bool {
    METRICS.iter().any(|metric| {
        let parts: &[&str] = if metric.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        parts.iter().any(|part| name.strip_suffix(part) == Some(metric.name))
    })
}

#[test]
fn each_metric_of_the_code_is_in_the_list_and_the_list_holds_no_other() {
    let mut code: BTreeMap<String, Kind> = BTreeMap::new();
    for path in files("src", "rs") {
        for (kind, name) in used(&read(&path)) {
            let before = code.insert(name.clone(), kind);
            assert!(before.is_none_or(|before| before == kind), "{name} is of two kinds");
        }
    }
    let list: BTreeMap<String, Kind> = METRICS.iter().map(|metric| (metric.name.to_owned(), metric.kind)).collect();
    assert_eq!(list.len(), METRICS.len(), "a name is there twice");
    assert_eq!(code, list);
}

#[test]
fn names_say_what_they_count_in_and_meanings_are_there() {
    for metric in METRICS {
        assert!(metric.name.starts_with("lettercase_"), "{}", metric.name);
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
        assert!(metric.kind != Kind::Histogram || metric.name.ends_with("_seconds"), "{}", metric.name);
        assert!(metric.meaning.len() > 10 && !metric.meaning.ends_with('.'), "{}", metric.name);
    }
}

#[test]
fn the_page_explains_each_metric_and_names_no_other() {
    let page = read(PAGE.as_ref());
    let lacking: Vec<String> = METRICS
        .iter()
        .filter(|metric| !page.lines().any(|line| line.starts_with(&format!("| `{}", metric.name))))
        .map(|metric| metric.name.to_owned())
        .collect();
    none_of("metrics that the page has no row for", &lacking);
    let known = |name: &str| is_series(name) || METRICS.iter().any(|metric| metric.name == name);
    for path in files("docs", "md") {
        let unknown: Vec<String> = named(&read(&path)).into_iter().filter(|name| !known(name)).collect();
        // a module's path in a file name is no metric
        let unknown: Vec<String> = unknown.into_iter().filter(|name| !name.contains("__")).collect();
        none_of(&format!("{} names what is no metric", path.display()), &unknown);
    }
}

/// The alarms: their names and what they ask.
fn alarms() -> Vec<(String, String)> {
    let text = read(ALARMS.as_ref());
    let all: Value = serde_yaml::from_str(&text).unwrap();
    let groups = all["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    let rules = rules.map(|rule| {
        let of = |key: &str| rule[key].as_str().unwrap_or_else(|| panic!("{rule} has no {key}")).to_owned();
        assert!(["page", "ticket"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{rule}");
        assert!(!rule["annotations"]["summary"].as_str().unwrap().is_empty());
        (of("alert"), of("expr"))
    });
    rules.collect()
}

#[test]
fn the_alarms_ask_for_metrics_that_there_are_and_the_page_says_what_to_do() {
    let page = read(PAGE.as_ref());
    let alarms = alarms();
    assert!(alarms.len() >= 10);
    for (name, asks) in &alarms {
        let unknown: Vec<String> = named(asks).into_iter().filter(|name| !is_series(name)).collect();
        none_of(name, &unknown);
        assert!(!named(asks).is_empty() || asks.contains("up{"), "{name} asks for nothing of ours");
        assert!(page.contains(&format!("\n### {name}\n")), "{PAGE} does not say what to do at {name}");
    }
    let told = page.lines().filter_map(|line| line.strip_prefix("### "));
    let gone: Vec<String> =
        told.filter(|told| !alarms.iter().any(|(name, _)| name == told)).map(ToOwned::to_owned).collect();
    none_of("alarms of the page that there are not", &gone);
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are_and_shows_what_alarms_are_about() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD.as_ref())).unwrap();
    let mut ids = BTreeSet::new();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let asks = target["expr"].as_str().unwrap();
            let unknown: Vec<String> = named(asks).into_iter().filter(|name| !is_series(name)).collect();
            none_of(asks, &unknown);
            assert!(!named(asks).is_empty(), "{asks}");
            let (opened, closed) = (asks.matches('(').count(), asks.matches(')').count());
            assert_eq!(opened, closed, "{asks}");
            asked += 1;
        }
    }
    assert!(asked >= 12, "{asked}");
    let shown = named(&dashboard["panels"].to_string());
    for (name, asks) in alarms() {
        let hidden: Vec<String> = named(&asks).into_iter().filter(|metric| !shown.contains(metric)).collect();
        none_of(&format!("{name} is about what no panel shows"), &hidden);
    }
}
