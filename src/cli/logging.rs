//! Log lines: to stderr, text for terminals and JSON for collectors.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::Failure;
use crate::config::settings::{LogFormat, LogSettings};

/// Starts logging. A plain level speaks of the relay; libraries are then heard from `warn` up.
pub(super) fn start(settings: &LogSettings) -> Result<(), Failure> {
    let level = &settings.level;
    let plain = level.chars().all(|c| c.is_ascii_alphabetic());
    let filter = if plain {
        format!("warn,vexora_relay={level}")
    } else {
        level.clone()
    };
    let filter = EnvFilter::try_new(filter)?;
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if json {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init()
    } else {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        builder.with_ansi(colour).with_target(false).try_init()
    };
    started.map_err(|error| {
        Failure::Failed(anyhow::anyhow!("logging could not be started: {error}"))
    })?;
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        // Never the message: it may quote what was being handled.
        tracing::error!(at, "a part of the relay panicked; please report this");
    }));
    Ok(())
}
