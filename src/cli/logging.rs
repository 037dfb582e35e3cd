//! Log lines: to stderr, text for terminals and JSON for collectors.

mod json;
mod lines;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use self::json::Flat;
use self::lines::{Gathering, Lines, Stderr};
use super::Failure;
use crate::config::settings::{LogFormat, LogSettings};

type Exchange = Box<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error>>;

/// The log, whose level can be changed. What was gathered is written when this is dropped: it is to outlive what logs.
pub(super) struct Logging {
    exchange: Exchange,
    _gathering: Option<Gathering>,
}

impl Logging {
    /// Logs at another level from now on.
    pub(super) fn reload(&self, settings: &LogSettings) -> Result<(), Failure> {
        (self.exchange)(filter(settings)?)?;
        Ok(())
    }
}

/// A plain level speaks of the relay; libraries are then heard from `warn` up.
fn filter(settings: &LogSettings) -> Result<EnvFilter, Failure> {
    let level = &settings.level;
    let plain = level.chars().all(|c| c.is_ascii_alphabetic());
    let filter = if plain {
        format!("warn,vexora_relay={level}")
    } else {
        level.clone()
    };
    Ok(EnvFilter::try_new(filter)?)
}

/// Starts logging.
pub(super) fn start(settings: &LogSettings) -> Result<Logging, Failure> {
    let is_terminal = std::io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !is_terminal,
    };
    let lines = Lines::immediate(Stderr);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(settings)?)
        .with_writer(lines.clone());
    let exchange: Exchange;
    let started = if json {
        let builder = builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .map_event_format(Flat)
            .with_filter_reloading();
        let handle = builder.reload_handle();
        exchange = Box::new(move |filter| handle.reload(filter));
        builder.try_init()
    } else {
        let colour = is_terminal && std::env::var_os("NO_COLOR").is_none();
        let builder = builder
            .with_ansi(colour)
            .with_target(false)
            .with_filter_reloading();
        let handle = builder.reload_handle();
        exchange = Box::new(move |filter| handle.reload(filter));
        builder.try_init()
    };
    started.map_err(|error| {
        Failure::Failed(anyhow::anyhow!("logging could not be started: {error}"))
    })?;
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        // Never the message: it may quote what was being handled.
        tracing::error!(at, "a part of the relay panicked; please report this");
    }));
    // Somebody looks at a terminal, and nobody measures it.
    let gathering = (!is_terminal).then(|| lines.gather()).transpose();
    let gathering = gathering.unwrap_or_else(|error| {
        tracing::warn!(%error, "no thread for the log; each line is written by itself");
        None
    });
    Ok(Logging {
        exchange,
        _gathering: gathering,
    })
}
