//! `verify-store`: reads everything, offline, and says what is wrong.
//!
//! Three questions: are checkpoints and journal readable to their end; does sled hold exactly what checkpoint and
//! journal say (a second sled is made beside it and compared, key by key: this finds silent holes); does every record
//! parse, and does what refers to another thing find it.

mod references;

use std::error::Error as _;
use std::fs;
use std::path::Path;

use super::super::checkpoint::{self, CHECKPOINTS};
use super::super::engine::{Engine, SEQUENCE};
use super::super::journal::{JOURNAL, format, reading};
use super::super::keys::Tree;
use super::super::machine::{Machine as _, ThisMachine};
use super::super::migrating::{self, OURS, SCHEMA};
use super::super::rebuild::{self, NotOpened, SLED};
use super::super::trust::{self, Left};
use super::super::{EmbeddedSettings, lock};
use super::{MaintenanceError, io_in};
use crate::store::StoreError;

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

    fn unreadable(&mut self, place: impl Into<String>, error: &StoreError) {
        let cause = error.source().map(|cause| format!(": {cause}"));
        self.wrong(place, format!("{error}{}", cause.unwrap_or_default()));
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
    if let Some(found) = migrating::needed(path, OURS)? {
        let what = format!("it has schema {found}: the next start migrates it to {SCHEMA}");
        report.wrong("schema", what);
        return Ok(report);
    }
    let mut source = None;
    for named in checkpoint::list(&path.join(CHECKPOINTS)).map_err(&failed)? {
        match checkpoint::read(&named.path, SCHEMA, &mut |_| Ok(())) {
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
        Some(checkpoint) => {
            match rebuild::build(path, BESIDE, checkpoint, SCHEMA, settings.cache) {
                Ok(made) => report.sequence = made.sequence,
                Err(rebuild::RebuildError::Write(error)) => return Err(failed(error)),
                Err(
                    rebuild::RebuildError::Checkpoint(error)
                    | rebuild::RebuildError::Journal(error),
                ) => {
                    report.wrong("journal", error);
                    source = None;
                }
            }
        }
    }
    let beside = match &source {
        Some(_) => open(path, BESIDE, settings.cache, &lock, &mut report)?,
        None => None,
    };
    let live = open(path, SLED, settings.cache, &lock, &mut report)?;
    let live = match live {
        Some(live) if is_believed(path, &live, &mut report)? => Some(live),
        _given_up_at_the_next_opening => None,
    };
    if let (Some(live), Some(beside)) = (&live, &beside) {
        let known = live.sequence();
        let replayed = reading::read(
            &path.join(JOURNAL),
            known,
            None,
            &mut |sequence, payload| {
                if let Ok(changes) = format::changes(payload) {
                    let _shows_in_the_comparison = live.apply(rebuild::by_tree(changes), sequence);
                }
                Ok(())
            },
        );
        if let Err(error) = replayed {
            report.wrong("journal", error);
        }
        for tree in Tree::ALL {
            if let Err(error) = compare(live, beside, *tree, &mut report) {
                report.unreadable(tree.name(), &error);
            }
        }
    }
    if let Some(engine) = live.as_ref().or(beside.as_ref()) {
        references::check(engine, &mut report);
    }
    drop(beside);
    if path.join(BESIDE).exists() {
        fs::remove_dir_all(path.join(BESIDE)).map_err(&failed)?;
    }
    Ok(report)
}

/// Whether an opening would go on with this sled. One that it would make again is left as it is: bringing it to the
/// sequence that was noted would make a bad one look good.
fn is_believed(
    path: &Path,
    live: &Engine,
    report: &mut VerifyReport,
) -> Result<bool, MaintenanceError> {
    let left = trust::read(path).map_err(io_in("reading how the store was left"))?;
    Ok(match left {
        Left::Closed(sequence) if sequence == live.sequence() => true,
        Left::Closed(sequence) => {
            let found = live.sequence();
            let what = format!("it was closed at {sequence} and is at {found}: it lost something");
            report.wrong(SLED, what);
            false
        }
        Left::Open(boot) => boot.is_some() && boot == ThisMachine.boot(),
        Left::Unsaid | Left::Unreadable => false,
    })
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
    match rebuild::open_checked(path, name, SCHEMA, cache, lock) {
        Ok(engine) => Ok(Some(engine)),
        Err(NotOpened::Io(error)) => Err(failed(error)),
        Err(NotOpened::Damage(why)) => {
            report.wrong(name, why);
            Ok(None)
        }
        // The next start makes it again, of what was looked through beside it.
        Err(NotOpened::Layout) => Ok(None),
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
