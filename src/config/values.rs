//! Durations, sizes, rates, choices: how they are written, and within which bounds.
//!
//! Promise: whatever is refused is shown together with what would be taken, in the same notation.

use std::num::NonZeroU32;
use std::str::FromStr as _;
use std::time::Duration;

use bytesize::ByteSize;

use super::problems::Fault;
use super::reader::Node;
use super::settings::Rate;
use super::spelling::nearest;
use crate::domain::{Jitter, Schedule};

/// A millisecond, the least step of a schedule.
pub(super) const MILLI: Duration = Duration::from_millis(1);
/// A second.
pub(super) const SECOND: Duration = Duration::from_secs(1);
/// A minute.
pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// An hour.
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// A day.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
/// The least time a peer is given: below it, a network that is well fails.
pub(super) const LEAST_TIMEOUT: Duration = Duration::from_millis(100);

/// The longest single wait of a schedule, in days.
const LONGEST_STEP: u32 = 30;
/// The most steps in a schedule: more is a mistake of whoever generated the file.
const MOST_STEPS: usize = 100;
/// The most per unit of time: far beyond what one process does, far below where counting goes wrong.
const MOST_PER_UNIT: u32 = 1_000_000;

/// In milliseconds, the largest first.
const TIME_UNITS: [(&str, u128); 5] = [
    ("d", DAY.as_millis()),
    ("h", HOUR.as_millis()),
    ("m", MINUTE.as_millis()),
    ("s", SECOND.as_millis()),
    ("ms", 1),
];
/// In bytes, the largest first.
const SIZE_UNITS: [(&str, u128); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// A duration as one would write it in the file, in the largest unit that divides it.
fn written(duration: Duration) -> String {
    in_units(duration.as_millis(), &TIME_UNITS, "s")
}

/// Likewise a size.
fn written_size(bytes: u64) -> String {
    in_units(u128::from(bytes), &SIZE_UNITS, "B")
}

fn in_units(amount: u128, units: &[(&str, u128)], of_nothing: &str) -> String {
    let (name, unit) = units
        .iter()
        .copied()
        .find(|(_, unit)| amount > 0 && amount.is_multiple_of(*unit))
        .unwrap_or((of_nothing, 1));
    format!("{}{name}", amount / unit)
}

/// A duration within bounds.
pub(super) fn duration(node: &Node<'_>, min: Duration, max: Duration) -> Option<Duration> {
    let expected = format!("a duration from {} to {}", written(min), written(max));
    node.text(&expected, |text| parse_duration(text, min, max, &expected))
}

/// A duration within bounds, or `off`.
pub(super) fn duration_or_off(
    node: &Node<'_>,
    min: Duration,
    max: Duration,
) -> Option<Option<Duration>> {
    let expected = format!(
        "\"off\" or a duration from {} to {}",
        written(min),
        written(max)
    );
    node.text(&expected, |text| match text {
        "off" => Ok(None),
        _ => parse_duration(text, min, max, &expected).map(Some),
    })
}

fn parse_duration(
    text: &str,
    min: Duration,
    max: Duration,
    expected: &str,
) -> Result<Duration, Fault> {
    let Ok(duration) = humantime::parse_duration(text) else {
        return Err(Fault::text(text, expected)
            .hint("a number and a unit: \"500ms\", \"10s\", \"2m\", \"1h\", \"90d\""));
    };
    if duration < min || duration > max {
        return Err(Fault::text(text, expected));
    }
    Ok(duration)
}

/// A size in bytes within bounds.
pub(super) fn size(node: &Node<'_>, min: u64, max: u64) -> Option<u64> {
    let expected = match (min, max) {
        (0, u64::MAX) => "a size".to_owned(),
        _ => format!("a size from {} to {}", written_size(min), written_size(max)),
    };
    node.text(&expected, |text| {
        let Ok(ByteSize(bytes)) = ByteSize::from_str(text.trim()) else {
            return Err(Fault::text(text, &expected)
                .hint("a number and a unit: \"512B\", \"64KiB\", \"1MiB\", \"2GiB\""));
        };
        if bytes < min || bytes > max {
            return Err(Fault::text(text, &expected));
        }
        Ok(bytes)
    })
}

/// A rate, or `off`.
pub(super) fn rate(node: &Node<'_>) -> Option<Option<Rate>> {
    let expected = format!("\"off\" or a rate from \"1/h\" to \"{MOST_PER_UNIT}/s\"");
    node.text(&expected, |text| {
        if text == "off" {
            return Ok(None);
        }
        let refused = || Fault::text(text, expected.as_str());
        let hinted = || {
            refused().hint("so many per second, minute or hour: \"50/s\", \"3000/m\", \"10000/h\"")
        };
        let (count, unit) = text.split_once('/').ok_or_else(hinted)?;
        let per = match unit.trim() {
            "s" => SECOND,
            "m" => MINUTE,
            "h" => HOUR,
            _ => return Err(hinted()),
        };
        let count = u32::from_str(count.trim()).map_err(|_not_a_count| hinted())?;
        match NonZeroU32::new(count) {
            None => {
                Err(refused().hint("\"off\" lifts the limit; nothing at all cannot be asked for"))
            }
            Some(_) if count > MOST_PER_UNIT => Err(refused()),
            Some(count) => Ok(Some(Rate { count, per })),
        }
    })
}

/// The waits between tries.
pub(super) fn schedule(node: &Node<'_>) -> Option<Schedule> {
    let expected = format!("a list of 1 to {MOST_STEPS} durations");
    let steps = node.list(&expected, |step| duration(step, MILLI, LONGEST_STEP * DAY))?;
    if steps.len() > MOST_STEPS {
        node.fault(Fault::new(format!("has {} items", steps.len()), expected));
        return None;
    }
    node.checked(
        Schedule::new(steps).map_err(|error| Fault::new(error.to_string(), expected.as_str())),
    )
}

/// How far a wait may stray.
pub(super) fn jitter(node: &Node<'_>) -> Option<Jitter> {
    let expected = "a number from 0 to 1";
    let share = node.number(expected)?;
    node.checked(
        Jitter::new(share).map_err(|_out_of_bounds| Fault::new(format!("is {share}"), expected)),
    )
}

/// A number of things at a time.
pub(super) fn count(node: &Node<'_>, max: u32) -> Option<usize> {
    usize::try_from(node.integer(1, max)?).ok()
}

/// One of a few words.
pub(super) fn choice<T: Copy>(node: &Node<'_>, words: &[(&str, T)]) -> Option<T> {
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    let expected = quoted.join(" or ");
    node.text(&expected, |text| {
        let found = words.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let fault = Fault::text(text, expected.as_str());
            match nearest(text, &names) {
                Some(word) => fault.hint(format!("did you mean {word:?}?")),
                None => fault,
            }
        })
    })
}

