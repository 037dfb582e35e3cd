//! An endpoint's health, on disk.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::numbers::millis;
use crate::domain::{Breaker, Health, Pause, PauseReason, Resumed, Timestamp};
use crate::store::embedded::codec::{Record, parse};
use crate::store::embedded::keys::Tree;

/// What it was before it was remembered who resumed it and what it asked for.
#[derive(Serialize, Deserialize)]
pub(crate) struct HealthV1 {
    failures: u32,
    /// Since when it is down, the wait and the time of the next probe.
    down: Option<(u64, u64, u64)>,
    /// Since when it is paused, and whether because it is gone.
    paused: Option<(u64, bool)>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct HealthV2 {
    first: HealthV1,
    /// It was resumed; and since when it had been down, if that was told.
    resumed: Option<Option<u64>>,
    not_before: Option<u64>,
}

impl Record for Health {
    const TREE: Tree = Tree::Endpoints;
    const VERSION: u8 = 2;
    type Stored = HealthV2;

    fn into_stored(self) -> HealthV2 {
        let (failures, down) = match self.breaker {
            Breaker::Fine => (0, None),
            Breaker::Shaky { failures } => (failures, None),
            Breaker::Open {
                since,
                wait,
                probe_at,
            } => {
                let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                (0, Some((millis(since), wait, millis(probe_at))))
            }
        };
        let paused = self
            .paused
            .map(|pause| (millis(pause.at), pause.reason == PauseReason::Gone));
        HealthV2 {
            first: HealthV1 {
                failures,
                down,
                paused,
            },
            resumed: self.resumed.map(|one| one.down_since.map(millis)),
            not_before: self.not_before.map(millis),
        }
    }

    fn from_stored(stored: HealthV2) -> Result<Self, String> {
        let resumed = stored.resumed.map(|down_since| Resumed {
            down_since: down_since.map(Timestamp::from_millis),
        });
        Ok(Self {
            resumed,
            not_before: stored.not_before.map(Timestamp::from_millis),
            ..stored.first.read()
        })
    }

    fn from_older(version: u8, body: &[u8]) -> Option<Result<Self, String>> {
        (version == 1).then(|| parse(body).map(HealthV1::read))
    }
}

impl HealthV1 {
    fn read(self) -> Health {
        let breaker = match (self.down, self.failures) {
            (Some((since, wait, probe_at)), _) => Breaker::Open {
                since: Timestamp::from_millis(since),
                wait: Duration::from_millis(wait),
                probe_at: Timestamp::from_millis(probe_at),
            },
            (None, 0) => Breaker::Fine,
            (None, failures) => Breaker::Shaky { failures },
        };
        let paused = self.paused.map(|(at, gone)| Pause {
            at: Timestamp::from_millis(at),
            reason: if gone {
                PauseReason::Gone
            } else {
                PauseReason::Operator
            },
        });
        Health {
            breaker,
            paused,
            ..Health::default()
        }
    }
}
