//! What goes on beside a fan-out: attempts, damage, operators, retention, `verify-store`.

use super::*;
use crate::domain::{DeliveryPolicy, DeliveryState, Health, Jitter, JobKind, Outcome, Schedule};
use crate::store::embedded::codec::Record;
use crate::store::embedded::settling::Claimed;
use crate::store::embedded::{delivering, settling, sweeping, tallies};
use crate::store::{AttemptReport, Bygone};

impl Scene {
    fn put<R: Record>(&self, key: &[u8], record: R) {
        self.run(|txn| txn.put(key, record));
    }

    fn damage(&self, tree: Tree, key: &[u8]) {
        self.run(|txn| {
            txn.put_raw(tree, key, b"\xffnonsense");
            Ok(())
        });
    }
}

fn heard(at: Timestamp) -> AttemptReport {
    AttemptReport {
        began: at,
        took: Duration::from_millis(5),
        outcome: Outcome {
            failure: None,
            status: Some(204),
            ..Outcome::interrupted()
        },
        now: at,
        draw: 0.0,
        fresh: EventId::new(at, 1),
        fresh_too: EventId::new(at, 2),
        policy: DeliveryPolicy {
            retry: Schedule::new(vec![Duration::from_secs(5)]).unwrap(),
            jitter: Jitter::NONE,
            give_up_after: Duration::from_secs(3600),
        },
        routing: Arc::new(Routing::default()),
        onward: None,
    }
}

/// A success that a power cut takes back is told again: not after the newer result, which no line shows yet.
#[test]
fn a_success_is_synced_if_a_newer_result_is_on_its_way() {
    for (name, newer) in [("taro", true), ("hanako", false)] {
        let scene = Scene::new();
        let first = result("taro", 1, at(0));
        scene.publish(&first, &routing(0..1));
        let now = at(200);
        let claim = |txn: &mut Txn<'_>| {
            delivering::claim(txn, &endpoint(0), now, Duration::from_secs(30), 1)
        };
        let claim = scene.run(claim).remove(0);
        let many = (1..99).chain([0]);
        scene.publish(
            &result(name, if newer { 2 } else { 1 }, at(1)),
            &routing(many),
        );
        let mut txn = Txn::new(&scene.engine, Room::ANY);
        settling::record(&mut txn, &Claimed::of(&claim), &heard(now)).unwrap();
        assert_eq!(txn.must_sync(), newer, "{name}");
    }
}

#[test]
fn what_is_damaged_stops_nobody_else_and_stays() {
    let scene = Scene::with_held(0..300);
    let all = routing(0..300);
    let [one, other, third] = [1, 2, 3].map(|n| result(&format!("user-{n}"), 1, at(n)));
    for event in [&one, &other, &third] {
        scene.publish(event, &all);
    }
    let broken = keys::fan_out(one.id, 512);
    let orphans = [keys::fan_out(other.id, 0), keys::fan_out(other.id, 512)];
    scene.damage(Tree::FanOut, &broken);
    scene.damage(Tree::Events, &other.id.to_bytes());
    scene.damage(Tree::Endpoints, endpoint(3).as_str().as_bytes());
    // A newer result of the first user, behind what cannot be worked off.
    let newer = result("user-1", 2, at(4));
    scene.publish(&newer, &all);
    let turns = (0..100).take_while(|_| scene.work()).count();
    assert!(turns < 80, "no spinning");
    assert_eq!(scene.told(&one).len(), 256 - 1);
    assert_eq!(scene.told(&third).len(), 300 - 1);
    assert_eq!(scene.told(&newer).len(), 300 - 1);
    assert_eq!(scene.told(&other), Vec::<usize>::new());
    // Beside them the endpoint whose record is damaged, by name.
    let named = [&one, &third, &newer].map(|event| keys::fan_out(event.id, 1));
    let mut left = [&[broken.clone()][..], &orphans, &named].concat();
    left.sort();
    assert_eq!(scene.parts(), left);
    // Mended, and opened again.
    scene.put(endpoint(3).as_str().as_bytes(), Health::default());
    scene.put(&other.id.to_bytes(), other.clone());
    scene.engine.fan_out.forget();
    while scene.work() {}
    assert_eq!(scene.told(&one).len(), 256);
    assert_eq!(scene.told(&other).len(), 300);
    assert_eq!(scene.told(&third).len(), 300);
    assert_eq!(scene.told(&newer).len(), 300);
    assert_eq!(scene.parts(), [broken]);
}

/// The last of a list is the last of its turn alone, and the next list still waits.
#[test]
fn what_is_left_behind_of_a_list_takes_nobodys_place() {
    let scene = Scene::with_held(15..300);
    let event = result("taro", 1, at(0));
    scene.publish(&event, &routing(0..300));
    assert_eq!(scene.told(&event).len(), 15);
    scene.damage(Tree::Endpoints, endpoint(255).as_str().as_bytes());
    while scene.work() {}
    assert_eq!(scene.told(&event).len(), 299);
    assert_eq!(scene.parts(), [keys::fan_out(event.id, 256)]);
    assert!(
        !scene.to_come(&event).contains(&255),
        "left alone until the next start"
    );
    scene.engine.fan_out.forget();
    assert!(scene.to_come(&event).contains(&255));
}

