//! Whose the boxes of a source are, and how sure they are after a moment: a file's frames wait for those that come after them.

use super::task::Task;
use crate::motion::camera::Movement;
use crate::motion::{Camera, Evidence};
use crate::record::{FrameRecord, ObjectRecord, TrackRecord};
use crate::track::{Between, Identity, Owned, Sighting, State, Steadied, Steady, Tracks};
use std::collections::VecDeque;

/// The tracks of one source's frames, and the frames that wait, each with what else is known of it.
pub(super) struct Follow<T> {
    tracks: Tracks,
    steady: Steady,
    /// Of the last frame.
    shake: Option<Movement>,
    waiting: VecDeque<Waiting<T>>,
}

struct Waiting<T> {
    record: FrameRecord,
    /// Since the frame before.
    drift: Option<Drift>,
    /// Whether its objects have tracks: those of a frame of which time says nothing have none.
    is_followed: bool,
    rest: T,
}

impl<T> Follow<T> {
    /// Of frames that wait so long for those after them.
    pub fn new(wait_ns: u64) -> Self {
        let steady = Steady::new(wait_ns);
        Self { tracks: Tracks::default(), steady, shake: None, waiting: VecDeque::new() }
    }

    /// Bytes that tracks are known by.
    pub fn bytes(&self) -> usize {
        self.tracks.bytes()
    }

    /// The next frame's record, and the mean key of each of its objects where there is one.
    pub fn push(&mut self, mut record: FrameRecord, keys: Vec<Vec<f32>>, evidence: Option<&Evidence>, rest: T) {
        let Some(evidence) = evidence else {
            self.steady.push(record.pts_ns, Vec::new());
            return self.waiting.push_back(Waiting { record, drift: None, is_followed: false, rest });
        };
        let keys = keys.into_iter().chain(std::iter::repeat_with(Vec::new));
        let sighting = |(object, key): (&ObjectRecord, Vec<f32>)| Sighting {
            bbox: object.bbox.map(|edge| edge as f32),
            score: object.score,
            key,
        };
        let found: Vec<Sighting> = record.objects.iter().zip(keys).map(sighting).collect();
        let size = (record.width as f32, record.height as f32);
        let drift = Drift::new(evidence, std::mem::replace(&mut self.shake, evidence.shake), size);
        let ahead = |at: [f32; 2]| drift.as_ref().map_or(at, |drift| drift.ahead(at));
        let owners = self.tracks.update(record.pts_ns, ahead, &found);
        let mut owned = owners.iter();
        record.objects.retain(|_| owned.next().is_some_and(Option::is_some));
        let boxes = record.objects.iter().map(|object| object.bbox.map(|edge| edge as f32));
        let owned = owners.into_iter().flatten().zip(boxes).map(|(identity, bbox)| Owned { identity, bbox });
        self.steady.push(record.pts_ns, owned.collect());
        self.waiting.push_back(Waiting { record, drift, is_followed: true, rest });
    }

    /// The oldest frame where it has waited long enough, or where no more come (`is_end`): its objects that are believed, with their
    /// tracks and steadied scores; and how the camera moved since the frame before, where that is known.
    pub fn pop(&mut self, is_end: bool, task: &Task) -> Option<(FrameRecord, Option<Drift>, T)> {
        let Steadied { identities, between } = self.steady.pop(is_end)?;
        let Waiting { mut record, drift, is_followed, rest } = self.waiting.pop_front()?;
        if !is_followed {
            return Some((record, drift, rest));
        }
        for (object, identity) in record.objects.iter_mut().zip(&identities) {
            object.score = identity.score;
            object.track = Some(TrackRecord::from(identity));
        }
        let least = task.cue.min_score();
        let is_object = |identity: &Identity| identity.state != State::Tentative && identity.score >= least;
        let mut kept = identities.iter().map(is_object);
        record.objects.retain(|_| kept.next().unwrap_or(false));
        for Between { owned: Owned { identity, bbox }, later: (frames, number) } in between {
            // It is the first of those that wait now.
            let later = self.waiting.get(frames - 1).and_then(|waiting| waiting.record.objects.get(number));
            let limits = [record.width, record.height].map(|side| side as f32);
            let bbox = [0, 1, 2, 3].map(|edge| bbox[edge].round().clamp(0.0, limits[edge % 2]) as u32);
            if let Some(later) = later.filter(|_| is_object(&identity) && bbox[0] < bbox[2] && bbox[1] < bbox[3]) {
                record.objects.push(later.moved(bbox, &identity, &record.grid));
            }
        }
        record.objects.sort_by(|a, b| b.score.total_cmp(&a.score));
        Some((record, drift, rest))
    }
}

/// How the camera moved the scene in the picture, from one frame to the next.
pub(super) struct Drift {
    /// From a picture that both were compared with to this one, and to the one before; or from this one back to that. In pixels of the
    /// small picture's half.
    to_this: Option<Movement>,
    to_last: Option<Movement>,
    /// Those pixels' width and height in pixels of the frame.
    scale: [f32; 2],
}

impl Drift {
    /// In frames of `(width, height)` pixels. None where nobody can tell: after a cut, and where a moving camera's way is not clear.
    fn new(evidence: &Evidence, last_shake: Option<Movement>, size: (f32, f32)) -> Option<Self> {
        let (to_this, to_last) = match evidence.camera {
            _ if evidence.is_cut => return None,
            Camera::Moving => (None, Some(evidence.back?)),
            Camera::Still | Camera::Shaking => (evidence.shake, last_shake),
        };
        let scale = [size.0 / evidence.size.0 as f32, size.1 / evidence.size.1 as f32].map(|scale| 2.0 * scale);
        Some(Self { to_this, to_last, scale })
    }

    /// Where a place of the last frame, in pixels of the frame, is in this one by the camera's movement alone.
    pub fn ahead(&self, at: [f32; 2]) -> [f32; 2] {
        let [across, down] = self.scale;
        let by = |movement: &Option<Movement>| {
            movement.as_ref().map_or([0.0; 2], |movement| movement.by([at[0] / across, at[1] / down]))
        };
        let (this, last) = (by(&self.to_this), by(&self.to_last));
        [at[0] + across * (this[0] - last[0]), at[1] + down * (this[1] - last[1])]
    }
}
