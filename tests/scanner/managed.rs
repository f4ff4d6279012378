use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::SignedDuration;
use lettercase::outside::scanner::{Freshness, ManagedOptions, Scanner, ScannerError, Verdict};
use sha2::{Digest, Sha256};

use super::support::{World, alive, clamd, file_of, is_infected, now, policy, scan, testfiles, until};

#[tokio::test]
async fn a_managed_scanner_tells_clean_infected_and_unscannable_apart() {
    let world = World::new();
    let scanner = world.start().await;
    let version = scanner.ready(now()).await.unwrap();
    assert!(version.engine.starts_with("ClamAV "), "{version:?}");
    assert_eq!((version.signatures.as_str(), version.test_signatures_only), ("test-1", true));

    let clean = scan(&scanner, b"A letter in which nothing is wrong.").await;
    assert_eq!(clean.verdict, Verdict::Clean);
    assert_eq!(clean.by, Some(version));

    let mut letter = b"Dear plan, ".repeat(40_000);
    letter.extend(super::support::eicar());
    letter.extend(b" and so on");
    assert!(is_infected(&scan(&scanner, &letter).await.verdict));

    let large = vec![b'x'; (4 << 20) + 1];
    assert!(matches!(scan(&scanner, &large).await.verdict, Verdict::Unscannable { .. }));
    assert_eq!(scan(&scanner, &large[..4 << 20]).await.verdict, Verdict::Clean, "exactly at the limit");
    scanner.shutdown().await;
}

#[tokio::test]
async fn a_part_of_a_file_is_scanned_by_itself() {
    let world = World::new();
    let scanner = world.start().await;
    let good = b"the first of two attachments, and a good one".repeat(20_000);
    let bytes = [good.clone(), super::support::eicar()].concat();
    let (first, whole) = (good.len() as u64, bytes.len() as u64);
    let file = file_of(&bytes);
    let part = async |offset, len| scanner.scan(now(), file.try_clone().unwrap(), offset, len).await.verdict;
    assert_eq!(part(0, first).await, Verdict::Clean);
    assert!(is_infected(&part(first, whole - first).await));
    assert!(is_infected(&part(0, whole).await));
    // Said to be longer than it is: that is no scan.
    assert!(matches!(part(0, whole + 1).await, Verdict::NotRun { .. }));
    scanner.shutdown().await;
}

#[tokio::test]
async fn test_signatures_alone_are_fresh_only_where_they_are_allowed() {
    let world = World::new();
    let scanner = world.start_fresh(Freshness::Required).await;
    let why = scanner.ready(now()).await.unwrap_err().why;
    assert!(why.contains("only test signatures") && why.contains("freshclam"), "{why}");
    let scanned = scan(&scanner, b"nothing is wrong here").await;
    assert!(matches!(scanned.verdict, Verdict::NotRun { .. }) && scanned.by.is_none(), "{scanned:?}");
    scanner.shutdown().await;
}

#[tokio::test]
async fn new_signatures_are_loaded_while_it_runs_and_find_debians_samples() {
    let world = World::new();
    let scanner = world.start().await;
    let program = fs::read(testfiles().join("clam.exe")).unwrap();
    assert_eq!(scan(&scanner, &program).await.verdict, Verdict::Clean);

    let hash = hex::encode(Sha256::digest(&program));
    let text = format!("{hash}:{}:Test.Program\n", program.len());
    let site = world.system.path().join("site.hsb");
    fs::write(&site, text).unwrap();
    // Local signatures are as old as their file, and the test's day is not the machine's.
    let file = fs::File::options().write(true).open(&site).unwrap();
    file.set_modified(now().into()).unwrap();
    let version = until("the new signatures are loaded", async || {
        scanner.ready(now()).await.ok().filter(|version| version.signatures.starts_with("local-"))
    })
    .await;
    assert!(!version.test_signatures_only);

    let mut missed = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(testfiles()).unwrap() {
        let path = entry.unwrap().path();
        let verdict = scan(&scanner, &fs::read(&path).unwrap()).await.verdict;
        count += 1;
        if !is_infected(&verdict) {
            missed.push((path.file_name().unwrap().to_owned(), verdict));
        }
    }
    assert!(count >= 40, "only {count} samples");
    assert!(missed.is_empty(), "{missed:?}");

    let why = scanner.ready(now() + SignedDuration::from_hours(73)).await.unwrap_err().why;
    assert!(why.contains("73 hours old"), "{why}");
    scanner.shutdown().await;
}

