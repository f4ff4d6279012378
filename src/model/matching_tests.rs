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
    let is_member = |id: &&Phi<String>| id.reveal().starts_with("M10000") && id.reveal().len() == 7;
    facts.known_members = facts.identifiers.iter().filter(is_member).cloned().collect();
    for claim in facts.identifiers.iter().filter(|id| id.reveal().starts_with("CLM") && id.reveal().len() == 7) {
        let member = if claim.reveal() == "CLM2001" { "M100002" } else { "M100001" };
        facts.known_claims.insert(claim.clone(), member.parse().unwrap());
    }
    facts
}

fn outcome(said: Said, sent_to: Option<&CaseId>, text: &str, cases: Vec<CaseFacts>) -> String {
    let sent = Sent { said, kind: Some(CaseKind::Reconsideration), to: sent_to.cloned() };
    told(decide(&sent, &page(text), cases, &policy()))
}

fn told(decision: Decision) -> String {
    match decision {
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
fn int_17_a_mistyped_claim_number_is_contradicted_by_the_claim_on_the_page() {
    // CLM2001 is another member's claim, and has no case that could be a candidate
    let said = Said { claim_number: "CLM1001".parse().ok(), tin: "001234567".parse().ok(), ..Said::default() };
    let case = case("RC-1001", |_| {});
    let opened = case.id.clone();
    assert_eq!(outcome(said, Some(&opened), "Claim CLM2001, Bob Jones, TIN 00-1234567", vec![case]), "review 1");
}

#[test]
fn int_17_a_list_of_members_is_nobodys_document() {
    for text in ["CLM1001 M100001 and CLM2001 M100002", "CLM1001 M100001 M100002-01", "CLM1001/CLM2001 M100001"] {
        assert_eq!(outcome(Said::default(), None, text, vec![case("RC-1001", |_| {})]), "review 1", "{text}");
    }
}

#[test]
fn int_17_what_was_not_read_to_its_end_goes_to_a_person() {
    let many: String = (0..500).map(|n| format!("{} ", 100_000 + n)).collect();
    let text = format!("CLM1001 M100001 Ada Muster {many}");
    assert_eq!(outcome(Said::default(), None, &text, vec![case("RC-1001", |_| {})]), "review 1");
}

#[test]
fn int_17_a_sibling_named_by_its_own_number_is_not_passed_over() {
    let cases = || vec![case("RC-1001", |c| c.open = false), case("AP-1002", |c| c.kind = CaseKind::Reconsideration)];
    let text = "Case RC-1001, claim CLM1001, Ada Muster";
    assert_eq!(outcome(Said::default(), None, text, cases()), "review 2", "the page names the closed one");
    let open = cases()[1].id.clone();
    assert_eq!(outcome(Said::default(), Some(&open), text, cases()), "review 2", "sent to the one, names the other");
}

#[test]
fn int_17_a_case_of_another_kind_than_was_said_goes_to_a_person() {
    let said = Said { case_number: "AP-1001".parse().ok(), tin: "001234567".parse().ok(), ..Said::default() };
    assert_eq!(outcome(said, None, "", vec![case("AP-1001", |c| c.kind = CaseKind::Appeal)]), "review 1");
}

#[test]
fn int_17_a_reference_that_leads_nowhere_bars_an_automatic_match() {
    let reference = crate::model::ids::ReferenceNumber::from_random(7);
    let said = Said { reference: Some(reference), claim_number: "CLM1001".parse().ok(), ..Said::default() };
    assert_eq!(outcome(said, None, "Ada Muster", vec![case("RC-1001", |_| {})]), "review 1");
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
        let sent = Sent { said, kind: None, to: None };
        let decided = decide(&sent, &page(&tail), cases, &policy());
        if member != says {
            proptest::prop_assert!(!matches!(decided, Decision::Matched(_)));
        }
    }
}
