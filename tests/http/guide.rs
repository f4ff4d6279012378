//! The integrator's guide does what it says: every line of it runs, against a server of its own.

use std::path::Path;

use crate::crash::site::Site;
use crate::support::{On, block_on};

/// The shell blocks of a Markdown text, in their order.
fn script(text: &str) -> String {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_line_of_the_integrators_guide_runs() {
    block_on(async {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = script(include_str!("../../docs/api.md"));
        assert!(script.matches("curl ").count() >= 12, "{script}");
        let site = Site::new(On::Sqlite).await;
        let key = site.key().await.to_owned();
        let server = site.serve(None).await;
        let place = site.dir.path().join("guide");
        std::fs::create_dir(&place).unwrap();
        std::os::unix::fs::symlink(root.join("samples"), place.join("samples")).unwrap();
        let run = tokio::process::Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(&place)
            .env("SERVER", site.url())
            .env("LETTERCASE_KEY", key)
            .env("NO_PROXY", "127.0.0.1")
            .env("TZ", "America/New_York")
            .output();
        let done = tokio::time::timeout(crate::crash::site::PATIENCE, run).await.unwrap().unwrap();
        let (out, told) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{told}\n{out}");
        assert!(out.contains(r#""status":"Accepted""#), "{out}");
        assert!(out.contains(r#""state":"routed""#) && place.join("letter.pdf").is_file(), "{out}");
        assert!(out.contains("document.stored") && out.contains("withdrawn"), "{out}");
        site.until_done().await;
        server.terminate().await;
    });
}
