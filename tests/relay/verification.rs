//! Contract §5: only the query changes state, one at a time per user, on schedule until the answer is final.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use vexora_relay::domain::{Answer, QueryFailure, SignCheck, VerifyPhase};

use crate::kit::{APP_SECRET, MERCHANT, Reply, Setup, Sink, TOKEN, hours, post, secs};

#[tokio::test]
async fn a_callback_is_a_doorbell_and_never_a_verdict() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "events = [\"*\"]")
        .start()
        .await;
    relay.says("u1", "0", None);
    relay.post_callback("u1", "2").await;
    let path = format!("/callback/{MERCHANT}/{TOKEN}");
    relay.post_signed(&path, "u1", "2", "not-the-secret").await;
    relay.says("u2", "3", Some("blurred"));
    relay.post_callback("u2", "2").await;
    relay.settle().await;
    let mut kinds = sink.kinds();
    kinds.sort();
    assert_eq!(kinds, ["kyc.pending", "kyc.rejected"]);
    let signs: Vec<SignCheck> = relay
        .story("u1")
        .await
        .callbacks
        .iter()
        .map(|c| c.sign)
        .collect();
    assert_eq!(signs, [SignCheck::Valid, SignCheck::Invalid]);
}

#[tokio::test]
async fn nobody_vouches_for_a_user_that_vexora_does_not_know() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "events = [\"*\"]")
        .start()
        .await;
    relay.post_callback("stranger", "2").await;
    relay.settle().await;
    let (_, answer) = relay.last_query("stranger").await;
    assert!(
        matches!(answer, Answer::Failed(QueryFailure::Refused(_))),
        "{answer:?}"
    );
    assert_eq!(sink.count(), 0);
}

#[tokio::test]
async fn callbacks_during_a_query_cause_exactly_one_more() {
    let (sink, vexora) = (Sink::start().await, Sink::start().await);
    let relay = Setup::new()
        .provider(&vexora.base_url())
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    let leave = Arc::new(Semaphore::new(0));
    let Reply::Answer(_, _, approved) = Reply::verdict("2") else {
        unreachable!()
    };
    vexora.answers(Reply::Held(Arc::clone(&leave), approved));
    relay.post_callback("u1", "2").await;
    let rings = async {
        vexora.has_received(1).await;
        for _ in 0..5 {
            relay.post_callback("u1", "2").await;
        }
        assert_eq!(vexora.count(), 1, "a second query beside the first");
        leave.add_permits(10);
    };
    tokio::join!(relay.settle(), rings);
    assert_eq!(vexora.count(), 2);
    assert_eq!(sink.count(), 1);
    assert_eq!(relay.story("u1").await.callbacks.len(), 6);
}

#[tokio::test]
async fn a_user_who_waits_is_asked_about_by_the_schedule_and_its_last_step_repeats() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .verify("retry = [\"1s\", \"5s\", \"30s\"]")
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.says("u1", "0", None);
    relay.post_callback("u1", "0").await;
    relay.settle().await;
    for (asked, step) in (2..).zip([1, 5, 30, 30, 30]) {
        let (at, _) = relay.last_query("u1").await;
        let due = relay.next_query("u1").await;
        assert_eq!(due.since(at), secs(step));
        relay.clock.advance_to(due.minus(Duration::from_millis(1)));
        assert_eq!(relay.settle().await, 0, "asked before its time");
        relay.ask_next("u1").await;
        assert_eq!(relay.queries("u1"), asked);
    }
    relay.says("u1", "2", None);
    relay.ask_next("u1").await;
    assert_eq!(sink.kinds(), ["kyc.approved"]);
    assert_eq!(relay.story("u1").await.verification, None);
}

#[tokio::test]
async fn waiting_is_told_to_whoever_subscribes_to_it_and_to_nobody_else() {
    let (all, finals) = (Sink::start().await, Sink::start().await);
    let relay = Setup::new()
        .endpoint("all", &all.url(), "events = [\"kyc.*\"]")
        .endpoint("finals", &finals.url(), "")
        .start()
        .await;
    for status in ["0", "1", "1", "2"] {
        relay.result("u1", status).await;
    }
    assert_eq!(
        all.kinds(),
        ["kyc.pending", "kyc.under_review", "kyc.approved"]
    );
    assert_eq!(finals.kinds(), ["kyc.approved"]);
    assert_eq!(finals.only().json()["data"]["sequence"], 3);
}

#[tokio::test]
async fn an_unknown_status_is_passed_on_as_it_came_and_is_not_final() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "events = [\"*\"]")
        .start()
        .await;
    relay.result("u1", "4").await;
    let told = sink.only().json();
    assert_eq!(told["type"], "kyc.unknown");
    assert_eq!(told["data"]["authenticationStatus"], "4");
    assert_eq!(told["data"]["status"], "unknown");
    relay.says("u1", "2", None);
    relay.ask_next("u1").await;
    assert_eq!(sink.kinds(), ["kyc.unknown", "kyc.approved"]);
}

