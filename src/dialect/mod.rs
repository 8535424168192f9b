//! The published record in other systems' words, each message a pure function of one record. `docs/formats.md` shows what they look like, and
//! says what each cannot carry.
//!
//! What holds for all of them, but for the record as it is: an object whose box is not in its frame, or whose score is not from 0 to 1, is left
//! out; a wall-clock time is the record's or is not there. Nothing is made up, and nothing is kept from one record to the next.

mod cloud_events;
mod deepstream;
mod dl_streamer;
mod frigate;
mod mostream;
mod mot;
mod onvif;
mod savant;

use crate::record::{EndRecord, EventRecord, FrameRecord, StateRecord};
use crate::track::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt::{Display, Formatter};
use std::str::FromStr;

pub use cloud_events::{Attributes, headers, structured};

/// The label of an object that has none of its own.
pub const LABEL: &str = "object";
const JSON: &str = "application/json";

/// What is put into another system's words: one of the run's records.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Record<'a> {
    Frame(&'a FrameRecord),
    Event(&'a EventRecord),
    State(&'a StateRecord),
    End(&'a EndRecord),
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    pub body: Vec<u8>,
    /// Its media type.
    pub content_type: &'static str,
}

/// Whose words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// The record as `--records` writes it, without the end of the line.
    #[default]
    Mostream,
    /// The same in MessagePack, fields by name.
    MostreamMsgpack,
    /// What Intel DL Streamer's `gvametaconvert` writes: JSON, of frames with objects.
    DlStreamer,
    /// NVIDIA DeepStream's full schema: JSON, a message for each object.
    Deepstream,
    /// Its minimal schema: JSON, a message for each frame.
    DeepstreamMinimal,
    /// What Savant's modules send each other: a protobuf message for each frame, and one at a source's end.
    Savant,
    /// A line of Savant's JSON sink.
    SavantJson,
    /// Frigate's `frigate/events`: JSON, of `object` events whose time is known.
    Frigate,
    /// An ONVIF metadata stream: XML, of frames whose time is known.
    Onvif,
    /// Lines of MOT Challenge's text format, of frames with objects.
    Mot,
}

impl Dialect {
    pub const ALL: [Self; 10] = [
        Self::Mostream,
        Self::MostreamMsgpack,
        Self::DlStreamer,
        Self::Deepstream,
        Self::DeepstreamMinimal,
        Self::Savant,
        Self::SavantJson,
        Self::Frigate,
        Self::Onvif,
        Self::Mot,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mostream => "mostream",
            Self::MostreamMsgpack => "mostream-msgpack",
            Self::DlStreamer => "dl-streamer",
            Self::Deepstream => "deepstream",
            Self::DeepstreamMinimal => "deepstream-minimal",
            Self::Savant => "savant",
            Self::SavantJson => "savant-json",
            Self::Frigate => "frigate",
            Self::Onvif => "onvif",
            Self::Mot => "mot",
        }
    }

    /// The messages for a record: none where the dialect has no words for it, several where it has one for each object.
    pub fn encode(self, record: Record<'_>) -> Vec<Encoded> {
        let message = match (self, record) {
            (Self::Mostream, _) => mostream::json(record),
            (Self::MostreamMsgpack, _) => mostream::message_pack(record),
            (Self::DlStreamer, Record::Frame(frame)) => dl_streamer::frame(frame),
            (Self::Deepstream, Record::Frame(frame)) => return deepstream::objects(frame),
            (Self::DeepstreamMinimal, Record::Frame(frame)) => deepstream::frame(frame),
            (Self::Savant, Record::Frame(frame)) => savant::frame(frame),
            (Self::Savant, Record::End(end)) => savant::end(end),
            (Self::SavantJson, Record::Frame(frame)) => savant::frame_line(frame),
            (Self::SavantJson, Record::End(end)) => savant::end_line(end),
            (Self::Frigate, Record::Event(event)) => frigate::event(event),
            (Self::Onvif, Record::Frame(frame)) => onvif::frame(frame),
            (Self::Mot, Record::Frame(frame)) => mot::frame(frame),
            _ => None,
        };
        message.into_iter().collect()
    }
}

impl Display for Dialect {
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|dialect| dialect.name() == name);
        found.ok_or(format!("no format {name:?} (expected {names})"))
    }
}

