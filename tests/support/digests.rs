//! Readers, messages and runs, put there without the journeys that make them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use lettercase::access::{Expected, Manager};
use lettercase::db::digest_mails::{Submission, Taken};
use lettercase::db::messages::{self, Marking, NewMessage};
use lettercase::db::{Conn, Stamp, digest_mails};
use lettercase::digests::submit::{Told, Wanted};
use lettercase::model::access::{Entitlement, TinRights};
use lettercase::model::digest::{Cadence, DigestKind, mail_id};
use lettercase::model::ids::{Brand, MailId, MessageId, RunId, Tin, UserId};
use lettercase::model::letter::{LetterCategory, LetterType};
use lettercase::model::message::MessageType;
use lettercase::model::people::{Login, Person};
use lettercase::model::phi::Phi;
use lettercase::model::reference::ReferenceKind;
use sqlx::{AssertSqlSafe, Row};

use super::World;

pub const BOTH: [Entitlement; 2] = [Entitlement::ClaimSearch, Entitlement::PrecertViewSubmit];
pub const CLAIM: LetterType = LetterType::ReconsiderationUpheld;
pub const CLAIM_ASKS: LetterType = LetterType::AdditionalInformationRequested;
pub const PRECERT: LetterType = LetterType::PrecertificationApproved;
pub const APPEAL: LetterType = LetterType::AppealReceived;
/// The day on which worlds begin, a Friday.
pub const TODAY: Date = jiff::civil::date(2026, 11, 20);

pub fn tin(text: &str) -> Tin {
    text.parse().unwrap()
}

/// Practices that are nothing but known.
pub async fn practices(world: &World, tins: &[&str]) {
    let rows: String = tins.iter().map(|tin| format!("{{\"tin\":\"{tin}\",\"name\":\"A practice\"}}\n")).collect();
    assert_eq!(world.load(ReferenceKind::Tins, &rows).await.rejected, 0);
}

/// A user with a mail address, without rights.
pub async fn user(world: &World, name: &str) -> UserId {
    addressed(world, name, Some(&format!("{name}@practice.example"))).await
}

pub async fn addressed(world: &World, name: &str, address: Option<&str>) -> UserId {
    let login = Login { issuer: "portal".parse().unwrap(), subject: name.parse().unwrap() };
    let person = Person { name: Phi(name.to_owned()), email: address.map(|address| Phi(address.to_owned())) };
    world.app.access.put_user(Manager::Machine("test"), &login, person, Expected::Any).await.unwrap().0.id
}

pub async fn grant(world: &World, user: &UserId, of: &str, rights: &[Entitlement]) {
    let rights = TinRights { entitlements: rights.iter().copied().collect(), access_manager: false };
    let by = Manager::Machine("test");
    world.app.access.put_entitlement(by, user, &tin(of), rights, Expected::Any).await.unwrap();
}

/// A user who reads all letters of these practices.
pub async fn reader(world: &World, name: &str, tins: &[&str]) -> UserId {
    let user = user(world, name).await;
    for tin in tins {
        grant(world, &user, tin, &BOTH).await;
    }
    user
}

/// A message that is published now.
pub async fn publish(world: &World, of: &str, letter_type: LetterType) -> MessageId {
    publish_due(world, of, letter_type, letter_type == CLAIM_ASKS, None).await
}

pub async fn publish_due(
    world: &World,
    of: &str,
    letter_type: LetterType,
    needs_answer: bool,
    due_at: Option<Timestamp>,
) -> MessageId {
    publish_for(
        world,
        &world.settings.brand,
        of,
        (letter_type.category(), MessageType::Letter(letter_type)),
        (needs_answer, due_at),
    )
    .await
}

