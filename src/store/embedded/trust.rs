//! How the last process left the store, in the file `state`: whether sled may be believed.
//!
//! sled flushes lazily and its flush is no fsync, so after a power cut it may hold anything: a torn tail that does not
//! open, an older state, or one with holes that opens in silence. None of this can be told apart by looking. But who
//! lost power can: a page cache lives exactly as long as a boot of the machine. So sled is believed if it was closed
//! (at exactly the sequence noted then), or left open in this same boot; otherwise it is made again.

use std::fs;
use std::io;
use std::path::Path;

use super::machine::Machine;

const STATE: &str = "state";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// There is no file: the store is new, or older than the journal.
    Unsaid,
    /// Closed, flushed up to this sequence.
    Closed(u64),
    /// Open, in this boot.
    Open(Option<String>),
    /// Something else is in it.
    Unreadable,
}

pub(super) fn read(data: &Path) -> io::Result<Left> {
    let text = match fs::read_to_string(data.join(STATE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Left::Unsaid),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Left::Unreadable),
        Err(error) => return Err(error),
    };
    let mut words = text.split_whitespace();
    Ok(match (words.next(), words.next()) {
        (Some("open"), boot) => Left::Open(boot.map(str::to_owned)),
        (Some("closed"), Some(sequence)) => sequence.parse().map_or(Left::Unreadable, Left::Closed),
        _ => Left::Unreadable,
    })
}

/// Notes it, durably.
pub(super) fn write(data: &Path, machine: &dyn Machine, left: &Left) -> io::Result<()> {
    let text = match left {
        Left::Closed(sequence) => format!("closed {sequence}\n"),
        Left::Open(boot) => format!("open {}\n", boot.as_deref().unwrap_or_default()),
        Left::Unsaid | Left::Unreadable => return Ok(()),
    };
    let aside = data.join("state.new");
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = machine.create(&aside)?;
    file.write_at(text.as_bytes(), 0)?;
    file.sync()?;
    machine.rename(&aside, &data.join(STATE))?;
    machine.sync_directory(data)
}
