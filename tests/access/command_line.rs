//! Keys and users at the command line.

use lettercase::access::AuthError;
use lettercase::app::open_access;
use lettercase::outside::context::Context;
use serde_json::json;

use crate::cli::{good, run};
use crate::crash::site::Site;
use crate::support::{On, block_on};

#[test]
fn keys_are_made_listed_rotated_and_revoked_at_the_command_line() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let access = open_access(&site.settings(), site.db().await, Context::system()).unwrap();
        let made = good(&site, &["keys", "create", "--scopes", "all", "--json"]).await.json();
        let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
        let caller = access.authenticate(key, None).await.unwrap();
        assert_eq!(caller.actor(), format!("key:{id}"));

        let args = ["keys", "create", "--name", "trial", "--scopes", "submit,read", "--tins", "12-3456789,987654321"];
        let plain = good(&site, &[&args[..], &["--test", "--expires-in-days", "7"]].concat()).await;
        assert!(plain.out.trim().starts_with("lck_test_") && plain.out.lines().count() == 1, "{plain:?}");
        let listed = good(&site, &["keys", "list", "--json"]).await;
        assert!(
            !listed.out.contains(&key[9..]) && !listed.out.contains(&plain.out.trim()[9..]),
            "secrets are shown once"
        );
        let listed = listed.json();
        assert_eq!(listed.as_array().unwrap().len(), 2);
        let trial = &listed[1];
        assert_eq!((&trial["name"], &trial["mode"]), (&json!("trial"), &json!("test")));
        assert_eq!(
            (&trial["scopes"], &trial["tins"]),
            (&json!(["submit", "read"]), &json!(["123456789", "987654321"]))
        );
        assert!(good(&site, &["keys", "list"]).await.out.contains("trial"));

        let rotated = good(&site, &["keys", "rotate", id, "--overlap-hours", "0", "--json"]).await.json();
        assert_eq!(rotated["id"].as_str(), Some(id));
        assert!(matches!(access.authenticate(key, None).await, Err(AuthError::Expired)));
        let second = rotated["key"].as_str().unwrap();
        access.authenticate(second, None).await.unwrap();
        good(&site, &["keys", "revoke", id]).await;
        assert!(
            matches!(access.authenticate(second, None).await, Err(AuthError::Revoked)),
            "beside a running node, at once"
        );

        for (args, told) in [
            (vec!["keys", "create", "--scopes", "everything"], "act_as"),
            (vec!["keys", "create", "--scopes", "read", "--tins", "12"], "9 digits"),
            (vec!["keys", "create"], "--scopes"),
            (vec!["keys", "create", "--scopes", "read", "--expires-in-days", "100000"], "so long"),
            (vec!["keys", "rotate", id], "revoked"),
            (vec!["keys", "revoke", "01980000-0000-7000-8000-000000000001"], "no such key"),
        ] {
            let refused = run(&site, &args).await;
            assert!(refused.code == 2 && refused.err.contains(told), "{args:?}: {refused:?}");
        }
        good(&site, &["ledger"]).await;
    });
}

#[test]
fn users_and_their_rights_are_managed_at_the_command_line() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let file = |name: &str, text: &str| {
            let path = site.dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let users = file("users.csv", "issuer,subject,name\nportal,ada,Ada Muster\nportal,bob,Bob Muster\n,cy,Cy\n");
        let loaded = run(&site, &["users", "load", "users", &users]).await;
        assert!(loaded.code == 1 && loaded.out.contains("users: 2 loaded, 1 rejected\n  line 4: "), "{loaded:?}");
        let tin = {
            let text = std::fs::read_to_string("samples/reference/tins.ndjson").unwrap();
            let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
            first["tin"].as_str().unwrap().to_owned()
        };
        let rights = file("rights.csv", &format!("issuer,subject,tin,entitlements\nportal,bob,{tin},patient_search\n"));
        good(&site, &["users", "load", "entitlements", &rights, "--json"]).await;

        let found = good(&site, &["users", "list", "--search", "ADA", "--json"]).await.json();
        assert_eq!((found.as_array().unwrap().len(), &found[0]["subject"]), (1, &json!("ada")));
        let id = found[0]["id"].as_str().unwrap();
        let args = ["users", "entitlements", "grant", "portal", "ada", "--tin", &tin, "--json"];
        let granted =
            good(&site, &[&args[..], &["--entitlements", "claim_search,reconsideration", "--access-manager"]].concat())
                .await;
        assert_eq!(granted.json()["access_manager"], true);
        let listed = good(&site, &["users", "entitlements", "list", "--tin", &tin, "--json"]).await.json();
        assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
        assert!(good(&site, &["users", "entitlements", "list", "--tin", &tin]).await.out.contains("access manager"));
        good(&site, &["users", "entitlements", "revoke", id, "--tin", &tin]).await;
        let gone = run(&site, &["users", "entitlements", "revoke", id, "--tin", &tin]).await;
        assert!(gone.code == 2 && gone.err.contains("no such entitlement"), "{gone:?}");

        let staff = good(&site, &["users", "set-roles", id, "--roles", "supervisor,reviewer", "--json"]).await.json();
        assert_eq!(staff["roles"], json!(["supervisor", "reviewer"]));
        assert_eq!(good(&site, &["users", "list", "--staff", "--json"]).await.json().as_array().unwrap().len(), 1);
        assert!(good(&site, &["users", "list"]).await.out.contains("Bob Muster"));
        good(&site, &["users", "set-roles", id]).await;
        let shut = good(&site, &["users", "disable", "portal", "ada", "--json"]).await.json();
        assert!(shut["disabled_at"].is_string() && shut["roles"] == json!([]), "{shut}");
        good(&site, &["users", "disable", id, "--undo"]).await;
        let shown = good(&site, &["users", "show", id]).await.json();
        assert_eq!((&shown["disabled_at"], &shown["entitlements"]), (&json!(null), &json!([])));

        for (args, told) in [
            (vec!["users", "show", "portal", "nobody"], "no such user"),
            (vec!["users", "show", "nobody"], "user id"),
            (vec!["users", "set-roles", id, "--roles", "king"], "Role"),
            (vec!["users", "entitlements", "grant", id, "--tin", &tin], "--access-manager"),
            (vec!["users", "load", "users", "users.txt"], ".ndjson"),
        ] {
            let refused = run(&site, &args).await;
            assert!(refused.code == 2 && refused.err.contains(told), "{args:?}: {refused:?}");
        }
    });
}
