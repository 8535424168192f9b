//! How much an object stands out, 0 to 1, from what the backbone gave alone.
//!
//! Features: with `p` the mean direction of the object's patches, half of what is left when the mean cosine to `p` outside of the
//! object is taken from that inside. 1: all its patches point one way and all others the opposite way; 0.5: the others are
//! orthogonal to it; 0: it is like its surroundings. Scores of the objects of one image can be compared.
//!
//! Attention: `(i − o) / (i + o)`, with `i` and `o` the mean attention to the patches inside and outside.
//!
//! The papers give no score; this one is the project's.

use super::Features;
use ndarray::ArrayView2;

/// Scores the objects of one image.
pub struct Scorer<'a> {
    features: &'a Features,
    /// `1 / ‖F[i]‖`; 0 for a patch of zero length.
    scales: Vec<f64>,
    /// The sum of all unit features, `[D]`.
    total: Vec<f64>,
}

impl<'a> Scorer<'a> {
    pub fn new(features: &'a Features) -> Self {
        let scale = |norm: f64| if norm > 0.0 { 1.0 / norm } else { 0.0 };
        let scales = features.norms().into_iter().map(scale).collect();
        let mut scorer = Self { features, scales, total: Vec::new() };
        scorer.total = scorer.sum(0..features.grid().patches());
        scorer
    }

    /// The score of the object made of these patches; 0 where there are none.
    pub fn score(&self, patches: &[usize]) -> f32 {
        let inside = self.sum(patches.iter().copied());
        let length = dot(&inside, &inside).sqrt();
        let others = self.features.grid().patches() - patches.len();
        if length == 0.0 {
            return 0.0;
        }
        // The sum of cosines to a direction is the product of the summed unit features with it.
        let mean_inside = length / patches.len() as f64;
        let mean_outside = (dot(&self.total, &inside) / length - length) / others.max(1) as f64;
        ((mean_inside - mean_outside) / 2.0).clamp(0.0, 1.0) as f32
    }

    fn sum(&self, patches: impl Iterator<Item = usize>) -> Vec<f64> {
        let mut sum = vec![0.0; self.features.values().ncols()];
        for patch in patches {
            let scale = self.scales[patch];
            sum.iter_mut().zip(self.features.row(patch)).for_each(|(s, &v)| *s += f64::from(v) * scale);
        }
        sum
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

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Grid;
    use ndarray::array;

    #[test]
    fn opposite_orthogonal_and_equal_surroundings_score_one_a_half_and_zero() {
        let grid = Grid { rows: 1, cols: 4 };
        for (other, wanted) in [([-2.0, 0.0], 1.0), ([0.0, 3.0], 0.5), ([0.5, 0.0], 0.0), ([0.0, 0.0], 0.5)] {
            let [x, y] = other;
            let features = Features::new(grid, array![[1.0, 0.0], [4.0, 0.0], [x, y], [x, y]]).unwrap();
            assert!((Scorer::new(&features).score(&[0, 1]) - wanted).abs() < 1e-6, "{other:?}");
        }
    }

    #[test]
    fn no_patches_and_zero_features_score_zero() {
        let features = Features::new(Grid { rows: 1, cols: 2 }, array![[0.0], [1.0]]).unwrap();
        assert_eq!(Scorer::new(&features).score(&[]), 0.0);
        assert_eq!(Scorer::new(&features).score(&[0]), 0.0);
        assert_eq!(Scorer::new(&features).score(&[0, 1]), 0.25);
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
