//! Where boxes of an earlier frame are now: from frame to frame by the median movement of the squares in them, and by how these went
//! apart (median flow: Kalal et al., ICPR 2010, section 3).

use super::Evidence;
use super::camera::{Movement, TRUSTED, distance, median};
use super::flow::Vector;
use std::collections::VecDeque;

/// Frames that a box can be carried over.
const MOST: usize = 64;
/// The share of the box's sides, from its middle, whose squares are asked: at its edges there are others.
const INNER: f32 = 0.9;
/// Fewer squares say nothing of a box's size ...
const FEW: usize = 6;
/// ... which changes by no more from frame to frame.
const GROWTH: f32 = 1.1;

/// The movement of the last frames of a source.
#[derive(Default)]
pub struct Carry(VecDeque<Step>);

/// From one frame to the next.
struct Step {
    /// Where squares of the later one lie in the one before.
    flow: Vec<Vector>,
    back: Option<Movement>,
}

impl Carry {
    /// After the next frame.
    pub fn push(&mut self, evidence: &Evidence) {
        if evidence.is_cut {
            return self.0.clear();
        }
        let trusted = evidence.flow.iter().filter(|vector| vector.error < TRUSTED);
        self.0.push_back(Step { flow: trusted.copied().collect(), back: evidence.back });
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// Where a box of the frame before the last `frames`, in pixels of the small picture, is in the last one. None where a cut or too many
    /// frames lie between.
    pub fn over(&self, frames: usize, bbox: [f32; 4]) -> Option<[f32; 4]> {
        let first = self.0.len().checked_sub(frames)?;
        // Movements are in pixels of the small picture's half.
        let half = self.0.range(first..).fold(bbox.map(|edge| edge / 2.0), |bbox, step| step.next(bbox));
        Some(half.map(|edge| 2.0 * edge))
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|step| size_of::<Step>() + step.flow.capacity() * size_of::<Vector>()).sum()
    }
}

impl Step {
    fn next(&self, bbox: [f32; 4]) -> [f32; 4] {
        let middle = [0, 1].map(|axis| (bbox[axis] + bbox[axis + 2]) / 2.0);
        let half = [0, 1].map(|axis| (bbox[axis + 2] - bbox[axis]) / 2.0);
        let before = |vector: &Vector| [0, 1].map(|axis| vector.at[axis] + vector.by[axis]);
        let is_inside = |vector: &&Vector| {
            let at = before(vector);
            (0..2).all(|axis| (at[axis] - middle[axis]).abs() < INNER * half[axis])
        };
        let inside: Vec<&Vector> = self.flow.iter().filter(is_inside).collect();
        let by = |axis: usize| median(inside.iter().map(|vector| -vector.by[axis]).collect());
        let of_camera = || self.back.map_or([0.0; 2], |back| back.by(middle).map(|by| -by));
        let moved = by(0).zip(by(1)).map_or_else(of_camera, |(x, y)| [x, y]);
        let pairs =
            inside.iter().enumerate().flat_map(|(at, one)| inside[at + 1..].iter().map(move |other| (one, other)));
        let growth =
            pairs.map(|(one, other)| distance(one.at, other.at) / distance(before(one), before(other)).max(1.0));
        let growth = if inside.len() < FEW { None } else { median(growth.collect()) };
        let growth = growth.unwrap_or(1.0).clamp(1.0 / GROWTH, GROWTH);
        let edge = |at: usize| {
            let side = if at < 2 { -half[at % 2] } else { half[at % 2] };
            middle[at % 2] + moved[at % 2] + growth * side
        };
        [0, 1, 2, 3].map(edge)
    }
}
