use super::*;
use DeliveryChannel::{Fax, Inbox, Paper};
use RouteReason::*;

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

/// The policy of the specification, with one plan and one type on paper.
fn policy() -> RoutePolicy {
    RoutePolicy {
        digital_plans: BTreeSet::from(["ppo".to_owned()]),
        paper_categories: [LetterCategory::Appeal].into(),
        paper_types: [LetterType::RequestFailedVirus].into(),
        on_request: [LetterType::ReconsiderationCopy, LetterType::PrecertificationNotRequired].into(),
        digital_since: [
            (LetterCategory::Claim, day("2024-06-20")),
            (LetterCategory::Precertification, day("2024-07-18")),
        ]
        .into(),
        paper_choice_since: day("2024-05-23"),
        fax_answers_in_inbox: true,
    }
}

const TODAY: &str = "2026-11-20";
const UPHELD: LetterType = LetterType::ReconsiderationUpheld;
const APPROVED: LetterType = LetterType::PrecertificationApproved;

/// A practice for which everything goes digitally.
fn digital() -> TinFacts {
    TinFacts { registered_on: Some(day("2024-01-01")), has_reader: true, has_fax: true, paper: BTreeMap::new() }
}

fn chosen(category: LetterCategory, since: &str) -> TinFacts {
    TinFacts { paper: [(category, day(since))].into(), ..digital() }
}

/// A row of the readable table.
struct Row {
    fact: &'static str,
    letter_type: LetterType,
    addressee: AddresseeKind,
    date: &'static str,
    plan: Option<&'static str>,
    said: &'static [Circumstance],
    tin: TinFacts,
    ways: &'static [(DeliveryChannel, &'static [RouteReason])],
}