/// A record's identity, a UUID: the same whenever it is told again, another for every other record of any run.
pub fn id(record: Record<'_>) -> String {
    let time = |ns: Option<u64>| ns.unwrap_or_default();
    match record {
        Record::Frame(frame) => {
            uuid("frame", &frame.run, &frame.source, &[frame.frame, frame.pts_ns, time(captured(frame))])
        }
        Record::Event(event) => {
            let numbers = [event.id, event.phase as u64, event.pts_ns, event.told_ns, time(event.at_unix_ns)];
            uuid("event", &event.run, &event.source, &numbers)
        }
        Record::State(state) => uuid("state", &state.run, &state.source, &[state.at_unix_ns, state.state as u64]),
        Record::End(end) => uuid("end", &end.run, &end.source, &[end.at_unix_ns, end.frames]),
    }
}

/// Of a thing of this kind with these numbers, of one source in one run: made by their hash (version 8 of RFC 9562).
fn uuid(kind: &str, run: &str, source: &str, numbers: &[u64]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in [kind, run, source] {
        // No text can be taken for the end of one and the beginning of the next.
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    numbers.iter().for_each(|number| _ = hasher.update(&number.to_le_bytes()));
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    let bits = u128::from_be_bytes(bytes);
    let [first, second, third, fourth] =
        [bits >> 96, bits >> 80 & 0xffff, bits >> 64 & 0xfff, bits >> 48 & 0x3fff | 0x8000];
    format!("{first:08x}-{second:04x}-8{third:03x}-{fourth:04x}-{:012x}", bits & 0xffff_ffff_ffff)
}

/// An object as other systems know them.
struct Thing<'a> {
    label: &'a str,
    /// Of the source in the run.
    track: Option<(u64, State)>,
    /// `[xmin, ymin, xmax, ymax]`, half-open, in frame pixels: in the frame, and not empty.
    bbox: [u32; 4],
    /// From 0 to 1.
    score: f32,
}

impl Thing<'_> {
    /// Width and height in pixels.
    fn size(&self) -> [u32; 2] {
        let [xmin, ymin, xmax, ymax] = self.bbox;
        [xmax - xmin, ymax - ymin]
    }
}

/// Those of a frame that can be told.
fn things(frame: &FrameRecord) -> impl Iterator<Item = Thing<'_>> {
    frame.objects.iter().filter_map(|object| {
        let label = object.label.as_deref().filter(|label| !label.is_empty()).unwrap_or(LABEL);
        let track = object.track.map(|track| (track.id, track.state));
        let thing = Thing { label, track, bbox: object.bbox, score: object.score };
        (is_in(&object.bbox, frame.width, frame.height) && (0.0..=1.0).contains(&object.score)).then_some(thing)
    })
}

/// Whether a box is one, in a frame of this size.
fn is_in(&[xmin, ymin, xmax, ymax]: &[u32; 4], width: u32, height: u32) -> bool {
    xmin < xmax && xmax <= width && ymin < ymax && ymax <= height
}

/// When the frame was taken, in nanoseconds since 1970, UTC.
fn captured(frame: &FrameRecord) -> Option<u64> {
    frame.live.map(|live| live.captured_unix_ns).or(frame.captured_unix_ns)
}

/// Of nanoseconds since 1970; it is written in ISO 8601.
fn utc(unix_ns: u64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(unix_ns.into()).ok()
}

/// A message of JSON.
fn json(value: &impl Serialize) -> Option<Encoded> {
    Some(Encoded { body: serde_json::to_vec(value).ok()?, content_type: JSON })
}
