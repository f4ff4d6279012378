//! Handing messages over, and everything that relays do instead of taking them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lettercase::outside::context::{Context, ManualClock};
use lettercase::outside::mailer::{
    Away, BodyError, Fault, RelayOptions, RelayPolicy, Relays, RelaysError, Security, Status, Step,
};
use lettercase::outside::objects::Secret;

use super::relay::{At, Authority, Does, Manner, Relay, Sink};
use crate::support::block_on;
use crate::support::postgres::free_port;

const FROM: &str = "notices@meridian.example";
const TO: &str = "dana@practice.example";
const TEXT: &[u8] = b"Subject: x\r\n\r\nfirst\r\n.hidden dot\r\nlast\r\n";

/// Impatient, for what hangs.
const POLICY: RelayPolicy = RelayPolicy {
    connect_s: 2,
    reply_s: 1,
    accept_s: 1,
    messages_per_connection: 100,
    idle_s: 20,
    breaker_failures: 3,
    breaker_rest_s: 30,
};

fn patient() -> RelayPolicy {
    RelayPolicy { connect_s: 20, reply_s: 20, accept_s: 20, ..POLICY }
}

fn plain(port: u16) -> RelayOptions {
    RelayOptions::plain("127.0.0.1", port)
}

fn clock() -> (Arc<ManualClock>, Context) {
    let clock = Arc::new(ManualClock::at("2026-11-23T12:00:00Z".parse::<Timestamp>().unwrap()));
    (clock.clone(), Context::with_clock(clock))
}

fn relays(options: &[RelayOptions], policy: RelayPolicy) -> Relays {
    Relays::new(options, "client.example", policy, &clock().1).unwrap()
}

fn usual(_: At, _: usize) -> Does {
    Does::Usual
}

/// A script that does something else at one point.
fn only(point: At, does: Does) -> impl Fn(At, usize) -> Does + Send + Sync {
    move |at, _| if at == point { does.clone() } else { Does::Usual }
}

#[test]
fn a_message_arrives_byte_by_byte_and_its_connection_serves_the_next() {
    block_on(async {
        for pipelining in [true, false] {
            let relay = Relay::start(Manner { pipelining, ..Manner::default() }, usual).await;
            let relays = relays(&[plain(relay.port)], patient());
            for _ in 0..3 {
                let mut dialog = relays.connect().await.unwrap();
                for _ in 0..2 {
                    dialog.begin(FROM, TO).await.unwrap();
                    let reply = dialog.body(TEXT).await.unwrap();
                    assert_eq!((reply.code, reply.status), (250, Some(Status(2, 0, 0))));
                }
            }
            let taken = relay.taken.lock().unwrap().clone();
            assert_eq!(taken, vec![String::from_utf8(TEXT.to_vec()).unwrap(); 6]);
            assert_eq!(relay.connections.load(Ordering::SeqCst), 1);
            let heard = relay.heard.lock().unwrap().clone();
            assert!(heard.contains(&format!("MAIL FROM:<{FROM}>")) && heard.contains(&format!("RCPT TO:<{TO}>")));
            assert!(heard[0] == "EHLO client.example", "{}", heard[0]);
            relays.close().await;
            assert_eq!(relay.count("QUIT"), 1);
        }
    });
}

#[test]
fn smtp_sink_takes_what_is_handed_over() {
    block_on(async {
        for options in [&[][..], &["-p"][..], &["-8"][..]] {
            let sink = Sink::start(options).await;
            let relays = relays(&[plain(sink.port)], patient());
            let mut dialog = relays.connect().await.unwrap();
            for _ in 0..20 {
                dialog.begin(FROM, TO).await.unwrap();
                assert_eq!(dialog.body(TEXT).await.unwrap().code, 250);
            }
            let taken = sink.taken();
            assert_eq!(taken.len(), 20, "{options:?}");
            assert!(taken[0].contains("first\n.hidden dot\nlast\n"), "{}", taken[0]);
            assert!(taken[0].contains(TO) && taken[0].contains(FROM));
        }
    });
}

