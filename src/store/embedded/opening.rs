//! Opening a store: the lock, the leftovers, the schema, the leases of a process that is gone.
//!
//! Guards, each against something measured (`docs/durability.md`): a new store is made aside and renamed into place;
//! `snap.*.generating`, left by a kill during an opening, is removed; damage panics inside sled and is caught here.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use super::EmbeddedSettings;
use super::codec::damaged;
use super::delivering;
use super::engine::{Engine, as_io};
use super::keys::{self, Tree};
use super::txn::{Room, Txn};
use crate::domain::{Delivery, DeliveryState, Timestamp, Verification, VerifyLane};
use crate::store::StoreError;

/// The shape of everything in the store. A newer one is refused; an older one would be migrated here.
const SCHEMA: u32 = 1;

/// sled's directory inside the data directory.
const SLED: &str = "sled";

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
    /// The directory cannot be used.
    #[error("the data directory {} cannot be used", path.display())]
    Directory {
        /// The data directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// sled does not open it, or what is in it makes no sense.
    #[error("the store in {} is damaged: {why}", path.display())]
    Damaged {
        /// The data directory.
        path: PathBuf,
        /// What was found.
        why: String,
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

/// What was found on opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The store was made just now.
    pub is_new: bool,
    /// Work that a process which is gone had claimed, given back.
    pub released: usize,
}

pub(super) fn open(
    settings: &EmbeddedSettings,
    now: Timestamp,
) -> Result<(Engine, OpenReport), OpenError> {
    let path = settings.path.as_path();
    let unusable = |source| OpenError::Directory {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(path).map_err(unusable)?;
    let lock = take_lock(path)?;
    let directory = path.join(SLED);
    let is_new = !directory.exists();
    if is_new {
        make_new(path, settings).map_err(|why| why.into_open(path))?;
    }
    remove_leftovers(&directory).map_err(unusable)?;
    let db = open_sled(&directory, settings.cache).map_err(|why| why.into_open(path))?;
    let engine = std::panic::catch_unwind(AssertUnwindSafe(|| Engine::new(db, &directory, lock)))
        .map_err(|_panic| damage(path, "sled panicked while its trees were opened"))?
        .map_err(unusable)?;
    check_schema(&engine, path)?;
    let failed = |source| OpenError::Store {
        path: path.to_owned(),
        source,
    };
    let released = release_leases(&engine, now).map_err(failed)?;
    Ok((engine, OpenReport { is_new, released }))
}

fn damage(path: &Path, why: &str) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

/// Our own lock, because its message can name the holder; sled's comes second.
fn take_lock(path: &Path) -> Result<File, OpenError> {
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

enum Failure {
    Io(io::Error),
    Damage(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Failure {
    fn into_open(self, path: &Path) -> OpenError {
        match self {
            Self::Io(source) => OpenError::Directory {
                path: path.to_owned(),
                source,
            },
            Self::Damage(why) => damage(path, &why),
        }
    }
}

fn open_sled(directory: &Path, cache: u64) -> Result<sled::Db, Failure> {
    let config = sled::Config::new().path(directory).cache_capacity(cache);
    match std::panic::catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(source))) => Err(Failure::Io(source)),
        Ok(Err(other)) => Err(Failure::Damage(other.to_string())),
        Err(_panic) => Err(Failure::Damage("sled panicked while opening it".to_owned())),
    }
}

/// A cut during the very first opening can leave a directory that never opens: so it is made aside, synced, and
/// renamed into place.
fn make_new(path: &Path, settings: &EmbeddedSettings) -> Result<(), Failure> {
    let aside = path.join("sled.new");
    if aside.exists() {
        fs::remove_dir_all(&aside)?;
    }
    let db = open_sled(&aside, settings.cache)?;
    for tree in Tree::ALL {
        db.open_tree(tree.name()).map_err(as_io)?;
    }
    let meta = db.open_tree(Tree::Meta.name()).map_err(as_io)?;
    meta.insert(b"schema", &SCHEMA.to_be_bytes())
        .map_err(as_io)?;
    drop(meta);
    db.flush().map_err(as_io)?;
    drop(db);
    sync_tree(&aside)?;
    fs::rename(&aside, path.join(SLED))?;
    File::open(path)?.sync_all()?;
    Ok(())
}

fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(directory)?.sync_all()
}

/// A kill while sled opened leaves a half-written snapshot that makes every later opening fail.
fn remove_leftovers(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            tracing::warn!(file = %name, "removing a snapshot that was being written when the process ended");
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn check_schema(engine: &Engine, path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Store {
        path: path.to_owned(),
        source,
    };
    let stored = engine.get(Tree::Meta, b"schema").map_err(failed)?;
    let found = stored
        .as_deref()
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_be_bytes)
        .ok_or_else(|| damage(path, "it has no schema number"))?;
    match found {
        SCHEMA => Ok(()),
        newer if newer > SCHEMA => Err(OpenError::Newer {
            path: path.to_owned(),
            found: newer,
            known: SCHEMA,
        }),
        _ => Err(damage(path, "its schema number was never in use")),
    }
}

/// We hold the lock, so nobody else holds a lease: what was claimed when the last process ended is due now.
fn release_leases(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    let mut txn = Txn::new(
        engine,
        Room {
            free: 0,
            min_free: 0,
        },
    );
    let mut released = 0;
    for entry in engine.prefix(Tree::VerifyDue, &[])? {
        let (key, _) = entry?;
        if !keys::verify_due_is_leased(&key) {
            continue;
        }
        release_verification(&mut txn, &key, now)?;
        released += 1;
    }
    for endpoint in endpoints(engine)? {
        for entry in engine.prefix(
            Tree::DeliveryDue,
            &keys::delivery_due_prefix(&endpoint, true),
        )? {
            let (key, _) = entry?;
            let (_, event) = keys::parse_delivery_due(&key)
                .ok_or_else(|| damaged(Tree::DeliveryDue, &key, "not a due time and an event"))?;
            let before: Option<Delivery> = txn.get(&keys::delivery(event, &endpoint))?;
            let Some(before) = before.filter(Delivery::is_pending) else {
                continue;
            };
            delivering::record_interrupted(&mut txn, &before, now)?;
            let after = Delivery {
                state: DeliveryState::Waiting { due: now },
                ..before.clone()
            };
            delivering::move_place(&mut txn, &before, &after)?;
            released += 1;
        }
    }
    let (changes, _nobody_listens_yet) = txn.finish();
    if !changes.is_empty() {
        engine
            .write(&changes)
            .map_err(|error| StoreError::Write(error.into()))?;
    }
    Ok(released)
}

fn release_verification(txn: &mut Txn<'_>, key: &[u8], now: Timestamp) -> Result<(), StoreError> {
    let merchant = key
        .get(..10)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| damaged(Tree::VerifyDue, key, "no merchant"))?;
    let lane = if key.get(10) == Some(&0) {
        VerifyLane::Main
    } else {
        VerifyLane::Open
    };
    let prefix = keys::verify_leased_prefix(&merchant, lane);
    let (_, user) = keys::parse_verify_due(&prefix, key)
        .ok_or_else(|| damaged(Tree::VerifyDue, key, "not a due time and a user"))?;
    let before: Option<Verification> = txn.get(&keys::user(&merchant, &user))?;
    let Some(before) = before else { return Ok(()) };
    let after = before.clone().released(now);
    super::accepting::replace(txn, &merchant, &user, Some(&before), Some(after))
}

/// The endpoints that have anything pending, found by leaping from one to the next.
fn endpoints(engine: &Engine) -> Result<Vec<crate::domain::EndpointName>, StoreError> {
    use std::ops::Bound;
    let mut found = Vec::new();
    let mut from = Bound::Unbounded;
    while let Some(entry) = engine
        .range(Tree::DeliveryDue, from, Bound::Unbounded)?
        .next()
    {
        let (key, _) = entry?;
        let endpoint = keys::parse_endpoint(&key)
            .ok_or_else(|| damaged(Tree::DeliveryDue, &key, "no endpoint"))?;
        from = keys::end_of(&keys::endpoint_prefix(&endpoint))
            .map_or(Bound::Unbounded, Bound::Included);
        found.push(endpoint);
    }
    Ok(found)
}
