//! Results that very many endpoints are to hear: who is up does not wait for the others, and nobody is left out.

use std::sync::Arc;
use std::time::Duration;

use vexora_relay::clock::Entropy as _;
use vexora_relay::domain::{EndpointName, EventFilter, Route, Routing, SignCheck, VerifyLane};
use vexora_relay::store::AnswerReport;

use super::{Bench, Opener, at, heard, merchant, says, user, verify_policy};

/// Longer than any of this takes, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// More than anybody makes deliveries for at once.
const ENDPOINTS: usize = 100;

/// The one that is up, the last of the file.
const UP: usize = ENDPOINTS - 1;

fn name(number: usize) -> String {
    format!("e-{number:03}")
}

fn endpoint(number: usize) -> EndpointName {
    name(number).parse().expect("valid")
}

fn routing() -> Arc<Routing> {
    let routes = (0..ENDPOINTS).map(|number| Route {
        endpoint: endpoint(number),
        events: EventFilter::parse(&["kyc.*"]).expect("valid"),
        merchants: vec![],
        ordered: true,
    });
    Arc::new(Routing::new(routes.collect()))
}

/// A store in which all but one of the endpoints are paused.
async fn held(open: Opener) -> Bench {
    let bench = Bench::new(open);
    for number in 0..UP {
        let paused = bench.store().pause(&endpoint(number), at(0)).await;
        assert!(paused.expect("pauses").holds());
    }
    bench
}

/// Rings, asks, and records this verdict.
async fn settle(bench: &Bench, code: &str, secs: u64) {
    let now = at(secs);
    bench.ring("taro", SignCheck::Valid, true, now).await;
    let claim = bench.claim(VerifyLane::Main, now, 10).await.remove(0);
    let report = AnswerReport {
        answer: says(code),
        now,
        took: Duration::from_millis(3),
        fresh: bench.entropy.event_id(now),
        fresh_too: bench.entropy.event_id(now),
        policy: verify_policy(),
        routing: routing(),
    };
    let recorded = bench.store().record_answer(&claim, report).await;
    assert!(recorded.expect("records").event.is_some());
}

/// Each of the user's results has a delivery for everybody, made or still to be made.
async fn all_are_seen(bench: &Bench) {
    let story = bench.store().story(&merchant(), &user("taro")).await;
    for (event, told) in story.expect("reads").events {
        assert_eq!(told.len(), ENDPOINTS, "{}", event.id);
    }
}

pub(super) async fn a_result_for_very_many_reaches_who_is_up_at_once_and_everybody_soon(
    open: Opener,
) {
    let mut bench = held(open).await;
    settle(&bench, "2", 1).await;
    let first = bench.claim_for(&name(UP), at(1), 9).await;
    assert_eq!(first.len(), 1);
    bench.report(&first[0], heard(), at(1)).await.expect("ours");
    bench.restart().await;
    all_are_seen(&bench).await;
    let pending = bench.store().pending().await.expect("reads").deliveries;
    assert_eq!(pending.len(), ENDPOINTS - 1);
    for number in 0..UP {
        let resumed = bench.store().resume(&endpoint(number), at(2)).await;
        resumed.expect("resumes");
        let told = async {
            loop {
                let claims = bench.claim_for(&name(number), at(2), 9).await;
                if !claims.is_empty() {
                    return claims;
                }
            }
        };
        let claims = tokio::time::timeout(PATIENCE, told).await;
        let claims = claims.expect("it is its turn");
        assert_eq!(claims.len(), 1, "{number}");
        assert_eq!(claims[0].delivery.event, first[0].delivery.event);
    }
    assert!(bench.claim_for(&name(UP), at(99), 9).await.is_empty());
}

pub(super) async fn a_users_results_keep_their_order_where_their_deliveries_come_later(
    open: Opener,
) {
    let bench = held(open).await;
    // Resumed at once it may be the newer result's delivery that comes first: it must not.
    settle(&bench, "3", 10).await;
    settle(&bench, "2", 5).await;
    settle(&bench, "3", 20).await;
    for number in [0, 98, UP] {
        let resumed = bench.store().resume(&endpoint(number), at(20)).await;
        resumed.expect("resumes");
        let mut told = Vec::new();
        let in_turn = async {
            while told.len() < 3 {
                for claim in bench.claim_for(&name(number), at(30), 9).await {
                    told.push(claim.delivery.sequence);
                    bench.report(&claim, heard(), at(30)).await.expect("ours");
                }
            }
        };
        let in_turn = tokio::time::timeout(PATIENCE, in_turn).await;
        in_turn.expect("all three");
        assert_eq!(told, [1, 2, 3], "{number}");
    }
    all_are_seen(&bench).await;
}
