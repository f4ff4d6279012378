//! A throw-away Lettercase around real components: a database of either kind, a file store, a clamd, and a clock
//! that stands until it is moved. What a test leaves unfinished or out of balance fails it.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part of the world")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

pub mod digests;
pub mod postgres;
pub mod spans;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use jiff::Timestamp;
use lettercase::app::App;
use lettercase::db::documents::Document;
use lettercase::db::{Db, Stamp, documents, ledger};
use lettercase::http::api::view::{self, SubmissionView};
use lettercase::intake::load::{Form, LoadReport, load};
use lettercase::intake::plan::IntakePlan;
use lettercase::intake::receive::{Arriving, Destination, Receipt, ReceiveError};
use lettercase::intake::reconcile::compare_content;
use lettercase::intake::submit::NewSubmission;
use lettercase::model::case::CaseKind;
use lettercase::model::document::{Channel, FileName};
use lettercase::model::ids::{DocumentId, SubmissionId};
use lettercase::model::reference::ReferenceKind;
use lettercase::model::submission::Said;
use lettercase::outside::context::{Context, ManualClock};
use lettercase::outside::scanner::{Freshness, ManagedOptions, Scanner};
use lettercase::settings::{Secret, Settings};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// One runtime for all tests of this binary: what they share (the clamd) lives on it.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());

/// Which database a world stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgres,
}

impl On {
    /// The address of an empty database, in this file where it is one, and what keeps it.
    pub async fn database(self, file: &Path) -> (String, Option<postgres::Database>) {
        match self {
            Self::Sqlite => (format!("sqlite:{}", file.display()), None),
            Self::Postgres => {
                let made = postgres::Database::new().await;
                (made.url.clone(), Some(made))
            }
        }
    }
}

/// Makes two tests of one: it must hold on both databases.
#[macro_export]
macro_rules! on_both {
    ($(#[$meta:meta])* async fn $name:ident($world:ident: &World) $body:block) => {
        $(#[$meta])*
        mod $name {
            use super::*;
            async fn test($world: &$crate::support::World) $body
            #[test]
            fn sqlite() {
                $crate::support::run($crate::support::On::Sqlite, test);
            }
            #[test]
            fn postgres() {
                $crate::support::run($crate::support::On::Postgres, test);
            }
        }
    };
}

/// Runs a test in a world of its own; afterwards the ledger must balance and the audit chain verify.
pub fn run(on: On, test: impl AsyncFnOnce(&World)) {
    RUNTIME.block_on(async {
        let world = World::new(on).await;
        test(&world).await;
        world.finish().await;
    });
}

/// Runs a future on the runtime that the shared components live on.
pub fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

/// Lets a future run on that runtime by itself.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    RUNTIME.spawn(future);
}

/// Where `make deps` puts what tests need.
pub fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools")
}

/// A program of the components: from `.tools/bin`, else from PATH or the system's directories.
#[expect(clippy::disallowed_methods, reason = "tests look for programs where their caller's shell would")]
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(tools().join("bin"))
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin".into(), "/usr/lib/postgresql/15/bin".into()])
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is neither in .tools/bin nor on PATH: run `make deps`"))
}

/// The plan that is built in, with a scanner policy whose canaries are quick.
pub fn plan() -> IntakePlan {
    let mut plan = IntakePlan::load(None).unwrap().plan;
    plan.scan.canary_interval_s = 3_600;
    plan
}

/// A clamd that all tests share; it knows test signatures only.
pub async fn scanner() -> Scanner {
    static SCANNER: OnceCell<Scanner> = OnceCell::const_new();
    SCANNER
        .get_or_init(|| async {
            let options = ManagedOptions {
                clamd: Some(program("clamd")),
                signature_directories: Vec::new(),
                ..ManagedOptions::default()
            };
            Scanner::start_managed(&options, plan().scan, Freshness::TestSignaturesAllowed).await.unwrap()
        })
        .await
        .clone()
}

/// The socket of the shared clamd, for processes that are given endpoints.
pub async fn clamd_socket() -> PathBuf {
    scanner().await.managed_socket().unwrap()
}

/// The EICAR test file; this source does not hold it in one piece.
pub fn eicar() -> Vec<u8> {
    lettercase::outside::scanner::eicar().into_bytes()
}

/// The instant at which worlds begin.
pub fn start() -> Timestamp {
    "2026-11-20T15:00:00Z".parse().unwrap()
}

/// A world.
pub struct World {
    pub on: On,
    pub dir: tempfile::TempDir,
    pub settings: Settings,
    pub clock: Arc<ManualClock>,
    pub app: App,
    pub spans: spans::Spans,
    _database: Option<postgres::Database>,
}

impl World {
    /// A fresh one.
    pub async fn new(on: On) -> Self {
        Self::with_plan(on, plan(), scanner().await).await
    }

    /// A fresh one with a plan and a scanner of the test's.
    pub async fn with_plan(on: On, plan: IntakePlan, scanner: Scanner) -> Self {
        let dir = tempfile::Builder::new().prefix("lettercase-test-").tempdir().unwrap();
        let (database, kept) = on.database(&dir.path().join("lettercase.db")).await;
        let environment = [("LETTERCASE_BRAND".to_owned(), "meridian".to_owned())];
        let mut settings = Settings::read(None, environment, Some(dir.path())).unwrap();
        settings.scanner.allow_test_signatures = true;
        settings.database = Some(Secret(database.clone()));
        let db = Db::open(&database).await.unwrap();
        db.migrate().await.unwrap();
        let clock = Arc::new(ManualClock::at(start()));
        let spans = spans::Spans::default();
        let app = assemble(&settings, plan, db, scanner, clock.clone(), &spans).await;
        Self { on, dir, settings, clock, app, spans, _database: kept }
    }

