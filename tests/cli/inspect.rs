//! `inspect`: a line per file, with exactly these fields.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lettercase::cli::made;
use serde_json::Value;

use super::{Ran, run};
use crate::crash::site::Site;
use crate::support::{On, block_on};

const FIELDS: [&str; 9] =
    ["file", "declared_type", "detected_type", "size_bytes", "verdict", "code", "message", "signature", "flags"];

/// The lines by file name, each with exactly its fields.
fn lines(ran: &Ran) -> BTreeMap<String, Value> {
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let fields: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, FIELDS.into());
        let file = Path::new(value["file"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
        (file, value)
    };
    ran.out.lines().map(line).collect()
}

#[test]
fn each_sample_is_accepted_in_one_line() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/documents");
        let paths: Vec<String> =
            std::fs::read_dir(documents).unwrap().map(|e| e.unwrap().path().display().to_string()).collect();
        let mut args = vec!["inspect", "--json"];
        args.extend(paths.iter().map(String::as_str));
        let ran = run(&site, &args).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.err.contains("TEST SIGNATURES ONLY"), "{}", ran.err);
        let lines = lines(&ran);
        assert_eq!(lines.len(), paths.len());
        for line in lines.values() {
            assert_eq!(line["verdict"], "accept", "{line}");
            assert_eq!((&line["declared_type"], &line["code"]), (&line["detected_type"], &Value::Null), "{line}");
        }
    });
}

#[test]
fn what_is_hostile_is_told_by_its_code() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let dir = tempfile::tempdir().unwrap();
        // made as, sent as, said of it
        let files = [
            ("eicar-docx", "a.docx", "virus", "virus"),
            ("empty", "b.pdf", "reject", "empty"),
            ("too-large-pdf", "c.pdf", "reject", "too_large"),
            ("zip", "d.zip", "reject", "type_not_accepted"),
            ("pdf-named-png", "e.png", "reject", "type_mismatch"),
            ("truncated-pdf", "f.pdf", "reject", "damaged"),
            ("encrypted-pdf", "g.pdf", "reject", "encrypted"),
            ("encrypted-docx", "h.docx", "reject", "encrypted"),
            ("docm-named-docx", "i.docx", "reject", "macros"),
            ("pdf-zip-polyglot", "j.pdf", "reject", "polyglot"),
            ("archive-bomb-docx", "k.docx", "reject", "archive_bomb"),
            ("image-bomb-png", "l.png", "reject", "image_bomb"),
            ("doc-with-macros", "m.doc", "held", "macros"),
        ];
        let mut args = vec!["inspect".to_owned(), "--json".to_owned()];
        for (made, name, ..) in files {
            let path = dir.path().join(name);
            made::make(made, 1 << 20, &path).unwrap();
            args.push(path.display().to_string());
        }
        let ran = run(&site, &args.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        let lines = lines(&ran);
        for (made, name, verdict, code) in files {
            let line = &lines[name];
            assert_eq!(
                (line["verdict"].as_str(), line["code"].as_str()),
                (Some(verdict), Some(code)),
                "{made}: {line}"
            );
            assert!(line["message"].as_str().is_some_and(|message| !message.is_empty()), "{made}: {line}");
            assert_eq!(line["signature"].is_string(), verdict == "virus", "{made}: {line}");
        }
        let missing = run(&site, &["inspect", "no-such-file.pdf"]).await;
        assert_eq!(missing.code, 2);
        assert!(missing.err.contains("no-such-file.pdf"), "{missing:?}");
    });
}
