//! Receive: what is taken, what is refused, and that a refusal leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, stream};
use lettercase::intake::plan::IntakePlan;
use lettercase::intake::receive::{Arriving, Destination};
use lettercase::intake::review;
use lettercase::model::case::CaseKind;
use lettercase::model::document::{Channel, DocumentState, FileName};
use lettercase::model::ids::SubmissionId;
use lettercase::model::judgement::ReasonCode;
use lettercase::model::submission::{Said, SubmissionState};
use lettercase::outside::objects::Place;

use super::{made, nakamura, node, objects_in, open_by, refusal, send, settle, states, texts, told, work_of};
use crate::on_both;
use crate::support::{World, plan, scanner};

const LIMIT: usize = 64 << 10;
const PIECE: usize = 1 << 10;

/// A plan with limits that are quickly reached.
fn small() -> IntakePlan {
    let mut plan = plan();
    plan.limits.reconsideration.file_bytes = LIMIT as u64;
    plan
}

/// Text of that many bytes in pieces; counts the bytes that were pulled.
fn text(bytes: usize, pulled: &Arc<AtomicUsize>) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Unpin + use<> {
    let pulled = Arc::clone(pulled);
    let lengths = (0..bytes.div_ceil(PIECE)).map(move |at| PIECE.min(bytes - at * PIECE));
    stream::iter(lengths.map(move |len| {
        pulled.fetch_add(len, Ordering::Relaxed);
        Ok(Bytes::from(vec![b'a'; len]))
    }))
}

/// A body that goes on after `before` as `after` says.
fn broken(after: Result<Bytes, std::io::Error>) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Unpin {
    stream::iter([Ok(Bytes::from_static(b"the first half")), after])
}

fn gone() -> std::io::Error {
    std::io::ErrorKind::ConnectionReset.into()
}

/// A submission has nothing but the row that tells of a file which did not come.
async fn assert_nothing_came(world: &World, id: &SubmissionId, code: ReasonCode) {
    let view = world.view(id).await;
    let [document] = &view.documents[..] else { panic!("{view:?}") };
    assert_eq!((document.state, document.accepted_at), (DocumentState::Rejected, None));
    assert_eq!(document.reason.as_ref().map(|r| r.code), Some(code));
    assert!(texts(world, "SELECT subject FROM receipt").await.is_empty(), "there is a receipt");
    assert!(objects_in(world, Place::Incoming).await.is_empty(), "there is an object");
    assert!(spooled(world).is_empty(), "there is a spool file");
    assert!(work_of(world, &document.id).await.is_empty());
}

