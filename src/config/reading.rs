//! One reading of one file: what it is read with, and what was wrong on the way.
//!
//! Promise: problems and warnings are kept, never acted upon; whoever reads goes on, and all of them come out together.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::Vars;
use super::problems::{Fault, Problem, Problems};

/// One reading of one file: its surroundings, and what was found on the way.
pub(super) struct Reading<'a> {
    file: &'a str,
    base: &'a Path,
    vars: &'a dyn Vars,
    line_starts: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Warning>>,
}

struct Warning {
    line: Option<usize>,
    text: String,
    only_if_exposed: bool,
}

impl<'a> Reading<'a> {
    /// `base` is the directory that relative paths in the file start from.
    pub(super) fn new(file: &'a str, base: &'a Path, text: &str, vars: &'a dyn Vars) -> Self {
        let after_newline = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            file,
            base,
            vars,
            line_starts: std::iter::once(0).chain(after_newline).collect(),
            problems: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// The environment.
    pub(super) fn vars(&self) -> &'a dyn Vars {
        self.vars
    }

    /// A path in the file, resolved against the file's directory: a service's working directory is `/`, and nobody
    /// who writes `certs/ca.pem` beside the file means that.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }

    /// The line of a place in the text.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// All problems, if there are any.
    pub(super) fn problems(&self) -> Option<Problems> {
        let problems = self.problems.take();
        (!problems.is_empty()).then(|| Problems::new(problems))
    }

    /// The warnings, in the order of the file; those that matter only to a relay others can reach, if it is `exposed`.
    pub(super) fn warnings(&self, exposed: bool) -> Vec<String> {
        let mut warnings = self.warnings.take();
        warnings.retain(|warning| exposed || !warning.only_if_exposed);
        warnings.sort_by_key(|warning| warning.line);
        warnings.into_iter().map(|warning| warning.text).collect()
    }

    /// Keeps a problem.
    pub(super) fn fault(&self, line: Option<usize>, key: &str, fault: Fault) {
        let problem = fault.at(self.file, line, key);
        self.problems.borrow_mut().push(problem);
    }

    /// Keeps a warning.
    pub(super) fn warn(&self, line: Option<usize>, key: &str, text: &str, only_if_exposed: bool) {
        let place = line.map_or_else(String::new, |line| format!(":{line}"));
        self.warnings.borrow_mut().push(Warning {
            line,
            text: format!("{}{place}: {key}: {text}", self.file),
            only_if_exposed,
        });
    }
}