/// A text of 1 to `max` bytes that is written out on one line.
pub(super) fn line(node: &Node<'_>, max: usize) -> Option<String> {
    let expected = format!("a text of 1 to {max} bytes without control characters");
    node.text(&expected, |text| match text {
        "" => Err(Fault::new("is empty", expected.as_str())),
        _ if text.len() > max => Err(Fault::new(
            format!("has {} bytes", text.len()),
            expected.as_str(),
        )),
        _ if text.chars().any(char::is_control) => Err(Fault::text(text, expected.as_str())),
        _ => Ok(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_shown_as_one_would_write_it() {
        for (duration, text) in [
            (MILLI * 100, "100ms"),
            (SECOND, "1s"),
            (5 * MINUTE, "5m"),
            (90 * SECOND, "90s"),
            (36 * HOUR, "36h"),
            (36_500 * DAY, "36500d"),
            (Duration::ZERO, "0s"),
        ] {
            assert_eq!(written(duration), text);
            assert_eq!(humantime::parse_duration(text), Ok(duration));
        }
        for (bytes, text) in [
            (0, "0B"),
            (1000, "1000B"),
            (1024, "1KiB"),
            (3 << 19, "1536KiB"),
        ] {
            assert_eq!(written_size(bytes), text);
        }
    }
}
