//! Who hears of a merchant's results of a kind, found out once for each set of subscriptions: looking at a thousand of them
//! for each result takes longer than all that is written.

use std::collections::HashMap;
use std::sync::Arc;

use super::lists::{self, LONGEST, RECENT, Used};
use super::{DIRECT, Target};
use crate::domain::{Event, EventKind, MerchantNo, Route, Routing, RoutingIdentity};
use crate::store::StoreError;
use crate::store::embedded::engine::locked;
use crate::store::embedded::txn::Txn;

/// Who hears of an event.
pub(super) enum Hearers {
    /// These, at most [`DIRECT`].
    Few(Vec<Target>),
    /// Those on these lists, one after the other.
    Listed(Arc<[Arc<Used>]>),
}

/// Results of a kind, of a merchant.
type Of = (EventKind, MerchantNo);

/// What was found out of the subscriptions used last.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    subscriptions: RoutingIdentity,
    lists: HashMap<Of, Arc<[Arc<Used>]>>,
}

impl Remembered {
    fn find(&self, routing: &Routing, of: &Of) -> Option<Arc<[Arc<Used>]>> {
        let lists = self.lists.get(of);
        let lists = lists.filter(|_| self.subscriptions == *routing.identity());
        lists.cloned()
    }

    fn add(&mut self, routing: &Routing, of: Of, lists: &Arc<[Arc<Used>]>) {
        let held: usize = self.lists.values().map(|lists| lists.len()).sum();
        if self.subscriptions != *routing.identity() || held + lists.len() > RECENT {
            self.subscriptions = routing.identity().clone();
            self.lists.clear();
        }
        self.lists.insert(of, Arc::clone(lists));
    }
}

/// Who hears of an event.
///
/// # Errors
/// A list cannot be written as a record.
pub(super) fn of(txn: &Txn<'_>, event: &Event, routing: &Routing) -> Result<Hearers, StoreError> {
    // Who hears of news of the relay may depend on the endpoint that they are about.
    let of = event.merchant_of_result().cloned();
    let of = of.map(|merchant| (event.kind(), merchant));
    let known = &txn.engine().fan_out.hearers;
    let found = (of.as_ref()).and_then(|of| locked(known).find(routing, of));
    if let Some(lists) = found {
        return Ok(Hearers::Listed(lists));
    }
    let routes: Vec<&Route> = routing.targets(event).collect();
    if routes.len() <= DIRECT {
        let targets = routes.into_iter().map(Target::of);
        return Ok(Hearers::Few(targets.collect()));
    }
    let lists = routes.chunks(LONGEST).map(|routes| lists::of(txn, routes));
    let lists = lists.collect::<Result<Arc<[_]>, _>>()?;
    if let Some(of) = of {
        locked(known).add(routing, of, &lists);
    }
    Ok(Hearers::Listed(lists))
}
