//! One writer at a time, and what becomes of one that goes away.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use lettercase::db::uploads::UploadState;
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

/// Waits until the upload is written to.
async fn until_locked(world: &World, upload: &lettercase::db::uploads::Upload) {
    for _ in 0..1_000 {
        if refusal(&look(&world.app, upload).await) == "locked" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nobody writes");
}

on_both! {
    async fn of_two_writers_the_second_is_told_that_there_is_a_first(world: &World) {
        let bytes = text(200_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        let (feed, body) = fed();
        let first = world.app.intake.append_to_upload(at(&upload, 0, 100_000), body);
        let meanwhile = async {
            until_locked(world, &upload).await;
            let other = node(world, "other", plan(), scanner().await).await;
            // the clock has moved past the lease: the first one's is renewed only after a third of it
            sql(world, "UPDATE upload SET lease_until = lease_until + 3600000000").await;
            for app in [&world.app, &other] {
                assert_eq!(refusal(&append(app, &upload, 0, &bytes).await), "locked");
                assert_eq!(refusal(&look(app, &upload).await), "locked", "its offset is about to change");
                assert_eq!(refusal(&app.intake.terminate_upload(&upload.submission_id, &upload.id).await), "locked");
            }
            feed.send(Bytes::copy_from_slice(&bytes[..100_000])).await.unwrap();
            drop(feed);
        };
        let (first, ()) = tokio::join!(first, meanwhile);
        assert_eq!(first.unwrap().offset_bytes, 100_000);
        assert_eq!(refusal(&append(&world.app, &upload, 0, &bytes).await), "conflict at 100000");
        assert_eq!(refusal(&append(&world.app, &upload, 100_001, &bytes[100_001..]).await), "conflict at 100000");
        append(&world.app, &upload, 100_000, &bytes[100_000..]).await.unwrap();
    }
}

on_both! {
    async fn a_writer_that_lost_its_lease_changes_nothing(world: &World) {
        let bytes = text(200_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        let (feed, body) = fed();
        let first = world.app.intake.append_to_upload(at(&upload, 0, 100_000), body);
        let meanwhile = async {
            until_locked(world, &upload).await;
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
    until_locked(&world, &upload).await;
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
