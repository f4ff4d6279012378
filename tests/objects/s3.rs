//! S3 against a server that verifies checksums, and against connections and servers that fail.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lettercase::outside::objects::{ObjectError, S3Credentials, S3Encryption, S3Options, Secret};
use tokio::net::TcpListener;

use super::child;
use super::suite::{self, Server};
use super::world::{S3s, Sample, cutting_proxy, incoming, open, s3_options, truncating_proxy};

#[tokio::test]
async fn the_s3_store_does_what_every_store_does() {
    let server = S3s::start().await;
    suite::all(server.objects().await, Server { verifies: true, copies_whole: false }).await;
}

#[tokio::test]
async fn a_put_cut_off_leaves_nothing_and_can_be_tried_again() {
    let server = S3s::start().await;
    let (address, cut) = cutting_proxy(server.address, usize::MAX, 1_000_000).await;
    let store = open(s3_options(address)).await.unwrap();
    let (sample, key) = (Sample::of(5_000_000), incoming());
    let error = store.put_file(&key, &sample.path, sample.size(), &sample.sha256).await.unwrap_err();
    assert!(matches!(error, ObjectError::Unavailable(_)) && error.is_retryable(), "{error}");
    assert_eq!(cut.load(Ordering::SeqCst), 3, "each attempt was cut");
    let direct = server.objects().await;
    assert!(direct.head(&key).await.unwrap().is_none());
    sample.put(direct.as_ref(), &key).await;
}

#[tokio::test]
async fn a_put_cut_off_once_is_sent_again_from_its_beginning() {
    let server = S3s::start().await;
    let (address, cut) = cutting_proxy(server.address, 1, 1_000_000).await;
    let store = open(s3_options(address)).await.unwrap();
    let (sample, key, dir) = (Sample::of(5_000_000), incoming(), tempfile::tempdir().unwrap());
    sample.put(store.as_ref(), &key).await;
    assert_eq!(cut.load(Ordering::SeqCst), 1);
    store.fetch(&key, None, &dir.path().join("x"), Some(&sample.sha256)).await.unwrap();
}

#[tokio::test]
async fn a_fetch_cut_off_leaves_no_file_and_can_be_tried_again() {
    let server = S3s::start().await;
    let store = open(s3_options(truncating_proxy(server.address, 500_000).await)).await.unwrap();
    let (sample, key, dir) = (Sample::of(1_000_000), incoming(), tempfile::tempdir().unwrap());
    sample.put(server.objects().await.as_ref(), &key).await;
    for expect in [Some(&sample.sha256), None] {
        let error = store.fetch(&key, None, &dir.path().join("x"), expect).await.unwrap_err();
        assert!(matches!(error, ObjectError::Unavailable(_)) && error.is_retryable(), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_server_that_is_down_is_told_quickly() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let store = open(s3_options(address)).await.unwrap();
    let begun = Instant::now();
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, ObjectError::Unavailable(_)) && error.is_retryable(), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_that_does_not_answer_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = S3Options { small_timeout_ms: 200, attempts: 2, ..s3_options(listener.local_addr().unwrap()) };
    let store = open(options).await.unwrap();
    let error = store.head(&incoming()).await.unwrap_err();
    assert!(matches!(error, ObjectError::Timeout(_)) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn wrong_settings_are_told_apart_from_a_sick_server() {
    let server = S3s::start().await;
    let good = || s3_options(server.address);
    let keys = S3Credentials::Keys { access_key_id: "test-key".into(), secret_access_key: Secret::new("wrong") };
    let store = open(S3Options { credentials: keys, ..good() }).await.unwrap();
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, ObjectError::Denied(_)), "{error}");
    assert!(!format!("{error:?}").contains("wrong"));

    // This server knows no encryption and ignores that it was asked for.
    let store = open(S3Options { encryption: S3Encryption::Aes256, ..good() }).await.unwrap();
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, ObjectError::Misconfigured(_)), "{error}");

    for options in [
        S3Options { prefix: "../up/".into(), ..good() },
        S3Options { prefix: "noslash".into(), ..good() },
        S3Options { attempts: 0, ..good() },
        S3Options { endpoint_url: Some("http://192.0.2.1".into()), ..good() },
    ] {
        let error = open(options).await.err().unwrap();
        assert!(matches!(error, ObjectError::Misconfigured(_)), "{error}");
    }
}

#[tokio::test]
async fn the_secret_can_come_from_a_file() {
    let server = S3s::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, "test-secret\n").unwrap();
    let credentials = S3Credentials::KeyFile { access_key_id: "test-key".into(), secret_access_key_path: path };
    open(S3Options { credentials, ..s3_options(server.address) }).await.unwrap().check().await.unwrap();
}

#[tokio::test]
async fn credentials_and_region_can_come_from_the_environment() {
    let server = S3s::start().await;
    let endpoint = server.address.to_string();
    let environment = [
        ("LETTERCASE_TEST_S3", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "test-key"),
        ("AWS_SECRET_ACCESS_KEY", "test-secret"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    child::run("s3::child_uses_the_chain", &environment).await;
}

/// Run by the test above in a process of its own.
#[tokio::test]
#[ignore = "a part of credentials_and_region_can_come_from_the_environment, which runs it"]
async fn child_uses_the_chain() {
    let options = s3_options(child::given("LETTERCASE_TEST_S3").parse().unwrap());
    let store = open(S3Options { credentials: S3Credentials::Chain, region: None, ..options }).await.unwrap();
    store.check().await.unwrap();
}

#[tokio::test]
async fn the_store_keeps_the_checksum_it_verified() {
    let server = S3s::start().await;
    let (store, sample, key) = (server.objects().await, Sample::of(1000), incoming());
    sample.put(store.as_ref(), &key).await;
    assert_eq!(store.head(&key).await.unwrap().unwrap().sha256, Some(sample.sha256));
}

#[tokio::test]
async fn keys_are_prefix_place_and_name() {
    let server = S3s::start().await;
    let (sample, key) = (Sample::of(10), incoming());
    sample.put(server.objects().await.as_ref(), &key).await;
    let path = server.root.path().join("documents/lettercase/incoming").join(key.name());
    assert_eq!(std::fs::read(path).unwrap(), sample.bytes);
}
