//! What is remembered against what is there.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::cell::Cell;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

const TREE: Tree = Tree::DeliveryDue;

/// What all keys begin with.
const PREFIX: u8 = 7;

/// What is there, and how often it was looked at.
#[derive(Default)]
struct Model {
    there: BTreeSet<IVec>,
    known: Mutex<Stretches>,
    looks: Cell<usize>,
}

fn key(number: u8) -> IVec {
    IVec::from(&[PREFIX, number / 8, number % 8])
}

impl Model {
    fn set(&mut self, number: u8, is_there: bool) {
        let key = key(number);
        if is_there {
            self.there.insert(key.clone());
        } else {
            self.there.remove(&key);
        }
        let known = self.known.get_mut().unwrap();
        known.note(TREE, &key, is_there);
    }

    fn there(&self, bounds: Bounds<'_>, limit: usize, is_backward: bool) -> Vec<Entry> {
        let all = self.there.range::<[u8], _>(bounds).cloned();
        let keys: Vec<IVec> = if is_backward {
            all.rev().take(limit).collect()
        } else {
            all.take(limit).collect()
        };
        without_values(keys)
    }

    fn read(&self, bounds: Bounds<'_>, limit: usize, is_backward: bool) -> Vec<Entry> {
        let Ok(found) = read(
            &self.known,
            TREE,
            bounds,
            limit,
            is_backward,
            |bounds, limit, is_backward| {
                self.looks.set(self.looks.get() + 1);
                Ok::<_, Infallible>(self.there(bounds, limit, is_backward))
            },
        );
        found
    }
}

fn bound(kind: u8, key: &IVec) -> Bound<&[u8]> {
    match kind {
        0 => Bound::Included(key),
        1 => Bound::Excluded(key),
        _ => Bound::Unbounded,
    }
}

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
                    let (low, high) = (key(one.min(other)), key(one.max(other)));
                    let start = if first == 2 { Bound::Included(&[PREFIX][..]) } else { bound(first, &low) };
                    let bounds = (start, bound(second, &high));
                    if low == high {
                        continue;
                    }
                    let found = model.read(bounds, limit, is_backward);
                    prop_assert_eq!(found, model.there(bounds, limit, is_backward));
                }
            }
            let known = model.known.get_mut().unwrap();
            let queue = &known.0[1];
            let stretches: Vec<_> = queue.ends.iter().collect();
            prop_assert!(stretches.windows(2).all(|two| two[0].1 < two[1].0), "they do not meet");
            prop_assert!(stretches.iter().all(|(from, to)| from < to));
            prop_assert!(queue.keys.iter().all(|key| queue.is_known(key)), "nothing else is remembered");
        }
    }
}

#[test]
fn who_takes_from_the_front_seldom_looks_beneath() {
    let mut model = Model::default();
    (0..200).for_each(|number| model.set(number, true));
    for number in 0..200 {
        let found = model.read((Bound::Unbounded, Bound::Excluded(&[255])), 1, false);
        assert_eq!(found, without_values(vec![key(number)]));
        model.set(number, false);
    }
    assert!(model.looks.get() <= 6, "{} looks", model.looks.get());
}

#[test]
fn who_takes_the_last_before_an_end_that_moves_seldom_looks_beneath() {
    let mut model = Model::default();
    (0..200).for_each(|number| model.set(number, true));
    for number in 50..200_u8 {
        // In between one that was put meanwhile.
        let end = key(number);
        let bounds = (
            Bound::Included(&[PREFIX][..]),
            Bound::Excluded(end.as_ref()),
        );
        let found = model.read(bounds, 1, true);
        assert_eq!(found, model.there(bounds, 1, true));
        let (last, _) = &found[0];
        let last = last[1] * 8 + last[2];
        model.set(last, false);
        model.set(number - 40, true);
    }
    assert!(model.looks.get() <= 12, "{} looks", model.looks.get());
}

#[test]
fn only_of_queues_something_is_remembered_and_not_without_bound() {
    let mut known = Mutex::new(Stretches::default());
    let one = vec![(IVec::from(&[1]), IVec::default())];
    let all = (Bound::Included(&[0][..]), Bound::Excluded(&[9][..]));
    for tree in [Tree::Users, TREE] {
        for _ in 0..2 {
            let found = read(&known, tree, all, 1, false, |_, _, _| {
                Ok::<_, ()>(one.clone())
            });
            assert_eq!(found, Ok(one.clone()));
        }
    }
    assert!(known.get_mut().unwrap().0[0].ends.is_empty());
    for number in 0..=MOST {
        let key = IVec::from(&[&[5][..], &number.to_be_bytes()].concat()[..]);
        known.get_mut().unwrap().note(TREE, &key, true);
    }
    let queue = &known.get_mut().unwrap().0[1];
    assert!(queue.keys.len() <= MOST && queue.ends.is_empty());
}

#[test]
fn what_has_a_value_is_read_and_not_remembered() {
    let known = Mutex::new(Stretches::default());
    let one = vec![(IVec::from(&[1]), IVec::from(&[7]))];
    let all = (Bound::Included(&[0][..]), Bound::Excluded(&[9][..]));
    for is_backward in [false, true, false] {
        let found = read(&known, TREE, all, 1, is_backward, |_, _, _| {
            Ok::<_, ()>(one.clone())
        });
        assert_eq!(found, Ok(one.clone()));
    }
}
