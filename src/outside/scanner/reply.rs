//! What clamd's answers mean. Pure functions: the whole answer in, its meaning out.
//!
//! The refused design is the usual one, a search for `OK` or `FOUND` in the answer: it takes a broken-off or
//! foreign answer for a verdict. Here an answer is one of the known ones to the last byte, or none at all.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Longest answer that is read, in bytes. clamd's are some tens.
pub(super) const REPLY_MAX_BYTES: usize = 4096;

/// How the bytes were handed over, which decides what the answer must start with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// `INSTREAM`: the answer names `stream`.
    Stream,
    /// `FILDES`: the answer names `fd[N]`, with clamd's own number.
    OpenFile,
}

/// A scan's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Exactly `OK`.
    Ok,
    /// A signature's name.
    Found(String),
    /// clamd says that it failed, in its words.
    Error(String),
    /// None of the known answers; the text says in which way.
    Unknown(&'static str),
}

/// Reads the whole answer to a scan. `Ok` only for `stream: OK` or `fd[N]: OK`, one NUL, and nothing else.
pub fn parse_scan(reply: &[u8], handover: Handover) -> Reply {
    if reply.is_empty() {
        return Reply::Unknown("the connection ended without an answer");
    }
    if reply.len() > REPLY_MAX_BYTES {
        return Reply::Unknown("the answer is too long");
    }
    let Some((0, line)) = reply.split_last().map(|(last, line)| (*last, line)) else {
        return Reply::Unknown("the answer breaks off");
    };
    if !line.iter().all(|b| matches!(b, b' '..=b'~')) {
        return Reply::Unknown("there is more than one answer, or one with odd bytes");
    }
    let Ok(line) = std::str::from_utf8(line) else {
        return Reply::Unknown("the answer is not text");
    };
    let verdict = match handover {
        Handover::Stream => line.strip_prefix("stream: "),
        Handover::OpenFile => after_descriptor(line),
    };
    if verdict == Some("OK") {
        return Reply::Ok;
    }
    if let Some(name) = verdict.and_then(|v| v.strip_suffix(" FOUND")) {
        return if name.is_empty() || name.contains(' ') {
            Reply::Unknown("the signature has no proper name")
        } else {
            Reply::Found(name.to_owned())
        };
    }
    // An error may name the stream or not: "INSTREAM size limit exceeded. ERROR" does not.
    match verdict.unwrap_or(line).strip_suffix(" ERROR") {
        Some(error) => Reply::Error(error.to_owned()),
        None if line == "UNKNOWN COMMAND" => Reply::Unknown("it does not know the command"),
        None => Reply::Unknown("the answer is none of the known ones"),
    }
}

fn after_descriptor(line: &str) -> Option<&str> {
    let (number, rest) = line.strip_prefix("fd[")?.split_once("]: ")?;
    ((1..=10).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())).then_some(rest)
}

/// A `VERSION` answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// `ClamAV 1.4.6`.
    pub engine: String,
    /// Number and build time of the official daily signatures; `None` where none are loaded.
    pub daily: Option<(u32, Timestamp)>,
}

/// Reads a `VERSION` answer: `ClamAV 1.4.6` without official signatures, else
/// `ClamAV 1.4.6/27812/Wed Nov 18 09:12:44 2026`. clamd writes that time in its own zone and does not say
/// which, so it is read as UTC: right for a managed clamd, up to 14 hours off for one that others run.
pub fn parse_version(reply: &[u8]) -> Option<Version> {
    let (0, line) = reply.split_last().map(|(last, line)| (*last, line))? else { return None };
    let line = std::str::from_utf8(line).ok()?;
    if line.len() > 200 || !line.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return None;
    }
    let mut parts = line.split('/');
    let engine = parts.next().filter(|engine| engine.starts_with("ClamAV "))?.to_owned();
    let daily = match (parts.next(), parts.next(), parts.next()) {
        (None, ..) => None,
        (Some(number), Some(built), None) => Some((number.parse().ok()?, parse_built(built)?)),
        _ => return None,
    };
    Some(Version { engine, daily })
}

