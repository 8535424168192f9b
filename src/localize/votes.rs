//! The votes of box counting in full: every entropy of every patch, for people to look at. [`box_counting`] decides the same
//! votes by bounds, without computing most of these numbers.

use super::affinity::SignMatrix;
use super::box_counting::{self, split_mix, windows};
use crate::geometry::Grid;

/// One scale of the pooling, for all patches.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// Side of the pooling kernel, in patches.
    pub kernel: usize,
    /// Windows of the pooled map.
    pub windows: Grid,
    /// In bits.
    pub threshold: f64,
    /// `[N]`: the entropy of each patch's pooled affinity map, in bits.
    pub entropies: Vec<f64>,
}

impl Scale {
    /// Whether the scale takes the patch's affinity map for an object's.
    pub fn votes(&self, patch: usize) -> bool {
        self.entropies[patch] < self.threshold
    }
}

/// All scales of a grid, by kernel. Half of their votes, or more, make a patch a seed.
pub fn scales(signs: &SignMatrix, grid: Grid) -> Vec<Scale> {
    let mut kernels: Vec<usize> = box_counting::KERNELS.map(|kernel| kernel.min(grid.rows).min(grid.cols)).collect();
    kernels.dedup();
    let mut state = 0;
    let random: Vec<u64> = (0..grid.patches()).map(|_| split_mix(&mut state)).collect();
    let mut scales: Vec<Scale> = kernels.into_iter().map(|kernel| Scale::new(kernel, grid)).collect();
    for patch in 0..grid.patches() {
        let sums = prefix_sums(grid, |other| if signs.is_positive(patch, other) { random[other] } else { 0 });
        for scale in &mut scales {
            let entropy = scale.entropy(&sums, grid);
            scale.entropies.push(entropy);
        }
    }
    scales
}

impl Scale {
    fn new(kernel: usize, grid: Grid) -> Self {
        let windows = Grid { rows: grid.rows - kernel + 1, cols: grid.cols - kernel + 1 };
        Self { kernel, windows, threshold: 1.0 + (windows.rows as f64).log2(), entropies: Vec::new() }
    }

    /// The entropy of the pooled map. Its values are told apart by the sum of the random numbers of the positive cells a window
    /// sees, and by its area.
    fn entropy(&self, sums: &[u64], grid: Grid) -> f64 {
        let stride = grid.cols + 1;
        let columns = windows(grid.cols, self.windows.cols);
        let mut values = Vec::with_capacity(self.windows.patches());
        for rows in windows(grid.rows, self.windows.rows) {
            for cols in &columns {
                let corner = |row: usize, col: usize| sums[row * stride + col];
                let inner = corner(rows.end, cols.end).wrapping_add(corner(rows.start, cols.start));
                let sum = inner.wrapping_sub(corner(rows.start, cols.end)).wrapping_sub(corner(rows.end, cols.start));
                values.push((sum, if sum == 0 { 0 } else { rows.len() * cols.len() }));
            }
        }
        values.sort_unstable();
        let count_log = |count: usize| count as f64 * (count as f64).log2();
        let repeated: f64 = values.chunk_by(|a, b| a == b).map(|group| count_log(group.len())).sum();
        (values.len() as f64).log2() - repeated / values.len() as f64
    }
}

/// `[rows + 1, cols + 1]`: the sum over all cells above and to the left.
fn prefix_sums(grid: Grid, value: impl Fn(usize) -> u64) -> Vec<u64> {
    let stride = grid.cols + 1;
    let mut sums = vec![0u64; (grid.rows + 1) * stride];
    for row in 0..grid.rows {
        let mut sum = 0u64;
        for col in 0..grid.cols {
            sum = sum.wrapping_add(value(row * grid.cols + col));
            sums[(row + 1) * stride + col + 1] = sums[row * stride + col + 1].wrapping_add(sum);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::localize::Features;
    use ndarray::Array2;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn half_the_votes_make_exactly_the_seeds(
            rows in 1usize..12, cols in 1usize..12, values in prop::collection::vec(-3i8..=3, 144 * 3),
        ) {
            let grid = Grid { rows, cols };
            let values = Array2::from_shape_fn((grid.patches(), 3), |(patch, c)| f32::from(values[patch * 3 + c]));
            let signs = SignMatrix::of(&Features::new(grid, values).unwrap());
            let scales = scales(&signs, grid);
            let seeds = box_counting::seeds(&signs, grid);
            for patch in 0..grid.patches() {
                // Where an entropy meets its threshold, the rounding of its sum decides.
                if scales.iter().any(|scale| (scale.entropies[patch] - scale.threshold).abs() < 1e-9) {
                    continue;
                }
                let votes = scales.iter().filter(|scale| scale.votes(patch)).count();
                prop_assert_eq!(2 * votes >= scales.len(), seeds.contains(&patch), "patch {}", patch);
            }
        }
    }

    #[test]
    fn the_entropy_of_a_map_with_one_positive_cell_is_that_of_its_windows() {
        // Patch 0 is like itself alone: 1 of 8 windows at kernel 1, 1 of 3 at kernel 2.
        let grid = Grid { rows: 2, cols: 4 };
        let values = Array2::from_shape_fn((8, 8), |(i, j)| f32::from(u8::from(i == j)));
        let scales = scales(&SignMatrix::of(&Features::new(grid, values).unwrap()), grid);
        let entropy = |share: f64| -share * share.log2() - (1.0 - share) * (1.0 - share).log2();
        assert_eq!(
            scales.iter().map(|s| (s.kernel, s.windows.patches(), s.threshold)).collect::<Vec<_>>(),
            [(1, 8, 2.0), (2, 3, 1.0)]
        );
        assert!((scales[0].entropies[0] - entropy(1.0 / 8.0)).abs() < 1e-12);
        assert!((scales[1].entropies[0] - entropy(1.0 / 3.0)).abs() < 1e-12);
    }
}
