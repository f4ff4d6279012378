//! Mails that come back, complaints, and what is made up (COR-34).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lettercase::app::open_renderer;
use lettercase::db::suppressions::{self, Suppression};
use lettercase::db::{events, users};
use lettercase::digests::Digests;
use lettercase::digests::mail::{Composer, Mail, MailContent};
use lettercase::digests::returns::{Looked, Taken};
use lettercase::engine::sequencer::AuditKey;
use lettercase::model::digest::{DigestKind, SuppressionReason, mail_id};
use lettercase::model::ids::{MailId, UserId};
use lettercase::model::people::{Login, Person};
use lettercase::model::phi::Phi;
use lettercase::outside::mailer::Relays;

use super::texts::{content, options};
use crate::on_both;
use crate::support::World;
use crate::support::digests::{BOTH, CLAIM, daily, grant, practices, publish, sql};

const ADDRESS: &str = "Dana@Practice.Example";
const PRACTICE: &str = "900000001";
const USER: &str = "0191c8a0-0000-7000-8000-0000000000aa";

/// The journey with a composer of the world's own key.
fn digests(world: &World) -> Digests {
    let digests = &world.app.digests;
    let brands = [world.settings.brand.clone()];
    let renderer = open_renderer(None).unwrap();
    let composer = Composer::open(&options(), &brands, &renderer, None, &world.app.audit_key).unwrap();
    let relays = Relays::new(&options().relays, "test", digests.plan.relays, &digests.ctx).unwrap();
    let returns = Some(Arc::new(world.dir.path().join("returns")));
    Digests { mail: Some(Mail { composer: Arc::new(composer), relays, returns }), ..digests.clone() }
}

async fn user(world: &World, address: &str) -> UserId {
    let id: UserId = USER.parse().unwrap();
    let person = Person { name: Phi("Dana Whitfield".into()), email: Some(Phi(address.into())) };
    let login = Login { issuer: "portal".parse().unwrap(), subject: "dana".parse().unwrap() };
    let mut tx = world.db().begin().await.unwrap();
    users::insert(&mut tx, world.stamp(), &id, &login, &person).await.unwrap();
    tx.commit().await.unwrap();
    id
}

/// A mail that a relay took on this day of November, and its Message-ID.
async fn sent(world: &World, digests: &Digests, day: i8) -> (MailId, String) {
    let date = jiff::civil::date(2026, 11, day);
    let at = date.at(12, 0, 0, 0).in_tz("UTC").unwrap().timestamp();
    let brand = &world.settings.brand;
    let id = mail_id(brand, date, &USER.parse().unwrap(), DigestKind::ClaimInfo).unwrap();
    practices(world, &[PRACTICE]).await;
    grant(world, &USER.parse().unwrap(), PRACTICE, &BOTH).await;
    publish(world, PRACTICE, CLAIM).await;
    daily(world, date).await;
    let at = at.as_microsecond();
    sql(
        world,
        &format!(
            "UPDATE digest_mail SET state = 'accepted', submitted_at = {at}, ended_at = {at}, next_at = NULL,
                 sent_items = items, sent_letters = letters WHERE id = '{id}'"
        ),
    )
    .await;
    sql(world, &format!("UPDATE digest_item SET sent_letters = letters WHERE mail_id = '{id}'")).await;
    let content = MailContent { id: id.clone(), to: Phi(ADDRESS.into()), ..content("meridian", DigestKind::ClaimInfo) };
    let made = digests.mail.as_ref().unwrap().composer.compose(&content).unwrap();
    (id, made.message_id)
}

/// A delivery report as Postfix writes it.
pub(crate) fn bounce(message_id: &str, action: &str, status: &str, address: &str) -> Vec<u8> {
    format!(
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@relay.example (Mail Delivery System)\r\nTo: returns@meridianhealth.example\r\n\
         Subject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"4Zx.1763.relay\"\r\n\r\n\
         This is a MIME-encapsulated message.\r\n\r\n--4Zx.1763.relay\r\nContent-Description: Notification\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\r\nI'm sorry to have to inform you.\r\n\r\n\
         --4Zx.1763.relay\r\nContent-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; relay.example\r\nX-Postfix-Queue-ID: 4Zx\r\nArrival-Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n\r\n\
         Final-Recipient: rfc822; {address}\r\nOriginal-Recipient: rfc822;{address}\r\nAction: {action}\r\nStatus: {status}\r\n\
         Remote-MTA: dns; mx.practice.example\r\nDiagnostic-Code: smtp; 550 <{address}>: Recipient address\r\n    rejected\r\n\r\n\
         --4Zx.1763.relay\r\nContent-Description: Undelivered Message\r\nContent-Type: message/rfc822\r\n\r\n\
         From: notices@meridianhealth.example\r\nTo: {address}\r\nMessage-ID: <{message_id}>\r\nSubject: x\r\n\r\ntext\r\n\r\n\
         --4Zx.1763.relay--\r\n"
    )
    .into_bytes()
}

