//! The figures of `/metrics`: what they say, and that asking for them costs little however much lies here.

use std::time::Duration;

use lettercase::db::standing;
use lettercase::http::api::figures::refresh;
use lettercase::model::case::CaseKind;
use lettercase::model::submission::Said;

use crate::http::Server;
use crate::on_both;

/// The value of a line of metrics.
fn figure(text: &str, line: &str) -> Option<f64> {
    let found = text.lines().find_map(|candidate| candidate.strip_prefix(line)?.strip_prefix(' '));
    found.map(|value| value.parse().unwrap())
}

on_both! {
    async fn the_queues_say_how_much_waits_and_since_when(world: &World) {
        let submission = world.open(CaseKind::Appeal, Said::default()).await;
        world.add(&submission, "one.txt", b"a page of text").await;
        world.advance(Duration::from_secs(90));
        world.add(&submission, "two.txt", b"another page").await;
        {
            let mut conn = world.db().read().await.unwrap();
            let work = standing::work(&mut conn).await.unwrap();
            assert_eq!(work.len(), 1, "{work:?}");
            assert_eq!((work[0].stage.as_str(), work[0].state.as_str(), work[0].count), ("sniff", "ready", 2));
            assert_eq!(work[0].oldest_at, Some(crate::support::start()));
        }
        world.submit(&submission).await;
        let now = world.app.intake.ctx.now();
        let later = now.checked_add(jiff::SignedDuration::from_hours(24 * 14)).unwrap();
        let mut conn = world.db().read().await.unwrap();
        let tasks = standing::tasks(&mut conn, now).await.unwrap();
        let of = |tasks: &[standing::TaskStanding], kind: &str| {
            tasks.iter().find(|task| task.kind == kind).map_or((0, 0), |task| (task.count, task.overdue))
        };
        assert_eq!(of(&tasks, "match"), (2, 0), "{tasks:?}");
        let tasks = standing::tasks(&mut conn, later).await.unwrap();
        assert_eq!(of(&tasks, "match"), (2, 2), "{tasks:?}");
        assert!(tasks.iter().all(|task| standing::TASKS.contains(&task.kind.as_str())), "{tasks:?}");
        assert_eq!(of(&tasks, "paper"), (0, 0));
    }
}

on_both! {
    async fn ops_16_what_takes_long_is_counted_once_in_an_interval_however_often_it_is_asked_for(world: &World) {
        let api = world.app.api(None);
        let begin = world.app.intake.ctx.now();
        assert_eq!(api.figures.counted_at(), None, "nobody asked");
        refresh(&api).await;
        assert_eq!(api.figures.counted_at(), Some(begin), "the first count is waited for");
        world.advance(Duration::from_secs(59));
        refresh(&api).await;
        api.figures.idle().await;
        assert_eq!(api.figures.counted_at(), Some(begin));
        world.advance(Duration::from_secs(1));
        futures::future::join_all((0..20).map(|_| refresh(&api))).await;
        api.figures.idle().await;
        assert_eq!(api.figures.counted_at(), Some(world.app.intake.ctx.now()));
    }
}

on_both! {
    async fn ops_16_metrics_tell_of_the_flow_and_of_what_it_needs(world: &World) {
        let server = Server::start(&world.app).await;
        let submission = world.open(CaseKind::Appeal, Said::default()).await;
        world.add(&submission, "one.txt", b"a page of text").await;
        world.submit(&submission).await;
        let text = server.get("/metrics").await.1;
        for (line, value) in [
            ("lettercase_ledger_difference", 0.0),
            ("lettercase_object_store_up", 1.0),
        ] {
            assert_eq!(figure(&text, line), Some(value), "{text}");
        }
        // the others are shared by all tests of this process: that they are there is what can be said
        for line in [
            r#"lettercase_work_oldest_seconds{stage="scan",state="dead"}"#,
            r#"lettercase_tasks{kind="match"}"#,
            r#"lettercase_tasks_overdue{kind="held"}"#,
            r#"lettercase_tasks_oldest_seconds{kind="letter"}"#,
            r#"lettercase_stage_paused{stage="scan"}"#,
            r#"lettercase_arrivals_total{outcome="received"}"#,
            "lettercase_received_bytes_total",
            "lettercase_events_unsealed",
            r#"lettercase_events_unread{reader="cases"}"#,
            "lettercase_program_faults_total",
            "lettercase_differing_plans",
            r#"lettercase_outgoing_held{what="mails"}"#,
            r#"lettercase_outgoing_held{what="destruction"}"#,
        ] {
            assert!(figure(&text, line).is_some(), "{line}: {text}");
        }
        assert!(text.contains(r#"lettercase_stage_outcomes_total{stage="sniff",outcome="advanced"}"#), "{text}");
        assert!(text.contains(r#"lettercase_stage_seconds_"#) || text.contains("lettercase_stage_seconds{"), "{text}");
        assert!(text.contains("lettercase_scanner_fit{scanner="), "{text}");
    }
}
