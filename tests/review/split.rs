//! Taking a document apart (OPS-01): nothing is lost, doubled or carried along, and a crash in between costs nothing.

use std::time::Duration;

use lettercase::db::documents;
use lettercase::intake::review::ReviewError;
use lettercase::intake::review::split::split;
use lettercase::model::document::{Channel, DocumentState};
use lettercase::model::ids::DocumentId;
use lettercase::model::pages::PageRange;
use lettercase::outside::objects::{ObjectKey, Place};

use super::{STRANGER, alone, claimed, person, sent, take, task_of};
use crate::hostile::build::pdf;
use crate::journey::{objects_in, told};
use crate::on_both;
use crate::support::World;

/// A PDF of pages with these texts, which share their resources, and where each links to the next.
pub(crate) fn paper(texts: &[&str]) -> Vec<u8> {
    let count = texts.len();
    let first = 6;
    let kids: Vec<String> = (0..count).map(|n| format!("{} 0 R", first + 4 * n)).collect();
    let pictures: Vec<String> = (0..count).map(|n| format!("/Im{n} {} 0 R", first + 4 * n + 2)).collect();
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R /Outlines 4 0 R >>".to_vec(),
        format!(
            "<< /Type /Pages /Kids [{}] /Count {count} /MediaBox [0 0 612 792] /Resources 5 0 R >>",
            kids.join(" ")
        )
        .into_bytes(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_vec(),
        format!("<< /Type /Outlines /Count 1 /Title ({}) >>", texts.join(" ")).into_bytes(),
        format!("<< /Font << /F1 3 0 R >> /XObject << {} >> >>", pictures.join(" ")).into_bytes(),
    ];
    for (n, text) in texts.iter().enumerate() {
        let at = first + 4 * n;
        let next = first + 4 * ((n + 1) % count);
        objects.push(
            format!("<< /Type /Page /Parent 2 0 R /Contents {} 0 R /Annots [{} 0 R] >>", at + 1, at + 3).into_bytes(),
        );
        objects.push(pdf::stream("", format!("BT /F1 12 Tf 72 720 Td ({text}) Tj ET q /Im{n} Do Q").as_bytes()));
        objects.push(pdf::stream(
            "/Type /XObject /Subtype /Form /BBox [0 0 9 9]",
            format!("BT (seen of {text}) Tj ET").as_bytes(),
        ));
        objects.push(format!("<< /Type /Annot /Subtype /Text /Rect [0 0 9 9] /Contents (note of {text}) /P {at} 0 R /Dest [{next} 0 R /Fit] >>").into_bytes());
    }
    pdf::write(&objects, "")
}

fn ranges(text: &str) -> Vec<PageRange> {
    text.split(' ').map(|range| range.parse().unwrap()).collect()
}

async fn content(world: &World, id: &DocumentId) -> Vec<u8> {
    let row = world.document(id).await;
    let key = ObjectKey::content(&row.brand, &row.sha256.unwrap());
    world.app.intake.objects.get_bytes(&key, 1 << 20).await.unwrap().unwrap()
}

on_both! {
    async fn ops_01_a_fax_with_papers_of_several_is_split_and_each_goes_its_own_way(world: &World) {
        world.load_samples().await;
        let brand = world.settings.brand.clone();
        let bytes = paper(&[
            "Claim CL2638150472 of member MH40726183", "page two of it", "ZEBRA unknown", "Member MH50381962 claim CL2643781290",
        ]);
        let whole = alone(world, &brand, Channel::Fax, "fax.pdf", &bytes).await;
        let before = world.document(&whole).await;
        assert_eq!(before.state, DocumentState::NeedsReview, "two claims in one paper");
        world.advance(Duration::from_secs(60));
        let lease = take(world, "ann", &whole).await;
        let claim = claimed(world, &lease).await;
        let tools = world.app.intake.split_tools();
        let parts = split(tools, person(world, "ann"), &claim, &ranges("1-2 4 3")).await.unwrap();
        assert_eq!(world.document(&whole).await.state, DocumentState::Split);
        assert!(task_of(world, &whole).await.is_none());
        world.assert_conserved().await;
        world.settle().await;
        let expected = [DocumentState::Matched, DocumentState::NeedsReview, DocumentState::Unmatched];
        let texts = [["CL2638150472", "page two"].as_slice(), &["CL2643781290"], &["ZEBRA"]];
        let foreign = [["CL2643781290", "ZEBRA"].as_slice(), &["CL2638150472", "ZEBRA", "page two"], &["CL26", "page two"]];
        for (n, part) in parts.iter().enumerate() {
            let row = world.document(part).await;
            assert_eq!(row.state, expected[n], "part {n}: {:?}", row.reason);
            assert_eq!((row.parent_id.as_ref(), row.channel, row.received_at), (Some(&whole), Channel::Fax, before.received_at));
            assert_eq!(row.verdict.as_deref(), Some("clean"), "scanned by itself");
            let bytes = content(world, part).await;
            let document = lopdf::Document::load_mem(&bytes).unwrap();
            let everything: String = document.objects.values().map(|object| match object {
                lopdf::Object::Stream(stream) => String::from_utf8_lossy(&stream.content).into_owned(),
                other => format!("{other:?}"),
            }).collect();
            for text in texts[n] {
                assert!(everything.contains(text), "part {n} lacks {text}");
                assert!(everything.contains("seen of "), "part {n} lacks its picture");
            }
            for text in foreign[n] {
                assert!(!everything.contains(text), "part {n} carries {text} along");
            }
        }
        let events = told(world, whole.as_str(), "document.split").await;
        assert!(events.len() == 1 && events[0].actor == "ann" && events[0].payload.contains("\"parts\":3"), "{events:?}");
        let received = told(world, parts[0].as_str(), "document.received").await;
        assert!(received[0].payload.contains(whole.as_str()), "it tells what it came from");
    }
}