/// A complaint as feedback loops send it: without the address.
fn complaint(message_id: &str) -> Vec<u8> {
    format!(
        "From: <abuse@provider.example>\r\nTo: <returns@meridianhealth.example>\r\nSubject: FW: x\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=\"part\"\r\n\r\n--part\r\n\
         Content-Type: text/plain; charset=\"US-ASCII\"\r\n\r\nThis is an abuse report.\r\n--part\r\n\
         Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: Feedback/1.0\r\nVersion: 1\r\n\r\n\
         --part\r\nContent-Type: message/rfc822\r\nContent-Disposition: inline\r\n\r\n\
         From: <notices@meridianhealth.example>\r\nTo: <redacted>\r\nMessage-ID: <{message_id}>\r\n\r\ntext\r\n--part--\r\n"
    )
    .into_bytes()
}

async fn standing(world: &World) -> Vec<Suppression> {
    let mut conn = world.db().read().await.unwrap();
    suppressions::list(&mut conn, None, 10).await.unwrap()
}

async fn state(world: &World, id: &MailId) -> String {
    let mut conn = world.db().read().await.unwrap();
    suppressions::mail(&mut conn, id).await.unwrap().unwrap().state.to_string()
}

on_both! {
    async fn cor_34_an_address_that_does_not_exist_is_suppressed_at_once_and_can_be_lifted(world: &World) {
        let digests = digests(world);
        let user = user(world, ADDRESS).await;
        let (mail, message_id) = sent(world, &digests, 16).await;
        let report = bounce(&message_id, "failed", "5.1.1", ADDRESS);
        assert_eq!(digests.take_return(report.clone()).await.unwrap(), Taken::Suppressed);
        assert_eq!(digests.take_return(report.clone()).await.unwrap(), Taken::Known, "taken twice it is the same");
        assert_eq!(state(world, &mail).await, "bounced");
        let all = standing(world).await;
        let one = &all[0];
        assert_eq!(all.len(), 1);
        assert_eq!((one.reason, one.detail.as_deref(), one.mail_id.as_ref()), (SuppressionReason::Bounce, Some("5.1.1"), Some(&mail)));
        assert_eq!(one.address.reveal(), "Dana@practice.example", "the domain in small letters");
        {
            let mut conn = world.db().read().await.unwrap();
            let told = events::of_subject(&mut conn, user.as_str(), &["mail.suppressed".into()], 10).await.unwrap();
            assert_eq!(told.len(), 1);
            let payload = told[0].payload.to_string();
            assert!(payload.contains("5.1.1") && !payload.to_lowercase().contains("dana"), "{payload}");
            assert_eq!(suppressions::against(&mut conn, "DANA@Practice.Example").await.unwrap(), std::slice::from_ref(one));
            assert_eq!(suppressions::get(&mut conn, &one.id).await.unwrap().as_ref(), Some(one));
        }
        assert!(digests.address_of(&user).await.unwrap().unwrap().suppressed.is_some());
        assert!(digests.lift_for("user:amy", &user).await.unwrap());
        assert!(!digests.lift_for("user:amy", &user).await.unwrap(), "once");
        assert!(standing(world).await.is_empty());
        // a later mail that comes back suppresses anew
        world.advance(Duration::from_secs(86_400));
        let (_, later) = sent(world, &digests, 21).await;
        assert_eq!(digests.take_return(bounce(&later, "failed", "5.1.1", ADDRESS)).await.unwrap(), Taken::Suppressed);
    }
}

on_both! {
    async fn cor_34_passing_failures_count_only_one_after_the_other(world: &World) {
        let digests = digests(world);
        user(world, ADDRESS).await;
        let mut ids = Vec::new();
        for day in 10..18 {
            ids.push(sent(world, &digests, day).await.1);
        }
        let take = async |day: usize, status: &str| {
            digests.take_return(bounce(&ids[day - 10], "failed", status, ADDRESS)).await.unwrap()
        };
        assert_eq!(take(10, "4.4.7").await, Taken::Counted);
        assert_eq!(take(11, "5.7.1").await, Taken::Counted, "refused for where it comes from");
        // the one of the 12th arrived
        assert_eq!(take(13, "4.2.2").await, Taken::Counted);
        assert_eq!(take(15, "4.4.1").await, Taken::Counted);
        assert_eq!(take(14, "5.2.2").await, Taken::Counted, "reports come in any order");
        assert!(standing(world).await.is_empty());
        assert_eq!(take(16, "4.4.1").await, Taken::Suppressed, "from the 13th on none arrived");
        assert_eq!(standing(world).await[0].detail.as_deref(), Some("4.4.1"));
    }
}

