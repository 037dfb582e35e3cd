//! Migrating a store that an older version wrote to the schema of this one.
//!
//! Promise: at every moment the store is the old one, whole, or the new one, whole. First the old store is written to
//! a backup beside it, under its own schema. Then every record, turned, is written to a checkpoint under the new
//! schema with the sequence after the old store's last. That checkpoint's name is the change: before it has it, nothing
//! of the old store was touched; from then on the rest of the old store only awaits removal, its checkpoints last, so
//! that a process that ends meanwhile is followed by one that goes on with removing. sled is then made from the
//! checkpoint as ever.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::checkpoint::{self, CHECKPOINTS, CheckpointError, Named};
use super::engine::Engine;
use super::images;
use super::journal::JOURNAL;
use super::journal::format;
use super::journal::reading;
use super::keys::Tree;
use super::machine::{Machine, Point};
use super::outcome::OpenError;
use super::rebuild::{self, NotOpened, RebuildError, SCHEMA_KEY, SLED};
use super::version;
use crate::store::StoreError;

/// The shape of everything in the store.
pub(super) const SCHEMA: u32 = 1;

/// This version's. A new schema gets a step from the one before it, for as long as that one is to be migrated.
pub(super) const OURS: Shape = Shape {
    schema: SCHEMA,
    steps: &[],
};

/// A record: where it is, and what it is.
pub(super) type Record = (Tree, Vec<u8>, Vec<u8>);

/// What becomes of a record, or why it cannot be: itself, another one, several, or none.
pub(super) type Turn = fn(Record) -> Result<Vec<Record>, String>;

/// The way from one schema to the next. The turned records are all that there is afterwards; of two with the same key
/// the one whose origin comes later, by tree and key, stays.
pub(super) struct Step {
    pub(super) from: u32,
    pub(super) turn: Turn,
}

/// A schema, and the steps that lead to it.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) schema: u32,
    pub(super) steps: &'static [Step],
}

impl Shape {
    /// All steps from a schema to this one, if there is none missing.
    pub(super) fn way(&self, from: u32) -> Option<Vec<Turn>> {
        let step = |schema| self.steps.iter().find(|step| step.from == schema);
        (from..self.schema)
            .map(|schema| step(schema).map(|step| step.turn))
            .collect()
    }
}

/// sled of the old store, made again to be read.
const ASIDE: &str = "sled.migrating";

/// Whether the next opening migrates a store, and from which schema.
///
/// # Errors
/// A newer version wrote it, or there is no way from its schema.
pub(super) fn needed(path: &Path, shape: Shape) -> Result<Option<u32>, OpenError> {
    let written = version::look(path, shape.schema)?;
    let Some(found) = written.oldest.filter(|oldest| *oldest < shape.schema) else {
        return Ok(None);
    };
    // What is older than the newest checkpoint is left over from a migration.
    let current = written.current.unwrap_or(found);
    match shape.way(current) {
        Some(_) => Ok(Some(found)),
        None => Err(OpenError::Older {
            path: path.to_owned(),
            found: current,
            known: shape.schema,
        }),
    }
}

/// Migrates a store if it is older, or goes on with that; says from which schema.
///
/// # Errors
/// A newer version wrote it, there is no way from its schema, or it could not be done: then the store is what it was,
/// or what it was to become.
pub(super) fn migrate(
    path: &Path,
    lock: &File,
    cache: u64,
    machine: &dyn Machine,
    shape: Shape,
) -> Result<Option<u32>, OpenError> {
    let Some(found) = needed(path, shape)? else {
        return Ok(None);
    };
    let migration = Migration {
        path,
        lock,
        cache,
        machine,
        to: shape.schema,
    };
    let current = migration.clear()?;
    if let Some(way) = shape.way(current).filter(|way| !way.is_empty()) {
        tracing::warn!(
            from = current,
            to = shape.schema,
            "an older version wrote the store: it is migrated; this takes a while"
        );
        let made = migration.make(current, &way);
        let _or_the_next_one_does = fs::remove_dir_all(path.join(ASIDE));
        made?;
        migration.clear()?;
    }
    tracing::warn!(from = found, to = shape.schema, "the store is migrated");
    Ok(Some(found))
}

struct Migration<'a> {
    path: &'a Path,
    lock: &'a File,
    cache: u64,
    machine: &'a dyn Machine,
    to: u32,
}

