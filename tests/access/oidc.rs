//! Logins that an issuer vouches for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lettercase::access::policy::AccessPolicy;
use lettercase::model::access::Principal;
use lettercase::outside::oidc::{IssuerOptions, Signing};
use serde_json::{Value, json};

use super::issuer::{Pair, TestIssuer, access_with};
use super::*;
use crate::on_both;

async fn user_of(world: &World, issuer: &str, subject: &str) -> User {
    let login = login(issuer, subject);
    access(world).put_user(MACHINE, &login, person(subject), Expected::Any).await.unwrap().0
}

fn seconds(n: u32) -> Duration {
    Duration::from_secs(n.into())
}

on_both! {
    async fn int_33_a_person_comes_in_with_a_token_of_a_known_issuer(world: &World) {
        practices(world).await;
        let (issuer, second) = (TestIssuer::start().await, TestIssuer::start().await);
        let pairs = [("e", Algorithm::ES256), ("r", Algorithm::RS256), ("d", Algorithm::EdDSA)].map(|(id, a)| Pair::new(id, a));
        issuer.show(&pairs.iter().collect::<Vec<_>>());
        let other = Pair::new("e", Algorithm::ES256);
        second.show(&[&other]);
        let by_address = IssuerOptions { jwks_url: Some(format!("{}/keys", second.base)), subject_claim: "oid".into(), ..second.options() };
        let access = access_with(world, vec![issuer.options(), by_address]);
        let ada = user_of(world, &issuer.base, "ada").await;
        grant(world, &ada, 1, rights(&[Entitlement::ClaimSearch], false)).await;
        for pair in &pairs {
            let caller = access.authenticate(&pair.sign(&issuer.claims(world, "ada")), None).await.unwrap();
            assert_eq!(caller.actor(), format!("user:{}", ada.id));
            let Principal::User { rights: found, .. } = caller.principal else { panic!("no user") };
            assert_eq!(found.len(), 1);
        }
        assert_eq!(issuer.asked(), 1, "the key set is kept");

        // Another issuer's subject of the same name is another login; a claim of the settings' choice names it.
        let mut claims = second.claims(world, "ada");
        claims["oid"] = json!("4711");
        assert!(matches!(access.authenticate(&other.sign(&claims), None).await, Err(AuthError::NoUser)));
        let boss = user_of(world, &second.base, "4711").await;
        claims["roles"] = json!(["administrator"]);
        access.set_roles(MACHINE, &boss.id, [Role::Reviewer].into(), Expected::Any).await.unwrap();
        let caller = access.authenticate(&other.sign(&claims), None).await.unwrap();
        assert_eq!(caller.actor(), format!("staff:{}", boss.id));
        let expected = Principal::Staff { user: boss.id.clone(), roles: [Role::Reviewer].into() };
        assert_eq!(caller.principal, expected, "OPS-17: roles are ours, not the token's");

        let token = pairs[0].sign(&issuer.claims(world, "ada"));
        let refused = access.authenticate(&token, Some(boss.id.as_str())).await;
        assert!(matches!(refused, Err(AuthError::NotActAs)), "a person speaks for themselves: {refused:?}");
        access.set_disabled(MACHINE, &ada.id, true, Expected::Any).await.unwrap();
        assert!(matches!(access.authenticate(&token, None).await, Err(AuthError::Disabled)));
        let nobody = pairs[0].sign(&issuer.claims(world, "nobody"));
        assert!(matches!(access.authenticate(&nobody, None).await, Err(AuthError::NoUser)), "nobody is made from a token");
        let without = crate::access::access(world).authenticate(&token, None).await;
        assert!(matches!(without, Err(AuthError::Unknown)), "without an issuer in the settings there are keys only");
    }
}

/// A token put together by hand.
fn raw(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!("{}.{}.{}", part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()), part(signature))
}

