//! How much an object stands out, 0 to 1, from what the backbone gave alone.
//!
//! Features: an object ends somewhere, and is unlike what is around it. With `d = 1 − cos` between the features of neighbouring
//! patches (4-connected), and
//! - `e` its mean across the object's outline, `r` the mean of its means inside and outside of the object (1 where there are
//!   no neighbours),
//! - `q = min(1, (e − r) / max(0.2, e/2))`, how sharp the outline is, 0 where `r ≥ e`,
//! - `c` the share of the outline that lies in the image, not on its border,
//! - `a` its share of the image's patches,
//! - `s = (1 − cos) / 2` between the sums of the unit features inside and outside of the object (½ where one of them is zero),
//!
//! the score is `√(s · a/(a + 0.05)) · q · c`. The root ranks objects: how unlike the rest, and how large. The others take away
//! what is none: the outline of noise, of a gradient or of a blank wall is not sharp, or not sharper than what changes elsewhere; a
//! road, or the sky above it, is closed by the border. Scores of the objects of one image, and of several, can be compared. The form
//! and its constants were chosen among a few on photos (and drawn scenes without objects) with the bundled backbone.
//!
//! Attention: `(i − o) / (i + o)`, with `i` and `o` the mean attention to the patches inside and outside.
//!
//! The papers give no score; this one is the project's.

use super::kernel::vectorized;
use super::{Features, dot};
use crate::geometry::Grid;
use ndarray::ArrayView2;

/// The share of the image at which the factor of size is √½.
const HALF_SIZE: f64 = 0.05;
/// An outline is sharp where `e − r` is at least this, and at least this share of `e`.
const SHARP: f64 = 0.2;
const SHARP_SHARE: f64 = 0.5;
/// Sums of unit features shorter than this, per patch, are rounding: they have no direction.
const NO_DIRECTION: f64 = 1e-9;

/// Scores the objects of one image.
pub struct Scorer<'a> {
    grid: Grid,
    /// `[N, D]`.
    rows: &'a [f32],
    norms: &'a [f64],
    /// The sum of the unit features of all patches, `[D]`.
    sum: Vec<f64>,
    /// `d` between a patch and the one to the right of it, 0 in the last column.
    right: Vec<f64>,
    /// `d` between a patch and the one below, 0 in the last row.
    below: Vec<f64>,
}

impl<'a> Scorer<'a> {
    pub fn new(features: &'a Features<'_>) -> Self {
        let (grid, dim) = (features.grid(), features.values().ncols());
        let norms = features.norms();
        let [right, below] = [1, grid.cols].map(|step| differences(features.data(), dim, norms, step));
        let all: Vec<usize> = (0..grid.patches()).collect();
        let sum = sum_of_units(features.data(), dim, norms, &all);
        Self { grid, rows: features.data(), norms, sum, right, below }
    }

    /// The score of the object made of these patches; 0 where there are none.
    pub fn score(&self, patches: &[usize]) -> f32 {
        let Grid { rows, cols } = self.grid;
        let mut is_inside = vec![false; rows * cols];
        patches.iter().for_each(|&patch| is_inside[patch] = true);
        // By how many of the two neighbours are inside.
        let (mut sums, mut counts) = ([0.0; 3], [0usize; 3]);
        let mut add = |a: usize, b: usize, difference: f64| {
            let inside = usize::from(is_inside[a]) + usize::from(is_inside[b]);
            sums[inside] += difference;
            counts[inside] += 1;
        };
        for row in 0..rows {
            for patch in row * cols..(row + 1) * cols {
                if patch + 1 < (row + 1) * cols {
                    add(patch, patch + 1, self.right[patch]);
                }
                if row + 1 < rows {
                    add(patch, patch + cols, self.below[patch]);
                }
            }
        }
        let mean = |inside: usize| if counts[inside] == 0 { 1.0 } else { sums[inside] / counts[inside] as f64 };
        let (outline, rest) = (mean(1), (mean(0) + mean(2)) / 2.0);
        if counts[1] == 0 || rest >= outline {
            return 0.0;
        }
        let sides_of = |patch: &usize| {
            let (row, col) = (patch / cols, patch % cols);
            [row == 0, row + 1 == rows, col == 0, col + 1 == cols].into_iter().filter(|is_on| *is_on).count()
        };
        let on_border: usize = patches.iter().map(sides_of).sum();
        let closed = counts[1] as f64 / (counts[1] + on_border) as f64;
        let area = patches.len() as f64 / (rows * cols) as f64;
        let sharpness = ((outline - rest) / (SHARP_SHARE * outline).max(SHARP)).min(1.0);
        let rank = (self.unlikeness(patches) * area / (area + HALF_SIZE)).sqrt();
        (rank * sharpness * closed).clamp(0.0, 1.0) as f32
    }

