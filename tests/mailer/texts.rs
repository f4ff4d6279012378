//! What messages hold, what they never hold, and whether others can read and verify them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use lettercase::app::open_renderer;
use lettercase::digests::mail::token::{Purpose, TokenKey};
use lettercase::digests::mail::{ComposeError, Composed, Composer, ComposerError, MailContent, MailItem};
use lettercase::engine::sequencer::AuditKey;
use lettercase::model::digest::{DigestKind, mail_id};
use lettercase::model::ids::Brand;
use lettercase::model::phi::Phi;
use lettercase::outside::mailer::{DkimOptions, MailOptions, SenderOptions};
use mail_parser::{Message, MessageParser, MimeHeaders};
use proptest::prelude::*;

use crate::support::tools;

const KEY: AuditKey = AuditKey([5; 32]);
const USER: &str = "0191c8a0-0000-7000-8000-0000000000aa";

pub(super) fn options() -> MailOptions {
    toml::from_str(
        r#"
        from = "notices@meridianhealth.example"
        return_path = "returns@meridianhealth.example"
        public_url = "https://letters.meridianhealth.example/"
        relays = [{ host = "relay.example" }]
        [brands.aldercrest]
        from = "post@aldercrest.example"
        from_name = "Aldercrest Notices"
        portal = "https://sign-in.aldercrest.example/inbox"
        "#,
    )
    .unwrap()
}

fn brands() -> [Brand; 2] {
    ["meridian", "aldercrest"].map(|brand| brand.parse().unwrap())
}

pub(super) fn composer(options: &MailOptions) -> Composer {
    let renderer = open_renderer(None).unwrap();
    Composer::open(options, &brands(), &renderer, None, &KEY).unwrap()
}

pub(super) fn content(brand: &str, kind: DigestKind) -> MailContent {
    let brand: Brand = brand.parse().unwrap();
    let item = |tin: &str, letters| MailItem::new(&tin.parse().unwrap(), letters);
    MailContent {
        id: mail_id(&brand, jiff::civil::date(2026, 11, 23), &USER.parse().unwrap(), kind).unwrap(),
        brand,
        kind,
        to: Phi("dana.whitfield@practice.example".into()),
        to_name: Phi("Dana Whitfield".into()),
        items: vec![item("987654821", 3), item("123450077", 1)],
        more_practices: 2,
        letters: 9,
        at: "2026-11-24T01:30:00Z".parse::<Timestamp>().unwrap(),
        zone: TimeZone::get("America/New_York").unwrap(),
        test: false,
    }
}

struct Read {
    subject: String,
    text: String,
    html: String,
    headers: BTreeMap<String, String>,
}

fn parsed(bytes: &[u8]) -> Message<'_> {
    MessageParser::default().parse(bytes).unwrap()
}

fn read(made: &Composed) -> Read {
    let message = parsed(&made.bytes);
    let headers = message.headers_raw().map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    Read {
        subject: message.subject().unwrap().to_owned(),
        text: message.body_text(0).unwrap().into_owned(),
        html: message.body_html(0).unwrap().into_owned(),
        headers: headers.collect(),
    }
}

#[test]
fn cor_31_each_kind_has_its_subject_and_its_text() {
    let composer = composer(&options());
    for (brand, name) in [("meridian", "Meridian Health Plans"), ("aldercrest", "Aldercrest Community Health Partners")]
    {
        for (kind, subject) in [
            (DigestKind::ClaimInfo, "{} claim correspondence now available"),
            (DigestKind::ClaimAction, "Action required: {} claim(s)"),
            (DigestKind::PrecertInfo, "{} precertification correspondence now available"),
            (DigestKind::PrecertAction, "Action required: Supporting documentation for {} precertification(s)"),
        ] {
            let made = composer.compose(&content(brand, kind)).unwrap();
            let mail = read(&made);
            assert_eq!((&mail.subject, &made.subject), (&subject.replace("{}", name), &mail.subject));
            if brand == "meridian" {
                insta::assert_snapshot!(format!("{kind}_text"), mail.text.replace("\r\n", "\n"));
                insta::assert_snapshot!(format!("{kind}_html"), mail.html.replace("\r\n", "\n"));
            }
            for part in [&mail.text, &mail.html] {
                assert!(part.contains(name) && part.contains("4821") && part.contains("0077"), "{part}");
                assert!(part.contains("November 23, 2026"), "the day in the brand's zone");
            }
        }
    }
}

