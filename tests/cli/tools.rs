//! The verbs that need no service: `sign`, `secret`, `callback-url`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::kit::{Place, config, program, run};

const BASE: &str = "http://127.0.0.1:9/japan";

fn decoded(text: &str, prefix: &str) -> Vec<u8> {
    let encoded = text.trim_end().strip_prefix(prefix).expect("the prefix");
    STANDARD.decode(encoded).expect("base 64")
}

// Expected signs were printed by `printf %s '<the signed text>' | md5sum`.

#[test]
fn sign_prints_what_md5sum_computes() {
    let place = Place::with(&config(BASE, ""));
    let sign = |args: &[&str]| place.run(&[&["sign"], args].concat()).with(0).out;
    // timestamp=1732988442913userId=jp_user_100008s3cr3t
    assert_eq!(
        sign(&["userId=jp_user_100008", "timestamp=1732988442913"]),
        "123f689e77814f21fe621c1c2f5f6c99\n"
    );
    // B=2a=1b=3s3cr3t: capitals first, empty ones and the sign itself left out
    assert_eq!(
        sign(&["b=3", "a=1", "B=2", "c=", "sign=whatever"]),
        "9feb94258ffcac34919b3d677afb8922\n"
    );
    assert_eq!(
        sign(&[
            "usernameFurigana=ヤマダ タロウ1",
            "userId=jp_user_100008",
            "timestamp=1732988442913",
            "callBackUrl=https://relay.example.com/callback/1027749636/t",
        ]),
        "f39b10df3213befb4295e882b6a7105f\n"
    );
}

#[test]
fn sign_speaks_json_and_wants_a_merchant_that_is_configured() {
    let place = Place::with(&config(BASE, ""));
    let args = [
        "sign",
        "--json",
        "userId=jp_user_100008",
        "timestamp=1732988442913",
    ];
    let json = place.run(&args).with(0).json();
    assert_eq!(json["sign"], "123f689e77814f21fe621c1c2f5f6c99");
    let ended = place
        .run(&["sign", "a=1", "--merchant", "1000000000"])
        .with(2);
    assert!(ended.err.contains("1000000000"), "{}", ended.err);
}

#[test]
fn with_several_merchants_one_must_be_named() {
    let second = "[[merchant]]\nmerchant_no = \"2000000000\"\napp_secret = \"other\"\n";
    let place = Place::with(&config(BASE, second));
    let ended = place.run(&["sign", "a=1"]).with(2);
    assert!(ended.err.contains("--merchant"), "{}", ended.err);
    // a=1other
    let sign = place.run(&["sign", "a=1", "--merchant", "2000000000"]);
    assert_eq!(sign.with(0).out, "992dc95363f011cdbbf0946a0d9d51b2\n");
}

#[test]
fn a_secret_is_fresh_and_of_the_length_that_receivers_expect() {
    let make = || run(program().arg("secret")).with(0);
    let (one, two) = (make(), make());
    assert_eq!(decoded(&one.out, "whsec_").len(), 32);
    assert_ne!(one.out, two.out);
    assert_eq!(one.err, "");
}

#[test]
fn a_key_pair_is_a_secret_for_us_and_a_public_key_for_receivers() {
    let ended = run(program().args(["secret", "--ed25519"])).with(0);
    let pair = decoded(&ended.out, "whsk_");
    let (_, public) = ended.err.trim_end().rsplit_once(' ').expect("a note");
    assert_eq!(decoded(public, "whpk_"), pair[32..]);
    let json = run(program().args(["secret", "--ed25519", "--json"])).with(0);
    let json = json.json();
    let pair = decoded(json["secret"].as_str().unwrap(), "whsk_");
    assert_eq!(
        decoded(json["public"].as_str().unwrap(), "whpk_"),
        pair[32..]
    );
}

#[test]
fn the_callback_url_holds_the_token_if_there_is_one() {
    let public = "public_url = \"https://relay.example.com\"\n[admin]";
    let plain = config(BASE, "").replace("[admin]", public);
    let place = Place::with(&plain);
    let ended = place.run(&["callback-url"]).with(0);
    assert_eq!(ended.out, "https://relay.example.com/callback/1027749636\n");
    let place = Place::with(&format!("{plain}callback_token = \"0123456789abcdef\"\n"));
    let url = "https://relay.example.com/callback/1027749636/0123456789abcdef";
    assert_eq!(place.run(&["callback-url"]).with(0).out, format!("{url}\n"));
    let json = place.run(&["callback-url", "--json"]).with(0).json();
    assert_eq!(json["url"], url);
}

#[test]
fn without_a_public_url_there_is_no_callback_url() {
    let place = Place::with(&config(BASE, ""));
    let ended = place.run(&["callback-url"]).with(78);
    assert_eq!(ended.out, "");
    assert!(ended.err.contains("server.public_url"), "{}", ended.err);
    assert!(ended.err.contains("hint: "), "{}", ended.err);
}
