//! The commit loop: one thread takes what waits, decides it in order, writes it to the journal as one group, syncs,
//! makes it visible, then answers all.
//!
//! Promise: who is answered `Ok` is in the journal, synced. A group that the journal did not take is answered with the
//! error and leaves nothing behind; the next one tries again. A group that is in the journal counts: should sled fail
//! to take it, everything after is refused until sled was made again from the journal.
//!
//! Three things are an exception, and a group of nothing else is written and not synced: claims, successes of which
//! nothing else comes (`settling`), and parts of fan-outs (`fanout`). A killed process leaves them behind all the same. A
//! power cut takes back a lease and the count of one attempt, as if the claim had never been made; a success, after which
//! the same webhook goes out again under the same id, as if the cut had come between the receiver's answer and the
//! record; and a part, which is then worked off again. Whatever is synced
//! later carries them along, so nothing that follows from them is ever there without them; and they are synced within
//! [`UNSYNCED`](super::unsynced::UNSYNCED) though nothing follows.

mod between;
mod gathering;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::between::Turns;
use self::gathering::Gathering;
use super::engine::{Changes, Engine};
use super::fronts::Fronts;
use super::images::Images;
use super::journal::Journal;
use super::machine::{Machine, Point};
use super::mending::Broken;
use super::queue::{Answer, Committer, Job, Message, Waiting};
use super::rebuild;
use super::room::Free;
use super::trust::{self, Left};
use super::txn::{Room, Txn};
use super::unsynced::Unsynced;
use crate::metrics::CommitMetrics;
use crate::store::Signals;

/// How often a checkpoint is taken of a store that is written to, however little.
const CHECKPOINT_AGE: Duration = Duration::from_secs(24 * 3600);

/// Starts the thread.
pub(super) fn start(parts: Parts) -> io::Result<Committer> {
    let (committer, waiting) = Committer::new();
    let mut work = Loop::new(parts);
    work.start_drain()?;
    std::thread::Builder::new()
        .name("store".into())
        .spawn(move || work.run(waiting))?;
    Ok(committer)
}

/// What the commit loop works on.
pub(super) struct Parts {
    pub(super) engine: Arc<Engine>,
    pub(super) journal: Journal,
    pub(super) images: Arc<Images>,
    pub(super) machine: Arc<dyn Machine>,
    pub(super) signals: Arc<Signals>,
    pub(super) min_free: u64,
    pub(super) cache: u64,
    pub(super) metrics: Arc<CommitMetrics>,
}

struct Loop {
    parts: Parts,
    free: Free,
    unsynced: Unsynced,
    /// A checkpoint under way, or the last one.
    checkpoint: Option<std::thread::JoinHandle<Option<u64>>>,
    checkpoint_at: Instant,
    /// How long the newest one is, in bytes.
    image: u64,
    /// sled lacks a group that the journal has.
    broken: Option<Broken>,
    drain: Option<std::thread::JoinHandle<()>>,
    turns: Turns,
    fronts: Fronts,
}