fn spooled(world: &World) -> Vec<String> {
    let dir = std::fs::read_dir(world.app.intake.spool.dir()).unwrap();
    dir.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

on_both! {
    async fn int_05_the_limit_itself_is_accepted_and_one_byte_more_refused_while_streaming(world: &World) {
        let app = node(world, "small", small(), scanner().await).await;
        let id = world.open(CaseKind::Reconsideration, Said::default()).await;
        for (name, announced) in [("a.txt", None), ("b.txt", Some(LIMIT as u64))] {
            let taken = send(&app, &id, name, announced, text(LIMIT, &Arc::default())).await.unwrap();
            assert_eq!(taken.size_bytes, LIMIT as u64);
        }
        let pulled = Arc::default();
        let over = send(&app, &id, "c.txt", None, text(LIMIT + 1, &pulled)).await;
        assert_eq!(refusal(&over), "too_large");
        let pulled = Arc::default();
        let far_over = send(&app, &id, "c.txt", None, text(16 * LIMIT, &pulled)).await;
        assert_eq!(refusal(&far_over), "too_large");
        assert_eq!(pulled.load(Ordering::Relaxed), LIMIT + PIECE, "the rest is not read");
        let pulled = Arc::default();
        let announced = send(&app, &id, "c.txt", Some(LIMIT as u64 + 1), text(LIMIT + 1, &pulled)).await;
        assert_eq!(refusal(&announced), "too_large");
        assert_eq!(pulled.load(Ordering::Relaxed), 0, "nothing is read of what is too large by its own word");
        let other_kind = world.open(CaseKind::Appeal, Said::default()).await;
        assert!(send(&app, &other_kind, "c.txt", None, text(LIMIT + 1, &Arc::default())).await.is_ok());
    }
}

on_both! {
    async fn int_11_an_empty_file_is_refused(world: &World) {
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        assert_eq!(refusal(&world.try_add(&id, "a.txt", b"").await), "empty");
        assert_nothing_came(world, &id, ReasonCode::Empty).await;
    }
}

on_both! {
    async fn int_01_ten_files_are_taken_an_eleventh_is_not_and_a_refused_one_takes_no_place(world: &World) {
        let app = node(world, "small", small(), scanner().await).await;
        let id = world.open(CaseKind::Reconsideration, Said::default()).await;
        for n in 0..9 {
            world.add(&id, &format!("{n}.txt"), b"a page").await;
        }
        for name in ["large-1.txt", "large-2.txt"] {
            let refused = send(&app, &id, name, None, text(2 * LIMIT, &Arc::default())).await;
            assert_eq!(refusal(&refused), "too_large");
        }
        assert_eq!(refusal(&world.try_add(&id, "0.txt", b"a page").await), "duplicate_name");
        assert_eq!(refusal(&world.try_add(&id, "9.txt", b"a page").await), "taken");
        assert_eq!(refusal(&world.try_add(&id, "10.txt", b"a page").await), "too_many_files");
    }
}

on_both! {
    async fn int_04_a_name_that_a_person_reads_as_one_already_there_is_refused(world: &World) {
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        for (first, second) in [
            ("Report.txt", "REPORT.TXT"),
            ("caf\u{e9}.txt", "cafe\u{301}.txt"),
            ("scan.txt", "C:\\scans\\scan.txt"),
            ("page.txt", "../../page.txt"),
            ("nul\0.txt", "NUL\0.txt"),
        ] {
            assert_eq!(refusal(&world.try_add(&id, first, b"a page").await), "taken", "{first:?}");
            assert_eq!(refusal(&world.try_add(&id, second, b"a page").await), "duplicate_name", "{second:?}");
        }
        let names: Vec<_> = world.view(&id).await.documents.into_iter().map(|d| d.file_name).collect();
        assert_eq!(names, ["Report.txt", "caf\u{e9}.txt", "scan.txt", "page.txt", "nul\0.txt"], "kept raw");
        let other = world.open(CaseKind::Appeal, Said::default()).await;
        assert_eq!(refusal(&world.try_add(&other, "report.txt", b"a page").await), "taken");
    }
}

on_both! {
    async fn int_10_an_upload_that_breaks_off_leaves_nothing_and_its_name_is_free(world: &World) {
        for (after, announced) in [(Err(gone()), None), (Err(gone()), Some(1_000)), (Ok(Bytes::new()), Some(1_000))] {
            let id = world.open(CaseKind::Appeal, Said::default()).await;
            let sent = send(&world.app, &id, "a.txt", announced, broken(after)).await;
            assert_eq!(refusal(&sent), "broken");
            assert_nothing_came(world, &id, ReasonCode::Incomplete).await;
        }
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        assert_eq!(refusal(&send(&world.app, &id, "a.txt", Some(3), broken(Ok(Bytes::new()))).await), "broken");
        assert_eq!(refusal(&world.try_add(&id, "a.txt", b"all of it").await), "taken");
        let view = world.submit(&id).await;
        assert_eq!(view.state, SubmissionState::Accepted, "what never came is no refusal of a file");
    }
}

on_both! {
    async fn int_10_an_upload_whose_request_is_dropped_is_ended_at_once(world: &World) {
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let endless = broken(Ok(Bytes::new())).chain(stream::pending());
        let mut sending = Box::pin(send(&world.app, &id, "a.txt", None, endless));
        let receiving = async || world.view(&id).await.documents.first().map(|d| d.state);
        while receiving().await.is_none() || spooled(world).is_empty() {
            assert!(sending.as_mut().now_or_never().is_none());
        }
        drop(sending);
        for _ in 0..500 {
            if receiving().await == Some(DocumentState::Rejected) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_nothing_came(world, &id, ReasonCode::Incomplete).await;
        assert_eq!(refusal(&world.try_add(&id, "a.txt", b"all of it").await), "taken");
    }
}

on_both! {
    async fn an_upload_that_drips_or_stops_is_ended(world: &World) {
        let mut plan = plan();
        plan.receive.grace_s = 0;
        let app = node(world, "impatient", plan, scanner().await).await;
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let stopped = broken(Ok(Bytes::new())).chain(stream::pending());
        assert_eq!(refusal(&send(&app, &id, "a.txt", None, stopped).await), "too_slow");
        assert_nothing_came(world, &id, ReasonCode::Incomplete).await;
    }
}

on_both! {
    async fn a_submission_that_was_sent_takes_no_more_files(world: &World) {
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        world.add(&id, "a.txt", b"in time").await;
        let intake = world.app.intake.clone();
        let to = id.clone();
        let late = stream::once(async { Ok(Bytes::from_static(b"too ")) }).chain(stream::once(async move {
            intake.submit("test", &to).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(Bytes::from_static(b"late"))
        }));
        assert_eq!(refusal(&send(&world.app, &id, "b.txt", None, late.boxed()).await), "closed");
        assert_eq!(refusal(&world.try_add(&id, "c.txt", b"much too late").await), "closed");
        world.settle().await;
        let view = world.view(&id).await;
        assert_eq!(view.state, SubmissionState::Accepted);
        let expected = [("a.txt", DocumentState::Unmatched), ("b.txt", DocumentState::Rejected)];
        assert_eq!(states(&view), expected, "only what was accepted is in it");
        assert_eq!(texts(world, "SELECT subject FROM receipt").await, [view.documents[0].id.as_str()]);
    }
}

on_both! {
    async fn int_21_paper_and_fax_know_no_limits_of_uploads_and_are_held_instead_of_refused(world: &World) {
        let app = node(world, "small", small(), scanner().await).await;
        for channel in [Channel::Scan, Channel::Fax] {
            let id = open_by(world, channel, CaseKind::Reconsideration, Said::default()).await;
            for n in 0..11 {
                world.add(&id, &format!("{n}.txt"), format!("{channel} page {n}").as_bytes()).await;
            }
            let large = send(&app, &id, "large.txt", Some(2 * LIMIT as u64), text(2 * LIMIT, &Arc::default())).await;
            assert_eq!(refusal(&large), "taken");
            let zip = world.add(&id, "records.zip", &made("zip")).await;
            settle(world).await;
            let document = world.document(&zip).await;
            assert_eq!(document.state, DocumentState::Held);
            assert_eq!(document.reason.map(|r| r.code), Some(ReasonCode::TypeNotAccepted));
            assert_eq!(world.submit(&id).await.state, SubmissionState::Held);
        }
        let upload = world.open(CaseKind::Reconsideration, Said::default()).await;
        let zip = world.add(&upload, "records.zip", &made("zip")).await;
        world.settle().await;
        assert_eq!(world.document(&zip).await.state, DocumentState::Rejected);
    }
}

on_both! {
    async fn int_20_the_legal_receipt_time_is_kept_apart_from_our_own(world: &World) {
        let id = open_by(world, Channel::Fax, CaseKind::Appeal, Said::default()).await;
        let faxed = "2026-11-18T22:14:09Z".parse().unwrap();
        let file_name = FileName::new("fax.txt").unwrap();
        let arriving = Arriving {
            to: Destination::Submission(&id),
            document: None,
            file_name: &file_name,
            announced_bytes: None,
            received_at: Some(faxed),
            actor: "test",
        };
        let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"one page"))]);
        let receipt = world.app.intake.receive(arriving, body).await.unwrap();
        world.advance(Duration::from_secs(3_600));
        let upload = world.add(&id, "upload.txt", b"another page").await;
        world.submit(&id).await;
        let fax = world.document(&receipt.document).await;
        assert_eq!((fax.received_at, fax.accepted_at), (faxed, Some(crate::support::start())));
        let upload = world.document(&upload).await;
        assert_eq!(upload.accepted_at, Some(upload.received_at));
    }
}

