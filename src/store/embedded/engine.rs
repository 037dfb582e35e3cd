//! sled and what is on its way into it: the trees, and the one way to write to them.
//!
//! Promise: a group is visible wholly or not at all. Durable is what the journal holds; a group is applied to memory, and
//! a layer of many groups goes into sled later, in the order of its keys, with the journal sequence last. A process that
//! ends halfway leaves a sled that is at an older sequence, and some keys ahead of it: replaying the journal from that
//! sequence sets every key that any of those groups changed, so it comes out right; what no group changed stays whole,
//! see `blocks`. Only synced groups go into sled: it never is ahead of the journal.

mod draining;
mod patience;
mod walk;

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use arc_swap::ArcSwapOption;
use sled::IVec;

use self::draining::Drain;
pub(super) use self::walk::{Walk, is_empty};
use super::blocks::{Blocks, Bounds};
use super::fanout::Known;
use super::journal::JournalSettings;
use super::keys::{self, Tree};
use super::layout;
use super::memory::{Layer, Recent, Step};
use super::migrating::SCHEMA;
use super::stretches;
use crate::store::StoreError;

/// Changes to make together: for each tree, keys with their new value or `None` to delete.
pub(super) type Changes = Vec<(Tree, Vec<(IVec, Option<IVec>)>)>;

/// One change.
pub(super) type Change = (Tree, IVec, Option<IVec>);

/// Where sled keeps the sequence that it got to, in [`Tree::Meta`].
pub(super) const SEQUENCE: &[u8] = b"journal_sequence";

/// An open sled.
struct Open {
    db: sled::Db,
    trees: Vec<Blocks>,
    /// A second descriptor of sled's file: `flush` alone does not reach the disk on Linux.
    data: File,
}

impl Open {
    fn new(db: sled::Db, sled: &Path) -> io::Result<Self> {
        let trees = layout::trees(&db)?;
        let data = File::open(sled.join("db"))?;
        Ok(Self { db, trees, data })
    }

    fn tree(&self, tree: Tree) -> io::Result<&Blocks> {
        layout::of(&self.trees, tree)
    }
}

/// Commits wait for sled when the active layer is so many times as large as one worth sealing: some tens of megabytes.
const FULL: usize = 4;

/// A layer is worth sealing as well when so small a part of it are deletions: each walk along a tree passes over them.
const HIDDEN: usize = 16;

/// An open store. Holds the lock for as long as it lives.
pub(super) struct Engine {
    /// `None` only while it is being replaced.
    open: ArcSwapOption<Open>,
    path: PathBuf,
    recent: RwLock<Recent>,
    /// Keys in the active layer that make it worth sealing.
    layer: AtomicUsize,
    /// Held while changes are taken in and while a layer is sealed: what is beneath the active layer does not change
    /// while that is looked at.
    applying: Mutex<()>,
    /// Held by whoever writes to sled.
    draining: Mutex<()>,
    /// Whether the drain has been asked for, or told to end.
    drain: Mutex<Drain>,
    rung: Condvar,
    /// Why sled did not take what was drained; whoever commits next sees to that.
    trouble: Mutex<Option<io::Error>>,
    /// How many need every group synced: images.
    strict: AtomicUsize,
    /// What is known of fan-outs under way.
    pub(super) fan_out: Known,
    /// Of the records in it.
    schema: u32,
    lock: File,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// sled's errors as ours: what the system said where it said something.
pub(super) fn as_io(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(source) => source,
        other => io::Error::other(other),
    }
}

impl Engine {
    /// Takes over an open database, the `sled` of the data directory `path`; `lock` is held until the engine is gone.
    pub(super) fn new(db: sled::Db, sled: &Path, path: &Path, lock: File) -> io::Result<Self> {
        let engine = Self {
            open: ArcSwapOption::from_pointee(Open::new(db, sled)?),
            path: path.to_owned(),
            recent: RwLock::default(),
            layer: AtomicUsize::new(JournalSettings::default().layer),
            applying: Mutex::default(),
            draining: Mutex::default(),
            drain: Mutex::new(Drain::Idle),
            rung: Condvar::new(),
            trouble: Mutex::default(),
            strict: AtomicUsize::new(0),
            fan_out: Known::default(),
            schema: SCHEMA,
            lock,
        };
        let sequence = engine.stored_sequence()?;
        *engine.change() = Recent::at(sequence);
        Ok(engine)
    }

