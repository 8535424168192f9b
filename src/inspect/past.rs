//! What the past of a video says of one of its frames.

use crate::motion::{Against, Camera, Evidence};
use crate::record::FrameRecord;
use crate::scene::{Maps, Scene};
use std::collections::VecDeque;

/// Frames of the history that are kept.
const KEPT: usize = 1500;

/// The frame, and the frames before it.
#[derive(Clone, Debug)]
pub struct Past {
    /// As `run` writes it, without masks.
    pub record: FrameRecord,
    /// `(width, height)` of the small picture that pixels and squares are of, in its pixels.
    pub size: (usize, usize),
    /// `[rows · cols]` of the record's grid: how new each patch is, in units of what it usually varies by. Empty before a moving camera, and
    /// before the model has run.
    pub novelty: Vec<f32>,
    /// `[height · width]`: 255 where a pixel is like nothing that was seen there. Empty before a moving camera.
    pub foreground: Vec<u8>,
    /// What moves against a moving camera.
    pub against: Option<Against>,
    /// The last frames up to this one, oldest first.
    pub history: Vec<Moment>,
}

/// A frame of the history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    pub seconds: f64,
    pub camera: Camera,
    pub objects: usize,
}

/// Follows a video, frame by frame.
#[derive(Default)]
pub struct Follower {
    history: VecDeque<Moment>,
    last: Option<Past>,
}

impl Follower {
    /// The next frame; those that nothing is known of time are left out.
    pub fn follow(&mut self, record: &FrameRecord, evidence: Option<&Evidence>, scene: &Scene) {
        let Some(Evidence { camera, size, against, .. }) = evidence else { return };
        if self.history.len() == KEPT {
            self.history.pop_front();
        }
        self.history.push_back(Moment { seconds: record.pts_ns as f64 / 1e9, camera: *camera, objects: 0 });
        let maps = scene.maps().filter(|_| *camera != Camera::Moving);
        let Maps { novelty, foreground } = maps.unwrap_or(Maps { novelty: &[], foreground: &[] });
        self.last = Some(Past {
            record: record.clone(),
            size: *size,
            novelty: novelty.to_vec(),
            foreground: foreground.to_vec(),
            against: against.clone(),
            history: Vec::new(),
        });
    }

    /// A followed frame's record as it is written; they come in order.
    pub fn tell(&mut self, record: &FrameRecord) {
        let seconds = record.pts_ns as f64 / 1e9;
        self.history.iter_mut().filter(|moment| moment.seconds == seconds).for_each(|moment| {
            moment.objects = record.objects.len();
        });
        if let Some(last) = self.last.as_mut().filter(|last| last.record.frame == record.frame) {
            last.record = record.clone();
            last.record.objects.iter_mut().for_each(|object| object.mask = None);
        }
    }

    /// The last frame's.
    pub fn past(self) -> Option<Past> {
        Some(Past { history: self.history.into(), ..self.last? })
    }
}
