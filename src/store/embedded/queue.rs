//! The way into the commit loop: use cases wait here for their turn, and their callers for what came of it.
//!
//! Promise: whoever stopped waiting before the turn came is not counted, and whoever waits is answered when the group is
//! where it belongs. All come out as they came in, callbacks too: what follows from one is not left behind by those that come
//! after it (what the commit loop then keeps for a moment: `commit/gathering.rs`). But there are places that only callbacks
//! take: whatever else there is to do, such as the records of thousands of attempts that failed at once, none is refused for it.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::txn::Txn;
use crate::store::StoreError;

/// Callbacks that may wait, and so many others besides. One callback more is refused with 503, and whatever else is one more
/// waits for a place. At the measured rates all of them are about a second's work, so whoever waits is answered well within
/// the provider's ten seconds.
const PLACES: usize = 4096;

pub(super) type Answer = Box<dyn FnOnce(Result<(), &Arc<io::Error>>) + Send>;
pub(super) type Job = Box<dyn FnOnce(&mut Txn<'_>) -> Option<Answer> + Send>;

/// What a use case is to the group that it becomes part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A callback, to be synced.
    Callback,
    /// Whatever else is to be synced.
    Synced,
    /// What a power cut may take back.
    Loose,
}

/// What comes into the commit loop.
pub(super) enum Message {
    Run(Job, Kind),
    Close(oneshot::Sender<io::Result<()>>),
}

/// A message on its way, and the place that it takes up until it has its turn.
struct Sent {
    message: Message,
    place: Option<OwnedSemaphorePermit>,
}

impl Sent {
    fn taken(self) -> Message {
        drop(self.place);
        self.message
    }
}

/// The way into the commit loop.
#[derive(Debug, Clone)]
pub(super) struct Committer {
    queue: mpsc::UnboundedSender<Sent>,
    for_callbacks: Arc<Semaphore>,
    for_others: Arc<Semaphore>,
}

impl Committer {
    /// The way in, and where what is sent arrives.
    pub(super) fn new() -> (Self, Waiting) {
        let (queue, waiting) = mpsc::unbounded_channel();
        let committer = Self {
            queue,
            for_callbacks: Arc::new(Semaphore::new(PLACES)),
            for_others: Arc::new(Semaphore::new(PLACES)),
        };
        (committer, Waiting(waiting))
    }

    /// Runs a use case; waits for its turn. Effects are durable when this returns `Ok`.
    pub(super) async fn submit<R: Send + 'static>(
        &self,
        use_case: impl FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.wait(package(use_case, Kind::Synced)).await?
    }

    /// Like [`Committer::submit`] for what a power cut may take back: its effects survive a kill when this returns `Ok`,
    /// and a power cut once anything after them does, or a moment later. Unless the use case, having looked, says that
    /// it [requires](Txn::require_sync) more.
    pub(super) async fn submit_loose<R: Send + 'static>(
        &self,
        use_case: impl FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.wait(package(use_case, Kind::Loose)).await?
    }

    /// Like [`Committer::submit_loose`] for several, one after the other in one group, each of which counts or fails by itself.
    pub(super) async fn submit_loose_all<R: Send + 'static>(
        &self,
        use_cases: Vec<impl FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static>,
    ) -> Result<Vec<Result<R, StoreError>>, StoreError> {
        let run = move |txn: &mut Txn<'_>| -> Vec<_> {
            let results = use_cases.into_iter().map(|use_case| txn.scoped(use_case));
            results.collect()
        };
        let fail = |results: Vec<_>, error: &_| -> Vec<_> {
            let failed = results.into_iter().map(|result| unwritten(result, error));
            failed.collect()
        };
        self.wait(packed(run, fail, Kind::Loose)).await
    }

    async fn wait<A>(&self, packed: Packed<A>) -> Result<A, StoreError> {
        let place = Arc::clone(&self.for_others).acquire_owned().await;
        self.answered(place.ok(), packed).await
    }

    /// Like [`Committer::submit`] for a callback: refuses at once when too many of them wait.
    pub(super) async fn submit_callback<R: Send + 'static>(
        &self,
        use_case: impl FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let place = Arc::clone(&self.for_callbacks).try_acquire_owned();
        let place = place.map_err(|_none| StoreError::Overloaded)?;
        self.answered(Some(place), package(use_case, Kind::Callback))
            .await?
    }

    async fn answered<A>(
        &self,
        place: Option<OwnedSemaphorePermit>,
        (message, answer): Packed<A>,
    ) -> Result<A, StoreError> {
        let sent = self.queue.send(Sent { message, place });
        sent.map_err(|_closed| StoreError::Stopping)?;
        answer.await.map_err(|_ended| StoreError::Stopping)
    }

    /// Lets what waits be done, syncs, and ends the thread.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let (done, closed) = oneshot::channel();
        let close = Sent {
            message: Message::Close(done),
            place: None,
        };
        if self.queue.send(close).is_err() {
            return Ok(());
        }
        match closed.await {
            Ok(result) => result.map_err(|error| StoreError::Write(Arc::new(error))),
            Err(_ended_meanwhile) => Ok(()),
        }
    }
}

