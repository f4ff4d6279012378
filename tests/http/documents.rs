//! Downloads, withdrawals, lists.

use lettercase::model::document::Access;
use lettercase::model::event::EventType;
use sha2::{Digest, Sha256};

use super::{NAKAMURA, Server, answer, json};
use crate::on_both;
use crate::support::eicar;

on_both! {
    async fn a_clean_document_is_downloaded_whole_or_in_part(world: &World) {
        world.load_samples().await;
        let server = Server::start(&world.app).await;
        let id = server.open(NAKAMURA).await;
        let bytes: Vec<u8> = (0..100_000u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        let (_, text) = server.put(&id, "nötes \"x\".txt", &bytes).await;
        let document = json(&text)["document"].as_str().unwrap().to_owned();
        let url = server.url(&format!("/v1/documents/{document}/content"));
        let early = answer(server.client.get(&url)).await;
        assert_eq!((early.0, json(&early.1)["code"].as_str()), (409, Some("not_clean")));
        server.post(&format!("/v1/submissions/{id}/submit"), "").await;
        world.settle().await;

        let whole = server.client.get(&url).send().await.unwrap();
        let header = |response: &reqwest::Response, name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(whole.status(), 200);
        assert_eq!(header(&whole, "content-type"), "text/plain; charset=utf-8");
        assert_eq!(header(&whole, "x-content-type-options"), "nosniff");
        assert_eq!(header(&whole, "cache-control"), "no-store");
        assert_eq!(header(&whole, "content-disposition"), "attachment; filename=\"n_tes _x_.txt\"; filename*=UTF-8''n%C3%B6tes%20_x_.txt");
        let etag = header(&whole, "etag");
        assert_eq!(etag, format!("\"{}\"", hex::encode(Sha256::digest(&bytes))));
        assert_eq!(whole.bytes().await.unwrap(), bytes);

        let part = server.client.get(&url).header("range", "bytes=10-19").send().await.unwrap();
        assert_eq!((part.status().as_u16(), header(&part, "content-range")), (206, format!("bytes 10-19/{}", bytes.len())));
        assert_eq!(part.bytes().await.unwrap(), bytes[10..20]);
        let behind = answer(server.client.get(&url).header("range", "bytes=99999999-")).await;
        assert_eq!((behind.0, json(&behind.1)["code"].as_str()), (416, Some("range_not_satisfiable")));
        assert_eq!(answer(server.client.get(&url).header("if-none-match", &etag)).await.0, 304);
        let head = server.client.head(&url).send().await.unwrap();
        assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, bytes.len().to_string()));

        let told = crate::journey::count(world, &format!(
            "SELECT COUNT(*) AS n FROM event WHERE type = '{}' AND subject = '{document}'", EventType::Disclosed(Access::Downloaded),
        )).await;
        assert_eq!(told, 3, "each download is written down");
    }
}

on_both! {
    async fn int_13_an_infected_file_can_be_taken_out_of_a_draft(world: &World) {
        world.load_samples().await;
        let server = Server::start(&world.app).await;
        let id = server.open(NAKAMURA).await;
        assert_eq!(server.put(&id, "good.txt", b"a page").await.0, 201);
        let (_, text) = server.put(&id, "bad.txt", &eicar()).await;
        let bad = json(&text)["document"].as_str().unwrap().to_owned();
        world.settle().await;
        let view = json(&server.get(&format!("/v1/submissions/{id}")).await.1);
        assert_eq!(view["state"], "open", "a draft stays open");
        assert_eq!(view["documents"][1]["state"], "quarantined");
        for _ in 0..2 {
            let delete = server.client.delete(server.url(&format!("/v1/submissions/{id}/files/{bad}")));
            assert_eq!(answer(delete).await.0, 204);
        }
        let delete = server.client.delete(server.url(&format!("/v1/submissions/{id}/files/none.txt")));
        assert_eq!(answer(delete).await.0, 404);
        server.post(&format!("/v1/submissions/{id}/submit"), "").await;
        world.settle().await;
        let view = json(&server.get(&format!("/v1/submissions/{id}")).await.1);
        assert_eq!(view["state"], "accepted");
        let late = server.client.delete(server.url(&format!("/v1/submissions/{id}/files/good.txt")));
        assert_eq!(answer(late).await.0, 409);
    }
}

