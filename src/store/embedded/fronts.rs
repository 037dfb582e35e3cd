//! Until when nothing of a queue is due, as far as it is known: most of what comes in finds nothing that goes before it, and
//! need not look for that each time.
//!
//! Promise: nothing of a queue is due before the instant that is noted for it. A place that is taken moves it to the front;
//! one that is given up leaves it, since a look would only find more time. Wherever something of a group is taken back,
//! everything is forgotten.

use std::collections::HashMap;

use sled::IVec;

use super::keys::{self, Tree};
use super::txn::Txn;
use crate::domain::Timestamp;
use crate::store::StoreError;

/// By the prefix of a queue's places.
type ByQueue = HashMap<IVec, Timestamp>;

/// What is noted of each queue.
#[derive(Debug, Default)]
pub(super) struct Fronts {
    deliveries: ByQueue,
    verifications: ByQueue,
}

impl Fronts {
    fn of(&mut self, tree: Tree) -> Option<&mut ByQueue> {
        match tree {
            Tree::DeliveryDue => Some(&mut self.deliveries),
            Tree::VerifyDue => Some(&mut self.verifications),
            _ => None,
        }
    }

    /// Before when nothing of a queue is due; `None`: nothing is known.
    pub(super) fn get(&mut self, tree: Tree, queue: &[u8]) -> Option<Timestamp> {
        self.of(tree)?.get(queue).copied()
    }

    /// Somebody looked: the first of a queue is due then; `None`: there is none.
    pub(super) fn found(&mut self, tree: Tree, queue: &[u8], first: Option<Timestamp>) {
        if let Some(fronts) = self.of(tree) {
            let front = first.unwrap_or(Timestamp::from_millis(u64::MAX));
            fronts.insert(IVec::from(queue), front);
        }
    }

    /// A place is taken.
    pub(super) fn taken(&mut self, tree: Tree, place: &[u8]) {
        let Some(fronts) = self.of(tree) else {
            return;
        };
        match keys::queue_of(tree, place) {
            Some((queue, due)) => {
                if let Some(front) = fronts.get_mut(queue) {
                    *front = due.min(*front);
                }
            }
            // Whoever claims reports it.
            None => fronts.clear(),
        }
    }

    /// Something was taken back.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Txn<'_> {
    /// Whether it is known, without a look, that nothing of a queue is due.
    pub(super) fn knows_nothing_due(&mut self, tree: Tree, queue: &[u8], now: Timestamp) -> bool {
        let fronts = self.fronts.as_mut();
        let is_known = fronts
            .and_then(|fronts| fronts.get(tree, queue))
            .is_some_and(|front| front > now);
        debug_assert!(
            !is_known || !matches!(self.first_due(tree, queue), Ok(Some(due)) if due <= now),
            "something is due before what was noted"
        );
        is_known
    }

    /// Whether nothing of a queue is due; it is looked for where that is not known. `queue` is what its places begin with.
    pub(super) fn is_nothing_due(
        &mut self,
        tree: Tree,
        queue: &[u8],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if self.knows_nothing_due(tree, queue, now) {
            return Ok(true);
        }
        let first = self.first_due(tree, queue)?;
        if let Some(fronts) = &mut self.fronts {
            fronts.found(tree, queue, first);
        }
        Ok(first.is_none_or(|due| due > now))
    }

    /// When the first of a queue is due. One that cannot be read counts as due: it is for whoever claims to report.
    fn first_due(&self, tree: Tree, queue: &[u8]) -> Result<Option<Timestamp>, StoreError> {
        let first = self.first(tree, queue, 1)?.pop();
        Ok(first.map(|(place, _)| {
            keys::queue_of(tree, &place).map_or(Timestamp::from_millis(0), |(_, due)| due)
        }))
    }
}