#[test]
fn each_refusal_of_smtp_sink_is_told_by_its_step_and_code() {
    block_on(async {
        for (command, step) in [("MAIL", Step::Mail), ("RCPT", Step::Rcpt), ("DATA", Step::Data), (".", Step::Body)] {
            for (option, code, status, lasting) in
                [("-r", 450, Status(4, 3, 0), false), ("-f", 500, Status(5, 3, 0), true)]
            {
                let sink = Sink::start(&[option, command]).await;
                let relays = relays(&[plain(sink.port)], patient());
                let mut dialog = relays.connect().await.unwrap();
                // of a mail's own address or text it is only what passes: `5.3.0` is about the system
                let own = matches!(step, Step::Rcpt | Step::Body) && !lasting;
                for times in 1..=2 {
                    let refused = match dialog.begin(FROM, TO).await {
                        Err(refused) => refused,
                        Ok(()) => match dialog.body(TEXT).await {
                            Err(BodyError::Refused(refused)) => refused,
                            other => panic!("{command} {option}: {other:?}"),
                        },
                    };
                    let reply = refused.reply.unwrap();
                    assert_eq!((refused.step, reply.code, reply.status), (step, code, Some(status)), "{command}");
                    assert_eq!((refused.lasting, refused.usable), (lasting, own), "{command} {option}");
                    assert!(!refused.is_final() && !refused.is_about_address(), "{command} {option}");
                    let failures = if own { 0 } else { times };
                    assert_eq!(relays.standing()[0].failures, failures, "{command} {option}");
                }
            }
        }
        // at the door
        for (options, fault) in [
            (&["-f", "CONNECT"][..], Fault::Greeting(Some(500))),
            (&["-r", "EHLO"][..], Fault::Greeting(Some(450))),
            (&["-q", "CONNECT"][..], Fault::Greeting(None)),
        ] {
            let sink = Sink::start(options).await;
            let away = relays(&[plain(sink.port)], patient()).connect().await.map(|_| ());
            assert_eq!(away, Err(Away::Failed(fault)), "{options:?}");
        }
    });
}

#[test]
fn one_bad_address_costs_the_next_message_nothing() {
    block_on(async {
        for (pipelining, data) in
            [(true, "503 5.5.1 no valid recipients"), (true, "554 5.5.1 none"), (false, "354 go on")]
        {
            let script = move |at, before: usize| match (at, before) {
                (At::Rcpt, 0) => Does::Says("550 5.1.1 <nobody@practice.example> is unknown here"),
                (At::Data, 0) if pipelining => Does::Says(data),
                _ => Does::Usual,
            };
            let relay = Relay::start(Manner { pipelining, ..Manner::default() }, script).await;
            let relays = relays(&[plain(relay.port)], patient());
            let mut dialog = relays.connect().await.unwrap();
            let refused = dialog.begin(FROM, "nobody@practice.example").await.unwrap_err();
            assert!(refused.is_about_address() && refused.is_final() && refused.usable);
            assert_eq!(refused.reason(), "rcpt 550 5.1.1");
            assert_eq!(relays.standing()[0].failures, 0, "a relay that answers is not ill");
            assert!(!format!("{refused:?} {refused}").contains("practice"), "nothing of the address is told");
            dialog.begin(FROM, TO).await.unwrap();
            assert_eq!(dialog.body(TEXT).await.unwrap().code, 250);
            assert_eq!(relay.connections.load(Ordering::SeqCst), 1, "over the same connection");
            assert_eq!(relay.count("RSET"), 1);
        }
    });
}

