//! The signs of the affinity `A = F·Fᵀ`, one bit each.
//!
//! A sign is that of the dot product in f64 of the f32 features, so answers do not depend on SIMD width, threads or the
//! machine. A product in 8-bit integers is only a filter, and one in f32 the next: entries inside of the error bounds of both are
//! computed in f64.

use super::kernel::{self, COLS, LANES, Lane, MOST, OFFSET, PART, Quad, Row, vectorized};
use super::{Features, dot, dot_in};
use std::ops::Range;

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
        let n = features.values().nrows();
        let rounded = Rounded::new(features, tau);
        let words_per_row = n.div_ceil(LANES);
        let mut signs = Self { patches: n, words_per_row, bits: vec![0; n * words_per_row] };
        let mut panel = vec![[OFFSET; 4]; LANES * rounded.quads_per_row];
        for block in 0..words_per_row {
            let first = block * LANES;
            let lanes = LANES.min(n - first);
            let limits = rounded.fill(&mut panel, first..first + lanes);
            // A is symmetric: the rows above this block get their bits from the mirror.
            for row in (first..n).step_by(COLS) {
                let rows = std::array::from_fn(|col| rounded.row((row + col).min(n - 1)));
                let tile = kernel::tile(&panel, &limits, rows);
                for (col, j) in (row..n.min(row + COLS)).enumerate() {
                    let unsure = tile.unsure[col] & (u64::MAX >> (LANES - lanes));
                    let decided = if unsure == 0 { 0 } else { are_above(features, tau, first, j, unsure) };
                    signs.bits[j * words_per_row + block] = tile.above[col] | decided;
                }
            }
        }
        mirror(&mut signs.bits, n);
        signs
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

/// No patch is longer than this before it is rounded, so that no sum of products leaves an i32.
const LONGEST: f64 = 16_000.0;

/// The patches scaled to one length and rounded to 8 bits.
///
/// Say a patch is `a` when it is scaled, and `a + d` when it is rounded. Then `(a + d)·(b + e) − a·b = a·e + d·(b + e)`, which is
/// not more than `longest · (|d| + |e|)` (Cauchy and Schwarz) where no patch, scaled or rounded, is longer than `longest`. So a
/// product further from `tau` times the lengths than the sum of two patches' limits is on the side where the product in f64 is.
struct Rounded {
    /// `[N, quads_per_row]`; what a width lacks of a multiple of 16 is filled up with zero.
    quads: Vec<Quad>,
    quads_per_row: usize,
    /// The sum of the values of every patch.
    sums: Vec<i32>,
    /// `longest · |d|` for every patch, rounded up.
    limits: Vec<i32>,
    /// What a product is compared with.
    center: i32,
}

impl Rounded {
    fn new(features: &Features, tau: f64) -> Self {
        let (_, dim) = features.values().dim();
        let (data, norms) = (features.data(), features.norms());
        // The greatest share of its length that a patch has in one column. What a few patches have beyond twice the mean is cut off:
        // they are unsure with all others, and all others do not lose precision.
        let peaks = peaks(data, dim, norms);
        let mean = peaks.iter().sum::<f64>() / peaks.len() as f64;
        let peak = peaks.iter().fold(0.0, |most: f64, &peak| most.max(peak)).min(2.0 * mean);
        // A value of a rounded patch is never further from zero than that of the scaled one by more than ½.
        let rounding = (dim as f64).sqrt() / 2.0;
        let length = if peak > 0.0 && rounding < LONGEST { (f64::from(MOST) / peak).min(LONGEST) } else { 0.0 };
        let (quads, distances) = round(data, dim, norms, length);
        // The center is rounded by ½, and f64 products and lengths err by less than D + 8 roundings of the product of the lengths.
        let slack = 1.0 + (dim as f64 + 8.0) * f64::EPSILON * length * length;
        let limit = |distance: &f64| ((length + rounding) * distance + slack).ceil() as i32;
        let quads_per_row = dim.div_ceil(16) * 4;
        let sum = |row: &[Quad]| row.as_flattened().iter().map(|&value| i32::from(value)).sum();
        Self {
            sums: quads.chunks_exact(quads_per_row).map(sum).collect(),
            quads,
            quads_per_row,
            limits: distances.iter().map(limit).collect(),
            center: (tau * length * length).round() as i32,
        }
    }

