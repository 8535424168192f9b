//! What DL Streamer's `gvametaconvert` writes for a frame with objects.

use super::{Encoded, captured, json, things, utc};
use crate::record::FrameRecord;
use jiff::Timestamp;
use serde::Serialize;

#[derive(Serialize)]
struct Frame<'a> {
    resolution: Resolution,
    source: &'a str,
    /// Nanoseconds of the stream.
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_timestamp: Option<Timestamp>,
    objects: Vec<Object<'a>>,
}

#[derive(Serialize)]
struct Resolution {
    width: u32,
    height: u32,
}

#[derive(Serialize)]
struct Object<'a> {
    /// Pixels.
    x: u32,
    y: u32,
    w: u32,
    h: u32,
    region_id: usize,
    /// The track's; 0 is none there.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    roi_type: &'a str,
    detection: Detection<'a>,
}

#[derive(Serialize)]
struct Detection<'a> {
    bounding_box: Shares,
    confidence: f32,
    /// Records know names alone.
    label_id: u32,
    label: &'a str,
}

/// Of the frame's width and height.
#[derive(Serialize)]
struct Shares {
    x_min: f64,
    x_max: f64,
    y_min: f64,
    y_max: f64,
}

pub fn frame(record: &FrameRecord) -> Option<Encoded> {
    let &FrameRecord { width, height, pts_ns, .. } = record;
    let objects = things(record).enumerate().map(|(region_id, thing)| {
        let ([xmin, ymin, xmax, ymax], [w, h]) = (thing.bbox, thing.size());
        let share = |pixels: u32, of: u32| f64::from(pixels) / f64::from(of);
        let bounding_box = Shares {
            x_min: share(xmin, width),
            x_max: share(xmax, width),
            y_min: share(ymin, height),
            y_max: share(ymax, height),
        };
        let detection = Detection { bounding_box, confidence: thing.score, label_id: 0, label: thing.label };
        let id = thing.track.map(|(id, _)| id).filter(|id| *id != 0);
        Object { x: xmin, y: ymin, w, h, region_id, id, roi_type: thing.label, detection }
    });
    let objects = Vec::from_iter(objects);
    // As there where empty results are not asked for.
    if objects.is_empty() {
        return None;
    }
    json(&Frame {
        resolution: Resolution { width, height },
        source: &record.source,
        timestamp: pts_ns,
        system_timestamp: captured(record).and_then(utc),
        objects,
    })
}
