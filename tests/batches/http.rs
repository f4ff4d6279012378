//! OPS-04: print batches over HTTP, by the payer's own people.

use lettercase::access::Manager;
use lettercase::access::keys::NewKey;
use lettercase::model::access::{Grants, Mode, Scope, TinSet};
use reqwest::Method;

use super::*;
use crate::delivery::practices;
use crate::http::{Server, client, json as read};
use crate::journey::told;
use crate::on_both;

type Came = (u16, String, Value);

async fn send(server: &Server, method: Method, path: &str, etag: Option<&str>, body: &Value) -> Came {
    let mut request = server.client.request(method, server.url(path));
    if let Some(etag) = etag {
        request = request.header("If-Match", etag);
    }
    if let Value::String(lines) = body {
        request = request.header("Content-Type", "text/csv").body(lines.clone());
    } else if !body.is_null() {
        request = request.json(body);
    }
    let response = request.send().await.unwrap();
    let etag = response.headers().get("etag").map(|etag| etag.to_str().unwrap().to_owned()).unwrap_or_default();
    (response.status().as_u16(), etag, read(&response.text().await.unwrap()))
}

on_both! {
    async fn ops_04_batches_are_closed_read_acknowledged_and_printed_again_over_http(world: &World) {
        practices(world).await;
        let server = Server::start(&world.app).await;
        let get = async |path: &str| send(&server, Method::GET, path, None, &Value::Null).await;
        let post = async |path: &str, etag: Option<&str>, body: Value| send(&server, Method::POST, path, etag, &body).await;
        let code = |came: &Came| (came.0, came.2["code"].as_str().unwrap_or_default().to_owned());
        assert_eq!(code(&post("/v1/print-batches", None, Value::Null).await), (409, "wrong_state".into()));
        for zip in ["43001", "43002"] {
            Post { zip, ..Post::default() }.sent(world).await;
        }
        let letter = Post { zip: "1", ..Post::default() }.sent(world).await;
        let (status, _, preview) = get("/v1/print-batches/preview").await;
        assert_eq!((status, &preview["envelopes"], &preview["waiting"]), (200, &json!(2), &json!(1)), "{preview}");
        let (status, etag, batch) = post("/v1/print-batches", None, json!({ "brand": "meridian" })).await;
        assert_eq!((status, &batch["state"], &batch["kind"], &batch["envelopes"]), (201, &json!("closed"), &json!("extra"), &json!(2)), "{batch}");
        let name = batch["name"].as_str().unwrap().to_owned();
        let at = |what: &str| format!("/v1/print-batches/{name}{what}");
        assert_eq!(code(&get(&at("/files/print.pdf")).await), (409, "wrong_state".into()));
        assert_eq!(code(&post(&at("/hold"), None, json!({ "reason": "x" })).await), (428, "version_needed".into()));
        assert_eq!(code(&post(&at("/hold"), Some("\"9\""), json!({ "reason": "x" })).await), (412, "version_conflict".into()));
        let (status, held, _) = post(&at("/hold"), Some(&etag), json!({ "reason": "wrong paper" })).await;
        assert_eq!(status, 200);
        world.settle().await;
        assert_eq!(code(&get(&at("/files/print.pdf")).await), (409, "wrong_state".into()));
        let (_, held_etag, seen) = get(&at("")).await;
        assert_eq!((&seen["state"], &seen["held"]["reason"], held_etag != held), (&json!("assembled"), &json!("wrong paper"), true), "{seen}");
        assert_eq!(post(&at("/release"), Some(&held_etag), Value::Null).await.0, 200);
        for (file, begins) in [("print.pdf", "%PDF-"), ("manifest.json", "{"), ("manifest.csv", "batch,")] {
            let response = server.client.get(server.url(&at(&format!("/files/{file}")))).send().await.unwrap();
            assert_eq!(response.status().as_u16(), 200, "{file}");
            let bytes = response.bytes().await.unwrap();
            assert!(bytes.starts_with(begins.as_bytes()), "{file}");
        }
        assert_eq!(get(&at("/files/other.pdf")).await.0, 404);
        let (_, _, envelopes) = get(&at("/envelopes?limit=1")).await;
        let next = envelopes["next"].as_str().unwrap();
        assert_eq!((&envelopes["envelopes"][0]["sequence"], &envelopes["envelopes"][0]["state"]), (&json!(1), &json!("in_batch")));
        let (_, _, rest) = get(&at(&format!("/envelopes?cursor={next}"))).await;
        assert_eq!((&rest["envelopes"][0]["sequence"], &rest["next"]), (&json!(2), &Value::Null));

        let word = json!("sequence,event,reason\n1,mailed,\n2,spoiled,jam\n7,mailed,\n");
        let (status, _, taken) = post(&at("/acknowledge"), None, word).await;
        assert_eq!((status, &taken["changed"], &taken["problems"][0]["line"], &taken["unaccounted"]), (200, &json!(2), &json!(4), &json!(0)), "{taken}");
        assert_eq!(get(&at("/envelopes?unaccounted=true")).await.2["envelopes"], json!([]));
        let (status, _, again) = post(&at("/reprint"), None, Value::Null).await;
        assert_eq!((status, &again["kind"], &again["letters"]), (201, &json!("reprint"), &json!(1)));
        assert_eq!(code(&post(&at("/reprint"), None, Value::Null).await), (409, "wrong_state".into()));
        let (_, _, list) = get("/v1/print-batches?state=done").await;
        assert_eq!(list["batches"].as_array().unwrap().len(), 1, "{list}");

        let (_, _, tasks) = get("/v1/paper-tasks").await;
        let task = tasks["tasks"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!((&tasks["tasks"][0]["letter_id"], &tasks["tasks"][0]["reasons"]), (&json!(letter), &json!(["zip_malformed"])), "{tasks}");
        let address = json!({ "lines": ["5 New St"], "city": "Ellery", "state": "OH", "zip": "43009" });
        let path = format!("/v1/paper-tasks/{task}/correct");
        assert_eq!(code(&post(&path, None, address.clone()).await), (428, "version_needed".into()));
        assert_eq!(post(&path, Some("\"1\""), address).await.0, 200);
        let back = post("/v1/returned-mail", None, json!({ "barcode": "0027080000000000000043001", "reason": "vacant" })).await;
        assert_eq!((back.0, &back.2["envelope"]["state"], &back.2["task"]["reasons"]), (200, &json!("returned"), &json!(["returned"])), "{}", back.2);
        assert_eq!(code(&post("/v1/returned-mail", None, json!({ "barcode": "x", "reason": "vacant" })).await), (404, "not_found".into()));
        let why = get(&format!("/v1/letters/{letter}/why")).await.2;
        assert_eq!((&why["deliveries"][0]["state"], &why["deliveries"][0]["envelopes"]), (&json!("waiting"), &json!([])));
        world.settle().await;
        assert_eq!(told(world, batch["id"].as_str().unwrap(), "print_batch.downloaded").await.len(), 3);
    }
}

on_both! {
    async fn ops_17_nobody_but_the_mailroom_sees_what_is_printed(world: &World) {
        practices(world).await;
        let server = Server::start(&world.app).await;
        let status = async |scopes: &[Scope], tins: TinSet, mode: Mode| {
            let grants = Grants { scopes: scopes.iter().copied().collect(), tins, mode };
            let new = NewKey { name: "a key of the test".into(), grants, expires_at: None };
            let (_, secret) = world.app.access.create_key(Manager::Machine("test"), new).await.unwrap();
            let response = client(secret.reveal()).get(server.url("/v1/print-batches")).send().await.unwrap();
            response.status().as_u16()
        };
        let one = || TinSet::Only([crate::delivery::tin(crate::delivery::UNREGISTERED)].into());
        for (who, scopes, tins, mode, expected) in [
            ("an operator's service", &[Scope::Operate, Scope::ReadAny][..], TinSet::All, Mode::Live, 200),
            ("one for some practices", &[Scope::Operate, Scope::ReadAny], one(), Mode::Live, 403),
            ("one that reads its own only", &[Scope::Operate], TinSet::All, Mode::Live, 403),
            ("one that downloads", &[Scope::Download, Scope::ReadAny], TinSet::All, Mode::Live, 403),
            ("a trial", &[Scope::Operate, Scope::ReadAny], TinSet::All, Mode::Test, 403),
        ] {
            assert_eq!(status(scopes, tins, mode).await, expected, "{who}");
        }
    }
}
