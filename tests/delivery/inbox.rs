//! COR-20..26, PRE-42: the Messaging Center, as its users meet it.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use lettercase::cases::status::{StatusChange, Told, change};
use lettercase::db::case_files;
use lettercase::db::messages::lists::{Reader, Wanted, find, list, unread};
use lettercase::db::messages::{self, Marking, NewMessage};
use lettercase::delivery::reconcile::Tended;
use lettercase::model::access::{Mode, Scope, TinSet};
use lettercase::model::ids::{CaseId, MessageId};
use lettercase::model::letter::LetterCategory;
use lettercase::model::message::{Folder, MessageType, words};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::http::{As, all, refused, service, speaking};
use super::*;
use crate::access::DAY;
use crate::http::Server;
use crate::journey::{count, sql, texts, told};
use crate::on_both;
use crate::review::case;

const ASKS: LetterType = LetterType::AdditionalInformationRequested;

/// The messages that a search answers.
async fn searched(who: &As<'_>, search: Value) -> Vec<Value> {
    let (status, _, body) = who.post("/v1/messages/search", None, search).await;
    assert_eq!(status, 200, "{body}");
    body["messages"].as_array().unwrap().clone()
}

async fn marked(who: &As<'_>, id: &str, marks: Value) -> u16 {
    who.send(Method::PUT, &format!("/v1/messages/{id}/mark"), None, marks).await.0
}

async fn deleted(who: &As<'_>, id: &str) -> u16 {
    fetched(who, Method::DELETE, &format!("/v1/messages/{id}")).await.0
}

/// What is answered by bytes, or by nothing: status, headers, body.
async fn fetched(who: &As<'_>, method: Method, path: &str) -> (u16, HeaderMap, Bytes) {
    let request =
        who.client.request(method, who.server.url(path)).header("Lettercase-Act-As", who.user.as_deref().unwrap());
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.headers().clone(), response.bytes().await.unwrap())
}

/// Opens the letter of a message.
async fn opened(who: &As<'_>, id: &str) -> u16 {
    fetched(who, Method::GET, &format!("/v1/messages/{id}/letter")).await.0
}

/// Practices that are nothing but known.
async fn known(world: &World, tins: impl Iterator<Item = String>) {
    let rows: String = tins.map(|tin| format!("{{\"tin\":\"{tin}\",\"name\":\"A practice\"}}\n")).collect();
    assert_eq!(world.load(ReferenceKind::Tins, &rows).await.rejected, 0);
}

/// A letter with a PDF of these bytes, about the sample's claim and case, which are made the registered practice's.
async fn with_pdf(world: &World, new: New<'_>, bytes: &[u8]) -> LetterId {
    let id = New { pdf: bytes, ..new }.ask(world).await;
    let mut tx = world.db().begin().await.unwrap();
    sqlx::query("UPDATE letter SET claim_number = 'CL2638150472' WHERE id = $1")
        .bind(id.as_str())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    world.settle().await;
    id
}

async fn samples(world: &World) {
    world.load_samples().await;
    sql(world, "UPDATE claim SET tin = '000000001' WHERE claim_number = 'CL2638150472'").await;
}

/// The id of a letter's message.
async fn message_of(world: &World, letter: &LetterId) -> String {
    let all = texts(world, "SELECT letter_id || ' ' || id FROM message WHERE letter_id IS NOT NULL").await;
    let found = all.into_iter().find_map(|row| row.strip_prefix(&format!("{letter} ")).map(ToOwned::to_owned));
    found.unwrap()
}

