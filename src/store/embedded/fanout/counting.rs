//! How many deliveries are still to be made, for people: they count as pending as if they were there.

use std::collections::BTreeMap;

use super::lists::{self, LONGEST, ListId};
use super::{Part, Rest};
use crate::domain::EndpointName;
use crate::store::StoreError;
use crate::store::embedded::codec;
use crate::store::embedded::engine::Engine;
use crate::store::embedded::keys::Tree;

/// By endpoint.
type Counts = BTreeMap<EndpointName, u64>;

/// What is left of a list, of all events together.
#[derive(Default)]
struct Left {
    /// From this place on all of so many events.
    from: Vec<u64>,
    /// But for this place, of so many.
    told: Vec<u64>,
}

impl Left {
    fn add(&mut self, rest: Rest) {
        count_at(&mut self.from, rest.from);
        for place in rest.told.into_iter().filter(|told| *told >= rest.from) {
            count_at(&mut self.told, place);
        }
    }

    fn count(&self, engine: &Engine, list: &ListId, counts: &mut Counts) -> Result<(), StoreError> {
        let Some(record) = engine.get(Tree::FanOutLists, list)? else {
            return Ok(());
        };
        let mut events = 0;
        for (place, target) in lists::decode(list, &record)?
            .targets
            .into_iter()
            .enumerate()
        {
            events += self.from.get(place).unwrap_or(&0);
            let told = self.told.get(place).unwrap_or(&0);
            if events > *told {
                *counts.entry(target.endpoint).or_default() += events - told;
            }
        }
        Ok(())
    }
}

/// One more at a place; at none that a list can have, nothing.
fn count_at(counts: &mut Vec<u64>, place: u32) {
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    if place >= LONGEST {
        return;
    }
    if counts.len() <= place {
        counts.resize(place + 1, 0);
    }
    if let Some(count) = counts.get_mut(place) {
        *count += 1;
    }
}

/// The deliveries that are still to be made, by endpoint. What is damaged is left out.
///
/// # Errors
/// The store cannot be read.
pub(in crate::store::embedded) fn to_come(engine: &Engine) -> Result<Counts, StoreError> {
    let mut counts = Counts::new();
    if !engine.fan_out.is_any() {
        return Ok(counts);
    }
    let mut lists: BTreeMap<ListId, Left> = BTreeMap::new();
    for entry in engine.prefix(Tree::FanOut, &[])? {
        let (key, bytes) = entry?;
        match codec::decode(&key, &bytes) {
            Ok(Part::Named(targets)) => {
                for target in targets {
                    *counts.entry(target.endpoint).or_default() += 1;
                }
            }
            Ok(Part::Of(rest)) => lists.entry(rest.list).or_default().add(rest),
            Err(_damaged) => {}
        }
    }
    for (list, left) in lists {
        match left.count(engine, &list, &mut counts) {
            Err(StoreError::Damaged { .. }) => {}
            counted => counted?,
        }
    }
    Ok(counts)
}
