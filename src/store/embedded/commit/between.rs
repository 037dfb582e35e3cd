//! What the commit loop does between groups: parts of fan-outs, and syncs of what was written without one.
//!
//! Promise: parts that are due are worked off while nobody waits, and whatever comes in meanwhile waits for one at most. Where
//! others never stop coming, so that parts pile up, these get as much of the loop's time as the others. While parts are due the
//! loop does not sleep but for a breath after a group, for a pause after a failure, and while a group waits for company.

#![allow(
    clippy::disallowed_methods,
    reason = "shares out the loop's time and paces attempts on a disk that fails, not a schedule that a test runs through"
)]

use std::collections::HashSet;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::Loop;
use crate::store::embedded::fanout;
use crate::store::embedded::queue::{Message, Waiting};
use crate::store::embedded::txn::{After, Room, Txn};
use crate::store::embedded::unsynced::Unsynced;

/// How long parts wait after a group: whoever was told of a callback is back within that with the provider's answer, whoever
/// was rung for a delivery with what came of it, where these are near; and they go first.
const BREATH: Duration = Duration::from_millis(5);

/// Parts pile up when some have been left for so long. A thousand endpoints take some ten milliseconds.
const PILED_UP: Duration = Duration::from_millis(50);

/// The longest that parts go on after a group: one that a disk held up for seconds is no reason to hold up others.
const SHARE: Duration = Duration::from_millis(20);

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

/// When parts have their turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// After a failure.
    pause: Option<Pause>,
    /// After a group.
    from: Option<Instant>,
    /// Since when some have been due.
    due_since: Option<Instant>,
    /// When the group under way began, if parts waited for it.
    began: Option<Instant>,
}

impl Loop {
    /// The next message. While none comes, parts are worked off, and what is not synced is synced when that is due.
    pub(super) fn next(&mut self, waiting: &mut Waiting) -> Option<Message> {
        self.share_time();
        let message = self.awaited(waiting);
        self.begin_turn();
        message
    }

    /// A group begins.
    pub(super) fn begin_turn(&mut self) {
        let now = Instant::now();
        self.turns.began = self.is_any_due(now).then_some(now);
    }

    fn awaited(&mut self, waiting: &mut Waiting) -> Option<Message> {
        while let Some(due) = self.due() {
            if !self.is_any_due(Instant::now()) {
                self.turns.due_since = None;
            }
            match waiting.next_until(due) {
                Poll::Ready(message) => return message,
                Poll::Pending if self.unsynced.is_overdue() => self.sync_loose(),
                Poll::Pending => self.fan_out(),
            }
        }
        self.turns.due_since = None;
        waiting.next()
    }

    /// When something is due though no message comes: a sync, or the next part.
    fn due(&self) -> Option<Instant> {
        let part = self.part_due(Instant::now());
        self.unsynced.due().into_iter().chain(part).min()
    }

    /// Whether parts are due, but for breath and pauses.
    fn is_any_due(&self, now: Instant) -> bool {
        let due = self.parts.engine.fan_out.due(now);
        due.is_some_and(|due| due <= now)
    }

    /// When the next part has its turn; `None`: none is left.
    fn part_due(&self, now: Instant) -> Option<Instant> {
        let due = self.parts.engine.fan_out.due(now)?;
        let paused = self.turns.pause.map(|pause| pause.until);
        [paused, self.turns.from]
            .into_iter()
            .flatten()
            .chain([due])
            .max()
    }

    fn has_turn(&self, now: Instant) -> bool {
        self.part_due(now).is_some_and(|due| due <= now)
    }

    /// After a group: parts hold their breath, unless they pile up. Then they take as long as the group did, within bounds.
    fn share_time(&mut self) {
        let group = self.turns.began.take();
        let ended = Instant::now();
        if !self.is_any_due(ended) {
            return;
        }
        let since = *self.turns.due_since.get_or_insert(ended);
        if ended.duration_since(since) >= PILED_UP {
            let took = group.map_or(Duration::ZERO, |began| ended.duration_since(began));
            let took = took.min(SHARE);
            self.turns.from = None;
            self.fan_out();
            while ended.elapsed() < took && self.has_turn(Instant::now()) {
                self.fan_out();
            }
        }
        self.turns.from = Some(Instant::now() + BREATH);
    }

    /// Wakes whoever waits for what was written, and begins what was claimed along with it.
    pub(super) fn follow(&self, after: After) {
        for lane in after.rings.into_iter().collect::<HashSet<_>>() {
            self.parts.signals.ring(&lane);
        }
        after.begun.into_iter().for_each(|begin| begin());
    }

    /// A group was written: the disk works.
    pub(super) fn end_pause(&mut self) {
        self.turns.pause = self.turns.pause.filter(|pause| !pause.is_disk);
    }

    /// Works off one part, if one is left and due.
    pub(super) fn fan_out(&mut self) {
        let now = Instant::now();
        if !self.has_turn(now) {
            return;
        }
        if self.still_broken().is_some() {
            self.turns.pause = Some(Pause::after(self.turns.pause, false));
            return;
        }
        let mut txn = Txn::new(&self.parts.engine, Room::ANY).noting(&mut self.fronts);
        if let Err(error) = fanout::work(&mut txn, now) {
            self.fronts.forget();
            tracing::error!(%error, "the next part of a fan-out cannot be read; trying again");
            self.turns.pause = Some(Pause::after(self.turns.pause, false));
            return;
        }
        let (changes, after) = txn.finish();
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
                self.turns.pause = None;
                if synced {
                    self.parts.metrics.committed(0);
                } else {
                    self.parts.metrics.unsynced();
                }
                self.follow(after);
            }
            Err(error) => {
                self.fronts.forget();
                self.parts.metrics.failed();
                tracing::error!(%error, "the next part of a fan-out could not be written; trying again");
                self.turns.pause = Some(Pause::after(self.turns.pause, true));
            }
        }
        self.unsynced = self.unsynced.noted(self.parts.journal.has_loose());
        self.checkpoint_if_due();
    }

    fn sync_loose(&mut self) {
        let Err(error) = self.settle() else {
            self.unsynced = Unsynced::default();
            return;
        };
        self.parts.metrics.failed();
        tracing::error!(%error, "what was recorded a moment ago could not be synced; trying again. Should the power fail before that, deliveries are made again under the same ids");
        self.unsynced = self.unsynced.failed();
    }
}

#[cfg(test)]
mod tests;
