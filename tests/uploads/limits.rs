//! What is refused, and how early.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use lettercase::intake::plan::IntakePlan;
use lettercase::intake::uploads::UploadError;
use lettercase::model::case::CaseKind;
use lettercase::model::document::Channel;
use lettercase::model::submission::Said;
use lettercase::outside::objects::Place;

use super::{append, at, begin, broken, look, refusal, text, try_begin, whole};
use crate::journey::{node, objects_in, open_by};
use crate::on_both;
use crate::support::{plan, scanner};

/// A plan with limits that are quickly reached.
fn small() -> IntakePlan {
    let mut plan = plan();
    plan.limits.appeal.file_bytes = 64 << 10;
    plan.limits.appeal.files = 2;
    plan.uploads.under_way = 3;
    plan
}

on_both! {
    async fn int_05_a_file_over_the_limit_of_its_case_kind_is_refused_before_a_byte_of_it_is_read(world: &World) {
        let app = node(world, "small", small(), scanner().await).await;
        let appeal = world.open(CaseKind::Appeal, Said::default()).await;
        let limit = 64 << 10;
        assert_eq!(refusal(&try_begin(&app, &appeal, "a.txt", limit + 1).await), "too_large");
        assert_eq!(refusal(&try_begin(&app, &appeal, "a.txt", 0).await), "empty");
        let upload = try_begin(&app, &appeal, "a.txt", limit).await.unwrap();
        append(&app, &upload, 0, &text(limit)).await.unwrap();
        let other_kind = world.open(CaseKind::Reconsideration, Said::default()).await;
        assert!(try_begin(&app, &other_kind, "a.txt", limit + 1).await.is_ok());
        let fax = open_by(world, Channel::Fax, CaseKind::Appeal, Said::default()).await;
        assert!(try_begin(&app, &fax, "a.txt", limit + 1).await.is_ok(), "INT-21");
    }
}

on_both! {
    async fn int_05_more_bytes_than_announced_are_refused_and_not_kept(world: &World) {
        let upload = begin(world, "a.txt", 100_000).await;
        let pulled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&pulled);
        let counted = move |body| whole(body).inspect(move |chunk| {
            count.fetch_add(chunk.as_ref().map_or(0, bytes::Bytes::len), Ordering::Relaxed);
        });
        let bytes = text(1_000_000);
        let announced = world.app.intake.append_to_upload(at(&upload, 0, bytes.len()), counted.clone()(&bytes)).await;
        assert_eq!(refusal(&announced), "too_long");
        assert_eq!(pulled.load(Ordering::Relaxed), 0, "nothing is read of what is too long by its own word");
        let unannounced = world.app.intake.append_to_upload(at(&upload, 0, -1), counted(&bytes)).await;
        assert_eq!(refusal(&unannounced), "too_long");
        assert_eq!(pulled.load(Ordering::Relaxed), 110_000, "the rest is not read");
        assert_eq!(look(&world.app, &upload).await.unwrap().offset_bytes, 0);
        assert!(objects_in(world, Place::Parts).await.is_empty());
        append(&world.app, &upload, 0, &bytes[..100_000]).await.unwrap();
    }
}

on_both! {
    async fn what_a_submission_would_not_take_is_refused_before_it_is_sent(world: &World) {
        let app = node(world, "small", small(), scanner().await).await;
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        world.add(&id, "Report.txt", b"a page").await;
        assert_eq!(refusal(&try_begin(&app, &id, "REPORT.TXT", 100).await), "duplicate_name");
        world.add(&id, "b.txt", b"a page").await;
        assert_eq!(refusal(&try_begin(&app, &id, "c.txt", 100).await), "too_many_files");
        world.submit(&id).await;
        assert_eq!(refusal(&try_begin(&app, &id, "c.txt", 100).await), "closed");
        let nowhere = world.stamp().ctx.new_id().parse().unwrap();
        assert_eq!(refusal(&try_begin(&app, &nowhere, "c.txt", 100).await), "not_found");
    }
}

on_both! {
    async fn a_sender_has_so_many_uploads_under_way_and_no_more(world: &World) {
        let app = node(world, "small", small(), scanner().await).await;
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let mut begun = Vec::new();
        for n in 0..3 {
            begun.push(try_begin(&app, &id, &format!("{n}.txt"), 100).await.unwrap());
        }
        assert_eq!(refusal(&try_begin(&app, &id, "3.txt", 100).await), "too_many_under_way");
        append(&app, &begun[0], 0, &text(100)).await.unwrap();
        app.intake.terminate_upload(&id, &begun[1].id).await.unwrap();
        for name in ["3.txt", "4.txt"] {
            assert_eq!(refusal(&try_begin(&app, &id, name, 100).await), "taken");
        }
        assert_eq!(refusal(&try_begin(&app, &id, "5.txt", 100).await), "too_many_under_way");
    }
}

on_both! {
    async fn thousands_of_small_parts_are_not_taken(world: &World) {
        let mut plan = plan();
        plan.uploads.parts = 3;
        let app = node(world, "few", plan, scanner().await).await;
        let bytes = text(300_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        assert_eq!(refusal(&append(&app, &upload, 0, &bytes[..65_535]).await), "part_too_small");
        append(&app, &upload, 0, &bytes[..65_536]).await.unwrap();
        // a line that breaks early brings what it brings, as long as there are parts
        for offset in [65_536, 65_537] {
            let cut = app.intake.append_to_upload(at(&upload, offset, 100_000), broken(&bytes[1..2])).await;
            assert_eq!(refusal(&cut), format!("broken at {}", offset + 1));
        }
        let at_the_end = look(&app, &upload).await.unwrap();
        assert_eq!((at_the_end.offset_bytes, at_the_end.parts), (65_538, 3));
        let cut = app.intake.append_to_upload(at(&upload, 65_538, 234_462), broken(&bytes[..100])).await;
        assert_eq!(refusal(&cut), "too_many_parts");
        assert_eq!(refusal(&append(&app, &upload, 65_538, &bytes[..100_000]).await), "too_many_parts");
        let unannounced = app.intake.append_to_upload(at(&upload, 65_538, -1), whole(&bytes[..1])).await;
        assert_eq!(refusal(&unannounced), "too_many_parts");
        assert_eq!(objects_in(world, Place::Parts).await.len(), 3);
        let done = append(&app, &upload, 65_538, &bytes[65_538..]).await.unwrap();
        assert!(done.is_whole(), "all the rest in one is taken");
    }
}

on_both! {
    async fn a_request_that_drips_or_stops_is_ended_and_what_it_brought_is_kept(world: &World) {
        let mut plan = plan();
        plan.receive.grace_s = 0;
        let app = node(world, "impatient", plan, scanner().await).await;
        let bytes = text(200_000);
        let upload = begin(world, "a.txt", bytes.len()).await;
        let stopped = whole(&bytes[..70_000]).chain(futures::stream::pending());
        let stopped = app.intake.append_to_upload(at(&upload, 0, bytes.len()), stopped).await;
        let Err(UploadError::TooSlow { offset_bytes }) = stopped else { panic!("{stopped:?}") };
        assert_eq!(look(&world.app, &upload).await.unwrap().offset_bytes, offset_bytes);
        append(&world.app, &upload, usize::try_from(offset_bytes).unwrap(), &bytes[usize::try_from(offset_bytes).unwrap()..])
            .await
            .unwrap();
    }
}
