//! Letters on their way, for an operator beside a running node: why one goes which way, and what is stopped, released
//! and held back.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{CliError, Common, Environment, code, output};
use crate::app::open_db;
use crate::db::deliveries::Delivery;
use crate::db::envelopes::Envelope;
use crate::db::routing::{self, Held, Hold};
use crate::db::{Db, Stamp, messages, users};
use crate::delivery::reconcile::take_offline;
use crate::delivery::stop::{self, WithWays};
use crate::delivery::{LetterError, holds};
use crate::digests::plan::NotificationsPlan;
use crate::digests::why;
use crate::model::event::AT_COMMAND_LINE;
use crate::model::ids::{Brand, HoldId, LetterId, Tin, UserId};
use crate::model::letter::{DeliveryChannel, LetterType, StopReason};
use crate::model::route::RouteReason;
use crate::outside::context::Context;
use crate::settings::Settings;

/// Holds that a list shows, and letters that one transaction's look releases.
const PART: i64 = 500;

#[derive(Subcommand)]
pub(super) enum LettersCommand {
    /// Show which ways a letter goes, and why.
    Why {
        #[command(flatten)]
        common: Common,
        /// The letter's id.
        letter: LetterId,
        /// Show instead whether this user was told of it by mail, and why or why not.
        #[arg(long, value_name = "ID")]
        user: Option<UserId>,
    },
    /// Stop a letter; of one that is routed, the ways that wait still.
    Stop {
        #[command(flatten)]
        common: Common,
        /// The letter's id.
        letter: LetterId,
        /// wrong_content, wrong_addressee, duplicate, withdrawn or other.
        #[arg(long, value_parser = code::<StopReason>)]
        reason: StopReason,
    },
    /// Let a stopped letter go again.
    Release {
        #[command(flatten)]
        common: Common,
        /// The letter's id.
        letter: LetterId,
    },
    /// Hold letters of a type, or to a practice, back.
    Hold {
        #[command(flatten)]
        common: Common,
        /// The brand; else the settings'.
        #[arg(long)]
        brand: Option<Brand>,
        /// A type of letter.
        #[arg(long = "type", value_name = "TYPE", value_parser = code::<LetterType>, required_unless_present = "tin", conflicts_with = "tin")]
        letter_type: Option<LetterType>,
        /// A practice.
        #[arg(long)]
        tin: Option<Tin>,
        /// Why, in a few words without health data.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// List the holds that stand.
    Holds {
        #[command(flatten)]
        common: Common,
        /// Also those that were lifted.
        #[arg(long)]
        all: bool,
    },
    /// Lift a hold.
    Lift {
        #[command(flatten)]
        common: Common,
        /// The hold's id.
        hold: HoldId,
        /// Let the letters go again that it stopped.
        #[arg(long)]
        release: bool,
    },
    /// Take what was online for its time out of the Messaging Center, as a running node does by itself.
    Offline {
        #[command(flatten)]
        common: Common,
        /// Only count it.
        #[arg(long)]
        dry_run: bool,
    },
}

/// What the commands work with.
struct Desk {
    settings: Settings,
    db: Db,
    ctx: Context,
    json: bool,
}

pub(super) async fn run(command: LettersCommand, environment: &Environment) -> Result<(), CliError> {
    let desk = async |common: &Common| -> Result<Desk, CliError> {
        let settings = environment.settings(common.data.as_deref())?;
        Ok(Desk { db: open_db(&settings).await?, ctx: Context::system(), json: common.json, settings })
    };
    match command {
        LettersCommand::Why { common, letter, user: None } => desk(&common).await?.why(&letter).await,
        LettersCommand::Why { common, letter, user: Some(user) } => desk(&common).await?.told(&letter, &user).await,
        LettersCommand::Stop { common, letter, reason } => {
            let desk = desk(&common).await?;
            desk.show(&stop::stop(&desk.db, desk.stamp(), &letter, None, reason).await?);
            Ok(())
        }
        LettersCommand::Release { common, letter } => {
            let desk = desk(&common).await?;
            desk.show(&stop::release(&desk.db, desk.stamp(), &letter, None).await?);
            Ok(())
        }
        LettersCommand::Hold { common, brand, letter_type, tin, reason } => {
            let desk = desk(&common).await?;
            let held = Held::one_of(letter_type, tin);
            let held = held.ok_or_else(|| CliError::Usage("name a type or a TIN, one of both".into()))?;
            let brand = brand.unwrap_or_else(|| desk.settings.brand.clone());
            let hold = holds::put(&desk.db, desk.stamp(), &brand, &held, &reason).await?;
            desk.show_holds(&[hold]);
            Ok(())
        }
        LettersCommand::Holds { common, all } => desk(&common).await?.holds(all).await,
        LettersCommand::Lift { common, hold, release } => desk(&common).await?.lift(&hold, release).await,
        LettersCommand::Offline { common, dry_run } => desk(&common).await?.offline(dry_run).await,
    }
}

impl Desk {
    fn stamp(&self) -> Stamp<'_> {
        Stamp { ctx: &self.ctx, actor: AT_COMMAND_LINE }
    }

