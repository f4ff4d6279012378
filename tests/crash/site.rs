//! An installation whose server is a process of its own, and what its database says in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lettercase::access::Manager;
use lettercase::access::keys::NewKey;
use lettercase::app::{open_access, verify_audit};
use lettercase::db::{Db, Stamp, ledger};
use lettercase::intake::load::{Form, load};
use lettercase::intake::reconcile::compare_content;
use lettercase::model::access::{Grants, Mode, Scope, TinSet};
use lettercase::model::letter::LetterType;
use lettercase::model::reference::ReferenceKind;
use lettercase::outside::context::Context;
use lettercase::outside::objects::{self, Place};
use lettercase::settings::Settings;
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use sqlx::Row;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use crate::support::{On, clamd_socket, postgres, tools};

/// How long a process may take for anything it is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) port: u16,
    pub(crate) environment: BTreeMap<String, String>,
    key: OnceCell<String>,
    _database: Option<postgres::Database>,
}

/// A running `serve`.
pub(crate) struct Server {
    pub(crate) child: Child,
    log: PathBuf,
}

/// The database of a site: a fresh one of a kind, or an empty one that is there.
pub(crate) enum Where {
    On(On),
    At(String),
}

impl From<On> for Where {
    fn from(on: On) -> Self {
        Self::On(on)
    }
}

impl From<String> for Where {
    fn from(address: String) -> Self {
        Self::At(address)
    }
}

impl Site {
    /// A fresh installation with the samples' reference data, its scanner the tests' shared clamd.
    pub(crate) async fn new(on: On) -> Self {
        // The canaries are as large as the largest file: with small files they cost a start next to nothing.
        let small = [("file_bytes", "1_048_576"), ("entry_bytes", "2_097_152"), ("max_file_bytes", "2_097_152")];
        Self::with_plan(on, &plan(&small)).await
    }

    /// One with other figures than those of the plan that is shipped, and with the database at an address.
    pub(crate) async fn with_figures(on: impl Into<Where>, figures: &[(&str, &str)]) -> Self {
        Self::with_plan(on, &plan(figures)).await
    }

    /// One with files as large as is shipped.
    pub(crate) async fn for_large_files(on: On) -> Self {
        Self::with_plan(on, &plan(&[])).await
    }

    /// Writes these plans, with what a test can wait for, as a configuration of their own.
    pub(crate) fn configure(dir: &Path, intake: &str, letters: &str) {
        std::fs::create_dir_all(dir).unwrap();
        let small = [("file_bytes", "1_048_576"), ("entry_bytes", "2_097_152"), ("max_file_bytes", "2_097_152")];
        let figures: Vec<(&str, &str)> = QUICK.iter().copied().chain(small).collect();
        std::fs::write(dir.join("intake.toml"), with(intake, &figures)).unwrap();
        std::fs::write(dir.join("correspondence.toml"), quick_letters(letters)).unwrap();
    }

    /// One whose work may be cut off as often as it likes, and whose other plans are as quick.
    pub(crate) async fn for_chaos(on: On) -> Self {
        let small = [("file_bytes", "1_048_576"), ("entry_bytes", "2_097_152"), ("max_file_bytes", "2_097_152")];
        let often = [("tries", "1000")];
        let site = Self::with_plan(on, &plan(&[&small[..], &often].concat())).await;
        // of the tries of a fax there are not so many
        let correspondence = correspondence();
        let (policy, work) = correspondence.split_once("[work.").unwrap();
        let files = [
            ("correspondence.toml", format!("{policy}[work.{}", with(work, &often))),
            ("notifications.toml", notifications()),
            ("doors.toml", doors()),
        ];
        for (name, text) in files {
            std::fs::write(site.dir.path().join("config").join(name), text).unwrap();
        }
        site
    }

