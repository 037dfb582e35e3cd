//! The store: the only queue and the only truth. Memory holds permits and wake-ups, nothing else.
//!
//! Each method is one use case and one transaction: when it has returned `Ok`, its effect survives a power cut; when
//! it has returned an error, nothing of it counts (an error after a failed sync may leave an effect behind that is
//! the same as the caller's trying again). Claims, and what [`Store::record_attempt`] says, survive a kill at once and
//! a power cut a moment later. Decisions are those of [`crate::domain`]; a store carries them out on
//! what it holds.
//!
//! Work is claimed with a lease: by a worker that looks for it, or, as it comes in, for one that stands by
//! ([`Signals::stand_by_deliveries`]), if nothing that is due goes before it. The embedded store ([`embedded`]) has one
//! process by its lock; the trait does not assume that, so that several processes could share a store.

// long because: the trait and what goes in and out of it are one contract, read together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{
    Answer, Application, Attempt, Batch, Callback, CallbackId, Delivery, DeliveryPolicy,
    EndpointName, Event, EventId, Health, HealthChange, Job, JobOrder, MerchantNo,
    OperationalEvent, Ordered, Outcome, Pause, Routing, Source, Timestamp, Trust, UserId,
    UserState, Verification, VerifyLane, VerifyPolicy,
};

pub mod embedded;
mod pages;
mod signals;

pub use pages::{
    CallbackState, Cursor, DeliveryFilter, DeliveryStand, EndpointTally, FoundUser, ListedDelivery,
    ListedVerification, Lists, Page, PageOf, Scope, Tallies,
};
pub use signals::{Begin, Hand, Lane, Signals, Standby};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Less free space than `store.min_free`.
    #[error("the disk of {} has {free} bytes free, less than the {min_free} of store.min_free", path.display())]
    DiskLow {
        /// The data directory.
        path: PathBuf,
        /// Free bytes.
        free: u64,
        /// The limit.
        min_free: u64,
    },
    /// More waits than the store takes in.
    #[error("the store has more to do than it takes in")]
    Overloaded,
    /// The store is stopping or has stopped.
    #[error("the store is stopping")]
    Stopping,
    /// Writing or syncing failed. Nothing of this use case counts.
    #[error("the store could not write")]
    Write(#[source] Arc<std::io::Error>),
    /// Reading failed.
    #[error("the store could not read")]
    Read(#[source] std::io::Error),
    /// A record does not parse.
    #[error("the record {key} of {tree} is damaged: {why}")]
    Damaged {
        /// The tree.
        tree: &'static str,
        /// The key in hex.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// A list was asked to go on from where it never was.
    #[error("the cursor is not one of this list")]
    Cursor,
}

/// A verification to carry out: its lease is the caller's.
#[derive(Clone, Debug)]
pub struct VerifyClaim {
    /// The merchant.
    pub merchant: MerchantNo,
    /// The user.
    pub user: UserId,
    /// As claimed; `queries` names the lease.
    pub verification: Verification,
}

/// The answer to a claimed verification, and all that the decision needs.
#[derive(Clone, Debug)]
pub struct AnswerReport {
    /// What the query said.
    pub answer: Answer,
    /// When it was in.
    pub now: Timestamp,
    /// How long the query took.
    pub took: Duration,
    /// A fresh id, used if there is an event to make.
    pub fresh: EventId,
    /// A fresh id, used if it becomes stuck and somebody wants to hear of that.
    pub fresh_too: EventId,
    /// The rules.
    pub policy: VerifyPolicy,
    /// Who is to hear.
    pub routing: Arc<Routing>,
}

/// What an answer led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerRecorded {
    /// The lease was still ours; otherwise nothing was recorded.
    pub counted: bool,
    /// The event that was made.
    pub event: Option<EventId>,
    /// When the user is asked about next; `None`: over.
    pub next_due: Option<Timestamp>,
    /// It became stuck just now.
    pub newly_stuck: bool,
    /// If a callback is why the user was asked about: the first one since the user's event before.
    pub rung: Option<CallbackId>,
}

/// How far a walk over a lane has come; the store alone knows what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HastenFrom(pub(crate) Vec<u8>);

/// A step of the walk that hastens a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hastened {
    /// How many were moved.
    pub moved: usize,
    /// Where the next step begins; `None`: the walk is over.
    pub next: Option<HastenFrom>,
}

