//! A key while it is built: on the stack, as most are short and few are kept.

use std::ops::Deref;

use sled::IVec;
use smallvec::SmallVec;

/// Bytes that a key may have before it moves to the heap: an endpoint's name, a merchant, a user's id and a number fit,
/// unless the names are long.
const USUAL: usize = 72;

/// A key, or what keys begin with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store::embedded) struct Key(SmallVec<[u8; USUAL]>);

impl Key {
    /// One part after the other.
    pub(in crate::store::embedded) fn of<const N: usize>(parts: [&[u8]; N]) -> Self {
        let mut bytes = SmallVec::new();
        for part in parts {
            bytes.extend_from_slice(part);
        }
        Self(bytes)
    }

    /// With one more part.
    pub(in crate::store::embedded) fn and(mut self, part: &[u8]) -> Self {
        self.0.extend_from_slice(part);
        self
    }

    /// The first key that does not begin with this; `None`: there is none.
    pub(super) fn end(mut self) -> Option<Self> {
        while let Some(last) = self.0.pop() {
            if let Some(next) = last.checked_add(1) {
                self.0.push(next);
                return Some(self);
            }
        }
        None
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Key> for IVec {
    fn from(key: Key) -> Self {
        Self::from(&*key)
    }
}

impl From<&Key> for IVec {
    fn from(key: &Key) -> Self {
        Self::from(&**key)
    }
}
