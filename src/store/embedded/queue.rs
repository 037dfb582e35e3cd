//! The way into the commit loop: use cases wait here for their turn, and their callers for what came of it.
//!
//! Promise: whoever stopped waiting before the turn came is not counted, and whoever waits is answered when the group is
//! where it belongs.

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::txn::Txn;
use crate::store::StoreError;

/// Use cases that may wait; the next callback is refused with 503. At the measured rates this is under a second's
/// work, so whoever waits is answered well within the provider's ten seconds.
const QUEUE: usize = 4096;

pub(super) type Answer = Box<dyn FnOnce(Result<(), &Arc<io::Error>>) + Send>;
pub(super) type Job = Box<dyn FnOnce(&mut Txn<'_>) -> Option<Answer> + Send>;

/// What comes into the commit loop.
pub(super) enum Message {
    Run(Job),
    Close(oneshot::Sender<io::Result<()>>),
}

/// The way into the commit loop.
#[derive(Debug, Clone)]
pub(super) struct Committer {
    queue: mpsc::Sender<Message>,
}

impl Committer {
    /// The way in, and where what is sent arrives.
    pub(super) fn new() -> (Self, mpsc::Receiver<Message>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue }, waiting)
    }

    /// Runs a use case; waits for its turn. Effects are durable when this returns `Ok`.
    pub(super) async fn submit<R: Send + 'static>(
        &self,
        use_case: impl FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.wait(package(use_case, true)).await
    }

    /// Like [`Committer::submit`] for a claim: its effects survive a kill when this returns `Ok`, and a power cut once
    /// anything after them does.
    pub(super) async fn submit_loose<R: Send + 'static>(
        &self,
        use_case: impl FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.wait(package(use_case, false)).await
    }

    async fn wait<R>(&self, (job, answer): Packed<R>) -> Result<R, StoreError> {
        let sent = self.queue.send(job).await;
        sent.map_err(|_closed| StoreError::Stopping)?;
        answer.await.unwrap_or(Err(StoreError::Stopping))
    }

    /// Like [`Committer::submit`], but refuses at once when too many wait.
    pub(super) async fn submit_or_refuse<R: Send + 'static>(
        &self,
        use_case: impl FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (job, answer) = package(use_case, true);
        self.queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::Stopping,
        })?;
        answer.await.unwrap_or(Err(StoreError::Stopping))
    }

    /// Lets what waits be done, syncs, and ends the thread.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Message::Close(done)).await.is_err() {
            return Ok(());
        }
        match closed.await {
            Ok(result) => result.map_err(|error| StoreError::Write(Arc::new(error))),
            Err(_ended_meanwhile) => Ok(()),
        }
    }
}

/// A use case, and where its answer arrives.
type Packed<R> = (Message, oneshot::Receiver<Result<R, StoreError>>);

/// A use case and the way its answer comes back.
fn package<R: Send + 'static>(
    use_case: impl FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
    must_sync: bool,
) -> Packed<R> {
    let (reply, answer) = oneshot::channel();
    let job: Job = Box::new(move |txn| {
        // Whoever asked has been told 503 meanwhile: it must not count after that.
        if reply.is_closed() {
            return None;
        }
        if must_sync {
            txn.require_sync();
        }
        let result = txn.scoped(use_case);
        let answer: Answer = Box::new(move |written| {
            let result = match written {
                Ok(()) => result,
                Err(error) => result.and_then(|_| Err(StoreError::Write(Arc::clone(error)))),
            };
            // Nobody waits any more: what is durable stays, and will be found again.
            let _nobody = reply.send(result);
        });
        Some(answer)
    });
    (Message::Run(job), answer)
}
