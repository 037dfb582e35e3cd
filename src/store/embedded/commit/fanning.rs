//! Parts of fan-outs in the commit loop: one after each group, more while nobody waits.
//!
//! Promise: whatever comes in waits for one part at most, and a group that comes right after another does not put parts
//! off for ever. While parts are left the loop does not sleep but for a pause after a failure.

#![allow(
    clippy::disallowed_methods,
    reason = "paces attempts on a disk that fails, not a schedule that a test runs through"
)]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::Loop;
use crate::store::Lane;
use crate::store::embedded::fanout;
use crate::store::embedded::txn::{Room, Txn};

/// How soon a part is tried again that could not be read or written; doubles each time it is in vain. Each leaves an empty
/// journal file behind where the disk takes no more than that.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest that this grows to.
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// A part could not be read or written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    until: Instant,
    next: Duration,
    /// Any group that is written says that it is over.
    is_disk: bool,
}

impl Pause {
    /// Another one, longer than the one before.
    fn after(before: Option<Self>, is_disk: bool) -> Self {
        let wait = before.map_or(AGAIN, |before| before.next);
        Self {
            until: Instant::now() + wait,
            next: AGAIN_AT_MOST.min(wait * 2),
            is_disk,
        }
    }
}

impl Loop {
    /// When something is due though no message comes: a sync, or the next part, if any may be left.
    pub(super) fn due(&self) -> Option<Instant> {
        let part = self.part_due();
        self.unsynced.due().into_iter().chain(part).min()
    }

    fn part_due(&self) -> Option<Instant> {
        let is_any = self.parts.engine.fan_out.is_any();
        is_any.then(|| self.pause.map_or_else(Instant::now, |pause| pause.until))
    }

    /// Wakes whoever waits for what was written.
    pub(super) fn ring(&self, rings: Vec<Lane>) {
        for lane in rings.into_iter().collect::<HashSet<_>>() {
            self.parts.signals.ring(&lane);
        }
    }

    /// A group was written: the disk works.
    pub(super) fn end_pause(&mut self) {
        self.pause = self.pause.filter(|pause| !pause.is_disk);
    }

    /// Works off one part, if one is left and due.
    pub(super) fn fan_out(&mut self) {
        let is_due = self.part_due().is_some_and(|due| due <= Instant::now());
        if !is_due {
            return;
        }
        if self.still_broken().is_some() {
            self.pause = Some(Pause::after(self.pause, false));
            return;
        }
        let room = Room {
            free: u64::MAX,
            min_free: 0,
        };
        let mut txn = Txn::new(&self.parts.engine, room);
        if let Err(error) = fanout::work(&mut txn) {
            tracing::error!(%error, "the next part of a fan-out cannot be read; trying again");
            self.pause = Some(Pause::after(self.pause, false));
            return;
        }
        let (changes, rings) = txn.finish();
        if changes.is_empty() {
            return;
        }
        let is_strict = self.parts.engine.is_strict() || self.unsynced.is_overdue();
        let written = if is_strict {
            self.write(changes).map(|()| true)
        } else {
            self.write_loose(changes)
        };
        match written {
            Ok(synced) => {
                self.pause = None;
                if synced {
                    self.parts.metrics.committed(0);
                } else {
                    self.parts.metrics.unsynced();
                }
                self.ring(rings);
            }
            Err(error) => {
                self.parts.metrics.failed();
                tracing::error!(%error, "the next part of a fan-out could not be written; trying again");
                self.pause = Some(Pause::after(self.pause, true));
            }
        }
        self.unsynced = self.unsynced.noted(self.parts.journal.has_loose());
        self.checkpoint_if_due();
    }
}