    /// `s`: 0 where the patches look like the others, 1 where they are the opposite.
    fn unlikeness(&self, patches: &[usize]) -> f64 {
        let inside = sum_of_units(self.rows, self.sum.len(), self.norms, patches);
        let outside: Vec<f64> = self.sum.iter().zip(&inside).map(|(all, inside)| all - inside).collect();
        let lengths = [&inside, &outside].map(|sum| dot(sum, sum).sqrt());
        if lengths.iter().any(|length| *length <= NO_DIRECTION * self.norms.len() as f64) {
            return 0.5;
        }
        (1.0 - (dot(&inside, &outside) / (lengths[0] * lengths[1])).clamp(-1.0, 1.0)) / 2.0
    }
}

vectorized! {
    /// The sum of these rows of this width, each at length 1; a row of zero length adds nothing.
    sum_of_units(rows: &[f32], dim: usize, norms: &[f64], patches: &[usize]) -> Vec<f64> {
        let mut sum = vec![0.0; dim];
        for &patch in patches {
            if norms[patch] > 0.0 {
                let scale = 1.0 / norms[patch];
                sum.iter_mut().zip(&rows[patch * dim..][..dim]).for_each(|(s, &v)| *s += scale * f64::from(v));
            }
        }
        sum
    }
}

vectorized! {
    /// `1 − cos` between each row of this width and the one `step` further, for as many as have one; a row of zero length is
    /// orthogonal to all.
    differences(rows: &[f32], dim: usize, norms: &[f64], step: usize) -> Vec<f64> {
        let mut differences = Vec::with_capacity(norms.len());
        for (patch, further) in (step..norms.len()).enumerate() {
            let product = dot(&rows[patch * dim..][..dim], &rows[further * dim..][..dim]);
            let scale = norms[patch] * norms[further];
            differences.push(if scale > 0.0 { 1.0 - (product / scale).clamp(-1.0, 1.0) } else { 1.0 });
        }
        differences
    }
}

