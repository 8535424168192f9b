//! Where a patch is, as the transformer is told: an embedding that was learned, at another size than it was learned at, or
//! rotations of queries and keys (DINOv3).

use super::vit::Measures;
use std::f64::consts::TAU;

/// How a learned embedding is sampled at another size.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// Bicubic with a = −0.75, past the edge the edge repeats, scaled by (side + 0.1) / trained side: DINO, and DINOv2 without
    /// registers.
    Offset,
    /// Bicubic with a = −0.5, widened where it shrinks, weighed anew at the edge: DINOv2 with registers.
    Antialiased,
}

/// The embedding `[rows·cols, dim]` of patches from the trained one, `[side·side, dim]`.
pub fn resampled(measures: &Measures, trained: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let Measures { dim, side, registers, .. } = *measures;
    if (rows, cols) == (side, side) {
        return trained.to_vec();
    }
    let rule = if registers == 0 { Rule::Offset } else { Rule::Antialiased };
    let (by_row, by_col) = (taps(rows, side, rule), taps(cols, side, rule));
    let mut positions = Vec::with_capacity(rows * cols * dim);
    let mut sum = vec![0f64; dim];
    // Along the rows first, so that a wide filter is paid for once per axis.
    let mut tall = vec![0f64; rows * side * dim];
    for (taps, row) in by_row.iter().zip(tall.chunks_exact_mut((side * dim).max(1))) {
        for &(y, weight) in taps {
            let from = &trained[y * side * dim..(y + 1) * side * dim];
            row.iter_mut().zip(from).for_each(|(sum, &value)| *sum += weight * f64::from(value));
        }
    }
    for row in tall.chunks_exact((side * dim).max(1)) {
        for taps in &by_col {
            sum.fill(0.0);
            for &(x, weight) in taps {
                sum.iter_mut().zip(&row[x * dim..(x + 1) * dim]).for_each(|(sum, &value)| *sum += weight * value);
            }
            positions.extend(sum.iter().map(|&value| value as f32));
        }
    }
    positions
}

/// For each of `to` places the samples among `from` that make it, with their weights; places are at half pixels.
fn taps(to: usize, from: usize, rule: Rule) -> Vec<Vec<(usize, f64)>> {
    let last = from as i64 - 1;
    let offset = |place: usize| {
        let at = (place as f64 + 0.5) * from as f64 / (to as f64 + 0.1) - 0.5;
        let base = at.floor();
        let tap = |k: i64| ((base as i64 + k).clamp(0, last) as usize, cubic(at - base - k as f64, -0.75));
        (-1..=2).map(tap).collect()
    };
    let antialiased = |place: usize| {
        let scale = from as f64 / to as f64;
        let (centre, width) = ((place as f64 + 0.5) * scale, scale.max(1.0));
        let first = ((centre - 2.0 * width + 0.5) as i64).max(0);
        let end = ((centre + 2.0 * width + 0.5) as i64).min(from as i64);
        let tap = |k: i64| (k as usize, cubic((k as f64 + 0.5 - centre) / width, -0.5));
        let mut taps: Vec<(usize, f64)> = (first..end).map(tap).collect();
        let total: f64 = taps.iter().map(|(_, weight)| weight).sum();
        taps.iter_mut().for_each(|(_, weight)| *weight /= total);
        taps
    };
    match rule {
        Rule::Offset => (0..to).map(offset).collect(),
        Rule::Antialiased => (0..to).map(antialiased).collect(),
    }
}

/// The weight of a sample this far away, of Keys' family of cubic filters.
fn cubic(distance: f64, a: f64) -> f64 {
    match distance.abs() {
        t if t < 1.0 => ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0,
        t if t < 2.0 => ((t - 5.0) * t + 8.0) * t * a - 4.0 * a,
        _ => 0.0,
    }
}

/// Cosines and sines `[prefix + rows·cols, width]` that turn a head's numbers; those before the patches do not turn. Number j
/// is turned with number j + width/2; the sines' first half is negative. A patch's centre is a row and a column from −1 to 1, by each a
/// quarter of the pairs is turned, 2π over each period.
pub fn rotation(periods: &[f32], prefix: usize, rows: usize, cols: usize) -> [Vec<f32>; 2] {
    let width = 4 * periods.len();
    let (mut cosines, mut sines) = (vec![1.0; prefix * width], vec![0.0; prefix * width]);
    let centre = |index: usize, count: usize| 2.0 * (index as f64 + 0.5) / count as f64 - 1.0;
    for place in 0..rows * cols {
        let at = [centre(place / cols, rows), centre(place % cols, cols)];
        let angles = at.iter().flat_map(|at| periods.iter().map(move |&period| TAU * at / f64::from(period)));
        let angles: Vec<f64> = angles.collect();
        cosines.extend(angles.iter().chain(&angles).map(|angle| angle.cos() as f32));
        sines.extend(angles.iter().map(|angle| -angle.sin() as f32));
        sines.extend(angles.iter().map(|angle| angle.sin() as f32));
    }
    [cosines, sines]
}
