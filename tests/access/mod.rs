//! Who callers are: keys, users, rights, and logins that others vouch for.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod command_line;
pub(crate) mod issuer;
mod keys;
mod oidc;
mod people;
mod privacy;
mod speaking;

use std::time::Duration;

use lettercase::access::keys::NewKey;
use lettercase::access::secret::KeySecret;
use lettercase::access::{Access, AuthError, Caller, Expected, ManageError, Manager};
use lettercase::db::keys::Key;
use lettercase::db::users::User;
use lettercase::model::access::{Entitlement, Grants, Mode, Role, Scope, TinRights, TinSet};
use lettercase::model::ids::Tin;
use lettercase::model::people::{Login, Person};
use lettercase::model::phi::Phi;
use lettercase::model::reference::ReferenceKind;

use crate::support::World;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
const MACHINE: Manager<'static> = Manager::Machine("test");

fn access(world: &World) -> &Access {
    &world.app.access
}

fn tin(number: u32) -> Tin {
    format!("{number:09}").parse().unwrap()
}

fn tins(numbers: &[u32]) -> TinSet {
    TinSet::Only(numbers.iter().map(|number| tin(*number)).collect())
}

fn grants(scopes: &[Scope], tins: TinSet) -> Grants {
    Grants { scopes: scopes.iter().copied().collect(), tins, mode: Mode::Live }
}

fn new_key(grants: Grants) -> NewKey {
    NewKey { name: "a key of the test".into(), grants, expires_at: None }
}

async fn make(world: &World, scopes: &[Scope], tins: TinSet) -> (Key, KeySecret) {
    access(world).create_key(MACHINE, new_key(grants(scopes, tins))).await.unwrap()
}

async fn enter(world: &World, secret: &KeySecret) -> Result<Caller, AuthError> {
    access(world).authenticate(secret.reveal(), None).await
}

/// The caller that a fresh key makes.
async fn caller(world: &World, scopes: &[Scope], tins: TinSet) -> Caller {
    let (_, secret) = make(world, scopes, tins).await;
    enter(world, &secret).await.unwrap()
}

/// Makes practices 1 to 3 known.
async fn practices(world: &World) {
    let rows: String =
        (1..=3).map(|n| format!("{{\"tin\":\"{n:09}\",\"name\":\"Practice {n}\"}}\n")).collect::<Vec<_>>().concat();
    assert_eq!(world.load(ReferenceKind::Tins, &rows).await.rejected, 0);
}

fn login(issuer: &str, subject: &str) -> Login {
    Login { issuer: issuer.parse().unwrap(), subject: subject.parse().unwrap() }
}

fn person(name: &str) -> Person {
    Person { name: Phi(name.to_owned()), email: None }
}

const PORTAL: &str = "portal";

/// A user of the portal.
async fn user(world: &World, subject: &str) -> User {
    let login = login(PORTAL, subject);
    access(world).put_user(MACHINE, &login, person(subject), Expected::Any).await.unwrap().0
}

/// One of the payer's people, as a caller.
async fn staff(world: &World, subject: &str, roles: &[Role]) -> (User, Caller) {
    let user = user(world, subject).await;
    let roles = roles.iter().copied().collect();
    let user = access(world).set_roles(MACHINE, &user.id, roles, Expected::Any).await.unwrap();
    let principal = lettercase::model::access::Principal::Staff { user: user.id.clone(), roles: user.roles.clone() };
    (user, Caller { principal, through: None })
}

fn rights(entitlements: &[Entitlement], access_manager: bool) -> TinRights {
    TinRights { entitlements: entitlements.iter().copied().collect(), access_manager }
}

async fn grant(world: &World, user: &User, number: u32, rights: TinRights) -> i64 {
    access(world).put_entitlement(MACHINE, &user.id, &tin(number), rights, Expected::Any).await.unwrap().version
}

/// A user as a caller, through a portal's key.
async fn through_portal(world: &World, user: &User) -> Caller {
    let (_, secret) = make(world, &[Scope::ActAs], TinSet::All).await;
    access(world).authenticate(secret.reveal(), Some(user.id.as_str())).await.unwrap()
}

fn beyond<T: std::fmt::Debug>(result: Result<T, ManageError>) -> bool {
    matches!(result, Err(ManageError::Beyond(_)))
}

fn missing<T: std::fmt::Debug>(result: Result<T, ManageError>) -> bool {
    matches!(result, Err(ManageError::Missing(_)))
}

fn conflict<T: std::fmt::Debug>(result: Result<T, ManageError>) -> Option<i64> {
    match result {
        Err(ManageError::Conflict { version, .. }) => version,
        other => panic!("no conflict: {other:?}"),
    }
}
