//! Who looks, when and where: times are shown in their zone, with how long ago or ahead that is, and text as wide as
//! their terminal.

use jiff::tz::TimeZone;

use super::output::Output;
use super::table::{Cell, Place};
use crate::clock::{Clock, SystemClock};

/// A person in front of what is shown.
pub(super) struct View {
    now: u64,
    zone: TimeZone,
    pub(super) place: Place,
}

impl View {
    /// Here and now.
    pub(super) fn here(output: &Output) -> Self {
        Self {
            now: SystemClock.now().as_millis(),
            zone: TimeZone::system(),
            place: output.place(),
        }
    }

    /// Somebody at this time in this zone, with a screen without edges.
    #[cfg(test)]
    pub(super) fn of(now: &str, zone: TimeZone) -> Self {
        let now: jiff::Timestamp = now.parse().expect("a time");
        Self {
            now: u64::try_from(now.as_millisecond()).expect("after 1970"),
            zone,
            place: Place {
                width: None,
                colour: false,
            },
        }
    }

    /// A time to the second.
    pub(super) fn brief(&self, at: &str) -> String {
        self.shown(at, "%Y-%m-%d %H:%M:%S")
    }

    /// A time in a table; where it is narrow, only how long ago or ahead that is.
    pub(super) fn cell(&self, at: &str) -> Cell {
        let short = self.relative(at).unwrap_or_else(|| at.to_owned());
        Cell::either(self.brief(at), short)
    }

    /// A time to the millisecond: what happened within a second is told apart.
    pub(super) fn precise(&self, at: &str) -> String {
        self.shown(at, "%Y-%m-%d %H:%M:%S%.3f")
    }

    /// The same in a story; where it is narrow, only how long ago or ahead that is.
    pub(super) fn precise_cell(&self, at: &str) -> Cell {
        let short = self.relative(at).unwrap_or_else(|| at.to_owned());
        Cell::either(self.precise(at), short)
    }

    /// The name of the zone that times are shown in, and how far it is from UTC now.
    pub(super) fn zone(&self) -> String {
        let millis = i64::try_from(self.now).unwrap_or_default();
        let now = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
        let now = now.to_zoned(self.zone.clone());
        match self.zone.iana_name() {
            Some(name) => format!("{name}, {}", now.strftime("%:z")),
            None => now.strftime("%:z").to_string(),
        }
    }

    /// What is no time stays as it is.
    fn shown(&self, at: &str, format: &str) -> String {
        let parsed: Result<jiff::Timestamp, _> = at.parse();
        let (Ok(time), Some(relative)) = (parsed, self.relative(at)) else {
            return at.to_owned();
        };
        let shown = time.to_zoned(self.zone.clone()).strftime(format);
        format!("{shown} ({relative})")
    }

    fn relative(&self, at: &str) -> Option<String> {
        let at: jiff::Timestamp = at.parse().ok()?;
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        let age = age(self.now.abs_diff(millis));
        Some(if millis > self.now {
            format!("in {age}")
        } else {
            format!("{age} ago")
        })
    }
}

/// A span as people say it: its greatest unit, whole.
fn age(millis: u64) -> String {
    let secs = millis / 1000;
    match secs {
        0..=119 => format!("{secs} s"),
        120..=7199 => format!("{} min", secs / 60),
        7200..=172_799 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_said_in_the_unit_that_people_would_use() {
        for (secs, said) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7200, "2 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(age(secs * 1000), said);
        }
    }

    #[test]
    fn times_are_shown_where_somebody_looks() {
        let zone = TimeZone::fixed(jiff::tz::offset(9));
        let view = View::of("2026-11-21T10:00:10Z", zone);
        assert_eq!(
            view.brief("2026-11-21T10:00:00Z"),
            "2026-11-21 19:00:00 (10 s ago)"
        );
        assert_eq!(
            view.precise("2026-11-21T10:05:10.120Z"),
            "2026-11-21 19:05:10.120 (in 5 min)"
        );
        assert_eq!(view.brief("-"), "-");
        assert_eq!(view.zone(), "+09:00");
    }
}
