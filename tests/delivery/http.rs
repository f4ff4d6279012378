//! Ways of letters over HTTP.

use lettercase::access::keys::NewKey;
use lettercase::model::access::{Grants, Mode, Scope, TinSet};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::*;
use crate::http::{Server, client, json as read};
use crate::on_both;

/// Who asks: a key, perhaps for a user.
pub(crate) struct As<'a> {
    pub(crate) server: &'a Server,
    pub(crate) client: Client,
    pub(crate) user: Option<String>,
}

/// What a request came to: status, ETag, body.
pub(crate) type Came = (u16, String, Value);

impl As<'_> {
    pub(crate) async fn send(&self, method: Method, path: &str, etag: Option<&str>, body: Value) -> Came {
        let mut request = self.client.request(method, self.server.url(path));
        if let Some(etag) = etag {
            request = request.header("If-Match", etag);
        }
        if let Some(user) = &self.user {
            request = request.header("Lettercase-Act-As", user);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let etag = response.headers().get("etag").map(|etag| etag.to_str().unwrap().to_owned()).unwrap_or_default();
        (response.status().as_u16(), etag, read(&response.text().await.unwrap()))
    }

    pub(crate) async fn get(&self, path: &str) -> Came {
        self.send(Method::GET, path, None, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, etag: Option<&str>, body: Value) -> Came {
        self.send(Method::POST, path, etag, body).await
    }
}

pub(crate) fn refused(came: &Came) -> (u16, &str) {
    (came.0, came.2["code"].as_str().unwrap_or_default())
}

async fn key(world: &World, scopes: &[Scope], tins: TinSet) -> Client {
    let grants = Grants { scopes: scopes.iter().copied().collect(), tins, mode: Mode::Live };
    let new = NewKey { name: "a key of the test".into(), grants, expires_at: None };
    let (_, secret) = world.app.access.create_key(MACHINE, new).await.unwrap();
    client(secret.reveal())
}

pub(crate) async fn service<'a>(world: &World, server: &'a Server, scopes: &[Scope], tins: TinSet) -> As<'a> {
    As { server, client: key(world, scopes, tins).await, user: None }
}

pub(crate) async fn speaking<'a>(world: &World, server: &'a Server, user: &User) -> As<'a> {
    let client = key(world, &[Scope::ActAs], TinSet::All).await;
    As { server, client, user: Some(user.id.to_string()) }
}

pub(crate) fn all(server: &Server) -> As<'_> {
    As { server, client: client(&server.key), user: None }
}

on_both! {
    async fn cor_14_why_is_told_in_codes_and_sentences_to_who_has_to_do_with_the_letter(world: &World) {
        let ada = practices(world).await;
        let server = Server::start(&world.app).await;
        let (id, _) = New { to: UNREAD, ..New::default() }.routed(world).await;
        let path = format!("/v1/letters/{id}/why");
        let (status, etag, why) = all(&server).get(&path).await;
        assert_eq!((status, &why["state"], &why["type"]), (200, &json!("routed"), &json!("reconsideration_upheld")), "{why}");
        assert_eq!(etag, format!("\"{}\"", why["version"]));
        assert_eq!(why["deliveries"][1]["channel"], "paper");
        assert_eq!(why["deliveries"][1]["reasons"], json!([{
            "code": "nobody_entitled",
            "sentence": "Nobody at the practice has the right to see letters of this category in the Messaging Center.",
        }]));
        assert!(!why.to_string().contains(UNREAD) && !why.to_string().contains("M-PPO"), "{why}");

        let (to_ada, _) = New::default().routed(world).await;
        let (of_member, _) = New { to: "M-PPO", ..New::default() }.routed(world).await;
        let reader = user(world, "eve").await;
        grant(world, &reader, REGISTERED, &[Entitlement::PrecertViewSubmit], true).await;
        let ones = || TinSet::Only([tin(REGISTERED)].into());
        let own = service(world, &server, &[Scope::Read], ones()).await;
        let other = service(world, &server, &[Scope::Read], TinSet::Only([tin(UNREAD)].into())).await;
        let blind = service(world, &server, &[Scope::Submit], ones()).await;
        let (ada, eve) = (speaking(world, &server, &ada).await, speaking(world, &server, &reader).await);
        for (who, caller, letter, expected) in [
            ("its key", &own, &to_ada, 200), ("another's key", &other, &to_ada, 404), ("no reader", &blind, &to_ada, 403),
            ("its user", &ada, &to_ada, 200), ("a user for another category", &eve, &to_ada, 404),
            ("a user, of another practice's", &ada, &id, 404), ("a user, of a member's", &ada, &of_member, 404),
        ] {
            assert_eq!(caller.get(&format!("/v1/letters/{letter}/why")).await.0, expected, "{who}");
        }
        for nothing in ["nonsense", &world.stamp().ctx.new_id()] {
            assert_eq!(refused(&all(&server).get(&format!("/v1/letters/{nothing}/why")).await), (404, "not_found"));
        }
    }
}

