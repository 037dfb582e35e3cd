//! The only place that prints: data to stdout, everything else to stderr.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::table::{Place, cut};
use super::{Failure, block_on};
use crate::clock::{Clock, SystemClock};

/// How often `--watch` shows what has become.
const REDRAWN: Duration = Duration::from_secs(2);

/// How a verb speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON instead of text.
    pub(crate) json: bool,
}

impl Output {
    /// A line of data.
    pub(crate) fn line(&self, text: &str) {
        self.bytes(format!("{text}\n").as_bytes());
    }

    /// Data as it is. A reader that is gone is no error: `| head` is fine.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        let _reader_gone = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }

    /// One value: as JSON, or as the text that people read.
    pub(crate) fn value(&self, value: &impl Serialize, text: &str) {
        if self.json {
            let json = serde_json::to_string_pretty(value).unwrap_or_default();
            self.line(&json);
        } else {
            self.line(text);
        }
    }

    /// Where tables are shown. `COLUMNS` wins, as people set it; where nobody looks, nothing is cut.
    pub(crate) fn place(&self) -> Place {
        let named = std::env::var("COLUMNS").ok();
        let named = named.and_then(|columns| columns.parse().ok());
        let is_seen = io::stdout().is_terminal();
        let size = || terminal_size::terminal_size_of(io::stdout());
        let seen = is_seen.then(size).flatten();
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Place {
            width: named.or_else(|| seen.map(|(width, _)| usize::from(width.0))),
            // https://no-color.org
            colour: is_seen && !is_set("NO_COLOR") && !is_dumb(),
        }
    }

    /// Shows something once, or anew every two seconds in place of what was there, until Ctrl-C ends it, which is no
    /// failure.
    ///
    /// # Errors
    /// That of `show`; or nobody would see the screen change.
    pub(crate) fn again_and_again(
        &self,
        watch: bool,
        mut show: impl AsyncFnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if !watch {
            return block_on(show())?;
        }
        if !io::stdout().is_terminal() {
            let what = "--watch draws on a terminal, and stdout is none; leave it out, or ask again with --json";
            return Err(Failure::Usage(what.to_owned()));
        }
        block_on(async {
            let mut interrupts = signal(SignalKind::interrupt())?;
            let redrawn = async {
                loop {
                    // Up to the corner and clear: what is longer than the screen scrolls, as without --watch.
                    self.bytes(b"\x1b[H\x1b[2J");
                    show().await?;
                    let again = SystemClock.now().plus(REDRAWN);
                    SystemClock.sleep_until(again).await;
                }
            };
            tokio::select! {
                failed = redrawn => failed,
                // The way it is meant to end is no failure.
                _ = interrupts.recv() => Ok(()),
            }
        })?
    }

    /// Something on the side, for people.
    pub(crate) fn note(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        let _reader_gone = writeln!(stderr, "{text}");
    }

    /// How far something is, in place of what was shown before; where nobody looks, nothing.
    pub(crate) fn progress(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        if !stderr.is_terminal() || is_dumb() {
            return;
        }
        // A line that goes on in the next one could not be written over.
        let text = match terminal_size::terminal_size_of(&stderr) {
            Some((width, _)) => cut(text, usize::from(width.0).saturating_sub(1)),
            None => text.to_owned(),
        };
        let _reader_gone = write!(stderr, "\r{text}\x1b[K").and_then(|()| stderr.flush());
    }

    /// How many of how many are done, as a bar and in words.
    pub(crate) fn progress_of(&self, done: usize, total: usize, what: &str) {
        self.progress(&format!("{} {done} of {total} {what}", bar(done, total)));
    }

    /// What comes next begins on an empty line. Only after something was shown: other lines are not written over.
    pub(crate) fn progress_ends(&self) {
        self.progress("");
    }

    /// An error.
    pub(crate) fn error(&self, text: &str) {
        self.note(&format!("error: {text}"));
    }

    /// A warning.
    pub(crate) fn warning(&self, text: &str) {
        self.note(&format!("warning: {text}"));
    }
}

/// Whether the terminal knows no codes at all.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// A bar of twenty, full only when all is done.
fn bar(done: usize, total: usize) -> String {
    const WIDTH: usize = 20;
    let filled = done.min(total).saturating_mul(WIDTH) / total.max(1);
    format!("[{}{}]", "#".repeat(filled), "-".repeat(WIDTH - filled))
}

/// `1 merchant`, `2 merchants`.
pub(crate) fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn a_bar_is_full_only_when_all_is_done() {
        assert_eq!(bar(0, 300), format!("[{}]", "-".repeat(20)));
        assert_eq!(bar(150, 300), "[##########----------]");
        assert_eq!(bar(299, 300), "[###################-]");
        assert_eq!(bar(300, 300), format!("[{}]", "#".repeat(20)));
        assert_eq!(bar(0, 0).len(), 22, "nothing to do is no division");
    }
}
