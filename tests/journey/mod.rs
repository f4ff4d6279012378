//! The intake journey, end to end, in a world of real components.

use lettercase::model::case::CaseKind;
use lettercase::model::document::DocumentState;
use lettercase::model::submission::{Said, SubmissionState};

use crate::on_both;

on_both! {
    async fn int_15_a_text_that_names_its_claim_opens_a_case_and_is_matched_to_it(world: &World) {
        world.load_samples().await;
        let said = Said {
            claim_number: "CL2683604951".parse().ok(),
            member_id: "MH27390641".parse().ok(),
            ..Said::default()
        };
        let id = world.open(CaseKind::Reconsideration, said).await;
        world.add(&id, "letter.txt", b"Please look at this claim again.").await;
        let view = world.submit(&id).await;
        assert_eq!(view.state, SubmissionState::Accepted);
        assert_eq!(view.case_status.as_deref(), Some("Received"));
        assert_eq!(view.documents[0].state, DocumentState::Matched);
        assert_eq!(view.documents[0].case_number, view.case_number);
    }
}
