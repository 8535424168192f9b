//! The model's last answer about a source, which holds until the next, and what has moved since its frame.

use super::lanes::{Answer, Reply};
use crate::geometry::PixelBox;
use crate::motion::{Carry, Evidence};
use crate::scene::Candidate;
use crossbeam_channel::{Receiver, TryRecvError};

/// Of one source.
#[derive(Default)]
pub(super) struct Held {
    /// With the number of its frame.
    last: Option<(Answer, u64)>,
    /// Of frames that could not be waited for: as many as are in the inbox and beyond.
    late: Vec<(Receiver<Reply>, u64)>,
    /// The number of the frame at hand.
    now: u64,
    carry: Carry,
}

impl Held {
    /// What was there before is not there now.
    pub fn forget(&mut self) {
        *self = Self { now: self.now, ..Self::default() };
    }

    /// The next frame, and what it says of movement. Gives how many objects each answer has that came late.
    pub fn begin(&mut self, evidence: Option<&Evidence>) -> Vec<usize> {
        self.now += 1;
        evidence.iter().for_each(|evidence| self.carry.push(evidence));
        let mut came = Vec::new();
        self.late.retain(|(answer, frame)| match answer.try_recv() {
            Ok(Some(answer)) => {
                came.push(answer.objects.len());
                if self.last.as_ref().is_none_or(|(_, known)| known < frame) {
                    self.last = Some((answer, *frame));
                }
                false
            }
            Ok(None) => false,
            Err(error) => error == TryRecvError::Empty,
        });
        came
    }

    /// The answer about the frame at hand.
    pub fn answered(&mut self, answer: Answer) {
        self.last = Some((answer, self.now));
    }

    /// It comes later, and holds for the frames after it.
    pub fn comes_later(&mut self, answer: &Receiver<Reply>) {
        self.late.push((answer.clone(), self.now));
    }

    pub fn answer(&self) -> Option<&Answer> {
        self.last.as_ref().map(|(answer, _)| answer)
    }

    /// The objects of the answer where they are in the frame at hand, in pixels of a small picture of this size.
    pub fn candidates(&self, (width, height): (u32, u32)) -> Vec<Candidate> {
        let Some((answer, frame)) = &self.last else { return Vec::new() };
        let frames = (self.now - frame) as usize;
        let moved = |bbox: &PixelBox, score: f32| {
            let edges = answer.layout.frame_from_image(bbox, width, height);
            let bbox = [edges.xmin, edges.ymin, edges.xmax, edges.ymax].map(|edge| edge as f32);
            let bbox = self.carry.over(frames, bbox)?;
            let is_inside = bbox[0] < width as f32 && bbox[1] < height as f32 && bbox[2] > 0.0 && bbox[3] > 0.0;
            is_inside.then_some(Candidate { bbox, score })
        };
        answer.objects.iter().filter_map(|(found, _)| moved(&found.bbox, found.score)).collect()
    }

    /// Bytes that movement is known by.
    pub fn bytes(&self) -> usize {
        self.carry.bytes()
    }
}
