//! `submit`: its exit code says whether every file came to a good end.

use std::path::PathBuf;

use lettercase::cli::made;

use super::{Ran, good, run};
use crate::crash::site::Site;
use crate::support::{On, block_on, eicar};

fn sample(name: &str) -> String {
    format!("{}/samples/documents/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn written(site: &Site, name: &str, bytes: &[u8]) -> String {
    let path: PathBuf = site.dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

async fn submit(site: &Site, to: [&str; 2], files: &[&str]) -> Ran {
    let mut args = vec!["submit", "--json", "--kind", "appeal", to[0], to[1]];
    args.extend(files);
    run(site, &args).await
}

#[test]
fn only_files_that_came_to_a_good_end_are_a_success() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let data = site.environment["LETTERCASE_DATA_DIR"].clone();
        let to = ["--data", data.as_str()];
        let note = written(&site, "note.txt", b"A note.\n");
        let done = submit(&site, to, &[&sample("nakamura-claim-status.png"), &note]).await;
        assert_eq!(done.code, 0, "{done:?}");
        assert_eq!((done.json()["state"].as_str(), done.json()["ended"].as_bool()), (Some("accepted"), Some(true)));

        let held = site.dir.path().join("held.doc");
        made::make("doc-with-macros", 1 << 20, &held).unwrap();
        for (bad, state, status) in [
            (written(&site, "virus.txt", &eicar()), "failed_virus", "Request Failed (Virus)"),
            (written(&site, "refused.zip", b"PK no archive"), "failed_rejected", "Request Failed (File refused)"),
            (held.display().to_string(), "held", "Held"),
        ] {
            let done = submit(&site, to, &[&note, &bad]).await;
            assert_eq!(done.code, 1, "{bad}: {done:?}");
            let view = done.json();
            assert_eq!((view["state"].as_str(), view["status"].as_str()), (Some(state), Some(status)), "{view}");
        }
        let refused = submit(&site, to, &[&written(&site, "large.txt", &vec![b'x'; (1 << 20) + 1])]).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.err.contains("too_large") && refused.err.contains("was not sent"), "{}", refused.err);
        good(&site, &["ledger"]).await;
    });
}

#[test]
fn a_server_does_the_same_and_one_that_is_not_there_is_told() {
    block_on(async {
        let mut site = Site::new(On::Sqlite).await;
        let url = site.url();
        let keyless = submit(&site, ["--server", &url], &[&sample("reyes-dictation.txt")]).await;
        assert!(keyless.code == 2 && keyless.err.contains("LETTERCASE_KEY"), "{keyless:?}");
        let key = site.key().await.to_owned();
        site.environment.insert("LETTERCASE_KEY".into(), key);
        let nobody = submit(&site, ["--server", &url], &[&sample("reyes-dictation.txt")]).await;
        assert_eq!(nobody.code, 2);
        assert!(nobody.err.contains("can't be reached"), "{nobody:?}");
        let server = site.serve(None).await;
        let done = submit(&site, ["--server", &url], &[&sample("reyes-dictation.txt")]).await;
        assert_eq!(done.code, 0, "{done:?}");
        let virus = written(&site, "virus.txt", &eicar());
        let done = submit(&site, ["--server", &url], &[&virus]).await;
        assert_eq!(done.code, 1, "{done:?}");
        // a sender who reads the answer only after the last byte hears the reason all the same
        let large = written(&site, "large.txt", &vec![b'x'; 40 << 20]);
        for _ in 0..5 {
            let refused = submit(&site, ["--server", &url], &[&large]).await;
            assert!(refused.code == 2 && refused.err.contains("too_large"), "{refused:?}");
        }
        let table = run(&site, &["submit", "--server", &url, "--kind", "appeal", &virus]).await;
        assert!(table.code == 1 && table.out.contains("Request Failed (Virus)"), "{table:?}");
        server.terminate().await;
        site.assert_conserved().await;
    });
}
