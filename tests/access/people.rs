//! Users, their roles, and their rights per TIN.

use lettercase::access::users::Put;
use lettercase::db::users::UserFilter;
use lettercase::engine::bulk::Form;
use lettercase::model::access::Principal;
use lettercase::model::event::EventType;
use lettercase::model::people::PeopleKind;

use super::*;
use crate::journey::{texts, told};
use crate::on_both;

async fn changes(world: &World, user: &User, kind: EventType) -> Vec<serde_json::Value> {
    world.settle().await;
    let events = told(world, user.id.as_str(), &kind.to_string()).await;
    events.iter().map(|event| serde_json::from_str(&event.payload).unwrap()).collect()
}

on_both! {
    async fn a_user_is_put_by_login_and_found_again(world: &World) {
        let access = access(world);
        let ada = login(PORTAL, "ada");
        let (user, put) = access.put_user(MACHINE, &ada, person("Ada"), Expected::Any).await.unwrap();
        assert_eq!(put, Put::Created);
        let same = access.put_user(MACHINE, &ada, person("Ada"), Expected::Any).await.unwrap();
        assert_eq!(same, (user.clone(), Put::Unchanged));
        let other = Person { email: Some(Phi("ada@example.org".into())), ..person("Ada B") };
        let (user, put) = access.put_user(MACHINE, &ada, other.clone(), Expected::Version(1)).await.unwrap();
        assert_eq!((put, user.version, &user.person), (Put::Changed, 2, &other));
        assert_eq!(conflict(access.put_user(MACHINE, &ada, person("C"), Expected::Version(1)).await), Some(2));
        assert_eq!(conflict(access.put_user(MACHINE, &ada, person("C"), Expected::Absent).await), Some(2));
        assert_eq!(access.get_user(MACHINE, &user.id).await.unwrap(), user);
        assert_eq!(access.get_user_by_login(MACHINE, &ada).await.unwrap(), user);
        assert!(missing(access.get_user_by_login(MACHINE, &login("elsewhere", "ada")).await));
        let told = changes(world, &user, EventType::UserChanged).await;
        assert_eq!(told, [serde_json::json!({"created": true}), serde_json::json!({"fields": ["name", "email"]})]);
        for wrong in [person(""), person("a\u{7}b"), person(&"x".repeat(201)), Person { email: Some(Phi("no".into())), ..person("A") }] {
            let refused = access.put_user(MACHINE, &ada, wrong, Expected::Any).await;
            assert!(matches!(refused, Err(ManageError::Invalid(_))), "{refused:?}");
        }
    }
}

on_both! {
    async fn users_are_found_by_a_part_of_their_name_and_listed_in_parts(world: &World) {
        for subject in ["anna", "bob", "joanna%", "carl_x"] {
            user(world, subject).await;
        }
        staff(world, "diana", &[Role::Reviewer]).await;
        let names = async |search: Option<&str>, staff: Option<bool>| {
            let filter = UserFilter { search: search.map(|text| Phi(text.to_owned())), staff };
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let part = access(world).list_users(MACHINE, &filter, after.as_ref(), 2).await.unwrap();
                found.extend(part.items.into_iter().map(|user| user.person.name.into_inner()));
                after = part.next;
                if after.is_none() {
                    return found;
                }
            }
        };
        assert_eq!(names(None, None).await, ["anna", "bob", "joanna%", "carl_x", "diana"]);
        assert_eq!(names(Some("ANNA"), None).await, ["anna", "joanna%"]);
        assert_eq!(names(Some("%"), None).await, ["joanna%"], "no character is a wildcard");
        assert_eq!(names(Some("_"), None).await, ["carl_x"]);
        assert_eq!(names(Some("an"), Some(true)).await, ["diana"]);
        assert_eq!(names(Some("an"), Some(false)).await, ["anna", "joanna%"]);
    }
}

