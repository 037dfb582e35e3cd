//! `serve`: the relay as a service.

use std::path::PathBuf;
use std::sync::Arc;

use listenfd::ListenFd;
use tokio::signal::unix::{SignalKind, signal};

use super::output::{Output, counted};
use super::{Failure, load, logging, service_runtime};
use crate::app::{App, Deps, Running, Sockets, Workers};
use crate::clock::{OsEntropy, SystemClock};
use crate::config::settings::{Config, Listen};
use crate::http::Opened;
use crate::store::embedded::OpenReport;

pub(super) fn run(file: Option<PathBuf>, _output: &Output) -> Result<(), Failure> {
    let (file, config) = load(file)?;
    logging::start(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    service_runtime().block_on(serve(&file, &config))
}

async fn serve(file: &std::path::Path, config: &Config) -> Result<(), Failure> {
    // Asked for before anything is started, so that a stop during the start is a stop.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let deps = Deps {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
    };
    let app = App::build(config, deps, sockets()?).await?;
    let opened = app.opened();
    let running = app.start(Workers::Running)?;
    announce(file, config, &running, opened).await;
    let signal = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = running.failed() => "a listener's end",
    };
    tracing::info!(signal, "stopping: no new callbacks, attempts under way end");
    let failed = running.listener_failed();
    running.stop().await?;
    tracing::info!("stopped");
    if failed { Err(Failure::Said) } else { Ok(()) }
}

/// One line that a person can act on.
async fn announce(file: &std::path::Path, config: &Config, running: &Running, opened: OpenReport) {
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

/// What systemd opened for us: the first socket is for callbacks, the second for operators.
fn sockets() -> Result<Sockets, Failure> {
    let mut passed = ListenFd::from_env();
    let mut take = |index: usize| -> Result<Option<Opened>, Failure> {
        if index >= passed.len() {
            return Ok(None);
        }
        if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
            return Ok(Some(Opened::Tcp(socket)));
        }
        let socket = passed.take_unix_listener(index)?;
        Ok(socket.map(Opened::Unix))
    };
    Ok(Sockets {
        public: take(0)?,
        admin: take(1)?,
    })
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
