//! Fills a store through its own use cases: callbacks accepted, verified as approved, their deliveries waiting, or none
//! to be made.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use vexora_relay::clock::{Clock, Entropy, OsEntropy, SystemClock};
use vexora_relay::domain::{
    Answer, Arrival, Callback, EventFilter, Route, Routing, Schedule, SignCheck, Status, Timestamp,
    Verdict, VerifyLane, VerifyPolicy,
};
use vexora_relay::store::embedded::{EmbeddedSettings, SledStore};
use vexora_relay::store::{AnswerReport, Store};

use super::MERCHANT;
use super::load::{serial, user};

/// As many as one group of the store takes.
const AT_ONCE: usize = 256;

/// Groups on their way at a time: the store always has the next one when it is done with one.
const GROUPS: usize = 3;

/// Makes so many waiting deliveries to one endpoint, each of another user.
pub async fn fill(path: PathBuf, endpoint: &str, number: usize) -> anyhow::Result<()> {
    let routing = Routing::new(vec![Route {
        endpoint: endpoint.parse()?,
        events: EventFilter::final_results(),
        merchants: vec![],
        ordered: true,
    }]);
    Filling::of(path, routing, Duration::ZERO)
        .await?
        .fill(number)
        .await
}

/// Makes so many results that nobody was to be told, each of another user, as of so long ago: they are settled.
pub async fn fill_settled(path: PathBuf, number: usize, ago: Duration) -> anyhow::Result<()> {
    let nobody = Routing::new(vec![]);
    Filling::of(path, nobody, ago).await?.fill(number).await
}

/// A store that is being filled.
struct Filling {
    store: SledStore,
    routing: Arc<Routing>,
    policy: VerifyPolicy,
    ago: Duration,
}

impl Filling {
    async fn of(path: PathBuf, routing: Routing, ago: Duration) -> anyhow::Result<Self> {
        let opening = EmbeddedSettings::at(path, 0);
        let open = move || SledStore::open(&opening, SystemClock.now());
        let (store, _) = tokio::task::spawn_blocking(open).await??;
        let policy = VerifyPolicy {
            retry: Schedule::new(vec![Duration::from_secs(60)])?,
            give_up_after: Duration::from_secs(3600),
            duplicate_window: Duration::from_secs(3600),
            reconcile: None,
        };
        Ok(Self {
            store,
            routing: Arc::new(routing),
            policy,
            ago,
        })
    }

    fn now(&self) -> Timestamp {
        SystemClock.now().minus(self.ago)
    }

    async fn fill(self, number: usize) -> anyhow::Result<()> {
        let groups = (0..number).step_by(AT_ONCE);
        let groups = stream::iter(groups.map(|done| AT_ONCE.min(number - done)));
        let accepted = groups
            .map(|some| self.accept(some))
            .buffer_unordered(GROUPS);
        accepted
            .try_for_each_concurrent(GROUPS, |some| self.answer(some))
            .await?;
        self.store.close().await?;
        Ok(())
    }

    /// Takes so many callbacks. Returns how many.
    async fn accept(&self, some: usize) -> anyhow::Result<usize> {
        let (now, entropy) = (self.now(), OsEntropy);
        let mut accepts = Vec::with_capacity(some);
        for _ in 0..some {
            let name = user(serial());
            let callback = Callback {
                id: entropy.callback_id(now),
                merchant: MERCHANT.parse()?,
                user: Some(name.parse()?),
                claim: Some("2".into()),
                sign: SignCheck::Valid,
                token: false,
                arrival: Arrival {
                    // As long as a published callback with its sign.
                    body: vec![b'x'; 128],
                    content_type: Some("application/json".into()),
                    query: None,
                    peer: Some([127, 0, 0, 1].into()),
                    at: now,
                },
            };
            let (fresh, routing) = (entropy.event_id(now), Arc::clone(&self.routing));
            accepts.push(self.store.accept(callback, fresh, routing));
        }
        try_join_all(accepts).await?;
        Ok(some)
    }

    /// So many users who were rung for are approved.
    async fn answer(&self, some: usize) -> anyhow::Result<()> {
        let (now, entropy) = (self.now(), OsEntropy);
        let (merchant, lease) = (MERCHANT.parse()?, Duration::from_secs(60));
        let store = &self.store;
        let claims = store
            .claim_verifications(&merchant, VerifyLane::Main, now, lease, some)
            .await?;
        anyhow::ensure!(claims.len() == some, "all that was rung for is due");
        let records = claims.iter().map(|claim| {
            let report = AnswerReport {
                answer: Answer::Verdict(Verdict::new(Status::Approved, None)),
                now,
                took: Duration::from_millis(3),
                fresh: entropy.event_id(now),
                fresh_too: entropy.event_id(now),
                policy: self.policy.clone(),
                routing: Arc::clone(&self.routing),
            };
            store.record_answer(claim, report)
        });
        try_join_all(records).await?;
        Ok(())
    }
}
