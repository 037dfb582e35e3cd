//! Both signatures by their published rules: MD5 over sorted parameters, HMAC-SHA-256 by RFC 2104.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use sha2::Sha256;

/// Sorted names, `name=value` with nothing between, then the secret.
pub fn own_sign(params: &[(&str, &str)], secret: &str) -> String {
    let sorted: BTreeMap<&str, &str> = params.iter().copied().collect();
    let mut text: String = sorted
        .iter()
        .filter(|(name, value)| **name != "sign" && !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    text.push_str(secret);
    hex::encode(Md5::digest(text.as_bytes()))
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64, "a longer key would be hashed first");
    let pad = |with: u8| -> Vec<u8> {
        let mut block = [with; 64];
        for (slot, byte) in block.iter_mut().zip(key) {
            *slot ^= byte;
        }
        block.to_vec()
    };
    let inner = Sha256::digest([pad(0x36), text.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

/// The `v1,…` that `secret` (`whsec_…`) makes of a webhook.
pub fn hmac_signature(secret: &str, id: &str, stamp: &str, body: &[u8]) -> String {
    let key = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    let text = [format!("{id}.{stamp}.").as_bytes(), body].concat();
    format!("v1,{}", STANDARD.encode(hmac_sha256(&key, &text)))
}

#[test]
fn our_own_hmac_is_the_one_of_rfc_4231() {
    let tag = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
    assert_eq!(
        hex::encode(tag),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[test]
fn our_own_sign_is_what_md5sum_prints() {
    let params = [("userId", "jp_user_100008"), ("timestamp", "1732988442913")];
    assert_eq!(
        own_sign(&params, "s3cr3t"),
        "123f689e77814f21fe621c1c2f5f6c99"
    );
}
