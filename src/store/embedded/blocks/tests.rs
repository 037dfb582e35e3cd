//! Blocks against a map, with tails left by a process that ended while a block was divided.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;

mod dividing;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// So small that a few entries fill it.
const SIZE: usize = 48;

impl Blocks {
    pub(super) fn may_go_on(&self) -> io::Result<()> {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other("killed"));
        }
        Ok(())
    }
}

fn blocks(db: &sled::Db) -> Blocks {
    let shared = Arc::new(Shared::new(db).unwrap());
    Blocks::new(db.open_tree("test").unwrap(), SIZE, shared).unwrap()
}

fn database() -> (tempfile::TempDir, sled::Db) {
    let directory = tempfile::tempdir().unwrap();
    let db = sled::Config::new()
        .path(directory.path())
        .flush_every_ms(None)
        .open()
        .unwrap();
    (directory, db)
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(0..4_u8, 0..4),
        prop::collection::vec(any::<u8>(), 1..3),
    ]
}

/// A layer: keys in order, each once.
fn layer() -> impl Strategy<Value = BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
    let value = prop::option::weighted(0.6, prop::collection::vec(any::<u8>(), 0..40));
    prop::collection::btree_map(key(), value, 0..24)
}

fn write(blocks: &Blocks, layer: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) {
    let changes = layer.iter();
    let changes = changes.map(|(key, value)| (key.as_slice(), value.as_deref()));
    blocks.write(changes).unwrap();
}

