//! The conservation ledger: whatever vanishes, appears or changes behind the program's back shows.

use lettercase::db::ledger::{self, Kind};
use lettercase::model::case::CaseKind;
use lettercase::model::letter::{DeliveryChannel, LetterState};
use lettercase::model::submission::{Said, SubmissionState};

use super::toy::{keep, restore, sql};
use crate::delivery::{New, REGISTERED, UNREAD, practices};
use crate::on_both;
use crate::support::World;

const TABLES: [&str; 4] = ["document", "submission", "posting", "receipt"];

async fn difference(world: &World) -> i64 {
    let mut conn = world.db().read().await.unwrap();
    ledger::count(&mut conn).await.unwrap().difference
}

/// A submission with two files, one of them refused.
async fn a_journey(world: &World) {
    world.load_samples().await;
    let said = Said { claim_number: "CL2683604951".parse().ok(), ..Said::default() };
    let id = world.open(CaseKind::Reconsideration, said).await;
    world.add(&id, "letter.txt", b"Please look at this claim again.").await;
    world.add(&id, "other.txt", b"And at this, please.").await;
    let view = world.submit(&id).await;
    assert_eq!(view.state, SubmissionState::Accepted);
}

on_both! {
    async fn whatever_is_changed_behind_the_programs_back_makes_the_ledger_differ(world: &World) {
        assert_eq!(difference(world).await, 0, "nothing is nothing");
        a_journey(world).await;
        assert_eq!(difference(world).await, 0);
        keep(world, &TABLES).await;
        let one = "(SELECT MIN(id) FROM document)";
        let copied = "INSERT INTO document (id, brand, state, channel, file_name, file_name_key, node, received_at,
                                            created_at, accepted_at, version)
                      SELECT 'forged', brand, state, channel, file_name, file_name_key, node, received_at,
                             created_at, accepted_at, version FROM document WHERE id = (SELECT MIN(id) FROM document)";
        let nowhere = "INSERT INTO document (id, brand, state, channel, file_name, file_name_key, node, received_at,
                                             created_at, version)
                       SELECT 'forged', brand, '', channel, file_name, file_name_key, node, received_at,
                              created_at, version FROM document WHERE id = (SELECT MIN(id) FROM document)";
        let everything_of_one = [
            format!("DELETE FROM posting WHERE subject = {one}"),
            format!("DELETE FROM document WHERE id = {one}"),
        ];
        let cases = [
            vec![format!("DELETE FROM document WHERE id = {one}")],
            vec!["DELETE FROM document".to_owned()],
            vec![copied.to_owned()],
            vec![nowhere.to_owned()],
            vec![format!("UPDATE document SET state = 'purged' WHERE id = {one}")],
            vec![format!("UPDATE document SET state = 'lost' WHERE id = {one}")],
            vec![format!("UPDATE document SET state = '' WHERE id = {one}")],
            vec![format!("UPDATE document SET accepted_at = NULL WHERE id = {one}")],
            vec!["DELETE FROM posting WHERE id = (SELECT MIN(id) FROM posting)".to_owned()],
            vec!["DELETE FROM posting WHERE id = (SELECT MAX(id) FROM posting)".to_owned()],
            vec!["DELETE FROM posting WHERE kind = 'submission'".to_owned()],
            vec!["UPDATE posting SET to_state = 'lost' WHERE id = (SELECT MAX(id) FROM posting)".to_owned()],
            vec![format!("DELETE FROM receipt WHERE subject = {one}")],
            vec!["INSERT INTO receipt SELECT kind, 'forged', brand, at FROM receipt WHERE subject = (SELECT MIN(id) FROM document)".to_owned()],
            vec!["DELETE FROM submission".to_owned()],
            vec!["UPDATE submission SET state = 'withdrawn'".to_owned()],
            everything_of_one.to_vec(),
        ];
        for statements in cases {
            for statement in &statements {
                assert_ne!(sql(world, statement).await, 0, "{statement}");
            }
            assert_ne!(difference(world).await, 0, "{statements:?}");
            restore(world, &TABLES).await;
            assert_eq!(difference(world).await, 0);
        }
    }
}

on_both! {
    async fn a_state_that_the_program_does_not_know_has_its_line(world: &World) {
        a_journey(world).await;
        keep(world, &TABLES).await;
        sql(world, "UPDATE document SET state = 'lost'").await;
        let counted = { let mut conn = world.db().read().await.unwrap(); ledger::count(&mut conn).await.unwrap() };
        let line = counted.lines.iter().find(|line| line.state == "lost").expect("a line of its own");
        assert_eq!((line.kind, line.rows, line.posted), (Kind::Document, 2, 0));
        assert_eq!(counted.difference, 6, "two where they should not be, two not where they should, two tasks about nothing");
        restore(world, &TABLES).await;
    }
}