#[test]
fn a_single_letter_is_told_in_the_singular_and_a_test_says_that_it_is_one() {
    let composer = composer(&options());
    let mut one = content("meridian", DigestKind::ClaimInfo);
    (one.items, one.more_practices, one.letters) = (vec![MailItem::new(&"987654821".parse().unwrap(), 1)], 0, 1);
    insta::assert_snapshot!("one_letter_text", read(&composer.compose(&one).unwrap()).text.replace("\r\n", "\n"));
    let MailContent { id, brand, kind, to, to_name, at, zone, .. } = content("meridian", DigestKind::PrecertAction);
    let test = MailContent::test(id, brand, kind, to, to_name, at, zone);
    let made = composer.compose(&test).unwrap();
    let mail = read(&made);
    insta::assert_snapshot!("test_text", mail.text.replace("\r\n", "\n"));
    assert!(mail.subject.starts_with("[Test] Action required:") && mail.html.contains("This is a test."));
    let real = composer.compose(&MailContent { test: false, ..test.clone() }).unwrap();
    assert_ne!(made.message_id, real.message_id, "what comes back of a test is no real mail's");
    let link = &mail.headers["list-unsubscribe"];
    let token = link.rsplit('/').next().unwrap().trim_end_matches('>');
    assert_eq!(composer.unsubscribed(token), None, "its link leads to nothing");
}

#[test]
fn cor_34_headers_are_those_of_a_mail_that_can_be_unsubscribed_with_one_click() {
    let composer = composer(&options());
    let content = content("meridian", DigestKind::ClaimInfo);
    let made = composer.compose(&content).unwrap();
    let mail = read(&made);
    let has = |name: &str| mail.headers[name].as_str();
    assert_eq!(has("from"), "\"Meridian Health Plans\" <notices@meridianhealth.example>");
    assert_eq!(has("to"), "\"Dana Whitfield\" <dana.whitfield@practice.example>");
    assert_eq!(has("date"), "Tue, 24 Nov 2026 01:30:00 +0000");
    assert_eq!(has("mime-version"), "1.0");
    assert_eq!(has("auto-submitted"), "auto-generated");
    assert_eq!(has("list-unsubscribe-post"), "List-Unsubscribe=One-Click");
    assert_eq!(has("message-id"), format!("<{}>", made.message_id));
    assert!(made.message_id.ends_with("@meridianhealth.example"));
    let link = has("list-unsubscribe");
    let token = link.strip_prefix("<https://letters.meridianhealth.example/v1/unsubscribe/").unwrap();
    let token = token.strip_suffix('>').unwrap();
    assert_eq!(composer.unsubscribed(token), Some(content.id.clone()));
    assert!(mail.text.contains(token) && mail.html.contains(token), "for those who look for a link");
    let id = made.message_id.split('@').next().unwrap();
    assert_eq!(composer.unsubscribed(id), None, "who passes the mail on gives no link away");
    assert_eq!(made.from, "returns@meridianhealth.example");
    assert_eq!(made.to.reveal(), "dana.whitfield@practice.example");
    let type_of = parsed(&made.bytes);
    let kind = type_of.content_type().unwrap();
    assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("alternative")));
    assert!(!mail.headers.contains_key("dkim-signature"), "without a key nothing is signed");
    // as RFC 5322 and relays want lines
    let text = String::from_utf8(made.bytes.clone()).unwrap();
    assert!(text.is_ascii() && text.ends_with("\r\n"));
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert!(text.lines().all(|line| line.len() < 998));
    // nothing is fetched, and nobody is watched
    for word in ["<img", "<script", "<link", "src=", "url(", "@import", "http://"] {
        assert!(!mail.html.contains(word), "{word}");
    }
    // the brand's own
    let other = composer.compose(&super::texts::content("aldercrest", DigestKind::ClaimInfo)).unwrap();
    let mail = read(&other);
    assert_eq!(mail.headers["from"], "\"Aldercrest Notices\" <post@aldercrest.example>");
    assert!(mail.text.contains("https://sign-in.aldercrest.example/inbox"));
    assert_eq!(other.from, "returns@meridianhealth.example");
    assert_ne!(other.template_version, made.template_version, "colours and names are part of the version");
}

