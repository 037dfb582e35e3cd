//! The whole store as a file and back: `backup` and `export` through the running service; `restore`, `verify-store` and
//! `compact` without it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::client::Service;
use super::output::Output;
use super::{Failure, block_on, load};
use crate::clock::{Clock, SystemClock};
use crate::config::settings::Config;
use crate::store::embedded::{self, EmbeddedSettings, MaintenanceError};

fn settings(config: &Config) -> EmbeddedSettings {
    EmbeddedSettings::at(config.store.path.clone(), config.store.min_free)
}

fn failed(error: MaintenanceError) -> Failure {
    Failure::Failed(anyhow::Error::from(error))
}

/// `backup FILE`: written aside, read back, then renamed; an existing file is not replaced.
pub(super) fn backup(file: Option<PathBuf>, to: &Path, output: &Output) -> Result<(), Failure> {
    let (_, config) = load(file)?;
    if to.exists() {
        return Err(Failure::Usage(format!(
            "{}: there is a file of this name",
            to.display()
        )));
    }
    let mut aside = to.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let fetched = fetch(&config, &aside);
    let checked = fetched.and_then(|()| embedded::check_backup(&aside).map_err(failed));
    let report = match checked {
        Ok(report) => report,
        Err(failure) => {
            let _nothing_was_made = fs::remove_file(&aside);
            return Err(failure);
        }
    };
    fs::rename(&aside, to)?;
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    let value = json!({ "file": to.display().to_string(), "bytes": report.bytes, "sequence": report.sequence });
    let text = format!("{}: {} bytes, read back whole", to.display(), report.bytes);
    output.value(&value, &text);
    Ok(())
}

fn fetch(config: &Config, to: &Path) -> Result<(), Failure> {
    let mut file = File::options().write(true).create_new(true).open(to)?;
    block_on(async { Service::of(config)?.download(&["backup"], &mut file).await })??;
    file.sync_all()?;
    Ok(())
}

/// `export`: to stdout.
pub(super) fn export(file: Option<PathBuf>, output: &Output) -> Result<(), Failure> {
    let (_, config) = load(file)?;
    let mut lines = Lines(output);
    block_on(async {
        Service::of(&config)?
            .download(&["export"], &mut lines)
            .await
    })??;
    Ok(())
}

struct Lines<'a>(&'a Output);

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `restore FILE`: into the configured data directory, which must be empty or not there.
pub(super) fn restore(file: Option<PathBuf>, from: &Path, output: &Output) -> Result<(), Failure> {
    let (_, config) = load(file)?;
    let path = &config.store.path;
    let report = embedded::restore(from, path, SystemClock.now()).map_err(failed)?;
    let value = json!({ "directory": path.display().to_string(), "changes": report.changes, "sequence": report.sequence });
    let text = format!(
        "{}: restored from {}; start the service",
        path.display(),
        from.display()
    );
    output.value(&value, &text);
    Ok(())
}

/// `verify-store`: exit 1 if anything is wrong, each thing on a line.
pub(super) fn verify_store(file: Option<PathBuf>, output: &Output) -> Result<(), Failure> {
    let (_, config) = load(file)?;
    let report = embedded::verify_store(&settings(&config)).map_err(failed)?;
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| json!({ "place": finding.place, "what": finding.what }))
        .collect();
    let value = json!({
        "directory": config.store.path.display().to_string(),
        "entries": report.entries,
        "checkpoints": report.checkpoints,
        "sequence": report.sequence,
        "findings": findings,
    });
    let mut text = format!(
        "{}: {} entries and {} checkpoints read, {} findings",
        config.store.path.display(),
        report.entries,
        report.checkpoints,
        report.findings.len()
    );
    for finding in &report.findings {
        text.push_str(&format!("\n  {}: {}", finding.place, finding.what));
    }
    output.value(&value, &text);
    if report.findings.is_empty() {
        Ok(())
    } else {
        Err(Failure::Said)
    }
}

/// `compact`: gives back the room of what was deleted.
pub(super) fn compact(file: Option<PathBuf>, output: &Output) -> Result<(), Failure> {
    let (_, config) = load(file)?;
    let report = embedded::compact(&settings(&config), SystemClock.now()).map_err(failed)?;
    let value = json!({ "before": report.before, "after": report.after });
    let text = format!(
        "{}: {} before, {} after",
        config.store.path.display(),
        bytesize::ByteSize(report.before),
        bytesize::ByteSize(report.after)
    );
    output.value(&value, &text);
    Ok(())
}
