//! The workers of verify and deliver, made from the configuration: two for each merchant, one for each endpoint.
//!
//! Promise: another configuration is prepared as a whole before anything of it is taken over, and what is under way
//! meanwhile ends as it was begun.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::build::{BuildError, Deps};
use crate::clock::Clock;
use crate::config::settings::{
    Config, EndpointSettings, MerchantSettings, PayloadFormat, Rate, TransportSettings,
};
use crate::deliver::{Deliverer, DelivererParts, DelivererSettings, Sender, Target, WireFormat};
use crate::domain::{MerchantNo, Pace, Routing, Secret, VerifyLane};
use crate::metrics::Metrics;
use crate::outbound::{Client, ClientSettings, PublicRoots};
use crate::store::Store;
use crate::verify::{Provider, QueryClient, Verifier, VerifierParts, VerifierSettings};
use crate::worker::{self, Beats, Stage, Work};

/// Where workers run, once they do.
struct Crew {
    clock: Arc<dyn Clock>,
    beats: Arc<Beats>,
    cancel: CancellationToken,
    tracker: TaskTracker,
}

/// Somebody who does a stage's rounds, and the way to end them. What they have begun then ends as it was begun.
struct Worker<S> {
    stage: Arc<S>,
    cancel: CancellationToken,
}

impl<S: Stage> Worker<S> {
    fn new(stage: Arc<S>) -> Self {
        Self {
            stage,
            cancel: CancellationToken::new(),
        }
    }

    fn spawn(&mut self, crew: &Crew) {
        self.cancel = crew.cancel.child_token();
        let work: Weak<S> = Arc::downgrade(&self.stage);
        let work: Weak<dyn Work> = work;
        crew.tracker.spawn(worker::run(
            Arc::clone(&self.stage),
            Arc::clone(&crew.clock),
            crew.beats.join(self.stage.name(), Some(work)),
            self.cancel.clone(),
            crew.tracker.clone(),
        ));
    }
}

/// What a set of verifiers is built around; while it stays the same, their settings can be exchanged.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    /// Each merchant and where it is asked about.
    merchants: Vec<(MerchantNo, String)>,
    timeout: Duration,
    max_in_flight: usize,
    rate_limit: Option<Rate>,
}

impl Asked {
    fn of(config: &Config) -> Self {
        let merchants = config.merchants.iter();
        Self {
            merchants: merchants
                .map(|m| (m.merchant_no.clone(), config.base_url_of(m).to_owned()))
                .collect(),
            timeout: config.vexora.timeout,
            max_in_flight: config.vexora.max_in_flight,
            rate_limit: config.vexora.rate_limit,
        }
    }
}

/// The workers.
pub(super) struct Stages {
    store: Arc<dyn Store>,
    deps: Deps,
    metrics: Arc<Metrics>,
    routing: Arc<ArcSwap<Routing>>,
    asked: Asked,
    verifiers: Vec<Worker<Verifier>>,
    deliverers: Vec<Worker<Deliverer>>,
    crew: Option<Crew>,
}

/// All of another configuration that can fail; taking it over cannot.
pub(super) struct Prepared {
    asked: Asked,
    /// `None`: those there are go on with other settings.
    verifiers: Option<Vec<Arc<Verifier>>>,
    deliverers: Vec<(EndpointSettings, DelivererSettings)>,
}

impl Stages {
    pub(super) fn build(
        config: &Config,
        store: &Arc<dyn Store>,
        deps: &Deps,
        metrics: &Arc<Metrics>,
        routing: &Arc<ArcSwap<Routing>>,
        roots: &PublicRoots,
    ) -> Result<Self, BuildError> {
        let mut stages = Self {
            store: Arc::clone(store),
            deps: deps.clone(),
            metrics: Arc::clone(metrics),
            routing: Arc::clone(routing),
            // Nobody is asked about yet, so that whatever is configured is a change.
            asked: Asked {
                merchants: Vec::new(),
                ..Asked::of(config)
            },
            verifiers: Vec::new(),
            deliverers: Vec::new(),
            crew: None,
        };
        let prepared = stages.prepare(config, roots)?;
        stages.take(config, prepared);
        Ok(stages)
    }

