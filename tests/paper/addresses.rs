//! Which addresses can be printed, and that the envelope shows what letters have printed.

use lettercase::letters::fields::{Line, Some1, State};
use lettercase::letters::head::Addressee;
use lettercase::letters::window::AddressBlock;
use lettercase::model::letter::LetterType;
use lettercase::paper::production::address::{AddressCheck, AddressFault};
use lettercase::paper::production::plan::{Area, ProductionPolicy};
use serde_json::json;

use super::packing::address;
use super::picture::Picture;
use super::{RENDERER, letter, policy};

fn check() -> AddressCheck {
    AddressCheck::new(RENDERER.text_face().unwrap(), RENDERER.address_block().clone()).unwrap()
}

#[test]
fn an_address_that_does_not_fit_or_can_t_be_is_a_fault_with_its_rule() {
    let check = check();
    let good = address("Weir Clinic", "12 Weir St", "43001");
    let of = |change: &dyn Fn(&mut Addressee)| {
        let mut changed = good.clone();
        change(&mut changed);
        check
            .check(&changed)
            .map(|fit| fit.lines)
            .map_err(|faults| faults.iter().map(|f| f.as_str()).collect::<Vec<_>>())
    };
    let lines = |lines: &[&str]| Some1(lines.iter().map(|line| Line::from(*line)).collect());
    assert_eq!(of(&|_| {}), Ok(3));
    assert_eq!(of(&|a| a.attention = Some(Line::from("Billing"))), Ok(4));
    assert_eq!(of(&|a| a.lines = lines(&["Suite 4", "12 Weir St"])), Ok(4));
    assert_eq!(of(&|a| a.lines = lines(&["Suite 4", "Weir House", "12 Weir St"])), Ok(5));
    assert_eq!(of(&|a| a.name = Line::from("Łucja Ñandú-Øster, Đặng & Sons")), Ok(3));
    assert_eq!(
        of(&|a| a.name = Line::from("Weir Valley Community Orthopedic Surgery and Rehabilitation Associates")),
        Ok(4),
        "it goes on in a second line"
    );
    assert_eq!(of(&|a| a.zip.0.0 = "43001-0417".into()), Ok(3));
    for zip in ["", "4300", "43001-", "43001-12", "00000", "4300l", "43001 0417"] {
        assert_eq!(of(&|a| a.zip.0.0 = zip.into()), Err(vec!["zip_malformed"]), "{zip}");
    }
    for state in ["", "Ohio", "oh", "XX"] {
        assert_eq!(of(&|a| a.state = State(state.into())), Err(vec!["state_unknown"]), "{state}");
    }
    assert_eq!(of(&|a| a.lines = lines(&[])), Err(vec!["address_part_missing"]));
    assert_eq!(of(&|a| a.city = Line::from(" ")), Err(vec!["address_part_missing"]));
    assert_eq!(of(&|a| a.name = Line::from("王医院")), Err(vec!["address_no_glyph"]));
    assert_eq!(of(&|a| a.name = Line::from("W".repeat(45))), Err(vec!["address_too_wide"]));
    let many = ["Suite 4", "Weir House", "Weir Park", "12 Weir St"];
    assert_eq!(of(&|a| a.lines = lines(&many)), Err(vec!["address_too_many_lines"]));
    assert_eq!(
        of(&|a| {
            a.lines = lines(&many);
            a.zip.0.0 = "1".into();
            a.state = State("ZZ".into());
        }),
        Err(vec!["zip_malformed", "state_unknown", "address_too_many_lines"]),
        "all faults at once"
    );
    let sample = letter(1, LetterType::PrecertificationApproved, "many_services", |_| ());
    assert_eq!(
        check.check(&sample.address),
        Err(vec![AddressFault::TooManyLines]),
        "seven lines in the smallest print"
    );
    assert!(AddressFault::ALL.iter().all(|fault| !fault.as_str().is_empty()));
}

/// Whatever the envelope ever shows of the first page's lower window.
fn shown(policy: &ProductionPolicy) -> Area {
    policy.envelope.ever_seen(&policy.address_window)
}

