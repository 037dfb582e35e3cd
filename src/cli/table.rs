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
    tone: Tone,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: shown(&text.into()),
            tone: Tone::Plain,
        }
    }

    /// A state, in its colour.
    pub(super) fn state(word: &str) -> Self {
        Self::toned(word, Tone::of(word))
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

/// No column is cut below this: an ellipsis and something to recognise it by.
const NARROWEST: usize = 8;

const GAP: usize = 2;

/// The last column of a story is not folded below this; then the lines are wider than the screen.
const FOLDED_AT: usize = 20;

/// The table as lines. What does not fit is cut, the widest column first.
pub(super) fn lines(head: &[&str], rows: &[Vec<Cell>], place: Place) -> Vec<String> {
    let head: Vec<Cell> = head.iter().map(|name| Cell::new(*name)).collect();
    let mut widths = widths(std::iter::once(&head).chain(rows));
    if let Some(all) = place.width {
        shrink(&mut widths, all);
    }
    std::iter::once(&head)
        .chain(rows)
        .map(|row| line(row, &widths, place))
        .collect()
}

/// Rows whose last column is a sentence: nothing is cut, what does not fit goes on beneath.
pub(super) fn story(rows: &[Vec<Cell>], place: Place) -> Vec<String> {
    let widths = widths(rows.iter());
    let Some((last, before)) = widths.split_last() else {
        return Vec::new();
    };
    let taken = before.iter().map(|width| width + GAP).sum::<usize>();
    let room = match place.width {
        Some(all) => all.saturating_sub(taken).max(FOLDED_AT),
        None => *last,
    };
    let mut lines = Vec::new();
    for row in rows {
        let Some((sentence, others)) = row.split_last() else {
            continue;
        };
        let others = others.iter().map(|cell| cell.text.as_str());
        let empty = before.iter().map(|_| "");
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

/// Takes from the widest column until the table fits, or nothing more can be taken.
fn shrink(widths: &mut [usize], all: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > all {
        let widest = widths.iter_mut().max().filter(|width| **width > NARROWEST);
        let Some(widest) = widest else { return };
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
