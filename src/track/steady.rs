//! What a moment before and after says of a frame's tracks: scores are steadied, a track counts when it has been seen often enough, and who
//! was there before and after was there in between. Of files that holds from the first frame on, because frames wait for those after them.

use super::{HITS, Identity, State};
use std::collections::{BTreeSet, VecDeque};

/// A score is the mean of the track's over so long, before and after; frames of files wait for so long.
pub const AROUND_NS: u64 = 250_000_000;

/// No more frames wait, however many there are in a second, unless a longer wait is asked for: their pictures wait with them.
const FEW: usize = 12;
const MOST: usize = 64;

/// A box whose it is, in pixels of the frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Owned {
    pub identity: Identity,
    pub bbox: [f32; 4],
}

/// A frame after it has waited.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steadied {
    /// Whose its boxes are, in their order, with steadied scores; those that are not believed are tentative.
    pub identities: Vec<Identity>,
    /// Who is not seen in it, and was before and is after.
    pub between: Vec<Between>,
}

/// A track that is [`State::Lost`] in one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Between {
    pub owned: Owned,
    /// Where it is seen next: so many frames later, the box of this number.
    pub later: (usize, usize),
}

/// A frame's boxes, in order.
struct Seen {
    pts_ns: u64,
    boxes: Vec<Owned>,
}

/// The frames of the last moments, in order.
pub struct Steady {
    /// Those that were given, as long as they matter, then those that wait.
    frames: VecDeque<Seen>,
    given: usize,
    /// How long frames wait for others, and how many.
    wait_ns: u64,
    most: usize,
    /// All that there were.
    count: u32,
}

impl Seen {
    fn of_track(&self, id: u64) -> Option<(usize, &Owned)> {
        self.boxes.iter().enumerate().find(|(_, owned)| owned.identity.id == id)
    }
}

impl Steady {
    /// Frames wait for those that come within `wait_ns`; without a wait only what was before is known of them.
    pub fn new(wait_ns: u64) -> Self {
        let most = if wait_ns > AROUND_NS { MOST } else { FEW };
        Self { frames: VecDeque::new(), given: 0, wait_ns, most, count: 0 }
    }

    /// The next frame's boxes.
    pub fn push(&mut self, pts_ns: u64, boxes: Vec<Owned>) {
        self.count = self.count.saturating_add(1);
        self.frames.push_back(Seen { pts_ns, boxes });
    }

    /// The oldest frame, where it has waited long enough, or there are no more to come (`is_end`).
    pub fn pop(&mut self, is_end: bool) -> Option<Steadied> {
        let (now, newest) = (self.frames.get(self.given)?, self.frames.back()?);
        let (pts_ns, waiting) = (now.pts_ns, self.frames.len() - self.given);
        if !is_end && waiting <= self.most && newest.pts_ns.saturating_sub(pts_ns) < self.wait_ns {
            return None;
        }
        // Of a picture, or a few, nothing is seen often.
        let needed = if is_end { HITS.min(self.count) } else { HITS };
        let identities = now.boxes.iter().map(|owned| self.steadied(&owned.identity, pts_ns, needed)).collect();
        let between = self.between(now, needed);
        self.given += 1;
        let from = pts_ns.saturating_sub(AROUND_NS.max(self.wait_ns));
        while self.given > 0 && self.frames.front().is_some_and(|frame| frame.pts_ns < from) {
            self.frames.pop_front();
            self.given -= 1;
        }
        Some(Steadied { identities, between })
    }

    /// What the frames around say of a box's track.
    fn steadied(&self, identity: &Identity, pts_ns: u64, needed: u32) -> Identity {
        let scores = Vec::from_iter(self.scores_around(pts_ns, identity.id).flatten());
        let after = self.frames.iter().skip(self.given + 1);
        let later = after.filter(|frame| frame.of_track(identity.id).is_some()).count();
        let is_believed = identity.hits as usize + later >= needed as usize;
        let state = match (is_believed, identity.state) {
            (false, _) => State::Tentative,
            (true, State::Tentative) => State::Active,
            (true, state) => state,
        };
        Identity { state, score: scores.iter().sum::<f32>() / scores.len().max(1) as f32, ..*identity }
    }

    /// A track's score in each frame around a time; none in those in which it is not seen.
    fn scores_around(&self, pts_ns: u64, id: u64) -> impl Iterator<Item = Option<f32>> {
        let near = self.frames.iter().filter(move |frame| frame.pts_ns.abs_diff(pts_ns) <= AROUND_NS);
        near.map(move |frame| frame.of_track(id).map(|(_, seen)| seen.identity.score))
    }

