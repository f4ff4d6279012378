//! The mailroom over the API: who gets what, what they decide, and what they do not see.

use std::collections::BTreeSet;

use lettercase::access::keys::NewKey;
use lettercase::access::{Expected, Manager};
use lettercase::db::sources::{self as source_rows, ItemState, NewBatch, NewItem, ProblemCode};
use lettercase::db::work;
use lettercase::model::access::{Grants, Mode, Role, Scope, TinSet};
use lettercase::model::document::Channel;
use lettercase::model::ids::DocumentId;
use lettercase::model::people::{Login, Person};
use lettercase::model::phi::Phi;
use lettercase::model::reference::ReferenceKind;
use reqwest::{Client, Method};
use serde_json::json;

use super::*;
use crate::access::issuer::{Pair, TestIssuer, access_with};
use crate::review::split::paper;
use crate::review::{AMBIGUOUS, LEASE, STRANGER, alone, case, sent};
use crate::support::World;

const MATCHER: &[Scope] = &[Scope::Match, Scope::Read, Scope::ReadAny];

async fn key_of(world: &World, scopes: &[Scope], tins: TinSet, mode: Mode) -> Client {
    let grants = Grants { scopes: scopes.iter().copied().collect(), tins, mode };
    let new = NewKey { name: "a key of the test".into(), grants, expires_at: None };
    let (_, secret) = world.app.access.create_key(Manager::Machine("test"), new).await.unwrap();
    client(secret.reveal())
}

/// A client with a fresh key for all TINs.
async fn key(world: &World, scopes: &[Scope]) -> Client {
    key_of(world, scopes, TinSet::All, Mode::Live).await
}

/// What a request was answered with.
struct Said {
    status: u16,
    etag: String,
    body: Value,
}

