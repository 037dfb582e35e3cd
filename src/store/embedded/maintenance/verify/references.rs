//! Every record parses, and what refers to another thing finds it: records and their places in indexes and queues, both
//! ways. What does not is reported by key, never by content.

use super::VerifyReport;
use crate::domain::{
    Attempt, Callback, Delivery, DeliveryState, Event, EventContent, EventId, Health, Job,
    UserState, Verification,
};
use crate::store::embedded::codec::{self, Record};
use crate::store::embedded::engine::Engine;
use crate::store::embedded::fanout::{Part, lists};
use crate::store::embedded::keys::{self, Key, Tree};
use crate::store::embedded::tallies::{self, Recount};
use crate::store::{QueryRecord, StoreError};

pub(super) fn check(engine: &Engine, report: &mut VerifyReport) {
    each::<Callback>(engine, report, |callback, key| {
        let by_user = callback.user.as_ref();
        let (tree, index) = match by_user {
            Some(user) => (
                Tree::CallbacksByUser,
                keys::callback_of_user(&callback.merchant, user, callback.id),
            ),
            None => {
                let index = keys::unrecognized_prefix(&callback.merchant, callback.token);
                let index = index.and(key);
                (Tree::Unrecognized, index)
            }
        };
        vec![(tree, index)]
    });
    each::<UserState>(engine, report, |_, _| Vec::new());
    each::<Health>(engine, report, |_, _| Vec::new());
    each::<Job>(engine, report, |_, _| Vec::new());
    each::<QueryRecord>(engine, report, |_, _| Vec::new());
    each::<Verification>(engine, report, |running, key| {
        let user = key.split_first_chunk::<10>().and_then(|(merchant, user)| {
            let merchant = std::str::from_utf8(merchant).ok()?.parse().ok()?;
            let user = std::str::from_utf8(user).ok()?.parse().ok()?;
            Some(keys::verify_due(&merchant, &user, running))
        });
        user.map(|place| (Tree::VerifyDue, place))
            .into_iter()
            .collect()
    });
    each::<Event>(engine, report, |event, _| match &event.content {
        EventContent::Result(result) => vec![(
            Tree::EventsByUser,
            keys::event_of_user(&result.merchant, &result.user, result.sequence),
        )],
        EventContent::Operational(_) => Vec::new(),
    });
    each::<Delivery>(engine, report, |delivery, _| {
        let mut wanted = vec![(Tree::Events, Key::of([&delivery.event.to_bytes()]))];
        if let (Some((merchant, user)), true) = (&delivery.line, delivery.is_pending()) {
            let place = keys::line(&delivery.endpoint, merchant, user, delivery.sequence);
            wanted.push((Tree::DeliveryLine, place));
        }
        // Of an ordered line only the first stands in the queue; the line itself is looked through below.
        if let (Some(due), None) = (delivery.due(), &delivery.line) {
            let leased = matches!(delivery.state, DeliveryState::Delivering { .. });
            let place = keys::delivery_due(&delivery.endpoint, leased, due, delivery.event);
            wanted.push((Tree::DeliveryDue, place));
        }
        wanted
    });
    each::<Part>(engine, report, |part, key| {
        let event = key.first_chunk::<16>().map(|id| Key::of([id]));
        let list = match part {
            Part::Of(rest) => Some((Tree::FanOutLists, Key::of([&rest.list]))),
            Part::Named(_) => None,
        };
        let event = event.map(|id| (Tree::Events, id));
        event.into_iter().chain(list).collect()
    });
    walk(engine, report, Tree::FanOutLists, |report, key, record| {
        report.entries += 1;
        lists::decode(key, record).map(|_list| ())
    });
    each::<Attempt>(engine, report, |_, key| {
        let delivery = key.len().checked_sub(5).and_then(|end| key.get(..end));
        delivery
            .map(|key| (Tree::Deliveries, Key::of([key])))
            .into_iter()
            .collect()
    });
    let id_at_end =
        |tree| move |key: &[u8], _: &[u8]| keys::trailing_id(key).map(|id| (tree, Key::of([&id])));
    index(
        engine,
        report,
        Tree::CallbacksByUser,
        id_at_end(Tree::Callbacks),
    );
    index(
        engine,
        report,
        Tree::Unrecognized,
        id_at_end(Tree::Callbacks),
    );
    index(engine, report, Tree::EventsByUser, |_, value| {
        keys::trailing_id(value).map(|id| (Tree::Events, Key::of([&id])))
    });
    index(engine, report, Tree::VerifyDue, |key, _| {
        let skipped = if keys::verify_due_is_leased(key) {
            20
        } else {
            21
        };
        let user = key.get(skipped..)?;
        Some((Tree::Verifications, Key::of([key.get(..10)?, user])))
    });
    index(engine, report, Tree::DeliveryDue, |key, _| {
        let (_, event) = keys::parse_delivery_due(key)?;
        let endpoint = keys::parse_endpoint(key)?;
        Some((Tree::Deliveries, keys::delivery(event, &endpoint)))
    });
    index(engine, report, Tree::DeliveryLine, |key, value| {
        let event = EventId::from_bytes(keys::trailing_id(value)?);
        let endpoint = keys::parse_endpoint(key)?;
        Some((Tree::Deliveries, keys::delivery(event, &endpoint)))
    });
    index(engine, report, Tree::Unsettled, |key, _| {
        let event = EventId::from_bytes(keys::trailing_id(key)?);
        let endpoint = keys::parse_endpoint(key)?;
        Some((Tree::Deliveries, keys::delivery(event, &endpoint)))
    });
    index(engine, report, Tree::Stuck, |key, _| {
        Some((Tree::Verifications, Key::of([key.get(8..)?])))
    });
    check_lines(engine, report);
    if let Err(error) = check_tallies(engine, report) {
        report.unreadable("tallies", &error);
    }
}

