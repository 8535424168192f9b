//! Entropy-based box analysis: does a patch's affinity map look like an object at most scales? (MOST, section 3.2)
//!
//! The published form pools the map `max(A[i,·], 0)` with kernels 1..=5 and takes the entropy of its distinct values. Two
//! pooled values are equal exactly when their windows see the same positive cells and have the same area, so the entropy
//! depends on signs alone. Most votes are decided by how many windows see nothing, counted with bit operations on the whole
//! grid; for the rest, windows are grouped by a 64-bit sum of random numbers over their positive cells.

use super::affinity::SignMatrix;
use super::kernel::vectorized;
use crate::geometry::Grid;
use std::ops::Range;

/// Kernel sides of the pooling.
pub(super) const KERNELS: std::ops::RangeInclusive<usize> = 1..=5;
/// Bounds are only trusted beyond this many bits of entropy, so that their rounding decides nothing.
const SLACK: f64 = 1e-9;

/// A map over the grid, one bit per patch in row-major order, with zeros behind to shift from.
type Bits = Vec<u64>;

/// Rows and columns of a pooling window. Adaptive pooling has a few shapes per scale.
#[derive(Clone, Copy, PartialEq)]
struct Shape {
    rows: usize,
    cols: usize,
}

/// One scale of the pooling.
struct Scale {
    /// Number of windows.
    windows: usize,
    /// The top left cells of all windows of a shape, and the shape's place in [`BoxCounter::shapes`].
    starts: Vec<(usize, Bits)>,
    /// Entropy in bits below which the scale votes "object".
    threshold: f64,
    /// No more windows than this see the same cell, so no more share one.
    sharers: usize,
    /// With fewer empty windows than the first the vote fails and from the second on it stands, whatever the groups.
    open_votes: Range<usize>,
}

/// Counts the votes of all scales for one grid; reusable for every patch of it.
pub struct BoxCounter {
    grid: Grid,
    scales: Vec<Scale>,
    shapes: Vec<Shape>,
    /// For each shape, and each cell as a window's top left: does the window see a positive cell?
    seen: Vec<Bits>,
    /// For each shape of one scale: which windows may share what they see.
    shared: Vec<Bits>,
    /// The top row and the left column of windows, as `seen`.
    edges: [Bits; 2],
    map: Bits,
    random: Vec<u64>,
    /// `[rows + 1, cols + 1]` prefix sums of `random` over the positive cells.
    prefix: Vec<u64>,
    supports: Vec<u64>,
    /// `c·log2 c` for every count c.
    count_log: Vec<f64>,
}

vectorized! {
    /// The patches whose affinity map looks like an object, ascending.
    find_seeds(signs: &SignMatrix, grid: Grid) -> Vec<usize> {
        let mut counter = BoxCounter::new(grid);
        let mut seeds = Vec::new();
        for patch in 0..signs.patches() {
            if counter.is_object(signs.row(patch)) {
                seeds.push(patch);
            }
        }
        seeds
    }
}

/// The patches whose affinity map looks like an object, ascending.
pub fn seeds(signs: &SignMatrix, grid: Grid) -> Vec<usize> {
    find_seeds(signs, grid)
}

impl BoxCounter {
    fn new(grid: Grid) -> Self {
        let mut kernels: Vec<usize> = KERNELS.map(|k| k.min(grid.rows).min(grid.cols)).collect();
        kernels.dedup();
        let log = |c: usize| if c == 0 { 0.0 } else { c as f64 * (c as f64).log2() };
        let count_log: Vec<f64> = (0..=grid.patches()).map(log).collect();
        // No window spans more than the largest kernel, so no shift reaches further.
        let words = grid.patches().div_ceil(64) + KERNELS.end() * (grid.cols + 1) / 64 + 2;
        let mut shapes = Vec::new();
        let scales = kernels.into_iter().map(|k| Scale::new(grid, k, words, &mut shapes, &count_log)).collect();
        let mut state = 0u64;
        Self {
            grid,
            scales,
            seen: vec![vec![0; words]; shapes.len()],
            shared: vec![vec![0; words]; shapes.len()],
            edges: [vec![0; words], vec![0; words]],
            shapes,
            map: vec![0; words],
            random: (0..grid.patches()).map(|_| split_mix(&mut state)).collect(),
            prefix: vec![0; (grid.rows + 1) * (grid.cols + 1)],
            supports: Vec::new(),
            count_log,
        }
    }

