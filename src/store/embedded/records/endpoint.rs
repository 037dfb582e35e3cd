//! An endpoint's health, on disk.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::numbers::millis;
use crate::domain::{Breaker, Health, Pause, PauseReason, Timestamp};
use crate::store::embedded::codec::Record;
use crate::store::embedded::keys::Tree;

#[derive(Serialize, Deserialize)]
pub(crate) struct HealthV1 {
    failures: u32,
    /// Since when it is down, the wait and the time of the next probe.
    down: Option<(u64, u64, u64)>,
    /// Since when it is paused, and whether because it is gone.
    paused: Option<(u64, bool)>,
}

impl Record for Health {
    const TREE: Tree = Tree::Endpoints;
    const VERSION: u8 = 1;
    type Stored = HealthV1;

    fn into_stored(self) -> HealthV1 {
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
        HealthV1 {
            failures,
            down,
            paused,
        }
    }

    fn from_stored(stored: HealthV1) -> Result<Self, String> {
        let breaker = match (stored.down, stored.failures) {
            (Some((since, wait, probe_at)), _) => Breaker::Open {
                since: Timestamp::from_millis(since),
                wait: Duration::from_millis(wait),
                probe_at: Timestamp::from_millis(probe_at),
            },
            (None, 0) => Breaker::Fine,
            (None, failures) => Breaker::Shaky { failures },
        };
        let paused = stored.paused.map(|(at, gone)| Pause {
            at: Timestamp::from_millis(at),
            reason: if gone {
                PauseReason::Gone
            } else {
                PauseReason::Operator
            },
        });
        Ok(Self { breaker, paused })
    }
}