    /// The same installation after a restart of its process: the spool is gone, everything else is there.
    pub async fn restarted(self) -> Self {
        let plan = (*self.app.intake.plan).clone();
        let (db, scanner) = (self.app.intake.db.clone(), self.app.intake.scanner.clone());
        let app = assemble(&self.settings, plan, db, scanner, self.clock.clone(), &self.spans).await;
        Self { app, ..self }
    }

    pub fn db(&self) -> &Db {
        &self.app.intake.db
    }

    pub fn stamp(&self) -> Stamp<'_> {
        Stamp { ctx: &self.app.intake.ctx, actor: "test" }
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Loads reference data given as NDJSON.
    pub async fn load(&self, kind: ReferenceKind, ndjson: &str) -> LoadReport {
        let file = std::io::Cursor::new(ndjson.to_owned().into_bytes());
        load(self.db(), self.stamp(), kind, Form::Ndjson, file).await.unwrap()
    }

    /// Loads the samples' reference data.
    pub async fn load_samples(&self) {
        for kind in ReferenceKind::ALL {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("samples/reference/{kind}.ndjson"));
            let report = self.load(*kind, &std::fs::read_to_string(path).unwrap()).await;
            assert_eq!(report.rejected, 0, "{kind}: {:?}", report.rejects);
        }
    }

    /// Opens a submission.
    pub async fn open(&self, kind: CaseKind, said: Said) -> SubmissionId {
        self.open_new(kind, said, None).await
    }

    /// Opens a submission that takes the clean files of a failed one over.
    pub async fn open_new(&self, kind: CaseKind, said: Said, resubmits: Option<SubmissionId>) -> SubmissionId {
        let new = NewSubmission {
            id: None,
            owner: "test".into(),
            brand: self.settings.brand.clone(),
            kind,
            said,
            channel: Channel::Upload,
            sender_reference: None,
            resubmits,
        };
        self.app.intake.open_submission("test", new).await.unwrap().id
    }

    /// Adds a file in one piece.
    pub async fn try_add(&self, to: &SubmissionId, name: &str, bytes: &[u8]) -> Result<Receipt, ReceiveError> {
        let file_name = FileName::new(name).unwrap();
        let arriving = Arriving {
            to: Destination::Submission(to),
            document: None,
            file_name: &file_name,
            announced_bytes: None,
            received_at: None,
            actor: "test",
        };
        let body = stream::iter([Ok::<_, std::io::Error>(Bytes::copy_from_slice(bytes))]);
        self.app.intake.receive(arriving, body).await
    }

    /// Adds a file that must be taken.
    pub async fn add(&self, to: &SubmissionId, name: &str, bytes: &[u8]) -> DocumentId {
        self.try_add(to, name, bytes).await.unwrap().document
    }

    /// Sends a submission and has everything done that is due.
    pub async fn submit(&self, id: &SubmissionId) -> SubmissionView {
        self.app.intake.submit("test", id).await.unwrap();
        self.settle().await;
        self.view(id).await
    }

    /// Has everything done that is due.
    pub async fn settle(&self) {
        self.app.engine.run_until_idle().await.unwrap();
    }

    /// A submission as its sender sees it.
    pub async fn view(&self, id: &SubmissionId) -> SubmissionView {
        let mut conn = self.db().read().await.unwrap();
        let submission = lettercase::db::submissions::get(&mut conn, id).await.unwrap().unwrap();
        view::of_submission(&mut conn, submission, view::Eyes::All).await.unwrap()
    }

    /// A document's row.
    pub async fn document(&self, id: &DocumentId) -> Document {
        let mut conn = self.db().read().await.unwrap();
        documents::get(&mut conn, id).await.unwrap().unwrap()
    }

    /// Asserts that nothing was lost or made up: ledger, objects and audit chain.
    pub async fn assert_conserved(&self) {
        let counted = {
            let mut conn = self.db().read().await.unwrap();
            ledger::count(&mut conn).await.unwrap()
        };
        assert_eq!(counted.difference, 0, "the ledger does not balance: {counted:#?}");
        let places = compare_content(self.db(), self.app.intake.objects.as_ref()).await.unwrap();
        assert!(places.values().all(|d| *d == (0, 0)), "content and objects differ: {places:?}");
        let report = self.app.verify_audit().await.unwrap();
        assert_eq!(report.fault, None, "the audit chain is broken");
    }

    /// Ends the world: what is due is done, and everything must be conserved.
    pub async fn finish(&self) {
        self.settle().await;
        self.assert_conserved().await;
        if self.on == On::Postgres {
            self.db().close().await;
        }
    }
}

async fn assemble(
    settings: &Settings,
    plan: IntakePlan,
    db: Db,
    scanner: Scanner,
    clock: Arc<ManualClock>,
    spans: &spans::Spans,
) -> App {
    // a database of several nodes wants a shared key; worlds keep theirs in their own directory
    let exe = PathBuf::from(env!("CARGO_BIN_EXE_lettercase"));
    let ctx = Context::with_clock(clock).with_traces(spans.traces());
    App::assemble(settings.clone(), plan, "test".into(), db, scanner, ctx, exe).await.unwrap()
}
