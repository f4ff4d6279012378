//! The doors of digests: what administrators try before it happens, mails in doubt, addresses that nothing is sent to, and
//! one-click unsubscribe.

use lettercase::access::{Expected, Manager};
use lettercase::app::{App, open_access};
use lettercase::db::suppressions::{self, NewSuppression};
use lettercase::db::{Stamp, messages};
use lettercase::model::access::{Entitlement, Role, Scope, TinRights, TinSet};
use lettercase::model::digest::{DigestKind, SuppressionReason};
use lettercase::model::ids::UserId;
use lettercase::model::letter::LetterState;
use lettercase::model::message::MessageType;
use lettercase::model::people::{Login, Person};
use lettercase::model::phi::Phi;
use lettercase::outside::context::Context;
use lettercase::outside::mailer::receiver::Receiver;
use reqwest::Method;
use serde_json::{Value, json};

use super::sending::{SPREAD, faulty, header, planned, received, sender, told};
use crate::access::issuer::{Pair, TestIssuer, access_with};
use crate::cli::{good, run};
use crate::crash::site::Site;
use crate::delivery::New;
use crate::delivery::http::{As, all, refused, service};
use crate::http::{Server, client};
use crate::journey::texts;
use crate::mailer::relay::{At, Does};
use crate::mailer::returned::bounce;
use crate::on_both;
use crate::support::digests::*;
use crate::support::postgres::free_port;
use crate::support::{On, World, block_on};

const ONE: &str = "900000001";
const TWO: &str = "900000002";

/// The world's node with a relay on this machine.
fn mailing(world: &World, port: u16) -> App {
    let mut app = world.app.clone();
    app.digests = sender(world, port).digests;
    app
}

/// Who speaks for a user.
async fn own<'a>(world: &World, server: &'a Server, user: &UserId) -> As<'a> {
    As { user: Some(user.to_string()), ..service(world, server, &[Scope::ActAs], TinSet::All).await }
}

async fn suppress(world: &World, address: &str) {
    let mut tx = world.db().begin().await.unwrap();
    let new = NewSuppression { address, reason: SuppressionReason::Bounce, detail: Some("5.1.1"), mail_id: None };
    assert!(suppressions::insert(&mut tx, world.stamp(), new).await.unwrap().is_some());
    tx.commit().await.unwrap();
}

async fn manager(world: &World, name: &str, of: &str) -> UserId {
    let user = user(world, name).await;
    let rights = TinRights { entitlements: Default::default(), access_manager: true };
    world.app.access.put_entitlement(Manager::Machine("test"), &user, &tin(of), rights, Expected::Any).await.unwrap();
    user
}

