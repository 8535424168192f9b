//! DINO-seg: the box of what one head of the CLS token attends to (the baseline in the LOST paper, section 4.1).

use super::{LocalizeError, components};
use crate::geometry::{PatchLayout, PixelBox};
use ndarray::ArrayView2;

/// The head that is read when none is asked for, counted from 0; bounded by the number of heads.
pub const DEFAULT_HEAD: usize = 4;
/// Share of the attention mass that is kept.
pub const MASS: f64 = 0.6;

/// What DINO-seg found.
#[derive(Clone, Debug, PartialEq)]
pub struct DinoSeg {
    /// The patches that hold [`MASS`] of the attention, all components.
    pub kept: Vec<bool>,
    /// The patches of the largest component, ascending.
    pub patches: Vec<usize>,
    /// Their bounding box in image pixels; `None` where there is no attention at all.
    pub bbox: Option<PixelBox>,
}

/// Localizes one object from the CLS attention `[heads, N]` of the last block (no entry negative).
pub fn localize(attention: ArrayView2<f32>, head: usize, layout: &PatchLayout) -> Result<DinoSeg, LocalizeError> {
    let grid = layout.grid;
    let (heads, patches) = attention.dim();
    if patches != grid.patches() || patches == 0 {
        return Err(LocalizeError::AttentionWidth { got: patches, rows: grid.rows, cols: grid.cols });
    }
    if heads == 0 {
        return Err(LocalizeError::NoHeads);
    }
    if let Some(((head, patch), &value)) = attention.indexed_iter().find(|(_, v)| !v.is_finite() || **v < 0.0) {
        return Err(LocalizeError::BadAttention { head, patch, value });
    }
    let mass: Vec<f64> = attention.row(head.min(heads - 1)).iter().map(|&v| f64::from(v)).collect();
    let mut order: Vec<usize> = (0..patches).collect();
    order.sort_by(|&a, &b| mass[b].total_cmp(&mass[a]));
    let wanted = MASS * mass.iter().sum::<f64>();
    let mut kept = vec![false; patches];
    let mut sum = 0.0;
    for patch in order {
        if sum >= wanted {
            break;
        }
        kept[patch] = true;
        sum += mass[patch];
    }
    let patches = components::largest(&kept, grid);
    let bbox = components::bounding_box(&patches, layout);
    Ok(DinoSeg { kept, patches, bbox })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Grid;
    use ndarray::array;

    const LAYOUT: PatchLayout =
        PatchLayout { grid: Grid { rows: 2, cols: 4 }, patch: 8, image_width: 30, image_height: 16 };

    #[test]
    fn the_largest_component_of_the_kept_mass_is_boxed() {
        // 6 of 10 units are kept: the lone 2.0 on the left and the pair on the right.
        let attention = array![[2.0, 0.5, 0.5, 2.0, 0.5, 0.5, 0.5, 3.5]];
        let found = localize(attention.view(), DEFAULT_HEAD, &LAYOUT).unwrap();
        assert_eq!(found.patches, [3, 7]);
        assert_eq!(found.bbox, Some(PixelBox { xmin: 24, ymin: 0, xmax: 30, ymax: 16 }));
    }

    #[test]
    fn nothing_attended_is_no_box_and_bad_numbers_are_an_error() {
        let none = ndarray::Array2::zeros((2, 8));
        assert_eq!(localize(none.view(), 0, &LAYOUT).unwrap().bbox, None);
        let mut bad = none.clone();
        bad[[1, 3]] = f32::NAN;
        assert!(localize(bad.view(), 0, &LAYOUT).is_err());
    }
}
