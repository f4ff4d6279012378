//! The API: its routes, who may use each, and what they work with.

pub mod audit;
pub mod batches;
pub mod body;
pub mod cases;
pub mod correspondence;
pub mod dead_letters;
pub mod decisions;
pub mod documents;
pub mod figures;
pub mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod handouts;
pub mod held;
mod incoming;
pub mod intake;
pub mod keys;
pub mod letters;
pub mod lists;
mod load;
pub mod mail_address;
pub mod mailroom;
pub mod mails;
pub mod messages;
pub mod notifications;
pub mod openapi;
mod page;
pub mod paper;
pub mod progress;
pub mod queue;
pub mod reconciliation;
pub mod reference;
pub mod rehearsals;
pub mod retention;
pub mod returned_mail;
pub mod routing;
pub mod schedules;
pub mod status;
pub mod status_change;
pub mod submissions;
pub mod tus;
pub mod unsubscribe;
pub mod users;
mod versions;
pub mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::errors::Problem;
use super::guard::{Rule, guard};
use super::limits::Use;
use super::plan::DoorsPlan;
use super::problems::Code;
use crate::access::Access;
use crate::delivery::Correspondence;
use crate::digests::Digests;
use crate::engine::Engine;
use crate::engine::sequencer::AuditKey;
use crate::intake::Intake;
use crate::letters::stages::Letters;
use crate::model::access::{Action, Mode};
use crate::model::ids::Brand;
use crate::paper::Paper;
use crate::retention::Retention;

/// Which routes a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// All.
    All,
    /// Those by which it is watched.
    Operation,
}

/// What the routes work with. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// The intake journey.
    pub intake: Intake,
    /// The journey of letters, as far as they are made.
    pub letters: Letters,
    /// The journey of letters, as far as their ways go.
    pub correspondence: Correspondence,
    /// Letters on paper.
    pub paper: Paper,
    /// What users are told of by mail.
    pub digests: Digests,
    /// What is destroyed when, and what keeps it.
    pub retention: Retention,
    /// The engine, to be woken.
    pub engine: Engine,
    /// Who callers are.
    pub access: Access,
    /// The key of the audit chain, to verify it.
    pub audit_key: AuditKey,
    /// The brands served; the first is that of submissions that name none.
    pub brands: Arc<[Brand]>,
    /// How much, how often.
    pub plan: Arc<DoorsPlan>,
    /// What callers use of this node.
    pub usage: Use,
    /// Proxies whose word on addresses is taken.
    pub trusted: Arc<[IpNet]>,
    /// Where metrics are read from without a key.
    pub metrics_from: Arc<[IpNet]>,
    /// The metrics, where this process keeps them.
    pub metrics: Option<PrometheusHandle>,
    /// When what lies here was counted for them.
    pub figures: Arc<figures::Figures>,
    /// Whether the node could do its work when it was looked at last.
    pub standing: Arc<status::Standing>,
    /// Which routes there are.
    pub serves: Serves,
}

impl Api {
    /// The brand that a request names, or the first, as the caller's mode has it.
    ///
    /// # Errors
    /// 422 when the installation does not serve it.
    pub(super) fn brand(&self, named: Option<&Brand>, mode: Mode) -> Result<Brand, Problem> {
        let unknown = || Problem::of(Code::UnknownBrand, "the brand named is not one that this installation serves");
        let brand = named.or(self.brands.first()).ok_or_else(unknown)?;
        brand.meant_by(mode, &self.brands).ok_or_else(unknown)
    }
}

