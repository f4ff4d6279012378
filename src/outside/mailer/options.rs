//! Which relays, and how to reach them: the `mail.relays` part of the deployment settings.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::outside::objects::Secret;

/// A relay: a mail server that takes our messages and sees to them (`[[mail.relays]]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayOptions {
    /// Its name or address. Its certificate must be for this name.
    pub host: String,
    /// Its port. Without it 587 for `starttls`, 465 for `tls`, 25 for `plain`.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the line is kept from others: `starttls`, `tls` from the first byte, or `plain`.
    #[serde(default)]
    pub security: Security,
    /// Whether `plain` may go to another machine. What the mails hold can then be read on their way.
    #[serde(default)]
    pub insecure_plain: bool,
    /// A file with certificates (PEM) that are trusted beside the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Who we are to it, where it wants a login. Never said over a plain line to another machine.
    #[serde(default)]
    pub login: Option<String>,
    /// The login's password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file with the login's password, instead of `password`.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Connections that a node has open to it at a time, 1 to 500.
    #[serde(default = "connections")]
    pub connections: u16,
    /// Messages that a node hands to it in a second. Without it, as many as it takes.
    #[serde(default)]
    pub per_second: Option<u32>,
}

/// How a line is kept from others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// It begins in clear and must change to TLS before anything is said; else nothing is sent.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// In clear.
    Plain,
}

fn connections() -> u16 {
    8
}

impl RelayOptions {
    /// A relay at this address, over a plain line: for what runs on this machine.
    pub fn plain(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port: Some(port),
            security: Security::Plain,
            insecure_plain: false,
            ca_file: None,
            login: None,
            password: None,
            password_file: None,
            connections: connections(),
            per_second: None,
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.security {
            Security::Starttls => 587,
            Security::Tls => 465,
            Security::Plain => 25,
        })
    }

    /// Whether it is this machine.
    fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Checks that nothing goes over an open line unless that was asked for, and that figures make sense.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.host.is_empty() || self.host.len() > 253 || !self.host.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("[[mail.relays]] host must be a name or an address");
        }
        if self.security == Security::Plain && !self.is_here() && !self.insecure_plain {
            return Err(
                "[[mail.relays]] security = \"plain\" is for relays on this machine; another needs insecure_plain = true",
            );
        }
        if self.security == Security::Plain && self.login.is_some() && !self.is_here() {
            return Err("[[mail.relays]] a login is not said over a plain line: use starttls or tls");
        }
        if self.password.is_some() && self.password_file.is_some() {
            return Err("[[mail.relays]] give password or password_file, not both");
        }
        if self.login.is_some() != (self.password.is_some() || self.password_file.is_some()) {
            return Err("[[mail.relays]] login and password (or password_file) go together");
        }
        if !(1..=500).contains(&self.connections) || self.per_second == Some(0) {
            return Err("[[mail.relays]] connections must be 1 to 500, per_second at least 1");
        }
        Ok(())
    }
}

/// How relays are treated (`[relays]` in `pipelines/notifications.toml`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayPolicy {
    /// Seconds for a connection to stand, TLS and login included.
    pub connect_s: u32,
    /// Seconds for the answer to a command.
    pub reply_s: u32,
    /// Seconds for a message to be taken over once its text is sent. Must end before the lease of who sends it.
    pub accept_s: u32,
    /// Messages over one connection, before it is replaced.
    pub messages_per_connection: u32,
    /// Seconds for which a connection is kept that nobody uses.
    pub idle_s: u32,
    /// Failures to reach a relay, one after the other, after which it rests.
    pub breaker_failures: u32,
    /// Seconds for which it rests.
    pub breaker_rest_s: u32,
}

impl RelayPolicy {
    /// Whether its figures make sense.
    pub fn is_sound(&self) -> bool {
        let times = [self.connect_s, self.reply_s, self.accept_s, self.idle_s];
        times.iter().all(|seconds| (1..=600).contains(seconds))
            && self.messages_per_connection > 0
            && self.breaker_failures > 0
            && (1..=86_400).contains(&self.breaker_rest_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_over_an_open_line_unless_that_is_asked_for() {
        for (text, told) in [
            ("host = 'relay.example'", ""),
            ("host = 'relay.example'\nsecurity = 'plain'", "insecure_plain"),
            ("host = 'relay.example'\nsecurity = 'plain'\ninsecure_plain = true", ""),
            ("host = '127.0.0.1'\nsecurity = 'plain'", ""),
            ("host = '::1'\nsecurity = 'plain'\nlogin = 'a'\npassword = 'b'", ""),
            ("host = 'localhost.evil'\nsecurity = 'plain'", "insecure_plain"),
            ("host = 'r'\nsecurity = 'plain'\ninsecure_plain = true\nlogin = 'a'\npassword = 'b'", "plain line"),
            ("host = 'r'\nlogin = 'a'", "go together"),
            ("host = 'r'\npassword = 'a'", "go together"),
            ("host = 'r'\nlogin = 'a'\npassword = 'b'\npassword_file = '/c'", "not both"),
            ("host = ''", "host"),
            ("host = 'a b'", "host"),
            ("host = 'r'\nconnections = 0", "connections"),
            ("host = 'r'\nper_second = 0", "per_second"),
        ] {
            let checked = toml::from_str::<RelayOptions>(text).unwrap().check();
            match checked {
                Ok(()) => assert_eq!(told, "", "{text}"),
                Err(why) => assert!(!told.is_empty() && why.contains(told), "{text}: {why}"),
            }
        }
        assert!(toml::from_str::<RelayOptions>("host = 'r'\nsecurity = 'none'").is_err());
        let hushed: RelayOptions = toml::from_str("host = 'r'\nlogin = 'a'\npassword = 'hush'").unwrap();
        assert!(!format!("{hushed:?}").contains("hush"));
        assert_eq!(hushed.port(), 587, "STARTTLS unless told otherwise");
    }
}
