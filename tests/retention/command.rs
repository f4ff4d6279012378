//! Retention at the command line.

use serde_json::json;

use crate::cli::{good, run};
use crate::crash::site::Site;
use crate::support::{On, block_on};

#[test]
fn ops_15_plans_holds_and_reports_are_told_at_the_command_line() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let plan = good(&site, &["retention", "plan", "--json"]).await.json();
        assert_eq!((&plan["destruction"], &plan["counts"]), (&json!(false), &json!([])), "{plan}");
        assert!(good(&site, &["retention", "plan"]).await.out.contains("Policy destroys nothing"));
        let args = ["retention", "hold", "--case", "RC-7K4M9TX2", "--reason", "lawsuit 26-114", "--json"];
        let hold = good(&site, &args).await.json()[0].clone();
        assert!(hold["case_id"].is_string() && hold["created_by"] == "cli", "{hold}");
        good(&site, &["retention", "hold", "--tin", "007296035", "--reason", "an inquiry"]).await;
        let shown = good(&site, &["retention", "holds"]).await.out;
        assert!(shown.contains("lawsuit 26-114") && !shown.contains("007296035"), "{shown}");
        let id = hold["id"].as_str().unwrap();
        assert!(good(&site, &["retention", "release", id, "--json"]).await.json()[0]["lifted_at"].is_string());
        assert_eq!(good(&site, &["retention", "holds", "--json"]).await.json().as_array().map(Vec::len), Some(1));
        assert_eq!(
            good(&site, &["retention", "holds", "--all", "--json"]).await.json().as_array().map(Vec::len),
            Some(2)
        );
        assert_eq!(good(&site, &["retention", "report", "--json"]).await.json(), json!([]));
        let nobody = "01980000-0000-7000-8000-000000000001";
        for (args, told) in [
            (vec!["retention", "run"], "policy destroys nothing"),
            (vec!["retention", "hold", "--reason", "x"], "--case"),
            (vec!["retention", "hold", "--case", "NONE", "--reason", "x"], "no such case"),
            (vec!["retention", "hold", "--tin", "007296035", "--reason", "x"], "stands already"),
            (vec!["retention", "hold", "--tin", "007296035", "--member", "M", "--reason", "x"], "cannot be used with"),
            (vec!["retention", "release", nobody], "no such hold"),
            (vec!["retention", "report", nobody], "no such run"),
            (vec!["retention", "plan", "--why", "due"], "--records"),
            (vec!["retention", "plan", "--records", "nonsense"], "RecordKind"),
        ] {
            let refused = run(&site, &args).await;
            assert!(refused.code == 2 && refused.err.contains(told), "{args:?}: {refused:?}");
        }
        // an installation turns it on
        let config = site.dir.path().join("config/retention.toml");
        let policy = include_str!("../../pipelines/retention.toml").replace("enabled = false", "enabled = true");
        std::fs::write(&config, policy).unwrap();
        let report = good(&site, &["retention", "run", "--json"]).await.json();
        assert_eq!((&report["state"], &report["counts"]), (&json!("done"), &json!([])), "{report}");
        let id = report["id"].as_str().unwrap();
        assert_eq!(good(&site, &["retention", "report", id, "--records", "--json"]).await.json()["records"], json!([]));
        assert!(good(&site, &["retention", "report"]).await.out.contains(id));
        // a policy that makes no sense is refused whole
        std::fs::write(
            &config,
            include_str!("../../pipelines/retention.toml").replace("[audit]\nyears = 10", "[audit]\nyears = 5"),
        )
        .unwrap();
        let refused = run(&site, &["check"]).await;
        assert!(refused.code == 2 && refused.err.contains("[audit] years"), "{refused:?}");
    });
}
