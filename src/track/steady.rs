//! Scores are steadied over a track, and a track counts when it has been seen often enough: of files from its first frame on, because
//! frames wait for those after them.

use super::{HITS, Identity, State};
use std::collections::VecDeque;

/// A score is the mean of the track's over so long, before and after.
pub const AROUND_NS: u64 = 250_000_000;

/// No more frames wait, however many there are in a second: their pictures wait with them.
const MOST: usize = 12;

/// A frame's tracks, with the scores of its boxes.
struct Seen {
    pts_ns: u64,
    boxes: Vec<(Identity, f32)>,
}

/// The frames of the last moments, in order.
pub struct Steady {
    /// Those that were given, as long as they matter, then those that wait.
    frames: VecDeque<Seen>,
    given: usize,
    /// How long frames wait for others.
    wait_ns: u64,
    /// All that there were.
    count: u32,
}

impl Steady {
    /// Frames that `wait` see what comes [`AROUND_NS`] after them; the others only what was before.
    pub fn new(wait: bool) -> Self {
        Self { frames: VecDeque::new(), given: 0, wait_ns: if wait { AROUND_NS } else { 0 }, count: 0 }
    }

    /// The next frame: whose its boxes are, and their scores.
    pub fn push(&mut self, pts_ns: u64, boxes: Vec<(Identity, f32)>) {
        self.count = self.count.saturating_add(1);
        self.frames.push_back(Seen { pts_ns, boxes });
    }

    /// The oldest frame's boxes, in their order, where it has waited long enough, or there are no more to come (`is_end`): those that are
    /// not believed are tentative.
    pub fn pop(&mut self, is_end: bool) -> Option<Vec<Identity>> {
        let (Seen { pts_ns, boxes }, newest) = (self.frames.get(self.given)?, self.frames.back()?);
        let waiting = self.frames.len() - self.given;
        if !is_end && waiting <= MOST && newest.pts_ns.saturating_sub(*pts_ns) < self.wait_ns {
            return None;
        }
        // Of a picture, or a few, nothing is seen often.
        let needed = if is_end { HITS.min(self.count) } else { HITS };
        let near = |frame: &&Seen| frame.pts_ns.abs_diff(*pts_ns) <= AROUND_NS;
        let steadied = boxes.iter().map(|(identity, _)| {
            let of_track =
                |frame: &Seen| frame.boxes.iter().find(|(other, _)| other.id == identity.id).map(|seen| seen.1);
            let scores: Vec<f32> = self.frames.iter().filter(near).filter_map(of_track).collect();
            let later = self.frames.iter().skip(self.given + 1).filter(|frame| of_track(frame).is_some()).count();
            let is_believed = identity.hits as usize + later >= needed as usize;
            let state = match (is_believed, identity.state) {
                (false, _) => State::Tentative,
                (true, State::Tentative) => State::Active,
                (true, state) => state,
            };
            Identity { state, score: scores.iter().sum::<f32>() / scores.len().max(1) as f32, ..*identity }
        });
        let steadied = steadied.collect();
        self.given += 1;
        let from = pts_ns.saturating_sub(AROUND_NS);
        while self.given > 0 && self.frames.front().is_some_and(|frame| frame.pts_ns < from) {
            self.frames.pop_front();
            self.given -= 1;
        }
        Some(steadied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(id: u64, hits: u32) -> Identity {
        Identity { id, hits, ..Identity::default() }
    }

    #[test]
    fn a_frame_waits_for_those_after_it_and_a_box_seen_once_is_tentative() {
        let mut steady = Steady::new(true);
        let mut given = Vec::new();
        for number in 0..20u64 {
            let mut boxes = vec![(seen(1, number as u32 + 1), if number % 2 == 0 { 0.2 } else { 0.6 })];
            if number == 10 {
                boxes.push((seen(2, 1), 0.9));
            }
            steady.push(number * 100_000_000, boxes);
            given.extend(steady.pop(false));
            assert_eq!(given.len() as u64, number.saturating_sub(2), "frame {number}");
        }
        while let Some(last) = steady.pop(true) {
            given.push(last);
        }
        assert_eq!(given.len(), 20);
        for (number, boxes) in given.iter().enumerate() {
            assert_eq!(boxes[0].state, State::Active, "frame {number}");
            assert!((boxes[0].score - 0.4).abs() < 0.07, "frame {number}: {}", boxes[0].score);
        }
        assert_eq!(given[10][1].state, State::Tentative);
        assert_eq!(steady.frames.len(), 3, "no more than matters is kept");
    }

    #[test]
    fn who_does_not_wait_is_believed_at_the_third_sight_and_a_lone_picture_at_once() {
        let mut live = Steady::new(false);
        for number in 0..5u32 {
            live.push(u64::from(number) * 40_000_000, vec![(seen(1, number + 1), 0.5)]);
            let is_believed = live.pop(false).unwrap()[0].state == State::Active;
            assert_eq!(is_believed, number >= 2, "frame {number}");
        }
        let mut lone = Steady::new(true);
        lone.push(0, vec![(seen(1, 1), 0.5)]);
        assert_eq!(lone.pop(false), None);
        assert_eq!(lone.pop(true).unwrap()[0].state, State::Active);
        assert_eq!(lone.pop(true), None);
    }
}
