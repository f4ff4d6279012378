//! Matching: beyond the samples' scenarios, what ties a document to a case, and how it is undone.

use lettercase::db::case_files;
use lettercase::http::api::view::DocumentView;
use lettercase::intake::review::{self, ReviewError};
use lettercase::model::case::CaseKind;
use lettercase::model::document::DocumentState;
use lettercase::model::submission::{Said, SubmissionState};

use super::{of_case, told};
use crate::hostile::build::{office, pdf, zip};
use crate::on_both;
use crate::support::World;

/// Sends one file, and what became of it.
async fn matched(world: &World, kind: CaseKind, said: Said, name: &str, bytes: &[u8]) -> DocumentView {
    let id = world.open(kind, said).await;
    world.add(&id, name, bytes).await;
    let view = world.submit(&id).await;
    assert_eq!(view.state, SubmissionState::Accepted);
    view.documents.into_iter().next().unwrap()
}

/// Where it went: its case, or the proposals, best first.
fn place(document: &DocumentView) -> String {
    let proposed: Vec<_> = document.proposals.iter().map(|p| p.case_number.as_str()).collect();
    format!("{} {}{}", document.state, document.case_number.as_deref().unwrap_or_default(), proposed.join(" "))
}

on_both! {
    async fn int_15_what_the_sender_said_counts_where_something_corroborates_and_nothing_contradicts(world: &World) {
        world.load_samples().await;
        let appeal = CaseKind::Appeal;
        for (kind, said, text, expected) in [
            (appeal, of_case("AP-5R8KC2WH", "MH95063724"), "no identifier", "matched AP-5R8KC2WH"),
            (appeal, of_case("ap-5r8kc2wh", "mh95063724"), "no identifier", "matched AP-5R8KC2WH"),
            (appeal, of_case("AP-5R8KC2WH", ""), "no identifier", "needs_review AP-5R8KC2WH"),
            // another member's id beside the number
            (appeal, of_case("AP-5R8KC2WH", "MH50381962"), "", "needs_review"),
            // the page is about another member
            (appeal, of_case("AP-5R8KC2WH", "MH95063724"), "Member MH50381962", "needs_review"),
            // a case that is closed is still the one that was named
            (appeal, of_case("AP-2X7NB4FP", "MH49172508"), "", "matched AP-2X7NB4FP"),
            // the case named is of another kind
            (CaseKind::Precertification, of_case("AP-5R8KC2WH", "MH95063724"), "", "needs_review AP-5R8KC2WH"),
            (appeal, of_case("AP-NOT-KNOWN", ""), "", "unmatched "),
        ] {
            let text = format!("A letter. {text}");
            let document = matched(world, kind, said.clone(), "letter.txt", text.as_bytes()).await;
            let place = place(&document);
            assert!(place.starts_with(expected), "{kind} {:?}: {place}, not {expected}", said.case_number.map(String::from));
        }
    }
}

on_both! {
    async fn int_17_two_claims_on_one_page_and_sibling_cases_are_a_persons_decision(world: &World) {
        world.load_samples().await;
        let nothing = Said::default;
        let (kind, name) = (CaseKind::Appeal, "letter.txt");
        let siblings = b"Member MH73405916: claims CL2650279183 and CL2617853690, both denied";
        let document = matched(world, kind, nothing(), name, siblings).await;
        assert_eq!(document.state, DocumentState::NeedsReview);
        assert_eq!(document.proposals.len(), 3, "{}", place(&document));
        let two_open = b"Member MH50381962, claim CL2643781290";
        let document = matched(world, kind, nothing(), name, two_open).await;
        assert!(place(&document).starts_with("needs_review"), "{}", place(&document));
        // ... which what the sender said can settle
        let document = matched(world, kind, of_case("AP-4K7XW9ZB", "MH50381962"), name, two_open).await;
        assert_eq!(place(&document), "matched AP-4K7XW9ZB");
        // one open, one closed
        let document = matched(world, kind, nothing(), name, b"MH73405916 CL2617853690").await;
        assert_eq!(place(&document), "matched AP-6J9TG5VR");
        // an identifier that is not whole is none
        let document = matched(world, kind, nothing(), name, b"MH7340591 CL26178536901").await;
        assert_eq!(place(&document), "unmatched ");
    }
}

