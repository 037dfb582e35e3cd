//! The lists of the embedded store.
//!
//! Promise: a page costs what it looks at, whatever else is stored: time is a bound on keys, since ids begin with it;
//! a user's part is read by user, what is unsettled by its index. Nothing is read under a lock; a record that goes
//! while a page is made is left out.

mod deliveries;
mod walking;

use std::ops::Bound;

use async_trait::async_trait;
use sled::IVec;

use self::walking::{List, Row, Span, after, backwards, fill, id_of, merchants, merged};
use super::codec::{self, Record, damaged};
use super::engine::Engine;
use super::keys::{self, Tree};
use super::{SledStore, reading, tallies};
use crate::domain::{
    Callback, CallbackId, Event, EventContent, EventId, EventKind, MerchantNo, UserId, UserState,
    Verification, VerifyPhase,
};
use crate::store::{
    CallbackState, DeliveryFilter, FoundUser, ListedDelivery, ListedVerification, Lists, Page,
    PageOf, Scope, StoreError, Tallies, Told,
};

pub(super) use self::walking::endpoints;

fn get<R: Record>(engine: &Engine, key: &[u8]) -> Result<Option<R>, StoreError> {
    let stored = engine.get(R::TREE, key)?;
    stored.map(|bytes| codec::decode(key, &bytes)).transpose()
}

/// The record of a row, read already or not.
fn record<R: Record>(
    engine: &Engine,
    key: &[u8],
    read: Option<IVec>,
) -> Result<Option<R>, StoreError> {
    match read {
        Some(bytes) => codec::decode(key, &bytes).map(Some),
        None => get(engine, key),
    }
}

/// Rows of a tree of records.
fn as_is(entry: Result<(IVec, IVec), StoreError>) -> Result<Row, StoreError> {
    entry.map(|(key, value)| (key, Some(value)))
}

/// Rows of an index whose keys end with an id.
fn by_id(
    tree: Tree,
) -> impl Fn(Result<(IVec, IVec), StoreError>) -> Result<Row, StoreError> + Copy {
    move |entry| {
        let (key, _) = entry?;
        let id = keys::trailing_id(&key).ok_or_else(|| damaged(tree, &key, "no id in it"))?;
        Ok(((&id).into(), None))
    }
}

fn callbacks(
    engine: &Engine,
    scope: &Scope,
    state: Option<CallbackState>,
    page: &PageOf,
) -> Result<Page<Callback>, StoreError> {
    let last = after(List::Callbacks, page)?.map(id_of).transpose()?;
    let span = Span::of(scope).before(last);
    let wanted = |callback: &Callback| {
        let merchant = scope.merchant.as_ref();
        merchant.is_none_or(|only| *only == callback.merchant)
            && (scope.user.is_none() || scope.user == callback.user)
            && state.is_none_or(|state| state.takes(callback))
    };
    let take = |id: &[u8], read| Ok(record(engine, id, read)?.filter(wanted));
    let mut sources = Vec::new();
    let merchant = scope.merchant.as_ref();
    if let Some(user) = &scope.user {
        let tree = Tree::CallbacksByUser;
        for merchant in merchants(engine, tree, merchant)? {
            let prefix = keys::user_prefix(&merchant, user);
            sources.push(span.newest(engine, tree, &prefix)?.map(by_id(tree)));
        }
    } else if state == Some(CallbackState::Unrecognized) {
        let tree = Tree::Unrecognized;
        for merchant in merchants(engine, tree, merchant)? {
            for token in [false, true] {
                let prefix = keys::unrecognized_prefix(&merchant, token);
                sources.push(span.newest(engine, tree, &prefix)?.map(by_id(tree)));
            }
        }
    } else {
        let rows = span.newest(engine, Tree::Callbacks, &[])?.map(as_is);
        return fill(List::Callbacks, page.limit, rows, take);
    }
    fill(List::Callbacks, page.limit, merged(sources), take)
}

/// The ids of a user's events within a span, the newest first. One user has few.
fn events_of(
    engine: &Engine,
    merchant: Option<&MerchantNo>,
    user: &UserId,
    span: Span,
) -> Result<Vec<[u8; 16]>, StoreError> {
    let tree = Tree::EventsByUser;
    let mut ids = Vec::new();
    for merchant in merchants(engine, tree, merchant)? {
        for entry in engine.prefix(tree, &keys::user_prefix(&merchant, user))? {
            let (key, value) = entry?;
            let id =
                keys::trailing_id(&value).ok_or_else(|| damaged(tree, &key, "not an event id"))?;
            ids.extend(Some(id).filter(|id| span.contains(id)));
        }
    }
    ids.sort_unstable_by(|one, other| other.cmp(one));
    Ok(ids)
}

