//! How the databases go about the lists: each must go by an index, and none may read a whole table, however the planner
//! is disposed. PostgreSQL knows the tables (ANALYZE); SQLite is asked before and after it was told.

use jiff::Timestamp;
use lettercase::db::submissions::Filter;
use lettercase::db::{
    Db, DbError, Flavor, digest_mails, documents, events, fill, glance, ledger, submissions, tasks, work,
};
use lettercase::model::ids::Tin;
use sqlx::Row as _;

use crate::support::{block_on, postgres, start};

/// Enough that no planner takes a whole table for little, and that the queue has more than are counted.
const DOCUMENTS: i64 = 50_000;

/// A parameter.
#[derive(Debug, Clone)]
enum P {
    T(String),
    N(i64),
}

fn t(text: &str) -> P {
    P::T(text.to_owned())
}

async fn filled(url: &str) -> Db {
    let db = Db::open(url).await.unwrap();
    db.migrate().await.unwrap();
    fill::fill(&db, start(), DOCUMENTS, |_| {}).await.unwrap();
    db
}

/// The plan of a statement, as the database tells it.
async fn plan_of(db: &Db, statement: &str, parameters: &[P]) -> String {
    let (explain, column) = match db.flavor() {
        Flavor::Sqlite => ("EXPLAIN QUERY PLAN", "detail"),
        Flavor::Postgres => ("EXPLAIN", "QUERY PLAN"),
    };
    let statement = format!("{explain} {statement}");
    let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
    for parameter in parameters {
        query = match parameter {
            P::T(text) => query.bind(text.clone()),
            P::N(number) => query.bind(*number),
        };
    }
    let mut conn = db.read().await.unwrap();
    let rows = query.fetch_all(&mut *conn).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(column)).collect::<Vec<_>>().join("\n")
}

/// A list of a route: its name, its statement, parameters, and whether its rows must come in the order of the index.
/// Where they need not, they are few: those of one submission, or two at most of each that is asked for.
type Asked = (&'static str, &'static str, Vec<P>, bool);

