//! Back-pressure: turned away while nothing is broken yet.

use std::time::Duration;

use lettercase::intake::plan::IntakePlan;
use lettercase::model::document::DocumentState;
use lettercase::model::submission::SubmissionState;
use lettercase::outside::context::Context;

use super::{Told, figure, reasons};
use crate::http::{Server, json};
use crate::journey::{no_scanner, node, shared_pool, texts};
use crate::on_both;
use crate::support::{plan, scanner};

fn cramped() -> IntakePlan {
    let mut plan = plan();
    // no disk has so much free
    plan.room.spool_free_bytes = u64::MAX;
    plan
}

on_both! {
    async fn a_node_whose_spool_is_nearly_full_turns_files_away_before_a_byte(world: &World) {
        let app = node(world, "cramped", cramped(), scanner().await).await;
        let server = Server::start(&app).await;
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let at = |path: &str| server.url(&format!("/v1/submissions/{id}/{path}"));
        let told = Told::of(server.client.put(at("files/a.txt")).body("a page")).await;
        told.assert_come_again("busy");
        assert_eq!(told.retry_after_s, Some(30), "as the plan has it");
        let begun = server.client.post(at("uploads")).header("tus-resumable", "1.0.0").header("upload-length", 6);
        Told::of(begun.header("upload-metadata", "filename YS50eHQ=")).await.assert_come_again("busy");
        let form = reqwest::multipart::Part::bytes(b"a page".to_vec()).file_name("a.txt");
        let form = reqwest::multipart::Form::new().part("a", form);
        Told::of(server.client.post(at("files")).multipart(form)).await.assert_come_again("busy");
        assert!(texts(world, "SELECT id FROM document").await.is_empty(), "no row tells of what did not begin to come");
        assert!(figure(&server, "lettercase_spool_free_bytes").await.is_some_and(|free| free > 0.0));
        assert!(figure(&server, "lettercase_arrivals_total{outcome=\"no_room\"}").await.is_some_and(|n| n >= 2.0));
        assert_eq!(reasons(&server).await.0, 200, "it works on what it has");
        // another node of the same installation has room
        let other = server.beside(&world.app);
        assert_eq!(other.put(&id, "a.txt", b"a page").await.0, 201);
        assert_eq!(world.submit(&id).await.state, SubmissionState::Accepted);
    }
}

on_both! {
    async fn a_queue_that_is_too_long_takes_no_more_until_it_is_shorter(world: &World) {
        let mut short = plan();
        short.room.queue = 3;
        let blind = node(world, "blind", short.clone(), no_scanner()).await;
        let server = Server::start(&blind).await;
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        for n in 0..3 {
            assert_eq!(server.put(&id, &format!("{n}.txt"), format!("page {n}").as_bytes()).await.0, 201);
            // two of them wait before the scanner, which is away, one before the first stage
            if n < 2 {
                blind.engine.run_until_idle().await.unwrap();
            }
            world.advance(Duration::from_secs(11));
        }
        let put = |name: &str| server.client.put(server.url(&format!("/v1/submissions/{id}/files/{name}")));
        Told::of(put("3.txt").body("page 3")).await.assert_come_again("busy");
        // what is believed for ten seconds is not looked at again for each request
        let seeing = node(world, "seeing", short, shared_pool().await).await;
        seeing.engine.run_until_idle().await.unwrap();
        world.advance(Duration::from_secs(11));
        assert_eq!(Told::of(put("3.txt").body("page 3")).await.status, 201, "the queue is shorter");
        let view = world.submit(&id).await;
        assert_eq!(view.state, SubmissionState::Accepted);
        assert_eq!(view.documents.iter().filter(|d| d.state == DocumentState::Unmatched).count(), 4, "{view:?}");
    }
}

on_both! {
    async fn a_node_that_can_not_start_its_children_gives_up_no_document(world: &World) {
        let mut settings = world.settings.clone();
        settings.node = "lame".into();
        let context = Context::with_clock(world.clock.clone());
        let (db, exe) = (world.db().clone(), "/nonexistent/lettercase".into());
        let lame = lettercase::app::App::assemble(settings, plan(), "test".into(), db, scanner().await, context, exe);
        let lame = lame.await.unwrap();
        let server = Server::start(&lame).await;
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let letter = crate::crash::sender::sample("nakamura-reconsideration-letter.docx").1;
        assert_eq!(server.put(&id, "letter.docx", &letter).await.0, 201);
        assert_eq!(server.post(&format!("/v1/submissions/{id}/submit"), "").await.0, 202);
        for _ in 0..10 {
            lame.engine.run_until_idle().await.unwrap();
            world.advance(Duration::from_secs(700));
        }
        assert!(texts(world, "SELECT stage FROM work WHERE state = 'dead'").await.is_empty());
        let (_, text) = server.get(&format!("/v1/submissions/{id}")).await;
        assert_eq!(json(&text)["state"], "submitted", "{text}");
        world.settle().await;
        assert_eq!(world.view(&id).await.state, SubmissionState::Accepted);
    }
}
