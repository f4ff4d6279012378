//! `users`: people with logins, their roles, and their rights per TIN, beside a running node.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::keys::{CLI, PART, access};
use super::{CliError, Common, Environment, admin, code, output};
use crate::access::{Access, Expected};
use crate::db::users::{Granted, User, UserFilter};
use crate::engine::bulk::LoadReport;
use crate::model::access::{Entitlement, Role, TinRights};
use crate::model::ids::{Tin, UserId};
use crate::model::people::{Login, PeopleKind};
use crate::model::phi::Phi;

/// What to do with users.
#[derive(Subcommand)]
pub(super) enum UsersCommand {
    /// List them.
    List {
        #[command(flatten)]
        common: Common,
        /// A part of name, address or subject.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Only the payer's own people.
        #[arg(long)]
        staff: bool,
    },
    /// Show one with roles and rights.
    Show {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        who: Who,
    },
    /// Load users or entitlements from NDJSON or CSV.
    Load {
        #[command(flatten)]
        common: Common,
        /// What the file holds.
        #[arg(value_parser = code::<PeopleKind>)]
        kind: PeopleKind,
        /// The file; its ending (.ndjson, .jsonl, .csv) tells its form.
        file: PathBuf,
    },
    /// Give one these roles in place of others; none takes all away.
    SetRoles {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        who: Who,
        /// Roles, joined by commas.
        #[arg(long, value_delimiter = ',', value_parser = code::<Role>, value_name = "ROLE,…")]
        roles: Vec<Role>,
    },
    /// Shut one out, at once and everywhere.
    Disable {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        who: Who,
        /// Let them in again instead.
        #[arg(long)]
        undo: bool,
    },
    /// Rights per TIN.
    Entitlements {
        #[command(subcommand)]
        command: EntitlementsCommand,
    },
}

/// What to do with rights.
#[derive(Subcommand)]
pub(super) enum EntitlementsCommand {
    /// List who has which for a TIN.
    List {
        #[command(flatten)]
        common: Common,
        /// The TIN.
        #[arg(long)]
        tin: Tin,
    },
    /// Give a user these rights for a TIN in place of others.
    Grant {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        who: Who,
        /// The TIN.
        #[arg(long)]
        tin: Tin,
        /// Entitlements, joined by commas.
        #[arg(long, value_delimiter = ',', value_parser = code::<Entitlement>, value_name = "ENTITLEMENT,…")]
        entitlements: Vec<Entitlement>,
        /// Have the user administer the TIN.
        #[arg(long)]
        access_manager: bool,
    },
    /// Take a user's rights for a TIN away.
    Revoke {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        who: Who,
        /// The TIN.
        #[arg(long)]
        tin: Tin,
    },
}

/// A user: by our id, or by the login.
#[derive(clap::Args)]
pub(super) struct Who {
    /// The user's id, or the issuer of the login.
    user: String,
    /// The subject of the login, where the issuer was named.
    subject: Option<String>,
}

impl Who {
    async fn find(&self, access: &Access) -> Result<User, CliError> {
        Ok(match &self.subject {
            None => access.get_user(CLI, &self.user.parse()?).await?,
            Some(subject) => {
                let login = Login { issuer: self.user.parse()?, subject: subject.parse()? };
                access.get_user_by_login(CLI, &login).await?
            }
        })
    }
}

/// Loads a file of users or of their rights.
pub(super) async fn load_path(access: &Access, kind: PeopleKind, path: &Path) -> Result<LoadReport, CliError> {
    let (form, file) = admin::open_rows(path)?;
    Ok(access.load(CLI, kind, form, file).await?)
}

pub(super) async fn run(command: UsersCommand, environment: &Environment) -> Result<(), CliError> {
    match command {
        UsersCommand::List { common, search, staff } => {
            let filter = UserFilter { search: search.map(Phi), staff: staff.then_some(true) };
            list(&access(environment, &common).await?, &common, &filter).await
        }
        UsersCommand::Show { common, who } => {
            let access = access(environment, &common).await?;
            let user = who.find(&access).await?;
            let granted = access.entitlements_of_user(CLI, &user.id).await?;
            let rights: Vec<Value> = granted.iter().map(granted_view).collect();
            let mut view = view(&user);
            view["entitlements"] = json!(rights);
            output::json(&view);
            Ok(())
        }
        UsersCommand::Load { common, kind, file } => {
            let access = access(environment, &common).await?;
            let report = load_path(&access, kind, &file).await?;
            admin::show_load(&common, kind.as_str(), &report)
        }
        UsersCommand::SetRoles { common, who, roles } => {
            let access = access(environment, &common).await?;
            let id = who.find(&access).await?.id;
            let user = access.set_roles(CLI, &id, roles.into_iter().collect(), Expected::Any).await?;
            show(&common, &user);
            Ok(())
        }
        UsersCommand::Disable { common, who, undo } => {
            let access = access(environment, &common).await?;
            let id = who.find(&access).await?.id;
            show(&common, &access.set_disabled(CLI, &id, !undo, Expected::Any).await?);
            Ok(())
        }
        UsersCommand::Entitlements { command } => entitlements(command, environment).await,
    }
}

