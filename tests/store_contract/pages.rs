//! Lists: pages that together are everything once, newest first, and filters that leave nothing out.

use std::sync::Arc;

use vexora_relay::clock::Entropy as _;
use vexora_relay::domain::{DeliveryState, EventKind, SignCheck, Timestamp, VerifyLane};
use vexora_relay::store::{
    CallbackState, Cursor, DeliveryFilter, DeliveryStand, Page, PageOf, Scope, StoreError,
};

use super::{Bench, Opener, at, heard, merchant, refused, routing, user};

/// Reads a list to its end in pages of two.
async fn to_the_end<T, R>(mut read: impl FnMut(PageOf) -> R) -> Vec<T>
where
    R: Future<Output = Result<Page<T>, StoreError>>,
{
    let (mut all, mut cursor) = (Vec::new(), None);
    for _page in 0..1000 {
        let page = read(PageOf { limit: 2, cursor }).await.expect("a page");
        assert!(page.items.len() <= 2, "a page is bounded");
        all.extend(page.items);
        cursor = page.next;
        if let Some(next) = &cursor {
            // As a client sends it back.
            assert_eq!(next.to_string().parse::<Cursor>().as_ref(), Ok(next));
        } else {
            return all;
        }
    }
    panic!("the list has no end");
}

fn of_user(name: &str) -> Scope {
    Scope {
        merchant: Some(merchant()),
        user: Some(user(name)),
        ..Scope::default()
    }
}

fn secs(time: Timestamp) -> u64 {
    time.as_secs() - at(0).as_secs()
}

fn between(since: u64, until: u64) -> Scope {
    Scope {
        since: Some(at(since)),
        until: Some(at(until)),
        ..Scope::default()
    }
}

pub async fn callbacks_are_paged_newest_first_by_state_user_and_time(open: Opener) {
    let bench = Bench::new(open);
    for round in 0..5 {
        bench
            .ring("taro", SignCheck::Valid, true, at(100 + round * 10))
            .await;
        bench
            .ring("hanako", SignCheck::Missing, true, at(101 + round * 10))
            .await;
        bench
            .accept(None, SignCheck::Invalid, true, at(102 + round * 10))
            .await
            .expect("kept");
    }
    let store = bench.store();
    let list = async |scope: Scope, state| {
        let found = to_the_end(|page| store.callbacks(scope.clone(), state, page)).await;
        let times = found.iter().map(|callback| callback.arrival.at);
        assert!(
            times.clone().is_sorted_by(|one, other| one > other),
            "newest first"
        );
        found
    };
    assert_eq!(list(Scope::default(), None).await.len(), 15);
    let unrecognized = list(Scope::default(), Some(CallbackState::Unrecognized)).await;
    assert!(unrecognized.iter().all(|callback| callback.user.is_none()));
    assert_eq!(unrecognized.len(), 5);
    assert_eq!(
        list(Scope::default(), Some(CallbackState::Accepted))
            .await
            .len(),
        10
    );
    let valid = Some(CallbackState::Sign(SignCheck::Valid));
    assert_eq!(list(Scope::default(), valid).await.len(), 5);
    let taro = list(of_user("taro"), None).await;
    assert!(
        taro.iter()
            .all(|callback| callback.user == Some(user("taro")))
    );
    assert_eq!(taro.len(), 5);
    // Whatever merchant that user is of.
    let anywhere = Scope {
        merchant: None,
        ..of_user("taro")
    };
    assert_eq!(list(anywhere, None).await, taro);
    // From then on, and before then.
    let times: Vec<u64> = list(between(110, 121), None)
        .await
        .iter()
        .map(|callback| secs(callback.arrival.at))
        .collect();
    assert_eq!(times, [120, 112, 111, 110]);
    assert!(list(between(500, 400), None).await.is_empty());
    let one = store.callback(taro[2].id).await.expect("reads");
    assert_eq!(one.as_ref(), Some(&taro[2]));
}

/// Results for users `u0`, `u1`, …, one second apart.
async fn results(bench: &Bench, number: u64) {
    for nth in 0..number {
        let now = at(1000 + nth);
        let code = if nth % 2 == 0 { "2" } else { "3" };
        bench.settle_user(&format!("u{nth}"), code, now).await;
    }
}