#[test]
fn cor_34_what_a_relay_refuses_for_itself_is_not_held_against_mail_and_address() {
    block_on(async {
        // who is to blame: the address, the mail alone, or the relay
        let (address, mail, relay) = ((true, true, 0), (false, true, 0), (false, false, 1));
        let later = (false, false, 0);
        for (at, says, told) in [
            (At::Rcpt, "550 5.1.1 unknown", address),
            (At::Rcpt, "550 5.1.10 null MX", address),
            (At::Rcpt, "550 5.2.1 disabled", address),
            (At::Rcpt, "550 unknown", mail),
            (At::Rcpt, "552 5.2.2 full", mail),
            (At::Rcpt, "550 5.1.4 ambiguous", mail),
            (At::Rcpt, "554 5.7.1 Relay access denied", relay),
            (At::Rcpt, "550 5.1.8 sender's domain is none", relay),
            (At::Rcpt, "550 5.4.4 no route", relay),
            (At::Rcpt, "450 4.2.1 greylisted", later),
            (At::Rcpt, "450 4.7.1 greylisted", later),
            (At::Mail, "550 5.1.1 no such user", relay),
            (At::Mail, "550 no", relay),
            (At::Mail, "452 4.3.1 full", relay),
            (At::Data, "554 no", relay),
            (At::Data, "451 4.3.0 later", relay),
            (At::End, "554 no", mail),
            (At::End, "552 5.2.3 too large", mail),
            (At::End, "550 5.6.0 malformed", mail),
            (At::End, "550 5.1.1 unknown", mail),
            (At::End, "554 5.7.1 blocked", relay),
            (At::End, "552 5.3.4 too large", relay),
            (At::End, "451 4.7.1 busy", later),
        ] {
            for pipelining in [true, false] {
                let manner = Manner { pipelining, ..Manner::default() };
                let script = move |now, _: usize| match now {
                    now if now == at => Does::Says(says),
                    At::Data if matches!(at, At::Mail | At::Rcpt) => Does::Says("503 5.5.1 nothing to send"),
                    _ => Does::Usual,
                };
                let server = Relay::start(manner, script).await;
                let relays = relays(&[plain(server.port)], patient());
                let mut dialog = relays.connect().await.unwrap();
                let refused = match dialog.begin(FROM, TO).await {
                    Err(refused) => refused,
                    Ok(()) => match dialog.body(TEXT).await {
                        Err(BodyError::Refused(refused)) => refused,
                        other => panic!("{says}: {other:?}"),
                    },
                };
                let failures = relays.standing()[0].failures;
                assert_eq!((refused.is_about_address(), refused.is_final(), failures), told, "{at:?} {says}");
                assert_eq!(refused.usable, failures == 0, "{at:?} {says}: the next mail asks anew which relay is best");
            }
        }
    });
}

#[test]
fn a_relay_that_refuses_every_sender_is_left_for_the_next_and_rests() {
    block_on(async {
        for (at, says) in [
            (At::Mail, "530 5.7.0 authenticate first"),
            (At::Data, "451 4.3.0 no space"),
            (At::Rcpt, "554 5.7.1 Relay access denied"),
            (At::End, "554 5.7.1 blocked"),
        ] {
            let refusing = Relay::start(Manner::default(), only(at, Does::Says(says))).await;
            let good = Relay::start(Manner::default(), usual).await;
            let both = relays(&[plain(refusing.port), plain(good.port)], patient());
            let mut dialog = both.connect().await.unwrap();
            if dialog.begin(FROM, TO).await.is_ok() {
                dialog.body(TEXT).await.unwrap_err();
            }
            drop(dialog);
            let mut dialog = both.connect().await.unwrap();
            assert_eq!(dialog.relay(), format!("127.0.0.1:{}", good.port), "{says}");
            dialog.begin(FROM, TO).await.unwrap();
            dialog.body(TEXT).await.unwrap();

            let alone = relays(&[plain(refusing.port)], patient());
            for _ in 0..3 {
                let mut dialog = alone.connect().await.unwrap();
                if dialog.begin(FROM, TO).await.is_ok() {
                    dialog.body(TEXT).await.unwrap_err();
                }
            }
            assert!(matches!(alone.connect().await, Err(Away::Resting(_))), "{says}");
        }
    });
}

#[test]
fn an_answer_without_an_end_is_soon_given_up() {
    block_on(async {
        for at in [At::Connect, At::Ehlo, At::Mail, At::Rcpt, At::Data, At::End] {
            let relay = Relay::start(Manner::default(), only(at, Does::Babbles)).await;
            let relays = relays(&[plain(relay.port)], patient());
            let begun = Instant::now();
            let connected = relays.connect().await;
            if matches!(at, At::Connect | At::Ehlo) {
                assert_eq!(connected.map(|_| ()), Err(Away::Failed(Fault::Greeting(None))), "{at:?}");
            } else {
                let mut dialog = connected.unwrap();
                match dialog.begin(FROM, TO).await {
                    Err(refused) => assert_eq!((refused.usable, refused.reply), (false, None), "{at:?}"),
                    Ok(()) => assert_eq!(dialog.body(TEXT).await.map(|_| ()), Err(BodyError::Unknown), "{at:?}"),
                }
            }
            assert_eq!(relays.standing()[0].failures, 1, "{at:?}");
            assert!(begun.elapsed() < Duration::from_secs(15), "{at:?}: it was waited for");
        }
    });
}

