//! Parts of the picture that somebody has named: zones and lines that are told of, areas that are not, and masks that nobody is to see.
//!
//! Places are shares of the picture, x to the right and y down, `[0, 0]` to `[1, 1]`, so that they survive another size of the same stream.

mod schedule;
mod shape;
mod spans;

pub use schedule::Schedule;
use serde::{Deserialize, Serialize, Serializer};
pub use shape::{Path, Polygon, Side};
pub use spans::spans;

/// What one source's picture is parted into; written by the keys and tables of a config.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Regions {
    #[serde(rename = "zone")]
    pub zones: Vec<Zone>,
    #[serde(rename = "line")]
    pub lines: Vec<Line>,
    /// What stands or walks here is no object.
    #[serde(rename = "ignore", serialize_with = "areas")]
    pub ignored: Vec<Polygon>,
    /// Black before anything looks at a frame.
    #[serde(rename = "mask", serialize_with = "areas")]
    pub masks: Vec<Polygon>,
}

fn areas<S: Serializer>(polygons: &[Polygon], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(polygons.iter().cloned().map(|polygon| Area { polygon }))
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

/// A part of the picture of which nothing else is to be said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Area {
    pub polygon: Polygon,
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

/// Says which number is not from 0 to `most`, by its key.
fn check(numbers: &[(&str, Option<f32>)], most: f32) -> Result<(), String> {
    let wrong = numbers.iter().find_map(|(key, number)| {
        let number = number.filter(|number| !(0.0..=most).contains(number))?;
        Some(match most {
            f32::MAX => format!("{key}: expected 0 or more seconds, not {number}"),
            _ => format!("{key}: expected a share from 0 to {most}, not {number}"),
        })
    });
    wrong.map_or(Ok(()), Err)
}

impl Regions {
    /// Whether an object with these edges, `[xmin, ymin, xmax, ymax]` in pixels of a picture of `size`, stands where nothing is an object: by
    /// its lowest row's middle.
    pub fn ignores(&self, [xmin, _, xmax, ymax]: [u32; 4], (width, height): (u32, u32)) -> bool {
        let at = [(xmin + xmax) as f32 / 2.0 / width as f32, (ymax as f32 - 0.5) / height as f32];
        self.ignored.iter().any(|area| area.contains(at))
    }

    /// Whether one of its zones or lines is watched at times only.
    pub fn has_schedule(&self) -> bool {
        let of_zones = self.zones.iter().map(|zone| &zone.schedule);
        of_zones.chain(self.lines.iter().map(|line| &line.schedule)).any(Option::is_some)
    }
}

impl Zone {
    /// Its numbers, each alone.
    pub fn check(&self) -> Result<(), String> {
        check(&[("share", self.share), ("sensitivity", self.sensitivity), ("min-size", self.min_size)], 1.0)?;
        check(&[("stay", self.stay), ("min-age", self.min_age)], f32::MAX)
    }

    pub fn counts(&self) -> Counts<'_> {
        Counts::new(self.min_size, self.min_age, self.sensitivity, self.schedule.as_ref())
    }
}

impl Line {
    /// Its numbers, each alone.
    pub fn check(&self) -> Result<(), String> {
        check(&[("sensitivity", self.sensitivity), ("min-size", self.min_size)], 1.0)?;
        check(&[("min-age", self.min_age)], f32::MAX)
    }

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
