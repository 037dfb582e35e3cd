//! What every store must do, whatever it is made of. A second implementation joins with one line at the end.
//!
//! Each test speaks the trait only; `Bench::restart` stands for a process that ended and came back.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, and the helpers of tests"
)]

#[path = "store_contract/fanout.rs"]
mod fanout;
#[path = "store_contract/holding.rs"]
mod holding;
#[path = "store_contract/lanes.rs"]
mod lanes;
#[path = "store_contract/onward.rs"]
mod onward;
#[path = "store_contract/pages.rs"]
mod pages;
#[path = "store_contract/standby.rs"]
mod standby;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::fanout::{
    a_result_for_very_many_reaches_who_is_up_at_once_and_everybody_soon,
    a_users_results_keep_their_order_where_their_deliveries_come_later,
};
use self::holding::{
    a_resumed_endpoint_gets_one_delivery_at_a_time_until_it_has_heard,
    an_endpoint_that_is_down_is_rung_for_what_it_can_be_probed_with,
    nothing_goes_out_before_the_time_an_endpoint_asked_for,
};
use self::onward::{
    as_many_come_along_as_are_asked_for_and_can_be_given_back,
    of_a_user_the_next_result_comes_along, what_was_heard_brings_the_next_along_and_no_more,
    what_was_not_heard_or_is_held_brings_nothing_along,
};
use self::pages::{
    a_cursor_of_another_list_is_refused,
    a_filter_that_seldom_matches_gives_short_pages_and_a_way_on,
    callbacks_are_paged_newest_first_by_state_user_and_time,
    deliveries_are_paged_by_how_they_stand, events_are_paged_newest_first_by_type_user_and_time,
    open_verifications_and_users_are_paged_by_name,
};

use self::standby::{
    a_users_results_are_not_given_out_of_order, forgeries_and_whoever_is_held_are_given_nothing,
    what_comes_in_is_claimed_for_a_free_hand, what_is_due_is_not_overtaken_by_what_comes_in,
};

use vexora_relay::clock::{Entropy, SeededEntropy};
use vexora_relay::domain::{
    Answer, ApplicationState, Arrival, Batch, Callback, CallbackId, Delivery, DeliveryPolicy,
    DeliveryState, EventContent, EventFilter, FailureClass, Jitter, MerchantNo, Ordered, Outcome,
    QueryFailure, Route, Routing, Schedule, SignCheck, Source, Status, Stranger, Timestamp, Trust,
    UserId, Verdict, VerifyLane, VerifyPolicy,
};
use vexora_relay::store::embedded::{EmbeddedSettings, SledStore};
use vexora_relay::store::{
    AnswerRecorded, AnswerReport, AttemptRecorded, AttemptReport, Bygone, DeliveryClaim, Lane,
    Onward, Refused, Store, StoreError, Story, VerifyClaim,
};

const LEASE: Duration = Duration::from_secs(30);

/// Opens a store in a directory, `min_free` bytes to be left on its disk.
type Opener = fn(&std::path::Path, u64) -> Arc<dyn Store>;

struct Bench {
    store: Option<Arc<dyn Store>>,
    open: Opener,
    directory: tempfile::TempDir,
    entropy: SeededEntropy,
    /// When the last callback came, or the last answer; milliseconds.
    clock: Arc<AtomicU64>,
}

impl Bench {
    fn new(open: Opener) -> Self {
        Self::with_min_free(open, 0)
    }

    fn with_min_free(open: Opener, min_free: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Some(open(directory.path(), min_free));
        Self {
            store,
            open,
            directory,
            entropy: SeededEntropy::new(1),
            clock: Arc::default(),
        }
    }

    fn store(&self) -> &dyn Store {
        self.store.as_deref().expect("open")
    }

    async fn close(&mut self) {
        let store = self.store.take().expect("open");
        store.close().await.expect("closes");
    }

    fn reopen(&mut self) {
        self.store = Some((self.open)(self.directory.path(), 0));
    }

    async fn restart(&mut self) {
        self.close().await;
        self.reopen();
    }

    async fn ring(&self, name: &str, sign: SignCheck, token: bool, now: Timestamp) {
        self.accept(Some(name), sign, token, now)
            .await
            .expect("accepted");
    }

    async fn accept(
        &self,
        name: Option<&str>,
        sign: SignCheck,
        token: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.clock.store(now.as_millis(), Ordering::SeqCst);
        let callback = Callback {
            id: self.entropy.callback_id(now),
            merchant: merchant(),
            user: name.map(user),
            claim: Some("2".into()),
            sign,
            token,
            arrival: Arrival {
                body: b"\x00\xffnot even text".to_vec(),
                content_type: Some("application/json".into()),
                query: Some("a=b".into()),
                peer: Some("127.0.0.1".parse().expect("valid")),
                at: now,
            },
        };
        self.store()
            .accept(callback, self.entropy.event_id(now), routing())
            .await
    }

    async fn claim(&self, lane: VerifyLane, now: Timestamp, limit: usize) -> Vec<VerifyClaim> {
        self.store()
            .claim_verifications(&merchant(), lane, now, LEASE, limit)
            .await
            .expect("claims")
    }

    async fn answer(&self, claim: &VerifyClaim, answer: Answer, now: Timestamp) -> AnswerRecorded {
        self.clock.store(now.as_millis(), Ordering::SeqCst);
        let report = AnswerReport {
            answer,
            now,
            took: Duration::from_millis(3),
            fresh: self.entropy.event_id(now),
            fresh_too: self.entropy.event_id(now),
            policy: verify_policy(),
            routing: routing(),
        };
        self.store()
            .record_answer(claim, report)
            .await
            .expect("records")
    }

    /// Rings, asks, and records this verdict.
    async fn settle_user(&self, name: &str, code: &str, now: Timestamp) -> AnswerRecorded {
        self.ring(name, SignCheck::Valid, true, now).await;
        let claims = self.claim(VerifyLane::Main, now, 10).await;
        assert_eq!(claims.len(), 1, "one verification was due");
        self.answer(&claims[0], says(code), now).await
    }

    async fn claim_for(&self, endpoint: &str, now: Timestamp, limit: usize) -> Vec<DeliveryClaim> {
        let name = endpoint.parse().expect("valid");
        self.store()
            .claim_deliveries(&name, now, LEASE, limit)
            .await
            .expect("claims")
    }

