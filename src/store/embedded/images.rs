//! Taking checkpoints of a running store: its own, and backups. One at a time.
//!
//! A checkpoint has its name only when it is complete, synced, read back, and sled is flushed as far. Then what it
//! replaces goes: the newest two checkpoints stay, and every segment that the older of the two needs, so that one
//! damaged checkpoint costs nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::checkpoint::{self, CHECKPOINTS, CheckpointError, ImageReport};
use super::engine::Engine;
use super::journal::{JOURNAL, reading};
use super::machine::{Machine, Point};

/// Checkpoints kept.
const KEPT: usize = 2;

/// A checkpoint being written.
pub(super) const TEMPORARY: &str = "checkpoint.new";

/// Takes images of one store.
#[derive(Debug)]
pub(super) struct Images {
    engine: Arc<Engine>,
    machine: Arc<dyn Machine>,
    /// An image reads the journal, and taking one removes segments.
    one_at_a_time: Mutex<()>,
    stop: AtomicBool,
}

impl Images {
    pub(super) fn new(engine: Arc<Engine>, machine: Arc<dyn Machine>) -> Self {
        Self {
            engine,
            machine,
            one_at_a_time: Mutex::new(()),
            stop: AtomicBool::new(false),
        }
    }

    /// How long the store's newest checkpoint is, in bytes; 0 where that cannot be said.
    pub(super) fn newest(&self) -> u64 {
        let found = checkpoint::list(&self.engine.path().join(CHECKPOINTS));
        let newest = found.ok().and_then(|found| found.into_iter().next());
        let length = newest.and_then(|newest| fs::metadata(newest.path).ok());
        length.map_or(0, |file| file.len())
    }

    /// Lets an image under way end soon, unfinished.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Images may be taken again.
    pub(super) fn may_go_on(&self) {
        self.stop.store(false, Ordering::Relaxed);
    }

    /// Takes the store's own checkpoint.
    pub(super) fn checkpoint(&self) -> Result<ImageReport, CheckpointError> {
        let _one = self
            .one_at_a_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        take(&self.engine, &*self.machine, &self.stop)
    }

    /// Writes an image to a path of the operator's choice, which must not be there yet.
    pub(super) fn backup(&self, to: &Path) -> Result<ImageReport, CheckpointError> {
        let _one = self
            .one_at_a_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if to.exists() {
            let kind = io::ErrorKind::AlreadyExists;
            return Err(io::Error::new(kind, "there is a file of this name").into());
        }
        let mut aside = to.as_os_str().to_owned();
        aside.push(".new");
        let aside = PathBuf::from(aside);
        remove_if_there(&aside)?;
        let journal = self.engine.path().join(JOURNAL);
        let machine = &*self.machine;
        let report = checkpoint::write(&self.engine, machine, &journal, &aside, &self.stop);
        if report.is_err() {
            let _also_fails_when_the_disk_does = fs::remove_file(&aside);
        }
        let report = report?;
        self.machine.rename(&aside, to)?;
        let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        self.machine
            .sync_directory(directory.unwrap_or(Path::new(".")))?;
        Ok(report)
    }
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes a checkpoint and removes what it replaces.
pub(super) fn take(
    engine: &Engine,
    machine: &dyn Machine,
    stop: &AtomicBool,
) -> Result<ImageReport, CheckpointError> {
    let directory = engine.path().join(CHECKPOINTS);
    let journal = engine.path().join(JOURNAL);
    let aside = directory.join(TEMPORARY);
    remove_if_there(&aside)?;
    let report = checkpoint::write(engine, machine, &journal, &aside, stop).inspect_err(|_| {
        let _also_fails_when_the_disk_does = fs::remove_file(&aside);
    })?;
    machine.reached(Point::CheckpointWritten)?;
    // Before the name: a sled that is behind a named checkpoint, in the same boot, has lost something.
    engine.sync_beside_groups(|| stop.load(Ordering::Relaxed))?;
    machine.rename(&aside, &directory.join(checkpoint::name(report.sequence)))?;
    machine.sync_directory(&directory)?;
    machine.reached(Point::CheckpointNamed)?;
    prune(&directory, &journal, machine)?;
    Ok(report)
}

fn prune(directory: &Path, journal: &Path, machine: &dyn Machine) -> Result<(), CheckpointError> {
    let found = checkpoint::list(directory)?;
    let Some(oldest) = found.iter().take(KEPT).next_back() else {
        return Ok(());
    };
    for old in found.iter().skip(KEPT) {
        machine.remove(&old.path)?;
    }
    let segments = reading::segments(journal)?;
    for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
        if next.first > oldest.sequence + 1 {
            break;
        }
        machine.remove(&segment.path)?;
    }
    Ok(())
}
