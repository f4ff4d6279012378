//! Logins that others vouch for: bearer tokens of OpenID Connect issuers, checked against their key sets.
//!
//! A token is believed for its signature by a key of the issuer that the settings name, and for nothing else: a key
//! that a token brings along or points at is not looked at, and only signatures with key pairs count, so that a public
//! key can't pass for a shared secret. Whose keys can't be had is refused. Roles and rights are ours and never read
//! from a token.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::jwk::{Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation};
use reqwest::{Client, Url};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::codes;
use crate::model::ids::Issuer;
use crate::model::people::Login;

codes! {
    /// How a token may be signed. Signatures with a shared secret, and none at all, are not among them.
    pub enum Signing {
        /// RSA, PKCS #1, SHA-256.
        Rs256 = "RS256",
        /// RSA, PKCS #1, SHA-384.
        Rs384 = "RS384",
        /// RSA, PKCS #1, SHA-512.
        Rs512 = "RS512",
        /// RSA, PSS, SHA-256.
        Ps256 = "PS256",
        /// RSA, PSS, SHA-384.
        Ps384 = "PS384",
        /// RSA, PSS, SHA-512.
        Ps512 = "PS512",
        /// ECDSA, P-256.
        Es256 = "ES256",
        /// ECDSA, P-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
    }
}

/// An issuer (`[oidc]`, or `[[oidc]]` where there are several).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerOptions {
    /// Its name, as its tokens hold it in `iss`: an address.
    pub issuer: Issuer,
    /// What its tokens for us hold in `aud`.
    pub audience: String,
    /// Where its key set is; without it, its discovery document says so.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// How its tokens may be signed.
    #[serde(default = "signing")]
    pub algorithms: Vec<Signing>,
    /// Seconds by which its clock and ours may differ, at most 300.
    #[serde(default = "leeway_s")]
    pub leeway_s: u32,
    /// The claim that names the login. It must be one that is never given to another person.
    #[serde(default = "subject_claim")]
    pub subject_claim: String,
}

fn signing() -> Vec<Signing> {
    vec![Signing::Rs256, Signing::Es256]
}

const fn leeway_s() -> u32 {
    60
}

fn subject_claim() -> String {
    "sub".to_owned()
}

impl IssuerOptions {
    /// Checks that nothing secret or trusted goes over an open line, and that figures make sense.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        let addresses = [Some(self.issuer.as_str()), self.jwks_url.as_deref()];
        if addresses.into_iter().flatten().any(|address| trusted(address).is_none()) {
            return Err("[oidc] issuer and jwks_url must be https addresses (http on this machine only)");
        }
        if self.audience.is_empty() || self.subject_claim.is_empty() || self.algorithms.is_empty() {
            return Err("[oidc] audience, subject_claim and algorithms must not be empty");
        }
        if self.leeway_s > 300 {
            return Err("[oidc] leeway_s must be at most 300");
        }
        Ok(())
    }
}

/// The issuers of the settings: one table or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Issuers(pub Vec<IssuerOptions>);

impl<'de> Deserialize<'de> for Issuers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Issuers;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, or several")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Issuers, A::Error> {
                IssuerOptions::deserialize(MapAccessDeserializer::new(map)).map(|one| Issuers(vec![one]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Issuers, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Issuers)
            }
        }
        from.deserialize_any(OneOrMore)
    }
}

/// An address that may be asked for keys: over TLS, or on this machine.
fn trusted(address: &str) -> Option<Url> {
    let url = Url::parse(address).ok()?;
    let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    (url.scheme() == "https" || (url.scheme() == "http" && here)).then_some(url)
}

/// How key sets are kept (`[oidc]` in `pipelines/access.toml`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcPolicy {
    /// Seconds after which a key set is asked for again; until it comes, the old one counts.
    pub refresh_after_s: u32,
    /// Seconds after which a key set no longer counts, whether or not a new one can be had.
    pub expire_after_s: u32,
    /// Seconds between two questions to an issuer, however many tokens name keys that are not known.
    pub retry_after_s: u32,
    /// Seconds that an issuer has for an answer.
    pub timeout_s: u32,
    /// Bytes that a document of an issuer's may have.
    pub document_bytes: usize,
    /// Bytes that a token may have.
    pub token_bytes: usize,
}