    async fn report(
        &self,
        claim: &DeliveryClaim,
        outcome: Outcome,
        now: Timestamp,
    ) -> Option<Delivery> {
        let recorded = self.record(claim, outcome, now, None).await;
        recorded.map(|recorded| recorded.delivery)
    }

    async fn record(
        &self,
        claim: &DeliveryClaim,
        outcome: Outcome,
        now: Timestamp,
        onward: Option<Onward>,
    ) -> Option<AttemptRecorded> {
        let report = AttemptReport {
            began: now,
            took: Duration::from_millis(5),
            outcome,
            now,
            draw: 0.0,
            fresh: self.entropy.event_id(now),
            fresh_too: self.entropy.event_id(now),
            policy: delivery_policy(),
            routing: routing(),
            onward,
        };
        self.store()
            .record_attempt(claim, report)
            .await
            .expect("records")
    }
}

fn merchant() -> MerchantNo {
    "1027749636".parse().expect("valid")
}

fn user(name: &str) -> UserId {
    name.parse().expect("valid")
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000 + secs * 1000)
}

fn says(code: &str) -> Answer {
    let reason = (code == "3").then(|| "書類が不鮮明".to_owned());
    Answer::Verdict(Verdict::new(Status::parse(code).expect("valid"), reason))
}

fn heard() -> Outcome {
    Outcome {
        failure: None,
        status: Some(204),
        retry_after: None,
        body: b"thanks".to_vec(),
        detail: None,
    }
}

fn refused() -> Outcome {
    Outcome {
        failure: Some(FailureClass::Status),
        status: Some(500),
        ..heard()
    }
}

fn verify_policy() -> VerifyPolicy {
    VerifyPolicy {
        retry: Schedule::new(vec![Duration::from_secs(1), Duration::from_secs(60)]).expect("valid"),
        give_up_after: Duration::from_secs(600),
        duplicate_window: Duration::from_secs(3600),
        reconcile: None,
    }
}

fn delivery_policy() -> DeliveryPolicy {
    DeliveryPolicy {
        retry: Schedule::new(vec![Duration::from_secs(5)]).expect("valid"),
        jitter: Jitter::NONE,
        give_up_after: Duration::from_secs(3600),
    }
}

/// `ledger` hears the final results in order, `audit` everything of the relay and in no order, `desk` of what was given up.
fn routing() -> Arc<Routing> {
    let route = |name: &str, patterns: &[&str], ordered| Route {
        endpoint: name.parse().expect("valid"),
        events: EventFilter::parse(patterns).expect("valid"),
        merchants: vec![],
        ordered,
    };
    Arc::new(Routing::new(vec![
        route("ledger", &["kyc.approved", "kyc.rejected"], true),
        route("audit", &["relay.*", "kyc.approved"], false),
        route("desk", &["relay.delivery.abandoned"], false),
    ]))
}

async fn an_accepted_callback_is_kept_byte_for_byte_and_survives_a_restart(open: Opener) {
    let mut bench = Bench::new(open);
    bench.ring("taro", SignCheck::Invalid, true, at(0)).await;
    let before = bench
        .store()
        .story(&merchant(), &user("taro"))
        .await
        .expect("reads");
    assert_eq!(before.callbacks.len(), 1);
    assert_eq!(before.callbacks[0].arrival.body, b"\x00\xffnot even text");
    bench.restart().await;
    let after = bench
        .store()
        .story(&merchant(), &user("taro"))
        .await
        .expect("reads");
    assert_eq!(before, after);
}

async fn callbacks_of_one_user_share_one_verification(open: Opener) {
    let bench = Bench::new(open);
    for _ in 0..3 {
        bench.ring("taro", SignCheck::Valid, true, at(0)).await;
    }
    assert_eq!(bench.claim(VerifyLane::Main, at(0), 10).await.len(), 1);
    assert_eq!(
        bench.claim(VerifyLane::Main, at(0), 10).await.len(),
        0,
        "it is leased"
    );
}

async fn callbacks_handed_in_together_are_all_kept(open: Opener) {
    let bench = Bench::new(open);
    let rings = (0..100).map(|n| {
        let name = format!("user-{}", n % 10);
        let bench = &bench;
        async move { bench.ring(&name, SignCheck::Valid, true, at(0)).await }
    });
    futures_util::future::join_all(rings).await;
    let mut kept = 0;
    for n in 0..10 {
        let story = bench
            .store()
            .story(&merchant(), &user(&format!("user-{n}")))
            .await
            .expect("reads");
        kept += story.callbacks.len();
    }
    assert_eq!(kept, 100);
    assert_eq!(bench.claim(VerifyLane::Main, at(0), 100).await.len(), 10);
}

async fn the_most_trusted_are_asked_about_first_and_forgeries_have_a_lane_of_their_own(
    open: Opener,
) {
    let bench = Bench::new(open);
    bench.ring("open", SignCheck::Missing, false, at(0)).await;
    bench.ring("token", SignCheck::Invalid, true, at(1)).await;
    bench.ring("signed", SignCheck::Valid, false, at(2)).await;
    let main: Vec<String> = bench
        .claim(VerifyLane::Main, at(3), 10)
        .await
        .iter()
        .map(|c| c.user.to_string())
        .collect();
    assert_eq!(main, ["signed", "token"]);
    let forged = bench.claim(VerifyLane::Open, at(3), 10).await;
    assert_eq!(forged.len(), 1);
    assert_eq!(forged[0].verification.trust, Trust::Open);
}

async fn a_bell_rings_for_the_lane_that_has_work(open: Opener) {
    let bench = Bench::new(open);
    let lane = Lane::Verify(merchant(), VerifyLane::Main);
    let bell = bench.store().signals().bell(&lane);
    bench.ring("taro", SignCheck::Valid, true, at(0)).await;
    // A ring is remembered, so this ends at once or never.
    tokio::time::timeout(Duration::from_secs(10), bell.notified())
        .await
        .expect("rang");
    assert_eq!(
        bench.store().next_due(&lane).await.expect("reads"),
        Some(at(0))
    );
}