    async fn with_plan(on: impl Into<Where>, plan: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("lettercase-crash-").tempdir().unwrap();
        let data = dir.path().join("data");
        let config = dir.path().join("config");
        std::fs::create_dir_all(&config).unwrap();
        std::fs::write(config.join("intake.toml"), plan).unwrap();
        std::fs::write(config.join("correspondence.toml"), correspondence()).unwrap();
        let key = dir.path().join("audit.key");
        std::fs::write(&key, "17".repeat(32)).unwrap();
        let (database, kept) = match on.into() {
            Where::On(on) => on.database(&data.join("lettercase.db")).await,
            Where::At(address) => (address, None),
        };
        std::fs::create_dir_all(&data).unwrap();
        let clamd = clamd_socket().await;
        let environment = [
            ("PATH", format!("{}:/usr/bin:/bin", tools().join("bin").display())),
            ("LETTERCASE_DATA_DIR", data.display().to_string()),
            ("LETTERCASE_DATABASE", database),
            ("LETTERCASE_NODE", "node-1".to_owned()),
            ("LETTERCASE_BRAND", "meridian".into()),
            ("LETTERCASE_AUDIT_KEY_FILE", key.display().to_string()),
            ("LETTERCASE_CONFIG_DIR", config.display().to_string()),
            ("LETTERCASE_SCANNER__ALLOW_TEST_SIGNATURES", "true".into()),
            ("LETTERCASE_SCANNER__RUN_BY", format!("{{ endpoints = [\"unix:{}\"] }}", clamd.display())),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        let site = Self { dir, port: postgres::free_port(), environment, key: OnceCell::new(), _database: kept };
        let db = site.db().await;
        db.migrate().await.unwrap();
        let ctx = Context::system();
        for kind in ReferenceKind::ALL {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("samples/reference/{kind}.ndjson"));
            let file = std::fs::File::open(path).unwrap();
            let stamp = Stamp { ctx: &ctx, actor: "test" };
            assert_eq!(load(&db, stamp, *kind, Form::Ndjson, file).await.unwrap().rejected, 0);
        }
        db.close().await;
        site
    }

    /// The same installation put up elsewhere: a data directory of its own and that database, the same keys.
    pub(crate) async fn elsewhere(&self, database: Option<String>) -> Self {
        let dir = tempfile::Builder::new().prefix("lettercase-elsewhere-").tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let database = database.unwrap_or_else(|| format!("sqlite:{}", data.join("lettercase.db").display()));
        let mut environment = self.environment.clone();
        environment.insert("LETTERCASE_DATA_DIR".into(), data.display().to_string());
        environment.insert("LETTERCASE_DATABASE".into(), database);
        let key = OnceCell::new_with(Some(self.key().await.to_owned()));
        Self { dir, port: postgres::free_port(), environment, key, _database: None }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::read(None, self.environment.clone(), None).unwrap()
    }

    pub(crate) async fn db(&self) -> Db {
        Db::open(&self.environment["LETTERCASE_DATABASE"]).await.unwrap()
    }

    /// A key that may do everything, made when it is first asked for.
    pub(crate) async fn key(&self) -> &str {
        let make = async || {
            let db = self.db().await;
            let access = open_access(&self.settings(), db.clone(), Context::system()).unwrap();
            let scopes = Scope::ALL.iter().copied().collect();
            let grants = Grants { scopes, tins: TinSet::All, mode: Mode::Live };
            let new = NewKey { name: "test".into(), grants, expires_at: None };
            let (_, secret) = access.create_key(Manager::Machine("test"), new).await.unwrap();
            db.close().await;
            secret.reveal().to_owned()
        };
        self.key.get_or_init(make).await
    }

