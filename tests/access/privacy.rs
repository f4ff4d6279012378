//! No key, token, TIN, name or address where none may be.

use jsonwebtoken::Algorithm;
use lettercase::access::keys::Rotation;
use lettercase::engine::bulk::Form;
use lettercase::model::people::PeopleKind;

use super::issuer::{Pair, TestIssuer, access_with};
use super::*;
use crate::journey::privacy::LOG;
use crate::journey::texts;
use crate::on_both;

const TIN: &str = "918273645";
const NAME: &str = "Zephyrine Quillfeather";
const EMAIL: &str = "zq.planted@example.org";
const SUBJECT: &str = "subject-planted-81724";

on_both! {
    async fn int_19_no_secret_and_nothing_of_a_person_is_in_an_event_or_a_log(world: &World) {
        LOG.on();
        let mut planted: Vec<String> = [TIN, NAME, EMAIL, SUBJECT].map(ToOwned::to_owned).into();
        let row = format!("{{\"tin\":\"{TIN}\",\"name\":\"{NAME} Clinic\"}}");
        world.load(ReferenceKind::Tins, &row).await;
        let issuer = TestIssuer::start().await;
        let pair = Pair::new("e", Algorithm::ES256);
        issuer.show(&[&pair]);
        let access = access_with(world, vec![issuer.options()]);

        let the_tin: Tin = TIN.parse().unwrap();
        let only = TinSet::Only([the_tin.clone()].into());
        let new = new_key(grants(&[Scope::ActAs, Scope::Access], only));
        let (key, secret) = access.create_key(MACHINE, new).await.unwrap();
        planted.push(secret.reveal()[9..].to_owned());
        let how = Rotation { expected: Expected::Any, overlap: None, expires_at: None };
        let (_, second) = access.rotate_key(MACHINE, &key.id, how).await.unwrap();
        planted.push(second.reveal()[9..].to_owned());
        let (_, local) = access.clone().with_local_key();
        planted.push(local[9..].to_owned());

        let users = format!("issuer,subject,name,email\n{},{SUBJECT},{NAME},{EMAIL}\nx,{SUBJECT},{NAME},{SUBJECT}\n", issuer.base);
        let report = access.load(MACHINE, PeopleKind::Users, Form::Csv, std::io::Cursor::new(users.into_bytes())).await.unwrap();
        assert_eq!((report.loaded, report.rejected), (1, 1));
        let mut told = format!("{report:?}");
        let rows = format!(
            "issuer,subject,tin,entitlements\n{0},{SUBJECT},{TIN},claim_search\n{0},{SUBJECT},{TIN},{NAME}\nx,{SUBJECT},{TIN},\n",
            issuer.base
        );
        let report =
            access.load(MACHINE, PeopleKind::Entitlements, Form::Csv, std::io::Cursor::new(rows.into_bytes())).await.unwrap();
        assert_eq!((report.loaded, report.rejected), (1, 2));
        told += &format!("{report:?}");

        let token = pair.sign(&issuer.claims(world, SUBJECT));
        let wrong = pair.sign(&issuer.claims(world, NAME));
        let cut = &token[..token.len() - 3];
        for token in [&token, &wrong] {
            planted.extend(token.split('.').skip(1).map(ToOwned::to_owned));
        }
        let caller = access.authenticate(&token, None).await.unwrap();
        told += &format!("{caller:?} {}", caller.actor());
        for bearer in [cut, &wrong, &secret.reveal()[..20], &format!("{token}x")] {
            let refused = access.authenticate(bearer, None).await.unwrap_err();
            told += &format!("{refused} {refused:?}");
        }
        for named in [format!("{} {SUBJECT}", issuer.base), format!("x {NAME}"), EMAIL.to_owned()] {
            told += &format!("{:?}", access.authenticate(secret.reveal(), Some(&named)).await);
        }
        let user = access.get_user_by_login(MACHINE, &login(&issuer.base, SUBJECT)).await.unwrap();
        told += &format!("{user:?} {key:?} {secret:?}");
        told += &format!("{:?}", access.put_entitlement(MACHINE, &user.id, &the_tin, rights(&[], true), Expected::Version(9)).await);
        let granted = access.put_entitlement(MACHINE, &user.id, &the_tin, rights(&[], true), Expected::Any).await.unwrap();
        told += &format!("{granted:?}");
        access.set_roles(MACHINE, &user.id, [Role::Reviewer].into(), Expected::Any).await.unwrap();
        access.set_disabled(MACHINE, &user.id, true, Expected::Any).await.unwrap();
        access.revoke_key(MACHINE, &key.id).await.unwrap();
        issuer.set_down(true);
        world.advance(DAY);
        told += &format!("{:?}", access.authenticate(&pair.sign(&issuer.claims(world, SUBJECT)), None).await);
        world.settle().await;
        LOG.off();

        let log = LOG.text();
        assert!(log.contains("an issuer's keys can't be had") && log.contains("a token was refused"), "{} bytes", log.len());
        let events =
            texts(world, "SELECT type || subject || COALESCE(tin_uid, '') || actor || payload FROM event").await.join("\n");
        for kind in ["key.created", "key.rotated", "key.revoked", "user.changed", "user.roles_changed", "entitlement.changed"] {
            assert!(events.contains(kind), "no {kind}");
        }
        let stored = texts(world, "SELECT hash || key_id FROM api_key_secret").await.join("\n");
        for planted in planted {
            for (place, text) in [("the log", &log), ("events", &events), ("what prints", &told)] {
                assert!(!text.contains(&planted), "{planted} is in {place}");
            }
            assert!(planted == TIN || !stored.contains(&planted), "a secret is stored");
        }
    }
}
