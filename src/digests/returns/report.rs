//! What a mail that came back says: delivery reports (RFC 3464) and complaints (RFC 5965). Strangers wrote it: of its
//! words only codes are kept, and whether it is about a mail of ours its tokens say, not its addresses.

use mail_parser::{MessageParser, MessagePart, MimeHeaders, PartType};

use crate::outside::mailer::Status;

/// Message-IDs of one report that are looked at.
const IDS: usize = 20;
/// Characters of one.
const ID: usize = 300;
/// Recipients of one report that are looked at.
const RECIPIENTS: usize = 100;

/// What is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It could not be delivered, and that is the end of it.
    Failed(Status),
    /// Its owner calls it unwanted: the kind of complaint.
    Complaint(String),
    /// It is late, was delivered, or was passed on, or what is told is no complaint: nothing to do.
    Underway,
}

/// A report, as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it says.
    pub said: Said,
    /// Message-IDs of what it may be about: of the mail that is returned with it, then those that it answers.
    pub ids: Vec<String>,
}

impl Said {
    /// Whether a failure is one of the address, and lasts. What is refused for what it says, for where it comes from, or for
    /// want of room is none: another mail may arrive. A failure of which no more is told is one.
    pub fn is_lasting(&self) -> bool {
        let Self::Failed(status) = self else { return false };
        status.is_about_address() || *status == Status(5, 0, 0)
    }
}

/// Reads a report; none where it is something else: an answer, a note of absence, rubbish.
pub fn read(bytes: &[u8]) -> Option<Report> {
    let message = MessageParser::default().parse(bytes)?;
    let mut said = None;
    let mut ids = Vec::new();
    for part in &message.parts {
        let kind = part.content_type().map(|kind| (kind.ctype().to_ascii_lowercase(), kind.subtype()));
        let subtype = kind.as_ref().and_then(|(_, subtype)| *subtype).unwrap_or_default().to_ascii_lowercase();
        let kind = kind.as_ref().map(|(kind, _)| kind.as_str()).unwrap_or_default();
        match (kind, subtype.as_str()) {
            ("message", "delivery-status" | "global-delivery-status") => {
                said = said.or_else(|| delivery(&text(part)));
            }
            ("message", "feedback-report") => said = said.or_else(|| complaint(&text(part))),
            ("text", "rfc822-headers") | ("message", "rfc822-headers" | "global-headers") => {
                ids.extend(id_in_head(&text(part)));
            }
            _ => {
                if let PartType::Message(returned) = &part.body {
                    ids.extend(returned.message_id().map(ToOwned::to_owned));
                }
            }
        }
    }
    let said = said?;
    for header in [message.references(), message.in_reply_to()] {
        ids.extend(header.as_text_list().into_iter().flatten().map(ToString::to_string));
    }
    ids.retain(|id| id.len() <= ID);
    ids.truncate(IDS);
    Some(Report { said, ids })
}

/// A part's text. What is no text has none.
fn text(part: &MessagePart<'_>) -> String {
    String::from_utf8_lossy(part.contents()).into_owned()
}

/// The fields of one group of a report, unfolded: names in small letters.
fn fields(group: &str) -> impl Iterator<Item = (String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for line in group.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = all.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            all.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    all.into_iter()
}

fn field(group: &str, name: &str) -> Option<String> {
    fields(group).find(|(field, _)| field == name).map(|(_, value)| value)
}

/// Groups of fields, with empty lines between them.
fn groups(text: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n");
    text.split("\n\n").filter(|group| !group.trim().is_empty()).map(ToOwned::to_owned).collect()
}

/// The worst that a delivery report says of a recipient (RFC 3464, 2.3).
fn delivery(text: &str) -> Option<Said> {
    let mut worst: Option<Said> = None;
    for group in groups(text).iter().take(RECIPIENTS) {
        let Some(action) = field(group, "action") else { continue };
        let action = action.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        let status = field(group, "status");
        let status = status.and_then(|status| status.split_whitespace().next().and_then(Status::parse));
        let said = match action.as_str() {
            // one that says nothing else
            "failed" => Said::Failed(status.filter(|status| status.0 != 2).unwrap_or(Status(5, 0, 0))),
            "delayed" | "delivered" | "relayed" | "expanded" => Said::Underway,
            _ => continue,
        };
        let rank = |said: &Said| (matches!(said, Said::Failed(_)), said.is_lasting());
        if worst.as_ref().is_none_or(|known| rank(known) < rank(&said)) {
            worst = Some(said);
        }
    }
    worst
}

/// What a complaint says (RFC 5965, 3.1). That something is not spam is none, nor is a word on signatures (`auth-failure` of
/// RFC 6591), which machines write. A kind that is not known may be such a word: it suppresses nothing.
fn complaint(text: &str) -> Option<Said> {
    let kind = groups(text).first().and_then(|group| field(group, "feedback-type"))?;
    let kind = kind.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    Some(match kind.as_str() {
        "abuse" | "fraud" | "virus" | "opt-out" | "opt-out-list" | "miscategorized" => Said::Complaint(kind),
        _ => Said::Underway,
    })
}

