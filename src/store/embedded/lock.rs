//! The lock on a data directory: one process has it, and the message names which.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use super::outcome::OpenError;

/// Our own lock, because its message can name the holder; sled's comes second.
pub(super) fn take(path: &Path) -> Result<File, OpenError> {
    let unusable = |source| OpenError::Directory {
        path: path.to_owned(),
        source,
    };
    let mut lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join("lock"))
        .map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _unreadable = lock.read_to_string(&mut pid);
            let holder = match pid.trim().parse::<u32>() {
                Ok(pid) => format!("process {pid}"),
                Err(_not_written_yet) => "another process".to_owned(),
            };
            return Err(OpenError::Locked {
                path: path.to_owned(),
                holder,
            });
        }
        Err(TryLockError::Error(source)) => return Err(unusable(source)),
    }
    let written = lock
        .set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()));
    written.map_err(unusable)?;
    Ok(lock)
}

/// The process that has a data directory; `None`: nobody has.
///
/// # Errors
/// The directory cannot be looked at.
pub fn holder(path: &Path) -> std::io::Result<Option<u32>> {
    let mut lock = match File::open(path.join("lock")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match lock.try_lock_shared() {
        // Whoever wrote the number in it is gone, and the number may be another's by now.
        Ok(()) => return Ok(None),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut pid = String::new();
    lock.read_to_string(&mut pid)?;
    Ok(pid.trim().parse().ok())
}
