//! The bytes of journal segments and checkpoints: a header, then records.
//!
//! Header, 40 bytes: magic (8), format (u32), schema (u32), sequence (u64), salt (u64), CRC-32C of these (u32), zeros
//! (4). Record: length of the payload (u32), CRC-32C (u32), sequence (u64), payload. Payload: changes one after the
//! other, each tree code (u8), 1 put or 0 delete (u8), key length (u32), key and, for a put, value length (u32), value.
//! All numbers are little-endian.
//!
//! The CRC of a record is over the file's salt, the length, the sequence and the payload. The salt is random: nobody
//! who sends a callback can put bytes into its body that look like a record of this file.

use std::hash::{BuildHasher as _, Hasher as _};

use sled::IVec;

use super::checksum;
use crate::store::embedded::engine::{Change, Changes};
use crate::store::embedded::keys::Tree;

pub(in crate::store::embedded) const HEADER: usize = 40;
/// Bytes before a record's payload.
pub(in crate::store::embedded) const PREFIX: usize = 16;
/// Of these, how many at the front change when the payload grows.
pub(in crate::store::embedded) const CHANGING: u64 = 8;
/// This format.
pub(in crate::store::embedded) const FORMAT: u32 = 1;
pub(in crate::store::embedded) const SEGMENT_MAGIC: [u8; 8] = *b"VXRJRNL\n";
pub(in crate::store::embedded) const CHECKPOINT_MAGIC: [u8; 8] = *b"VXRCHKP\n";

/// Why bytes begin no file that can be read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::embedded) enum NotHeader {
    /// A newer version wrote it, in this format.
    Newer(u32),
    /// What is wrong.
    Wrong(String),
}

impl From<String> for NotHeader {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

/// A file's header. It keeps its shape in every later format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::embedded) struct Header {
    /// What file it is.
    pub(in crate::store::embedded) magic: [u8; 8],
    /// The schema of the records within.
    pub(in crate::store::embedded) schema: u32,
    /// A segment's first sequence; a checkpoint's sequence at the start of its scan.
    pub(in crate::store::embedded) sequence: u64,
    /// What its records' checksums begin with.
    pub(in crate::store::embedded) salt: u64,
}

impl Header {
    pub(in crate::store::embedded) fn new(magic: [u8; 8], schema: u32, sequence: u64) -> Self {
        // The standard library's hash keys are seeded by the system: unguessable is all that is asked for here.
        let mut hasher = std::hash::RandomState::new().build_hasher();
        hasher.write_u64(sequence);
        Self {
            magic,
            schema,
            sequence,
            salt: hasher.finish(),
        }
    }

    pub(in crate::store::embedded) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(&self.magic);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.schema.to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.resize(HEADER, 0);
        bytes
    }

    /// # Errors
    /// Why these bytes begin no such file.
    pub(in crate::store::embedded) fn parse(
        bytes: &[u8],
        magic: [u8; 8],
    ) -> Result<Self, NotHeader> {
        let head = bytes
            .get(..HEADER)
            .ok_or_else(|| "the header is cut off".to_owned())?;
        let mut fields = Fields(head);
        let found = fields.take(8)?;
        let (format, schema) = (fields.u32()?, fields.u32()?);
        let (sequence, salt, crc) = (fields.u64()?, fields.u64()?, fields.u32()?);
        if head.get(..32).map(crc32c::crc32c) != Some(crc) || fields.0 != [0; 4] {
            return Err("the header's checksum is wrong".to_owned().into());
        }
        if found != magic {
            return Err("it is a file of another kind".to_owned().into());
        }
        if format > FORMAT {
            return Err(NotHeader::Newer(format));
        }
        if format != FORMAT {
            return Err(format!("its format {format} is not known").into());
        }
        Ok(Self {
            magic,
            schema,
            sequence,
            salt,
        })
    }
}

fn checksum(salt: u64, length: &[u8], rest: &[&[u8]]) -> u32 {
    let mut crc = crc32c::crc32c(&salt.to_le_bytes());
    crc = crc32c::crc32c_append(crc, length);
    for part in rest {
        crc = crc32c::crc32c_append(crc, part);
    }
    crc
}

