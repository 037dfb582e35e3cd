//! The provider's `sign`: a hint about who sent something, never an authority (MD5 with a secret suffix).
//!
//! Rule, from the provider's KYC pages: every parameter except `sign` whose value is not empty, sorted by name in
//! byte order, joined as `key1=value1key2=value2` with nothing in between, then the app secret; lowercase hex MD5 of
//! the UTF-8 text.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use crate::domain::{Secret, Secrets, SignCheck};

/// A parameter's value as far as signing cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamValue {
    /// A text, as it was written: numbers keep their literal form.
    Text(String),
    /// A JSON `null`. The provider's own sample signs it as the text `null`; its rule leaves it out.
    Null,
}

/// A named parameter.
pub type Param = (String, ParamValue);

/// How a `null` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NullReading {
    /// As an empty value: left out.
    Omitted,
    /// As the text `null`, like the provider's Java sample.
    Text,
}

/// Signs parameters for sending.
///
/// ```
/// use vexora_relay::domain::Secret;
/// use vexora_relay::signing::vexora::sign;
///
/// let params = [("userId", "jp_user_100008"), ("timestamp", "1732988442913")];
/// assert_eq!(sign(params, &Secret::new("s3cr3t")), "123f689e77814f21fe621c1c2f5f6c99");
/// ```
#[must_use]
pub fn sign<'a>(params: impl IntoIterator<Item = (&'a str, &'a str)>, secret: &Secret) -> String {
    let mut pairs: Vec<(&str, &str)> = params
        .into_iter()
        .filter(|(name, value)| *name != "sign" && !value.is_empty())
        .collect();
    pairs.sort_unstable();
    hex::encode(digest(&pairs, secret))
}

fn digest(sorted: &[(&str, &str)], secret: &Secret) -> [u8; 16] {
    let mut md5 = Md5::new();
    for (name, value) in sorted {
        md5.update(name.as_bytes());
        md5.update(b"=");
        md5.update(value.as_bytes());
    }
    md5.update(secret.expose().as_bytes());
    md5.finalize().into()
}

