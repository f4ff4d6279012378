//! The protocol as it goes over the line: each answer of each route, with its headers.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettercase::intake::plan::IntakePlan;
use lettercase::model::ids::{SubmissionId, UploadId};
use lettercase::outside::objects::Place;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use sha1::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::text;
use super::writers::{patient, until_locked};
use crate::http::{Server, client, json};
use crate::journey::{node, objects_in, sql};
use crate::on_both;
use crate::support::{plan, scanner};

const BYTES: &str = "application/offset+octet-stream";

/// An answer: its status, its problem's code, its headers.
#[derive(Debug)]
struct Answer {
    status: u16,
    code: Option<String>,
    detail: String,
    headers: HeaderMap,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn offset(&self) -> Option<u64> {
        self.header("upload-offset").map(|offset| offset.parse().unwrap())
    }
}

async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let problem = (!text.is_empty()).then(|| json(&text));
    let said = |field: &str| problem.as_ref().and_then(|problem| problem[field].as_str().map(ToOwned::to_owned));
    assert_eq!(headers.get("tus-resumable").and_then(|v| v.to_str().ok()), Some("1.0.0"), "{status} {text}");
    assert_eq!(headers.get("cache-control").and_then(|v| v.to_str().ok()), Some("no-store"), "{status} {text}");
    Answer { status, code: said("code"), detail: said("detail").unwrap_or_default(), headers }
}

fn tus(server: &Server, method: &str, path: &str) -> RequestBuilder {
    let method: Method = method.parse().unwrap();
    server.client.request(method, server.url(path)).header("tus-resumable", "1.0.0")
}

fn uploads_of(id: &SubmissionId) -> String {
    format!("/v1/submissions/{id}/uploads")
}

fn create(server: &Server, id: &SubmissionId, name: &str, length: usize) -> RequestBuilder {
    let metadata = format!("filename {},filetype dGV4dC9wbGFpbg==", STANDARD.encode(name));
    tus(server, "POST", &uploads_of(id)).header("upload-length", length).header("upload-metadata", metadata)
}

