//! Dividing a block that grew, and what the trees of a database share: which block is being divided, and how much sled has been
//! given since it last wrote.
//!
//! sled's own way of making several changes at once (`apply_batch`) is not used. Each makes sled write what it has twice over, by
//! threads of its own, and sled 0.34.7 waits for ever where these threads have all come to wait for whoever waits for
//! them: a file that was made shorter is to be made longer again, and making it shorter has not had its turn yet (mended in
//! spacejam/sled#1269, which that version lacks). Seven threads are always there. So that they never are all busy, sled is waited for
//! before it has as many pieces of its file to write; a piece is half a mebibyte.

use std::io;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use sled::IVec;

use super::walking::next_fence;
use super::{Blocks, Entry, encoded, merged, size};
use crate::store::embedded::engine::as_io;

/// The tree with the notes.
pub(super) const NAME: &str = "blocks.divided";

/// So many bytes of ours at a time. sled writes two to three times as many: now and then a leaf as a whole.
pub(super) const AT_A_TIME: usize = 512 << 10;

/// What the trees of a database share.
#[derive(Debug)]
pub(in crate::store::embedded) struct Shared {
    /// For each tree the fence of the block that is being divided. Changes of different trees are in sled's log in the order in
    /// which they were made, and a kill leaves a beginning of it.
    notes: sled::Tree,
    /// Bytes written since sled was waited for.
    written: AtomicUsize,
}

impl Shared {
    /// Of this database.
    ///
    /// # Errors
    /// What sled said.
    pub(in crate::store::embedded) fn new(db: &sled::Db) -> sled::Result<Self> {
        Ok(Self {
            notes: db.open_tree(NAME)?,
            written: AtomicUsize::new(0),
        })
    }

    /// A block is about to be divided.
    pub(super) fn note(&self, tree: &sled::Tree, fence: &IVec) -> sled::Result<()> {
        self.notes.insert(tree.name(), fence).map(drop)
    }

    /// The block that was being divided.
    pub(super) fn noted(&self, tree: &sled::Tree) -> sled::Result<Option<IVec>> {
        self.notes.get(tree.name())
    }

    /// It is divided.
    pub(super) fn forget(&self, tree: &sled::Tree) -> sled::Result<()> {
        self.notes.remove(tree.name()).map(drop)
    }

    /// So many bytes were written; waits for sled when they are many.
    pub(super) fn wrote(&self, bytes: usize) -> sled::Result<()> {
        if self.written.fetch_add(bytes, Ordering::Relaxed) + bytes < AT_A_TIME {
            return Ok(());
        }
        self.written.store(0, Ordering::Relaxed);
        // Of all trees: they share one log.
        self.notes.flush().map(drop)
    }
}

impl Blocks {
    /// Pieces of about a block each. At the end of the tree, where more of the same usually follows, they are filled;
    /// elsewhere they are left room to grow.
    pub(super) fn divided<'e, 'b>(
        &self,
        entries: &'e [Entry<'b>],
        is_last: bool,
    ) -> Vec<&'e [Entry<'b>]> {
        let total: usize = entries.iter().map(size).sum();
        let most = if is_last || total <= self.size {
            self.size
        } else {
            total.div_ceil(total.div_ceil(self.size * 3 / 4))
        };
        let (mut pieces, mut left) = (Vec::new(), entries);
        while !left.is_empty() {
            let mut filled = 0;
            let fits = left.iter().take_while(|entry| {
                filled += size(entry);
                filled <= most
            });
            // One that is larger than a block has one to itself.
            let (piece, rest) = left.split_at(fits.count().max(1));
            pieces.push(piece);
            left = rest;
        }
        pieces
    }

    /// Writes what a block keeps, and `rights`, which have the rest, each behind its fence.
    pub(super) fn divide(
        &self,
        fence: &IVec,
        first: Vec<u8>,
        rights: Vec<(&[u8], Vec<u8>)>,
    ) -> io::Result<()> {
        self.make(|| self.shared.note(&self.tree, fence))?;
        // Whoever reads must not look for it in the one block before it moves and in the other after.
        let moving = self.moving.write().unwrap_or_else(PoisonError::into_inner);
        // From the end: what is in none of the new blocks yet is found in the old one, up to the first of them.
        for (fence, right) in rights.into_iter().rev() {
            self.make(|| self.tree.insert(fence, right).map(drop))?;
        }
        self.make(|| self.tree.insert(fence, first).map(drop))?;
        drop(moving);
        self.make(|| self.shared.forget(&self.tree))
    }

    /// Takes from a block what was moved to those behind it, if the process that moved it did not live to do so.
    pub(super) fn end_division(&self) -> io::Result<()> {
        let Some(fence) = self.shared.noted(&self.tree).map_err(as_io)? else {
            return Ok(());
        };
        if let Some(block) = self.tree.get(&fence).map_err(as_io)? {
            let next = next_fence(&self.tree, &fence)?;
            let entries = merged(&block, next.as_deref(), &mut std::iter::empty().peekable())?;
            let left = encoded(&entries.all);
            if block != left {
                self.make(|| self.tree.insert(fence, left).map(drop))?;
            }
        }
        self.make(|| self.shared.forget(&self.tree))
    }
}
