//! What can go wrong with the store. Whether to repeat is decided here, where the cause is still known.

use std::fmt;
use std::io;

use thiserror::Error;

/// What was tried, on which thing, and what came of it. For the log; it holds keys (ids and hashes), which
/// are no health data, and never a path of ours or a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What was tried, as a verb ("put", "copy").
    pub doing: &'static str,
    /// On which thing: a key or a place.
    pub on: String,
    /// What was answered or found.
    pub cause: String,
}

impl Trouble {
    pub(super) fn new(doing: &'static str, on: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self { doing, on: on.to_string(), cause: cause.to_string() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.doing, self.on, self.cause)
    }
}

/// Why the store did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// The store could not be reached, broke off or says it can't just now. Retryable.
    #[error("the object store is unavailable: {0}")]
    Unavailable(Trouble),
    /// The store took longer than the configured time. Retryable; what was asked may have happened.
    #[error("the object store took too long: {0}")]
    Timeout(Trouble),
    /// No room left. Retryable, once there is room.
    #[error("the object store is full: {0}")]
    Full(Trouble),
    /// The bytes are not those they were said to be. Final.
    #[error("the object's bytes are not the expected ones: {0}")]
    Mismatch(Trouble),
    /// There is no such object (or no file to store). Final.
    #[error("the object is not there: {0}")]
    NotFound(Trouble),
    /// The store does not let us. Final until someone changes a permission.
    #[error("the object store refuses: {0}")]
    Denied(Trouble),
    /// The object is over the limit its reader set. Final.
    #[error("the object is too large: {0}")]
    TooLarge(Trouble),
    /// A back-up is being taken, so nothing is deleted. Retryable, when that has ended.
    #[error("a back-up is being taken: {0}")]
    Kept(Trouble),
    /// The settings name a store that can't be used so. Final until someone changes them.
    #[error("the object store is misconfigured: {0}")]
    Misconfigured(Trouble),
}

impl ObjectError {
    /// Whether the same call may succeed later without anyone changing anything but the store's health or room.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Timeout(_) | Self::Full(_) | Self::Kept(_) => true,
            Self::Mismatch(_) | Self::NotFound(_) | Self::Denied(_) | Self::TooLarge(_) | Self::Misconfigured(_) => {
                false
            }
        }
    }

    /// An error of the disk. Its text is the system's and names no path.
    pub(super) fn disk(doing: &'static str, on: impl fmt::Display, error: &io::Error) -> Self {
        let trouble = Trouble::new(doing, on, error);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(trouble),
            io::ErrorKind::NotFound => Self::NotFound(trouble),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied(trouble),
            io::ErrorKind::TimedOut => Self::Timeout(trouble),
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput => {
                Self::Misconfigured(trouble)
            }
            // Input/output errors, too many open files and the like: of the moment or of the hardware.
            _ => Self::Unavailable(trouble),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_full_and_retryable_while_a_missing_file_is_final() {
        let full = ObjectError::disk("put", "incoming/x", &io::Error::from_raw_os_error(28));
        let quota = ObjectError::disk("put", "incoming/x", &io::Error::from_raw_os_error(122));
        assert!(matches!(full, ObjectError::Full(_)) && full.is_retryable(), "{full}");
        assert!(matches!(quota, ObjectError::Full(_)) && quota.is_retryable(), "{quota}");
        let gone = ObjectError::disk("get", "incoming/x", &io::Error::from_raw_os_error(2));
        assert!(matches!(gone, ObjectError::NotFound(_)) && !gone.is_retryable(), "{gone}");
    }

    #[test]
    fn the_message_says_what_was_tried_on_which_thing() {
        let error = ObjectError::Timeout(Trouble::new("copy", "content/acme/x", "no answer in 10 s"));
        assert_eq!(error.to_string(), "the object store took too long: copy content/acme/x: no answer in 10 s");
    }
}