    fn row(&self, patch: usize) -> Row<'_> {
        let quads = &self.quads[patch * self.quads_per_row..][..self.quads_per_row];
        Row { quads, sum: self.sums[patch], center: self.center, limit: self.limits[patch] }
    }

    /// Lays these patches out as a panel; the limits of its lanes.
    fn fill(&self, panel: &mut [Lane], patches: Range<usize>) -> [i32; LANES] {
        let mut limits = [0; LANES];
        panel.fill([OFFSET; 4]);
        for (lane, patch) in patches.enumerate() {
            limits[lane] = self.limits[patch];
            let places = panel[lane / PART * PART * self.quads_per_row + lane % PART..].iter_mut().step_by(PART);
            places
                .zip(self.row(patch).quads)
                .for_each(|(place, quad)| *place = quad.map(|value| OFFSET.wrapping_add_signed(value)));
        }
        limits
    }
}

vectorized! {
    /// The largest value of each row of this width by its norm; 0 where there is none.
    peaks(rows: &[f32], dim: usize, norms: &[f64]) -> Vec<f64> {
        let mut peaks = Vec::with_capacity(norms.len());
        for (row, &norm) in rows.chunks_exact(dim).zip(norms) {
            // Without a sign, a greater number has greater bits.
            let peak = f32::from_bits(row.iter().fold(0, |most, value| most.max(value.abs().to_bits())));
            peaks.push(if norm > 0.0 { f64::from(peak) / norm } else { 0.0 });
        }
        peaks
    }
}

vectorized! {
    /// The rows scaled to this length and rounded, and how far that moves each, or a little further; zero where the norm is too
    /// small or too large for f32, so that this is all of the length.
    round(rows: &[f32], dim: usize, norms: &[f64], length: f64) -> (Vec<Quad>, Vec<f64>) {
        // Added to a number this large, a small one is rounded to an integer, which is then in the lowest bits.
        const LARGE: f32 = 1.5 / f32::EPSILON;
        let rounding = f64::from(f32::EPSILON);
        let mut quads = vec![[0; 4]; norms.len() * dim.div_ceil(16) * 4];
        let mut distances = Vec::with_capacity(norms.len());
        let places = quads.as_chunks_mut::<4>().0.chunks_exact_mut(dim.div_ceil(16));
        for ((row, &norm), places) in rows.chunks_exact(dim).zip(norms).zip(places) {
            let scale = if (1e-30..1e30).contains(&norm) { (length / norm) as f32 } else { 0.0 };
            let mut squares = [0f32; 16];
            let mut round = |values: &[f32; 16], place: &mut [Quad; 4]| {
                for lane in 0..16 {
                    let scaled = values[lane] * scale;
                    let rounded = scaled.clamp(-f32::from(MOST), MOST.into()) + LARGE;
                    place.as_flattened_mut()[lane] = rounded.to_bits() as i8;
                    let distance = rounded - LARGE - scaled;
                    squares[lane] += distance * distance;
                }
            };
            let (chunks, rest) = row.as_chunks::<16>();
            chunks.iter().zip(&mut *places).for_each(|(values, place)| round(values, place));
            if !rest.is_empty() {
                let mut values = [0.0; 16];
                values[..rest.len()].copy_from_slice(rest);
                round(&values, &mut places[chunks.len()]);
            }
            // What is scaled errs by two roundings, a sum of squares by less than D + 8.
            let moved = f64::from(squares.iter().sum::<f32>()).sqrt() * (1.0 + (dim as f64 + 8.0) * rounding);
            distances.push(if scale > 0.0 { moved + 2.0 * rounding * length } else { length });
        }
        (quads, distances)
    }
}

vectorized! {
    /// Which of the patches from `first` on, of those whose bit is set, have a cosine above `tau` with patch `j`.
    are_above(features: &Features, tau: f64, first: usize, j: usize, patches: u64) -> u64 {
        // Every rounding of an f32 is less than one of these, unless numbers are very small or very large.
        let rounding = (features.values().ncols() + 8) as f64 * f64::from(f32::EPSILON);
        let smallest = features.values().ncols() as f64 * f64::from(f32::MIN_POSITIVE);
        let (mut above, mut rest) = (0, patches);
        while rest != 0 {
            let lane = rest.trailing_zeros();
            rest &= rest - 1;
            let i = first + lane as usize;
            let scale = features.norms()[i] * features.norms()[j];
            let (a, b) = (features.row(i), features.row(j));
            let distance = f64::from(dot_in::<f32, _, _>(a, b)) - tau * scale;
            let is_sure = scale < LARGEST && distance.abs() > rounding * scale + smallest;
            let is_above = if is_sure { distance > 0.0 } else { scale > 0.0 && dot(a, b) > tau * scale };
            above |= u64::from(is_above) << lane;
        }
        above
    }
}

