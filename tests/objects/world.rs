//! Real stores to test on, each thrown away with its test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use hyper_util::rt::TokioIo;
use lettercase::model::ids::{Brand, DocumentId, Sha256};
use lettercase::outside::objects::{
    self, ObjectError, ObjectKey, Objects, ObjectsOptions, S3Buckets, S3Credentials, S3Encryption, S3Options, Secret,
};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use sha2::Digest;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

pub(crate) const BUCKET: &str = "documents";
pub(crate) const KEY_ID: &str = "test-key";
pub(crate) const KEY: &str = "test-secret";

/// A file to store, with what is said of it.
pub(super) struct Sample {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) sha256: Sha256,
    _dir: TempDir,
}

impl Sample {
    /// `size` bytes that no other sample has.
    pub(super) fn of(size: usize) -> Self {
        let mut state: u64 = rand::random();
        let bytes = (0..size)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        Self::with(bytes)
    }

    pub(super) fn with(bytes: Vec<u8>) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("upload");
        std::fs::write(&path, &bytes).unwrap();
        Self { path, sha256: sha256(&bytes), bytes, _dir: dir }
    }

    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) async fn put(&self, objects: &dyn Objects, key: &ObjectKey) -> Option<String> {
        objects.put_file(key, &self.path, self.size(), &self.sha256).await.unwrap().version
    }
}

pub(super) fn sha256(bytes: &[u8]) -> Sha256 {
    hex::encode(sha2::Sha256::digest(bytes)).parse().unwrap()
}

pub(super) fn brand() -> Brand {
    "acme".parse().unwrap()
}

/// An incoming key nobody has.
pub(super) fn incoming() -> ObjectKey {
    let id: DocumentId = uuid::Uuid::from_u128(rand::random()).to_string().parse().unwrap();
    ObjectKey::incoming(&id)
}

pub(super) fn content(sample: &Sample) -> ObjectKey {
    ObjectKey::content(&brand(), &sample.sha256)
}

/// Options for a server on this machine that has one bucket.
pub(crate) fn s3_options(address: SocketAddr) -> S3Options {
    S3Options {
        buckets: S3Buckets::One(BUCKET.into()),
        prefix: "lettercase/".into(),
        region: Some("us-east-1".into()),
        endpoint_url: Some(format!("http://{address}")),
        allow_plain_http: false,
        path_style: true,
        credentials: S3Credentials::Keys { access_key_id: KEY_ID.into(), secret_access_key: Secret::new(KEY) },
        encryption: S3Encryption::None,
        tags: true,
        connect_timeout_ms: 1_000,
        small_timeout_ms: 10_000,
        bulk_timeout_ms: 30_000,
        attempts: 3,
    }
}

pub(super) async fn open(options: S3Options) -> Result<Arc<dyn Objects>, ObjectError> {
    objects::open(&ObjectsOptions::S3(Box::new(options))).await
}

/// An S3 server in this process that verifies checksums, over real HTTP.
pub(crate) struct S3s {
    pub(crate) address: SocketAddr,
    pub(crate) root: TempDir,
}

impl S3s {
    pub(crate) async fn start() -> Self {
        let root = TempDir::new().unwrap();
        std::fs::create_dir(root.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY_ID, KEY));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let serving =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
                tokio::spawn(serving);
            }
        });
        Self { address, root }
    }

    pub(super) async fn objects(&self) -> Arc<dyn Objects> {
        open(s3_options(self.address)).await.unwrap()
    }
}

/// Stands before a server and cuts the first `cuts` connections once `after_bytes` have gone up.
pub(super) async fn cutting_proxy(to: SocketAddr, cuts: usize, after_bytes: u64) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cut = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&cut);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(to).await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                if count.load(Ordering::SeqCst) < cuts {
                    count.fetch_add(1, Ordering::SeqCst);
                    let (up, _) = client.split();
                    let _ = tokio::io::copy(&mut up.take(after_bytes), &mut server).await;
                    let _ = server.shutdown().await;
                } else {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (address, cut)
}

/// Stands before a server and ends every answer after `bytes`.
pub(super) async fn truncating_proxy(to: SocketAddr, bytes: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(to).await.unwrap();
            tokio::spawn(async move {
                let (mut up, mut down) = client.split();
                let (answer, mut request) = server.split();
                let mut answer = answer.take(bytes);
                tokio::select! {
                    _ = tokio::io::copy(&mut up, &mut request) => {}
                    _ = tokio::io::copy(&mut answer, &mut down) => {}
                }
            });
        }
    });
    address
}

/// `moto_server`, a process of its own: it keeps versions, tags and what encryption was asked for.
pub(super) struct Moto {
    pub(super) address: SocketAddr,
    /// For looking at what the store made, beside the door.
    pub(super) client: aws_sdk_s3::Client,
    _process: Child,
}

impl Moto {
    /// Starts it with a bucket per place, with versions.
    pub(super) async fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/venv/bin/moto_server");
        assert!(program.exists(), "moto_server is missing: run `make deps` (scripts/tools-moto.sh installs it)");
        let mut process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("moto_server ended before it listened");
            if let Some((_, address)) = line.split_once("Running on http://") {
                break address.trim().parse().unwrap();
            }
        };
        // It logs each request: unread, the pipe would fill and stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(KEY_ID, KEY, None, None, "test"))
            .endpoint_url(format!("http://{address}"))
            .force_path_style(true)
            .build();
        let moto = Self { address, client: aws_sdk_s3::Client::from_conf(config), _process: process };
        for bucket in ["in", "clean", "barred", "proof", "parts", "letters"] {
            let bucket = format!("docs-{bucket}");
            moto.client.create_bucket().bucket(&bucket).send().await.unwrap();
            let versioning = aws_sdk_s3::types::VersioningConfiguration::builder()
                .status(aws_sdk_s3::types::BucketVersioningStatus::Enabled)
                .build();
            moto.client
                .put_bucket_versioning()
                .bucket(&bucket)
                .versioning_configuration(versioning)
                .send()
                .await
                .unwrap();
        }
        moto
    }

    pub(super) fn options(&self) -> S3Options {
        S3Options {
            buckets: S3Buckets::Each {
                incoming: "docs-in".into(),
                content: "docs-clean".into(),
                quarantine: "docs-barred".into(),
                audit: "docs-proof".into(),
                parts: Some("docs-parts".into()),
                letters: Some("docs-letters".into()),
            },
            encryption: S3Encryption::Aes256,
            ..s3_options(self.address)
        }
    }
}
