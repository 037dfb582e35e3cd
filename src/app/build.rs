//! From a configuration to an application: everything that can fail at start fails here, with a name.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::App;
use super::reload::Reloading;
use super::stages::Stages;
use super::{heartbeat, token};
use crate::clock::{Clock, Entropy};
use crate::config::settings::{Config, MerchantSettings, OnBadSign};
use crate::deliver::Jobs;
use crate::domain::MerchantNo;
use crate::http::admin::{AdminListener, AdminParts, Readiness};
use crate::http::{BindError, Opened, PublicListener};
use crate::metrics::Metrics;
use crate::outbound::{Client, ClientError, ClientSettings, PublicRoots};
use crate::receive::{ReceiveMerchant, ReceiveSettings, Receiver};
use crate::retention::Retention;
use crate::store::embedded::{EmbeddedSettings, OpenError, SledStore};
use crate::store::{Store, StoreError};
use crate::verify::{Applicant, ApplicantMerchant, Applications};
use crate::worker::Beats;

/// What an application takes from outside.
#[derive(Clone)]
pub struct Deps {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
}

/// Sockets that somebody opened before us (systemd); they win over the configured addresses.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For callbacks.
    pub public: Option<Opened>,
    /// For operators.
    pub admin: Option<Opened>,
}

/// Why an application could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store did not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A listener could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An HTTP client could not be made.
    #[error("{part}: the HTTP client could not be made")]
    Client {
        /// `endpoint "ledger"`, or the provider's address.
        part: String,
        /// Why.
        source: ClientError,
    },
    /// The store opened, but could not be written to.
    #[error("the store could not be written to")]
    Prepare(#[source] StoreError),
    /// The admin token can be neither read nor made.
    #[error("the admin token in <store.path>/admin-token cannot be used")]
    Token(#[source] std::io::Error),
    /// The thread that opened the store is gone.
    #[error("opening the store was interrupted")]
    Interrupted,
}

impl App {
    /// Opens the store, binds the listeners, makes the stages. Nothing runs yet.
    ///
    /// # Errors
    /// The store, a listener or a client could not be had.
    pub async fn build(config: &Config, deps: Deps, sockets: Sockets) -> Result<Self, BuildError> {
        let now = deps.clock.now();
        let metrics = Arc::new(Metrics::new(now));
        let settings = EmbeddedSettings {
            metrics: metrics.commits(),
            ..EmbeddedSettings::at(config.store.path.clone(), config.store.min_free)
        };
        let (store, opened) = tokio::task::spawn_blocking(move || SledStore::open(&settings, now))
            .await
            .map_err(|_join| BuildError::Interrupted)??;
        let store: Arc<dyn Store> = Arc::new(store);

        let routing = Arc::new(ArcSwap::from_pointee(config.routing()));
        let receiver = Arc::new(Receiver::new(
            receive_settings(config),
            Arc::clone(&store),
            Arc::clone(&deps.clock),
            Arc::clone(&deps.entropy),
            Arc::clone(&routing),
        ));
        let public = PublicListener::bind(
            &config.server,
            Arc::clone(&receiver),
            (Arc::clone(&deps.clock), Arc::clone(&deps.entropy)),
            Arc::clone(&metrics),
            sockets.public,
        )
        .await?;
        let merchants: Vec<_> = config
            .merchants
            .iter()
            .map(|m| m.merchant_no.clone())
            .collect();
        heartbeat::after_downtime(&*store, &merchants, &*deps.clock)
            .await
            .map_err(BuildError::Prepare)?;
        let roots = PublicRoots::load();
        let applications = Arc::new(applications(config, &store, &deps, &roots)?);
        let readiness = Arc::new(Readiness::default());
        let token = match &config.admin.token {
            Some(token) => token.clone(),
            None => token::kept(&config.store.path, &*deps.entropy).map_err(BuildError::Token)?,
        };
        let jobs = Arc::new(Jobs::new(
            Arc::clone(&store),
            Arc::clone(&deps.clock),
            Arc::clone(&routing),
        ));
        let retention = Arc::new(Retention::new(
            Arc::clone(&store),
            Arc::clone(&deps.clock),
            metrics.retention(),
            config.store.retention,
        ));
        let beats = Arc::new(Beats::new(Arc::clone(&deps.clock)));
        let parts = AdminParts {
            beats: Arc::clone(&beats),
            jobs: Arc::clone(&jobs),
            retention: Arc::clone(&retention),
            token,
            readiness: Arc::clone(&readiness),
            store: Arc::clone(&store),
            clock: Arc::clone(&deps.clock),
            entropy: Arc::clone(&deps.entropy),
            directory: config.store.path.clone(),
            min_free: config.store.min_free,
            applications: Arc::clone(&applications),
            routing: Arc::clone(&routing),
            metrics: Arc::clone(&metrics),
            scraping: tokio::sync::Mutex::default(),
        };
        let admin = AdminListener::bind(&config.admin.listen, parts, sockets.admin).await?;
        let stages = Stages::build(config, &store, &deps, &metrics, &routing, &roots)?;
        let reloading = Reloading {
            config: config.clone(),
            routing,
            receiver,
            edge: public.edge(),
            applications: Arc::clone(&applications),
            retention: Arc::clone(&retention),
        };
        let clock = deps.clock;
        Ok(Self {
            store,
            clock,
            beats,
            stages,
            public,
            admin,
            readiness,
            applications,
            jobs,
            retention,
            reloading,
            metrics,
            opened,
        })
    }
}

/// The path that a merchant's callbacks come on.
#[must_use]
pub fn callback_path(number: &MerchantNo, token: Option<&str>) -> String {
    match token {
        Some(token) => format!("/callback/{number}/{token}"),
        None => format!("/callback/{number}"),
    }
}

/// The whole address that the provider is to call for a merchant; `None` while `server.public_url` is not set.
#[must_use]
pub fn callback_url(config: &Config, merchant: &MerchantSettings) -> Option<String> {
    let public = config.server.public_url.as_ref()?;
    let token = merchant
        .callback_token
        .as_ref()
        .map(|token| token.signing().expose());
    Some(format!(
        "{public}{}",
        callback_path(&merchant.merchant_no, token)
    ))
}

fn applications(
    config: &Config,
    store: &Arc<dyn Store>,
    deps: &Deps,
    roots: &PublicRoots,
) -> Result<Applications, BuildError> {
    let client =
        Client::new(&ClientSettings::default(), roots).map_err(|source| BuildError::Client {
            part: config.vexora.base_url.clone(),
            source,
        })?;
    Ok(Applications {
        applicant: ArcSwap::from_pointee(Applicant::new(client, config.vexora.timeout)),
        merchants: Arc::new(ArcSwap::from_pointee(applicants(config))),
        policy: Arc::new(ArcSwap::from_pointee(config.verify.policy.clone())),
        store: Arc::clone(store),
        clock: Arc::clone(&deps.clock),
        entropy: Arc::clone(&deps.entropy),
    })
}

pub(super) fn applicants(config: &Config) -> Vec<ApplicantMerchant> {
    let merchants = config.merchants.iter().map(|merchant| ApplicantMerchant {
        merchant: merchant.merchant_no.clone(),
        secret: merchant.app_secret.signing().clone(),
        base_url: config.base_url_of(merchant).to_owned(),
        callback_url: callback_url(config, merchant),
    });
    merchants.collect()
}

pub(super) fn receive_settings(config: &Config) -> ReceiveSettings {
    let merchants = config.merchants.iter().map(|merchant| ReceiveMerchant {
        merchant: merchant.merchant_no.clone(),
        app_secret: merchant.app_secret.clone(),
        token: merchant.callback_token.clone(),
    });
    ReceiveSettings {
        merchants: merchants.collect(),
        refuse_bad_sign: config.verify.on_bad_sign == OnBadSign::Refuse,
    }
}