/// Each name is used in some mails only, which the first one made may not be.
#[test]
fn a_name_that_is_misspelt_in_a_template_fails_the_start_and_is_told_by_file_and_line() {
    let renderer = open_renderer(None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("templates/email");
    std::fs::create_dir_all(&own).unwrap();
    let files = ["digest.html", "digest.txt", "subject.txt"];
    let open = || Composer::open(&options(), &brands(), &renderer, Some(dir.path()), &KEY);
    for file in files {
        for (wrong, told) in [
            ("", None),
            ("{{ lettres }}", Some("undefined")),
            ("{{ brand.colors.primary }}", Some("undefined")),
            ("{{ letters | plural }}", Some("plural")),
            ("{% if test %}{{ x }}{% endif %}", Some("undefined")),
            ("{% if kind == 'precert_action' %}{{ x }}{% endif %}", Some("undefined")),
            ("{% if more_practices == 1 %}{{ x }}{% endif %}", Some("undefined")),
            ("{% if items | length > 1 %}{{ x }}{% endif %}", Some("undefined")),
            ("{% if letters == 1 %}{{ x }}{% endif %}", Some("undefined")),
        ] {
            for other in files {
                std::fs::copy(format!("templates/email/{other}"), own.join(other)).unwrap();
            }
            let ours = std::fs::read_to_string(own.join(file)).unwrap();
            std::fs::write(own.join(file), format!("{{#- by us\n-#}}\n{wrong}{ours}")).unwrap();
            match (open(), told) {
                (Ok(_), None) => {}
                (Err(error @ ComposerError::Templates(_)), Some(told)) => {
                    let text = error.to_string();
                    assert!(text.starts_with(&format!("templates/email/{file}")) && text.contains(told), "{text}");
                    assert!(text.contains(&format!("{file}:3")), "{text}");
                }
                (other, _) => panic!("{file} {wrong}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_same_content_makes_the_same_bytes() {
    let composer = composer(&options());
    let content = content("meridian", DigestKind::ClaimAction);
    let (one, two) = (composer.compose(&content).unwrap(), composer.compose(&content).unwrap());
    assert_eq!(one.bytes, two.bytes);
    let later = MailContent { at: content.at + jiff::SignedDuration::from_hours(5), letters: 8, ..content.clone() };
    let later = composer.compose(&later).unwrap();
    assert_eq!(later.message_id, one.message_id, "a mail that is sent again is the same message");
    let elsewhere = MailContent { to: Phi("other@practice.example".into()), ..content };
    assert_ne!(composer.compose(&elsewhere).unwrap().message_id, one.message_id, "to another address it is another");
    let trial = super::texts::content("meridian.test", DigestKind::ClaimInfo);
    assert!(composer.compose(&trial).is_ok(), "the twin for trials writes as its brand");
}

#[test]
fn an_address_that_is_none_is_told_and_names_steer_nothing() {
    let composer = composer(&options());
    let of = |to: &str, name: &str| MailContent {
        to: Phi(to.into()),
        to_name: Phi(name.into()),
        ..content("meridian", DigestKind::ClaimInfo)
    };
    for bad in ["", "x", "a@b\r\nBcc: c@d.example", "d\u{e4}na@practice.example", "a@b@c", "<a@b.example>"] {
        assert!(matches!(composer.compose(&of(bad, "Dana")), Err(ComposeError::Address)), "{bad:?}");
    }
    for name in [
        "",
        "Dana\r\nBcc: c@d.example",
        "\u{0}\u{7f}",
        "D\u{e4}na \u{1f600} Whitf\u{ef}eld",
        "\"Dana\" <x@y.example>, ",
        "Whitfield, Dana",
        &"x".repeat(5_000),
    ] {
        let made = composer.compose(&of("dana@practice.example", name)).unwrap();
        let message = parsed(&made.bytes);
        assert!(message.bcc().is_none(), "{name:?}");
        let to: Vec<_> = message.to().unwrap().iter().map(|to| to.address().unwrap().to_owned()).collect();
        assert_eq!(to, ["dana@practice.example"], "{name:?}");
    }
    assert!(matches!(
        composer.compose(&MailContent { brand: "other".parse().unwrap(), ..of("a@b.example", "") }),
        Err(ComposeError::Brand(_))
    ));
    let renderer = open_renderer(None).unwrap();
    let unknown = ["nobody".parse().unwrap()];
    assert!(matches!(Composer::open(&options(), &unknown, &renderer, None, &KEY), Err(ComposerError::Brand(_))));
}

/// For many mails: to open one tries all templates.
static COMPOSER: LazyLock<Composer> = LazyLock::new(|| composer(&options()));

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// What a mail is made from has no place for names, claims or members; whatever TINs and figures there are, no whole TIN
    /// is in any part or header, nor in the tokens.
    #[test]
    fn cor_32_no_identifier_is_anywhere_in_a_mail(
        tins in prop::collection::vec("[0-9]{9}", 1..60),
        letters in prop::collection::vec(1u64..500, 60),
        kind in prop::sample::select(DigestKind::ALL.to_vec()),
        user in any::<u128>(),
        more in 0u64..4_000,
    ) {
        let composer = &*COMPOSER;
        let user = uuid::Uuid::from_u128(user).hyphenated().to_string();
        let mut content = content("meridian", kind);
        content.id = mail_id(&content.brand, jiff::civil::date(2026, 11, 23), &user.parse().unwrap(), kind).unwrap();
        content.items = tins.iter().zip(&letters).map(|(tin, count)| MailItem::new(&tin.parse().unwrap(), *count)).collect();
        content.more_practices = more;
        let made = composer.compose(&content).unwrap();
        let mail = read(&made);
        let raw = String::from_utf8(made.bytes.clone()).unwrap();
        let link = mail.headers["list-unsubscribe"].rsplit('/').next().unwrap().trim_end_matches('>').to_owned();
        let decoded = |token: &str| hex::encode(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).unwrap());
        let tokens = [decoded(&link), decoded(made.message_id.split('@').next().unwrap())].join(" ");
        // digits of colours, dates and hashes stand close to each other by chance
        let hashes = [&link, made.message_id.as_str()];
        let clean = |text: &str| hashes.iter().fold(text.to_owned(), |text, hash| text.replace(hash, ""));
        for tin in &tins {
            for part in [&mail.text, &mail.html, &mail.subject] {
                prop_assert!(!clean(part).contains(tin.as_str()));
                prop_assert!(!clean(part).contains(&tin[..5]) || "0000".contains(&tin[1..5]) || part_of_ours(&tin[..5]));
            }
            prop_assert!(!made.message_id.contains(tin.as_str()) && !link.contains(tin.as_str()));
        }
        prop_assert!(!raw.contains(&user) && !tokens.contains(&user.replace('-', "")) && !mail.html.contains(&user));
        let shown = format!("{made:?} {content:?}");
        prop_assert!(!shown.contains("dana"));
    }
}

/// Postal codes, box numbers and colours stand in every mail, also where no practice is named.
fn part_of_ours(digits: &str) -> bool {
    static OURS: LazyLock<String> = LazyLock::new(|| {
        let none = MailContent { items: vec![], ..content("meridian", DigestKind::ClaimInfo) };
        let mail = read(&COMPOSER.compose(&none).unwrap());
        // its own link is sealed by chance
        let token = mail.headers["list-unsubscribe"].rsplit('/').next().unwrap().trim_end_matches('>').to_owned();
        [mail.text, mail.html].concat().replace(&token, "")
    });
    OURS.contains(digits)
}

/// A key of each usual form: name, PEM, and the record that others find it by.
fn keys() -> Vec<(&'static str, String, String)> {
    let pem =
        |label: &str, der: &[u8]| format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der));
    let rsa = RsaPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).unwrap().as_ref().to_vec();
    // PKCS #8 is PKCS #1 behind a head of fixed length
    let pkcs1 = pkcs8[26..].to_vec();
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(rsa.public_key()).unwrap();
    let public = STANDARD.encode(public.as_ref());
    let rsa_record = format!("v=DKIM1; k=rsa; p={public}");
    let ed = Ed25519KeyPair::generate().unwrap();
    let ed_record = format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(ed.public_key()));
    vec![
        ("rsa8", pem("PRIVATE KEY", &pkcs8), rsa_record.clone()),
        ("rsa1", pem("RSA PRIVATE KEY", &pkcs1), rsa_record),
        ("ed2", pem("PRIVATE KEY", ed.to_pkcs8().unwrap().as_ref()), ed_record.clone()),
        // as OpenSSL writes it
        ("ed1", pem("PRIVATE KEY", ed.to_pkcs8v1().unwrap().as_ref()), ed_record),
    ]
}

