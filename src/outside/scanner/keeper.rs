//! Keeps one clamd process running, and never longer than us.
//!
//! It runs on a thread of its own: the kernel sends the parent-death signal when the *thread* that started
//! the child ends, and a runtime's threads come and go. The signal is set between fork and exec, which needs
//! the module's one unsafe block; `setpriv` would do without, but is not on every machine, and leaves the gap
//! in which the parent dies first.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tracing::{info, warn};

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Running this long, it counts as started well, and the waits begin anew.
const SETTLED: Duration = Duration::from_secs(60);
const LINES_KEPT: usize = 8;
const LINE_MAX_BYTES: u64 = 300;

/// What to start.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    pub(super) clamd: PathBuf,
    pub(super) config: PathBuf,
    pub(super) pid_file: PathBuf,
    pub(super) directory: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    done: bool,
    running: Option<(u32, Arc<OwnedFd>)>,
    /// How often it ended without being told to.
    ends: u32,
    trouble: Option<String>,
    said: VecDeque<String>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running supervision. Dropped, it kills clamd.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    pub(super) fn start(launch: Launch) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let kept = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("clamd-keeper".to_owned()).spawn(move || keep(&launch, &kept))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.shared.lock().running.as_ref().map(|(pid, _)| *pid)
    }

    /// How often clamd ended by itself.
    pub(super) fn ends(&self) -> u32 {
        self.shared.lock().ends
    }

    /// Why it is not running, with the last it said; `None` while it runs.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.shared.lock();
        let trouble = state.trouble.clone()?;
        let said: Vec<&str> = state.said.iter().map(String::as_str).collect();
        Some(if said.is_empty() { trouble } else { format!("{trouble}; its last words: {}", said.join(" / ")) })
    }

    /// Ends the running process; it is started again.
    pub(super) fn restart(&self) {
        signal_running(&self.shared.lock(), Signal::TERM);
    }

    /// Ends it for good: asked first, killed after `patience`. Blocks.
    pub(super) fn stop(&self, patience: Duration) {
        let mut state = self.shared.lock();
        state.stopping = true;
        self.shared.changed.notify_all();
        signal_running(&state, Signal::TERM);
        let waited = self.shared.changed.wait_timeout_while(state, patience, |state| !state.done);
        let (state, late) = waited.unwrap_or_else(PoisonError::into_inner);
        if late.timed_out() {
            signal_running(&state, Signal::KILL);
        }
        drop(state);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        signal_running(&state, Signal::KILL);
        self.shared.changed.notify_all();
    }
}

/// By descriptor: a process id may have gone to another process since.
fn signal_running(state: &State, signal: Signal) {
    if let Some((_, process)) = &state.running {
        let _ = pidfd_send_signal(process, signal);
    }
}

fn keep(launch: &Launch, shared: &Arc<Shared>) {
    let mut wait = FIRST_WAIT;
    while !shared.lock().stopping {
        let started = Instant::now();
        let trouble = match run(launch, shared) {
            Ok(status) => format!("clamd ended ({status})"),
            Err(error) => format!("clamd can't be started: {error}"),
        };
        let mut state = shared.lock();
        state.running = None;
        if state.stopping {
            break;
        }
        wait = if started.elapsed() >= SETTLED { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
        warn!(trouble, restart_in_ms = wait.as_millis(), "the managed scanner is down");
        state.ends += 1;
        state.trouble = Some(trouble);
        let _ = shared.changed.wait_timeout_while(state, wait, |state| !state.stopping);
    }
    shared.lock().done = true;
    shared.changed.notify_all();
}

/// Runs it once, to its end.
fn run(launch: &Launch, shared: &Arc<Shared>) -> io::Result<std::process::ExitStatus> {
    let (output, input) = io::pipe()?;
    let mut command = Command::new(&launch.clamd);
    command.arg("--foreground").arg(format!("--config-file={}", launch.config.display()));
    command.current_dir(&launch.directory).stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
    // It parses hostile bytes: our settings, and the secrets in them, are not its business. Its zone is UTC,
    // as VERSION writes local time. A group of its own, so that an interrupt at the terminal reaches it from us.
    command.env_clear().env("TZ", "UTC").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").process_group(0);
    die_with_us(&mut command);
    let mut child = command.spawn()?;
    drop(command);

    let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    // Not waited for yet, so the id is still its own.
    let process = match pidfd_open(process, PidfdFlags::empty()) {
        Ok(process) => Arc::new(process),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error.into());
        }
    };
    // For whoever comes after us if we are killed; without it the parent-death signal still stands.
    let _ = fs::write(&launch.pid_file, child.id().to_string());
    {
        let mut state = shared.lock();
        state.running = Some((child.id(), Arc::clone(&process)));
        state.trouble = None;
        state.said.clear();
        if state.stopping {
            signal_running(&state, Signal::KILL);
        }
    }
    info!(pid = child.id(), "the managed scanner is started");
    listen(output, shared);
    let status = child.wait();
    let _ = fs::remove_file(&launch.pid_file);
    status
}

/// Reads what it says until it closes its output, and keeps the last of it. The lines name signatures and
/// settings, and never a document: it is only ever handed streams and open files.
fn listen(output: io::PipeReader, shared: &Shared) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut output).take(LINE_MAX_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        if !text.is_empty() && !text.starts_with("Limits: ") && !text.ends_with(" enabled.") {
            let mut state = shared.lock();
            if state.said.len() == LINES_KEPT {
                state.said.pop_front();
            }
            state.said.push_back(text);
        }
    }
}

/// Has the kernel kill the child when the thread that starts it ends, however our process ends.
#[expect(unsafe_code, reason = "between fork and exec is the only place where a child can be bound to its parent")]
fn die_with_us(command: &mut Command) {
    let parent = rustix::process::getpid();
    let bind = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // We may have died before the line above.
        if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    // SAFETY: two system calls without a libc wrapper's state; nothing allocates or takes a lock.
    unsafe {
        command.pre_exec(bind);
    }
}

/// Ends a clamd that an earlier run left, if `pid_file` names one and it still is the one with our `config`.
pub(super) fn end_left_over(pid_file: &Path, config: &Path) -> io::Result<()> {
    let text = match fs::read_to_string(pid_file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) else { return Ok(()) };
    // Opened before it is looked at: what is looked at is then what is killed.
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let Ok(command_line) = fs::read(format!("/proc/{}/cmdline", pid.as_raw_pid())) else { return Ok(()) };
    let wanted = format!("--config-file={}", config.display());
    if command_line.split(|b| *b == 0).any(|argument| argument == wanted.as_bytes()) {
        info!(pid = pid.as_raw_pid(), "ending the scanner an earlier run left");
        pidfd_send_signal(process, Signal::KILL)?;
    }
    Ok(())
}
