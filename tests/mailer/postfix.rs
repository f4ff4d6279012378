//! Debian's Postfix as a relay with a queue of its own, to be killed and started again.

use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::support::postgres::free_port;
use crate::support::{program, tools};

/// Whom Postfix becomes, and the group of what its other users hand in: both of every Debian. It wants them apart, and
/// apart from the one that deliveries to programs run as.
const OWNER: (&str, u32) = ("nobody", 65_534);
const GROUP: (&str, u32) = ("mail", 8);
/// Longer than Postfix takes for anything here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A Postfix with a queue of its own, as long as it is kept.
pub(crate) struct Postfix {
    master: Child,
    pub(crate) port: u16,
    /// Where it passes mail on to; who listens there is the test's business.
    pub(crate) next_hop: u16,
    dir: tempfile::TempDir,
}

impl Postfix {
    /// One with these settings beside its usual ones; `None` where it can't be run: its master is root's alone.
    pub(crate) async fn start(settings: &str) -> Option<Self> {
        if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
            eprintln!("left out: only root can run Postfix");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("lettercase-postfix-").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let (port, next_hop) = (free_port(), free_port());
        configure(dir.path(), (port, next_hop), settings);
        lay_out_the_queue(dir.path());
        let postfix = Self { master: run(dir.path()), port, next_hop, dir };
        postfix.listens().await;
        Some(postfix)
    }

    /// Changes its settings, for when it is started again.
    pub(crate) fn change(&self, from: &str, to: &str) {
        let conf = self.dir.path().join("conf/main.cf");
        let text = std::fs::read_to_string(&conf).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(conf, text.replace(from, to)).unwrap();
    }

    async fn listens(&self) {
        for _ in 0..PATIENCE.as_millis() / 20 {
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("Postfix does not listen: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub(crate) async fn logged(&self, what: &str, times: usize) {
        for _ in 0..PATIENCE.as_millis() / 20 {
            if self.log().matches(what).count() >= times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("Postfix did not log {what} {times} times: {}", self.log());
    }

    /// kill -9, the master and all that it started.
    pub(crate) fn kill(&mut self) {
        let group = rustix::process::Pid::from_child(&self.master);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.master.wait();
    }

    /// Starts it again on the queue that it left.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.master = run(self.dir.path());
        self.listens().await;
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.kill();
    }
}

fn configure(dir: &Path, (port, next_hop): (u16, u16), settings: &str) {
    let conf = dir.join("conf");
    std::fs::create_dir(&conf).unwrap();
    let (root, dir) = (tools().join("root"), dir.display());
    let root = root.display();
    let (owner, group) = (OWNER.0, GROUP.0);
    let main = format!(
        "compatibility_level = 3.6\n\
         queue_directory = {dir}/queue\n\
         data_directory = {dir}/data\n\
         daemon_directory = {root}/usr/lib/postfix/sbin\n\
         command_directory = {root}/usr/sbin\n\
         shlib_directory = {root}/usr/lib/postfix\n\
         meta_directory = {root}/usr/share/postfix\n\
         maillog_file = {dir}/log\n\
         maillog_file_prefixes = /\n\
         mail_owner = {owner}\n\
         setgid_group = {group}\n\
         default_privs = daemon\n\
         import_environment = MAIL_CONFIG TZ LD_LIBRARY_PATH\n\
         export_environment = MAIL_CONFIG TZ LD_LIBRARY_PATH\n\
         inet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\n\
         myhostname = relay.localhost\n\
         mydestination =\n\
         alias_maps =\n\
         alias_database =\n\
         disable_dns_lookups = yes\n\
         smtp_host_lookup = native\n\
         relayhost = [127.0.0.1]:{next_hop}\n\
         queue_run_delay = 1s\n\
         minimal_backoff_time = 1s\n\
         maximal_backoff_time = 1s\n\
         {settings}"
    );
    std::fs::write(conf.join("main.cf"), main).unwrap();
    let mut services = format!("127.0.0.1:{port} inet n - n - - smtpd\npostlog unix-dgram n - n - 1 postlogd\n");
    for (service, program, public, limits) in [
        ("cleanup", "cleanup", "n", "- 0"),
        ("qmgr", "qmgr", "n", "1 1"),
        ("rewrite", "trivial-rewrite", "-", "- -"),
        ("bounce", "bounce", "-", "- 0"),
        ("defer", "bounce", "-", "- 0"),
        ("trace", "bounce", "-", "- 0"),
        ("verify", "verify", "-", "- 1"),
        ("proxymap", "proxymap", "-", "- -"),
        ("smtp", "smtp", "-", "- -"),
        ("error", "error", "-", "- -"),
        ("retry", "error", "-", "- -"),
        ("anvil", "anvil", "-", "- 1"),
        ("scache", "scache", "-", "- 1"),
        ("flush", "flush", "n", "1000? 0"),
    ] {
        writeln!(services, "{service} unix {public} - n {limits} {program}").unwrap();
    }
    std::fs::write(conf.join("master.cf"), services).unwrap();
}

/// What Postfix's own scripts do when it is installed.
fn lay_out_the_queue(dir: &Path) {
    let make = |path: PathBuf, owner: u32, group: Option<u32>, mode: u32| {
        std::fs::create_dir_all(&path).unwrap();
        chown(&path, Some(owner), group).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let queue = dir.join("queue");
    make(queue.join("pid"), 0, None, 0o755);
    make(dir.join("data"), OWNER.1, None, 0o700);
    for name in
        ["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"]
    {
        make(queue.join(name), OWNER.1, None, 0o700);
    }
    make(queue.join("maildrop"), OWNER.1, Some(GROUP.1), 0o1730);
    make(queue.join("public"), OWNER.1, Some(GROUP.1), 0o2710);
}

fn run(dir: &Path) -> Child {
    Command::new(program("postfix-master"))
        // should this process die, it ends by itself
        .args(["-d", "-e", "300", "-c"])
        .arg(dir.join("conf"))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
