//! The engine against a map: whatever is in which layer, readers see what was applied.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;

use proptest::prelude::*;

use super::*;

/// One step of a random life.
#[derive(Clone, Debug)]
enum Act {
    Synced(Vec<(u8, Option<u8>)>),
    Loose(Vec<(u8, Option<u8>)>),
    Seal,
    Drain,
    Sync,
}

fn act() -> impl Strategy<Value = Act> {
    let group = || prop::collection::vec((0..24_u8, prop::option::of(any::<u8>())), 1..5);
    prop_oneof![
        4 => group().prop_map(Act::Synced),
        2 => group().prop_map(Act::Loose),
        2 => Just(Act::Seal),
        2 => Just(Act::Drain),
        1 => Just(Act::Sync),
    ]
}

impl Engine {
    /// Over a new sled, without a commit loop.
    pub(in crate::store::embedded) fn made_in(directory: &Path) -> Self {
        let sled = directory.join("sled");
        let db = sled::Config::new().path(&sled).open().unwrap();
        let lock = File::create(directory.join("lock")).unwrap();
        Self::new(db, &sled, directory, lock).unwrap()
    }
}

fn changes(group: &[(u8, Option<u8>)]) -> Changes {
    // As from a transaction: each key once, in order.
    let group: BTreeMap<_, _> = group.iter().copied().collect();
    let entries = |has_values: bool| {
        let value = move |value: u8| IVec::from(&[value][..usize::from(has_values)]);
        let entries = group.iter();
        entries
            .map(move |(key, change)| (IVec::from(&[*key]), change.map(value)))
            .collect()
    };
    vec![(TREE, entries(true)), (QUEUE, entries(false))]
}

const TREE: Tree = Tree::Callbacks;

/// Of queues more is kept in memory than of others; their entries have no values.
const QUEUE: Tree = Tree::DeliveryDue;

type Model = BTreeMap<u8, u8>;

fn take_in(model: &mut Model, group: &[(u8, Option<u8>)]) {
    for (key, value) in group {
        match value {
            Some(value) => model.insert(*key, *value),
            None => model.remove(key),
        };
    }
}

type Pairs = Vec<(u8, Option<u8>)>;

fn pairs(walk: impl Iterator<Item = Result<(IVec, IVec), StoreError>>) -> Pairs {
    walk.map(|entry| {
        let (key, value) = entry.unwrap();
        (*key.first().unwrap(), value.first().copied())
    })
    .collect()
}

fn check(engine: &Engine, model: &Model) {
    check_tree(engine, TREE, |range| {
        model.range(range).map(|(k, v)| (*k, Some(*v))).collect()
    });
    check_tree(engine, QUEUE, |range| {
        model.range(range).map(|(k, _)| (*k, None)).collect()
    });
}

fn check_tree(engine: &Engine, tree: Tree, there: impl Fn(Range<u8>) -> Pairs) {
    let walk = |start: Bound<u8>, end: Bound<u8>| {
        let bound = |bound: Bound<u8>| bound.map(|key| IVec::from(&[key]));
        engine.range(tree, bound(start), bound(end)).unwrap()
    };
    let everything = || walk(Bound::Unbounded, Bound::Unbounded);
    let expected = there(0..24);
    assert_eq!(pairs(everything()), expected);
    let mut backward = pairs(everything().rev());
    backward.reverse();
    assert_eq!(backward, expected);
    let (from, to) = (Bound::Excluded(5), Bound::Included(17));
    assert_eq!(pairs(walk(from, to)), there(6..18));
    // From either end, as queues are looked at, and again from what was found there.
    for (from, to) in [(0, 8), (3, 12), (8, 16), (8, 24), (16, 24)] {
        let (start, end) = (Bound::Included(from), Bound::Excluded(to));
        for _ in 0..2 {
            assert_eq!(pairs(walk(start, end)), there(from..to));
            let mut backward = pairs(walk(start, end).rev());
            backward.reverse();
            assert_eq!(backward, there(from..to));
        }
    }
    for key in 0..24 {
        let found = engine.get(tree, &[key]).unwrap();
        let found = found.map(|value| (key, value.first().copied()));
        assert_eq!(found, there(key..key + 1).pop());
    }
    // From both ends at once, each entry once.
    let mut walk = everything();
    let mut met = Vec::new();
    while let Some(entry) = walk.next() {
        met.extend(pairs(std::iter::once(entry)));
        met.extend(pairs(walk.next_back().into_iter()));
    }
    met.sort_unstable();
    assert_eq!(met, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readers_see_what_was_applied_wherever_it_is(acts in prop::collection::vec(act(), 1..40)) {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::made_in(directory.path());
        engine.set_layer(usize::MAX);
        let (mut model, mut synced, mut sequence, mut loose) = (Model::new(), Model::new(), 0, false);
        for act in &acts {
            match act {
                Act::Synced(group) => {
                    sequence += 1;
                    engine.apply(changes(group), sequence).unwrap();
                    take_in(&mut model, group);
                    (synced, loose) = (model.clone(), false);
                }
                Act::Loose(group) => {
                    engine.apply_loose(changes(group)).unwrap();
                    take_in(&mut model, group);
                    loose = true;
                }
                Act::Seal => engine.seal(&locked(&engine.applying)),
                Act::Drain => engine.drain().unwrap(),
                // What the journal has not synced never goes into sled.
                Act::Sync => {
                    let behind = engine.recent().drained < sequence;
                    let sealed = engine.recent().sealed.as_ref().map(|layer| layer.sequence);
                    let possible = !loose || !behind || sealed == Some(sequence);
                    prop_assert_eq!(engine.sync().is_ok(), possible);
                }
            }
            check(&engine, &model);
            prop_assert_eq!(engine.sequence(), sequence);
        }
        if !loose {
            engine.sync().unwrap();
            let stored = engine.open().unwrap();
            let stored = stored.tree(TREE).unwrap();
            let stored = stored.walk((Bound::Unbounded, Bound::Unbounded), false).unwrap();
            let stored: Vec<_> = stored.map(|e| e.unwrap()).map(|(k, v)| (*k.first().unwrap(), *v.first().unwrap())).collect();
            prop_assert_eq!(stored, synced.into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_comes_and_goes_before_it_is_sealed_never_reaches_sled() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::made_in(directory.path());
    engine
        .apply(changes(&[(1, Some(1)), (2, Some(2))]), 1)
        .unwrap();
    engine.apply(changes(&[(1, None)]), 2).unwrap();
    assert_eq!(engine.recent().active.entries, 2, "one of each tree");
    engine.sync().unwrap();
    // What is in sled is hidden until sled has been told.
    engine.apply(changes(&[(2, None)]), 3).unwrap();
    assert_eq!(engine.recent().active.entries, 2);
    check(&engine, &Model::new());
}
