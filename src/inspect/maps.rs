//! The maps as pictures, in the colours of the page: one cell per patch, as large as the model's input.

use super::{Inspection, Past};
use crate::geometry::PatchLayout;
use crate::localize::tokencut::TokenCut;
use crate::picture::{Rgb, RgbImage};

type Colour = [u8; 3];

/// From the least to the most.
pub const SEQUENTIAL: [Colour; 6] =
    [[16, 20, 52], [44, 52, 128], [30, 108, 148], [38, 160, 134], [140, 206, 96], [252, 238, 120]];
/// From the most negative over zero to the most positive.
pub const DIVERGING: [Colour; 5] = [[20, 72, 168], [106, 156, 222], [238, 238, 234], [244, 156, 84], [190, 62, 8]];
/// One per cluster, in turn.
pub const CLUSTERS: [Colour; 8] = [
    [240, 138, 36],
    [66, 148, 240],
    [74, 190, 110],
    [226, 92, 160],
    [150, 118, 240],
    [236, 204, 60],
    [70, 200, 210],
    [220, 84, 70],
];
/// Of patches that are not marked, and of those that are.
const OFF: Colour = [26, 28, 36];
const ON: Colour = CLUSTERS[0];

/// Every map, each with the name of its file without the ending.
pub fn all(inspection: &Inspection) -> Vec<(String, RgbImage)> {
    let Inspection { layout, most, lost, tokencut, dino_seg, scales, .. } = inspection;
    let patches = layout.grid.patches();
    let draw = |colour: &dyn Fn(usize) -> Colour| {
        RgbImage::from_fn(layout.image_width, layout.image_height, |x, y| {
            let (row, col) = ((y / layout.patch) as usize, (x / layout.patch) as usize);
            Rgb(colour(row * layout.grid.cols + col))
        })
    };
    let values = |values: &[f64]| {
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), &v| (low.min(v), high.max(v)));
        draw(&|patch| ramp(&SEQUENTIAL, share(values[patch] - low, high - low)))
    };
    let signed = |values: &[f64]| {
        let most = values.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        draw(&|patch| ramp(&DIVERGING, share(values[patch] + most, 2.0 * most)))
    };
    let marked = |is_on: &dyn Fn(usize) -> bool| draw(&|patch| if is_on(patch) { ON } else { OFF });

    let degrees: Vec<f64> = most.degrees.iter().map(|&degree| f64::from(degree)).collect();
    let votes: Vec<f64> = (0..patches).map(|patch| inspection.votes(patch) as f64).collect();
    let mut clusters = vec![OFF; patches];
    for (&seed, &cluster) in most.seeds.iter().zip(&most.clusters) {
        clusters[seed] = CLUSTERS[cluster % CLUSTERS.len()];
    }
    let TokenCut { eigenvector, mask, .. } = tokencut;
    let mut maps = vec![
        ("degree".to_owned(), values(&degrees)),
        ("votes".to_owned(), draw(&|patch| ramp(&SEQUENTIAL, share(votes[patch], scales.len() as f64)))),
        ("clusters".to_owned(), draw(&|patch| clusters[patch])),
        ("tokencut-eigenvector".to_owned(), signed(eigenvector)),
        ("tokencut-mask".to_owned(), marked(&|patch| mask[patch])),
        ("lost-mask".to_owned(), marked(&|patch| lost.patches.binary_search(&patch).is_ok())),
        ("dino-seg-mask".to_owned(), marked(&|patch| dino_seg.kept[patch])),
    ];
    for scale in scales {
        maps.push((format!("votes-k{}", scale.kernel), marked(&|patch| scale.votes(patch))));
    }
    for (head, attention) in inspection.attention.rows().into_iter().enumerate() {
        let attention: Vec<f64> = attention.iter().map(|&value| f64::from(value)).collect();
        maps.push((format!("cls-attention-{head}"), values(&attention)));
    }
    for (object, detection) in inspection.methods[0].iter().enumerate() {
        let mask = |patch| detection.patches.binary_search(&patch).is_ok();
        maps.push((format!("most-mask-{object}"), marked(&mask)));
        if let Some(core) = detection.seed {
            maps.push((format!("most-affinity-{object}"), signed(&inspection.affinity(core))));
        }
    }
    maps
}

/// What the past says, as large as the small picture: only what there is.
pub fn of_past(past: &Past, layout: &PatchLayout) -> Vec<(String, RgbImage)> {
    let (width, height) = past.size;
    let draw = |name: &str, colour: &dyn Fn(usize, usize) -> Colour| {
        let pixel = |x, y| Rgb(colour(x as usize, y as usize));
        (name.to_owned(), RgbImage::from_fn(width as u32, height as u32, pixel))
    };
    let most = |values: &[f32]| values.iter().copied().fold(0.0, f32::max);
    let shaded = |value: f32, most: f32| ramp(&SEQUENTIAL, share(f64::from(value), f64::from(most)));
    let mut maps = Vec::new();
    if !past.novelty.is_empty() {
        let patch = |at: usize, side: usize, shown: u32| at * shown as usize / side / layout.patch as usize;
        let most = most(&past.novelty);
        maps.push(draw("time-novelty", &|x, y| {
            let (row, col) = (patch(y, height, layout.image_height), patch(x, width, layout.image_width));
            shaded(past.novelty[row * layout.grid.cols + col], most)
        }));
    }
    if !past.foreground.is_empty() {
        maps.push(draw("time-pixels", &|x, y| if past.foreground[y * width + x] != 0 { ON } else { OFF }));
    }
    if let Some(against) = &past.against {
        let square = |at: usize, count: usize| {
            let square = ((at as f32 + 0.5 - against.first) / against.step).round();
            (square.max(0.0) as usize).min(count.saturating_sub(1))
        };
        let most = most(&against.pixels);
        maps.push(draw("time-motion", &|x, y| {
            shaded(against.pixels[square(y, against.rows) * against.cols + square(x, against.cols)], most)
        }));
    }
    maps
}

impl Inspection {
    /// `A[patch, ·]`: the products of the patch's features with those of every patch, in f64.
    pub fn affinity(&self, patch: usize) -> Vec<f64> {
        let values = self.features.values();
        let own = values.row(patch);
        values
            .rows()
            .into_iter()
            .map(|row| own.iter().zip(row).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum())
            .collect()
    }
}

/// `value / whole` in 0..=1; 0 where there is no whole.
fn share(value: f64, whole: f64) -> f64 {
    if whole > 0.0 { (value / whole).clamp(0.0, 1.0) } else { 0.0 }
}

/// The colour at `t` in 0..=1 between the first of the stops and the last.
fn ramp(stops: &[Colour], t: f64) -> Colour {
    let at = t * (stops.len() - 1) as f64;
    let from = (at as usize).min(stops.len() - 2);
    let part = at - from as f64;
    std::array::from_fn(|c| {
        (f64::from(stops[from][c]) * (1.0 - part) + f64::from(stops[from + 1][c]) * part).round() as u8
    })
}
