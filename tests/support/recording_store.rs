//! A store that records what it is asked to accept, and fails when told to: the fake at the edge of the listener.
//!
//! Only `accept` does anything; the stages behind the listener have no business here.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use vexora_relay::domain::{
    Application, Batch, Callback, CallbackId, Delivery, EndpointName, EventId, Health, MerchantNo,
    OperationalEvent, Routing, Source, Timestamp, Trust, UserId, VerifyLane,
};
use vexora_relay::store::{
    AnswerRecorded, AnswerReport, AttemptRecorded, AttemptReport, DeliveryClaim, HastenFrom,
    Hastened, Lane, Lists, Pending, Refused, Signals, Store, StoreError, Story, VerifyClaim,
};

type Failure = Box<dyn Fn() -> StoreError + Send>;

pub struct RecordingStore {
    accepted: Mutex<Vec<Callback>>,
    failure: Mutex<Option<Failure>>,
    /// Each `accept` takes one of these; a stalled store has none.
    turns: Semaphore,
    arrived: Semaphore,
    signals: Signals,
}

impl RecordingStore {
    pub fn new() -> Self {
        Self {
            accepted: Mutex::default(),
            failure: Mutex::default(),
            turns: Semaphore::new(Semaphore::MAX_PERMITS),
            arrived: Semaphore::new(0),
            signals: Signals::default(),
        }
    }

    pub fn accepted(&self) -> Vec<Callback> {
        self.accepted.lock().expect("not poisoned").clone()
    }

    pub fn fail_with(&self, failure: impl Fn() -> StoreError + Send + 'static) {
        *self.failure.lock().expect("not poisoned") = Some(Box::new(failure));
    }

    /// From now on `accept` does not return before [`Self::resume`].
    pub fn stall(&self) {
        self.turns.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub fn resume(&self) {
        self.turns.add_permits(1000);
    }

    /// Ends when a callback has come as far as the store.
    pub async fn reached(&self) {
        self.arrived.acquire().await.expect("open").forget();
    }
}

/// Nothing here is looked through.
impl Lists for RecordingStore {}

#[async_trait]
impl Store for RecordingStore {
    async fn accept(
        &self,
        callback: Callback,
        _fresh: EventId,
        _routing: Arc<Routing>,
    ) -> Result<(), StoreError> {
        self.arrived.add_permits(1);
        self.turns.acquire().await.expect("open").forget();
        if let Some(failure) = self.failure.lock().expect("not poisoned").as_ref() {
            return Err(failure());
        }
        self.accepted.lock().expect("not poisoned").push(callback);
        Ok(())
    }

    async fn request_verification(
        &self,
        _: &MerchantNo,
        _: &UserId,
        _: Source,
        _: Trust,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        Err(StoreError::Stopping)
    }

    async fn recognize(
        &self,
        _: CallbackId,
        _: &UserId,
        _: Option<String>,
        _: Timestamp,
    ) -> Result<bool, StoreError> {
        Err(StoreError::Stopping)
    }

    async fn claim_verifications(
        &self,
        _: &MerchantNo,
        _: VerifyLane,
        _: Timestamp,
        _: Duration,
        _: usize,
    ) -> Result<Vec<VerifyClaim>, StoreError> {
        Ok(Vec::new())
    }

    async fn record_answer(
        &self,
        _: &VerifyClaim,
        _: AnswerReport,
    ) -> Result<AnswerRecorded, StoreError> {
        Ok(AnswerRecorded::default())
    }

    async fn release_verification(&self, _: &VerifyClaim, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn hasten_verifications(
        &self,
        _: &MerchantNo,
        _: VerifyLane,
        _: Timestamp,
        _: Option<HastenFrom>,
        _: usize,
    ) -> Result<Hastened, StoreError> {
        Ok(Hastened::default())
    }

    async fn claim_deliveries(
        &self,
        _: &EndpointName,
        _: Timestamp,
        _: Duration,
        _: usize,
    ) -> Result<Vec<DeliveryClaim>, StoreError> {
        Ok(Vec::new())
    }

    async fn record_attempts(
        &self,
        attempts: Vec<(&DeliveryClaim, AttemptReport)>,
    ) -> Result<Vec<Result<Option<AttemptRecorded>, StoreError>>, StoreError> {
        Ok(attempts.iter().map(|_| Ok(None)).collect())
    }

    async fn release_delivery(&self, _: &DeliveryClaim, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn health(&self, _: &EndpointName) -> Result<Health, StoreError> {
        Ok(Health::default())
    }

    async fn pause(&self, _: &EndpointName, _: Timestamp) -> Result<Health, StoreError> {
        Ok(Health::default())
    }

    async fn resume(&self, _: &EndpointName, _: Timestamp) -> Result<Health, StoreError> {
        Ok(Health::default())
    }

    async fn retry(
        &self,
        _: EventId,
        _: &EndpointName,
        _: Timestamp,
    ) -> Result<Result<Delivery, Refused>, StoreError> {
        Ok(Err(Refused::NotThere))
    }

    async fn discard(
        &self,
        _: EventId,
        _: &EndpointName,
        _: Timestamp,
    ) -> Result<Result<Delivery, Refused>, StoreError> {
        Ok(Err(Refused::NotThere))
    }

    async fn test(
        &self,
        _: &EndpointName,
        _: EventId,
        _: Timestamp,
        _: Arc<Routing>,
    ) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn watch(
        &self,
        _: &MerchantNo,
        _: &UserId,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn begin_application(
        &self,
        _: &MerchantNo,
        _: &UserId,
        _: Option<&Batch>,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Option<Application>, StoreError> {
        Ok(None)
    }

    async fn finish_application(
        &self,
        _: &MerchantNo,
        _: &UserId,
        _: bool,
        _: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    async fn publish(
        &self,
        _: EventId,
        _: Timestamp,
        _: OperationalEvent,
        _: Arc<Routing>,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    async fn beat(&self, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn alive(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn next_due(&self, _: &Lane) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn story(&self, _: &MerchantNo, _: &UserId) -> Result<Story, StoreError> {
        Ok(Story::default())
    }

    async fn pending(&self) -> Result<Pending, StoreError> {
        Ok(Pending::default())
    }

    async fn unrecognized(&self, _: usize) -> Result<Vec<Callback>, StoreError> {
        Ok(Vec::new())
    }

    fn signals(&self) -> &Signals {
        &self.signals
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
