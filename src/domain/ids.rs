//! The names of things. Each is parsed once, at the edge, and cannot hold anything a key, a path or a log line
//! could trip over afterwards.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Timestamp;

/// Why a text is not a valid name; says what was expected, never repeats the text (it may be personal).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub(crate) &'static str);

/// A merchant's number with Vexora: exactly ten ASCII digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MerchantNo([u8; 10]);

impl MerchantNo {
    /// The ten digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only digits get in, so the fallback is never seen.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The ten digits as bytes: a fixed-width key prefix.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 10] {
        &self.0
    }
}

impl FromStr for MerchantNo {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits: [u8; 10] = text
            .as_bytes()
            .try_into()
            .ok()
            .filter(|bytes: &[u8; 10]| bytes.iter().all(u8::is_ascii_digit))
            .ok_or(InvalidId("a merchant number is exactly ten digits"))?;
        Ok(Self(digits))
    }
}

impl fmt::Display for MerchantNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MerchantNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MerchantNo({self})")
    }
}

/// The merchant's own id of one of its users: 1 to 128 characters, none of them a control character.
///
/// Personal data: shown in answers to operators and receivers, in logs at debug level only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// The longest id taken, in characters.
    pub const MAX_CHARS: usize = 128;

    /// The id as the merchant wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() {
            return Err(InvalidId("a user id is not empty"));
        }
        if text.chars().count() > Self::MAX_CHARS {
            return Err(InvalidId("a user id has at most 128 characters"));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidId("a user id has no control characters"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    /// Redacted: `{:?}` is how values slip into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserId(…)")
    }
}

/// The stable name of an endpoint in the configuration: `[a-z0-9-]{1,64}`. Deliveries refer to it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointName(Arc<str>);

impl EndpointName {
    /// The name as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EndpointName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fits = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId(
                "an endpoint's name is 1 to 64 characters of a-z, 0-9 and -",
            ))
        }
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointName({self})")
    }
}

/// Crockford's base 32, as the ULID specification uses it: no I, L, O, U.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// 128 bits as 26 characters, the most significant first, so that text order is numeric order.
fn encode(value: u128) -> [u8; 26] {
    let mut text = [b'0'; 26];
    let mut rest = value;
    for slot in text.iter_mut().rev() {
        let digit = usize::try_from(rest & 31).unwrap_or(0);
        *slot = CROCKFORD.get(digit).copied().unwrap_or(b'0');
        rest >>= 5;
    }
    text
}

fn decode(text: &str) -> Option<u128> {
    // 26 × 5 = 130 bits: the first character may only carry three.
    if text.len() != 26 || text.as_bytes().first()? > &b'7' {
        return None;
    }
    text.bytes().try_fold(0u128, |value, byte| {
        let digit = CROCKFORD
            .iter()
            .position(|c| *c == byte.to_ascii_uppercase())?;
        Some((value << 5) | u128::try_from(digit).ok()?)
    })
}

/// The ULID layout: 48 bits of milliseconds, then 80 random bits.
fn stamped(at: Timestamp, random: u128) -> u128 {
    (u128::from(at.as_millis()) << 80) | (random & ((1 << 80) - 1))
}

macro_rules! stamped_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// A new id: the time it was made, then the low 80 bits of `random`.
            #[must_use]
            pub fn new(at: Timestamp, random: u128) -> Self {
                Self(stamped(at, random))
            }

            /// When the id was made.
            #[must_use]
            pub fn made_at(self) -> Timestamp {
                Timestamp::from_millis(u64::try_from(self.0 >> 80).unwrap_or(u64::MAX))
            }

            /// The next id in order.
            #[must_use]
            pub const fn successor(self) -> Self {
                Self(self.0.wrapping_add(1))
            }

            /// The id as a store key: big-endian, so that key order is age.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// The id whose key this is.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .and_then(decode)
                    .map(Self)
                    .ok_or(InvalidId(concat!("expected ", $prefix, " and 26 characters of Crockford base 32")))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; $prefix.len() + 26];
                let (prefix, digits) = text.split_at_mut($prefix.len());
                prefix.copy_from_slice($prefix.as_bytes());
                digits.copy_from_slice(&encode(self.0));
                // At once: whoever keeps the text makes room for it once.
                f.write_str(std::str::from_utf8(&text).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

stamped_id! {
    /// An event's id, `evt_` and 26 characters; the `webhook-id` of every attempt of every delivery of it.
    EventId, "evt_"
}
stamped_id! {
    /// One received callback's id, `cb_` and 26 characters.
    CallbackId, "cb_"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_merchant_number_is_ten_digits_and_nothing_else() {
        assert!("1027749636".parse::<MerchantNo>().is_ok());
        for bad in [
            "",
            "102774963",
            "10277496361",
            "102774963x",
            "１０２７７４９６３６",
            " 027749636",
        ] {
            assert!(bad.parse::<MerchantNo>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_user_id_is_bounded_in_characters_not_bytes() {
        assert!("あ".repeat(128).parse::<UserId>().is_ok());
        assert!("あ".repeat(129).parse::<UserId>().is_err());
        assert!("".parse::<UserId>().is_err());
        assert!("a\nb".parse::<UserId>().is_err());
        assert!("a\u{0}b".parse::<UserId>().is_err());
    }

    #[test]
    fn debug_output_of_a_user_id_does_not_show_it() {
        let user: UserId = "taro".parse().expect("valid");
        assert!(!format!("{user:?}").contains("taro"));
    }

    proptest! {
        #[test]
        fn an_id_survives_its_text_and_its_key(millis in 0u64..(1 << 48), random: u128) {
            let id = EventId::new(Timestamp::from_millis(millis), random);
            prop_assert_eq!(id.to_string().parse::<EventId>(), Ok(id));
            prop_assert_eq!(id.to_string().len(), 30);
            prop_assert_eq!(EventId::from_bytes(id.to_bytes()), id);
            prop_assert_eq!(id.made_at(), Timestamp::from_millis(millis));
        }

        #[test]
        fn no_text_makes_an_id_panic(text in "\\PC*") {
            let _ = text.parse::<EventId>();
            let _ = text.parse::<CallbackId>();
            let _ = format!("evt_{text}").parse::<EventId>();
        }
    }
}
