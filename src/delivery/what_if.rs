//! What would be, were paper on or off: decided like the real thing, written nowhere (COR-12, COR-14).

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::civil::Date;

use super::{Correspondence, LetterError, day_of, facts};
use crate::db::routing;
use crate::model::ids::Tin;
use crate::model::letter::{AddresseeKind, Circumstances, DeliveryChannel, LetterCategory, LetterType};
use crate::model::route::{LetterFacts, Routing, decide, on_paper_with_choice};

/// How far back letters are looked at.
pub const DAYS_BACK: i64 = 30;

/// A letter to a practice, as it might come.
#[derive(Debug, Clone)]
pub struct Supposed {
    /// What it says.
    pub letter_type: LetterType,
    /// The code of the plan of its member.
    pub plan: Option<String>,
    /// The date on it; today where none is said.
    pub letter_date: Option<Date>,
    /// What is said of it.
    pub circumstances: Circumstances,
}

/// What would come of a choice of paper.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WhatIf {
    /// The decision over the letter supposed.
    pub routing: Option<Routing>,
    /// Letters to the practice of the last days that are routed.
    pub letters: i64,
    /// Those of them that went on paper.
    pub on_paper: i64,
    /// Those that would have gone on paper.
    pub would_be_on_paper: i64,
}

impl Correspondence {
    /// What would come of it if the TIN had paper on or off for these categories; others are as they are.
    ///
    /// # Errors
    /// [`LetterError::NoTin`], or when the database fails.
    pub async fn what_if(
        &self,
        tin: &Tin,
        paper: &BTreeMap<LetterCategory, bool>,
        letter: Option<&Supposed>,
    ) -> Result<WhatIf, LetterError> {
        let now = self.ctx.now();
        let today = self.calendar.local_day(now);
        let mut conn = self.db.read().await?;
        routing::practice(&mut conn, tin).await?.ok_or(LetterError::NoTin)?;
        let mut answer = WhatIf::default();
        if let Some(letter) = letter {
            let mut tin = facts(&mut conn, tin, letter.letter_type.category()).await?;
            for (category, on) in paper {
                if *on {
                    tin.paper.insert(*category, day_of(now));
                } else {
                    tin.paper.remove(category);
                }
            }
            let facts = LetterFacts {
                letter_type: letter.letter_type,
                addressee: AddresseeKind::Tin,
                letter_date: letter.letter_date.unwrap_or(today),
                plan: letter.plan.as_deref(),
                circumstances: &letter.circumstances,
            };
            answer.routing = Some(decide(&facts, &tin, &self.plan.route, today));
        }
        let since = now.saturating_sub(SignedDuration::from_hours(DAYS_BACK * 24)).unwrap_or(now);
        for (category, ways, letters) in routing::ways_since(&mut conn, tin, since).await? {
            let was = ways.iter().any(|(channel, _)| *channel == DeliveryChannel::Paper);
            let would = match paper.get(&category) {
                Some(on) if category.has_paper_choice() => on_paper_with_choice(&ways, *on),
                _ => was,
            };
            answer.letters += letters;
            answer.on_paper += if was { letters } else { 0 };
            answer.would_be_on_paper += if would { letters } else { 0 };
        }
        Ok(answer)
    }
}
