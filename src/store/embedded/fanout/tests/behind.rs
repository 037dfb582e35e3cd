//! Who stands behind whom in a user's line, and whether the one before knows of it.

use super::*;
use crate::store::embedded::tallies;

/// The only endpoint's delivery of an event.
fn delivery(scene: &Scene, event: &Event) -> Delivery {
    let mut deliveries = scene.deliveries(event);
    assert_eq!(deliveries.len(), 1);
    deliveries.remove(0)
}

fn is_due(scene: &Scene, event: &Event) -> bool {
    let delivery = delivery(scene, event);
    let due = delivery.due().unwrap();
    let place = keys::delivery_due(&delivery.endpoint, false, due, event.id);
    let found = scene.engine.get(Tree::DeliveryDue, &place).unwrap();
    found.is_some()
}

fn discard(scene: &Scene, event: &Event) {
    let discarded = scene.run(|txn| operating::discard(txn, event.id, &endpoint(0), at(400)));
    discarded.unwrap();
}

fn of_taro() -> [Event; 3] {
    [1, 2, 3].map(|sequence| result("taro", sequence, at(sequence)))
}

#[test]
fn whoever_is_alone_knows_until_somebody_comes() {
    let scene = Scene::new();
    let [first, second, third] = of_taro();
    scene.publish(&first, &routing(0..1));
    assert!(delivery(&scene, &first).is_last);
    scene.publish(&second, &routing(0..1));
    assert!(!delivery(&scene, &first).is_last);
    assert!(!is_due(&scene, &second));
    discard(&scene, &first);
    assert!(is_due(&scene, &second));
    discard(&scene, &second);
    scene.publish(&third, &routing(0..1));
    assert!(delivery(&scene, &third).is_last, "nobody else is left");
}

#[test]
fn whoever_made_way_looks_for_those_who_came_meanwhile() {
    let scene = Scene::new();
    let [first, second, third] = of_taro();
    scene.publish(&first, &routing(0..1));
    discard(&scene, &first);
    scene.publish(&second, &routing(0..1));
    assert!(delivery(&scene, &second).is_last);
    let again = scene.run(|txn| operating::retry(txn, first.id, &endpoint(0), at(500)));
    assert!(!again.unwrap().is_last, "the second waits for it");
    scene.publish(&third, &routing(0..1));
    discard(&scene, &first);
    assert!(is_due(&scene, &second) && !is_due(&scene, &third));
    discard(&scene, &second);
    assert!(is_due(&scene, &third));
}

#[test]
fn a_damaged_one_keeps_nobody_from_standing_behind_it() {
    let scene = Scene::new();
    let [first, second, _] = of_taro();
    scene.publish(&first, &routing(0..1));
    let key = keys::delivery(first.id, &endpoint(0));
    scene.run(|txn| {
        txn.put_raw(Tree::Deliveries, &key, vec![0xff]);
        Ok(())
    });
    scene.publish(&second, &routing(0..1));
    assert!(!delivery(&scene, &second).is_last);
}

#[test]
fn whoever_stands_behind_the_last_is_found_by_verify_store() {
    let findings = findings_after(|txn| {
        let events = of_taro();
        for event in &events {
            publishing::publish(txn, event.clone(), &routing(0..1)).unwrap();
        }
        let key = keys::delivery(events[1].id, &endpoint(0));
        let second: Delivery = txn.get(&key).unwrap().unwrap();
        let wrong = Delivery {
            is_last: true,
            ..second.clone()
        };
        tallies::put_delivery(txn, Some(&second), wrong).unwrap();
    });
    assert_eq!(findings.len(), 1, "{findings:?}");
    let (merchant, user) = user("taro");
    let third = hex::encode(keys::line(&endpoint(0), &merchant, &user, 3));
    assert!(findings[0].what.contains(&third));
    assert!(findings[0].what.contains("said to be the last"));
}
