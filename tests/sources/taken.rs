//! A file is one document; another file that looks the same is another one; two nodes share the work.

use std::time::{Duration, SystemTime};

use lettercase::db::DbError;
use lettercase::intake::sources::SourceError;
use lettercase::intake::sources::Sources;
use lettercase::model::document::{Channel, DocumentState};
use lettercase::outside::objects::Place as Store;
use serde_json::json;

use super::{Kind, Place, accepted, is_empty, look, look_settled, only, open, problems};
use crate::journey::{node, objects_in, texts};
use crate::on_both;
use crate::support::{World, plan, scanner};

async fn taken_again(world: &World, kind: Kind) {
    let place = Place::new(kind).await;
    let sources = open(&world.app, place.setting(Channel::Scan, json!({}))).await;
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    for times in 1..=3 {
        place.drop_file("größe 1+1.txt", b"the same bytes");
        // as a copy that keeps the time: nothing tells it from the one before
        std::fs::File::options()
            .write(true)
            .open(place.dir.join("größe 1+1.txt"))
            .unwrap()
            .set_modified(written)
            .unwrap();
        // an object is complete at once, a file when it has settled
        let taken = look(&sources).await.taken + look_settled(world, &sources).await.taken;
        assert_eq!(taken, 1, "{kind:?}");
        assert_eq!(look_settled(world, &sources).await.taken, 0, "{kind:?}");
        assert_eq!(accepted(world).await["größe 1+1.txt"].len(), times, "{kind:?}");
        assert!(is_empty(&place.dir), "{kind:?}");
    }
    assert_eq!(place.lies(), ["done/ID/größe 1+1.txt"; 3], "{kind:?}");
    world.settle().await;
    assert_eq!(objects_in(world, Store::Content).await.len(), 1, "{kind:?}: bytes are stored once");
    assert!(problems(world).await.is_empty());
}

on_both! {
    async fn a_file_that_is_dropped_again_is_another_document_of_the_same_bytes(world: &World) {
        taken_again(world, Kind::Folder).await;
    }
}

on_both! {
    async fn an_object_that_is_dropped_again_is_another_document_of_the_same_bytes(world: &World) {
        taken_again(world, Kind::Bucket).await;
    }
}

on_both! {
    async fn int_20_without_a_sidecar_a_file_was_received_when_it_was_laid_there(world: &World) {
        let place = Place::new(Kind::Folder).await;
        let sources = open(&world.app, place.setting(Channel::Fax, json!({}))).await;
        let written = "2026-11-19T08:00:00Z".parse::<jiff::Timestamp>().unwrap();
        place.drop_file("fax.txt", b"a fax");
        let file = std::fs::File::options().write(true).open(place.dir.join("fax.txt")).unwrap();
        file.set_modified(written.into()).unwrap();
        look_settled(world, &sources).await;
        let document = only(world).await;
        assert_eq!((document.received_at, document.channel), (written, Channel::Fax));
        world.settle().await;
        assert_eq!(only(world).await.state, DocumentState::Unmatched);
    }
}

async fn many(place: &Place, sources: [&Sources; 2], world: &World) {
    for n in 0..20 {
        place.drop_file(&format!("{n}.txt"), format!("letter {n}").as_bytes());
    }
    let both = async || {
        let [one, other] = sources;
        tokio::join!(one.look(&one.all()[0]), other.look(&other.all()[0]))
    };
    // settled after the first look; later the lease of one has run out, and it does not know
    for passed in [11, 61, 61, 61, 61, 61] {
        let (one, other) = both().await;
        for looked in [one, other] {
            // one of two that take the same file is too late: it looks again, as a node does
            assert!(
                matches!(looked, Ok(_) | Err(SourceError::Receive(_) | SourceError::Db(DbError::Stale { .. }))),
                "{looked:?}"
            );
        }
        world.advance(Duration::from_secs(passed));
    }
    let documents = accepted(world).await;
    assert_eq!(documents.len(), 20, "{:?}", place.kind);
    assert!(documents.values().all(|all| all.len() == 1), "{:?}", place.kind);
    assert!(is_empty(&place.dir), "{:?}: {:?}", place.kind, place.lies());
}

on_both! {
    async fn a_file_that_can_not_be_put_away_stands_in_no_others_way(world: &World) {
        let place = Place::new(Kind::Bucket).await;
        let sources = open(&world.app, place.setting(Channel::Scan, json!({}))).await;
        let done = place.dir.join("done");
        place.drop_file("a.txt", b"the first");
        std::fs::write(&done, b"in its way").unwrap();
        assert!(sources.look(&sources.all()[0]).await.is_err(), "where nothing can be put away, the place is told");
        std::fs::remove_file(&done).unwrap();
        // now in the way of this one only
        std::fs::create_dir(&done).unwrap();
        let id = accepted(world).await["a.txt"][0].id.clone();
        std::fs::write(done.join(id.as_str()), b"in its way").unwrap();
        place.drop_file("b.txt", b"the second");
        let seen = look(&sources).await;
        assert_eq!((seen.taken, seen.waiting), (1, 1), "{seen:?}");
        std::fs::remove_file(done.join(id.as_str())).unwrap();
        assert_eq!(look(&sources).await.taken, 1);
        for name in ["a.txt", "b.txt"] {
            assert_eq!(accepted(world).await[name].len(), 1, "{name}: no document twice");
        }
        assert_eq!(place.lies(), ["done/ID/a.txt", "done/ID/b.txt"]);
    }
}

on_both! {
    async fn two_nodes_that_watch_one_place_take_each_file_once(world: &World) {
        let other = node(world, "node-2", plan(), scanner().await).await;
        let place = Place::new(Kind::Folder).await;
        let setting = place.setting(Channel::Scan, json!({}));
        let both = [open(&world.app, setting.clone()).await, open(&other, setting).await];
        many(&place, [&both[0], &both[1]], world).await;
    }
}

on_both! {
    /// Both look as if each had the lease: what rests on the rows alone.
    async fn two_nodes_without_their_lease_still_take_each_object_once(world: &World) {
        let mut other = node(world, "node-2", plan(), scanner().await).await;
        // a lease goes by the node's name
        other.intake.node.clone_from(&world.app.intake.node);
        let place = Place::new(Kind::Bucket).await;
        let setting = place.setting(Channel::Scan, json!({}));
        let both = [open(&world.app, setting.clone()).await, open(&other, setting).await];
        many(&place, [&both[0], &both[1]], world).await;
        let doubled = texts(world, "SELECT subject FROM posting GROUP BY subject, to_state HAVING COUNT(*) > 1").await;
        assert!(doubled.is_empty(), "{doubled:?}");
    }
}

on_both! {
    async fn only_one_node_looks_and_another_one_does_when_it_is_gone(world: &World) {
        let other = node(world, "node-2", plan(), scanner().await).await;
        let place = Place::new(Kind::Folder).await;
        let setting = place.setting(Channel::Scan, json!({}));
        let (ours, theirs) = (open(&world.app, setting.clone()).await, open(&other, setting).await);
        assert!(!look(&ours).await.elsewhere);
        assert!(look(&theirs).await.elsewhere);
        world.advance(Duration::from_secs(61));
        assert!(!look(&theirs).await.elsewhere);
        assert!(look(&ours).await.elsewhere);
        theirs.release(&theirs.all()[0]).await.unwrap();
        assert!(!look(&ours).await.elsewhere);
    }
}
