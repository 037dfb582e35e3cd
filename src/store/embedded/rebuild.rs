//! Making sled from a checkpoint and the journal, and opening it with every guard.
//!
//! Guards, each against something measured (`docs/durability.md`): sled is made aside, synced file by file, and renamed
//! into place, since a cut during its first opening can leave a directory that never opens; `snap.*.generating`, left by
//! a kill during an opening, is removed; damage panics inside sled and is caught here.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use super::blocks::Blocks;
use super::checkpoint::{self, CHECKPOINTS};
use super::engine::{Change, Changes, Engine, SEQUENCE, as_io};
use super::journal::JOURNAL;
use super::journal::format;
use super::journal::reading::{self, JournalError};
use super::keys::Tree;
use super::layout;
use super::machine::{Machine, Point};
use super::outcome::OpenError;
use crate::domain::Timestamp;
use crate::store::StoreError;

/// sled's directory inside the data directory.
pub(super) const SLED: &str = "sled";

/// sled while it is being made.
pub(super) const ASIDE: &str = "sled.new";

pub(super) const SCHEMA_KEY: &[u8] = b"schema";

/// Why sled did not open.
pub(super) enum NotOpened {
    Io(io::Error),
    Damage(String),
    Newer(u32),
    /// Its entries do not lie in blocks: an older version made it.
    Layout,
}

impl NotOpened {
    /// Of one that was made just now: what the system said, or else what is wrong with it.
    pub(super) fn unexpected(self) -> Result<io::Error, String> {
        match self {
            Self::Io(source) => Ok(source),
            Self::Damage(why) => Err(why),
            Self::Newer(found) => Err(format!("schema {found}")),
            Self::Layout => Err(layout::FLAT.to_owned()),
        }
    }
}

/// Why sled could not be made.
#[derive(Debug)]
pub(super) enum RebuildError {
    Checkpoint(JournalError),
    Journal(JournalError),
    Write(io::Error),
}

impl From<io::Error> for RebuildError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// From where to where it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub(super) checkpoint: u64,
    pub(super) sequence: u64,
}

/// Changes sorted by tree, in their order.
pub(super) fn by_tree(changes: Vec<Change>) -> Changes {
    let mut sorted: Changes = Vec::new();
    for (tree, key, value) in changes {
        match sorted.iter_mut().find(|(known, _)| *known == tree) {
            Some((_, entries)) => entries.push((key, value)),
            None => sorted.push((tree, vec![(key, value)])),
        }
    }
    sorted
}

fn open_database(directory: &Path, cache: u64) -> Result<sled::Db, NotOpened> {
    let config = sled::Config::new().path(directory).cache_capacity(cache);
    match std::panic::catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(source))) => Err(of_io(source)),
        Ok(Err(other)) => Err(NotOpened::Damage(other.to_string())),
        Err(_panic) => Err(NotOpened::Damage(
            "sled panicked while opening it".to_owned(),
        )),
    }
}

/// What the system refuses is no damage: it may be granted later. All else that reading stumbles over is.
fn of_io(error: io::Error) -> NotOpened {
    use io::ErrorKind::{
        NotFound, OutOfMemory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        WouldBlock,
    };
    match error.kind() {
        PermissionDenied | StorageFull | QuotaExceeded | ReadOnlyFilesystem | OutOfMemory
        | WouldBlock => NotOpened::Io(error),
        NotFound => NotOpened::Damage(format!("a file is missing: {error}")),
        _ => NotOpened::Damage(error.to_string()),
    }
}

/// Whether what sled said of itself, or panicked over, means that its files are damaged.
fn is_damage(error: &io::Error) -> bool {
    matches!(
        of_io(io::Error::new(error.kind(), String::new())),
        NotOpened::Damage(_)
    )
}

/// What says of sled that it is damaged, if that is what an error is about.
pub(super) fn damage_in(error: &OpenError) -> Option<String> {
    let OpenError::Store { source, .. } = error else {
        return None;
    };
    let error = match source {
        StoreError::Write(error) => error,
        StoreError::Read(error) => error,
        _ => return None,
    };
    is_damage(error).then(|| error.to_string())
}

