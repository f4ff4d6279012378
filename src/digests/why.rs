//! Why a user was told of a message or not (COR-33): for each letter and user there is an answer.

use jiff::Timestamp;

use super::Digests;
use crate::db::notifications::{self, InMail};
use crate::db::{Conn, DbError, digest_choices, digest_plans};
use crate::model::digest::{Cadence, DigestKind, LeftOut, MailState, NotificationState};
use crate::model::ids::{LetterId, UserId};
use crate::model::mode::Mode;

crate::codes! {
    /// Why there never was a notification.
    pub enum Never {
        /// The letter did not come to the Messaging Center.
        NoMessage = "no_message",
        /// It is a trial: nobody is told of those (INT-35).
        Trial = "trial",
        /// The user could not read it when it came.
        NotEntitledThen = "not_entitled_then",
    }
}

/// What became of telling a user of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It waits for the next digest of the user's cadence.
    Waiting {
        /// The kind of mail.
        kind: DigestKind,
        /// How often the user is told of such messages now.
        cadence: Cadence,
        /// When the message came.
        since: Timestamp,
    },
    /// It is in a mail, and how that stands.
    Mailed {
        /// The kind of mail.
        kind: DigestKind,
        /// The mail.
        mail: InMail,
    },
    /// It is in none.
    LeftOut {
        /// The kind of mail that it would be in.
        kind: DigestKind,
        /// Why not.
        reason: LeftOut,
        /// When that was decided.
        at: Option<Timestamp>,
        /// The mail that it was taken out of right before that went.
        mail: Option<InMail>,
    },
    /// There never was a notification.
    Never(Never),
}

impl Digests {
    /// What became of telling a user of a letter.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn why(&self, conn: &mut Conn, letter: &LetterId, user: &UserId) -> Result<Told, DbError> {
        why(conn, letter, user, self.plan.choices.starts_with).await
    }
}

/// The same without a node's parts; `starts_with` is how often a user is told who has chosen nothing.
///
/// # Errors
/// When the database fails.
pub async fn why(conn: &mut Conn, letter: &LetterId, user: &UserId, starts_with: Cadence) -> Result<Told, DbError> {
    let Some((message, mode)) = notifications::message_of(conn, letter).await? else {
        return Ok(Told::Never(Never::NoMessage));
    };
    if mode == Mode::Test {
        return Ok(Told::Never(Never::Trial));
    }
    let Some(found) = notifications::get(conn, user, &message).await? else {
        return Ok(Told::Never(Never::NotEntitledThen));
    };
    let kind = found.kind;
    let unreadable = DbError::Unreadable { column: "state" };
    Ok(match (found.state, found.reason, found.mail) {
        (NotificationState::Waiting, _, _) => {
            let choice = digest_choices::get(conn, user, &found.tin, digest_plans::category_of(kind)).await?;
            let cadence = choice.map_or(starts_with, |choice| choice.cadence);
            Told::Waiting { kind, cadence, since: found.published_at }
        }
        (NotificationState::Mailed, _, Some(mail)) => Told::Mailed { kind, mail },
        (NotificationState::LeftOut, Some(reason), mail) => Told::LeftOut { kind, reason, at: found.decided_at, mail },
        _ => return Err(unreadable),
    })
}

impl Told {
    /// The code of it: where the notification stands, or `never`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => NotificationState::Waiting.as_str(),
            Self::Mailed { .. } => NotificationState::Mailed.as_str(),
            Self::LeftOut { .. } => NotificationState::LeftOut.as_str(),
            Self::Never(_) => "never",
        }
    }

    /// In a sentence or two.
    pub fn sentence(&self) -> String {
        match self {
            Self::Waiting { cadence: Cadence::Off, .. } => {
                "Not told: the user chose off, so the next digest leaves it out.".into()
            }
            Self::Waiting { cadence, .. } => {
                format!("Not told yet: it waits for the next {cadence} digest that the user gets.")
            }
            Self::Mailed { mail, .. } => of_mail(mail),
            Self::LeftOut { reason, mail, .. } => {
                let when = match mail {
                    None => "when the digest was planned",
                    Some(_) => "right before its mail was to be sent",
                };
                format!("Not told: {when}, {}.", left_out(*reason))
            }
            Self::Never(never) => never.sentence().into(),
        }
    }
}

