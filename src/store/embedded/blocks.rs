//! A sled tree whose entries lie in blocks: some dozens of neighbours make one entry of sled.
//!
//! sled keeps at most sixteen entries in a leaf, and each leaf costs some hundred bytes of memory for as long as sled is
//! open, and a rewritten parent when it is divided. With a block as sled's entry there are a tenth as many leaves.
//!
//! A block lies under its fence, a key at or below all keys in it and above all of the block before it; what is below
//! the lowest fence belongs to the empty one. A block that grew is divided from its end: the new blocks are written first, the
//! last of them before all others, and what moved there is taken from the old one after that. Where a kill left both, the next
//! process takes it from there, by a note of which block was divided (`dividing`).
//!
//! Promise: an entry that does not change is seen at every moment, also while it moves from one block to another, and
//! also by who comes after a process that was killed meanwhile. One thread writes.

mod dividing;
mod extent;
mod near;
mod walking;

use std::io;
use std::iter::Peekable;
use std::ops::{Bound, Range};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use sled::IVec;

pub(super) use self::dividing::Shared;
use self::extent::Extent;
use self::near::Near;
pub(super) use self::walking::Bounds;
use self::walking::{Walk, next_fence};
use super::engine::as_io;

/// What a block begins with.
const FORMAT: u8 = 1;

/// A key, and its new value or none.
type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// A key and its value.
type Entry<'a> = (&'a [u8], &'a [u8]);

/// Where in a block a key and its value lie.
type Place = (Range<usize>, Range<usize>);

/// Entries in blocks.
pub(super) struct Blocks {
    tree: sled::Tree,
    /// Bytes beyond which a block is divided.
    size: usize,
    /// How far its keys reach; `None` while nothing is in it.
    extent: RwLock<Option<Extent>>,
    /// Held for writing while entries move from one block to another.
    moving: RwLock<()>,
    near: Near,
    shared: Arc<Shared>,
    /// Changes until the process is as good as killed.
    #[cfg(test)]
    left: std::sync::atomic::AtomicUsize,
}

impl Blocks {
    /// What lies in `tree`, in blocks of about `size` bytes at most. If the last process ended while it divided a block, that is
    /// brought to its end.
    ///
    /// # Errors
    /// What sled said, or a block that is none.
    pub(super) fn new(tree: sled::Tree, size: usize, shared: Arc<Shared>) -> io::Result<Self> {
        let blocks = Self {
            tree,
            size,
            extent: RwLock::default(),
            moving: RwLock::default(),
            near: Near::default(),
            shared,
            #[cfg(test)]
            left: std::sync::atomic::AtomicUsize::new(usize::MAX),
        };
        blocks.end_division()?;
        blocks.look_how_far()?;
        Ok(blocks)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// What sled said, or a block that is none.
    pub(super) fn get(&self, key: &[u8]) -> io::Result<Option<IVec>> {
        if !self.may_hold((Bound::Included(key), Bound::Included(key))) {
            return Ok(None);
        }
        let still = self.still();
        let Some((_, block)) = self.near_block(key, &still)? else {
            return Ok(None);
        };
        for place in places(&block) {
            let (at, value) = place?;
            match slice(&block, &at).cmp(key) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(Some(part(&block, &value))),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    /// Entries within bounds, in the order of their keys or the last first.
    ///
    /// # Errors
    /// What sled said.
    pub(super) fn walk<'a>(
        &'a self,
        (start, end): (Bound<&'a [u8]>, Bound<&'a [u8]>),
        is_backward: bool,
    ) -> io::Result<Walk<'a>> {
        let still = self.still();
        let is_over = !self.may_hold((start, end));
        let first = match start {
            Bound::Included(key) | Bound::Excluded(key) if !is_over && !is_backward => {
                self.near_block(key, &still)?
            }
            _ => None,
        };
        let blocks = match end {
            _ if first.is_some() => None,
            Bound::Included(key) if is_backward => Some(self.tree.range::<&[u8], _>(..=key)),
            Bound::Excluded(key) if is_backward => Some(self.tree.range::<&[u8], _>(..key)),
            _ => Some(self.tree.iter()),
        };
        let (fence, block) = first.unwrap_or_default();
        Ok(Walk {
            _still: still,
            tree: &self.tree,
            blocks,
            fence,
            block,
            at: 0,
            left: Vec::new(),
            bounds: (start, end),
            is_backward,
            is_over,
        })
    }

    /// Makes changes, which come in the order of their keys, each key once.
    ///
    /// # Errors
    /// What sled said, or a block that is none; some of the changes may be made.
    pub(super) fn write<'c>(&self, changes: impl Iterator<Item = Change<'c>>) -> io::Result<()> {
        let mut changes = changes.peekable();
        while let Some((key, _)) = changes.peek() {
            let (fence, block) = self.block_of(key)?.unwrap_or_default();
            let next = next_fence(&self.tree, &fence)?;
            let entries = merged(&block, next.as_deref(), &mut changes)?;
            // First: nobody may miss there what is no longer found elsewhere.
            self.reach(&entries.all);
            self.put(&fence, &entries, next.is_none())?;
            let written = entries.all.iter().map(size).sum();
            self.shared.wrote(written).map_err(as_io)?;
        }
        self.look_how_far()
    }

