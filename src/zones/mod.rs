//! Parts of the picture that somebody has named: zones and lines that are told of, areas that are not, and masks that nobody is to see.
//!
//! Places are shares of the picture, x to the right and y down, `[0, 0]` to `[1, 1]`, so that they survive another size of the same stream.

mod schedule;
mod shape;

pub use schedule::Schedule;
use serde::{Deserialize, Serialize};
pub use shape::{Path, Polygon, Side};

/// What one source's picture is parted into.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Regions {
    pub zones: Vec<Zone>,
    pub lines: Vec<Line>,
    /// What stands or walks here is no object.
    pub ignored: Vec<Polygon>,
    /// Black before anything looks at a frame.
    pub masks: Vec<Polygon>,
}

/// A part of the picture that things enter, leave and stay in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Zone {
    pub name: String,
    pub polygon: Polygon,
    /// Who is in there for so many seconds is told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stay: Option<f32>,
    /// What is asked for: by default the bottom centre of a thing is its place; else this share of its patches, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_size: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_age: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

/// A line over the picture that things cross.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Line {
    pub name: String,
    /// Two points or more; who goes along it from the first to the last has a left and a right side.
    pub points: Path,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_size: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_age: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

/// Which things count at a zone or line.
#[derive(Clone, Copy, Debug)]
pub struct Counts<'a> {
    /// Share of the picture's area that its box has at least.
    pub min_size: f32,
    /// Seconds since it was first seen.
    pub min_age: f32,
    /// Its score is at least this: `1 - sensitivity`.
    pub min_score: f32,
    pub schedule: Option<&'a Schedule>,
}

impl Zone {
    pub fn counts(&self) -> Counts<'_> {
        Counts::new(self.min_size, self.min_age, self.sensitivity, self.schedule.as_ref())
    }
}

impl Line {
    pub fn counts(&self) -> Counts<'_> {
        Counts::new(self.min_size, self.min_age, self.sensitivity, self.schedule.as_ref())
    }
}

impl<'a> Counts<'a> {
    fn new(size: Option<f32>, age: Option<f32>, sensitivity: Option<f32>, schedule: Option<&'a Schedule>) -> Self {
        Self {
            min_size: size.unwrap_or_default(),
            min_age: age.unwrap_or_default(),
            min_score: 1.0 - sensitivity.unwrap_or(1.0),
            schedule,
        }
    }

    /// Whether it holds at a time, in nanoseconds since 1970, UTC; where nobody knows the time, it does.
    pub fn holds(&self, unix_ns: Option<u64>) -> bool {
        self.schedule.zip(unix_ns).is_none_or(|(schedule, unix_ns)| schedule.holds(unix_ns))
    }
}
