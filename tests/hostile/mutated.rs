//! Good files with a few bytes changed: whatever is found, nothing in this process panics.

use lettercase::intake::extract::Container;
use lettercase::intake::extract::child::inspect_into;
use lettercase::intake::sniff::look;
use lettercase::intake::sniff::source::Source;
use lettercase::model::judgement::FileType;
use proptest::prelude::*;

use super::build::noise;
use super::{file, good, judge, shipped};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn looking_at_a_mutated_file_never_panics(
        which in 0_usize..12,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (name, mut bytes, _) = good::files().swap_remove(which);
        for (place, value) in changes {
            // Headers and trailers are where it hurts: every second change goes to one of them.
            let at = if value % 2 == 0 { place.index(64.min(bytes.len())) } else { place.index(bytes.len()) };
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let file = file(&bytes);
        let source = Source::new(&file, bytes.len() as u64);
        let policy = shipped().sniff;
        let _verdict = look(&source, FileType::from_file_name(name), &policy);
        // Our own readers of the child, beside the libraries they use, have no panic either.
        let scratch = tempfile::tempfile().unwrap();
        for container in [Container::Ooxml, Container::Ole] {
            let _inspection = inspect_into(source, container, &policy, &scratch);
        }
    }
}

#[tokio::test]
async fn a_mutated_file_is_judged_and_never_taken_for_a_fault_of_ours() {
    let places = noise(400);
    let mut random = places.iter().cycle().enumerate().map(|(turn, byte)| turn * 31 + usize::from(*byte));
    for (name, good, _) in good::files() {
        for _ in 0..6 {
            let mut bytes = good.clone();
            for _ in 0..4 {
                let at = random.next().unwrap_or(1) * 251 % bytes.len();
                bytes[at] ^= 0x15;
            }
            // `judge` ends the test where the judgement is an error.
            judge(name, &bytes).await;
        }
    }
}
