//! What is said of files beside them: sidecars, indexes, and the counts of batches (OPS-07).

use std::time::Duration;

use lettercase::db::sources as rows;
use lettercase::model::document::{Channel, DocumentState};
use lettercase::model::submission::Said;
use serde_json::json;

use super::{Kind, Place, accepted, look, look_settled, only, open, problems};
use crate::hostile::build::pdf;
use crate::on_both;

on_both! {
    async fn int_20_a_sidecar_says_how_and_when_a_document_came_and_what_it_is_about(world: &World) {
        world.load_samples().await;
        let place = Place::new(Kind::Bucket).await;
        let sources = open(&world.app, place.setting(Channel::Scan, json!({ "zone": "America/New_York" }))).await;
        place.drop_file(
            "fax 1.txt.json",
            br#"{"channel":"fax","received_at":"2026-11-19T17:55","claim_number":"CL2683604951",
                 "member_id":"MH27390641","batch":"B-17","expected_documents":2,"expected_pages":9,"brand":"meridian"}"#,
        );
        place.drop_file("fax 1.txt", b"Please look at this claim again.");
        look(&sources).await;
        let document = only(world).await;
        assert_eq!((document.channel, document.brand.as_str()), (Channel::Fax, "meridian"));
        assert_eq!(document.received_at, "2026-11-19T22:55:00Z".parse().unwrap());
        let said = Said {
            claim_number: "CL2683604951".parse().ok(),
            member_id: "MH27390641".parse().ok(),
            ..Said::default()
        };
        assert_eq!(document.said, Some(said));
        let mut conn = world.db().read().await.unwrap();
        let batch = rows::batches(&mut conn, None, 10).await.unwrap().remove(0);
        assert_eq!(document.batch_id, Some(batch.id.clone()));
        assert_eq!((batch.name.as_str(), batch.documents_difference), ("B-17", Some(-1)));
        assert_eq!(rows::batch(&mut conn, &batch.id).await.unwrap().unwrap().id, batch.id);
        assert_eq!(place.lies(), ["done/ID/fax 1.txt", "done/ID/fax 1.txt.json"]);
    }
}

