//! A log line as a JSON object, as tracing-subscriber writes it, for half of what that costs: one line of a callback took
//! a fifteenth of all that the callback takes.
//!
//! Promise: the same line as the library's, byte for byte but for the time; a test holds it to that. What is seldom, a line
//! within a span or one that came over the `log` crate, is left to the library.

use std::cell::RefCell;
use std::fmt::{self, Debug, Write as _};
use std::time::UNIX_EPOCH;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Json, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, time::SystemTime};
use tracing_subscriber::registry::LookupSpan;

/// What tracing says of lines that came over the `log` crate: where they are really from is among their fields.
const OF_LOG: &str = "log";

/// Writes lines; the library's own way is for what is seldom.
pub(super) struct Flat(pub(super) Format<Json>);

impl<S, N> FormatEvent<S, N> for Flat
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let about = event.metadata();
        let is_within = event.parent().is_some() || context.lookup_current().is_some();
        if is_within || about.target() == OF_LOG {
            return self.0.format_event(context, writer, event);
        }
        let mut line = String::with_capacity(USUAL);
        line.push_str("{\"timestamp\":\"");
        put_time(&mut line)?;
        line.push_str("\",\"level\":\"");
        line.push_str(about.level().as_str());
        line.push('"');
        let mut fields = Fields {
            line,
            text: String::new(),
            written: Ok(()),
        };
        event.record(&mut fields);
        fields.written?;
        let mut line = fields.line;
        line.push_str(",\"target\":");
        put_string(&mut line, about.target())?;
        line.push_str("}\n");
        writer.write_str(&line)
    }
}

/// Bytes that most lines are shorter than.
const USUAL: usize = 512;

/// Characters of a time before the fraction of its second: `2026-11-29T17:34:54.`
const WHOLE: usize = 20;

thread_local! {
    /// A second since the epoch, and how its times begin: lines that follow each other are mostly of the same one.
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// The time as the library writes it (RFC 3339, to the microsecond).
#[allow(clippy::disallowed_methods, reason = "the time of a log line")]
fn put_time(line: &mut String) -> fmt::Result {
    let since_epoch = || std::time::SystemTime::now().duration_since(UNIX_EPOCH);
    // Before that, which only a clock that is not set can be, the library knows better.
    let Ok(now) = since_epoch() else {
        return SystemTime.format_time(&mut Writer::new(line));
    };
    SECOND.with_borrow_mut(|(second, begins)| {
        if *second == now.as_secs() && !begins.is_empty() {
            line.push_str(begins);
            return write!(line, "{:06}Z", now.subsec_micros());
        }
        let from = line.len();
        SystemTime.format_time(&mut Writer::new(line))?;
        // Unless the second ended meanwhile.
        let is_same = since_epoch().is_ok_and(|after| after.as_secs() == now.as_secs());
        if let Some(whole) = line.get(from..from + WHOLE).filter(|_| is_same) {
            (*second, *begins) = (now.as_secs(), whole.to_owned());
        }
        Ok(())
    })
}

/// A JSON string (RFC 8259 §7).
fn put_string(line: &mut String, text: &str) -> fmt::Result {
    // All of it is looked at, since that is many bytes at a time.
    let is_plain = |byte: u8| (byte >= b' ') & (byte != b'"') & (byte != b'\\');
    if text
        .bytes()
        .fold(true, |plain, byte| plain & is_plain(byte))
    {
        line.push('"');
        line.push_str(text);
        line.push('"');
        return Ok(());
    }
    line.push_str(&serde_json::to_string(text).map_err(|_never| fmt::Error)?);
    Ok(())
}

/// Fields on their way into a line, each behind a comma.
struct Fields {
    line: String,
    /// Room for a value's text, until it is known what of it is to be escaped.
    text: String,
    written: fmt::Result,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl FnOnce(&mut String) -> fmt::Result) {
        let line = &mut self.line;
        self.written = self.written.and_then(|()| {
            line.push(',');
            put_string(line, field.name())?;
            line.push(':');
            value(line)
        });
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, |line| put_string(line, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let formatted = write!(text, "{value:?}");
        self.put(field, |line| {
            formatted.and_then(|()| put_string(line, &text))
        });
        self.text = text;
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, |line| write!(line, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, |line| write!(line, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, |line| write!(line, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let text = serde_json::to_string(&value).map_err(|_never| fmt::Error);
        self.put(field, |line| {
            line.push_str(&text?);
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Said {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            said.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Said {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// All kinds of values, the texts among them of the given one.
    fn say(text: &str, number: f64) {
        let error: &dyn std::error::Error = &io::Error::other(text.to_owned());
        let nothing: Option<u16> = None;
        tracing::info!(
            request = text, shown = %text, debugged = ?text, error, nothing, status = Some(204_u16),
            yes = true, low = i64::MIN, high = u64::MAX, wide = u128::MAX, number, "it happened to {text}"
        );
        tracing::warn!(target: "of \"mine\"", "nothing else");
        tracing::error!({ "odd name\n" } = 1, text);
        let span = tracing::info_span!("request", request = text).entered();
        tracing::info!(text, "within");
        drop(span);
    }

    /// Each line without its time.
    fn lines(said: &Said) -> Vec<String> {
        let said = said.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = String::from_utf8_lossy(&said).into_owned();
        let after = |line: &str| {
            let (time, rest) = line.split_at_checked(43)?;
            assert!(
                time.starts_with("{\"timestamp\":\"20") && time.ends_with("Z\","),
                "{line}"
            );
            Some(rest.to_owned())
        };
        let lines: Option<Vec<_>> = lines.lines().map(after).collect();
        lines.unwrap_or_default()
    }

    #[test]
    fn a_line_is_the_librarys_but_for_the_time() {
        let texts = [
            "plain",
            "",
            "カナ \u{1F600}",
            "\"quoted\" \\ \n\t\u{1b}[31m\u{7f}\u{0}",
        ];
        for (text, number) in texts.into_iter().zip([1.5, f64::NAN, -0.0, 1e300]) {
            let (ours, theirs) = (Said::default(), Said::default());
            let library = || {
                tracing_subscriber::fmt()
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
            };
            let with_ours = library().with_writer(ours.clone()).map_event_format(Flat);
            tracing::subscriber::with_default(with_ours.finish(), || say(text, number));
            let with_theirs = library().with_writer(theirs.clone());
            tracing::subscriber::with_default(with_theirs.finish(), || say(text, number));
            let (ours, theirs) = (lines(&ours), lines(&theirs));
            assert_eq!(ours.len(), 4);
            assert_eq!(ours, theirs);
        }
    }

    fn library_time() -> String {
        let mut text = String::new();
        SystemTime
            .format_time(&mut Writer::new(&mut text))
            .expect("formats");
        text
    }

    fn our_time() -> String {
        let mut text = String::new();
        put_time(&mut text).expect("formats");
        text
    }

    #[test]
    fn a_time_is_the_librarys_whatever_second_was_before() {
        // Of equal length, so that the later is the greater.
        for _ in 0..1000 {
            let (before, ours, after) = (library_time(), our_time(), library_time());
            assert!(before <= ours && ours <= after, "{before} {ours} {after}");
            assert_eq!(ours.len(), before.len());
        }
        // The second before is not taken for this one.
        SECOND.with_borrow_mut(|(second, begins)| {
            *second -= 1;
            *begins = "2000-01-01T00:00:00.".to_owned();
        });
        let (before, ours) = (library_time(), our_time());
        assert!(before <= ours, "{before} {ours}");
    }
}
