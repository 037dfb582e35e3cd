//! How a list walks: between bounds, from the newest back, over several sources at once if need be, and no further than
//! a page may look.

use std::iter::Peekable;
use std::ops::Bound;

use sled::IVec;

use crate::domain::{EndpointName, MerchantNo, Timestamp};
use crate::store::embedded::codec::damaged;
use crate::store::embedded::engine::Engine;
use crate::store::embedded::keys::{self, Key, Tree};
use crate::store::{Cursor, Page, PageOf, Scope, StoreError};

/// Records looked at for one page: some ten milliseconds' worth. A filter that seldom matches then gives a short page.
pub(super) const LOOKS: usize = 2_000;

/// Which list a cursor belongs to: its first byte.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum List {
    Callbacks = b'c',
    Events = b'e',
    Deliveries = b'd',
    Verifications = b'v',
    Stuck = b's',
    Users = b'u',
}

/// Where the page before ended.
pub(super) fn after(list: List, page: &PageOf) -> Result<Option<&[u8]>, StoreError> {
    let Some(cursor) = &page.cursor else {
        return Ok(None);
    };
    match cursor.0.split_first() {
        Some((first, place)) if *first == list as u8 && place.len() >= 8 => Ok(Some(place)),
        _ => Err(StoreError::Cursor),
    }
}

/// The first sixteen bytes of a place: an id.
pub(super) fn id_of(place: &[u8]) -> Result<[u8; 16], StoreError> {
    place.first_chunk().copied().ok_or(StoreError::Cursor)
}

/// An id that is before all ids made from `at` on.
fn first_id(at: Timestamp) -> [u8; 16] {
    // Ids hold 48 bits of time, enough for 8,900 years.
    let millis = at.as_millis().min((1 << 48) - 1);
    (u128::from(millis) << 80).to_be_bytes()
}

/// Ids of a stretch of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The first that belongs to it.
    pub(super) from: [u8; 16],
    /// The first that does not any more.
    pub(super) to: Option<[u8; 16]>,
}

impl Span {
    pub(super) fn of(scope: &Scope) -> Self {
        Self {
            from: scope.since.map_or([0; 16], first_id),
            to: scope.until.map(first_id),
        }
    }

    /// Without `id` and what comes after it.
    pub(super) fn before(self, id: Option<[u8; 16]>) -> Self {
        let to = self.to.into_iter().chain(id).min();
        Self { to, ..self }
    }

    pub(super) fn contains(&self, id: &[u8; 16]) -> bool {
        self.from <= *id && self.to.is_none_or(|to| *id < to)
    }

    /// Entries of a tree whose keys are this prefix and an id of this span, maybe with something behind it; the last
    /// first.
    pub(super) fn newest<'a>(
        self,
        engine: &'a Engine,
        tree: Tree,
        prefix: &[u8],
    ) -> Result<Source<'a>, StoreError> {
        let start = Key::of([prefix, &self.from]);
        let end = match self.to {
            Some(to) => Some(Key::of([prefix, &to])),
            None => keys::end_of(prefix),
        };
        backwards(engine, tree, start.into(), end.map(IVec::from))
    }
}

type Entry = Result<(IVec, IVec), StoreError>;

/// Entries in falling order.
pub(super) type Source<'a> = Box<dyn Iterator<Item = Entry> + 'a>;

/// Entries from `start` up to `end`, the last first.
pub(super) fn backwards<'a>(
    engine: &'a Engine,
    tree: Tree,
    start: IVec,
    end: Option<IVec>,
) -> Result<Source<'a>, StoreError> {
    if end.as_ref().is_some_and(|end| *end <= start) {
        return Ok(Box::new(std::iter::empty()));
    }
    let end = end.map_or(Bound::Unbounded, Bound::Excluded);
    let entries = engine.range(tree, Bound::Included(start), end)?;
    Ok(Box::new(entries.rev()))
}