const VERIFY: &str = r"
import sys, dkim
record = open(sys.argv[1], 'rb').read()
asked = []
def dns(name, timeout=5):
    asked.append(name)
    return record
message = open(sys.argv[2], 'rb').read()
try:
    valid = dkim.DKIM(message).verify(dnsfunc=dns)
except dkim.DKIMException:
    valid = False
print('valid' if valid else 'invalid', asked[0].decode() if asked else '')
";

fn verified(dir: &Path, record: &str, message: &[u8]) -> String {
    std::fs::write(dir.join("record"), record).unwrap();
    std::fs::write(dir.join("message"), message).unwrap();
    let python = tools().join("venv/bin/python");
    let done =
        Command::new(python).arg("-c").arg(VERIFY).arg(dir.join("record")).arg(dir.join("message")).output().unwrap();
    assert!(done.status.success(), "dkimpy (scripts/tools-dkimpy.sh): {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().lines().next().unwrap().to_owned()
}

#[test]
fn signatures_are_verified_by_another_program_and_any_change_breaks_them() {
    let dir = tempfile::tempdir().unwrap();
    for (name, pem, record) in keys() {
        let file = dir.path().join(name);
        std::fs::write(&file, pem).unwrap();
        let key = DkimOptions { domain: "meridianhealth.example".into(), selector: "lc1".into(), key_file: file };
        let composer = composer(&MailOptions { dkim: Some(key), ..options() });
        // who verifies goes by the machine's clock, and believes no signature of tomorrow
        let at = "2020-01-06T12:00:00Z".parse().unwrap();
        let made = composer.compose(&MailContent { at, ..content("meridian", DigestKind::PrecertAction) }).unwrap();
        let valid = "valid lc1._domainkey.meridianhealth.example.";
        assert_eq!(verified(dir.path(), &record, &made.bytes), valid, "{name}");
        if name == "rsa1" {
            continue;
        }
        let text = String::from_utf8(made.bytes.clone()).unwrap();
        for (from, to) in [
            ("\r\nSubject: ", "\r\nSubject: Re: "),
            ("List-Unsubscribe: <https://letters", "List-Unsubscribe: <https://others"),
            ("List-Unsubscribe=One-Click", "List-Unsubscribe=Two-Click"),
            ("\r\nFrom: ", "\r\nFrom: Somebody <x@meridianhealth.example>\r\nFrom: "),
            ("Sign in to see", "Sign in to hear"),
            ("Message-ID: <", "Message-ID: <x"),
        ] {
            assert!(text.contains(from), "{from}");
            let changed = text.replacen(from, to, 1);
            assert!(verified(dir.path(), &record, changed.as_bytes()).starts_with("invalid"), "{name}: {to}");
        }
        // what relays do on the way
        let refolded = text
            .replace("\r\nSubject: Action required: ", "\r\nsubject:  Action required:\r\n\t")
            .replace("Auto-Submitted", "auto-submitted");
        let refolded = format!("Received: by relay\r\n{}\r\n\r\n", refolded.trim_end());
        assert_eq!(verified(dir.path(), &record, refolded.as_bytes()), valid, "{name}");
    }
    let wrong = dir.path().join("wrong");
    for text in ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        std::fs::write(&wrong, text).unwrap();
        let key = DkimOptions { domain: "d.example".into(), selector: "s".into(), key_file: wrong.clone() };
        let brand = SenderOptions { dkim: Some(key), ..SenderOptions::default() };
        let mut options = options();
        options.brands.insert("meridian".parse().unwrap(), brand);
        let renderer = open_renderer(None).unwrap();
        assert!(matches!(Composer::open(&options, &brands(), &renderer, None, &KEY), Err(ComposerError::Dkim(_))));
    }
}

#[test]
fn a_token_of_another_installation_is_none() {
    let composer = composer(&options());
    let mail = content("meridian", DigestKind::ClaimInfo).id;
    let other = TokenKey::new(&AuditKey([6; 32]), Purpose::Unsubscribe);
    assert_eq!(composer.unsubscribed(&other.token(&mail, "")), None);
    let own = TokenKey::new(&KEY, Purpose::Unsubscribe);
    assert_eq!(composer.unsubscribed(&own.token(&mail, "")), Some(mail));
}
