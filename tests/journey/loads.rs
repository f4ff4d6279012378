//! Bulk loads of reference data.

use std::path::Path;

use lettercase::intake::load::{Form, LoadError, LoadReport, load};
use lettercase::model::reference::ReferenceKind;

use super::texts;
use crate::on_both;
use crate::support::World;

/// All that loads have written, but for ids that are made anew each time.
async fn all(world: &World) -> Vec<Vec<String>> {
    vec![
        texts(world, "SELECT tin || '|' || uid || '|' || name FROM tin ORDER BY 1").await,
        texts(world, "SELECT npi || '|' || name || '|' || tin FROM provider ORDER BY 1").await,
        texts(
            world,
            "SELECT brand || '|' || member_id || '|' || first_name || '|' || last_name || '|' || birth_date || '|' ||
                COALESCE(account, '-') FROM member ORDER BY 1",
        )
        .await,
        texts(
            world,
            "SELECT brand || '|' || claim_number || '|' || member_id || '|' || tin || '|' || COALESCE(npi, '-') || '|' ||
                status || '|' || service_from || '|' || service_to || '|' || COALESCE(processed_on, '-')
             FROM claim ORDER BY 1",
        )
        .await,
        texts(
            world,
            "SELECT id || '|' || brand || '|' || case_number || '|' || status || '|' || member_id || '|' || tin
             FROM case_file ORDER BY 1",
        )
        .await,
    ]
}

async fn load_csv(world: &World, kind: ReferenceKind, text: &str) -> Result<LoadReport, LoadError> {
    load(world.db(), world.stamp(), kind, Form::Csv, std::io::Cursor::new(text.to_owned().into_bytes())).await
}

on_both! {
    async fn a_load_repeated_changes_nothing(world: &World) {
        world.load_samples().await;
        let first = all(world).await;
        assert!(first.iter().all(|rows| !rows.is_empty()));
        world.load_samples().await;
        assert_eq!(all(world).await, first, "the practices' own ids and the cases' are kept, too");
    }
}

on_both! {
    async fn bad_rows_are_told_by_line_and_rule_and_the_good_ones_are_kept(world: &World) {
        let row = |id: &str, first: &str, born: &str| {
            format!(r#"{{"brand":"meridian","member_id":"{id}","first_name":"{first}","last_name":"Muster","birth_date":"{born}"}}"#)
        };
        let rows = [
            row("M1", "Ada", "1960-02-03"),
            row("M2", "Bo", "1960-02-31"),
            row("M\u{e9}3", "Cy", "1960-02-03"),
            row("M4", "Di\\u0000", "1960-02-03"),
            r#"{"brand":"meridian","member_id":"M5"}"#.to_owned(),
            "[]".to_owned(),
            row("M6", "Eva \u{1f469}\u{200d}\u{2695}", "1960-02-03"),
            row("M7", "Flo", "1960-02-03").replace("first_name", "forename"),
        ];
        let report = world.load(ReferenceKind::Members, &rows.join("\n")).await;
        assert_eq!((report.loaded, report.rejected), (2, 6));
        let lines: Vec<_> = report.rejects.iter().map(|reject| reject.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 8]);
        for (reject, word) in report.rejects.iter().zip(["date", "member id", "NUL", "missing", "JSON", "forename"]) {
            let reason = &reject.reason;
            assert!(reason.contains(word) || reason.contains("form"), "line {}: {reason}", reject.line);
            assert!(["Bo", "M2", "1960-02-31", "Cy", "Di", "Flo"].iter().all(|v| !reason.contains(v)), "{reason}");
        }
        assert_eq!(texts(world, "SELECT member_id FROM member ORDER BY 1").await, ["M1", "M6"]);
    }
}

on_both! {
    async fn csv_and_ndjson_of_the_same_members_are_the_same(world: &World) {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/reference");
        let csv = std::fs::read_to_string(samples.join("members.csv")).unwrap();
        let report = load_csv(world, ReferenceKind::Members, &csv).await.unwrap();
        assert_eq!((report.loaded, report.rejected), (12, 0), "{:?}", report.rejects);
        let from_csv = all(world).await;
        let ndjson = std::fs::read_to_string(samples.join("members.ndjson")).unwrap();
        world.load(ReferenceKind::Members, &ndjson).await;
        assert_eq!(all(world).await, from_csv);

        let torn = "tin,name\n001234567,\"Muster, Clinic\"\n12,Bad\n001234568,Good,more\n001234569,Last\n";
        let report = load_csv(world, ReferenceKind::Tins, torn).await.unwrap();
        assert_eq!((report.loaded, report.rejected), (2, 2), "{:?}", report.rejects);
        assert_eq!(report.rejects.iter().map(|r| r.line).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(texts(world, "SELECT name FROM tin ORDER BY tin").await, ["Muster, Clinic", "Last"]);
    }
}
