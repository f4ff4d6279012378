//! What a database's own words mean to us: whether time heals it, and whom it concerns.

use std::fmt;
use std::time::Duration;

use super::DbError;

/// Longer than any statement of ours may take (`statement_timeout`): who has no answer by then gets none.
const ANSWERS_WITHIN: Duration = Duration::from_secs(70);

/// What stands in the way of a statement for now, and not by the statement's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not answer, ends or begins.
    Away,
    /// Somebody holds what the statement needs for longer than is waited.
    Locked,
    /// Two transactions stood in each other's way, and this one had to go.
    Conflict,
    /// The statement took longer than is allowed.
    Slow,
    /// It takes no writes: a standby, or set so by a person.
    ReadOnly,
    /// No room is left.
    Full,
    /// It has no memory or connection to spare.
    Exhausted,
    /// Its disk fails.
    Disk,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Away, Self::Locked, Self::Conflict, Self::Slow, Self::ReadOnly, Self::Full, Self::Exhausted, Self::Disk];

    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Locked => "locked",
            Self::Conflict => "conflict",
            Self::Slow => "slow",
            Self::ReadOnly => "read_only",
            Self::Full => "full",
            Self::Exhausted => "exhausted",
            Self::Disk => "disk",
        }
    }

    /// Whether it is the database's and not of what was asked: then no try of any work counts.
    pub const fn is_of_the_database(self) -> bool {
        !matches!(self, Self::Conflict | Self::Slow)
    }

    /// Which one an error is, if time may heal it.
    pub fn of(error: &sqlx::Error) -> Option<Self> {
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Some(Self::Away),
            sqlx::Error::Database(fault) => Self::of_code(fault.code().as_deref().unwrap_or_default()),
            _ => None,
        }
    }

    /// By the code: five characters are PostgreSQL's (class and condition), fewer SQLite's (extended: the low byte is
    /// the primary code).
    fn of_code(code: &str) -> Option<Self> {
        if code.len() == 5 {
            return match (code, &code[..2]) {
                ("57014", _) => Some(Self::Slow),
                ("55P03", _) => Some(Self::Locked),
                ("25006", _) => Some(Self::ReadOnly),
                ("53100", _) => Some(Self::Full),
                (_, "08" | "57") => Some(Self::Away),
                (_, "40") => Some(Self::Conflict),
                (_, "53") => Some(Self::Exhausted),
                (_, "58") => Some(Self::Disk),
                _ => None,
            };
        }
        match code.parse::<u32>().ok()? & 0xff {
            5 | 6 | 15 => Some(Self::Locked),
            7 => Some(Self::Exhausted),
            8 => Some(Self::ReadOnly),
            10 => Some(Self::Disk),
            13 => Some(Self::Full),
            14 => Some(Self::Away),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Away => "it does not answer",
            Self::Locked => "what is needed is locked",
            Self::Conflict => "another transaction was first",
            Self::Slow => "a statement took too long",
            Self::ReadOnly => "it takes no writes",
            Self::Full => "it is full",
            Self::Exhausted => "it has no memory or connection to spare",
            Self::Disk => "its disk fails",
        })
    }
}

/// Waits for what the database is asked, but not for ever: a server whose machine is gone says nothing, not even that, and
/// what waits for it would stand still until somebody looks.
///
/// # Errors
/// [`DbError::Unavailable`] when no answer came.
pub async fn answered<T>(asked: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    answered_within(ANSWERS_WITHIN, asked).await
}

async fn answered_within<T>(limit: Duration, asked: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    let silent = || sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::TimedOut));
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(silent().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_that_says_nothing_is_away() {
        let silent = std::future::pending::<Result<(), DbError>>();
        let fault = answered_within(Duration::from_millis(20), silent).await.unwrap_err().fault();
        assert_eq!(fault, Some(Fault::Away));
        assert_eq!(answered_within(Duration::from_secs(20), async { Ok(3) }).await.ok(), Some(3));
    }

    #[test]
    fn a_code_is_a_fault_that_time_heals_or_none() {
        for (code, fault) in [
            ("08006", Some(Fault::Away)),
            ("57P01", Some(Fault::Away)),
            ("57P03", Some(Fault::Away)),
            ("57014", Some(Fault::Slow)),
            ("55P03", Some(Fault::Locked)),
            ("40P01", Some(Fault::Conflict)),
            ("25006", Some(Fault::ReadOnly)),
            ("53100", Some(Fault::Full)),
            ("53300", Some(Fault::Exhausted)),
            ("58030", Some(Fault::Disk)),
            ("23505", None),
            ("42P01", None),
            ("5", Some(Fault::Locked)),
            ("517", Some(Fault::Locked)),
            ("8", Some(Fault::ReadOnly)),
            ("1032", Some(Fault::ReadOnly)),
            ("13", Some(Fault::Full)),
            ("778", Some(Fault::Disk)),
            ("11", None),
            ("2067", None),
            ("", None),
        ] {
            assert_eq!(Fault::of_code(code), fault, "{code}");
        }
    }
}