async fn a_final_answer_makes_one_event_and_a_delivery_per_subscriber(open: Opener) {
    let mut bench = Bench::new(open);
    let recorded = bench.settle_user("taro", "2", at(0)).await;
    assert!(recorded.counted && recorded.event.is_some() && recorded.next_due.is_none());
    bench.restart().await;
    let story = bench
        .store()
        .story(&merchant(), &user("taro"))
        .await
        .expect("reads");
    assert!(story.verification.is_none());
    assert_eq!(story.queries.len(), 1);
    assert_eq!(story.events.len(), 1);
    let (event, deliveries) = &story.events[0];
    let EventContent::Result(result) = &event.content else {
        panic!("not a result")
    };
    assert_eq!(
        (result.sequence, result.verdict.status()),
        (1, &Status::Approved)
    );
    let endpoints: Vec<&str> = deliveries
        .iter()
        .map(|(d, _)| d.endpoint.as_str())
        .collect();
    assert_eq!(endpoints, ["audit", "ledger"]);
    assert_eq!(
        bench
            .store()
            .pending()
            .await
            .expect("reads")
            .deliveries
            .len(),
        2
    );
}

async fn the_same_verdict_again_is_the_same_event(open: Opener) {
    let bench = Bench::new(open);
    assert!(bench.settle_user("taro", "3", at(0)).await.event.is_some());
    assert!(bench.settle_user("taro", "3", at(60)).await.event.is_none());
    assert!(
        bench
            .settle_user("taro", "2", at(120))
            .await
            .event
            .is_some()
    );
    assert!(
        bench
            .settle_user("taro", "2", at(120 + 3600))
            .await
            .event
            .is_some(),
        "past the window"
    );
}

async fn a_callback_after_the_query_was_sent_is_asked_about_again(open: Opener) {
    let bench = Bench::new(open);
    bench.ring("taro", SignCheck::Valid, true, at(0)).await;
    let claim = bench.claim(VerifyLane::Main, at(0), 1).await.remove(0);
    bench.ring("taro", SignCheck::Valid, true, at(1)).await;
    let recorded = bench.answer(&claim, says("3"), at(2)).await;
    assert_eq!(recorded.next_due, Some(at(2)));
    let again = bench.claim(VerifyLane::Main, at(2), 1).await.remove(0);
    let recorded = bench.answer(&again, says("2"), at(3)).await;
    assert_eq!(recorded.next_due, None);
    assert_eq!(
        bench
            .store()
            .story(&merchant(), &user("taro"))
            .await
            .expect("reads")
            .events
            .len(),
        2
    );
}

async fn answers_that_are_not_final_are_asked_again_by_the_schedule_until_stuck(open: Opener) {
    let bench = Bench::new(open);
    bench.ring("taro", SignCheck::Valid, true, at(0)).await;
    let mut now = at(0);
    let mut waits = Vec::new();
    loop {
        let claim = bench.claim(VerifyLane::Main, now, 1).await.remove(0);
        let recorded = bench
            .answer(&claim, Answer::Failed(QueryFailure::Timeout), now)
            .await;
        let due = recorded.next_due.expect("goes on");
        waits.push(due.since(now).as_secs());
        if recorded.newly_stuck {
            break;
        }
        now = due;
    }
    assert_eq!(waits[..3], [1, 60, 60]);
    assert_eq!(waits.last(), Some(&(24 * 3600)), "still asked about daily");
    let news = bench.claim_for("audit", now, 10).await;
    assert_eq!(news.len(), 1, "somebody is told");
    assert_eq!(news[0].event.kind().as_str(), "relay.verification.stuck");
}

async fn a_lease_that_ran_out_is_claimed_again_and_its_late_answer_counts_for_nothing(
    open: Opener,
) {
    let bench = Bench::new(open);
    bench.ring("taro", SignCheck::Valid, true, at(0)).await;
    let late = bench.claim(VerifyLane::Main, at(0), 1).await.remove(0);
    assert!(bench.claim(VerifyLane::Main, at(29), 1).await.is_empty());
    let second = bench.claim(VerifyLane::Main, at(30), 1).await.remove(0);
    assert!(!bench.answer(&late, says("2"), at(31)).await.counted);
    assert!(bench.answer(&second, says("2"), at(31)).await.counted);
    assert_eq!(
        bench
            .store()
            .story(&merchant(), &user("taro"))
            .await
            .expect("reads")
            .events
            .len(),
        1
    );
}

async fn a_restart_gives_leases_back_at_once(open: Opener) {
    let mut bench = Bench::new(open);
    bench.settle_user("taro", "2", at(0)).await;
    bench.ring("hana", SignCheck::Valid, true, at(0)).await;
    bench.claim(VerifyLane::Main, at(0), 1).await.remove(0);
    let lost = bench.claim_for("ledger", at(0), 1).await.remove(0);
    bench.restart().await;
    // The opener says that it is long after; what was leased is due before its lease would have ended.
    assert_eq!(bench.claim(VerifyLane::Main, at(100_000), 9).await.len(), 1);
    let again = bench.claim_for("ledger", at(100_000), 9).await.remove(0);
    assert_eq!(again.event.id, lost.event.id, "the same webhook-id");
    assert_eq!(again.delivery.attempts, 2, "the lost attempt counts");
    let story = bench
        .store()
        .story(&merchant(), &user("taro"))
        .await
        .expect("reads");
    let attempts: Vec<_> = story.events[0]
        .1
        .iter()
        .flat_map(|(_, attempts)| attempts)
        .collect();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].outcome.failure, Some(FailureClass::Interrupted));
}

async fn an_attempt_is_counted_before_it_is_sent_and_recorded_after(open: Opener) {
    let bench = Bench::new(open);
    bench.settle_user("taro", "2", at(0)).await;
    let claim = bench.claim_for("ledger", at(0), 1).await.remove(0);
    assert_eq!(claim.delivery.attempts, 1);
    let story = bench
        .store()
        .story(&merchant(), &user("taro"))
        .await
        .expect("reads");
    let ledger = &story.events[0].1[1].0;
    assert_eq!(ledger.attempts, 1, "counted while it is out");
    let after = bench.report(&claim, refused(), at(1)).await.expect("ours");
    assert_eq!(after.state, DeliveryState::Waiting { due: at(6) });
    assert!(bench.claim_for("ledger", at(5), 1).await.is_empty());
    let claim = bench.claim_for("ledger", at(6), 1).await.remove(0);
    let after = bench.report(&claim, heard(), at(7)).await.expect("ours");
    assert_eq!(after.state, DeliveryState::Delivered { at: at(7) });
    let story = bench
        .store()
        .story(&merchant(), &user("taro"))
        .await
        .expect("reads");
    let numbers: Vec<u32> = story.events[0].1[1].1.iter().map(|a| a.number).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(story.events[0].1[1].1[1].outcome.body, b"thanks");
    assert!(
        bench.report(&claim, heard(), at(8)).await.is_none(),
        "settled once"
    );
}

