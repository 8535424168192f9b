//! The signs of the affinity `A = F·Fᵀ`, one bit each.
//!
//! A sign is that of the dot product in f64 of the f32 features, so answers do not depend on SIMD width, threads or the
//! machine. The f32 product is only a filter: entries inside its rounding error are computed again in f64.

use super::Features;
use ndarray::{Array2, linalg::general_mat_mul, s};

/// Rows of `A` that are multiplied at a time: the block of products stays in the second-level cache.
const BLOCK: usize = 64;

/// Which entries of `A` are positive: a symmetric `[N, N]` bit matrix.
pub struct SignMatrix {
    patches: usize,
    words_per_row: usize,
    bits: Vec<u64>,
}

impl SignMatrix {
    /// The signs of `F·Fᵀ`.
    pub fn of(features: &Features) -> Self {
        Self::above_cosine(features, 0.0)
    }

    /// Where the cosine of two patches is above `tau`; never for a patch of zero length.
    pub fn above_cosine(features: &Features, tau: f64) -> Self {
        let f = features.values();
        let (n, dim) = f.dim();
        let norms: Vec<f64> = f.rows().into_iter().map(norm).collect();
        // |computed − exact| ≤ γ·‖x‖·‖y‖ for any order of summation (Higham, section 3.1), doubled for slack, plus
        // what underflow may lose.
        let gamma = 2.0 * (dim as f64 + 2.0) * f64::from(f32::EPSILON);
        let tiny = (dim as f64 + 2.0) * f64::from(f32::MIN_POSITIVE);

        let mut signs = Self::empty(n);
        let mut block = Array2::<f32>::zeros((BLOCK.min(n), n));
        for top in (0..n).step_by(BLOCK) {
            let rows = BLOCK.min(n - top);
            let mut products = block.slice_mut(s![..rows, top..]);
            let left = f.slice(s![top..top + rows, ..]);
            general_mat_mul(1.0, &left, &f.slice(s![top.., ..]).t(), 0.0, &mut products);
            for r in 0..rows {
                let i = top + r;
                for j in i..n {
                    let (product, scale) = (f64::from(products[[r, j - top]]), norms[i] * norms[j]);
                    let above = product - tau * scale;
                    // Infinities and NaN of an overflowing f32 product take the exact way too.
                    let sure = product.is_finite() && above.abs() > gamma * scale + tiny;
                    let above = if sure { above } else { exact_dot(f, i, j) - tau * scale };
                    if above > 0.0 {
                        signs.set(i, j);
                        signs.set(j, i);
                    }
                }
            }
        }
        signs
    }

    /// A matrix without one positive entry.
    fn empty(patches: usize) -> Self {
        let words_per_row = patches.div_ceil(64);
        Self { patches, words_per_row, bits: vec![0; patches * words_per_row] }
    }

    fn set(&mut self, i: usize, j: usize) {
        self.bits[i * self.words_per_row + j / 64] |= 1 << (j % 64);
    }

    /// Whether `A[i, j] > 0`.
    pub fn is_positive(&self, i: usize, j: usize) -> bool {
        self.bits[i * self.words_per_row + j / 64] >> (j % 64) & 1 == 1
    }

    /// Number of patches N.
    pub fn patches(&self) -> usize {
        self.patches
    }

    /// Row i as bits: bit `j % 64` of word `j / 64` is set where `A[i, j] > 0`; bits past N are zero.
    pub fn row(&self, i: usize) -> &[u64] {
        &self.bits[i * self.words_per_row..][..self.words_per_row]
    }

    /// `degree(i) = #{j ≠ i : A[i, j] > 0}` for every patch.
    pub fn degrees(&self) -> Vec<u32> {
        (0..self.patches)
            .map(|i| {
                let positive: u32 = self.row(i).iter().map(|word| word.count_ones()).sum();
                positive - u32::from(self.is_positive(i, i))
            })
            .collect()
    }
}

/// The Euclidean norm.
fn norm(row: ndarray::ArrayView1<f32>) -> f64 {
    row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

/// The dot product of patches i and j in f64, summed from the first column to the last.
fn exact_dot(f: &Array2<f32>, i: usize, j: usize) -> f64 {
    f.row(i).iter().zip(f.row(j)).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Grid;
    use proptest::prelude::*;

    fn naive(f: &Array2<f32>, i: usize, j: usize) -> bool {
        let mut sum = 0f64;
        for c in 0..f.ncols() {
            sum += f[[i, c]] as f64 * f[[j, c]] as f64;
        }
        sum > 0.0
    }

    proptest! {
        #[test]
        fn signs_are_those_of_the_f64_product(
            n in 1usize..150, dim in 1usize..9, scale in prop::sample::select(vec![1e-30f32, 1.0, 1e25]),
            seed in prop::collection::vec(-3i8..=3, 150 * 8),
        ) {
            // Small integers make exact zeros common; the scales make f32 products underflow and overflow.
            let f = Array2::from_shape_fn((n, dim), |(r, c)| f32::from(seed[r * dim + c]) * scale);
            let features = Features::new(Grid { rows: n, cols: 1 }, f.clone()).unwrap();
            let signs = SignMatrix::of(&features);
            for i in 0..n {
                for j in 0..n {
                    prop_assert_eq!(signs.is_positive(i, j), naive(&f, i, j), "({}, {})", i, j);
                }
            }
        }
    }
}
