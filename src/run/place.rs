//! Where in a spec it is said what cannot be.

use super::{RunError, config};
use std::path::Path;

/// A key of a spec, or the whole table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the source, from 0; none where it is of all.
    pub source: Option<usize>,
    pub key: Option<&'static str>,
    /// Where the key has several tables: the number of one, from 0.
    pub table: Option<usize>,
}

/// What is wrong, and where that is said.
#[derive(Debug)]
pub(super) struct Wrong {
    pub place: Place,
    pub error: Box<RunError>,
}

/// All that is wrong so far: one fault does not hide the next.
#[derive(Default)]
pub(super) struct Faults(pub Vec<Wrong>);

impl Place {
    pub fn of_all(key: &'static str) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    pub fn of(source: usize, key: &'static str) -> Self {
        Self { source: Some(source), ..Self::of_all(key) }
    }

    pub fn wrong(self, error: impl Into<RunError>) -> Wrong {
        Wrong { place: self, error: Box::new(error.into()) }
    }
}

impl Wrong {
    /// With the file that the spec is from, and the line.
    pub fn told(self, file: Option<&Path>) -> RunError {
        let Some(file) = file else { return *self.error };
        let line = config::line_of(file, self.place).map_or_else(String::new, |line| format!(":{line}"));
        RunError::Placed { place: format!("{}{line}", file.display()), error: self.error }
    }
}

impl Faults {
    /// What came of something; what went wrong is kept.
    pub fn note<T, E: Into<RunError>>(&mut self, place: Place, done: Result<T, E>) -> Option<T> {
        done.map_err(|error| self.0.push(place.wrong(error))).ok()
    }

    /// The first that was kept.
    pub fn none(self) -> Result<(), Wrong> {
        self.0.into_iter().next().map_or(Ok(()), Err)
    }
}

impl From<RunError> for Wrong {
    fn from(error: RunError) -> Self {
        Place::default().wrong(error)
    }
}

impl From<Wrong> for RunError {
    fn from(wrong: Wrong) -> Self {
        *wrong.error
    }
}
