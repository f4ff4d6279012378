//! A rolling upgrade: the schema goes ahead, nodes of the earlier version run on it beside ones of this, and end one by one.
//! The earlier program is built by `scripts/upgrade-test.sh` (`make upgrade-test`).

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::crash::sender::{Parcel, send};
use crate::crash::site::Site;
use crate::support::{On, block_on, postgres};

/// Submissions that are sent in each part of the test.
const EACH: usize = 20;

struct Roll {
    site: Site,
    older: PathBuf,
    older_port: u16,
}

impl Roll {
    /// The earlier program, as a second node of the site with the plans that it was shipped with.
    fn older(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.older);
        command.env_clear().envs(&self.site.environment).current_dir(self.site.dir.path()).kill_on_drop(true);
        command.env("LETTERCASE_NODE", "older").env("LETTERCASE_CONFIG_DIR", self.site.dir.path().join("older"));
        command.args(args);
        command
    }

    async fn says(&self, mut command: Command) -> String {
        let out = command.output().await.unwrap();
        let text = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        assert!(out.status.success(), "{text}");
        text
    }

    async fn send(&self, part: &str, url: &str) {
        let claims = std::fs::read_to_string("samples/reference/claims.ndjson").unwrap();
        let claims: Vec<Value> = claims.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let client = self.site.client().await;
        let parcels: Vec<Parcel> = (0..EACH)
            .map(|n| {
                let claim = &claims[n % claims.len()];
                let name = format!("{part} {n}");
                Parcel {
                    said: json!({ "claim_number": claim["claim_number"], "member_id": claim["member_id"], "tin": claim["tin"] }),
                    files: vec![(format!("{name}.txt"), format!("Please look at this again: {name}.").into_bytes())],
                    name,
                }
            })
            .collect();
        futures::future::join_all(parcels.iter().map(|parcel| send(&client, url, parcel))).await;
    }

    async fn number(&self, statement: &'static str) -> i64 {
        let db = self.site.db().await;
        let n = {
            let mut conn = db.read().await.unwrap();
            sqlx::query_scalar(statement).fetch_one(&mut *conn).await.unwrap()
        };
        db.close().await;
        n
    }
}

#[test]
#[ignore = "needs the program of an earlier commit: make upgrade-test"]
fn an_older_node_and_this_one_work_side_by_side_on_the_newer_schema() {
    block_on(async {
        #[expect(clippy::disallowed_methods, reason = "says where the earlier program is")]
        let older: PathBuf = std::env::var_os("LETTERCASE_TEST_OLDER").expect("make upgrade-test sets it").into();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/upgrade-source");
        let mut site = Site::new(On::Postgres).await;
        // a database that the earlier version has made
        let database = postgres::Database::new().await;
        site.environment.insert("LETTERCASE_DATABASE".into(), database.url.clone());
        let plan = |name: &str| std::fs::read_to_string(source.join("pipelines").join(name)).unwrap();
        Site::configure(&site.dir.path().join("older"), &plan("intake.toml"), &plan("correspondence.toml"));
        let roll = Roll { site, older, older_port: postgres::free_port() };
        roll.says(roll.older(&["migrate"])).await;
        for kind in ["tins", "providers", "members", "claims", "cases"] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("samples/reference/{kind}.ndjson"));
            roll.says(roll.older(&["load", kind, file.to_str().unwrap()])).await;
        }
        let versions = "SELECT CAST(MAX(version) AS BIGINT) FROM _sqlx_migrations";
        let before = roll.number(versions).await;
        let listen = format!("127.0.0.1:{}", roll.older_port);
        let old = roll.site.started(roll.older(&["serve", "--listen", &listen]), "listening on").await;
        let old_url = format!("http://{listen}");
        roll.send("before", &old_url).await;

        // the schema goes ahead under the running node
        let refused = roll.site.command().arg("work").output().await.unwrap();
        assert!(String::from_utf8_lossy(&refused.stderr).contains("lettercase migrate"), "on the older schema");
        let mut migrate = roll.site.command();
        migrate.arg("migrate");
        roll.says(migrate).await;
        let after = roll.number(versions).await;
        assert!(after > before, "the earlier commit has this schema already: take one before");
        roll.send("older alone", &old_url).await;
        roll.site.until_done().await;

        // both; and an event of a type that the earlier version does not know goes by it
        let new = roll.site.serve(None).await;
        let mut hold = roll.site.command();
        hold.args(["outgoing", "hold", "destruction"]);
        roll.says(hold).await;
        let new_url = roll.site.url();
        tokio::join!(roll.send("by the older", &old_url), roll.send("by the newer", &new_url));
        // a node of the earlier version starts anew on the newer schema
        let (status, log) = old.terminate().await;
        assert!(status.success(), "{log}");
        let old = roll.site.started(roll.older(&["serve", "--listen", &listen]), "listening on").await;
        tokio::join!(roll.send("by the older again", &old_url), roll.send("by the newer again", &new_url));
        roll.site.until_done().await;
        // each of them says the same of all of it
        for verb in [&["audit", "verify"][..], &["ledger"]] {
            roll.says(roll.older(verb)).await;
            let mut newer = roll.site.command();
            newer.args(verb);
            roll.says(newer).await;
        }
        // the last one of the earlier version ends in the middle of its work
        tokio::join!(roll.send("the last", &old_url), async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        });
        old.kill().await;
        roll.site.until_done().await;
        let (status, log) = new.terminate().await;
        assert!(status.success(), "{log}");
        roll.site.assert_conserved().await;
        let parts = 7;
        let documents =
            roll.number("SELECT COUNT(*) FROM document WHERE state IN ('matched', 'needs_review', 'unmatched')").await;
        assert_eq!(documents, i64::try_from(parts * EACH).unwrap());
        let by_each = roll.number("SELECT COUNT(DISTINCT node) FROM document").await;
        assert_eq!(by_each, 2);
        let letters = roll.number("SELECT COUNT(*) FROM letter WHERE state = 'routed'").await;
        let others = roll.number("SELECT COUNT(*) FROM letter WHERE state IN ('asked', 'composed', 'rendered')").await;
        assert!(letters > 0 && others == 0, "{letters} {others}");
        println!(
            "schema {before}, then {after}: {documents} documents and {letters} letters by nodes of both versions"
        );
    });
}
