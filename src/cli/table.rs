//! Tables for people: as wide as the terminal and no wider, cut by what is seen and not by bytes.
//!
//! Promise: colour never says what no word says, and is left out where nobody would see it. What comes from outside
//! cannot move the cursor: control characters are shown, not sent.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a colour is to tell; the word in the cell tells it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
}

impl Tone {
    /// The tone of a state's word.
    pub(super) fn of(state: &str) -> Self {
        match state {
            "up" | "delivered" | "accepted" | "valid" | "done" => Self::Good,
            "waiting" | "held" | "paused" | "delivering" | "missing" | "cancelled" => Self::Warn,
            "down" | "abandoned" | "stuck" | "unrecognized" | "invalid" => Self::Bad,
            _ => Self::Plain,
        }
    }

    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("\x1b[32m"),
            Self::Warn => Some("\x1b[33m"),
            Self::Bad => Some("\x1b[31m"),
        }
    }

    /// A text in this tone, where colours are seen and wanted.
    pub(super) fn paint(self, text: &str, place: Place) -> String {
        match self.code().filter(|_| place.colour) {
            Some(code) => format!("{code}{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }
}

/// A text from outside, harmless to a terminal.
pub(super) fn shown(text: &str) -> String {
    let harmless = |letter: char| {
        if letter.is_control() {
            '\u{FFFD}'
        } else {
            letter
        }
    };
    text.chars().map(harmless).collect()
}

/// One cell.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    /// What says enough where there is no room for all of it.
    short: Option<String>,
    tone: Tone,
    /// Whether it is cut only when nothing else can be.
    is_state: bool,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: shown(&text.into()),
            short: None,
            tone: Tone::Plain,
            is_state: false,
        }
    }

    /// A state, in its colour.
    pub(super) fn state(word: &str) -> Self {
        Self {
            is_state: true,
            ..Self::toned(word, Tone::of(word))
        }
    }

    /// A text with a shorter one for narrow places.
    pub(super) fn either(text: String, short: String) -> Self {
        Self {
            short: Some(shown(&short)),
            ..Self::new(text)
        }
    }

    fn shortened(&self) -> Self {
        let text = self.short.clone().unwrap_or_else(|| self.text.clone());
        Self {
            text,
            ..self.clone()
        }
    }

    /// A text whose words say what its tone says.
    pub(super) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            tone,
            ..Self::new(text)
        }
    }
}

/// Where a table is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Columns; `None`: as many as it takes.
    pub(super) width: Option<usize>,
    /// Whether colours are seen and wanted.
    pub(super) colour: bool,
}

/// An ellipsis and something to recognise it by.
const NARROW: usize = 8;

/// Nothing is cut below this, be the terminal as narrow as it may.
const NARROWEST: usize = 4;

const GAP: usize = 2;

/// Less than this for a sentence: the columns before it are shortened.
const FOLDED_AT: usize = 30;

/// The table as lines. Where it does not fit, short forms come first; then the widest columns are cut, those of states
/// last.
pub(super) fn lines(head: &[&str], rows: &[Vec<Cell>], place: Place) -> Vec<String> {
    let head: Vec<Cell> = head.iter().map(|name| Cell::new(*name)).collect();
    let mut all: Vec<Vec<Cell>> = std::iter::once(&head).chain(rows).cloned().collect();
    let mut widths = widths(all.iter());
    if let Some(room) = place.width {
        if taken(&widths) > room {
            for cell in all.iter_mut().flatten() {
                *cell = cell.shortened();
            }
            widths = self::widths(all.iter());
        }
        let is_state = |at: usize| {
            rows.iter()
                .any(|row| row.get(at).is_some_and(|cell| cell.is_state))
        };
        shrink(&mut widths, room, NARROW, |at| !is_state(at));
        shrink(&mut widths, room, NARROW, |_| true);
        shrink(&mut widths, room, NARROWEST, |_| true);
    }
    all.iter().map(|row| line(row, &widths, place)).collect()
}

/// Rows whose last column is a sentence: nothing is cut, what does not fit goes on beneath.
pub(super) fn story(rows: &[Vec<Cell>], place: Place) -> Vec<String> {
    let mut rows = rows.to_vec();
    let before = |rows: &[Vec<Cell>]| {
        let mut widths = widths(rows.iter());
        let last = widths.pop().unwrap_or(0);
        let taken = widths.iter().map(|width| width + GAP).sum::<usize>();
        (widths, taken, last)
    };
    let (mut widths, mut taken, last) = before(&rows);
    let mut room = last;
    if let Some(all) = place.width {
        if taken + FOLDED_AT > all {
            for cell in rows.iter_mut().flatten() {
                *cell = cell.shortened();
            }
            (widths, taken, _) = before(&rows);
        }
        room = all.saturating_sub(taken).max(NARROW);
    }
    widths.push(last);
    let mut lines = Vec::new();
    for row in &rows {
        let Some((sentence, others)) = row.split_last() else {
            continue;
        };
        let others = others.iter().map(|cell| cell.text.as_str());
        let empty = others.clone().map(|_| "");
        for (at, part) in fold(&sentence.text, room).into_iter().enumerate() {
            let leading: Vec<&str> = if at == 0 {
                others.clone().collect()
            } else {
                empty.clone().collect()
            };
            let mut cells: Vec<Cell> = leading.into_iter().map(Cell::new).collect();
            cells.push(Cell::toned(part, sentence.tone));
            lines.push(line(&cells, &widths, place));
        }
    }
    lines
}

/// How wide each column is.
fn widths<'a>(rows: impl Iterator<Item = &'a Vec<Cell>>) -> Vec<usize> {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.width());
        }
    }
    widths
}

