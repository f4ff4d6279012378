//! Tokens that name a mail to those who got it: in its link to unsubscribe and in its Message-ID.
//!
//! A token is the mail's id, sealed: the key is the installation's, so that nobody else can make one, and what comes back
//! leads to the mail's row without a table of tokens. The id is also hidden, for it names the user. Each purpose has a
//! key of its own: who reads the Message-ID of a mail that was passed on can't unsubscribe with it.
//!
//! With the mail it names the address that it went to, by a mark of four bytes: what comes back is held against an address
//! only if it was sent to that one.
//!
//! The seal is that of SIV: a MAC over the id, which is then the start of the key stream that hides it. The same mail
//! always has the same token, so a message that is sent again is the same message.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::civil::Date;
use sha2::Sha256;

use crate::engine::sequencer::AuditKey;
use crate::model::digest::{DigestKind, mail_address, mail_id};
use crate::model::ids::{Brand, MailId, UserId};

/// Bytes of the MAC.
const MAC: usize = 16;
/// Bytes of the address' mark.
const MARK: usize = 4;
/// Bytes of the mark, the day, the kind and the user; the brand follows.
const FIXED: usize = MARK + 2 + 1 + 16;
/// Characters of a token at most.
const MOST: usize = 120;
/// Days are counted from here.
const FIRST_DAY: Date = jiff::civil::date(2000, 1, 1);

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The link to unsubscribe (COR-34).
    Unsubscribe,
    /// The Message-ID, by which a mail that comes back is known.
    Message,
    /// Either of them in a mail that is a test: it leads to nothing.
    Test,
}

/// The key of tokens of one purpose.
#[derive(Clone)]
pub struct TokenKey {
    seal: [u8; 32],
    hide: [u8; 32],
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // a key of any length will do
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

impl TokenKey {
    /// The key for this purpose, from that of the installation.
    pub fn new(key: &AuditKey, purpose: Purpose) -> Self {
        let label: &[u8] = match purpose {
            Purpose::Unsubscribe => b"unsubscribe",
            Purpose::Message => b"message",
            Purpose::Test => b"test",
        };
        let derived = |part: &[u8]| mac(&key.0, &[b"lettercase mail token 1 ", label, b" ", part]);
        Self { seal: derived(b"seal"), hide: derived(b"hide") }
    }

    /// The token of a mail to this address.
    pub fn token(&self, mail: &MailId, address: &str) -> String {
        let mut id = packed(mail, self.mark(address));
        let seal = mac(&self.seal, &[&id]);
        self.hide(&seal[..MAC], &mut id);
        let mut all = seal[..MAC].to_vec();
        all.extend_from_slice(&id);
        URL_SAFE_NO_PAD.encode(all)
    }

