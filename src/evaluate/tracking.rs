//! Measures of identities, of one clip and of several together: HOTA with its parts (Luiten et al., IJCV 2021), OWTA (Liu et al., CVPR
//! 2022), IDF1 (Ristani et al., ECCV workshops 2016), MOTA and switches (Bernardin and Stiefelhagen, EURASIP 2008).
//!
//! A [`Tally`] counts, over frames in order; measures are quotients of its counts, so that those of several clips are taken of their sums.

use super::bootstrap;
use super::sample::{Estimate, RIGHT_IOU, Sample};
use crate::assign::assign;
use crate::geometry::{self, DrawnBox};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// HOTA and its parts are means over so many IoUs, 0.05 to 0.95.
const IOUS: usize = 19;
/// An IoU that is a bound but for rounding is not below it.
const ROUNDING: f64 = f64::EPSILON;
/// In MOTA a thing stays with the track of the frame before, whatever else overlaps it more.
const STAYS: f64 = 1000.0;

/// Whose the boxes of one frame are: each identity has one at most.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    pub truth: Vec<(u64, DrawnBox)>,
    pub found: Vec<(u64, DrawnBox)>,
}

/// What there was and what was found, in counts.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Boxes.
    truth: f64,
    found: f64,
    at: [AtIou; IOUS],
    /// Boxes of things that are with their track, where each thing has one track at most and each track one thing.
    identified: f64,
    /// Pairs that follow each other from frame to frame, and how often a thing was with another track than before.
    followed: f64,
    switches: f64,
    /// Between the first frame and the last; 0 where frames have no time.
    minutes: f64,
}

/// Pairs of at least one IoU.
#[derive(Clone, Copy, Debug, Default)]
struct AtIou {
    pairs: f64,
    /// The sum over them of how well thing and track belong together: the frames they share, of the frames of either.
    together: f64,
    /// The sum of their IoUs.
    near: f64,
}

/// Every measure, as a share of 1 but for the last.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tracking<T> {
    pub hota: T,
    pub det_a: T,
    pub ass_a: T,
    pub loc_a: T,
    pub owta: T,
    pub idf1: T,
    pub idp: T,
    pub idr: T,
    pub mota: T,
    /// By a video's time stamps; none where frames have no time.
    pub switches_per_minute: Option<T>,
}

/// A frame's boxes by number.
struct Seen {
    truth: Vec<usize>,
    found: Vec<usize>,
    /// `[truth, found]`.
    ious: Vec<f64>,
}

impl Seen {
    /// `(row, column, IoU)` of boxes that overlap.
    fn overlaps(&self) -> impl Iterator<Item = (usize, usize, f64)> {
        let columns = self.found.len();
        let all = self.ious.iter().enumerate().map(move |(at, &iou)| (at / columns, at % columns, iou));
        all.filter(|(.., iou)| *iou > 0.0)
    }

    fn iou(&self, row: usize, column: usize) -> f64 {
        self.ious[row * self.found.len() + column]
    }
}

impl Tally {
    /// Of one clip's annotated frames. Crowds, difficult objects and the boxes on them are left out. None where things are not followed,
    /// where an object is not annotated or has no identity, or where there is none.
    pub fn of_clip(clip: &[Sample]) -> Option<Self> {
        let frame = |sample: &Sample| {
            let objects = sample.objects().filter(|truth| !truth.is_difficult);
            let found = sample.found.iter().filter(|found| !sample.is_undecided(found));
            Some(Frame {
                truth: objects.map(|truth| Some((truth.track?, truth.bbox))).collect::<Option<_>>()?,
                found: found.map(|found| Some((found.track?, found.bbox))).collect::<Option<_>>()?,
            })
        };
        if !clip.iter().all(|sample| sample.is_exhaustive && sample.is_followed) {
            return None;
        }
        let frames: Vec<Frame> = clip.iter().map(frame).collect::<Option<_>>()?;
        let moments = clip.first()?.moment.zip(clip.last()?.moment);
        let minutes = moments.map_or(0.0, |(first, last)| last.pts_ns.saturating_sub(first.pts_ns) as f64 / 6e10);
        Some(Self::of(&frames, minutes)).filter(|tally| tally.truth > 0.0)
    }

