//! Every problem the API answers with: one list, from which answers, the OpenAPI document and the readable page are
//! made. A code never changes its meaning; new ones are added.

use axum::http::StatusCode;

use crate::model::judgement::ReasonCode;

/// The bytes are not those of their checksum, as tus 1.0 has it; no other protocol knows this status.
const CHECKSUM_MISMATCH: StatusCode = match StatusCode::from_u16(460) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};

/// What the status is called.
pub fn title(status: StatusCode) -> &'static str {
    let known = if status == CHECKSUM_MISMATCH { Some("Checksum Mismatch") } else { status.canonical_reason() };
    known.unwrap_or("Error")
}

/// A status by its name: one of HTTP's own, or the one beside them.
macro_rules! status {
    (CHECKSUM_MISMATCH) => {
        CHECKSUM_MISMATCH
    };
    ($name:ident) => {
        StatusCode::$name
    };
}

/// Declares the codes with their status and meaning.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:ident, $meaning:literal;)+) => {
        /// What went wrong, as programs are told (RFC 9457, extension member `code`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $meaning] $name,)+
            /// A file was refused for this reason (INT-11).
            File(ReasonCode),
        }

        impl Code {
            /// All codes that are not about a file.
            pub const OF_REQUESTS: &'static [Self] = &[$(Self::$name,)+];

            /// The stable code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ Self::File(reason) => reason.as_str() }
            }

            /// The HTTP status it comes with.
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => status!($status),)+
                    Self::File(ReasonCode::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
                    Self::File(ReasonCode::DuplicateName | ReasonCode::TooManyFiles) => StatusCode::CONFLICT,
                    Self::File(ReasonCode::Incomplete) => StatusCode::BAD_REQUEST,
                    Self::File(_) => StatusCode::UNPROCESSABLE_ENTITY,
                }
            }

            /// What it means, and what to do.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ Self::File(_) => "The file is refused; the reason is in its code." }
            }
        }
    };
}

problems! {
    BadRequest = "bad_request", BAD_REQUEST, "The request can't be read; its detail says what is wrong with what.";
    BadPath = "bad_path", BAD_REQUEST, "A part of the path can't be read: it must be percent-encoded UTF-8.";
    BadMultipart = "bad_multipart", BAD_REQUEST, "The multipart body can't be read, or is not built as the route wants it.";
    BadFileName = "bad_file_name", BAD_REQUEST, "A file name is empty or longer than 1024 bytes.";
    BadCursor = "bad_cursor", BAD_REQUEST, "The cursor is not one that this list gave out; begin without one.";
    NoFiles = "no_files", UNPROCESSABLE_ENTITY, "There is no file where one is needed.";
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "There is no key or token, or it is not a valid one: send `Authorization: Bearer …`.";
    KeyExpired = "key_expired", UNAUTHORIZED, "The key or token has expired; use a new one.";
    KeyRevoked = "key_revoked", UNAUTHORIZED, "The key was revoked; use another.";
    NoUser = "no_user", FORBIDDEN, "The login is valid, but no active user of this installation has it.";
    Forbidden = "forbidden", FORBIDDEN, "The caller may not do such a thing; the detail says what it would take.";
    NotFound = "not_found", NOT_FOUND, "It is not there, or not for this caller.";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The route does not take this method.";
    TooSlow = "too_slow", REQUEST_TIMEOUT, "The request did not come in time; nothing of it was taken. A resumable upload goes on at its Upload-Offset.";
    WrongState = "wrong_state", CONFLICT, "It is not in a state where this can be done.";
    SubmissionClosed = "submission_closed", CONFLICT, "The submission takes no more files.";
    NotClean = "not_clean", CONFLICT, "The document's bytes are not, or not yet, known to be clean; none of them are given out.";
    StillRunning = "still_running", CONFLICT, "A request under this Idempotency-Key is still running; ask again a little later.";
    KeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "Another request was made under this Idempotency-Key; use a new key for a new request.";
    Held = "held_by_another", CONFLICT, "Somebody else works on it, or the lease has run out; take it again.";
    VersionNeeded = "version_needed", PRECONDITION_REQUIRED, "Send If-Match with the ETag of what is to be changed.";
    VersionConflict = "version_conflict", PRECONDITION_FAILED, "It has changed since it was read; read it again.";
    Exists = "exists", CONFLICT, "Such a thing is there already.";
    UnknownTin = "unknown_tin", UNPROCESSABLE_ENTITY, "The TIN named is not one of the caller's.";
    TinNeeded = "tin_needed", UNPROCESSABLE_ENTITY, "The request must name the TIN it is about.";
    UnknownBrand = "unknown_brand", UNPROCESSABLE_ENTITY, "The brand named is not one that this installation serves.";
    Unprocessable = "unprocessable", UNPROCESSABLE_ENTITY, "The request can be read, but not be done as it stands; the detail says why.";
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is larger than this request may be.";
    TooManyParts = "too_many_parts", PAYLOAD_TOO_LARGE, "The multipart body has more parts than a request may have.";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body's Content-Type is not one that the route takes.";
    BadRange = "range_not_satisfiable", RANGE_NOT_SATISFIABLE, "The document has no such bytes.";
    TusVersion = "tus_version", PRECONDITION_FAILED, "The request does not speak tus 1.0.0: send `Tus-Resumable: 1.0.0`.";
    UploadLocked = "upload_locked", LOCKED, "Another request writes to the upload; wait as Retry-After says.";
    OffsetConflict = "offset_conflict", CONFLICT, "The upload does not go on there, but at the Upload-Offset of the answer.";
    ChecksumMismatch = "checksum_mismatch", CHECKSUM_MISMATCH, "The bytes are not those of Upload-Checksum and are thrown away; send them again.";
    UploadGone = "upload_gone", GONE, "The upload has ended, and not as a document; begin another.";
    UploadTooLong = "upload_too_long", PAYLOAD_TOO_LARGE, "The body has more bytes than are left of the upload's length; none of them are kept.";
    PieceTooSmall = "piece_too_small", BAD_REQUEST, "A request must bring as many bytes as the detail says, or all the rest.";
    TooManyPieces = "too_many_pieces", BAD_REQUEST, "The upload came in as many pieces as it may; it takes only all the rest in one.";
    UploadPending = "upload_pending", SERVICE_UNAVAILABLE, "All bytes are there; the document is made shortly. Ask again as Retry-After says.";
    TooManyRequests = "too_many_requests", TOO_MANY_REQUESTS, "The caller's rate limit is reached; wait as Retry-After says.";
    TooManyUploads = "too_many_uploads", TOO_MANY_REQUESTS, "The caller has as many uploads under way as it may; wait as Retry-After says.";
    Busy = "busy", SERVICE_UNAVAILABLE, "This node does no more of this at once; wait as Retry-After says.";
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Something of ours is away; nothing was taken, send the request again as Retry-After says.";
    Internal = "internal", INTERNAL_SERVER_ERROR, "An error of ours; it is in the log under the request's id.";
}
