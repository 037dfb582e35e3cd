//! What was committed lately and is not in sled yet: two layers of changes over sled's trees.
//!
//! Promise: a reader who asks the active layer, then the sealed one, then sled, sees every change that was applied, the
//! newest of each key, at every moment of a layer's way into sled. What came and went again while it was here (a place
//! in a queue, a lease) never reaches sled at all, which is most of the work of a settled callback.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use sled::IVec;

use super::blocks::Bounds;
use super::keys::Tree;
use super::stretches::Stretches;

type Entries = BTreeMap<IVec, Option<IVec>>;

/// Changes, the newest of each key: a value, or `None` where it was deleted.
#[derive(Debug)]
pub(super) struct Layer {
    trees: Vec<Entries>,
    /// Keys in it.
    pub(super) entries: usize,
    /// Of these, deletions since the layer began; one that was set again since counts all the same. Who walks along a
    /// tree passes over them all.
    pub(super) hidden: usize,
    /// The last journal sequence in it; 0 while there is none.
    pub(super) sequence: u64,
}

impl Default for Layer {
    fn default() -> Self {
        Self {
            trees: Tree::ALL.iter().map(|_| Entries::new()).collect(),
            entries: 0,
            hidden: 0,
            sequence: 0,
        }
    }
}

impl Layer {
    /// The change of a key, if it was changed.
    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Option<&Option<IVec>> {
        self.trees.get(usize::from(tree as u8))?.get(key)
    }

    /// Whether a key has a value here.
    pub(super) fn is_set(&self, tree: Tree, key: &[u8]) -> bool {
        self.get(tree, key).is_some_and(Option::is_some)
    }

    fn set(&mut self, tree: Tree, key: IVec, value: Option<IVec>) {
        self.hidden += usize::from(value.is_none());
        if let Some(entries) = self.trees.get_mut(usize::from(tree as u8)) {
            self.entries += usize::from(entries.insert(key, value).is_none());
        }
    }

    fn forget(&mut self, tree: Tree, key: &[u8]) {
        if let Some(entries) = self.trees.get_mut(usize::from(tree as u8)) {
            self.entries -= usize::from(entries.remove(key).is_some());
        }
    }

    fn range(&self, tree: Tree, bounds: Bounds<'_>) -> Option<Range<'_>> {
        let entries = self.trees.get(usize::from(tree as u8))?;
        Some(entries.range::<[u8], _>(bounds))
    }

    /// Each tree that has changes, with them, in the order of their keys.
    pub(super) fn changes(
        &self,
    ) -> impl Iterator<Item = (Tree, impl Iterator<Item = (&IVec, Option<&IVec>)>)> {
        let trees = Tree::ALL.iter().copied().zip(&self.trees);
        trees
            .filter(|(_, entries)| !entries.is_empty())
            .map(|(tree, entries)| {
                let changes = entries.iter().map(|(key, value)| (key, value.as_ref()));
                (tree, changes)
            })
    }
}

type Range<'a> = btree_map::Range<'a, IVec, Option<IVec>>;

/// One change on its way into the active layer.
pub(super) enum Step {
    /// Sets a key.
    Put(Tree, IVec, IVec),
    /// Hides a key that a layer beneath may have.
    Hide(Tree, IVec),
    /// Takes a key away that was set here, and that nothing beneath has.
    Forget(Tree, IVec),
}

/// Both layers.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Takes changes in.
    pub(super) active: Layer,
    /// On its way into sled; it does not change any more.
    pub(super) sealed: Option<Arc<Layer>>,
    /// The active layer has changes that are in the journal's file but not synced yet.
    pub(super) is_loose: bool,
    /// The last sequence applied.
    pub(super) sequence: u64,
    /// The last sequence that sled has.
    pub(super) drained: u64,
    /// What is known of the queues, in the layers and in sled.
    queues: Stretches,
}

impl Recent {
    /// Nothing, over a sled that has everything up to `sequence`.
    pub(super) fn at(sequence: u64) -> Self {
        Self {
            sequence,
            drained: sequence,
            ..Self::default()
        }
    }

