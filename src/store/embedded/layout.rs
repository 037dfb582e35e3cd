//! Where our trees lie in sled: each in a tree of blocks, under a name that no version before blocks used.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::blocks::{Blocks, Shared};
use super::engine::as_io;
use super::keys::Tree;
use super::machine::Machine;
use super::rebuild;

/// Why a sled of before is not opened.
pub(super) const FLAT: &str = "its entries do not lie in blocks; an older version made it";

/// Where it waits until it was made again.
const ASIDE: &str = "sled.before-blocks";

/// The trees of a database, in the order of their codes.
pub(super) fn trees(db: &sled::Db) -> io::Result<Vec<Blocks>> {
    let shared = Arc::new(Shared::new(db).map_err(as_io)?);
    let open = |tree: &Tree| {
        let stored = db.open_tree(tree.stored_name()).map_err(as_io)?;
        Blocks::new(stored, tree.block_size(), Arc::clone(&shared))
    };
    Tree::ALL.iter().map(open).collect()
}

/// One of those.
pub(super) fn of(trees: &[Blocks], tree: Tree) -> io::Result<&Blocks> {
    let found = trees.get(usize::from(tree as u8));
    found.ok_or_else(|| io::Error::other("no such tree"))
}

/// Whether an older version made a database, in which each of our entries was one of sled's.
pub(super) fn is_flat(db: &sled::Db) -> bool {
    let name = Tree::Meta.name().as_bytes();
    db.tree_names().iter().any(|tree| tree.as_ref() == name)
}

/// Moves a sled that an older version made out of the way.
pub(super) fn set_aside(path: &Path, machine: &dyn Machine) -> io::Result<()> {
    tracing::info!("sled is made again: an older version made it, without blocks");
    rebuild::set_aside(path, ASIDE, machine)
}

/// Removes it, once it was made again.
pub(super) fn forget(path: &Path) {
    match fs::remove_dir_all(path.join(ASIDE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, left = ASIDE, "the old sled could not be removed; nothing in it is needed");
        }
        _ => {}
    }
}

impl Tree {
    /// How large its blocks become, in bytes. Where keys follow time, a block is written once and full; where they
    /// follow users, each change writes a block anew.
    pub(super) const fn block_size(self) -> usize {
        match self {
            Self::Callbacks
            | Self::VerifyDue
            | Self::Events
            | Self::Deliveries
            | Self::DeliveryDue
            | Self::Attempts
            | Self::Jobs
            | Self::Unsettled
            | Self::FanOut
            | Self::Stuck => 4096,
            Self::Meta
            | Self::CallbacksByUser
            | Self::Unrecognized
            | Self::Verifications
            | Self::Users
            | Self::Queries
            | Self::EventsByUser
            | Self::DeliveryLine
            | Self::Endpoints
            | Self::FanOutLists => 1024,
        }
    }
}
