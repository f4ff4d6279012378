//! Sending: mails over real SMTP, what becomes of each, and nothing twice.

use std::path::Path;
use std::time::Duration;

use lettercase::app::open_mail;
use lettercase::db::digest_mails::{self, Mail as Row, Which};
use lettercase::db::messages::Marking;
use lettercase::digests::Digests;
use lettercase::digests::send::Sender;
use lettercase::model::digest::{Cadence, DigestKind, MailState};
use lettercase::model::ids::UserId;
use lettercase::outside::mailer::receiver::Receiver;
use lettercase::outside::mailer::{MailOptions, RelayOptions};

use crate::mailer::relay::{At, Does, Manner, Relay};
use crate::on_both;
use crate::support::World;
use crate::support::digests::{
    BOTH, CLAIM, CLAIM_ASKS, PRECERT, TODAY, daily, grant, mail_of, mark, practices, publish, reader, stands,
    submission,
};

const ONE: &str = "900000001";
const TWO: &str = "900000002";
/// Longer than mails are spread over.
pub(super) const SPREAD: Duration = Duration::from_secs(3_600);

/// A sender over a relay on this machine.
pub(crate) fn sender(world: &World, port: u16) -> Sender {
    let digests = with_relay(world, port);
    let mail = digests.mail.clone().unwrap();
    Sender::new(digests, mail)
}

/// A world's digests, with such a relay.
pub(crate) fn with_relay(world: &World, port: u16) -> Digests {
    let options = MailOptions {
        relays: vec![RelayOptions::plain("127.0.0.1", port)],
        hello: "lettercase.localhost".into(),
        from: "notices@mail.example".into(),
        from_name: None,
        portal: None,
        public_url: "https://letters.example".into(),
        return_path: Some("returns@mail.example".into()),
        returns: None,
        dkim: None,
        brands: Default::default(),
    };
    let settings = lettercase::settings::Settings { mail: Some(options), ..world.settings.clone() };
    let digests = &world.app.digests;
    let key = &world.app.audit_key;
    let mail = open_mail(&settings, &digests.plan, &world.app.letters.renderer, key, &digests.ctx).unwrap();
    Digests { mail, ..digests.clone() }
}

/// What a receiver was given, in the order of its coming.
pub(crate) fn received(dir: &Path) -> Vec<String> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

pub(crate) fn header<'a>(mail: &'a str, name: &str) -> &'a str {
    let head = mail.split("\r\n\r\n").next().unwrap();
    let line = head.lines().find(|line| line.starts_with(&format!("{name}: ")));
    &line.unwrap_or_else(|| panic!("no {name} in {head}"))[name.len() + 2..]
}

async fn row(world: &World, user: &UserId, kind: DigestKind) -> Row {
    let mut conn = world.db().read().await.unwrap();
    digest_mails::get(&mut conn, &mail_of(world, user, kind, TODAY)).await.unwrap().unwrap()
}

/// How a mail stands: `retry rcpt 451 2`.
pub(crate) async fn told(world: &World, user: &UserId) -> String {
    let row = row(world, user, DigestKind::ClaimInfo).await;
    format!("{} {} {}", row.state, row.reason.as_deref().unwrap_or("-"), row.tries)
}

/// One reader of each name, with one letter about a claim, in a digest that is due.
pub(crate) async fn planned(world: &World, names: &[&str]) -> Vec<UserId> {
    practices(world, &[ONE]).await;
    let mut users = Vec::new();
    for name in names {
        users.push(reader(world, name, &[ONE]).await);
    }
    publish(world, ONE, CLAIM).await;
    daily(world, TODAY).await;
    world.advance(SPREAD);
    users
}

/// A relay that does one thing at one point, for messages up to a number, and then what is usual.
pub(super) async fn faulty(at: At, does: Does, times: usize) -> Relay {
    Relay::start(Manner::default(), move |now, n| if now == at && n < times { does.clone() } else { Does::Usual }).await
}