pub async fn publish_for(
    world: &World,
    brand: &Brand,
    of: &str,
    (category, what): (LetterCategory, MessageType),
    (needs_answer, due_at): (bool, Option<Timestamp>),
) -> MessageId {
    let id: MessageId = world.stamp().ctx.new_id().parse().unwrap();
    let new = NewMessage {
        id: &id,
        brand,
        tin: &tin(of),
        category,
        what,
        letter_id: None,
        case_id: None,
        claim_number: None,
        member_id: None,
        status: None,
        event_id: None,
        online_until: world.app.intake.ctx.now() + crate::access::DAY * 1_000,
        needs_answer,
        due_at,
    };
    let mut tx = world.db().begin().await.unwrap();
    assert!(messages::insert(&mut tx, world.stamp(), &new).await.unwrap());
    tx.commit().await.unwrap();
    id
}

pub async fn mark(world: &World, user: &UserId, message: &MessageId, marking: Marking) {
    let mut tx = world.db().begin().await.unwrap();
    let message = messages::get(&mut tx, message).await.unwrap().unwrap();
    messages::mark(&mut tx, world.stamp(), user, &message, marking).await.unwrap();
    tx.commit().await.unwrap();
}

/// Opens a run of the world's brand that waits to be planned.
pub async fn open_run(world: &World, serves: &[Cadence], day: Date) -> RunId {
    let mut tx = world.db().begin().await.unwrap();
    let id = insert_run(&mut tx, world.stamp(), &world.settings.brand, serves, day).await;
    tx.commit().await.unwrap();
    id
}

/// A run that waits to be planned, of a schedule that spreads its mails over half an hour.
pub async fn insert_run(conn: &mut Conn, stamp: Stamp<'_>, brand: &Brand, serves: &[Cadence], day: Date) -> RunId {
    let id: RunId = stamp.ctx.new_id().parse().unwrap();
    sqlx::query(
        "INSERT INTO schedule_revision (schedule_id, revision, state, timing, proposed_by, proposed_at)
         VALUES ('of-tests', 1, 'active', '{\"spread_minutes\":30}', 'test', 0) ON CONFLICT DO NOTHING",
    )
    .execute(&mut *conn)
    .await
    .unwrap();
    let serves: Vec<&str> = serves.iter().map(|cadence| cadence.as_str()).collect();
    sqlx::query(
        "INSERT INTO digest_run (id, schedule_id, brand, cadence, kind, period, day, state, serves, revision, due_at,
                                 users, mails, items, letters, left_out, asked_by, created_at, version)
         VALUES ($1, 'of-tests', $2, $3, 'extra', $4, $4, 'planning', $5, 1, $6, 0, 0, 0, 0, 0, 'test', $6, 1)",
    )
    .bind(id.as_str())
    .bind(brand.as_str())
    .bind(serves[0])
    .bind(day.to_string())
    .bind(serves.join(" "))
    .bind(stamp.now())
    .execute(&mut *conn)
    .await
    .unwrap();
    id
}

/// Plans all that is to be planned.
pub async fn plan(world: &World) {
    while world.app.digests.plan_step().await.unwrap() {}
}

/// Runs a daily digest of that day.
pub async fn daily(world: &World, day: Date) -> RunId {
    let run = open_run(world, &[Cadence::Daily], day).await;
    plan(world).await;
    run
}

/// How a user's notification of a message stands: `waiting`, `mailed 2026-11-20 claim_info`, `left_out read`, or `none`.
pub async fn stands(world: &World, user: &UserId, message: &MessageId) -> String {
    let mut conn = world.db().read().await.unwrap();
    let row = sqlx::query(
        "SELECT n.state, n.reason, d.day, d.kind FROM notification n LEFT JOIN digest_mail d ON d.id = n.mail_id
         WHERE n.user_id = $1 AND n.message_id = $2",
    )
    .bind(user.as_str())
    .bind(message.as_str())
    .fetch_optional(&mut *conn)
    .await
    .unwrap();
    let Some(row) = row else { return "none".into() };
    let state: String = row.get("state");
    match (state.as_str(), row.get::<Option<String>, _>("reason"), row.get::<Option<String>, _>("day")) {
        ("mailed", _, Some(day)) => format!("mailed {day} {}", row.get::<String, _>("kind")),
        (state, Some(reason), _) => format!("{state} {reason}"),
        (state, None, _) => state.to_owned(),
    }
}

