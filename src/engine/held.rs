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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Grid, PatchLayout};
    use crate::localize::Detection;
    use crate::record::TimingsRecord;
    use crossbeam_channel::bounded;
    use std::sync::Arc;

    fn answer(objects: usize) -> Answer {
        let grid = Grid { rows: 4, cols: 4 };
        let found = Detection {
            bbox: PixelBox { xmin: 8, ymin: 8, xmax: 16, ymax: 24 },
            seed: None,
            score: 0.5,
            patches: Vec::new(),
        };
        Answer {
            objects: Arc::new(vec![(found, None); objects]),
            keys: None,
            features: None,
            layout: PatchLayout { grid, patch: 8, image_width: 32, image_height: 32 },
            timings: TimingsRecord::default(),
        }
    }

    #[test]
    fn an_answer_that_comes_late_holds_unless_a_newer_one_is_there() {
        let mut held = Held::default();
        let (tickets, answers): (Vec<_>, Vec<_>) = (0..3).map(|_| bounded(1)).unzip();
        for answer in &answers[..2] {
            held.begin(None);
            held.comes_later(answer);
        }
        tickets[1].send(Some(answer(2))).unwrap();
        assert_eq!((held.begin(None), held.answer().unwrap().objects.len()), (vec![2], 2));
        tickets[0].send(Some(answer(1))).unwrap();
        assert_eq!((held.begin(None), held.answer().unwrap().objects.len()), (vec![1], 2));
        held.answered(answer(3));
        assert_eq!(held.candidates((64, 64)).len(), 3);
        assert_eq!(held.candidates((64, 64))[0].bbox, [16.0, 16.0, 32.0, 48.0]);
        held.comes_later(&answers[2]);
        held.forget();
        tickets[2].send(Some(answer(1))).ok();
        assert!(held.begin(None).is_empty() && held.answer().is_none(), "it is from before the gap");
    }
}
