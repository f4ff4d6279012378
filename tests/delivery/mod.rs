//! Letters from the stored PDF on: which ways they go, what stops them, and who may change that.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod command;
mod handouts;
pub(crate) mod http;
mod inbox;
mod paper;
mod pipeline;
mod routing;
mod stopping;
mod upkeep;

use std::fmt::Write as _;

use jiff::civil::Date;
use lettercase::access::{Expected, Manager};
use lettercase::db::letters::{self, Addressee, Change, Letter, Made, NewLetter};
use lettercase::db::users::User;
use lettercase::db::{Db, Stamp, deliveries};
use lettercase::delivery::{Rendered, Route};
use lettercase::engine::stage::{Outcome, Stage, Subject};
use lettercase::model::access::{Entitlement, TinRights};
use lettercase::model::ids::{Brand, LetterId, Sha256, Tin};
use lettercase::model::letter::stage::{COMPOSE, DELIVER, ROUTE};
use lettercase::model::letter::{Circumstance, LetterState, LetterType};
use lettercase::model::people::{Login, Person};
use lettercase::model::phi::Phi;
use lettercase::model::reference::ReferenceKind;
use lettercase::outside::context::Context;
use lettercase::outside::objects::ObjectKey;
use sha2::Digest;

use crate::support::World;

pub(crate) const UPHELD: LetterType = LetterType::ReconsiderationUpheld;
pub(crate) const APPROVED: LetterType = LetterType::PrecertificationApproved;

/// A registered practice with readers and a fax number, one without registration, one where nobody reads.
pub(crate) const REGISTERED: &str = "000000001";
pub(crate) const UNREGISTERED: &str = "000000002";
pub(crate) const UNREAD: &str = "000000003";

const MACHINE: Manager<'static> = Manager::Machine("test");

pub(crate) fn tin(text: &str) -> Tin {
    text.parse().unwrap()
}

