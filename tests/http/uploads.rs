//! Uploads that do not come whole.

use std::time::Duration;

use lettercase::model::document::DocumentState;
use lettercase::model::ids::SubmissionId;
use lettercase::model::judgement::ReasonCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Server, file_path};
use crate::on_both;
use crate::support::World;

async fn begin(server: &Server, to: &SubmissionId, head: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.base.strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{head}\r\n\r\n",
        file_path(to, "a.txt"),
        server.key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream
}

async fn assert_ended(world: &World, server: &Server, id: &SubmissionId) {
    let mut found = None;
    for _ in 0..1_000 {
        found = world.view(id).await.documents.pop();
        if found.as_ref().is_some_and(|d| d.state != DocumentState::Receiving) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let found = found.unwrap();
    assert_eq!((found.state, found.accepted_at), (DocumentState::Rejected, None));
    assert_eq!(found.reason.map(|r| r.code), Some(ReasonCode::Incomplete));
    assert_eq!(server.put(id, "a.txt", b"all of it").await.0, 201, "the name is free again");
}

on_both! {
    async fn int_10_half_of_an_announced_file_is_incomplete(world: &World) {
        let server = Server::start(&world.app).await;
        for (head, body) in [
            ("Content-Length: 1000", &[b'a'; 500][..]),
            ("Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
            ("Transfer-Encoding: chunked", b"5\r\nhello\r\nzz\r\n"),
        ] {
            let id = server.open(r#"{"kind":"appeal"}"#).await;
            let closed = begin(&server, &id, head, body).await;
            drop(closed);
            assert_ended(world, &server, &id).await;
        }
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let mut half_closed = begin(&server, &id, "Content-Length: 1000", b"half").await;
        half_closed.shutdown().await.unwrap();
        let mut answer = String::new();
        let _ = half_closed.read_to_string(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert_ended(world, &server, &id).await;
    }
}

on_both! {
    async fn int_10_a_client_that_stops_sending_holds_no_place_once_it_is_gone(world: &World) {
        let server = Server::start(&world.app).await;
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let stalled = begin(&server, &id, "Content-Length: 1000", b"half").await;
        while world.view(&id).await.documents.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (status, text) = server.put(&id, "a.txt", b"meanwhile").await;
        assert_eq!(status, 409, "{text}");
        drop(stalled);
        assert_ended(world, &server, &id).await;
    }
}