    pub(super) fn verifiers(&self) -> impl Iterator<Item = &Arc<Verifier>> {
        self.verifiers.iter().map(|worker| &worker.stage)
    }

    pub(super) fn deliverers(&self) -> impl Iterator<Item = &Arc<Deliverer>> {
        self.deliverers.iter().map(|worker| &worker.stage)
    }

    pub(super) fn spawn(
        &mut self,
        clock: &Arc<dyn Clock>,
        beats: &Arc<Beats>,
        cancel: &CancellationToken,
        tracker: &TaskTracker,
    ) {
        let crew = Crew {
            clock: Arc::clone(clock),
            beats: Arc::clone(beats),
            cancel: cancel.clone(),
            tracker: tracker.clone(),
        };
        for verifier in &mut self.verifiers {
            verifier.spawn(&crew);
        }
        for deliverer in &mut self.deliverers {
            deliverer.spawn(&crew);
        }
        self.crew = Some(crew);
    }

    /// Makes what another configuration needs. Nothing changes yet.
    pub(super) fn prepare(
        &self,
        config: &Config,
        roots: &PublicRoots,
    ) -> Result<Prepared, BuildError> {
        let asked = Asked::of(config);
        let verifiers = (asked != self.asked)
            .then(|| self.make_verifiers(config, roots))
            .transpose()?;
        let deliverers = config.endpoints.iter().map(|endpoint| {
            let settings = deliverer_settings(config, endpoint, roots)?;
            Ok((endpoint.clone(), settings))
        });
        Ok(Prepared {
            asked,
            verifiers,
            deliverers: deliverers.collect::<Result<_, BuildError>>()?,
        })
    }