    /// Of one clip's frames, in order, and how long they last.
    pub fn of(frames: &[Frame], minutes: f64) -> Self {
        let (truths, truth_lasts) = numbers(frames.iter().map(|frame| &frame.truth));
        let (founds, found_lasts) = numbers(frames.iter().map(|frame| &frame.found));
        let seen = |frame: &Frame| Seen {
            truth: frame.truth.iter().map(|(id, _)| truths[id]).collect(),
            found: frame.found.iter().map(|(id, _)| founds[id]).collect(),
            ious: (frame.truth.iter())
                .flat_map(|(_, a)| frame.found.iter().map(move |(_, b)| geometry::iou(a, b)))
                .collect(),
        };
        let seen: Vec<Seen> = frames.iter().map(seen).collect();
        let (followed, switches) = follow(&seen);
        Self {
            truth: truth_lasts.iter().sum(),
            found: found_lasts.iter().sum(),
            at: by_iou(&seen, &truth_lasts, &found_lasts),
            identified: identified(&seen, truths.len(), founds.len()),
            followed,
            switches,
            minutes,
        }
    }

    /// None where there is no object.
    pub fn measures(&self) -> Option<Tracking<f64>> {
        let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
        let mean = |of: &dyn Fn(&AtIou) -> f64| self.at.iter().map(of).sum::<f64>() / IOUS as f64;
        let detected = |at: &AtIou| share(at.pairs, self.truth + self.found - at.pairs);
        let associated = |at: &AtIou| share(at.together, at.pairs);
        (self.truth > 0.0).then(|| Tracking {
            hota: mean(&|at| (detected(at) * associated(at)).sqrt()),
            det_a: mean(&detected),
            ass_a: mean(&associated),
            // What is not there is in its place.
            loc_a: mean(&|at| if at.pairs > 0.0 { at.near / at.pairs } else { 1.0 }),
            owta: mean(&|at| (share(at.pairs, self.truth) * associated(at)).sqrt()),
            idf1: share(2.0 * self.identified, self.truth + self.found),
            idp: share(self.identified, self.found),
            idr: share(self.identified, self.truth),
            mota: (2.0 * self.followed - self.found - self.switches) / self.truth,
            switches_per_minute: (self.minutes > 0.0).then(|| self.switches / self.minutes),
        })
    }

    /// Counts another clip so many times.
    fn add(&mut self, other: &Self, times: f64) {
        self.truth += times * other.truth;
        self.found += times * other.found;
        self.identified += times * other.identified;
        self.followed += times * other.followed;
        self.switches += times * other.switches;
        self.minutes += times * other.minutes;
        for (own, other) in self.at.iter_mut().zip(&other.at) {
            own.pairs += times * other.pairs;
            own.together += times * other.together;
            own.near += times * other.near;
        }
    }
}

impl<T: Copy> Tracking<T> {
    /// All but the switches, in their order.
    pub fn shares(&self) -> [T; 9] {
        let Self { hota, det_a, ass_a, loc_a, owta, idf1, idp, idr, mota, switches_per_minute: _ } = *self;
        [hota, det_a, ass_a, loc_a, owta, idf1, idp, idr, mota]
    }
}

/// Of all clips together, with intervals over clips. None where there is no object.
pub fn pooled(clips: &[Tally]) -> Option<Tracking<Estimate>> {
    let measures = |counts: &mut dyn Iterator<Item = u32>| {
        let mut sum = Tally::default();
        clips.iter().zip(counts).for_each(|(clip, count)| sum.add(clip, f64::from(count)));
        sum.measures()
    };
    let value = measures(&mut std::iter::repeat(1))?;
    let intervals = bootstrap::intervals(clips.len(), |counts| {
        let drawn = measures(&mut counts.iter().copied());
        std::array::from_fn::<_, 10, _>(|at| match at {
            9 => drawn?.switches_per_minute,
            _ => Some(drawn?.shares()[at]),
        })
    });
    let share = |at: usize| Estimate::new(value.shares()[at], intervals[at]);
    Some(Tracking {
        hota: share(0),
        det_a: share(1),
        ass_a: share(2),
        loc_a: share(3),
        owta: share(4),
        idf1: share(5),
        idp: share(6),
        idr: share(7),
        mota: share(8),
        switches_per_minute: value.switches_per_minute.map(|rate| Estimate::new(rate, intervals[9])),
    })
}

