//! Keys: what comes in with which, for how long, and who may make them.

use lettercase::access::keys::Rotation;
use lettercase::model::access::Principal;
use lettercase::model::event::EventType;

use super::*;
use crate::journey::{texts, told};
use crate::on_both;

const ROTATE: Rotation = Rotation { expected: Expected::Any, overlap: None, expires_at: None };

on_both! {
    async fn int_33_a_key_comes_in_with_what_it_was_given_and_nothing_like_it_does(world: &World) {
        let given = grants(&[Scope::Read, Scope::Submit], tins(&[1, 2]));
        let (key, secret) = access(world).create_key(MACHINE, new_key(given.clone())).await.unwrap();
        let found = enter(world, &secret).await.unwrap();
        let Grants { scopes, tins, mode } = given;
        assert_eq!(found.principal, Principal::Service { key: key.id.clone(), scopes, tins, mode });
        assert_eq!(found.actor(), format!("key:{}", key.id));

        let text = secret.reveal();
        assert!(text.starts_with("lck_live_"), "{text}");
        let unknown = KeySecret::from_random(Mode::Live, &[7; 32]);
        let other_mode = text.replace("live", "test");
        for wrong in [&text[..text.len() - 1], "lck_live_", "", "nonsense", "a.b.c", unknown.reveal(), &other_mode] {
            let refused = access(world).authenticate(wrong, None).await;
            assert!(matches!(refused, Err(AuthError::Unknown)), "{wrong}: {refused:?}");
        }
        let stored = texts(world, "SELECT hash FROM api_key_secret").await;
        assert!(stored.iter().all(|hash| !hash.contains(&text[9..])), "only hashes are stored");

        let trial = Grants { mode: Mode::Test, ..grants(&[Scope::Submit], TinSet::All) };
        let (_, secret) = access(world).create_key(MACHINE, new_key(trial)).await.unwrap();
        assert!(secret.reveal().starts_with("lck_test_"), "INT-35");
        assert_eq!(enter(world, &secret).await.unwrap().principal.mode(), Mode::Test);
    }
}

on_both! {
    async fn a_key_ends_at_its_time_and_at_once_when_it_is_revoked(world: &World) {
        let (short, secret) = {
            let expires_at = Some(world.app.intake.ctx.now() + HOUR);
            let new = NewKey { expires_at, ..new_key(grants(&[Scope::Read], TinSet::All)) };
            access(world).create_key(MACHINE, new).await.unwrap()
        };
        world.advance(HOUR - Duration::from_secs(1));
        enter(world, &secret).await.unwrap();
        world.advance(Duration::from_secs(1));
        assert!(matches!(enter(world, &secret).await, Err(AuthError::Expired)));

        let (key, secret) = make(world, &[Scope::Read], TinSet::All).await;
        let elsewhere = access(world).clone();
        elsewhere.authenticate(secret.reveal(), None).await.unwrap();
        for _ in 0..2 {
            let revoked = access(world).revoke_key(MACHINE, &key.id).await.unwrap();
            assert!(revoked.revoked_at.is_some());
        }
        let refused = elsewhere.authenticate(secret.reveal(), None).await;
        assert!(matches!(refused, Err(AuthError::Revoked)), "{refused:?}");
        let again = access(world).rotate_key(MACHINE, &key.id, ROTATE).await;
        assert!(matches!(again, Err(ManageError::Invalid(_))), "{again:?}");
        world.settle().await;
        assert_eq!(told(world, key.id.as_str(), &EventType::KeyRevoked.to_string()).await.len(), 1);

        let policy = lettercase::access::policy::AccessPolicy::load(None).unwrap().plan.keys;
        let now = world.app.intake.ctx.now();
        assert_eq!(key.expires_at, now + policy.lifetime(), "every key ends");
        for wrong in [now, now - HOUR, now + policy.longest_lifetime() + HOUR] {
            let new = NewKey { expires_at: Some(wrong), ..new_key(short.grants.clone()) };
            let refused = access(world).create_key(MACHINE, new).await;
            assert!(matches!(refused, Err(ManageError::Invalid(_))), "{wrong}");
        }
        for wrong in [
            NewKey { name: " ".into(), ..new_key(short.grants.clone()) },
            NewKey { name: "x".repeat(101), ..new_key(short.grants.clone()) },
            new_key(grants(&[], TinSet::All)),
        ] {
            let refused = access(world).create_key(MACHINE, wrong).await;
            assert!(matches!(refused, Err(ManageError::Invalid(_))), "{refused:?}");
        }
    }
}

