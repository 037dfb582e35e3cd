//! Endpoints that are held wait: how much is made ahead for them, who goes before them, and what people see of that.

use super::*;
use crate::domain::{AbandonReason, Breaker, DeliveryState, Health, JobKind};
use crate::store::embedded::{delivering, jobs, reading, tallies};
use crate::store::{Refused, Told};

/// A scene in which so many endpoints are held, and nothing may be made ahead for them.
fn exhausted(held: usize) -> (Scene, Instant) {
    let scene = Scene::with_held(0..held);
    let now = scene.now.get();
    scene.engine.fan_out.exhaust(now);
    (scene, now)
}

impl Scene {
    /// One result each of so many users, published.
    fn results(&self, users: u64, to: &Routing) -> Vec<Event> {
        let events = (0..users).map(|number| result(&format!("user-{number}"), 1, at(number)));
        events.inspect(|event| self.publish(event, to)).collect()
    }

    /// Turns until nothing is due.
    fn turns(&self, now: Instant) {
        while self.engine.fan_out.due(now).is_some_and(|due| due <= now) {
            self.turn(now);
        }
    }

    fn resumes(&self, number: usize, now: Instant) {
        self.resume(number);
        self.turns(now);
    }

    fn seen(&self, event: &Event) -> Vec<Told> {
        let seen = reading::event(&self.engine, event.id).unwrap();
        seen.unwrap().1
    }
}

#[test]
fn ten_thousand_are_made_ahead_at_once_and_then_250_a_second() {
    let scene = Scene::with_held(0..300);
    let all = routing(0..300);
    scene.results(40, &all);
    let now = scene.now.get();
    scene.turns(now);
    let made = |scene: &Scene| scene.engine.prefix(Tree::Deliveries, &[]).unwrap().count();
    // The last part goes because what came before it was less.
    assert_eq!(made(&scene), 10_012);
    let next = now + 12 * Duration::from_millis(4);
    assert_eq!(scene.engine.fan_out.due(now), Some(next));
    assert!(scene.turn(now), "there is more");
    assert_eq!(made(&scene), 10_012);
    scene.turns(next);
    assert_eq!(made(&scene), 10_028);
    let after = next + 16 * Duration::from_millis(4);
    assert_eq!(scene.engine.fan_out.due(next), Some(after));
}

#[test]
fn what_is_made_ahead_is_counted_by_deliveries() {
    let scene = Scene::with_held(0..1);
    let now = scene.now.get();
    let all = routing(0..33);
    // One of each is left.
    scene.results(700, &all);
    scene.turns(now);
    assert_eq!(scene.parts(), []);
}

/// It has been refused five times, and what it was refused is no longer wanted, or waits for long.
#[test]
fn who_is_down_has_something_to_be_probed_with() {
    let scene = Scene::with_held(0..40);
    let now = scene.now.get();
    let all = routing(0..40);
    let (down, probe_at) = (endpoint(7), at(500));
    let is_down = Health {
        breaker: Breaker::Open {
            since: at(0),
            wait: Duration::from_secs(5),
            probe_at,
        },
        ..Health::default()
    };
    scene.run(|txn| txn.put(down.as_str().as_bytes().to_vec(), is_down));
    scene.engine.fan_out.exhaust(now);
    let events: Vec<Event> = (0..3)
        .map(|number| result(&format!("user-{number}"), 1, at(number)))
        .collect();
    scene.publish(&events[0], &all);
    scene.turns(now);
    // As its worker asks, before it claims.
    let next = |scene: &Scene| {
        let due = delivering::next_due(&scene.engine, &down).unwrap();
        assert!(!delivering::any_due(&scene.engine, &down, at(450)).unwrap());
        scene.turns(now);
        due
    };
    assert_eq!(delivering::next_due(&scene.engine, &down).unwrap(), None);
    scene.turns(now);
    assert_eq!(scene.told(&events[0]), Vec::<usize>::new(), "only asked");
    assert_eq!(next(&scene), None, "nothing yet");
    assert_eq!(scene.told(&events[0]), [7], "but now, and to nobody else");
    assert_eq!(next(&scene), Some(probe_at));
    // One that is there is enough.
    scene.publish(&events[1], &all);
    scene.turns(now);
    assert_eq!(next(&scene), Some(probe_at));
    assert_eq!(scene.told(&events[1]), Vec::<usize>::new());
    scene.run(|txn| operating::discard(txn, events[0].id, &down, at(400)).map(drop));
    assert_eq!(next(&scene), None);
    assert_eq!(scene.told(&events[1]), [7]);
    assert_eq!(next(&scene), Some(probe_at));
    // Nothing is left of what came before; what comes next is for the probe.
    scene.run(|txn| operating::discard(txn, events[1].id, &down, at(400)).map(drop));
    assert_eq!(next(&scene), None);
    scene.publish(&events[2], &all);
    scene.turns(now);
    assert_eq!(scene.told(&events[2]), [7]);
    assert_eq!(next(&scene), Some(probe_at));
    // One that waits until after the probe is none for it, unless the probe is overdue.
    let event = result("user-3", 1, at(3));
    scene.publish(&event, &all);
    let place = |due| keys::delivery_due(&down, false, due, events[2].id);
    scene.run(|txn| {
        txn.delete(Tree::DeliveryDue, place(events[2].at));
        txn.put_raw(Tree::DeliveryDue, place(at(600)), Vec::new());
        Ok(())
    });
    assert!(delivering::any_due(&scene.engine, &down, at(700)).unwrap());
    scene.turns(now);
    assert_eq!(scene.told(&event), Vec::<usize>::new());
    assert_eq!(next(&scene), Some(at(600)));
    assert_eq!(scene.told(&event), [7]);
}

