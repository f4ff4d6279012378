//! The set-up of `docker/compose.scale.yaml` without containers: one node serves and two work, on PostgreSQL, an object
//! store that speaks S3, and two clamds, while each of the nodes is killed now and then.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lettercase::outside::scanner::{Freshness, ManagedOptions, Scanner};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::installation::Installation;
use super::load::{Load, Most};
use super::others::Others;
use super::{checks, figure, seed};
use crate::objects::world::{KEY, KEY_ID, S3s};
use crate::support::{On, block_on, clamd_socket, plan, program};

/// Documents, and as many letters; `make chaos` has 2,000.
const DOCUMENTS: u64 = 60;

/// A second clamd, and where it listens.
async fn another_clamd() -> (Scanner, PathBuf) {
    let options = ManagedOptions {
        clamd: Some(program("clamd")),
        signature_directories: Vec::new(),
        ..ManagedOptions::default()
    };
    let scanner = Scanner::start_managed(&options, plan().scan, Freshness::TestSignaturesAllowed).await.unwrap();
    let socket = scanner.managed_socket().unwrap();
    (scanner, socket)
}

async fn pushed_through() {
    let wanted = usize::try_from(figure("CHAOS_DOCUMENTS", DOCUMENTS)).unwrap();
    let of = format!("{wanted} documents and letters over three nodes");
    let seed = seed(&of);
    let store = S3s::start().await;
    for bucket in ["lc-incoming", "lc-content", "lc-quarantine", "lc-audit"] {
        std::fs::create_dir(store.root.path().join(bucket)).unwrap();
    }
    let mut to = Installation::new(On::Postgres, wanted).await;
    let objects = format!(
        "{{ kind = \"s3\", endpoint_url = \"http://{}\", region = \"us-east-1\", path_style = true, encryption = \"none\",
            credentials = {{ keys = {{ access_key_id = \"{KEY_ID}\", secret_access_key = \"{KEY}\" }} }},
            buckets = {{ each = {{ incoming = \"lc-incoming\", content = \"lc-content\", quarantine = \"lc-quarantine\",
                                   audit = \"lc-audit\" }} }} }}",
        store.address
    )
    .replace('\n', " ");
    let (_clamd, socket) = another_clamd().await;
    let scanners =
        format!("{{ endpoints = [\"unix:{}\", \"unix:{}\"] }}", clamd_socket().await.display(), socket.display());
    for (name, value) in [("LETTERCASE_OBJECTS", objects), ("LETTERCASE_SCANNER__RUN_BY", scanners)] {
        to.site.environment.insert(name.to_owned(), value);
    }
    let nodes = [to.serve(), to.work("work-1"), to.work("work-2")];
    let mut servers = Vec::new();
    for node in &nodes {
        servers.push(to.start(node).await);
    }
    let most = Most { submissions: wanted, documents: wanted, letters: wanted };
    let load = Load::new(to.site.client().await, to.site.url(), seed, most);
    let others = Others::default();
    let began = Instant::now();
    let mut kills = 0;
    let killer = async {
        let mut chance = StdRng::seed_from_u64(seed);
        while !load.over.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(chance.random_range(1_000..6_000))).await;
            let one = chance.random_range(0..nodes.len());
            let again = to.spawn_after(servers.remove(one), &nodes[one]).await;
            servers.insert(one, again);
            kills += 1;
        }
    };
    let sender = async {
        load.send(6, 8).await;
        load.over.store(true, Ordering::Relaxed);
    };
    let working = async { tokio::join!(sender, killer) };
    tokio::select! {
        _ = working => {}
        () = others.go_on(&to, &load) => unreachable!("they go on"),
    }
    let took = began.elapsed().as_secs_f64();
    // what is to be faxed waits longest: a debug build takes a second to make a fax of a letter
    let patience = Duration::from_secs(300 + wanted as u64 / 2);
    let sent_again = checks::quiet(&to, &load, &others, patience).await;
    for server in servers {
        let (status, log) = server.terminate().await;
        assert!(status.success(), "{status}, {log}");
    }
    checks::all(&to, &load, &others, &sent_again).await;
    let (documents, letters) = (load.documents.lock().unwrap().len(), load.letters.lock().unwrap().len());
    assert!(documents >= wanted && letters == wanted, "{documents} documents, {letters} letters");
    eprintln!("{of}: {kills} kills, {}, {} in {took:.0} s", load.told(), others.told());
}

#[test]
fn several_nodes_bring_everything_to_its_end_while_each_of_them_is_killed_now_and_then() {
    block_on(pushed_through());
}
