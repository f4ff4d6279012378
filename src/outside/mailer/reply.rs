//! What relays answer: codes only. Their texts can name addresses.

use std::error::Error as _;
use std::fmt;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::response::Response;

/// An enhanced status code (RFC 3463): class, subject, detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u8, pub u16, pub u16);

impl Status {
    /// Reads one, such as `5.1.1`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut number = || {
            let part = parts.next()?;
            let digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<u16>().ok()).flatten()
        };
        let (class, subject, detail) = (number()?, number()?, number()?);
        let class = u8::try_from(class).ok().filter(|class| [2, 4, 5].contains(class))?;
        parts.next().is_none().then_some(Self(class, subject, detail))
    }

    /// Whether it tells of a failure that stays.
    pub const fn is_lasting(self) -> bool {
        self.0 == 5
    }

    /// Whether it says that the address itself does not work: nobody has it, it is none, it takes no mail. A list of what
    /// does, and of nothing else: by it an address is suppressed, and other codes tell of the relay, of us, or of a full
    /// mailbox.
    pub const fn is_about_address(self) -> bool {
        matches!(self, Self(5, 1, 0..=3 | 6 | 10) | Self(5, 2, 0 | 1))
    }

    /// Whether it is about who sends, about a system on the way, or about a rule: another relay, or another day, may do.
    pub(super) const fn is_about_the_way(self) -> bool {
        matches!(self, Self(_, 3 | 4 | 7, _) | Self(_, 1, 7 | 8))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What a relay answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The code of three digits.
    pub code: u16,
    /// The enhanced status code, where it gave one.
    pub status: Option<Status>,
}

impl Reply {
    /// Whether it refuses for good.
    pub const fn is_lasting(self) -> bool {
        self.code >= 500
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{} {status}", self.code),
            None => write!(f, "{}", self.code),
        }
    }
}

/// The first word of an answer, where it is a status of the code's class.
fn status(code: u16, text: &str) -> Option<Status> {
    let status = text.split_whitespace().next().and_then(Status::parse)?;
    (u16::from(status.0) == code / 100).then_some(status)
}

/// The reply in an error of lettre's, if it is one and not a broken line.
pub(super) fn reply_of(error: &Error) -> Option<Reply> {
    let code = u16::from(error.status()?);
    let text = error.source().map(ToString::to_string).unwrap_or_default();
    Some(Reply { code, status: status(code, &text) })
}

pub(super) fn reply(response: &Response) -> Reply {
    let code = u16::from(response.code());
    Reply { code, status: response.first_line().and_then(|line| status(code, line)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listed_status_says_that_an_address_does_not_work() {
        let listed = [(1, 0), (1, 1), (1, 2), (1, 3), (1, 6), (1, 10), (2, 0), (2, 1)];
        for subject in 0..10 {
            for detail in 0..40 {
                let is = listed.contains(&(subject, detail));
                assert_eq!(Status(5, subject, detail).is_about_address(), is, "5.{subject}.{detail}");
                assert!(!Status(4, subject, detail).is_about_address(), "4.{subject}.{detail}");
            }
        }
    }

    #[test]
    fn a_status_code_is_three_numbers_of_a_known_class() {
        for (text, is) in [
            ("5.1.1", Some(Status(5, 1, 1))),
            ("4.2.2", Some(Status(4, 2, 2))),
            ("2.0.0", Some(Status(2, 0, 0))),
            ("5.1.999", Some(Status(5, 1, 999))),
            ("3.1.1", None),
            ("5.1", None),
            ("5.1.1.1", None),
            ("5.1.1000", None),
            ("5.+1.1", None),
            ("5..1", None),
            ("", None),
        ] {
            assert_eq!(Status::parse(text), is, "{text}");
        }
        assert_eq!(status(550, "5.1.1 <a@b.example> unknown").map(|s| s.to_string()).as_deref(), Some("5.1.1"));
        assert_eq!(status(450, "5.1.1 of another class"), None);
    }
}
