//! Walks over entries in blocks, from either end.

use std::io;
use std::ops::Bound;
use std::sync::RwLockReadGuard;

use sled::IVec;

use super::{Place, next_place, part, places, slice};
use crate::store::embedded::engine::as_io;

/// Keys between two.
pub(in crate::store::embedded) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Where an entry lies relative to bounds.
pub(super) enum Position {
    Before,
    Within,
    Behind,
}

pub(super) fn position(key: &[u8], (start, end): &Bounds<'_>) -> Position {
    let is_before = match start {
        Bound::Included(start) => key < *start,
        Bound::Excluded(start) => key <= *start,
        Bound::Unbounded => false,
    };
    let is_behind = match end {
        Bound::Included(end) => key > *end,
        Bound::Excluded(end) => key >= *end,
        Bound::Unbounded => false,
    };
    match (is_before, is_behind) {
        (true, _) => Position::Before,
        (_, true) => Position::Behind,
        _ => Position::Within,
    }
}

/// What lies above a fence.
pub(super) const fn above(fence: &[u8]) -> Bounds<'_> {
    (Bound::Excluded(fence), Bound::Unbounded)
}

/// The fence above another one, if there is one.
pub(super) fn next_fence(tree: &sled::Tree, fence: &[u8]) -> io::Result<Option<IVec>> {
    let next = tree.range::<&[u8], _>(above(fence)).keys().next();
    next.transpose().map_err(as_io)
}

/// Entries within bounds, from one end.
pub(in crate::store::embedded) struct Walk<'a> {
    pub(super) _still: RwLockReadGuard<'a, ()>,
    pub(super) tree: &'a sled::Tree,
    /// The blocks that follow; `None` while those after the first, which is in `block`, were not needed.
    pub(super) blocks: Option<sled::Iter>,
    pub(super) fence: IVec,
    pub(super) block: IVec,
    /// Forward: how far `block` is read.
    pub(super) at: usize,
    /// Backward: what is left of `block`.
    pub(super) left: Vec<Place>,
    pub(super) bounds: Bounds<'a>,
    pub(super) is_backward: bool,
    pub(super) is_over: bool,
}

impl Walk<'_> {
    /// The next place in the block, or in one that follows.
    fn place(&mut self) -> io::Result<Option<Place>> {
        loop {
            let place = if self.is_backward {
                self.left.pop()
            } else {
                next_place(&self.block, &mut self.at)?
            };
            if place.is_some() {
                return Ok(place);
            }
            let blocks = self
                .blocks
                .get_or_insert_with(|| self.tree.range::<&[u8], _>(above(&self.fence)));
            let next = if self.is_backward {
                blocks.next_back()
            } else {
                blocks.next()
            };
            let Some(next) = next else { return Ok(None) };
            (self.fence, self.block) = next.map_err(as_io)?;
            self.at = 0;
            if self.is_backward {
                self.left = places(&self.block).collect::<io::Result<_>>()?;
            }
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = io::Result<(IVec, IVec)>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            let (key, value) = match self.place() {
                Ok(Some(place)) => place,
                Ok(None) => break,
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            };
            match (
                position(slice(&self.block, &key), &self.bounds),
                self.is_backward,
            ) {
                (Position::Within, _) => {
                    let entry = (part(&self.block, &key), part(&self.block, &value));
                    return Some(Ok(entry));
                }
                (Position::Before, false) | (Position::Behind, true) => {}
                (Position::Behind, false) | (Position::Before, true) => break,
            }
        }
        self.is_over = true;
        None
    }
}
