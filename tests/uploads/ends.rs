//! How an upload ends, and that nothing is left of it.

use std::time::Duration;

use lettercase::db::uploads::UploadState;
use lettercase::model::case::CaseKind;
use lettercase::model::document::DocumentState;
use lettercase::model::submission::{Said, SubmissionState};
use lettercase::outside::objects::{ObjectKey, Place};

use super::{append, begin, look, reconcile, refusal, text, try_begin};
use crate::journey::{objects_in, sql, texts};
use crate::on_both;
use crate::support::World;

const HOUR: Duration = Duration::from_secs(3_600);

/// Nothing of the upload is left but how it ended, and in the end not that.
async fn assert_swept(world: &World, upload: &lettercase::db::uploads::Upload) {
    reconcile(world).await;
    assert!(objects_in(world, Place::Parts).await.is_empty(), "a part is left");
    assert!(texts(world, "SELECT upload_id FROM upload_part").await.is_empty());
    world.advance(49 * HOUR);
    reconcile(world).await;
    assert_eq!(refusal(&look(&world.app, upload).await), "not_found");
    assert!(texts(world, "SELECT file_name FROM upload").await.is_empty(), "file names are health data");
}

on_both! {
    async fn an_upload_that_is_not_whole_in_time_ends_and_its_parts_are_destroyed(world: &World) {
        let bytes = text(200_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        append(&world.app, &upload, 0, &bytes[..100_000]).await.unwrap();
        assert_eq!(upload.expires_at, crate::support::start() + jiff::SignedDuration::from_hours(24));
        world.advance(24 * HOUR - Duration::from_secs(1));
        reconcile(world).await;
        assert_eq!(look(&world.app, &upload).await.unwrap().offset_bytes, 100_000);
        world.advance(Duration::from_secs(1));
        assert_eq!(refusal(&look(&world.app, &upload).await), "expired", "told before a reconciler has looked");
        assert_eq!(refusal(&append(&world.app, &upload, 100_000, &bytes[100_000..]).await), "expired");
        world.advance(Duration::from_secs(1));
        reconcile(world).await;
        assert_eq!(refusal(&look(&world.app, &upload).await), "expired");
        assert_eq!(refusal(&append(&world.app, &upload, 100_000, &bytes[100_000..]).await), "expired");
        assert!(world.view(&upload.submission_id).await.documents.is_empty());
        assert_swept(world, &upload).await;
    }
}

on_both! {
    async fn an_upload_that_is_given_up_is_gone_with_its_parts(world: &World) {
        let bytes = text(200_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        append(&world.app, &upload, 0, &bytes[..100_000]).await.unwrap();
        assert_eq!(objects_in(world, Place::Parts).await.len(), 1);
        for _ in 0..2 {
            world.app.intake.terminate_upload(&upload.submission_id, &upload.id).await.unwrap();
            assert!(objects_in(world, Place::Parts).await.is_empty());
        }
        assert_eq!(refusal(&look(&world.app, &upload).await), "terminated");
        assert_eq!(refusal(&append(&world.app, &upload, 100_000, &bytes[100_000..]).await), "terminated");
        let whole = begin(world, "b.txt", bytes.len()).await;
        append(&world.app, &whole, 0, &bytes).await.unwrap();
        let taken = world.app.intake.terminate_upload(&whole.submission_id, &whole.id).await;
        assert_eq!(refusal(&taken), "conflict at 200000", "a document is not taken away with its upload");
        let other = world.open(CaseKind::Appeal, Said::default()).await;
        let elsewhere = world.app.intake.terminate_upload(&other, &whole.id).await;
        assert_eq!(refusal(&elsewhere), "not_found", "an upload is only where it was begun");
        assert_swept(world, &upload).await;
    }
}

on_both! {
    async fn int_04_a_refusal_in_the_end_is_told_to_whoever_asks(world: &World) {
        let bytes = text(200_000);
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let upload = try_begin(&world.app, &id, "a.txt", bytes.len()).await.unwrap();
        let same_name = try_begin(&world.app, &id, "A.TXT", bytes.len()).await.unwrap();
        append(&world.app, &same_name, 0, &bytes[..100_000]).await.unwrap();
        append(&world.app, &upload, 0, &bytes).await.unwrap();
        for _ in 0..2 {
            let refused = append(&world.app, &same_name, 100_000, &bytes[100_000..]).await;
            assert_eq!(refusal(&refused), "refused: duplicate_name");
            assert_eq!(refusal(&look(&world.app, &same_name).await), "refused: duplicate_name");
        }
        assert_eq!(world.view(&id).await.documents.len(), 1);
        assert_swept(world, &same_name).await;
    }
}

on_both! {
    async fn an_upload_of_a_submission_that_was_sent_ends(world: &World) {
        let bytes = text(200_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        append(&world.app, &upload, 0, &bytes[..100_000]).await.unwrap();
        world.add(&upload.submission_id, "b.txt", b"in time").await;
        assert_eq!(world.submit(&upload.submission_id).await.state, SubmissionState::Accepted);
        assert_eq!(refusal(&append(&world.app, &upload, 100_000, &bytes[100_000..]).await), "closed");
        assert_eq!(refusal(&look(&world.app, &upload).await), "closed");
        assert_swept(world, &upload).await;
    }
}

on_both! {
    async fn completing_waits_for_a_store_that_is_away_and_there_is_one_document_then(world: &World) {
        let bytes = text(200_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        append(&world.app, &upload, 0, &bytes[..100_000]).await.unwrap();
        let incoming = world.settings.data_dir.join("objects/incoming");
        let aside = world.settings.data_dir.join("aside");
        std::fs::rename(&incoming, &aside).unwrap();
        std::fs::write(&incoming, b"no directory").unwrap();
        assert_eq!(refusal(&append(&world.app, &upload, 100_000, &bytes[100_000..]).await), "pending");
        assert_eq!(refusal(&look(&world.app, &upload).await), "pending", "not tried before its time");
        reconcile(world).await;
        world.advance(Duration::from_secs(6));
        assert_eq!(refusal(&look(&world.app, &upload).await), "pending");
        world.advance(25 * HOUR);
        reconcile(world).await;
        assert_eq!(refusal(&look(&world.app, &upload).await), "pending", "what was accepted has no time to be over");
        std::fs::remove_file(&incoming).unwrap();
        std::fs::rename(&aside, &incoming).unwrap();
        world.advance(Duration::from_secs(11));
        reconcile(world).await;
        assert_eq!(refusal(&look(&world.app, &upload).await), "pending", "the pause has doubled twice");
        world.advance(Duration::from_secs(11));
        reconcile(world).await;
        let done = look(&world.app, &upload).await.unwrap();
        assert_eq!(done.state, UploadState::Complete);
        let view = world.view(&upload.submission_id).await;
        let received: Vec<_> = view.documents.iter().filter(|d| d.state == DocumentState::Received).collect();
        assert_eq!(received.len(), 1, "{view:?}");
        assert_eq!(received[0].id, done.document_id);
        assert_eq!(view.documents.len(), 4, "each try that failed is told");
    }
}

on_both! {
    async fn parts_that_are_gone_or_changed_end_the_upload(world: &World) {
        let bytes = text(300_000);
        for change in ["gone", "changed"] {
            let upload = begin(world, "a.txt", bytes.len()).await;
            append(&world.app, &upload, 0, &bytes[..100_000]).await.unwrap();
            append(&world.app, &upload, 100_000, &bytes[100_000..200_000]).await.unwrap();
            let second = objects_in(world, Place::Parts).await.pop().unwrap();
            let path = world.settings.data_dir.join("objects/parts").join(second);
            std::fs::remove_file(&path).unwrap();
            if change == "changed" {
                std::fs::write(&path, &bytes[..100_000]).unwrap();
            }
            let refused = append(&world.app, &upload, 200_000, &bytes[200_000..]).await;
            assert_eq!(refusal(&refused), "refused: incomplete", "{change}");
            assert!(objects_in(world, Place::Parts).await.is_empty());
            let view = world.view(&upload.submission_id).await;
            assert!(view.documents.iter().all(|d| d.state == DocumentState::Rejected), "{view:?}");
        }
    }
}

on_both! {
    async fn an_object_that_never_counted_is_swept_when_its_upload_has_ended(world: &World) {
        let upload = begin(world, "a.txt", 100_000).await;
        let key = ObjectKey::part(&upload.id, 0, 7);
        world.app.intake.objects.put_bytes(&key, b"of a writer that was killed".to_vec()).await.unwrap();
        let nobodys = ObjectKey::part(&world.stamp().ctx.new_id().parse().unwrap(), 0, 7);
        world.app.intake.objects.put_bytes(&nobodys, b"of no upload".to_vec()).await.unwrap();
        reconcile(world).await;
        assert_eq!(objects_in(world, Place::Parts).await, [key.name()], "it may be about to count");
        sql(world, "UPDATE upload SET expires_at = 0").await;
        reconcile(world).await;
        assert!(objects_in(world, Place::Parts).await.is_empty());
    }
}
