//! Walks over entries in key order, from either end, through the layers in memory and sled.

use std::ops::Bound;

use sled::IVec;

use super::Engine;
use crate::store::StoreError;
use crate::store::embedded::blocks::Bounds;
use crate::store::embedded::keys::Tree;

/// Entries read at once, at first and at most: few walks go beyond their first entries.
const CHUNK: (usize, usize) = (4, 256);

/// Whether no key can be between these; sled and the standard library refuse such bounds.
pub(in crate::store::embedded) fn is_empty(bounds: Bounds<'_>) -> bool {
    match bounds {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (
            Bound::Included(start) | Bound::Excluded(start),
            Bound::Included(end) | Bound::Excluded(end),
        ) => start >= end,
        _ => false,
    }
}

/// A walk over entries, from either end; reads some ahead.
pub(in crate::store::embedded) struct Walk<'a> {
    engine: &'a Engine,
    tree: Tree,
    start: Bound<IVec>,
    end: Bound<IVec>,
    ahead: std::vec::IntoIter<(IVec, IVec)>,
    behind: std::vec::IntoIter<(IVec, IVec)>,
    is_over: bool,
    chunk: usize,
}

fn borrowed(bound: &Bound<IVec>) -> Bound<&[u8]> {
    bound.as_ref().map(AsRef::as_ref)
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        tree: Tree,
        start: Bound<IVec>,
        end: Bound<IVec>,
    ) -> Self {
        Self {
            engine,
            tree,
            start,
            end,
            ahead: Vec::new().into_iter(),
            behind: Vec::new().into_iter(),
            is_over: false,
            chunk: CHUNK.0,
        }
    }

    fn read(&mut self, is_backward: bool) -> Result<Vec<(IVec, IVec)>, StoreError> {
        let bounds = (borrowed(&self.start), borrowed(&self.end));
        let found = self
            .engine
            .chunk(self.tree, bounds, self.chunk, is_backward)
            .inspect_err(|_| self.is_over = true)?;
        self.is_over = found.len() < self.chunk;
        self.chunk = (self.chunk * 4).min(CHUNK.1);
        if let Some((last, _)) = found.last() {
            let last = Bound::Excluded(last.clone());
            if is_backward {
                self.end = last;
            } else {
                self.start = last;
            }
        }
        Ok(found)
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<(IVec, IVec), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.ahead.next() {
            return Some(Ok(entry));
        }
        if !self.is_over {
            match self.read(false) {
                Ok(found) => self.ahead = found.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
        // What was read from the other end is in the opposite order.
        self.ahead
            .next()
            .or_else(|| self.behind.next_back())
            .map(Ok)
    }
}

impl DoubleEndedIterator for Walk<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.behind.next() {
            return Some(Ok(entry));
        }
        if !self.is_over {
            match self.read(true) {
                Ok(found) => self.behind = found.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
        self.behind
            .next()
            .or_else(|| self.ahead.next_back())
            .map(Ok)
    }
}
