//! Requests under an `Idempotency-Key` (INT-31), and the one call of backend services.

use std::sync::Arc;
use std::time::Duration;

use lettercase::model::document::DocumentState;
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use super::{NAKAMURA, Server, answer, json};
use crate::on_both;
use crate::support::World;

fn form(metadata: &str, files: &[(&str, &str)]) -> Form {
    let form = Form::new().text("metadata", metadata.to_owned());
    files.iter().fold(form, |form, (name, text)| {
        form.part("files", Part::bytes(text.as_bytes().to_vec()).file_name((*name).to_owned()))
    })
}

async fn intake(server: &Server, key: Option<&str>, form: Form) -> (u16, Value) {
    let mut request = server.client.post(server.url("/v1/intake")).multipart(form);
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    let (status, text) = answer(request).await;
    (status, json(&text))
}

async fn documents(world: &World) -> usize {
    crate::journey::count(world, "SELECT COUNT(*) AS n FROM document WHERE accepted_at IS NOT NULL").await
}

on_both! {
    async fn int_31_one_call_made_twice_is_one_submission(world: &World) {
        world.load_samples().await;
        let server = Server::start(&world.app).await;
        let files = [("one.txt", "the first page"), ("two.txt", "the second page")];
        let (status, first) = intake(&server, Some("k-1"), form(NAKAMURA, &files)).await;
        assert_eq!((status, first["state"].as_str()), (202, Some("submitted")), "{first}");
        let (status, again) = intake(&server, Some("k-1"), form(NAKAMURA, &files)).await;
        assert_eq!((status, &again["id"]), (202, &first["id"]));
        assert_eq!(documents(world).await, 2);
        world.settle().await;
        let (status, later) = intake(&server, Some("k-1"), form(NAKAMURA, &files)).await;
        assert_eq!((status, later["state"].as_str()), (202, Some("accepted")), "built anew from what was made");

        for (files, metadata) in [
            ([("one.txt", "the first page"), ("two.txt", "another page")], NAKAMURA),
            ([("one.txt", "the first page"), ("three.txt", "the second page")], NAKAMURA),
            ([("one.txt", "the first page"), ("two.txt", "the second page")], r#"{"kind":"appeal"}"#),
        ] {
            let (status, problem) = intake(&server, Some("k-1"), form(metadata, &files)).await;
            assert_eq!((status, problem["code"].as_str()), (422, Some("idempotency_key_reused")), "{files:?}");
        }
        let (status, other) = intake(&server, Some("k-2"), form(NAKAMURA, &files)).await;
        assert_eq!(status, 202);
        assert_ne!(other["id"], first["id"], "another key is another request");
        assert_eq!(documents(world).await, 4);
    }
}

on_both! {
    async fn int_31_a_key_is_remembered_for_its_time_and_no_longer(world: &World) {
        let server = Server::start(&world.app).await;
        let files = [("one.txt", "a page"), ("two.txt", "another page")];
        let (_, first) = intake(&server, Some("k"), form(r#"{"kind":"appeal"}"#, &files)).await;
        world.settle().await;
        let kept = async || crate::journey::count(world, "SELECT COUNT(*) AS n FROM idempotency").await;
        let of_the_request_and_its_files = kept().await;
        assert_eq!(of_the_request_and_its_files, 3);
        let time = Duration::from_secs(world.app.doors.idempotency.expiry_h * 3_600);
        world.advance(time - Duration::from_secs(1));
        assert_eq!(world.app.intake.reconcile("ours").await.unwrap().forgotten, 0);
        world.advance(Duration::from_secs(1));
        assert_eq!(world.app.intake.reconcile("ours").await.unwrap().forgotten, 3);
        assert_eq!(kept().await, 0);
        let (_, later) = intake(&server, Some("k"), form(r#"{"kind":"appeal"}"#, &files)).await;
        assert_ne!(later["id"], first["id"], "a new request under a key that is free again");
    }
}

on_both! {
    async fn int_31_a_call_with_a_refused_file_sends_nothing_and_its_key_is_free_again(world: &World) {
        let server = Server::start(&world.app).await;
        let twice = [("one.txt", "a page"), ("ONE.txt", "another")];
        let (status, problem) = intake(&server, Some("k"), form(r#"{"kind":"appeal"}"#, &twice)).await;
        assert_eq!((status, problem["code"].as_str()), (409, Some("duplicate_name")));
        let once = [("one.txt", "a page"), ("two.txt", "another")];
        let (status, sent) = intake(&server, Some("k"), form(r#"{"kind":"appeal"}"#, &once)).await;
        assert_eq!(status, 202, "{sent}");
        world.settle().await;
        let view = world.view(&sent["id"].as_str().unwrap().parse().unwrap()).await;
        assert!(view.documents.iter().all(|d| d.state == DocumentState::Unmatched), "{view:?}");
        let withdrawn = crate::journey::count(world, "SELECT COUNT(*) AS n FROM submission WHERE state = 'withdrawn'").await;
        assert_eq!(withdrawn, 1);
    }
}

on_both! {
    async fn int_31_a_call_that_broke_off_is_gone_on_with(world: &World) {
        let server = Server::start(&world.app).await;
        let head = "--b\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{\"kind\":\"appeal\"}\r\n\
            --b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"one.txt\"\r\n\r\na page\r\n\
            --b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"two.txt\"\r\n\r\nanother";
        let send = |body: String| {
            let request = server.client.post(server.url("/v1/intake")).header("Idempotency-Key", "k");
            answer(request.header("content-type", "multipart/form-data; boundary=b").body(body))
        };
        let (status, text) = send(head.to_owned()).await;
        assert_eq!(status, 400, "{text}: its end is missing");
        let (status, text) = send(format!("{head}\r\n--b--\r\n")).await;
        assert_eq!(status, 202, "{text}");
        assert_eq!(json(&text)["documents"].as_array().map(|all| all.iter().filter(|d| d["state"] == "received").count()), Some(2), "{text}");
    }
}

on_both! {
    async fn int_31_of_a_node_that_died_in_a_request_the_key_is_free_after_a_short_while(world: &World) {
        let server = Server::start(&world.app).await;
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let url = server.url(&format!("/v1/submissions/{id}/files/a.txt"));
        let send = || answer(server.client.put(&url).header("Idempotency-Key", "k").body("a page"));
        let (status, first) = send().await;
        assert_eq!(status, 201, "{first}");
        // as it stands when the node dies before it has written that it is done
        let lease_s = world.app.doors.idempotency.lease_s;
        let until = world.app.intake.ctx.now().as_microsecond() + i64::try_from(lease_s).unwrap() * 1_000_000;
        let died = format!("UPDATE idempotency SET state = 'running', lease_until = {until}");
        assert_eq!(crate::support::digests::sql(world, &died).await, 1);
        let (status, text) = send().await;
        assert_eq!((status, json(&text)["code"].as_str()), (409, Some("still_running")));
        assert!(lease_s <= 60, "nobody repeats a request for longer");
        world.advance(Duration::from_secs(lease_s + 1));
        assert_eq!(send().await, (201, first));
    }
}

on_both! {
    async fn int_31_a_request_that_takes_long_keeps_its_key(world: &World) {
        let mut doors = (*world.app.doors).clone();
        doors.idempotency.lease_s = 1;
        let mut app = world.app.clone();
        app.doors = Arc::new(doors);
        let server = Server::start(&app).await;
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let (sender, body) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
        let stream = futures::stream::unfold(body, |mut body| async { body.recv().await.map(|chunk| (chunk, body)) });
        let url = server.url(&format!("/v1/submissions/{id}/files/a.txt"));
        let slow = server.client.put(&url).header("Idempotency-Key", "k").body(reqwest::Body::wrap_stream(stream));
        let slow = tokio::spawn(answer(slow));
        sender.send(Ok(b"half, ".to_vec())).await.unwrap();
        while world.view(&id).await.documents.is_empty() {
            tokio::task::yield_now().await;
        }
        // by the clock the lease is over, until it is renewed
        world.advance(Duration::from_secs(60));
        let now = world.app.intake.ctx.now().as_microsecond();
        let statement = format!("SELECT COUNT(*) AS n FROM idempotency WHERE lease_until > {now}");
        while crate::support::digests::number(world, &statement).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (status, text) = answer(server.client.put(&url).header("Idempotency-Key", "k").body("half, whole")).await;
        assert_eq!((status, json(&text)["code"].as_str()), (409, Some("still_running")));
        sender.send(Ok(b"whole".to_vec())).await.unwrap();
        drop(sender);
        assert_eq!(slow.await.unwrap().0, 201);
    }
}

on_both! {
    async fn int_31_a_second_request_waits_while_the_first_runs(world: &World) {
        let server = Server::start(&world.app).await;
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let (sender, body) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
        let stream = futures::stream::unfold(body, |mut body| async { body.recv().await.map(|chunk| (chunk, body)) });
        let url = server.url(&format!("/v1/submissions/{id}/files/a.txt"));
        let slow = server.client.put(&url).header("Idempotency-Key", "k").body(reqwest::Body::wrap_stream(stream));
        let slow = tokio::spawn(answer(slow));
        sender.send(Ok(b"half, ".to_vec())).await.unwrap();
        while world.view(&id).await.documents.is_empty() {
            tokio::task::yield_now().await;
        }
        let (status, text) = answer(server.client.put(&url).header("Idempotency-Key", "k").body("half, whole")).await;
        assert_eq!((status, json(&text)["code"].as_str()), (409, Some("still_running")));
        sender.send(Ok(b"whole".to_vec())).await.unwrap();
        drop(sender);
        let (status, first) = slow.await.unwrap();
        assert_eq!(status, 201, "{first}");
        let (status, again) = answer(server.client.put(&url).header("Idempotency-Key", "k").body("half, whole")).await;
        assert_eq!((status, &again), (201, &first));
        let (status, text) = answer(server.client.put(&url).header("Idempotency-Key", "k").body("something else")).await;
        assert_eq!((status, json(&text)["code"].as_str()), (422, Some("idempotency_key_reused")));
        let other = answer(server.client.post(server.url("/v1/submissions")).header("Idempotency-Key", "k").body(NAKAMURA)).await;
        assert_eq!(other.0, 422, "the key was another route's");
    }
}

on_both! {
    async fn int_31_a_key_is_remembered_for_its_time(world: &World) {
        let server = Server::start(&world.app).await;
        let open = || server.client.post(server.url("/v1/submissions")).header("Idempotency-Key", "k").body(r#"{"kind":"appeal"}"#);
        let id = |text: &str| json(text)["id"].as_str().unwrap().to_owned();
        let (first, again) = (answer(open()).await, answer(open()).await);
        assert_eq!((first.0, again.0, id(&first.1)), (201, 201, id(&again.1)));
        world.advance(std::time::Duration::from_secs(72 * 3_600));
        let later = answer(open()).await;
        assert_eq!(later.0, 201);
        assert_ne!(id(&later.1), id(&first.1));
    }
}
