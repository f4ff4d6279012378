//! A clamd of our own: found, configured, started, watched and ended by us. For one machine.
//!
//! Everything it needs is in one private directory under the system's temporary directory, not in our data
//! directory: Debian confines clamd (AppArmor) to `/tmp` and its own places, and a socket's path may have
//! 107 bytes only.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use super::keeper::{Keeper, Launch, end_left_over};
use super::policy::{Endpoint, ScanPolicy};
use super::protocol::{self, Source};
use super::signatures::{Found, SignatureDirectory, SignatureSet};
use super::{ScannerError, Verdict};

const PREFIX: &str = "lettercase-clamd-";
/// Held locked while the directory's owner lives; the kernel lets go of it when the owner is killed.
const LOCK: &str = "owner.lock";
const CONFIG: &str = "clamd.conf";
const PID: &str = "clamd.pid";
const SOCKET: &str = "s";
/// `sun_path` with its closing NUL.
const SOCKET_PATH_MAX_BYTES: usize = 107;
const POLL: Duration = Duration::from_millis(50);
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How a managed clamd is found and run.
#[derive(Debug, Clone)]
pub struct ManagedOptions {
    /// clamd's path; `None` looks for `clamd` in `search`.
    pub clamd: Option<PathBuf>,
    /// Directories `clamd` is looked for in, in this order.
    pub search: Vec<PathBuf>,
    /// Where its run directory is made. Debian's confinement of clamd allows `/tmp` and below.
    pub run_parent: PathBuf,
    /// Where the system keeps its signatures; those that are not there hold none.
    pub signature_directories: Vec<PathBuf>,
    /// Deadline of starting and of loading signatures anew. Official signatures take some 30 seconds.
    pub start_timeout: Duration,
    /// How often the system's signatures are looked at for a change.
    pub watch_interval: Duration,
}

impl Default for ManagedOptions {
    fn default() -> Self {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect();
        Self {
            clamd: None,
            search: paths(&["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"]),
            run_parent: std::env::temp_dir(),
            signature_directories: paths(&["/var/lib/clamav"]),
            start_timeout: Duration::from_secs(120),
            watch_interval: Duration::from_secs(60),
        }
    }
}

/// A running clamd of ours.
#[derive(Debug)]
pub(super) struct Managed {
    // First, so that clamd is killed before its directory goes.
    keeper: Arc<Keeper>,
    loaded: watch::Receiver<SignatureSet>,
    watcher: tokio::task::AbortHandle,
    run: std::sync::Mutex<Option<(TempDir, File)>>,
    socket: PathBuf,
}