fn asked(db: &Db, now: Timestamp) -> Vec<Asked> {
    let submission = fill::submission_id(1_234);
    let document = fill::document_id(4_321);
    let opened = fill::opened_at(now, 5_000);
    let micros = now.as_microsecond();
    let tin: Tin = fill::tin(1).parse().unwrap();
    let page = |first: &str, second: &str| vec![P::N(opened), t(""), P::N(51), t(first), t(second)];
    let queue = |owner: &str| vec![t(owner), t("match"), P::N(micros), t(&document), P::N(0), P::N(51)];
    let counts =
        |owner: &str| vec![t(owner), t("held"), P::N(micros), P::N(micros + 86_400_000_000), P::N(tasks::COUNTED)];
    let free = |owner: &str| vec![t("ann"), t("token"), P::N(micros + 1), t(owner), t("match"), P::N(micros), P::N(0)];
    let audit = |search: events::Search<'_>| {
        let text = |field: Option<&str>| t(field.unwrap_or_default());
        let (subject, actor, kind) = (text(search.subject), text(search.actor), text(search.kind));
        vec![P::N(i64::MAX), P::N(0), P::N(i64::MIN), subject, actor, kind, P::N(51)]
    };
    let none = events::Search::default();
    let by_subject = events::Search { subject: Some(&document), ..none };
    let by_actor = events::Search { actor: Some("made:1"), ..none };
    let by_kind = events::Search { kind: Some("document.stored"), ..none };
    let (next_of_mode, next_of_brand, claim) = match db.flavor() {
        Flavor::Sqlite => (tasks::FREE_OF_MODE_SQLITE, tasks::FREE_OF_BRAND_SQLITE, work::CLAIM_SQLITE),
        Flavor::Postgres => (tasks::FREE_OF_MODE_POSTGRES, tasks::FREE_OF_BRAND_POSTGRES, work::CLAIM_POSTGRES),
    };
    vec![
        ("all submissions", Filter::All.statement(), page("", ""), true),
        ("submissions of an owner", Filter::Owner("").statement(), page("made:1", ""), true),
        ("submissions of a practice", Filter::Tin(&tin).statement(), page(&fill::tin(1), ""), true),
        ("submissions of a reference", Filter::SenderReference("", "").statement(), page("made:1", "X"), true),
        (
            "submissions of a time",
            submissions::WITHIN,
            vec![t("made:1"), P::N(opened), t(""), P::N(micros), P::N(51)],
            true,
        ),
        ("documents of a submission", documents::OF_SUBMISSION, vec![t(&submission)], true),
        ("documents of a case", documents::OF_CASE, vec![t(&fill::case_id(12)), P::N(opened), t(""), P::N(51)], true),
        ("history", events::OF_SUBMISSION, vec![t(&submission), P::N(0), P::N(500)], false),
        ("audit of a subject", by_subject.statement(), audit(by_subject), true),
        ("audit of an actor", by_actor.statement(), audit(by_actor), true),
        ("audit of a type", by_kind.statement(), audit(by_kind), true),
        ("audit", none.statement(), audit(none), true),
        ("queue", tasks::PAGE_OF_MODE, queue("live"), true),
        ("queue of a brand", tasks::PAGE_OF_BRAND, queue(fill::BRAND), true),
        ("counts", tasks::COUNTS_OF_MODE, counts("live"), true),
        ("counts of a brand", tasks::COUNTS_OF_BRAND, counts(fill::BRAND), true),
        ("nearest deadline", tasks::NEXT_OF_MODE, vec![t("live"), t("held")], true),
        ("nearest deadline of a brand", tasks::NEXT_OF_BRAND, vec![t(fill::BRAND), t("held")], true),
        ("next item", next_of_mode, free("live"), true),
        ("next item of a brand", next_of_brand, free(fill::BRAND), true),
        (
            "claim of work",
            claim,
            vec![t("token"), P::N(micros + 1), t("node"), t(fill::STAGE), P::N(micros), P::N(10)],
            // what was found, twice as many as are taken at most, is put in order
            false,
        ),
        ("length of the queue", work::WAITING, vec![t(fill::STAGE), P::N(10_000)], false),
        ("next work", work::next_dues(2).leak(), vec![t(fill::STAGE), t("scan")], false),
        (
            "places of events",
            events::placing(2).leak(),
            vec![t("one"), P::N(1), t("digest"), t("other"), P::N(2), t("digest")],
            false,
        ),
        ("what there is to do", glance::statement(2).leak(), vec![t(fill::STAGE), t("scan")], false),
    ]
}

/// What is wrong with a plan: a table read whole, or rows sorted that should come in order.
fn faults(plan: &str, in_order: bool) -> Vec<&str> {
    let whole = |line: &str| {
        ["document", "submission", "task", "event", "work"].iter().any(|table| {
            line.contains(&format!("Seq Scan on {table} "))
                || line.trim_start_matches(['|', '-', '`', ' ']) == format!("SCAN {table}")
                // an index walked through from one end to the other is a table read whole, unless it is by its order
                || (line.contains(&format!("SCAN {table} ")) && !line.contains("submission_by_created"))
        })
    };
    let sorts = |line: &str| in_order && (line.contains("TEMP B-TREE") || line.contains("Sort"));
    plan.lines().filter(|line| whole(line) || sorts(line)).collect()
}

