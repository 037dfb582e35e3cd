//! sled itself: the trees, and the one way to write to them.
//!
//! Promise: a group is applied wholly or not at all, and its journal sequence with it. Durable is what the journal
//! holds; what sled has not flushed yet when the process ends is replayed from there, so nothing here waits for a disk.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use sled::transaction::{ConflictableTransactionError, TransactionError};
use sled::{IVec, Transactional};

use super::keys::{self, Tree};
use crate::store::StoreError;

/// Changes to make together: for each tree, keys with their new value or `None` to delete.
pub(super) type Changes = Vec<(Tree, Vec<(Vec<u8>, Option<Vec<u8>>)>)>;

/// One change.
pub(super) type Change = (Tree, Vec<u8>, Option<Vec<u8>>);

/// Where sled keeps the sequence that it got to, in [`Tree::Meta`].
pub(super) const SEQUENCE: &[u8] = b"journal_sequence";

/// An open sled.
struct Open {
    db: sled::Db,
    trees: Vec<sled::Tree>,
    /// A second descriptor of sled's file: `flush` alone does not reach the disk on Linux.
    data: File,
}

impl Open {
    fn new(db: sled::Db, sled: &Path) -> io::Result<Self> {
        let trees = Tree::ALL
            .iter()
            .map(|tree| db.open_tree(tree.name()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(as_io)?;
        let data = File::open(sled.join("db"))?;
        Ok(Self { db, trees, data })
    }
}

/// An open store. Holds the lock for as long as it lives.
pub(super) struct Engine {
    /// `None` only while it is being replaced.
    open: ArcSwapOption<Open>,
    path: PathBuf,
    /// The last sequence applied. Held while a group is applied and while a part of an image is read: an image sees
    /// whole groups only.
    applied: Mutex<u64>,
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
            applied: Mutex::new(0),
            lock,
        };
        *engine.applied() = engine.stored_sequence()?;
        Ok(engine)
    }

    fn stored_sequence(&self) -> io::Result<u64> {
        let stored = self
            .get(Tree::Meta, SEQUENCE)
            .map_err(io::Error::other)?
            .map(|bytes| <[u8; 8]>::try_from(bytes.as_ref()).map(u64::from_be_bytes));
        stored
            .transpose()
            .map_err(io::Error::other)
            .map(Option::unwrap_or_default)
    }

    /// Lets go of sled, which failed, and goes on with the one that `open` finds in its place. Reads that come in
    /// between fail.
    ///
    /// # Errors
    /// What `open` said; then there is no sled until this is called again.
    pub(super) fn replace(
        &self,
        sled: &Path,
        open: impl FnOnce() -> io::Result<sled::Db>,
    ) -> io::Result<()> {
        let mut applied = self.applied();
        let failed = self.open.swap(None);
        // What it could not flush is in the journal; whatever it has to say on going, it goes.
        let gone = std::panic::catch_unwind(AssertUnwindSafe(move || drop(failed)));
        if gone.is_err() {
            tracing::warn!("sled panicked on closing after it had failed");
        }
        let db = open()?;
        self.open.store(Some(Arc::new(Open::new(db, sled)?)));
        *applied = self.stored_sequence()?;
        Ok(())
    }

    fn applied(&self) -> MutexGuard<'_, u64> {
        // The number is set after a group is in: a panic in between leaves it true.
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes sled and gives the lock back.
    pub(super) fn into_lock(self) -> io::Result<File> {
        self.lock.try_clone()
    }

    /// The last sequence applied.
    pub(super) fn sequence(&self) -> u64 {
        *self.applied()
    }