on_both! {
    async fn cor_20_a_message_is_there_for_who_is_entitled_now_and_for_nobody_else(world: &World) {
        let ada = practices(world).await;
        let server = Server::start(&world.app).await;
        let (upheld, ways) = New::default().routed(world).await;
        assert_eq!(ways, ["inbox delivered registered"]);
        New { letter_type: APPROVED, ..New::default() }.routed(world).await;
        assert!(work_for(world, &upheld).await.is_empty());
        let eve = user(world, "eve").await;
        grant(world, &eve, REGISTERED, &[Entitlement::ClaimSearch], false).await;
        let bob = user(world, "bob").await;
        let (ada, eve_asks, bob) =
            (speaking(world, &server, &ada).await, speaking(world, &server, &eve).await, speaking(world, &server, &bob).await);
        assert_eq!(searched(&ada, json!({})).await.len(), 2);
        let found = searched(&eve_asks, json!({})).await;
        assert_eq!((found.len(), &found[0]["type"], &found[0]["letter_id"]), (1, &json!(UPHELD), &json!(upheld)));
        assert_eq!((&found[0]["read"], &found[0]["member_name"]), (&json!(false), &json!("A B")));
        let id = found[0]["id"].as_str().unwrap();
        assert_eq!(searched(&bob, json!({})).await, Vec::<Value>::new());
        let path = format!("/v1/messages/{id}");
        assert_eq!((eve_asks.get(&path).await.0, bob.get(&path).await.0), (200, 404));
        let unread = |came: &(u16, String, Value)| came.2["categories"].as_array().unwrap().iter().map(|one| one["unread"].as_i64().unwrap()).sum::<i64>();
        assert_eq!(unread(&eve_asks.get("/v1/messages/counts").await), 1);

        grant(world, &eve, REGISTERED, &[Entitlement::PatientSearch], false).await;
        assert_eq!(searched(&eve_asks, json!({})).await, Vec::<Value>::new(), "gone at once");
        assert_eq!(searched(&eve_asks, json!({ "text": "upheld" })).await, Vec::<Value>::new());
        for gone in [path.clone(), format!("{path}/letter")] {
            assert_eq!(refused(&eve_asks.get(&gone).await), (404, "not_found"), "{gone}");
        }
        assert_eq!((marked(&eve_asks, id, json!({ "read": true })).await, deleted(&eve_asks, id).await), (404, 404));
        assert_eq!(unread(&eve_asks.get("/v1/messages/counts").await), 0);
        assert_eq!(ada.get(&path).await.0, 200);

        // a service sees it for a user only, and only where its key reaches
        assert_eq!(refused(&all(&server).get(&path).await), (403, "forbidden"));
        let narrow = service(world, &server, &[Scope::ActAs], TinSet::Only([tin(UNREAD)].into())).await;
        let narrow = As { user: ada.user.clone(), ..narrow };
        assert_eq!((searched(&narrow, json!({})).await.len(), narrow.get(&path).await.0), (0, 404));
        assert_eq!(unread(&narrow.get("/v1/messages/counts").await), 0);
    }
}

