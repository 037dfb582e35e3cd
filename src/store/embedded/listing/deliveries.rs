//! Deliveries, those of the newest event first; of one event, by the endpoint's name, the last first.
//!
//! What is unsettled is read from its index, a user's deliveries by the user's events, anything else from the newest
//! event back.

use std::collections::HashMap;

use sled::IVec;

use super::walking::{List, Row, Span, after, backwards, fill, id_of, merged};
use super::{as_is, endpoints, events_of, get, is_within, record};
use crate::domain::{Delivery, DeliveryState, EndpointName, Event, EventId};
use crate::store::embedded::codec::damaged;
use crate::store::embedded::delivering;
use crate::store::embedded::engine::Engine;
use crate::store::embedded::keys::{self, Standing, Tree};
use crate::store::{DeliveryFilter, DeliveryStand, ListedDelivery, Page, PageOf, StoreError};

pub(super) fn list(
    engine: &Engine,
    filter: &DeliveryFilter,
    page: &PageOf,
) -> Result<Page<ListedDelivery>, StoreError> {
    let walk = Walk {
        engine,
        filter,
        last: after(List::Deliveries, page)?,
    };
    if let Some(last) = walk.last {
        id_of(last)?;
    }
    let mut look = Look {
        engine,
        filter,
        holds: HashMap::new(),
    };
    let take = |key: &[u8], read| look.at(key, read);
    let limit = page.limit;
    if walk.filter.scope.user.is_some() {
        return fill(List::Deliveries, limit, walk.of_user()?, take);
    }
    match filter.stand {
        Some(DeliveryStand::Delivering) => {
            fill(List::Deliveries, limit, walk.under_way()?.into_iter(), take)
        }
        Some(DeliveryStand::Delivered) | None => {
            fill(List::Deliveries, limit, walk.all()?.map(as_is), take)
        }
        Some(DeliveryStand::Waiting | DeliveryStand::Held) => {
            let rows = walk.unsettled(&[Standing::Pending])?;
            fill(List::Deliveries, limit, rows, take)
        }
        Some(DeliveryStand::Abandoned) => {
            let rows = walk.unsettled(&[Standing::GivenUp, Standing::Discarded])?;
            fill(List::Deliveries, limit, rows, take)
        }
        Some(DeliveryStand::GivenUp) => {
            let rows = walk.unsettled(&[Standing::GivenUp])?;
            fill(List::Deliveries, limit, rows, take)
        }
        Some(DeliveryStand::Discarded) => {
            let rows = walk.unsettled(&[Standing::Discarded])?;
            fill(List::Deliveries, limit, rows, take)
        }
    }
}

/// Where the rows come from.
struct Walk<'a> {
    engine: &'a Engine,
    filter: &'a DeliveryFilter,
    /// The key at which the page before ended.
    last: Option<&'a [u8]>,
}

impl<'a> Walk<'a> {
    fn span(&self) -> Span {
        Span::of(&self.filter.scope)
    }

    /// The event at which the page before ended may have deliveries left.
    fn span_with_last(&self) -> Result<Span, StoreError> {
        let last = self.last.map(id_of).transpose()?;
        let beyond = last.map(|id| EventId::from_bytes(id).successor().to_bytes());
        Ok(self.span().before(beyond))
    }

    fn endpoints(&self, tree: Tree) -> Result<Vec<EndpointName>, StoreError> {
        match &self.filter.endpoint {
            Some(only) => Ok(vec![only.clone()]),
            None => endpoints(self.engine, tree),
        }
    }