on_both! {
    async fn cor_34_what_is_told_late_of_an_older_mail_undoes_no_lift(world: &World) {
        let digests = digests(world);
        let user = user(world, ADDRESS).await;
        let mut ids = Vec::new();
        for day in 10..18 {
            ids.push(sent(world, &digests, day).await);
        }
        let take = async |day: usize, status: &str| {
            digests.take_return(bounce(&ids[day - 10].1, "failed", status, ADDRESS)).await.unwrap()
        };
        for (day, taken) in [(10, Taken::Counted), (11, Taken::Counted), (12, Taken::Suppressed)] {
            assert_eq!(take(day, "4.4.7").await, taken);
        }
        assert!(digests.lift_for("user:amy", &user).await.unwrap());
        for (day, status) in [(13, "5.1.1"), (14, "4.4.7"), (15, "4.4.7"), (16, "4.4.7")] {
            assert_eq!(take(day, status).await, Taken::Known, "{status} of the {day}th");
            assert_eq!(state(world, &ids[day - 10].0).await, "bounced", "it did come back");
        }
        assert_eq!(digests.take_return(complaint(&ids[7].1)).await.unwrap(), Taken::Known);
        assert!(standing(world).await.is_empty());
        // however many came back before, one passing failure after the lift is one
        world.advance(Duration::from_secs(86_400));
        for (day, taken) in [(21, Taken::Counted), (22, Taken::Counted), (23, Taken::Suppressed)] {
            let (_, later) = sent(world, &digests, day).await;
            assert_eq!(digests.take_return(bounce(&later, "failed", "4.4.7", ADDRESS)).await.unwrap(), taken, "{day}");
        }
    }
}

on_both! {
    async fn cor_34_a_complaint_suppresses_at_once(world: &World) {
        let digests = digests(world);
        user(world, ADDRESS).await;
        let (mail, message_id) = sent(world, &digests, 16).await;
        assert_eq!(digests.take_return(complaint(&message_id)).await.unwrap(), Taken::Suppressed);
        assert_eq!(digests.take_return(complaint(&message_id)).await.unwrap(), Taken::Known);
        let all = standing(world).await;
        assert_eq!((all[0].reason, all[0].detail.as_deref()), (SuppressionReason::Complaint, Some("abuse")));
        assert_eq!(state(world, &mail).await, "accepted", "it did arrive");
    }
}

on_both! {
    async fn what_is_made_up_or_says_nothing_changes_nothing(world: &World) {
        let digests = digests(world);
        user(world, ADDRESS).await;
        let (mail, message_id) = sent(world, &digests, 16).await;
        let elsewhere = lettercase::digests::mail::token::TokenKey::new(
            &AuditKey([9; 32]),
            lettercase::digests::mail::token::Purpose::Message,
        );
        let forged = format!("{}@meridianhealth.example", elsewhere.token(&mail, ADDRESS));
        let mut broken = message_id.clone();
        broken.replace_range(3..4, if &message_id[3..4] == "A" { "B" } else { "A" });
        let large = [bounce(&message_id, "failed", "5.1.1", ADDRESS), vec![b'x'; 1 << 20]].concat();
        let answer = format!("Subject: Away\r\nIn-Reply-To: <{message_id}>\r\nAuto-Submitted: auto-replied\r\n\r\nBack on Monday.");
        for (bytes, taken) in [
            (bounce(&forged, "failed", "5.1.1", ADDRESS), Taken::NotOurs),
            (bounce(&broken, "failed", "5.1.1", ADDRESS), Taken::NotOurs),
            (bounce("", "failed", "5.1.1", ADDRESS), Taken::NotOurs),
            (bounce("dana@practice.example", "failed", "5.1.1", ADDRESS), Taken::NotOurs),
            (complaint(&forged), Taken::NotOurs),
            (bounce(&message_id, "delayed", "4.4.1", ADDRESS), Taken::Underway),
            (bounce(&message_id, "delivered", "2.0.0", ADDRESS), Taken::Underway),
            (answer.into_bytes(), Taken::NoReport),
            (b"\xff\xfe".to_vec(), Taken::NoReport),
            (large, Taken::Unreadable),
        ] {
            assert_eq!(digests.take_return(bytes).await.unwrap(), taken);
        }
        assert!(standing(world).await.is_empty());
        assert_eq!(state(world, &mail).await, "accepted");
        let none = Digests { mail: None, ..digests };
        assert_eq!(none.take_return(bounce(&message_id, "failed", "5.1.1", ADDRESS)).await.unwrap(), Taken::NotOurs);
    }
}