/// Patches whose lengths have a lower product have no sum of products that leaves an f32.
const LARGEST: f64 = 1e37;

vectorized! {
    /// Fills the words right of the diagonal from those left of it.
    mirror(bits: &mut [u64], patches: usize) -> () {
        let words = patches.div_ceil(64);
        for below in 0..words {
            let rows = 64.min(patches - below * 64);
            for block in 0..below {
                let mut square = [0u64; 64];
                for (row, word) in square[..rows].iter_mut().enumerate() {
                    *word = bits[(below * 64 + row) * words + block];
                }
                transpose(&mut square);
                for (row, word) in square.into_iter().enumerate() {
                    bits[(block * 64 + row) * words + below] = word;
                }
            }
        }
    }
}

/// Transposes a square of bits: bit c of word r becomes bit r of word c (Warren, Hacker's Delight, section 7-3).
#[inline(always)]
fn transpose(square: &mut [u64; 64]) {
    exchange::<32>(square);
    exchange::<16>(square);
    exchange::<8>(square);
    exchange::<4>(square);
    exchange::<2>(square);
    exchange::<1>(square);
}

/// Exchanges the upper right and the lower left quarter of every square of twice this side.
#[inline(always)]
fn exchange<const HALF: usize>(square: &mut [u64; 64]) {
    let mask = u64::MAX / ((1 << HALF) + 1);
    for rows in square.chunks_exact_mut(2 * HALF) {
        let (upper, lower) = rows.split_at_mut(HALF);
        for (upper, lower) in upper.iter_mut().zip(lower) {
            let swap = ((*upper >> HALF) ^ *lower) & mask;
            *upper ^= swap << HALF;
            *lower ^= swap;
        }
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

    proptest! {
        #[test]
        fn no_product_in_integers_is_further_from_the_true_one_than_the_limits(
            n in 1usize..20, dim in 1usize..70, tau in prop::sample::select(vec![0.0, 0.2]), outlier: bool,
            seed in prop::collection::vec(-100i8..=100, 997),
        ) {
            // The first patch is nearly all in one column, where it is cut off.
            let value = |(r, c): (usize, usize)| f32::from(seed[(r * dim + c) % seed.len()]);
            let of = |(r, c)| if outlier && r == 0 && c == 0 { 1e6 } else { value((r, c)) };
            let features = Features::new(Grid { rows: n, cols: 1 }, Array2::from_shape_fn((n, dim), of)).unwrap();
            let rounded = Rounded::new(&features, tau);
            for i in 0..n {
                for j in 0..n {
                    let (a, b) = (rounded.row(i), rounded.row(j));
                    let values = a.quads.as_flattened().iter().zip(b.quads.as_flattened());
                    let product: i32 = values.map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
                    let scale = features.norms()[i] * features.norms()[j];
                    let difference = dot(features.row(i), features.row(j)) - tau * scale;
                    let distance = product - a.center;
                    if distance.abs() > a.limit + b.limit {
                        // A patch without length is below every tau.
                        prop_assert_eq!(distance > 0, scale > 0.0 && difference > 0.0, "({}, {})", i, j);
                    }
                }
            }
        }
    }

    #[test]
    fn few_products_of_ordinary_patches_are_left_to_floating_point() {
        let mut state = 1;
        let mut value = || (crate::localize::box_counting::split_mix(&mut state) >> 40) as f32 - 8_388_608.0;
        let values = Array2::from_shape_simple_fn((100, 192), &mut value);
        let features = Features::new(Grid { rows: 10, cols: 10 }, values).unwrap();
        let rounded = Rounded::new(&features, 0.0);
        let length = rounded.row(0).quads.as_flattened().iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
        let cosine = f64::from(2 * rounded.limits[0]) / length;
        assert!(cosine < 0.03, "{cosine}");
    }
}
