//! The embedded store: sled 0.34.7 beneath one commit loop, as measured and prescribed in `docs/durability.md`.
//!
//! Promise: a use case that returned `Ok` survives `kill -9` and a power cut. One thread owns all writing; use cases
//! that wait at the same moment share one journal record and one `fdatasync`. Each sees the effects of those before it
//! in the group. What is committed is in memory at once and in sled a little later (`engine`), which flushes when it
//! likes: what it loses is replayed from the journal. Claims, and successes of which nothing follows, are written at
//! once and synced a little later: see `commit`.

// long because: one trait, and one line of delegation for each of its methods.

mod accepting;
mod blocks;
mod checkpoint;
mod codec;
mod commit;
mod delivering;
mod engine;
mod export;
mod fanout;
mod fronts;
mod images;
mod jobs;
mod journal;
mod keys;
mod layout;
mod leases;
mod listing;
mod lock;
mod machine;
mod maintenance;
mod memory;
mod mending;
mod migrating;
mod opening;
mod operating;
mod orders;
mod outcome;
mod publishing;
mod queue;
mod reading;
mod rebuild;
mod records;
mod room;
mod settling;
mod stretches;
mod sweeping;
mod tallies;
mod trust;
mod txn;
mod unsynced;
mod verifying;
mod version;
mod watching;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use checkpoint::ImageReport;
pub use journal::JournalSettings;
pub use journal::reading::JournalError;
pub use lock::holder;
pub use machine::{Machine, OutFile, Point, ThisMachine};
pub use maintenance::{
    CompactReport, Finding, MaintenanceError, VerifyReport, check_backup, compact, restore,
    verify_store,
};
pub use outcome::{OpenError, OpenReport, Rebuilt};

use self::commit::Parts;
use self::engine::Engine;
use self::images::Images;
use self::queue::Committer;
use self::settling::Claimed;
use super::{
    AnswerRecorded, AnswerReport, AttemptRecorded, AttemptReport, Bygone, DeliveryClaim,
    HastenFrom, Hastened, Lane, Pending, Refused, Signals, Store, StoreError, Story, SweepFrom,
    SweepStep, Told, VerifyClaim,
};
use crate::domain::{
    Application, Batch, Callback, CallbackId, Delivery, EndpointName, Event, EventId, Health, Job,
    JobOrder, MerchantNo, OperationalEvent, Ordered, Routing, Source, Timestamp, Trust, UserId,
    VerifyLane,
};
use crate::metrics::CommitMetrics;

/// Where the store lives and what it leaves free.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    /// The data directory; made if it is not there.
    pub path: PathBuf,
    /// Less free space than this, in bytes: no callback is taken in.
    pub min_free: u64,
    /// sled's page cache, in bytes.
    pub cache: u64,
    /// Where commits are counted.
    pub metrics: Arc<CommitMetrics>,
}

impl EmbeddedSettings {
    /// 64 MiB keeps a million waiting callbacks at 190 to 260 MB of memory; sled's own default takes 900 MB.
    pub const DEFAULT_CACHE: u64 = 64 << 20;

    /// A store at `path` with the default cache, whose commits nobody looks at.
    #[must_use]
    pub fn at(path: PathBuf, min_free: u64) -> Self {
        Self {
            path,
            min_free,
            cache: Self::DEFAULT_CACHE,
            metrics: Arc::default(),
        }
    }
}

/// The embedded store. Dropping it without [`Store::close`] loses nothing that was acknowledged.
#[derive(Debug)]
pub struct SledStore {
    engine: Arc<Engine>,
    committer: Committer,
    signals: Arc<Signals>,
    images: Arc<Images>,
}

impl SledStore {
    /// Opens the store, or makes a new one. Blocks: not for an executor thread once the service runs.
    ///
    /// Leases of a process that is gone are given back at once: the lock says that nobody else holds any.
    ///
    /// # Errors
    /// Another process has it, a newer version wrote it, it is damaged, or the directory cannot be used.
    pub fn open(
        settings: &EmbeddedSettings,
        now: Timestamp,
    ) -> Result<(Self, OpenReport), OpenError> {
        let machine: Arc<dyn Machine> = Arc::new(ThisMachine);
        Self::open_on(settings, JournalSettings::default(), machine, now)
    }

