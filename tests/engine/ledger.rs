//! The conservation ledger: whatever vanishes, appears or changes behind the program's back shows.

use lettercase::db::ledger::{self, Kind};
use lettercase::model::case::CaseKind;
use lettercase::model::submission::{Said, SubmissionState};

use super::toy::{keep, restore, sql};
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