    /// A client that sends with that key.
    pub(crate) async fn client(&self) -> Client {
        let bearer = format!("Bearer {}", self.key().await).parse().unwrap();
        let builder = Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(Duration::from_secs(15));
        builder.default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)])).build().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The program with this installation's environment and nothing else.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lettercase"));
        command
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Starts `serve` and waits until it listens. `stop_at` is a fail point at which it will stand still,
    /// with an action of its own where not the first time is meant.
    pub(crate) async fn serve(&self, stop_at: Option<&str>) -> Server {
        self.start("serve", stop_at, "listening on").await
    }

    /// Starts `work`, watched where `serve` would listen.
    pub(crate) async fn work(&self) -> Server {
        self.start("work", None, "watched at").await
    }

    async fn start(&self, verb: &str, stop_at: Option<&str>, until: &str) -> Server {
        let mut command = self.command();
        if let Some(place) = stop_at {
            let action = if place.contains('=') { "" } else { "=return" };
            command.env("FAILPOINTS", format!("{place}{action}"));
        }
        command.args([verb, "--listen", &format!("127.0.0.1:{}", self.port)]);
        self.started(command, until).await
    }

    /// Starts a node by a command of the test's, and waits until it says something.
    pub(crate) async fn started(&self, command: Command, until: &str) -> Server {
        let mut server = self.spawn(command);
        server.until_logged(until).await;
        server
    }

    /// Starts what a command says, and waits for nothing.
    pub(crate) fn spawn(&self, mut command: Command) -> Server {
        let log = self.dir.path().join(format!("log-{}", rand::random::<u32>()));
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        Server { child: command.spawn().unwrap(), log }
    }

    /// Waits until nothing is left to do: no work but dead letters, every event sealed and read, incoming swept.
    pub(crate) async fn until_done(&self) {
        self.wait_until_done(0, PATIENCE).await;
    }

    /// The same with a patience of the caller's.
    pub(crate) async fn until_done_within(&self, patience: Duration) {
        self.wait_until_done(0, patience).await;
    }

    /// The same where one held document keeps its bytes in incoming.
    pub(crate) async fn until_done_but_held(&self) {
        self.wait_until_done(1, PATIENCE).await;
    }

    /// The same where so many objects stay in incoming.
    pub(crate) async fn until_done_but(&self, held: usize) {
        self.wait_until_done(held, PATIENCE).await;
    }

    async fn wait_until_done(&self, held: usize, patience: Duration) {
        let db = self.db().await;
        let settings = self.settings();
        let store = objects::open(&settings.objects_options()).await.unwrap();
        let began = Instant::now();
        let mut calm = 0;
        while calm < 2 {
            let open = {
                let mut conn = db.read().await.unwrap();
                let row = sqlx::query(
                    "SELECT CAST((SELECT COUNT(*) FROM work WHERE state <> 'dead') AS BIGINT) AS work,
                            CAST((SELECT COUNT(*) FROM event WHERE position IS NULL) AS BIGINT) AS unsealed,
                            CAST((SELECT COALESCE(MAX(position), 0) FROM event)
                               - (SELECT CASE WHEN COUNT(*) < 3 THEN 0 ELSE MIN(position) END FROM event_reader)
                               AS BIGINT) AS unread,
                            CAST((SELECT COUNT(*) FROM submission WHERE state = 'submitted') AS BIGINT) AS waiting",
                )
                .fetch_one(&mut *conn)
                .await
                .unwrap();
                ["work", "unsealed", "unread", "waiting"].map(|column| row.get::<i64, _>(column))
            };
            let incoming = store.list(Place::Incoming, None, 100).await.unwrap().len();
            calm = if open == [0; 4] && incoming == held { calm + 1 } else { 0 };
            assert!(
                began.elapsed() < patience,
                "not done: [work, unsealed, unread, waiting] {open:?}, incoming {incoming}"
            );
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        db.close().await;
    }

    /// What must hold whatever happened: the ledger balances, no object is without its row nor the other way
    /// round, the audit chain is whole, nothing is dead, and each transition was posted once.
    pub(crate) async fn assert_conserved(&self) {
        let settings = self.settings();
        let db = self.db().await;
        {
            let mut conn = db.read().await.unwrap();
            let counted = ledger::count(&mut conn).await.unwrap();
            assert_eq!(counted.difference, 0, "the ledger does not balance: {counted:#?}");
            let count = async |conn: &mut lettercase::db::Conn, sql: &'static str| {
                sqlx::query(sql).fetch_one(conn).await.unwrap().get::<i64, _>("n")
            };
            let doubled = count(
                &mut conn,
                "SELECT COUNT(*) AS n FROM (SELECT subject FROM posting
                 GROUP BY kind, subject, from_state, to_state HAVING COUNT(*) > 1) AS twice",
            );
            assert_eq!(doubled.await, 0, "a transition was posted twice");
            assert_eq!(count(&mut conn, "SELECT COUNT(*) AS n FROM work").await, 0, "work is left");
        }
        let store = objects::open(&settings.objects_options()).await.unwrap();
        let places = compare_content(&db, store.as_ref()).await.unwrap();
        assert!(places.values().all(|d| *d == (0, 0)), "content and objects differ: {places:?}");
        assert!(store.list(Place::Incoming, None, 10).await.unwrap().is_empty(), "incoming is not swept");
        db.close().await;
        let report = verify_audit(&settings).await.unwrap();
        assert_eq!((report.fault, report.waiting), (None, 0), "the audit chain is broken or unsealed");
    }

    /// Everything that became of the documents, without what differs from run to run: ids, instants, numbers.
    /// Uploads that broke off are left out; they are asserted to be nothing but that.
    pub(crate) async fn outcome(&self) -> BTreeSet<String> {
        let db = self.db().await;
        let mut told = BTreeSet::new();
        {
            let mut conn = db.read().await.unwrap();
            let documents = sqlx::query(
                "SELECT d.id AS id, d.file_name AS name, d.state AS state, COALESCE(d.file_type, '-') AS file_type,
                        COALESCE(d.verdict, '-') AS verdict, COALESCE(d.signature, '-') AS signature,
                        COALESCE(d.reason_code, '-') AS reason, COALESCE(c.claim_number, '-') AS claim,
                        CAST((SELECT COUNT(*) FROM receipt r WHERE r.subject = d.id) AS BIGINT) AS receipts,
                        CAST((SELECT COUNT(*) FROM match_candidate m WHERE m.document_id = d.id) AS BIGINT) AS candidates
                 FROM document d LEFT JOIN case_file c ON c.id = d.case_id",
            )
            .fetch_all(&mut *conn)
            .await
            .unwrap();
            for row in documents {
                let text = |column: &str| row.get::<String, _>(column);
                let number = |column: &str| row.get::<i64, _>(column);
                let steps = steps(&mut conn, &text("id")).await;
                if text("reason") == "incomplete" {
                    assert_eq!((text("state").as_str(), number("receipts")), ("rejected", 0), "{steps}");
                    continue;
                }
                let new = told.insert(format!(
                    "document {}: {} {} {} {} {}, case of claim {}, receipts {}, candidates {}; {steps}",
                    text("name"),
                    text("state"),
                    text("file_type"),
                    text("verdict"),
                    text("signature"),
                    text("reason"),
                    text("claim"),
                    number("receipts"),
                    number("candidates"),
                ));
                assert!(new, "{} is there twice", text("name"));
            }
            for row in sqlx::query("SELECT id, sender_reference AS name, state FROM submission")
                .fetch_all(&mut *conn)
                .await
                .unwrap()
            {
                let steps = steps(&mut conn, &row.get::<String, _>("id")).await;
                told.insert(format!(
                    "submission {}: {}; {steps}",
                    row.get::<String, _>("name"),
                    row.get::<String, _>("state")
                ));
            }
            let cases = "SELECT id, claim_number AS claim, status, CAST(version AS BIGINT) AS version FROM case_file WHERE origin = 'here'";
            for row in sqlx::query(cases).fetch_all(&mut *conn).await.unwrap() {
                let steps = steps(&mut conn, &row.get::<String, _>("id")).await;
                let (claim, status, version): (String, String, i64) =
                    (row.get("claim"), row.get("status"), row.get("version"));
                assert!(
                    told.insert(format!("case of {claim}: {status}, version {version}; {steps}")),
                    "two cases of {claim}"
                );
            }
            for row in sqlx::query("SELECT sha256, state FROM content").fetch_all(&mut *conn).await.unwrap() {
                told.insert(format!("content {} {}", row.get::<String, _>("sha256"), row.get::<String, _>("state")));
            }
            let messages =
                "SELECT type, COALESCE(claim_number, '-') AS claim, COALESCE(status, '-') AS status FROM message";
            for row in sqlx::query(messages).fetch_all(&mut *conn).await.unwrap() {
                let [what, claim, status] = ["type", "claim", "status"].map(|column| row.get::<String, _>(column));
                let line = format!("message {what} of claim {claim}: {status}");
                assert!(told.insert(line.clone()), "twice: {line}");
            }
        }
        db.close().await;
        for letter in self.letters().await {
            let line = format!("letter {} of claim {}: {}", letter.letter_type, letter.claim, letter.line);
            assert!(told.insert(line.clone()), "twice: {line}");
        }
        told
    }

    /// What became of each letter.
    pub(crate) async fn letters(&self) -> Vec<LetterTold> {
        let db = self.db().await;
        let mut told = Vec::new();
        {
            let mut conn = db.read().await.unwrap();
            let letters = sqlx::query(
                "SELECT id, event_id, type, state, COALESCE(reason_code, '-') AS reason, COALESCE(claim_number, '-') AS claim,
                        COALESCE(data, '') AS data, COALESCE(letter_date, '') AS letter_date, COALESCE(sha256, '') AS sha256,
                        CAST((SELECT COUNT(*) FROM message m WHERE m.letter_id = letter.id) AS BIGINT) AS messages,
                        CAST((SELECT COUNT(*) FROM receipt r WHERE r.subject = letter.id) AS BIGINT) AS receipts
                 FROM letter",
            );
            for row in letters.fetch_all(&mut *conn).await.unwrap() {
                let text = |column: &str| row.get::<String, _>(column);
                let number = |column: &str| row.get::<i64, _>(column);
                let mut ways = Vec::new();
                let deliveries =
                    "SELECT id, channel, state, reasons FROM delivery WHERE letter_id = $1 ORDER BY channel";
                for way in sqlx::query(deliveries).bind(text("id")).fetch_all(&mut *conn).await.unwrap() {
                    let [id, channel, state, reasons] =
                        ["id", "channel", "state", "reasons"].map(|column| way.get::<String, _>(column));
                    ways.push(format!("{channel} {state} {reasons} ({})", steps(&mut conn, &id).await));
                }
                told.push(LetterTold {
                    line: format!(
                        "{} {}; ways {}; messages {}, receipts {}; {}",
                        text("state"),
                        text("reason"),
                        ways.join(", "),
                        number("messages"),
                        number("receipts"),
                        steps(&mut conn, &text("id")).await
                    ),
                    event_id: text("event_id"),
                    letter_type: text("type"),
                    claim: text("claim"),
                    date: text("letter_date"),
                    data: text("data"),
                    sha256: text("sha256"),
                });
            }
        }
        db.close().await;
        told
    }
}

