//! The container files: what can be held of them where there is no engine to run them.

use std::collections::BTreeSet;
use std::path::Path;

use lettercase::settings::Settings;
use serde_yaml::Value;

use super::read;

const FILES: [&str; 2] = ["docker/compose.yaml", "docker/compose.scale.yaml"];

fn compose(file: &str) -> Value {
    let mut value: Value =
        serde_yaml::from_str(&read(Path::new(file))).unwrap_or_else(|error| panic!("{file}: {error}"));
    value.apply_merge().unwrap();
    value
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_mapping().into_iter().flatten().map(|(key, _)| key.as_str().unwrap().to_owned()).collect()
}

fn words(value: &Value) -> Vec<&str> {
    value.as_sequence().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Services by their names.
fn services(of: &Value) -> Vec<(String, &Value)> {
    of["services"].as_mapping().unwrap().iter().map(|(name, it)| (name.as_str().unwrap().to_owned(), it)).collect()
}

#[test]
fn each_volume_and_secret_that_a_service_names_is_declared_and_used() {
    for file in FILES {
        let of = compose(file);
        let (mut volumes, mut secrets) = (BTreeSet::new(), BTreeSet::new());
        for (name, service) in services(&of) {
            let named = words(&service["volumes"]).into_iter().map(|it| it.split(':').next().unwrap());
            let (files, named): (Vec<&str>, Vec<&str>) = named.partition(|it| it.starts_with('.'));
            for mounted in files {
                assert!(Path::new("docker").join(mounted).is_file(), "{file}: {name} mounts {mounted}");
            }
            volumes.extend(named.into_iter().map(ToOwned::to_owned));
            secrets.extend(words(&service["secrets"]).iter().map(|it| (*it).to_owned()));
            let needed = keys(&service["depends_on"]);
            assert!(needed.is_subset(&keys(&of["services"])), "{file}: {name} waits for {needed:?}");
        }
        assert_eq!(volumes, keys(&of["volumes"]), "{file}");
        assert_eq!(secrets, keys(&of["secrets"]), "{file}");
    }
}

#[test]
fn what_runs_our_image_writes_nowhere_but_its_volume_and_has_no_rights() {
    for file in FILES {
        let of = compose(file);
        let ours: Vec<_> = services(&of).into_iter().filter(|(_, it)| it["image"] == "lettercase").collect();
        assert!(!ours.is_empty(), "{file}");
        for (name, service) in ours {
            assert_eq!(service["read_only"], true, "{file}: {name}");
            assert!(service["privileged"].is_null() && service["user"].is_null(), "{file}: {name}");
            // what only brings the schema up has no more to lose than that
            if service["command"][0] != "migrate" {
                assert_eq!(words(&service["cap_drop"]), ["ALL"], "{file}: {name}");
                assert_eq!(words(&service["security_opt"]), ["no-new-privileges:true"], "{file}: {name}");
            }
        }
    }
    let image = read(Path::new("docker/Dockerfile"));
    let last_stage = image.rsplit("FROM ").next().unwrap();
    for line in ["USER 10001:10001", "HEALTHCHECK ", "VOLUME /data"] {
        assert!(last_stage.contains(line), "{line}");
    }
}

/// The program itself reads the settings that the files give its containers.
#[test]
fn each_setting_that_a_container_is_given_is_one_that_the_program_takes() {
    for file in FILES {
        let of = compose(file);
        for (name, service) in services(&of).into_iter().filter(|(_, it)| it["image"] == "lettercase") {
            let environment = service["environment"].as_mapping().unwrap().iter();
            let given: Vec<(String, String)> = environment
                .map(|(key, value)| (key.as_str().unwrap().to_owned(), value.as_str().unwrap().to_owned()))
                // a file of the host's, with the database's address
                .filter(|(key, _)| key.starts_with("LETTERCASE_") && key != "LETTERCASE_SETTINGS")
                .chain([("LETTERCASE_LISTEN".to_owned(), "0.0.0.0:8750".to_owned())])
                .collect();
            let settings = Settings::read(None, given, Some(Path::new("/data")));
            let settings = settings.unwrap_or_else(|error| panic!("{file}: {name}: {error}"));
            assert_eq!(settings.tls.is_some(), service["command"][0] == "serve", "{file}: {name}");
            let secret_of = |path: &Path| path.strip_prefix("/run/secrets").unwrap().display().to_string();
            let named: BTreeSet<String> =
                words(&service["secrets"]).iter().map(|secret| (*secret).to_owned()).collect();
            for path in settings.tls.iter().flat_map(|tls| [&tls.certificate_file, &tls.key_file]) {
                assert!(named.contains(&secret_of(path)), "{file}: {name}: {}", path.display());
            }
            if let Some(path) = &settings.audit_key_file {
                assert!(named.contains(&secret_of(path)), "{file}: {name}: {}", path.display());
            }
        }
    }
}