on_both! {
    async fn a_rotated_keys_old_secret_works_on_for_the_overlap_only(world: &World) {
        let (key, first) = make(world, &[Scope::Read], TinSet::All).await;
        let (rotated, second) = access(world).rotate_key(MACHINE, &key.id, ROTATE).await.unwrap();
        assert_eq!((&rotated.id, rotated.version), (&key.id, key.version + 1), "the key's id stays");
        let overlap = lettercase::access::policy::AccessPolicy::load(None).unwrap().plan.keys.overlap();
        world.advance(overlap - HOUR);
        for secret in [&first, &second] {
            assert_eq!(enter(world, secret).await.unwrap().actor(), format!("key:{}", key.id));
        }
        // A second rotation takes nothing of the first's overlap away and adds nothing to it.
        let (_, third) = access(world).rotate_key(MACHINE, &key.id, ROTATE).await.unwrap();
        world.advance(HOUR);
        assert!(matches!(enter(world, &first).await, Err(AuthError::Expired)));
        enter(world, &second).await.unwrap();

        let leaked = Rotation { overlap: Some(Duration::ZERO), ..ROTATE };
        let (_, fourth) = access(world).rotate_key(MACHINE, &key.id, leaked).await.unwrap();
        for secret in [&first, &second, &third] {
            assert!(matches!(enter(world, secret).await, Err(AuthError::Expired)), "a leaked key ends at once");
        }
        enter(world, &fourth).await.unwrap();

        let long = Rotation { overlap: Some(DAY * 365), ..ROTATE };
        assert!(matches!(access(world).rotate_key(MACHINE, &key.id, long).await, Err(ManageError::Invalid(_))));
        let old = Rotation { expected: Expected::Version(1), ..ROTATE };
        assert_eq!(conflict(access(world).rotate_key(MACHINE, &key.id, old).await), Some(4));
        world.settle().await;
        assert_eq!(told(world, key.id.as_str(), &EventType::KeyRotated.to_string()).await.len(), 3);
    }
}

on_both! {
    async fn a_rotation_gives_an_expiring_key_no_old_secret_that_outlives_it(world: &World) {
        let new = NewKey {
            expires_at: Some(world.app.intake.ctx.now() + HOUR),
            ..new_key(grants(&[Scope::Read], TinSet::All))
        };
        let (key, first) = access(world).create_key(MACHINE, new).await.unwrap();
        let (_, second) = access(world).rotate_key(MACHINE, &key.id, ROTATE).await.unwrap();
        world.advance(HOUR);
        assert!(matches!(enter(world, &first).await, Err(AuthError::Expired)));
        enter(world, &second).await.unwrap();
    }
}

on_both! {
    async fn nobody_makes_sees_or_renews_a_key_that_gives_more_than_their_own(world: &World) {
        let (mighty, mighty_secret) = make(world, Scope::ALL, TinSet::All).await;
        let own = caller(world, &[Scope::Access, Scope::Read], tins(&[1, 2])).await;
        let by = Manager::Caller(&own);
        let access = access(world);
        for (what, grants, may) in [
            ("less", grants(&[Scope::Read], tins(&[1])), true),
            ("a scope more", grants(&[Scope::Read, Scope::Download], tins(&[1])), false),
            ("a TIN more", grants(&[Scope::Read], tins(&[1, 3])), false),
            ("all TINs", grants(&[Scope::Read], TinSet::All), false),
        ] {
            let made = access.create_key(by, new_key(grants)).await;
            if may { drop(made.unwrap()) } else { assert!(beyond(made), "{what}") }
        }
        assert!(missing(access.get_key(by, &mighty.id).await));
        assert!(missing(access.rotate_key(by, &mighty.id, ROTATE).await), "a new secret would be a key to everything");
        assert!(missing(access.revoke_key(by, &mighty.id).await));
        enter(world, &mighty_secret).await.unwrap();
        let listed = access.list_keys(by, None, 100).await.unwrap();
        assert_eq!(listed.items.len(), 2, "its own and the one it made");

        let plain = caller(world, &[Scope::Read], TinSet::All).await;
        assert!(beyond(access.list_keys(Manager::Caller(&plain), None, 100).await));
        let (_, administrator) = staff(world, "admin", &[Role::Administrator]).await;
        let by = Manager::Caller(&administrator);
        access.create_key(by, new_key(grants(Scope::ALL, TinSet::All))).await.unwrap();
        let (_, reviewer) = staff(world, "reviewer", &[Role::Reviewer]).await;
        assert!(beyond(access.create_key(Manager::Caller(&reviewer), new_key(grants(&[Scope::Read], tins(&[1])))).await));
    }
}

on_both! {
    async fn keys_are_listed_in_parts_in_the_order_in_which_they_were_made(world: &World) {
        let mut made = Vec::new();
        for _ in 0..5 {
            made.push(make(world, &[Scope::Read], tins(&[3])).await.0);
        }
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let part = access(world).list_keys(MACHINE, after.as_ref(), 2).await.unwrap();
            assert!(part.items.len() <= 2);
            found.extend(part.items);
            after = part.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, made);
    }
}

on_both! {
    async fn a_local_key_comes_in_here_only_and_is_not_stored(world: &World) {
        let (here, key) = access(world).clone().with_local_key();
        let found = here.authenticate(&key, None).await.unwrap();
        let Principal::Service { scopes, tins, mode, .. } = found.principal else { panic!("no service") };
        assert_eq!((scopes.len(), tins, mode), (Scope::ALL.len(), TinSet::All, Mode::Live));
        assert!(matches!(access(world).authenticate(&key, None).await, Err(AuthError::Unknown)));
        assert!(texts(world, "SELECT hash FROM api_key_secret").await.is_empty());
    }
}