/// Begins an upload. Its address.
async fn begin(server: &Server, id: &SubmissionId, name: &str, length: usize) -> String {
    let answer = send(create(server, id, name, length)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.header("location").unwrap().to_owned()
}

fn patch(server: &Server, at: &str, offset: usize, bytes: &[u8]) -> RequestBuilder {
    let request = tus(server, "PATCH", at).header("upload-offset", offset).header("content-type", BYTES);
    request.body(bytes.to_vec())
}

async fn refused(request: RequestBuilder, status: u16, code: &str) -> Answer {
    let answer = send(request).await;
    assert_eq!((answer.status, answer.code.as_deref()), (status, Some(code)), "{answer:?}");
    assert!(!answer.detail.contains("PLANTED"), "{answer:?}");
    answer
}

/// A PATCH that brings a part of what it announces; the connection stays open as long as the stream lives.
async fn half(server: &Server, at: &str, announced: usize, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.base.strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!(
        "PATCH {at} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n\
         Content-Type: {BYTES}\r\nContent-Length: {announced}\r\n\r\n",
        server.key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

fn upload_in(at: &str) -> UploadId {
    at.rsplit('/').next().unwrap().parse().unwrap()
}

const APPEAL: &str = r#"{"kind":"appeal"}"#;

on_both! {
    async fn int_30_a_file_comes_in_two_requests_as_tus_1_0_has_it(world: &World) {
        let server = Server::start(&world.app).await;
        let id = server.open(APPEAL).await;
        let open = reqwest::Client::builder().no_proxy().build().unwrap();
        let spoken = send(open.request(Method::OPTIONS, server.url(&uploads_of(&id)))).await;
        assert_eq!((spoken.status, spoken.header("tus-version")), (200, Some("1.0.0")));
        assert_eq!(spoken.header("tus-extension"), Some("creation,creation-with-upload,expiration,checksum,termination"));
        assert_eq!((spoken.header("tus-max-size"), spoken.header("tus-checksum-algorithm")), (Some("67108864"), Some("sha1,sha256")));

        let bytes = text(200_000);
        let begun = send(create(&server, &id, "Brief \u{e4}.txt", bytes.len())).await;
        assert_eq!((begun.status, begun.offset()), (201, Some(0)));
        let expires = "Sat, 21 Nov 2026 09:00:00 GMT";
        assert_eq!(begun.header("upload-expires").map(str::len), Some(expires.len()), "{begun:?}");
        let at = begun.header("location").unwrap().to_owned();
        assert_eq!(at, format!("{}/{}", uploads_of(&id), upload_in(&at)));

        let next = send(patch(&server, &at, 0, &bytes[..100_000])).await;
        assert_eq!((next.status, next.offset(), next.header("lettercase-document")), (204, Some(100_000), None));
        assert_eq!(next.header("upload-expires"), begun.header("upload-expires"));
        let stands = send(tus(&server, "HEAD", &at)).await;
        assert_eq!((stands.status, stands.offset(), stands.header("upload-length")), (200, Some(100_000), Some("200000")));
        let metadata = format!("filename {},filetype dGV4dC9wbGFpbg==", STANDARD.encode("Brief \u{e4}.txt"));
        assert_eq!(stands.header("upload-metadata"), Some(metadata.as_str()), "as it was sent");
        assert_eq!(stands.header("upload-expires"), begun.header("upload-expires"));

        let done = send(patch(&server, &at, 100_000, &bytes[100_000..])).await;
        assert_eq!((done.status, done.offset(), done.header("upload-expires")), (204, Some(200_000), None));
        let document = done.header("lettercase-document").unwrap().to_owned();
        for again in [send(patch(&server, &at, 200_000, b"")).await, send(tus(&server, "HEAD", &at)).await] {
            assert_eq!((again.offset(), again.header("lettercase-document")), (Some(200_000), Some(document.as_str())));
        }
        let view = world.view(&id).await;
        assert_eq!((view.documents.len(), view.documents[0].id.as_str()), (1, document.as_str()));
        let kept = world.document(&view.documents[0].id).await;
        assert_eq!(kept.sha256.unwrap().as_str(), hex::encode(sha2::Sha256::digest(&bytes)));
        assert_eq!(kept.file_name.reveal(), "Brief \u{e4}.txt");
        refused(tus(&server, "DELETE", &at), 422, "wrong_state").await;
        assert_eq!(world.view(&id).await.documents.len(), 1);

        for (name, first) in [("b.txt", 0), ("c.txt", 70_000), ("d.txt", 200_000)] {
            let request = create(&server, &id, name, bytes.len()).header("content-type", BYTES);
            let begun = send(request.body(bytes[..first].to_vec())).await;
            assert_eq!((begun.status, begun.offset()), (201, Some(first as u64)), "{name}");
            assert_eq!(begun.header("lettercase-document").is_some(), first == bytes.len(), "{name}");
        }
        assert_eq!(world.view(&id).await.documents.len(), 2);
    }
}

on_both! {
    async fn what_is_no_tus_or_not_whole_is_refused_with_its_status(world: &World) {
        let server = Server::start(&world.app).await;
        let id = server.open(APPEAL).await;
        let bytes = text(200_000);
        let at = begin(&server, &id, "a.txt", bytes.len()).await;
        let nowhere = format!("{}/{}", uploads_of(&id), world.stamp().ctx.new_id());
        let elsewhere = at.replace(id.as_str(), server.open(APPEAL).await.as_str());

        let bare = |method: &str, path: &str| server.client.request(method.parse::<Method>().unwrap(), server.url(path));
        for (method, path) in [("POST", uploads_of(&id)), ("PATCH", at.clone()), ("DELETE", at.clone())] {
            for request in [bare(method, &path), bare(method, &path).header("tus-resumable", "0.2.2")] {
                let answer = refused(request.header("content-type", BYTES), 412, "tus_version").await;
                assert_eq!(answer.header("tus-version"), Some("1.0.0"));
            }
        }
        assert_eq!(send(bare("HEAD", &at)).await.status, 412);
        let stranger = client("lck_live_nothing");
        refused(stranger.patch(server.url(&at)).header("tus-resumable", "1.0.0"), 401, "unauthenticated").await;
        refused(tus(&server, "PUT", &at), 405, "method_not_allowed").await;

        // creation
        let post = || tus(&server, "POST", &uploads_of(&id));
        let named = |request: RequestBuilder| request.header("upload-metadata", "filename UExBTlRFRC50eHQ=");
        refused(named(post()), 400, "bad_request").await;
        refused(named(post()).header("upload-length", "PLANTED"), 400, "bad_request").await;
        refused(named(post()).header("upload-length", "-1"), 400, "bad_request").await;
        refused(named(post()).header("upload-length", "1").header("upload-length", "2"), 400, "bad_request").await;
        refused(named(post()).header("upload-defer-length", "1"), 400, "bad_request").await;
        refused(named(post()).header("upload-length", "9").header("upload-concat", "partial"), 400, "bad_request").await;
        refused(post().header("upload-length", "9"), 400, "bad_file_name").await;
        for (metadata, code) in [
            ("filename PLANTED!", "bad_request"),
            ("filename UExBTlRFRA==,filename UExBTlRFRA==", "bad_request"),
            ("filetype UExBTlRFRA==", "bad_file_name"),
            ("filename", "bad_file_name"),
            ("filename /w==", "bad_file_name"),
        ] {
            refused(post().header("upload-length", "9").header("upload-metadata", metadata), 400, code).await;
        }
        refused(create(&server, &id, &"x".repeat(1_025), 9), 400, "bad_file_name").await;
        refused(create(&server, &id, "b.txt", 9).body("PLANTED"), 415, "unsupported_media_type").await;
        refused(create(&server, &id, "b.txt", 0), 422, "empty").await;
        refused(create(&server, &id, "b.txt", (64 << 20) + 1), 413, "too_large").await;
        let long = create(&server, &id, "b.txt", 9).header("content-type", BYTES).body(vec![b'a'; 10]);
        refused(long, 413, "upload_too_long").await;
        let gone: SubmissionId = world.stamp().ctx.new_id().parse().unwrap();
        refused(create(&server, &gone, "b.txt", 9), 404, "not_found").await;

        // going on
        let offset = |value: &str| tus(&server, "PATCH", &at).header("content-type", BYTES).header("upload-offset", value);
        refused(tus(&server, "PATCH", &at).header("upload-offset", "0").body("PLANTED"), 415, "unsupported_media_type").await;
        refused(tus(&server, "PATCH", &at).header("content-type", BYTES).body("PLANTED"), 400, "bad_request").await;
        refused(offset("PLANTED").body("PLANTED"), 400, "bad_request").await;
        for checksum in ["md5 PLANTED", "sha1 PLANTED", "sha1"] {
            refused(offset("0").header("upload-checksum", checksum).body("PLANTED"), 400, "bad_request").await;
        }
        refused(patch(&server, &at, 0, &bytes[..1_000]), 400, "piece_too_small").await;
        refused(patch(&server, &at, 0, &[&bytes[..], b"a"].concat()), 413, "upload_too_long").await;
        let conflict = refused(patch(&server, &at, 7, &bytes[7..]), 409, "offset_conflict").await;
        assert_eq!(conflict.offset(), Some(0), "where it goes on");
        for wrong in [STANDARD.encode([7; 20]), STANDARD.encode([7; 32])] {
            let algorithm = if wrong.len() == 28 { "sha1" } else { "sha256" };
            let request = patch(&server, &at, 0, &bytes).header("upload-checksum", format!("{algorithm} {wrong}"));
            refused(request, 460, "checksum_mismatch").await;
        }
        for wrong in [&nowhere, &elsewhere, &format!("{}/nonsense", uploads_of(&id))] {
            refused(patch(&server, wrong, 0, &bytes), 404, "not_found").await;
            refused(tus(&server, "DELETE", wrong), 404, "not_found").await;
            assert_eq!(send(tus(&server, "HEAD", wrong)).await.status, 404);
        }
        assert_eq!(send(tus(&server, "HEAD", &at)).await.offset(), Some(0), "nothing of all that was kept");
        assert!(objects_in(world, Place::Parts).await.is_empty());
        let right = format!("sha1 {}", STANDARD.encode(sha1::Sha1::digest(&bytes)));
        assert_eq!(send(patch(&server, &at, 0, &bytes).header("upload-checksum", right)).await.status, 204);
    }
}

/// A plan whose limits are quickly reached.
fn small() -> IntakePlan {
    let mut plan = plan();
    plan.limits.appeal.file_bytes = 300_000;
    plan.limits.appeal.files = 2;
    plan.uploads.under_way = 3;
    plan.uploads.parts = 1;
    plan.uploads.give_way_ms = 0;
    plan
}

on_both! {
    async fn what_a_submission_takes_no_more_is_no_conflict_that_clients_would_try_again(world: &World) {
        let app = node(world, "small", small(), scanner().await).await;
        let server = Server::start(&app).await;
        let large = server.beside(&world.app);
        let id = server.open(APPEAL).await;
        let bytes = text(200_000);
        // what is refused only in the end: the request that ends it is told why, later ones that it is gone
        let late = begin(&server, &id, "late.txt", bytes.len()).await;
        let over = begin(&large, &id, "over.txt", 300_001).await;
        assert_eq!(server.put(&id, "LATE.txt", b"a page").await.0, 201);
        refused(patch(&server, &late, 0, &bytes), 422, "duplicate_name").await;
        refused(patch(&server, &over, 0, &text(300_001)), 413, "too_large").await;
        for gone in [&late, &over] {
            let answer = refused(patch(&server, gone, 0, &bytes), 410, "upload_gone").await;
            assert!(answer.detail.contains("refused"), "{answer:?}");
            assert_eq!(send(tus(&server, "HEAD", gone)).await.status, 410);
        }
        refused(create(&server, &id, "late.TXT", 9), 422, "duplicate_name").await;

        let mut begun = Vec::new();
        for name in ["1.txt", "2.txt", "3.txt"] {
            begun.push(begin(&server, &id, name, bytes.len()).await);
        }
        let many = refused(create(&server, &id, "4.txt", 9), 429, "too_many_uploads").await;
        assert_eq!(many.header("retry-after"), Some("60"));
        for _ in 0..2 {
            assert_eq!(send(tus(&server, "DELETE", &begun[0])).await.status, 204, "a second time changes nothing");
        }
        assert_eq!(send(tus(&server, "HEAD", &begun[0])).await.status, 410);
        assert_eq!(send(patch(&server, &begun[1], 0, &bytes[..100_000])).await.status, 204);
        refused(patch(&server, &begun[1], 100_000, &bytes[100_000..170_000]), 400, "too_many_pieces").await;
        sql(world, "UPDATE upload SET lease_token = 'lost/0', lease_until = 4000000000000000 WHERE offset_bytes = 100000").await;
        let locked = refused(patch(&server, &begun[1], 100_000, &bytes[100_000..]), 423, "upload_locked").await;
        assert_eq!(locked.header("retry-after"), Some("1"));
        assert_eq!(send(tus(&server, "HEAD", &begun[1])).await.status, 423);
        refused(tus(&server, "DELETE", &begun[1]), 423, "upload_locked").await;
        sql(world, "UPDATE upload SET lease_token = NULL").await;
        assert_eq!(send(patch(&server, &begun[1], 100_000, &bytes[100_000..])).await.status, 204);
        refused(create(&server, &id, "5.txt", 9), 422, "too_many_files").await;
        refused(patch(&server, &begun[2], 0, &bytes), 422, "too_many_files").await;

        let sent = server.open(APPEAL).await;
        let under_way = begin(&server, &sent, "a.txt", bytes.len()).await;
        assert_eq!(server.put(&sent, "b.txt", b"a page").await.0, 201);
        assert_eq!(server.post(&format!("/v1/submissions/{sent}/submit"), "").await.0, 202);
        refused(create(&server, &sent, "c.txt", 9), 422, "submission_closed").await;
        refused(patch(&server, &under_way, 0, &bytes), 422, "submission_closed").await;
        refused(patch(&server, &under_way, 0, &bytes), 410, "upload_gone").await;

        let expiring = begin(&server, &server.open(APPEAL).await, "a.txt", 100).await;
        world.advance(Duration::from_secs(25 * 3_600));
        refused(patch(&server, &expiring, 0, &[b'a'; 100]), 410, "upload_gone").await;
    }
}

on_both! {
    async fn what_passes_is_told_as_passing(world: &World) {
        let server = Server::start(&world.app).await;
        let id = server.open(APPEAL).await;
        let bytes = text(200_000);
        let at = begin(&server, &id, "a.txt", bytes.len()).await;
        let objects = world.settings.data_dir.join("objects");
        let away = |place: &str| {
            std::fs::rename(objects.join(place), world.settings.data_dir.join("aside")).unwrap();
            std::fs::write(objects.join(place), b"no directory").unwrap();
        };
        let back = |place: &str| {
            std::fs::remove_file(objects.join(place)).unwrap();
            std::fs::rename(world.settings.data_dir.join("aside"), objects.join(place)).unwrap();
        };
        away("parts");
        let unavailable = refused(patch(&server, &at, 0, &bytes), 503, "unavailable").await;
        assert_eq!(unavailable.header("retry-after"), Some("5"));
        back("parts");
        away("incoming");
        let pending = refused(patch(&server, &at, 0, &bytes), 503, "upload_pending").await;
        assert_eq!(pending.header("retry-after"), Some("5"));
        back("incoming");
        assert_eq!(send(tus(&server, "HEAD", &at)).await.status, 503);
        world.advance(Duration::from_secs(6));
        let done = send(tus(&server, "HEAD", &at)).await;
        assert_eq!((done.status, done.offset(), done.header("lettercase-document").is_some()), (200, Some(200_000), true));

        let mut impatient = plan();
        impatient.receive.grace_s = 0;
        let impatient = server.beside(&node(world, "impatient", impatient, scanner().await).await);
        let at = begin(&impatient, &id, "b.txt", bytes.len()).await;
        let mut stopped = half(&impatient, &at, bytes.len(), &bytes[..100_000]).await;
        let mut answer = vec![0; 12];
        stopped.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 408");
    }
}

on_both! {
    async fn int_30_a_line_that_breaks_or_falls_silent_holds_its_upload_from_nobody(world: &World) {
        let other = node(world, "other", patient(), scanner().await).await;
        let server = Server::start(&world.app).await;
        let other = server.beside(&other);
        let bytes = text(200_000);
        for closes in [true, false] {
            let id = server.open(APPEAL).await;
            let at = begin(&server, &id, "a.txt", bytes.len()).await;
            let stream = half(&server, &at, bytes.len(), &bytes[..100_000]).await;
            until_locked(world, &upload_in(&at)).await;
            let mut silent = Some(stream).filter(|_| !closes);
            let asked = tokio::time::Instant::now();
            let stands = send(tus(&other, "HEAD", &at)).await;
            assert_eq!((stands.status, stands.offset()), (200, Some(100_000)), "closed: {closes}");
            assert!(asked.elapsed() < Duration::from_secs(15), "long before receive loses patience");
            assert_eq!(send(patch(&other, &at, 100_000, &bytes[100_000..])).await.status, 204);
            if let Some(silent) = &mut silent {
                let mut answer = vec![0; 12];
                silent.read_exact(&mut answer).await.unwrap();
                assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 423", "another one writes now");
            }
            assert_eq!(world.view(&id).await.documents.len(), 1);
        }
    }
}
