//! What receivers check: Standard Webhooks 1.0, symmetric (`v1`, HMAC-SHA-256) and asymmetric (`v1a`, ed25519).
//!
//! The signed text is `<webhook-id>.<webhook-timestamp>.<body>`, byte for byte as sent.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::Secret;

/// Why a text is no signing secret. Never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither prefix.
    #[error("it starts with neither whsec_ nor whsk_")]
    Prefix,
    /// The rest is not standard base 64 with padding.
    #[error("what follows the prefix is not base 64 (standard alphabet, padded)")]
    Base64,
    /// `whsec_` with fewer than 24 or more than 64 bytes (Standard Webhooks 1.0, "Signature scheme").
    #[error("whsec_ carries {0} bytes, expected 24 to 64")]
    SymmetricLength(usize),
    /// `whsk_` with neither a seed (32 bytes) nor a seed and its public key (64 bytes).
    #[error("whsk_ carries {0} bytes, expected 32 (seed) or 64 (seed and public key)")]
    AsymmetricLength(usize),
    /// The public key in it belongs to another seed.
    #[error("the public key in whsk_ does not belong to its seed")]
    KeyPair,
}

#[derive(Clone)]
enum Key {
    Hmac(Hmac<Sha256>),
    Ed25519(Box<SigningKey>),
}

/// A secret that signs webhooks.
#[derive(Clone)]
pub struct WebhookKey(Key);

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Key::Hmac(_) => "WebhookKey(v1, …)",
            Key::Ed25519(_) => "WebhookKey(v1a, …)",
        })
    }
}

impl WebhookKey {
    /// Reads `whsec_<base64>` or `whsk_<base64>`.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn parse(secret: &Secret) -> Result<Self, KeyError> {
        let text = secret.expose();
        if let Some(encoded) = text.strip_prefix("whsec_") {
            let bytes = STANDARD
                .decode(encoded)
                .map_err(|_not_base64| KeyError::Base64)?;
            if !(24..=64).contains(&bytes.len()) {
                return Err(KeyError::SymmetricLength(bytes.len()));
            }
            let mac = Hmac::new_from_slice(&bytes)
                .map_err(|_length| KeyError::SymmetricLength(bytes.len()))?;
            return Ok(Self(Key::Hmac(mac)));
        }
        let encoded = text.strip_prefix("whsk_").ok_or(KeyError::Prefix)?;
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|_not_base64| KeyError::Base64)?;
        let length = KeyError::AsymmetricLength(bytes.len());
        let (seed, public) = match bytes.len() {
            32 => (bytes.as_slice(), None),
            64 => bytes
                .split_at_checked(32)
                .map(|(seed, public)| (seed, Some(public)))
                .ok_or(length)?,
            _ => return Err(length),
        };
        let key = SigningKey::from_bytes(seed.try_into().map_err(|_length| length)?);
        if public.is_some_and(|bytes| bytes != key.verifying_key().as_bytes()) {
            return Err(KeyError::KeyPair);
        }
        Ok(Self(Key::Ed25519(Box::new(key))))
    }

    /// A symmetric secret made of these bytes, as it is written in a configuration.
    #[must_use]
    pub fn symmetric_text(bytes: &[u8; 32]) -> String {
        format!("whsec_{}", STANDARD.encode(bytes))
    }

    /// An asymmetric secret made of this seed, and the `whpk_` text that its receivers need.
    #[must_use]
    pub fn asymmetric_text(seed: &[u8; 32]) -> (String, String) {
        let key = SigningKey::from_bytes(seed);
        let secret = format!("whsk_{}", STANDARD.encode(key.to_keypair_bytes()));
        (
            secret,
            format!("whpk_{}", STANDARD.encode(key.verifying_key().as_bytes())),
        )
    }

    /// One signature, e.g. `v1,K5oZ…`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut signature = String::new();
        self.sign_into(&mut signature, id, timestamp, body);
        signature
    }

    fn sign_into(&self, signatures: &mut String, id: &str, timestamp: u64, body: &[u8]) {
        let timestamp = timestamp.to_string();
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        match &self.0 {
            Key::Hmac(mac) => {
                let mut mac = mac.clone();
                signed.iter().for_each(|part| mac.update(part));
                signatures.push_str("v1,");
                STANDARD.encode_string(mac.finalize().into_bytes(), signatures);
            }
            Key::Ed25519(key) => {
                signatures.push_str("v1a,");
                let signature = key.sign(&signed.concat()).to_bytes();
                STANDARD.encode_string(signature, signatures);
            }
        }
    }
}

