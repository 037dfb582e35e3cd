//! Walks over entries in blocks, from either end.

use std::io;
use std::ops::Bound;
use std::sync::RwLockReadGuard;

use sled::IVec;

use super::{Place, next_place, part, places, slice};
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

/// Entries in the order of their keys.
pub(in crate::store::embedded) struct Ascending<'a> {
    _still: RwLockReadGuard<'a, ()>,
    tree: &'a sled::Tree,
    /// The blocks after the first, once that is read.
    blocks: Option<sled::Iter>,
    fence: IVec,
    block: IVec,
    /// How far `block` is read.
    at: usize,
    bounds: Bounds<'a>,
    is_over: bool,
}

impl<'a> Ascending<'a> {
    /// From the block `first` on, with its fence; from the beginning if there is none.
    pub(super) fn new(
        still: RwLockReadGuard<'a, ()>,
        tree: &'a sled::Tree,
        first: Option<(IVec, IVec)>,
        bounds: Bounds<'a>,
        is_empty: bool,
    ) -> Self {
        let blocks = first.is_none().then(|| tree.iter());
        let (fence, block) = first.unwrap_or_default();
        Self {
            _still: still,
            tree,
            blocks,
            fence,
            block,
            at: 0,
            bounds,
            is_over: is_empty,
        }
    }

    /// The next place in the block, or in one after it.
    fn place(&mut self) -> io::Result<Option<Place>> {
        loop {
            if let Some(place) = next_place(&self.block, &mut self.at)? {
                return Ok(Some(place));
            }
            let above = (Bound::Excluded(self.fence.as_ref()), Bound::Unbounded);
            let blocks = self
                .blocks
                .get_or_insert_with(|| self.tree.range::<&[u8], _>(above));
            let Some(next) = blocks.next() else {
                return Ok(None);
            };
            (self.fence, self.block) = next.map_err(as_io)?;
            self.at = 0;
        }
    }
}

impl Iterator for Ascending<'_> {
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
            match position(slice(&self.block, &key), &self.bounds) {
                Position::Before => {}
                Position::Within => {
                    let entry = (part(&self.block, &key), part(&self.block, &value));
                    return Some(Ok(entry));
                }
                Position::Behind => break,
            }
        }
        self.is_over = true;
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
            bounds,
            is_over: is_empty,
        }
    }

    /// Goes on with the block before; says whether there is one.
    fn turn(&mut self) -> io::Result<bool> {
        let Some(block) = self.blocks.next_back() else {
            return Ok(false);
        };
        (_, self.block) = block.map_err(as_io)?;
        self.left = places(&self.block).collect::<io::Result<_>>()?;
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
