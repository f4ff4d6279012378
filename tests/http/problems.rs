//! Refusals, as problem details.

use super::{NAKAMURA, Server, file_path, json};
use crate::journey::{node, states};
use crate::on_both;
use crate::support::{plan, scanner};

/// Asserts that an answer is a problem of that status and code, and gives its sentence.
async fn problem(request: reqwest::RequestBuilder, status: u16, code: &str) -> String {
    let response = request.send().await.unwrap();
    let (found, kind) = (response.status().as_u16(), response.headers().get("content-type").cloned());
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{code}: {text}");
    assert_eq!(kind.as_ref().and_then(|k| k.to_str().ok()), Some("application/problem+json"), "{text}");
    let body = json(&text);
    assert_eq!(body["code"], code, "{text}");
    assert_eq!((body["status"].as_u64(), body["type"].as_str()), (Some(u64::from(status)), Some("about:blank")));
    assert!(body["title"].is_string());
    body["detail"].as_str().unwrap().to_owned()
}

on_both! {
    async fn a_request_that_can_not_be_read_is_told_by_its_field_and_rule_without_its_value(world: &World) {
        let server = Server::start(&world.app).await;
        let post = |body: String| server.client.post(server.url("/v1/submissions")).body(body);
        let long = "x".repeat(257);
        for (body, word) in [
            ("{".to_owned(), "line 1"),
            ("[]".to_owned(), "object"),
            ("{}".to_owned(), "kind"),
            (r#"{"kind":"PLANTED"}"#.to_owned(), "line 1"),
            (r#"{"kind":"appeal","PLANTED":1}"#.to_owned(), "unknown field, expected"),
            (r#"{"kind":"appeal","said":{"tin":"PLANTED"}}"#.to_owned(), "TIN"),
            (r#"{"kind":"appeal","said":{"npi":"PLANTED"}}"#.to_owned(), "NPI"),
            (r#"{"kind":"appeal","said":{"claim_number":"PLANTED%"}}"#.to_owned(), "claim number"),
            (r#"{"kind":"appeal","said":{"birth_date":"PLANTED"}}"#.to_owned(), "line 1"),
            (r#"{"kind":"appeal","brand":"PLANTED PLANTED"}"#.to_owned(), "brand"),
            (r#"{"kind":"appeal","resubmits":"PLANTED"}"#.to_owned(), "submission id"),
            (r#"{"kind":"appeal","sender_reference":"PLANTED\u0000"}"#.to_owned(), "sender_reference"),
            (format!(r#"{{"kind":"appeal","sender_reference":"{long}"}}"#), "sender_reference"),
        ] {
            let detail = problem(post(body.clone()), 400, "bad_request").await;
            assert!(detail.contains(word), "{body}: {detail}");
            assert!(!detail.contains("PLANTED"), "{body}: {detail}");
        }
        let large = format!(r#"{{"kind":"appeal"{}}}"#, " ".repeat(64 << 10));
        problem(post(large), 413, "body_too_large").await;
    }
}

on_both! {
    async fn each_refusal_has_its_status_and_code(world: &World) {
        let mut plan = plan();
        plan.limits.appeal.file_bytes = 1_000;
        plan.limits.appeal.files = 3;
        let app = node(world, "small", plan, scanner().await).await;
        let server = Server::start(&app).await;
        let (client, url) = (&server.client, |path: &str| server.url(path));
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let unknown = world.stamp().ctx.new_id().parse().unwrap();
        let at = |rest: &str| server.url(&format!("/v1/submissions/{id}{rest}"));
        let put = |name: &str, bytes: usize| client.put(url(&file_path(&id, name))).body(vec![b'a'; bytes]);

        problem(client.get(url("/nowhere")), 404, "not_found").await;
        problem(client.patch(at("")), 405, "method_not_allowed").await;
        problem(client.get(url("/v1/submissions/nonsense")), 404, "not_found").await;
        problem(client.get(url("/v1/submissions/%FF")), 400, "bad_path").await;
        problem(client.get(url(&format!("/v1/submissions/{unknown}"))), 404, "not_found").await;
        problem(client.post(url(&format!("/v1/submissions/{unknown}/submit"))), 404, "not_found").await;
        problem(client.put(url(&file_path(&unknown, "a.txt"))).body("a page"), 404, "not_found").await;
        problem(client.post(at("/submit")), 422, "no_files").await;

        problem(put("a.txt", 0), 422, "empty").await;
        problem(put("a.txt", 1_001), 413, "too_large").await;
        let stream = futures::stream::iter((0..3).map(|_| Ok::<_, std::io::Error>(vec![b'a'; 500])));
        let chunked = client.put(url(&file_path(&id, "a.txt"))).body(reqwest::Body::wrap_stream(stream));
        problem(chunked, 413, "too_large").await;
        problem(put(&"x".repeat(1_025), 3), 400, "bad_file_name").await;
        problem(client.put(at("/files/%FF.txt")).body("a page"), 400, "bad_path").await;
        assert_eq!(server.put(&id, "a.txt", b"a page").await.0, 201);
        problem(put("A.TXT", 3), 409, "duplicate_name").await;
        problem(client.post(at("/files")).body("a page"), 400, "bad_multipart").await;
        let form = |head: &str, body: &str| {
            client.post(at("/files")).header("content-type", "multipart/form-data; boundary=b").body(format!(
                "--b\r\nContent-Disposition: form-data; name=\"f\"{head}\r\n\r\n{body}"
            ))
        };
        problem(form("", "no file\r\n--b--\r\n"), 422, "no_files").await;
        problem(form("; filename=\"A.txt\"", "twice\r\n--b--\r\n"), 409, "duplicate_name").await;
        for name in ["b.txt", "c.txt"] {
            assert_eq!(server.put(&id, name, b"a page").await.0, 201);
        }
        problem(put("d.txt", 3), 409, "too_many_files").await;
        let other = server.open(r#"{"kind":"precertification"}"#).await;
        let torn = client
            .post(url(&format!("/v1/submissions/{other}/files")))
            .header("content-type", "multipart/form-data; boundary=b")
            .body("--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"torn.txt\"\r\n\r\nhalf of it");
        problem(torn, 400, "incomplete").await;
        assert_eq!(server.put(&other, "torn.txt", b"all of it").await.0, 201);

        assert_eq!(server.post(&format!("/v1/submissions/{id}/submit"), "").await.0, 202);
        problem(put("d.txt", 3), 409, "submission_closed").await;
        let again = |of: &str| {
            let body = format!(r#"{{"kind":"appeal","resubmits":"{of}"}}"#);
            client.post(url("/v1/submissions")).body(body)
        };
        problem(again(id.as_str()), 409, "wrong_state").await;
        problem(again(world.stamp().ctx.new_id().as_str()), 404, "not_found").await;
    }
}

on_both! {
    async fn what_a_multipart_brought_before_a_refusal_stays(world: &World) {
        let server = Server::start(&world.app).await;
        let id = server.open(NAKAMURA).await;
        let part = |name: &str| reqwest::multipart::Part::bytes(b"a page".to_vec()).file_name(name.to_owned());
        let form = reqwest::multipart::Form::new().part("a", part("a.txt")).part("b", part("A.txt")).part("c", part("c.txt"));
        let request = server.client.post(server.url(&format!("/v1/submissions/{id}/files"))).multipart(form);
        problem(request, 409, "duplicate_name").await;
        let view = world.view(&id).await;
        assert_eq!(states(&view).iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a.txt"]);
    }
}
