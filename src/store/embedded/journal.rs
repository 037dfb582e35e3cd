//! The journal beneath sled: what is acknowledged is here first, written and synced.
//!
//! Promise: when [`Journal::append`] has returned a sequence, the changes survive a power cut; when it has failed, they
//! count for nothing and the journal goes on by itself as soon as the disk does.
//!
//! A file on which a write or a sync failed is never trusted again: the kernel may drop the pages and report the next
//! sync as done. It is cut back to its last synced record where that works, and the next record opens a new file whose
//! first sequence says from where on the old one no longer counts.

pub(super) mod format;
pub(super) mod reading;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::format::{Header, SEGMENT_MAGIC};
use super::engine::Changes;
use super::machine::{Machine, OutFile, Point};
use super::opening::SCHEMA;
use crate::metrics::CommitMetrics;

/// The journal's directory inside the data directory.
pub(super) const JOURNAL: &str = "journal";

/// Room is written with zeros this many bytes ahead: a sync into written room changes no file length and is cheaper.
/// A mebibyte costs one slower group in some hundreds.
const AHEAD: u64 = 1 << 20;

/// How large files may grow and when they are replaced.
#[derive(Clone, Copy, Debug)]
pub struct JournalSettings {
    /// A segment is left for a new one at this size, in bytes. 64 MiB: read whole when opening.
    pub segment: u64,
    /// A checkpoint is taken when this many bytes were written since the last. 256 MiB: some seconds of replay.
    pub checkpoint: u64,
    /// How long a sled that failed is left alone before it is made again; doubles with each attempt in vain. A second:
    /// on a full disk each is.
    pub mend: Duration,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            segment: 64 << 20,
            checkpoint: 256 << 20,
            mend: Duration::from_secs(1),
        }
    }
}

struct Current {
    file: Box<dyn OutFile>,
    salt: u64,
    /// Synced bytes.
    length: u64,
    /// Bytes that were ever written, zeros included.
    filled: u64,
}

/// The writing end. One thread has it.
pub(super) struct Journal {
    machine: Arc<dyn Machine>,
    directory: PathBuf,
    settings: JournalSettings,
    current: Option<Current>,
    number: u64,
    sequence: u64,
    written: u64,
    metrics: Arc<CommitMetrics>,
}

impl Journal {
    /// Goes on after `last`, in a new file.
    pub(super) fn after(
        last: u64,
        machine: Arc<dyn Machine>,
        data: &Path,
        settings: JournalSettings,
    ) -> Result<Self, reading::JournalError> {
        let directory = data.join(JOURNAL);
        let found = reading::segments(&directory)?;
        Ok(Self {
            machine,
            directory,
            settings,
            current: None,
            number: found.last().map_or(0, |newest| newest.number),
            sequence: last,
            written: found.iter().map(|segment| segment.length).sum(),
            metrics: Arc::default(),
        })
    }

    /// What is written from now on is counted here.
    pub(super) fn count_in(&mut self, metrics: &Arc<CommitMetrics>) {
        self.metrics = Arc::clone(metrics);
    }

    /// How long a sled that failed is left alone.
    pub(super) const fn mend(&self) -> Duration {
        self.settings.mend
    }

    /// A checkpoint is on its way.
    pub(super) const fn start_counting(&mut self) {
        self.written = 0;
    }

    /// Whether a checkpoint is wanted for size.
    pub(super) const fn is_long(&self) -> bool {
        self.written >= self.settings.checkpoint
    }

    /// Writes and syncs a group; returns its sequence.
    ///
    /// # Errors
    /// What the system said. The group counts for nothing.
    pub(super) fn append(&mut self, changes: &Changes) -> io::Result<u64> {
        self.machine.reached(Point::BeforeWrite)?;
        let payload = format::payload(changes);
        let sequence = self.sequence + 1;
        let size = u64::try_from(payload.len() + format::PREFIX).map_err(io::Error::other)?;
        let mut current = match self.current.take() {
            // A record that is larger than a segment gets one to itself.
            Some(current) if current.length + size <= self.settings.segment => current,
            _full_or_none => self.start_segment(sequence)?,
        };
        match self.write(&mut current, sequence, &payload) {
            Ok(()) => {
                self.current = Some(current);
                self.sequence = sequence;
                self.written += size;
                Ok(sequence)
            }
            Err(error) => {
                // Best effort, and not relied on: the next file's first sequence voids the tail anyway.
                let cut = current.file.set_len(current.length);
                if let Err(cut) = cut.and_then(|()| current.file.sync()) {
                    tracing::warn!(error = %cut, "the tail of a failed write stays in the journal; it will not count");
                }
                Err(error)
            }
        }
    }

    #[allow(clippy::disallowed_methods, reason = "measures how long the disk took")]
    fn write(&self, current: &mut Current, sequence: u64, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + format::PREFIX);
        format::frame(&mut bytes, current.salt, sequence, payload)?;
        let length = current.length + u64::try_from(bytes.len()).map_err(io::Error::other)?;
        if length > current.filled {
            let filled = length + AHEAD.min(self.settings.segment.saturating_sub(length));
            let missing = usize::try_from(filled - length).map_err(io::Error::other)?;
            bytes.resize(bytes.len() + missing, 0);
            current.filled = filled;
        }
        current.file.write_at(&bytes, current.length)?;
        self.machine.reached(Point::WrittenNotSynced)?;
        let began = Instant::now();
        current.file.sync()?;
        self.metrics.synced(payload.len(), began.elapsed());
        current.length = length;
        Ok(())
    }

    fn start_segment(&mut self, first: u64) -> io::Result<Current> {
        self.number += 1;
        let path = self.directory.join(reading::name(self.number, first));
        let mut file = self.machine.create(&path)?;
        let header = Header::new(SEGMENT_MAGIC, SCHEMA, first);
        // Header and name are durable before any record: a file without a good header holds no record.
        let made = file
            .write_at(&header.to_bytes(), 0)
            .and_then(|()| file.sync())
            .and_then(|()| self.machine.sync_directory(&self.directory));
        if let Err(error) = made {
            if let Err(left) = self.machine.remove(&path) {
                tracing::warn!(file = %path.display(), error = %left, "an empty journal file stays behind; harmless");
            }
            return Err(error);
        }
        let length = u64::try_from(format::HEADER).map_err(io::Error::other)?;
        Ok(Current {
            file,
            salt: header.salt,
            length,
            filled: length,
        })
    }
}
