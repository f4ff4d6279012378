//! A PostgreSQL server for this test run, or the one that `LETTERCASE_TEST_POSTGRES` names; each world gets a
//! database of its own on it.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::{Connection, Executor};

use super::{program, spawn};

/// A server, which ends with this process: its keeper reads a pipe that closes when we do, however that is.
struct Server {
    url: String,
    _keeper: Option<Child>,
    _dir: Option<tempfile::TempDir>,
}

static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

impl Server {
    #[expect(clippy::disallowed_methods, reason = "the one setting of the tests")]
    fn start() -> Self {
        if let Ok(url) = std::env::var("LETTERCASE_TEST_POSTGRES") {
            return Self { url, _keeper: None, _dir: None };
        }
        Self::own()
    }

    /// One of our own.
    fn own() -> Self {
        let dir = made();
        let port = free_port();
        let keeper = keep(dir.path(), port, true);
        let url = format!("postgres://lettercase@127.0.0.1:{port}");
        Self { url, _keeper: Some(keeper), _dir: Some(dir) }
    }
}

/// A directory with the data of an empty server.
fn made() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("lettercase-pg-").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let made = Command::new(program("initdb"))
        .args(["-U", "lettercase", "-A", "trust", "-E", "UTF8", "--no-locale", "-N", "-D"])
        .arg(dir.path().join("data"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    dir
}

/// A server of a test's own, which it may stop and start again.
pub struct Own {
    dir: tempfile::TempDir,
    port: u16,
    keeper: Option<Child>,
}

impl Own {
    /// Starts it.
    pub fn start() -> Self {
        let mut own = Self { dir: made(), port: free_port(), keeper: None };
        own.start_again();
        own
    }

    /// The address of its one database.
    pub fn url(&self) -> String {
        format!("postgres://lettercase@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops it as a restart does: whoever is connected is told, and what was not committed is gone.
    pub fn stop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().unwrap();
        }
    }

    /// Starts it on the data it had.
    pub fn start_again(&mut self) {
        self.keeper = Some(keep(self.dir.path(), self.port, false));
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts the server under a shell that ends it when our end of its input closes, and then removes its directory where
/// that is not ours to remove.
fn keep(dir: &Path, port: u16, removes: bool) -> Child {
    let script = r#"
        "$1" -D "$2" -k '' -c listen_addresses=127.0.0.1 -p "$3" -c max_connections=400 \
            -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
            -c wal_level=minimal -c max_wal_senders=0 -c max_wal_size=256MB >"$4" 2>&1 &
        server=$!
        cat >/dev/null
        kill -INT "$server"
        wait "$server"
        if [ "$6" = true ]; then rm -rf "$5"; fi
    "#;
    let log = dir.join("log");
    std::fs::File::create(&log).unwrap().write_all(b"").unwrap();
    let keeper = Command::new("/bin/sh")
        .args(["-c", script, "keeper"])
        .arg(program("postgres"))
        .arg(dir.join("data"))
        .arg(port.to_string())
        .arg(&log)
        .arg(dir)
        .arg(removes.to_string())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "PostgreSQL did not start: {}",
            std::fs::read_to_string(&log).unwrap_or_default()
        );
        std::thread::yield_now();
    }
    keeper
}

/// A port that is free, given out once, and below those that the system gives to outgoing connections: a server
/// that is killed finds it free again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let turn = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + u16::try_from(turn % 12_000).unwrap_or(0);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Another server, which nobody else uses.
pub struct Fresh(Server);

impl Fresh {
    /// One that has no database of ours, and takes connections.
    pub fn start() -> Self {
        let server = Server::own();
        let began = Instant::now();
        let asks = ["-X", "-c", "SELECT 1", "-d", &format!("{}/postgres", server.url)];
        while !Command::new(program("psql")).args(asks).output().unwrap().status.success() {
            assert!(began.elapsed() < Duration::from_secs(60), "PostgreSQL takes no connections");
        }
        Self(server)
    }

    /// The address of a database on it.
    pub fn address(&self, database: &str) -> String {
        format!("{}/{database}", self.0.url)
    }
}

/// A database that is dropped with this: hundreds of them fill a disk.
pub struct Database {
    name: String,
    /// Its address.
    pub url: String,
}

impl Database {
    /// An empty one.
    pub async fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("lettercase_test_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        administer(format!("CREATE DATABASE {name}")).await.unwrap();
        let url = format!("{}/{name}", SERVER.url.trim_end_matches('/'));
        Self { name, url }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        spawn(async move {
            if let Err(error) = administer(drop).await {
                eprintln!("a test's database stays: {error}");
            }
        });
    }
}

async fn administer(sql: String) -> sqlx::Result<()> {
    sqlx::any::install_default_drivers();
    let address = format!("{}/postgres", SERVER.url.trim_end_matches('/'));
    let mut tries = 0;
    let mut admin = loop {
        match sqlx::AnyConnection::connect(&address).await {
            Ok(admin) => break admin,
            Err(error) if tries > 100 => panic!("PostgreSQL can't be reached: {error}"),
            Err(_) => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    admin.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql))).await?;
    admin.close().await
}
