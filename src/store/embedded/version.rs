//! Whether a newer version of this program wrote a store: asked before anything in it is read, moved or mended.
//!
//! Promise: a store of a newer schema is left exactly as it is. What cannot be read here is no verdict; whoever reads
//! the file next says what is wrong with it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::checkpoint::{self, CHECKPOINTS};
use super::journal::format::{CHECKPOINT_MAGIC, HEADER, Header, SEGMENT_MAGIC};
use super::journal::{JOURNAL, reading};
use super::opening::SCHEMA;
use super::outcome::OpenError;

/// Looks at the headers of all checkpoints and journal segments.
pub(super) fn refuse_newer(path: &Path) -> Result<(), OpenError> {
    let unusable = |source| OpenError::Directory {
        path: path.to_owned(),
        source,
    };
    let checkpoints = checkpoint::list(&path.join(CHECKPOINTS)).map_err(unusable)?;
    let checkpoints = checkpoints
        .into_iter()
        .map(|named| (named.path, CHECKPOINT_MAGIC));
    let segments = reading::segments(&path.join(JOURNAL)).unwrap_or_default();
    let segments = segments
        .into_iter()
        .map(|segment| (segment.path, SEGMENT_MAGIC));
    let files: Vec<(PathBuf, [u8; 8])> = checkpoints.chain(segments).collect();
    for (file, magic) in files {
        let Ok(found) = schema_of(&file, magic) else {
            continue;
        };
        if let Some(found) = found.filter(|found| *found > SCHEMA) {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found,
                known: SCHEMA,
            });
        }
    }
    Ok(())
}

fn schema_of(file: &Path, magic: [u8; 8]) -> io::Result<Option<u32>> {
    let mut head = [0; HEADER];
    File::open(file)?.read_exact(&mut head)?;
    Ok(Header::parse(&head, magic).ok().map(|header| header.schema))
}
