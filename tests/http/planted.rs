//! Identifiers in everything that a client can send, over every route, and then a look everywhere: none is in a problem,
//! a log, a metric, an event, or a name of a file or an object (INT-19).

use std::path::Path;

use lettercase::http::api::RULES;
use lettercase::outside::objects::Place;
use reqwest::{Method, Response};

use super::*;
use crate::journey::privacy::LOG;
use crate::journey::{objects_in, texts};
use crate::support::World;

const CLAIM: &str = "CLZK31SOWN1";
const MEMBER: &str = "MHZK31SOWN2";
const CASE: &str = "APZK31SOWN3";
const CONTROL: &str = "ACNZK31SOWN4";
const TIN: &str = "926481357";
const NPI: &str = "1679576722";
const FIRST: &str = "Ottoberta";
const LAST: &str = "Krempelhuber";
const BORN: &str = "1927-08-23";
const OWN: &str = "own-zk31-reference";
const REPEAT: &str = "repeat-zk31-key";
const MAIL: &str = "zk31.sown@example.org";
const LOGIN: &str = "login-zk31-subject";
const FIELD: &str = "field_zk31_unknown";
const TOKEN: &str = "lck_live_zk31sowntoken";

const SOWN: [&str; 15] =
    [CLAIM, MEMBER, CASE, CONTROL, TIN, NPI, FIRST, LAST, BORN, OWN, REPEAT, MAIL, LOGIN, FIELD, TOKEN];

fn assert_none(text: &str, place: &str) {
    let text = text.to_lowercase();
    for sown in SOWN {
        if let Some(at) = text.find(&sown.to_lowercase()) {
            let around = String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(200)..text.len().min(at + 200)])
                .into_owned();
            panic!("{sown} is in {place}: …{around}…");
        }
    }
}

/// Asserts that a refusal gives nothing back, in its body or its head; gives its status.
async fn told(response: Response, what: &str) -> u16 {
    let status = response.status();
    if !status.is_success() {
        assert_none(&format!("{:?}", response.headers()), what);
        assert_none(&response.text().await.unwrap(), what);
    }
    status.as_u16()
}

fn said() -> Value {
    serde_json::json!({
        "claim_number": CLAIM, "member_id": MEMBER, "case_number": CASE, "attachment_control_number": CONTROL, "tin": TIN,
        "npi": NPI, "birth_date": BORN,
    })
}

/// Bodies that are something to some route, and to the others nothing.
fn bodies() -> Vec<(&'static str, String)> {
    let all = SOWN.join(" ");
    let json = |text: String| ("application/json", text);
    let mut bodies = vec![
        json(String::new()),
        json(format!("{{\"{FIELD}\": \"{all}\"}}")),
        json(format!("{{\"{FIELD}`, expected `{LAST}\": 1}}")),
        json(format!("{{\"{FIELD} at line 1\": 1}}")),
        json(format!("{{\"{TIN}\": {TIN}, \"kind\": \"{LAST}\", \"kind\": \"{FIRST}\"")),
        json(format!("[\"{all}\"]")),
        json(format!("\"not a {LAST}\"")),
        json(TIN.to_owned()),
        (LAST, all.clone()),
        (
            "application/x-ndjson",
            format!("{{\"tin\":\"{LAST}\",\"name\":\"{FIRST}\"}}\n{{\"{FIELD}\":\"{TIN}\"}}\n{all}\n"),
        ),
        ("text/csv", format!("{FIELD},{TIN}\n{LAST},{FIRST}\n")),
        ("text/csv", format!("tin,name\n{LAST},{FIRST}\n\"{CLAIM}\n")),
        ("multipart/form-data; boundary=Krempelhuber", all.clone()),
        (
            "multipart/form-data; boundary=b",
            format!("--b\r\nContent-Disposition: form-data; name=\"{LAST}\"\r\n{TIN}: \u{1}\r\n\r\n{all}"),
        ),
        (
            "multipart/form-data; boundary=b",
            format!(
                "--b\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{{\"kind\":\"{LAST}\"}}\r\n--b--\r\n"
            ),
        ),
    ];
    // a value that is wrong, or nothing's, in each field that some route knows
    for field in [
        "kind",
        "brand",
        "said",
        "sender_reference",
        "resubmits",
        "token",
        "case_id",
        "cursor",
        "limit",
        "case_number",
        "claim_number",
        "attachment_control_number",
        "member_id",
        "last_name",
        "birth_date",
        "tin",
        "subject",
        "actor",
        "type",
        "from",
        "to",
        "issuer",
        "name",
        "email",
        "roles",
        "disabled",
        "scopes",
        "tins",
        "mode",
        "expires_at",
        "overlap_s",
        "search",
        "staff",
        "entitlements",
        "access_manager",
        "reason",
        "note",
        "ranges",
        "reference",
        "stage",
    ] {
        bodies.push(json(format!("{{\"{field}\": \"{LAST} not a {FIRST} missing field `{FIELD}`\"}}")));
    }
    bodies
}

