//! An image beside groups that are not synced yet.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use sled::IVec;

use super::*;
use crate::domain::Timestamp;
use crate::store::embedded::images::Images;
use crate::store::embedded::journal::Journal;
use crate::store::embedded::migrating::{OURS, SCHEMA};
use crate::store::embedded::{EmbeddedSettings, JournalSettings, Machine, ThisMachine, opening};

fn with_something_loose(directory: &Path) -> (Arc<Engine>, Journal) {
    let settings = EmbeddedSettings::at(directory.to_owned(), 0);
    let machine: Arc<dyn Machine> = Arc::new(ThisMachine);
    let now = Timestamp::from_millis(1_760_000_000_000);
    let opened = opening::open(&settings, JournalSettings::default(), &machine, now, OURS);
    let mut opened = opened.unwrap();
    let loose = vec![(
        Tree::Callbacks,
        vec![(b"key".into(), Some(b"value".into()))],
    )];
    assert_eq!(opened.journal.append_loose(&loose).unwrap(), None);
    opened.engine.apply_loose(loose).unwrap();
    (Arc::new(opened.engine), opened.journal)
}

/// The image would hold half of a group otherwise: what was read of it, and not what it did elsewhere meanwhile.
#[test]
fn an_image_ends_with_the_last_group_of_which_it_read_anything() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, mut journal) = with_something_loose(directory.path());
    let before = engine.sequence();
    let images = Images::new(Arc::clone(&engine), Arc::new(ThisMachine));
    let report = std::thread::scope(|scope| {
        let taken = scope.spawn(|| images.checkpoint().unwrap());
        // It asks for all groups to be synced, and waits for this one.
        while !engine.is_strict() && !taken.is_finished() {
            std::thread::yield_now();
        }
        let sequence = journal.settle().unwrap().unwrap();
        engine.settled(sequence);
        taken.join().unwrap()
    });
    assert_eq!(report.sequence, before + 1);
    assert!(!engine.is_strict(), "no longer than it must");
    let mut found = Vec::new();
    let named = list(&directory.path().join(CHECKPOINTS)).unwrap();
    read(&named[0].path, SCHEMA, &mut |changes| {
        found.extend(changes.into_iter().filter(|(_, key, _)| key == b"key"));
        Ok(())
    })
    .unwrap();
    let change = (Tree::Callbacks, b"key".into(), Some(b"value".into()));
    assert!(!found.is_empty() && found.iter().all(|one| *one == change));
}

#[test]
fn an_image_that_waits_can_be_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, _journal) = with_something_loose(directory.path());
    let images = Images::new(Arc::clone(&engine), Arc::new(ThisMachine));
    let taken = std::thread::scope(|scope| {
        let taken = scope.spawn(|| images.checkpoint());
        while !engine.is_strict() && !taken.is_finished() {
            std::thread::yield_now();
        }
        images.stop();
        taken.join().unwrap()
    });
    assert!(matches!(taken, Err(CheckpointError::Stopped)), "{taken:?}");
    let named = list(&directory.path().join(CHECKPOINTS)).unwrap();
    assert!(named.iter().all(|named| named.sequence == 0), "{named:?}");
}

/// A store that closes waits for its images, and syncs nothing meanwhile.
#[test]
fn whoever_waits_to_put_all_into_sled_can_be_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, _journal) = with_something_loose(directory.path());
    let group = |key: &[u8]| vec![(Tree::Callbacks, vec![(key.into(), Some(IVec::default()))])];
    engine
        .apply(group(b"synced"), engine.sequence() + 1)
        .unwrap();
    engine.apply_loose(group(b"not")).unwrap();
    let ended = engine.sync_beside_groups(|| true);
    assert!(ended.is_err_and(|error| error.kind() == io::ErrorKind::Interrupted));
}
