//! Where log lines go: gathered in memory for a few milliseconds, then written to stderr together.
//!
//! Promises: lines come out in the order in which they went in, and none is dropped. A warning or an error, and
//! everything before it, is written when the call that logs it returns; any other line at most [`GATHERED`] later, and
//! at the latest when [`Gathering`] is dropped, after which every line is written at once. What waits is bounded by
//! [`FULL`]: beyond it whoever logs writes. A stderr that fails is nobody's error.
//!
//! A process that is killed takes with it what it gathered in the last [`GATHERED`].

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line may wait for others. Nobody who reads along notices it; a busy relay logs dozens of lines meanwhile.
const GATHERED: Duration = Duration::from_millis(5);

/// Bytes that may wait while a slow reader holds up the one who writes.
const FULL: usize = 1 << 20;

/// Room that is kept for the next lines; what a slow reader made necessary is given back.
const KEPT: usize = 64 << 10;

/// The way in for lines.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    /// Something waits that nobody writes yet, or the gathering is over.
    rung: Condvar,
    /// Taken before anything is taken out of `waiting`, and held until that is written: this keeps the order.
    out: Mutex<Out>,
}

struct Waiting {
    bytes: Vec<u8>,
    /// Nothing is gathered (any more).
    is_over: bool,
}

struct Out {
    sink: Box<dyn Write + Send>,
    /// What is being written; empty in between.
    bytes: Vec<u8>,
}

impl Lines {
    /// Lines that are all written at once.
    pub(super) fn immediate(sink: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Shared {
            waiting: Mutex::new(Waiting {
                bytes: Vec::new(),
                is_over: true,
            }),
            rung: Condvar::new(),
            out: Mutex::new(Out {
                sink: Box::new(sink),
                bytes: Vec::new(),
            }),
        }))
    }

    /// Gathers lines from now on, until what this returns is dropped.
    ///
    /// # Errors
    /// There is no thread to write them; they are written at once then.
    pub(super) fn gather(&self) -> io::Result<Gathering> {
        let shared = Arc::clone(&self.0);
        let thread = std::thread::Builder::new().name("log".into());
        locked(&self.0.waiting).is_over = false;
        let gathering = Gathering(Arc::clone(&self.0));
        // Dropped where this fails, which ends what has hardly begun.
        thread.spawn(move || shared.write_until_over())?;
        Ok(gathering)
    }
}

/// While it lives, lines are gathered. Whatever was gathered is written when it goes.
pub(super) struct Gathering(Arc<Shared>);

impl Drop for Gathering {
    fn drop(&mut self) {
        locked(&self.0.waiting).is_over = true;
        self.0.rung.notify_all();
        self.0.write();
    }
}

impl Shared {
    fn take(&self, line: &[u8], is_urgent: bool) {
        loop {
            let mut waiting = locked(&self.waiting);
            if waiting.bytes.len() < FULL {
                let is_first = waiting.bytes.is_empty();
                waiting.bytes.extend_from_slice(line);
                let is_urgent = is_urgent || waiting.is_over;
                drop(waiting);
                if is_urgent {
                    self.write();
                } else if is_first {
                    self.rung.notify_one();
                }
                return;
            }
            drop(waiting);
            self.write();
        }
    }

    /// Writes what waits. When this returns, everything that waited before it was called is written.
    fn write(&self) {
        let mut out = locked(&self.out);
        let Out { sink, bytes } = &mut *out;
        std::mem::swap(&mut locked(&self.waiting).bytes, bytes);
        // A log that nobody can read any more must not stop what it tells of, and there is nowhere to say so.
        let _unheard = sink.write_all(bytes).and_then(|()| sink.flush());
        bytes.clear();
        bytes.shrink_to(KEPT);
    }

    fn write_until_over(&self) {
        let nothing = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.is_over;
        let gathers = |waiting: &mut Waiting| waiting.bytes.len() < FULL && !waiting.is_over;
        loop {
            let waiting = locked(&self.waiting);
            let waiting = self.rung.wait_while(waiting, nothing);
            let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
            let waited = self.rung.wait_timeout_while(waiting, GATHERED, gathers);
            let (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let is_over = waiting.is_over;
            drop(waiting);
            self.write();
            if is_over {
                return;
            }
        }
    }
}

/// Bytes are whole at every moment at which somebody could panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One line on its way. Never fails: the library would say so on stderr, and panic if it cannot.
pub(super) struct Line<'a> {
    shared: &'a Shared,
    is_urgent: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.shared.take(line, self.is_urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            shared: &self.0,
            is_urgent: true,
        }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        Line {
            shared: &self.0,
            is_urgent: *meta.level() <= Level::WARN,
        }
    }
}

/// The standard error. One that does not block is waited for, as if it did: whoever started us may have left it so.
#[derive(Debug)]
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let stderr = io::stderr();
            match (&stderr).write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut until = [PollFd::new(&stderr, PollFlags::OUT)];
                    poll(&mut until, None)?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
