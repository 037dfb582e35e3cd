//! sled itself: the trees, and the one way to write to them durably.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use sled::transaction::{ConflictableTransactionError, TransactionError};
use sled::{IVec, Transactional};

use super::keys::{self, Tree};
use crate::store::StoreError;

/// Changes to make together: for each tree, keys with their new value or `None` to delete.
pub(super) type Changes = Vec<(Tree, Vec<(Vec<u8>, Option<Vec<u8>>)>)>;

/// An open store. Holds the lock for as long as it lives.
pub(super) struct Engine {
    db: sled::Db,
    trees: Vec<sled::Tree>,
    /// A second descriptor of sled's file: `flush` alone does not reach the disk on Linux.
    data: File,
    path: PathBuf,
    _lock: File,
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
    /// Takes over an open database in `directory`; `lock` is held until the engine is gone.
    pub(super) fn new(db: sled::Db, directory: &Path, lock: File) -> io::Result<Self> {
        let trees = Tree::ALL
            .iter()
            .map(|tree| db.open_tree(tree.name()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(as_io)?;
        let data = File::open(directory.join("db"))?;
        Ok(Self {
            db,
            trees,
            data,
            path: directory.to_owned(),
            _lock: lock,
        })
    }

    /// The data directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn tree(&self, tree: Tree) -> Result<&sled::Tree, StoreError> {
        self.trees
            .get(usize::from(tree as u8))
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

    /// Makes changes together and durable: all of them or, on an error before they were applied, none.
    ///
    /// # Errors
    /// What the system said. The changes may then be applied without being known durable.
    pub(super) fn write(&self, changes: &Changes) -> io::Result<()> {
        let mut trees = Vec::with_capacity(changes.len());
        let mut batches = Vec::with_capacity(changes.len());
        for (tree, entries) in changes {
            let mut batch = sled::Batch::default();
            for (key, value) in entries {
                match value {
                    Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                    None => batch.remove(key.as_slice()),
                }
            }
            trees.push(self.tree(*tree).map_err(io::Error::other)?.clone());
            batches.push(batch);
        }
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
            })?;
        self.sync()
    }

    /// Pushes everything written so far to the disk itself.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.db.flush().map_err(as_io)?;
        self.data.sync_data()
    }
}