impl Never {
    /// In a sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NoMessage => "Not told: the letter is not in the Messaging Center.",
            Self::Trial => "Not told: it is a trial, and nobody is told of those by mail.",
            Self::NotEntitledThen => "Not told: the user could not read it when it came.",
        }
    }
}

/// Why, as the end of a sentence.
pub const fn left_out(reason: LeftOut) -> &'static str {
    match reason {
        LeftOut::Off => "the user had chosen off",
        LeftOut::Read => "the user had read it",
        LeftOut::Deleted => "the user had deleted it",
        LeftOut::Hidden => "the user had chosen not to see such messages",
        LeftOut::NotEntitled => "the user had no right to see it any more",
        LeftOut::Disabled => "the user could not come in any more",
        LeftOut::NoAddress => "no mail address of the user was known",
        LeftOut::Suppressed => "nothing was sent to the user's address, after a bounce or a complaint",
        LeftOut::Offline => "it was offline already",
        LeftOut::WasOff => "the user had chosen off when it came",
    }
}

fn of_mail(mail: &InMail) -> String {
    let digest = mail.cadence.map_or_else(|| "digest".to_owned(), |cadence| format!("{cadence} digest"));
    let because = mail.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let at = |at: Option<Timestamp>| at.map(|at| format!(" at {at}")).unwrap_or_default();
    match mail.state {
        MailState::Planned => format!("Not told yet: it is in the mail of a {digest} that goes{}.", at(mail.next_at)),
        MailState::Claimed => {
            format!("Not told yet: it is in the mail of a {digest} that a node is about to hand over.")
        }
        MailState::Submitting => format!("It is in the mail of a {digest} that is being handed over to the relay."),
        MailState::Accepted => format!("Told: the relay took the mail of the {digest}{}.", at(mail.ended_at)),
        MailState::Retry => format!(
            "Not told yet: the relay refused the mail of the {digest} for now{because}; it is tried again{}.",
            at(mail.next_at)
        ),
        MailState::Rejected => format!("Not told: the mail of the {digest} was refused{because}."),
        MailState::InDoubt => format!(
            "Not known: the mail of the {digest} was being handed over{} and its answer was lost; it may have been sent. \
             It is not sent again by itself: an operator sends it again, or closes it.",
            at(mail.submitted_at)
        ),
        MailState::Closed => {
            format!("Not known: whether the mail of the {digest} was sent is in doubt, and an operator closed it.")
        }
        MailState::Empty => {
            format!("Not told: nothing was left to tell in the mail of the {digest} when it was to go.")
        }
        // what it was to tell is in a later one, or waits for it
        MailState::Folded => format!("Not told by the mail of the {digest}, which did not go on its day."),
        MailState::Bounced => format!("Not told: the mail of the {digest} was sent, and came back{because}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_a_mail_and_every_reason_has_a_sentence_of_its_own() {
        let mail = |state| InMail {
            id: "meridian:2026-11-20:01234567-89ab-7cde-8f01-23456789abcd:claim_info".parse().unwrap(),
            state,
            reason: Some("550".into()),
            cadence: Some(Cadence::Daily),
            next_at: None,
            submitted_at: None,
            ended_at: None,
        };
        let mut all: Vec<String> = MailState::ALL.iter().map(|state| of_mail(&mail(*state))).collect();
        all.extend(LeftOut::ALL.iter().map(|reason| left_out(*reason).to_owned()));
        all.extend(Never::ALL.iter().map(|never| never.sentence().to_owned()));
        let different: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert!(all.iter().any(|sentence| sentence.contains("(550)")));
    }
}
