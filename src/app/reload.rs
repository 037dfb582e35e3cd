//! Another configuration while the relay runs (contract §3).
//!
//! Promise: everything that can fail is done before anything is changed. What is under way ends under the old settings.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::build::{BuildError, applicants, receive_settings};
use super::changes::Changes;
use super::stages::Stages;
use crate::config::settings::Config;
use crate::domain::Routing;
use crate::http::{BindError, Edge};
use crate::outbound::PublicRoots;
use crate::receive::Receiver;
use crate::retention::Retention;
use crate::verify::Applications;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What changed about endpoints. What those that are gone have not heard is kept.
    pub endpoints: Changes,
    /// What changed about merchants.
    pub merchants: Changes,
    /// Keys that have changed and do not count before the next start.
    pub at_next_start: Vec<&'static str>,
}

/// What is exchanged while requests and workers use it.
pub(super) struct Reloading {
    pub(super) config: Config,
    pub(super) routing: Arc<ArcSwap<Routing>>,
    pub(super) receiver: Arc<Receiver>,
    pub(super) edge: Arc<Edge>,
    pub(super) applications: Arc<Applications>,
    pub(super) retention: Arc<Retention>,
}

impl Reloading {
    pub(super) fn reload(
        &mut self,
        stages: &mut Stages,
        config: &Config,
    ) -> Result<Reloaded, BuildError> {
        let prepared = stages.prepare(config, &PublicRoots::load())?;
        self.edge
            .reload(&config.server)
            .map_err(|error| BuildError::Bind(BindError::from(error)))?;
        // Secrets before subscriptions: no event is made for an endpoint that does not know its own.
        stages.take(config, prepared);
        self.receiver.reload(receive_settings(config));
        let applications = &self.applications;
        let applicant = applications.applicant.load();
        let timeout = config.vexora.timeout;
        applications
            .applicant
            .store(Arc::new(applicant.with_timeout(timeout)));
        applications.merchants.store(Arc::new(applicants(config)));
        applications
            .policy
            .store(Arc::new(config.verify.policy.clone()));
        self.routing.store(Arc::new(config.routing()));
        self.retention.set(config.store.retention);
        let reloaded = Reloaded {
            endpoints: Changes::of_endpoints(&self.config.endpoints, &config.endpoints),
            merchants: Changes::of_merchants(&self.config.merchants, &config.merchants),
            at_next_start: at_next_start(&self.config, config),
        };
        // What needs a new start is compared with what this process was started with.
        self.config.endpoints.clone_from(&config.endpoints);
        self.config.merchants.clone_from(&config.merchants);
        Ok(reloaded)
    }
}

fn at_next_start(started: &Config, now: &Config) -> Vec<&'static str> {
    let token = |config: &Config| {
        let token = config.admin.token.as_ref();
        token.map(|token| token.expose().to_owned())
    };
    [
        ("server.listen", started.server.listen != now.server.listen),
        (
            "server.tls",
            started.server.tls.is_some() != now.server.tls.is_some(),
        ),
        ("admin.listen", started.admin.listen != now.admin.listen),
        ("admin.token", token(started) != token(now)),
        ("store.path", started.store.path != now.store.path),
        (
            "store.min_free",
            started.store.min_free != now.store.min_free,
        ),
        ("log.format", started.log.format != now.log.format),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}
