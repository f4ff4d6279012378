//! After a restore nothing goes out by itself that may have gone before.

use lettercase::db::backups::{Doubts, restored};
use lettercase::db::outgoing;
use lettercase::model::digest::DigestKind;
use lettercase::model::outgoing::Outgoing;
use lettercase::outside::mailer::receiver::Receiver;

use crate::digests::sending::{header, planned, received, sender, told};
use crate::on_both;
use crate::support::World;
use crate::support::digests::{TODAY, mail_of};

/// Holds something back, or lets it go.
pub(crate) async fn hold(world: &World, what: Outgoing, stands: bool) {
    let mut tx = world.db().begin().await.unwrap();
    assert!(outgoing::set(&mut tx, world.stamp(), &world.settings.brand, what, stands).await.unwrap());
    tx.commit().await.unwrap();
}

on_both! {
    async fn ops_16_mails_that_were_planned_when_the_back_up_was_taken_go_only_as_a_person_says(world: &World) {
        let users = planned(world, &["ada", "bea"]).await;
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(dir.path()).await.unwrap();
        let sender = sender(world, receiver.address().port());
        let mut tx = world.db().begin().await.unwrap();
        let doubts = restored(&mut tx, world.stamp(), &world.settings.brand, (1, None)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(doubts, Doubts { mails: 2, batches: 0 });
        for user in &users {
            assert_eq!(told(world, user).await, "in_doubt restored 0");
        }
        assert_eq!(sender.send_due().await.unwrap(), 0);

        // a person has one sent, and closes the other; both only once mails are let go
        let mails = [&users[0], &users[1]].map(|user| mail_of(world, user, DigestKind::ClaimInfo, TODAY));
        world.app.digests.decide_mail(world.stamp(), &mails[0], None, true).await.unwrap();
        world.app.digests.decide_mail(world.stamp(), &mails[1], None, false).await.unwrap();
        assert_eq!(sender.send_due().await.unwrap(), 0, "mails are held back");
        hold(world, Outgoing::Mails, false).await;
        assert_eq!(sender.send_due().await.unwrap(), 1);
        assert_eq!(sender.send_due().await.unwrap(), 0);
        let came = received(dir.path());
        assert_eq!(came.len(), 1);
        assert!(header(&came[0], "To").contains("ada@practice.example"));
    }
}