    /// Whether the map with these positive cells (bit `j % 64` of word `j / 64` for patch j) looks like an object: at
    /// least half of the scales vote for it.
    #[inline(always)]
    fn is_object(&mut self, positive: &[u64]) -> bool {
        self.map[..positive.len()].copy_from_slice(positive);
        for (shape, seen) in self.shapes.iter().zip(&mut self.seen) {
            look(&self.map, *shape, self.grid.cols, seen);
        }
        let needed = self.scales.len().div_ceil(2);
        // Votes that are cast, and scales whose vote is not known yet.
        let (mut votes, mut open) = (0, 0u32);
        for (index, scale) in self.scales.iter().enumerate() {
            let seeing: usize = scale.starts.iter().map(|(shape, at)| common(&self.seen[*shape], at)).sum();
            let empty = scale.windows - seeing;
            if empty >= scale.open_votes.end {
                votes += 1;
            } else if empty >= scale.open_votes.start {
                open |= 1 << index;
            }
        }
        let mut summed = false;
        while votes < needed && votes + open.count_ones() as usize >= needed {
            let index = open.trailing_zeros() as usize;
            open &= open - 1;
            votes += usize::from(self.votes(index, &mut summed));
        }
        votes >= needed
    }

    #[inline(always)]
    fn sum_prefixes(&mut self) {
        let stride = self.grid.cols + 1;
        for row in 0..self.grid.rows {
            let mut sum = 0u64;
            for col in 0..self.grid.cols {
                let patch = row * self.grid.cols + col;
                let positive = self.map[patch / 64] >> (patch % 64) & 1;
                sum = sum.wrapping_add(self.random[patch] & positive.wrapping_neg());
                self.prefix[(row + 1) * stride + col + 1] = self.prefix[row * stride + col + 1].wrapping_add(sum);
            }
        }
    }

    /// The vote of a scale by groups of equal windows; `summed` is whether the prefix sums are those of this map.
    #[inline(always)]
    fn votes(&mut self, index: usize, summed: &mut bool) -> bool {
        let (mut seeing, mut sharing) = (0, 0);
        for (place, (shape, at)) in self.scales[index].starts.iter().enumerate() {
            seeing += common(&self.seen[*shape], at);
            let (seen, shared) = (&self.seen[*shape], &mut self.shared[place]);
            sharing += may_share(&self.map, seen, self.shapes[*shape], self.grid.cols, at, &mut self.edges, shared);
        }
        let empty = self.count_log[self.scales[index].windows - seeing];
        if !self.scales[index].may_vote(empty, sharing) {
            return false;
        }
        if !*summed {
            self.sum_prefixes();
            *summed = true;
        }
        let scale = &self.scales[index];
        let stride = self.grid.cols + 1;
        self.supports.clear();
        for ((shape, _), shared) in scale.starts.iter().zip(&self.shared) {
            let Shape { rows, cols } = self.shapes[*shape];
            // Windows of another area pool the same cells to another value.
            let area = ((rows * cols) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for (word, &windows) in shared.iter().enumerate() {
                let mut windows = windows;
                while windows != 0 {
                    let cell = word * 64 + windows.trailing_zeros() as usize;
                    windows &= windows - 1;
                    let top = cell + cell / self.grid.cols;
                    let bottom = top + rows * stride;
                    let sum = |corner: usize| self.prefix[corner + cols].wrapping_sub(self.prefix[corner]);
                    self.supports.push(sum(bottom).wrapping_sub(sum(top)) ^ area);
                }
            }
        }
        self.supports.sort_unstable();
        let groups = self.supports.chunk_by(|a, b| a == b).map(|group| self.count_log[group.len()]);
        scale.entropy(empty + groups.sum::<f64>()) < scale.threshold
    }
}

impl Scale {
    fn new(grid: Grid, kernel: usize, words: usize, shapes: &mut Vec<Shape>, count_log: &[f64]) -> Self {
        let (rows, cols) = (grid.rows - kernel + 1, grid.cols - kernel + 1);
        let (row_windows, col_windows) = (windows(grid.rows, rows), windows(grid.cols, cols));
        let mut starts: Vec<(usize, Bits)> = Vec::new();
        for row in &row_windows {
            for col in &col_windows {
                let shape = Shape { rows: row.len(), cols: col.len() };
                let shape = shapes.iter().position(|other| *other == shape).unwrap_or_else(|| {
                    shapes.push(shape);
                    shapes.len() - 1
                });
                let place = starts.iter().position(|(other, _)| *other == shape).unwrap_or_else(|| {
                    starts.push((shape, vec![0; words]));
                    starts.len() - 1
                });
                let cell = row.start * grid.cols + col.start;
                starts[place].1[cell / 64] |= 1 << (cell % 64);
            }
        }
        let most_on = |windows: &[Range<usize>], cells: usize| {
            (0..cells).map(|cell| windows.iter().filter(|window| window.contains(&cell)).count()).max().unwrap_or(0)
        };
        let sharers = most_on(&row_windows, grid.rows) * most_on(&col_windows, grid.cols);
        let threshold = 1.0 + (rows as f64).log2();
        let mut scale = Self { windows: rows * cols, starts, threshold, sharers, open_votes: 0..0 };
        let count = scale.windows;
        let first = |votes: &dyn Fn(usize) -> bool| (0..=count).find(|&empty| votes(empty)).unwrap_or(count + 1);
        let open = first(&|empty| scale.may_vote(count_log[empty], count - empty));
        let sure = first(&|empty| scale.entropy(count_log[empty]) < threshold - SLACK);
        scale.open_votes = open..sure;
        scale
    }

