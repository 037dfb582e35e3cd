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
            "up" | "delivered" | "accepted" | "valid" => Self::Good,
            "waiting" | "held" | "paused" | "delivering" | "missing" => Self::Warn,
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
}

/// One cell.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        let text: String = text.into();
        let shown = |letter: char| {
            if letter.is_control() {
                '\u{FFFD}'
            } else {
                letter
            }
        };
        Self {
            text: text.chars().map(shown).collect(),
            tone: Tone::Plain,
        }
    }

    /// A state, in its colour.
    pub(super) fn state(word: &str) -> Self {
        Self {
            tone: Tone::of(word),
            ..Self::new(word)
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

/// The table as lines.
pub(super) fn lines(head: &[&str], rows: &[Vec<Cell>], place: Place) -> Vec<String> {
    let mut widths: Vec<usize> = head.iter().map(|name| name.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.width());
        }
    }
    if let Some(all) = place.width {
        shrink(&mut widths, all);
    }
    let head: Vec<Cell> = head.iter().map(|name| Cell::new(*name)).collect();
    std::iter::once(&head)
        .chain(rows)
        .map(|row| line(row, &widths, place.colour))
        .collect()
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

fn line(row: &[Cell], widths: &[usize], colour: bool) -> String {
    let mut line = String::new();
    for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
        let text = cut(&cell.text, *width);
        let is_last = at + 1 == row.len();
        let room = if is_last {
            0
        } else {
            width - text.width() + GAP
        };
        match cell.tone.code().filter(|_| colour) {
            Some(code) => line.push_str(&format!("{code}{text}\x1b[0m")),
            None => line.push_str(&text),
        }
        line.push_str(&" ".repeat(room));
    }
    line.truncate(line.trim_end().len());
    line
}

/// As much of a text as fits, with an ellipsis where something is missing.
fn cut(text: &str, width: usize) -> String {
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
}
