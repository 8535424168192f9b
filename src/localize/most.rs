//! MOST: several objects, or none (Rambhatla et al., ICCV 2023, section 3).

use super::affinity::SignMatrix;
use super::{Features, box_counting, components};
use crate::geometry::{Grid, PatchLayout, PixelBox};

/// Seeds within this L1 distance, in patches, belong to the same cluster (DBSCAN's eps; min_samples is 1).
const CLUSTER_DISTANCE: usize = 2;
/// Boxes not wider and higher than this, in image pixels, are dropped.
pub const MIN_SIDE_PX: u32 = 16;
/// Boxes that cover this share of the image, or more, are dropped.
pub const MAX_AREA_SHARE: f64 = 0.9;

/// What MOST found.
#[derive(Clone, Debug, PartialEq)]
pub struct Most {
    /// `degree(i) = #{j ≠ i : A[i,j] > 0}`.
    pub degrees: Vec<u32>,
    /// Patches that pass the entropy-based box analysis, ascending.
    pub seeds: Vec<usize>,
    /// The cluster of each seed, numbered by first seed.
    pub clusters: Vec<usize>,
    /// The objects, in cluster order.
    pub objects: Vec<MostObject>,
    /// The clusters that gave no box, in order.
    pub dropped: Vec<Dropped>,
}

/// One cluster that gave a box.
#[derive(Clone, Debug, PartialEq)]
pub struct MostObject {
    pub cluster: usize,
    /// The cluster's seed of lowest degree.
    pub core: usize,
    /// The cluster's seeds of positive affinity with the core, ascending.
    pub pool: Vec<usize>,
    /// The patches of the object, ascending.
    pub patches: Vec<usize>,
    /// Their bounding box in image pixels.
    pub bbox: PixelBox,
}

/// One cluster that gave no box; its fields are as in [`MostObject`].
#[derive(Clone, Debug, PartialEq)]
pub struct Dropped {
    pub cluster: usize,
    pub core: usize,
    pub pool: Vec<usize>,
    pub patches: Vec<usize>,
    /// `None` where there are no patches.
    pub bbox: Option<PixelBox>,
    pub why: DropReason,
}

/// Why a cluster gave no box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// No patch has a positive affinity with the pool: the core's features are all zero.
    NoPatches,
    /// Not more than [`MIN_SIDE_PX`] wide or high.
    TooSmall,
    /// [`MAX_AREA_SHARE`] of the image, or more.
    TooLarge,
}

/// Localizes all objects: the paper's boxes, neither merged nor scored.
pub fn localize(features: &Features, signs: &SignMatrix, layout: &PatchLayout) -> Most {
    let grid = features.grid();
    let degrees = signs.degrees();
    let seeds = box_counting::seeds(signs, grid);
    let clusters = cluster(&seeds, grid);
    let count = clusters.iter().max().map_or(0, |last| last + 1);
    let (mut objects, mut dropped) = (Vec::new(), Vec::new());
    for cluster in 0..count {
        let members = || seeds.iter().zip(&clusters).filter(|(_, c)| **c == cluster).map(|(s, _)| *s);
        let Some(core) = members().min_by_key(|&seed| degrees[seed]) else { continue };
        let pool: Vec<usize> = members().filter(|&seed| signs.is_positive(core, seed)).collect();
        let patches = components::component_where(features.positive_sum(&pool), grid, core);
        let bbox = components::bounding_box(&patches, layout);
        match bbox.ok_or(DropReason::NoPatches).and_then(|bbox| plausible(bbox, layout)) {
            Ok(bbox) => objects.push(MostObject { cluster, core, pool, patches, bbox }),
            Err(why) => dropped.push(Dropped { cluster, core, pool, patches, bbox, why }),
        }
    }
    Most { degrees, seeds, clusters, objects, dropped }
}

/// Single-link clusters of ascending `seeds`, numbered by first seed.
fn cluster(seeds: &[usize], grid: Grid) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let mut cluster_at = vec![NONE; grid.patches()];
    let mut is_seed = vec![false; grid.patches()];
    seeds.iter().for_each(|&seed| is_seed[seed] = true);
    let mut count = 0;
    for &first in seeds {
        if cluster_at[first] != NONE {
            continue;
        }
        cluster_at[first] = count;
        let mut open = vec![first];
        while let Some(seed) = open.pop() {
            let (row, col) = (seed / grid.cols, seed % grid.cols);
            for r in row.saturating_sub(CLUSTER_DISTANCE)..=(row + CLUSTER_DISTANCE).min(grid.rows - 1) {
                let reach = CLUSTER_DISTANCE - r.abs_diff(row);
                for c in col.saturating_sub(reach)..=(col + reach).min(grid.cols - 1) {
                    let other = r * grid.cols + c;
                    if is_seed[other] && cluster_at[other] == NONE {
                        cluster_at[other] = count;
                        open.push(other);
                    }
                }
            }
        }
        count += 1;
    }
    seeds.iter().map(|&seed| cluster_at[seed]).collect()
}

fn plausible(bbox: PixelBox, layout: &PatchLayout) -> Result<PixelBox, DropReason> {
    let image = f64::from(layout.image_width) * f64::from(layout.image_height);
    if bbox.width() <= MIN_SIDE_PX || bbox.height() <= MIN_SIDE_PX {
        return Err(DropReason::TooSmall);
    }
    if bbox.area() as f64 >= MAX_AREA_SHARE * image { Err(DropReason::TooLarge) } else { Ok(bbox) }
}
