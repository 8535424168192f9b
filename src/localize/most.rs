//! MOST: several objects, or none (Rambhatla et al., ICCV 2023, section 3).

use super::affinity::SignMatrix;
use super::{Features, box_counting, components};
use crate::geometry::{Grid, PatchLayout, PixelBox};

/// Seeds within this L1 distance, in patches, belong to the same cluster (DBSCAN's eps; min_samples is 1).
const CLUSTER_DISTANCE: usize = 2;
/// Boxes not wider and higher than this, in image pixels, are dropped.
const MIN_SIDE_PX: u32 = 16;
/// Boxes that cover this share of the image, or more, are dropped.
const MAX_AREA_SHARE: f64 = 0.9;

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
}

/// One cluster that gave a box.
#[derive(Clone, Debug, PartialEq)]
pub struct MostObject {
    pub cluster: usize,
    /// The cluster's seed of lowest degree.
    pub core: usize,
    /// The patches of the object, ascending.
    pub patches: Vec<usize>,
    /// Their bounding box in image pixels.
    pub bbox: PixelBox,
}

/// Localizes all objects: the paper's boxes, neither merged nor scored.
pub fn localize(features: &Features, signs: &SignMatrix, layout: &PatchLayout) -> Most {
    let grid = features.grid();
    let degrees = signs.degrees();
    let seeds = box_counting::seeds(signs, grid);
    let clusters = cluster(&seeds, grid);
    let count = clusters.iter().max().map_or(0, |last| last + 1);
    let objects = (0..count)
        .filter_map(|cluster| {
            let members = || seeds.iter().zip(&clusters).filter(|(_, c)| **c == cluster).map(|(s, _)| *s);
            let core = members().min_by_key(|&seed| degrees[seed])?;
            let pool: Vec<usize> = members().filter(|&seed| signs.is_positive(core, seed)).collect();
            let patches = components::component_of(&features.positive_sum(&pool), grid, core);
            let bbox = components::bounding_box(&patches, layout)?;
            is_plausible(&bbox, layout).then_some(MostObject { cluster, core, patches, bbox })
        })
        .collect();
    Most { degrees, seeds, clusters, objects }
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

fn is_plausible(bbox: &PixelBox, layout: &PatchLayout) -> bool {
    let image = f64::from(layout.image_width) * f64::from(layout.image_height);
    bbox.width() > MIN_SIDE_PX && bbox.height() > MIN_SIDE_PX && (bbox.area() as f64) < MAX_AREA_SHARE * image
}