#[test]
fn cor_41_the_window_shows_the_whole_address_and_nothing_else_wherever_the_sheet_slips() {
    let dir = tempfile::tempdir().unwrap();
    let check = check();
    let table = [
        ("practice", LetterType::AdditionalDocumentsRequested, "practice", None),
        ("long names", LetterType::AdditionalDocumentsRequested, "member_long", None),
        (
            "one line more",
            LetterType::ClaimDenied,
            "medical_necessity",
            Some(json!(["Suite 4", "Weir House", "12 Weir St"])),
        ),
        (
            "broken lines",
            LetterType::ClaimDenied,
            "medical_necessity",
            Some(json!(["Weir Valley Community Orthopedic Surgery Associates Building"])),
        ),
    ];
    for (told, letter_type, sample, lines) in table {
        let letter = letter(1, letter_type, sample, |document| {
            if let Some(lines) = lines {
                document["head"]["addressee"]["lines"] = lines;
                document["head"]["addressee"].as_object_mut().unwrap().remove("attention");
            }
        });
        let fit = check.check(&letter.address).unwrap_or_else(|faults| panic!("{told}: {faults:?}"));
        let file = dir.path().join("letter.pdf");
        std::fs::write(&file, &letter.pdf).unwrap();
        let picture = Picture::of(&file, 1, 200);
        let ink = picture.ink(&shown(policy())).unwrap();
        let area = policy().address_area();
        assert!(area.holds(&ink), "{told}: {ink:?} in {area:?}");
        assert!(ink.bottom < policy().imb.area().top - 0.028, "{told}: the barcode has no room below {ink:?}");
        // What was foretold is what was set: the printed lines are as high as so many lines of this size.
        let height = RENDERER.address_block().height_of(fit.lines, fit.size_pt);
        assert!((height - (ink.bottom - ink.top)).abs() < 0.06, "{told}: {fit:?}, {ink:?}");
        let sender = picture.ink(&policy().envelope.ever_seen(&policy().return_window)).unwrap();
        assert!(sender.bottom < policy().return_area().bottom, "{told}: the sender is cut off: {sender:?}");
    }
}

/// What is wrong, and how the policy comes to it.
type Row<'a> = (&'a str, &'a dyn Fn(&mut ProductionPolicy));

#[test]
fn a_node_is_told_when_letters_and_envelope_do_not_fit() {
    let block = RENDERER.address_block();
    policy().check_letters(block).unwrap();
    let moved = |change: &dyn Fn(&mut AddressBlock)| {
        let mut block = block.clone();
        change(&mut block);
        policy().check_letters(&block).map_err(|error| error.to_string())
    };
    assert!(moved(&|b| b.left_in = 0.9).unwrap_err().contains("slip out"));
    assert!(moved(&|b| b.top_in += 0.02).unwrap_err().contains("too near"));
    assert!(moved(&|b| b.top_in -= 0.05).unwrap_err().contains("slip out"));
    let table: [Row; 12] = [
        ("first_panel_in", &|p| p.envelope.first_panel_in = 4.2),
        ("slip out of the address window", &|p| p.imb.bottom_in = 3.5),
        ("24 bars", &|p| p.imb.width_in = 2.4),
        ("barcode_id", &|p| p.imb.barcode_id = "05".into()),
        ("service_type", &|p| p.imb.service_type = "27".into()),
        ("mailer_id", &|p| p.imb.mailer_id = "812345678".into()),
        ("serial_days", &|p| p.imb.serial_days = 44),
        ("no window shows it", &|p| p.marks.matrix_top_in = 3.0),
        ("no window shows it", &|p| p.marks.matrix_left_in = 8.3),
        ("lies over", &|p| p.marks.sequence_foot_in = 10.3),
        ("sheets_max", &|p| p.envelope.sheets_max = 0),
        ("too little", &|p| p.address_window.height_in = 0.4),
    ];
    for (told, change) in table {
        let mut changed = super::PLAN.paper.clone();
        change(&mut changed.production);
        let error = changed.check().unwrap_err().to_string();
        assert!(error.contains("[paper.production.") && error.contains(told), "{told}: {error}");
    }
}
