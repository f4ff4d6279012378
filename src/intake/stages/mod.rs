//! The stages of a document: sniff, scan, store; and, once its submission is accepted, match.

mod matching;
mod scan;
mod sniff;
pub(crate) mod store;

use std::fs::File;

use async_trait::async_trait;

use crate::db::documents::{self, Document};
use crate::db::{Conn, DbError, Stamp, work};
use crate::engine::stage::{Chain, StageError, Subject};
use crate::intake::Intake;
use crate::intake::settle::Settle;
use crate::intake::sniff::SniffError;
use crate::intake::sniff::policy::SniffPolicy;
use crate::model::document::DocumentState;
use crate::model::ids::{Brand, Sha256};
use crate::model::judgement::ReasonCode;
use crate::outside::objects::{ObjectError, ObjectKey};

pub use matching::Match;
pub use scan::{Scan, overrule};
pub use sniff::Sniff;
pub use store::Store;

/// The stage that a received document begins with.
pub const FIRST: &str = "sniff";
/// The stage that a document begins with when only the scanner has to look again.
pub const RESCAN: &str = "scan";
/// The stage of accepted documents.
pub const MATCH: &str = "match";

/// The chains of the intake journey. That each stage takes what the one before hands on is the compiler's
/// business.
pub fn chains(intake: &Intake) -> Vec<Chain> {
    vec![
        Chain::of(Sniff(intake.clone())).then(Scan(intake.clone())).then(Store(intake.clone())).end(),
        Chain::of(Match(intake.clone())).end(),
        Chain::of(Settle).end(),
    ]
}

/// Declares a document in the state a stage takes it in, with what that state promises.
macro_rules! in_state {
    ($(#[$doc:meta])* $name:ident, $test:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            /// The row.
            pub document: Document,
            /// Hash of its bytes.
            pub sha256: Sha256,
            /// Size of its bytes.
            pub size_bytes: u64,
        }

        #[async_trait]
        impl Subject for $name {
            async fn load(conn: &mut Conn, id: &str) -> Result<Option<Self>, DbError> {
                let Ok(id) = id.parse() else { return Ok(None) };
                let Some(document) = documents::get(conn, &id).await? else { return Ok(None) };
                let test: fn(&Document) -> bool = $test;
                if !test(&document) {
                    return Ok(None);
                }
                Ok(match (document.sha256.clone(), document.size_bytes) {
                    (Some(sha256), Some(size_bytes)) => Some(Self { document, sha256, size_bytes }),
                    _ => None,
                })
            }
        }
    };
}

in_state!(
    /// Durable, of unknown type.
    Received,
    |document| document.state == DocumentState::Received
);
in_state!(
    /// Its type is known and accepted.
    Sniffed,
    |document| document.state == DocumentState::Scanning && document.file_type.is_some()
);
in_state!(
    /// The scanner has given its word; the bytes are not in their final place yet.
    Judged,
    |document| document.state == DocumentState::Scanning && document.verdict.is_some()
);
in_state!(
    /// Clean and in its final place.
    Stored,
    |document| document.state == DocumentState::Stored
);

impl Intake {
    /// The bytes of a document that is not in its final place, as a file of this node: the spool's, or fetched
    /// from the store and compared with the hash that was promised.
    async fn bytes_of(&self, document: &Document, sha256: &Sha256, size_bytes: u64) -> Result<File, StageError> {
        let path = self.spool.path(&document.id);
        if let Ok(file) = File::open(&path) {
            let whole = file.metadata().is_ok_and(|meta| meta.len() == size_bytes);
            if whole {
                return Ok(file);
            }
        }
        let key = ObjectKey::incoming(&document.id);
        self.objects
            .fetch(&key, document.incoming_version.as_deref(), &path, Some(sha256))
            .await
            .map_err(|error| of_store(&error))?;
        File::open(&path)
            .map_err(|error| StageError::Pause { why: format!("can't open the spool file: {}", error.kind()) })
    }

    /// The caps for a document: what a person released it from does not hold it again (OPS-03).
    fn sniff_policy(&self, document: &Document) -> SniffPolicy {
        SniffPolicy { waive_macros: document.waived == Some(ReasonCode::Macros), ..self.plan.sniff.clone() }
    }

    /// The bytes of judged clean content, as a file of this node that is gone when dropped.
    pub(crate) async fn content_of(
        &self,
        brand: &Brand,
        sha256: &Sha256,
        version: Option<&str>,
    ) -> Result<File, StageError> {
        let scratch = tempfile::NamedTempFile::new_in(self.spool.dir())
            .map_err(|error| StageError::Pause { why: format!("can't make a spool file: {}", error.kind()) })?;
        self.objects
            .fetch(&ObjectKey::content(brand, sha256), version, scratch.path(), Some(sha256))
            .await
            .map_err(|error| of_store(&error))?;
        // the name may be another file by now: fetched files come by rename
        File::open(scratch.path())
            .map_err(|error| StageError::Pause { why: format!("can't open a spool file: {}", error.kind()) })
    }

    /// Removes what a document no longer needs, now that its state says so. What stays behind after a crash is
    /// found by the reconciler of orphans.
    async fn clear_incoming(&self, document: &Document) {
        self.spool.remove(&document.id).await;
        match self.objects.delete(&ObjectKey::incoming(&document.id)).await {
            // so it is with each while a back-up is taken
            Ok(()) | Err(ObjectError::Kept(_)) => {}
            Err(error) => tracing::warn!(document = %document.id, error = %error, "could not sweep an incoming object"),
        }
    }
}

/// A fault of the store, as the engine takes it.
pub(super) fn of_store(error: &ObjectError) -> StageError {
    let why = error.to_string();
    match error {
        // The store is away, or somebody has to set it right: accepted work waits for that, however long.
        ObjectError::Unavailable(_)
        | ObjectError::Timeout(_)
        | ObjectError::Full(_)
        | ObjectError::Kept(_)
        | ObjectError::Denied(_)
        | ObjectError::Misconfigured(_) => StageError::Pause { why },
        ObjectError::Mismatch(_) | ObjectError::NotFound(_) | ObjectError::TooLarge(_) => StageError::Fail { why },
    }
}

/// A fault while a file was read, as the engine takes it: that of the machine is no document's.
pub(super) fn of_reading(error: &SniffError) -> StageError {
    let why = error.to_string();
    match error {
        SniffError::Child(_) => StageError::Pause { why },
        SniffError::Read(_) | SniffError::Length { .. } => StageError::Retry { why },
    }
}

/// Puts the stage to work that settles the document's submission, where it has one.
pub(crate) async fn settle_submission(conn: &mut Conn, stamp: Stamp<'_>, document: &Document) -> Result<(), DbError> {
    match &document.submission_id {
        Some(submission) => crate::intake::settle::settle(conn, stamp, submission).await,
        // a document alone goes straight on; one that is not clean is taken out of the queue there
        None => work::put(conn, stamp, document.id.as_str(), MATCH).await,
    }
}