impl Migration<'_> {
    fn unusable(&self, source: io::Error) -> OpenError {
        OpenError::Directory {
            path: self.path.to_owned(),
            source,
        }
    }

    fn damaged(&self, why: impl Into<String>) -> OpenError {
        OpenError::Damaged {
            path: self.path.to_owned(),
            why: why.into(),
        }
    }

    fn journal_error(&self, source: reading::JournalError) -> OpenError {
        OpenError::Journal {
            path: self.path.to_owned(),
            source,
        }
    }

    fn image_error(&self, error: CheckpointError) -> OpenError {
        match error {
            CheckpointError::Read(source) => self.journal_error(source),
            CheckpointError::Store(source) => self.store_error(source),
            CheckpointError::Write(source) => self.unusable(source),
            CheckpointError::Stopped | CheckpointError::Record { .. } => {
                self.damaged(error.to_string())
            }
        }
    }

    fn store_error(&self, source: StoreError) -> OpenError {
        OpenError::Store {
            path: self.path.to_owned(),
            source,
        }
    }

    fn checkpoints(&self) -> Result<Vec<Named>, OpenError> {
        checkpoint::list(&self.path.join(CHECKPOINTS)).map_err(|source| self.unusable(source))
    }

    /// Removes what is left of a store that was migrated to the schema of its newest checkpoint; returns that schema.
    fn clear(&self) -> Result<u32, OpenError> {
        let checkpoints = self.checkpoints()?;
        let newest = checkpoints.first();
        let current = newest.and_then(|newest| version::of_checkpoint(&newest.path));
        let (Some(newest), Some(current)) = (newest, current) else {
            return Err(self.damaged("it is older, and its newest checkpoint cannot be read"));
        };
        let is_older = |named: &&Named| {
            version::of_checkpoint(&named.path).is_some_and(|schema| schema < current)
        };
        let left: Vec<&Named> = checkpoints.iter().filter(is_older).collect();
        if left.is_empty() {
            return Ok(current);
        }
        // It was read back when it was written; now it is all that stays.
        checkpoint::read(&newest.path, self.to, &mut |_| Ok(()))
            .map_err(|error| self.journal_error(error))?;
        self.remove(&left).map_err(|source| self.unusable(source))?;
        Ok(current)
    }

    fn remove(&self, left: &[&Named]) -> io::Result<()> {
        let directory = self.path.join(CHECKPOINTS);
        self.machine.sync_directory(&directory)?;
        let name = "sled.before-migration";
        if self.path.join(SLED).exists() {
            rebuild::set_aside(self.path, name, self.machine)?;
        }
        if self.path.join(name).exists() {
            fs::remove_dir_all(self.path.join(name))?;
        }
        let journal = self.path.join(JOURNAL);
        // Nothing is appended before all of this is done: every segment is the old store's.
        for segment in reading::segments(&journal).map_err(io::Error::other)? {
            self.machine.remove(&segment.path)?;
        }
        self.machine.sync_directory(&journal)?;
        self.machine.sync_directory(self.path)?;
        self.machine.reached(Point::MigrationClearing)?;
        for named in left {
            self.machine.remove(&named.path)?;
        }
        self.machine.sync_directory(&directory)
    }

    /// Makes the new store's checkpoint, after a backup of the old store.
    fn make(&self, from: u32, way: &[Turn]) -> Result<(), OpenError> {
        let engine = self.old(from)?;
        let (old, new) = (engine.sequence(), engine.sequence() + 1);
        let kept = self.back_up(&engine, from, old)?;
        tracing::warn!(backup = %kept.display(), "the store as it was before the migration is backed up");
        let reached = self.machine.reached(Point::MigrationBackedUp);
        reached.map_err(|source| self.unusable(source))?;
        let directory = self.path.join(CHECKPOINTS);
        let aside = directory.join(images::TEMPORARY);
        images::remove_if_there(&aside).map_err(|source| self.unusable(source))?;
        let mut turn = |tree: Tree, key: &[u8], value: &[u8], payload: &mut Vec<u8>| {
            // It is said by whoever makes sled, from the checkpoint's header.
            if tree == Tree::Meta && key == SCHEMA_KEY {
                return Ok(0);
            }
            let mut records = vec![(tree, key.to_vec(), value.to_vec())];
            for turn in way {
                let turned = records.into_iter().map(turn).collect::<Result<Vec<_>, _>>();
                let turned = turned.map_err(|why| CheckpointError::Record {
                    tree: tree.name(),
                    why,
                })?;
                records = turned.into_iter().flatten().collect();
            }
            for (tree, key, value) in &records {
                format::change(payload, *tree, key, Some(value));
            }
            Ok(records.len())
        };
        let (machine, to) = (self.machine, (self.to, new));
        checkpoint::write_turned(&engine, machine, &aside, to, &mut turn)
            .map_err(|error| self.image_error(error))?;
        machine
            .reached(Point::MigrationWritten)
            .and_then(|()| machine.rename(&aside, &directory.join(checkpoint::name(new))))
            .and_then(|()| machine.sync_directory(&directory))
            .and_then(|()| machine.reached(Point::MigrationNamed))
            .map_err(|source| self.unusable(source))
    }

    /// The old store, from its checkpoint and its journal: these are the truth, unless sled has more.
    fn old(&self, from: u32) -> Result<Engine, OpenError> {
        reading::settle(&self.path.join(JOURNAL)).map_err(|error| self.journal_error(error))?;
        let known = self.known(from)?;
        let mut failure = None;
        for named in self.checkpoints()? {
            match rebuild::build(self.path, ASIDE, &named.path, from, self.cache) {
                Ok(made) if known.is_some_and(|known| known > made.sequence) => {
                    return Err(self.damaged(
                        "its journal lacks groups that sled has: open it once with the version that wrote it, which mends that, before migrating it",
                    ));
                }
                Ok(_) => {
                    let lock = self.lock.try_clone();
                    let lock = lock.map_err(|source| self.unusable(source))?;
                    let opened = rebuild::open_checked(self.path, ASIDE, from, self.cache, lock);
                    return opened.map_err(|why| match why.unexpected() {
                        Ok(source) => self.unusable(source),
                        Err(why) => self.damaged(why),
                    });
                }
                Err(RebuildError::Checkpoint(error)) => {
                    tracing::error!(%error, "a checkpoint cannot be read; trying the one before it");
                    failure = failure.or_else(|| Some(self.journal_error(error)));
                }
                Err(RebuildError::Journal(error)) => return Err(self.journal_error(error)),
                Err(RebuildError::Write(source)) => return Err(self.unusable(source)),
            }
        }
        Err(failure.unwrap_or_else(|| self.damaged("there is no checkpoint to migrate from")))
    }

    /// Up to where the old store's sled goes, if that can be told.
    fn known(&self, schema: u32) -> Result<Option<u64>, OpenError> {
        if !self.path.join(SLED).exists() {
            return Ok(None);
        }
        let lock = self.lock.try_clone();
        let lock = lock.map_err(|source| self.unusable(source))?;
        match rebuild::open_checked(self.path, SLED, schema, self.cache, lock) {
            Ok(engine) => Ok(Some(engine.sequence())),
            Err(NotOpened::Io(source)) => Err(self.unusable(source)),
            Err(NotOpened::Damage(why)) => {
                tracing::warn!(
                    why,
                    "sled is damaged; checkpoint and journal have everything"
                );
                Ok(None)
            }
            Err(NotOpened::Newer(_) | NotOpened::Layout) => Ok(None),
        }
    }

    /// Writes the old store to a file of its own, under its own schema. A file that an attempt before this one left is
    /// good if it holds the same; no other is touched.
    fn back_up(&self, engine: &Engine, schema: u32, sequence: u64) -> Result<PathBuf, OpenError> {
        let stem = format!("before-schema-{}", self.to);
        let aside = self.path.join(format!("{stem}.backup.new"));
        images::remove_if_there(&aside).map_err(|source| self.unusable(source))?;
        let mut same = |tree: Tree, key: &[u8], value: &[u8], payload: &mut Vec<u8>| {
            format::change(payload, tree, key, Some(value));
            Ok(1)
        };
        let written =
            checkpoint::write_turned(engine, self.machine, &aside, (schema, sequence), &mut same);
        if written.is_err() {
            let _also_fails_when_the_disk_does = fs::remove_file(&aside);
        }
        written.map_err(|error| self.image_error(error))?;
        let held = digest(&aside, schema).map_err(|error| self.journal_error(error))?;
        let names = std::iter::once(format!("{stem}.backup"))
            .chain((2_u32..).map(|number| format!("{stem}-{number}.backup")));
        for name in names {
            let named = self.path.join(name);
            let kept = if !named.exists() {
                self.machine.rename(&aside, &named)
            } else if digest(&named, schema).is_ok_and(|found| found == held) {
                self.machine.remove(&aside)
            } else {
                continue;
            };
            kept.and_then(|()| self.machine.sync_directory(self.path))
                .map_err(|source| self.unusable(source))?;
            return Ok(named);
        }
        Err(self.damaged("there is no name left for a backup"))
    }
}

/// What an image holds, whatever its salt.
fn digest(image: &Path, known: u32) -> Result<(u32, u64, Vec<u8>), reading::JournalError> {
    let mut digest = Sha256::new();
    let report = checkpoint::read(image, known, &mut |changes| {
        let mut bytes = Vec::new();
        for (tree, key, value) in &changes {
            format::change(&mut bytes, *tree, key, value.as_deref());
        }
        digest.update(&bytes);
        Ok(())
    })?;
    Ok((report.schema, report.sequence, digest.finalize().to_vec()))
}

#[cfg(test)]
mod tests;