/// How far a walk over what is settled and old has come; the store alone knows what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepFrom(pub(crate) Vec<u8>);

/// A step of the walk over what is settled and old.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepStep {
    /// What is gone.
    pub gone: Bygone,
    /// Where the next step begins; `None`: the walk is over.
    pub next: Option<SweepFrom>,
}

/// How much is settled and old, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bygone {
    /// Events whose deliveries are all settled.
    pub events: u64,
    /// Their deliveries.
    pub deliveries: u64,
    /// The attempts of these.
    pub attempts: u64,
    /// Callbacks, those without a user id included.
    pub callbacks: u64,
    /// Queries.
    pub queries: u64,
    /// Jobs that have ended.
    pub jobs: u64,
}

impl Bygone {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            deliveries: self.deliveries + other.deliveries,
            attempts: self.attempts + other.attempts,
            callbacks: self.callbacks + other.callbacks,
            queries: self.queries + other.queries,
            jobs: self.jobs + other.jobs,
        }
    }

    /// Each kind by its name.
    #[must_use]
    pub const fn kinds(self) -> [(&'static str, u64); 6] {
        [
            ("events", self.events),
            ("deliveries", self.deliveries),
            ("attempts", self.attempts),
            ("callbacks", self.callbacks),
            ("queries", self.queries),
            ("jobs", self.jobs),
        ]
    }

    /// All kinds together.
    #[must_use]
    pub fn total(self) -> u64 {
        self.kinds().into_iter().map(|(_, number)| number).sum()
    }
}

/// A delivery to attempt: its lease is the caller's.
#[derive(Clone, Debug)]
pub struct DeliveryClaim {
    /// As claimed; `attempts` names the lease and numbers the attempt.
    pub delivery: Delivery,
    /// What is to be told.
    pub event: Event,
    /// It finds out whether the endpoint, which is down or was resumed, is well: whatever else waits goes after it.
    pub alone: bool,
}

/// How a claimed delivery's attempt ended, and all that the decision needs.
#[derive(Clone, Debug)]
pub struct AttemptReport {
    /// When it was begun.
    pub began: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended.
    pub now: Timestamp,
    /// The jitter, from -1 to 1.
    pub draw: f64,
    /// A fresh id, used if the endpoint goes down or is up again, and somebody wants to hear of that.
    pub fresh: EventId,
    /// A fresh id, used if the delivery is abandoned and somebody wants to hear of that.
    pub fresh_too: EventId,
    /// The endpoint's rules.
    pub policy: DeliveryPolicy,
    /// Who is to hear.
    pub routing: Arc<Routing>,
    /// If it was heard and the endpoint is as it was: claim what is due for it next along with the record. A claim of its
    /// own would cost another turn of the store.
    pub onward: Option<Onward>,
}

/// What is to be claimed along with a record.
#[derive(Clone, Copy, Debug)]
pub struct Onward {
    /// For how long.
    pub lease: Duration,
    /// At most so many.
    pub limit: usize,
}

/// What an attempt led to.
#[derive(Clone, Debug)]
pub struct AttemptRecorded {
    /// The delivery as it now stands.
    pub delivery: Delivery,
    /// Whether the endpoint went down or is up again.
    pub change: HealthChange,
    /// Whether the endpoint is paused.
    pub paused: Option<Pause>,
    /// Whether the endpoint is down or paused: what is pending waits for it.
    pub held: bool,
    /// The next that are due, if any were to be claimed.
    pub next: Vec<DeliveryClaim>,
}

