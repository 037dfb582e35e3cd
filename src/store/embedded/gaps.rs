//! Where nothing is: stretches of a queue's keys that have been walked over in vain.
//!
//! What is taken from the front of a queue leaves deletions behind until its layer is in sled, and each look at the front
//! would pass over all of them. Whoever passed over them once notes it here; the next one begins behind.
//!
//! Promise: a key that is noted has no value, in no layer and not in sled. Whoever sets one [fills](Gaps::fill) the gap
//! first, and deletions only make gaps larger, so nothing else ends one.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::keys::Tree;

/// Gaps kept of one tree; a queue needs one or two for each endpoint and lane. Beyond that they are learned anew.
const MOST: usize = 8192;

/// The gaps in the trees that are queues.
#[derive(Debug, Default)]
pub(super) struct Gaps([Stretches; 2]);

/// Stretches without a key: the first, and where each ends, which is not in it. None meets another.
type Stretches = BTreeMap<Vec<u8>, Vec<u8>>;

fn up_to(key: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Unbounded, Bound::Included(key))
}

/// Which of the queues a tree is.
const fn queue(tree: Tree) -> Option<usize> {
    match tree {
        Tree::VerifyDue => Some(0),
        Tree::DeliveryDue => Some(1),
        _ => None,
    }
}

impl Gaps {
    /// Whether gaps of this tree are kept: it is a queue, from the front of which things are taken.
    pub(super) const fn are_kept(tree: Tree) -> bool {
        queue(tree).is_some()
    }

    fn of(&self, tree: Tree) -> Option<&Stretches> {
        self.0.get(queue(tree)?)
    }

    fn of_mut(&mut self, tree: Tree) -> Option<&mut Stretches> {
        self.0.get_mut(queue(tree)?)
    }

    /// The end of the gap that a key is in.
    pub(super) fn behind(&self, tree: Tree, key: &[u8]) -> Option<&[u8]> {
        let (_, end) = self.of(tree)?.range::<[u8], _>(up_to(key)).next_back()?;
        (key < end.as_slice()).then_some(end)
    }

    /// There is nothing from one key up to another.
    pub(super) fn learn(&mut self, tree: Tree, from: &[u8], to: &[u8]) {
        let Some(gaps) = self.of_mut(tree) else {
            return;
        };
        if from >= to {
            return;
        }
        if gaps.len() >= MOST {
            gaps.clear();
        }
        let (mut from, mut to) = (from.to_vec(), to.to_vec());
        // Those that begin at or before its end become one with it.
        while let Some((start, end)) = gaps.range::<[u8], _>(up_to(&to)).next_back()
            && *end >= from
        {
            let start = start.clone();
            if let Some(end) = gaps.remove(&start) {
                to = to.max(end);
            }
            from = from.min(start);
        }
        gaps.insert(from, to);
    }

    /// A key is to have a value.
    pub(super) fn fill(&mut self, tree: Tree, key: &[u8]) {
        let Some(gaps) = self.of_mut(tree) else {
            return;
        };
        let Some((start, end)) = gaps.range_mut::<[u8], _>(up_to(key)).next_back() else {
            return;
        };
        if key >= end.as_slice() {
            return;
        }
        if start == key {
            let start = start.clone();
            gaps.remove(&start);
        } else {
            // What is behind it is learned anew by whoever passes over it.
            *end = key.to_vec();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    use super::*;

    const TREE: Tree = Tree::DeliveryDue;

    fn key(number: u8) -> Vec<u8> {
        vec![number / 8, number % 8]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_there_is_in_no_gap(steps in prop::collection::vec((0..3_u8, 0..64_u8, 0..64_u8), 1..80)) {
            let (mut gaps, mut there) = (Gaps::default(), BTreeSet::new());
            for (what, one, other) in steps {
                let (one, other) = (key(one), key(other));
                match what {
                    0 => {
                        gaps.fill(TREE, &one);
                        there.insert(one);
                    }
                    1 => {
                        there.remove(&one);
                    }
                    // As whoever walks does: from a key to the first that is there, or as far as it looks.
                    _ => {
                        let from = gaps.behind(TREE, &one).unwrap_or(&one).to_vec();
                        let first = there.range(from..).next();
                        let to = first.filter(|first| **first < other).unwrap_or(&other);
                        let is_hidden = there.range(one.clone()..).next().is_some_and(|found| found < to);
                        prop_assert!(!is_hidden, "a gap hid what is there");
                        gaps.learn(TREE, &one, to);
                        prop_assert!(one >= *to || gaps.behind(TREE, &one).is_some_and(|end| end >= to.as_slice()));
                    }
                }
                for number in 0..64 {
                    let at = key(number);
                    prop_assert!(!(there.contains(&at) && gaps.behind(TREE, &at).is_some()));
                }
                let stretches: Vec<_> = gaps.of(TREE).into_iter().flatten().collect();
                prop_assert!(stretches.windows(2).all(|two| two[0].1 < two[1].0), "they do not meet");
                prop_assert!(stretches.iter().all(|(from, to)| from < to));
            }
        }
    }

    #[test]
    fn only_queues_have_gaps_and_not_without_bound() {
        let mut gaps = Gaps::default();
        gaps.learn(Tree::Users, &[1], &[2]);
        assert_eq!(gaps.behind(Tree::Users, &[1]), None);
        for number in 0..=MOST {
            let from = number.to_be_bytes();
            let mut to = from.to_vec();
            to.push(0);
            gaps.learn(TREE, &from, &to);
        }
        assert!(gaps.of(TREE).is_some_and(|gaps| gaps.len() <= MOST));
    }
}