/// Endpoints come and go all the time: each time all is looked at, and neither those that are up nor those that are held
/// wait for that to end.
#[test]
fn who_comes_and_goes_keeps_nobody_waiting() {
    let (scene, now) = exhausted(40);
    let all = routing(0..40);
    scene.results(300, &all);
    scene.turns(now);
    scene.resume(39);
    let last = result("user-299", 1, at(299));
    let mut turns = 0;
    while scene.told(&last).is_empty() {
        turns += 1;
        assert!(turns < 1000, "it never has its turn");
        scene.pause(0);
        scene.resume(0);
        scene.turn(now);
    }
    // And what is due for those who are held.
    scene.pause(0);
    let before = scene.engine.prefix(Tree::Deliveries, &[]).unwrap().count();
    let later = now + Duration::from_secs(2 * 3600);
    for _ in 0..20 {
        locked(&scene.engine.fan_out.to_look_at).all();
        scene.turn(later);
    }
    let after = scene.engine.prefix(Tree::Deliveries, &[]).unwrap().count();
    assert!(after > before, "{after}");
}

#[test]
fn who_comes_back_while_all_is_looked_at_is_found_in_what_was_looked_at_before() {
    let (scene, now) = exhausted(40);
    let all = routing(0..40);
    let events = scene.results(200, &all);
    scene.turns(now);
    locked(&scene.engine.fan_out.to_look_at).all();
    scene.turn(now);
    scene.resumes(0, now);
    for event in [&events[0], &events[199]] {
        assert_eq!(scene.told(event), [0]);
    }
}

#[test]
fn a_part_in_which_nobody_is_left_stops_nobody() {
    let scene = Scene::with_held(0..40);
    let event = result("taro", 1, at(0));
    scene.publish(&event, &routing(0..40));
    let before = keys::fan_out(EventId::new(at(0), 0), 0);
    scene.run(|txn| txn.put(before, Part::Named(vec![])));
    while scene.work() {}
    assert_eq!(scene.told(&event).len(), 40);
    assert_eq!(scene.parts(), []);
}

#[test]
fn who_is_back_gets_all_that_it_missed_before_those_who_are_not() {
    let (scene, now) = exhausted(300);
    let all = routing(0..300);
    let events = scene.results(200, &all);
    scene.turns(now);
    assert_eq!(scene.told(&events[0]), Vec::<usize>::new());
    scene.resumes(7, now);
    scene.resumes(290, now);
    for event in &events {
        assert_eq!(scene.told(event), [7, 290]);
        assert_eq!(scene.to_come(event).len(), 298);
    }
    // What comes now is told to them at once.
    let event = result("hanako", 1, at(300));
    scene.publish(&event, &all);
    assert_eq!(scene.told(&event), [7, 290]);
    for (name, tally) in tallies::read(&scene.engine).unwrap().endpoints {
        assert_eq!(tally.pending, 201, "{name}");
    }
}

#[test]
fn after_a_restart_whoever_is_up_is_found_in_all_that_is_left() {
    let (scene, now) = exhausted(300);
    let event = result("taro", 1, at(0));
    scene.publish(&event, &routing(0..300));
    scene.turns(now);
    // It is back, and the process died before anybody looked.
    scene.resume(70);
    scene.engine.fan_out.forget();
    scene.turns(now);
    assert_eq!(scene.told(&event), [70]);
}

#[test]
fn a_users_older_result_that_others_miss_keeps_the_newer_one_from_nobody_else() {
    let (scene, now) = exhausted(100);
    let all = routing(0..110);
    let [first, second, third] = [1, 2, 3].map(|number| result("taro", number, at(number)));
    scene.publish(&first, &all);
    scene.turns(now);
    assert_eq!(scene.told(&first), (100..110).collect::<Vec<_>>());
    // Back, but nobody has looked yet.
    scene.resume(7);
    scene.publish(&second, &all);
    assert_eq!(scene.told(&second), (100..110).collect::<Vec<_>>());
    scene.publish(&third, &routing(5..9));
    assert_eq!(scene.told(&third), Vec::<usize>::new(), "also of few");
    scene.turns(now);
    for event in [&first, &second] {
        assert!(scene.told(event).contains(&7));
    }
    assert!(scene.told(&third).contains(&7));
}