on_both! {
    async fn ops_17_roles_are_given_by_administrators_and_never_to_oneself(world: &World) {
        let (own, administrator) = staff(world, "admin", &[Role::Administrator]).await;
        let by = Manager::Caller(&administrator);
        let bob = user(world, "bob").await;
        let access = access(world);
        let set = async |by: Manager<'_>, user: &User, roles: &[Role]| {
            access.set_roles(by, &user.id, roles.iter().copied().collect(), Expected::Any).await
        };
        let changed = set(by, &bob, &[Role::Supervisor, Role::SensitiveRecords]).await.unwrap();
        assert_eq!(changed.roles.len(), 2);
        assert!(beyond(set(by, &own, &[Role::Administrator, Role::Supervisor]).await));
        let (_, reviewer) = staff(world, "rita", &[Role::Reviewer]).await;
        assert!(beyond(set(Manager::Caller(&reviewer), &bob, &[]).await));
        let some = caller(world, &[Scope::Access], tins(&[1])).await;
        assert!(beyond(set(Manager::Caller(&some), &bob, &[]).await), "users span TINs");
        let all = caller(world, &[Scope::Access], TinSet::All).await;
        set(Manager::Caller(&all), &bob, &[]).await.unwrap();
        let old = access.set_roles(MACHINE, &bob.id, [Role::Reviewer].into(), Expected::Version(1)).await;
        assert_eq!(conflict(old), Some(3));
        let told = changes(world, &bob, EventType::UserRolesChanged).await;
        assert_eq!(told[0], serde_json::json!({"before": [], "after": ["supervisor", "sensitive_records"]}));
        assert_eq!(told.len(), 2);
    }
}

