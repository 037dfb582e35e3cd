//! What is remembered against what is there.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::cell::Cell;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

const TREE: Tree = Tree::DeliveryDue;

/// What all keys begin with.
const PREFIX: u8 = 7;

/// Keys of different lengths, among them the least and the greatest bytes.
const BYTES: [u8; 4] = [0, 1, 254, 255];

/// What is there, and how often it was looked at.
#[derive(Default)]
struct Model {
    there: BTreeSet<IVec>,
    known: Stretches,
    looks: Cell<usize>,
}

fn key(number: u8) -> IVec {
    let number = usize::from(number);
    let bytes = [
        PREFIX,
        BYTES[number / 16 % 4],
        BYTES[number / 4 % 4],
        BYTES[number % 4],
    ];
    // From 64 on they are shorter.
    let length = if number < 64 { 4 } else { 2 + number % 2 };
    IVec::from(&bytes[..length])
}

impl Model {
    /// With the keys of 64 numbers, in their order.
    fn full() -> Self {
        let mut model = Self::default();
        (0..64).for_each(|number| model.set(number, true));
        model
    }

    fn set(&mut self, number: u8, is_there: bool) {
        let key = key(number);
        if is_there {
            self.there.insert(key.clone());
        } else {
            self.there.remove(&key);
        }
        let value = is_there.then(IVec::default);
        self.known.note(TREE, &key, value.as_ref());
    }

    fn there(&self, bounds: Bounds<'_>, limit: usize, is_backward: bool) -> Vec<Entry> {
        let all = self.there.range::<[u8], _>(bounds).cloned();
        let keys: Vec<IVec> = if is_backward {
            all.rev().take(limit).collect()
        } else {
            all.take(limit).collect()
        };
        keys.iter().map(entry).collect()
    }

    fn read(&self, bounds: Bounds<'_>, limit: usize, is_backward: bool) -> Vec<Entry> {
        let look = |bounds: Bounds<'_>, limit, is_backward| {
            self.looks.set(self.looks.get() + 1);
            Ok::<_, Infallible>(self.there(bounds, limit, is_backward))
        };
        let Ok(found) = read(&self.known, TREE, bounds, limit, is_backward, look);
        found
    }

    /// How many looks beneath this takes.
    fn looks_for(&self, bounds: Bounds<'_>, is_backward: bool) -> usize {
        let before = self.looks.get();
        assert_eq!(
            self.read(bounds, 1, is_backward),
            self.there(bounds, 1, is_backward)
        );
        self.looks.get() - before
    }
}

fn bound(kind: u8, key: &IVec) -> Bound<&[u8]> {
    match kind {
        0 => Bound::Included(key),
        1 => Bound::Excluded(key),
        _ => Bound::Unbounded,
    }
}

const ALL: Bounds<'_> = (Bound::Included(&[PREFIX]), Bound::Excluded(&[PREFIX + 1]));

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_reads_finds_what_is_there(
        steps in prop::collection::vec((0..5_u8, 0..80_u8, 0..80_u8, 0..3_u8, 0..3_u8, 0..6_usize, any::<bool>()), 1..120)
    ) {
        let mut model = Model::default();
        for (what, one, other, first, second, limit, is_backward) in steps {
            match what {
                0 | 1 => model.set(one, true),
                2 => model.set(one, false),
                _ => {
                    let (one, other) = (key(one), key(other));
                    if one == other {
                        continue;
                    }
                    let (low, high) = (one.clone().min(other.clone()), one.max(other));
                    let start = if first == 2 { ALL.0 } else { bound(first, &low) };
                    let bounds = (start, bound(second, &high));
                    let found = model.read(bounds, limit, is_backward);
                    prop_assert_eq!(found, model.there(bounds, limit, is_backward));
                }
            }
            let queue = locked(&model.known.deliver);
            let stretches: Vec<_> = queue.ends.iter().collect();
            prop_assert!(stretches.windows(2).all(|two| two[0].1 < two[1].0), "they do not meet");
            prop_assert!(stretches.iter().all(|(from, to)| from < to));
            let known = model.there.iter().filter(|key| queue.is_known(key));
            prop_assert!(known.eq(&queue.keys), "all that is there, and nothing else");
        }
    }
}

#[test]
fn who_takes_from_the_front_seldom_looks_beneath() {
    let mut model = Model::full();
    for number in 0..64 {
        assert_eq!(model.read(ALL, 1, false), vec![entry(&key(number))]);
        model.set(number, false);
    }
    assert_eq!(model.looks.get(), 2, "a few at first, then many ahead");
    assert_eq!(model.looks_for(ALL, false), 0, "there is nothing left");
}