fn take_in(model: &mut Model, layer: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) {
    for (key, value) in layer {
        match value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
}

fn pairs(walk: impl Iterator<Item = io::Result<(IVec, IVec)>>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pair = |entry: io::Result<(IVec, IVec)>| entry.unwrap();
    walk.map(pair)
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect()
}

fn check(blocks: &Blocks, model: &Model, within: (&[u8], &[u8])) {
    let expected = |bounds: (Bound<&[u8]>, Bound<&[u8]>)| -> Vec<_> {
        let within = model.range::<[u8], _>(bounds);
        within
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let (low, high) = (within.0.min(within.1), within.0.max(within.1));
    let mut all = vec![
        (Bound::Unbounded, Bound::Unbounded),
        (Bound::Included(low), Bound::Included(high)),
        (Bound::Included(low), Bound::Unbounded),
        (Bound::Unbounded, Bound::Excluded(high)),
    ];
    if low < high {
        all.push((Bound::Excluded(low), Bound::Excluded(high)));
    }
    for (start, end) in all {
        let mut expected = expected((start, end));
        assert_eq!(pairs(blocks.walk((start, end), false).unwrap()), expected);
        expected.reverse();
        assert_eq!(pairs(blocks.walk((start, end), true).unwrap()), expected);
    }
    for key in model.keys().map(Vec::as_slice).chain([low, high]) {
        let found = blocks.get(key).unwrap().map(|value| value.to_vec());
        assert_eq!(found.as_ref(), model.get(key));
    }
    let ends = model.keys().next().zip(model.keys().next_back());
    let extent = blocks.extent.read().unwrap();
    let extent = extent.as_ref();
    assert_eq!(
        extent.map(|extent| (extent.first.to_vec(), extent.last.clone().unwrap().to_vec())),
        ends.map(|(first, last)| (first.clone(), last.clone())),
        "exact once it is written, so that as little as can be is asked of sled"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_there_in_order(
        layers in prop::collection::vec((layer(), key(), key()), 1..12),
    ) {
        let (_directory, db) = database();
        let blocks = blocks(&db);
        let mut model = Model::new();
        for (layer, one, other) in &layers {
            write(&blocks, layer);
            take_in(&mut model, layer);
            check(&blocks, &model, (one, other));
        }
        // As another process finds it.
        let (_, one, other) = layers.last().unwrap();
        let again = self::blocks(&db);
        check(&again, &model, (one, other));
    }

    /// After a kill halfway the journal makes the same changes again.
    #[test]
    fn a_layer_written_in_part_and_then_again_comes_out_right(
        layers in prop::collection::vec((layer(), 0..12_usize), 2..8), one in key(), other in key(),
    ) {
        let (_directory, db) = database();
        let mut model = Model::new();
        for (layer, cut) in &layers {
            let killed = blocks(&db);
            killed.left.store(*cut, Ordering::Relaxed);
            let changes = layer.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
            let _as_far_as_it_came = killed.write(changes);
            // What the layer does not change is there once, whatever the cut.
            let after = blocks(&db);
            let all = after.walk((Bound::Unbounded, Bound::Unbounded), false).unwrap();
            let mut found = pairs(all);
            found.retain(|(key, _)| !layer.contains_key(key));
            let unchanged = model.clone().into_iter().filter(|(key, _)| !layer.contains_key(key));
            prop_assert_eq!(found, unchanged.collect::<Vec<_>>());
            write(&after, layer);
            take_in(&mut model, layer);
            check(&after, &model, (&one, &other));
        }
    }
}

#[test]
fn a_block_that_is_none_is_an_error_and_no_panic() {
    let (_directory, db) = database();
    let tree = db.open_tree("test").unwrap();
    let nonsense: [&[u8]; 5] = [
        b"\x02",
        b"\x01\x80",
        b"\x01\x01\x05ab",
        b"\x01\xff\xff\xff\xff\xff",
        b"\x01\x00",
    ];
    for block in nonsense {
        tree.insert(b"", block).unwrap();
        let blocks = blocks(&db);
        assert!(blocks.get(b"a").is_err(), "{block:?}");
        let mut walk = blocks
            .walk((Bound::Unbounded, Bound::Unbounded), false)
            .unwrap();
        assert!(walk.next().unwrap().is_err());
        assert!(walk.next().is_none());
        drop(walk);
        assert!(blocks.write([(b"a".as_slice(), None)].into_iter()).is_err());
    }
}

/// While one thread divides and empties blocks around them, others find what never changes, from either end.
#[test]
fn readers_always_see_what_does_not_change() {
    let (_directory, db) = database();
    let blocks = blocks(&db);
    let fixed: Vec<Vec<u8>> = (0..40_u8).map(|number| vec![number, 100]).collect();
    let put = fixed.iter().map(|key| (key.as_slice(), Some(&b"here"[..])));
    blocks.write(put).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for backward in [false, true] {
            let (blocks, fixed, is_done) = (&blocks, &fixed, &is_done);
            scope.spawn(move || {
                while !is_done.load(Ordering::Relaxed) {
                    let all = (Bound::Unbounded, Bound::Unbounded);
                    let met = pairs(blocks.walk(all, backward).unwrap());
                    let met = met.iter().filter(|(_, value)| value == b"here").count();
                    assert_eq!(met, fixed.len());
                    for key in fixed {
                        assert!(blocks.get(key).unwrap().is_some());
                    }
                }
            });
        }
        for round in 0..300_u16 {
            let value = (round % 2 == 0).then_some(&[7_u8; 20][..]);
            let around: Vec<Vec<u8>> = (0..40_u8)
                .flat_map(|number| (0..5_u8).map(move |other| vec![number, 98 + other]))
                .filter(|key| !fixed.contains(key))
                .collect();
            let changes = around.iter().map(|key| (key.as_slice(), value));
            blocks.write(changes).unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_block_that_was_read_before_a_change_is_not_found_after_it() {
    let (_directory, db) = database();
    let blocks = blocks(&db);
    let write = |value: &[u8]| {
        let change = [(b"a".as_slice(), Some(value))];
        blocks.write(change.into_iter()).unwrap();
    };
    write(b"old");
    let changes = blocks.near.find(b"a").unwrap_err();
    let before = blocks.block_of(b"a").unwrap().unwrap();
    let twice = || {
        for _ in 0..2 {
            blocks
                .near
                .was_read(&before, changes, &blocks.tree)
                .unwrap();
        }
    };
    twice();
    assert!(blocks.near.find(b"a").is_ok());
    write(b"new");
    // Whoever read it before the change says so only now.
    twice();
    assert!(blocks.near.find(b"a").is_err());
    assert_eq!(blocks.get(b"a").unwrap().unwrap(), b"new");
}

/// What stood at the end of a block and is changed moves with what comes before it: who walks meets nothing twice.
#[test]
fn a_changed_entry_that_moves_is_moved_like_one_that_is_not() {
    let (_directory, db) = database();
    let blocks = blocks(&db);
    let old = [b"a", b"z"].map(|key| (key.as_slice(), Some(&b"old"[..])));
    blocks.write(old.into_iter()).unwrap();
    let (_, block) = blocks.block_of(b"z").unwrap().unwrap();
    let between: Vec<[u8; 1]> = (b'b'..=b'y').map(|key| [key]).collect();
    for last in [Some(&b"new"[..]), None] {
        let changes = between
            .iter()
            .map(|key| (&key[..], Some(&b"0123456789"[..])));
        let changes = changes.chain(std::iter::once((&b"z"[..], last)));
        let entries = merged(&block, None, &mut changes.peekable()).unwrap();
        assert!(entries.kept > blocks.divided(&entries.all, true)[0].len());
    }
}
