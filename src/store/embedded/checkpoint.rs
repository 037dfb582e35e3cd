//! Checkpoints: all live records in one file, from which sled can be made again.
//!
//! Promise: a file that [`read`] reads to its end is the whole state after its sequence. It is taken while commits go
//! on: the trees are read part by part, and the journal's groups from the beginning of that reading to its end are
//! appended; that end is when the last group is synced of which anything was read. A key that nobody changed meanwhile was
//! read as it was; one that was changed is set, last, by the last group that changed it. So applying the file in order
//! gives exactly the state after the last of these groups.
//!
//! File: header, records as in the journal (the scan's carry the sequence at its start), then an end marker of 36
//! bytes: `VXRCHEND`, last sequence (u64), changes (u64), CRC-32C of all before the marker (u32), CRC-32C of the marker
//! (u32), zeros (4).

mod pace;

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use self::pace::Pace;
use super::engine::{Change, Engine, SEQUENCE};
use super::journal::format::{self, CHECKPOINT_MAGIC, Fields, HEADER, Header, NotHeader, PREFIX};
use super::journal::reading::{self, JournalError};
use super::keys::Tree;
use super::machine::{Machine, OutFile};
use crate::store::StoreError;

/// The checkpoints' directory inside the data directory.
pub(super) const CHECKPOINTS: &str = "checkpoints";
const END_MAGIC: &[u8; 8] = b"VXRCHEND";
const END: usize = 36;

/// Entries read while commits wait: some hundred microseconds at most, also where sled has to read them from its file.
const PART: usize = 16;

/// Bytes gathered into one record, and into one write: about as much work as there is between two pauses (`pace`).
const RECORD: usize = 64 << 10;

/// What a checkpoint holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageReport {
    /// The schema of its records.
    pub schema: u32,
    /// The last sequence in it.
    pub sequence: u64,
    /// Puts and deletes in it.
    pub changes: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Why no checkpoint came to be.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckpointError {
    #[error("it could not be written")]
    Write(#[from] io::Error),
    #[error("the store could not be read")]
    Store(#[from] StoreError),
    #[error("what was written does not check")]
    Read(#[from] JournalError),
    #[error("the store is stopping")]
    Stopped,
    #[error("a record of {tree} cannot be brought to another schema: {why}")]
    Record { tree: &'static str, why: String },
}

/// A checkpoint by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) path: PathBuf,
    pub(super) sequence: u64,
}

pub(super) fn name(sequence: u64) -> String {
    format!("{sequence:020}.checkpoint")
}

/// The checkpoints, newest first.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Named>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let sequence = entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_suffix(".checkpoint"))
            .and_then(|number| number.parse().ok());
        if let Some(sequence) = sequence {
            let path = entry.path();
            found.push(Named { path, sequence });
        }
    }
    found.sort_by_key(|named| std::cmp::Reverse(named.sequence));
    Ok(found)
}

struct Writer {
    file: Box<dyn OutFile>,
    salt: u64,
    crc: u32,
    report: ImageReport,
    buffer: Vec<u8>,
}

impl Writer {
    fn begin(machine: &dyn Machine, path: &Path, schema: u32, sequence: u64) -> io::Result<Self> {
        let header = Header::new(CHECKPOINT_MAGIC, schema, sequence);
        Ok(Self {
            file: machine.create(path)?,
            salt: header.salt,
            crc: 0,
            report: ImageReport {
                schema,
                ..ImageReport::default()
            },
            buffer: header.to_bytes(),
        })
    }

    fn record(&mut self, sequence: u64, payload: &[u8], changes: usize) -> io::Result<()> {
        format::frame(&mut self.buffer, self.salt, sequence, payload)?;
        self.report.changes += u64::try_from(changes).map_err(io::Error::other)?;
        if self.buffer.len() >= RECORD {
            self.push()?;
        }
        Ok(())
    }

    fn push(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.report.bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &self.buffer);
        self.report.bytes += u64::try_from(self.buffer.len()).map_err(io::Error::other)?;
        self.buffer.clear();
        Ok(())
    }

    fn end(mut self, sequence: u64) -> io::Result<ImageReport> {
        self.push()?;
        self.report.sequence = sequence;
        let mut end = END_MAGIC.to_vec();
        end.extend_from_slice(&sequence.to_le_bytes());
        end.extend_from_slice(&self.report.changes.to_le_bytes());
        end.extend_from_slice(&self.crc.to_le_bytes());
        let crc = crc32c::crc32c(&end);
        end.extend_from_slice(&crc.to_le_bytes());
        end.resize(END, 0);
        self.buffer = end;
        self.push()?;
        self.file.sync()?;
        Ok(self.report)
    }
}