    async fn why(&self, id: &LetterId) -> Result<(), CliError> {
        let mut conn = self.db.read().await?;
        self.show(&stop::look(&mut conn, id).await?.ok_or(LetterError::NoLetter)?);
        Ok(())
    }

    /// Whether a user was told of a letter.
    async fn told(&self, id: &LetterId, user: &UserId) -> Result<(), CliError> {
        let mut conn = self.db.read().await?;
        stop::look(&mut conn, id).await?.ok_or(LetterError::NoLetter)?;
        users::get(&mut conn, user).await?.ok_or(CliError::Usage("there is no such user".into()))?;
        let plan = NotificationsPlan::load(self.settings.config_dir.as_deref())?.plan;
        let told = why::why(&mut conn, id, user, plan.choices.starts_with).await?;
        if self.json {
            output::json(&json!({ "letter": id, "user": user, "state": told.code(), "explanation": told.sentence() }));
        } else {
            println!("{}", told.sentence());
        }
        Ok(())
    }

    async fn offline(&self, dry_run: bool) -> Result<(), CliError> {
        let messages = if dry_run {
            let mut conn = self.db.read().await?;
            messages::overdue(&mut conn, self.ctx.now()).await?
        } else {
            i64::try_from(take_offline(&self.db, self.stamp()).await?).unwrap_or(i64::MAX)
        };
        if self.json {
            output::json(&json!({ "messages": messages, "dry_run": dry_run }));
        } else if dry_run {
            println!("{messages} messages would go offline");
        } else {
            println!("{messages} messages went offline");
        }
        Ok(())
    }

    fn show(&self, found: &WithWays) {
        let letter = &found.letter;
        if self.json {
            output::json(&json!({
                "letter_id": letter.id,
                "type": letter.letter_type,
                "category": letter.category,
                "state": letter.state,
                "because": letter.reason.as_ref().map(|(code, sentence)| json!({ "code": code, "sentence": sentence })),
                "deliveries": found.deliveries.iter().map(|one| view(one, &found.envelopes)).collect::<Vec<_>>(),
                "supersedes": letter.supersedes,
                "superseded_by": letter.superseded_by,
            }));
            return;
        }
        println!("{} ({}) is {}", letter.id, letter.letter_type, letter.state);
        if let Some((_, sentence)) = &letter.reason {
            println!("  {sentence}");
        }
        for delivery in &found.deliveries {
            let sentences: Vec<&str> = delivery.reasons.iter().map(|code| sentence(code)).collect();
            println!("  {}, {}: {}", delivery.channel.shown(), delivery.state, sentences.join(" "));
            if let Some(code) = &delivery.reason {
                println!("    {}", stopped(code));
            }
        }
        for (batch, envelope) in &found.envelopes {
            let reason = envelope.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            println!("  Envelope {} of {batch}: {}{reason}", envelope.sequence, envelope.state);
        }
        if let Some(other) = &letter.supersedes {
            println!("  It takes the place of {other}.");
        }
        if let Some(other) = &letter.superseded_by {
            println!("  {other} took its place.");
        }
    }