/// Why a token is not believed. Nothing of the token is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OidcError {
    /// It is no token, or not one for us: the words are for the log.
    #[error("the token is not accepted: {0}")]
    Refused(&'static str),
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// The keys it could be checked with can't be had.
    #[error("the issuer's keys can't be had: {0}")]
    Unreachable(&'static str),
}

use OidcError::{Refused, Unreachable};

/// The issuers we believe. Cheap to clone; the clones share what was fetched.
#[derive(Clone)]
pub struct Oidc(Arc<Shared>);

struct Shared {
    client: Client,
    policy: OidcPolicy,
    issuers: Vec<Known>,
}

struct Known {
    options: IssuerOptions,
    kept: Mutex<Kept>,
    /// Held by whoever asks the issuer.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    keys: Option<Arc<Vec<Key>>>,
    fetched_at: Timestamp,
    tried_at: Option<Timestamp>,
    failed: Option<&'static str>,
}

struct Key {
    id: String,
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.issuers.iter().map(|known| known.options.issuer.as_str())).finish()
    }
}

impl Oidc {
    /// The issuers of the settings. Nobody is asked before a token comes.
    ///
    /// # Errors
    /// When there can be no client for them.
    pub fn new(issuers: Vec<IssuerOptions>, policy: OidcPolicy) -> Result<Self, OidcError> {
        let client = Client::builder()
            .timeout(Duration::from_secs(policy.timeout_s.into()))
            // An issuer that sends elsewhere is one that was not meant.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|_| Unreachable("no client can be made"))?;
        let known = |options| Known { options, kept: Mutex::default(), asking: tokio::sync::Mutex::default() };
        Ok(Self(Arc::new(Shared { client, policy, issuers: issuers.into_iter().map(known).collect() })))
    }

    /// The login that a token vouches for at this instant.
    ///
    /// # Errors
    /// See [`OidcError`].
    pub async fn verify(&self, now: Timestamp, token: &str) -> Result<Login, OidcError> {
        if token.len() > self.0.policy.token_bytes {
            return Err(Refused("it is too long"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refused("its head can't be read"))?;
        if header.crit.is_some() {
            return Err(Refused("its head holds what must be understood and is not"));
        }
        let kid = header.kid.as_deref().ok_or(Refused("it does not name its key"))?;
        // Unchecked until the signature is; it only says with whose keys that is tried.
        let unchecked: Map<String, Value> =
            jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| Refused("its claims can't be read"))?;
        let issuer = unchecked.get("iss").and_then(Value::as_str).ok_or(Refused("it does not name its issuer"))?;
        let known = self.0.issuers.iter().find(|known| known.options.issuer.as_str() == issuer);
        let known = known.ok_or(Refused("its issuer is not one of ours"))?;
        if !known.options.algorithms.iter().any(|allowed| allowed.algorithm() == header.alg) {
            return Err(Refused("it is signed in a way that is not allowed"));
        }
        let keys = self.keys(known, now, kid).await?;
        let fits = |key: &&Key| {
            key.id == kid
                && key.key.family() == header.alg.family()
                && key.algorithm.is_none_or(|only| only == header.alg)
        };
        let key = keys.iter().find(fits).ok_or(Refused("its key is not for such signatures"))?;
        let mut validation = Validation::new(header.alg);
        validation.set_required_spec_claims(&["iss", "aud", "exp"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[&known.options.audience]);
        // by our clock, below
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation)
            .map_err(|_| Refused("its signature, issuer or audience is wrong"))?
            .claims;
        let (second, leeway) = (now.as_second(), i64::from(known.options.leeway_s));
        let ends = claims.get("exp").and_then(seconds).ok_or(Refused("its end can't be read"))?;
        if second >= ends.saturating_add(leeway) {
            return Err(OidcError::Expired);
        }
        let begins = claims.get("nbf").map(|nbf| seconds(nbf).ok_or(Refused("its begin can't be read"))).transpose()?;
        if begins.is_some_and(|begins| begins > second.saturating_add(leeway)) {
            return Err(Refused("it is not valid yet"));
        }
        let subject = claims.get(&known.options.subject_claim).and_then(Value::as_str);
        let subject = subject.and_then(|subject| subject.parse().ok()).ok_or(Refused("it names no login"))?;
        Ok(Login { issuer: known.options.issuer.clone(), subject })
    }

    /// Keys of an issuer, that of this name among them.
    async fn keys(&self, known: &Known, now: Timestamp, kid: &str) -> Result<Arc<Vec<Key>>, OidcError> {
        let has = |keys: &Arc<Vec<Key>>| keys.iter().any(|key| key.id == kid);
        let (keys, fresh) = self.kept(known, now);
        if let Some(keys) = keys.filter(&has) {
            if fresh {
                return Ok(keys);
            }
            // One asks, the others go on with what there is.
            if let Ok(_asking) = known.asking.try_lock() {
                self.ask(known, now).await;
            }
        } else {
            let _asking = known.asking.lock().await;
            // Whoever asked before may have brought it.
            if !self.kept(known, now).0.is_some_and(|keys| has(&keys)) {
                self.ask(known, now).await;
            }
        }
        if let Some(keys) = self.kept(known, now).0.filter(&has) {
            return Ok(keys);
        }
        match lock(&known.kept).failed {
            Some(why) => Err(Unreachable(why)),
            None => Err(Refused("its key is not one of its issuer's")),
        }
    }

    /// What is kept of an issuer's keys as long as it counts, and whether it is fresh.
    fn kept(&self, known: &Known, now: Timestamp) -> (Option<Arc<Vec<Key>>>, bool) {
        let kept = lock(&known.kept);
        let age = now.duration_since(kept.fetched_at).as_secs();
        let counts = age < i64::from(self.0.policy.expire_after_s);
        (kept.keys.clone().filter(|_| counts), age < i64::from(self.0.policy.refresh_after_s))
    }

    /// Asks an issuer for its keys, unless that was tried a moment ago.
    async fn ask(&self, known: &Known, now: Timestamp) {
        {
            let mut kept = lock(&known.kept);
            let pause = i64::from(self.0.policy.retry_after_s);
            if kept.tried_at.is_some_and(|tried| now.duration_since(tried).as_secs() < pause) {
                return;
            }
            kept.tried_at = Some(now);
        }
        let fetched = self.fetch(&known.options).await;
        let mut kept = lock(&known.kept);
        match fetched {
            Ok(keys) => {
                (kept.keys, kept.fetched_at, kept.failed) = (Some(Arc::new(keys)), now, None);
            }
            Err(why) => {
                tracing::warn!(issuer = known.options.issuer.as_str(), why, "an issuer's keys can't be had");
                kept.failed = Some(why);
            }
        }
    }

    async fn fetch(&self, options: &IssuerOptions) -> Result<Vec<Key>, &'static str> {
        let address = match &options.jwks_url {
            Some(address) => address.clone(),
            None => {
                let issuer = options.issuer.as_str();
                let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
                let document: Discovery = self.document(&place).await?;
                if document.issuer != issuer {
                    return Err("its discovery document is another issuer's");
                }
                document.jwks_uri
            }
        };
        let set: KeySet = self.document(&address).await?;
        Ok(set.keys.into_iter().filter_map(Key::read).collect())
    }

