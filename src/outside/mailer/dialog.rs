//! One connection, and one message on it at a time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::response::Response;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::connect::Line;
use super::reply::{Reply, Status, reply, reply_of};
use super::{Fault, Relay};

/// How far a message had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The connection was to be replaced.
    Connect,
    /// Who sends.
    Mail,
    /// To whom.
    Rcpt,
    /// May the text come?
    Data,
    /// The text was over.
    Body,
}

/// A message was refused, or the connection was lost before any of its text was sent: it did not go. Nothing of it
/// is in here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct Refused {
    /// Where.
    pub step: Step,
    /// The answer; none where the connection was lost, or an address is none.
    pub reply: Option<Reply>,
    /// Whether the answer is one that stays (5xx). Another relay may answer otherwise: see [`Refused::is_final`].
    pub lasting: bool,
    /// Whether the dialog can be used for the next message. Else it is to be dropped: the connection broke, or another
    /// relay may do better.
    pub usable: bool,
}

impl Refused {
    /// Whether the relay says of the address it goes to that it does not work. A refusal at its step alone does not say so:
    /// there a relay also tells that it does not serve us, or that a mailbox is full.
    pub fn is_about_address(&self) -> bool {
        self.step == Step::Rcpt && self.status().is_some_and(Status::is_about_address)
    }

    /// Whether another try, later or over another relay, can't come to anything else. What is said of the sender, or before
    /// the text may come, is as true of any other message, and ends when somebody mends the relay.
    pub fn is_final(&self) -> bool {
        let of_message = matches!(self.step, Step::Rcpt | Step::Body);
        self.lasting && of_message && !self.status().is_some_and(Status::is_about_the_way)
    }

    /// Whether the relay refuses what it would refuse of any message.
    fn is_the_relays_fault(&self) -> bool {
        matches!(self.step, Step::Mail | Step::Data) || self.lasting && !self.is_final()
    }

    fn status(&self) -> Option<Status> {
        self.reply.and_then(|reply| reply.status)
    }

    /// The reason in a few characters, for the row: `rcpt 550 5.1.1`, `connect`.
    pub fn reason(&self) -> String {
        let step = match self.step {
            Step::Connect => "connect",
            Step::Mail => "mail",
            Step::Rcpt => "rcpt",
            Step::Data => "data",
            Step::Body => "body",
        };
        self.reply.map_or_else(|| step.to_owned(), |reply| format!("{step} {reply}"))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the relay did not take a message ({})", self.reason())
    }
}

/// What became of a text that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The relay refused it: it did not go.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The connection broke before the text's end was sent: no server may take what has no end (RFC 5321, 4.1.1.4), so it
    /// did not go. It can be tried again.
    #[error("the connection broke before the end of a message was sent")]
    CutOff,
    /// The connection broke between the end of the text and the answer: nobody here knows whether it went.
    #[error("the connection broke after a message was sent and before it was answered")]
    Unknown,
}

/// A connection to a relay. Dropped between two messages, it is kept for the next who connects; dropped within one, it is
/// closed.
pub struct Dialog {
    relay: Arc<Relay>,
    line: Option<Line>,
    /// Whether the relay waits for a text.
    open: bool,
    _place: OwnedSemaphorePermit,
}

impl fmt::Debug for Dialog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialog({})", self.relay.name)
    }
}

impl Drop for Dialog {
    fn drop(&mut self) {
        if let Some(line) = self.line.take().filter(|_| !self.open) {
            self.relay.park(line);
        }
    }
}

/// Several commands, sent at once (RFC 2920).
struct Envelope(Mail, Rcpt);

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{Data}", self.0, self.1)
    }
}

struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RSET\r\n")
    }
}

/// What came of a command.
enum Answer {
    Yes,
    No(Reply),
    Lost(Fault),
}

impl Answer {
    /// `class`: the first digit of the answer that is wanted.
    fn of(result: Result<Result<Response, Error>, tokio::time::error::Elapsed>, class: u16) -> Self {
        match result {
            Err(_) => Self::Lost(Fault::Silent),
            Ok(Ok(response)) if u16::from(response.code()) / 100 == class => Self::Yes,
            // an answer to something else: what follows would be, too
            Ok(Ok(_)) => Self::Lost(Fault::Broken),
            Ok(Err(error)) => match reply_of(&error) {
                // it takes its leave (RFC 5321, 3.8)
                Some(reply) if reply.code == 421 => Self::Lost(Fault::Leaving),
                Some(reply) => Self::No(reply),
                None => Self::Lost(Fault::Broken),
            },
        }
    }
}

