//! The API keeps to its own description: schemathesis sends what it allows and what it forbids, and looks at every
//! answer.

use crate::crash::site::Site;
use crate::support::{On, block_on, tools};

/// Checks left out, with the reason. All others are made.
const LEFT_OUT: &[&str] = &[
    // rules that no schema can hold (a key used twice, a TIN of another, no file yet) answer 409, 412 and 422
    "positive_data_acceptance",
    // what was withdrawn stays to be seen: nothing that was sent in vanishes
    "use_after_free",
];

/// Routes left out: a stream has no end; a key would revoke itself; pieces of uploads, bulk files, a printer's word and returned mails are of media types
/// that can't be made from a description; paper is turned on by users alone, a Messaging Center and its notifications are its user's, and the
/// key is a service's. Each has tests of its own.
const NOT_SENT: &str = "/events$|/revoke$|/uploads|/load$|/acknowledge$|/mail-returns$|/paper/set$|/v1/messages/(?!unread)|/v1/me/(notification|mail)";

/// What refuses a request that the description forbids: also what asks for its `If-Match` before it looks at the rest.
const REFUSALS: &str = r#"
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 415, 422, 428, 429, "5xx"]
"#;

#[test]
fn every_answer_is_one_that_the_description_has() {
    block_on(async {
        let schemathesis = tools().join("schemathesis/bin/python");
        assert!(schemathesis.exists(), "schemathesis is not in .tools: run `make deps`");
        let site = Site::new(On::Sqlite).await;
        // so many requests are not what a caller's rate is for
        let doors = include_str!("../../pipelines/doors.toml");
        let raised = doors
            .replace("requests_per_s = 50 ", "requests_per_s = 100_000 ")
            .replace("burst = 200", "burst = 100_000")
            .replace("failed_logins_per_minute = 60", "failed_logins_per_minute = 100_000");
        assert_eq!(raised.matches("100_000").count(), 3, "the figures are not where this test looks for them");
        std::fs::write(site.dir.path().join("config/doors.toml"), raised).unwrap();
        std::fs::write(site.dir.path().join("schemathesis.toml"), REFUSALS).unwrap();
        let key = site.key().await.to_owned();
        let server = site.serve(None).await;
        let run = tokio::process::Command::new(schemathesis)
            .args(["-m", "schemathesis.cli", "run", &format!("{}/openapi.json", site.url())])
            .args(["-H", &format!("Authorization: Bearer {key}"), "--checks", "all"])
            .args(["--exclude-checks", &LEFT_OUT.join(","), "--max-examples", "12", "--seed", "1"])
            .args(["--exclude-path-regex", NOT_SENT, "--request-timeout", "20", "--no-color"])
            .current_dir(site.dir.path())
            .env("NO_PROXY", "127.0.0.1")
            .kill_on_drop(true)
            .output();
        let done = tokio::time::timeout(crate::crash::site::PATIENCE * 4, run).await.unwrap().unwrap();
        let out = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{out}\n{}", String::from_utf8_lossy(&done.stderr));
        assert!(out.contains("Test cases:") && !out.contains("Authentication failed"), "{out}");
        server.terminate().await;
    });
}