on_both! {
    async fn ops_01_ranges_that_lose_or_double_a_page_are_refused(world: &World) {
        let id = sent(world, "a.pdf", &paper(&["one", "two", "three"])).await;
        let text = sent(world, "a.txt", STRANGER).await;
        let lease = take(world, "ann", &id).await;
        let claim = claimed(world, &lease).await;
        let tools = world.app.intake.split_tools();
        for (wrong, told) in [("1-3", "at least two"), ("1 2", "page 3 is in no range"), ("1-2 2-3", "page 2 is in two"), ("1-2 3-4", "no page 4")] {
            let refused = split(tools, person(world, "ann"), &claim, &ranges(wrong)).await;
            assert!(matches!(&refused, Err(ReviewError::Ranges(why)) if why.contains(told)), "{wrong}: {refused:?}");
        }
        assert!(matches!(split(tools, person(world, "ben"), &claim, &ranges("1 2-3")).await, Err(ReviewError::NotHolder)));
        let lease = take(world, "ann", &text).await;
        let refused = split(tools, person(world, "ann"), &claimed(world, &lease).await, &ranges("1 2")).await;
        assert!(matches!(refused, Err(ReviewError::CantSplit(_))), "{refused:?}");
        assert_eq!(objects_in(world, Place::Incoming).await, Vec::<String>::new(), "nothing is left");
    }
}

on_both! {
    async fn a_part_that_says_nothing_itself_is_never_matched_by_what_was_said_of_the_whole(world: &World) {
        world.load_samples().await;
        let said = crate::journey::of_case("AP-5R8KC2WH", "MH95063724");
        let submission = world.open(lettercase::model::case::CaseKind::Appeal, said).await;
        let id = world.add(&submission, "a.pdf", &paper(&["Member MH50381962", "nothing"])).await;
        world.submit(&submission).await;
        assert_eq!(world.document(&id).await.state, DocumentState::NeedsReview, "the page contradicts");
        let lease = take(world, "ann", &id).await;
        let tools = world.app.intake.split_tools();
        let parts = split(tools, person(world, "ann"), &claimed(world, &lease).await, &ranges("1 2")).await.unwrap();
        world.settle().await;
        let row = world.document(&parts[1]).await;
        assert!(row.said.is_some_and(|said| said.case_number.is_some()), "it is inherited");
        assert_eq!(row.state, DocumentState::NeedsReview, "and proposes, no more");
    }
}

on_both! {
    async fn what_a_crash_leaves_of_a_split_is_swept_and_the_whole_still_waits(world: &World) {
        let id = sent(world, "a.pdf", &paper(&["one", "two"])).await;
        let lease = take(world, "ann", &id).await;
        let claim = claimed(world, &lease).await;
        let (app, ctx) = (world.app.clone(), world.app.intake.ctx.clone());
        // the parts lie in their place, the transaction never came: as a process leaves it that died there
        let orphans: Vec<DocumentId> = (0..2).map(|_| ctx.new_id().parse().unwrap()).collect();
        for orphan in &orphans {
            let path = world.dir.path().join(orphan.as_str());
            std::fs::write(&path, STRANGER).unwrap();
            let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(STRANGER)).parse().unwrap();
            app.intake.objects.put_file(&ObjectKey::incoming(orphan), &path, STRANGER.len() as u64, &sha256).await.unwrap();
        }
        assert_eq!(world.document(&id).await.state, DocumentState::Unmatched);
        world.advance(Duration::from_secs(3_601));
        assert_eq!(app.intake.reconcile("ours").await.unwrap().orphans, 2);
        assert!(objects_in(world, Place::Incoming).await.is_empty());
        let mut conn = world.db().read().await.unwrap();
        assert!(documents::get(&mut conn, &orphans[0]).await.unwrap().is_none());
        drop(conn);
        let tools = world.app.intake.split_tools();
        let late = split(tools, person(world, "ann"), &claim, &ranges("1 2")).await;
        assert!(matches!(late, Err(ReviewError::NotHolder)), "{late:?}");
        let lease = take(world, "ann", &id).await;
        split(tools, person(world, "ann"), &claimed(world, &lease).await, &ranges("1 2")).await.unwrap();
    }
}
