//! COR-30, COR-34: how often a user is told is the user's own choice.

use std::io::Cursor;

use lettercase::access::{Expected, ManageError, Manager};
use lettercase::engine::bulk::{Form, LoadReport};
use lettercase::model::access::{Entitlement, Scope, TinRights, TinSet};
use lettercase::model::digest::{Cadence, DigestKind};
use lettercase::model::ids::UserId;
use lettercase::model::letter::LetterCategory;
use lettercase::model::people::PeopleKind;
use reqwest::Method;
use serde_json::{Value, json};

use crate::delivery::http::{As, all, refused, service};
use crate::http::Server;
use crate::journey::told;
use crate::on_both;
use crate::support::World;
use crate::support::digests::*;

const ONE: &str = "000000011";
const TWO: &str = "000000012";
const CHOICES: &str = "/v1/me/notification-choices";

async fn as_user<'a>(world: &World, server: &'a Server, user: &UserId) -> As<'a> {
    As { user: Some(user.to_string()), ..service(world, server, &[Scope::ActAs], TinSet::All).await }
}

async fn rights(world: &World, user: &UserId) -> std::collections::BTreeMap<lettercase::model::ids::Tin, TinRights> {
    let mut conn = world.db().read().await.unwrap();
    lettercase::db::users::rights(&mut conn, user).await.unwrap()
}

/// What is chosen: `000000011 claim daily`, with `*` where it was chosen.
async fn chosen(world: &World, user: &UserId) -> Vec<String> {
    let page = world.app.digests.choices_of(user, None, 500).await.unwrap();
    let mut all: Vec<String> = page
        .items
        .iter()
        .map(|one| {
            format!(
                "{} {} {}{}",
                one.tin.as_str(),
                one.category,
                one.cadence,
                if one.choice.is_some() { "*" } else { "" }
            )
        })
        .collect();
    all.sort();
    all
}

async fn loaded(world: &World, rows: &str) -> LoadReport {
    let file = Cursor::new(rows.to_owned().into_bytes());
    world.app.access.load(Manager::Machine("test"), PeopleKind::Choices, Form::Ndjson, file).await.unwrap()
}

on_both! {
    async fn cor_30_a_user_chooses_per_practice_and_category_and_sees_what_counts(world: &World) {
        practices(world, &[ONE, TWO]).await;
        let ada = reader(world, "ada", &[ONE]).await;
        grant(world, &ada, TWO, &[Entitlement::PrecertViewSubmit, Entitlement::PatientSearch]).await;
        let bob = reader(world, "bob", &[ONE]).await;
        let server = Server::start(&world.app).await;
        let (ada_asks, bob_asks) = (as_user(world, &server, &ada).await, as_user(world, &server, &bob).await);
        let (status, _, page) = ada_asks.get(CHOICES).await;
        assert_eq!((status, page["choices"].as_array().unwrap().len(), &page["next"]), (200, 3, &Value::Null), "{page}");
        assert!(page["choices"].as_array().unwrap().iter().all(|one| one["cadence"] == "daily" && one["chosen"] == false && one["version"] == 0));

        let weekly = |tin: &str| json!({ "tin": tin, "category": "claim", "cadence": "weekly" });
        let put = async |etag: Option<&str>, body: Value| ada_asks.send(Method::PUT, CHOICES, etag, body).await;
        assert_eq!(refused(&put(None, weekly(ONE)).await), (428, "version_needed"));
        let (status, etag, view) = put(Some("\"0\""), weekly(ONE)).await;
        assert_eq!((status, etag.as_str(), &view["source"]), (200, "\"1\"", &json!("user")), "{view}");
        assert_eq!(refused(&put(Some("\"0\""), weekly(ONE)).await), (412, "version_conflict"));
        assert_eq!(put(Some("\"1\""), weekly(ONE)).await.1, "\"1\"", "what was so is no change");
        assert_eq!(put(Some("\"1\""), json!({ "tin": ONE, "category": "claim", "cadence": "off" })).await.1, "\"2\"");
        // not what the user may not read, and appeals have no choice of their own
        assert_eq!(refused(&put(Some("\"0\""), weekly(TWO)).await), (404, "not_found"));
        assert_eq!(put(Some("\"0\""), json!({ "tin": ONE, "category": "appeal", "cadence": "off" })).await.0, 422);
        assert_eq!(chosen(world, &ada).await, ["000000011 claim off*", "000000011 precertification daily", "000000012 precertification daily"]);
        assert_eq!(chosen(world, &bob).await, ["000000011 claim daily", "000000011 precertification daily"], "it concerns nobody else");
        assert_eq!(bob_asks.get(CHOICES).await.2["choices"][0]["chosen"], false);

        world.settle().await;
        let events = told(world, ada.as_str(), "digest_choice.changed").await;
        assert_eq!(events.len(), 2);
        assert!(events.iter().all(|event| event.tin_uid.is_some() && !event.payload.contains(ONE)), "{events:?}");
    }
}

