//! An infected, refused or held file, and what becomes of its submission and of the files beside it.

use lettercase::db::case_files;
use lettercase::db::documents::{self, Change};
use lettercase::intake::review;
use lettercase::model::case::CaseKind;
use lettercase::model::document::DocumentState;
use lettercase::model::ids::DocumentId;
use lettercase::model::judgement::ReasonCode;
use lettercase::model::submission::{Said, SubmissionState};
use lettercase::outside::objects::Place;

use super::{made, nakamura, node, objects_in, of_case, settle, shared_pool, sql, states, told};
use crate::hostile::build::{pdf, zlib};
use crate::on_both;
use crate::support::{eicar, plan};

on_both! {
    async fn int_13_one_infected_file_of_three_fails_the_request_and_the_others_are_kept_for_a_new_one(world: &World) {
        world.load_samples().await;
        let failed = world.open(CaseKind::Reconsideration, nakamura()).await;
        world.add(&failed, "letter.txt", b"Please look at this claim again.").await;
        let infected = world.add(&failed, "form.docx", &made("eicar-docx")).await;
        world.add(&failed, "visit.pdf", &pdf::letter("Office visit of 08/19/2026", "", &[])).await;
        let view = world.submit(&failed).await;
        assert_eq!((view.state, view.status.as_str()), (SubmissionState::FailedVirus, "Request Failed (Virus)"));
        assert_eq!(view.case_status.as_deref(), Some("Request Failed (Virus)"));
        let expected = [
            ("form.docx", DocumentState::Quarantined),
            ("letter.txt", DocumentState::Stored),
            ("visit.pdf", DocumentState::Stored),
        ];
        assert_eq!(states(&view), expected);
        let first_case = view.case_number.unwrap();
        {
            let mut conn = world.db().read().await.unwrap();
            let number = first_case.parse().unwrap();
            let case = case_files::by_number(&mut conn, &world.settings.brand, &number).await.unwrap().unwrap();
            assert!(case.closed_at.is_some(), "REC-41: it is closed");
        }
        let barred = world.document(&infected).await;
        assert_eq!(barred.reason.map(|r| r.code), Some(ReasonCode::Virus));
        assert!(barred.signature.is_some_and(|s| s.to_lowercase().contains("eicar")));
        let sha256 = barred.sha256.unwrap();
        assert!(objects_in(world, Place::Incoming).await.is_empty());
        assert_eq!(objects_in(world, Place::Content).await.len(), 2);
        let quarantine = objects_in(world, Place::Quarantine).await;
        assert_eq!(quarantine.len(), 1);
        assert!(quarantine[0].ends_with(sha256.as_str()));

        let again = world.open_new(CaseKind::Reconsideration, nakamura(), Some(failed.clone())).await;
        let view = world.submit(&again).await;
        assert_eq!(view.state, SubmissionState::Accepted);
        assert_eq!(states(&view), [("letter.txt", DocumentState::Matched), ("visit.pdf", DocumentState::Matched)]);
        assert_eq!(view.case_status.as_deref(), Some("Received"));
        assert!(view.case_number.is_some_and(|number| number != first_case), "REC-41: a new one was opened");
        assert_eq!(states(&world.view(&failed).await), [("form.docx", DocumentState::Quarantined)]);
    }
}

on_both! {
    async fn int_13_a_precertification_and_an_appeal_keep_status_and_version(world: &World) {
        world.load_samples().await;
        for (kind, number, member) in [
            (CaseKind::Precertification, "PC-6N2RQ8VX", "MH62810495"),
            (CaseKind::Appeal, "AP-5R8KC2WH", "MH95063724"),
        ] {
            let look = async || {
                let mut conn = world.db().read().await.unwrap();
                let number = number.parse().unwrap();
                let case = case_files::by_number(&mut conn, &world.settings.brand, &number).await.unwrap().unwrap();
                (case.status, case.version, case.closed_at)
            };
            let before = look().await;
            let id = world.open(kind, of_case(number, member)).await;
            world.add(&id, "good.txt", format!("a page about {number}").as_bytes()).await;
            world.add(&id, "bad.txt", &eicar()).await;
            let view = world.submit(&id).await;
            assert_eq!(view.state, SubmissionState::FailedVirus);
            assert_eq!(view.case_number.as_deref(), Some(number));
            assert_eq!(look().await, before);
        }
    }
}