async fn a_users_results_reach_an_ordered_endpoint_one_after_the_other(open: Opener) {
    let mut bench = Bench::new(open);
    for (n, code) in ["3", "2", "3"].into_iter().enumerate() {
        bench.settle_user("taro", code, at(n as u64)).await;
    }
    bench.settle_user("hana", "2", at(3)).await;
    bench.restart().await;
    let first = bench.claim_for("ledger", at(100_000), 10).await;
    let mut lines: Vec<(String, u64)> = first
        .iter()
        .map(|c| {
            (
                c.delivery.line.as_ref().expect("ordered").1.to_string(),
                c.delivery.sequence,
            )
        })
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [("hana".to_owned(), 1), ("taro".to_owned(), 1)],
        "one per user"
    );
    let taro = first
        .iter()
        .find(|c| {
            c.event.merchant().is_some()
                && c.delivery.sequence == 1
                && c.delivery
                    .line
                    .as_ref()
                    .is_some_and(|(_, u)| u.as_str() == "taro")
        })
        .expect("there");
    bench
        .report(taro, heard(), at(100_001))
        .await
        .expect("ours");
    let second = bench.claim_for("ledger", at(100_001), 10).await;
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].delivery.sequence, 2);
    // The unordered endpoint takes its two approvals at once.
    assert_eq!(bench.claim_for("audit", at(100_001), 10).await.len(), 2);
}

async fn an_abandoned_delivery_is_kept_told_of_and_holds_up_nobody(open: Opener) {
    let bench = Bench::new(open);
    bench.settle_user("taro", "3", at(0)).await;
    bench.settle_user("taro", "2", at(0)).await;
    for now in [0, 5] {
        let claim = bench.claim_for("ledger", at(now), 10).await.remove(0);
        assert_eq!(claim.delivery.sequence, 1);
        bench
            .report(&claim, refused(), at(now))
            .await
            .expect("ours");
    }
    let next = bench.claim_for("ledger", at(5), 10).await;
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].delivery.sequence, 2);
    let story = bench
        .store()
        .story(&merchant(), &user("taro"))
        .await
        .expect("reads");
    let abandoned = &story.events[0].1[0].0;
    assert!(matches!(abandoned.state, DeliveryState::Abandoned { .. }));
    let mut told = bench.claim_for("audit", at(5), 10).await;
    let is_news = |claim: &DeliveryClaim| claim.event.kind().as_str() == "relay.delivery.abandoned";
    told.retain(is_news);
    let mut news = told.pop().expect("of it");
    assert!(told.is_empty(), "once");
    // News that are not heard are given up without further news, also of those who would hear them.
    assert_eq!(bench.claim_for("desk", at(5), 10).await.len(), 1);
    for now in [5, 10] {
        let settled = bench.report(&news, refused(), at(now)).await.expect("ours");
        let is_abandoned = matches!(settled.state, DeliveryState::Abandoned { .. });
        assert_eq!(is_abandoned, now == 10);
        let mut left = bench.claim_for("audit", at(now + 5), 10).await;
        left.retain(is_news);
        assert_eq!(left.len(), usize::from(now == 5), "{left:?}");
        news = left.pop().unwrap_or(news);
    }
    assert_eq!(bench.claim_for("desk", at(15), 10).await.len(), 0);
}

async fn released_work_is_due_again_and_cost_nothing(open: Opener) {
    let bench = Bench::new(open);
    bench.ring("taro", SignCheck::Valid, true, at(0)).await;
    let claim = bench.claim(VerifyLane::Main, at(0), 1).await.remove(0);
    bench
        .store()
        .release_verification(&claim, at(1))
        .await
        .expect("releases");
    let claim = bench.claim(VerifyLane::Main, at(1), 1).await.remove(0);
    bench.answer(&claim, says("2"), at(1)).await;
    let claim = bench.claim_for("ledger", at(1), 1).await.remove(0);
    bench
        .store()
        .release_delivery(&claim, at(2))
        .await
        .expect("releases");
    let claim = bench.claim_for("ledger", at(2), 1).await.remove(0);
    assert_eq!(claim.delivery.attempts, 1);
}

async fn hastened_verifications_are_due_now(open: Opener) {
    let bench = Bench::new(open);
    for name in ["taro", "hana"] {
        bench.ring(name, SignCheck::Valid, true, at(0)).await;
    }
    for _ in 0..2 {
        for claim in bench.claim(VerifyLane::Main, at(10), 2).await {
            bench
                .answer(&claim, Answer::Failed(QueryFailure::Connect), at(10))
                .await;
        }
    }
    assert!(bench.claim(VerifyLane::Main, at(10), 2).await.is_empty());
    let store = bench.store();
    let moved = store
        .hasten_verifications(&merchant(), VerifyLane::Main, at(11), None, 10)
        .await
        .expect("moves");
    assert_eq!((moved.moved, moved.next), (2, None));
    assert_eq!(bench.claim(VerifyLane::Main, at(11), 2).await.len(), 2);
}

async fn hastened_verifications_stand_in_order_of_how_long_they_have_waited(open: Opener) {
    let bench = Bench::new(open);
    let failed = || Answer::Failed(QueryFailure::Connect);
    // Asked in vain: the oldest twice, whose turn is far away; the second once, due again after the three behind it.
    bench.ring("oldest", SignCheck::Valid, true, at(0)).await;
    let claim = bench.claim(VerifyLane::Main, at(0), 1).await.remove(0);
    bench.answer(&claim, failed(), at(0)).await;
    bench.ring("second", SignCheck::Valid, true, at(1)).await;
    for (name, now) in [("third", 2), ("fourth", 3), ("fifth", 4)] {
        bench.ring(name, SignCheck::Valid, true, at(now)).await;
    }
    for claim in &bench.claim(VerifyLane::Main, at(5), 2).await {
        bench.answer(claim, failed(), at(5)).await;
    }
    bench
        .ring("less trusted", SignCheck::Missing, true, at(0))
        .await;
    let store = bench.store();
    let (mut from, mut steps, mut moved) = (None, 0, 0);
    loop {
        let step = store
            .hasten_verifications(&merchant(), VerifyLane::Main, at(20), from, 1)
            .await
            .expect("moves");
        (from, steps, moved) = (step.next, steps + 1, moved + step.moved);
        if from.is_none() {
            break;
        }
        assert!(steps < 20, "the walk does not end");
    }
    assert_eq!(moved, 2, "the others stand where they belong");
    let claims = bench.claim(VerifyLane::Main, at(20), 9).await;
    let names: Vec<&str> = claims.iter().map(|claim| claim.user.as_str()).collect();
    assert_eq!(
        names,
        [
            "oldest",
            "second",
            "third",
            "fourth",
            "fifth",
            "less trusted"
        ]
    );
    // Asked about since then: answered by the provider that is back, and left to its schedule.
    bench.answer(&claims[0], failed(), at(20)).await;
    let again = store
        .hasten_verifications(&merchant(), VerifyLane::Main, at(20), None, 9)
        .await
        .expect("moves");
    assert_eq!(again.moved, 0);
}

