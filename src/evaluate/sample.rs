//! What the measures are taken of.

use super::bootstrap;
use super::dataset::{FrameTruth, TruthBox};
use crate::geometry::{self, DrawnBox};
use serde::{Deserialize, Serialize};

/// A found box is right where its IoU with a drawn one is at least this.
pub const RIGHT_IOU: f64 = 0.5;

/// One box that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoundBox {
    /// In pixels of the picture as displayed.
    pub bbox: DrawnBox,
    pub score: f32,
    /// Identity within the clip.
    pub track: Option<u64>,
}

/// One annotated picture, or frame of a clip: what is true of it and what was found there.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The item of the data set, from 0; samples of one item follow each other, in order of their frames.
    pub item: usize,
    /// The frame of the clip, from 0.
    pub frame: usize,
    /// Its width and height as displayed, in pixels.
    pub picture: [u32; 2],
    pub truth: &'a FrameTruth,
    /// Whether every object is annotated.
    pub is_exhaustive: bool,
    pub found: &'a [FoundBox],
    /// Whether things are followed from frame to frame, so that each found box has a track.
    pub is_followed: bool,
    /// Where a clip's frames have them.
    pub moment: Option<Moment>,
}

/// What a clip says of one of its frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Its time stamp.
    pub pts_ns: u64,
    /// On how many of the clip's frames up to this one the model ran; none where frames are looked at one by one.
    pub inferred: Option<u64>,
}

/// A measure with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    /// 95 % by [`bootstrap`]; none where it cannot be had.
    pub low: Option<f64>,
    pub high: Option<f64>,
}

impl Sample<'_> {
    /// The annotated objects, without those that stand for a group.
    pub fn objects(&self) -> impl Iterator<Item = &TruthBox> {
        self.truth.boxes.iter().filter(|truth| !truth.is_crowd)
    }

    /// The box of highest score, the first of several.
    pub fn best(&self) -> Option<&FoundBox> {
        self.found.iter().reduce(|best, other| if other.score > best.score { other } else { best })
    }

    /// Whether nobody can say that the box is right or wrong: it lies on a group, or on an object that is hard to recognise,
    /// and on no other.
    pub fn is_undecided(&self, found: &FoundBox) -> bool {
        let covers = |truth: &TruthBox| match truth.is_crowd {
            true => share_on(&found.bbox, &truth.bbox) >= RIGHT_IOU,
            false => truth.is_difficult && geometry::iou(&found.bbox, &truth.bbox) >= RIGHT_IOU,
        };
        !self.is_right(found) && self.truth.boxes.iter().any(covers)
    }

    /// Whether the box is that of an object.
    pub fn is_right(&self, found: &FoundBox) -> bool {
        self.objects().any(|truth| !truth.is_difficult && geometry::iou(&found.bbox, &truth.bbox) >= RIGHT_IOU)
    }

    /// Which of the found boxes are right where each object counts once: the higher score comes first, and takes the object that is not
    /// taken yet and overlaps it most. None for what nobody can decide.
    pub fn right(&self) -> Vec<Option<bool>> {
        let mut order: Vec<usize> = (0..self.found.len()).collect();
        order.sort_by(|&a, &b| self.found[b].score.total_cmp(&self.found[a].score));
        let mut left: Vec<&TruthBox> = self.objects().filter(|truth| !truth.is_difficult).collect();
        let mut right = vec![None; self.found.len()];
        for at in order {
            let found = &self.found[at];
            let iou = |truth: &&TruthBox| geometry::iou(&found.bbox, &truth.bbox);
            let best = (0..left.len()).max_by(|&a, &b| iou(&left[a]).total_cmp(&iou(&left[b])));
            let taken = best.filter(|&best| iou(&left[best]) >= RIGHT_IOU);
            if let Some(taken) = taken {
                left.remove(taken);
            }
            right[at] = (taken.is_some() || !self.is_undecided(found)).then_some(taken.is_some());
        }
        right
    }

    /// Whether it is known that nothing is there.
    pub fn is_known_empty(&self) -> bool {
        self.is_exhaustive && self.truth.boxes.is_empty()
    }
}

/// The median of one value per picture, with its interval.
pub fn median(values: impl Iterator<Item = f64>) -> Option<Estimate> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = |counts: &mut dyn Iterator<Item = u32>| {
        let mut seen = 0;
        let is_middle = |(count, _): &(u32, &f64)| {
            seen += *count as usize;
            seen > values.len() / 2
        };
        counts.zip(&values).find(is_middle).map(|(_, value)| *value)
    };
    let value = middle(&mut std::iter::repeat_n(1, values.len()))?;
    let [interval] = bootstrap::intervals(values.len(), |counts| [middle(&mut counts.iter().copied())]);
    Some(Estimate::new(value, interval))
}

/// The share of `a` that lies on `b`: the IoU with a group of objects.
pub(super) fn share_on(a: &DrawnBox, b: &DrawnBox) -> f64 {
    let area = geometry::area(a);
    if area > 0.0 { geometry::shared_area(a, b) / area } else { 0.0 }
}

impl Estimate {
    pub(super) fn new(value: f64, interval: Option<[f64; 2]>) -> Self {
        Self { value, low: interval.map(|[low, _]| low), high: interval.map(|[_, high]| high) }
    }
}

/// A quotient of two sums over items: a share, or a mean.
pub(super) struct Ratio {
    /// Numerator and denominator of each item.
    sums: Vec<[f64; 2]>,
}

impl Ratio {
    pub fn new(items: usize) -> Self {
        Self { sums: vec![[0.0; 2]; items] }
    }

    /// Counts `of` more, `part` of them.
    pub fn add(&mut self, item: usize, part: f64, of: f64) {
        let [numerator, denominator] = &mut self.sums[item];
        *numerator += part;
        *denominator += of;
    }

    /// The sum of the denominators.
    pub fn of(&self) -> f64 {
        self.sums.iter().map(|[_, of]| of).sum()
    }

    /// None where the denominator is zero. Items that add nothing to it are not drawn.
    pub fn estimate(mut self) -> Option<Estimate> {
        self.sums.retain(|[_, of]| *of > 0.0);
        let quotient = |counts: &mut dyn Iterator<Item = u32>| {
            let [mut part, mut all] = [0.0; 2];
            for ([numerator, denominator], count) in self.sums.iter().zip(counts) {
                part += f64::from(count) * numerator;
                all += f64::from(count) * denominator;
            }
            (all > 0.0).then_some(part / all)
        };
        let value = quotient(&mut std::iter::repeat(1))?;
        let [interval] = bootstrap::intervals(self.sums.len(), |counts| [quotient(&mut counts.iter().copied())]);
        Some(Estimate::new(value, interval))
    }
}