/// The index of what is unsettled holds that and nothing else, and the counts are right. A store of a version that kept
/// neither gets both at its next opening.
fn check_tallies(engine: &Engine, report: &mut VerifyReport) -> Result<(), StoreError> {
    if !tallies::are_kept(engine)? {
        return Ok(());
    }
    let found = Recount::of(engine)?;
    for (tree, place) in &found.places {
        if engine.get(*tree, place)?.is_none() {
            let what = format!("{} is missing", hex::encode(place));
            report.wrong(tree.name(), what);
        }
    }
    for tree in [Tree::Unsettled, Tree::Stuck] {
        let wanted = found.places.iter().filter(|(of, _)| *of == tree).count();
        let stored = engine.prefix(tree, &[])?.count();
        if stored > wanted {
            let what = format!("{} entries too many", stored - wanted);
            report.wrong(tree.name(), what);
        }
    }
    let stored = tallies::stored(engine)?;
    for key in found.counts.keys().chain(stored.keys()) {
        let (right, kept) = (found.counts.get(key), stored.get(key));
        if right != kept {
            let (right, kept) = (right.unwrap_or(&0), kept.unwrap_or(&0));
            let what = format!(
                "{}: counted {right}, stored is {kept}",
                String::from_utf8_lossy(key).escape_default()
            );
            report.wrong(Tree::Meta.name(), what);
        }
    }
    Ok(())
}

/// The first of each line must stand in the queue, and nobody behind one that is said to be the last, or they wait for ever.
fn check_lines(engine: &Engine, report: &mut VerifyReport) {
    let mut line: Vec<u8> = Vec::new();
    let mut is_ended = false;
    walk(engine, report, Tree::DeliveryLine, |report, key, value| {
        let own = key.get(..key.len().saturating_sub(8)).unwrap_or_default();
        let is_first = own != line;
        if is_ended && !is_first {
            let what = format!(
                "{}: stands behind one that is said to be the last",
                hex::encode(key)
            );
            report.wrong(Tree::DeliveryLine.name(), what);
        }
        line = own.to_vec();
        is_ended = false;
        let (Some(endpoint), Some(id)) = (keys::parse_endpoint(key), keys::trailing_id(value))
        else {
            return Ok(());
        };
        let event = EventId::from_bytes(id);
        let delivery_key = keys::delivery(event, &endpoint);
        let Some(bytes) = engine.get(Tree::Deliveries, &delivery_key)? else {
            return Ok(());
        };
        let delivery: Delivery = codec::decode(&delivery_key, &bytes)?;
        is_ended = delivery.is_last;
        if !is_first {
            return Ok(());
        }
        let leased = matches!(delivery.state, DeliveryState::Delivering { .. });
        let is_queued = match delivery.due() {
            Some(due) => {
                let place = keys::delivery_due(&endpoint, leased, due, event);
                engine.get(Tree::DeliveryDue, &place)?.is_some()
            }
            None => false,
        };
        if !is_queued {
            let what = format!(
                "{}: first in its line and not in the queue",
                hex::encode(key)
            );
            report.wrong(Tree::DeliveryLine.name(), what);
        }
        Ok(())
    });
}

fn walk(
    engine: &Engine,
    report: &mut VerifyReport,
    tree: Tree,
    mut look: impl FnMut(&mut VerifyReport, &[u8], &[u8]) -> Result<(), StoreError>,
) {
    let entries = match engine.prefix(tree, &[]) {
        Ok(entries) => entries,
        Err(error) => return report.unreadable(tree.name(), &error),
    };
    for entry in entries {
        let looked = entry.and_then(|(key, value)| look(report, &key, &value));
        if let Err(error) = looked {
            report.unreadable(tree.name(), &error);
        }
    }
}

/// Every record of a kind parses, and what it must have elsewhere is there.
fn each<R: Record>(
    engine: &Engine,
    report: &mut VerifyReport,
    wanted: impl Fn(&R, &[u8]) -> Vec<(Tree, Key)>,
) {
    walk(engine, report, R::TREE, |report, key, value| {
        report.entries += 1;
        let record: R = codec::decode(key, value)?;
        for (tree, other) in wanted(&record, key) {
            if engine.get(tree, &other)?.is_none() {
                let what = format!("{} has no entry in {}", hex::encode(key), tree.name());
                report.wrong(R::TREE.name(), what);
            }
        }
        Ok(())
    });
}

/// Every entry of an index leads somewhere.
fn index(
    engine: &Engine,
    report: &mut VerifyReport,
    tree: Tree,
    target: impl Fn(&[u8], &[u8]) -> Option<(Tree, Key)>,
) {
    walk(engine, report, tree, |report, key, value| {
        report.entries += 1;
        let is_there = match target(key, value) {
            Some((tree, key)) => engine.get(tree, &key)?.is_some(),
            None => false,
        };
        if !is_there {
            report.wrong(tree.name(), format!("{} leads nowhere", hex::encode(key)));
        }
        Ok(())
    });
}
