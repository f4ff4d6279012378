//! Only what is complete is taken, and only what is a file.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use lettercase::model::document::Channel;
use lettercase::outside::inbox::Skipped;
use serde_json::json;

use super::{Kind, Place, accepted, look, look_settled, open};
use crate::on_both;

on_both! {
    async fn a_half_written_file_is_not_taken_until_it_has_not_changed_for_the_settle_time(world: &World) {
        let place = Place::new(Kind::Folder).await;
        let sources = open(&world.app, place.setting(Channel::Scan, json!({}))).await;
        place.drop_file("scan.txt", b"half of the ");
        place.drop_file("other.txt.part", b"not there yet");
        place.drop_file(".hidden.txt", b"not there yet");
        for _ in 0..3 {
            let looked = look(&sources).await;
            assert_eq!((looked.taken, looked.waiting), (0, 1));
            world.advance(Duration::from_secs(9));
            let mut file = std::fs::OpenOptions::new().append(true).open(place.dir.join("scan.txt")).unwrap();
            file.write_all(b"letter ").unwrap();
        }
        assert_eq!(look_settled(world, &sources).await.taken, 1);
        std::fs::rename(place.dir.join("other.txt.part"), place.dir.join("other.txt")).unwrap();
        assert_eq!(look_settled(world, &sources).await.taken, 1);
        assert_eq!(accepted(world).await["scan.txt"][0].size_bytes, Some(33));
        assert_eq!(place.lies(), [".hidden.txt", "done/ID/other.txt", "done/ID/scan.txt"]);
    }
}

on_both! {
    async fn with_a_mark_a_file_is_taken_at_once_and_never_without_it(world: &World) {
        for (complete, mark, shown) in [
            ("ready", "fax.txt.ready", vec!["done/ID/fax.txt", "done/ID/fax.txt.ready"]),
            ("sidecar", "fax.txt.json", vec!["done/ID/fax.txt", "done/ID/fax.txt.json"]),
            ("index", "batch.csv", vec!["done/ID/batch.csv", "done/ID/fax.txt"]),
        ] {
            let place = Place::new(Kind::Folder).await;
            let more = json!({ "name": complete, "complete": complete, "index": {} });
            let sources = open(&world.app, place.setting(Channel::Fax, more)).await;
            place.drop_file("fax.txt", b"a fax");
            let looked = look_settled(world, &sources).await;
            assert_eq!((looked.taken, looked.waiting), (0, 1), "{complete}");
            place.drop_file(mark, if complete == "index" { b"file\nfax.txt\n" } else { b"{}" });
            let at_once = look(&sources).await;
            assert_eq!(at_once.taken, u64::from(complete == "ready"), "{complete}");
            world.advance(Duration::from_secs(11));
            look(&sources).await;
            look(&sources).await;
            assert_eq!(place.lies(), shown, "{complete}");
        }
        assert_eq!(accepted(world).await["fax.txt"].len(), 3);
    }
}

on_both! {
    async fn what_is_no_file_or_has_no_usable_name_is_left_alone_and_told(world: &World) {
        let place = Place::new(Kind::Folder).await;
        let secret = tempfile::tempdir().unwrap();
        std::fs::write(secret.path().join("secret.txt"), b"of somebody else").unwrap();
        std::os::unix::fs::symlink(secret.path().join("secret.txt"), place.dir.join("link.txt")).unwrap();
        std::os::unix::fs::symlink(secret.path(), place.dir.join("link")).unwrap();
        std::fs::create_dir(place.dir.join("folder.txt")).unwrap();
        place.drop_file("folder.txt/inner.txt", b"not looked into");
        let pipe = std::process::Command::new("mkfifo").arg(place.dir.join("pipe.txt")).status().unwrap();
        assert!(pipe.success());
        place.drop_file("back\\slash.txt", b"a path elsewhere");
        std::fs::write(place.dir.join(std::ffi::OsStr::from_bytes(b"no\xFFname.txt")), b"x").unwrap();
        place.drop_file("good.txt", b"a letter");
        let sources = open(&world.app, place.setting(Channel::Scan, json!({}))).await;
        let looked = look_settled(world, &sources).await;
        assert_eq!(looked.taken, 1);
        let skipped: Vec<_> = looked.skipped.into_iter().collect();
        assert_eq!(
            skipped,
            [(Skipped::Link, 2), (Skipped::Directory, 1), (Skipped::Special, 1), (Skipped::Name, 2)]
        );
        assert_eq!(accepted(world).await.keys().collect::<Vec<_>>(), ["good.txt"]);

        // done/ as a link would lead what is put away elsewhere
        std::fs::rename(place.dir.join("done"), place.dir.join("was done")).unwrap();
        std::os::unix::fs::symlink(secret.path(), place.dir.join("done")).unwrap();
        place.drop_file("next.txt", b"a letter");
        assert!(sources.look(&sources.all()[0]).await.is_err_and(|error| error.to_string().contains("done/")));
    }
}
