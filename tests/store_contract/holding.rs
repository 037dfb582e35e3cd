//! What an endpoint asked for, and what an operator decided, as every store must keep to it.

use std::time::Duration;

use futures_util::FutureExt as _;
use vexora_relay::domain::{EndpointName, Outcome, Timestamp};
use vexora_relay::store::Lane;

use super::{Bench, LEASE, Opener, at, heard, refused};

fn ledger() -> EndpointName {
    "ledger".parse().expect("valid")
}

async fn next_due(bench: &Bench) -> Option<Timestamp> {
    let lane = Lane::Deliver(ledger());
    bench.store().next_due(&lane).await.expect("reads")
}

pub(super) async fn a_resumed_endpoint_gets_one_delivery_at_a_time_until_it_has_heard(
    open: Opener,
) {
    let mut bench = Bench::new(open);
    for n in 0..3 {
        bench.settle_user(&format!("user-{n}"), "2", at(n)).await;
    }
    let paused = bench.store().pause(&ledger(), at(5)).await;
    assert!(paused.expect("pauses").holds());
    let resumed = bench.store().resume(&ledger(), at(9)).await;
    assert!(!resumed.expect("resumes").holds());
    bench.restart().await;
    assert_eq!(next_due(&bench).await, Some(at(0)));
    let first = bench.claim_for("ledger", at(10), 9).await;
    assert_eq!((first.len(), first[0].alone), (1, true));
    assert!(bench.claim_for("ledger", at(10), 9).await.is_empty());
    let lease_ends = at(10).plus(LEASE);
    assert_eq!(next_due(&bench).await, Some(lease_ends), "nobody spins");
    // Whoever sent it is gone: another one goes out, alone again.
    let second = bench.claim_for("ledger", lease_ends, 9).await;
    assert_eq!(second.len(), 1);
    let now = lease_ends;
    bench
        .report(&second[0], refused(), now)
        .await
        .expect("ours");
    let third = bench.claim_for("ledger", now, 9).await;
    assert_eq!(third.len(), 1, "a failure is no word of being well");
    bench.report(&third[0], heard(), now).await.expect("ours");
    let now = now.plus(Duration::from_secs(10));
    let rest = bench.claim_for("ledger", now, 9).await;
    assert_eq!(rest.len(), 2);
    assert!(rest.iter().all(|claim| !claim.alone));
}

pub(super) async fn nothing_goes_out_before_the_time_an_endpoint_asked_for(open: Opener) {
    let mut bench = Bench::new(open);
    for n in 0..3 {
        bench.settle_user(&format!("user-{n}"), "2", at(n)).await;
    }
    let first = bench.claim_for("ledger", at(10), 1).await.remove(0);
    let busy = Outcome {
        status: Some(503),
        retry_after: Some(Duration::from_secs(60)),
        ..refused()
    };
    bench.report(&first, busy, at(10)).await.expect("ours");
    for restart in [false, true] {
        if restart {
            bench.restart().await;
        }
        assert!(bench.claim_for("ledger", at(69), 9).await.is_empty());
        assert_eq!(next_due(&bench).await, Some(at(70)), "nobody spins");
    }
    let paused = bench.store().pause(&ledger(), at(69)).await;
    paused.expect("pauses");
    let resumed = bench.store().resume(&ledger(), at(69)).await;
    resumed.expect("resumes");
    assert!(bench.claim_for("ledger", at(69), 9).await.is_empty());
    assert_eq!(bench.claim_for("ledger", at(70), 9).await.len(), 1);
}

/// Those that wait have asked for an hour, so the next probe is what came last; what comes after that changes nothing.
pub(super) async fn an_endpoint_that_is_down_is_rung_for_what_it_can_be_probed_with(open: Opener) {
    let bench = Bench::new(open);
    for n in 0..5 {
        bench.settle_user(&format!("user-{n}"), "2", at(n)).await;
    }
    let busy = Outcome {
        status: Some(503),
        retry_after: Some(Duration::from_secs(3600)),
        ..refused()
    };
    for claim in bench.claim_for("ledger", at(10), 9).await {
        bench
            .report(&claim, busy.clone(), at(10))
            .await
            .expect("ours");
    }
    let health = bench.store().health(&ledger()).await.expect("reads");
    assert!(health.holds());
    let bell = bench.store().signals().bell(&Lane::Deliver(ledger()));
    let rang = || bell.notified().now_or_never().is_some();
    let _before = rang();
    bench.settle_user("fresh", "2", at(11)).await;
    assert!(rang(), "it can be probed with before the others");
    bench.settle_user("later", "2", at(12)).await;
    assert!(!rang(), "another goes first");
    let paused = bench.store().pause(&ledger(), at(13)).await;
    paused.expect("pauses");
    bench.settle_user("held", "2", at(14)).await;
    assert!(!rang(), "nothing goes out");
}
