//! How far the keys of a tree reach.

use sled::IVec;

use super::walking::{Bounds, Position, position};
use super::{places, slice};

/// The first key and the last, or keys farther out. To know that a key is not between them saves asking sled: most
/// queues are empty most of the time, and what is new comes behind all that is old.
pub(super) struct Extent {
    pub(super) first: IVec,
    /// `None`: not known.
    pub(super) last: Option<IVec>,
}

impl Extent {
    // Copies of the keys: a part of a block would keep it in memory.
    pub(super) fn of(first: &[u8], last: &[u8]) -> Self {
        let (first, last) = (first.into(), Some(last.into()));
        Self { first, last }
    }

    /// From the first key of one block to the last of another. What is no block may hold any: whoever asks is told.
    pub(super) fn of_blocks(first: &[u8], last: &[u8]) -> Self {
        let first_key = places(first).next().and_then(Result::ok);
        let last_key = places(last).last().and_then(Result::ok);
        match (first_key, last_key) {
            (Some((from, _)), Some((to, _))) => Self::of(slice(first, &from), slice(last, &to)),
            _ => Self {
                first: IVec::default(),
                last: None,
            },
        }
    }

    /// Reaching as far as both.
    pub(super) fn with(self, other: Option<Self>) -> Self {
        match other {
            None => self,
            Some(other) => Self {
                first: self.first.min(other.first),
                last: self.last.zip(other.last).map(|(one, two)| one.max(two)),
            },
        }
    }

    /// Whether any key within bounds may lie in it.
    pub(super) fn meets(&self, bounds: &Bounds<'_>) -> bool {
        let is_before = |last: &IVec| matches!(position(last, bounds), Position::Before);
        !self.last.as_ref().is_some_and(is_before)
            && !matches!(position(&self.first, bounds), Position::Behind)
    }
}
