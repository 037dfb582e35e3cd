//! One group of use cases on its way to disk: what they read is what is stored, overlaid by what those before them in
//! the group decided.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

use sled::IVec;

use super::blocks::Bounds;
use super::codec::{self, Record};
use super::engine::{Changes, Engine, is_empty};
use super::fronts::Fronts;
use super::keys::{self, Tree};
use crate::domain::{EndpointName, MerchantNo};
use crate::store::{Begin, DeliveryClaim, Hand, Lane, Signals, StoreError, VerifyClaim};

/// A key and its value.
pub(super) type Pair = (IVec, IVec);

/// What a key held in the overlay before: nothing, or a change (a value, or its deletion).
type Before = Option<Option<IVec>>;

/// Entries that are read in one go: whoever wants more walks.
const AT_ONCE: usize = 256;

/// What a group changes in a tree, as far as it goes.
pub(super) type Overlay = BTreeMap<IVec, Option<IVec>>;

/// The free room on disk, as far as this group needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Free bytes.
    pub(super) free: u64,
    /// What `store.min_free` asks for.
    pub(super) min_free: u64,
}

impl Room {
    /// Whatever there is: for what only reads, and for what has been accepted already.
    pub(super) const ANY: Self = Self {
        free: u64::MAX,
        min_free: 0,
    };
}

/// What is to happen once a group counts.
#[derive(Default)]
pub(super) struct After {
    /// Lanes with work for somebody to look for.
    pub(super) rings: Vec<Lane>,
    /// Work that is claimed already.
    pub(super) begun: Vec<Begin>,
}

/// A group's transaction.
pub(super) struct Txn<'a> {
    engine: &'a Engine,
    overlay: BTreeMap<Tree, Overlay>,
    /// What the current use case overwrote, to take it back if it fails.
    undo: Vec<(Tree, IVec, Before)>,
    after: After,
    /// Whose free hands work is claimed for as it comes; `None`: nobody's.
    signals: Option<&'a Signals>,
    /// Until when nothing is due; `None`: not known here.
    pub(super) fronts: Option<&'a mut Fronts>,
    room: Room,
    /// Somebody is told, on the strength of this group, what must survive a power cut.
    must_sync: bool,
}

impl<'a> Txn<'a> {
    pub(super) const fn new(engine: &'a Engine, room: Room) -> Self {
        Self {
            engine,
            overlay: BTreeMap::new(),
            undo: Vec::new(),
            after: After {
                rings: Vec::new(),
                begun: Vec::new(),
            },
            signals: None,
            fronts: None,
            room,
            must_sync: false,
        }
    }

    /// What is written next: of all places that are taken, note is kept.
    pub(super) const fn noting(mut self, fronts: &'a mut Fronts) -> Self {
        self.fronts = Some(fronts);
        self
    }

    /// Work that comes in is claimed for whoever has a hand free.
    pub(super) const fn handing_to(mut self, signals: &'a Signals) -> Self {
        self.signals = Some(signals);
        self
    }