/// The checkpoint of a store in which nothing ever happened.
pub(super) fn write_empty(
    machine: &dyn Machine,
    path: &Path,
    schema: u32,
) -> io::Result<ImageReport> {
    Writer::begin(machine, path, schema, 0)?.end(0)
}

/// Appends what becomes of a record to a payload; says how many changes that are.
type Turn<'a> =
    &'a mut dyn FnMut(Tree, &[u8], &[u8], &mut Vec<u8>) -> Result<usize, CheckpointError>;

fn scan(
    engine: &Engine,
    writer: &mut Writer,
    start: u64,
    pace: &mut Pace<'_>,
    turn: Turn<'_>,
) -> Result<(), CheckpointError> {
    for tree in Tree::ALL {
        let mut after: Option<Vec<u8>> = None;
        let (mut payload, mut changes) = (Vec::new(), 0);
        loop {
            pace.step()?;
            let part = engine.part(*tree, after.as_deref(), PART)?;
            let Some((last, _)) = part.last() else { break };
            after = Some(last.to_vec());
            for (key, value) in &part {
                if *tree == Tree::Meta && key.as_ref() == SEQUENCE {
                    continue;
                }
                changes += turn(*tree, key, value, &mut payload)?;
            }
            if payload.len() >= RECORD {
                writer.record(start, &payload, changes)?;
                (payload, changes) = (Vec::new(), 0);
            }
        }
        if !payload.is_empty() {
            writer.record(start, &payload, changes)?;
        }
    }
    Ok(())
}

/// Writes what becomes of each record of a store that nobody changes to a new file, synced, and reads it back.
pub(super) fn write_turned(
    engine: &Engine,
    machine: &dyn Machine,
    path: &Path,
    (schema, sequence): (u32, u64),
    turn: Turn<'_>,
) -> Result<ImageReport, CheckpointError> {
    let never = AtomicBool::new(false);
    let mut writer = Writer::begin(machine, path, schema, sequence)?;
    let mut pace = Pace::alone(&never);
    scan(engine, &mut writer, sequence, &mut pace, turn)?;
    let report = writer.end(sequence)?;
    read_back(path, report, &mut pace)
}

fn read_back(
    path: &Path,
    report: ImageReport,
    pace: &mut Pace<'_>,
) -> Result<ImageReport, CheckpointError> {
    let mut paced = Ok(());
    let checked = read(path, report.schema, &mut |_| {
        if paced.is_ok() {
            paced = pace.step();
        }
        Ok(())
    })?;
    paced?;
    if checked != report {
        return Err(io::Error::other("what is read back differs from what was written").into());
    }
    Ok(report)
}

/// Writes a checkpoint of a running store to a new file, synced, and reads it back.
pub(super) fn write(
    engine: &Engine,
    machine: &dyn Machine,
    journal: &Path,
    path: &Path,
    stop: &AtomicBool,
) -> Result<ImageReport, CheckpointError> {
    let start = engine.sequence();
    let mut writer = Writer::begin(machine, path, engine.schema(), start)?;
    let mut pace = Pace::beside_others(stop);
    scan(
        engine,
        &mut writer,
        start,
        &mut pace,
        &mut |tree, key, value, payload| {
            format::change(payload, tree, key, Some(value));
            Ok(1)
        },
    )?;
    // What was read may have come from groups that are not synced yet: the image goes on until they are.
    let synced = engine.until_synced(|| pace.is_over());
    synced.map_err(|error| pace.said(error))?;
    let end = engine.sequence();
    let mut failed = Ok(());
    let read = reading::read(journal, start, Some(end), &mut |sequence, payload| {
        let changes = format::changes(payload).map(|changes| changes.len());
        if failed.is_ok() {
            let written = writer.record(sequence, payload, changes.unwrap_or_default());
            failed = written
                .map_err(CheckpointError::from)
                .and_then(|()| pace.step());
        }
        Ok(())
    })?;
    failed?;
    if read.last != end {
        let why = format!("the journal ends with {}, not with {end}", read.last);
        return Err(io::Error::other(why).into());
    }
    let report = writer.end(end)?;
    read_back(path, report, &mut pace)
}

