//! The journal beneath sled: what is acknowledged is here first, written and synced.
//!
//! Promise: when [`Journal::append`] has returned a sequence, the changes survive a power cut; when it has failed, they
//! count for nothing and the journal goes on by itself as soon as the disk does.
//!
//! [`Journal::append_loose`] writes without syncing, so that a kill does not undo it. Such changes are not a record of
//! their own: the next group, synced or not, makes the record longer that they are in. So each record is durable
//! before the next one begins, and a bad record with a good one behind it is damage, never a cut. What makes a record
//! longer is written behind it first, and its new length and checksum last: who is killed in between leaves the record
//! as it was.
//!
//! A file on which a write or a sync failed is never trusted again: the kernel may drop the pages and report the next
//! sync as done. It is cut back to its last synced record where that works, and the next record opens a new file whose
//! first sequence says from where on the old one no longer counts.

mod checksum;
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
use crate::metrics::CommitMetrics;

/// The journal's directory inside the data directory.
pub(super) const JOURNAL: &str = "journal";

/// Room is written with zeros this many bytes ahead: a sync into written room changes no file length and is cheaper.
/// A mebibyte costs one slower group in some hundreds.
const AHEAD: u64 = 1 << 20;

/// Zeros are written in pieces of so many bytes: what is written in one go the system may keep as one piece of its cache,
/// and then goes over the whole of it for each record in it and each sync (ext4, Linux 6.18: 17 us instead of 13 of a
/// record of 400 bytes with its sync, where a mebibyte was written at once).
const PIECE: u64 = 16 << 10;

/// The least that the system writes, or does not, as a whole when a process is killed.
const PAGE: u64 = 4096;

/// Bytes of unsynced changes that the next group may carry with it: about as many as a busy relay writes in the time
/// after which they are synced anyway. Everybody waits for a sync, and one of so much takes little longer than one of a
/// single group.
const LOOSE: usize = 512 << 10;

/// How large files may grow and when they are replaced.
#[derive(Clone, Copy, Debug)]
pub struct JournalSettings {
    /// A segment is left for a new one at this size, in bytes. 8 MiB: read whole when opening and for each checkpoint, so
    /// that much memory is needed, and with much larger ones the allocator kept several times that.
    pub segment: u64,
    /// A checkpoint is taken when twice as much was written as the last one is long, or this many bytes if that is less.
    /// 256 MiB: some seconds of replay.
    pub checkpoint: u64,
    /// Keys changed in memory that make it worth putting them into sled. 16,384, some megabytes: what comes and goes
    /// does so within it, and what comes for a thousand endpoints is written to the block of each in one go.
    pub layer: usize,
    /// How long a sled that failed is left alone before it is made again; doubles with each attempt in vain. A second:
    /// on a full disk each is.
    pub mend: Duration,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            segment: 8 << 20,
            checkpoint: 256 << 20,
            layer: 16_384,
            mend: Duration::from_secs(1),
        }
    }
}

/// However small the last checkpoint is, the next comes after this many bytes: 32 MiB.
const LEAST: u64 = 32 << 20;

impl JournalSettings {
    /// How much may be written after a checkpoint of so many bytes before the next: twice as much, so that of a small
    /// store little is kept, and of a large one little is written.
    fn until_checkpoint(&self, image: u64) -> u64 {
        image.saturating_mul(2).max(LEAST).min(self.checkpoint)
    }
}

struct Current {
    file: Box<dyn OutFile>,
    salt: u64,
    /// Synced bytes.
    length: u64,
    /// Bytes that were ever written, zeros included.
    filled: u64,
    /// Bytes of the next record's payload that are written and not synced.
    loose: usize,
}

impl Current {
    /// Where the next record ends, as far as it is written.
    fn ends(&self) -> io::Result<u64> {
        let record = u64::try_from(format::PREFIX + self.loose).map_err(io::Error::other)?;
        Ok(self.length + record)
    }
}

/// The writing end. One thread has it.
pub(super) struct Journal {
    machine: Arc<dyn Machine>,
    directory: PathBuf,
    settings: JournalSettings,
    current: Option<Current>,
    number: u64,
    sequence: u64,
    /// Of the records written.
    schema: u32,
    written: u64,
    metrics: Arc<CommitMetrics>,
    /// Changes that were written and not synced: the beginning of the next record's payload.
    loose: Vec<u8>,
    /// The checksum of these.
    loose_checksum: u32,
}

