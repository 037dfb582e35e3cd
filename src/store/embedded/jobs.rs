//! Jobs: counted by reading, then worked off a part at a time. What a part is about is found by reading, outside of any
//! commit; it is looked at again and done, with the job's progress, in one transaction.

use super::codec::{self, Record};
use super::engine::Engine;
use super::fanout;
use super::keys::{self, Tree};
use super::operating;
use super::publishing;
use super::reading;
use super::txn::Txn;
use crate::domain::{
    Delivery, DeliveryState, Event, EventContent, EventId, Job, JobKind, JobOrder, JobProgress,
    Routing, Timestamp,
};
use crate::store::StoreError;

/// Events read at a time, during which commits wait.
const PART: usize = 256;

/// Events looked at for one part of a job: what is wanted may be rare among them.
const LOOKED_AT: usize = 20_000;

/// The first key that events of an order can have.
fn first_key(order: &JobOrder) -> Vec<u8> {
    EventId::new(order.since, 0).to_bytes().to_vec()
}

fn read<R: Record>(engine: &Engine, key: &[u8]) -> Result<Option<R>, StoreError> {
    let stored = engine.get(R::TREE, key)?;
    stored.map(|bytes| codec::decode(key, &bytes)).transpose()
}

/// Goes through the events that an order may be about, after a key, until `look` says that it is enough: it gets each
/// event's id and whether it is wanted. Returns whether that was the last of them.
fn walk(
    engine: &Engine,
    order: &JobOrder,
    routing: &Routing,
    mut after: Option<Vec<u8>>,
    mut look: impl FnMut(EventId, bool) -> bool,
) -> Result<bool, StoreError> {
    loop {
        let part = engine.part(Tree::Events, after.as_deref(), PART)?;
        let Some((last, _)) = part.last() else {
            return Ok(true);
        };
        after = Some(last.to_vec());
        for (key, bytes) in &part {
            let event: Event = codec::decode(key, bytes)?;
            if event.id.made_at() >= order.until {
                return Ok(true);
            }
            let delivery = reading::made_or_to_come(engine, &event, &order.endpoint)?;
            if look(event.id, order.wants(&event, delivery.as_ref(), routing)) {
                return Ok(false);
            }
        }
    }
}

/// How many deliveries an order is about.
pub(super) fn count(
    engine: &Engine,
    order: &JobOrder,
    routing: &Routing,
) -> Result<u64, StoreError> {
    let mut number = 0;
    walk(
        engine,
        order,
        routing,
        before(&first_key(order)),
        |_, wanted| {
            number += u64::from(wanted);
            false
        },
    )?;
    Ok(number)
}

/// A key after which `key` itself comes next among keys of this length.
fn before(key: &[u8]) -> Option<Vec<u8>> {
    let mut one_less = key.to_vec();
    for byte in one_less.iter_mut().rev() {
        if let Some(less) = byte.checked_sub(1) {
            *byte = less;
            return Some(one_less);
        }
        *byte = u8::MAX;
    }
    None
}

pub(super) fn all(engine: &Engine) -> Result<Vec<Job>, StoreError> {
    let entries = engine.prefix(Tree::Jobs, &[])?;
    entries
        .map(|entry| entry.and_then(|(key, bytes)| codec::decode(&key, &bytes)))
        .collect()
}

pub(super) fn begin(
    txn: &mut Txn<'_>,
    order: JobOrder,
    total: u64,
    now: Timestamp,
) -> Result<Job, StoreError> {
    let last = txn.last_before(Tree::Jobs, &[], &u64::MAX.to_be_bytes(), 1)?;
    let last = last.first().map(|(key, _)| key.as_ref());
    let last = last
        .and_then(|key| key.try_into().ok())
        .map(u64::from_be_bytes);
    let job = Job {
        id: last.unwrap_or(0) + 1,
        order,
        ordered: now,
        total,
        done: 0,
        progress: JobProgress::Running { after: None },
    };
    put(txn, &job)?;
    Ok(job)
}

pub(super) fn cancel(
    txn: &mut Txn<'_>,
    id: u64,
    now: Timestamp,
) -> Result<Option<Job>, StoreError> {
    let Some(mut job): Option<Job> = txn.get(&id.to_be_bytes())? else {
        return Ok(None);
    };
    if job.progress.is_running() {
        job.progress = JobProgress::Cancelled { at: now };
        put(txn, &job)?;
    }
    Ok(Some(job))
}