on_both! {
    async fn ops_10_a_dry_run_tells_who_would_be_told_who_would_not_and_why(world: &World) {
        world.app.digests.make_schedules().await.unwrap();
        practices(world, &[ONE, TWO]).await;
        let (ada, ben) = (reader(world, "ada", &[ONE, TWO]).await, reader(world, "ben", &[ONE]).await);
        addressed(world, "ben", None).await;
        let letter = publish(world, ONE, CLAIM).await;
        publish(world, TWO, CLAIM).await;
        let server = Server::start(&world.app).await;
        let staff = all(&server);
        let path = "/v1/schedules/meridian-daily/dry-run";
        let (status, _, whole) = staff.get(path).await;
        assert_eq!((status, &whole["serves"], &whole["day"]), (200, &json!(["daily"]), &json!("2026-11-20")), "{whole}");
        let counts: Vec<Value> = whole["counts"].as_array().unwrap().iter()
            .map(|of| json!([of["kind"], of["fate"], of["reason"], of["users"], of["practices"], of["letters"]])).collect();
        assert_eq!(counts, [json!(["claim_info", "mail", null, 1, 2, 2]), json!(["claim_info", "left_out", "no_address", 1, 1, 1])]);
        assert!(whole["counts"][1]["explanation"].as_str().unwrap().contains("no mail address"), "{whole}");
        let of = |user: &UserId| whole["lines"].as_array().unwrap().iter().find(|line| line["user_id"] == user.as_str()).unwrap().clone();
        assert_eq!((&of(&ada)["fate"], &of(&ada)["tins"]), (&json!("mail"), &json!(["•••••••01", "•••••••02"])));
        assert_eq!((&of(&ben)["fate"], &of(&ben)["reason"]), (&json!("left_out"), &json!("no_address")));
        assert!(!whole.to_string().contains(ONE) && !whole.to_string().contains("practice.example"), "{whole}");
        // page by page
        let (mut next, mut users) = (Value::Null, Vec::new());
        loop {
            let cursor = next.as_str().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let (status, _, page) = staff.get(&format!("{path}?limit=1{cursor}")).await;
            assert_eq!(status, 200, "{page}");
            users.extend(page["lines"].as_array().unwrap().iter().map(|line| line["user_id"].clone()));
            next = page["next"].clone();
            if next.is_null() { break }
        }
        assert_eq!(users.len(), 2, "{users:?}");
        assert!(mails(world).await.is_empty(), "nothing is changed");
        assert_eq!(stands(world, &ada, &letter).await, "waiting");
        // who has had the day's mail waits
        daily(world, TODAY).await;
        publish(world, ONE, CLAIM).await;
        let (_, _, later) = staff.get(path).await;
        assert_eq!((&later["counts"][0]["fate"], &later["counts"][0]["letters"]), (&json!("waits"), &json!(1)), "{later}");
        assert_eq!(refused(&staff.get("/v1/schedules/nobody-daily/dry-run").await), (404, "not_found"));
        assert_eq!(refused(&staff.get(&format!("{path}?cursor=nonsense")).await), (400, "bad_cursor"));
        let some = service(world, &server, &[Scope::Operate], TinSet::Only([tin(ONE)].into())).await;
        assert_eq!(refused(&some.get(path).await), (403, "forbidden"), "it tells of all practices");
    }
}

on_both! {
    async fn ops_10_a_test_mail_goes_to_who_asks_for_it_and_digests_know_nothing_of_it(world: &World) {
        world.app.digests.make_schedules().await.unwrap();
        let issuer = TestIssuer::start().await;
        let pair = Pair::new("e", jsonwebtoken::Algorithm::ES256);
        issuer.show(&[&pair]);
        let access = access_with(world, vec![issuer.options()]);
        let staff = async |name: &str, address: Option<&str>, role: Role| {
            let login = Login { issuer: issuer.base.parse().unwrap(), subject: name.parse().unwrap() };
            let person = Person { name: Phi(name.to_owned()), email: address.map(|to| Phi(to.to_owned())) };
            let machine = Manager::Machine("test");
            let (user, _) = access.put_user(machine, &login, person, Expected::Any).await.unwrap();
            access.set_roles(machine, &user.id, [role].into(), Expected::Any).await.unwrap();
            (user.id, client(&pair.sign(&issuer.claims(world, name))))
        };
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(dir.path()).await.unwrap();
        let server = Server::start_with(&mailing(world, receiver.address().port()), access.clone()).await;
        let (id, ann) = staff("ann", Some("ann@plan.example"), Role::Administrator).await;
        let ann = As { server: &server, client: ann, user: None };
        let path = "/v1/schedules/meridian-daily/test-mail";
        for kind in ["", "?kind=precert_action"] {
            let sent = ann.post(&format!("{path}{kind}"), None, Value::Null).await;
            assert_eq!((sent.0, &sent.2["outcome"], &sent.2["reason"]), (200, &json!("accepted"), &Value::Null), "{}", sent.2);
        }
        let sent = received(dir.path());
        assert_eq!(sent.len(), 2);
        for mail in &sent {
            assert!(header(mail, "To").contains("ann@plan.example"));
        }
        // long headers are folded
        let unfolded: Vec<String> = sent.iter().map(|mail| mail.replace("\r\n ", " ")).collect();
        let subjects: Vec<&str> = unfolded.iter().map(|mail| header(mail, "Subject")).collect();
        assert!(subjects[0].contains("claim") && subjects[1].contains("recert"), "{subjects:?}");
        assert_ne!(header(&sent[0], "Message-ID"), header(&sent[1], "Message-ID"));
        let link = header(&sent[0], "List-Unsubscribe");
        let token = &link[link.rfind('/').unwrap() + 1..link.len() - 1];
        assert_eq!(server.get(&format!("/v1/unsubscribe/{token}")).await.0, 404, "its links lead to nothing");
        assert!(mails(world).await.is_empty());
        let asked = texts(world, "SELECT actor FROM event WHERE type = 'mail.test_asked'").await;
        assert_eq!(asked, [format!("staff:{id}"), format!("staff:{id}")]);

        let post = async |server: &Server, client: &reqwest::Client| {
            let who = As { server, client: client.clone(), user: None };
            let came = who.post(path, None, Value::Null).await;
            (came.0, came.2["code"].as_str().unwrap_or_default().to_owned())
        };
        let (_, nowhere) = staff("ben", None, Role::Administrator).await;
        assert_eq!(post(&server, &nowhere).await, (422, "unprocessable".into()));
        let (_, supervisor) = staff("sue", Some("sue@plan.example"), Role::Supervisor).await;
        assert_eq!(post(&server, &supervisor).await, (403, "forbidden".into()));
        assert_eq!(post(&server, &server.client).await, (422, "unprocessable".into()), "a service has no address");
        let away = Server::start_with(&mailing(world, free_port()), access.clone()).await;
        assert_eq!(post(&away, &ann.client).await, (503, "unavailable".into()));
        let without = Server::start_with(&world.app, access.clone()).await;
        assert_eq!(post(&without, &ann.client).await, (409, "wrong_state".into()));
        suppress(world, "ann@plan.example").await;
        assert_eq!(post(&server, &ann.client).await, (409, "wrong_state".into()));
        assert_eq!(received(dir.path()).len(), 2);
        let refusing = faulty(At::Rcpt, Does::Says("550 5.1.1 no such user"), usize::MAX).await;
        let server = Server::start_with(&mailing(world, refusing.port), access.clone()).await;
        let (_, sue) = staff("sid", Some("sid@plan.example"), Role::Administrator).await;
        let told = As { server: &server, client: sue, user: None }.post(path, None, Value::Null).await;
        assert_eq!((told.0, &told.2["outcome"], &told.2["reason"]), (200, &json!("refused"), &json!("rcpt 550 5.1.1")));
    }
}