/// Where what is sent arrives, for the one thread that works on it.
pub(super) struct Waiting(mpsc::UnboundedReceiver<Sent>);

impl Waiting {
    /// The next message, once there is one; `None` when nobody is left to send any.
    pub(super) fn next(&mut self) -> Option<Message> {
        self.0.blocking_recv().map(Sent::taken)
    }

    /// Likewise, but [`Poll::Pending`] if nothing came until then.
    #[allow(
        clippy::disallowed_methods,
        reason = "a bound for the disk's sake, not a schedule that a test runs through"
    )]
    pub(super) fn next_until(&mut self, until: Instant) -> Poll<Option<Message>> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(message) = self.0.poll_recv(&mut context) {
                return Poll::Ready(message.map(Sent::taken));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Poll::Pending;
            }
            thread::park_timeout(left);
        }
    }

    /// The next message, if there is one already.
    pub(super) fn ready(&mut self) -> Option<Message> {
        self.0.try_recv().ok().map(Sent::taken)
    }

    /// Takes no more; what was sent before is still here.
    pub(super) fn close(&mut self) {
        self.0.close();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What is to be done, and where its answer arrives.
type Packed<A> = (Message, oneshot::Receiver<A>);

/// A use case and the way its answer comes back.
fn package<R: Send + 'static>(
    use_case: impl FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
    kind: Kind,
) -> Packed<Result<R, StoreError>> {
    packed(|txn| txn.scoped(use_case), unwritten, kind)
}

/// What is answered where the group could not be written.
fn unwritten<R>(result: Result<R, StoreError>, error: &Arc<io::Error>) -> Result<R, StoreError> {
    result.and_then(|_| Err(StoreError::Write(Arc::clone(error))))
}

/// What is to be done in a group, and the way its answer comes back: what that returned, or what `fail` makes of it where the
/// group could not be written.
fn packed<A: Send + 'static>(
    run: impl FnOnce(&mut Txn<'_>) -> A + Send + 'static,
    fail: impl FnOnce(A, &Arc<io::Error>) -> A + Send + 'static,
    kind: Kind,
) -> Packed<A> {
    let (reply, answer) = oneshot::channel();
    let job: Job = Box::new(move |txn| {
        // Whoever asked has been told 503 meanwhile: it must not count after that.
        if reply.is_closed() {
            return None;
        }
        if kind != Kind::Loose {
            txn.require_sync();
        }
        let done = run(txn);
        let answer: Answer = Box::new(move |written| {
            let done = match written {
                Ok(()) => done,
                Err(error) => fail(done, error),
            };
            // Nobody waits any more: what is durable stays, and will be found again.
            let _nobody = reply.send(done);
        });
        Some(answer)
    });
    (Message::Run(job, kind), answer)
}

#[cfg(test)]
mod tests;