/// The score of the object made of these patches under one head of the attention `[heads, N]`.
pub fn of_attention(attention: ArrayView2<f32>, head: usize, patches: &[usize]) -> f32 {
    let (heads, count) = attention.dim();
    if patches.is_empty() {
        return 0.0;
    }
    let row = attention.row(head.min(heads - 1));
    let inside: f64 = patches.iter().map(|&patch| f64::from(row[patch])).sum();
    let all: f64 = row.iter().map(|&v| f64::from(v)).sum();
    let inside_mean = inside / patches.len() as f64;
    let outside_mean = (all - inside).max(0.0) / (count - patches.len()).max(1) as f64;
    let sum = inside_mean + outside_mean;
    if sum > 0.0 { ((inside_mean - outside_mean) / sum).clamp(0.0, 1.0) as f32 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    /// The formula, over all pairs of patches.
    fn naive(rows: usize, cols: usize, f: &Array2<f32>, inside: &[bool]) -> f64 {
        let length = |i: usize| f.row(i).iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let (mut d, mut border) = ([vec![], vec![], vec![]], 0.0);
        for i in 0..rows * cols {
            let (y, x) = (i / cols, i % cols);
            for j in i + 1..rows * cols {
                if y.abs_diff(j / cols) + x.abs_diff(j % cols) == 1 {
                    let product: f64 = (0..f.ncols()).map(|c| f64::from(f[[i, c]]) * f64::from(f[[j, c]])).sum();
                    let lengths = length(i) * length(j);
                    let difference = if lengths == 0.0 { 1.0 } else { 1.0 - product / lengths };
                    d[usize::from(inside[i]) + usize::from(inside[j])].push(difference);
                }
            }
            for edge in [y == 0, y == rows - 1, x == 0, x == cols - 1] {
                border += f64::from(edge && inside[i]);
            }
        }
        let mean = |d: &Vec<f64>| if d.is_empty() { 1.0 } else { d.iter().sum::<f64>() / d.len() as f64 };
        let (e, r) = (mean(&d[1]), 0.5 * (mean(&d[0]) + mean(&d[2])));
        if d[1].is_empty() || r >= e {
            return 0.0;
        }
        let c = d[1].len() as f64 / (d[1].len() as f64 + border);
        let a = inside.iter().filter(|inside| **inside).count() as f64 / inside.len() as f64;
        let sum = |side: bool, column: usize| -> f64 {
            let patches = (0..rows * cols).filter(|&i| inside[i] == side && length(i) > 0.0);
            patches.map(|i| f64::from(f[[i, column]]) / length(i)).sum()
        };
        let [i, o] = [true, false].map(|side| (0..f.ncols()).map(|column| sum(side, column)).collect::<Vec<_>>());
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let lengths = (product(&i, &i) * product(&o, &o)).sqrt();
        let s = if lengths < 1e-9 { 0.5 } else { (1.0 - product(&i, &o) / lengths) / 2.0 };
        (s * a / (a + 0.05)).sqrt() * 1f64.min((e - r) / 0.2f64.max(e / 2.0)) * c
    }

    proptest! {
        #[test]
        fn the_score_is_that_of_the_formula(
            rows in 1usize..7, cols in 1usize..7, dim in 1usize..20,
            values in prop::collection::vec(-3i8..=3, 36 * 19), inside in prop::collection::vec(any::<bool>(), 36),
        ) {
            let f = Array2::from_shape_fn((rows * cols, dim), |(r, c)| f32::from(values[r * dim + c]));
            let inside = &inside[..rows * cols];
            let patches: Vec<usize> = (0..rows * cols).filter(|&patch| inside[patch]).collect();
            let features = Features::new(Grid { rows, cols }, f.clone()).unwrap();
            let score = Scorer::new(&features).score(&patches);
            prop_assert!((f64::from(score) - naive(rows, cols, &f, inside)).abs() < 1e-6);
        }
    }

    /// `[100, 2]` over 10×10: the angle of every patch.
    fn turned(angle: impl Fn(usize, usize) -> f32) -> Features<'static> {
        let f = Array2::from_shape_fn((100, 2), |(i, c)| {
            let (sin, cos) = angle(i / 10, i % 10).sin_cos();
            [cos, sin][c]
        });
        Features::new(Grid { rows: 10, cols: 10 }, f).unwrap()
    }

    fn score(features: &Features, patches: &[usize]) -> f32 {
        Scorer::new(features).score(patches)
    }

    fn square(from: usize, to: usize) -> Vec<usize> {
        (from..to).flat_map(|row| (from..to).map(move |col| row * 10 + col)).collect()
    }

    #[test]
    fn a_sharp_outline_inside_of_the_image_scores_higher_than_a_gradient_or_a_region_the_border_closes() {
        let within = |row: usize, col: usize| (3..7).contains(&row) && (3..7).contains(&col);
        let sharp = score(&turned(|row, col| if within(row, col) { 2.0 } else { 0.0 }), &square(3, 7));
        assert!(sharp > 0.7, "{sharp}");
        let half: Vec<usize> = (0..50).collect();
        assert!(score(&turned(|row, _| if row < 5 { 2.0 } else { 0.0 }), &half) < 0.3);
        assert!(score(&turned(|row, _| 0.3 * row as f32), &half) < 0.05);
        let textured = score(&turned(|row, col| (row * 10 + col) as f32 * 2.4), &square(3, 7));
        assert!(textured < 0.1, "{textured}");
    }

    #[test]
    fn an_object_that_one_side_of_the_image_cuts_keeps_most_of_its_score() {
        let of = |top: usize| {
            let within = |row: usize, col: usize| (top..top + 4).contains(&row) && (3..7).contains(&col);
            let patches: Vec<usize> = (0..100).filter(|patch| within(patch / 10, patch % 10)).collect();
            score(&turned(|row, col| if within(row, col) { 2.0 } else { 0.0 }), &patches)
        };
        assert!(of(0) > 0.6 * of(3), "{} of {}", of(0), of(3));
        assert!(of(0) < of(3));
    }

    #[test]
    fn no_patches_all_patches_and_zero_features_score_zero() {
        let features = Features::new(Grid { rows: 10, cols: 10 }, Array2::zeros((100, 2))).unwrap();
        for patches in [vec![], square(0, 10), square(3, 7)] {
            assert_eq!(score(&features, &patches), 0.0);
        }
        assert_eq!(score(&turned(|row, _| row as f32), &square(0, 10)), 0.0);
    }

    #[test]
    fn attention_scores_its_contrast() {
        let attention = array![[3.0, 3.0, 1.0, 1.0]];
        assert_eq!(of_attention(attention.view(), 4, &[0, 1]), 0.5);
        assert_eq!(of_attention(attention.view(), 4, &[0, 1, 2, 3]), 1.0);
        assert_eq!(of_attention(attention.view(), 4, &[]), 0.0);
        assert_eq!(of_attention(array![[0.0, 0.0]].view(), 0, &[0]), 0.0);
    }
}