/// Room for a signature of either kind, and a space.
const SIGNATURE: usize = 96;

/// The value of `webhook-signature`: one signature of every key, separated by spaces, so that secrets rotate without
/// a gap.
#[must_use]
pub fn signature_header(keys: &[WebhookKey], id: &str, timestamp: u64, body: &[u8]) -> String {
    let mut signatures = String::with_capacity(keys.len() * SIGNATURE);
    for key in keys {
        if !signatures.is_empty() {
            signatures.push(' ');
        }
        key.sign_into(&mut signatures, id, timestamp, body);
    }
    signatures
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "evt_01JDYXQ8W00000000000000000";
    const BODY: &[u8] = br#"{"type":"kyc.approved"}"#;

    fn key(text: &str) -> Result<WebhookKey, KeyError> {
        WebhookKey::parse(&Secret::new(text))
    }

    #[test]
    fn the_hmac_is_the_one_python_computes() {
        // hmac.new(base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), b"<id>.1732988442.<body>", sha256)
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("valid");
        assert_eq!(
            key.sign(ID, 1_732_988_442, BODY),
            "v1,58rt8Q1Yui77UPfCoykXNHHBFKqS5IsPHsIEuMRdahk="
        );
    }

    #[test]
    fn the_ed25519_signature_is_the_one_openssl_computes() {
        // openssl pkeyutl -sign -rawin, with the seed 00 01 02 … 1f.
        let expected = "v1a,9zwZMA8Y5SV1qOfgNyf+Xy/ZAmjJRZkoSHky9SlayxxHe/wigTgP521Mse8z7eBedVISnQwaALxOrGhG66FvCw==";
        for text in [
            "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA==",
        ] {
            assert_eq!(
                key(text).expect("valid").sign(ID, 1_732_988_442, BODY),
                expected
            );
        }
    }

    #[test]
    fn generated_secrets_are_accepted_and_the_public_key_is_openssls() {
        let seed: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).expect("small"));
        assert!(key(&WebhookKey::symmetric_text(&seed)).is_ok());
        let (secret, public) = WebhookKey::asymmetric_text(&seed);
        assert!(key(&secret).is_ok());
        assert_eq!(public, "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=");
    }

    #[test]
    fn all_keys_sign_in_rotation() {
        let one = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("valid");
        let two = key(&WebhookKey::symmetric_text(&[7; 32])).expect("valid");
        let header = signature_header(&[one.clone(), two.clone()], ID, 1, BODY);
        assert_eq!(
            header,
            format!("{} {}", one.sign(ID, 1, BODY), two.sign(ID, 1, BODY))
        );
    }

    #[test]
    fn a_secret_that_is_wrongly_written_says_what_is_wrong() {
        let error = |text| key(text).expect_err("wrongly written");
        assert_eq!(error("hunter2"), KeyError::Prefix);
        assert_eq!(error("whsec_not base 64"), KeyError::Base64);
        assert_eq!(error("whsec_c2hvcnQ="), KeyError::SymmetricLength(5));
        assert_eq!(error("whsk_c2hvcnQ="), KeyError::AsymmetricLength(5));
        let mut mixed = [0u8; 64];
        mixed[0] = 1;
        assert_eq!(
            error(&format!("whsk_{}", STANDARD.encode(mixed))),
            KeyError::KeyPair
        );
        assert!(!format!("{:?}", key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).contains("MfKQ"));
    }
}
