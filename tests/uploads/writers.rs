//! One writer at a time, and what becomes of one that goes away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use lettercase::db::uploads::{self, UploadState};
use lettercase::intake::plan::IntakePlan;
use lettercase::intake::uploads::{Append, Checksum};
use lettercase::model::ids::UploadId;
use lettercase::outside::objects::Place;
use tokio::sync::mpsc;

use super::{append, at, begin, look, refusal, text};
use crate::journey::{node, objects_in, sql};
use crate::on_both;
use crate::support::{On, World, block_on, plan, scanner};

/// A body that is fed by hand; it ends when its sender is dropped.
fn fed() -> (mpsc::Sender<Bytes>, impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send + Unpin + use<>) {
    let (to, from) = mpsc::channel(1);
    let body =
        stream::unfold(from, |mut from: mpsc::Receiver<Bytes>| async move { Some((Ok(from.recv().await?), from)) });
    (to, body.boxed())
}

/// A plan that waits for a writer to give way as long as a slow machine may take.
pub(super) fn patient() -> IntakePlan {
    let mut plan = plan();
    plan.uploads.give_way_ms = 10_000;
    plan
}

/// Waits until the upload is written to. Whoever asks the program would ask the writer to give way.
pub(super) async fn until_locked(world: &World, upload: &UploadId) {
    for _ in 0..1_000 {
        let found = {
            let mut conn = world.db().read().await.unwrap();
            uploads::get(&mut conn, upload).await.unwrap()
        };
        if found.is_some_and(|upload| upload.lease.is_some()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nobody writes");
}

on_both! {
    async fn of_two_writers_the_second_is_told_that_there_is_a_first(world: &World) {
        let mut hasty = plan();
        hasty.uploads.give_way_ms = 100;
        let here = node(world, "here", hasty.clone(), scanner().await).await;
        let there = node(world, "there", hasty, scanner().await).await;
        let bytes = text(200_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        let (feed, body) = fed();
        let first = here.intake.append_to_upload(at(&upload, 0, 100_000), body);
        let over = AtomicBool::new(false);
        // bytes come, slowly: such a writer gives no way
        let feeding = async {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) && sent < 50_000 {
                feed.send(Bytes::copy_from_slice(&bytes[sent..sent + 10])).await.unwrap();
                sent += 10;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            feed.send(Bytes::copy_from_slice(&bytes[sent..100_000])).await.unwrap();
            drop(feed);
        };
        let meanwhile = async {
            until_locked(world, &upload.id).await;
            for app in [&here, &there] {
                assert_eq!(refusal(&append(app, &upload, 0, &bytes).await), "locked");
                assert_eq!(refusal(&look(app, &upload).await), "locked", "its offset is about to change");
                assert_eq!(refusal(&app.intake.terminate_upload(&upload.submission_id, &upload.id).await), "locked");
            }
            over.store(true, Ordering::Relaxed);
        };
        let (first, (), ()) = tokio::join!(first, feeding, meanwhile);
        assert_eq!(first.unwrap().offset_bytes, 100_000);
        assert_eq!(refusal(&append(&world.app, &upload, 0, &bytes).await), "conflict at 100000");
        assert_eq!(refusal(&append(&world.app, &upload, 100_001, &bytes[100_001..]).await), "conflict at 100000");
        append(&world.app, &upload, 100_000, &bytes[100_000..]).await.unwrap();
    }
}

on_both! {
    async fn a_writer_to_whom_nothing_comes_gives_way_to_the_next_request_over_any_node(world: &World) {
        let here = node(world, "here", patient(), scanner().await).await;
        let there = node(world, "there", patient(), scanner().await).await;
        let bytes = text(400_000);
        for (name, app) in [("a.txt", &here), ("b.txt", &there)] {
            let upload = begin(world, name, bytes.len()).await;
            let (feed, body) = fed();
            let first = here.intake.append_to_upload(at(&upload, 0, bytes.len()), body);
            let second = async {
                until_locked(world, &upload.id).await;
                feed.send(Bytes::copy_from_slice(&bytes[..100_000])).await.unwrap();
                let asked = tokio::time::Instant::now();
                // a sender that knows where it was asks by going on, others look first
                if name == "b.txt" {
                    assert_eq!(look(app, &upload).await.unwrap().offset_bytes, 100_000, "what came is kept");
                }
                let done = append(app, &upload, 100_000, &bytes[100_000..]).await;
                assert!(asked.elapsed() < Duration::from_secs(10), "long before receive loses patience");
                done
            };
            let (first, second) = tokio::join!(first, second);
            assert_eq!(refusal(&first), "locked", "it is told that another one writes");
            assert_eq!(second.unwrap().state, UploadState::Complete);
            assert!(objects_in(world, Place::Parts).await.is_empty());
        }
    }
}

on_both! {
    async fn a_writer_with_a_checksum_that_gives_way_leaves_nothing(world: &World) {
        let bytes = text(200_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        let (feed, body) = fed();
        let sent = Append { checksum: Some(Checksum::Sha1([7; 20])), ..at(&upload, 0, bytes.len()) };
        let app = node(world, "here", patient(), scanner().await).await;
        let first = app.intake.append_to_upload(sent, body);
        let second = async {
            until_locked(world, &upload.id).await;
            feed.send(Bytes::copy_from_slice(&bytes[..100_000])).await.unwrap();
            app.intake.terminate_upload(&upload.submission_id, &upload.id).await
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!(refusal(&first), "locked");
        assert_eq!(refusal(&second), "taken");
        assert!(objects_in(world, Place::Parts).await.is_empty());
    }
}

on_both! {
    async fn a_writer_that_lost_its_lease_changes_nothing(world: &World) {
        let bytes = text(200_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        let (feed, body) = fed();
        let first = world.app.intake.append_to_upload(at(&upload, 0, 100_000), body);
        let meanwhile = async {
            until_locked(world, &upload.id).await;
            let other = node(world, "other", plan(), scanner().await).await;
            assert_eq!(append(&other, &upload, 0, &bytes[..70_000]).await.unwrap().offset_bytes, 70_000);
            feed.send(Bytes::copy_from_slice(&bytes[..100_000])).await.unwrap();
            drop(feed);
        };
        let (first, ()) = tokio::join!(first, meanwhile);
        assert_eq!(refusal(&first), "locked");
        assert_eq!(look(&world.app, &upload).await.unwrap().offset_bytes, 70_000);
        assert_eq!(objects_in(world, Place::Parts).await.len(), 2, "two writers, two objects; one counts");
        let done = append(&world.app, &upload, 70_000, &bytes[70_000..]).await.unwrap();
        assert_eq!(done.state, UploadState::Complete);
        world.app.intake.reconcile("test").await.unwrap();
        assert!(objects_in(world, Place::Parts).await.is_empty());
    }
}

on_both! {
    async fn what_a_dropped_request_brought_is_kept(world: &World) {
        let bytes = text(200_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        let (feed, body) = fed();
        let mut sending = Box::pin(world.app.intake.append_to_upload(at(&upload, 0, bytes.len()), body));
        assert!(sending.as_mut().now_or_never().is_none());
        feed.send(Bytes::copy_from_slice(&bytes[..100_000])).await.unwrap();
        // as a server does it when the connection breaks: the request first, then its body
        drop(sending);
        drop(feed);
        let mut kept = None;
        for _ in 0..1_000 {
            kept = look(&world.app, &upload).await.ok().filter(|upload| upload.offset_bytes > 0);
            if kept.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(kept.unwrap().offset_bytes, 100_000);
        append(&world.app, &upload, 100_000, &bytes[100_000..]).await.unwrap();
    }
}

async fn a_dead_writer(on: On) {
    let world = World::new(on).await;
    let bytes = text(200_000);
    let upload = begin(&world, "a.txt", bytes.len()).await;
    let (feed, body) = fed();
    let sending = tokio::spawn({
        let (intake, at) = (world.app.intake.clone(), at(&upload, 0, bytes.len()));
        async move { intake.append_to_upload(at, body).await }
    });
    until_locked(&world, &upload.id).await;
    let world = world.restarted().await;
    assert_eq!(look(&world.app, &upload).await.unwrap().offset_bytes, 0, "the node knows that its writer is gone");
    append(&world.app, &upload, 0, &bytes[..100_000]).await.unwrap();
    drop(feed);
    assert!(sending.await.unwrap().is_err(), "it is no longer the writer");
    append(&world.app, &upload, 100_000, &bytes[100_000..]).await.unwrap();
    world.finish().await;
}

#[test]
fn a_node_that_comes_back_goes_on_at_once_with_what_its_crash_cut_off() {
    block_on(async {
        a_dead_writer(On::Sqlite).await;
        a_dead_writer(On::Postgres).await;
    });
}

on_both! {
    async fn the_upload_of_a_node_that_is_lost_goes_on_when_its_lease_has_run_out(world: &World) {
        let bytes = text(200_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        sql(world, "UPDATE upload SET lease_token = 'lost/0', lease_until = 1795186830000000").await;
        world.advance(Duration::from_secs(29));
        assert_eq!(refusal(&append(&world.app, &upload, 0, &bytes).await), "locked");
        world.advance(Duration::from_secs(2));
        append(&world.app, &upload, 0, &bytes).await.unwrap();
    }
}