impl Managed {
    pub(super) async fn start(options: &ManagedOptions, policy: &ScanPolicy) -> Result<Self, ScannerError> {
        let clamd = find(options)?;
        let parent = options.run_parent.clone();
        let run = tokio::task::spawn_blocking(move || {
            end_left_overs(&parent);
            make_run_directory(&parent)
        });
        let (run, lock) = run.await.map_err(|error| ScannerError::Start { why: error.to_string() })??;
        let at = run.path().to_owned();
        let in_run = |doing, path: &Path, source| ScannerError::RunDirectory { doing, path: path.to_owned(), source };

        let signatures = SignatureDirectory::new(at.join("db"), options.signature_directories.clone());
        let found = signatures.look().map_err(|error| in_run("read the signatures for", &at, error))?;
        signatures.write(&found).map_err(|error| in_run("write signatures to", &at, error))?;
        fs::write(at.join(CONFIG), configuration(&at, policy))
            .map_err(|error| in_run("write clamd's configuration to", &at, error))?;

        let launch = Launch { clamd, config: at.join(CONFIG), pid_file: at.join(PID), directory: at.clone() };
        let keeper = Keeper::start(launch).map_err(|error| ScannerError::Start { why: error.to_string() })?;
        let keeper = Arc::new(keeper);
        let endpoint = Endpoint::Unix(at.join(SOCKET));
        let (told, loaded) = watch::channel(found.set.clone());
        let clamd = Clamd { keeper: Arc::downgrade(&keeper), endpoint, policy: policy.clone(), signatures };
        clamd.wait_for(&found.set, options.start_timeout, true).await.map_err(|why| ScannerError::Start { why })?;
        let watcher = tokio::spawn(clamd.watch(options.clone(), told)).abort_handle();
        let socket = at.join(SOCKET);
        Ok(Self { keeper, loaded, watcher, run: std::sync::Mutex::new(Some((run, lock))), socket })
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.socket.clone())
    }

    /// The configuration it runs with.
    pub(super) fn config(&self) -> PathBuf {
        self.socket.with_file_name(CONFIG)
    }

    /// The set clamd has loaded, as it changes.
    pub(super) fn loaded(&self) -> watch::Receiver<SignatureSet> {
        self.loaded.clone()
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.keeper.trouble()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.keeper.pid()
    }

    pub(super) async fn shutdown(&self) {
        self.watcher.abort();
        let keeper = Arc::clone(&self.keeper);
        let _ = tokio::task::spawn_blocking(move || keeper.stop(STOP_PATIENCE)).await;
        let run = self.run.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some((run, _lock)) = run {
            let _ = run.close();
        }
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// What watches the signatures: it holds the process only weakly, so that dropping the scanner ends it.
struct Clamd {
    keeper: std::sync::Weak<Keeper>,
    endpoint: Endpoint,
    policy: ScanPolicy,
    signatures: SignatureDirectory,
}

impl Clamd {
    /// Waits until clamd answers with this set's name. `starting`: an end of clamd is then the end of waiting.
    async fn wait_for(&self, set: &SignatureSet, limit: Duration, starting: bool) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        let marker = Source::Bytes(self.signatures.marker().into());
        loop {
            let verdict = protocol::scan(&self.endpoint, &self.policy, &marker).await;
            if matches!(&verdict, Verdict::Infected { signature } if SignatureDirectory::is_set(signature, set)) {
                return Ok(());
            }
            let Some(keeper) = self.keeper.upgrade() else { return Err("it was ended".to_owned()) };
            if (starting && keeper.ends() > 0) || Instant::now() > deadline {
                let late = || format!("it did not load its signatures within {} s", limit.as_secs());
                return Err(keeper.trouble().unwrap_or_else(late));
            }
            drop(keeper);
            sleep(POLL).await;
        }
    }

    async fn watch(self, options: ManagedOptions, told: watch::Sender<SignatureSet>) {
        let mut ticks = interval(options.watch_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let found = match self.signatures.look() {
                Ok(found) if found.set == *told.borrow() => continue,
                Ok(found) => found,
                Err(error) => {
                    warn!(%error, "the system's signatures can't be looked at");
                    continue;
                }
            };
            if let Err(why) = self.load(&found, options.start_timeout).await {
                warn!(why, "the new signatures were not loaded; the scanner is started again");
                let Some(keeper) = self.keeper.upgrade() else { return };
                keeper.restart();
                continue;
            }
            info!(set = found.set.name, "the scanner has loaded changed signatures");
            told.send_replace(found.set);
        }
    }

    async fn load(&self, found: &Found, limit: Duration) -> Result<(), String> {
        self.signatures.write(found).map_err(|error| error.to_string())?;
        protocol::reload(&self.endpoint, &self.policy).await?;
        self.wait_for(&found.set, limit, false).await
    }
}

fn find(options: &ManagedOptions) -> Result<PathBuf, ScannerError> {
    let candidates: Vec<PathBuf> = match &options.clamd {
        Some(path) => vec![path.clone()],
        None => options.search.iter().map(|directory| directory.join("clamd")).collect(),
    };
    let found = candidates.iter().find(|path| path.is_file()).cloned();
    found.and_then(|path| path.canonicalize().ok()).ok_or_else(|| ScannerError::ClamdNotFound {
        looked_in: options.clamd.clone().map_or_else(|| options.search.clone(), |path| vec![path]),
    })
}