/// A Word document that says so, and a workbook.
fn docx(text: &str) -> Vec<u8> {
    let main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml";
    let body = format!(
        r#"<?xml version="1.0"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>"#
    );
    zip::archive(&[
        office::types("word/document.xml", main),
        office::relationships("word/document.xml"),
        zip::item("word/document.xml", body.as_bytes()),
    ])
}

fn xlsx(text: &str) -> Vec<u8> {
    let main = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml";
    let workbook = br#"<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="Claims" sheetId="1" r:id="rId1"/></sheets></workbook>"#;
    let links = br#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#;
    let sheet = format!(
        r#"<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>{text}</t></is></c></row></sheetData></worksheet>"#
    );
    zip::archive(&[
        office::types("xl/workbook.xml", main),
        office::relationships("xl/workbook.xml"),
        zip::item("xl/workbook.xml", workbook),
        zip::item("xl/_rels/workbook.xml.rels", links),
        zip::item("xl/worksheets/sheet1.xml", sheet.as_bytes()),
    ])
}

on_both! {
    async fn int_15_identifiers_are_found_in_the_text_of_each_type_that_has_one(world: &World) {
        world.load_samples().await;
        let text = "Claim CL2638150472 of member MH40726183";
        let utf16: Vec<u8> = [0xFF, 0xFE].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        for (name, bytes) in [
            ("a.txt", text.as_bytes().to_vec()),
            ("utf16.txt", utf16),
            ("a.pdf", pdf::letter(text, "", &[])),
            ("modern.pdf", pdf::with_object_streams(&pdf::letter(text, "", &[]))),
            ("a.docx", docx(text)),
            ("a.xlsx", xlsx(text)),
        ] {
            let document = matched(world, CaseKind::Reconsideration, Said::default(), name, &bytes).await;
            assert_eq!(place(&document), "matched RC-7K4M9TX2", "{name}");
        }
    }
}

on_both! {
    async fn int_17_a_match_keeps_its_evidence_and_can_be_undone_once(world: &World) {
        world.load_samples().await;
        let text = b"Claim CL2638150472 of member MH40726183";
        let view = matched(world, CaseKind::Reconsideration, Said::default(), "a.txt", text).await;
        let before = world.document(&view.id).await;
        assert!(before.case_id.is_some());
        let kept = {
            let mut conn = world.db().read().await.unwrap();
            case_files::candidates(&mut conn, view.id.as_str()).await.unwrap()
        };
        let [decided] = &kept[..] else { panic!("{kept:?}") };
        assert_eq!(Some(&decided.case_id), before.case_id.as_ref());
        for field in ["claim_number", "member_id"] {
            assert!(decided.evidence.contains(field), "{}", decided.evidence);
        }
        for value in ["CL2638150472", "MH40726183"] {
            assert!(!decided.evidence.contains(value), "evidence names fields, not values");
        }

        review::undo_match(world.db(), world.stamp(), world.app.intake.aging(), &view.id, None).await.unwrap();
        world.settle().await;
        let after = world.document(&view.id).await;
        assert_eq!((after.state, after.case_id), (DocumentState::NeedsReview, None));
        assert!(after.version > before.version);
        let undone = told(world, view.id.as_str(), "document.match_undone").await;
        let [undone] = &undone[..] else { panic!("{undone:?}") };
        assert_eq!(undone.actor, "test");
        assert!(undone.payload.contains(before.case_id.unwrap().as_str()), "it says from which case");
        assert_eq!(told(world, view.id.as_str(), "document.needs_review").await.len(), 1);
        let shown = world.view(&before.submission_id.unwrap()).await.documents.remove(0);
        assert_eq!(shown.case_number, None);
        assert_eq!(shown.proposals[0].case_number, "RC-7K4M9TX2");
        assert!(!shown.proposals[0].evidence.is_empty());
        let again = review::undo_match(world.db(), world.stamp(), world.app.intake.aging(), &view.id, None).await;
        assert!(matches!(again, Err(ReviewError::State { state: DocumentState::NeedsReview, .. })), "{again:?}");
    }
}
