//! Who gets what from the queue, for how long, and how fast it is read (OPS-01, OPS-02).

use std::collections::BTreeSet;
use std::time::Duration;

use lettercase::db::tasks::{self, Filter, Taken, TaskKind};
use lettercase::db::{Flavor, Stamp};
use lettercase::model::access::Mode;
use lettercase::model::document::Channel;
use lettercase::model::ids::DocumentId;
use lettercase::model::reference::ReferenceKind;
use sqlx::Row;

use super::{AMBIGUOUS, LEASE, STRANGER, alone, live, person, sent, take, task_of, try_take, waiting};
use crate::journey::{made, sql};
use crate::on_both;
use crate::support::World;

on_both! {
    async fn ops_01_two_people_never_get_the_same_item(world: &World) {
        for n in 0..30 {
            sent(world, &format!("{n}.txt"), STRANGER).await;
        }
        for round in 0..2 {
            let people = ["ann", "ben", "cem", "dora", "eli", "fay"].map(|name| {
                let (db, ctx) = (world.db().clone(), world.app.intake.ctx.clone());
                tokio::spawn(async move {
                    let mut mine = Vec::new();
                    for _ in 0..5 {
                        let stamp = Stamp { ctx: &ctx, actor: name };
                        mine.extend(tasks::claim_next(&db, stamp, live(None), LEASE).await.unwrap());
                    }
                    mine
                })
            });
            let mut taken = Vec::new();
            for one in futures::future::join_all(people).await {
                taken.extend(one.unwrap().into_iter().map(|lease| (lease.document_id, lease.token)));
            }
            // who found the others' rows locked went without; what they left is taken now
            while let Some(lease) = tasks::claim_next(world.db(), person(world, "gus"), live(None), LEASE).await.unwrap() {
                taken.push((lease.document_id, lease.token));
            }
            let documents: BTreeSet<_> = taken.iter().map(|(document, _)| document.clone()).collect();
            let tokens: BTreeSet<_> = taken.iter().map(|(_, token)| token.clone()).collect();
            assert_eq!((taken.len(), documents.len(), tokens.len()), (30, 30, 30), "round {round}: each item once");
            world.advance(LEASE + Duration::from_secs(1));
        }
        // and one item asked for by its name
        let id = waiting(world).await[0].document_id.clone();
        let asked = ["ann", "ben", "cem", "dora"].map(|name| {
            let (db, ctx, id) = (world.db().clone(), world.app.intake.ctx.clone(), id.clone());
            tokio::spawn(async move {
                let mut tx = db.begin().await.unwrap();
                let taken = tasks::claim(&mut tx, Stamp { ctx: &ctx, actor: name }, &id, LEASE).await.unwrap();
                tx.commit().await.unwrap();
                taken
            })
        });
        let mut got = 0;
        for one in futures::future::join_all(asked).await {
            got += usize::from(matches!(one.unwrap(), Taken::Yes(_)));
        }
        assert_eq!(got, 1);
    }
}

on_both! {
    async fn ops_01_a_lease_runs_out_by_the_clock_can_be_renewed_and_given_back(world: &World) {
        let id = sent(world, "a.txt", STRANGER).await;
        let ann = take(world, "ann", &id).await;
        assert_eq!(task_of(world, &id).await.unwrap().holder.as_deref(), Some("ann"));
        assert!(matches!(try_take(world, "ben", &id).await, Taken::ByAnother { until } if until == ann.until));
        assert_eq!(tasks::claim_next(world.db(), person(world, "ben"), live(None), LEASE).await.unwrap(), None);
        let renew = async |who, token: &str| {
            let mut tx = world.db().begin().await.unwrap();
            let until = tasks::renew(&mut tx, person(world, who), &id, token, LEASE).await.unwrap();
            tx.commit().await.unwrap();
            until
        };
        world.advance(LEASE);
        assert!(matches!(try_take(world, "ben", &id).await, Taken::ByAnother { .. }), "it runs to its last instant");
        assert_eq!(renew("ben", &ann.token).await, None, "a token is of its holder only");
        assert!(renew("ann", &ann.token).await.is_some_and(|until| until > ann.until));
        world.advance(LEASE + Duration::from_secs(1));
        assert_eq!(renew("ann", &ann.token).await, None, "what ran out is not renewed");
        let task = task_of(world, &id).await.unwrap();
        assert_eq!((task.holder, task.lease_until), (None, None), "nor told");
        let ben = take(world, "ben", &id).await;
        let again = take(world, "ben", &id).await;
        assert_ne!(again.token, ben.token, "who has it gets it anew");
        let release = async |who, token: &str| {
            let mut tx = world.db().begin().await.unwrap();
            let released = tasks::release(&mut tx, person(world, who), &id, token).await.unwrap();
            tx.commit().await.unwrap();
            released
        };
        assert!(!release("ann", &ann.token).await && !release("ben", &ben.token).await);
        assert!(release("ben", &again.token).await);
        take(world, "ann", &id).await;
        let nobody: DocumentId = world.stamp().ctx.new_id().parse().unwrap();
        assert_eq!(try_take(world, "ann", &nobody).await, Taken::NoTask);
    }
}