    /// Whether the vote can stand with this `c·log2 c` of the empty windows, and so many that may share what they see: the
    /// entropy is lowest where each shares with as many as can.
    #[inline(always)]
    fn may_vote(&self, empty: f64, sharing: usize) -> bool {
        self.entropy(empty + sharing as f64 * (self.sharers as f64).log2()) < self.threshold + SLACK
    }

    /// The entropy in bits where groups of windows with counts c sum up to `repeated` = Σ c·log2 c.
    fn entropy(&self, repeated: f64) -> f64 {
        (self.windows as f64).log2() - repeated / self.windows as f64
    }
}

/// `seen[p]`: is there a positive cell of `map` in the window of `shape` with its top left at p? Only meaningful where the
/// window lies on the grid.
#[inline(always)]
fn look(map: &[u64], shape: Shape, stride: usize, seen: &mut [u64]) {
    seen.copy_from_slice(map);
    (1..shape.cols).for_each(|_| or_shifted(seen, 1));
    (1..shape.rows).for_each(|_| or_shifted(seen, stride));
}

/// `bits |= bits >> shift`, over the whole string of bits.
#[inline(always)]
fn or_shifted(bits: &mut [u64], shift: usize) {
    for i in 0..bits.len().saturating_sub(shift / 64 + 1) {
        bits[i] |= shifted(bits, i, shift);
    }
}

/// Marks in `shared` the windows of `shape`, starting `at` these cells, that may see the same as another, and counts them.
///
/// Windows of a scale differ by their first and last row, or by their first and last column: what two have in common misses an
/// edge of each. So those that see something along each of their four edges are unique.
#[inline(always)]
fn may_share(
    map: &[u64],
    seen: &[u64],
    shape: Shape,
    stride: usize,
    at: &[u64],
    [top, left]: &mut [Bits; 2],
    shared: &mut [u64],
) -> usize {
    look(map, Shape { rows: 1, ..shape }, stride, top);
    look(map, Shape { cols: 1, ..shape }, stride, left);
    let (down, right) = ((shape.rows - 1) * stride, shape.cols - 1);
    let mut count = 0;
    for i in 0..shared.len() - down / 64 - 1 {
        let unique = top[i] & shifted(top, i, down) & left[i] & shifted(left, i, right);
        shared[i] = at[i] & seen[i] & !unique;
        count += shared[i].count_ones() as usize;
    }
    count
}

/// Word i of `bits >> shift`.
#[inline(always)]
fn shifted(bits: &[u64], i: usize, shift: usize) -> u64 {
    let (words, shift) = (shift / 64, shift % 64);
    bits[i + words] >> shift | bits[i + words + 1] << 1 << (63 - shift)
}

/// How many bits are set in both.
#[inline(always)]
fn common(a: &[u64], b: &[u64]) -> usize {
    a.iter().zip(b).map(|(a, b)| u64::from((a & b).count_ones())).sum::<u64>() as usize
}

/// Adaptive pooling of `input` cells to `output`: which cells each output looks at.
pub(super) fn windows(input: usize, output: usize) -> Vec<Range<usize>> {
    (0..output).map(|o| o * input / output..((o + 1) * input).div_ceil(output)).collect()
}

/// SplitMix64 (Steele et al., 2014): fixed random numbers, the same on every machine.
pub(super) fn split_mix(state: &mut u64) -> u64 {
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
