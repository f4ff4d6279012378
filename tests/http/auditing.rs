//! OPS-14: the audit log over HTTP, searched, exported and verified.

use lettercase::db::{Flavor, events};
use lettercase::engine::sequencer::{chain, digest};
use lettercase::model::event::Event;
use serde_json::{Value, json};
use sqlx::Row;

use super::Server;
use super::administration::{As, key};
use crate::journey::{count, sql};
use crate::on_both;
use crate::support::World;

/// All pages of a search, as the positions found.
async fn found(who: &As<'_>, mut body: Value) -> Vec<i64> {
    let mut positions = Vec::new();
    loop {
        let page = who.post("/v1/audit/search", body.clone()).await;
        assert_eq!(page.status, 200, "{}", page.body);
        positions.extend(page.body["events"].as_array().unwrap().iter().map(|e| e["position"].as_i64().unwrap()));
        if page.body["next"].is_null() {
            return positions;
        }
        body["cursor"] = page.body["next"].clone();
    }
}

on_both! {
    async fn ops_14_the_log_is_searched_by_what_whom_and_when_and_the_search_is_in_it(world: &World) {
        let server = Server::start(&world.app).await;
        let mut keys = Vec::new();
        for _ in 0..5 {
            world.advance(std::time::Duration::from_secs(60));
            keys.push(key(&server, &["audit"], json!("all"), "live").await);
        }
        world.settle().await;
        let who = As::key(&server, &keys[0].1);
        assert_eq!(found(&who, json!({ "type": "key.created", "limit": 2 })).await, [5, 4, 3, 2, 1]);
        assert_eq!(found(&who, json!({ "subject": keys[3].0 })).await, [4]);
        let actor = {
            let mut conn = world.db().read().await.unwrap();
            events::after(&mut conn, 0, 1).await.unwrap()[0].0.actor.clone()
        };
        assert_eq!(found(&who, json!({ "actor": actor, "limit": 3 })).await, [5, 4, 3, 2, 1]);
        assert_eq!(found(&who, json!({ "actor": "nobody" })).await, [] as [i64; 0]);
        let (from, to) = ("2026-11-20T15:02:00Z", "2026-11-20T15:04:00Z");
        for by in [json!({}), json!({ "type": "key.created" }), json!({ "actor": actor })] {
            let mut body = json!({ "from": from, "to": to, "limit": 1 });
            body.as_object_mut().unwrap().extend(by.as_object().unwrap().clone());
            assert_eq!(found(&who, body.clone()).await, [3, 2], "from then, before then: {body}");
        }
        for (body, code) in [
            (json!({ "type": "key.lost" }), "bad_request"),
            (json!({ "subject": "" }), "bad_request"),
            (json!({ "actor": "a\u{0}" }), "bad_request"),
            (json!({ "cursor": "zz" }), "bad_cursor"),
            (json!({ "limit": 0 }), "bad_request"),
            (json!({ "name": "x" }), "bad_request"),
        ] {
            let refused = who.post("/v1/audit/search", body.clone()).await;
            assert_eq!((refused.status, refused.body["code"].as_str()), (400, Some(code)), "{body}");
        }
        world.settle().await;
        let reads = who.post("/v1/audit/search", json!({ "type": "audit.read", "subject": "audit" })).await;
        let reads = reads.body["events"].as_array().unwrap().clone();
        assert_eq!(reads.last().unwrap()["payload"], json!({ "how": "search", "by": ["type"] }), "oldest first read");
        assert!(reads.iter().all(|read| read["actor"] == format!("key:{}", keys[0].0)));
        let told = json!(reads).to_string();
        assert!(!told.contains(&keys[3].0) && !told.contains("2026-11-20T15:02"), "by what kind, not for what");

        let (_, some) = key(&server, &["audit"], json!(["000000001"]), "live").await;
        let (_, other) = key(&server, &["read"], json!("all"), "live").await;
        for secret in [some, other] {
            let who = As::key(&server, &secret);
            assert_eq!(who.post("/v1/audit/search", json!({})).await.status, 403);
            assert_eq!(who.get("/v1/audit/export").await.status, 403);
            assert_eq!(who.get("/v1/audit/verify").await.status, 403);
        }
    }
}

/// Checks an export by what is in it and the audit key; answers the positions of its events.
fn proven(world: &World, export: &str) -> Result<Vec<i64>, String> {
    let lines: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut previous = lines[0]["begin"]["previous_mac"].as_str().unwrap().to_owned();
    let (mut positions, mut digests) = (Vec::new(), Vec::new());
    for line in &lines[1..lines.len() - 1] {
        if let Some(seal) = line.get("seal") {
            let first = seal["first_position"].as_i64().unwrap();
            let mac = chain(&world.app.audit_key, &previous, first, &digests);
            previous = seal["mac"].as_str().unwrap().to_owned();
            if mac != previous {
                return Err(format!("seal {first}"));
            }
            digests.clear();
            continue;
        }
        let event = &line["event"];
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        let position = event["position"].as_i64().unwrap();
        let read = Event {
            id: text("id").parse().unwrap(),
            position: Some(position),
            kind: text("type"),
            version: event["version"].as_i64().unwrap(),
            subject: text("subject"),
            brand: text("brand"),
            tin_uid: event["tin_uid"].as_str().map(ToOwned::to_owned),
            actor: text("actor"),
            at: text("at").parse().unwrap(),
            payload: text("payload"),
        };
        assert_eq!(Some(read.at.as_microsecond()), event["at_us"].as_i64());
        if digest(&read, position) != text("digest") {
            return Err(format!("event {position}"));
        }
        digests.push(text("digest"));
        positions.push(position);
    }
    let end = &lines[lines.len() - 1]["end"];
    assert_eq!((end["events"].as_u64(), digests.len()), (Some(positions.len() as u64), 0), "whole, all under seals");
    Ok(positions)
}