on_both! {
    async fn cor_21_what_one_user_marks_and_deletes_touches_nobody_else_and_cor_22_history_keeps_it(world: &World) {
        let ada = practices(world).await;
        samples(world).await;
        let server = Server::start(&world.app).await;
        let letter = with_pdf(world, New::default(), b"%PDF one").await;
        let eve = user(world, "eve").await;
        grant(world, &eve, REGISTERED, Entitlement::ALL, false).await;
        let (ada, eve) = (speaking(world, &server, &ada).await, speaking(world, &server, &eve).await);
        let id = message_of(world, &letter).await;
        let in_folder = async |who: &As<'_>, folder: &str| searched(who, json!({ "folder": folder })).await.len();
        assert_eq!(marked(&ada, &id, json!({ "flagged": true, "read": true })).await, 200);
        assert_eq!((in_folder(&ada, "inbox").await, in_folder(&ada, "flagged").await, in_folder(&ada, "archive").await), (1, 1, 0));
        assert_eq!(searched(&ada, json!({ "unread": true })).await.len(), 0);
        assert_eq!(searched(&eve, json!({ "unread": true })).await.len(), 1);
        assert_eq!(marked(&ada, &id, json!({ "archived": true, "read": false })).await, 200);
        assert_eq!((in_folder(&ada, "inbox").await, in_folder(&ada, "flagged").await, in_folder(&ada, "archive").await), (0, 1, 1));
        assert_eq!((in_folder(&eve, "inbox").await, in_folder(&eve, "archive").await), (1, 0));

        assert_eq!(deleted(&ada, &id).await, 204);
        assert_eq!((deleted(&ada, &id).await, marked(&ada, &id, json!({ "archived": false })).await), (404, 404), "for good");
        for folder in ["inbox", "flagged", "archive"] {
            assert_eq!(in_folder(&ada, folder).await, 0, "{folder}");
        }
        assert_eq!(searched(&ada, json!({ "text": "reconsideration" })).await.len(), 0);
        assert_eq!(searched(&eve, json!({ "text": "reconsideration" })).await.len(), 1);

        let claim = json!({ "claim_number": "cl2638150472" });
        let shown = async |who: &As<'_>| {
            let (status, _, body) = who.post("/v1/claims/letters", None, claim.clone()).await;
            (status, body["letters"].as_array().map(Vec::len))
        };
        assert_eq!(shown(&ada).await, (200, Some(1)), "the history shows it whatever was deleted");
        assert_eq!(opened(&ada, &id).await, 200, "and it can be read there");
        let bob = user(world, "bob").await;
        assert_eq!(shown(&speaking(world, &server, &bob).await).await.0, 404);
        assert_eq!(shown(&service(world, &server, &[Scope::Read, Scope::ReadAny], TinSet::All).await).await, (200, Some(1)));

        // COR-23: two years from the letter's date, to the end of that day
        let left = "2028-11-21T05:59:59Z".parse::<jiff::Timestamp>().unwrap();
        let wait = left.duration_since(world.app.intake.ctx.now());
        world.advance(Duration::try_from(wait).unwrap());
        let (zone, until) = (world.app.correspondence.calendar.local_day(left), texts(world, "SELECT CAST(online_until AS TEXT) FROM message").await.remove(0));
        let until = jiff::Timestamp::from_microsecond(until.parse().unwrap()).unwrap();
        assert_eq!(world.app.correspondence.calendar.local_day(until - Duration::from_secs(1)), jiff::civil::date(2028, 11, 20), "{zone}");
        world.advance(2 * DAY);
        let server = server.beside(&world.app);
        let eve = user(world, "eve").await;
        let eve = speaking(world, &server, &eve).await;
        assert_eq!((searched(&eve, json!({})).await.len(), shown(&eve).await), (0, (200, Some(0))), "before the job has come by");
        assert_eq!(opened(&eve, &id).await, 404);
        assert_eq!(world.app.correspondence.reconcile("here").await.unwrap(), Tended { offline: 1, ..Tended::default() });
        assert_eq!(world.app.correspondence.reconcile("here").await.unwrap(), Tended::default());
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM message_text").await, 0, "and nobody finds it");
        assert_eq!((searched(&eve, json!({})).await.len(), shown(&eve).await), (0, (200, Some(0))));
    }
}

