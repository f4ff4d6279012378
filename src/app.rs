//! Puts the parts together from the settings: the one place that knows all of them.

pub mod backup;
pub mod correspondence;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use metrics_exporter_prometheus::PrometheusHandle;
use thiserror::Error;

use self::correspondence::CorrespondencePlan;
use crate::access::Access;
use crate::access::policy::AccessPolicy;
use crate::cases::Cases;
use crate::db::{Db, DbError, PLAN_PREFIX, installation_like, set_installation};
use crate::delivery::{self, Correspondence, Notices};
use crate::digests::Digests;
use crate::digests::mail::{Composer, ComposerError, Mail};
use crate::digests::plan::NotificationsPlan;
use crate::engine::audit::{self, Report};
use crate::engine::keeping::Keeping;
use crate::engine::plan::{self, PlanError};
use crate::engine::sequencer::{AuditKey, Sequencer, kept_head};
use crate::engine::{Engine, Parts};
use crate::fax::{Fax, Gateway, GatewayError};
use crate::http::api::{Api, Serves};
use crate::http::limits::Use;
use crate::http::plan::DoorsPlan;
use crate::intake::plan::{IntakePlan, load_calendar};
use crate::intake::room::Backlog;
use crate::intake::sources::{SourceError, Sources};
use crate::intake::{Intake, stages};
use crate::letters::asks::Asks;
use crate::letters::reconcile::Orphans;
use crate::letters::render::OpenError;
use crate::letters::stages::Letters;
use crate::letters::{self, Renderer};
use crate::model::calendar::Calendar;
use crate::model::ids::Brand;
use crate::outside::context::Context;
use crate::outside::extract::Extract;
use crate::outside::mailer::RelaysError;
use crate::outside::objects::{self, ObjectError, Objects};
use crate::outside::oidc::{Oidc, OidcError};
use crate::outside::scanner::{Freshness, ManagedOptions, Scanner, ScannerError};
use crate::outside::spool::Spool;
use crate::outside::traces::{Traces, TracesError};
use crate::paper::production::address::AddressCheck;
use crate::paper::{self, Paper, PaperPolicy};
use crate::retention::{Retention, RetentionPlan};
use crate::settings::{ScannerUse, Settings};