fn make_run_directory(parent: &Path) -> Result<(TempDir, File), ScannerError> {
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| ScannerError::RunDirectory { doing, path, source }
    };
    let parent = parent.canonicalize().map_err(failed("find the temporary directory", parent))?;
    // TempDir makes it for its owner alone (0700).
    let run = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent);
    let run = run.map_err(failed("make a run directory in", &parent))?;
    let socket = run.path().join(SOCKET);
    if socket.as_os_str().len() > SOCKET_PATH_MAX_BYTES {
        let source = io::Error::other("the path is too long for a socket; use a shorter temporary directory");
        return Err(failed("listen at", &socket)(source));
    }
    let lock = File::create(run.path().join(LOCK)).and_then(|lock| lock.lock().map(|()| lock));
    let lock = lock.map_err(failed("lock", run.path()))?;
    let mut private = DirBuilder::new();
    private.mode(0o700).create(run.path().join("tmp")).map_err(failed("make a temporary directory in", run.path()))?;
    Ok((run, lock))
}

/// Ends what earlier runs left: directories of ours whose owner no longer holds the lock. Best effort: one
/// that can't be cleared now is met again at the next start.
fn end_left_overs(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && fs::symlink_metadata(&path)
                .is_ok_and(|about| about.is_dir() && about.uid() == rustix::process::geteuid().as_raw());
        // The configuration is written after the lock is taken: without it, its owner is just starting.
        if !ours || !path.join(CONFIG).is_file() {
            continue;
        }
        let Ok(lock) = File::open(path.join(LOCK)) else { continue };
        if lock.try_lock().is_err() {
            continue;
        }
        if let Err(error) = end_left_over(&path.join(PID), &path.join(CONFIG)) {
            warn!(%error, "the scanner an earlier run left can't be ended");
            continue;
        }
        let _ = fs::remove_dir_all(&path);
    }
}

/// clamd's configuration, written from the policy. Options not named keep clamd's defaults.
fn configuration(run: &Path, policy: &ScanPolicy) -> String {
    let at = |name: &str| run.join(name).display().to_string();
    let ours = [
        ("LocalSocket", at(SOCKET)),
        ("LocalSocketMode", "600".into()),
        ("DatabaseDirectory", at("db")),
        ("TemporaryDirectory", at("tmp")),
        ("Foreground", "yes".into()),
        // We tell it when: what it has loaded is then what we say it has.
        ("SelfCheck", "0".into()),
        ("ConcurrentDatabaseReload", "no".into()),
        ("ExitOnOOM", "yes".into()),
        ("FollowFileSymlinks", "no".into()),
        ("FollowDirectorySymlinks", "no".into()),
        ("LogClean", "no".into()),
        ("LogSyslog", "no".into()),
        // Loading signatures anew waits until idle threads have ended: half a minute as shipped.
        ("IdleTimeout", "1".into()),
    ];
    let lines = ours.into_iter().chain(judging(policy));
    lines.map(|(name, value)| format!("{name} {value}\n")).collect()
}

/// What the configuration of any clamd must say for its word to be worth what it says, whoever runs it: `docker/clamd.conf`
/// has these lines, too.
pub fn judging(policy: &ScanPolicy) -> Vec<(&'static str, String)> {
    let bytes = policy.max_file_bytes.to_string();
    vec![
        // It remembers clean files by a hash that can be forged: each file is looked at. What needs no second
        // look is remembered by us, by SHA-256.
        ("DisableCache", "yes".into()),
        // Off as shipped, and then everything over a limit, or locked, is "OK".
        ("AlertExceedsMax", "yes".into()),
        ("AlertEncrypted", "yes".into()),
        ("AlertEncryptedArchive", "yes".into()),
        ("AlertEncryptedDoc", "yes".into()),
        ("MaxFileSize", bytes.clone()),
        ("StreamMaxLength", bytes.clone()),
        ("MaxScanSize", policy.max_scan_bytes.to_string()),
        ("MaxFiles", policy.max_files.to_string()),
        ("MaxRecursion", policy.max_recursion.to_string()),
        // clamd gives up, and says so, before we would.
        ("MaxScanTime", (policy.timeout_s * 900).to_string()),
        // Above these it looks less closely and does not say so.
        ("MaxEmbeddedPE", bytes.clone()),
        ("MaxHTMLNormalize", bytes.clone()),
        ("MaxHTMLNoTags", bytes.clone()),
        ("MaxScriptNormalize", bytes.clone()),
        ("PCREMaxFileSize", bytes),
        ("ReadTimeout", policy.timeout_s.to_string()),
    ]
}
