//! Opening a store: the lock, whether sled may be believed, the journal's newer groups, the leases of a process that is
//! gone.
//!
//! Promise: every acknowledged group is there, or this is an error that names the file and the offset where reading
//! ended. Nothing that might be worth looking at is deleted: a sled that is given up is moved aside, a journal that
//! does not fit is moved aside, a damaged one is left where it is.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::EmbeddedSettings;
use super::checkpoint::{self, CHECKPOINTS, CheckpointError, Named};
use super::engine::Engine;
use super::journal::reading::{self, JournalError};
use super::journal::{JOURNAL, Journal, JournalSettings, format};
use super::machine::Machine;
use super::migrating::{self, Shape};
use super::outcome::{OpenError, OpenReport, Rebuilt};
use super::rebuild::{self, NotOpened, SLED};
use super::trust::{self, Left};
use super::{images, layout, leases, lock};
use crate::domain::Timestamp;
use crate::store::StoreError;

/// An open store before its commit loop runs.
pub(super) struct Opened {
    pub(super) engine: Engine,
    pub(super) journal: Journal,
    pub(super) report: OpenReport,
}

pub(super) fn open(
    settings: &EmbeddedSettings,
    tuning: JournalSettings,
    machine: &Arc<dyn Machine>,
    now: Timestamp,
    shape: Shape,
) -> Result<Opened, OpenError> {
    let path = settings.path.as_path();
    make_directory(path).map_err(|source| unusable(path, source))?;
    let lock = lock::take(path)?;
    let migrated = migrating::migrate(path, &lock, settings.cache, &**machine, shape)?;
    let mut opening = Opening {
        path,
        cache: settings.cache,
        machine,
        now,
        schema: shape.schema,
        report: OpenReport {
            migrated,
            rebuilt: migrated.map(|_| Rebuilt::Migrated),
            ..OpenReport::default()
        },
    };
    let engine = opening.engine(lock)?;
    let (engine, journal, released) = match opening.make_ready(&engine, tuning) {
        Ok((journal, released)) => (engine, journal, released),
        Err(error) => {
            let has_checkpoint = !opening.checkpoints()?.is_empty();
            let Some(why) = rebuild::damage_in(&error).filter(|_| has_checkpoint) else {
                return Err(error);
            };
            tracing::error!(why, "sled opened, but does not take or give what it should");
            let lock = opening.give_up(engine, Rebuilt::Damaged)?;
            let engine = opening.rebuild(lock)?;
            let (journal, released) = opening.make_ready(&engine, tuning)?;
            (engine, journal, released)
        }
    };
    let mut report = opening.report;
    report.released = released;
    Ok(Opened {
        engine,
        journal,
        report,
    })
}

/// Makes the data directory and what is in it; names that are new are durable after.
fn make_directory(path: &Path) -> io::Result<()> {
    if !path.exists() {
        fs::create_dir_all(path)?;
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            File::open(parent)?.sync_all()?;
        }
    }
    for name in [JOURNAL, CHECKPOINTS] {
        let directory = path.join(name);
        if !directory.exists() {
            fs::create_dir(&directory)?;
        }
    }
    File::open(path)?.sync_all()
}

fn unusable(path: &Path, source: io::Error) -> OpenError {
    OpenError::Directory {
        path: path.to_owned(),
        source,
    }
}

struct Opening<'a> {
    path: &'a Path,
    cache: u64,
    machine: &'a Arc<dyn Machine>,
    now: Timestamp,
    schema: u32,
    report: OpenReport,
}

