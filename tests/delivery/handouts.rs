//! Sheets that are handed out where they are asked for: read from the PDF that a caller gets.

use std::process::Command;

use lettercase::db::case_files;
use lettercase::db::events;
use lettercase::model::access::{Scope, TinSet};
use lettercase::model::case::CaseKind;
use lettercase::model::ids::{CaseId, SubmissionId};
use lettercase::model::phi::Phi;
use lettercase::model::submission::Said;

use super::http::{all, refused, service};
use super::*;
use crate::http::Server;
use crate::on_both;

/// The words of a PDF that a caller was handed.
async fn words(server: &Server, path: &str) -> String {
    let response = crate::http::client(&server.key).get(server.url(path)).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    assert_eq!(response.headers()["content-type"], "application/pdf");
    assert_eq!(response.headers()["cache-control"], "private, no-store");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), response.bytes().await.unwrap()).unwrap();
    let ran = Command::new("pdftotext").args(["-raw", "-enc", "UTF-8"]).arg(file.path()).arg("-").output();
    let text =
        String::from_utf8(ran.unwrap_or_else(|_| panic!("pdftotext is missing: run `make deps`")).stdout).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn case_of(world: &World, submission: &SubmissionId) -> CaseId {
    let view = world.view(submission).await;
    let number = view.case_number.unwrap();
    let mut conn = world.db().read().await.unwrap();
    case_files::by_number(&mut conn, &world.settings.brand, &number.parse().unwrap()).await.unwrap().unwrap().id
}

/// A request of the samples' practice for a claim of theirs, with two files.
async fn request(world: &World) -> SubmissionId {
    world.load_samples().await;
    let said = Said {
        claim_number: Some("CL2683604951".parse().unwrap()),
        tin: Some("005820914".parse().unwrap()),
        service_date: Some(Phi(jiff::civil::date(2026, 8, 19))),
        ..Said::default()
    };
    let submission = world.open(CaseKind::Reconsideration, said).await;
    world.add(&submission, "the visit, 診療.txt", b"A note of the visit, in words.\n").await;
    world.add(&submission, "scan.txt", b"Another note.\n").await;
    submission
}

on_both! {
    async fn rec_32_a_copy_of_a_request_says_what_was_sent_and_when(world: &World) {
        let submission = request(world).await;
        let server = Server::start(&world.app).await;
        let path = format!("/v1/submissions/{submission}/copy");
        assert_eq!(refused(&all(&server).get(&path).await), (409, "wrong_state"), "it was not sent yet");
        let sent = world.submit(&submission).await;
        let copy = words(&server, &path).await;
        for said in [
            "Copy of your reconsideration request", sent.reference.as_str(), "from your practice's system",
            "November 20, 2026 at 10:00 AM EST", "CL2683604951", "the visit, __.txt", "scan.txt not counted 14 B",
        ] {
            assert!(copy.contains(said), "no {said:?} in {copy}");
        }
        let case = case_of(world, &submission).await;
        let mut conn = world.db().read().await.unwrap();
        let told = events::of_subject(&mut conn, case.as_str(), &["case.sheet_handed_out".to_owned()], 10).await.unwrap();
        assert_eq!(told.len(), 1);
        drop(conn);

        let other = service(world, &server, &[Scope::Read], TinSet::Only([tin("004417203")].into())).await;
        assert_eq!(refused(&other.get(&path).await), (404, "not_found"), "another practice's key");
    }
}

on_both! {
    async fn ops_06_a_cover_sheet_names_the_case_and_goes_to_who_may_see_it(world: &World) {
        let submission = request(world).await;
        world.submit(&submission).await;
        let server = Server::start(&world.app).await;
        let case = case_of(world, &submission).await;
        let path = format!("/v1/cases/{case}/cover-sheet");
        let number = world.view(&submission).await.case_number.unwrap();
        let sheet = words(&server, &path).await;
        for said in ["Cover sheet: lay this on top of your documents", &number, "CL2683604951"] {
            assert!(sheet.contains(said), "no {said:?} in {sheet}");
        }
        assert!(!sheet.contains("Letter number") && !sheet.contains("MH27390641"), "{sheet}");
        let member = words(&server, &format!("{path}?addressee=member")).await;
        assert_ne!(member, sheet);

        let other = service(world, &server, &[Scope::Read], TinSet::Only([tin("004417203")].into())).await;
        assert_eq!(refused(&other.get(&path).await), (404, "not_found"), "another practice's key");
        let blind = service(world, &server, &[Scope::Submit], TinSet::All).await;
        assert_eq!(refused(&blind.get(&path).await).0, 403);
        assert_eq!(refused(&all(&server).get(&format!("{path}?addressee=nobody")).await).0, 400);
        assert_eq!(refused(&all(&server).get("/v1/cases/nonsense/cover-sheet").await), (404, "not_found"));
    }
}
