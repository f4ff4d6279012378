//! The S3 store: AWS, or a server that speaks its protocol.
//!
//! An upload is one PutObject that streams from the file. Its SHA-256 goes along twice: as the object's
//! checksum, which the store verifies and keeps, and as the signed hash of the payload, which also those
//! servers verify that know no checksums. So no store acknowledges other bytes than were announced.
//!
//! A copy is pinned to what was looked at, by version where the bucket has versions and by ETag where not.
//! Where a store records no SHA-256 the bytes are read and hashed instead of trusted.
//!
//! In a bucket with versions a plain delete only hides. A record that must be destroyed has to be destroyed,
//! so all versions of the key go; a policy that forbids it is told as [`ObjectError::Denied`].

use std::fs::File;
use std::path::Path;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, MetadataDirective, ServerSideEncryption, TaggingDirective};

use super::error::{ObjectError, Trouble};
use super::key::{ObjectKey, is_probe};
use super::landing::{CHUNK_BYTES, Hasher, Landing, compare, hash_of, sha256_of};
use super::options::{S3Buckets, S3Encryption, S3Options};
use super::s3_errors::told;
use super::s3_wire::{PayloadHash, checksum, length, next, percent_encoded, pinning, recorded};
use super::{ObjectMeta, Objects, Place, Stored, Tag, probe};
use crate::model::ids::Sha256;

/// Most keys a server gives in one answer.
const PAGE_MAX: usize = 1000;

/// The S3 store.
pub(super) struct S3Store {
    /// For calls that move no document.
    small: Client,
    /// For calls that move one: it waits longer.
    bulk: Client,
    buckets: S3Buckets,
    prefix: String,
    encryption: S3Encryption,
    tags: bool,
}

/// What a look at an object found.
struct Seen {
    size_bytes: u64,
    sha256: Option<Sha256>,
    version: Option<String>,
    etag: Option<String>,
}

impl S3Store {
    pub(super) fn new(small: Client, bulk: Client, options: &S3Options) -> Self {
        Self {
            small,
            bulk,
            buckets: options.buckets.clone(),
            prefix: options.prefix.clone(),
            encryption: options.encryption.clone(),
            tags: options.tags,
        }
    }

    fn bucket(&self, key: &ObjectKey) -> &str {
        self.buckets.of(key.place())
    }

    fn full_name(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The encryption to ask for, and with which key.
    fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.encryption {
            S3Encryption::None => (None, None),
            S3Encryption::Aes256 => (Some(ServerSideEncryption::Aes256), None),
            S3Encryption::Kms { key_id } => (Some(ServerSideEncryption::AwsKms), Some(key_id.clone())),
        }
    }

    /// Fails when encryption was asked for and the store does not say that it did it.
    fn confirm_encryption(
        &self,
        doing: &'static str,
        key: &ObjectKey,
        answered: Option<&ServerSideEncryption>,
    ) -> Result<(), ObjectError> {
        match self.encryption().0 {
            Some(asked) if answered != Some(&asked) => {
                let cause = format!("the store does not confirm {} encryption", asked.as_str());
                Err(ObjectError::Misconfigured(Trouble::new(doing, key, cause)))
            }
            _ => Ok(()),
        }
    }

    async fn put(
        &self,
        client: &Client,
        key: &ObjectKey,
        body: ByteStream,
        size_bytes: u64,
        sha256: &str,
    ) -> Result<Stored, ObjectError> {
        let checksum = checksum(sha256)
            .ok_or_else(|| ObjectError::Mismatch(Trouble::new("put", key, "its SHA-256 is not hexadecimal")))?;
        let (encryption, encryption_key) = self.encryption();
        let done = client
            .put_object()
            .bucket(self.bucket(key))
            .key(self.full_name(key))
            .content_type("application/octet-stream")
            .checksum_sha256(checksum)
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(encryption_key)
            .body(body)
            .customize()
            .interceptor(PayloadHash(sha256.to_owned()))
            .send()
            .await
            .map_err(|error| told("put", key, error))?;
        self.confirm_encryption("put", key, done.server_side_encryption())?;
        Ok(Stored { size_bytes, version: pinning(done.version_id()) })
    }

