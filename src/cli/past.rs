//! What the past of a video shows, for commands that look at some of its frames.

use super::exit::Failure;
use super::model::ModelArgs;
use mostream::backbone::{Checkpoint, Feature};
use mostream::engine::{self, Cue, EngineError, Outcome, Seen, Sparing, Task};
use mostream::geometry::PixelBox;
use mostream::localize::{Detection, Localizer};
use mostream::record::{Every, FrameRecord, ObjectRecord};
use mostream::stream::feed::Files;
use mostream::stream::ingest::Span;
use mostream::stream::preflight::Source;
use mostream::track::State;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

/// The model runs on each fifth frame: the past needs no more.
const SPARING: Sparing = Sparing { every: Every::Frames(5), is_adaptive: false };

/// Who looks.
pub struct Ask<'a> {
    pub args: &'a ModelArgs,
    pub checkpoint: &'a Checkpoint,
    pub feature: Feature,
    pub localizer: Localizer,
    pub cue: Cue,
}

/// Shows `take` every frame and its record, with masks and timings.
pub fn watch(
    files: Files,
    sparing: Sparing,
    ask: &Ask,
    stop: &AtomicBool,
    take: impl FnMut(Seen) + Send + 'static,
) -> Result<Outcome, EngineError> {
    let Ask { args, checkpoint, feature, localizer, cue } = *ask;
    let task =
        Task { model: checkpoint.id().to_owned(), cue, localizer, groups: None, with_masks: true, with_timings: true };
    engine::watch(Box::new(files), sparing, &task, &args.backbones(checkpoint, feature), stop, take)
}

/// An object, and the track it belongs to.
pub struct Tracked {
    pub detection: Detection,
    pub track: Option<u64>,
}

/// The objects of those frames that are `wanted`, by frame, in the frame's pixels: the whole video is seen, as `run` sees it. Of a video
/// that cannot be read there are none.
pub fn objects(
    source: &Source,
    ask: &Ask,
    stop: &AtomicBool,
    mut wanted: impl FnMut(&FrameRecord) -> bool + Send + 'static,
) -> Result<HashMap<u64, Vec<Tracked>>, Failure> {
    let found = Arc::new(Mutex::new(HashMap::new()));
    let kept = found.clone();
    let take = move |seen: Seen| {
        if let Seen::Record(record) = seen
            && wanted(record)
        {
            // What was not seen is nothing to learn from.
            let is_seen = |object: &&ObjectRecord| object.track.is_none_or(|track| track.state != State::Lost);
            let objects: Vec<Tracked> = record.objects.iter().filter(is_seen).map(tracked).collect();
            kept.lock().unwrap_or_else(PoisonError::into_inner).insert(record.frame, objects);
        }
    };
    watch(Files::new(vec![source.clone()], Span::default()), SPARING, ask, stop, take)?;
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *found))
}

fn tracked(object: &ObjectRecord) -> Tracked {
    let [xmin, ymin, xmax, ymax] = object.bbox;
    let detection = Detection {
        bbox: PixelBox { xmin, ymin, xmax, ymax },
        seed: object.seed,
        score: object.score,
        patches: object.mask.as_ref().map(|mask| mask.patches()).unwrap_or_default(),
    };
    Tracked { detection, track: object.track.map(|track| track.id) }
}