fn parse_built(text: &str) -> Option<Timestamp> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, month, day, time, year] = words[..] else { return None };
    let built = DateTime::strptime("%d %b %Y %H:%M:%S", format!("{day:0>2} {month} {year} {time}")).ok()?;
    Some(built.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_known_answers_mean_anything() {
        use Handover::{OpenFile, Stream};
        let found = |name: &str| Reply::Found(name.to_owned());
        let error = |text: &str| Reply::Error(text.to_owned());
        let table: &[(&[u8], Handover, Option<Reply>)] = &[
            (b"stream: OK\0", Stream, Some(Reply::Ok)),
            (b"fd[10]: OK\0", OpenFile, Some(Reply::Ok)),
            (b"stream: Win.Test.EICAR_HDB-1 FOUND\0", Stream, Some(found("Win.Test.EICAR_HDB-1"))),
            (b"fd[7]: Heuristics.Encrypted.Zip FOUND\0", OpenFile, Some(found("Heuristics.Encrypted.Zip"))),
            (b"INSTREAM size limit exceeded. ERROR\0", Stream, Some(error("INSTREAM size limit exceeded."))),
            (b"stream: Can't write to file ERROR\0", Stream, Some(error("Can't write to file"))),
            (b"fd[7]: Access denied. ERROR\0", OpenFile, Some(error("Access denied."))),
            (b"", Stream, None),
            (b"\0", Stream, None),
            (b"stream: OK", Stream, None),
            (b"stream: OK\n", Stream, None),
            (b"stream: OK\0\0", Stream, None),
            (b"stream: OK\0stream: OK\0", Stream, None),
            (b"stream: OK \0", Stream, None),
            (b" stream: OK\0", Stream, None),
            (b"stream: ok\0", Stream, None),
            (b"Stream: OK\0", Stream, None),
            (b"OK\0", Stream, None),
            (b"stream: OK\0", OpenFile, None),
            (b"fd[10]: OK\0", Stream, None),
            (b"fd[]: OK\0", OpenFile, None),
            (b"fd[-1]: OK\0", OpenFile, None),
            (b"fd[1]: OK\0x", OpenFile, None),
            (b"1: stream: OK\0", Stream, None),
            (b"stream:  FOUND\0", Stream, None),
            (b"stream: FOUND\0", Stream, None),
            (b"stream: a OK FOUND\0", Stream, None),
            (b"stream: x FOUND, OK\0", Stream, None),
            (b"UNKNOWN COMMAND\0", Stream, None),
            (b"PONG\0", Stream, None),
        ];
        for (bytes, handover, expected) in table {
            let told = parse_scan(bytes, *handover);
            match expected {
                Some(expected) => assert_eq!(told, *expected, "{}", bytes.escape_ascii()),
                None => assert!(matches!(told, Reply::Unknown(_)), "{}: {told:?}", bytes.escape_ascii()),
            }
        }
        assert!(matches!(parse_scan(&[b'a'; REPLY_MAX_BYTES + 1], Stream), Reply::Unknown(_)));
    }

    #[test]
    fn a_version_is_read_with_and_without_official_signatures() {
        let bare = parse_version(b"ClamAV 1.4.6\0");
        assert_eq!(bare, Some(Version { engine: "ClamAV 1.4.6".to_owned(), daily: None }));
        for (text, built) in [
            (&b"ClamAV 1.4.6/27812/Wed Nov 18 09:12:44 2026\0"[..], "2026-11-18T09:12:44Z"),
            (&b"ClamAV 1.4.6/27812/Sun Nov  8 09:12:44 2026\0"[..], "2026-11-08T09:12:44Z"),
        ] {
            let told = parse_version(text).and_then(|version| version.daily);
            assert_eq!(told, built.parse().ok().map(|built| (27812, built)));
        }
        for odd in [&b""[..], b"ClamAV 1.4.6", b"PONG\0", b"ClamAV 1/x/y\0", b"ClamAV 1/27812\0", b"ClamAV 1/1/a/b\0"] {
            assert_eq!(parse_version(odd), None, "{}", odd.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_none_but_the_exact_ones_are_ok(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_ne!(parse_scan(&bytes, Handover::Stream), Reply::Ok);
            prop_assert_ne!(parse_scan(&bytes, Handover::OpenFile), Reply::Ok);
            let _ = parse_version(&bytes);
        }

        #[test]
        fn a_good_answer_with_anything_around_it_is_not_ok(
            before in "[ -~\\x00]{0,6}", after in "[ -~\\x00]{0,6}", cut in 0_usize..11,
        ) {
            prop_assume!(!before.is_empty() || !after.is_empty());
            prop_assert_ne!(parse_scan(format!("{before}stream: OK\0{after}").as_bytes(), Handover::Stream), Reply::Ok);
            prop_assert_ne!(parse_scan(&b"stream: OK\0"[..cut], Handover::Stream), Reply::Ok);
        }
    }
}