const LETTER_TABLES: [&str; 4] = ["letter", "delivery", "posting", "receipt"];

/// Two letters in the Messaging Center, one of them on paper, too; one stopped, one refused, one on its way.
async fn letters(world: &World) {
    practices(world).await;
    New { to: REGISTERED, ..New::default() }.routed(world).await;
    New { to: UNREAD, ..New::default() }.routed(world).await;
    for state in [LetterState::Composed, LetterState::Refused] {
        New { state, ..New::default() }.ask(world).await;
    }
    let stopped = New::default().ask(world).await;
    let why = lettercase::model::letter::StopReason::Duplicate;
    lettercase::delivery::stop::stop(world.db(), world.stamp(), &stopped, None, why).await.unwrap();
    // what is on its way stays there
    sql(world, "DELETE FROM work").await;
}

on_both! {
    async fn ops_letters_and_deliveries_are_counted_from_what_was_asked_for_to_where_they_are(world: &World) {
        letters(world).await;
        let counted = { let mut conn = world.db().read().await.unwrap(); ledger::count(&mut conn).await.unwrap() };
        let all = &counted.letters;
        assert_eq!((all.asked, all.in_flight, all.routed, all.stopped, all.refused, all.unexplained), (5, 1, 2, 1, 1, 0));
        let per_channel: Vec<_> =
            counted.deliveries.iter().map(|of| (of.channel, of.created, of.waiting, of.delivered, of.stopped)).collect();
        assert_eq!(per_channel, [
            (DeliveryChannel::Inbox, 2, 0, 2, 0),
            (DeliveryChannel::Paper, 1, 1, 0, 0),
            (DeliveryChannel::Fax, 0, 0, 0, 0),
        ]);
        assert_eq!(counted.difference, 0);
    }
}

on_both! {
    async fn letters_and_deliveries_changed_behind_the_programs_back_make_the_ledger_differ(world: &World) {
        letters(world).await;
        assert_eq!(difference(world).await, 0);
        keep(world, &LETTER_TABLES).await;
        let columns = "brand, type, category, state, asker, addressee, tin, details, circumstances, created_at, version";
        let one_letter = "(SELECT MIN(id) FROM letter)";
        let one_way = "(SELECT MIN(id) FROM delivery)";
        let cases = [
            vec![format!("DELETE FROM letter WHERE id = {one_letter}")],
            vec!["DELETE FROM letter".to_owned()],
            vec![format!("UPDATE letter SET state = 'asked' WHERE id = {one_letter}")],
            vec![format!("UPDATE letter SET state = 'lost' WHERE id = {one_letter}")],
            vec!["UPDATE letter SET reason_code = NULL WHERE state = 'refused'".to_owned()],
            vec!["UPDATE letter SET reason_code = '' WHERE state = 'stopped'".to_owned()],
            vec![format!("INSERT INTO letter (id, number, event_id, {columns})
                          SELECT 'forged', 'forged', 'forged', {columns} FROM letter WHERE id = {one_letter}")],
            vec![
                format!("DELETE FROM posting WHERE subject = {one_letter}"),
                format!("DELETE FROM letter WHERE id = {one_letter}"),
            ],
            vec![format!("DELETE FROM receipt WHERE subject = {one_letter}")],
            vec!["DELETE FROM posting WHERE kind = 'letter'".to_owned()],
            vec![format!("DELETE FROM delivery WHERE id = {one_way}")],
            vec!["DELETE FROM delivery".to_owned()],
            vec![format!("UPDATE delivery SET state = 'waiting' WHERE id = {one_way}")],
            vec![format!("UPDATE delivery SET state = 'lost' WHERE id = {one_way}")],
            vec![format!("UPDATE delivery SET channel = 'fax' WHERE id = {one_way}")],
            vec![format!("UPDATE delivery SET channel = 'pigeon' WHERE id = {one_way}")],
            vec![
                "UPDATE delivery SET state = 'stopped' WHERE channel = 'paper'".to_owned(),
                "UPDATE posting SET to_state = 'stopped' WHERE kind = 'delivery_paper'".to_owned(),
            ],
            vec![
                format!("DELETE FROM posting WHERE subject = {one_way}"),
                format!("DELETE FROM delivery WHERE id = {one_way}"),
            ],
            vec![format!("DELETE FROM receipt WHERE subject = {one_way}")],
        ];
        for statements in cases {
            for statement in &statements {
                assert_ne!(sql(world, statement).await, 0, "{statement}");
            }
            assert_ne!(difference(world).await, 0, "{statements:?}");
            restore(world, &LETTER_TABLES).await;
            assert_eq!(difference(world).await, 0);
        }
    }
}
