//! The database itself: the schema's age, transitions, and that a value comes back as it went in.

use lettercase::db::documents::{self, Change};
use lettercase::db::{Db, DbError, Flavor, events, installation, set_installation, submissions};
use lettercase::engine::installation_brand;
use lettercase::model::case::CaseKind;
use lettercase::model::document::DocumentState;
use lettercase::model::event::{EventType, NewEvent};
use lettercase::model::submission::{Said, SubmissionState};
use serde_json::json;

use super::toy::{number, sequencer, sql};
use crate::on_both;
use crate::support::{On, World, block_on, postgres};

/// Another database of the world's kind, empty.
async fn empty(world: &World) -> (String, Option<postgres::Database>) {
    world.on.database(&world.dir.path().join("empty.db")).await
}

fn refusal(checked: Result<(), DbError>) -> String {
    match checked {
        Err(DbError::Schema(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

on_both! {
    async fn migrating_twice_is_harmless_and_an_empty_database_is_refused(world: &World) {
        let (url, _kept) = empty(world).await;
        let db = Db::open(&url).await.unwrap();
        assert_eq!(db.flavor() == Flavor::Sqlite, world.on == On::Sqlite);
        assert!(refusal(db.check_schema().await).contains("empty"));
        db.migrate().await.unwrap();
        db.check_schema().await.unwrap();
        let mut tx = db.begin().await.unwrap();
        set_installation(&mut tx, "toy", "here").await.unwrap();
        tx.commit().await.unwrap();
        db.migrate().await.unwrap();
        db.check_schema().await.unwrap();
        let kept = { let mut conn = db.read().await.unwrap(); installation(&mut conn, "toy").await.unwrap() };
        assert_eq!(kept.as_deref(), Some("here"));
        db.close().await;
    }
}

on_both! {
    async fn nodes_that_migrate_at_the_same_time_do_not_disturb_each_other(world: &World) {
        let (url, _kept) = empty(world).await;
        let (one, two) = (Db::open(&url).await.unwrap(), Db::open(&url).await.unwrap());
        let (first, second) = tokio::join!(one.migrate(), two.migrate());
        first.unwrap();
        second.unwrap();
        one.check_schema().await.unwrap();
        one.close().await;
        two.close().await;
    }
}

on_both! {
    async fn a_schema_that_is_too_old_or_too_new_is_refused_and_the_next_one_is_not(world: &World) {
        let db = world.db();
        db.check_schema().await.unwrap();
        let newer = |version: i64| {
            format!(
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 SELECT {version}, description, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1"
            )
        };
        sql(world, &newer(9_000)).await;
        db.check_schema().await.expect("a newer schema that still serves us");
        sql(world, "UPDATE installation SET value = '8999' WHERE name = 'oldest_reader'").await;
        let why = refusal(db.check_schema().await);
        assert!(why.contains("8999") && why.contains("9000"), "{why}");

        sql(world, "UPDATE installation SET value = '1' WHERE name = 'oldest_reader'").await;
        sql(world, "DELETE FROM _sqlx_migrations WHERE version = 9000").await;
        sql(world, "UPDATE _sqlx_migrations SET version = -version").await;
        let why = refusal(db.check_schema().await);
        assert!(why.contains("lettercase migrate"), "{why}");
        sql(world, "UPDATE _sqlx_migrations SET version = -version").await;
        db.check_schema().await.unwrap();
    }
}

#[test]
fn an_address_of_no_known_database_is_refused() {
    let refused = block_on(Db::open("mysql://somewhere")).expect_err("there is no such database").to_string();
    assert!(refused.contains("sqlite: or postgres:"), "{refused}");
}

on_both! {
    async fn a_document_goes_no_way_that_the_model_does_not_know_and_none_from_an_old_reading(world: &World) {
        let id = world.open(CaseKind::Reconsideration, Said::default()).await;
        let id = world.add(&id, "a.txt", b"some text").await;
        let read = world.document(&id).await;
        let postings = "SELECT COUNT(*) FROM posting";
        let before = number(world, postings).await;
        for to in DocumentState::ALL.iter().copied().filter(|to| !read.state.may_become(*to)) {
            let mut tx = world.db().begin().await.unwrap();
            let moved = documents::transition(&mut tx, world.stamp(), &read, to, Change::default()).await;
            assert!(matches!(moved, Err(DbError::Transition { what: "document", .. })), "{to}");
            tx.commit().await.unwrap();
        }
        assert_eq!((world.document(&id).await.version, number(world, postings).await), (read.version, before));

        let mut tx = world.db().begin().await.unwrap();
        documents::transition(&mut tx, world.stamp(), &read, DocumentState::Scanning, Change::default()).await.unwrap();
        tx.commit().await.unwrap();
        for to in [DocumentState::Scanning, DocumentState::Held] {
            let mut tx = world.db().begin().await.unwrap();
            let moved = documents::transition(&mut tx, world.stamp(), &read, to, Change::default()).await;
            assert!(matches!(moved, Err(DbError::Stale { what: "document" })), "{to}");
            tx.commit().await.unwrap();
        }
        assert_eq!(number(world, postings).await, before + 1, "what was stale left no posting");
        assert_eq!(world.document(&id).await.state, DocumentState::Scanning);
    }
}

on_both! {
    async fn a_submission_goes_no_way_that_the_model_does_not_know_and_none_from_an_old_reading(world: &World) {
        let id = world.open(CaseKind::Appeal, Said::default()).await;
        let read = {
            let mut conn = world.db().read().await.unwrap();
            submissions::get(&mut conn, &id).await.unwrap().unwrap()
        };
        for to in SubmissionState::ALL.iter().copied().filter(|to| !read.state.may_become(*to)) {
            let mut tx = world.db().begin().await.unwrap();
            let moved = submissions::transition(&mut tx, world.stamp(), &read, to).await;
            assert!(matches!(moved, Err(DbError::Transition { what: "submission", .. })), "{to}");
            tx.commit().await.unwrap();
        }
        let mut tx = world.db().begin().await.unwrap();
        submissions::transition(&mut tx, world.stamp(), &read, SubmissionState::Withdrawn).await.unwrap();
        let again = submissions::transition(&mut tx, world.stamp(), &read, SubmissionState::Withdrawn).await;
        assert!(matches!(again, Err(DbError::Stale { what: "submission" })));
        tx.commit().await.unwrap();
        assert_eq!(world.view(&id).await.state, SubmissionState::Withdrawn);
    }
}

const ODD: [&str; 9] = [
    "",
    " ",
    "O'Brien; DROP TABLE document; --",
    "\"quoted\" and \\ backslashed \\' and $1 and ?1 and :name and {}",
    "Größe, naïve, Ωμέγα, 漢字, עברית",
    "e\u{301} is not é",
    "👩‍⚕️ and a \u{fffd} and a \u{feff} and \u{10ffff}",
    "tab\tline\nreturn\r\nbell\u{7}",
    "NULL",
];

on_both! {
    async fn text_comes_back_as_it_went_in_and_null_is_not_the_empty_text(world: &World) {
        let long = "long ".repeat(100_000);
        let values = || ODD.into_iter().chain([long.as_str()]);
        let mut tx = world.db().begin().await.unwrap();
        for (n, value) in values().enumerate() {
            set_installation(&mut tx, &format!("odd.{n}"), value).await.unwrap();
        }
        // PostgreSQL's indexes hold no long keys
        for value in ODD {
            set_installation(&mut tx, value, "as a key").await.unwrap();
            assert_eq!(installation(&mut tx, value).await.unwrap().as_deref(), Some("as a key"));
        }
        for (n, value) in values().enumerate() {
            assert_eq!(installation(&mut tx, &format!("odd.{n}")).await.unwrap().as_deref(), Some(value));
        }
        assert_eq!(installation(&mut tx, "no such").await.unwrap(), None);
        tx.rollback().await.unwrap();

        let brand = installation_brand();
        let mut tx = world.db().begin().await.unwrap();
        for tin_uid in std::iter::once(None).chain(ODD.map(Some)) {
            let (kind, subject) = (EventType::ReferenceLoaded, tin_uid.unwrap_or("none"));
            let payload = json!({ "odd": tin_uid });
            let event = NewEvent { kind, subject, brand: &brand, tin_uid, actor: "test", payload };
            events::append(&mut tx, world.stamp(), event).await.unwrap();
        }
        tx.commit().await.unwrap();
        while sequencer(world).seal(world.db(), world.stamp()).await.unwrap() > 0 {}
        let mut conn = world.db().read().await.unwrap();
        let read = events::after(&mut conn, 0, 100).await.unwrap();
        let tin_uids: Vec<_> = read.iter().map(|(event, _)| event.tin_uid.as_deref()).collect();
        assert_eq!(tin_uids, std::iter::once(None).chain(ODD.map(Some)).collect::<Vec<_>>());
        for (event, _) in &read {
            assert_eq!(event.payload, json!({ "odd": event.tin_uid }).to_string());
            assert_eq!(event.subject, event.tin_uid.as_deref().unwrap_or("none"));
        }
    }
}
