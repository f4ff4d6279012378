//! Talking to one clamd: strictly, and with a deadline on everything.
//!
//! PING and VERSION are `clamav-client`'s, over connections of ours that bound time and answer. Its scans are
//! not used: they have no deadlines, lose clamd's answer when it closes early, and send small frames.

use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use clamav_client::tokio::TransportProtocol;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Verdict;
use super::policy::{Endpoint, ScanPolicy};
use super::reply::{self, Handover, REPLY_MAX_BYTES, Reply, Version};

/// What is scanned.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Bytes in memory: canaries.
    Bytes(Arc<[u8]>),
    /// A part of an open file. Read by position: the caller's own position in it never moves.
    Part { file: Arc<File>, offset: u64, len: u64 },
}

impl Source {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Part { len, .. } => *len,
        }
    }

    async fn read(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(at).map_err(io::Error::other)?;
                let part = bytes.get(start..start.saturating_add(len));
                part.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            Self::Part { file, offset, .. } => {
                let (file, position) = (Arc::clone(file), offset.saturating_add(at));
                let read = move || {
                    let mut bytes = vec![0; len];
                    file.read_exact_at(&mut bytes, position).map(|()| bytes)
                };
                tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
            }
        }
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

async fn connect(endpoint: &Endpoint) -> io::Result<Box<dyn Duplex>> {
    Ok(match endpoint {
        Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect(address.as_str()).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
    })
}

/// Lets `clamav-client` talk over our connections, with no more read than an answer may have.
struct Bounded<'a>(&'a Endpoint);

impl TransportProtocol for Bounded<'_> {
    type Stream =
        tokio::io::Join<tokio::io::Take<tokio::io::ReadHalf<Box<dyn Duplex>>>, tokio::io::WriteHalf<Box<dyn Duplex>>>;

    async fn connect(&self) -> io::Result<Self::Stream> {
        let (read, write) = tokio::io::split(connect(self.0).await?);
        Ok(tokio::io::join(read.take(REPLY_MAX_BYTES as u64), write))
    }
}

/// Asks for the version, after a PING. The error says what went wrong.
pub(super) async fn version(endpoint: &Endpoint, policy: &ScanPolicy) -> Result<Version, String> {
    let ask = async {
        let pong = clamav_client::tokio::ping(Bounded(endpoint)).await?;
        if pong != clamav_client::PONG {
            return Ok(None);
        }
        Ok(reply::parse_version(&clamav_client::tokio::get_version(Bounded(endpoint)).await?))
    };
    match timeout(policy.connect_timeout(), ask).await {
        Err(_) => Err(format!("it did not answer within {} ms", policy.connect_timeout_ms)),
        Ok(Err(error)) => Err(told(&error)),
        Ok(Ok(None)) => Err("what answers there is not clamd".to_owned()),
        Ok(Ok(Some(version))) => Ok(version),
    }
}

/// Has the signatures loaded anew; it returns as soon as clamd has heard it.
pub(super) async fn reload(endpoint: &Endpoint, policy: &ScanPolicy) -> Result<(), String> {
    match timeout(policy.connect_timeout(), clamav_client::tokio::reload(Bounded(endpoint))).await {
        Err(_) => Err(format!("it did not answer within {} ms", policy.connect_timeout_ms)),
        Ok(Err(error)) => Err(told(&error)),
        Ok(Ok(answer)) if answer == clamav_client::RELOADING => Ok(()),
        Ok(Ok(_)) => Err("it did not take the order".to_owned()),
    }
}

/// An I/O error in words that name no file: clamd's socket and the document's name stay out of logs.
fn told(error: &io::Error) -> String {
    error.kind().to_string()
}

/// Scans, within the policy's deadline. Never fails: what could not be finished is [`Verdict::NotRun`].
pub(super) async fn scan(endpoint: &Endpoint, policy: &ScanPolicy, source: &Source) -> Verdict {
    if source.len() > policy.max_file_bytes {
        return Verdict::Unscannable { why: "it is larger than the policy's max_file_bytes".to_owned() };
    }
    match timeout(policy.timeout(), scan_unbounded(endpoint, policy, source)).await {
        Ok(verdict) => verdict,
        Err(_) => not_run(format!("the scan did not end within {} s", policy.timeout_s)),
    }
}

async fn scan_unbounded(endpoint: &Endpoint, policy: &ScanPolicy, source: &Source) -> Verdict {
    if let (Endpoint::Unix(path), Some(file)) = (endpoint, whole_file(source)) {
        match pass(path, policy, file).await {
            // clamd may be barred from reading a file of ours that it may well be sent (AppArmor).
            Ok(answer) if matches!(answer, Reply::Error(_)) => {}
            Ok(answer) => return judge(answer),
            Err(why) => return not_run(why),
        }
    }
    stream(endpoint, policy, source).await
}

