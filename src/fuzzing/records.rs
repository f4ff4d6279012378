//! Records: what other systems send in bulk, and what scanning software lays beside its files.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::LazyLock;

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::{chosen, tells_no_value};
use crate::engine::bulk::{LoadError, Rows, csv_rows, ndjson};
use crate::intake::sources::index;
use crate::intake::sources::sidecar::{self, Facts, Rules, Told};
use crate::model::access::Mode;
use crate::model::document::Channel;
use crate::model::people::PeopleKind;
use crate::model::reference::ReferenceKind;

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
    now: "2026-11-20T15:00:00Z".parse().expect("an instant"),
    ahead: SignedDuration::from_secs(300),
    behind: SignedDuration::from_hours(24 * 400),
    zone: TimeZone::get("America/New_York").ok(),
});

/// The first byte chooses: NDJSON and CSV of each kind of records, a sidecar, an index.
pub fn records(data: &[u8]) {
    let kinds = (ReferenceKind::ALL.len() + PeopleKind::ALL.len()) as u8;
    let Some((choice, data)) = chosen(data, kinds + 2) else { return };
    let place = usize::from(choice);
    match (ReferenceKind::ALL.get(place), PeopleKind::ALL.get(place.wrapping_sub(ReferenceKind::ALL.len()))) {
        (Some(kind), _) => rows(*kind, data),
        (None, Some(kind)) => rows(*kind, data),
        (None, None) if choice == kinds => read_sidecar(data),
        (None, None) => read_index(data),
    }
}

/// The same bytes as lines of JSON and as CSV.
fn rows<R: Rows>(kind: R, data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').count() as u64;
    let mut before = 0;
    for row in ndjson(kind, data) {
        let (line, row) = row.expect("memory can be read");
        assert!(line > before && line <= lines, "line {line} of {lines} behind {before}");
        before = line;
        if let Err(reason) = row {
            tells_no_value(&reason);
        }
    }
    let mut before = 1;
    match csv_rows(kind, Cursor::new(data.to_vec())) {
        Err(LoadError::Csv(_)) => {}
        Err(error) => panic!("a CSV's head: {error}"),
        Ok(rows) => {
            for row in rows {
                let (line, row) = row.expect("memory can be read");
                assert!(line >= before, "line {line} behind {before}");
                before = line;
                if let Err(reason) = row {
                    tells_no_value(&reason);
                }
            }
        }
    }
}

fn read_sidecar(data: &[u8]) {
    let told = sidecar::read(data, &RULES);
    holds(&told);
    assert_eq!(told.clone().or(Told::default()), told, "nothing changes nothing");
    assert_eq!(Told::default().or(told.clone()), told, "nothing is filled up by all");
}

fn read_index(data: &[u8]) {
    let columns = [("Document File", "file"), ("Operator", "ignore"), ("Claim No.", "claim_number")];
    let columns: BTreeMap<String, String> = columns.map(|(head, name)| (head.to_owned(), name.to_owned())).into();
    let most = 8;
    let index = index::read(data, &columns, most, &RULES);
    assert!(index.rows.len() <= most && index.faults.len() <= 20);
    index.faults.iter().for_each(|fault| tells_no_value(fault));
    for (name, told) in &index.rows {
        assert!(!name.is_empty() && !name.contains(['/', '\\']), "a file's name");
        holds(told);
    }
}

/// What is so of all that is said of a file.
fn holds(told: &Told) {
    assert!(told.faults.len() <= 20);
    told.faults.iter().for_each(|fault| tells_no_value(fault));
    let Facts { channel, brand, received_at, batch, expected_documents, expected_pages, .. } = &told.facts;
    assert_ne!(*channel, Some(Channel::Upload));
    assert!(brand.as_ref().is_none_or(|brand| brand.mode() == Mode::Live));
    assert!(received_at.is_none_or(|at| RULES.allows(at)));
    assert!(batch.as_ref().is_none_or(|batch| batch.len() <= 128 && !batch.chars().any(char::is_control)));
    assert!(batch.is_some() || (expected_documents.is_none() && expected_pages.is_none()));
    for count in [expected_documents, expected_pages].into_iter().flatten() {
        assert!((0..=1_000_000).contains(count));
    }
}
