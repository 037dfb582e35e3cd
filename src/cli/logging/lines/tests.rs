//! Lines through a sink that says what it was given, one message for each write.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter as _;

use super::{FULL, Gathering, Lines, locked};

/// Longer than any of this takes, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells each write; with `held`, only once it is allowed to.
struct Told {
    said: Sender<String>,
    held: Option<Receiver<()>>,
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if let Some(held) = &self.held {
            held.recv_timeout(PATIENCE).expect("let go in time");
        }
        let text = String::from_utf8(bytes.to_vec()).expect("whole lines");
        let _test_ended = self.said.send(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn told() -> (Lines, Receiver<String>) {
    let (said, heard) = channel();
    (Lines::immediate(Told { said, held: None }), heard)
}

/// Gathers with nobody to write after a while: only what is urgent, full or over writes.
fn gathering_without_a_thread(lines: &Lines) -> Gathering {
    locked(&lines.0.waiting).is_over = false;
    Gathering(std::sync::Arc::clone(&lines.0))
}

/// As the library writes an event of this level.
fn log(lines: &Lines, level: tracing::Level, line: &str) {
    let metadata = |level| match level {
        tracing::Level::ERROR => meta::error(),
        tracing::Level::WARN => meta::warn(),
        _ => meta::info(),
    };
    let mut writer = lines.make_writer_for(metadata(level));
    writer.write_all(line.as_bytes()).expect("never fails");
}

/// Metadata can only be made by logging something.
mod meta {
    use tracing::Metadata;
    use tracing::callsite::Callsite as _;

    macro_rules! of {
        ($name:ident, $level:expr) => {
            pub(super) fn $name() -> &'static Metadata<'static> {
                tracing::callsite! { name: "", kind: tracing::metadata::Kind::EVENT, level: $level, fields: }
                    .metadata()
            }
        };
    }
    of!(error, tracing::Level::ERROR);
    of!(warn, tracing::Level::WARN);
    of!(info, tracing::Level::INFO);
}

use tracing::Level;

#[test]
fn lines_wait_for_one_that_is_urgent_and_go_before_it_in_one_write() {
    for urgent in [Level::WARN, Level::ERROR] {
        let (lines, heard) = told();
        let gathering = gathering_without_a_thread(&lines);
        log(&lines, Level::INFO, "one\n");
        log(&lines, Level::INFO, "two\n");
        assert!(heard.try_recv().is_err(), "nothing is written yet");
        log(&lines, urgent, "three\n");
        assert_eq!(heard.try_recv().as_deref(), Ok("one\ntwo\nthree\n"));
        log(&lines, Level::INFO, "four\n");
        assert!(heard.try_recv().is_err(), "gathered again");
        drop(gathering);
        assert_eq!(heard.try_recv().as_deref(), Ok("four\n"));
        log(&lines, Level::INFO, "five\n");
        assert_eq!(
            heard.try_recv().as_deref(),
            Ok("five\n"),
            "nobody gathers any more"
        );
    }
}

#[test]
fn a_line_that_nothing_follows_is_written_all_the_same() {
    let (lines, heard) = told();
    let _gathering = lines.gather().expect("a thread");
    for line in ["one\n", "two\n", "three\n"] {
        log(&lines, Level::INFO, line);
        assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok(line));
    }
}

#[test]
fn lines_of_many_threads_come_out_whole_and_in_the_order_of_each() {
    let (lines, heard) = told();
    let gathering = lines.gather().expect("a thread");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let lines = &lines;
            scope.spawn(move || {
                for number in 0..5000 {
                    let is_urgent = number % 97 == 0;
                    let level = if is_urgent { Level::WARN } else { Level::INFO };
                    log(lines, level, &format!("{thread} {number}\n"));
                }
            });
        }
    });
    drop(gathering);
    let text: String = heard.try_iter().collect();
    let mut next = [0; 4];
    for line in text.lines() {
        let (thread, number) = line.split_once(' ').expect("a whole line");
        let next = &mut next[thread.parse::<usize>().expect("a number")];
        assert_eq!(number, next.to_string());
        *next += 1;
    }
    assert_eq!(next, [5000; 4]);
}

#[test]
fn behind_a_slow_reader_whoever_logs_waits_and_nothing_is_dropped() {
    let (said, heard) = channel();
    let (go, held) = channel();
    let lines = Lines::immediate(Told {
        said,
        held: Some(held),
    });
    let _gathering = gathering_without_a_thread(&lines);
    let line = format!("{}\n", "x".repeat(FULL / 8 - 1));
    for _ in 0..8 {
        log(&lines, Level::INFO, &line);
    }
    assert_eq!(
        locked(&lines.0.waiting).bytes.len(),
        FULL,
        "not written yet"
    );
    std::thread::scope(|scope| {
        let ninth = scope.spawn(|| log(&lines, Level::INFO, &line));
        go.send(()).expect("there");
        let written = heard.recv_timeout(PATIENCE).expect("the ninth writes");
        assert_eq!(written.len(), FULL);
        ninth.join().expect("ends");
    });
    assert_eq!(locked(&lines.0.waiting).bytes.len(), line.len());
    go.send(()).expect("there");
}

#[test]
fn a_sink_that_fails_is_nobodys_error() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let lines = Lines::immediate(Broken);
    let gathering = lines.gather().expect("a thread");
    for level in [Level::INFO, Level::ERROR, Level::INFO] {
        log(&lines, level, "unheard\n");
    }
    drop(gathering);
    log(&lines, Level::INFO, "unheard\n");
    assert!(locked(&lines.0.waiting).bytes.is_empty(), "kept for nobody");
}
