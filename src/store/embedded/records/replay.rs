//! A replay on disk.

use serde::{Deserialize, Serialize};

use super::numbers::{millis, parsed};
use crate::domain::{
    EventId, EventKind, Replay, ReplayOrder, ReplayProgress, ReplayState, Timestamp,
};
use crate::store::embedded::codec::Record;
use crate::store::embedded::keys::Tree;

#[derive(Serialize, Deserialize)]
pub(crate) enum ProgressV1 {
    Running { after: Option<[u8; 16]> },
    Done { at: u64 },
    Cancelled { at: u64 },
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ReplayV1 {
    id: u64,
    endpoint: String,
    since: u64,
    until: u64,
    /// By their names on the wire, which never change.
    kinds: Vec<String>,
    states: Vec<String>,
    ordered: u64,
    total: u64,
    done: u64,
    progress: ProgressV1,
}

impl Record for Replay {
    const TREE: Tree = Tree::Jobs;
    const VERSION: u8 = 1;
    type Stored = ReplayV1;

    fn into_stored(self) -> ReplayV1 {
        let order = self.order;
        let kinds = order.kinds.iter().map(|kind| kind.as_str().to_owned());
        let states = order.states.iter().map(|state| state.as_str().to_owned());
        ReplayV1 {
            id: self.id,
            endpoint: order.endpoint.to_string(),
            since: millis(order.since),
            until: millis(order.until),
            kinds: kinds.collect(),
            states: states.collect(),
            ordered: millis(self.ordered),
            total: self.total,
            done: self.done,
            progress: match self.progress {
                ReplayProgress::Running { after } => ProgressV1::Running {
                    after: after.map(EventId::to_bytes),
                },
                ReplayProgress::Done { at } => ProgressV1::Done { at: millis(at) },
                ReplayProgress::Cancelled { at } => ProgressV1::Cancelled { at: millis(at) },
            },
        }
    }

    fn from_stored(stored: ReplayV1) -> Result<Self, String> {
        let kinds = stored.kinds.iter().map(|name| {
            EventKind::from_name(name).ok_or_else(|| format!("{name:?} is no kind of event"))
        });
        let states = stored.states.iter().map(|name| {
            ReplayState::from_name(name).ok_or_else(|| format!("{name:?} is no state"))
        });
        let at = Timestamp::from_millis;
        Ok(Self {
            id: stored.id,
            order: ReplayOrder {
                endpoint: parsed(&stored.endpoint)?,
                since: at(stored.since),
                until: at(stored.until),
                kinds: kinds.collect::<Result<_, _>>()?,
                states: states.collect::<Result<_, _>>()?,
            },
            ordered: at(stored.ordered),
            total: stored.total,
            done: stored.done,
            progress: match stored.progress {
                ProgressV1::Running { after } => ReplayProgress::Running {
                    after: after.map(EventId::from_bytes),
                },
                ProgressV1::Done { at: when } => ReplayProgress::Done { at: at(when) },
                ProgressV1::Cancelled { at: when } => ReplayProgress::Cancelled { at: at(when) },
            },
        })
    }
}