#[test]
fn what_an_operator_has_had_told_meanwhile_is_left_as_it_is() {
    let scene = Scene::with_held(0..100);
    let event = result("taro", 1, at(0));
    scene.publish(&event, &routing(0..100));
    let state = DeliveryState::Delivered { at: at(150) };
    let told = Delivery {
        state,
        ..publishing::fresh(&event, endpoint(5), true)
    };
    scene.run(|txn| tallies::put_delivery(txn, None, told.clone()));
    while scene.work() {}
    assert_eq!(scene.told(&event).len(), 100);
    assert!(scene.deliveries(&event).contains(&told));
}

#[test]
fn a_replay_leaves_alone_what_is_to_come() {
    let scene = Scene::with_held(0..100);
    let event = result("taro", 1, at(0));
    scene.publish(&event, &routing(0..100));
    let replay = |number| scene.job(&order(JobKind::Replay, number), &routing(0..200));
    assert_eq!(replay(50), 0, "in its turn");
    assert_eq!(replay(150), 1, "it came later, and is in no part");
    assert_eq!(scene.told(&event), [150]);
    while scene.work() {}
    assert_eq!(scene.told(&event).len(), 101);
    assert!(
        scene
            .deliveries(&event)
            .iter()
            .all(|one| one.replay == (one.endpoint == endpoint(150)))
    );
}

#[test]
fn what_is_to_come_counts_as_pending() {
    let scene = Scene::with_held(0..590);
    let all = routing(0..600);
    for number in 1..=5 {
        scene.publish(&result(&format!("user-{number}"), 1, at(number)), &all);
    }
    // Named, since it waits for that user's first.
    scene.publish(&result("user-1", 2, at(6)), &routing(7..9));
    let mut turns = 0;
    loop {
        let tallies = tallies::read(&scene.engine).unwrap().endpoints;
        assert_eq!(tallies.len(), 600, "after {turns} turns");
        for (name, tally) in tallies {
            let twice = name == endpoint(7) || name == endpoint(8);
            assert_eq!(tally.pending, 5 + u64::from(twice), "{name} after {turns}");
        }
        if !scene.work() {
            break;
        }
        turns += 1;
    }
    assert_eq!(turns, 5 * (16 + 16 + 5) + 1);
    // What cannot be read is left out, and nothing else.
    let event = result("user-9", 1, at(9));
    scene.publish(&event, &all);
    scene.damage(Tree::FanOut, &keys::fan_out(event.id, 0));
    let tallies = tallies::read(&scene.engine).unwrap().endpoints;
    let pending: u64 = tallies.iter().map(|(_, tally)| tally.pending).sum();
    assert_eq!(pending, 600 * 5 + 2 + 600 - 256);
}

#[test]
fn an_event_that_is_still_fanned_out_does_not_go_by_its_age() {
    let scene = Scene::with_held(0..100);
    let event = result("taro", 1, at(0));
    scene.publish(&event, &routing(0..100));
    let old = vec![(Tree::Events, event.id.to_bytes().to_vec())];
    let sweep = |before| scene.run(|txn| sweeping::remove(txn, &old, before));
    assert_eq!(sweep(at(9000)), Bygone::default());
    while scene.work() {}
    assert_eq!(sweep(at(9000)), Bygone::default(), "they wait");
    for number in 0..100 {
        scene.run(|txn| operating::discard(txn, event.id, &endpoint(number), at(400)).map(|_| ()));
    }
    let gone = sweep(at(9000));
    assert_eq!((gone.events, gone.deliveries), (1, 100));
}

#[test]
fn a_part_without_its_event_and_one_that_does_not_parse_are_found_by_verify_store() {
    let (event, orphan) = (result("taro", 1, at(0)), result("hanako", 1, at(1)));
    let mut other = Vec::new();
    let findings = findings_after(|txn| {
        publishing::publish(txn, event.clone(), &routing(0..300)).unwrap();
        publishing::publish(txn, orphan.clone(), &routing(0..40)).unwrap();
        txn.delete(Tree::Events, &orphan.id.to_bytes());
        let lists = txn.first(Tree::FanOutLists, &[], 9).unwrap();
        let list_of = |txn: &Txn<'_>, event: &Event, number| {
            let part = txn.get(&keys::fan_out(event.id, number)).unwrap();
            let Some(Part::Of(rest)) = part else {
                panic!("{part:?}")
            };
            rest.list.to_vec()
        };
        let gone = list_of(txn, &event, 512);
        other = list_of(txn, &orphan, 0);
        assert_eq!(lists.len(), 3);
        txn.delete(Tree::FanOutLists, gone);
        txn.put_raw(Tree::FanOutLists, other.clone(), lists[0].1.repeat(2));
        txn.put_raw(Tree::FanOut, keys::fan_out(event.id, 0), vec![1, 0xff]);
    });
    let of_parts = |finding: &&Finding| finding.place == Tree::FanOut.name();
    let of_parts: Vec<_> = findings.iter().filter(of_parts).collect();
    assert_eq!(of_parts.len(), 3, "{findings:?}");
    let broken = hex::encode(keys::fan_out(event.id, 0));
    assert!(of_parts[0].what.contains(&broken));
    assert!(of_parts[1].what.contains("has no entry in fan_out_lists"));
    assert!(of_parts[2].what.contains("has no entry in events"));
    let of_lists = |finding: &&Finding| finding.place == Tree::FanOutLists.name();
    let of_lists: Vec<_> = findings.iter().filter(of_lists).collect();
    assert_eq!(of_lists.len(), 1, "{findings:?}");
    assert!(of_lists[0].what.contains(&hex::encode(other)));
}