on_both! {
    async fn cor_34_a_suppression_is_seen_and_lifted_by_user_access_manager_and_administrator(world: &World) {
        practices(world, &[ONE, TWO]).await;
        let ada = reader(world, "ada", &[ONE]).await;
        let (eve, mallory) = (manager(world, "eve", ONE).await, manager(world, "mallory", TWO).await);
        let server = Server::start(&world.app).await;
        let (own_path, path) = ("/v1/me/mail-address", format!("/v1/users/{ada}/mail-address"));
        let ada_self = own(world, &server, &ada).await;
        let free = json!({ "known": true, "suppressed": null });
        assert_eq!(ada_self.get(own_path).await.2, free);
        let administrator = service(world, &server, &[Scope::Access], TinSet::All).await;
        let of_two = service(world, &server, &[Scope::Access], TinSet::Only([tin(TWO)].into())).await;
        let of_one = service(world, &server, &[Scope::Access], TinSet::Only([tin(ONE)].into())).await;
        let (eve, mallory) = (own(world, &server, &eve).await, own(world, &server, &mallory).await);
        for (n, lifts) in [&ada_self, &eve, &administrator, &of_one].into_iter().enumerate() {
            // however it is written
            suppress(world, "Ada@practice.example").await;
            let (status, _, seen) = ada_self.get(own_path).await;
            let of = &seen["suppressed"];
            assert_eq!((status, &of["reason"], &of["detail"]), (200, &json!("bounce"), &json!("5.1.1")), "{seen}");
            assert!(of["since"].is_string() && !seen.to_string().contains('@'), "{seen}");
            for who in [&mallory, &of_two] {
                assert_eq!(refused(&who.get(&path).await), (404, "not_found"));
                assert_eq!(refused(&who.post(&format!("{path}/lift"), None, Value::Null).await), (404, "not_found"));
            }
            let at = if n == 0 { own_path } else { &path };
            assert_eq!(lifts.get(at).await.2, seen);
            for _ in 0..2 {
                let lifted = lifts.post(&format!("{at}/lift"), None, Value::Null).await;
                assert_eq!((lifted.0, &lifted.2), (200, &free));
            }
        }
        let told = texts(world, "SELECT actor FROM event WHERE type = 'mail.suppression_lifted'").await;
        assert_eq!(told.len(), 4, "one for each that stood: {told:?}");
        assert_eq!(told.iter().filter(|actor| actor.starts_with("user:")).count(), 2, "{told:?}");
        assert_eq!(refused(&ada_self.get(&path).await), (403, "forbidden"), "she is no access manager");
        assert_eq!(refused(&administrator.get(own_path).await), (403, "forbidden"));
        let nobody = format!("/v1/users/{}/mail-address", world.stamp().ctx.new_id());
        assert_eq!(refused(&administrator.get(&nobody).await), (404, "not_found"));
        addressed(world, "ada", None).await;
        assert_eq!(ada_self.get(own_path).await.2, json!({ "known": false, "suppressed": null }));
    }
}