    fn stored_sequence(&self) -> io::Result<u64> {
        let stored = self
            .stored(Tree::Meta, SEQUENCE)
            .map_err(io::Error::other)?
            .map(|bytes| <[u8; 8]>::try_from(bytes.as_ref()).map(u64::from_be_bytes));
        stored
            .transpose()
            .map_err(io::Error::other)
            .map(Option::unwrap_or_default)
    }

    /// Lets go of sled, which failed, and goes on with the one that `open` finds in its place, which has everything
    /// that was applied. Reads that come in between fail.
    ///
    /// # Errors
    /// What `open` said; then there is no sled until this is called again.
    pub(super) fn replace(
        &self,
        sled: &Path,
        open: impl FnOnce() -> io::Result<sled::Db>,
    ) -> io::Result<()> {
        let _nobody_applies = locked(&self.applying);
        let _nobody_drains = locked(&self.draining);
        let failed = self.open.swap(None);
        // What it could not flush is in the journal; whatever it has to say on going, it goes.
        let gone = std::panic::catch_unwind(AssertUnwindSafe(move || drop(failed)));
        if gone.is_err() {
            tracing::warn!("sled panicked on closing after it had failed");
        }
        let db = open()?;
        self.open.store(Some(Arc::new(Open::new(db, sled)?)));
        let sequence = self.stored_sequence()?;
        *self.change() = Recent::at(sequence);
        self.fan_out.forget();
        Ok(())
    }

    // A layer is changed by moves that leave it whole: a panic in between leaves it true.
    fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Recent> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes sled and gives the lock back.
    pub(super) fn into_lock(self) -> io::Result<File> {
        self.lock.try_clone()
    }

    /// Sets how many keys in memory make it worth putting them into sled.
    pub(super) fn set_layer(&self, keys: usize) {
        self.layer.store(keys, Ordering::Relaxed);
    }

    /// The last sequence applied.
    pub(super) fn sequence(&self) -> u64 {
        self.recent().sequence
    }

    /// The schema of what is in it.
    pub(super) const fn schema(&self) -> u32 {
        self.schema
    }

    /// Says which schema was found in it, if it is not the one of this version.
    pub(super) const fn set_schema(&mut self, schema: u32) {
        self.schema = schema;
    }