async fn after_five_failures_an_endpoint_is_held_and_probed_with_its_oldest(open: Opener) {
    let mut bench = Bench::new(open);
    for n in 0..6 {
        bench.settle_user(&format!("user-{n}"), "2", at(n)).await;
    }
    let claims = bench.claim_for("ledger", at(10), 5).await;
    assert_eq!(claims.len(), 5);
    for claim in &claims {
        bench.report(claim, refused(), at(10)).await.expect("ours");
    }
    let ledger = "ledger".parse().expect("valid");
    assert!(bench.store().health(&ledger).await.expect("reads").holds());
    bench.restart().await;
    assert!(
        bench.claim_for("ledger", at(14), 9).await.is_empty(),
        "held, and it survives a restart"
    );
    let lane = Lane::Deliver(ledger.clone());
    assert_eq!(
        bench.store().next_due(&lane).await.expect("reads"),
        Some(at(15))
    );
    let probe = bench.claim_for("ledger", at(15), 9).await;
    assert_eq!(probe.len(), 1, "one probe");
    assert_eq!(probe[0].event.id, claims[0].event.id, "the oldest");
    assert!(
        bench.claim_for("ledger", at(16), 9).await.is_empty(),
        "one at a time"
    );
    let after = bench
        .report(&probe[0], refused(), at(16))
        .await
        .expect("ours");
    assert_eq!(
        (after.attempts, after.spent),
        (2, 1),
        "a probe uses up nothing"
    );
    assert!(
        bench.claim_for("ledger", at(25), 9).await.is_empty(),
        "the wait doubles"
    );
    let probe = bench.claim_for("ledger", at(26), 9).await.remove(0);
    bench.report(&probe, heard(), at(26)).await.expect("ours");
    let rest = bench.claim_for("ledger", at(26), 9).await;
    assert_eq!(rest.len(), 5, "all that was held goes out at once");
    let kinds: Vec<&str> = bench
        .claim_for("audit", at(26), 20)
        .await
        .iter()
        .map(|claim| claim.event.kind().as_str())
        .filter(|kind| kind.starts_with("relay."))
        .collect();
    assert_eq!(kinds, ["relay.endpoint.down", "relay.endpoint.recovered"]);
}

async fn an_endpoint_that_is_gone_or_paused_is_held_until_it_is_resumed(open: Opener) {
    let bench = Bench::new(open);
    bench.settle_user("taro", "2", at(0)).await;
    let ledger = "ledger".parse().expect("valid");
    let claim = bench.claim_for("ledger", at(0), 1).await.remove(0);
    let gone = Outcome {
        status: Some(410),
        ..refused()
    };
    bench.report(&claim, gone, at(1)).await.expect("ours");
    assert!(bench.claim_for("ledger", at(1000), 1).await.is_empty());
    bench
        .store()
        .resume(&ledger, at(1000))
        .await
        .expect("resumes");
    let claim = bench.claim_for("ledger", at(1000), 1).await.remove(0);
    bench
        .store()
        .pause(&ledger, at(1000))
        .await
        .expect("pauses");
    bench
        .report(&claim, refused(), at(1000))
        .await
        .expect("what is out still ends");
    assert!(bench.claim_for("ledger", at(2000), 1).await.is_empty());
    bench
        .store()
        .resume(&ledger, at(2000))
        .await
        .expect("resumes");
    assert_eq!(bench.claim_for("ledger", at(2000), 1).await.len(), 1);
}

async fn an_operator_can_retry_and_discard(open: Opener) {
    let bench = Bench::new(open);
    bench.settle_user("taro", "3", at(0)).await;
    bench.settle_user("taro", "2", at(0)).await;
    let ledger = "ledger".parse().expect("valid");
    let first = bench.claim_for("ledger", at(0), 9).await.remove(0);
    let store = bench.store();
    let refusal = store
        .discard(first.event.id, &ledger, at(0))
        .await
        .expect("works");
    assert_eq!(refusal, Err(Refused::UnderWay));
    bench.report(&first, refused(), at(0)).await.expect("ours");
    let again = store
        .retry(first.event.id, &ledger, at(1))
        .await
        .expect("works")
        .expect("can");
    assert_eq!(
        again.state,
        DeliveryState::Waiting { due: at(1) },
        "at once, not at its time"
    );
    store
        .discard(first.event.id, &ledger, at(1))
        .await
        .expect("works")
        .expect("can");
    let second = bench.claim_for("ledger", at(1), 9).await.remove(0);
    assert_eq!(
        second.delivery.sequence, 2,
        "what was discarded holds up nobody"
    );
    bench.report(&second, heard(), at(2)).await.expect("ours");
    let refusal = store
        .retry(second.event.id, &ledger, at(3))
        .await
        .expect("works");
    assert_eq!(refusal, Err(Refused::Delivered));
    store
        .retry(first.event.id, &ledger, at(3))
        .await
        .expect("works")
        .expect("can");
    let revived = bench.claim_for("ledger", at(3), 9).await.remove(0);
    assert_eq!(
        (revived.event.id, revived.delivery.attempts),
        (first.event.id, 2)
    );
    let nowhere = "nowhere".parse().expect("valid");
    let refusal = store
        .retry(first.event.id, &nowhere, at(3))
        .await
        .expect("works");
    assert_eq!(refusal, Err(Refused::NotThere));
}

