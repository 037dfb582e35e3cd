//! Random histories of several users: whatever happens and in whatever order, the promises hold in the end.
//!
//! Callbacks genuine, forged, doubled and lost; a provider that reviews, fails and lags; a receiver that refuses; a
//! relay that stops, crashes and stays away. Then all is well again, and promises 2 to 5 are checked.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use vexora_relay::clock::Clock;
use vexora_relay::domain::{EventContent, Timestamp, VerifyLane};
use vexora_relay::sandbox::CallbackSpec;

use crate::kit::{Shape, World, merchant, secs, user};

const USERS: [&str; 3] = ["u1", "u2", "u3"];
const WINDOW: Duration = Duration::from_secs(12 * 3600);
/// Longer than a stuck user waits for its daily question, and than the longest wait of a delivery.
const IN_THE_END: u64 = 50;

#[derive(Clone, Debug)]
enum Happening {
    Apply(usize),
    /// The review goes on; in the end by this verdict, called back or not.
    Review {
        user: usize,
        approves: bool,
        calls: bool,
    },
    /// The provider repeats itself.
    Repeat(usize),
    Forge(usize, &'static str),
    Watch(usize),
    Query(Trouble),
    ApplyHangs(usize),
    ReceiverRefuses(bool),
    Pass(u64),
    Restart,
    Crash {
        leased: bool,
    },
    Away(u64),
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    None,
    Down,
    NotJson,
    WrongCode,
    Lags(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    let user = 0..USERS.len();
    let trouble = prop_oneof![
        3 => Just(Trouble::None),
        1 => Just(Trouble::Down),
        1 => Just(Trouble::NotJson),
        1 => Just(Trouble::WrongCode),
        1 => (1u64..600).prop_map(Trouble::Lags),
    ];
    prop_oneof![
        4 => user.clone().prop_map(H::Apply),
        8 => (user.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(user, approves, calls)| H::Review { user, approves, calls }),
        2 => user.clone().prop_map(H::Repeat),
        3 => (user.clone(), prop_oneof![Just("0"), Just("2"), Just("3")])
            .prop_map(|(user, claim)| H::Forge(user, claim)),
        1 => user.clone().prop_map(H::Watch),
        2 => trouble.prop_map(H::Query),
        1 => user.prop_map(H::ApplyHangs),
        2 => any::<bool>().prop_map(H::ReceiverRefuses),
        6 => prop_oneof![1u64..60, 60u64..1800, 1800u64..10_000].prop_map(H::Pass),
        1 => Just(H::Restart),
        2 => any::<bool>().prop_map(|leased| H::Crash { leased }),
        1 => (1u64..40_000).prop_map(H::Away),
    ]
}

/// What the provider said of each user since when, and who is known to wait.
#[derive(Default)]
struct Truth {
    history: BTreeMap<&'static str, Vec<(Timestamp, String)>>,
    known: BTreeMap<&'static str, bool>,
}

impl Truth {
    fn look(&mut self, world: &World) {
        let now = world.clock.now();
        for name in USERS {
            let report = world.sandbox.user(&merchant(), &user(name));
            let Some(status) = report.and_then(|report| report.status) else {
                continue;
            };
            let history = self.history.entry(name).or_default();
            if history.last().is_none_or(|(_, last)| *last != status) {
                history.push((now, status));
            }
        }
    }

    fn now(&self, name: &str) -> Option<&str> {
        let last = self.history.get(name)?.last()?;
        Some(last.1.as_str())
    }

    /// Whether the provider said this at some time from `from` to `to`.
    fn said(&self, name: &str, status: &str, from: Timestamp, to: Timestamp) -> bool {
        let history = self
            .history
            .get(name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        history.iter().enumerate().any(|(index, (since, said))| {
            let until = history.get(index + 1).map(|(next, _)| *next);
            said == status && *since <= to && until.is_none_or(|until| until >= from)
        })
    }
}

async fn happens(world: &mut World, truth: &mut Truth, what: &Happening) {
    match *what {
        Happening::Apply(index) => {
            let (status, _) = world.apply(USERS[index]).await;
            if matches!(status, 200 | 202) {
                truth.known.insert(USERS[index], true);
            }
        }
        Happening::ApplyHangs(index) => {
            // Taken, and the answer lost: costs the real seconds of a timeout, so it is rare.
            let faults = vexora_relay::sandbox::Faults {
                apply_hang: true,
                ..Default::default()
            };
            let (merchant, user) = (merchant(), user(USERS[index]));
            world
                .sandbox
                .set_user_faults(&merchant, &user, Some(faults));
            world.apply(USERS[index]).await;
            world.sandbox.set_user_faults(&merchant, &user, None);
            truth.known.insert(USERS[index], true);
        }
        Happening::Review {
            user: index,
            approves,
            calls,
        } => {
            let next = match truth.now(USERS[index]) {
                Some("0") => "1",
                Some("1") if approves => "2",
                Some("1") => "3",
                _ => return,
            };
            world.set(USERS[index], next);
            truth.look(world);
            if calls {
                world.sandbox.announce(&merchant(), &user(USERS[index]));
            }
        }
        Happening::Repeat(index) => {
            let spec = CallbackSpec::default();
            let (merchant, user) = (merchant(), user(USERS[index]));
            let _nobody_to_call = world.sandbox.send_callback(&merchant, &user, &spec).await;
        }
        Happening::Forge(index, claim) => {
            world.forge(USERS[index], claim).await;
        }
        Happening::Watch(index) => {
            world.watch(&[USERS[index]]).await;
            truth.known.insert(USERS[index], true);
        }
        Happening::Query(trouble) => {
            if let Trouble::Lags(by) = trouble {
                // The lag counts from the decision: turned on soon after one it would take back what was shown, and
                // a status that goes back to waiting and forth again is a new round (contract §5).
                world.pass(secs(by + 1), secs(60)).await;
            }
            world.faults(|faults| match trouble {
                Trouble::None => {}
                Trouble::Down => faults.query_500 = true,
                Trouble::NotJson => faults.query_not_json = true,
                Trouble::WrongCode => faults.query_wrong_code = true,
                Trouble::Lags(by) => faults.query_lag = secs(by),
            });
        }
        Happening::ReceiverRefuses(refuses) => world.receiver.refuse(refuses),
        Happening::Pass(time) => world.pass(secs(time), secs(time.div_ceil(4))).await,
        Happening::Restart => world.restart().await,
        Happening::Crash { leased } => {
            if leased {
                let (store, now) = (world.store(), world.clock.now());
                let ledger = "ledger".parse().unwrap();
                let lease = secs(30);
                let lane = VerifyLane::Main;
                store
                    .claim_verifications(&merchant(), lane, now, lease, 9)
                    .await
                    .unwrap();
                store
                    .claim_deliveries(&ledger, now, lease, 9)
                    .await
                    .unwrap();
            }
            world.crash().await;
        }
        Happening::Away(time) => {
            world.stop().await;
            world.pass(secs(time), secs(time.div_ceil(3))).await;
            world.start().await;
        }
    }
    truth.look(world);
}

/// Everything is well again, for long enough.
async fn ends_well(world: &World, truth: &mut Truth) {
    world.faults(|_| {});
    world.receiver.refuse(false);
    for _ in 0..IN_THE_END {
        world.pass(secs(3600), secs(1800)).await;
        truth.look(world);
    }
}

async fn check(world: &World, truth: &Truth) -> Result<(), String> {
    world.check_heard()?;
    for name in USERS {
        let story = world.story(name).await;
        let mut before: Option<(Timestamp, String)> = None;
        let mut ids = Vec::new();
        for (event, _) in &story.events {
            let EventContent::Result(result) = &event.content else {
                return Err("not a result".into());
            };
            let status = result.verdict.status().code().to_owned();
            let from = before
                .as_ref()
                .map_or(Timestamp::from_millis(0), |(at, _)| *at);
            if !truth.said(name, &status, from, event.at) {
                return Err(format!(
                    "{name} was told {status}, which was not so by {}",
                    event.at
                ));
            }
            if let Some((at, last)) = &before {
                let waited =
                    truth.said(name, "0", *at, event.at) || truth.said(name, "1", *at, event.at);
                if *last == status && !waited && event.at.since(*at) < WINDOW {
                    return Err(format!(
                        "{name} was told {status} twice, at {at} and {}",
                        event.at
                    ));
                }
            }
            before = Some((event.at, status));
            ids.push(event.id.to_string());
        }
        let mut heard: Vec<String> = world
            .receiver
            .heard()
            .into_iter()
            .filter(|told| told.user == name)
            .map(|told| told.id)
            .collect();
        heard.dedup();
        if heard != ids {
            return Err(format!("{name}: made {ids:?}, heard {heard:?}"));
        }
        let is_final = truth
            .now(name)
            .filter(|status| matches!(*status, "2" | "3"));
        if let Some(status) = is_final.filter(|_| truth.known.contains_key(name)) {
            let told = before.map(|(_, last)| last);
            if told.as_deref() != Some(status) {
                return Err(format!(
                    "{name} is {status} and was told {told:?}: {story:#?}"
                ));
            }
        }
    }
    Ok(())
}

async fn lives_through(history: Vec<Happening>) -> Result<(), String> {
    let mut world = World::shaped(Shape {
        // Reviews end when the history says so.
        review: Duration::from_secs(10 * 365 * 24 * 3600),
        ..Shape::default()
    })
    .await;
    let mut truth = Truth::default();
    for what in &history {
        happens(&mut world, &mut truth, what).await;
    }
    ends_well(&world, &mut truth).await;
    let checked = check(&world, &truth).await;
    world.end().await;
    checked
}

fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|number| number.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_loses_or_doubles_or_invents_or_disorders_a_result(
        history in proptest::collection::vec(happening(), 1..30)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lived = runtime.block_on(lives_through(history));
        prop_assert!(lived.is_ok(), "{}", lived.unwrap_err());
    }
}
