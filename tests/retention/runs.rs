//! Runs: what goes, what stays, and that everything is counted still.

use lettercase::db::letters;
use lettercase::db::retention;
use lettercase::engine::bulk::Form;
use lettercase::intake::review::quarantine::destroy;
use lettercase::model::document::Channel;
use lettercase::model::ids::LetterId;
use lettercase::model::letter::LetterState;
use lettercase::model::outgoing::Outgoing;
use lettercase::outside::objects::Place;
use lettercase::retention::{RetentionError, Worked};

use super::*;
use crate::backup::held::hold;
use crate::journey::{count, objects_in, sql, texts, told};
use crate::on_both;
use crate::review::{alone, sent};
use crate::support::eicar;

/// Has every letter that waits for paper printed and mailed.
async fn mailed(world: &World) {
    let paper = &world.app.paper;
    let batch = paper.close_now(world.stamp(), &world.settings.brand).await.unwrap();
    world.settle().await;
    let word = "{\"all\":true,\"event\":\"mailed\"}\n";
    paper.acknowledge(world.stamp(), &batch.id, word.as_bytes(), Form::Ndjson).await.unwrap();
    world.settle().await;
}

on_both! {
    async fn ops_15_what_is_due_is_destroyed_and_its_row_its_reasons_and_the_audit_stay(world: &World) {
        world.load_samples().await;
        let keeper = keeper(world);
        let (document, case) = reconsidered(world, b"Please look at this claim again.").await;
        mailed(world).await;
        let letter: LetterId = texts(world, "SELECT id FROM letter").await[0].parse().unwrap();
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM envelope").await, 1, "it went on paper");
        assert_eq!(fate(&keeper, RecordKind::Document, document.as_str()).await, "not looked at", "it is too young");
        world.advance(YEARS + DAY);
        assert_eq!(fate(&keeper, RecordKind::Document, document.as_str()).await, "case_open");
        assert_eq!(fate(&keeper, RecordKind::Letter, letter.as_str()).await, "case_open");
        close(world, &case).await;
        assert_eq!(fate(&keeper, RecordKind::Document, document.as_str()).await, "not_yet");
        world.advance(YEARS);
        let before = world.document(&document).await;
        world.advance(DAY);

        // the dry run changes nothing, and says what goes
        let plan = keeper.dry_run().await.unwrap();
        let planned: Vec<String> = plan.counts.iter().map(|n| format!("{} {} {}", n.class, n.why, n.records)).collect();
        let here = |line: &str| planned.iter().any(|told| told == line);
        assert!(here("documents due 1") && here("letters due 2") && here("documents has_records 1"), "{planned:?}");
        assert_eq!(world.document(&document).await.state, DocumentState::Matched);

        let (run, counts) = ran(world, &keeper).await;
        assert_eq!(run.day, keeper.today());
        // document and submission; letter and batch; the case, and four that were loaded as closed
        assert_eq!((counts["documents due"], counts["letters due"], counts["cases due"]), (2, 2, 5), "{counts:?}");
        let row = world.document(&document).await;
        assert_eq!((row.state, row.file_name.reveal()), (DocumentState::Purged, "DESTROYED"));
        assert_eq!((row.sha256, row.accepted_at, row.ended_at), (before.sha256, before.accepted_at, before.ended_at));
        assert_eq!((row.case_id.as_ref(), row.said.is_none()), (Some(&case), true));
        for place in [Place::Content, Place::Letters] {
            assert!(objects_in(world, place).await.is_empty(), "{place}");
        }
        let kept = {
            let mut conn = world.db().read().await.unwrap();
            letters::get(&mut conn, &letter).await.unwrap().unwrap()
        };
        assert_eq!((kept.state, kept.made, kept.data.is_none()), (LetterState::Routed, None, true));
        assert!(kept.letter_date.is_some() && kept.destroyed_at.is_some());
        // nothing of the claim, the member or the file is in any row that is ours
        for statement in [
            "SELECT COALESCE(file_name, '') || COALESCE(said, '') FROM document",
            "SELECT said || COALESCE(sender_reference, '') FROM submission",
            "SELECT details || COALESCE(data, '') || COALESCE(member_id, '') || COALESCE(claim_number, '') FROM letter",
            "SELECT COALESCE(member_id, '') || COALESCE(claim_number, '') FROM message",
            "SELECT address || addressee_key || address_hash FROM envelope",
            "SELECT case_number || member_id || COALESCE(claim_number, '') || COALESCE(service_from, '') FROM case_file WHERE origin = 'here'",
            "SELECT details FROM status_detail",
            "SELECT evidence FROM match_candidate",
            "SELECT payload FROM event",
        ] {
            for text in texts(world, statement).await {
                for health in ["CL2683604951", "MH27390641", "Nakamura", "2026-"] {
                    // events have dates of their own
                    assert!(statement.contains("event") && health == "2026-" || !text.contains(health), "{statement}: {text}");
                }
            }
        }
        world.settle().await;
        for id in [document.as_str(), letter.as_str(), case.as_str()] {
            let events = told(world, id, "retention.destroyed").await;
            assert_eq!(events.len(), 1, "{id}");
            assert!(events[0].payload.contains(run.id.as_str()) && events[0].payload.contains("class"));
        }
        assert_eq!(told(world, document.as_str(), "document.purged").await.len(), 1);
        assert_eq!(told(world, run.id.as_str(), "retention_run.done").await.len(), 1);
        world.assert_conserved().await;

        // nothing is destroyed twice
        let (_, counts) = ran(world, &keeper).await;
        assert!(counts.keys().all(|line| !line.ends_with(" due")), "{counts:?}");
    }
}

