//! Which letters share an envelope.

use std::collections::BTreeMap;

use jiff::civil::{Date, date};
use lettercase::letters::fields::{Line, Some1, State, Zip};
use lettercase::letters::head::{Addressee, ReaderKind};
use lettercase::model::ids::LetterId;
use lettercase::model::letter::LetterType;
use lettercase::model::phi::Phi;
use lettercase::paper::production::pack::{Packing, To, Waiting, normalized, pack};
use lettercase::paper::production::plan::ProductionPolicy;
use proptest::prelude::*;

use super::{policy, sheaf};

pub(super) fn address(name: &str, street: &str, zip: &str) -> Addressee {
    Addressee {
        kind: ReaderKind::Practice,
        name: Line::from(name),
        attention: None,
        lines: Some1(vec![Line::from(street)]),
        city: Line::from("Ellery"),
        state: State("OH".into()),
        zip: Zip(Phi(zip.into())),
    }
}

fn tin(n: u32) -> To {
    To::Tin(format!("99{n:07}").parse().unwrap())
}

fn waiting(n: u32, to: To, address: Addressee, day: Date, pages: u32) -> Waiting {
    Waiting {
        brand: "meridian".parse().unwrap(),
        to,
        address,
        day,
        letter_type: LetterType::ClaimDenied,
        letter: sheaf(n, pages, &n.to_be_bytes()),
    }
}

/// Letters of each envelope by their numbers.
fn numbers(packing: &Packing) -> Vec<Vec<u32>> {
    let number = |id: &LetterId| id.as_str()[24..].parse().unwrap();
    packing.envelopes.iter().map(|envelope| envelope.letters.iter().map(|l| number(&l.id)).collect()).collect()
}

