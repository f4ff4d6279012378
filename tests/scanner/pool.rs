use std::collections::BTreeMap;

use lettercase::intake::plan::IntakePlan;
use lettercase::outside::scanner::{Endpoint, Freshness, ScanPolicy, Scanner, Verdict, judging};

use super::support::{Foreign, SOUND, eicar, is_infected, now, policy, scan, until};

fn pool(endpoints: Vec<Endpoint>) -> Scanner {
    Scanner::pool(endpoints, policy(), Freshness::TestSignaturesAllowed).unwrap()
}

#[tokio::test]
async fn a_foreign_clamd_serves_over_tcp_and_unix() {
    let clamd = Foreign::start(SOUND).await;
    for endpoint in [clamd.tcp(), clamd.unix()] {
        let scanner = pool(vec![endpoint]);
        let version = scanner.ready(now()).await.unwrap();
        assert_eq!((version.signatures.as_str(), version.test_signatures_only), ("undated", true));
        assert_eq!(scan(&scanner, b"nothing is wrong here").await.verdict, Verdict::Clean);
        assert!(is_infected(&scan(&scanner, &eicar()).await.verdict));
        let mut large = b"a line of a long letter\n".repeat(150_000);
        assert_eq!(scan(&scanner, &large).await.verdict, Verdict::Clean);
        large.extend(eicar());
        assert!(is_infected(&scan(&scanner, &large).await.verdict));
    }
}

#[tokio::test]
async fn a_clamd_that_fails_a_canary_is_not_used() {
    for (without, instead, canary) in [
        ("AlertExceedsMax yes", "AlertExceedsMax no", "deep-archive"),
        ("AlertEncrypted yes", "AlertEncrypted no", "encrypted-zip"),
        ("MaxFileSize 4M", "MaxFileSize 2M", "member-at-limit"),
    ] {
        let mut lines = SOUND.to_vec();
        lines.retain(|line| *line != without);
        lines.push(instead);
        let clamd = Foreign::start(&lines).await;
        let scanner = pool(vec![clamd.unix()]);
        let why = scanner.ready(now()).await.unwrap_err().why;
        assert!(why.contains(canary) && why.contains(&without[..11]), "{why}");
        let scanned = scan(&scanner, b"nothing is wrong here").await;
        assert!(matches!(scanned.verdict, Verdict::NotRun { .. }) && scanned.by.is_none(), "{scanned:?}");
    }
}

#[tokio::test]
async fn a_clamd_that_knows_eicar_only_by_hash_passes_the_canaries() {
    for lines in [SOUND, &["AlertExceedsMax yes", "AlertEncrypted yes"]] {
        let clamd = Foreign::with_hash_only(lines).await;
        pool(vec![clamd.unix()]).ready(now()).await.unwrap();
    }
}

#[tokio::test]
async fn a_clamd_with_larger_limits_than_ours_will_do() {
    let clamd = Foreign::start(&["AlertExceedsMax yes", "AlertEncrypted yes"]).await;
    pool(vec![clamd.tcp()]).ready(now()).await.unwrap();
}

#[tokio::test]
async fn an_endpoint_that_fails_is_set_aside_and_taken_back() {
    let (mut first, second) = (Foreign::start(SOUND).await, Foreign::start(SOUND).await);
    let scanner = pool(vec![first.tcp(), second.unix()]);
    scanner.ready(now()).await.unwrap();
    first.kill();
    for _ in 0..6 {
        assert_eq!(scan(&scanner, b"nothing is wrong here").await.verdict, Verdict::Clean);
    }
    scanner.ready(now()).await.unwrap();

    let alone = pool(vec![first.tcp()]);
    let why = alone.ready(now()).await.unwrap_err().why;
    assert!(why.contains("tcp:127.0.0.1"), "{why}");
    let scanned = scan(&alone, b"nothing is wrong here").await;
    assert!(matches!(scanned.verdict, Verdict::NotRun { .. }), "{scanned:?}");
}

#[tokio::test]
async fn an_endpoint_that_comes_up_late_is_found() {
    let spare = Foreign::start(SOUND).await;
    let path = spare.directory.path().join("late");
    let scanner = pool(vec![format!("unix:{}", path.display()).parse().unwrap()]);
    assert!(scanner.ready(now()).await.is_err());
    std::os::unix::fs::symlink(spare.directory.path().join("s"), &path).unwrap();
    until("it is found", async || scanner.ready(now()).await.ok()).await;
}

#[test]
fn a_pool_of_nothing_or_by_a_broken_policy_is_refused() {
    assert!(Scanner::pool(vec![], policy(), Freshness::Required).is_err());
    let broken = ScanPolicy { timeout_s: 0, ..policy() };
    assert!(Scanner::pool(vec!["tcp:localhost:3310".parse().unwrap()], broken, Freshness::Required).is_err());
}

/// The lines of the file that containers are given, but for where they listen and what they load.
fn shipped() -> Vec<(&'static str, &'static str)> {
    let theirs = ["Foreground", "User", "LocalSocket", "TCPSocket", "DatabaseDirectory", "TemporaryDirectory"];
    let lines = include_str!("../../docker/clamd.conf").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).filter(|(name, _)| !theirs.contains(name)).collect()
}

#[test]
fn the_configuration_that_is_shipped_has_the_limits_of_the_plan_that_is_shipped() {
    let policy = IntakePlan::load(None).unwrap().plan.scan;
    let shipped: BTreeMap<&str, &str> = shipped().into_iter().collect();
    for (name, value) in judging(&policy) {
        assert_eq!(shipped.get(name).copied(), Some(value.as_str()), "{name}");
    }
}

#[tokio::test]
async fn a_clamd_by_the_configuration_that_is_shipped_is_fit_and_one_as_clamav_ships_it_is_not() {
    let lines: Vec<String> = shipped().into_iter().map(|(name, value)| format!("{name} {value}")).collect();
    let policy = IntakePlan::load(None).unwrap().plan.scan;
    let asked = async |lines: &[&str]| {
        let clamd = Foreign::start(lines).await;
        let scanner = Scanner::pool(vec![clamd.tcp()], policy.clone(), Freshness::TestSignaturesAllowed).unwrap();
        scanner.ready(now()).await.map(|_| ()).map_err(|not_ready| not_ready.why)
    };
    assert_eq!(asked(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await, Ok(()));
    assert!(asked(&[]).await.is_err());
}
