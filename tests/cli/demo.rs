//! `demo`: what issue and spec promise of it, and a second run on the same directory.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use super::{Ran, ran};
use crate::support::{block_on, tools};

async fn demo(dir: &Path) -> (Ran, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lettercase"));
    command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", tools().join("bin").display()));
    command.env("LETTERCASE_SCANNER__SIGNATURE_DIRECTORIES", "[]").current_dir(env!("CARGO_MANIFEST_DIR"));
    let (data, report) = (dir.join("data"), dir.join("report.json"));
    let done = ran(command, &["demo", "--data", data.to_str().unwrap(), "--report", report.to_str().unwrap()]).await;
    assert_eq!(done.code, 0, "{done:?}");
    let report = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    (done, report)
}

fn texts<'a>(list: &'a Value, field: &str) -> BTreeSet<&'a str> {
    list.as_array().unwrap().iter().filter_map(|each| each[field].as_str()).collect()
}

fn assert_report(done: &Ran, report: &Value, receipts_at_least: i64) {
    assert_eq!(report["surprises"], serde_json::json!([]));
    assert_eq!(report["ledger"]["difference"], 0);
    assert!(report["ledger"]["receipts"].as_i64().unwrap() >= receipts_at_least);
    let figure = |of: &Value, name: &str| of[name].as_i64().unwrap();
    let of = &report["ledger"]["letters"];
    assert!(figure(of, "asked") > 14 && figure(of, "refused") > 0, "{of}");
    let ended: i64 = ["in_flight", "routed", "stopped", "refused"].iter().map(|name| figure(of, name)).sum();
    assert_eq!(figure(of, "asked"), ended, "{of}");
    for of in report["ledger"]["deliveries"].as_array().unwrap() {
        let ended: i64 =
            ["waiting", "in_batch", "delivered", "returned", "stopped"].iter().map(|name| figure(of, name)).sum();
        assert_eq!(figure(of, "created"), ended, "{of}");
    }
    let batches = report["batches"].as_array().unwrap();
    assert!(batches.iter().all(|of| figure(of, "envelopes") > 0 && figure(of, "sheets") > 0), "{batches:?}");
    let faxes = report["faxes"].as_array().unwrap();
    assert!(faxes.iter().any(|fax| fax["state"] == "delivered"), "{faxes:?}");
    let ways = report["letters"].as_array().unwrap().iter().flat_map(|letter| letter["deliveries"].as_array().unwrap());
    for way in ways.filter(|way| way["channel"] != "inbox" && way["state"] != "stopped") {
        let expected = if way["channel"] == "fax" { "delivered" } else { "in_batch" };
        assert_eq!(way["state"], expected, "{way}");
    }
    assert_eq!(report["scanner"]["test_signatures_only"], true);
    assert!(report["scanner"]["engine"].as_str().unwrap().contains("ClamAV"));
    assert!((done.out.clone() + &done.err).contains("TEST SIGNATURES ONLY"));
    assert!(texts(&report["submissions"], "status").contains("Request Failed (Virus)"));

    let documents = report["documents"].as_array().unwrap();
    let fields: BTreeSet<&str> = documents[0].as_object().unwrap().keys().map(String::as_str).collect();
    let named =
        ["file", "detected_type", "size_bytes", "verdict", "signature", "status", "case", "reason", "elapsed_ms"];
    assert_eq!(fields, named.into());
    // every extension that is accepted came to its end: on a case, before a person, or known to be of no case
    let extensions = ["pdf", "jpg", "jpeg", "tif", "tiff", "png", "gif", "doc", "docx", "xls", "xlsx", "txt"];
    for extension in extensions {
        let ended = documents.iter().filter(|d| d["file"].as_str().unwrap().ends_with(&format!(".{extension}")));
        let ended = ended.filter(|d| ["matched", "needs_review", "unmatched"].contains(&d["status"].as_str().unwrap()));
        assert!(ended.count() > 0, "no .{extension} was matched or queued");
    }
    assert_eq!(texts(&report["documents"], "verdict"), ["accept", "reject", "virus", "held"].into());
    let refusals = [
        "empty",
        "too_large",
        "type_not_accepted",
        "type_mismatch",
        "damaged",
        "encrypted",
        "macros",
        "polyglot",
        "archive_bomb",
        "image_bomb",
        "virus",
    ];
    let told = texts(&report["documents"], "reason");
    let missing: Vec<_> = refusals.iter().filter(|code| !told.contains(**code)).collect();
    assert!(missing.is_empty(), "no {missing:?} in {told:?}");
    let virus = documents.iter().find(|d| d["verdict"] == "virus").unwrap();
    assert_eq!((virus["status"].as_str(), virus["reason"].as_str()), (Some("quarantined"), Some("virus")));
    assert!(virus["signature"].as_str().is_some_and(|signature| !signature.is_empty()));
}

#[test]
fn it_shows_what_it_promises_and_a_second_time_on_the_same_directory() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let (done, report) = demo(dir.path()).await;
        let receipts = report["ledger"]["receipts"].as_i64().unwrap();
        assert_report(&done, &report, 40);
        let (done, report) = demo(dir.path()).await;
        assert_report(&done, &report, 2 * receipts);
    });
}
