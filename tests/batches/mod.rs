//! Print batches: closed at the cut-off, put together, and every envelope accounted for (COR-40..42).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod addresses;
mod closing;
mod crash;
mod http;
mod word;

use std::sync::LazyLock;

use lettercase::app::correspondence::CorrespondencePlan;
use lettercase::db::batches::{self, Batch};
use lettercase::db::envelopes::{self, Envelope};
use lettercase::db::letters::{self, Addressee, Change, Made, NewLetter};
use lettercase::db::{Db, Stamp, deliveries};
use lettercase::engine::bulk::Form;
use lettercase::letters::render::Renderer;
use lettercase::model::ids::{BatchId, Brand, LetterId};
use lettercase::model::letter::stage::ROUTE;
use lettercase::model::letter::{DeliveryChannel, LetterState, LetterType};
use lettercase::model::paper::BatchState;
use lettercase::model::phi::Phi;
use lettercase::outside::context::Context;
use lettercase::outside::objects::{ObjectKey, Objects};
use lettercase::paper::Paper;
use lettercase::paper::acknowledge::Acknowledged;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::World;

/// A PDF that all letters of these tests share: what is on it is tested elsewhere.
static PDF: LazyLock<(Vec<u8>, u32)> = LazyLock::new(|| {
    let renderer = Renderer::open(None).unwrap();
    let plan = CorrespondencePlan::load(None).unwrap().plan.letters;
    let sample = &renderer.samples(LetterType::ReturnCoverSheet)[0];
    let data = renderer.check_document(LetterType::ReturnCoverSheet, &sample.document, &plan).unwrap();
    let rendered = renderer.render(&data, renderer.brand("meridian").unwrap()).unwrap();
    (rendered.pdf, u32::try_from(rendered.pages).unwrap())
});

/// A letter that goes on paper.
#[derive(Clone, Copy)]
struct Post<'a> {
    brand: &'a str,
    to: &'a str,
    street: &'a str,
    zip: &'a str,
}

impl Default for Post<'_> {
    fn default() -> Self {
        Self { brand: "meridian", to: crate::delivery::UNREGISTERED, street: "12 Weir St", zip: "43001" }
    }
}

impl Post<'_> {
    /// Makes it, rendered.
    async fn ask_in(&self, db: &Db, ctx: &Context, objects: &dyn Objects) -> LetterId {
        let (stamp, brand) = (Stamp { ctx, actor: "test" }, self.brand.parse::<Brand>().unwrap());
        let id: LetterId = ctx.new_id().parse().unwrap();
        let addressee = match self.to.parse() {
            Ok(tin) => Addressee::Tin(tin),
            Err(_) => Addressee::Member(self.to.parse().unwrap()),
        };
        let new = NewLetter {
            id: &id,
            brand: &brand,
            letter_type: LetterType::ReconsiderationUpheld,
            asker: "test",
            event_id: id.as_str(),
            addressee,
            tin: None,
            member_id: None,
            claim_number: None,
            case_id: None,
            details: &Phi("{}".to_owned()),
            circumstances: &[].into(),
            supersedes: None,
        };
        let made = Made {
            sha256: hex::encode(Sha256::digest(&PDF.0)).parse().unwrap(),
            size_bytes: PDF.0.len() as u64,
            pages: PDF.1,
            template_version: "1".into(),
            brand_version: "1".into(),
            engine_version: "1".into(),
        };
        objects.put_bytes(&ObjectKey::letter(&brand, &made.sha256), PDF.0.clone()).await.unwrap();
        let addressee = json!({
            "kind": "practice", "name": "Weir Clinic", "attention": null, "lines": [self.street],
            "city": "Ellery", "state": "OH", "zip": self.zip,
        });
        let date = jiff::civil::date(2026, 11, 20);
        let data = json!({
            "letter_type": "reconsideration_upheld", "date": date, "languages_page": false,
            "document": { "head": { "addressee": addressee }, "details": {} },
        });
        let mut tx = db.begin().await.unwrap();
        let letter = letters::ask(&mut tx, stamp, &new, ROUTE).await.unwrap().unwrap();
        let composed = Change { composed: Some((Phi(data.to_string()), date)), ..Change::default() };
        letters::transition(&mut tx, stamp, &letter, LetterState::Composed, composed).await.unwrap();
        let letter = letters::get(&mut tx, &id).await.unwrap().unwrap();
        let rendered = Change { made: Some(made), ..Change::default() };
        letters::transition(&mut tx, stamp, &letter, LetterState::Rendered, rendered).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// Makes it, and has it routed: it waits for a batch.
    async fn sent(&self, world: &World) -> LetterId {
        let intake = &world.app.intake;
        let id = self.ask_in(world.db(), &intake.ctx, intake.objects.as_ref()).await;
        world.settle().await;
        id
    }
}

fn paper(world: &World) -> &Paper {
    &world.app.paper
}

fn brand() -> Brand {
    "meridian".parse().unwrap()
}

async fn close_now(world: &World) -> Batch {
    let batch = paper(world).close_now(world.stamp(), &brand()).await.unwrap();
    world.settle().await;
    look(world, &batch.id).await
}

async fn look(world: &World, id: &BatchId) -> Batch {
    let mut conn = world.db().read().await.unwrap();
    batches::get(&mut conn, id).await.unwrap().unwrap()
}

async fn all_batches(world: &World) -> Vec<Batch> {
    let mut conn = world.db().read().await.unwrap();
    let mut all = batches::list(&mut conn, None, None, None, 100).await.unwrap();
    all.sort_by(|a, b| (a.day, &a.name).cmp(&(b.day, &b.name)));
    all
}

async fn pieces(world: &World, id: &BatchId) -> Vec<Envelope> {
    let mut conn = world.db().read().await.unwrap();
    envelopes::of_batch(&mut conn, id, None, 0, 1_000).await.unwrap()
}

/// How a letter stands on paper: the state of its delivery, and its envelopes, the last one first.
async fn stands(world: &World, id: &LetterId) -> String {
    let mut conn = world.db().read().await.unwrap();
    let ways = deliveries::of_letter(&mut conn, id).await.unwrap();
    let way = ways.iter().find(|way| way.channel == DeliveryChannel::Paper).unwrap();
    let all = envelopes::of_letter(&mut conn, id).await.unwrap();
    let all: Vec<String> = all.iter().map(|(_, one)| format!("{} {}", one.sequence, one.state)).collect();
    format!("{}: {}", way.state, all.join(", "))
}

/// Has a printer say this, as lines of JSON.
async fn said(world: &World, id: &BatchId, lines: &[Value]) -> Acknowledged {
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    paper(world).acknowledge(world.stamp(), id, text.as_bytes(), Form::Ndjson).await.unwrap()
}

/// The manifest of a batch.
async fn manifest(world: &World, batch: &Batch) -> Value {
    let key = ObjectKey::batch(&batch.brand, &batch.files.as_ref().unwrap().json.sha256);
    let bytes = world.app.intake.objects.get_bytes(&key, 1 << 20).await.unwrap().unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn is_assembled(batch: &Batch) {
    assert_eq!(batch.state, BatchState::Assembled);
}