async fn every_list_goes_by_an_index(db: &Db, when: &str) {
    let mut bad = Vec::new();
    for (name, statement, parameters, in_order) in asked(db, start()) {
        let plan = plan_of(db, statement, &parameters).await;
        let faults = faults(&plan, in_order);
        if !faults.is_empty() {
            bad.push(format!("{name} ({when}): {faults:?}\n{plan}"));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}

async fn made_rows_obey_the_ledger_and_only_an_empty_database_takes_them(db: &Db) {
    let mut conn = db.read().await.unwrap();
    let counted = ledger::count(&mut conn).await.unwrap();
    assert_eq!((counted.difference, counted.receipts), (0, DOCUMENTS), "{counted:#?}");
    let submission = fill::submission_id(7);
    let history = events::of_submission(&mut conn, &submission, 0, 500).await.unwrap();
    assert_eq!(history.len(), 14, "two of its own and three of each document");
    assert!(history.is_sorted_by_key(|event| event.position));
    let later = events::of_submission(&mut conn, &submission, history[4].position.unwrap(), 3).await.unwrap();
    assert_eq!(
        later.iter().map(|e| e.position).collect::<Vec<_>>(),
        history[5..8].iter().map(|e| e.position).collect::<Vec<_>>()
    );
    let mode = tasks::Filter { mode: lettercase::model::access::Mode::Live, kind: None, brand: None, sensitive: true };
    let counts = tasks::counts(&mut conn, start(), start(), mode).await.unwrap();
    assert_eq!(
        counts.iter().map(|of| of.waiting).collect::<Vec<_>>(),
        [tasks::COUNTED; 2],
        "counted so far and no further"
    );
    drop(conn);
    let again = fill::fill(db, start(), 4, |_| {}).await;
    assert!(matches!(again, Err(DbError::Schema(_))), "{again:?}");
}

/// Fills the queue and the work up: of few rows a planner may well take the whole table.
async fn fill_up(db: &Db) {
    let mut tx = db.begin().await.unwrap();
    for statement in [
        "INSERT INTO task (document_id, kind, brand, mode, received_at, created_at, deadline_at)
         WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
         SELECT 'more-' || CAST(i AS TEXT), CASE WHEN i % 2 = 0 THEN 'match' ELSE 'held' END, 'made', 'live',
                $1 + i, $1 + i, $1 + i * 7919 % 100000 FROM n",
        "INSERT INTO work (subject, stage, state, attempts, due_at, created_at)
         WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
         SELECT 'more-' || CAST(i AS TEXT), 'made', 'ready', 0, $1 + i, $1 + i FROM n",
    ] {
        sqlx::query(statement).bind(start().as_microsecond() - 50_000).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn analyze(db: &Db) {
    let mut tx = db.begin().await.unwrap();
    sqlx::query("ANALYZE").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

#[test]
fn every_list_goes_by_an_index_on_sqlite() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("made.db").display());
        let db = filled(&url).await;
        made_rows_obey_the_ledger_and_only_an_empty_database_takes_them(&db).await;
        fill_up(&db).await;
        every_list_goes_by_an_index(&db, "untold").await;
        analyze(&db).await;
        // connections read what the planner was told when they are opened
        db.close().await;
        let db = Db::open(&url).await.unwrap();
        every_list_goes_by_an_index(&db, "analyzed").await;
        db.close().await;
    });
}

#[test]
fn every_list_goes_by_an_index_on_postgres() {
    block_on(async {
        let database = postgres::Database::new().await;
        let db = filled(&database.url).await;
        made_rows_obey_the_ledger_and_only_an_empty_database_takes_them(&db).await;
        fill_up(&db).await;
        analyze(&db).await;
        every_list_goes_by_an_index(&db, "analyzed").await;
        db.close().await;
    });
}

/// Mails that wait, of one brand, and the plan by which the next of them are taken.
async fn taken_by(url: &str) -> String {
    let db = Db::open(url).await.unwrap();
    db.migrate().await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let mails = "INSERT INTO digest_mail (id, run_id, brand, user_id, kind, day, state, items, letters, tries, next_at, created_at, version)
        WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
        SELECT 'mail-' || i, 'run', 'meridian', 'user-' || i, 'claim_info', '2026-11-20', 'planned', 1, 1, 0, i, 0, 1 FROM n";
    sqlx::query(mails).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    fill::settle(&db).await.unwrap();
    let statement = digest_mails::claiming(db.flavor(), 1);
    let plan = plan_of(&db, &statement, &[t("token"), P::N(1), P::N(i64::MAX / 2), P::N(100), t("meridian")]).await;
    db.close().await;
    plan
}

#[test]
fn mails_are_taken_in_the_order_in_which_they_wait_and_never_sorted() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let sqlite = taken_by(&format!("sqlite:{}", dir.path().join("plans.db").display())).await;
        let server = postgres::Database::new().await;
        for plan in [sqlite, taken_by(&server.url).await] {
            assert!(plan.contains("digest_mail_due"), "{plan}");
            assert!(!plan.contains("ORDER BY") && !plan.contains("Sort  "), "{plan}");
        }
    });
}
