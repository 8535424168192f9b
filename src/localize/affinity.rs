//! The signs of the affinity `A = F·Fᵀ`, one bit each.
//!
//! A sign is that of the dot product in f64 of the f32 features, so answers do not depend on SIMD width, threads or the
//! machine. The f32 product is only a filter: entries inside its rounding error are computed again in f64.

use super::Features;
use super::kernel::{self, COLS, LANES};

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

    /// Where the cosine of two patches is above `tau` (at least 0); never for a patch of zero length.
    pub fn above_cosine(features: &Features, tau: f64) -> Self {
        let (n, dim) = features.values().dim();
        let norms = features.norms();
        // Lanes are scaled to unit length, so that no product overflows where the limits are finite. With u = ε/2,
        // |computed − exact| ≤ (D + 1)·u·‖row‖ for any order of summation (Higham, section 3.1; one rounding more for the
        // scaling); doubled, which also covers the rounding of the limits; and what underflow may lose.
        let gamma = (dim as f64 + 4.0) * f64::from(f32::EPSILON);
        let tiny = (dim as f64 + 2.0) * f64::from(f32::MIN_POSITIVE);
        let limits = |norm: f64| {
            let sure = norm < f64::from(f32::MAX) / 4.0;
            let (low, high) = ((tau - gamma) * norm - tiny, (tau + gamma) * norm + tiny);
            if sure { (low as f32, high as f32) } else { (f32::NEG_INFINITY, f32::INFINITY) }
        };
        let is_above = |i: usize, j: usize| {
            let scale = norms[i] * norms[j];
            scale > 0.0 && exact_dot(features.row(i), features.row(j)) > tau * scale
        };

        let words_per_row = n.div_ceil(LANES);
        let mut signs = Self { patches: n, words_per_row, bits: vec![0; n * words_per_row] };
        let mut panel = vec![0f32; dim * LANES];
        for block in 0..words_per_row {
            let first = block * LANES;
            let lanes = LANES.min(n - first);
            panel.fill(0.0);
            pack(features, first, &norms[first..first + lanes], &mut panel);
            // A is symmetric: the rows above this block get their bits from the mirror.
            for row in (first..n).step_by(COLS) {
                let rows = std::array::from_fn(|col| (row + col).min(n - 1));
                let tile = kernel::tile(&panel, rows.map(|j| features.row(j)), rows.map(|j| limits(norms[j])));
                for (col, j) in (row..n.min(row + COLS)).enumerate() {
                    let mut word = tile.above[col];
                    let mut unsure = !(tile.above[col] | tile.below[col]) & (u64::MAX >> (LANES - lanes));
                    while unsure != 0 {
                        let lane = unsure.trailing_zeros();
                        word |= u64::from(is_above(first + lane as usize, j)) << lane;
                        unsure &= unsure - 1;
                    }
                    signs.bits[j * words_per_row + block] = word;
                }
            }
        }
        signs.mirror();
        signs
    }

    /// Fills the words right of the diagonal from those left of it.
    fn mirror(&mut self) {
        let words = self.words_per_row;
        for below in 0..words {
            let rows = LANES.min(self.patches - below * LANES);
            for block in 0..below {
                let mut square = [0u64; 64];
                for (row, word) in square[..rows].iter_mut().enumerate() {
                    *word = self.bits[(below * LANES + row) * words + block];
                }
                transpose(&mut square);
                for (row, word) in square.into_iter().enumerate() {
                    self.bits[(block * LANES + row) * words + below] = word;
                }
            }
        }
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

/// Writes the patches from `first` on, scaled to unit length (zero where they have none), into the lanes of
/// `panel` (`[D, 64]`).
fn pack(features: &Features, first: usize, norms: &[f64], panel: &mut [f32]) {
    for (lane, &norm) in norms.iter().enumerate() {
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        for (lanes, &value) in panel.chunks_exact_mut(LANES).zip(features.row(first + lane)) {
            lanes[lane] = (f64::from(value) * scale) as f32;
        }
    }
}

/// Transposes a square of bits: bit c of word r becomes bit r of word c (Warren, Hacker's Delight, section 7-3).
fn transpose(square: &mut [u64; 64]) {
    let mut mask = u64::MAX >> 32;
    let mut half = 32;
    while half > 0 {
        for row in (0..64).filter(|row| row & half == 0) {
            let swap = ((square[row] >> half) ^ square[row + half]) & mask;
            square[row] ^= swap << half;
            square[row + half] ^= swap;
        }
        half /= 2;
        mask ^= mask << half;
    }
}

/// The dot product of two patches in f64, summed from the first column to the last.
fn exact_dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Grid;
    use ndarray::Array2;
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
