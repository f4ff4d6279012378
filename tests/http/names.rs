//! File names that are made to do harm.

use lettercase::model::document::DocumentState;
use lettercase::model::submission::SubmissionState;

use super::{Server, answer, json};
use crate::on_both;
use crate::support::World;

fn names() -> Vec<String> {
    [
        "in\u{202e}fdp.txt",
        "nul\0byte.txt",
        "escape\u{1}0.txt",
        "../../../etc/passwd.txt",
        "C:\\scans\\con.txt",
        "AUX.txt",
        " blank ends .txt ",
        "dots.txt...",
        "%2e%2e%2f.txt",
        "quote\"; DROP TABLE document; --.txt",
        "line\r\nbreak.txt",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(["\u{436}".repeat(500) + ".txt", "\u{fdfa}".repeat(340) + ".txt"])
    .collect()
}

on_both! {
    async fn a_file_name_is_kept_raw_and_is_never_a_path(world: &World) {
        let server = Server::start(&world.app).await;
        for names in names().chunks(10) {
            let id = server.open(r#"{"kind":"appeal"}"#).await;
            for name in names {
                let (status, text) = server.put(&id, name, b"a page").await;
                assert_eq!(status, 201, "{name:?}: {text}");
            }
            let (_, text) = server.get(&format!("/v1/submissions/{id}")).await;
            let documents = json(&text)["documents"].clone();
            let kept: Vec<_> = documents.as_array().unwrap().iter().map(|d| d["file_name"].as_str().unwrap()).collect();
            assert_eq!(kept, *names);
            assert_ids_only(world);
            let view = world.submit(&id).await;
            assert_eq!(view.state, SubmissionState::Accepted);
            assert!(view.documents.iter().all(|d| d.state == DocumentState::Unmatched));
        }
        assert_ids_only(world);
        let part = reqwest::multipart::Part::bytes(b"a page".to_vec()).file_name("../a\u{202e}\"b\".txt");
        let form = reqwest::multipart::Form::new().part("f", part);
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let (status, text) = answer(server.client.post(server.url(&format!("/v1/submissions/{id}/files"))).multipart(form)).await;
        assert_eq!(status, 201, "{text}");
        assert_ids_only(world);
    }
}

/// Spool and store hold files named by ids and hashes only, and nothing lies outside of them.
fn assert_ids_only(world: &World) {
    for place in ["spool", "objects"] {
        for entry in walkdir::WalkDir::new(world.settings.data_dir.join(place)).into_iter().map(Result::unwrap) {
            let name = entry.file_name().to_str().unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{name:?}");
            assert!(!entry.file_type().is_file() || !name.contains("txt"), "{name:?}");
        }
    }
    let beside = std::fs::read_dir(world.dir.path().parent().unwrap()).unwrap();
    assert!(beside.filter_map(Result::ok).all(|entry| entry.file_name() != "passwd.txt"));
}
