//! How much room the disk has left, asked now and then.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::txn::Room;

/// How old a reading of the free disk space may be.
const AGE: Duration = Duration::from_millis(500);

/// The last reading, and what is asked for.
#[derive(Debug)]
pub(super) struct Free {
    min_free: u64,
    read: Option<(Instant, u64)>,
}

impl Free {
    pub(super) const fn new(min_free: u64) -> Self {
        Self {
            min_free,
            read: None,
        }
    }

    /// The room on the file system of `path`.
    #[allow(
        clippy::disallowed_methods,
        reason = "the age of a reading, not a schedule"
    )]
    pub(super) fn on(&mut self, path: &Path) -> Room {
        let recent = self.read.filter(|(at, _)| at.elapsed() < AGE);
        let free = recent.map_or_else(|| {
            let free = free_space(path).unwrap_or_else(|error| {
                tracing::error!(%error, "the free space of the data directory cannot be read; callbacks are answered 503");
                0
            });
            self.read = Some((Instant::now(), free));
            free
        }, |(_, free)| free);
        Room {
            free,
            min_free: self.min_free,
        }
    }
}

/// Free bytes for us on the file system of `path`.
fn free_space(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
