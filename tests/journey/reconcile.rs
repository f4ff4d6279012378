//! The reconcilers: what a crash left behind, and what newer signatures find.

use std::time::Duration;

use lettercase::db::contents::{self, Content, ContentState};
use lettercase::db::documents::{self, Change, Judged, NewDocument};
use lettercase::db::submissions;
use lettercase::intake::reconcile::Mended;
use lettercase::model::case::CaseKind;
use lettercase::model::document::{Channel, DocumentState, FileName};
use lettercase::model::ids::{DocumentId, Sha256, SubmissionId};
use lettercase::model::judgement::{FileType, Flag, ReasonCode};
use lettercase::model::submission::{Said, SubmissionState};
use lettercase::outside::objects::{ObjectKey, Place};
use sha2::Digest;

use super::{made, no_scanner, node, objects_in, refusal, settle, sql, told, work_of};
use crate::hostile::build::{pdf, zlib};
use crate::on_both;
use crate::support::{World, eicar, plan};

async fn reconcile(world: &World) -> Mended {
    world.app.intake.reconcile("ours").await.unwrap()
}

/// The row of a document whose bytes are about to come, of a process that then dies.
async fn receiving(world: &World, to: &SubmissionId, name: &str) -> DocumentId {
    let id: DocumentId = world.stamp().ctx.new_id().parse().unwrap();
    let mut tx = world.db().begin().await.unwrap();
    assert!(submissions::reserve_file(&mut tx, to, 10).await.unwrap());
    let new = NewDocument {
        said: None,
        parent_id: None,
        batch_id: None,
        id: &id,
        brand: &world.settings.brand,
        submission_id: Some(to),
        channel: Channel::Upload,
        file_name: &FileName::new(name).unwrap(),
        received_at: world.stamp().ctx.now(),
        node: "gone",
    };
    assert!(documents::insert(&mut tx, world.stamp(), &new).await.unwrap());
    tx.commit().await.unwrap();
    id
}

on_both! {
    async fn int_10_an_upload_whose_node_died_is_ended_after_a_while_and_its_name_is_free(world: &World) {
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let torn = receiving(world, &id, "a.txt").await;
        world.advance(Duration::from_secs(1_200));
        assert_eq!(reconcile(world).await, Mended::default(), "it may still be coming");
        assert_eq!(refusal(&world.try_add(&id, "a.txt", b"again").await), "duplicate_name");
        world.advance(Duration::from_secs(1));
        assert_eq!(reconcile(world).await, Mended { abandoned: 1, ..Mended::default() });
        assert_eq!(reconcile(world).await, Mended::default(), "once");
        let torn = world.document(&torn).await;
        assert_eq!(torn.state, DocumentState::Rejected);
        assert_eq!(torn.reason.map(|r| r.code), Some(ReasonCode::Incomplete));
        for n in 0..9 {
            world.add(&id, &format!("{n}.txt"), b"a page").await;
        }
        assert_eq!(refusal(&world.try_add(&id, "a.txt", b"again").await), "taken", "name and place are free");
    }
}

on_both! {
    async fn int_18_a_document_without_work_is_put_to_work_where_it_was(world: &World) {
        let blind = node(world, "blind", plan(), no_scanner()).await;
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let scanning = world.add(&id, "a.txt", b"a page").await;
        blind.engine.run_until_idle().await.unwrap();
        let received = world.add(&id, "b.txt", b"a page").await;
        sql(world, "DELETE FROM work").await;
        world.advance(Duration::from_secs(121));
        assert_eq!(reconcile(world).await.stuck, 2);
        assert_eq!(reconcile(world).await.stuck, 0, "what has work is left alone");
        assert_eq!(work_of(world, &scanning).await, ["scan ready 0"]);
        assert_eq!(work_of(world, &received).await, ["sniff ready 0"]);
        settle(world).await;
        assert_eq!(world.submit(&id).await.state, SubmissionState::Accepted);
    }
}