#[test]
fn an_answer_that_is_no_utf_8_counts_by_its_code() {
    block_on(async {
        let ours = Authority::new();
        for security in [Security::Plain, Security::Starttls, Security::Tls] {
            let acceptor = Some(ours.acceptor("localhost"));
            let (starttls, tls) = match security {
                Security::Plain => (None, None),
                Security::Starttls => (acceptor, None),
                Security::Tls => (None, acceptor),
            };
            let script = |at, before: usize| match (at, before) {
                (At::Connect, _) => Does::SaysBytes(b"220 gr\xfc\xdf Gott"),
                (At::Rcpt, 0) => Does::SaysBytes(b"550 5.1.1 Empf\xe4nger unbekannt"),
                (At::Data, 0) => Does::Says("503 5.5.1 none"),
                (At::End, _) => Does::SaysBytes(b"250 2.0.0 f\xfcr Sie angenommen"),
                _ => Does::Usual,
            };
            let relay = Relay::start(Manner { starttls, tls, ..Manner::default() }, script).await;
            let ca_file = (security != Security::Plain).then(|| ours.file.path().to_owned());
            let at = RelayOptions { host: "localhost".into(), security, ca_file, ..plain(relay.port) };
            let relays = relays(&[at], patient());
            let mut dialog = relays.connect().await.unwrap();
            let refused = dialog.begin(FROM, TO).await.unwrap_err();
            assert_eq!((refused.reason().as_str(), refused.usable), ("rcpt 550 5.1.1", true), "{security:?}");
            dialog.begin(FROM, TO).await.unwrap();
            let reply = dialog.body(TEXT).await.unwrap();
            assert_eq!((reply.code, reply.status), (250, Some(Status(2, 0, 0))), "{security:?}");
        }
    });
}

#[test]
fn a_relay_that_wants_a_text_for_a_refused_address_gets_none() {
    block_on(async {
        let script = only(At::Rcpt, Does::Says("550 5.1.1 no"));
        let relay = Relay::start(Manner::default(), script).await;
        let relays = relays(&[plain(relay.port)], patient());
        let mut dialog = relays.connect().await.unwrap();
        let refused = dialog.begin(FROM, TO).await.unwrap_err();
        assert_eq!((refused.step, refused.lasting, refused.usable), (Step::Rcpt, true, false));
        drop(dialog);
        assert_eq!(relay.taken.lock().unwrap().len(), 0);
    });
}

#[test]
fn addresses_that_are_none_are_refused_before_anything_is_said() {
    block_on(async {
        let relay = Relay::start(Manner::default(), usual).await;
        let relays = relays(&[plain(relay.port)], patient());
        let mut dialog = relays.connect().await.unwrap();
        for bad in
            ["", "dana", "dana@practice.example>\r\nRCPT TO:<x@y.example", "a b@c.example", "dána@practice.example"]
        {
            let refused = dialog.begin(FROM, bad).await.unwrap_err();
            assert!(refused.is_final() && refused.usable && refused.reply.is_none());
            assert!(!refused.is_about_address(), "no relay said so");
        }
        let ours = dialog.begin("no address", TO).await.unwrap_err();
        assert!(ours.step == Step::Mail && !ours.is_final() && ours.usable, "a setting of ours can be mended");
        assert_eq!(relay.count("MAIL"), 0);
        dialog.begin(FROM, TO).await.unwrap();
    });
}