impl Said {
    fn refused(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

async fn ask(server: &Server, who: &Client, method: Method, path: &str, etag: Option<&str>, body: Value) -> Said {
    let mut request = who.request(method, server.url(path));
    if let Some(etag) = etag {
        request = request.header("If-Match", etag);
    }
    if !body.is_null() {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    let etag = response.headers().get("etag").map(|etag| etag.to_str().unwrap().to_owned()).unwrap_or_default();
    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
    Said { status, etag, body: if text.is_empty() { Value::Null } else { json(&text) } }
}

async fn post(server: &Server, who: &Client, path: &str, etag: Option<&str>, body: Value) -> Said {
    ask(server, who, Method::POST, path, etag, body).await
}

async fn get(server: &Server, who: &Client, path: &str) -> Said {
    ask(server, who, Method::GET, path, None, Value::Null).await
}

/// Takes the next item, which must be there: its document, token and ETag.
async fn next(server: &Server, who: &Client) -> (String, String, String, Value) {
    let item = post(server, who, "/v1/queue/next", None, Value::Null).await;
    assert_eq!(item.status, 200, "{}", item.body);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&item.body["document_id"]), text(&item.body["lease"]["token"]), item.etag, item.body)
}

async fn lease(server: &Server, who: &Client, id: &DocumentId) -> (String, String) {
    let item = post(server, who, &format!("/v1/queue/{id}/lease"), None, Value::Null).await;
    assert_eq!(item.status, 200, "{}", item.body);
    (item.body["lease"]["token"].as_str().unwrap().to_owned(), item.etag)
}

on_both! {
    async fn ops_01_two_callers_never_get_the_same_item(world: &World) {
        for n in 0..12 {
            sent(world, &format!("{n}.txt"), STRANGER).await;
        }
        let server = Server::start(&world.app).await;
        let mut callers = Vec::new();
        for _ in 0..4 {
            callers.push(key(world, MATCHER).await);
        }
        let url = server.url("/v1/queue/next");
        let asked = callers.iter().map(|who| async {
            let mut mine = Vec::new();
            for _ in 0..3 {
                let (status, text) = answer(who.post(&url)).await;
                if status == 200 {
                    mine.push(json(&text)["document_id"].as_str().unwrap().to_owned());
                }
            }
            mine
        });
        let mut taken = futures::future::join_all(asked).await.concat();
        // who found the others' rows locked went without
        loop {
            let item = post(&server, &callers[0], "/v1/queue/next", None, Value::Null).await;
            if item.status == 204 { break }
            taken.push(item.body["document_id"].as_str().unwrap().to_owned());
        }
        assert_eq!((taken.len(), taken.iter().collect::<BTreeSet<_>>().len()), (12, 12));
        let told = crate::journey::texts(world, "SELECT subject FROM event WHERE type = 'document.shown'").await;
        assert_eq!(told.len(), 12, "what is taken is seen, and that is written down");
        let counts = get(&server, &callers[0], "/v1/queue/counts").await;
        assert_eq!((&counts.body[0]["waiting"], &counts.body[0]["leased"]), (&json!(12), &json!(12)));
    }
}

on_both! {
    async fn ops_01_an_item_is_claimed_renewed_and_given_back(world: &World) {
        let id = sent(world, "a.txt", STRANGER).await;
        let server = Server::start(&world.app).await;
        let (ann, ben) = (key(world, MATCHER).await, key(world, MATCHER).await);
        let path = format!("/v1/queue/{id}/lease");
        let (token, _) = lease(&server, &ann, &id).await;
        assert_eq!(post(&server, &ben, &path, None, Value::Null).await.refused(), (409, "held_by_another"));
        let renew = async |who, token: &str| ask(&server, who, Method::PUT, &path, None, json!({ "token": token })).await;
        world.advance(LEASE / 2);
        assert_eq!(renew(&ann, &token).await.status, 200);
        assert_eq!(renew(&ben, &token).await.refused(), (409, "held_by_another"), "a token is of its holder only");
        assert_eq!(renew(&ann, "a\0b").await.refused(), (409, "held_by_another"));
        let back = format!("{path}?token={token}");
        assert_eq!(ask(&server, &ben, Method::DELETE, &back, None, Value::Null).await.refused(), (409, "held_by_another"));
        assert_eq!(ask(&server, &ann, Method::DELETE, &back, None, Value::Null).await.status, 204);
        lease(&server, &ben, &id).await;
        world.advance(LEASE + Duration::from_secs(1));
        lease(&server, &ann, &id).await;
        let nobody = format!("/v1/queue/{}/lease", world.stamp().ctx.new_id());
        assert_eq!(post(&server, &ann, &nobody, None, Value::Null).await.refused(), (404, "not_found"));
    }
}

on_both! {
    async fn ops_02_the_queue_is_listed_by_deadline_in_pages_with_ages_and_no_health_data(world: &World) {
        let mut ids = BTreeSet::new();
        for n in 0..5 {
            ids.insert(sent(world, &format!("PLANTED-{n}.txt"), STRANGER).await.to_string());
        }
        let server = Server::start(&world.app).await;
        let who = key(world, MATCHER).await;
        world.advance(Duration::from_secs(9 * 86_400));
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&server, &who, &format!("/v1/queue?limit=2{cursor}")).await;
            assert_eq!(page.status, 200, "{}", page.body);
            assert!(!page.body.to_string().contains("PLANTED"));
            for item in page.body["items"].as_array().unwrap() {
                assert_eq!((&item["kind"], &item["overdue"], &item["age_s"]), (&json!("match"), &json!(true), &json!(9 * 86_400)));
                seen.push(item["document_id"].as_str().unwrap().to_owned());
            }
            match page.body["next"].as_str() { Some(next) => cursor = format!("&cursor={next}"), None => break }
        }
        assert_eq!(seen, ids.into_iter().collect::<Vec<_>>(), "each once");
        for (query, count) in [("kind=match", 5), ("brand=other", 0), ("brand=meridian", 5)] {
            let page = get(&server, &who, &format!("/v1/queue?{query}")).await;
            assert_eq!(page.body["items"].as_array().map(Vec::len), Some(count), "{query}");
        }
        assert_eq!(get(&server, &who, "/v1/queue?kind=held").await.refused(), (403, "forbidden"), "that takes operate");
        assert_eq!(get(&server, &who, "/v1/queue?cursor=zz").await.refused(), (400, "bad_cursor"));
        assert_eq!(get(&server, &who, "/v1/queue?kind=PLANTED").await.refused(), (400, "bad_request"));
    }
}