on_both! {
    async fn cor_34_a_mail_that_came_back_is_handed_in_over_http(world: &World) {
        planned(world, &["ada"]).await;
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(dir.path()).await.unwrap();
        let app = mailing(world, receiver.address().port());
        assert_eq!(sender(world, receiver.address().port()).send_due().await.unwrap(), 1);
        let sent = received(dir.path());
        let message_id = header(&sent[0], "Message-ID").trim_matches(['<', '>']);
        let report = bounce(message_id, "failed", "5.1.1", "ada@practice.example");
        let server = Server::start(&app).await;
        let hand_in = async |body: Vec<u8>, of: &str| {
            let request = server.client.post(server.url("/v1/mail-returns")).header("Content-Type", of).body(body);
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let told: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
            (status, told["taken"].as_str().or(told["code"].as_str()).unwrap().to_owned())
        };
        assert_eq!(hand_in(report.clone(), "message/rfc822").await, (200, "suppressed".into()));
        assert_eq!(hand_in(report.clone(), "message/rfc822").await, (200, "known".into()));
        assert_eq!(hand_in(b"Subject: out of office\r\n\r\nx\r\n".to_vec(), "message/rfc822").await, (200, "no_report".into()));
        assert_eq!(hand_in(report, "text/plain").await, (415, "unsupported_media_type".into()));
        let large = vec![b'x'; app.digests.plan.returns.most_bytes + 1];
        assert_eq!(hand_in(large, "message/rfc822").await, (413, "body_too_large".into()));
        let reads = service(world, &server, &[Scope::Read], TinSet::All).await;
        assert_eq!(refused(&reads.post("/v1/mail-returns", None, Value::Null).await), (403, "forbidden"));
        assert_eq!(texts(world, "SELECT state FROM digest_mail").await, ["bounced"]);
    }
}