/// The file, where the source is all of it and so may be passed as it is.
fn whole_file(source: &Source) -> Option<&File> {
    match source {
        Source::Part { file, offset: 0, len } if file.metadata().is_ok_and(|m| m.is_file() && m.len() == *len) => {
            Some(file)
        }
        _ => None,
    }
}

fn not_run(why: impl Into<String>) -> Verdict {
    Verdict::NotRun { why: why.into() }
}

/// The verdict of an answer that came after every byte was sent.
fn judge(answer: Reply) -> Verdict {
    match answer {
        Reply::Ok => Verdict::Clean,
        Reply::Found(signature) if super::is_heuristic_limit(&signature) => Verdict::Unscannable { why: signature },
        Reply::Found(signature) => Verdict::Infected { signature },
        Reply::Error(text) => not_run(format!("the scanner answered with an error: {text}")),
        Reply::Unknown(how) => not_run(format!("no known answer from the scanner: {how}")),
    }
}

/// A step with a deadline; the error says which step failed and how.
async fn step<T>(what: &str, limit: Duration, work: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    match timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(format!("{what}: {}", told(&error))),
        Err(_) => Err(format!("{what}: not done within {} ms", limit.as_millis())),
    }
}

async fn stream(endpoint: &Endpoint, policy: &ScanPolicy, source: &Source) -> Verdict {
    let connection = match step("connecting to the scanner", policy.connect_timeout(), connect(endpoint)).await {
        Ok(connection) => connection,
        Err(why) => return not_run(why),
    };
    let (mut read, mut write) = tokio::io::split(connection);
    let sent = send(&mut write, policy, source).await;
    // Even after a broken pipe: clamd says why it closed ("INSTREAM size limit exceeded. ERROR").
    let answer = match &sent {
        Ok(()) => read_reply(&mut read).await,
        Err(_) => {
            let _ = write.shutdown().await;
            timeout(policy.connect_timeout(), read_reply(&mut read)).await.unwrap_or_default()
        }
    };
    let answer = reply::parse_scan(&answer, Handover::Stream);
    match (sent, answer) {
        (Ok(()), answer) => judge(answer),
        (Err(why), Reply::Error(text)) => not_run(format!("{why}; the scanner answered: {text}")),
        // Whatever else it says of bytes it did not all get is no verdict.
        (Err(why), _) => not_run(why),
    }
}

async fn send(
    write: &mut tokio::io::WriteHalf<Box<dyn Duplex>>,
    policy: &ScanPolicy,
    source: &Source,
) -> Result<(), String> {
    const SENDING: &str = "sending to the scanner";
    let limit = policy.write_timeout();
    step(SENDING, limit, write.write_all(b"zINSTREAM\0")).await?;
    let mut at = 0;
    while at < source.len() {
        let len = usize::try_from(source.len() - at).unwrap_or(usize::MAX).min(policy.frame_bytes);
        let bytes = step("reading the file", limit, source.read(at, len)).await?;
        let size = u32::try_from(len).map_err(|_| "a frame is too large".to_owned())?;
        step(SENDING, limit, write.write_all(&size.to_be_bytes())).await?;
        step(SENDING, limit, write.write_all(&bytes)).await?;
        at += len as u64;
    }
    step(SENDING, limit, write.write_all(&0_u32.to_be_bytes())).await?;
    step(SENDING, limit, write.flush()).await
}

/// All that comes until the other side closes, or one byte more than an answer may have. An answer that
/// breaks off by an error is as much as came: it won't parse as whole.
async fn read_reply(read: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut read = read.take(REPLY_MAX_BYTES as u64 + 1);
    // A reset after the closing NUL is how clamd ends a connection with unread bytes in it.
    let _ = read.read_to_end(&mut answer).await;
    answer
}

/// Passes the open file itself: clamd reads it, all of it, from its own copy of the descriptor.
async fn pass(socket: &std::path::Path, policy: &ScanPolicy, file: &File) -> Result<Reply, String> {
    let connecting = UnixStream::connect(socket);
    let mut stream = step("connecting to the scanner", policy.connect_timeout(), connecting).await?;
    let passing = async {
        stream.write_all(b"zFILDES\0").await?;
        loop {
            stream.writable().await?;
            match stream.try_io(Interest::WRITABLE, || send_descriptor(&stream, file)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    };
    step("passing the file to the scanner", policy.write_timeout(), passing).await?;
    Ok(reply::parse_scan(&read_reply(&mut stream).await, Handover::OpenFile))
}

fn send_descriptor(stream: &UnixStream, file: &File) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [file.as_fd()];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for the descriptor"));
    }
    // clamd takes the descriptor with one byte of data, whose value it does not look at.
    sendmsg(stream, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}
