//! What is said of a file by what lies beside it: a sidecar `NAME.json`, or a row of an index. Pure and bounded: bytes
//! in, facts and faults out.
//!
//! A fact that can't be read is left out and told; the others count, and the file is taken whatever is said of it:
//! what came on paper or by fax can't be refused for its sidecar (INT-21). A fault names the key and the rule, never
//! the value, and an unknown key by its place: both can be health data.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;

use crate::model::access::Mode;
use crate::model::document::Channel;
use crate::model::ids::Brand;
use crate::model::phi::Phi;
use crate::model::submission::Said;

/// The longest name of a batch, in bytes.
const BATCH_MAX: usize = 128;
/// The most documents or pages a batch can be said to have.
const COUNT_MAX: i64 = 1_000_000;
/// Faults that are told of one file; more tell nothing more.
pub(super) const FAULTS_MAX: usize = 20;

/// What a receipt time is held to.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The instant now.
    pub now: Timestamp,
    /// How far ahead of now it may be, for clocks that differ.
    pub ahead: SignedDuration,
    /// How far back it may be.
    pub behind: SignedDuration,
    /// The zone of times without an offset.
    pub zone: Option<TimeZone>,
}

impl Rules {
    /// Whether a document can have been received then.
    pub fn allows(&self, at: Timestamp) -> bool {
        let age = self.now.duration_since(at);
        age <= self.behind && -age <= self.ahead
    }
}

/// What is said of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// How it came.
    pub channel: Option<Channel>,
    /// The brand it is for.
    pub brand: Option<Brand>,
    /// When it was legally received (INT-20).
    pub received_at: Option<Timestamp>,
    /// What it is about.
    pub said: Said,
    /// The mailroom batch it came in.
    pub batch: Option<String>,
    /// How many documents the batch has.
    pub expected_documents: Option<i64>,
    /// How many pages the batch has.
    pub expected_pages: Option<i64>,
}

/// Facts, and what was wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// What could be read.
    pub facts: Facts,
    /// What could not, as sentence parts without values.
    pub faults: Vec<String>,
}

impl Told {
    pub(super) fn fault(&mut self, text: impl Into<String>) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(text.into());
        }
    }

    /// These facts, and where they say nothing, the other ones.
    pub fn or(self, other: Self) -> Self {
        let (ours, theirs) = (self.facts, other.facts);
        let said = Said {
            reference: ours.said.reference.or(theirs.said.reference),
            case_number: ours.said.case_number.or(theirs.said.case_number),
            claim_number: ours.said.claim_number.or(theirs.said.claim_number),
            attachment_control_number: ours.said.attachment_control_number.or(theirs.said.attachment_control_number),
            member_id: ours.said.member_id.or(theirs.said.member_id),
            tin: ours.said.tin.or(theirs.said.tin),
            npi: ours.said.npi.or(theirs.said.npi),
            birth_date: ours.said.birth_date.or(theirs.said.birth_date),
            service_date: ours.said.service_date.or(theirs.said.service_date),
        };
        let facts = Facts {
            channel: ours.channel.or(theirs.channel),
            brand: ours.brand.or(theirs.brand),
            received_at: ours.received_at.or(theirs.received_at),
            said,
            batch: ours.batch.or(theirs.batch),
            expected_documents: ours.expected_documents.or(theirs.expected_documents),
            expected_pages: ours.expected_pages.or(theirs.expected_pages),
        };
        let faults = self.faults.into_iter().chain(other.faults).take(FAULTS_MAX).collect();
        Self { facts, faults }
    }
}

/// The keys of a sidecar, which are also the names of an index's columns.
pub const KEYS: [&str; 15] = [
    "channel",
    "received_at",
    "brand",
    "batch",
    "expected_documents",
    "expected_pages",
    "reference",
    "case_number",
    "claim_number",
    "attachment_control_number",
    "member_id",
    "tin",
    "npi",
    "birth_date",
    "service_date",
];

/// Reads a sidecar.
pub fn read(bytes: &[u8], rules: &Rules) -> Told {
    let mut told = Told::default();
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let Ok(Pairs(pairs)) = serde_json::from_slice(bytes) else {
        told.fault("it is not one JSON object");
        return told;
    };
    let mut seen = Vec::new();
    for (at, (key, value)) in pairs.into_iter().enumerate() {
        let Some(key) = KEYS.into_iter().find(|known| *known == key) else {
            told.fault(format!("key {} is none that is known", at + 1));
            continue;
        };
        if seen.contains(&key) {
            told.fault(format!("{key}: it is there twice; the first one counts"));
            continue;
        }
        seen.push(key);
        match value {
            Value::Null => {}
            Value::String(text) => set(&mut told, key, &text, rules),
            Value::Number(number) => set(&mut told, key, &number.to_string(), rules),
            _ => told.fault(format!("{key}: it must be a text or a number")),
        }
    }
    whole(&mut told);
    told
}