    /// A JSON document of bounded size.
    async fn document<T: for<'de> Deserialize<'de>>(&self, address: &str) -> Result<T, &'static str> {
        let address = trusted(address).ok_or("an address of its is neither https nor on this machine")?;
        let answer = self.0.client.get(address).send().await.map_err(|_| "it does not answer")?;
        if !answer.status().is_success() {
            return Err("it answers with an error");
        }
        let (mut answer, mut bytes) = (answer, Vec::new());
        while let Some(chunk) = answer.chunk().await.map_err(|_| "its answer broke off")? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > self.0.policy.document_bytes {
                return Err("its answer is too long");
            }
        }
        serde_json::from_slice(&bytes).map_err(|_| "its answer can't be read")
    }
}

fn lock(kept: &Mutex<Kept>) -> std::sync::MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A NumericDate (RFC 7519, section 2), which may have a fraction.
fn seconds(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "what is too large becomes the largest")]
    let whole = |number: f64| number.is_finite().then_some(number as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(whole))
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    // each is read by itself: one of an unknown kind must not cost the others
    keys: Vec<Value>,
}

impl Key {
    /// A key that signatures can be checked with; others in the set are passed over.
    fn read(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let to_verify = match (&jwk.common.public_key_use, &jwk.common.key_operations) {
            (Some(purpose), _) => *purpose == PublicKeyUse::Signature,
            (None, Some(operations)) => operations.contains(&KeyOperations::Verify),
            (None, None) => true,
        };
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        if !to_verify || key.family() == AlgorithmFamily::Hmac {
            return None;
        }
        let algorithm = match jwk.common.key_algorithm {
            None => None,
            Some(only) => Some(Algorithm::try_from(only).ok()?),
        };
        Some(Self { id: jwk.common.key_id?, algorithm, key })
    }
}

impl Signing {
    const fn algorithm(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Rs384 => Algorithm::RS384,
            Self::Rs512 => Algorithm::RS512,
            Self::Ps256 => Algorithm::PS256,
            Self::Ps384 => Algorithm::PS384,
            Self::Ps512 => Algorithm::PS512,
            Self::Es256 => Algorithm::ES256,
            Self::Es384 => Algorithm::ES384,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}
