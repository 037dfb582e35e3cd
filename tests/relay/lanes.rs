//! Contract §4 and §5: who knows a secret is asked about first, whoever rings without one shares a small lane, and
//! merchants keep apart.

use std::time::Duration;

use vexora_relay::domain::Trust;
use vexora_relay::store::Story;

use crate::kit::{
    APP_SECRET, MERCHANT, Reply, SECOND_APP_SECRET, SECOND_MERCHANT, Setup, Sink, second_merchant,
    secs, user,
};

fn without_token() -> String {
    format!("[[merchant]]\nmerchant_no = \"{MERCHANT}\"\napp_secret = \"{APP_SECRET}\"\n")
}

#[tokio::test]
async fn a_flood_of_forgeries_keeps_to_a_tenth_of_the_rate_and_delays_nobody_trusted() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .merchants(&without_token())
        .vexora("rate_limit = \"10/s\"")
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    let path = format!("/callback/{MERCHANT}");
    let forged: Vec<String> = (0..20).map(|number| format!("forged{number}")).collect();
    let asked = || -> u64 { forged.iter().map(|id| relay.queries(id)).sum() };
    for id in &forged {
        relay.says(id, "1", None);
        relay.post_signed(&path, id, "2", "not-the-secret").await;
    }
    relay.says("real", "2", None);
    relay.post_signed(&path, "real", "2", APP_SECRET).await;
    relay.settle().await;
    assert_eq!(sink.only().user(), "real");
    assert_eq!(asked(), 1);
    for so_far in 2..5 {
        relay.advance(secs(1));
        relay.settle().await;
        assert_eq!(asked(), so_far);
    }
    let Story { verification, .. } = relay.story(&forged[19]).await;
    assert_eq!(verification.unwrap().trust, Trust::Open);
}

#[tokio::test]
async fn a_forgery_does_not_hurry_what_a_trusted_callback_started() {
    let relay = Setup::new().merchants(&without_token()).start().await;
    let path = format!("/callback/{MERCHANT}");
    relay.says("u1", "1", None);
    relay.post_signed(&path, "u1", "1", APP_SECRET).await;
    relay.settle().await;
    let due = relay.next_query("u1").await;
    relay.post_signed(&path, "u1", "2", "not-the-secret").await;
    assert_eq!(relay.settle().await, 0);
    assert_eq!(relay.next_query("u1").await, due);
}

#[tokio::test]
async fn a_valid_sign_moves_a_user_out_of_the_open_lane() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .merchants(&without_token())
        .vexora("rate_limit = \"10/s\"")
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    let path = format!("/callback/{MERCHANT}");
    for id in ["first", "second"] {
        relay.says(id, "2", None);
        relay.post_signed(&path, id, "2", "not-the-secret").await;
    }
    relay.settle().await;
    assert_eq!(sink.only().user(), "first", "one at a time");
    relay.post_signed(&path, "second", "2", APP_SECRET).await;
    relay.settle().await;
    assert_eq!(sink.count(), 2);
}

#[tokio::test]
async fn queries_of_a_merchant_keep_to_its_rate() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .vexora("rate_limit = \"2/s\"")
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    for number in 0..6 {
        let id = format!("u{number}");
        relay.says(&id, "2", None);
        relay.post_callback(&id, "2").await;
    }
    relay.settle().await;
    assert_eq!(sink.count(), 2, "the burst");
    for so_far in 3..=6 {
        relay.advance(Duration::from_millis(499));
        assert_eq!(relay.settle().await, 0);
        relay.advance(Duration::from_millis(1));
        relay.settle().await;
        assert_eq!(sink.count(), so_far);
    }
}

#[tokio::test]
async fn two_merchants_are_asked_about_each_at_its_own_address() {
    let (sink, only_second, elsewhere) = (
        Sink::start().await,
        Sink::start().await,
        Sink::start().await,
    );
    elsewhere.answers(Reply::verdict("3"));
    let relay = Setup::new()
        .merchants(&format!(
            "{}[[merchant]]\nmerchant_no = \"{SECOND_MERCHANT}\"\napp_secret = \"{SECOND_APP_SECRET}\"\nbase_url = \"{}\"\n",
            without_token(),
            elsewhere.base_url()
        ))
        .endpoint("ledger", &sink.url(), "")
        .endpoint("second", &only_second.url(), &format!("merchants = [\"{SECOND_MERCHANT}\"]"))
        .start()
        .await;
    relay.says("same", "2", None);
    relay
        .post_signed(&format!("/callback/{MERCHANT}"), "same", "2", APP_SECRET)
        .await;
    relay
        .post_signed(
            &format!("/callback/{SECOND_MERCHANT}"),
            "same",
            "2",
            SECOND_APP_SECRET,
        )
        .await;
    relay.settle().await;
    let query = elsewhere.only();
    assert_eq!(query.path, "POST /japan/v1/vexora/kycStatusQuery HTTP/1.1");
    assert_eq!(query.header("merchantno"), SECOND_MERCHANT);
    let body = query.json();
    let stamp = body["timestamp"].as_str().unwrap();
    let sign = crate::kit::own_sign(
        &[("timestamp", stamp), ("userId", "same")],
        SECOND_APP_SECRET,
    );
    assert_eq!(
        body,
        serde_json::json!({"sign": sign, "timestamp": stamp, "userId": "same"})
    );
    let mut told: Vec<(String, String)> = sink
        .requests()
        .iter()
        .map(|r| {
            (
                r.json()["data"]["merchantNo"].as_str().unwrap().to_owned(),
                r.kind(),
            )
        })
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            (MERCHANT.to_owned(), "kyc.approved".to_owned()),
            (SECOND_MERCHANT.to_owned(), "kyc.rejected".to_owned())
        ]
    );
    assert_eq!(only_second.only().kind(), "kyc.rejected");
    let story = relay
        .store()
        .story(&second_merchant(), &user("same"))
        .await
        .unwrap();
    assert_eq!(
        story.state.sequence, 1,
        "each merchant's users count for themselves"
    );
}