#[test]
fn who_takes_the_last_before_an_end_that_moves_seldom_looks_beneath() {
    let mut model = Model::full();
    for number in 20..64 {
        let end = key(number);
        let bounds = (ALL.0, Bound::Excluded(end.as_ref()));
        let (last, _) = model.read(bounds, 1, true).remove(0);
        let last = (0..64).find(|number| key(*number) == last).unwrap();
        model.set(last, false);
        // In between one that is put meanwhile.
        model.set(number - 15, true);
    }
    assert!(model.looks.get() <= 4, "{} looks", model.looks.get());
}

#[test]
fn what_is_empty_is_looked_at_once() {
    for is_backward in [false, true] {
        let mut model = Model::default();
        let first = model.looks_for(ALL, is_backward);
        assert!(first > 0);
        assert_eq!(model.looks_for(ALL, is_backward), 0);
        assert_eq!(model.looks_for(ALL, !is_backward), 0, "from the other end");
        model.set(3, true);
        assert_eq!(
            model.looks_for(ALL, is_backward),
            0,
            "what was put is known"
        );
        // With fewer than are wanted the rest is known to be empty.
        let mut few = Model::default();
        few.set(3, true);
        let one = few.there(ALL, 2, is_backward);
        assert_eq!(few.read(ALL, 2, is_backward), one);
        let looks = few.looks.get();
        assert_eq!(few.read(ALL, 2, is_backward), one);
        assert_eq!(few.looks.get(), looks);
        // Somebody else's stretch begins where this one ends.
        let next = (
            Bound::Included(&[PREFIX + 1][..]),
            Bound::Excluded(&[PREFIX + 2][..]),
        );
        assert!(model.looks_for(next, is_backward) > 0);
    }
}

#[test]
fn each_queue_has_its_own_and_other_trees_have_nothing() {
    let known = Stretches::default();
    let looks = Cell::new(0);
    for tree in [Tree::VerifyDue, TREE, Tree::Users] {
        let own = vec![entry(&IVec::from(&[PREFIX, tree as u8]))];
        for _ in 0..2 {
            let found = read(&known, tree, ALL, 1, false, |_, _, _| {
                looks.set(looks.get() + 1);
                Ok::<_, ()>(own.clone())
            });
            assert_eq!(found.as_ref(), Ok(&own));
        }
    }
    assert_eq!(looks.get(), 1 + 1 + 2);
}

#[test]
fn neither_keys_nor_stretches_are_remembered_without_bound() {
    let model = Model::default();
    assert!(model.looks_for(ALL, false) > 0);
    let place = |number: usize| {
        let bytes = [&[PREFIX][..], &number.to_be_bytes()].concat();
        IVec::from(bytes)
    };
    let most = |what: &dyn Fn(&Queue) -> usize, act: &dyn Fn(usize)| {
        let mut most = 0;
        for number in 0..=MOST {
            act(number);
            most = most.max(what(&locked(&model.known.deliver)));
        }
        assert_eq!(most, MOST);
        assert_eq!(what(&locked(&model.known.deliver)), 0, "all was forgotten");
    };
    most(&|queue| queue.keys.len(), &|number| {
        model
            .known
            .note(TREE, &place(number), Some(&IVec::default()));
    });
    most(&|queue| queue.ends.len(), &|number| {
        let (from, to) = (place(number * 2), place(number * 2 + 1));
        let bounds = (Bound::Included(from.as_ref()), Bound::Excluded(to.as_ref()));
        assert_eq!(model.read(bounds, 1, false), []);
    });
}

#[test]
fn what_has_a_value_is_read_and_not_remembered() {
    let known = Stretches::default();
    let one = vec![(IVec::from(&[PREFIX]), IVec::from(&[9]))];
    for is_backward in [false, true, false] {
        let found = read(&known, TREE, ALL, 1, is_backward, |_, _, _| {
            Ok::<_, ()>(one.clone())
        });
        assert_eq!(found, Ok(one.clone()));
    }
    // Nor is it if it comes later.
    let model = Model::default();
    assert!(model.looks_for(ALL, false) > 0);
    model.known.note(TREE, &key(1), Some(&IVec::from(&[9])));
    assert!(model.looks_for(ALL, false) > 0);
}

/// sled returns parts of blocks, which keep all of that block in memory.
#[test]
fn what_is_remembered_keeps_nothing_else_in_memory() {
    let known = Stretches::default();
    let block = IVec::from(vec![PREFIX; 4096]);
    let part = block.subslice(0, 40);
    let look = |_: Bounds<'_>, _, _| Ok::<_, ()>(vec![(part.clone(), IVec::default())]);
    for is_backward in [false, true] {
        read(&known, TREE, ALL, 1, is_backward, look).unwrap();
    }
    let queue = locked(&known.deliver);
    let kept: Vec<&IVec> = queue.keys.iter().collect();
    assert_eq!(kept, [&part]);
    assert!(kept.iter().all(|key| key.as_ptr() != part.as_ptr()));
    let ends = queue.ends.iter().flat_map(|(from, to)| [from, to]);
    assert!({ ends }.all(|key| key.as_ptr() != part.as_ptr()));
}