    async fn look(
        &self,
        doing: &'static str,
        key: &ObjectKey,
        version: Option<&str>,
    ) -> Result<Option<Seen>, ObjectError> {
        let answer = self
            .small
            .head_object()
            .bucket(self.bucket(key))
            .key(self.full_name(key))
            .set_version_id(version.map(str::to_owned))
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        let found = match answer.map_err(|error| told(doing, key, error)) {
            Ok(found) => found,
            Err(ObjectError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Seen {
            size_bytes: length(doing, key, found.content_length())?,
            sha256: found.checksum_sha256().and_then(recorded),
            version: pinning(found.version_id()),
            etag: found.e_tag().map(str::to_owned),
        }))
    }

    async fn get(
        &self,
        doing: &'static str,
        key: &ObjectKey,
        version: Option<&str>,
        etag: Option<&str>,
    ) -> Result<GetObjectOutput, ObjectError> {
        self.bulk
            .get_object()
            .bucket(self.bucket(key))
            .key(self.full_name(key))
            .set_version_id(version.map(str::to_owned))
            .set_if_match(etag.map(str::to_owned))
            .send()
            .await
            .map_err(|error| told(doing, key, error))
    }

    /// Fails unless what was seen is of the expected size and hash, reading it where its hash is not recorded.
    async fn verify(
        &self,
        key: &ObjectKey,
        version: Option<&str>,
        seen: &Seen,
        size_bytes: u64,
        sha256: &Sha256,
    ) -> Result<(), ObjectError> {
        if let Some(recorded) = &seen.sha256 {
            return compare("copy", key, (seen.size_bytes, recorded.as_str()), (size_bytes, sha256));
        }
        // The size alone can tell, and spares the reading.
        compare("copy", key, (seen.size_bytes, sha256.as_str()), (size_bytes, sha256))?;
        let mut got = self.get("copy", key, version, seen.etag.as_deref()).await?;
        let mut hasher = Hasher::default();
        while let Some(bytes) = next(&mut got.body, "copy", key).await? {
            hasher.update(&bytes);
        }
        let (found_bytes, found) = hasher.finish();
        compare("copy", key, (found_bytes, &found), (size_bytes, sha256))
    }

    /// The source is gone or never was: an earlier run may have copied it.
    async fn copied_before(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        target: Option<Seen>,
        size_bytes: u64,
        sha256: &Sha256,
    ) -> Result<Stored, ObjectError> {
        let Some(target) = target else {
            // a HEAD that finds nothing does not say whether the bucket is there
            return match self.small.head_bucket().bucket(self.bucket(from)).send().await {
                Ok(_) => Err(ObjectError::NotFound(Trouble::new("copy", from, "nothing lies there"))),
                Err(error) => Err(match told("copy", from, error) {
                    ObjectError::NotFound(trouble) => ObjectError::Misconfigured(trouble),
                    other => other,
                }),
            };
        };
        self.verify(to, target.version.as_deref(), &target, size_bytes, sha256).await?;
        Ok(Stored { size_bytes, version: target.version })
    }

    async fn destroy_versions(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        let full_name = self.full_name(key);
        let (mut name_mark, mut version_mark) = (None, None);
        loop {
            let page = self
                .small
                .list_object_versions()
                .bucket(self.bucket(key))
                .prefix(&full_name)
                .set_key_marker(name_mark)
                .set_version_id_marker(version_mark)
                .send()
                .await
                .map_err(|error| told("delete", key, error))?;
            let versions = page.versions().iter().map(|v| (v.key(), v.version_id()));
            let markers = page.delete_markers().iter().map(|m| (m.key(), m.version_id()));
            for (name, version) in versions.chain(markers) {
                // A prefix also finds longer names.
                let (Some(name), Some(version)) = (name, version) else { continue };
                if name != full_name {
                    continue;
                }
                self.small
                    .delete_object()
                    .bucket(self.bucket(key))
                    .key(name)
                    .version_id(version)
                    .send()
                    .await
                    .map_err(|error| told("delete", key, error))?;
            }
            (name_mark, version_mark) =
                (page.next_key_marker().map(str::to_owned), page.next_version_id_marker().map(str::to_owned));
            if page.is_truncated() != Some(true) || name_mark.is_none() {
                return Ok(());
            }
        }
    }
}

