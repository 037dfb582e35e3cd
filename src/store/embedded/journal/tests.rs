//! The journal by itself: every byte of it, and a model that is crashed and reopened.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use sled::IVec;

use super::format::{self, HEADER};
use super::reading::{self, JournalError};
use super::{JOURNAL, Journal, JournalSettings};
use crate::store::embedded::engine::Changes;
use crate::store::embedded::keys::Tree;
use crate::store::embedded::machine::{Machine, Point, ThisMachine};

const SMALL: JournalSettings = JournalSettings {
    segment: 600,
    checkpoint: u64::MAX,
    layer: 16,
    mend: Duration::from_secs(1),
};

fn journal(data: &Path, after: u64, settings: JournalSettings) -> Journal {
    fs::create_dir_all(data.join(JOURNAL)).unwrap();
    Journal::after(after, 1, Arc::new(ThisMachine), data, settings).unwrap()
}

fn group(number: u8) -> Changes {
    let put = (vec![number].into(), Some(vec![number; 30].into()));
    let delete = (vec![number.wrapping_sub(1)].into(), None);
    vec![(Tree::Callbacks, vec![put, delete])]
}

/// The sequences that can be read, and how the reading ended.
fn read(data: &Path) -> (Vec<u64>, Result<bool, JournalError>) {
    let mut found = Vec::new();
    let end = reading::read(&data.join(JOURNAL), 0, None, &mut |sequence, payload| {
        format::changes(payload).unwrap();
        found.push(sequence);
        Ok(())
    });
    (found, end.map(|end| end.torn.is_some()))
}

fn only_segment(data: &Path) -> std::path::PathBuf {
    let mut segments = reading::segments(&data.join(JOURNAL)).unwrap();
    assert_eq!(segments.len(), 1);
    segments.remove(0).path
}

#[test]
fn what_was_appended_is_read_in_order_over_many_segments() {
    let data = tempfile::tempdir().unwrap();
    let mut journal = journal(data.path(), 0, SMALL);
    for number in 1..=40 {
        assert_eq!(journal.append(&group(number)).unwrap(), u64::from(number));
    }
    assert!(reading::segments(&data.path().join(JOURNAL)).unwrap().len() > 3);
    let (found, end) = read(data.path());
    assert_eq!(found, (1..=40).collect::<Vec<_>>());
    assert!(!end.unwrap());
}

/// Three records, their bytes, and where each begins.
fn three(data: &Path) -> (Vec<u8>, Vec<usize>) {
    let mut journal = journal(data, 0, JournalSettings::default());
    let mut starts = vec![HEADER];
    for number in 1..=3 {
        journal.append(&group(number)).unwrap();
        let mut payload = Vec::new();
        format::append(&mut payload, &group(number));
        let size = payload.len() + format::PREFIX;
        starts.push(starts.last().unwrap() + size);
    }
    (fs::read(only_segment(data)).unwrap(), starts)
}