    /// Like [`SledStore::open`], on a machine and with sizes of the caller's choice.
    ///
    /// # Errors
    /// Likewise.
    pub fn open_on(
        settings: &EmbeddedSettings,
        tuning: JournalSettings,
        machine: Arc<dyn Machine>,
        now: Timestamp,
    ) -> Result<(Self, OpenReport), OpenError> {
        let opened = opening::open(settings, tuning, &machine, now, migrating::OURS)?;
        let engine = Arc::new(opened.engine);
        let signals = Arc::new(Signals::default());
        let images = Arc::new(Images::new(Arc::clone(&engine), Arc::clone(&machine)));
        let committer = commit::start(Parts {
            engine: Arc::clone(&engine),
            journal: opened.journal,
            images: Arc::clone(&images),
            machine,
            signals: Arc::clone(&signals),
            min_free: settings.min_free,
            cache: settings.cache,
            metrics: Arc::clone(&settings.metrics),
        })
        .map_err(|source| OpenError::Directory {
            path: settings.path.clone(),
            source,
        })?;
        let store = Self {
            engine,
            committer,
            signals,
            images,
        };
        Ok((store, opened.report))
    }

    /// Runs a read that may be long where it stops no request.
    async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let engine = Arc::clone(&self.engine);
        tokio::task::spawn_blocking(move || read(&engine))
            .await
            .map_err(|join| StoreError::Read(std::io::Error::other(join)))?
    }
}

#[async_trait]
impl Store for SledStore {
    async fn accept(
        &self,
        callback: Callback,
        fresh: EventId,
        routing: Arc<Routing>,
    ) -> Result<(), StoreError> {
        // A flood is refused while it waits, not after: the queue of the commit loop is the limit.
        self.committer
            .submit_callback(move |txn| {
                txn.require_room()?;
                accepting::accept(txn, callback, fresh, &routing)
            })
            .await
    }

    async fn request_verification(
        &self,
        merchant: &MerchantNo,
        user: &UserId,
        source: Source,
        trust: Trust,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (merchant, user) = (merchant.clone(), user.clone());
        self.committer
            .submit(move |txn| {
                if source == Source::Operator {
                    orders::note(txn, &keys::user(&merchant, &user), Ordered::Verified, now)?;
                }
                accepting::ring(txn, &merchant, &user, source, trust, now)
            })
            .await
    }

    async fn recognize(
        &self,
        callback: CallbackId,
        user: &UserId,
        claim: Option<String>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let user = user.clone();
        self.committer
            .submit(move |txn| accepting::recognize(txn, callback, &user, claim, now))
            .await
    }