    /// The data directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> io::Result<Arc<Open>> {
        let open = self.open.load_full();
        open.ok_or_else(|| io::Error::other("sled failed and is being made again"))
    }

    fn stored(&self, tree: Tree, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        let open = self.open().map_err(StoreError::Read)?;
        let stored = open.tree(tree).and_then(|stored| stored.get(key));
        stored.map_err(StoreError::Read)
    }

    /// The value of a key.
    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        let recent = self.recent();
        if let Some(change) = recent.get(tree, key) {
            return Ok(change.clone());
        }
        // Still held: what is not in a layer now is in sled now.
        self.stored(tree, key)
    }

    /// Up to `limit` entries within bounds from one end, as of one moment.
    pub(super) fn chunk(
        &self,
        tree: Tree,
        bounds: Bounds<'_>,
        limit: usize,
        is_backward: bool,
    ) -> Result<Vec<(IVec, IVec)>, StoreError> {
        if is_empty(bounds) {
            return Ok(Vec::new());
        }
        // In this order: what is learned of a sled that was replaced meanwhile would be kept.
        let recent = self.recent();
        let open = self.open().map_err(StoreError::Read)?;
        let look = |bounds: Bounds<'_>, limit: usize, is_backward: bool| {
            beneath(&open, &recent, tree, bounds, limit, is_backward)
        };
        let queues = recent.queues();
        stretches::read(queues, tree, bounds, limit, is_backward, look)
    }

    /// Entries from `start` up to `end`, in key order. A walk sees changes that are made meanwhile ahead of it.
    pub(super) fn range(
        &self,
        tree: Tree,
        start: Bound<IVec>,
        end: Bound<IVec>,
    ) -> Result<Walk<'_>, StoreError> {
        // Whoever cannot read is told at once.
        self.open().map_err(StoreError::Read)?;
        Ok(Walk::new(self, tree, start, end))
    }

    /// Entries whose key begins with `prefix`, in key order.
    pub(super) fn prefix(&self, tree: Tree, prefix: &[u8]) -> Result<Walk<'_>, StoreError> {
        let end = keys::end_of(prefix).map_or(Bound::Unbounded, |end| Bound::Excluded(end.into()));
        self.range(tree, Bound::Included(prefix.into()), end)
    }

    /// Up to `limit` entries of a tree after a key, as of one moment between groups. Whoever goes through a whole tree is
    /// told what is stored, and makes nobody forget what is remembered of the fronts of queues.
    pub(super) fn part(
        &self,
        tree: Tree,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(IVec, IVec)>, StoreError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let recent = self.recent();
        let open = self.open().map_err(StoreError::Read)?;
        let bounds = (start, Bound::Unbounded);
        beneath(&open, &recent, tree, bounds, limit, false)
    }

    /// Makes changes visible together that the journal holds, synced, up to `sequence`. Waits for sled when too much
    /// is on its way there.
    ///
    /// # Errors
    /// sled does not take what is on its way.
    pub(super) fn apply(&self, changes: Changes, sequence: u64) -> io::Result<()> {
        let mut applying = locked(&self.applying);
        let steps = self.caught(changes)?;
        self.change().apply(steps, Some(sequence));
        let layer = self.layer.load(Ordering::Relaxed);
        let (entries, hidden) = {
            let recent = self.recent();
            (recent.active.entries, recent.active.hidden)
        };
        if entries >= layer || hidden >= layer / HIDDEN {
            if entries >= layer.saturating_mul(FULL) {
                drop(applying);
                self.drain()?;
                applying = locked(&self.applying);
            }
            self.seal(&applying);
        }
        Ok(())
    }

    /// Makes changes visible together that are in the journal's file, but not synced: they belong to the next sequence.
    ///
    /// # Errors
    /// sled could not be read.
    pub(super) fn apply_loose(&self, changes: Changes) -> io::Result<()> {
        let _applying = locked(&self.applying);
        let steps = self.caught(changes)?;
        self.change().apply(steps, None);
        Ok(())
    }

    /// A panic inside sled is an error here.
    fn caught(&self, changes: Changes) -> io::Result<Vec<Step>> {
        self.fan_out.note(&changes);
        std::panic::catch_unwind(AssertUnwindSafe(|| self.steps(changes)))
            .unwrap_or_else(|_panic| Err(io::Error::other("sled panicked")))
    }

    fn steps(&self, changes: Changes) -> io::Result<Vec<Step>> {
        let open = self.open()?;
        let recent = self.recent();
        let goes = |tree: Tree, key: &[u8]| -> io::Result<bool> {
            // What was not set here is beneath, or is hidden in vain: that costs less than to look.
            if !recent.active.is_set(tree, key) {
                return Ok(false);
            }
            let is_sealed = |sealed: &Arc<Layer>| sealed.get(tree, key).is_some();
            let is_beneath = recent.sealed.as_ref().is_some_and(is_sealed);
            Ok(!is_beneath && open.tree(tree)?.get(key)?.is_none())
        };
        let mut steps = Vec::with_capacity(changes.iter().map(|(_, entries)| entries.len()).sum());
        for (tree, entries) in changes {
            for (key, value) in entries {
                steps.push(match value {
                    Some(value) => Step::Put(tree, key, value),
                    None if goes(tree, &key)? => Step::Forget(tree, key),
                    None => Step::Hide(tree, key),
                });
            }
        }
        Ok(steps)
    }
}

/// Entries within bounds from one end: sled's, overlaid by the layers.
fn beneath(
    open: &Open,
    recent: &Recent,
    tree: Tree,
    bounds: Bounds<'_>,
    limit: usize,
    is_backward: bool,
) -> Result<Vec<(IVec, IVec)>, StoreError> {
    let blocks = open.tree(tree).map_err(StoreError::Read)?;
    let stored = blocks.walk(bounds, is_backward);
    let stored = stored.map_err(StoreError::Read)?;
    let stored = stored.map(|entry| entry.map_err(StoreError::Read));
    recent.overlaid(tree, bounds, stored, limit, is_backward)
}

/// A lock whose holder cannot leave anything half done.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
