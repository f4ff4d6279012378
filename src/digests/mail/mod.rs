//! One mail, from what it tells to its bytes. Pure: the same content at the same time makes the same bytes.
//!
//! A mail says that something of a kind has arrived, for which practices (the last four digits of their TINs), how many
//! letters, and where to sign in (COR-32). What it may say is what [`MailContent`] can hold: there is no room in it for
//! a patient, a claim or a whole TIN.

pub mod dkim;
mod templates;
pub mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lettre::message::header::{ContentTransferEncoding, ContentType, Date, HeaderName, HeaderValue, MessageId};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};
use serde::Serialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

pub use dkim::DkimError;
pub use templates::TemplatesError;

use crate::digests::mail::dkim::Signer;
use crate::digests::mail::templates::Templates;
use crate::digests::mail::token::{Purpose, TokenKey};
use crate::engine::sequencer::AuditKey;
use crate::letters::Renderer;
use crate::letters::brand::BrandText;
use crate::model::digest::DigestKind;
use crate::model::ids::{Brand, MailId, Tin};
use crate::model::phi::Phi;
use crate::outside::context::Context;
use crate::outside::mailer::{MailOptions, RelayPolicy, Relays, RelaysError};

/// Where links to unsubscribe lead below the public address; the token follows.
pub const UNSUBSCRIBE_PATH: &str = "/v1/unsubscribe/";

/// Characters of a name of whom a mail goes to.
const NAME: usize = 100;

/// What mails are made and sent with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Makes them.
    pub composer: Arc<Composer>,
    /// Take them.
    pub relays: Relays,
    /// Where those that come back are laid.
    pub returns: Option<Arc<PathBuf>>,
}

impl Mail {
    /// Reads what the settings name. No relay is spoken to before there is a mail.
    ///
    /// # Errors
    /// When something is missing or wrong.
    pub fn open(
        options: &MailOptions,
        policy: RelayPolicy,
        composer: Composer,
        ctx: &Context,
    ) -> Result<Self, RelaysError> {
        Ok(Self {
            composer: Arc::new(composer),
            relays: Relays::new(&options.relays, &options.hello, policy, ctx)?,
            returns: options.returns.clone().map(Arc::new),
        })
    }
}

/// Why mails can't be made at all.
#[derive(Debug, Error)]
pub enum ComposerError {
    /// The templates can't be used.
    #[error(transparent)]
    Templates(#[from] TemplatesError),
    /// A key for signing can't be used.
    #[error(transparent)]
    Dkim(#[from] DkimError),
    /// A brand that is served has no texts and colours.
    #[error("brand {0} has no brands/{0}/brand.toml among the templates, which its mails take name and colours from")]
    Brand(Brand),
    /// An address that mails come from is none.
    #[error("[mail] from of brand {0} is no mail address")]
    From(Brand),
}

/// Why a mail could not be made. Nothing of it is in here.
#[derive(Debug, Error)]
pub enum ComposeError {
    /// The brand is none of those that are served.
    #[error("mails of brand {0} can't be made: it is not served")]
    Brand(Brand),
    /// The address it goes to is none that relays take.
    #[error("the address of a mail is none")]
    Address,
    /// The template fails.
    #[error("the template of mails fails at {0}")]
    Template(String),
    /// A header can't be made.
    #[error("a mail could not be put together")]
    Message,
    /// It could not be signed.
    #[error(transparent)]
    Dkim(#[from] DkimError),
}

/// A practice in a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MailItem {
    /// The last four digits of its TIN. They are what the IRS itself shows of a taxpayer's number where it truncates it
    /// (26 CFR 301.6109-4), and tell a reader with several practices which one is meant.
    ending: String,
    /// How many letters.
    letters: u64,
}

impl MailItem {
    /// What a mail may tell of a practice.
    pub fn new(tin: &Tin, letters: u64) -> Self {
        // nine digits, as the type holds them
        Self { ending: tin.as_str().get(5..).unwrap_or_default().to_owned(), letters }
    }
}

/// What a mail tells.
#[derive(Debug, Clone)]
pub struct MailContent {
    /// The mail.
    pub id: MailId,
    /// Whose it is.
    pub brand: Brand,
    /// What it is about.
    pub kind: DigestKind,
    /// The address it goes to.
    pub to: Phi<String>,
    /// The name of who has it.
    pub to_name: Phi<String>,
    /// Practices that are named.
    pub items: Vec<MailItem>,
    /// How many more there are.
    pub more_practices: u64,
    /// Letters of all of them.
    pub letters: u64,
    /// When it is made.
    pub at: Timestamp,
    /// The zone by which its text tells the day.
    pub zone: TimeZone,
    /// Whether it is a test: it says so, and its tokens lead to nothing.
    pub test: bool,
}

impl MailContent {
    /// A test mail to oneself, with made content.
    pub fn test(
        id: MailId,
        brand: Brand,
        kind: DigestKind,
        to: Phi<String>,
        to_name: Phi<String>,
        at: Timestamp,
        zone: TimeZone,
    ) -> Self {
        let item = |ending: &str, letters| MailItem { ending: ending.to_owned(), letters };
        let items = vec![item("0001", 3), item("0002", 1)];
        Self { id, brand, kind, to, to_name, items, more_practices: 0, letters: 4, at, zone, test: true }
    }
}

/// A message, ready to be handed over.
#[derive(Clone)]
pub struct Composed {
    /// Its Message-ID, without the angle brackets: the same for the same mail.
    pub message_id: String,
    /// The address that it comes back to (MAIL FROM).
    pub from: String,
    /// The address that it goes to (RCPT TO).
    pub to: Phi<String>,
    /// The message. Lines end in CR LF, all of it is ASCII.
    pub bytes: Vec<u8>,
    /// The version of its templates and of the brand.
    pub template_version: String,
    /// Its subject.
    pub subject: String,
}

impl fmt::Debug for Composed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Composed({} bytes)", self.bytes.len())
    }
}