/// Lets go of all that is settled and older; at most two records are looked at in one step.
async fn swept(bench: &Bench, before: Timestamp) -> Bygone {
    let (mut gone, mut from) = (Bygone::default(), None);
    loop {
        let step = bench.store().sweep(before, from, 2).await.expect("works");
        gone = gone.plus(step.gone);
        from = step.next;
        if from.is_none() {
            return gone;
        }
    }
}

async fn settled_work_goes_by_age_and_what_is_not_settled_stays(open: Opener) {
    let mut bench = Bench::new(open);
    for (name, code) in [("told", "2"), ("waits", "3")] {
        bench.settle_user(name, code, at(0)).await;
    }
    // Rung for, and never answered: it goes on being asked about.
    bench.ring("asked", SignCheck::Valid, true, at(0)).await;
    bench
        .accept(None, SignCheck::Missing, true, at(0))
        .await
        .expect("accepted");
    for claim in bench.claim_for("ledger", at(0), 9).await {
        let is_first = matches!(&claim.delivery.line, Some((_, id)) if *id == user("told"));
        let outcome = if is_first { heard() } else { refused() };
        bench.report(&claim, outcome, at(1)).await.expect("ours");
    }
    for claim in bench.claim_for("audit", at(0), 9).await {
        bench.report(&claim, heard(), at(1)).await.expect("ours");
    }

    assert_eq!(
        swept(&bench, at(0)).await,
        Bygone::default(),
        "nothing is older"
    );
    let counted = bench.store().count_settled(at(2)).await.expect("counts");
    let gone = swept(&bench, at(2)).await;
    assert_eq!(gone, counted, "a dry run says what goes");
    assert_eq!(
        (gone.callbacks, gone.queries),
        (2, 1),
        "told\'s, and nobody\'s"
    );
    bench.restart().await;
    let story = async |name| {
        let story = bench.store().story(&merchant(), &user(name)).await;
        story.expect("reads")
    };
    let told = story("told").await;
    assert_eq!(
        (told.callbacks.len(), told.queries.len(), told.events.len()),
        (0, 0, 0)
    );
    assert_eq!(told.state.sequence, 1, "it is still known");
    let waits = story("waits").await;
    assert_eq!(
        (
            waits.callbacks.len(),
            waits.queries.len(),
            waits.events.len()
        ),
        (1, 1, 1)
    );
    assert_eq!(story("asked").await.callbacks.len(), 1);
    let unrecognized = bench.store().unrecognized(9).await.expect("reads");
    assert_eq!(unrecognized.len(), 0);
    let again = swept(&bench, at(2)).await;
    assert_eq!(again, Bygone::default(), "it went once");
    let due = bench.claim_for("ledger", at(60), 9).await;
    assert_eq!(due.len(), 1, "what waits is still to be told");
}

async fn behind_a_backlog_fresh_results_get_their_turn(open: Opener) {
    let bench = Bench::new(open);
    for n in 0..20 {
        bench.settle_user(&format!("old-{n}"), "2", at(n)).await;
    }
    bench.settle_user("fresh", "2", at(1000)).await;
    let claims = bench.claim_for("ledger", at(1000), 4).await;
    let users: Vec<String> = claims
        .iter()
        .map(|claim| claim.delivery.line.as_ref().expect("ordered").1.to_string())
        .collect();
    assert_eq!(users, ["old-0", "old-1", "fresh", "old-19"]);
}

async fn a_watched_user_is_asked_about_when_the_time_has_come(open: Opener) {
    let bench = Bench::new(open);
    let (store, taro) = (bench.store(), user("taro"));
    assert!(
        store
            .watch(&merchant(), &taro, at(0), at(900))
            .await
            .expect("watches")
    );
    assert!(
        !store
            .watch(&merchant(), &taro, at(1), at(5))
            .await
            .expect("watches"),
        "already"
    );
    assert!(bench.claim(VerifyLane::Main, at(899), 1).await.is_empty());
    let claim = bench.claim(VerifyLane::Main, at(900), 1).await.remove(0);
    assert_eq!(
        (claim.verification.source, claim.verification.trust),
        (Source::Reconcile, Trust::Watch)
    );
}

async fn an_application_is_known_before_it_is_sent_and_never_sent_twice(open: Opener) {
    let mut bench = Bench::new(open);
    let taro = user("taro");
    let begun = bench
        .store()
        .begin_application(&merchant(), &taro, None, at(0), at(30))
        .await;
    assert_eq!(begun.expect("begins"), None);
    bench.restart().await;
    let begun = bench
        .store()
        .begin_application(&merchant(), &taro, None, at(1), at(31))
        .await;
    let out = begun.expect("begins").expect("one is out");
    assert_eq!(out.state, ApplicationState::Unknown);
    let claim = bench.claim(VerifyLane::Main, at(30), 1).await.remove(0);
    bench.answer(&claim, says("0"), at(30)).await;
    let story = bench
        .store()
        .story(&merchant(), &taro)
        .await
        .expect("reads");
    let known = story.state.application.expect("still out");
    assert_eq!(
        known.state,
        ApplicationState::Accepted,
        "a query settled it"
    );
    assert_eq!(story.orders, [(at(0), Ordered::Accepted)], "sent once");
}

async fn a_declined_application_leaves_nothing_behind(open: Opener) {
    let bench = Bench::new(open);
    let (store, taro) = (bench.store(), user("taro"));
    store
        .begin_application(&merchant(), &taro, None, at(0), at(30))
        .await
        .expect("begins");
    store
        .finish_application(&merchant(), &taro, false, None)
        .await
        .expect("ends");
    let story = store.story(&merchant(), &taro).await.expect("reads");
    assert!(story.verification.is_none() && story.state.application.is_none());
    assert_eq!(story.orders, [(at(0), Ordered::Declined)]);

    let batch: Batch = "monday".parse().expect("a batch");
    for accepted in [false, true] {
        let begun = store
            .begin_application(&merchant(), &taro, Some(&batch), at(1), at(30))
            .await;
        assert_eq!(begun.expect("begins"), None, "declined before");
        store
            .finish_application(&merchant(), &taro, accepted, None)
            .await
            .expect("ends");
    }
}

async fn the_store_remembers_when_the_relay_was_alive(open: Opener) {
    let mut bench = Bench::new(open);
    assert_eq!(bench.store().alive().await.expect("reads"), None);
    bench.store().beat(at(5)).await.expect("notes");
    bench.restart().await;
    assert_eq!(bench.store().alive().await.expect("reads"), Some(at(5)));
    bench.store().beat(at(9)).await.expect("notes");
    assert_eq!(bench.store().alive().await.expect("reads"), Some(at(9)));
}

