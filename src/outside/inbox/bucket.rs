//! A watched prefix of a bucket. An object is there whole or not at all. A move is a copy and a delete, each pinned to
//! the bytes that were listed; after a crash between them both are done again.

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use futures::StreamExt;
use jiff::Timestamp;

use super::{
    Body, BucketOptions, Entry, Inbox, InboxError, Listing, REASON_FILE, Shelf, Skipped, fitting, is_temporary,
    is_usable,
};
use crate::model::phi::Phi;
use crate::outside::objects::{S3Clients, S3Options, percent_encoded};

/// The longest key, in bytes.
const KEY_MAX: usize = 1024;
/// Most keys a server gives in one answer.
const PAGE_MAX: usize = 1000;

/// The prefix.
pub(super) struct Bucket {
    small: Client,
    bulk: Client,
    bucket: String,
    prefix: String,
}

impl Bucket {
    pub(super) async fn open(options: &BucketOptions) -> Result<Self, InboxError> {
        let s3 = S3Options {
            region: options.region.clone(),
            endpoint_url: options.endpoint_url.clone(),
            allow_plain_http: options.allow_plain_http,
            path_style: options.path_style,
            credentials: options.credentials.clone(),
            ..S3Options::of_bucket(&options.bucket)
        };
        let S3Clients { small, bulk } =
            S3Clients::open(&s3).await.map_err(|error| InboxError::Misconfigured(error.to_string()))?;
        Ok(Self { small, bulk, bucket: options.bucket.clone(), prefix: options.prefix.clone() })
    }

    fn key(&self, entry: &Entry) -> String {
        format!("{}{}", self.prefix, entry.name.reveal())
    }

