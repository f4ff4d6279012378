//! Mails of digests, for an operator beside a running node: how they stand, and what becomes of those in doubt.

use clap::Subcommand;

use super::{CliError, Common, Environment, code, output};
use crate::app::{open_db, open_digests};
use crate::db::Stamp;
use crate::db::digest_mails::{self, Mail, Which};
use crate::digests::upkeep::MailError;
use crate::http::api::mails::MailView;
use crate::model::digest::MailState;
use crate::model::event::AT_COMMAND_LINE;
use crate::model::ids::{MailId, RunId, UserId};
use crate::outside::context::Context;

/// What to do with mails.
#[derive(Subcommand)]
pub(super) enum MailsCommand {
    /// List those in doubt; else those of a run or a user.
    List {
        #[command(flatten)]
        common: Common,
        /// Those of a run, as the history of its schedule shows it.
        #[arg(long, value_name = "ID", conflicts_with = "user")]
        run: Option<RunId>,
        /// Of a run, those in a state: planned, claimed, submitting, accepted, retry, rejected, in_doubt, closed, empty,
        /// bounced or folded.
        #[arg(long, value_parser = code::<MailState>, requires = "run")]
        state: Option<MailState>,
        /// Those of a user.
        #[arg(long, value_name = "ID")]
        user: Option<UserId>,
        /// The first so many.
        #[arg(long, value_name = "N", default_value_t = 100)]
        most: i64,
    },
    /// Show one.
    Show {
        #[command(flatten)]
        common: Common,
        /// The mail, as the list shows it.
        mail: MailId,
    },
    /// Have one in doubt sent again, under the same Message-ID, by which mail programs know a copy.
    Resend {
        #[command(flatten)]
        common: Common,
        /// The mail, as the list shows it.
        mail: MailId,
    },
    /// Say of one in doubt that it is not to be sent again.
    Close {
        #[command(flatten)]
        common: Common,
        /// The mail, as the list shows it.
        mail: MailId,
    },
}

impl MailsCommand {
    const fn common(&self) -> &Common {
        match self {
            Self::List { common, .. }
            | Self::Show { common, .. }
            | Self::Resend { common, .. }
            | Self::Close { common, .. } => common,
        }
    }
}

pub(super) async fn run(command: MailsCommand, environment: &Environment) -> Result<(), CliError> {
    let settings = environment.settings(command.common().data.as_deref())?;
    let json = command.common().json;
    let digests = open_digests(&settings, open_db(&settings).await?, Context::system())?;
    let stamp = Stamp { ctx: &digests.ctx, actor: AT_COMMAND_LINE };
    let mail = match command {
        MailsCommand::List { run, state, user, most, .. } => {
            let which = match (run, state, user) {
                (Some(run), Some(state), _) => Which::RunIn(run, state),
                (Some(run), None, _) => Which::Run(run),
                (None, _, Some(user)) => Which::User(user),
                (None, _, None) => Which::InDoubt,
            };
            let mut conn = digests.db.read().await?;
            list(digest_mails::list(&mut conn, &which, None, most.max(1)).await?, json);
            return Ok(());
        }
        MailsCommand::Show { mail, .. } => {
            let mut conn = digests.db.read().await?;
            digest_mails::get(&mut conn, &mail).await?.ok_or(MailError::NoMail)?
        }
        MailsCommand::Resend { mail, .. } => digests.decide_mail(stamp, &mail, None, true).await?,
        MailsCommand::Close { mail, .. } => digests.decide_mail(stamp, &mail, None, false).await?,
    };
    show(mail, json);
    Ok(())
}

fn list(mails: Vec<Mail>, json: bool) {
    if json {
        output::json(&mails.into_iter().map(MailView::from).collect::<Vec<_>>());
        return;
    }
    let row = |mail: &Mail| {
        let (practices, letters) = mail.sent.unwrap_or(mail.planned);
        [
            mail.id.to_string(),
            because(mail),
            practices.to_string(),
            letters.to_string(),
            mail.tries.to_string(),
            mail.submitted_at.map(|at| at.to_string()).unwrap_or_default(),
            mail.relay.clone().unwrap_or_default(),
        ]
    };
    output::table(["mail", "state", "practices", "letters", "tries", "handed over", "relay"], mails.iter().map(row));
}

fn show(mail: Mail, json: bool) {
    if json {
        output::json(&MailView::from(mail));
        return;
    }
    println!("{} is {}: {}", mail.id, because(&mail), mail.state.sentence());
    println!("  of run {}, for user {}", mail.run_id, mail.user);
    let (practices, letters) = mail.planned;
    println!("  planned with {letters} letters of {practices} practices");
    if let Some((practices, letters)) = mail.sent {
        println!("  told of {letters} letters of {practices} practices");
    }
    if let Some(at) = mail.submitted_at {
        println!("  handed over at {at} to {}, try {}", mail.relay.as_deref().unwrap_or("a relay"), mail.tries);
    }
    if let Some(at) = mail.next_at {
        println!("  is tried at {at}");
    }
    if let Some(at) = mail.ended_at {
        println!("  ended at {at}");
    }
}

/// The state, and why.
fn because(mail: &Mail) -> String {
    match &mail.reason {
        Some(reason) => format!("{} ({reason})", mail.state),
        None => mail.state.to_string(),
    }
}