/// Why the program can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Mails can't be made.
    #[error(transparent)]
    Mail(#[from] ComposerError),
    /// Traces can't be sent.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// The relays of mails can't be used.
    #[error(transparent)]
    Relays(#[from] RelaysError),
    /// The fax gateway's folder can't be used.
    #[error(transparent)]
    Fax(#[from] GatewayError),
    /// A plan can't be used.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The database can't be used.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The object store can't be used.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// There is no scanner.
    #[error(transparent)]
    Scanner(#[from] ScannerError),
    /// Nobody can be asked for logins.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// A source of the mailroom can't be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The templates of letters can't be used.
    #[error(transparent)]
    Templates(#[from] OpenError),
    /// A file or directory of ours can't be used.
    #[error("can't {doing} {path}: {source}")]
    Disk {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another process runs as this node on this data directory.
    #[error("another lettercase runs on {dir} as {node}: end it, or give this one a directory or node name of its own")]
    Taken {
        /// The data directory.
        dir: PathBuf,
        /// The node's name.
        node: String,
    },
    /// The installation was put back from a back-up, and nobody has said that nodes may go on from it.
    #[error("{why}: nothing is sent until `lettercase restore finish` has said what is in doubt (docs/operations.md)")]
    Restored {
        /// By what it shows.
        why: String,
    },
    /// The audit key's file does not hold a key.
    #[error("{0} must hold 64 hexadecimal digits, the key of the audit chain")]
    AuditKey(PathBuf),
}

/// The program's parts, put together.
#[derive(Clone)]
pub struct App {
    /// The settings it was made from.
    pub settings: Arc<Settings>,
    /// The intake journey.
    pub intake: Intake,
    /// Letters: from what asks for them to their PDFs.
    pub letters: Letters,
    /// The journey of letters, as far as their ways go.
    pub correspondence: Correspondence,
    /// Letters on paper: print batches and their envelopes.
    pub paper: Paper,
    /// Answers by fax.
    pub fax: Fax,
    /// What users are told of by mail.
    pub digests: Digests,
    /// What is destroyed when, and what keeps it.
    pub retention: Retention,
    /// The engine over all stages.
    pub engine: Engine,
    /// Who callers are.
    pub access: Access,
    /// The plan of the doors.
    pub doors: Arc<DoorsPlan>,
    /// The key of the audit chain.
    pub audit_key: AuditKey,
    /// The hash of the plan this node runs.
    pub plan_hash: String,
    /// Held as long as this process is the node; the system lets go of it however the process ends.
    _lock: Option<Arc<File>>,
}

/// The database, opened and brought up where it is this node's own.
///
/// # Errors
/// When it can't be opened, or a shared one has not been migrated.
pub async fn open_db(settings: &Settings) -> Result<Db, StartError> {
    make_dir(&settings.data_dir)?;
    let db = Db::open(&settings.database_url()).await?;
    if settings.is_shared() {
        db.check_schema().await?;
    } else {
        db.migrate().await?;
    }
    Ok(db)
}

/// The scanner as the settings want it.
///
/// # Errors
/// When there is none.
pub async fn open_scanner(settings: &Settings, plan: &IntakePlan) -> Result<Scanner, StartError> {
    let fresh = match settings.scanner.allow_test_signatures {
        true => Freshness::TestSignaturesAllowed,
        false => Freshness::Required,
    };
    Ok(match &settings.scanner.run_by {
        ScannerUse::Endpoints(endpoints) => Scanner::pool(endpoints.clone(), plan.scan.clone(), fresh)?,
        ScannerUse::Managed => {
            let mut options = ManagedOptions { clamd: settings.scanner.clamd.clone(), ..ManagedOptions::default() };
            options.search.splice(0..0, settings.scanner.search.iter().cloned());
            if cfg!(debug_assertions) {
                // a development build finds what `make deps` unpacked, also without its PATH
                options.search.push(Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin"));
            }
            if let Some(directories) = &settings.scanner.signature_directories {
                options.signature_directories.clone_from(directories);
            }
            Scanner::start_managed(&options, plan.scan.clone(), fresh).await?
        }
    })
}

/// The machine's clock, and spans to where the settings say.
fn open_context(settings: &Settings) -> Result<Context, StartError> {
    let ctx = Context::system();
    Ok(match &settings.traces {
        None => ctx,
        Some(options) => ctx.with_traces(Traces::open(options, &settings.node)?),
    })
}

/// Keys, users and logins as the settings and the policy want them.
///
/// # Errors
/// When the policy can't be used.
pub fn open_access(settings: &Settings, db: Db, ctx: Context) -> Result<Access, StartError> {
    let policy = AccessPolicy::load(settings.config_dir.as_deref())?.plan;
    let issuers = settings.oidc.0.clone();
    let oidc = if issuers.is_empty() { None } else { Some(Oidc::new(issuers, policy.oidc.clone())?) };
    Ok(Access::new(db, ctx, oidc, policy))
}

/// The templates built in, or those below the configuration directory. The built-in ones are read once in a process.
///
/// # Errors
/// When they can't be used.
pub fn open_renderer(config: Option<&Path>) -> Result<Arc<Renderer>, StartError> {
    static BUILT_IN: OnceLock<Arc<Renderer>> = OnceLock::new();
    let own = config.map(|dir| dir.join("templates")).filter(|dir| dir.is_dir());
    if let Some(dir) = own {
        return Ok(Arc::new(Renderer::open(Some(&dir))?));
    }
    if let Some(renderer) = BUILT_IN.get() {
        return Ok(renderer.clone());
    }
    let renderer = Arc::new(Renderer::open(None)?);
    Ok(BUILT_IN.get_or_init(|| renderer).clone())
}

/// What mails are made and sent with, where the settings name relays.
///
/// # Errors
/// When something that they name is missing or wrong.
pub fn open_mail(
    settings: &Settings,
    plan: &NotificationsPlan,
    renderer: &Renderer,
    key: &AuditKey,
    ctx: &Context,
) -> Result<Option<Mail>, StartError> {
    let Some(options) = &settings.mail else { return Ok(None) };
    let brands: Vec<Brand> = std::iter::once(&settings.brand).chain(&settings.brands).cloned().collect();
    let composer = Composer::open(options, &brands, renderer, settings.config_dir.as_deref(), key)?;
    Ok(Some(Mail::open(options, plan.relays, composer, ctx)?))
}

/// Print batches, for an operator beside a running node: the same parts, without stages.
///
/// # Errors
/// When a plan, the templates or the object store can't be used.
pub async fn open_paper(settings: &Settings, db: Db, ctx: Context) -> Result<Paper, StartError> {
    let calendar = load_calendar(settings.config_dir.as_deref())?.plan;
    let plan = CorrespondencePlan::load(settings.config_dir.as_deref())?.plan.paper;
    let objects = objects::open(&settings.objects_options()).await?;
    let renderer = open_renderer(settings.config_dir.as_deref())?;
    let scratch = settings.data_dir.join("spool").join(&settings.node);
    make_paper(settings, plan, PaperParts { db, ctx, calendar: Arc::new(calendar), objects, renderer, scratch })
}

/// Digests, for an operator beside a running node.
///
/// # Errors
/// When a plan can't be used.
pub fn open_digests(settings: &Settings, db: Db, ctx: Context) -> Result<Digests, StartError> {
    let calendar = Arc::new(load_calendar(settings.config_dir.as_deref())?.plan);
    let plan = NotificationsPlan::load(settings.config_dir.as_deref())?.plan;
    Ok(make_digests(settings, plan, db, ctx, calendar))
}

/// Retention, for an operator beside a running node.
///
/// # Errors
/// When a plan or the object store can't be used.
pub async fn open_retention(settings: &Settings, db: Db, ctx: Context) -> Result<Retention, StartError> {
    let calendar = Arc::new(load_calendar(settings.config_dir.as_deref())?.plan);
    let plan = Arc::new(RetentionPlan::load(settings.config_dir.as_deref())?.plan);
    let objects = objects::open(&settings.objects_options()).await?;
    Ok(Retention { db, ctx, calendar, plan, objects, brand: settings.brand.clone() })
}

fn make_digests(
    settings: &Settings,
    plan: NotificationsPlan,
    db: Db,
    ctx: Context,
    calendar: Arc<Calendar>,
) -> Digests {
    let brands = std::iter::once(&settings.brand).chain(&settings.brands).cloned().collect();
    Digests { db, ctx, calendar, plan: Arc::new(plan), brands, mail: None }
}

/// What print batches are made of beside their policy.
struct PaperParts {
    db: Db,
    ctx: Context,
    calendar: Arc<Calendar>,
    objects: Arc<dyn Objects>,
    renderer: Arc<Renderer>,
    scratch: PathBuf,
}

fn make_paper(settings: &Settings, plan: PaperPolicy, parts: PaperParts) -> Result<Paper, StartError> {
    let PaperParts { db, ctx, calendar, objects, renderer, scratch } = parts;
    let block = renderer.address_block().clone();
    // letters that no window shows the address of are no letters
    plan.production.check_letters(&block)?;
    let check = AddressCheck::new(renderer.text_face().unwrap_or_default(), block)
        .map_err(|error| OpenError::File { file: "fonts/".into(), message: error.to_string() })?;
    let brands: Vec<Brand> = std::iter::once(&settings.brand).chain(&settings.brands).cloned().collect();
    let (plan, check) = (Arc::new(plan), Arc::new(check));
    Ok(Paper { db, ctx, plan, calendar, objects, renderer, check, brands: brands.into(), scratch })
}

/// This program's own file, for the children it runs.
///
/// # Errors
/// When the system does not tell.
pub fn own_exe() -> Result<PathBuf, StartError> {
    std::env::current_exe().map_err(|source| StartError::Disk { doing: "find", path: "lettercase".into(), source })
}

impl App {
    /// Puts the parts together on the machine's clock.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let loaded = IntakePlan::load(settings.config_dir.as_deref())?;
        let access = AccessPolicy::load(settings.config_dir.as_deref())?;
        let doors = DoorsPlan::load(settings.config_dir.as_deref())?;
        let hash = plan::joined(&[&loaded.hash, &access.hash, &doors.hash]);
        let lock = Arc::new(lock_node(&settings)?);
        let db = open_db(&settings).await?;
        backup::check_restored(&db, &settings).await?;
        let scanner = open_scanner(&settings, &loaded.plan).await?;
        let ctx = open_context(&settings)?;
        let app = Self::assemble(settings, loaded.plan, hash, db, scanner, ctx, own_exe()?).await?;
        Ok(Self { _lock: Some(lock), ..app })
    }

    /// Puts the parts together from a database, a scanner and a context of the caller's; `exe` is this
    /// program's file.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn assemble(
        settings: Settings,
        plan: IntakePlan,
        plan_hash: String,
        db: Db,
        scanner: Scanner,
        ctx: Context,
        exe: PathBuf,
    ) -> Result<Self, StartError> {
        make_dir(&settings.data_dir)?;
        let audit_key = audit_key(&settings, &ctx)?;
        let doors = Arc::new(DoorsPlan::load(settings.config_dir.as_deref())?.plan);
        let objects = Keeping::over(objects::open(&settings.objects_options()).await?, db.clone(), ctx.clone());
        let spool_dir = settings.data_dir.join("spool").join(&settings.node);
        let spool = Spool::open(&spool_dir).await.map_err(|source| StartError::Disk {
            doing: "open the spool",
            path: spool_dir.clone(),
            source,
        })?;
        let calendar = load_calendar(settings.config_dir.as_deref())?;
        tell_calendar(&calendar.plan, &ctx);
        let correspondence = CorrespondencePlan::load(settings.config_dir.as_deref())?;
        let notifications = NotificationsPlan::load(settings.config_dir.as_deref())?;
        // nodes that go by different calendars run different plans
        let retention = RetentionPlan::load(settings.config_dir.as_deref())?;
        let hashes = [&calendar.hash, &correspondence.hash, &notifications.hash, &retention.hash];
        let plan_hash = hashes.iter().fold(plan_hash, |joined, hash| format!("{joined}+{hash}"));
        let extract = Extract::new(exe, spool.dir().to_owned(), plan.extract.clone());
        tell_plan(&db, &settings.node, &plan_hash).await?;
        let mut policies = plan.work.clone();
        let plans = correspondence.plan;
        policies.extend(plans.work.clone());
        let access = open_access(&settings, db.clone(), ctx.clone())?;
        let intake = Intake {
            db: db.clone(),
            ctx: ctx.clone(),
            node: settings.node.clone(),
            plan: Arc::new(plan),
            calendar: Arc::new(calendar.plan),
            objects: objects.clone(),
            spool,
            extract,
            scanner,
            backlog: Backlog::default(),
        };
        let letters = Letters {
            db: db.clone(),
            ctx: ctx.clone(),
            plan: Arc::new(plans.letters),
            calendar: intake.calendar.clone(),
            objects: objects.clone(),
            renderer: open_renderer(settings.config_dir.as_deref())?,
            orphans: Orphans::default(),
        };
        let correspondence = Correspondence {
            db: db.clone(),
            ctx: ctx.clone(),
            plan: Arc::new(plans.delivery),
            calendar: intake.calendar.clone(),
            objects: objects.clone(),
        };
        let parts = PaperParts {
            db: db.clone(),
            ctx: ctx.clone(),
            calendar: intake.calendar.clone(),
            objects: objects.clone(),
            renderer: letters.renderer.clone(),
            scratch: spool_dir,
        };
        let paper = make_paper(&settings, plans.paper, parts)?;
        let gateway = settings.fax_gateway.as_deref().map(Gateway::open).transpose()?;
        let fax = Fax::new(db.clone(), ctx.clone(), Arc::new(plans.fax), objects.clone(), gateway);
        let calendar = intake.calendar.clone();
        let mail = open_mail(&settings, &notifications.plan, &letters.renderer, &audit_key, &ctx)?;
        let digests =
            Digests { mail, ..make_digests(&settings, notifications.plan, db.clone(), ctx.clone(), calendar) };
        let retention = Retention {
            db: db.clone(),
            ctx: ctx.clone(),
            calendar: intake.calendar.clone(),
            plan: Arc::new(retention.plan),
            objects: objects.clone(),
            brand: settings.brand.clone(),
        };
        let mut chains = stages::chains(&intake);
        chains.push(letters::stages::chain(&letters));
        chains.extend(delivery::chains(&correspondence));
        chains.push(paper::stages::chain(&paper));
        let engine = Engine::new(Parts {
            db,
            node: settings.node.clone(),
            chains,
            policies,
            readers: vec![Arc::new(Cases), Arc::new(Asks), Arc::new(Notices(correspondence.clone()))],
            // By its name: after a crash the node goes on sealing at once, with the lease it still has.
            sequencer: Sequencer::new(audit_key.clone(), objects, settings.node.clone()),
            ctx,
        })?;
        Ok(Self {
            settings: Arc::new(settings),
            intake,
            letters,
            correspondence,
            paper,
            fax,
            digests,
            retention,
            engine,
            access,
            doors,
            audit_key,
            plan_hash,
            _lock: None,
        })
    }

    /// What the routes work with.
    pub fn api(&self, metrics: Option<PrometheusHandle>) -> Api {
        let settings = &self.settings;
        Api {
            intake: self.intake.clone(),
            letters: self.letters.clone(),
            correspondence: self.correspondence.clone(),
            paper: self.paper.clone(),
            digests: self.digests.clone(),
            retention: self.retention.clone(),
            engine: self.engine.clone(),
            access: self.access.clone(),
            brands: std::iter::once(&settings.brand).chain(&settings.brands).cloned().collect(),
            usage: Use::new(&self.doors, &self.intake.ctx),
            audit_key: self.audit_key.clone(),
            plan: self.doors.clone(),
            trusted: settings.trusted_proxies.as_slice().into(),
            metrics_from: settings.metrics_from.as_slice().into(),
            metrics,
            figures: Arc::default(),
            standing: Arc::default(),
            serves: Serves::All,
        }
    }

    /// The mailroom's sources, for this node to look at.
    ///
    /// # Errors
    /// When the settings of one can't be used.
    pub async fn sources(&self) -> Result<Sources, StartError> {
        let (intake, settings) = (self.intake.clone(), &self.settings);
        Ok(Sources::open(intake, settings.brand.clone(), &settings.sources, &self.audit_key).await?)
    }

    /// Verifies the chain of events against the head kept outside the database.
    ///
    /// # Errors
    /// When the database or the store can't be read.
    pub async fn verify_audit(&self) -> Result<Report, StartError> {
        verify_chain(&self.intake.db, self.intake.objects.as_ref(), &self.audit_key).await
    }

    /// Ends what the program started.
    pub async fn shutdown(&self) {
        self.intake.scanner.shutdown().await;
        self.intake.db.close().await;
        // it waits for its thread, and that for this runtime
        let traces = self.intake.ctx.traces().clone();
        let _ = tokio::task::spawn_blocking(move || traces.close()).await;
    }
}

/// Verifies the chain of events of an installation, beside its running nodes.
///
/// # Errors
/// When the database or the store can't be read.
pub async fn verify_audit(settings: &Settings) -> Result<Report, StartError> {
    let db = open_db(settings).await?;
    let objects = objects::open(&settings.objects_options()).await?;
    verify_chain(&db, objects.as_ref(), &audit_key(settings, &Context::system())?).await
}

async fn verify_chain(db: &Db, objects: &dyn Objects, key: &AuditKey) -> Result<Report, StartError> {
    let head = kept_head(objects).await?;
    Ok(audit::verify(db, key, head.as_ref()).await?)
}

/// Keeps the hash of this node's plan where all nodes see it: differing ones raise an alarm.
async fn tell_plan(db: &Db, node: &str, hash: &str) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    set_installation(&mut tx, &format!("{PLAN_PREFIX}{node}"), hash).await?;
    let all = installation_like(&mut tx, PLAN_PREFIX).await?;
    tx.commit().await?;
    for (other, differing) in all.iter().filter(|(_, other)| other != hash) {
        tracing::error!(node, other, differing, hash, "this node runs another plan than that one");
    }
    Ok(())
}

/// Warns before the list of holidays ends: behind its end, deadlines fall on holidays.
fn tell_calendar(calendar: &Calendar, ctx: &Context) {
    const AHEAD_DAYS: i32 = 90;
    let today = calendar.local_day(ctx.now());
    if !calendar.covers(calendar.add_days(today, AHEAD_DAYS)) {
        tracing::warn!("calendar.toml lists no holidays beyond the next {AHEAD_DAYS} days: add the coming year's");
    }
}

fn audit_key(settings: &Settings, ctx: &Context) -> Result<AuditKey, StartError> {
    let path = settings.audit_key_file.clone().unwrap_or_else(|| settings.data_dir.join("audit.key"));
    let trouble = |doing, source| StartError::Disk { doing, path: path.clone(), source };
    if settings.audit_key_file.is_none() && !path.exists() {
        let key = hex::encode(ctx.secret_bytes());
        write_secret(&path, &key).map_err(|source| trouble("make the audit key", source))?;
    }
    let text = std::fs::read_to_string(&path).map_err(|source| trouble("read the audit key", source))?;
    let bytes = hex::decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(AuditKey).ok_or(StartError::AuditKey(path))
}

fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Takes the node's place on its data directory: a second process would empty the spool under the first.
fn lock_node(settings: &Settings) -> Result<File, StartError> {
    let dir = settings.data_dir.join("spool");
    make_dir(&settings.data_dir)?;
    make_dir(&dir)?;
    let path = dir.join(format!("{}.lock", settings.node));
    let trouble = |source| StartError::Disk { doing: "lock", path: path.clone(), source };
    let file = File::create(&path).map_err(trouble)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StartError::Taken { dir: settings.data_dir.clone(), node: settings.node.clone() })
        }
        Err(TryLockError::Error(source)) => Err(trouble(source)),
    }
}

fn make_dir(path: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| StartError::Disk {
        doing: "make the directory",
        path: path.to_owned(),
        source,
    })
}
