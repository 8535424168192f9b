//! Entropy-based box analysis: does a patch's affinity map look like an object at most scales? (MOST, section 3.2)
//!
//! The published form pools the map `max(A[i,·], 0)` with kernels 1..=5 and takes the entropy of its distinct values. Two
//! pooled values are equal exactly when their windows see the same positive cells and have the same area, so the entropy
//! depends on signs alone: windows are grouped by a 64-bit sum of random numbers over their positive cells.

use crate::geometry::Grid;
use std::ops::Range;

/// Kernel sides of the pooling.
const KERNELS: std::ops::RangeInclusive<usize> = 1..=5;

/// One scale of the pooling: where each output row and column looks.
struct Scale {
    rows: Vec<Range<usize>>,
    cols: Vec<Range<usize>>,
    /// Entropy in bits below which the scale votes "object".
    threshold: f64,
}

/// Counts the votes of all scales for one grid; reusable for every patch of it.
pub struct BoxCounter {
    grid: Grid,
    scales: Vec<Scale>,
    random: Vec<u64>,
    /// `[rows + 1, cols + 1]` prefix sums of `random` over the positive cells.
    prefix: Vec<u64>,
    supports: Vec<u64>,
    /// `c·log2 c` for every count c.
    count_log: Vec<f64>,
}

impl BoxCounter {
    pub fn new(grid: Grid) -> Self {
        let mut kernels: Vec<usize> = KERNELS.map(|k| k.min(grid.rows).min(grid.cols)).collect();
        kernels.dedup();
        let scales = kernels
            .into_iter()
            .map(|k| Scale {
                rows: windows(grid.rows, grid.rows - k + 1),
                cols: windows(grid.cols, grid.cols - k + 1),
                threshold: 1.0 + ((grid.rows - k + 1) as f64).log2(),
            })
            .collect();
        let mut state = 0u64;
        let log = |c: usize| if c == 0 { 0.0 } else { c as f64 * (c as f64).log2() };
        Self {
            grid,
            scales,
            random: (0..grid.patches()).map(|_| split_mix(&mut state)).collect(),
            prefix: vec![0; (grid.rows + 1) * (grid.cols + 1)],
            supports: Vec::with_capacity(grid.patches()),
            count_log: (0..=grid.patches()).map(log).collect(),
        }
    }

    /// Whether the map with these positive cells (bit `j % 64` of word `j / 64` for patch j) looks like an object: at
    /// least half of the scales vote for it.
    pub fn is_object(&mut self, positive: &[u64]) -> bool {
        self.sum_prefixes(positive);
        let votes = (0..self.scales.len()).filter(|&scale| self.votes(scale)).count();
        2 * votes >= self.scales.len()
    }

    fn sum_prefixes(&mut self, positive: &[u64]) {
        let stride = self.grid.cols + 1;
        for row in 0..self.grid.rows {
            let mut sum = 0u64;
            for col in 0..self.grid.cols {
                let patch = row * self.grid.cols + col;
                if positive[patch / 64] >> (patch % 64) & 1 == 1 {
                    sum = sum.wrapping_add(self.random[patch]);
                }
                self.prefix[(row + 1) * stride + col + 1] = self.prefix[row * stride + col + 1].wrapping_add(sum);
            }
        }
    }

    fn votes(&mut self, scale: usize) -> bool {
        let Scale { rows, cols, threshold } = &self.scales[scale];
        let stride = self.grid.cols + 1;
        let windows = rows.len() * cols.len();
        self.supports.clear();
        for row in rows {
            let (top, bottom) = (&self.prefix[row.start * stride..], &self.prefix[row.end * stride..]);
            for col in cols {
                let support = bottom[col.end]
                    .wrapping_sub(bottom[col.start])
                    .wrapping_sub(top[col.end])
                    .wrapping_add(top[col.start]);
                if support != 0 {
                    // Windows of another area pool the same cells to another value.
                    let area = (row.len() * col.len()) as u64;
                    self.supports.push(support ^ area.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                }
            }
        }
        let entropy = |repeated: f64| (windows as f64).log2() - repeated / windows as f64;
        // Grouping the rest can only lower the entropy further.
        let zeros = self.count_log[windows - self.supports.len()];
        if entropy(zeros) < *threshold {
            return true;
        }
        self.supports.sort_unstable();
        let groups = self.supports.chunk_by(|a, b| a == b).map(|group| self.count_log[group.len()]);
        entropy(zeros + groups.sum::<f64>()) < *threshold
    }
}

/// Adaptive pooling of `input` cells to `output`: which cells each output looks at.
fn windows(input: usize, output: usize) -> Vec<Range<usize>> {
    (0..output).map(|o| o * input / output..((o + 1) * input).div_ceil(output)).collect()
}

/// SplitMix64 (Steele et al., 2014): fixed random numbers, the same on every machine.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// The published form: pool generic positive values, count distinct means. `None` where an entropy meets its
    /// threshold exactly: there the rounding of the sum decides.
    fn naive(grid: Grid, map: &[bool]) -> Option<bool> {
        let mut state = 42;
        let value: Vec<i128> =
            map.iter().map(|&on| if on { i128::from(split_mix(&mut state) >> 8) } else { 0 }).collect();
        let mut kernels: Vec<usize> = (1..=5).map(|k: usize| k.min(grid.rows).min(grid.cols)).collect();
        kernels.dedup();
        let mut votes = 0;
        for &k in &kernels {
            let (oh, ow) = (grid.rows - k + 1, grid.cols - k + 1);
            let mut counts: HashMap<i128, usize> = HashMap::new();
            for r in 0..oh {
                for c in 0..ow {
                    let (r0, r1) = (r * grid.rows / oh, ((r + 1) * grid.rows).div_ceil(oh));
                    let (c0, c1) = (c * grid.cols / ow, ((c + 1) * grid.cols).div_ceil(ow));
                    let mut sum = 0;
                    for y in r0..r1 {
                        for x in c0..c1 {
                            sum += value[y * grid.cols + x];
                        }
                    }
                    // The mean as an exact multiple of 1 / lcm(1..=6)².
                    *counts.entry(sum * 3600 / ((r1 - r0) * (c1 - c0)) as i128).or_default() += 1;
                }
            }
            let n = (oh * ow) as f64;
            let entropy: f64 = counts.values().map(|&c| -(c as f64 / n) * (c as f64 / n).log2()).sum();
            let threshold = 1.0 + (oh as f64).log2();
            if (entropy - threshold).abs() < 1e-9 {
                return None;
            }
            votes += usize::from(entropy < threshold);
        }
        Some(2 * votes >= kernels.len())
    }

    proptest! {
        #[test]
        fn votes_equal_the_published_form(
            rows in 1usize..12, cols in 1usize..12, density in 0u8..=10,
            noise in prop::collection::vec(0u8..10, 144),
        ) {
            let grid = Grid { rows, cols };
            let map: Vec<bool> = (0..grid.patches()).map(|p| noise[p] < density).collect();
            let mut words = vec![0u64; grid.patches().div_ceil(64)];
            for (patch, _) in map.iter().enumerate().filter(|(_, on)| **on) {
                words[patch / 64] |= 1 << (patch % 64);
            }
            let mut counter = BoxCounter::new(grid);
            let expected = naive(grid, &map);
            prop_assume!(expected.is_some());
            prop_assert_eq!(Some(counter.is_object(&words)), expected);
        }
    }
}