/// Opens the `sled` of a data directory if it is of this schema; gives the lock back if that fails.
pub(super) fn open_sled(
    path: &Path,
    schema: u32,
    cache: u64,
    lock: File,
) -> Result<Engine, (NotOpened, File)> {
    let keep = match lock.try_clone() {
        Ok(keep) => keep,
        Err(error) => return Err((NotOpened::Io(error), lock)),
    };
    open_checked(path, SLED, schema, cache, lock).map_err(|why| (why, keep))
}

/// Opens the sled of this name if it is of this schema.
pub(super) fn open_checked(
    path: &Path,
    name: &str,
    schema: u32,
    cache: u64,
    lock: File,
) -> Result<Engine, NotOpened> {
    let directory = path.join(name);
    remove_leftovers(&directory).map_err(of_io)?;
    await_release(&directory).map_err(of_io)?;
    let db = open_database(&directory, cache)?;
    let panicked = |_| NotOpened::Damage("sled panicked while its trees were opened".to_owned());
    let is_flat = layout::is_flat(&db);
    let open = AssertUnwindSafe(|| {
        let engine = Engine::new(db, &directory, path, lock).map_err(of_io)?;
        let schema = engine
            .get(Tree::Meta, SCHEMA_KEY)
            .map_err(|error| NotOpened::Damage(error.to_string()))?;
        Ok((engine, schema))
    });
    let (mut engine, stored) = std::panic::catch_unwind(open).map_err(panicked)??;
    let found = stored
        .as_deref()
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_be_bytes);
    match found {
        Some(found) if found == schema => {
            engine.set_schema(schema);
            Ok(engine)
        }
        Some(newer) if newer > schema => Err(NotOpened::Newer(newer)),
        Some(found) => Err(NotOpened::Damage(format!(
            "its schema {found} is not that of its checkpoint"
        ))),
        None if is_flat => Err(NotOpened::Layout),
        None => Err(NotOpened::Damage("it has no schema number".to_owned())),
    }
}

