//! From an address to a line on which messages can be handed over: TCP without delays, TLS, greeting, login.
//!
//! lettre's own way to TLS is not used. It gives no hold of the socket, which then waits 40 ms with each message (Nagle's
//! algorithm against delayed answers); and what was read in clear before STARTTLS stays in its buffer, so that who
//! is on the line could put answers of their own before those of the relay.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use jiff::Timestamp;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::Ehlo;
use lettre::transport::smtp::extension::ClientId;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::options::{RelayOptions, RelayPolicy, Security};
use super::reply::reply_of;
use super::{Fault, RelaysError};

/// Bytes of a line of an answer.
const LINE_BYTES: u64 = 2_000;
/// Lines of an answer that are read before TLS.
const CLEAR_LINES: usize = 100;

/// All that is needed to reach a relay, read once.
pub(super) struct Way {
    host: String,
    port: u16,
    security: Security,
    hello: ClientId,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    login: Option<Credentials>,
}

/// An open connection, greeted, between two messages.
pub(super) struct Line {
    pub(super) smtp: AsyncSmtpConnection,
    /// Messages that were begun on it.
    pub(super) begun: u32,
    /// Whether it takes several commands at once (RFC 2920).
    pub(super) pipelines: bool,
    /// When it was last put by.
    pub(super) parked_at: Timestamp,
}

impl Way {
    pub(super) fn new(options: &RelayOptions, hello: &str) -> Result<Self, RelaysError> {
        let tls = match options.security {
            Security::Plain => None,
            Security::Starttls | Security::Tls => {
                let name = ServerName::try_from(options.host.clone());
                let name = name.map_err(|_| RelaysError::Host(options.host.clone()))?;
                Some((Arc::new(client_config(options.ca_file.as_deref())?), name))
            }
        };
        let password = match (&options.password, &options.password_file) {
            (Some(password), _) => Some(password.reveal().to_owned()),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file);
                Some(text.map_err(|source| RelaysError::File(file.clone(), source))?.trim().to_owned())
            }
            (None, None) => None,
        };
        Ok(Self {
            host: options.host.clone(),
            port: options.port(),
            security: options.security,
            hello: hello_name(hello),
            tls,
            login: options.login.clone().zip(password).map(|(login, password)| Credentials::new(login, password)),
        })
    }

    /// Connects, with TLS and login where they are wanted.
    pub(super) async fn connect(&self, policy: &RelayPolicy) -> Result<Line, Fault> {
        let all = async {
            let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|_| Fault::Unreachable)?;
            // a message is a short exchange of small packets: each waits for the one before
            tcp.set_nodelay(true).map_err(|_| Fault::Unreachable)?;
            let peer = tcp.peer_addr().map_err(|_| Fault::Unreachable)?;
            let stream: Box<dyn AsyncTokioStream> = match (&self.tls, self.security) {
                (Some(tls), Security::Tls) => Box::new(Bounded::new(handshake(tls, tcp).await?, peer, b"")),
                (Some(tls), _) => {
                    let tcp = self.ask_for_tls(tcp).await?;
                    // the relay greets once, in clear; lettre wants a greeting on what it is given
                    Box::new(Bounded::new(handshake(tls, tcp).await?, peer, b"220 secured\r\n"))
                }
                (None, _) => Box::new(Bounded::new(tcp, peer, b"")),
            };
            self.greet(stream).await
        };
        timeout(Duration::from_secs(policy.connect_s.into()), all).await.map_err(|_| Fault::Silent)?
    }

    async fn greet(&self, stream: Box<dyn AsyncTokioStream>) -> Result<Line, Fault> {
        let mut smtp = AsyncSmtpConnection::connect_with_transport(stream, &self.hello).await.map_err(greeting)?;
        // what lettre keeps of the answer does not tell of pipelining
        let answer = smtp.command(Ehlo::new(self.hello.clone())).await.map_err(greeting)?;
        let pipelines = answer.message().any(|line| line.trim().eq_ignore_ascii_case("PIPELINING"));
        if let Some(login) = &self.login {
            let accepted = smtp.auth(&[Mechanism::Plain, Mechanism::Login], login).await;
            accepted.map_err(|error| Fault::Login(reply_of(&error).map(|reply| reply.code)))?;
        }
        Ok(Line { smtp, begun: 0, pipelines, parked_at: Timestamp::UNIX_EPOCH })
    }

    /// The part before TLS, in clear: greeting, hello, STARTTLS. Nothing the relay says in it is used later.
    async fn ask_for_tls(&self, tcp: TcpStream) -> Result<TcpStream, Fault> {
        let mut line = BufReader::new(tcp);
        let greeted = answer(&mut line).await?;
        if greeted.code != 220 {
            return Err(Fault::Greeting(Some(greeted.code)));
        }
        let hello = format!("EHLO {}\r\n", self.hello);
        line.get_mut().write_all(hello.as_bytes()).await.map_err(|_| Fault::Broken)?;
        let offers = answer(&mut line).await?;
        if offers.code != 250 {
            return Err(Fault::Greeting(Some(offers.code)));
        }
        if !offers.starttls {
            return Err(Fault::NoTls);
        }
        line.get_mut().write_all(b"STARTTLS\r\n").await.map_err(|_| Fault::Broken)?;
        if answer(&mut line).await?.code != 220 {
            return Err(Fault::NoTls);
        }
        // more than was asked for: somebody else speaks
        if line.buffer().is_empty() { Ok(line.into_inner()) } else { Err(Fault::Tls) }
    }
}

