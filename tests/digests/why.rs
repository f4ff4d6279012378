//! COR-33: for each letter and user the system says why a mail went or did not; and the user's feed.

use lettercase::db::messages::Marking;
use lettercase::model::access::{Scope, TinSet};
use lettercase::model::digest::{DigestKind, MailState};
use lettercase::model::ids::LetterId;
use serde_json::{Value, json};

use crate::delivery::http::{As, all, refused, service};
use crate::delivery::{self, New};
use crate::http::Server;
use crate::on_both;
use crate::support::digests::*;

async fn why(who: &As<'_>, letter: &LetterId, user: Option<&str>) -> (u16, Value) {
    let query = user.map(|user| format!("?user={user}")).unwrap_or_default();
    let (status, _, body) = who.get(&format!("/v1/letters/{letter}/notifications{query}")).await;
    (status, body)
}

on_both! {
    async fn cor_33_why_is_told_for_each_letter_and_user(world: &World) {
        let ada = delivery::practices(world).await.id;
        addressed(world, "ada", Some("ada@practice.example")).await;
        let eve = user(world, "eve").await;
        let server = Server::start(&world.app).await;
        let (letter, _) = New::default().routed(world).await;
        let (on_paper, _) = New { to: delivery::UNREGISTERED, ..New::default() }.routed(world).await;
        let staff = all(&server);
        let ask = async |user: &str| {
            let (status, told) = why(&staff, &letter, Some(user)).await;
            assert_eq!(status, 200, "{told}");
            (told["state"].clone(), told["reason"].clone(), told["explanation"].as_str().unwrap().to_owned())
        };
        let (state, _, sentence) = ask(ada.as_str()).await;
        assert_eq!((state, sentence.contains("next daily digest")), (json!("waiting"), true), "{sentence}");
        let (state, reason, _) = ask(eve.as_str()).await;
        assert_eq!((state, reason), (json!("never"), json!("not_entitled_then")));
        assert_eq!(why(&staff, &on_paper, Some(ada.as_str())).await.1["reason"], "no_message");

        daily(world, TODAY).await;
        let mail = mail_of(world, &ada, DigestKind::ClaimInfo, TODAY);
        for state in MailState::ALL {
            sql(world, &format!("UPDATE digest_mail SET state = '{state}', reason = '550' WHERE id = '{mail}'")).await;
            let (status, told) = why(&staff, &letter, Some(ada.as_str())).await;
            assert_eq!((status, &told["state"], &told["mail"]["state"]), (200, &json!("mailed"), &json!(state.as_str())), "{told}");
            assert!(told["explanation"].as_str().unwrap().contains("daily digest"), "{told}");
            assert!(!told.to_string().contains(delivery::REGISTERED), "{told}");
        }
        // the user itself, for itself alone
        let own = As { user: Some(ada.to_string()), ..service(world, &server, &[Scope::ActAs], TinSet::All).await };
        assert_eq!(why(&own, &letter, None).await.1["state"], "mailed");
        assert_eq!(why(&own, &letter, Some(eve.as_str())).await.0, 404);
        assert_eq!(why(&own, &on_paper, None).await.0, 404, "another practice's");
        assert_eq!(why(&staff, &letter, None).await.0, 400);
        let read_only = service(world, &server, &[Scope::Read], TinSet::All).await;
        let path = format!("/v1/letters/{letter}/notifications?user={ada}");
        assert_eq!(refused(&read_only.get(&path).await), (403, "forbidden"));

        let (late, _) = New { pdf: b"another", ..New::default() }.routed(world).await;
        let statement = format!("SELECT id FROM message WHERE letter_id = '{late}'");
        let id: String = {
            let mut conn = world.db().read().await.unwrap();
            sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(&mut *conn).await.unwrap()
        };
        mark(world, &ada, &id.parse().unwrap(), Marking { read: Some(true), ..Marking::default() }).await;
        daily(world, jiff::civil::date(2026, 11, 21)).await;
        let told = why(&staff, &late, Some(ada.as_str())).await.1;
        assert_eq!((&told["state"], &told["reason"]), (&json!("left_out"), &json!("read")));
        assert!(told["explanation"].as_str().unwrap().contains("had read it"), "{told}");
        sql(world, "UPDATE digest_mail SET state = 'planned', reason = NULL").await;
    }
}

on_both! {
    async fn a_users_feed_has_what_came_newest_first_and_only_what_the_user_may_see_now(world: &World) {
        const ONE: &str = "000000011";
        const TWO: &str = "000000012";
        practices(world, &[ONE, TWO]).await;
        let ada = reader(world, "ada", &[ONE, TWO]).await;
        let server = Server::start(&world.app).await;
        let own = As { user: Some(ada.to_string()), ..service(world, &server, &[Scope::ActAs], TinSet::All).await };
        let mut all_of_it = Vec::new();
        for n in 0..7 {
            world.advance(std::time::Duration::from_secs(60));
            all_of_it.push(publish(world, if n % 2 == 0 { ONE } else { TWO }, if n % 3 == 0 { CLAIM_ASKS } else { PRECERT }).await);
        }
        mark(world, &ada, &all_of_it[6], Marking { read: Some(true), ..Marking::default() }).await;
        mark(world, &ada, &all_of_it[2], Marking { deleted: true, ..Marking::default() }).await;
        daily(world, TODAY).await;
        let pages = async || {
            let (mut next, mut found) = (Value::Null, Vec::new());
            loop {
                let cursor = next.as_str().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
                let (status, _, page) = own.get(&format!("/v1/me/notifications?limit=2{cursor}")).await;
                assert_eq!(status, 200, "{page}");
                found.extend(page["notifications"].as_array().unwrap().iter().cloned());
                next = page["next"].clone();
                if next.is_null() {
                    return found;
                }
            }
        };
        let found = pages().await;
        let expected: Vec<String> = [6, 5, 4, 3, 1, 0].map(|n: usize| all_of_it[n].to_string()).into();
        assert_eq!(found.iter().map(|one| one["message_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), expected);
        assert_eq!((&found[0]["read"], &found[0]["state"], &found[0]["left_out"]), (&json!(true), &json!("left_out"), &json!("read")));
        assert_eq!((&found[1]["state"], &found[1]["mail"]["state"], &found[1]["mail"]["cadence"]), (&json!("mailed"), &json!("planned"), &json!("daily")));
        assert_eq!(found[3]["kind"], "claim_action");
        grant(world, &ada, TWO, &[]).await;
        assert_eq!(pages().await.len(), 3, "what may not be seen any more is gone");
        assert_eq!(refused(&all(&server).get("/v1/me/notifications").await), (403, "forbidden"));
        let trial = own.get("/v1/me/notifications?cursor=nonsense").await;
        assert_eq!(refused(&trial), (400, "bad_cursor"));
    }
}
