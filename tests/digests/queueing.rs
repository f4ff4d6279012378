//! Sending to Debian's Postfix: it queues for real, is killed, and reports what it could not deliver.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use lettercase::db::digest_mails::{self, Which};
use lettercase::db::suppressions;
use lettercase::digests::returns::Taken;
use lettercase::model::digest::{DigestKind, SuppressionReason};

use super::sending::{header, planned, sender, told};
use crate::mailer::postfix::{PATIENCE, Postfix};
use crate::mailer::relay::Sink;
use crate::on_both;
use crate::support::digests::{TODAY, mail_of, number};

/// Waits until so many have come, and a little longer, for one that should not.
async fn arrived(sink: &Sink, count: usize) -> Vec<String> {
    for _ in 0..PATIENCE.as_millis() / 50 {
        if sink.taken().len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let taken = sink.taken();
    assert_eq!(taken.len(), count, "{taken:#?}");
    taken
}

fn ids(mails: &[String]) -> BTreeSet<String> {
    // smtp-sink writes lines down as this machine ends them
    mails
        .iter()
        .map(|mail| header(&mail.replace("\r\n", "\n").replace('\n', "\r\n"), "Message-ID").to_owned())
        .collect()
}
on_both! {
    async fn cor_33_what_a_relay_took_and_queued_before_it_was_killed_arrives_once(world: &World) {
        let Some(mut postfix) = Postfix::start("").await else { return };
        let names: Vec<String> = (0..12).map(|n| format!("user-{n}")).collect();
        let users = planned(world, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let sender = sender(world, postfix.port);
        assert_eq!(sender.send_due().await.unwrap(), users.len());
        postfix.logged("status=deferred", users.len()).await;
        for user in &users {
            assert_eq!(told(world, user).await, "accepted - 1");
        }
        postfix.kill();
        let sink = Sink::at(postfix.next_hop, &[]).await;
        postfix.restart().await;
        let mails = arrived(&sink, users.len()).await;
        assert_eq!(ids(&mails).len(), users.len());
        assert_eq!(sender.send_due().await.unwrap(), 0);
    }
}

on_both! {
    async fn cor_33_a_relay_that_is_killed_with_a_text_in_its_hands_leaves_it_in_doubt(world: &World) {
        let Some(mut postfix) = Postfix::start("smtpd_end_of_data_restrictions = sleep 30\n").await else { return };
        let sink = Sink::at(postfix.next_hop, &[]).await;
        let users = planned(world, &["ada"]).await;
        let sender = sender(world, postfix.port);
        let (sent, ()) = tokio::join!(sender.send_due(), async {
            // the text is on its way to the queue; the restriction is looked at when all of it is there
            let written = "SELECT COUNT(*) AS n FROM digest_mail WHERE state = 'submitting'";
            while number(world, written).await == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            postfix.kill();
        });
        assert_eq!(sent.unwrap(), 1);
        assert_eq!(told(world, &users[0]).await, "in_doubt no_answer 1");
        postfix.change("sleep 30", "permit");
        postfix.restart().await;
        assert_eq!(sender.send_due().await.unwrap(), 0, "nobody sends it again by himself");

        let mut tx = world.db().begin().await.unwrap();
        let mail = digest_mails::list(&mut tx, &Which::InDoubt, None, 10).await.unwrap().remove(0);
        digest_mails::decide(&mut tx, world.stamp(), &mail.id, mail.version, true).await.unwrap();
        tx.commit().await.unwrap();
        sender.send_due().await.unwrap();
        assert_eq!(told(world, &users[0]).await, "accepted - 2");
        arrived(&sink, 1).await;
    }
}

on_both! {
    async fn cor_34_what_a_relay_reports_as_undeliverable_suppresses_its_address(world: &World) {
        let transport = tempfile::NamedTempFile::with_prefix_in("lettercase-transport-", "/tmp").unwrap();
        // refused behind Postfix, so that it learns of it when it has said yes to us
        let refusing = Sink::start(&["-f", "RCPT", "-B", "550 5.1.1 no such mailbox"]).await;
        let route = format!("gone@practice.example smtp:[127.0.0.1]:{}\n", refusing.port);
        std::fs::write(transport.path(), route).unwrap();
        std::fs::set_permissions(transport.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        let maps = format!("transport_maps = texthash:{}\n", transport.path().display());
        let Some(postfix) = Postfix::start(&maps).await else { return };
        let sink = Sink::at(postfix.next_hop, &[]).await;
        let users = planned(world, &["ada", "gone"]).await;
        let sender = sender(world, postfix.port);
        assert_eq!(sender.send_due().await.unwrap(), 2);
        assert_eq!(told(world, &users[1]).await, "accepted - 1", "the relay took it, and found out later");
        let mails = arrived(&sink, 2).await;
        let report = mails.iter().find(|mail| mail.contains("Undelivered Mail Returned to Sender")).unwrap();
        assert!(report.contains("<returns@mail.example>"), "{report}");
        assert_eq!(sender.digests.take_return(report.clone().into_bytes()).await.unwrap(), Taken::Suppressed);

        assert!(told(world, &users[1]).await.starts_with("bounced"));
        assert_eq!(told(world, &users[0]).await, "accepted - 1");
        let mut conn = world.db().read().await.unwrap();
        let standing = suppressions::list(&mut conn, None, 10).await.unwrap();
        let [one] = standing.as_slice() else { panic!("{standing:?}") };
        assert_eq!((one.reason, one.detail.as_deref()), (SuppressionReason::Bounce, Some("5.1.1")));
        assert_eq!(one.mail_id, Some(mail_of(world, &users[1], DigestKind::ClaimInfo, TODAY)));
        assert_eq!(one.address.reveal(), "gone@practice.example");
    }
}
