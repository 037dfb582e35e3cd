//! Plots of the last hour and the last day, drawn as SVG from the history in memory.
//!
//! Promise: a plot is as large whatever happened, has its numbers as text beside it, and tells its two lines apart by
//! their dashes as well as by their colours.

use std::fmt::Write as _;
use std::time::Duration;

use maud::{Markup, html};

use super::show::span;
use crate::domain::Timestamp;
use crate::metrics::{Minute, Percentiles};

/// What a plot's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// So many in a minute.
    PerMinute,
    /// Milliseconds.
    Millis,
    /// So many at the time.
    Count,
}

impl Unit {
    fn say(self, value: f64) -> String {
        match self {
            Self::Millis if value < 10.0 => format!("{value:.1} ms"),
            Self::Millis => span(Duration::from_secs_f64(value / 1000.0)),
            Self::PerMinute if value < 10.0 && value.fract() > 0.05 => format!("{value:.1}/min"),
            Self::PerMinute => format!("{value:.0}/min"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

/// One line of a plot; `None` where nothing is known.
struct Line {
    name: &'static str,
    values: Vec<Option<f64>>,
}

struct Plot {
    title: &'static str,
    unit: Unit,
    lines: [Line; 2],
}

/// How far back, in how many parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) title: &'static str,
    from: &'static str,
    parts: usize,
    part: Duration,
}

pub(super) const HOUR: Window = Window {
    title: "Last hour",
    from: "60 min ago",
    parts: 60,
    part: Duration::from_secs(60),
};

pub(super) const DAY: Window = Window {
    title: "Last day",
    from: "24 h ago",
    parts: 144,
    part: Duration::from_secs(600),
};

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 72.0;

/// Counts of a minute are exact as far as it matters for a line of so few pixels.
#[allow(
    clippy::cast_precision_loss,
    reason = "a plot has a few hundred pixels"
)]
const fn float(value: u64) -> f64 {
    value as f64
}

#[allow(clippy::cast_precision_loss, reason = "a plot has at most 144 parts")]
const fn index(value: usize) -> f64 {
    value as f64
}

fn rate(minutes: &[&Minute], count: impl Fn(&Minute) -> u64) -> Option<f64> {
    let taken: f64 = minutes
        .iter()
        .map(|one| one.to.since(one.from).as_secs_f64())
        .sum();
    let total: u64 = minutes.iter().map(|one| count(one)).sum();
    // A part that has hardly begun would show one call as many.
    (taken >= 1.0).then(|| float(total) * 60.0 / taken.max(60.0))
}

fn slowest(
    minutes: &[&Minute],
    of: impl Fn(&Minute) -> Option<Percentiles>,
    which: impl Fn(Percentiles) -> Duration,
) -> Option<f64> {
    let all = minutes.iter().filter_map(|one| of(one));
    let slowest = all.map(which).max()?;
    Some(slowest.as_secs_f64() * 1000.0)
}

fn latest(minutes: &[&Minute], of: impl Fn(&Minute) -> Option<u64>) -> Option<f64> {
    minutes.iter().rev().find_map(|one| of(one)).map(float)
}

/// The minutes of each part, oldest first.
fn parts<'a>(minutes: &'a [Minute], window: &Window, now: Timestamp) -> Vec<Vec<&'a Minute>> {
    let mut parts = vec![Vec::new(); window.parts];
    for minute in minutes {
        let back = now.since(minute.to).as_millis() / window.part.as_millis();
        let back = usize::try_from(back).unwrap_or(usize::MAX);
        let place = window.parts.checked_sub(back + 1);
        if let Some(part) = place.and_then(|place| parts.get_mut(place)) {
            part.push(minute);
        }
    }
    parts
}

fn plots(minutes: &[Minute], window: &Window, now: Timestamp) -> [Plot; 6] {
    let parts = parts(minutes, window, now);
    let line = |name, of: &dyn Fn(&[&Minute]) -> Option<f64>| Line {
        name,
        values: parts.iter().map(|part| of(part)).collect(),
    };
    let p50 = |both: Percentiles| both.p50;
    let p99 = |both: Percentiles| both.p99;
    [
        Plot {
            title: "Callbacks",
            unit: Unit::PerMinute,
            lines: [
                line("accepted", &|part| rate(part, |one| one.accepted)),
                line("refused", &|part| rate(part, |one| one.refused)),
            ],
        },
        Plot {
            title: "Queries to Vexora",
            unit: Unit::PerMinute,
            lines: [
                line("answered", &|part| rate(part, |one| one.verified)),
                line("failed", &|part| rate(part, |one| one.failed_queries)),
            ],
        },
        Plot {
            title: "Deliveries",
            unit: Unit::PerMinute,
            lines: [
                line("delivered", &|part| rate(part, |one| one.delivered)),
                line("failed attempts", &|part| {
                    rate(part, |one| one.failed_attempts)
                }),
            ],
        },
        Plot {
            title: "Time to accept a callback",
            unit: Unit::Millis,
            lines: [
                line("median", &|part| slowest(part, |one| one.accept, p50)),
                line("99 %", &|part| slowest(part, |one| one.accept, p99)),
            ],
        },
        Plot {
            title: "Time from event to delivery",
            unit: Unit::Millis,
            lines: [
                line("median", &|part| slowest(part, |one| one.delivery, p50)),
                line("99 %", &|part| slowest(part, |one| one.delivery, p99)),
            ],
        },
        Plot {
            title: "Backlog",
            unit: Unit::Count,
            lines: [
                line("deliveries", &|part| {
                    latest(part, |one| Some(one.backlog?.deliveries))
                }),
                line("users asked about", &|part| {
                    latest(part, |one| Some(one.backlog?.verifications))
                }),
            ],
        },
    ]
}