on_both! {
    async fn incoming_objects_that_nothing_needs_are_swept_and_the_others_kept(world: &World) {
        let intake = &world.app.intake;
        let mut orphans = Vec::new();
        for _ in 0..2 {
            let id: DocumentId = world.stamp().ctx.new_id().parse().unwrap();
            put(world, &ObjectKey::incoming(&id), b"an orphan").await;
            orphans.push(id);
        }
        let blind = node(world, "blind", plan(), no_scanner()).await;
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let waiting = world.add(&id, "a.txt", b"a page").await;
        let held = world.add(&id, "template.doc", &made("doc-with-macros")).await;
        blind.engine.run_until_idle().await.unwrap();
        let untouched = world.add(&id, "b.txt", b"another page").await;
        assert_eq!(reconcile(world).await.orphans, 0, "none is old enough");
        world.advance(Duration::from_secs(3_601));
        assert_eq!(reconcile(world).await.orphans, 2);
        let mut kept = [waiting, held, untouched].map(String::from);
        kept.sort_unstable();
        let mut left = objects_in(world, Place::Incoming).await;
        left.sort_unstable();
        assert_eq!(left, kept);
        assert!(intake.objects.head(&ObjectKey::incoming(&orphans[0])).await.unwrap().is_none());
    }
}

on_both! {
    async fn the_reconcilers_work_on_one_node_at_a_time(world: &World) {
        let second = node(world, "second", plan(), no_scanner()).await;
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        assert_eq!(reconcile(world).await, Mended::default());
        receiving(world, &id, "a.txt").await;
        sql(world, "UPDATE document SET created_at = 0").await;
        assert_eq!(second.intake.reconcile("theirs").await.unwrap(), Mended::default());
        assert_eq!(reconcile(world).await.abandoned, 1);
        receiving(world, &id, "a.txt").await;
        sql(world, "UPDATE document SET created_at = 0").await;
        world.advance(Duration::from_secs(91));
        assert_eq!(second.intake.reconcile("theirs").await.unwrap().abandoned, 1, "the lease has run out");
    }
}

async fn put(world: &World, key: &ObjectKey, bytes: &[u8]) {
    // the store links the file: each has one of its own
    let path = world.dir.path().join(world.stamp().ctx.new_id());
    std::fs::write(&path, bytes).unwrap();
    world.app.intake.objects.put_file(key, &path, bytes.len() as u64, &hash(bytes)).await.unwrap();
}

fn hash(bytes: &[u8]) -> Sha256 {
    hex::encode(sha2::Sha256::digest(bytes)).parse().unwrap()
}

/// Two documents of bytes that older signatures found clean: both stored, the content in its place.
async fn let_in(world: &World, bytes: &[u8], file_type: FileType, flags: Vec<Flag>) -> Vec<DocumentId> {
    let (sha256, brand) = (hash(bytes), world.settings.brand.clone());
    put(world, &ObjectKey::content(&brand, &sha256), bytes).await;
    let judged = Judged { signature: None, engine: "ClamAV 1.4.6".into(), signatures: "old-1".into() };
    let size_bytes = bytes.len() as u64;
    let mut let_in = Vec::new();
    for name in ["a", "b"] {
        let to = world.open(CaseKind::Appeal, Said::default()).await;
        let id = receiving(world, &to, &format!("{name}.{file_type}")).await;
        let mut tx = world.db().begin().await.unwrap();
        let bytes = Some((size_bytes, sha256.clone(), None));
        let changes = [
            (DocumentState::Received, Change { bytes, ..Change::default() }),
            (DocumentState::Scanning, Change { file_type: Some((file_type, flags.clone())), ..Change::default() }),
            (DocumentState::Stored, Change { judged: Some(judged.clone()), ..Change::default() }),
        ];
        for (state, change) in changes {
            let document = documents::get(&mut tx, &id).await.unwrap().unwrap();
            documents::transition(&mut tx, world.stamp(), &document, state, change).await.unwrap();
        }
        let content = Content {
            brand: brand.clone(),
            sha256: sha256.clone(),
            size_bytes,
            state: ContentState::Clean,
            version_id: None,
            judged: judged.clone(),
        };
        contents::put(&mut tx, world.stamp(), &content).await.unwrap();
        tx.commit().await.unwrap();
        let_in.push(id);
    }
    let_in
}

async fn assert_barred(world: &World, documents: &[DocumentId]) {
    world.settle().await;
    for id in documents {
        let document = world.document(id).await;
        assert_eq!(document.state, DocumentState::Quarantined);
        assert!(document.signature.is_some());
        assert_ne!(document.signatures.as_deref(), Some("old-1"));
        assert_eq!(told(world, id.as_str(), "document.quarantined").await.len(), 1);
    }
    assert!(objects_in(world, Place::Content).await.is_empty());
    assert_eq!(objects_in(world, Place::Quarantine).await.len(), 1);
}

