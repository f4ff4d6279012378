//! `lettercase sources`, as an operator uses it.

use lettercase::model::document::Channel;
use serde_json::{Value, json};

use super::{Kind, Place};
use crate::crash::site::Site;
use crate::support::{On, block_on};

async fn run(site: &Site, args: &[&str]) -> (i32, Value, String) {
    let done = site.command().arg("sources").args(args).output().await.unwrap();
    let (out, err) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    (done.status.code().unwrap(), serde_json::from_str(&out).unwrap_or(Value::String(out)), err)
}

#[test]
fn what_is_watched_lies_there_and_went_wrong_can_be_looked_at() {
    block_on(async {
        let mut site = Site::new(On::Sqlite).await;
        let place = Place::new(Kind::Folder).await;
        let setting: toml::Value = serde_json::from_value(place.setting(Channel::Fax, json!({}))).unwrap();
        site.environment.insert("LETTERCASE_SOURCES".into(), format!("[{setting}]"));
        place.drop_file("fax.txt", b"a fax");
        place.drop_file("fax.txt.json", br#"{"batch":"B-1","expected_documents":2,"npi":"x"}"#);
        std::fs::create_dir(place.dir.join("sub")).unwrap();
        let (code, looked, err) = run(&site, &["look", "--json"]).await;
        assert_eq!((code, &looked[0]["files"], &looked[0]["skipped"]["directory"]), (0, &json!(2), &json!(1)), "{err}");
        assert_eq!(place.lies(), ["fax.txt", "fax.txt.json"], "nothing is taken");

        let (code, taken, err) = run(&site, &["look", "--take", "--json"]).await;
        assert_eq!((code, &taken[0]["taken"]), (0, &json!(1)), "{err}");
        let (_, listed, _) = run(&site, &["list", "--json"]).await;
        assert_eq!((&listed[0]["name"], &listed[0]["files"]["taken"]), (&json!("source-1"), &json!(1)), "{listed}");
        let (_, problems, _) = run(&site, &["problems", "--json"]).await;
        assert_eq!((problems.as_array().unwrap().len(), &problems[0]["code"]), (1, &json!("sidecar")), "{problems}");
        let (_, batches, _) = run(&site, &["batches", "--json"]).await;
        assert_eq!(batches[0]["documents_difference"], json!(-1), "{batches}");
        for (command, told) in [("list", "1 taken"), ("problems", "npi: "), ("batches", "1 of 2"), ("look", "skipped")]
        {
            let (code, table, err) = run(&site, &[command]).await;
            assert!(code == 0 && table.to_string().contains(told), "{command}: {table} {err}");
        }
        let after = format!("{},{}", batches[0]["created_at"].as_str().unwrap(), batches[0]["id"].as_str().unwrap());
        assert_eq!(run(&site, &["batches", "--json", "--after", &after]).await.1, json!([]));
        assert_eq!(run(&site, &["batches", "--after", "x"]).await.0, 2);

        std::fs::remove_dir_all(&place.dir).unwrap();
        let (code, looked, _) = run(&site, &["look", "--json"]).await;
        assert_eq!(code, 1);
        assert!(looked[0]["error"].as_str().unwrap().contains("list the folder"), "{looked}");
        site.environment.insert("LETTERCASE_SOURCES".into(), format!("[{setting}, {setting}]"));
        let (code, _, err) = run(&site, &["list"]).await;
        assert!(code == 2 && err.contains("entry 2"), "{err}");
    });
}