    fn all(&self) -> Result<super::walking::Source<'a>, StoreError> {
        let span = self.span();
        let until = span.to.map(|to| IVec::from(&to));
        let end = until.into_iter().chain(self.last.map(IVec::from)).min();
        backwards(self.engine, Tree::Deliveries, (&span.from).into(), end)
    }

    fn of_user(&self) -> Result<impl Iterator<Item = Result<Row, StoreError>>, StoreError> {
        let scope = &self.filter.scope;
        let ids = match &scope.user {
            Some(user) => {
                let span = self.span_with_last()?;
                events_of(self.engine, scope.merchant.as_ref(), user, span)?
            }
            None => Vec::new(),
        };
        let (engine, last) = (self.engine, self.last);
        let rows = ids.into_iter().flat_map(move |id| {
            let end = keys::end_of(&id).map(IVec::from);
            let end = end.into_iter().chain(last.map(IVec::from)).min();
            let found = backwards(engine, Tree::Deliveries, (&id).into(), end);
            let (found, failed) = match found {
                Ok(found) => (Some(found), None),
                Err(error) => (None, Some(Err(error))),
            };
            failed
                .into_iter()
                .chain(found.into_iter().flatten().map(as_is))
        });
        Ok(rows)
    }

    fn unsettled(
        &self,
        standings: &[Standing],
    ) -> Result<impl Iterator<Item = Result<Row, StoreError>> + use<'a>, StoreError> {
        let tree = Tree::Unsettled;
        let mut sources = Vec::new();
        for endpoint in self.endpoints(tree)? {
            // Of the event at which the page before ended, those whose name comes before have not been shown.
            let is_left = self
                .last
                .and_then(|last| last.get(16..))
                .is_some_and(|name| endpoint.as_str().as_bytes() < name);
            let span = if is_left {
                self.span_with_last()?
            } else {
                self.span().before(self.last.map(id_of).transpose()?)
            };
            for standing in standings {
                let prefix = keys::unsettled_prefix(&endpoint, *standing);
                let endpoint = endpoint.clone();
                let rows = span.newest(self.engine, tree, &prefix)?.map(move |entry| {
                    let (key, _) = entry?;
                    let id = keys::trailing_id(&key)
                        .ok_or_else(|| damaged(tree, &key, "no event id"))?;
                    let place = keys::delivery(EventId::from_bytes(id), &endpoint);
                    Ok((place.into(), None))
                });
                sources.push(rows);
            }
        }
        Ok(merged(sources))
    }

    /// What is out at this moment: no more than the endpoints' concurrency allows.
    fn under_way(&self) -> Result<Vec<Result<Row, StoreError>>, StoreError> {
        let tree = Tree::DeliveryDue;
        let span = self.span();
        let mut found = Vec::new();
        for endpoint in self.endpoints(tree)? {
            let prefix = keys::delivery_due_prefix(&endpoint, true);
            for entry in self.engine.prefix(tree, &prefix)? {
                let (key, _) = entry?;
                let (_, event) = keys::parse_delivery_due(&key)
                    .ok_or_else(|| damaged(tree, &key, "not a due time and an event"))?;
                let place = keys::delivery(event, &endpoint);
                if span.contains(&event.to_bytes()) && self.last.is_none_or(|last| &*place < last) {
                    found.push(place);
                }
            }
        }
        found.sort_unstable_by(|one, other| other.cmp(one));
        let rows = found.into_iter().map(|place| Ok((place.into(), None)));
        Ok(rows.collect())
    }
}

/// What belongs on the page.
struct Look<'a> {
    engine: &'a Engine,
    filter: &'a DeliveryFilter,
    /// Whether an endpoint is down or paused, once it was looked up.
    holds: HashMap<EndpointName, bool>,
}

impl Look<'_> {
    fn at(&mut self, key: &[u8], read: Option<IVec>) -> Result<Option<ListedDelivery>, StoreError> {
        let Some(delivery) = record::<Delivery>(self.engine, key, read)? else {
            return Ok(None);
        };
        let filter = self.filter;
        if filter
            .endpoint
            .as_ref()
            .is_some_and(|only| *only != delivery.endpoint)
        {
            return Ok(None);
        }
        let is_waiting = matches!(delivery.state, DeliveryState::Waiting { .. });
        let held = is_waiting && self.holds(&delivery.endpoint)?;
        let standing = Standing::of(&delivery.state);
        let stands_so = match filter.stand {
            None => true,
            Some(DeliveryStand::Waiting) => is_waiting,
            Some(DeliveryStand::Held) => held,
            Some(DeliveryStand::Delivering) => {
                matches!(delivery.state, DeliveryState::Delivering { .. })
            }
            Some(DeliveryStand::Delivered) => standing.is_none(),
            Some(DeliveryStand::Abandoned) => {
                matches!(delivery.state, DeliveryState::Abandoned { .. })
            }
            Some(DeliveryStand::GivenUp) => standing == Some(Standing::GivenUp),
            Some(DeliveryStand::Discarded) => standing == Some(Standing::Discarded),
        };
        if !stands_so {
            return Ok(None);
        }
        let event = get::<Event>(self.engine, &delivery.event.to_bytes())?;
        let event = event.filter(|event| is_within(event, &filter.scope));
        Ok(event.map(|event| ListedDelivery {
            delivery,
            event,
            held,
        }))
    }

    fn holds(&mut self, endpoint: &EndpointName) -> Result<bool, StoreError> {
        if let Some(known) = self.holds.get(endpoint) {
            return Ok(*known);
        }
        let holds = delivering::health(self.engine, endpoint)?.holds();
        self.holds.insert(endpoint.clone(), holds);
        Ok(holds)
    }
}