/// Size and hash of a file of ours.
async fn hash_file(key: &ObjectKey, path: &Path) -> Result<(u64, String), ObjectError> {
    let path = path.to_owned();
    let hashed = tokio::task::spawn_blocking(move || hash_of(&mut File::open(path)?)).await;
    match hashed {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(ObjectError::disk("put", key, &error)),
        Err(error) => Err(ObjectError::Unavailable(Trouble::new("put", key, error))),
    }
}

#[async_trait]
impl Objects for S3Store {
    async fn put_file(
        &self,
        key: &ObjectKey,
        path: &Path,
        size_bytes: u64,
        sha256: &Sha256,
    ) -> Result<Stored, ObjectError> {
        let found = tokio::fs::metadata(path).await.map_err(|error| ObjectError::disk("put", key, &error))?;
        compare("put", key, (found.len(), sha256.as_str()), (size_bytes, sha256))?;
        let body = ByteStream::read_from()
            .path(path)
            .length(Length::Exact(size_bytes))
            .buffer_size(CHUNK_BYTES)
            .build()
            .await
            .map_err(|error| ObjectError::disk("put", key, &std::io::Error::other(error)))?;
        match self.put(&self.bulk, key, body, size_bytes, sha256.as_str()).await {
            // Not every server says why it refused a body. Wrong bytes stay wrong however often they are sent.
            Err(error) if error.is_retryable() => {
                let found = hash_file(key, path).await?;
                compare("put", key, (found.0, &found.1), (size_bytes, sha256))?;
                Err(error)
            }
            done => done,
        }
    }

    async fn put_bytes(&self, key: &ObjectKey, bytes: Vec<u8>) -> Result<Stored, ObjectError> {
        let (size_bytes, sha256) = (bytes.len() as u64, sha256_of(&bytes));
        self.put(&self.small, key, ByteStream::from(bytes), size_bytes, &sha256).await
    }

    async fn copy(
        &self,
        from: &ObjectKey,
        from_version: Option<&str>,
        to: &ObjectKey,
        sha256: &Sha256,
        size_bytes: u64,
        tag: Tag,
    ) -> Result<Stored, ObjectError> {
        let target = self.look("copy", to, None).await?;
        if let Some(there) = &target
            && there.size_bytes == size_bytes
            && there.sha256.as_ref() == Some(sha256)
        {
            return Ok(Stored { size_bytes, version: there.version.clone() });
        }
        let Some(source) = self.look("copy", from, from_version).await? else {
            return self.copied_before(from, to, target, size_bytes, sha256).await;
        };
        self.verify(from, from_version, &source, size_bytes, sha256).await?;

        let mut copy_source = format!("{}/{}", self.bucket(from), self.full_name(from));
        let version = from_version.or(source.version.as_deref());
        if let Some(version) = version {
            copy_source.push_str("?versionId=");
            copy_source.push_str(&percent_encoded(version));
        }
        let (encryption, encryption_key) = self.encryption();
        let mut request = self
            .bulk
            .copy_object()
            .copy_source(copy_source)
            .bucket(self.bucket(to))
            .key(self.full_name(to))
            .metadata_directive(MetadataDirective::Copy)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(encryption_key);
        if version.is_none() {
            request = request.set_copy_source_if_match(source.etag);
        }
        if self.tags {
            request = request.tagging_directive(TaggingDirective::Replace).tagging(format!("lettercase-scan={tag}"));
        }
        let done = request.send().await.map_err(|error| told("copy", to, error))?;
        self.confirm_encryption("copy", to, done.server_side_encryption())?;

        // What lies there now is looked at, not assumed: a server may not know the condition it was given.
        let version = pinning(done.version_id());
        let Some(copied) = self.look("copy", to, version.as_deref()).await? else {
            return Err(ObjectError::Unavailable(Trouble::new("copy", to, "the copy is not there")));
        };
        match self.verify(to, version.as_deref(), &copied, size_bytes, sha256).await {
            Ok(()) => Ok(Stored { size_bytes, version: version.or(copied.version) }),
            // The source was right, so copying again is. What lies there is not deleted: another copier of the
            // same bytes may just have written it, and nothing points at it before a copy succeeds.
            Err(ObjectError::Mismatch(trouble)) => Err(ObjectError::Unavailable(trouble)),
            Err(error) => Err(error),
        }
    }