on_both! {
    async fn cor_33_a_digest_arrives_once_with_what_is_left_of_it_and_its_row_says_so(world: &World) {
        practices(world, &[ONE, TWO]).await;
        let ada = reader(world, "ada", &[ONE, TWO]).await;
        let (first, read) = (publish(world, ONE, CLAIM).await, publish(world, TWO, CLAIM).await);
        publish(world, ONE, CLAIM_ASKS).await;
        let run = daily(world, TODAY).await;
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(dir.path()).await.unwrap();
        let sender = sender(world, receiver.address().port());
        world.advance(SPREAD);
        mark(world, &ada, &read, Marking { read: Some(true), ..Marking::default() }).await;

        assert_eq!(sender.send_due().await.unwrap(), 2);
        assert_eq!(sender.send_due().await.unwrap(), 0, "what went does not go again");
        let mails = received(dir.path());
        assert_eq!(mails.len(), 2);
        let mut subjects: Vec<&str> = mails.iter().map(|mail| header(mail, "Subject")).collect();
        subjects.sort_unstable();
        assert_eq!(subjects[0], "Action required: Meridian Health Plans claim(s)");
        assert_eq!(subjects[1], "Meridian Health Plans claim correspondence now available");
        for mail in &mails {
            assert!(header(mail, "To").contains("ada@practice.example"));
            assert!(!mail.contains(ONE) && !mail.contains(TWO), "COR-32: no whole TIN");
            assert!(mail.contains("0001") && !mail.contains("0002"), "what was read is not in it");
        }
        let row = row(world, &ada, DigestKind::ClaimInfo).await;
        assert_eq!((row.state, row.planned, row.sent, row.tries), (MailState::Accepted, (2, 2), Some((1, 1)), 1));
        assert!(stands(world, &ada, &first).await.starts_with("mailed"));
        assert_eq!(stands(world, &ada, &read).await, "left_out read");
        let ended = sender.digests.finish_runs().await.unwrap();
        assert_eq!(ended, [run], "each of its mails has come to its end");
    }
}

on_both! {
    async fn cor_33_where_nothing_is_left_right_before_sending_no_mail_goes(world: &World) {
        practices(world, &[ONE]).await;
        let (revoked, addressless) = (reader(world, "ada", &[ONE]).await, reader(world, "ben", &[ONE]).await);
        publish(world, ONE, CLAIM).await;
        daily(world, TODAY).await;
        world.advance(SPREAD);
        grant(world, &revoked, ONE, &[]).await;
        crate::support::digests::addressed(world, "ben", None).await;
        let relay = faulty(At::Connect, Does::Usual, 0).await;
        assert_eq!(sender(world, relay.port).send_due().await.unwrap(), 2);
        assert!(relay.taken.lock().unwrap().is_empty());
        for user in [&revoked, &addressless] {
            assert_eq!(told(world, user).await, "empty - 1");
        }
    }
}

on_both! {
    async fn a_relay_that_is_away_costs_no_try_and_is_waited_for(world: &World) {
        let users = planned(world, &["ada", "ben", "cy"]).await;
        let port = crate::support::postgres::free_port();
        let sender = sender(world, port);
        sender.send_due().await.unwrap();
        for user in &users {
            assert_eq!(told(world, user).await, "planned - 0");
        }
        assert_eq!(sender.send_due().await.unwrap(), 0, "it rests");
        let dir = tempfile::tempdir().unwrap();
        let relay = faulty(At::Connect, Does::Usual, 0).await;
        let back = self::sender(world, relay.port);
        world.advance(Duration::from_secs(120));
        assert_eq!(back.send_due().await.unwrap(), 3);
        assert_eq!(relay.taken.lock().unwrap().len(), 3);
        drop(dir);
    }
}

