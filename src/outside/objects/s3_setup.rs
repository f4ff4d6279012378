//! From settings to S3 clients. Kept apart from their use: what is decided here is decided once, at start.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};

use super::error::{ObjectError, Trouble};
use super::options::{S3Credentials, S3Options};
use super::s3::S3Store;

/// The region requests are signed for when nobody names one: what servers other than AWS take.
const FALLBACK_REGION: &str = "us-east-1";
/// First and longest wait between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The clients of a bucket's server, with their patience.
pub(in crate::outside) struct S3Clients {
    /// For calls that move no document.
    pub(in crate::outside) small: Client,
    /// For calls that move one: it waits longer.
    pub(in crate::outside) bulk: Client,
}

/// Checks the options and makes the store. Calls no server, but for what the credential chain asks.
pub(super) async fn open(options: &S3Options) -> Result<S3Store, ObjectError> {
    let S3Clients { small, bulk } = S3Clients::open(options).await?;
    Ok(S3Store::new(small, bulk, options))
}

impl S3Clients {
    /// Checks the options and makes the clients.
    pub(in crate::outside) async fn open(options: &S3Options) -> Result<Self, ObjectError> {
        check(options)?;
        clients(options).await
    }
}

async fn clients(options: &S3Options) -> Result<S3Clients, ObjectError> {
    let builder = base(options)
        .await?
        .force_path_style(options.path_style)
        // We give each upload its SHA-256 ourselves. What the SDK would add by default, a CRC in a trailer,
        // several other servers refuse; what it would check on reading we check with our own hash.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().build())
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(options.attempts)
                .with_initial_backoff(BACKOFF.0)
                .with_max_backoff(BACKOFF.1),
        );
    let client = |attempt_ms: u64| {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
            .operation_attempt_timeout(Duration::from_millis(attempt_ms))
            .build();
        Client::from_conf(builder.clone().timeout_config(timeouts).build())
    };
    Ok(S3Clients { small: client(options.small_timeout_ms), bulk: client(options.bulk_timeout_ms) })
}

fn misconfigured(on: &'static str, cause: impl std::fmt::Display) -> ObjectError {
    ObjectError::Misconfigured(Trouble::new("open", on, cause))
}

/// Refuses options that make no sense together.
fn check(options: &S3Options) -> Result<(), ObjectError> {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_./".contains(&b);
    let prefix = &options.prefix;
    if !prefix.bytes().all(fine) || prefix.starts_with('/') || prefix.contains("//") || prefix.contains("..") {
        return Err(misconfigured("prefix", "it may hold lower-case letters, digits and - _ . and single /"));
    }
    if !prefix.is_empty() && !prefix.ends_with('/') {
        return Err(misconfigured("prefix", "it must end with /"));
    }
    if !(1..=10).contains(&options.attempts) {
        return Err(misconfigured("attempts", "it must be 1 to 10"));
    }
    match &options.endpoint_url {
        Some(url) => check_endpoint(url, options.allow_plain_http),
        None => Ok(()),
    }
}

fn check_endpoint(url: &str, allow_plain_http: bool) -> Result<(), ObjectError> {
    let bad = |cause| Err(misconfigured("endpoint_url", cause));
    let Ok(url) = reqwest::Url::parse(url) else { return bad("it is no URL") };
    if !url.username().is_empty() || url.password().is_some() {
        return bad("credentials do not belong in it");
    }
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" => Ok(()),
        "http" if local || allow_plain_http => Ok(()),
        "http" => bad("http:// would send health data in clear; use https:// or set allow_plain_http"),
        _ => bad("it must begin with https://"),
    }
}

/// Region and credentials. The environment is read by AWS's chain only when the chain is asked for.
async fn base(options: &S3Options) -> Result<Builder, ObjectError> {
    let (id, secret) = match &options.credentials {
        S3Credentials::Chain => return chain(options).await,
        S3Credentials::Keys { access_key_id, secret_access_key } => {
            (access_key_id.clone(), secret_access_key.reveal().to_owned())
        }
        S3Credentials::KeyFile { access_key_id, secret_access_key_path } => {
            let text = tokio::fs::read_to_string(secret_access_key_path)
                .await
                .map_err(|error| misconfigured("secret_access_key_path", error))?;
            (access_key_id.clone(), text.trim().to_owned())
        }
    };
    if id.is_empty() || secret.is_empty() {
        return Err(misconfigured("credentials", "the key's id or secret is empty"));
    }
    let region = options.region.clone().unwrap_or_else(|| FALLBACK_REGION.to_owned());
    let mut builder = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region))
        .credentials_provider(Credentials::new(id, secret, None, None, "settings"));
    builder.set_endpoint_url(options.endpoint_url.clone());
    Ok(builder)
}

async fn chain(options: &S3Options) -> Result<Builder, ObjectError> {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let found = loader.load().await;
    let mut builder = Builder::from(&found);
    if found.region().is_none() {
        if options.endpoint_url.is_none() {
            return Err(misconfigured("region", "neither the settings nor the environment name one"));
        }
        builder = builder.region(Region::new(FALLBACK_REGION));
    }
    if options.endpoint_url.is_some() {
        builder.set_endpoint_url(options.endpoint_url.clone());
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_leaves_this_machine_only_when_told_so() {
        for (url, allowed, good) in [
            ("http://127.0.0.1:9000", false, true),
            ("http://localhost:9000", false, true),
            ("http://store.example:9000", false, false),
            ("http://store.example:9000", true, true),
            ("https://store.example", false, true),
            ("https://user:word@store.example", false, false),
            ("ftp://store.example", true, false),
            ("store.example", true, false),
        ] {
            assert_eq!(check_endpoint(url, allowed).is_ok(), good, "{url}");
        }
    }
}