impl Dialog {
    pub(super) fn new(relay: Arc<Relay>, line: Line, place: OwnedSemaphorePermit) -> Self {
        Self { relay, line: Some(line), open: false, _place: place }
    }

    /// The relay's name: `host:port`.
    pub fn relay(&self) -> &str {
        &self.relay.name
    }

    /// Says from whom and to whom a message is, up to the relay's word that it wants the text. Nothing has been sent of it
    /// then, and the dialog can still be given up.
    ///
    /// # Errors
    /// See [`Refused`]: the message did not go.
    pub async fn begin(&mut self, from: &str, to: &str) -> Result<(), Refused> {
        let from = address(from).ok_or(Refused { step: Step::Mail, reply: None, lasting: true, usable: true })?;
        let to = address(to).ok_or(Refused { step: Step::Rcpt, reply: None, lasting: true, usable: true })?;
        if self.open {
            // who begins anew without having sent the text has given the last message up
            self.line = None;
            self.open = false;
        }
        self.relay.turn().await;
        let used = self.line.as_ref().is_some_and(|line| line.begun > 0);
        let refused = match self.envelope(&from, &to).await {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        // a connection that was used before may have been closed meanwhile, which says nothing of relay or message
        let lost = refused.step == Step::Mail && refused.reply.is_none_or(|reply| reply.code == 421);
        if used && lost { self.envelope(&from, &to).await } else { Err(refused) }
    }

    async fn envelope(&mut self, from: &Address, to: &Address) -> Result<(), Refused> {
        let most = self.relay.policy.messages_per_connection;
        if let Some(line) = self.line.take_if(|line| line.begun >= most) {
            self.relay.take_leave(line).await;
        }
        let mut line = match self.line.take() {
            Some(line) => line,
            None => match self.relay.connect().await {
                Ok(line) => line,
                Err(_) => return Err(Refused { step: Step::Connect, reply: None, lasting: false, usable: false }),
            },
        };
        let fresh = line.begun == 0;
        line.begun += 1;
        let (mail, rcpt) = (Mail::new(Some(from.clone()), vec![]), Rcpt::new(to.clone(), vec![]));
        let said = if line.pipelines {
            self.say_at_once(&mut line, mail, rcpt).await
        } else {
            self.say(&mut line, mail, rcpt).await
        };
        match said {
            Ok(()) => {
                self.line = Some(line);
                self.open = true;
                Ok(())
            }
            Err((step, Answer::No(reply), wants_text)) => {
                let mut refused = Refused { step, reply: Some(reply), lasting: reply.is_lasting(), usable: false };
                if refused.is_the_relays_fault() {
                    self.relay.failed(Fault::Refuses(reply));
                } else {
                    self.relay.answered();
                    // a relay that wants a text all the same gets none: the connection is closed on it
                    refused.usable = !wants_text && self.reset(&mut line).await;
                }
                self.line = refused.usable.then_some(line);
                Err(refused)
            }
            Err((step, lost, _)) => {
                let fault = if let Answer::Lost(fault) = lost { fault } else { Fault::Broken };
                // of a connection that was used before, it may be the age
                if fresh || fault == Fault::Silent {
                    self.relay.failed(fault);
                }
                let reply = (fault == Fault::Leaving).then_some(Reply { code: 421, status: None });
                Err(Refused { step, reply, lasting: false, usable: false })
            }
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.relay.policy.reply_s.into())
    }

    async fn say(&self, line: &mut Line, mail: Mail, rcpt: Rcpt) -> Result<(), (Step, Answer, bool)> {
        let wait = self.patience();
        let answer = Answer::of(timeout(wait, line.smtp.command(mail)).await, 2);
        let Answer::Yes = answer else { return Err((Step::Mail, answer, false)) };
        let answer = Answer::of(timeout(wait, line.smtp.command(rcpt)).await, 2);
        let Answer::Yes = answer else { return Err((Step::Rcpt, answer, false)) };
        let answer = Answer::of(timeout(wait, line.smtp.command(Data)).await, 3);
        let Answer::Yes = answer else { return Err((Step::Data, answer, false)) };
        Ok(())
    }

    /// All three commands in one packet. Each is answered, also what comes after a refusal.
    async fn say_at_once(&self, line: &mut Line, mail: Mail, rcpt: Rcpt) -> Result<(), (Step, Answer, bool)> {
        let wait = self.patience();
        let mail = Answer::of(timeout(wait, line.smtp.command(Envelope(mail, rcpt))).await, 2);
        if let Answer::Lost(_) = mail {
            return Err((Step::Mail, mail, false));
        }
        let rcpt = Answer::of(timeout(wait, line.smtp.read_response()).await, 2);
        if let Answer::Lost(_) = rcpt {
            return Err((Step::Rcpt, rcpt, false));
        }
        let data = Answer::of(timeout(wait, line.smtp.read_response()).await, 3);
        let wants_text = matches!(data, Answer::Yes);
        let first =
            [(Step::Mail, mail), (Step::Rcpt, rcpt)].into_iter().find(|(_, answer)| !matches!(answer, Answer::Yes));
        match (first, data) {
            // what is lost after a refusal is the connection: the refusal counts, and the connection is closed
            (Some((step, answer)), Answer::Lost(_)) => Err((step, answer, true)),
            (Some((step, answer)), _) => Err((step, answer, wants_text)),
            (None, Answer::Yes) => Ok(()),
            (None, data) => Err((Step::Data, data, false)),
        }
    }

    async fn reset(&self, line: &mut Line) -> bool {
        matches!(Answer::of(timeout(self.patience(), line.smtp.command(Reset)).await, 2), Answer::Yes)
    }

    /// Sends the text of the message that was begun, as it is stored: lines end in CR LF, the last one too.
    ///
    /// # Errors
    /// See [`BodyError`]: only [`BodyError::Unknown`] leaves open whether it went.
    pub async fn body(&mut self, bytes: &[u8]) -> Result<Reply, BodyError> {
        let Some(mut line) = self.line.take().filter(|_| self.open) else { return Err(BodyError::CutOff) };
        self.open = false;
        // the end of the text, a dot in a line, begins with the line end before it
        let text = bytes.strip_suffix(b"\r\n").unwrap_or(bytes);
        let mut end_begun = false;
        let parts = std::iter::once(text).chain(std::iter::from_fn(|| {
            // asked for a next part when the whole text has been handed to the network, and before its end is
            end_begun = true;
            None
        }));
        let patience = Duration::from_secs(self.relay.policy.accept_s.into());
        let sent = timeout(patience, line.smtp.message_iter(parts)).await;
        let lost = |relay: &Relay, fault| {
            relay.failed(fault);
            Err(if end_begun { BodyError::Unknown } else { BodyError::CutOff })
        };
        match sent {
            Err(_) => lost(&self.relay, Fault::Silent),
            Ok(Ok(response)) if u16::from(response.code()) / 100 == 2 => {
                self.relay.answered();
                self.line = Some(line);
                Ok(reply(&response))
            }
            Ok(Ok(_)) => lost(&self.relay, Fault::Broken),
            Ok(Err(error)) => match reply_of(&error) {
                None => lost(&self.relay, Fault::Broken),
                Some(reply) => {
                    let lasting = reply.is_lasting();
                    let mut refused = Refused { step: Step::Body, reply: Some(reply), lasting, usable: false };
                    if reply.code == 421 {
                        self.relay.failed(Fault::Leaving);
                    } else if refused.is_the_relays_fault() {
                        self.relay.failed(Fault::Refuses(reply));
                    } else {
                        self.relay.answered();
                        refused.usable = true;
                        self.line = Some(line);
                    }
                    Err(refused.into())
                }
            },
        }
    }

    /// Gives up a message that was begun: the connection is closed without a text, so the relay forgets it.
    pub fn abandon(mut self) {
        if self.open {
            self.line = None;
        }
    }
}

/// An address as relays take it. One beyond ASCII needs an extension that most of them lack: it is none to us.
fn address(text: &str) -> Option<Address> {
    text.is_ascii().then(|| text.parse().ok()).flatten()
}
