//! `bench digests`, small: what it makes is there, and each mail arrives once. `bench intake`, small: what is sent comes to
//! its end, also beside made documents.

use serde_json::Value;
use tokio::process::Command;

use super::{Ran, ran};
use crate::support::{block_on, postgres, program};

fn program_with_tools() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lettercase"));
    let tools = program("smtp-sink").parent().unwrap().display().to_string();
    command.env_clear().env("PATH", format!("{tools}:/usr/bin:/bin"));
    command
}

async fn digests(database: Option<&str>) -> Ran {
    let command = program_with_tools();
    let more = database.map(|url| ["--database", url]);
    let few = ["bench", "digests", "--users", "50", "--send-at-most", "40", "--connections", "4", "--json"];
    ran(command, &few.into_iter().chain(more.into_iter().flatten()).collect::<Vec<_>>()).await
}

fn assert_figures(figures: &Value) {
    let figure = |name: &str| figures[name].as_f64().unwrap_or_else(|| panic!("{name}: {figures}"));
    let made = ["users", "tins", "choices", "letters"].map(|name| figures[name].as_i64().unwrap());
    assert_eq!(made, [50, 80, 400, 100]);
    assert_eq!((figure("duplicates"), figure("misses")), (0.0, 0.0), "{figures}");
    assert!(figure("notifications") >= figure("planned_items") && figure("planned_items") >= figure("mails"));
    assert!(figure("sent") >= 20.0 && figure("checked") >= 20.0, "{figures}");
    for rate in [
        "fan_out_per_s",
        "planned_items_per_s",
        "messages_per_s",
        "smtp_source_messages_per_s",
        "smtp_source_kept_messages_per_s",
        "ratio",
        "peak_rss_bytes",
    ] {
        assert!(figure(rate) > 0.0, "{rate}: {figures}");
    }
}

#[test]
fn the_bench_of_digests_sends_each_mail_once_sqlite() {
    block_on(async {
        let done = digests(None).await;
        assert_eq!(done.code, 0, "{done:?}");
        assert_figures(&done.json());
    });
}

#[test]
fn the_bench_of_digests_sends_each_mail_once_and_refuses_a_database_with_rows_postgres() {
    block_on(async {
        let made = postgres::Database::new().await;
        let database = made.url.clone();
        let done = digests(Some(&database)).await;
        assert_eq!(done.code, 0, "{done:?}");
        assert_figures(&done.json());
        let again = digests(Some(&database)).await;
        assert_eq!(again.code, 2, "{again:?}");
        assert!(again.err.contains("not empty"), "{again:?}");
    });
}

#[test]
fn the_bench_of_intake_brings_its_files_to_their_end_beside_made_documents() {
    block_on(async {
        let files = tempfile::tempdir().unwrap();
        for n in 0..12 {
            std::fs::write(files.path().join(format!("{n}.txt")), format!("note {n}")).unwrap();
        }
        let dir = files.path().display().to_string();
        let few = ["bench", "intake", "--files", &dir, "--filled", "400", "--json"];
        let done = ran(program_with_tools(), &few).await;
        assert_eq!(done.code, 0, "{done:?}");
        let figures = done.json();
        let of = |name: &str| figures[name].as_i64();
        assert_eq!((of("documents"), of("matched"), of("filled")), (Some(12), Some(12), Some(400)), "{figures}");
        for rate in [
            "documents_per_s",
            "megabytes_per_s",
            "clamdscan_megabytes_per_s",
            "ratio",
            "peak_rss_bytes",
            "documents_per_core_s",
            "acknowledged_p99_ms",
        ] {
            assert!(figures[rate].as_f64().is_some_and(|rate| rate > 0.0), "{rate}: {figures}");
        }
        assert!(figures["processors"]["nodes"].as_f64().is_some_and(|share| share > 0.0), "{figures}");
        std::fs::write(files.path().join("12.txt"), b"MZ no text at all \x00\x01\x02").unwrap();
        let done = ran(program_with_tools(), &few).await;
        assert_eq!(done.code, 2, "what does not come to its case is not measured: {done:?}");
    });
}