on_both! {
    async fn a_mail_in_doubt_is_listed_and_decided_on_over_http(world: &World) {
        let users = planned(world, &["ada"]).await;
        let relay = faulty(At::End, Does::Closes, 1).await;
        sender(world, relay.port).send_due().await.unwrap();
        assert_eq!(told(world, &users[0]).await, "in_doubt no_answer 1");
        let server = Server::start(&world.app).await;
        let staff = service(world, &server, &[Scope::Operate, Scope::ReadAny], TinSet::All).await;
        let (status, _, doubtful) = staff.get("/v1/mails").await;
        let mail = &doubtful["mails"][0];
        assert_eq!((status, &mail["state"], &mail["reason"], &mail["user_id"]), (200, &json!("in_doubt"), &json!("no_answer"), &json!(users[0].as_str())));
        assert!(!doubtful.to_string().contains("practice.example") && !doubtful.to_string().contains(ONE), "{doubtful}");
        let run = mail["run_id"].as_str().unwrap();
        for (query, count) in [
            (format!("?user={}", users[0]), 1), (format!("?run={run}"), 1), (format!("?run={run}&state=in_doubt"), 1),
            (format!("?run={run}&state=accepted"), 0), ("?state=in_doubt".into(), 1),
        ] {
            let (status, _, found) = staff.get(&format!("/v1/mails{query}")).await;
            assert_eq!((status, found["mails"].as_array().map(Vec::len)), (200, Some(count)), "{query}: {found}");
        }
        for query in ["?state=accepted".to_owned(), format!("?run={run}&user={}", users[0])] {
            assert_eq!(refused(&staff.get(&format!("/v1/mails{query}")).await), (400, "bad_request"), "{query}");
        }
        let path = format!("/v1/mails/{}", mail["id"].as_str().unwrap());
        let (status, etag, seen) = staff.get(&path).await;
        assert_eq!((status, &seen), (200, mail));
        let decide = format!("{path}/decide");
        let again = json!({ "send_again": true });
        assert_eq!(refused(&staff.post(&decide, None, again.clone()).await), (428, "version_needed"));
        assert_eq!(refused(&staff.post(&decide, Some("\"77\""), again.clone()).await), (412, "version_conflict"));
        assert_eq!(refused(&staff.post(&decide, Some(&etag), json!({})).await), (400, "bad_request"));
        let (status, decided, after) = staff.post(&decide, Some(&etag), again.clone()).await;
        assert_eq!((status, &after["state"]), (200, &json!("planned")), "{after}");
        assert_eq!(refused(&staff.post(&decide, Some(&etag), again.clone()).await), (412, "version_conflict"));
        assert_eq!(refused(&staff.post(&decide, Some(&decided), again).await), (409, "wrong_state"));
        assert_eq!(texts(world, "SELECT type FROM event WHERE type = 'mail.decided'").await.len(), 1);
        let nobody = mail_of(world, &users[0], DigestKind::PrecertInfo, TODAY);
        assert_eq!(refused(&staff.get(&format!("/v1/mails/{nobody}")).await), (404, "not_found"));
        assert_eq!(refused(&staff.get("/v1/mails/nonsense").await), (404, "not_found"));
        let some = service(world, &server, &[Scope::Operate], TinSet::Only([tin(ONE)].into())).await;
        assert_eq!(refused(&some.get("/v1/mails").await), (403, "forbidden"));
    }
}