/// A letter in the end. In `line` is nothing that differs from run to run.
pub(crate) struct LetterTold {
    pub(crate) event_id: String,
    pub(crate) letter_type: String,
    pub(crate) claim: String,
    pub(crate) line: String,
    pub(crate) date: String,
    pub(crate) data: String,
    pub(crate) sha256: String,
}

/// The postings and events of a subject, in order.
async fn steps(conn: &mut lettercase::db::Conn, subject: &str) -> String {
    let mut all = Vec::new();
    for sql in [
        "SELECT to_state AS step FROM posting WHERE subject = $1 ORDER BY at, id",
        "SELECT type AS step FROM event WHERE subject = $1 ORDER BY position",
    ] {
        let rows = sqlx::query(sql).bind(subject).fetch_all(&mut *conn).await.unwrap();
        all.push(rows.iter().map(|row| row.get::<String, _>("step")).collect::<Vec<_>>().join(" "));
    }
    all.join(" | ")
}

impl Server {
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the process says something.
    pub(crate) async fn until_logged(&mut self, what: &str) {
        let began = Instant::now();
        while !self.log().contains(what) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the process ended ({status}) before it said {what:?}: {}", self.log());
            }
            assert!(began.elapsed() < PATIENCE, "the process did not say {what:?}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id().unwrap()).unwrap()
    }