#[test]
fn what_is_lost_before_the_texts_end_did_not_go_and_what_is_lost_after_it_is_in_doubt() {
    block_on(async {
        for does in [Does::Closes, Does::Hangs] {
            for (at, want) in [
                (At::Mail, Err("begin")),
                (At::Rcpt, Err("begin")),
                (At::Data, Err("begin")),
                (At::End, Ok(BodyError::Unknown)),
            ] {
                let relay = Relay::start(Manner::default(), only(at, does.clone())).await;
                let relays = relays(&[plain(relay.port)], POLICY);
                let mut dialog = relays.connect().await.unwrap();
                match dialog.begin(FROM, TO).await {
                    Err(refused) => {
                        assert_eq!(want, Err("begin"), "{at:?} {does:?}");
                        assert_eq!((refused.lasting, refused.usable, refused.reply), (false, false, None));
                    }
                    Ok(()) => {
                        assert_eq!(dialog.body(TEXT).await.map(|_| ()), want.map_or(Ok(()), Err), "{at:?} {does:?}")
                    }
                }
                assert_eq!(relays.standing()[0].failures, 1, "{at:?} {does:?}");
                assert_eq!(relays.standing()[0].parked, 0, "a broken connection is not kept");
                // the dialog finds another connection when it goes on
                if at == At::End {
                    dialog.begin(FROM, TO).await.unwrap();
                }
            }
        }
    });
}

#[test]
fn a_text_that_breaks_off_in_the_middle_did_not_go() {
    block_on(async {
        // more than the network holds, so that it is still being written when the relay is gone
        let mut long = b"Subject: x\r\n\r\n".to_vec();
        long.extend(b"0123456789abcdef\r\n".repeat(2_000_000));
        for does in [Does::Closes, Does::Hangs, Does::Says("552 5.3.4 too much")] {
            let relay = Relay::start(Manner::default(), only(At::Text, does.clone())).await;
            let relays = relays(&[plain(relay.port)], POLICY);
            let mut dialog = relays.connect().await.unwrap();
            dialog.begin(FROM, TO).await.unwrap();
            assert_eq!(dialog.body(&long).await.map(|_| ()), Err(BodyError::CutOff), "{does:?}");
            assert_eq!(dialog.body(TEXT).await.map(|_| ()), Err(BodyError::CutOff), "nothing was begun");
            assert!(relay.taken.lock().unwrap().is_empty());
        }
    });
}

#[test]
fn a_relay_that_says_farewell_is_left_and_the_message_can_be_tried_again() {
    block_on(async {
        for (at, step) in [(At::Mail, Step::Mail), (At::Rcpt, Step::Rcpt), (At::Data, Step::Data)] {
            let relay = Relay::start(Manner::default(), only(at, Does::Says("421 4.3.2 closing"))).await;
            let relays = relays(&[plain(relay.port)], patient());
            let mut dialog = relays.connect().await.unwrap();
            let refused = dialog.begin(FROM, TO).await.unwrap_err();
            assert_eq!((refused.step, refused.lasting, refused.usable), (step, false, false));
            assert_eq!(refused.reply.map(|reply| reply.code), Some(421));
            assert_eq!(relays.standing()[0].failures, 1);
        }
        let relay = Relay::start(Manner::default(), only(At::End, Does::Says("421 4.3.2 closing"))).await;
        let relays = relays(&[plain(relay.port)], patient());
        let mut dialog = relays.connect().await.unwrap();
        dialog.begin(FROM, TO).await.unwrap();
        let Err(BodyError::Refused(refused)) = dialog.body(TEXT).await else { panic!("not refused") };
        assert_eq!((refused.step, refused.lasting, refused.usable), (Step::Body, false, false));
    });
}

#[test]
fn a_kept_connection_that_was_closed_meanwhile_is_replaced_and_nobody_notices() {
    block_on(async {
        for how in [Does::Closes, Does::Says("421 4.4.2 idle for too long")] {
            let script = move |at, before| if (at, before) == (At::Mail, 1) { how.clone() } else { Does::Usual };
            let relay = Relay::start(Manner::default(), script).await;
            let relays = relays(&[plain(relay.port)], patient());
            for _ in 0..2 {
                let mut dialog = relays.connect().await.unwrap();
                dialog.begin(FROM, TO).await.unwrap();
                dialog.body(TEXT).await.unwrap();
            }
            assert_eq!(relay.taken.lock().unwrap().len(), 2);
            assert_eq!(relay.connections.load(Ordering::SeqCst), 2);
            assert_eq!(relays.standing()[0].failures, 0);
        }
    });
}