#[tokio::test]
async fn the_same_verdict_within_the_window_is_one_event_and_after_it_another() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.result("u1", "2").await;
    relay.advance(hours(12) - secs(60));
    relay.result("u1", "2").await;
    assert_eq!(sink.count(), 1, "told twice within the window");
    relay.advance(secs(120));
    relay.result("u1", "2").await;
    assert_eq!(relay.told("u1").await, [(1, "2".into()), (2, "2".into())]);
    let ids: Vec<String> = sink
        .requests()
        .iter()
        .map(|r| r.header("webhook-id").to_owned())
        .collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1], "two results under one id");
}

#[tokio::test]
async fn the_same_verdict_after_the_user_waited_is_news() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    for status in ["3", "1", "3", "3", "0", "2"] {
        relay.result("u1", status).await;
    }
    let told = relay.told("u1").await;
    assert_eq!(told, [(1, "3".into()), (2, "3".into()), (3, "2".into())]);
    let sequences: Vec<u64> = sink
        .requests()
        .iter()
        .map(|r| r.json()["data"]["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(sequences, [1, 2, 3]);
}

#[tokio::test]
async fn who_is_given_up_on_is_told_polled_daily_and_revived_by_a_callback() {
    let (sink, pager) = (Sink::start().await, Sink::start().await);
    let relay = Setup::new()
        .verify("retry = [\"1h\"]\ngive_up_after = \"150m\"\nreconcile = \"off\"")
        .endpoint("ledger", &sink.url(), "")
        .endpoint("pager", &pager.url(), "events = [\"relay.*\"]")
        .start()
        .await;
    relay.says("u1", "1", None);
    relay.post_callback("u1", "1").await;
    relay.settle().await;
    let first = relay.now();
    for _ in 0..3 {
        assert_eq!(pager.count(), 0, "given up too early");
        relay.ask_next("u1").await;
    }
    assert_eq!(
        relay.now().since(first),
        Duration::from_secs(150 * 60),
        "the last question is at the deadline"
    );
    let told = pager.only().json();
    assert_eq!(told["type"], "relay.verification.stuck");
    assert_eq!(told["data"]["userId"], "u1");
    for _ in 0..3 {
        let (at, _) = relay.last_query("u1").await;
        assert_eq!(relay.next_query("u1").await.since(at), hours(24));
        relay.ask_next("u1").await;
    }
    assert_eq!(pager.count(), 1, "told more than once");
    relay.post_callback("u1", "1").await;
    relay.settle().await;
    let revived = relay.story("u1").await.verification.unwrap();
    assert!(
        matches!(revived.phase, VerifyPhase::Seeking { .. }),
        "{revived:?}"
    );
    relay.says("u1", "2", None);
    relay.ask_next("u1").await;
    assert_eq!(sink.kinds(), ["kyc.approved"]);
}

#[tokio::test]
async fn a_callback_without_a_user_is_kept_and_told_and_asks_nothing() {
    let pager = Sink::start().await;
    let relay = Setup::new()
        .endpoint("pager", &pager.url(), "events = [\"relay.*\"]")
        .start()
        .await;
    let path = format!("/callback/{MERCHANT}/{TOKEN}");
    let line_break = serde_json::json!({"userId": "two\nlines"}).to_string();
    for body in ["what is this", line_break.as_str()] {
        let answer = post(relay.address(), &path, body.as_bytes()).await;
        assert_eq!(answer, (200, "OK".into()));
    }
    relay.settle().await;
    let kept = relay.store().unrecognized(10).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[1].arrival.body, b"what is this");
    assert_eq!(pager.kinds(), ["relay.callback.unrecognized"; 2]);
    assert_eq!(relay.store().pending().await.unwrap().verifications, 0);
}

#[tokio::test]
async fn a_secret_on_its_way_out_still_opens_the_door_and_the_new_one_signs() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .merchants(&format!(
            "[[merchant]]\nmerchant_no = \"{MERCHANT}\"\napp_secret = [\"{APP_SECRET}\", \"the-old-one\"]\n\
             callback_token = [\"{TOKEN}\", \"token-of-before-0123\"]\n"
        ))
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.says("u1", "2", None);
    let path = format!("/callback/{MERCHANT}/token-of-before-0123");
    relay.post_signed(&path, "u1", "2", "the-old-one").await;
    relay.settle().await;
    assert_eq!(relay.story("u1").await.callbacks[0].sign, SignCheck::Valid);
    // The sandbox counts well-signed queries only, and it knows the new secret alone.
    assert_eq!(relay.queries("u1"), 1);
    assert_eq!(sink.count(), 1);
}