async fn sow_over_all_routes(world: &World, server: &Server, ids: &[String]) {
    let bodies = bodies();
    let mut turn = 0;
    for (method, path, _) in RULES {
        let method: Method = method.parse().unwrap();
        let fill = |with: &str| {
            let pieces = path.split('/').map(|piece| if piece.starts_with('{') { with } else { piece });
            server.url(&pieces.collect::<Vec<_>>().join("/"))
        };
        let what = format!("{method} {path}");
        let request = |url: String| server.client.request(method.clone(), url);
        // each body to each route that takes one; the others see a few
        let bodies =
            if matches!(method, Method::POST | Method::PUT | Method::PATCH) { &bodies[..] } else { &bodies[..2] };
        for (kind, body) in bodies {
            turn += 1;
            let url = fill(&ids[turn % ids.len()]);
            let sent = request(url).header("content-type", *kind).header("if-match", "\"1\"").body(body.clone());
            told(sent.send().await.unwrap(), &what).await;
        }
        if path.contains('{') {
            for piece in [LAST, TIN, BORN, "%FFKrempelhuber", "Krempelhuber%2F..%2FOttoberta", "Krempelhuber.pdf"] {
                told(request(fill(piece)).send().await.unwrap(), &what).await;
            }
        }
        for query in [
            format!("?{FIELD}=1"),
            format!("?{TIN}"),
            format!("?kind={LAST}&brand={LAST}"),
            format!("?limit={LAST}"),
            format!("?cursor={LAST}"),
            format!("?cursor={TIN}&limit=1"),
            format!("?reference={CLAIM}"),
            format!("?token={LAST}"),
            format!("?from={LAST}&to={LAST}"),
            format!("?staff={LAST}"),
            format!("?kind={LAST}&kind={LAST}"),
            format!("?day={BORN}x"),
            format!("?limit=not%20a%20{LAST}"),
            format!("?%FF{LAST}"),
        ] {
            told(request(fill(&ids[0]) + &query).send().await.unwrap(), &what).await;
        }
        for (name, value) in [
            ("if-match", LAST),
            ("if-match", "\"926481357\""),
            ("idempotency-key", REPEAT),
            ("lettercase-act-as", LOGIN),
            ("lettercase-act-as", "portal login-zk31-subject"),
            ("authorization", "Basic Krempelhuber"),
            ("x-request-id", TIN),
            ("user-agent", LAST),
            ("last-event-id", LAST),
            ("range", "bytes=Krempelhuber"),
            ("x-forwarded-for", LAST),
            ("x-forwarded-for", "926481357"),
            ("accept", LAST),
            ("content-encoding", LAST),
            ("expect", LAST),
            ("tus-resumable", LAST),
            ("traceparent", LAST),
            ("tracestate", "krempelhuber=ottoberta"),
            ("baggage", "member=MHZK31SOWN2"),
            ("origin", MAIL),
            ("cookie", LAST),
            ("referer", "https://example.org/Krempelhuber"),
            ("x-http-method-override", LAST),
        ] {
            let fresh = client(&server.key).request(method.clone(), fill(&ids[0])).header(name, value);
            told(fresh.send().await.unwrap(), &what).await;
        }
        told(client(TOKEN).request(method.clone(), fill(LAST)).send().await.unwrap(), &what).await;
        if path.ends_with("uploads") || path.contains("{upload}") {
            for (name, value) in [
                ("upload-length", LAST),
                ("upload-offset", LAST),
                ("upload-metadata", LAST),
                ("upload-checksum", LAST),
                ("upload-metadata", "filename S3JlbXBlbGh1YmVy,Krempelhuber"),
                ("upload-checksum", "sha1 Krempelhuber"),
                ("upload-concat", LAST),
            ] {
                let sent = request(fill(&ids[0]))
                    .header("tus-resumable", "1.0.0")
                    .header("content-type", "application/offset+octet-stream");
                told(sent.header(name, value).send().await.unwrap(), &what).await;
            }
        }
    }
    for path in ["/Krempelhuber", "/v1/926481357?q=Krempelhuber", "/v1/submissions/x/y/Krempelhuber"] {
        assert_eq!(told(server.client.get(server.url(path)).send().await.unwrap(), path).await, 404);
    }
    world.settle().await;
}

