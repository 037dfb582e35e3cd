//! The labels there are. All are bounded: fixed words, configured merchants and configured endpoints; never a user, an
//! address or a path.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::domain::{EndpointName, MerchantNo};

/// A label set of one merchant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfMerchant {
    /// Its number.
    pub merchant: Name,
}

/// A label set of one merchant and something else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfMerchantSign {
    /// Its number.
    pub merchant: Name,
    /// `valid`, `invalid` or `missing`.
    pub sign: &'static str,
}

/// A label set of one merchant and an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfMerchantOutcome {
    /// Its number.
    pub merchant: Name,
    /// A fixed word.
    pub outcome: &'static str,
}

/// A label set of one merchant's lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfLane {
    /// Its number.
    pub merchant: Name,
    /// `main` or `open`.
    pub lane: &'static str,
}

/// A label set of one kind of records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfRecord {
    /// A fixed word.
    pub record: &'static str,
}

/// A label set of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfEndpoint {
    /// Its name.
    pub endpoint: Name,
}

/// A label set of one endpoint and an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfEndpointOutcome {
    /// Its name.
    pub endpoint: Name,
    /// A fixed word.
    pub outcome: &'static str,
}

/// A label set of an outcome alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfOutcome {
    /// A fixed word.
    pub outcome: &'static str,
}

/// A label set of a reason alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfReason {
    /// A fixed word.
    pub reason: &'static str,
}

/// A label set of a part of the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfPart {
    /// `journal`, `sled` or `checkpoints`.
    pub part: &'static str,
}

/// A merchant's number or an endpoint's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(String);

impl From<&MerchantNo> for Name {
    fn from(merchant: &MerchantNo) -> Self {
        Self(merchant.to_string())
    }
}

impl From<&EndpointName> for Name {
    fn from(endpoint: &EndpointName) -> Self {
        Self(endpoint.to_string())
    }
}

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.0.as_str(), encoder)
    }
}