    /// Whether anything may be within bounds; if not, nothing is.
    fn may_hold(&self, bounds: Bounds<'_>) -> bool {
        let extent = self.extent.read().unwrap_or_else(PoisonError::into_inner);
        extent.as_ref().is_some_and(|extent| extent.meets(&bounds))
    }

    /// Entries are to come that may lie farther out than all before.
    fn reach(&self, entries: &[Entry<'_>]) {
        let (Some((first, _)), Some((last, _))) = (entries.first(), entries.last()) else {
            return;
        };
        let mut extent = self.extent.write().unwrap_or_else(PoisonError::into_inner);
        let before = extent.take();
        *extent = Some(Extent::of(first, last).with(before));
    }

    /// Finds the first key and the last.
    fn look_how_far(&self) -> io::Result<()> {
        let ends = [self.tree.iter().next(), self.tree.iter().next_back()];
        let found = match ends {
            [Some(first), Some(last)] => {
                let ((_, first), (_, last)) = (first.map_err(as_io)?, last.map_err(as_io)?);
                Some(Extent::of_blocks(&first, &last))
            }
            _ => None,
        };
        *self.extent.write().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }

    fn still(&self) -> RwLockReadGuard<'_, ()> {
        self.moving.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The block that a key belongs to, behind its fence.
    fn block_of(&self, key: &[u8]) -> io::Result<Option<(IVec, IVec)>> {
        let below = self.tree.range::<&[u8], _>(..=key).next_back();
        below.transpose().map_err(as_io)
    }

    /// Likewise, for whoever holds still and does not change it.
    fn near_block(
        &self,
        key: &[u8],
        _still: &RwLockReadGuard<'_, ()>,
    ) -> io::Result<Option<(IVec, IVec)>> {
        let changes = match self.near.find(key) {
            Ok(block) => return Ok(Some(block)),
            Err(changes) => changes,
        };
        let block = self.block_of(key)?;
        if let Some(block) = &block {
            self.near.was_read(block, changes, &self.tree)?;
        }
        Ok(block)
    }

    /// Writes what a block is to hold from now on, in several if it is much.
    fn put(&self, fence: &IVec, entries: &Merged<'_>, is_last: bool) -> io::Result<()> {
        let pieces = self.divided(&entries.all, is_last);
        let Some((first, rights)) = pieces.split_first() else {
            return self.make(|| self.tree.remove(fence).map(drop));
        };
        let moves = entries.kept > first.len();
        let first = encoded(first);
        let rights = rights.iter().filter_map(|piece| {
            let (fence, _) = piece.first()?;
            Some((*fence, encoded(piece)))
        });
        if !moves {
            // What is new may come bit by bit.
            self.make(|| self.tree.insert(fence, first).map(drop))?;
            for (fence, right) in rights {
                self.make(|| self.tree.insert(fence, right).map(drop))?;
            }
            return Ok(());
        }
        self.divide(fence, first, rights.collect())
    }

    /// The only way to change sled, wholly or not at all.
    fn make(&self, change: impl FnOnce() -> sled::Result<()>) -> io::Result<()> {
        #[cfg(test)]
        self.may_go_on()?;
        let changed = change().map_err(as_io);
        self.near.changed();
        changed
    }
}

/// What a block is to hold.
struct Merged<'a> {
    all: Vec<Entry<'a>>,
    /// How many of them there are up to the last that was in the block before, whatever became of that one.
    kept: usize,
}