async fn entitlements(command: EntitlementsCommand, environment: &Environment) -> Result<(), CliError> {
    match command {
        EntitlementsCommand::List { common, tin } => {
            let access = access(environment, &common).await?;
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let part = access.entitlements_of_tin(CLI, &tin, after.as_ref(), PART).await?;
                found.extend(part.items);
                after = part.next;
                if after.is_none() {
                    break;
                }
            }
            if common.json {
                let one =
                    |(user, granted): &(User, Granted)| json!({ "user": view(user), "granted": granted_view(granted) });
                output::json(&found.iter().map(one).collect::<Vec<_>>());
            } else {
                output::table(
                    ["user", "name", "rights"],
                    found.iter().map(|(user, granted)| {
                        [user.id.to_string(), user.person.name.reveal().clone(), words(&granted.rights)]
                    }),
                );
            }
            Ok(())
        }
        EntitlementsCommand::Grant { common, who, tin, entitlements, access_manager } => {
            let access = access(environment, &common).await?;
            let user = who.find(&access).await?.id;
            let rights = TinRights { entitlements: entitlements.into_iter().collect(), access_manager };
            if rights.is_empty() {
                return Err(CliError::Usage("name entitlements, or --access-manager".into()));
            }
            let granted = access.put_entitlement(CLI, &user, &tin, rights, Expected::Any).await?;
            tell(&common, &user, &granted);
            Ok(())
        }
        EntitlementsCommand::Revoke { common, who, tin } => {
            let access = access(environment, &common).await?;
            let user = who.find(&access).await?.id;
            access.delete_entitlement(CLI, &user, &tin, Expected::Any).await?;
            if common.json {
                output::json(&json!({ "user": user, "tin": tin, "entitlements": [], "access_manager": false }));
            } else {
                println!("{user} has no rights for {}", tin.masked());
            }
            Ok(())
        }
    }
}

async fn list(access: &Access, common: &Common, filter: &UserFilter) -> Result<(), CliError> {
    let (mut users, mut after) = (Vec::new(), None);
    loop {
        let part = access.list_users(CLI, filter, after.as_ref(), PART).await?;
        users.extend(part.items);
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    if common.json {
        output::json(&users.iter().map(view).collect::<Vec<_>>());
    } else {
        output::table(
            ["id", "issuer", "subject", "name", "roles", "disabled"],
            users.iter().map(|user| {
                [
                    user.id.to_string(),
                    user.login.issuer.to_string(),
                    user.login.subject.as_str().to_owned(),
                    user.person.name.reveal().clone(),
                    user.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(","),
                    user.disabled_at.map(|at| at.to_string()).unwrap_or_default(),
                ]
            }),
        );
    }
    Ok(())
}

fn show(common: &Common, user: &User) {
    if common.json {
        output::json(&view(user));
    } else {
        let roles: Vec<&str> = user.roles.iter().map(|role| role.as_str()).collect();
        let state = if user.disabled_at.is_some() { "disabled" } else { "may come in" };
        println!("{}: {state}; roles: {}", user.id, if roles.is_empty() { "none".into() } else { roles.join(", ") });
    }
}

fn tell(common: &Common, user: &UserId, granted: &Granted) {
    if common.json {
        let mut view = granted_view(granted);
        view["user"] = json!(user);
        output::json(&view);
    } else {
        println!("{user} for {}: {}", granted.tin.masked(), words(&granted.rights));
    }
}

fn words(rights: &TinRights) -> String {
    let mut words: Vec<&str> = rights.entitlements.iter().map(|code| code.as_str()).collect();
    words.extend(rights.access_manager.then_some("access manager"));
    words.join(", ")
}

fn view(user: &User) -> Value {
    json!({
        "id": user.id,
        "issuer": user.login.issuer,
        "subject": user.login.subject,
        "name": user.person.name,
        "email": user.person.email,
        "roles": user.roles,
        "created_at": user.created_at.to_string(),
        "disabled_at": user.disabled_at.map(|at| at.to_string()),
        "version": user.version,
    })
}

fn granted_view(granted: &Granted) -> Value {
    json!({
        "tin": granted.tin,
        "entitlements": granted.rights.entitlements,
        "access_manager": granted.rights.access_manager,
        "version": granted.version,
    })
}