    /// What lies under a listed name, if it still is what was listed.
    async fn look(&self, entry: &Entry) -> Result<Option<HeadObjectOutput>, InboxError> {
        let found = self.small.head_object().bucket(&self.bucket).key(self.key(entry)).send().await;
        match found.map_err(told("look at an object")) {
            Ok(found) => {
                let same = is_it(entry, found.content_length(), found.e_tag(), found.last_modified());
                Ok(same.then_some(found))
            }
            Err(InboxError::Changed) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The server's answer in our words. Its own words may hold the key, so they are left out.
fn told<E: ProvideErrorMetadata>(doing: &'static str) -> impl Fn(SdkError<E, HttpResponse>) -> InboxError {
    move |error| {
        let (status, code) = match &error {
            SdkError::ServiceError(answer) => (answer.raw().status().as_u16(), answer.err().code().unwrap_or("-")),
            SdkError::TimeoutError(_) => (0, "it took too long"),
            SdkError::DispatchFailure(_) => (0, "no connection"),
            _ => (0, "the answer makes no sense"),
        };
        match (status, code) {
            (404, "NoSuchBucket") => InboxError::Misconfigured("there is no such bucket".into()),
            (404 | 412, _) => InboxError::Changed,
            (401 | 403, _) => InboxError::Misconfigured(format!("the bucket's server refuses to {doing}: {code}")),
            _ => InboxError::Unavailable { doing, why: format!("{status} {code}") },
        }
    }
}

/// Whether an answer is about what was listed. HTTP tells times to the second.
fn is_it(entry: &Entry, size: Option<i64>, etag: Option<&str>, modified: Option<&DateTime>) -> bool {
    let (listed_at, listed_etag) = entry.mark.split_once(' ').unwrap_or((&entry.mark, ""));
    let at = modified.map(|at| at.secs().to_string()).unwrap_or_default();
    size.and_then(|n| u64::try_from(n).ok()) == Some(entry.size_bytes)
        && listed_at.split('.').next() == Some(at.as_str())
        && (listed_etag.is_empty() || etag == Some(listed_etag))
}

#[async_trait]
impl Inbox for Bucket {
    fn is_complete_by_nature(&self) -> bool {
        true
    }

    async fn list(&self, most: usize) -> Result<Listing, InboxError> {
        let mut listing = Listing::default();
        let mut after: Option<String> = None;
        loop {
            let page = self
                .small
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(&self.prefix)
                .delimiter("/")
                .set_start_after(after.clone())
                .max_keys(i32::try_from(PAGE_MAX).unwrap_or(i32::MAX))
                .send()
                .await
                .map_err(told("list the bucket"))?;
            for object in page.contents() {
                let Some(key) = object.key() else { continue };
                after = Some(key.to_owned());
                let Some(name) = key.strip_prefix(&self.prefix).filter(|name| !name.is_empty()) else { continue };
                if !is_usable(name) {
                    *listing.skipped.entry(Skipped::Name).or_default() += 1;
                } else if listing.entries.len() == most {
                    listing.more = true;
                    return Ok(listing);
                } else if !is_temporary(name) {
                    let at = object.last_modified();
                    let time = at.map(|at| format!("{}.{:09}", at.secs(), at.subsec_nanos())).unwrap_or_default();
                    listing.entries.push(Entry {
                        name: Phi(name.to_owned()),
                        size_bytes: object.size().and_then(|n| u64::try_from(n).ok()).unwrap_or_default(),
                        mark: format!("{time} {}", object.e_tag().unwrap_or_default()),
                        inode: 0,
                        modified_at: at.and_then(|at| Timestamp::from_second(at.secs()).ok()),
                    });
                }
            }
            // what lies below other prefixes comes as one entry each, and counts as a key of the page
            let below = page.common_prefixes().iter().filter_map(|common| common.prefix());
            let ours = [Shelf::Done, Shelf::Problem].map(|shelf| format!("{}{}/", self.prefix, shelf.as_str()));
            let mut last = after.clone().unwrap_or_default();
            for prefix in below {
                if !ours.iter().any(|own| own == prefix) {
                    *listing.skipped.entry(Skipped::Directory).or_default() += 1;
                }
                // the next page begins behind everything that lies below
                last = last.max(format!("{prefix}\u{10ffff}"));
            }
            after = Some(last);
            let nothing = page.contents().is_empty() && page.common_prefixes().is_empty();
            if page.is_truncated() != Some(true) || nothing {
                return Ok(listing);
            }
        }
    }

    async fn open(&self, entry: &Entry) -> Result<Body, InboxError> {
        let got = self.bulk.get_object().bucket(&self.bucket).key(self.key(entry)).send().await;
        let got = match got.map_err(told("read an object")) {
            Err(InboxError::Misconfigured(why)) => return Err(InboxError::Unreadable { why }),
            other => other?,
        };
        if !is_it(entry, got.content_length(), got.e_tag(), got.last_modified()) {
            return Err(InboxError::Changed);
        }
        let body = futures::stream::unfold(got.body, |mut body: ByteStream| async move {
            let piece = body.next().await?;
            let piece =
                piece.map_err(|_| InboxError::Unavailable { doing: "read an object", why: "it broke off".into() });
            Some((piece, body))
        });
        Ok(body.boxed())
    }

    async fn was_put_away(&self, _: &Entry, _: Shelf, _: &str) -> Result<bool, InboxError> {
        // copied and not yet deleted looks the same: what is there as listed is to be put away, perhaps once more
        Ok(false)
    }

    async fn put_away(&self, entry: &Entry, shelf: Shelf, id: &str) -> Result<(), InboxError> {
        let Some(found) = self.look(entry).await? else { return Ok(()) };
        let place = format!("{}{}/{id}/", self.prefix, shelf.as_str());
        let to = format!("{place}{}", fitting(entry.name.reveal(), KEY_MAX.saturating_sub(place.len())));
        let from: Vec<String> = self.key(entry).split('/').map(percent_encoded).collect();
        let copied = self
            .bulk
            .copy_object()
            .copy_source(format!("{}/{}", self.bucket, from.join("/")))
            .set_copy_source_if_match(found.e_tag().map(str::to_owned))
            .bucket(&self.bucket)
            .key(to)
            .send()
            .await
            .map_err(told("copy an object"));
        match copied {
            Ok(_) => {}
            // replaced in that instant: what lies there now is another file, still to be taken
            Err(InboxError::Changed) => return Ok(()),
            Err(error) => return Err(error),
        }
        let deleted = self
            .small
            .delete_object()
            .bucket(&self.bucket)
            .key(self.key(entry))
            .set_if_match(found.e_tag().map(str::to_owned))
            .send()
            .await
            .map_err(told("delete an object"));
        match deleted {
            Ok(_) | Err(InboxError::Changed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn write_reason(&self, id: &str, text: &str) -> Result<(), InboxError> {
        let key = format!("{}{}/{id}/{REASON_FILE}", self.prefix, Shelf::Problem.as_str());
        let body = ByteStream::from(text.as_bytes().to_vec());
        let request = self.small.put_object().bucket(&self.bucket).key(key).content_type("text/plain; charset=utf-8");
        request.body(body).send().await.map_err(told("write a reason"))?;
        Ok(())
    }
}
