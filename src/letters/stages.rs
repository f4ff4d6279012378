//! The stages of a letter in this journey: compose (its data whole and checked) and render (its PDF stored). What follows,
//! route and deliver, is the business of `delivery`; the two meet as work in the queue.

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use crate::db::letters::{self, Change, Letter, Made};
use crate::db::{Conn, Db, DbError, Stamp, work};
use crate::engine::stage::{Attempt, Chain, Handover, Outcome, Stage, StageError, Subject};
use crate::letters::compose;
use crate::letters::reconcile::Orphans;
use crate::letters::render::Rendered;
use crate::letters::{LetterData, LettersPolicy, Renderer};
use crate::model::calendar::Calendar;
use crate::model::ids::{Brand, Sha256};
use crate::model::judgement::{Reason, ReasonCode};
use crate::model::letter::LetterState;
use crate::model::letter::stage::{COMPOSE, RENDER, ROUTE};
use crate::model::phi::Phi;
use crate::outside::context::Context;
use crate::outside::objects::{ObjectKey, Objects};

/// What this journey works with. Cheap to clone.
#[derive(Clone)]
pub struct Letters {
    /// The database.
    pub db: Db,
    /// Clock and ids.
    pub ctx: Context,
    /// Policy.
    pub plan: Arc<LettersPolicy>,
    /// The payer's calendar.
    pub calendar: Arc<Calendar>,
    /// The object store.
    pub objects: Arc<dyn Objects>,
    /// Templates, brands and fonts.
    pub renderer: Arc<Renderer>,
    /// PDFs that no letter was seen to have.
    pub orphans: Orphans,
}

/// The chain of this journey.
pub fn chain(letters: &Letters) -> Chain {
    Chain::of(Compose(letters.clone())).then(Render(letters.clone())).end()
}

/// A letter that was asked for.
#[derive(Debug, Clone)]
pub struct Asked(pub Letter);

#[async_trait]
impl Subject for Asked {
    async fn load(conn: &mut Conn, id: &str) -> Result<Option<Self>, DbError> {
        Ok(in_state(conn, id, LetterState::Asked).await?.map(Self))
    }
}

/// A letter whose data is whole.
#[derive(Debug, Clone)]
pub struct Composed {
    /// The row.
    pub letter: Letter,
    /// What it is rendered from.
    pub data: LetterData,
}

#[async_trait]
impl Subject for Composed {
    async fn load(conn: &mut Conn, id: &str) -> Result<Option<Self>, DbError> {
        let Some(letter) = in_state(conn, id, LetterState::Composed).await? else { return Ok(None) };
        let unreadable = DbError::Unreadable { column: "data" };
        let Some(data) = &letter.data else { return Err(unreadable) };
        let data = serde_json::from_str(data.reveal()).map_err(|_| unreadable)?;
        Ok(Some(Self { letter, data }))
    }
}

async fn in_state(conn: &mut Conn, id: &str, state: LetterState) -> Result<Option<Letter>, DbError> {
    let Ok(id) = id.parse() else { return Ok(None) };
    Ok(letters::get(conn, &id).await?.filter(|letter| letter.state == state))
}

/// Gathers what the letter is made of and checks it whole: nothing is rendered with a blank (COR-02, DIS-06).
pub struct Compose(Letters);

#[async_trait]
impl Stage for Compose {
    const NAME: &'static str = COMPOSE;
    type In = Asked;
    type Product = LetterData;
    type Out = Composed;

    async fn run(&self, Asked(letter): &Asked, _: Attempt) -> Result<Outcome<LetterData>, StageError> {
        let clock = (self.0.ctx.now(), self.0.calendar.as_ref());
        let mut conn = self.0.db.read().await.map_err(StageError::from)?;
        let composed = compose::compose(&mut conn, letter.into(), clock, &self.0.renderer, &self.0.plan).await?;
        Ok(match composed {
            Ok(data) => Outcome::Advance(data),
            Err(faults) => Outcome::Reject(Reason::new(ReasonCode::IncompleteData, faults)),
        })
    }