on_both! {
    async fn bytes_that_a_kept_document_has_too_stay_until_it_goes(world: &World) {
        world.load_samples().await;
        let keeper = keeper(world);
        let (first, case) = reconsidered(world, b"The same bytes for two.").await;
        mailed(world).await;
        close(world, &case).await;
        let second = alone(world, &world.settings.brand, Channel::Fax, "b.txt", b"The same bytes for two.").await;
        world.advance(YEARS + DAY);
        ran(world, &keeper).await;
        assert!(!is_live(world, &first).await && is_live(world, &second).await);
        assert_eq!(objects_in(world, Place::Content).await.len(), 1, "a person has the other one before them");
        world.assert_conserved().await;
        // the same bytes come once more and need no other copy
        let third = alone(world, &world.settings.brand, Channel::Fax, "c.txt", b"The same bytes for two.").await;
        for id in [&second, &third] {
            let row = world.document(id).await;
            let mut tx = world.db().begin().await.unwrap();
            let change = documents::Change::default();
            documents::transition(&mut tx, world.stamp(), &row, DocumentState::Returned, change).await.unwrap();
            tx.commit().await.unwrap();
        }
        ran(world, &keeper).await;
        assert!(!is_live(world, &second).await && is_live(world, &third).await);
        assert_eq!(objects_in(world, Place::Content).await.len(), 1);
        world.advance(YEARS + DAY);
        ran(world, &keeper).await;
        assert!(!is_live(world, &third).await);
        assert!(objects_in(world, Place::Content).await.is_empty());
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM content").await, 0);
    }
}

on_both! {
    async fn what_a_person_had_destroyed_loses_its_name_and_what_is_infected_goes_too(world: &World) {
        let keeper = keeper(world);
        let (first, second) = (sent(world, "a.txt", &eicar()).await, sent(world, "b.txt", b"Not one of these.").await);
        let version = world.document(&first).await.version;
        destroy(world.db(), world.app.intake.objects.as_ref(), world.stamp(), &first, version).await.unwrap();
        let third = sent(world, "c.txt", &eicar()).await;
        world.advance(YEARS + DAY);
        let (_, counts) = ran(world, &keeper).await;
        assert_eq!(counts, counted(&[("documents due", 4), ("documents has_records", 1), ("documents in_progress", 1)]));
        for id in [&first, &third] {
            let row = world.document(id).await;
            assert_eq!((row.state, row.file_name.reveal()), (DocumentState::Purged, "DESTROYED"));
            assert!(row.reason.is_some() && row.signature.is_some(), "what was found stays told");
        }
        assert!(is_live(world, &second).await, "it waits for a person");
        assert!(objects_in(world, Place::Quarantine).await.is_empty());
    }
}

