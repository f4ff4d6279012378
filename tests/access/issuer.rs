//! An issuer of our own: discovery, a key set that rotates, tokens good and bad, and a plug to pull.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lettercase::access::Access;
use lettercase::access::policy::AccessPolicy;
use lettercase::outside::oidc::{IssuerOptions, Oidc, Signing};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};

use crate::support::World;

pub(crate) const AUDIENCE: &str = "lettercase";

/// A key pair under its name.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) id: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) private: EncodingKey,
    /// The public key as it is, without a wrapping.
    pub(crate) public: Vec<u8>,
}

impl Pair {
    pub(crate) fn new(id: &str, algorithm: Algorithm) -> Self {
        let kind = match algorithm {
            Algorithm::ES256 => &PKCS_ECDSA_P256_SHA256,
            Algorithm::EdDSA => &PKCS_ED25519,
            _ => &PKCS_RSA_SHA256,
        };
        let pair = KeyPair::generate_for(kind).unwrap();
        let der = pair.serialize_der();
        let private = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(&der),
            Algorithm::EdDSA => EncodingKey::from_ed_der(&der),
            // what is inside the PKCS #8 wrapping of a key of 2,048 bits
            _ => EncodingKey::from_rsa_der(&der[26..]),
        };
        Self { id: id.to_owned(), algorithm, private, public: pair.public_key_raw().to_vec() }
    }

    /// As it stands in the key set.
    fn public_jwk(&self) -> Value {
        if self.algorithm == Algorithm::EdDSA {
            let x = URL_SAFE_NO_PAD.encode(&self.public);
            return json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.id, "use": "sig", "x": x });
        }
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        serde_json::to_value(jwk).unwrap()
    }

    pub(crate) fn header(&self) -> Header {
        Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm) }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&self.header(), claims, &self.private).unwrap()
    }
}

#[derive(Default)]
struct Shown {
    /// Its address; the discovery document names it as the issuer.
    base: Mutex<String>,
    keys: Mutex<Vec<Value>>,
    down: AtomicBool,
    asked: AtomicUsize,
}

/// The issuer, as long as it lives.
pub(crate) struct TestIssuer {
    pub(crate) base: String,
    shown: Arc<Shown>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn key_set(State(shown): State<Arc<Shown>>) -> Result<Json<Value>, StatusCode> {
    shown.asked.fetch_add(1, Ordering::SeqCst);
    if shown.down.load(Ordering::SeqCst) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    Ok(Json(json!({ "keys": *shown.keys.lock().unwrap() })))
}

async fn discovery(State(shown): State<Arc<Shown>>) -> Json<Value> {
    let base = shown.base.lock().unwrap().clone();
    Json(json!({ "issuer": base, "jwks_uri": format!("{}/keys", base.replace("/liar", "")) }))
}

impl TestIssuer {
    pub(crate) async fn start() -> Self {
        let shown = Arc::new(Shown::default());
        let routes = Router::new()
            .route("/keys", get(key_set))
            .route("/.well-known/openid-configuration", get(discovery))
            .with_state(Arc::clone(&shown));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        *shown.base.lock().unwrap() = base.clone();
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { base, shown, task }
    }

    /// Shows these keys from now on, beside some that nobody can use.
    pub(crate) fn show(&self, pairs: &[&Pair]) {
        let mut keys: Vec<Value> = pairs.iter().map(|pair| pair.public_jwk()).collect();
        keys.push(json!({ "kty": "oct", "kid": "shared", "k": "c2VjcmV0", "alg": "HS256" }));
        keys.push(json!({ "kty": "quantum", "kid": "odd", "q": 1 }));
        keys.push(json!("nonsense"));
        *self.shown.keys.lock().unwrap() = keys;
    }

    /// Has the discovery document name another issuer.
    pub(crate) fn lie(&self) {
        *self.shown.base.lock().unwrap() = format!("{}/liar", self.base);
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.shown.down.store(down, Ordering::SeqCst);
    }

    /// How often the key set was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.shown.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn options(&self) -> IssuerOptions {
        IssuerOptions {
            issuer: self.base.parse().unwrap(),
            audience: AUDIENCE.into(),
            jwks_url: None,
            algorithms: vec![Signing::Es256, Signing::Rs256, Signing::EdDsa],
            leeway_s: 30,
            subject_claim: "sub".into(),
        }
    }

    /// What a good token of a subject says.
    pub(crate) fn claims(&self, world: &World, subject: &str) -> Value {
        let now = world.app.intake.ctx.now().as_second();
        json!({ "iss": self.base, "aud": AUDIENCE, "sub": subject, "iat": now, "nbf": now, "exp": now + 300 })
    }
}

/// Access that believes these issuers.
pub(crate) fn access_with(world: &World, issuers: Vec<IssuerOptions>) -> Access {
    let policy = AccessPolicy::load(None).unwrap().plan;
    for issuer in &issuers {
        issuer.check().unwrap();
    }
    let oidc = Oidc::new(issuers, policy.oidc.clone()).unwrap();
    Access::new(world.db().clone(), world.app.intake.ctx.clone(), Some(oidc), policy)
}
