//! Class-agnostic average precision and recall as COCO defines them: IoU 0.50:0.05:0.95, precision at 101 recalls, at most 100
//! boxes per picture, groups neither right nor wrong, sizes by area in pixels.
//!
//! Two things differ from the COCO tools because the data differ: the area of an object is that of its box, and an object that
//! is flagged difficult (VOC) is neither right nor wrong, as in VOC's own evaluation.

use super::bootstrap;
use super::dataset::TruthBox;
use super::sample::{Estimate, FoundBox, Sample, share_on};
use crate::geometry;

/// Boxes per picture that count, those of highest score.
pub const MAX_BOXES: usize = 100;
const THRESHOLDS: usize = 10;
const RECALLS: usize = 101;

/// Which objects count, by the area of their box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    All,
    /// Up to 32² pixels.
    Small,
    /// 32² to 96² pixels.
    Medium,
    /// From 96² pixels.
    Large,
}

impl Size {
    fn holds(self, area: f64) -> bool {
        let (low, high) = match self {
            Self::All => (0.0, f64::INFINITY),
            Self::Small => (0.0, 1024.0),
            Self::Medium => (1024.0, 9216.0),
            Self::Large => (9216.0, f64::INFINITY),
        };
        (low..=high).contains(&area)
    }
}

/// What became of one found box: a bit for each IoU threshold.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    score: f32,
    item: usize,
    is_right: u16,
    is_ignored: u16,
}

/// Found boxes matched to objects, ready to be measured for any draw of the items.
pub struct Matches {
    /// By descending score.
    outcomes: Vec<Outcome>,
    /// Objects that count, by item.
    objects: Vec<u32>,
}

/// Precision and recall of one draw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Precision {
    /// Mean over the IoU thresholds.
    pub ap: f64,
    pub ap50: f64,
    pub recall: f64,
    pub recall50: f64,
}

/// [`Precision`] with intervals.
#[derive(Clone, Copy, Debug)]
pub struct PrecisionEstimate {
    pub ap: Estimate,
    pub ap50: Estimate,
    pub recall: Estimate,
    pub recall50: Estimate,
    /// Objects that count.
    pub objects: u64,
}