/// A letter that goes digitally; rows say what is other.
fn usual(fact: &'static str, ways: &'static [(DeliveryChannel, &'static [RouteReason])]) -> Row {
    let (addressee, date) = (AddresseeKind::Tin, TODAY);
    Row { fact, letter_type: UPHELD, addressee, date, plan: Some("ppo"), said: &[], tin: digital(), ways }
}

fn rows() -> Vec<Row> {
    use Circumstance::{ByFax, ClinicalClaimReview as Clinical, Delegated as ByThird};
    let fax = |fact, ways| Row { letter_type: APPROVED, said: &[ByFax], ..usual(fact, ways) };
    vec![
        usual("COR-11 a registered practice gets digital", &[(Inbox, &[Registered])]),
        Row { addressee: AddresseeKind::Member, ..usual("COR-03 letters to members", &[(Paper, &[ToMember])]) },
        Row {
            addressee: AddresseeKind::Member,
            letter_type: APPROVED,
            said: &[ByFax, ByThird],
            tin: TinFacts::default(),
            ..usual("COR-03 a member gets no fax, and the practice does not count", &[(Paper, &[ToMember])])
        },
        Row { letter_type: LetterType::AppealUpheld, ..usual("COR-03 appeals", &[(Paper, &[PaperCategory])]) },
        Row {
            letter_type: LetterType::RequestFailedVirus,
            ..usual("COR-03 policy decides per type", &[(Paper, &[PaperType])])
        },
        Row {
            said: &[Clinical],
            ..usual("COR-03 clinical claim review", &[(Paper, &[RouteReason::ClinicalClaimReview])])
        },
        Row { said: &[ByThird], ..usual("COR-03 delegated letters", &[(Paper, &[RouteReason::Delegated])]) },
        Row { plan: Some("hmo"), ..usual("COR-03 certain plans only", &[(Paper, &[PlanNotDigital])]) },
        Row { plan: Some("PPO"), ..usual("COR-03 a plan is its exact code", &[(Paper, &[PlanNotDigital])]) },
        Row { plan: None, ..usual("COR-03 an unknown plan", &[(Paper, &[PlanUnknown])]) },
        Row { date: "2024-06-19", ..usual("COR-04 the day before", &[(Paper, &[BeforeDigital])]) },
        Row { date: "2024-06-20", ..usual("COR-04 the first day", &[(Inbox, &[Registered])]) },
        Row {
            letter_type: APPROVED,
            date: "2024-07-17",
            ..usual("COR-04 each category has its own day", &[(Paper, &[BeforeDigital])])
        },
        Row {
            letter_type: APPROVED,
            date: "2024-07-18",
            ..usual("COR-04 each category has its own day", &[(Inbox, &[Registered])])
        },
        Row {
            tin: TinFacts { registered_on: None, ..digital() },
            ..usual("COR-10 without registration", &[(Paper, &[NotRegistered])])
        },
        Row {
            tin: TinFacts { registered_on: Some(day("2026-11-21")), ..digital() },
            ..usual("COR-10 registered from tomorrow", &[(Paper, &[NotRegistered])])
        },
        Row {
            tin: TinFacts { registered_on: Some(day(TODAY)), ..digital() },
            ..usual("COR-10 registered today", &[(Inbox, &[Registered])])
        },
        Row {
            tin: chosen(LetterCategory::Claim, "2025-03-01"),
            ..usual(
                "COR-11 the manager adds paper, digital stays",
                &[(Inbox, &[Registered]), (Paper, &[ManagerChosePaper])],
            )
        },
        Row {
            tin: chosen(LetterCategory::Precertification, "2025-03-01"),
            ..usual("COR-11 the choice is per category", &[(Inbox, &[Registered])])
        },
        Row {
            tin: chosen(LetterCategory::Claim, "2023-12-31"),
            ..usual("COR-11 newly registered is digital only", &[(Inbox, &[Registered])])
        },
        Row {
            tin: chosen(LetterCategory::Claim, "2025-03-01"),
            plan: None,
            ..usual("COR-14 what decides comes first", &[(Paper, &[PlanUnknown, ManagerChosePaper])])
        },
        Row {
            tin: TinFacts::default(),
            letter_type: LetterType::AppealReceived,
            plan: None,
            said: &[ByThird],
            ..usual(
                "COR-14 all that holds is kept, what decides first",
                &[(Paper, &[PaperCategory, RouteReason::Delegated, PlanUnknown, NotRegistered])],
            )
        },
        Row {
            tin: TinFacts { has_reader: false, ..digital() },
            ..usual("COR-15 nobody is entitled", &[(Inbox, &[Registered]), (Paper, &[NobodyEntitled])])
        },
        fax("COR-13 answered by fax, shown in the inbox", &[(Inbox, &[Registered]), (Fax, &[CameByFax])]),
        Row {
            tin: TinFacts { registered_on: None, ..digital() },
            ..fax("COR-13 a fax stands in for paper", &[(Fax, &[CameByFax, NotRegistered])])
        },
        Row {
            said: &[ByFax, ByThird],
            ..fax(
                "COR-13, COR-03 what is on paper stays there",
                &[(Fax, &[CameByFax]), (Paper, &[RouteReason::Delegated])],
            )
        },
        Row {
            tin: TinFacts { has_fax: false, ..digital() },
            ..fax("COR-13 no number", &[(Inbox, &[Registered]), (Paper, &[NoFaxNumber])])
        },
        Row {
            tin: TinFacts { has_fax: false, registered_on: None, ..digital() },
            ..fax("COR-13 no number", &[(Paper, &[NotRegistered, NoFaxNumber])])
        },
        Row { letter_type: UPHELD, ..fax("COR-13 precertification only", &[(Inbox, &[Registered])]) },
        Row {
            letter_type: LetterType::PrecertificationNotRequired,
            ..fax("COR-13 also what is else handed out", &[(Inbox, &[Registered]), (Fax, &[CameByFax])])
        },
        Row { letter_type: LetterType::ReconsiderationCopy, ..usual("REC-32 handed out", &[]) },
        Row { letter_type: LetterType::PrecertificationNotRequired, ..usual("PRE-05 handed out", &[]) },
    ]
}

#[test]
fn cor_14_each_row_of_the_decision_table_holds() {
    for row in rows() {
        let said = row.said.iter().copied().collect();
        let letter = LetterFacts {
            letter_type: row.letter_type,
            addressee: row.addressee,
            letter_date: day(row.date),
            plan: row.plan,
            circumstances: &said,
        };
        let routing = decide(&letter, &row.tin, &policy(), day(TODAY));
        let ways: Vec<_> = row.ways.iter().map(|(channel, reasons)| (*channel, reasons.to_vec())).collect();
        assert_eq!(routing.deliveries, ways, "{}", row.fact);
        assert_eq!(routing.not_sent, if ways.is_empty() { vec![HandedOut] } else { Vec::new() }, "{}", row.fact);
    }
}

#[test]
fn cor_13_policy_keeps_answers_by_fax_out_of_the_inbox() {
    let policy = RoutePolicy { fax_answers_in_inbox: false, ..policy() };
    let said = [Circumstance::ByFax].into();
    let (letter_type, addressee) = (APPROVED, AddresseeKind::Tin);
    let letter =
        LetterFacts { letter_type, addressee, letter_date: day(TODAY), plan: Some("ppo"), circumstances: &said };
    let faxed = decide(&letter, &digital(), &policy, day(TODAY));
    assert_eq!(faxed.deliveries, [(Fax, vec![CameByFax, FaxOnly])]);
    let no_number = decide(&letter, &TinFacts { has_fax: false, ..digital() }, &policy, day(TODAY));
    assert!(no_number.has(Inbox) && no_number.has(Paper), "without a fax it goes as any other: {no_number:?}");
    let chosen = decide(&letter, &chosen(LetterCategory::Precertification, "2025-01-01"), &policy, day(TODAY));
    assert_eq!(chosen.why(Paper), [ManagerChosePaper]);
}

/// Calls it with each combination of everything that is decided by.
fn every_case(mut see: impl FnMut(&LetterFacts<'_>, &TinFacts, &RoutePolicy)) {
    let policies = [true, false].map(|fax_answers_in_inbox| RoutePolicy { fax_answers_in_inbox, ..policy() });
    let said: Vec<Circumstances> = (0..8)
        .map(|bits| Circumstance::ALL.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, c)| *c).collect())
        .collect();
    let mut tins = Vec::new();
    for registered_on in [None, Some("2024-01-01"), Some(TODAY), Some("2026-11-21")] {
        for (has_reader, has_fax) in [(false, false), (false, true), (true, false), (true, true)] {
            for since in [None, Some("2023-12-31"), Some("2025-01-01"), Some(TODAY)] {
                let paper = since.map(|since| LetterCategory::ALL.iter().map(|c| (*c, day(since))).collect());
                let registered_on = registered_on.map(day);
                tins.push(TinFacts { registered_on, has_reader, has_fax, paper: paper.unwrap_or_default() });
            }
        }
    }
    for letter_type in LetterType::ALL {
        for addressee in AddresseeKind::ALL {
            for date in ["2024-05-22", "2024-06-20", "2024-07-18", TODAY] {
                for plan in [None, Some("ppo"), Some("hmo")] {
                    for circumstances in &said {
                        let (letter_type, addressee) = (*letter_type, *addressee);
                        let letter =
                            LetterFacts { letter_type, addressee, letter_date: day(date), plan, circumstances };
                        for tin in &tins {
                            for policy in &policies {
                                see(&letter, tin, policy);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn cor_14_what_must_hold_of_every_decision_holds_of_each_combination() {
    let today = day(TODAY);
    let mut seen = BTreeSet::new();
    every_case(|letter, tin, policy| {
        let routing = decide(letter, tin, policy, today);
        let why = || format!("{letter:?} {tin:?} {routing:?}");
        let category = letter.letter_type.category();
        let by_fax = answers_fax(letter);
        seen.extend(routing.deliveries.iter().flat_map(|(_, reasons)| reasons).chain(&routing.not_sent).copied());

        let handed_out = policy.on_request.contains(&letter.letter_type) && !by_fax;
        assert_eq!(routing.deliveries.is_empty(), handed_out, "{}", why());
        assert_eq!(routing.not_sent.is_empty(), !handed_out, "{}", why());
        for (channel, reasons) in &routing.deliveries {
            let once: BTreeSet<_> = reasons.iter().collect();
            assert!(!reasons.is_empty() && once.len() == reasons.len(), "{channel} {}", why());
        }
        let channels: BTreeSet<_> = routing.deliveries.iter().map(|(channel, _)| channel).collect();
        assert_eq!(channels.len(), routing.deliveries.len(), "{}", why());
        if handed_out {
            return;
        }
        let member = letter.addressee == AddresseeKind::Member;
        assert_eq!(member, routing.deliveries == [(Paper, vec![ToMember])], "{}", why());
        let for_paper = member
            || category == LetterCategory::Appeal
            || policy.paper_types.contains(&letter.letter_type)
            || letter.circumstances.contains(&Circumstance::Delegated)
            || letter.circumstances.contains(&Circumstance::ClinicalClaimReview);
        assert!(!for_paper || (routing.has(Paper) && !routing.has(Inbox)), "COR-03 {}", why());
        let allowed = !for_paper
            && letter.plan == Some("ppo")
            && policy.digital_since.get(&category).is_some_and(|since| *since <= letter.letter_date);
        let registered = tin.is_registered(today);
        let faxed = by_fax && tin.has_fax;
        let inbox = allowed && registered && (!faxed || policy.fax_answers_in_inbox);
        assert_eq!(routing.has(Inbox), inbox, "COR-10, COR-11 {}", why());
        assert_eq!(routing.has(Fax), faxed, "COR-13 {}", why());
        assert!(routing.has(Inbox) || routing.has(Paper) || routing.has(Fax), "{}", why());
        assert!(!inbox || tin.has_reader || routing.why(Paper).contains(&NobodyEntitled), "COR-15 {}", why());
        assert!(!member || (!routing.has(Inbox) && !routing.has(Fax)), "{}", why());

        // adding paper never takes anything away, and taking the choice back leaves everything else
        let without = decide(letter, &TinFacts { paper: BTreeMap::new(), ..tin.clone() }, policy, today);
        for channel in [Inbox, Fax] {
            assert_eq!(routing.why(channel), without.why(channel), "COR-11 {}", why());
        }
        assert!(routing.has(Paper) || !without.has(Paper), "{}", why());
        for (known, asked) in [(&routing, false), (&without, true)] {
            let counts = asked && !member && registered && category.has_paper_choice();
            let would = on_paper_with_choice(&known.deliveries, asked && category.has_paper_choice());
            assert_eq!(would, without.has(Paper) || (counts && !member), "the dry run agrees: {}", why());
        }
    });
    // these come up after the letter has gone its ways (COR-13, COR-26)
    seen.extend([RouteReason::UnreadInTime, RouteReason::FaxFailed]);
    let never: Vec<_> = RouteReason::ALL.iter().filter(|reason| !seen.contains(reason)).collect();
    assert!(never.is_empty(), "reasons that never hold: {never:?}");
}

#[test]
fn cor_14_a_decision_is_told_in_sentences() {
    let mut text = String::new();
    for row in rows() {
        let said = row.said.iter().copied().collect();
        let letter = LetterFacts {
            letter_type: row.letter_type,
            addressee: row.addressee,
            letter_date: day(row.date),
            plan: row.plan,
            circumstances: &said,
        };
        let told = explain(&decide(&letter, &row.tin, &policy(), day(TODAY)));
        text.push_str(&format!("{}\n  {}\n", row.fact, told.replace('\n', "\n  ")));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_policy_that_leaves_a_category_open_is_refused() {
    assert_eq!(policy().check(), Ok(()));
    let (mut neither, mut both, mut twice, mut empty) = (policy(), policy(), policy(), policy());
    neither.digital_since.remove(&LetterCategory::Claim);
    both.paper_categories.insert(LetterCategory::Claim);
    twice.paper_types.insert(LetterType::ReconsiderationCopy);
    empty.digital_plans.insert(" ".into());
    for (policy, told) in [
        (neither, RoutePolicyError::Category(LetterCategory::Claim)),
        (both, RoutePolicyError::Category(LetterCategory::Claim)),
        (twice, RoutePolicyError::Type(LetterType::ReconsiderationCopy)),
        (empty, RoutePolicyError::Plan),
    ] {
        assert_eq!(policy.check(), Err(told));
    }
}