/// Checks the `sign` among `params` against each secret, under both readings of a `null`.
///
/// Missing when there is no `sign`, or it is empty. Time tells which parameters there are, and not which secret or reading fits.
#[must_use]
pub fn check(params: &[Param], secrets: &Secrets) -> SignCheck {
    let given = params.iter().find_map(|(name, value)| match value {
        ParamValue::Text(text) if name == "sign" && !text.is_empty() => Some(text.as_str()),
        _ => None,
    });
    let Some(given) = given else {
        return SignCheck::Missing;
    };
    // Either case will do. What is no digest is none of ours.
    let mut digest_given = [0; 16];
    if hex::decode_to_slice(given, &mut digest_given).is_err() {
        return SignCheck::Invalid;
    }
    let mut valid = false;
    // Without a `null` both readings are the same.
    let has_null = params.iter().any(|(_, value)| *value == ParamValue::Null);
    let other = has_null.then_some(NullReading::Text);
    for reading in [NullReading::Omitted].into_iter().chain(other) {
        let mut pairs: Vec<(&str, &str)> = params
            .iter()
            .filter_map(|(name, value)| match value {
                ParamValue::Text(text) => Some((name.as_str(), text.as_str())),
                ParamValue::Null if reading == NullReading::Text => Some((name.as_str(), "null")),
                ParamValue::Null => None,
            })
            .filter(|(name, value)| *name != "sign" && !value.is_empty())
            .collect();
        pairs.sort_unstable();
        for secret in secrets.all() {
            valid |= bool::from(digest(&pairs, secret).ct_eq(&digest_given));
        }
    }
    if valid {
        SignCheck::Valid
    } else {
        SignCheck::Invalid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret() -> Secret {
        Secret::new("s3cr3t")
    }

    fn text(name: &str, value: &str) -> Param {
        (name.to_owned(), ParamValue::Text(value.to_owned()))
    }

    // Every expected value below was printed by `printf %s '<the signed text>' | md5sum`.

    #[test]
    fn the_sign_is_the_one_md5sum_computes() {
        let query = [("timestamp", "1732988442913"), ("userId", "jp_user_100008")];
        assert_eq!(sign(query, &secret()), "123f689e77814f21fe621c1c2f5f6c99");
    }

    #[test]
    fn katakana_is_signed_as_utf_8() {
        let apply = [
            ("usernameFurigana", "ヤマダ タロウ1"),
            ("userId", "jp_user_100008"),
            ("timestamp", "1732988442913"),
            (
                "callBackUrl",
                "https://relay.example.com/callback/1027749636/t",
            ),
        ];
        assert_eq!(sign(apply, &secret()), "f39b10df3213befb4295e882b6a7105f");
    }

    #[test]
    fn names_are_sorted_by_byte_so_capitals_come_first_and_empty_values_are_left_out() {
        // Signed text: B=2a=1b=3s3cr3t
        let params = [
            ("b", "3"),
            ("a", "1"),
            ("B", "2"),
            ("c", ""),
            ("sign", "whatever"),
        ];
        assert_eq!(sign(params, &secret()), "9feb94258ffcac34919b3d677afb8922");
    }

    #[test]
    fn a_null_is_accepted_under_both_readings() {
        let base = |sign: &str| {
            vec![
                text("userId", "jp_user_100008"),
                text("authenticationStatus", "2"),
                text("timestamp", "1732988442913"),
                ("failReason".to_owned(), ParamValue::Null),
                text("sign", sign),
            ]
        };
        let secrets = Secrets::new(secret(), vec![]);
        assert_eq!(
            check(&base("eef08f3fac008d07203018366cbbf7d4"), &secrets),
            SignCheck::Valid
        );
        assert_eq!(
            check(&base("59b05312e8028d8a66501f32c5a6cc00"), &secrets),
            SignCheck::Valid
        );
        assert_eq!(
            check(&base("59B05312E8028D8A66501F32C5A6CC00"), &secrets),
            SignCheck::Valid
        );
        assert_eq!(
            check(&base("59b05312e8028d8a66501f32c5a6cc01"), &secrets),
            SignCheck::Invalid
        );
        assert_eq!(check(&base(""), &secrets), SignCheck::Missing);
    }

    #[test]
    fn any_secret_in_rotation_checks() {
        let params = [
            text("userId", "jp_user_100008"),
            text("timestamp", "1732988442913"),
            text("sign", "123f689e77814f21fe621c1c2f5f6c99"),
        ];
        let rotated = Secrets::new(Secret::new("newer"), vec![secret()]);
        assert_eq!(check(&params, &rotated), SignCheck::Valid);
        assert_eq!(
            check(&params, &Secrets::new(Secret::new("newer"), vec![])),
            SignCheck::Invalid
        );
    }

    proptest! {
        #[test]
        fn what_we_sign_checks_and_what_is_changed_does_not(
            pairs in proptest::collection::btree_map("[a-zA-Z]{1,8}", "\\PC{0,12}", 1..6),
            flip in 0usize..32,
        ) {
            let given: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let good = sign(given.iter().copied(), &secret());
            let secrets = Secrets::new(secret(), vec![]);
            let mut params: Vec<Param> = given.iter().filter(|(k, _)| *k != "sign").map(|(k, v)| text(k, v)).collect();
            params.push(text("sign", &good));
            prop_assert_eq!(check(&params, &secrets), SignCheck::Valid);
            let mut bad = good.into_bytes();
            bad[flip] = if bad[flip] == b'0' { b'1' } else { b'0' };
            params.pop();
            params.push(text("sign", std::str::from_utf8(&bad).expect("hex")));
            prop_assert_eq!(check(&params, &secrets), SignCheck::Invalid);
        }
    }
}