    /// The data directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> io::Result<Arc<Open>> {
        let open = self.open.load_full();
        open.ok_or_else(|| io::Error::other("sled failed and is being made again"))
    }

    fn tree(&self, tree: Tree) -> Result<sled::Tree, StoreError> {
        let open = self.open().map_err(StoreError::Read)?;
        open.trees
            .get(usize::from(tree as u8))
            .cloned()
            .ok_or_else(|| StoreError::Read(io::Error::other("no such tree")))
    }

    /// The value of a key.
    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.tree(tree)?
            .get(key)
            .map_err(|error| StoreError::Read(as_io(error)))
    }

    /// Entries from `start` up to `end`, in key order.
    pub(super) fn range(
        &self,
        tree: Tree,
        start: Bound<Vec<u8>>,
        end: Bound<Vec<u8>>,
    ) -> Result<impl DoubleEndedIterator<Item = Result<(IVec, IVec), StoreError>> + use<>, StoreError>
    {
        let entries = self.tree(tree)?.range::<Vec<u8>, _>((start, end));
        Ok(entries.map(|entry| entry.map_err(|error| StoreError::Read(as_io(error)))))
    }

    /// Entries whose key begins with `prefix`, in key order.
    pub(super) fn prefix(
        &self,
        tree: Tree,
        prefix: &[u8],
    ) -> Result<impl DoubleEndedIterator<Item = Result<(IVec, IVec), StoreError>> + use<>, StoreError>
    {
        let end = keys::end_of(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        self.range(tree, Bound::Included(prefix.to_vec()), end)
    }

    /// Up to `limit` entries of a tree after a key, while no group is being applied.
    pub(super) fn part(
        &self,
        tree: Tree,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(IVec, IVec)>, StoreError> {
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.to_vec()));
        let _no_group_meanwhile = self.applied();
        self.range(tree, start, Bound::Unbounded)?
            .take(limit)
            .collect()
    }

    /// Makes changes together: all of them or none. A panic inside sled is an error here.
    ///
    /// # Errors
    /// What sled said.
    pub(super) fn apply(&self, changes: &Changes, sequence: u64) -> io::Result<()> {
        let mut applied = self.applied();
        let attempt = AssertUnwindSafe(|| self.transact(changes, sequence));
        std::panic::catch_unwind(attempt)
            .unwrap_or_else(|_panic| Err(io::Error::other("sled panicked")))?;
        *applied = sequence;
        Ok(())
    }

    fn transact(&self, changes: &Changes, sequence: u64) -> io::Result<()> {
        let open = self.open()?;
        let mut batches: Vec<sled::Batch> = vec![sled::Batch::default(); open.trees.len()];
        let mut touched = vec![false; open.trees.len()];
        let mut add = |tree: Tree, key: &[u8], value: Option<&[u8]>| {
            let at = usize::from(tree as u8);
            if let (Some(batch), Some(touched)) = (batches.get_mut(at), touched.get_mut(at)) {
                *touched = true;
                match value {
                    Some(value) => batch.insert(key, value),
                    None => batch.remove(key),
                }
            }
        };
        for (tree, entries) in changes {
            for (key, value) in entries {
                add(*tree, key, value.as_deref());
            }
        }
        add(Tree::Meta, SEQUENCE, Some(&sequence.to_be_bytes()));
        let parts = open.trees.iter().zip(&batches).zip(&touched);
        let (trees, batches): (Vec<sled::Tree>, Vec<&sled::Batch>) = parts
            .filter(|(_, touched)| **touched)
            .map(|((tree, batch), _)| (tree.clone(), batch))
            .unzip();
        trees
            .as_slice()
            .transaction(|open| {
                for (tree, batch) in open.iter().zip(&batches) {
                    tree.apply_batch(batch)?;
                }
                Ok::<(), ConflictableTransactionError<()>>(())
            })
            .map_err(|error| match error {
                TransactionError::Storage(source) => as_io(source),
                TransactionError::Abort(()) => io::Error::other("the transaction was aborted"),
            })
    }

    /// Pushes everything applied so far to the disk itself.
    pub(super) fn sync(&self) -> io::Result<()> {
        let open = self.open()?;
        open.db.flush().map_err(as_io)?;
        open.data.sync_data()
    }
}