    /// Stops it where it stands, or has it go on.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// kill -9.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, and how the process ended and what it said.
    pub(crate) async fn terminate(mut self) -> (ExitStatus, String) {
        self.signal(rustix::process::Signal::TERM);
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it did not end").unwrap();
        (ended, self.log())
    }
}

/// Figures that a test can wait for.
const QUICK: [(&str, &str); 7] = [
    ("lease_s", "3"),
    ("every_s", "1"),
    ("settle_s", "1"),
    ("orphan_after_s", "1"),
    ("backoff_first_ms", "100"),
    ("tries", "12"),
    ("canary_interval_s", "3600"),
];

/// The plan that is shipped, with leases and sweeps that a test can wait for, and what a test changes.
fn plan(changed: &[(&str, &str)]) -> String {
    let changed: Vec<(&str, &str)> = QUICK.iter().chain(changed).copied().collect();
    with(include_str!("../../pipelines/intake.toml"), &changed)
}

/// The same of letters. They are a page each: of pages of languages other tests see enough.
fn correspondence() -> String {
    quick_letters(include_str!("../../pipelines/correspondence.toml"))
}

fn quick_letters(plan: &str) -> String {
    let types: Vec<&str> = LetterType::ALL.iter().map(|letter_type| letter_type.as_str()).collect();
    let types = format!("{types:?}");
    let quick = [
        ("lease_s", "3"),
        ("stuck_after_s", "1"),
        ("orphan_after_s", "1"),
        ("backoff_first_ms", "100"),
        ("tries", "12"),
        ("no_languages_page", types.as_str()),
    ];
    with(plan, &quick)
}