/// A row to look at: its place in the list, and its record if that was read on the way.
pub(super) type Row = (IVec, Option<IVec>);

/// Rows of several sources, each in falling order of place, as one.
pub(super) fn merged<I: Iterator<Item = Result<Row, StoreError>>>(
    sources: Vec<I>,
) -> impl Iterator<Item = Result<Row, StoreError>> {
    let mut sources: Vec<Peekable<I>> = sources.into_iter().map(Iterator::peekable).collect();
    std::iter::from_fn(move || {
        let mut latest: Option<(usize, IVec)> = None;
        for (at, source) in sources.iter_mut().enumerate() {
            match source.peek() {
                Some(Ok((place, _))) if latest.as_ref().is_none_or(|(_, known)| place > known) => {
                    latest = Some((at, place.clone()));
                }
                Some(Err(_)) => {
                    latest = Some((at, IVec::default()));
                    break;
                }
                Some(Ok(_)) | None => {}
            }
        }
        let (at, _) = latest?;
        sources.get_mut(at)?.next()
    })
}

/// Fills a page from rows. `take` gives the item of a row if it belongs on the page.
pub(super) fn fill<T>(
    list: List,
    limit: usize,
    rows: impl Iterator<Item = Result<Row, StoreError>>,
    mut take: impl FnMut(&[u8], Option<IVec>) -> Result<Option<T>, StoreError>,
) -> Result<Page<T>, StoreError> {
    let mut page = Page::default();
    let mut last: Option<IVec> = None;
    for (looked, row) in rows.enumerate() {
        if page.items.len() >= limit.max(1) || looked >= LOOKS {
            page.next = last.map(|place| {
                let mut bytes = vec![list as u8];
                bytes.extend_from_slice(&place);
                Cursor(bytes)
            });
            return Ok(page);
        }
        let (place, value) = row?;
        match take(&place, value) {
            Ok(item) => page.items.extend(item),
            // One damaged record must not hide all the others.
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!(%error, "a list leaves a damaged record out; run verify-store");
            }
            Err(error) => return Err(error),
        }
        last = Some(place);
    }
    Ok(page)
}

/// The merchants that a tree whose keys begin with one has entries of, found by leaping from one to the next.
pub(super) fn merchants(
    engine: &Engine,
    tree: Tree,
    only: Option<&MerchantNo>,
) -> Result<Vec<MerchantNo>, StoreError> {
    if let Some(only) = only {
        return Ok(vec![only.clone()]);
    }
    let mut found = Vec::new();
    let mut from = Some(IVec::default());
    while let Some(start) = from {
        let entries = engine.range(tree, Bound::Included(start), Bound::Unbounded)?;
        let Some(entry) = { entries }.next() else {
            break;
        };
        let (key, _) = entry?;
        let merchant = key
            .first_chunk::<10>()
            .and_then(|bytes| std::str::from_utf8(bytes).ok()?.parse().ok());
        let merchant: MerchantNo = merchant.ok_or_else(|| damaged(tree, &key, "no merchant"))?;
        from = keys::end_of(merchant.as_bytes()).map(IVec::from);
        found.push(merchant);
    }
    Ok(found)
}

/// The endpoints that a tree whose keys begin with one has entries of, found by leaping from one to the next.
pub(in crate::store::embedded) fn endpoints(
    engine: &Engine,
    tree: Tree,
) -> Result<Vec<EndpointName>, StoreError> {
    let mut found = Vec::new();
    let mut from = Bound::Unbounded;
    while let Some(entry) = engine.range(tree, from, Bound::Unbounded)?.next() {
        let (key, _) = entry?;
        let endpoint =
            keys::parse_endpoint(&key).ok_or_else(|| damaged(tree, &key, "no endpoint"))?;
        from = keys::end_of(&keys::endpoint_prefix(&endpoint))
            .map_or(Bound::Unbounded, |end| Bound::Included(end.into()));
        found.push(endpoint);
    }
    Ok(found)
}