/// How wide a line is.
fn taken(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// Takes from the widest of these columns until the table fits, or nothing more can be taken.
fn shrink(widths: &mut [usize], room: usize, floor: usize, of: impl Fn(usize) -> bool) {
    while taken(widths) > room {
        let columns = widths.iter_mut().enumerate().filter(|(at, _)| of(*at));
        let widest = columns.map(|(_, width)| width).max();
        let Some(widest) = widest.filter(|width| **width > floor) else {
            return;
        };
        *widest -= 1;
    }
}

fn line(row: &[Cell], widths: &[usize], place: Place) -> String {
    let mut line = String::new();
    for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
        let text = cut(&cell.text, *width);
        let is_last = at + 1 == row.len();
        let room = if is_last {
            0
        } else {
            width - text.width() + GAP
        };
        line.push_str(&cell.tone.paint(&text, place));
        line.push_str(&" ".repeat(room));
    }
    line.truncate(line.trim_end().len());
    line
}

/// A text in parts that are no wider than `room`, parted at spaces where there are any.
fn fold(text: &str, room: usize) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in text.split(' ') {
        let part = parts.last().map_or(0, |part| part.width());
        if part > 0 && part + 1 + word.width() > room {
            parts.push(String::new());
        } else if part > 0 {
            push(&mut parts, ' ');
        }
        for letter in word.chars() {
            let part = parts.last().map_or(0, |part| part.width());
            if part + letter.width().unwrap_or(0) > room {
                parts.push(String::new());
            }
            push(&mut parts, letter);
        }
    }
    parts
}

fn push(parts: &mut [String], letter: char) {
    if let Some(part) = parts.last_mut() {
        part.push(letter);
    }
}

/// As much of a text as fits, with an ellipsis where something is missing.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for letter in text.chars() {
        used += letter.width().unwrap_or(0);
        if used > width {
            break;
        }
        kept.push(letter);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(width: Option<usize>, colour: bool) -> String {
        let rows = vec![
            vec![
                Cell::new("evt_01KAJ3ZC0T9Y6Q1N7B5M2X8RWE"),
                Cell::state("abandoned"),
                Cell::new("ヤマダ タロウさん"),
            ],
            vec![
                Cell::new("evt_2"),
                Cell::state("waiting"),
                Cell::new("a\x1b[2Jb"),
            ],
        ];
        lines(&["EVENT", "STATE", "USER"], &rows, Place { width, colour }).join("\n")
    }

    #[test]
    fn a_table_is_cut_by_what_is_seen_and_fits() {
        let narrow = table(Some(40), false);
        for line in narrow.lines() {
            assert!(line.width() <= 40, "{line}");
        }
        insta::assert_snapshot!(narrow, @r"
        EVENT           STATE      USER
        evt_01KAJ3ZC0…  abandoned  ヤマダ タロ…
        evt_2           waiting    a�[2Jb
        ");
    }

    #[test]
    fn states_are_cut_last_and_times_have_a_short_form() {
        let rows = vec![vec![
            Cell::either("2026-11-21 19:00:00 (10 s ago)".into(), "10 s ago".into()),
            Cell::state("unrecognized"),
            Cell::new("cb_01KAJ3ZC0T9Y6Q1N7B5M2X8RWE"),
        ]];
        let table = |width| {
            let place = Place {
                width: Some(width),
                colour: false,
            };
            lines(&["AT", "STATE", "CALLBACK"], &rows, place).join("\n")
        };
        insta::assert_snapshot!(table(75), @r"
        AT                              STATE         CALLBACK
        2026-11-21 19:00:00 (10 s ago)  unrecognized  cb_01KAJ3ZC0T9Y6Q1N7B5M2X8RWE
        ");
        insta::assert_snapshot!(table(40), @r"
        AT        STATE         CALLBACK
        10 s ago  unrecognized  cb_01KAJ3ZC0T9Y…
        ");
        insta::assert_snapshot!(table(30), @r"
        AT        STATE       CALLBACK
        10 s ago  unrecogni…  cb_01KA…
        ");
    }

    #[test]
    fn without_a_width_nothing_is_cut_and_without_colour_every_word_is_there() {
        let wide = table(None, false);
        assert!(wide.contains("evt_01KAJ3ZC0T9Y6Q1N7B5M2X8RWE") && !wide.contains('\x1b'));
        let coloured = table(None, true);
        assert!(coloured.contains("\x1b[31mabandoned\x1b[0m"));
        let mut plain = coloured;
        for code in ["\x1b[31m", "\x1b[33m", "\x1b[0m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, wide);
    }

    #[test]
    fn a_sentence_goes_on_beneath_and_nothing_of_it_is_lost() {
        let rows = [
            vec![
                Cell::new("10:00"),
                Cell::new("callback"),
                Cell::new("claims 3, sign valid, with the token"),
            ],
            vec![
                Cell::new("10:01"),
                Cell::new("event"),
                Cell::toned("evt_01KAJ3ZC0T9Y6Q1N7B5M2X8RWE", Tone::Bad),
            ],
        ];
        let place = |width, colour| Place { width, colour };
        insta::assert_snapshot!(story(&rows, place(Some(37), false)).join("\n"), @r"
        10:00  callback  claims 3, sign
                         valid, with the
                         token
        10:01  event     evt_01KAJ3ZC0T9Y6Q1N
                         7B5M2X8RWE
        ");
        let wide = story(&rows, place(None, true));
        assert_eq!(wide.len(), 2);
        assert!(wide[1].ends_with("\x1b[31mevt_01KAJ3ZC0T9Y6Q1N7B5M2X8RWE\x1b[0m"));
        assert!(story(&[], place(Some(20), false)).is_empty());
    }
}