on_both! {
    async fn cor_26_who_opened_a_letter_first_is_kept(world: &World) {
        let ada = practices(world).await;
        samples(world).await;
        let server = Server::start(&world.app).await;
        let letter = with_pdf(world, New { letter_type: ASKS, ..New::default() }, b"%PDF one").await;
        let other = with_pdf(world, New::default(), b"%PDF two").await;
        let eve = user(world, "eve").await;
        grant(world, &eve, REGISTERED, Entitlement::ALL, false).await;
        let (ada_asks, eve_asks) = (speaking(world, &server, &ada).await, speaking(world, &server, &eve).await);
        let id = message_of(world, &letter).await;
        assert_eq!(searched(&ada_asks, json!({ "type": ASKS })).await[0]["action_required"], true);
        let (status, headers, bytes) = fetched(&ada_asks, Method::GET, &format!("/v1/messages/{id}/letter")).await;
        let head = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!((status, head("content-type"), head("cache-control"), head("x-content-type-options")),
            (200, "application/pdf".into(), "private, no-store".into(), "nosniff".into()));
        assert!(head("content-disposition").starts_with("attachment; filename=\"LT-"));
        assert_eq!(bytes.as_ref(), b"%PDF one");
        world.advance(DAY);
        assert_eq!(opened(&eve_asks, &id).await, 200);
        assert_eq!(texts(world, "SELECT opened_by FROM message WHERE opened_by IS NOT NULL").await, [ada.id.as_str()]);
        assert_eq!(searched(&ada_asks, json!({ "unread": true })).await.len(), 1, "it is read by opening it");

        let wanted = json!({ "messages": [id, message_of(world, &other).await] });
        let url = server.url("/v1/messages/download");
        let request = eve_asks.client.post(&url).header("Lettercase-Act-As", eve_asks.user.as_deref().unwrap());
        let zip = request.json(&wanted).send().await.unwrap().bytes().await.unwrap();
        let mut zip = zip::ZipArchive::new(std::io::Cursor::new(zip)).unwrap();
        let mut held: Vec<Vec<u8>> = (0..zip.len())
            .map(|at| {
                let mut bytes = Vec::new();
                zip.by_index(at).unwrap().read_to_end(&mut bytes).unwrap();
                bytes
            })
            .collect();
        held.sort();
        assert_eq!(held, [b"%PDF one".to_vec(), b"%PDF two".to_vec()]);
        let stranger = json!({ "messages": [id, world.stamp().ctx.new_id()] });
        assert_eq!(refused(&eve_asks.post("/v1/messages/download", None, stranger).await), (404, "not_found"), "all or none");
        assert_eq!(eve_asks.post("/v1/messages/download", None, json!({ "messages": [] })).await.0, 400);

        world.settle().await;
        let events = told(world, letter.as_str(), "letter.opened").await;
        let firsts: Vec<bool> = events.iter().map(|event| event.payload.contains("\"first\":true")).collect();
        assert_eq!(firsts, [true, false, false]);
        assert!(events[0].actor.starts_with(&format!("user:{}", ada.id)));
    }
}

on_both! {
    async fn cor_26_a_letter_that_needs_an_answer_is_reported_once_when_nobody_opened_it(world: &World) {
        practices(world).await;
        let server = Server::start(&world.app).await;
        let letter = New { letter_type: ASKS, ..New::default() }.routed(world).await.0;
        New::default().routed(world).await;
        let journey = &world.app.correspondence;
        world.advance(7 * DAY);
        assert_eq!(journey.reconcile("here").await.unwrap(), Tended::default(), "the seventh day is not over");
        assert_eq!(all(&server).get("/v1/messages/unread-report").await.2["letters"], json!([]));
        world.advance(DAY);
        let report = all(&server).get("/v1/messages/unread-report").await.2;
        assert_eq!((report["letters"].as_array().unwrap().len(), &report["letters"][0]["letter_id"]), (1, &json!(letter)), "{report}");
        assert!(!report.to_string().contains(REGISTERED));
        let mut paper = (*journey.plan).clone();
        paper.inbox.paper_after_unread = true;
        let journey = lettercase::delivery::Correspondence { plan: std::sync::Arc::new(paper), ..journey.clone() };
        assert_eq!(journey.reconcile("here").await.unwrap(), Tended { unread: 1, paper: 1, offline: 0 });
        sql(world, "UPDATE message SET reported_at = NULL").await;
        assert_eq!(journey.reconcile("there").await.unwrap(), Tended::default(), "another node has the lease");
        sql(world, "UPDATE message SET reported_at = published_at").await;
        assert_eq!(journey.reconcile("here").await.unwrap(), Tended::default(), "once");
        assert_eq!(ways(world, &letter).await, ["inbox delivered registered", "paper waiting unread_in_time"]);
        world.settle().await;
        let id = message_of(world, &letter).await;
        assert_eq!(told(world, &id, "message.unread").await.len(), 1);
        assert!(all(&server).get("/v1/messages/unread-report").await.2["letters"][0]["reported_at"].is_string());
        let reader = service(world, &server, &[Scope::Read], TinSet::All).await;
        assert_eq!(refused(&reader.get("/v1/messages/unread-report").await), (403, "forbidden"));
    }
}