    /// Who is missing in the oldest frame that waits: at the place between those where it was and is.
    fn between(&self, now: &Seen, needed: u32) -> Vec<Between> {
        let mut found = Vec::new();
        let mut known: BTreeSet<u64> = now.boxes.iter().map(|owned| owned.identity.id).collect();
        for (steps, frame) in self.frames.iter().skip(self.given).enumerate().skip(1) {
            for (number, after) in frame.boxes.iter().enumerate() {
                let id = after.identity.id;
                // What was not believed before is not believed to have been there.
                if after.identity.hits <= needed || !known.insert(id) {
                    continue;
                }
                let given = self.frames.range(..self.given).rev();
                let Some((then, before)) = given.filter_map(|frame| Some((frame.pts_ns, frame.of_track(id)?.1))).next()
                else {
                    continue;
                };
                let share = (now.pts_ns.saturating_sub(then)) as f32 / frame.pts_ns.saturating_sub(then).max(1) as f32;
                let at = |edge: usize| before.bbox[edge] + share * (after.bbox[edge] - before.bbox[edge]);
                // Who is missed often is less sure to have been there.
                let scores = Vec::from_iter(self.scores_around(now.pts_ns, id).map(Option::unwrap_or_default));
                let score = scores.iter().sum::<f32>() / scores.len().max(1) as f32;
                let identity = Identity { state: State::Lost, score, ..before.identity };
                let owned = Owned { identity, bbox: [0, 1, 2, 3].map(at) };
                found.push(Between { owned, later: (steps, number) });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(id: u64, hits: u32, score: f32) -> Owned {
        Owned { identity: Identity { id, hits, score, ..Identity::default() }, bbox: [0.0, 0.0, 9.0, 9.0] }
    }

    #[test]
    fn a_frame_waits_for_those_after_it_and_a_box_seen_once_is_tentative() {
        let mut steady = Steady::new(AROUND_NS);
        let mut given = Vec::new();
        for number in 0..20u64 {
            let mut boxes = vec![seen(1, number as u32 + 1, if number % 2 == 0 { 0.2 } else { 0.6 })];
            if number == 10 {
                boxes.push(seen(2, 1, 0.9));
            }
            steady.push(number * 100_000_000, boxes);
            given.extend(steady.pop(false).map(|frame| frame.identities));
            assert_eq!(given.len() as u64, number.saturating_sub(2), "frame {number}");
        }
        while let Some(last) = steady.pop(true) {
            given.push(last.identities);
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
        let mut live = Steady::new(0);
        for number in 0..5u32 {
            live.push(u64::from(number) * 40_000_000, vec![seen(1, number + 1, 0.5)]);
            let is_believed = live.pop(false).unwrap().identities[0].state == State::Active;
            assert_eq!(is_believed, number >= 2, "frame {number}");
        }
        let mut lone = Steady::new(AROUND_NS);
        lone.push(0, vec![seen(1, 1, 0.5)]);
        assert_eq!(lone.pop(false), None);
        assert_eq!(lone.pop(true).unwrap().identities[0].state, State::Active);
        assert_eq!(lone.pop(true), None);
    }

    #[test]
    fn who_was_there_before_and_after_was_there_in_between_and_nobody_else() {
        let mut steady = Steady::new(AROUND_NS);
        let bbox = |number: u64| [10.0 * number as f32, 0.0, 10.0 * number as f32 + 20.0, 20.0];
        let mut given = Vec::new();
        for number in 0..30u64 {
            let sight = |id: u64, hits: u64| Owned { bbox: bbox(number), ..seen(id, hits as u32, 0.5) };
            // One is missed twice, then for longer than frames wait, then is gone; another has just come when it is missed.
            let is_seen = !matches!(number, 10 | 11 | 15..=19 | 25..);
            let mut boxes = Vec::from_iter(is_seen.then(|| sight(1, number + 1)));
            boxes.extend((number >= 4 && number != 5).then(|| sight(2, (number - 3).min(2))));
            steady.push(number * 100_000_000, boxes);
            given.extend(steady.pop(false));
        }
        given.extend(std::iter::from_fn(|| steady.pop(true)));
        assert_eq!(given.len(), 30);
        for (number, frame) in given.iter().enumerate() {
            let sure = frame.between.iter().filter(|between| between.owned.identity.score > 0.2);
            let told = Vec::from_iter(sure.map(|between| (between.owned.identity.id, between.later)));
            let expected = match number {
                10 => vec![(1, (2, 0))],
                11 => vec![(1, (1, 0))],
                _ => vec![],
            };
            assert_eq!(told, expected, "frame {number}");
            for between in &frame.between {
                assert_eq!(between.owned.bbox, bbox(number as u64), "frame {number}");
                assert_eq!(between.owned.identity.state, State::Lost);
            }
        }
    }
}
