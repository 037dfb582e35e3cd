//! A claim that comes along with the record of what was heard, as every store must keep to it.

use vexora_relay::domain::{DeliveryState, EventId};
use vexora_relay::store::{DeliveryClaim, Onward};

use super::{Bench, LEASE, Opener, at, heard, refused};

/// The next, and no more.
const ONE: Option<Onward> = Some(Onward {
    lease: LEASE,
    limit: 1,
});

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
    let recorded = bench.record(&first, heard(), now, ONE).await;
    let recorded = recorded.expect("ours");
    assert!(matches!(
        recorded.delivery.state,
        DeliveryState::Delivered { .. }
    ));
    let [second] = &recorded.next[..] else {
        panic!("two more are due, and one is asked for")
    };
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
    let last = bench.record(&rest[0], heard(), now, ONE).await;
    let last = last.map(|recorded| ids(&recorded.next));
    assert_eq!(last, None, "another attempt is under way by now");
}

pub(super) async fn what_was_not_heard_or_is_held_brings_nothing_along(open: Opener) {
    let bench = with_users(open, 4).await;
    let now = at(9);
    let claims = bench.claim_for("ledger", now, 3).await;
    let next = async |claim: usize, outcome, onward| {
        let recorded = bench.record(&claims[claim], outcome, now, onward).await;
        !recorded.expect("ours").next.is_empty()
    };
    assert!(!next(0, refused(), ONE).await, "not heard");
    assert!(!next(1, heard(), None).await, "not asked for");
    let ledger = "ledger".parse().expect("valid");
    bench.store().pause(&ledger, now).await.expect("pauses");
    assert!(!next(2, heard(), ONE).await, "paused");
    bench.store().resume(&ledger, now).await.expect("resumes");
    let rest = bench.claim_for("ledger", now, 9).await;
    assert_eq!(rest.len(), 1, "one was due all the while");
    let recorded = bench.record(&rest[0], heard(), now, ONE).await;
    let recorded = recorded.expect("ours");
    assert!(
        recorded.next.is_empty(),
        "it has just been found to be well again: whoever eases it in claims"
    );
}

pub(super) async fn of_a_user_the_next_result_comes_along(open: Opener) {
    let bench = Bench::new(open);
    bench.settle_user("taro", "2", at(0)).await;
    bench.settle_user("taro", "3", at(1)).await;
    let first = bench.claim_for("ledger", at(2), 9).await.remove(0);
    let recorded = bench.record(&first, heard(), at(2), ONE).await;
    let second = recorded.expect("ours").next.remove(0);
    assert_eq!(second.delivery.line, first.delivery.line);
    assert_eq!(
        (first.delivery.sequence, second.delivery.sequence),
        (1, 2),
        "in their order"
    );
}

pub(super) async fn as_many_come_along_as_are_asked_for_and_can_be_given_back(open: Opener) {
    let bench = with_users(open, 5).await;
    let now = at(9);
    let first = bench.claim_for("ledger", now, 1).await.remove(0);
    let three = Onward {
        lease: LEASE,
        limit: 3,
    };
    let recorded = bench.record(&first, heard(), now, Some(three)).await;
    let ahead = recorded.expect("ours").next;
    assert_eq!(ahead.len(), 3);
    let rest = bench.claim_for("ledger", now, 9).await;
    assert_eq!(rest.len(), 1, "the others have their leases");
    let (store, later) = (bench.store(), at(10));
    for claim in &ahead {
        let released = store.release_delivery(claim, later).await;
        released.expect("gives back");
    }
    let again = bench.claim_for("ledger", later, 9).await;
    assert_eq!(ids(&again), ids(&ahead), "in their order");
    let attempts = again.iter().map(|claim| claim.delivery.attempts);
    assert_eq!(attempts.collect::<Vec<_>>(), [1, 1, 1], "not counted twice");
}
