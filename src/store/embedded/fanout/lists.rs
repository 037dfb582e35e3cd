//! Who is to hear, written down once for all events that the same endpoints hear: the names of a thousand endpoints are
//! more than everything else that an event leaves on disk.
//!
//! Promise: whatever refers to a list finds it. A list is written in the transaction of the first event that needs it,
//! under the digest of what it says, never changed, and deleted only while nothing refers to any list.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};
use sled::IVec;

use super::known::is_held;
use super::{Rest, Target};
use crate::domain::Route;
use crate::store::StoreError;
use crate::store::embedded::codec::{self, damaged};
use crate::store::embedded::engine::locked;
use crate::store::embedded::keys::Tree;
use crate::store::embedded::txn::Txn;

/// Endpoints on a list. Where more are to hear there are several: a record is read and written as a whole.
pub(super) const LONGEST: usize = 256;

/// Lists kept in memory, some 15 kB each.
pub(super) const RECENT: usize = 64;

/// Lists deleted at a time, at least, where so many are not used.
const FORGOTTEN: usize = 64;

/// The key of a list: the digest of its record.
pub(in crate::store::embedded) type ListId = [u8; 32];

/// Endpoints, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::embedded) struct List {
    pub(in crate::store::embedded) targets: Vec<Target>,
}

impl List {
    /// Who is at a place.
    pub(super) fn at(&self, place: u32) -> Option<&Target> {
        self.targets.get(usize::try_from(place).ok()?)
    }

    /// Those who are left.
    pub(in crate::store::embedded) fn left(&self, rest: &Rest) -> Vec<Target> {
        let left = rest.places(self.targets.len());
        left.filter_map(|place| self.at(place).cloned()).collect()
    }
}

/// The key under which a list's record lies.
pub(in crate::store::embedded) fn id_of(record: &[u8]) -> ListId {
    Sha256::digest(record).into()
}

/// A list that was used lately.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) id: ListId,
    pub(super) list: List,
    record: IVec,
    /// The places of those that are not held, as of a state of the endpoints.
    up: Mutex<Option<(u64, Arc<[u32]>)>>,
}

impl Used {
    fn new(list: List) -> Result<Self, StoreError> {
        let record = codec::encode(&[], list.clone())?;
        Ok(Self::stored(id_of(&record), list, record))
    }

    const fn stored(id: ListId, list: List, record: IVec) -> Self {
        let up = Mutex::new(None);
        Self {
            id,
            list,
            record,
            up,
        }
    }

    /// The places of those that are not held, in their order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn up(&self, txn: &Txn<'_>) -> Result<Arc<[u32]>, StoreError> {
        let state = txn.engine().fan_out.state();
        let is_as_stored = txn.changes(Tree::Endpoints).is_empty();
        let known = locked(&self.up).clone();
        if let Some((_, places)) = known.filter(|(of, _)| is_as_stored && *of == state) {
            return Ok(places);
        }
        let mut places = Vec::new();
        for (place, target) in (0..).zip(&self.list.targets) {
            if !is_held(txn, &target.endpoint)? {
                places.push(place);
            }
        }
        let places: Arc<[u32]> = places.into();
        if is_as_stored {
            *locked(&self.up) = Some((state, Arc::clone(&places)));
        }
        Ok(places)
    }

    /// Sees to it that it is stored.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn store(&self, txn: &mut Txn<'_>) -> Result<(), StoreError> {
        let lists = &txn.engine().fan_out.lists;
        let is_stored = match txn.changes(Tree::FanOutLists).get(self.id.as_slice()) {
            Some(change) => change.is_some(),
            None if locked(lists).stored.contains(&self.id) => true,
            None => {
                let is_stored = txn.get_raw(Tree::FanOutLists, &self.id)?.is_some();
                locked(lists).note(&self.id, is_stored);
                is_stored
            }
        };
        if !is_stored {
            txn.put_raw(Tree::FanOutLists, &self.id, self.record.clone());
        }
        Ok(())
    }
}

/// What is known of lists without reading.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// The last used first.
    recent: VecDeque<Arc<Used>>,
    /// Those that are stored, of those that were asked about.
    stored: HashSet<ListId>,
}

impl Lists {
    /// A list was stored, or deleted.
    pub(super) fn note(&mut self, list: &[u8], is_stored: bool) {
        let Ok(id) = ListId::try_from(list) else {
            return;
        };
        if is_stored {
            self.stored.insert(id);
        } else {
            self.stored.remove(&id);
        }
    }

    fn find(&mut self, is_it: impl FnMut(&Arc<Used>) -> bool) -> Option<Arc<Used>> {
        let at = self.recent.iter().position(is_it)?;
        let found = self.recent.remove(at)?;
        self.recent.push_front(Arc::clone(&found));
        Some(found)
    }

    fn add(&mut self, used: Used) -> Arc<Used> {
        let used = Arc::new(used);
        self.recent.truncate(RECENT - 1);
        self.recent.push_front(Arc::clone(&used));
        used
    }
}

/// The list of these endpoints.
///
/// # Errors
/// It cannot be written as a record.
pub(super) fn of(txn: &Txn<'_>, routes: &[&Route]) -> Result<Arc<Used>, StoreError> {
    let targets = routes.iter().copied().map(Target::of).collect();
    let wanted = Used::new(List { targets })?;
    let mut lists = locked(&txn.engine().fan_out.lists);
    let found = lists.find(|used| used.id == wanted.id);
    Ok(found.unwrap_or_else(|| lists.add(wanted)))
}

/// The list of this id.
///
/// # Errors
/// It is not there or damaged, or the store cannot be read.
pub(super) fn read(txn: &Txn<'_>, id: &ListId) -> Result<Arc<Used>, StoreError> {
    let lists = &txn.engine().fan_out.lists;
    if let Some(found) = locked(lists).find(|used| used.id == *id) {
        return Ok(found);
    }
    let record = txn.get_raw(Tree::FanOutLists, id)?;
    let record = record.ok_or_else(|| damaged(Tree::FanOutLists, id, "it is not there"))?;
    let list = decode(id, &record)?;
    Ok(locked(lists).add(Used::stored(*id, list, record)))
}

/// The list of this record, if it is what its key says.
///
/// # Errors
/// It is damaged.
pub(in crate::store::embedded) fn decode(key: &[u8], record: &[u8]) -> Result<List, StoreError> {
    if id_of(record) == *key {
        return codec::decode(key, record);
    }
    let why = "its key is not the digest of what it says";
    Err(damaged(Tree::FanOutLists, key, why))
}

/// Deletes lists that were not used lately, some at a time, if no part is left at all that could refer to one.
///
/// # Errors
/// The store cannot be read.
pub(in crate::store::embedded) fn forget_unused(txn: &mut Txn<'_>) -> Result<(), StoreError> {
    if !txn.first(Tree::FanOut, &[], 1)?.is_empty() {
        return Ok(());
    }
    let is_recent = {
        let lists = locked(&txn.engine().fan_out.lists);
        let recent = lists.recent.iter().map(|used| used.id);
        recent.collect::<HashSet<ListId>>()
    };
    for (id, _) in txn.first(Tree::FanOutLists, &[], RECENT + FORGOTTEN)? {
        if !is_recent.contains(&*id) {
            txn.delete(Tree::FanOutLists, id);
        }
    }
    Ok(())
}