    /// Takes changes in: of a synced group with its sequence, or of one that is not synced.
    pub(super) fn apply(&mut self, steps: Vec<Step>, sequence: Option<u64>) {
        self.is_loose = sequence.is_none();
        if let Some(sequence) = sequence {
            self.sequence = sequence;
            self.active.sequence = sequence;
        }
        let queues = &self.queues;
        for step in steps {
            match step {
                Step::Put(tree, key, value) => {
                    queues.note(tree, &key, Some(&value));
                    self.active.set(tree, key, Some(value));
                }
                Step::Hide(tree, key) => {
                    queues.note(tree, &key, None);
                    self.active.set(tree, key, None);
                }
                Step::Forget(tree, key) => {
                    queues.note(tree, &key, None);
                    self.active.forget(tree, &key);
                }
            }
        }
    }

    /// What is known of the queues. Whoever may read has all the time that nothing changes.
    pub(super) const fn queues(&self) -> &Stretches {
        &self.queues
    }

    /// The change of a key in either layer.
    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Option<&Option<IVec>> {
        let sealed = || self.sealed.as_ref().and_then(|layer| layer.get(tree, key));
        self.active.get(tree, key).or_else(sealed)
    }

    /// The first `limit` entries within bounds, or the last ones, the last first, of sled's `stored` (which come in
    /// that order) overlaid by the layers.
    ///
    /// # Errors
    /// The first error of `stored`.
    pub(super) fn overlaid<E>(
        &self,
        tree: Tree,
        bounds: Bounds<'_>,
        stored: impl Iterator<Item = Result<(IVec, IVec), E>>,
        limit: usize,
        is_backward: bool,
    ) -> Result<Vec<(IVec, IVec)>, E> {
        let mut active = Side::new(self.active.range(tree, bounds), is_backward);
        let sealed = self.sealed.as_ref();
        let sealed = sealed.and_then(|layer| layer.range(tree, bounds));
        let mut sealed = Side::new(sealed, is_backward);
        let mut stored = stored.peekable();
        let mut found = Vec::with_capacity(limit.min(64));
        while found.len() < limit {
            let below = match stored.peek() {
                Some(Err(_)) => match stored.next() {
                    Some(Err(error)) => return Err(error),
                    _ => None,
                },
                Some(Ok((key, _))) => Some(key.clone()),
                None => None,
            };
            let heads = [active.head(), sealed.head(), below.as_ref()];
            let heads = heads.into_iter().flatten();
            let next = if is_backward {
                heads.max()
            } else {
                heads.min()
            };
            let Some(next) = next.cloned() else { break };
            // Of the same key the uppermost counts, and those beneath are passed over.
            let upper = active.take(&next);
            let middle = sealed.take(&next);
            let lower = if below.as_ref() == Some(&next) {
                stored.next().transpose()?
            } else {
                None
            };
            let value = match upper.or(middle) {
                Some(change) => change,
                None => lower.map(|(_, value)| value),
            };
            found.extend(value.map(|value| (next, value)));
        }
        Ok(found)
    }
}

/// A layer's changes within bounds, from one end.
struct Side<'a> {
    range: Option<Range<'a>>,
    head: Option<(&'a IVec, &'a Option<IVec>)>,
    is_backward: bool,
}

impl<'a> Side<'a> {
    fn new(range: Option<Range<'a>>, is_backward: bool) -> Self {
        let mut side = Self {
            range,
            head: None,
            is_backward,
        };
        side.step();
        side
    }

    fn step(&mut self) {
        let range = self.range.as_mut();
        self.head = if self.is_backward {
            range.and_then(Range::next_back)
        } else {
            range.and_then(Range::next)
        };
    }

    fn head(&self) -> Option<&IVec> {
        self.head.map(|(key, _)| key)
    }

    /// The change of `key`, if it is the next.
    fn take(&mut self, key: &IVec) -> Option<Option<IVec>> {
        let (_, change) = self.head.filter(|(head, _)| *head == key)?;
        let change = change.clone();
        self.step();
        Some(change)
    }
}
