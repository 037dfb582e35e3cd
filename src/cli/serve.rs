//! `serve`: the relay as a service.

mod manager;
mod reloading;
mod sockets;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use self::manager::Manager;
use super::logging::{self, Logging};
use super::output::{Output, counted};
use super::{Failure, load, service_runtime};
use crate::app::{App, Deps, Running, Workers};
use crate::clock::{OsEntropy, SystemClock};
use crate::config::settings::{Config, Listen};
use crate::store::embedded::OpenReport;

pub(super) fn run(file: Option<PathBuf>, _output: &Output) -> Result<(), Failure> {
    let (file, config) = load(file)?;
    let logging = logging::start(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    service_runtime().block_on(serve(&file, &config, &logging))
}

async fn serve(file: &Path, config: &Config, logging: &Logging) -> Result<(), Failure> {
    // Asked for before anything is started, so that a stop during the start is a stop.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let deps = Deps {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
    };
    let clock = Arc::clone(&deps.clock);
    let app = App::build(config, deps, sockets::passed()?).await?;
    let opened = app.opened();
    let serving = shown(&app.public_address(), config.server.tls.is_some());
    let manager = Manager::from_env(serving, config.endpoints.len());
    let beats = app.beats();
    if let Some(every) = manager.turn_every() {
        beats.turn_every(every);
    }
    let mut running = app.start(Workers::Running)?;
    announce(file, config, &running, opened).await;
    manager.ready(&beats).await;
    let informing = manager.inform(&beats, &*clock);
    tokio::pin!(informing);
    let signal = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            () = running.failed() => break "a listener's end",
            _ = hangup.recv() => {
                manager.reloading();
                match reloading::reload(file, &mut running, logging).await {
                    Ok(endpoints) => manager.reloaded(endpoints, &beats).await,
                    Err(why) => manager.not_reloaded(why, &beats).await,
                }
            }
            () = &mut informing => {}
        }
    };
    tracing::info!(signal, "stopping: no new callbacks, attempts under way end");
    manager.stopping();
    let failed = running.listener_failed();
    running.stop().await?;
    tracing::info!("stopped");
    if failed { Err(Failure::Said) } else { Ok(()) }
}

/// One line that a person can act on.
async fn announce(file: &Path, config: &Config, running: &Running, opened: OpenReport) {
    let store = if opened.is_new { "new" } else { "existing" };
    let pending = running.store().pending().await.unwrap_or_default();
    let deliveries: u64 = pending.deliveries.iter().map(|(_, number)| number).sum();
    tracing::info!(
        config = %file.display(),
        callbacks = shown(running.public_address(), config.server.tls.is_some()),
        admin = shown(running.admin_address(), false),
        merchants = config.merchants.len(),
        endpoints = config.endpoints.len(),
        store = %config.store.path.display(),
        store_is = store,
        pending_verifications = pending.verifications,
        pending_deliveries = deliveries,
        released = opened.released,
        "vexora-relay {} ready: callbacks on {}, admin on {}, {}, {}, {store} store {} with {} verifications and {deliveries} deliveries pending",
        env!("CARGO_PKG_VERSION"),
        shown(running.public_address(), config.server.tls.is_some()),
        shown(running.admin_address(), false),
        counted(config.merchants.len(), "merchant"),
        counted(config.endpoints.len(), "endpoint"),
        config.store.path.display(),
        pending.verifications,
    );
}

/// An address as people type it.
pub(super) fn shown(listen: &Listen, tls: bool) -> String {
    match listen {
        Listen::Tcp(address) if tls => format!("https://{address}"),
        Listen::Tcp(address) => format!("http://{address}"),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Connections are files; the usual soft limit of 1,024 is fewer than the listeners take.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}