/// The same of digests: several slices of users, and the shortest lease that a mail may have.
fn notifications() -> String {
    let quick = [
        ("users_per_step", "2"),
        ("planning_lease_s", "2"),
        ("lease_s", "30"),
        ("accept_s", "10"),
        ("reply_s", "5"),
        ("breaker_rest_s", "1"),
        ("retry_first_s", "1"),
        ("retry_longest_s", "2"),
    ];
    with(include_str!("../../pipelines/notifications.toml"), &quick)
}

/// The same of the doors: nobody is sent away for his haste, and whose node died goes on soon.
fn doors() -> String {
    let quick = [("requests_per_s", "10_000"), ("burst", "10_000"), ("uploads_per_caller", "64"), ("lease_s", "2")];
    with(include_str!("../../pipelines/doors.toml"), &quick)
}

/// A plan with other figures; where a name comes twice, the last one counts.
fn with(plan: &str, changed: &[(&str, &str)]) -> String {
    let changed: BTreeMap<&str, &str> = changed.iter().copied().collect();
    let line = |line: &str| {
        let name = line.split(' ').next().unwrap_or_default();
        changed.get(name).map_or_else(|| line.to_owned(), |value| format!("{name} = {value}"))
    };
    plan.lines().map(line).collect::<Vec<_>>().join("\n")
}