/// What is seen, the letters that wait, and the numbers of those that share an envelope.
type Row = (&'static str, Vec<Waiting>, Vec<Vec<u32>>);

#[test]
fn cor_40_letters_to_one_address_on_one_day_share_an_envelope_up_to_its_sheets() {
    let day = date(2026, 11, 23);
    let at = |street: &str| address("Weir Clinic", street, "43001");
    let table: [Row; 9] = [
        (
            "alike",
            vec![waiting(1, tin(1), at("12 Weir St"), day, 2), waiting(2, tin(1), at("12 Weir St"), day, 3)],
            vec![vec![1, 2]],
        ),
        (
            "spelled otherwise",
            vec![waiting(1, tin(1), at("12 Weir St"), day, 2), waiting(2, tin(1), at("12  WEIR ST."), day, 3)],
            vec![vec![1, 2]],
        ),
        (
            "another address",
            vec![waiting(1, tin(1), at("12 Weir St"), day, 2), waiting(2, tin(1), at("14 Weir St"), day, 3)],
            vec![vec![1], vec![2]],
        ),
        (
            "another TIN",
            vec![waiting(1, tin(1), at("12 Weir St"), day, 2), waiting(2, tin(2), at("12 Weir St"), day, 2)],
            vec![vec![1], vec![2]],
        ),
        (
            "a member in the same house",
            vec![
                waiting(1, tin(1), at("12 Weir St"), day, 2),
                waiting(2, To::Member("M1".parse().unwrap()), at("12 Weir St"), day, 2),
            ],
            vec![vec![1], vec![2]],
        ),
        (
            "another day",
            vec![
                waiting(1, tin(1), at("12 Weir St"), day, 2),
                waiting(2, tin(1), at("12 Weir St"), day.tomorrow().unwrap(), 2),
            ],
            vec![vec![1], vec![2]],
        ),
        // 10 sheets of two pages: a page that begins a sheet takes all of it
        (
            "just full",
            vec![waiting(1, tin(1), at("12 Weir St"), day, 9), waiting(2, tin(1), at("12 Weir St"), day, 9)],
            vec![vec![1, 2]],
        ),
        (
            "one sheet too many",
            vec![waiting(1, tin(1), at("12 Weir St"), day, 9), waiting(2, tin(1), at("12 Weir St"), day, 11)],
            vec![vec![1], vec![2]],
        ),
        (
            "by ZIP code, whatever the order",
            vec![
                waiting(3, tin(3), address("C", "1 A St", "90001"), day, 1),
                waiting(2, tin(2), address("B", "1 A St", "43001-0417"), day, 1),
                waiting(1, tin(9), address("A", "1 A St", "43001"), day, 1),
            ],
            vec![vec![1], vec![2], vec![3]],
        ),
    ];
    for (told, letters, expected) in table {
        assert_eq!(numbers(&pack(letters.clone(), policy())), expected, "{told}");
        let backwards = letters.into_iter().rev().collect();
        assert_eq!(numbers(&pack(backwards, policy())), expected, "{told}, backwards");
    }
}

#[test]
fn policy_says_what_goes_alone_and_what_is_too_large_goes_to_a_person() {
    let day = date(2026, 11, 23);
    let letter = |n, pages| waiting(n, tin(1), address("Weir Clinic", "12 Weir St", "43001"), day, pages);
    let sheet = Waiting { letter_type: LetterType::ReturnCoverSheet, ..letter(2, 1) };
    let packed = pack(vec![letter(1, 2), sheet, letter(3, 2)], policy());
    let mut found = numbers(&packed);
    found.sort();
    assert_eq!(found, [vec![1, 3], vec![2]]);
    let mut own: ProductionPolicy = policy().clone();
    own.sharing.one_envelope = false;
    assert_eq!(numbers(&pack(vec![letter(1, 2), letter(2, 2)], &own)), [[1], [2]]);
    let packed = pack(vec![letter(1, 21), letter(2, 20), letter(3, 0)], policy());
    assert_eq!(numbers(&packed), [[2]]);
    assert_eq!(packed.too_large, [letter(1, 1).letter.id, letter(3, 1).letter.id]);
}

#[test]
fn addresses_are_compared_as_the_post_reads_them() {
    let same = |a: &Addressee, b: &Addressee| normalized(a) == normalized(b);
    let first = address("Weir St. Clinic, Inc.", "12 Weir St #4", "43001");
    assert!(same(&first, &address("WEIR ST CLINIC INC", "12 weir st., # 4", "43001")));
    assert!(!same(&first, &address("WEIR ST CLINIC INC", "12 weir st., # 5", "43001")));
    assert!(!same(&first, &address("WEIR ST CLINIC", "INC 12 weir st., # 4", "43001")), "lines stay apart");
    assert!(!same(&first, &Addressee { attention: Some(Line::from("Billing")), ..first.clone() }));
}

prop_compose! {
    fn any_letter()(
        to in 0u32..4, member in any::<bool>(), brand in any::<bool>(), street in 0u32..3, zip in 0u32..3,
        day in 0i8..2, pages in 0u32..24, alone in prop::bool::weighted(0.2),
    ) -> (To, String, Addressee, Date, u32, LetterType) {
        let to = if member { To::Member(format!("M{to}").parse().unwrap()) } else { tin(to) };
        let brand = if brand { "meridian" } else { "aldercrest" };
        let address = address("Weir Clinic", &format!("{street} Weir St"), &format!("4300{zip}"));
        let kind = if alone { LetterType::ReturnCoverSheet } else { LetterType::ClaimDenied };
        (to, brand.into(), address, date(2026, 11, 23 + day), pages, kind)
    }
}

proptest! {
    #[test]
    fn cor_40_never_are_letters_to_two_addressees_in_one_envelope(
        made in prop::collection::vec(any_letter(), 0..60), order in any::<u64>(),
    ) {
        let letters: Vec<Waiting> = (0u32..).zip(made).map(|(n, (to, brand, address, day, pages, letter_type))| Waiting {
            brand: brand.parse().unwrap(), letter_type, ..waiting(n, to, address, day, pages)
        }).collect();
        let by_id: BTreeMap<LetterId, Waiting> = letters.iter().map(|l| (l.letter.id.clone(), l.clone())).collect();
        let packing = pack(letters.clone(), policy());
        let mut seen: Vec<&LetterId> = packing.too_large.iter().collect();
        for envelope in &packing.envelopes {
            let sheets: u32 = envelope.letters.iter().map(|l| l.pages.div_ceil(2)).sum();
            prop_assert_eq!(sheets, envelope.sheets);
            prop_assert!((1..=policy().envelope.sheets_max).contains(&sheets));
            for letter in &envelope.letters {
                let source = &by_id[&letter.id];
                prop_assert_eq!(&source.to, &envelope.to);
                prop_assert_eq!(&source.brand, &envelope.brand);
                prop_assert_eq!(source.day, envelope.day);
                prop_assert_eq!(normalized(&source.address), normalized(&by_id[&envelope.letters[0].id].address));
                prop_assert!(envelope.letters.len() == 1 || source.letter_type != LetterType::ReturnCoverSheet);
                seen.push(&letter.id);
            }
        }
        // each letter once
        seen.sort();
        prop_assert_eq!(seen, by_id.keys().collect::<Vec<_>>());
        let mut shuffled = letters;
        shuffled.sort_by_key(|l| (u64::from(l.letter.pages) ^ order).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        prop_assert_eq!(pack(shuffled, policy()), packing);
    }
}