impl Matches {
    /// Matches the boxes of every sample to its objects.
    pub fn new<'a>(samples: impl IntoIterator<Item = &'a Sample<'a>>, items: usize, size: Size) -> Self {
        let mut matches = Self { outcomes: Vec::new(), objects: vec![0; items] };
        for sample in samples {
            matches.add(sample, size);
        }
        matches.outcomes.sort_by(|a, b| b.score.total_cmp(&a.score));
        matches
    }

    fn add(&mut self, sample: &Sample, size: Size) {
        let is_ignored =
            |truth: &&TruthBox| truth.is_crowd || truth.is_difficult || !size.holds(geometry::area(&truth.bbox));
        // Objects that count come first: the others are looked at only by boxes that found none.
        let mut truths: Vec<&TruthBox> = sample.truth.boxes.iter().collect();
        truths.sort_by_key(is_ignored);
        let counted = truths.iter().filter(|truth| !is_ignored(truth)).count();
        self.objects[sample.item] += counted as u32;

        let mut found: Vec<&FoundBox> = sample.found.iter().collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(MAX_BOXES);
        let ious: Vec<Vec<f64>> =
            found.iter().map(|found| truths.iter().map(|truth| agreement(found, truth)).collect()).collect();
        let outcome = |found: &&FoundBox| Outcome { score: found.score, item: sample.item, is_right: 0, is_ignored: 0 };
        let mut outcomes: Vec<Outcome> = found.iter().map(outcome).collect();
        for threshold in 0..THRESHOLDS {
            let bit = 1 << threshold;
            let mut is_taken = vec![false; truths.len()];
            for ((found, outcome), ious) in found.iter().zip(&mut outcomes).zip(&ious) {
                let mut least = iou_threshold(threshold).min(1.0 - 1e-10);
                let mut partner = None;
                for (at, truth) in truths.iter().enumerate() {
                    if at >= counted && partner.is_some_and(|partner| partner < counted) {
                        break;
                    }
                    let is_free = !is_taken[at] || truth.is_crowd || truth.is_difficult;
                    if is_free && ious[at] >= least {
                        (least, partner) = (ious[at], Some(at));
                    }
                }
                match partner {
                    Some(at) => {
                        is_taken[at] = true;
                        *if at < counted { &mut outcome.is_right } else { &mut outcome.is_ignored } |= bit;
                    }
                    None if !size.holds(geometry::area(&found.bbox)) => outcome.is_ignored |= bit,
                    None => {}
                }
            }
        }
        self.outcomes.extend(outcomes);
    }

    /// Precision and recall where each item counts as often as `counts` says. None where there are no objects.
    pub fn precision(&self, counts: &[u32]) -> Option<Precision> {
        let objects: f64 = self.objects.iter().zip(counts).map(|(n, count)| f64::from(*n) * f64::from(*count)).sum();
        if objects == 0.0 {
            return None;
        }
        let mut result = Precision::default();
        let mut curve = Vec::new();
        for threshold in 0..THRESHOLDS {
            self.curve(threshold, counts, &mut curve);
            let recall = curve.last().map_or(0.0, |(right, _)| right / objects);
            let ap = interpolated(&mut curve, objects);
            if threshold == 0 {
                (result.ap50, result.recall50) = (ap, recall);
            }
            result.ap += ap / THRESHOLDS as f64;
            result.recall += recall / THRESHOLDS as f64;
        }
        Some(result)
    }

    /// The points `(right boxes, precision)` at which the number of right boxes grows.
    fn curve(&self, threshold: usize, counts: &[u32], curve: &mut Vec<(f64, f64)>) {
        curve.clear();
        let (mut right, mut wrong) = (0.0, 0.0);
        for outcome in &self.outcomes {
            let count = f64::from(counts[outcome.item]);
            if outcome.is_right >> threshold & 1 == 1 && count > 0.0 {
                right += count;
                curve.push((right, right / (right + wrong)));
            } else if outcome.is_ignored >> threshold & 1 == 0 {
                wrong += count;
            }
        }
    }

    /// Precision and recall of the set as it is, with intervals. None where there are no objects.
    pub fn estimate(&self) -> Option<PrecisionEstimate> {
        let parts = |p: Precision| [p.ap, p.ap50, p.recall, p.recall50];
        let items = self.objects.len();
        let value = parts(self.precision(&vec![1; items])?);
        let intervals = bootstrap::intervals(items, |counts| match self.precision(counts) {
            Some(precision) => parts(precision).map(Some),
            None => [None; 4],
        });
        let estimate = |part: usize| Estimate::new(value[part], intervals[part]);
        let [ap, ap50, recall, recall50] = std::array::from_fn(estimate);
        let objects = self.objects.iter().map(|n| u64::from(*n)).sum();
        Some(PrecisionEstimate { ap, ap50, recall, recall50, objects })
    }
}

fn agreement(found: &FoundBox, truth: &TruthBox) -> f64 {
    match truth.is_crowd {
        true => share_on(&found.bbox, &truth.bbox),
        false => geometry::iou(&found.bbox, &truth.bbox),
    }
}

/// Evenly spaced from 0.5 to 0.95, rounded as the COCO tools do: an IoU may lie exactly on one.
fn iou_threshold(at: usize) -> f64 {
    let last = THRESHOLDS - 1;
    if at == last { 0.95 } else { 0.5 + at as f64 * ((0.95 - 0.5) / last as f64) }
}

/// Mean precision at recalls 0, 0.01, …, 1, each that of the best point at or beyond it.
fn interpolated(curve: &mut [(f64, f64)], objects: f64) -> f64 {
    let mut best = 0f64;
    for (_, precision) in curve.iter_mut().rev() {
        best = best.max(*precision);
        *precision = best;
    }
    let mut points = curve.iter().peekable();
    let mut sum = 0.0;
    for step in 0..RECALLS {
        let wanted = if step + 1 == RECALLS { 1.0 } else { step as f64 * 0.01 };
        while points.next_if(|(right, _)| right / objects < wanted).is_some() {}
        sum += points.peek().map_or(0.0, |(_, precision)| *precision);
    }
    sum / RECALLS as f64
}
