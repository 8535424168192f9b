//! One thing over time: its way, where it rests, and at which zones and lines it is.

use super::glance::Patch;
use crate::geometry::grown;
use crate::zones::{Line, Side, Zone};
use std::collections::VecDeque;

/// A way is kept for so long, in no more steps than this, none closer than that.
const WAY_NS: u64 = 5_000_000_000;
const STEP_NS: u64 = 30_000_000;
/// Who stays within this share of the picture's width, or of its own width, for so long, rests; and who is farther away from there for that
/// long has moved on.
const REST: f32 = 0.02;
const REST_OWN: f32 = 0.15;
const REST_NS: u64 = 2_000_000_000;
const MOVE: f32 = 0.035;
const MOVE_OWN: f32 = 0.35;
const MOVE_NS: u64 = 500_000_000;
/// Nearer to an outline than this share of the picture's height, or of its own, a thing is where it was.
const NEAR: f32 = 0.01;
const NEAR_OWN: f32 = 0.06;
/// Mostly in another's box it is a piece of that, and also at it where both went the same way but for so much, in shares of the picture's
/// width or of its own.
pub const PIECE: f32 = 0.6;
const TOGETHER: f32 = 0.015;
const TOGETHER_OWN: f32 = 0.3;
/// More than this share of a place is covered by who is before it.
const COVERS: f32 = 0.2;
/// For so long it is on the other side before that is believed.
const SURE_NS: u64 = 300_000_000;
/// A new box is that of a part, or of several, for so long.
const NEW_NS: u64 = 300_000_000;
/// A thing's speed is that over so long.
const SPEED_NS: u64 = 2_500_000_000;
/// Nearer than this share of the picture, a box is at its edge.
const EDGE: f32 = 0.025;

pub type Point = [f32; 2];

/// A box at a time; in shares of the picture, as everything here.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub ns: u64,
    pub bbox: [f32; 4],
}

/// Where it rests.
#[derive(Clone, Debug)]
pub struct Rest {
    pub at: Point,
    pub since_ns: u64,
    /// What it looks like there, and in which box.
    pub patch: Option<([f32; 4], Patch)>,
}

/// How it is at a zone.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtZone {
    pub is_inside: bool,
    /// Since when; also where it was born inside.
    pub since_ns: u64,
    /// Since when it seems to be otherwise.
    other_ns: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct Way {
    steps: VecDeque<Step>,
    pub first: Step,
    pub rest: Option<Rest>,
    /// Since when it is away from where it rests.
    away_ns: Option<u64>,
    /// Where it was last far enough from each line to be on a side of it.
    anchors: Vec<Option<Step>>,
    /// The farthest from where it was when it had been seen for a moment.
    pub farthest: f32,
    from: Step,
}

/// The bottom's centre, where a thing stands.
pub fn foot(bbox: &[f32; 4]) -> Point {
    [(bbox[0] + bbox[2]) / 2.0, bbox[3]]
}

pub fn area(bbox: &[f32; 4]) -> f32 {
    (bbox[2] - bbox[0]).max(0.0) * (bbox[3] - bbox[1]).max(0.0)
}

/// The share of `bbox` that is in `other`.
pub fn share_in(bbox: &[f32; 4], other: &[f32; 4]) -> f32 {
    let common = [bbox[0].max(other[0]), bbox[1].max(other[1]), bbox[2].min(other[2]), bbox[3].min(other[3])];
    if common[0] >= common[2] || common[1] >= common[3] {
        0.0
    } else {
        area(&common) / area(bbox).max(f32::MIN_POSITIVE)
    }
}

/// Whether it may reach beyond the picture.
pub fn is_at_edge(bbox: &[f32; 4]) -> bool {
    bbox[0] < EDGE || bbox[1] < EDGE || bbox[2] > 1.0 - EDGE || bbox[3] > 1.0 - EDGE
}

impl Way {
    pub fn new(ns: u64, bbox: [f32; 4]) -> Self {
        let first = Step { ns, bbox };
        Self {
            steps: VecDeque::from([first]),
            first,
            rest: None,
            away_ns: None,
            anchors: Vec::new(),
            farthest: 0.0,
            from: first,
        }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.steps.len() * size_of::<Step>()
    }

    pub fn last(&self) -> &Step {
        self.steps.back().unwrap_or(&self.first)
    }

