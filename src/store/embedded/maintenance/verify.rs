//! `verify-store`: reads everything, offline, and says what is wrong.
//!
//! Three questions: are checkpoints and journal readable to their end; does sled hold exactly what checkpoint and
//! journal say (a second sled is made beside it and compared, key by key: this finds silent holes); does every record
//! parse, and does what refers to another thing find it.

use std::fs;
use std::path::Path;

use super::super::checkpoint::{self, CHECKPOINTS};
use super::super::codec::{self, Record};
use super::super::engine::{Engine, SEQUENCE};
use super::super::journal::{JOURNAL, format, reading};
use super::super::keys::{self, Tree};
use super::super::rebuild::{self, NotOpened, SLED};
use super::super::{EmbeddedSettings, lock};
use super::{MaintenanceError, io_in};
use crate::domain::{
    Attempt, Callback, Delivery, DeliveryState, Event, EventContent, EventId, UserState,
    Verification,
};
use crate::store::{QueryRecord, StoreError};

/// The second sled, for comparing.
const BESIDE: &str = "sled.verify";

/// Entries compared at a time.
const PART: usize = 1024;

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The tree, the file, or `sled`.
    pub place: String,
    /// What is wrong there; keys in hex, no contents.
    pub what: String,
}

/// What was read, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The last sequence of checkpoint and journal.
    pub sequence: u64,
    /// Records and index entries read.
    pub entries: u64,
    /// Checkpoints read to their end.
    pub checkpoints: u64,
    /// Empty: all is well.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    fn wrong(&mut self, place: impl Into<String>, what: impl ToString) {
        let (place, what) = (place.into(), what.to_string());
        self.findings.push(Finding { place, what });
    }
}

/// Verifies a store that nobody has open. What is wrong with it is in the report; sled is brought up to the journal's
/// end first, as an opening would, so that the two can be compared.
///
/// # Errors
/// It could not be looked at: somebody has it, or the disk failed.
pub fn verify_store(settings: &EmbeddedSettings) -> Result<VerifyReport, MaintenanceError> {
    let path = settings.path.as_path();
    let failed = io_in("verifying");
    // Looking must not make a store where there is none.
    fs::metadata(path).map_err(&failed)?;
    let lock = lock::take(path)?;
    let mut report = VerifyReport::default();
    let mut source = None;
    for named in checkpoint::list(&path.join(CHECKPOINTS)).map_err(&failed)? {
        match checkpoint::read(&named.path, &mut |_| Ok(())) {
            Ok(_) => {
                report.checkpoints += 1;
                source.get_or_insert(named.path);
            }
            Err(error) => report.wrong(named.path.display().to_string(), error),
        }
    }
    match &source {
        None => report.wrong(
            "checkpoints",
            "none can be read: sled could not be made again",
        ),
        Some(checkpoint) => match rebuild::build(path, BESIDE, checkpoint, settings.cache) {
            Ok(made) => report.sequence = made.sequence,
            Err(rebuild::RebuildError::Write(error)) => return Err(failed(error)),
            Err(
                rebuild::RebuildError::Checkpoint(error) | rebuild::RebuildError::Journal(error),
            ) => {
                report.wrong("journal", error);
                source = None;
            }
        },
    }
    let beside = match &source {
        Some(_) => open(path, BESIDE, settings.cache, &lock, &mut report)?,
        None => None,
    };
    let live = open(path, SLED, settings.cache, &lock, &mut report)?;
    if let (Some(live), Some(beside)) = (&live, &beside) {
        let known = live.sequence();
        let replayed = reading::read(
            &path.join(JOURNAL),
            known,
            None,
            &mut |sequence, payload| {
                if let Ok(changes) = format::changes(payload) {
                    let _shows_in_the_comparison = live.apply(&rebuild::by_tree(changes), sequence);
                }
                Ok(())
            },
        );
        if let Err(error) = replayed {
            report.wrong("journal", error);
        }
        for tree in Tree::ALL {
            if let Err(error) = compare(live, beside, *tree, &mut report) {
                report.wrong(tree.name(), error);
            }
        }
    }
    if let Some(engine) = live.as_ref().or(beside.as_ref()) {
        check_records(engine, &mut report);
    }
    drop(beside);
    if path.join(BESIDE).exists() {
        fs::remove_dir_all(path.join(BESIDE)).map_err(&failed)?;
    }
    Ok(report)
}

