//! The only place that prints: data to stdout, everything else to stderr.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

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

    /// Something on the side, for people.
    pub(crate) fn note(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        let _reader_gone = writeln!(stderr, "{text}");
    }

    /// How far something is, in place of what was shown before; where nobody looks, nothing.
    pub(crate) fn progress(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        if stderr.is_terminal() {
            let _reader_gone = write!(stderr, "\r{text}\x1b[K").and_then(|()| stderr.flush());
        }
    }

    /// What comes next begins on an empty line.
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

/// `1 merchant`, `2 merchants`.
pub(crate) fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