on_both! {
    async fn ops_14_an_export_proves_itself_whole_or_in_part(world: &World) {
        let server = Server::start(&world.app).await;
        let empty = As::all(&server).get("/v1/audit/export").await;
        assert_eq!((empty.status, proven(world, empty.body.as_str().unwrap())), (200, Ok(vec![])));
        world.settle().await;
        for _ in 0..4 {
            for _ in 0..3 {
                key(&server, &["audit"], json!("all"), "live").await;
            }
            world.settle().await;
        }
        let (_, secret) = key(&server, &["audit"], json!("all"), "live").await;
        world.settle().await;
        let who = As::key(&server, &secret);
        let export = async |query: &str| {
            let export = who.get(&format!("/v1/audit/export{query}")).await;
            assert_eq!(export.status, 200, "{}", export.body);
            export.body.as_str().unwrap().to_owned()
        };
        // positions: 1 the first export, then four seals over three, then one
        assert_eq!(proven(world, &export("").await), Ok((1..=14).collect()));
        world.settle().await;
        for (query, positions) in [
            ("?from=1&to=1", 1..=1),
            ("?from=6&to=6", 5..=7),
            ("?from=5&to=8", 5..=10),
            ("?from=12&to=14", 11..=14),
        ] {
            assert_eq!(proven(world, &export(query).await), Ok(positions.collect()), "{query}: whole seals");
        }
        world.settle().await;
        let behind = proven(world, &export("?from=1000000").await);
        assert_eq!(behind, Ok(vec![]));
        for query in ["?from=5&to=4", "?from=x", "?since=4"] {
            assert_eq!(who.get(&format!("/v1/audit/export{query}")).await.status, 400, "{query}");
        }
        world.settle().await;
        let verified = who.get("/v1/audit/verify").await;
        assert_eq!((verified.status, &verified.body["fault"]), (200, &Value::Null), "{}", verified.body);
        assert!(verified.body["events"].as_i64().unwrap() > 14);

        sql(world, "CREATE TABLE kept AS SELECT * FROM event WHERE position = 6").await;
        sql(world, "UPDATE event SET actor = 'nobody' WHERE position = 6").await;
        assert_eq!(proven(world, &export("?from=5&to=7").await), Err("event 6".into()));
        let verified = who.get("/v1/audit/verify").await.body;
        assert_eq!(verified["fault"], json!({ "fault": "broken", "position": 6 }));
        sql(world, "UPDATE event SET actor = (SELECT actor FROM kept) WHERE position = 6").await;
        sql(world, "DROP TABLE kept").await;
        let usage = world.app.api(None).usage;
        let first = usage.verification().unwrap();
        assert!(usage.verification().is_err(), "one at a time");
        drop(first);
        assert!(usage.verification().is_ok());
        let reads = count(world, "SELECT COUNT(*) AS n FROM event WHERE type = 'audit.read' AND payload LIKE '%export%'").await;
        assert_eq!(reads, 8, "each export is told, those refused are not");
    }
}

on_both! {
    async fn ops_14_the_log_is_searched_by_its_indexes(world: &World) {
        sql(world, "INSERT INTO event (id, position, type, version, subject, brand, actor, at, payload)
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
            SELECT 'made-' || CAST(i AS TEXT), i, CASE WHEN i % 101 = 0 THEN 'document.stored' ELSE 'document.scanning' END, 1,
                   'subject-' || CAST(i / 10 AS TEXT), 'meridian', 'actor-' || CAST(i % 199 AS TEXT), i * 1000, '{}' FROM n").await;
        sql(world, "ANALYZE").await;
        let by = |subject, actor, kind| events::Search { subject, actor, kind, ..Default::default() };
        for (search, index) in [
            (by(Some("subject-77"), None, None), "event_by_subject"),
            (by(Some("subject-77"), Some("actor-1"), Some("document.stored")), "event_by_subject"),
            (by(None, Some("actor-1"), None), "event_by_actor"),
            (by(None, Some("actor-1"), Some("document.stored")), "event_by_"),
            (by(None, None, Some("document.stored")), "event_by_type"),
            (by(None, None, None), "event_by_at"),
        ] {
            let explain = match world.db().flavor() {
                Flavor::Sqlite => "EXPLAIN QUERY PLAN ",
                Flavor::Postgres => "EXPLAIN ",
            };
            let statement = format!("{explain}{}", search.statement());
            let query = sqlx::query(sqlx::AssertSqlSafe(statement))
                .bind(20_000_000_i64).bind(0_i64).bind(10_000_000_i64)
                .bind(search.subject.unwrap_or_default().to_owned())
                .bind(search.actor.unwrap_or_default().to_owned())
                .bind(search.kind.unwrap_or_default().to_owned())
                .bind(51_i64);
            let plan = {
                let mut conn = world.db().read().await.unwrap();
                let rows = query.fetch_all(&mut *conn).await.unwrap();
                let column = if world.db().flavor() == Flavor::Sqlite { "detail" } else { "QUERY PLAN" };
                rows.iter().map(|row| row.get::<String, _>(column)).collect::<Vec<_>>().join("\n")
            };
            assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{search:?}\n{plan}");
            // what a second condition or a subject leaves is little, and may be sorted
            let sorts = plan.contains("TEMP B-TREE") || plan.contains("Sort");
            let narrow = search.subject.is_some() || (search.actor.is_some() && search.kind.is_some());
            assert!(narrow || !sorts, "{search:?}\n{plan}");
        }
        sql(world, "DELETE FROM event").await;
    }
}