/// What only makes sense with something else.
pub(super) fn whole(told: &mut Told) {
    let facts = &mut told.facts;
    if facts.batch.is_none() && (facts.expected_documents.take().is_some() | facts.expected_pages.take().is_some()) {
        told.fault("expected_documents and expected_pages need a batch");
    }
}

/// Reads one fact. An empty text says nothing.
pub(super) fn set(told: &mut Told, key: &'static str, text: &str, rules: &Rules) {
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    if let Err(rule) = fact(&mut told.facts, key, text, rules) {
        told.fault(format!("{key}: {rule}"));
    }
}

fn fact(facts: &mut Facts, key: &'static str, text: &str, rules: &Rules) -> Result<(), String> {
    fn id<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<Option<T>, String> {
        text.parse().map(Some).map_err(|error: T::Err| error.to_string())
    }
    let date = |text: &str| {
        let date = text.parse::<Date>().map_err(|_| "not a date YYYY-MM-DD".to_owned())?;
        Ok::<_, String>(Some(Phi(date)))
    };
    let count = |text: &str| {
        let n = text.parse::<i64>().ok().filter(|n| (0..=COUNT_MAX).contains(n));
        n.map(Some).ok_or_else(|| format!("it must be a number up to {COUNT_MAX}"))
    };
    match key {
        "channel" => facts.channel = Some(channel(text)?),
        "received_at" => facts.received_at = Some(receipt_time(text, rules)?),
        "brand" => facts.brand = Some(brand(text)?),
        "batch" if text.len() > BATCH_MAX => return Err(format!("it must have at most {BATCH_MAX} bytes")),
        "batch" if text.chars().any(char::is_control) => return Err("it may not hold control characters".into()),
        "batch" => facts.batch = Some(text.to_owned()),
        "expected_documents" => facts.expected_documents = count(text)?,
        "expected_pages" => facts.expected_pages = count(text)?,
        "reference" => facts.said.reference = id(text)?,
        "case_number" => facts.said.case_number = id(text)?,
        "claim_number" => facts.said.claim_number = id(text)?,
        "attachment_control_number" => facts.said.attachment_control_number = id(text)?,
        "member_id" => facts.said.member_id = id(text)?,
        "tin" => facts.said.tin = id(text)?,
        "npi" => facts.said.npi = id(text)?,
        "birth_date" => facts.said.birth_date = date(text)?,
        "service_date" => facts.said.service_date = date(text)?,
        _ => return Err("it is none that is known".into()),
    }
    Ok(())
}

/// Nothing that a source brings was uploaded by somebody who could be asked for another file.
fn channel(text: &str) -> Result<Channel, String> {
    match text.parse() {
        Ok(Channel::Upload) | Err(_) => Err("it must be scan, fax or email".into()),
        Ok(channel) => Ok(channel),
    }
}

fn brand(text: &str) -> Result<Brand, String> {
    let brand: Brand = text.parse().map_err(|error: crate::model::ids::IdError| error.to_string())?;
    match brand.mode() {
        Mode::Live => Ok(brand),
        Mode::Test => Err("what a source brings is real, the brand is for trials".into()),
    }
}

/// RFC 3339; or the clock of the source's zone, where that says which instant is meant.
fn receipt_time(text: &str, rules: &Rules) -> Result<Timestamp, String> {
    let at = match (text.parse::<Timestamp>(), &rules.zone) {
        (Ok(at), _) => at,
        (Err(_), None) => return Err("not an instant with its offset (RFC 3339)".into()),
        (Err(_), Some(zone)) => {
            let local: DateTime = text.parse().map_err(|_| "neither an instant (RFC 3339) nor a local time")?;
            let zoned = zone.to_ambiguous_zoned(local);
            if zoned.is_ambiguous() {
                return Err("the clock shows this time twice or not at all that night: give the offset".into());
            }
            zoned.unambiguous().map_err(|_| "not an instant")?.timestamp()
        }
    };
    if !rules.allows(at) {
        return Err("it is ahead of now or too long ago".into());
    }
    Ok(at)
}