on_both! {
    async fn ops_01_a_document_is_accepted_on_a_proposed_case(world: &World) {
        world.load_samples().await;
        let document = sent(world, "a.txt", AMBIGUOUS).await;
        let server = Server::start(&world.app).await;
        let (ann, ben) = (key(world, MATCHER).await, key(world, MATCHER).await);
        let (id, token, etag, item) = next(&server, &ann).await;
        assert_eq!(id, document.as_str());
        let (proposals, cases) = (item["document"]["proposals"].as_array().unwrap(), item["cases"].as_array().unwrap());
        assert!(proposals.len() > 1 && !proposals[0]["evidence"].as_array().unwrap().is_empty(), "{item}");
        let of = |all: &[Value], name: &str| all.iter().map(|one| one[name].clone()).collect::<Vec<_>>();
        assert_eq!(of(proposals, "case_id"), of(cases, "id"), "each with its case");
        assert_eq!(cases[0]["member_id"], "MH50381962");
        let path = format!("/v1/queue/{id}/accept");
        let other = case(world, "RC-7K4M9TX2").await;
        let body = |case: &str| json!({ "token": token, "case_id": case });
        let proposed = cases[0]["id"].as_str().unwrap();
        assert_eq!(post(&server, &ann, &path, None, body(proposed)).await.refused(), (428, "version_needed"));
        assert_eq!(post(&server, &ann, &path, Some("\"0\""), body(proposed)).await.refused(), (412, "version_conflict"));
        assert_eq!(post(&server, &ben, &path, Some(&etag), body(proposed)).await.refused(), (409, "held_by_another"));
        assert_eq!(post(&server, &ann, &path, Some(&etag), body(other.as_str())).await.refused(), (422, "unprocessable"));
        assert_eq!(post(&server, &ann, &path, Some(&etag), body(&world.stamp().ctx.new_id())).await.refused(), (404, "not_found"));
        let done = post(&server, &ann, &path, Some(&etag), body(proposed)).await;
        assert_eq!((done.status, &done.body["state"]), (200, &json!("matched")), "{}", done.body);
        assert_eq!(done.etag, format!("\"{}\"", done.body["version"]));
        assert_eq!(post(&server, &ann, &path, Some(&etag), body(proposed)).await.refused(), (409, "wrong_state"));
        assert_eq!(post(&server, &ann, "/v1/queue/next", None, Value::Null).await.status, 204);
        let looked = get(&server, &ann, &format!("/v1/documents/{id}")).await;
        assert_eq!((looked.etag, &looked.body["case_id"]), (done.etag, &json!(proposed)));
    }
}

on_both! {
    async fn ops_01_another_case_is_searched_and_chosen(world: &World) {
        world.load_samples().await;
        let document = sent(world, "a.txt", STRANGER).await;
        let server = Server::start(&world.app).await;
        let who = key(world, &[Scope::Match, Scope::Read, Scope::ReadAny, Scope::Download]).await;
        let (id, token, etag, _) = next(&server, &who).await;
        let find = async |body: Value| post(&server, &who, "/v1/cases/search", None, body).await;
        let mut found = Vec::new();
        for body in [
            json!({ "case_number": "rc-7k4m9tx2" }),
            json!({ "claim_number": "CL2638150472" }),
            json!({ "member_id": "MH40726183" }),
        ] {
            let said = find(body.clone()).await;
            assert_eq!(said.status, 200, "{}", said.body);
            let cases = said.body["cases"].as_array().unwrap();
            assert!(cases.iter().any(|case| case["case_number"] == "RC-7K4M9TX2"), "{body}: {}", said.body);
            found = cases.clone();
        }
        let one = found.iter().find(|case| case["case_number"] == "RC-7K4M9TX2").unwrap();
        let person = find(json!({ "last_name": one["last_name"], "birth_date": one["birth_date"] })).await;
        assert!(person.body["cases"].as_array().unwrap().iter().any(|case| case["id"] == one["id"]), "{}", person.body);
        for body in [
            json!({}),
            json!({ "last_name": "PLANTED" }),
            json!({ "case_number": "PLANTED", "member_id": "PLANTED" }),
            json!({ "case_number": "PLANTED%" }),
            json!({ "PLANTED": 1 }),
            json!({ "birth_date": "PLANTED", "last_name": "x" }),
        ] {
            let said = find(body.clone()).await;
            assert_eq!(said.refused(), (400, "bad_request"), "{body}");
            assert!(body.get("PLANTED").is_some() || !said.body.to_string().contains("PLANTED"), "{}", said.body);
        }
        let path = format!("/v1/queue/{id}/choose");
        let done = post(&server, &who, &path, Some(&etag), json!({ "token": token, "case_id": one["id"] })).await;
        assert_eq!((done.status, &done.body["state"]), (200, &json!("matched")), "{}", done.body);
        assert_eq!(world.document(&document).await.case_id.as_ref().map(|id| id.as_str()), one["id"].as_str());

        let shown = async || crate::journey::told(world, document.as_str(), "document.shown").await.len();
        world.settle().await;
        let before = shown().await;
        let on = get(&server, &who, &format!("/v1/cases/{}/documents", one["id"].as_str().unwrap())).await;
        assert_eq!((on.status, &on.body["documents"][0]["id"]), (200, &json!(id)), "{}", on.body);
        world.settle().await;
        assert_eq!(shown().await, before + 1, "that is written down, too");
        let nowhere = get(&server, &who, &format!("/v1/cases/{}/documents", world.stamp().ctx.new_id())).await;
        assert_eq!(nowhere.refused(), (404, "not_found"));
    }
}