    /// What tells an address from others, however its domain is written.
    fn mark(&self, address: &str) -> [u8; MARK] {
        let hash = mac(&self.seal, &[b"address ", mail_address(address).as_bytes()]);
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// The mail that a token names; none where it is not one of ours for this purpose.
    pub fn read(&self, token: &str) -> Option<MailId> {
        self.opened(token).map(|(mail, _)| mail)
    }

    /// The mail that a token names, and whether it went to this address.
    pub fn read_for(&self, token: &str, address: &str) -> Option<(MailId, bool)> {
        self.opened(token).map(|(mail, mark)| (mail, mark == self.mark(address)))
    }

    fn opened(&self, token: &str) -> Option<(MailId, [u8; MARK])> {
        if token.len() > MOST {
            return None;
        }
        let all = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (seal, id) = all.split_at_checked(MAC)?;
        let mut id = id.to_vec();
        self.hide(seal, &mut id);
        let mut check = Hmac::<Sha256>::new_from_slice(&self.seal).ok()?;
        check.update(&id);
        check.verify_truncated_left(seal).ok()?;
        unpacked(&id)
    }

    fn hide(&self, seal: &[u8], id: &mut [u8]) {
        for (count, block) in (0u8..).zip(id.chunks_mut(32)) {
            let stream = mac(&self.hide, &[seal, &[count]]);
            block.iter_mut().zip(stream).for_each(|(byte, hidden)| *byte ^= hidden);
        }
    }
}

/// Kinds in tokens: a number is never given to another kind.
const fn number(kind: DigestKind) -> u8 {
    match kind {
        DigestKind::ClaimInfo => 1,
        DigestKind::ClaimAction => 2,
        DigestKind::PrecertInfo => 3,
        DigestKind::PrecertAction => 4,
    }
}

/// A mail's id in few bytes. One that does not fit its own rule, which there is none of, leads to nothing.
fn packed(mail: &MailId, mark: [u8; MARK]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FIXED + 16);
    bytes.extend_from_slice(&mark);
    let mut parts = mail.as_str().split(':');
    let brand = parts.next().unwrap_or_default();
    let day: Date = parts.next().and_then(|day| day.parse().ok()).unwrap_or(FIRST_DAY);
    let user = parts.next().and_then(|user| uuid::Uuid::try_parse(user).ok()).unwrap_or_default();
    let kind: Option<DigestKind> = parts.next().and_then(|kind| kind.parse().ok());
    let days = day.since(FIRST_DAY).map_or(0, |span| span.get_days());
    bytes.extend_from_slice(&u16::try_from(days).unwrap_or(0).to_be_bytes());
    bytes.push(kind.map_or(0, number));
    bytes.extend_from_slice(user.as_bytes());
    bytes.extend_from_slice(brand.as_bytes());
    bytes
}

fn unpacked(bytes: &[u8]) -> Option<(MailId, [u8; MARK])> {
    let (mark, bytes) = bytes.split_first_chunk::<MARK>()?;
    let (fixed, brand) = bytes.split_at_checked(FIXED - MARK)?;
    let days = i64::from(u16::from_be_bytes([fixed[0], fixed[1]]));
    let day = FIRST_DAY.checked_add(jiff::Span::new().days(days)).ok()?;
    let kind = DigestKind::ALL.iter().copied().find(|kind| number(*kind) == fixed[2])?;
    let user: UserId = uuid::Uuid::from_slice(&fixed[3..]).ok()?.hyphenated().to_string().parse().ok()?;
    let brand: Brand = std::str::from_utf8(brand).ok()?.parse().ok()?;
    Some((mail_id(&brand, day, &user, kind).ok()?, *mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> [TokenKey; 3] {
        let key = AuditKey([7; 32]);
        [Purpose::Unsubscribe, Purpose::Message, Purpose::Test].map(|purpose| TokenKey::new(&key, purpose))
    }

    fn any_mail() -> impl Strategy<Value = MailId> {
        let kind = prop::sample::select(DigestKind::ALL.to_vec());
        ("[a-z0-9-]{1,32}(\\.test)?", 0i64..60_000, any::<u128>(), kind).prop_map(|(brand, days, user, kind)| {
            let day = FIRST_DAY.checked_add(jiff::Span::new().days(days)).unwrap();
            let user = uuid::Uuid::from_u128(user).hyphenated().to_string().parse().unwrap();
            mail_id(&brand.parse().unwrap(), day, &user, kind).unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_token_leads_back_to_its_mail_and_to_no_other_purpose(mail in any_mail()) {
            let [unsubscribe, message, test] = keys();
            let token = unsubscribe.token(&mail, "a@b.Example");
            prop_assert_eq!(unsubscribe.read(&token), Some(mail.clone()));
            prop_assert_eq!(unsubscribe.read_for(&token, "a@B.example"), Some((mail.clone(), true)));
            prop_assert_eq!(unsubscribe.read_for(&token, "A@b.example"), Some((mail.clone(), false)));
            prop_assert_eq!(unsubscribe.token(&mail, "a@b.Example"), token.clone(), "the same each time");
            prop_assert!(message.read(&token).is_none() && test.read(&token).is_none());
            let other = TokenKey::new(&AuditKey([8; 32]), Purpose::Unsubscribe);
            prop_assert!(other.read(&token).is_none(), "another installation's");
            prop_assert!(token.len() <= MOST && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
            let user = mail.as_str().split(':').nth(2).unwrap();
            prop_assert!(!token.contains(user) && !token.contains(&user.replace('-', "")));
        }

        #[test]
        fn a_changed_token_is_none(mail in any_mail(), place in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
            let [key, ..] = keys();
            let token = key.token(&mail, "");
            let mut changed: Vec<char> = token.chars().collect();
            let place = place.index(changed.len());
            changed[place] = to.chars().next().unwrap();
            let changed: String = changed.into_iter().collect();
            prop_assert!(changed == token || key.read(&changed).is_none());
        }

        #[test]
        fn any_text_is_a_token_or_none(text in "\\PC{0,200}") {
            prop_assert!(keys().iter().all(|key| key.read(&text).is_none()));
        }
    }
}
