//! The blocks that were read lately, which the next keys are likely to be in too: those of a queue, of the events of this
//! minute. Finding one in sled takes longer than all else that reading an entry does.
//!
//! Promise: a block that is found here is the one in sled, or was until a change that is not over yet; never one of before a
//! move, once the move is over for those who hold still.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sled::IVec;

use super::walking::next_fence;

/// Blocks kept of each tree: both ends of a queue, and what its entries refer to.
const KEPT: usize = 4;

/// A block behind its fence.
type Block = (IVec, IVec);

/// Blocks that were read lately.
#[derive(Debug, Default)]
pub(super) struct Near(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Grows with each change of a block.
    changes: u64,
    /// With the fence of the next one, if there is one.
    blocks: Vec<(Block, Option<IVec>)>,
    /// The place of the next one in `blocks`.
    place: usize,
    /// The fence of the last one that was not found.
    missed: Option<IVec>,
}

impl Near {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The block that a key belongs to, or the number of changes so far.
    pub(super) fn find(&self, key: &[u8]) -> Result<Block, u64> {
        let kept = self.kept();
        for ((fence, block), next) in &kept.blocks {
            let is_below = next.as_ref().is_none_or(|next| key < next.as_ref());
            if is_below && fence.as_ref() <= key {
                return Ok((fence.clone(), block.clone()));
            }
        }
        Err(kept.changes)
    }

    /// A block was read that was not found here after so many changes. Kept is what is read twice running: of what is
    /// asked for at random nothing is.
    ///
    /// # Errors
    /// What sled said.
    pub(super) fn was_read(
        &self,
        block: &Block,
        changes: u64,
        tree: &sled::Tree,
    ) -> io::Result<()> {
        let (fence, _) = block;
        let missed = self.kept().missed.replace(fence.clone());
        if missed.as_ref() != Some(fence) {
            return Ok(());
        }
        let next = next_fence(tree, fence)?;
        let mut kept = self.kept();
        // Whoever changes a block says so after: this one may be of before.
        if kept.changes != changes {
            return Ok(());
        }
        let entry = (block.clone(), next);
        let place = kept.place;
        match kept.blocks.get_mut(place) {
            Some(before) => *before = entry,
            None => kept.blocks.push(entry),
        }
        kept.place = (place + 1) % KEPT;
        Ok(())
    }

    /// A block was changed: nobody finds it as it was before.
    pub(super) fn changed(&self) {
        let mut kept = self.kept();
        kept.changes += 1;
        kept.blocks.clear();
        kept.place = 0;
    }
}
