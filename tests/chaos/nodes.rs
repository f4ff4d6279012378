//! A node that serves and two that work, on one database: one of them is killed again and again, one stands still for
//! longer than its leases and goes on as if nothing had been, and one has a clock that is an hour off.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;

use super::installation::{Installation, faketime, until};
use super::load::{Load, Most};
use super::others::Others;
use super::{checks, figure, seed};
use crate::support::{On, block_on};

/// How long each node goes on so; `make chaos` has longer.
const SECONDS: u64 = 15;

/// Which of the three nodes it is that is killed, that stands still, and whose clock is wrong. The first one serves.
struct Roles {
    killed: usize,
    still: usize,
    wrong: usize,
    /// How wrong, as faketime has it.
    by: &'static str,
}

async fn three_nodes(roles: Roles) {
    let seconds = figure("CHAOS_SECONDS", SECONDS);
    let of = format!("three nodes, {} wrong", roles.by);
    let seed = seed(&of);
    let began = Instant::now();
    let claims = 200 + 5 * usize::try_from(seconds).unwrap();
    let to = Installation::new(On::Postgres, claims).await;
    let mut nodes = [to.serve(), to.work("work-1"), to.work("work-2")];
    let wrong = &mut nodes[roles.wrong];
    let library = faketime().display().to_string();
    for (name, value) in
        [("LD_PRELOAD", library.as_str()), ("FAKETIME", roles.by), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]
    {
        wrong.more.insert(name.to_owned(), value.to_owned());
    }
    let mut servers = Vec::new();
    for node in &nodes {
        servers.push(Some(to.start(node).await));
    }
    let most = Most { submissions: claims, documents: usize::MAX, letters: usize::MAX };
    let load = Load::new(to.site.client().await, to.site.url(), seed, most);
    let others = Others::default();
    let mut chance = StdRng::seed_from_u64(seed);
    let loaded = Instant::now();
    let (lives, pauses) = {
        let mut killed = servers[roles.killed].take();
        let mut lives = 0;
        let killer = async {
            let mut chance = StdRng::seed_from_u64(seed ^ 1);
            while loaded.elapsed().as_secs() < seconds {
                tokio::time::sleep(Duration::from_millis(chance.random_range(200..4_000))).await;
                if let Some(server) = killed.take() {
                    server.kill().await;
                }
                lives += 1;
                let mut server = to.spawn(&nodes[roles.killed]);
                server.until_logged(until(&nodes[roles.killed])).await;
                killed = Some(server);
            }
        };
        let still = servers[roles.still].as_ref().unwrap();
        let mut pauses = 0;
        let stiller = async {
            while loaded.elapsed().as_secs() < seconds {
                tokio::time::sleep(Duration::from_millis(chance.random_range(200..2_000))).await;
                still.signal(Signal::STOP);
                // leases of work run for three seconds here, those of mails for thirty
                let mails = pauses == 0 && seconds > 2 * SECONDS;
                let range = if mails { 31_000..36_000 } else { 3_500..6_000 };
                tokio::time::sleep(Duration::from_millis(chance.random_range(range))).await;
                still.signal(Signal::CONT);
                pauses += 1;
            }
        };
        let ender = async {
            tokio::join!(killer, stiller);
            load.over.store(true, Ordering::Relaxed);
        };
        let working = async { tokio::join!(load.send(4, 5), ender) };
        tokio::select! {
            _ = working => {}
            () = others.go_on(&to, &load) => unreachable!("they go on"),
        }
        servers[roles.killed] = killed;
        (lives, pauses)
    };
    let sent_again = checks::quiet(&to, &load, &others, Duration::from_secs(200)).await;
    for server in servers.into_iter().flatten() {
        let (status, log) = server.terminate().await;
        assert!(status.success(), "{status}, {log}");
    }
    checks::all(&to, &load, &others, &sent_again).await;
    eprintln!(
        "{of}: {lives} kills, {pauses} pauses, {}, {} in {:.0} s",
        load.told(),
        others.told(),
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn a_node_that_is_killed_one_that_stood_still_and_one_that_is_an_hour_ahead_do_nothing_twice() {
    block_on(three_nodes(Roles { killed: 1, still: 0, wrong: 2, by: "+1h" }));
}

#[test]
fn a_node_that_is_killed_one_that_stood_still_and_one_that_is_an_hour_behind_do_nothing_twice() {
    block_on(three_nodes(Roles { killed: 0, still: 1, wrong: 2, by: "-1h" }));
}
