//! Legal holds keep what they are on, also from a run that is under way.

use lettercase::db::retention::holds::Kept;
use lettercase::retention::RetentionError;

use super::*;
use crate::journey::{texts, told};
use crate::on_both;

/// What names a member and a practice by a claim alone.
fn of_claim(number: &str) -> Said {
    Said { claim_number: number.parse().ok(), ..Said::default() }
}

on_both! {
    async fn ops_15_a_hold_by_case_practice_or_member_keeps_what_is_theirs_until_it_is_lifted(world: &World) {
        world.load_samples().await;
        let (keeper, brand) = (keeper(world), &world.settings.brand);
        let (document, case) = reconsidered(world, b"Please look at this claim again.").await;
        close(world, &case).await;
        // of Dolores Whitcombe by her claim, of Terrence Okonjo by his number
        let hers = refused(world, of_claim("CL2671409358"), "a.exe").await;
        let his = refused(world, Said { member_id: "MH51938207".parse().ok(), ..Said::default() }, "b.exe").await;
        let nobodys = refused(world, Said::default(), "c.exe").await;
        world.advance(YEARS + DAY);
        let hold = async |kept: Kept| keeper.hold(world.stamp(), brand, &kept, " a lawsuit ").await;
        let holds = [
            hold(Kept::Case(case.clone())).await.unwrap(),
            hold(Kept::Tin("009074856".parse().unwrap())).await.unwrap(),
            hold(Kept::Member("MH51938207".parse().unwrap())).await.unwrap(),
        ];
        assert_eq!((holds[0].reason.as_str(), holds[0].created_by.as_str()), ("a lawsuit", "test"));
        assert!(matches!(hold(Kept::Case(case.clone())).await, Err(RetentionError::Exists)));
        for nothing in [Kept::Tin("999999999".parse().unwrap()), Kept::Member("MH-NOBODY".parse().unwrap())] {
            assert!(matches!(hold(nothing).await, Err(RetentionError::Nothing(_))));
        }
        assert!(matches!(
            keeper.hold(world.stamp(), brand, &Kept::Case(case.clone()), "\n").await,
            Err(RetentionError::Invalid(_))
        ));

        let (_, counts) = ran(world, &keeper).await;
        assert!(!is_live(world, &nobodys).await);
        for id in [&document, &hers, &his] {
            assert!(is_live(world, id).await);
            assert_eq!(fate(&keeper, RecordKind::Document, id.as_str()).await, "held");
        }
        assert_eq!((counts["documents held"], counts["documents due"]), (3, 2), "{counts:?}");
        world.settle().await;
        let events = told(world, holds[2].id.as_str(), "retention.hold_changed").await;
        assert_eq!((events.len(), events[0].actor.as_str()), (1, "test"));
        let payloads = texts(world, "SELECT payload FROM event").await;
        assert!(payloads.iter().all(|text| !text.contains("MH51938207") && !text.contains("lawsuit") && !text.contains("009074856")));

        for (hold, id) in holds.iter().zip([&document, &hers, &his]) {
            assert!(matches!(
                keeper.release(world.stamp(), &hold.id, Some(7)).await,
                Err(RetentionError::Conflict("hold"))
            ));
            let lifted = keeper.release(world.stamp(), &hold.id, Some(1)).await.unwrap();
            assert_eq!(lifted.lifted_by.as_deref(), Some("test"));
            keeper.release(world.stamp(), &hold.id, None).await.unwrap();
            ran(world, &keeper).await;
            assert!(!is_live(world, id).await);
        }
        world.settle().await;
        assert_eq!(told(world, holds[2].id.as_str(), "retention.hold_changed").await.len(), 2, "put and lifted");
        world.assert_conserved().await;
    }
}

on_both! {
    async fn a_hold_that_is_put_while_a_run_goes_on_keeps_what_that_has_not_begun(world: &World) {
        world.load_samples().await;
        let mut plan = (*keeper(world).plan).clone();
        (plan.destruction.page, plan.destruction.pages_per_look) = (1, 1);
        let keeper = Retention { plan: Arc::new(plan), ..world.app.retention.clone() };
        let member = Said { member_id: "MH51938207".parse().ok(), ..Said::default() };
        let mut all = Vec::new();
        for name in ["a.exe", "b.exe", "c.exe"] {
            all.push(refused(world, member.clone(), name).await);
            world.advance(Duration::from_secs(1));
        }
        world.advance(YEARS + DAY);
        let run = keeper.begin(world.stamp()).await.unwrap();
        assert_eq!(keeper.work("ours").await.unwrap().destroyed, 1);
        keeper.hold(world.stamp(), &world.settings.brand, &Kept::Member("MH51938207".parse().unwrap()), "an inquiry").await.unwrap();
        let mut counts = BTreeMap::new();
        for _ in 0..40 {
            keeper.work("ours").await.unwrap();
            let mut conn = keeper.db.read().await.unwrap();
            if retention::get(&mut conn, &run.id).await.unwrap().unwrap().state == RetentionRunState::Done {
                let found = retention::counts(&mut conn, &run.id).await.unwrap();
                counts = found.into_iter().map(|n| (format!("{} {}", n.class, n.why), n.records)).collect();
                break;
            }
        }
        let live = [is_live(world, &all[0]).await, is_live(world, &all[1]).await, is_live(world, &all[2]).await];
        assert_eq!(live, [false, true, true]);
        // the first one's submission is about the member, too
        assert_eq!(counts.get("documents due"), Some(&1), "{counts:?}");
        assert!(counts.get("documents held").is_some_and(|n| *n == 3), "{counts:?}");
        world.assert_conserved().await;
    }
}
