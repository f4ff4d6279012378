//! What is printed for a person: tables, and the word about test signatures.

use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use crate::db::ledger::Ledger;
use crate::outside::scanner::EngineVersion;

/// Said wherever a verdict is shown that only test signatures stand behind.
pub(super) const TEST_SIGNATURES_ONLY: &str = "TEST SIGNATURES ONLY";

/// A line under the heads and nothing else: long tables stay readable, and can be cut with `awk`.
const STYLE: comfy_table::TableStyle = comfy_table::presets::ASCII_MARKDOWN;

/// Prints rows under their heads.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heads);
    for row in rows {
        table.add_row(row);
    }
    println!("{table}");
}

/// Prints a value as JSON on lines of its own.
pub(super) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("lettercase: {error}"),
    }
}

/// Prints a value as one line of JSON.
pub(super) fn json_line(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("lettercase: {error}"),
    }
}

/// Says by what files are scanned, and warns where it is by test signatures only.
pub(super) fn tell_scanner(version: &EngineVersion) {
    eprintln!("scanner: {}, signatures {}", version.engine, version.signatures);
    if version.test_signatures_only {
        eprintln!("{TEST_SIGNATURES_ONLY}: no real virus would be found; install the official signatures (freshclam)");
    }
}

/// Prints what became of letters and of their deliveries.
pub(super) fn ledger_of_letters(ledger: &Ledger) {
    let letters = &ledger.letters;
    println!(
        "letters asked for {}: in flight {}, routed {}, stopped {}, refused {}; without a reason {}",
        letters.asked, letters.in_flight, letters.routed, letters.stopped, letters.refused, letters.unexplained
    );
    for of in &ledger.deliveries {
        println!(
            "deliveries by {} {}: waiting {}, in a batch {}, delivered {}, returned {}, stopped {}; without a reason {}",
            of.channel, of.created, of.waiting, of.in_batch, of.delivered, of.returned, of.stopped, of.unexplained
        );
    }
    for of in &ledger.digests {
        println!(
            "notifications of {} {}: waiting {}, in mails {}, left out {}; without a reason {}",
            of.brand, of.notified, of.waiting, of.mailed, of.left_out, of.unexplained
        );
    }
}

/// Bytes as a person reads them.
#[expect(clippy::cast_precision_loss, reason = "for reading only")]
pub(super) fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        _ => format!("{:.1} MiB", n as f64 / 1_048_576.0),
    }
}
