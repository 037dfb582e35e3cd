//! A part as it is read: with the names of those who are left in it.

use std::sync::Arc;

use sled::IVec;

use super::known::is_held;
use super::lists::{self, Used};
use super::{PART, Part, Target};
use crate::domain::{EndpointName, Event};
use crate::store::StoreError;
use crate::store::embedded::codec::{self, damaged};
use crate::store::embedded::keys::Tree;
use crate::store::embedded::txn::{Pair, Txn};

/// A part that was read. Those in it have places: on their list, or in the order of their names here.
pub(super) struct Open {
    pub(super) key: IVec,
    who: Who,
}

enum Who {
    Named(Vec<Target>),
    Of(super::Rest, Arc<Used>),
}

impl Open {
    /// # Errors
    /// It or its list is damaged, or the store cannot be read.
    pub(super) fn read(txn: &Txn<'_>, (key, bytes): Pair) -> Result<Self, StoreError> {
        let who = match codec::decode(&key, &bytes)? {
            Part::Named(targets) => Who::Named(targets),
            Part::Of(rest) => {
                let used = lists::read(txn, &rest.list)?;
                Who::Of(rest, used)
            }
        };
        Ok(Self { key, who })
    }

    /// The event that it is a part of.
    ///
    /// # Errors
    /// It is not there or damaged, or the store cannot be read.
    pub(super) fn event(&self, txn: &Txn<'_>) -> Result<Event, StoreError> {
        let id = self.key.first_chunk::<16>();
        let id = id.ok_or_else(|| damaged(Tree::FanOut, &self.key, "no event id"))?;
        let event: Option<Event> = txn.get(id)?;
        event.ok_or_else(|| damaged(Tree::Events, id, "the event of a fan-out is not there"))
    }

    /// Whether those in it stand on a list.
    pub(super) const fn is_listed(&self) -> bool {
        matches!(self.who, Who::Of(..))
    }

    /// Those who have a place.
    fn all(&self) -> &[Target] {
        match &self.who {
            Who::Named(targets) => targets,
            Who::Of(_, used) => &used.list.targets,
        }
    }

    fn is_left(&self, place: u32) -> bool {
        match &self.who {
            Who::Named(_) => true,
            Who::Of(rest, _) => rest.is_left(place),
        }
    }

    /// Who is at a place.
    pub(super) fn at(&self, place: u32) -> Option<&Target> {
        self.all().get(usize::try_from(place).ok()?)
    }

    /// The places of those who are left.
    pub(super) fn places(&self) -> impl Iterator<Item = u32> {
        let places = (0..).zip(self.all()).map(|(place, _)| place);
        places.filter(|place| self.is_left(*place))
    }

    /// Those who are left.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.places().filter_map(|place| self.at(place))
    }

    /// The place of an endpoint, if it is left.
    pub(super) fn place_of(&self, endpoint: &EndpointName) -> Option<u32> {
        let is_it = |target: &Target| target.endpoint == *endpoint;
        let place = u32::try_from(self.all().iter().position(is_it)?).ok()?;
        self.is_left(place).then_some(place)
    }

    /// The places of some who are left and not held. If one is of those that are named, it is all of these.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn up(&self, txn: &Txn<'_>) -> Result<Vec<u32>, StoreError> {
        match &self.who {
            Who::Named(targets) => {
                for target in targets {
                    if !is_held(txn, &target.endpoint)? {
                        return Ok(self.places().collect());
                    }
                }
                Ok(Vec::new())
            }
            Who::Of(rest, used) => {
                let up = used.up(txn)?;
                let left = up.iter().copied().filter(|place| rest.is_left(*place));
                Ok(left.take(PART).collect())
            }
        }
    }

    /// Writes who is left but for those at these places, or deletes the part if that is nobody.
    ///
    /// # Errors
    /// It cannot be written as a record.
    pub(super) fn store_without(self, txn: &mut Txn<'_>, gone: &[u32]) -> Result<(), StoreError> {
        let left = match self.who {
            Who::Named(targets) => {
                let left = (0..).zip(targets);
                let left = left.filter(|(place, _)| !gone.contains(place));
                let left: Vec<_> = left.map(|(_, target)| target).collect();
                (!left.is_empty()).then_some(Part::Named(left))
            }
            Who::Of(rest, used) => {
                let rest = rest.without(gone);
                let is_any = rest.places(used.list.targets.len()).next().is_some();
                is_any.then_some(Part::Of(rest))
            }
        };
        match left {
            Some(left) => txn.put(self.key, left)?,
            None => txn.delete(Tree::FanOut, self.key),
        }
        Ok(())
    }
}
