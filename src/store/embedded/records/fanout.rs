//! A part of a fan-out on disk. Its event and its number are in its key.

use serde::{Deserialize, Serialize};

use super::numbers::parsed;
use crate::store::embedded::codec::Record;
use crate::store::embedded::fanout::{Part, Target};
use crate::store::embedded::keys::Tree;

#[derive(Serialize, Deserialize)]
pub(crate) struct PartV1 {
    /// Each endpoint, and whether a user's results go to it one after the other.
    targets: Vec<(String, bool)>,
}

impl Record for Part {
    const TREE: Tree = Tree::FanOut;
    const VERSION: u8 = 1;
    type Stored = PartV1;

    fn into_stored(self) -> PartV1 {
        let targets = self.targets.into_iter();
        let targets = targets.map(|target| (target.endpoint.as_str().to_owned(), target.ordered));
        PartV1 {
            targets: targets.collect(),
        }
    }

    fn from_stored(stored: PartV1) -> Result<Self, String> {
        let targets = stored.targets.into_iter().map(|(endpoint, ordered)| {
            Ok::<_, String>(Target {
                endpoint: parsed(&endpoint)?,
                ordered,
            })
        });
        Ok(Self {
            targets: targets.collect::<Result<_, _>>()?,
        })
    }
}