on_both! {
    async fn a_bad_address_costs_nobody_else_and_is_suppressed(world: &World) {
        let users = planned(world, &["ada", "ben", "cy"]).await;
        let relay = faulty(At::Rcpt, Does::Says("550 5.1.1 no such user"), 1).await;
        sender(world, relay.port).send_due().await.unwrap();
        assert_eq!(relay.taken.lock().unwrap().len(), 2);
        let mut states = Vec::new();
        for user in &users {
            states.push(told(world, user).await);
        }
        states.sort();
        assert_eq!(states, ["accepted - 1", "accepted - 1", "rejected rcpt 550 5.1.1 1"]);
        // COR-34: nothing more goes there
        let mut conn = world.db().read().await.unwrap();
        let standing = lettercase::db::suppressions::list(&mut conn, None, 10).await.unwrap();
        assert_eq!(standing.len(), 1);
        assert_eq!(standing[0].detail.as_deref(), Some("rcpt 550 5.1.1"));
    }
}

on_both! {
    async fn what_a_relay_refuses_for_now_is_tried_again_up_to_the_last_try(world: &World) {
        for (at, says, reason) in [
            (At::Mail, "452 4.3.1 full", "mail 452 4.3.1"),
            (At::Rcpt, "450 4.2.1 greylisted", "rcpt 450 4.2.1"),
            (At::Data, "451 4.3.0 later", "data 451 4.3.0"),
            (At::End, "451 4.7.1 busy", "body 451 4.7.1"),
        ] {
            let name = reason.split(' ').next().unwrap();
            let user = planned(world, &[name]).await.remove(0);
            let relay = faulty(at, Does::Says(says), 1).await;
            let sender = sender(world, relay.port);
            sender.send_due().await.unwrap();
            assert_eq!(told(world, &user).await, format!("retry {reason} 1"));
            assert_eq!(sender.send_due().await.unwrap(), 0, "not before its time");
            world.advance(Duration::from_secs(100));
            sender.send_due().await.unwrap();
            assert_eq!(told(world, &user).await, "accepted - 2");
        }
        let user = planned(world, &["never"]).await.remove(0);
        let relay = faulty(At::End, Does::Says("451 4.7.1 busy"), usize::MAX).await;
        let sender = sender(world, relay.port);
        for _ in 0..40 {
            sender.send_due().await.unwrap();
            world.advance(Duration::from_secs(20_000));
        }
        assert_eq!(told(world, &user).await, "rejected body 451 4.7.1 26");
        assert!(relay.taken.lock().unwrap().is_empty());
    }
}

on_both! {
    async fn a_mail_whose_relay_dies_without_an_answer_is_in_doubt_until_an_operator_decides(world: &World) {
        let users = planned(world, &["ada"]).await;
        let relay = faulty(At::End, Does::Closes, 1).await;
        let sender = sender(world, relay.port);
        sender.send_due().await.unwrap();
        assert_eq!(told(world, &users[0]).await, "in_doubt no_answer 1");
        world.advance(Duration::from_secs(100_000));
        assert_eq!(sender.send_due().await.unwrap(), 0, "nobody sends it again by himself");
        assert!(sender.digests.finish_runs().await.unwrap().is_empty());

        let mut tx = world.db().begin().await.unwrap();
        let doubtful = digest_mails::list(&mut tx, &Which::InDoubt, None, 10).await.unwrap();
        let [mail] = doubtful.as_slice() else { panic!("{doubtful:?}") };
        assert!(digest_mails::decide(&mut tx, world.stamp(), &mail.id, mail.version - 1, true).await.is_err());
        digest_mails::decide(&mut tx, world.stamp(), &mail.id, mail.version, true).await.unwrap();
        tx.commit().await.unwrap();
        sender.send_due().await.unwrap();
        assert_eq!(told(world, &users[0]).await, "accepted - 2");
        let taken = relay.taken.lock().unwrap();
        let ids: std::collections::BTreeSet<&str> = taken.iter().map(|mail| header(mail, "Message-ID")).collect();
        assert_eq!(ids.len(), 1, "the same Message-ID, by which a copy is known: {taken:?}");
    }
}

