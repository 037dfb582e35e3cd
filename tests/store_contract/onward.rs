//! A claim that comes along with the record of what was heard, as every store must keep to it.

use vexora_relay::domain::{DeliveryState, EventId};
use vexora_relay::store::DeliveryClaim;

use super::{Bench, LEASE, Opener, at, heard, refused};

async fn with_users(open: Opener, users: u64) -> Bench {
    let bench = Bench::new(open);
    for n in 0..users {
        bench.settle_user(&format!("user-{n}"), "2", at(n)).await;
    }
    bench
}

fn ids(claims: &[DeliveryClaim]) -> Vec<EventId> {
    claims.iter().map(|claim| claim.event.id).collect()
}

pub(super) async fn what_was_heard_brings_the_next_along_and_no_more(open: Opener) {
    let bench = with_users(open, 3).await;
    let now = at(9);
    let first = bench.claim_for("ledger", now, 1).await.remove(0);
    let recorded = bench.record(&first, heard(), now, Some(LEASE)).await;
    let recorded = recorded.expect("ours");
    assert!(matches!(
        recorded.delivery.state,
        DeliveryState::Delivered { .. }
    ));
    let second = recorded.next.expect("two more are due");
    let until = now.plus(LEASE);
    assert_eq!(second.delivery.state, DeliveryState::Delivering { until });
    assert_eq!(
        second.delivery.attempts, 1,
        "counted as if claimed by itself"
    );
    let rest = bench.claim_for("ledger", now, 9).await;
    assert_eq!(rest.len(), 1, "its lease is the caller's");
    assert_ne!(ids(&rest), [second.event.id]);
    // Nobody lived to see the end of it: it goes out again like any other.
    let again = bench.claim_for("ledger", until, 9).await;
    assert!(ids(&again).contains(&second.event.id));
    let last = bench.record(&rest[0], heard(), now, Some(LEASE)).await;
    let last = last.map(|recorded| ids(recorded.next.as_slice()));
    assert_eq!(last, None, "another attempt is under way by now");
}

pub(super) async fn what_was_not_heard_or_is_held_brings_nothing_along(open: Opener) {
    let bench = with_users(open, 4).await;
    let now = at(9);
    let claims = bench.claim_for("ledger", now, 3).await;
    let next = async |claim: usize, outcome, onward| {
        let recorded = bench.record(&claims[claim], outcome, now, onward).await;
        recorded.expect("ours").next.is_some()
    };
    assert!(!next(0, refused(), Some(LEASE)).await, "not heard");
    assert!(!next(1, heard(), None).await, "not asked for");
    let ledger = "ledger".parse().expect("valid");
    bench.store().pause(&ledger, now).await.expect("pauses");
    assert!(!next(2, heard(), Some(LEASE)).await, "paused");
    bench.store().resume(&ledger, now).await.expect("resumes");
    let rest = bench.claim_for("ledger", now, 9).await;
    assert_eq!(rest.len(), 1, "one was due all the while");
    let recorded = bench.record(&rest[0], heard(), now, Some(LEASE)).await;
    let recorded = recorded.expect("ours");
    assert!(
        recorded.next.is_none(),
        "it has just been found to be well again: whoever eases it in claims"
    );
}

pub(super) async fn of_a_user_the_next_result_comes_along(open: Opener) {
    let bench = Bench::new(open);
    bench.settle_user("taro", "2", at(0)).await;
    bench.settle_user("taro", "3", at(1)).await;
    let first = bench.claim_for("ledger", at(2), 9).await.remove(0);
    let recorded = bench.record(&first, heard(), at(2), Some(LEASE)).await;
    let second = recorded.expect("ours").next.expect("its turn has come");
    assert_eq!(second.delivery.line, first.delivery.line);
    assert_eq!(
        (first.delivery.sequence, second.delivery.sequence),
        (1, 2),
        "in their order"
    );
}