/// Whose mails they are: a brand and its settings.
struct Sender {
    from: Mailbox,
    return_path: String,
    portal: String,
    text: BrandText,
    version: String,
    signer: Option<Arc<Signer>>,
}

/// Bytes of a line of a message, without its end (RFC 5322, 2.1.1).
const LINE: usize = 998;

/// A text, whose lines end in CR LF, as it goes: as it is where a message may hold it so. lettre does that for lines of up
/// to 76 characters only, and quotes the others.
fn body(text: String) -> Body {
    let goes = |line: &str| line.len() <= LINE && !line.contains(['\r', '\n', '\0']);
    if text.is_ascii() && text.split("\r\n").all(goes) {
        Body::dangerous_pre_encoded(text.into_bytes(), ContentTransferEncoding::SevenBit)
    } else {
        Body::new(text)
    }
}

/// What mails are made with: templates, brands, keys. Read once.
pub struct Composer {
    templates: Templates,
    senders: BTreeMap<Brand, Sender>,
    unsubscribe: TokenKey,
    message: TokenKey,
    test: TokenKey,
    public_url: String,
}

impl fmt::Debug for Composer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Composer({} brands)", self.senders.len())
    }
}

impl Composer {
    /// Reads all that mails of these brands are made with. `config` is the directory of the operator's own policy and
    /// templates; `renderer` knows the brands.
    ///
    /// # Errors
    /// When something is missing or wrong.
    pub fn open(
        options: &MailOptions,
        brands: &[Brand],
        renderer: &Renderer,
        config: Option<&Path>,
        key: &AuditKey,
    ) -> Result<Self, ComposerError> {
        let templates = Templates::open(config)?;
        let mut senders = BTreeMap::new();
        for brand in brands {
            let known = renderer.brand(brand.as_str()).ok_or_else(|| ComposerError::Brand(brand.clone()))?;
            let own = options.brands.get(brand).cloned().unwrap_or_default();
            let from = own.from.as_ref().unwrap_or(&options.from);
            let name = own.from_name.as_ref().or(options.from_name.as_ref()).unwrap_or(&known.text.name);
            let address: Address = from.parse().map_err(|_| ComposerError::From(brand.clone()))?;
            let portal = own.portal.as_ref().or(options.portal.as_ref());
            let portal = portal.cloned().unwrap_or_else(|| format!("https://{}", known.text.portal));
            let return_path = own.return_path.as_ref().or(options.return_path.as_ref()).unwrap_or(from);
            templates.try_all(brand, &known.text, &portal)?;
            let signer = own.dkim.as_ref().or(options.dkim.as_ref()).map(Signer::open).transpose()?;
            let sender = Sender {
                from: Mailbox::new(Some(one_line(name)), address),
                return_path: return_path.clone(),
                portal,
                text: known.text.clone(),
                version: known.version.clone(),
                signer: signer.map(Arc::new),
            };
            senders.insert(brand.clone(), sender);
        }
        Ok(Self {
            templates,
            senders,
            unsubscribe: TokenKey::new(key, Purpose::Unsubscribe),
            message: TokenKey::new(key, Purpose::Message),
            test: TokenKey::new(key, Purpose::Test),
            public_url: options.public_url.trim_end_matches('/').to_owned(),
        })
    }

    /// The address to which mails of this brand come back.
    pub fn return_path(&self, brand: &Brand) -> Option<&str> {
        self.sender(brand).map(|sender| sender.return_path.as_str())
    }

    /// The version of what a mail of this brand would be made with now.
    pub fn template_version(&self, brand: &Brand) -> Option<String> {
        self.sender(brand).map(|sender| format!("{}-{}", self.templates.version(), sender.version))
    }

