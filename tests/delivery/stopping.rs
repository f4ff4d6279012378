//! COR-16: letters are stopped, held back, and go again.

use lettercase::db::routing::{self, Held};
use lettercase::delivery::stop::{look, release, stop};
use lettercase::delivery::{LetterError, holds};
use lettercase::model::letter::StopReason;

use super::*;
use crate::journey::{count, told};
use crate::on_both;

async fn version(world: &World, id: &LetterId) -> i64 {
    let mut conn = world.db().read().await.unwrap();
    look(&mut conn, id).await.unwrap().unwrap().version()
}

async fn try_stop(world: &World, id: &LetterId) -> Result<(), LetterError> {
    let version = version(world, id).await;
    stop(world.db(), world.stamp(), id, Some(version), StopReason::WrongContent).await.map(|_| ())
}

async fn try_release(world: &World, id: &LetterId) -> Result<(), LetterError> {
    let version = version(world, id).await;
    release(world.db(), world.stamp(), id, Some(version)).await.map(|_| ())
}

on_both! {
    async fn cor_16_a_person_stops_a_letter_on_its_way_and_lets_it_go_again(world: &World) {
        practices(world).await;
        for (state, again, stage) in [
            (LetterState::Asked, "asked", "compose"),
            (LetterState::Composed, "asked", "compose"),
            (LetterState::Refused, "asked", "compose"),
            (LetterState::Rendered, "rendered", "route"),
        ] {
            let id = New { state, ..New::default() }.ask(world).await;
            try_stop(world, &id).await.unwrap();
            assert_eq!(stands(world, &id).await, "stopped wrong_content", "{state}");
            assert!(work_for(world, &id).await.is_empty() && letter(world, &id).await.ended_at.is_some(), "{state}");
            assert!(matches!(try_stop(world, &id).await, Err(LetterError::State(LetterState::Stopped, _))));
            world.settle().await;
            assert!(ways(world, &id).await.is_empty(), "{state}");
            let events = told(world, id.as_str(), "letter.stopped").await;
            assert!(events.len() == 1 && events[0].payload.contains("wrong_content"), "{state}: {events:?}");

            try_release(world, &id).await.unwrap();
            assert_eq!((stands(world, &id).await.as_str(), work_for(world, &id).await), (again, vec![stage.to_owned()]), "{state}");
            assert_eq!(letter(world, &id).await.ended_at, None, "{state}");
            assert!(matches!(try_release(world, &id).await, Err(LetterError::State(..))), "{state}: it was not stopped");
            world.settle().await;
            assert_eq!(ways(world, &id).await.len(), usize::from(state == LetterState::Rendered), "{state}");
        }
    }
}

on_both! {
    async fn cor_16_of_a_routed_letter_what_waits_is_stopped_and_what_has_arrived_stays(world: &World) {
        practices(world).await;
        let (id, _) = New { to: UNREAD, ..New::default() }.routed(world).await;
        let seen = version(world, &id).await - 1;
        let late = stop(world.db(), world.stamp(), &id, Some(seen), StopReason::Other).await;
        assert!(matches!(late, Err(LetterError::Conflict(_))), "a way has gone since: {late:?}");

        try_stop(world, &id).await.unwrap();
        assert_eq!(stands(world, &id).await, "routed");
        assert_eq!(ways(world, &id).await, ["inbox delivered registered", "paper stopped nobody_entitled (wrong_content)"]);
        assert!(matches!(try_stop(world, &id).await, Err(LetterError::State(LetterState::Routed, _))), "nothing waits");
        try_release(world, &id).await.unwrap();
        assert_eq!(ways(world, &id).await, ["inbox delivered registered", "paper waiting nobody_entitled"]);
        assert!(work_for(world, &id).await.is_empty(), "paper waits for its channel");
        assert!(matches!(try_release(world, &id).await, Err(LetterError::State(LetterState::Routed, _))));

        let id = New::default().undelivered(world).await;
        try_stop(world, &id).await.unwrap();
        try_release(world, &id).await.unwrap();
        assert_eq!((ways(world, &id).await, work_for(world, &id).await), (vec!["inbox waiting registered".to_owned()], vec!["deliver".to_owned()]));
        try_stop(world, &id).await.unwrap();
        assert!(work_for(world, &id).await.is_empty());
    }
}

on_both! {
    async fn cor_16_of_two_who_stop_or_release_at_once_one_does(world: &World) {
        practices(world).await;
        let id = New { state: LetterState::Composed, ..New::default() }.ask(world).await;
        let seen = version(world, &id).await;
        let stopping = || stop(world.db(), world.stamp(), &id, Some(seen), StopReason::Duplicate);
        let (one, two) = tokio::join!(stopping(), stopping());
        assert_eq!([&one, &two].iter().filter(|done| done.is_ok()).count(), 1, "{one:?} {two:?}");
        let seen = version(world, &id).await;
        let releasing = || release(world.db(), world.stamp(), &id, Some(seen));
        let (one, two) = tokio::join!(releasing(), releasing());
        assert_eq!([&one, &two].iter().filter(|done| done.is_ok()).count(), 1, "{one:?} {two:?}");
        for reason in [StopReason::HeldType, StopReason::HeldTin, StopReason::Superseded] {
            let refused = stop(world.db(), world.stamp(), &id, None, reason).await;
            assert!(matches!(refused, Err(LetterError::Invalid(_))), "{reason} is not for people");
        }
        let nobody: LetterId = world.stamp().ctx.new_id().parse().unwrap();
        assert!(matches!(stop(world.db(), world.stamp(), &nobody, None, StopReason::Other).await, Err(LetterError::NoLetter)));
    }
}

