//! Answers by fax, through the folder of a gateway that the test plays.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod picture;

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use lettercase::app::correspondence::CorrespondencePlan;
use lettercase::db::routing::{self, Held};
use lettercase::delivery::holds;
use lettercase::fax::send::Tended;
use lettercase::fax::{Fax, Gateway};
use lettercase::letters::Renderer;
use lettercase::model::ids::LetterId;
use lettercase::model::letter::{Circumstance, LetterType, StopReason};
use lettercase::model::outgoing::Outgoing;
use serde_json::{Value, json};

use crate::backup::held::hold;
use crate::delivery::{APPROVED, New, practices, ways};
use crate::on_both;
use crate::support::World;

/// A real letter of four pages.
static LETTER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (renderer, plan) = (Renderer::open(None).unwrap(), CorrespondencePlan::load(None).unwrap().plan.letters);
    let sample = renderer.samples(LetterType::PrecertificationApproved).first().unwrap();
    let data = renderer.check_document(LetterType::PrecertificationApproved, &sample.document, &plan).unwrap();
    renderer.render(&data, renderer.brands().next().unwrap()).unwrap().pdf
});

/// The gateway's side.
struct Office {
    dir: tempfile::TempDir,
    fax: Fax,
}

impl Office {
    fn new(world: &World) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let gateway = Some(Gateway::open(dir.path()).unwrap());
        Self { dir, fax: Fax { gateway, ..world.app.fax.clone() } }
    }

    async fn look(&self) -> Tended {
        self.fax.reconcile("test").await.unwrap()
    }

    /// Jobs that lie in `out/`, by name, with what their control files say.
    fn jobs(&self) -> Vec<(String, Value)> {
        let mut jobs = Vec::new();
        for entry in fs::read_dir(self.dir.path().join("out")).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "json") {
                let control = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                jobs.push((path.file_stem().unwrap().to_string_lossy().into_owned(), control));
            }
        }
        jobs.sort_by(|a, b| a.0.cmp(&b.0));
        jobs
    }

    /// Takes the one job there is, and answers it.
    fn answer(&self, said: &Value) -> Value {
        let mut jobs = self.jobs();
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        let (name, control) = jobs.remove(0);
        for end in ["tif", "json"] {
            fs::remove_file(self.dir.path().join("out").join(format!("{name}.{end}"))).unwrap();
        }
        self.say(&name, said);
        control
    }

    fn say(&self, name: &str, said: &Value) {
        fs::write(self.dir.path().join("answers").join(format!("{name}.json")), said.to_string()).unwrap();
    }
}

fn sent() -> Value {
    json!({"outcome": "sent", "at": "2026-11-20T15:30:00Z", "pages": 2})
}

fn busy() -> Value {
    json!({"outcome": "failed", "at": "2026-11-20T15:30:00Z", "reason": "busy\u{7}"})
}

/// A letter that is answered by fax, and shows in the Messaging Center.
async fn by_fax(world: &World) -> LetterId {
    practices(world).await;
    let new = New { letter_type: APPROVED, said: &[Circumstance::ByFax], pdf: &LETTER, ..New::default() };
    new.routed(world).await.0
}

fn only(handed_over: u64) -> Tended {
    Tended { handed_over, ..Tended::default() }
}

on_both! {
    async fn cor_13_an_answer_by_fax_is_handed_over_once_and_delivered_when_the_gateway_says_so(world: &World) {
        let (office, letter) = (Office::new(world), by_fax(world).await);
        assert_eq!(ways(world, &letter).await[0], "fax waiting came_by_fax");
        assert_eq!(office.look().await, only(1));
        assert_eq!(ways(world, &letter).await[0], "fax in_batch came_by_fax");
        assert_eq!(office.look().await, only(0), "nothing is sent twice");
        let (name, _) = office.jobs().remove(0);
        let picture = fs::read(office.dir.path().join("out").join(format!("{name}.tif"))).unwrap();
        let control = office.answer(&sent());
        assert_eq!((&control["number"], &control["pages"]), (&json!("5035550100"), &json!(4)));
        assert_eq!(control["bytes"], picture.len());
        assert!(!control.to_string().contains("M-PPO"), "no member: {control}");
        assert_eq!(office.look().await, Tended { sent: 1, ..Tended::default() });
        assert_eq!(ways(world, &letter).await[0], "fax delivered came_by_fax");
        // the gateway says it again
        office.say(&name, &busy());
        assert_eq!(office.look().await, only(0));
        assert_eq!(ways(world, &letter).await[0], "fax delivered came_by_fax");
    }
}

