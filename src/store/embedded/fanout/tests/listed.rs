//! Who is to hear stands on lists, each written once: what is read and written of them, and when they go.

use super::*;

impl Scene {
    /// Keys of the lists that are stored.
    fn lists(&self) -> Vec<Vec<u8>> {
        let entries = self.engine.prefix(Tree::FanOutLists, &[]).unwrap();
        entries.map(|entry| entry.unwrap().0.to_vec()).collect()
    }

    fn part(&self, event: &Event, number: u32) -> Part {
        let key = keys::fan_out(event.id, number);
        let bytes = self.engine.get(Tree::FanOut, &key).unwrap().unwrap();
        codec::decode(&key, &bytes).unwrap()
    }

    fn work_off(&self) {
        while self.work() {}
    }

    fn forget_unused(&self) {
        self.run(lists::forget_unused);
    }
}

/// What a group writes, in bytes.
fn weight(txn: Txn<'_>) -> usize {
    let (changes, _) = txn.finish();
    let entries = changes.iter().flat_map(|(_, entries)| entries);
    let bytes = |(key, value): &(IVec, Option<IVec>)| {
        key.len() + value.as_ref().map_or(0, |value| value.len())
    };
    entries.map(bytes).sum()
}

#[test]
fn names_are_written_once_for_all_events_that_the_same_endpoints_hear() {
    let scene = Scene::with_held(0..600);
    let all = routing(0..600);
    let mut first = Txn::new(&scene.engine, Room::ANY);
    publishing::publish(&mut first, result("taro", 1, at(0)), &all).unwrap();
    assert!(weight(first) > 600 * "e-000".len());
    // That group was not written: the next one does not build on it.
    for (number, name) in ["taro", "hanako", "jiro"].into_iter().enumerate() {
        scene.publish(&result(name, 1, at(number as u64)), &all);
    }
    assert_eq!(scene.lists().len(), 3, "256, 256 and 88");
    let mut next = Txn::new(&scene.engine, Room::ANY);
    publishing::publish(&mut next, result("saburo", 1, at(9)), &all).unwrap();
    assert!(weight(next) < 600, "not even a byte for each");
    // After a restart nobody remembers, and whoever asks finds them.
    scene.engine.fan_out.forget();
    let mut again = Txn::new(&scene.engine, Room::ANY);
    publishing::publish(&mut again, result("saburo", 1, at(9)), &all).unwrap();
    assert!(weight(again) < 600);
    scene.engine.fan_out.forget();
    scene.work_off();
    assert_eq!(scene.told(&result("jiro", 1, at(2))).len(), 600);
}

#[test]
fn who_is_up_is_found_on_every_list_and_nobody_is_told_twice() {
    let up = [3, 255, 256, 511, 599];
    let scene = Scene::with_held(0..600);
    for number in up {
        scene.run(|txn| operating::resume(txn, &endpoint(number), at(1)));
    }
    let event = result("taro", 1, at(2));
    scene.publish(&event, &routing(0..600));
    assert_eq!(scene.told(&event), up);
    let Part::Of(rest) = scene.part(&event, 512) else {
        panic!("a list")
    };
    assert_eq!((rest.from, rest.told), (0, vec![0, 255]));
    scene.work_off();
    assert_eq!(scene.told(&event), (0..600).collect::<Vec<_>>());
    // Of many that are up, as many as one transaction makes.
    scene.run(|txn| {
        (0..600).try_for_each(|n| operating::resume(txn, &endpoint(n), at(3)).map(|_| ()))
    });
    let event = result("hanako", 1, at(4));
    scene.publish(&event, &routing(0..600));
    assert_eq!(scene.told(&event), (0..DIRECT).collect::<Vec<_>>());
    scene.work_off();
    assert_eq!(scene.told(&event), (0..600).collect::<Vec<_>>());
}

#[test]
fn an_endpoint_that_ceased_to_want_order_is_another_entry() {
    let scene = Scene::with_held(0..100);
    let [ordered, not] = [1, 2].map(|n| result(&format!("user-{n}"), 1, at(n)));
    scene.publish(&ordered, &routing(0..100));
    let routes = (0..100).map(|number| Route {
        endpoint: endpoint(number),
        events: EventFilter::parse(&["kyc.*"]).unwrap(),
        merchants: vec![],
        ordered: number != 70,
    });
    scene.publish(&not, &Routing::new(routes.collect()));
    assert_eq!(scene.lists().len(), 2);
    scene.work_off();
    let in_line = |event| {
        (scene.deliveries(event).iter())
            .filter(|one| one.line.is_some())
            .count()
    };
    assert_eq!((in_line(&ordered), in_line(&not)), (100, 99));
}

#[test]
fn a_list_whose_last_is_told_leaves_no_part() {
    let scene = Scene::with_held(0..256);
    let event = result("taro", 1, at(0));
    scene.publish(&event, &routing(0..257));
    assert_eq!(scene.told(&event), [256]);
    assert_eq!(scene.parts(), [keys::fan_out(event.id, 0)]);
    assert_eq!(scene.lists().len(), 1);
    scene.work_off();
    assert_eq!(scene.told(&event).len(), 257);
}

#[test]
fn a_few_who_wait_for_an_older_result_are_named() {
    let scene = Scene::with_held(0..100);
    let [older, newer] = [1, 2].map(|sequence| result("taro", sequence, at(sequence)));
    scene.publish(&older, &routing(0..100));
    scene.publish(&newer, &routing(90..100));
    let Part::Named(targets) = scene.part(&newer, 0) else {
        panic!("names")
    };
    assert_eq!(targets.len(), 10);
    assert_eq!(scene.lists().len(), 1);
    scene.work_off();
    assert_eq!(scene.told(&newer), (90..100).collect::<Vec<_>>());
}

