//! A service that speaks for a user whom it has identified.

use lettercase::model::access::Principal;

use super::*;
use crate::on_both;

on_both! {
    async fn a_service_speaks_for_a_user_with_no_more_than_both_may_have(world: &World) {
        practices(world).await;
        let ada = user(world, "ada@example.org").await;
        grant(world, &ada, 1, rights(&[Entitlement::Reconsideration], true)).await;
        grant(world, &ada, 2, rights(&[Entitlement::ClaimSearch], false)).await;
        let (key, secret) = make(world, &[Scope::ActAs], tins(&[1, 3])).await;
        for named in [ada.id.to_string(), "portal ada@example.org".to_owned()] {
            let caller = access(world).authenticate(secret.reveal(), Some(&named)).await.unwrap();
            assert_eq!(caller.actor(), format!("user:{} via key:{}", ada.id, key.id));
            assert_eq!(caller.through.as_ref(), Some(&key.id));
            let Principal::User { rights: found, mode, .. } = caller.principal else { panic!("no user") };
            assert_eq!(mode, Mode::Live);
            assert_eq!(found.into_iter().collect::<Vec<_>>(), [(tin(1), rights(&[Entitlement::Reconsideration], true))]);
        }

        let trial = Grants { mode: Mode::Test, ..grants(&[Scope::ActAs], TinSet::All) };
        let (_, trial) = access(world).create_key(MACHINE, new_key(trial)).await.unwrap();
        let caller = access(world).authenticate(trial.reveal(), Some(ada.id.as_str())).await.unwrap();
        assert_eq!(caller.principal.mode(), Mode::Test, "INT-35: with a key for trials there are trials only");
    }
}

on_both! {
    async fn nobody_is_spoken_for_without_the_scope_nor_who_may_not_come_in(world: &World) {
        let ada = user(world, "ada").await;
        let (boss, _) = staff(world, "boss", &[Role::Supervisor]).await;
        let (_, speaks) = make(world, &[Scope::ActAs], TinSet::All).await;
        let (_, plain) = make(world, &[Scope::Read, Scope::Access], TinSet::All).await;
        let as_user = async |secret: &KeySecret, named: &str| access(world).authenticate(secret.reveal(), Some(named)).await;
        assert!(matches!(as_user(&plain, ada.id.as_str()).await, Err(AuthError::NotActAs)));
        let refused = as_user(&speaks, boss.id.as_str()).await;
        assert!(matches!(refused, Err(AuthError::NotActAs)), "the payer's people come by themselves: {refused:?}");
        for nobody in ["01980000-0000-7000-8000-000000000001", "portal bob", "elsewhere ada", "ada", "", " ", "portal "] {
            let refused = as_user(&speaks, nobody).await;
            assert!(matches!(refused, Err(AuthError::NoUser)), "{nobody:?}: {refused:?}");
        }
        let unknown = KeySecret::from_random(Mode::Live, &[9; 32]);
        assert!(matches!(as_user(&unknown, ada.id.as_str()).await, Err(AuthError::Unknown)), "the key comes first");

        as_user(&speaks, ada.id.as_str()).await.unwrap();
        access(world).set_disabled(MACHINE, &ada.id, true, Expected::Any).await.unwrap();
        assert!(matches!(as_user(&speaks, ada.id.as_str()).await, Err(AuthError::Disabled)));
        access(world).set_disabled(MACHINE, &ada.id, false, Expected::Any).await.unwrap();
        as_user(&speaks, ada.id.as_str()).await.unwrap();
    }
}
