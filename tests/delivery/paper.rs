//! COR-11, COR-12: paper beside digital, by the access manager alone.

use std::collections::BTreeMap;
use std::io::Cursor;

use lettercase::access::{Caller, ManageError};
use lettercase::delivery::LetterError;
use lettercase::delivery::what_if::Supposed;
use lettercase::engine::bulk::Form;
use lettercase::model::access::{Mode, Principal, Role, Scope, TinSet};
use lettercase::model::letter::{DeliveryChannel, LetterCategory};
use lettercase::model::people::PeopleKind;
use lettercase::model::route::RouteReason;

use super::*;
use crate::access::DAY;
use crate::journey::{texts, told};
use crate::on_both;

const CLAIM: LetterCategory = LetterCategory::Claim;
const PRECERTIFICATION: LetterCategory = LetterCategory::Precertification;

/// The user as a caller.
async fn caller(world: &World, user: &User) -> Caller {
    let mut conn = world.db().read().await.unwrap();
    let rights = lettercase::db::users::rights(&mut conn, &user.id).await.unwrap();
    Caller { principal: Principal::User { user: user.id.clone(), rights, mode: Mode::Live }, through: None }
}

fn of(principal: Principal) -> Caller {
    Caller { principal, through: None }
}

on_both! {
    async fn cor_11_the_access_manager_adds_paper_for_letters_routed_after_it(world: &World) {
        let ada = caller(world, &practices(world).await).await;
        let (by, access, practice) = (Manager::Caller(&ada), &world.app.access, tin(REGISTERED));
        let (before, _) = New::default().routed(world).await;
        let set = async |category, on, expected| access.set_paper(by, &practice, category, on, expected).await;
        let seen = access.paper_of(by, &practice).await.unwrap();
        assert_eq!(seen.iter().map(|one| (one.category, one.since, one.version)).collect::<Vec<_>>(), [(CLAIM, None, 0), (PRECERTIFICATION, None, 0)]);

        let on = set(CLAIM, true, Expected::Version(0)).await.unwrap();
        assert_eq!((on.version, on.since.is_some()), (1, true));
        assert_eq!(ways(world, &before).await, ["inbox delivered registered"], "what was routed stays as it is");
        assert_eq!(New::default().routed(world).await.1, ["inbox delivered registered", "paper waiting manager_chose_paper"]);
        assert_eq!(New { letter_type: APPROVED, ..New::default() }.routed(world).await.1, ["inbox delivered registered"]);
        assert!(matches!(set(CLAIM, false, Expected::Version(0)).await, Err(ManageError::Conflict { version: Some(1), .. })));
        assert!(matches!(set(CLAIM, false, Expected::Absent).await, Err(ManageError::Conflict { .. })));
        assert_eq!(set(CLAIM, true, Expected::Version(1)).await.unwrap(), on, "so it was");
        let off = set(CLAIM, false, Expected::Version(1)).await.unwrap();
        assert_eq!((off.version, off.since), (2, None));
        assert_eq!(New::default().routed(world).await.1, ["inbox delivered registered"]);
        assert!(matches!(set(LetterCategory::Appeal, true, Expected::Any).await, Err(ManageError::Invalid(_))));
        set(PRECERTIFICATION, true, Expected::Absent).await.unwrap();

        world.settle().await;
        let uid = texts(world, "SELECT uid FROM tin WHERE tin = '000000001'").await.remove(0);
        let events = told(world, &uid, "tin.paper_changed").await;
        let payloads: Vec<_> = events.iter().map(|event| event.payload.as_str()).collect();
        assert_eq!(payloads, [
            r#"{"category":"claim","paper":true}"#, r#"{"category":"claim","paper":false}"#, r#"{"category":"precertification","paper":true}"#,
        ]);
        assert!(events.iter().all(|event| event.actor == ada.actor() && !event.payload.contains(REGISTERED)));

        // a practice that registers anew begins digital only
        world.advance(2 * DAY);
        let row = format!("{{\"tin\":\"{REGISTERED}\",\"name\":\"A\",\"registered_on\":\"2026-11-22\"}}");
        assert_eq!(world.load(ReferenceKind::Tins, &row).await.loaded, 1);
        assert_eq!(New { letter_type: APPROVED, ..New::default() }.routed(world).await.1, ["inbox delivered registered"]);
    }
}

on_both! {
    async fn cor_12_nobody_but_the_access_manager_turns_paper_on_or_off(world: &World) {
        practices(world).await;
        let access = &world.app.access;
        let plain = user(world, "eve").await;
        grant(world, &plain, REGISTERED, Entitlement::ALL, false).await;
        let elsewhere = user(world, "bob").await;
        let key = || world.stamp().ctx.new_id().parse().unwrap();
        let all = || Scope::ALL.iter().copied().collect();
        let staff = Principal::Staff { user: plain.id.clone(), roles: Role::ALL.iter().copied().collect() };
        let callers = [
            ("a user", caller(world, &plain).await, false),
            ("a manager of another practice", caller(world, &elsewhere).await, false),
            ("staff", of(staff), true),
            ("a service", of(Principal::Service { key: key(), scopes: all(), tins: TinSet::All, mode: Mode::Live }), true),
            ("a trial", of(Principal::Service { key: key(), scopes: all(), tins: TinSet::All, mode: Mode::Test }), false),
        ];
        for (who, caller, reads) in callers {
            let by = Manager::Caller(&caller);
            let set = access.set_paper(by, &tin(REGISTERED), CLAIM, true, Expected::Any).await;
            assert!(matches!(set, Err(ManageError::Beyond(_) | ManageError::Missing(_))), "{who}: {set:?}");
            assert_eq!(access.paper_of(by, &tin(REGISTERED)).await.is_ok(), reads, "{who}");
        }
        let bob = caller(world, &elsewhere).await;
        grant(world, &elsewhere, UNREGISTERED, &[], true).await;
        let manager = caller(world, &elsewhere).await;
        let none = access.set_paper(Manager::Caller(&bob), &tin(REGISTERED), CLAIM, true, Expected::Any).await;
        assert!(matches!(none, Err(ManageError::Missing(_))), "as if it were not there: {none:?}");
        let unregistered = access.set_paper(Manager::Caller(&manager), &tin(UNREGISTERED), CLAIM, true, Expected::Any).await;
        assert!(matches!(unregistered, Err(ManageError::Invalid(_))), "there is nothing to add to: {unregistered:?}");
    }
}