#[test]
fn what_is_still_to_be_made_is_seen_as_it_will_be() {
    let (scene, now) = exhausted(100);
    let event = result("taro", 1, at(0));
    scene.publish(&event, &routing(0..105));
    scene.turns(now);
    let seen = scene.seen(&event);
    let told = scene.told(&event);
    let seen: Vec<Delivery> = seen.into_iter().map(|(delivery, _)| delivery).collect();
    // Who is in line knows that nobody is behind.
    let fresh = |number| Delivery {
        is_last: told.contains(&number),
        ..publishing::fresh(&event, endpoint(number), true)
    };
    assert_eq!(seen, (0..105).map(fresh).collect::<Vec<_>>());
    let (merchant, name) = user("taro");
    let story = reading::story(&scene.engine, &merchant, &name).unwrap();
    assert_eq!(story.events[0].1.len(), 105);
    let one = reading::delivery(&scene.engine, event.id, &endpoint(50)).unwrap();
    assert_eq!(one.unwrap().1.0, fresh(50));
    let none = reading::delivery(&scene.engine, event.id, &endpoint(105));
    assert!(none.unwrap().is_none());
}

#[test]
fn what_is_still_to_be_made_can_be_discarded_and_retried() {
    let (scene, now) = exhausted(100);
    let [first, second] = [1, 2].map(|number| result("taro", number, at(number)));
    for event in [&first, &second] {
        scene.publish(event, &routing(0..100));
    }
    scene.turns(now);
    let pending = |number| {
        let tallies = tallies::read(&scene.engine).unwrap().endpoints;
        let of = tallies.iter().find(|(name, _)| *name == endpoint(number));
        of.unwrap().1.pending
    };
    let discard = |event: &Event, number| {
        scene.run(|txn| operating::discard(txn, event.id, &endpoint(number), at(400)))
    };
    let discarded = discard(&second, 50).unwrap();
    assert!(matches!(
        discarded.state,
        DeliveryState::Abandoned {
            reason: AbandonReason::Discarded,
            ..
        }
    ));
    assert_eq!(pending(50), 1, "the older one");
    assert_eq!(scene.told(&first), [50], "made before the newer one");
    let retried = scene.run(|txn| operating::retry(txn, first.id, &endpoint(60), at(400)));
    assert_eq!(
        retried.unwrap().state,
        DeliveryState::Waiting { due: at(400) }
    );
    let newer = scene.run(|txn| operating::retry(txn, second.id, &endpoint(60), at(400)));
    assert_eq!(newer, Err(Refused::BehindAnother));
    assert_eq!(pending(60), 2);
    assert_eq!(discard(&first, 100), Err(Refused::NotThere));
    // Nobody makes it again.
    scene.now.set(now + Duration::from_secs(3600));
    while scene.work() {}
    assert_eq!(scene.seen(&second).len(), 100);
    assert_eq!(pending(50), 1);
    assert_eq!(pending(51), 2);
}

#[test]
fn a_job_is_about_what_is_still_to_be_made_too() {
    let (scene, now) = exhausted(100);
    let all = routing(0..100);
    scene.results(20, &all);
    scene.turns(now);
    let order = order(JobKind::Discard, 50);
    assert_eq!(jobs::count(&scene.engine, &order, &all).unwrap(), 20);
    assert_eq!(scene.job(&order, &all), 20);
    let discarded = tallies::read(&scene.engine).unwrap().endpoints;
    let (_, tally) = &discarded[50];
    assert_eq!((tally.pending, tally.discarded), (0, 20));
}

#[test]
fn more_parts_than_are_remembered_are_all_looked_at() {
    let mut to_look_at = turns::ToLookAt::default();
    let (scene, now) = exhausted(40);
    scene.turns(now);
    scene.run(|txn| {
        assert!(to_look_at.next(txn).unwrap().is_none());
        Ok(())
    });
    assert!(!to_look_at.is_any());
    let event = result("taro", 1, at(0));
    scene.publish(&event, &routing(0..40));
    let [key] = scene.parts().try_into().unwrap();
    for number in 0..10_001u32 {
        // None of them is there.
        to_look_at.note(&keys::fan_out(EventId::new(at(9), 1), number), true);
    }
    scene.run(|txn| {
        assert_eq!(to_look_at.next(txn).unwrap().unwrap().0, key);
        Ok(())
    });
}
