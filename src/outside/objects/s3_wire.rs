//! Small translations between S3's wire and our words.

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, DisplayErrorContext};
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::{ObjectError, Trouble};
use super::key::ObjectKey;
use crate::model::ids::Sha256;

/// Signs the payload by its known hash, so that a streamed body is covered by the signature like one in memory.
#[derive(Debug)]
pub(super) struct PayloadHash(pub(super) String);

impl Intercept for PayloadHash {
    fn name(&self) -> &'static str {
        "PayloadHash"
    }

    fn modify_before_signing(
        &self,
        _context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(self.0.clone()));
        Ok(())
    }
}

/// The next bytes of a body. Breaking off is the connection's or the server's failure.
pub(super) async fn next(
    body: &mut ByteStream,
    doing: &'static str,
    key: &ObjectKey,
) -> Result<Option<bytes::Bytes>, ObjectError> {
    match body.next().await {
        None => Ok(None),
        Some(Ok(bytes)) => Ok(Some(bytes)),
        Some(Err(error)) => Err(ObjectError::Unavailable(Trouble::new(doing, key, DisplayErrorContext(&error)))),
    }
}

/// A version id that pins bytes. `null` is the one of buckets without versions and can be written over.
pub(super) fn pinning(version: Option<&str>) -> Option<String> {
    version.filter(|version| *version != "null").map(str::to_owned)
}

/// The SHA-256 a store recorded. Of an object uploaded in parts it is a hash of hashes and of no use.
pub(super) fn recorded(base64: &str) -> Option<Sha256> {
    hex::encode(STANDARD.decode(base64).ok()?).parse().ok()
}

pub(super) fn length(doing: &'static str, on: impl std::fmt::Display, bytes: Option<i64>) -> Result<u64, ObjectError> {
    bytes
        .and_then(|bytes| u64::try_from(bytes).ok())
        .ok_or_else(|| ObjectError::Unavailable(Trouble::new(doing, on, "the answer has no length")))
}

/// Percent-encoding of all but unreserved characters (RFC 3986, section 2.3).
pub(in crate::outside) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A hexadecimal digest in the base64 S3 wants; `None` if it is not hexadecimal.
pub(super) fn checksum(hexadecimal: &str) -> Option<String> {
    Some(STANDARD.encode(hex::decode(hexadecimal).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_checksum_goes_there_and_back() {
        let sent = checksum(HEX).unwrap();
        assert_eq!(sent, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(recorded(&sent), HEX.parse().ok());
        assert_eq!(recorded(&format!("{sent}-2")), None, "a hash of hashes of parts is no hash of the object");
    }

    #[test]
    fn the_version_of_a_bucket_without_versions_pins_nothing() {
        assert_eq!(pinning(Some("null")), None);
        assert_eq!(pinning(Some("3HL4kqtJ")), Some("3HL4kqtJ".into()));
    }

    #[test]
    fn a_version_id_is_encoded_for_a_query() {
        assert_eq!(percent_encoded("a-Z_0.~+/=&"), "a-Z_0.~%2B%2F%3D%26");
    }
}
