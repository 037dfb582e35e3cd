//! Which versions of this program wrote a store: asked before anything in it is read, moved or mended.
//!
//! Promise: a store of a newer schema or format is left exactly as it is. What cannot be read here is no verdict;
//! whoever reads the file next says what is wrong with it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::checkpoint::{self, CHECKPOINTS};
use super::journal::format::{CHECKPOINT_MAGIC, FORMAT, HEADER, Header, NotHeader, SEGMENT_MAGIC};
use super::journal::{JOURNAL, reading};
use super::outcome::OpenError;

/// The schemas that the files of a store say they have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Of the newest checkpoint.
    pub(super) current: Option<u32>,
    /// The least of all.
    pub(super) oldest: Option<u32>,
}

/// Looks at the headers of all checkpoints and journal segments.
///
/// # Errors
/// One is newer than `known`, or the directories cannot be read.
pub(super) fn look(path: &Path, known: u32) -> Result<Written, OpenError> {
    let checkpoints =
        checkpoint::list(&path.join(CHECKPOINTS)).map_err(|source| OpenError::Directory {
            path: path.to_owned(),
            source,
        })?;
    let checkpoints = checkpoints
        .into_iter()
        .map(|named| (named.path, CHECKPOINT_MAGIC));
    let segments = reading::segments(&path.join(JOURNAL)).unwrap_or_default();
    let segments = segments
        .into_iter()
        .map(|segment| (segment.path, SEGMENT_MAGIC));
    let files: Vec<(PathBuf, [u8; 8])> = checkpoints.chain(segments).collect();
    let mut written = Written::default();
    for (file, magic) in files {
        let schema = match header_of(&file, magic) {
            Some(Ok(header)) => header.schema,
            Some(Err(NotHeader::Newer(found))) => {
                return Err(OpenError::NewerFormat {
                    path: path.to_owned(),
                    found,
                    known: FORMAT,
                });
            }
            Some(Err(NotHeader::Wrong(_))) | None => continue,
        };
        if schema > known {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found: schema,
                known,
            });
        }
        if magic == CHECKPOINT_MAGIC {
            written.current.get_or_insert(schema);
        }
        written.oldest = Some(written.oldest.map_or(schema, |oldest| oldest.min(schema)));
    }
    Ok(written)
}

/// The schema that a checkpoint says it has.
pub(super) fn of_checkpoint(file: &Path) -> Option<u32> {
    let header = header_of(file, CHECKPOINT_MAGIC)?;
    header.ok().map(|header| header.schema)
}

fn header_of(file: &Path, magic: [u8; 8]) -> Option<Result<Header, NotHeader>> {
    let mut head = [0; HEADER];
    File::open(file).ok()?.read_exact(&mut head).ok()?;
    Some(Header::parse(&head, magic))
}