on_both! {
    async fn int_13_a_virus_is_found_wherever_it_hides_in_an_accepted_type(world: &World) {
        let packed = pdf::stream("/Type /EmbeddedFile /Filter /FlateDecode", &zlib(&eicar()));
        let attached = pdf::with_attachment(packed);
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        world.add(&id, "a.txt", &eicar()).await;
        world.add(&id, "b.docx", &made("eicar-docx")).await;
        world.add(&id, "c.pdf", &attached).await;
        world.add(&id, "d.pdf", &pdf::with_object_streams(&attached)).await;
        world.add(&id, "e.zip", &made("zip")).await;
        let view = world.submit(&id).await;
        assert_eq!(view.state, SubmissionState::FailedVirus, "a virus outweighs a refusal");
        let barred = view.documents.iter().filter(|d| d.state == DocumentState::Quarantined).count();
        assert_eq!((barred, view.documents.len()), (4, 5), "{:?}", states(&view));
        assert!(objects_in(world, Place::Content).await.is_empty());
        assert_eq!(objects_in(world, Place::Quarantine).await.len(), 4);
    }
}

on_both! {
    async fn a_submission_is_taken_though_its_infected_file_is_known_before(world: &World) {
        world.load_samples().await;
        let id = world.open(CaseKind::Reconsideration, nakamura()).await;
        let infected = world.add(&id, "bad.txt", &eicar()).await;
        world.settle().await;
        assert_eq!(world.document(&infected).await.state, DocumentState::Quarantined);
        assert_eq!(world.view(&id).await.state, SubmissionState::Open);
        let view = world.submit(&id).await;
        assert_eq!(view.state, SubmissionState::FailedVirus);
        assert_eq!(view.case_status.as_deref(), Some("Request Failed (Virus)"));
        assert_eq!(told(world, id.as_str(), "submission.failed_virus").await.len(), 1);
    }
}

on_both! {
    async fn int_11_a_refused_file_fails_its_submission_and_the_others_can_be_taken_up(world: &World) {
        world.load_samples().await;
        let said = || of_case("AP-5R8KC2WH", "MH95063724");
        let id = world.open(CaseKind::Appeal, said()).await;
        world.add(&id, "good.txt", b"a page").await;
        world.add(&id, "locked.pdf", &made("encrypted-pdf")).await;
        let view = world.submit(&id).await;
        assert_eq!(view.state, SubmissionState::FailedRejected);
        assert_eq!(states(&view), [("good.txt", DocumentState::Stored), ("locked.pdf", DocumentState::Rejected)]);
        assert!(objects_in(world, Place::Incoming).await.is_empty(), "the refused bytes are gone");
        let again = world.open_new(CaseKind::Appeal, said(), Some(id)).await;
        assert_eq!(world.submit(&again).await.state, SubmissionState::Accepted);
    }
}

on_both! {
    async fn int_12_a_file_held_for_its_macros_is_judged_again_and_held_again(world: &World) {
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let held = world.add(&id, "template.doc", &made("doc-with-macros")).await;
        assert_eq!(world.submit(&id).await.state, SubmissionState::Held);
        review::rescan(world.db(), world.stamp(), &held).await.unwrap();
        assert!(review::rescan(world.db(), world.stamp(), &held).await.is_err(), "it is at work already");
        world.settle().await;
        assert_eq!(world.document(&held).await.state, DocumentState::Held);
        assert_eq!(world.view(&id).await.state, SubmissionState::Held);
        assert_eq!(told(world, held.as_str(), "document.held").await.len(), 2);
        assert_eq!(told(world, held.as_str(), "document.rescan_asked").await.len(), 1);
        assert!(objects_in(world, Place::Content).await.is_empty());
    }
}

/// A text that the short-sighted scanner can't judge, with something at its end.
fn long(end: &[u8]) -> Vec<u8> {
    let mut bytes = b"a line of a long letter\n".repeat(60_000);
    bytes.extend(end);
    bytes
}