fn events(
    engine: &Engine,
    scope: &Scope,
    kinds: &[EventKind],
    page: &PageOf,
) -> Result<Page<Event>, StoreError> {
    let last = after(List::Events, page)?.map(id_of).transpose()?;
    let span = Span::of(scope).before(last);
    let merchant = scope.merchant.as_ref();
    let wanted = |event: &Event| {
        (kinds.is_empty() || kinds.contains(&event.kind())) && is_within(event, scope)
    };
    let take = |id: &[u8], read| Ok(record(engine, id, read)?.filter(wanted));
    match &scope.user {
        Some(user) => {
            let ids = events_of(engine, merchant, user, span)?;
            let rows = ids.into_iter().map(|id| Ok(((&id).into(), None)));
            fill(List::Events, page.limit, rows, take)
        }
        None => {
            let rows = span.newest(engine, Tree::Events, &[])?.map(as_is);
            fill(List::Events, page.limit, rows, take)
        }
    }
}

/// Whether an event is of the merchant and user that are asked for. News of the relay itself have no user.
fn is_within(event: &Event, scope: &Scope) -> bool {
    let user = match &event.content {
        EventContent::Result(result) => Some(&result.user),
        EventContent::Operational(_) => None,
    };
    (scope.merchant.is_none() || scope.merchant.as_ref() == event.merchant())
        && (scope.user.is_none() || scope.user.as_ref() == user)
}

fn verifications(
    engine: &Engine,
    scope: &Scope,
    page: &PageOf,
) -> Result<Page<ListedVerification>, StoreError> {
    let tree = Tree::Verifications;
    let last = after(List::Verifications, page)?;
    let take = |key: &[u8], read| listed(engine, key, read, scope, false);
    let key_of = |user, merchants: Vec<MerchantNo>| {
        let keys = merchants
            .into_iter()
            .map(move |merchant| keys::user(&merchant, user));
        keys.map(|key| Ok((key.into(), None)))
    };
    if let Some(user) = &scope.user {
        let merchants = merchants(engine, tree, scope.merchant.as_ref())?;
        return fill(
            List::Verifications,
            usize::MAX,
            key_of(user, merchants),
            take,
        );
    }
    let prefix = scope
        .merchant
        .as_ref()
        .map_or(&[][..], |only| only.as_bytes());
    let rows = forwards(engine, tree, prefix, last)?;
    fill(List::Verifications, page.limit, rows.map(as_is), take)
}

fn stuck(
    engine: &Engine,
    scope: &Scope,
    page: &PageOf,
) -> Result<Page<ListedVerification>, StoreError> {
    let last = after(List::Stuck, page)?;
    let time = |at: crate::domain::Timestamp| IVec::from(&at.as_millis().to_be_bytes());
    let start = scope.since.map_or_else(IVec::default, time);
    let until = scope.until.map(time);
    let end = until.into_iter().chain(last.map(IVec::from)).min();
    let rows = backwards(engine, Tree::Stuck, start, end)?;
    let rows = rows.map(|entry| entry.map(|(key, _)| (key, None)));
    fill(List::Stuck, page.limit, rows, |place, _| {
        let key = place.get(8..).unwrap_or_default();
        listed(engine, key, None, scope, true)
    })
}

fn listed(
    engine: &Engine,
    key: &[u8],
    read: Option<IVec>,
    scope: &Scope,
    only_stuck: bool,
) -> Result<Option<ListedVerification>, StoreError> {
    let Some(verification) = record::<Verification>(engine, key, read)? else {
        return Ok(None);
    };
    let (merchant, user) = keys::parse_user(key)
        .ok_or_else(|| damaged(Tree::Verifications, key, "no merchant and user"))?;
    let since = match verification.phase {
        VerifyPhase::Stuck { at } if only_stuck => at,
        VerifyPhase::Seeking { .. } if only_stuck => return Ok(None),
        _ => verification.since,
    };
    let is_wanted = scope.merchant.as_ref().is_none_or(|only| *only == merchant)
        && scope.user.as_ref().is_none_or(|only| *only == user)
        && scope.since.is_none_or(|from| from <= since)
        && scope.until.is_none_or(|to| since < to);
    Ok(is_wanted.then_some(ListedVerification {
        merchant,
        user,
        verification,
    }))
}