/// Brings a case into a status without a letter.
async fn status(world: &World, id: &CaseId, status: &str) {
    let seen = {
        let mut conn = world.db().read().await.unwrap();
        case_files::get(&mut conn, id).await.unwrap().unwrap().version
    };
    let wanted = StatusChange { status: status.into(), circumstances: [].into(), letter: Told::Not };
    change(world.db(), world.stamp(), id, seen, &wanted).await.unwrap();
    world.settle().await;
}

on_both! {
    async fn pre_42_each_visible_change_of_status_is_told_once_whatever_way_its_letter_takes(world: &World) {
        world.load_samples().await;
        let precertification = case(world, "PC-6N2RQ8VX").await;
        let stranger = case(world, "PC-3Y5HT9KB").await;
        sql(world, "DELETE FROM tin WHERE tin = '008351462'").await;
        for told in ["Approved", "Incomplete", "Void"] {
            status(world, &precertification, told).await;
        }
        status(world, &case(world, "RC-7K4M9TX2").await, "In Process").await;
        status(world, &stranger, "Approved").await;
        let told = texts(world, "SELECT category || ' ' || type || ' ' || status FROM message ORDER BY id").await;
        let expected = ["precertification notice Approved", "precertification notice Void", "claim notice In Process"];
        assert_eq!(told, expected);
        sql(world, "UPDATE event_reader SET position = 0 WHERE name = 'notices'").await;
        world.settle().await;
        assert_eq!(texts(world, "SELECT category || ' ' || type || ' ' || status FROM message ORDER BY id").await, expected, "read again");

        let ada = user(world, "ada").await;
        grant(world, &ada, "004417203", Entitlement::ALL, false).await;
        let server = Server::start(&world.app).await;
        let ada = speaking(world, &server, &ada).await;
        let found = searched(&ada, json!({ "category": "precertification", "tin": "004417203" })).await;
        assert_eq!((found.len(), &found[0]["case_number"], &found[0]["letter_id"]), (2, &json!("PC-6N2RQ8VX"), &Value::Null));
        assert_eq!(searched(&ada, json!({ "text": "pc 6n2rq8vx void" })).await.len(), 1);
        let history = ada.get(&format!("/v1/cases/{precertification}/letters?limit=1")).await.2;
        assert_eq!(history["letters"][0]["status"], "Void");
        let rest = ada.get(&format!("/v1/cases/{precertification}/letters?cursor={}", history["next"].as_str().unwrap())).await.2;
        assert_eq!((&rest["letters"][0]["status"], &rest["next"]), (&json!("Approved"), &Value::Null));
        assert_eq!(ada.get(&format!("/v1/cases/{stranger}/letters")).await.0, 404);
        let id = found[0]["id"].as_str().unwrap();
        assert_eq!(refused(&ada.get(&format!("/v1/messages/{id}/letter")).await), (404, "not_found"), "a notice has no letter");
    }
}