    /// A brand's sender; its twin for trials (INT-35) has the same.
    fn sender(&self, brand: &Brand) -> Option<&Sender> {
        let name = brand.as_str();
        self.senders.get(brand).or_else(|| {
            let real: Brand = name.strip_suffix(".test")?.parse().ok()?;
            self.senders.get(&real)
        })
    }

    /// Makes the message.
    ///
    /// # Errors
    /// When the address is none, or the template fails.
    pub fn compose(&self, content: &MailContent) -> Result<Composed, ComposeError> {
        let sender = self.sender(&content.brand).ok_or_else(|| ComposeError::Brand(content.brand.clone()))?;
        let to: Address = match content.to.reveal().is_ascii() {
            true => content.to.reveal().parse().map_err(|_| ComposeError::Address)?,
            false => return Err(ComposeError::Address),
        };
        let keys = if content.test { [&self.test; 2] } else { [&self.unsubscribe, &self.message] };
        // one address can be told from another by it where mails come back, and nothing else
        let [unsubscribe, token] = [keys[0].token(&content.id, ""), keys[1].token(&content.id, content.to.reveal())];
        let unsubscribe = format!("{}{UNSUBSCRIBE_PATH}{unsubscribe}", self.public_url);
        let message_id = format!("{token}@{}", sender.from.email.domain());
        let texts = self.templates.render(&templates::Shown {
            brand: &sender.text,
            kind: content.kind,
            action: content.kind.needs_answer(),
            items: &content.items,
            more_practices: content.more_practices,
            practices: content.more_practices + content.items.len() as u64,
            letters: content.letters,
            date: content.at.to_zoned(content.zone.clone()).strftime("%B %-d, %Y").to_string(),
            portal: &sender.portal,
            unsubscribe: &unsubscribe,
            test: content.test,
        })?;
        let date = SystemTime::from(content.at);
        let name = Some(one_line(content.to_name.reveal())).filter(|name| !name.is_empty());
        let plain = |name, value: String| HeaderValue::dangerous_new_pre_encoded(name, value.clone(), value);
        let part = |of: ContentType, text: String| SinglePart::builder().header(of).body(body(text));
        let message = Message::builder()
            .from(sender.from.clone())
            .to(Mailbox::new(name, to))
            .subject(texts.subject.clone())
            .header(Date::new(date))
            .header(MessageId::from(format!("<{message_id}>")))
            // one word each, which must stay one
            .raw_header(plain(LIST_UNSUBSCRIBE, format!("<{unsubscribe}>")))
            .raw_header(plain(LIST_UNSUBSCRIBE_POST, "List-Unsubscribe=One-Click".to_owned()))
            .raw_header(plain(AUTO_SUBMITTED, "auto-generated".to_owned()))
            .multipart(
                MultiPart::alternative()
                    .boundary(boundary(&message_id))
                    .singlepart(part(ContentType::TEXT_PLAIN, texts.text))
                    .singlepart(part(ContentType::TEXT_HTML, texts.html)),
            )
            .map_err(|_| ComposeError::Message)?;
        let mut bytes = message.formatted();
        if let Some(signer) = &sender.signer {
            let mut signed = signer.sign(&bytes, content.at)?.into_bytes();
            signed.append(&mut bytes);
            bytes = signed;
        }
        if !bytes.is_ascii() {
            return Err(ComposeError::Message);
        }
        Ok(Composed {
            message_id,
            from: sender.return_path.clone(),
            to: content.to.clone(),
            bytes,
            template_version: format!("{}-{}", self.templates.version(), sender.version),
            subject: texts.subject,
        })
    }

    /// The mail that a Message-ID is of, with or without its angle brackets, whatever its domain.
    pub fn returned(&self, message_id: &str) -> Option<MailId> {
        self.message.read(local_part(message_id))
    }

    /// Whether the mail that a Message-ID is of went to this address.
    pub fn went_to(&self, message_id: &str, address: &str) -> bool {
        self.message.read_for(local_part(message_id), address).is_some_and(|(_, went)| went)
    }

    /// The mail that a link to unsubscribe is of.
    pub fn unsubscribed(&self, token: &str) -> Option<MailId> {
        self.unsubscribe.read(token)
    }
}

const LIST_UNSUBSCRIBE: HeaderName = HeaderName::new_from_ascii_str("List-Unsubscribe");
const LIST_UNSUBSCRIBE_POST: HeaderName = HeaderName::new_from_ascii_str("List-Unsubscribe-Post");
const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");

fn local_part(message_id: &str) -> &str {
    message_id.trim().trim_start_matches('<').split('@').next().unwrap_or_default()
}

/// What parts are told apart by. lettre would draw it by chance.
fn boundary(message_id: &str) -> String {
    hex::encode(&Sha256::digest(message_id)[..16])
}

/// A name without what steers, of bounded length.
fn one_line(name: &str) -> String {
    let words: Vec<&str> =
        name.split(|c: char| c.is_control() || c.is_whitespace()).filter(|w| !w.is_empty()).collect();
    words.join(" ").chars().take(NAME).collect()
}