/// The three practices, members with plans, and who reads for the practices: `ada` manages the registered one.
pub(crate) async fn practices(world: &World) -> User {
    let tins = [
        (REGISTERED, r#","registered_on":"2024-01-01","fax":"5035550100""#),
        (UNREGISTERED, ""),
        (UNREAD, r#","registered_on":"2024-01-01""#),
    ];
    let rows = tins.map(|(tin, more)| format!("{{\"tin\":\"{tin}\",\"name\":\"A practice\"{more}}}\n")).concat();
    assert_eq!(world.load(ReferenceKind::Tins, &rows).await.rejected, 0);
    let mut rows = String::new();
    for (member, plan) in [("M-PPO", r#","plan":"PPO""#), ("M-HMO", r#","plan":"HMO""#), ("M-NONE", "")] {
        writeln!(rows, r#"{{"brand":"meridian","member_id":"{member}","first_name":"A","last_name":"B","birth_date":"1980-01-02"{plan}}}"#).unwrap();
    }
    assert_eq!(world.load(ReferenceKind::Members, &rows).await.rejected, 0);
    let ada = user(world, "ada").await;
    let all = [Entitlement::ClaimSearch, Entitlement::PrecertViewSubmit];
    grant(world, &ada, REGISTERED, &all, true).await;
    let bob = user(world, "bob").await;
    grant(world, &bob, UNREGISTERED, &all, false).await;
    // one who manages and one who may not come in see nothing
    grant(world, &bob, UNREAD, &[Entitlement::PatientSearch], true).await;
    let cy = user(world, "cy").await;
    grant(world, &cy, UNREAD, &all, false).await;
    world.app.access.set_disabled(MACHINE, &cy.id, true, Expected::Any).await.unwrap();
    ada
}

pub(crate) async fn user(world: &World, subject: &str) -> User {
    let login = Login { issuer: "portal".parse().unwrap(), subject: subject.parse().unwrap() };
    let person = Person { name: Phi(subject.to_owned()), email: None };
    world.app.access.put_user(MACHINE, &login, person, Expected::Any).await.unwrap().0
}

pub(crate) async fn grant(world: &World, user: &User, of: &str, rights: &[Entitlement], access_manager: bool) {
    let rights = TinRights { entitlements: rights.iter().copied().collect(), access_manager };
    world.app.access.put_entitlement(MACHINE, &user.id, &tin(of), rights, Expected::Any).await.unwrap();
}

pub(crate) fn hash(bytes: &[u8]) -> Sha256 {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>().parse().unwrap()
}

/// A letter as it comes out of rendering.
pub(crate) struct New<'a> {
    pub(crate) letter_type: LetterType,
    /// A TIN, or a member's id.
    pub(crate) to: &'a str,
    pub(crate) about: Option<&'a str>,
    pub(crate) said: &'a [Circumstance],
    pub(crate) date: Date,
    pub(crate) supersedes: Option<&'a LetterId>,
    /// How far it has come.
    pub(crate) state: LetterState,
    /// What is stored as its PDF.
    pub(crate) pdf: &'a [u8],
}

impl Default for New<'_> {
    fn default() -> Self {
        Self {
            letter_type: UPHELD,
            to: REGISTERED,
            about: Some("M-PPO"),
            said: &[],
            date: jiff::civil::date(2026, 11, 20),
            supersedes: None,
            state: LetterState::Rendered,
            pdf: b"a letter",
        }
    }
}

impl New<'_> {
    /// Makes it.
    pub(crate) async fn ask(&self, world: &World) -> LetterId {
        if self.state == LetterState::Rendered {
            let key = ObjectKey::letter(&world.settings.brand, &hash(self.pdf));
            world.app.intake.objects.put_bytes(&key, self.pdf.to_vec()).await.unwrap();
        }
        self.ask_in(world.db(), &world.app.intake.ctx).await
    }

    pub(crate) async fn ask_in(&self, db: &Db, ctx: &Context) -> LetterId {
        let stamp = Stamp { ctx, actor: "test" };
        let id: LetterId = ctx.new_id().parse().unwrap();
        let brand: Brand = "meridian".parse().unwrap();
        let addressee = match self.to.parse() {
            Ok(tin) => Addressee::Tin(tin),
            Err(_) => Addressee::Member(self.to.parse().unwrap()),
        };
        let details = Phi("{}".to_owned());
        let about = self.about.map(|member| member.parse().unwrap());
        let circumstances = self.said.iter().copied().collect();
        let new = NewLetter {
            id: &id,
            brand: &brand,
            letter_type: self.letter_type,
            asker: "test",
            event_id: id.as_str(),
            addressee,
            tin: None,
            member_id: about.as_ref(),
            claim_number: None,
            case_id: None,
            details: &details,
            circumstances: &circumstances,
            supersedes: self.supersedes,
        };
        let mut tx = db.begin().await.unwrap();
        let first = if self.state == LetterState::Rendered { ROUTE } else { COMPOSE };
        let mut letter = letters::ask(&mut tx, stamp, &new, first).await.unwrap().unwrap();
        let composed = Change { composed: Some((Phi("{}".to_owned()), self.date)), ..Change::default() };
        let made = Made {
            sha256: hash(self.pdf),
            size_bytes: self.pdf.len() as u64,
            pages: 1,
            template_version: "1".into(),
            brand_version: "1".into(),
            engine_version: "1".into(),
        };
        let rendered = Change { made: Some(made), ..Change::default() };
        let refused = Change { reason: Some(("missing", "Something is missing.".into())), ..Change::default() };
        let steps = match self.state {
            LetterState::Asked => vec![],
            LetterState::Composed => vec![(LetterState::Composed, composed)],
            LetterState::Refused => vec![(LetterState::Refused, refused)],
            LetterState::Rendered => vec![(LetterState::Composed, composed), (LetterState::Rendered, rendered)],
            LetterState::Routed | LetterState::Stopped => panic!("that comes by itself"),
        };
        for (to, change) in steps {
            letters::transition(&mut tx, stamp, &letter, to, change).await.unwrap();
            letter = letters::get(&mut tx, &id).await.unwrap().unwrap();
        }
        tx.commit().await.unwrap();
        id
    }

    /// Makes it and has its ways decided; that to the Messaging Center waits still.
    pub(crate) async fn undelivered(&self, world: &World) -> LetterId {
        let id = self.ask(world).await;
        let stage = Route(world.app.correspondence.clone());
        let mut tx = world.db().begin().await.unwrap();
        let input = Rendered::load(&mut tx, id.as_str()).await.unwrap().unwrap();
        stage.commit(&mut tx, world.stamp(), &input, Outcome::Advance(())).await.unwrap();
        lettercase::db::work::restart(&mut tx, world.stamp(), id.as_str(), DELIVER).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// Makes it and has it routed: its ways.
    pub(crate) async fn routed(&self, world: &World) -> (LetterId, Vec<String>) {
        let id = self.ask(world).await;
        world.settle().await;
        let ways = ways(world, &id).await;
        (id, ways)
    }
}

pub(crate) async fn letter(world: &World, id: &LetterId) -> Letter {
    let mut conn = world.db().read().await.unwrap();
    letters::get(&mut conn, id).await.unwrap().unwrap()
}

/// State and reason of a letter: `stopped held_type`.
pub(crate) async fn stands(world: &World, id: &LetterId) -> String {
    let letter = letter(world, id).await;
    letter.reason.map_or_else(|| letter.state.to_string(), |(code, _)| format!("{} {code}", letter.state))
}

/// A letter's deliveries: `inbox delivered registered`, and why one was stopped in brackets.
pub(crate) async fn ways(world: &World, id: &LetterId) -> Vec<String> {
    let mut conn = world.db().read().await.unwrap();
    let all = deliveries::of_letter(&mut conn, id).await.unwrap();
    let told = all.into_iter().map(|one| {
        let stopped = one.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("{} {} {}{stopped}", one.channel, one.state, one.reasons.join(" "))
    });
    told.collect()
}

/// The work there is for a letter.
pub(crate) async fn work_for(world: &World, id: &LetterId) -> Vec<String> {
    let mut conn = world.db().read().await.unwrap();
    let rows = lettercase::db::work::of_subject(&mut conn, id.as_str()).await.unwrap();
    rows.into_iter().map(|row| row.stage).collect()
}