/// sled's own threads may hold its lock for a moment after it was dropped, by us or by the store before us; sled itself
/// would not wait. No other process can be meant: we hold the lock of the data directory.
fn await_release(directory: &Path) -> io::Result<()> {
    let data = match File::open(directory.join("db")) {
        Ok(data) => data,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if let Err(TryLockError::WouldBlock) = data.try_lock() {
        tracing::info!("waiting for sled to let go of its file");
        data.lock()?;
    }
    data.unlock()
}

/// A kill while sled opened leaves a half-written snapshot that makes every later opening fail.
fn remove_leftovers(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            tracing::warn!(file = %name, "removing a snapshot that was being written when the process ended");
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes sled from a checkpoint and everything that the journal has after it.
pub(super) fn from_checkpoint(
    path: &Path,
    checkpoint: &Path,
    schema: u32,
    cache: u64,
    machine: &dyn Machine,
) -> Result<Made, RebuildError> {
    let made = build(path, ASIDE, checkpoint, schema, cache)?;
    machine.reached(Point::RebuiltAside)?;
    machine.rename(&path.join(ASIDE), &path.join(SLED))?;
    machine.sync_directory(path)?;
    Ok(made)
}

/// Where a sled that failed waits for the one that takes its place.
const FAILED: &str = "sled.failed";

/// Puts a freshly made sled in the place of one that failed while it was open, for lack of room or by a panic: nothing
/// in it is needed, since the journal and its checkpoint are the truth. The old one serves reads until the new one is
/// complete. Nothing may be committed meanwhile. Returns up to which sequence the new one goes.
///
/// # Errors
/// It could not be made; the old one is still there, or the next call goes on.
pub(super) fn replace_failed(
    engine: &Engine,
    cache: u64,
    machine: &dyn Machine,
) -> Result<u64, RebuildError> {
    let path = engine.path();
    let checkpoints = checkpoint::list(&path.join(CHECKPOINTS))?;
    let newest = checkpoints
        .first()
        .ok_or_else(|| io::Error::other("there is no checkpoint"))?;
    let made = build(path, ASIDE, &newest.path, engine.schema(), cache).inspect_err(|_| {
        let _also_fails_when_the_disk_does = fs::remove_dir_all(path.join(ASIDE));
    })?;
    let sled = path.join(SLED);
    engine.replace(&sled, || {
        if sled.exists() {
            await_release(&sled)?;
            set_aside(path, FAILED, machine)?;
        }
        machine.rename(&path.join(ASIDE), &sled)?;
        machine.sync_directory(path)?;
        open_database(&sled, cache).map_err(|why| why.unexpected().unwrap_or_else(io::Error::other))
    })?;
    if let Err(error) = fs::remove_dir_all(path.join(FAILED)) {
        tracing::warn!(%error, "the sled that failed could not be removed; it is replaced the next time");
    }
    Ok(made.sequence)
}

/// Makes a sled of this name in a data directory, complete and synced, of its checkpoint's schema, which is `known`
/// at most.
pub(super) fn build(
    path: &Path,
    name: &str,
    checkpoint: &Path,
    known: u32,
    cache: u64,
) -> Result<Made, RebuildError> {
    let aside = path.join(name);
    if aside.exists() {
        fs::remove_dir_all(&aside)?;
    }
    let db = sled::Config::new()
        .path(&aside)
        .cache_capacity(cache)
        .open()
        .map_err(as_io)?;
    let trees = layout::trees(&db)?;
    let mut failed = None;
    let image = checkpoint::read(checkpoint, known, &mut |changes| {
        if failed.is_none() {
            failed = load(&trees, changes).err();
        }
        Ok(())
    })
    .map_err(RebuildError::Checkpoint)?;
    if let Some(error) = failed.take() {
        return Err(error.into());
    }
    let end = reading::read(
        &path.join(JOURNAL),
        image.sequence,
        None,
        &mut |_, payload| {
            if failed.is_none() {
                let changes = format::changes(payload).map_err(io::Error::other);
                failed = changes.and_then(|changes| load(&trees, changes)).err();
            }
            Ok(())
        },
    )
    .map_err(RebuildError::Journal)?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let (sequence, schema) = (end.last.to_be_bytes(), image.schema.to_be_bytes());
    let marks = [
        (SEQUENCE, Some(sequence.as_slice())),
        (SCHEMA_KEY, Some(schema.as_slice())),
    ];
    layout::of(&trees, Tree::Meta)?.write(marks.into_iter())?;
    db.flush().map_err(as_io)?;
    drop(trees);
    drop(db);
    sync_tree(&aside)?;
    Ok(Made {
        checkpoint: image.sequence,
        sequence: end.last,
    })
}

/// Without transactions: nobody sees this sled before it is complete.
fn load(trees: &[Blocks], changes: Vec<Change>) -> io::Result<()> {
    for (tree, entries) in by_tree(changes) {
        // Of the same key the last counts.
        let entries: BTreeMap<_, _> = entries.into_iter().collect();
        let changes = entries.iter();
        let changes = changes.map(|(key, value)| (key.as_ref(), value.as_deref()));
        layout::of(trees, tree)?.write(changes)?;
    }
    Ok(())
}

fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(directory)?.sync_all()
}

/// A name that is not taken: `sled.damaged-2026-11-21T10:00:00.123Z`, with a number if need be.
pub(super) fn free_name(path: &Path, what: &str, now: Timestamp) -> String {
    let stem = format!("{what}-{now}");
    let numbered = (2_u32..).map(|number| format!("{stem}-{number}"));
    std::iter::once(stem.clone())
        .chain(numbered)
        .find(|name| !path.join(name).exists())
        .unwrap_or(stem)
}

/// Renames a directory within the data directory, durably.
pub(super) fn move_directory(
    path: &Path,
    from: &str,
    to: &str,
    machine: &dyn Machine,
) -> io::Result<()> {
    machine.rename(&path.join(from), &path.join(to))?;
    machine.sync_directory(path)
}

/// Moves sled out of the way. What already has this name is replaced: only a sled of an earlier power cut, of which
/// nothing is missing, is ever in the way.
pub(super) fn set_aside(path: &Path, name: &str, machine: &dyn Machine) -> io::Result<()> {
    let to = path.join(name);
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    move_directory(path, SLED, name, machine)
}
