//! MOST and LOST as published, written plainly, against the library on random small grids.
//!
//! Features are small integers, so every dot product is exact, and products that are exactly zero are common.

use mostream::geometry::{Grid, PatchLayout, PixelBox};
use mostream::localize::affinity::SignMatrix;
use mostream::localize::{Features, LocalizeError, Localizer, Method, PatchOutput, lost, most};
use ndarray::Array2;
use proptest::prelude::*;
use std::collections::HashMap;

const PATCH: u32 = 12;

struct Image {
    layout: PatchLayout,
    features: Vec<Vec<i64>>,
}

impl Image {
    fn dot(&self, i: usize, j: usize) -> i64 {
        self.features[i].iter().zip(&self.features[j]).map(|(a, b)| a * b).sum()
    }

    fn patches(&self) -> usize {
        self.features.len()
    }

    fn place(&self, patch: usize) -> (usize, usize) {
        (patch / self.layout.grid.cols, patch % self.layout.grid.cols)
    }

    fn input(&self) -> Features<'static> {
        let width = self.features[0].len();
        let values = Array2::from_shape_fn((self.patches(), width), |(i, c)| self.features[i][c] as f32);
        Features::new(self.layout.grid, values).unwrap()
    }

    fn degree(&self, i: usize) -> u32 {
        (0..self.patches()).filter(|&j| j != i && self.dot(i, j) > 0).count() as u32
    }

    /// The box of the component of `{j : Σ A[l, j] > 0 for l in pool}` that holds `core`, and its patches.
    fn grow(&self, pool: &[usize], core: usize) -> Option<(Vec<usize>, PixelBox)> {
        let inside: Vec<bool> =
            (0..self.patches()).map(|j| pool.iter().map(|&l| self.dot(l, j)).sum::<i64>() > 0).collect();
        let mut reached = vec![false; self.patches()];
        reached[core] = inside[core];
        loop {
            let next: Vec<bool> = (0..self.patches())
                .map(|a| inside[a] && (0..self.patches()).any(|b| reached[b] && self.distance(a, b) <= 1))
                .collect();
            if next == reached {
                break;
            }
            reached = next;
        }
        let patches: Vec<usize> = (0..self.patches()).filter(|&p| reached[p]).collect();
        let rows = || patches.iter().map(|&p| self.place(p).0 as u32);
        let cols = || patches.iter().map(|&p| self.place(p).1 as u32);
        let bbox = PixelBox {
            xmin: cols().min()? * PATCH,
            ymin: rows().min()? * PATCH,
            xmax: ((cols().max()? + 1) * PATCH).min(self.layout.image_width),
            ymax: ((rows().max()? + 1) * PATCH).min(self.layout.image_height),
        };
        Some((patches, bbox))
    }

    fn distance(&self, a: usize, b: usize) -> usize {
        let ((r, c), (y, x)) = (self.place(a), self.place(b));
        r.abs_diff(y) + c.abs_diff(x)
    }

    /// Entropy-based box analysis of patch i; `None` where an entropy meets its threshold, so that rounding decides.
    fn is_seed(&self, i: usize) -> Option<bool> {
        let Grid { rows, cols } = self.layout.grid;
        // Any values do for the positive cells, as long as sums agree only for equal sets of cells.
        let value =
            |j: usize| if self.dot(i, j) > 0 { (j as i128 + 1).pow(9) * 1_000_003 + (j as i128).pow(5) } else { 0 };
        let mut kernels: Vec<usize> = (1..=5).map(|k: usize| k.min(rows).min(cols)).collect();
        kernels.dedup();
        let mut votes = 0;
        for &k in &kernels {
            let (high, wide) = (rows - k + 1, cols - k + 1);
            let mut counts: HashMap<i128, usize> = HashMap::new();
            for r in 0..high {
                for c in 0..wide {
                    let (top, bottom) = (r * rows / high, ((r + 1) * rows).div_ceil(high));
                    let (left, right) = (c * cols / wide, ((c + 1) * cols).div_ceil(wide));
                    let sum: i128 = (top..bottom).flat_map(|y| (left..right).map(move |x| value(y * cols + x))).sum();
                    // The mean as a multiple of 1 / 3600, the square of lcm(1..=5) = 60.
                    *counts.entry(sum * 3600 / ((bottom - top) * (right - left)) as i128).or_default() += 1;
                }
            }
            let share = |count: &usize| *count as f64 / (high * wide) as f64;
            let entropy: f64 = counts.values().map(|count| -share(count) * share(count).log2()).sum();
            let threshold = 1.0 + (high as f64).log2();
            if (entropy - threshold).abs() < 1e-9 {
                return None;
            }
            votes += usize::from(entropy < threshold);
        }
        Some(2 * votes >= kernels.len())
    }

    /// Seeds joined by chains of steps of L1 length 2 at most, numbered by first seed.
    fn clusters(&self, seeds: &[usize]) -> Vec<usize> {
        let mut label: Vec<usize> = (0..seeds.len()).collect();
        for _ in 0..seeds.len() {
            for a in 0..seeds.len() {
                for b in 0..seeds.len() {
                    if self.distance(seeds[a], seeds[b]) <= 2 {
                        label[a] = label[a].min(label[b]);
                    }
                }
            }
        }
        let mut names = label.clone();
        names.sort_unstable();
        names.dedup();
        label.iter().map(|name| names.binary_search(name).unwrap()).collect()
    }

    fn check_most(&self) -> Result<(), TestCaseError> {
        let features = self.input();
        let found = most::localize(&features, &SignMatrix::of(&features), &self.layout);
        let degrees: Vec<u32> = (0..self.patches()).map(|i| self.degree(i)).collect();
        prop_assert_eq!(&found.degrees, &degrees);
        let is_seed: Vec<Option<bool>> = (0..self.patches()).map(|i| self.is_seed(i)).collect();
        for (patch, is_seed) in is_seed.iter().enumerate() {
            prop_assert!(is_seed.is_none_or(|is_seed| is_seed == found.seeds.contains(&patch)), "seed {}", patch);
        }
        // Where rounding decided, the library's seeds are as good as any.
        let clusters = self.clusters(&found.seeds);
        prop_assert_eq!(&found.clusters, &clusters);
        let mut objects = Vec::new();
        for cluster in 0..clusters.iter().max().map_or(0, |last| last + 1) {
            let members: Vec<usize> =
                (0..clusters.len()).filter(|&s| clusters[s] == cluster).map(|s| found.seeds[s]).collect();
            let core = *members.iter().min_by_key(|&&m| (degrees[m], m)).unwrap();
            let pool: Vec<usize> = members.into_iter().filter(|&m| self.dot(core, m) > 0).collect();
            let Some((patches, bbox)) = self.grow(&pool, core) else { continue };
            let image = f64::from(self.layout.image_width * self.layout.image_height);
            if bbox.width() > 16 && bbox.height() > 16 && (bbox.area() as f64) < 0.9 * image {
                objects.push((cluster, core, patches, bbox));
            }
        }
        let got: Vec<_> = found.objects.into_iter().map(|o| (o.cluster, o.core, o.patches, o.bbox)).collect();
        prop_assert_eq!(got, objects);
        Ok(())
    }

    fn check_lost(&self) -> Result<(), TestCaseError> {
        let features = self.input();
        let found = lost::localize(&features, &SignMatrix::of(&features), &self.layout);
        let mut order: Vec<usize> = (0..self.patches()).collect();
        order.sort_by_key(|&i| (self.degree(i), i));
        let seed = order[0];
        prop_assert_eq!(found.seed, seed);
        let pool: Vec<usize> = order.into_iter().take(100).filter(|&i| self.dot(seed, i) > 0).collect();
        let wanted = self.grow(&pool, seed);
        prop_assert_eq!(found.bbox, wanted.as_ref().map(|(_, bbox)| *bbox));
        prop_assert_eq!(found.patches, wanted.map(|(patches, _)| patches).unwrap_or_default());
        Ok(())
    }
}