#[test]
fn connections_are_replaced_after_so_many_messages_and_when_they_are_old() {
    block_on(async {
        let relay = Relay::start(Manner::default(), usual).await;
        let (clock, ctx) = clock();
        let policy = RelayPolicy { messages_per_connection: 3, ..patient() };
        let relays = Relays::new(&[plain(relay.port)], "client.example", policy, &ctx).unwrap();
        for _ in 0..7 {
            let mut dialog = relays.connect().await.unwrap();
            dialog.begin(FROM, TO).await.unwrap();
            dialog.body(TEXT).await.unwrap();
        }
        assert_eq!(relay.connections.load(Ordering::SeqCst), 3);
        assert_eq!(relay.count("QUIT"), 2);
        clock.advance(Duration::from_secs(policy.idle_s.into()));
        drop(relays.connect().await.unwrap());
        assert_eq!(relay.connections.load(Ordering::SeqCst), 4);
    });
}

#[test]
fn a_message_that_is_given_up_after_data_never_arrives() {
    block_on(async {
        let relay = Relay::start(Manner::default(), usual).await;
        let relays = relays(&[plain(relay.port)], patient());
        for abandon in [true, false] {
            let mut dialog = relays.connect().await.unwrap();
            dialog.begin(FROM, TO).await.unwrap();
            if abandon {
                dialog.abandon();
            } else {
                drop(dialog);
            }
        }
        let mut dialog = relays.connect().await.unwrap();
        dialog.begin(FROM, TO).await.unwrap();
        dialog.begin(FROM, TO).await.unwrap();
        dialog.body(TEXT).await.unwrap();
        assert_eq!(relay.taken.lock().unwrap().len(), 1);
        assert_eq!(relay.connections.load(Ordering::SeqCst), 4);
        let unused = relays.connect().await.unwrap();
        unused.abandon();
        assert_eq!(relays.standing()[0].parked, 1, "one that was not begun is kept");
    });
}

#[test]
fn no_more_connections_are_open_than_are_allowed() {
    block_on(async {
        let relay = Relay::start(Manner::default(), usual).await;
        let options = RelayOptions { connections: 3, ..plain(relay.port) };
        let relays = relays(&[options], patient());
        let send = |relays: Relays| async move {
            let mut dialog = relays.connect().await.unwrap();
            dialog.begin(FROM, TO).await.unwrap();
            dialog.body(TEXT).await.unwrap();
        };
        let all: Vec<_> = (0..40).map(|_| tokio::spawn(send(relays.clone()))).collect();
        for one in all {
            one.await.unwrap();
        }
        assert_eq!(relay.taken.lock().unwrap().len(), 40);
        assert!(relay.most_open.load(Ordering::SeqCst) <= 3);
        assert!(relay.connections.load(Ordering::SeqCst) <= 3);
        let standing = &relays.standing()[0];
        assert_eq!(standing.in_use, 0);
        assert_eq!((relays.connections(), standing.relay.as_str()), (3, format!("127.0.0.1:{}", relay.port).as_str()));
        // all taken, and they stay so
        let held = [relays.connect().await.unwrap(), relays.connect().await.unwrap(), relays.connect().await.unwrap()];
        let options = RelayOptions { connections: 1, ..plain(relay.port) };
        let few = Relays::new(&[options], "client.example", POLICY, &clock().1).unwrap();
        let _one = few.connect().await.unwrap();
        assert_eq!(few.connect().await.map(|_| ()), Err(Away::Busy));
        drop(held);
    });
}