/// A block's entries below the fence `next`, with those changes that belong there made.
fn merged<'a, 'c: 'a>(
    block: &'a IVec,
    next: Option<&[u8]>,
    changes: &mut Peekable<impl Iterator<Item = Change<'c>>>,
) -> io::Result<Merged<'a>> {
    let is_within = |key: &[u8]| next.is_none_or(|next| key < next);
    let (mut all, mut kept) = (Vec::new(), 0);
    for place in places(block) {
        let (key, value) = place?;
        let (key, value) = (slice(block, &key), slice(block, &value));
        if !is_within(key) {
            break;
        }
        while let Some((changed, after)) = changes.next_if(|(changed, _)| *changed < key) {
            all.extend(after.map(|after| (changed, after)));
        }
        if let Some((changed, after)) = changes.next_if(|(changed, _)| *changed == key) {
            all.extend(after.map(|after| (changed, after)));
        } else {
            all.push((key, value));
        }
        kept = all.len();
    }
    while let Some((changed, after)) = changes.next_if(|(changed, _)| is_within(changed)) {
        all.extend(after.map(|after| (changed, after)));
    }
    Ok(Merged { all, kept })
}

/// Bytes that an entry takes.
fn size((key, value): &Entry<'_>) -> usize {
    key.len() + value.len() + 4
}

fn encoded(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + entries.iter().map(size).sum::<usize>());
    bytes.push(FORMAT);
    for (key, value) in entries {
        put_length(&mut bytes, key.len());
        put_length(&mut bytes, value.len());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    bytes
}

/// Seven bits in a byte, the lowest first; the eighth says that more follow.
fn put_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

fn length(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let mut length = 0;
    for shift in (0..28).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

/// Where a block's entries lie, in order.
fn places(block: &[u8]) -> impl Iterator<Item = io::Result<Place>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let place = next_place(block, &mut at);
        if place.is_err() {
            at = block.len();
        }
        place.transpose()
    })
}

/// The place of the entry at `at`, which then is where the next one is. Nothing is a block too: that of a fence that is
/// not there.
fn next_place(block: &[u8], at: &mut usize) -> io::Result<Option<Place>> {
    if *at == 0 && !block.is_empty() {
        if block.first() != Some(&FORMAT) {
            return Err(not_a_block());
        }
        *at = 1;
    }
    if *at == block.len() {
        return Ok(None);
    }
    place(block, at).map(Some).ok_or_else(not_a_block)
}

fn place(block: &[u8], at: &mut usize) -> Option<Place> {
    let key = length(block, at)?;
    let value = length(block, at)?;
    let (key, value) = (*at..*at + key, *at + key..*at + key + value);
    *at = value.end;
    (value.end <= block.len()).then_some((key, value))
}

fn not_a_block() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an entry of sled is no block")
}

fn slice<'a>(block: &'a [u8], at: &Range<usize>) -> &'a [u8] {
    block.get(at.clone()).unwrap_or_default()
}

/// Without copying: it shares the block's memory.
fn part(block: &IVec, at: &Range<usize>) -> IVec {
    block.subslice(at.start, at.len())
}

#[cfg(test)]
mod tests;
