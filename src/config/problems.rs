//! What is wrong with a configuration, said so that whoever reads it at three in the morning can mend it.
//!
//! Promise: a [`Problem`] names file, line and key, what was found, what is expected and, where there is advice, a
//! hint; and it never holds the value of a secret. [`Problems`] are all there are, in the order of the file.

use std::fmt;

/// The longest stretch of the file that is repeated in a problem, in characters: enough to recognise it.
const SHOWN: usize = 60;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named by whoever asked for it.
    pub file: String,
    /// The line, counted from 1; `None` when it concerns the file as a whole.
    pub line: Option<usize>,
    /// Where: `server.max_body`, `endpoint "ledger": url`. Empty when it concerns the file as a whole.
    pub key: String,
    /// What is there, e.g. `is "http"`. Never the value of a secret.
    pub found: String,
    /// What should be there.
    pub expected: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}, expected {}", self.found, self.expected)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// All that is wrong with one file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Sorted by line; those of the file as a whole come first.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.line);
        Self(problems)
    }

    /// One problem of the file as a whole.
    pub(super) fn of_file(file: &str, fault: Fault) -> Self {
        Self(vec![fault.at(file, None, "")])
    }

    /// Each of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true; here because `len` is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        match self.0.len() {
            1 => f.write_str("1 problem"),
            count => write!(f, "{count} problems"),
        }
    }
}

impl std::error::Error for Problems {}

/// A problem that does not know yet where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    found: String,
    expected: String,
    hint: Option<String>,
}

impl Fault {
    /// What was found, and what is expected instead.
    pub(super) fn new(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            found: found.into(),
            expected: expected.into(),
            hint: None,
        }
    }

    /// A text that is not what is expected. Not for secrets.
    pub(super) fn text(text: &str, expected: impl Into<String>) -> Self {
        Self::new(format!("is {}", shown(text)), expected)
    }

    /// Adds advice.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Puts it in its place.
    pub(super) fn at(self, file: &str, line: Option<usize>, key: &str) -> Problem {
        Problem {
            file: file.to_owned(),
            line,
            key: key.to_owned(),
            found: self.found,
            expected: self.expected,
            hint: self.hint,
        }
    }
}

/// A text in quotes, escaped and cut, so that no file can paint over the terminal that its problems are read on.
pub(super) fn shown(text: &str) -> String {
    if text.chars().nth(SHOWN).is_none() {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start:?}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_like_the_style_guide_shows_it() {
        let problem = Fault::new("scheme is \"http\"", "\"https\"")
            .hint("plain http is allowed to loopback only")
            .at("config.toml", Some(31), "endpoint \"ledger\": url");
        assert_eq!(
            problem.to_string(),
            "config.toml:31: endpoint \"ledger\": url: scheme is \"http\", expected \"https\"\n  \
             hint: plain http is allowed to loopback only"
        );
    }

    #[test]
    fn problems_come_in_the_order_of_the_file_and_are_counted() {
        let at = |line| Fault::new("is here", "it there").at("c", line, "k");
        let problems = Problems::new(vec![at(Some(9)), at(Some(2)), at(None)]);
        let lines: Vec<_> = problems.iter().map(|p| p.line).collect();
        assert_eq!(lines, [None, Some(2), Some(9)]);
        assert!(problems.to_string().ends_with("\n3 problems"));
        assert!(
            Problems::of_file("c", Fault::new("a", "b"))
                .to_string()
                .ends_with("\n1 problem")
        );
    }

    #[test]
    fn what_is_repeated_is_escaped_and_cut() {
        assert_eq!(shown("a\u{1b}[2J\n"), r#""a\u{1b}[2J\n""#);
        assert_eq!(shown(&"é".repeat(60)), format!("\"{}\"", "é".repeat(60)));
        assert_eq!(shown(&"é".repeat(61)), format!("\"{}\"…", "é".repeat(60)));
    }
}