impl Opening<'_> {
    fn unusable(&self, source: io::Error) -> OpenError {
        unusable(self.path, source)
    }

    fn failed(&self, source: StoreError) -> OpenError {
        OpenError::Store {
            path: self.path.to_owned(),
            source,
        }
    }

    /// Brings sled to the journal's end and gives back the leases of a process that is gone. Returns how many.
    fn make_ready(
        &mut self,
        engine: &Engine,
        tuning: JournalSettings,
    ) -> Result<(Journal, usize), OpenError> {
        engine.set_layer(tuning.layer);
        let mut journal = self.replay(engine, tuning)?;
        let released = leases::release(engine, self.now);
        let (changes, released) = released.map_err(|error| self.failed(error))?;
        if !changes.is_empty() {
            let written = journal
                .append(&changes)
                .and_then(|sequence| engine.apply(changes, sequence));
            written.map_err(|error| self.failed(StoreError::Write(error.into())))?;
        }
        Ok((journal, released))
    }

    fn damaged(&self, why: impl Into<String>) -> OpenError {
        OpenError::Damaged {
            path: self.path.to_owned(),
            why: why.into(),
        }
    }

    fn journal_error(&self, source: JournalError) -> OpenError {
        OpenError::Journal {
            path: self.path.to_owned(),
            source,
        }
    }

    fn checkpoints(&self) -> Result<Vec<Named>, OpenError> {
        checkpoint::list(&self.path.join(CHECKPOINTS)).map_err(|source| self.unusable(source))
    }

    /// sled as it is if it may be believed, or made again.
    fn engine(&mut self, lock: File) -> Result<Engine, OpenError> {
        let sled = self.path.join(SLED);
        let left = trust::read(self.path).map_err(|source| self.unusable(source))?;
        let journal = self.path.join(JOURNAL);
        reading::settle(&journal).map_err(|error| self.journal_error(error))?;
        let has_journal = !reading::segments(&journal)
            .map_err(|error| self.journal_error(error))?
            .is_empty();
        let newest = self.checkpoints()?.first().map(|named| named.sequence);
        if newest.is_none() && !sled.exists() {
            if has_journal {
                return Err(self.damaged("there is a journal, but neither sled nor a checkpoint"));
            }
            self.found_store()?;
        }
        let is_older_than_journal = newest.is_none() && !has_journal && left == Left::Unsaid;
        let boot = self.machine.boot();
        let is_same_boot = matches!(&left, Left::Open(then) if then.is_some() && *then == boot);
        let is_believed = is_older_than_journal || is_same_boot || matches!(left, Left::Closed(_));
        // Without any checkpoint there is nothing to make it from: better believed than lost.
        if sled.exists() && !is_believed && newest.is_some() {
            tracing::warn!(
                "the machine went down while the store was open; sled is made again from checkpoint and journal"
            );
            self.report.rebuilt = Some(Rebuilt::PowerCut);
            rebuild::set_aside(self.path, "sled.before-power-cut", &**self.machine)
                .map_err(|source| self.unusable(source))?;
        }
        // Noted before sled is touched, so that a power cut from here on is known as one.
        trust::write(self.path, &**self.machine, &Left::Open(boot))
            .map_err(|source| self.unusable(source))?;
        let mut lock = lock;
        if sled.exists() {
            match rebuild::open_sled(self.path, self.schema, self.cache, lock) {
                Ok(engine) => match (left, newest) {
                    (Left::Closed(sequence), _) if engine.sequence() != sequence => {
                        tracing::error!(
                            noted = sequence,
                            found = engine.sequence(),
                            "sled is not where it was closed: it lost something in silence"
                        );
                        lock = self.give_up(engine, Rebuilt::Older)?;
                    }
                    (_, Some(newest)) if engine.sequence() < newest => {
                        tracing::error!(
                            checkpoint = newest,
                            found = engine.sequence(),
                            "sled is behind the newest checkpoint: it lost something in silence"
                        );
                        lock = self.give_up(engine, Rebuilt::Older)?;
                    }
                    _ => return Ok(engine),
                },
                Err((NotOpened::Newer(found), _)) => {
                    return Err(OpenError::Newer {
                        path: self.path.to_owned(),
                        found,
                        known: self.schema,
                    });
                }
                Err((NotOpened::Io(source), _)) => return Err(self.unusable(source)),
                Err((NotOpened::Layout, _)) if newest.is_none() => {
                    return Err(self.damaged(layout::FLAT));
                }
                Err((NotOpened::Layout, returned)) => {
                    self.report.rebuilt = Some(Rebuilt::Layout);
                    layout::set_aside(self.path, &**self.machine)
                        .map_err(|source| self.unusable(source))?;
                    lock = returned;
                }
                Err((NotOpened::Damage(why), returned)) => {
                    if newest.is_none() {
                        return Err(self.damaged(why));
                    }
                    tracing::error!(why, "sled is damaged");
                    self.set_damaged_aside(Rebuilt::Damaged)?;
                    lock = returned;
                }
            }
        } else if !self.report.is_new && self.report.rebuilt.is_none() {
            tracing::error!("sled is gone");
            self.report.rebuilt = Some(Rebuilt::Missing);
        }
        self.rebuild(lock)
    }

    fn give_up(&mut self, engine: Engine, why: Rebuilt) -> Result<File, OpenError> {
        let lock = engine.into_lock().map_err(|source| self.unusable(source))?;
        self.set_damaged_aside(why)?;
        Ok(lock)
    }

    fn set_damaged_aside(&mut self, why: Rebuilt) -> Result<(), OpenError> {
        self.report.rebuilt = Some(why);
        let name = rebuild::free_name(self.path, "sled.damaged", self.now);
        tracing::error!(
            kept = name,
            "sled is moved aside and made again from checkpoint and journal"
        );
        rebuild::set_aside(self.path, &name, &**self.machine)
            .map_err(|source| self.unusable(source))
    }

    /// A new store begins with the checkpoint of nothing; sled is made from that, as ever.
    fn found_store(&mut self) -> Result<(), OpenError> {
        let directory = self.path.join(CHECKPOINTS);
        let aside = directory.join(images::TEMPORARY);
        let _not_there = fs::remove_file(&aside);
        checkpoint::write_empty(&**self.machine, &aside, self.schema)
            .and_then(|_| {
                self.machine
                    .rename(&aside, &directory.join(checkpoint::name(0)))
            })
            .and_then(|()| self.machine.sync_directory(&directory))
            .map_err(|source| self.unusable(source))?;
        self.report.is_new = true;
        Ok(())
    }

    fn rebuild(&self, lock: File) -> Result<Engine, OpenError> {
        let mut failure = None;
        for named in self.checkpoints()? {
            match rebuild::from_checkpoint(
                self.path,
                &named.path,
                self.schema,
                self.cache,
                &**self.machine,
            ) {
                Ok(made) => {
                    if self.report.rebuilt.is_some() {
                        tracing::warn!(
                            checkpoint = made.checkpoint,
                            up_to = made.sequence,
                            "sled was made again; nothing acknowledged is missing"
                        );
                    }
                    layout::forget(self.path);
                    let opened = rebuild::open_sled(self.path, self.schema, self.cache, lock);
                    return opened.map_err(|(why, _)| match why.unexpected() {
                        Ok(source) => self.unusable(source),
                        Err(why) => self.damaged(why),
                    });
                }
                Err(rebuild::RebuildError::Checkpoint(error)) => {
                    tracing::error!(%error, "a checkpoint cannot be read; trying the one before it");
                    failure = Some(self.journal_error(error));
                }
                Err(rebuild::RebuildError::Journal(error)) => {
                    return Err(failure.unwrap_or_else(|| self.journal_error(error)));
                }
                Err(rebuild::RebuildError::Write(source)) => return Err(self.unusable(source)),
            }
        }
        Err(failure.unwrap_or_else(|| self.damaged("there is no checkpoint to make sled from")))
    }

    /// Applies what is newer than sled; the journal after that.
    fn replay(&mut self, engine: &Engine, tuning: JournalSettings) -> Result<Journal, OpenError> {
        let directory = self.path.join(JOURNAL);
        let newest = self.checkpoints()?.first().map(|named| named.sequence);
        let known = engine.sequence();
        // From the newest checkpoint on everything is read, though sled may have it: what it stands for in the next
        // rebuild is checked while it can still be mended.
        let from = newest.unwrap_or(known).min(known);
        let mut failed = None;
        let mut replayed = 0;
        let end = reading::read(&directory, from, None, &mut |sequence, payload| {
            if sequence > known && failed.is_none() {
                replayed += 1;
                let applied = format::changes(payload)
                    .map_err(io::Error::other)
                    .and_then(|changes| engine.apply(rebuild::by_tree(changes), sequence));
                failed = applied.err();
            }
            Ok(())
        })
        .map_err(|error| self.journal_error(error))?;
        if let Some(error) = failed {
            return Err(self.failed(StoreError::Write(error.into())));
        }
        self.report.replayed = replayed;
        if let Some((file, offset)) = &end.torn {
            self.report.torn = true;
            tracing::warn!(file = %file.display(), offset, "the journal ends in a group that was being written; it was not acknowledged and does not count");
        }
        let mut takes_checkpoint = newest.is_none();
        if end.last < known {
            let name = rebuild::free_name(self.path, "journal.damaged", self.now);
            tracing::error!(
                sled = known,
                journal = end.last,
                kept = name,
                "the journal lacks groups that sled has; it is moved aside, and a checkpoint is taken"
            );
            rebuild::move_directory(self.path, JOURNAL, &name, &**self.machine)
                .and_then(|()| make_directory(self.path))
                .map_err(|source| self.unusable(source))?;
            self.report.journal_replaced = true;
            takes_checkpoint = true;
        }
        if takes_checkpoint {
            let never = AtomicBool::new(false);
            images::take(engine, &**self.machine, &never).map_err(|error| match error {
                CheckpointError::Read(error) => self.journal_error(error),
                CheckpointError::Store(source) => self.failed(source),
                CheckpointError::Write(source) => self.unusable(source),
                CheckpointError::Stopped | CheckpointError::Record { .. } => {
                    self.damaged(error.to_string())
                }
            })?;
        }
        Journal::after(
            engine.sequence(),
            self.schema,
            Arc::clone(self.machine),
            self.path,
            tuning,
        )
        .map_err(|error| self.journal_error(error))
    }
}