on_both! {
    async fn cor_30_others_only_look_and_an_access_manager_for_the_practices_managed(world: &World) {
        practices(world, &[ONE, TWO]).await;
        let ada = reader(world, "ada", &[ONE, TWO]).await;
        let boss = user(world, "boss").await;
        let manages = TinRights { entitlements: [].into(), access_manager: true };
        world.app.access.put_entitlement(Manager::Machine("test"), &boss, &tin(ONE), manages, Expected::Any).await.unwrap();
        let server = Server::start(&world.app).await;
        let path = format!("/v1/users/{ada}/notification-choices");
        let of = |page: &Value| page["choices"].as_array().unwrap().iter().map(|one| one["tin"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(of(&as_user(world, &server, &boss).await.get(&path).await.2), [ONE, ONE]);
        assert_eq!(of(&all(&server).get(&path).await.2).len(), 4);
        assert_eq!(refused(&as_user(world, &server, &ada).await.get(&path).await), (403, "forbidden"));
        assert_eq!(all(&server).get(&format!("/v1/users/{}/notification-choices", world.stamp().ctx.new_id())).await.0, 404);
        let body = json!({ "tin": ONE, "category": "claim", "cadence": "off" });
        assert_eq!(refused(&all(&server).send(Method::PUT, CHOICES, Some("\"0\""), body).await), (403, "forbidden"));
        let narrow = service(world, &server, &[Scope::ActAs], TinSet::Only([tin(TWO)].into())).await;
        let narrow = As { user: Some(ada.to_string()), ..narrow };
        assert_eq!(of(&narrow.get(CHOICES).await.2), [TWO, TWO]);
        let all_off = json!({ "category": "claim", "cadence": "off" });
        let (status, _, done) = narrow.send(Method::PUT, &format!("{CHOICES}/all"), None, all_off).await;
        assert_eq!((status, &done["changed"]), (200, &json!(1)), "{done}");
        assert_eq!(chosen(world, &ada).await, [
            "000000011 claim daily", "000000011 precertification daily", "000000012 claim off*", "000000012 precertification daily",
        ]);
    }
}

on_both! {
    async fn cor_30_one_choice_for_all_practices_goes_over_what_was_chosen_and_five_thousand_take_no_time(world: &World) {
        practices(world, &[ONE]).await;
        let ada = reader(world, "ada", &[ONE]).await;
        let many = "WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 5000)";
        let name = "'9' || SUBSTR(CAST(100000000 + i AS TEXT), 2)";
        sql(world, &format!("INSERT INTO tin (tin, uid, name) {many} SELECT {name}, 'uid-' || {name}, 'A practice' FROM n")).await;
        sql(world, &format!("INSERT INTO user_tin (user_id, tin, entitlements, version) {many} SELECT '{ada}', {name}, 'claim_search', 1 FROM n")).await;
        let of = rights(world, &ada).await;
        let digests = &world.app.digests;
        assert_eq!(digests.choose_all("user:ada", (&ada, &of), LetterCategory::Claim, Cadence::Weekly).await.unwrap(), 5_001);
        assert_eq!(digests.choose_all("user:ada", (&ada, &of), LetterCategory::Claim, Cadence::Weekly).await.unwrap(), 0);
        let refused = digests.choose_all("user:ada", (&ada, &of), LetterCategory::Appeal, Cadence::Weekly).await;
        assert!(matches!(refused, Err(ManageError::Invalid(_))), "{refused:?}");
        // all pages together are all of it, each once
        let (mut after, mut seen) = (None, std::collections::BTreeSet::new());
        loop {
            let page = digests.choices_of(&ada, after.as_deref(), 500).await.unwrap();
            seen.extend(page.items.iter().map(|one| (one.tin.clone(), one.category)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 5_002);
        world.settle().await;
        let events = told(world, ada.as_str(), "digest_choice.changed").await;
        assert_eq!(events.len(), 1, "one act is one event");
        assert!(events[0].payload.contains("5001"), "{events:?}");
    }
}

on_both! {
    async fn cor_30_a_load_brings_what_was_chosen_elsewhere_and_never_goes_over_what_the_user_chose_here(world: &World) {
        practices(world, &[ONE, TWO]).await;
        let ada = reader(world, "ada", &[ONE, TWO]).await;
        let of = rights(world, &ada).await;
        let one = tin(ONE);
        let own = world.app.digests.choose("user:ada", (&ada, &of), (&one, LetterCategory::Claim), Cadence::Daily, Expected::Absent).await;
        assert_eq!(own.unwrap().choice.unwrap().version, 1);
        let row = |tin: &str, category: &str, cadence: &str| {
            format!("{{\"issuer\":\"portal\",\"subject\":\"ada\",\"tin\":\"{tin}\",\"category\":\"{category}\",\"cadence\":\"{cadence}\"}}\n")
        };
        let rows = [
            row(ONE, "claim", "off"), row(TWO, "claim", "weekly"), row(TWO, "precertification", "off"), row(TWO, "appeal", "off"),
            row("000000099", "claim", "off"), row(ONE, "claim", "hourly"),
        ].concat() + &row(TWO, "claim", "weekly").replace("ada", "nobody");
        let report = loaded(world, &rows).await;
        let lines: Vec<u64> = report.rejects.iter().map(|reject| reject.line).collect();
        assert_eq!((report.loaded, lines), (2, vec![1, 4, 5, 6, 7]), "{report:?}");
        assert!(report.rejects[0].reason.contains("chosen here"), "{report:?}");
        assert!(report.rejects.iter().all(|reject| !reject.reason.contains(ONE)), "{report:?}");
        let stands = [
            "000000011 claim daily*", "000000011 precertification daily", "000000012 claim weekly*", "000000012 precertification off*",
        ];
        assert_eq!(chosen(world, &ada).await, stands);
        assert_eq!(loaded(world, &row(TWO, "claim", "weekly")).await.loaded, 1, "again it changes nothing");
        assert_eq!(loaded(world, &row(TWO, "claim", "off")).await.loaded, 1, "a later load goes over an earlier");
        assert_eq!(chosen(world, &ada).await[2], "000000012 claim off*");
    }
}

on_both! {
    async fn cor_34_unsubscribing_turns_off_what_the_mail_told_of_and_nothing_else(world: &World) {
        practices(world, &[ONE, TWO]).await;
        let (ada, bob) = (reader(world, "ada", &[ONE, TWO]).await, reader(world, "bob", &[ONE]).await);
        for tin in [ONE, TWO] {
            publish(world, tin, CLAIM).await;
        }
        publish(world, ONE, PRECERT).await;
        daily(world, TODAY).await;
        let mail = mail_of(world, &ada, DigestKind::ClaimInfo, TODAY);
        // what was taken out before it went, the mail did not tell of
        grant(world, &ada, TWO, &[Entitlement::PrecertViewSubmit]).await;
        submit(world, &mail).await;
        grant(world, &ada, TWO, &BOTH).await;
        assert_eq!(world.app.digests.off_for_mail(&mail).await.unwrap(), Some(1));
        assert_eq!(world.app.digests.off_for_mail(&mail).await.unwrap(), Some(0));
        assert_eq!(chosen(world, &ada).await, [
            "000000011 claim off*", "000000011 precertification daily", "000000012 claim daily", "000000012 precertification daily",
        ]);
        assert_eq!(chosen(world, &bob).await, ["000000011 claim daily", "000000011 precertification daily"]);
        let nobody = mail_of(world, &ada, DigestKind::PrecertAction, TODAY);
        assert_eq!(world.app.digests.off_for_mail(&nobody).await.unwrap(), None);
        world.settle().await;
        assert_eq!(told(world, ada.as_str(), "digest_choice.changed").await.len(), 1);
    }
}

on_both! {
    async fn cor_30_turning_on_does_not_bring_what_came_while_it_was_off(world: &World) {
        practices(world, &[ONE, TWO]).await;
        let ada = reader(world, "ada", &[ONE, TWO]).await;
        let rights = rights(world, &ada).await;
        let digests = &world.app.digests;
        let choose = async |tin_of: &str, cadence| {
            let of = (&tin(tin_of), LetterCategory::Claim);
            digests.choose("test", (&ada, &rights), of, cadence, Expected::Any).await.unwrap();
        };
        choose(ONE, Cadence::Off).await;
        // no run in between: schedules are paused, or held
        let (past, other) = (publish(world, ONE, CLAIM).await, publish(world, TWO, CLAIM).await);
        let precert = publish(world, ONE, PRECERT).await;
        choose(ONE, Cadence::Weekly).await;
        assert_eq!(stands(world, &ada, &past).await, "left_out was_off");
        assert_eq!([stands(world, &ada, &other).await, stands(world, &ada, &precert).await], ["waiting", "waiting"]);
        let next = publish(world, ONE, CLAIM).await;
        choose(ONE, Cadence::Daily).await;
        assert_eq!(stands(world, &ada, &next).await, "waiting", "weekly is not off");
        choose(ONE, Cadence::Off).await;
        digests.choose_all("test", (&ada, &rights), LetterCategory::Claim, Cadence::Daily).await.unwrap();
        assert_eq!([stands(world, &ada, &next).await, stands(world, &ada, &other).await], ["left_out was_off", "waiting"]);
        daily(world, TODAY).await;
        assert_eq!(stands(world, &ada, &other).await, "mailed 2026-11-20 claim_info");
    }
}
