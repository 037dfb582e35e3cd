//! What came of opening a store: why it did not open, or what was found on the way.

use std::io;
use std::path::PathBuf;

use super::journal::reading::JournalError;
use crate::store::StoreError;

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data directory {} is in use by {holder}", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// `process 4711`, or `another process`.
        holder: String,
    },
    /// A newer version wrote it.
    #[error("the store in {} has schema {found}, this version knows up to {known}", path.display())]
    Newer {
        /// The data directory.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A newer version wrote it, in a format of its files that is not known here.
    #[error("the store in {} has files of format {found}, this version knows up to {known}", path.display())]
    NewerFormat {
        /// The data directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// An older version wrote it, and there is no way from there.
    #[error("the store in {} has schema {found}, this version has schema {known} and cannot migrate from there", path.display())]
    Older {
        /// The data directory.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The directory cannot be used.
    #[error("the data directory {} cannot be used", path.display())]
    Directory {
        /// The data directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it makes no sense, and there is nothing to make it again from.
    #[error("the store in {} is damaged: {why}", path.display())]
    Damaged {
        /// The data directory.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The journal or a checkpoint is damaged where it is needed. Nothing was changed.
    #[error("the journal of the store in {} cannot be read to its end", path.display())]
    Journal {
        /// The data directory.
        path: PathBuf,
        /// File, offset, and what can be read.
        source: JournalError,
    },
    /// Reading or writing while opening failed.
    #[error("the store in {} could not be prepared", path.display())]
    Store {
        /// The data directory.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
}

/// Why sled was made again from checkpoint and journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuilt {
    /// It was not there.
    Missing,
    /// The machine went down while it was open.
    PowerCut,
    /// It did not open, or what is in it makes no sense.
    Damaged,
    /// It is not where it must be by what was noted: an older state.
    Older,
    /// The store was migrated to the schema of this version.
    Migrated,
    /// An older version made it; what is in it is laid out otherwise now.
    Layout,
}

/// What was found on opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The store was made just now.
    pub is_new: bool,
    /// Work that a process which is gone had claimed, given back.
    pub released: usize,
    /// Groups that sled did not have yet.
    pub replayed: u64,
    /// The schema from which the store was migrated.
    pub migrated: Option<u32>,
    /// sled was made again.
    pub rebuilt: Option<Rebuilt>,
    /// The journal ended in a group that was being written and was not acknowledged.
    pub torn: bool,
    /// sled had more than the journal, which was moved aside.
    pub journal_replaced: bool,
}
