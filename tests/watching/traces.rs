//! A document's way and a letter's are one trace each, whoever worked on them.

use lettercase::model::case::CaseKind;
use lettercase::model::submission::{Said, SubmissionState};
use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::trace::SpanData;

use crate::http::Server;
use crate::journey::{no_scanner, node, settle};
use crate::on_both;
use crate::support::spans::value;
use crate::support::{On, World, eicar, plan};

/// Asserts that the first is the trace's root, and the others lie below it.
fn assert_one_trace(spans: &[SpanData], id: &str) {
    let trace = id.replace('-', "");
    let root = &spans[0];
    assert_eq!(root.parent_span_id, SpanId::INVALID);
    assert_eq!(root.span_context.span_id().to_string(), trace[16..]);
    for span in spans {
        assert_eq!(span.span_context.trace_id().to_string(), trace);
        assert_eq!(value(span, "lettercase.id"), id);
        assert!(span.end_time >= span.start_time);
    }
    for step in &spans[1..] {
        assert_eq!(step.parent_span_id, root.span_context.span_id(), "{}", step.name);
        assert_ne!(step.span_context.span_id(), root.span_context.span_id());
    }
}

#[test]
fn ops_16_a_documents_way_is_one_trace_over_nodes_and_a_restart() {
    crate::support::block_on(async {
        let world = World::new(On::Sqlite).await;
        let submission = world.open(CaseKind::Appeal, Said::default()).await;
        // a node without a scanner takes it as far as it can
        let blind = node(&world, "blind", plan(), no_scanner()).await;
        let document = world.add(&submission, "letter.txt", b"a page of text").await;
        blind.engine.run_until_idle().await.unwrap();
        let world = world.restarted().await;
        world.app.intake.submit("test", &submission).await.unwrap();
        settle(&world).await;
        let spans = world.spans.of(document.as_str());
        assert_one_trace(&spans, document.as_str());
        assert_eq!(
            world.spans.told(document.as_str()),
            ["receive received", "sniff advanced", "scan advanced", "store advanced", "match advanced"]
        );
        assert_eq!(value(&spans[0], "lettercase.size_bytes"), "14");
        assert_eq!(value(&spans[0], "lettercase.submission"), submission.as_str());
        let linked: Vec<String> = spans[0].links.iter().map(|link| link.span_context.trace_id().to_string()).collect();
        assert_eq!(linked, [submission.as_str().replace('-', "")]);
        assert_eq!(value(&spans[2], "lettercase.attempt"), "1");
        let of_submission = world.spans.of(submission.as_str());
        assert_one_trace(&of_submission, submission.as_str());
        assert_eq!(world.spans.told(submission.as_str())[0], "open open");
        world.finish().await;
    });
}

on_both! {
    async fn ops_16_a_letters_way_is_one_trace(world: &World) {
        world.load_samples().await;
        let said = Said { claim_number: "CL2618395240".parse().ok(), member_id: "MH16854039".parse().ok(), ..Said::default() };
        let id = world.open(CaseKind::Reconsideration, said).await;
        world.add(&id, "scan.txt", &eicar()).await;
        let view = world.submit(&id).await;
        assert_eq!(view.state, SubmissionState::FailedVirus);
        let letters = crate::journey::texts(world, "SELECT id FROM letter ORDER BY created_at, id").await;
        assert!(!letters.is_empty());
        for letter in letters {
            assert_one_trace(&world.spans.of(&letter), &letter);
            let told = world.spans.told(&letter);
            let begins = ["ask asked", "compose advanced", "render advanced", "route advanced"];
            assert_eq!(told[..4], begins, "{told:?}");
        }
    }
}

on_both! {
    async fn what_a_request_brings_names_it_and_links_to_the_callers_span(world: &World) {
        let server = Server::start(&world.app).await;
        let submission = world.open(CaseKind::Appeal, Said::default()).await;
        let put = |name: &str, traceparent: &str| {
            let url = server.url(&format!("/v1/submissions/{submission}/files/{name}"));
            server.client.put(url).header("traceparent", traceparent.to_owned()).body("a page of text").send()
        };
        let caller = "0af7651916cd43dd8448eb211c80319c";
        for (name, traceparent, linked) in [
            ("one.txt", format!("00-{caller}-b7ad6b7169203331-01"), true),
            ("two.txt", "nothing of the kind".to_owned(), false),
        ] {
            let sent = put(name, &traceparent).await.unwrap();
            assert_eq!(sent.status(), 201);
            let request = sent.headers()["x-request-id"].to_str().unwrap().to_owned();
            let spans = world.spans.all();
            let span = spans.iter().find(|span| value(span, "lettercase.request") == request).unwrap();
            assert_eq!(span.name, "receive");
            let links: Vec<String> = span.links.iter().map(|link| link.span_context.trace_id().to_string()).collect();
            assert_eq!(links.iter().any(|link| link == caller), linked, "{links:?}");
        }
    }
}

on_both! {
    async fn a_fault_of_the_world_is_told_as_one_and_a_refusal_is_not(world: &World) {
        let submission = world.open(CaseKind::Appeal, Said::default()).await;
        assert!(world.try_add(&submission, "empty.txt", b"").await.is_err());
        let spans = world.spans.all();
        let refused = spans.iter().find(|span| span.name == "receive").unwrap();
        assert_eq!((value(refused, "lettercase.outcome").as_str(), &refused.status), ("refused", &Status::Unset));
    }
}
