//! What was begun and not sent expires; what came on paper, what is held and what is under way does not.

use std::time::Duration;

use lettercase::db::retention::holds::{self, Kept};
use lettercase::model::case::CaseKind;
use lettercase::model::document::{Channel, DocumentState};
use lettercase::model::ids::SubmissionId;
use lettercase::model::submission::{Said, SubmissionState};

use super::open_by;
use crate::on_both;
use crate::support::World;

const HOUR: Duration = Duration::from_secs(3_600);

async fn state(world: &World, id: &SubmissionId) -> SubmissionState {
    world.view(id).await.state
}

on_both! {
    async fn ops_15_a_draft_expires_after_its_last_save_and_its_files_with_it(world: &World) {
        // Friday, ten in the morning where the payer is
        let reconsideration = world.open(CaseKind::Reconsideration, Said::default()).await;
        let precertification = world.open(CaseKind::Precertification, Said::default()).await;
        let saved_later = world.open(CaseKind::Precertification, Said::default()).await;
        let on_paper = open_by(world, Channel::Scan, CaseKind::Reconsideration, Said::default()).await;
        for id in [&reconsideration, &precertification, &on_paper] {
            world.add(id, "note.txt", b"a note").await;
        }
        world.settle().await;
        world.advance(24 * HOUR);
        world.add(&saved_later, "note.txt", b"a note").await;
        world.settle().await;
        // Wednesday, ten in the morning, but for a second
        world.advance(4 * 24 * HOUR - Duration::from_secs(1));
        assert_eq!(world.app.intake.reconcile("test").await.unwrap().expired, 0);
        world.advance(Duration::from_secs(1));
        assert_eq!(world.app.intake.reconcile("test").await.unwrap().expired, 1);
        assert_eq!(state(world, &precertification).await, SubmissionState::Withdrawn);
        let gone = world.view(&precertification).await;
        assert!(gone.documents.iter().all(|file| file.state == DocumentState::Withdrawn), "{gone:?}");
        // the end of that day, the fifth of the reconsideration and the third of what was saved on a Saturday
        world.advance(14 * HOUR);
        assert_eq!(world.app.intake.reconcile("test").await.unwrap().expired, 2);
        assert_eq!(state(world, &reconsideration).await, SubmissionState::Withdrawn);
        assert_eq!(state(world, &saved_later).await, SubmissionState::Withdrawn);
        world.advance(400 * 24 * HOUR);
        assert_eq!(world.app.intake.reconcile("test").await.unwrap().expired, 0);
        assert_eq!(state(world, &on_paper).await, SubmissionState::Open, "what came by mail is nobody's to let go");
    }
}

on_both! {
    async fn ops_15_a_draft_stays_while_bytes_are_on_their_way_or_a_legal_hold_concerns_it(world: &World) {
        let said = Said { tin: Some("004417203".parse().unwrap()), ..Said::default() };
        let held = world.open(CaseKind::Appeal, said).await;
        let upload = crate::uploads::begin(world, "a.txt", 100_000).await;
        let hold = {
            let mut tx = world.db().begin().await.unwrap();
            let kept = Kept::Tin("004417203".parse().unwrap());
            let hold = holds::put(&mut tx, world.stamp(), &world.settings.brand, &kept, "a lawsuit").await.unwrap();
            tx.commit().await.unwrap();
            hold.unwrap()
        };
        // the upload's own time is over after a day; then nothing keeps its draft
        crate::journey::sql(world, "UPDATE upload SET expires_at = expires_at + 864000000000").await;
        world.advance(7 * 24 * HOUR);
        assert_eq!(world.app.intake.reconcile("test").await.unwrap().expired, 0);
        let mut tx = world.db().begin().await.unwrap();
        holds::lift(&mut tx, world.stamp(), &hold).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.app.intake.reconcile("test").await.unwrap().expired, 1);
        assert_eq!(state(world, &held).await, SubmissionState::Withdrawn);
        assert_eq!(state(world, &upload.submission_id).await, SubmissionState::Open);
        world.advance(10 * 24 * HOUR);
        let mended = world.app.intake.reconcile("test").await.unwrap();
        assert_eq!((mended.expired, state(world, &upload.submission_id).await), (1, SubmissionState::Withdrawn));
    }
}