on_both! {
    async fn what_fails_is_tried_again_after_a_while_and_goes_on_paper_after_the_last_try(world: &World) {
        let (office, letter) = (Office::new(world), by_fax(world).await);
        let send = office.fax.plan.send;
        for number in 1..=send.tries {
            assert_eq!(office.look().await, only(1), "try {number}");
            let control = office.answer(&busy());
            assert!(control["job"].as_str().unwrap().ends_with(&format!("-{number}")), "{control}");
            let last = number == send.tries;
            assert_eq!(office.look().await, Tended { failed: 1, on_paper: last.into(), ..Tended::default() });
            assert_eq!(office.look().await, only(0), "not at once");
            world.advance(Duration::from_secs(u64::from(send.again_after_min) * 60 + 1));
        }
        assert_eq!(office.look().await, only(0));
        let ways = ways(world, &letter).await;
        assert_eq!(ways[0], "fax stopped came_by_fax (fax_failed)");
        assert_eq!(ways[2], "paper waiting fax_failed");
    }
}

on_both! {
    async fn a_gateway_that_says_nothing_is_waited_for_no_more_and_its_late_word_changes_nothing(world: &World) {
        let (office, letter) = (Office::new(world), by_fax(world).await);
        assert_eq!(office.look().await, only(1));
        let (name, _) = office.jobs().remove(0);
        world.advance(Duration::from_secs(u64::from(office.fax.plan.send.answer_within_h) * 3_600 + 1));
        assert_eq!(office.look().await, Tended { on_paper: 1, ..Tended::default() });
        office.say(&name, &sent());
        assert_eq!(office.look().await, only(0));
        let ways = ways(world, &letter).await;
        assert_eq!((ways[0].as_str(), ways[2].as_str()), ("fax stopped came_by_fax (fax_unanswered)", "paper waiting fax_failed"));
    }
}

on_both! {
    async fn without_a_gateway_a_letter_waits_and_then_goes_on_paper(world: &World) {
        let letter = by_fax(world).await;
        let fax = &world.app.fax;
        assert!(fax.gateway.is_none());
        assert_eq!(fax.reconcile("test").await.unwrap(), only(0));
        assert_eq!(ways(world, &letter).await[0], "fax waiting came_by_fax");
        world.advance(Duration::from_secs(u64::from(fax.plan.send.wait_h) * 3_600 + 1));
        assert_eq!(fax.reconcile("test").await.unwrap(), Tended { on_paper: 1, ..Tended::default() });
        assert_eq!(ways(world, &letter).await[2], "paper waiting fax_failed");
    }
}

on_both! {
    async fn cor_16_what_is_held_waits_and_what_is_stopped_is_not_sent(world: &World) {
        let (office, letter) = (Office::new(world), by_fax(world).await);
        let brand = world.settings.brand.clone();
        let hold = holds::put(world.db(), world.stamp(), &brand, &Held::Type(APPROVED), "a wrong sentence").await.unwrap();
        assert_eq!(office.look().await, only(0));
        assert_eq!(ways(world, &letter).await[0], "fax waiting came_by_fax");
        holds::lift(world.db(), world.stamp(), &hold.id, None, 10).await.unwrap();
        lettercase::delivery::stop::stop(world.db(), world.stamp(), &letter, None, StopReason::WrongContent).await.unwrap();
        assert_eq!(office.look().await, only(0));
        assert!(office.jobs().is_empty());
        assert_eq!(ways(world, &letter).await[0], "fax stopped came_by_fax (wrong_content)");
        let mut conn = world.db().read().await.unwrap();
        assert!(routing::hold(&mut conn, &hold.id).await.unwrap().unwrap().lifted_at.is_some());
    }
}

