//! What an operator does with a whole store: restore it from a backup, look for damage in it, give disk space back.
//!
//! All of these want the directory for themselves and say so if a process has it. None deletes anything that is not
//! proven to be elsewhere.

mod verify;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use verify::{Finding, VerifyReport, verify_store};

use super::checkpoint::{self, CHECKPOINTS, CheckpointError, ImageReport};
use super::journal::JournalSettings;
use super::machine::{Machine, ThisMachine};
use super::migrating::{OURS, SCHEMA};
use super::opening;
use super::outcome::OpenError;
use super::rebuild::SLED;
use super::trust::{self, Left};
use super::{EmbeddedSettings, images, rebuild};
use crate::domain::Timestamp;

/// Why an operator's wish was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// The store does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A directory that must be empty is not.
    #[error("{} is not empty; a store is restored into an empty directory only", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The backup cannot be read to its end.
    #[error("the backup cannot be used")]
    Backup(#[source] super::JournalError),
    /// Reading or writing failed.
    #[error("{what} failed")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

fn io_in(what: &'static str) -> impl Fn(io::Error) -> MaintenanceError {
    move |source| MaintenanceError::Io { what, source }
}

/// Reads a backup to its end.
///
/// # Errors
/// It is damaged or cannot be read.
pub fn check_backup(backup: &Path) -> Result<ImageReport, MaintenanceError> {
    checkpoint::read(backup, SCHEMA, &mut |_| Ok(())).map_err(MaintenanceError::Backup)
}

/// Makes a store in an empty (or new) directory from a backup. The backup is read to its end before anything is made.
///
/// # Errors
/// The directory is not empty, the backup is damaged, or the disk failed; what was made is then not a store yet.
pub fn restore(
    backup: &Path,
    directory: &Path,
    now: Timestamp,
) -> Result<ImageReport, MaintenanceError> {
    let report = check_backup(backup)?;
    if OURS.way(report.schema).is_none() {
        return Err(MaintenanceError::Open(OpenError::Older {
            path: backup.to_owned(),
            found: report.schema,
            known: SCHEMA,
        }));
    }
    let failed = io_in("restoring");
    fs::create_dir_all(directory).map_err(&failed)?;
    if fs::read_dir(directory).map_err(&failed)?.next().is_some() {
        return Err(MaintenanceError::NotEmpty {
            path: directory.to_owned(),
        });
    }
    let checkpoints = directory.join(CHECKPOINTS);
    let aside = checkpoints.join(images::TEMPORARY);
    let machine = ThisMachine;
    fs::create_dir(&checkpoints)
        .and_then(|()| fs::copy(backup, &aside))
        .and_then(|_| fs::File::open(&aside)?.sync_all())
        .and_then(|()| machine.rename(&aside, &checkpoints.join(checkpoint::name(report.sequence))))
        .and_then(|()| machine.sync_directory(&checkpoints))
        .and_then(|()| machine.sync_directory(directory))
        .map_err(&failed)?;
    // The first opening makes sled from the checkpoint and checks it; after that the store is closed and whole.
    let settings = EmbeddedSettings::at(directory.to_owned(), 0);
    close(open(&settings, now)?)?;
    Ok(report)
}

fn open(settings: &EmbeddedSettings, now: Timestamp) -> Result<opening::Opened, OpenError> {
    let machine: Arc<dyn Machine> = Arc::new(ThisMachine);
    opening::open(settings, JournalSettings::default(), &machine, now, OURS)
}

fn close(opened: opening::Opened) -> Result<(), MaintenanceError> {
    let engine = &opened.engine;
    let closed = Left::Closed(engine.sequence());
    engine
        .sync()
        .and_then(|()| trust::write(engine.path(), &ThisMachine, &closed))
        .map_err(io_in("closing"))
}

/// What compacting gave back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactReport {
    /// Bytes of sled before.
    pub before: u64,
    /// Bytes of sled after.
    pub after: u64,
}

/// Makes sled again from a fresh checkpoint, which gives back the room of what was deleted.
///
/// # Errors
/// The store does not open or the disk failed; the old sled is then still in its place, or is made again at the next
/// opening.
pub fn compact(
    settings: &EmbeddedSettings,
    now: Timestamp,
) -> Result<CompactReport, MaintenanceError> {
    let path = settings.path.as_path();
    let failed = io_in("compacting");
    let opened = open(settings, now)?;
    let never = AtomicBool::new(false);
    let image = images::take(&opened.engine, &ThisMachine, &never).map_err(|error| {
        MaintenanceError::Io {
            what: "taking a checkpoint",
            source: match error {
                CheckpointError::Write(source) => source,
                other => io::Error::other(other),
            },
        }
    })?;
    let before = size(&path.join(SLED)).map_err(&failed)?;
    let lock = opened.engine.into_lock().map_err(&failed)?;
    let named = path
        .join(CHECKPOINTS)
        .join(checkpoint::name(image.sequence));
    let made = rebuild::build(path, rebuild::ASIDE, &named, SCHEMA, settings.cache);
    made.map_err(|error| match error {
        rebuild::RebuildError::Write(source) => failed(source),
        rebuild::RebuildError::Checkpoint(error) | rebuild::RebuildError::Journal(error) => {
            failed(io::Error::other(error))
        }
    })?;
    // The new one holds all that the old one does: it was made from the old one's image, and that was read back.
    let old = "sled.before-compact";
    let machine = ThisMachine;
    rebuild::set_aside(path, old, &machine)
        .and_then(|()| rebuild::move_directory(path, rebuild::ASIDE, SLED, &machine))
        .map_err(&failed)?;
    drop(lock);
    close(open(settings, now)?)?;
    fs::remove_dir_all(path.join(old)).map_err(&failed)?;
    let after = size(&path.join(SLED)).map_err(&failed)?;
    Ok(CompactReport { before, after })
}

fn size(directory: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let about = entry.metadata()?;
        sum += if about.is_dir() {
            size(&entry.path())?
        } else {
            about.len()
        };
    }
    Ok(sum)
}