/// A user's choices: `900000001 claim daily`, and what made them.
async fn chosen(world: &World, user: &UserId) -> Vec<String> {
    let page = world.app.digests.choices_of(user, None, 100).await.unwrap();
    let told = page.items.iter().map(|of| {
        let source =
            of.choice.as_ref().map_or_else(String::new, |choice| format!(" {} {}", choice.source, choice.version));
        format!("{} {} {}{source}", of.tin.as_str(), of.category, of.cadence)
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told
}

on_both! {
    async fn cor_34_the_link_of_a_real_mail_unsubscribes_by_a_post_and_never_by_a_get(world: &World) {
        practices(world, &[ONE, TWO]).await;
        let ada = reader(world, "ada", &[ONE, TWO]).await;
        publish(world, ONE, CLAIM).await;
        publish(world, TWO, PRECERT).await;
        daily(world, TODAY).await;
        world.advance(SPREAD);
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(dir.path()).await.unwrap();
        let app = mailing(world, receiver.address().port());
        assert_eq!(sender(world, receiver.address().port()).send_due().await.unwrap(), 2);
        let sent = received(dir.path());
        let server = Server::start(&app).await;
        let link_of = |about: &str| {
            let mail = sent.iter().find(|mail| header(mail, "Subject").contains(about)).unwrap();
            assert_eq!(header(mail, "List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
            let link = header(mail, "List-Unsubscribe").trim_matches(['<', '>']);
            server.url(link.strip_prefix("https://letters.example").unwrap())
        };
        let (claims, precerts) = (link_of("claim"), link_of("recert"));
        let before = chosen(world, &ada).await;
        let nobody = reqwest::Client::builder().no_proxy().build().unwrap();
        for link in [&claims, &precerts] {
            let page = nobody.get(link).send().await.unwrap();
            assert_eq!(page.status(), 200);
            assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
            let text = page.text().await.unwrap();
            assert!(text.contains("<form method=post>") && text.contains("<button") && !text.contains("<script"), "{text}");
            assert!(!text.contains("0001") && !text.contains("ada"), "{text}");
            assert_eq!(nobody.head(link).send().await.unwrap().status(), 200);
        }
        assert_eq!(chosen(world, &ada).await, before, "a GET changes nothing");
        for wrong in ["", "List-Unsubscribe=No", "yes"] {
            assert_eq!(nobody.post(&claims).body(wrong).send().await.unwrap().status(), 400, "{wrong}");
        }
        let token = claims.rsplit('/').next().unwrap();
        let flipped = if token.starts_with('A') { 'B' } else { 'A' };
        for forged in [token[..token.len() - 4].to_owned(), format!("{flipped}{}", &token[1..]), "nonsense".into()] {
            let link = server.url(&format!("/v1/unsubscribe/{forged}"));
            for method in [Method::GET, Method::POST] {
                let answered = nobody.request(method, &link).body("List-Unsubscribe=One-Click").send().await.unwrap();
                assert_eq!((answered.status().as_u16(), forged != token), (404, true), "{forged}");
            }
        }
        assert_eq!(chosen(world, &ada).await, before);
        let form = async || nobody.post(&claims).header("Content-Type", "application/x-www-form-urlencoded")
            .body("List-Unsubscribe=One-Click").send().await.unwrap().status().as_u16();
        assert_eq!(form().await, 200);
        let now = ["900000001 claim off unsubscribe 1", "900000001 precertification daily", "900000002 claim daily", "900000002 precertification daily"];
        assert_eq!(chosen(world, &ada).await, now, "what the mail told of, and nothing else");
        assert_eq!(form().await, 200);
        assert_eq!(chosen(world, &ada).await, now, "again is harmless");
        let parts = reqwest::multipart::Form::new().text("List-Unsubscribe", "One-Click");
        assert_eq!(nobody.post(&precerts).multipart(parts).send().await.unwrap().status(), 200);
        assert_eq!(chosen(world, &ada).await[3], "900000002 precertification off unsubscribe 1");
        assert_eq!(texts(world, "SELECT actor FROM event WHERE type = 'digest_choice.changed'").await, ["unsubscribe", "unsubscribe"]);
    }
}

#[test]
fn mails_in_doubt_dry_runs_and_why_are_told_at_the_command_line() {
    block_on(async {
        let site = Site::new(On::Sqlite).await;
        let (db, ctx) = (site.db().await, Context::system());
        let stamp = Stamp { ctx: &ctx, actor: "test" };
        let access = open_access(&site.settings(), db.clone(), ctx.clone()).unwrap();
        let (machine, practice) = (Manager::Machine("test"), tin("004417203"));
        let user = async |name: &str| {
            let login = Login { issuer: "portal".parse().unwrap(), subject: name.parse().unwrap() };
            let person = Person { name: Phi(name.into()), email: Some(Phi(format!("{name}@practice.example"))) };
            access.put_user(machine, &login, person, Expected::Any).await.unwrap().0.id
        };
        let (ada, eve) = (user("ada").await, user("eve").await);
        let rights = TinRights { entitlements: Entitlement::ALL.iter().copied().collect(), access_manager: false };
        access.put_entitlement(machine, &ada, &practice, rights, Expected::Any).await.unwrap();
        let letter = New { state: LetterState::Composed, ..New::default() }.ask_in(&db, &ctx).await;
        let why = ["letters", "why", letter.as_str(), "--user", ada.as_str()];
        assert!(good(&site, &why).await.out.contains("not in the Messaging Center"));
        let message = messages::NewMessage {
            id: &ctx.new_id().parse().unwrap(),
            brand: &"meridian".parse().unwrap(),
            tin: &practice,
            category: CLAIM.category(),
            what: MessageType::Letter(CLAIM),
            letter_id: Some(&letter),
            case_id: None,
            claim_number: None,
            member_id: None,
            status: None,
            event_id: None,
            online_until: ctx.now() + crate::access::DAY * 1_000,
            needs_answer: false,
            due_at: None,
        };
        let mut tx = db.begin().await.unwrap();
        assert!(messages::insert(&mut tx, stamp, &message).await.unwrap());
        let id = |day: u8| format!("meridian:2026-11-{day}:{ada}:claim_info");
        for day in [19, 20] {
            let statement = format!(
                "INSERT INTO digest_mail (id, run_id, brand, user_id, kind, day, state, reason, items, letters, tries,
                    submitted_at, created_at, version)
                 VALUES ('{}', '{}', 'meridian', '{ada}', 'claim_info', '2026-11-{day}', 'in_doubt', 'no_answer', 1, 2, 1, 1, 1, 1)",
                id(day), ctx.new_id()
            );
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert!(good(&site, &why).await.out.contains("waits for the next daily digest"));
        let of_eve = ["letters", "why", letter.as_str(), "--user", eve.as_str(), "--json"];
        let told = good(&site, &of_eve).await.json();
        assert_eq!((&told["state"], &told["user"]), (&json!("never"), &json!(eve.as_str())));
        assert!(told["explanation"].as_str().unwrap().contains("could not read it"), "{told}");

        let dry = good(&site, &["schedules", "dry-run", "meridian-daily"]).await;
        assert!(dry.out.contains("a mail would tell of it") && dry.out.contains("•••••••03"), "{dry:?}");
        assert!(!dry.out.contains("004417203"), "{dry:?}");
        let dry = good(&site, &["schedules", "dry-run", "meridian-daily", "--json"]).await.json();
        assert_eq!(dry["lines"][0]["user_id"], ada.as_str());

        let listed = good(&site, &["mails", "list", "--json"]).await.json();
        assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
        assert_eq!(good(&site, &["mails", "list", "--user", ada.as_str(), "--json"]).await.json(), listed);
        assert!(good(&site, &["mails", "list"]).await.out.contains("in_doubt (no_answer)"));
        assert!(good(&site, &["mails", "show", &id(19)]).await.out.contains("an operator decides"));
        assert_eq!(good(&site, &["mails", "resend", &id(19), "--json"]).await.json()["state"], "planned");
        assert_eq!(good(&site, &["mails", "close", &id(20), "--json"]).await.json()["state"], "closed");
        assert_eq!(good(&site, &["mails", "list", "--json"]).await.json(), json!([]));
        for (args, told) in [
            (vec!["mails".to_owned(), "resend".into(), id(20)], "only one in doubt is decided on"),
            (vec!["mails".into(), "show".into(), id(21)], "no such mail"),
            (vec!["mails".into(), "show".into(), "nonsense".into()], "invalid value"),
            (vec!["mails".into(), "list".into(), "--state".into(), "in_doubt".into()], "--run"),
            (vec!["letters".into(), "why".into(), letter.to_string(), "--user".into(), ctx.new_id()], "no such user"),
        ] {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let refused = run(&site, &args).await;
            assert!(refused.code == 2 && refused.err.contains(told), "{args:?}: {refused:?}");
        }
        db.close().await;
    });
}

on_both! {
    async fn ops_10_who_acts_for_some_practices_has_no_part_in_schedules(world: &World) {
        world.app.digests.make_schedules().await.unwrap();
        practices(world, &[ONE]).await;
        let server = Server::start(&world.app).await;
        let scopes = [Scope::Operate, Scope::ReadAny];
        let some = service(world, &server, &scopes, TinSet::Only([tin(ONE)].into())).await;
        let daily = "/v1/schedules/meridian-daily";
        for path in ["/v1/schedules", daily, &format!("{daily}/next"), &format!("{daily}/runs"), &format!("{daily}/dry-run")] {
            assert_eq!(some.get(path).await.0, 403, "{path}");
            assert_eq!(all(&server).get(path).await.0, 200, "{path}");
        }
        let timing = all(&server).get(daily).await.2["in_force"]["timing"].clone();
        for (path, body) in [
            (format!("{daily}/preview"), json!({ "timing": timing })),
            (format!("{daily}/edits"), json!({ "timing": timing })),
            (format!("{daily}/rollback"), json!({ "revision": 1 })),
            (format!("{daily}/edits/1/confirm"), Value::Null),
            (format!("{daily}/edits/1/drop"), Value::Null),
            (format!("{daily}/pause"), Value::Null),
            (format!("{daily}/resume"), Value::Null),
            (format!("{daily}/run"), Value::Null),
            ("/v1/digest-runs/0191c8a0-0000-7000-8000-0000000000aa/approve".to_owned(), Value::Null),
            ("/v1/digest-runs/0191c8a0-0000-7000-8000-0000000000aa/skip".to_owned(), Value::Null),
        ] {
            assert_eq!(some.send(Method::POST, &path, Some("\"1\""), body).await.0, 403, "{path}");
        }
        assert!(world.app.digests.schedule("meridian-daily").await.unwrap().schedule.paused.is_none());
    }
}