#[test]
fn messages_keep_to_the_rate() {
    block_on(async {
        let relay = Relay::start(Manner::default(), usual).await;
        let relays = relays(&[RelayOptions { per_second: Some(20), ..plain(relay.port) }], patient());
        let begun = Instant::now();
        let mut dialog = relays.connect().await.unwrap();
        for _ in 0..12 {
            dialog.begin(FROM, TO).await.unwrap();
            dialog.body(TEXT).await.unwrap();
        }
        // two at once, the others every 50 ms
        assert!(begun.elapsed() >= Duration::from_millis(490), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_relay_that_fails_so_often_rests_and_one_try_finds_out_whether_it_is_back() {
    block_on(async {
        let port = free_port();
        let (clock, ctx) = clock();
        let relays = Relays::new(&[plain(port)], "client.example", POLICY, &ctx).unwrap();
        for _ in 0..3 {
            assert_eq!(relays.connect().await.map(|_| ()), Err(Away::Failed(Fault::Unreachable)));
        }
        let until = ctx.now() + Duration::from_secs(30);
        assert_eq!(relays.connect().await.map(|_| ()), Err(Away::Resting(until)));
        clock.advance(Duration::from_secs(30));
        assert_eq!(relays.connect().await.map(|_| ()), Err(Away::Failed(Fault::Unreachable)), "one try");
        assert!(matches!(relays.connect().await, Err(Away::Resting(_))), "and it rests again at once");
        clock.advance(Duration::from_secs(30));
        let sink = Sink::at(port, &[]).await;
        let mut dialog = relays.connect().await.unwrap();
        assert!(matches!(relays.connect().await, Err(Away::Resting(_))), "until a message went, one is enough");
        dialog.begin(FROM, TO).await.unwrap();
        dialog.body(TEXT).await.unwrap();
        assert_eq!((relays.standing()[0].failures, relays.standing()[0].rests_until), (0, None));
        relays.connect().await.unwrap();
        drop(sink);
    });
}

#[test]
fn a_relay_that_takes_envelopes_and_dies_of_every_text_rests_too() {
    block_on(async {
        let relay = Relay::start(Manner::default(), only(At::End, Does::Closes)).await;
        let relays = relays(&[plain(relay.port)], patient());
        for _ in 0..3 {
            let mut dialog = relays.connect().await.unwrap();
            dialog.begin(FROM, TO).await.unwrap();
            assert_eq!(dialog.body(TEXT).await.map(|_| ()), Err(BodyError::Unknown));
        }
        assert!(matches!(relays.connect().await, Err(Away::Resting(_))), "no fourth message comes into doubt");
    });
}

#[test]
fn the_next_relay_is_tried_where_one_fails_or_is_full() {
    block_on(async {
        let good = Relay::start(Manner::default(), usual).await;
        let bad = plain(free_port());
        let relays = relays(&[bad, RelayOptions { connections: 1, ..plain(good.port) }], POLICY);
        for _ in 0..5 {
            let dialog = relays.connect().await.unwrap();
            assert_eq!(dialog.relay(), format!("127.0.0.1:{}", good.port));
        }
        assert_eq!(relays.standing()[0].failures, 1, "the one that failed is tried after the one that did not");
        let other = Relay::start(Manner::default(), usual).await;
        let few = |port| RelayOptions { connections: 1, ..plain(port) };
        let both = super::relays::relays(&[few(good.port), few(other.port)], POLICY);
        let (first, second) = (both.connect().await.unwrap(), both.connect().await.unwrap());
        assert_ne!(first.relay(), second.relay());
    });
}

#[test]
fn tls_is_verified_by_name_and_authority_and_never_done_without() {
    block_on(async {
        let (ours, strange) = (Authority::new(), Authority::new());
        let ca = |authority: &Authority| Some(authority.file.path().to_owned());
        let relay_of = |starttls: bool, authority: &Authority, name: &str| {
            let acceptor = Some(authority.acceptor(name));
            let (starttls, tls) = if starttls { (acceptor, None) } else { (None, acceptor) };
            Relay::start(Manner { starttls, tls, ..Manner::default() }, usual)
        };
        for security in [Security::Starttls, Security::Tls] {
            let starttls = security == Security::Starttls;
            let relay = relay_of(starttls, &ours, "localhost").await;
            let at = |ca_file| RelayOptions { host: "localhost".into(), security, ca_file, ..plain(relay.port) };
            let good = relays(&[at(ca(&ours))], patient());
            let mut dialog = good.connect().await.unwrap();
            dialog.begin(FROM, TO).await.unwrap();
            dialog.body(TEXT).await.unwrap();
            assert_eq!(relay.taken.lock().unwrap().len(), 1, "{security:?}");
            for wrong in [None, ca(&strange)] {
                let away = relays(&[at(wrong)], patient()).connect().await.map(|_| ());
                assert_eq!(away, Err(Away::Failed(Fault::Tls)), "{security:?}");
            }
            let other = relay_of(starttls, &ours, "relay.example").await;
            let at = RelayOptions { host: "localhost".into(), security, ca_file: ca(&ours), ..plain(other.port) };
            assert_eq!(relays(&[at], patient()).connect().await.map(|_| ()), Err(Away::Failed(Fault::Tls)), "its name");
            assert_eq!(other.count("MAIL"), 0);
        }
        // one that offers none, or whose offer somebody took out
        let clear = Relay::start(Manner::default(), usual).await;
        let at = RelayOptions { host: "localhost".into(), security: Security::Starttls, ..plain(clear.port) };
        assert_eq!(relays(&[at], patient()).connect().await.map(|_| ()), Err(Away::Failed(Fault::NoTls)));
        assert_eq!(clear.count("MAIL"), 0, "nothing goes in clear");
    });
}

#[test]
fn answers_that_somebody_puts_before_tls_are_not_taken_for_the_relays() {
    block_on(async {
        let ours = Authority::new();
        let manner = Manner {
            starttls: Some(ours.acceptor("localhost")),
            injects: Some("250 2.0.0 taken\r\n"),
            ..Manner::default()
        };
        let relay = Relay::start(manner, usual).await;
        let ca_file = Some(ours.file.path().to_owned());
        let at = RelayOptions { host: "localhost".into(), security: Security::Starttls, ca_file, ..plain(relay.port) };
        assert_eq!(relays(&[at], patient()).connect().await.map(|_| ()), Err(Away::Failed(Fault::Tls)));
    });
}

#[test]
fn a_login_is_said_and_a_wrong_one_is_told() {
    block_on(async {
        // "\0user\0secret"
        let manner = Manner { login: Some("AHVzZXIAc2VjcmV0"), ..Manner::default() };
        let relay = Relay::start(manner, usual).await;
        let with = |password: &str| RelayOptions {
            login: Some("user".into()),
            password: Some(Secret::new(password)),
            ..plain(relay.port)
        };
        relays(&[with("secret")], patient()).connect().await.unwrap();
        let away = relays(&[with("wrong")], patient()).connect().await.map(|_| ());
        assert_eq!(away, Err(Away::Failed(Fault::Login(Some(535)))));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        let from_file =
            RelayOptions { login: Some("user".into()), password_file: Some(file.path().into()), ..plain(relay.port) };
        relays(&[from_file], patient()).connect().await.unwrap();
    });
}

#[test]
fn settings_that_can_not_work_are_told_at_the_start() {
    let new = |options: &[RelayOptions]| Relays::new(options, "client.example", POLICY, &clock().1);
    assert!(matches!(new(&[]), Err(RelaysError::None)));
    let tls = |host: &str, ca: Option<&str>| RelayOptions {
        host: host.into(),
        security: Security::Tls,
        ca_file: ca.map(Into::into),
        ..plain(1)
    };
    assert!(matches!(new(&[tls("relay_.example..", None)]), Err(RelaysError::Host(_))));
    assert!(matches!(new(&[tls("relay.example", Some("/no/such/file"))]), Err(RelaysError::Certificates(_))));
    let empty = tempfile::NamedTempFile::new().unwrap();
    let empty = empty.path().to_str().unwrap();
    assert!(matches!(new(&[tls("relay.example", Some(empty))]), Err(RelaysError::Certificates(_))));
    assert!(matches!(
        new(&[RelayOptions { insecure_plain: false, host: "far.example".into(), ..plain(1) }]),
        Err(RelaysError::Setting(_))
    ));
}

#[test]
fn the_mail_library_is_built_without_its_log_which_would_tell_whole_messages() {
    let lock = include_str!("../../Cargo.lock");
    let package = lock.split("[[package]]").find(|package| package.contains("name = \"lettre\"")).unwrap();
    assert!(package.contains("\"nom") && !package.contains("tracing"), "{package}");
}