on_both! {
    async fn cor_12_a_bulk_load_is_for_migration(world: &World) {
        practices(world).await;
        let access = &world.app.access;
        let csv = format!(
            "tin,category,paper\n{REGISTERED},claim,true\n{UNREAD},precertification,true\n{UNREGISTERED},claim,true\n\
             999999999,claim,true\n{REGISTERED},appeal,true\n{REGISTERED},claim,yes\n"
        );
        for loaded in [2, 2] {
            let report = access.load(MACHINE, PeopleKind::Paper, Form::Csv, Cursor::new(csv.clone().into_bytes())).await.unwrap();
            assert_eq!((report.loaded, report.rejected), (loaded, 4), "{report:?}");
            assert!(report.rejects.iter().all(|reject| !reject.reason.contains("999")), "{report:?}");
        }
        assert_eq!(New::default().routed(world).await.1, ["inbox delivered registered", "paper waiting manager_chose_paper"]);
        world.settle().await;
        assert_eq!(crate::journey::count(world, "SELECT COUNT(*) AS n FROM event WHERE type = 'tin.paper_changed'").await, 2, "again is no change");
        let some = of(Principal::Service {
            key: world.stamp().ctx.new_id().parse().unwrap(),
            scopes: [Scope::Access].into(),
            tins: TinSet::Only([tin(UNREAD)].into()),
            mode: Mode::Live,
        });
        let off = format!("{{\"tin\":\"{REGISTERED}\",\"category\":\"claim\",\"paper\":\"false\"}}\n{{\"tin\":\"{UNREAD}\",\"category\":\"precertification\",\"paper\":\"false\"}}\n");
        let report = access.load(Manager::Caller(&some), PeopleKind::Paper, Form::Ndjson, Cursor::new(off.into_bytes())).await.unwrap();
        assert_eq!((report.loaded, report.rejects.len(), report.rejects[0].line), (1, 1, 1), "its own TINs only: {report:?}");
    }
}

on_both! {
    async fn cor_14_a_dry_run_tells_what_paper_would_change_and_changes_nothing(world: &World) {
        practices(world).await;
        let journey = &world.app.correspondence;
        New::default().routed(world).await;
        world.advance(31 * DAY);
        for letter_type in [UPHELD, UPHELD, APPROVED, LetterType::AppealUpheld, LetterType::ReconsiderationCopy] {
            New { letter_type, ..New::default() }.routed(world).await;
        }
        New { about: Some("M-HMO"), ..New::default() }.routed(world).await;
        New { to: UNREGISTERED, ..New::default() }.routed(world).await;
        let practice = tin(REGISTERED);
        let of = async |tin: &Tin, paper: &[(LetterCategory, bool)]| {
            let paper: BTreeMap<_, _> = paper.iter().copied().collect();
            let found = journey.what_if(tin, &paper, None).await.unwrap();
            (found.letters, found.on_paper, found.would_be_on_paper)
        };
        assert_eq!(of(&practice, &[]).await, (6, 2, 2), "an appeal and another plan are on paper anyway");
        assert_eq!(of(&practice, &[(CLAIM, true)]).await, (6, 2, 4));
        assert_eq!(of(&practice, &[(CLAIM, true), (PRECERTIFICATION, true)]).await, (6, 2, 5));
        assert_eq!(of(&tin(UNREGISTERED), &[(CLAIM, true)]).await, (1, 1, 1));
        let ada = caller(world, &user(world, "ada").await).await;
        world.app.access.set_paper(Manager::Caller(&ada), &practice, CLAIM, true, Expected::Any).await.unwrap();
        New::default().routed(world).await;
        assert_eq!(of(&practice, &[]).await, (7, 3, 3), "what was routed is counted as it was");
        assert_eq!(of(&practice, &[(CLAIM, false)]).await, (7, 3, 2));

        let letter = Supposed { letter_type: UPHELD, plan: Some("PPO".into()), letter_date: None, circumstances: [].into() };
        let decide = async |paper: &[(LetterCategory, bool)], letter: &Supposed| {
            journey.what_if(&practice, &paper.iter().copied().collect(), Some(letter)).await.unwrap().routing.unwrap()
        };
        assert_eq!(decide(&[], &letter).await.why(DeliveryChannel::Paper), [RouteReason::ManagerChosePaper]);
        assert!(!decide(&[(CLAIM, false)], &letter).await.has(DeliveryChannel::Paper));
        let early = Supposed { letter_date: Some(jiff::civil::date(2024, 6, 1)), ..letter.clone() };
        assert!(!decide(&[], &early).await.has(DeliveryChannel::Inbox), "COR-04");
        assert!(matches!(journey.what_if(&tin("999999999"), &BTreeMap::new(), None).await, Err(LetterError::NoTin)));
    }
}