/// The mails there are: `ada claim_info 2026-11-20 planned 2 3`, as user, kind, day, state, items, letters.
pub async fn mails(world: &World) -> BTreeSet<String> {
    let mut conn = world.db().read().await.unwrap();
    let rows = sqlx::query(
        "SELECT u.name, d.kind, d.day, d.state, d.items, d.letters FROM digest_mail d JOIN app_user u ON u.id = d.user_id",
    )
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    let text = |row: &sqlx::any::AnyRow, column: &str| row.get::<String, _>(column);
    rows.iter()
        .map(|row| {
            let counts = (row.get::<i64, _>("items"), row.get::<i64, _>("letters"));
            let (name, kind, day, state) = (text(row, "name"), text(row, "kind"), text(row, "day"), text(row, "state"));
            format!("{name} {kind} {day} {state} {} {}", counts.0, counts.1)
        })
        .collect()
}

/// State and counts of a run: `sending 1 2 3 4 0`, as users, mails, items, letters, left out.
pub async fn run_stands(world: &World, run: &RunId) -> String {
    let mut conn = world.db().read().await.unwrap();
    let row = sqlx::query("SELECT state, users, mails, items, letters, left_out FROM digest_run WHERE id = $1")
        .bind(run.as_str())
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let n = |column: &str| row.get::<i64, _>(column);
    let counts = [n("users"), n("mails"), n("items"), n("letters"), n("left_out")].map(|n| n.to_string());
    format!("{} {}", row.get::<String, _>("state"), counts.join(" "))
}

pub fn mail_of(world: &World, user: &UserId, kind: DigestKind, day: Date) -> MailId {
    mail_id(&world.settings.brand, day, user, kind).unwrap()
}

/// Writes a choice, whatever was chosen before, as a bare row.
pub async fn choose(world: &World, user: &UserId, tin: &str, category: &str, cadence: Cadence) {
    let statement = format!(
        "INSERT INTO digest_choice (user_id, tin, category, cadence, source, changed_at, version)
         VALUES ('{user}', '{tin}', '{category}', '{cadence}', 'user', 0, 1)
         ON CONFLICT (user_id, tin, category) DO UPDATE SET cadence = excluded.cadence"
    );
    sql(world, &statement).await;
}

/// The figure `n` that a statement answers.
pub async fn number(world: &World, statement: &str) -> i64 {
    let mut conn = world.db().read().await.unwrap();
    sqlx::query(AssertSqlSafe(statement.to_owned())).fetch_one(&mut *conn).await.unwrap().get("n")
}

/// Changes rows behind the program's back. Answers how many.
pub async fn sql(world: &World, statement: &str) -> u64 {
    let mut tx = world.db().begin().await.unwrap();
    let done = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    done.rows_affected()
}

/// Looks at a planned mail as is done right before its text goes, and lays it back.
pub async fn submit(world: &World, mail: &MailId) -> Told {
    let (now, until) = (world.stamp().now(), i64::MAX);
    let held = format!("lease_token = 'held', lease_until = {until}");
    sql(world, &format!("UPDATE digest_mail SET state = 'claimed', next_at = NULL, {held} WHERE id = '{mail}'")).await;
    let mut tx = world.db().begin().await.unwrap();
    let version = digest_mails::get(&mut tx, mail).await.unwrap().unwrap().version;
    let wanted = Wanted { id: mail.clone(), version, relay: "relay".into(), template_version: "1".into() };
    let told = world.app.digests.submit(&mut tx, world.stamp(), ("held", until), &[wanted]).await.unwrap();
    tx.commit().await.unwrap();
    let free = format!("next_at = {now}, submitted_at = NULL, lease_token = NULL, lease_until = NULL");
    sql(world, &format!("UPDATE digest_mail SET state = 'planned', {free} WHERE id = '{mail}'")).await;
    let [told] = <[_; 1]>::try_from(told).unwrap();
    told
}

/// A mail that was taken, as it is about to go.
pub fn submission(mail: &Taken) -> Submission<'_> {
    Submission { id: &mail.id, version: mail.version, relay: "r", template_version: "t", told: (1, 1) }
}