on_both! {
    async fn int_21_a_bad_sidecar_costs_its_bad_facts_and_never_the_document(world: &World) {
        let large = format!(r#"{{"batch":"{}"}}"#, "x".repeat(70_000));
        for (n, (sidecar, told)) in [
            (r#"{"received_at":"2026-11-19T14:00:00Z","tin":"SECRET"}"#, "tin: "),
            (r#"{"received_at":"2026-11-19T14:00:00Z","SECRET":"SECRET"}"#, "key 2"),
            ("not JSON, SECRET", "JSON"),
            (large.as_str(), "65536 bytes"),
        ]
        .into_iter()
        .enumerate()
        {
            let place = Place::new(if n % 2 == 0 { Kind::Folder } else { Kind::Bucket }).await;
            let setting = place.setting(Channel::Fax, json!({ "name": format!("s-{n}") }));
            let sources = open(&world.app, setting).await;
            let name = format!("{n}.txt");
            place.drop_file(&name, b"a fax");
            place.drop_file(&format!("{name}.json"), sidecar.as_bytes());
            look_settled(world, &sources).await;
            let document = accepted(world).await[&name][0].clone();
            let received = document.received_at == "2026-11-19T14:00:00Z".parse().unwrap();
            assert_eq!(received, n < 2, "{sidecar:.80}");
            let shown = [format!("done/ID/{name}"), format!("problem/ID/{name}.json"), "problem/ID/reason.txt".into()];
            assert_eq!(place.lies(), shown, "{sidecar:.80}");
            let reason = place.reason();
            assert!(reason.contains(told) && !reason.contains("SECRET"), "{sidecar:.80}: {reason}");
        }
        assert_eq!(problems(world).await, vec![("sidecar".to_owned(), "taken".to_owned()); 4]);
    }
}

on_both! {
    async fn ops_07_a_batch_has_its_expected_and_received_documents_and_pages(world: &World) {
        let place = Place::new(Kind::Folder).await;
        let columns = json!({ "Image": "file", "Operator": "ignore", "Stamp": "received_at", "Docs": "expected_documents",
                              "Pages": "expected_pages", "Batch ID": "batch" });
        let more = json!({ "complete": "index", "index": columns });
        let sources = open(&world.app, place.setting(Channel::Scan, more)).await;
        let tiff = std::fs::read("samples/documents/okonjo-stress-test-fax.tif").unwrap();
        place.drop_file("0001.pdf", &pdf::letter("one page", "", &[]));
        place.drop_file("0002.tif", &tiff);
        place.drop_file("0003.txt", b"a text has no pages");
        place.drop_file("stray.txt", b"named by no index");
        look_settled(world, &sources).await;
        assert!(accepted(world).await.is_empty(), "not before an index names them");
        place.drop_file(
            "batch-17.csv",
            b"Image,Operator,Stamp,Docs,Pages,Batch ID\n\
              C:\\out\\0001.pdf,Ann,2026-11-19T14:00:00Z,4,8,B-17\n0002.tif,Ann,2026-11-19T14:00:00Z,,,B-17\n\
              0003.txt,Ann,never,,,B-17\n0004.tif,Ann,2026-11-19T14:00:00Z,,,B-17\n",
        );
        look_settled(world, &sources).await;
        world.settle().await;
        let documents = accepted(world).await;
        assert_eq!(documents.keys().collect::<Vec<_>>(), ["0001.pdf", "0002.tif", "0003.txt"]);
        assert_eq!((documents["0001.pdf"][0].pages, documents["0003.txt"][0].pages), (Some(1), None));
        let pages = documents["0002.tif"][0].pages.unwrap();
        assert!(pages >= 1);
        let batch = {
            let mut conn = world.db().read().await.unwrap();
            rows::batches(&mut conn, None, 10).await.unwrap().remove(0)
        };
        assert_eq!((batch.name.as_str(), batch.expected_documents, batch.received_documents), ("B-17", Some(4), 3));
        assert_eq!(batch.documents_difference, Some(-1));
        assert_eq!((batch.expected_pages, batch.received_pages), (Some(8), 1 + pages));
        assert_eq!((batch.documents_without_pages, batch.pages_difference), (1, None), "what is not known is not told");

        // the fourth one does not come
        assert_eq!(problems(world).await, [("sidecar".into(), "taken".into())]);
        world.advance(Duration::from_secs(3_600));
        look(&sources).await;
        assert_eq!(problems(world).await[0], ("index".into(), "problem".into()));
        let lies = place.lies();
        assert!(lies.contains(&"problem/ID/batch-17.csv".into()) && lies.contains(&"stray.txt".into()), "{lies:?}");
    }
}

on_both! {
    async fn a_sidecar_whose_file_does_not_come_is_told(world: &World) {
        let place = Place::new(Kind::Folder).await;
        let sources = open(&world.app, place.setting(Channel::Scan, json!({}))).await;
        place.drop_file("scan.pdf.json", b"{}");
        look_settled(world, &sources).await;
        assert_eq!(place.lies(), ["scan.pdf.json"]);
        world.advance(Duration::from_secs(3_600));
        assert_eq!(look(&sources).await.problems, 1);
        assert_eq!(place.lies(), ["problem/ID/reason.txt", "problem/ID/scan.pdf.json"]);
        assert_eq!(problems(world).await, [("unclaimed".into(), "problem".into())]);
    }
}

on_both! {
    async fn lists_go_on_behind_their_cursor(world: &World) {
        let place = Place::new(Kind::Bucket).await;
        let sources = open(&world.app, place.setting(Channel::Fax, json!({}))).await;
        for n in 0..5 {
            place.drop_file(&format!("{n}.txt"), b"a fax");
            place.drop_file(&format!("{n}.txt.json"), format!(r#"{{"batch":"B-{n}","tin":"x"}}"#).as_bytes());
        }
        assert_eq!(look(&sources).await.without_facts, 5);
        let mut conn = world.db().read().await.unwrap();
        let (mut batches, mut problems) = (Vec::new(), Vec::new());
        loop {
            let after = batches.last().map(|b: &rows::Batch| (b.created_at, b.id.as_str()));
            let page = rows::batches(&mut conn, after, 2).await.unwrap();
            let end = page.is_empty();
            batches.extend(page);
            let after = problems.last().map(|p: &rows::Problem| (p.seen_at, p.item.as_str()));
            problems.extend(rows::problems(&mut conn, after, 2).await.unwrap());
            if end {
                break;
            }
        }
        let names: std::collections::BTreeSet<_> = batches.iter().map(|b| b.name.clone()).collect();
        assert_eq!((batches.len(), names.len(), problems.len()), (5, 5, 5));
        assert!(lettercase::db::returns::list(&mut conn, None, 10).await.unwrap().is_empty());
        let document = accepted(world).await["0.txt"][0].clone();
        assert_eq!(document.state, DocumentState::Received);
    }
}