/// Who may use each route: method, path, rule. A test compares it with the router, and the guard refuses what is not
/// in it.
pub const RULES: &[(&str, &str, Rule)] = &[
    ("GET", "/health", Rule::Open),
    ("GET", "/ready", Rule::Open),
    ("GET", "/metrics", Rule::Metrics),
    ("GET", "/openapi.json", Rule::Open),
    ("GET", "/docs", Rule::Open),
    ("GET", "/v1/me", Rule::For(Action::ReadSelf)),
    ("POST", "/v1/submissions", Rule::For(Action::CreateSubmission)),
    ("GET", "/v1/submissions", Rule::For(Action::ReadSubmission)),
    ("POST", "/v1/submissions/search", Rule::For(Action::ReadSubmission)),
    ("GET", "/v1/submissions/{id}", Rule::For(Action::ReadSubmission)),
    ("DELETE", "/v1/submissions/{id}", Rule::For(Action::EditSubmission)),
    ("POST", "/v1/submissions/{id}/files", Rule::For(Action::EditSubmission)),
    ("PUT", "/v1/submissions/{id}/files/{name}", Rule::For(Action::EditSubmission)),
    ("DELETE", "/v1/submissions/{id}/files/{name}", Rule::For(Action::EditSubmission)),
    ("OPTIONS", "/v1/submissions/{id}/uploads", Rule::Open),
    ("POST", "/v1/submissions/{id}/uploads", Rule::For(Action::EditSubmission)),
    ("HEAD", "/v1/submissions/{id}/uploads/{upload}", Rule::For(Action::EditSubmission)),
    ("PATCH", "/v1/submissions/{id}/uploads/{upload}", Rule::For(Action::EditSubmission)),
    ("DELETE", "/v1/submissions/{id}/uploads/{upload}", Rule::For(Action::EditSubmission)),
    ("POST", "/v1/submissions/{id}/submit", Rule::For(Action::EditSubmission)),
    ("GET", "/v1/submissions/{id}/history", Rule::For(Action::ReadSubmission)),
    ("GET", "/v1/submissions/{id}/events", Rule::For(Action::ReadSubmission)),
    ("GET", "/v1/reconciliation", Rule::For(Action::ReadSubmission)),
    ("POST", "/v1/intake", Rule::For(Action::CreateSubmission)),
    ("GET", "/v1/documents/{id}", Rule::For(Action::ReadDocument)),
    ("GET", "/v1/documents/{id}/content", Rule::For(Action::DownloadDocument)),
    // the mailroom
    ("GET", "/v1/queue", Rule::For(Action::ReadQueue)),
    ("GET", "/v1/queue/counts", Rule::For(Action::ReadQueue)),
    ("POST", "/v1/queue/next", Rule::For(Action::DecideMatch)),
    ("POST", "/v1/queue/{document}/lease", Rule::For(Action::DecideMatch)),
    ("PUT", "/v1/queue/{document}/lease", Rule::For(Action::DecideMatch)),
    ("DELETE", "/v1/queue/{document}/lease", Rule::For(Action::DecideMatch)),
    ("POST", "/v1/queue/{document}/accept", Rule::For(Action::DecideMatch)),
    ("POST", "/v1/queue/{document}/choose", Rule::For(Action::DecideMatch)),
    ("POST", "/v1/queue/{document}/split", Rule::For(Action::DecideMatch)),
    ("POST", "/v1/queue/{document}/not-ours", Rule::For(Action::DecideMatch)),
    ("POST", "/v1/cases/search", Rule::For(Action::SearchCases)),
    ("GET", "/v1/cases/{id}/documents", Rule::For(Action::ReadCase)),
    ("GET", "/v1/held", Rule::For(Action::ReadHeld)),
    ("POST", "/v1/held/{document}/rescan", Rule::For(Action::Rescan)),
    ("POST", "/v1/held/{document}/reject", Rule::For(Action::DecideHeld)),
    ("POST", "/v1/held/{document}/release", Rule::For(Action::DecideHeld)),
    ("GET", "/v1/quarantine", Rule::For(Action::ReadHeld)),
    ("DELETE", "/v1/quarantine/{document}", Rule::For(Action::DestroyQuarantined)),
    ("POST", "/v1/documents/{id}/undo-match", Rule::For(Action::UndoMatch)),
    ("GET", "/v1/documents/{id}/disclosures", Rule::For(Action::ReadDisclosures)),
    ("GET", "/v1/dead-letters", Rule::For(Action::ReadDeadLetters)),
    ("POST", "/v1/dead-letters/replay", Rule::For(Action::ReplayDeadLetters)),
    ("GET", "/v1/mailroom/batches", Rule::For(Action::ReadMailroom)),
    ("GET", "/v1/mailroom/batches/{id}", Rule::For(Action::ReadMailroom)),
    ("GET", "/v1/mailroom/problems", Rule::For(Action::ReadMailroom)),
    ("GET", "/v1/mailroom/returns", Rule::For(Action::ReadMailroom)),
    // administration
    ("POST", "/v1/keys", Rule::For(Action::ManageKeys)),
    ("GET", "/v1/keys", Rule::For(Action::ManageKeys)),
    ("GET", "/v1/keys/{id}", Rule::For(Action::ManageKeys)),
    ("POST", "/v1/keys/{id}/rotate", Rule::For(Action::ManageKeys)),
    ("POST", "/v1/keys/{id}/revoke", Rule::For(Action::ManageKeys)),
    ("POST", "/v1/users", Rule::For(Action::ManageUsers)),
    ("GET", "/v1/users", Rule::For(Action::ManageUsers)),
    ("POST", "/v1/users/search", Rule::For(Action::ManageUsers)),
    ("POST", "/v1/users/load", Rule::For(Action::ManageUsers)),
    ("GET", "/v1/users/{id}", Rule::For(Action::ManageUsers)),
    ("PUT", "/v1/users/{id}/roles", Rule::For(Action::ManageUsers)),
    ("PUT", "/v1/users/{id}/disabled", Rule::For(Action::ManageUsers)),
    ("GET", "/v1/users/{id}/entitlements", Rule::For(Action::ManageEntitlements)),
    ("POST", "/v1/users/{id}/entitlements/set", Rule::For(Action::ManageEntitlements)),
    ("POST", "/v1/users/{id}/entitlements/remove", Rule::For(Action::ManageEntitlements)),
    ("POST", "/v1/entitlements/search", Rule::For(Action::ManageEntitlements)),
    ("POST", "/v1/reference/{kind}/load", Rule::For(Action::WriteReference)),
    ("PUT", "/v1/reference/{kind}", Rule::For(Action::WriteReference)),
    ("POST", "/v1/audit/search", Rule::For(Action::ReadAudit)),
    ("GET", "/v1/audit/export", Rule::For(Action::ReadAudit)),
    ("GET", "/v1/audit/verify", Rule::For(Action::ReadAudit)),
    // the ways of letters
    ("POST", "/v1/cases/{id}/status", Rule::For(Action::SetCaseStatus)),
    ("POST", "/v1/letters", Rule::For(Action::WriteLetters)),
    ("GET", "/v1/letters", Rule::For(Action::WriteLetters)),
    ("GET", "/v1/letters/{id}", Rule::For(Action::ReadLetter)),
    ("GET", "/v1/letters/{id}/pdf", Rule::For(Action::DownloadLetter)),
    ("POST", "/v1/letters/{id}/details", Rule::For(Action::WriteLetters)),
    ("GET", "/v1/letters/{id}/why", Rule::For(Action::ReadLetter)),
    ("POST", "/v1/letters/{id}/stop", Rule::For(Action::StopLetters)),
    ("POST", "/v1/letters/{id}/release", Rule::For(Action::StopLetters)),
    ("GET", "/v1/letter-holds", Rule::For(Action::StopLetters)),
    ("POST", "/v1/letter-holds", Rule::For(Action::StopLetters)),
    ("POST", "/v1/letter-holds/{id}/lift", Rule::For(Action::StopLetters)),
    ("POST", "/v1/paper/search", Rule::For(Action::ReadPaper)),
    ("POST", "/v1/paper/set", Rule::For(Action::ChangePaper)),
    ("POST", "/v1/routing/dry-run", Rule::For(Action::ReadPaper)),
    // the Messaging Center
    ("POST", "/v1/messages/search", Rule::For(Action::ReadMessages)),
    ("GET", "/v1/messages/counts", Rule::For(Action::ReadMessages)),
    ("GET", "/v1/messages/hidden", Rule::For(Action::ReadMessages)),
    ("PUT", "/v1/messages/hidden", Rule::For(Action::EditMessages)),
    ("POST", "/v1/messages/download", Rule::For(Action::ReadMessages)),
    ("GET", "/v1/messages/unread-report", Rule::For(Action::ReadUnread)),
    ("GET", "/v1/messages/{id}", Rule::For(Action::ReadMessages)),
    ("DELETE", "/v1/messages/{id}", Rule::For(Action::EditMessages)),
    ("PUT", "/v1/messages/{id}/mark", Rule::For(Action::EditMessages)),
    ("GET", "/v1/messages/{id}/letter", Rule::For(Action::ReadMessages)),
    ("GET", "/v1/me/entitlements", Rule::For(Action::ReadSelf)),
    ("GET", "/v1/cases/{id}/letters", Rule::For(Action::ReadLetter)),
    ("POST", "/v1/claims/letters", Rule::For(Action::ReadLetter)),
    ("GET", "/v1/cases/{id}/cover-sheet", Rule::For(Action::ReadCase)),
    ("GET", "/v1/submissions/{id}/copy", Rule::For(Action::ReadSubmission)),
    // notifications
    ("GET", "/v1/mails", Rule::For(Action::ReadMails)),
    ("GET", "/v1/mails/{id}", Rule::For(Action::ReadMails)),
    ("POST", "/v1/mails/{id}/decide", Rule::For(Action::DecideMails)),
    ("GET", "/v1/unsubscribe/{token}", Rule::Open),
    ("POST", "/v1/unsubscribe/{token}", Rule::Open),
    // letters on paper
    ("GET", "/v1/print-batches", Rule::For(Action::ReadPrintBatches)),
    ("POST", "/v1/print-batches", Rule::For(Action::DecidePrintBatches)),
    ("GET", "/v1/print-batches/preview", Rule::For(Action::ReadPrintBatches)),
    ("GET", "/v1/print-batches/{id}", Rule::For(Action::ReadPrintBatches)),
    ("GET", "/v1/print-batches/{id}/envelopes", Rule::For(Action::ReadPrintBatches)),
    ("GET", "/v1/print-batches/{id}/files/{file}", Rule::For(Action::DownloadPrintBatch)),
    ("POST", "/v1/print-batches/{id}/acknowledge", Rule::For(Action::WorkPrintBatches)),
    ("POST", "/v1/print-batches/{id}/reprint", Rule::For(Action::WorkPrintBatches)),
    ("POST", "/v1/print-batches/{id}/hold", Rule::For(Action::DecidePrintBatches)),
    ("POST", "/v1/print-batches/{id}/release", Rule::For(Action::DecidePrintBatches)),
    ("POST", "/v1/returned-mail", Rule::For(Action::WorkPrintBatches)),
    ("GET", "/v1/paper-tasks", Rule::For(Action::WorkPrintBatches)),
    ("POST", "/v1/paper-tasks/{id}/correct", Rule::For(Action::WorkPrintBatches)),
    ("POST", "/v1/paper-tasks/{id}/dismiss", Rule::For(Action::WorkPrintBatches)),
    // notifications
    ("GET", "/v1/me/notification-choices", Rule::For(Action::ReadNotifications)),
    ("PUT", "/v1/me/notification-choices", Rule::For(Action::EditNotifications)),
    ("PUT", "/v1/me/notification-choices/all", Rule::For(Action::EditNotifications)),
    ("GET", "/v1/me/notifications", Rule::For(Action::ReadNotifications)),
    ("GET", "/v1/users/{id}/notification-choices", Rule::For(Action::ReadUserChoices)),
    ("GET", "/v1/letters/{id}/notifications", Rule::For(Action::WhyNotified)),
    // schedules of digests
    ("GET", "/v1/schedules", Rule::For(Action::ReadSchedules)),
    ("GET", "/v1/schedules/{name}", Rule::For(Action::ReadSchedules)),
    ("GET", "/v1/schedules/{name}/next", Rule::For(Action::ReadSchedules)),
    ("GET", "/v1/schedules/{name}/runs", Rule::For(Action::ReadSchedules)),
    ("POST", "/v1/schedules/{name}/preview", Rule::For(Action::ReadSchedules)),
    ("POST", "/v1/schedules/{name}/edits", Rule::For(Action::EditSchedules)),
    ("POST", "/v1/schedules/{name}/edits/{revision}/confirm", Rule::For(Action::EditSchedules)),
    ("POST", "/v1/schedules/{name}/edits/{revision}/drop", Rule::For(Action::EditSchedules)),
    ("POST", "/v1/schedules/{name}/rollback", Rule::For(Action::EditSchedules)),
    ("POST", "/v1/schedules/{name}/pause", Rule::For(Action::EditSchedules)),
    ("POST", "/v1/schedules/{name}/resume", Rule::For(Action::EditSchedules)),
    ("POST", "/v1/schedules/{name}/run", Rule::For(Action::EditSchedules)),
    ("POST", "/v1/digest-runs/{id}/approve", Rule::For(Action::EditSchedules)),
    ("POST", "/v1/digest-runs/{id}/skip", Rule::For(Action::EditSchedules)),
    ("GET", "/v1/schedules/{name}/dry-run", Rule::For(Action::ReadSchedules)),
    ("POST", "/v1/schedules/{name}/test-mail", Rule::For(Action::EditSchedules)),
    // mails that came back
    ("GET", "/v1/me/mail-address", Rule::For(Action::ReadNotifications)),
    ("POST", "/v1/me/mail-address/lift", Rule::For(Action::EditNotifications)),
    ("GET", "/v1/users/{id}/mail-address", Rule::For(Action::ManageEntitlements)),
    ("POST", "/v1/users/{id}/mail-address/lift", Rule::For(Action::ManageEntitlements)),
    ("POST", "/v1/mail-returns", Rule::For(Action::DecideMails)),
    // retention
    ("GET", "/v1/retention/plan", Rule::For(Action::ReadRetention)),
    ("GET", "/v1/retention/plan/{kind}", Rule::For(Action::ReadRetention)),
    ("GET", "/v1/retention/runs", Rule::For(Action::ReadRetention)),
    ("POST", "/v1/retention/runs", Rule::For(Action::RunRetention)),
    ("GET", "/v1/retention/runs/{id}", Rule::For(Action::ReadRetention)),
    ("GET", "/v1/retention/runs/{id}/records", Rule::For(Action::ReadRetention)),
    ("GET", "/v1/retention/holds", Rule::For(Action::ReadRetention)),
    ("POST", "/v1/retention/holds", Rule::For(Action::RunRetention)),
    ("GET", "/v1/retention/holds/{id}", Rule::For(Action::ReadRetention)),
    ("POST", "/v1/retention/holds/{id}/release", Rule::For(Action::RunRetention)),
];

