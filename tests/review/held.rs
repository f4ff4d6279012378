//! What a person decides over held files (OPS-03): the scanner has the last word whatever they say.

use lettercase::db::tasks::TaskKind;
use lettercase::intake::review::decide::{reject, release, return_as_not_ours};
use lettercase::intake::review::{ReviewError, rescan};
use lettercase::model::case::CaseKind;
use lettercase::model::document::{Channel, DocumentState, ReturnReason};
use lettercase::model::judgement::{Flag, ReasonCode};
use lettercase::model::submission::{Said, SubmissionState};
use sqlx::Executor;

use super::{alone, claimed, person, sent, take, task_of};
use crate::journey::{made, told};
use crate::on_both;
use crate::support::eicar;

on_both! {
    async fn ops_03_a_released_file_is_scanned_and_stored_only_then(world: &World) {
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let held = world.add(&id, "template.doc", &made("doc-with-macros")).await;
        world.add(&id, "letter.txt", b"a page").await;
        assert_eq!(world.submit(&id).await.state, SubmissionState::Held);
        assert_eq!(world.document(&held).await.verdict, None, "it was held before it was scanned");
        let lease = take(world, "sue", &held).await;
        release(world.db(), person(world, "sue"), &claimed(world, &lease).await).await.unwrap();
        assert_eq!(world.document(&held).await.state, DocumentState::Received, "from the start");
        assert!(task_of(world, &held).await.is_none());
        world.settle().await;
        let row = world.document(&held).await;
        assert_eq!((row.verdict.as_deref(), row.waived), (Some("clean"), Some(ReasonCode::Macros)));
        assert!(row.flags.contains(&Flag::Macros), "{:?}", row.flags);
        assert_eq!(row.state, DocumentState::Unmatched);
        assert_eq!(world.view(&id).await.state, SubmissionState::Accepted, "the submission goes on");
        let waived = told(world, held.as_str(), "document.hold_waived").await;
        assert_eq!((waived.len(), waived[0].actor.as_str()), (1, "sue"));
    }
}

on_both! {
    async fn ops_03_what_more_than_policy_holds_is_not_released(world: &World) {
        let damaged = alone(world, &world.settings.brand.clone(), Channel::Fax, "a.pdf", b"%PDF-1.7 torn").await;
        let row = world.document(&damaged).await;
        assert_eq!(row.state, DocumentState::Held, "what came by fax is not refused (INT-21)");
        let lease = take(world, "sue", &damaged).await;
        let claim = claimed(world, &lease).await;
        let sue = person(world, "sue");
        let refused = release(world.db(), sue, &claim).await;
        assert!(matches!(refused, Err(ReviewError::NotReleasable { .. })), "{refused:?}");
        let refused = reject(world.db(), sue, &claim).await;
        assert!(matches!(refused, Err(ReviewError::CantRefuse { channel: Channel::Fax })), "{refused:?}");
        return_as_not_ours(world.db(), sue, &claim, ReturnReason::Illegible).await.unwrap();
        assert_eq!(world.document(&damaged).await.state, DocumentState::Returned);
    }
}

on_both! {
    async fn ops_03_a_rejected_file_ends_its_submission(world: &World) {
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let held = world.add(&id, "template.doc", &made("doc-with-macros")).await;
        assert_eq!(world.submit(&id).await.state, SubmissionState::Held);
        let lease = take(world, "sue", &held).await;
        reject(world.db(), person(world, "sue"), &claimed(world, &lease).await).await.unwrap();
        let row = world.document(&held).await;
        assert_eq!((row.state, row.reason.map(|r| r.code)), (DocumentState::Rejected, Some(ReasonCode::Macros)));
        assert_eq!(world.view(&id).await.state, SubmissionState::FailedRejected);
    }
}

on_both! {
    async fn a_rescan_takes_the_task_away_and_the_hold_brings_it_back(world: &World) {
        let held = sent(world, "template.doc", &made("doc-with-macros")).await;
        let lease = take(world, "sue", &held).await;
        let claim = claimed(world, &lease).await;
        rescan(world.db(), person(world, "ann"), &held).await.unwrap();
        assert!(task_of(world, &held).await.is_none());
        assert!(matches!(reject(world.db(), person(world, "sue"), &claim).await, Err(ReviewError::State { .. })));
        world.settle().await;
        let task = task_of(world, &held).await.unwrap();
        assert_eq!((task.kind, task.holder), (TaskKind::Held, None), "without the old lease");
    }
}

/// A document's own word that it may pass is not asked: only the scanner's.
#[test]
fn only_policy_can_be_waived() {
    let waivable: Vec<_> = ["macros", "unreadable", "scan_failed", "encrypted", "damaged", "virus", "type_mismatch"]
        .into_iter()
        .filter(|code| code.parse::<ReasonCode>().unwrap().is_policy())
        .collect();
    assert_eq!(waivable, ["macros"]);
}

on_both! {
    async fn a_held_file_whose_bytes_are_infected_is_quarantined_when_it_is_released(world: &World) {
        // older rules held it for macros; what it really is the scanner finds
        let held = alone(world, &world.settings.brand.clone(), Channel::Fax, "a.doc", &eicar()).await;
        assert_eq!(world.document(&held).await.state, DocumentState::Held, "its name is not its type");
        let mut tx = world.db().begin().await.unwrap();
        (&mut *tx).execute("UPDATE document SET reason_code = 'macros', file_name = 'a.txt' WHERE state = 'held'").await.unwrap();
        tx.commit().await.unwrap();
        let lease = take(world, "sue", &held).await;
        release(world.db(), person(world, "sue"), &claimed(world, &lease).await).await.unwrap();
        world.settle().await;
        assert_eq!(world.document(&held).await.state, DocumentState::Quarantined);
    }
}