on_both! {
    async fn int_12_newer_signatures_bar_what_older_ones_let_in_with_every_document_of_it(world: &World) {
        let documents = let_in(world, &eicar(), FileType::Txt, Vec::new()).await;
        let mended = reconcile(world).await;
        assert_eq!((mended.rescanned, mended.infected), (1, 1));
        assert_barred(world, &documents).await;
        assert_eq!(reconcile(world).await, Mended::default());
        let sender = world.document(&documents[0]).await.submission_id.unwrap();
        assert_eq!(world.submit(&sender).await.state, SubmissionState::FailedVirus);
    }
}

on_both! {
    async fn int_12_newer_signatures_look_into_what_is_embedded_too(world: &World) {
        // as common writers make it: the scanner itself misses it
        let packed = zlib(&eicar());
        let head = format!("/Type /EmbeddedFile /Params << /CheckSum <{}> >> /Filter /FlateDecode", "0a".repeat(16));
        let bytes = pdf::with_attachment(pdf::stream(&head, &packed));
        let documents = let_in(world, &bytes, FileType::Pdf, vec![Flag::EmbeddedFiles]).await;
        let mended = reconcile(world).await;
        assert_eq!((mended.rescanned, mended.infected), (1, 1));
        assert_barred(world, &documents).await;
    }
}

on_both! {
    async fn int_12_clean_content_is_marked_with_the_signatures_that_looked_last(world: &World) {
        let documents = let_in(world, b"a page", FileType::Txt, Vec::new()).await;
        let mended = reconcile(world).await;
        assert_eq!((mended.rescanned, mended.infected), (1, 0));
        assert_eq!(reconcile(world).await, Mended::default());
        assert_eq!(world.document(&documents[0]).await.state, DocumentState::Stored);
    }
}

on_both! {
    async fn int_13_bytes_let_in_by_older_signatures_are_barred_when_they_come_again(world: &World) {
        let mut documents = let_in(world, &eicar(), FileType::Txt, Vec::new()).await;
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        documents.push(world.add(&id, "again.txt", &eicar()).await);
        assert_eq!(world.submit(&id).await.state, SubmissionState::FailedVirus);
        assert_barred(world, &documents).await;
    }
}

on_both! {
    async fn a_spool_file_whose_document_went_on_elsewhere_is_swept_and_one_still_needed_is_kept(world: &World) {
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let waiting = world.add(&id, "waits.txt", b"a page").await;
        let done = world.add(&id, "done.txt", b"another page").await;
        world.settle().await;
        let held = world.add(&id, "new.txt", b"a third page").await;
        let spool = &world.app.intake.spool;
        // as after the other node's store stage: the document is stored, the file is still here
        std::fs::write(spool.path(&done), b"another page").unwrap();
        assert_eq!(reconcile(world).await.spooled, 0, "its row may be about to come");
        world.advance(Duration::from_secs(3_601));
        assert_eq!(reconcile(world).await.spooled, 1);
        assert!(!spool.path(&done).exists() && spool.path(&held).exists());
        assert_eq!(world.document(&waiting).await.state, DocumentState::Stored);
    }
}

on_both! {
    async fn int_13_infected_bytes_that_a_crash_left_in_content_are_swept(world: &World) {
        let documents = let_in(world, &eicar(), FileType::Txt, Vec::new()).await;
        reconcile(world).await;
        put(world, &ObjectKey::content(&world.settings.brand, &hash(&eicar())), &eicar()).await;
        assert_eq!(reconcile(world).await, Mended { orphans: 1, ..Mended::default() });
        assert_barred(world, &documents).await;
    }
}

on_both! {
    async fn int_12_content_that_can_not_be_judged_keeps_no_other_waiting(world: &World) {
        // the first in order has no object; with one content a look it would come first each time
        let_in(world, b"a page", FileType::Txt, Vec::new()).await;
        let_in(world, b"another page", FileType::Txt, Vec::new()).await;
        let mut hashes = [hash(b"a page"), hash(b"another page")];
        hashes.sort();
        let key = ObjectKey::content(&world.settings.brand, &hashes[0]);
        let objects = &world.app.intake.objects;
        let kept = objects.get_bytes(&key, 100).await.unwrap().unwrap();
        objects.delete(&key).await.unwrap();
        let mut plan = plan();
        plan.reconcile.rescan_batch = 1;
        let app = node(world, "one-a-look", plan, world.app.intake.scanner.clone()).await;
        let mut rescanned = 0;
        for _ in 0..3 {
            rescanned += app.intake.reconcile("theirs").await.unwrap().rescanned;
        }
        assert_eq!(rescanned, 1, "the other one was judged");
        put(world, &key, &kept).await;
    }
}