async fn an_operator_can_ask_about_anyone(open: Opener) {
    let bench = Bench::new(open);
    let store = bench.store();
    store
        .request_verification(
            &merchant(),
            &user("taro"),
            Source::Operator,
            Trust::Token,
            at(0),
        )
        .await
        .expect("rings");
    let claim = bench.claim(VerifyLane::Main, at(0), 1).await.remove(0);
    assert_eq!(claim.verification.source, Source::Operator);
    bench.answer(&claim, says("2"), at(0)).await;
    let event = bench.claim_for("ledger", at(0), 1).await.remove(0).event;
    let EventContent::Result(result) = event.content else {
        panic!("not a result")
    };
    assert_eq!(result.source, Source::Operator);
}

async fn what_was_ordered_is_remembered_for_as_long_as_the_rest(open: Opener) {
    let mut bench = Bench::new(open);
    let taro = user("taro");
    let store = bench.store();
    for (now, is_new) in [(0, true), (1, false)] {
        let watched = store.watch(&merchant(), &taro, at(now), at(9)).await;
        assert_eq!(watched.expect("works"), is_new);
    }
    for now in 2..22 {
        let (source, trust) = (Source::Operator, Trust::Token);
        store
            .request_verification(&merchant(), &taro, source, trust, at(now))
            .await
            .expect("rings");
    }
    let claim = bench.claim(VerifyLane::Main, at(30), 1).await.remove(0);
    bench.answer(&claim, says("2"), at(30)).await;
    bench.restart().await;
    let orders = async |bench: &Bench| {
        let story = bench.store().story(&merchant(), &taro).await;
        story.expect("reads").orders
    };
    let latest: Vec<_> = (6..22).map(|now| (at(now), Ordered::Verified)).collect();
    assert_eq!(orders(&bench).await, latest, "the latest sixteen");

    for endpoint in ["ledger", "audit"] {
        for told in bench.claim_for(endpoint, at(30), 9).await {
            bench.report(&told, heard(), at(30)).await;
        }
    }
    assert_eq!(swept(&bench, at(20)).await.queries, 0);
    assert_eq!(orders(&bench).await, latest, "with what came of it");
    assert_eq!(swept(&bench, at(31)).await.queries, 1);
    assert_eq!(orders(&bench).await, []);
}

async fn unrecognized_callbacks_are_kept_bounded_and_told_of(open: Opener) {
    let bench = Bench::new(open);
    for n in 0..450 {
        bench
            .accept(None, SignCheck::Missing, n % 2 == 0, at(n))
            .await
            .expect("kept");
    }
    let kept = bench.store().unrecognized(1000).await.expect("reads");
    assert_eq!(kept.len(), 400, "200 with a token, 200 without");
    assert_eq!(kept[0].arrival.at, at(449), "newest first");
    assert_eq!(kept[399].arrival.at, at(50), "the oldest went");
    let told = bench.claim_for("audit", at(1000), 1000).await;
    assert_eq!(told.len(), 450);
    assert!(bench.claim(VerifyLane::Open, at(1000), 10).await.is_empty());
}

async fn what_is_recognized_later_is_its_users_from_then_on(open: Opener) {
    let mut bench = Bench::new(open);
    for n in 0..2 {
        let kept = bench.accept(None, SignCheck::Missing, true, at(n)).await;
        kept.expect("kept");
    }
    let recognized = bench.store().unrecognized(9).await.expect("reads")[1].clone();
    let claim = Some("3".to_owned());
    let (id, store) = (recognized.id, bench.store());
    let found = store.recognize(id, &user("taro"), claim, at(5)).await;
    assert!(found.expect("works"));
    // Its user is settled: another reading of the same bytes changes nothing, and rings for the same.
    let again = store.recognize(id, &user("hanako"), None, at(6)).await;
    assert!(again.expect("works"));
    let nothing = CallbackId::new(at(0), 7);
    let gone = store.recognize(nothing, &user("taro"), None, at(6)).await;
    assert!(!gone.expect("works"));
    bench.restart().await;

    let store = bench.store();
    let left = store.unrecognized(9).await.expect("reads");
    assert_eq!(left.len(), 1);
    assert_ne!(left[0].id, id);
    assert_eq!(store.tallies().await.expect("reads").unrecognized, 1);
    let story = store.story(&merchant(), &user("taro")).await;
    let story = story.expect("reads");
    let expected = Callback {
        user: Some(user("taro")),
        claim: Some("3".into()),
        ..recognized
    };
    assert_eq!(story.callbacks, [expected]);
    assert_eq!(story.recognized, [(id, at(5))]);
    let other = store.story(&merchant(), &user("hanako")).await;
    assert_eq!(other.expect("reads"), Story::default());
    let claim = bench.claim(VerifyLane::Main, at(6), 9).await.remove(0);
    assert_eq!(
        (&claim.user, claim.verification.source),
        (&user("taro"), Source::Operator)
    );
    bench.answer(&claim, says("3"), at(6)).await;
    let told = bench.claim_for("ledger", at(6), 1).await.remove(0);
    bench.report(&told, heard(), at(6)).await;
    let told = bench.claim_for("audit", at(6), 9).await;
    for claim in &told {
        bench.report(claim, heard(), at(6)).await;
    }
    // It goes with what became of it.
    assert_eq!(swept(&bench, at(7)).await.callbacks, 2);
    let story = bench.store().story(&merchant(), &user("taro")).await;
    assert_eq!(story.expect("reads").recognized, []);
}