on_both! {
    async fn cor_16_letters_are_stopped_held_back_and_released_over_http(world: &World) {
        practices(world).await;
        let server = Server::start(&world.app).await;
        let staff = service(world, &server, &[Scope::Operate, Scope::Read, Scope::ReadAny], TinSet::All).await;
        let (id, _) = New { to: UNREGISTERED, ..New::default() }.routed(world).await;
        let path = |what: &str| format!("/v1/letters/{id}/{what}");
        let (_, etag, _) = staff.get(&path("why")).await;
        let reason = json!({ "reason": "wrong_content" });
        assert_eq!(refused(&staff.post(&path("stop"), None, reason.clone()).await), (428, "version_needed"));
        assert_eq!(refused(&staff.post(&path("stop"), Some("\"77\""), reason.clone()).await), (412, "version_conflict"));
        assert_eq!(refused(&staff.post(&path("stop"), Some(&etag), json!({ "reason": "held_type" })).await), (422, "unprocessable"));
        let (status, stopped, why) = staff.post(&path("stop"), Some(&etag), reason.clone()).await;
        assert_eq!((status, &why["deliveries"][0]["stopped"]["code"]), (200, &json!("wrong_content")), "{why}");
        assert_eq!(refused(&staff.post(&path("stop"), Some(&etag), reason.clone()).await), (412, "version_conflict"));
        assert_eq!(refused(&staff.post(&path("stop"), Some(&stopped), reason).await), (409, "wrong_state"));
        let (status, released, why) = staff.post(&path("release"), Some(&stopped), Value::Null).await;
        assert_eq!((status, &why["deliveries"][0]["state"], &why["deliveries"][0]["stopped"]), (200, &json!("waiting"), &Value::Null));
        assert_eq!(refused(&staff.post(&path("release"), Some(&released), Value::Null).await), (409, "wrong_state"));

        let hold = json!({ "tin": UNREGISTERED, "reason": "a dispute" });
        let (status, etag, made) = staff.post("/v1/letter-holds", None, hold.clone()).await;
        assert_eq!((status, etag.as_str(), &made["brand"], &made["type"]), (201, "\"1\"", &json!("meridian"), &Value::Null), "{made}");
        assert_eq!(refused(&staff.post("/v1/letter-holds", None, hold).await), (409, "exists"));
        for wrong in [json!({ "reason": "x" }), json!({ "tin": UNREAD, "type": "claim_denied", "reason": "x" })] {
            assert_eq!(refused(&staff.post("/v1/letter-holds", None, wrong).await), (400, "bad_request"));
        }
        assert_eq!(refused(&staff.post("/v1/letter-holds", None, json!({ "tin": "999999999", "reason": "x" })).await), (404, "not_found"));
        let held = New { to: UNREGISTERED, ..New::default() }.ask(world).await;
        world.settle().await;
        let (_, held_etag, why) = staff.get(&format!("/v1/letters/{held}/why")).await;
        assert_eq!((&why["state"], &why["because"]["code"]), (&json!("stopped"), &json!("held_tin")));
        let early = staff.post(&format!("/v1/letters/{held}/release"), Some(&held_etag), Value::Null).await;
        assert_eq!(refused(&early), (409, "wrong_state"), "the hold stands");

        let (_, _, list) = staff.get("/v1/letter-holds").await;
        assert_eq!((list["holds"].as_array().unwrap().len(), &list["holds"][0]["reason"]), (1, &json!("a dispute")));
        let lift = format!("/v1/letter-holds/{}/lift", made["id"].as_str().unwrap());
        let (status, etag, lifted) = staff.post(&lift, Some(&etag), Value::Null).await;
        assert_eq!((status, &lifted["released"], &lifted["left"]), (200, &json!(0), &json!(1)), "{lifted}");
        let (status, _, lifted) = staff.post(&lift, Some(&etag), json!({ "release": true })).await;
        assert_eq!((status, &lifted["released"], &lifted["left"]), (200, &json!(1), &json!(0)), "{lifted}");
        assert_eq!(staff.get("/v1/letter-holds").await.2["holds"], json!([]));
        assert_eq!(staff.get("/v1/letter-holds?lifted=true&limit=1").await.2["holds"].as_array().unwrap().len(), 1);

        let small = service(world, &server, &[Scope::Operate], TinSet::Only([tin(UNREGISTERED)].into())).await;
        assert_eq!(refused(&small.get("/v1/letter-holds").await), (403, "forbidden"), "holds are over all practices");
        let reader = service(world, &server, &[Scope::Read], TinSet::All).await;
        assert_eq!(refused(&reader.post(&path("release"), Some("\"1\""), Value::Null).await), (403, "forbidden"));
    }
}

