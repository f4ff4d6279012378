//! COR-42: the printer's word, spoiled envelopes, and what is printed again.

use lettercase::model::paper::{BatchKind, EnvelopeState};
use lettercase::paper::PaperError;
use lettercase::paper::production::marks::IntegrityMark;

use super::*;
use crate::delivery::practices;
use crate::journey::count;
use crate::on_both;

on_both! {
    async fn cor_42_every_envelope_is_accounted_for_and_a_spoiled_one_is_printed_again_once(world: &World) {
        practices(world).await;
        let mut sent = Vec::new();
        for zip in ["43001", "43002", "43003", "43004"] {
            sent.push(Post { zip, ..Post::default() }.sent(world).await);
        }
        let batch = close_now(world).await;
        is_assembled(&batch);
        let rows = pieces(world, &batch.id).await;
        let inside = { let mut conn = world.db().read().await.unwrap(); envelopes::enclosed(&mut conn, &batch.id, Some(2)).await.unwrap() };
        let sheets = u32::try_from(rows[1].sheets).unwrap();
        let mark = IntegrityMark::new(&batch.name, 2, (sheets, sheets), inside.iter().map(|one| &one.sha256));
        let misread = IntegrityMark { check: mark.check ^ 1, ..mark.clone() };
        let word = [
            json!({ "sequence": 1, "event": "mailed", "at": "2026-11-20T14:00:00Z" }),
            json!({ "sequence": 1, "event": "printed" }),
            json!({ "barcode": mark.to_string(), "event": "inserted" }),
            json!({ "barcode": misread.to_string(), "event": "mailed" }),
            json!({ "sequence": 3, "event": "spoiled", "reason": "jam" }),
            json!({ "sequence": 3, "event": "mailed" }),
            json!({ "sequence": 9, "event": "mailed" }),
            json!({ "sequence": 4, "event": "eaten" }),
        ];
        let taken = said(world, &batch.id, &word).await;
        assert_eq!((taken.changed, taken.known, taken.unaccounted), (3, 0, 2));
        assert_eq!(taken.problems.iter().map(|one| one.line).collect::<Vec<_>>(), [8, 4, 6, 7]);
        let states = async || pieces(world, &batch.id).await.iter().map(|one| one.state.as_str()).collect::<Vec<_>>();
        assert_eq!(states().await, ["mailed", "inserted", "spoiled", "in_batch"]);
        assert_eq!(stands(world, &sent[0]).await, "delivered: 1 mailed");
        assert_eq!(stands(world, &sent[2]).await, "in_batch: 3 spoiled");
        world.assert_conserved().await;
        // the same file again
        let again = said(world, &batch.id, &word).await;
        assert_eq!((again.changed, again.known, again.problems.len()), (0, 4, 4));

        said(world, &batch.id, &[json!({ "sequence": 4, "event": "missing" })]).await;
        let reprint = paper(world).reprint(world.stamp(), &batch.id).await.unwrap();
        assert_eq!((reprint.kind, reprint.figures.envelopes, reprint.figures.letters), (BatchKind::Reprint, 2, 2));
        assert!(matches!(paper(world).reprint(world.stamp(), &batch.id).await, Err(PaperError::State(_))), "each once");
        world.settle().await;
        assert_eq!(stands(world, &sent[2]).await, "in_batch: 1 in_batch, 3 spoiled");
        // each `all` goes through the whole batch: what says nothing else may not go on for hours
        let endless = said(world, &batch.id, &vec![json!({ "all": true, "event": "printed" }); 25]).await;
        assert_eq!(endless.problems.iter().map(|one| one.line).collect::<Vec<_>>(), [21, 22, 23, 24, 25]);
        let done = said(world, &batch.id, &[json!({ "all": true, "event": "mailed" })]).await;
        assert_eq!((done.batch.state, done.unaccounted), (BatchState::Done, 0));
        assert_eq!(states().await, ["mailed", "mailed", "spoiled", "spoiled"]);
        // the second print is harmed, too
        is_assembled(&look(world, &reprint.id).await);
        said(world, &reprint.id, &[json!({ "sequence": 1, "event": "spoiled" }), json!({ "sequence": 2, "event": "mailed" })]).await;
        let third = paper(world).reprint(world.stamp(), &reprint.id).await.unwrap();
        assert_eq!(look(world, &reprint.id).await.state, BatchState::Done);
        world.settle().await;
        said(world, &third.id, &[json!({ "all": true, "event": "mailed" })]).await;
        for letter in &sent {
            assert!(stands(world, letter).await.starts_with("delivered: "), "{letter}");
        }
        assert_eq!(stands(world, &sent[2]).await, "delivered: 1 mailed, 1 spoiled, 3 spoiled");
        let twice = "SELECT COUNT(*) AS n FROM (SELECT i.letter_id FROM envelope_letter i JOIN envelope e ON e.id = i.envelope_id
                     WHERE e.state = 'mailed' GROUP BY i.letter_id HAVING COUNT(*) > 1) AS twice";
        assert_eq!(count(world, twice).await, 0, "no letter is mailed twice");
        assert!(pieces(world, &batch.id).await.iter().all(|one| one.state != EnvelopeState::Spoiled || one.replaced_by.is_some()));
    }
}

on_both! {
    async fn cor_16_a_batch_on_hold_is_given_to_nobody(world: &World) {
        use lettercase::model::paper::PrintFile;
        practices(world).await;
        Post::default().sent(world).await;
        let batch = close_now(world).await;
        let journey = paper(world);
        let held = journey.hold(world.stamp(), &batch.id, Some(batch.version), " wrong paper ").await.unwrap();
        assert_eq!(held.hold.as_ref().map(|hold| hold.reason.as_str()), Some("wrong paper"));
        assert!(matches!(journey.file(&held, PrintFile::Pdf).await, Err(PaperError::State(_))));
        assert!(matches!(journey.hold(world.stamp(), &batch.id, None, "x").await, Err(PaperError::State(_))));
        assert!(matches!(journey.release(world.stamp(), &batch.id, Some(batch.version)).await, Err(PaperError::Conflict(_))));
        let free = journey.release(world.stamp(), &batch.id, None).await.unwrap();
        let (mut file, stored) = journey.file(&free, PrintFile::Pdf).await.unwrap().unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        assert_eq!(hex::encode(Sha256::digest(&bytes)), stored.sha256.as_str());
        assert!(bytes.starts_with(b"%PDF-"));
    }
}