on_both! {
    async fn int_10_what_was_accepted_does_not_need_the_spool(world: &World) {
        world.load_samples().await;
        let id = world.open(CaseKind::Reconsideration, nakamura()).await;
        world.add(&id, "letter.txt", b"Please look at this claim again.").await;
        for name in spooled(world) {
            std::fs::remove_file(world.app.intake.spool.dir().join(name)).unwrap();
        }
        let other = node(world, "other", plan(), scanner().await).await;
        world.app.intake.submit("test", &id).await.unwrap();
        other.engine.run_until_idle().await.unwrap();
        let view = world.view(&id).await;
        assert_eq!((view.state, view.documents[0].state), (SubmissionState::Accepted, DocumentState::Matched));
        assert!(objects_in(world, Place::Incoming).await.is_empty());
        assert_eq!(objects_in(world, Place::Content).await.len(), 1);
    }
}

on_both! {
    async fn int_12_bytes_changed_in_the_store_are_neither_judged_nor_stored(world: &World) {
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let document = world.add(&id, "letter.txt", b"what was received").await;
        std::fs::remove_file(world.app.intake.spool.path(&document)).unwrap();
        let path = world.settings.data_dir.join("objects/incoming").join(document.as_str());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"what was tampered").unwrap();
        world.submit(&id).await;
        assert_eq!(work_of(world, &document).await, ["sniff dead 1"]);
        assert_eq!(world.document(&document).await.state, DocumentState::Received);
        assert!(objects_in(world, Place::Content).await.is_empty());
        assert_eq!(told(world, document.as_str(), "work.dead").await.len(), 1);

        std::fs::write(&path, b"what was received").unwrap();
        review::replay(world.db(), world.stamp(), document.as_str(), "sniff").await.unwrap();
        world.settle().await;
        assert_eq!(world.document(&document).await.state, DocumentState::Unmatched);
        assert_eq!(world.view(&id).await.state, SubmissionState::Accepted);
    }
}