#[tokio::test]
async fn a_clamd_that_is_killed_is_started_again() {
    let world = World::new();
    let scanner = world.start().await;
    scanner.ready(now()).await.unwrap();
    let first = scanner.managed_pid().unwrap();
    kill(first);
    let second = until("another clamd runs", async || scanner.managed_pid().filter(|pid| *pid != first)).await;
    until("it is ready again", async || scanner.ready(now()).await.ok()).await;
    assert_eq!(scan(&scanner, b"nothing is wrong here").await.verdict, Verdict::Clean);
    scanner.shutdown().await;
    assert!(!alive(second));
    assert_eq!(fs::read_dir(world.runs.path()).unwrap().count(), 0, "a run directory is left");
}

#[tokio::test]
async fn dropping_the_last_clone_ends_clamd() {
    let world = World::new();
    let scanner = world.start().await;
    let pid = scanner.managed_pid().unwrap();
    let clone = scanner.clone();
    drop(scanner);
    assert!(alive(pid));
    drop(clone);
    until("clamd is gone", async || (!alive(pid)).then_some(())).await;
}

#[tokio::test]
async fn what_keeps_clamd_from_starting_is_told() {
    let world = World::new();
    let missing = ManagedOptions { clamd: None, search: vec![world.system.path().to_owned()], ..world.options() };
    let error = Scanner::start_managed(&missing, policy(), Freshness::Required).await.unwrap_err();
    assert!(matches!(error, ScannerError::ClamdNotFound { .. }), "{error}");

    fs::write(world.system.path().join("broken.ndb"), "this is no signature\n").unwrap();
    let error = world_start_error(&world).await;
    assert!(error.contains("broken.ndb") || error.contains("alformed"), "{error}");
}

async fn world_start_error(world: &World) -> String {
    let started = Scanner::start_managed(&world.options(), policy(), Freshness::TestSignaturesAllowed).await;
    started.unwrap_err().to_string()
}

/// Not a test by itself: what [`clamd_dies_with_us_even_on_kill_9`] starts as another process.
#[tokio::test]
async fn helper_process_that_holds_a_scanner() {
    let Some(runs) = std::env::var_os("LETTERCASE_TEST_RUNS") else { return };
    // Nothing of its own that a kill would leave behind.
    let options = ManagedOptions {
        clamd: Some(clamd()),
        run_parent: runs.into(),
        signature_directories: vec![],
        ..ManagedOptions::default()
    };
    let scanner = Scanner::start_managed(&options, policy(), Freshness::TestSignaturesAllowed).await.unwrap();
    println!("\nclamd={}", scanner.managed_pid().unwrap());
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn clamd_dies_with_us_even_on_kill_9() {
    let world = World::new();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "scanner::managed::helper_process_that_holds_a_scanner", "--nocapture"])
        .env("LETTERCASE_TEST_RUNS", world.runs.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let pid: u32 =
        lines.map_while(Result::ok).find_map(|line| line.strip_prefix("clamd=")?.parse().ok()).expect("a clamd's pid");
    assert!(alive(pid));
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("clamd is gone", async || (!alive(pid)).then_some(())).await;

    // The next start clears what the killed one left, and a clamd of it that lives on against all odds.
    let left = fs::read_dir(world.runs.path()).unwrap().next().expect("the run directory").unwrap().path();
    let mut orphan = Command::new(clamd())
        .arg("--foreground")
        .arg(format!("--config-file={}", left.join("clamd.conf").display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    fs::write(left.join("clamd.pid"), orphan.id().to_string()).unwrap();
    let scanner = world.start().await;
    until("the orphan is ended", async || orphan.try_wait().unwrap()).await;
    assert!(!left.exists());
    scanner.shutdown().await;
}

#[tokio::test]
async fn the_start_leaves_other_processes_and_living_owners_alone() {
    let world = World::new();
    let first = world.start().await;
    let left = world.runs.path().join("lettercase-clamd-old");
    fs::create_dir(&left).unwrap();
    let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
    for (name, text) in [("owner.lock", ""), ("clamd.conf", ""), ("clamd.pid", &stranger.id().to_string())] {
        fs::write(left.join(name), text).unwrap();
    }
    let second = world.start().await;
    assert!(!left.exists(), "what is left is cleared");
    assert!(stranger.try_wait().unwrap().is_none(), "a process that only has the id by chance lives");
    assert!(alive(first.managed_pid().unwrap()), "a scanner whose owner lives is left alone");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    first.shutdown().await;
    second.shutdown().await;
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
