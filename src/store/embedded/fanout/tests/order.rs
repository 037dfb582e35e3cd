//! Whatever happens in whatever order: nobody is forgotten, nobody hears a user's newer result before an older one, and
//! whoever is not held does not wait for those who are.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::domain::{JobKind, JobOrder, Standing};

const ENDPOINTS: usize = 44;
const USERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// A result of a user, by a clock that goes anywhere, for those from one endpoint to another.
    Result(usize, u64, std::ops::Range<usize>),
    Pause(usize),
    Resume(usize),
    Turn,
    /// Somebody wants something of what is still to be made.
    Want(usize, usize),
    /// An endpoint is told what was not meant for it.
    Replay(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let range =
        (0..ENDPOINTS, 0..ENDPOINTS).prop_map(|(one, other)| one.min(other)..one.max(other) + 1);
    let wide = prop_oneof![Just(0..ENDPOINTS), range];
    prop_oneof![
        4 => (0..USERS, 0..100u64, wide).prop_map(|(user, clock, to)| Step::Result(user, clock, to)),
        3 => (0..ENDPOINTS).prop_map(Step::Pause),
        3 => (0..ENDPOINTS).prop_map(Step::Resume),
        6 => Just(Step::Turn),
        1 => (0..20usize, 0..ENDPOINTS).prop_map(|(event, number)| Step::Want(event, number)),
        1 => (0..ENDPOINTS).prop_map(Step::Replay),
        1 => Just(Step::Restart),
    ]
}

#[derive(Default)]
struct Published {
    /// Whose, and who hears of it.
    events: Vec<(usize, Event, BTreeSet<usize>)>,
}

impl Published {
    fn next(&mut self, user: usize, clock: u64, to: BTreeSet<usize>) -> &Event {
        let before = self.events.iter().filter(|(of, ..)| *of == user).count() as u64;
        let mut event = result(&format!("user-{user}"), before + 1, at(clock));
        event.id = EventId::new(at(clock), self.events.len() as u128);
        self.events.push((user, event, to));
        &self.events[self.events.len() - 1].1
    }

    /// Each is made or to come, and none is made before an older one of its user.
    fn check(&self, scene: &Scene) {
        for user in 0..USERS {
            let mut missing = BTreeSet::new();
            for (_, event, to) in self.events.iter().filter(|(of, ..)| *of == user) {
                let (made, to_come) = (scene.told(event), scene.to_come(event));
                let mut all = [made.clone(), to_come.clone()].concat();
                all.sort_unstable();
                assert!(all.iter().eq(to), "once each: {all:?}, {to:?}");
                if let Some(early) = made.iter().find(|number| missing.contains(*number)) {
                    panic!("{early} gets a newer result than it misses");
                }
                missing.extend(to_come);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_forgotten_and_the_order_holds(steps in proptest::collection::vec(step(), 1..60)) {
        let scene = Scene::with_held(0..20);
        let now = scene.now.get();
        let mut held: BTreeSet<usize> = (0..20).collect();
        let mut published = Published::default();
        for step in steps {
            match step {
                Step::Result(user, clock, to) => {
                    let event = published.next(user, clock, to.clone().collect());
                    scene.publish(event, &routing(to));
                }
                Step::Pause(number) => {
                    scene.pause(number);
                    held.insert(number);
                }
                Step::Resume(number) => {
                    scene.resume(number);
                    held.remove(&number);
                }
                Step::Turn => drop(scene.turn(now)),
                Step::Want(event, number) => {
                    if let Some((_, event, _)) = published.events.get(event) {
                        scene.run(|txn| make_for(txn, event.id, &endpoint(number)));
                    }
                }
                Step::Replay(number) => {
                    let order = JobOrder {
                        states: vec![Standing::Missing],
                        ..order(JobKind::Replay, number)
                    };
                    scene.job(&order, &routing(0..ENDPOINTS));
                    for (_, _, to) in &mut published.events {
                        to.insert(number);
                    }
                }
                Step::Restart => scene.engine.fan_out.forget(),
            }
            published.check(&scene);
        }
        // Nothing may be made ahead any more: those who are not held get theirs all the same.
        scene.engine.fan_out.exhaust(now);
        while scene.engine.fan_out.due(now).is_some_and(|due| due <= now) {
            scene.turn(now);
            published.check(&scene);
        }
        for (_, event, _) in &published.events {
            for number in scene.to_come(event) {
                prop_assert!(held.contains(&number), "{number} is not held and was forgotten");
            }
        }
        scene.now.set(now + Duration::from_secs(3600));
        while scene.work() {
            published.check(&scene);
        }
        for (_, event, to) in &published.events {
            prop_assert!(scene.told(event).iter().eq(to));
        }
        prop_assert_eq!(scene.parts(), []);
    }
}
