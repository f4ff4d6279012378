//! The quarantine: listed, never released, destroyed for good (OPS-03).

use lettercase::db::contents::{self, ContentState};
use lettercase::intake::review::decide::choose;
use lettercase::intake::review::quarantine::{destroy, list};
use lettercase::intake::review::{ReviewError, rescan};
use lettercase::model::access::Mode;
use lettercase::model::document::{Channel, DocumentState};
use lettercase::outside::objects::Place;

use super::{STRANGER, alone, case, claimed, person, sent, take, task_of};
use crate::journey::{objects_in, sql, told};
use crate::on_both;
use crate::support::eicar;

on_both! {
    async fn ops_03_what_was_found_is_listed_and_destroyed_with_a_trace(world: &World) {
        let first = sent(world, "a.txt", &eicar()).await;
        let second = sent(world, "b.txt", &eicar()).await;
        let trial = world.settings.brand.in_mode(Mode::Test);
        let test = alone(world, &trial, Channel::Fax, "a.txt", &eicar()).await;
        let listed = async |mode, limit| {
            let mut conn = world.db().read().await.unwrap();
            let page = list(&mut conn, mode, None, limit).await.unwrap();
            page.into_iter().map(|document| document.id).collect::<Vec<_>>()
        };
        assert_eq!(listed(Mode::Live, 10).await, [second.clone(), first.clone()], "newest first");
        assert_eq!(listed(Mode::Test, 10).await, [test]);
        {
            let mut conn = world.db().read().await.unwrap();
            let newest = list(&mut conn, Mode::Live, None, 1).await.unwrap().remove(0);
            assert!(newest.signature.is_some());
            let behind = (newest.created_at.as_microsecond(), &newest.id);
            assert_eq!(list(&mut conn, Mode::Live, Some(behind), 9).await.unwrap()[0].id, first);
        }
        let (objects, sue) = (world.app.intake.objects.as_ref(), person(world, "sue"));
        let stale = destroy(world.db(), objects, sue, &first, 0).await;
        assert!(matches!(stale, Err(ReviewError::Conflict { .. })), "{stale:?}");
        assert!(matches!(rescan(world.db(), sue, &first).await, Err(ReviewError::State { .. })), "nothing leads out");
        let version = world.document(&first).await.version;
        assert_eq!(destroy(world.db(), objects, sue, &first, version).await.unwrap(), 2, "and its twin");
        for id in [&first, &second] {
            let row = world.document(id).await;
            assert_eq!(row.state, DocumentState::Purged);
            assert!(row.signature.is_some() && row.reason.is_some(), "what was found stays told");
        }
        assert_eq!(objects_in(world, Place::Quarantine).await.len(), 1, "the trial's own copy");
        world.settle().await;
        assert_eq!(told(world, first.as_str(), "document.destruction_asked").await[0].actor, "sue");
        assert_eq!(told(world, second.as_str(), "document.purged").await.len(), 1);
        let again = destroy(world.db(), objects, sue, &first, version + 1).await;
        assert!(matches!(again, Err(ReviewError::State { state: DocumentState::Purged, .. })), "{again:?}");
        // the same bytes once more are found once more
        let anew = sent(world, "c.txt", &eicar()).await;
        assert_eq!(world.document(&anew).await.state, DocumentState::Quarantined);
    }
}

on_both! {
    async fn a_destruction_that_a_crash_broke_off_is_ended_and_the_same_bytes_wait_for_it(world: &World) {
        for deleted in [false, true] {
            let id = sent(world, &format!("{deleted}.txt"), &eicar()).await;
            let row = world.document(&id).await;
            let (brand, sha256) = (row.brand.clone(), row.sha256.clone().unwrap());
            let mut tx = world.db().begin().await.unwrap();
            assert!(contents::set_deleting(&mut tx, &brand, &sha256).await.unwrap());
            tx.commit().await.unwrap();
            if deleted {
                let key = lettercase::outside::objects::ObjectKey::quarantine(&brand, &sha256);
                world.app.intake.objects.delete(&key).await.unwrap();
            }
            world.assert_conserved().await;
            let waits = sent(world, &format!("again-{deleted}.txt"), &eicar()).await;
            assert_eq!(world.document(&waits).await.state, DocumentState::Scanning);
            assert_eq!(world.app.intake.reconcile("ours").await.unwrap().destroyed, 1);
            assert_eq!(world.document(&id).await.state, DocumentState::Purged);
            assert_eq!(world.app.intake.reconcile("ours").await.unwrap().destroyed, 0);
            world.assert_conserved().await;
            sql(world, "UPDATE work SET due_at = 0").await;
            world.settle().await;
            assert_eq!(world.document(&waits).await.state, DocumentState::Quarantined);
            let mut conn = world.db().read().await.unwrap();
            let content = contents::get(&mut conn, &brand, &sha256).await.unwrap().unwrap();
            assert_eq!(content.state, ContentState::Infected);
        }
    }
}

on_both! {
    async fn what_is_found_infected_while_it_waits_is_barred_and_nobody_decides_over_it(world: &World) {
        world.load_samples().await;
        let id = sent(world, "a.txt", STRANGER).await;
        let target = case(world, "RC-7K4M9TX2").await;
        let lease = take(world, "ann", &id).await;
        let claim = claimed(world, &lease).await;
        // newer signatures find in these bytes what the ones before did not: as if they were those of the test file
        let row = world.document(&id).await;
        let mut tx = world.db().begin().await.unwrap();
        let content = contents::get(&mut tx, &row.brand, &row.sha256.clone().unwrap()).await.unwrap().unwrap();
        let judged = lettercase::db::documents::Judged { signature: Some("Found.Later".into()), ..content.judged.clone() };
        let reason = lettercase::model::judgement::Reason::new(lettercase::model::judgement::ReasonCode::Virus, "found");
        let change = lettercase::db::documents::Change { reason: Some(reason), judged: Some(judged.clone()), ..Default::default() };
        lettercase::db::documents::transition(&mut tx, world.stamp(), &row, DocumentState::Quarantined, change).await.unwrap();
        let barred = contents::Content { state: ContentState::Infected, judged, ..content };
        contents::put(&mut tx, world.stamp(), &barred).await.unwrap();
        tx.commit().await.unwrap();
        let (brand, sha256) = (&barred.brand, &barred.sha256);
        let (from, to) = (
            lettercase::outside::objects::ObjectKey::content(brand, sha256),
            lettercase::outside::objects::ObjectKey::quarantine(brand, sha256),
        );
        let objects = &world.app.intake.objects;
        let tag = lettercase::outside::objects::Tag::Quarantined;
        objects.copy(&from, None, &to, sha256, barred.size_bytes, tag).await.unwrap();
        objects.delete(&from).await.unwrap();

        assert!(task_of(world, &id).await.is_none());
        let refused = choose(world.db(), person(world, "ann"), &claim, &target).await;
        assert!(matches!(refused, Err(ReviewError::State { state: DocumentState::Quarantined, .. })), "{refused:?}");
        assert_eq!(world.document(&id).await.case_id, None);
    }
}
