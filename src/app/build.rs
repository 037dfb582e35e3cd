//! From a configuration to an application: everything that can fail at start fails here, with a name.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::App;
use super::stages::Stages;
use crate::clock::{Clock, Entropy};
use crate::config::settings::{Config, OnBadSign};
use crate::http::admin::{AdminListener, Readiness};
use crate::http::{BindError, Opened, PublicListener};
use crate::outbound::ClientError;
use crate::receive::{ReceiveMerchant, ReceiveSettings, Receiver};
use crate::store::Store;
use crate::store::embedded::{EmbeddedSettings, OpenError, SledStore};

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
        let settings = EmbeddedSettings::at(config.store.path.clone(), config.store.min_free);
        let now = deps.clock.now();
        let (store, opened) = tokio::task::spawn_blocking(move || SledStore::open(&settings, now))
            .await
            .map_err(|_join| BuildError::Interrupted)??;
        let store: Arc<dyn Store> = Arc::new(store);

        let routing = Arc::new(ArcSwap::from_pointee(config.routing()));
        let receiver = Receiver::new(
            receive_settings(config),
            Arc::clone(&store),
            Arc::clone(&deps.clock),
            Arc::clone(&deps.entropy),
            Arc::clone(&routing),
        );
        let public = PublicListener::bind(
            &config.server,
            Arc::new(receiver),
            Arc::clone(&deps.clock),
            sockets.public,
        )
        .await?;
        let readiness = Arc::new(Readiness::default());
        let admin =
            AdminListener::bind(&config.admin, Arc::clone(&readiness), sockets.admin).await?;
        let stages = Stages::build(config, &store, &deps, &routing)?;
        Ok(Self {
            store,
            clock: deps.clock,
            stages,
            public,
            admin,
            readiness,
            opened,
        })
    }
}

fn receive_settings(config: &Config) -> ReceiveSettings {
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