/// The bytes before a record's payload of so many bytes with this checksum; it may not exceed 4 GiB.
pub(in crate::store::embedded) fn prefix(
    salt: u64,
    sequence: u64,
    (length, payload): (usize, u32),
) -> std::io::Result<[u8; PREFIX]> {
    let number = u32::try_from(length).map_err(std::io::Error::other)?;
    let (length, sequence) = (number.to_le_bytes(), sequence.to_le_bytes());
    let crc = checksum::joined(checksum(salt, &length, &[&sequence]), payload, number);
    let mut prefix = [0; PREFIX];
    let fields = length.into_iter().chain(crc.to_le_bytes()).chain(sequence);
    prefix
        .iter_mut()
        .zip(fields)
        .for_each(|(at, byte)| *at = byte);
    Ok(prefix)
}

/// Appends a record; `payload` may not exceed 4 GiB.
pub(in crate::store::embedded) fn frame(
    out: &mut Vec<u8>,
    salt: u64,
    sequence: u64,
    payload: &[u8],
) -> std::io::Result<()> {
    let of_payload = (payload.len(), crc32c::crc32c(payload));
    out.extend_from_slice(&prefix(salt, sequence, of_payload)?);
    out.extend_from_slice(payload);
    Ok(())
}

/// The record at the beginning of `bytes`: its sequence, its payload, and its length in the file.
pub(in crate::store::embedded) fn parse_frame(
    salt: u64,
    bytes: &[u8],
) -> Option<(u64, &[u8], usize)> {
    let (prefix, rest) = bytes.split_at_checked(PREFIX)?;
    let mut fields = Fields(prefix);
    let (length, crc, sequence) = (fields.u32().ok()?, fields.u32().ok()?, fields.u64().ok()?);
    let payload = rest.get(..usize::try_from(length).ok()?)?;
    // No group is empty: a run of zeros is the end, not a record.
    if payload.is_empty() {
        return None;
    }
    let found = checksum(
        salt,
        &length.to_le_bytes(),
        &[&sequence.to_le_bytes(), payload],
    );
    (found == crc).then_some((sequence, payload, PREFIX + payload.len()))
}

/// Appends one change to a payload.
pub(in crate::store::embedded) fn change(
    out: &mut Vec<u8>,
    tree: Tree,
    key: &[u8],
    value: Option<&[u8]>,
) {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&[tree as u8, u8::from(value.is_some())]);
    out.extend_from_slice(&len(key));
    out.extend_from_slice(key);
    if let Some(value) = value {
        out.extend_from_slice(&len(value));
        out.extend_from_slice(value);
    }
}

/// Appends a group's changes to a payload.
pub(in crate::store::embedded) fn append(out: &mut Vec<u8>, changes: &Changes) {
    for (tree, entries) in changes {
        for (key, value) in entries {
            change(out, *tree, key, value.as_deref());
        }
    }
}

/// Bytes that a group's changes take in a payload.
pub(in crate::store::embedded) fn size(changes: &Changes) -> usize {
    let entries = changes.iter().flat_map(|(_, entries)| entries);
    let size = |(key, value): &(IVec, Option<IVec>)| {
        6 + key.len() + value.as_ref().map_or(0, |value| 4 + value.len())
    };
    entries.map(size).sum()
}

/// The changes of a payload, in order.
///
/// # Errors
/// What in it cannot be, though its checksum is right.
pub(in crate::store::embedded) fn changes(payload: &[u8]) -> Result<Vec<Change>, String> {
    let mut fields = Fields(payload);
    let mut found = Vec::new();
    while !fields.0.is_empty() {
        let code = fields.u8()?;
        let tree = Tree::of_code(code).ok_or_else(|| format!("there is no tree {code}"))?;
        let is_put = fields.u8()?;
        let key = IVec::from(fields.counted()?);
        let value = match is_put {
            0 => None,
            1 => Some(IVec::from(fields.counted()?)),
            other => return Err(format!("there is no kind of change {other}")),
        };
        found.push((tree, key, value));
    }
    Ok(found)
}

/// Bytes that are taken apart from the front.
pub(in crate::store::embedded) struct Fields<'a>(pub(in crate::store::embedded) &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| "it is cut off".to_owned())?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, String> {
        self.take(1).map(|bytes| bytes.iter().copied().sum())
    }

    pub(in crate::store::embedded) fn u32(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(bytes.try_into().unwrap_or_default()))
    }

    pub(in crate::store::embedded) fn u64(&mut self) -> Result<u64, String> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
    }

    fn counted(&mut self) -> Result<&'a [u8], String> {
        let count = self.u32()?;
        self.take(usize::try_from(count).map_err(|error| error.to_string())?)
    }
}