on_both! {
    async fn the_queue_is_listed_by_deadline_page_by_page_and_counted(world: &World) {
        let mut sent_in = Vec::new();
        for n in 0..5 {
            sent_in.push(sent(world, &format!("{n}.txt"), STRANGER).await);
        }
        world.advance(Duration::from_secs(4 * 86_400));
        let held = sent(world, "a.doc", &made("doc-with-macros")).await;
        let trial = world.settings.brand.in_mode(Mode::Test);
        let test = alone(world, &trial, Channel::Fax, "a.txt", STRANGER).await;
        assert!(task_of(world, &test).await.is_some());

        let now = world.app.intake.ctx.now();
        let mut conn = world.db().read().await.unwrap();
        let mut seen = Vec::new();
        let mut after: Option<(i64, DocumentId)> = None;
        loop {
            let behind = after.as_ref().map(|(at, id)| (*at, id));
            let page = tasks::list(&mut conn, now, live(None), behind, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some((last.deadline_at.as_microsecond(), last.document_id.clone()));
            seen.extend(page.into_iter().map(|task| task.document_id));
        }
        let mut expected = sent_in.clone();
        expected.sort_unstable();
        expected.push(held.clone());
        assert_eq!(seen, expected, "each once, without the trial");

        let other = "other".parse().unwrap();
        let of = |kind, brand, mode| Filter { mode, kind, brand, sensitive: true };
        for (filter, count) in [
            (of(Some(TaskKind::Match), None, Mode::Live), 5),
            (of(Some(TaskKind::Held), None, Mode::Live), 1),
            (of(None, Some(&world.settings.brand), Mode::Live), 6),
            (of(None, Some(&trial), Mode::Test), 1),
            (of(None, None, Mode::Test), 1),
            (of(None, Some(&trial), Mode::Live), 0),
            (of(None, Some(&other), Mode::Live), 0),
        ] {
            assert_eq!(tasks::list(&mut conn, now, filter, None, 100).await.unwrap().len(), count, "{filter:?}");
        }
        drop(conn);
        take(world, "ann", &sent_in[0]).await;
        let mut conn = world.db().read().await.unwrap();
        for brand in [None, Some(&world.settings.brand)] {
            let soon = now.saturating_add(jiff::SignedDuration::from_hours(200)).unwrap();
            let counts = tasks::counts(&mut conn, now, soon, of(None, brand, Mode::Live)).await.unwrap();
            let [matches, held] = &counts[..] else { panic!("{counts:?}") };
            assert_eq!((matches.waiting, matches.overdue, matches.due_soon, matches.leased), (5, 5, 0, 1), "{brand:?}");
            assert_eq!((held.waiting, held.overdue, held.due_soon, held.leased), (1, 0, 1, 0), "{brand:?}");
            assert_eq!(matches.oldest_received_at, Some(crate::support::start()));
        }
        drop(conn);
        let next = tasks::claim_next(world.db(), person(world, "ben"), of(None, None, Mode::Live), LEASE).await.unwrap();
        assert_eq!(next.unwrap().document_id, expected[1], "nearest deadline first, but for what ann has");
        let next = tasks::claim_next(world.db(), person(world, "ben"), of(None, None, Mode::Test), LEASE).await.unwrap();
        assert_eq!(next.unwrap().document_id, test);
    }
}

on_both! {
    async fn ops_17_what_is_proposed_for_a_sensitive_case_is_kept_from_who_may_not_see_it(world: &World) {
        world.load_samples().await;
        let id = sent(world, "a.txt", AMBIGUOUS).await;
        let seen = async |sensitive| {
            let mut conn = world.db().read().await.unwrap();
            let filter = Filter { sensitive, ..live(None) };
            tasks::list(&mut conn, world.app.intake.ctx.now(), filter, None, 10).await.unwrap().len()
        };
        assert_eq!((seen(false).await, seen(true).await), (1, 1));
        let case = |sensitive: &str| {
            format!("{{\"brand\":\"meridian\",\"case_number\":\"AP-4K7XW9ZB\",\"kind\":\"appeal\",\"status\":\"In Process\",\"member_id\":\"MH50381962\",\"tin\":\"001234567\",\"opened_on\":\"2026-11-01\",\"claim_number\":\"CL2643781290\"{sensitive}}}")
        };
        world.load(ReferenceKind::Cases, &case(",\"sensitive\":\"true\"")).await;
        assert_eq!((seen(false).await, seen(true).await), (0, 1));
        let filter = Filter { sensitive: false, ..live(None) };
        assert_eq!(tasks::claim_next(world.db(), person(world, "ann"), filter, LEASE).await.unwrap(), None);
        world.load(ReferenceKind::Cases, &case("")).await;
        assert_eq!(seen(false).await, 0, "a load that does not say leaves it as it is");
        world.load(ReferenceKind::Cases, &case(",\"sensitive\":\"false\"")).await;
        assert_eq!(seen(false).await, 1);
        take(world, "ann", &id).await;
    }
}

/// The plan of a statement, as the database tells it.
async fn plan_of(world: &World, statement: &str, owner: &str, parameters: &[i64], texts: (usize, &str)) -> String {
    let explain = match world.db().flavor() {
        Flavor::Sqlite => "EXPLAIN QUERY PLAN ",
        Flavor::Postgres => "EXPLAIN ",
    };
    let statement = format!("{explain}{statement}");
    let mut query = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(owner.to_owned()).bind("match");
    for (at, number) in parameters.iter().enumerate() {
        query = if at == texts.0 { query.bind(texts.1.to_owned()) } else { query.bind(*number) };
    }
    let mut conn = world.db().read().await.unwrap();
    let rows = query.fetch_all(&mut *conn).await.unwrap();
    let column = if world.db().flavor() == Flavor::Sqlite { "detail" } else { "QUERY PLAN" };
    rows.iter().map(|row| row.get::<String, _>(column)).collect::<Vec<_>>().join("\n")
}

on_both! {
    async fn the_queue_is_read_by_its_indexes(world: &World) {
        // rows of documents that are not there are taken away again, for the ledger
        sql(world, "INSERT INTO task (document_id, kind, brand, mode, received_at, created_at, deadline_at)
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
            SELECT CAST(i AS TEXT), CASE WHEN i % 50 = 0 THEN 'match' ELSE 'held' END,
                   CASE WHEN i % 2 = 0 THEN 'one' ELSE 'two' END, 'live', i * 1000, i * 1000, i * 1000 FROM n").await;
        sql(world, "ANALYZE").await;
        for (statement, owner, numbers, texts) in [
            (tasks::PAGE_OF_MODE, "live", &[500_000, 0, 1, 50][..], (1, "")),
            (tasks::PAGE_OF_BRAND, "one", &[500_000, 0, 0, 50][..], (1, "")),
            (tasks::COUNTS_OF_MODE, "live", &[1_000_000, 2_000_000, 1_000][..], (9, "")),
            (tasks::COUNTS_OF_BRAND, "one", &[1_000_000, 2_000_000, 1_000][..], (9, "")),
        ] {
            let plan = plan_of(world, statement, owner, numbers, texts).await;
            let scans = plan.lines().filter(|line| {
                line.contains("Seq Scan on task") || (line.contains("SCAN task") && !line.contains("INDEX"))
                    || line.contains("TEMP B-TREE")
            });
            assert_eq!(scans.count(), 0, "{statement}\n{plan}");
        }
        sql(world, "DELETE FROM task").await;
    }
}
