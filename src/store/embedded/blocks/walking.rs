//! Walks over entries in blocks, from either end. What is at or above the next block's fence is passed over.

use std::io;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::RwLockReadGuard;

use sled::IVec;

use super::{Place, part, places, slice};
use crate::store::embedded::engine::as_io;

type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Where an entry lies relative to bounds.
enum Position {
    Before,
    Within,
    Behind,
}

fn position(key: &[u8], (start, end): &Bounds<'_>) -> Position {
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

/// All places of a block below the fence `next`, in order.
fn counted(block: &IVec, next: Option<&IVec>) -> io::Result<Vec<Place>> {
    let mut found = places(block).collect::<io::Result<Vec<_>>>()?;
    if let Some(next) = next {
        let counts = |(key, _): &Place| slice(block, key) < next.as_ref();
        found.truncate(found.partition_point(counts));
    }
    Ok(found)
}

/// Entries in the order of their keys.
pub(in crate::store::embedded) struct Ascending<'a> {
    _still: RwLockReadGuard<'a, ()>,
    blocks: Peekable<sled::Iter>,
    block: IVec,
    /// Of `block`, what is left, the last first.
    left: Vec<Place>,
    bounds: Bounds<'a>,
    is_over: bool,
}

impl<'a> Ascending<'a> {
    pub(super) fn new(
        still: RwLockReadGuard<'a, ()>,
        blocks: sled::Iter,
        bounds: Bounds<'a>,
        is_empty: bool,
    ) -> Self {
        Self {
            _still: still,
            blocks: blocks.peekable(),
            block: IVec::default(),
            left: Vec::new(),
            bounds,
            is_over: is_empty,
        }
    }

    /// Goes on with the next block; says whether there is one.
    fn turn(&mut self) -> io::Result<bool> {
        let Some(block) = self.blocks.next() else {
            return Ok(false);
        };
        (_, self.block) = block.map_err(as_io)?;
        let next = self.blocks.peek().and_then(|next| next.as_ref().ok());
        self.left = counted(&self.block, next.map(|(fence, _)| fence))?;
        self.left.reverse();
        Ok(true)
    }
}

impl Iterator for Ascending<'_> {
    type Item = io::Result<(IVec, IVec)>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            let Some((key, value)) = self.left.pop() else {
                match self.turn() {
                    Ok(more) => self.is_over = !more,
                    Err(error) => {
                        self.is_over = true;
                        return Some(Err(error));
                    }
                }
                continue;
            };
            match position(slice(&self.block, &key), &self.bounds) {
                Position::Before => {}
                Position::Within => {
                    let entry = (part(&self.block, &key), part(&self.block, &value));
                    return Some(Ok(entry));
                }
                Position::Behind => self.is_over = true,
            }
        }
        None
    }
}

/// Entries, the last first.
pub(in crate::store::embedded) struct Descending<'a> {
    _still: RwLockReadGuard<'a, ()>,
    blocks: sled::Iter,
    block: IVec,
    /// Of `block`, what is left, the first first.
    left: Vec<Place>,
    /// The fence of `block`.
    fence: Option<IVec>,
    bounds: Bounds<'a>,
    is_over: bool,
}

impl<'a> Descending<'a> {
    pub(super) fn new(
        still: RwLockReadGuard<'a, ()>,
        blocks: sled::Iter,
        bounds: Bounds<'a>,
        is_empty: bool,
    ) -> Self {
        Self {
            _still: still,
            blocks,
            block: IVec::default(),
            left: Vec::new(),
            fence: None,
            bounds,
            is_over: is_empty,
        }
    }

    /// Goes on with the block before; says whether there is one.
    fn turn(&mut self) -> io::Result<bool> {
        let Some(block) = self.blocks.next_back() else {
            return Ok(false);
        };
        let (fence, block) = block.map_err(as_io)?;
        // What is at or above the fence of the last one is beyond the bounds.
        self.left = counted(&block, self.fence.as_ref())?;
        (self.fence, self.block) = (Some(fence), block);
        Ok(true)
    }
}

impl Iterator for Descending<'_> {
    type Item = io::Result<(IVec, IVec)>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            let Some((key, value)) = self.left.pop() else {
                match self.turn() {
                    Ok(more) => self.is_over = !more,
                    Err(error) => {
                        self.is_over = true;
                        return Some(Err(error));
                    }
                }
                continue;
            };
            match position(slice(&self.block, &key), &self.bounds) {
                Position::Behind => {}
                Position::Within => {
                    let entry = (part(&self.block, &key), part(&self.block, &value));
                    return Some(Ok(entry));
                }
                Position::Before => self.is_over = true,
            }
        }
        None
    }
}
