//! SMTP relays. Each of the ways in which one fails is in `tests/mailer/relays.rs`, and what becomes of a mail then in
//! `tests/digests/sending.rs`; here is what the people see who run the node.

use std::time::Duration;

use lettercase::digests::send::Sender;

use super::{figure, reasons};
use crate::digests::sending::{planned, told, with_relay};
use crate::http::Server;
use crate::mailer::relay::Sink;
use crate::on_both;
use crate::support::postgres::free_port;

on_both! {
    async fn mails_wait_for_a_relay_that_is_down_where_operators_see_it_and_go_by_themselves(world: &World) {
        let users = planned(world, &["ada", "ben", "cy", "dee", "eve", "fay"]).await;
        let port = free_port();
        let digests = with_relay(world, port);
        let mut app = world.app.clone();
        app.digests = digests.clone();
        let server = Server::start(&app).await;
        let sender = Sender::new(digests.clone(), digests.mail.unwrap());
        let line = |name: &str| format!("lettercase_relay_{name}{{relay=\"127.0.0.1:{port}\"}}");
        assert_eq!(figure(&server, &line("resting")).await, Some(0.0));
        for _ in 0..3 {
            sender.send_due().await.unwrap();
            world.advance(Duration::from_secs(5));
        }
        for user in &users {
            assert_eq!(told(world, user).await, "planned - 0", "no try counts");
        }
        assert_eq!(figure(&server, &line("resting")).await, Some(1.0));
        assert!(figure(&server, &line("failures_total")).await.is_some_and(|n| n >= 5.0));
        assert_eq!(reasons(&server).await.0, 200, "documents and letters need no relay");

        let sink = Sink::at(port, &[]).await;
        world.advance(Duration::from_secs(120));
        for _ in 0..10 {
            sender.send_due().await.unwrap();
            world.advance(Duration::from_secs(60));
        }
        assert_eq!(sink.taken().len(), users.len(), "each once");
        assert_eq!(figure(&server, &line("resting")).await, Some(0.0));
    }
}
