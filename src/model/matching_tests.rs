use super::*;

fn policy() -> MatchPolicy {
    #[derive(Deserialize)]
    struct Plan {
        r#match: MatchPolicy,
    }
    toml::from_str::<Plan>(include_str!("../../pipelines/intake.toml")).map(|p| p.r#match).unwrap()
}

/// A case of member M100001 (Ada Muster, born 1960-02-03) about claim CLM100, unless said otherwise.
fn case(number: &str, change: impl FnOnce(&mut CaseFacts)) -> CaseFacts {
    let mut facts = CaseFacts {
        id: format!(
            "00000000-0000-7000-8000-{:0>12}",
            number.len() * 1000 + usize::from(number.as_bytes()[number.len() - 1])
        )
        .parse()
        .unwrap(),
        kind: CaseKind::Reconsideration,
        open: true,
        case_number: number.parse().unwrap(),
        claim_number: "CLM1001".parse().ok(),
        attachment_control_number: None,
        member_id: "M100001".parse().unwrap(),
        name: Phi(("Ada".into(), "Muster".into())),
        birth_date: Some(Phi("1960-02-03".parse().unwrap())),
        tin: "001234567".parse().unwrap(),
        npi: "1234567893".parse().ok(),
        service: Some(("2026-03-01".parse().unwrap(), "2026-03-05".parse().unwrap())),
    };
    change(&mut facts);
    facts
}

fn page(text: &str) -> PageFacts {
    let mut facts = PageFacts::default();
    read_page(text, 64, &mut facts);
    facts.known_members = facts.identifiers.iter().filter(|id| id.reveal().starts_with("M10000")).cloned().collect();
    facts
}

fn outcome(said: Said, sent_to: Option<&CaseId>, text: &str, cases: Vec<CaseFacts>) -> String {
    match decide(&said, sent_to, Some(CaseKind::Reconsideration), &page(text), cases, &policy()) {
        Decision::Matched(w) => format!("matched {}", w.case.case_number.as_str()),
        Decision::NeedsReview(all) => format!("review {}", all.len()),
        Decision::Unmatched => "unmatched".into(),
    }
}

#[test]
fn int_15_what_the_sender_said_matches_only_when_something_corroborates_it() {
    let said = |member: Option<&str>| Said {
        case_number: "RC-1001".parse().ok(),
        member_id: member.and_then(|m| m.parse().ok()),
        ..Said::default()
    };
    let one = || vec![case("RC-1001", |_| {})];
    assert_eq!(outcome(said(Some("M100001")), None, "", one()), "matched RC-1001");
    assert_eq!(outcome(said(None), None, "", one()), "review 1", "a number alone is not enough");
    assert_eq!(outcome(said(Some("M100002")), None, "", one()), "review 1", "a contradiction goes to a person");
    assert_eq!(outcome(said(None), None, "Patient: Ada Muster", one()), "matched RC-1001", "the page corroborates");
}

#[test]
fn int_15_identifiers_on_the_page_match_when_the_sender_said_nothing() {
    let text = "Re: claim CLM1001, patient Ada Muster, DOB 02/03/1960, TIN 00-1234567";
    assert_eq!(outcome(Said::default(), None, text, vec![case("RC-1001", |_| {})]), "matched RC-1001");
    assert_eq!(outcome(Said::default(), None, "claim CLM1001", vec![case("RC-1001", |_| {})]), "review 1");
}

#[test]
fn int_17_two_cases_named_at_once_go_to_a_person() {
    let cases = vec![case("RC-1001", |_| {}), case("RC-1002", |c| c.claim_number = "CLM1002".parse().ok())];
    assert_eq!(outcome(Said::default(), None, "CLM1001 CLM1002 Ada Muster", cases), "review 2");
}

#[test]
fn int_17_a_member_id_alone_never_decides_between_sibling_cases() {
    let cases = vec![case("RC-1001", |_| {}), case("RC-1002", |c| c.claim_number = None)];
    assert_eq!(outcome(Said::default(), None, "M100001 Ada Muster 1960-02-03", cases), "review 2");
}

#[test]
fn int_17_a_page_about_another_member_contradicts_the_sender() {
    let said = Said { claim_number: "CLM1001".parse().ok(), tin: "001234567".parse().ok(), ..Said::default() };
    assert_eq!(outcome(said, None, "Member M100009", vec![case("RC-1001", |_| {})]), "review 1");
}

#[test]
fn a_claim_with_a_closed_case_goes_to_the_open_one_or_where_it_was_sent() {
    let cases = || vec![case("RC-1001", |c| c.open = false), case("RC-1002", |_| {})];
    let said = || Said { claim_number: "CLM1001".parse().ok(), member_id: "M100001".parse().ok(), ..Said::default() };
    assert_eq!(outcome(said(), None, "", cases()), "matched RC-1002");
    let closed = cases()[0].id.clone();
    assert_eq!(
        outcome(said(), Some(&closed), "", cases()),
        "matched RC-1001",
        "the submission's own case outranks the open one"
    );
}

#[test]
fn no_candidate_is_unmatched() {
    assert_eq!(outcome(Said::default(), None, "nothing of ours", vec![]), "unmatched");
}

#[test]
fn dates_are_read_as_a_us_letter_writes_them() {
    for (text, expected) in [
        ("2026-03-09", Some("2026-03-09")),
        ("03/09/2026", Some("2026-03-09")),
        ("3-9-2026", Some("2026-03-09")),
        ("13/01/2026", None),
        ("03/09/26", None),
        ("CLM-2026-1", None),
    ] {
        assert_eq!(read_date(text).map(|d| d.to_string()).as_deref(), expected, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn a_contradicted_case_is_never_matched(member in 1u32..5, says in 1u32..5, tail in "[A-Z0-9 /-]{0,60}") {
        let said = Said {
            case_number: "RC-1001".parse().ok(),
            member_id: format!("M10000{says}").parse().ok(),
            ..Said::default()
        };
        let cases = vec![case("RC-1001", |c| c.member_id = format!("M10000{member}").parse().unwrap())];
        let decided = decide(&said, None, None, &page(&tail), cases, &policy());
        if member != says {
            proptest::prop_assert!(!matches!(decided, Decision::Matched(_)));
        }
    }
}