fn greeting(error: lettre::transport::smtp::Error) -> Fault {
    Fault::Greeting(reply_of(&error).map(|reply| reply.code))
}

fn hello_name(hello: &str) -> ClientId {
    match hello.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => ClientId::Ipv4(address),
        Ok(std::net::IpAddr::V6(address)) => ClientId::Ipv6(address),
        Err(_) => ClientId::Domain(hello.to_owned()),
    }
}

async fn handshake(
    tls: &(Arc<ClientConfig>, ServerName<'static>),
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, Fault> {
    let (config, name) = tls;
    TlsConnector::from(config.clone()).connect(name.clone(), tcp).await.map_err(|_| Fault::Tls)
}

/// Who is trusted: the system's certificates, and those of a file.
fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, RelaysError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        let unusable = || RelaysError::Certificates(file.to_owned());
        let certificates = CertificateDer::pem_file_iter(file).map_err(|_| unusable())?;
        let before = roots.len();
        for certificate in certificates {
            roots.add(certificate.map_err(|_| unusable())?).map_err(|_| unusable())?;
        }
        if roots.len() == before {
            return Err(unusable());
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|_| RelaysError::Tls)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// An answer in clear.
struct Answer {
    code: u16,
    starttls: bool,
}

async fn answer(line: &mut BufReader<TcpStream>) -> Result<Answer, Fault> {
    let mut starttls = false;
    for _ in 0..CLEAR_LINES {
        let mut text = Vec::new();
        let read = (&mut *line).take(LINE_BYTES).read_until(b'\n', &mut text).await.map_err(|_| Fault::Broken)?;
        if read == 0 || text.last() != Some(&b'\n') {
            return Err(Fault::Broken);
        }
        // of its words only an offer is looked at, which is ASCII
        let text = String::from_utf8_lossy(&text);
        let text = text.trim_end();
        let code: u16 = text.get(..3).and_then(|code| code.parse().ok()).ok_or(Fault::Broken)?;
        let (last, rest) = match text.as_bytes().get(3) {
            None => (true, ""),
            Some(b' ') => (true, &text[4..]),
            Some(b'-') => (false, &text[4..]),
            Some(_) => return Err(Fault::Broken),
        };
        starttls |= rest.trim().eq_ignore_ascii_case("STARTTLS");
        if last {
            return Ok(Answer { code, starttls });
        }
    }
    Err(Fault::Broken)
}

/// What lettre speaks over: a stream, and what is read before it. lettre looks at the length of a line only when it has its
/// end, and drops an answer that is no UTF-8, even the one by which a message was taken. So a line without an end is an
/// error here, and what is not ASCII is read as `?`: of an answer's words nothing is used.
struct Bounded<S> {
    stream: S,
    peer: SocketAddr,
    first: &'static [u8],
    /// Bytes of the line that is being read.
    line: u64,
}

impl<S> Bounded<S> {
    fn new(stream: S, peer: SocketAddr, first: &'static [u8]) -> Self {
        Self { stream, peer, first, line: 0 }
    }
}

impl<S> fmt::Debug for Bounded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bounded({})", self.peer)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> AsyncTokioStream for Bounded<S> {
    fn peer_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let taken = self.first.len().min(into.remaining());
        if taken > 0 {
            let (now, later) = self.first.split_at(taken);
            into.put_slice(now);
            self.first = later;
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(task, into))?;
        for byte in into.filled_mut().iter_mut().skip(before) {
            self.line = if *byte == b'\n' { 0 } else { self.line + 1 };
            if self.line > LINE_BYTES {
                return Poll::Ready(Err(std::io::ErrorKind::InvalidData.into()));
            }
            if !byte.is_ascii() {
                *byte = b'?';
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}
