use super::Role::{Administrator, MailroomOperator, PrivacyAuditor, Reviewer, Supervisor};
use super::*;
use crate::model::ids::Brand;

/// Who may do what, written down a second time: action, scope of a key, whether a key for trials may, staff roles, and
/// whether users of practices may.
type Row = (Action, Option<Scope>, bool, &'static [Role], bool);

const SEE: &[Role] = &[MailroomOperator, Supervisor, Reviewer];
const WORK: &[Role] = &[MailroomOperator, Supervisor];
const ALL_ROLES: &[Role] = Role::ALL;

#[rustfmt::skip]
const TABLE: &[Row] = &[
    (Action::CreateSubmission,   Some(Scope::Submit),    true,  &[], true),
    (Action::EditSubmission,     Some(Scope::Submit),    true,  &[], true),
    (Action::ReadSubmission,     Some(Scope::Read),      true,  SEE, true),
    (Action::ReadDocument,       Some(Scope::Read),      true,  SEE, true),
    (Action::DownloadDocument,   Some(Scope::Download),  true,  SEE, true),
    (Action::ReadCase,           Some(Scope::Read),      true,  &[Supervisor, Reviewer], true),
    (Action::SearchCases,        Some(Scope::Match),     false, WORK, false),
    (Action::ReadQueue,          Some(Scope::Match),     false, WORK, false),
    (Action::DecideMatch,        Some(Scope::Match),     false, WORK, false),
    (Action::UndoMatch,          Some(Scope::Match),     false, &[Supervisor, Reviewer], false),
    (Action::ReadDisclosures,    Some(Scope::Audit),     false, &[Supervisor, PrivacyAuditor], false),
    (Action::ReadHeld,           Some(Scope::Operate),   false, WORK, false),
    (Action::Rescan,             Some(Scope::Operate),   false, WORK, false),
    (Action::DecideHeld,         Some(Scope::Operate),   false, &[Supervisor], false),
    (Action::DestroyQuarantined, Some(Scope::Operate),   false, &[Supervisor], false),
    (Action::ReadDeadLetters,    Some(Scope::Operate),   false, &[Supervisor, Administrator], false),
    (Action::ReplayDeadLetters,  Some(Scope::Operate),   false, &[Supervisor, Administrator], false),
    (Action::ReadMailroom,       Some(Scope::Operate),   false, &[MailroomOperator, Supervisor, Administrator], false),
    (Action::ReadAudit,          Some(Scope::Audit),     false, &[PrivacyAuditor], false),
    (Action::WriteReference,     Some(Scope::Reference), true,  &[Administrator], false),
    (Action::ManageKeys,         Some(Scope::Access),    false, &[Administrator], false),
    (Action::ManageUsers,        Some(Scope::Access),    false, &[Administrator], false),
    (Action::ManageEntitlements, Some(Scope::Access),    false, &[Administrator], true),
    (Action::ReadLetter,         Some(Scope::Read),      true,  SEE, true),
    (Action::DownloadLetter,     Some(Scope::Download),  true,  &[Supervisor, Reviewer], false),
    (Action::WriteLetters,       Some(Scope::Correspondence), true, &[Supervisor, Reviewer], false),
    (Action::SetCaseStatus,      Some(Scope::Correspondence), true, &[Supervisor, Reviewer], false),
    (Action::StopLetters,        Some(Scope::Operate),   false, &[Supervisor, Administrator], false),
    (Action::ReadPaper,          Some(Scope::Access),    false, &[Supervisor, Administrator], true),
    (Action::ChangePaper,        Some(Scope::Access),    false, &[], true),
    (Action::ReadMessages,       Some(Scope::ActAs),     true,  &[], true),
    (Action::EditMessages,       Some(Scope::ActAs),     true,  &[], true),
    (Action::ReadUnread,         Some(Scope::Operate),   false, &[Supervisor, Administrator], false),
    (Action::ReadNotifications,  Some(Scope::ActAs),     false, &[], true),
    (Action::EditNotifications,  Some(Scope::ActAs),     false, &[], true),
    (Action::ReadUserChoices,    Some(Scope::Access),    false, &[Supervisor, Administrator], true),
    (Action::WhyNotified,        Some(Scope::Operate),   false, &[Supervisor, Administrator, PrivacyAuditor], true),
    (Action::ReadPrintBatches,   Some(Scope::Operate),   false, &[MailroomOperator, Supervisor, Administrator], false),
    (Action::DownloadPrintBatch, Some(Scope::Operate),   false, WORK, false),
    (Action::WorkPrintBatches,   Some(Scope::Operate),   false, WORK, false),
    (Action::DecidePrintBatches, Some(Scope::Operate),   false, &[Supervisor], false),
    (Action::ReadMails,          Some(Scope::Operate),   false, &[Supervisor, Administrator], false),
    (Action::DecideMails,        Some(Scope::Operate),   false, &[Supervisor, Administrator], false),
    (Action::ReadSchedules,      Some(Scope::Operate),   false, &[Supervisor, Administrator], false),
    (Action::EditSchedules,      Some(Scope::Operate),   false, &[Administrator], false),
    (Action::ReadRetention,      Some(Scope::Retention), false, &[Administrator, PrivacyAuditor], false),
    (Action::RunRetention,       Some(Scope::Retention), false, &[Administrator], false),
    (Action::ReadMetrics,        Some(Scope::Metrics),   false, &[Administrator], false),
    (Action::ReadSelf,           None,                   true,  ALL_ROLES, true),
];

const OF_USERS: &[Action] =
    &[Action::ReadMessages, Action::EditMessages, Action::ReadNotifications, Action::EditNotifications];

fn tin(number: u32) -> Tin {
    format!("{number:09}").parse().unwrap()
}

fn tins(numbers: &[u32]) -> TinSet {
    TinSet::Only(numbers.iter().map(|number| tin(*number)).collect())
}

const ID: &str = "01980000-0000-7000-8000-000000000001";

fn service(scopes: &[Scope], tins: TinSet, mode: Mode) -> Principal {
    Principal::Service { key: ID.parse().unwrap(), scopes: scopes.iter().copied().collect(), tins, mode }
}

fn staff(roles: &[Role]) -> Principal {
    Principal::Staff { user: ID.parse().unwrap(), roles: roles.iter().copied().collect() }
}

fn rights(entitlements: &[Entitlement], access_manager: bool) -> TinRights {
    TinRights { entitlements: entitlements.iter().copied().collect(), access_manager }
}

fn user(of: &[(u32, TinRights)], mode: Mode) -> Principal {
    let rights = of.iter().map(|(number, rights)| (tin(*number), rights.clone())).collect();
    Principal::User { user: ID.parse().unwrap(), rights, mode }
}

fn at_all(who: &Principal, action: Action) -> Answer {
    may(who, action, &Target::Route)
}

#[test]
fn int_33_every_action_has_its_row_and_each_kind_of_caller_its_answer() {
    assert_eq!(TABLE.iter().map(|row| row.0).collect::<Vec<_>>(), Action::ALL, "each action has one row");
    for (action, scope, trials, roles, users) in TABLE {
        for one in Scope::ALL {
            let live = at_all(&service(&[*one], TinSet::All, Mode::Live), *action);
            let expected = match scope {
                _ if *action == Action::ChangePaper => Answer::Forbidden { needs: Needs::AccessManager },
                // a Messaging Center is its user's: for whom the service speaks (COR-20)
                _ if OF_USERS.contains(action) => Answer::Forbidden { needs: Needs::User },
                Some(scope) if scope != one => Answer::Forbidden { needs: Needs::Scope(*scope) },
                _ => Answer::Yes,
            };
            assert_eq!(live, expected, "{action} with a key for {one}");
            let trial = at_all(&service(&[*one], TinSet::All, Mode::Test), *action);
            let expected = if *trials { expected } else { Answer::Forbidden { needs: Needs::LiveKey } };
            assert_eq!(trial, expected, "{action} with a key for trials of {one}");
        }
        for role in Role::ALL {
            let expected = match *action {
                action if OF_USERS.contains(&action) => Answer::Forbidden { needs: Needs::User },
                _ if roles.contains(role) => Answer::Yes,
                _ => Answer::Forbidden { needs: Needs::Role(roles) },
            };
            assert_eq!(at_all(&staff(&[*role]), *action), expected, "{action} as {role}");
        }
        assert_ne!(at_all(&staff(&[Role::SensitiveRecords, Reviewer]), *action), Answer::Hidden);
        let manager = user(&[(1, rights(&[], true))], Mode::Live);
        let expected = if *users { Answer::Yes } else { Answer::Forbidden { needs: Needs::NotUser } };
        assert_eq!(at_all(&manager, *action), expected, "{action} as an access manager");
        let plain = user(&[(1, rights(Entitlement::ALL, false))], Mode::Live);
        let expected = match action {
            Action::ManageEntitlements | Action::ReadPaper | Action::ChangePaper | Action::ReadUserChoices => {
                Answer::Forbidden { needs: Needs::AccessManager }
            }
            _ => expected,
        };
        assert_eq!(at_all(&plain, *action), expected, "{action} as a user");
    }
}

#[test]
fn ops_17_administrators_and_auditors_reach_no_document() {
    for role in [Administrator, PrivacyAuditor, Role::SensitiveRecords] {
        for action in [Action::ReadSubmission, Action::ReadDocument, Action::DownloadDocument, Action::ReadCase] {
            assert!(matches!(at_all(&staff(&[role]), action), Answer::Forbidden { .. }), "{action} as {role}");
        }
    }
}

fn record<'a>(owner: Option<&'a str>, tin: Option<&'a Tin>) -> Record<'a> {
    Record { owner, tin, kind: Some(CaseKind::Appeal), mode: Mode::Live, sensitive: false }
}

#[test]
fn int_33_what_is_not_the_callers_is_hidden_and_what_the_caller_may_never_do_is_forbidden() {
    let (one, two) = (tin(1), tin(2));
    let (own, own_user) = (format!("key:{ID}"), format!("user:{ID}"));
    let all = |scopes: &[Scope]| service(scopes, TinSet::All, Mode::Live);
    let some = |scopes: &[Scope]| service(scopes, tins(&[1]), Mode::Live);
    let (read, any) = ([Scope::Read], [Scope::Read, Scope::ReadAny]);
    let appeals = user(&[(1, rights(&[Entitlement::Reconsideration], false))], Mode::Live);
    let precerts = user(&[(1, rights(&[Entitlement::PrecertViewSubmit], false))], Mode::Live);
    let unknown_kind = Record { kind: None, ..record(None, Some(&one)) };
    let trial = Record { mode: Mode::Test, ..record(Some(&own), Some(&one)) };
    let sensitive = Record { sensitive: true, ..record(None, Some(&one)) };
    #[rustfmt::skip]
    let rows: Vec<(&str, Principal, Record<'_>, bool)> = vec![
        ("its own",                                  all(&read),  record(Some(&own), Some(&two)), true),
        ("another's",                                all(&read),  record(Some("key:x"), Some(&two)), false),
        ("another's, with read_any",                 all(&any),   record(Some("key:x"), Some(&two)), true),
        ("what came by a source, with read_any",     all(&any),   record(None, None), true),
        ("another's of its TIN",                     some(&read), record(Some("key:x"), Some(&one)), true),
        ("another's of another TIN, with read_any",  some(&any),  record(Some("key:x"), Some(&two)), false),
        ("its own of another TIN",                   some(&read), record(Some(&own), Some(&two)), false),
        ("its own without a TIN",                    some(&read), record(Some(&own), None), true),
        ("another's without a TIN",                  some(&any),  record(Some("key:x"), None), false),
        ("a trial of its own, with a live key",      all(&any),   trial.clone(), false),
        ("a trial, with a key for trials",           service(&any, TinSet::All, Mode::Test), trial, true),
        ("what is real, with a key for trials",      service(&any, TinSet::All, Mode::Test), record(Some(&own), None), false),
        ("a practice's sensitive record",            all(&any),   sensitive.clone(), true),
        ("a user's of their TIN and right",          appeals.clone(), record(Some("user:x"), Some(&one)), true),
        ("a user's of their TIN, another right",     precerts,    record(Some("user:x"), Some(&one)), false),
        ("a user's of another TIN",                  appeals.clone(), record(Some("user:x"), Some(&two)), false),
        ("a user's without a TIN",                   appeals.clone(), record(Some(&own_user), None), false),
        ("a user's of an unknown kind",              appeals.clone(), unknown_kind, false),
        ("a user's, in the other mode",              user(&[(1, rights(Entitlement::ALL, true))], Mode::Test), record(None, Some(&one)), false),
        ("a practice's, as a reviewer",              staff(&[Reviewer]), record(None, None), true),
        ("a sensitive one, as a reviewer",           staff(&[Reviewer]), sensitive.clone(), false),
        ("a sensitive one, with the right of its own", staff(&[Reviewer, Role::SensitiveRecords]), sensitive.clone(), true),
    ];
    for (what, who, record, seen) in rows {
        let answer = may(&who, Action::ReadDocument, &Target::Record(record));
        assert_eq!(answer, if seen { Answer::Yes } else { Answer::Hidden }, "{what}");
    }
    let forbidden = may(&all(&[Scope::Submit]), Action::ReadDocument, &Target::Record(record(Some(&own), None)));
    assert_eq!(
        forbidden,
        Answer::Forbidden { needs: Needs::Scope(Scope::Read) },
        "before what it is about is looked at"
    );
    let forbidden = may(&staff(&[Administrator]), Action::ReadDocument, &Target::Record(sensitive));
    assert_eq!(forbidden, Answer::Forbidden { needs: Needs::Role(SEE) });
}

#[test]
fn ops_13_rights_for_a_tin_are_changed_by_its_manager_and_by_whom_the_payer_trusts_with_it() {
    let access = [Scope::Access];
    for (what, who, expected) in [
        ("its manager", user(&[(1, rights(&[], true))], Mode::Live), Answer::Yes),
        ("another's manager", user(&[(2, rights(&[], true))], Mode::Live), Answer::Hidden),
        (
            "a manager elsewhere with rights here",
            user(&[(1, rights(Entitlement::ALL, false)), (2, rights(&[], true))], Mode::Live),
            Answer::Hidden,
        ),
        (
            "a user with rights",
            user(&[(1, rights(Entitlement::ALL, false))], Mode::Live),
            Answer::Forbidden { needs: Needs::AccessManager },
        ),
        ("a key for it", service(&access, tins(&[1]), Mode::Live), Answer::Yes),
        ("a key for all", service(&access, TinSet::All, Mode::Live), Answer::Yes),
        ("a key for another", service(&access, tins(&[2]), Mode::Live), Answer::Hidden),
        ("an administrator", staff(&[Administrator]), Answer::Yes),
        (
            "its manager, by a key for trials",
            user(&[(1, rights(&[], true))], Mode::Test),
            Answer::Forbidden { needs: Needs::LiveKey },
        ),
    ] {
        assert_eq!(may(&who, Action::ManageEntitlements, &Target::Tin(&tin(1))), expected, "{what}");
    }
}

#[test]
fn nobody_gives_a_key_more_than_they_have() {
    let grants =
        |scopes: &[Scope], tins: TinSet, mode: Mode| Grants { scopes: scopes.iter().copied().collect(), tins, mode };
    let (access, both) = ([Scope::Access], [Scope::Access, Scope::Submit]);
    let live = |scopes: &[Scope], tins: TinSet| service(scopes, tins, Mode::Live);
    #[rustfmt::skip]
    let rows = [
        ("the same",                   live(&both, TinSet::All),    grants(&both, TinSet::All, Mode::Live), true),
        ("less",                       live(&both, TinSet::All),    grants(&access, tins(&[1]), Mode::Live), true),
        ("a scope more",               live(&access, TinSet::All),  grants(&both, TinSet::All, Mode::Live), false),
        ("all TINs for some",          live(&both, tins(&[1])),     grants(&both, TinSet::All, Mode::Live), false),
        ("another TIN",                live(&both, tins(&[1])),     grants(&both, tins(&[1, 2]), Mode::Live), false),
        ("a TIN of its own",           live(&both, tins(&[1, 2])),  grants(&both, tins(&[2]), Mode::Live), true),
        ("one for trials",             live(&both, TinSet::All),    grants(&both, TinSet::All, Mode::Test), true),
        ("a live one, from a trial",   service(&both, TinSet::All, Mode::Test), grants(&access, TinSet::All, Mode::Live), false),
        ("an administrator",           staff(&[Administrator]),     grants(Scope::ALL, TinSet::All, Mode::Live), true),
        ("a supervisor",               staff(&[Supervisor]),        grants(&[Scope::Metrics], tins(&[]), Mode::Test), false),
        ("a manager",                  user(&[(1, rights(&[], true))], Mode::Live), grants(&[Scope::Read], tins(&[1]), Mode::Live), false),
    ];
    for (what, who, grants, may) in rows {
        assert_eq!(who.may_give(&grants), may, "{what}");
    }
}

#[test]
fn a_brand_and_its_twin_for_trials_lead_to_each_other() {
    let brand: Brand = "meridian".parse().unwrap();
    let twin = brand.in_mode(Mode::Test);
    assert_eq!((brand.mode(), twin.mode(), twin.as_str()), (Mode::Live, Mode::Test, "meridian.test"));
    assert_eq!(twin.in_mode(Mode::Live), brand);
    assert_eq!((brand.in_mode(Mode::Live), twin.in_mode(Mode::Test)), (brand, twin));
}

#[test]
fn ops_17_the_mailroom_is_for_who_may_see_what_anybody_sent() {
    let action = Action::ReadQueue;
    let both: &[Scope] = &[Scope::Match, Scope::ReadAny];
    for (who, expected) in [
        (staff(&[MailroomOperator]), Answer::Yes),
        (staff(&[Reviewer]), Answer::Forbidden { needs: Needs::Role(WORK) }),
        (service(both, TinSet::All, Mode::Live), Answer::Yes),
        (service(both, TinSet::All, Mode::Test), Answer::Forbidden { needs: Needs::LiveKey }),
        (service(both, tins(&[1]), Mode::Live), Answer::Forbidden { needs: Needs::AllTins }),
        (service(&[Scope::Match], TinSet::All, Mode::Live), Answer::Forbidden { needs: Needs::Scope(Scope::ReadAny) }),
        (service(&[Scope::ReadAny], TinSet::All, Mode::Live), Answer::Forbidden { needs: Needs::Scope(Scope::Match) }),
    ] {
        assert_eq!(may(&who, action, &Target::Mailroom), expected, "{who:?}");
    }
}

#[test]
fn int_35_a_brand_is_meant_as_the_callers_mode_has_it() {
    let served: Vec<Brand> = ["meridian", "other"].map(|name| name.parse().unwrap()).into();
    let rows = [
        ("meridian", Mode::Live, Some("meridian")),
        ("meridian", Mode::Test, Some("meridian.test")),
        ("other.test", Mode::Test, Some("other.test")),
        ("other.test", Mode::Live, None),
        ("nowhere", Mode::Live, None),
        ("nowhere.test", Mode::Test, None),
    ];
    for (named, mode, meant) in rows {
        let brand: Brand = named.parse().unwrap();
        assert_eq!(brand.meant_by(mode, &served).as_ref().map(Brand::as_str), meant, "{named} {mode}");
    }
}