on_both! {
    async fn the_same_bytes_coming_while_they_are_destroyed_wait_and_are_stored_anew(world: &World) {
        let keeper = keeper(world);
        let first = refused(world, Said::default(), "a.exe").await;
        let (document, case) = {
            world.load_samples().await;
            reconsidered(world, b"These come again.").await
        };
        mailed(world).await;
        close(world, &case).await;
        world.advance(YEARS + DAY);
        let dir = world.dir.path().join("objects");
        assert!(dir.is_dir(), "the store's own directory");
        let run = keeper.begin(world.stamp()).await.unwrap();
        // marked, and the object not gone yet
        let row = world.document(&document).await;
        let mut tx = world.db().begin().await.unwrap();
        lettercase::db::retention::destroy::empty(&mut tx, world.stamp(), RecordKind::Document, document.as_str()).await.unwrap();
        let class = lettercase::model::retention::Class::Documents(None);
        let of = (RecordKind::Document, document.as_str(), &row.brand);
        assert!(retention::put_record(&mut tx, world.stamp(), of, &run.id, (class, run.day)).await.unwrap());
        tx.commit().await.unwrap();
        world.assert_conserved().await;
        let again = sent(world, "again.txt", b"These come again.").await;
        assert_eq!(world.document(&again).await.state, DocumentState::Scanning, "it waits");
        finished(&keeper, &run).await;
        assert!(!is_live(world, &first).await);
        sql(world, "UPDATE work SET due_at = 0").await;
        world.settle().await;
        assert_eq!(world.document(&again).await.state, DocumentState::Unmatched);
        assert_eq!(objects_in(world, Place::Content).await.len(), 1);
    }
}

on_both! {
    async fn policy_that_destroys_nothing_begins_no_run_and_stands_still_in_one(world: &World) {
        let (off, on) = (world.app.retention.clone(), keeper(world));
        let id = refused(world, Said::default(), "a.exe").await;
        world.advance(YEARS + DAY);
        assert!(matches!(off.begin(world.stamp()).await, Err(RetentionError::Disabled)));
        let run = on.begin(world.stamp()).await.unwrap();
        assert!(matches!(on.begin(world.stamp()).await, Err(RetentionError::Running)));
        assert_eq!(off.work("ours").await.unwrap(), Default::default());
        assert!(is_live(world, &id).await);
        // another node has the lease
        assert!(on.work("ours").await.unwrap().destroyed > 0);
        let second = on.begin(world.stamp()).await.unwrap();
        assert_eq!(on.work("theirs").await.unwrap(), Default::default());
        finished(&on, &second).await;
        assert_ne!(run.id, second.id);
    }
}

on_both! {
    async fn a_kind_with_a_period_of_its_own_goes_by_it(world: &World) {
        let mut plan = (*keeper(world).plan).clone();
        plan.documents.of_kind.insert(CaseKind::Appeal, 2);
        let keeper = Retention { plan: Arc::new(plan), ..world.app.retention.clone() };
        let appeal = refused(world, Said::default(), "a.exe").await;
        let other = {
            let submission = world.open(CaseKind::Reconsideration, Said::default()).await;
            let id = world.add(&submission, "b.exe", b"MZ\x90\0 no document").await;
            world.submit(&submission).await;
            id
        };
        world.advance(DAY * 732);
        let (_, counts) = ran(world, &keeper).await;
        assert_eq!(counts, counted(&[("documents not_yet", 2), ("documents.appeal due", 2)]));
        assert!(!is_live(world, &appeal).await && is_live(world, &other).await);
    }
}

on_both! {
    async fn ops_16_while_destruction_is_held_back_a_run_stands_still(world: &World) {
        world.load_samples().await;
        let keeper = keeper(world);
        let refused = refused(world, nakamura(), "Nakamura.exe").await;
        world.advance(YEARS + DAY);
        let run = keeper.begin(world.stamp()).await.unwrap();
        hold(world, Outgoing::Destruction, true).await;
        assert_eq!(keeper.work("ours").await.unwrap(), Worked::default());
        assert!(is_live(world, &refused).await);
        hold(world, Outgoing::Destruction, false).await;
        finished(&keeper, &run).await;
        assert!(!is_live(world, &refused).await);
    }
}
