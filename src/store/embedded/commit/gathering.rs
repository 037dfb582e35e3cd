//! Which use cases make up the next group: while callbacks come in and others that are to be synced with them, mostly answers of
//! the provider, these wait a moment for more (PostgreSQL's `commit_delay` and `commit_siblings` do the like).
//!
//! Promise: nobody waits longer than [`DELAY`] for others, and nobody at all unless the last group that was judged by had
//! [`SIBLINGS`]. What comes as [`Kind::Loose`] does not wait, so it may have its turn before what came earlier and does; of either
//! kind, who came first goes first. Where it has to be synced after all, those who wait go along with it.

use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Loop;
use crate::store::embedded::queue::{Job, Kind, Message, Waiting};

/// How long the first of a group waits for others: a callback has three groups to go through, and all of it takes a
/// millisecond where nothing else is under way. A group costs a sync and the waking of threads, much of what a callback
/// costs where few share it (`docs/performance.md`).
const DELAY: Duration = Duration::from_micros(800);

/// It is worth waiting for the next group when so much of this one was to be synced, callbacks and others. Where only
/// callbacks come, those that are answered send the next, and to wait for these would be in vain; where only others do,
/// each hand that is kept waiting does nothing else.
const SIBLINGS: usize = 3;

/// So many do not wait for more.
const ENOUGH: usize = 64;

/// The largest group: beyond it latency grows and throughput does not.
const GROUP: usize = 256;

/// Who waits for the loop to end.
type Closing = oneshot::Sender<io::Result<()>>;

/// What came and is not committed yet.
#[derive(Debug)]
pub(super) struct Gathering<T> {
    /// All of it, or, while it is worth waiting, what is to be synced.
    first: Vec<T>,
    /// What does not wait.
    at_once: Vec<T>,
    /// When the first of them has waited long enough.
    until: Option<Instant>,
    is_worth_it: bool,
    /// Since the last group that was judged by.
    callbacks: usize,
    others: usize,
}

impl<T> Gathering<T> {
    pub(super) const fn new() -> Self {
        Self {
            first: Vec::new(),
            at_once: Vec::new(),
            until: None,
            is_worth_it: false,
            callbacks: 0,
            others: 0,
        }
    }

    /// Takes a use case in that came at `now`.
    pub(super) fn add(&mut self, job: T, kind: Kind, now: Instant) {
        // Those who waited went along with a group.
        if self.until.is_some() && self.first.is_empty() {
            self.judge();
        }
        match kind {
            Kind::Callback => self.callbacks += 1,
            Kind::Synced => self.others += 1,
            Kind::Loose => {}
        }
        if !self.is_worth_it {
            self.first.push(job);
        } else if kind == Kind::Loose {
            self.at_once.push(job);
        } else {
            self.first.push(job);
            self.until.get_or_insert(now + DELAY);
        }
    }

    /// Whether more may come into the next group.
    pub(super) const fn has_room(&self) -> bool {
        self.first.len() + self.at_once.len() < GROUP
    }

    /// Until when somebody waits for others; `None`: nobody does.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until.filter(|_| !self.first.is_empty())
    }

    /// What is to be committed at `now`, possibly nothing; and who goes along if that is synced.
    pub(super) fn due(&mut self, now: Instant) -> (&mut Vec<T>, &mut Vec<T>) {
        let is_waiting = self.until().is_some_and(|until| now < until);
        let is_kept = is_waiting && self.first.len() < ENOUGH;
        // Without any that is to be synced it is no group to judge by.
        if is_kept || (self.is_worth_it && self.first.is_empty()) {
            return (&mut self.at_once, &mut self.first);
        }
        self.all()
    }

    /// All that came; nobody is left to go along.
    pub(super) fn all(&mut self) -> (&mut Vec<T>, &mut Vec<T>) {
        self.judge();
        self.first.append(&mut self.at_once);
        (&mut self.first, &mut self.at_once)
    }

    /// Judges by a group whether it is worth waiting for the next.
    const fn judge(&mut self) {
        let is_both = self.callbacks > 0 && self.others > 0;
        self.is_worth_it = is_both && self.callbacks + self.others >= SIBLINGS;
        (self.callbacks, self.others, self.until) = (0, 0, None);
    }
}

impl Loop {
    /// Takes in what has come, or waits until something does, or somebody waited long enough for company. Returns when that
    /// was, and who wants the loop to end; `None`: nobody is left.
    #[allow(
        clippy::disallowed_methods,
        reason = "a bound for the disk's sake, not a schedule that a test runs through"
    )]
    pub(super) fn take_in(
        &mut self,
        waiting: &mut Waiting,
        gathering: &mut Gathering<Job>,
    ) -> Option<(Instant, Vec<Closing>)> {
        let mut closing = Vec::new();
        let first = match gathering.until() {
            Some(until) => {
                let first = waiting.next_until(until);
                // Parts make up for what the group takes, not for what was waited.
                self.begin_turn();
                first
            }
            None => Poll::Ready(self.next(waiting)),
        };
        let now = Instant::now();
        let Poll::Ready(first) = first else {
            return Some((now, closing));
        };
        let mut next = Some(first?);
        while let Some(message) = next {
            match message {
                Message::Run(job, kind) => gathering.add(job, kind, now),
                Message::Close(done) => {
                    // What was sent before the close is still in the queue and is still done.
                    waiting.close();
                    closing.push(done);
                }
            }
            next = if gathering.has_room() {
                waiting.ready()
            } else {
                None
            };
        }
        Some((now, closing))
    }
}

#[cfg(test)]
mod tests;