/// An object's members in their order, also those that are there twice.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Pairs;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            now: "2026-11-20T15:00:00Z".parse().unwrap(),
            ahead: SignedDuration::from_secs(300),
            behind: SignedDuration::from_hours(24 * 400),
            zone: TimeZone::get("America/New_York").ok(),
        }
    }

    #[test]
    fn int_20_a_receipt_time_is_one_instant_or_is_left_out() {
        for (text, instant) in [
            ("2026-11-19T14:30:00-05:00", Some("2026-11-19T19:30:00Z")),
            ("2026-11-19T19:30:00Z", Some("2026-11-19T19:30:00Z")),
            ("2026-11-19T14:30", Some("2026-11-19T19:30:00Z")),
            ("2026-11-19 14:30:15", Some("2026-11-19T19:30:15Z")),
            ("2026-11-19", Some("2026-11-19T05:00:00Z")),
            // the night the clocks go back: twice; forth: not at all
            ("2026-11-01T01:30", None),
            ("2026-11-01T01:30-04:00", Some("2026-11-01T05:30:00Z")),
            ("2026-11-01T01:30-05:00", Some("2026-11-01T06:30:00Z")),
            ("2026-03-08T02:30", None),
            ("2026-11-20T15:04:59Z", Some("2026-11-20T15:04:59Z")),
            ("2026-11-20T15:06:00Z", None),
            ("1926-11-20T15:00:00Z", None),
            ("11/19/2026 14:30", None),
            ("yesterday", None),
        ] {
            let told = read(format!(r#"{{"received_at":"{text}"}}"#).as_bytes(), &rules());
            assert_eq!(told.facts.received_at, instant.map(|at| at.parse().unwrap()), "{text}");
            assert_eq!(told.faults.is_empty(), instant.is_some(), "{text}: {:?}", told.faults);
        }
        let zoneless = read(br#"{"received_at":"2026-11-19T14:30"}"#, &Rules { zone: None, ..rules() });
        assert_eq!((zoneless.facts.received_at, zoneless.faults.len()), (None, 1));
    }

    #[test]
    fn what_can_not_be_read_is_left_out_and_told_without_its_value() {
        let good = Facts {
            channel: Some(Channel::Fax),
            brand: "acme".parse().ok(),
            batch: Some("B-17".into()),
            expected_documents: Some(12),
            said: Said { claim_number: "CL1".parse().ok(), tin: "123456789".parse().ok(), ..Said::default() },
            ..Facts::default()
        };
        let all = r#"{"channel":"fax","brand":"acme","batch":"B-17","expected_documents":12,"claim_number":"cl1",
                      "tin":"12-3456789","npi":null,"member_id":""}"#;
        for (text, facts, faults) in [
            (all.to_owned(), good.clone(), vec![]),
            (format!("\u{feff}{all}"), good.clone(), vec![]),
            (all.replace("\"npi\":null", "\"claimnumber\":\"SECRET\""), good.clone(), vec!["key 7"]),
            (all.replace("null", "\"SECRET\""), good.clone(), vec!["npi: "]),
            (all.replace("null", "[\"SECRET\"]"), good.clone(), vec!["npi: "]),
            (all.replace("\"npi\":null", "\"tin\":\"987654321\""), good.clone(), vec!["tin: "]),
            (all.replace("12,", "-1,"), Facts { expected_documents: None, ..good.clone() }, vec!["expected_documents"]),
            (all.replace("\"fax\"", "\"upload\""), Facts { channel: None, ..good.clone() }, vec!["channel"]),
            (all.replace("acme", "acme.test"), Facts { brand: None, ..good.clone() }, vec!["brand"]),
            (
                all.replace("\"B-17\"", "\"\""),
                Facts { batch: None, expected_documents: None, ..good },
                vec!["need a batch"],
            ),
            ("[]".into(), Facts::default(), vec!["JSON"]),
            ("{\"tin\":".into(), Facts::default(), vec!["JSON"]),
            ("{} {}".into(), Facts::default(), vec!["JSON"]),
            (format!("{}1", "[".repeat(100_000)), Facts::default(), vec!["JSON"]),
            (String::new(), Facts::default(), vec!["JSON"]),
        ] {
            let told = read(text.as_bytes(), &rules());
            let short = &text[..text.len().min(300)];
            assert_eq!(told.facts, facts, "{short}");
            assert_eq!(told.faults.len(), faults.len(), "{short}: {:?}", told.faults);
            for (fault, part) in told.faults.iter().zip(faults) {
                assert!(fault.contains(part) && !fault.contains("SECRET"), "{short}: {fault}");
            }
        }
    }

    #[test]
    fn the_sidecar_outweighs_the_index() {
        let sidecar = read(br#"{"claim_number":"A"}"#, &rules());
        let row = read(br#"{"claim_number":"B","member_id":"M","oops":1}"#, &rules());
        let both = sidecar.or(row);
        assert_eq!(both.facts.said.claim_number, "A".parse().ok());
        assert_eq!((both.facts.said.member_id, both.faults.len()), ("M".parse().ok(), 1));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_bring_it_down(bytes: Vec<u8>) {
            let _ = read(&bytes, &rules());
            let _ = super::super::index::read(&bytes, &Default::default(), 100, &rules());
        }
    }
}
