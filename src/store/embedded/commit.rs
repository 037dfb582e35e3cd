//! The commit loop: one thread takes what waits, decides it in order, writes it as one group, then answers all.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::engine::Engine;
use super::txn::{Room, Txn};
use crate::store::{Signals, StoreError};

/// Use cases that may wait; the next callback is refused with 503. At the measured rates this is under a second's
/// work, so whoever waits is answered well within the provider's ten seconds.
const QUEUE: usize = 4096;

/// The largest group: beyond it latency grows and throughput does not.
const GROUP: usize = 256;

/// How old a reading of the free disk space may be.
const ROOM_AGE: Duration = Duration::from_millis(500);

type Answer = Box<dyn FnOnce(Result<(), &Arc<io::Error>>) + Send>;
type Job = Box<dyn FnOnce(&mut Txn<'_>) -> Option<Answer> + Send>;

enum Message {
    Run(Job),
    Close(oneshot::Sender<io::Result<()>>),
}

/// The way into the commit loop.
#[derive(Debug, Clone)]
pub(super) struct Committer {
    queue: mpsc::Sender<Message>,
}

impl Committer {
    /// Starts the thread.
    pub(super) fn start(
        engine: Arc<Engine>,
        signals: Arc<Signals>,
        min_free: u64,
    ) -> io::Result<Self> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                Loop {
                    engine,
                    signals,
                    min_free,
                    room: None,
                }
                .run(waiting)
            })?;
        Ok(Self { queue })
    }

    /// Runs a use case; waits for its turn. Effects are durable when this returns `Ok`.
    pub(super) async fn submit<R: Send + 'static>(
        &self,
        use_case: impl FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (job, answer) = package(use_case);
        self.queue
            .send(job)
            .await
            .map_err(|_closed| StoreError::Stopping)?;
        answer.await.unwrap_or(Err(StoreError::Stopping))
    }

    /// Like [`Committer::submit`], but refuses at once when too many wait.
    pub(super) async fn submit_or_refuse<R: Send + 'static>(
        &self,
        use_case: impl FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (job, answer) = package(use_case);
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

/// A use case and the way its answer comes back.
fn package<R: Send + 'static>(
    use_case: impl FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
) -> (Message, oneshot::Receiver<Result<R, StoreError>>) {
    let (reply, answer) = oneshot::channel();
    let job: Job = Box::new(move |txn| {
        // Whoever asked has been told 503 meanwhile: it must not count after that.
        if reply.is_closed() {
            return None;
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

struct Loop {
    engine: Arc<Engine>,
    signals: Arc<Signals>,
    min_free: u64,
    room: Option<(Instant, u64)>,
}

impl Loop {
    fn run(mut self, mut waiting: mpsc::Receiver<Message>) {
        let mut group = Vec::with_capacity(GROUP);
        while let Some(first) = waiting.blocking_recv() {
            let mut closing = Vec::new();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Run(job) => group.push(job),
                    Message::Close(done) => {
                        // What was sent before the close is still in the queue and is still done.
                        waiting.close();
                        closing.push(done);
                    }
                }
                next = if group.len() < GROUP {
                    waiting.try_recv().ok()
                } else {
                    None
                };
            }
            self.commit(&mut group);
            if !closing.is_empty() {
                while let Ok(message) = waiting.try_recv() {
                    match message {
                        Message::Run(job) => group.push(job),
                        Message::Close(done) => closing.push(done),
                    }
                }
                self.commit(&mut group);
                self.finish(closing);
                return;
            }
        }
        // Every handle is gone without a close; everything acknowledged is durable already.
    }

    fn commit(&mut self, group: &mut Vec<Job>) {
        if group.is_empty() {
            return;
        }
        let free = self.free_space();
        let mut txn = Txn::new(
            &self.engine,
            Room {
                free,
                min_free: self.min_free,
            },
        );
        let answers: Vec<Answer> = group.drain(..).filter_map(|job| job(&mut txn)).collect();
        let (changes, rings) = txn.finish();
        let written = if changes.is_empty() {
            Ok(())
        } else {
            self.engine.write(&changes)
        };
        match written {
            Ok(()) => {
                for lane in rings.into_iter().collect::<HashSet<_>>() {
                    self.signals.ring(&lane);
                }
                answers.into_iter().for_each(|answer| answer(Ok(())));
            }
            Err(error) => {
                tracing::error!(%error, waiting = answers.len(), "the store could not write; callbacks are answered 503");
                let error = Arc::new(error);
                answers.into_iter().for_each(|answer| answer(Err(&error)));
            }
        }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the age of a reading, not a schedule"
    )]
    fn free_space(&mut self) -> u64 {
        if let Some((at, free)) = self.room
            && at.elapsed() < ROOM_AGE
        {
            return free;
        }
        let free = free_space(self.engine.path()).unwrap_or_else(|error| {
            tracing::error!(%error, "the free space of the data directory cannot be read; callbacks are answered 503");
            0
        });
        self.room = Some((Instant::now(), free));
        free
    }

    fn finish(self, closing: Vec<oneshot::Sender<io::Result<()>>>) {
        let result = self.engine.sync();
        // The lock goes with the engine: it must be free once the close is answered.
        drop(self);
        for done in closing {
            let copy = match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            let _nobody = done.send(copy);
        }
    }
}

/// Free bytes for us on the file system of `path`.
fn free_space(path: &std::path::Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