on_both! {
    async fn what_is_held_back_and_answers_that_can_not_be_read_stand_in_nobodys_way(world: &World) {
        let mut office = Office::new(world);
        office.fax.at_once = 1;
        let held = by_fax(world).await;
        let brand = world.settings.brand.clone();
        holds::put(world.db(), world.stamp(), &brand, &Held::Type(APPROVED), "a wrong sentence").await.unwrap();
        world.advance(Duration::from_secs(1));
        let new = New { letter_type: LetterType::PrecertificationReceived, said: &[Circumstance::ByFax], pdf: &LETTER, ..New::default() };
        let free = new.routed(world).await.0;
        // a folder of an answer's name, before all others in order
        fs::create_dir(office.dir.path().join("answers").join("0.json")).unwrap();
        assert_eq!(office.look().await, only(1));
        assert_eq!(ways(world, &held).await[0], "fax waiting came_by_fax");
        assert_eq!(ways(world, &free).await[0], "fax in_batch came_by_fax");
        office.answer(&busy());
        assert_eq!(office.look().await, Tended { failed: 1, ..Tended::default() });
        world.advance(Duration::from_secs(40 * 60));
        assert_eq!(office.look().await, only(1), "it is tried again");
        office.answer(&sent());
        assert_eq!(office.look().await, Tended { sent: 1, ..Tended::default() });
    }
}

on_both! {
    async fn a_number_that_is_gone_and_a_letter_that_is_no_pdf_go_on_paper(world: &World) {
        let office = Office::new(world);
        practices(world).await;
        let new = New { letter_type: APPROVED, said: &[Circumstance::ByFax], pdf: b"no PDF", ..New::default() };
        let (letter, _) = new.routed(world).await;
        assert_eq!(office.look().await, Tended { on_paper: 1, ..Tended::default() });
        assert_eq!(ways(world, &letter).await[0], "fax stopped came_by_fax (fax_no_picture)");
        let second = by_fax(world).await;
        crate::journey::sql(world, "UPDATE tin SET fax = NULL").await;
        assert_eq!(office.look().await, Tended { on_paper: 1, ..Tended::default() });
        assert_eq!(ways(world, &second).await[0], "fax stopped came_by_fax (no_fax_number)");
    }
}

on_both! {
    async fn what_a_crash_left_ready_is_handed_over_once(world: &World) {
        let (office, letter) = (Office::new(world), by_fax(world).await);
        assert_eq!(office.look().await, only(1));
        // as if the process had died before it kept that it handed the job over, and the gateway had it already
        crate::journey::sql(world, "UPDATE fax_job SET state = 'prepared', handed_at = NULL").await;
        let name = office.jobs()[0].0.clone();
        office.answer(&sent());
        assert_eq!(office.look().await.sent, 1);
        assert!(office.jobs().is_empty() && !name.is_empty(), "it is not sent a second time");
        assert_eq!(ways(world, &letter).await[0], "fax delivered came_by_fax");
    }
}

on_both! {
    async fn ops_16_while_faxes_are_held_back_answers_are_taken_and_nothing_goes(world: &World) {
        let (office, letter) = (Office::new(world), by_fax(world).await);
        hold(world, Outgoing::Faxes, true).await;
        // long enough for one that nobody sends to go on paper
        world.advance(Duration::from_secs(40 * 86_400));
        assert_eq!(office.look().await, only(0));
        assert_eq!((office.jobs().len(), ways(world, &letter).await[0].as_str()), (0, "fax waiting came_by_fax"));
        hold(world, Outgoing::Faxes, false).await;
        assert_eq!(office.look().await, only(1));
    }
}
