//! Who goes first between two groups: parts, or what waits.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;

use super::*;
use crate::domain::{
    Event, EventContent, EventFilter, EventId, OperationalEvent, Route, Routing, Timestamp,
};
use crate::store::embedded::commit::tests::unrun;
use crate::store::embedded::keys::Tree;
use crate::store::embedded::queue::Committer;
use crate::store::embedded::{Machine, Point, ThisMachine, operating, publishing};

/// 32 of 200 are told at once.
const PARTS: usize = (200_usize - 32).div_ceil(fanout::PART);

const NOW: Timestamp = Timestamp::from_millis(1_760_000_000_000);

fn news() -> (Event, Routing) {
    let routes = (0..200).map(|number| Route {
        endpoint: format!("e-{number}").parse().unwrap(),
        events: EventFilter::parse(&["relay.*"]).unwrap(),
        merchants: vec![],
        ordered: true,
    });
    let address = "https://example.com".to_owned();
    let news = OperationalEvent::ProviderDown {
        address,
        since: NOW,
    };
    let event = Event {
        id: EventId::new(NOW, 1),
        at: NOW,
        content: EventContent::Operational(news),
    };
    (event, Routing::new(routes.collect()))
}

/// This machine, with a disk that takes so long for each group.
#[derive(Debug)]
struct Slow(Duration);

impl Machine for Slow {
    fn reached(&self, point: Point) -> io::Result<()> {
        if point == Point::BeforeWrite {
            std::thread::sleep(self.0);
        }
        Ok(())
    }
}

/// A loop with parts left, that nobody runs; and a message that waits for it.
fn with_parts(directory: &Path) -> (Loop, Committer, Waiting) {
    with_parts_on(directory, Arc::new(ThisMachine))
}

fn with_parts_on(directory: &Path, machine: Arc<dyn Machine>) -> (Loop, Committer, Waiting) {
    let mut work = unrun(directory, machine, Arc::default());
    let (event, routing) = news();
    group(&mut work, |txn| {
        publishing::publish(txn, event, &routing).unwrap();
    });
    let (committer, waiting) = Committer::new();
    assert!(committer.submit(|_| Ok(())).now_or_never().is_none());
    (work, committer, waiting)
}

/// A group of others.
fn group(work: &mut Loop, use_case: impl FnOnce(&mut Txn<'_>)) {
    let engine = Arc::clone(&work.parts.engine);
    let mut txn = Txn::new(&engine, Room::ANY);
    use_case(&mut txn);
    let (changes, _) = txn.finish();
    let sequence = work.parts.journal.append(&changes).unwrap();
    engine.apply(changes, sequence).unwrap();
}

/// In parts of [`fanout::PART`] endpoints.
fn left(work: &Loop) -> usize {
    let made = work.parts.engine.prefix(Tree::Deliveries, &[]).unwrap();
    (200 - made.count()).div_ceil(fanout::PART)
}

#[test]
fn whoever_waits_goes_first_and_parts_leave_a_breath_after_a_group() {
    let directory = tempfile::tempdir().unwrap();
    let (mut work, _committer, mut waiting) = with_parts(directory.path());
    let before = Instant::now();
    assert!(work.next(&mut waiting).is_some());
    assert_eq!(left(&work), PARTS);
    assert!(work.part_due(before).unwrap() >= before + BREATH);
}

#[test]
fn parts_that_pile_up_get_as_much_time_as_the_group_before() {
    // How long the group took that has just ended; one part goes in any case.
    for group in [Duration::ZERO, Duration::from_secs(60)] {
        let directory = tempfile::tempdir().unwrap();
        let (mut work, _committer, mut waiting) = with_parts(directory.path());
        let now = Instant::now();
        work.turns.due_since = Some(now.checked_sub(PILED_UP).unwrap());
        work.turns.began = Some(now.checked_sub(group).unwrap());
        assert!(work.next(&mut waiting).is_some());
        let took = now.elapsed();
        let left = left(&work);
        assert!(left < PARTS);
        assert!(group.is_zero() || left == 0 || took >= SHARE, "{left} left");
    }
}

#[test]
fn what_a_disk_held_up_is_not_held_up_as_long_again_by_parts() {
    let directory = tempfile::tempdir().unwrap();
    let machine = Arc::new(Slow(SHARE));
    let (mut work, _committer, mut waiting) = with_parts_on(directory.path(), machine);
    let now = Instant::now();
    work.turns.due_since = Some(now.checked_sub(PILED_UP).unwrap());
    work.turns.began = Some(now.checked_sub(Duration::from_secs(60)).unwrap());
    assert!(work.next(&mut waiting).is_some());
    assert_eq!(
        left(&work),
        PARTS - 1,
        "the first took all the time there is"
    );
}

/// The loop sleeps until then, and does not look again and again.
#[test]
fn what_is_for_endpoints_that_are_held_is_not_due_before_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let (mut work, _committer, mut waiting) = with_parts(directory.path());
    let engine = Arc::clone(&work.parts.engine);
    group(&mut work, |txn| {
        for number in 0..200 {
            let endpoint = format!("e-{number}").parse().unwrap();
            operating::pause(txn, &endpoint, NOW).unwrap();
        }
    });
    engine.fan_out.exhaust(Instant::now());
    assert!(work.next(&mut waiting).is_some());
    work.turns.from = None;
    work.fan_out();
    let soon = Instant::now() + Duration::from_secs(1800);
    assert!(work.part_due(Instant::now()).unwrap() > soon);
    assert_eq!(left(&work), PARTS);
    assert!(!work.is_any_due(Instant::now()));
    // Until one of them is back.
    group(&mut work, |txn| {
        operating::resume(txn, &"e-199".parse().unwrap(), NOW).unwrap();
    });
    assert!(work.is_any_due(Instant::now()));
    work.fan_out();
    let made = engine.prefix(Tree::Deliveries, &[]).unwrap();
    assert_eq!(made.count(), 32 + 1);
}

#[test]
fn nothing_is_due_where_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let (mut work, committer, mut waiting) = with_parts(directory.path());
    drop(committer);
    assert!(work.next(&mut waiting).is_some());
    while work.is_any_due(Instant::now()) {
        work.turns.from = None;
        work.fan_out();
    }
    assert_eq!(left(&work), 0);
    work.sync_loose();
    assert_eq!(work.due(), None);
    // Nobody is left to send anything.
    assert!(work.next(&mut waiting).is_none());
    assert!(work.turns.due_since.is_none());
}