on_both! {
    async fn int_33_a_token_that_is_not_for_us_now_and_signed_as_it_must_be_is_refused(world: &World) {
        let issuer = TestIssuer::start().await;
        let pair = Pair::new("e", Algorithm::ES256);
        let rsa = Pair::new("r", Algorithm::RS256);
        issuer.show(&[&pair, &rsa]);
        let access = access_with(world, vec![issuer.options()]);
        user_of(world, &issuer.base, "ada").await;
        let good = issuer.claims(world, "ada");
        let now = world.app.intake.ctx.now().as_second();
        let with = |field: &str, value: Value| {
            let mut claims = good.clone();
            claims[field] = value;
            claims
        };
        let without = |field: &str| {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().remove(field);
            claims
        };
        let mut letters = Vec::new();
        for (what, claims, answer) in [
            ("as it is", good.clone(), "good"),
            ("for several", with("aud", json!(["other", "lettercase"])), "good"),
            ("for another", with("aud", json!("other")), "unknown"),
            ("for others", with("aud", json!(["other", "another"])), "unknown"),
            ("for nobody", without("aud"), "unknown"),
            ("for what is no name", with("aud", json!(5)), "unknown"),
            ("of another issuer", with("iss", json!("https://elsewhere.example")), "unknown"),
            ("of nobody", without("iss"), "unknown"),
            ("of several", with("iss", json!([issuer.base, "x"])), "unknown"),
            ("without a subject", without("sub"), "unknown"),
            ("with a number for a subject", with("sub", json!(7)), "unknown"),
            ("without an end", without("exp"), "unknown"),
            ("with words for an end", with("exp", json!("tomorrow")), "unknown"),
            ("with an end below zero", with("exp", json!(-5)), "unknown"),
            ("just over, within the leeway", with("exp", json!(now - 29)), "good"),
            ("over", with("exp", json!(now - 30)), "expired"),
            ("with a fraction", with("exp", json!(f64::from(u32::try_from(now).unwrap()) + 0.5)), "good"),
            ("not yet begun", with("nbf", json!(now + 31)), "unknown"),
            ("about to begin, within the leeway", with("nbf", json!(now + 30)), "good"),
            ("with words for a begin", with("nbf", json!("now")), "unknown"),
            ("without a begin", without("nbf"), "good"),
        ] {
            letters.push((what, pair.sign(&claims), answer));
        }
        let token = pair.sign(&good);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let stranger = Pair { id: "e".into(), ..Pair::new("x", Algorithm::ES256) };
        let head = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid, "typ": "JWT" });
        let hs = |kid: &str, secret: &[u8]| {
            let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::HS256) };
            jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(secret)).unwrap()
        };
        let brought = {
            let mut header = stranger.header();
            header.jwk = Some(jsonwebtoken::jwk::Jwk::from_encoding_key(&stranger.private, Algorithm::ES256).unwrap());
            jsonwebtoken::encode(&header, &good, &stranger.private).unwrap()
        };
        let critical = {
            let header = Header { crit: Some(vec!["exp".into()]), ..pair.header() };
            jsonwebtoken::encode(&header, &good, &pair.private).unwrap()
        };
        let nameless = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &good, &pair.private).unwrap();
        let mixed = jsonwebtoken::encode(&Header { kid: Some("r".into()), ..Header::new(Algorithm::ES256) }, &good, &pair.private).unwrap();
        for (what, token) in [
            ("signed with none", raw(&head("none", "e"), &good, b"")),
            ("signed with nOnE", raw(&head("nOnE", "e"), &good, b"")),
            ("without its signature", format!("{signed}.")),
            ("without its last part", signed.to_owned()),
            ("with a part more", format!("{token}.x")),
            ("with the public key as the secret", hs("e", &pair.public)),
            ("with the RSA public key as the secret", hs("r", &rsa.public)),
            ("with the set's shared secret", hs("shared", b"secret")),
            ("signed by a stranger under a known name", stranger.sign(&good)),
            ("signed by the key it brings along", brought),
            ("with another signature", raw(&head("ES256", "e"), &good, &[7; 64])),
            ("with the signature of other claims", format!("{}.{signature}", pair.sign(&with("sub", json!("bob"))).rsplit_once('.').unwrap().0)),
            ("with what must be understood", critical),
            ("that names no key", nameless),
            ("that names a key of another kind", mixed),
            ("of an unknown algorithm", raw(&head("XS256", "e"), &good, b"x")),
            ("signed in a way the settings do not allow", raw(&head("PS256", "r"), &good, b"x")),
            ("too long", pair.sign(&with("more", json!("x".repeat(20_000))))),
            ("no token", "abc.def.ghi".to_owned()),
            ("nothing", String::new()),
            ("no ASCII", "é.é.é".to_owned()),
        ] {
            letters.push((what, token, "unknown"));
        }
        for (what, token, expected) in letters {
            let answer = match access.authenticate(&token, None).await {
                Ok(_) => "good",
                Err(AuthError::Unknown) => "unknown",
                Err(AuthError::Expired) => "expired",
                Err(other) => panic!("{what}: {other:?}"),
            };
            assert_eq!(answer, expected, "a token {what}");
        }
        let narrow = IssuerOptions { algorithms: vec![Signing::Rs256], ..issuer.options() };
        let narrow = access_with(world, vec![narrow]);
        assert!(matches!(narrow.authenticate(&token, None).await, Err(AuthError::Unknown)));
        narrow.authenticate(&rsa.sign(&good), None).await.unwrap();
        world.advance(seconds(330));
        assert!(matches!(narrow.authenticate(&rsa.sign(&good), None).await, Err(AuthError::Expired)), "by our clock");
    }
}

