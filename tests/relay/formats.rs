//! Contract §3 and §6: other signatures, several secrets, and the provider's own format.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, SigningKey, Verifier as _};
use serde_json::json;
use vexora_relay::clock::Clock;

use crate::kit::{APP_SECRET, Setup, Sink, WHSEC, hmac_signature, own_sign};

#[tokio::test]
async fn an_ed25519_secret_signs_so_that_its_public_key_verifies() {
    let sink = Sink::start().await;
    let key = SigningKey::from_bytes(&[7; 32]);
    let secret = format!("whsk_{}", STANDARD.encode(key.to_keypair_bytes()));
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), &format!("secret = \"{secret}\""))
        .start()
        .await;
    relay.result("u1", "2").await;
    let request = sink.only();
    let signature = request
        .header("webhook-signature")
        .strip_prefix("v1a,")
        .unwrap();
    let signature = Signature::from_slice(&STANDARD.decode(signature).unwrap()).unwrap();
    let head = format!(
        "{}.{}.",
        request.header("webhook-id"),
        request.header("webhook-timestamp")
    );
    let signed = [head.as_bytes(), &request.body].concat();
    key.verifying_key().verify(&signed, &signature).unwrap();
}

#[tokio::test]
async fn several_secrets_all_sign() {
    let sink = Sink::start().await;
    let old = "whsec_//////////////////////////////////////////8=";
    let relay = Setup::new()
        .endpoint(
            "ledger",
            &sink.url(),
            &format!("secret = [\"{WHSEC}\", \"{old}\"]"),
        )
        .start()
        .await;
    relay.result("u1", "2").await;
    let request = sink.only();
    let (id, stamp) = (
        request.header("webhook-id"),
        request.header("webhook-timestamp"),
    );
    let expected = [WHSEC, old].map(|secret| hmac_signature(secret, id, stamp, &request.body));
    assert_eq!(request.header("webhook-signature"), expected.join(" "));
}

#[tokio::test]
async fn the_format_vexora_is_what_vexora_would_have_posted() {
    let sink = Sink::start().await;
    sink.answers(crate::kit::Reply::body("OK"));
    // A secret is optional here; without one there is no Standard Webhooks signature either.
    let relay = Setup::new()
        .endpoint(
            "legacy",
            &sink.url(),
            "format = \"vexora\"\nexpect_body = \"OK\"",
        )
        .start()
        .await;
    relay.says("u1", "3", Some("期限切れ"));
    relay.post_callback("u1", "3").await;
    relay.settle().await;
    relay.result("u1", "2").await;
    let stamp = relay.clock.now().as_millis().to_string();
    let signed = |params: &[(&str, &str)]| {
        let mut body: serde_json::Map<String, serde_json::Value> = params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        body.insert("sign".into(), json!(own_sign(params, APP_SECRET)));
        serde_json::Value::Object(body)
    };
    let requests = sink.requests();
    assert_eq!(requests.len(), 2);
    let rejected = [
        ("userId", "u1"),
        ("authenticationStatus", "3"),
        ("failReason", "期限切れ"),
        ("timestamp", stamp.as_str()),
    ];
    assert_eq!(requests[0].json(), signed(&rejected));
    let approved = [
        ("userId", "u1"),
        ("authenticationStatus", "2"),
        ("timestamp", stamp.as_str()),
    ];
    assert_eq!(requests[1].json(), signed(&approved));
    assert_eq!(relay.outcomes("u1", "legacy").await, ["ok"]);
}
