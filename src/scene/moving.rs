//! Objects before a moving camera: what moves against it, and what appearance alone finds.

use super::parts::{Part, components};
use super::{Candidate, Cues, Object, score};
use crate::motion::Against;

/// A place moves where its movement against the camera is more than this, in pixels; than so many times the median and a little; and
/// than this share of the strongest.
const LEAST: f32 = 0.9;
const MEDIANS: f32 = 2.5;
const MORE: f32 = 0.45;
const OF_STRONGEST: f32 = 0.25;
/// A box of appearance and one of movement that overlap by this IoU are one object.
const SAME: f64 = 0.4;
/// The score of movement alone, where it is the only one.
const ALONE: f32 = 0.7;
/// What is left of the score of appearance where nothing moves, and where it is not known what does.
const WITHOUT_MOTION: f32 = 0.1;
const UNKNOWN_MOTION: f32 = 0.4;

/// The objects of a frame; boxes in pixels of the small picture, of `size`.
pub fn objects(against: Option<&Against>, candidates: &[Candidate], size: (usize, usize)) -> Vec<Object> {
    let picture = (size.0 * size.1) as f32;
    let mut objects: Vec<Object> = Vec::new();
    let smooth = against.map(smoothed);
    let limit = smooth.as_ref().zip(against).map_or(f32::INFINITY, |(smooth, against)| limit(smooth, against));
    if let (Some(against), Some(smooth)) = (against, &smooth) {
        // The mean drops what is alone, the square itself what is only near.
        let mask: Vec<u8> = (smooth.iter().zip(&against.pixels))
            .map(|(&mean, &own)| if mean > limit && own > limit { 255 } else { 0 })
            .collect();
        let total: f32 = mask.iter().zip(smooth).filter(|(is_in, _)| **is_in != 0).map(|(_, length)| length).sum();
        let parts = components(&mask, (against.cols, against.rows)).into_iter();
        for part in parts.filter(|part| part.width > 1 && part.height > 1) {
            let sum: f32 = part.pixels(against.cols).map(|at| smooth[at]).sum();
            let bbox = bounds(&part, against, size);
            let cues = Cues {
                motion: sum / part.area as f32 / against.noise,
                pixels: part.area as f32 * against.step * against.step,
                ..Cues::default()
            };
            objects.push(Object { bbox, score: ALONE * sum / total, cues });
        }
    }
    for candidate in candidates {
        let share = against.zip(smooth.as_ref()).map_or(0.0, |(against, smooth)| {
            let inside = mean_inside(&candidate.bbox, against, smooth);
            (inside / limit).min(1.0)
        });
        let least = if against.is_some() { WITHOUT_MOTION } else { UNKNOWN_MOTION };
        let score = candidate.score * (least + (1.0 - least) * share * share);
        let near = objects.iter().position(|object| iou(&object.bbox, &candidate.bbox) >= SAME);
        match near {
            Some(at) => {
                let object = &mut objects[at];
                // Appearance knows the outline better, movement that it is one thing.
                object.bbox = candidate.bbox;
                object.cues.appearance = candidate.score;
                object.score = 1.0 - (1.0 - object.score) * (1.0 - score);
            }
            None => {
                let [left, top, right, bottom] = candidate.bbox;
                let cues =
                    Cues { appearance: candidate.score, pixels: (right - left) * (bottom - top), ..Cues::default() };
                objects.push(Object { bbox: candidate.bbox, score, cues });
            }
        }
    }
    for object in &mut objects {
        let [left, top, right, bottom] = object.bbox;
        object.score = score::moving(object.score, (right - left) * (bottom - top) / picture);
    }
    objects.sort_by(|a, b| b.score.total_cmp(&a.score));
    objects
}

/// The mean of 3×3 squares.
fn smoothed(against: &Against) -> Vec<f32> {
    let (rows, cols) = (against.rows, against.cols);
    let mean = |at: usize| {
        let (row, col) = (at / cols, at % cols);
        let (rows, lines) = (row.saturating_sub(1)..(row + 2).min(rows), col.saturating_sub(1)..(col + 2).min(cols));
        let count = (rows.len() * lines.len()) as f32;
        rows.flat_map(|row| &against.pixels[row * cols..][lines.clone()]).sum::<f32>() / count
    };
    (0..rows * cols).map(mean).collect()
}

fn limit(smooth: &[f32], against: &Against) -> f32 {
    let mut ordered = smooth.to_vec();
    ordered.sort_unstable_by(f32::total_cmp);
    let median = ordered.get(ordered.len() / 2).copied().unwrap_or(0.0);
    let strongest = ordered.last().copied().unwrap_or(0.0);
    LEAST.max(MEDIANS * median + MORE).max(OF_STRONGEST * strongest).max(2.0 * against.noise)
}

/// The box of squares, in pixels: a square follows a thing that fills half of it, so that the outermost reach past the thing by
/// about half a square.
fn bounds(part: &Part, against: &Against, size: (usize, usize)) -> [f32; 4] {
    let edges = |from: usize, count: usize, side: usize| {
        [from, from + count - 1].map(|square| (against.first + against.step * square as f32).clamp(0.0, side as f32))
    };
    let ([left, right], [top, bottom]) = (edges(part.x, part.width, size.0), edges(part.y, part.height, size.1));
    [left, top, right, bottom]
}

/// The mean movement of the squares whose middle is in a box; 0 where there is none.
fn mean_inside(bbox: &[f32; 4], against: &Against, smooth: &[f32]) -> f32 {
    let middle = |square: usize| against.first + against.step * square as f32;
    let (mut sum, mut count) = (0.0, 0);
    for row in (0..against.rows).filter(|&row| (bbox[1]..bbox[3]).contains(&middle(row))) {
        for col in (0..against.cols).filter(|&col| (bbox[0]..bbox[2]).contains(&middle(col))) {
            sum += smooth[row * against.cols + col];
            count += 1;
        }
    }
    sum / f32::max(count as f32, 1.0)
}

fn iou(a: &[f32; 4], b: &[f32; 4]) -> f64 {
    crate::geometry::iou(&a.map(f64::from), &b.map(f64::from))
}
