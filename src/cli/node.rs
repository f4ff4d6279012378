//! Nodes: `serve`, `work`, and the one that `submit --data`, `demo` and `bench` run within themselves.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{CliError, Environment};
use crate::app::App;
use crate::db::{Db, outgoing};
use crate::digests::send::Sender;
use crate::digests::{Digests, heartbeat};
use crate::http::api::{Api, Serves};
use crate::http::server;
use crate::intake::sources::Sources;
use crate::outside::contained::contained;
use crate::outside::metrics;
use crate::outside::spool::survive_file_limits;
use crate::settings::Settings;

/// Begins logging to standard error: in JSON where a service runs, else only what goes wrong.
pub(super) fn start_log(environment: &Environment, service: bool) {
    let asked = environment.variables.get("LETTERCASE_LOG").cloned();
    let asked = asked.unwrap_or_else(|| if service { "info" } else { "off" }.to_owned());
    let filter = without_addresses(asked);
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // a second call, in a test, keeps the first one's log
    let _ = if service { builder.json().try_init() } else { builder.try_init() };
}

/// These log addresses when they are asked for details, and the addresses of a watched bucket hold file names.
fn without_addresses(filter: String) -> String {
    const TELLING: [&str; 10] = [
        "aws_config",
        "aws_runtime",
        "aws_sdk_s3",
        "aws_sigv4",
        "aws_smithy_http_client",
        "aws_smithy_runtime",
        "aws_smithy_runtime_api",
        "hyper",
        "hyper_util",
        // and this one whole messages, should it ever be built to log
        "lettre",
    ];
    let detailed = ["debug", "trace"].iter().any(|level| filter.to_ascii_lowercase().contains(level));
    if !detailed {
        return filter;
    }
    TELLING.iter().fold(filter, |filter, target| format!("{filter},{target}=warn"))
}

/// A running node: engine, reconcilers, and HTTP where asked for.
pub(super) struct Node {
    /// Its parts.
    pub(super) app: App,
    /// Where it listens.
    pub(super) address: Option<SocketAddr>,
    scheme: &'static str,
    /// A key that this process alone knows, for what it sends to itself.
    pub(super) key: String,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    /// Starts a node; with `listen`, one that answers HTTP there.
    pub(super) async fn start(settings: Settings, listen: Option<SocketAddr>) -> Result<Self, CliError> {
        Self::start_changed(settings, listen, |_| {}).await
    }

    /// The same, with parts that are changed before anything runs.
    pub(super) async fn start_changed(
        settings: Settings,
        listen: Option<SocketAddr>,
        change: impl FnOnce(&mut App),
    ) -> Result<Self, CliError> {
        Self::start_serving(settings, listen, Serves::All, change).await
    }

    async fn start_serving(
        settings: Settings,
        listen: Option<SocketAddr>,
        serves: Serves,
        change: impl FnOnce(&mut App),
    ) -> Result<Self, CliError> {
        let listener = match listen {
            None => None,
            Some(address) => Some(TcpListener::bind(address).map_err(|error| CliError::Listen(address, error))?),
        };
        let tls = match settings.tls.as_ref().filter(|_| listen.is_some()) {
            None => None,
            Some(tls) => Some(server::read_tls(&tls.certificate_file, &tls.key_file).await?),
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = listener.as_ref().and_then(|l| l.local_addr().ok());
        if let Err(error) = survive_file_limits() {
            tracing::warn!(error = %error, "a limit on file sizes would end this process");
        }
        let mut app = App::start(settings).await?;
        change(&mut app);
        let (access, key) = app.access.with_local_key();
        app.access = access;
        // before it is asked for them, and not a second after
        app.digests.make_schedules().await?;
        let stop = watch::Sender::new(false);
        let mut tasks = Vec::new();
        let engine = app.engine.clone();
        tasks.push(tokio::spawn(async move { engine.run().await }));
        tasks.push(tokio::spawn(reconcile(app.clone(), stop.subscribe())));
        tasks.push(tokio::spawn(beat(app.digests.clone(), stop.subscribe())));
        tasks.push(tokio::spawn(plan_digests(app.digests.clone(), stop.subscribe())));
        tasks.push(tokio::spawn(send_digests(app.digests.clone(), stop.subscribe())));
        let sources = app.sources().await?;
        tasks.extend((0..sources.all().len()).map(|at| tokio::spawn(watch(sources.clone(), at, stop.subscribe()))));
        if let Some(listener) = listener {
            let handle = metrics_handle();
            if let Some(handle) = handle.clone() {
                tasks.push(tokio::spawn(keep_metrics(handle, stop.subscribe())));
            }
            let api = Api { serves, ..app.api(handle) };
            let mut stopping = stop.subscribe();
            tasks.push(tokio::spawn(async move {
                let stopped = async move {
                    let _ = stopping.wait_for(|stop| *stop).await;
                };
                if let Err(error) = server::serve(listener, tls, api, stopped).await {
                    tracing::error!(error = %error, "http ended");
                }
            }));
        }
        Ok(Self { app, address, scheme, key, stop, tasks })
    }

    /// The base of its addresses.
    pub(super) fn url(&self) -> String {
        self.address.map(|address| format!("{}://{address}", self.scheme)).unwrap_or_default()
    }

    /// Finishes or gives back what runs, and ends.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        self.app.engine.stop();
        for task in self.tasks {
            // an open event stream must not keep the node from ending
            if tokio::time::timeout(Duration::from_secs(30), task).await.is_err() {
                tracing::warn!("a part of the node did not end in time");
            }
        }
        self.app.shutdown().await;
    }
}