#[test]
fn a_last_record_that_is_cut_at_any_byte_is_a_torn_end() {
    let data = tempfile::tempdir().unwrap();
    let (bytes, starts) = three(data.path());
    let file = only_segment(data.path());
    for keep in starts[2] + 1..starts[3] {
        for filler in [None, Some(0_u8), Some(0xff)] {
            let mut torn = bytes[..keep].to_vec();
            if let Some(filler) = filler {
                torn.resize(bytes.len().min(starts[3] + 700), filler);
            }
            fs::write(&file, &torn).unwrap();
            let (found, end) = read(data.path());
            // Filled with what it ended in, it may be whole.
            if found.len() == 2 {
                let zeros_only = torn[starts[2]..].iter().all(|byte| *byte == 0);
                assert_eq!(end.unwrap(), !zeros_only, "{keep} {filler:?}");
            } else {
                assert_eq!((found.len(), &torn[..starts[3]]), (3, &bytes[..starts[3]]));
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_damage_at_its_record_unless_it_is_in_the_last() {
    let data = tempfile::tempdir().unwrap();
    let (bytes, starts) = three(data.path());
    let file = only_segment(data.path());
    for at in 0..starts[3] {
        for bit in [0x01, 0x80] {
            let mut flipped = bytes[..starts[3] + 64].to_vec();
            flipped[at] ^= bit;
            fs::write(&file, &flipped).unwrap();
            let (found, end) = read(data.path());
            let record = starts.iter().rposition(|start| *start <= at).unwrap_or(0);
            if at >= starts[2] {
                assert_eq!((found.len(), end.unwrap()), (2, true), "byte {at}");
                continue;
            }
            let Err(JournalError::Damaged {
                offset, readable, ..
            }) = end
            else {
                panic!("byte {at}: not noticed");
            };
            let expected = if at < HEADER { 0 } else { starts[record] };
            assert_eq!(offset, expected as u64, "byte {at}");
            let before = if at < HEADER { 0 } else { record };
            assert_eq!(
                (found.len(), readable),
                (before, before as u64),
                "byte {at}"
            );
        }
    }
}

#[test]
fn bytes_of_another_file_are_no_record_of_this_one() {
    let data = tempfile::tempdir().unwrap();
    let (bytes, starts) = three(data.path());
    let other = tempfile::tempdir().unwrap();
    let (foreign, _) = three(other.path());
    let mut mixed = bytes[..starts[1]].to_vec();
    mixed.extend_from_slice(&[1; 16]);
    mixed.extend_from_slice(&foreign[starts[2]..starts[3]]);
    fs::write(only_segment(data.path()), mixed).unwrap();
    let (found, end) = read(data.path());
    assert_eq!(
        (found.len(), end.unwrap()),
        (1, true),
        "a forged record is a torn tail"
    );
}

#[test]
fn a_tail_that_a_newer_segment_takes_over_does_not_count() {
    let data = tempfile::tempdir().unwrap();
    three(data.path());
    // The third was refused, say: the next file begins with it.
    let mut next = journal(data.path(), 2, JournalSettings::default());
    next.append(&group(9)).unwrap();
    let mut values = Vec::new();
    let end = reading::read(
        &data.path().join(JOURNAL),
        0,
        None,
        &mut |sequence, payload| {
            values.push((sequence, format::changes(payload).unwrap()[0].1.to_vec()));
            Ok(())
        },
    );
    assert_eq!(end.unwrap().last, 3);
    assert_eq!(values, [(1, vec![1]), (2, vec![2]), (3, vec![9])]);
}

#[test]
fn a_missing_segment_is_damage() {
    let data = tempfile::tempdir().unwrap();
    let mut journal = journal(data.path(), 0, SMALL);
    (1..=40).for_each(|number| assert!(journal.append(&group(number)).is_ok()));
    let second = &reading::segments(&data.path().join(JOURNAL)).unwrap()[1]
        .path
        .clone();
    fs::remove_file(second).unwrap();
    let (_, end) = read(data.path());
    assert!(matches!(end, Err(JournalError::Damaged { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any groups, with the writer reopened anywhere: replaying once or twice gives what a map gives.
    #[test]
    fn replay_is_the_model(groups in proptest::collection::vec(
        (proptest::collection::vec((0_u8..12, proptest::option::of(0_u8..9)), 1..5), any::<bool>()), 1..40)
    ) {
        let data = tempfile::tempdir().unwrap();
        let mut writer = journal(data.path(), 0, SMALL);
        let mut model = BTreeMap::new();
        for (at, (entries, reopens)) in groups.iter().enumerate() {
            let entries: Vec<_> = entries.iter().map(|(key, value)| (IVec::from(&[*key]), value.map(|v| IVec::from(vec![v; 40])))).collect();
            for (key, value) in &entries {
                model.insert(key.clone(), value.clone());
            }
            writer.append(&vec![(Tree::Users, entries)]).unwrap();
            if *reopens {
                writer = journal(data.path(), at as u64 + 1, SMALL);
            }
        }
        let mut replayed = BTreeMap::new();
        for _ in 0..2 {
            let end = reading::read(&data.path().join(JOURNAL), 0, None, &mut |_, payload| {
                for (_, key, value) in format::changes(payload).unwrap() {
                    replayed.insert(key, value);
                }
                Ok(())
            });
            prop_assert_eq!(end.unwrap().last, groups.len() as u64);
            prop_assert_eq!(&replayed, &model);
        }
    }
}

/// Each record's sequence and the keys that it puts, as whoever opens it after a kill would find it.
fn records(data: &Path) -> Vec<(u64, Vec<Vec<u8>>)> {
    let mut found = Vec::new();
    let end = reading::read(&data.join(JOURNAL), 0, None, &mut |sequence, payload| {
        let puts = format::changes(payload)
            .unwrap()
            .into_iter()
            .filter(|(_, _, value)| value.is_some());
        found.push((sequence, puts.map(|(_, key, _)| key.to_vec()).collect()));
        Ok(())
    });
    assert!(end.unwrap().torn.is_none());
    found
}

/// Fails once what was written is in the file, when it is told to.
#[derive(Debug, Default)]
struct Refusing(AtomicBool);

impl Machine for Refusing {
    fn reached(&self, point: Point) -> io::Result<()> {
        let refuses = point == Point::WrittenNotSynced && self.0.swap(false, Ordering::Relaxed);
        if refuses {
            return Err(io::Error::other("refused"));
        }
        Ok(())
    }
}

#[test]
fn a_loose_group_that_was_refused_is_in_no_record_and_spoils_none() {
    let data = tempfile::tempdir().unwrap();
    fs::create_dir_all(data.path().join(JOURNAL)).unwrap();
    let machine = Arc::new(Refusing::default());
    let settings = JournalSettings::default();
    let beneath: Arc<dyn Machine> = Arc::<Refusing>::clone(&machine);
    let mut journal = Journal::after(0, 1, beneath, data.path(), settings).unwrap();
    journal.append_loose(&group(2)).unwrap();
    machine.0.store(true, Ordering::Relaxed);
    assert!(journal.append_loose(&group(3)).is_err());
    journal.append_loose(&group(4)).unwrap();
    assert_eq!(records(data.path()), [(1, vec![vec![2], vec![4]])]);
    assert_eq!(journal.append(&group(5)).unwrap(), 1);
    let all = [(1, vec![vec![2], vec![4], vec![5]])];
    assert_eq!(records(data.path()), all);
}

#[test]
fn what_is_loose_survives_a_kill_and_goes_into_the_next_record() {
    let data = tempfile::tempdir().unwrap();
    let mut journal = journal(data.path(), 0, JournalSettings::default());
    journal.append(&group(1)).unwrap();
    assert_eq!(journal.append_loose(&group(2)).unwrap(), None);
    assert_eq!(journal.append_loose(&group(3)).unwrap(), None);
    let records = || records(data.path());
    assert_eq!(records(), [(1, vec![vec![1]]), (2, vec![vec![2], vec![3]])]);
    assert_eq!(journal.append(&group(4)).unwrap(), 2);
    let all = [(1, vec![vec![1]]), (2, vec![vec![2], vec![3], vec![4]])];
    assert_eq!(records(), all);
    assert_eq!(journal.settle().unwrap(), None);
    journal.append_loose(&group(5)).unwrap();
    assert_eq!(journal.settle().unwrap(), Some(3));
    assert!(!journal.has_loose());
}

#[test]
fn much_that_is_loose_is_synced() {
    let data = tempfile::tempdir().unwrap();
    let mut journal = journal(data.path(), 0, JournalSettings::default());
    let synced = (0..=255).find_map(|number| {
        let large = vec![(
            Tree::Events,
            vec![(vec![number].into(), Some(vec![number; 3000].into()))],
        )];
        journal.append_loose(&large).unwrap()
    });
    assert_eq!(synced, Some(1));
    assert!(!journal.has_loose());
}

#[test]
fn the_larger_the_last_checkpoint_the_later_the_next_within_bounds() {
    let settings = JournalSettings::default();
    let mib = |number: u64| number << 20;
    for (image, until) in [
        (0, 32),
        (15, 32),
        (17, 34),
        (100, 200),
        (129, 256),
        (3000, 256),
    ] {
        assert_eq!(settings.until_checkpoint(mib(image)), mib(until));
    }
    let tiny = JournalSettings {
        checkpoint: 1024,
        ..SMALL
    };
    assert_eq!(tiny.until_checkpoint(mib(100)), 1024);
}

#[test]
fn what_is_loose_is_settled_before_the_journal_goes_on_in_a_new_file() {
    let data = tempfile::tempdir().unwrap();
    let mut journal = journal(data.path(), 0, SMALL);
    let mut number = 0;
    while !journal.must_settle_before(&group(number)) {
        journal.append_loose(&group(number)).unwrap();
        number += 1;
    }
    assert!(number > 3);
    assert_eq!(journal.settle().unwrap(), Some(1));
    assert!(!journal.must_settle_before(&group(number)));
    only_segment(data.path());
    journal.append_loose(&group(number)).unwrap();
    assert_eq!(read(data.path()).0, [1, 2]);
}

#[test]
fn a_loose_record_longer_than_a_segment_is_settled_where_it_is() {
    let data = tempfile::tempdir().unwrap();
    let mut journal = journal(data.path(), 0, SMALL);
    let long = vec![(
        Tree::Events,
        vec![(vec![1].into(), Some(vec![1; 1000].into()))],
    )];
    journal.append_loose(&long).unwrap();
    let nothing = Changes::new();
    assert!(journal.must_settle_before(&group(2)) && !journal.must_settle_before(&nothing));
    assert_eq!(journal.append(&nothing).unwrap(), 1);
    only_segment(data.path());
    assert_eq!(journal.append(&group(2)).unwrap(), 2);
    assert_eq!(read(data.path()).0, [1, 2]);
}

#[test]
fn a_record_whose_checksum_lies_in_two_pages_does_not_grow() {
    let mut apart = Vec::new();
    for length in 4000..4060 {
        let data = tempfile::tempdir().unwrap();
        let mut journal = journal(data.path(), 0, JournalSettings::default());
        let fill = vec![(
            Tree::Events,
            vec![(vec![1].into(), Some(vec![1; length].into()))],
        )];
        journal.append(&fill).unwrap();
        journal.append_loose(&group(1)).unwrap();
        if journal.must_settle_before(&group(2)) {
            apart.push(HEADER + format::PREFIX + format::size(&fill));
        }
    }
    assert_eq!(apart, (4089..4096).collect::<Vec<_>>());
}
