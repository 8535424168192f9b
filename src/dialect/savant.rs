//! Savant's frames: the part of its wire format that frames without pictures need, and the lines that its JSON sink writes of them.

use super::deepstream::UNTRACKED;
use super::{Encoded, Record, Thing, captured, id, json, things};
use crate::record::{EndRecord, FrameRecord};
use prost::Message;
use serde::Serialize;

/// Readers take messages of their own version alone.
const PROTOCOL: &str = "0.2.0";
/// Whose objects they are, among those of other models.
const MODEL: &str = "mostream";
/// As GStreamer writes what is not constant: a record does not know it.
const FRAMERATE: &str = "0/1";
const NANOSECOND: (i32, i32) = (1, 1_000_000_000);

#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(string, tag = "1")]
    protocol_version: String,
    /// Of the source, from 1: a reader sees by it what it has missed.
    #[prost(uint64, tag = "4")]
    seq_id: u64,
    #[prost(message, optional, tag = "5")]
    video_frame: Option<VideoFrame>,
    #[prost(message, optional, tag = "9")]
    end_of_stream: Option<EndOfStream>,
}

#[derive(Clone, PartialEq, Message)]
struct EndOfStream {
    #[prost(string, tag = "1")]
    source_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct VideoFrame {
    #[prost(string, tag = "2")]
    source_id: String,
    #[prost(string, tag = "3")]
    uuid: String,
    /// Nanoseconds since 1970; 0 where that is not known.
    #[prost(uint64, tag = "5")]
    creation_timestamp_ns_low: u64,
    #[prost(string, tag = "6")]
    framerate: String,
    #[prost(int64, tag = "7")]
    width: i64,
    #[prost(int64, tag = "8")]
    height: i64,
    #[prost(int32, tag = "12")]
    time_base_numerator: i32,
    #[prost(int32, tag = "13")]
    time_base_denominator: i32,
    #[prost(int64, tag = "14")]
    pts: i64,
    /// There is no picture; a frame that does not say so is refused.
    #[prost(message, optional, tag = "19")]
    none: Option<NoneFrame>,
    #[prost(message, repeated, tag = "25")]
    objects: Vec<VideoObject>,
}

#[derive(Clone, PartialEq, Message)]
struct NoneFrame {}

#[derive(Clone, PartialEq, Message)]
struct VideoObject {
    /// Of the frame, not of the track.
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "4")]
    label: String,
    #[prost(message, optional, tag = "6")]
    detection_box: Option<CentredBox>,
    #[prost(float, optional, tag = "8")]
    confidence: Option<f32>,
    #[prost(message, optional, tag = "9")]
    track_box: Option<CentredBox>,
    #[prost(int64, optional, tag = "10")]
    track_id: Option<i64>,
}

/// In frame pixels.
#[derive(Clone, Copy, PartialEq, Message, Serialize)]
struct CentredBox {
    #[prost(float, tag = "1")]
    xc: f32,
    #[prost(float, tag = "2")]
    yc: f32,
    #[prost(float, tag = "3")]
    width: f32,
    #[prost(float, tag = "4")]
    height: f32,
    /// Left out on the wire, where it is 0.
    #[prost(float, tag = "5")]
    angle: f32,
}

impl From<&Thing<'_>> for CentredBox {
    fn from(thing: &Thing<'_>) -> Self {
        let [xmin, ymin, xmax, ymax] = thing.bbox.map(f64::from);
        let [width, height] = thing.size().map(|side| side as f32);
        Self { xc: f64::midpoint(xmin, xmax) as f32, yc: f64::midpoint(ymin, ymax) as f32, width, height, angle: 0.0 }
    }
}

/// After so many messages of the source.
fn wire(frames: u64, video_frame: Option<VideoFrame>, end_of_stream: Option<EndOfStream>) -> Option<Encoded> {
    let seq_id = frames.checked_add(1)?;
    let message = Envelope { protocol_version: PROTOCOL.into(), seq_id, video_frame, end_of_stream };
    Some(Encoded { body: message.encode_to_vec(), content_type: "application/protobuf" })
}

/// None where its number or its time is beyond what the format can say.
pub fn frame(record: &FrameRecord) -> Option<Encoded> {
    let object = |(number, thing): (usize, Thing<'_>)| {
        let place = CentredBox::from(&thing);
        let track_id = thing.track.and_then(|(id, _)| i64::try_from(id).ok());
        VideoObject {
            id: number as i64,
            namespace: MODEL.into(),
            label: thing.label.into(),
            detection_box: Some(place),
            confidence: Some(thing.score),
            track_box: track_id.map(|_| place),
            track_id,
        }
    };
    let (time_base_numerator, time_base_denominator) = NANOSECOND;
    let video_frame = VideoFrame {
        source_id: record.source.clone(),
        uuid: id(Record::Frame(record)),
        creation_timestamp_ns_low: captured(record).unwrap_or_default(),
        framerate: FRAMERATE.into(),
        width: record.width.into(),
        height: record.height.into(),
        time_base_numerator,
        time_base_denominator,
        pts: record.pts_ns.try_into().ok()?,
        none: Some(NoneFrame {}),
        objects: things(record).enumerate().map(object).collect(),
    };
    wire(record.frame, Some(video_frame), None)
}

pub fn end(record: &EndRecord) -> Option<Encoded> {
    wire(record.frames, None, Some(EndOfStream { source_id: record.source.clone() }))
}

/// What is nothing is not known: to records, or before a picture is encoded.
#[derive(Serialize)]
struct Line<'a> {
    source_id: &'a str,
    framerate: &'static str,
    width: u32,
    height: u32,
    pts: u64,
    keyframe: (),
    codec: (),
    dts: (),
    duration: (),
    metadata: Metadata<'a>,
    tags: Tags,
    transformations: [(); 0],
    schema: &'static str,
    frame_num: u64,
}

#[derive(Serialize)]
struct Metadata<'a> {
    objects: Vec<Object<'a>>,
}

#[derive(Serialize)]
struct Tags {}

#[derive(Serialize)]
struct Object<'a> {
    model_name: &'static str,
    label: &'a str,
    /// The track's.
    object_id: u64,
    bbox: CentredBox,
    confidence: f32,
    attributes: [(); 0],
    parent_model_name: (),
    parent_label: (),
    parent_object_id: (),
}

#[derive(Serialize)]
struct EndLine<'a> {
    source_id: &'a str,
    schema: &'static str,
}

pub fn frame_line(record: &FrameRecord) -> Option<Encoded> {
    let objects = things(record).map(|thing| Object {
        model_name: MODEL,
        label: thing.label,
        object_id: thing.track.map_or(UNTRACKED, |(id, _)| id),
        bbox: CentredBox::from(&thing),
        confidence: thing.score,
        attributes: [],
        parent_model_name: (),
        parent_label: (),
        parent_object_id: (),
    });
    json(&Line {
        source_id: &record.source,
        framerate: FRAMERATE,
        width: record.width,
        height: record.height,
        pts: record.pts_ns,
        keyframe: (),
        codec: (),
        dts: (),
        duration: (),
        metadata: Metadata { objects: objects.collect() },
        tags: Tags {},
        transformations: [],
        schema: "VideoFrame",
        frame_num: record.frame,
    })
}

pub fn end_line(record: &EndRecord) -> Option<Encoded> {
    json(&EndLine { source_id: &record.source, schema: "EndOfStream" })
}
