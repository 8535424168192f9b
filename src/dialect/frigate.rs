//! Frigate's `frigate/events`, of the `object` events: a thing came, is known better, or left.

use super::{Encoded, LABEL, is_in, json, uuid};
use crate::record::{EventName, EventRecord, Phase};
use serde::Serialize;

#[derive(Serialize)]
struct Change<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    before: Tracked<'a>,
    after: Tracked<'a>,
}

/// What is nothing is not known to an event.
#[derive(Clone, Copy, Serialize)]
struct Tracked<'a> {
    id: &'a str,
    camera: &'a str,
    /// Seconds since 1970, as all its times.
    frame_time: f64,
    label: &'static str,
    sub_label: (),
    score: (),
    top_score: (),
    /// `[xmin, ymin, xmax, ymax]` in frame pixels.
    #[serde(rename = "box")]
    bbox: [u32; 4],
    /// Pixels.
    area: u64,
    /// Width by height.
    ratio: f64,
    /// Where it was looked for: the whole frame.
    region: [u32; 4],
    start_time: f64,
    end_time: Option<f64>,
    current_zones: [(); 0],
    entered_zones: [(); 0],
    active: (),
    stationary: (),
    motionless_count: (),
    position_changes: (),
    has_snapshot: bool,
    has_clip: bool,
}

/// Times are mandatory: none where they are not known, of other events, and of a box that is not in the frame.
pub fn event(record: &EventRecord) -> Option<Encoded> {
    let &EventRecord { width, height, .. } = record;
    let bbox = record.bbox.filter(|bbox| record.event == EventName::Object && is_in(bbox, width, height))?;
    let [xmin, ymin, xmax, ymax] = bbox;
    let [wide, high] = [xmax - xmin, ymax - ymin];
    let at_ns = record.at_unix_ns?;
    let start_ns = at_ns.checked_sub(record.pts_ns.checked_sub(record.since_ns)?)?;
    let seconds = |ns: u64| ns as f64 / 1e9;
    let before = Tracked {
        id: &uuid("thing", &record.run, &record.source, &[record.id]),
        camera: &record.source,
        frame_time: seconds(at_ns),
        label: LABEL,
        sub_label: (),
        score: (),
        top_score: (),
        bbox,
        area: u64::from(wide) * u64::from(high),
        ratio: (100.0 * f64::from(wide) / f64::from(high)).round() / 100.0,
        region: [0, 0, width, height],
        start_time: seconds(start_ns),
        end_time: None,
        current_zones: [],
        entered_zones: [],
        active: (),
        stationary: (),
        motionless_count: (),
        position_changes: (),
        has_snapshot: false,
        has_clip: false,
    };
    let (kind, end_time) = match record.phase {
        Phase::Start => ("new", None),
        Phase::Update => ("update", None),
        Phase::End => ("end", Some(seconds(at_ns))),
    };
    json(&Change { kind, before, after: Tracked { end_time, ..before } })
}