    /// The next place. `across` is the picture's width over its height. Gives when it moved on, where it rested before.
    pub fn go(&mut self, ns: u64, bbox: [f32; 4], across: f32) -> Option<u64> {
        if self.steps.len() > 1 && ns.saturating_sub(self.steps[self.steps.len() - 2].ns) < STEP_NS {
            self.steps.pop_back();
        }
        self.steps.push_back(Step { ns, bbox });
        while self.steps.front().is_some_and(|step| step.ns + WAY_NS < ns) {
            self.steps.pop_front();
        }
        let foot = foot(&bbox);
        if ns.saturating_sub(self.first.ns) <= NEW_NS {
            self.from = Step { ns, bbox };
        }
        self.farthest = self.farthest.max(apart(self::foot(&self.from.bbox), foot, across));
        match &self.rest {
            Some(rest) => {
                let is_away = apart(rest.at, foot, across) > MOVE.max(MOVE_OWN * (bbox[2] - bbox[0]));
                self.away_ns = self.away_ns.filter(|_| is_away).or(is_away.then_some(ns));
                let since = self.away_ns.filter(|since| ns.saturating_sub(*since) >= MOVE_NS)?;
                (self.rest, self.away_ns) = (None, None);
                Some(since)
            }
            None => {
                let near = |step: &&Step| {
                    apart(self::foot(&step.bbox), foot, across) <= REST.max(REST_OWN * (bbox[2] - bbox[0]))
                };
                let since = self.steps.iter().rev().take_while(near).last().map_or(ns, |step| step.ns);
                if ns.saturating_sub(since) >= REST_NS {
                    self.rest = Some(Rest { at: foot, since_ns: since, patch: None });
                }
                None
            }
        }
    }

    /// It is not seen any more: whether it may be who came later, by where it was going and how large both were at most.
    pub fn may_be(&self, heir: &Self, across: f32) -> bool {
        let (last, first) = (self.last(), heir.first);
        let before = self.steps.iter().find(|step| step.ns + SPEED_NS >= last.ns).unwrap_or(last);
        let [from, to, at] = [&before.bbox, &last.bbox, &first.bbox].map(foot);
        let gone = first.ns.saturating_sub(last.ns) as f32 / last.ns.saturating_sub(before.ns).max(STEP_NS) as f32;
        let ahead = [0, 1].map(|side| to[side] + gone * (to[side] - from[side]));
        let [own, others] = [self, heir].map(|way| way.steps.iter().map(|step| area(&step.bbox)).fold(0.0, f32::max));
        let widths =
            [self, heir].map(|way| way.steps.iter().map(|step| step.bbox[2] - step.bbox[0]).fold(0.0, f32::max));
        let reach = 0.8 * apart(to, ahead, across) + widths[0].max(widths[1]);
        (0.4..2.5).contains(&(others / own.max(f32::MIN_POSITIVE))) && apart(ahead, at, across) <= reach
    }

    /// Whether it is a piece of another: mostly in its box, or at it and going the same way.
    pub fn is_piece_of(&self, other: &Self, across: f32) -> bool {
        let (own, whole) = (self.last(), other.last());
        let share = share_in(&own.bbox, &grown(&whole.bbox, 0.1));
        let at = |step: &Step| foot(&step.bbox);
        let together = || {
            let then = other.steps.iter().find(|step| step.ns >= self.first.ns)?;
            let own_then = self.steps.iter().find(|step| step.ns >= then.ns)?;
            let [from, to, own_from, own_to] = [at(then), at(whole), at(own_then), at(own)];
            let apart = [0, 1].map(|side| (own_to[side] - own_from[side]) - (to[side] - from[side]));
            Some(apart[0].abs().max(apart[1].abs() / across) < TOGETHER.max(TOGETHER_OWN * (own.bbox[2] - own.bbox[0])))
        };
        share > PIECE || share > 0.0 && whole.ns == own.ns && together() == Some(true)
    }

    /// Its place, known better from now on: it has not moved there.
    pub fn jump(&mut self, ns: u64, bbox: [f32; 4]) {
        self.steps.clear();
        self.steps.push_back(Step { ns, bbox });
        if let Some(rest) = &mut self.rest {
            (rest.at, rest.patch) = (foot(&bbox), None);
        }
        self.anchors.clear();
    }

