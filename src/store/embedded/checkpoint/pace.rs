//! How an image of a running store takes turns with those who serve: processors, and the disk, are theirs too.

#![allow(
    clippy::disallowed_methods,
    reason = "shares out time by what work took, not a schedule that a test runs through"
)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::CheckpointError;

/// Work between two pauses. A webhook is handed from thread to thread, and each that finds its processor taken waits for the
/// rest of this (`docs/performance.md`).
const TURN: Duration = Duration::from_micros(100);

/// The longest pause: a disk that held up the work for seconds says nothing of how much there is to do.
const LONGEST: Duration = Duration::from_millis(20);

/// Paces a long piece of work that may be stopped.
pub(super) struct Pace<'a> {
    stop: &'a AtomicBool,
    /// Whether anybody else is at work.
    pauses: bool,
    since: Instant,
}

impl<'a> Pace<'a> {
    /// Beside a running store: pauses as long as it worked.
    pub(super) fn beside_others(stop: &'a AtomicBool) -> Self {
        Self {
            stop,
            pauses: true,
            since: Instant::now(),
        }
    }

    /// Of a store that nobody serves from.
    pub(super) fn alone(stop: &'a AtomicBool) -> Self {
        Self {
            pauses: false,
            ..Self::beside_others(stop)
        }
    }

    /// Whether it is to stop.
    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// What ended it.
    pub(super) fn said(&self, error: io::Error) -> CheckpointError {
        if self.is_over() {
            return CheckpointError::Stopped;
        }
        error.into()
    }

    /// Between two pieces of the work.
    ///
    /// # Errors
    /// It is to stop.
    pub(super) fn step(&mut self) -> Result<(), CheckpointError> {
        if self.is_over() {
            return Err(CheckpointError::Stopped);
        }
        let worked = self.since.elapsed();
        if self.pauses && worked >= TURN {
            std::thread::sleep(worked.min(LONGEST));
            self.since = Instant::now();
        }
        Ok(())
    }
}