    async fn claim_verifications(
        &self,
        merchant: &MerchantNo,
        lane: VerifyLane,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<VerifyClaim>, StoreError> {
        if limit == 0 || !verifying::any_due(&self.engine, merchant, lane, now)? {
            return Ok(Vec::new());
        }
        let merchant = merchant.clone();
        self.committer
            .submit_loose(move |txn| verifying::claim(txn, &merchant, lane, now, lease, limit))
            .await
    }

    async fn record_answer(
        &self,
        claim: &VerifyClaim,
        report: AnswerReport,
    ) -> Result<AnswerRecorded, StoreError> {
        let claim = claim.clone();
        self.committer
            .submit(move |txn| verifying::record(txn, &claim, &report))
            .await
    }

    async fn release_verification(
        &self,
        claim: &VerifyClaim,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let claim = claim.clone();
        self.committer
            .submit(move |txn| verifying::release(txn, &claim, now))
            .await
    }

    async fn hasten_verifications(
        &self,
        merchant: &MerchantNo,
        lane: VerifyLane,
        back: Timestamp,
        from: Option<HastenFrom>,
        limit: usize,
    ) -> Result<Hastened, StoreError> {
        let merchant = merchant.clone();
        self.committer
            .submit(move |txn| verifying::hasten(txn, &merchant, lane, back, from.as_ref(), limit))
            .await
    }

    async fn claim_deliveries(
        &self,
        endpoint: &EndpointName,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<DeliveryClaim>, StoreError> {
        if limit == 0 || !delivering::any_due(&self.engine, endpoint, now)? {
            return Ok(Vec::new());
        }
        let endpoint = endpoint.clone();
        self.committer
            .submit_loose(move |txn| delivering::claim(txn, &endpoint, now, lease, limit))
            .await
    }

    async fn record_attempts(
        &self,
        attempts: Vec<(&DeliveryClaim, AttemptReport)>,
    ) -> Result<Vec<Result<Option<AttemptRecorded>, StoreError>>, StoreError> {
        let records = attempts.into_iter().map(|(claim, report)| {
            let claim = Claimed::of(claim);
            move |txn: &mut txn::Txn<'_>| settling::record(txn, &claim, &report)
        });
        self.committer.submit_loose_all(records.collect()).await
    }

    async fn release_delivery(
        &self,
        claim: &DeliveryClaim,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let claim = Claimed::of(claim);
        self.committer
            .submit(move |txn| settling::release(txn, &claim, now))
            .await
    }

    async fn health(&self, endpoint: &EndpointName) -> Result<Health, StoreError> {
        delivering::health(&self.engine, endpoint)
    }

    async fn pause(&self, endpoint: &EndpointName, now: Timestamp) -> Result<Health, StoreError> {
        let endpoint = endpoint.clone();
        self.committer
            .submit(move |txn| operating::pause(txn, &endpoint, now))
            .await
    }

    async fn resume(&self, endpoint: &EndpointName, now: Timestamp) -> Result<Health, StoreError> {
        let endpoint = endpoint.clone();
        self.committer
            .submit(move |txn| operating::resume(txn, &endpoint, now))
            .await
    }

    async fn retry(
        &self,
        event: EventId,
        endpoint: &EndpointName,
        now: Timestamp,
    ) -> Result<Result<Delivery, Refused>, StoreError> {
        let endpoint = endpoint.clone();
        self.committer
            .submit(move |txn| operating::retry(txn, event, &endpoint, now))
            .await
    }

    async fn discard(
        &self,
        event: EventId,
        endpoint: &EndpointName,
        now: Timestamp,
    ) -> Result<Result<Delivery, Refused>, StoreError> {
        let endpoint = endpoint.clone();
        self.committer
            .submit(move |txn| operating::discard(txn, event, &endpoint, now))
            .await
    }

    async fn test(
        &self,
        endpoint: &EndpointName,
        fresh: EventId,
        now: Timestamp,
        routing: Arc<Routing>,
    ) -> Result<bool, StoreError> {
        let endpoint = endpoint.clone();
        self.committer
            .submit(move |txn| operating::test(txn, &endpoint, fresh, now, &routing))
            .await
    }

    async fn count_job(&self, order: &JobOrder, routing: Arc<Routing>) -> Result<u64, StoreError> {
        let order = order.clone();
        self.read(move |engine| jobs::count(engine, &order, &routing))
            .await
    }

    async fn begin_job(
        &self,
        order: JobOrder,
        total: u64,
        now: Timestamp,
    ) -> Result<Job, StoreError> {
        self.committer
            .submit(move |txn| jobs::begin(txn, order, total, now))
            .await
    }

    async fn advance_job(
        &self,
        id: u64,
        limit: usize,
        now: Timestamp,
        routing: Arc<Routing>,
    ) -> Result<Option<Job>, StoreError> {
        let subscribed = Arc::clone(&routing);
        let part = self
            .read(move |engine| jobs::look(engine, id, limit, &subscribed))
            .await?;
        let Some(part) = part else {
            return Ok(None);
        };
        self.committer
            .submit(move |txn| jobs::advance(txn, &part, now, &routing))
            .await
    }

    async fn cancel_job(&self, id: u64, now: Timestamp) -> Result<Option<Job>, StoreError> {
        self.committer
            .submit(move |txn| jobs::cancel(txn, id, now))
            .await
    }

    async fn jobs(&self) -> Result<Vec<Job>, StoreError> {
        self.read(jobs::all).await
    }

    async fn sweep(
        &self,
        before: Timestamp,
        from: Option<SweepFrom>,
        limit: usize,
    ) -> Result<SweepStep, StoreError> {
        let sweeping::Looked { old, next } = self
            .read(move |engine| sweeping::look(engine, before, from.as_ref(), limit))
            .await?;
        let gone = if old.is_empty() {
            Bygone::default()
        } else {
            self.committer
                .submit(move |txn| sweeping::remove(txn, &old, before))
                .await?
        };
        if next.is_none() {
            self.committer.submit(fanout::lists::forget_unused).await?;
        }
        Ok(SweepStep { gone, next })
    }

    async fn count_settled(&self, before: Timestamp) -> Result<Bygone, StoreError> {
        self.read(move |engine| sweeping::count(engine, before))
            .await
    }

    async fn delivery(
        &self,
        event: EventId,
        endpoint: &EndpointName,
    ) -> Result<Option<(Event, Told)>, StoreError> {
        let endpoint = endpoint.clone();
        self.read(move |engine| reading::delivery(engine, event, &endpoint))
            .await
    }

    async fn watch(
        &self,
        merchant: &MerchantNo,
        user: &UserId,
        now: Timestamp,
        due: Timestamp,
    ) -> Result<bool, StoreError> {
        let (merchant, user) = (merchant.clone(), user.clone());
        self.committer
            .submit(move |txn| {
                let is_new = watching::watch(txn, &merchant, &user, now, due)?;
                if is_new {
                    orders::note(txn, &keys::user(&merchant, &user), Ordered::Watched, now)?;
                }
                Ok(is_new)
            })
            .await
    }

    async fn begin_application(
        &self,
        merchant: &MerchantNo,
        user: &UserId,
        batch: Option<&Batch>,
        now: Timestamp,
        due: Timestamp,
    ) -> Result<Option<Application>, StoreError> {
        let (merchant, user, batch) = (merchant.clone(), user.clone(), batch.cloned());
        self.committer
            .submit(move |txn| watching::begin(txn, &merchant, &user, batch.as_ref(), now, due))
            .await
    }

    async fn finish_application(
        &self,
        merchant: &MerchantNo,
        user: &UserId,
        accepted: bool,
        look: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let (merchant, user) = (merchant.clone(), user.clone());
        self.committer
            .submit(move |txn| watching::finish(txn, &merchant, &user, accepted, look))
            .await
    }

    async fn publish(
        &self,
        fresh: EventId,
        now: Timestamp,
        news: OperationalEvent,
        routing: Arc<Routing>,
    ) -> Result<(), StoreError> {
        self.committer
            .submit(move |txn| publishing::publish_news(txn, fresh, now, news, &routing))
            .await
    }

    async fn beat(&self, now: Timestamp) -> Result<(), StoreError> {
        self.committer
            .submit(move |txn| {
                watching::beat(txn, now);
                Ok(())
            })
            .await
    }

    async fn alive(&self) -> Result<Option<Timestamp>, StoreError> {
        watching::alive(&self.engine)
    }

    async fn next_rung(&self, merchant: &MerchantNo) -> Result<Option<Timestamp>, StoreError> {
        verifying::next_rung(&self.engine, merchant)
    }

    async fn next_due(&self, lane: &Lane) -> Result<Option<Timestamp>, StoreError> {
        match lane {
            Lane::Verify(merchant, lane) => verifying::next_due(&self.engine, merchant, *lane),
            Lane::Deliver(endpoint) => delivering::next_due(&self.engine, endpoint),
        }
    }

    async fn story(&self, merchant: &MerchantNo, user: &UserId) -> Result<Story, StoreError> {
        let (merchant, user) = (merchant.clone(), user.clone());
        self.read(move |engine| reading::story(engine, &merchant, &user))
            .await
    }

    async fn pending(&self) -> Result<Pending, StoreError> {
        self.read(reading::pending).await
    }

    async fn unrecognized(&self, limit: usize) -> Result<Vec<Callback>, StoreError> {
        self.read(move |engine| reading::unrecognized(engine, limit))
            .await
    }

    fn signals(&self) -> &Signals {
        &self.signals
    }

    async fn backup(&self, to: PathBuf) -> Result<u64, StoreError> {
        let images = Arc::clone(&self.images);
        // While groups are refused, because sled lacks what the journal has, so is this.
        self.committer.submit(|_| Ok(())).await?;
        self.read(move |_| {
            let report = images.backup(&to);
            report.map(|report| report.bytes).map_err(as_store)
        })
        .await
    }

    async fn export(&self, mut to: Box<dyn std::io::Write + Send>) -> Result<u64, StoreError> {
        self.read(move |engine| {
            let lines = export::write(engine, &mut *to)?;
            to.flush()
                .map_err(|error| StoreError::Write(error.into()))?;
            Ok(lines)
        })
        .await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.committer.close().await
    }
}

fn as_store(error: checkpoint::CheckpointError) -> StoreError {
    use checkpoint::CheckpointError;
    match error {
        CheckpointError::Write(error) => StoreError::Write(error.into()),
        CheckpointError::Store(error) => error,
        error @ (CheckpointError::Read(_) | CheckpointError::Record { .. }) => {
            StoreError::Read(std::io::Error::other(error))
        }
        CheckpointError::Stopped => StoreError::Stopping,
    }
}
