//! LOST: one box around the patch least like the others (Siméoni et al., BMVC 2021, section 3).

use super::affinity::SignMatrix;
use super::{Features, components};
use crate::geometry::{PatchLayout, PixelBox};

/// How many of the lowest-degree patches may join the seed (the paper's k).
pub const EXPANSION: usize = 100;

/// What LOST found.
#[derive(Clone, Debug, PartialEq)]
pub struct Lost {
    /// The patch of lowest degree.
    pub seed: usize,
    /// The patches of positive affinity with the seed among those of lowest degree, by degree.
    pub pool: Vec<usize>,
    /// The patches of the object, ascending.
    pub patches: Vec<usize>,
    /// Their bounding box in image pixels; `None` where the seed's features are all zero.
    pub bbox: Option<PixelBox>,
}

/// Localizes one object.
pub fn localize(features: &Features, signs: &SignMatrix, layout: &PatchLayout) -> Lost {
    let degrees = signs.degrees();
    let mut order: Vec<usize> = (0..degrees.len()).collect();
    order.sort_by_key(|&patch| degrees[patch]);
    let seed = order[0];
    let pool: Vec<usize> = order.into_iter().take(EXPANSION).filter(|&patch| signs.is_positive(seed, patch)).collect();
    let patches = components::component_where(features.positive_sum(&pool), features.grid(), seed);
    let bbox = components::bounding_box(&patches, layout);
    Lost { seed, pool, patches, bbox }
}
