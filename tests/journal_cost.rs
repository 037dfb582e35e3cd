//! What the journal's sync costs, measured by hand: `cargo test --release --test journal_cost -- --ignored --nocapture`.
//! Prints a table; asserts nothing, since a shared machine proves nothing about time.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking"
)]

#[path = "durable/mod.rs"]
mod durable;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vexora_relay::clock::{Entropy as _, SeededEntropy};
use vexora_relay::domain::{Arrival, Callback, SignCheck};
use vexora_relay::store::Store;
use vexora_relay::store::embedded::{JournalSettings, ThisMachine};

#[allow(
    clippy::disallowed_methods,
    reason = "measuring how long something takes"
)]
fn now() -> Instant {
    Instant::now()
}

fn median(mut times: Vec<Duration>) -> (u128, u128) {
    times.sort();
    (
        times[times.len() / 2].as_micros(),
        times[times.len() * 99 / 100].as_micros(),
    )
}

/// Appends of 900 bytes, each with an fdatasync, into room written before or not.
fn appends(directory: &std::path::Path, zeroed: bool) -> (u128, u128) {
    let file = File::create(directory.join(format!("append-{zeroed}"))).expect("makes");
    if zeroed {
        file.write_all_at(&vec![0; 4 << 20], 0).expect("writes");
        file.sync_all().expect("syncs");
    }
    let times = (0..3000_u64).map(|at| {
        let begun = now();
        file.write_all_at(&[7; 900], at * 900).expect("writes");
        file.sync_data().expect("syncs");
        begun.elapsed()
    });
    median(times.collect())
}

#[test]
#[ignore = "a measurement"]
fn cost() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("makes");
    for zeroed in [false, true, false, true] {
        let (p50, p99) = appends(directory.path(), zeroed);
        println!(
            "append 900 B and fdatasync, room zeroed before: {zeroed}: p50 {p50} us, p99 {p99} us"
        );
    }
    for clients in [1_usize, 16, 64, 256] {
        let path = directory.path().join(format!("store-{clients}"));
        let tuning = JournalSettings::default();
        let (store, _) = durable::open(&path, tuning, Arc::new(ThisMachine)).expect("opens");
        let entropy = SeededEntropy::new(1);
        let each = 24_000 / clients.max(8);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let begun = now();
        let times = runtime.block_on(futures_util::future::join_all((0..clients).map(|client| {
            let (store, entropy) = (&store, &entropy);
            async move {
                let mut times = Vec::with_capacity(each);
                for n in 0..each {
                    let at = durable::at(n as u64);
                    let callback = Callback {
                        id: entropy.callback_id(at),
                        merchant: durable::merchant(),
                        user: Some(durable::user(client * each + n)),
                        claim: Some("2".into()),
                        sign: SignCheck::Valid,
                        token: true,
                        arrival: Arrival {
                            body: vec![b'a'; 600],
                            content_type: None,
                            query: None,
                            peer: None,
                            at,
                        },
                    };
                    let begun = now();
                    let fresh = entropy.event_id(at);
                    store
                        .accept(callback, fresh, durable::routing())
                        .await
                        .expect("kept");
                    times.push(begun.elapsed());
                }
                times
            }
        })));
        let rate = (clients * each) as f64 / begun.elapsed().as_secs_f64();
        let (p50, p99) = median(times.into_iter().flatten().collect());
        println!("accept, {clients} clients: {rate:.0}/s, p50 {p50} us, p99 {p99} us");
        drop(store);
        if clients == 256 {
            // As after a power cut: sled is made again from checkpoint and journal.
            let lock = File::open(path.join("lock")).expect("there");
            lock.lock().expect("ends");
            drop(lock);
            let mut machine = durable::Odd::sound();
            machine.boot = Some("the next boot".into());
            let begun = now();
            let (_store, report) = durable::open(&path, tuning, Arc::new(machine)).expect("opens");
            println!(
                "made again after a power cut, {} callbacks: {:?}, {:?}",
                clients * each,
                begun.elapsed(),
                report.rebuilt
            );
        }
    }
}
