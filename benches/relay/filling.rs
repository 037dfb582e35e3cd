//! Fills a store through its own use cases: callbacks accepted, verified as approved, their deliveries waiting.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use vexora_relay::clock::{Clock, Entropy, OsEntropy, SystemClock};
use vexora_relay::domain::{
    Answer, Arrival, Callback, EventFilter, Route, Routing, Schedule, SignCheck, Status, Verdict,
    VerifyLane, VerifyPolicy,
};
use vexora_relay::store::embedded::{EmbeddedSettings, SledStore};
use vexora_relay::store::{AnswerReport, Store};

use super::MERCHANT;
use super::load::{serial, user};

/// As many as one group of the store takes.
const AT_ONCE: usize = 256;

/// Makes so many waiting deliveries to one endpoint, each of another user.
pub async fn fill(path: PathBuf, endpoint: &str, number: usize) -> anyhow::Result<()> {
    let (clock, entropy) = (SystemClock, OsEntropy);
    let opening = EmbeddedSettings::at(path, 0);
    let (store, _) =
        tokio::task::spawn_blocking(move || SledStore::open(&opening, SystemClock.now())).await??;
    let routing = Arc::new(Routing::new(vec![Route {
        endpoint: endpoint.parse()?,
        events: EventFilter::final_results(),
        merchants: vec![],
        ordered: true,
    }]));
    let policy = VerifyPolicy {
        retry: Schedule::new(vec![Duration::from_secs(60)])?,
        give_up_after: Duration::from_secs(3600),
        duplicate_window: Duration::from_secs(3600),
        reconcile: None,
    };
    let merchant = MERCHANT.parse()?;
    let mut done = 0;
    while done < number {
        let now = clock.now();
        let some = AT_ONCE.min(number - done);
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
            accepts.push(store.accept(callback, entropy.event_id(now), Arc::clone(&routing)));
        }
        try_join_all(accepts).await?;
        let lease = Duration::from_secs(60);
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
                policy: policy.clone(),
                routing: Arc::clone(&routing),
            };
            store.record_answer(claim, report)
        });
        try_join_all(records).await?;
        done += some;
    }
    store.close().await?;
    Ok(())
}
