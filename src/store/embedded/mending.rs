//! When a sled that failed is to be made again: soon, and then ever more seldom.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest wait between attempts.
const LONGEST: Duration = Duration::from_secs(30);

/// sled failed: everything is refused until it was made again.
pub(super) struct Broken {
    /// What everybody is told meanwhile.
    pub(super) error: Arc<io::Error>,
    again_at: Instant,
    wait: Duration,
}

#[allow(
    clippy::disallowed_methods,
    reason = "paces attempts at mending, not a schedule that a test runs through"
)]
impl Broken {
    /// It failed just now; the first attempt after `wait`.
    pub(super) fn new(error: io::Error, wait: Duration) -> Self {
        Self {
            error: Arc::new(error),
            again_at: Instant::now() + wait,
            wait,
        }
    }

    /// Whether it is time for an attempt.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.again_at
    }

    /// An attempt was in vain.
    pub(super) fn in_vain(&mut self) {
        self.wait = self.wait.saturating_mul(2).min(LONGEST);
        self.again_at = Instant::now() + self.wait;
    }
}