/// The next part of a job, found by reading.
pub(super) struct Part {
    /// The job as it stood.
    job: Job,
    /// What it wants of what was looked at.
    found: Vec<EventId>,
    /// The last event looked at.
    after: Option<EventId>,
    /// There are no more.
    ended: bool,
}

/// Looks for the next `limit` deliveries that a running job is about. `None`: there is no such job.
pub(super) fn look(
    engine: &Engine,
    id: u64,
    limit: usize,
    routing: &Routing,
) -> Result<Option<Part>, StoreError> {
    let Some(job): Option<Job> = read(engine, &id.to_be_bytes())? else {
        return Ok(None);
    };
    let (mut found, mut ended, mut last) = (Vec::new(), false, None);
    if let JobProgress::Running { after } = job.progress {
        last = after;
        let start = match after {
            Some(event) => Some(event.to_bytes().to_vec()),
            None => before(&first_key(&job.order)),
        };
        let mut looked_at = 0;
        ended = walk(engine, &job.order, routing, start, |event, wanted| {
            looked_at += 1;
            last = Some(event);
            if wanted {
                found.push(event);
            }
            found.len() >= limit || looked_at >= LOOKED_AT
        })?;
    }
    Ok(Some(Part {
        job,
        found,
        after: last,
        ended,
    }))
}

/// Does a part, unless its job went on or ended since. Returns how the job now stands.
pub(super) fn advance(
    txn: &mut Txn<'_>,
    part: &Part,
    now: Timestamp,
    routing: &Routing,
) -> Result<Option<Job>, StoreError> {
    let id = part.job.id;
    let Some(mut job): Option<Job> = txn.get(&id.to_be_bytes())? else {
        return Ok(None);
    };
    if !job.progress.is_running() || job.progress != part.job.progress {
        return Ok(Some(job));
    }
    for id in &part.found {
        let event: Option<Event> = txn.get(&id.to_bytes())?;
        let delivery = operating::made(txn, *id, &job.order.endpoint)?;
        let Some(event) = event.filter(|one| job.order.wants(one, delivery.as_ref(), routing))
        else {
            continue;
        };
        match (job.order.kind, delivery) {
            (JobKind::Replay, delivery) => {
                again(txn, &job.order, &event, delivery, now, routing)?;
            }
            (JobKind::Retry, Some(delivery)) => {
                operating::retry_one(txn, delivery, now)?;
            }
            (JobKind::Discard, Some(delivery)) => {
                operating::discard_one(txn, delivery, now)?;
            }
            (JobKind::Retry | JobKind::Discard, None) => continue,
        }
        job.done += 1;
    }
    job.progress = if part.ended {
        JobProgress::Done { at: now }
    } else {
        JobProgress::Running { after: part.after }
    };
    put(txn, &job)?;
    Ok(Some(job))
}

fn put(txn: &mut Txn<'_>, job: &Job) -> Result<(), StoreError> {
    txn.put(&job.id.to_be_bytes(), job.clone())
}

fn again(
    txn: &mut Txn<'_>,
    order: &JobOrder,
    event: &Event,
    delivery: Option<Delivery>,
    now: Timestamp,
    routing: &Routing,
) -> Result<(), StoreError> {
    // Where this one comes later than its turn, nothing older is to come after it.
    fanout::make_older(txn, event, &order.endpoint)?;
    let ordered = routing
        .targets(event)
        .any(|route| route.endpoint == order.endpoint && route.ordered);
    let (line, sequence) = match &event.content {
        EventContent::Result(result) => (
            ordered.then(|| (result.merchant.clone(), result.user.clone())),
            result.sequence,
        ),
        EventContent::Operational(_) => (None, 0),
    };
    // At the end of its user's line. Where something newer stands already, it is late, and goes beside the line.
    let line = match line {
        Some((merchant, user)) => {
            let prefix = keys::line_prefix(&order.endpoint, &merchant, &user);
            let own = keys::line(&order.endpoint, &merchant, &user, sequence);
            let is_last = txn
                .first_from(Tree::DeliveryLine, &own, &prefix, 1)?
                .is_empty();
            is_last.then_some((merchant, user))
        }
        None => None,
    };
    let again = delivery.clone().unwrap_or_else(|| Delivery {
        endpoint: order.endpoint.clone(),
        event: event.id,
        line: None,
        sequence,
        is_last: false,
        created: now,
        since: now,
        attempts: 0,
        spent: 0,
        replay: true,
        last_failure: None,
        state: DeliveryState::Waiting { due: now },
    });
    publishing::enqueue(txn, delivery.as_ref(), again.replayed(now, line))
}
