//! Which frame shows each event of a source best, as a JPEG with its boxes.
//!
//! A frame is worth as much for an event as its thing is certain and large in it: the score times the share of the frame. The first picture of
//! an event is that of the frame that tells of it, or the next one there is; another takes its place when it is worth clearly more.

use crate::engine::sink::{Picture, Wish};
use crate::record::{EventRecord, FrameRecord, Phase, TrackRecord};
use crate::stream::StreamError;
use crate::stream::jpeg::JpegEncoder;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A picture is looked at this often, by the source's time, so that no more are made.
const EVERY_NS: u64 = 250_000_000;
/// Of frames that are so much later than what is known, nobody knows what they show.
const BLIND_NS: u64 = 1_000_000_000;
/// A picture shows what is told of so much later.
const FRESH_NS: u64 = 1_000_000_000;
/// Worth so much more than the last, a picture takes its place.
const CLEARLY: f32 = 1.25;
/// Pixels of a picture's longer side.
const MOST_PIXELS: u32 = 1280;
/// Events of a source that are followed; of more, the last.
const MOST_EVENTS: usize = 4096;

/// A JPEG file.
pub(super) type Jpeg = Arc<[u8]>;

/// The events of one source that have a picture, or are to have one.
pub(super) struct EventPictures {
    /// By id.
    events: BTreeMap<u64, Shown>,
    newest: Option<Newest>,
    encoder: JpegEncoder,
    known: Arc<Known>,
}

struct Shown {
    /// Under which its picture is kept.
    number: u64,
    tracks: Vec<u64>,
    /// What its picture is worth; none where it has none.
    worth: Option<f32>,
    /// When it was told, where it is over.
    over_ns: Option<u64>,
}

/// The last picture that came, encoded once somebody wants it.
struct Newest {
    record: Arc<FrameRecord>,
    picture: Picture,
    jpeg: Option<Jpeg>,
}

/// What the records say to who asks for pictures of later frames.
#[derive(Default)]
struct Known {
    /// The last record's time stamp.
    pts_ns: AtomicU64,
    /// Whether something moved there, or an event has no picture yet.
    is_wanted: AtomicBool,
}

impl EventPictures {
    pub fn new() -> Self {
        let encoder = JpegEncoder::within(MOST_PIXELS);
        Self { events: BTreeMap::new(), newest: None, encoder, known: Arc::default() }
    }

    pub fn wish(&self) -> Wish {
        let (known, mut last) = (self.known.clone(), None::<u64>);
        Box::new(move |pts_ns| {
            let is_due = last.is_none_or(|last| pts_ns.abs_diff(last) >= EVERY_NS);
            let is_blind = || pts_ns.abs_diff(known.pts_ns.load(Ordering::Relaxed)) >= BLIND_NS;
            let is_wanted = is_due && (known.is_wanted.load(Ordering::Relaxed) || is_blind());
            if is_wanted {
                last = Some(pts_ns);
            }
            is_wanted
        })
    }

    /// The pictures that take the place of others by the next frame, each with its number.
    pub fn see(
        &mut self,
        record: &Arc<FrameRecord>,
        picture: Option<&Picture>,
    ) -> Result<Vec<(u64, Jpeg)>, StreamError> {
        let is_late = |then_ns: u64| record.pts_ns.abs_diff(then_ns) > FRESH_NS;
        let mut better = Vec::new();
        self.events.retain(|_, shown| shown.over_ns.is_none_or(|told_ns| !is_late(told_ns)));
        match picture {
            Some(picture) => {
                let mut newest = Newest { record: record.clone(), picture: picture.clone(), jpeg: None };
                for shown in self.events.values_mut() {
                    let worth = worth(record, &shown.tracks);
                    if shown.worth.is_none_or(|last| worth > CLEARLY * last) {
                        shown.worth = Some(worth);
                        better.push((shown.number, newest.encoded(&mut self.encoder)?));
                    }
                }
                self.newest = Some(newest);
            }
            // The decoder may be short of it.
            None => _ = self.newest.take_if(|newest| is_late(newest.record.pts_ns)),
        }
        self.events.retain(|_, shown| shown.over_ns.is_none() || shown.worth.is_none());
        let moves = record.objects.iter().any(|object| object.track.is_some_and(|track| track.is_moving()));
        let is_wanted = moves || self.events.values().any(|shown| shown.worth.is_none());
        self.known.is_wanted.store(is_wanted, Ordering::Relaxed);
        self.known.pts_ns.store(record.pts_ns, Ordering::Relaxed);
        Ok(better)
    }

    /// The picture of an event that is told of for the first time.
    pub fn first(&mut self, line: &EventRecord) -> Result<Option<Jpeg>, StreamError> {
        let is_of = |newest: &&mut Newest| {
            newest.record.source == line.source && line.told_ns.abs_diff(newest.record.pts_ns) <= FRESH_NS
        };
        let newest = self.newest.as_mut().filter(is_of).filter(|_| !self.events.contains_key(&line.id));
        newest.map(|newest| newest.encoded(&mut self.encoder)).transpose()
    }

    /// The line is kept, and the pictures of its event under this number; `has_first` where that is kept with it.
    pub fn told(&mut self, line: &EventRecord, number: u64, has_first: bool) {
        let is_over = line.phase == Phase::End;
        if let Some(shown) = self.events.get_mut(&line.id) {
            shown.tracks.clone_from(&line.tracks);
            if is_over {
                self.events.remove(&line.id);
            }
        } else if !(is_over && has_first) {
            let newest = self.newest.as_ref().filter(|_| has_first);
            let worth = newest.map(|newest| worth(&newest.record, &line.tracks));
            let over_ns = is_over.then_some(line.told_ns);
            self.events.insert(line.id, Shown { number, tracks: line.tracks.clone(), worth, over_ns });
            self.known.is_wanted.fetch_or(worth.is_none(), Ordering::Relaxed);
        }
        while self.events.len() > MOST_EVENTS {
            self.events.pop_first();
        }
    }
}

impl Newest {
    fn encoded(&mut self, encoder: &mut JpegEncoder) -> Result<Jpeg, StreamError> {
        if let Some(jpeg) = &self.jpeg {
            return Ok(jpeg.clone());
        }
        let jpeg: Jpeg = encoder.encode(&self.picture.clone().into_frame(self.record.frame))?.into();
        Ok(self.jpeg.insert(jpeg).clone())
    }
}

/// What a frame is worth for what has these tracks; 0 where it is not seen there.
fn worth(record: &FrameRecord, tracks: &[u64]) -> f32 {
    let is_it = |track: TrackRecord| track.is_seen() && tracks.contains(&track.id);
    let seen = record.objects.iter().filter(|object| object.track.is_some_and(is_it));
    let whole = record.width as f32 * record.height as f32;
    let worth = seen.map(|object| {
        let [width, height] = [0, 1].map(|side| object.bbox[side + 2].saturating_sub(object.bbox[side]) as f32);
        object.score * width * height / whole
    });
    worth.fold(0.0, f32::max)
}