async fn inventions_are_bounded_refused_beyond_that_and_make_room_when_forgotten(open: Opener) {
    let mut bench = Bench::new(open);
    let invent = |from: u64, to: u64| {
        let bench = &bench;
        let kept = (from..to).map(move |n| async move {
            let name = format!("nobody-{n}");
            bench
                .accept(Some(&name), SignCheck::Missing, false, at(0))
                .await
        });
        futures_util::future::join_all(kept)
    };
    let mut kept = 0;
    while kept < Stranger::KEPT {
        let to = (kept + 2000).min(Stranger::KEPT);
        for accepted in invent(kept, to).await {
            accepted.expect("within the bound");
        }
        kept = to;
    }
    let refused = invent(kept, kept + 1).await.remove(0);
    assert!(
        matches!(refused, Err(StoreError::Overloaded)),
        "{refused:?}"
    );
    bench.restart().await;
    let again = bench
        .accept(Some("one-more"), SignCheck::Missing, false, at(0))
        .await;
    assert!(matches!(again, Err(StoreError::Overloaded)), "{again:?}");
    bench
        .ring("nobody-1", SignCheck::Missing, false, at(0))
        .await;
    bench.ring("genuine", SignCheck::Valid, false, at(0)).await;
    // One is given up, one turns out true: room for two.
    let day = 24 * 3600;
    for answer in [
        Answer::Failed(QueryFailure::Refused("2001".into())),
        says("2"),
    ] {
        let claim = bench.claim(VerifyLane::Open, at(day), 1).await.remove(0);
        bench.answer(&claim, answer, at(day)).await;
    }
    for (name, fits) in [("a", true), ("b", true), ("c", false)] {
        let kept = bench
            .accept(Some(name), SignCheck::Missing, false, at(day))
            .await;
        assert_eq!(kept.is_ok(), fits, "{name}");
    }
}

async fn a_low_disk_refuses_callbacks_and_nothing_else(open: Opener) {
    let bench = Bench::with_min_free(open, u64::MAX);
    let refusal = bench
        .accept(Some("taro"), SignCheck::Valid, true, at(0))
        .await;
    assert!(
        matches!(refusal, Err(StoreError::DiskLow { .. })),
        "{refusal:?}"
    );
    assert!(
        bench.claim(VerifyLane::Main, at(0), 1).await.is_empty(),
        "nothing of it counts"
    );
    let store = bench.store();
    store
        .request_verification(
            &merchant(),
            &user("taro"),
            Source::Operator,
            Trust::Token,
            at(0),
        )
        .await
        .expect("work under way goes on");
}

async fn a_closed_store_takes_nothing_in(open: Opener) {
    let bench = Bench::new(open);
    bench.store().close().await.expect("closes");
    let refusal = bench
        .accept(Some("taro"), SignCheck::Valid, true, at(0))
        .await;
    assert!(matches!(refusal, Err(StoreError::Stopping)), "{refusal:?}");
    bench.store().close().await.expect("closing twice is fine");
}

macro_rules! contract {
    ($store:ident, $open:expr, [$($test:ident),* $(,)?]) => {
        mod $store {
            $(#[tokio::test]
            async fn $test() {
                super::$test($open).await;
            })*
        }
    };
}

macro_rules! store {
    ($store:ident, $open:expr) => {
        contract!(
            $store,
            $open,
            [
                an_accepted_callback_is_kept_byte_for_byte_and_survives_a_restart,
                callbacks_of_one_user_share_one_verification,
                callbacks_handed_in_together_are_all_kept,
                the_most_trusted_are_asked_about_first_and_forgeries_have_a_lane_of_their_own,
                a_bell_rings_for_the_lane_that_has_work,
                a_final_answer_makes_one_event_and_a_delivery_per_subscriber,
                the_same_verdict_again_is_the_same_event,
                a_callback_after_the_query_was_sent_is_asked_about_again,
                answers_that_are_not_final_are_asked_again_by_the_schedule_until_stuck,
                a_lease_that_ran_out_is_claimed_again_and_its_late_answer_counts_for_nothing,
                a_restart_gives_leases_back_at_once,
                an_attempt_is_counted_before_it_is_sent_and_recorded_after,
                a_users_results_reach_an_ordered_endpoint_one_after_the_other,
                an_abandoned_delivery_is_kept_told_of_and_holds_up_nobody,
                released_work_is_due_again_and_cost_nothing,
                hastened_verifications_are_due_now,
                hastened_verifications_stand_in_order_of_how_long_they_have_waited,
                after_five_failures_an_endpoint_is_held_and_probed_with_its_oldest,
                an_endpoint_that_is_gone_or_paused_is_held_until_it_is_resumed,
                a_resumed_endpoint_gets_one_delivery_at_a_time_until_it_has_heard,
                an_endpoint_that_is_down_is_rung_for_what_it_can_be_probed_with,
                what_was_heard_brings_the_next_along_and_no_more,
                as_many_come_along_as_are_asked_for_and_can_be_given_back,
                what_was_not_heard_or_is_held_brings_nothing_along,
                of_a_user_the_next_result_comes_along,
                what_comes_in_is_claimed_for_a_free_hand,
                what_is_due_is_not_overtaken_by_what_comes_in,
                a_users_results_are_not_given_out_of_order,
                forgeries_and_whoever_is_held_are_given_nothing,
                nothing_goes_out_before_the_time_an_endpoint_asked_for,
                a_result_for_very_many_reaches_who_is_up_at_once_and_everybody_soon,
                a_users_results_keep_their_order_where_their_deliveries_come_later,
                an_operator_can_retry_and_discard,
                settled_work_goes_by_age_and_what_is_not_settled_stays,
                behind_a_backlog_fresh_results_get_their_turn,
                a_watched_user_is_asked_about_when_the_time_has_come,
                an_application_is_known_before_it_is_sent_and_never_sent_twice,
                a_declined_application_leaves_nothing_behind,
                the_store_remembers_when_the_relay_was_alive,
                an_operator_can_ask_about_anyone,
                what_was_ordered_is_remembered_for_as_long_as_the_rest,
                unrecognized_callbacks_are_kept_bounded_and_told_of,
                what_is_recognized_later_is_its_users_from_then_on,
                inventions_are_bounded_refused_beyond_that_and_make_room_when_forgotten,
                a_low_disk_refuses_callbacks_and_nothing_else,
                a_closed_store_takes_nothing_in,
                callbacks_are_paged_newest_first_by_state_user_and_time,
                events_are_paged_newest_first_by_type_user_and_time,
                deliveries_are_paged_by_how_they_stand,
                open_verifications_and_users_are_paged_by_name,
                a_filter_that_seldom_matches_gives_short_pages_and_a_way_on,
                a_cursor_of_another_list_is_refused,
            ]
        );
    };
}

fn open_sled(path: &std::path::Path, min_free: u64) -> Arc<dyn Store> {
    let settings = EmbeddedSettings::at(path.to_owned(), min_free);
    Arc::new(SledStore::open(&settings, at(0)).expect("opens").0)
}

store!(sled, super::open_sled);
