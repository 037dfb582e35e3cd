//! What is kept in memory, so that whoever has nothing to do with fan-outs does not pay for them, and the others little.
//! All of it can be found out by reading.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sled::IVec;

use super::hearers::Remembered;
use super::lists::Lists;
use super::turns::{Ahead, ToLookAt};
use crate::domain::{EndpointName, Health};
use crate::store::StoreError;
use crate::store::embedded::codec;
use crate::store::embedded::engine::{Changes, locked};
use crate::store::embedded::keys::{self, Tree};
use crate::store::embedded::txn::Txn;

/// What is remembered of fan-outs.
#[derive(Debug)]
pub(in crate::store::embedded) struct Known {
    /// Parts may be left that can be worked off.
    pub(super) is_any: AtomicBool,
    pub(super) to_look_at: Mutex<ToLookAt>,
    pub(super) ahead: Mutex<Ahead>,
    /// Parts that are left alone because a record is damaged.
    pub(super) skipped: Mutex<BTreeSet<IVec>>,
    pub(super) lists: Mutex<Lists>,
    pub(super) hearers: Mutex<Remembered>,
    held: Mutex<Held>,
}

/// Whether endpoints are held, of those that were asked about.
#[derive(Debug, Default)]
struct Held {
    of: HashMap<Vec<u8>, bool>,
    /// Those that are down and have nothing to be probed with: until something is in their queue they count as not held.
    wanting: HashSet<Vec<u8>>,
    /// Grows whenever one of them changes.
    state: u64,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            is_any: AtomicBool::new(true),
            to_look_at: Mutex::default(),
            ahead: Mutex::default(),
            skipped: Mutex::default(),
            lists: Mutex::default(),
            hearers: Mutex::default(),
            held: Mutex::default(),
        }
    }
}

impl Known {
    /// Whether parts may be left. Until somebody has looked, they may.
    pub(in crate::store::embedded) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    /// When the next part is due; `None`: none is left. [`is_any`](Self::is_any) holds until somebody has looked in vain.
    pub(in crate::store::embedded) fn due(&self, now: Instant) -> Option<Instant> {
        if !self.is_any() {
            return None;
        }
        if locked(&self.to_look_at).is_any() {
            return Some(now);
        }
        Some(locked(&self.ahead).due(now))
    }

    /// Whether a part for endpoints that are held is due.
    pub(super) fn is_ahead_due(&self, now: Instant) -> bool {
        locked(&self.ahead).due(now) <= now
    }

    /// Nothing may be made ahead any more, for an hour.
    #[cfg(test)]
    pub(in crate::store::embedded) fn exhaust(&self, now: Instant) {
        locked(&self.ahead).exhaust(now);
    }

    /// These changes are about to be seen.
    pub(in crate::store::embedded) fn note(&self, changes: &Changes) {
        for (tree, entries) in changes {
            match tree {
                Tree::FanOut => {
                    self.is_any.store(true, Ordering::Relaxed);
                    let mut to_look_at = locked(&self.to_look_at);
                    for (part, value) in entries {
                        to_look_at.note(part, value.is_some());
                    }
                }
                Tree::FanOutLists => {
                    let mut lists = locked(&self.lists);
                    for (list, value) in entries {
                        lists.note(list, value.is_some());
                    }
                }
                Tree::Endpoints => {
                    let mut held = locked(&self.held);
                    for (endpoint, health) in entries {
                        if held.note(endpoint, health.as_deref()) {
                            locked(&self.to_look_at).all();
                        }
                    }
                }
                Tree::DeliveryDue => {
                    let mut held = locked(&self.held);
                    for (place, value) in entries {
                        held.queued(place, value.is_some());
                    }
                }
                _ => {}
            }
        }
    }

    /// An endpoint is down and has nothing that it could be probed with when the time has come.
    pub(in crate::store::embedded) fn want(&self, endpoint: &EndpointName) {
        let mut held = locked(&self.held);
        if held.wanting.insert(endpoint.as_str().as_bytes().to_vec()) {
            held.state += 1;
            locked(&self.to_look_at).all();
        }
    }

    /// The store was made again.
    pub(in crate::store::embedded) fn forget(&self) {
        self.is_any.store(true, Ordering::Relaxed);
        *locked(&self.to_look_at) = ToLookAt::default();
        locked(&self.skipped).clear();
        *locked(&self.lists) = Lists::default();
        *locked(&self.hearers) = Remembered::default();
        *locked(&self.held) = Held::default();
    }

    /// A number that stays the same as long as nobody who was asked about begins or ceases to be held.
    pub(super) fn state(&self) -> u64 {
        locked(&self.held).state
    }
}

impl Held {
    /// Something was put in a queue, or taken out of it.
    fn queued(&mut self, place: &[u8], is_there: bool) {
        if self.wanting.is_empty() || !is_there {
            return;
        }
        let endpoint = keys::parse_endpoint(place);
        let is_wanting =
            endpoint.is_some_and(|endpoint| self.wanting.remove(endpoint.as_str().as_bytes()));
        self.state += u64::from(is_wanting);
    }

    /// Returns whether the endpoint was held and no longer is.
    fn note(&mut self, endpoint: &[u8], health: Option<&[u8]>) -> bool {
        // Whether it still lacks a probe is found out when one is due.
        self.state += u64::from(self.wanting.remove(endpoint));
        let Some(held) = self.of.get_mut(endpoint) else {
            return false;
        };
        let now = holds(
            health
                .map(|bytes| codec::decode(endpoint, bytes))
                .transpose(),
        );
        if now.as_ref().ok() == Some(held) {
            return false;
        }
        self.state += 1;
        match now {
            Ok(now) => {
                *held = now;
                !now
            }
            Err(_found_again_where_it_is_read) => {
                self.of.remove(endpoint);
                true
            }
        }
    }
}

/// Whether an endpoint of this record is held. One whose record is damaged is: it waits for nobody but itself.
fn holds(health: Result<Option<Health>, StoreError>) -> Result<bool, StoreError> {
    match health {
        Ok(health) => Ok(health.unwrap_or_default().holds()),
        Err(StoreError::Damaged { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether an endpoint is held, and has something to be probed with if it is down.
pub(super) fn is_held(txn: &Txn<'_>, endpoint: &EndpointName) -> Result<bool, StoreError> {
    let key = endpoint.as_str().as_bytes();
    if txn.changes(Tree::Endpoints).contains_key(key) {
        return holds(txn.get(key));
    }
    let mut known = locked(&txn.engine().fan_out.held);
    let held = match known.of.get(key) {
        Some(held) => *held,
        None => {
            let held = holds(txn.get(key))?;
            known.of.insert(key.to_vec(), held);
            held
        }
    };
    Ok(held && !known.wanting.contains(key))
}
