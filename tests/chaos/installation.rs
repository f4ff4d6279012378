//! An installation with all that letters and documents can come to: readers with mail addresses, a receiver of mail, a
//! fax gateway, practices that have their letters on paper.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lettercase::access::{Expected, Manager};
use lettercase::app::open_access;
use lettercase::db::{Conn, Stamp};
use lettercase::intake::load::{Form, load};
use lettercase::model::access::TinRights;
use lettercase::model::people::{Login, Person};
use lettercase::model::phi::Phi;
use lettercase::model::reference::ReferenceKind;
use lettercase::outside::context::Context;
use lettercase::outside::mailer::receiver::Receiver;
use sqlx::{AssertSqlSafe, Row};
use tempfile::TempDir;
use tokio::process::Command;

use crate::crash::site::{Server, Site};
use crate::support::digests::{BOTH, tin};
use crate::support::postgres::free_port;
use crate::support::{On, tools};

/// Practices whose letters are in the Messaging Center, with how many read them.
const READ: [(&str, usize); 2] = [("004417203", 3), ("005820914", 2)];

pub(super) struct Installation {
    pub(super) site: Site,
    /// What came by mail.
    pub(super) mails: TempDir,
    /// The folder of the fax gateway.
    pub(super) fax: TempDir,
    _receiver: Receiver,
}

/// A node: what it is started with.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) verb: &'static str,
    pub(super) port: u16,
    pub(super) more: BTreeMap<String, String>,
}

impl Installation {
    /// A fresh one that knows so many claims, each to be asked about once.
    pub(super) async fn new(on: On, claims: usize) -> Self {
        let mut site = Site::for_chaos(on).await;
        let (mails, fax) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let receiver = Receiver::start(mails.path()).await.unwrap();
        let mail = format!(
            "{{ relays = [{{ host = \"127.0.0.1\", port = {}, security = \"plain\", connections = 3 }}], \
               from = \"notices@mail.example\", public_url = \"https://letters.example\" }}",
            receiver.address().port()
        );
        // one store for all nodes, whatever their own directories
        let objects = format!("{{ kind = \"files\", root = \"{}\" }}", site.dir.path().join("objects").display());
        let more = [
            ("LETTERCASE_MAIL", mail),
            ("LETTERCASE_FAX_GATEWAY", fax.path().display().to_string()),
            ("LETTERCASE_OBJECTS", objects),
            ("LETTERCASE_LOG", "warn,lettercase=info".into()),
        ];
        site.environment.extend(more.map(|(name, value)| (name.to_owned(), value)));
        let installation = Self { site, mails, fax, _receiver: receiver };
        installation.fill(claims).await;
        installation
    }

    async fn fill(&self, claims: usize) {
        let (db, ctx) = (self.site.db().await, Context::system());
        let rows: String = (0..claims)
            .map(|n| {
                format!(
                    "{{\"brand\":\"meridian\",\"claim_number\":\"{}\",\"member_id\":\"MH40726183\",\"tin\":\"004417203\",\
                      \"npi\":\"2048173597\",\"status\":\"Denied\",\"service_from\":\"2026-06-11\",\
                      \"service_to\":\"2026-06-11\",\"processed_on\":\"2026-07-02\"}}\n",
                    claim_number(n)
                )
            })
            .collect();
        let stamp = Stamp { ctx: &ctx, actor: "test" };
        let rows = std::io::Cursor::new(rows.into_bytes());
        let loaded = load(&db, stamp, ReferenceKind::Claims, Form::Ndjson, rows).await.unwrap();
        assert_eq!(loaded.rejected, 0, "{:?}", loaded.rejects);
        let access = open_access(&self.site.settings(), db.clone(), Context::system()).unwrap();
        for (practice, readers) in READ {
            for n in 0..readers {
                let subject = format!("reader-{practice}-{n}");
                let login = Login { issuer: "portal".parse().unwrap(), subject: subject.parse().unwrap() };
                let email = Some(Phi(format!("{subject}@practice.example")));
                let by = || Manager::Machine("test");
                let person = Person { name: Phi(subject), email };
                let user = access.put_user(by(), &login, person, Expected::Any).await.unwrap().0;
                let rights = TinRights { entitlements: BOTH.into(), access_manager: false };
                access.put_entitlement(by(), &user.id, &tin(practice), rights, Expected::Any).await.unwrap();
            }
        }
        db.close().await;
    }

    /// The node that serves.
    pub(super) fn serve(&self) -> Node {
        self.node("serve", "node-1", self.site.port)
    }

    /// A node that works.
    pub(super) fn work(&self, name: &str) -> Node {
        self.node("work", name, free_port())
    }

    fn node(&self, verb: &'static str, name: &str, port: u16) -> Node {
        let data = self.data(name);
        let more = [("LETTERCASE_NODE", name.to_owned()), ("LETTERCASE_DATA_DIR", data.display().to_string())];
        let more = more.map(|(name, value)| (name.to_owned(), value)).into();
        Node { verb, port, more }
    }

    /// A node's own directory.
    fn data(&self, name: &str) -> PathBuf {
        self.site.dir.path().join(name)
    }

    /// Starts a node, and waits for nothing.
    pub(super) fn spawn(&self, node: &Node) -> Server {
        let mut command: Command = self.site.command();
        command.envs(&node.more).args([node.verb, "--listen", &format!("127.0.0.1:{}", node.port)]);
        self.site.spawn(command)
    }

    /// Kills a node, and starts it again.
    pub(super) async fn spawn_after(&self, server: Server, node: &Node) -> Server {
        server.kill().await;
        self.start(node).await
    }

    /// Starts a node, and waits until it is there.
    pub(super) async fn start(&self, node: &Node) -> Server {
        let mut server = self.spawn(node);
        server.until_logged(until(node)).await;
        server
    }

    /// The figure `n` that a statement answers.
    pub(super) async fn number(&self, statement: &str) -> i64 {
        let rows = self.rows(statement).await;
        rows[0].get("n")
    }

    pub(super) async fn rows(&self, statement: &str) -> Vec<sqlx::any::AnyRow> {
        let db = self.site.db().await;
        let rows = {
            let mut conn = db.read().await.unwrap();
            rows(&mut conn, statement).await
        };
        db.close().await;
        rows
    }

    /// What nodes said, of all their lives.
    pub(super) fn logs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.site.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| name_of(path).starts_with("log-")).collect()
    }
}

pub(super) async fn rows(conn: &mut Conn, statement: &str) -> Vec<sqlx::any::AnyRow> {
    sqlx::query(AssertSqlSafe(statement.to_owned())).fetch_all(conn).await.unwrap()
}

/// What a node says when it is there.
pub(super) fn until(node: &Node) -> &'static str {
    if node.verb == "serve" { "listening on" } else { "watched at" }
}

pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

pub(super) fn claim_number(n: usize) -> String {
    format!("CL29{n:08}")
}

/// The library that gives a process another clock.
pub(super) fn faketime() -> PathBuf {
    let library = tools().join("lib/libfaketime.so.1");
    assert!(library.is_file(), "{} is missing: run `make deps`", library.display());
    library
}