/// Has everything that is sown be taken by some route.
async fn take_all(world: &World, server: &Server) -> Vec<String> {
    let post = async |path: &str, kind: &str, body: String| {
        let sent = server
            .client
            .post(server.url(path))
            .header("content-type", kind.to_owned())
            .body(body)
            .send()
            .await
            .unwrap();
        let (status, text) = (sent.status().as_u16(), sent.text().await.unwrap());
        assert!((200..300).contains(&status), "{path}: {text}");
        text
    };
    let member = format!(
        r#"{{"brand":"meridian","member_id":"{MEMBER}","first_name":"{FIRST}","last_name":"{LAST}","birth_date":"{BORN}"}}"#
    );
    let torn = format!("{}\n{}", member.replace("meridian", LAST), member.replace(BORN, LAST));
    let claim = format!(
        r#"{{"brand":"meridian","claim_number":"{CLAIM}","member_id":"{MEMBER}","tin":"{TIN}","status":"Paid","service_from":"2026-01-02","service_to":"2026-01-02"}}"#
    );
    let case = format!(
        r#"{{"brand":"meridian","case_number":"{CASE}","kind":"appeal","status":"Received","member_id":"{MEMBER}","tin":"{TIN}","attachment_control_number":"{CONTROL}","opened_on":"2026-01-02"}}"#
    );
    let tin = format!("{{\"tin\":\"{TIN}\",\"name\":\"{LAST} Clinic\"}}\n{{\"tin\":\"{LAST}\",\"name\":\"x\"}}");
    for (kind, rows) in [("tins", tin), ("members", format!("{member}\n{torn}")), ("claims", claim), ("cases", case)] {
        let report = post(&format!("/v1/reference/{kind}/load"), "application/x-ndjson", rows).await;
        assert_none(&report, "a load's report");
    }
    let json = "application/json";
    let user =
        serde_json::json!({ "issuer": "portal", "subject": LOGIN, "name": format!("{FIRST} {LAST}"), "email": MAIL });
    let user = super::json(&post("/v1/users", json, user.to_string()).await)["id"].as_str().unwrap().to_owned();
    let users = format!("issuer,subject,name,email\nportal,{LOGIN}2,{LAST},{MAIL}\n{LAST},{LOGIN},\n");
    assert_none(&post("/v1/users/load?kind=users", "text/csv", users).await, "a load's report");
    let key =
        serde_json::json!({ "name": format!("{FIRST} {LAST}"), "scopes": ["read"], "tins": [TIN], "mode": "live" });
    let key = super::json(&post("/v1/keys", json, key.to_string()).await)["id"].as_str().unwrap().to_owned();

    let open = serde_json::json!({ "kind": "appeal", "said": said(), "sender_reference": OWN });
    let opened =
        server.client.post(server.url("/v1/submissions")).header("idempotency-key", REPEAT).body(open.to_string());
    let id = super::json(&opened.send().await.unwrap().text().await.unwrap())["id"].as_str().unwrap().to_owned();
    let submission: SubmissionId = id.parse().unwrap();
    let text = SOWN.join(" ");
    let name = format!("{LAST} {FIRST} {MEMBER} {CLAIM} {TIN}.txt");
    assert_eq!(server.put(&submission, &name, text.as_bytes()).await.0, 201);
    let (status, refused) = server.put(&submission, &name, b"twice").await;
    assert_eq!(status, 409);
    assert_none(&refused, "a problem");
    let form = |metadata: Option<String>| {
        let part = reqwest::multipart::Part::bytes(text.clone().into_bytes()).file_name(format!("{LAST}.txt"));
        let form = reqwest::multipart::Form::new();
        let form = if let Some(metadata) = metadata { form.text("metadata", metadata) } else { form };
        form.text(LAST, TIN).part(FIRST, part)
    };
    let sent = server
        .client
        .post(server.url(&format!("/v1/submissions/{id}/files")))
        .multipart(form(None))
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 201);
    let sent = server.client.post(server.url("/v1/intake")).header("idempotency-key", format!("{REPEAT}2"));
    assert_eq!(sent.multipart(form(Some(open.to_string()))).send().await.unwrap().status(), 202);
    let tus = server.client.post(server.url(&format!("/v1/submissions/{id}/uploads"))).header("tus-resumable", "1.0.0");
    let tus = tus
        .header("upload-length", "6")
        .header("upload-metadata", "filename S3JlbXBlbGh1YmVyLnBkZg==,note T3R0b2JlcnRh");
    assert_eq!(tus.send().await.unwrap().status(), 201);
    post(&format!("/v1/submissions/{id}/submit"), json, String::new()).await;
    world.settle().await;
    for search in [
        format!(r#"{{"case_number":"{CASE}"}}"#),
        format!(r#"{{"claim_number":"{CLAIM}"}}"#),
        format!(r#"{{"member_id":"{MEMBER}"}}"#),
        format!(r#"{{"attachment_control_number":"{CONTROL}"}}"#),
        format!(r#"{{"last_name":"{LAST}","birth_date":"{BORN}"}}"#),
    ] {
        told(server.client.post(server.url("/v1/cases/search")).body(search).send().await.unwrap(), "a search").await;
    }
    post("/v1/users/search", json, format!(r#"{{"search":"{LAST}"}}"#)).await;
    post("/v1/submissions/search", json, format!(r#"{{"tin":"{TIN}","sender_reference":"{OWN}"}}"#)).await;
    let mut conn = world.db().read().await.unwrap();
    let documents = lettercase::db::documents::of_submission(&mut conn, &submission).await.unwrap();
    drop(conn);
    let mut ids = vec![id, user, key];
    ids.extend(documents.iter().map(|d| d.id.to_string()));
    ids
}

/// The names of everything under a directory.
fn names_under(dir: &Path, names: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
        names.push_str(&format!("{}\n", entry.path().display()));
        if entry.file_type().unwrap().is_dir() {
            names_under(&entry.path(), names);
        }
    }
}

on_both! {
    async fn int_19_nothing_that_a_client_sends_is_written_where_it_may_not_be(world: &World) {
        LOG.on();
        let server = Server::behind(&world.app, |doors| {
            doors.rate.burst = 1_000_000.try_into().unwrap();
            doors.rate.failed_logins_per_minute = 1_000_000.try_into().unwrap();
        });
        let ids = take_all(world, &server).await;
        sow_over_all_routes(world, &server, &ids).await;
        let metrics = server.get("/metrics").await.1;
        LOG.off();
        assert_none(&LOG.text(), "the log");
        assert_none(&metrics, "the metrics");
        let spans = world.spans.all();
        assert!(spans.iter().any(|span| span.name == "match"), "there are no spans of documents");
        assert_none(&format!("{spans:?}"), "the spans");
        for (place, query) in [
            ("events", "SELECT id || type || subject || COALESCE(tin_uid, '') || actor || payload FROM event"),
            ("reasons of work", "SELECT stage || subject || COALESCE(node, '') || COALESCE(reason, '') FROM work"),
            ("reasons of documents", "SELECT COALESCE(reason, '') || COALESCE(detected, '') FROM document"),
            ("the ledger", "SELECT subject FROM posting"),
        ] {
            let rows = texts(world, query).await;
            // all work may be done by now
            assert!(!rows.is_empty() || place == "reasons of work", "there is nothing in {place}");
            assert_none(&rows.join("\n"), place);
        }
        for place in [Place::Incoming, Place::Content, Place::Quarantine, Place::Audit] {
            assert_none(&objects_in(world, place).await.join("\n"), place.as_str());
        }
        let mut names = String::new();
        names_under(world.dir.path(), &mut names);
        assert!(names.contains("spool"));
        assert_none(&names, "the data directory");
    }
}