    async fn holds(&self, all: bool) -> Result<(), CliError> {
        let mut conn = self.db.read().await?;
        let (mut found, mut before): (Vec<Hold>, Option<(i64, HoldId)>) = (Vec::new(), None);
        loop {
            let place = before.as_ref().map(|(at, id)| (*at, id));
            let part = routing::holds(&mut conn, all, place, PART).await?;
            before = part.last().map(|hold| (hold.created_at.as_microsecond(), hold.id.clone()));
            found.extend(part);
            if before.is_none() {
                break;
            }
        }
        self.show_holds(&found);
        Ok(())
    }

    fn show_holds(&self, holds: &[Hold]) {
        if self.json {
            output::json(&holds.iter().map(hold_view).collect::<Vec<_>>());
            return;
        }
        let row = |hold: &Hold| {
            let lifted = hold.lifted_at.map(|at| at.to_string()).unwrap_or_default();
            [
                hold.id.to_string(),
                hold.brand.to_string(),
                held(&hold.held),
                hold.created_at.to_string(),
                lifted,
                hold.reason.clone(),
            ]
        };
        output::table(["hold", "brand", "of", "since", "lifted", "reason"], holds.iter().map(row));
    }

    async fn lift(&self, id: &HoldId, release: bool) -> Result<(), CliError> {
        let part = if release { PART } else { 0 };
        let mut lifted = holds::lift(&self.db, self.stamp(), id, None, part).await?;
        let mut released = lifted.released;
        // what another hold has too stays: no more than that is left when a look releases nothing
        while lifted.released > 0 && lifted.left > 0 {
            lifted = holds::lift(&self.db, self.stamp(), id, None, part).await?;
            released += lifted.released;
        }
        if self.json {
            output::json(&json!({ "hold_id": id, "released": released, "left": lifted.left }));
        } else {
            println!("{id} is lifted; {released} letters go again, {} are stopped still", lifted.left);
        }
        Ok(())
    }
}

fn view(delivery: &Delivery, envelopes: &[(String, Envelope)]) -> Value {
    let envelopes = if delivery.channel == DeliveryChannel::Paper { envelopes } else { &[] };
    let envelopes = envelopes.iter().map(|(batch, envelope)| {
        json!({ "batch": batch, "sequence": envelope.sequence, "state": envelope.state, "reason": envelope.reason })
    });
    let reasons = delivery.reasons.iter().map(|code| json!({ "code": code, "sentence": sentence(code) }));
    json!({
        "channel": delivery.channel,
        "state": delivery.state,
        "reasons": reasons.collect::<Vec<_>>(),
        "stopped": delivery.reason,
        "created_at": delivery.created_at.to_string(),
        "ended_at": delivery.ended_at.map(|at| at.to_string()),
        "envelopes": envelopes.collect::<Vec<_>>(),
    })
}

fn hold_view(hold: &Hold) -> Value {
    let (letter_type, tin) = hold.held.parts();
    json!({
        "id": hold.id,
        "brand": hold.brand,
        "type": letter_type,
        "tin": tin,
        "reason": hold.reason,
        "created_by": hold.created_by,
        "created_at": hold.created_at.to_string(),
        "lifted_at": hold.lifted_at.map(|at| at.to_string()),
    })
}

fn held(held: &Held) -> String {
    match held {
        Held::Type(letter_type) => letter_type.to_string(),
        Held::Tin(tin) => tin.masked(),
    }
}

/// A code that only a newer version knows is shown as it is.
pub(super) fn sentence(code: &str) -> &str {
    code.parse::<RouteReason>().map_or(code, |reason| reason.sentence())
}

fn stopped(code: &str) -> &str {
    code.parse::<StopReason>().map_or(code, |reason| reason.sentence())
}
