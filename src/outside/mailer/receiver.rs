//! A receiver of mail, for demonstrations and tests: what comes is laid into a directory as it came, one `.eml` file a
//! message, and goes nowhere else. It listens on this machine only.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mailin::response::{INTERNAL_ERROR, OK};
use mailin::{Action, Handler, Response, SessionBuilder};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The longest line, in bytes (RFC 5321, section 4.5.3.1.6, and room for those who don't keep to it).
const LINE_BYTES: u64 = 8_192;
/// The largest message, in bytes.
const MESSAGE_BYTES: usize = 1 << 20;

/// A receiver; dropped, it stops.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Listens on a free port, and lays what comes into the directory, which is made where it is not there.
    ///
    /// # Errors
    /// When it can't listen, or can't write there.
    pub async fn start(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let there = std::fs::read_dir(dir)?.count();
        let next = Arc::new(AtomicU32::new(u32::try_from(there).unwrap_or_default()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let dir: Arc<Path> = dir.into();
        let task = tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let mail = Mail { dir: dir.clone(), next: next.clone(), bytes: Vec::new() };
                // who breaks off is not listened to any more
                tokio::spawn(async move { talk(stream, peer.ip(), mail).await.ok() });
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn talk(stream: TcpStream, peer: IpAddr, mail: Mail) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut session = SessionBuilder::new("receiver.lettercase.localhost").build(peer, mail);
    let mut stream = BufReader::new(stream);
    say(&mut stream, &session.greeting()).await?;
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut stream).take(LINE_BYTES).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let response = session.process(&line);
        match response.action {
            Action::Reply => say(&mut stream, &response).await?,
            Action::NoReply => {}
            Action::Close | Action::UpgradeTls => return say(&mut stream, &response).await,
        }
    }
}

async fn say(stream: &mut BufReader<TcpStream>, response: &Response) -> io::Result<()> {
    stream.write_all(&response.buffer()?).await?;
    stream.flush().await
}

/// The message that comes on a connection.
struct Mail {
    dir: Arc<Path>,
    next: Arc<AtomicU32>,
    bytes: Vec<u8>,
}

impl Mail {
    fn keep(&self) -> io::Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
            let path: PathBuf = self.dir.join(format!("{number:05}.eml"));
            match std::fs::File::create_new(path) {
                Ok(mut file) => return file.write_all(&self.bytes),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Handler for Mail {
    fn data_start(&mut self, _: &str, _: &str, _: bool, _: &[String]) -> Response {
        self.bytes.clear();
        OK
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.bytes.len() + bytes.len() > MESSAGE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        if self.keep().is_ok() { OK } else { INTERNAL_ERROR }
    }
}
