//! A job on disk.

use serde::{Deserialize, Serialize};

use super::names::Name;
use super::numbers::millis;
use crate::domain::{
    EndpointName, EventId, EventKind, Job, JobKind, JobOrder, JobProgress, Standing, Timestamp,
};
use crate::store::embedded::codec::Record;
use crate::store::embedded::keys::Tree;

#[derive(Serialize, Deserialize)]
pub(crate) enum ProgressV1 {
    Running { after: Option<[u8; 16]> },
    Done { at: u64 },
    Cancelled { at: u64 },
}

/// Kinds, types and states by their names on the wire, which never change.
#[derive(Serialize, Deserialize)]
pub(crate) struct JobV2 {
    id: u64,
    kind: String,
    endpoint: Name<EndpointName>,
    since: u64,
    until: u64,
    types: Vec<String>,
    states: Vec<String>,
    ordered: u64,
    total: u64,
    done: u64,
    progress: ProgressV1,
}

impl Record for Job {
    const TREE: Tree = Tree::Jobs;
    /// The first knew replays only, and was in no release.
    const VERSION: u8 = 2;
    type Stored = JobV2;

    fn into_stored(self) -> JobV2 {
        let order = self.order;
        let types = order.types.iter().map(|kind| kind.as_str().to_owned());
        let states = order.states.iter().map(|state| state.as_str().to_owned());
        JobV2 {
            id: self.id,
            kind: order.kind.as_str().to_owned(),
            endpoint: Name::of(order.endpoint),
            since: millis(order.since),
            until: millis(order.until),
            types: types.collect(),
            states: states.collect(),
            ordered: millis(self.ordered),
            total: self.total,
            done: self.done,
            progress: match self.progress {
                JobProgress::Running { after } => ProgressV1::Running {
                    after: after.map(EventId::to_bytes),
                },
                JobProgress::Done { at } => ProgressV1::Done { at: millis(at) },
                JobProgress::Cancelled { at } => ProgressV1::Cancelled { at: millis(at) },
            },
        }
    }

    fn from_stored(stored: JobV2) -> Result<Self, String> {
        let kind = JobKind::from_name(&stored.kind)
            .ok_or_else(|| format!("{:?} is no kind of job", stored.kind))?;
        let types = stored.types.iter().map(|name| {
            EventKind::from_name(name).ok_or_else(|| format!("{name:?} is no type of event"))
        });
        let states = stored
            .states
            .iter()
            .map(|name| Standing::from_name(name).ok_or_else(|| format!("{name:?} is no state")));
        let at = Timestamp::from_millis;
        Ok(Self {
            id: stored.id,
            order: JobOrder {
                kind,
                endpoint: stored.endpoint.read()?,
                since: at(stored.since),
                until: at(stored.until),
                types: types.collect::<Result<_, _>>()?,
                states: states.collect::<Result<_, _>>()?,
            },
            ordered: at(stored.ordered),
            total: stored.total,
            done: stored.done,
            progress: match stored.progress {
                ProgressV1::Running { after } => JobProgress::Running {
                    after: after.map(EventId::from_bytes),
                },
                ProgressV1::Done { at: when } => JobProgress::Done { at: at(when) },
                ProgressV1::Cancelled { at: when } => JobProgress::Cancelled { at: at(when) },
            },
        })
    }
}
