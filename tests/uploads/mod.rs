//! Resumable uploads: whatever breaks on the way, one document of the right bytes in the end, or a reason.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod client;
mod crash;
mod ends;
mod http;
mod limits;
mod writers;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use lettercase::app::App;
use lettercase::db::uploads::{Upload, UploadState};
use lettercase::intake::uploads::{Append, Checksum, NewUpload, UploadError};
use lettercase::model::case::CaseKind;
use lettercase::model::document::{DocumentState, FileName};
use lettercase::model::ids::SubmissionId;
use lettercase::model::submission::{Said, SubmissionState};
use lettercase::outside::objects::Place;
use sha1::Digest;

use crate::journey::{node, objects_in};
use crate::on_both;
use crate::support::{World, plan, scanner};

/// Text of that many bytes, nowhere the same.
pub(crate) fn text(bytes: usize) -> Vec<u8> {
    let mut text = String::with_capacity(bytes + 16);
    let mut line = 0_u64;
    while text.len() < bytes {
        line += 1;
        text.push_str(&format!("line {line}\n"));
    }
    text.truncate(bytes);
    text.into_bytes()
}

/// The bytes in pieces.
fn whole(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + Unpin + use<> {
    let pieces: Vec<_> = bytes.chunks(10_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

/// The bytes in pieces, and then the connection is gone.
fn broken(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + Unpin + use<> {
    whole(bytes).chain(stream::iter([Err(std::io::ErrorKind::ConnectionReset.into())]))
}

/// The next bytes of an upload.
fn at(upload: &Upload, offset_bytes: u64, announced: impl TryInto<u64>) -> Append {
    Append {
        submission: upload.submission_id.clone(),
        upload: upload.id.clone(),
        offset_bytes,
        announced_bytes: announced.try_into().ok(),
        checksum: None,
    }
}

async fn try_begin(app: &App, to: &SubmissionId, name: &str, length: usize) -> Result<Upload, UploadError> {
    let file_name = FileName::new(name).unwrap();
    let new = NewUpload {
        submission: to,
        owner: "sender",
        file_name: &file_name,
        length_bytes: length as u64,
        metadata: Some("filename bmFtZQ=="),
    };
    app.intake.create_upload(new).await
}

pub(crate) async fn begin(world: &World, name: &str, length: usize) -> Upload {
    let id = world.open(CaseKind::Appeal, Said::default()).await;
    try_begin(&world.app, &id, name, length).await.unwrap()
}

async fn append(app: &App, upload: &Upload, offset: usize, bytes: &[u8]) -> Result<Upload, UploadError> {
    app.intake.append_to_upload(at(upload, offset as u64, bytes.len()), whole(bytes)).await
}

async fn look(app: &App, upload: &Upload) -> Result<Upload, UploadError> {
    app.intake.look_at_upload(&upload.submission_id, &upload.id).await
}

/// What a refusal is, in a word.
fn refusal<T: std::fmt::Debug>(result: &Result<T, UploadError>) -> String {
    match result {
        Ok(_) => "taken".into(),
        Err(UploadError::NotFound) => "not_found".into(),
        Err(UploadError::Closed { .. }) => "closed".into(),
        Err(UploadError::Refused(reason)) => reason.code.to_string(),
        Err(UploadError::TooManyUnderWay { .. }) => "too_many_under_way".into(),
        Err(UploadError::Ended { state, reason, .. }) => match reason {
            Some(reason) => format!("{state}: {}", reason.code),
            None => state.to_string(),
        },
        Err(UploadError::Locked) => "locked".into(),
        Err(UploadError::Conflict { offset_bytes }) => format!("conflict at {offset_bytes}"),
        Err(UploadError::ChecksumMismatch) => "checksum_mismatch".into(),
        Err(UploadError::TooLong { .. }) => "too_long".into(),
        Err(UploadError::PartTooSmall { .. }) => "part_too_small".into(),
        Err(UploadError::TooManyParts { .. }) => "too_many_parts".into(),
        Err(UploadError::Broken { offset_bytes }) => format!("broken at {offset_bytes}"),
        Err(UploadError::TooSlow { offset_bytes }) => format!("too slow at {offset_bytes}"),
        Err(UploadError::Pending { .. }) => "pending".into(),
        Err(error) => panic!("a fault of ours: {error}"),
    }
}

async fn reconcile(world: &World) {
    world.app.intake.reconcile("test").await.unwrap();
}

on_both! {
    async fn int_30_a_broken_upload_goes_on_where_it_stopped_also_on_another_node(world: &World) {
        let bytes = text(900_000);
        let upload = begin(world, "records.txt", bytes.len()).await;
        let cut = world.app.intake.append_to_upload(at(&upload, 0, bytes.len()), broken(&bytes[..300_000])).await;
        assert_eq!(refusal(&cut), "broken at 300000");
        assert_eq!(look(&world.app, &upload).await.unwrap().offset_bytes, 300_000, "what arrived is kept");

        let other = node(world, "other", plan(), scanner().await).await;
        assert_eq!(look(&other, &upload).await.unwrap().offset_bytes, 300_000);
        let next = append(&other, &upload, 300_000, &bytes[300_000..500_000]).await.unwrap();
        assert_eq!((next.offset_bytes, next.parts, next.state), (500_000, 2, UploadState::Receiving));
        assert!(world.view(&upload.submission_id).await.documents.is_empty(), "no document before it is whole");

        let done = append(&world.app, &upload, 500_000, &bytes[500_000..]).await.unwrap();
        assert_eq!(done.state, UploadState::Complete);
        let document = world.document(&done.document_id).await;
        assert_eq!(document.state, DocumentState::Received);
        assert_eq!(document.sha256.as_ref().unwrap().as_str(), hex::encode(sha2::Sha256::digest(&bytes)));
        assert_eq!((document.size_bytes, document.file_name.reveal()), (Some(900_000), "records.txt"));
        assert!(objects_in(world, Place::Parts).await.is_empty(), "the parts are destroyed");
        assert_eq!(look(&other, &upload).await.unwrap().state, UploadState::Complete);
        let again = append(&other, &upload, 900_000, b"").await.unwrap();
        assert_eq!(again.document_id, done.document_id, "the answer was lost and is asked for again");
        assert_eq!(refusal(&append(&other, &upload, 500_000, &bytes[500_000..]).await), "conflict at 900000");
        let view = world.submit(&upload.submission_id).await;
        assert_eq!((view.state, view.documents.len()), (SubmissionState::Accepted, 1));
    }
}

on_both! {
    async fn int_30_an_upload_can_begin_with_its_first_bytes_or_all_of_them(world: &World) {
        let bytes = text(200_000);
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        for (name, first, state) in [("a.txt", 100_000, UploadState::Receiving), ("b.txt", 200_000, UploadState::Complete)] {
            let file_name = FileName::new(name).unwrap();
            let new =
                NewUpload { submission: &id, owner: "sender", file_name: &file_name, length_bytes: 200_000, metadata: None };
            let body = whole(&bytes[..first]);
            let begun = world.app.intake.create_upload_with(new, Some(first as u64), None, body).await.unwrap();
            assert_eq!((begun.offset_bytes, begun.state), (first as u64, state));
        }
        let file_name = FileName::new("c.txt").unwrap();
        let new =
            NewUpload { submission: &id, owner: "sender", file_name: &file_name, length_bytes: 200_000, metadata: None };
        let body = broken(&bytes[..70_000]);
        let begun = world.app.intake.create_upload_with(new.clone(), Some(200_000), None, body).await.unwrap();
        assert_eq!(begun.offset_bytes, 70_000, "what arrived is kept");
        append(&world.app, &begun, 70_000, &bytes[70_000..]).await.unwrap();
        let wrong = Some(Checksum::Sha256([7; 32]));
        let refused = world.app.intake.create_upload_with(new, Some(200_000), wrong, whole(&bytes)).await;
        assert_eq!(refusal(&refused), "duplicate_name", "known before a byte is read");
        assert_eq!(world.view(&id).await.documents.len(), 2);
    }
}

on_both! {
    async fn int_30_bytes_that_are_not_those_of_their_checksum_are_thrown_away(world: &World) {
        let bytes = text(300_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        let (first, second) = bytes.split_at(150_000);
        let sha1 = |bytes: &[u8]| Checksum::Sha1(sha1::Sha1::digest(bytes).into());
        let sha256 = |bytes: &[u8]| Checksum::Sha256(sha2::Sha256::digest(bytes).into());
        for wrong in [sha1(second), sha256(second)] {
            let sent = Append { checksum: Some(wrong), ..at(&upload, 0, first.len()) };
            let refused = world.app.intake.append_to_upload(sent, whole(first)).await;
            assert_eq!(refusal(&refused), "checksum_mismatch");
        }
        let cut = Append { checksum: Some(sha1(first)), ..at(&upload, 0, first.len()) };
        let cut = world.app.intake.append_to_upload(cut, broken(&first[..100_000])).await;
        assert_eq!(refusal(&cut), "broken at 0", "half of them can't be compared, so none are kept");
        assert!(objects_in(world, Place::Parts).await.is_empty());
        let sent = Append { checksum: Some(sha1(first)), ..at(&upload, 0, first.len()) };
        assert_eq!(world.app.intake.append_to_upload(sent, whole(first)).await.unwrap().offset_bytes, 150_000);
        let sent = Append { checksum: Some(sha256(second)), ..at(&upload, 150_000, second.len()) };
        let done = world.app.intake.append_to_upload(sent, whole(second)).await.unwrap();
        assert_eq!(done.state, UploadState::Complete);
    }
}

on_both! {
    async fn int_20_the_receipt_time_is_when_the_last_byte_was_there(world: &World) {
        let bytes = text(100_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        world.advance(std::time::Duration::from_secs(3_600));
        let arrived = world.app.intake.ctx.now();
        let done = append(&world.app, &upload, 0, &bytes).await.unwrap();
        assert_eq!(world.document(&done.document_id).await.received_at, arrived);
    }
}
