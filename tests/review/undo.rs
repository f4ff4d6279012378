//! An undone match: it waits anew, and who came to know it is told (INT-17, OPS-08).

use std::time::Duration;

use lettercase::db::Stamp;
use lettercase::intake::review::disclosures::{self, Period, disclosures};
use lettercase::intake::review::{ReviewError, undo_match};
use lettercase::model::case::CaseKind;
use lettercase::model::document::{Access, DocumentState};
use lettercase::model::ids::DocumentId;
use lettercase::model::submission::Said;

use super::{at, case, person, task_of};
use crate::on_both;
use crate::support::World;

async fn note(world: &World, stamp: Stamp<'_>, id: &DocumentId, access: Access) {
    let document = world.document(id).await;
    let mut tx = world.db().begin().await.unwrap();
    disclosures::note(&mut tx, stamp, &document, access).await.unwrap();
    tx.commit().await.unwrap();
    world.advance(Duration::from_secs(1));
}

on_both! {
    async fn ops_08_an_undone_match_waits_anew_and_tells_who_came_to_know_it(world: &World) {
        world.load_samples().await;
        let submission = world.open(CaseKind::Reconsideration, Said::default()).await;
        let id = world.add(&submission, "a.txt", b"Claim CL2638150472 of member MH40726183").await;
        world.submit(&submission).await;
        let on = case(world, "RC-7K4M9TX2").await;
        assert_eq!(world.document(&id).await.case_id.as_ref(), Some(&on));
        world.advance(Duration::from_secs(1));
        note(world, person(world, "key:k"), &id, Access::Shown).await;
        world.settle().await;
        note(world, person(world, "user:u"), &id, Access::Downloaded).await;
        let version = world.document(&id).await.version;
        let (db, sue, aging) = (world.db(), person(world, "sue"), world.app.intake.aging());
        let conflict = undo_match(db, sue, aging, &id, Some(version - 1)).await;
        assert!(matches!(conflict, Err(ReviewError::Conflict { .. })), "{conflict:?}");
        undo_match(db, sue, aging, &id, Some(version)).await.unwrap();
        assert_eq!(world.document(&id).await.state, DocumentState::NeedsReview);
        assert_eq!(task_of(world, &id).await.unwrap().deadline_at, at("2026-11-24T05:00:00Z"), "from its receipt");
        world.advance(Duration::from_secs(1));
        note(world, person(world, "staff:later"), &id, Access::Shown).await;

        for sealed in [false, true] {
            if sealed {
                world.settle().await;
            }
            let mut conn = world.db().read().await.unwrap();
            let report = disclosures(&mut conn, &id).await.unwrap();
            let [Period { case_id, matched_by, undone_by, disclosures: known, .. }] = &report.periods[..] else {
                panic!("{report:?}")
            };
            assert_eq!((case_id.as_ref(), undone_by.as_deref()), (Some(&on), Some("sue")));
            assert_eq!(matched_by, "match");
            let known: Vec<_> = known.iter().map(|d| (d.access, d.actor.as_str())).collect();
            assert_eq!(known, [(Access::Shown, "key:k"), (Access::Downloaded, "user:u")], "not who saw it afterwards");
            assert!(report.complete);
        }
        let payloads = crate::journey::texts(world, "SELECT payload FROM event WHERE type = 'document.shown'").await;
        assert!(payloads.iter().any(|payload| payload.contains(on.as_str())), "{payloads:?}");
        let mut conn = world.db().read().await.unwrap();
        let nobody = world.stamp().ctx.new_id().parse().unwrap();
        assert!(matches!(disclosures(&mut conn, &nobody).await, Err(ReviewError::NoDocument)));
    }
}
