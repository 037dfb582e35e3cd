//! The workers of verify and deliver, made from the configuration: two for each merchant, one for each endpoint.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::build::{BuildError, Deps};
use crate::clock::Clock;
use crate::config::settings::{Config, EndpointSettings, PayloadFormat};
use crate::deliver::{Deliverer, DelivererParts, DelivererSettings, Sender, Target, WireFormat};
use crate::domain::{MerchantNo, Pace, Routing, Secret, VerifyLane};
use crate::outbound::{Client, ClientSettings, PublicRoots};
use crate::store::Store;
use crate::verify::{Provider, QueryClient, Verifier, VerifierParts, VerifierSettings};
use crate::worker;

/// The workers.
#[derive(Clone)]
pub(super) struct Stages {
    verifiers: Vec<Arc<Verifier>>,
    deliverers: Vec<Arc<Deliverer>>,
}

impl Stages {
    pub(super) fn build(
        config: &Config,
        store: &Arc<dyn Store>,
        deps: &Deps,
        routing: &Arc<ArcSwap<Routing>>,
        roots: &PublicRoots,
    ) -> Result<Self, BuildError> {
        let verifiers = verifiers(config, store, deps, routing, roots)?;
        let deliverers = config
            .endpoints
            .iter()
            .map(|endpoint| deliverer(config, endpoint, store, deps, routing, roots))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            verifiers,
            deliverers,
        })
    }

    pub(super) fn verifiers(&self) -> &[Arc<Verifier>] {
        &self.verifiers
    }

    pub(super) fn deliverers(&self) -> &[Arc<Deliverer>] {
        &self.deliverers
    }

    pub(super) fn spawn(
        &self,
        clock: &Arc<dyn Clock>,
        cancel: &CancellationToken,
        tracker: &TaskTracker,
    ) {
        for verifier in &self.verifiers {
            let (clock, cancel) = (Arc::clone(clock), cancel.clone());
            tracker.spawn(worker::run(
                Arc::clone(verifier),
                clock,
                cancel,
                tracker.clone(),
            ));
        }
        for deliverer in &self.deliverers {
            let (clock, cancel) = (Arc::clone(clock), cancel.clone());
            tracker.spawn(worker::run(
                Arc::clone(deliverer),
                clock,
                cancel,
                tracker.clone(),
            ));
        }
    }
}

fn verifiers(
    config: &Config,
    store: &Arc<dyn Store>,
    deps: &Deps,
    routing: &Arc<ArcSwap<Routing>>,
    roots: &PublicRoots,
) -> Result<Vec<Arc<Verifier>>, BuildError> {
    let mut at: BTreeMap<&str, Vec<MerchantNo>> = BTreeMap::new();
    for merchant in &config.merchants {
        at.entry(config.base_url_of(merchant))
            .or_default()
            .push(merchant.merchant_no.clone());
    }
    let client =
        Client::new(&ClientSettings::default(), roots).map_err(|source| BuildError::Client {
            part: config.vexora.base_url.clone(),
            source,
        })?;
    let providers: BTreeMap<&str, Arc<Provider>> = at
        .into_iter()
        .map(|(url, merchants)| {
            let client = QueryClient::new(client.clone(), url.to_owned(), config.vexora.timeout);
            (url, Arc::new(Provider::new(client, merchants)))
        })
        .collect();
    let permits = Arc::new(Semaphore::new(config.vexora.max_in_flight));
    let rate = config.vexora.rate_limit.map(|rate| (rate.count, rate.per));
    let mut verifiers = Vec::new();
    for merchant in &config.merchants {
        let Some(provider) = providers.get(config.base_url_of(merchant)) else {
            continue;
        };
        let pace = rate.map(|(count, per)| Arc::new(Mutex::new(Pace::new(count, per))));
        let settings = Arc::new(ArcSwap::from_pointee(VerifierSettings {
            policy: config.verify.policy.clone(),
            app_secret: merchant.app_secret.clone(),
        }));
        for lane in [VerifyLane::Main, VerifyLane::Open] {
            let parts = VerifierParts {
                merchant: merchant.merchant_no.clone(),
                lane,
                provider: Arc::clone(provider),
                pace: pace.clone(),
                permits: Arc::clone(&permits),
                store: Arc::clone(store),
                clock: Arc::clone(&deps.clock),
                entropy: Arc::clone(&deps.entropy),
                routing: Arc::clone(routing),
                settings: Arc::clone(&settings),
            };
            verifiers.push(Arc::new(Verifier::new(parts, rate)));
        }
    }
    Ok(verifiers)
}

fn deliverer(
    config: &Config,
    endpoint: &EndpointSettings,
    store: &Arc<dyn Store>,
    deps: &Deps,
    routing: &Arc<ArcSwap<Routing>>,
    roots: &PublicRoots,
) -> Result<Arc<Deliverer>, BuildError> {
    let transport = &endpoint.transport;
    let settings = ClientSettings {
        ca: transport.ca.clone(),
        identity: transport
            .client_identity
            .clone()
            .map(|files| (files.cert, files.key)),
        proxy: transport.proxy.clone(),
    };
    let client = Client::new(&settings, roots).map_err(|source| BuildError::Client {
        part: format!("endpoint {:?}", endpoint.name.as_str()),
        source,
    })?;
    let format = match endpoint.format {
        PayloadFormat::Standard => WireFormat::Standard,
        PayloadFormat::Vexora => WireFormat::Vexora(Arc::new(signing_secrets(config))),
    };
    let target = Target {
        url: endpoint.url.to_string(),
        keys: endpoint.keys.clone(),
        headers: endpoint.headers.clone(),
        format,
        expect_body: endpoint.expect_body.clone(),
        timeout: endpoint.timeout,
    };
    let settings = DelivererSettings {
        policy: endpoint.policy.clone(),
        sender: Sender::new(client, target),
    };
    Ok(Arc::new(Deliverer::new(DelivererParts {
        endpoint: endpoint.name.clone(),
        concurrency: endpoint.concurrency,
        pace: endpoint
            .rate_limit
            .map(|rate| Pace::new(rate.count, rate.per)),
        store: Arc::clone(store),
        clock: Arc::clone(&deps.clock),
        entropy: Arc::clone(&deps.entropy),
        routing: Arc::clone(routing),
        settings: Arc::new(ArcSwap::from_pointee(settings)),
    })))
}

fn signing_secrets(config: &Config) -> Vec<(MerchantNo, Secret)> {
    let merchants = config.merchants.iter();
    merchants
        .map(|m| (m.merchant_no.clone(), m.app_secret.signing().clone()))
        .collect()
}
