//! Typed access to a parsed TOML file that remembers where everything stands and what was wrong with it.
//!
//! Promise: reading never stops at a problem. Whoever asks for a key gets its value, or nothing (or a default) while
//! the problem is kept with its line and key path; so one pass finds them all. Which keys are known is not a list of
//! its own: known is what was asked for, and [`Section::finish`] refuses the rest.

use std::cell::RefCell;

use toml_edit::{ArrayOfTables, Item, TableLike, Value};

use super::problems::{Fault, shown};
use super::reading::Reading;
use super::spelling::nearest;

#[derive(Clone, Copy)]
enum Data<'a> {
    Value(&'a Value),
    Table(&'a dyn TableLike),
    Tables(&'a ArrayOfTables),
}

impl<'a> Data<'a> {
    fn of_item(item: &'a Item) -> Option<Self> {
        match item {
            Item::None => None,
            Item::Value(value) => Some(Self::of_value(value)),
            Item::Table(table) => Some(Self::Table(table)),
            Item::ArrayOfTables(tables) => Some(Self::Tables(tables)),
        }
    }

    fn of_value(value: &'a Value) -> Self {
        match value {
            Value::InlineTable(table) => Self::Table(table),
            other => Self::Value(other),
        }
    }
}

/// A value in the file, with its place.
#[derive(Clone)]
pub(super) struct Node<'a> {
    reading: &'a Reading<'a>,
    data: Data<'a>,
    path: String,
    line: Option<usize>,
}

impl<'a> Node<'a> {
    /// What this reading knows besides the file.
    pub(super) fn reading(&self) -> &'a Reading<'a> {
        self.reading
    }

    /// The line it stands on.
    pub(super) fn line(&self) -> Option<usize> {
        self.line
    }

    /// Keeps a problem with it.
    pub(super) fn fault(&self, fault: Fault) {
        self.reading.fault(self.line, &self.path, fault);
    }

    /// Keeps the problem, if it is one.
    pub(super) fn checked<T>(&self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.fault(fault)).ok()
    }

    /// Keeps a warning.
    pub(super) fn warn(&self, text: &str) {
        self.reading.warn(self.line, &self.path, text, false);
    }

    /// Keeps a warning that does not matter while nothing leaves this machine.
    pub(super) fn warn_if_exposed(&self, text: &str) {
        self.reading.warn(self.line, &self.path, text, true);
    }

    /// What it is, without saying its value.
    pub(super) fn kind(&self) -> &'static str {
        match self.data {
            Data::Table(_) => "a table",
            Data::Tables(_) => "a list of tables",
            Data::Value(value) => match value {
                Value::String(_) => "a string",
                Value::Integer(_) => "an integer",
                Value::Float(_) => "a fraction",
                Value::Boolean(_) => "a boolean",
                Value::Datetime(_) => "a date",
                Value::Array(_) => "a list",
                Value::InlineTable(_) => "a table",
            },
        }
    }

    /// Keeps the problem that it is of another kind than expected.
    pub(super) fn wrong_kind(&self, expected: &str) {
        self.fault(Fault::new(format!("is {}", self.kind()), expected));
    }

    /// The text, if it is one; no problem if not.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        match self.data {
            Data::Value(value) => value.as_str(),
            Data::Table(_) | Data::Tables(_) => None,
        }
    }

    /// Whether it is a list of values.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.data, Data::Value(Value::Array(_)) | Data::Tables(_))
    }

    /// A text that `parse` makes something of.
    pub(super) fn text<T>(
        &self,
        expected: &str,
        parse: impl FnOnce(&'a str) -> Result<T, Fault>,
    ) -> Option<T> {
        let Some(text) = self.as_text() else {
            self.wrong_kind(expected);
            return None;
        };
        self.checked(parse(text))
    }

    /// A whole number within bounds.
    pub(super) fn integer(&self, min: u32, max: u32) -> Option<u32> {
        let expected = format!("a whole number from {min} to {max}");
        let Data::Value(Value::Integer(number)) = self.data else {
            self.wrong_kind(&expected);
            return None;
        };
        let fits = u32::try_from(*number.value()).ok();
        let fits = fits.filter(|number| (min..=max).contains(number));
        if fits.is_none() {
            self.fault(Fault::new(format!("is {}", number.value()), expected));
        }
        fits
    }

    /// A number, with or without a fraction.
    pub(super) fn number(&self, expected: &str) -> Option<f64> {
        match self.data {
            Data::Value(Value::Float(number)) => Some(*number.value()),
            // Whatever fits the bounds of any number here is small, and small integers are exact.
            Data::Value(Value::Integer(number)) => i32::try_from(*number.value())
                .map(f64::from)
                .map_err(|_too_large| {
                    self.fault(Fault::new(format!("is {}", number.value()), expected));
                })
                .ok(),
            _ => {
                self.wrong_kind(expected);
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        let Data::Value(Value::Boolean(value)) = self.data else {
            self.wrong_kind("true or false");
            return None;
        };
        Some(*value.value())
    }

    /// The items of a list; every one that is wrong is a problem of its own.
    pub(super) fn list<T>(
        &self,
        expected: &str,
        mut parse: impl FnMut(&Node<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(items) = self.items() else {
            self.wrong_kind(expected);
            return None;
        };
        let count = items.len();
        let parsed: Vec<T> = items.iter().filter_map(&mut parse).collect();
        (parsed.len() == count).then_some(parsed)
    }

    fn items(&self) -> Option<Vec<Node<'a>>> {
        let item = |index: usize, data, span: Option<std::ops::Range<usize>>| Node {
            reading: self.reading,
            data,
            path: format!("{}, item {}", self.path, index + 1),
            line: span.map(|span| self.reading.line(span.start)).or(self.line),
        };
        match self.data {
            Data::Value(Value::Array(array)) => Some(
                array
                    .iter()
                    .enumerate()
                    .map(|(index, value)| item(index, Data::of_value(value), value.span()))
                    .collect(),
            ),
            Data::Tables(tables) => Some(
                tables
                    .iter()
                    .enumerate()
                    .map(|(index, table)| item(index, Data::Table(table), table.span()))
                    .collect(),
            ),
            Data::Value(_) | Data::Table(_) => None,
        }
    }

    /// The table, if it is one.
    pub(super) fn section(&self, expected: &str) -> Option<Section<'a>> {
        let Data::Table(table) = self.data else {
            self.wrong_kind(expected);
            return None;
        };
        Some(Section {
            reading: self.reading,
            table: Some(table),
            label: self.path.clone(),
            joint: ".",
            line: self.line,
            asked: RefCell::default(),
        })
    }
}

/// A table in the file, or an absent one, in which every key has its default.
pub(super) struct Section<'a> {
    reading: &'a Reading<'a>,
    table: Option<&'a dyn TableLike>,
    label: String,
    joint: &'static str,
    line: Option<usize>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The file itself.
    pub(super) fn root(reading: &'a Reading<'a>, table: &'a dyn TableLike) -> Self {
        Self {
            reading,
            table: Some(table),
            label: String::new(),
            joint: "",
            line: None,
            asked: RefCell::default(),
        }
    }

    fn path(&self, key: &str) -> String {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let key = if !key.is_empty() && key.len() <= 60 && key.chars().all(bare) {
            key.to_owned()
        } else {
            shown(key)
        };
        format!("{}{}{key}", self.label, self.joint)
    }

    fn node(&self, key: &str) -> Option<Node<'a>> {
        let (written, item) = self.table?.get_key_value(key)?;
        Some(Node {
            reading: self.reading,
            data: Data::of_item(item)?,
            path: self.path(key),
            line: written
                .span()
                .or_else(|| item.span())
                .map(|span| self.reading.line(span.start))
                .or(self.line),
        })
    }

    /// The value of a key, which is known from now on.
    pub(super) fn get(&self, key: &'static str) -> Option<Node<'a>> {
        self.asked.borrow_mut().push(key);
        self.node(key)
    }

    /// The value of a key that may be left out.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&Node<'a>) -> Option<T>,
    ) -> Option<T> {
        parse(&self.get(key)?)
    }

    /// The value of a key, or its default; the default also stands in for a wrong value.
    pub(super) fn or<T>(
        &self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&Node<'a>) -> Option<T>,
    ) -> T {
        self.optional(key, parse).unwrap_or(default)
    }

    /// The value of a key that must be there.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        missing: Fault,
        parse: impl FnOnce(&Node<'a>) -> Option<T>,
    ) -> Option<T> {
        let Some(node) = self.get(key) else {
            self.fault(key, missing);
            return None;
        };
        parse(&node)
    }

    /// Keeps a problem of a key that is not there, on the line of the table's header.
    pub(super) fn fault(&self, key: &str, fault: Fault) {
        self.reading.fault(self.line, &self.path(key), fault);
    }

    /// Keeps a problem of a key that is not there, on the line of another that asks for it.
    pub(super) fn fault_beside(&self, present: &Node<'_>, key: &str, fault: Fault) {
        self.reading.fault(present.line, &self.path(key), fault);
    }

    /// Keeps a warning of a key that is not there, unless nothing leaves this machine.
    pub(super) fn warn_if_exposed(&self, key: &str, text: &str) {
        self.reading.warn(self.line, &self.path(key), text, true);
    }

    /// A table within, all defaults when it is left out.
    pub(super) fn section(&self, key: &'static str) -> Section<'a> {
        self.optional(key, |node| node.section(&format!("a table, [{key}]")))
            .unwrap_or_else(|| Section {
                reading: self.reading,
                table: None,
                label: self.path(key),
                joint: ".",
                line: None,
                asked: RefCell::default(),
            })
    }

    /// The tables of a list of tables, each called by the text at its `name` key, or by its place.
    pub(super) fn sections(&self, key: &'static str, name: &str) -> Vec<Section<'a>> {
        let Some(node) = self.get(key) else {
            return Vec::new();
        };
        let expected = format!("a list of tables, [[{key}]]");
        let Some(items) = node.items() else {
            let fault = Fault::new(format!("is {}", node.kind()), expected);
            node.fault(fault.hint("two brackets: each one begins another entry"));
            return Vec::new();
        };
        let items = items.into_iter().enumerate().filter_map(|(index, item)| {
            let mut section = item.section(&expected)?;
            section.label = match section.node(name).and_then(|node| node.as_text()) {
                Some(text) => format!("{key} {}", shown(text)),
                None => format!("{key} {}", index + 1),
            };
            section.joint = ": ";
            Some(section)
        });
        items.collect()
    }

    /// Every key with its value, where any key goes.
    pub(super) fn entries(&self) -> Vec<(&'a str, Node<'a>)> {
        let keys = self.table.into_iter().flat_map(|table| table.iter());
        keys.filter_map(|(key, _)| Some((key, self.node(key)?)))
            .collect()
    }

    /// Refuses every key that nobody asked for.
    pub(super) fn finish(self) {
        let known = self.asked.take();
        for (key, node) in self.entries() {
            if known.contains(&key) {
                continue;
            }
            let fault = Fault::new("is not a key here", format!("one of {}", known.join(", ")));
            node.fault(match nearest(key, &known) {
                Some(word) => fault.hint(format!("did you mean {word}?")),
                None => fault,
            });
        }
    }
}