#[test]
fn lists_go_when_no_part_is_left_and_were_not_used_lately() {
    let scene = Scene::with_held(0..100);
    let event = result("taro", 1, at(0));
    scene.publish(&event, &routing(0..100));
    // As after a restart: no list was used lately.
    scene.engine.fan_out.forget();
    scene.forget_unused();
    assert_eq!(scene.lists().len(), 1, "a part refers to it");
    scene.work_off();
    scene.forget_unused();
    assert_eq!(scene.lists().len(), 1, "it was used lately");
    scene.engine.fan_out.forget();
    scene.forget_unused();
    assert_eq!(scene.lists(), Vec::<Vec<u8>>::new());
    // Deleted and needed again, also within a group.
    let [one, other] = [1, 2].map(|n| result(&format!("user-{n}"), 1, at(n)));
    scene.publish(&one, &routing(0..100));
    scene.work_off();
    scene.run(|txn| {
        for (list, _) in txn.first(Tree::FanOutLists, &[], 9)? {
            txn.delete(Tree::FanOutLists, list);
        }
        publishing::publish(txn, other.clone(), &routing(0..100))
    });
    scene.engine.fan_out.forget();
    scene.work_off();
    assert_eq!(scene.told(&other).len(), 100);
    // More than are remembered, and than go at a time.
    for number in 0..200 {
        let to = routing(number..number + 100);
        scene.publish(&result(&format!("other-{number}"), 1, at(3)), &to);
    }
    scene.work_off();
    let many = scene.lists().len();
    assert!(many >= 200);
    for _ in 0..4 {
        scene.forget_unused();
    }
    assert!(
        (1..=64).contains(&scene.lists().len()),
        "the last used stay"
    );
}

#[test]
fn a_list_that_is_not_what_it_was_tells_nobody_and_stops_nobody() {
    let scene = Scene::with_held(0..300);
    let [event, other] = [1, 2].map(|n| result(&format!("user-{n}"), 1, at(n)));
    scene.publish(&event, &routing(0..300));
    let lists = scene.lists();
    let whole: Vec<_> = lists
        .iter()
        .map(|list| {
            scene
                .engine
                .get(Tree::FanOutLists, list)
                .unwrap()
                .unwrap()
                .to_vec()
        })
        .collect();
    // The first now says what the second says: readable, and wrong. The second is gone.
    scene.run(|txn| {
        txn.put_raw(Tree::FanOutLists, lists[0].clone(), whole[1].clone());
        txn.delete(Tree::FanOutLists, lists[1].clone());
        Ok(())
    });
    scene.engine.fan_out.forget();
    scene.work_off();
    assert_eq!(scene.told(&event), Vec::<usize>::new());
    assert_eq!(scene.parts().len(), 2);
    scene.publish(&other, &routing(0..200));
    scene.work_off();
    assert_eq!(scene.told(&other).len(), 200);
    // Mended, and opened again.
    scene.run(|txn| {
        for (list, record) in lists.iter().zip(&whole) {
            txn.put_raw(Tree::FanOutLists, list.clone(), record.clone());
        }
        Ok(())
    });
    scene.engine.fan_out.forget();
    scene.work_off();
    assert_eq!(scene.told(&event).len(), 300);
}

#[test]
fn parts_of_the_version_before_are_worked_off() {
    let scene = Scene::with_held(0..40);
    let event = result("taro", 1, at(0));
    scene.publish(&event, &routing(0..1));
    let names = [(1, true), (2, true), (3, false)];
    let targets: Vec<(String, bool)> = names
        .map(|(n, ordered)| (endpoint(n).to_string(), ordered))
        .to_vec();
    let bytes = postcard::to_extend(&targets, vec![1]).unwrap();
    scene.run(|txn| {
        txn.put_raw(Tree::FanOut, keys::fan_out(event.id, 0), bytes);
        Ok(())
    });
    scene.work_off();
    assert_eq!(scene.told(&event), [0, 1, 2, 3]);
    let lines: Vec<bool> = (scene.deliveries(&event).iter())
        .map(|one| one.line.is_some())
        .collect();
    assert_eq!(lines, [true, true, true, false]);
}

#[test]
fn who_hears_of_one_kind_or_merchant_is_not_who_hears_of_another() {
    let scene = Scene::with_held(0..0);
    let (own, kinds) = (user("taro").0, ["kyc.*", "kyc.rejected"]);
    let routes = (0..120).map(|number| Route {
        endpoint: endpoint(number),
        events: EventFilter::parse(&[kinds[usize::from(number >= 80)]]).unwrap(),
        merchants: if number < 40 {
            vec![own.clone()]
        } else {
            vec![]
        },
        ordered: true,
    });
    let routing = Routing::new(routes.collect());
    let changed = |mut event: Event, change: fn(&mut ResultEvent)| {
        if let EventContent::Result(result) = &mut event.content {
            change(result);
        }
        event
    };
    let of_another = |event| changed(event, |one| one.merchant = "1027749637".parse().unwrap());
    let rejected = |event| {
        let verdict = |one: &mut ResultEvent| {
            one.verdict = Verdict::new(Status::parse("3").unwrap(), None);
        };
        changed(event, verdict)
    };
    let of = |name, number| result(name, 1, at(number));
    // Twice each: found out, and remembered.
    for (event, hears) in [
        (of("taro", 0), 0..80),
        (of_another(of("jiro", 1)), 40..80),
        (rejected(of("saburo", 2)), 0..120),
        (of("shiro", 3), 0..80),
        (of_another(of("goro", 4)), 40..80),
        (rejected(of("rokuro", 5)), 0..120),
    ] {
        scene.publish(&event, &routing);
        scene.work_off();
        assert_eq!(scene.told(&event), hears.collect::<Vec<_>>());
    }
}
