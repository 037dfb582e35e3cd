//! The machine beneath the journal: files that can be written and synced, and which boot this is.
//!
//! Everything the journal and the checkpoints write goes through [`Machine`], so that a test can fail any write or
//! sync, lose it, or end the process at a named [`Point`]. Reading goes straight to the file system: what is read is
//! checked by checksums instead. sled does its own I/O and is not trusted with anything (see `trust.rs`).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

/// A named place in the life of a group of use cases, where a test may fail or end the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Decided, nothing written.
    BeforeWrite,
    /// In the journal's file, not yet synced.
    WrittenNotSynced,
    /// Durable, not yet in sled.
    SyncedNotApplied,
    /// Durable and in sled, nobody was answered.
    AppliedNotAnswered,
    /// The checkpoint is complete under its temporary name.
    CheckpointWritten,
    /// The checkpoint has its name; older segments and checkpoints are still there.
    CheckpointNamed,
    /// A rebuilt sled is complete beside the one that it replaces.
    RebuiltAside,
    /// The store as it was before a migration is backed up; nothing else was changed.
    MigrationBackedUp,
    /// The migrated records are complete under a temporary name; the store is the old one.
    MigrationWritten,
    /// The migrated records have their name: the store is the new one. What is left of the old one is still there.
    MigrationNamed,
    /// sled and journal of the old store are gone, its checkpoints are still there.
    MigrationClearing,
}

/// A file that is being written.
pub trait OutFile: Send {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the system said; any part may have been written.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written, and the length, survive a power cut.
    ///
    /// # Errors
    /// What the system said; nothing is known then, and a later success of the same call proves nothing.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts or extends.
    ///
    /// # Errors
    /// What the system said.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
}

/// What the journal stands on: this machine, unless an implementation says otherwise.
pub trait Machine: Send + Sync + std::fmt::Debug {
    /// Makes a file that was not there.
    ///
    /// # Errors
    /// It was there, or what the system said.
    fn create(&self, path: &Path) -> io::Result<Box<dyn OutFile>> {
        let file = File::options().write(true).create_new(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    /// Renames, replacing what has the name.
    ///
    /// # Errors
    /// What the system said.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// What the system said.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Makes the names in a directory survive a power cut.
    ///
    /// # Errors
    /// What the system said.
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// Which boot of which machine this is; the page cache lives as long. `None`: cannot be told.
    fn boot(&self) -> Option<String> {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(text.trim().to_owned())
    }

    /// Called at each named point.
    ///
    /// # Errors
    /// A test's, as if the next step had failed.
    fn reached(&self, point: Point) -> io::Result<()> {
        let _none_of_ours = point;
        Ok(())
    }
}

/// The real one.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisMachine;

struct RealFile(File);

impl OutFile for RealFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        // The length counts as data here: fdatasync carries whatever is needed to read the data back.
        self.0.sync_data()?;
        // Somebody removed the data directory beneath us: what is synced here is gone with the last descriptor.
        if names(&self.0)? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the file was deleted",
            ));
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

impl Machine for ThisMachine {}

/// How many names a file has, and nothing else: whoever asks for its times as well, as `fstat` does, has Linux 6.13 and
/// later give the next write a time of its own (multigrain timestamps), and each sync write the inode with the data.
fn names(file: &File) -> io::Result<u64> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, StatxFlags, statx};
        // Where there is no such call (Linux before 4.11, some sandboxes), or it does not say, the other one is asked.
        if let Ok(found) = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::NLINK)
            && StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::NLINK)
        {
            return Ok(found.stx_nlink.into());
        }
    }
    Ok(file.metadata()?.nlink())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_file_that_was_removed_has_no_name() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("file");
        let file = File::create(&path).expect("a file");
        assert_eq!(names(&file).expect("said"), 1);
        fs::hard_link(&path, place.path().join("other")).expect("a second name");
        assert_eq!(names(&file).expect("said"), 2);
        fs::remove_file(place.path().join("other")).expect("removed");
        fs::remove_file(&path).expect("removed");
        assert_eq!(names(&file).expect("said"), 0);
    }

    /// A write takes the time of the system's last tick, unless somebody asked for the time of the one before.
    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "compared with the times that the system gives a file"
    )]
    fn whoever_asks_for_the_names_has_no_write_dated_anew() {
        let place = tempfile::tempdir().expect("a directory");
        let file = File::create(place.path().join("file")).expect("a file");
        // A tick may end between the two writes, but not between all of ten thousand.
        let is_left_alone = |asks: bool| {
            (0..10_000).any(|_| {
                file.write_all_at(b"one", 0).expect("written");
                if asks {
                    assert_eq!(names(&file).expect("said"), 1);
                }
                let between = SystemTime::now();
                file.write_all_at(b"two", 0).expect("written");
                let dated = file.metadata().and_then(|found| found.modified());
                dated.expect("a time") < between
            })
        };
        if !is_left_alone(false) {
            eprintln!("skipped: here each write has a time of its own, whoever asks");
            return;
        }
        assert!(is_left_alone(true));
    }
}