/// Why an operator's wish for one delivery was not carried out. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such delivery.
    #[error("there is no such delivery")]
    NotThere,
    /// It is being sent at this moment.
    #[error("an attempt is under way at this moment")]
    UnderWay,
    /// It was delivered.
    #[error("it was delivered")]
    Delivered,
    /// An older result of the same user goes first.
    #[error("an older result of the same user goes first")]
    BehindAnother,
}

/// One query as remembered in a user's story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryRecord {
    /// When its answer was in.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What it said.
    pub answer: Answer,
}

/// A delivery and its recorded attempts, oldest first.
pub type Told = (Delivery, Vec<Attempt>);

/// All that is held of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Callbacks, oldest first.
    pub callbacks: Vec<Callback>,
    /// Those of the callbacks that were kept as unrecognized at first, and when an operator had them read again.
    pub recognized: Vec<(CallbackId, Timestamp)>,
    /// What was ordered about the user: the latest of it, oldest first.
    pub orders: Vec<(Timestamp, Ordered)>,
    /// Queries, oldest first.
    pub queries: Vec<QueryRecord>,
    /// Events, by sequence, each with its deliveries and their attempts.
    pub events: Vec<(Event, Vec<Told>)>,
    /// The results so far.
    pub state: UserState,
    /// The verification under way.
    pub verification: Option<Verification>,
}

/// How much work is held, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Verifications under way.
    pub verifications: u64,
    /// Deliveries not settled, by endpoint.
    pub deliveries: Vec<(EndpointName, u64)>,
}

fn unsupported() -> StoreError {
    StoreError::Write(Arc::new(std::io::ErrorKind::Unsupported.into()))
}

