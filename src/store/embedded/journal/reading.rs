//! Reading the journal: everything after a sequence, in order, or the file and offset where that ends.
//!
//! A segment counts from its own first sequence up to the next segment's. What stands behind that in a file is the
//! tail of a write that failed, or was cut, and was answered with an error: it is passed over. Only the newest segment
//! may end in a record that does not check, and only if no record follows it: each record is synced before the next
//! is written, so a bad record with a good one behind it is damage, never a cut.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::format::{self, FORMAT, HEADER, Header, NotHeader, PREFIX, SEGMENT_MAGIC};

/// Why the journal could not be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system said no.
    #[error("{} could not be read", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was written is not what is there.
    #[error(
        "{} is damaged at byte {offset}: {why}; sequences up to {readable} can be read",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// The last sequence before it that can be read; 0: none.
        readable: u64,
        /// What is wrong.
        why: String,
    },
    /// A newer version wrote the file.
    #[error(
        "{} has {what} {found}: a newer version wrote it, this one knows up to {known}",
        file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// `format` or `schema`.
        what: &'static str,
        /// Its number.
        found: u32,
        /// Ours.
        known: u32,
    },
}

impl JournalError {
    pub(in crate::store::embedded) fn newer_format(file: &Path, found: u32) -> Self {
        Self::Newer {
            file: file.to_owned(),
            what: "format",
            found,
            known: FORMAT,
        }
    }
}

/// One file of the journal, as its name says.
#[derive(Clone, Debug)]
pub(in crate::store::embedded) struct Segment {
    pub(in crate::store::embedded) path: PathBuf,
    /// Counts files; a number is never used twice.
    pub(in crate::store::embedded) number: u64,
    /// The first sequence that counts in it.
    pub(in crate::store::embedded) first: u64,
    /// Bytes on disk.
    pub(in crate::store::embedded) length: u64,
}

pub(super) fn name(number: u64, first: u64) -> String {
    format!("{number:010}-{first:020}.journal")
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (number, first) = name.strip_suffix(".journal")?.split_once('-')?;
    Some((number.parse().ok()?, first.parse().ok()?))
}

/// Takes a record: its sequence and its payload.
pub(in crate::store::embedded) type Visit<'a> =
    &'a mut dyn FnMut(u64, &[u8]) -> Result<(), JournalError>;

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store::embedded) struct ReadEnd {
    /// The last sequence; the one asked for, if there was nothing newer.
    pub(in crate::store::embedded) last: u64,
    /// Records visited.
    pub(in crate::store::embedded) records: u64,
    /// The newest segment ends in a record that was being written: file and offset.
    pub(in crate::store::embedded) torn: Option<(PathBuf, u64)>,
}

/// The segments of a journal, oldest first. No directory: none.
pub(in crate::store::embedded) fn segments(directory: &Path) -> Result<Vec<Segment>, JournalError> {
    let failed = |source| JournalError::Io {
        path: directory.to_owned(),
        source,
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if let Some((number, first)) = entry.file_name().to_str().and_then(parse_name) {
            let length = entry.metadata().map_err(failed)?.len();
            let path = entry.path();
            found.push(Segment {
                path,
                number,
                first,
                length,
            });
        }
    }
    found.sort_by_key(|segment| segment.number);
    Ok(found)
}

/// Makes sure that what will be read is also what a power cut leaves: a process that was killed between writing and
/// syncing leaves a record that can be read and is not durable.
pub(in crate::store::embedded) fn settle(directory: &Path) -> Result<(), JournalError> {
    let newest = segments(directory)?.pop();
    let sync = |path: &Path| {
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(|source| JournalError::Io {
            path: path.to_owned(),
            source,
        })
    };
    if let Some(newest) = newest {
        sync(&newest.path)?;
        sync(directory)?;
    }
    Ok(())
}

