//! The database: locked, set to take no writes, full. (Away is `restart`.)

use std::time::Duration;

use lettercase::app::App;
use lettercase::db::Db;
use lettercase::model::document::DocumentState;
use lettercase::model::submission::SubmissionState;
use lettercase::outside::context::Context;
use sqlx::{AnyConnection, Connection, Executor, Row};

use super::{NAKAMURA, Told, assert_unreadable, figure, reasons};
use crate::http::{Server, json};
use crate::journey::texts;
use crate::support::{On, World, block_on, plan, scanner};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Locked,
    ReadOnly,
    Full,
}

impl Fault {
    const fn word(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::ReadOnly => "read_only",
            Self::Full => "full",
        }
    }
}

/// A database in trouble, by a connection beside the node's.
struct Trouble {
    fault: Fault,
    beside: AnyConnection,
}

impl Trouble {
    async fn begin(world: &World, fault: Fault) -> Self {
        let address = &world.settings.database.as_ref().unwrap().0;
        let mut beside = AnyConnection::connect(address).await.unwrap();
        match (world.on, fault) {
            (On::Sqlite, Fault::Locked) => {
                // or each try of the node would wait for ten seconds
                on_the_writer(world, "PRAGMA busy_timeout = 200").await;
                beside.execute("BEGIN IMMEDIATE").await.unwrap();
            }
            (On::Sqlite, Fault::ReadOnly) => on_the_writer(world, "PRAGMA query_only = ON").await,
            (On::Sqlite, Fault::Full) => on_the_writer(world, "PRAGMA max_page_count = 1").await,
            (On::Postgres, Fault::Locked) => {
                beside.execute("BEGIN").await.unwrap();
                let tables = "installation, submission, document, work, event";
                let lock = format!("LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE");
                beside.execute(sqlx::AssertSqlSafe(lock)).await.unwrap();
            }
            (On::Postgres, Fault::ReadOnly) => set(&mut beside, "SET default_transaction_read_only = on").await,
            // what PostgreSQL says of a full disk, where it says it: rows can be changed in place still, and none can be
            // added
            (On::Postgres, Fault::Full) => {
                let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
                    END $$";
                beside.execute(full).await.unwrap();
                for table in ["installation", "submission", "event", "posting"] {
                    let trigger = format!(
                        "CREATE TRIGGER full_disk BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION full_disk()"
                    );
                    beside.execute(sqlx::AssertSqlSafe(trigger)).await.unwrap();
                }
            }
        }
        Self { fault, beside }
    }

    async fn end(mut self, world: &mut World) {
        match (world.on, self.fault) {
            (On::Sqlite, Fault::ReadOnly) => reopen(world).await,
            (On::Sqlite, Fault::Full) => on_the_writer(world, "PRAGMA max_page_count = 1000000").await,
            (_, Fault::Locked) => {
                self.beside.execute("ROLLBACK").await.unwrap();
            }
            (On::Postgres, Fault::ReadOnly) => set(&mut self.beside, "RESET default_transaction_read_only").await,
            (On::Postgres, Fault::Full) => {
                // it takes locks on four tables, and may meet a statement that takes them in another order
                let mut tries = 0;
                while let Err(error) = self.beside.execute("DROP FUNCTION full_disk() CASCADE").await {
                    tries += 1;
                    assert!(tries < 20, "{error}");
                }
            }
        }
        self.beside.close().await.unwrap();
    }
}