    /// When as much of it was in the picture as is half of what is to be seen now, or was to be seen at most: when it came (`is_new`), or went.
    pub fn half_seen(&self, is_new: bool) -> u64 {
        let size = |step: &Step| [step.bbox[2] - step.bbox[0], step.bbox[3] - step.bbox[1]];
        let most = self.steps.iter().map(size).fold([0.0f32; 2], |most, size| [0, 1].map(|k| most[k].max(size[k])));
        let is_half = |step: &&Step| (0..2).all(|side| size(step)[side] >= 0.5 * most[side]);
        let first = |step: &&Step| step.ns >= self.first.ns && is_half(step);
        let found = if is_new { self.steps.iter().find(first) } else { self.steps.iter().rev().find(is_half) };
        found.unwrap_or(&self.first).ns
    }

    /// When it last covered a place.
    pub fn covered(&self, place: &[f32; 4]) -> Option<u64> {
        self.steps.iter().rev().find(|step| share_in(place, &step.bbox) > COVERS).map(|step| step.ns)
    }

    /// Learns how it is at a zone. Gives when it left, where it did.
    pub fn at_zone(&self, zone: &Zone, at: &mut AtZone, across: f32) -> Option<u64> {
        let Step { ns, bbox } = *self.last();
        let (depth, near) = match zone.share {
            None => (zone.polygon.depth(foot(&bbox), across), NEAR.max(NEAR_OWN * (bbox[3] - bbox[1]))),
            Some(share) => (covered(zone, &bbox) - share, 0.05),
        };
        let is_other = if at.is_inside { depth < 0.0 } else { depth > 0.0 };
        let is_clear = depth.abs() > near;
        // What is at the outline may be on either side; where it was when it crossed it counts.
        at.other_ns = at.other_ns.filter(|_| is_other).or(is_other.then_some(ns));
        let since = at.other_ns.filter(|since| is_clear && ns.saturating_sub(*since) >= SURE_NS)?;
        *at = AtZone { is_inside: !at.is_inside, since_ns: since, other_ns: None };
        (!at.is_inside).then_some(since)
    }

    /// The lines that were crossed, by their numbers, to which side and when.
    pub fn over_lines(&mut self, lines: &[Line], across: f32) -> Vec<(usize, Side, u64)> {
        let now = *self.last();
        let place = foot(&now.bbox);
        let near = NEAR.max(NEAR_OWN * (now.bbox[3] - now.bbox[1]));
        self.anchors.resize(lines.len(), None);
        let mut crossed = Vec::new();
        for (number, (line, anchor)) in lines.iter().zip(&mut self.anchors).enumerate() {
            if line.points.distance(place, across) < near {
                continue;
            }
            let Some(before) = anchor.replace(now) else { continue };
            let Some(side) = line.points.crossed(foot(&before.bbox), place) else { continue };
            // When, more closely: by the steps in between.
            let steps: Vec<&Step> = self.steps.iter().filter(|step| step.ns >= before.ns).collect();
            let at = steps
                .windows(2)
                .find(|pair| line.points.crossed(foot(&pair[0].bbox), foot(&pair[1].bbox)) == Some(side));
            crossed.push((number, side, at.map_or(now.ns, |pair| pair[1].ns)));
        }
        crossed
    }

    /// The zones or lines are others now.
    pub fn forget_lines(&mut self) {
        self.anchors.clear();
    }
}

/// Distance in shares of the picture's width.
fn apart(a: Point, b: Point, across: f32) -> f32 {
    (a[0] - b[0]).hypot((a[1] - b[1]) / across)
}

/// The middles of `side` by `side` parts of a box, row by row.
pub fn places(bbox: &[f32; 4], side: usize) -> impl Iterator<Item = Point> {
    let at =
        move |axis: usize, step: usize| bbox[axis] + (step as f32 + 0.5) / side as f32 * (bbox[axis + 2] - bbox[axis]);
    (0..side * side).map(move |place| [at(0, place % side), at(1, place / side)])
}

/// The share of a box that is in a zone.
fn covered(zone: &Zone, bbox: &[f32; 4]) -> f32 {
    const SIDE: usize = 8;
    let inside = places(bbox, SIDE).filter(|place| zone.polygon.contains(*place));
    inside.count() as f32 / (SIDE * SIDE) as f32
}
