//! Clock, ids and chance: the three things that make a run different from the last one come from here, so
//! that a test can hold all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use jiff::Timestamp;
use rand::Rng;

use super::traces::Traces;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The instant now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands until it is moved: for tests, and to look at a decision at another time.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock standing at `start`.
    pub fn at(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.as_microsecond()))
    }

    /// Moves the clock on.
    pub fn advance(&self, by: std::time::Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }
}

/// What every part of the program is given for time, identity and chance.
#[derive(Clone)]
pub struct Context {
    clock: Arc<dyn Clock>,
    ids: Arc<IdSource>,
    traces: Traces,
}

/// What tells ids made within one millisecond apart: the process, and a count that keeps them in the order in
/// which they were made.
struct IdSource {
    process: [u8; 3],
    made: AtomicU32,
}

impl Context {
    /// A context on the machine's clock.
    pub fn system() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// A context on a clock of the caller's.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let mut process = [0u8; 3];
        rand::rng().fill_bytes(&mut process);
        Self { clock, ids: Arc::new(IdSource { process, made: AtomicU32::new(0) }), traces: Traces::default() }
    }

    /// The same, with spans going somewhere.
    #[must_use]
    pub fn with_traces(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Where spans go.
    pub fn traces(&self) -> &Traces {
        &self.traces
    }

    /// The instant now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A fresh UUIDv7 as text (RFC 9562, method 1): its time part follows this context's clock, and ids of one
    /// process sort in the order they were made.
    pub fn new_id(&self) -> String {
        let millis = u64::try_from(self.now().as_millisecond()).unwrap_or(0);
        let mut random = [0u8; 10];
        random[..3].copy_from_slice(&self.ids.process);
        random[3..7].copy_from_slice(&self.ids.made.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        rand::rng().fill_bytes(&mut random[7..]);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().hyphenated().to_string()
    }

    /// Sixty-four random bits.
    pub fn random_bits(&self) -> u64 {
        rand::rng().next_u64()
    }

    /// Fresh secret bytes, for keys the installation makes for itself.
    pub fn secret_bytes(&self) -> [u8; 32] {
        let mut bytes = [0u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        bytes
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Context")
    }
}