/// A round number that nothing is above.
fn ceiling(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let magnitude = 10f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let fits = steps
        .iter()
        .map(|step| step * magnitude)
        .find(|top| *top >= most);
    fits.unwrap_or(most)
}

/// The line as a path: broken where nothing is known, a dot where a part stands alone.
fn path(values: &[Option<f64>], top: f64) -> String {
    let step = WIDTH / index(values.len().saturating_sub(1).max(1));
    let mut drawn = String::new();
    let mut before = false;
    for (place, value) in values.iter().enumerate() {
        if let Some(value) = value {
            let (x, y) = (
                index(place) * step,
                HEIGHT - 2.0 - value / top * (HEIGHT - 6.0),
            );
            let how = if before { 'L' } else { 'M' };
            let _into_a_string = write!(drawn, "{how}{x:.1} {y:.1}");
            if !before {
                drawn.push_str("h0.1");
            }
        }
        before = value.is_some();
    }
    drawn
}

impl Plot {
    fn markup(&self, window: &Window) -> Markup {
        let known = || {
            self.lines
                .iter()
                .flat_map(|line| line.values.iter().flatten())
        };
        let most = known().copied().fold(0.0, f64::max);
        let top = ceiling(most);
        let is_empty = known().next().is_none();
        let last = |line: &Line| {
            let last = line.values.iter().rev().find_map(|value| *value);
            last.map_or_else(|| "–".to_owned(), |value| self.unit.say(value))
        };
        let label = format!(
            "{}, {}: highest {}; {}",
            self.title,
            window.title.to_lowercase(),
            self.unit.say(most),
            self.lines
                .iter()
                .map(|line| format!("{} at last {}", line.name, last(line)))
                .collect::<Vec<_>>()
                .join(", ")
        );
        html! {
            figure class="chart" {
                figcaption {
                    h3 { (self.title) }
                    span class="keys" {
                        @for (place, line) in self.lines.iter().enumerate() {
                            @let class = if place == 0 { "key" } else { "key second" };
                            span class=(class) { i {} (line.name) " " (last(line)) }
                        }
                    }
                }
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(label) {
                    path class="grid" d={ "M0 4H" (WIDTH) } fill="none" stroke-width="1" vector-effect="non-scaling-stroke" {}
                    @for (place, line) in self.lines.iter().enumerate() {
                        @let (class, dashes) = if place == 0 { ("one", "none") } else { ("two", "5 3") };
                        path class=(class) d=(path(&line.values, top)) fill="none" stroke-width="1.5"
                            stroke-dasharray=(dashes) stroke-linejoin="round" stroke-linecap="round" vector-effect="non-scaling-stroke" {}
                    }
                }
                div class="ends" {
                    span { (window.from) }
                    @if is_empty { span { "nothing yet" } } @else { span { "top line " (self.unit.say(top)) } }
                    span { "now" }
                }
            }
        }
    }
}

/// All plots of a window.
pub(super) fn section(minutes: &[Minute], window: &Window, now: Timestamp) -> Markup {
    let plots = plots(minutes, window, now);
    html! {
        section {
            h2 { (window.title) }
            div class="charts" { @for plot in &plots { (plot.markup(window)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_a_round_number() {
        for (most, top) in [
            (0.0, 1.0),
            (0.3, 0.5),
            (1.0, 1.0),
            (3.0, 5.0),
            (101.0, 200.0),
            (870.0, 1000.0),
        ] {
            assert!(
                (ceiling(most) - top).abs() < 1e-9,
                "{most}: {}",
                ceiling(most)
            );
        }
    }

    #[test]
    fn a_line_is_broken_where_nothing_is_known() {
        let drawn = path(&[Some(0.0), None, Some(1.0), Some(1.0)], 1.0);
        assert_eq!(drawn, "M0.0 70.0h0.1M200.0 4.0h0.1L300.0 4.0");
    }
}