on_both! {
    async fn ops_01_a_fax_is_taken_apart_and_ops_07_misdirected_mail_goes_back(world: &World) {
        let brand = world.settings.brand.clone();
        let whole = alone(world, &brand, Channel::Fax, "fax.pdf", &paper(&["ZEBRA one", "ZEBRA two", "ZEBRA three"])).await;
        let server = Server::start(&world.app).await;
        let who = key(world, &[Scope::Match, Scope::ReadAny, Scope::Operate]).await;
        let (token, etag) = lease(&server, &who, &whole).await;
        let path = format!("/v1/queue/{whole}/split");
        let body = |pages: Value| json!({ "token": token, "pages": pages });
        assert_eq!(post(&server, &who, &path, Some(&etag), body(json!(["1", "3"]))).await.refused(), (422, "unprocessable"));
        assert_eq!(post(&server, &who, &path, Some(&etag), body(json!(["1", "x"]))).await.refused(), (422, "unprocessable"));
        assert_eq!(post(&server, &who, &path, Some("\"0\""), body(json!(["1", "2-3"]))).await.refused(), (412, "version_conflict"));
        let done = post(&server, &who, &path, Some(&etag), body(json!(["1", "2-3"]))).await;
        assert_eq!((done.status, &done.body["state"]), (200, &json!("split")), "{}", done.body);
        let parts: Vec<DocumentId> = done.body["parts"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect();
        world.settle().await;
        assert_eq!(parts.len(), 2);

        let (token, etag) = lease(&server, &who, &parts[0]).await;
        let path = format!("/v1/queue/{}/not-ours", parts[0]);
        let body = json!({ "token": token, "reason": "other_payer" });
        assert_eq!(post(&server, &who, &path, Some("\"0\""), body.clone()).await.refused(), (412, "version_conflict"));
        let unknown = post(&server, &who, &path, Some(&etag), json!({ "token": token, "reason": "PLANTED" })).await;
        assert_eq!(unknown.refused(), (400, "bad_request"));
        assert!(!unknown.body.to_string().contains("PLANTED"));
        let done = post(&server, &who, &path, Some(&etag), body).await;
        assert_eq!((done.status, &done.body["state"]), (200, &json!("returned")), "{}", done.body);
        let log = get(&server, &who, "/v1/mailroom/returns").await;
        let entry = &log.body["returns"][0];
        assert_eq!((&entry["document_id"], &entry["reason"]), (&json!(parts[0]), &json!("other_payer")), "{}", log.body);
    }
}

on_both! {
    async fn ops_08_an_undone_match_tells_who_downloaded_it_in_between(world: &World) {
        world.load_samples().await;
        let submission = world.open(CaseKind::Reconsideration, lettercase::model::submission::Said::default()).await;
        let id = world.add(&submission, "a.txt", b"Claim CL2638150472 of member MH40726183").await;
        world.submit(&submission).await;
        let on = world.document(&id).await.case_id.unwrap();
        let server = Server::start(&world.app).await;
        let reader = key(world, &[Scope::Read, Scope::ReadAny, Scope::Download]).await;
        let looked = get(&server, &reader, &format!("/v1/documents/{id}")).await;
        let bytes = reader.get(server.url(&format!("/v1/documents/{id}/content"))).send().await.unwrap();
        assert_eq!((looked.status, bytes.status().as_u16()), (200, 200));
        world.advance(Duration::from_secs(1));
        let matcher = key(world, MATCHER).await;
        let path = format!("/v1/documents/{id}/undo-match");
        assert_eq!(post(&server, &reader, &path, Some(&looked.etag), Value::Null).await.refused(), (403, "forbidden"));
        assert_eq!(post(&server, &matcher, &path, None, Value::Null).await.refused(), (428, "version_needed"));
        assert_eq!(post(&server, &matcher, &path, Some("\"0\""), Value::Null).await.refused(), (412, "version_conflict"));
        let done = post(&server, &matcher, &path, Some(&looked.etag), Value::Null).await;
        assert_eq!((done.status, &done.body["state"]), (200, &json!("needs_review")), "{}", done.body);
        assert_eq!(post(&server, &matcher, &path, Some(&done.etag), Value::Null).await.refused(), (409, "wrong_state"));
        world.advance(Duration::from_secs(1));
        get(&server, &matcher, &format!("/v1/documents/{id}")).await;
        let auditor = key(world, &[Scope::Audit, Scope::ReadAny]).await;
        let report = get(&server, &auditor, &format!("/v1/documents/{id}/disclosures")).await;
        let [period] = &report.body["periods"].as_array().unwrap()[..] else { panic!("{}", report.body) };
        assert_eq!((&period["case_id"], &report.body["complete"]), (&json!(on), &json!(true)));
        let known: Vec<_> = period["disclosures"].as_array().unwrap().iter().map(|one| one["access"].as_str().unwrap()).collect();
        assert_eq!(known, ["shown", "downloaded"], "and not who saw it afterwards");
        assert_eq!(get(&server, &reader, &format!("/v1/documents/{id}/disclosures")).await.status, 403);
    }
}

on_both! {
    async fn ops_03_a_released_file_goes_through_the_scanner(world: &World) {
        let held = sent(world, "PLANTED.doc", &made("doc-with-macros")).await;
        let brand = world.settings.brand.clone();
        let damaged = alone(world, &brand, Channel::Fax, "a.pdf", b"%PDF-1.7 torn").await;
        let server = Server::start(&world.app).await;
        let who = key(world, &[Scope::Operate, Scope::ReadAny]).await;
        let list = get(&server, &who, "/v1/held").await;
        assert!(!list.body.to_string().contains("PLANTED"), "no file names");
        let line = |id: &DocumentId| {
            let items = list.body["items"].as_array().unwrap().iter();
            items.clone().find(|item| item["document_id"] == id.as_str()).unwrap().clone()
        };
        let etag = |id: &DocumentId| format!("\"{}\"", line(id)["version"]);
        assert_eq!((&line(&held)["can_release"], &line(&held)["reason"]["code"]), (&json!(true), &json!("macros")));
        assert_eq!((&line(&damaged)["can_release"], &line(&damaged)["can_reject"]), (&json!(false), &json!(false)));
        assert_eq!(line(&damaged)["origin"]["channel"], "fax");
        for what in ["release", "reject"] {
            let path = format!("/v1/held/{damaged}/{what}");
            assert_eq!(post(&server, &who, &path, Some(&etag(&damaged)), Value::Null).await.refused(), (422, "unprocessable"));
        }
        let path = format!("/v1/held/{held}/release");
        assert_eq!(post(&server, &who, &path, None, Value::Null).await.refused(), (428, "version_needed"));
        assert_eq!(post(&server, &who, &path, Some("\"0\""), Value::Null).await.refused(), (412, "version_conflict"));
        let other = key(world, &[Scope::Match, Scope::Operate, Scope::ReadAny]).await;
        let (token, _) = lease(&server, &other, &held).await;
        assert_eq!(post(&server, &who, &path, Some(&etag(&held)), Value::Null).await.refused(), (409, "held_by_another"));
        let done = post(&server, &other, &path, Some(&etag(&held)), json!({ "token": token })).await;
        assert_eq!((done.status, &done.body["state"]), (200, &json!("received")), "{}", done.body);
        world.settle().await;
        let row = world.document(&held).await;
        assert_eq!((row.state, row.verdict.as_deref()), (DocumentState::Unmatched, Some("clean")));

        let rescan = format!("/v1/held/{damaged}/rescan");
        assert_eq!(post(&server, &who, &rescan, None, Value::Null).await.status, 202);
        world.settle().await;
        assert_eq!(world.document(&damaged).await.state, DocumentState::Held);
        let mail = alone(world, &brand, Channel::Email, "b.doc", &made("doc-with-macros")).await;
        let version = format!("\"{}\"", world.document(&mail).await.version);
        let done = post(&server, &who, &format!("/v1/held/{mail}/reject"), Some(&version), Value::Null).await;
        assert_eq!((done.status, &done.body["state"]), (200, &json!("rejected")), "{}", done.body);
        assert_eq!(post(&server, &who, &format!("/v1/held/{mail}/rescan"), None, Value::Null).await.refused(), (409, "wrong_state"));
    }
}

on_both! {
    async fn ops_03_the_quarantine_tells_what_was_found_and_destroys_it(world: &World) {
        let id = sent(world, "PLANTED.txt", &eicar()).await;
        let server = Server::start(&world.app).await;
        let who = key(world, &[Scope::Operate, Scope::ReadAny]).await;
        let list = get(&server, &who, "/v1/quarantine").await;
        let line = &list.body["items"][0];
        assert_eq!((&line["document_id"], &line["origin"]["channel"]), (&json!(id), &json!("upload")), "{}", list.body);
        assert!(line["signature"].is_string() && line["engine"].is_string() && !list.body.to_string().contains("PLANTED"));
        let path = format!("/v1/quarantine/{id}");
        let destroy = async |etag: Option<&str>| ask(&server, &who, Method::DELETE, &path, etag, Value::Null).await;
        assert_eq!(destroy(None).await.refused(), (428, "version_needed"));
        assert_eq!(destroy(Some("\"0\"")).await.refused(), (412, "version_conflict"));
        let done = destroy(Some(&format!("\"{}\"", line["version"]))).await;
        assert_eq!((done.status, &done.body["purged"]), (200, &json!(1)), "{}", done.body);
        assert_eq!(world.document(&id).await.state, DocumentState::Purged);
        assert_eq!(get(&server, &who, "/v1/quarantine").await.body["items"], json!([]));
    }
}

on_both! {
    async fn ops_05_dead_letters_are_listed_and_replayed(world: &World) {
        let mut ids = Vec::new();
        for n in 0..3 {
            world.advance(Duration::from_secs(1));
            let id = world.open(CaseKind::Appeal, lettercase::model::submission::Said::default()).await;
            ids.push(world.add(&id, &format!("{n}.txt"), STRANGER).await);
            world.submit(&id).await;
        }
        let mut tx = world.db().begin().await.unwrap();
        for id in &ids {
            work::put(&mut tx, world.stamp(), id.as_str(), "match").await.unwrap();
        }
        tx.commit().await.unwrap();
        crate::journey::sql(world, "UPDATE work SET state = 'dead', reason = 'torn', attempts = 5").await;
        let server = Server::start(&world.app).await;
        let who = key(world, &[Scope::Operate, Scope::ReadAny]).await;
        let (mut seen, mut cursor) = (BTreeSet::new(), String::new());
        loop {
            let page = get(&server, &who, &format!("/v1/dead-letters?limit=2{cursor}")).await;
            assert_eq!(page.status, 200, "{}", page.body);
            for letter in page.body["dead_letters"].as_array().unwrap() {
                assert_eq!((&letter["reason"], &letter["stage"]), (&json!("torn"), &json!("match")));
                assert!(seen.insert(letter["subject"].as_str().unwrap().to_owned()), "each once");
            }
            match page.body["next"].as_str() { Some(next) => cursor = format!("&cursor={next}"), None => break }
        }
        assert_eq!(seen, ids.iter().map(ToString::to_string).collect());
        let path = "/v1/dead-letters/replay";
        for (body, refused) in [
            (json!({}), (400, "bad_request")),
            (json!({ "subject": ids[0], "all": true }), (400, "bad_request")),
            (json!({ "subject": ids[0], "stage": "scan" }), (404, "not_found")),
            (json!({ "subject": "a\u{0}", "stage": "scan" }), (404, "not_found")),
        ] {
            assert_eq!(post(&server, &who, path, None, body.clone()).await.refused(), refused, "{body}");
        }
        let one = post(&server, &who, path, None, json!({ "subject": ids[0], "stage": "match" })).await;
        assert_eq!((one.status, &one.body["replayed"]), (200, &json!(1)));
        let all = post(&server, &who, path, None, json!({ "all": true })).await;
        assert_eq!((&all.body["replayed"], &all.body["more"]), (&json!(2), &json!(false)), "{}", all.body);
        assert_eq!(get(&server, &who, "/v1/dead-letters").await.body["dead_letters"], json!([]));
        world.settle().await;
        assert_eq!(crate::journey::told(world, ids[0].as_str(), "work.replayed").await.len(), 1);
    }
}

on_both! {
    async fn ops_07_batches_and_problems_are_listed_in_pages(world: &World) {
        let mut tx = world.db().begin().await.unwrap();
        let mut batch = String::new();
        for n in 0..3 {
            world.advance(Duration::from_secs(1));
            let (name, item) = (format!("B-{n}"), format!("item-{n}"));
            let new = NewBatch { source: "one", name: &name, channel: Channel::Scan, documents: Some(2), pages: None };
            batch = source_rows::put_batch(&mut tx, world.stamp(), &new).await.unwrap();
            let document = world.stamp().ctx.new_id().parse().unwrap();
            let new = NewItem { source: "one", item: &item, document_id: &document, batch_id: Some(&batch), index_item: None };
            let mut row = source_rows::begin(&mut tx, world.stamp(), &new, None).await.unwrap();
            row.state = ItemState::Problem;
            row.problem = Some((ProblemCode::TooLarge, "it is too large".into()));
            source_rows::set(&mut tx, world.stamp(), &mut row, true).await.unwrap();
        }
        tx.commit().await.unwrap();
        let server = Server::start(&world.app).await;
        let who = key(world, &[Scope::Operate, Scope::ReadAny]).await;
        for (list, name, key, expected) in [
            ("batches", "batches", "name", ["B-2", "B-1", "B-0"]),
            ("problems", "problems", "item", ["item-2", "item-1", "item-0"]),
        ] {
            let first = get(&server, &who, &format!("/v1/mailroom/{list}?limit=2")).await;
            let next = first.body["next"].as_str().unwrap().to_owned();
            let second = get(&server, &who, &format!("/v1/mailroom/{list}?limit=2&cursor={next}")).await;
            let all = [&first, &second].map(|page| page.body[name].as_array().unwrap().clone()).concat();
            assert_eq!(all.iter().map(|one| one[key].as_str().unwrap()).collect::<Vec<_>>(), expected);
            assert_eq!(second.body["next"], Value::Null);
        }
        let one = get(&server, &who, &format!("/v1/mailroom/batches/{batch}")).await;
        assert_eq!((&one.body["name"], &one.body["documents_difference"]), (&json!("B-2"), &json!(-2)), "{}", one.body);
        for id in ["none", "%00"] {
            assert_eq!(get(&server, &who, &format!("/v1/mailroom/batches/{id}")).await.refused(), (404, "not_found"));
        }
    }
}

/// The routes of the mailroom, with an id in them.
const MAILROOM: &[&str] = &[
    "/v1/queue",
    "/v1/held",
    "/v1/quarantine",
    "/v1/dead-letters",
    "/v1/mailroom",
    "/v1/cases/search",
    "/undo-match",
    "/disclosures",
];

on_both! {
    async fn ops_17_who_sends_for_some_practices_has_no_part_in_the_mailroom(world: &World) {
        world.load_samples().await;
        let id = sent(world, "a.txt", AMBIGUOUS).await;
        let server = Server::start(&world.app).await;
        let tins = TinSet::Only(["001234567".parse().unwrap()].into());
        let sender = key_of(world, &[Scope::Submit, Scope::Read], tins.clone(), Mode::Live).await;
        let trial = key_of(world, Scope::ALL, TinSet::All, Mode::Test).await;
        let mut asked = 0;
        for (method, path, _) in lettercase::http::api::RULES {
            if MAILROOM.iter().any(|part| path.contains(part)) {
                asked += 1;
                let path = path.replace("{document}", id.as_str()).replace("{id}", id.as_str());
                for who in [&sender, &trial] {
                    let said = ask(&server, who, method.parse().unwrap(), &path, Some("\"1\""), json!({})).await;
                    assert_eq!(said.refused(), (403, "forbidden"), "{method} {path}");
                }
            }
        }
        assert!(asked > 20, "{asked}");
        // the right scope does not widen the practices
        let matcher = key_of(world, &[Scope::Match, Scope::Operate, Scope::ReadAny], tins, Mode::Live).await;
        for path in ["/v1/queue", "/v1/queue/counts", "/v1/held", "/v1/quarantine", "/v1/dead-letters", "/v1/mailroom/batches", "/v1/mailroom/returns"] {
            assert_eq!(get(&server, &matcher, path).await.refused(), (403, "forbidden"), "{path}");
        }
        assert_eq!(post(&server, &matcher, "/v1/queue/next", None, Value::Null).await.status, 403);
        assert_eq!(post(&server, &matcher, &format!("/v1/queue/{id}/lease"), None, Value::Null).await.refused(), (404, "not_found"));
        // nor does it show what others sent
        let own = key(world, &[Scope::Match]).await;
        assert_eq!(get(&server, &own, "/v1/queue").await.refused(), (403, "forbidden"));
        let found = post(&server, &matcher, "/v1/cases/search", None, json!({ "member_id": "MH50381962" })).await;
        for case in found.body["cases"].as_array().unwrap() {
            assert_eq!(case["tin"], "001234567");
        }
    }
}

on_both! {
    async fn ops_17_sensitive_items_and_cases_are_hidden_from_staff_without_the_right(world: &World) {
        world.load_samples().await;
        let id = sent(world, "a.txt", AMBIGUOUS).await;
        let held = sent(world, "b.doc", &made("doc-with-macros")).await;
        let case_line = "{\"brand\":\"meridian\",\"case_number\":\"AP-4K7XW9ZB\",\"kind\":\"appeal\",\"status\":\"In Process\",\"member_id\":\"MH50381962\",\"tin\":\"001234567\",\"opened_on\":\"2026-11-01\",\"claim_number\":\"CL2643781290\",\"sensitive\":\"true\"}";
        assert_eq!(world.load(ReferenceKind::Cases, case_line).await.rejected, 0);
        let sensitive = case(world, "AP-4K7XW9ZB").await;
        let issuer = TestIssuer::start().await;
        let pair = Pair::new("e", jsonwebtoken::Algorithm::ES256);
        issuer.show(&[&pair]);
        let access = access_with(world, vec![issuer.options()]);
        let server = Server::start_with(&world.app, access.clone()).await;
        let staff = async |name: &str, roles: &[Role]| {
            let login = Login { issuer: issuer.base.parse().unwrap(), subject: name.parse().unwrap() };
            let person = Person { name: Phi(name.to_owned()), email: None };
            let machine = Manager::Machine("test");
            let (user, _) = access.put_user(machine, &login, person, Expected::Any).await.unwrap();
            access.set_roles(machine, &user.id, roles.iter().copied().collect(), Expected::Any).await.unwrap();
            client(&pair.sign(&issuer.claims(world, name)))
        };
        let ann = staff("ann", &[Role::MailroomOperator]).await;
        let sue = staff("sue", &[Role::Supervisor, Role::SensitiveRecords]).await;
        let count = async |who: &Client| get(&server, who, "/v1/queue?kind=match").await.body["items"].as_array().unwrap().len();
        assert_eq!((count(&ann).await, count(&sue).await), (0, 1));
        assert_eq!(post(&server, &ann, "/v1/queue/next", None, Value::Null).await.status, 204);
        let lease_path = format!("/v1/queue/{id}/lease");
        assert_eq!(post(&server, &ann, &lease_path, None, Value::Null).await.refused(), (404, "not_found"));
        assert_eq!(get(&server, &ann, &format!("/v1/documents/{id}")).await.refused(), (404, "not_found"));
        let query = json!({ "case_number": "AP-4K7XW9ZB" });
        for (who, found) in [(&ann, 0), (&sue, 1)] {
            let said = post(&server, who, "/v1/cases/search", None, query.clone()).await;
            assert_eq!(said.body["cases"].as_array().map(Vec::len), Some(found), "{}", said.body);
        }
        let reviewer = staff("rae", &[Role::Reviewer]).await;
        assert_eq!(get(&server, &reviewer, &format!("/v1/cases/{sensitive}/documents")).await.refused(), (404, "not_found"));
        assert_eq!(get(&server, &sue, &format!("/v1/cases/{sensitive}/documents")).await.status, 200);
        // who may not see such a case puts nothing on it either
        let other = sent(world, "c.txt", STRANGER).await;
        let (token, etag) = lease(&server, &ann, &other).await;
        let body = json!({ "token": token, "case_id": sensitive });
        let chosen = post(&server, &ann, &format!("/v1/queue/{other}/choose"), Some(&etag), body).await;
        assert_eq!(chosen.refused(), (404, "not_found"));

        // an operator has a held file scanned again; what becomes of it a supervisor decides
        let (token, etag) = lease(&server, &ann, &held).await;
        let body = json!({ "token": token, "reason": "illegible" });
        assert_eq!(post(&server, &ann, &format!("/v1/queue/{held}/not-ours"), Some(&etag), body).await.refused(), (403, "forbidden"));
        let path = format!("/v1/held/{held}/release");
        assert_eq!(post(&server, &ann, &path, Some(&etag), Value::Null).await.refused(), (403, "forbidden"));
        assert_eq!(ask(&server, &ann, Method::DELETE, &format!("/v1/queue/{held}/lease?token={token}"), None, Value::Null).await.status, 204);
        assert_eq!(post(&server, &sue, &path, Some(&etag), Value::Null).await.status, 200);
        lease(&server, &sue, &id).await;
    }
}