/// Reads a checkpoint of a schema up to `known`; visits the changes of each record in order. Nothing that was visited counts unless this
/// returns `Ok`.
pub(super) fn read(
    path: &Path,
    known: u32,
    visit: &mut dyn FnMut(Vec<Change>) -> Result<(), JournalError>,
) -> Result<ImageReport, JournalError> {
    let failed = |source| JournalError::Io {
        path: path.to_owned(),
        source,
    };
    let damaged = |offset: u64, why: String| JournalError::Damaged {
        file: path.to_owned(),
        offset,
        readable: 0,
        why,
    };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let body_end = length
        .checked_sub((END + HEADER) as u64)
        .map(|body| body + HEADER as u64)
        .ok_or_else(|| damaged(0, "it is cut off".to_owned()))?;
    let mut input = BufReader::with_capacity(RECORD, file);
    let mut bytes = vec![0; HEADER];
    input.read_exact(&mut bytes).map_err(failed)?;
    let header = Header::parse(&bytes, CHECKPOINT_MAGIC).map_err(|error| match error {
        NotHeader::Newer(found) => JournalError::newer_format(path, found),
        NotHeader::Wrong(why) => damaged(0, why),
    })?;
    if header.schema > known {
        return Err(JournalError::Newer {
            file: path.to_owned(),
            what: "schema",
            found: header.schema,
            known,
        });
    }
    let mut crc = crc32c::crc32c(&bytes);
    let mut offset = HEADER as u64;
    let mut found = 0;
    while offset < body_end {
        let cut = || damaged(offset, "a record is cut off".to_owned());
        bytes.resize(PREFIX, 0);
        if body_end - offset < PREFIX as u64 {
            return Err(cut());
        }
        input.read_exact(&mut bytes).map_err(failed)?;
        let size = Fields(&bytes).u32().map_err(|why| damaged(offset, why))?;
        if u64::from(size) > body_end - offset - PREFIX as u64 {
            return Err(cut());
        }
        let size = usize::try_from(size).map_err(|_too_large| cut())?;
        bytes.resize(PREFIX + size, 0);
        let payload = bytes.get_mut(PREFIX..).unwrap_or_default();
        input.read_exact(payload).map_err(failed)?;
        let (_, payload, _) = format::parse_frame(header.salt, &bytes)
            .ok_or_else(|| damaged(offset, "a record does not check".to_owned()))?;
        let changes = format::changes(payload).map_err(|why| damaged(offset, why))?;
        found += u64::try_from(changes.len()).unwrap_or(u64::MAX);
        visit(changes)?;
        crc = crc32c::crc32c_append(crc, &bytes);
        offset += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    }
    bytes.resize(END, 0);
    input.read_exact(&mut bytes).map_err(failed)?;
    let wrong = || damaged(body_end, "the end marker does not check".to_owned());
    let marked = bytes.get(..28).map(crc32c::crc32c);
    let mut fields = Fields(bytes.strip_prefix(END_MAGIC).ok_or_else(wrong)?);
    let numbers = (
        fields.u64(),
        fields.u64(),
        fields.u32(),
        fields.u32(),
        fields.u32(),
    );
    match numbers {
        (Ok(sequence), Ok(changes), Ok(of_file), Ok(of_end), Ok(0))
            if changes == found && of_file == crc && Some(of_end) == marked =>
        {
            Ok(ImageReport {
                schema: header.schema,
                sequence,
                changes,
                bytes: length,
            })
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests;