    fn make_verifiers(
        &self,
        config: &Config,
        roots: &PublicRoots,
    ) -> Result<Vec<Arc<Verifier>>, BuildError> {
        let mut at: BTreeMap<&str, Vec<MerchantNo>> = BTreeMap::new();
        for merchant in &config.merchants {
            at.entry(config.base_url_of(merchant))
                .or_default()
                .push(merchant.merchant_no.clone());
        }
        let client = Client::new(&ClientSettings::default(), roots).map_err(|source| {
            BuildError::Client {
                part: config.vexora.base_url.clone(),
                source,
            }
        })?;
        let providers: BTreeMap<&str, Arc<Provider>> = at
            .into_iter()
            .map(|(url, merchants)| {
                let client =
                    QueryClient::new(client.clone(), url.to_owned(), config.vexora.timeout);
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
            let settings = Arc::new(ArcSwap::from_pointee(verifier_settings(config, merchant)));
            for lane in [VerifyLane::Main, VerifyLane::Open] {
                let parts = VerifierParts {
                    merchant: merchant.merchant_no.clone(),
                    lane,
                    provider: Arc::clone(provider),
                    pace: pace.clone(),
                    permits: Arc::clone(&permits),
                    store: Arc::clone(&self.store),
                    clock: Arc::clone(&self.deps.clock),
                    entropy: Arc::clone(&self.deps.entropy),
                    routing: Arc::clone(&self.routing),
                    settings: Arc::clone(&settings),
                    metrics: Arc::clone(&self.metrics),
                };
                verifiers.push(Arc::new(Verifier::new(parts, rate)));
            }
        }
        Ok(verifiers)
    }

    /// Goes over to another configuration: whoever is in both goes on, with what is new; the rest come and go.
    pub(super) fn take(&mut self, config: &Config, prepared: Prepared) {
        self.asked = prepared.asked;
        match prepared.verifiers {
            Some(fresh) => {
                for gone in self.verifiers.drain(..) {
                    gone.cancel.cancel();
                    self.metrics.forget_provider(gone.stage.merchant());
                }
                for stage in fresh {
                    self.metrics.expect_merchant(stage.merchant());
                    stage.show_provider();
                    let mut worker = Worker::new(stage);
                    if let Some(crew) = &self.crew {
                        worker.spawn(crew);
                    }
                    self.verifiers.push(worker);
                }
            }
            None => {
                for worker in &self.verifiers {
                    let mut merchants = config.merchants.iter();
                    let own = merchants.find(|m| m.merchant_no == *worker.stage.merchant());
                    if let Some(merchant) = own {
                        worker.stage.reload(verifier_settings(config, merchant));
                    }
                }
            }
        }
        let mut former = std::mem::take(&mut self.deliverers);
        for (endpoint, settings) in prepared.deliverers {
            let pace = pace(&endpoint);
            let same = |worker: &Worker<Deliverer>| {
                worker
                    .stage
                    .is_for(&endpoint.name, endpoint.concurrency, pace)
            };
            let worker = match former.iter().position(same) {
                Some(at) => {
                    let worker = former.swap_remove(at);
                    worker.stage.reload(settings);
                    worker
                }
                None => {
                    let mut worker = Worker::new(Arc::new(Deliverer::new(DelivererParts {
                        endpoint: endpoint.name.clone(),
                        concurrency: endpoint.concurrency,
                        pace,
                        store: Arc::clone(&self.store),
                        clock: Arc::clone(&self.deps.clock),
                        entropy: Arc::clone(&self.deps.entropy),
                        routing: Arc::clone(&self.routing),
                        settings: Arc::new(ArcSwap::from_pointee(settings)),
                        metrics: Arc::clone(&self.metrics),
                    })));
                    if let Some(crew) = &self.crew {
                        worker.spawn(crew);
                    }
                    worker
                }
            };
            self.deliverers.push(worker);
        }
        for gone in former {
            gone.cancel.cancel();
        }
    }
}

fn pace(endpoint: &EndpointSettings) -> Option<Pace> {
    let rate = endpoint.rate_limit?;
    Some(Pace::new(rate.count, rate.per))
}

fn verifier_settings(config: &Config, merchant: &MerchantSettings) -> VerifierSettings {
    VerifierSettings {
        policy: config.verify.policy.clone(),
        app_secret: merchant.app_secret.clone(),
    }
}

/// The HTTP client that an endpoint's transport asks for.
#[must_use]
pub fn client_settings(transport: &TransportSettings) -> ClientSettings {
    ClientSettings {
        ca: transport.ca.clone(),
        identity: transport
            .client_identity
            .clone()
            .map(|files| (files.cert, files.key)),
        proxy: transport.proxy.clone(),
        public_only: transport.public_only,
    }
}

fn deliverer_settings(
    config: &Config,
    endpoint: &EndpointSettings,
    roots: &PublicRoots,
) -> Result<DelivererSettings, BuildError> {
    let client = Client::new(&client_settings(&endpoint.transport), roots).map_err(|source| {
        BuildError::Client {
            part: format!("endpoint {:?}", endpoint.name.as_str()),
            source,
        }
    })?;
    let format = match endpoint.format {
        PayloadFormat::Standard => WireFormat::Standard,
        PayloadFormat::Vexora => WireFormat::Vexora(Arc::new(signing_secrets(config))),
    };
    let target = Target {
        url: endpoint.url.clone(),
        keys: endpoint.keys.clone(),
        headers: endpoint.headers.clone(),
        format,
        expect_body: endpoint.expect_body.clone(),
        timeout: endpoint.timeout,
    };
    Ok(DelivererSettings {
        policy: endpoint.policy.clone(),
        sender: Sender::new(client, target),
    })
}

fn signing_secrets(config: &Config) -> Vec<(MerchantNo, Secret)> {
    let merchants = config.merchants.iter();
    merchants
        .map(|m| (m.merchant_no.clone(), m.app_secret.signing().clone()))
        .collect()
}
