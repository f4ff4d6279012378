//! COR-42: addresses that can't be used, mail that came back, and letters that go elsewhere than it says on them.

use lettercase::db::paper_tasks::{self, PaperTask};
use lettercase::model::paper::ReturnReason;
use lettercase::paper::PaperError;
use lettercase::paper::addresses::GivenAddress;

use super::*;
use crate::delivery::practices;
use crate::on_both;

fn given(street: &str, zip: &str) -> GivenAddress {
    serde_json::from_value(json!({ "lines": [street], "city": "Ellery", "state": "OH", "zip": zip })).unwrap()
}

async fn tasks(world: &World) -> Vec<PaperTask> {
    let mut conn = world.db().read().await.unwrap();
    paper_tasks::standing(&mut conn, None, 100).await.unwrap()
}

on_both! {
    async fn cor_42_a_letter_with_an_address_that_can_t_be_used_waits_for_a_person(world: &World) {
        practices(world).await;
        let bad = Post { zip: "1", ..Post::default() }.sent(world).await;
        let more = Post { zip: "1", ..Post::default() }.sent(world).await;
        assert!(matches!(paper(world).close_now(world.stamp(), &brand()).await, Err(PaperError::NothingWaits)));
        let good = Post { zip: "43002", ..Post::default() }.sent(world).await;
        let first = close_now(world).await;
        assert_eq!((first.figures.envelopes, stands(world, &good).await.as_str()), (1, "in_batch: 1 in_batch"));
        let found = tasks(world).await;
        assert_eq!(found.len(), 1, "one for the address, however many letters");
        assert_eq!((found[0].reasons.as_slice(), found[0].due_at.to_string().as_str()), (&["zip_malformed".to_owned()][..], "2026-11-25T05:00:00Z"));
        assert_eq!(stands(world, &bad).await, "waiting: ");

        let (journey, id) = (paper(world), &found[0].id);
        let correct = async |version, address: &GivenAddress| journey.correct_address(world.stamp(), id, version, address).await;
        assert!(matches!(correct(None, &given("12 Weir St", "4300")).await, Err(PaperError::Address(_))));
        assert!(matches!(correct(Some(7), &given("12 Weir St", "43001")).await, Err(PaperError::Conflict(_))));
        assert_eq!(correct(None, &given("12 Weir St", "43001")).await.unwrap().1, 0, "nothing came back");
        assert!(matches!(correct(None, &given("12 Weir St", "43001")).await, Err(PaperError::State(_))));

        let batch = close_now(world).await;
        is_assembled(&batch);
        let rows = pieces(world, &batch.id).await;
        assert_eq!((rows.len(), rows[0].carrier, rows[0].sheets), (1, true, 2 * i64::from(PDF.1.div_ceil(2)) + 1));
        assert_eq!((stands(world, &bad).await, stands(world, &more).await), ("in_batch: 1 in_batch".into(), "in_batch: 1 in_batch".into()));
        let told = manifest(world, &batch).await;
        assert_eq!((&told["letters"], &told["sheets"], &told["pieces"][0]["letters"].as_array().unwrap().len()), (&json!(2), &json!(rows[0].sheets), &2));
        // what comes later goes there, too
        let later = Post { zip: "1", ..Post::default() }.sent(world).await;
        close_now(world).await;
        assert_eq!(stands(world, &later).await, "in_batch: 1 in_batch");
        assert!(tasks(world).await.is_empty());
    }
}

on_both! {
    async fn cor_42_mail_that_came_back_waits_and_is_mailed_again_once_to_another_address(world: &World) {
        practices(world).await;
        let letter = Post::default().sent(world).await;
        let batch = close_now(world).await;
        let row = pieces(world, &batch.id).await.remove(0);
        let imb = format!("00270{}{:09}43001", row.mailer_id, row.serial);
        let journey = paper(world);
        let back = async |barcode: &str, address: Option<&GivenAddress>| journey.returned(world.stamp(), barcode, ReturnReason::Moved, address).await;
        for nothing in ["", "00270800000000000999", "B-20261120-09|000001|01/01|00000000", &format!("{}|000001|01/01|00000000", batch.name)] {
            assert!(matches!(back(nothing, None).await, Err(PaperError::NoEnvelope)), "{nothing}");
        }
        // it came back before anybody said that it was mailed
        let came = back(&imb, None).await.unwrap();
        assert_eq!((came.envelope.reason.as_deref(), came.again, came.task.is_some()), (Some("moved"), 0, true));
        assert_eq!(look(world, &batch.id).await.state, BatchState::Done);
        assert_eq!(stands(world, &letter).await, "returned: 1 returned");
        let further = Post::default().sent(world).await;
        let elsewhere = Post { street: "99 Other St", ..Post::default() }.sent(world).await;
        assert_eq!(close_now(world).await.figures.letters, 1, "further mail to that address waits");
        assert_eq!((stands(world, &further).await.as_str(), stands(world, &elsewhere).await.as_str()), ("waiting: ", "in_batch: 1 in_batch"));
        world.assert_conserved().await;

        // told again, with the address
        let came = back(&imb, Some(&given("5 New St", "43009"))).await.unwrap();
        assert_eq!((came.again, came.task.is_none()), (1, true));
        assert_eq!(back(&imb, Some(&given("5 New St", "43009"))).await.unwrap().again, 0, "once");
        let again = close_now(world).await;
        assert_eq!((again.figures.envelopes, again.figures.letters), (1, 2));
        assert_eq!(stands(world, &letter).await, "in_batch: 1 in_batch, 1 returned");
        said(world, &again.id, &[json!({ "all": true, "event": "mailed" })]).await;
        assert_eq!(stands(world, &letter).await, "delivered: 1 mailed, 1 returned");

        // that one comes back as well, and is sent there again as it is
        let row = pieces(world, &again.id).await.remove(0);
        let came = back(&format!("00270{}{:09}", row.mailer_id, row.serial), None).await.unwrap();
        let task = came.task.unwrap();
        let (_, waiting) = journey.dismiss_task(world.stamp(), &task.id, Some(task.version), true).await.unwrap();
        assert_eq!(waiting, 2);
        let last = close_now(world).await;
        assert!(pieces(world, &last.id).await[0].carrier);
        said(world, &last.id, &[json!({ "all": true, "event": "mailed" })]).await;
        assert_eq!(stands(world, &letter).await, "delivered: 1 mailed, 1 returned, 1 returned");
        assert!(tasks(world).await.is_empty());
    }
}