on_both! {
    async fn int_12_a_held_submission_ends_as_the_resolution_of_its_file_says(world: &World) {
        let weak = node(world, "weak", plan(), shared_pool().await).await;
        let mut held: Vec<(DocumentId, DocumentState, SubmissionState)> = Vec::new();
        for (end, document, submission) in [
            (&b"the end"[..], DocumentState::Unmatched, SubmissionState::Accepted),
            (&eicar(), DocumentState::Quarantined, SubmissionState::FailedVirus),
        ] {
            let id = world.open(CaseKind::Appeal, Said::default()).await;
            let file = world.add(&id, "long.txt", &long(end)).await;
            weak.intake.submit("test", &id).await.unwrap();
            weak.engine.run_until_idle().await.unwrap();
            let found = world.document(&file).await;
            assert_eq!(found.state, DocumentState::Held);
            assert_eq!(found.reason.map(|r| r.code), Some(ReasonCode::ScanFailed));
            assert_eq!(world.view(&id).await.state, SubmissionState::Held);
            held.push((file, document, submission));
        }
        for (file, document, submission) in &held {
            review::rescan(world.db(), world.stamp(), file).await.unwrap();
            settle(world).await;
            let found = world.document(file).await;
            assert_eq!(found.state, *document);
            assert_eq!(world.view(&found.submission_id.unwrap()).await.state, *submission);
        }
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let file = world.add(&id, "template.doc", &made("doc-with-macros")).await;
        assert_eq!(world.submit(&id).await.state, SubmissionState::Held);
        // The policy may have changed meanwhile: a name that is refused now stands for it.
        sql(world, "UPDATE document SET file_name = 'template.xls' WHERE file_name = 'template.doc'").await;
        review::rescan(world.db(), world.stamp(), &file).await.unwrap();
        settle(world).await;
        assert_eq!(world.document(&file).await.state, DocumentState::Rejected);
        assert_eq!(world.view(&id).await.state, SubmissionState::FailedRejected);
    }
}

on_both! {
    async fn int_13_a_request_that_joined_a_case_and_was_accepted_outlives_the_virus_of_the_one_that_opened_it(world: &World) {
        world.load_samples().await;
        let opener = world.open(CaseKind::Reconsideration, nakamura()).await;
        let macros = world.add(&opener, "form.doc", &made("doc-with-macros")).await;
        let opened = world.submit(&opener).await;
        assert_eq!(opened.state, SubmissionState::Held);
        let joiner = world.open(CaseKind::Reconsideration, nakamura()).await;
        world.add(&joiner, "letter.txt", b"Please look at this claim again.").await;
        let joined = world.submit(&joiner).await;
        assert_eq!((joined.state, joined.case_number.as_deref()), (SubmissionState::Accepted, opened.case_number.as_deref()));
        // what was held turns out to be infected
        let mut tx = world.db().begin().await.unwrap();
        let held = documents::get(&mut tx, &macros).await.unwrap().unwrap();
        documents::transition(&mut tx, world.stamp(), &held, DocumentState::Quarantined, Change::default()).await.unwrap();
        lettercase::intake::settle::settle(&mut tx, world.stamp(), &opener).await.unwrap();
        tx.commit().await.unwrap();
        world.settle().await;
        assert_eq!(world.view(&opener).await.state, SubmissionState::FailedVirus);
        assert_eq!(world.view(&joiner).await.case_status.as_deref(), Some("Received"));
    }
}

on_both! {
    async fn rec_41_a_reference_to_a_failed_request_opens_a_new_one_for_the_claim(world: &World) {
        world.load_samples().await;
        let failed = world.open(CaseKind::Reconsideration, nakamura()).await;
        world.add(&failed, "form.docx", &made("eicar-docx")).await;
        let failed = world.submit(&failed).await;
        let said = Said { reference: Some(failed.reference), ..nakamura() };
        let again = world.open(CaseKind::Reconsideration, said).await;
        world.add(&again, "letter.txt", b"Please look at this claim again.").await;
        let again = world.submit(&again).await;
        assert_eq!(again.case_status.as_deref(), Some("Received"));
        assert_ne!(again.case_number, failed.case_number);
    }
}

on_both! {
    async fn int_13_a_new_attempt_asked_for_twice_is_one(world: &World) {
        world.load_samples().await;
        let failed = world.open(CaseKind::Reconsideration, nakamura()).await;
        world.add(&failed, "form.docx", &made("eicar-docx")).await;
        world.add(&failed, "letter.txt", b"Please look at this claim again.").await;
        world.submit(&failed).await;
        let first = world.open_new(CaseKind::Reconsideration, nakamura(), Some(failed.clone())).await;
        let second = world.open_new(CaseKind::Reconsideration, nakamura(), Some(failed)).await;
        assert_eq!(first, second);
        assert_eq!(states(&world.view(&first).await), [("letter.txt", DocumentState::Stored)]);
    }
}