pub async fn events_are_paged_newest_first_by_type_user_and_time(open: Opener) {
    let bench = Bench::new(open);
    results(&bench, 7).await;
    let store = bench.store();
    let list = async |scope: Scope, kinds: &[EventKind]| {
        let found = to_the_end(|page| store.events(scope.clone(), kinds.to_vec(), page)).await;
        found.iter().map(|event| secs(event.at)).collect::<Vec<_>>()
    };
    let all = [1006, 1005, 1004, 1003, 1002, 1001, 1000];
    assert_eq!(list(Scope::default(), &[]).await, all);
    assert_eq!(
        list(Scope::default(), &[EventKind::KycRejected]).await,
        [1005, 1003, 1001]
    );
    assert_eq!(list(between(1001, 1003), &[]).await, [1002, 1001]);
    assert_eq!(list(of_user("u4"), &[]).await, [1004]);
    assert!(list(of_user("nobody"), &[]).await.is_empty());
    let page = store
        .events(Scope::default(), vec![], PageOf::first(1))
        .await;
    let newest = page.expect("a page").items.remove(0);
    let (event, told) = store.event(newest.id).await.expect("reads").expect("there");
    assert_eq!(event, newest);
    assert_eq!(
        told.len(),
        2,
        "with the deliveries of those who subscribe to it"
    );
}

pub async fn deliveries_are_paged_by_how_they_stand(open: Opener) {
    let bench = Bench::new(open);
    results(&bench, 9).await;
    let store = bench.store();
    let list = async |stand: Option<DeliveryStand>, scope: Scope| {
        let filter = DeliveryFilter {
            scope,
            endpoint: None,
            stand,
        };
        let found = to_the_end(|page| store.deliveries(filter.clone(), page)).await;
        let places = found
            .iter()
            .map(|row| (row.delivery.event, &row.delivery.endpoint));
        assert!(
            places.clone().is_sorted_by(|one, other| one > other),
            "each once, newest first"
        );
        found
    };
    let everything = list(None, Scope::default()).await;
    assert_eq!(
        everything.len(),
        9 + 5,
        "ledger hears all, audit of the approved"
    );
    assert_eq!(
        list(Some(DeliveryStand::Waiting), Scope::default()).await,
        everything
    );
    assert!(
        list(Some(DeliveryStand::Held), Scope::default())
            .await
            .is_empty()
    );

    // One is heard of, one given up; the news of that waits for those who asked to be told.
    let mut claims = bench.claim_for("ledger", at(2000), 3).await.into_iter();
    let mut next = || claims.next().expect("claimed");
    bench.report(&next(), heard(), at(2001)).await;
    let lost = next();
    bench
        .report(&lost, refused(), at(2001))
        .await
        .expect("ours");
    let again = bench.claim_for("ledger", at(2006), 20).await;
    let again = again
        .into_iter()
        .find(|claim| claim.delivery.event == lost.delivery.event);
    bench
        .report(&again.expect("due"), refused(), at(2006))
        .await
        .expect("ours");
    let stands = async |stand| list(Some(stand), Scope::default()).await.len();
    assert_eq!(stands(DeliveryStand::Delivered).await, 1);
    assert_eq!(stands(DeliveryStand::GivenUp).await, 1);
    assert_eq!(stands(DeliveryStand::Abandoned).await, 1);
    assert_eq!(stands(DeliveryStand::Delivering).await, 7);
    assert_eq!(stands(DeliveryStand::Waiting).await, 5 + 2);
    let tally = async || {
        let tallies = store.tallies().await.expect("counts");
        let numbers = tallies.endpoints.iter();
        let numbers =
            numbers.map(|(name, of)| (name.to_string(), of.pending, of.given_up, of.discarded));
        numbers.collect::<Vec<_>>()
    };
    let with_ledger = |ledger: (u64, u64, u64)| {
        let all = [
            ("audit", (6, 0, 0)),
            ("desk", (1, 0, 0)),
            ("ledger", ledger),
        ];
        all.map(|(name, (pending, given_up, discarded))| {
            (name.to_owned(), pending, given_up, discarded)
        })
    };
    assert_eq!(tally().await, with_ledger((7, 1, 0)));

    // What an operator discards needs nobody any more, and is still abandoned.
    let event = lost.delivery.event;
    let discarded = store
        .discard(event, &lost.delivery.endpoint, at(2_000_000))
        .await;
    let discarded = discarded.expect("stored").expect("done");
    assert!(matches!(discarded.state, DeliveryState::Abandoned { .. }));
    assert_eq!(stands(DeliveryStand::GivenUp).await, 0);
    assert_eq!(stands(DeliveryStand::Discarded).await, 1);
    assert_eq!(stands(DeliveryStand::Abandoned).await, 1);

    assert_eq!(tally().await, with_ledger((7, 0, 1)));
    // Tried again after all, it waits like any other.
    let retried = store
        .retry(event, &lost.delivery.endpoint, at(2_000_000))
        .await;
    retried.expect("stored").expect("done");
    assert_eq!(tally().await, with_ledger((8, 0, 0)));

    let audit = "audit".parse().expect("valid");
    store.pause(&audit, at(2_000_001)).await.expect("paused");
    let held = list(Some(DeliveryStand::Held), Scope::default()).await;
    assert!(
        held.iter()
            .all(|row| row.held && row.delivery.endpoint == audit)
    );
    assert_eq!(held.len(), 6);

    // By user, by endpoint and by time.
    assert_eq!(list(None, of_user("u2")).await.len(), 2);
    assert_eq!(list(None, between(1003, 1005)).await.len(), 1 + 2);
    assert_eq!(
        list(Some(DeliveryStand::Held), between(1003, 1005))
            .await
            .len(),
        1
    );
    let filter = DeliveryFilter {
        endpoint: Some(audit),
        ..DeliveryFilter::default()
    };
    let to_audit = to_the_end(|page| store.deliveries(filter.clone(), page)).await;
    assert_eq!(to_audit.len(), 6);
}

