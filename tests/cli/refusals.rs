//! What can't be run says why, in words, and changes nothing.

use super::{good, run};
use crate::crash::site::Site;
use crate::support::{On, block_on};

#[test]
fn a_node_listens_beyond_loopback_by_tls_only_and_shares_neither_its_port_nor_its_data() {
    block_on(async {
        let mut site = Site::new(On::Sqlite).await;
        let open = run(&site, &["serve", "--listen", "0.0.0.0:0"]).await;
        assert!(open.code == 2 && open.err.contains("to listen beyond loopback set tls"), "{open:?}");

        let server = site.serve(None).await;
        let address = format!("127.0.0.1:{}", site.port);
        let taken = run(&site, &["serve", "--listen", &address]).await;
        assert!(taken.code == 2 && taken.err.contains(&format!("can't listen on {address}")), "{taken:?}");
        let second = run(&site, &["serve", "--listen", "127.0.0.1:0"]).await;
        assert!(second.code == 2 && second.err.contains("another lettercase runs on"), "{second:?}");
        // looking is no second node
        good(&site, &["status"]).await;
        // workers of another name are
        site.environment.insert("LETTERCASE_NODE".into(), "node-2".into());
        let mut workers = site.command().arg("work").spawn().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(800)).await;
        assert!(workers.try_wait().unwrap().is_none(), "a node of another name may run beside");
        workers.kill().await.unwrap();
        server.terminate().await;
    });
}

#[test]
fn settings_and_plans_that_can_not_be_used_are_named() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        assert!(good(&site, &["check"]).await.out.ends_with("ok\n"));
        let checked = good(&site, &["check", "--json"]).await.json();
        assert_eq!((checked["ok"].as_bool(), checked["plan"].as_str()), (Some(true), Some("intake.toml")));

        let config = site.dir.path().join("other");
        std::fs::create_dir(&config).unwrap();
        let plan = include_str!("../../pipelines/intake.toml").replace("[receive]", "[receive]\nsurprise = 1");
        std::fs::write(config.join("intake.toml"), plan).unwrap();
        let broken = site.dir.path().join("broken.toml");
        std::fs::write(&broken, "listen = [").unwrap();
        let settings = |name: &str, value: &str| {
            let mut command = site.command();
            command.env(name, value);
            command
        };
        for (name, value, told) in [
            ("LETTERCASE_LISTENS", "x", "listens"),
            ("LETTERCASE_LISTEN", "nowhere", "listen"),
            ("LETTERCASE_SCANNER__RUN_BY", "nobody", "run_by"),
            ("LETTERCASE_BRAND", "not a brand", "brand"),
            ("LETTERCASE_SETTINGS", "/no/such.toml", "/no/such.toml"),
            ("LETTERCASE_SETTINGS", broken.to_str().unwrap(), "broken.toml"),
            ("LETTERCASE_CONFIG_DIR", config.to_str().unwrap(), "surprise"),
        ] {
            let refused = super::ran(settings(name, value), &["check"]).await;
            assert!(refused.code == 2 && refused.err.contains(told), "{name}={value}: {refused:?}");
        }
        let mut unreadable = site.command();
        unreadable.env("LETTERCASE_OTHER", <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff"));
        let refused = super::ran(unreadable, &["check"]).await;
        assert!(refused.code == 2 && refused.err.contains("LETTERCASE_OTHER"), "{refused:?}");
        let database = super::ran(settings("LETTERCASE_DATABASE", "mysql://u:secret@h/d"), &["ledger"]).await;
        assert!(database.code == 2 && !database.err.contains("secret"), "{database:?}");
    });
}

#[test]
fn completions_are_printed() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let out = good(&site, &["completions", "bash"]).await.out;
        assert!(out.contains("complete -F") && out.contains("dead-letters"), "{out}");
    });
}
