//! What `cases` answers to a submission.

use lettercase::intake::submit::NewSubmission;
use lettercase::model::case::CaseKind;
use lettercase::model::document::Channel;
use lettercase::model::ids::ReferenceNumber;
use lettercase::model::reference::ReferenceKind;
use lettercase::model::submission::{Said, SubmissionState};

use super::{nakamura, node, settle, texts};
use crate::on_both;
use crate::support::{plan, scanner};

fn of_claim(number: &str, member: &str) -> Said {
    Said { claim_number: number.parse().ok(), member_id: member.parse().ok(), ..Said::default() }
}

fn after(reference: ReferenceNumber) -> Said {
    Said { reference: Some(reference), ..Said::default() }
}

on_both! {
    async fn rec_02_no_reconsideration_is_opened_where_the_claim_does_not_allow_it(world: &World) {
        world.load_samples().await;
        let wrong_tin = Said { tin: "002648197".parse().ok(), ..nakamura() };
        for (said, note) in [
            (of_claim("CL2654813072", "MH38649275"), "REC-02"),
            (of_claim("CL0000000000", "MH38649275"), "no claim of the number"),
            (of_claim("CL2683604951", "MH38649275"), "another member's"),
            (wrong_tin, "another practice's"),
            (Said::default(), "no claim was named"),
        ] {
            let id = world.open(CaseKind::Reconsideration, said).await;
            world.add(&id, "letter.txt", b"a page").await;
            let view = world.submit(&id).await;
            assert_eq!((view.state, view.case_number), (SubmissionState::Accepted, None));
            assert!(view.case_note.as_deref().is_some_and(|told| told.contains(note)), "{:?}", view.case_note);
        }
        assert!(texts(world, "SELECT id FROM case_file WHERE origin = 'here'").await.is_empty());
    }
}

on_both! {
    async fn rec_03_a_second_reconsideration_for_a_claim_is_not_opened_while_one_is_open(world: &World) {
        world.load_samples().await;
        let mut views = Vec::new();
        for _ in 0..2 {
            let id = world.open(CaseKind::Reconsideration, nakamura()).await;
            world.add(&id, "letter.txt", b"a page").await;
            views.push(world.submit(&id).await);
        }
        assert!(views[0].case_number.is_some());
        assert_eq!(views[1].case_number, views[0].case_number, "what is sent belongs to the one that is open");
        assert_eq!(texts(world, "SELECT id FROM case_file WHERE origin = 'here'").await.len(), 1);
    }
}

on_both! {
    async fn rec_03_of_two_requests_sent_at_the_same_moment_one_opens_the_case(world: &World) {
        world.load_samples().await;
        let second = node(world, "second", plan(), scanner().await).await;
        let mut ids = Vec::new();
        for _ in 0..2 {
            let id = world.open(CaseKind::Reconsideration, nakamura()).await;
            world.add(&id, "letter.txt", b"a page").await;
            ids.push(id);
        }
        let (one, two) = tokio::join!(world.app.intake.submit("a", &ids[0]), second.intake.submit("b", &ids[1]));
        one.unwrap();
        two.unwrap();
        // Both nodes work at once; what one of them loses to the other it looks at again.
        let work = |app: lettercase::app::App| {
            tokio::spawn(async move {
                for _ in 0..50 {
                    if app.engine.run_until_idle().await.is_ok() {
                        return;
                    }
                }
            })
        };
        let (one, two) = tokio::join!(work(world.app.clone()), work(second));
        one.unwrap();
        two.unwrap();
        settle(world).await;
        assert_eq!(texts(world, "SELECT id FROM case_file WHERE origin = 'here'").await.len(), 1);
        let (one, two) = (world.view(&ids[0]).await, world.view(&ids[1]).await);
        assert_eq!([one.state, two.state], [SubmissionState::Accepted; 2]);
        assert!(one.case_number.is_some());
        assert_eq!(one.case_number, two.case_number, "the other one joined it");
        assert_eq!(texts(world, "SELECT id FROM event WHERE type = 'case.opened.reconsideration'").await.len(), 1);
    }
}

on_both! {
    async fn rec_32_the_reference_of_an_earlier_submission_leads_to_its_case_and_to_no_other_kind_or_brand(world: &World) {
        world.load_samples().await;
        let first = world.open(CaseKind::Reconsideration, nakamura()).await;
        world.add(&first, "letter.txt", b"a page").await;
        let first = world.submit(&first).await;
        let later = world.open(CaseKind::Reconsideration, after(first.reference.clone())).await;
        world.add(&later, "note.txt", b"member MH27390641").await;
        let later = world.submit(&later).await;
        assert_eq!(later.case_number, first.case_number);
        assert_eq!(later.documents[0].case_number, first.case_number);

        for (kind, brand, note) in [
            (CaseKind::Appeal, "meridian", "another kind"),
            (CaseKind::Reconsideration, "other", "no case is known"),
        ] {
            let new = NewSubmission {
            id: None,
            owner: "test".into(),
                brand: brand.parse().unwrap(),
                kind,
                said: after(first.reference.clone()),
                channel: Channel::Upload,
                sender_reference: None,
                resubmits: None,
            };
            let id = world.app.intake.open_submission("test", new).await.unwrap().id;
            world.add(&id, "note.txt", b"member MH27390641").await;
            let view = world.submit(&id).await;
            assert_eq!(view.case_number, None);
            assert!(view.case_note.as_deref().is_some_and(|told| told.contains(note)), "{:?}", view.case_note);
            assert_eq!(view.documents[0].case_number, None);
        }
        let unknown = world.open(CaseKind::Reconsideration, after(ReferenceNumber::from_random(7))).await;
        world.add(&unknown, "note.txt", b"a page").await;
        assert_eq!(world.submit(&unknown).await.case_number, None);
    }
}

on_both! {
    async fn a_bulk_load_never_overwrites_a_case_that_was_opened_here(world: &World) {
        world.load_samples().await;
        let id = world.open(CaseKind::Reconsideration, nakamura()).await;
        world.add(&id, "letter.txt", b"a page").await;
        let number = world.submit(&id).await.case_number.unwrap();
        let row = |number: &str, status: &str, more: &str| {
            format!(
                r#"{{"brand":"meridian","case_number":"{number}","kind":"reconsideration","status":"{status}","member_id":"MH27390641","tin":"005820914","claim_number":"CL2683604951","opened_on":"2026-11-01"{more}}}"#
            )
        };
        let closed = row(&number, "Upheld", r#","closed_on":"2026-11-02""#);
        let rival = row("RC-RIVAL", "Received", "");
        let report = world.load(ReferenceKind::Cases, &format!("{closed}\n{rival}\n")).await;
        assert_eq!((report.loaded, report.rejected), (0, 2));
        assert!(report.rejects[0].reason.contains("opened here"), "{:?}", report.rejects);
        assert!(report.rejects[1].reason.contains("REC-03"), "{:?}", report.rejects);
        assert_eq!(world.view(&id).await.case_status.as_deref(), Some("Received"));
    }
}