impl Journal {
    /// Goes on after `last`, in a new file.
    pub(super) fn after(
        last: u64,
        schema: u32,
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
            schema,
            written: found.iter().map(|segment| segment.length).sum(),
            metrics: Arc::default(),
            loose: Vec::new(),
            loose_checksum: 0,
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

    /// Whether a checkpoint is wanted for size, after one of `image` bytes.
    pub(super) fn is_long(&self, image: u64) -> bool {
        self.written >= self.settings.until_checkpoint(image)
    }

    /// Whether there are changes that are not synced.
    pub(super) const fn has_loose(&self) -> bool {
        !self.loose.is_empty()
    }

    /// Whether what is not synced must be [settled](Journal::settle) before these changes are written, because who is
    /// killed on the way would not find it: they go into another file, or its record's length and checksum lie in two
    /// pages of this one, which the system writes one after the other.
    pub(super) fn must_settle_before(&self, changes: &Changes) -> bool {
        let Some(current) = self.current.as_ref().filter(|_| self.has_loose()) else {
            return false;
        };
        let new = format::size(changes);
        let is_apart = current.length % PAGE > PAGE - format::CHANGING;
        let size = format::PREFIX + self.loose.len() + new;
        new > 0 && (is_apart || !self.fits(current, size))
    }

    /// Syncs what is not synced yet; returns its sequence.
    ///
    /// # Errors
    /// What the system said. It stays as it was.
    pub(super) fn settle(&mut self) -> io::Result<Option<u64>> {
        if self.loose.is_empty() {
            return Ok(None);
        }
        self.append(&Changes::new()).map(Some)
    }

    /// Writes and syncs a group, with everything loose before it; returns its sequence.
    ///
    /// # Errors
    /// What the system said. The group counts for nothing.
    pub(super) fn append(&mut self, changes: &Changes) -> io::Result<u64> {
        self.machine.reached(Point::BeforeWrite)?;
        self.put(changes, true)?;
        self.sequence += 1;
        self.written += u64::try_from(format::PREFIX + self.loose.len()).unwrap_or(u64::MAX);
        self.loose.clear();
        self.loose.shrink_to(LOOSE);
        self.loose_checksum = 0;
        Ok(self.sequence)
    }

    /// Writes changes that a kill is not to undo, without syncing them, unless there is much of that already: then it
    /// syncs, and returns their sequence.
    ///
    /// # Errors
    /// What the system said. They count for nothing.
    pub(super) fn append_loose(&mut self, changes: &Changes) -> io::Result<Option<u64>> {
        if self.loose.len() > LOOSE {
            return self.append(changes).map(Some);
        }
        self.machine.reached(Point::BeforeWrite)?;
        self.put(changes, false)?;
        Ok(None)
    }

    /// Writes the next record, or makes it longer. If that fails it is what it was.
    fn put(&mut self, changes: &Changes, is_synced: bool) -> io::Result<()> {
        let (length, before) = (self.loose.len(), self.loose_checksum);
        format::append(&mut self.loose, changes);
        let new = self.loose.get(length..).unwrap_or_default();
        self.loose_checksum = crc32c::crc32c_append(before, new);
        let written = self.put_payload(is_synced);
        if written.is_err() {
            self.loose.truncate(length);
            self.loose_checksum = before;
        }
        written
    }

    fn fits(&self, file: &Current, size: usize) -> bool {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        file.length.saturating_add(size) <= self.settings.segment
    }

    fn put_payload(&mut self, is_synced: bool) -> io::Result<()> {
        let size = format::PREFIX + self.loose.len();
        let mut current = match self.current.take() {
            // A record that is larger than a segment gets one to itself; what is there already stays where it is.
            Some(current) if self.fits(&current, size) || current.loose == self.loose.len() => {
                current
            }
            _full_or_none => self.start_segment(self.sequence + 1)?,
        };
        match self.write(&mut current, is_synced) {
            Ok(()) => {
                self.current = Some(current);
                Ok(())
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
    fn write(&self, current: &mut Current, is_synced: bool) -> io::Result<()> {
        if current.loose < self.loose.len() {
            self.write_new(current)?;
        }
        self.machine.reached(Point::WrittenNotSynced)?;
        if is_synced {
            let began = Instant::now();
            current.file.sync()?;
            self.metrics.synced(current.loose, began.elapsed());
            current.length = current.ends()?;
            current.loose = 0;
        }
        Ok(())
    }

    /// Writes what the file lacks of the next record.
    fn write_new(&self, current: &mut Current) -> io::Result<()> {
        let payload = (self.loose.len(), self.loose_checksum);
        let prefix = format::prefix(current.salt, self.sequence + 1, payload)?;
        let is_begun = current.loose > 0;
        let new = self.loose.get(current.loose..).unwrap_or_default();
        let mut bytes = Vec::with_capacity(format::PREFIX + new.len());
        let at = if is_begun {
            current.ends()?
        } else {
            bytes.extend_from_slice(&prefix);
            current.length
        };
        bytes.extend_from_slice(new);
        current.loose = self.loose.len();
        current.file.write_at(&bytes, at)?;
        let ends = current.ends()?;
        if ends > current.filled {
            self.fill_ahead(current, ends)?;
        }
        if is_begun {
            current.file.write_at(&prefix, current.length)?;
        }
        Ok(())
    }

    fn fill_ahead(&self, current: &mut Current, ends: u64) -> io::Result<()> {
        static ZEROS: [u8; PIECE as usize] = [0; PIECE as usize];
        let filled = ends + AHEAD.min(self.settings.segment.saturating_sub(ends));
        let mut from = ends;
        while from < filled {
            let piece = (filled - from).min(PIECE - from % PIECE);
            let length = usize::try_from(piece).map_err(io::Error::other)?;
            let zeros = ZEROS.get(..length).unwrap_or(&ZEROS);
            current.file.write_at(zeros, from)?;
            from += piece;
        }
        current.filled = filled;
        Ok(())
    }

    fn start_segment(&mut self, first: u64) -> io::Result<Current> {
        self.number += 1;
        let path = self.directory.join(reading::name(self.number, first));
        let mut file = self.machine.create(&path)?;
        let header = Header::new(SEGMENT_MAGIC, self.schema, first);
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
            loose: 0,
        })
    }
}
