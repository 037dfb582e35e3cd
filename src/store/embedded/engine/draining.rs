//! From memory into sled: sealing the active layer, writing it, and who is told when that fails.
//!
//! Promise: a layer is read until all of it is in sled, and only what the journal has synced goes there.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::patience::Patience;
use super::{Engine, Open, SEQUENCE, as_io, locked};
use crate::store::embedded::keys::Tree;
use crate::store::embedded::memory::Layer;

/// What the thread that writes to sled is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    Idle,
    Wanted,
    Over,
}

/// While it lives every group is synced.
#[derive(Debug)]
pub(in crate::store::embedded) struct Strictly<'a>(&'a Engine);

impl Drop for Strictly<'_> {
    fn drop(&mut self) {
        self.0.strict.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// Seals the active layer if the one before is in sled, and all of it is synced.
    pub(super) fn seal(&self, _applying: &MutexGuard<'_, ()>) {
        let mut recent = self.change();
        if recent.sealed.is_some() || recent.is_loose || recent.active.sequence == 0 {
            return;
        }
        recent.sealed = Some(Arc::new(std::mem::take(&mut recent.active)));
        drop(recent);
        let mut drain = locked(&self.drain);
        if *drain == Drain::Idle {
            *drain = Drain::Wanted;
            self.rung.notify_one();
        }
    }

    /// Puts the sealed layer, if there is one, into sled.
    ///
    /// # Errors
    /// What sled said. The layer stays where it is, and is read as before.
    pub(super) fn drain(&self) -> io::Result<()> {
        let _one = locked(&self.draining);
        let Some(sealed) = self.recent().sealed.clone() else {
            return Ok(());
        };
        let open = self.open()?;
        let attempt = AssertUnwindSafe(|| write(&open, &sealed));
        std::panic::catch_unwind(attempt)
            .unwrap_or_else(|_panic| Err(io::Error::other("sled panicked")))?;
        let mut recent = self.change();
        recent.sealed = None;
        recent.drained = sealed.sequence;
        Ok(())
    }

    /// Puts sealed layers into sled, each when it is there, until [`Engine::end_drain`]. For a thread of its own.
    /// Whoever commits next finds in [`Engine::trouble`] what failed.
    pub(in crate::store::embedded) fn drain_until_end(&self) {
        let mut drain = locked(&self.drain);
        loop {
            match *drain {
                Drain::Over => return,
                Drain::Idle => {
                    drain = (self.rung.wait(drain)).unwrap_or_else(PoisonError::into_inner);
                }
                Drain::Wanted => {
                    *drain = Drain::Idle;
                    drop(drain);
                    if let Err(error) = self.drain() {
                        *locked(&self.trouble) = Some(error);
                    }
                    drain = locked(&self.drain);
                }
            }
        }
    }

    /// Why sled did not take what was drained lately, told once.
    pub(in crate::store::embedded) fn trouble(&self) -> Option<io::Error> {
        locked(&self.trouble).take()
    }

    /// The journal has synced everything applied so far, as of `sequence`.
    pub(in crate::store::embedded) fn settled(&self, sequence: u64) {
        let _applying = locked(&self.applying);
        self.change().apply(Vec::new(), Some(sequence));
    }

    /// Lets [`Engine::drain_until_end`] return.
    pub(in crate::store::embedded) fn end_drain(&self) {
        *locked(&self.drain) = Drain::Over;
        self.rung.notify_all();
    }

    /// From the next group on every one is synced, as long as the guard lives.
    pub(in crate::store::embedded) fn strictly(&self) -> Strictly<'_> {
        self.strict.fetch_add(1, Ordering::Relaxed);
        Strictly(self)
    }

    /// Whether every group is to be synced.
    pub(in crate::store::embedded) fn is_strict(&self) -> bool {
        self.strict.load(Ordering::Relaxed) > 0
    }

    /// Pushes everything applied so far into sled and to the disk itself. All of it must be synced in the journal.
    ///
    /// # Errors
    /// What sled or the disk said, or that there are changes which the journal has not synced.
    pub(in crate::store::embedded) fn sync(&self) -> io::Result<()> {
        self.sync_when(|| Err(io::Error::other("the journal is not synced up to here")))
    }

    /// Like [`Engine::sync`] while groups go on: waits for the journal. Not for the thread that syncs that.
    ///
    /// # Errors
    /// What sled or the disk said, or that `stop` said so.
    pub(in crate::store::embedded) fn sync_beside_groups(
        &self,
        stop: impl Fn() -> bool,
    ) -> io::Result<()> {
        let _strictly = self.strictly();
        let patience = Patience::new();
        self.sync_when(|| patience.wait(&stop))
    }

    fn sync_when(&self, wait: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let target = self.sequence();
        // Each round puts a layer into sled, ours or one that was sealed in between.
        loop {
            let recent = self.recent();
            if recent.drained >= target {
                break;
            }
            let waits = recent.is_loose && recent.sealed.is_none();
            drop(recent);
            if waits {
                wait()?;
                continue;
            }
            self.seal(&locked(&self.applying));
            self.drain()?;
        }
        let open = self.open()?;
        open.db.flush().map_err(as_io)?;
        open.data.sync_data()
    }
}

/// Writes a layer, the sequence last: whatever part of it a killed process leaves behind, the sequence is the old one.
fn write(open: &Open, layer: &Layer) -> io::Result<()> {
    for (tree, changes) in layer.changes() {
        let changes = changes.map(|(key, value)| (key.as_ref(), value.map(AsRef::as_ref)));
        open.tree(tree)?.write(changes)?;
    }
    let sequence = layer.sequence.to_be_bytes();
    let meta = open.tree(Tree::Meta)?;
    meta.write(std::iter::once((SEQUENCE, Some(sequence.as_slice()))))
}