on_both! {
    async fn cor_24_a_user_chooses_what_to_see_and_cor_25_sees_their_rights(world: &World) {
        let ada = practices(world).await;
        let server = Server::start(&world.app).await;
        let ada = speaking(world, &server, &ada).await;
        for letter_type in [UPHELD, ASKS, APPROVED] {
            New { letter_type, ..New::default() }.routed(world).await;
        }
        let hide = async |hidden: Value| ada.send(Method::PUT, "/v1/messages/hidden", None, json!({ "hidden": hidden })).await.0;
        assert_eq!(hide(json!([{ "category": "claim", "type": "reconsideration_upheld" }])).await, 200);
        let types = async || {
            let mut types: Vec<_> = searched(&ada, json!({})).await.iter().map(|one| one["type"].as_str().unwrap().to_owned()).collect();
            types.sort();
            types
        };
        assert_eq!(types().await, ["additional_information_requested", "precertification_approved"]);
        let counts = ada.get("/v1/messages/counts").await.2;
        assert_eq!(counts["categories"][0], json!({ "category": "claim", "unread": 1, "or_more": false }));
        assert_eq!(hide(json!([{ "category": "claim" }])).await, 200);
        assert_eq!(types().await, ["precertification_approved"]);
        assert_eq!(searched(&ada, json!({ "text": "additional" })).await.len(), 0);
        assert_eq!(ada.get("/v1/messages/hidden").await.2["hidden"], json!([{ "category": "claim", "type": null }]));
        assert_eq!(hide(json!([{ "category": "claim", "type": "precertification_void" }])).await, 400);
        assert_eq!(hide(json!([])).await, 200);
        assert_eq!(types().await.len(), 3);

        let own = ada.get("/v1/me/entitlements").await.2;
        assert_eq!(own["tins"], json!([{
            "tin": REGISTERED, "entitlements": ["claim_search", "precert_view_submit"], "access_manager": true, "access_managers": ["ada"],
        }]));
        assert_eq!(all(&server).get("/v1/me/entitlements").await.2["tins"], json!([]));
    }
}

/// Puts a message there.
async fn put(world: &World, of: &str, letter_type: LetterType, status: Option<&str>) -> MessageId {
    let id: MessageId = world.stamp().ctx.new_id().parse().unwrap();
    let new = NewMessage {
        id: &id,
        brand: &world.settings.brand,
        tin: &tin(of),
        category: letter_type.category(),
        what: MessageType::Letter(letter_type),
        letter_id: None,
        case_id: None,
        claim_number: None,
        member_id: None,
        status,
        event_id: None,
        online_until: world.app.intake.ctx.now() + 100 * DAY,
        needs_answer: false,
        due_at: None,
    };
    let mut tx = world.db().begin().await.unwrap();
    assert!(messages::insert(&mut tx, world.stamp(), &new).await.unwrap());
    tx.commit().await.unwrap();
    id
}

