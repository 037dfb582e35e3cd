//! Two merchants with users of the same names: what is asked of one holds nothing of the other.

use serde_json::Value;

use crate::admin::Operator;
use crate::kit::{APP_SECRET, MERCHANT, SECOND_APP_SECRET, SECOND_MERCHANT, Setup, TOKEN, post};

#[tokio::test]
async fn lists_of_one_merchant_hold_nothing_of_another() {
    let relay = Setup::new()
        .merchants(&format!(
            "[[merchant]]\nmerchant_no = \"{MERCHANT}\"\napp_secret = \"{APP_SECRET}\"\ncallback_token = \"{TOKEN}\"\n\
             [[merchant]]\nmerchant_no = \"{SECOND_MERCHANT}\"\napp_secret = \"{SECOND_APP_SECRET}\"\n"
        ))
        .start()
        .await;
    let doors = [
        format!("/callback/{MERCHANT}/{TOKEN}"),
        format!("/callback/{SECOND_MERCHANT}"),
    ];
    let known: [&[u8]; 2] = [b"{\"userId\":\"taro\"}", b"{\"userId\":\"hanako\"}"];
    for door in &doors {
        for body in known {
            assert_eq!(post(relay.address(), door, body).await.0, 200);
        }
        assert_eq!(post(relay.address(), door, b"nobody").await.0, 200);
    }
    let operator = Operator::of(&relay);
    for (list, narrowed, rows) in [
        ("callbacks", "", 3),
        ("callbacks", "state=accepted&", 2),
        ("callbacks", "state=unrecognized&", 1),
        ("callbacks", "user=taro&", 1),
        ("watched", "", 2),
        ("watched", "user=taro&", 1),
    ] {
        for merchant in [MERCHANT, SECOND_MERCHANT] {
            for limit in [1, 50] {
                let query = format!("{narrowed}merchant={merchant}");
                let found = operator.all(list, &query, limit).await;
                let is_own = |row: &Value| row["merchant"] == merchant;
                assert!(
                    found.len() == rows && found.iter().all(is_own),
                    "{list}?{query}: {found:?}"
                );
            }
        }
        let of_both = operator.all(list, narrowed.trim_end_matches('&'), 50).await;
        assert_eq!(of_both.len(), 2 * rows, "{list}?{narrowed}");
    }
}