on_both! {
    async fn cor_12_paper_is_seen_turned_on_and_tried_over_http(world: &World) {
        let ada = practices(world).await;
        let server = Server::start(&world.app).await;
        let manager = speaking(world, &server, &ada).await;
        let of = json!({ "tin": REGISTERED });
        let (status, _, seen) = manager.post("/v1/paper/search", None, of.clone()).await;
        assert_eq!((status, seen["settings"].as_array().unwrap().len(), &seen["settings"][0]["version"]), (200, 2, &json!(0)), "{seen}");
        New::default().routed(world).await;

        let tried = json!({
            "tin": REGISTERED, "claim_paper": true,
            "letter": { "type": "reconsideration_upheld", "plan": "PPO" },
        });
        let (status, _, would) = manager.post("/v1/routing/dry-run", None, tried.clone()).await;
        assert_eq!((status, &would["on_paper"], &would["would_be_on_paper"]), (200, &json!(0), &json!(1)), "{would}");
        assert_eq!(would["decision"]["deliveries"][1]["reasons"][0]["code"], "manager_chose_paper");
        assert_eq!(would["explanation"], "Messaging Center: The practice is registered for digital correspondence.\nPaper: The practice's access manager asked for paper as well.");

        let on = json!({ "tin": REGISTERED, "category": "claim", "paper": true });
        assert_eq!(refused(&manager.post("/v1/paper/set", None, on.clone()).await), (428, "version_needed"));
        let (status, etag, set) = manager.post("/v1/paper/set", Some("\"0\""), on.clone()).await;
        assert_eq!((status, etag.as_str(), &set["paper"]), (200, "\"1\"", &json!(true)), "{set}");
        assert_eq!(refused(&manager.post("/v1/paper/set", Some("\"0\""), on.clone()).await), (412, "version_conflict"));
        let appeal = json!({ "tin": REGISTERED, "category": "appeal", "paper": true });
        assert_eq!(refused(&manager.post("/v1/paper/set", Some("\"0\""), appeal).await), (422, "unprocessable"));
        assert_eq!(New::default().routed(world).await.1.len(), 2);

        let strange = json!({ "tin": UNREAD, "category": "claim", "paper": true });
        assert_eq!(refused(&manager.post("/v1/paper/set", Some("\"0\""), strange).await), (404, "not_found"));
        assert_eq!(refused(&manager.post("/v1/paper/search", None, json!({ "tin": UNREAD })).await), (404, "not_found"));
        assert_eq!(refused(&manager.post("/v1/routing/dry-run", None, json!({ "tin": UNREAD })).await), (404, "not_found"));
        let (status, _, forbidden) = all(&server).post("/v1/paper/set", Some("\"1\""), on).await;
        assert_eq!((status, forbidden["detail"].as_str()), (403, Some("this is for access managers")), "no service of its own");
        assert_eq!(all(&server).post("/v1/paper/search", None, of).await.0, 200);
        let eve = user(world, "eve").await;
        grant(world, &eve, REGISTERED, Entitlement::ALL, false).await;
        let plain = speaking(world, &server, &eve).await;
        assert_eq!(refused(&plain.post("/v1/routing/dry-run", None, tried).await), (403, "forbidden"));
    }
}
