//! A delivery and its attempts on disk.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::names::Name;
use super::numbers::{class_number, class_of, millis, reason_number, reason_of, span};
use crate::domain::{
    Attempt, Delivery, DeliveryState, EndpointName, EventId, MerchantNo, Outcome, Timestamp, UserId,
};
use crate::store::embedded::codec::{Record, parse};
use crate::store::embedded::keys::Tree;

#[derive(Serialize, Deserialize)]
pub(crate) enum StateV1 {
    Waiting { due: u64 },
    Delivering { until: u64 },
    Delivered { at: u64 },
    Abandoned { at: u64, reason: u8 },
}

#[derive(Serialize, Deserialize)]
pub(crate) struct DeliveryV1 {
    endpoint: Name<EndpointName>,
    event: [u8; 16],
    line: Option<(Name<MerchantNo>, Name<UserId>)>,
    sequence: u64,
    created: u64,
    since: u64,
    attempts: u32,
    spent: u32,
    replay: bool,
    last_failure: Option<u8>,
    state: StateV1,
}

/// What version 1 says, and whether it is the last of its line.
#[derive(Serialize, Deserialize)]
pub(crate) struct DeliveryV2 {
    delivery: DeliveryV1,
    is_last: bool,
}

impl Record for Delivery {
    const TREE: Tree = Tree::Deliveries;
    const VERSION: u8 = 2;
    type Stored = DeliveryV2;

    fn into_stored(self) -> DeliveryV2 {
        let state = match self.state {
            DeliveryState::Waiting { due } => StateV1::Waiting { due: millis(due) },
            DeliveryState::Delivering { until } => StateV1::Delivering {
                until: millis(until),
            },
            DeliveryState::Delivered { at } => StateV1::Delivered { at: millis(at) },
            DeliveryState::Abandoned { at, reason } => StateV1::Abandoned {
                at: millis(at),
                reason: reason_number(reason),
            },
        };
        let delivery = DeliveryV1 {
            endpoint: Name::of(self.endpoint),
            event: self.event.to_bytes(),
            line: self
                .line
                .map(|(merchant, user)| (Name::of(merchant), Name::of(user))),
            sequence: self.sequence,
            created: millis(self.created),
            since: millis(self.since),
            attempts: self.attempts,
            spent: self.spent,
            replay: self.replay,
            last_failure: self.last_failure.map(class_number),
            state,
        };
        DeliveryV2 {
            delivery,
            is_last: self.is_last,
        }
    }

    fn from_stored(stored: DeliveryV2) -> Result<Self, String> {
        Ok(Self {
            is_last: stored.is_last,
            ..stored.delivery.read()?
        })
    }

    /// Version 1 did not say whether it is the last.
    fn from_older(version: u8, body: &[u8]) -> Option<Result<Self, String>> {
        let stored = || parse::<DeliveryV1>(body)?.read();
        (version == 1).then(stored)
    }
}

impl DeliveryV1 {
    fn read(self) -> Result<Delivery, String> {
        let line = self
            .line
            .map(|(merchant, user)| Ok::<_, String>((merchant.read()?, user.read()?)));
        let state = match self.state {
            StateV1::Waiting { due } => DeliveryState::Waiting {
                due: Timestamp::from_millis(due),
            },
            StateV1::Delivering { until } => DeliveryState::Delivering {
                until: Timestamp::from_millis(until),
            },
            StateV1::Delivered { at } => DeliveryState::Delivered {
                at: Timestamp::from_millis(at),
            },
            StateV1::Abandoned { at, reason } => DeliveryState::Abandoned {
                at: Timestamp::from_millis(at),
                reason: reason_of(reason)?,
            },
        };
        Ok(Delivery {
            endpoint: self.endpoint.read()?,
            event: EventId::from_bytes(self.event),
            line: line.transpose()?,
            sequence: self.sequence,
            is_last: false,
            created: Timestamp::from_millis(self.created),
            since: Timestamp::from_millis(self.since),
            attempts: self.attempts,
            spent: self.spent,
            replay: self.replay,
            last_failure: self.last_failure.map(class_of).transpose()?,
            state,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct AttemptV1 {
    number: u32,
    at: u64,
    took_us: u64,
    failure: Option<u8>,
    status: Option<u16>,
    retry_after_ms: Option<u64>,
    body: Vec<u8>,
    detail: Option<String>,
}

impl Record for Attempt {
    const TREE: Tree = Tree::Attempts;
    const VERSION: u8 = 1;
    type Stored = AttemptV1;

    fn into_stored(self) -> AttemptV1 {
        AttemptV1 {
            number: self.number,
            at: millis(self.at),
            took_us: span(self.took),
            failure: self.outcome.failure.map(class_number),
            status: self.outcome.status,
            retry_after_ms: self
                .outcome
                .retry_after
                .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            body: self.outcome.body,
            detail: self.outcome.detail,
        }
    }

    fn from_stored(stored: AttemptV1) -> Result<Self, String> {
        Ok(Self {
            number: stored.number,
            at: Timestamp::from_millis(stored.at),
            took: Duration::from_micros(stored.took_us),
            outcome: Outcome {
                failure: stored.failure.map(class_of).transpose()?,
                status: stored.status,
                retry_after: stored.retry_after_ms.map(Duration::from_millis),
                body: stored.body,
                detail: stored.detail,
            },
        })
    }
}