impl Loop {
    #[allow(
        clippy::disallowed_methods,
        reason = "the age of a checkpoint, not a schedule that a test runs through"
    )]
    fn new(mut parts: Parts) -> Self {
        parts.journal.count_in(&parts.metrics);
        let image = parts.images.newest();
        Self {
            free: Free::new(parts.min_free),
            parts,
            unsynced: Unsynced::default(),
            checkpoint: None,
            checkpoint_at: Instant::now(),
            image,
            broken: None,
            drain: None,
            turns: Turns::default(),
            fronts: Fronts::default(),
        }
    }

    /// Starts the thread that puts into sled what was committed.
    fn start_drain(&mut self) -> io::Result<()> {
        let engine = Arc::clone(&self.parts.engine);
        let thread = std::thread::Builder::new().name("sled-writer".into());
        self.drain = Some(thread.spawn(move || engine.drain_until_end())?);
        Ok(())
    }

    fn end_drain(&mut self) {
        self.parts.engine.end_drain();
        if let Some(thread) = self.drain.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes to sled panicked");
        }
    }

    fn run(mut self, mut waiting: Waiting) {
        let mut gathering = Gathering::new();
        while let Some((now, mut closing)) = self.take_in(&mut waiting, &mut gathering) {
            if closing.is_empty() {
                self.commit(gathering.due(now));
                continue;
            }
            while let Some(message) = waiting.ready() {
                match message {
                    Message::Run(job, kind) => gathering.add(job, kind, now),
                    Message::Close(done) => closing.push(done),
                }
            }
            self.commit(gathering.all());
            self.finish(closing);
            return;
        }
        // Every handle is gone without a close; everything acknowledged is durable already.
        self.commit(gathering.all());
        self.end_checkpoint();
        self.end_drain();
    }

    /// Syncs what is written and not synced.
    fn settle(&mut self) -> io::Result<()> {
        if let Some(sequence) = self.parts.journal.settle()? {
            self.parts.metrics.committed(0);
            // A sled that lacks a group is not at the sequence of the journal.
            if self.broken.is_none() {
                self.parts.engine.settled(sequence);
            }
        }
        Ok(())
    }

    /// Commits a group, and those who go along with it if it is synced.
    fn commit(&mut self, (group, along): (&mut Vec<Job>, &mut Vec<Job>)) {
        if group.is_empty() {
            return;
        }
        if let Some(error) = self.still_broken() {
            let mut nothing = Txn::new(
                &self.parts.engine,
                Room {
                    free: u64::MAX,
                    min_free: u64::MAX,
                },
            );
            let answers = group.drain(..).filter_map(|job| job(&mut nothing));
            answers.for_each(|answer| answer(Err(&error)));
            return;
        }
        let room = self.free.on(self.parts.engine.path());
        let mut txn = Txn::new(&self.parts.engine, room)
            .noting(&mut self.fronts)
            .handing_to(&self.parts.signals);
        let mut answers: Vec<Answer> = group.drain(..).filter_map(|job| job(&mut txn)).collect();
        let is_strict = self.parts.engine.is_strict() || self.unsynced.is_overdue();
        let must_sync = txn.must_sync() || is_strict;
        if must_sync {
            answers.extend(along.drain(..).filter_map(|job| job(&mut txn)));
        }
        let (changes, after) = txn.finish();
        // Whoever wants all groups synced waits for this one.
        let is_nothing = changes.is_empty() && !(is_strict && self.parts.journal.has_loose());
        let written = match (is_nothing, must_sync) {
            (true, _) => Ok(None),
            (false, true) => self.write(changes).map(|()| Some(true)),
            (false, false) => self.write_loose(changes).map(Some),
        };
        match written {
            Ok(synced) => {
                match synced {
                    Some(true) => self.parts.metrics.committed(answers.len()),
                    Some(false) => self.parts.metrics.unsynced(),
                    None => {}
                }
                if synced.is_some() {
                    self.end_pause();
                }
                // In this order: whoever was answered may count on it that the others have been rung for, and that
                // what was claimed for them is under way.
                self.follow(after);
                answers.into_iter().for_each(|answer| answer(Ok(())));
            }
            Err(error) => {
                self.fronts.forget();
                self.parts.metrics.failed();
                tracing::error!(%error, waiting = answers.len(), "the store could not write; callbacks are answered 503");
                let error = Arc::new(error);
                answers.into_iter().for_each(|answer| answer(Err(&error)));
            }
        }
        self.unsynced = self.unsynced.noted(self.parts.journal.has_loose());
        self.checkpoint_if_due();
    }

    /// Tries to make sled again, now and then, if it failed. Returns why not, if it is still so.
    fn still_broken(&mut self) -> Option<Arc<io::Error>> {
        if self.broken.is_none()
            && let Some(error) = self.parts.engine.trouble()
        {
            self.breaks(&error);
        }
        let broken = self.broken.as_mut()?;
        if !broken.is_due() {
            return Some(Arc::clone(&broken.error));
        }
        self.parts.images.stop();
        let machine = &*self.parts.machine;
        // What is made from the journal is made from groups that count.
        let made = (self.parts.journal.settle())
            .map_err(rebuild::RebuildError::from)
            .and_then(|_| rebuild::replace_failed(&self.parts.engine, self.parts.cache, machine));
        self.parts.images.may_go_on();
        match made {
            Ok(sequence) => {
                tracing::warn!(
                    sequence,
                    "sled was made again from checkpoint and journal; nothing acknowledged is missing"
                );
                self.broken = None;
                None
            }
            Err(error) => {
                tracing::error!(?error, "sled could not be made again yet");
                broken.in_vain();
                Some(Arc::clone(&broken.error))
            }
        }
    }

    /// What is not synced yet is, before the journal goes on in another file.
    fn settle_before(&mut self, changes: &Changes) -> io::Result<()> {
        if self.parts.journal.must_settle_before(changes) {
            self.settle()?;
        }
        Ok(())
    }

    /// Makes a group durable, then visible.
    fn write(&mut self, changes: Changes) -> io::Result<()> {
        self.settle_before(&changes)?;
        let sequence = self.parts.journal.append(&changes)?;
        let reached = self.parts.machine.reached(Point::SyncedNotApplied);
        let applied = reached.and_then(|()| self.parts.engine.apply(changes, sequence));
        let answered = applied.and_then(|()| self.parts.machine.reached(Point::AppliedNotAnswered));
        if let Err(error) = answered {
            self.breaks(&error);
        }
        Ok(())
    }

    /// Makes a group visible that a kill does not undo. Returns whether it was synced all the same.
    fn write_loose(&mut self, changes: Changes) -> io::Result<bool> {
        self.settle_before(&changes)?;
        let engine = &self.parts.engine;
        let synced = self.parts.journal.append_loose(&changes)?;
        let applied = match synced {
            Some(sequence) => engine.apply(changes, sequence),
            None => engine.apply_loose(changes),
        };
        if let Err(error) = applied {
            self.breaks(&error);
        }
        Ok(synced.is_some())
    }

    fn breaks(&mut self, error: &io::Error) {
        self.fronts.forget();
        tracing::error!(%error, "sled does not take what the journal holds; nothing is lost, but everything is answered 503 until it was made again");
        let refusal = format!("sled failed ({error}) and is made again from the journal");
        let error = io::Error::other(refusal);
        self.broken = Some(Broken::new(error, self.parts.journal.mend()));
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the age of a checkpoint, not a schedule that a test runs through"
    )]
    fn checkpoint_if_due(&mut self) {
        if let Some(ended) = self.checkpoint.take_if(|thread| thread.is_finished()) {
            // A panic was logged; what failed leaves the one before.
            self.image = ended.join().ok().flatten().unwrap_or(self.image);
        }
        let is_old = self.checkpoint_at.elapsed() >= CHECKPOINT_AGE;
        if !self.parts.journal.is_long(self.image) && !is_old {
            return;
        }
        if self.checkpoint.is_some() {
            return;
        }
        let images = Arc::clone(&self.parts.images);
        let take = move || match images.checkpoint() {
            Ok(report) => {
                let (sequence, bytes) = (report.sequence, report.bytes);
                tracing::info!(sequence, bytes, "checkpoint taken");
                Some(bytes)
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(
                    error,
                    "no checkpoint was taken; the journal grows until the next one"
                );
                None
            }
        };
        match std::thread::Builder::new()
            .name("checkpoint".into())
            .spawn(take)
        {
            Ok(thread) => self.checkpoint = Some(thread),
            Err(error) => tracing::error!(%error, "no thread for a checkpoint"),
        }
        self.parts.journal.start_counting();
        self.checkpoint_at = Instant::now();
    }

    fn end_checkpoint(&mut self) {
        self.parts.images.stop();
        if let Some(thread) = self.checkpoint.take()
            && thread.join().is_err()
        {
            tracing::error!("a checkpoint panicked");
        }
    }

    fn finish(mut self, closing: Vec<oneshot::Sender<io::Result<()>>>) {
        self.end_checkpoint();
        self.end_drain();
        let settled = self.settle();
        let engine = &self.parts.engine;
        let result = settled.and_then(|()| {
            // A sled that lacks a group stays open, as after a kill.
            if self.broken.is_some() {
                return Ok(());
            }
            engine.sync()?;
            let closed = Left::Closed(engine.sequence());
            trust::write(engine.path(), &*self.parts.machine, &closed)
        });
        // The lock goes with the engine: it must be free once the close is answered.
        drop(self);
        for done in closing {
            let copy = match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            let _nobody = done.send(copy);
        }
    }
}

#[cfg(test)]
mod tests;
