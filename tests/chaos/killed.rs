//! kill -9 again and again: while a node starts, right after, and after some while.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::installation::{Installation, until};
use super::load::{Load, Most};
use super::others::Others;
use super::{checks, figure, seed};
use crate::support::{On, block_on};

/// Kills on each database within the suite; `make chaos` has a thousand on both.
const KILLS: u64 = 25;

/// How long a node lives.
enum Life {
    /// So long since it was started, ready or not.
    Started(Duration),
    /// So long since it was ready.
    Ready(Duration),
}

impl Life {
    /// Of twenty lives, three end while the node starts and two are long enough for leases to run out.
    fn of(chance: &mut StdRng) -> Self {
        match chance.random_range(0..20) {
            0..3 => Self::Started(Duration::from_millis(chance.random_range(0..1_500))),
            3..5 => Self::Ready(Duration::from_millis(chance.random_range(1_500..5_000))),
            _ => Self::Ready(Duration::from_millis(chance.random_range(0..1_500))),
        }
    }
}

async fn killed(on: On) {
    let kills = figure("CHAOS_KILLS", KILLS);
    let of = format!("{kills} kills on {on:?}");
    let seed = seed(&of);
    let began = Instant::now();
    // more than can be sent meanwhile
    let claims = 100 + 4 * usize::try_from(kills).unwrap();
    let to = Installation::new(on, claims).await;
    let most = Most { submissions: claims, documents: usize::MAX, letters: usize::MAX };
    let load = Load::new(to.site.client().await, to.site.url(), seed, most);
    let others = Others::default();
    let node = to.serve();
    let killer = async {
        let mut chance = StdRng::seed_from_u64(seed);
        for n in 1..=kills {
            let mut server = to.spawn(&node);
            match Life::of(&mut chance) {
                Life::Started(life) => tokio::time::sleep(life).await,
                Life::Ready(life) => {
                    server.until_logged(until(&node)).await;
                    tokio::time::sleep(life).await;
                }
            }
            server.kill().await;
            if n.is_multiple_of(25) {
                eprintln!("{of}: {n} after {:.0} s", began.elapsed().as_secs_f64());
            }
        }
        load.over.store(true, Ordering::Relaxed);
        to.start(&node).await
    };
    let working = async { tokio::join!(load.send(3, 4), killer).1 };
    let server = tokio::select! {
        server = working => server,
        () = others.go_on(&to, &load) => unreachable!("they go on"),
    };
    let sent_again = checks::quiet(&to, &load, &others, Duration::from_secs(300)).await;
    let (status, log) = server.terminate().await;
    assert!(status.success(), "{status}, {log}");
    checks::all(&to, &load, &others, &sent_again).await;
    eprintln!("{of}: {}, {} in {:.0} s", load.told(), others.told(), began.elapsed().as_secs_f64());
}

mod int_10_whatever_is_killed_and_when_nothing_is_lost_and_nothing_takes_effect_twice {
    use super::*;
    #[test]
    fn sqlite() {
        block_on(killed(On::Sqlite));
    }
    #[test]
    fn postgres() {
        block_on(killed(On::Postgres));
    }
}
