//! A part of a fan-out, and a list of endpoints, on disk. A part's event and number are in its key, a list's digest in its own.

use serde::{Deserialize, Serialize};

use super::names::Name;
use crate::domain::EndpointName;
use crate::store::embedded::codec::{Record, parse};
use crate::store::embedded::fanout::lists::{List, ListId};
use crate::store::embedded::fanout::{Part, Rest, Target};
use crate::store::embedded::keys::Tree;

/// Endpoints, and whether a user's results go to each one after the other.
#[derive(Serialize, Deserialize)]
pub(crate) struct TargetsV1(Vec<(Name<EndpointName>, bool)>);

#[derive(Serialize, Deserialize)]
pub(crate) enum PartV2 {
    Named(TargetsV1),
    Of {
        list: ListId,
        from: u32,
        told: Vec<u32>,
    },
}

impl TargetsV1 {
    fn of(targets: Vec<Target>) -> Self {
        let targets = targets.into_iter();
        let stored = targets.map(|target| (Name::of(target.endpoint), target.ordered));
        Self(stored.collect())
    }

    fn read(self) -> Result<Vec<Target>, String> {
        let target = |(endpoint, ordered): (Name<EndpointName>, bool)| {
            let endpoint = endpoint.read()?;
            Ok(Target { endpoint, ordered })
        };
        self.0.into_iter().map(target).collect()
    }
}

impl Record for Part {
    const TREE: Tree = Tree::FanOut;
    const VERSION: u8 = 2;
    type Stored = PartV2;

    fn into_stored(self) -> PartV2 {
        match self {
            Self::Named(targets) => PartV2::Named(TargetsV1::of(targets)),
            Self::Of(Rest { list, from, told }) => PartV2::Of { list, from, told },
        }
    }

    fn from_stored(stored: PartV2) -> Result<Self, String> {
        Ok(match stored {
            PartV2::Named(targets) => Self::Named(targets.read()?),
            PartV2::Of { list, from, told } => Self::Of(Rest { list, from, told }),
        })
    }

    /// Parts were all named.
    fn from_older(version: u8, body: &[u8]) -> Option<Result<Self, String>> {
        let named = || parse::<TargetsV1>(body)?.read().map(Self::Named);
        (version == 1).then(named)
    }
}

impl Record for List {
    const TREE: Tree = Tree::FanOutLists;
    const VERSION: u8 = 1;
    type Stored = TargetsV1;

    fn into_stored(self) -> TargetsV1 {
        TargetsV1::of(self.targets)
    }

    fn from_stored(stored: TargetsV1) -> Result<Self, String> {
        let targets = stored.read()?;
        Ok(Self { targets })
    }
}