/// A number from 0 for each identity, and how many boxes each has.
fn numbers<'a>(frames: impl Iterator<Item = &'a Vec<(u64, DrawnBox)>>) -> (BTreeMap<u64, usize>, Vec<f64>) {
    let (mut numbers, mut boxes) = (BTreeMap::new(), Vec::new());
    for (id, _) in frames.flatten() {
        let number = *numbers.entry(*id).or_insert(boxes.len());
        if number == boxes.len() {
            boxes.push(0.0);
        }
        boxes[number] += 1.0;
    }
    (numbers, boxes)
}

/// HOTA's counts: things and tracks that are near each other all along are paired first.
fn by_iou(seen: &[Seen], truth_lasts: &[f64], found_lasts: &[f64]) -> [AtIou; IOUS] {
    let mut shared: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for frame in seen {
        let (mut rows, mut columns) = (vec![0.0; frame.truth.len()], vec![0.0; frame.found.len()]);
        for (row, column, iou) in frame.overlaps() {
            rows[row] += iou;
            columns[column] += iou;
        }
        for (row, column, iou) in frame.overlaps() {
            *shared.entry((frame.truth[row], frame.found[column])).or_default() +=
                iou / (rows[row] + columns[column] - iou);
        }
    }
    let of_either = |(truth, found): (usize, usize), both: f64| both / (truth_lasts[truth] + found_lasts[found] - both);
    let mut at = [AtIou::default(); IOUS];
    let mut pairs: [BTreeMap<(usize, usize), f64>; IOUS] = Default::default();
    for frame in seen {
        let likeness = |row: usize, column: usize| {
            let pair = (frame.truth[row], frame.found[column]);
            Some(of_either(pair, *shared.get(&pair)?) * frame.iou(row, column)).filter(|likeness| *likeness > 0.0)
        };
        for (row, column) in assign(frame.truth.len(), frame.found.len(), usize::MAX, likeness) {
            let iou = frame.iou(row, column);
            for (number, (at, pairs)) in at.iter_mut().zip(&mut pairs).enumerate() {
                if iou >= 0.05 * (number + 1) as f64 - ROUNDING {
                    at.pairs += 1.0;
                    at.near += iou;
                    *pairs.entry((frame.truth[row], frame.found[column])).or_default() += 1.0;
                }
            }
        }
    }
    for (at, pairs) in at.iter_mut().zip(pairs) {
        at.together = pairs.into_iter().map(|(pair, both)| both * of_either(pair, both)).sum();
    }
    at
}

/// Boxes of things that are with their track.
fn identified(seen: &[Seen], truths: usize, founds: usize) -> f64 {
    let mut together: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for frame in seen {
        for (row, column, _) in frame.overlaps().filter(|(.., iou)| *iou >= RIGHT_IOU) {
            *together.entry((frame.truth[row], frame.found[column])).or_default() += 1.0;
        }
    }
    let likeness = |truth: usize, found: usize| together.get(&(truth, found)).map(|both| both / seen.len() as f64);
    assign(truths, founds, usize::MAX, likeness).iter().filter_map(|pair| together.get(pair)).sum()
}

/// MOTA's counts: pairs, and switches.
fn follow(seen: &[Seen]) -> (f64, f64) {
    let (mut followed, mut switches) = (0.0, 0.0);
    let (mut last, mut before) = (BTreeMap::new(), BTreeMap::new());
    for frame in seen.iter().filter(|frame| !frame.truth.is_empty() && !frame.found.is_empty()) {
        let likeness = |row: usize, column: usize| {
            let stays = before.get(&frame.truth[row]) == Some(&frame.found[column]);
            let iou = Some(frame.iou(row, column)).filter(|iou| *iou >= RIGHT_IOU - ROUNDING)?;
            Some((iou + if stays { STAYS } else { 0.0 }) / STAYS)
        };
        let pairs = assign(frame.truth.len(), frame.found.len(), usize::MAX, likeness);
        before = pairs.into_iter().map(|(row, column)| (frame.truth[row], frame.found[column])).collect();
        followed += before.len() as f64;
        for (truth, found) in &before {
            let other = last.insert(*truth, *found).is_some_and(|other| other != *found);
            switches += f64::from(u8::from(other));
        }
    }
    (followed, switches)
}