/// Metrics are installed once per process.
fn metrics_handle() -> Option<PrometheusHandle> {
    static HANDLE: std::sync::OnceLock<Option<PrometheusHandle>> = std::sync::OnceLock::new();
    let made = || {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, metrics::BUCKETS_S).ok()?;
        let handle = builder.install_recorder().ok()?;
        metrics::describe();
        Some(handle)
    };
    HANDLE.get_or_init(made).clone()
}

/// Moves what histograms have taken in to where it is small, also where nobody reads them.
async fn keep_metrics(handle: PrometheusHandle, mut stopping: watch::Receiver<bool>) {
    while tokio::time::timeout(METRICS_EVERY, stopping.wait_for(|stop| *stop)).await.is_err() {
        handle.run_upkeep();
    }
}

/// One look after a part of what lies here. What one part fails at keeps no other from being looked after.
async fn pass<T, E>(part: &'static str, looking: impl Future<Output = Result<T, E>>)
where
    T: std::fmt::Debug + Default + PartialEq,
    E: std::fmt::Display,
{
    match contained(part, looking).await {
        Some(Ok(done)) if done != T::default() => tracing::info!(part, ?done, "looked after"),
        Some(Err(error)) => tracing::warn!(part, error = %error, "could not look after"),
        Some(Ok(_)) | None => {}
    }
}

async fn reconcile(app: App, mut stopping: watch::Receiver<bool>) {
    loop {
        let pause = tokio::time::timeout(app.intake.reconcile_every(), stopping.wait_for(|stop| *stop));
        if pause.await.is_ok() {
            return;
        }
        let node = &app.settings.node;
        pass("documents", app.intake.reconcile(node)).await;
        pass("letters", app.letters.reconcile(node)).await;
        pass("the Messaging Center", app.correspondence.reconcile(node)).await;
        pass("print batches", app.paper.reconcile(node)).await;
        pass("faxes", app.fax.reconcile(node)).await;
        pass("retention", app.retention.work(node)).await;
        pass("returned mails", app.digests.look_at_returns(node)).await;
        app.engine.wake();
    }
}

/// Looks each second whether digests are due.
async fn beat(digests: Digests, stopping: watch::Receiver<bool>) {
    let tick = move || {
        let digests = digests.clone();
        async move {
            match digests.tick().await {
                Ok(ticked) if ticked != Default::default() => tracing::info!(?ticked, "opened runs of digests"),
                Ok(_) => {}
                Err(error) => tracing::warn!(error = %error, "could not look whether digests are due"),
            }
        }
    };
    heartbeat::run(stopping, tick).await;
}

/// How often metrics are looked after.
const METRICS_EVERY: Duration = Duration::from_secs(5);

/// How often is looked for digests to plan and mails to send.
const DIGESTS_EVERY: Duration = Duration::from_secs(1);

/// Plans the runs that are due, and ends those whose mails have ended, again and again.
async fn plan_digests(digests: Digests, mut stopping: watch::Receiver<bool>) {
    while tokio::time::timeout(DIGESTS_EVERY, stopping.wait_for(|stop| *stop)).await.is_err() {
        if let Some(Err(error)) = contained("planning digests", digests.plan_due(|| !*stopping.borrow())).await {
            tracing::warn!(error = %error, "could not plan digests");
        }
    }
}

/// Sends what is due, again and again.
async fn send_digests(digests: Digests, mut stopping: watch::Receiver<bool>) {
    let Some(mail) = digests.mail.clone() else {
        tracing::info!("the settings name no mail relay: digests are planned, and wait");
        return;
    };
    let sender = Sender::new(digests, mail);
    while tokio::time::timeout(DIGESTS_EVERY, stopping.wait_for(|stop| *stop)).await.is_err() {
        let sending = contained("sending digests", sender.send_due());
        tokio::pin!(sending);
        let sent = tokio::select! {
            sent = &mut sending => sent,
            // what is under way is waited for, and nothing more is begun
            () = async { _ = stopping.wait_for(|stop| *stop).await } => {
                sender.stop();
                sending.await
            }
        };
        match sent {
            Some(Ok(0)) | None => {}
            Some(Ok(mails)) => tracing::info!(mails, "handed mails to relays"),
            Some(Err(error)) => tracing::warn!(error = %error, "could not send mails"),
        }
    }
}

/// Looks at a source of the mailroom, again and again.
async fn watch(sources: Sources, at: usize, mut stopping: watch::Receiver<bool>) {
    let Some(source) = sources.all().get(at) else { return };
    let mut pause = Duration::ZERO;
    while tokio::time::timeout(pause, stopping.wait_for(|stop| *stop)).await.is_err() {
        pause = sources.every();
        let looked = tokio::select! {
            looked = contained("a source", sources.look(source)) => looked,
            // what was being taken is ended as broken off, and begun again after the start
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        match looked {
            Some(Ok(look)) if look.more && !look.elsewhere => pause = Duration::ZERO,
            Some(Ok(_)) | None => {}
            Some(Err(error)) => tracing::warn!(source = source.number, error = %error, "could not look at a source"),
        }
    }
    if let Err(error) = sources.release(source).await {
        tracing::warn!(source = source.number, error = %error, "could not give a source back");
    }
}

pub(super) async fn serve(settings: Settings) -> Result<(), CliError> {
    settings.check_listen()?;
    let listen = settings.listen;
    let node = Node::start(settings, Some(listen)).await?;
    tell_ready(&node).await;
    eprintln!("listening on {}", node.url());
    asked_to_stop().await;
    node.stop().await;
    Ok(())
}

pub(super) async fn work(mut settings: Settings, listen: Option<SocketAddr>) -> Result<(), CliError> {
    if let Some(address) = listen {
        settings.listen = address;
        settings.check_listen()?;
    }
    let node = Node::start_serving(settings, listen, Serves::Operation, |_| {}).await?;
    tell_ready(&node).await;
    match node.address {
        None => eprintln!("working"),
        Some(_) => eprintln!("working, watched at {}", node.url()),
    }
    asked_to_stop().await;
    node.stop().await;
    Ok(())
}

async fn tell_ready(node: &Node) {
    let app = &node.app;
    tracing::info!(node = app.settings.node, plan = app.plan_hash, "started");
    tell_held(&app.intake.db).await;
    match app.intake.scanner.ready(app.intake.ctx.now()).await {
        Ok(version) => super::output::tell_scanner(&version),
        Err(not_ready) => eprintln!("no scanner is fit to be used, so files wait: {not_ready}"),
    }
    if !app.settings.is_shared() {
        eprintln!(
            "data in {}: put it on an encrypted volume, for what lies there is health data",
            app.settings.data_dir.display()
        );
    }
}

/// Says what is held back as a whole, so that nobody wonders why nothing goes out.
async fn tell_held(db: &Db) {
    let held = async { outgoing::held(&mut *db.read().await?).await };
    match held.await {
        Ok(held) => {
            for held in held {
                let (what, since) = (held.what.as_str(), held.since);
                tracing::warn!(what, %since, "held back until `lettercase outgoing release`");
            }
        }
        Err(error) => tracing::warn!(error = %error, "could not look what is held back"),
    }
}

/// Waits for the signals that ask a service to end.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