    async fn commit(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        Asked(letter): &Asked,
        outcome: Outcome<LetterData>,
    ) -> Result<Handover, DbError> {
        match outcome {
            Outcome::Advance(data) => {
                let json = serde_json::to_string(&data).map_err(|_| DbError::Unreadable { column: "data" })?;
                let change = Change { composed: Some((Phi(json), data.date)), ..Change::default() };
                letters::transition(conn, stamp, letter, LetterState::Composed, change).await?;
                Ok(Handover::Next)
            }
            Outcome::Reject(reason) | Outcome::Hold(reason) => {
                let due_at =
                    self.0.calendar.business_deadline(self.0.ctx.now(), self.0.plan.refused.act_within_business_days);
                let change = Change {
                    reason: Some((reason.code.as_str(), reason.message)),
                    due_at: Some(due_at),
                    ..Change::default()
                };
                letters::transition(conn, stamp, letter, LetterState::Refused, change).await?;
                metrics::counter!("lettercase_letters_refused_total").increment(1);
                Ok(Handover::Waits)
            }
        }
    }
}

/// Why a letter was not rendered.
#[derive(Debug, Error)]
pub enum RenderFault {
    /// The renderer stopped half way.
    #[error("the renderer stopped")]
    Stopped,
    /// The brand or the template is wrong.
    #[error("{0}")]
    Refused(String),
}

impl Letters {
    /// Renders a letter in the looks of a brand, on a thread of its own: it takes processor time.
    ///
    /// # Errors
    /// See [`RenderFault`].
    pub async fn render(&self, data: LetterData, brand: Brand) -> Result<Rendered, RenderFault> {
        let renderer = self.renderer.clone();
        let rendered = tokio::task::spawn_blocking(move || {
            let looks = renderer.brand(brand.as_str());
            let looks = looks.ok_or_else(|| RenderFault::Refused("the brand has no looks".to_owned()))?;
            renderer.render(&data, looks).map_err(|error| RenderFault::Refused(error.to_string()))
        });
        rendered.await.unwrap_or(Err(RenderFault::Stopped))
    }
}

/// Renders the letter and stores its PDF under its hash, never to change (COR-02).
pub struct Render(Letters);

#[async_trait]
impl Stage for Render {
    const NAME: &'static str = RENDER;
    type In = Composed;
    type Product = Made;
    type Out = Composed;

    async fn run(&self, input: &Composed, _: Attempt) -> Result<Outcome<Made>, StageError> {
        let rendered =
            self.0.render(input.data.clone(), input.letter.brand.clone()).await.map_err(|error| match error {
                RenderFault::Stopped => StageError::Retry { why: error.to_string() },
                RenderFault::Refused(why) => StageError::Fail { why },
            })?;
        if !rendered.overflows.is_empty() {
            // a template's fault that a preview would have shown; what is said is on the page all the same
            tracing::warn!(letter = %input.letter.id, lines = rendered.overflows.len(), "lines of a letter overflow");
            metrics::counter!("lettercase_letters_overflowing_total").increment(1);
        }
        let sha256 = Sha256::of(&rendered.pdf);
        let made = Made {
            size_bytes: rendered.pdf.len() as u64,
            pages: u32::try_from(rendered.pages).unwrap_or(u32::MAX),
            template_version: rendered.template_version,
            brand_version: rendered.brand_version,
            engine_version: rendered.engine_version,
            sha256,
        };
        let key = ObjectKey::letter(&input.letter.brand, &made.sha256);
        self.0
            .objects
            .put_bytes(&key, rendered.pdf)
            .await
            .map_err(|error| StageError::Pause { why: format!("the store can't take a letter: {error}") })?;
        Ok(Outcome::Advance(made))
    }

    async fn commit(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        input: &Composed,
        outcome: Outcome<Made>,
    ) -> Result<Handover, DbError> {
        let Outcome::Advance(made) = outcome else { return Ok(Handover::Waits) };
        let change = Change { made: Some(made), ..Change::default() };
        letters::transition(conn, stamp, &input.letter, LetterState::Rendered, change).await?;
        work::put(conn, stamp, input.letter.id.as_str(), ROUTE).await?;
        metrics::counter!("lettercase_letters_rendered_total").increment(1);
        Ok(Handover::Waits)
    }
}