on_both! {
    async fn a_new_key_of_the_issuers_is_found_and_strange_names_do_not_wear_it_out(world: &World) {
        let issuer = TestIssuer::start().await;
        let (old, new) = (Pair::new("old", Algorithm::ES256), Pair::new("new", Algorithm::ES256));
        issuer.show(&[&old]);
        let access = access_with(world, vec![issuer.options()]);
        user_of(world, &issuer.base, "ada").await;
        let sign = |pair: &Pair| pair.sign(&issuer.claims(world, "ada"));
        access.authenticate(&sign(&old), None).await.unwrap();
        issuer.show(&[&old, &new]);
        world.advance(seconds(60));
        access.authenticate(&sign(&new), None).await.unwrap();
        access.authenticate(&sign(&old), None).await.unwrap();
        assert_eq!(issuer.asked(), 2);
        for n in 0..20 {
            let strange = Pair { id: format!("strange-{n}"), ..old.clone() };
            assert!(matches!(access.authenticate(&sign(&strange), None).await, Err(AuthError::Unknown)));
        }
        assert_eq!(issuer.asked(), 2, "an issuer is asked no more often than the policy says");

        // What the issuer withdrew counts no more once the set is fetched anew.
        issuer.show(&[&new]);
        let policy = AccessPolicy::load(None).unwrap().plan.oidc;
        world.advance(seconds(policy.refresh_after_s));
        assert!(matches!(access.authenticate(&sign(&old), None).await, Err(AuthError::Unknown)));
        access.authenticate(&sign(&new), None).await.unwrap();
        assert_eq!(issuer.asked(), 3);
    }
}

on_both! {
    async fn an_issuer_that_is_away_lets_nobody_in_whose_key_is_not_known(world: &World) {
        let issuer = TestIssuer::start().await;
        let (pair, new) = (Pair::new("e", Algorithm::ES256), Pair::new("new", Algorithm::ES256));
        issuer.show(&[&pair]);
        issuer.set_down(true);
        let access = access_with(world, vec![issuer.options()]);
        user_of(world, &issuer.base, "ada").await;
        let sign = |pair: &Pair| pair.sign(&issuer.claims(world, "ada"));
        let policy = AccessPolicy::load(None).unwrap().plan.oidc;
        for _ in 0..3 {
            assert!(matches!(access.authenticate(&sign(&pair), None).await, Err(AuthError::Issuer)));
        }
        assert_eq!(issuer.asked(), 1, "it is not asked again at once");
        issuer.set_down(false);
        world.advance(seconds(policy.retry_after_s));
        access.authenticate(&sign(&pair), None).await.unwrap();

        issuer.set_down(true);
        world.advance(seconds(policy.refresh_after_s));
        access.authenticate(&sign(&pair), None).await.unwrap();
        assert!(matches!(access.authenticate(&sign(&new), None).await, Err(AuthError::Issuer)));
        world.advance(seconds(policy.expire_after_s - policy.refresh_after_s));
        assert!(matches!(access.authenticate(&sign(&pair), None).await, Err(AuthError::Issuer)), "keys do not count for ever");

        let gone = IssuerOptions { issuer: "http://127.0.0.1:1".parse().unwrap(), ..issuer.options() };
        let gone = access_with(world, vec![gone]);
        let mut claims = issuer.claims(world, "ada");
        claims["iss"] = json!("http://127.0.0.1:1");
        assert!(matches!(gone.authenticate(&pair.sign(&claims), None).await, Err(AuthError::Issuer)));
    }
}

on_both! {
    async fn a_discovery_document_of_another_issuer_is_not_believed(world: &World) {
        let issuer = TestIssuer::start().await;
        let pair = Pair::new("e", Algorithm::ES256);
        issuer.show(&[&pair]);
        issuer.lie();
        let access = access_with(world, vec![issuer.options()]);
        user_of(world, &issuer.base, "ada").await;
        let refused = access.authenticate(&pair.sign(&issuer.claims(world, "ada")), None).await;
        assert!(matches!(refused, Err(AuthError::Issuer)), "{refused:?}");
        assert_eq!(issuer.asked(), 0);
    }
}