/// The Message-ID in a head that is returned without its mail.
fn id_in_head(text: &str) -> Option<String> {
    let head = groups(text).into_iter().next()?;
    field(&head, "message-id").map(|id| id.trim_matches(['<', '>', ' ']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report(status: &str) -> String {
        format!(
            "From: MAILER-DAEMON@relay.example\r\nTo: returns@meridian.example\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n--b\r\n\
             Content-Type: text/plain\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
             Reporting-MTA: dns; relay.example\r\n\r\n{status}\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\
             From: a@b.example\r\nMessage-ID: <token@meridian.example>\r\nSubject: x\r\n\r\nbody\r\n--b--\r\n"
        )
    }

    #[test]
    fn a_delivery_report_is_read_by_its_worst_recipient() {
        let failed = |a, b, c| Some(Said::Failed(Status(a, b, c)));
        let of = |action: &str, status: &str| {
            format!("Final-Recipient: rfc822; x@y.example\r\nAction: {action}\r\nStatus: {status}\r\n")
        };
        for (text, said) in [
            (of("failed", "5.1.1"), failed(5, 1, 1)),
            (of("Failed", "5.1.1 (no such user)"), failed(5, 1, 1)),
            (of("failed", "4.4.7"), failed(4, 4, 7)),
            (of("failed", "nonsense"), failed(5, 0, 0)),
            (of("failed", "2.0.0"), failed(5, 0, 0)),
            (of("delayed", "4.4.1"), Some(Said::Underway)),
            (of("delivered", "2.0.0"), Some(Said::Underway)),
            (of("relayed", "2.0.0"), Some(Said::Underway)),
            (format!("{}\r\n{}", of("delayed", "4.4.1"), of("failed", "4.4.7")), failed(4, 4, 7)),
            (format!("{}\r\n{}", of("failed", "4.4.7"), of("failed", "5.1.1")), failed(5, 1, 1)),
            (of("guessed", "5.1.1"), None),
            ("Status: 5.1.1\r\n".into(), None),
        ] {
            let read = read(report(&text).as_bytes());
            assert_eq!(read.as_ref().map(|report| report.said.clone()), said, "{text}");
            assert!(read.is_none_or(|report| report.ids == ["token@meridian.example"]));
        }
    }

    #[test]
    fn only_what_is_about_the_address_lasts() {
        for (status, lasting) in [
            (Status(5, 1, 1), true),
            (Status(5, 1, 10), true),
            (Status(5, 0, 0), true),
            (Status(5, 2, 1), true),
            (Status(5, 1, 6), true),
            (Status(5, 1, 4), false),
            (Status(5, 1, 7), false),
            (Status(5, 1, 8), false),
            (Status(5, 2, 2), false),
            (Status(5, 4, 1), false),
            (Status(5, 5, 0), false),
            (Status(5, 3, 4), false),
            (Status(5, 7, 1), false),
            (Status(4, 1, 1), false),
        ] {
            assert_eq!(Said::Failed(status).is_lasting(), lasting, "{status}");
        }
    }

    #[test]
    fn heads_that_are_returned_alone_and_encoded_parts_are_read_too() {
        let alone = report("Action: failed\r\nStatus: 5.1.1\r\n")
            .replace("message/rfc822", "text/rfc822-headers")
            .replace("Message-ID: <token@", "Message-ID:\r\n <token@");
        assert_eq!(read(alone.as_bytes()).unwrap().ids, ["token@meridian.example"]);
        let encoded = report("QWN0aW9uOiBmYWlsZWQNClN0YXR1czogNS4xLjENCg==")
            .replace("Reporting-MTA: dns; relay.example\r\n\r\n", "")
            .replace("message/delivery-status\r\n", "message/delivery-status\r\nContent-Transfer-Encoding: base64\r\n");
        assert_eq!(read(encoded.as_bytes()).map(|report| report.said), Some(Said::Failed(Status(5, 1, 1))));
    }

    #[test]
    fn a_complaint_is_read_and_praise_is_none() {
        for (kind, said) in [
            ("abuse", Some(Said::Complaint("abuse".into()))),
            ("Opt-Out", Some(Said::Complaint("opt-out".into()))),
            ("not-spam", Some(Said::Underway)),
            ("auth-failure", Some(Said::Underway)),
            ("dmarc", Some(Said::Underway)),
            ("other", Some(Said::Underway)),
            ("x-made-up<script>", Some(Said::Underway)),
        ] {
            let text = report(&format!("Feedback-Type: {kind}\r\nUser-Agent: X/1\r\nVersion: 1\r\n"))
                .replace("report-type=delivery-status", "report-type=feedback-report")
                .replace("message/delivery-status", "message/feedback-report")
                .replace("Reporting-MTA: dns; relay.example\r\n\r\n", "");
            assert_eq!(read(text.as_bytes()).map(|report| report.said), said, "{kind}");
        }
    }

    #[test]
    fn other_mail_is_no_report() {
        for text in [
            "",
            "Subject: Out of office\r\nIn-Reply-To: <token@meridian.example>\r\nAuto-Submitted: auto-replied\r\n\r\nAway.",
            "Subject: x\r\n\r\nAction: failed\r\nStatus: 5.1.1\r\nMessage-ID: <token@meridian.example>",
            "\u{0}\u{1}\u{2}",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_report_or_none(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let _ = read(&bytes);
        }

        /// Reports with pieces cut out, doubled and changed.
        #[test]
        fn a_mutilated_report_is_a_report_or_none(
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..60, any::<u8>(), 0u8..3), 1..12),
        ) {
            let mut bytes = report("Action: failed\r\nStatus: 5.1.1\r\n").into_bytes();
            for (place, length, byte, how) in cuts {
                let at = place.index(bytes.len().max(1));
                let to = (at + length).min(bytes.len());
                match how {
                    0 => drop(bytes.drain(at..to)),
                    1 => { let piece = bytes[at..to].to_vec(); bytes.splice(at..at, piece); }
                    _ => if let Some(changed) = bytes.get_mut(at) { *changed = byte },
                }
            }
            if let Some(report) = read(&bytes) {
                prop_assert!(report.ids.len() <= IDS && report.ids.iter().all(|id| id.len() <= ID));
            }
        }
    }
}