/// Sets the one connection that writes on SQLite.
async fn on_the_writer(world: &World, pragma: &'static str) {
    let mut tx = world.db().begin().await.unwrap();
    sqlx::query(pragma).fetch_all(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// Changes how sessions begin, and ends those that are there: as when a standby takes over or gives way.
async fn set(beside: &mut AnyConnection, what: &str) {
    let name: String = beside.fetch_one("SELECT CAST(current_database() AS TEXT) AS name").await.unwrap().get("name");
    beside.execute(sqlx::AssertSqlSafe(format!("ALTER DATABASE {name} {what}"))).await.unwrap();
    let end = "SELECT COUNT(pg_terminate_backend(pid)) AS n FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    beside.fetch_one(end).await.unwrap();
}

/// The node starts again: a connection to SQLite that was set to take no writes can't be set back past it.
async fn reopen(world: &mut World) {
    let db = Db::open(&world.settings.database.as_ref().unwrap().0).await.unwrap();
    let exe = env!("CARGO_BIN_EXE_lettercase").into();
    let (settings, context) = (world.settings.clone(), Context::with_clock(world.clock.clone()));
    world.app = App::assemble(settings, plan(), "test".into(), db, scanner().await, context, exe).await.unwrap();
}

/// A document waits to be judged while the database is in trouble, and another submission is tried to be opened.
async fn waits_for_it(on: On, fault: Fault) {
    let mut world = World::new(on).await;
    world.load_samples().await;
    let server = Server::start(&world.app).await;
    let id = server.open(NAKAMURA).await;
    let document = world.add(&id, "letter.txt", b"Please look at this claim again.").await;
    assert_eq!(server.post(&format!("/v1/submissions/{id}/submit"), "").await.0, 202);
    let line = format!("lettercase_database_faults_total{{fault=\"{}\"}}", fault.word());
    let before = figure(&server, &line).await.unwrap_or_default();

    let trouble = Trouble::begin(&world, fault).await;
    // who sends: a page of the database may have room for a few small rows still
    let sent = async {
        for _ in 0..100 {
            let told = Told::of(server.client.post(server.url("/v1/submissions")).body(NAKAMURA)).await;
            if told.status != 201 {
                return told;
            }
        }
        panic!("{fault:?}: a hundred submissions were taken");
    };
    // what works: more rounds than there are tries, but where each waits for a lock
    let waits_long = on == On::Postgres && fault == Fault::Locked;
    let worked = async {
        for _ in 0..if waits_long { 1 } else { 10 } {
            let _ = world.app.engine.run_until_idle().await;
            world.advance(Duration::from_secs(700));
        }
    };
    let ((told, ()), (status, why)) = if fault == Fault::Full && on == On::Sqlite {
        // one after the other: the rows must be used up before work is looked at
        ((sent.await, worked.await), (503, fault.to_string()))
    } else {
        tokio::join!(async { tokio::join!(sent, worked) }, reasons(&server))
    };
    told.assert_come_again("unavailable");
    assert!(status == 503, "{fault:?}: {why}");
    println!("{on:?} {fault:?}: {told:?}, {why}");
    assert!(figure(&server, &line).await.unwrap_or_default() > before, "{line}");
    // SQLite is full for one connection only, which the program has replaced by now; and where all is locked nothing is
    // answered
    let is_replaced = on == On::Sqlite && fault == Fault::Full;
    if !waits_long && !is_replaced {
        assert_unreadable(&server, &document).await;
    }

    trouble.end(&mut world).await;
    world.advance(Duration::from_secs(700));
    world.settle().await;
    assert!(texts(&world, "SELECT stage FROM work WHERE state = 'dead'").await.is_empty(), "{fault:?}");
    assert_eq!(world.view(&id).await.state, SubmissionState::Accepted, "{fault:?}");
    assert_eq!(world.document(&document).await.state, DocumentState::Matched, "{fault:?}");
    let server = Server::start(&world.app).await;
    assert_eq!(reasons(&server).await.0, 200, "{fault:?}");
    let again = server.post("/v1/submissions", NAKAMURA).await;
    assert_eq!(again.0, 201, "{fault:?}: {}", json(&again.1));
    world.finish().await;
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

#[test]
fn int_18_a_locked_sqlite_is_waited_for() {
    block_on(waits_for_it(On::Sqlite, Fault::Locked));
}

#[test]
fn int_18_a_locked_postgres_is_waited_for() {
    block_on(waits_for_it(On::Postgres, Fault::Locked));
}

#[test]
fn int_18_a_sqlite_that_takes_no_writes_is_waited_for() {
    block_on(waits_for_it(On::Sqlite, Fault::ReadOnly));
}

#[test]
fn int_18_a_postgres_that_takes_no_writes_is_waited_for() {
    block_on(waits_for_it(On::Postgres, Fault::ReadOnly));
}

#[test]
fn int_18_a_full_sqlite_is_waited_for() {
    block_on(waits_for_it(On::Sqlite, Fault::Full));
}

#[test]
fn int_18_a_full_postgres_is_waited_for() {
    block_on(waits_for_it(On::Postgres, Fault::Full));
}
