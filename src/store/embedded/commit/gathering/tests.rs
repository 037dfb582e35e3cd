//! Who waits for whom, and for how long.

#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use super::*;
use Kind::{Callback, Loose, Synced};

const MOMENT: Duration = Duration::from_micros(1);

/// Use cases that are numbered as they come.
struct Scene {
    gathering: Gathering<usize>,
    came: usize,
    began: Instant,
}

impl Scene {
    fn new() -> Self {
        Self {
            gathering: Gathering::new(),
            came: 0,
            began: Instant::now(),
        }
    }

    /// After a group of three that makes it worth waiting.
    fn busy() -> Self {
        let mut scene = Self::new();
        scene.comes(&[Callback, Synced, Callback], Duration::ZERO);
        assert_eq!(scene.due(Duration::ZERO), [0, 1, 2]);
        scene
    }

    /// Some come, so long after the beginning.
    fn comes(&mut self, kinds: &[Kind], after: Duration) {
        for kind in kinds {
            self.gathering.add(self.came, *kind, self.began + after);
            self.came += 1;
        }
    }

    /// What is committed so long after the beginning.
    fn due(&mut self, after: Duration) -> Vec<usize> {
        let (group, _along) = self.gathering.due(self.began + after);
        std::mem::take(group)
    }

    /// The same where the group is synced.
    fn due_and_synced(&mut self, after: Duration) -> Vec<usize> {
        let (group, along) = self.gathering.due(self.began + after);
        group.drain(..).chain(along.drain(..)).collect()
    }

    /// How long after the beginning somebody waits.
    fn until(&self) -> Option<Duration> {
        self.gathering.until().map(|until| until - self.began)
    }
}

#[test]
fn nobody_waits_after_a_group_in_which_few_had_a_sync_to_share() {
    for before in [
        &[Callback, Synced][..],
        &[Callback, Synced, Loose, Loose],
        &[Callback; 9],
        &[Synced; 9],
        &[Loose; 9],
        &[],
    ] {
        let mut scene = Scene::new();
        scene.comes(before, Duration::ZERO);
        assert_eq!(scene.due(Duration::ZERO).len(), before.len());
        scene.comes(&[Loose, Callback, Loose, Synced], MOMENT);
        assert_eq!(scene.until(), None, "after {before:?}");
        let first = before.len();
        assert_eq!(
            scene.due(MOMENT),
            (first..first + 4).collect::<Vec<_>>(),
            "after {before:?}, as they came"
        );
    }
}

#[test]
fn what_is_to_be_synced_waits_as_long_as_the_first_of_it_may() {
    for first in [Callback, Synced] {
        let mut scene = Scene::busy();
        scene.comes(&[first], MOMENT);
        assert_eq!(scene.until(), Some(MOMENT + DELAY));
        assert!(scene.due(MOMENT).is_empty());
        scene.comes(&[Synced, Callback], DELAY);
        assert_eq!(scene.until(), Some(MOMENT + DELAY), "the first counts");
        assert!(scene.due(DELAY).is_empty());
        assert_eq!(scene.due(MOMENT + DELAY), [3, 4, 5]);
        assert_eq!(scene.until(), None);
    }
}

#[test]
fn what_need_not_be_synced_does_not_wait() {
    let mut scene = Scene::busy();
    scene.comes(&[Loose, Loose], MOMENT);
    assert_eq!(scene.until(), None);
    assert_eq!(scene.due(MOMENT), [3, 4]);
    scene.comes(&[Callback, Loose, Synced, Loose], MOMENT);
    assert_eq!(scene.due(MOMENT), [4 + 2, 4 + 4]);
    // What comes when the others have waited long enough goes with them.
    scene.comes(&[Loose], MOMENT + DELAY);
    assert_eq!(scene.due(MOMENT + DELAY), [5, 7, 9]);
}

#[test]
fn who_waits_goes_along_with_what_is_synced_after_all() {
    let mut scene = Scene::busy();
    scene.comes(&[Callback, Synced, Loose, Callback], MOMENT);
    assert_eq!(scene.due_and_synced(MOMENT), [5, 3, 4, 6]);
    assert_eq!(scene.until(), None);
    scene.comes(&[Callback], MOMENT);
    assert_eq!(scene.until(), Some(MOMENT + DELAY), "it was a large one");
    scene.comes(&[Loose], MOMENT);
    assert_eq!(scene.due_and_synced(MOMENT), [8, 7]);
    scene.comes(&[Callback], MOMENT);
    assert_eq!(scene.until(), None, "it was a small one");
}

#[test]
fn enough_wait_for_no_more() {
    let mut scene = Scene::busy();
    scene.comes(&[Callback; ENOUGH - 1], Duration::ZERO);
    assert!(scene.due(Duration::ZERO).is_empty());
    scene.comes(&[Synced], Duration::ZERO);
    assert_eq!(scene.due(Duration::ZERO).len(), ENOUGH);
}

#[test]
fn who_waited_in_vain_is_the_last_to_wait() {
    let mut scene = Scene::busy();
    // Those that never wait are no company.
    scene.comes(&[Callback, Loose, Loose], Duration::ZERO);
    assert_eq!(scene.due(Duration::ZERO), [4, 5]);
    assert_eq!(scene.due(DELAY), [3]);
    scene.comes(&[Callback], DELAY);
    assert_eq!(scene.until(), None);
    assert_eq!(scene.due(DELAY), [6]);
}

#[test]
fn what_comes_in_between_is_no_group_to_judge_by() {
    let mut scene = Scene::busy();
    for _ in 0..3 {
        scene.comes(&[Loose], MOMENT);
        assert_eq!(scene.due(MOMENT).len(), 1);
    }
    assert!(scene.due(MOMENT).is_empty());
    scene.comes(&[Callback], MOMENT);
    assert_eq!(scene.until(), Some(MOMENT + DELAY));
}

#[test]
fn a_group_has_an_end() {
    let mut scene = Scene::busy();
    scene.comes(&[Callback; GROUP / 2], Duration::ZERO);
    scene.comes(&[Loose; GROUP / 2 - 1], Duration::ZERO);
    assert!(scene.gathering.has_room());
    scene.comes(&[Loose], Duration::ZERO);
    assert!(!scene.gathering.has_room());
}

#[test]
fn all_goes_at_the_end() {
    let mut scene = Scene::busy();
    scene.comes(&[Callback, Loose, Synced], MOMENT);
    let (all, along) = scene.gathering.all();
    assert!(along.is_empty());
    assert_eq!(*all, [3, 5, 4]);
    assert_eq!(scene.until(), None);
}
