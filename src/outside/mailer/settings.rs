//! Who mails come from, and where their links lead: the `mail` part of the deployment settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::options::RelayOptions;
use crate::model::ids::Brand;

/// Mails to users (`[mail]`). Without it none are sent, and what is to be told waits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailOptions {
    /// The relays, in the order in which they are preferred.
    pub relays: Vec<RelayOptions>,
    /// The name that we say to relays we have: that of this machine, as others know it.
    #[serde(default = "hello")]
    pub hello: String,
    /// The address that mails come from: `notices@example.com`.
    pub from: String,
    /// The name that they come from. Without it, that of the brand.
    #[serde(default)]
    pub from_name: Option<String>,
    /// Where users sign in, as an `https` address. Without it, the portal that the brand's letters name.
    #[serde(default)]
    pub portal: Option<String>,
    /// Where this service is reached from outside, as an `https` address: links to unsubscribe lead there.
    pub public_url: String,
    /// The address that mails come back to when they can't be delivered. Without it, the one they come from.
    #[serde(default)]
    pub return_path: Option<String>,
    /// The folder in which returned mails and complaints are laid, one message a file: a mailbox of the Maildir kind has
    /// it as `new`.
    #[serde(default)]
    pub returns: Option<PathBuf>,
    /// The key that mails are signed with.
    #[serde(default)]
    pub dkim: Option<DkimOptions>,
    /// What is otherwise for a brand, by its name.
    #[serde(default)]
    pub brands: BTreeMap<Brand, SenderOptions>,
}

/// What is otherwise for one brand (`[mail.brands.NAME]`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SenderOptions {
    /// The address that mails come from.
    #[serde(default)]
    pub from: Option<String>,
    /// The name that they come from.
    #[serde(default)]
    pub from_name: Option<String>,
    /// Where users sign in, as an `https` address.
    #[serde(default)]
    pub portal: Option<String>,
    /// The address that mails come back to.
    #[serde(default)]
    pub return_path: Option<String>,
    /// The key that mails are signed with.
    #[serde(default)]
    pub dkim: Option<DkimOptions>,
}

/// A key that mails are signed with (DKIM, RFC 6376 and RFC 8463).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DkimOptions {
    /// The domain that signs: that of the address that mails come from, or one above it.
    pub domain: String,
    /// The selector: the key is published at `SELECTOR._domainkey.DOMAIN`.
    pub selector: String,
    /// The file with the private key (PEM): RSA of at least 2048 bits, or Ed25519.
    pub key_file: PathBuf,
}

fn hello() -> String {
    "localhost".to_owned()
}

impl MailOptions {
    /// Checks that they go together.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.relays.is_empty() {
            return Err("[mail] needs at least one of [[mail.relays]]");
        }
        for relay in &self.relays {
            relay.check()?;
        }
        if !is_name(&self.hello) {
            return Err("[mail] hello must be a host's name or an address");
        }
        let brands = || self.brands.values();
        let mut addresses = brands().flat_map(|brand| [&brand.from, &brand.return_path]).chain([&self.return_path]);
        if !is_address(&self.from) || !addresses.all(|address| address.as_deref().is_none_or(is_address)) {
            return Err("[mail] from and return_path must be mail addresses without a name");
        }
        let mut portals = brands().map(|brand| &brand.portal).chain([&self.portal]);
        if !portals.all(|portal| portal.as_deref().is_none_or(is_web)) || !is_web(&self.public_url) {
            return Err("[mail] portal and public_url must be https addresses (http on this machine only)");
        }
        let mut keys = brands().map(|brand| &brand.dkim).chain([&self.dkim]).flatten();
        if !keys.all(|key| is_name(&key.domain) && is_name(&key.selector)) {
            return Err("[mail.dkim] domain and selector must be names of the DNS");
        }
        let all = brands()
            .map(|brand| (brand.from.as_ref().unwrap_or(&self.from), brand.dkim.as_ref().or(self.dkim.as_ref())));
        let own = (&self.from, self.dkim.as_ref());
        if all.chain([own]).any(|(from, key)| key.is_some_and(|key| !is_of(from, &key.domain))) {
            return Err("[mail.dkim] domain must be that of the address that mails come from, or one above it");
        }
        Ok(())
    }
}

/// Letters, digits, dots and hyphens; an address of the network with colons.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 253 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:_".contains(&b))
}

fn is_address(text: &str) -> bool {
    text.is_ascii() && text.parse::<lettre::Address>().is_ok()
}

/// Whether a link may lead there.
fn is_web(text: &str) -> bool {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", ""));
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    let plain = text.len() <= 300 && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"'`\\?#".contains(&b));
    let here = matches!(host, "localhost" | "127.0.0.1");
    plain && !host.is_empty() && (scheme == "https" || (scheme == "http" && here))
}

/// Whether an address is of a domain, or of one below it.
fn is_of(address: &str, domain: &str) -> bool {
    let of = address.rsplit_once('@').map_or("", |(_, of)| of).to_ascii_lowercase();
    let domain = domain.to_ascii_lowercase();
    of == domain || of.strip_suffix(&domain).is_some_and(|above| above.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        from = "notices@mail.meridian.example"
        public_url = "https://letters.meridian.example"
        relays = [{ host = "relay.example" }]
        dkim = { domain = "meridian.example", selector = "lc1", key_file = "/etc/key.pem" }
        [brands.aldercrest]
        from = "notices@aldercrest.example"
        dkim = { domain = "aldercrest.example", selector = "lc1", key_file = "/etc/key.pem" }
    "#;

    #[test]
    fn what_would_break_every_mail_is_refused_at_the_start() {
        assert_eq!(toml::from_str::<MailOptions>(WHOLE).unwrap().check(), Ok(()));
        for (from, to, told) in [
            ("notices@mail.meridian.example", "Meridian <notices@meridian.example>", "without a name"),
            ("notices@mail.meridian.example", "notices@othermeridian.example", "one above it"),
            ("from = \"notices@aldercrest.example\"", "", "one above it"),
            ("https://letters", "http://letters", "https"),
            ("https://letters", "https://a\\r\\nX: b", "https"),
            ("[{ host = \"relay.example\" }]", "[]", "at least one"),
            (
                "[{ host = \"relay.example\" }]",
                "[{ host = \"relay.example\", security = \"plain\" }]",
                "insecure_plain",
            ),
            (
                "selector = \"lc1\", key_file = \"/etc/key.pem\" }\n        [",
                "selector = \"l c\", key_file = \"/k\" }\n        [",
                "DNS",
            ),
        ] {
            assert_eq!(WHOLE.matches(from).count(), 1, "{from}");
            let options = toml::from_str::<MailOptions>(&WHOLE.replace(from, to)).unwrap();
            assert!(options.check().is_err_and(|why| why.contains(told)), "{to}: {:?}", options.check());
        }
    }
}