pub async fn open_verifications_and_users_are_paged_by_name(open: Opener) {
    let mut bench = Bench::new(open);
    results(&bench, 2).await;
    for name in ["ada", "adam", "eve"] {
        bench.ring(name, SignCheck::Valid, true, at(2000)).await;
    }
    let store = bench.store();
    let open = to_the_end(|page| store.verifications(Scope::default(), false, page)).await;
    let names: Vec<&str> = open.iter().map(|row| row.user.as_str()).collect();
    assert_eq!(names, ["ada", "adam", "eve"]);
    let one = to_the_end(|page| store.verifications(of_user("eve"), false, page)).await;
    assert_eq!(one.len(), 1);
    let found = async |prefix: &str| {
        let found = to_the_end(|page| store.users(None, prefix.to_owned(), page)).await;
        let names = found.into_iter().map(|row| row.user.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(found("").await, ["ada", "adam", "eve", "u0", "u1"]);
    assert_eq!(found("ada").await, ["ada", "adam"]);
    assert_eq!(found("u1").await, ["u1"]);
    assert!(found("x").await.is_empty());

    // Given up on: in the list of those that are stuck, and counted, over a restart too.
    let long = at(10_000_000);
    for claim in bench.claim(VerifyLane::Main, long, 1).await {
        bench.answer(&claim, super::says("1"), long).await;
    }
    assert_eq!(store.tallies().await.expect("counts").stuck, 1);
    bench.restart().await;
    let store = bench.store();
    let stuck = to_the_end(|page| store.verifications(Scope::default(), true, page)).await;
    assert_eq!(stuck.len(), 1);
    let tallies = store.tallies().await.expect("counts");
    assert_eq!((tallies.stuck, tallies.verifications), (1, 3));
    // Rung for again: not stuck any more.
    let name = stuck[0].user.to_string();
    bench.ring(&name, SignCheck::Valid, true, long).await;
    assert_eq!(bench.store().tallies().await.expect("counts").stuck, 0);
}

pub async fn a_filter_that_seldom_matches_gives_short_pages_and_a_way_on(open: Opener) {
    let bench = Bench::new(open);
    // Cheap events: what an endpoint is told of the relay itself.
    let routing: Arc<_> = routing();
    let publish = async |nth: u64| {
        let now = Timestamp::from_millis(at(100).as_millis() + nth);
        let fresh = bench.entropy.event_id(now);
        bench
            .store()
            .test(
                &"audit".parse().expect("valid"),
                fresh,
                now,
                Arc::clone(&routing),
            )
            .await
            .expect("published");
    };
    bench.ring("taro", SignCheck::Valid, true, at(1)).await;
    bench.settle_user("taro", "2", at(1)).await;
    futures_util::future::join_all((0..4_500).map(publish)).await;
    let store = bench.store();
    let approved = vec![EventKind::KycApproved];
    let first = store
        .events(Scope::default(), approved.clone(), PageOf::first(50))
        .await;
    let first = first.expect("a page");
    assert!(first.items.is_empty(), "not everything was looked at");
    assert!(first.next.is_some(), "there is a way on");
    let all = to_the_end(|page| store.events(Scope::default(), approved.clone(), page)).await;
    assert_eq!(all.len(), 1);
}

pub async fn a_cursor_of_another_list_is_refused(open: Opener) {
    let bench = Bench::new(open);
    results(&bench, 3).await;
    let store = bench.store();
    let page = store
        .events(Scope::default(), vec![], PageOf::first(1))
        .await;
    let cursor = page.expect("a page").next;
    assert!(cursor.is_some());
    let of = |cursor| PageOf { limit: 1, cursor };
    for cursor in [cursor, "ZXNo".parse().ok(), "".parse().ok()] {
        let refused = store
            .callbacks(Scope::default(), None, of(cursor.clone()))
            .await;
        assert!(matches!(refused, Err(StoreError::Cursor)));
        let refused = store
            .deliveries(DeliveryFilter::default(), of(cursor))
            .await;
        assert!(matches!(refused, Err(StoreError::Cursor)));
    }
    assert!("=&%".parse::<Cursor>().is_err());
}