on_both! {
    async fn pages_of_the_merged_inbox_are_the_whole_list_in_order(world: &World) {
        let ada = user(world, "ada").await;
        let tins = ["000000011", "000000012", "000000013"];
        known(world, (11..15).map(|at| format!("0000000{at}"))).await;
        for one in tins {
            grant(world, &ada, one, &[Entitlement::ClaimSearch, Entitlement::PrecertViewSubmit], false).await;
        }
        let mut expected: Vec<(i64, MessageId)> = Vec::new();
        for at in 0..200_usize {
            // several come in one instant
            if at % 3 == 0 {
                world.advance(Duration::from_secs(1));
            }
            let letter_type = [UPHELD, APPROVED, ASKS][(at / 7) % 3];
            let id = put(world, tins[(at * at) % 3], letter_type, None).await;
            expected.push((world.stamp().now(), id));
        }
        let mine = expected[13].1.clone();
        put(world, "000000014", UPHELD, None).await;
        expected.sort();
        expected.reverse();
        let expected: Vec<MessageId> = expected.into_iter().map(|(_, id)| id).collect();

        let rights: BTreeMap<_, _> = {
            let mut conn = world.db().read().await.unwrap();
            lettercase::db::users::rights(&mut conn, &ada.id).await.unwrap()
        };
        let (reader, now) = (Reader { user: &ada.id, rights: &rights, mode: Mode::Live }, world.app.intake.ctx.now());
        let mut conn = world.db().read().await.unwrap();
        for limit in [1, 7, 50, 200, 500] {
            let (mut seen, mut place): (Vec<MessageId>, Option<(i64, MessageId)>) = (Vec::new(), None);
            loop {
                let before = place.as_ref().map(|(at, id)| (*at, id));
                let part = list(&mut conn, reader, &Wanted::default(), now, before, limit).await.unwrap();
                assert!(part.messages.len() <= limit);
                seen.extend(part.messages);
                place = part.next;
                if place.is_none() {
                    break;
                }
            }
            assert_eq!(seen, expected, "pages of {limit}");
        }
        let wanted = Wanted { category: Some(LetterCategory::Precertification), ..Wanted::default() };
        let part = list(&mut conn, reader, &wanted, now, None, 500).await.unwrap();
        let counted = unread(&mut conn, reader, now).await.unwrap();
        assert_eq!(counted[1], (LetterCategory::Precertification, part.messages.len() as i64));
        assert_eq!(counted.iter().map(|(_, n)| n).sum::<i64>(), 200);
        let trial = Reader { mode: Mode::Test, ..reader };
        assert!(list(&mut conn, trial, &Wanted::default(), now, None, 10).await.unwrap().messages.is_empty());
        drop(conn);

        let mut tx = world.db().begin().await.unwrap();
        let message = messages::get(&mut tx, &mine).await.unwrap().unwrap();
        let marking = Marking { archived: Some(true), ..Marking::default() };
        messages::mark(&mut tx, world.stamp(), &ada.id, &message, marking).await.unwrap();
        tx.commit().await.unwrap();
        let mut conn = world.db().read().await.unwrap();
        let archive = Wanted { folder: Some(Folder::Archive), ..Wanted::default() };
        assert_eq!(list(&mut conn, reader, &archive, now, None, 10).await.unwrap().messages, [mine]);
        assert_eq!(list(&mut conn, reader, &Wanted::default(), now, None, 500).await.unwrap().messages.len(), 199);
    }
}

on_both! {
    async fn cor_21_search_finds_by_beginnings_of_words_and_only_what_the_user_sees(world: &World) {
        let ada = user(world, "ada").await;
        known(world, (11..13).map(|at| format!("0000000{at}")).chain((0..70).map(|at| format!("1000000{at:02}")))).await;
        grant(world, &ada, "000000011", &[Entitlement::ClaimSearch], false).await;
        let own = put(world, "000000011", UPHELD, Some("In Process")).await;
        world.advance(Duration::from_secs(1));
        let newer = put(world, "000000011", ASKS, Some("Größe")).await;
        put(world, "000000012", UPHELD, Some("In Process")).await;
        put(world, "000000011", APPROVED, Some("In Process")).await;
        let find = async |text: &str| {
            let mut conn = world.db().read().await.unwrap();
            let rights = lettercase::db::users::rights(&mut conn, &ada.id).await.unwrap();
            let reader = Reader { user: &ada.id, rights: &rights, mode: Mode::Live };
            let now = world.app.intake.ctx.now();
            find(&mut conn, reader, &Wanted::default(), &words(text), now, None, 10).await.unwrap().messages
        };
        let both = [newer, own];
        assert_eq!(find("in PROC").await, both[1..]);
        assert_eq!(find("claim").await, both, "newest first");
        assert_eq!(find("größ").await, both[..1]);
        for nothing in ["process upheldx", "claim000000011", "000000011", "#", "'", "\" OR \"", "mark", "NOT", "rocess"] {
            assert!(find(nothing).await.is_empty(), "{nothing}");
        }
        // with many practices the index is asked without them
        for at in 0..70 {
            grant(world, &ada, &format!("1000000{at:02}"), &[Entitlement::ClaimSearch], false).await;
        }
        assert_eq!(find("in proc").await, both[1..]);
        grant(world, &ada, "000000011", &[], false).await;
        assert!(find("in proc").await.is_empty(), "gone at once");
    }
}