    /// What is overlaid.
    pub(super) const fn engine(&self) -> &'a Engine {
        self.engine
    }

    /// The group is to be synced before anybody is answered.
    pub(super) const fn require_sync(&mut self) {
        self.must_sync = true;
    }

    /// Whether the group is to be synced.
    pub(super) const fn must_sync(&self) -> bool {
        self.must_sync
    }

    /// Runs one use case; if it fails, nothing of it stays.
    pub(super) fn scoped<R>(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        self.undo.clear();
        let (rings, begun) = (self.after.rings.len(), self.after.begun.len());
        let result = run(self);
        if result.is_err() {
            self.after.rings.truncate(rings);
            self.after.begun.truncate(begun);
            // What was found by one that changed nothing stays true.
            if let Some(fronts) = self.fronts.as_mut().filter(|_| !self.undo.is_empty()) {
                fronts.forget();
            }
            while let Some((tree, key, before)) = self.undo.pop() {
                let entries = self.overlay.entry(tree).or_default();
                match before {
                    Some(value) => entries.insert(key, value),
                    None => entries.remove(&key),
                };
            }
        }
        result
    }

    /// # Errors
    /// The disk is low.
    pub(super) fn require_room(&self) -> Result<(), StoreError> {
        // A disk without a single byte, or one that cannot be asked, has no room whatever is asked for.
        if self.room.free >= self.room.min_free.max(1) {
            return Ok(());
        }
        Err(StoreError::DiskLow {
            path: self.engine.path().to_owned(),
            free: self.room.free,
            min_free: self.room.min_free,
        })
    }

    /// The record of a key.
    pub(super) fn get<R: Record>(&self, key: &[u8]) -> Result<Option<R>, StoreError> {
        if let Some(change) = self
            .overlay
            .get(&R::TREE)
            .and_then(|entries| entries.get(key))
        {
            return change
                .as_deref()
                .map(|bytes| codec::decode(key, bytes))
                .transpose();
        }
        let stored = self.engine.get(R::TREE, key)?;
        stored.map(|bytes| codec::decode(key, &bytes)).transpose()
    }

    /// Stores a record.
    pub(super) fn put<R: Record>(
        &mut self,
        key: impl Into<IVec>,
        record: R,
    ) -> Result<(), StoreError> {
        let key = key.into();
        let bytes = codec::encode(&key, record)?;
        self.put_raw(R::TREE, key, bytes);
        Ok(())
    }

    /// Stores raw bytes: index entries.
    pub(super) fn put_raw(&mut self, tree: Tree, key: impl Into<IVec>, value: impl Into<IVec>) {
        self.change(tree, key.into(), Some(value.into()));
    }

    /// Deletes an entry.
    pub(super) fn delete(&mut self, tree: Tree, key: impl Into<IVec>) {
        self.change(tree, key.into(), None);
    }

    fn change(&mut self, tree: Tree, key: IVec, value: Option<IVec>) {
        if let Some(fronts) = self.fronts.as_mut().filter(|_| value.is_some()) {
            fronts.taken(tree, &key);
        }
        let before = self
            .overlay
            .entry(tree)
            .or_default()
            .insert(key.clone(), value);
        self.undo.push((tree, key, before));
    }

    /// The bytes of a key.
    pub(super) fn get_raw(&self, tree: Tree, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        let change = self.overlay.get(&tree).and_then(|entries| entries.get(key));
        if let Some(change) = change {
            return Ok(change.clone());
        }
        self.engine.get(tree, key)
    }

    /// The first `limit` entries whose key begins with `prefix`.
    pub(super) fn first(
        &self,
        tree: Tree,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        self.first_from(tree, prefix, prefix, limit)
    }

    /// The first `limit` entries from the key `from` on that begin with `prefix`.
    pub(super) fn first_from(
        &self,
        tree: Tree,
        from: &[u8],
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let end = keys::end_of(prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.between(tree, (Bound::Included(from), end), limit, false)
    }

    /// The last `limit` entries before the key `end` that begin with `prefix`, the last first.
    pub(super) fn last_before(
        &self,
        tree: Tree,
        prefix: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let bounds = (Bound::Included(prefix), Bound::Excluded(end));
        self.between(tree, bounds, limit, true)
    }

    /// Up to `limit` entries within bounds from one end.
    fn between(
        &self,
        tree: Tree,
        bounds: Bounds<'_>,
        limit: usize,
        is_backward: bool,
    ) -> Result<Vec<Pair>, StoreError> {
        if is_empty(bounds) {
            return Ok(Vec::new());
        }
        let changed = self.changes(tree).range::<[u8], _>(bounds);
        let (changed, order): (Vec<_>, _) = if is_backward {
            (changed.rev().collect(), Ordering::Greater)
        } else {
            (changed.collect(), Ordering::Less)
        };
        // Each change hides one of what is stored at most. Most want little, and that is read in one go.
        let enough = limit.saturating_add(changed.len());
        if enough <= AT_ONCE {
            let stored = self.engine.chunk(tree, bounds, enough, is_backward)?;
            if changed.is_empty() {
                return Ok(stored);
            }
            return merged(stored.into_iter().map(Ok), changed, limit, order);
        }
        let (start, end) = bounds;
        let (start, end) = (start.map(IVec::from), end.map(IVec::from));
        let stored = self.engine.range(tree, start, end)?;
        if is_backward {
            merged(stored.rev(), changed, limit, order)
        } else {
            merged(stored, changed, limit, order)
        }
    }

    /// What the group changes in a tree, as far as it goes.
    pub(super) fn changes(&self, tree: Tree) -> &Overlay {
        static NOTHING: Overlay = Overlay::new();
        self.overlay.get(&tree).unwrap_or(&NOTHING)
    }

    /// Rings for a lane once the group is durable.
    pub(super) fn ring(&mut self, lane: Lane) {
        // Use cases that come together are mostly for the same one.
        if self.after.rings.last() != Some(&lane) {
            self.after.rings.push(lane);
        }
    }

    /// A free hand for a delivery.
    pub(super) fn deliverer(&self, endpoint: &EndpointName) -> Option<Hand<DeliveryClaim>> {
        self.signals?.deliverer(endpoint)
    }

    /// A free hand for a verification that somebody trusted rang for.
    pub(super) fn verifier(&self, merchant: &MerchantNo) -> Option<Hand<VerifyClaim>> {
        self.signals?.verifier(merchant)
    }

    /// Gives a hand what was claimed for it, once the group counts.
    pub(super) fn begin<C>(&mut self, hand: Hand<C>, claim: C) {
        self.after.begun.push((hand.take)(claim));
    }

    /// What is to be written, and what is to happen after.
    pub(super) fn finish(self) -> (Changes, After) {
        let changes = self
            .overlay
            .into_iter()
            .map(|(tree, entries)| (tree, entries.into_iter().collect::<Vec<_>>()))
            .filter(|(_, entries)| !entries.is_empty())
            .collect();
        (changes, self.after)
    }
}

/// Stored entries overlaid by changes, both in the same order of keys; `earlier` is how a key that comes first compares.
fn merged(
    stored: impl Iterator<Item = Result<(IVec, IVec), StoreError>>,
    changed: Vec<(&IVec, &Option<IVec>)>,
    limit: usize,
    earlier: Ordering,
) -> Result<Vec<Pair>, StoreError> {
    let (mut stored, mut changed) = (stored.peekable(), changed.into_iter().peekable());
    let mut found = Vec::new();
    while found.len() < limit {
        let take_stored = match (stored.peek(), changed.peek()) {
            (None, None) => break,
            (Some(Err(_)), _) | (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(Ok((key, _))), Some((change, _))) => key.cmp(change) == earlier,
        };
        if take_stored {
            if let Some(entry) = stored.next() {
                found.push(entry?);
            }
        } else if let Some((key, value)) = changed.next() {
            let same = |entry: &Result<(IVec, IVec), StoreError>| matches!(entry, Ok((stored, _)) if stored == key);
            let _overwritten = stored.next_if(same);
            if let Some(value) = value {
                found.push((key.clone(), value.clone()));
            }
        }
    }
    Ok(found)
}