/// Visits every record after `after`, up to and with `until`.
pub(in crate::store::embedded) fn read(
    directory: &Path,
    after: u64,
    until: Option<u64>,
    visit: Visit<'_>,
) -> Result<ReadEnd, JournalError> {
    let segments = segments(directory)?;
    let mut end = ReadEnd {
        last: after,
        ..ReadEnd::default()
    };
    for (at, segment) in segments.iter().enumerate() {
        let next = segments.get(at + 1).map(|next| next.first);
        if next.is_some_and(|next| next <= end.last + 1)
            || until.is_some_and(|until| segment.first > until)
        {
            continue;
        }
        if segment.first > end.last + 1 {
            let why = format!(
                "it begins with {}, but {} is missing",
                segment.first,
                end.last + 1
            );
            return Err(damaged(segment, 0, end.last, why));
        }
        read_segment(segment, next, until, &mut end, visit)?;
    }
    Ok(end)
}

fn damaged(segment: &Segment, offset: usize, readable: u64, why: impl ToString) -> JournalError {
    JournalError::Damaged {
        file: segment.path.clone(),
        offset: u64::try_from(offset).unwrap_or(u64::MAX),
        readable,
        why: why.to_string(),
    }
}

fn read_segment(
    segment: &Segment,
    next: Option<u64>,
    until: Option<u64>,
    end: &mut ReadEnd,
    visit: Visit<'_>,
) -> Result<(), JournalError> {
    let bytes = fs::read(&segment.path).map_err(|source| JournalError::Io {
        path: segment.path.clone(),
        source,
    })?;
    let header = match Header::parse(&bytes, SEGMENT_MAGIC) {
        Ok(header) if header.sequence == segment.first => header,
        Ok(_) => {
            return Err(damaged(
                segment,
                0,
                end.last,
                "its name and its header differ",
            ));
        }
        Err(NotHeader::Newer(found)) => {
            return Err(JournalError::newer_format(&segment.path, found));
        }
        Err(NotHeader::Wrong(why)) => {
            // The header is synced before the first record is written: without a record this is a file whose making
            // was cut.
            let is_unfinished = bytes.iter().skip(HEADER).all(|byte| *byte == 0);
            if is_unfinished && next.is_none_or(|next| next == segment.first) {
                return Ok(());
            }
            return Err(damaged(segment, 0, end.last, why));
        }
    };
    let mut offset = HEADER;
    let mut expected = segment.first;
    while next.is_none_or(|next| expected < next) && until.is_none_or(|until| expected <= until) {
        let rest = bytes.get(offset..).unwrap_or_default();
        match format::parse_frame(header.salt, rest) {
            Some((sequence, payload, length)) if sequence == expected => {
                if sequence > end.last {
                    visit(sequence, payload)?;
                    end.last = sequence;
                    end.records += 1;
                }
                offset += length;
                expected += 1;
            }
            Some((sequence, _, _)) => {
                let why = format!("record {sequence} stands where {expected} belongs");
                return Err(damaged(segment, offset, end.last, why));
            }
            None if next.is_some() => {
                let why = format!("record {expected} does not check");
                return Err(damaged(segment, offset, end.last, why));
            }
            None => {
                if rest.iter().all(|byte| *byte == 0) {
                    return Ok(());
                }
                if let Some(good) = next_good(header.salt, rest, expected) {
                    let why = format!(
                        "record {expected} does not check, and a good one follows at byte {}",
                        offset + good
                    );
                    return Err(damaged(segment, offset, end.last, why));
                }
                end.torn = Some((
                    segment.path.clone(),
                    u64::try_from(offset).unwrap_or(u64::MAX),
                ));
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The offset of the first record behind a bad one.
fn next_good(salt: u64, bytes: &[u8], expected: u64) -> Option<usize> {
    (1..bytes.len().saturating_sub(PREFIX)).find(|at| {
        let Some(rest) = bytes.get(*at..) else {
            return false;
        };
        // Cheap first: a record of this segment has a sequence close behind, and the checksum is the dear part.
        let near = rest
            .get(8..16)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_le_bytes)
            .is_some_and(|sequence| sequence > expected && sequence - expected < 1 << 24);
        near && format::parse_frame(salt, rest).is_some()
    })
}