/// Noise, all positive, all negative, all zero, or two kinds of patches in rectangles over a third.
fn image(rows: usize, cols: usize, kind: u8, width: usize, noise: &[i8]) -> Image {
    let grid = Grid { rows, cols };
    let layout = PatchLayout {
        grid,
        patch: PATCH,
        image_width: cols as u32 * PATCH - u32::from(noise[0].unsigned_abs()),
        image_height: rows as u32 * PATCH - u32::from(noise[1].unsigned_abs()),
    };
    let noise_at = |i: usize| i64::from(noise[i % noise.len()]);
    let feature = |patch: usize, column: usize| {
        let noise = noise_at(patch * width + column);
        let (row, col) = (patch / cols, patch % cols);
        let object = if row < rows / 2 && col < cols / 2 {
            0
        } else if row > rows / 2 && col > cols / 2 {
            1
        } else {
            2
        };
        match kind {
            0 => noise,
            1 => noise.abs() + 1,
            2 => -noise.abs() - 1,
            3 => 0,
            _ => noise + if column % 3 == object { 6 } else { -2 },
        }
    };
    let features = (0..grid.patches()).map(|p| (0..width).map(|c| feature(p, c)).collect()).collect();
    Image { layout, features }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn most_and_lost_are_as_published(
        rows in 1usize..12, cols in 1usize..13, kind in 0u8..7, width in 1usize..7,
        noise in prop::collection::vec(-3i8..=3, 800),
    ) {
        let image = image(rows, cols, kind, width, &noise);
        image.check_most()?;
        image.check_lost()?;
    }

    #[test]
    fn degenerate_grids_are_as_published(
        long in 1usize..140, short in 1usize..4, upright: bool, kind in 0u8..7, noise in prop::collection::vec(-3i8..=3, 800),
    ) {
        let (rows, cols) = if upright { (long, short) } else { (short, long) };
        let image = image(rows, cols, kind, 3, &noise);
        image.check_most()?;
        image.check_lost()?;
    }

    #[test]
    fn every_method_gives_boxes_in_the_image_and_scores_from_0_to_1(
        rows in 1usize..9, cols in 1usize..9, kind in 0u8..7, width in 1usize..5, paper: bool,
        noise in prop::collection::vec(-3i8..=3, 800),
    ) {
        let image = image(rows, cols, kind, width, &noise);
        let output = PatchOutput::Features(image.input());
        for method in [Method::Most, Method::Lost, Method::TokenCut] {
            for found in (Localizer { method, paper, min_score: 0.0 }).localize(&output, &image.layout).unwrap() {
                prop_assert!((0.0..=1.0).contains(&found.score), "{method}: {}", found.score);
                prop_assert!(found.bbox.xmax <= image.layout.image_width && found.bbox.ymax <= image.layout.image_height);
                prop_assert!(found.bbox.area() > 0 && found.patches.contains(&found.seed.unwrap()));
            }
        }
    }
}

#[test]
fn features_that_are_not_finite_are_an_error() {
    let grid = Grid { rows: 2, cols: 2 };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = Array2::<f32>::ones((4, 3));
        values[[2, 1]] = bad;
        let error = Features::new(grid, values).unwrap_err();
        assert!(matches!(error, LocalizeError::NotFinite { patch: 2, column: 1, .. }), "{error}");
    }
}
