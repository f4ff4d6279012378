//! A document is streamed: its size does not show in the memory of the process that stores or fetches it.

use lettercase::model::ids::Sha256;

use super::child::{self, given};
use super::world::{S3s, Sample, incoming, open, s3_options};

const SIZE: usize = 64 * 1024 * 1024;
/// What a process may grow by while it moves the largest document there and back.
const GROWTH_MAX_KB: u64 = 12 * 1024;
const ADDRESS: &str = "LETTERCASE_TEST_S3";
const FILE: &str = "LETTERCASE_TEST_FILE";
const SHA256: &str = "LETTERCASE_TEST_SHA256";

#[tokio::test]
async fn the_largest_document_passes_through_little_memory() {
    let server = S3s::start().await;
    let sample = Sample::of(SIZE);
    // A process of its own: the server and the sample are in this one's memory.
    let out = child::run(
        "memory::child_moves_a_document",
        &[
            (ADDRESS, &server.address.to_string()),
            (FILE, sample.path.to_str().unwrap()),
            (SHA256, sample.sha256.as_str()),
        ],
    )
    .await;
    let grown = out.lines().find_map(|line| line.split_once("grown by kB: ")).unwrap().1;
    assert!(grown.trim().parse::<u64>().unwrap() < GROWTH_MAX_KB, "{grown} kB");
}

/// Run by the test above in a process of its own.
#[tokio::test]
#[ignore = "a part of the_largest_document_passes_through_little_memory, which runs it"]
async fn child_moves_a_document() {
    let store = open(s3_options(given(ADDRESS).parse().unwrap())).await.unwrap();
    let (path, sha256) = (given(FILE), given(SHA256).parse::<Sha256>().unwrap());
    let dir = tempfile::tempdir().unwrap();
    // What the client needs once shall not count.
    let (small, key) = (Sample::of(1000), incoming());
    small.put(store.as_ref(), &key).await;
    store.fetch(&key, None, &dir.path().join("small"), None).await.unwrap();

    let before = peak_kb();
    let key = incoming();
    store.put_file(&key, path.as_ref(), SIZE as u64, &sha256).await.unwrap();
    store.fetch(&key, None, &dir.path().join("large"), Some(&sha256)).await.unwrap();
    println!("grown by kB: {}", peak_kb() - before);
}

/// The highest resident size so far, in kB.
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