on_both! {
    async fn only_the_address_that_the_mail_went_to_is_suppressed(world: &World) {
        let digests = digests(world);
        // the report names some other address, as it does where mail is passed on: that one is nobody's here
        user(world, "new.address@practice.example").await;
        let (mail, message_id) = sent(world, &digests, 16).await;
        for _ in 0..2 {
            let taken = digests.take_return(bounce(&message_id, "failed", "5.1.1", "new.address@practice.example")).await.unwrap();
            assert!(matches!(taken, Taken::OtherAddress | Taken::Known), "{taken}");
        }
        assert_eq!(digests.take_return(complaint(&message_id)).await.unwrap(), Taken::OtherAddress);
        assert!(standing(world).await.is_empty());
        assert_eq!(state(world, &mail).await, "bounced");
    }
}

on_both! {
    async fn a_mail_in_doubt_that_comes_back_was_sent(world: &World) {
        let digests = digests(world);
        user(world, ADDRESS).await;
        let (mail, message_id) = sent(world, &digests, 16).await;
        for (from, to) in [("in_doubt", "bounced"), ("closed", "bounced"), ("planned", "planned"), ("submitting", "submitting")] {
            let mut tx = world.db().begin().await.unwrap();
            sqlx::query("UPDATE digest_mail SET state = $1, ended_at = NULL").bind(from).execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
            digests.take_return(bounce(&message_id, "failed", "4.4.7", ADDRESS)).await.unwrap();
            assert_eq!(state(world, &mail).await, to, "{from}");
        }
    }
}

on_both! {
    async fn the_folder_is_emptied_once_each_file_is_whole(world: &World) {
        let digests = digests(world);
        user(world, ADDRESS).await;
        let (_, message_id) = sent(world, &digests, 16).await;
        let folder = world.dir.path().join("returns");
        std::fs::create_dir(&folder).unwrap();
        let put = |name: &str, bytes: &[u8], age_s: i64| {
            std::fs::write(folder.join(name), bytes).unwrap();
            let at: Timestamp = world.app.digests.ctx.now() - jiff::SignedDuration::from_secs(age_s);
            let file = std::fs::File::options().write(true).open(folder.join(name)).unwrap();
            file.set_modified(SystemTime::from(at)).unwrap();
        };
        put("1763.relay,S=2100", &bounce(&message_id, "failed", "5.1.1", ADDRESS), 60);
        put("rubbish", b"Subject: hello\r\n\r\nwhat is this?", 60);
        put("huge", &vec![b'x'; (1 << 20) + 1], 60);
        put("still.part", b"half", 60);
        put("young", &complaint(&message_id), 0);
        std::os::unix::fs::symlink("/etc/passwd", folder.join("link")).unwrap();
        let looked = digests.look_at_returns("node-1").await.unwrap();
        assert_eq!(looked, Looked { taken: 3, suppressed: 1, problems: 2 });
        assert_eq!(digests.look_at_returns("node-2").await.unwrap(), Looked::default(), "another node has the job");
        assert_eq!(digests.look_at_returns("node-1").await.unwrap(), Looked::default(), "nothing is left that is whole");
        world.advance(Duration::from_secs(5));
        assert_eq!(digests.look_at_returns("node-1").await.unwrap(), Looked { taken: 1, suppressed: 0, problems: 0 });
        let names = |shelf: &str| {
            let mut names = Vec::new();
            for place in std::fs::read_dir(folder.join(shelf)).unwrap() {
                for file in std::fs::read_dir(place.unwrap().path()).unwrap() {
                    names.push(file.unwrap().file_name().into_string().unwrap());
                }
            }
            names.sort();
            names
        };
        assert_eq!(names("done"), ["1763.relay,S=2100", "young"]);
        assert_eq!(names("problem"), ["huge", "reason.txt", "reason.txt", "rubbish"]);
        assert_eq!(standing(world).await.len(), 1);
    }
}