on_both! {
    async fn a_withdrawn_submission_takes_its_files_with_it(world: &World) {
        let server = Server::start(&world.app).await;
        let id = server.open(NAKAMURA).await;
        server.put(&id, "one.txt", b"a page").await;
        world.settle().await;
        server.put(&id, "two.txt", b"another page").await;
        let path = format!("/v1/submissions/{id}");
        for _ in 0..2 {
            assert_eq!(answer(server.client.delete(server.url(&path))).await.0, 204);
        }
        world.settle().await;
        let view = json(&server.get(&path).await.1);
        assert_eq!(view["state"], "withdrawn");
        assert!(view["documents"].as_array().unwrap().iter().all(|d| d["state"] == "withdrawn"), "{view}");
        assert_eq!(server.post(&format!("{path}/submit"), "").await.0, 409);
        assert_eq!(server.put(&id, "three.txt", b"late").await.0, 409);
    }
}

on_both! {
    async fn int_36_a_sender_finds_its_submissions_by_its_own_reference_and_in_pages(world: &World) {
        let server = Server::start(&world.app).await;
        let mut opened = Vec::new();
        for n in 0..7 {
            world.advance(std::time::Duration::from_secs(1));
            let body = format!(r#"{{"kind":"appeal","sender_reference":"run {}"}}"#, n % 3);
            opened.push(server.open(&body).await.to_string());
        }
        opened.reverse();
        let list = async |query: &str| {
            let (status, text) = server.get(&format!("/v1/submissions?{query}")).await;
            assert_eq!(status, 200, "{text}");
            let page = json(&text);
            let ids: Vec<String> = page["submissions"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
            (ids, page["next"].as_str().map(ToOwned::to_owned))
        };
        assert_eq!(list("").await, (opened.clone(), None));
        let search = async |body: &str| {
            let (status, text) = server.post("/v1/submissions/search", body.to_owned()).await;
            assert_eq!(status, 200, "{text}");
            let found = json(&text)["submissions"].as_array().unwrap().clone();
            found.iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(search("{}").await, opened);
        assert_eq!(search(r#"{"sender_reference":"run 1"}"#).await, [opened[2].clone(), opened[5].clone()]);
        let about = server.open(r#"{"kind":"appeal","said":{"tin":"001234567"}}"#).await.to_string();
        assert_eq!(search(r#"{"tin":"00-1234567"}"#).await, [about.as_str()]);
        assert_eq!(search(r#"{"tin":"001234567","sender_reference":"run 1"}"#).await, [] as [String; 0]);
        assert_eq!(server.client.delete(server.url(&format!("/v1/submissions/{about}"))).send().await.unwrap().status(), 204);
        opened.insert(0, about);
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let (ids, next) = list(&format!("limit=3{}", cursor.map(|c| format!("&cursor={c}")).unwrap_or_default())).await;
            seen.extend(ids);
            match next { Some(next) => cursor = Some(next), None => break }
        }
        assert_eq!(seen, opened);
        for (query, code) in [("limit=0", "bad_request"), ("limit=501", "bad_request"), ("limit=x", "bad_request"), ("cursor=zz", "bad_cursor"), ("nonsense=1", "bad_request"), ("tin=001234567", "bad_request"), ("sender_reference=x", "bad_request")] {
            let (status, text) = server.get(&format!("/v1/submissions?{query}")).await;
            assert_eq!((status, json(&text)["code"].as_str()), (400, Some(code)), "{query}");
        }
    }
}