/// Entries with this prefix after a key, in key order.
fn forwards<'a>(
    engine: &'a Engine,
    tree: Tree,
    prefix: &[u8],
    after: Option<&[u8]>,
) -> Result<impl Iterator<Item = Result<(IVec, IVec), StoreError>> + use<'a>, StoreError> {
    let end = keys::end_of(prefix);
    let is_over = matches!((&end, after), (Some(end), Some(after)) if *after >= **end);
    let start = match after.filter(|after| *after >= prefix) {
        Some(after) => Bound::Excluded(after.into()),
        None => Bound::Included(prefix.into()),
    };
    let end = end.map_or(Bound::Unbounded, |end| Bound::Excluded(end.into()));
    let entries = if is_over {
        None
    } else {
        Some(engine.range(tree, start, end)?)
    };
    Ok(entries.into_iter().flatten())
}

fn users(
    engine: &Engine,
    merchant: Option<&MerchantNo>,
    prefix: &str,
    page: &PageOf,
) -> Result<Page<FoundUser>, StoreError> {
    let last = after(List::Users, page)?;
    let mut all = merchants(engine, Tree::Users, merchant)?;
    all.extend(merchants(engine, Tree::Verifications, merchant)?);
    all.sort_unstable();
    all.dedup();
    let mut rows: Vec<Result<Row, StoreError>> = Vec::new();
    let enough = page.limit.max(1).saturating_add(1);
    for merchant in all {
        let own = [merchant.as_bytes(), prefix.as_bytes()].concat();
        let mut found = std::collections::BTreeSet::new();
        for tree in [Tree::Users, Tree::Verifications] {
            for entry in forwards(engine, tree, &own, last)?.take(enough) {
                found.insert(entry?.0);
            }
        }
        rows.extend(found.into_iter().map(|key| Ok((key, None))));
        if rows.len() >= enough {
            break;
        }
    }
    fill(List::Users, page.limit, rows.into_iter(), |key, _| {
        let (merchant, user) = keys::parse_user(key)
            .ok_or_else(|| damaged(Tree::Users, key, "no merchant and user"))?;
        Ok(Some(FoundUser {
            merchant,
            user,
            state: get::<UserState>(engine, key)?,
            verification: get::<Verification>(engine, key)?,
        }))
    })
}

#[async_trait]
impl Lists for SledStore {
    async fn callbacks(
        &self,
        scope: Scope,
        state: Option<CallbackState>,
        page: PageOf,
    ) -> Result<Page<Callback>, StoreError> {
        self.read(move |engine| callbacks(engine, &scope, state, &page))
            .await
    }

    async fn events(
        &self,
        scope: Scope,
        kinds: Vec<EventKind>,
        page: PageOf,
    ) -> Result<Page<Event>, StoreError> {
        self.read(move |engine| events(engine, &scope, &kinds, &page))
            .await
    }

    async fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: PageOf,
    ) -> Result<Page<ListedDelivery>, StoreError> {
        self.read(move |engine| deliveries::list(engine, &filter, &page))
            .await
    }

    async fn verifications(
        &self,
        scope: Scope,
        only_stuck: bool,
        page: PageOf,
    ) -> Result<Page<ListedVerification>, StoreError> {
        let list = if only_stuck { stuck } else { verifications };
        self.read(move |engine| list(engine, &scope, &page)).await
    }

    async fn users(
        &self,
        merchant: Option<MerchantNo>,
        prefix: String,
        page: PageOf,
    ) -> Result<Page<FoundUser>, StoreError> {
        self.read(move |engine| users(engine, merchant.as_ref(), &prefix, &page))
            .await
    }

    async fn callback(&self, id: CallbackId) -> Result<Option<Callback>, StoreError> {
        self.read(move |engine| get(engine, &id.to_bytes())).await
    }

    async fn event(&self, id: EventId) -> Result<Option<(Event, Vec<Told>)>, StoreError> {
        self.read(move |engine| reading::event(engine, id)).await
    }

    async fn tallies(&self) -> Result<Tallies, StoreError> {
        self.read(tallies::read).await
    }
}
