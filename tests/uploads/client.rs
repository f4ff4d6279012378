//! The client that most senders use, tus-js-client, against the routes; the line between them breaks.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lettercase::model::ids::{DocumentId, SubmissionId};
use lettercase::outside::objects::Place;
use serde_json::{Value, json};
use sha1::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::http::Server;
use crate::journey::{node, objects_in};
use crate::on_both;
use crate::support::{World, plan, program, scanner, tools};

const LARGE: usize = 64 << 20;

/// Bytes that are nowhere the same.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// A line that is cut once, when a connection has carried `cut_at` bytes; from then on it leads to `then`.
async fn line(first: SocketAddr, then: SocketAddr, cut_at: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, cuts) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&cuts);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let to = if counted.load(Ordering::SeqCst) == 0 { first } else { then };
            let cuts = Arc::clone(&counted);
            tokio::spawn(async move {
                let far = TcpStream::connect(to).await.unwrap();
                let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
                let up = async {
                    let (mut carried, mut piece) = (0, vec![0; 64 << 10]);
                    loop {
                        let read = near_in.read(&mut piece).await.unwrap_or(0);
                        if read == 0 || far_out.write_all(&piece[..read]).await.is_err() {
                            return;
                        }
                        carried += read;
                        if carried >= cut_at && cuts.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_ok()
                        {
                            return;
                        }
                    }
                };
                // when one way ends both do, and both connections with them
                tokio::select! {
                    () = up => {}
                    _ = tokio::io::copy(&mut far_in, &mut near_out) => {}
                }
            });
        }
    });
    (address, cuts)
}

fn address(server: &Server) -> SocketAddr {
    server.base.strip_prefix("http://").unwrap().parse().unwrap()
}

/// Runs the client. What it saw.
async fn send(server: &Server, by: SocketAddr, to: &SubmissionId, file: &Path, more: Value) -> Value {
    let mut told = json!({
        "endpoint": format!("http://{by}/v1/submissions/{to}/uploads"),
        "key": server.key,
        "file": file,
        "name": "Bericht n\u{f6}tig.txt",
    });
    told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let modules = tools().join("node/node_modules");
    assert!(modules.join("tus-js-client").is_dir(), "tus-js-client is not in .tools/node: run `make deps`");
    let child = tokio::process::Command::new(program("node"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/uploads/client/send.js"))
        .arg(told.to_string())
        .env("NODE_PATH", modules)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let output = tokio::time::timeout(Duration::from_secs(120), child.wait_with_output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("the client said: {text}"))
}

/// There is one document, the one the client was told of, and it has these bytes.
async fn assert_taken(world: &World, to: &SubmissionId, seen: &Value, sent: &[u8]) {
    assert_eq!(seen["error"], Value::Null, "{seen}");
    let id: DocumentId = seen["document"].as_str().unwrap_or_else(|| panic!("no document: {seen}")).parse().unwrap();
    let view = world.view(to).await;
    assert_eq!(view.documents.iter().map(|d| d.id.clone()).collect::<Vec<_>>(), std::slice::from_ref(&id));
    let document = world.document(&id).await;
    assert_eq!(document.sha256.unwrap().as_str(), hex::encode(sha2::Sha256::digest(sent)));
    assert_eq!((document.size_bytes, document.file_name.reveal()), (Some(sent.len() as u64), "Bericht n\u{f6}tig.txt"));
    assert!(objects_in(world, Place::Parts).await.is_empty());
}

fn file_of(world: &World, bytes: &[u8]) -> std::path::PathBuf {
    let path = world.dir.path().join("to-send");
    std::fs::write(&path, bytes).unwrap();
    path
}

async fn cut_in_the_middle(world: &World, first: &Server, then: &Server) {
    let sent = bytes(LARGE);
    let to = first.open(r#"{"kind":"appeal"}"#).await;
    let (by, cuts) = line(address(first), address(then), LARGE / 2).await;
    let seen = send(first, by, &to, &file_of(world, &sent), json!({})).await;
    assert_eq!(cuts.load(Ordering::SeqCst), 1, "the line was cut: {seen}");
    assert_eq!(seen["requests"], json!(["POST 201", "HEAD 200", "PATCH 204"]), "{seen}");
    assert_taken(world, &to, &seen, &sent).await;
}

on_both! {
    async fn int_30_a_file_of_64_mib_goes_on_where_the_line_was_cut(world: &World) {
        let server = Server::start(&world.app).await;
        cut_in_the_middle(world, &server, &server).await;
    }
}

on_both! {
    async fn int_30_a_file_of_64_mib_goes_on_at_another_node_where_the_line_was_cut(world: &World) {
        let other = node(world, "other", plan(), scanner().await).await;
        let server = Server::start(&world.app).await;
        let other = server.beside(&other);
        cut_in_the_middle(world, &server, &other).await;
    }
}

on_both! {
    async fn int_30_a_file_comes_in_chunks_or_with_its_creation_or_with_its_checksum(world: &World) {
        let server = Server::start(&world.app).await;
        let sent = bytes(300_000);
        let file = file_of(world, &sent);
        let digest = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, sha2::Sha256::digest(&sent));
        for (more, requests) in [
            (json!({}), json!(["POST 201", "PATCH 204"])),
            (json!({"chunkSize": 100_000}), json!(["POST 201", "PATCH 204", "PATCH 204", "PATCH 204"])),
            (json!({"during": true}), json!(["POST 201"])),
            (json!({"during": true, "chunkSize": 200_000}), json!(["POST 201", "PATCH 204"])),
            (json!({"checksum": format!("sha256 {digest}")}), json!(["POST 201", "PATCH 204"])),
        ] {
            let to = server.open(r#"{"kind":"appeal"}"#).await;
            let seen = send(&server, address(&server), &to, &file, more.clone()).await;
            assert_eq!(seen["requests"], requests, "{more}: {seen}");
            assert_taken(world, &to, &seen, &sent).await;
        }
        let to = server.open(r#"{"kind":"appeal"}"#).await;
        let wrong = json!({"checksum": format!("sha256 {}=", "A".repeat(43))});
        let seen = send(&server, address(&server), &to, &file, wrong).await;
        assert_eq!(seen["requests"], json!(["POST 201", "PATCH 460"]), "{seen}");
        assert!(world.view(&to).await.documents.is_empty());
    }
}

on_both! {
    async fn int_30_a_sender_gives_an_upload_up(world: &World) {
        let server = Server::start(&world.app).await;
        let file = file_of(world, &bytes(300_000));
        let to = server.open(r#"{"kind":"appeal"}"#).await;
        let more = json!({"chunkSize": 100_000, "terminateAt": 100_000});
        let seen = send(&server, address(&server), &to, &file, more).await;
        assert_eq!((seen["error"].as_str(), seen["terminated"].as_bool()), (None, Some(true)), "{seen}");
        assert!(seen["requests"].as_array().unwrap().iter().any(|request| request == "DELETE 204"), "{seen}");
        assert!(world.view(&to).await.documents.is_empty());
        assert!(objects_in(world, Place::Parts).await.is_empty());
    }
}