/// The use cases of the relay on its state. What there is to look through is in [`Lists`].
#[async_trait]
pub trait Store: Lists + Send + Sync + 'static {
    /// Keeps a callback and rings for its user's verification. `fresh` is used if the callback is unrecognized and
    /// somebody wants to hear of that.
    ///
    /// # Errors
    /// Not durable: nothing was kept that would later count as accepted.
    async fn accept(
        &self,
        callback: Callback,
        fresh: EventId,
        routing: Arc<Routing>,
    ) -> Result<(), StoreError>;

    /// Rings for a user's verification without a callback.
    ///
    /// # Errors
    /// The store failed; nobody was rung for.
    async fn request_verification(
        &self,
        merchant: &MerchantNo,
        user: &UserId,
        source: Source,
        trust: Trust,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// A callback that was kept as unrecognized is found to speak of a user, whom it claims to stand so: it stands among
    /// that user's callbacks from now on, and the user is asked about. One that has its user already keeps it, and only
    /// rings. `false`: it is not kept any more.
    ///
    /// # Errors
    /// The store failed; nothing is changed.
    async fn recognize(
        &self,
        callback: CallbackId,
        user: &UserId,
        claim: Option<String>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Claims up to `limit` verifications that are due, the most trusted first, then the oldest.
    ///
    /// # Errors
    /// The store failed; nothing is claimed, or the lease of what was runs out by itself.
    async fn claim_verifications(
        &self,
        merchant: &MerchantNo,
        lane: VerifyLane,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<VerifyClaim>, StoreError>;

    /// Records an answer: verification, user, event and deliveries in one transaction.
    ///
    /// # Errors
    /// The store failed; the verification is due again when its lease runs out.
    async fn record_answer(
        &self,
        claim: &VerifyClaim,
        report: AnswerReport,
    ) -> Result<AnswerRecorded, StoreError>;

    /// Gives a claimed verification back unasked.
    ///
    /// # Errors
    /// The store failed; it is due again when its lease runs out.
    async fn release_verification(
        &self,
        claim: &VerifyClaim,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Looks at up to `limit` of a merchant's waiting verifications of this lane, and makes those due now that were not
    /// asked about since `back`: they stand, class by class, in order of how long they have waited, whether they were
    /// due already or not. For when the provider is back: what failed with it does not wait out its own schedule.
    /// The walk begins without `from` and goes on with what the step before returned.
    ///
    /// # Errors
    /// The store failed; they come due by their own schedule.
    async fn hasten_verifications(
        &self,
        merchant: &MerchantNo,
        lane: VerifyLane,
        back: Timestamp,
        from: Option<HastenFrom>,
        limit: usize,
    ) -> Result<Hastened, StoreError>;

    /// Claims up to `limit` deliveries of an endpoint that are due, the oldest due first, at most one per user line.
    ///
    /// # Errors
    /// The store failed; nothing is claimed, or the lease of what was runs out by itself.
    async fn claim_deliveries(
        &self,
        endpoint: &EndpointName,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<DeliveryClaim>, StoreError>;

    /// Records an attempt, settles its delivery and takes in how its endpoint is. `None` if the lease was no longer
    /// ours and nothing was recorded.
    ///
    /// A success of which nothing follows may be taken back by a power cut that comes at once: the delivery is then made
    /// again, under the same id. Whatever follows from it (the next of its user's line, above all) never is there
    /// without it.
    ///
    /// # Errors
    /// The store failed; the delivery is due again when its lease runs out.
    async fn record_attempt(
        &self,
        claim: &DeliveryClaim,
        report: AttemptReport,
    ) -> Result<Option<AttemptRecorded>, StoreError> {
        let mut recorded = self.record_attempts(vec![(claim, report)]).await?;
        recorded.pop().unwrap_or(Ok(None))
    }

    /// Records attempts in this order, each like [`Store::record_attempt`]: one that cannot be recorded keeps back none of the
    /// others. As many are returned.
    ///
    /// # Errors
    /// The store failed, for all of them or for one.
    async fn record_attempts(
        &self,
        attempts: Vec<(&DeliveryClaim, AttemptReport)>,
    ) -> Result<Vec<Result<Option<AttemptRecorded>, StoreError>>, StoreError>;

    /// How an endpoint is.
    ///
    /// # Errors
    /// The store failed.
    async fn health(&self, endpoint: &EndpointName) -> Result<Health, StoreError>;

    /// Holds an endpoint's deliveries until it is resumed. Returns how it now is.
    ///
    /// # Errors
    /// The store failed; nothing changed.
    async fn pause(&self, endpoint: &EndpointName, now: Timestamp) -> Result<Health, StoreError>;

    /// Takes an endpoint for up, whatever it was: what is held goes out, one at a time until it has heard one. If it was
    /// told to be down, that is then taken back. Returns how it now is.
    ///
    /// # Errors
    /// The store failed; nothing changed.
    async fn resume(&self, endpoint: &EndpointName, now: Timestamp) -> Result<Health, StoreError>;

    /// Tries an abandoned delivery again from the start of its schedule, or a waiting one at once.
    ///
    /// # Errors
    /// The store failed; nothing changed. The inner error: it cannot be done, and why.
    async fn retry(
        &self,
        event: EventId,
        endpoint: &EndpointName,
        now: Timestamp,
    ) -> Result<Result<Delivery, Refused>, StoreError>;

    /// Gives a pending delivery up; of an abandoned one it is noted that nobody wants it any more.
    ///
    /// # Errors
    /// The store failed; nothing changed. The inner error: it cannot be done, and why.
    async fn discard(
        &self,
        event: EventId,
        endpoint: &EndpointName,
        now: Timestamp,
    ) -> Result<Result<Delivery, Refused>, StoreError>;

    /// Sends an endpoint a test event. Returns whether there is such an endpoint.
    ///
    /// # Errors
    /// The store failed; nothing is sent.
    async fn test(
        &self,
        endpoint: &EndpointName,
        fresh: EventId,
        now: Timestamp,
        routing: Arc<Routing>,
    ) -> Result<bool, StoreError>;

    /// How many deliveries an order is about. A store without jobs says so with an error, here and below.
    ///
    /// # Errors
    /// The store failed.
    async fn count_job(&self, order: &JobOrder, routing: Arc<Routing>) -> Result<u64, StoreError> {
        let _none = (order, routing);
        Err(unsupported())
    }

    /// Keeps a job, to be worked off by [`Store::advance_job`]; `total` is what was counted.
    ///
    /// # Errors
    /// The store failed; nothing was ordered.
    async fn begin_job(
        &self,
        order: JobOrder,
        total: u64,
        now: Timestamp,
    ) -> Result<Job, StoreError> {
        let _none = (order, total, now);
        Err(unsupported())
    }

    /// Does what was ordered with the next deliveries that a job is about, at most `limit`, together with how far it
    /// is. Returns how it now stands; `None`: there is no such job.
    ///
    /// # Errors
    /// The store failed; it stands where it stood.
    async fn advance_job(
        &self,
        id: u64,
        limit: usize,
        now: Timestamp,
        routing: Arc<Routing>,
    ) -> Result<Option<Job>, StoreError> {
        let _none = (id, limit, now, routing);
        Err(unsupported())
    }

    /// Ends a job; what was done stays done. Returns how it now stands; `None`: there is no such job.
    ///
    /// # Errors
    /// The store failed; it goes on.
    async fn cancel_job(&self, id: u64, now: Timestamp) -> Result<Option<Job>, StoreError> {
        let _none = (id, now);
        Err(unsupported())
    }

    /// All jobs, oldest first.
    ///
    /// # Errors
    /// The store failed.
    async fn jobs(&self) -> Result<Vec<Job>, StoreError> {
        Ok(Vec::new())
    }

    /// Looks at the next `limit` records from before then and lets go of those that are settled: events of which every
    /// delivery was told or given up before then, with these and their attempts; callbacks and queries of users that
    /// are not asked about and of whom no older event stays; jobs that have ended. What is remembered of a user stays.
    /// The walk begins without `from` and goes on with what the step before returned.
    ///
    /// # Errors
    /// The store failed; nothing of this step is gone.
    async fn sweep(
        &self,
        before: Timestamp,
        from: Option<SweepFrom>,
        limit: usize,
    ) -> Result<SweepStep, StoreError> {
        let _none = (before, from, limit);
        Err(unsupported())
    }

    /// How much [`Store::sweep`] would let go of, were everything from before then looked at now.
    ///
    /// # Errors
    /// The store failed.
    async fn count_settled(&self, before: Timestamp) -> Result<Bygone, StoreError> {
        let _none = before;
        Err(unsupported())
    }

    /// One delivery with its event and attempts.
    ///
    /// # Errors
    /// The store failed, or a record is damaged.
    async fn delivery(
        &self,
        event: EventId,
        endpoint: &EndpointName,
    ) -> Result<Option<(Event, Told)>, StoreError> {
        let _none = (event, endpoint);
        Err(unsupported())
    }

    /// Gives a claimed delivery back unsent.
    ///
    /// # Errors
    /// The store failed; it is due again when its lease runs out.
    async fn release_delivery(
        &self,
        claim: &DeliveryClaim,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Has a user asked about unprompted from `due` on, until the result is final. One that is asked about already
    /// is left to its schedule; one that is stuck is revived. Returns whether anything changed.
    ///
    /// # Errors
    /// The store failed; nothing changed.
    async fn watch(
        &self,
        merchant: &MerchantNo,
        user: &UserId,
        now: Timestamp,
        due: Timestamp,
    ) -> Result<bool, StoreError>;

    /// An application is about to go out: kept as of unknown fate, and its user watched from `due` on, before
    /// anything is sent. If one is out already, nothing changes and that one is returned; so is the user's latest one
    /// of a batch if this is of the same batch, whatever became of it, unless it was declined or did not arrive.
    ///
    /// # Errors
    /// The store failed; nothing must be sent.
    async fn begin_application(
        &self,
        merchant: &MerchantNo,
        user: &UserId,
        batch: Option<&Batch>,
        now: Timestamp,
        due: Timestamp,
    ) -> Result<Option<Application>, StoreError>;

    /// What the provider said to an application that was begun. Not called when nothing is known: then a query
    /// will tell. A user watched for this application alone is first asked about at `look`, or no longer if there is
    /// no such time or the application was declined.
    ///
    /// # Errors
    /// The store failed; the application stays of unknown fate, and a query will tell.
    async fn finish_application(
        &self,
        merchant: &MerchantNo,
        user: &UserId,
        accepted: bool,
        look: Option<Timestamp>,
    ) -> Result<(), StoreError>;

    /// Tells of something about the relay itself, if anybody wants to hear of it.
    ///
    /// # Errors
    /// The store failed; nobody is told.
    async fn publish(
        &self,
        fresh: EventId,
        now: Timestamp,
        news: OperationalEvent,
        routing: Arc<Routing>,
    ) -> Result<(), StoreError>;

    /// Notes that the relay is alive.
    ///
    /// # Errors
    /// The store failed.
    async fn beat(&self, now: Timestamp) -> Result<(), StoreError>;

    /// When the relay was last noted to be alive.
    ///
    /// # Errors
    /// The store failed.
    async fn alive(&self) -> Result<Option<Timestamp>, StoreError>;

    /// When the first verification of a merchant is due that a trusted callback or an operator started. Who is only
    /// watched is not among them: they are asked about when there is room.
    ///
    /// # Errors
    /// The store failed.
    async fn next_rung(&self, merchant: &MerchantNo) -> Result<Option<Timestamp>, StoreError> {
        self.next_due(&Lane::Verify(merchant.clone(), VerifyLane::Main))
            .await
    }

    /// When the next work of a lane is due, if there is any; an instant in the past: now.
    ///
    /// # Errors
    /// The store failed.
    async fn next_due(&self, lane: &Lane) -> Result<Option<Timestamp>, StoreError>;

    /// All that is held of one user.
    ///
    /// # Errors
    /// The store failed, or a record is damaged.
    async fn story(&self, merchant: &MerchantNo, user: &UserId) -> Result<Story, StoreError>;

    /// How much work is held.
    ///
    /// # Errors
    /// The store failed.
    async fn pending(&self) -> Result<Pending, StoreError>;

    /// The newest callbacks without a user id, newest first, at most `limit`.
    ///
    /// # Errors
    /// The store failed, or a record is damaged.
    async fn unrecognized(&self, limit: usize) -> Result<Vec<Callback>, StoreError>;

    /// Wake-ups for work that was added.
    fn signals(&self) -> &Signals;

    /// Writes a consistent image of everything to a new file, synced and read back, while work goes on; returns its
    /// size in bytes. A store whose database has tools of its own for this says so with an error.
    ///
    /// # Errors
    /// It could not be written; no file of this name was made.
    async fn backup(&self, to: PathBuf) -> Result<u64, StoreError> {
        let _none = to;
        Err(StoreError::Write(Arc::new(
            std::io::ErrorKind::Unsupported.into(),
        )))
    }

    /// Writes everything as JSON Lines (`docs/export.md`) while work goes on; returns the number of lines. Each record
    /// is as it was at some moment of the export.
    ///
    /// # Errors
    /// It could not be read or written.
    async fn export(&self, to: Box<dyn std::io::Write + Send>) -> Result<u64, StoreError> {
        drop(to);
        Err(StoreError::Write(Arc::new(
            std::io::ErrorKind::Unsupported.into(),
        )))
    }

    /// Makes everything durable and stops taking in. Idempotent.
    ///
    /// # Errors
    /// The last sync failed.
    async fn close(&self) -> Result<(), StoreError>;
}
