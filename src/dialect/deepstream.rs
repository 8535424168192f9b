//! DeepStream's two schemas, as its `nvmsgconv` writes them: the full one, a message for each object, and the minimal one, for each frame.

use super::{Encoded, LABEL, Thing, captured, json, things, utc, uuid};
use crate::record::FrameRecord;
use crate::track::State;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::fmt::Write;

/// DeepStream's own number of what is not tracked.
pub const UNTRACKED: u64 = u64::MAX;
/// The members of an object beside the one that is called as its label.
const OF_OBJECT: [&str; 7] = ["id", "speed", "direction", "orientation", "bbox", "location", "coordinate"];

#[derive(Serialize)]
struct Full<'a> {
    messageid: &'a str,
    mdsversion: &'static str,
    #[serde(rename = "@timestamp", skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a str>,
    place: Place,
    sensor: Sensor<'a>,
    #[serde(rename = "analyticsModule")]
    analytics_module: Module<'a>,
    object: Object<'a>,
    event: Event<'a>,
    #[serde(rename = "videoPath")]
    video_path: &'static str,
}

#[derive(Serialize)]
struct Place {}

#[derive(Serialize)]
struct Sensor<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    description: &'static str,
    location: Location,
    coordinate: Coordinate,
}

/// All 0, as DeepStream writes where it knows no place.
#[derive(Default, Serialize)]
struct Location {
    lat: f64,
    lon: f64,
    alt: f64,
}

#[derive(Default, Serialize)]
struct Coordinate {
    x: f64,
    y: f64,
    z: f64,
}

#[derive(Serialize)]
struct Module<'a> {
    id: &'static str,
    description: &'static str,
    source: &'a str,
    version: &'static str,
}

struct Object<'a>(Thing<'a>);

#[derive(Serialize)]
struct Class {
    confidence: f32,
}

#[derive(Serialize)]
struct Corners {
    topleftx: u32,
    toplefty: u32,
    bottomrightx: u32,
    bottomrighty: u32,
}

#[derive(Serialize)]
struct Event<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(thing) = self;
        let [topleftx, toplefty, bottomrightx, bottomrighty] = thing.bbox;
        let mut map = serializer.serialize_map(Some(OF_OBJECT.len() + 1))?;
        map.serialize_entry("id", &track_of(thing).to_string())?;
        for unknown in ["speed", "direction", "orientation"] {
            map.serialize_entry(unknown, &0.0)?;
        }
        // A label that is called as another member would hide it.
        let label = if OF_OBJECT.contains(&thing.label) { LABEL } else { thing.label };
        map.serialize_entry(label, &Class { confidence: thing.score })?;
        map.serialize_entry("bbox", &Corners { topleftx, toplefty, bottomrightx, bottomrighty })?;
        map.serialize_entry("location", &Location::default())?;
        map.serialize_entry("coordinate", &Coordinate::default())?;
        map.end()
    }
}

fn track_of(thing: &Thing<'_>) -> u64 {
    thing.track.map_or(UNTRACKED, |(id, _)| id)
}

/// In milliseconds, as there.
fn timestamp(record: &FrameRecord) -> Option<String> {
    captured(record).and_then(utc).map(|time| format!("{time:.3}"))
}

/// The full schema.
pub fn objects(record: &FrameRecord) -> Vec<Encoded> {
    let timestamp = timestamp(record);
    let message = |(number, thing): (usize, Thing<'_>)| {
        let numbers = [record.frame, record.pts_ns, captured(record).unwrap_or_default(), number as u64];
        let id = &uuid("object", &record.run, &record.source, &numbers);
        let kind = match thing.track {
            Some((_, State::Active)) => "moving",
            Some((_, State::Stationary)) => "stopped",
            _ => "",
        };
        let (location, coordinate) = (Location::default(), Coordinate::default());
        json(&Full {
            messageid: id,
            mdsversion: "1.0",
            timestamp: timestamp.as_deref(),
            place: Place {},
            sensor: Sensor { id: &record.source, kind: "Camera", description: "", location, coordinate },
            analytics_module: Module {
                id: "mostream",
                description: env!("CARGO_PKG_DESCRIPTION"),
                source: &record.model,
                version: env!("CARGO_PKG_VERSION"),
            },
            object: Object(thing),
            event: Event { id, kind },
            video_path: "",
        })
    };
    things(record).enumerate().filter_map(message).collect()
}

#[derive(Serialize)]
struct Minimal<'a> {
    version: &'static str,
    /// The frame's number.
    id: u64,
    #[serde(rename = "@timestamp", skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(rename = "sensorId")]
    sensor_id: &'a str,
    /// `track|left|top|right|bottom|label`.
    objects: Vec<String>,
}

/// The minimal schema.
pub fn frame(record: &FrameRecord) -> Option<Encoded> {
    let object = |thing: Thing<'_>| {
        let mut text = track_of(&thing).to_string();
        thing.bbox.iter().for_each(|edge| _ = write!(text, "|{edge}"));
        // A bar would begin another field.
        text + "|" + &thing.label.replace('|', " ")
    };
    json(&Minimal {
        version: "4.0",
        id: record.frame,
        timestamp: timestamp(record),
        sensor_id: &record.source,
        objects: things(record).map(object).collect(),
    })
}