on_both! {
    async fn ops_13_who_changes_rights_that_have_changed_meanwhile_is_told(world: &World) {
        practices(world).await;
        let ada = user(world, "ada").await;
        let access = access(world);
        let (claims, precerts) = (rights(&[Entitlement::ClaimSearch], false), rights(&[Entitlement::PrecertViewSubmit], false));
        let put = async |rights: &TinRights, expected| access.put_entitlement(MACHINE, &ada.id, &tin(1), rights.clone(), expected).await;
        assert_eq!(put(&claims, Expected::Absent).await.unwrap().version, 1);
        assert_eq!(conflict(put(&precerts, Expected::Absent).await), Some(1));
        assert_eq!(put(&precerts, Expected::Version(1)).await.unwrap().version, 2);
        assert_eq!(conflict(put(&claims, Expected::Version(1)).await), Some(2));
        assert_eq!(put(&precerts, Expected::Version(2)).await.unwrap().version, 2, "what is so already is no change");
        let read = access.get_entitlement(MACHINE, &ada.id, &tin(1)).await.unwrap();
        assert_eq!((read.rights, read.version), (precerts.clone(), 2));

        let delete = async |expected| access.delete_entitlement(MACHINE, &ada.id, &tin(1), expected).await;
        assert_eq!(conflict(delete(Expected::Version(1)).await), Some(2));
        delete(Expected::Version(2)).await.unwrap();
        assert!(missing(delete(Expected::Any).await));
        assert!(missing(access.get_entitlement(MACHINE, &ada.id, &tin(1)).await));
        assert!(access.entitlements_of_user(MACHINE, &ada.id).await.unwrap().is_empty());
        assert!(access.entitlements_of_tin(MACHINE, &tin(1), None, 10).await.unwrap().items.is_empty());
        let again = put(&claims, Expected::Absent).await.unwrap();
        assert_eq!(again.version, 4, "no version comes twice");

        assert!(missing(access.put_entitlement(MACHINE, &ada.id, &tin(99), claims.clone(), Expected::Any).await));
        let nobody = "01980000-0000-7000-8000-000000000001".parse().unwrap();
        assert!(missing(access.put_entitlement(MACHINE, &nobody, &tin(1), claims.clone(), Expected::Any).await));
        let told = changes(world, &ada, EventType::EntitlementChanged).await;
        let codes: Vec<_> = told.iter().map(|payload| (payload["before"].to_string(), payload["after"].to_string())).collect();
        let pair = |before: &str, after: &str| (before.to_owned(), after.to_owned());
        assert_eq!(
            codes,
            [
                pair("[]", r#"["claim_search"]"#),
                pair(r#"["claim_search"]"#, r#"["precert_view_submit"]"#),
                pair(r#"["precert_view_submit"]"#, "[]"),
                pair("[]", r#"["claim_search"]"#),
            ]
        );
        let uids = texts(world, "SELECT DISTINCT tin_uid FROM event WHERE type = 'entitlement.changed'").await;
        assert_eq!(uids, texts(world, "SELECT uid FROM tin WHERE tin = '000000001'").await);
    }
}

on_both! {
    async fn ops_13_access_managers_change_their_own_tin_and_leave_it_a_manager(world: &World) {
        practices(world).await;
        let (ada, bob) = (user(world, "ada").await, user(world, "bob").await);
        grant(world, &ada, 1, rights(&[], true)).await;
        grant(world, &bob, 2, rights(&[], true)).await;
        let manager = through_portal(world, &ada).await;
        let by = Manager::Caller(&manager);
        let access = access(world);
        let put = async |user: &User, number, rights| access.put_entitlement(by, &user.id, &tin(number), rights, Expected::Any).await;
        put(&bob, 1, rights(&[Entitlement::ClaimSearch], false)).await.unwrap();
        assert!(missing(put(&ada, 2, rights(Entitlement::ALL, true)).await), "another's TIN is hidden");
        assert!(missing(access.entitlements_of_tin(by, &tin(2), None, 10).await));
        let seen = access.entitlements_of_tin(by, &tin(1), None, 10).await.unwrap();
        assert_eq!(seen.items.iter().map(|(user, _)| &user.id).collect::<Vec<_>>(), [&ada.id, &bob.id]);
        let of_bob = access.entitlements_of_user(by, &bob.id).await.unwrap();
        assert_eq!(of_bob.iter().map(|granted| &granted.tin).collect::<Vec<_>>(), [&tin(1)], "of their own TINs only");
        assert!(beyond(access.get_user(by, &bob.id).await), "users are not theirs");

        assert!(beyond(put(&ada, 1, rights(&[Entitlement::ClaimSearch], false)).await), "the last one stays");
        assert!(beyond(access.delete_entitlement(by, &ada.id, &tin(1), Expected::Any).await));
        put(&bob, 1, rights(&[], true)).await.unwrap();
        access.set_disabled(MACHINE, &bob.id, true, Expected::Any).await.unwrap();
        assert!(beyond(put(&ada, 1, TinRights::default()).await), "a disabled manager does not count");
        access.set_disabled(MACHINE, &bob.id, false, Expected::Any).await.unwrap();
        put(&ada, 1, TinRights::default()).await.unwrap();
        let again = access.authenticate(&through(world).await, Some(ada.id.as_str())).await.unwrap();
        let Principal::User { rights: left, .. } = &again.principal else { panic!("no user") };
        assert!(left.is_empty(), "what was taken away is away at once");
        access.delete_entitlement(MACHINE, &bob.id, &tin(1), Expected::Any).await.unwrap();
    }
}

async fn through(world: &World) -> String {
    make(world, &[Scope::ActAs], TinSet::All).await.1.reveal().to_owned()
}

on_both! {
    async fn two_managers_who_remove_each_other_at_once_leave_one(world: &World) {
        practices(world).await;
        for round in 0..5 {
            let (ada, bob) = (user(world, &format!("ada{round}")).await, user(world, &format!("bob{round}")).await);
            let number = 1 + round % 3;
            let others = access(world).entitlements_of_tin(MACHINE, &tin(number), None, 10).await.unwrap();
            for (user, _) in others.items {
                access(world).delete_entitlement(MACHINE, &user.id, &tin(number), Expected::Any).await.unwrap();
            }
            for user in [&ada, &bob] {
                grant(world, user, number, rights(&[], true)).await;
            }
            let (as_ada, as_bob) = (through_portal(world, &ada).await, through_portal(world, &bob).await);
            let remove = async |by: &Caller, user: &User| {
                access(world).delete_entitlement(Manager::Caller(by), &user.id, &tin(number), Expected::Any).await
            };
            let (one, other) = tokio::join!(remove(&as_ada, &bob), remove(&as_bob, &ada));
            assert_eq!(u8::from(one.is_ok()) + u8::from(other.is_ok()), 1, "{one:?} {other:?}");
            let left = access(world).entitlements_of_tin(MACHINE, &tin(number), None, 10).await.unwrap();
            assert_eq!(left.items.len(), 1);
        }
    }
}

async fn load(world: &World, by: Manager<'_>, kind: PeopleKind, form: Form, text: &str) -> (u64, Vec<(u64, String)>) {
    let file = std::io::Cursor::new(text.to_owned().into_bytes());
    let report = access(world).load(by, kind, form, file).await.unwrap();
    (report.loaded, report.rejects.into_iter().map(|reject| (reject.line, reject.reason)).collect())
}

on_both! {
    async fn ops_13_users_and_rights_are_loaded_in_bulk_as_often_as_one_likes(world: &World) {
        practices(world).await;
        let users = "issuer,subject,name,email,roles,disabled\n\
            portal,ada,Ada Muster,ada@example.org,,\n\
            portal,bob,Bob Muster,,supervisor sensitive_records,\n\
            portal,cy,Cy Muster,,chief,\n\
            portal,di,Di Muster,nowhere,,\n\
            portal,eva,Eva Muster,,,yes\n\
            por tal,flo,Flo Muster,,,\n";
        let rights = r#"{"issuer":"portal","subject":"ada","tin":"000000001","entitlements":"claim_search reconsideration","access_manager":"yes"}
{"issuer":"portal","subject":"ada","tin":"000000002","entitlements":"patient_search"}
{"issuer":"portal","subject":"nobody","tin":"000000001","entitlements":"claim_search"}
{"issuer":"portal","subject":"eva","tin":"000000077","entitlements":"claim_search"}
{"issuer":"portal","subject":"eva","tin":"77","entitlements":"claim_search"}
{"issuer":"portal","subject":"eva","tin":"000000001","entitlements":"everything"}
"#;
        let mut first = Vec::new();
        for round in 0..2 {
            let (loaded, told) = load(world, MACHINE, PeopleKind::Users, Form::Csv, users).await;
            assert_eq!((loaded, told.iter().map(|(line, _)| *line).collect::<Vec<_>>()), (3, vec![4, 5, 7]), "{told:?}");
            for (line, word) in [(4, "Role"), (5, "email"), (7, "issuer")] {
                let reason = &told.iter().find(|told| told.0 == line).unwrap().1;
                assert!(reason.contains(word), "{line}: {reason}");
                assert!(["chief", "nowhere", "por tal"].iter().all(|value| !reason.contains(value)), "{reason}");
            }
            let (loaded, told) = load(world, MACHINE, PeopleKind::Entitlements, Form::Ndjson, rights).await;
            assert_eq!((loaded, told.iter().map(|(line, _)| *line).collect::<Vec<_>>()), (2, vec![3, 4, 5, 6]), "{told:?}");
            assert!(told.iter().all(|(_, reason)| !reason.contains("77") && !reason.contains("nobody")), "{told:?}");
            let mut now = texts(world, "SELECT id || issuer || subject || name || roles || COALESCE(email, '-') || version FROM app_user ORDER BY 1").await;
            now.extend(texts(world, "SELECT user_id || tin || entitlements || version FROM user_tin ORDER BY 1").await);
            now.push(texts(world, "SELECT id FROM event WHERE type LIKE 'user.%' OR type LIKE 'entitlement.%'").await.len().to_string());
            if round == 0 {
                first = now;
            } else {
                assert_eq!(now, first, "a second load changes nothing and tells nothing");
            }
        }
        let all = access(world).list_users(MACHINE, &UserFilter::default(), None, 10).await.unwrap().items;
        assert_eq!(all.len(), 3);
        assert!(all[2].disabled_at.is_some());
        assert_eq!(all[1].roles, [Role::Supervisor, Role::SensitiveRecords].into());
        let found = access(world).entitlements_of_user(MACHINE, &all[0].id).await.unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].rights.access_manager && !found[1].rights.access_manager);
    }
}

on_both! {
    async fn a_bulk_load_changes_no_more_than_its_caller_may(world: &World) {
        practices(world).await;
        user(world, "ada").await;
        let row = |tin: u32| format!(r#"{{"issuer":"portal","subject":"ada","tin":"{tin:09}","entitlements":"claim_search"}}"#);
        let some = caller(world, &[Scope::Access], tins(&[1])).await;
        let rows = format!("{}\n{}\n", row(1), row(2));
        let (loaded, told) = load(world, Manager::Caller(&some), PeopleKind::Entitlements, Form::Ndjson, &rows).await;
        assert_eq!((loaded, told), (1, vec![(2, "there is no such TIN".to_owned())]));

        let (_, administrator) = staff(world, "admin", &[Role::Administrator]).await;
        let mine = r#"{"issuer":"portal","subject":"admin","name":"Other","roles":"supervisor"}"#;
        let (loaded, told) = load(world, Manager::Caller(&administrator), PeopleKind::Users, Form::Ndjson, mine).await;
        assert_eq!((loaded, told.len()), (0, 1), "{told:?}");
        assert_eq!(texts(world, "SELECT name FROM app_user WHERE subject = 'admin'").await, ["admin"], "all of a row or none");
    }
}