    async fn fetch(
        &self,
        key: &ObjectKey,
        version: Option<&str>,
        to: &Path,
        expect: Option<&Sha256>,
    ) -> Result<Stored, ObjectError> {
        let mut got = self.get("fetch", key, version, None).await?;
        let size_bytes = length("fetch", key, got.content_length())?;
        let mut landing = Landing::begin(key, to)?;
        while let Some(bytes) = next(&mut got.body, "fetch", key).await? {
            landing.write(key, &bytes)?;
        }
        let size_bytes = landing.finish(key, size_bytes, expect)?;
        Ok(Stored { size_bytes, version: pinning(got.version_id()) })
    }

    async fn get_bytes(&self, key: &ObjectKey, limit: usize) -> Result<Option<Vec<u8>>, ObjectError> {
        let mut got = match self.get("get", key, None, None).await {
            Ok(got) => got,
            Err(ObjectError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        while let Some(bytes) = next(&mut got.body, "get", key).await? {
            if all.len() + bytes.len() > limit {
                return Err(ObjectError::TooLarge(Trouble::new("get", key, format!("over {limit} bytes"))));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(Some(all))
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, ObjectError> {
        let seen = self.look("head", key, None).await?;
        Ok(seen.map(|seen| ObjectMeta { size_bytes: seen.size_bytes, sha256: seen.sha256, version: seen.version }))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        let done = self
            .small
            .delete_object()
            .bucket(self.bucket(key))
            .key(self.full_name(key))
            .send()
            .await
            .map_err(|error| told("delete", key, error))?;
        // A marker or a version in the answer tells that the bucket keeps versions.
        if done.delete_marker() == Some(true) || done.version_id().is_some() {
            self.destroy_versions(key).await?;
        }
        Ok(())
    }

    async fn list(&self, place: Place, after: Option<&str>, limit: usize) -> Result<Vec<(String, u64)>, ObjectError> {
        let prefix = format!("{}{place}/", self.prefix);
        let mut last = after.map(str::to_owned);
        let mut found: Vec<(String, u64)> = Vec::new();
        while found.len() < limit {
            let page = self
                .small
                .list_objects_v2()
                .bucket(self.buckets.of(place))
                .prefix(&prefix)
                .set_start_after(last.as_ref().map(|last| format!("{prefix}{last}")))
                .max_keys(i32::try_from((limit - found.len()).min(PAGE_MAX)).unwrap_or(i32::MAX))
                .send()
                .await
                .map_err(|error| told("list", place, error))?;
            for object in page.contents() {
                let Some(name) = object.key().and_then(|key| key.strip_prefix(&prefix)) else { continue };
                last = Some(name.to_owned());
                if !is_probe(place, name) {
                    found.push((name.to_owned(), length("list", place, object.size())?));
                }
            }
            // An empty page can't move the mark: it is the end, whatever the flag says.
            if page.is_truncated() != Some(true) || page.contents().is_empty() {
                break;
            }
        }
        Ok(found)
    }

    async fn check(&self) -> Result<(), ObjectError> {
        probe::run(self).await
    }
}
