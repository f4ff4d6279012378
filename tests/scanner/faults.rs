//! Faults of the wire. The stand-in passes everything on to a real clamd until its fault is switched on, so
//! the scanner under test is one that was fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lettercase::outside::scanner::{Freshness, ScanPolicy, Scanner, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::support::{Foreign, SOUND, file_of, now, policy, scan};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Takes everything, then answers this and closes.
    Says(&'static [u8]),
    /// Answers this after the first bytes and closes with the rest unread.
    SaysEarly(&'static [u8]),
    /// Takes everything and never answers.
    Silent,
    /// Takes nothing after the command.
    Stalls,
}

struct Standin {
    port: u16,
    fault: Arc<std::sync::Mutex<Fault>>,
    scans: Arc<AtomicUsize>,
}

impl Standin {
    async fn before(clamd: &Foreign) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fault = Arc::new(std::sync::Mutex::new(Fault::None));
        let scans = Arc::new(AtomicUsize::new(0));
        let (told, count, behind) = (fault.clone(), scans.clone(), clamd.tcp().to_string());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (told, count, behind) = (told.clone(), count.clone(), behind.clone());
                tokio::spawn(async move { serve(client, &told, &count, &behind).await });
            }
        });
        Self { port, fault, scans }
    }

    fn breaks(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

async fn serve(
    mut client: TcpStream,
    fault: &std::sync::Mutex<Fault>,
    scans: &AtomicUsize,
    behind: &str,
) -> Option<()> {
    let mut command = vec![0; 2];
    client.read_exact(&mut command).await.ok()?;
    let fault = *fault.lock().unwrap();
    // zI(NSTREAM): PING and VERSION always get through.
    if command == b"zI" && fault != Fault::None {
        scans.fetch_add(1, Ordering::Relaxed);
        match fault {
            Fault::None => {}
            Fault::Says(answer) => {
                take_stream(&mut client).await?;
                client.write_all(answer).await.ok()?;
            }
            Fault::SaysEarly(answer) => {
                let mut some = [0; 1000];
                client.read_exact(&mut some).await.ok()?;
                client.write_all(answer).await.ok()?;
            }
            Fault::Silent => {
                take_stream(&mut client).await?;
                std::future::pending::<()>().await;
            }
            Fault::Stalls => std::future::pending().await,
        }
        return Some(());
    }
    let mut server = TcpStream::connect(behind.strip_prefix("tcp:")?).await.ok()?;
    server.write_all(&command).await.ok()?;
    copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}

async fn take_stream(client: &mut TcpStream) -> Option<()> {
    let mut rest = [0; 8];
    client.read_exact(&mut rest).await.ok()?;
    loop {
        let size = client.read_u32().await.ok()?;
        if size == 0 {
            return Some(());
        }
        let mut frame = vec![0; size as usize];
        client.read_exact(&mut frame).await.ok()?;
    }
}

async fn not_run(fault: Fault, policy: ScanPolicy, bytes: &[u8]) -> String {
    let clamd = Foreign::start(SOUND).await;
    let standin = Standin::before(&clamd).await;
    let endpoint = format!("tcp:127.0.0.1:{}", standin.port).parse().unwrap();
    let scanner = Scanner::pool(vec![endpoint], policy, Freshness::TestSignaturesAllowed).unwrap();
    scanner.ready(now()).await.unwrap();
    standin.breaks(fault);
    let scanned = scanner.scan(now(), file_of(bytes), 0, bytes.len() as u64).await;
    assert_eq!(standin.scans.load(Ordering::Relaxed), 1, "the fault was met once");
    assert!(scanned.by.is_some());
    standin.breaks(Fault::None);
    // A fault of the wire is no fault of the scanner: it is checked, and serves again.
    assert_eq!(scan(&scanner, b"nothing is wrong here").await.verdict, Verdict::Clean);
    match scanned.verdict {
        Verdict::NotRun { why } => why,
        verdict => panic!("{fault:?} gave {verdict:?}"),
    }
}

fn believed() -> ScanPolicy {
    ScanPolicy { canary_interval_s: 3600, ..policy() }
}

#[tokio::test]
async fn an_answer_that_is_not_exactly_one_is_no_verdict() {
    let table: &[(&[u8], &str)] = &[
        (b"", "without an answer"),
        (b"stream: O", "breaks off"),
        (b"stream: OK", "breaks off"),
        (b"stream: OK\0stream: OK\0", "more than one"),
        (b"stream: OK\0trailing", "breaks off"),
        (b"fd[9]: OK\0", "none of the known"),
        (b"UNKNOWN COMMAND\0", "does not know"),
        (b"stream: Can't write to file ERROR\0", "Can't write to file"),
    ];
    for (answer, expected) in table {
        let why = not_run(Fault::Says(answer), believed(), b"nothing is wrong here").await;
        assert!(why.contains(expected), "{}: {why}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_bytes_is_no_verdict() {
    let large = vec![b'x'; 4 << 20];
    for early in [&b"INSTREAM size limit exceeded. ERROR\0"[..], b"stream: OK\0", b"stream: X FOUND\0"] {
        not_run(Fault::SaysEarly(early), believed(), &large).await;
    }
}

#[tokio::test]
async fn a_real_clamd_with_a_smaller_limit_runs_no_scan_of_more() {
    let clamd = Foreign::start(SOUND).await;
    let scanner = Scanner::pool(
        vec![clamd.tcp()],
        ScanPolicy { max_file_bytes: 4 << 20, ..believed() },
        Freshness::TestSignaturesAllowed,
    )
    .unwrap();
    scanner.ready(now()).await.unwrap();
    let small = Foreign::start(&["AlertExceedsMax yes", "AlertEncrypted yes", "StreamMaxLength 1M"]).await;
    let scanner_small = Scanner::pool(vec![small.tcp()], believed(), Freshness::TestSignaturesAllowed).unwrap();
    scanner_small.ready(now()).await.unwrap();
    let verdict = scan(&scanner_small, &vec![b'x'; 3 << 20]).await.verdict;
    assert!(matches!(&verdict, Verdict::NotRun { .. }), "{verdict:?}");
}

#[tokio::test]
async fn a_scanner_that_does_not_answer_meets_its_deadline() {
    let policy = ScanPolicy { timeout_s: 3, write_timeout_ms: 500, connect_timeout_ms: 1000, ..believed() };
    let why = not_run(Fault::Silent, policy.clone(), b"nothing is wrong here").await;
    assert!(why.contains("within 3 s"), "{why}");
    let why = not_run(Fault::Stalls, policy, &vec![b'x'; 4 << 20]).await;
    assert!(why.contains("within"), "{why}");
}
