//! Relays for tests: Postfix's smtp-sink with faults ordered from it, and a small one of our own that does at each point
//! exactly what it is told, also under TLS.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::support::postgres::free_port;
use crate::support::program;

/// smtp-sink, as long as it is kept.
pub(crate) struct Sink {
    child: Child,
    pub(crate) port: u16,
    dumps: tempfile::TempDir,
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sink {
    /// Starts it with options of its own.
    pub(crate) async fn start(options: &[&str]) -> Self {
        Self::at(free_port(), options).await
    }

    /// At this port.
    pub(crate) async fn at(port: u16, options: &[&str]) -> Self {
        let dumps = tempfile::tempdir().unwrap();
        // where root runs it, it is nobody
        std::fs::set_permissions(dumps.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let child = Command::new(program("smtp-sink"))
            .args(options)
            .args(["-d", &format!("{}/mail.", dumps.path().display()), &format!("127.0.0.1:{port}"), "100"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // kept from here on: whatever comes, it is ended with this
        let sink = Self { child, port, dumps };
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return sink;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("smtp-sink does not listen");
    }

    /// What it took, as it wrote it down: envelope and message.
    pub(crate) fn taken(&self) -> Vec<String> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(self.dumps.path()).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| String::from_utf8(std::fs::read(file).unwrap()).unwrap()).collect()
    }
}

/// Where a relay of ours is asked what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Connect,
    Ehlo,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// While the text comes: after its first line.
    Text,
    /// When the text has ended.
    End,
    Rset,
}

/// What it does.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// What is usual.
    Usual,
    Says(&'static str),
    /// The same, where it is no UTF-8.
    SaysBytes(&'static [u8]),
    /// The start of an answer, and more and more of its first line.
    Babbles,
    /// Nothing, for as long as the other waits.
    Hangs,
    Closes,
}

/// A relay of our own.
pub(crate) struct Relay {
    pub(crate) port: u16,
    /// Texts that were taken, with the dot and dots before dots undone.
    pub(crate) taken: Arc<Mutex<Vec<String>>>,
    /// Commands in the order in which they came, of all connections.
    pub(crate) heard: Arc<Mutex<Vec<String>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    /// Connections that were open at a time at most.
    pub(crate) most_open: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How it speaks.
#[derive(Clone)]
pub(crate) struct Manner {
    pub(crate) pipelining: bool,
    pub(crate) starttls: Option<TlsAcceptor>,
    pub(crate) tls: Option<TlsAcceptor>,
    /// What it says behind its word that TLS may begin, in clear: what somebody on the line would put there.
    pub(crate) injects: Option<&'static str>,
    /// The login it wants, as AUTH PLAIN has it.
    pub(crate) login: Option<&'static str>,
}

impl Default for Manner {
    fn default() -> Self {
        Self { pipelining: true, starttls: None, tls: None, injects: None, login: None }
    }
}

type Script = Arc<dyn Fn(At, usize) -> Does + Send + Sync>;

#[derive(Clone)]
struct Shared {
    manner: Manner,
    script: Script,
    taken: Arc<Mutex<Vec<String>>>,
    heard: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    most_open: Arc<AtomicUsize>,
    times: Arc<Mutex<Vec<(At, usize)>>>,
}

impl Relay {
    /// Starts one. The script is asked at each point, with how often it was asked there before.
    pub(crate) async fn start(manner: Manner, script: impl Fn(At, usize) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared {
            manner,
            script: Arc::new(script),
            taken: Arc::default(),
            heard: Arc::default(),
            connections: Arc::default(),
            open: Arc::default(),
            most_open: Arc::default(),
            times: Arc::default(),
        };
        let own = shared.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let shared = own.clone();
                tokio::spawn(async move {
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
                    shared.most_open.fetch_max(open, Ordering::SeqCst);
                    shared.serve(stream).await;
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        let Shared { taken, heard, connections, most_open, .. } = shared;
        Self { port, taken, heard, connections, most_open, task }
    }

    pub(crate) fn count(&self, command: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|heard| heard.starts_with(command)).count()
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
type Line = BufReader<Box<dyn Stream>>;

impl Shared {
    fn asked(&self, at: At) -> Does {
        let mut times = self.times.lock().unwrap();
        let before = match times.iter_mut().find(|(point, _)| *point == at) {
            Some((_, count)) => {
                *count += 1;
                *count - 1
            }
            None => {
                times.push((at, 1));
                0
            }
        };
        (self.script)(at, before)
    }

    async fn serve(&self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let stream: Box<dyn Stream> = match &self.manner.tls {
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => Box::new(stream),
                Err(_) => return,
            },
            None => Box::new(stream),
        };
        let mut line = BufReader::new(stream);
        if self.answer(&mut line, At::Connect, "220 test ESMTP").await.is_none() {
            return;
        }
        let mut secured = false;
        loop {
            let mut command = String::new();
            if line.read_line(&mut command).await.unwrap_or(0) == 0 {
                return;
            }
            let command = command.trim_end().to_owned();
            self.heard.lock().unwrap().push(command.clone());
            let word = command.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            let go_on = match word.as_str() {
                "EHLO" => {
                    let mut offers = vec!["test".to_owned(), "ENHANCEDSTATUSCODES".to_owned()];
                    offers.extend(self.manner.pipelining.then(|| "PIPELINING".to_owned()));
                    offers.extend((self.manner.starttls.is_some() && !secured).then(|| "STARTTLS".to_owned()));
                    offers.extend(self.manner.login.map(|_| "AUTH PLAIN".to_owned()));
                    let last = offers.len() - 1;
                    let lines = offers.iter().enumerate();
                    let lines =
                        lines.map(|(place, offer)| format!("250{}{offer}", if place == last { " " } else { "-" }));
                    self.answer(&mut line, At::Ehlo, &lines.collect::<Vec<_>>().join("\r\n")).await
                }
                "STARTTLS" => {
                    let injected = self.manner.injects.unwrap_or_default();
                    line.get_mut().write_all(format!("220 go\r\n{injected}").as_bytes()).await.unwrap();
                    let tls = self.manner.starttls.clone().unwrap();
                    match tls.accept(line.into_inner()).await {
                        Ok(stream) => line = BufReader::new(Box::new(stream)),
                        Err(_) => return,
                    }
                    secured = true;
                    Some(())
                }
                "AUTH" => {
                    let good = command.split(' ').nth(2) == self.manner.login;
                    self.answer(&mut line, At::Auth, if good { "235 2.7.0 welcome" } else { "535 5.7.8 no" }).await
                }
                "MAIL" => self.answer(&mut line, At::Mail, "250 2.1.0 ok").await,
                "RCPT" => self.answer(&mut line, At::Rcpt, "250 2.1.5 ok").await,
                "RSET" => self.answer(&mut line, At::Rset, "250 2.0.0 ok").await,
                "NOOP" => say(&mut line, "250 2.0.0 ok").await,
                "DATA" => self.text(&mut line).await,
                "QUIT" => {
                    let _ = say(&mut line, "221 2.0.0 bye").await;
                    None
                }
                _ => say(&mut line, "502 5.5.2 what?").await,
            };
            if go_on.is_none() {
                return;
            }
        }
    }

    async fn text(&self, line: &mut Line) -> Option<()> {
        match self.asked(At::Data) {
            Does::Usual => say(line, "354 go on").await?,
            Does::Says(text) => {
                say(line, text).await?;
                if !text.starts_with('3') {
                    return Some(());
                }
            }
            does => return odd(line, does).await,
        }
        let mut text = String::new();
        loop {
            let mut one = String::new();
            if line.read_line(&mut one).await.unwrap_or(0) == 0 {
                return None;
            }
            if text.is_empty() {
                match self.asked(At::Text) {
                    Does::Usual => {}
                    does => {
                        odd(line, does).await?;
                        return None;
                    }
                }
            }
            if one == ".\r\n" {
                break;
            }
            text.push_str(one.strip_prefix('.').unwrap_or(&one));
        }
        let does = self.asked(At::End);
        if !matches!(does, Does::Says(_)) {
            // whatever it says of it, it has it
            self.taken.lock().unwrap().push(text);
        }
        match does {
            Does::Usual => say(line, "250 2.0.0 taken as 17").await,
            does => odd(line, does).await,
        }
    }

    async fn answer(&self, line: &mut Line, at: At, usual: &str) -> Option<()> {
        match self.asked(at) {
            Does::Usual => say(line, usual).await,
            Does::Says(text) => {
                say(line, text).await?;
                (!text.starts_with("421")).then_some(())
            }
            does => odd(line, does).await,
        }
    }
}

async fn odd(line: &mut Line, does: Does) -> Option<()> {
    match does {
        Does::Usual => Some(()),
        Does::Says(text) => say(line, text).await,
        Does::SaysBytes(text) => say_bytes(line, text).await,
        Does::Babbles => {
            line.get_mut().write_all(b"250 ").await.ok()?;
            // as much as nobody should wait for, but no more than a machine for tests has
            for _ in 0..1_000 {
                line.get_mut().write_all(&[b'x'; 1 << 16]).await.ok()?;
                line.get_mut().flush().await.ok()?;
            }
            hang().await
        }
        Does::Hangs => hang().await,
        Does::Closes => None,
    }
}

async fn say(line: &mut Line, text: &str) -> Option<()> {
    say_bytes(line, text.as_bytes()).await
}

async fn say_bytes(line: &mut Line, text: &[u8]) -> Option<()> {
    line.get_mut().write_all(&[text, b"\r\n"].concat()).await.ok()?;
    line.get_mut().flush().await.ok()
}

async fn hang<T>() -> T {
    std::future::pending().await
}

/// A certificate authority of our own, and a server's certificate of it.
pub(crate) struct Authority {
    pub(crate) file: tempfile::NamedTempFile,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certificate.pem()).unwrap();
        Self { file, issuer: Issuer::new(params, key) }
    }

    /// TLS of a server of this name.
    pub(crate) fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
