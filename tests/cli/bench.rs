//! `bench digests`, small: what it makes is there, and each mail arrives once.

use serde_json::Value;
use tokio::process::Command;

use super::{Ran, ran};
use crate::support::{block_on, postgres, program};

async fn digests(database: Option<&str>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lettercase"));
    let tools = program("smtp-sink").parent().unwrap().display().to_string();
    command.env_clear().env("PATH", format!("{tools}:/usr/bin:/bin"));
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
