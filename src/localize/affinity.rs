//! The signs of the affinity `A = F·Fᵀ`, one bit each.
//!
//! A sign is that of the dot product in f64 of the f32 features, so answers do not depend on SIMD width, threads or the
//! machine. A product in integers is only a filter: entries inside its error bound are computed in f64.

use super::kernel::{self, COLS, LANES, PART, Pair, vectorized};
use super::{Features, dot};

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
        let is_above = |i: usize, j: usize| {
            let scale = norms[i] * norms[j];
            scale > 0.0 && exact_dot(features.row(i), features.row(j)) > tau * scale
        };
        let limits = limits(dim, tau);
        let pairs = dim.div_ceil(2);
        let rounded = round(features.data(), dim, &norms);
        let rounded_row = |patch: usize| &rounded[patch * pairs..][..pairs];

        let words_per_row = n.div_ceil(LANES);
        let mut signs = Self { patches: n, words_per_row, bits: vec![0; n * words_per_row] };
        let mut panel = vec![[0, 0]; LANES * pairs];
        for block in 0..words_per_row {
            let first = block * LANES;
            let lanes = LANES.min(n - first);
            panel.fill([0, 0]);
            for lane in 0..lanes {
                let places = panel[lane / PART * PART * pairs + lane % PART..].iter_mut().step_by(PART);
                places.zip(rounded_row(first + lane)).for_each(|(place, pair)| *place = *pair);
            }
            // A is symmetric: the rows above this block get their bits from the mirror.
            for row in (first..n).step_by(COLS) {
                let tile = kernel::tile(&panel, std::array::from_fn(|col| rounded_row((row + col).min(n - 1))), limits);
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

/// The length that patches have in integers: no value is above `i16::MAX`.
const LENGTH: f64 = 32_767.0;

/// What a product of two patches in integers must be below or above, so that the f64 product is surely below or above `tau`
/// times their lengths.
///
/// Rounding moves each of the D values of a patch by ½ at most, so it moves the patch by no more than r = √D/2. With `a' = a + d`
/// and `b' = b + e`, |a'·b' − a·b| = |a·e + d·b + d·e| ≤ 2·r·LENGTH + r² (Cauchy and Schwarz). The f64 product and lengths err by
/// less than D + 8 roundings of the product of the lengths. No sum, of any of the columns, exceeds (LENGTH + r)²; where that is
/// not in an i32, nothing is sure.
fn limits(dim: usize, tau: f64) -> (i32, i32) {
    let r = (dim as f64).sqrt() / 2.0;
    if (LENGTH + r).powi(2) >= f64::from(i32::MAX) {
        return (i32::MIN, i32::MAX);
    }
    let square = LENGTH * LENGTH;
    let error = r * (2.0 * LENGTH + r) + (dim as f64 + 8.0) * f64::EPSILON * square + 1.0;
    ((tau * square - error).floor() as i32, (tau * square + error).ceil() as i32)
}

vectorized! {
    /// The rows scaled to [`LENGTH`] (zero where they have none) and rounded, `[N, ⌈D/2⌉]`; an odd width is filled up with zero.
    round(rows: &[f32], dim: usize, norms: &[f64]) -> Vec<Pair> {
        let mut rounded = Vec::with_capacity(norms.len() * dim.div_ceil(2));
        for (row, &norm) in rows.chunks_exact(dim).zip(norms) {
            let scale = if norm > 0.0 { LENGTH / norm } else { 0.0 };
            // Added to a number this large, a small one is rounded to an integer, which is then in the lowest bits.
            let integer = |value: f32| (f64::from(value) * scale + 1.5 / f64::EPSILON).to_bits() as i16;
            let (pairs, last) = row.as_chunks::<2>();
            rounded.extend(pairs.iter().map(|pair| pair.map(integer)));
            rounded.extend(last.iter().map(|&value| [integer(value), 0]));
        }
        rounded
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

vectorized! {
    /// The dot product of two patches in f64.
    exact_dot(a: &[f32], b: &[f32]) -> f64 {
        dot(a, b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Grid;
    use ndarray::Array2;
    use proptest::prelude::*;

    fn naive(f: &Array2<f32>, i: usize, j: usize, tau: f64) -> bool {
        let dot = |i: usize, j: usize| (0..f.ncols()).map(|c| f64::from(f[[i, c]]) * f64::from(f[[j, c]])).sum::<f64>();
        let scale = dot(i, i).sqrt() * dot(j, j).sqrt();
        scale > 0.0 && dot(i, j) > tau * scale
    }

    proptest! {
        #[test]
        fn signs_are_those_of_the_f64_product(
            n in 1usize..150, dim in 1usize..40, exponent in prop::sample::select(vec![-70i32, 0, 62]),
            steps in 0i32..8, tau in prop::sample::select(vec![0.0, 0.2]),
            seed in prop::collection::vec(-3i8..=3, 997),
        ) {
            // Small integers, so that products are often zero, in columns of less and less weight, so that others are far below
            // the rounding of the filter; all by powers of two, so that every sum is exact. An f32 product would underflow, and
            // overflow.
            let weight = |column: usize| 2f32.powi(exponent - steps * (column % 4) as i32);
            let value = |(r, c): (usize, usize)| f32::from(seed[(r * dim + c) % seed.len()]) * weight(c);
            let f = Array2::from_shape_fn((n, dim), value);
            let features = Features::new(Grid { rows: n, cols: 1 }, f.clone()).unwrap();
            let signs = SignMatrix::above_cosine(&features, tau);
            for i in 0..n {
                for j in 0..n {
                    prop_assert_eq!(signs.is_positive(i, j), naive(&f, i, j, tau), "({}, {})", i, j);
                }
            }
        }
    }

    #[test]
    fn nothing_is_sure_where_sums_could_wrap_around() {
        assert_eq!(limits(1 << 30, 0.0), (i32::MIN, i32::MAX));
        let (low, high) = limits(192, 0.2);
        let cosine = |limit: i32| f64::from(limit) / LENGTH.powi(2);
        assert!((0.199..0.2).contains(&cosine(low)) && (0.2..0.201).contains(&cosine(high)), "{low} {high}");
    }
}
