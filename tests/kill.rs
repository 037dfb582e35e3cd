//! `kill -9`, at random moments, of the real binary under load: what it acknowledged is there and is told in the end.
//!
//! The provider (the sandbox), the receiver and the clients live in the test's process and outlast every kill. The
//! moments come from a seed, which a failure names. The short run is part of every test run; the long one by hand:
//!
//! ```text
//! KILLS=500 SEED=7 cargo test --release --test kill -- --ignored --nocapture
//! ```

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do, and say which seed it was"
)]

#[path = "kill/clients.rs"]
mod clients;
#[path = "kill/dice.rs"]
mod dice;
#[path = "kill/receiver.rs"]
mod receiver;
#[path = "kill/relay.rs"]
mod relay;
#[path = "kill/story.rs"]
mod story;

use std::sync::Arc;
use std::time::Duration;

use vexora_relay::domain::Secret;
use vexora_relay::sandbox::{Sandbox, SandboxConfig};

use clients::Clients;
use dice::Dice;
use receiver::Receiver;
use relay::{Directory, Ended};
use story::Ledger;

const MERCHANT: &str = "1027749636";
const APP_SECRET: &str = "kill-app-secret";
const CLIENTS: u64 = 4;

/// Longer than anything here takes on a busy machine; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A debug build is ready some 50 to 100 ms after it was started: moments up to here hit every part of the start.
const START_UP: u64 = 120_000;

#[test]
fn nothing_acknowledged_is_lost_by_twenty_four_kills() {
    run(24, 20_261_121);
}

#[test]
#[ignore = "minutes; KILLS and SEED say how many and which"]
fn nothing_acknowledged_is_lost_by_many_kills() {
    let number = |name, otherwise| {
        let text = std::env::var(name).ok();
        text.map_or(otherwise, |text| text.parse().expect("a number"))
    };
    run(number("KILLS", 300), number("SEED", 1));
}

fn run(kills: u64, seed: u64) {
    eprintln!("seed {seed}, {kills} kills");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    let merchant = MERCHANT.parse().expect("valid");
    let config = SandboxConfig::new(vec![(merchant, Secret::new(APP_SECRET))]);
    let sandbox = Arc::new(runtime.block_on(Sandbox::start(config)).expect("starts"));
    let receiver = Receiver::start(seed);
    let directory = Directory::new(&sandbox.base_url(), &receiver.url());
    let clients = Clients::start(CLIENTS, seed, &sandbox);

    let mut dice = Dice::new(seed);
    let mut ledger = Ledger::default();
    let (mut early, mut unready) = (0, 0);
    for _kill in 0..kills {
        let mut relay = directory.start();
        // A third die while starting, most of these before they serve anybody.
        if dice.below(3) == 0 {
            early += 1;
            let moment = Duration::from_micros(dice.below(START_UP));
            match relay.ready_within(moment) {
                Some(at) => clients.open(at.callbacks),
                None => unready += 1,
            }
        } else {
            let at = relay.ready_within(PATIENCE).expect("it starts");
            clients.open(at.callbacks);
            for user in clients.some_users(3, &mut dice) {
                ledger.check(&at, &directory.admin_token(), &user, &clients);
            }
            clients.wait_for_more(dice.below(80));
            let moment = Duration::from_micros(dice.below(4000));
            assert!(!relay.ended_within(moment), "{}", relay.last_words());
        }
        clients.shut();
        relay.kill();
    }

    // Load ends with every client's last callback acknowledged, by a relay that nobody kills any more.
    let mut relay = directory.start();
    let at = relay.ready_within(PATIENCE).expect("it starts");
    clients.open(at.callbacks);
    let truth = clients.finish();
    receiver.wait_until_told(&truth, PATIENCE);
    // What is out is recorded on an orderly stop; so the checks after one more start meet nothing half done.
    assert_eq!(relay.stop(), Ended::Well, "{}", relay.last_words());
    let mut relay = directory.start();
    let at = relay.ready_within(PATIENCE).expect("it starts");
    let token = directory.admin_token();
    for (user, told) in &truth {
        let story = ledger.check(&at, &token, user, told);
        assert_eq!(story["sequence"], story::events(&story), "{user}");
        receiver.check(user, &story);
    }
    assert_eq!(relay.stop(), Ended::Well, "{}", relay.last_words());
    receiver.check_ids();
    let acknowledged: usize = truth.values().map(|told| told.acknowledged.len()).sum();
    eprintln!(
        "{kills} kills ({early} within the first moments, {unready} of them before it was ready), {acknowledged} acknowledged callbacks of {} users, {} webhooks",
        truth.len(),
        receiver.heard()
    );
    assert!(acknowledged > 0, "the load never came through");
    assert!(unready > 0, "no kill hit the start");
}
