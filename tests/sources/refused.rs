//! What came on paper or by fax is never refused (INT-21); what came by mail can be.

use std::time::Duration;

use lettercase::model::document::{Channel, DocumentState};
use lettercase::model::judgement::ReasonCode;
use serde_json::json;

use super::{Kind, Place, accepted, look, look_settled, open, problems};
use crate::journey::{made, node, settle, shared_pool, sql, texts};
use crate::on_both;
use crate::support::{eicar, plan};

on_both! {
    async fn int_21_what_can_not_be_processed_is_held_and_keeps_its_receipt_time(world: &World) {
        let mut small = plan();
        small.receive.alone_bytes = 8 << 20;
        small.scan.max_file_bytes = 1 << 20;
        let app = node(world, "small", small, shared_pool().await).await;
        let place = Place::new(Kind::Folder).await;
        let sources = open(&app, place.setting(Channel::Fax, json!({}))).await;
        let received = "2026-11-18T09:30:00-05:00";
        let long = "a line of a long text\n".repeat(100_000).into_bytes();
        for (name, bytes, code) in [
            ("locked.pdf", made("encrypted-pdf"), ReasonCode::Encrypted),
            ("macros.doc", made("doc-with-macros"), ReasonCode::Macros),
            ("empty.tif", Vec::new(), ReasonCode::Empty),
            ("unknown.tif", [7, 0, 200, 3, 17, 0, 255, 254, 9, 9].repeat(9), ReasonCode::TypeNotAccepted),
            ("program.exe", [b"MZ".as_slice(), &[0; 400]].concat(), ReasonCode::TypeNotAccepted),
            ("wrong.pdf", b"a text that is called a PDF".to_vec(), ReasonCode::TypeMismatch),
            ("long.txt", long, ReasonCode::ScanFailed),
        ] {
            place.drop_file(name, &bytes);
            place.drop_file(&format!("{name}.json"), format!(r#"{{"received_at":"{received}"}}"#).as_bytes());
            look_settled(world, &sources).await;
            for _ in 0..3 {
                app.engine.run_until_idle().await.unwrap();
                world.advance(Duration::from_secs(60));
            }
            let document = accepted(world).await[name][0].clone();
            assert_eq!(document.state, DocumentState::Held, "{name}: {:?}", document.reason);
            assert_eq!(document.reason.map(|reason| reason.code), Some(code), "{name}");
            assert_eq!(document.received_at, received.parse().unwrap(), "{name}");
        }
        assert!(texts(world, "SELECT stage FROM work WHERE state = 'dead'").await.is_empty());
        assert_eq!(texts(world, "SELECT kind FROM task").await, ["held"; 7], "each waits for a person");
        assert!(problems(world).await.is_empty());

        // a virus is no refusal either; and what no disk can be asked to hold stays the mailroom's, told
        place.drop_file("virus.txt", &eicar());
        std::fs::File::create(place.dir.join("huge.tif")).unwrap().set_len(4 << 40).unwrap();
        look_settled(world, &sources).await;
        app.engine.run_until_idle().await.unwrap();
        assert_eq!(accepted(world).await["virus.txt"][0].state, DocumentState::Quarantined);
        assert_eq!(problems(world).await, [("too_large".into(), "problem".into())]);
        let lies = place.lies();
        assert!(lies.contains(&"problem/ID/huge.tif".to_owned()), "{lies:?}");
        assert!(place.reason().starts_with("too_large\n"), "{}", place.reason());
        settle(world).await;
    }
}

on_both! {
    async fn what_came_by_mail_and_is_refused_lies_in_problem_with_its_reason(world: &World) {
        for (name, bytes, reason, shelf) in [
            ("a.txt", b"a letter".to_vec(), None, "done"),
            ("b.txt", Vec::new(), Some("empty"), "problem"),
            ("c.pdf", made("encrypted-pdf"), Some("password"), "problem"),
            ("d.exe", [b"MZ".as_slice(), &[0; 400]].concat(), Some("program"), "problem"),
        ] {
            let place = Place::new(Kind::Bucket).await;
            let setting = place.setting(Channel::Email, json!({ "name": &name[..1] }));
            let sources = open(&world.app, setting).await;
            place.drop_file(name, &bytes);
            look(&sources).await;
            if !bytes.is_empty() {
                assert_eq!(place.lies(), [name], "{name} lies there until it is judged");
            }
            world.settle().await;
            look(&sources).await;
            let lies = place.lies();
            assert!(lies.contains(&format!("{shelf}/ID/{name}")), "{lies:?}");
            if let Some(reason) = reason {
                assert!(place.reason().contains(reason), "{name}: {}", place.reason());
            }
        }
        assert_eq!(problems(world).await.len(), 3);
    }
}

on_both! {
    async fn a_file_that_can_not_be_read_each_time_ends_in_problem_and_not_for_a_store_that_is_away(world: &World) {
        let mut few = plan();
        few.sources.tries = 3;
        let app = node(world, "few", few, shared_pool().await).await;
        let place = Place::new(Kind::Folder).await;
        let sources = open(&app, place.setting(Channel::Scan, json!({}))).await;
        place.drop_file("scan.txt", b"a letter");
        look(&sources).await;
        world.advance(Duration::from_secs(11));

        // the store is away: no try counts
        let store = world.dir.path().join("objects/incoming");
        std::fs::rename(&store, world.dir.path().join("away")).unwrap();
        std::fs::write(&store, b"in its way").unwrap();
        for _ in 0..5 {
            assert!(sources.look(&sources.all()[0]).await.is_err());
        }
        std::fs::remove_file(&store).unwrap();
        std::fs::rename(world.dir.path().join("away"), &store).unwrap();
        assert_eq!(look(&sources).await.taken, 1);

        // as a file whose reading breaks off would leave its row, when its tries are up
        place.drop_file("poison.txt", b"a letter");
        look(&sources).await;
        world.advance(Duration::from_secs(11));
        std::fs::rename(&store, world.dir.path().join("away")).unwrap();
        std::fs::write(&store, b"in its way").unwrap();
        assert!(sources.look(&sources.all()[0]).await.is_err());
        std::fs::remove_file(&store).unwrap();
        std::fs::rename(world.dir.path().join("away"), &store).unwrap();
        sql(world, "UPDATE source_item SET tries = 3 WHERE ended_at IS NULL").await;
        assert_eq!(look(&sources).await.problems, 1);
        assert!(place.reason().contains("in 3 tries"), "{}", place.reason());
        assert_eq!(accepted(world).await.len(), 1);
    }
}
