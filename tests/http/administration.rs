//! Keys, users, rights and reference data over HTTP.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Server, client};
use crate::journey::count;
use crate::on_both;
use crate::support::World;

/// What a request came to.
pub(super) struct Came {
    pub(super) status: u16,
    pub(super) etag: String,
    pub(super) body: Value,
}

impl Came {
    /// The code of a problem, with its status.
    fn problem(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

/// A caller: with its key, perhaps for a user.
pub(super) struct As<'a> {
    server: &'a Server,
    client: reqwest::Client,
    user: Option<String>,
}

impl<'a> As<'a> {
    pub(super) fn key(server: &'a Server, key: &str) -> Self {
        Self { server, client: client(key), user: None }
    }

    /// The caller that may do everything.
    pub(super) fn all(server: &'a Server) -> Self {
        Self::key(server, &server.key)
    }

    fn of(server: &'a Server, key: &str, user: &str) -> Self {
        Self { user: Some(user.to_owned()), ..Self::key(server, key) }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&'static str, &str)], body: Option<String>) -> Came {
        let mut request = self.client.request(method, self.server.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(user) = &self.user {
            request = request.header("Lettercase-Act-As", user);
        }
        let response = request.body(body.unwrap_or_default()).send().await.unwrap();
        let status = response.status().as_u16();
        let etag = response.headers().get("etag").map(|etag| etag.to_str().unwrap().to_owned()).unwrap_or_default();
        let text = response.text().await.unwrap();
        Came { status, etag, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    pub(super) async fn get(&self, path: &str) -> Came {
        self.send(Method::GET, path, &[], None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Came {
        self.send(Method::POST, path, &[], Some(body.to_string())).await
    }

    async fn post_if(&self, path: &str, etag: &str, body: Value) -> Came {
        self.send(Method::POST, path, &[("If-Match", etag)], Some(body.to_string())).await
    }

    async fn post_new(&self, path: &str, body: Value) -> Came {
        self.send(Method::POST, path, &[("If-None-Match", "*")], Some(body.to_string())).await
    }

    async fn put(&self, path: &str, etag: Option<&str>, body: Value) -> Came {
        let headers: Vec<_> = etag.map(|etag| ("If-Match", etag)).into_iter().collect();
        self.send(Method::PUT, path, &headers, Some(body.to_string())).await
    }

    async fn load(&self, path: &str, kind: &str, body: &str) -> Came {
        self.send(Method::POST, path, &[("Content-Type", kind)], Some(body.to_owned())).await
    }
}

const NDJSON: &str = "application/x-ndjson";
const CSV: &str = "text/csv; charset=utf-8";

/// A fresh key of these scopes, as (id, secret).
pub(super) async fn key(server: &Server, scopes: &[&str], tins: Value, mode: &str) -> (String, String) {
    let body = json!({ "name": "a key", "scopes": scopes, "tins": tins, "mode": mode });
    let made = As::all(server).post("/v1/keys", body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    (text(&made.body["id"]), text(&made.body["key"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

async fn practices(server: &Server) {
    let rows: String = (1..=3).map(|n| format!("{{\"tin\":\"{n:09}\",\"name\":\"Practice {n}\"}}\n")).collect();
    assert_eq!(As::all(server).load("/v1/reference/tins/load", NDJSON, &rows).await.body["loaded"], 3);
}

/// A user of the portal, as its id.
async fn user(server: &Server, subject: &str) -> String {
    let body = json!({ "issuer": "portal", "subject": subject, "name": subject });
    let made = As::all(server).post("/v1/users", body).await;
    assert_eq!((made.status, made.etag.as_str()), (201, "\"1\""), "{}", made.body);
    text(&made.body["id"])
}

on_both! {
    async fn int_33_a_key_works_from_its_making_to_its_end(world: &World) {
        let server = Server::start(&world.app).await;
        let all = As::all(&server);
        let (id, secret) = key(&server, &["read"], json!(["00-0000001"]), "live").await;
        let path = format!("/v1/keys/{id}");
        assert_eq!(As::key(&server, &secret).get("/v1/me").await.status, 200);
        let seen = all.get(&path).await;
        assert_eq!((seen.status, seen.etag.as_str(), &seen.body["tins"]), (200, "\"1\"", &json!(["000000001"])));
        assert!(!seen.body.to_string().contains(&secret) && seen.body.get("key").is_none());

        let stale = all.post_if(&format!("{path}/rotate"), "\"7\"", json!({})).await;
        assert_eq!(stale.problem(), (412, "version_conflict"));
        let far = all.post(&format!("{path}/rotate"), json!({ "overlap_s": 1_000_000_000 })).await;
        assert_eq!(far.problem(), (422, "unprocessable"));
        let rotated = all.post_if(&format!("{path}/rotate"), &seen.etag, json!({ "overlap_s": 60 })).await;
        assert_eq!((rotated.status, rotated.etag.as_str()), (200, "\"2\""), "{}", rotated.body);
        let newer = text(&rotated.body["key"]);
        assert_ne!(newer, secret);
        for secret in [&secret, &newer] {
            assert_eq!(As::key(&server, secret).get("/v1/me").await.status, 200, "both work for a while");
        }
        world.advance(Duration::from_secs(61));
        assert_eq!(As::key(&server, &secret).get("/v1/me").await.problem(), (401, "key_expired"));
        let unsaid = all.send(Method::POST, &format!("{path}/rotate"), &[], None).await;
        assert_eq!(unsaid.status, 200, "without a body, as the policy says: {}", unsaid.body);

        let newest = text(&unsaid.body["key"]);
        for _ in 0..2 {
            let revoked = all.send(Method::POST, &format!("{path}/revoke"), &[], None).await;
            assert_eq!((revoked.status, revoked.body["revoked_at"].is_string()), (200, true));
        }
        for secret in [&newer, &newest] {
            assert_eq!(As::key(&server, secret).get("/v1/me").await.problem(), (401, "key_revoked"));
        }
        assert_eq!(all.post(&format!("{path}/rotate"), json!({})).await.problem(), (422, "unprocessable"));
        for path in ["/v1/keys/nonsense".to_owned(), format!("/v1/keys/{}", world.stamp().ctx.new_id())] {
            assert_eq!(all.get(&path).await.problem(), (404, "not_found"));
        }
        for body in [json!({ "name": "x", "scopes": ["read"] }), json!({ "name": "x", "scopes": ["all"], "tins": "all" }),
            json!({ "name": "x", "scopes": ["read"], "tins": "some" }), json!({ "name": "x", "scopes": ["read"], "tins": "all", "owner": 1 })] {
            assert_eq!(all.post("/v1/keys", body.clone()).await.problem(), (400, "bad_request"), "{body}");
        }
        assert_eq!(all.post("/v1/keys", json!({ "name": "", "scopes": ["read"], "tins": "all" })).await.problem(), (422, "unprocessable"));
    }
}

on_both! {
    async fn a_key_gives_no_more_than_it_has_and_sees_only_what_it_could_give(world: &World) {
        let server = Server::start(&world.app).await;
        let (_, small) = key(&server, &["access", "read"], json!(["000000001"]), "live").await;
        let (mighty, _) = key(&server, &["operate"], json!("all"), "live").await;
        let small = As::key(&server, &small);
        for (scopes, tins, mode) in [
            (json!(["submit"]), json!(["000000001"]), "live"),
            (json!(["read"]), json!("all"), "live"),
            (json!(["read"]), json!(["000000001", "000000002"]), "live"),
        ] {
            let body = json!({ "name": "more", "scopes": scopes, "tins": tins, "mode": mode });
            assert_eq!(small.post("/v1/keys", body.clone()).await.problem(), (403, "forbidden"), "{body}");
        }
        let mut made = Vec::new();
        for mode in ["live", "test", "live"] {
            let body = json!({ "name": "less", "scopes": ["read"], "tins": ["000000001"], "mode": mode });
            let less = small.post("/v1/keys", body).await;
            assert_eq!((less.status, &less.body["mode"]), (201, &json!(mode)));
            made.push(text(&less.body["id"]));
        }
        for path in [format!("/v1/keys/{mighty}"), format!("/v1/keys/{mighty}/revoke"), format!("/v1/keys/{mighty}/rotate")] {
            let method = if path.ends_with(&mighty) { Method::GET } else { Method::POST };
            assert_eq!(small.send(method, &path, &[], None).await.problem(), (404, "not_found"), "{path}");
        }
        let (mut seen, mut next) = (Vec::new(), Value::Null);
        loop {
            let cursor = next.as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
            let page = small.get(&format!("/v1/keys?limit=2{cursor}")).await;
            assert_eq!(page.status, 200, "{}", page.body);
            seen.extend(page.body["keys"].as_array().unwrap().iter().map(|key| text(&key["id"])));
            next = page.body["next"].clone();
            if next.is_null() { break }
        }
        assert!(made.iter().all(|id| seen.contains(id)) && !seen.contains(&mighty), "{seen:?}");
        assert_eq!(seen.len(), 4, "its own and those it made");
        assert_eq!(small.get("/v1/keys?cursor=zz").await.problem(), (400, "bad_cursor"));
        assert_eq!(small.get("/v1/users").await.problem(), (403, "forbidden"), "users span TINs");
        let (_, trial) = key(&server, &["access", "audit", "reference"], json!("all"), "test").await;
        for path in ["/v1/keys", "/v1/users", "/v1/audit/verify"] {
            assert_eq!(As::key(&server, &trial).get(path).await.problem(), (403, "forbidden"), "{path}");
        }
    }
}

on_both! {
    async fn ops_13_a_user_is_changed_as_it_was_seen(world: &World) {
        let server = Server::start(&world.app).await;
        let all = As::all(&server);
        let ann = json!({ "issuer": "portal", "subject": "ann", "name": "Ann", "email": "ann@example.com" });
        let id = user(&server, "ann").await;
        let path = format!("/v1/users/{id}");
        assert_eq!(all.post_new("/v1/users", ann.clone()).await.problem(), (409, "exists"));
        assert_eq!(all.post_if("/v1/users", "\"9\"", ann.clone()).await.problem(), (412, "version_conflict"));
        for _ in 0..2 {
            let changed = all.post("/v1/users", ann.clone()).await;
            assert_eq!((changed.status, changed.etag.as_str()), (200, "\"2\""), "{}", changed.body);
        }
        let seen = all.get(&path).await;
        assert_eq!((&seen.body["email"], seen.etag.as_str()), (&json!("ann@example.com"), "\"2\""));
        assert_eq!(all.post("/v1/users", json!({ "issuer": "portal", "subject": "x", "name": "" })).await.problem(), (422, "unprocessable"));

        let roles = json!({ "roles": ["reviewer", "sensitive_records"] });
        let at = format!("{path}/roles");
        assert_eq!(all.put(&at, None, roles.clone()).await.problem(), (428, "version_needed"));
        assert_eq!(all.put(&at, Some("*"), roles.clone()).await.problem(), (428, "version_needed"));
        for etag in ["\"1\"", "2", "W/\"2\"", "\"x\""] {
            assert_eq!(all.put(&at, Some(etag), roles.clone()).await.problem(), (412, "version_conflict"), "{etag}");
        }
        let staff = all.put(&at, Some(&seen.etag), roles.clone()).await;
        assert_eq!((staff.status, staff.etag.as_str(), &staff.body["roles"]), (200, "\"3\"", &roles["roles"]));
        assert_eq!(all.put(&at, Some("\"3\""), json!({ "roles": ["king"] })).await.problem(), (400, "bad_request"));
        let out = all.put(&format!("{path}/disabled"), Some("\"3\""), json!({ "disabled": true })).await;
        assert_eq!((out.etag.as_str(), out.body["disabled_at"].is_string()), ("\"4\"", true));

        user(&server, "ben").await;
        user(&server, "ben%_").await;
        let search = async |body: Value| {
            let page = all.post("/v1/users/search", body).await;
            assert_eq!(page.status, 200, "{}", page.body);
            page.body["users"].as_array().unwrap().iter().map(|user| text(&user["subject"])).collect::<Vec<_>>()
        };
        assert_eq!(search(json!({ "search": "BEN" })).await, ["ben", "ben%_"]);
        assert_eq!(search(json!({ "search": "%" })).await, ["ben%_"]);
        assert_eq!(search(json!({ "staff": true })).await, ["ann"]);
        let first = all.get("/v1/users?limit=2&staff=false").await;
        assert_eq!(first.body["next"], Value::Null);
        let first = all.get("/v1/users?limit=2").await;
        let rest = all.get(&format!("/v1/users?cursor={}", text(&first.body["next"]))).await;
        assert_eq!(text(&rest.body["users"][0]["subject"]), "ben%_");
        assert_eq!(all.get("/v1/users?search=ann").await.problem(), (400, "bad_request"), "no name in a URL");
    }
}

on_both! {
    async fn ops_13_an_access_manager_changes_the_rights_for_the_own_tin_only(world: &World) {
        let server = Server::start(&world.app).await;
        practices(&server).await;
        let all = As::all(&server);
        let (boss, clerk) = (user(&server, "boss").await, user(&server, "clerk").await);
        let at = |user: &str, rest: &str| format!("/v1/users/{user}/entitlements{rest}");
        let manager = json!({ "tin": "000000001", "access_manager": true });
        assert_eq!(all.post(&at(&boss, "/set"), manager.clone()).await.problem(), (428, "version_needed"));
        let made = all.post_new(&at(&boss, "/set"), manager.clone()).await;
        assert_eq!((made.status, made.etag.as_str(), &made.body["access_manager"]), (200, "\"1\"", &json!(true)));
        assert_eq!(all.post_new(&at(&boss, "/set"), manager.clone()).await.problem(), (409, "exists"));
        let unknown = json!({ "tin": "999999999", "access_manager": true });
        assert_eq!(all.post_new(&at(&boss, "/set"), unknown).await.problem(), (404, "not_found"));
        let elsewhere = json!({ "tin": "000000002", "entitlements": ["claim_search"] });
        assert_eq!(all.post_new(&at(&clerk, "/set"), elsewhere.clone()).await.status, 200);

        let (_, portal) = key(&server, &["act_as"], json!("all"), "live").await;
        let boss_here = As::of(&server, &portal, "portal boss");
        let rights = json!({ "tin": "000000001", "entitlements": ["claim_search", "reconsideration"] });
        let given = boss_here.post_new(&at(&clerk, "/set"), rights.clone()).await;
        assert_eq!(given.status, 200, "{}", given.body);
        let less = json!({ "tin": "000000001", "entitlements": ["claim_search"] });
        assert_eq!(boss_here.post_if(&at(&clerk, "/set"), "\"5\"", less.clone()).await.problem(), (412, "version_conflict"));
        let changed = boss_here.post_if(&at(&clerk, "/set"), &given.etag, less).await;
        assert_eq!((changed.etag.as_str(), &changed.body["entitlements"]), ("\"2\"", &json!(["claim_search"])));
        for tin in ["000000002", "000000003", "999999999"] {
            let other = json!({ "tin": tin, "entitlements": ["claim_search"] });
            assert_eq!(boss_here.post_new(&at(&clerk, "/set"), other).await.problem(), (404, "not_found"), "{tin}");
            assert_eq!(boss_here.post("/v1/entitlements/search", json!({ "tin": tin })).await.problem(), (404, "not_found"));
        }
        let seen = boss_here.get(&at(&clerk, "")).await.body;
        assert_eq!(seen["entitlements"].as_array().map(Vec::len), Some(1), "those for the own TIN: {seen}");
        assert_eq!(all.get(&at(&clerk, "")).await.body["entitlements"].as_array().map(Vec::len), Some(2));
        let of_tin = boss_here.post("/v1/entitlements/search", json!({ "tin": "00-0000001", "limit": 1 })).await.body;
        assert_eq!((of_tin["users"][0]["subject"].as_str(), of_tin["next"].is_string()), (Some("boss"), true), "{of_tin}");
        assert!(of_tin["users"][0].get("roles").is_none());
        let last = boss_here.post_if(&at(&boss, "/remove"), "\"1\"", json!({ "tin": "000000001" })).await;
        assert_eq!(last.problem(), (403, "forbidden"), "a TIN keeps a manager");

        assert_eq!(boss_here.post(&at(&clerk, "/remove"), json!({ "tin": "000000001" })).await.problem(), (428, "version_needed"));
        assert_eq!(boss_here.post_if(&at(&clerk, "/remove"), "\"2\"", json!({ "tin": "000000001" })).await.status, 204);
        assert_eq!(boss_here.post_if(&at(&clerk, "/remove"), "\"3\"", json!({ "tin": "000000001" })).await.problem(), (404, "not_found"));
        let again = boss_here.post_new(&at(&clerk, "/set"), rights).await;
        assert_eq!(again.etag, "\"4\"", "what was seen before can't pass for what is given anew");
        for (method, path) in [(Method::GET, "/v1/users"), (Method::GET, "/v1/keys"), (Method::GET, "/v1/audit/verify")] {
            assert_eq!(boss_here.send(method, path, &[], None).await.problem(), (403, "forbidden"), "{path}");
        }
        let (_, trial) = key(&server, &["act_as"], json!("all"), "test").await;
        let tried = As::of(&server, &trial, "portal boss").get(&at(&clerk, "")).await;
        assert_eq!(tried.problem(), (403, "forbidden"), "rights have no twins for trials");
        let clerk_here = As::of(&server, &portal, "portal clerk");
        assert_eq!(clerk_here.get(&at(&clerk, "")).await.problem(), (403, "forbidden"));
    }
}

on_both! {
    async fn ops_13_files_of_users_and_rights_are_loaded_and_their_bad_rows_told(world: &World) {
        let server = Server::start(&world.app).await;
        practices(&server).await;
        let all = As::all(&server);
        let users = "{\"issuer\":\"portal\",\"subject\":\"ann\",\"name\":\"Ann\"}\n{\"issuer\":\"portal\",\"subject\":\"PLANTED\"}\n\n{\"issuer\":\"portal\",\"subject\":\"ben\",\"name\":\"Ben\",\"roles\":\"king\"}\n{\"issuer\":\"portal\",\"subject\":\"cid\",\"name\":\"Cid\"}\n";
        for _ in 0..2 {
            let report = all.load("/v1/users/load?kind=users", NDJSON, users).await;
            assert_eq!((report.status, &report.body["loaded"], &report.body["rejected"]), (200, &json!(2), &json!(2)), "{}", report.body);
            let lines: Vec<_> = report.body["rejects"].as_array().unwrap().iter().map(|r| r["line"].as_u64().unwrap()).collect();
            assert_eq!(lines, [2, 4]);
            assert!(!report.body.to_string().contains("PLANTED"));
        }
        let rights = "issuer,subject,tin,entitlements,access_manager\nportal,ann,000000001,claim_search reconsideration,yes\nportal,nobody,000000001,claim_search,\nportal,cid,999999999,claim_search,\nportal,cid,12,claim_search,\nportal,cid,000000002,claim_search,no\n";
        let report = all.load("/v1/users/load?kind=entitlements", CSV, rights).await;
        let told: Vec<_> = report.body["rejects"].as_array().unwrap().iter().map(|r| (r["line"].as_u64().unwrap(), text(&r["reason"]))).collect();
        assert_eq!(report.body["loaded"], 2);
        assert_eq!(told, [(3, "there is no such user".into()), (4, "there is no such TIN".into()), (5, "not a TIN: it must have 9 digits".into())]);
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM user_tin").await, 2);
        assert_eq!(all.load("/v1/users/load?kind=keys", NDJSON, users).await.problem(), (400, "bad_request"));
        assert_eq!(all.load("/v1/users/load", NDJSON, users).await.problem(), (400, "bad_request"));
        assert_eq!(all.load("/v1/users/load?kind=users", CSV, "").await.problem(), (422, "unprocessable"));
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM event WHERE type = 'reference.loaded'").await, 4, "each load is told");
    }
}

/// How many files lie in the spool.
fn spooled(world: &World) -> usize {
    let spool = world.settings.data_dir.join("spool");
    walkdir::WalkDir::new(spool)
        .into_iter()
        .filter(|e| e.as_ref().is_ok_and(|e| e.path().to_string_lossy().contains("part-")))
        .count()
}

on_both! {
    async fn a_file_that_does_not_come_whole_loads_nothing(world: &World) {
        let mut app = world.app.clone();
        let mut doors = (*app.doors).clone();
        doors.limits.load_bytes = 500;
        app.doors = Arc::new(doors);
        let server = Server::start(&app).await;
        let all = As::all(&server);
        let row = "{\"tin\":\"000000001\",\"name\":\"Practice\"}\n";
        let chunk = format!("{:x}\r\n{row}\r\n", row.len());
        for (head, body) in [
            ("Content-Length: 400", row.to_owned()),
            ("Transfer-Encoding: chunked", chunk.clone()),
            ("Transfer-Encoding: chunked", format!("{chunk}zz\r\n")),
        ] {
            let mut stream = TcpStream::connect(server.base.strip_prefix("http://").unwrap()).await.unwrap();
            let head = format!("POST /v1/reference/tins/load HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: {NDJSON}\r\n{head}\r\n\r\n{body}", server.key);
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
        }
        let long = row.repeat(20);
        assert_eq!(all.load("/v1/reference/tins/load", NDJSON, &long).await.problem(), (413, "body_too_large"));
        let stream = futures::stream::iter((0..20).map(move |_| Ok::<_, std::io::Error>(row.to_owned())));
        let request = all.client.post(server.url("/v1/reference/tins/load")).header("Content-Type", NDJSON);
        assert_eq!(request.body(reqwest::Body::wrap_stream(stream)).send().await.unwrap().status(), 413);
        assert_eq!(all.load("/v1/reference/tins/load", "application/json", row).await.problem(), (415, "unsupported_media_type"));
        assert_eq!(all.load("/v1/reference/nonsense/load", NDJSON, row).await.problem(), (404, "not_found"));
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM tin").await, 0);
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM event WHERE type = 'reference.loaded'").await, 0);
        assert_eq!(spooled(world), 0, "nothing is left in the spool");
        assert_eq!(all.load("/v1/reference/tins/load", NDJSON, row).await.body, json!({ "loaded": 1, "rejected": 0, "rejects": [] }));
        assert_eq!(spooled(world), 0);
    }
}

fn member(brand: &str, id: &str, name: &str) -> Value {
    json!({ "brand": brand, "member_id": id, "first_name": "Kim", "last_name": name, "birth_date": "1980-01-02" })
}

on_both! {
    async fn int_35_a_key_for_trials_writes_the_twin_only_and_a_live_one_never(world: &World) {
        let server = Server::start(&world.app).await;
        let (_, live) = key(&server, &["reference"], json!("all"), "live").await;
        let (_, trial) = key(&server, &["reference"], json!("all"), "test").await;
        let (live, trial) = (As::key(&server, &live), As::key(&server, &trial));
        let rows: String = ["meridian", "meridian.test", "nowhere", "nowhere.test"].iter().enumerate()
            .map(|(n, brand)| format!("{}\n", member(brand, &format!("M{n}"), "Row"))).collect();
        let report = trial.load("/v1/reference/members/load", NDJSON, &rows).await;
        assert_eq!((&report.body["loaded"], &report.body["rejected"]), (&json!(2), &json!(2)), "{}", report.body);
        let report = live.load("/v1/reference/members/load", NDJSON, &rows).await;
        assert_eq!((&report.body["loaded"], &report.body["rejected"]), (&json!(1), &json!(3)), "{}", report.body);
        let of = async |brand: &str| count(world, &format!("SELECT COUNT(*) AS n FROM member WHERE brand = '{brand}'")).await;
        assert_eq!((of("meridian").await, of("meridian.test").await), (1, 2));

        let put = async |who: &As<'_>, body: Value| who.put("/v1/reference/members", None, body).await;
        let written = put(&trial, member("meridian", "M0", "Changed")).await;
        assert_eq!((written.status, written.body), (200, json!({ "kind": "members", "written": true })));
        let names = async |brand: &str| count(world, &format!("SELECT COUNT(*) AS n FROM member WHERE brand = '{brand}' AND last_name = 'Changed'")).await;
        assert_eq!((names("meridian").await, names("meridian.test").await), (0, 1), "the real member is as it was");
        assert_eq!(put(&live, member("meridian.test", "M0", "X")).await.problem(), (422, "unprocessable"));
        let bad = put(&live, json!({ "brand": "meridian", "member_id": "PLANTED%" })).await;
        assert_eq!(bad.problem(), (422, "unprocessable"));
        assert!(!bad.body.to_string().contains("PLANTED"), "{}", bad.body);
        assert_eq!(live.send(Method::PUT, "/v1/reference/members", &[], Some("{".into())).await.problem(), (400, "bad_request"));
        for kind in ["tins", "providers"] {
            let tried = trial.load(&format!("/v1/reference/{kind}/load"), NDJSON, "{}").await;
            assert_eq!(tried.problem(), (403, "forbidden"), "{kind} are the same for trials");
        }
        let (_, some) = key(&server, &["reference"], json!(["000000001"]), "live").await;
        assert_eq!(As::key(&server, &some).load("/v1/reference/members/load", NDJSON, &rows).await.problem(), (403, "forbidden"));
        let case = json!({ "brand": "meridian", "case_number": "R1", "kind": "reconsideration", "status": "Received",
            "member_id": "M0", "tin": "000000001", "claim_number": "C1", "opened_on": "2026-11-01" });
        assert_eq!(live.put("/v1/reference/cases", None, case.clone()).await.status, 200);
        let mut second = case;
        second["case_number"] = json!("R2");
        assert_eq!(live.put("/v1/reference/cases", None, second.clone()).await.problem(), (422, "unprocessable"), "REC-03");
        assert_eq!(trial.put("/v1/reference/cases", None, second).await.status, 200, "trials meet trials only");
    }
}