fn open(
    path: &Path,
    name: &str,
    cache: u64,
    lock: &fs::File,
    report: &mut VerifyReport,
) -> Result<Option<Engine>, MaintenanceError> {
    let failed = io_in("opening sled");
    let lock = lock.try_clone().map_err(&failed)?;
    match rebuild::open_checked(path, name, cache, lock) {
        Ok(engine) => Ok(Some(engine)),
        Err(NotOpened::Io(error)) => Err(failed(error)),
        Err(NotOpened::Damage(why)) => {
            report.wrong(name, why);
            Ok(None)
        }
        Err(NotOpened::Newer(found)) => {
            report.wrong(
                name,
                format!("its schema {found} is newer than this version"),
            );
            Ok(None)
        }
    }
}

/// Compares two trees in step; three differences are enough to say so.
fn compare(
    live: &Engine,
    beside: &Engine,
    tree: Tree,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let (mut after, mut told) = (None::<Vec<u8>>, 0);
    loop {
        let one = live.part(tree, after.as_deref(), PART)?;
        let other = beside.part(tree, after.as_deref(), PART)?;
        let last = match (one.last(), other.last()) {
            (None, None) => return Ok(()),
            // Compared is up to where both have been read.
            (Some((one, _)), Some((other, _))) => one.min(other).clone(),
            (Some((last, _)), None) | (None, Some((last, _))) => last.clone(),
        };
        let is_own = |key: &[u8]| tree == Tree::Meta && key == SEQUENCE;
        let within = |part: Vec<(sled::IVec, sled::IVec)>| {
            let inside = part
                .into_iter()
                .filter(|(key, _)| *key <= last && !is_own(key));
            inside.collect::<std::collections::BTreeMap<_, _>>()
        };
        let (one, other) = (within(one), within(other));
        for key in one
            .keys()
            .chain(other.keys().filter(|key| !one.contains_key(*key)))
        {
            let what = match (one.get(key), other.get(key)) {
                (Some(one), Some(other)) if one == other => continue,
                (Some(_), Some(_)) => "differs from what the journal says",
                (None, _) => "is missing from sled",
                (_, None) => "is in sled and nowhere else",
            };
            report.wrong(tree.name(), format!("{} {what}", hex::encode(key)));
            told += 1;
            if told == 3 {
                return Ok(());
            }
        }
        after = Some(last.to_vec());
    }
}

fn check_records(engine: &Engine, report: &mut VerifyReport) {
    each::<Callback>(engine, report, |callback, key| {
        let by_user = callback.user.as_ref();
        let (tree, index) = match by_user {
            Some(user) => (
                Tree::CallbacksByUser,
                keys::callback_of_user(&callback.merchant, user, callback.id),
            ),
            None => {
                let mut index = keys::unrecognized_prefix(&callback.merchant, callback.token);
                index.extend_from_slice(key);
                (Tree::Unrecognized, index)
            }
        };
        vec![(tree, index)]
    });
    each::<UserState>(engine, report, |_, _| Vec::new());
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
        let mut wanted = vec![(Tree::Events, delivery.event.to_bytes().to_vec())];
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
    each::<Attempt>(engine, report, |_, key| {
        let delivery = key.len().checked_sub(5).and_then(|end| key.get(..end));
        delivery
            .map(|key| (Tree::Deliveries, key.to_vec()))
            .into_iter()
            .collect()
    });
    let id_at_end =
        |tree| move |key: &[u8], _: &[u8]| keys::trailing_id(key).map(|id| (tree, id.to_vec()));
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
        keys::trailing_id(value).map(|id| (Tree::Events, id.to_vec()))
    });
    index(engine, report, Tree::VerifyDue, |key, _| {
        let skipped = if keys::verify_due_is_leased(key) {
            20
        } else {
            21
        };
        let user = key.get(skipped..)?;
        Some((Tree::Verifications, [key.get(..10)?, user].concat()))
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
    check_lines(engine, report);
}

/// The first of each line must stand in the queue, or the line waits for ever.
fn check_lines(engine: &Engine, report: &mut VerifyReport) {
    let mut line: Vec<u8> = Vec::new();
    walk(engine, report, Tree::DeliveryLine, |report, key, value| {
        let own = key.get(..key.len().saturating_sub(8)).unwrap_or_default();
        if own == line {
            return Ok(());
        }
        line = own.to_vec();
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
        Err(error) => return report.wrong(tree.name(), error),
    };
    for entry in entries {
        let looked = entry.and_then(|(key, value)| look(report, &key, &value));
        if let Err(error) = looked {
            report.wrong(tree.name(), error);
        }
    }
}

/// Every record of a kind parses, and what it must have elsewhere is there.
fn each<R: Record>(
    engine: &Engine,
    report: &mut VerifyReport,
    wanted: impl Fn(&R, &[u8]) -> Vec<(Tree, Vec<u8>)>,
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
    target: impl Fn(&[u8], &[u8]) -> Option<(Tree, Vec<u8>)>,
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
