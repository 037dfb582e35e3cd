//! Records as bytes: a version, then postcard. A record that does not parse is an error that names its key, never a
//! panic and never a guess.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sled::IVec;

use super::keys::Tree;
use crate::store::StoreError;

/// What a tree holds. `Stored` is the newest shape on disk; older ones are read by their version.
pub(super) trait Record: Sized {
    /// Where it lives.
    const TREE: Tree;
    /// The newest version.
    const VERSION: u8;
    /// The newest shape.
    type Stored: Serialize + DeserializeOwned;

    /// As it is written.
    fn into_stored(self) -> Self::Stored;

    /// What was written.
    ///
    /// # Errors
    /// What in it cannot be.
    fn from_stored(stored: Self::Stored) -> Result<Self, String>;

    /// What an older version wrote; `None`: there is no such version.
    fn from_older(version: u8, body: &[u8]) -> Option<Result<Self, String>> {
        let _none = (version, body);
        None
    }
}

/// A shape that takes up these bytes to the last.
///
/// # Errors
/// They do not parse, or are left over.
pub(super) fn parse<S: DeserializeOwned>(body: &[u8]) -> Result<S, String> {
    let parsed = postcard::take_from_bytes(body);
    let (stored, rest) = parsed.map_err(|error| error.to_string())?;
    if rest.is_empty() {
        return Ok(stored);
    }
    Err(format!("{} bytes too many", rest.len()))
}

pub(super) fn damaged(tree: Tree, key: &[u8], why: impl ToString) -> StoreError {
    StoreError::Damaged {
        tree: tree.name(),
        key: hex::encode(key),
        why: why.to_string(),
    }
}

/// Most records take less; longer ones are put together on the heap.
const USUAL: usize = 512;

/// The bytes of a record.
pub(super) fn encode<R: Record>(key: &[u8], record: R) -> Result<IVec, StoreError> {
    let versioned = (R::VERSION, record.into_stored());
    let mut short = [0; USUAL];
    let encoded = match postcard::to_slice(&versioned, &mut short) {
        Err(postcard::Error::SerializeBufferFull) => {
            postcard::to_stdvec(&versioned).map(IVec::from)
        }
        encoded => encoded.map(|bytes| IVec::from(&*bytes)),
    };
    encoded.map_err(|error| damaged(R::TREE, key, error))
}

/// The record of these bytes.
///
/// # Errors
/// A version we do not know, bytes that do not parse or are left over, or values that cannot be.
pub(super) fn decode<R: Record>(key: &[u8], bytes: &[u8]) -> Result<R, StoreError> {
    let (version, body) = bytes
        .split_first()
        .ok_or_else(|| damaged(R::TREE, key, "it is empty"))?;
    let record = if *version == R::VERSION {
        parse(body).and_then(R::from_stored)
    } else {
        R::from_older(*version, body)
            .unwrap_or_else(|| Err(format!("version {version} is not known")))
    };
    record.map_err(|why| damaged(R::TREE, key, why))
}