/// All routes with their description.
pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(status::health))
        .routes(routes!(status::ready))
        .routes(routes!(status::metrics))
        .routes(routes!(openapi::document))
        .routes(routes!(openapi::page))
        .routes(routes!(status::me))
        .routes(routes!(submissions::open, lists::submissions))
        .routes(routes!(lists::search))
        .routes(routes!(submissions::status, submissions::withdraw))
        .routes(routes!(files::multipart))
        .routes(routes!(files::raw, files::withdraw))
        .routes(routes!(tus::options, tus::create))
        .routes(routes!(tus::look, tus::append, tus::terminate))
        .routes(routes!(submissions::submit))
        .routes(routes!(progress::history))
        .routes(routes!(progress::events))
        .routes(routes!(reconciliation::day))
        .routes(routes!(intake::intake))
        .routes(routes!(documents::look))
        .routes(routes!(documents::content))
        // the mailroom
        .routes(routes!(queue::list))
        .routes(routes!(queue::counts))
        .routes(routes!(queue::next))
        .routes(routes!(queue::lease, queue::renew, queue::give_back))
        .routes(routes!(decisions::accept))
        .routes(routes!(decisions::choose))
        .routes(routes!(decisions::split_apart))
        .routes(routes!(decisions::not_ours))
        .routes(routes!(cases::find))
        .routes(routes!(cases::documents))
        .routes(routes!(held::list))
        .routes(routes!(held::rescan))
        .routes(routes!(held::reject))
        .routes(routes!(held::release))
        .routes(routes!(held::quarantine))
        .routes(routes!(held::destroy))
        .routes(routes!(decisions::undo))
        .routes(routes!(decisions::disclosed))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::replay))
        .routes(routes!(mailroom::batches))
        .routes(routes!(mailroom::batch))
        .routes(routes!(mailroom::problems))
        .routes(routes!(mailroom::returns))
        // administration
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::look))
        .routes(routes!(keys::rotate))
        .routes(routes!(keys::revoke))
        .routes(routes!(users::put, users::list))
        .routes(routes!(users::search))
        .routes(routes!(users::bulk))
        .routes(routes!(users::look))
        .routes(routes!(users::roles))
        .routes(routes!(users::disabled))
        .routes(routes!(users::entitlements))
        .routes(routes!(users::grant))
        .routes(routes!(users::remove))
        .routes(routes!(users::of_tin))
        .routes(routes!(reference::bulk))
        .routes(routes!(reference::put))
        .routes(routes!(audit::search))
        .routes(routes!(audit::export))
        .routes(routes!(audit::verify))
        // the ways of letters
        .routes(routes!(status_change::set))
        .routes(routes!(letters::ask, letters::refused))
        .routes(routes!(letters::look))
        .routes(routes!(letters::pdf))
        .routes(routes!(letters::amend))
        .routes(routes!(routing::why))
        .routes(routes!(routing::stop))
        .routes(routes!(routing::release))
        .routes(routes!(routing::holds, routing::hold))
        .routes(routes!(routing::lift))
        .routes(routes!(paper::of_tin))
        .routes(routes!(paper::set))
        .routes(routes!(paper::dry_run))
        // the Messaging Center
        .routes(routes!(messages::search))
        .routes(routes!(messages::counts))
        .routes(routes!(messages::hidden, messages::hide))
        .routes(routes!(messages::look, messages::delete))
        .routes(routes!(messages::mark))
        .routes(routes!(correspondence::download))
        .routes(routes!(correspondence::unread_report))
        .routes(routes!(correspondence::letter))
        .routes(routes!(correspondence::entitlements))
        .routes(routes!(correspondence::of_case))
        .routes(routes!(correspondence::of_claim))
        .routes(routes!(handouts::cover_sheet))
        .routes(routes!(handouts::request_copy))
        // notifications
        .routes(routes!(mails::list))
        .routes(routes!(mails::look))
        .routes(routes!(mails::decide))
        .routes(routes!(unsubscribe::ask, unsubscribe::unsubscribe))
        // letters on paper
        .routes(routes!(batches::list, batches::close))
        .routes(routes!(batches::preview))
        .routes(routes!(batches::look))
        .routes(routes!(batches::of_batch))
        .routes(routes!(batches::file))
        .routes(routes!(batches::acknowledge))
        .routes(routes!(batches::reprint))
        .routes(routes!(batches::hold))
        .routes(routes!(batches::release))
        .routes(routes!(returned_mail::returned))
        .routes(routes!(returned_mail::tasks))
        .routes(routes!(returned_mail::correct))
        .routes(routes!(returned_mail::dismiss))
        // notifications
        .routes(routes!(notifications::own_choices, notifications::choose))
        .routes(routes!(notifications::choose_all))
        .routes(routes!(notifications::feed))
        .routes(routes!(notifications::choices_of))
        .routes(routes!(notifications::why))
        // schedules of digests
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::look))
        .routes(routes!(schedules::next))
        .routes(routes!(schedules::runs))
        .routes(routes!(schedules::preview))
        .routes(routes!(schedules::edit))
        .routes(routes!(schedules::confirm))
        .routes(routes!(schedules::drop_edit))
        .routes(routes!(schedules::rollback))
        .routes(routes!(schedules::pause))
        .routes(routes!(schedules::resume))
        .routes(routes!(schedules::run))
        .routes(routes!(schedules::approve))
        .routes(routes!(schedules::skip))
        .routes(routes!(rehearsals::dry_run))
        .routes(routes!(rehearsals::test_mail))
        // mails that came back
        .routes(routes!(mail_address::own))
        .routes(routes!(mail_address::lift_own))
        .routes(routes!(mail_address::of_user))
        .routes(routes!(mail_address::lift_of_user))
        .routes(routes!(mail_address::returned))
        // retention
        .routes(routes!(retention::plan))
        .routes(routes!(retention::plan_of))
        .routes(routes!(retention::runs, retention::begin))
        .routes(routes!(retention::look))
        .routes(routes!(retention::records))
        .routes(routes!(retention::holds, retention::hold))
        .routes(routes!(retention::look_at_hold))
        .routes(routes!(retention::release))
}

/// The routes of a node that works and is only watched over HTTP.
fn operation() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(status::health))
        .routes(routes!(status::ready))
        .routes(routes!(status::metrics))
}

/// The routes behind their guard.
pub fn router(api: Api) -> Router {
    let routes = match api.serves {
        Serves::All => routes(),
        Serves::Operation => operation(),
    };
    let (router, _) = routes.split_for_parts();
    router
        .fallback(|| async { Problem::of(Code::NotFound, "there is no such route") })
        .method_not_allowed_fallback(|| async {
            Problem::of(Code::MethodNotAllowed, "the route does not take this method")
        })
        // bodies are limited where they are read: by the policy of the submission, or as small ones
        .layer(DefaultBodyLimit::disable())
        .route_layer(from_fn_with_state(api.clone(), guard))
        .with_state(api)
}
