//! Waiting until the journal has synced what was applied, which the commit loop sees to within a tenth of a second.

#![allow(
    clippy::disallowed_methods,
    reason = "bounds what a disk may take, not a schedule that a test runs through"
)]

use std::io;
use std::time::{Duration, Instant};

use super::Engine;

/// How long at most, on a disk that works.
const LONGEST: Duration = Duration::from_secs(30);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Waits in small steps, and not for ever.
pub(super) struct Patience(Instant);

impl Patience {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// One step.
    ///
    /// # Errors
    /// It has been too long, or `stop` says so.
    pub(super) fn wait(&self, stop: impl Fn() -> bool) -> io::Result<()> {
        if stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.0.elapsed() > LONGEST {
            return Err(io::Error::other("the journal is not synced up to here"));
        }
        std::thread::sleep(LOOK);
        Ok(())
    }
}

impl Engine {
    /// Waits until the journal has synced all that was applied before this was called. Not for the thread that syncs.
    ///
    /// # Errors
    /// The disk does not take it, or `stop` says so.
    pub(in crate::store::embedded) fn until_synced(
        &self,
        stop: impl Fn() -> bool,
    ) -> io::Result<()> {
        let (patience, before) = (Patience::new(), self.sequence());
        let _strictly = self.strictly();
        // A group after the next synced one may be loose again: it had begun before all were to be synced.
        while self.recent().is_loose && self.sequence() == before {
            patience.wait(&stop)?;
        }
        Ok(())
    }
}