on_both! {
    async fn what_a_silent_node_had_is_taken_back_or_in_doubt_and_its_late_word_still_counts(world: &World) {
        let users = planned(world, &["ada", "ben"]).await;
        let (db, stamp) = (world.db(), world.stamp());
        let taken = {
            let lease = ("silent", stamp.after(Duration::from_secs(300)));
            digest_mails::claim(db, stamp, &world.app.digests.brands, lease, 10).await.unwrap()
        };
        assert_eq!(taken.len(), 2);
        let submitted_at = stamp.now();
        let one = &taken[0];
        let mut tx = db.begin().await.unwrap();
        let lease = ("silent", stamp.after(Duration::from_secs(300)));
        let let_go = digest_mails::submitting(&mut tx, submitted_at, lease, &[submission(one)]).await.unwrap();
        assert_eq!(let_go.iter().map(|mail| &mail.id).collect::<Vec<_>>(), [&one.id]);
        tx.commit().await.unwrap();

        world.advance(Duration::from_secs(301));
        let relay = faulty(At::Connect, Does::Usual, 0).await;
        assert_eq!(sender(world, relay.port).send_due().await.unwrap(), 1);
        let mut states = [told(world, &users[0]).await, told(world, &users[1]).await];
        states.sort();
        assert_eq!(states, ["accepted - 1", "in_doubt silent 1"]);
        // the other was sent meanwhile: who comes back too late with it is not let go
        let mut tx = db.begin().await.unwrap();
        let late = digest_mails::submitting(&mut tx, stamp.now(), lease, &[submission(&taken[1])]).await.unwrap();
        assert!(late.is_empty());
        let word = digest_mails::Ended {
            id: one.id.clone(),
            known: digest_mails::Known::Submitted(submitted_at),
            state: MailState::Accepted,
            reason: None,
            next_at: None,
            counts: true,
        };
        digest_mails::ended(&mut tx, stamp, "silent", &[word]).await.unwrap();
        tx.commit().await.unwrap();
        let mut states = [told(world, &users[0]).await, told(world, &users[1]).await];
        states.sort();
        assert_eq!(states, ["accepted - 1", "accepted - 1"]);
    }
}

on_both! {
    async fn ops_11_mails_of_a_paused_schedule_wait(world: &World) {
        let users = planned(world, &["ada"]).await;
        crate::support::digests::sql(world, "INSERT INTO schedule (id, brand, cadence, name, revision, paused_at, paused_by,
            created_at, version) VALUES ('of-tests', 'made', 'daily', 'made-daily', 1, 1, 'test', 1, 1)").await;
        crate::support::digests::sql(world, "UPDATE digest_run SET asked_by = 'scheduler'").await;
        let relay = faulty(At::Connect, Does::Usual, 0).await;
        let sender = sender(world, relay.port);
        assert_eq!(sender.send_due().await.unwrap(), 0);
        crate::support::digests::sql(world, "UPDATE schedule SET paused_at = NULL, paused_by = NULL").await;
        assert_eq!(sender.send_due().await.unwrap(), 1);
        assert_eq!(told(world, &users[0]).await, "accepted - 1");
    }
}

on_both! {
    async fn many_mails_go_over_as_many_connections_as_the_relay_takes_and_each_once(world: &World) {
        practices(world, &[ONE, TWO]).await;
        for n in 0..60 {
            let user = reader(world, &format!("user-{n}"), if n % 2 == 0 { &[ONE] } else { &[ONE, TWO] }).await;
            grant(world, &user, TWO, &BOTH).await;
        }
        publish(world, ONE, CLAIM).await;
        publish(world, TWO, PRECERT).await;
        crate::support::digests::open_run(world, &[Cadence::Daily, Cadence::Weekly], TODAY).await;
        crate::support::digests::plan(world).await;
        world.advance(SPREAD);
        let relay = faulty(At::Connect, Does::Usual, 0).await;
        let sent = sender(world, relay.port).send_due().await.unwrap();
        assert_eq!(sent, 120);
        let taken = relay.taken.lock().unwrap();
        let ids: std::collections::BTreeSet<&str> = taken.iter().map(|mail| header(mail, "Message-ID")).collect();
        assert_eq!((taken.len(), ids.len()), (120, 120));
        assert!(relay.most_open.load(std::sync::atomic::Ordering::Relaxed) <= 8);
    }
}