on_both! {
    async fn cor_16_what_is_held_back_is_stopped_until_the_hold_is_lifted(world: &World) {
        practices(world).await;
        let brand: Brand = "meridian".parse().unwrap();
        let of_type = holds::put(world.db(), world.stamp(), &brand, &Held::Type(UPHELD), " a wrong phrase ").await.unwrap();
        assert_eq!((of_type.reason.as_str(), of_type.version), ("a wrong phrase", 1));
        let same = holds::put(world.db(), world.stamp(), &brand, &Held::Type(UPHELD), "again").await;
        assert!(matches!(same, Err(LetterError::Exists)));
        let of_tin = holds::put(world.db(), world.stamp(), &brand, &Held::Tin(tin(UNREAD)), "a dispute").await.unwrap();
        for reason in ["", " ", "a\nb", &"x".repeat(201)] {
            let refused = holds::put(world.db(), world.stamp(), &brand, &Held::Type(APPROVED), reason).await;
            assert!(matches!(refused, Err(LetterError::Invalid(_))), "{reason:?}");
        }
        let unknown = holds::put(world.db(), world.stamp(), &brand, &Held::Tin(tin("999999999")), "x").await;
        assert!(matches!(unknown, Err(LetterError::NoTin)));

        let mut held = Vec::new();
        for to in [REGISTERED, UNREGISTERED, "M-PPO", UNREAD] {
            held.push(New { to, ..New::default() }.ask(world).await);
        }
        let by_tin = New { to: UNREAD, letter_type: APPROVED, ..New::default() }.ask(world).await;
        world.settle().await;
        for id in &held {
            assert_eq!((stands(world, id).await.as_str(), ways(world, id).await.len()), ("stopped held_type", 0));
        }
        assert_eq!(stands(world, &by_tin).await, "stopped held_tin");
        let (_, free) = New { letter_type: APPROVED, ..New::default() }.routed(world).await;
        assert_eq!(free, ["inbox delivered registered"], "others go");
        let about = New { to: "M-PPO", letter_type: APPROVED, ..New::default() }.routed(world).await.1;
        assert_eq!(about, ["paper waiting to_member"], "a practice's hold is on letters to it");
        assert!(matches!(try_release(world, &held[0]).await, Err(LetterError::Held)), "it would be stopped again");

        let stale = holds::lift(world.db(), world.stamp(), &of_type.id, Some(7), 10).await;
        assert!(matches!(stale, Err(LetterError::Conflict(_))));
        let lifted = holds::lift(world.db(), world.stamp(), &of_type.id, Some(1), 0).await.unwrap();
        assert_eq!((lifted.released, lifted.left, lifted.hold.version), (0, 4, 2), "lifting alone releases nothing");
        let part = holds::lift(world.db(), world.stamp(), &of_type.id, Some(2), 2).await.unwrap();
        assert_eq!((part.released, part.left, part.hold.version), (2, 2, 2));
        let rest = holds::lift(world.db(), world.stamp(), &of_type.id, None, 10).await.unwrap();
        assert_eq!((rest.released, rest.left), (1, 1), "the other hold has one of them");
        world.settle().await;
        assert_eq!(ways(world, &held[0]).await, ["inbox delivered registered"]);
        assert_eq!(ways(world, &held[2]).await, ["paper waiting to_member"]);
        assert_eq!(stands(world, &held[3]).await, "stopped held_type");

        let lifted = holds::lift(world.db(), world.stamp(), &of_tin.id, None, 10).await.unwrap();
        assert_eq!((lifted.released, lifted.left), (1, 0));
        assert_eq!(holds::lift(world.db(), world.stamp(), &of_type.id, None, 10).await.unwrap().released, 1);
        world.settle().await;
        assert_eq!(ways(world, &by_tin).await.len(), 2);
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM letter WHERE state = 'stopped'").await, 0);

        let again = holds::put(world.db(), world.stamp(), &brand, &Held::Type(UPHELD), "once more").await.unwrap();
        world.settle().await;
        let events = told(world, of_type.id.as_str(), "letter.hold_changed").await;
        assert_eq!(events.iter().map(|e| e.payload.contains("true")).collect::<Vec<_>>(), [true, false]);
        assert!(events.iter().all(|event| !event.payload.contains("phrase")), "a person's words are not in events");
        let mut conn = world.db().read().await.unwrap();
        let standing = routing::holds(&mut conn, false, None, 10).await.unwrap();
        assert_eq!(standing.iter().map(|hold| &hold.id).collect::<Vec<_>>(), [&again.id]);
        assert_eq!(routing::holds(&mut conn, true, None, 10).await.unwrap().len(), 3);
    }
}

on_both! {
    async fn cor_16_what_was_superseded_is_not_released(world: &World) {
        practices(world).await;
        let old = New { state: LetterState::Composed, ..New::default() }.ask(world).await;
        try_stop(world, &old).await.unwrap();
        New { supersedes: Some(&old), ..New::default() }.routed(world).await;
        assert_eq!(stands(world, &old).await, "stopped wrong_content");
        assert!(matches!(try_release(world, &old).await, Err(LetterError::Superseded)));
    }
}
